/* test_batch_ends.c: batches whose context crashes, hangs, stops, restarts, loads, pauses or goes
 * while they are under way; batches beside other calls; host calls from within them. Every call of
 * every batch completes, once. */
#include "batch.h"

enum { CALLS = 300, RING = 64 };
static aee_call_item items[CALLS];
static aee_completion done[CALLS];

/* Each index once; how many ended in each way. */
struct tally {
    uint32_t good;
    uint32_t bad;
    aee_result odd; /* one that is not among the two */
    aee_result result[CALLS];
    int64_t value[CALLS];
};

static struct tally count_ends(uint32_t count, aee_result expected)
{
    static struct tally tally;
    bool seen[CALLS] = {false};
    memset(&tally, 0, sizeof tally);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(done[i].index < count);
        assert_false(seen[done[i].index]);
        seen[done[i].index] = true;
        tally.good += done[i].result == AEE_OK;
        tally.bad += done[i].result == expected;
        tally.odd =
            done[i].result == AEE_OK || done[i].result == expected ? tally.odd : done[i].result;
        tally.result[done[i].index] = done[i].result;
        tally.value[done[i].index] = done[i].value.as.i64;
    }
    return tally;
}

static void fill_with(struct bed *bed, aee_context context, uint32_t spoiled, const char *how)
{
    aee_function blend = find(bed, context, "blend");
    for (uint32_t i = 0; i < CALLS; i++) {
        items[i] = item2(context, blend, i, 1);
    }
    if (how) {
        items[spoiled] = item1(context, find(bed, context, how), 1);
        items[spoiled].arg_count = strcmp(how, "trap") == 0 ? 0 : 1;
    }
}

/* ---- Crashes and hangs ------------------------------------------------------------------------ */

/* What was answered before the end has its result, whatever the host had seen of it. */
static void end_in_the_middle(struct bed *bed, aee_call_mode mode, const char *how,
                              aee_result expected)
{
    aee_context context = make_mortal(bed, "mortal", mode, 1);
    for (uint32_t spoiled = 0; spoiled < 80; spoiled += 13) {
        fill_with(bed, context, spoiled, how);
        for (uint32_t i = 0; i < CALLS; i++) {
            items[i].budget_ns = expected == AEE_ERR_HUNG ? scaled(100 * MS) : 0;
        }
        aee_batch batch = submit(bed, items, CALLS);
        wait_all(bed, batch, done, CALLS);
        struct tally tally = count_ends(CALLS, expected);
        for (uint32_t i = 0; i < spoiled; i++) {
            if (tally.result[i] != AEE_OK || tally.value[i] != blended(i, 1)) {
                fail_msg("mode %d: call %u came before the %s of call %u and has %s", mode, i, how,
                         spoiled, aee_result_name(tally.result[i]));
            }
        }
        assert_int_equal(tally.result[spoiled], expected);
        for (uint32_t i = spoiled; i < CALLS; i++) {
            if (tally.result[i] != expected) {
                fail_msg("mode %d: call %u came after the %s of call %u and has %s", mode, i, how,
                         spoiled, aee_result_name(tally.result[i]));
            }
        }
        expect_stale(bed, batch);
        await_ready(bed, context);
        assert_true(value2(bed, context, "blend", 3, 4, 2) == blended(3, 4));
    }
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
}

static void crash_in_the_middle(void **state)
{
    EACH_MODE(m)
    {
        end_in_the_middle(*state, batch_modes[m], "trap", AEE_ERR_CRASHED);
    }
}

static void hang_in_the_middle(void **state)
{
    EACH_MODE(m)
    {
        end_in_the_middle(*state, batch_modes[m], "hang", AEE_ERR_HUNG);
    }
}

/* Others in the same batch do not notice. */
static void a_crash_stays_in_its_context(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context good = make_context(bed, "good", batch_modes[m], 2);
        aee_context bad = make_context(bed, "bad", batch_modes[m], 2);
        fill_with(bed, good, 0, NULL);
        aee_function blend = find(bed, bad, "blend");
        for (uint32_t i = 0; i < CALLS; i += 2) {
            items[i] = item2(bad, blend, i, 1);
        }
        items[100] = (aee_call_item){.context = bad, .function = find(bed, bad, "trap")};
        aee_batch batch = submit(bed, items, CALLS);
        wait_all(bed, batch, done, CALLS);
        struct tally tally = count_ends(CALLS, AEE_ERR_CRASHED);
        for (uint32_t i = 1; i < CALLS; i += 2) {
            assert_int_equal(tally.result[i], AEE_OK);
            assert_true(tally.value[i] == blended(i, 1));
        }
        assert_int_equal(tally.result[100], AEE_ERR_CRASHED);
        assert_int_equal(tally.odd, AEE_OK);
        ASSERT_OK(bed, aee_destroy(bed->engine, good, &bed->error));
        ASSERT_OK(bed, aee_destroy(bed->engine, bad, &bed->error));
    }
}

/* ---- Life-cycle operations -------------------------------------------------------------------- */

static aee_result do_stop(struct bed *bed, aee_context context)
{
    return aee_stop(bed->engine, context, &bed->error);
}

static aee_result do_restart(struct bed *bed, aee_context context)
{
    return aee_restart(bed->engine, context, &bed->error);
}

static aee_result do_destroy(struct bed *bed, aee_context context)
{
    return aee_destroy(bed->engine, context, &bed->error);
}

/* What the lane has accepted and not answered, and all that is queued, ends with STOPPED. */
static void ended_by(struct bed *bed, aee_result (*operation)(struct bed *, aee_context))
{
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "stopped", batch_modes[m], 1);
        struct gate gate = make_gate(bed, context);
        fill_with(bed, context, 0, NULL);
        items[5] = gate_item(bed, context, gate);
        aee_batch batch = submit(bed, items, CALLS);
        sleep_ns(20 * MS);
        ASSERT_OK(bed, operation(bed, context));
        wait_all(bed, batch, done, CALLS);
        struct tally tally = count_ends(CALLS, AEE_ERR_STOPPED);
        assert_int_equal(tally.odd, AEE_OK);
        assert_true(tally.good <= 5);
        for (uint32_t i = 5; i < CALLS; i++) {
            assert_int_equal(tally.result[i], AEE_ERR_STOPPED);
        }
        (void)aee_destroy(bed->engine, context, NULL);
        ASSERT_OK(bed, aee_region_destroy(bed->engine, gate.region, &bed->error));
    }
}

static void ended_by_stop(void **state)
{
    ended_by(*state, do_stop);
}

static void ended_by_restart(void **state)
{
    ended_by(*state, do_restart);
}

static void ended_by_destroy(void **state)
{
    ended_by(*state, do_destroy);
}

/* A load does not throw calls away: it is refused. */
static void a_load_is_refused(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "load", batch_modes[m], 1);
        struct gate gate = make_gate(bed, context);
        fill_with(bed, context, 0, NULL);
        items[0] = gate_item(bed, context, gate);
        aee_batch batch = submit(bed, items, CALLS);
        assert_int_equal(aee_load_file(bed->engine, context, testbed_path(), &bed->error),
                         AEE_ERR_BUSY);
        atomic_store(gate.word, 1);
        wait_all(bed, batch, done, CALLS);
        assert_int_equal(count_ends(CALLS, AEE_OK).good, CALLS);
        ASSERT_OK(bed, aee_load_file(bed->engine, context, testbed_path(), &bed->error));
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
        ASSERT_OK(bed, aee_region_destroy(bed->engine, gate.region, &bed->error));
    }
}

/* What has begun goes on, what has not completes with PAUSED. */
static void paused_in_flight(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "pause", batch_modes[m], 1);
        struct gate gate = make_gate(bed, context);
        fill_with(bed, context, 0, NULL);
        items[0] = gate_item(bed, context, gate);
        aee_batch batch = submit(bed, items, CALLS);
        ASSERT_OK(bed, aee_pause(bed->engine, context, &bed->error));
        atomic_store(gate.word, 1);
        wait_all(bed, batch, done, CALLS);
        struct tally tally = count_ends(CALLS, AEE_ERR_PAUSED);
        assert_int_equal(tally.odd, AEE_OK);
        if (batch_modes[m] == AEE_CALL_DIRECT) {
            assert_int_equal(tally.good, 0); /* nobody has waited yet */
        } else {
            assert_in_range(tally.good, 1, RING);
        }
        assert_int_equal(tally.good + tally.bad, CALLS);
        ASSERT_OK(bed, aee_resume(bed->engine, context, &bed->error));
        fill_with(bed, context, 0, NULL);
        wait_all(bed, submit(bed, items, CALLS), done, CALLS);
        assert_int_equal(count_ends(CALLS, AEE_OK).good, CALLS);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
        ASSERT_OK(bed, aee_region_destroy(bed->engine, gate.region, &bed->error));
    }
}

struct taker {
    struct bed *bed;
    aee_batch batch;
    uint64_t sum;
    uint32_t count;
};

static void *wait_in_thread(void *argument)
{
    struct taker *taker = argument;
    static aee_completion mine[CALLS];
    return (void *)(intptr_t)aee_wait(taker->bed->engine, taker->batch, mine, CALLS, &taker->count,
                                      FOREVER, NULL);
}

static void shut_down_in_flight(void **state)
{
    (void)state;
    EACH_MODE(m)
    {
        struct bed bed;
        bed_open(&bed, NULL);
        aee_context context = make_context(&bed, "shutdown", batch_modes[m], 1);
        struct gate gate = make_gate(&bed, context);
        fill_with(&bed, context, 0, NULL);
        items[0] = gate_item(&bed, context, gate);
        aee_batch batch = submit(&bed, items, CALLS);
        struct taker taker = {.bed = &bed, .batch = batch};
        pthread_t waiter;
        assert_int_equal(pthread_create(&waiter, NULL, wait_in_thread, &taker), 0);
        sleep_ns(20 * MS);
        ASSERT_OK(&bed, aee_engine_shutdown(bed.engine, &bed.error));
        void *result;
        assert_int_equal(pthread_join(waiter, &result), 0);
        assert_true((intptr_t)result == AEE_OK || (intptr_t)result == AEE_ERR_CLOSED);
        uint32_t count = 0;
        aee_result after = aee_poll(bed.engine, batch, done, CALLS, &count, NULL);
        assert_true(after == AEE_ERR_CLOSED || after == AEE_ERR_STALE);
        assert_int_equal(aee_submit(bed.engine, items, 1, 0, &batch, NULL), AEE_ERR_CLOSED);
        bed_close(&bed);
    }
}

/* ---- Several threads -------------------------------------------------------------------------- */

struct mixer {
    struct bed *bed;
    aee_context context;
    uint32_t number;
    bool batches;
    char failure[400];
};

static void *mix(void *argument)
{
    enum { SIZE = 40 };
    struct mixer *mixer = argument;
    aee_engine *engine = mixer->bed->engine;
    aee_call_item mine[SIZE];
    aee_completion got[SIZE];
    aee_error error;
    aee_function blend;
    (void)aee_find_function(engine, mixer->context, "blend", &blend, NULL);
    for (uint32_t round = 0; round < 60; round++) {
        int64_t base = (int64_t)mixer->number * 1000000 + round * 1000;
        if (!mixer->batches) {
            const int64_t args[2] = {base, round};
            int64_t value = 0;
            if (aee_call_i64(engine, mixer->context, blend, args, 2, &value, &error) != AEE_OK ||
                value != blended(base, round)) {
                (void)snprintf(mixer->failure, sizeof mixer->failure, "call: %s", error.text);
                return mixer->failure;
            }
            continue;
        }
        for (uint32_t i = 0; i < SIZE; i++) {
            mine[i] = item2(mixer->context, blend, base, i);
        }
        aee_batch batch;
        uint32_t count = 0;
        if (aee_submit(engine, mine, SIZE, 0, &batch, &error) != AEE_OK ||
            aee_wait(engine, batch, got, SIZE, &count, scaled(PATIENCE), &error) != AEE_OK) {
            (void)snprintf(mixer->failure, sizeof mixer->failure, "batch, %u of %d: %s", count,
                           SIZE, error.text);
            return mixer->failure;
        }
        for (uint32_t i = 0; i < SIZE; i++) {
            if (got[i].result != AEE_OK || got[i].value.as.i64 != blended(base, got[i].index)) {
                (void)snprintf(mixer->failure, sizeof mixer->failure, "call %u of a batch: %s",
                               got[i].index, aee_result_name(got[i].result));
                return mixer->failure;
            }
        }
    }
    return NULL;
}

static void batches_and_calls_from_many_threads(void **state)
{
    enum { THREADS = 6 };
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        for (uint32_t lanes = 1; lanes <= 3; lanes += 2) {
            aee_context context = make_context(bed, "mixed", batch_modes[m], lanes);
            static struct mixer mixers[THREADS];
            pthread_t threads[THREADS];
            for (uint32_t i = 0; i < THREADS; i++) {
                mixers[i] = (struct mixer){
                    .bed = bed, .context = context, .number = i, .batches = i % 2 == 0};
                assert_int_equal(pthread_create(&threads[i], NULL, mix, &mixers[i]), 0);
            }
            for (uint32_t i = 0; i < THREADS; i++) {
                void *failure;
                assert_int_equal(pthread_join(threads[i], &failure), 0);
                if (failure) {
                    fail_msg("mode %u, %u lanes: %s", m, lanes, (const char *)failure);
                }
            }
            ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
        }
    }
}

static void *take_alternately(void *argument)
{
    struct taker *taker = argument;
    for (;;) {
        aee_completion got[5];
        uint32_t count = 0;
        aee_result result =
            aee_wait(taker->bed->engine, taker->batch, got, 5, &count, scaled(PATIENCE), NULL);
        for (uint32_t i = 0; i < count; i++) {
            taker->sum += got[i].index;
        }
        taker->count += count;
        if (result != AEE_OK) {
            return (void *)(intptr_t)result;
        }
    }
}

/* Each completion goes to one of them. */
static void two_threads_take_from_one_batch(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "shared", batch_modes[m], 2);
        fill_with(bed, context, 0, NULL);
        aee_batch batch = submit(bed, items, CALLS);
        struct taker takers[2] = {{bed, batch, 0, 0}, {bed, batch, 0, 0}};
        pthread_t threads[2];
        for (int i = 0; i < 2; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, take_alternately, &takers[i]), 0);
        }
        for (int i = 0; i < 2; i++) {
            void *result;
            assert_int_equal(pthread_join(threads[i], &result), 0);
            assert_int_equal((intptr_t)result, AEE_ERR_STALE);
        }
        assert_int_equal(takers[0].count + takers[1].count, CALLS);
        assert_int_equal(takers[0].sum + takers[1].sum, CALLS * (CALLS - 1) / 2);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

struct busy {
    struct bed *bed;
    aee_context context;
    _Atomic bool stop;
};

static void *keep_busy(void *argument)
{
    struct busy *busy = argument;
    aee_function spin;
    const int64_t args[2] = {20000, 1};
    (void)aee_find_function(busy->bed->engine, busy->context, "spin_for", &spin, NULL);
    while (!atomic_load(&busy->stop)) {
        (void)aee_call_i64(busy->bed->engine, busy->context, spin, args, 2, NULL, NULL);
    }
    return NULL;
}

/* Others have the only lane whenever the waiter looks; it must not sleep when they have left. */
static void waiting_beside_calls(void **state)
{
    enum { THREADS = 3 };
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "busy", batch_modes[m], 1);
        aee_function blend = find(bed, context, "blend");
        struct busy busy = {.bed = bed, .context = context};
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, keep_busy, &busy), 0);
        }
        for (uint32_t round = 0; round < 300; round++) {
            if (round == 299) { /* the last one is alone soon */
                atomic_store(&busy.stop, true);
            }
            aee_call_item two[2] = {item2(context, blend, round, 1), item2(context, blend, 2, 3)};
            uint32_t count = 0;
            aee_batch batch = submit(bed, two, 2);
            aee_result result =
                aee_wait(bed->engine, batch, done, 2, &count, scaled(10 * SECOND), &bed->error);
            if (result != AEE_OK) {
                atomic_store(&busy.stop, true);
                fail_msg("mode %u, round %u: %s", m, round, bed->error.text);
            }
        }
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

/* A caller that comes and goes between two looks of a waiter, again and again. */
static void waiting_for_a_lane_that_is_left(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "left", batch_modes[m], 1);
        aee_function blend = find(bed, context, "blend");
        for (uint32_t round = 0; round < 200; round++) {
            struct busy busy = {.bed = bed, .context = context};
            pthread_t thread;
            uint32_t count = 0;
            aee_call_item two[2] = {item2(context, blend, round, 1), item2(context, blend, 2, 3)};
            assert_int_equal(pthread_create(&thread, NULL, keep_busy, &busy), 0);
            sleep_ns(round % 7 * 50000);
            aee_batch batch = submit(bed, two, 2);
            atomic_store(&busy.stop, true);
            aee_result result =
                aee_wait(bed->engine, batch, done, 2, &count, scaled(10 * SECOND), &bed->error);
            assert_int_equal(pthread_join(thread, NULL), 0);
            if (result != AEE_OK) {
                fail_msg("mode %u, round %u: %s", m, round, bed->error.text);
            }
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

/* ---- Host calls of submitted calls ------------------------------------------------------------ */

static _Atomic uint32_t asked;
static _Atomic pthread_t asker;

static aee_result host_add(void *user, aee_host_call *call)
{
    (void)user;
    (void)atomic_fetch_add(&asked, 1);
    atomic_store(&asker, pthread_self());
    call->result = call->args[0] + call->args[1];
    return AEE_OK;
}

static void host_calls_from_batches(void **state)
{
    struct bed *bed = *state;
    ASSERT_OK(bed,
              aee_register_host_function(bed->engine, "host_add", host_add, NULL, &bed->error));
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "asker", batch_modes[m], 2);
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "host_add", &bed->error));
        aee_function ask = find(bed, context, "ask");
        for (uint32_t i = 0; i < CALLS; i++) {
            items[i] = item2(context, ask, i, 1000);
        }
        atomic_store(&asked, 0);
        aee_batch batch = submit(bed, items, CALLS);
        wait_all(bed, batch, done, CALLS); /* served by the waiter */
        struct tally tally = count_ends(CALLS, AEE_OK);
        assert_int_equal(tally.good, CALLS);
        for (uint32_t i = 0; i < CALLS; i++) {
            assert_int_equal(tally.value[i], i + 1000);
        }
        assert_int_equal(atomic_load(&asked), CALLS);
        if (batch_modes[m] != AEE_CALL_DIRECT) { /* and by a worker when nobody waits */
            atomic_store(&asked, 0);
            batch = submit(bed, items, CALLS);
            uint64_t end = now_ns() + scaled(PATIENCE);
            while (atomic_load(&asked) < CALLS && now_ns() < end) {
                sleep_ns(MS);
            }
            assert_int_equal(atomic_load(&asked), CALLS);
            assert_false(pthread_equal(atomic_load(&asker), pthread_self()));
            wait_all(bed, batch, done, CALLS);
            assert_int_equal(count_ends(CALLS, AEE_OK).good, CALLS);
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        WITH_BED(crash_in_the_middle),
        WITH_BED(hang_in_the_middle),
        WITH_BED(a_crash_stays_in_its_context),
        WITH_BED(ended_by_stop),
        WITH_BED(ended_by_restart),
        WITH_BED(ended_by_destroy),
        WITH_BED(a_load_is_refused),
        WITH_BED(paused_in_flight),
        cmocka_unit_test(shut_down_in_flight),
        WITH_BED(batches_and_calls_from_many_threads),
        WITH_BED(two_threads_take_from_one_batch),
        WITH_BED(waiting_beside_calls),
        WITH_BED(waiting_for_a_lane_that_is_left),
        WITH_BED(host_calls_from_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
