/* columns.c: rows about 100,000 particles in columns that the engine owns, in a region that the
 * component sees at the same address and updates in place. */
#include "bench/native.h"
#include "bench/rows.h"
#include "bench/stage.h"

#define LONG_BUDGET_NS (10 * BENCH_NS_PER_SECOND)
#define STEP 0.016

enum { PARTICLES = 100000, SEED = 42, REGION_SIZE = 2 << 20 };
enum { RUN_STEPS = 300 }; /* in one call, where the row is about the code */
enum { EMPTY_CALLS = 4000 };

struct columns {
    const struct bench *bench;
    struct bench_stage stage;
    aee_function run;
    aee_region region;
    int64_t address; /* of the region, on both sides */
    int64_t steps;   /* in one call */
};

static int open_columns(struct columns *columns, struct bench_result *result)
{
    const aee_region_desc desc = {.struct_size = sizeof desc,
                                  .flags = AEE_REGION_SAME_ADDRESS,
                                  .name = "columns",
                                  .size_bytes = REGION_SIZE};
    aee_engine *engine = columns->stage.engine;
    void *data = NULL;
    uint64_t guest = 0;
    aee_error error;
    aee_result status = aee_region_create(engine, &desc, &columns->region, &error);
    if (status == AEE_OK) {
        status = aee_region_data(engine, columns->region, &data, NULL, &error);
    }
    if (status == AEE_OK) {
        status = aee_region_map(engine, columns->stage.context, columns->region,
                                AEE_ACCESS_READ_WRITE, &guest, &error);
    }
    if (bench_check(result, status, &error) != 0) {
        return -1;
    }
    columns->address = (int64_t)(uintptr_t)data;
    if ((uint64_t)columns->address != guest) {
        return bench_skip(result, "the component sees the columns at another address");
    }
    return bench_stage_find(&columns->stage, "particles_run", &columns->run, result);
}

static int step_there(struct columns *columns, int64_t steps, struct bench_result *result)
{
    const aee_value args[] = {aee_i64(columns->address), aee_i64(steps), aee_f64(STEP)};
    aee_value value = {.type = AEE_TYPE_I64};
    aee_error error;
    const aee_result status = aee_call(columns->stage.engine, columns->stage.context, columns->run,
                                       args, 3, &value, &error);
    if (status != AEE_OK) {
        return bench_check(result, status, &error);
    }
    return value.as.i64 == PARTICLES ? 0 : bench_skip(result, "the component refused the columns");
}

/* Both sides must leave the same bits, from the same start. The columns stay formatted. */
static int compare(struct columns *columns, struct bench_result *result)
{
    if (particles_init(columns->address, PARTICLES, SEED) != PARTICLES) {
        return bench_skip(result, "the columns do not fit their region");
    }
    (void)particles_run(columns->address, 1, STEP);
    const int64_t native = particles_checksum(columns->address);
    (void)particles_init(columns->address, PARTICLES, SEED);
    if (step_there(columns, 1, result) != 0) {
        return -1;
    }
    return particles_checksum(columns->address) == native
               ? 0
               : bench_skip(result, "component and native code leave different columns");
}

static int measure_here(void *user, struct bench_samples *samples, uint32_t count,
                        struct bench_result *result)
{
    const struct columns *columns = user;
    (void)result;
    bench_cpus_pin(columns->bench->cpu_here);
    (void)particles_run(columns->address, columns->steps, STEP);
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t before = bench_now();
        (void)particles_run(columns->address, columns->steps, STEP);
        bench_samples_add(samples, (double)(bench_now() - before));
    }
    return 0;
}

static int measure_there(void *user, struct bench_samples *samples, uint32_t count,
                         struct bench_result *result)
{
    struct columns *columns = user;
    bench_cpus_pin(columns->bench->cpu_here);
    for (uint32_t i = 0; i <= count; i++) {
        const uint64_t before = bench_now();
        if (step_there(columns, columns->steps, result) != 0) {
            return -1;
        }
        if (i > 0) { /* the first one warms up */
            bench_samples_add(samples, (double)(bench_now() - before));
        }
    }
    return 0;
}

static int measure_columns(struct columns *columns, aee_call_mode mode,
                           const struct bench_pair *pair, struct bench_result *result)
{
    const struct bench_stage_plan plan = {
        .image = bench_image_particles, .mode = mode, .limits = {.call_budget_ns = LONG_BUDGET_NS}};
    if (bench_stage_open(&columns->stage, columns->bench, &plan, result) != 0 ||
        open_columns(columns, result) != 0 || compare(columns, result) != 0) {
        return -1;
    }
    return bench_interleave(pair, result);
}

static struct bench_pair make_pair(struct columns *columns, uint32_t rounds, uint32_t count)
{
    return (struct bench_pair){.floor = measure_here,
                               .floor_user = columns,
                               .row = measure_there,
                               .row_user = columns,
                               .rounds = bench_scale(columns->bench, rounds),
                               .floor_count = count,
                               .row_count = count};
}

static int run_particles(struct bench *bench, struct bench_result *result)
{
    struct columns columns = {.bench = bench, .steps = RUN_STEPS};
    const struct bench_pair pair = make_pair(&columns, 20, 5);
    const int status = measure_columns(&columns, AEE_CALL_DIRECT, &pair, result);
    bench_native_share(result);
    bench_stage_close(&columns.stage);
    return status;
}

const struct bench_row bench_row_compute_particles = {
    .name = "compute_particles",
    .unit = "ns",
    .floor = "native",
    .target_text = ">= 0.98 of native",
    .how = "300 steps of 100,000 particles, float, AVX2; a direct call; floor: the same C file in "
           "this process, on the same memory",
    .target = {.p50_ratio = BENCH_NATIVE_RATIO},
    .run = run_particles,
};

/* ---- column_update ------------------------------------------------------------------------ */

/* What one ring call with nothing to do costs here and now. */
static int measure_empty(struct columns *columns, double *p50, struct bench_result *result)
{
    struct bench_samples samples;
    if (!bench_samples_init(&samples, EMPTY_CALLS)) {
        return bench_skip(result, "there is no memory for the samples");
    }
    columns->steps = 0;
    const int status = measure_there(columns, &samples, EMPTY_CALLS, result);
    *p50 = bench_summarize(&samples).p50;
    bench_samples_free(&samples);
    return status;
}

static int run_column_update(struct bench *bench, struct bench_result *result)
{
    struct columns columns = {.bench = bench, .steps = 1};
    const struct bench_pair pair = make_pair(&columns, 40, 100);
    double empty = 0.0;
    if (bench_need_two_cpus(bench, result) != 0) {
        return -1;
    }
    bench_cpus_pair(bench);
    int status = measure_columns(&columns, AEE_CALL_RING, &pair, result);
    if (status == 0) {
        status = measure_empty(&columns, &empty, result);
    }
    bench_extra(result, "ring_call_ns", empty);
    bench_extra(result, "bytes_copied", 0); /* compare(): the component wrote to these addresses */
    result->met = result->row.p50 <= 1.05 * result->floor.p50 + empty;
    bench_stage_close(&columns.stage);
    return status;
}

const struct bench_row bench_row_column_update = {
    .name = "column_update",
    .unit = "ns",
    .floor = "native in place",
    .target_text = "<= 1.05x + one ring call, 0 bytes copied",
    .how = "one step of 100,000 particles, float, AVX2, in columns of the engine at the same "
           "address (1.6 MB), ring call included; floor: the same C file here",
    .target = {.own = true},
    .run = run_column_update,
};
