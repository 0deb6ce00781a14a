/* vm.c: KVM virtual machines: descriptors and memory slots. */
#include <errno.h>

#include "base/sys.h"
#include "isolation/kvm/kvm_internal.h"

static void enable_capabilities(const struct aee__vm *vm)
{
    /* Emulation failures come to us instead of becoming #UD in the guest (api.rst 8.28). */
    if (vm->backend->exit_on_emulation_failure) {
        struct kvm_enable_cap cap = {.cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE, .args = {1}};
        (void)aee__sys_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
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

aee_result aee__kvm_vm_add_memory(struct aee__vm *vm, struct aee__gpa gpa, void *host,
                                  uint64_t size, aee_error *error)
{
    struct kvm_userspace_memory_region slot = {.slot = vm->slot_count,
                                               .guest_phys_addr = gpa.value,
                                               .memory_size = size,
                                               .userspace_addr = (uint64_t)(uintptr_t)host};
    if (aee__sys_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) != 0) {
        return aee__fail_os(error, errno, "cannot add a memory slot of %llu bytes",
                            (unsigned long long)size);
    }
    vm->slot_count++;
    return AEE_OK;
}
