#include "base/sys_process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sys_fault.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

/* ---- Processes ---------------------------------------------------------------------------- */

struct child {
    int program;
    char name[16];
    int fds[2];
    bool keeps_rights;
    int error; /* out: the parent sleeps until the program runs or the child has ended */
};

/* The child is in the parent's memory, on a stack of its own, with the caller's signal mask: raw
 * system calls only. A sanitizer would take it for the thread that waits. */
#ifdef __has_attribute
#if __has_attribute(disable_sanitizer_instrumentation)
#define UNWATCHED __attribute__((disable_sanitizer_instrumentation))
#endif
#endif
#ifndef UNWATCHED
#define UNWATCHED __attribute__((no_sanitize("address", "thread", "undefined")))
#endif

/* The C library's clone(): that of ThreadSanitizer takes the child for a fork, in whose memory it
 * then ignores all that the caller's thread does. */
#ifdef __SANITIZE_THREAD__
int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...);
#define clone __clone
#endif

/* In a user namespace of its own the child has every right, and would lose them with exec(),
 * because its user is nobody there: what is ambient is kept (capabilities(7)). */
UNWATCHED static int keep_rights(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct rights[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, rights) != 0) {
        return -1;
    }
    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        rights[i].inheritable = rights[i].permitted;
    }
    return syscall(SYS_capset, &header, rights) != 0 ||
                   syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0) !=
                       0
               ? -1
               : 0;
}

/* The descriptors may be numbers that are about to be overwritten. */
UNWATCHED static int run_child(void *argument)
{
    struct child *child = argument;
    char *const arguments[] = {child->name, NULL};
    char *const environment[] = {NULL};
    enum { FIRST = 3, ABOVE = 5 };
    int high[2];
    if (child->keeps_rights && keep_rights() != 0) {
        child->error = errno;
        (void)syscall(SYS_exit, 1);
    }
    for (int i = 0; i < 2; i++) {
        high[i] = (int)syscall(SYS_fcntl, child->fds[i], F_DUPFD_CLOEXEC, ABOVE);
    }
    int program = (int)syscall(SYS_fcntl, child->program, F_DUPFD_CLOEXEC, ABOVE);
    if (high[0] >= 0 && high[1] >= 0 && program >= 0 && syscall(SYS_dup2, high[0], FIRST) >= 0 &&
        syscall(SYS_dup2, high[1], FIRST + 1) >= 0) {
        (void)syscall(SYS_execveat, program, "", arguments, environment, AT_EMPTY_PATH);
    }
    child->error = errno;
    (void)syscall(SYS_exit, 1);
    return 1;
}

int aee__sys_process_start(int program, const char *name, const int fds[2], uint64_t namespaces,
                           struct aee__sys_process *process)
{
    enum { STACK = 16384 };
    _Alignas(16) uint8_t stack[STACK];
    struct child child = {.program = program,
                          .fds = {fds[0], fds[1]},
                          .keeps_rights = (namespaces & CLONE_NEWUSER) != 0};
    if (injected("clone")) {
        return -1;
    }
    (void)snprintf(child.name, sizeof child.name, "%s", name);
    process->pid = clone(run_child, stack + sizeof stack,
                         (int)((uint64_t)(CLONE_VM | CLONE_VFORK | CLONE_PIDFD) | namespaces),
                         &child, &process->pidfd);
    if (process->pid < 0) {
        return -1;
    }
    (void)fcntl(process->pidfd, F_SETFD, FD_CLOEXEC);
    if (child.error != 0) {
        aee__sys_process_reap(process->pidfd);
        (void)close(process->pidfd);
        errno = child.error;
        return -1;
    }
    return 0;
}

int aee__sys_process_kill(int pidfd)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

static int wait_for(int pidfd, siginfo_t *info, int options)
{
    int result;
    memset(info, 0, sizeof *info);
    do {
        result = waitid((idtype_t)P_PIDFD, (id_t)pidfd, info, options | WEXITED | __WALL);
    } while (result != 0 && errno == EINTR);
    return result;
}

void aee__sys_process_wait(int pidfd, int *status)
{
    siginfo_t info;
    int result = wait_for(pidfd, &info, WNOWAIT);
    *status = result != 0                  ? -1
              : info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8
                                           : info.si_status & 0x7f;
}

void aee__sys_process_reap(int pidfd)
{
    siginfo_t unused;
    (void)wait_for(pidfd, &unused, 0);
}

int aee__sys_process_cpu(pid_t pid, uint64_t *ns)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0) {
        return -1;
    }
    *ns = (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
    return 0;
}

int aee__sys_process_signal(pid_t pid, pid_t thread, int signal)
{
    return injected("tgkill") ? -1 : (int)syscall(SYS_tgkill, pid, thread, signal);
}

int aee__sys_process_threads(pid_t pid, pid_t *threads, int most)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *folder = injected("opendir") ? NULL : opendir(path);
    int count = 0;
    if (!folder) {
        return -1;
    }
    for (const struct dirent *entry; count < most && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] != '.') {
            threads[count++] = (pid_t)strtol(entry->d_name, NULL, 10);
        }
    }
    (void)closedir(folder);
    return count;
}

/* ---- Files and sockets -------------------------------------------------------------------- */

int aee__sys_program(const char *name, const void *bytes, size_t size)
{
    if (injected("memfd_create")) {
        return -1;
    }
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (fd < 0 && errno == EINVAL) { /* Linux before 6.3 */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    if (fd < 0) {
        return -1;
    }
    if (injected("write") || write(fd, bytes, size) != (ssize_t)size ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

int aee__sys_socket_pair(int fds[2])
{
    return injected("socketpair") ? -1 : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
}

int aee__sys_send(int socket, int fd)
{
    char byte = 1;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof fd)];
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        memset(control, 0, sizeof control);
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    ssize_t sent;
    if (injected("sendmsg")) {
        return -1;
    }
    do {
        sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent == 1 ? 0 : -1;
}

int aee__sys_receive(int socket, uint64_t *number, uint64_t timeout_ns)
{
    struct pollfd wait = {.fd = socket, .events = POLLIN};
    int ready = injected("poll") ? -1 : poll(&wait, 1, (int)(timeout_ns / 1000000));
    if (ready <= 0) {
        errno = ready == 0 || errno == EINTR ? ETIMEDOUT : errno;
        return -1;
    }
    ssize_t got = recv(socket, number, sizeof *number, MSG_DONTWAIT);
    if (got == (ssize_t)sizeof *number) {
        return 0;
    }
    errno = got < 0 && (errno == EAGAIN || errno == EINTR) ? ETIMEDOUT : EPIPE;
    return -1;
}

ssize_t aee__sys_read_text(const char *path, char *text, size_t capacity)
{
    int fd = aee__sys_open(path, O_RDONLY);
    size_t have = 0;
    ssize_t got = fd < 0 ? -1 : 0;
    while (fd >= 0 && have < capacity - 1 &&
           (got = read(fd, text + have, capacity - 1 - have)) > 0) {
        have += (size_t)got;
    }
    text[have] = '\0';
    (void)aee__sys_close(fd);
    return got < 0 ? -1 : (ssize_t)have;
}

int aee__sys_write_text(const char *path, const char *text)
{
    int fd = aee__sys_open(path, O_WRONLY);
    if (fd < 0) {
        return -1;
    }
    size_t size = strlen(text);
    ssize_t wrote;
    do { /* a control group is not changed while a signal waits */
        wrote = injected("write") ? -1 : write(fd, text, size);
    } while (wrote < 0 && errno == EINTR);
    int error = wrote == (ssize_t)size ? 0 : errno;
    (void)close(fd);
    errno = error;
    return error == 0 ? 0 : -1;
}

int aee__sys_make_folder(const char *path)
{
    enum { MODE = 0755 };
    return injected("mkdir") ? -1 : mkdir(path, MODE);
}

int aee__sys_remove_folder(const char *path)
{
    return rmdir(path);
}

/* ---- Events ------------------------------------------------------------------------------- */

int aee__sys_poll_create(void)
{
    return injected("epoll_create1") ? -1 : epoll_create1(EPOLL_CLOEXEC);
}

int aee__sys_poll_add(int poll_fd, int fd, uint64_t number)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = number}};
    return injected("epoll_ctl") ? -1 : epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
}

void aee__sys_poll_remove(int poll_fd, int fd)
{
    (void)epoll_ctl(poll_fd, EPOLL_CTL_DEL, fd, NULL);
}

int aee__sys_poll_wait(int poll_fd, uint64_t *number, int timeout_ms)
{
    struct epoll_event event;
    int count = epoll_wait(poll_fd, &event, 1, timeout_ms);
    *number = count == 1 ? event.data.u64 : 0;
    return count < 0 && errno == EINTR ? 0 : count;
}

int aee__sys_event_create(void)
{
    return injected("eventfd") ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void aee__sys_event_set(int event)
{
    const uint64_t one = 1;
    (void)!write(event, &one, sizeof one);
}

void aee__sys_event_clear(int event)
{
    uint64_t value;
    (void)!read(event, &value, sizeof value);
}

/* ---- Shared words ------------------------------------------------------------------------- */

void aee__sys_shared_wait(const uint32_t *word, uint32_t value, uint64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                               .tv_nsec = (long)(timeout_ns % 1000000000u)};
    (void)syscall(SYS_futex, word, FUTEX_WAIT, value, &timeout, NULL, 0);
}

void aee__sys_shared_wake(const uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}
