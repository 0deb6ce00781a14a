/* cpuid_x86_64.c: what the guest's CPUID says: what KVM supports, less what a component must not
 * use. */
#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "isolation/kvm/kvm_internal.h"

#define XSTATE_ALLOWED UINT64_C(0xe7) /* x87, SSE, AVX, AVX-512; not PKRU, CET, AMX */

static void hide(struct kvm_cpuid_entry2 *entry)
{
    switch (entry->function) {
    case 1:
        entry->ecx &= ~(1u << 5 | 1u << 21); /* VMX, x2APIC */
        break;
    case 7:
        if (entry->index == 0) {
            entry->ecx &= ~(1u << 7);  /* CET shadow stacks */
            entry->edx &= ~(1u << 20); /* CET indirect branch tracking */
        }
        break;
    case 0xa: /* performance monitoring */
        entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
        break;
    case 0x80000001:
        entry->ecx &= ~(1u << 2); /* SVM */
        break;
    default:
        break;
    }
}

aee_result aee__kvm_cpuid_load(struct aee__backend *backend, aee_error *error)
{
    backend->cpuid_size =
        sizeof *backend->cpuid + AEE__KVM_MAX_CPUID * sizeof(struct kvm_cpuid_entry2);
    backend->cpuid = aee__alloc_zero(backend->alloc, 1, backend->cpuid_size);
    if (!backend->cpuid) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot open the KVM back end: out of memory");
    }
    backend->cpuid->nent = AEE__KVM_MAX_CPUID;
    if (aee__sys_ioctl(backend->fd, KVM_GET_SUPPORTED_CPUID, backend->cpuid) != 0) {
        return aee__fail_os(error, errno, "KVM_GET_SUPPORTED_CPUID");
    }
    bool xsave = false;
    for (uint32_t i = 0; i < backend->cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &backend->cpuid->entries[i];
        hide(entry);
        if (entry->function == 1) {
            xsave = (entry->ecx >> 26) & 1u;
        }
        if (entry->function == 0xd && entry->index == 0) {
            backend->xcr0 = entry->eax & XSTATE_ALLOWED;
        }
    }
    backend->xcr0 = xsave ? backend->xcr0 | 1u : 0;
    return AEE_OK;
}

/* The table is shared; a vCPU needs its own APIC id, so that lanes can be told apart. */
aee_result aee__kvm_cpuid_set(const struct aee__backend *backend, int vcpu, uint32_t lane,
                              aee_error *error)
{
    struct {
        struct kvm_cpuid2 header;
        struct kvm_cpuid_entry2 entries[AEE__KVM_MAX_CPUID];
    } table;
    uint32_t count = backend->cpuid->nent;
    table.header = (struct kvm_cpuid2){.nent = count};
    memcpy(table.entries, backend->cpuid->entries, count * sizeof table.entries[0]);
    for (uint32_t i = 0; i < count; i++) {
        struct kvm_cpuid_entry2 *entry = &table.entries[i];
        if (entry->function == 1) {
            entry->ebx = (entry->ebx & 0x00ffffff) | lane << 24;
        } else if (entry->function == 0xb || entry->function == 0x1f) {
            entry->edx = lane;
        }
    }
    if (aee__sys_ioctl(vcpu, KVM_SET_CPUID2, &table) != 0) {
        return aee__fail_os(error, errno, "KVM_SET_CPUID2");
    }
    return AEE_OK;
}
