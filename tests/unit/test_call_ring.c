/* test_call_ring.c: ring/call_ring against a guest that this test plays: slots and numbers that
 * wrap, forged and malformed entries, and memory that changes while it is read. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ring/call_ring.h"

static struct aee_abi_lane *lane;
static struct aee__call_ring ring;

static int set_up(void **state)
{
    (void)state;
    lane = aligned_alloc(4096, sizeof *lane);
    memset(lane, 0, sizeof *lane);
    aee__call_ring_init(&ring, lane);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(lane);
    return 0;
}

/* What the guest does with request `seq`: answers with function + args[0]. */
static void answer(uint32_t seq)
{
    struct aee_abi_slot *slot = &lane->slots[(seq - 1) % AEE_RING_SLOTS];
    assert_int_equal(slot->request.seq, seq);
    slot->reply.value = slot->request.function + slot->request.args[0];
    slot->reply.double_value = slot->request.args[5];
    __atomic_store_n(&slot->reply.seq, seq, __ATOMIC_RELEASE);
}

static struct aee__ring_request request(uint64_t n)
{
    return (struct aee__ring_request){
        .function = 1000 * n, .flags = (uint32_t)n, .args = {n, 1, 2, 3, 4, ~n}};
}

/* `count` calls, up to `depth` at once, from the sequence number that the ring has. */
static void exchange(uint32_t count, uint32_t depth)
{
    uint32_t first = ring.submitted;
    for (uint32_t done = 0; done < count; done += depth) {
        for (uint32_t i = 0; i < depth; i++) {
            struct aee__ring_request sent = request(done + i);
            assert_true(aee__call_ring_outstanding(&ring) < AEE_RING_SLOTS);
            aee__call_ring_push(&ring, &sent);
        }
        for (uint32_t i = 0; i < depth; i++) {
            struct aee__ring_reply reply;
            uint64_t n = done + i;
            assert_false(aee__call_ring_answered(&ring));
            assert_false(aee__call_ring_pop(&ring, &reply));
            answer(first + done + i + 1);
            assert_true(aee__call_ring_answered(&ring));
            assert_true(aee__call_ring_pop(&ring, &reply));
            assert_true(reply.value == 1001 * n && reply.double_value == ~n);
        }
        assert_true(aee__call_ring_answered(&ring)); /* none is outstanding */
    }
}

static void test_slots_wrap(void **state)
{
    (void)state;
    exchange(3 * AEE_RING_SLOTS, 1);
    exchange(6 * AEE_RING_SLOTS, 3);
    exchange(2 * AEE_RING_SLOTS, AEE_RING_SLOTS);
}

static void test_a_request_is_whole(void **state)
{
    (void)state;
    const struct aee__ring_request sent = {.function = UINT64_C(0x0123456789abcdef),
                                           .flags = 0x89abcdef,
                                           .args = {1, ~UINT64_C(1), 3, ~UINT64_C(3), 5, 6}};
    memset(&lane->slots[0], 0xa5, sizeof lane->slots[0]);
    aee__call_ring_push(&ring, &sent);
    const struct aee_abi_request *found = &lane->slots[0].request;
    assert_true(found->seq == 1 && found->flags == sent.flags && found->function == sent.function);
    assert_memory_equal(found->args, sent.args, sizeof sent.args);
    aee__call_ring_nested_push(&ring, 2, &sent);
    found = &lane->levels[2].nested.request;
    assert_true(found->seq == 1 && found->flags == sent.flags && found->function == sent.function);
    assert_memory_equal(found->args, sent.args, sizeof sent.args);
}

static void test_numbers_wrap(void **state)
{
    (void)state;
    /* Just before 2^32 requests; the slots hold what the guest wrote a turn ago. */
    uint32_t start = UINT32_MAX - 100;
    ring.submitted = start;
    ring.completed = start;
    for (uint32_t i = 0; i < AEE_RING_SLOTS; i++) {
        uint32_t seq = start - i;
        lane->slots[(seq - 1) % AEE_RING_SLOTS].reply.seq = seq;
    }
    exchange(300, 1);
    assert_true(ring.submitted < 1000);
    ring.submitted = start;
    ring.completed = start;
    for (uint32_t i = 0; i < AEE_RING_SLOTS; i++) {
        uint32_t seq = start - i;
        lane->slots[(seq - 1) % AEE_RING_SLOTS].reply.seq = seq;
    }
    exchange(320, AEE_RING_SLOTS);
}

static void test_full(void **state)
{
    (void)state;
    struct aee__ring_request sent = request(1);
    struct aee__ring_reply reply;
    ring.submitted = ring.completed = UINT32_MAX - 7; /* also across the wrap */
    for (uint32_t i = 0; i < AEE_RING_SLOTS; i++) {
        assert_true(aee__call_ring_outstanding(&ring) < AEE_RING_SLOTS);
        aee__call_ring_push(&ring, &sent);
    }
    assert_int_equal(aee__call_ring_outstanding(&ring), AEE_RING_SLOTS);
    answer(UINT32_MAX - 6);
    assert_true(aee__call_ring_pop(&ring, &reply));
    assert_true(aee__call_ring_outstanding(&ring) < AEE_RING_SLOTS);
}

static void test_request_bytes(void **state)
{
    (void)state;
    struct aee__ring_request sent = request(7);
    aee__call_ring_push(&ring, &sent);
    const struct aee_abi_request *seen = &lane->slots[0].request;
    assert_int_equal(seen->seq, 1);
    assert_true(seen->function == 7000 && seen->flags == 7);
    assert_memory_equal(seen->args, sent.args, sizeof sent.args);
    assert_int_equal(lane->slots[1].request.seq, 0);
}

/* Pushes `count` requests at once, from request(n) on. */
static void push_all(uint32_t n, uint32_t count)
{
    struct aee__ring_request sent[AEE_RING_SLOTS];
    const struct aee__ring_request *all[AEE_RING_SLOTS];
    for (uint32_t i = 0; i < count; i++) {
        sent[i] = request(n + i);
        all[i] = &sent[i];
    }
    aee__call_ring_expect(&ring, count);
    aee__call_ring_push_all(&ring, all, count);
}

/* In runs of all sizes, across the ends of the slots and of the numbers. */
static void test_runs(void **state)
{
    (void)state;
    struct aee__ring_reply replies[AEE_RING_SLOTS];
    ring.submitted = ring.completed = UINT32_MAX - 500;
    for (uint32_t count = 0; count <= AEE_RING_SLOTS; count++) {
        uint32_t first = ring.submitted;
        push_all(count, count);
        assert_int_equal(aee__call_ring_outstanding(&ring), count);
        assert_int_equal(aee__call_ring_pop_all(&ring, replies), 0);
        for (uint32_t i = 0; i < count; i++) {
            const struct aee_abi_request *seen = &lane->slots[(first + i) % AEE_RING_SLOTS].request;
            assert_true(seen->flags == count + i && seen->args[5] == ~(uint64_t)(count + i));
            answer(first + i + 1);
        }
        assert_int_equal(aee__call_ring_pop_all(&ring, replies), count);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t n = count + i;
            assert_true(replies[i].value == 1001 * n && replies[i].double_value == ~n);
        }
        assert_int_equal(aee__call_ring_outstanding(&ring), 0);
    }
    assert_true(ring.submitted < 10000);
}

/* A reply counts when all before it are there; none beyond what was asked for ever does. */
static void test_forged_runs(void **state)
{
    (void)state;
    struct aee__ring_reply replies[AEE_RING_SLOTS];
    push_all(1, 5);
    answer(2);
    answer(4);
    assert_int_equal(aee__call_ring_pop_all(&ring, replies), 0);
    answer(1);
    lane->slots[2].reply.seq = 67; /* a turn later */
    assert_int_equal(aee__call_ring_pop_all(&ring, replies), 2);
    assert_true(replies[1].value == 1001 * 2);
    for (uint32_t i = 0; i < AEE_RING_SLOTS; i++) {
        lane->slots[i].reply.seq = i + 1;
    }
    assert_int_equal(aee__call_ring_pop_all(&ring, replies), 3);
    assert_int_equal(aee__call_ring_pop_all(&ring, replies), 0);
    assert_int_equal(ring.completed, 5);
}

/* Only the very next number counts; nothing that the guest writes moves the host's counts. */
static void test_forged_replies(void **state)
{
    (void)state;
    struct aee__ring_reply reply;
    const uint32_t wrong[] = {0, 2, 3, AEE_RING_SLOTS, AEE_RING_SLOTS + 1, UINT32_MAX, 0x80000001u};
    memset(lane->slots, 0xff, sizeof lane->slots);
    assert_false(aee__call_ring_pop(&ring, &reply)); /* nothing was asked */
    lane->slots[0].reply.seq = 1;                    /* an answer before the question */
    assert_false(aee__call_ring_pop(&ring, &reply));
    assert_int_equal(ring.completed, 0);
    struct aee__ring_request sent = request(1);
    aee__call_ring_push(&ring, &sent);
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        lane->slots[0].reply.seq = wrong[i];
        assert_false(aee__call_ring_answered(&ring));
        assert_false(aee__call_ring_pop(&ring, &reply));
    }
    for (unsigned i = 1; i < AEE_RING_SLOTS; i++) { /* in other slots it means nothing */
        lane->slots[i].reply.seq = 1;
    }
    assert_false(aee__call_ring_pop(&ring, &reply));
    memset(&lane->slots[0].request, 0xee, sizeof lane->slots[0].request); /* its own question */
    lane->slots[0].reply.seq = 1;
    assert_true(aee__call_ring_pop(&ring, &reply));
    assert_false(aee__call_ring_pop(&ring, &reply)); /* once */
    assert_int_equal(ring.submitted, 1);
    assert_int_equal(ring.completed, 1);
}

/* ---- Host calls ----------------------------------------------------------------------------------- */

static struct aee_abi_host_request *ask(uint32_t level, uint32_t seq)
{
    struct aee_abi_host_request *asked = &lane->levels[level].request;
    memset(asked, 0, sizeof *asked);
    asked->kind = AEE_HOST_CALL_INVOKE;
    asked->payload_size = 5;
    asked->payload_capacity = AEE_MAX_PAYLOAD;
    for (unsigned i = 0; i < AEE_MAX_ARGS; i++) {
        asked->args[i] = UINT64_C(0x1111111111111111) * i;
    }
    strcpy(asked->name, "score");
    __atomic_store_n(&asked->seq, seq, __ATOMIC_RELEASE);
    return asked;
}

static void test_host_call(void **state)
{
    (void)state;
    struct aee__ring_host_call call;
    for (uint32_t level = 0; level < AEE_HOST_CALL_DEPTH; level++) {
        assert_int_equal(aee__call_ring_host_call(&ring, level, &call), AEE__RING_NONE);
        for (uint32_t seq = 1; seq < 4; seq++) {
            const struct aee_abi_host_request *asked = ask(level, seq);
            assert_int_equal(aee__call_ring_host_call(&ring, level, &call), AEE__RING_READY);
            assert_int_equal(call.kind, asked->kind);
            assert_int_equal(call.payload_size, 5);
            assert_int_equal(call.payload_capacity, AEE_MAX_PAYLOAD);
            assert_memory_equal(call.args, asked->args, sizeof call.args);
            assert_string_equal(call.name, "score");
            /* It stays until it is answered. */
            assert_int_equal(aee__call_ring_host_call(&ring, level, &call), AEE__RING_READY);
            aee__call_ring_host_reply(&ring, level, AEE_HOST_FAILED, -7, "reply", 5);
            const struct aee_abi_host_reply *reply = &lane->levels[level].reply;
            assert_int_equal(reply->seq, seq);
            assert_int_equal(reply->status, AEE_HOST_FAILED);
            assert_int_equal(reply->value, -7);
            assert_int_equal(reply->payload_size, 5);
            assert_memory_equal(lane->host_arena, "reply", 5);
            assert_int_equal(lane->host_arena[5], 0); /* not a byte more */
            assert_int_equal(aee__call_ring_host_call(&ring, level, &call), AEE__RING_NONE);
        }
    }
}

static void test_host_call_numbers(void **state)
{
    (void)state;
    struct aee__ring_host_call call;
    const uint32_t wrong[] = {0, 2, 1000, UINT32_MAX, 0x80000001u};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        (void)ask(0, wrong[i]);
        assert_int_equal(aee__call_ring_host_call(&ring, 0, &call), AEE__RING_NONE);
    }
    ring.host_calls[0] = UINT32_MAX; /* the next one is number 2^32, which is 0 */
    (void)ask(0, 0);
    assert_int_equal(aee__call_ring_host_call(&ring, 0, &call), AEE__RING_READY);
    aee__call_ring_host_reply(&ring, 0, AEE_HOST_OK, 1, NULL, 0);
    assert_int_equal(ring.host_calls[0], 0);
    lane->levels[0].reply.seq = 99; /* the guest rewrites our answer: we do not care */
    (void)ask(0, 1);
    assert_int_equal(aee__call_ring_host_call(&ring, 0, &call), AEE__RING_READY);
}

static void test_malformed(void **state)
{
    (void)state;
    struct aee__ring_host_call call;
    const uint32_t sizes[] = {AEE_MAX_PAYLOAD + 1, 0x80000000u, UINT32_MAX};
    for (unsigned i = 0; i < 3; i++) {
        ask(0, 1)->payload_size = sizes[i];
        assert_int_equal(aee__call_ring_host_call(&ring, 0, &call), AEE__RING_MALFORMED);
        ask(0, 1)->payload_capacity = sizes[i];
        assert_int_equal(aee__call_ring_host_call(&ring, 0, &call), AEE__RING_MALFORMED);
    }
    ask(0, 1)->payload_size = AEE_MAX_PAYLOAD;
    assert_int_equal(aee__call_ring_host_call(&ring, 0, &call), AEE__RING_READY);
    memset(ask(0, 1)->name, 'x', AEE_HOST_NAME_MAX); /* a name without an end */
    assert_int_equal(aee__call_ring_host_call(&ring, 0, &call), AEE__RING_MALFORMED);
    memset(ask(0, 1)->name, 'x', AEE_HOST_NAME_MAX - 1);
    assert_int_equal(aee__call_ring_host_call(&ring, 0, &call), AEE__RING_READY);
    assert_int_equal(strlen(call.name), AEE_HOST_NAME_MAX - 1);
    ask(0, 1)->kind = UINT32_MAX; /* what kinds there are, the ring does not know */
    assert_int_equal(aee__call_ring_host_call(&ring, 0, &call), AEE__RING_READY);
    aee__call_ring_host_reply(&ring, 0, AEE_HOST_BAD, 0, NULL, 0); /* one that is refused is over */
    assert_int_equal(aee__call_ring_host_call(&ring, 0, &call), AEE__RING_NONE);
}

static void test_largest_reply(void **state)
{
    (void)state;
    uint8_t *payload = malloc(AEE_MAX_PAYLOAD);
    for (unsigned i = 0; i < AEE_MAX_PAYLOAD; i++) {
        payload[i] = (uint8_t)(i * 7);
    }
    aee__call_ring_host_reply(&ring, 0, AEE_HOST_OK, 0, payload, AEE_MAX_PAYLOAD);
    assert_memory_equal(lane->host_arena, payload, AEE_MAX_PAYLOAD);
    free(payload);
}

/* ---- A guest that rewrites what the host reads ------------------------------------------------------ */

static _Atomic bool stop;

static void *rewrite(void *unused)
{
    struct aee_abi_host_request *asked = &lane->levels[0].request;
    for (uint32_t i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++) {
        __atomic_store_n(&asked->payload_size, i & 1 ? UINT32_MAX : 8u, __ATOMIC_RELAXED);
        __atomic_store_n(&asked->payload_capacity, i & 2 ? UINT32_MAX : 8u, __ATOMIC_RELAXED);
        __atomic_store_n(&asked->name[AEE_HOST_NAME_MAX - 1], i & 4 ? 'A' : 0, __ATOMIC_RELAXED);
    }
    return unused;
}

/* What is called ready is sound, whatever happens to the original meanwhile. */
static void test_rewritten(void **state)
{
    (void)state;
    pthread_t thread;
    unsigned ready = 0;
    unsigned malformed = 0;
    memset(ask(0, 1)->name, 'A', AEE_HOST_NAME_MAX - 1);
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, rewrite, NULL), 0);
    for (unsigned i = 0; i < 2000000 && (i < 200000 || ready == 0 || malformed == 0); i++) {
        struct aee__ring_host_call call;
        enum aee__ring_poll poll = aee__call_ring_host_call(&ring, 0, &call);
        ready += poll == AEE__RING_READY;
        malformed += poll == AEE__RING_MALFORMED;
        if (poll == AEE__RING_READY &&
            (call.payload_size > AEE_MAX_PAYLOAD || call.payload_capacity > AEE_MAX_PAYLOAD ||
             !memchr(call.name, '\0', sizeof call.name))) {
            atomic_store(&stop, true);
            (void)pthread_join(thread, NULL);
            fail_msg("a host call that is not sound was called ready");
        }
    }
    atomic_store(&stop, true);
    (void)pthread_join(thread, NULL);
    print_message("%u ready, %u malformed\n", ready, malformed);
    assert_true(ready > 0 && malformed > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_slots_wrap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_request_is_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_numbers_wrap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_request_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_forged_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_forged_replies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_host_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_host_call_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_malformed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_largest_reply, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rewritten, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
