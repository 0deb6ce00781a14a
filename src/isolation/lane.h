/* lane.h: one vCPU of an instance and the calls on it. A call takes the lane, so that its ring
 * has one writer; the vCPU is run by the calling thread (direct) or by a worker (ring). */
#ifndef AEE_ISOLATION_LANE_H
#define AEE_ISOLATION_LANE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "isolation/backend.h"
#include "isolation/watchdog.h"
#include "ring/call_ring.h"
#include "runtime/workers.h"

struct aee__instance;

enum aee__lane_state { AEE__LANE_PARKED = 0, AEE__LANE_RUNNING };

/* Beside the index of an export, and -1 for the initialiser. */
#define AEE__CALLED_NOTHING (-2)

struct aee__lane {
    struct aee__instance *instance;
    uint32_t index;
    _Atomic uint32_t taken;     /* by the one caller at a time */
    struct aee__call_ring ring; /* of who has taken the lane */
    struct aee__watch watch;
    struct aee__runnable runnable;
    _Atomic uint32_t state;            /* enum aee__lane_state: who may run the vCPU */
    _Atomic uint32_t waker;            /* futex: the caller should look again */
    _Atomic uint32_t answer;           /* futex: a host call was answered, or the instance ended */
    _Atomic int32_t called;            /* call->export_index of the call under way */
    _Atomic bool busy;                 /* a caller waits for an answer */
    _Atomic uint64_t idle_deadline_ns; /* by when it must have parked, after a ring call */
    uint64_t spurious_address;         /* of the last spurious fault, and how often in a row */
    uint32_t spurious_count;
    uint64_t budget_ns;      /* of the call under way; written before `busy` */
    uint64_t host_credit_ns; /* time in host functions that the call is not charged for */
    uint64_t last_end_ns;    /* of who has taken the lane: when the last call ended */
    uint64_t gap_ns;         /* moving average from the end of a call to the next */
    uint8_t *host_buffers;   /* copies of host-call payloads, made when first needed */
};

struct aee__call {
    struct aee__ring_request request;
    bool takes_result; /* then: is it a double? */
    bool takes_double;
    int32_t export_index; /* -1: the image's initialiser */
    uint64_t budget_ns;
    aee_call_mode mode;
    const void *payload; /* copied into the lane's request arena */
    size_t payload_size;
    void *reply;
    size_t reply_capacity;
    size_t reply_size;             /* out */
    struct aee__ring_reply result; /* out */
    aee_call_mode mode_used;       /* out */
};

void aee__lane_init(struct aee__lane *lane, struct aee__instance *instance, uint32_t index);
void aee__lane_destroy(struct aee__lane *lane);
/* Takes a lane that nobody uses, waiting for one until the deadline: then BUSY. What calls return
 * when the instance ends meanwhile. */
aee_result aee__lane_take(struct aee__instance *instance, uint64_t deadline_ns,
                          struct aee__lane **out);
void aee__lane_give(struct aee__lane *lane);
/* Makes the call on a lane that was taken and waits for its result. */
aee_result aee__lane_call(struct aee__lane *lane, struct aee__call *call, aee_error *error);
/* Makes whoever runs or waits look at the instance's state. */
void aee__lane_interrupt(struct aee__lane *lane);

#endif
