/* sys.h: every system call of the library goes through here, so that tests can make each one fail.
 * All return -1 and set errno on failure (pointers: MAP_FAILED). Owns nothing; any thread. */
#ifndef AEE_BASE_SYS_H
#define AEE_BASE_SYS_H

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

int aee__sys_open(const char *path, int flags);
int aee__sys_close(int fd);
int aee__sys_dup(int fd);
int aee__sys_ioctl(int fd, unsigned long request, void *argument);
/* For requests whose argument is a number. */
int aee__sys_ioctl_value(int fd, unsigned long request, unsigned long argument);
void *aee__sys_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int aee__sys_munmap(void *address, size_t size);
int aee__sys_protect(void *address, size_t size, int accessible); /* read and write, or nothing */
int aee__sys_madvise(void *address, size_t size, int advice);
/* An anonymous file that cannot shrink. */
int aee__sys_memfd(const char *name, uint64_t size);
int aee__sys_resize_memfd(int fd, uint64_t size);
uint64_t aee__sys_file_resident(int fd); /* bytes that a memory file occupies; 0 on failure */
/* The next part of a memory file at or after `from` that it has memory for: where it begins, and in
 * *end where it ends; -2: there is none. */
int64_t aee__sys_find_data(int fd, int64_t from, int64_t *end);
/* One bit for each of at most 64 pages from `at` on: it is the process's own by now, not a file's.
 */
int aee__sys_private_pages(const void *at, uint32_t count, uint64_t *bits);
ssize_t aee__sys_pread(int fd, void *buffer, size_t size, off_t offset);
int64_t aee__sys_file_size(int fd);
int aee__sys_random(void *buffer, size_t size);
int aee__sys_signal_thread(pthread_t thread, int signal); /* 0 on success */
/* The kernel's number of a thread that lives; 0: unknown. */
pid_t aee__sys_thread_id(pthread_t thread);
/* A timer that sends `signal` to that thread of the process. */
int aee__sys_timer_create(pid_t thread, int signal, timer_t *out);
/* Sets it off once when CLOCK_MONOTONIC reaches at_ns. Any thread. */
int aee__sys_timer_set(timer_t timer, uint64_t at_ns);
/* After this it does not go off; what it sent before may be pending. */
void aee__sys_timer_stop(timer_t timer);
void aee__sys_timer_delete(timer_t timer);
void aee__sys_sleep(uint64_t ns);
/* Blocks `signal` in the calling thread; *old receives the mask to put back. */
int aee__sys_block_signal(int signal, sigset_t *old);
int aee__sys_restore_mask(const sigset_t *old);
/* The calling thread's mask as the kernel has it, one bit for each signal from 1 on: also of those
 * that the C library keeps for itself. *old may be NULL. */
void aee__sys_swap_mask(const uint64_t *mask, uint64_t *old);
/* sigaltstack(2). Going back to the old one (`old` is NULL) does not fail. */
int aee__sys_signal_stack(const stack_t *stack, stack_t *old);
/* Takes a pending blocked signal away; no effect when none is pending. */
void aee__sys_consume_signal(int signal);
/* Sleeps while *word == value, until woken or CLOCK_MONOTONIC reaches deadline_ns (0: no deadline).
 * May wake for no reason. */
void aee__sys_futex_wait(const _Atomic uint32_t *word, uint32_t value, uint64_t deadline_ns);
void aee__sys_futex_wake_all(const _Atomic uint32_t *word);
void aee__sys_fine_timers(void); /* the calling thread's timer slack becomes 1 ns */
/* From now on the calling thread, when it is woken, takes the core from any thread of ordinary
 * priority, where the process may ask for that (CAP_SYS_NICE, RLIMIT_RTPRIO). */
void aee__sys_urgent_thread(void);
/* From now on the calling thread, when it is woken, waits for a free core or its turn instead of
 * taking the core from a thread that runs. */
void aee__sys_background_thread(void);
struct sock_fprog;
/* The calling thread can gain no privileges any more, and the kernel filters its system calls. */
int aee__sys_filter_thread(const struct sock_fprog *program);
int aee__sys_process(void);   /* number of the process */
int aee__sys_cpu_count(void); /* CPUs the process may run on, at least 1 */
int aee__sys_cpu(void);       /* on which the calling thread runs; a negative value: unknown */
/* If the calling thread runs on that CPU, it moves to another one, as far as it may. */
void aee__sys_leave_cpu(int cpu);
enum aee__place {
    AEE__PLACE_ANY,
    AEE__PLACE_AT,  /* that CPU only */
    AEE__PLACE_OFF, /* any but that CPU */
};
/* From now on that thread runs on any CPU that the thread `like` may use, on that one only, or on
 * the others, if it can; both may be another process'. */
void aee__sys_thread_place(pid_t thread, pid_t like, enum aee__place place, int cpu);

#ifdef AEE_TESTING
/* Called before each fallible system call with its name; a non-zero return is the errno it fails
 * with. NULL: none fails. Set while no other thread is in the library. */
extern int (*_Atomic aee__sys_fault)(const char *name);
#endif

#endif
