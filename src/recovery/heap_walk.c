#include "recovery/heap_walk.h"

#include <string.h>

#define UNIT AEE__HEAP_BLOCK
#define LEAST_UNITS 2u
/* Blocks below one that must fit together. */
#define CHAIN_MAX 128u
#define STATE_USED 0x55534544u
#define STATE_FREE 0x46524545u

struct block {
    uint32_t units;
    uint32_t prev_units;
    uint32_t state;
    uint32_t check;
};

_Static_assert(sizeof(struct block) == UNIT, "one header is one unit");

bool aee__heap_view_open(struct aee__heap_view *view, const uint8_t *object, const void *host,
                         uint64_t base, uint64_t size, uint32_t steps)
{
    uint64_t claimed;
    *view = (struct aee__heap_view){.base = base, .size = size, .steps = steps};
    memcpy(&claimed, object + AEE__HEAP_BASE_AT, sizeof claimed);
    memcpy(&view->top, object + AEE__HEAP_TOP_AT, sizeof view->top);
    memcpy(&view->secret, object + AEE__HEAP_SECRET_AT, sizeof view->secret);
    if (claimed != base || view->top < base || view->top - base > size || view->top % UNIT != 0) {
        return false;
    }
    view->host = host;
    return host != NULL;
}

static uint32_t checksum(const struct aee__heap_view *view, const struct block *block,
                         uint64_t address)
{
    uint64_t x = ((uint64_t)block->units << 32 | block->prev_units) ^ address;
    x ^= (uint64_t)(block->state ^ view->secret) << 17;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(x >> 32) ^ (uint32_t)x;
}

/* A copy of the header at a multiple of a unit, if it is one. */
static bool read_block(const struct aee__heap_view *view, uint64_t at, struct block *block)
{
    if (at < view->base || at - view->base > view->size - UNIT) {
        return false;
    }
    memcpy(block, view->host + (at - view->base), sizeof *block);
    return block->check == checksum(view, block, at) && block->units >= LEAST_UNITS &&
           (uint64_t)block->units * UNIT <= view->size - (at - view->base) &&
           (block->state == STATE_USED || block->state == STATE_FREE);
}

/* An old header within a block of today is as sound as it was, and so may those before it be, down
 * to where the block of today begins. */
static bool is_of_today(struct aee__heap_view *view, uint64_t at, struct block block)
{
    for (unsigned i = 0; i < CHAIN_MAX && block.prev_units > 0 && view->steps > 0; i++) {
        struct block before;
        uint64_t below = (uint64_t)block.prev_units * UNIT;
        view->steps--;
        if (below > at - view->base) {
            return false;
        }
        at -= below;
        if (!read_block(view, at, &before)) {
            return i > 0; /* damaged; the nearest tells whose end it is */
        }
        if (before.units != block.prev_units) {
            return false;
        }
        block = before;
    }
    return block.prev_units > 0 || at == view->base;
}

/* Memory above the top was a free block until it was given back. */
static struct aee__heap_place describe(const struct aee__heap_view *view, uint64_t at,
                                       const struct block *block, uint64_t address)
{
    struct aee__heap_place place = {.size = (uint64_t)(block->units - 1) * UNIT};
    bool used = block->state == STATE_USED && at < view->top;
    if (address - at >= (uint64_t)block->units * UNIT) {
        return (struct aee__heap_place){.kind = AEE__HEAP_UNKNOWN};
    }
    if (address - at < UNIT) { /* in the header: behind the block before, if there is one */
        struct block before;
        uint64_t below = (uint64_t)block->prev_units * UNIT;
        if (below == 0 || below > at - view->base || !read_block(view, at - below, &before)) {
            return (struct aee__heap_place){.kind = AEE__HEAP_UNKNOWN};
        }
        place.size = (uint64_t)(before.units - 1) * UNIT;
        place.offset = address - (at - below) - UNIT;
        place.kind = AEE__HEAP_BEHIND;
        return place;
    }
    place.kind = used ? AEE__HEAP_USED : AEE__HEAP_FREE;
    place.offset = address - at - UNIT;
    return place;
}

struct aee__heap_place aee__heap_place_of(struct aee__heap_view *view, uint64_t address,
                                          uint32_t most)
{
    struct aee__heap_place nothing = {.kind = AEE__HEAP_UNKNOWN};
    if (!view->host || address < view->base || address - view->base >= view->size) {
        return nothing;
    }
    uint64_t at = address - address % UNIT;
    for (uint32_t i = 0; i < most && view->steps > 0; i++) {
        struct block block;
        view->steps--;
        if (read_block(view, at, &block) && is_of_today(view, at, block)) {
            return describe(view, at, &block, address);
        }
        if (at == view->base) {
            break;
        }
        at -= UNIT;
    }
    return nothing;
}
