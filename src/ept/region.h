/* region.h: memory that an engine shares with contexts. The arena owns one reservation of host
 * addresses; each region owns a memory file that is mapped into it at an offset of its own. The
 * same offset is used in every context's window, so that one number places a region everywhere.
 * Callers serialise (the engine's region lock). */
#ifndef AEE_EPT_REGION_H
#define AEE_EPT_REGION_H

#include "base/alloc.h"
#include "base/error.h"
#include "ept/layout.h"

#define AEE__REGION_GRANULE UINT64_C(0x200000) /* regions start on one and share none */
#define AEE__REGION_GRANULES (AEE_REGIONS_SIZE / AEE__REGION_GRANULE)

struct aee__region_arena {
    uint8_t *base; /* AEE_REGIONS_SIZE bytes of address space */
    uint8_t *reservation;
    uint64_t reservation_size;
    uint64_t used[AEE__REGION_GRANULES / 64]; /* one bit per granule */
};

struct aee__region {
    int fd;
    uint64_t offset; /* in the arena and in windows */
    uint64_t size;   /* multiple of 4 KiB */
    uint8_t *host;
    char name[AEE_NAME_MAX];
    uint32_t same_address; /* contexts see it at its host address */
};

/* On failure *arena is empty and safe to destroy. */
aee_result aee__region_arena_create(struct aee__region_arena *arena, aee_error *error);
void aee__region_arena_destroy(struct aee__region_arena *arena);

/* Takes a place in the arena and maps zeroed memory there. `size` is a multiple of 4 KiB. */
aee_result aee__region_create(struct aee__region_arena *arena, const char *name, uint64_t size,
                              uint32_t same_address, struct aee__region *region, aee_error *error);
void aee__region_destroy(struct aee__region_arena *arena, struct aee__region *region);

/* Where contexts see it. */
struct aee__gva aee__region_gva(const struct aee__region *region);

#endif
