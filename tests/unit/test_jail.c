/* test_jail.c: runtime/jail and runtime/starter: each system call in the list works in a jailed
 * thread, others fail with EPERM, and no other thread notices. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sys.h"
#include "runtime/starter.h"

#define KICK (SIGRTMAX - 1)
#define WORKS (-1)
#define X32 0x40000000L /* bit of the x32 ABI's numbers */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static const uint32_t requests[] = {KVM_RUN, KVM_GET_REGS, KVM_GET_SREGS};
static const struct timespec no_time;
static uint64_t signals[16];
static uint32_t word;
static char memory[8192] __attribute__((aligned(4096)));

/* A system call, and the errno that it ends with; WORKS: none. */
struct attempt {
    const char *name;
    long number;
    long args[6];
    int wanted;
    int seen;
};

struct attempts {
    struct attempt *list;
    unsigned count;
    const struct aee__jail *jail;
    aee_result entered;
    int new_privileges; /* in the thread, before it entered */
    pthread_t thread;
};

static void make_jail(struct aee__jail *jail, aee_jail_mode mode)
{
    aee_error error;
    if (aee__jail_create(jail, &aee__alloc_default, mode, KICK, requests, 3, &error) != AEE_OK) {
        fail_msg("%s", error.text);
    }
}

static volatile sig_atomic_t handled;

static void handle(int signal)
{
    (void)signal;
    handled = 1;
}

/* A handler that comes back. */
static long return_from_signal(long thread)
{
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, KICK);
    handled = 0;
    (void)pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
    (void)syscall(SYS_tgkill, getpid(), thread, KICK);
    (void)pthread_sigmask(SIG_BLOCK, &kick, NULL);
    return handled ? 0 : -1;
}

static void *attempt_all(void *argument)
{
    struct attempts *attempts = argument;
    long self = gettid();
    attempts->new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    attempts->entered = aee__jail_enter(attempts->jail, NULL);
    for (unsigned i = 0; attempts->entered == AEE_OK && i < attempts->count; i++) {
        struct attempt *at = &attempts->list[i];
        long thread = at->number == SYS_tgkill && at->args[1] == 0 ? self : at->args[1];
        errno = 0;
        if (at->number == SYS_rt_sigreturn) {
            at->seen = return_from_signal(self) == 0 ? WORKS : EPERM;
            continue;
        }
        if (SANITIZED && at->number == SYS_exit) {
            return NULL; /* makes it, too; ThreadSanitizer would not know of its end */
        }
        long status = syscall(at->number, at->args[0], thread, at->args[2], at->args[3],
                              at->args[4], at->args[5]);
        if (status == 0 && (at->number == SYS_clone || at->number == SYS_fork) &&
            getpid() != at->args[5]) {
            _exit(1); /* the child of a fork that was not refused */
        }
        at->seen = status == -1 ? errno : WORKS;
    }
    return NULL;
}

static void attempt(const struct aee__jail *jail, struct attempt *list, unsigned count)
{
    struct attempts attempts = {.list = list, .count = count, .jail = jail};
    struct aee__thread thread;
    assert_int_equal(aee__thread_start(&thread, "jailed", attempt_all, &attempts, NULL), AEE_OK);
    aee__thread_join(&thread);
    assert_int_equal(attempts.entered, AEE_OK);
    assert_int_equal(attempts.new_privileges, 0);
    for (unsigned i = 0; i < count; i++) {
        if (list[i].seen != list[i].wanted) {
            print_error("%s: errno %d instead of %d\n", list[i].name, list[i].seen, list[i].wanted);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(list[i].seen, list[i].wanted);
    }
}
#define CALL(name) #name, SYS_##name

/* Arguments that mean nothing show that the kernel looked at them. */
static void test_allowed(void **state)
{
    (void)state;
    struct aee__jail jail;
    struct attempt list[] = {
        {"KVM_RUN", SYS_ioctl, {-1, KVM_RUN}, EBADF, 0},
        {"KVM_GET_REGS", SYS_ioctl, {-1, KVM_GET_REGS}, EBADF, 0},
        {"KVM_GET_SREGS", SYS_ioctl, {-1, KVM_GET_SREGS}, EBADF, 0},
        {CALL(futex), {(long)&word, FUTEX_WAKE_PRIVATE, 1}, WORKS, 0},
        {CALL(rt_sigprocmask), {SIG_BLOCK, 0, (long)signals, 8}, WORKS, 0},
        {CALL(tgkill), {getpid(), 0, KICK}, WORKS, 0},
        {CALL(rt_sigtimedwait), {(long)signals, 0, (long)&no_time, 8}, WORKS, 0},
        {CALL(rt_sigreturn), {0}, WORKS, 0},
        {CALL(getpid), {0}, WORKS, 0},
        {CALL(sched_getaffinity), {0, sizeof signals, (long)signals}, WORKS, 0},
        {CALL(sched_setaffinity), {0, sizeof signals, (long)signals}, WORKS, 0},
        {CALL(getcpu), {0, 0, 0}, WORKS, 0},
        {CALL(clock_gettime), {CLOCK_MONOTONIC, (long)signals}, WORKS, 0},
        {CALL(restart_syscall), {0}, EINTR, 0},
        {CALL(madvise), {(long)memory, sizeof memory, MADV_NORMAL}, WORKS, 0},
        {CALL(timer_create), {CLOCK_MONOTONIC, 0, 1}, EFAULT, 0},
        {CALL(timer_settime), {12345, 0, (long)&no_time}, EINVAL, 0},
        {CALL(timer_delete), {12345}, EINVAL, 0},
        {CALL(pidfd_send_signal), {-1, SIGKILL}, EBADF, 0},
        {CALL(exit), {0}, 0, 0}, /* does not come back */
    };
    int calls[AEE__JAIL_CALLS_MAX];
    uint32_t count = aee__jail_calls(calls);
    make_jail(&jail, AEE_JAIL_ON);
    attempt(&jail, list, sizeof list / sizeof list[0]);
    aee__jail_destroy(&jail);
    /* All of the list was tried. */
    for (uint32_t i = 0; i < count; i++) {
        bool found = false;
        for (unsigned at = 0; at < sizeof list / sizeof list[0]; at++) {
            found = found || list[at].number == calls[i];
        }
        if (!found) {
            fail_msg("system call %d was not tried", calls[i]);
        }
    }
    assert_true(count <= 20);
}

static void test_refused(void **state)
{
    (void)state;
    struct aee__jail jail;
    static const char *const no_arguments[] = {NULL};
    struct attempt list[] = {
        {CALL(open), {(long)"/", O_RDONLY}, EPERM, 0},
        {CALL(openat), {AT_FDCWD, (long)"/", O_RDONLY}, EPERM, 0},
        {CALL(read), {-1, (long)signals, 1}, EPERM, 0},
        {CALL(close), {-1}, EPERM, 0},
        {CALL(socket), {AF_INET, SOCK_STREAM, 0}, EPERM, 0},
        {CALL(execve), {(long)"/nowhere", (long)no_arguments, (long)no_arguments}, EPERM, 0},
        {CALL(ptrace), {PTRACE_TRACEME}, EPERM, 0},
        {CALL(process_vm_writev), {getpid()}, EPERM, 0},
        {CALL(clone), {SIGCHLD, 0, 0, 0, 0, getpid()}, EPERM, 0},
        {CALL(clone3), {0, 0}, EPERM, 0},
        {CALL(fork), {0, 0, 0, 0, 0, getpid()}, EPERM, 0},
        {CALL(prctl), {PR_GET_DUMPABLE}, EPERM, 0},
        {CALL(seccomp), {0}, EPERM, 0},
        {CALL(bpf), {0}, EPERM, 0},
        {CALL(io_uring_setup), {0}, EPERM, 0},
        {CALL(memfd_create), {(long)"x", 0}, EPERM, 0},
        {CALL(setuid), {getuid()}, EPERM, 0},
        {CALL(getppid), {0}, EPERM, 0},
        {CALL(kill), {getpid(), 0, 0}, EPERM, 0},
        /* Calls in the list, with other arguments. */
        {"tgkill with another signal", SYS_tgkill, {getpid(), 0, 0}, EPERM, 0},
        {"pidfd_send_signal of another signal", SYS_pidfd_send_signal, {-1, SIGTERM}, EPERM, 0},
        {"tgkill in another process", SYS_tgkill, {1, 1, KICK}, EPERM, 0},
        {"affinity of another thread", SYS_sched_setaffinity, {1, 8, (long)signals}, EPERM, 0},
        {"affinity of another thread", SYS_sched_getaffinity, {1, 8, (long)signals}, EPERM, 0},
        {"KVM_CREATE_VM", SYS_ioctl, {-1, KVM_CREATE_VM}, EPERM, 0},
        {"KVM_SET_REGS", SYS_ioctl, {-1, KVM_SET_REGS}, EPERM, 0},
        {"KVM_SET_SREGS", SYS_ioctl, {-1, KVM_SET_SREGS}, EPERM, 0},
        {"KVM_SET_USER_MEMORY_REGION", SYS_ioctl, {-1, KVM_SET_USER_MEMORY_REGION}, EPERM, 0},
        {"TIOCSTI", SYS_ioctl, {-1, TIOCSTI}, EPERM, 0},
        {"the x32 ABI", SYS_getpid | X32, {0}, EPERM, 0},
#if !SANITIZED
        {CALL(mmap), {0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}, EPERM, 0},
        {CALL(munmap), {0, 4096}, EPERM, 0},
        {CALL(mprotect), {(long)memory, 4096, PROT_READ | PROT_EXEC}, EPERM, 0},
        {CALL(write), {-1, (long)signals, 1}, EPERM, 0},
#endif
    };
    make_jail(&jail, AEE_JAIL_ON);
    attempt(&jail, list, sizeof list / sizeof list[0]);
    aee__jail_destroy(&jail);
    /* Here everything is as before. */
    assert_int_equal(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
    int fd = open("/", O_RDONLY);
    assert_true(fd >= 0);
    close(fd);
}

/* INT 0x80, where the kernel has it: number 20 is getpid() there. */
static void *attempt_int80(void *argument)
{
    long *result = argument;
    *result = 20;
    __asm__ volatile("int $0x80" : "+a"(*result) : : "memory", "r8", "r9", "r10", "r11");
    return NULL;
}

struct entry {
    const struct aee__jail *jail;
    void *(*function)(void *);
    void *argument;
};

static void *enter(void *argument)
{
    const struct entry *entry = argument;
    return aee__jail_enter(entry->jail, NULL) == AEE_OK ? entry->function(entry->argument) : NULL;
}

static void test_other_abi(void **state)
{
    (void)state;
    struct aee__jail jail;
    int status;
    make_jail(&jail, AEE_JAIL_ON);
    pid_t child = fork();
    if (child == 0) {
        long result = 0;
        struct entry entry = {&jail, attempt_int80, &result};
        struct aee__thread thread;
        (void)signal(SIGSEGV, SIG_DFL);
        (void)aee__thread_start(&thread, "jailed", enter, &entry, NULL);
        aee__thread_join(&thread);
        _exit(result == -EPERM ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0); /* a signal: no such ABI here */
    aee__jail_destroy(&jail);
}

static void test_log(void **state)
{
    (void)state;
    struct aee__jail jail;
    struct attempt list[] = {
        {CALL(getppid), {0}, WORKS, 0},
        {"KVM_CREATE_VM", SYS_ioctl, {-1, KVM_CREATE_VM}, EBADF, 0},
        {CALL(getpid), {0}, WORKS, 0},
    };
    make_jail(&jail, AEE_JAIL_LOG);
    attempt(&jail, list, 3);
    assert_int_equal(aee__jail_try(&jail, NULL), AEE_OK);
    aee__jail_destroy(&jail);
}

/* ---- Where it does not work --------------------------------------------------------------- */

static const char *failing;

static int fail_named(const char *name)
{
    return strcmp(name, failing) == 0 ? ENOSYS : 0;
}

static void test_try(void **state)
{
    (void)state;
    struct aee__jail jail;
    aee_error error;
    static const char *const calls[] = {"seccomp", "open", "pthread_create"};
    make_jail(&jail, AEE_JAIL_ON);
    assert_int_equal(aee__jail_try(&jail, &error), AEE_OK);
    for (unsigned i = 0; i < 3; i++) {
        failing = calls[i];
        aee__sys_fault = fail_named;
        aee_result result = aee__jail_try(&jail, &error);
        aee__sys_fault = NULL;
        assert_int_not_equal(result, AEE_OK);
        assert_int_equal(error.code, result);
    }
    aee__jail_destroy(&jail);
}

static void test_create_fails(void **state)
{
    (void)state;
    struct aee__jail jail;
    aee_error error;
    static const char *const calls[] = {"memfd_create", "ftruncate", "fstat", "pread"};
    for (unsigned i = 0; i < 4; i++) {
        failing = calls[i];
        aee__sys_fault = fail_named;
        aee_result result =
            aee__jail_create(&jail, &aee__alloc_default, AEE_JAIL_ON, KICK, requests, 3, &error);
        aee__sys_fault = NULL;
        assert_int_equal(result, AEE_ERR_SYSTEM);
        assert_int_equal(error.os_errno, ENOSYS);
        aee__jail_destroy(&jail); /* harmless */
    }
}

/* ---- Starter ------------------------------------------------------------------------------ */

struct family {
    struct aee__starter starter;
    struct aee__jail jail;
    struct aee__thread child;
    struct aee__thread grandchild;
    aee_result started;
    int child_errno; /* of a system call that the jail refuses */
    int grandchild_errno;
};

static int parent_errno(void)
{
    errno = 0;
    return syscall(SYS_getppid) == -1 ? errno : 0;
}

static void *grandchild(void *argument)
{
    struct family *family = argument;
    family->grandchild_errno = parent_errno();
    return NULL;
}

static void *child(void *argument)
{
    struct family *family = argument;
    family->child_errno = parent_errno();
    family->started = aee__starter_start(&family->starter, &family->grandchild, "free", NULL,
                                         grandchild, family, NULL);
    return NULL;
}

/* A jailed thread has one made that is not jailed. */
static void test_starter(void **state)
{
    (void)state;
    struct family family = {.started = AEE_ERR_STATE};
    make_jail(&family.jail, AEE_JAIL_ON);
    assert_int_equal(aee__starter_open(&family.starter, NULL), AEE_OK);
    assert_int_equal(aee__starter_start(&family.starter, &family.child, "jailed", &family.jail,
                                        child, &family, NULL),
                     AEE_OK);
    aee__thread_join(&family.child);
    assert_int_equal(family.started, AEE_OK);
    aee__thread_join(&family.grandchild);
    assert_int_equal(family.child_errno, EPERM);
    assert_int_equal(family.grandchild_errno, 0);
    aee__starter_close(&family.starter);
    aee__jail_destroy(&family.jail);
}

static void test_starter_fails(void **state)
{
    (void)state;
    struct family family = {.child_errno = -1};
    static const char *const calls[] = {"seccomp", "pthread_create"};
    aee_error error;
    make_jail(&family.jail, AEE_JAIL_ON);
    assert_int_equal(aee__starter_open(&family.starter, NULL), AEE_OK);
    for (unsigned i = 0; i < 2; i++) {
        failing = calls[i];
        aee__sys_fault = fail_named;
        aee_result result = aee__starter_start(&family.starter, &family.child, "jailed",
                                               &family.jail, child, &family, &error);
        aee__sys_fault = NULL;
        assert_int_equal(result, AEE_ERR_SYSTEM);
        assert_false(family.child.running);
        assert_int_equal(family.child_errno, -1); /* it did not begin */
    }
    aee__starter_close(&family.starter);
    aee__jail_destroy(&family.jail);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allowed),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_other_abi), cmocka_unit_test(test_log),
        cmocka_unit_test(test_try),       cmocka_unit_test(test_create_fails),
        cmocka_unit_test(test_starter),   cmocka_unit_test(test_starter_fails),
    };
    struct aee__jail jail;
    const struct sigaction action = {.sa_handler = handle};
    memset(signals, 0xff, sizeof signals);
    (void)sigaction(KICK, &action, NULL);
    if (aee__jail_create(&jail, &aee__alloc_default, AEE_JAIL_ON, KICK, requests, 3, NULL) !=
            AEE_OK ||
        aee__jail_try(&jail, NULL) != AEE_OK) {
        print_message("SKIP: threads cannot be jailed here\n");
        return 77;
    }
    aee__jail_destroy(&jail);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
