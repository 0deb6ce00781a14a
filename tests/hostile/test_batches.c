/* test_batches.c: a component with many requests in its ring, or called from within its own host
 * calls, breaks the protocol; a second lane rewrites all that the host looks at. Whatever it does,
 * each call of each batch completes once, nothing is written beyond a buffer, and the engine lives.
 */
#include "hostile/watched_host.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { CALLS = 200, ATTACKS = 13, NESTED = 7 };

static aee_call_item items[CALLS];
static aee_completion done[CALLS];

static void fill(struct hostile *hostile, struct offender offender)
{
    aee_function answer = hostile_find(hostile, offender, "answer");
    for (uint32_t i = 0; i < CALLS; i++) {
        items[i] = (aee_call_item){
            .context = offender.context, .function = answer, .arg_count = 1, .args = {aee_i64(i)}};
    }
}

static bool may_come(aee_result result)
{
    return result == AEE_OK || result == AEE_ERR_CRASHED || result == AEE_ERR_HUNG ||
           result == AEE_ERR_STOPPED || result == AEE_ERR_RESTARTING;
}

/* Each once. What the component answers to itself is its own affair; it is this or a forgery. */
static void check_completions(uint32_t attacker)
{
    bool seen_index[CALLS] = {false};
    for (uint32_t i = 0; i < CALLS; i++) {
        uint32_t index = done[i].index;
        assert_true(index < CALLS);
        assert_false(seen_index[index]);
        seen_index[index] = true;
        if (!may_come(done[i].result)) {
            fail_msg("call %u: %s", index, aee_result_name(done[i].result));
        }
        int64_t value = done[i].value.as.i64;
        if (done[i].result == AEE_OK && index != attacker) {
            assert_true(value == index + 1 || value == 4711 || (value >= 0 && value <= CALLS));
        }
    }
}

static void wait_all(struct hostile *hostile, aee_batch batch)
{
    aee_error error;
    uint32_t count = 0;
    if (aee_wait(hostile->engine, batch, done, CALLS, &count, 20000 * MS * hostile_scale(),
                 &error) != AEE_OK) {
        fail_msg("%u of %d calls came: %s", count, CALLS, error.text);
    }
    assert_int_equal(count, CALLS);
    assert_int_equal(aee_batch_release(hostile->engine, batch, NULL), AEE_ERR_STALE);
}

static void in_a_batch(struct hostile *hostile, aee_call_mode mode)
{
    static const uint32_t places[] = {0, 1, 40, 63, 64, 199};
    for (int64_t attack = 0; attack < ATTACKS; attack++) {
        const aee_limits limits = {.call_budget_ns = 100 * MS * hostile_scale()};
        struct offender offender = watched_offender(hostile, mode, &limits);
        for (size_t p = 0; p < COUNT_OF(places); p++) {
            aee_batch batch;
            aee_error error;
            fill(hostile, offender);
            items[places[p]].function = hostile_find(hostile, offender, "batch_attack");
            items[places[p]].args[0] = aee_i64(attack);
            if (aee_restart(hostile->engine, offender.context, &error) != AEE_OK ||
                aee_submit(hostile->engine, items, CALLS, 0, &batch, &error) != AEE_OK) {
                fail_msg("%s", error.text);
            }
            wait_all(hostile, batch);
            check_completions(places[p]);
            hostile_expect_bystander(hostile);
        }
        /* Until then its forgeries may lie in the ring: for its own callers. */
        assert_int_equal(aee_restart(hostile->engine, offender.context, NULL), AEE_OK);
        hostile_expect_recovery(hostile, offender);
        assert_int_equal(hostile_info(hostile, offender).queued_calls, 0);
        hostile_destroy(hostile, offender);
    }
}

/* ---- Re-entry --------------------------------------------------------------------------------- */

static _Atomic uint64_t reentries;

static aee_result reenter(void *user, aee_host_call *call)
{
    aee_function answer;
    const int64_t one = 1;
    int64_t value = 0;
    (void)user;
    (void)atomic_fetch_add(&reentries, 1);
    aee_result result = aee_find_function(call->engine, call->context, "answer", &answer, NULL);
    return result == AEE_OK
               ? aee_call_i64(call->engine, call->context, answer, &one, 1, &value, NULL)
               : result;
}

static aee_result descend(void *user, aee_host_call *call)
{
    aee_function deeper;
    int64_t value = 0;
    (void)user;
    (void)atomic_fetch_add(&reentries, 1);
    aee_result result =
        aee_find_function(call->engine, call->context, "nested_depth", &deeper, NULL);
    return result == AEE_OK
               ? aee_call_i64(call->engine, call->context, deeper, &call->args[0], 1, &value, NULL)
               : result;
}

static struct offender reentrant_offender(struct hostile *hostile, aee_call_mode mode,
                                          uint32_t lanes)
{
    const aee_limits limits = {
        .call_budget_ns = 100 * MS * hostile_scale(), .lanes = lanes, .restart_window_ns = 1};
    struct offender offender = watched_offender(hostile, mode, &limits);
    (void)aee_register_host_function(hostile->engine, "reenter", reenter, NULL, NULL);
    (void)aee_register_host_function(hostile->engine, "descend", descend, NULL, NULL);
    assert_int_equal(aee_grant_host_function(hostile->engine, offender.context, "reenter", NULL),
                     AEE_OK);
    assert_int_equal(aee_grant_host_function(hostile->engine, offender.context, "descend", NULL),
                     AEE_OK);
    return offender;
}

static void within_a_host_call(struct hostile *hostile, aee_call_mode mode)
{
    const struct hostile_end end = {.ends = ENDS_RETURN | ENDS_CRASH | ENDS_HANG};
    for (int64_t attack = 0; attack < NESTED; attack++) {
        struct offender offender = reentrant_offender(hostile, mode, 1);
        for (int round = 0; round < 3; round++) {
            uint64_t before = atomic_load(&reentries);
            aee_result result = hostile_call1(hostile, offender, "nested_attack", attack, NULL);
            hostile_expect(hostile, offender, result, NULL, &end);
            assert_true(atomic_load(&reentries) <= before + 1);
            hostile_expect_bystander(hostile);
            hostile_expect_recovery(hostile, offender);
        }
        hostile_destroy(hostile, offender);
    }
}

/* The forged outer answer does not count while the engine is inside: the inner call's budget ends
 * it. */
static void forged_within(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = reentrant_offender(hostile, mode, 1);
    aee_result result = hostile_call1(hostile, offender, "nested_forge_spin", 1, NULL);
    assert_int_equal(result, AEE_ERR_HUNG);
    assert_int_equal(hostile_crash(hostile, offender).cause, AEE_CRASH_HUNG);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* Time in which it ran is not time that it waited. */
static void parks_for_time(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = reentrant_offender(hostile, mode, 1);
    const aee_call_item item = {.context = offender.context,
                                .function = hostile_find(hostile, offender, "reenter_then_park"),
                                .args = {aee_i64(1 << 18)}, /* some milliseconds */
                                .arg_count = 1};
    aee_completion ended;
    aee_batch batch;
    uint32_t count = 0;
    assert_int_equal(aee_submit(hostile->engine, &item, 1, 0, &batch, NULL), AEE_OK);
    assert_int_equal(
        aee_wait(hostile->engine, batch, &ended, 1, &count, 20000 * MS * hostile_scale(), NULL),
        AEE_OK);
    assert_int_equal(count, 1);
    if (ended.result != AEE_ERR_HUNG) {
        fail_msg("%s", hostile_crash(hostile, offender).text);
    }
    hostile_expect_recovery(hostile, offender);
    assert_int_equal(hostile_call1(hostile, offender, "reenter_then_park", 1 << 18, NULL),
                     AEE_ERR_HUNG);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* The counter is the guest's, for its own use: the host's bound is its own. */
static void corrupted_depth(struct hostile *hostile, aee_call_mode mode)
{
    static const int64_t depths[] = {0, 1, 3, 7, 8, 0x7fffffff, 0xffffffff};
    const struct hostile_end end = {.ends = ENDS_RETURN | ENDS_CRASH | ENDS_HANG};
    for (size_t i = 0; i < COUNT_OF(depths); i++) {
        struct offender offender = reentrant_offender(hostile, mode, 1);
        uint64_t before = atomic_load(&reentries);
        aee_result result = hostile_call1(hostile, offender, "nested_depth", depths[i], NULL);
        hostile_expect(hostile, offender, result, NULL, &end);
        assert_true(atomic_load(&reentries) <= before + AEE_REENTRY_MAX);
        hostile_expect_recovery(hostile, offender);
        hostile_destroy(hostile, offender);
    }
}

/* ---- A second lane ---------------------------------------------------------------------------- */

struct race {
    struct hostile *hostile;
    struct offender offender;
    _Atomic bool stop;
    uint64_t rounds;
};

static void *disturb(void *argument)
{
    struct race *race = argument;
    aee_engine *engine = race->hostile->engine;
    for (int64_t seed = 1; !atomic_load(&race->stop); seed++) {
        aee_function function;
        const int64_t args[2] = {200000, seed};
        if (aee_find_function(engine, race->offender.context, "race_everything", &function, NULL)) {
            break;
        }
        (void)aee_call_i64(engine, race->offender.context, function, args, 2, NULL, NULL);
        race->rounds++;
        (void)aee_wait_ready(engine, race->offender.context, 1000 * MS, NULL);
    }
    return NULL;
}

static void disturbed_batch(struct race *race)
{
    enum { CANARY = 64, BYTES = 3000 };
    static uint8_t in[BYTES];
    static uint8_t out[CALLS / 4][BYTES + CANARY];
    aee_batch batch;
    fill(race->hostile, race->offender);
    aee_function sized = hostile_find(race->hostile, race->offender, "reply_sized");
    aee_function asking = hostile_find(race->hostile, race->offender, "call_host");
    for (uint32_t i = 0; i < CALLS; i += 4) {
        memset(out[i / 4], 0x33, sizeof out[i / 4]);
        items[i] = (aee_call_item){.context = race->offender.context,
                                   .function = sized,
                                   .flags = AEE_ITEM_BYTES,
                                   .request = in,
                                   .request_size = BYTES,
                                   .reply = out[i / 4],
                                   .reply_capacity = BYTES};
        items[i + 1].function = asking;
        items[i + 1].args[0] = aee_i64(2);
    }
    if (aee_submit(race->hostile->engine, items, CALLS, 0, &batch, NULL) != AEE_OK) {
        return; /* it is being restarted */
    }
    wait_all(race->hostile, batch);
    bool seen_index[CALLS] = {false};
    for (uint32_t i = 0; i < CALLS; i++) {
        assert_true(done[i].index < CALLS);
        assert_false(seen_index[done[i].index]);
        seen_index[done[i].index] = true;
        assert_true(may_come(done[i].result) || done[i].result == AEE_ERR_COMPONENT ||
                    done[i].result == AEE_ERR_TOO_LARGE);
        assert_true(done[i].reply_size <= BYTES);
    }
    for (uint32_t i = 0; i < CALLS / 4; i++) {
        for (uint32_t k = 0; k < CANARY; k++) {
            assert_int_equal(out[i][BYTES + k], 0x33);
        }
    }
}

static void disturbed_calls(struct race *race)
{
    static const char *const names[] = {"answer", "call_host", "relay", "nested_depth"};
    aee_engine *engine = race->hostile->engine;
    uint8_t reply[64 + 8];
    for (unsigned i = 0; i < 40; i++) {
        aee_function function;
        const int64_t three = 3;
        size_t size = 0;
        if (aee_find_function(engine, race->offender.context, names[i % 4], &function, NULL)) {
            continue;
        }
        aee_result result =
            aee_call_i64(engine, race->offender.context, function, &three, 1, NULL, NULL);
        assert_true(may_come(result));
        memset(reply, 0x33, sizeof reply);
        function = hostile_find(race->hostile, race->offender, "reply_sized");
        result = aee_call_bytes(engine, race->offender.context, function, "12345678", 8, reply, 64,
                                &size, NULL);
        assert_true(may_come(result) || result == AEE_ERR_COMPONENT || result == AEE_ERR_TOO_LARGE);
        assert_true(size <= 64);
        for (int k = 64; k < 72; k++) {
            assert_int_equal(reply[k], 0x33);
        }
    }
}

static void second_lane(struct hostile *hostile, aee_call_mode mode)
{
    struct race race = {.hostile = hostile, .offender = reentrant_offender(hostile, mode, 3)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, disturb, &race), 0);
    uint64_t end = hostile_now_ns() + 1500 * MS;
    uint32_t rounds = 0;
    while (hostile_now_ns() < end) {
        disturbed_calls(&race);
        disturbed_batch(&race);
        (void)aee_wait_ready(hostile->engine, race.offender.context, 10000 * MS, NULL);
        hostile_expect_bystander(hostile);
        rounds++;
    }
    atomic_store(&race.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    print_message("    %u rounds, %llu disturbances, %llu ends\n", rounds,
                  (unsigned long long)race.rounds,
                  (unsigned long long)hostile_info(hostile, race.offender).restarts);
    hostile_expect_recovery(hostile, race.offender);
    hostile_destroy(hostile, race.offender);
}

static const struct hostile_case cases[] = {
    {.name = "breaks the protocol in a batch", .script = in_a_batch},
    {.name = "breaks the protocol within a host call", .script = within_a_host_call},
    {.name = "an outer answer from within a nested call", .script = forged_within},
    {.name = "works, and says that it waits", .script = parks_for_time},
    {.name = "corrupts its depth counter", .script = corrupted_depth},
    {.name = "a second lane rewrites everything", .script = second_lane},
};

int main(int argc, char **argv)
{
    static const struct hostile_program program = {.name = "hostile_batches",
                                                   .image = "hostile_attacker.elf",
                                                   .cases = cases,
                                                   .count = COUNT_OF(cases)};
    return hostile_main(&program, argc, argv);
}
