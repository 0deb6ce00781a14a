/* sandbox.c: the child of the elsewhere_process_ rows: it answers empty calls until its parent says
 * or is no more. A real sandbox would add a filter of system calls, which costs more still. */
#include "bench/sandbox.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/internal.h"

bool sandbox_wait(_Atomic uint32_t *word, uint32_t value)
{
    const struct timespec patience = {.tv_sec = 1};
    return syscall(SYS_futex, word, FUTEX_WAIT, value, &patience, NULL, 0) == 0 ||
           errno != ETIMEDOUT;
}

void sandbox_wake(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static __attribute__((noinline)) void empty(void)
{
    __asm__ volatile("");
}

static void serve_spinning(struct sandbox *sandbox)
{
    uint32_t last = 0;
    bench_cpus_pin(sandbox->cpu);
    while (last != SANDBOX_END) {
        const uint32_t request = atomic_load_explicit(&sandbox->request, memory_order_acquire);
        if (request == last) {
            bench_pause();
            continue;
        }
        last = request;
        empty();
        atomic_store_explicit(&sandbox->reply, last, memory_order_release);
    }
}

static void serve_futex(struct sandbox *sandbox)
{
    uint32_t last = 0;
    while (last != SANDBOX_END) {
        const uint32_t request = atomic_load_explicit(&sandbox->request, memory_order_acquire);
        if (request == last) {
            (void)sandbox_wait(&sandbox->request, last);
            continue;
        }
        last = request;
        empty();
        atomic_store_explicit(&sandbox->reply, last, memory_order_release);
        sandbox_wake(&sandbox->reply);
    }
}

static void serve_pipe(void)
{
    uint32_t request;
    while (read(SANDBOX_REQUESTS, &request, sizeof request) == sizeof request) {
        empty();
        if (write(SANDBOX_REPLIES, &request, sizeof request) != sizeof request) {
            return;
        }
    }
}

int bench_sandbox_main(const char *kind)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    void *memory =
        mmap(NULL, sizeof(struct sandbox), PROT_READ | PROT_WRITE, MAP_SHARED, SANDBOX_MEMORY, 0);
    if (memory == MAP_FAILED) {
        (void)fputs("aee bench: this is the child of a measurement, and was not started by one\n",
                    stderr);
        return 1;
    }
    if (strcmp(kind, "spin") == 0) {
        serve_spinning(memory);
    } else if (strcmp(kind, "futex") == 0) {
        serve_futex(memory);
    } else {
        serve_pipe();
    }
    return 0;
}
