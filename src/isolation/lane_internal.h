/* lane_internal.h: between lane.c (the ring and its owner), lane_call.c (a call that a thread waits
 * for) and lane_run.c (running the vCPU). */
#ifndef AEE_ISOLATION_LANE_INTERNAL_H
#define AEE_ISOLATION_LANE_INTERNAL_H

#include "base/clock.h"
#include "isolation/lane.h"

#define AEE__SHARED_STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

/* lane.c, for the owner */

/* Takes the replies that are there; how many. */
uint32_t aee__lane_collect(struct aee__lane *lane);
/* Looks whether `call` has ended, taking replies. */
bool aee__lane_take(struct aee__lane *lane, struct aee__call *call);
/* Hands queued calls of the context to the lane, at most `limit`. */
void aee__lane_feed(struct aee__lane *lane, uint32_t limit);
/* The instance has ended: so have its calls. */
void aee__lane_fail_all(struct aee__lane *lane);
/* Whether the guest tells of each answer. */
void aee__lane_set_notify(struct aee__lane *lane, bool notify);

/* A moving average; 0 is no value yet. */
static inline uint64_t aee__lane_average(uint64_t old, uint64_t sample)
{
    return old == 0 ? sample : old - old / 8 + sample / 8;
}

/* lane_payload.c, for the owner; of AEE_CALL_BYTES */

/* The arenas have room for the call. */
bool aee__lane_payload_fits(const struct aee__lane *lane, const struct aee__call *call);
/* Gives the call its place in the arenas and copies the payload there. */
void aee__lane_place_payload(struct aee__lane *lane, struct aee__call *call);
/* Copies the reply out once; its size is the component's word and is checked. What the call
 * returns.
 */
aee_result aee__lane_take_payload(struct aee__lane *lane, struct aee__call *call);

/* ---- What each call does: here, so that it needs no calls of its own ----------------------- */

static inline bool aee__lane_fits(const struct aee__lane *lane, const struct aee__call *call)
{
    return !aee__call_is_bytes(call) || aee__lane_payload_fits(lane, call);
}

/* Everything but the ring: the call will be the one `ahead` places after the last. */
static inline void aee__lane_note(struct aee__lane *lane, struct aee__call *call, uint32_t ahead)
{
    uint32_t at = atomic_load_explicit(&lane->ring.submitted, memory_order_relaxed) + ahead;
    at %= AEE_RING_SLOTS;
    if (aee__call_is_bytes(call)) {
        aee__lane_place_payload(lane, call);
    }
    lane->in_flight[at] = call;
    atomic_store_explicit(&lane->called[at], call->export_index, memory_order_relaxed);
}

static inline aee_result aee__lane_payload_status(struct aee__lane *lane, struct aee__call *call)
{
    return aee__call_is_bytes(call) ? aee__lane_take_payload(lane, call) : AEE_OK;
}

static inline void aee__lane_count(_Atomic uint64_t *number)
{
    uint64_t value = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, value + 1, memory_order_relaxed);
}

/* The call has its status; one of a batch is told of by aee__batch_finish(). */
static inline void aee__lane_finish(struct aee__lane *lane, struct aee__call *call,
                                    aee_result status)
{
    if (call->export_index != AEE__CALLED_INITIALISER) {
        aee__lane_count(status == AEE_OK ? &lane->calls : &lane->failed_calls);
    }
    call->status = status;
    if (!call->batch) {
        call->done = true;
    }
}

/* Looks whether one of the two is there for about a microsecond, in which what comes next mostly
 * comes. When it was seen, in ticks: the reading is part of the waiting and costs nothing here; 0:
 * it was not. */
static inline uint64_t aee__lane_look(const struct aee__ticker *ticker,
                                      const struct aee__ring_watch *watch)
{
    for (uint32_t look = 0; look < 32; look++) {
        /* Looks without PAUSE would take the line away from the guest while it writes to it. */
        aee__cpu_relax();
        uint64_t now = aee__ticks(ticker);
        if (aee__ring_watch_hit(watch)) {
            return now;
        }
    }
    return 0;
}

/* lane_budget.c */

/* A deadline that does not come. */
#define AEE__LANE_NEVER_NS (UINT64_MAX / 2)

/* Without a call a lane must park within this time; far above the spin, so that only a component
 * that keeps its worker meets it. */
#define AEE__LANE_IDLE_NS (AEE__NS_PER_SECOND / 4)
/* The budget of the oldest call begins: should nobody run the lane now, when somebody does. */
void aee__lane_arm(struct aee__lane *lane, uint64_t budget_ns);
/* Somebody begins to run the lane: it may have waited for that. */
void aee__lane_begin_budget(struct aee__lane *lane);
/* They end: it waits from now on, should calls be left. */
void aee__lane_end_budget(struct aee__lane *lane);
/* Until when the call under way may take. */
uint64_t aee__lane_limit(const struct aee__lane *lane);
/* Of the watch. */
void aee__lane_expire(struct aee__watch *watch);
bool aee__lane_approach(struct aee__watch *watch);
/* The runner, about to enter the guest: a short budget is watched from here. */
void aee__lane_watch_short(struct aee__lane *lane);

/* lane_run.c */

/* Waits for the end of a call that was pushed; for the owner. */
void aee__lane_await(struct aee__lane *lane, struct aee__call *call);
/* Wakes the owner, should it sleep. */
void aee__lane_wake(struct aee__lane *lane);
/* Wakes the runner, which waits for an answer or a nested request. */
void aee__lane_answered(struct aee__lane *lane);
/* Hands a parked lane to a worker: now, or when one is free. False when there is none. */
bool aee__lane_start(struct aee__lane *lane, bool now);
void aee__lane_run(struct aee__runnable *runnable);

#endif
