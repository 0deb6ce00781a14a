#include <cpuid.h>

#include "base/clock.h"
#include "base/sys.h"

#define SAMPLE_NS UINT64_C(2000000)
#define SAMPLE_TURNS 400u

static bool counter_is_constant(void)
{
    unsigned eax;
    unsigned ebx;
    unsigned ecx;
    unsigned edx = 0;
    return __get_cpuid(0x80000007u, &eax, &ebx, &ecx, &edx) && (edx & (1u << 8)) != 0;
}

/* The shortest of a few tries: a longer one was interrupted. */
static uint32_t measure_turn(void)
{
    uint64_t best = UINT64_MAX;
    for (unsigned attempt = 0; attempt < 5; attempt++) {
        uint64_t begin = aee__now_ns();
        for (unsigned i = 0; i < SAMPLE_TURNS; i++) {
            aee__cpu_relax();
        }
        uint64_t took = aee__now_ns() - begin;
        best = took < best ? took : best;
    }
    uint64_t turn_ps = best * 1000 / SAMPLE_TURNS;
    return turn_ps > 0 && turn_ps < UINT32_MAX ? (uint32_t)turn_ps : 1000;
}

void aee__ticker_init(struct aee__ticker *ticker)
{
    *ticker = (struct aee__ticker){.ns_per_tick_q32 = UINT64_C(1) << 32, .turn_ps = measure_turn()};
    if (!counter_is_constant()) {
        return;
    }
    uint64_t begin_ns = aee__now_ns();
    uint64_t begin = __builtin_ia32_rdtsc();
    aee__sys_sleep(SAMPLE_NS);
    uint64_t ticks = __builtin_ia32_rdtsc() - begin;
    uint64_t took_ns = aee__now_ns() - begin_ns;
    if (took_ns == 0 || ticks < took_ns / 100 || ticks / 100 > took_ns) {
        return; /* no such counter: less than 10 MHz, or more than 100 GHz */
    }
    ticker->ns_per_tick_q32 = (uint64_t)(((unsigned __int128)took_ns << 32) / ticks);
    ticker->counter = true;
}
