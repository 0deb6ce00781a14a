/* test_kvm_exits.c: isolation/kvm/run: what each exit of KVM_RUN is taken for, and kicks. Compiles
 * the module with a KVM_RUN of its own, so it needs no /dev/kvm. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/sys.h"
#include "ept/memory.h"

static int play_run(int fd, unsigned long request, unsigned long argument);
static int play_ioctl(int fd, unsigned long request, void *argument);
#define aee__sys_ioctl_value play_run
#define aee__sys_ioctl play_ioctl
#include "isolation/kvm/run_x86_64.c" // NOLINT(bugprone-suspicious-include)
#undef aee__sys_ioctl_value
#undef aee__sys_ioctl

#define FD 77
#define LANE 2u

static struct {
    struct kvm_run *run;
    uint8_t *system;
    struct aee__backend backend;
    struct aee__vm vm;
    int fail;         /* errno of KVM_RUN */
    bool wait_kick;   /* KVM_RUN blocks until immediate_exit is set */
    bool wait_signal; /* KVM_RUN blocks until the kick signal is pending */
    uint64_t move_to; /* and then the timer is set anew; 0: not */
    unsigned entered; /* times that the guest was entered */
    uint64_t cr2;
} t;

static bool is_kick_pending(void)
{
    sigset_t pending;
    assert_int_equal(sigpending(&pending), 0);
    return sigismember(&pending, t.backend.kick_signal);
}

static int play_run(int fd, unsigned long request, unsigned long argument)
{
    assert_int_equal(fd, FD);
    assert_int_equal(request, KVM_RUN);
    assert_int_equal(argument, 0);
    __atomic_add_fetch(&t.entered, 1, __ATOMIC_RELAXED);
    while (t.wait_kick && !__atomic_load_n(&t.run->immediate_exit, __ATOMIC_RELAXED)) {
        aee__sys_sleep(100000);
    }
    while (t.wait_signal && !is_kick_pending()) {
        aee__sys_sleep(50000);
    }
    if (t.move_to != 0) {
        assert_true(aee__kvm_lane_kick_at(&t.vm, LANE, t.move_to));
    }
    errno = t.wait_kick || t.wait_signal ? EINTR : t.fail;
    return t.fail || t.wait_kick || t.wait_signal ? -1 : 0;
}

static int play_ioctl(int fd, unsigned long request, void *argument)
{
    assert_int_equal(fd, FD);
    assert_int_equal(request, KVM_GET_SREGS);
    ((struct kvm_sregs *)argument)->cr2 = t.cr2;
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    t.run = calloc(1, 8192);
    t.system = calloc(1, AEE__SYSTEM_PAGES * UINT64_C(4096));
    t.backend.kick_signal = SIGRTMAX - 1;
    t.vm.backend = &t.backend;
    t.vm.system = t.system;
    t.vm.vcpus[LANE].fd = FD;
    t.vm.vcpus[LANE].run = t.run;
    t.vm.vcpus[0].fd = -1;
    (void)pthread_mutex_init(&t.vm.vcpus[LANE].kick_lock, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    aee__kvm_drop_timer(&t.vm.vcpus[LANE]);
    (void)pthread_mutex_destroy(&t.vm.vcpus[LANE].kick_lock);
    free(t.run);
    free(t.system);
    return 0;
}

static struct aee__exit run(void)
{
    struct aee__exit exit;
    memset(&exit, 0x5a, sizeof exit);
    aee__kvm_lane_run(&t.vm, LANE, &exit);
    return exit;
}

static void expect_crash(aee_crash_cause cause, const char *detail)
{
    struct aee__exit exit = run();
    assert_int_equal(exit.kind, AEE__EXIT_CRASH);
    assert_int_equal(exit.cause, cause);
    if (!strstr(exit.detail, detail)) {
        fail_msg("\"%s\" instead of \"%s\"", exit.detail, detail);
    }
}

static void set_io(uint16_t port, uint8_t direction, uint8_t size, uint32_t count, uint32_t value)
{
    t.run->exit_reason = KVM_EXIT_IO;
    t.run->io.port = port;
    t.run->io.direction = direction;
    t.run->io.size = size;
    t.run->io.count = count;
    t.run->io.data_offset = 4096;
    memcpy((uint8_t *)t.run + 4096, &value, sizeof value);
}

/* ---- Ports ---------------------------------------------------------------------------------------- */

static void test_hypercalls(void **state)
{
    (void)state;
    const uint32_t numbers[] = {0, AEE_HC_PARK, AEE_HC_OUT_OF_MEMORY, 77, UINT32_MAX};
    for (unsigned i = 0; i < 5; i++) {
        set_io(AEE_PORT_HYPERCALL, KVM_EXIT_IO_OUT, 4, 1, numbers[i]);
        struct aee__exit exit = run();
        assert_int_equal(exit.kind, AEE__EXIT_HYPERCALL);
        assert_int_equal(exit.hypercall, numbers[i]); /* as it is: others check it */
        assert_true(t.vm.vcpus[LANE].io_pending);
    }
}

static void test_wrong_io(void **state)
{
    (void)state;
    set_io(AEE_PORT_HYPERCALL, KVM_EXIT_IO_IN, 4, 1, 1);
    expect_crash(AEE_CRASH_PROTOCOL, "input");
    set_io(AEE_PORT_HYPERCALL, KVM_EXIT_IO_OUT, 4, 2, 1);
    expect_crash(AEE_CRASH_PROTOCOL, "string");
    set_io(AEE_PORT_HYPERCALL, KVM_EXIT_IO_OUT, 4, 0, 1);
    expect_crash(AEE_CRASH_PROTOCOL, "string");
    set_io(AEE_PORT_HYPERCALL, KVM_EXIT_IO_OUT, 1, 1, 1);
    expect_crash(AEE_CRASH_PROTOCOL, "port");
    set_io(AEE_PORT_SYSCALL, KVM_EXIT_IO_OUT, 1, 1, 0);
    expect_crash(AEE_CRASH_SYSCALL, "");
    const uint16_t ports[] = {0, 0x11, 0x13, 0x15, 0x1f, 0x40, 0x80, 0x3f8, 0xffff};
    for (unsigned i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        set_io(ports[i], KVM_EXIT_IO_OUT, 1, 1, 0);
        expect_crash(AEE_CRASH_PROTOCOL, "port");
    }
}

static void test_exceptions(void **state)
{
    (void)state;
    for (unsigned vector = 0; vector < 32; vector++) {
        uint64_t code = 0x10007;
        memcpy(t.system + AEE__KVM_IST + (LANE + 1) * AEE__KVM_IST_SIZE - 48, &code, 8);
        t.cr2 = 0xabc000;
        set_io((uint16_t)(AEE_PORT_EXCEPTION + vector), KVM_EXIT_IO_OUT, 1, 1, 0);
        struct aee__exit exit = run();
        assert_int_equal(exit.kind, AEE__EXIT_CRASH);
        assert_int_equal(exit.cause, AEE_CRASH_EXCEPTION);
        assert_int_equal(exit.vector, vector);
        assert_int_equal(exit.fault_address, vector == 14 ? 0xabc000 : 0);
        assert_int_equal(exit.error_code, vector == 14 || vector == 13 ? 0x10007 : exit.error_code);
        assert_int_equal(t.vm.vcpus[LANE].vector_in_stub, vector);
    }
    t.fail = EINTR;
    (void)run();
    assert_int_equal(t.vm.vcpus[LANE].vector_in_stub, -1); /* of this exit, not an earlier one */
}

/* ---- Other exits ---------------------------------------------------------------------------------- */

static void test_reasons(void **state)
{
    (void)state;
    t.run->exit_reason = KVM_EXIT_INTR;
    assert_int_equal(run().kind, AEE__EXIT_KICKED);
    t.run->exit_reason = KVM_EXIT_MMIO;
    t.run->mmio.phys_addr = 0x123456789;
    expect_crash(AEE_CRASH_MEMORY, "backed by nothing");
    assert_true(run().fault_address == 0x123456789);
    t.run->exit_reason = KVM_EXIT_SHUTDOWN;
    expect_crash(AEE_CRASH_EXCEPTION, "triple fault");
    assert_int_equal(run().vector, 8);
    t.run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    t.run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
    expect_crash(AEE_CRASH_EXCEPTION, "emulate");
    assert_int_equal(run().vector, 6);
    t.run->internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
    expect_crash(AEE_CRASH_HOST, "unexpected exit 17");
    /* Whatever else a host may come up with is a crash of the guest, never of the host. */
    for (uint32_t reason = 0; reason < 64; reason++) {
        if (reason == KVM_EXIT_IO || reason == KVM_EXIT_INTR || reason == KVM_EXIT_MMIO ||
            reason == KVM_EXIT_SHUTDOWN || reason == KVM_EXIT_INTERNAL_ERROR) {
            continue;
        }
        t.run->exit_reason = reason;
        expect_crash(AEE_CRASH_HOST, "unexpected exit");
    }
    t.run->exit_reason = UINT32_MAX;
    expect_crash(AEE_CRASH_HOST, "4294967295");
}

static void test_errors(void **state)
{
    (void)state;
    const int others[] = {EAGAIN, ENOMEM, EINVAL, ENOEXEC, EIO, EPERM, 4242};
    t.fail = EINTR;
    assert_int_equal(run().kind, AEE__EXIT_KICKED);
    assert_false(t.vm.vcpus[LANE].io_pending);
    t.fail = EFAULT;
    t.run->exit_reason = KVM_EXIT_MMIO; /* left over from an earlier exit: says nothing */
    t.run->mmio.phys_addr = 0x4444;
    expect_crash(AEE_CRASH_MEMORY, "revoked");
    assert_true(run().fault_address == 0);
    t.run->exit_reason = 39; /* KVM_EXIT_MEMORY_FAULT: flags, gpa, size */
    const uint64_t fault[] = {8, 0x123000, 4096};
    memcpy((uint8_t *)t.run + offsetof(struct kvm_run, io), fault, sizeof fault);
    assert_true(run().fault_address == 0x123000);
    for (unsigned i = 0; i < 6; i++) {
        t.fail = others[i];
        expect_crash(AEE_CRASH_HOST, "KVM_RUN failed");
    }
}

/* ---- Kicks ---------------------------------------------------------------------------------------- */

static void test_kick_first(void **state)
{
    (void)state;
    set_io(AEE_PORT_HYPERCALL, KVM_EXIT_IO_OUT, 4, 1, 1);
    aee__kvm_lane_kick(&t.vm, LANE);
    aee__kvm_lane_kick(&t.vm, LANE); /* as good as once */
    assert_int_equal(run().kind, AEE__EXIT_KICKED);
    assert_int_equal(t.entered, 0); /* the guest did not run */
    assert_int_equal(run().kind, AEE__EXIT_HYPERCALL);
    assert_int_equal(t.entered, 1);
    aee__kvm_lane_kick(&t.vm, 0); /* a vCPU that does not exist */
}

static void *kick(void *unused)
{
    aee__sys_sleep(3000000);
    aee__kvm_lane_kick(&t.vm, LANE);
    aee__kvm_lane_kick(&t.vm, LANE);
    return unused;
}

/* A kick while the guest runs: one signal, which is taken away again. */
static void test_kick_running(void **state)
{
    (void)state;
    sigset_t mask;
    assert_int_equal(aee__sys_block_signal(t.backend.kick_signal, &mask), 0);
    for (unsigned i = 0; i < 20; i++) {
        pthread_t thread;
        t.wait_kick = true;
        assert_int_equal(pthread_create(&thread, NULL, kick, NULL), 0);
        assert_int_equal(run().kind, AEE__EXIT_KICKED);
        (void)pthread_join(thread, NULL);
        assert_int_equal(t.run->immediate_exit, 0);
        t.wait_kick = false;
        t.fail = 0;
        set_io(AEE_PORT_HYPERCALL, KVM_EXIT_IO_OUT, 4, 1, 1);
        /* The second kick may have come after the exit: then it is one for the next entry. */
        if (run().kind == AEE__EXIT_KICKED) {
            assert_int_equal(run().kind, AEE__EXIT_HYPERCALL);
        }
        assert_false(is_kick_pending());
    }
    assert_int_equal(aee__sys_restore_mask(&mask), 0);
}

/* ---- Timers --------------------------------------------------------------------------------------- */

/* In a thread of its own, which the timer must signal, and nobody else. */
static void *run_until_timer(void *unused)
{
    sigset_t mask;
    uint64_t at = aee__now_ns() + 3000000;
    assert_int_equal(aee__sys_block_signal(t.backend.kick_signal, &mask), 0);
    t.wait_signal = true;
    assert_true(aee__kvm_lane_kick_at(&t.vm, LANE, at));
    assert_int_equal(run().kind, AEE__EXIT_KICKED);
    assert_true(aee__now_ns() >= at);
    assert_false(is_kick_pending());
    t.wait_signal = false;
    t.fail = 0;
    assert_int_equal(run().kind, AEE__EXIT_HYPERCALL); /* that was all */
    return unused;
}

static void test_timer(void **state)
{
    (void)state;
    set_io(AEE_PORT_HYPERCALL, KVM_EXIT_IO_OUT, 4, 1, 1);
    (void)run_until_timer(NULL);
    for (unsigned i = 0; i < 10; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, run_until_timer, NULL), 0);
        (void)pthread_join(thread, NULL);
        (void)run_until_timer(NULL);
    }
    assert_false(aee__kvm_lane_kick_at(&t.vm, 0, 1)); /* a vCPU that does not exist */
}

/* It comes back before: the signal never comes, or is taken away. */
static void test_timer_unused(void **state)
{
    (void)state;
    sigset_t mask;
    assert_int_equal(aee__sys_block_signal(t.backend.kick_signal, &mask), 0);
    set_io(AEE_PORT_HYPERCALL, KVM_EXIT_IO_OUT, 4, 1, 1);
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t at = aee__now_ns() + i * 10;
        assert_true(aee__kvm_lane_kick_at(&t.vm, LANE, at));
        assert_int_equal(run().kind, AEE__EXIT_HYPERCALL);
        assert_false(is_kick_pending());
        while (aee__now_ns() < at + 20000 && i % 100 == 0) {
        }
        assert_false(is_kick_pending());
    }
    assert_int_equal(aee__sys_restore_mask(&mask), 0);
}

static void *kick_after_timer(void *at)
{
    aee__sys_sleep(2000000);
    assert_true(aee__kvm_lane_kick_at(&t.vm, LANE, *(uint64_t *)at));
    while (aee__now_ns() < *(uint64_t *)at + 2000000) {
        aee__sys_sleep(100000);
    }
    aee__kvm_lane_kick(&t.vm, LANE);
    return NULL;
}

/* The last time counts, and a kick beside it is a second signal. */
static void test_timer_and_kick(void **state)
{
    (void)state;
    sigset_t mask;
    assert_int_equal(aee__sys_block_signal(t.backend.kick_signal, &mask), 0);
    for (unsigned i = 0; i < 10; i++) {
        pthread_t thread;
        uint64_t at = aee__now_ns() + 5000000;
        t.wait_kick = true;
        t.wait_signal = true;
        assert_true(aee__kvm_lane_kick_at(&t.vm, LANE, at + 1000000000));
        assert_int_equal(pthread_create(&thread, NULL, kick_after_timer, &at), 0);
        assert_int_equal(run().kind, AEE__EXIT_KICKED);
        (void)pthread_join(thread, NULL);
        assert_true(aee__now_ns() < at + 900000000);
        assert_false(is_kick_pending());
    }
    assert_int_equal(aee__sys_restore_mask(&mask), 0);
}

/* It has gone off, and is then set to a later time: what it sent is taken away all the same. */
static void test_timer_moved(void **state)
{
    (void)state;
    sigset_t mask;
    assert_int_equal(aee__sys_block_signal(t.backend.kick_signal, &mask), 0);
    t.wait_signal = true;
    t.move_to = aee__now_ns() + UINT64_C(3600000000000);
    assert_true(aee__kvm_lane_kick_at(&t.vm, LANE, aee__now_ns() + 1000000));
    assert_int_equal(run().kind, AEE__EXIT_KICKED);
    assert_false(is_kick_pending());
    assert_int_equal(aee__sys_restore_mask(&mask), 0);
}

/* A kick that was first leaves no timer behind. */
static void test_timer_refused(void **state)
{
    (void)state;
    set_io(AEE_PORT_HYPERCALL, KVM_EXIT_IO_OUT, 4, 1, 1);
    aee__kvm_lane_kick(&t.vm, LANE);
    assert_true(aee__kvm_lane_kick_at(&t.vm, LANE, 1));
    assert_int_equal(run().kind, AEE__EXIT_KICKED);
    assert_int_equal(run().kind, AEE__EXIT_HYPERCALL);
    assert_int_equal(t.vm.vcpus[LANE].timer_thread, 0);
}

static const char *faulty;

static int fail_faulty(const char *name)
{
    return strcmp(name, faulty) == 0 ? EAGAIN : 0;
}

/* Before the lane is in the guest nobody can know that there will be no timer. */
static void *expect_no_timer(void *unused)
{
    while (__atomic_load_n(&t.entered, __ATOMIC_RELAXED) == 0) {
        aee__sys_sleep(100000);
    }
    assert_false(aee__kvm_lane_kick_at(&t.vm, LANE, aee__now_ns()));
    aee__kvm_lane_kick(&t.vm, LANE);
    return unused;
}

static void test_timer_fails(void **state)
{
    (void)state;
    static const char *const names[] = {"timer_create", "timer_settime"};
    sigset_t mask;
    assert_int_equal(aee__sys_block_signal(t.backend.kick_signal, &mask), 0);
    t.wait_kick = true;
    for (unsigned i = 0; i < 2; i++) {
        pthread_t thread;
        faulty = names[i];
        t.entered = 0;
        aee__sys_fault = fail_faulty;
        (void)aee__kvm_lane_kick_at(&t.vm, LANE, aee__now_ns()); /* too early to know */
        assert_int_equal(pthread_create(&thread, NULL, expect_no_timer, NULL), 0);
        assert_int_equal(run().kind, AEE__EXIT_KICKED);
        (void)pthread_join(thread, NULL);
        aee__sys_fault = NULL;
        assert_false(is_kick_pending());
    }
    assert_int_equal(aee__sys_restore_mask(&mask), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hypercalls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wrong_io, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_exceptions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reasons, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kick_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kick_running, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_timer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_timer_unused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_timer_and_kick, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_timer_moved, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_timer_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_timer_fails, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
