/* compute.c: rows about arithmetic in a component, against the same C file in this process. */
#include "bench/native.h"
#include "bench/rows.h"
#include "bench/stage.h"

#define LONG_BUDGET_NS (10 * BENCH_NS_PER_SECOND)

struct work {
    const struct bench *bench;
    struct bench_stage stage;
    aee_function function;
    int64_t amount; /* of work in one call */
    double seen;    /* result of the last call of either, so that both can be compared */
    double native_seen;
};

typedef double (*native_fn)(struct work *work);

static int measure_native(native_fn native, struct work *work, struct bench_samples *samples,
                          uint32_t count)
{
    bench_cpus_pin(work->bench->cpu_here);
    work->native_seen = native(work);
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t before = bench_now();
        work->native_seen = native(work);
        bench_samples_add(samples, (double)(bench_now() - before));
    }
    return 0;
}

static double nbody_here(struct work *work)
{
    return nbody_run(work->amount);
}

static double sha_here(struct work *work)
{
    return (double)sha_run(work->amount);
}

static int measure_nbody_here(void *user, struct bench_samples *samples, uint32_t count,
                              struct bench_result *result)
{
    (void)result;
    return measure_native(nbody_here, user, samples, count);
}

static int measure_sha_here(void *user, struct bench_samples *samples, uint32_t count,
                            struct bench_result *result)
{
    (void)result;
    return measure_native(sha_here, user, samples, count);
}

static int measure_component(struct work *work, aee_type type, struct bench_samples *samples,
                             uint32_t count, struct bench_result *result)
{
    const aee_value amount = aee_i64(work->amount);
    bench_cpus_pin(work->bench->cpu_here);
    for (uint32_t i = 0; i <= count; i++) {
        aee_value value = {.type = type};
        aee_error error;
        const uint64_t before = bench_now();
        const aee_result status = aee_call(work->stage.engine, work->stage.context, work->function,
                                           &amount, 1, &value, &error);
        if (status != AEE_OK) {
            return bench_check(result, status, &error);
        }
        if (i > 0) { /* the first one warms up */
            bench_samples_add(samples, (double)(bench_now() - before));
        }
        work->seen = type == AEE_TYPE_F64 ? value.as.f64 : (double)value.as.i64;
    }
    return 0;
}

static int measure_nbody(void *user, struct bench_samples *samples, uint32_t count,
                         struct bench_result *result)
{
    return measure_component(user, AEE_TYPE_F64, samples, count, result);
}

static int measure_sha(void *user, struct bench_samples *samples, uint32_t count,
                       struct bench_result *result)
{
    return measure_component(user, AEE_TYPE_I64, samples, count, result);
}

static int run_kernel(struct bench *bench, const char *function, int64_t amount,
                      bench_measure_fn here, bench_measure_fn there, struct bench_result *result)
{
    /* On this thread, as the native code, so that both find the same caches. */
    const struct bench_stage_plan plan = {.image = bench_image_compute,
                                          .mode = AEE_CALL_DIRECT,
                                          .limits = {.call_budget_ns = LONG_BUDGET_NS}};
    struct work work = {.bench = bench, .amount = amount};
    const struct bench_pair pair = {.floor = here,
                                    .floor_user = &work,
                                    .row = there,
                                    .row_user = &work,
                                    .rounds = bench_scale(bench, 20),
                                    .floor_count = 5,
                                    .row_count = 5};
    int status = bench_stage_open(&work.stage, bench, &plan, result);
    if (status == 0 &&
        (status = bench_stage_find(&work.stage, function, &work.function, result)) == 0) {
        status = bench_interleave(&pair, result);
    }
    if (status == 0 && work.seen != work.native_seen) {
        status = bench_skip(result, "the component computed %.17g, native code %.17g", work.seen,
                            work.native_seen);
    }
    bench_native_share(result);
    bench_stage_close(&work.stage);
    return status;
}

static int run_nbody(struct bench *bench, struct bench_result *result)
{
    return run_kernel(bench, "nbody_run", 150000, measure_nbody_here, measure_nbody, result);
}

static int run_sha(struct bench *bench, struct bench_result *result)
{
    return run_kernel(bench, "sha_run", 50000, measure_sha_here, measure_sha, result);
}

const struct bench_row bench_row_compute_nbody = {
    .name = "compute_nbody",
    .unit = "ns",
    .floor = "native",
    .target_text = ">= 0.98 of native",
    .how = "150,000 steps of five bodies, double; a direct call; floor: the same C file in this "
           "process",
    .target = {.p50_ratio = BENCH_NATIVE_RATIO},
    .run = run_nbody,
};

const struct bench_row bench_row_compute_sha = {
    .name = "compute_sha",
    .unit = "ns",
    .floor = "native",
    .target_text = ">= 0.98 of native",
    .how = "50,000 blocks of a SHA-256-like hash, integer; a direct call; floor: the same C file "
           "in this process",
    .target = {.p50_ratio = BENCH_NATIVE_RATIO},
    .run = run_sha,
};
