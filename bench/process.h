/* process.h: a child process that answers empty calls (sandbox.h), over shared memory with futexes
 * or by spinning, or over pipes. Owns the child and what both share. One thread. */
#ifndef AEE_BENCH_PROCESS_H
#define AEE_BENCH_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "bench/internal.h"
#include "bench/sandbox.h"

struct bench_process {
    const struct bench *bench;
    const char *kind;
    int (*call)(struct bench_process *process);
    struct sandbox *sandbox;
    uint32_t last;
    pid_t child; /* 0: none */
    int memory;  /* -1: none, as the others */
    int requests[2];
    int replies[2];
    void (*old_handler)(int); /* of SIGPIPE, which a child that is gone would cause */
    bool opened;
};

/* `kind`: "spin", "futex" or "pipe". The child may run where the calling thread may; one that spins
 * goes to the bench's other processor. Close it in any case. */
int bench_process_open(struct bench_process *process, const struct bench *bench, const char *kind,
                       struct bench_result *result);
/* One that is zero is fine. */
void bench_process_close(struct bench_process *process);
/* A bench_measure_fn; ns of one round trip. */
int bench_process_measure(void *user, struct bench_samples *samples, uint32_t count,
                          struct bench_result *result);

#endif
