/* vcpu_x86_64.c: creating vCPUs and giving them a state to start from. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "isolation/kvm/kvm_internal.h"

#define MSR_LSTAR 0xc0000082u
#define MSR_STAR 0xc0000081u
#define MSR_SFMASK 0xc0000084u

/* Control bits: SDM vol. 3A, 2.5; EFER: vol. 4, table 2-2. */
#define CR0_PROTECTED UINT64_C(0x80010033) /* PG WP NE ET MP PE */
#define CR0_AM UINT64_C(0x00040000) /* alignment checks, where the component asks by EFLAGS.AC */
#define CR4_BASE UINT64_C(0x620)    /* PAE OSFXSR OSXMMEXCPT */
#define CR4_OSXSAVE UINT64_C(0x40000)
#define EFER_LONG_NX UINT64_C(0xd00) /* LME LMA NXE; SCE stays off: SYSCALL is an exception */

/* All signals but the kick are blocked while a vCPU runs: a kick ends KVM_RUN with EINTR, and the
 * signal, blocked in the thread itself, is consumed without any handler (api.rst 4.19). */
static int set_signal_mask(int fd, int kick_signal)
{
    struct {
        struct kvm_signal_mask header;
        uint64_t mask;
    } __attribute__((packed)) argument = {.header = {.len = sizeof argument.mask},
                                          .mask = ~(UINT64_C(1) << (kick_signal - 1))};
    return aee__sys_ioctl(fd, KVM_SET_SIGNAL_MASK, &argument);
}

static int set_xcr0(const struct aee__backend *backend, int fd)
{
    struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = backend->xcr0}}};
    return backend->xcr0 ? aee__sys_ioctl(fd, KVM_SET_XCRS, &xcrs) : 0;
}

aee_result aee__kvm_vcpu_create(struct aee__vm *vm, uint32_t lane, aee_error *error)
{
    const struct aee__backend *backend = vm->backend;
    struct aee__vcpu *vcpu = &vm->vcpus[lane];
    vcpu->run = MAP_FAILED;
    vcpu->vector_in_stub = -1;
    (void)pthread_mutex_init(&vcpu->kick_lock, NULL);
    vcpu->fd = aee__sys_ioctl_value(vm->fd, KVM_CREATE_VCPU, lane);
    const char *step = "KVM_CREATE_VCPU";
    if (vcpu->fd < 0) {
        return aee__fail_os(error, errno, "cannot create a vCPU: %s", step);
    }
    vcpu->run =
        aee__sys_mmap(NULL, backend->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (vcpu->run == MAP_FAILED) {
        step = "mapping its run page";
        goto fail;
    }
    aee_result result = aee__kvm_cpuid_set(backend, vcpu->fd, lane, error);
    if (result != AEE_OK) {
        aee__kvm_vcpu_destroy(vm, lane);
        return result;
    }
    step = "KVM_SET_SIGNAL_MASK";
    if (set_signal_mask(vcpu->fd, backend->kick_signal) != 0) {
        goto fail;
    }
    step = "KVM_SET_XCRS";
    if (set_xcr0(backend, vcpu->fd) != 0) {
        goto fail;
    }
    return AEE_OK;
fail:
    result = aee__fail_os(error, errno, "cannot create a vCPU: %s", step);
    aee__kvm_vcpu_destroy(vm, lane);
    return result;
}

void aee__kvm_vcpu_destroy(struct aee__vm *vm, uint32_t lane)
{
    struct aee__vcpu *vcpu = &vm->vcpus[lane];
    if (vcpu->fd < 0) {
        return;
    }
    if (vcpu->run != MAP_FAILED) {
        (void)aee__sys_munmap(vcpu->run, vm->backend->run_size);
    }
    (void)aee__sys_close(vcpu->fd);
    aee__kvm_drop_timer(vcpu);
    (void)pthread_mutex_destroy(&vcpu->kick_lock);
    vcpu->fd = -1;
}

/* ---- Start state -------------------------------------------------------------------------- */

static void set_segments(struct kvm_sregs *sregs, uint64_t fs_base, uint64_t gs_base)
{
    struct kvm_segment code = {.limit = 0xffffffff,
                               .selector = AEE__KVM_CS_USER,
                               .present = 1,
                               .type = 11,
                               .dpl = 3,
                               .s = 1,
                               .l = 1,
                               .g = 1};
    struct kvm_segment data = {.limit = 0xffffffff,
                               .selector = AEE__KVM_SS_USER,
                               .present = 1,
                               .type = 3,
                               .dpl = 3,
                               .s = 1,
                               .db = 1,
                               .g = 1};
    sregs->cs = code;
    sregs->ds = sregs->es = sregs->ss = sregs->fs = sregs->gs = data;
    sregs->fs.base = fs_base;
    sregs->gs.base = gs_base;
}

static void set_system(struct kvm_sregs *sregs, const struct aee__backend *backend, uint32_t lane)
{
    sregs->gdt =
        (struct kvm_dtable){.base = AEE_GVA_SYSTEM + AEE__KVM_GDT, .limit = AEE__KVM_GDT_LIMIT};
    sregs->idt =
        (struct kvm_dtable){.base = AEE_GVA_SYSTEM + AEE__KVM_IDT, .limit = AEE__KVM_IDT_LIMIT};
    sregs->tr =
        (struct kvm_segment){.base = AEE_GVA_SYSTEM + AEE__KVM_TSS + lane * AEE__KVM_TSS_STRIDE,
                             .limit = AEE__KVM_TSS_LIMIT,
                             .selector = AEE__KVM_TR(lane),
                             .present = 1,
                             .type = backend->tr_type};
    sregs->ldt = (struct kvm_segment){.unusable = 1};
}

static int set_msrs(int fd, uint64_t syscall)
{
    struct {
        struct kvm_msrs header;
        struct kvm_msr_entry entries[3];
    } msrs = {.header = {.nmsrs = 3},
              .entries = {{.index = MSR_STAR, .data = UINT64_C(0x001b000800000000)},
                          {.index = MSR_LSTAR, .data = syscall},
                          {.index = MSR_SFMASK, .data = 0x47700}}};
    /* Returns how many were set (api.rst 4.18). */
    return aee__sys_ioctl(fd, KVM_SET_MSRS, &msrs) == 3 ? 0 : -1;
}

/* The OUT of the last exit ends in the next KVM_RUN, which would move RIP (api.rst 4.35 and 5). */
static void finish_io(struct aee__vcpu *vcpu)
{
    if (vcpu->io_pending) {
        vcpu->run->immediate_exit = 1;
        (void)aee__sys_ioctl_value(vcpu->fd, KVM_RUN, 0);
        vcpu->run->immediate_exit = 0;
        vcpu->io_pending = false;
    }
}

/* Where KVM has the registers in the run page, the next KVM_RUN loads them (api.rst, "synced
 * registers"): two system calls less for each start. Exits leave them unsynced: only a crash needs
 * them, and copying them costs every exit 0.1 to 0.2 us. */
static int set_registers(const struct aee__backend *backend, struct aee__vcpu *vcpu,
                         struct kvm_sregs *sregs, struct kvm_regs *regs)
{
    if (backend->sync_regs) {
        vcpu->run->s.regs.regs = *regs;
        vcpu->run->s.regs.sregs = *sregs;
        vcpu->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
        return 0;
    }
    return aee__sys_ioctl(vcpu->fd, KVM_SET_SREGS, sregs) != 0 ||
                   aee__sys_ioctl(vcpu->fd, KVM_SET_REGS, regs) != 0
               ? -1
               : 0;
}

aee_result aee__kvm_lane_start(struct aee__vm *vm, uint32_t lane,
                               const struct aee__lane_start *start, aee_error *error)
{
    struct aee__vcpu *vcpu = &vm->vcpus[lane];
    if (vcpu->fd < 0) {
        aee_result result = aee__kvm_vcpu_create(vm, lane, error);
        if (result != AEE_OK) {
            return result;
        }
    }
    finish_io(vcpu);
    struct kvm_sregs sregs;
    const char *step = "KVM_GET_SREGS";
    if (aee__sys_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) != 0) {
        goto fail;
    }
    set_segments(&sregs, start->fs_base.value, start->gs_base.value);
    set_system(&sregs, vm->backend, lane);
    sregs.cr0 = CR0_PROTECTED | CR0_AM;
    sregs.cr3 = start->root.value;
    sregs.cr4 = CR4_BASE | (vm->backend->xcr0 ? CR4_OSXSAVE : 0);
    sregs.efer = EFER_LONG_NX;
    struct kvm_regs regs = {.rip = start->rip.value, .rsp = start->rsp.value, .rflags = 0x202};
    /* On hosts that do not honour EFER.SCE, SYSCALL goes to LSTAR at CPL3. */
    step = "KVM_SET_MSRS";
    if (set_msrs(vcpu->fd, start->syscall.value) != 0) {
        goto fail;
    }
    step = "KVM_SET_SREGS and KVM_SET_REGS";
    if (set_registers(vm->backend, vcpu, &sregs, &regs) != 0) {
        goto fail;
    }
    return AEE_OK;
fail:
    return aee__fail_os(error, errno, "cannot start lane %u: %s", lane, step);
}

bool aee__kvm_lane_restart(struct aee__vm *vm, uint32_t lane, const struct aee__lane_start *start)
{
    return aee__kvm_lane_start(vm, lane, start, NULL) == AEE_OK;
}

/* ---- Registers between runs --------------------------------------------------------------- */

/* Registers that lane_start() has left in the run page for the next KVM_RUN are the lane's. */
static bool are_in_run_page(const struct aee__vcpu *vcpu)
{
    return vcpu->run->kvm_dirty_regs != 0;
}

static bool get_registers(const struct aee__vcpu *vcpu, struct kvm_regs *regs)
{
    if (vcpu->fd >= 0 && are_in_run_page(vcpu)) {
        *regs = vcpu->run->s.regs.regs;
        return true;
    }
    return vcpu->fd >= 0 && aee__sys_ioctl(vcpu->fd, KVM_GET_REGS, regs) == 0;
}

void aee__kvm_lane_registers(struct aee__vm *vm, uint32_t lane, aee_registers *registers)
{
    struct aee__vcpu *vcpu = &vm->vcpus[lane];
    struct kvm_regs regs;
    memset(registers, 0, sizeof *registers);
    if (!get_registers(vcpu, &regs)) {
        return;
    }
    *registers = (aee_registers){.rax = regs.rax,
                                 .rbx = regs.rbx,
                                 .rcx = regs.rcx,
                                 .rdx = regs.rdx,
                                 .rsi = regs.rsi,
                                 .rdi = regs.rdi,
                                 .rsp = regs.rsp,
                                 .rbp = regs.rbp,
                                 .r8 = regs.r8,
                                 .r9 = regs.r9,
                                 .r10 = regs.r10,
                                 .r11 = regs.r11,
                                 .r12 = regs.r12,
                                 .r13 = regs.r13,
                                 .r14 = regs.r14,
                                 .r15 = regs.r15,
                                 .rip = regs.rip,
                                 .rflags = regs.rflags};
    if (vcpu->at_syscall_gate) { /* SYSCALL saved them here (SDM vol. 2B) */
        registers->rip = regs.rcx - 2;
        registers->rflags = regs.r11;
    }
    if (vcpu->vector_in_stub >= 0) {
        struct aee__kvm_frame frame;
        aee__kvm_system_frame(vm->system, lane, (uint32_t)vcpu->vector_in_stub, &frame);
        registers->rip = frame.rip;
        registers->rsp = frame.rsp;
        registers->rflags = frame.rflags;
    }
}

static struct kvm_regs user_registers(const aee_registers *from)
{
    const uint64_t fixed_flags = 0x202; /* IF and the one that is always set */
    return (struct kvm_regs){.rax = from->rax,
                             .rbx = from->rbx,
                             .rcx = from->rcx,
                             .rdx = from->rdx,
                             .rsi = from->rsi,
                             .rdi = from->rdi,
                             .rsp = from->rsp,
                             .rbp = from->rbp,
                             .r8 = from->r8,
                             .r9 = from->r9,
                             .r10 = from->r10,
                             .r11 = from->r11,
                             .r12 = from->r12,
                             .r13 = from->r13,
                             .r14 = from->r14,
                             .r15 = from->r15,
                             .rip = from->rip,
                             .rflags = (from->rflags & AEE__USER_FLAGS) | fixed_flags};
}

/* After an exception the vCPU stands at CPL0, in the stub: with these segments it is back. */
bool aee__kvm_lane_set_registers(struct aee__vm *vm, uint32_t lane, const aee_registers *registers)
{
    struct aee__vcpu *vcpu = &vm->vcpus[lane];
    struct kvm_regs regs = user_registers(registers);
    struct kvm_sregs sregs;
    if (vcpu->fd < 0 || registers->rip >= AEE__USER_END) { /* KVM_RUN would fail for ever */
        return false;
    }
    if (are_in_run_page(vcpu)) {
        vcpu->run->s.regs.regs = regs;
        return true;
    }
    finish_io(vcpu);
    if (aee__sys_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) != 0) {
        return false;
    }
    set_segments(&sregs, sregs.fs.base, sregs.gs.base);
    set_system(&sregs, vm->backend, lane); /* AMD tells of another type of TR than was set */
    if (aee__sys_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) != 0 ||
        aee__sys_ioctl(vcpu->fd, KVM_SET_REGS, &regs) != 0) {
        return false;
    }
    vcpu->vector_in_stub = -1;
    vcpu->at_syscall_gate = false;
    return true;
}

/* What KVM gives and takes begins as FXSAVE lays it out (api.rst 4.42); KVM_SET_FPU loses it on a
 * vCPU that has not run. */
bool aee__kvm_lane_vectors(struct aee__vm *vm, uint32_t lane, uint8_t fxsave[AEE__FXSAVE_SIZE])
{
    const struct aee__vcpu *vcpu = &vm->vcpus[lane];
    struct kvm_xsave state;
    if (vcpu->fd < 0 || aee__sys_ioctl(vcpu->fd, KVM_GET_XSAVE, &state) != 0) {
        return false;
    }
    memcpy(fxsave, &state, AEE__FXSAVE_SIZE);
    return true;
}

bool aee__kvm_lane_set_vectors(struct aee__vm *vm, uint32_t lane,
                               const uint8_t fxsave[AEE__FXSAVE_SIZE])
{
    enum { IN_USE = 512 / sizeof(uint32_t), X87_AND_SSE = 3 }; /* SDM vol. 1, 13.4.2 */
    const struct aee__vcpu *vcpu = &vm->vcpus[lane];
    struct kvm_xsave state;
    uint32_t mxcsr;
    if (vcpu->fd < 0 || aee__sys_ioctl(vcpu->fd, KVM_GET_XSAVE, &state) != 0) {
        return false;
    }
    memcpy(&state, fxsave, AEE__FXSAVE_SIZE);
    memcpy(&mxcsr, fxsave + AEE__FXSAVE_MXCSR, sizeof mxcsr);
    state.region[AEE__FXSAVE_MXCSR / sizeof(uint32_t)] = mxcsr & AEE__MXCSR_MASK;
    state.region[IN_USE] |= X87_AND_SSE;
    return aee__sys_ioctl(vcpu->fd, KVM_SET_XSAVE, &state) == 0;
}
