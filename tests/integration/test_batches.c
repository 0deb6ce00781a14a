/* test_batches.c: calls that do not wait: submission, completion, order, limits, cancellation,
 * deadlines, payloads, several threads. What happens when a context ends is in test_batch_ends.c.
 */
#include "batch.h"

enum { MANY = 5000, CONTEXTS = 8 };
static aee_call_item items[MANY];
static aee_completion done[MANY];
static bool seen[MANY];

/* ---- One, many, spread ------------------------------------------------------------------------ */

static void fill(const aee_context *contexts, const aee_function *blend, uint32_t over,
                 uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        items[i] = item2(contexts[i % over], blend[i % over], i, (int64_t)i * 7 - 3);
        items[i].user = &items[i];
    }
}

/* Each once, each with its own result. */
static void check_all(uint32_t count)
{
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = done[i].index;
        assert_true(index < count);
        assert_false(seen[index]);
        seen[index] = true;
        assert_int_equal(done[i].result, AEE_OK);
        assert_int_equal(done[i].value.type, AEE_TYPE_I64);
        assert_true(done[i].value.as.i64 == blended(index, (int64_t)index * 7 - 3));
        assert_ptr_equal(done[i].user, &items[index]);
        assert_int_equal(done[i].reply_size, 0);
    }
}

static void all_sizes_over_one_and_many_contexts(void **state)
{
    static const uint32_t counts[] = {1, 2, 63, 64, 65, 1000, MANY};
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context contexts[CONTEXTS];
        aee_function blend[CONTEXTS];
        for (unsigned i = 0; i < CONTEXTS; i++) {
            contexts[i] = make_context(bed, "worker", batch_modes[m], 1 + i % 3);
            blend[i] = find(bed, contexts[i], "blend");
        }
        for (unsigned c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            for (unsigned over = 1; over <= CONTEXTS; over += CONTEXTS - 1) {
                fill(contexts, blend, over, counts[c]);
                aee_batch batch = submit(bed, items, counts[c]);
                wait_all(bed, batch, done, counts[c]);
                check_all(counts[c]);
                expect_stale(bed, batch);
            }
        }
        uint64_t calls = 0;
        for (unsigned i = 0; i < CONTEXTS; i++) {
            aee_context_info info = info_of(bed, contexts[i]);
            calls += info.calls;
            assert_int_equal(info.failed_calls, 0);
            assert_int_equal(info.queued_calls, 0);
            ASSERT_OK(bed, aee_destroy(bed->engine, contexts[i], &bed->error));
        }
        /* Of both rounds, and an initialiser each where the image has one. */
        uint64_t sent = 2 * (1 + 2 + 63 + 64 + 65 + 1000 + MANY);
        assert_in_range(calls, sent, sent + CONTEXTS);
    }
}

/* On one lane calls begin, and so end, in the order of submission. */
static void one_lane_keeps_the_order(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "order", batch_modes[m], 1);
        aee_function count = find(bed, context, "count");
        for (uint32_t i = 0; i < 700; i++) {
            items[i] = (aee_call_item){.context = context, .function = count};
        }
        aee_batch first = submit(bed, items, 300);
        aee_batch second = submit(bed, items, 400);
        wait_all(bed, second, done, 400);
        for (uint32_t i = 0; i < 400; i++) {
            assert_int_equal(done[i].index, i);
            assert_int_equal(done[i].value.as.i64, 300 + i + 1);
        }
        wait_all(bed, first, done, 300);
        for (uint32_t i = 0; i < 300; i++) {
            assert_int_equal(done[i].index, i);
            assert_int_equal(done[i].value.as.i64, i + 1);
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

/* The completions come in the order in which the calls ended, not in which they were submitted. */
static void completion_order_is_that_of_the_ends(void **state)
{
    struct bed *bed = *state;
    aee_context slow = make_context(bed, "slow", AEE_CALL_RING, 1);
    aee_context fast = make_context(bed, "fast", AEE_CALL_RING, 1);
    items[0] = item2(slow, find(bed, slow, "spin_for"), 20000000, 5);
    for (int i = 1; i < 10; i++) {
        items[i] = item2(fast, find(bed, fast, "blend"), i, 0);
    }
    aee_batch batch = submit(bed, items, 10);
    wait_all(bed, batch, done, 10);
    assert_int_equal(done[9].index, 0);
    assert_int_equal(done[9].value.as.i64, 5);
    for (uint32_t i = 0; i < 9; i++) {
        assert_int_equal(done[i].index, i + 1);
    }
}

static void doubles_and_their_types(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "doubles", AEE_CALL_AUTO, 2);
    aee_function scale_by = find(bed, context, "scale_by");
    aee_function mixed = find(bed, context, "mixed");
    for (int i = 0; i < 200; i++) {
        items[i] = (aee_call_item){.context = context,
                                   .function = i % 2 ? scale_by : mixed,
                                   .arg_count = i % 2 ? 2 : 4,
                                   .result_type = AEE_TYPE_F64,
                                   .args = {aee_f64(i), aee_f64(0.25)}};
        if (i % 2 == 0) {
            items[i].args[0] = aee_i64(1);
            items[i].args[1] = aee_f64(i);
            items[i].args[2] = aee_i64(-3);
            items[i].args[3] = aee_f64(0.5);
        }
    }
    aee_batch batch = submit(bed, items, 200);
    wait_all(bed, batch, done, 200);
    for (int i = 0; i < 200; i++) {
        double index = done[i].index;
        assert_int_equal(done[i].value.type, AEE_TYPE_F64);
        assert_true(done[i].value.as.f64 ==
                    (done[i].index % 2 ? index * 0.25 : 1 + 10 * index - 300 + 500));
    }
}

/* ---- Payloads --------------------------------------------------------------------------------- */

enum { PAYLOADS = 96 };

static void payloads_land_where_they_belong(void **state)
{
    static const uint32_t sizes[] = {0, 1, 65536, 63, 4096, 64, 30000, 65535, 7};
    static uint8_t in[PAYLOADS][65536];
    static uint8_t out[PAYLOADS][65536 + 8];
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "bytes", batch_modes[m], 2);
        aee_function reverse = find(bed, context, "reverse");
        memset(out, 0xee, sizeof out);
        for (uint32_t i = 0; i < PAYLOADS; i++) {
            uint32_t size = sizes[i % (sizeof sizes / sizeof sizes[0])];
            for (uint32_t k = 0; k < size; k++) {
                in[i][k] = (uint8_t)(i * 5 + k * 3 + (k >> 8));
            }
            items[i] = (aee_call_item){.context = context,
                                       .function = reverse,
                                       .flags = AEE_ITEM_BYTES,
                                       .request = in[i],
                                       .request_size = size,
                                       .reply = out[i],
                                       .reply_capacity = size};
        }
        aee_batch batch = submit(bed, items, PAYLOADS);
        wait_all(bed, batch, done, PAYLOADS);
        for (uint32_t n = 0; n < PAYLOADS; n++) {
            uint32_t i = done[n].index;
            uint32_t size = (uint32_t)items[i].request_size;
            assert_int_equal(done[n].result, AEE_OK);
            assert_int_equal(done[n].reply_size, size);
            for (uint32_t k = 0; k < size; k++) {
                assert_int_equal(out[i][k], in[i][size - 1 - k]);
            }
            for (uint32_t k = size; k < size + 8; k++) {
                assert_int_equal(out[i][k], 0xee); /* nothing beyond its buffer */
            }
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

static void bad_replies_fail_alone(void **state)
{
    struct bed *bed = *state;
    static uint8_t in[100];
    static uint8_t out[3][100];
    aee_context context = make_context(bed, "bytes", AEE_CALL_RING, 1);
    aee_function reverse = find(bed, context, "reverse");
    for (int i = 0; i < 3; i++) {
        items[i] = (aee_call_item){.context = context,
                                   .function = reverse,
                                   .flags = AEE_ITEM_BYTES,
                                   .request = in,
                                   .request_size = sizeof in,
                                   .reply = out[i],
                                   .reply_capacity = sizeof in};
    }
    items[0].reply_capacity = sizeof in - 1;
    items[1].function = find(bed, context, "refuse");
    aee_batch batch = submit(bed, items, 3);
    wait_all(bed, batch, done, 3);
    assert_int_equal(done[0].result, AEE_ERR_TOO_LARGE);
    assert_int_equal(done[0].reply_size, 0);
    assert_int_equal(done[1].result, AEE_ERR_COMPONENT);
    assert_int_equal(done[2].result, AEE_OK);
    assert_int_equal(done[2].reply_size, sizeof in);
}

/* ---- Polling and waiting ---------------------------------------------------------------------- */

static void poll_never_blocks(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "slow", batch_modes[m], 1);
        items[0] = item1(context, find(bed, context, "hang"), 1);
        set_budget(bed, context, scaled(2 * SECOND));
        uint64_t begin = now_ns();
        aee_batch batch = submit(bed, items, 1);
        uint32_t count = 9;
        for (int i = 0; i < 100; i++) {
            ASSERT_OK(bed, aee_poll(bed->engine, batch, done, 1, &count, &bed->error));
            if (count > 0) {
                break;
            }
        }
        assert_true(now_ns() - begin < scaled(2 * SECOND)); /* less than one call's budget */
        assert_int_equal(count, 0);
        wait_all(bed, batch, done, 1);
        assert_int_equal(done[0].result, AEE_ERR_HUNG);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

static void polling_alone_gets_everything(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "ring", AEE_CALL_RING, 2);
    aee_function blend = find(bed, context, "blend");
    fill(&context, &blend, 1, 1000);
    aee_batch batch = submit(bed, items, 1000);
    uint64_t end = now_ns() + scaled(PATIENCE);
    uint32_t taken = 0;
    while (taken < 1000 && now_ns() < end) {
        uint32_t count = 0;
        ASSERT_OK(bed, aee_poll(bed->engine, batch, done + taken, 7, &count, &bed->error));
        assert_true(count <= 7);
        taken += count;
    }
    assert_int_equal(taken, 1000);
    check_all(1000);
    expect_stale(bed, batch);
}

static void waiting_in_parts(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "parts", batch_modes[m], 2);
        aee_function blend = find(bed, context, "blend");
        fill(&context, &blend, 1, 500);
        aee_batch batch = submit(bed, items, 500);
        uint32_t taken = 0;
        while (taken < 500) {
            uint32_t count = 0;
            uint32_t want = taken % 3 ? 97 : 13;
            ASSERT_OK(bed, aee_wait(bed->engine, batch, done + taken, want, &count,
                                    scaled(PATIENCE), &bed->error));
            assert_int_equal(count, want < 500 - taken ? want : 500 - taken);
            taken += count;
        }
        check_all(500);
        expect_stale(bed, batch);
        uint32_t count = 0;
        batch = submit(bed, items, 500); /* and without looking at them */
        ASSERT_OK(bed,
                  aee_wait(bed->engine, batch, NULL, 0, &count, scaled(PATIENCE), &bed->error));
        assert_int_equal(count, 500);
        expect_stale(bed, batch);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

/* A wait comes back a call's length after its timeout, not when all is done. */
static void waits_time_out(void **state)
{
    enum { CALLS = 40 };
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "slow", batch_modes[m], 1);
        aee_function spin = find(bed, context, "spin_for");
        int64_t turns = 100000;
        uint64_t took = 0;
        while (took < 20 * MS) { /* so long that a call takes 20 ms here */
            turns *= 2;
            uint64_t begin = now_ns();
            (void)value2(bed, context, "spin_for", turns, 1, 2);
            took = now_ns() - begin;
        }
        for (int i = 0; i < CALLS; i++) {
            items[i] = item2(context, spin, turns, i);
        }
        aee_batch batch = submit(bed, items, CALLS);
        uint32_t count = 99;
        uint64_t begin = now_ns();
        aee_result result = aee_wait(bed->engine, batch, done, CALLS, &count, took, &bed->error);
        uint64_t waited = now_ns() - begin;
        assert_int_equal(result, AEE_ERR_TIMED_OUT);
        assert_true(waited >= took);
        if (waited > CALLS / 2 * took) {
            fail_msg("mode %u: a wait for %llu ms took %llu ms, %u calls long", m,
                     (unsigned long long)(took / MS), (unsigned long long)(waited / MS), count);
        }
        assert_true(count < CALLS);
        wait_all(bed, batch, done + count, CALLS - count);
        for (uint32_t i = 0; i < CALLS; i++) {
            assert_int_equal(done[i].index, i); /* those of the wait that timed out too */
            assert_int_equal(done[i].value.as.i64, i);
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

/* ---- Deadlines and cancelling ----------------------------------------------------------------- */

/* Who waits for a moment only leaves in the middle of a call. No time of the component's passes
 * until somebody runs it again, be it longer than its budget. */
static void waits_in_the_middle(void **state)
{
    enum { FAST = 128, SLOW = 20 };
    struct bed *bed = *state;
    aee_context context = make_context(bed, "left alone", AEE_CALL_DIRECT, 1);
    aee_limits limits = {.call_budget_ns = scaled(500 * MS)};
    ASSERT_OK(bed, aee_set_limits(bed->engine, context, &limits, &bed->error));
    aee_function spin = find(bed, context, "spin_for");
    int64_t turns = 100000;
    uint64_t took = 0;
    while (took < 20 * MS) {
        turns *= 2;
        uint64_t begin = now_ns();
        (void)value2(bed, context, "spin_for", turns, 1, 2);
        took = now_ns() - begin;
    }
    for (int i = 0; i < FAST; i++) { /* from now on many are begun at once */
        items[i] = item2(context, spin, 1, i);
    }
    wait_all(bed, submit(bed, items, FAST), done, FAST);
    for (int i = 0; i < SLOW; i++) {
        items[i] = item2(context, spin, turns, i);
    }
    aee_batch batch = submit(bed, items, SLOW);
    uint32_t count = 0;
    uint64_t begin = now_ns();
    aee_result result = aee_wait(bed->engine, batch, done, SLOW, &count, took / 2, &bed->error);
    assert_int_equal(result, AEE_ERR_TIMED_OUT);
    assert_true(now_ns() - begin < SLOW / 2 * took);
    sleep_ns(scaled(700 * MS));
    uint32_t rest = 0;
    ASSERT_OK(bed, aee_wait(bed->engine, batch, done + count, SLOW - count, &rest, 60 * SECOND,
                            &bed->error));
    assert_int_equal(count + rest, SLOW);
    for (int i = 0; i < SLOW; i++) {
        assert_int_equal(done[i].result, AEE_OK);
    }
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
}

static void deadlines(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "late", batch_modes[m], 1);
        struct gate gate = make_gate(bed, context);
        aee_function blend = find(bed, context, "blend");
        /* The first holds the lane; the ring takes some calls at once: they have begun. */
        items[0] = gate_item(bed, context, gate);
        for (int i = 1; i < 200; i++) {
            items[i] = item2(context, blend, i, 0);
            items[i].deadline_ns = i % 2 ? now_ns() + scaled(100 * MS) : 0;
        }
        items[7].deadline_ns = 1; /* long ago */
        aee_batch batch = submit(bed, items, 200);
        sleep_ns(scaled(120 * MS));
        atomic_store(gate.word, 1);
        wait_all(bed, batch, done, 200);
        uint32_t late = 0;
        for (uint32_t i = 0; i < 200; i++) {
            bool has = items[done[i].index].deadline_ns != 0;
            late += done[i].result == AEE_ERR_TIMED_OUT;
            assert_true(done[i].result == AEE_OK || (has && done[i].result == AEE_ERR_TIMED_OUT));
            if (done[i].index == 7) {
                assert_int_equal(done[i].result, AEE_ERR_TIMED_OUT);
            }
            if (done[i].index > 0 && done[i].result == AEE_OK) {
                assert_true(done[i].value.as.i64 == blended(done[i].index, 0));
            }
        }
        assert_true(late >= (200 - 64) / 2 - 1); /* all that did not fit into the ring */
        assert_int_equal(info_of(bed, context).queued_calls, 0);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
        ASSERT_OK(bed, aee_region_destroy(bed->engine, gate.region, &bed->error));
    }
}

static void cancelling(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "cancel", batch_modes[m], 1);
        struct gate gate = make_gate(bed, context);
        aee_function blend = find(bed, context, "blend");
        items[0] = gate_item(bed, context, gate);
        for (int i = 1; i < 300; i++) {
            items[i] = item2(context, blend, i, 0);
        }
        aee_batch batch = submit(bed, items, 300);
        uint32_t number = 9;
        ASSERT_OK(bed, aee_cancel(bed->engine, batch, 299, &number, &bed->error));
        assert_int_equal(number, 1);
        ASSERT_OK(bed, aee_cancel(bed->engine, batch, 299, &number, &bed->error));
        assert_int_equal(number, 0); /* it is cancelled already */
        assert_int_equal(aee_cancel(bed->engine, batch, 300, &number, &bed->error),
                         AEE_ERR_INVALID_ARGUMENT);
        assert_int_equal(number, 0);
        ASSERT_OK(bed, aee_cancel(bed->engine, batch, AEE_ALL_CALLS, &number, &bed->error));
        assert_in_range(number, 300 - 64 - 1, 299); /* what the ring holds has begun */
        uint32_t cancelled = 1 + number;
        uint32_t count = 0;
        ASSERT_OK(bed, aee_poll(bed->engine, batch, done, 300, &count, &bed->error));
        assert_true(count >= cancelled);
        atomic_store(gate.word, 1);
        if (count < 300) {
            wait_all(bed, batch, done + count, 300 - count);
        }
        for (uint32_t i = 0; i < 300; i++) {
            cancelled -= done[i].result == AEE_ERR_CANCELLED;
            assert_true(done[i].result == AEE_ERR_CANCELLED || done[i].index == 0 ||
                        done[i].value.as.i64 == blended(done[i].index, 0));
        }
        assert_int_equal(cancelled, 0);
        expect_stale(bed, batch);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
        ASSERT_OK(bed, aee_region_destroy(bed->engine, gate.region, &bed->error));
    }
}

static void *open_gate_later(void *argument)
{
    sleep_ns(50 * MS);
    atomic_store((_Atomic int64_t *)argument, 1);
    return NULL;
}

static void releasing_what_is_in_flight(void **state)
{
    struct bed *bed = *state;
    ASSERT_OK(bed, aee_batch_release(bed->engine, (aee_batch){0}, &bed->error));
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "release", batch_modes[m], 1);
        struct gate gate = make_gate(bed, context);
        aee_function count = find(bed, context, "count");
        items[0] = gate_item(bed, context, gate);
        for (int i = 1; i < 300; i++) {
            items[i] = (aee_call_item){.context = context, .function = count};
        }
        pthread_t opener;
        aee_batch batch = submit(bed, items, 300);
        assert_int_equal(pthread_create(&opener, NULL, open_gate_later, (void *)gate.word), 0);
        ASSERT_OK(bed, aee_batch_release(bed->engine, batch, &bed->error));
        assert_int_equal(pthread_join(opener, NULL), 0);
        expect_stale(bed, batch);
        assert_in_range(value0(bed, context, "count"), 1, 64);
        assert_int_equal(info_of(bed, context).queued_calls, 0);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
        ASSERT_OK(bed, aee_region_destroy(bed->engine, gate.region, &bed->error));
    }
}

/* ---- Limits and refusals ---------------------------------------------------------------------- */

static aee_batch shared;

static void *take_some_later(void *argument)
{
    struct bed *bed = argument;
    aee_completion taken[32];
    uint32_t count = 0;
    sleep_ns(50 * MS);
    (void)aee_wait(bed->engine, shared, taken, 32, &count, scaled(PATIENCE), NULL);
    return NULL;
}

static void max_submitted_refuses_or_blocks(void **state)
{
    (void)state;
    struct bed bed;
    aee_engine_desc desc = {.struct_size = sizeof desc, .max_submitted = 100};
    bed_open(&bed, &desc);
    aee_context context = make_context(&bed, "limit", AEE_CALL_RING, 1);
    aee_function blend = find(&bed, context, "blend");
    fill(&context, &blend, 1, 101);
    aee_batch refused = {5};
    assert_int_equal(aee_submit(bed.engine, items, 101, 0, &refused, &bed.error), AEE_ERR_LIMIT);
    assert_int_equal(refused.id, 0);
    /* More than there will ever be room for is refused, not waited for. */
    assert_int_equal(aee_submit(bed.engine, items, 101, AEE_SUBMIT_BLOCK, &refused, &bed.error),
                     AEE_ERR_LIMIT);
    aee_batch batch = submit(&bed, items, 100);
    assert_int_equal(aee_submit(bed.engine, items, 1, 0, &refused, &bed.error), AEE_ERR_LIMIT);
    assert_non_null(strstr(bed.error.text, "100"));
    uint32_t count = 0;
    ASSERT_OK(&bed, aee_wait(bed.engine, batch, done, 40, &count, scaled(PATIENCE), &bed.error));
    assert_int_equal(count, 40);
    aee_batch other = submit(&bed, items, 40); /* what was taken makes room */
    assert_int_equal(aee_submit(bed.engine, items, 1, 0, &refused, &bed.error), AEE_ERR_LIMIT);
    pthread_t taker;
    shared = batch;
    assert_int_equal(pthread_create(&taker, NULL, take_some_later, &bed), 0);
    uint64_t begin = now_ns();
    ASSERT_OK(&bed, aee_submit(bed.engine, items + 1, 30, AEE_SUBMIT_BLOCK, &refused, &bed.error));
    assert_true(now_ns() - begin > 20 * MS);
    assert_int_equal(pthread_join(taker, NULL), 0);
    wait_all(&bed, refused, done, 30);
    ASSERT_OK(&bed, aee_batch_release(bed.engine, other, &bed.error));
    ASSERT_OK(&bed, aee_batch_release(bed.engine, batch, &bed.error));
    bed_close(&bed);
}

/* One bad call refuses all, names the first, and nothing has run. */
static void expect_refusal(struct bed *bed, aee_context context, uint32_t index, aee_result result)
{
    char number[32];
    aee_batch batch = {5};
    aee_result got = aee_submit(bed->engine, items, 10, 0, &batch, &bed->error);
    if (got != result) {
        fail_msg("%s instead of %s: %s", aee_result_name(got), aee_result_name(result),
                 got ? bed->error.text : "");
    }
    assert_int_equal(batch.id, 0);
    (void)snprintf(number, sizeof number, " %u", index);
    if (!strstr(bed->error.text, number)) {
        fail_msg("call %u is not named: %s", index, bed->error.text);
    }
    assert_int_equal(info_of(bed, context).queued_calls, 0);
    items[index] = item2(context, items[0].function, 1, 2);
    items[9] = items[index];
}

static void bad_calls_are_refused_as_a_whole(void **state)
{
    struct bed *bed = *state;
    uint8_t byte = 0;
    aee_context context = make_context(bed, "good", AEE_CALL_RING, 1);
    aee_context other = make_context(bed, "other", AEE_CALL_RING, 1);
    aee_function blend = find(bed, context, "blend");
    fill(&context, &blend, 1, 10);
    uint64_t calls = info_of(bed, context).calls;
    items[5].context.id ^= UINT64_C(1) << 40;
    items[9].context.id = 12345;
    aee_batch batch;
    assert_int_not_equal(aee_submit(bed->engine, items, 10, 0, &batch, &bed->error), AEE_OK);
    assert_non_null(strstr(bed->error.text, " 5"));
    fill(&context, &blend, 1, 10);
    items[3].arg_count = 1;
    items[9].arg_count = 7;
    expect_refusal(bed, context, 3, AEE_ERR_ARGUMENT_COUNT);
    items[4].arg_count = 7;
    expect_refusal(bed, context, 4, AEE_ERR_ARGUMENT_COUNT);
    items[2].flags = 0x80;
    expect_refusal(bed, context, 2, AEE_ERR_INVALID_ARGUMENT);
    items[2].reserved0 = 1;
    expect_refusal(bed, context, 2, AEE_ERR_INVALID_ARGUMENT);
    items[6].args[1].type = (aee_type)9;
    expect_refusal(bed, context, 6, AEE_ERR_INVALID_ARGUMENT);
    items[6].args[0] = aee_f64(1);
    expect_refusal(bed, context, 6, AEE_ERR_ARGUMENT_COUNT);
    items[6].request_size = 1;
    expect_refusal(bed, context, 6, AEE_ERR_INVALID_ARGUMENT);
    items[6].reply_capacity = 1;
    expect_refusal(bed, context, 6, AEE_ERR_INVALID_ARGUMENT);
    items[7].result_type = AEE_TYPE_F64;
    expect_refusal(bed, context, 7, AEE_ERR_ARGUMENT_COUNT);
    items[7].budget_ns = 49999;
    expect_refusal(bed, context, 7, AEE_ERR_INVALID_ARGUMENT);
    items[1].context = other;
    expect_refusal(bed, context, 1, AEE_ERR_WRONG_HANDLE);
    aee_call_item bytes = {.context = context,
                           .function = find(bed, context, "reverse"),
                           .flags = AEE_ITEM_BYTES,
                           .request = &byte,
                           .request_size = 65537};
    items[8] = bytes;
    expect_refusal(bed, context, 8, AEE_ERR_TOO_LARGE);
    items[8] = bytes;
    items[8].request = NULL;
    items[8].request_size = 1;
    expect_refusal(bed, context, 8, AEE_ERR_INVALID_ARGUMENT);
    ASSERT_OK(bed, aee_pause(bed->engine, other, &bed->error));
    items[4] = item2(other, find(bed, other, "blend"), 1, 2);
    expect_refusal(bed, context, 4, AEE_ERR_PAUSED);
    assert_int_equal(aee_submit(bed->engine, items, 0, 0, &batch, NULL), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_submit(bed->engine, NULL, 1, 0, &batch, NULL), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_submit(bed->engine, items, 1, 0, NULL, NULL), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_submit(bed->engine, items, 1, 8, &batch, NULL), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_submit(bed->engine, items, 65537, 0, &batch, NULL),
                     AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(info_of(bed, context).calls, calls);
    aee_batch forged = {.id = context.id};
    assert_int_not_equal(aee_batch_release(bed->engine, forged, NULL), AEE_OK);
}

/* ---- Allocation ------------------------------------------------------------------------------- */

static struct ledger ledger;

static void no_allocation_after_warming_up(void **state)
{
    (void)state;
    struct bed bed;
    aee_engine_desc desc = {
        .struct_size = sizeof desc, .alloc = ledger_alloc, .alloc_user = &ledger};
    bed_open(&bed, &desc);
    EACH_MODE(m)
    {
        aee_context context = make_context(&bed, "lean", batch_modes[m], 2);
        aee_function blend = find(&bed, context, "blend");
        fill(&context, &blend, 1, 1000);
        for (int warm = 0; warm < 3; warm++) {
            wait_all(&bed, submit(&bed, items, 1000), done, 1000);
        }
        sleep_ns(50 * MS); /* the pool is being filled meanwhile */
        aee_stats stats = {0};
        uint64_t end = now_ns() + scaled(10 * SECOND);
        while (stats.pool_ready < 4 && now_ns() < end) {
            ASSERT_OK(&bed, aee_get_stats(bed.engine, &stats, &bed.error));
        }
        size_t before = atomic_load(&ledger.requests);
        for (int round = 0; round < 10; round++) {
            wait_all(&bed, submit(&bed, items, 600 + 40 * (uint32_t)round), done,
                     600 + 40 * (uint32_t)round);
            for (int i = 0; i < 50; i++) {
                (void)aee_call(bed.engine, context, blend, items[i].args, 2, NULL, NULL);
            }
        }
        assert_int_equal(atomic_load(&ledger.requests), before);
        ASSERT_OK(&bed, aee_destroy(bed.engine, context, &bed.error));
    }
    bed_close(&bed);
    assert_int_equal(atomic_load(&ledger.live), 0);
    assert_int_equal(atomic_load(&ledger.wrong), 0);
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        WITH_BED(all_sizes_over_one_and_many_contexts),
        WITH_BED(one_lane_keeps_the_order),
        WITH_BED(completion_order_is_that_of_the_ends),
        WITH_BED(doubles_and_their_types),
        WITH_BED(payloads_land_where_they_belong),
        WITH_BED(bad_replies_fail_alone),
        WITH_BED(poll_never_blocks),
        WITH_BED(polling_alone_gets_everything),
        WITH_BED(waiting_in_parts),
        WITH_BED(waits_time_out),
        WITH_BED(waits_in_the_middle),
        WITH_BED(deadlines),
        WITH_BED(cancelling),
        WITH_BED(releasing_what_is_in_flight),
        cmocka_unit_test(max_submitted_refuses_or_blocks),
        WITH_BED(bad_calls_are_refused_as_a_whole),
        cmocka_unit_test(no_allocation_after_warming_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
