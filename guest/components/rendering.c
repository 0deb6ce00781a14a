/* rendering.c: turns agents and particles, which it may only read, into a draw list: culled against
 * the camera, sorted by material and depth, cut into batches. Scratch memory is its own.
 *
 *   rendering_camera(x, y, zoom)                 what is seen: 1000 / zoom units around (x, y)
 *   rendering_build(agents, particles, draw)     returns the number of quads, or -1. Left out
 *                                                are regions of 0 and quads beyond the capacity */
#include <stdlib.h>

#include <aee_guest.h>

#include "break.h"
#include "region.h"
#include "world.h"

#define HALF_VIEW 500.0f
#define KEY_DEPTH_BITS 12u /* a sort key is material << 12 | depth */

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

static void gather(const struct world_columns *world, uint32_t kind, float size, uint32_t limit)
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
        item->quad.size = size;
        item->quad.color = color_of(material);
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
    gather(&worlds[0], 0, 4.0f, header->quad_capacity);
    gather(&worlds[1], 1, 1.0f, header->quad_capacity);
    sort_pass(items, sorted, 0);
    sort_pass(sorted, items, 8);
    write_list(header);
    return item_count;
}

AEE_SIGNATURE(rendering_theme, "v:i");
AEE_EXPORT void rendering_theme(int64_t theme)
{
    (void)theme;
}
