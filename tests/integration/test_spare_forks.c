/* test_spare_forks.c: forks that are made ahead: they are taken, are what others are, go when their
 * template has gone on, and are nobody's problem when they fail. */
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/sys.h"
#include "cell_level.h"

#ifndef AEE_STATEBED
#error "the build names the component"
#endif

static void pause_ms(unsigned ms)
{
    struct timespec delay = {.tv_nsec = (long)ms * 1000000};
    (void)nanosleep(&delay, NULL);
}

static uint32_t ready(struct bed *bed, aee_context context)
{
    aee_context_info info;
    ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
    return info.forks_ready;
}

static void wait_ready(struct bed *bed, aee_context context, uint32_t wanted)
{
    for (unsigned i = 0; ready(bed, context) != wanted; i++) {
        if (i > 20 * scaled(1000)) {
            fail_msg("%u forks are ready instead of %u", ready(bed, context), wanted);
        }
        pause_ms(1);
    }
}

static aee_context make_in(struct bed *bed, aee_call_mode mode, uint32_t lanes, uint32_t spares)
{
    aee_context context;
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = "template",
                             .call_mode = mode,
                             .limits = {.lanes = lanes,
                                        .call_budget_ns = scaled(5 * SECOND),
                                        .spares = spares,
                                        .restarts = 63,
                                        .restart_window_ns = 1}};
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_load_file(bed->engine, context, AEE_STATEBED, &bed->error));
    return context;
}

static aee_context make(struct bed *bed, uint32_t spares)
{
    return make_in(bed, AEE_CALL_DIRECT, 1, spares);
}

static int64_t get(struct bed *bed, aee_context context, const char *name)
{
    return value2(bed, context, name, 0, 0, 0);
}

static aee_context fork_of(struct bed *bed, aee_context template)
{
    aee_context fork;
    ASSERT_OK(bed, aee_fork(bed->engine, template, NULL, &fork, &bed->error));
    return fork;
}

static void destroy(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
}

/* None is made within a frame: what is counted there holds still. */
static void begin(struct bed *bed)
{
    ASSERT_OK(bed, aee_engine_frame_begin(bed->engine, &bed->error));
}

static void end(struct bed *bed)
{
    ASSERT_OK(bed, aee_engine_frame_end(bed->engine, NULL, &bed->error));
}

/* ---- Forks like others -------------------------------------------------------------------- */

static void check_forks(struct bed *bed, aee_context template, aee_context *forks, int count)
{
    int64_t digest = get(bed, template, "digest");
    int64_t seeds[8] = {get(bed, template, "seed")};
    for (int i = 0; i < count; i++) {
        assert_int_equal(get(bed, forks[i], "digest"), digest);
        (void)value2(bed, forks[i], "touch", 200, i + 2, 2);
        (void)value2(bed, forks[i], "fill", 20000, i + 2, 2);
        seeds[i + 1] = get(bed, forks[i], "seed");
    }
    for (int i = 0; i < count; i++) {
        assert_int_equal(value2(bed, forks[i], "look", 199, 0, 1), i + 2);
        for (int k = 0; k <= i; k++) {
            assert_int_not_equal(seeds[k], seeds[i + 1]);
        }
    }
    assert_int_equal(get(bed, template, "digest"), digest);
}

static void take_some(aee_call_mode mode, uint32_t lanes)
{
    enum { SPARES = 3, FORKS = 5 };
    struct bed bed;
    aee_context forks[FORKS];
    bed_open(&bed, NULL);
    aee_context template = make_in(&bed, mode, lanes, SPARES);
    (void)get(&bed, template, "count");
    (void)value2(&bed, template, "fill", 30000, 3, 2);
    assert_int_equal(ready(&bed, template), 0);
    forks[0] = fork_of(&bed, template);
    wait_ready(&bed, template, SPARES);
    begin(&bed);
    for (int i = 1; i < FORKS; i++) { /* the last finds none */
        forks[i] = fork_of(&bed, template);
        assert_int_equal(ready(&bed, template), i < SPARES ? SPARES - i : 0);
        assert_int_equal(get(&bed, forks[i], "counted"), 101);
    }
    end(&bed);
    wait_ready(&bed, template, SPARES);
    check_forks(&bed, template, forks, FORKS);
    bed_close(&bed);
}

static void test_are_taken(void **state)
{
    (void)state;
    take_some(AEE_CALL_DIRECT, 1);
}

static void test_many_lanes(void **state)
{
    (void)state;
    take_some(AEE_CALL_RING, 3);
}

/* Without `spares` one is kept for who forks the same state twice, where that costs little. */
static void test_one_by_default(void **state)
{
    (void)state;
    struct bed bed;
    aee_stats stats = {0};
    bed_open(&bed, NULL);
    aee_context template = make(&bed, 0);
    ASSERT_OK(&bed, aee_get_stats(bed.engine, &stats, &bed.error));
    destroy(&bed, fork_of(&bed, template));
    pause_ms(20);
    assert_int_equal(ready(&bed, template), 0);
    destroy(&bed, fork_of(&bed, template));
    if (stats.level == AEE_LEVEL_FULL) {
        wait_ready(&bed, template, 1);
    } else {
        pause_ms(20);
        assert_int_equal(ready(&bed, template), 0);
    }
    bed_close(&bed);
}

/* What is the fork's own is that of the moment when it was asked for. */
static void test_settings_of_now(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context template = make(&bed, 1);
    destroy(&bed, fork_of(&bed, template));
    wait_ready(&bed, template, 1);
    const aee_determinism fixed = {
        .struct_size = sizeof fixed, .flags = AEE_FIXED_SEED, .seed = 4711};
    ASSERT_OK(&bed, aee_set_determinism(bed.engine, template, &fixed, &bed.error));
    const aee_region_desc desc = {.struct_size = sizeof desc, .name = "read", .size_bytes = 4096};
    aee_region region;
    uint64_t at;
    int64_t *data;
    ASSERT_OK(&bed, aee_region_create(bed.engine, &desc, &region, &bed.error));
    ASSERT_OK(&bed, aee_region_map(bed.engine, template, region, AEE_ACCESS_READ, &at, &bed.error));
    ASSERT_OK(&bed, aee_region_data(bed.engine, region, (void **)&data, NULL, &bed.error));
    *data = 17;
    begin(&bed);
    aee_context first = fork_of(&bed, template);
    assert_int_equal(ready(&bed, template), 0);
    aee_context second = fork_of(&bed, template);
    end(&bed);
    assert_int_equal(get(&bed, first, "seed"), get(&bed, second, "seed"));
    assert_int_equal(value2(&bed, first, "peek", (int64_t)at, 0, 1), 17);
    bed_close(&bed);
}

/* Its first call crashes, and it goes on in the same machine. */
static void test_restarts_in_place(void **state)
{
    (void)state;
    struct bed bed;
    int64_t value;
    bed_open(&bed, NULL);
    aee_context template = make_in(&bed, AEE_CALL_DIRECT, 2, 1);
    (void)get(&bed, template, "count");
    destroy(&bed, fork_of(&bed, template));
    wait_ready(&bed, template, 1);
    aee_context fork = fork_of(&bed, template);
    const aee_recovery_desc recovery = {
        .struct_size = sizeof recovery, .history = 1, .restart = AEE_RESTART_CHECKPOINT};
    ASSERT_OK(&bed, aee_set_recovery(bed.engine, fork, &recovery, &bed.error));
    ASSERT_OK(&bed, aee_checkpoint(bed.engine, fork, &bed.error));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(call2(&bed, fork, "wreck", 0, 0, 0, &value), AEE_ERR_CRASHED);
        ASSERT_OK(&bed, aee_wait_ready(bed.engine, fork, scaled(5 * SECOND), &bed.error));
        assert_int_equal(get(&bed, fork, "counted"), 101);
    }
    bed_close(&bed);
}

/* ---- The template goes on ----------------------------------------------------------------- */

static void pass_call(struct bed *bed, aee_context context)
{
    (void)get(bed, context, "count");
}

static void pass_submit(struct bed *bed, aee_context context)
{
    const aee_call_item item = {.context = context, .function = find(bed, context, "count")};
    aee_batch batch;
    ASSERT_OK(bed, aee_submit(bed->engine, &item, 1, 0, &batch, &bed->error));
    ASSERT_OK(
        bed, aee_wait(bed->engine, batch, NULL, UINT32_MAX, NULL, scaled(5 * SECOND), &bed->error));
}

static void pass_restore(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_restore(bed->engine, context, 0, &bed->error));
}

static void pass_growth(struct bed *bed, aee_context context)
{
    aee_context_info info;
    ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
    const uint64_t mb = (info.limits.memory_bytes >> 20) + 2;
    ASSERT_OK(bed, aee_allocate_isolated_memory(bed->engine, context, mb, &bed->error));
}

static void pass_restart(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error));
}

static void pass_load(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_load_file(bed->engine, context, AEE_STATEBED, &bed->error));
}

static void pass_crash(struct bed *bed, aee_context context)
{
    int64_t value;
    assert_int_equal(call2(bed, context, "crash", 0, 0, 0, &value), AEE_ERR_CRASHED);
    ASSERT_OK(bed, aee_wait_ready(bed->engine, context, scaled(5 * SECOND), &bed->error));
}

static void pass_stop(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_stop(bed->engine, context, &bed->error));
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error));
}

/* Also in the frame in which it happens, when nobody has taken the spare forks back yet. */
static void test_go_with_the_state(void **state)
{
    static void (*const passes[])(struct bed *,
                                  aee_context) = {pass_call, pass_submit, pass_restore, pass_growth,
                                                  pass_load, pass_crash,  pass_restart, pass_stop};
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context template = make(&bed, 2);
    const aee_recovery_desc recovery = {.struct_size = sizeof recovery, .history = 1};
    ASSERT_OK(&bed, aee_set_recovery(bed.engine, template, &recovery, &bed.error));
    for (unsigned i = 0; i < sizeof passes / sizeof passes[0]; i++) {
        for (int again = 0; again < 2; again++) {
            if (passes[i] == pass_restore) {
                (void)value2(&bed, template, "touch", 3, again + 1, 2);
                ASSERT_OK(&bed, aee_checkpoint(bed.engine, template, &bed.error));
                (void)value2(&bed, template, "touch", 3, again + 77, 2);
            }
            destroy(&bed, fork_of(&bed, template));
            wait_ready(&bed, template, 2);
            if (again) {
                begin(&bed);
            }
            passes[i](&bed, template);
            aee_context fork = fork_of(&bed, template);
            if (again) {
                end(&bed);
            }
            aee_context_info infos[2];
            ASSERT_OK(&bed, aee_get_context_info(bed.engine, template, &infos[0], &bed.error));
            ASSERT_OK(&bed, aee_get_context_info(bed.engine, fork, &infos[1], &bed.error));
            assert_int_equal(infos[0].memory_reserved, infos[1].memory_reserved);
            assert_int_equal(get(&bed, fork, "digest"), get(&bed, template, "digest"));
            wait_ready(&bed, template, 0); /* that was a call */
            destroy(&bed, fork);
        }
    }
    bed_close(&bed);
}

/* Nobody forks it any more: the next call is enough to have everything taken back. */
static void test_go_with_a_call(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context template = make(&bed, 2);
    for (int i = 0; i < 3; i++) {
        begin(&bed);
        (void)get(&bed, template, "count");
        destroy(&bed, fork_of(&bed, template));
        end(&bed);
        wait_ready(&bed, template, 2);
        (void)get(&bed, template, "count"); /* no frame has begun since */
        wait_ready(&bed, template, 0);
        pause_ms(10);
        assert_int_equal(ready(&bed, template), 0);
    }
    bed_close(&bed);
}

/* ---- Failures ----------------------------------------------------------------------------- */

static _Atomic bool failing;
static unsigned failures;

static int fail_housekeeper(const char *name)
{
    char thread[16] = "";
    if (!atomic_load(&failing) || strcmp(name, "mmap") != 0) {
        return 0;
    }
    (void)pthread_getname_np(pthread_self(), thread, sizeof thread);
    return strcmp(thread, "aee-housekeeper") == 0 ? ENOMEM : 0;
}

static void count_failures(void *user, const aee_event *event)
{
    (void)user;
    failures += event->type == AEE_EVENT_SPARE_FAILED;
}

static void test_failures_are_told_once(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    ASSERT_OK(&bed, aee_set_event_callback(bed.engine, count_failures, NULL, &bed.error));
    failures = 0;
    aee_context template = make(&bed, 0);
    atomic_store(&failing, true);
    const aee_limits limits = {.spares = 2};
    ASSERT_OK(&bed, aee_set_limits(bed.engine, template, &limits, &bed.error));
    (void)get(&bed, template, "count");
    aee_context fork = fork_of(&bed, template);
    for (unsigned i = 0; failures == 0 && i < 20 * scaled(1000); i++) {
        (void)aee_poll_events(bed.engine, NULL, NULL);
        pause_ms(1);
    }
    assert_int_equal(get(&bed, fork, "counted"), 101);
    atomic_store(&failing, false);
    destroy(&bed, fork_of(&bed, template)); /* the same state: no further try */
    pause_ms(20);
    (void)aee_poll_events(bed.engine, NULL, NULL);
    assert_int_equal(failures, 1);
    assert_int_equal(ready(&bed, template), 0);
    (void)get(&bed, template, "count");
    destroy(&bed, fork_of(&bed, template));
    wait_ready(&bed, template, 2);
    (void)aee_poll_events(bed.engine, NULL, NULL);
    assert_int_equal(failures, 1);
    bed_close(&bed);
}

static bool has_lanes(pid_t cell)
{
    char path[64];
    char line[128];
    long threads = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)cell);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "Threads:", 8) == 0) {
            threads = strtol(line + 8, NULL, 10);
        }
    }
    if (file) {
        (void)fclose(file);
    }
    return threads > 1;
}

enum { CELLS = 64 };

/* Kills those with lanes that are not among the first `known`, or notes them; how many. */
static int visit_cells(pid_t *known, int count, bool strike)
{
    pid_t cells[CELLS];
    int found = find_cells(getpid(), cells, CELLS);
    int visited = 0;
    for (int i = 0; i < found; i++) {
        bool is_known = !has_lanes(cells[i]);
        for (int k = 0; k < count; k++) {
            is_known = is_known || cells[i] == known[k];
        }
        if (!is_known && strike) {
            assert_int_equal(kill(cells[i], SIGKILL), 0);
        } else if (!is_known) {
            known[visited] = cells[i];
        }
        visited += !is_known;
    }
    return visited;
}

/* A cell that somebody kills while it waits is no crash of anybody. */
static void test_killed_while_it_waits(void **state)
{
    (void)state;
    struct bed bed;
    aee_context_info info = {0};
    aee_stats stats = {0};
    pid_t known[CELLS];
    bed_open(&bed, NULL);
    ASSERT_OK(&bed, aee_get_stats(bed.engine, &stats, &bed.error));
    if (stats.level != AEE_LEVEL_PROCESS && stats.level != AEE_LEVEL_CONTAINER) {
        bed_close(&bed);
        skip();
    }
    aee_context template = make(&bed, 1);
    for (unsigned i = 0; info.spares_ready < 1 && i < 20 * scaled(1000); i++) {
        ASSERT_OK(&bed, aee_get_context_info(bed.engine, template, &info, &bed.error));
        pause_ms(1);
    }
    int count = visit_cells(known, 0, false);
    assert_int_equal(count, 2); /* the template's, and its spare's */
    destroy(&bed, fork_of(&bed, template));
    wait_ready(&bed, template, 1);
    assert_int_equal(visit_cells(known, count, true), 1);
    pause_ms(100);
    aee_context fork = fork_of(&bed, template);
    assert_int_equal(get(&bed, fork, "count"), 101);
    assert_int_equal(get(&bed, template, "count"), 101);
    ASSERT_OK(&bed, aee_get_context_info(bed.engine, fork, &info, &bed.error));
    assert_int_equal(info.crashes, 0);
    ASSERT_OK(&bed, aee_get_context_info(bed.engine, template, &info, &bed.error));
    assert_int_equal(info.crashes, 0);
    bed_close(&bed);
}

/* ---- Races -------------------------------------------------------------------------------- */

static _Atomic bool done;
static _Atomic int64_t called; /* at least so often */
static aee_context raced;

static void *race_calls(void *engine)
{
    while (!atomic_load(&done)) {
        aee_function count;
        int64_t value = 0;
        if (aee_find_function(engine, raced, "count", &count, NULL) == AEE_OK &&
            aee_call_i64(engine, raced, count, NULL, 0, &value, NULL) == AEE_OK) {
            atomic_store(&called, value);
        }
        pause_ms(3);
    }
    return NULL;
}

static void *race_limits(void *engine)
{
    for (uint32_t i = 0; !atomic_load(&done); i++) {
        const aee_limits limits = {.spares = 1 + i % 4};
        (void)aee_set_limits(engine, raced, &limits, NULL);
        pause_ms(11);
    }
    return NULL;
}

static _Atomic int forked;

/* No fork has another state than the template had between the two looks. */
static void *race_forks(void *engine)
{
    intptr_t wrong = 0;
    while (!atomic_load(&done)) {
        aee_context fork;
        aee_function counted;
        int64_t value = 0;
        int64_t least = atomic_load(&called);
        if (aee_fork(engine, raced, NULL, &fork, NULL) != AEE_OK) {
            wrong++;
            continue;
        }
        if (aee_find_function(engine, fork, "counted", &counted, NULL) != AEE_OK ||
            aee_call_i64(engine, fork, counted, NULL, 0, &value, NULL) != AEE_OK || value < least ||
            value > atomic_load(&called) + 1) {
            wrong++;
        }
        (void)aee_destroy(engine, fork, NULL);
        (void)atomic_fetch_add(&forked, 1);
    }
    return (void *)wrong; // NOLINT(performance-no-int-to-ptr)
}

static void test_races(void **state)
{
    static void *(*const bodies[])(void *) = {race_calls, race_limits, race_forks, race_forks};
    enum { THREADS = sizeof bodies / sizeof bodies[0] };
    (void)state;
    struct bed bed;
    pthread_t threads[THREADS];
    bed_open(&bed, NULL);
    raced = make(&bed, 2);
    atomic_store(&done, false);
    atomic_store(&called, get(&bed, raced, "counted"));
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], bed.engine), 0);
    }
    for (unsigned i = 0; i < 60 || (atomic_load(&forked) < 20 && i < 60 * scaled(20)); i++) {
        begin(&bed);
        pause_ms(10);
        end(&bed);
        pause_ms(5);
    }
    atomic_store(&done, true);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    assert_true(atomic_load(&forked) >= 20);
    destroy(&bed, fork_of(&bed, raced));
    bed_close(&bed);
}

/* The template goes, or the engine, while spare forks are made. */
static void test_destroyed_while_made(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        struct bed bed;
        bed_open(&bed, NULL);
        for (int k = 0; k < 3; k++) {
            aee_context template = make(&bed, 4);
            aee_context fork = fork_of(&bed, template);
            struct timespec delay = {.tv_nsec = (i * 3 + k) * 150000L};
            (void)nanosleep(&delay, NULL);
            if (k < 2) {
                destroy(&bed, template);
            }
            assert_int_equal(get(&bed, fork, "counted"), 100);
        }
        bed_close(&bed);
    }
}

int main(void)
{
    skip_without_backend();
    aee__sys_fault = fail_housekeeper;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_are_taken),
        cmocka_unit_test(test_many_lanes),
        cmocka_unit_test(test_one_by_default),
        cmocka_unit_test(test_settings_of_now),
        cmocka_unit_test(test_restarts_in_place),
        cmocka_unit_test(test_go_with_the_state),
        cmocka_unit_test(test_go_with_a_call),
        cmocka_unit_test(test_failures_are_told_once),
        cmocka_unit_test(test_killed_while_it_waits),
        cmocka_unit_test(test_races),
        cmocka_unit_test(test_destroyed_while_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
