/* vm.c: KVM virtual machines: descriptors and memory slots. */
#include <errno.h>

#include "base/sys.h"
#include "ept/memory.h"
#include "isolation/kvm/kvm_internal.h"

_Static_assert(AEE__KVM_PRIVATE_SLOTS >= AEE__MEMORY_MAX_CHUNKS,
               "every slot of private memory can be tracked");

static void enable_capabilities(struct aee__vm *vm)
{
    /* Emulation failures come to us instead of becoming #UD in the guest (api.rst 8.28). */
    if (vm->backend->exit_on_emulation_failure) {
        struct kvm_enable_cap cap = {.cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE, .args = {1}};
        (void)aee__sys_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
    }
    if (vm->backend->log_stays) {
        struct kvm_enable_cap cap = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
                                     .args = {KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE}};
        vm->log_stays = aee__sys_ioctl(vm->fd, KVM_ENABLE_CAP, &cap) == 0;
    }
}

aee_result aee__kvm_vm_create(struct aee__backend *backend, struct aee__vm **out, aee_error *error)
{
    *out = NULL;
    struct aee__vm *vm = aee__alloc_zero(backend->alloc, 1, sizeof *vm);
    if (!vm) {
        return aee__fail(error, AEE_ERR_NO_MEMORY,
                         "cannot create a virtual machine: out of memory");
    }
    vm->backend = backend;
    for (uint32_t lane = 0; lane < AEE_MAX_LANES; lane++) {
        vm->vcpus[lane].fd = -1;
    }
    vm->fd = aee__sys_ioctl_value(backend->fd, KVM_CREATE_VM, 0);
    if (vm->fd < 0) {
        aee_result result =
            aee__fail_os(error, errno, "cannot create a virtual machine: KVM_CREATE_VM");
        aee__kvm_vm_destroy(vm);
        return result;
    }
    enable_capabilities(vm);
    aee_result result = aee__kvm_vcpu_create(vm, 0, error);
    if (result != AEE_OK) {
        aee__kvm_vm_destroy(vm);
        return result;
    }
    *out = vm;
    return AEE_OK;
}

void aee__kvm_vm_destroy(struct aee__vm *vm)
{
    if (!vm) {
        return;
    }
    for (uint32_t lane = 0; lane < AEE_MAX_LANES; lane++) {
        aee__kvm_vcpu_destroy(vm, lane);
    }
    (void)aee__sys_close(vm->fd);
    aee__alloc_free(vm->backend->alloc, vm, sizeof *vm);
}

/* Adds the slot, or changes its flags. */
static int set_slot(const struct aee__vm *vm, const struct aee__kvm_slot *slot, bool tracked)
{
    struct kvm_userspace_memory_region region = {.slot = slot->number,
                                                 .flags = tracked ? KVM_MEM_LOG_DIRTY_PAGES : 0,
                                                 .guest_phys_addr = slot->gpa.value,
                                                 .memory_size = slot->size,
                                                 .userspace_addr = (uint64_t)(uintptr_t)slot->host};
    return aee__sys_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

aee_result aee__kvm_vm_add_memory(struct aee__vm *vm, struct aee__gpa gpa, void *host,
                                  uint64_t size, aee_error *error)
{
    const struct aee__kvm_slot slot = {
        .number = vm->slot_count, .gpa = gpa, .size = size, .host = host};
    bool private = gpa.value < AEE__GPA_PRIVATE_END && vm->private_count < AEE__KVM_PRIVATE_SLOTS;
    if (set_slot(vm, &slot, private && vm->tracked) != 0) {
        return aee__fail_os(error, errno, "cannot add a memory slot of %llu bytes",
                            (unsigned long long)size);
    }
    vm->slot_count++;
    if (private) {
        vm->slots[vm->private_count++] = slot;
    }
    return AEE_OK;
}

/* ---- Pages that were written -------------------------------------------------------------- */

/* Where the log is on already nothing happens: what it holds stays. */
aee_result aee__kvm_vm_track(struct aee__vm *vm, aee_error *error)
{
    for (uint32_t i = 0; i < vm->private_count; i++) {
        if (set_slot(vm, &vm->slots[i], true) != 0) {
            return aee__fail_os(error, errno, "cannot track written pages");
        }
    }
    vm->tracked = true;
    return AEE_OK;
}

static bool is_any(const uint64_t *bitmap, uint64_t words)
{
    uint64_t any = 0;
    for (uint64_t i = 0; i < words; i++) {
        any |= bitmap[i];
    }
    return any != 0;
}

/* Fetching a log that stays protects no page: those that were written cost no fault when they are
 * written again, and are told again. Clearing it protects those that were told; a page that is
 * written in between stays in the log, or is one of those (api.rst 4.8, KVM_GET_DIRTY_LOG, and
 * KVM_CLEAR_DIRTY_LOG). */
static int fetch_log(const struct aee__vm *vm, const struct aee__kvm_slot *slot, uint64_t *bitmap,
                     bool keep)
{
    uint64_t pages = slot->size / 4096;
    struct kvm_dirty_log log = {.slot = slot->number, .dirty_bitmap = bitmap};
    struct kvm_clear_dirty_log clear = {
        .slot = slot->number, .num_pages = (uint32_t)pages, .dirty_bitmap = bitmap};
    int result = aee__sys_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
    if (result != 0 || keep || !vm->log_stays || !is_any(bitmap, pages / 64)) {
        return result;
    }
    return aee__sys_ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear);
}

/* Each has whole words of the bitmap, as slots are multiples of 2 MiB. Private memory is one
 * stretch from AEE__GPA_PRIVATE on. */
aee_result aee__kvm_vm_written(struct aee__vm *vm, uint64_t *bitmap, uint64_t pages, bool keep,
                               aee_error *error)
{
    for (uint32_t i = 0; i < vm->private_count; i++) {
        const struct aee__kvm_slot *slot = &vm->slots[i];
        uint64_t first = (slot->gpa.value - AEE__GPA_PRIVATE) / 4096;
        if (first + slot->size / 4096 > pages ||
            fetch_log(vm, slot, bitmap + first / 64, keep) != 0) {
            return aee__fail_os(error, errno, "cannot tell which pages were written");
        }
    }
    return AEE_OK;
}
