/* mod_counter.h: what the misbehaving mods have in common: until their frame they count. */
#ifndef AEE_COMPONENT_MOD_COUNTER_H
#define AEE_COMPONENT_MOD_COUNTER_H

#include <stdint.h>

struct mod_counter {
    uint64_t sum;
    int64_t ticks;
    int64_t armed_frame;
};

static inline void mod_counter_init(struct mod_counter *counter, int64_t seed)
{
    counter->sum = (uint64_t)seed;
    counter->ticks = 0;
    counter->armed_frame = -1;
}

/* The checksum of all frames so far. */
static inline int64_t mod_counter_tick(struct mod_counter *counter, int64_t frame)
{
    counter->ticks++;
    counter->sum = (counter->sum ^ (uint64_t)frame) * UINT64_C(0x100000001b3) + 1u;
    return (int64_t)counter->sum;
}

/* The exports of a mod that does something wrong at the frame it is armed for. */
#define MOD_THAT(offends)                         \
    static struct mod_counter counter;            \
                                                  \
    AEE_SIGNATURE(mod_init, "i:i");               \
    AEE_EXPORT int64_t mod_init(int64_t seed)     \
    {                                             \
        mod_counter_init(&counter, seed);         \
        return 0;                                 \
    }                                             \
                                                  \
    AEE_SIGNATURE(mod_arm, "i:i");                \
    AEE_EXPORT int64_t mod_arm(int64_t frame)     \
    {                                             \
        counter.armed_frame = frame;              \
        return 0;                                 \
    }                                             \
                                                  \
    AEE_SIGNATURE(mod_tick, "i:i");               \
    AEE_EXPORT int64_t mod_tick(int64_t frame)    \
    {                                             \
        if (frame == counter.armed_frame) {       \
            offends();                            \
        }                                         \
        return mod_counter_tick(&counter, frame); \
    }

#endif
