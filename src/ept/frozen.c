#include "ept/frozen.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/sys.h"

/* Stacks and rings. */
static bool is_passing(const struct aee__memory_area *area)
{
    return (area->rights & AEE__PT_WRITE) && !area->state;
}

static void leave_out_passing(struct aee__pages *pages, const struct aee__memory *memory)
{
    for (uint32_t i = 0; i < memory->area_count; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        if (is_passing(area)) {
            aee__pages_clear(pages, area->offset / AEE__PAGE_SIZE,
                             (area->offset + area->size) / AEE__PAGE_SIZE);
        }
    }
}

static aee_result copy_pages(const struct aee__frozen *frozen, const struct aee__memory *memory,
                             aee_error *error)
{
    uint64_t size = memory->file_size;
    uint8_t *to = aee__sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, frozen->fd, 0);
    if (to == MAP_FAILED) {
        return aee__fail_os(error, errno, "cannot map a copy of guest memory");
    }
    for (uint64_t page = 0; page < size / AEE__PAGE_SIZE; page++) {
        if (aee__pages_has(&frozen->has, page)) {
            memcpy(to + page * AEE__PAGE_SIZE, aee__memory_page(memory, page * AEE__PAGE_SIZE),
                   AEE__PAGE_SIZE);
        }
    }
    (void)aee__sys_munmap(to, size);
    return AEE_OK;
}

aee_result aee__frozen_create(const struct aee__alloc *alloc, const struct aee__memory *memory,
                              const struct aee__memory_plan *plan, struct aee__frozen **out,
                              aee_error *error)
{
    *out = NULL;
    struct aee__frozen *frozen = aee__alloc_zero(alloc, 1, sizeof *frozen);
    if (!frozen) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "out of memory");
    }
    atomic_init(&frozen->references, 1);
    frozen->alloc = alloc;
    frozen->layout = *memory;
    frozen->plan = *plan;
    frozen->plan.heap_size = memory->heap_size;
    frozen->layout.frozen = NULL;
    frozen->layout.chunk_count = 0;
    frozen->layout.areas[memory->area_count - 1].size = memory->heap_size; /* one piece */
    frozen->fd = aee__sys_memfd("aee-template", memory->file_size);
    aee_result result =
        frozen->fd >= 0 ? AEE_OK : aee__fail_os(error, errno, "cannot create a memory file");
    if (result == AEE_OK && !aee__pages_create(&frozen->has, alloc, memory->file_size)) {
        result = aee__fail(error, AEE_ERR_NO_MEMORY, "out of memory");
    }
    if (result == AEE_OK) {
        result = aee__memory_find_present(memory, &frozen->has, error);
    }
    if (result == AEE_OK) {
        leave_out_passing(&frozen->has, memory);
        result = copy_pages(frozen, memory, error);
    }
    if (result != AEE_OK) {
        aee__frozen_release(frozen);
        return result;
    }
    *out = frozen;
    return AEE_OK;
}

struct aee__frozen *aee__frozen_take(struct aee__frozen *frozen)
{
    (void)atomic_fetch_add_explicit(&frozen->references, 1, memory_order_relaxed);
    return frozen;
}

void aee__frozen_release(struct aee__frozen *frozen)
{
    if (frozen && atomic_fetch_sub_explicit(&frozen->references, 1, memory_order_acq_rel) == 1) {
        aee__pages_destroy(&frozen->has, frozen->alloc);
        (void)aee__sys_close(frozen->fd);
        aee__alloc_free(frozen->alloc, frozen, sizeof *frozen);
    }
}

/* ---- Memory of forks ---------------------------------------------------------------------- */

/* What every call writes costs less as zeroes than as a copy of zeroes. */
static aee_result map_passing(const struct aee__memory *memory, aee_error *error)
{
    for (uint32_t i = 0; i < memory->area_count; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        void *at = memory->chunks[0].host + area->offset;
        if (is_passing(area) &&
            aee__sys_mmap(at, area->size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
                          0) == MAP_FAILED) {
            return aee__fail_os(error, errno, "cannot map a fork's stacks");
        }
    }
    return AEE_OK;
}

static aee_result thaw_by_kernel(struct aee__frozen *frozen, struct aee__memory *memory,
                                 aee_error *error)
{
    uint64_t size = frozen->layout.file_size;
    *memory = frozen->layout;
    memory->fd = -1;
    memory->huge_pages = false;
    memory->frozen = aee__frozen_take(frozen);
    uint8_t *host = aee__sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
                                  frozen->fd, 0);
    if (host == MAP_FAILED) {
        return aee__fail_os(error, errno, "cannot map %llu bytes of a template",
                            (unsigned long long)size);
    }
    memory->chunks[0] =
        (struct aee__memory_chunk){.gpa = {AEE__GPA_PRIVATE}, .host = host, .size = size};
    memory->chunk_count = 1;
    memory->table.pool = host + (frozen->layout.table.base.value - AEE__GPA_PRIVATE);
    aee_result result = map_passing(memory, error);
    (void)aee__sys_madvise(host, size, MADV_DONTFORK);
    (void)aee__sys_madvise(host, size, MADV_DONTDUMP);
    if (result == AEE_OK) {
        aee__memory_populate_fork(memory, &frozen->plan);
    }
    return result;
}

static aee_result thaw_by_copy(struct aee__frozen *frozen, struct aee__memory *memory,
                               aee_error *error)
{
    uint64_t size = frozen->layout.file_size;
    aee_result result = aee__memory_create(memory, &frozen->plan, error);
    if (result != AEE_OK) {
        return result;
    }
    uint8_t *from = aee__sys_mmap(NULL, size, PROT_READ, MAP_SHARED, frozen->fd, 0);
    if (from == MAP_FAILED) {
        return aee__fail_os(error, errno, "cannot map %llu bytes of a template",
                            (unsigned long long)size);
    }
    for (uint64_t page = 0; page < size / AEE__PAGE_SIZE; page++) {
        if (aee__pages_has(&frozen->has, page)) {
            memcpy(aee__memory_page(memory, page * AEE__PAGE_SIZE), from + page * AEE__PAGE_SIZE,
                   AEE__PAGE_SIZE);
        }
    }
    (void)aee__sys_munmap(from, size);
    return AEE_OK;
}

aee_result aee__frozen_thaw(struct aee__frozen *frozen, struct aee__memory *memory,
                            aee_error *error)
{
    aee_result result = frozen->plan.without_tables ? thaw_by_copy(frozen, memory, error)
                                                    : thaw_by_kernel(frozen, memory, error);
    if (result != AEE_OK) {
        aee__memory_destroy(memory);
    }
    return result;
}
