/* particles.c: a fountain of particles in columns that the host owns: gravity, drag, bouncing off
 * the walls. The kernel is written once and compiled twice, for plain x86-64 and for AVX2; element
 * by element and without fused operations, so that both give the same bits.
 *
 *   particles_init(region, count, seed)   makes a world of `count` particles; returns count or -1
 *   particles_step(region, dt)            one step of dt seconds; returns the count, or -1
 *   particles_run(region, steps, dt)      so many steps in one call; the same
 *   particles_checksum(region)            world_checksum() of it */
#include <aee_guest.h>

#include "break.h"
#include "region.h"
#include "stage_read.h"
#include "world.h"

#define EDGE 1000.0f
#define GRAVITY (-98.1f)
#define DRAG 0.1f   /* share of the velocity lost in one second */
#define BOUNCE 0.8f /* share of the velocity kept at a wall */

/* Selects instead of branches: this is what compilers turn into vector code, with
 * -fno-trapping-math. */
static inline __attribute__((always_inline)) void step(float *restrict x, float *restrict y,
                                                       float *restrict vx, float *restrict vy,
                                                       uint32_t count, float dt)
{
    const float keep = 1.0f - DRAG * dt;
    const float pull = GRAVITY * dt;
    for (uint32_t i = 0; i < count; i++) {
        const float speed_x = vx[i] * keep;
        const float speed_y = vy[i] * keep + pull;
        const float new_x = x[i] + speed_x * dt;
        const float new_y = y[i] + speed_y * dt;
        const float low_x = new_x < 0.0f ? -new_x : new_x;
        const float low_y = new_y < 0.0f ? -new_y : new_y;
        const float in_x = low_x > EDGE ? 2.0f * EDGE - low_x : low_x;
        const float in_y = low_y > EDGE ? 2.0f * EDGE - low_y : low_y;
        const float turn_x = in_x != new_x ? -BOUNCE : 1.0f;
        const float turn_y = in_y != new_y ? -BOUNCE : 1.0f;
        x[i] = in_x;
        y[i] = in_y;
        vx[i] = speed_x * turn_x;
        vy[i] = speed_y * turn_y;
    }
}

static void step_plain(const struct world_columns *world, float dt)
{
    step(world->x, world->y, world->vx, world->vy, world->count, dt);
}

__attribute__((target("avx2"))) static void step_avx2(const struct world_columns *world, float dt)
{
    step(world->x, world->y, world->vx, world->vy, world->count, dt);
}

AEE_SIGNATURE(particles_init, "i:iii");
AEE_EXPORT int64_t particles_init(int64_t region, int64_t count, int64_t seed)
{
    if (count < 1 || count > WORLD_MAX_ENTITIES) {
        return -1;
    }
    const struct world_columns world =
        world_format(region_at(region), (uint32_t)count, EDGE, EDGE, (uint64_t)seed);
    struct aee_random random;
    aee_random_init(&random, (uint64_t)seed);
    for (uint32_t i = 0; i < world.count; i++) {
        world.x[i] = EDGE * 0.5f + aee_random_float(&random);
        world.y[i] = aee_random_float(&random);
        world.vx[i] = (aee_random_float(&random) - 0.5f) * 200.0f;
        world.vy[i] = 200.0f + aee_random_float(&random) * 200.0f;
    }
    return count;
}

AEE_SIGNATURE(particles_run, "i:iid");
AEE_EXPORT int64_t particles_run(int64_t region, int64_t steps, double dt)
{
    struct world_header *header = region_at(region);
    struct world_columns world;
    if (world_open(header, SIZE_MAX, &world) != 0) {
        return -1;
    }
    for (int64_t i = 0; i < steps; i++) {
        if (aee_has_avx2()) {
            step_avx2(&world, (float)dt);
        } else {
            step_plain(&world, (float)dt);
        }
        header->frame++;
    }
    return world.count;
}

AEE_SIGNATURE(particles_step, "i:id");
AEE_EXPORT int64_t particles_step(int64_t region, double dt)
{
    return particles_run(region, 1, dt);
}

AEE_SIGNATURE(particles_checksum, "i:i");
AEE_EXPORT int64_t particles_checksum(int64_t region)
{
    struct world_columns world;
    if (world_open(region_at(region), SIZE_MAX, &world) != 0) {
        return -1;
    }
    return (int64_t)world_checksum(&world);
}

AEE_SIGNATURE(particles_weather, "i:iid");
AEE_EXPORT int64_t particles_weather(int64_t region, int64_t stage_region, double dt)
{
    struct stage stage;
    if (stage_read(region_at(stage_region), &stage) != 0) {
        return -1;
    }
    return particles_run(region, 1, dt);
}
