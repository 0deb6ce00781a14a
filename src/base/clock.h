/* clock.h: time. Pure; any thread. */
#ifndef AEE_BASE_CLOCK_H
#define AEE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define AEE__NS_PER_SECOND UINT64_C(1000000000)

static inline uint64_t aee__now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * AEE__NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static inline void aee__cpu_relax(void)
{
    __builtin_ia32_pause();
}

#endif
