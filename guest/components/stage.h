/* stage.h: what the engine tells the components of a scene of the demo about their world. It is
 * the only writer of the region, between calls; components may read it. Mods change it by host
 * functions, whose arguments the engine checks. */
#ifndef AEE_STAGE_H
#define AEE_STAGE_H

#include <stdint.h>

#define STAGE_MAGIC 0x45475453u /* "STGE" */
#define STAGE_EDGE 1000.0f      /* the world is [0, STAGE_EDGE) in x and y; y points up */
#define STAGE_OBSTACLES 8u
#define STAGE_CANVAS 256u /* edge of the canvas that the painter paints: pixels 0xAABBGGRR, */
                          /* row 0 at the bottom of the world */

struct stage_disc {
    float x, y;
    float radius; /* 0: there is none */
};

struct stage {
    uint32_t magic;
    uint32_t obstacle_count; /* at most STAGE_OBSTACLES */
    uint64_t frame;          /* that is now, from 1 */
    float wind;              /* -1 to 1: to the left, to the right */
    float rain;              /* 0 to 1 */
    struct stage_disc boss;
    uint32_t caught; /* agents that the boss has caught so far */
    struct stage_disc obstacles[STAGE_OBSTACLES];
};

/* Regions that a mod may ask for in its manifest, as mod_region() names them. */
enum stage_region { STAGE_REGION_STAGE, STAGE_REGION_AGENTS, STAGE_REGION_CANVAS, STAGE_REGIONS };

#endif
