/* lane_meter.h: the time that a lane's vCPU works on calls, in ticks of the engine's ticker. Part
 * of a lane. Counted by the lane's owner, from one event to the next; reading is for any thread.
 *
 * What counts is the clock while a call is on the lane and a thread runs it. Host functions do not
 * count, nor does a lane that waits for the next call within the spin that the library allows; one
 * that goes on for much longer works for itself, and that counts. */
#ifndef AEE_ISOLATION_LANE_METER_H
#define AEE_ISOLATION_LANE_METER_H

#include <stdatomic.h>
#include <stdint.h>

struct aee__lane;

struct aee__lane_meter {
    /* What was before it is counted; UINT64_MAX while the lane is left alone. Of the owner, and of
     * a worker that begins to run the lane: nothing happens on it meanwhile. */
    _Atomic uint64_t from;
    _Atomic uint64_t ticks;     /* counted; written by the owner only */
    _Atomic uint64_t overstays; /* ticks without a call that count nevertheless */
};

/* Counts the time until now. */
static inline void aee__meter_count(struct aee__lane_meter *meter, uint64_t now)
{
    uint64_t from = atomic_load_explicit(&meter->from, memory_order_relaxed);
    if (now > from) {
        uint64_t ticks = atomic_load_explicit(&meter->ticks, memory_order_relaxed);
        atomic_store_explicit(&meter->ticks, ticks + (now - from), memory_order_relaxed);
        atomic_store_explicit(&meter->from, now, memory_order_relaxed);
    }
}

/* Does not. */
static inline void aee__meter_skip(struct aee__lane_meter *meter, uint64_t now)
{
    atomic_store_explicit(&meter->from, now, memory_order_relaxed);
}

/* Nor from now on, until the next skip. */
static inline void aee__meter_pause(struct aee__lane_meter *meter)
{
    atomic_store_explicit(&meter->from, UINT64_MAX, memory_order_relaxed);
}

static inline uint64_t aee__meter_ticks(const struct aee__lane_meter *meter)
{
    return atomic_load_explicit(&meter->ticks, memory_order_relaxed) +
           atomic_load_explicit(&meter->overstays, memory_order_relaxed);
}

/* For owner or runner: until now the lane ran without a call. */
void aee__meter_idle(struct aee__lane *lane, uint64_t now);

#endif
