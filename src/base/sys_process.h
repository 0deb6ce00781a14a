/* sys_process.h: starting, watching and ending processes, and what two processes share. As sys.h:
 * -1 and errno on failure; tests can make each one fail. Any thread. */
#ifndef AEE_BASE_SYS_PROCESS_H
#define AEE_BASE_SYS_PROCESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct aee__sys_process {
    pid_t pid;
    int pidfd;
};

/* Starts the program in the file `program` with `fds` as its descriptors 3, 4, and no environment.
 * It begins with the caller's signal mask. It is a child of the process like any other: exec()
 * gives it SIGCHLD to send, and a wait() for any child can take its end away. `namespaces`:
 * CLONE_NEW flags. The caller's stack memory is used meanwhile. */
int aee__sys_process_start(int program, const char *name, const int fds[2], uint64_t namespaces,
                           struct aee__sys_process *process);
int aee__sys_process_kill(int pidfd);
/* Waits for its end; *status as waitpid() gives it, or -1 where that is not known. Its number stays
 * taken until it is reaped. */
void aee__sys_process_wait(int pidfd, int *status);
/* Waits for its end and forgets it. */
void aee__sys_process_reap(int pidfd);
/* Processor time that it has used; -1 where that is not known. */
int aee__sys_process_cpu(pid_t pid, uint64_t *ns);
/* Signals one thread of a process that has not been reaped. */
int aee__sys_process_signal(pid_t pid, pid_t thread, int signal);
/* The threads of a process, by number; how many, at most `most`. */
int aee__sys_process_threads(pid_t pid, pid_t *threads, int most);

/* A memory file whose content can be executed. */
int aee__sys_program(const char *name, const void *bytes, size_t size);
/* A pair of connected stream sockets, closed on exec. */
int aee__sys_socket_pair(int fds[2]);
/* Sends one byte, with a descriptor unless `fd` is negative. */
int aee__sys_send(int socket, int fd);
/* Reads a number that was written at once; -1 with ETIMEDOUT (also after a signal) or, where nobody
 * can write any more, EPIPE. */
int aee__sys_receive(int socket, uint64_t *number, uint64_t timeout_ns);
/* A file of the kernel's, as text: at most capacity - 1 bytes and a terminator; how many. */
ssize_t aee__sys_read_text(const char *path, char *text, size_t capacity);
int aee__sys_write_text(const char *path, const char *text);
int aee__sys_make_folder(const char *path);
int aee__sys_remove_folder(const char *path);

/* An epoll descriptor; of one event at a time, its number. */
int aee__sys_poll_create(void);
int aee__sys_poll_add(int poll, int fd, uint64_t number);
void aee__sys_poll_remove(int poll, int fd);
/* 1: there is an event; 0: the time has passed (negative: there is no limit); -1. */
int aee__sys_poll_wait(int poll, uint64_t *number, int timeout_ms);
int aee__sys_event_create(void); /* eventfd */
void aee__sys_event_set(int event);
void aee__sys_event_clear(int event);

/* As those of sys.h, on words that processes share; the wait ends after timeout_ns at the latest.
 */
void aee__sys_shared_wait(const uint32_t *word, uint32_t value, uint64_t timeout_ns);
void aee__sys_shared_wake(const uint32_t *word);

#endif
