/* test_declared.c: declared state and its checksum; seeds, frames and time that can be fixed. */
#include "harness.h"

#include <dlfcn.h>

#include "aee_abi.h"

static uint64_t checksum(struct bed *bed, aee_context context)
{
    uint64_t sum = 0;
    ASSERT_OK(bed, aee_state_checksum(bed->engine, context, &sum, &bed->error));
    return sum;
}

static aee_context make(struct bed *bed)
{
    return make_context(bed, "declared", AEE_CALL_DIRECT, 1);
}

/* ---- Declared state ----------------------------------------------------------------------------- */

static void the_checksum_is_of_declared_state(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    aee_context b = make(bed);
    assert_int_equal(checksum(bed, a), checksum(bed, b));
    assert_int_equal(value0(bed, a, "count"), 6); /* the initial value is kept */
    assert_int_not_equal(checksum(bed, a), checksum(bed, b));
    assert_int_equal(value0(bed, b, "count"), 6);
    assert_int_equal(checksum(bed, a), checksum(bed, b));
    for (int64_t at = 0; at < 3000; at += 2999) {
        uint64_t before = checksum(bed, a);
        (void)value2(bed, a, "set_byte", at, 1, 2);
        assert_int_not_equal(checksum(bed, a), before);
        (void)value2(bed, a, "set_byte", at, 0, 2);
        assert_int_equal(checksum(bed, a), before);
    }
    uint64_t before = checksum(bed, a);
    assert_int_equal(value0(bed, a, "count_undeclared"), 1);
    assert_int_equal(checksum(bed, a), before);
}

static void ranges_are_added_and_removed(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    uint64_t without = checksum(bed, a);
    int64_t block = value2(bed, a, "allocate", 100000, 0, 1);
    assert_int_equal(value2(bed, a, "add_range", block, 100000, 2), AEE_HOST_OK);
    uint64_t with = checksum(bed, a);
    assert_int_not_equal(with, without);
    (void)value2(bed, a, "poke", block + 99999, 1, 2);
    assert_int_not_equal(checksum(bed, a), with);
    (void)value2(bed, a, "poke", block + 99999, 0x5a, 2);
    assert_int_equal(checksum(bed, a), with);
    (void)value2(bed, a, "poke", block + 100000, 1, 2); /* just behind it */
    assert_int_equal(checksum(bed, a), with);
    assert_int_equal(value2(bed, a, "remove_range", block + 1, 0, 1), AEE_HOST_NOT_FOUND);
    assert_int_equal(value2(bed, a, "remove_range", block, 0, 1), AEE_HOST_OK);
    assert_int_equal(checksum(bed, a), without);
    assert_int_equal(value2(bed, a, "remove_range", block, 0, 1), AEE_HOST_NOT_FOUND);
    /* What the image declares stays. */
    for (int64_t what = 5; what <= 7; what += 2) { /* one of them comes first */
        int64_t declared = value2(bed, a, "place", what, 0, 1);
        assert_int_equal(value2(bed, a, "remove_range", declared, 0, 1), AEE_HOST_NOT_FOUND);
    }
}

static void order_and_pieces_count(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    aee_context b = make(bed);
    int64_t block = value2(bed, a, "allocate", 8192, 0, 1);
    assert_int_equal(value2(bed, b, "allocate", 8192, 0, 1), block);
    assert_int_equal(value2(bed, a, "add_range", block, 8, 2), AEE_HOST_OK);     /* equal bytes, */
    assert_int_equal(value2(bed, b, "add_range", block + 8, 8, 2), AEE_HOST_OK); /* elsewhere */
    assert_int_not_equal(checksum(bed, a), checksum(bed, b));
    assert_int_equal(value2(bed, a, "remove_range", block, 0, 1), AEE_HOST_OK);
    assert_int_equal(value2(bed, b, "remove_range", block + 8, 0, 1), AEE_HOST_OK);
    assert_int_equal(value2(bed, a, "add_range", block, 4096, 2), AEE_HOST_OK);
    assert_int_equal(value2(bed, a, "add_range", block + 4096, 4096, 2), AEE_HOST_OK);
    assert_int_equal(value2(bed, b, "add_range", block + 4096, 4096, 2), AEE_HOST_OK);
    assert_int_not_equal(checksum(bed, a), checksum(bed, b));
    assert_int_equal(value2(bed, b, "add_range", block, 4096, 2), AEE_HOST_OK);
    assert_int_not_equal(checksum(bed, a), checksum(bed, b));
    assert_int_equal(value2(bed, b, "remove_range", block + 4096, 0, 1), AEE_HOST_OK);
    assert_int_equal(value2(bed, b, "add_range", block + 4096, 4096, 2), AEE_HOST_OK);
    assert_int_equal(checksum(bed, a), checksum(bed, b));
}

static void a_restart_begins_with_the_image(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    uint64_t fresh = checksum(bed, a);
    int64_t block = value2(bed, a, "allocate", 4096, 0, 1);
    assert_int_equal(value2(bed, a, "add_range", block, 4096, 2), AEE_HOST_OK);
    assert_int_equal(call2(bed, a, "trap", 0, 0, 0, NULL), AEE_ERR_CRASHED);
    ASSERT_OK(bed, aee_wait_ready(bed->engine, a, 10 * SECOND, &bed->error));
    assert_int_equal(checksum(bed, a), fresh);
    /* None of the ranges from before: there is room for all, and they do not overlap. */
    assert_int_equal(value2(bed, a, "add_range", block, 4096, 2), AEE_HOST_OK);
}

static void ranges_reach_over_a_heap_that_grew(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    int64_t edge = (int64_t)AEE_GVA_HEAP + (16 << 20);
    assert_int_equal(value2(bed, a, "add_range", edge - 64, 128, 2), AEE_HOST_BAD);
    ASSERT_OK(bed, aee_allocate_isolated_memory(bed->engine, a, 18, &bed->error));
    ASSERT_OK(bed, aee_allocate_isolated_memory(bed->engine, a, 20, &bed->error));
    assert_int_equal(value2(bed, a, "add_range", edge - 64, 128 + (2 << 20), 2), AEE_HOST_OK);
    for (int64_t at = edge - 64; at < edge + 64 + (2 << 20); at += 63 + (1 << 20)) {
        uint64_t before = checksum(bed, a);
        (void)value2(bed, a, "poke", at, 1, 2);
        assert_int_not_equal(checksum(bed, a), before);
    }
    uint64_t before = checksum(bed, a);
    (void)value2(bed, a, "poke", edge + 64 + (2 << 20), 1, 2);
    assert_int_equal(checksum(bed, a), before);
    edge += 4 << 20;
    assert_int_equal(value2(bed, a, "add_range", edge - 64, 64, 2), AEE_HOST_OK);
    assert_int_equal(value2(bed, a, "add_range", edge - 65, 66, 2), AEE_HOST_BAD);
    assert_int_equal(value2(bed, a, "add_range", edge, 1, 2), AEE_HOST_BAD);
}

static void ranges_must_be_the_components_own(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    uint64_t before = checksum(bed, a);
    int64_t block = value2(bed, a, "allocate", 8192, 0, 1);
    for (int64_t what = 0; what < 6; what++) {
        int64_t at = value2(bed, a, "place", what, 0, 1);
        if (value2(bed, a, "add_range", at, 8, 2) != AEE_HOST_BAD) {
            fail_msg("place %lld was taken", (long long)what);
        }
    }
    const int64_t bad[][2] = {
        {0, 8},
        {4096, 8},
        {block, 0},
        {block, -1},
        {block, INT64_MAX},
        {-8, 8},
        {-8, 16},
        {-1, 1},
        {INT64_MIN, 8},
        {(int64_t)AEE_GVA_SYSTEM, 64},
        {(int64_t)AEE_GVA_VDSO, 64},
        {(int64_t)AEE_GVA_STACKS, 64},
        {(int64_t)AEE_GVA_IMAGE_END - 1, 2},
        {(int64_t)AEE_GVA_HEAP - 1, 2},
        {(int64_t)AEE_GVA_HEAP, 17 << 20},
        {(int64_t)AEE_GVA_REGIONS, 64},
        {(int64_t)(uintptr_t)&before, 8},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (value2(bed, a, "add_range", bad[i][0], bad[i][1], 2) != AEE_HOST_BAD) {
            fail_msg("range %u was taken", i);
        }
    }
    assert_int_equal(checksum(bed, a), before);
    int64_t variable = value2(bed, a, "place", 6, 0, 1);
    assert_int_equal(value2(bed, a, "add_range", variable, 8, 2), AEE_HOST_OK);
    assert_int_equal(value2(bed, a, "add_range", variable + 7, 8, 2), AEE_HOST_BAD); /* overlaps */
    assert_int_not_equal(checksum(bed, a), before);
}

static void there_are_so_many_ranges(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    int64_t block = value2(bed, a, "allocate", 4096, 0, 1);
    for (int64_t i = 0; i < 64; i++) {
        assert_int_equal(value2(bed, a, "add_range", block + 8 * i, 8, 2), AEE_HOST_OK);
    }
    assert_int_equal(value2(bed, a, "add_range", block + 512, 8, 2), AEE_HOST_LIMIT);
    assert_int_equal(value2(bed, a, "remove_range", block + 8 * 17, 0, 1), AEE_HOST_OK);
    assert_int_equal(value2(bed, a, "add_range", block + 512, 8, 2), AEE_HOST_OK);
    ASSERT_OK(bed, aee_allocate_isolated_memory(bed->engine, a, 300, &bed->error));
    aee_context big = make(bed);
    ASSERT_OK(bed, aee_allocate_isolated_memory(bed->engine, big, 300, &bed->error));
    int64_t heap = (int64_t)AEE_GVA_HEAP;
    assert_int_equal(value2(bed, big, "add_range", heap, 257 << 20, 2), AEE_HOST_LIMIT);
    assert_int_equal(value2(bed, big, "add_range", heap, 255 << 20, 2), AEE_HOST_OK);
    assert_int_equal(value2(bed, big, "add_range", heap + (255 << 20), 2 << 20, 2), AEE_HOST_LIMIT);
}

static void a_storm_of_orders_ends(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    ASSERT_OK(bed, aee_set_limits(bed->engine, a, &(aee_limits){.call_budget_ns = 60 * SECOND},
                                  &bed->error));
    uint64_t before = checksum(bed, a);
    aee_stats stats;
    ASSERT_OK(bed, aee_get_stats(bed->engine, &stats, &bed->error));
    int64_t times = stats.level == AEE_LEVEL_FULL ? 20000 : 100000; /* exits cost the most there */
    assert_true(value2(bed, a, "storm", times, 0, 1) > times / 2);
    assert_int_not_equal(checksum(bed, a), before);
    assert_int_equal(value0(bed, a, "count"), 6);
}

static void orders_are_checked(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    aee_function order = find(bed, a, "raw_order");
    int64_t block = value2(bed, a, "allocate", 4096, 0, 1);
    const int64_t orders[] = {0, 3, 1 + (INT64_C(1) << 32), INT64_MIN, -1};
    for (unsigned i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        const int64_t args[] = {orders[i], block, 8};
        int64_t status = 0;
        ASSERT_OK(bed, aee_call_i64(bed->engine, a, order, args, 3, &status, &bed->error));
        assert_int_equal(status, AEE_HOST_BAD);
    }
}

/* Lanes change the list, the heap grows, and the engine reads both. */
static void checksums_stand_beside_storms(void **state)
{
    struct bed *bed = *state;
    aee_context a = make_context(bed, "stormy", AEE_CALL_RING, 4);
    aee_call_item items[64];
    for (unsigned i = 0; i < 64; i++) {
        items[i] = (aee_call_item){.context = a,
                                   .function = find(bed, a, "storm"),
                                   .arg_count = 1,
                                   .args = {aee_i64(100)}};
    }
    for (unsigned round = 0; round < 4; round++) {
        aee_batch batch;
        uint32_t count = 0;
        uint64_t sum = 0;
        ASSERT_OK(bed, aee_submit(bed->engine, items, 64, 0, &batch, &bed->error));
        for (unsigned i = 0; i < 20; i++) {
            aee_result result = aee_state_checksum(bed->engine, a, &sum, &bed->error);
            assert_true(result == AEE_OK || result == AEE_ERR_BUSY);
        }
        ASSERT_OK(bed, aee_allocate_isolated_memory(bed->engine, a, 18 + 2 * round, &bed->error));
        ASSERT_OK(bed, aee_wait(bed->engine, batch, NULL, 0, &count, 60 * SECOND, &bed->error));
        assert_int_equal(count, 64);
    }
    assert_int_equal(value0(bed, a, "count"), 6);
    assert_int_equal(checksum(bed, a), checksum(bed, a));
}

static void checksums_say_why_there_is_none(void **state)
{
    struct bed *bed = *state;
    uint64_t sum = 1;
    aee_context a = make(bed);
    assert_int_equal(aee_state_checksum(bed->engine, a, NULL, &bed->error),
                     AEE_ERR_INVALID_ARGUMENT);
    ASSERT_OK(bed, aee_stop(bed->engine, a, &bed->error));
    assert_int_equal(aee_state_checksum(bed->engine, a, &sum, &bed->error), AEE_ERR_STOPPED);
    assert_int_equal(sum, 0);
    ASSERT_OK(bed, aee_destroy(bed->engine, a, &bed->error));
    assert_int_equal(aee_state_checksum(bed->engine, a, &sum, &bed->error), AEE_ERR_STALE);
    aee_context_desc desc = {.struct_size = sizeof desc, .name = "empty"};
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &a, &bed->error));
    assert_int_equal(aee_state_checksum(bed->engine, a, &sum, &bed->error), AEE_ERR_NOT_LOADED);
    ASSERT_OK(bed, aee_load_file(bed->engine, a, AEE_COMPONENT_DIR "/minimal.elf", &bed->error));
    assert_int_equal(aee_state_checksum(bed->engine, a, &sum, &bed->error), AEE_ERR_STATE);
    assert_non_null(strstr(bed->error.text, "declares none"));
}

/* ---- Seeds and time ----------------------------------------------------------------------------- */

static aee_result fix(struct bed *bed, aee_context context, aee_determinism wanted)
{
    wanted.struct_size = sizeof wanted;
    return aee_set_determinism(bed->engine, context, &wanted, &bed->error);
}

static void run_frame(struct bed *bed)
{
    ASSERT_OK(bed, aee_engine_frame_begin(bed->engine, &bed->error));
    ASSERT_OK(bed, aee_engine_frame_end(bed->engine, NULL, &bed->error));
}

static void seeds_can_be_fixed(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    int64_t first = value0(bed, a, "seed");
    ASSERT_OK(bed, aee_restart(bed->engine, a, &bed->error));
    assert_int_not_equal(value0(bed, a, "seed"), first);
    ASSERT_OK(bed, fix(bed, a, (aee_determinism){.flags = AEE_FIXED_SEED, .seed = 4711}));
    assert_int_not_equal(value0(bed, a, "seed"), 4711); /* of the next instance */
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(bed, aee_restart(bed->engine, a, &bed->error));
        assert_int_equal(value0(bed, a, "seed"), 4711);
    }
    ASSERT_OK(bed, fix(bed, a, (aee_determinism){.seed = 4711}));
    ASSERT_OK(bed, aee_restart(bed->engine, a, &bed->error));
    assert_int_not_equal(value0(bed, a, "seed"), 4711);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static void time_is_that_of_the_frame(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    assert_int_equal(value0(bed, a, "frame"), 0);
    int64_t started = value0(bed, a, "init_time_ns");
    assert_true(started > 0 && (uint64_t)started <= now_ns());
    for (int64_t i = 1; i < 5; i++) {
        uint64_t before = now_ns();
        ASSERT_OK(bed, aee_engine_frame_begin(bed->engine, &bed->error));
        uint64_t after = now_ns();
        assert_int_equal(value0(bed, a, "frame"), i);
        uint64_t time = (uint64_t)value0(bed, a, "time_ns");
        assert_true(time >= before && time <= after);
        assert_int_equal(value0(bed, a, "time_ns"), (int64_t)time); /* it stands still */
        ASSERT_OK(bed, aee_engine_frame_end(bed->engine, NULL, &bed->error));
        assert_int_equal(value0(bed, a, "time_ns"), (int64_t)time);
    }
    run_frame(bed); /* nobody looks */
    run_frame(bed);
    assert_int_equal(value0(bed, a, "frame"), 6);
    ASSERT_OK(bed, aee_restart(bed->engine, a, &bed->error));
    assert_int_equal(value0(bed, a, "frame"), 6);
}

static void time_can_be_fixed(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    run_frame(bed);
    ASSERT_OK(bed,
              fix(bed, a,
                  (aee_determinism){
                      .flags = AEE_FIXED_TIME, .frame = 100, .time_ns = 5000, .time_step_ns = 16}));
    assert_int_equal(value0(bed, a, "frame"), 100);
    assert_int_equal(value0(bed, a, "time_ns"), 5000);
    run_frame(bed);
    run_frame(bed);
    assert_int_equal(value0(bed, a, "frame"), 102);
    assert_int_equal(value0(bed, a, "time_ns"), 5032);
    ASSERT_OK(bed, aee_restart(bed->engine, a, &bed->error));
    assert_int_equal(value0(bed, a, "init_time_ns"), 5032);
    /* Back in time, within a frame: for calls from now on. */
    ASSERT_OK(bed, fix(bed, a, (aee_determinism){.flags = AEE_FIXED_TIME, .frame = 7}));
    assert_int_equal(value0(bed, a, "frame"), 7);
    assert_int_equal(value0(bed, a, "time_ns"), 0);
    ASSERT_OK(bed, fix(bed, a, (aee_determinism){0}));
    assert_int_equal(value0(bed, a, "frame"), 3);
    aee_context b = make(bed); /* others have the engine's */
    ASSERT_OK(bed, fix(bed, a, (aee_determinism){.flags = AEE_FIXED_TIME, .frame = 7}));
    assert_int_equal(value0(bed, b, "frame"), 3);
}

static void submitted_calls_see_the_frame(void **state)
{
    struct bed *bed = *state;
    aee_context a = make_context(bed, "submitted", AEE_CALL_RING, 2);
    aee_function frame = find(bed, a, "frame");
    aee_call_item items[100];
    for (unsigned i = 0; i < 100; i++) {
        items[i] = (aee_call_item){.context = a, .function = frame};
    }
    for (int64_t number = 1; number < 4; number++) {
        aee_completion done[100];
        aee_batch batch;
        uint32_t count = 0;
        run_frame(bed);
        ASSERT_OK(bed, aee_submit(bed->engine, items, 100, 0, &batch, &bed->error));
        ASSERT_OK(bed, aee_wait(bed->engine, batch, done, 100, &count, 20 * SECOND, &bed->error));
        assert_int_equal(count, 100);
        for (unsigned i = 0; i < 100; i++) {
            assert_int_equal(done[i].result, AEE_OK);
            assert_int_equal(done[i].value.as.i64, number);
        }
    }
}

static aee_result checksum_inside;

static aee_result probe(void *user, aee_host_call *call)
{
    struct bed *bed = user;
    aee_error error;
    uint64_t sum;
    aee_determinism wanted = {.struct_size = sizeof wanted, .flags = AEE_FIXED_TIME, .frame = 500};
    checksum_inside = aee_state_checksum(bed->engine, call->context, &sum, &error);
    return aee_set_determinism(bed->engine, call->context, &wanted, &error);
}

static void host_functions_may_ask(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    ASSERT_OK(bed, aee_register_host_function(bed->engine, "probe", probe, bed, &bed->error));
    ASSERT_OK(bed, aee_grant_host_function(bed->engine, a, "probe", &bed->error));
    assert_int_equal(value0(bed, a, "ask"), 0); /* time stands still within a call */
    assert_int_equal(checksum_inside, AEE_ERR_BUSY);
    assert_int_equal(value0(bed, a, "frame"), 500);
}

static void determinism_is_checked(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    aee_determinism wrong = {.struct_size = 8};
    assert_int_equal(aee_set_determinism(bed->engine, a, NULL, &bed->error),
                     AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_set_determinism(bed->engine, a, &wrong, &bed->error),
                     AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(fix(bed, a, (aee_determinism){.flags = 4}), AEE_ERR_INVALID_ARGUMENT);
    ASSERT_OK(bed, aee_destroy(bed->engine, a, &bed->error));
    assert_int_equal(fix(bed, a, (aee_determinism){0}), AEE_ERR_STALE);
}

/* ---- Forks and checkpoints ---------------------------------------------------------------------- */

static void forks_have_state_and_time_of_their_template(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    aee_context b = {0};
    ASSERT_OK(bed, fix(bed, a,
                       (aee_determinism){.flags = AEE_FIXED_SEED | AEE_FIXED_TIME,
                                         .seed = 99,
                                         .frame = 10,
                                         .time_ns = 1000,
                                         .time_step_ns = 5}));
    int64_t block = value2(bed, a, "allocate", 100000, 0, 1);
    assert_int_equal(value2(bed, a, "add_range", block, 100000, 2), AEE_HOST_OK);
    assert_int_equal(value0(bed, a, "count"), 6);
    run_frame(bed);
    ASSERT_OK(bed, aee_fork(bed->engine, a, NULL, &b, &bed->error));
    assert_int_equal(checksum(bed, a), checksum(bed, b));
    assert_int_equal(value0(bed, b, "seed"), 99);
    assert_int_equal(value0(bed, b, "frame"), 11);
    assert_int_equal(value0(bed, b, "time_ns"), 1005);
    (void)value2(bed, b, "poke", block + 50000, 1, 2);
    assert_int_not_equal(checksum(bed, a), checksum(bed, b));
    (void)value2(bed, a, "poke", block + 50000, 1, 2);
    assert_int_equal(checksum(bed, a), checksum(bed, b));
    assert_int_equal(value2(bed, b, "remove_range", block, 0, 1), AEE_HOST_OK);
    aee_context c = {0};
    ASSERT_OK(bed, fix(bed, a, (aee_determinism){0}));
    ASSERT_OK(bed, aee_fork(bed->engine, a, NULL, &c, &bed->error));
    assert_int_not_equal(value0(bed, c, "seed"), 99);
}

static void checksums_go_back_with_the_state(void **state)
{
    struct bed *bed = *state;
    aee_context a = make(bed);
    uint64_t sums[4];
    aee_recovery_desc recovery = {.struct_size = sizeof recovery, .history = 4};
    ASSERT_OK(bed, aee_set_recovery(bed->engine, a, &recovery, &bed->error));
    for (unsigned i = 0; i < 4; i++) {
        (void)value2(bed, a, "set_byte", 2 * i, 7 + i, 2);
        sums[i] = checksum(bed, a);
        ASSERT_OK(bed, aee_checkpoint(bed->engine, a, &bed->error));
    }
    ASSERT_OK(bed, aee_restore(bed->engine, a, 2, &bed->error));
    assert_int_equal(checksum(bed, a), sums[1]);
    (void)value2(bed, a, "set_byte", 4, 9, 2);
    assert_int_equal(checksum(bed, a), sums[2]);
    ASSERT_OK(bed, aee_restore(bed->engine, a, 1, &bed->error));
    assert_int_equal(checksum(bed, a), sums[0]);
}

/* ---- Functions ---------------------------------------------------------------------------------- */

static void functions_are_listed(void **state)
{
    struct bed *bed = *state;
    aee_context a = make_context(bed, "listed", AEE_CALL_DIRECT, 1);
    aee_function_info info;
    unsigned found = 0;
    uint32_t index = 0;
    while (aee_get_function_info(bed->engine, a, index, &info, &bed->error) == AEE_OK) {
        assert_int_equal(info.function.id, find(bed, a, info.name).id);
        found += strcmp(info.name, "count") == 0 && info.signature[0] == '\0';
        index++;
    }
    assert_int_equal(found, 1);
    assert_int_equal(bed->error.code, AEE_ERR_NOT_FOUND);
    assert_int_equal(info.function.id, 0);
    assert_int_equal(aee_get_function_info(bed->engine, a, 0, NULL, &bed->error),
                     AEE_ERR_INVALID_ARGUMENT);
}

/* ---- Native builds ------------------------------------------------------------------------------ */

/* The mirror of struct aee_native_hooks, which is for components. */
struct hooks {
    void *functions[4];
    uint64_t hidden_features, seed, frame, time_ns;
};

static void *symbol(void *module, const char *name)
{
    void *found = dlsym(module, name);
    if (!found) {
        fail_msg("%s", dlerror());
    }
    return found;
}

static void native_modules_answer_alike(void **state)
{
    (void)state;
    void *module = dlopen(AEE_DECLARED_NATIVE, RTLD_NOW | RTLD_LOCAL);
    if (!module) {
        fail_msg("%s", dlerror());
    }
    int64_t (*add)(int64_t, int64_t);
    int64_t (*remove)(int64_t);
    int64_t (*storm)(int64_t);
    int64_t (*ask[3])(void);
    void (*set_hooks)(const struct hooks *);
    const char *const questions[] = {"seed", "frame", "time_ns"};
    *(void **)&add = symbol(module, "add_range");
    *(void **)&remove = symbol(module, "remove_range");
    *(void **)&storm = symbol(module, "storm");
    *(void **)&set_hooks = symbol(module, "aee_native_set_hooks");
    set_hooks(&(struct hooks){.seed = 8, .frame = 9, .time_ns = 10});
    for (int i = 0; i < 3; i++) {
        *(void **)&ask[i] = symbol(module, questions[i]);
        assert_int_equal(ask[i](), 8 + i);
    }
    int64_t block[4] = {0};
    int64_t at = (int64_t)(uintptr_t)block;
    assert_int_equal(add(at, 0), AEE_HOST_BAD);
    assert_int_equal(add(at, -1), AEE_HOST_BAD);
    assert_int_equal(add(at, 16), AEE_HOST_OK);
    assert_int_equal(add(at + 15, 2), AEE_HOST_BAD);
    assert_int_equal(add(at + 16, 16), AEE_HOST_OK);
    assert_int_equal(remove(at + 1), AEE_HOST_NOT_FOUND);
    assert_int_equal(remove(at), AEE_HOST_OK);
    assert_int_equal(remove(at), AEE_HOST_NOT_FOUND);
    assert_int_equal(add(at, 17), AEE_HOST_BAD);
    assert_int_equal(remove(at + 16), AEE_HOST_OK);
    assert_true(storm(1000) > 500);
    assert_int_equal(add(at, 1), AEE_HOST_LIMIT);
    assert_int_equal(dlclose(module), 0);
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        TEST(the_checksum_is_of_declared_state),
        TEST(ranges_are_added_and_removed),
        TEST(order_and_pieces_count),
        TEST(a_restart_begins_with_the_image),
        TEST(ranges_reach_over_a_heap_that_grew),
        TEST(ranges_must_be_the_components_own),
        TEST(there_are_so_many_ranges),
        TEST(a_storm_of_orders_ends),
        TEST(orders_are_checked),
        TEST(checksums_stand_beside_storms),
        TEST(checksums_say_why_there_is_none),
        TEST(seeds_can_be_fixed),
        TEST(time_is_that_of_the_frame),
        TEST(time_can_be_fixed),
        TEST(submitted_calls_see_the_frame),
        TEST(host_functions_may_ask),
        TEST(determinism_is_checked),
        TEST(forks_have_state_and_time_of_their_template),
        TEST(checksums_go_back_with_the_state),
        TEST(functions_are_listed),
        TEST(native_modules_answer_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
