/* test_ready.c: memory that is populated ahead costs no page fault of the host later, and costs
 * nothing but time where the host does not populate. Faults are counted, not timed. */
#include "harness.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "aee_abi.h"
#include "base/sys.h"

enum { READY = 4 << 20, PAGES = 800 };

static aee_context make_ready(struct bed *bed, uint64_t ready_bytes)
{
    aee_context context;
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = "ready",
                             .call_mode = AEE_CALL_DIRECT,
                             .limits = {.call_budget_ns = scaled(10 * SECOND),
                                        .memory_bytes = 16 << 20,
                                        .ready_bytes = ready_bytes}};
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_load_file(bed->engine, context, testbed_path(), &bed->error));
    return context;
}

/* Page faults of this thread, which runs the vCPU: KVM takes a page that the host lacks through the
 * same door (get_user_pages), and counts it. */
static int64_t faults(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_THREAD, &usage), 0);
    return usage.ru_minflt;
}

static uint64_t resident(struct bed *bed, aee_context context)
{
    aee_context_info info;
    ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
    return info.memory_resident;
}

/* Host faults of a call that writes to PAGES pages, and by how much memory grows. */
static int64_t faults_of_touching(struct bed *bed, aee_context context, uint64_t from,
                                  uint64_t *grown)
{
    (void)value2(bed, context, "touch", (int64_t)(AEE_GVA_HEAP + from), 1, 2);
    uint64_t before = resident(bed, context);
    aee_function touch = find(bed, context, "touch");
    int64_t args[2] = {(int64_t)(AEE_GVA_HEAP + from), PAGES};
    int64_t value;
    int64_t begin = faults();
    ASSERT_OK(bed, aee_call_i64(bed->engine, context, touch, args, 2, &value, &bed->error));
    int64_t end = faults();
    *grown = resident(bed, context) - before;
    return end - begin;
}

static void ready_memory_does_not_fault(void **state)
{
    struct bed *bed = *state;
    uint64_t grown;
    aee_context context = make_ready(bed, READY);
    assert_true(resident(bed, context) >= READY && resident(bed, context) < READY + (1 << 20));
    int64_t ready = faults_of_touching(bed, context, 0, &grown);
    assert_int_equal(grown, 0);
    int64_t cold = faults_of_touching(bed, context, READY, &grown);
    assert_true(grown >= (PAGES - 1) * UINT64_C(4096));
    print_message("%d pages: %lld host faults where ready, %lld elsewhere\n", PAGES,
                  (long long)ready, (long long)cold);
    /* Level none maps all memory anew when another component ran, or this one for the first time.
     */
    assert_true(ready < PAGES / 8 || level_is_none(bed));
}

/* malloc() hands memory out from the bottom, so that what is ready is used first. */
static void malloc_takes_ready_memory_first(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_ready(bed, READY);
    uint64_t before = resident(bed, context);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(value2(bed, context, "allocate", 256 << 10, 0, 1), 1);
    }
    assert_int_equal(resident(bed, context), before);
}

static void first_calls_find_their_memory(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_ready(bed, 0);
    uint64_t before = resident(bed, context);
    for (int64_t i = 1; i <= 20; i++) {
        assert_int_equal(value0(bed, context, "count"), i);
    }
    assert_int_equal(resident(bed, context), before);
}

static void growth_is_ready_too(void **state)
{
    struct bed *bed = *state;
    uint64_t grown;
    aee_context context = make_ready(bed, 0);
    aee_limits limits = {.memory_bytes = 32 << 20, .ready_bytes = 24 << 20};
    uint64_t before = resident(bed, context);
    ASSERT_OK(bed, aee_set_limits(bed->engine, context, &limits, &bed->error));
    assert_true(resident(bed, context) - before >= (24 << 20) - 8192);
    (void)faults_of_touching(bed, context, 17 << 20, &grown);
    assert_int_equal(grown, 0);
}

static void huge_pages_work(void **state)
{
    struct bed *bed = *state;
    aee_context context;
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = "huge",
                             .limits = {.memory_bytes = 8 << 20, .huge_pages = 1}};
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_load_file(bed->engine, context, testbed_path(), &bed->error));
    int64_t last = (int64_t)AEE_GVA_HEAP + (8 << 20) - 8;
    assert_int_equal(value2(bed, context, "write_i64", last, 5, 2), 5);
    ASSERT_OK(bed, aee_allocate_isolated_memory(bed->engine, context, 24, &bed->error));
    last = (int64_t)AEE_GVA_HEAP + (24 << 20) - 8;
    assert_int_equal(value2(bed, context, "write_i64", last, 6, 2), 6);
}

static uint32_t pool_ready(struct bed *bed)
{
    aee_stats stats;
    ASSERT_OK(bed, aee_get_stats(bed->engine, &stats, &bed->error));
    return stats.pool_ready;
}

static void await_pool(struct bed *bed, uint32_t wanted)
{
    const struct timespec delay = {.tv_nsec = 1000000};
    for (unsigned i = 0; pool_ready(bed) != wanted; i++) {
        assert_true(i < 20 * scaled(1000));
        (void)nanosleep(&delay, NULL);
    }
}

/* Machines are made between frames. */
static void frames_do_not_fill_the_pool(void **state)
{
    struct bed *bed = *state;
    const struct timespec delay = {.tv_nsec = 30000000};
    await_pool(bed, 4);
    ASSERT_OK(bed, aee_engine_frame_begin(bed->engine, &bed->error));
    (void)make_ready(bed, 0);
    (void)nanosleep(&delay, NULL);
    assert_int_equal(pool_ready(bed), 3);
    ASSERT_OK(bed, aee_engine_frame_end(bed->engine, NULL, &bed->error));
    await_pool(bed, 4);
}

static _Atomic bool refusing;

static int refuse_madvise(const char *name)
{
    bool refuse = atomic_load(&refusing) && strcmp(name, "madvise") == 0;
    return refuse ? EINVAL : 0; /* as from older kernels */
}

static void without_populating_it_is_slower(void **state)
{
    struct bed *bed = *state;
    NEEDS_LEVEL(AEE_LEVEL_FULL, "a cell fills its page tables by itself");
    atomic_store(&refusing, true);
    aee_context context = make_ready(bed, READY);
    assert_true(resident(bed, context) < READY);
    assert_int_equal(value0(bed, context, "count"), 1);
    assert_int_equal(value2(bed, context, "allocate", READY, 0, 1), 1);
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error));
    assert_int_equal(value0(bed, context, "count"), 1);
    atomic_store(&refusing, false);
}

int main(void)
{
    skip_without_backend();
    aee__sys_fault = refuse_madvise;
    const struct CMUnitTest tests[] = {
        TEST(ready_memory_does_not_fault),     TEST(malloc_takes_ready_memory_first),
        TEST(first_calls_find_their_memory),   TEST(growth_is_ready_too),
        TEST(frames_do_not_fill_the_pool),     TEST(huge_pages_work),
        TEST(without_populating_it_is_slower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
