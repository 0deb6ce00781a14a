#include "ept/shadow.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/sys.h"

/* ---- Life --------------------------------------------------------------------------------- */

aee_result aee__shadow_create(struct aee__shadow *shadow, const struct aee__alloc *alloc,
                              uint64_t file_size, aee_error *error)
{
    *shadow = (struct aee__shadow){.alloc = alloc, .bytes = MAP_FAILED};
    if (aee__pages_create(&shadow->has, alloc, file_size) &&
        aee__pages_create(&shadow->work, alloc, file_size)) {
        shadow->bytes =
            aee__sys_mmap(NULL, shadow->has.count * AEE__PAGE_SIZE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (shadow->bytes == MAP_FAILED) {
        aee__shadow_destroy(shadow);
        return aee__fail(error, AEE_ERR_NO_MEMORY, "no memory for a copy of %llu bytes",
                         (unsigned long long)file_size);
    }
    (void)aee__sys_madvise(shadow->bytes, shadow->has.count * AEE__PAGE_SIZE, MADV_DONTFORK);
    return AEE_OK;
}

void aee__shadow_destroy(struct aee__shadow *shadow)
{
    if (shadow->alloc) {
        if (shadow->bytes != MAP_FAILED) {
            (void)aee__sys_munmap(shadow->bytes, shadow->has.count * AEE__PAGE_SIZE);
        }
        aee__pages_destroy(&shadow->has, shadow->alloc);
        aee__pages_destroy(&shadow->work, shadow->alloc);
    }
    *shadow = (struct aee__shadow){.bytes = MAP_FAILED};
}

aee_result aee__shadow_grow(struct aee__shadow *shadow, uint64_t file_size, aee_error *error)
{
    struct aee__shadow larger;
    if (file_size <= shadow->has.count * AEE__PAGE_SIZE) {
        return AEE_OK;
    }
    aee_result result = aee__shadow_create(&larger, shadow->alloc, file_size, error);
    if (result != AEE_OK || !larger.has.bits) {
        return result;
    }
    for (uint64_t i = 0; i < aee__pages_words(&shadow->has); i++) {
        larger.has.bits[i] = shadow->has.bits[i];
    }
    AEE__EACH_PAGE (&shadow->has, page) {
        memcpy(larger.bytes + page * AEE__PAGE_SIZE, shadow->bytes + page * AEE__PAGE_SIZE,
               AEE__PAGE_SIZE);
    }
    aee__shadow_destroy(shadow);
    *shadow = larger;
    return AEE_OK;
}

/* ---- Which pages -------------------------------------------------------------------------- */

aee_result aee__shadow_find_present(struct aee__shadow *shadow, const struct aee__memory *memory,
                                    aee_error *error)
{
    memcpy(shadow->work.bits, shadow->has.bits, aee__pages_words(&shadow->work) * sizeof(uint64_t));
    return aee__memory_find_present(memory, &shadow->work, error);
}

static bool is_same(const struct aee__shadow *shadow, const struct aee__memory *memory,
                    uint64_t page)
{
    uint64_t offset = page * AEE__PAGE_SIZE;
    return aee__pages_has(&shadow->has, page) &&
           memcmp(aee__memory_page(memory, offset), shadow->bytes + offset, AEE__PAGE_SIZE) == 0;
}

uint64_t aee__shadow_narrow(struct aee__shadow *shadow, const struct aee__memory *memory,
                            bool compare)
{
    struct aee__pages *work = &shadow->work;
    uint64_t at = 0; /* areas come in the order of the file */
    uint64_t left = 0;
    for (uint32_t i = 0; i < memory->area_count; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        if (area->state) {
            aee__pages_clear(work, at, area->offset / AEE__PAGE_SIZE);
            at = (area->offset + aee__memory_area_size(memory, i)) / AEE__PAGE_SIZE;
        }
    }
    aee__pages_clear(work, at, work->count);
    AEE__EACH_PAGE (work, page) {
        if (compare && is_same(shadow, memory, page)) {
            aee__pages_clear(work, page, page + 1);
        } else {
            left++;
        }
    }
    return left;
}

/* ---- There and back ----------------------------------------------------------------------- */

static bool reserve(const struct aee__alloc *alloc, struct aee__undo *undo, uint64_t pages,
                    uint64_t bytes)
{
    if (pages > undo->pages_room) {
        uint64_t *list = aee__alloc_resize(alloc, undo->pages, undo->pages_room * sizeof *list,
                                           pages * sizeof *list);
        if (!list) {
            return false;
        }
        undo->pages = list;
        undo->pages_room = pages;
    }
    if (bytes > undo->bytes_room) {
        uint8_t *room = aee__alloc_resize(alloc, undo->bytes, undo->bytes_room, bytes);
        if (!room) {
            return false;
        }
        undo->bytes = room;
        undo->bytes_room = bytes;
    }
    return true;
}

void aee__undo_free(struct aee__undo *undo, const struct aee__alloc *alloc)
{
    aee__alloc_free(alloc, undo->pages, undo->pages_room * sizeof *undo->pages);
    aee__alloc_free(alloc, undo->bytes, undo->bytes_room);
    *undo = (struct aee__undo){0};
}

uint64_t aee__undo_bytes(const struct aee__undo *undo)
{
    return undo->pages_room * sizeof *undo->pages + undo->bytes_room;
}

static void count_work(const struct aee__shadow *shadow, uint64_t *pages, uint64_t *held)
{
    *pages = 0;
    *held = 0;
    for (uint64_t i = 0; i < aee__pages_words(&shadow->work); i++) {
        *pages += (uint64_t)__builtin_popcountll(shadow->work.bits[i]);
        *held += (uint64_t)__builtin_popcountll(shadow->work.bits[i] & shadow->has.bits[i]);
    }
}

aee_result aee__shadow_update(struct aee__shadow *shadow, const struct aee__memory *memory,
                              struct aee__undo *undo, aee_error *error)
{
    uint64_t pages;
    uint64_t held;
    count_work(shadow, &pages, &held);
    if (!reserve(shadow->alloc, undo, pages, held * AEE__PAGE_SIZE)) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "no memory for %llu changed pages",
                         (unsigned long long)pages);
    }
    undo->count = 0;
    undo->held = 0;
    AEE__EACH_PAGE (&shadow->work, page) {
        uint8_t *copy = shadow->bytes + page * AEE__PAGE_SIZE;
        bool had = aee__pages_has(&shadow->has, page);
        undo->pages[undo->count++] = page * 2 + had;
        if (had) {
            memcpy(undo->bytes + undo->held++ * AEE__PAGE_SIZE, copy, AEE__PAGE_SIZE);
        }
        memcpy(copy, aee__memory_page(memory, page * AEE__PAGE_SIZE), AEE__PAGE_SIZE);
        aee__pages_mark(&shadow->has, page);
    }
    return AEE_OK;
}

void aee__shadow_undo(struct aee__shadow *shadow, const struct aee__undo *undo)
{
    uint64_t held = 0;
    for (uint64_t i = 0; i < undo->count; i++) {
        uint64_t page = undo->pages[i] / 2;
        aee__pages_mark(&shadow->work, page);
        if (undo->pages[i] % 2) {
            memcpy(shadow->bytes + page * AEE__PAGE_SIZE, undo->bytes + held++ * AEE__PAGE_SIZE,
                   AEE__PAGE_SIZE);
        } else {
            aee__pages_clear(&shadow->has, page, page + 1);
        }
    }
}

uint64_t aee__shadow_restore(struct aee__shadow *shadow, const struct aee__memory *memory)
{
    uint64_t pages = 0;
    AEE__EACH_PAGE (&shadow->work, page) {
        uint8_t *to = aee__memory_page(memory, page * AEE__PAGE_SIZE);
        if (aee__pages_has(&shadow->has, page)) {
            memcpy(to, shadow->bytes + page * AEE__PAGE_SIZE, AEE__PAGE_SIZE);
        } else {
            memset(to, 0, AEE__PAGE_SIZE);
        }
        pages++;
    }
    return pages;
}

static const struct aee__memory_area *area_at(const struct aee__memory *memory, uint64_t offset)
{
    for (uint32_t i = 0; i < memory->area_count; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        if (offset - area->offset < aee__memory_area_size(memory, i)) {
            return area;
        }
    }
    return NULL;
}

/* Where an address lies in the file, with the heap's growth; UINT64_MAX for nowhere. */
static uint64_t find(const struct aee__memory *memory, uint64_t gva)
{
    for (uint32_t i = 0; i < memory->area_count; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        if (area->state && gva - area->gva.value < aee__memory_area_size(memory, i)) {
            return area->offset + (gva - area->gva.value);
        }
    }
    return UINT64_MAX;
}

/* What the image put there and the copy does not have was never written, nor read: the copy was
 * made of all pages that had memory. */
void aee__shadow_apply(struct aee__shadow *shadow, const struct aee__memory *from,
                       const struct aee__memory *memory)
{
    AEE__EACH_PAGE (&shadow->has, page) {
        const struct aee__memory_area *area = area_at(from, page * AEE__PAGE_SIZE);
        uint64_t to = UINT64_MAX;
        if (area && area->state) {
            to = find(memory, area->gva.value + (page * AEE__PAGE_SIZE - area->offset));
        }
        if (to != UINT64_MAX) {
            memcpy(aee__memory_page(memory, to), shadow->bytes + page * AEE__PAGE_SIZE,
                   AEE__PAGE_SIZE);
        }
    }
}

/* ---- From and to other places ------------------------------------------------------------- */

uint8_t *aee__shadow_fill(struct aee__shadow *shadow, uint64_t offset, uint64_t size)
{
    uint64_t end = (offset + size + AEE__PAGE_SIZE - 1) / AEE__PAGE_SIZE;
    for (uint64_t page = offset / AEE__PAGE_SIZE; page < end; page++) {
        aee__pages_mark(&shadow->has, page);
    }
    return shadow->bytes + offset;
}

const uint8_t *aee__shadow_page(const struct aee__shadow *shadow, uint64_t offset)
{
    return aee__pages_has(&shadow->has, offset / AEE__PAGE_SIZE) ? shadow->bytes + offset : NULL;
}

void aee__shadow_drop_zeroes(struct aee__shadow *shadow)
{
    AEE__EACH_PAGE (&shadow->has, page) {
        const uint8_t *bytes = shadow->bytes + page * AEE__PAGE_SIZE;
        if (bytes[0] == 0 && memcmp(bytes, bytes + 1, AEE__PAGE_SIZE - 1) == 0) {
            aee__pages_clear(&shadow->has, page, page + 1);
        }
    }
}
