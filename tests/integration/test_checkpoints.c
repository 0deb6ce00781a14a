/* test_checkpoints.c: state that is kept and comes back: on request, after crashes and hangs, on
 * every lane, in every mode, and equal to that of a run without any of it. */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>

#ifndef AEE_STATEBED
#error "the build names the component"
#endif

static aee_context make(struct bed *bed, aee_call_mode mode, uint32_t lanes,
                        const aee_recovery_desc *recovery)
{
    aee_context context;
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = "state",
                             .call_mode = mode,
                             .limits = {.lanes = lanes,
                                        .call_budget_ns = scaled(SECOND),
                                        .restarts = 63,
                                        .restart_window_ns = 1}};
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_load_file(bed->engine, context, AEE_STATEBED, &bed->error));
    aee_recovery_desc wanted = recovery ? *recovery : (aee_recovery_desc){.history = 8};
    wanted.struct_size = sizeof wanted;
    wanted.restart = AEE_RESTART_CHECKPOINT;
    ASSERT_OK(bed, aee_set_recovery(bed->engine, context, &wanted, &bed->error));
    return context;
}

static int64_t get(struct bed *bed, aee_context context, const char *name)
{
    return value2(bed, context, name, 0, 0, 0);
}

static void checkpoint(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_checkpoint(bed->engine, context, &bed->error));
}

static void restore(struct bed *bed, aee_context context, uint32_t back)
{
    ASSERT_OK(bed, aee_restore(bed->engine, context, back, &bed->error));
}

static void wait_ready(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_wait_ready(bed->engine, context, scaled(5 * SECOND), &bed->error));
}

/* The call that fails comes back when the context has: no other thread is needed for that. */
static void expect_fall_in_place(struct bed *bed, aee_context context, const char *name)
{
    int64_t value;
    assert_int_equal(call2(bed, context, name, 0, 0, 0, &value), AEE_ERR_CRASHED);
    assert_int_equal(call2(bed, context, "counted", 0, 0, 0, &value), AEE_OK);
}

static void expect_fall(struct bed *bed, aee_context context, const char *name, aee_result how)
{
    int64_t value;
    assert_int_equal(call2(bed, context, name, 0, 0, 0, &value), how);
    wait_ready(bed, context);
}

/* ---- On request --------------------------------------------------------------------------- */

static void goes_back(aee_call_mode mode, aee_checkpoint_mode kept)
{
    struct bed bed;
    bed_open(&bed, NULL);
    const aee_recovery_desc recovery = {.mode = kept, .history = 8};
    aee_context context = make(&bed, mode, 1, &recovery);
    for (int64_t i = 0; i < 5; i++) {
        assert_int_equal(get(&bed, context, "count"), 101 + i);
        assert_int_equal(value2(&bed, context, "touch", 40 * (i + 1), i + 1, 2), 40 * (i + 1));
        assert_int_equal(value2(&bed, context, "fill", 1000 * (i + 1), i + 3, 2), 1);
        checkpoint(&bed, context);
    }
    assert_int_equal(get(&bed, context, "count"), 106);
    restore(&bed, context, 0);
    assert_int_equal(get(&bed, context, "counted"), 105);
    assert_int_equal(value2(&bed, context, "look", 199, 0, 1), 5);
    restore(&bed, context, 2); /* to the third */
    assert_int_equal(get(&bed, context, "counted"), 103);
    assert_int_equal(get(&bed, context, "lane_count"), 10);
    assert_int_equal(value2(&bed, context, "look", 100, 0, 1), 3);
    assert_int_equal(value2(&bed, context, "look", 130, 0, 1), 0);
    assert_int_equal(get(&bed, context, "sum"), INT64_C(3000) * 3001 / 2 * 5);
    assert_int_equal(get(&bed, context, "count"), 104);
    checkpoint(&bed, context);
    restore(&bed, context, 3); /* the first */
    assert_int_equal(get(&bed, context, "counted"), 101);
    assert_int_equal(aee_restore(bed.engine, context, 1, &bed.error), AEE_ERR_NOT_FOUND);
    assert_non_null(strstr(bed.error.text, "it has 1 checkpoints"));
    bed_close(&bed);
}

static void test_incremental_direct(void **state)
{
    (void)state;
    goes_back(AEE_CALL_DIRECT, AEE_CHECKPOINT_INCREMENTAL);
}

static void test_incremental_ring(void **state)
{
    (void)state;
    goes_back(AEE_CALL_RING, AEE_CHECKPOINT_INCREMENTAL);
}

static void test_full(void **state)
{
    (void)state;
    goes_back(AEE_CALL_DIRECT, AEE_CHECKPOINT_FULL);
}

static void test_rounding(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, AEE_CALL_DIRECT, 1, NULL);
    int64_t nearest = get(&bed, context, "rounding");
    (void)value2(&bed, context, "set_rounding", 1, 0, 1);
    int64_t zero = get(&bed, context, "rounding");
    assert_int_not_equal(zero, nearest);
    checkpoint(&bed, context);
    (void)value2(&bed, context, "set_rounding", 0, 0, 1);
    assert_int_equal(get(&bed, context, "rounding"), nearest);
    restore(&bed, context, 0);
    assert_int_equal(get(&bed, context, "rounding"), zero);
    (void)value2(&bed, context, "set_rounding", 0, 0, 1);
    expect_fall(&bed, context, "crash", AEE_ERR_CRASHED);
    assert_int_equal(get(&bed, context, "rounding"), zero);
    bed_close(&bed);
}

/* ---- After crashes ------------------------------------------------------------------------ */

static void survives(aee_call_mode mode, uint32_t lanes)
{
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, mode, lanes, NULL);
    (void)get(&bed, context, "count");
    (void)value2(&bed, context, "fill", 5000, 3, 2);
    (void)value2(&bed, context, "touch", 50, 9, 2);
    checkpoint(&bed, context);
    int64_t digest = get(&bed, context, "digest");
    for (int i = 0; i < 20; i++) {
        (void)get(&bed, context, "count");
        expect_fall(&bed, context, i % 2 ? "wreck" : "crash", AEE_ERR_CRASHED);
        assert_int_equal(get(&bed, context, "digest"), digest);
    }
    expect_fall(&bed, context, "hang", AEE_ERR_HUNG);
    assert_int_equal(get(&bed, context, "digest"), digest);
    aee_context_info info;
    ASSERT_OK(&bed, aee_get_context_info(bed.engine, context, &info, &bed.error));
    assert_int_equal(info.crashes, 20);
    assert_int_equal(info.hangs, 1);
    assert_int_equal(info.restarts, 21);
    bed_close(&bed);
}

static void test_survives_direct(void **state)
{
    (void)state;
    survives(AEE_CALL_DIRECT, 1);
}

static void test_survives_ring(void **state)
{
    (void)state;
    survives(AEE_CALL_RING, 1);
}

static void test_survives_lanes(void **state)
{
    (void)state;
    survives(AEE_CALL_DIRECT, 4);
}

static void test_in_place(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    if (level_is_none(&bed)) { /* restarts are never in place there */
        bed_close(&bed);
        skip();
    }
    aee_context context = make(&bed, AEE_CALL_DIRECT, 1, NULL);
    checkpoint(&bed, context);
    for (int i = 0; i < 200; i++) {
        expect_fall_in_place(&bed, context, "crash");
    }
    assert_int_equal(get(&bed, context, "counted"), 100);
    bed_close(&bed);
}

/* Lanes are laid out otherwise after a restart: the checkpoint is still one. */
static int drop_trace(void *user, const void *bytes, size_t size)
{
    (void)user, (void)bytes, (void)size;
    return 0;
}

/* The crashed instance is not gone yet, but its lanes are: a trace that begins has nothing of it.
 */
static void test_traced_after_a_crash(void **state)
{
    (void)state;
    struct bed bed;
    const aee_trace_desc trace = {.struct_size = sizeof trace, .write = drop_trace};
    bed_open(&bed, NULL);
    for (int i = 0; i < 30; i++) {
        aee_context context = make(&bed, AEE_CALL_DIRECT, 1, NULL);
        (void)get(&bed, context, "count");
        checkpoint(&bed, context);
        expect_fall(&bed, context, "wreck", AEE_ERR_CRASHED);
        ASSERT_OK(&bed, aee_trace_start(bed.engine, &trace, &bed.error));
        (void)get(&bed, context, "count");
        ASSERT_OK(&bed, aee_destroy(bed.engine, context, &bed.error));
        ASSERT_OK(&bed, aee_trace_stop(bed.engine, &bed.error));
    }
    bed_close(&bed);
}

static void test_limits_change(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, AEE_CALL_DIRECT, 1, NULL);
    (void)get(&bed, context, "count");
    (void)value2(&bed, context, "fill", 20000, 3, 2);
    int64_t digest = get(&bed, context, "digest");
    checkpoint(&bed, context);
    const aee_limits limits = {.lanes = 3, .stack_bytes = 1 << 20};
    ASSERT_OK(&bed, aee_set_limits(bed.engine, context, &limits, &bed.error));
    ASSERT_OK(&bed, aee_restart(bed.engine, context, &bed.error));
    assert_int_equal(get(&bed, context, "counted"), 100);
    expect_fall(&bed, context, "wreck", AEE_ERR_CRASHED);
    assert_int_equal(get(&bed, context, "digest"), digest);
    ASSERT_OK(&bed, aee_restart(bed.engine, context, &bed.error));
    restore(&bed, context, 0);
    assert_int_equal(get(&bed, context, "digest"), digest);
    (void)get(&bed, context, "count");
    checkpoint(&bed, context); /* the first of the new layout, and the only one */
    assert_int_equal(aee_restore(bed.engine, context, 1, &bed.error), AEE_ERR_NOT_FOUND);
    expect_fall(&bed, context, "wreck", AEE_ERR_CRASHED);
    assert_int_equal(get(&bed, context, "counted"), 102);
    bed_close(&bed);
}

static aee_context_info info_of(struct bed *bed, aee_context context)
{
    aee_context_info info;
    ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
    return info;
}

/* The newest state crashes at once, and so does the one before: the third is used. */
static void test_goes_further_back(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, AEE_CALL_DIRECT, 1, NULL);
    (void)get(&bed, context, "count");
    checkpoint(&bed, context);
    (void)get(&bed, context, "poison");
    checkpoint(&bed, context);
    (void)get(&bed, context, "count");
    checkpoint(&bed, context);
    expect_fall(&bed, context, "use", AEE_ERR_CRASHED);
    expect_fall(&bed, context, "use", AEE_ERR_CRASHED);
    expect_fall(&bed, context, "use", AEE_ERR_CRASHED);
    assert_int_equal(get(&bed, context, "use"), 101);
    bed_close(&bed);
}

/* Where all of them lead to crashes, there is the image. */
static void test_falls_back_to_image(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, AEE_CALL_DIRECT, 1, NULL);
    (void)get(&bed, context, "count");
    (void)get(&bed, context, "poison");
    checkpoint(&bed, context);
    assert_int_equal(info_of(&bed, context).checkpoints_kept, 1);
    expect_fall(&bed, context, "use", AEE_ERR_CRASHED);
    expect_fall(&bed, context, "use", AEE_ERR_CRASHED);
    assert_int_equal(get(&bed, context, "use"), 100);
    assert_int_equal(info_of(&bed, context).checkpoints_kept, 0);
    bed_close(&bed);
}

static void test_revives(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, AEE_CALL_DIRECT, 2, NULL);
    (void)get(&bed, context, "count");
    (void)value2(&bed, context, "fill", 50000, 3, 2);
    int64_t digest = get(&bed, context, "digest");
    checkpoint(&bed, context);
    ASSERT_OK(&bed, aee_stop(bed.engine, context, &bed.error));
    restore(&bed, context, 0);
    assert_int_equal(get(&bed, context, "digest"), digest);
    ASSERT_OK(&bed, aee_restart(bed.engine, context, &bed.error));
    assert_int_equal(get(&bed, context, "counted"), 100);
    restore(&bed, context, 0); /* it is kept over restarts from the image */
    assert_int_equal(get(&bed, context, "digest"), digest);
    bed_close(&bed);
}

/* ---- Against an oracle -------------------------------------------------------------------- */

/* A random walk with checkpoints, restores and crashes ends where the steps end that were not
 * undone, made in one go. */
static void walk(aee_checkpoint_mode kept, uint32_t seed)
{
    enum { STEPS = 400, MOST = 8 };
    struct bed bed;
    int64_t done[STEPS];
    uint32_t marks[MOST] = {0};
    uint32_t count = 0;
    uint32_t marked = 0;
    bed_open(&bed, NULL);
    const aee_recovery_desc recovery = {.mode = kept, .history = MOST};
    aee_context context = make(&bed, AEE_CALL_DIRECT, 1, &recovery);
    aee_context oracle = make(&bed, AEE_CALL_DIRECT, 1, &recovery);
    for (int64_t i = 1; i <= STEPS; i++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t dice = seed >> 24;
        if (dice < 30) {
            if (marked == MOST) {
                memmove(marks, marks + 1, sizeof marks - sizeof marks[0]);
                marked--;
            }
            marks[marked++] = count;
            checkpoint(&bed, context);
        } else if (dice < 40 && marked > 0) {
            uint32_t back = (seed >> 8) % marked;
            restore(&bed, context, back);
            marked -= back;
            count = marks[marked - 1];
        } else if (dice < 50 && marked > 0) {
            (void)get(&bed, context, "nothing"); /* one good call, so that the newest is kept */
            expect_fall(&bed, context, "wreck", AEE_ERR_CRASHED);
            count = marks[marked - 1];
        } else {
            done[count++] = i;
            (void)value2(&bed, context, "step", i, 0, 1);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        (void)value2(&bed, oracle, "step", done[i], 0, 1);
    }
    assert_int_equal(get(&bed, context, "digest"), get(&bed, oracle, "digest"));
    bed_close(&bed);
}

static void test_walk(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 3; seed++) {
        walk(AEE_CHECKPOINT_INCREMENTAL, seed);
        walk(AEE_CHECKPOINT_FULL, seed);
    }
}

/* ---- While others call -------------------------------------------------------------------- */

struct caller {
    struct bed *bed;
    aee_context context;
    _Atomic bool stop;
    _Atomic uint64_t good;
    _Atomic int failed; /* aee_result */
};

static void *call_on(void *user)
{
    struct caller *caller = user;
    aee_error error;
    aee_function function;
    if (aee_find_function(caller->bed->engine, caller->context, "count", &function, &error) != 0) {
        return NULL;
    }
    while (!atomic_load(&caller->stop)) {
        int64_t value;
        aee_result result =
            aee_call_i64(caller->bed->engine, caller->context, function, NULL, 0, &value, &error);
        if (result == AEE_OK) {
            (void)atomic_fetch_add(&caller->good, 1);
        } else if (result != AEE_ERR_CRASHED && result != AEE_ERR_RESTARTING &&
                   result != AEE_ERR_BUSY) {
            atomic_store(&caller->failed, result);
            return caller;
        }
    }
    return NULL;
}

static void test_while_others_call(void **state)
{
    (void)state;
    enum { THREADS = 2, ROUNDS = 60 };
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, AEE_CALL_AUTO, 2, NULL);
    struct caller caller = {.bed = &bed, .context = context};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, call_on, &caller), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        int64_t value;
        aee_result result = aee_checkpoint(bed.engine, context, &bed.error);
        assert_true(result == AEE_OK || result == AEE_ERR_BUSY || result == AEE_ERR_RESTARTING);
        (void)call2(&bed, context, "crash", 0, 0, 0, &value);
        wait_ready(&bed, context);
        if (i % 3 == 0) {
            result = aee_restore(bed.engine, context, 0, &bed.error);
            if (result != AEE_OK && result != AEE_ERR_BUSY && result != AEE_ERR_NOT_FOUND) {
                fail_msg("%s", bed.error.text);
            }
        }
    }
    atomic_store(&caller.stop, true);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_string_equal(aee_result_name((aee_result)atomic_load(&caller.failed)), "AEE_OK");
        assert_null(failed);
    }
    assert_true(atomic_load(&caller.good) > 0);
    bed_close(&bed);
}

/* Whichever lane falls while the others work, all of them begin anew. */
static void test_falls_on_lanes(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, AEE_CALL_RING, 4, NULL);
    (void)value2(&bed, context, "fill", 3000, 3, 2);
    int64_t digest = get(&bed, context, "digest");
    checkpoint(&bed, context);
    for (int i = 0; i < 15; i++) {
        aee_result result = aee_parallel_for(
            bed.engine, context, find(&bed, context, "fall_at_end"), 0, 1000, 1, &bed.error);
        assert_int_equal(result, AEE_ERR_CRASHED);
        wait_ready(&bed, context);
        assert_int_equal(get(&bed, context, "digest"), digest);
    }
    bed_close(&bed);
}

/* The engine's function runs, and the component falls as soon as it has answered, or before. */
static aee_result fall_meanwhile(void *user, aee_host_call *call)
{
    struct bed *bed = user;
    int64_t value;
    aee_error error;
    aee_function crash;
    call->result = aee_find_function(call->engine, call->context, "crash", &crash, &error);
    if (call->result == AEE_OK) { /* re-enters the lane that waits for us */
        call->result = aee_call_i64(bed->engine, call->context, crash, NULL, 0, &value, &error);
    }
    return AEE_OK;
}

static void test_falls_in_host_call(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    for (int ring = 0; ring < 2; ring++) {
        aee_context context = make(&bed, ring ? AEE_CALL_RING : AEE_CALL_DIRECT, 1, NULL);
        if (!ring) {
            ASSERT_OK(&bed, aee_register_host_function(bed.engine, "ask", fall_meanwhile, &bed,
                                                       &bed.error));
        }
        ASSERT_OK(&bed, aee_grant_host_function(bed.engine, context, "ask", &bed.error));
        checkpoint(&bed, context);
        for (int i = 0; i < 10; i++) {
            expect_fall(&bed, context, "ask", AEE_ERR_CRASHED);
            assert_int_equal(get(&bed, context, "counted"), 100);
        }
    }
    bed_close(&bed);
}

/* ---- Refusals ----------------------------------------------------------------------------- */

static aee_result ask(void *user, aee_host_call *call)
{
    struct bed *bed = user;
    call->result = aee_checkpoint(bed->engine, call->context, &bed->error);
    return AEE_OK;
}

static void test_refusals(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context empty;
    ASSERT_OK(&bed, aee_create_isolated_context(bed.engine, "empty", &empty, &bed.error));
    assert_int_equal(aee_checkpoint(bed.engine, empty, &bed.error), AEE_ERR_NOT_LOADED);
    assert_int_equal(aee_restore(bed.engine, empty, 0, &bed.error), AEE_ERR_NOT_LOADED);
    aee_context context = make(&bed, AEE_CALL_DIRECT, 1, NULL);
    assert_int_equal(aee_restore(bed.engine, context, 0, &bed.error), AEE_ERR_NOT_FOUND);
    ASSERT_OK(&bed, aee_register_host_function(bed.engine, "ask", ask, &bed, &bed.error));
    ASSERT_OK(&bed, aee_grant_host_function(bed.engine, context, "ask", &bed.error));
    assert_int_equal(get(&bed, context, "ask"), AEE_ERR_BUSY);
    checkpoint(&bed, context);
    ASSERT_OK(&bed, aee_stop(bed.engine, context, &bed.error));
    assert_int_equal(aee_checkpoint(bed.engine, context, &bed.error), AEE_ERR_STOPPED);
    assert_int_equal(aee_restore(bed.engine, context, 1, &bed.error), AEE_ERR_NOT_FOUND);
    restore(&bed, context, 0);
    assert_int_equal(get(&bed, context, "counted"), 101);
    ASSERT_OK(&bed, aee_load_file(bed.engine, context, AEE_STATEBED, &bed.error));
    assert_int_equal(aee_restore(bed.engine, context, 0, &bed.error), AEE_ERR_NOT_FOUND);
    bed_close(&bed);
}

/* Memory that came after the checkpoint goes back to zeroes; what the heap grew by stays. */
static void test_growth(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, AEE_CALL_DIRECT, 1, NULL);
    (void)value2(&bed, context, "fill", 100000, 1, 2);
    checkpoint(&bed, context);
    ASSERT_OK(&bed, aee_allocate_isolated_memory(bed.engine, context, 48, &bed.error));
    assert_int_equal(value2(&bed, context, "fill", 4 << 20, 7, 2), 1); /* 32 MiB */
    checkpoint(&bed, context);
    expect_fall(&bed, context, "wreck", AEE_ERR_CRASHED);
    assert_int_equal(get(&bed, context, "sum"),
                     (int64_t)((UINT64_C(4) << 20) * ((4 << 20) + 1) / 2 * 7));
    restore(&bed, context, 1);
    assert_int_equal(get(&bed, context, "sum"), INT64_C(100000) * 100001 / 2);
    bed_close(&bed);
}

/* ---- Declared state ----------------------------------------------------------------------- */

static void test_declared(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    const aee_recovery_desc recovery = {.mode = AEE_CHECKPOINT_DECLARED, .history = 16};
    aee_context context = make(&bed, AEE_CALL_AUTO, 1, &recovery);
    assert_int_equal(get(&bed, context, "add_block"), 0);
    for (int64_t i = 1; i <= 16; i++) {
        (void)value2(&bed, context, "set_declared", 999, i, 2);
        (void)get(&bed, context, "count");
        checkpoint(&bed, context);
    }
    restore(&bed, context, 7);
    assert_int_equal(value2(&bed, context, "get_declared", 999, 0, 1), 9);
    assert_int_equal(get(&bed, context, "counted"), 116); /* was not declared */
    restore(&bed, context, 8);
    assert_int_equal(value2(&bed, context, "get_declared", 999, 0, 1), 1);
    assert_int_equal(aee_restore(bed.engine, context, 1, &bed.error), AEE_ERR_NOT_FOUND);
    /* After a crash initialisers run, and declared state comes over what they made. */
    expect_fall(&bed, context, "wreck", AEE_ERR_CRASHED);
    assert_int_equal(get(&bed, context, "counted"), 100);
    assert_int_equal(value2(&bed, context, "get_declared", 999, 0, 1), 1);
    bed_close(&bed);
}

static void test_nothing_declared(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make_context(&bed, "testbed", AEE_CALL_DIRECT, 1);
    const aee_recovery_desc recovery = {.struct_size = sizeof recovery,
                                        .mode = AEE_CHECKPOINT_DECLARED};
    ASSERT_OK(&bed, aee_set_recovery(bed.engine, context, &recovery, &bed.error));
    assert_int_equal(aee_checkpoint(bed.engine, context, &bed.error), AEE_ERR_STATE);
    assert_non_null(strstr(bed.error.text, "declared no state"));
    assert_int_equal(aee_restore(bed.engine, context, 0, &bed.error), AEE_ERR_NOT_FOUND);
    bed_close(&bed);
}

/* A longer history keeps what there is; another mode does not. */
static void test_settings_change(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_recovery_desc recovery = {.struct_size = sizeof recovery, .history = 2};
    aee_context context = make(&bed, AEE_CALL_DIRECT, 1, &recovery);
    for (int i = 0; i < 5; i++) {
        (void)get(&bed, context, "count");
        checkpoint(&bed, context);
    }
    recovery.history = 5;
    ASSERT_OK(&bed, aee_set_recovery(bed.engine, context, &recovery, &bed.error));
    for (int i = 0; i < 3; i++) {
        (void)get(&bed, context, "count");
        checkpoint(&bed, context);
    }
    restore(&bed, context, 4);
    assert_int_equal(get(&bed, context, "counted"), 104);
    recovery.mode = AEE_CHECKPOINT_FULL;
    ASSERT_OK(&bed, aee_set_recovery(bed.engine, context, &recovery, &bed.error));
    assert_int_equal(aee_restore(bed.engine, context, 0, &bed.error), AEE_ERR_NOT_FOUND);
    bed_close(&bed);
}

/* ---- At the ends of frames ---------------------------------------------------------------- */

static void frames(struct bed *bed, aee_context context, int count)
{
    for (int i = 0; i < count; i++) {
        ASSERT_OK(bed, aee_engine_frame_begin(bed->engine, &bed->error));
        (void)get(bed, context, "count");
        ASSERT_OK(bed, aee_engine_frame_end(bed->engine, NULL, &bed->error));
    }
}

static void test_every_frames(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    const aee_recovery_desc recovery = {.history = 4, .every_frames = 3};
    aee_context context = make(&bed, AEE_CALL_DIRECT, 1, &recovery);
    frames(&bed, context, 10); /* with frames 1, 4, 7 and 10 */
    assert_int_equal(info_of(&bed, context).checkpoints, 4);
    assert_true(info_of(&bed, context).checkpoint_at_ns > 0);
    expect_fall(&bed, context, "wreck", AEE_ERR_CRASHED);
    assert_int_equal(get(&bed, context, "counted"), 110);
    assert_int_equal(info_of(&bed, context).restores, 1);
    restore(&bed, context, 2);
    assert_int_equal(get(&bed, context, "counted"), 104);
    bed_close(&bed);
}

static void test_every_time(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_recovery_desc recovery = {.every_ns = 3600 * SECOND};
    aee_context context = make(&bed, AEE_CALL_DIRECT, 1, &recovery);
    frames(&bed, context, 20);
    assert_int_equal(info_of(&bed, context).checkpoints, 1);
    recovery.struct_size = sizeof recovery;
    recovery.every_ns = 1;
    ASSERT_OK(&bed, aee_set_recovery(bed.engine, context, &recovery, &bed.error));
    frames(&bed, context, 20);
    assert_true(info_of(&bed, context).checkpoints >= 20);
    bed_close(&bed);
}

/* A share of nothing is earned late. */
static void test_within_share(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    const aee_recovery_desc recovery = {.every_frames = 1, .frame_share_ns = 1};
    aee_context context = make(&bed, AEE_CALL_DIRECT, 1, &recovery);
    frames(&bed, context, 30);
    assert_int_equal(info_of(&bed, context).checkpoints, 1);
    bed_close(&bed);
}

/* The history fits its memory: each changes 2 MiB, of which 4 MiB hold one beside the newest. */
static void test_within_memory(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    const aee_recovery_desc recovery = {.history = 8, .memory_bytes = 5 << 20};
    aee_context context = make(&bed, AEE_CALL_DIRECT, 1, &recovery);
    for (int64_t i = 0; i < 6; i++) {
        (void)value2(&bed, context, "touch", 512, i + 1, 2);
        checkpoint(&bed, context);
    }
    assert_int_equal(aee_restore(bed.engine, context, 7, &bed.error), AEE_ERR_NOT_FOUND);
    assert_int_equal(aee_restore(bed.engine, context, 3, &bed.error), AEE_ERR_NOT_FOUND);
    restore(&bed, context, 1);
    assert_int_equal(value2(&bed, context, "look", 511, 0, 1), 5);
    bed_close(&bed);
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_incremental_direct),
        cmocka_unit_test(test_incremental_ring),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_survives_direct),
        cmocka_unit_test(test_survives_ring),
        cmocka_unit_test(test_survives_lanes),
        cmocka_unit_test(test_goes_further_back),
        cmocka_unit_test(test_falls_back_to_image),
        cmocka_unit_test(test_revives),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_while_others_call),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_declared),
        cmocka_unit_test(test_nothing_declared),
        cmocka_unit_test(test_settings_change),
        cmocka_unit_test(test_every_frames),
        cmocka_unit_test(test_every_time),
        cmocka_unit_test(test_within_share),
        cmocka_unit_test(test_within_memory),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_traced_after_a_crash),
        cmocka_unit_test(test_limits_change),
        cmocka_unit_test(test_falls_on_lanes),
        cmocka_unit_test(test_falls_in_host_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
