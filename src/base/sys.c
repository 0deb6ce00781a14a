#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/sys_fault.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#ifdef AEE_TESTING
int (*_Atomic aee__sys_fault)(const char *name);
#endif

int aee__sys_open(const char *path, int flags)
{
    return injected("open") ? -1 : open(path, flags | O_CLOEXEC);
}

int aee__sys_close(int fd)
{
    return fd >= 0 ? close(fd) : 0;
}

int aee__sys_dup(int fd)
{
    return injected("dup") ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int aee__sys_ioctl(int fd, unsigned long request, void *argument)
{
    return injected("ioctl") ? -1 : ioctl(fd, request, argument);
}

int aee__sys_ioctl_value(int fd, unsigned long request, unsigned long argument)
{
    return injected("ioctl") ? -1 : ioctl(fd, request, argument);
}

void *aee__sys_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    return injected("mmap") ? MAP_FAILED : mmap(address, size, protection, flags, fd, offset);
}

int aee__sys_munmap(void *address, size_t size)
{
    return munmap(address, size);
}

int aee__sys_protect(void *address, size_t size, int accessible)
{
    return injected("mprotect")
               ? -1
               : mprotect(address, size, accessible ? PROT_READ | PROT_WRITE : PROT_NONE);
}

int aee__sys_madvise(void *address, size_t size, int advice)
{
    return injected("madvise") ? -1 : madvise(address, size, advice);
}

int aee__sys_memfd(const char *name, uint64_t size)
{
    if (injected("memfd_create")) {
        return -1;
    }
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) { /* Linux before 6.3 */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    if (fd < 0) {
        return -1;
    }
    if (injected("ftruncate") || ftruncate(fd, (off_t)size) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

int aee__sys_resize_memfd(int fd, uint64_t size)
{
    return injected("ftruncate") ? -1 : ftruncate(fd, (off_t)size);
}

uint64_t aee__sys_file_resident(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 ? (uint64_t)status.st_blocks * 512u : 0;
}

int64_t aee__sys_find_data(int fd, int64_t from, int64_t *end)
{
    *end = from;
    if (injected("lseek")) {
        return -1;
    }
    off_t start = lseek(fd, from, SEEK_DATA);
    if (start < 0) {
        return errno == ENXIO ? -2 : -1;
    }
    *end = lseek(fd, start, SEEK_HOLE);
    return *end < 0 ? -1 : start;
}

/* Documentation/admin-guide/mm/pagemap.rst: present or swapped, and not of a file. */
int aee__sys_private_pages(const void *at, uint32_t count, uint64_t *bits)
{
    uint64_t entries[64];
    size_t size = count * sizeof entries[0];
    *bits = 0;
    int fd = injected("pagemap") ? -1 : open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    ssize_t got = pread(fd, entries, size, (off_t)((uintptr_t)at / 4096 * sizeof entries[0]));
    (void)close(fd);
    for (uint32_t i = 0; i < count && got == (ssize_t)size; i++) {
        bool there = (entries[i] >> 62) != 0; /* swapped or present */
        bool file = (entries[i] >> 61) & 1;
        *bits |= (uint64_t)(there && !file) << i;
    }
    return got == (ssize_t)size ? 0 : -1;
}

ssize_t aee__sys_pread(int fd, void *buffer, size_t size, off_t offset)
{
    return injected("pread") ? -1 : pread(fd, buffer, size, offset);
}

int64_t aee__sys_file_size(int fd)
{
    struct stat status;
    if (injected("fstat") || fstat(fd, &status) != 0) {
        return -1;
    }
    return status.st_size;
}

int aee__sys_random(void *buffer, size_t size)
{
    return injected("getrandom") || getrandom(buffer, size, 0) != (ssize_t)size ? -1 : 0;
}

int aee__sys_signal_thread(pthread_t thread, int signal)
{
    return pthread_kill(thread, signal);
}

/* A thread's CPU clock is named by the thread's number (CPUCLOCK_PID() in the kernel's
 * posix-timers.h); the C library has no other way to ask for that of another thread. */
pid_t aee__sys_thread_id(pthread_t thread)
{
    clockid_t clock;
    return pthread_getcpuclockid(thread, &clock) == 0 ? (pid_t) ~((uint32_t)clock >> 3 | 7u << 29)
                                                      : 0;
}

int aee__sys_timer_create(pid_t thread, int signal, timer_t *out)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal};
    event._sigev_un._tid = thread;
    return injected("timer_create") ? -1 : timer_create(CLOCK_MONOTONIC, &event, out);
}

int aee__sys_timer_set(timer_t timer, uint64_t at_ns)
{
    const struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_ns / 1000000000u),
                                                 .tv_nsec = (long)(at_ns % 1000000000u)}};
    return injected("timer_settime") ? -1 : timer_settime(timer, TIMER_ABSTIME, &when, NULL);
}

void aee__sys_timer_stop(timer_t timer)
{
    const struct itimerspec never = {0};
    (void)timer_settime(timer, 0, &never, NULL);
}

void aee__sys_timer_delete(timer_t timer)
{
    (void)timer_delete(timer);
}

void aee__sys_sleep(uint64_t ns)
{
    struct timespec delay = {.tv_sec = (time_t)(ns / 1000000000u),
                             .tv_nsec = (long)(ns % 1000000000u)};
    (void)nanosleep(&delay, NULL);
}

int aee__sys_block_signal(int signal, sigset_t *old)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    return pthread_sigmask(SIG_BLOCK, &set, old);
}

int aee__sys_restore_mask(const sigset_t *old)
{
    return pthread_sigmask(SIG_SETMASK, old, NULL);
}

void aee__sys_swap_mask(const uint64_t *mask, uint64_t *old)
{
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, mask, old, sizeof *mask);
}

int aee__sys_signal_stack(const stack_t *stack, stack_t *old)
{
    return old && injected("sigaltstack") ? -1 : sigaltstack(stack, old);
}

void aee__sys_consume_signal(int signal)
{
    const struct timespec now = {0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    (void)sigtimedwait(&set, NULL, &now);
}

void aee__sys_futex_wait(const _Atomic uint32_t *word, uint32_t value, uint64_t deadline_ns)
{
    struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                                .tv_nsec = (long)(deadline_ns % 1000000000u)};
    /* FUTEX_WAIT_BITSET: its timeout is absolute and on CLOCK_MONOTONIC (futex(2)). */
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, deadline_ns ? &deadline : NULL,
                  NULL, FUTEX_BITSET_MATCH_ANY);
}

void aee__sys_futex_wake_all(const _Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

void aee__sys_fine_timers(void)
{
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

int aee__sys_cpu(void)
{
    return sched_getcpu();
}

/* The mask is narrowed and widened again: the first moves the thread, the second leaves it where it
 * then is. */
void aee__sys_leave_cpu(int cpu)
{
    cpu_set_t allowed;
    if (cpu < 0 || cpu >= CPU_SETSIZE || sched_getcpu() != cpu ||
        sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) {
        return;
    }
    cpu_set_t others = allowed;
    CPU_CLR((unsigned)cpu, &others);
    if (sched_setaffinity(0, sizeof others, &others) == 0) {
        (void)sched_setaffinity(0, sizeof allowed, &allowed);
    }
}

void aee__sys_thread_place(pid_t thread, pid_t like, enum aee__place place, int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu < 0 || cpu >= CPU_SETSIZE ||
        (place != AEE__PLACE_AT && sched_getaffinity(like, sizeof set, &set) != 0)) {
        return;
    }
    if (place == AEE__PLACE_AT) {
        CPU_SET((unsigned)cpu, &set);
    } else if (place == AEE__PLACE_OFF) {
        CPU_CLR((unsigned)cpu, &set);
    }
    if (CPU_COUNT(&set) > 0) {
        (void)sched_setaffinity(thread, sizeof set, &set);
    }
}

void aee__sys_urgent_thread(void)
{
    const struct sched_param lowest = {.sched_priority = sched_get_priority_min(SCHED_FIFO)};
    (void)sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest);
}

void aee__sys_background_thread(void)
{
    const struct sched_param none = {0};
    (void)sched_setscheduler(0, SCHED_BATCH, &none); /* sched(7): disfavored in wakeups */
}

/* no_new_privs, of this thread alone, is what a thread without CAP_SYS_ADMIN needs for a filter
 * (seccomp(2)). Without SPEC_ALLOW, which is of Linux 4.17, kernels before 5.16 would also switch
 * the processor's speculation off for the guest that this thread runs. */
int aee__sys_filter_thread(const struct sock_fprog *program)
{
    if (injected("seccomp") || prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0) {
        return -1;
    }
    unsigned flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    long status = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
    if (status != 0 && errno == EINVAL) {
        status = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program);
    }
    return status == 0 ? 0 : -1;
}

int aee__sys_process(void)
{
    return (int)getpid();
}

int aee__sys_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    int count = CPU_COUNT(&set);
    return count > 0 ? count : 1;
}
