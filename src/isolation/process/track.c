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
    return aee__sys_track_add(vm->track, map->gva.value, map->size) == 0
               ? AEE_OK
               : aee__fail_os(error, errno, "cannot track written pages");
}

void aee__cell_note_memory(struct aee__vm *vm, const struct aee__file_map *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!is_state(&list[i])) {
            continue;
        }
        if (vm->private_count == AEE__CELL_PRIVATE || (vm->tracked && add(vm, &list[i], NULL))) {
            vm->untold = true; /* by what we tell: nobody may rely on it any more */
            continue;
        }
        vm->private_maps[vm->private_count++] = list[i];
    }
}

aee_result aee__cell_track(struct aee__vm *vm, aee_error *error)
{
    if (vm->track < 0 || vm->untold) {
        return aee__fail(error, AEE_ERR_UNSUPPORTED, "the kernel does not track written pages");
    }
    for (uint32_t i = 0; i < vm->private_count && !vm->tracked; i++) {
        aee_result result = add(vm, &vm->private_maps[i], error);
        if (result != AEE_OK) {
            vm->untold = true;
            return result;
        }
    }
    vm->tracked = true;
    return AEE_OK;
}

static aee_result look(struct aee__vm *vm, const struct aee__file_map *map, uint64_t *bitmap,
                       uint64_t pages, aee_error *error)
{
    struct aee__page_range ranges[RANGES];
    uint64_t end = map->gva.value + map->size;
    for (uint64_t at = map->gva.value; at < end;) {
        uint64_t from = at;
        int count = aee__sys_track_written(vm->pagemap, &at, end, ranges, RANGES);
        if (count < 0 || at <= from || (map->offset + map->size) / AEE__PAGE_SIZE > pages) {
            return aee__fail_os(error, errno, "cannot tell which pages were written");
        }
        for (int i = 0; i < count; i++) {
            for (uint64_t gva = ranges[i].start; gva < ranges[i].end; gva += AEE__PAGE_SIZE) {
                uint64_t page = (map->offset + (gva - map->gva.value)) / AEE__PAGE_SIZE;
                bitmap[page / 64] |= UINT64_C(1) << (page % 64);
            }
        }
    }
    return AEE_OK;
}

aee_result aee__cell_written(struct aee__vm *vm, uint64_t *bitmap, uint64_t pages, aee_error *error)
{
    aee_result result = vm->tracked && !vm->untold && !atomic_load(&vm->ended)
                            ? AEE_OK
                            : aee__fail(error, AEE_ERR_UNSUPPORTED, "written pages are not known");
    memset(bitmap, 0, pages / 8);
    for (uint32_t i = 0; i < vm->private_count && result == AEE_OK; i++) {
        result = look(vm, &vm->private_maps[i], bitmap, pages, error);
    }
    return result;
}
