/* lane.h: one vCPU of an instance and the calls on it. Two rights are given away, each by one
 * atomic operation: who *owns* the lane touches its ring (one thread at a time, for a call or for a
 * look); who took its state from PARKED to RUNNING runs the vCPU (the owner itself, or a worker).
 */
#ifndef AEE_ISOLATION_LANE_H
#define AEE_ISOLATION_LANE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "isolation/backend.h"
#include "isolation/call.h"
#include "isolation/lane_meter.h"
#include "isolation/watchdog.h"
#include "monitor/trace.h"
#include "ring/call_ring.h"
#include "runtime/workers.h"

struct aee__instance;

enum aee__lane_state { AEE__LANE_PARKED = 0, AEE__LANE_RUNNING };

/* Host functions that a lane called lately, found by name. */
#define AEE__LANE_NAMES 8u
struct aee__lane_name {
    char name[AEE_HOST_NAME_MAX];
    int32_t index; /* -1: none */
};

/* Host calls that a lane made lately, for reports: the function, or one of these. */
#define AEE__LANE_ASKED 32u
enum { AEE__ASKED_LOG = -1, AEE__ASKED_UNKNOWN = -2 };

/* What AUTO knows of a lane. */
struct aee__lane_costs {
    uint64_t last_end;   /* ticks: when the last call ended */
    uint64_t last_ticks; /* what it took, as far as it is not in the averages; 0: it is */
    bool last_direct;    /* it was a direct call */
    uint64_t gap_ns;     /* moving average from the end of a call to the next */
    uint64_t ring_ns;    /* moving averages of round trips; 0: not known */
    uint64_t direct_ns;
    uint64_t call_ns;     /* moving average of a submitted call that a waiter ran; 0: not known */
    uint32_t ring_banned; /* calls until the ring is tried again */
};

/* Deadline of the call under way, as aee__lane_expire() judges it. */
struct aee__lane_budget {
    _Atomic uint64_t deadline_ns; /* without the time in host functions */
    _Atomic uint64_t budget_ns;
    _Atomic uint64_t host_ns; /* time in host functions so far; free up to once the budget */
    _Atomic uint64_t wait_ns; /* until when a waiter runs the lane; UINT64_MAX: for ever */
    _Atomic uint32_t in_host; /* a host function runs now */
    _Atomic uint64_t
        idle_ns; /* since when nobody runs the lane, as far as that counts; 0: it is run */
    _Atomic bool overdue_idle; /* it goes on running though no call is under way */
};

struct aee__lane {
    struct aee__instance *instance; /* as is the index: never changes */
    uint32_t index;
    _Atomic uint32_t owned;      /* not touched when the instance's object is used again */
    _Atomic uint32_t attention;  /* the owner must look at ring and queue before it leaves */
    _Atomic uint32_t state;      /* enum aee__lane_state */
    _Atomic uintptr_t runner;    /* the thread that runs the vCPU, or 0 */
    _Atomic int32_t watcher_cpu; /* where the thread ran last that watches the ring */
    _Atomic uint32_t sleeping;   /* the owner sleeps on `waker` */
    _Atomic uint32_t waker;      /* futex */
    _Atomic uint32_t answer;     /* futex: answers and nested requests written so far */
    _Atomic uint32_t awaiting;   /* the runner sleeps on `answer` */
    _Atomic int32_t called[AEE_RING_SLOTS]; /* export of each request, for reports */
    _Atomic int32_t nested_called;          /* the same of the innermost nested call */
    struct aee__watch watch;
    struct aee__lane_budget budget;
    struct aee__runnable runnable;
    struct aee__runnable server; /* serves a host call where the workers may not */
    _Atomic bool handed_over;    /* the server waits for its thread */
    _Atomic bool awaited;        /* a thread waits for the last call that it was given */
    _Atomic uint64_t calls;      /* written by the owner only, as is all that follows */
    _Atomic uint64_t failed_calls;
    _Atomic uint64_t host_calls;
    _Atomic uint64_t latency_ticks; /* of a call that is not in the context's figures yet; 0: none.
                                       Whoever takes it away puts it there */
    struct aee__lane_meter meter;
    struct aee__call_ring ring;
    struct aee__call *in_flight[AEE_RING_SLOTS];
    uint32_t request_arena_used;
    uint32_t reply_arena_used;
    uint32_t frame;               /* in which it was called by ring last; 0: none */
    uint64_t frame_offset_ns;     /* from its begin to the first such call */
    _Atomic uint32_t spin;        /* what control.spin holds */
    _Atomic uint32_t host_depth;  /* host functions that run for it, one inside the other */
    bool notify;                  /* what control.notify holds */
    _Atomic uint64_t idle_number; /* of the watchdog: requests at its last look at an idle lane */
    bool parked;                  /* of the runner: how the last exit ended the run */
    bool in_guest;                /* of the debugger, under its lock: it may be in lane_run() */
    bool midway;                  /* the same: it left, but its exit is yet to come */
    bool cut;                     /* a call on it ended with the instance */
    uint64_t spurious_address;    /* of the runner: last spurious fault, and how often in a row */
    uint32_t spurious_count;
    /* Of the runner: its exits, of each kind and of all. */
    _Atomic uint32_t exits[AEE__TRACE_EXITS + 1];
    _Atomic uint32_t asked_count;
    uint8_t *host_buffers[AEE_HOST_CALL_DEPTH]; /* payloads and replies; made when first needed */
    uint64_t trace_from; /* ticks: the oldest call without an answer ran no earlier */
    struct aee__trace_door trace;
    struct aee__lane_costs costs;
    struct aee__lane_name names[AEE__LANE_NAMES];
    _Atomic int32_t asked[AEE__LANE_ASKED]; /* ring of host calls, for reports */
};

/* Makes a lane whose owner the caller is. */
void aee__lane_init(struct aee__lane *lane, struct aee__instance *instance, uint32_t index);
void aee__lane_destroy(struct aee__lane *lane);

/* Takes the lane if nobody has it. What was taken may belong to an instance that has ended, or was
 * made anew: the caller checks. */
static inline bool aee__lane_try(struct aee__lane *lane)
{
    uint32_t free = 0;
    return atomic_load_explicit(&lane->owned, memory_order_relaxed) == 0 &&
           atomic_compare_exchange_strong(&lane->owned, &free, 1);
}
/* Gives it back, after the looks that others asked for. Not with the context's lock held. */
void aee__lane_give(struct aee__lane *lane);
/* Sees to it that somebody looks at ring and queue: this thread (which runs host functions if it
 * may `serve`), or the present owner. Not with the context's lock held. */
void aee__lane_attend(struct aee__lane *lane, bool serve);
/* Calls without a taken reply. */
static inline uint32_t aee__lane_outstanding(const struct aee__lane *lane)
{
    return aee__call_ring_outstanding(&lane->ring);
}

/* For the owner. */

/* Makes the call and waits for its end; call->status. */
aee_result aee__lane_call(struct aee__lane *lane, struct aee__call *call);
/* The same from within a host function that the lane called. */
aee_result aee__lane_call_nested(struct aee__lane *lane, struct aee__call *call);
/* One look: takes replies, serves host calls if this thread may, hands out queued calls, sees to it
 * that somebody runs the vCPU. */
void aee__lane_pump(struct aee__lane *lane, bool serve);
/* Brings submitted calls forward: takes replies for a moment where a worker runs the vCPU; else
 * runs some calls, about a millisecond's, on this thread. Past the deadline it leaves in the middle
 * of a call, which goes on when somebody runs the lane again. */
void aee__lane_help(struct aee__lane *lane, uint64_t deadline_ns);
/* How long the guest waits for the next request before it parks. */
void aee__lane_set_spin(struct aee__lane *lane, bool spin);
/* Nobody will look for a while: the guest parks when it is done and, if asked to, tells of each
 * answer. Until the next call or help. */
void aee__lane_expect_sleep(struct aee__lane *lane, bool each);

/* Lets a worker that is free run the lane, spinning until about the time of the first call in the
 * last frame. */
void aee__lane_warm(struct aee__lane *lane);

/* For any thread. */

/* Makes whoever runs or waits look at the instance's state. */
void aee__lane_interrupt(struct aee__lane *lane);
/* Puts the last call's duration into the context's figures. */
void aee__lane_tell_latency(struct aee__lane *lane);
/* The budget of what the lane does is used up, or it ended. */
bool aee__lane_is_over(const struct aee__lane *lane);
/* Export of the oldest call without an answer, or AEE__CALLED_ values; for reports. */
int32_t aee__lane_called(const struct aee__lane *lane);

#endif
