/* run_x86_64.c: entering the guest, kicking it out, and reading why it came back. Every exit that
 * is not one of our hypercalls is a crash of the guest. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/kvm/kvm_internal.h"

#ifndef KVM_EXIT_MEMORY_FAULT /* Linux 6.8, api.rst 8.37 */
#define KVM_EXIT_MEMORY_FAULT 39
#endif

#define NEVER_NS UINT64_MAX

/* ---- Kicks -------------------------------------------------------------------------------- */

/* With kick_lock held: sets the runner's timer. A timer is for one thread for ever; where another
 * one runs the vCPU, it gets its own. */
static bool set_timer(struct aee__vcpu *vcpu, int kick_signal, uint64_t at_ns)
{
    pid_t runner = aee__sys_thread_id(vcpu->runner);
    if (vcpu->timer_thread != runner) {
        aee__kvm_drop_timer(vcpu);
        if (aee__sys_timer_create(runner, kick_signal, &vcpu->timer) == 0) {
            vcpu->timer_thread = runner;
        }
    }
    if (vcpu->timer_thread == 0 || aee__sys_timer_set(vcpu->timer, at_ns) != 0) {
        return false;
    }
    vcpu->timed_ns = at_ns < vcpu->timed_ns ? at_ns : vcpu->timed_ns;
    return true;
}

void aee__kvm_drop_timer(struct aee__vcpu *vcpu)
{
    if (vcpu->timer_thread != 0) {
        aee__sys_timer_delete(vcpu->timer);
        vcpu->timer_thread = 0;
    }
}

/* False: a kick came first. */
static bool enter(struct aee__vcpu *vcpu, int kick_signal)
{
    (void)pthread_mutex_lock(&vcpu->kick_lock);
    bool kicked = vcpu->kick_pending;
    vcpu->kick_pending = false;
    vcpu->running = !kicked;
    vcpu->runner = pthread_self();
    vcpu->timed_ns = NEVER_NS;
    if (!kicked && vcpu->kick_at_ns != 0) {
        (void)set_timer(vcpu, kick_signal, vcpu->kick_at_ns);
    }
    vcpu->kick_at_ns = 0;
    (void)pthread_mutex_unlock(&vcpu->kick_lock);
    return !kicked;
}

/* After this no kick is under way, and none is left in the thread. */
static void leave(struct aee__vcpu *vcpu, int kick_signal)
{
    (void)pthread_mutex_lock(&vcpu->kick_lock);
    bool signalled = vcpu->signalled;
    uint64_t timed_ns = vcpu->timed_ns;
    if (timed_ns != NEVER_NS) {
        aee__sys_timer_stop(vcpu->timer);
    }
    vcpu->running = false;
    vcpu->signalled = false;
    __atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_RELAXED);
    (void)pthread_mutex_unlock(&vcpu->kick_lock);
    if (signalled) {
        aee__sys_consume_signal(kick_signal);
    }
    if (timed_ns != NEVER_NS && aee__now_ns() >= timed_ns) { /* it may have gone off: one more */
        aee__sys_consume_signal(kick_signal);
    }
}

/* immediate_exit catches a thread that has not entered the guest yet, the signal one that has
 * (api.rst 5, immediate_exit). */
void aee__kvm_lane_kick(struct aee__vm *vm, uint32_t lane)
{
    struct aee__vcpu *vcpu = &vm->vcpus[lane];
    if (vcpu->fd < 0) {
        return;
    }
    (void)pthread_mutex_lock(&vcpu->kick_lock);
    if (!vcpu->running) {
        vcpu->kick_pending = true;
    } else if (!vcpu->signalled) {
        __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELAXED);
        vcpu->signalled = aee__sys_signal_thread(vcpu->runner, vm->backend->kick_signal) == 0;
    }
    (void)pthread_mutex_unlock(&vcpu->kick_lock);
}

/* KVM_RUN looks for a pending signal when the guest's mask is in force already: no signal falls
 * between a look and the entry, and immediate_exit is not needed. */
bool aee__kvm_lane_kick_at(struct aee__vm *vm, uint32_t lane, uint64_t at_ns)
{
    struct aee__vcpu *vcpu = &vm->vcpus[lane];
    if (vcpu->fd < 0) {
        return false;
    }
    (void)pthread_mutex_lock(&vcpu->kick_lock);
    bool set = true;
    if (vcpu->running) {
        set = set_timer(vcpu, vm->backend->kick_signal, at_ns);
    } else {
        vcpu->kick_at_ns = at_ns;
    }
    (void)pthread_mutex_unlock(&vcpu->kick_lock);
    return set;
}

/* ---- Exits -------------------------------------------------------------------------------- */

static void crash(struct aee__exit *exit, aee_crash_cause cause, uint64_t address,
                  const char *detail)
{
    exit->kind = AEE__EXIT_CRASH;
    exit->cause = cause;
    exit->fault_address = address;
    (void)snprintf(exit->detail, sizeof exit->detail, "%s", detail);
}

static void decode_exception(struct aee__vm *vm, uint32_t lane, uint32_t vector,
                             struct aee__exit *exit)
{
    enum { PAGE_FAULT = 14 };
    struct aee__kvm_frame frame;
    struct kvm_sregs sregs;
    aee__kvm_system_frame(vm->system, lane, vector, &frame);
    vm->vcpus[lane].vector_in_stub = (int)vector;
    crash(exit, AEE_CRASH_EXCEPTION, 0, "");
    exit->vector = vector;
    exit->error_code = (uint32_t)frame.error_code;
    if (vector == PAGE_FAULT && aee__sys_ioctl(vm->vcpus[lane].fd, KVM_GET_SREGS, &sregs) == 0) {
        exit->fault_address = sregs.cr2;
    }
}

static void decode_io(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit)
{
    const struct kvm_run *run = vm->vcpus[lane].run;
    uint32_t port = run->io.port;
    if (run->io.direction != KVM_EXIT_IO_OUT || run->io.count != 1) {
        crash(exit, AEE_CRASH_PROTOCOL, 0, "string or input instruction on the hypercall port");
    } else if (port == AEE_PORT_HYPERCALL && run->io.size == 4) {
        exit->kind = AEE__EXIT_HYPERCALL;
        memcpy(&exit->hypercall, (const uint8_t *)run + run->io.data_offset,
               sizeof exit->hypercall);
    } else if (port == AEE_PORT_SYSCALL) {
        vm->vcpus[lane].at_syscall_gate = true;
        crash(exit, AEE_CRASH_SYSCALL, 0, "");
    } else if (port >= AEE_PORT_EXCEPTION && port < AEE_PORT_EXCEPTION + 32) {
        decode_exception(vm, lane, port - AEE_PORT_EXCEPTION, exit);
    } else {
        crash(exit, AEE_CRASH_PROTOCOL, 0, "output to a port that is not the hypercall port");
    }
}

static void decode_error(const struct kvm_run *run, int error, struct aee__exit *exit)
{
    char text[sizeof exit->detail];
    if (error == EINTR) {
        exit->kind = AEE__EXIT_KICKED;
    } else if (error == EFAULT) {
        /* Guest physical address and flags follow the header where the host reports them. */
        uint64_t gpa = 0;
        if (run->exit_reason == KVM_EXIT_MEMORY_FAULT) {
            memcpy(&gpa, (const uint8_t *)&run->internal + 8, sizeof gpa);
        }
        crash(exit, AEE_CRASH_MEMORY, gpa, "memory that was revoked or is read-only");
    } else {
        (void)snprintf(text, sizeof text, "KVM_RUN failed: %s", strerrordesc_np(error));
        crash(exit, AEE_CRASH_HOST, 0, text);
    }
}

static void decode(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit)
{
    const struct kvm_run *run = vm->vcpus[lane].run;
    char text[sizeof exit->detail];
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        decode_io(vm, lane, exit);
        return;
    case KVM_EXIT_INTR:
        exit->kind = AEE__EXIT_KICKED;
        return;
    case KVM_EXIT_MMIO:
        crash(exit, AEE_CRASH_MEMORY, run->mmio.phys_addr, "memory that is backed by nothing");
        return;
    case KVM_EXIT_SHUTDOWN:
        crash(exit, AEE_CRASH_EXCEPTION, 0, "triple fault");
        exit->vector = 8;
        return;
    case KVM_EXIT_INTERNAL_ERROR:
        if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
            crash(exit, AEE_CRASH_EXCEPTION, 0, "the host cannot emulate the instruction");
            exit->vector = 6;
            return;
        }
        break;
    default:
        break;
    }
    (void)snprintf(text, sizeof text, "unexpected exit %u from KVM_RUN", run->exit_reason);
    crash(exit, AEE_CRASH_HOST, 0, text);
}

void aee__kvm_lane_run(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit)
{
    struct aee__vcpu *vcpu = &vm->vcpus[lane];
    memset(exit, 0, sizeof *exit);
    exit->kind = AEE__EXIT_KICKED;
    vcpu->vector_in_stub = -1;
    vcpu->at_syscall_gate = false;
    if (!enter(vcpu, vm->backend->kick_signal)) {
        return;
    }
    int status = aee__sys_ioctl_value(vcpu->fd, KVM_RUN, 0);
    int error = errno;
    leave(vcpu, vm->backend->kick_signal);
    vcpu->io_pending = status == 0;
    if (status != 0) {
        decode_error(vcpu->run, error, exit);
    } else {
        decode(vm, lane, exit);
    }
}
