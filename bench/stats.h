/* stats.h: samples of a measurement and their percentiles. Owns the array of samples; one thread at
 * a time. */
#ifndef AEE_BENCH_STATS_H
#define AEE_BENCH_STATS_H

#include <stdbool.h>
#include <stdint.h>

struct bench_samples {
    double *values;
    uint32_t count;
    uint32_t capacity;
};

struct bench_summary {
    double p50;
    double p99;
    double max;
    double mean;
    uint32_t count; /* 0: nothing was measured, and the rest is 0 */
};

/* False: out of memory. The pages are touched here, so that none is touched while time is taken. */
bool bench_samples_init(struct bench_samples *samples, uint32_t capacity);
void bench_samples_free(struct bench_samples *samples);

/* What does not fit is dropped: nothing is allocated between two clock readings. */
static inline void bench_samples_add(struct bench_samples *samples, double value)
{
    if (samples->count < samples->capacity) {
        samples->values[samples->count++] = value;
    }
}

/* Sorts the samples. A percentile is the least sample that at least that share of all do not exceed
 * (nearest rank); among many equal ones, the part of a step of the clock that the rank stands for.
 */
struct bench_summary bench_summarize(struct bench_samples *samples);

#endif
