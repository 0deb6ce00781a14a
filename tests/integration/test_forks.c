/* test_forks.c: contexts that begin with the memory of another: what they share, and what they must
 * not. */
#include "harness.h"

#include <pthread.h>

#ifndef AEE_STATEBED
#error "the build names the component"
#endif

/* Forks are made ahead, and taken: they must be what others are. */
static bool ahead;

static aee_context make(struct bed *bed, uint32_t lanes)
{
    aee_context context;
    aee_context_desc desc = {
        .struct_size = sizeof desc,
        .name = "template",
        .call_mode = AEE_CALL_DIRECT,
        .limits = {
            .lanes = lanes, .call_budget_ns = scaled(SECOND), .restarts = 63, .spares = ahead}};
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_load_file(bed->engine, context, AEE_STATEBED, &bed->error));
    return context;
}

static int64_t get(struct bed *bed, aee_context context, const char *name)
{
    return value2(bed, context, name, 0, 0, 0);
}

static uint32_t ready(struct bed *bed, aee_context context)
{
    aee_context_info info;
    ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
    return info.forks_ready;
}

/* One that nobody needs has the next one made. */
static void make_ready(struct bed *bed, aee_context template)
{
    const struct timespec delay = {.tv_nsec = 1000000};
    aee_context fork;
    ASSERT_OK(bed, aee_fork(bed->engine, template, NULL, &fork, &bed->error));
    ASSERT_OK(bed, aee_destroy(bed->engine, fork, &bed->error));
    for (unsigned i = 0; ready(bed, template) == 0; i++) {
        if (i > 20 * scaled(1000)) {
            fail_msg("no fork is ready");
        }
        (void)nanosleep(&delay, NULL);
    }
}

static aee_context fork_of(struct bed *bed, aee_context template, const char *name)
{
    const aee_fork_desc desc = {.struct_size = sizeof desc, .name = name};
    aee_context fork;
    if (ahead) {
        make_ready(bed, template);
        ASSERT_OK(bed, aee_engine_frame_begin(bed->engine, &bed->error));
    }
    ASSERT_OK(bed, aee_fork(bed->engine, template, &desc, &fork, &bed->error));
    if (ahead) {
        assert_int_equal(ready(bed, template), 0);
        ASSERT_OK(bed, aee_engine_frame_end(bed->engine, NULL, &bed->error));
    }
    return fork;
}

static void test_goes_on_from_there(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context template = make(&bed, 2);
    (void)get(&bed, template, "count");
    (void)value2(&bed, template, "fill", 30000, 3, 2);
    (void)value2(&bed, template, "touch", 100, 5, 2);
    int64_t digest = get(&bed, template, "digest");
    aee_context first = fork_of(&bed, template, "first");
    aee_context second = fork_of(&bed, template, NULL);
    assert_int_equal(get(&bed, first, "digest"), digest);
    assert_int_equal(get(&bed, first, "count"), 102);
    (void)value2(&bed, first, "touch", 300, 7, 2);
    (void)value2(&bed, first, "fill", 40000, 7, 2);
    assert_int_equal(get(&bed, second, "digest"), digest);
    assert_int_equal(get(&bed, template, "digest"), digest);
    (void)get(&bed, template, "count"); /* the template goes on, too */
    assert_int_equal(get(&bed, second, "counted"), 101);
    aee_context third = fork_of(&bed, template, "third");
    assert_int_equal(get(&bed, third, "counted"), 102);
    aee_context_info info;
    ASSERT_OK(&bed, aee_get_context_info(bed.engine, second, &info, &bed.error));
    assert_string_equal(info.name, "template");
    assert_int_equal(info.limits.lanes, 2);
    assert_true(info.memory_resident > 0);
    bed_close(&bed);
}

/* The template may go first. */
static void test_outlives_template(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context template = make(&bed, 1);
    (void)value2(&bed, template, "fill", 30000, 3, 2);
    int64_t digest = get(&bed, template, "digest");
    aee_context fork = fork_of(&bed, template, "fork");
    ASSERT_OK(&bed, aee_destroy(bed.engine, template, &bed.error));
    assert_int_equal(get(&bed, fork, "digest"), digest);
    bed_close(&bed);
}

static void test_seeds_differ(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context template = make(&bed, 1);
    aee_context first = fork_of(&bed, template, "first");
    aee_context second = fork_of(&bed, template, "second");
    int64_t seeds[] = {get(&bed, template, "seed"), get(&bed, first, "seed"),
                       get(&bed, second, "seed")};
    assert_int_not_equal(seeds[0], seeds[1]);
    assert_int_not_equal(seeds[1], seeds[2]);
    assert_int_not_equal(seeds[0], seeds[2]);
    bed_close(&bed);
}

/* Checkpoints, crashes, growth and forks of forks. */
static void test_is_a_context_like_others(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context template = make(&bed, 1);
    (void)get(&bed, template, "count");
    aee_context fork = fork_of(&bed, template, "fork");
    const aee_recovery_desc recovery = {
        .struct_size = sizeof recovery, .history = 4, .restart = AEE_RESTART_CHECKPOINT};
    ASSERT_OK(&bed, aee_set_recovery(bed.engine, fork, &recovery, &bed.error));
    (void)value2(&bed, fork, "fill", 50000, 3, 2);
    int64_t digest = get(&bed, fork, "digest");
    ASSERT_OK(&bed, aee_checkpoint(bed.engine, fork, &bed.error));
    int64_t value;
    for (int i = 0; i < 3; i++) {
        (void)value2(&bed, fork, "touch", 200, 3, 2);
        assert_int_equal(call2(&bed, fork, "wreck", 0, 0, 0, &value), AEE_ERR_CRASHED);
        ASSERT_OK(&bed, aee_wait_ready(bed.engine, fork, scaled(5 * SECOND), &bed.error));
        assert_int_equal(get(&bed, fork, "digest"), digest);
    }
    ASSERT_OK(&bed, aee_allocate_isolated_memory(bed.engine, fork, 48, &bed.error));
    assert_int_equal(value2(&bed, fork, "fill", 4 << 20, 7, 2), 1); /* 32 MiB */
    digest = get(&bed, fork, "digest");
    ASSERT_OK(&bed, aee_checkpoint(bed.engine, fork, &bed.error));
    aee_context grandchild = fork_of(&bed, fork, "grandchild");
    assert_int_equal(get(&bed, grandchild, "digest"), digest);
    (void)get(&bed, fork, "count");
    ASSERT_OK(&bed, aee_restore(bed.engine, fork, 0, &bed.error));
    assert_int_equal(get(&bed, fork, "digest"), digest);
    aee_context later = fork_of(&bed, fork, "later"); /* not the memory from before the restore */
    assert_int_equal(get(&bed, later, "digest"), digest);
    ASSERT_OK(&bed, aee_restart(bed.engine, fork, &bed.error));
    assert_int_equal(get(&bed, fork, "counted"), 100);
    assert_int_equal(get(&bed, template, "counted"), 101);
    bed_close(&bed);
}

static void test_regions(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context template = make(&bed, 1);
    aee_region regions[2];
    uint64_t at[2];
    int64_t *data[2];
    for (int i = 0; i < 2; i++) {
        const aee_region_desc desc = {
            .struct_size = sizeof desc, .name = i ? "both" : "read", .size_bytes = 4096};
        ASSERT_OK(&bed, aee_region_create(bed.engine, &desc, &regions[i], &bed.error));
        ASSERT_OK(&bed,
                  aee_region_map(bed.engine, template, regions[i],
                                 i ? AEE_ACCESS_READ_WRITE : AEE_ACCESS_READ, &at[i], &bed.error));
        ASSERT_OK(&bed,
                  aee_region_data(bed.engine, regions[i], (void **)&data[i], NULL, &bed.error));
        *data[i] = 40 + i;
    }
    assert_int_equal(value2(&bed, template, "peek", (int64_t)at[1], 0, 1), 41);
    aee_context fork = fork_of(&bed, template, "fork");
    assert_int_equal(value2(&bed, fork, "peek", (int64_t)at[0], 0, 1), 40);
    int64_t value;
    if (!level_is_none(&bed)) {
        assert_int_equal(call2(&bed, fork, "peek", (int64_t)at[1], 0, 1, &value), AEE_ERR_CRASHED);
    }
    bed_close(&bed);
}

static void test_refusals(void **state)
{
    (void)state;
    struct bed bed;
    const aee_engine_desc few = {.struct_size = sizeof few, .max_contexts = 2};
    bed_open(&bed, &few);
    aee_context fork;
    aee_context empty;
    ASSERT_OK(&bed, aee_create_isolated_context(bed.engine, "empty", &empty, &bed.error));
    assert_int_equal(aee_fork(bed.engine, empty, NULL, &fork, &bed.error), AEE_ERR_NOT_LOADED);
    assert_int_equal(fork.id, 0);
    aee_context template = make(&bed, 1);
    assert_int_equal(aee_fork(bed.engine, template, NULL, NULL, &bed.error),
                     AEE_ERR_INVALID_ARGUMENT);
    const aee_fork_desc flags = {.struct_size = sizeof flags, .flags = 1};
    assert_int_equal(aee_fork(bed.engine, template, &flags, &fork, &bed.error),
                     AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_fork(bed.engine, template, NULL, &fork, &bed.error), AEE_ERR_LIMIT);
    ASSERT_OK(&bed, aee_destroy(bed.engine, empty, &bed.error));
    ASSERT_OK(&bed, aee_fork(bed.engine, template, NULL, &fork, &bed.error));
    assert_int_equal(get(&bed, fork, "counted"), 100);
    ASSERT_OK(&bed, aee_stop(bed.engine, template, &bed.error));
    assert_int_equal(aee_fork(bed.engine, template, NULL, &empty, &bed.error), AEE_ERR_STOPPED);
    bed_close(&bed);
}

static int set_ahead(void **state)
{
    (void)state;
    ahead = true;
    return 0;
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_on_from_there),
        cmocka_unit_test(test_outlives_template),
        cmocka_unit_test(test_seeds_differ),
        cmocka_unit_test(test_is_a_context_like_others),
        cmocka_unit_test(test_regions),
        cmocka_unit_test(test_refusals),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    failed += cmocka_run_group_tests_name("made ahead", tests, set_ahead, NULL);
    return failed;
}
