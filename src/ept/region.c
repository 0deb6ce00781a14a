#include "ept/region.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/sys.h"

#define RESERVE_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

/* Addresses away from the program's own mappings: components learn the address of a same-address
 * region, and it must not tell them where libraries and stacks lie. */
#define FIRST_HINT UINT64_C(0x100000000000)
#define HINT_STEP UINT64_C(0x010000000000)
#define HINTS 32u

static uint8_t *reserve_at_hint(void)
{
    for (uint64_t i = 0; i < HINTS; i++) {
        void *hint =
            (void *)(uintptr_t)(FIRST_HINT + i * HINT_STEP); // NOLINT(performance-no-int-to-ptr)
        void *got = aee__sys_mmap(hint, AEE_REGIONS_SIZE, PROT_NONE, RESERVE_FLAGS, -1, 0);
        if (got == hint) {
            return got;
        }
        if (got != MAP_FAILED) { /* taken: the kernel chose another place */
            (void)aee__sys_munmap(got, AEE_REGIONS_SIZE);
        }
    }
    return NULL;
}

aee_result aee__region_arena_create(struct aee__region_arena *arena, aee_error *error)
{
    memset(arena, 0, sizeof *arena);
    arena->base = reserve_at_hint();
    if (arena->base) {
        arena->reservation = arena->base;
        arena->reservation_size = AEE_REGIONS_SIZE;
        return AEE_OK;
    }
    uint64_t size = AEE_REGIONS_SIZE + AEE__REGION_GRANULE;
    void *got = aee__sys_mmap(NULL, size, PROT_NONE, RESERVE_FLAGS, -1, 0);
    if (got == MAP_FAILED) {
        return aee__fail_os(error, errno, "cannot reserve %llu GiB of addresses for regions",
                            (unsigned long long)(AEE_REGIONS_SIZE >> 30));
    }
    arena->reservation = got;
    arena->reservation_size = size;
    uintptr_t aligned =
        ((uintptr_t)got + AEE__REGION_GRANULE - 1) & ~(uintptr_t)(AEE__REGION_GRANULE - 1);
    arena->base = arena->reservation + (aligned - (uintptr_t)got);
    return AEE_OK;
}

void aee__region_arena_destroy(struct aee__region_arena *arena)
{
    if (arena->reservation) {
        (void)aee__sys_munmap(arena->reservation, arena->reservation_size);
    }
    memset(arena, 0, sizeof *arena);
}

/* ---- Places in the arena ------------------------------------------------------------------ */

static bool is_used(const struct aee__region_arena *arena, uint64_t granule)
{
    return (arena->used[granule / 64] >> (granule % 64)) & 1u;
}

static void set_used(struct aee__region_arena *arena, uint64_t first, uint64_t count, bool used)
{
    for (uint64_t i = first; i < first + count; i++) {
        uint64_t bit = UINT64_C(1) << (i % 64);
        arena->used[i / 64] = used ? arena->used[i / 64] | bit : arena->used[i / 64] & ~bit;
    }
}

/* First fit; AEE__REGION_GRANULES when nothing fits. */
static uint64_t find_free(const struct aee__region_arena *arena, uint64_t count)
{
    uint64_t run = 0;
    for (uint64_t i = 0; i < AEE__REGION_GRANULES; i++) {
        run = is_used(arena, i) ? 0 : run + 1;
        if (run == count) {
            return i + 1 - count;
        }
    }
    return AEE__REGION_GRANULES;
}

static uint64_t granules(uint64_t size)
{
    return (size + AEE__REGION_GRANULE - 1) / AEE__REGION_GRANULE;
}

aee_result aee__region_create(struct aee__region_arena *arena, const char *name, uint64_t size,
                              uint32_t same_address, struct aee__region *region, aee_error *error)
{
    *region = (struct aee__region){.fd = -1, .size = size, .same_address = same_address};
    (void)snprintf(region->name, sizeof region->name, "%s", name);
    uint64_t first =
        size <= AEE_REGIONS_SIZE ? find_free(arena, granules(size)) : AEE__REGION_GRANULES;
    if (first == AEE__REGION_GRANULES) {
        return aee__fail(
            error, AEE_ERR_LIMIT,
            "cannot create region \"%s\" of %llu bytes: the %llu GiB for regions are full", name,
            (unsigned long long)size, (unsigned long long)(AEE_REGIONS_SIZE >> 30));
    }
    region->offset = first * AEE__REGION_GRANULE;
    region->fd = aee__sys_memfd("aee-region", size);
    if (region->fd < 0) {
        return aee__fail_os(error, errno, "cannot create region \"%s\"", name);
    }
    void *host = aee__sys_mmap(arena->base + region->offset, size, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_NORESERVE | MAP_FIXED, region->fd, 0);
    if (host == MAP_FAILED) {
        aee_result result = aee__fail_os(error, errno, "cannot map region \"%s\"", name);
        (void)aee__sys_close(region->fd);
        region->fd = -1;
        return result;
    }
    region->host = host;
    set_used(arena, first, granules(size), true);
    return AEE_OK;
}

void aee__region_destroy(struct aee__region_arena *arena, struct aee__region *region)
{
    if (region->fd < 0) {
        return;
    }
    /* The address space stays reserved. Where even that fails, the place is not used again. */
    void *back =
        aee__sys_mmap(region->host, region->size, PROT_NONE, RESERVE_FLAGS | MAP_FIXED, -1, 0);
    if (back != MAP_FAILED) {
        set_used(arena, region->offset / AEE__REGION_GRANULE, granules(region->size), false);
    }
    (void)aee__sys_close(region->fd);
    region->fd = -1;
}

struct aee__gva aee__region_gva(const struct aee__region *region)
{
    return (struct aee__gva){region->same_address ? (uint64_t)(uintptr_t)region->host
                                                  : AEE_GVA_REGIONS + region->offset};
}
