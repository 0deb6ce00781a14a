/* rendering.c: turns agents and particles, which it may only read, into a draw list: culled against
 * the camera, sorted by material and depth, cut into batches. Scratch memory is its own.
 *
 *   rendering_camera(x, y, zoom)                 what is seen: 1000 / zoom units around (x, y)
 *   rendering_theme(theme)                       0 to THEMES - 1: colours of a scene; others:
 * plain; returns 0 rendering_build(agents, particles, draw)     returns the number of quads, or -1.
 * Left out are regions of 0 and quads beyond the capacity */
#include <stdbool.h>
#include <stdlib.h>

#include <aee_guest.h>

#include "break.h"
#include "region.h"
#include "world.h"

#define HALF_VIEW 500.0f
#define SHADES 8u
#define THEMES 8
#define FULL_SPEED 1600.0f   /* squared: what agents reach; their brightest shade */
#define DROP_SPEED (-148.0f) /* particles that fall faster are rain */
#define KEY_DEPTH_BITS 12u   /* a sort key is material << 12 | depth */

static struct camera {
    float x, y;
    float half; /* of the visible square's edge */
} camera = {HALF_VIEW, HALF_VIEW, HALF_VIEW};

struct item {
    struct draw_quad quad;
    uint32_t key;
};

static struct item *items;
static struct item *sorted;
static uint32_t item_count;
static uint32_t item_capacity;

static void reserve(uint32_t capacity)
{
    if (capacity <= item_capacity) {
        return;
    }
    free(items);
    free(sorted);
    items = malloc((size_t)capacity * sizeof *items);
    sorted = malloc((size_t)capacity * sizeof *sorted);
    if (items == NULL || sorted == NULL) {
        aee_out_of_memory();
    }
    item_capacity = capacity;
}

/* Eight materials for each kind of thing, by speed: 0-7 agents, 8-15 particles. */
static uint32_t material_of(uint32_t kind, float vx, float vy)
{
    const float square = vx * vx + vy * vy;
    uint32_t heat = 0;
    for (float step = 100.0f; heat < 7u && square > step; step *= 4.0f) {
        heat++;
    }
    return kind * 8u + heat;
}

static uint32_t color_of(uint32_t material)
{
    const uint32_t heat = (material & 7u) * 36u;
    const uint32_t red = material < 8u ? heat : 255u;
    const uint32_t blue = material < 8u ? 255u : 252u - heat;
    return 0xff000000u | blue << 16 | 0x80u << 8 | red;
}

/* ---- Themes ----------------------------------------------------------------------------------- */

/* Agents are cool, particles warm, and both get brighter with their speed, so that nobody needs to
 * tell red from green; the middles are near the colours of Okabe and Ito's set. Particles are dim,
 * because what draws them may add them up. */
struct ramp {
    uint8_t low[3], middle[3], high[3]; /* red, green, blue */
};
enum { BLUE, GREEN, VIOLET, CYAN, COOL_RAMPS };
enum { EMBER, GOLD, ROSE, RUST, WARM_RAMPS };

static const struct ramp cool_ramps[COOL_RAMPS] = {
    [BLUE] = {{0x3a, 0x86, 0xd8}, {0x56, 0xb4, 0xe9}, {0xdc, 0xf4, 0xff}},
    [GREEN] = {{0x0a, 0xa8, 0x7c}, {0x46, 0xd2, 0xa8}, {0xd6, 0xff, 0xf0}},
    [VIOLET] = {{0x6a, 0x74, 0xe6}, {0x9c, 0xa8, 0xff}, {0xea, 0xea, 0xff}},
    [CYAN] = {{0x18, 0xa4, 0xb4}, {0x58, 0xda, 0xe2}, {0xe2, 0xff, 0xff}},
};
static const struct ramp warm_ramps[WARM_RAMPS] = {
    [EMBER] = {{0x2a, 0x0e, 0x04}, {0x96, 0x46, 0x0a}, {0xff, 0xc8, 0x6e}},
    [GOLD] = {{0x24, 0x18, 0x04}, {0x8c, 0x64, 0x0a}, {0xf4, 0xe2, 0x82}},
    [ROSE] = {{0x28, 0x0c, 0x1a}, {0x8e, 0x46, 0x68}, {0xff, 0xc4, 0xdc}},
    [RUST] = {{0x2c, 0x08, 0x06}, {0x9a, 0x34, 0x12}, {0xff, 0xac, 0x80}},
};
static const struct {
    uint8_t cool, warm;
} themes[THEMES] = {
    {BLUE, EMBER}, {GREEN, ROSE},  {VIOLET, GOLD}, {CYAN, RUST},
    {BLUE, GOLD},  {GREEN, EMBER}, {VIOLET, RUST}, {CYAN, ROSE},
};

static struct palette {
    bool plain;
    uint32_t agents[SHADES];
    uint32_t particles[SHADES];
    uint32_t drop;
} palette = {.plain = true};

static uint32_t shade_of(const struct ramp *ramp, uint32_t shade)
{
    const uint32_t half = SHADES / 2u;
    const uint8_t *from = shade < half ? ramp->low : ramp->middle;
    const uint8_t *to = shade < half ? ramp->middle : ramp->high;
    const uint32_t part = shade < half ? shade : shade - half;
    const uint32_t whole = shade < half ? half : half - 1u;
    uint32_t color = 0xff000000u;
    for (uint32_t c = 0; c < 3u; c++) {
        color |= (from[c] * (whole - part) + to[c] * part) / whole << 8u * c;
    }
    return color;
}

/* How a thing looks: what material_of() says, or what the theme does. */
static void paint(struct draw_quad *quad, uint32_t material, float vx, float vy)
{
    const bool is_agent = material < SHADES;
    if (palette.plain) {
        quad->size = is_agent ? 4.0f : 1.0f;
        quad->color = color_of(material);
    } else if (is_agent) {
        const float square = vx * vx + vy * vy;
        const uint32_t shade =
            square < FULL_SPEED ? (uint32_t)(square * ((float)SHADES / FULL_SPEED)) : SHADES - 1u;
        quad->size = 4.2f + 0.2f * (float)shade;
        quad->color = palette.agents[shade];
    } else {
        quad->size = 1.6f;
        quad->color = vy < DROP_SPEED ? palette.drop : palette.particles[material % SHADES];
    }
}

AEE_SIGNATURE(rendering_theme, "i:i");
AEE_EXPORT int64_t rendering_theme(int64_t theme)
{
    palette.plain = theme < 0 || theme >= THEMES;
    for (uint32_t shade = 0; !palette.plain && shade < SHADES; shade++) {
        palette.agents[shade] = shade_of(&cool_ramps[themes[theme].cool], shade);
        palette.particles[shade] = shade_of(&warm_ramps[themes[theme].warm], shade);
    }
    palette.drop = 0xff8c7660u; /* a dim greyish blue */
    return 0;
}

/* ---- The list --------------------------------------------------------------------------------- */

static void gather(const struct world_columns *world, uint32_t kind, uint32_t limit)
{
    const float low_x = camera.x - camera.half;
    const float low_y = camera.y - camera.half;
    const float edge = 2.0f * camera.half;
    const float depths = (float)(1u << KEY_DEPTH_BITS);
    for (uint32_t i = 0; i < world->count && item_count < limit; i++) {
        const float x = world->x[i] - low_x;
        const float y = world->y[i] - low_y;
        if (!(x >= 0.0f && x < edge && y >= 0.0f && y < edge)) {
            continue;
        }
        const uint32_t material = material_of(kind, world->vx[i], world->vy[i]);
        uint32_t depth = (uint32_t)(y / edge * depths);
        depth = depth < (1u << KEY_DEPTH_BITS) ? depth : (1u << KEY_DEPTH_BITS) - 1u;
        struct item *item = &items[item_count++];
        item->quad.x = world->x[i];
        item->quad.y = world->y[i];
        paint(&item->quad, material, world->vx[i], world->vy[i]);
        item->key = material << KEY_DEPTH_BITS | depth;
    }
}

/* One pass of a stable radix sort, by eight bits of the key. */
static void sort_pass(const struct item *from, struct item *to, uint32_t shift)
{
    uint32_t start[256] = {0};
    for (uint32_t i = 0; i < item_count; i++) {
        start[from[i].key >> shift & 255u]++;
    }
    uint32_t sum = 0;
    for (uint32_t d = 0; d < 256u; d++) {
        const uint32_t count = start[d];
        start[d] = sum;
        sum += count;
    }
    for (uint32_t i = 0; i < item_count; i++) {
        to[start[from[i].key >> shift & 255u]++] = from[i];
    }
}

static void write_list(struct draw_header *header)
{
    struct draw_quad *quads = draw_quads(header);
    uint32_t batches = 0;
    uint32_t previous = DRAW_MATERIALS;
    for (uint32_t i = 0; i < item_count; i++) {
        const uint32_t material = items[i].key >> KEY_DEPTH_BITS;
        if (material != previous) {
            const struct draw_batch batch = {.material = material, .first = i};
            header->batches[batches++] = batch;
            previous = material;
        }
        header->batches[batches - 1u].count++;
        quads[i] = items[i].quad;
    }
    header->quad_count = item_count;
    header->batch_count = batches;
    header->frame++;
}

AEE_SIGNATURE(rendering_camera, "v:ddd");
AEE_EXPORT void rendering_camera(double x, double y, double zoom)
{
    camera.x = (float)x;
    camera.y = (float)y;
    camera.half = zoom > 0.0 ? HALF_VIEW / (float)zoom : HALF_VIEW;
}

AEE_SIGNATURE(rendering_build, "i:iii");
AEE_EXPORT int64_t rendering_build(int64_t agents, int64_t particles, int64_t draw)
{
    struct draw_header *header = region_at(draw);
    struct world_columns worlds[2] = {{0}, {0}};
    if (header->magic != DRAW_MAGIC || header->quad_capacity > DRAW_MAX_QUADS ||
        (agents != 0 && world_open(region_at(agents), SIZE_MAX, &worlds[0]) != 0) ||
        (particles != 0 && world_open(region_at(particles), SIZE_MAX, &worlds[1]) != 0)) {
        return -1;
    }
    reserve(worlds[0].count + worlds[1].count);
    item_count = 0;
    gather(&worlds[0], 0, header->quad_capacity);
    gather(&worlds[1], 1, header->quad_capacity);
    sort_pass(items, sorted, 0);
    sort_pass(sorted, items, 8);
    write_list(header);
    return item_count;
}
