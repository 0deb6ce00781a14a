#include "bench/stage.h"

#include <stdlib.h>
#include <string.h>

static void *count_allocations(void *user, void *old, size_t old_size, size_t size)
{
    struct bench_stage *stage = user;
    (void)old_size;
    if (size == 0) {
        free(old);
        return NULL;
    }
    (void)atomic_fetch_add_explicit(&stage->allocations, 1, memory_order_relaxed);
    return realloc(old, size);
}

int bench_stage_open_engine(struct bench_stage *stage, const struct bench *bench,
                            const struct bench_stage_plan *plan, struct bench_result *result)
{
    aee_error error;
    aee_engine_desc desc = plan->engine;
    memset(stage, 0, sizeof *stage);
    desc.struct_size = sizeof desc;
    desc.level = bench->level;
    desc.alloc = count_allocations;
    desc.alloc_user = stage;
    aee_stats stats = {0};
    aee_result status = aee_engine_create(&desc, &stage->engine, &error);
    if (status == AEE_OK) {
        status = aee_get_stats(stage->engine, &stats, &error);
    }
    if (bench_check(result, status, &error) != 0) {
        return -1;
    }
    return stats.level == bench->level
               ? 0
               : bench_skip(result, "the engine has level %s, not %s", aee_level_name(stats.level),
                            aee_level_name(bench->level));
}

int bench_stage_context(struct bench_stage *stage, const struct bench_stage_plan *plan,
                        aee_context *out, struct bench_result *result)
{
    aee_error error;
    struct bench_image image;
    const aee_context_desc desc = {.struct_size = sizeof desc,
                                   .name = "bench",
                                   .call_mode = plan->mode,
                                   .limits = plan->limits};
    if (!plan->image(&image, result) ||
        bench_check(result, aee_context_create(stage->engine, &desc, out, &error), &error) != 0) {
        return -1;
    }
    return bench_check(result, aee_load(stage->engine, *out, image.bytes, image.size, &error),
                       &error);
}

int bench_stage_open(struct bench_stage *stage, const struct bench *bench,
                     const struct bench_stage_plan *plan, struct bench_result *result)
{
    struct bench_image image;
    memset(stage, 0, sizeof *stage);
    if (!plan->image(&image, result) || bench_stage_open_engine(stage, bench, plan, result) != 0) {
        return -1;
    }
    if (bench_stage_context(stage, plan, &stage->context, result) != 0) {
        return -1;
    }
    /* What fills the pool would be in the figures. */
    return bench_stage_await_pool(stage, BENCH_POOL, result);
}

void bench_stage_close(struct bench_stage *stage)
{
    aee_engine_destroy(stage->engine);
    stage->engine = NULL;
}

int bench_stage_find(struct bench_stage *stage, const char *name, aee_function *out,
                     struct bench_result *result)
{
    aee_error error;
    return bench_check(result, aee_find_function(stage->engine, stage->context, name, out, &error),
                       &error);
}

int bench_stage_info(struct bench_stage *stage, aee_context_info *info, struct bench_result *result)
{
    aee_error error;
    return bench_check(result, aee_get_context_info(stage->engine, stage->context, info, &error),
                       &error);
}

int bench_stage_await_pool(struct bench_stage *stage, uint32_t machines,
                           struct bench_result *result)
{
    const uint64_t patience = bench_now() + 10 * BENCH_NS_PER_SECOND;
    aee_stats stats;
    aee_error error;
    do {
        if (bench_check(result, aee_get_stats(stage->engine, &stats, &error), &error) != 0) {
            return -1;
        }
        if (stats.pool_ready >= machines) {
            return 0;
        }
        bench_sleep(BENCH_NS_PER_MS / 10);
    } while (bench_now() < patience);
    return bench_skip(result, "the pool held %u machines after 10 s, not %u", stats.pool_ready,
                      machines);
}
