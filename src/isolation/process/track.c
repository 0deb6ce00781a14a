/* track.c: which pages of its private memory a cell has written. */
#include <asm/unistd_64.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/sys.h"
#include "base/sys_track.h"
#include "ept/pagetable.h"
#include "isolation/process/process_internal.h"

#define RANGES 64u

/* Pages that are copied, or compared, sooner than the kernel is asked about them (0.8 us): they
 * are always told. */
static bool is_tiny(const struct aee__file_map *map)
{
    return map->size <= 4 * AEE__PAGE_SIZE;
}

/* Looking for the end of what is in use (0.5 us) takes less than asking about all of it. */
static bool is_large(const struct aee__file_map *map)
{
    return map->size > AEE__LARGE_PAGE_SIZE;
}

/* While the cell may still be looked into. Where the kernel does not offer it, or forbids it, pages
 * are compared. */
void aee__cell_prepare_tracking(struct aee__vm *vm)
{
    enum { TRACK = 0 }; /* the lowest free descriptor */
    aee__orders_begin(vm);
    (void)AEE__ORDER(vm, "close_range", __NR_close_range, 0, AEE_CELL_FD_SOCKET - 1, 0);
    AEE__ORDER(vm, "userfaultfd", __NR_userfaultfd, AEE__TRACK_FLAGS)->flags = AEE_CELL_MAY_FAIL;
    if (aee__orders_commit(vm, "prepare a cell", NULL) != AEE_OK) {
        return; /* whoever comes next finds out */
    }
    vm->pagemap = aee__sys_process_pagemap(vm->process.pid);
    vm->track = vm->pagemap >= 0 ? aee__sys_process_fd(vm->process.pidfd, TRACK) : -1;
    if (vm->track >= 0 && aee__sys_track_begin(vm->track) != 0) {
        (void)aee__sys_close(vm->track);
        vm->track = -1;
    }
    if (vm->track < 0) {
        (void)aee__sys_close(vm->pagemap);
        vm->pagemap = -1;
    }
}

/* What lives between calls: neither stacks nor the calling protocol's pages. */
static bool is_state(const struct aee__file_map *map)
{
    uint64_t in_stride = (map->gva.value - AEE_GVA_STACKS) % AEE_STACK_STRIDE;
    bool stack = map->gva.value >= AEE_GVA_STACKS && map->gva.value < AEE_GVA_LANES &&
                 in_stride < AEE_STACK_GUARD + AEE_STACK_MAX;
    return (map->rights & AEE__PT_WRITE) && !stack && map->gva.value != AEE_GVA_LANES &&
           map->gva.value + map->size <= AEE_GVA_HEAP + AEE_HEAP_MAX;
}

static aee_result add(struct aee__vm *vm, const struct aee__file_map *map, aee_error *error)
{
    return is_tiny(map) || aee__sys_track_add(vm->track, map->gva.value, map->size) == 0
               ? AEE_OK
               : aee__fail_os(error, errno, "cannot track written pages");
}

/* As what a heap grows by is the continuation of it. */
static bool continues(const struct aee__file_map *map, const struct aee__file_map *next)
{
    return next->gva.value == map->gva.value + map->size && next->offset == map->offset + map->size;
}

static bool note(struct aee__vm *vm, int fd, const struct aee__file_map *map)
{
    struct aee__cell_area *last =
        vm->private_count > 0 ? &vm->private_areas[vm->private_count - 1] : NULL;
    if (last && fd != vm->private_file) {
        return false;
    }
    if (last && is_large(&last->map) && continues(&last->map, map)) {
        last->map.size += map->size;
        return true;
    }
    if (vm->private_count == AEE__CELL_PRIVATE) {
        return false;
    }
    vm->private_areas[vm->private_count++] = (struct aee__cell_area){.map = *map};
    vm->private_file = fd;
    return true;
}

void aee__cell_note_memory(struct aee__vm *vm, int fd, const struct aee__file_map *list,
                           uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (is_state(&list[i]) &&
            ((vm->tracked && add(vm, &list[i], NULL) != AEE_OK) || !note(vm, fd, &list[i]))) {
            vm->untold = true; /* by what we tell: nobody may rely on it any more */
        }
    }
}

aee_result aee__cell_track(struct aee__vm *vm, aee_error *error)
{
    if (vm->track < 0 || vm->untold) {
        return aee__fail(error, AEE_ERR_UNSUPPORTED, "the kernel does not track written pages");
    }
    for (uint32_t i = 0; i < vm->private_count && !vm->tracked; i++) {
        aee_result result = add(vm, &vm->private_areas[i].map, error);
        if (result != AEE_OK) {
            vm->untold = true;
            return result;
        }
    }
    vm->tracked = true;
    return AEE_OK;
}

/* ---- Asking ------------------------------------------------------------------------------- */

static aee_result cannot_tell(aee_error *error)
{
    return aee__fail_os(error, errno, "cannot tell which pages were written");
}

/* [from, to) of an area. */
static void mark(const struct aee__file_map *map, uint64_t *bitmap, uint64_t from, uint64_t to)
{
    uint64_t end = (map->offset + to) / AEE__PAGE_SIZE;
    for (uint64_t page = (map->offset + from) / AEE__PAGE_SIZE; page < end; page++) {
        bitmap[page / 64] |= UINT64_C(1) << (page % 64);
    }
}

/* The next bytes of an area from *at on that the file has pages for, up to *end; 0: there are none,
 * -1 and errno: that cannot be told. */
static int find_pages(const struct aee__vm *vm, const struct aee__file_map *map, uint64_t *at,
                      uint64_t *end)
{
    int64_t stop;
    int64_t start = aee__sys_find_data(vm->private_file, (int64_t)(map->offset + *at), &stop);
    if (start < 0 || (uint64_t)start >= map->offset + map->size) {
        return start == -1 ? -1 : 0;
    }
    *at = (uint64_t)start - map->offset;
    *end = (uint64_t)stop - map->offset;
    *end = *end < map->size ? *end : map->size;
    return 1;
}

/* A cell can only have written what the file has pages for, and pages are never taken from it. The
 * kernel looks at every page up to there, so that much of a heap that is nearly empty would take
 * longer than all else. */
static aee_result look_further(const struct aee__vm *vm, struct aee__cell_area *area,
                               aee_error *error)
{
    uint64_t at = area->seen;
    int found = 1;
    while (is_large(&area->map) && at < area->map.size && found > 0) {
        found = find_pages(vm, &area->map, &at, &area->seen);
        at = area->seen;
    }
    area->seen = is_large(&area->map) ? area->seen : area->map.size;
    return found < 0 ? cannot_tell(error) : AEE_OK;
}

/* What the kernel says of the part that we have seen; marks [0, told) of that. */
static aee_result ask(const struct aee__vm *vm, const struct aee__cell_area *area, uint64_t told,
                      bool protect, uint64_t *bitmap, aee_error *error)
{
    struct aee__page_range ranges[RANGES];
    const uint64_t start = area->map.gva.value;
    for (uint64_t at = start; at < start + area->seen;) {
        uint64_t from = at;
        int count =
            aee__sys_track_written(vm->pagemap, &at, start + area->seen, protect, ranges, RANGES);
        if (count < 0 || at <= from) {
            return cannot_tell(error);
        }
        for (int i = 0; i < count; i++) {
            uint64_t end = ranges[i].end - start;
            mark(&area->map, bitmap, ranges[i].start - start, end < told ? end : told);
        }
    }
    return AEE_OK;
}

/* Of pages that we had not seen the kernel knows nothing yet: those that the file has by now were
 * written. It is asked first: what is written meanwhile is in the file, or told the next time. */
static aee_result look(const struct aee__vm *vm, struct aee__cell_area *area, bool keep,
                       uint64_t *bitmap, aee_error *error)
{
    uint64_t told = area->seen;
    uint64_t at = told;
    uint64_t end;
    if (is_tiny(&area->map)) {
        mark(&area->map, bitmap, 0, area->map.size);
        return AEE_OK;
    }
    aee_result result = look_further(vm, area, error);
    if (result == AEE_OK) {
        result = ask(vm, area, told, !keep || area->seen > told, bitmap, error);
    }
    while (result == AEE_OK && at < area->seen) {
        int found = find_pages(vm, &area->map, &at, &end);
        if (found <= 0) {
            return found < 0 ? cannot_tell(error) : AEE_OK;
        }
        mark(&area->map, bitmap, at, end);
        at = end;
    }
    return result;
}

aee_result aee__cell_written(struct aee__vm *vm, uint64_t *bitmap, uint64_t pages, bool keep,
                             aee_error *error)
{
    aee_result result = vm->tracked && !vm->untold && !atomic_load(&vm->ended)
                            ? AEE_OK
                            : aee__fail(error, AEE_ERR_UNSUPPORTED, "written pages are not known");
    memset(bitmap, 0, pages / 8);
    for (uint32_t i = 0; i < vm->private_count && result == AEE_OK; i++) {
        struct aee__cell_area *area = &vm->private_areas[i];
        result = (area->map.offset + area->map.size) / AEE__PAGE_SIZE > pages
                     ? aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "more pages than were asked for")
                     : look(vm, area, keep, bitmap, error);
    }
    if (result == AEE_OK && !aee__sys_track_is_alive(vm->pagemap, AEE_GVA_IMAGE)) {
        result = aee__fail(error, AEE_ERR_SYSTEM, "the cell has ended");
    }
    return result;
}
