/* particles.c: a fountain of particles in columns that the host owns: gravity, drag, bouncing off
 * the walls. The kernel is written once and compiled twice, for plain x86-64 and for AVX2; element
 * by element and without fused operations, so that both give the same bits.
 *
 *   particles_init(region, count, seed)   makes a world of `count` particles; returns count or -1
 *   particles_step(region, dt)            one step of dt seconds; returns the count, or -1
 *   particles_run(region, steps, dt)      so many steps in one call; the same
 *   particles_weather(region, stage, dt)  a step of at most 0.1 s with the wind and rain of a
 * stage; particles begin anew at one of three fountains, or as drops, after RENEW steps; returns
 * the count, or -1 particles_checksum(region)            world_checksum() of it */
#include <stdbool.h>

#include <aee_guest.h>

#include "break.h"
#include "region.h"
#include "stage_read.h"
#include "world.h"

#define EDGE 1000.0f
#define GRAVITY (-98.1f)
#define DRAG 0.1f   /* share of the velocity lost in one second */
#define BOUNCE 0.8f /* share of the velocity kept at a wall */

/* Of the weather. */
#define LONGEST_STEP 0.1f                    /* s */
#define SPLASH 0.12f                         /* as BOUNCE, at floor and ceiling */
#define GUST (100.0f * 4.0f / (EDGE * EDGE)) /* acceleration at full wind, in the middle */
#define RENEW 240u                           /* steps in the life of a particle */
#define FOUNTAINS 3u
#define SWAY 900u /* steps in which a fountain goes to and fro, and SWAY_MORE for the next */
#define SWAY_MORE 270u
#define RAIN_SHARE 0.45f /* of the new particles are drops, in the heaviest rain */

/* What is the same for all particles of a step. The compiler sees whether there is weather, so that
 * a step without adds nothing, not even 0, which would turn a -0 into 0. */
struct kernel {
    float dt;
    float gust;   /* added to vx, times the ways to both walls: else all would end at one */
    float bounce; /* at floor and ceiling */
    bool windy;
};

/* Selects instead of branches: this is what compilers turn into vector code, with
 * -fno-trapping-math. */
static inline __attribute__((always_inline)) void step(float *restrict x, float *restrict y,
                                                       float *restrict vx, float *restrict vy,
                                                       uint32_t count, struct kernel kernel)
{
    const float dt = kernel.dt;
    const float bounce = kernel.bounce;
    const float gust = kernel.gust;
    const float keep = 1.0f - DRAG * dt;
    const float pull = GRAVITY * dt;
    for (uint32_t i = 0; i < count; i++) {
        const float calm = vx[i] * keep;
        const float speed_x = kernel.windy ? calm + gust * (x[i] * (EDGE - x[i])) : calm;
        const float speed_y = vy[i] * keep + pull;
        const float new_x = x[i] + speed_x * dt;
        const float new_y = y[i] + speed_y * dt;
        const float low_x = new_x < 0.0f ? -new_x : new_x;
        const float low_y = new_y < 0.0f ? -new_y : new_y;
        const float in_x = low_x > EDGE ? 2.0f * EDGE - low_x : low_x;
        const float in_y = low_y > EDGE ? 2.0f * EDGE - low_y : low_y;
        const float turn_x = in_x != new_x ? -BOUNCE : 1.0f;
        const float turn_y = in_y != new_y ? -bounce : 1.0f;
        x[i] = in_x;
        y[i] = in_y;
        vx[i] = speed_x * turn_x;
        vy[i] = speed_y * turn_y;
    }
}

#define STEP(kernel) step(world->x, world->y, world->vx, world->vy, world->count, kernel)

static void step_plain(const struct world_columns *world, float dt)
{
    STEP(((struct kernel){.dt = dt, .bounce = BOUNCE}));
}

static void weather_plain(const struct world_columns *world, float dt, float wind)
{
    STEP(((struct kernel){dt, GUST * wind * dt, SPLASH, true}));
}

__attribute__((target("avx2"))) static void step_avx2(const struct world_columns *world, float dt)
{
    STEP(((struct kernel){.dt = dt, .bounce = BOUNCE}));
}

__attribute__((target("avx2"))) static void weather_avx2(const struct world_columns *world,
                                                         float dt, float wind)
{
    STEP(((struct kernel){dt, GUST * wind * dt, SPLASH, true}));
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

/* From 0 to 1 and back in `period` steps, slowly at both ends: parabolas instead of sin(). */
static float sway(uint64_t frame, uint64_t period)
{
    const float t = (float)(frame % period) / (float)period * 2.0f;
    const float half = t < 1.0f ? t : 2.0f - t;
    return half < 0.5f ? 2.0f * half * half : 1.0f - 2.0f * (1.0f - half) * (1.0f - half);
}

static void launch(const struct world_columns *world, uint32_t i, const float place[FOUNTAINS],
                   struct aee_random *random)
{
    const uint64_t fountain = aee_random_below(random, FOUNTAINS);
    world->x[i] = place[fountain] + aee_random_float(random) * 6.0f;
    world->y[i] = aee_random_float(random) * 4.0f;
    /* The sum of two is dense in the middle: a jet. */
    world->vx[i] = (aee_random_float(random) + aee_random_float(random) - 1.0f) * 90.0f;
    world->vy[i] = 230.0f + (float)fountain * 40.0f + aee_random_float(random) * 110.0f;
}

static void let_fall(const struct world_columns *world, uint32_t i, float wind,
                     struct aee_random *random)
{
    world->x[i] = aee_random_float(random) * EDGE;
    world->y[i] = EDGE - aee_random_float(random) * 8.0f;
    world->vx[i] = wind * 120.0f;
    world->vy[i] = -150.0f - aee_random_float(random) * 90.0f;
}

/* Each step another block of particles begins anew, in turn. */
static void renew(const struct world_columns *world, const struct stage *stage)
{
    const uint64_t turn = stage->frame % RENEW;
    const uint32_t first = (uint32_t)(world->count * turn / RENEW);
    const uint32_t end = (uint32_t)(world->count * (turn + 1u) / RENEW);
    const float drops = stage->rain * RAIN_SHARE;
    float place[FOUNTAINS];
    for (uint32_t i = 0; i < FOUNTAINS; i++) {
        place[i] =
            EDGE * (0.12f + 0.28f * (float)i + 0.2f * sway(stage->frame, SWAY + SWAY_MORE * i));
    }
    struct aee_random random;
    aee_random_init(&random, stage->frame);
    for (uint32_t i = first; i < end; i++) {
        if (aee_random_float(&random) < drops) {
            let_fall(world, i, stage->wind, &random);
        } else {
            launch(world, i, place, &random);
        }
    }
}

AEE_SIGNATURE(particles_weather, "i:iid");
AEE_EXPORT int64_t particles_weather(int64_t region, int64_t stage_region, double dt)
{
    struct world_header *header = region_at(region);
    struct world_columns world;
    struct stage stage;
    if (world_open(header, SIZE_MAX, &world) != 0 ||
        stage_read(region_at(stage_region), &stage) != 0) {
        return -1;
    }
    const float seconds = stage_clamp((float)dt, 0.0f, LONGEST_STEP);
    if (aee_has_avx2()) {
        weather_avx2(&world, seconds, stage.wind);
    } else {
        weather_plain(&world, seconds, stage.wind);
    }
    renew(&world, &stage);
    header->frame++;
    return world.count;
}
