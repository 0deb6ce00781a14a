/* native.h: the components that the rows compare with, linked into this program: the same C files,
 * compiled for the host with the same arithmetic (guest/components/, AEE_NATIVE). Any thread. */
#ifndef AEE_BENCH_NATIVE_H
#define AEE_BENCH_NATIVE_H

#include <stdint.h>

double nbody_run(int64_t steps);
int64_t sha_run(int64_t blocks);
int64_t particles_init(int64_t region, int64_t count, int64_t seed);
int64_t particles_run(int64_t region, int64_t steps, double dt);
int64_t particles_step(int64_t region, double dt);
int64_t particles_checksum(int64_t region);

#endif
