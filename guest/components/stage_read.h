/* stage_read.h: a component's own copy of the stage, with every value in its range: what its
 * arithmetic may rely on, whatever the region holds. */
#ifndef AEE_COMPONENT_STAGE_READ_H
#define AEE_COMPONENT_STAGE_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "stage.h"

#define STAGE_RADIUS_MAX 400.0f

/* Also for values that are not numbers. */
static inline float stage_clamp(float value, float low, float high)
{
    if (value >= low && value <= high) {
        return value;
    }
    return value > high ? high : low;
}

/* A disc that makes no sense is none. */
static inline void stage_check_disc(struct stage_disc *disc)
{
    const bool ok = disc->x >= -STAGE_EDGE && disc->x <= 2.0f * STAGE_EDGE &&
                    disc->y >= -STAGE_EDGE && disc->y <= 2.0f * STAGE_EDGE && disc->radius > 0.0f &&
                    disc->radius <= STAGE_RADIUS_MAX;
    if (!ok) {
        disc->x = 0.0f;
        disc->y = 0.0f;
        disc->radius = 0.0f;
    }
}

/* Copies once, then checks the copy. Obstacles beyond the count have radius 0. Returns 0, or -1
 * where this is no stage, with an empty one. */
static inline int stage_read(const void *region, struct stage *copy)
{
    __builtin_memcpy(copy, region, sizeof *copy);
    __asm__ volatile("" ::: "memory"); /* the checks below are on the copy, never on the region */
    const bool ok = copy->magic == STAGE_MAGIC && copy->obstacle_count <= STAGE_OBSTACLES;
    copy->obstacle_count = ok ? copy->obstacle_count : 0u;
    copy->boss.radius = ok ? copy->boss.radius : 0.0f;
    copy->wind = copy->wind == copy->wind ? stage_clamp(copy->wind, -1.0f, 1.0f) : 0.0f;
    copy->rain = stage_clamp(copy->rain, 0.0f, 1.0f);
    stage_check_disc(&copy->boss);
    for (uint32_t i = 0; i < STAGE_OBSTACLES; i++) {
        if (i >= copy->obstacle_count) {
            copy->obstacles[i].radius = 0.0f;
        }
        stage_check_disc(&copy->obstacles[i]);
    }
    return ok ? 0 : -1;
}

#endif
