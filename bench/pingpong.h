/* pingpong.h: the floor of every call without an exit: two native threads on two processors, one
 * cache line each way. Owns the second thread. */
#ifndef AEE_BENCH_PINGPONG_H
#define AEE_BENCH_PINGPONG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "bench/internal.h"

struct bench_pingpong {
    _Alignas(64) _Atomic uint64_t request;
    _Alignas(64) _Atomic uint64_t reply;
    _Alignas(64) pthread_mutex_t lock;
    pthread_cond_t changed;
    bool playing;  /* under the lock */
    bool stopping; /* under the lock */
    bool started;
    int cpu_here;
    int cpu_there;
    pthread_t partner;
};

/* The partner sleeps but for the time of bench_pingpong_measure(). */
int bench_pingpong_open(struct bench_pingpong *pingpong, const struct bench *bench,
                        struct bench_result *result);
void bench_pingpong_close(struct bench_pingpong *pingpong);
/* A bench_measure_fn; ns of one round trip. Pins the calling thread. */
int bench_pingpong_measure(void *user, struct bench_samples *samples, uint32_t count,
                           struct bench_result *result);

#endif
