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
#define RECEIVED 0 /* the lowest free descriptor of a cell */

void aee__cell_expect_memory(struct aee__vm *vm)
{
    enum { CONTROL = 0, BYTE = 256, CAPACITY = 64 };
    const uint64_t part[2] = {AEE_CELL_SCRATCH + BYTE, 1};
    uint64_t parts = aee__orders_data(vm, part, sizeof part);
    const uint64_t message[7] = {0, 0, parts, 1, AEE_CELL_SCRATCH + CONTROL, CAPACITY, 0};
    vm->receive = aee__orders_data(vm, message, sizeof message);
}

/* What the message is to be written to is said in read-only memory, where the component cannot
 * change it: it could keep one descriptor back and pass it off for another one later. The kernel
 * takes the descriptor in, and then cannot write back how long the message was: EFAULT, always. */
static void add_receive(struct aee__vm *vm, int flags)
{
    AEE__ORDER(vm, "receiving a memory file", __NR_recvmsg, AEE_CELL_FD_SOCKET, vm->receive,
               (uint64_t)flags)
        ->flags = AEE_CELL_MAY_FAIL;
}

static void add_close(struct aee__vm *vm)
{
    AEE__ORDER(vm, "close", __NR_close, RECEIVED)->flags = AEE_CELL_MAY_FAIL;
}

/* After a list that was not carried out to its end: neither a descriptor nor a message is left for
 * the next one. */
static void clean_up(struct aee__vm *vm)
{
    aee__orders_begin(vm);
    add_close(vm);
    add_receive(vm, MSG_DONTWAIT);
    add_close(vm);
    (void)aee__orders_commit(vm, "clean up", NULL);
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
    aee_result result = allow(vm, list, count, error);
    if (result == AEE_OK && aee__sys_send(vm->socket, fd) != 0) {
        result = aee__fail_os(error, errno, "cannot hand a memory file to a cell");
    }
    if (result != AEE_OK) {
        (void)pthread_mutex_unlock(&vm->orders_lock);
        return result;
    }
    add_receive(vm, 0);
    for (uint32_t i = 0; i < count; i++) {
        (void)AEE__ORDER(vm, "mmap", __NR_mmap, list[i].gva.value, list[i].size,
                         protection(list[i].rights), MAP_SHARED | MAP_FIXED, RECEIVED,
                         list[i].offset);
    }
    add_ready(vm, list, count);
    add_close(vm);
    result = aee__orders_commit(vm, "map memory into a cell", error);
    if (result != AEE_OK) {
        clean_up(vm);
    } else {
        aee__cell_note_memory(vm, fd, list, count);
    }
    return result;
}

/* Where that cannot be done, the cell ends before this returns: then nobody has the memory. */
aee_result aee__cell_unmap(struct aee__vm *vm, struct aee__gva gva, uint64_t size, aee_error *error)
{
    static const struct aee__verdict keeps = {AEE_CRASH_HOST,
                                              "its process could not take a region away"};
    aee__orders_begin(vm);
    (void)AEE__ORDER(vm, "munmap", __NR_munmap, gva.value, size);
    vm->mapped -= size < vm->mapped ? size : vm->mapped;
    aee_error why = {0};
    aee_result result = aee__orders_commit(vm, "take memory from a cell", &why);
    if (result == AEE_OK) {
        return AEE_OK;
    }
    if (why.os_errno != EPIPE) {
        aee__cell_condemn(vm, &keeps);
    }
    return aee__orders_await_end(vm) ? AEE_OK : aee__fail_os(error, why.os_errno, "%s", why.text);
}
