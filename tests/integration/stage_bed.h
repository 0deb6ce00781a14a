/* stage_bed.h: a stage, contexts with the components of the visual demo, and their native builds.
 * For tests; it brings harness.h. */
#ifndef AEE_TESTS_INTEGRATION_STAGE_BED_H
#define AEE_TESTS_INTEGRATION_STAGE_BED_H

#define AEE_NATIVE 1
#include "harness.h"

#include <dlfcn.h>
#include <math.h>

#include "aee_guest.h"
#include "stage_read.h"
#include "world.h"

enum { AGENTS = 2500, PARTICLES = 6000, PIXELS = STAGE_CANVAS * STAGE_CANVAS };
#define EDGE 500.0f /* of the world of so many agents */
#define DT (1.0 / 60.0)

/* ---- Native builds ------------------------------------------------------------------------------ */

/* POSIX lets what dlsym() finds be called; C has no cast for it. */
union native {
    void *address;
    int64_t (*integers)(int64_t, int64_t, int64_t);
    int64_t (*step)(int64_t, int64_t, double);
    void (*set_hooks)(const struct aee_native_hooks *);
};

static inline union native native(const char *component, const char *function)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s_native.so", AEE_COMPONENT_DIR, component);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    union native found = {.address = module ? dlsym(module, function) : NULL};
    if (!found.address) {
        fail_msg("%s", dlerror());
    }
    return found;
}

static inline int64_t at(const void *memory)
{
    return (int64_t)(uintptr_t)memory;
}

/* ---- Contexts ----------------------------------------------------------------------------------- */

static inline aee_context load(struct bed *bed, const char *component, uint64_t budget_ns)
{
    char path[512];
    aee_context_desc desc = {
        .struct_size = sizeof desc,
        .name = component,
        .limits = {.memory_bytes = UINT64_C(2) << 20, .call_budget_ns = budget_ns}};
    aee_context context = {0};
    (void)snprintf(path, sizeof path, "%s/%s.elf", AEE_COMPONENT_DIR, component);
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_load_file(bed->engine, context, path, &bed->error));
    return context;
}

struct shared {
    aee_region region;
    void *data;
    size_t size;
};

static inline struct shared share(struct bed *bed, const char *name, size_t size)
{
    struct shared shared = {.size = size};
    aee_region_desc desc = {.struct_size = sizeof desc, .name = name, .size_bytes = size};
    ASSERT_OK(bed, aee_region_create(bed->engine, &desc, &shared.region, &bed->error));
    ASSERT_OK(bed, aee_region_data(bed->engine, shared.region, &shared.data, NULL, &bed->error));
    return shared;
}

static inline int64_t map(struct bed *bed, aee_context context, const struct shared *shared,
                          aee_access access)
{
    uint64_t address = 0;
    ASSERT_OK(bed,
              aee_region_map(bed->engine, context, shared->region, access, &address, &bed->error));
    return (int64_t)address;
}

static inline int64_t step(struct bed *bed, aee_context context, const char *function,
                           int64_t region, int64_t stage, double dt)
{
    const aee_value args[3] = {aee_i64(region), aee_i64(stage), aee_f64(dt)};
    aee_value result = {.type = AEE_TYPE_I64};
    ASSERT_OK(bed, aee_call(bed->engine, context, find(bed, context, function), args, 3, &result,
                            &bed->error));
    return result.as.i64;
}

/* ---- The stage ---------------------------------------------------------------------------------- */

/* Everything on it changes: the boss crosses the world, obstacles breathe. */
static inline struct stage stage_at(uint64_t frame)
{
    const float t = (float)frame * 0.02f;
    struct stage stage = {.magic = STAGE_MAGIC, .obstacle_count = 5, .frame = frame};
    stage.wind = sinf(t * 3.0f);
    stage.rain = 0.5f + 0.5f * cosf(t);
    stage.boss =
        (struct stage_disc){250.0f + 200.0f * cosf(t), 250.0f + 200.0f * sinf(2.0f * t), 25.0f};
    for (uint32_t i = 0; i < stage.obstacle_count; i++) {
        stage.obstacles[i] =
            (struct stage_disc){60.0f + 100.0f * (float)i, 90.0f + 70.0f * (float)(i * i % 5),
                                25.0f + 10.0f * sinf(t + (float)i)};
    }
    return stage;
}

#endif
