/* clock.h: time. Clock and ticker are pure and for any thread. */
#ifndef AEE_BASE_CLOCK_H
#define AEE_BASE_CLOCK_H

#include <stdbool.h>
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

/* The cache line will be written soon: fetches it, and takes it away from other processors. A no-op
 * on processors that do not know the instruction (SDM vol. 2B, PREFETCHW). */
static inline void aee__cpu_fetch_to_write(const void *line)
{
    __asm__ volatile("prefetchw (%0)" : : "r"(line));
}

/* A stop watch for durations: half the cost of the clock where the processor's time stamp counter
 * runs at a constant rate (SDM vol. 3B 18.17.1, CPUID 80000007H EDX bit 8), which is measured once;
 * the clock itself elsewhere. Only differences mean anything. */
struct aee__ticker {
    uint64_t ns_per_tick_q32; /* nanoseconds per tick, times 2^32 */
    bool counter;             /* ticks are those of the time stamp counter */
    uint32_t turn_ps;         /* of a loop with one PAUSE, in picoseconds */
};

/* Takes two milliseconds. */
void aee__ticker_init(struct aee__ticker *ticker);

static inline uint64_t aee__ticks(const struct aee__ticker *ticker)
{
    return ticker->counter ? __builtin_ia32_rdtsc() : aee__now_ns();
}

static inline uint64_t aee__ticks_to_ns(const struct aee__ticker *ticker, uint64_t ticks)
{
    return (uint64_t)(((unsigned __int128)ticks * ticker->ns_per_tick_q32) >> 32);
}

/* Loop turns with one PAUSE that take about `ns`. */
static inline uint32_t aee__ticker_turns(const struct aee__ticker *ticker, uint64_t ns)
{
    uint64_t turns = ns * 1000 / ticker->turn_ps + 1;
    return turns < UINT32_MAX ? (uint32_t)turns : UINT32_MAX;
}

#endif
