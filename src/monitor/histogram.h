/* histogram.h: durations in buckets of constant relative width (1/32, so an error of 3%). Any
 * thread may record; readers see a recent state. */
#ifndef AEE_MONITOR_HISTOGRAM_H
#define AEE_MONITOR_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define AEE__HISTOGRAM_BUCKETS 1024u /* up to 2^36 ns, about a minute; longer counts as that */

struct aee__histogram {
    _Atomic uint32_t buckets[AEE__HISTOGRAM_BUCKETS];
    _Atomic uint64_t max;
};

void aee__histogram_record(struct aee__histogram *histogram, uint64_t ns);
/* Upper end of the bucket at the given share (0 to 1) of all values; 0 when there are none. */
uint64_t aee__histogram_quantile(const struct aee__histogram *histogram, double share);
uint64_t aee__histogram_max(const struct aee__histogram *histogram);

#endif
