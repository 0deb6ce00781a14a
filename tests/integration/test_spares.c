/* test_spares.c: instances that wait for a restart: they are taken, clean, of now, and nobody's
 * problem when they fail. */
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "aee_abi.h"
#include "base/sys.h"

#define CANARY INT64_C(0x5ca1ab1ec0ffee)

static aee_context_info info_of(struct bed *bed, aee_context context)
{
    aee_context_info info;
    ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
    return info;
}

static void pause_ms(unsigned ms)
{
    struct timespec delay = {.tv_nsec = (long)ms * 1000000};
    (void)nanosleep(&delay, NULL);
}

static void wait_spares(struct bed *bed, aee_context context, uint32_t wanted)
{
    for (unsigned i = 0; info_of(bed, context).spares_ready != wanted; i++) {
        if (i > 10 * scaled(1000)) {
            fail_msg("%u spares instead of %u", info_of(bed, context).spares_ready, wanted);
        }
        pause_ms(1);
    }
}

static aee_context make_spared(struct bed *bed, uint32_t spares, const char *path)
{
    aee_context context;
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = "spared",
                             .call_mode = AEE_CALL_DIRECT,
                             .limits = {.call_budget_ns = scaled(SECOND),
                                        .spares = spares,
                                        .restarts = 63,
                                        .restart_window_ns = 1}};
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_load_file(bed->engine, context, path, &bed->error));
    return context;
}

/* No spare is built within a frame, so that what is counted in one holds still. */
static void frame_begin(struct bed *bed)
{
    ASSERT_OK(bed, aee_engine_frame_begin(bed->engine, &bed->error));
}

static void frame_end(struct bed *bed)
{
    ASSERT_OK(bed, aee_engine_frame_end(bed->engine, NULL, &bed->error));
}

static void restart(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error));
}

/* ---- Taken ------------------------------------------------------------------------------------ */

static void restarts_take_spares(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_spared(bed, 2, testbed_path());
    wait_spares(bed, context, 2);
    assert_int_equal(value0(bed, context, "count"), 1);
    frame_begin(bed);
    restart(bed, context);
    assert_int_equal(info_of(bed, context).spares_ready, 1);
    assert_int_equal(value0(bed, context, "constructed"), 41);
    assert_int_equal(value0(bed, context, "count"), 1);
    int64_t value;
    assert_int_equal(call2(bed, context, "read_i64", 8, 0, 1, &value), AEE_ERR_CRASHED);
    ASSERT_OK(bed, aee_wait_ready(bed->engine, context, 10 * SECOND, &bed->error));
    assert_int_equal(info_of(bed, context).spares_ready, 0);
    assert_int_equal(value0(bed, context, "count"), 1);
    restart(bed, context); /* there is none: as without spares */
    assert_int_equal(value0(bed, context, "count"), 1);
    assert_int_equal(info_of(bed, context).restarts, 3);
    frame_end(bed);
    wait_spares(bed, context, 2);
    assert_int_equal(value0(bed, context, "count"), 2);
}

/* An engine that is always in a frame gets them too, a few frames later. */
static void busy_engines_get_spares(void **state)
{
    struct bed *bed = *state;
    frame_begin(bed);
    aee_context context = make_spared(bed, 1, testbed_path());
    for (unsigned i = 0; info_of(bed, context).spares_ready == 0; i++) {
        assert_true(i < scaled(1000));
        frame_end(bed);
        frame_begin(bed);
        pause_ms(2);
    }
    frame_end(bed);
}

static void limits_and_stop_drop_them(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_spared(bed, 1, testbed_path());
    wait_spares(bed, context, 1);
    frame_begin(bed);
    ASSERT_OK(bed, aee_allocate_isolated_memory(bed->engine, context, 64, &bed->error));
    assert_int_equal(info_of(bed, context).spares_ready, 0);
    frame_end(bed);
    wait_spares(bed, context, 1);
    restart(bed, context); /* the new one has the new heap */
    assert_int_equal(value2(bed, context, "allocate", 48 << 20, 0, 1), 1);
    wait_spares(bed, context, 1);
    ASSERT_OK(bed, aee_stop(bed->engine, context, &bed->error));
    pause_ms(20);
    assert_int_equal(info_of(bed, context).spares_ready, 0);
    restart(bed, context);
    wait_spares(bed, context, 1);
    frame_begin(bed);
    ASSERT_OK(bed, aee_load_file(bed->engine, context, testbed_path(), &bed->error));
    assert_int_equal(info_of(bed, context).spares_ready, 0);
    frame_end(bed);
    wait_spares(bed, context, 1);
}

/* ---- Clean ------------------------------------------------------------------------------------ */

/* Places of every kind that a component can write to. */
static const int64_t places[] = {
    (int64_t)AEE_GVA_HEAP,
    (int64_t)AEE_GVA_HEAP + 4096,
    (int64_t)AEE_GVA_HEAP + (8 << 20),
    (int64_t)AEE_GVA_HEAP + (16 << 20) - 8,
    (int64_t)(AEE_GVA_STACKS + AEE_STACK_GUARD + AEE_STACK_MAX) - (64 << 10),
    (int64_t)(AEE_GVA_LANES + offsetof(struct aee_abi_lane, request_arena)) + 512,
    (int64_t)(AEE_GVA_LANES + offsetof(struct aee_abi_lane, host_arena)) + 65528,
};

static void nothing_is_left_in_spares(void **state)
{
    struct bed *bed = *state;
    enum { ROUNDS = 12 };
    int64_t seeds[ROUNDS];
    aee_context context = make_spared(bed, 2, testbed_path());
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
            int64_t found = value2(bed, context, "read_i64", places[i], 0, 1);
            if (found == CANARY) {
                fail_msg("round %u found at 0x%llx what an earlier one wrote", round,
                         (unsigned long long)places[i]);
            }
            (void)value2(bed, context, "write_i64", places[i], CANARY, 2);
            assert_true(value2(bed, context, "read_i64", places[i], 0, 1) == CANARY);
        }
        seeds[round] = value0(bed, context, "seed_word");
        for (unsigned i = 0; i < round; i++) {
            assert_true(seeds[i] != seeds[round]);
        }
        if (round % 3 != 2) { /* now and then without a spare */
            wait_spares(bed, context, 2);
        }
        restart(bed, context);
    }
}

/* ---- Regions ---------------------------------------------------------------------------------- */

static aee_region make_region(struct bed *bed, const char *name, int64_t value)
{
    aee_region region;
    void *data;
    aee_region_desc desc = {.struct_size = sizeof desc, .name = name, .size_bytes = 8192};
    ASSERT_OK(bed, aee_region_create(bed->engine, &desc, &region, &bed->error));
    ASSERT_OK(bed, aee_region_data(bed->engine, region, &data, NULL, &bed->error));
    memcpy(data, &value, sizeof value);
    return region;
}

static int64_t map(struct bed *bed, aee_context context, aee_region region, aee_access access)
{
    uint64_t gva;
    ASSERT_OK(bed, aee_region_map(bed->engine, context, region, access, &gva, &bed->error));
    return (int64_t)gva;
}

static void spares_see_regions_of_now(void **state)
{
    struct bed *bed = *state;
    aee_region early = make_region(bed, "early", 11);
    aee_region late = make_region(bed, "late", 22);
    aee_region gone = make_region(bed, "gone", 33);
    aee_region lowered = make_region(bed, "lowered", 44);
    aee_context context = make_spared(bed, 1, testbed_path());
    int64_t value;
    wait_spares(bed, context, 1);
    frame_begin(bed);
    restart(bed, context);
    int64_t early_at = map(bed, context, early, AEE_ACCESS_READ_WRITE);
    int64_t gone_at = map(bed, context, gone, AEE_ACCESS_READ_WRITE);
    int64_t lowered_at = map(bed, context, lowered, AEE_ACCESS_READ_WRITE);
    frame_end(bed);
    wait_spares(bed, context, 1); /* built with three regions */
    frame_begin(bed);
    int64_t late_at = map(bed, context, late, AEE_ACCESS_READ_WRITE);
    ASSERT_OK(bed, aee_region_unmap(bed->engine, context, gone, &bed->error));
    (void)map(bed, context, lowered, AEE_ACCESS_READ);
    restart(bed, context);
    assert_int_equal(info_of(bed, context).spares_ready, 0);
    assert_int_equal(value2(bed, context, "read_i64", early_at, 0, 1), 11);
    assert_int_equal(value2(bed, context, "read_i64", late_at, 0, 1), 22);
    assert_int_equal(value2(bed, context, "write_i64", late_at, 23, 2), 23);
    assert_int_equal(value2(bed, context, "read_i64", lowered_at, 0, 1), 44);
    frame_end(bed);
    assert_int_equal(call2(bed, context, "write_i64", lowered_at, 1, 2, &value), AEE_ERR_CRASHED);
    ASSERT_OK(bed, aee_wait_ready(bed->engine, context, 10 * SECOND, &bed->error));
    assert_int_equal(value2(bed, context, "read_i64", lowered_at, 0, 1), 44);
    assert_int_equal(call2(bed, context, "read_i64", gone_at, 0, 1, &value), AEE_ERR_CRASHED);
    ASSERT_OK(bed, aee_wait_ready(bed->engine, context, 10 * SECOND, &bed->error));
    wait_spares(bed, context, 1);
    ASSERT_OK(bed, aee_region_destroy(bed->engine, late, &bed->error));
    restart(bed, context);
    assert_int_equal(call2(bed, context, "read_i64", late_at, 0, 1, &value), AEE_ERR_CRASHED);
}

/* ---- Spares that fail ------------------------------------------------------------------------- */

static const char *starter_path(void)
{
    return AEE_STARTER;
}

static _Atomic int64_t how_next;
static _Atomic unsigned starts;
static unsigned failures;

static aee_result how_to_start(void *user, aee_host_call *call)
{
    (void)user;
    call->result = atomic_fetch_add(&starts, 1) == 0 ? 0 : atomic_load(&how_next);
    return AEE_OK;
}

static void count_failures(void *user, const aee_event *event)
{
    (void)user;
    failures += event->type == AEE_EVENT_SPARE_FAILED;
}

static void await_failure(struct bed *bed)
{
    for (unsigned i = 0; failures == 0; i++) {
        assert_true(i < 20 * scaled(1000));
        ASSERT_OK(bed, aee_poll_events(bed->engine, NULL, &bed->error));
        pause_ms(1);
    }
}

static void failing_spares_are_no_crash(void **state)
{
    struct bed *bed = *state;
    aee_crash crash;
    aee_context context;
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = "starter",
                             .limits = {.call_budget_ns = scaled(SECOND / 5), .spares = 2}};
    ASSERT_OK(bed, aee_set_event_callback(bed->engine, count_failures, NULL, &bed->error));
    ASSERT_OK(bed, aee_register_host_function(bed->engine, "how_to_start", how_to_start, NULL,
                                              &bed->error));
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "how_to_start", &bed->error));
    for (int64_t how = 1; how <= 2; how++) { /* crash, spin */
        atomic_store(&how_next, how);
        atomic_store(&starts, 0);
        failures = 0;
        ASSERT_OK(bed, aee_load_file(bed->engine, context, starter_path(), &bed->error));
        await_failure(bed);
        assert_int_equal(value0(bed, context, "answer"), 42); /* goes on as if nothing were */
        pause_ms(20);
        aee_context_info info = info_of(bed, context);
        assert_int_equal(info.state, AEE_STATE_READY);
        assert_int_equal(info.crashes + info.hangs + info.restarts, 0);
        assert_int_equal(info.spares_ready, 0);
        assert_int_equal(aee_last_crash(bed->engine, context, &crash, NULL), AEE_ERR_NOT_FOUND);
        assert_int_equal(atomic_load(&starts), 2); /* no second try */
        assert_int_equal(failures, 1);
    }
    atomic_store(&how_next, 0);
    ASSERT_OK(bed, aee_load_file(bed->engine, context, starter_path(), &bed->error));
    wait_spares(bed, context, 2); /* a load starts afresh */
}

/* A region is taken away from a spare in the middle of its initialiser too. */
static void no_write_lands_after_a_revocation(void **state)
{
    struct bed *bed = *state;
    void *data;
    aee_context context;
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = "starter",
                             .limits = {.call_budget_ns = 30 * SECOND, .spares = 1}};
    aee_region region = make_region(bed, "shared", 0);
    ASSERT_OK(bed, aee_set_event_callback(bed->engine, count_failures, NULL, &bed->error));
    ASSERT_OK(bed, aee_register_host_function(bed->engine, "how_to_start", how_to_start, NULL,
                                              &bed->error));
    ASSERT_OK(bed, aee_region_data(bed->engine, region, &data, NULL, &bed->error));
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "how_to_start", &bed->error));
    atomic_store(&how_next, map(bed, context, region, AEE_ACCESS_READ_WRITE));
    atomic_store(&starts, 0);
    failures = 0;
    ASSERT_OK(bed, aee_load_file(bed->engine, context, starter_path(), &bed->error));
    while (__atomic_load_n((int64_t *)data, __ATOMIC_RELAXED) < 1000) { /* the spare is at it */
        pause_ms(1);
    }
    ASSERT_OK(bed, aee_region_unmap(bed->engine, context, region, &bed->error));
    int64_t last = __atomic_load_n((int64_t *)data, __ATOMIC_RELAXED);
    await_failure(bed);
    pause_ms(5);
    assert_true(__atomic_load_n((int64_t *)data, __ATOMIC_RELAXED) == last);
    assert_int_equal(value0(bed, context, "answer"), 42);
    assert_int_equal(info_of(bed, context).crashes, 0);
}

static _Atomic unsigned allowed = UINT32_MAX; /* calls of memfd_create() before it fails */

static int fail_memfd(const char *name)
{
    if (strcmp(name, "memfd_create") != 0) {
        return 0;
    }
    unsigned left = atomic_load(&allowed);
    if (left > 0 && left != UINT32_MAX) {
        atomic_store(&allowed, left - 1);
    }
    return left == 0 ? ENOMEM : 0;
}

static void a_host_that_lacks_memory_costs_only_the_spares(void **state)
{
    struct bed *bed = *state;
    NEEDS_LEVEL(AEE_LEVEL_FULL, "a cell has more than one memory file, and the pool's have, too");
    ASSERT_OK(bed, aee_set_event_callback(bed->engine, count_failures, NULL, &bed->error));
    failures = 0;
    atomic_store(&allowed, 2); /* the load, and one of two spares */
    aee_context context = make_spared(bed, 2, testbed_path());
    await_failure(bed);
    aee_context_info info = info_of(bed, context);
    assert_int_equal(info.spares_ready, 1);
    assert_int_equal(info.crashes + info.restarts, 0);
    assert_int_equal(value0(bed, context, "count"), 1);
    restart(bed, context); /* needs no memory */
    assert_int_equal(aee_restart(bed->engine, context, &bed->error), AEE_ERR_NO_MEMORY);
    assert_int_equal(value0(bed, context, "count"), 1);
    atomic_store(&allowed, UINT32_MAX);
    ASSERT_OK(bed, aee_load_file(bed->engine, context, testbed_path(), &bed->error));
    wait_spares(bed, context, 2);
    assert_int_equal(failures, 1);
}

/* Stopping does not wait for the budget of a spare's initialiser. */
static void stop_ends_a_spare_that_starts(void **state)
{
    struct bed *bed = *state;
    aee_context context;
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = "starter",
                             .limits = {.call_budget_ns = 30 * SECOND, .spares = 1}};
    atomic_store(&how_next, 2);
    atomic_store(&starts, 0);
    ASSERT_OK(bed, aee_register_host_function(bed->engine, "how_to_start", how_to_start, NULL,
                                              &bed->error));
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "how_to_start", &bed->error));
    ASSERT_OK(bed, aee_load_file(bed->engine, context, starter_path(), &bed->error));
    while (atomic_load(&starts) < 2) {
        pause_ms(1);
    }
    pause_ms(5);
    struct timespec begin;
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    ASSERT_OK(bed, aee_stop(bed->engine, context, &bed->error));
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - begin.tv_sec < 15);
    assert_int_equal(info_of(bed, context).state, AEE_STATE_STOPPED);
}

/* ---- Everything at once ----------------------------------------------------------------------- */

static _Atomic bool done;
static aee_context raced;
static aee_region raced_region;

static void *race_restart(void *engine)
{
    while (!atomic_load(&done)) {
        (void)aee_restart(engine, raced, NULL);
        pause_ms(2);
    }
    return NULL;
}

static void *race_change(void *engine)
{
    for (unsigned i = 0; !atomic_load(&done); i++) {
        aee_limits limits = {.spares = 1 + i % 4};
        (void)(i % 5 == 4   ? aee_load_file(engine, raced, testbed_path(), NULL)
               : i % 5 == 2 ? aee_stop(engine, raced, NULL)
                            : aee_set_limits(engine, raced, &limits, NULL));
        pause_ms(5);
    }
    return NULL;
}

static void *race_regions(void *engine)
{
    for (unsigned i = 0; !atomic_load(&done); i++) {
        (void)aee_region_map(engine, raced, raced_region,
                             i % 2 ? AEE_ACCESS_READ : AEE_ACCESS_READ_WRITE, NULL, NULL);
        (void)aee_region_unmap(engine, raced, raced_region, NULL);
    }
    return NULL;
}

static void *race_crash(void *engine)
{
    while (!atomic_load(&done)) {
        aee_function read;
        int64_t null = 8;
        if (aee_find_function(engine, raced, "read_i64", &read, NULL) == AEE_OK) {
            (void)aee_call_i64(engine, raced, read, &null, 1, NULL, NULL);
        }
        (void)aee_wait_ready(engine, raced, SECOND / 100, NULL);
    }
    return NULL;
}

static void races_end_in_a_working_context(void **state)
{
    struct bed *bed = *state;
    static void *(*const bodies[])(void *) = {race_restart, race_change, race_regions, race_crash};
    enum { THREADS = sizeof bodies / sizeof bodies[0] };
    pthread_t threads[THREADS];
    raced = make_spared(bed, 2, testbed_path());
    raced_region = make_region(bed, "raced", 1);
    atomic_store(&done, false);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], bed->engine), 0);
    }
    pause_ms(900);
    atomic_store(&done, true);
    for (unsigned i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    ASSERT_OK(bed, aee_load_file(bed->engine, raced, testbed_path(), &bed->error));
    assert_int_equal(value0(bed, raced, "count"), 1);
    aee_limits limits = {.spares = 3};
    ASSERT_OK(bed, aee_set_limits(bed->engine, raced, &limits, &bed->error));
    wait_spares(bed, raced, 3);
}

/* Destroyed at any point of building spares. */
static void destroyed_while_built(void **state)
{
    struct bed *bed = *state;
    for (unsigned i = 0; i < 30; i++) {
        aee_context context = make_spared(bed, 4, testbed_path());
        struct timespec delay = {.tv_nsec = (long)i * 150000};
        (void)nanosleep(&delay, NULL);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
    (void)make_spared(bed, 4, testbed_path()); /* the engine's end finds it */
}

int main(void)
{
    skip_without_backend();
    aee__sys_fault = fail_memfd;
    const struct CMUnitTest tests[] = {
        TEST(restarts_take_spares),
        TEST(busy_engines_get_spares),
        TEST(limits_and_stop_drop_them),
        TEST(nothing_is_left_in_spares),
        TEST(spares_see_regions_of_now),
        TEST(failing_spares_are_no_crash),
        TEST(no_write_lands_after_a_revocation),
        TEST(a_host_that_lacks_memory_costs_only_the_spares),
        TEST(stop_ends_a_spare_that_starts),
        TEST(races_end_in_a_working_context),
        TEST(destroyed_while_built),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
