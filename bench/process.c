#include "bench/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_TURNS = 1 << 20 };     /* of a loop, a few hundredths of a second */
enum { WARM_UP = 200, HIGH = 64 }; /* descriptors from HIGH on: clear of those the child gets */

/* ---- Calls -------------------------------------------------------------------------------- */

/* Somebody may have killed it; it is left for bench_process_close() to reap. */
static bool is_gone(const struct bench_process *process)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)process->child, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid != 0;
}

static int call_spinning(struct bench_process *process)
{
    const uint32_t value = ++process->last;
    atomic_store_explicit(&process->sandbox->request, value, memory_order_release);
    for (uint32_t turn = 1;
         atomic_load_explicit(&process->sandbox->reply, memory_order_acquire) != value; turn++) {
        if (turn % LOOK_TURNS == 0 && is_gone(process)) {
            return -1;
        }
        bench_pause();
    }
    return 0;
}

static int call_futex(struct bench_process *process)
{
    const uint32_t value = ++process->last;
    atomic_store_explicit(&process->sandbox->request, value, memory_order_release);
    sandbox_wake(&process->sandbox->request);
    for (;;) {
        const uint32_t reply = atomic_load_explicit(&process->sandbox->reply, memory_order_acquire);
        if (reply == value) {
            return 0;
        }
        if (!sandbox_wait(&process->sandbox->reply, reply) && is_gone(process)) {
            return -1;
        }
    }
}

static int call_pipe(struct bench_process *process)
{
    uint32_t value = ++process->last;
    return write(process->requests[1], &value, sizeof value) == sizeof value &&
                   read(process->replies[0], &value, sizeof value) == sizeof value
               ? 0
               : -1;
}

/* ---- The child ---------------------------------------------------------------------------- */

/* All close on exec; the child gets copies under the numbers that it knows. */
static int open_files(struct bench_process *process)
{
    process->memory = memfd_create("aee-bench", MFD_CLOEXEC);
    if (process->memory < 0 || ftruncate(process->memory, (off_t)sizeof *process->sandbox) != 0 ||
        pipe2(process->requests, O_CLOEXEC) != 0 || pipe2(process->replies, O_CLOEXEC) != 0) {
        return -1;
    }
    void *memory = mmap(NULL, sizeof *process->sandbox, PROT_READ | PROT_WRITE, MAP_SHARED,
                        process->memory, 0);
    if (memory == MAP_FAILED) {
        return -1;
    }
    process->sandbox = memory;
    process->sandbox->cpu = process->bench->cpu_there;
    return 0;
}

/* First out of the way, then to where they belong: the targets may be in use by the sources. */
static int spawn(struct bench_process *process)
{
    extern char **environ;
    char name[] = "aee";
    char verb[] = "bench";
    char option[] = "--sandbox-child";
    char kind[16];
    char *argv[] = {name, verb, option, kind, NULL};
    posix_spawn_file_actions_t actions;
    const int sources[] = {process->memory, process->requests[0], process->replies[1]};
    (void)snprintf(kind, sizeof kind, "%s", process->kind);
    if (posix_spawn_file_actions_init(&actions) != 0) {
        return -1;
    }
    for (int i = 0; i < 3; i++) {
        (void)posix_spawn_file_actions_adddup2(&actions, sources[i], HIGH + i);
    }
    for (int i = 0; i < 3; i++) {
        (void)posix_spawn_file_actions_adddup2(&actions, HIGH + i, SANDBOX_MEMORY + i);
        (void)posix_spawn_file_actions_addclose(&actions, HIGH + i);
    }
    errno = posix_spawn(&process->child, "/proc/self/exe", &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (errno != 0) {
        process->child = 0;
        return -1;
    }
    return 0;
}

static void close_file(int *file)
{
    if (*file >= 0) {
        (void)close(*file);
        *file = -1;
    }
}

void bench_process_close(struct bench_process *process)
{
    if (!process->opened) {
        return;
    }
    if (process->sandbox) {
        atomic_store(&process->sandbox->request, SANDBOX_END);
        sandbox_wake(&process->sandbox->request);
    }
    close_file(&process->requests[0]);
    close_file(&process->requests[1]);
    close_file(&process->replies[0]);
    close_file(&process->replies[1]);
    close_file(&process->memory);
    if (process->child > 0) {
        (void)waitpid(process->child, NULL, 0);
    }
    if (process->sandbox) {
        (void)munmap(process->sandbox, sizeof *process->sandbox);
    }
    (void)signal(SIGPIPE, process->old_handler);
    process->opened = false;
}

int bench_process_open(struct bench_process *process, const struct bench *bench, const char *kind,
                       struct bench_result *result)
{
    *process = (struct bench_process){.bench = bench,
                                      .kind = kind,
                                      .call = strcmp(kind, "spin") == 0    ? call_spinning
                                              : strcmp(kind, "futex") == 0 ? call_futex
                                                                           : call_pipe,
                                      .memory = -1,
                                      .requests = {-1, -1},
                                      .replies = {-1, -1}};
    process->old_handler = signal(SIGPIPE, SIG_IGN);
    process->opened = true;
    if (open_files(process) != 0) {
        return bench_skip(result, "no memory or pipes to share: %s", strerror(errno));
    }
    if (spawn(process) != 0) {
        return bench_skip(result, "a child process could not be started: %s", strerror(errno));
    }
    close_file(&process->requests[0]); /* the child's: when it dies, we notice */
    close_file(&process->replies[1]);
    return 0;
}

int bench_process_measure(void *user, struct bench_samples *samples, uint32_t count,
                          struct bench_result *result)
{
    struct bench_process *process = user;
    for (uint32_t i = 0; i < WARM_UP; i++) {
        if (process->call(process) != 0) {
            return bench_skip(result, "the child process does not answer");
        }
    }
    uint64_t before = bench_now();
    for (uint32_t i = 0; i < count; i++) {
        if (process->call(process) != 0) {
            return bench_skip(result, "the child process does not answer");
        }
        const uint64_t now = bench_now();
        bench_samples_add(samples, (double)(now - before));
        before = now;
    }
    return 0;
}
