/* test_resets.c: going back again and again leaves nothing behind: of pages that are far from all
 * others, of those that are written each time, and of those that then are not. */
#include "harness.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/sys.h"

#ifndef AEE_STATEBED
#error "the build names the component"
#endif

enum { WORDS = 512, FAR = 12 << 20 >> 3 };

static aee_context make(struct bed *bed)
{
    aee_context context;
    const aee_context_desc desc = {
        .struct_size = sizeof desc,
        .name = "state",
        .call_mode = AEE_CALL_DIRECT,
        .limits = {.call_budget_ns = scaled(SECOND), .restarts = 63, .restart_window_ns = 1}};
    const aee_recovery_desc recovery = {
        .struct_size = sizeof recovery, .history = 4, .restart = AEE_RESTART_CHECKPOINT};
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_load_file(bed->engine, context, AEE_STATEBED, &bed->error));
    ASSERT_OK(bed, aee_set_recovery(bed->engine, context, &recovery, &bed->error));
    return context;
}

static void checkpoint(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_checkpoint(bed->engine, context, &bed->error));
}

static void restore(struct bed *bed, aee_context context, uint32_t back)
{
    ASSERT_OK(bed, aee_restore(bed->engine, context, back, &bed->error));
}

static void put(struct bed *bed, aee_context context, int64_t word, int64_t value)
{
    assert_int_equal(value2(bed, context, "put_word", word, value, 2), value);
}

static int64_t look(struct bed *bed, aee_context context, int64_t word)
{
    return value2(bed, context, "word", word, 0, 1);
}

static uint64_t resident(struct bed *bed, aee_context context)
{
    aee_context_info info;
    ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
    return info.memory_resident;
}

/* ---- Far pages ---------------------------------------------------------------------------- */

/* Upwards, and then between them: none was written before the checkpoint. */
static void goes_back_far(struct bed *bed, aee_context context, int64_t words)
{
    enum { PLACES = 9 };
    static const int64_t parts[PLACES] = {1, 5, 30, 64, 3, 17, 62, 63, 2}; /* of 64 */
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < PLACES; i++) {
            int64_t at = words / 64 * parts[i] - WORDS / 2;
            put(bed, context, at, i + 1);
            restore(bed, context, 0);
            assert_int_equal(look(bed, context, at), 0);
            put(bed, context, at, i + 1); /* a page that is known by now */
            restore(bed, context, 0);
            assert_int_equal(look(bed, context, at), 0);
        }
    }
}

static void test_far_pages(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed);
    assert_int_equal(value2(&bed, context, "reserve", FAR, 0, 1), 1);
    checkpoint(&bed, context);
    uint64_t before = resident(&bed, context);
    goes_back_far(&bed, context, FAR);
    if (tested_level() != AEE_LEVEL_NONE) { /* pages between them take no memory */
        assert_in_range(resident(&bed, context), 0, before + (64 << 12));
    }
    bed_close(&bed);
}

static void test_far_pages_of_growth(void **state)
{
    (void)state;
    enum { GROWN = 40 << 20 >> 3 };
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed);
    checkpoint(&bed, context);
    restore(&bed, context, 0);
    ASSERT_OK(&bed, aee_allocate_isolated_memory(bed.engine, context, 48, &bed.error));
    assert_int_equal(value2(&bed, context, "reserve", GROWN, 0, 1), 1);
    checkpoint(&bed, context);
    goes_back_far(&bed, context, GROWN);
    bed_close(&bed);
}

/* Each checkpoint knows of the page what it knew, and crashes do not change that. */
static void test_far_page_is_kept(void **state)
{
    (void)state;
    enum { AT = FAR - WORDS };
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed);
    int64_t value;
    assert_int_equal(value2(&bed, context, "reserve", FAR, 0, 1), 1);
    checkpoint(&bed, context);
    put(&bed, context, AT, 5);
    checkpoint(&bed, context);
    put(&bed, context, AT, 6);
    put(&bed, context, AT / 2, 7);
    assert_int_equal(call2(&bed, context, "crash", 0, 0, 0, &value), AEE_ERR_CRASHED);
    ASSERT_OK(&bed, aee_wait_ready(bed.engine, context, scaled(5 * SECOND), &bed.error));
    assert_int_equal(look(&bed, context, AT), 5);
    assert_int_equal(look(&bed, context, AT / 2), 0);
    put(&bed, context, AT, 8);
    put(&bed, context, AT / 2, 9);
    checkpoint(&bed, context);
    put(&bed, context, AT / 2, 10);
    restore(&bed, context, 0);
    assert_int_equal(look(&bed, context, AT), 8);
    assert_int_equal(look(&bed, context, AT / 2), 9);
    restore(&bed, context, 1);
    assert_int_equal(look(&bed, context, AT), 5);
    assert_int_equal(look(&bed, context, AT / 2), 0);
    restore(&bed, context, 1);
    assert_int_equal(look(&bed, context, AT), 0);
    bed_close(&bed);
}

/* ---- A host that does not tell ------------------------------------------------------------ */

static const char *_Atomic faulty; /* its next call fails, once */

static int fail_once(const char *name)
{
    const char *wanted = atomic_load(&faulty);
    return wanted && strcmp(name, wanted) == 0 &&
                   atomic_compare_exchange_strong(&faulty, &wanted, NULL)
               ? ENOMEM
               : 0;
}

/* Which pages were written is lost, or it is not known which there are. */
static void test_faults(void **state)
{
    (void)state;
    static const char *const calls[] = {"lseek", "ioctl"};
    enum { TURNS = 12 };
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed);
    assert_int_equal(value2(&bed, context, "reserve", FAR, 0, 1), 1);
    checkpoint(&bed, context);
    int64_t counted = value2(&bed, context, "counted", 0, 0, 0);
    aee__sys_fault = fail_once;
    for (int64_t turn = 0; turn < TURNS; turn++) {
        int64_t at = FAR / (TURNS + 1) * (turn + 1);
        put(&bed, context, at, 1);
        put(&bed, context, WORDS, 2);
        (void)value2(&bed, context, "count", 0, 0, 0);
        atomic_store(&faulty, calls[turn % 2]);
        aee_result result = aee_restore(bed.engine, context, 0, &bed.error);
        atomic_store(&faulty, NULL);
        if (result != AEE_OK) { /* nothing has changed then */
            restore(&bed, context, 0);
        }
        assert_int_equal(look(&bed, context, at), 0);
        assert_int_equal(look(&bed, context, WORDS), 0);
        assert_int_equal(value2(&bed, context, "counted", 0, 0, 0), counted);
        put(&bed, context, at, 3);
        restore(&bed, context, 0);
        assert_int_equal(look(&bed, context, at), 0);
    }
    aee__sys_fault = NULL;
    bed_close(&bed);
}

/* ---- Habits ------------------------------------------------------------------------------- */

/* How a component writes for a while: the same pages, others each time, many, few, none. */
static void write_as(struct bed *bed, aee_context context, uint32_t habit, uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    int64_t chosen = *seed >> 16;
    switch (habit % 5) {
    case 0:
        (void)value2(bed, context, "stir", 100, 16, 2);
        return;
    case 1:
        (void)value2(bed, context, "stir", chosen, 5, 2);
        return;
    case 2:
        (void)value2(bed, context, "stir", 10, 300, 2);
        return;
    case 3:
        (void)value2(bed, context, "step", chosen, 0, 1);
        return;
    default:
        return;
    }
}

static void test_habits(void **state)
{
    (void)state;
    enum { ROUNDS = 600 };
    struct bed bed;
    uint32_t seed = 1;
    bed_open(&bed, NULL);
    aee_context context = make(&bed);
    checkpoint(&bed, context);
    int64_t digest = value2(&bed, context, "digest", 0, 0, 0);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        write_as(&bed, context, round / 25, &seed);
        if (round % 40 == 39) { /* and then it is a new state that it comes back to, but for some */
            int64_t written = value2(&bed, context, "digest", 0, 0, 0);
            checkpoint(&bed, context);
            if (round % 80 == 79) {
                (void)value2(&bed, context, "stir", 100, 16, 2);
                restore(&bed, context, 1);
            } else {
                digest = written;
            }
        } else {
            restore(&bed, context, 0);
        }
        assert_int_equal(value2(&bed, context, "digest", 0, 0, 0), digest);
    }
    bed_close(&bed);
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_far_pages),        cmocka_unit_test(test_far_pages_of_growth),
        cmocka_unit_test(test_far_page_is_kept), cmocka_unit_test(test_faults),
        cmocka_unit_test(test_habits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
