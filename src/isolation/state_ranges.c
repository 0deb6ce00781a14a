#include "isolation/state_ranges.h"

#include "base/checked.h"
#include "isolation/context.h"

void aee__state_ranges_begin(struct aee__state_ranges *ranges, const struct aee__image *image)
{
    ranges->count = 0;
    ranges->declared = image->state_size > 0;
    if (ranges->declared) {
        ranges->ranges[ranges->count++] =
            (struct aee__state_range){{image->state_start}, image->state_size};
    }
}

/* The heap is the last area, and goes on in a chunk of its own for each growth. */
static uint8_t *heap_at(const struct aee__memory *memory, uint64_t offset, uint64_t *available)
{
    const struct aee__memory_area *area = &memory->areas[memory->area_count - 1];
    if (offset < area->size) {
        *available = area->size - offset;
        return memory->chunks[0].host + area->offset + offset;
    }
    uint64_t start = area->size;
    for (uint32_t i = 1; i < memory->chunk_count; i++) {
        const struct aee__memory_chunk *chunk = &memory->chunks[i];
        if (offset - start < chunk->size) {
            *available = chunk->size - (offset - start);
            return chunk->host + (offset - start);
        }
        start += chunk->size;
    }
    return NULL;
}

static uint8_t *segment_at(const struct aee__memory *memory, uint64_t gva, uint64_t *available)
{
    for (uint32_t i = 0; i < memory->area_count; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        if ((area->rights & AEE__PT_WRITE) && gva - area->gva.value < area->size) {
            *available = area->size - (gva - area->gva.value);
            return memory->chunks[0].host + area->offset + (gva - area->gva.value);
        }
    }
    return NULL;
}

uint8_t *aee__state_ranges_at(const struct aee__memory *memory, struct aee__gva gva, uint64_t *size)
{
    uint64_t available = 0;
    uint8_t *at = NULL;
    if (gva.value - AEE_GVA_HEAP < memory->heap_size) {
        at = heap_at(memory, gva.value - AEE_GVA_HEAP, &available);
    } else if (gva.value - AEE_GVA_IMAGE < AEE_GVA_IMAGE_END - AEE_GVA_IMAGE) {
        at = segment_at(memory, gva.value, &available);
    }
    *size = *size < available ? *size : available;
    return at;
}

/* ---- Orders of components ----------------------------------------------------------------- */

/* All of it is memory that the component may write, and that is its own between calls. */
static bool is_state(const struct aee__memory *memory, struct aee__gva gva, uint64_t size)
{
    while (size > 0) {
        uint64_t piece = size;
        if (!aee__state_ranges_at(memory, gva, &piece)) {
            return false;
        }
        gva.value += piece;
        size -= piece;
    }
    return true;
}

static int32_t add(struct aee__state_ranges *ranges, const struct aee__memory *memory,
                   struct aee__gva gva, uint64_t size)
{
    uint64_t total = size;
    uint64_t end;
    if (size == 0 || !aee__add(gva.value, size, &end)) {
        return AEE_HOST_BAD;
    }
    for (uint32_t i = 0; i < ranges->count; i++) {
        const struct aee__state_range *range = &ranges->ranges[i];
        if (gva.value < range->gva.value + range->size && range->gva.value < end) {
            return AEE_HOST_BAD;
        }
        total += i >= ranges->declared ? range->size : 0; /* they do not overlap: below 2^64 */
    }
    if (!is_state(memory, gva, size)) {
        return AEE_HOST_BAD;
    }
    if (ranges->count - ranges->declared == AEE_STATE_RANGES_MAX || total > AEE_STATE_BYTES_MAX) {
        return AEE_HOST_LIMIT;
    }
    ranges->ranges[ranges->count++] = (struct aee__state_range){gva, size};
    return AEE_HOST_OK;
}

/* The others keep their order, which the checksum depends on. */
static int32_t take_away(struct aee__state_ranges *ranges, struct aee__gva gva)
{
    uint32_t at = ranges->declared;
    while (at < ranges->count && ranges->ranges[at].gva.value != gva.value) {
        at++;
    }
    if (at == ranges->count) {
        return AEE_HOST_NOT_FOUND;
    }
    ranges->count--;
    for (; at < ranges->count; at++) {
        ranges->ranges[at] = ranges->ranges[at + 1];
    }
    return AEE_HOST_OK;
}

int32_t aee__state_ranges_order(struct aee__state_ranges *ranges, const struct aee__memory *memory,
                                uint64_t order, struct aee__gva gva, uint64_t size)
{
    switch (order) {
    case AEE_STATE_ORDER_ADD:
        return add(ranges, memory, gva, size);
    case AEE_STATE_ORDER_REMOVE:
        return take_away(ranges, gva);
    default:
        return AEE_HOST_BAD;
    }
}

/* ---- Of instances ------------------------------------------------------------------------- */

void aee__instance_state_ranges(struct aee__instance *instance, struct aee__state_ranges *out)
{
    (void)pthread_mutex_lock(&instance->context->lock);
    *out = instance->state;
    (void)pthread_mutex_unlock(&instance->context->lock);
}

void aee__instance_set_state_ranges(struct aee__instance *instance,
                                    const struct aee__state_ranges *ranges)
{
    (void)pthread_mutex_lock(&instance->context->lock);
    instance->state = *ranges;
    (void)pthread_mutex_unlock(&instance->context->lock);
}
