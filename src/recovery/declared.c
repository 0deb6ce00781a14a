#include "recovery/declared.h"

#include <string.h>

static uint64_t size_of(const struct aee__state_ranges *ranges)
{
    uint64_t size = 0; /* they do not overlap: it is less than the guest's memory */
    for (uint32_t i = 0; i < ranges->count; i++) {
        size += ranges->ranges[i].size;
    }
    return size;
}

/* Where the next bytes of a range are. */
static uint8_t *next_piece(const struct aee__instance *instance,
                           const struct aee__state_range *range, uint64_t done, uint64_t *size)
{
    *size = range->size - done;
    return aee__state_ranges_at(&instance->memory, (struct aee__gva){range->gva.value + done},
                                size);
}

/* Every byte of them has memory in that instance. */
static bool exists(const struct aee__instance *instance, const struct aee__state_ranges *ranges)
{
    for (uint32_t i = 0; i < ranges->count; i++) {
        uint64_t size;
        for (uint64_t done = 0; done < ranges->ranges[i].size; done += size) {
            if (!next_piece(instance, &ranges->ranges[i], done, &size)) {
                return false;
            }
        }
    }
    return true;
}

static void copy(const struct aee__instance *instance, const struct aee__state_ranges *ranges,
                 uint8_t *bytes, bool back)
{
    for (uint32_t i = 0; i < ranges->count; i++) {
        uint64_t size;
        for (uint64_t done = 0; done < ranges->ranges[i].size; done += size) {
            uint8_t *at = next_piece(instance, &ranges->ranges[i], done, &size);
            memcpy(back ? at : bytes, back ? bytes : at, size);
            bytes += size;
        }
    }
}

aee_result aee__declared_take(struct aee__declared *declared, const struct aee__alloc *alloc,
                              struct aee__instance *instance, aee_error *error)
{
    struct aee__state_ranges ranges;
    aee__instance_state_ranges(instance, &ranges);
    uint64_t size = size_of(&ranges);
    if (size == 0) {
        return aee__fail(error, AEE_ERR_STATE, "its component has declared no state");
    }
    if (!exists(instance, &ranges)) {
        return aee__fail(error, AEE_ERR_STATE, "a range of its declared state has no memory");
    }
    if (size > declared->room) {
        uint8_t *bytes = aee__alloc_resize(alloc, declared->bytes, declared->room, size);
        if (!bytes) {
            return aee__fail(error, AEE_ERR_NO_MEMORY, "no memory for %llu bytes of state",
                             (unsigned long long)size);
        }
        declared->bytes = bytes;
        declared->room = size;
    }
    declared->ranges = ranges;
    declared->size = size;
    copy(instance, &ranges, declared->bytes, false);
    return AEE_OK;
}

aee_result aee__declared_put(const struct aee__declared *declared, struct aee__instance *instance,
                             aee_error *error)
{
    if (!exists(instance, &declared->ranges)) {
        return aee__fail(error, AEE_ERR_STATE, "a range of its declared state has no memory");
    }
    copy(instance, &declared->ranges, declared->bytes, true);
    aee__instance_set_state_ranges(instance, &declared->ranges);
    return AEE_OK;
}

void aee__declared_free(struct aee__declared *declared, const struct aee__alloc *alloc)
{
    aee__alloc_free(alloc, declared->bytes, declared->room);
    *declared = (struct aee__declared){0};
}

uint64_t aee__declared_bytes(const struct aee__declared *declared)
{
    return declared->room;
}
