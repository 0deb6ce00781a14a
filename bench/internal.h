/* internal.h: what the rows share: the state of a run, clocks, processors, skipping, interleaving.
 * Main thread, unless said otherwise. */
#ifndef AEE_BENCH_INTERNAL_H
#define AEE_BENCH_INTERNAL_H

#include <sched.h>
#include <stdint.h>
#include <time.h>

#include "bench/bench.h"

#define BENCH_NS_PER_MS UINT64_C(1000000)
#define BENCH_NS_PER_SECOND UINT64_C(1000000000)

struct bench {
    struct bench_options options;
    aee_probe_report probe;
    aee_level level;   /* of every engine */
    cpu_set_t allowed; /* that the process began with */
    uint32_t cpu_count;
    int cpu_here;  /* on which the bench's own thread is pinned where a row says so */
    int cpu_there; /* on another core, if there is one; -1: there is no second processor */
};

/* Any thread. The clock of every figure. */
static inline uint64_t bench_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * BENCH_NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* Any thread. */
void bench_sleep(uint64_t ns);
void bench_sleep_until(uint64_t at_ns);

static inline void bench_pause(void)
{
    __builtin_ia32_pause();
}

/* `n`, or a tenth of it in a quick run; at least 1. */
uint32_t bench_scale(const struct bench *bench, uint32_t n);

/* ---- Results ------------------------------------------------------------------------------ */

/* Writes the sentence and returns -1. The first one stays. */
__attribute__((format(printf, 2, 3))) int bench_skip(struct bench_result *result,
                                                     const char *format, ...);
/* The same with what the library said about it; 0 for AEE_OK. */
int bench_check(struct bench_result *result, aee_result status, const aee_error *error);
void bench_extra(struct bench_result *result, const char *name, double value);

/* 0.98 of native speed, as a ratio of times; and the extra figure that a reader looks for: native
 * time by the row's, so that 1 is as fast as native. */
#define BENCH_NATIVE_RATIO (1.0 / 0.98)
void bench_native_share(struct bench_result *result);

/* ---- Processors --------------------------------------------------------------------------- */

/* Finds the two processors. */
void bench_cpus_find(struct bench *bench);
/* The calling thread and those that it starts run on both processors only, on one, or on all that
 * the process may use. */
void bench_cpus_pair(const struct bench *bench);
void bench_cpus_pin(int cpu);
void bench_cpus_free(const struct bench *bench);
/* -1, with the sentence, where there is only one. */
int bench_need_two_cpus(const struct bench *bench, struct bench_result *result);

/* ---- Interleaving ------------------------------------------------------------------------- */

/* Adds `count` samples; 0 or -1 with the sentence in result. */
typedef int (*bench_measure_fn)(void *user, struct bench_samples *samples, uint32_t count,
                                struct bench_result *result);

struct bench_pair {
    bench_measure_fn floor; /* NULL: none */
    void *floor_user;
    bench_measure_fn row;
    void *row_user;
    uint32_t rounds;      /* how often floor and row take turns */
    uint32_t floor_count; /* samples a round */
    uint32_t row_count;
};

/* Measures floor and row in turns, so that what disturbs the machine disturbs both, and fills the
 * result's two summaries. */
int bench_interleave(const struct bench_pair *pair, struct bench_result *result);

#endif
