#include "stats.h"

#include <stdlib.h>
#include <string.h>

enum { MANY_EQUAL = 20 };

bool bench_samples_init(struct bench_samples *samples, uint32_t capacity)
{
    *samples = (struct bench_samples){0};
    samples->values = malloc((size_t)capacity * sizeof *samples->values);
    if (!samples->values) {
        return false;
    }
    memset(samples->values, 0xff, (size_t)capacity * sizeof *samples->values);
    samples->capacity = capacity;
    return true;
}

void bench_samples_free(struct bench_samples *samples)
{
    free(samples->values);
    *samples = (struct bench_samples){0};
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Samples are clock readings, and some clocks count in steps that a short call is only a few of
 * (10 ns on AMD processors): a difference of two readings is then rounded, up or down by chance.
 * Many equal samples stand for times from half a step below to half a step above. */
static double within_step(const struct bench_samples *sorted, uint64_t rank)
{
    const double value = sorted->values[rank - 1];
    uint64_t first = rank - 1;
    uint64_t end = rank;
    while (first > 0 && sorted->values[first - 1] >= value) {
        first--;
    }
    while (end < sorted->count && sorted->values[end] <= value) {
        end++;
    }
    if (end - first < MANY_EQUAL || first == 0 || end == sorted->count) {
        return value;
    }
    const double low = (sorted->values[first - 1] + value) / 2;
    const double high = (value + sorted->values[end]) / 2;
    return low + (high - low) * (double)(rank - first) / (double)(end - first);
}

/* In hundredths, with integers: 99 of 100 samples is the 99th, whatever 0.99 * 100 rounds to. */
static double percentile(const struct bench_samples *sorted, uint64_t hundredths)
{
    const uint64_t rank = (sorted->count * hundredths + 99) / 100;
    return within_step(sorted, rank > 0 ? rank : 1);
}

struct bench_summary bench_summarize(struct bench_samples *samples)
{
    struct bench_summary summary = {.count = samples->count};
    if (samples->count == 0) {
        return summary;
    }
    qsort(samples->values, samples->count, sizeof samples->values[0], by_value);
    double sum = 0.0;
    for (uint32_t i = 0; i < samples->count; i++) {
        sum += samples->values[i];
    }
    summary.mean = sum / samples->count;
    summary.p50 = percentile(samples, 50);
    summary.p99 = percentile(samples, 99);
    summary.max = samples->values[samples->count - 1];
    return summary;
}
