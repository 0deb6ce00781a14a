/* density.c: rows about contexts that do nothing: what one costs, and how many there may be. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/rows.h"
#include "bench/stage.h"

/* Descriptors of one context: machine, vCPU and memory; and some for everything else. */
enum { FILES_PER_CONTEXT = 4, FILES_SPARE = 256 };
enum { CROWD = 200, CROWD_QUICK = 20 };
enum { ALIVE = 1000, ALIVE_QUICK = 50, ATTEMPTED = 4096 };

struct crowd {
    struct bench_stage stage;
    aee_context *contexts;
    uint32_t count;
    aee_error error; /* why there are no more */
};

/* The soft limit may be raised up to the hard one by anybody. */
static void allow_files(uint64_t files)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < files) {
        limit.rlim_cur = files < limit.rlim_max ? files : limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int open_crowd(struct crowd *crowd, const struct bench *bench, uint32_t capacity,
                      struct bench_result *result)
{
    const struct bench_stage_plan plan = {.engine = {.max_contexts = capacity}};
    memset(crowd, 0, sizeof *crowd);
    allow_files((uint64_t)capacity * FILES_PER_CONTEXT + FILES_SPARE);
    crowd->contexts = calloc(capacity, sizeof *crowd->contexts);
    return crowd->contexts ? bench_stage_open_engine(&crowd->stage, bench, &plan, result)
                           : bench_skip(result, "there is no memory for the list of contexts");
}

static void close_crowd(struct crowd *crowd)
{
    bench_stage_close(&crowd->stage);
    free(crowd->contexts);
    crowd->contexts = NULL;
}

static aee_result answer(struct crowd *crowd, aee_context context)
{
    aee_function function;
    const aee_result status =
        aee_find_function(crowd->stage.engine, context, "bench_empty", &function, &crowd->error);
    return status == AEE_OK
               ? aee_call_i64(crowd->stage.engine, context, function, NULL, 0, NULL, &crowd->error)
               : status;
}

/* One more context that has answered a call. */
static aee_result add(struct crowd *crowd, const struct bench_image *image)
{
    const aee_context_desc desc = {
        .struct_size = sizeof desc, .name = "idle", .call_mode = AEE_CALL_DIRECT};
    aee_engine *engine = crowd->stage.engine;
    aee_context context;
    aee_result status = aee_context_create(engine, &desc, &context, &crowd->error);
    if (status != AEE_OK) {
        return status;
    }
    status = aee_load(engine, context, image->bytes, image->size, &crowd->error);
    if (status == AEE_OK) {
        status = answer(crowd, context);
    }
    if (status == AEE_OK) {
        crowd->contexts[crowd->count++] = context;
    } else {
        (void)aee_destroy(engine, context, NULL);
    }
    return status;
}

static int add_many(struct crowd *crowd, uint32_t count, struct bench_result *result)
{
    struct bench_image image;
    if (!bench_image_compute(&image, result)) {
        return -1;
    }
    while (crowd->count < count) {
        const aee_result status = add(crowd, &image);
        if (status != AEE_OK) {
            return bench_skip(result, "%u contexts are alive; the next one: %s", crowd->count,
                              crowd->error.text);
        }
    }
    return 0;
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* Sum of the named lines of a file of /proc, in KiB; -1 where there is none of them. */
static double sum_kib(const char *path, const char *const *names)
{
    char line[256];
    double sum = -1.0;
    FILE *file = fopen(path, "r");
    if (!file) {
        return sum;
    }
    while (fgets(line, sizeof line, file)) {
        for (const char *const *name = names; *name; name++) {
            const size_t length = strlen(*name);
            if (strncmp(line, *name, length) == 0 && line[length] == ':') {
                sum = (sum < 0.0 ? 0.0 : sum) + strtod(line + length + 1, NULL);
            }
        }
    }
    (void)fclose(file);
    return sum;
}

static double pss_of(const char *process)
{
    static const char *const names[] = {"Pss", NULL};
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%s/smaps_rollup", process);
    return sum_kib(path, names);
}

/* Adds that of each child of a thread of this process: its cells. */
static double add_children(const char *thread, double sum)
{
    char path[64];
    char child[16];
    (void)snprintf(path, sizeof path, "/proc/self/task/%.16s/children", thread);
    FILE *file = fopen(path, "r");
    while (file && sum >= 0.0 && fscanf(file, "%15s", child) == 1) {
        const double pss = pss_of(child);
        sum = pss < 0.0 ? pss : sum + pss;
    }
    if (file) {
        (void)fclose(file);
    }
    return sum;
}

static double own_pss(void)
{
    double sum = pss_of("self");
    DIR *threads = opendir("/proc/self/task");
    const struct dirent *thread;
    while (threads && (thread = readdir(threads))) {
        sum = thread->d_name[0] == '.' ? sum : add_children(thread->d_name, sum);
    }
    if (threads) {
        (void)closedir(threads);
    }
    return sum;
}

/* What the kernel cannot take back: KVM's structures are in slabs, in vmalloc() memory and in its
 * page tables (SecPageTables). What other processes do meanwhile is in it too. */
static double kernel_memory(void)
{
    static const char *const names[] = {"SUnreclaim",  "KernelStack", "PageTables", "SecPageTables",
                                        "VmallocUsed", "Percpu",      NULL};
    return sum_kib("/proc/meminfo", names);
}

struct growth {
    const struct bench *bench;
    double (*memory)(void);
};

/* Growth a context, from an engine with a full pool to one with a crowd in it. */
static int measure_growth(const struct growth *growth, uint32_t count,
                          struct bench_samples *samples, struct bench_result *result)
{
    enum { POOL = 4 }; /* aee_engine_desc.pool_size by default */
    struct crowd crowd;
    int status = open_crowd(&crowd, growth->bench, count, result);
    if (status == 0 && (status = bench_stage_await_pool(&crowd.stage, POOL, result)) == 0) {
        const double before = growth->memory();
        if (before < 0.0) {
            status = bench_skip(result, "/proc does not tell");
        } else if ((status = add_many(&crowd, count, result)) == 0 &&
                   (status = bench_stage_await_pool(&crowd.stage, POOL, result)) == 0) {
            bench_sleep(20 * BENCH_NS_PER_MS);
            bench_samples_add(samples, (growth->memory() - before) / count);
        }
    }
    close_crowd(&crowd);
    return status;
}

static int measure_growths(void *user, struct bench_samples *samples, uint32_t count,
                           struct bench_result *result)
{
    const struct growth *growth = user;
    const uint32_t contexts = growth->bench->options.quick ? CROWD_QUICK : CROWD;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        status = measure_growth(growth, contexts, samples, result);
    }
    return status;
}

static int run_growth(struct bench *bench, double (*memory)(void), struct bench_result *result)
{
    struct growth growth = {.bench = bench, .memory = memory};
    const struct bench_pair pair = {.row = measure_growths,
                                    .row_user = &growth,
                                    .rounds = 1,
                                    .row_count = bench->options.quick ? 1 : 3};
    return bench_interleave(&pair, result);
}

static int run_pss(struct bench *bench, struct bench_result *result)
{
    return run_growth(bench, own_pss, result);
}

static int run_kernel(struct bench *bench, struct bench_result *result)
{
    return run_growth(bench, kernel_memory, result);
}

const struct bench_row bench_row_idle_context_pss_kib = {
    .name = "idle_context_pss_kib",
    .unit = "KiB",
    .target_text = "<= 128 KiB",
    .how = "growth of Pss in /proc/self/smaps_rollup, and in that of each cell, by 200 contexts "
           "that were called once, a "
           "context; three times",
    .target = {.p50 = 128.0},
    .run = run_pss,
};

const struct bench_row bench_row_idle_context_kernel_kib = {
    .name = "idle_context_kernel_kib",
    .unit = "KiB",
    .target_text = "<= 200 KiB",
    .how = "growth of SUnreclaim + KernelStack + PageTables + SecPageTables + VmallocUsed + Percpu "
           "in /proc/meminfo by 200 contexts, a context; three times; other processes count too",
    .target = {.p50 = 200.0},
    .run = run_kernel,
};

/* ---- contexts_alive ----------------------------------------------------------------------- */

static int call_all(struct crowd *crowd, struct bench_samples *samples, struct bench_result *result)
{
    for (uint32_t i = 0; i < crowd->count; i++) {
        const uint64_t before = bench_now();
        const aee_result status = answer(crowd, crowd->contexts[i]);
        bench_samples_add(samples, (double)(bench_now() - before));
        if (status != AEE_OK) {
            return bench_check(result, status, &crowd->error);
        }
    }
    return 0;
}

/* Goes on until no more are to be had; the engine must say so, and go on working. */
static int crowd_to_the_limit(struct crowd *crowd, struct bench_result *result)
{
    struct bench_image image;
    struct bench_samples none = {0};
    aee_error error;
    if (!bench_image_compute(&image, result)) {
        return -1;
    }
    aee_result status = AEE_OK;
    while (status == AEE_OK && crowd->count < ATTEMPTED) {
        status = add(crowd, &image);
    }
    bench_extra(result, "reached", crowd->count);
    if (status == AEE_OK) { /* all are there; the engine was made for no more */
        const aee_context_desc desc = {.struct_size = sizeof desc, .name = "one too many"};
        aee_context context;
        status = aee_context_create(crowd->stage.engine, &desc, &context, &crowd->error);
    }
    error = crowd->error;
    if (status == AEE_OK || !error.text[0]) {
        return bench_skip(result, "there is no limit of contexts");
    }
    (void)snprintf(result->note, sizeof result->note, "the limit: %s", error.text);
    return call_all(crowd, &none, result);
}

static int run_contexts_alive(struct bench *bench, struct bench_result *result)
{
    const bool quick = bench->options.quick;
    const uint32_t alive = quick ? ALIVE_QUICK : ALIVE;
    struct crowd crowd;
    struct bench_samples calls = {0};
    int status = open_crowd(&crowd, bench, quick ? alive : ATTEMPTED, result);
    const uint64_t before = bench_now();
    if (status == 0) {
        status = add_many(&crowd, alive, result);
    }
    const double took = (double)(bench_now() - before);
    if (status == 0 && bench_samples_init(&calls, alive)) {
        status = call_all(&crowd, &calls, result);
    }
    if (status == 0) {
        const double count = crowd.count;
        result->row = (struct bench_summary){count, count, count, count, 1};
        bench_extra(result, "create_and_call_ns", took / count);
        bench_extra(result, "call_of_each_p50_ns", bench_summarize(&calls).p50);
    }
    if (status == 0 && !quick) {
        status = crowd_to_the_limit(&crowd, result);
    }
    bench_samples_free(&calls);
    close_crowd(&crowd);
    return status;
}

const struct bench_row bench_row_contexts_alive = {
    .name = "contexts_alive",
    .unit = "contexts",
    .target_text = ">= 1000",
    .how = "contexts of one engine, each called when it was made and again when all were there; "
           "then 4096, and one more",
    .target = {.least_p50 = ALIVE},
    .run = run_contexts_alive,
};
