/* recovery.c: rows about state that comes back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/exits.h"
#include "bench/rows.h"
#include "bench/stage.h"

enum { PAGE = 4096, STATE = 1 << 20, CRASH_PAGES = 16, COLD_FORKS = 40 };

struct recovery {
    const struct bench *bench;
    struct bench_stage stage;
    aee_function touch;
    aee_function count;
    aee_function crash;
    aee_function scribble;
    struct bench_exits *exits;
    uint8_t *copies[2]; /* of STATE bytes, for floors */
    int64_t pages;
    struct bench_samples beside; /* forks without a spare fork, or the calls between resets */
    int64_t expected;            /* what the next recovery_count() gives after a restore */
};

static aee_result call(struct recovery *recovery, aee_function function, int64_t argument,
                       uint32_t count, int64_t *value, aee_error *error)
{
    return aee_call_i64(recovery->stage.engine, recovery->stage.context, function, &argument, count,
                        value, error);
}

static int find_functions(struct recovery *recovery, struct bench_result *result)
{
    struct bench_stage *stage = &recovery->stage;
    return bench_stage_find(stage, "recovery_touch", &recovery->touch, result) == 0 &&
                   bench_stage_find(stage, "recovery_count", &recovery->count, result) == 0 &&
                   bench_stage_find(stage, "recovery_crash", &recovery->crash, result) == 0 &&
                   bench_stage_find(stage, "recovery_scribble", &recovery->scribble, result) == 0
               ? 0
               : -1;
}

/* The copies that floors make have memory from the start, as the library's have. */
static int make_copies(struct recovery *recovery, struct bench_result *result)
{
    for (int i = 0; i < 2; i++) {
        recovery->copies[i] = malloc(STATE);
        if (!recovery->copies[i]) {
            return bench_skip(result, "there is no memory for copies");
        }
        memset(recovery->copies[i], i + 1, STATE);
    }
    return 0;
}

/* A context with its first checkpoint, all of whose pages have been written once. */
static int open_recovery(struct recovery *recovery, struct bench *bench,
                         const aee_recovery_desc *settings, struct bench_result *result)
{
    const struct bench_stage_plan plan = {
        .image = bench_image_recovery,
        .mode = AEE_CALL_DIRECT,
        .limits = {.restarts = 63, .restart_window_ns = 1, .call_budget_ns = BENCH_NS_PER_SECOND}};
    aee_error error;
    int64_t value;
    memset(recovery, 0, sizeof *recovery);
    recovery->bench = bench;
    if (bench_stage_open(&recovery->stage, bench, &plan, result) != 0 ||
        find_functions(recovery, result) != 0 || make_copies(recovery, result) != 0) {
        return -1;
    }
    aee_recovery_desc desc = *settings;
    desc.struct_size = sizeof desc;
    aee_result status =
        aee_set_recovery(recovery->stage.engine, recovery->stage.context, &desc, &error);
    if (status == AEE_OK) {
        status = call(recovery, recovery->touch, 256, 1, &value, &error);
    }
    if (status == AEE_OK) {
        status = call(recovery, recovery->scribble, 1, 1, NULL, &error);
    }
    if (status == AEE_OK) {
        status = call(recovery, recovery->count, 0, 0, &value, &error);
        recovery->expected = value + 1;
    }
    if (status == AEE_OK) {
        status = aee_checkpoint(recovery->stage.engine, recovery->stage.context, &error);
    }
    return bench_check(result, status, &error);
}

static void close_recovery(struct recovery *recovery)
{
    bench_stage_close(&recovery->stage);
    free(recovery->copies[0]);
    free(recovery->copies[1]);
}

static int begin_beside(struct recovery *recovery, uint32_t count, struct bench_result *result)
{
    return bench_samples_init(&recovery->beside, count)
               ? 0
               : bench_skip(result, "there is no memory for samples");
}

/* ---- reset_0, reset_16, reset_256 --------------------------------------------------------- */

static int measure_copies(void *user, struct bench_samples *samples, uint32_t count,
                          struct bench_result *result)
{
    struct recovery *recovery = user;
    (void)result;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t before = bench_now();
        memcpy(recovery->copies[i % 2], recovery->copies[1 - i % 2],
               (size_t)recovery->pages * PAGE);
        __asm__ volatile("" : : "r"(recovery->copies[i % 2]) : "memory");
        bench_samples_add(samples, (double)(bench_now() - before));
    }
    return 0;
}

static int measure_resets(void *user, struct bench_samples *samples, uint32_t count,
                          struct bench_result *result)
{
    struct recovery *recovery = user;
    for (uint32_t i = 0; i < count; i++) {
        aee_error error;
        int64_t value;
        aee_result status = AEE_OK;
        const uint64_t begin = bench_now();
        if (recovery->pages > 0) {
            status = call(recovery, recovery->touch, recovery->pages, 1, &value, &error);
        }
        const uint64_t before = bench_now();
        bench_samples_add(&recovery->beside, (double)(before - begin));
        if (status == AEE_OK) {
            status = aee_restore(recovery->stage.engine, recovery->stage.context, 0, &error);
        }
        bench_samples_add(samples, (double)(bench_now() - before));
        if (bench_check(result, status, &error) != 0) {
            return -1;
        }
    }
    return 0;
}

static int run_reset(struct bench *bench, struct bench_result *result, int64_t pages)
{
    struct recovery recovery;
    const aee_recovery_desc settings = {.history = 1};
    const struct bench_pair pair = {.floor = measure_copies,
                                    .floor_user = &recovery,
                                    .row = measure_resets,
                                    .row_user = &recovery,
                                    .rounds = bench_scale(bench, 20),
                                    .floor_count = 50,
                                    .row_count = 50};
    int status = open_recovery(&recovery, bench, &settings, result);
    if (status == 0 &&
        (status = begin_beside(&recovery, pair.rounds * pair.row_count, result)) == 0) {
        recovery.pages = pages;
        status = bench_interleave(&pair, result);
    }
    if (status == 0 && pages > 0) {
        bench_extra(result, "call_between_ns", bench_summarize(&recovery.beside).p50);
    }
    bench_samples_free(&recovery.beside);
    close_recovery(&recovery);
    return status;
}

#define RESET_ROW(pages, limit_us)                                                       \
    static int run_reset_##pages(struct bench *bench, struct bench_result *result)       \
    {                                                                                    \
        return run_reset(bench, result, pages);                                          \
    }                                                                                    \
    const struct bench_row bench_row_reset_##pages = {                                   \
        .name = "reset_" #pages,                                                         \
        .unit = "ns",                                                                    \
        .floor = "memcpy of them",                                                       \
        .target_text = "p50 <= " #limit_us " us",                                        \
        .how = "aee_restore() of a context that has written " #pages " pages since its " \
               "checkpoint; incremental, between calls in AEE_CALL_DIRECT",              \
        .target = {.p50 = (limit_us)*1000.0},                                            \
        .run = run_reset_##pages,                                                        \
    }

RESET_ROW(0, 4);
RESET_ROW(16, 6);
RESET_ROW(256, 38);

/* ---- crash_recover ------------------------------------------------------------------------ */

/* From before the call that crashes to the next answer, which must come of the kept state. */
static int measure_crashes(void *user, struct bench_samples *samples, uint32_t count,
                           struct bench_result *result)
{
    struct recovery *recovery = user;
    bench_cpus_pin(recovery->bench->cpu_here);
    for (uint32_t i = 0; i < count; i++) {
        aee_error error;
        int64_t value = 0;
        aee_result status = call(recovery, recovery->touch, CRASH_PAGES, 1, &value, &error);
        if (bench_check(result, status, &error) != 0) {
            return -1;
        }
        const uint64_t before = bench_now();
        (void)call(recovery, recovery->crash, 0, 0, NULL, &error);
        status = call(recovery, recovery->count, 0, 0, &value, &error);
        bench_samples_add(samples, (double)(bench_now() - before));
        (void)aee_poll_events(recovery->stage.engine, NULL, NULL);
        if (bench_check(result, status, &error) != 0) {
            return -1;
        }
        if (value != recovery->expected) {
            return bench_skip(result, "the state was lost: %lld instead of %lld", (long long)value,
                              (long long)recovery->expected);
        }
    }
    return 0;
}

static int measure_two_exits(void *user, struct bench_samples *samples, uint32_t count,
                             struct bench_result *result)
{
    struct recovery *recovery = user;
    bench_cpus_pin(recovery->bench->cpu_here);
    return bench_exits_measure(recovery->exits, samples, count, 2, result);
}

static int run_crash_recover(struct bench *bench, struct bench_result *result)
{
    struct recovery recovery;
    const aee_recovery_desc settings = {.history = 1, .restart = AEE_RESTART_CHECKPOINT};
    const struct bench_pair pair = {.floor = measure_two_exits,
                                    .floor_user = &recovery,
                                    .row = measure_crashes,
                                    .row_user = &recovery,
                                    .rounds = bench_scale(bench, 20),
                                    .floor_count = 50,
                                    .row_count = 25};
    struct bench_exits *exits = NULL;
    if (bench->level != AEE_LEVEL_FULL) { /* a cell's threads stay with it, as the floor's child */
        bench_cpus_pin(bench->cpu_here);
    }
    int status = open_recovery(&recovery, bench, &settings, result);
    if (status == 0 && (status = bench_exits_open(&exits, bench, result)) == 0) {
        recovery.exits = exits;
        status = bench_interleave(&pair, result);
        const double most = 2.5 * result->floor.p50 + 300.0 * CRASH_PAGES;
        result->met = result->row.p50 <= most;
        bench_extra(result, "most_ns", most);
    }
    bench_exits_close(exits);
    close_recovery(&recovery);
    return status;
}

const struct bench_row bench_row_crash_recover = {
    .name = "crash_recover",
    .unit = "ns",
    .floor = "two bare exits",
    .target_text = "p50 <= 2.5x + 0.3 us per page",
    .how = "a call that crashes, having written 16 pages since the checkpoint, and the next call, "
           "which answers from the checkpoint's state; floor: two exits of a bare machine, or two "
           "futex round trips into a child process where contexts are cells",
    .target = {.own = true},
    .run = run_crash_recover,
};

/* ---- state_save, state_restore ------------------------------------------------------------ */

static int measure_saves(void *user, struct bench_samples *samples, uint32_t count,
                         struct bench_result *result)
{
    struct recovery *recovery = user;
    for (uint32_t i = 0; i < count; i++) {
        aee_error error;
        const uint64_t before = bench_now();
        const aee_result status =
            aee_checkpoint(recovery->stage.engine, recovery->stage.context, &error);
        bench_samples_add(samples, (double)(bench_now() - before));
        if (bench_check(result, status, &error) != 0) {
            return -1;
        }
    }
    return 0;
}

static int run_state(struct bench *bench, struct bench_result *result, bench_measure_fn measure)
{
    struct recovery recovery;
    const aee_recovery_desc settings = {.mode = AEE_CHECKPOINT_DECLARED, .history = 1};
    const struct bench_pair pair = {.floor = measure_copies,
                                    .floor_user = &recovery,
                                    .row = measure,
                                    .row_user = &recovery,
                                    .rounds = bench_scale(bench, 20),
                                    .floor_count = 20,
                                    .row_count = 20};
    int status = open_recovery(&recovery, bench, &settings, result);
    if (status == 0) {
        aee_error error; /* the second buffer of two is made, too */
        status = bench_check(
            result, aee_checkpoint(recovery.stage.engine, recovery.stage.context, &error), &error);
    }
    if (status == 0) {
        recovery.pages = STATE / PAGE;
        status = bench_interleave(&pair, result);
    }
    close_recovery(&recovery);
    return status;
}

static int run_state_save(struct bench *bench, struct bench_result *result)
{
    return run_state(bench, result, measure_saves);
}

/* Resets of no pages: what is declared is copied all the same. */
static int measure_loads(void *user, struct bench_samples *samples, uint32_t count,
                         struct bench_result *result)
{
    struct recovery *recovery = user;
    const int64_t pages = recovery->pages;
    recovery->pages = 0;
    const int status = measure_resets(recovery, samples, count, result);
    recovery->pages = pages;
    return status;
}

static int run_state_restore(struct bench *bench, struct bench_result *result)
{
    return run_state(bench, result, measure_loads);
}

const struct bench_row bench_row_state_save = {
    .name = "state_save",
    .unit = "ns",
    .floor = "memcpy of 1 MiB",
    .target_text = "p50 <= 1.5x",
    .how = "aee_checkpoint() of 1 MiB of declared state",
    .target = {.p50_ratio = 1.5},
    .run = run_state_save,
};

const struct bench_row bench_row_state_restore = {
    .name = "state_restore",
    .unit = "ns",
    .floor = "memcpy of 1 MiB",
    .target_text = "p50 <= 1.5x",
    .how = "aee_restore() of 1 MiB of declared state",
    .target = {.p50_ratio = 1.5},
    .run = run_state_restore,
};

/* ---- fork_call ---------------------------------------------------------------------------- */

/* Between frames a spare fork is made, and then the pool is filled. */
static int await_forks(struct recovery *recovery, uint32_t wanted, struct bench_result *result)
{
    const uint64_t patience = bench_now() + 10 * BENCH_NS_PER_SECOND;
    aee_context_info info = {0};
    do {
        if (bench_stage_info(&recovery->stage, &info, result) != 0) {
            return -1;
        }
        if (info.forks_ready >= wanted) {
            return bench_stage_await_pool(&recovery->stage, BENCH_POOL, result);
        }
        bench_sleep(BENCH_NS_PER_MS / 10);
    } while (bench_now() < patience);
    return bench_skip(result, "%u forks were ready after 10 s, not %u", info.forks_ready, wanted);
}

static int measure_one_fork(struct recovery *recovery, struct bench_samples *samples,
                            aee_context *out, struct bench_result *result)
{
    aee_engine *engine = recovery->stage.engine;
    aee_error error;
    aee_context fork = {0};
    aee_function function;
    int64_t value = 0;
    const uint64_t before = bench_now();
    aee_result status = aee_fork(engine, recovery->stage.context, NULL, &fork, &error);
    if (status == AEE_OK) {
        status = aee_find_function(engine, fork, "recovery_count", &function, &error);
    }
    if (status == AEE_OK) {
        status = aee_call_i64(engine, fork, function, NULL, 0, &value, &error);
    }
    bench_samples_add(samples, (double)(bench_now() - before));
    *out = fork;
    if (bench_check(result, status, &error) != 0) {
        return -1;
    }
    return value == recovery->expected ? 0
                                       : bench_skip(result, "a fork has not its template's state");
}

/* In a frame, in which nobody makes machines: a second fork finds one from the pool only. */
static int measure_frame(struct recovery *recovery, struct bench_samples *samples,
                         struct bench_result *result)
{
    aee_engine *engine = recovery->stage.engine;
    if (await_forks(recovery, 1, result) != 0) {
        return -1;
    }
    aee_context forks[2] = {{0}, {0}};
    (void)aee_engine_frame_begin(engine, NULL);
    int status = measure_one_fork(recovery, samples, &forks[0], result);
    if (status == 0 && recovery->beside.count < recovery->beside.capacity) {
        status = measure_one_fork(recovery, &recovery->beside, &forks[1], result);
    }
    (void)aee_engine_frame_end(engine, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        (void)aee_destroy(engine, forks[i], NULL);
    }
    return status;
}

static int measure_forks(void *user, struct bench_samples *samples, uint32_t count,
                         struct bench_result *result)
{
    int status = 0;
    for (uint32_t i = 0; i < count && status == 0; i++) {
        status = measure_frame(user, samples, result);
    }
    return status;
}

/* One spare fork, at all levels; the first one that is asked for has spares made. */
static int begin_forks(struct recovery *recovery, struct bench_result *result)
{
    aee_error error;
    const aee_limits limits = {.spares = 1};
    aee_result status =
        aee_set_limits(recovery->stage.engine, recovery->stage.context, &limits, &error);
    if (bench_check(result, status, &error) != 0) {
        return -1;
    }
    if (begin_beside(recovery, COLD_FORKS, result) != 0) {
        return -1;
    }
    aee_context fork;
    const int begun = measure_one_fork(recovery, &recovery->beside, &fork, result);
    recovery->beside.count = 0;
    (void)aee_destroy(recovery->stage.engine, fork, NULL);
    return begun;
}

static int run_fork_call(struct bench *bench, struct bench_result *result)
{
    struct recovery recovery;
    const aee_recovery_desc settings = {.history = 1};
    const struct bench_pair pair = {.row = measure_forks,
                                    .row_user = &recovery,
                                    .rounds = bench_scale(bench, 20),
                                    .row_count = 10};
    int status = open_recovery(&recovery, bench, &settings, result);
    if (status == 0 && (status = begin_forks(&recovery, result)) == 0) {
        status = bench_interleave(&pair, result);
    }
    if (status == 0) {
        bench_extra(result, "no_spare_ns", bench_summarize(&recovery.beside).p50);
    }
    bench_samples_free(&recovery.beside);
    close_recovery(&recovery);
    return status;
}

const struct bench_row bench_row_fork_call = {
    .name = "fork_call",
    .unit = "ns",
    .target_text = "p50 <= 120 us",
    .how = "aee_fork() of a context that has not changed since its last fork, aee_find_function() "
           "and the first call, with a spare fork ready, within a frame",
    .target = {.p50 = 120000.0},
    .run = run_fork_call,
};
