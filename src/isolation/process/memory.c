/* memory.c: what a cell sees. */
#include <asm/unistd_64.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/checked.h"
#include "ept/pagetable.h"
#include "isolation/process/process_internal.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define RECEIVED 3 /* the lowest free descriptor of a cell */

/* The kernel writes into the message when the descriptor comes; a component that changes it there
 * only keeps the descriptor away, and the order after it fails. */
static void add_receive(struct aee__vm *vm)
{
    enum { PART = 64, CONTROL = 128, BYTE = 256, CAPACITY = 64 };
    uint8_t *scratch = vm->control->scratch;
    const uint64_t base = AEE_CELL_SCRATCH;
    const uint64_t message[7] = {0, 0, base + PART, 1, base + CONTROL, CAPACITY, 0};
    const uint64_t part[2] = {base + BYTE, 1};
    memcpy(scratch, message, sizeof message);
    memcpy(scratch + PART, part, sizeof part);
    (void)AEE__ORDER(vm, "receiving a memory file", __NR_recvmsg, AEE_CELL_FD_SOCKET, base, 0);
}

static uint64_t protection(uint32_t rights)
{
    return (uint64_t)PROT_READ | (rights & AEE__PT_WRITE ? PROT_WRITE : 0u) |
           (rights & AEE__PT_EXECUTE ? PROT_EXEC : 0u);
}

static bool is_own(struct aee__gva gva, uint64_t size)
{
    const uint64_t end = AEE_CELL_CONTROL + sizeof(struct aee_cell_control);
    return gva.value < end && size > 0 && gva.value + size > AEE_CELL_TEXT;
}

/* With orders_lock held. The control group's limit follows what is mapped: a cell can have no other
 * memory, but for what the kernel needs to run it. What is mapped anew with other rights counts
 * twice until it goes. */
static aee_result allow(struct aee__vm *vm, const struct aee__file_map *list, uint32_t count,
                        aee_error *error)
{
    const uint64_t own = UINT64_C(16) << 20;
    uint64_t mapped = vm->mapped;
    for (uint32_t i = 0; i < count; i++) {
        mapped += list[i].size;
    }
    if (!aee__cgroups_set_memory(&vm->backend->groups, vm->id, mapped + own)) {
        return aee__fail_os(error, errno, "cannot map memory into a cell: its control group");
    }
    vm->mapped = mapped;
    return AEE_OK;
}

/* Fills the cell's own page tables, so that the first touch of a page is no fault; kernels without
 * MADV_POPULATE_WRITE (Linux 5.14) do without. Only before the cell is sealed: the servant loses
 * the call then. */
static void add_ready(struct aee__vm *vm, const struct aee__file_map *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t ready = list[i].ready < list[i].size ? list[i].ready : list[i].size;
        if (ready > 0) {
            AEE__ORDER(vm, "madvise", __NR_madvise, list[i].gva.value, ready, MADV_POPULATE_WRITE)
                ->flags = AEE_CELL_MAY_FAIL;
        }
    }
}

aee_result aee__cell_map(struct aee__vm *vm, int fd, const struct aee__file_map *list,
                         uint32_t count, aee_error *error)
{
    for (uint32_t i = 0; i < count; i++) {
        if (is_own(list[i].gva, list[i].size)) {
            return aee__fail(error, AEE_ERR_LIMIT,
                             "cannot map memory at 0x%llx: a cell has its own there",
                             (unsigned long long)list[i].gva.value);
        }
    }
    aee__orders_begin(vm);
    if (aee__sys_send(vm->socket, fd) != 0) {
        int os_errno = errno;
        (void)pthread_mutex_unlock(&vm->orders_lock);
        return aee__fail_os(error, os_errno, "cannot hand a memory file to a cell");
    }
    add_receive(vm);
    for (uint32_t i = 0; i < count; i++) {
        (void)AEE__ORDER(vm, "mmap", __NR_mmap, list[i].gva.value, list[i].size,
                         protection(list[i].rights), MAP_SHARED | MAP_FIXED, RECEIVED,
                         list[i].offset);
    }
    add_ready(vm, list, count);
    (void)AEE__ORDER(vm, "close", __NR_close, RECEIVED);
    aee_result result = allow(vm, list, count, error);
    if (result != AEE_OK) {
        (void)pthread_mutex_unlock(&vm->orders_lock);
        return result;
    }
    return aee__orders_commit(vm, "map memory into a cell", error);
}

aee_result aee__cell_unmap(struct aee__vm *vm, struct aee__gva gva, uint64_t size, aee_error *error)
{
    aee__orders_begin(vm);
    (void)AEE__ORDER(vm, "munmap", __NR_munmap, gva.value, size);
    vm->mapped -= size < vm->mapped ? size : vm->mapped;
    return aee__orders_commit(vm, "take memory from a cell", error);
}
