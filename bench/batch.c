/* batch.c: rows about calls that are submitted together. */
#include "bench/pingpong.h"
#include "bench/rows.h"
#include "bench/stage.h"

#define LONG_BUDGET_NS (10 * BENCH_NS_PER_SECOND)
#define PARKED_AFTER_NS (2 * BENCH_NS_PER_MS)

enum { BATCH = 64, WARM_UP = 20, CONTEXTS = 16, CALLS_OF_EACH = 4 };

struct batches {
    const struct bench *bench;
    struct bench_stage stage;
    struct bench_pingpong pingpong;
    aee_call_item items[BATCH];
};

/* Submits all items and waits until all have completed. */
static int run_items(struct batches *batches, struct bench_result *result)
{
    aee_completion completions[BATCH];
    aee_batch batch;
    aee_error error;
    uint32_t count = 0;
    aee_result status = aee_submit(batches->stage.engine, batches->items, BATCH, 0, &batch, &error);
    if (status == AEE_OK) {
        status = aee_wait(batches->stage.engine, batch, completions, BATCH, &count,
                          BENCH_NS_PER_SECOND, &error);
    }
    if (status != AEE_OK) {
        return bench_check(result, status, &error);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (completions[i].result != AEE_OK) {
            return bench_skip(result, "a call of a batch ended with %s",
                              aee_result_name(completions[i].result));
        }
    }
    return count == BATCH ? 0 : bench_skip(result, "%u of %d calls completed", count, BATCH);
}

static int measure_batches(void *user, struct bench_samples *samples, uint32_t count,
                           struct bench_result *result)
{
    struct batches *batches = user;
    bench_cpus_pin(batches->bench->cpu_here);
    for (uint32_t i = 0; i < WARM_UP + count; i++) {
        const uint64_t before = bench_now();
        if (run_items(batches, result) != 0) {
            return -1;
        }
        if (i >= WARM_UP) {
            bench_samples_add(samples, (double)(bench_now() - before) / BATCH);
        }
    }
    bench_sleep(PARKED_AFTER_NS); /* an idle lane would be in the way of the floor */
    return 0;
}

static int fill_items(struct batches *batches, aee_context context, uint32_t first, uint32_t count,
                      struct bench_result *result)
{
    aee_function function;
    aee_error error;
    if (bench_check(
            result,
            aee_find_function(batches->stage.engine, context, "bench_sum", &function, &error),
            &error) != 0) {
        return -1;
    }
    for (uint32_t i = first; i < first + count; i++) {
        aee_call_item *item = &batches->items[i];
        *item = (aee_call_item){.context = context, .function = function, .arg_count = 6};
        for (uint32_t arg = 0; arg < 6; arg++) {
            item->args[arg] = aee_i64(i + arg);
        }
    }
    return 0;
}

static int run_batch64(struct bench *bench, struct bench_result *result)
{
    const struct bench_stage_plan plan = {.image = bench_image_compute,
                                          .mode = AEE_CALL_RING,
                                          .limits = {.call_budget_ns = LONG_BUDGET_NS}};
    struct batches batches = {.bench = bench};
    const struct bench_pair pair = {.floor = bench_pingpong_measure,
                                    .floor_user = &batches.pingpong,
                                    .row = measure_batches,
                                    .row_user = &batches,
                                    .rounds = bench_scale(bench, 50),
                                    .floor_count = 4000,
                                    .row_count = 200};
    if (bench_need_two_cpus(bench, result) != 0) {
        return -1;
    }
    bench_cpus_pair(bench);
    int status = bench_stage_open(&batches.stage, bench, &plan, result);
    if (status == 0 &&
        (status = fill_items(&batches, batches.stage.context, 0, BATCH, result)) == 0 &&
        (status = run_items(&batches, result)) == 0 &&
        (status = bench_pingpong_open(&batches.pingpong, bench, result)) == 0) {
        status = bench_interleave(&pair, result);
    }
    bench_pingpong_close(&batches.pingpong);
    bench_stage_close(&batches.stage);
    return status;
}

/* ---- fan_out ------------------------------------------------------------------------------ */

/* The same calls one after the other. */
static int measure_one_by_one(void *user, struct bench_samples *samples, uint32_t count,
                              struct bench_result *result)
{
    struct batches *batches = user;
    for (uint32_t i = 0; i < WARM_UP + count; i++) {
        const uint64_t before = bench_now();
        for (uint32_t n = 0; n < BATCH; n++) {
            const aee_call_item *item = &batches->items[n];
            aee_value value = {.type = AEE_TYPE_I64};
            aee_error error;
            const aee_result status = aee_call(batches->stage.engine, item->context, item->function,
                                               item->args, item->arg_count, &value, &error);
            if (status != AEE_OK) {
                return bench_check(result, status, &error);
            }
        }
        if (i >= WARM_UP) {
            bench_samples_add(samples, (double)(bench_now() - before));
        }
    }
    return 0;
}

static int measure_fan_out(void *user, struct bench_samples *samples, uint32_t count,
                           struct bench_result *result)
{
    struct batches *batches = user;
    for (uint32_t i = 0; i < WARM_UP + count; i++) {
        const uint64_t before = bench_now();
        if (run_items(batches, result) != 0) {
            return -1;
        }
        if (i >= WARM_UP) {
            bench_samples_add(samples, (double)(bench_now() - before));
        }
    }
    return 0;
}

static int open_contexts(struct batches *batches, struct bench_result *result)
{
    const struct bench_stage_plan plan = {.image = bench_image_compute,
                                          .limits = {.call_budget_ns = LONG_BUDGET_NS}};
    int status = bench_stage_open_engine(&batches->stage, batches->bench, &plan, result);
    for (uint32_t i = 0; status == 0 && i < CONTEXTS; i++) {
        aee_context context;
        status = bench_stage_context(&batches->stage, &plan, &context, result);
        if (status == 0) {
            status = fill_items(batches, context, i * CALLS_OF_EACH, CALLS_OF_EACH, result);
        }
    }
    return status;
}

static int run_fan_out(struct bench *bench, struct bench_result *result)
{
    struct batches batches = {.bench = bench};
    const struct bench_pair pair = {.floor = measure_one_by_one,
                                    .floor_user = &batches,
                                    .row = measure_fan_out,
                                    .row_user = &batches,
                                    .rounds = bench_scale(bench, 10),
                                    .floor_count = 20,
                                    .row_count = 20};
    int status = open_contexts(&batches, result);
    if (status == 0) {
        status = bench_interleave(&pair, result);
    }
    bench_stage_close(&batches.stage);
    return status;
}

const struct bench_row bench_row_ring_batch64 = {
    .name = "ring_batch64",
    .unit = "ns",
    .floor = "pingpong",
    .target_text = "p50 <= 0.25x",
    .how = "aee_submit() of 64 calls with six integers to one context in AEE_CALL_RING, and "
           "aee_wait() for all; a call",
    .target = {.p50_ratio = 0.25},
    .run = run_batch64,
};

const struct bench_row bench_row_fan_out = {
    .name = "fan_out",
    .unit = "ns",
    .floor = "one after the other",
    .target_text = "",
    .how = "four calls to each of 16 contexts by one aee_submit(), and aee_wait() for all 64; "
           "floor: the same calls by aee_call() in a loop",
    .run = run_fan_out,
};
