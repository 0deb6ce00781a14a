#include "monitor/histogram.h"

#define SUB_BITS 5u /* 32 buckets per power of two */
#define SUB_COUNT (1u << SUB_BITS)

static uint32_t bucket_of(uint64_t ns)
{
    if (ns < SUB_COUNT) {
        return (uint32_t)ns;
    }
    uint32_t top = 63u - (uint32_t)__builtin_clzll(ns);
    uint32_t sub = (uint32_t)(ns >> (top - SUB_BITS)) & (SUB_COUNT - 1);
    uint32_t bucket = (top - SUB_BITS + 1) * SUB_COUNT + sub;
    return bucket < AEE__HISTOGRAM_BUCKETS ? bucket : AEE__HISTOGRAM_BUCKETS - 1;
}

static uint64_t bucket_end(uint32_t bucket)
{
    if (bucket < SUB_COUNT) {
        return bucket;
    }
    uint32_t shift = bucket / SUB_COUNT - 1;
    return ((uint64_t)(SUB_COUNT + bucket % SUB_COUNT + 1) << shift) - 1;
}

void aee__histogram_record(struct aee__histogram *histogram, uint64_t ns)
{
    (void)atomic_fetch_add_explicit(&histogram->buckets[bucket_of(ns)], 1, memory_order_relaxed);
    uint64_t max = atomic_load_explicit(&histogram->max, memory_order_relaxed);
    while (ns > max && !atomic_compare_exchange_weak_explicit(
                           &histogram->max, &max, ns, memory_order_relaxed, memory_order_relaxed)) {
    }
}

uint64_t aee__histogram_quantile(const struct aee__histogram *histogram, double share)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < AEE__HISTOGRAM_BUCKETS; i++) {
        total += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
    }
    uint64_t wanted = (uint64_t)((double)total * share);
    uint64_t seen = 0;
    for (uint32_t i = 0; total > 0 && i < AEE__HISTOGRAM_BUCKETS; i++) {
        seen += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        if (seen > wanted || seen == total) {
            uint64_t end = bucket_end(i);
            uint64_t max = aee__histogram_max(histogram);
            return end < max ? end : max;
        }
    }
    return 0;
}

uint64_t aee__histogram_max(const struct aee__histogram *histogram)
{
    return atomic_load_explicit(&histogram->max, memory_order_relaxed);
}
