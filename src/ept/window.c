#include "ept/window.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "base/sys.h"

#define RESERVE_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

void aee__window_init(struct aee__window *window, const struct aee__alloc *alloc,
                      struct aee__pagetable *table, const struct aee__window_ops *ops, void *vm)
{
    memset(window, 0, sizeof *window);
    window->alloc = alloc;
    window->table = table;
    window->ops = ops;
    window->vm = vm;
}

void aee__window_destroy(struct aee__window *window)
{
    for (uint64_t i = 0; window->chunks && i < AEE__WINDOW_CHUNKS; i++) {
        if (window->chunks[i]) {
            (void)aee__sys_munmap(window->chunks[i], AEE__WINDOW_CHUNK);
        }
    }
    if (window->chunks) {
        aee__alloc_free(window->alloc, window->chunks, AEE__WINDOW_CHUNKS * sizeof *window->chunks);
    }
    memset(window, 0, sizeof *window);
}

static aee_result need_chunk(struct aee__window *window, uint64_t index, aee_error *error)
{
    if (!window->chunks) {
        window->chunks = aee__alloc_zero(window->alloc, AEE__WINDOW_CHUNKS, sizeof *window->chunks);
    }
    if (!window->chunks) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot reserve a region window: out of memory");
    }
    if (window->chunks[index]) {
        return AEE_OK;
    }
    void *host = aee__sys_mmap(NULL, AEE__WINDOW_CHUNK, PROT_NONE, RESERVE_FLAGS, -1, 0);
    if (host == MAP_FAILED) {
        return aee__fail_os(error, errno, "cannot reserve a region window");
    }
    (void)aee__sys_madvise(host, AEE__WINDOW_CHUNK, MADV_DONTFORK);
    struct aee__gpa gpa = {AEE__GPA_REGIONS + index * AEE__WINDOW_CHUNK};
    aee_result result = window->ops->add_slot(window->vm, gpa, host, AEE__WINDOW_CHUNK, error);
    if (result != AEE_OK) {
        (void)aee__sys_munmap(host, AEE__WINDOW_CHUNK);
        return result;
    }
    window->chunks[index] = host;
    return AEE_OK;
}

/* The part of a region that lies in one chunk. */
struct piece {
    uint64_t chunk;
    uint64_t in_chunk;
    uint64_t in_region;
    uint64_t size;
};

static bool next_piece(const struct aee__region *region, uint64_t done, struct piece *piece)
{
    if (done >= region->size) {
        return false;
    }
    uint64_t at = region->offset + done;
    piece->chunk = at / AEE__WINDOW_CHUNK;
    piece->in_chunk = at % AEE__WINDOW_CHUNK;
    piece->in_region = done;
    piece->size = region->size - done;
    if (piece->size > AEE__WINDOW_CHUNK - piece->in_chunk) {
        piece->size = AEE__WINDOW_CHUNK - piece->in_chunk;
    }
    return true;
}

static aee_result map_pieces(struct aee__window *window, const struct aee__region *region,
                             uint32_t writable, aee_error *error)
{
    struct piece piece;
    for (uint64_t done = 0; next_piece(region, done, &piece); done += piece.size) {
        aee_result result = need_chunk(window, piece.chunk, error);
        if (result != AEE_OK) {
            return result;
        }
        uint8_t *at = window->chunks[piece.chunk] + piece.in_chunk;
        if (aee__sys_mmap(at, piece.size, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                          MAP_SHARED | MAP_FIXED | MAP_NORESERVE, region->fd,
                          (off_t)piece.in_region) == MAP_FAILED) {
            return aee__fail_os(error, errno, "cannot map region \"%s\" into a context",
                                region->name);
        }
        (void)aee__sys_madvise(at, piece.size, MADV_DONTFORK);
    }
    return AEE_OK;
}

aee_result aee__window_map(struct aee__window *window, const struct aee__region *region,
                           uint32_t writable, aee_error *error)
{
    if (window->ops->show) {
        return window->ops->show(window->vm, aee__region_gva(region), region->fd, region->size,
                                 writable, error);
    }
    aee_result result = map_pieces(window, region, writable, error);
    if (result == AEE_OK) {
        /* Whole granules: a large page where the rest of the granule is backed by nothing. */
        uint64_t size = (region->size + AEE__REGION_GRANULE - 1) & ~(AEE__REGION_GRANULE - 1);
        result = aee__pagetable_map(
            window->table, aee__region_gva(region),
            (struct aee__gpa){AEE__GPA_REGIONS + region->offset}, size,
            AEE__PT_USER | AEE__PT_LARGE | (writable ? (uint32_t)AEE__PT_WRITE : 0), error);
    }
    if (result != AEE_OK) {
        (void)aee__window_unmap(window, region, NULL);
    }
    return result;
}

aee_result aee__window_unmap(struct aee__window *window, const struct aee__region *region,
                             aee_error *error)
{
    if (window->ops->hide) {
        return window->ops->hide(window->vm, aee__region_gva(region), region->size, error);
    }
    struct piece piece;
    for (uint64_t done = 0; window->chunks && next_piece(region, done, &piece);
         done += piece.size) {
        if (!window->chunks[piece.chunk]) {
            continue;
        }
        uint8_t *at = window->chunks[piece.chunk] + piece.in_chunk;
        if (aee__sys_mmap(at, piece.size, PROT_NONE, RESERVE_FLAGS | MAP_FIXED, -1, 0) ==
            MAP_FAILED) {
            return aee__fail_os(error, errno, "cannot revoke region \"%s\"", region->name);
        }
        (void)aee__sys_madvise(at, piece.size, MADV_DONTFORK);
    }
    return AEE_OK;
}
