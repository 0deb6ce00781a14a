/* world.h: the layout of the regions that the engine and the sample components share. A world is a
 * header and five columns of floats, one value per entity; a draw list is a header, batches and
 * quads. Host and components compile this file; it needs nothing but the C library's headers.
 *
 * The side that reads what another side wrote does not trust it: world_open() and draw_open() check
 * a copy of the header against the size of the region and give pointers that stay inside. */
#ifndef AEE_WORLD_H
#define AEE_WORLD_H

#include <stddef.h>
#include <stdint.h>

#define WORLD_MAGIC 0x444c5257u /* "WRLD" */
#define WORLD_VERSION 1u
#define WORLD_MAX_ENTITIES 1000000u
#define WORLD_COLUMN_ALIGN 64u /* columns start on cache lines, and suit the widest vectors */
#define WORLD_COLUMNS 4u

struct world_header {
    uint32_t magic;
    uint32_t version;
    uint32_t count; /* entities in use, at most capacity */
    uint32_t capacity;
    float width; /* entities live in [0, width) x [0, height) */
    float height;
    uint64_t frame; /* steps done */
    uint64_t seed;
    uint64_t reserved[3];
};
#ifdef __cplusplus
static_assert(sizeof(world_header) == 64, "columns follow on the next cache line");
#else
_Static_assert(sizeof(struct world_header) == 64, "columns follow on the next cache line");
#endif

struct world_columns {
    float *x;
    float *y;
    float *vx;
    float *vy;
    uint32_t count;
};

/* Bytes of one column, and of a whole world. */
static inline size_t world_column_size(uint32_t capacity)
{
    const size_t bytes = (size_t)capacity * sizeof(float);
    return (bytes + WORLD_COLUMN_ALIGN - 1u) & ~(size_t)(WORLD_COLUMN_ALIGN - 1u);
}

static inline size_t world_size(uint32_t capacity)
{
    return sizeof(struct world_header) + WORLD_COLUMNS * world_column_size(capacity);
}

static inline struct world_columns world_columns_at(void *base, uint32_t count, uint32_t capacity)
{
    char *first = (char *)base + sizeof(struct world_header);
    const size_t step = world_column_size(capacity);
    struct world_columns columns;
    columns.x = (float *)(void *)first;
    columns.y = (float *)(void *)(first + step);
    columns.vx = (float *)(void *)(first + 2u * step);
    columns.vy = (float *)(void *)(first + 3u * step);
    columns.count = count;
    return columns;
}

/* Writes an empty world of `count` entities; the region must hold world_size(count) bytes. */
static inline struct world_columns world_format(void *base, uint32_t count, float width,
                                                float height, uint64_t seed)
{
    struct world_header *header = (struct world_header *)base;
    header->magic = WORLD_MAGIC;
    header->version = WORLD_VERSION;
    header->count = count;
    header->capacity = count;
    header->width = width;
    header->height = height;
    header->frame = 0;
    header->seed = seed;
    return world_columns_at(base, count, count);
}

/* Checks a world in a region of `size` bytes (SIZE_MAX where the reader is the one who made it) and
 * finds its columns. Each field is read once. Returns 0, or -1 with no columns. */
static inline int world_open(void *base, size_t size, struct world_columns *columns)
{
    const volatile struct world_header *header = (const volatile struct world_header *)base;
    *columns = world_columns_at(base, 0, 0);
    if (size < sizeof(struct world_header)) {
        return -1;
    }
    const uint32_t count = header->count;
    const uint32_t capacity = header->capacity;
    if (header->magic != WORLD_MAGIC || header->version != WORLD_VERSION || count > capacity ||
        capacity > WORLD_MAX_ENTITIES || world_size(capacity) > size) {
        return -1;
    }
    *columns = world_columns_at(base, count, capacity);
    return 0;
}

/* Differs when any bit of any column differs (with the usual luck of 64-bit hashes). */
static inline uint64_t world_checksum(const struct world_columns *columns)
{
    const float *const list[WORLD_COLUMNS] = {columns->x, columns->y, columns->vx, columns->vy};
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    for (uint32_t c = 0; c < WORLD_COLUMNS; c++) {
        for (uint32_t i = 0; i < columns->count; i++) {
            uint32_t bits;
            __builtin_memcpy(&bits, &list[c][i], sizeof bits);
            sum = (sum ^ bits) * UINT64_C(0x100000001b3);
        }
    }
    return sum;
}

/* ---- Draw list -------------------------------------------------------------------------------- */

#define DRAW_MAGIC 0x57415244u /* "DRAW" */
#define DRAW_MATERIALS 16u
#define DRAW_MAX_QUADS 2000000u

/* Sorted by material, then from back to front. */
struct draw_quad {
    float x, y;     /* centre, in world units */
    float size;     /* of an edge */
    uint32_t color; /* 0xAABBGGRR */
};

/* One draw call: quads [first, first + count) share a material. */
struct draw_batch {
    uint32_t material;
    uint32_t first;
    uint32_t count;
};

struct draw_header {
    uint32_t magic;
    uint32_t quad_capacity;
    uint32_t quad_count;
    uint32_t batch_count;
    uint64_t frame;
    struct draw_batch batches[DRAW_MATERIALS];
    uint64_t reserved[5];
};
#ifdef __cplusplus
static_assert(sizeof(draw_header) == 256, "quads follow on a cache line");
#else
_Static_assert(sizeof(struct draw_header) == 256, "quads follow on a cache line");
#endif

static inline size_t draw_size(uint32_t quad_capacity)
{
    return sizeof(struct draw_header) + (size_t)quad_capacity * sizeof(struct draw_quad);
}

static inline struct draw_quad *draw_quads(void *base)
{
    return (struct draw_quad *)(void *)((char *)base + sizeof(struct draw_header));
}

/* Writes an empty draw list; the region must hold draw_size(quad_capacity) bytes. */
static inline void draw_format(void *base, uint32_t quad_capacity)
{
    struct draw_header *header = (struct draw_header *)base;
    header->magic = DRAW_MAGIC;
    header->quad_capacity = quad_capacity;
    header->quad_count = 0;
    header->batch_count = 0;
    header->frame = 0;
}

/* Checks a draw list in a region of `size` bytes and copies its header, batches included, to *copy.
 * Only the copy may be used afterwards. Returns the number of quads, or -1. */
static inline int64_t draw_open(const void *base, size_t size, struct draw_header *copy)
{
    if (size < sizeof *copy) {
        return -1;
    }
    __builtin_memcpy(copy, base, sizeof *copy);
    __asm__ volatile("" ::: "memory"); /* the checks below are on the copy, never on the region */
    if (copy->magic != DRAW_MAGIC || copy->quad_capacity > DRAW_MAX_QUADS ||
        copy->quad_count > copy->quad_capacity || draw_size(copy->quad_capacity) > size ||
        copy->batch_count > DRAW_MATERIALS) {
        return -1;
    }
    for (uint32_t i = 0; i < copy->batch_count; i++) {
        const struct draw_batch *batch = &copy->batches[i];
        if (batch->first > copy->quad_count || batch->count > copy->quad_count - batch->first) {
            return -1;
        }
    }
    return copy->quad_count;
}

#endif
