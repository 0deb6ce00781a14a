/* stage.h: an engine with one context in it, for one row. Owns both; counts the library's
 * allocations. */
#ifndef AEE_BENCH_STAGE_H
#define AEE_BENCH_STAGE_H

#include <stdatomic.h>
#include <stddef.h>

#include "bench/internal.h"

struct bench_image {
    const void *bytes;
    size_t size;
};

/* Images that the build put into this program; false, with the sentence, where it could not. */
bool bench_image_compute(struct bench_image *image, struct bench_result *result);
bool bench_image_particles(struct bench_image *image, struct bench_result *result);
bool bench_image_large(struct bench_image *image, struct bench_result *result); /* 1 MiB */
bool bench_image_recovery(struct bench_image *image, struct bench_result *result);

enum { BENCH_POOL = 4 }; /* aee_engine_desc.pool_size by default */

struct bench_stage {
    aee_engine *engine;
    aee_context context;
    _Atomic uint64_t allocations; /* made so far; any thread */
};

struct bench_stage_plan {
    bool (*image)(struct bench_image *image, struct bench_result *result);
    aee_call_mode mode;
    aee_limits limits;
    aee_engine_desc engine; /* struct_size, level and alloc are filled in */
};

/* Makes the engine, of the level that the bench measures, and its context and loads the image.
 * Close it in any case. */
int bench_stage_open(struct bench_stage *stage, const struct bench *bench,
                     const struct bench_stage_plan *plan, struct bench_result *result);
/* The engine alone. */
int bench_stage_open_engine(struct bench_stage *stage, const struct bench *bench,
                            const struct bench_stage_plan *plan, struct bench_result *result);
void bench_stage_close(struct bench_stage *stage);

/* Another context on the same engine. */
int bench_stage_context(struct bench_stage *stage, const struct bench_stage_plan *plan,
                        aee_context *out, struct bench_result *result);
int bench_stage_find(struct bench_stage *stage, const char *name, aee_function *out,
                     struct bench_result *result);
int bench_stage_info(struct bench_stage *stage, aee_context_info *info,
                     struct bench_result *result);
/* Waits until the pool has so many machines. */
int bench_stage_await_pool(struct bench_stage *stage, uint32_t machines,
                           struct bench_result *result);

#endif
