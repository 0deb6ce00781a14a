/* backend.c: opening the KVM back end, and its table of operations. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/sys.h"
#include "isolation/kvm/kvm.h"
#include "isolation/kvm/kvm_internal.h"

extern const uint8_t aee__vdso_start[];
extern const uint8_t aee__vdso_end[];

static void kvm_close(struct aee__backend *backend)
{
    if (!backend) {
        return;
    }
    (void)aee__sys_close(backend->fd);
    if (backend->cpuid) {
        aee__alloc_free(backend->alloc, backend->cpuid, backend->cpuid_size);
    }
    aee__alloc_free(backend->alloc, backend, sizeof *backend);
}

/* QEMU's emulated SVM honours the I/O bitmap only of an available TSS (type 9), VMX accepts only a
 * busy one; tests on that emulator say which they need. */
static uint8_t task_segment_type(void)
{
    enum { BUSY_TSS = 11 };
#ifdef AEE_TESTING
    const char *wanted = getenv("AEE_KVM_TR_TYPE");
    if (wanted) {
        return (uint8_t)strtoul(wanted, NULL, 10);
    }
#endif
    return BUSY_TSS;
}

static int capability(const struct aee__backend *backend, unsigned long what)
{
    int value = aee__sys_ioctl_value(backend->fd, KVM_CHECK_EXTENSION, what);
    return value > 0 ? value : 0;
}

static aee_result check_capabilities(struct aee__backend *backend, aee_error *error)
{
    int version = aee__sys_ioctl_value(backend->fd, KVM_GET_API_VERSION, 0);
    if (version < 0) {
        return aee__fail_os(error, errno, "KVM_GET_API_VERSION");
    }
    if (version != KVM_API_VERSION) { /* api.rst 4.1: refuse anything else */
        return aee__fail(error, AEE_ERR_UNSUPPORTED, "/dev/kvm has API version %d, not %d", version,
                         KVM_API_VERSION);
    }
    if (!capability(backend, KVM_CAP_IMMEDIATE_EXIT) || !capability(backend, KVM_CAP_USER_MEMORY)) {
        return aee__fail(error, AEE_ERR_UNSUPPORTED,
                         "this host's KVM lacks KVM_CAP_IMMEDIATE_EXIT");
    }
    int size = aee__sys_ioctl_value(backend->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < (int)sizeof(struct kvm_run)) {
        return aee__fail_os(error, size < 0 ? errno : EINVAL, "KVM_GET_VCPU_MMAP_SIZE");
    }
    backend->run_size = (uint32_t)size;
    int sync = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
    backend->sync_regs = (capability(backend, KVM_CAP_SYNC_REGS) & sync) == sync;
    backend->exit_on_emulation_failure =
        capability(backend, KVM_CAP_EXIT_ON_EMULATION_FAILURE) != 0;
    backend->log_stays = (capability(backend, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) &
                          KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) != 0;
    return AEE_OK;
}

static aee_result kvm_open(const struct aee__alloc *alloc, int kick_signal,
                           struct aee__facts *facts, struct aee__backend **out, aee_error *error)
{
    *out = NULL;
    struct aee__backend *backend = aee__alloc_zero(alloc, 1, sizeof *backend);
    if (!backend) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot open the KVM back end: out of memory");
    }
    *backend = (struct aee__backend){.alloc = alloc,
                                     .fd = -1,
                                     .kick_signal = kick_signal,
                                     .facts = facts,
                                     .tr_type = task_segment_type()};
    aee_result result;
    backend->fd = aee__sys_open("/dev/kvm", O_RDWR);
    if (backend->fd < 0) {
        result = aee__fail_os(error, errno, "cannot open /dev/kvm");
        goto fail;
    }
    result = check_capabilities(backend, error);
    if (result == AEE_OK) {
        result = aee__kvm_cpuid_load(backend, error);
    }
    if (result == AEE_OK) {
        result = aee__kvm_probe(backend, error);
    }
    backend->facts = NULL;
    if (result == AEE_OK) {
        *out = backend;
        return AEE_OK;
    }
fail:
    kvm_close(backend);
    return result;
}

static uint64_t kvm_features(const struct aee__backend *backend)
{
    return backend->features;
}

static bool kvm_hardware(const struct aee__backend *backend)
{
    return backend->hardware;
}

static bool kvm_nested_paging(const struct aee__backend *backend)
{
    return backend->nested_paging;
}

static void kvm_set_system(struct aee__vm *vm, uint8_t *system, uint64_t size, uint32_t lanes)
{
    vm->system = system;
    if (lanes > 0) {
        aee__kvm_system_write(system, size, lanes);
    }
}

static const uint32_t run_requests[] = {KVM_RUN, KVM_GET_REGS, KVM_GET_SREGS};

const struct aee__backend_ops aee__kvm_backend = {
    .name = "kvm",
    .level = AEE_LEVEL_FULL,
    .vdso = aee__vdso_start,
    .vdso_end = aee__vdso_end,
    .open = kvm_open,
    .close = kvm_close,
    .features = kvm_features,
    .hardware = kvm_hardware,
    .nested_paging = kvm_nested_paging,
    .vm_create = aee__kvm_vm_create,
    .vm_destroy = aee__kvm_vm_destroy,
    .vm_add_memory = aee__kvm_vm_add_memory,
    .vm_set_system = kvm_set_system,
    .vm_track = aee__kvm_vm_track,
    .vm_written = aee__kvm_vm_written,
    .lane_start = aee__kvm_lane_start,
    .lane_restart = aee__kvm_lane_restart,
    .lane_run = aee__kvm_lane_run,
    .lane_kick = aee__kvm_lane_kick,
    .lane_kick_at = aee__kvm_lane_kick_at,
    .lane_registers = aee__kvm_lane_registers,
    .lane_set_registers = aee__kvm_lane_set_registers,
    .lane_vectors = aee__kvm_lane_vectors,
    .lane_set_vectors = aee__kvm_lane_set_vectors,
    .run_requests = run_requests,
    .run_request_count = sizeof run_requests / sizeof run_requests[0],
};
