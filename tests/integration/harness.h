/* harness.h: an engine and a context with the testbed in it, for integration tests. Include it
 * after nothing else; it brings cmocka. */
#ifndef AEE_TESTS_INTEGRATION_HARNESS_H
#define AEE_TESTS_INTEGRATION_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "aee_virt.h"
#include "level.h"

#define SECOND UINT64_C(1000000000)
/* For calls that take &bed->error. */
#define ASSERT_OK(bed, call)                   \
    do {                                       \
        if ((call) != AEE_OK) {                \
            fail_msg("%s", (bed)->error.text); \
        }                                      \
    } while (0)

/* Leaves with 77 where the level that is to be tested is not usable. */
static inline void skip_without_backend(void)
{
    int skip = skip_without_level();
    if (skip) {
        exit(skip);
    }
}

static inline const char *testbed_path(void)
{
    return AEE_TESTBED;
}

/* Budgets of tests are for real machines; emulated and sanitized ones are slower by a factor. */
static inline uint64_t scaled(uint64_t ns)
{
    const char *scale = getenv("AEE_TEST_TIMEOUT_SCALE");
    uint64_t factor = scale ? strtoull(scale, NULL, 10) : 1;
    return ns * (factor > 0 ? factor : 1);
}

struct bed {
    aee_engine *engine;
    aee_context context;
    aee_error error;
};

static inline aee_context make_context(struct bed *bed, const char *name, aee_call_mode mode,
                                       uint32_t lanes)
{
    /* The budget is generous: these tests also run on loaded machines. */
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = name,
                             .call_mode = mode,
                             .limits = {.lanes = lanes, .call_budget_ns = 10 * SECOND}};
    aee_context context = {0};
    if (aee_context_create(bed->engine, &desc, &context, &bed->error) != AEE_OK ||
        aee_load_file(bed->engine, context, testbed_path(), &bed->error) != AEE_OK) {
        fail_msg("%s", bed->error.text);
    }
    return context;
}

static inline void bed_open(struct bed *bed, const aee_engine_desc *desc)
{
    memset(bed, 0, sizeof *bed);
    if (aee_engine_create(desc, &bed->engine, &bed->error) != AEE_OK) {
        fail_msg("%s", bed->error.text);
    }
    assert_true(is_tested_level(bed->engine));
}

static inline void bed_close(struct bed *bed)
{
    aee_engine_destroy(bed->engine);
}

static inline int bed_set_up(void **state)
{
    static struct bed bed;
    bed_open(&bed, NULL);
    *state = &bed;
    return 0;
}

static inline int bed_tear_down(void **state)
{
    bed_close(*state);
    return 0;
}

/* A test with a bed of its own. */
#define TEST(name) cmocka_unit_test_setup_teardown(name, bed_set_up, bed_tear_down)

/* Components run on the engine's own threads and memory. */
static inline bool level_is_none(struct bed *bed)
{
    aee_stats stats = {0};
    ASSERT_OK(bed, aee_get_stats(bed->engine, &stats, &bed->error));
    return stats.level == AEE_LEVEL_NONE;
}

static inline aee_function find(struct bed *bed, aee_context context, const char *name)
{
    aee_function function = {0};
    if (aee_find_function(bed->engine, context, name, &function, &bed->error) != AEE_OK) {
        fail_msg("%s", bed->error.text);
    }
    return function;
}

/* Calls by name with up to two integers; the result code is returned, the value stored. */
static inline aee_result call2(struct bed *bed, aee_context context, const char *name, int64_t a,
                               int64_t b, uint32_t count, int64_t *value)
{
    int64_t args[2] = {a, b};
    return aee_call_i64(bed->engine, context, find(bed, context, name), args, count, value,
                        &bed->error);
}

static inline int64_t value2(struct bed *bed, aee_context context, const char *name, int64_t a,
                             int64_t b, uint32_t count)
{
    int64_t value = 0;
    if (call2(bed, context, name, a, b, count, &value) != AEE_OK) {
        fail_msg("%s: %s", name, bed->error.text);
    }
    return value;
}

static inline int64_t value0(struct bed *bed, aee_context context, const char *name)
{
    return value2(bed, context, name, 0, 0, 0);
}

#endif
