/* batch.h: what the tests of batches, lanes and re-entry share, over harness.h. One file per test
 * program, so everything is static. */
#ifndef AEE_TESTS_INTEGRATION_BATCH_H
#define AEE_TESTS_INTEGRATION_BATCH_H

#include "harness.h"

#include "faults/support.h"

#define FOREVER UINT64_MAX
/* What is not the test's subject may take so long on a machine that is busy otherwise. */
#define PATIENCE (30 * SECOND)

/* What blend() of the component answers. */
static inline int64_t blended(int64_t a, int64_t b)
{
    uint64_t x = (uint64_t)a * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)b;
    x ^= x >> 29;
    return (int64_t)(x * UINT64_C(0xbf58476d1ce4e5b9));
}

static inline aee_call_item item2(aee_context context, aee_function function, int64_t a, int64_t b)
{
    return (aee_call_item){
        .context = context, .function = function, .arg_count = 2, .args = {aee_i64(a), aee_i64(b)}};
}

static inline aee_call_item item1(aee_context context, aee_function function, int64_t a)
{
    return (aee_call_item){
        .context = context, .function = function, .arg_count = 1, .args = {aee_i64(a)}};
}

static inline aee_batch submit(struct bed *bed, const aee_call_item *items, uint32_t count)
{
    aee_batch batch = {0};
    ASSERT_OK(bed, aee_submit(bed->engine, items, count, 0, &batch, &bed->error));
    assert_true(batch.id != 0);
    return batch;
}

/* Waits for all of a batch that has `count` calls left; fails the test when they do not come. */
static inline void wait_all(struct bed *bed, aee_batch batch, aee_completion *completions,
                            uint32_t count)
{
    uint32_t got = 0;
    aee_result result =
        aee_wait(bed->engine, batch, completions, count, &got, scaled(PATIENCE), &bed->error);
    if (result != AEE_OK) {
        fail_msg("%u of %u calls came: %s", got, count, bed->error.text);
    }
    assert_int_equal(got, count);
}

static inline void expect_stale(struct bed *bed, aee_batch batch)
{
    aee_completion completion;
    uint32_t count = 7;
    assert_int_equal(aee_poll(bed->engine, batch, &completion, 1, &count, &bed->error),
                     AEE_ERR_STALE);
    assert_int_equal(count, 0);
    assert_int_equal(aee_wait(bed->engine, batch, &completion, 1, &count, 0, NULL), AEE_ERR_STALE);
    assert_int_equal(aee_cancel(bed->engine, batch, AEE_ALL_CALLS, NULL, NULL), AEE_ERR_STALE);
    assert_int_equal(aee_batch_release(bed->engine, batch, NULL), AEE_ERR_STALE);
}

/* Another budget than the harness's: for what must hang. */
static inline void set_budget(struct bed *bed, aee_context context, uint64_t budget_ns)
{
    const aee_limits limits = {.call_budget_ns = budget_ns};
    ASSERT_OK(bed, aee_set_limits(bed->engine, context, &limits, &bed->error));
}

static inline void await_ready(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_wait_ready(bed->engine, context, scaled(PATIENCE), &bed->error));
}

/* A context that comes back however often it crashes. */
static inline aee_context make_mortal(struct bed *bed, const char *name, aee_call_mode mode,
                                      uint32_t lanes)
{
    aee_context context = make_context(bed, name, mode, lanes);
    const aee_limits limits = {.restarts = 63, .restart_window_ns = 1};
    ASSERT_OK(bed, aee_set_limits(bed->engine, context, &limits, &bed->error));
    return context;
}

static inline aee_context_info info_of(struct bed *bed, aee_context context)
{
    aee_context_info info;
    ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
    return info;
}

/* A word that the component's spin_until() waits for. */
struct gate {
    aee_region region;
    _Atomic int64_t *word;
    int64_t gva;
};

static inline struct gate make_gate(struct bed *bed, aee_context context)
{
    aee_region_desc desc = {.struct_size = sizeof desc, .name = "gate", .size_bytes = 4096};
    struct gate gate;
    uint64_t gva;
    void *data;
    ASSERT_OK(bed, aee_region_create(bed->engine, &desc, &gate.region, &bed->error));
    ASSERT_OK(bed, aee_region_data(bed->engine, gate.region, &data, NULL, &bed->error));
    ASSERT_OK(bed, aee_region_map(bed->engine, context, gate.region, AEE_ACCESS_READ_WRITE, &gva,
                                  &bed->error));
    gate.word = data;
    gate.gva = (int64_t)gva;
    return gate;
}

static inline aee_call_item gate_item(struct bed *bed, aee_context context, struct gate gate)
{
    return item2(context, find(bed, context, "spin_until"), gate.gva, 1);
}

static inline int open_bed(void **state)
{
    static struct bed bed;
    bed_open(&bed, NULL);
    *state = &bed;
    return 0;
}

static inline int close_bed(void **state)
{
    bed_close(*state);
    return 0;
}

#define WITH_BED(test) cmocka_unit_test_setup_teardown(test, open_bed, close_bed)

static const aee_call_mode batch_modes[] = {AEE_CALL_RING, AEE_CALL_DIRECT, AEE_CALL_AUTO};
#define EACH_MODE(i) for (unsigned i = 0; i < sizeof batch_modes / sizeof batch_modes[0]; i++)

#endif
