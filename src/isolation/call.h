/* call.h: one call of a component's function, from its request to its end. On the stack of the
 * thread that waits for it, or in a batch. Owned by whoever made it until a lane or a context's
 * queue has it; theirs until it is done. */
#ifndef AEE_ISOLATION_CALL_H
#define AEE_ISOLATION_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aee_virt.h"
#include "ring/call_ring.h"

struct aee__batch;

/* Beside the index of an export. */
#define AEE__CALLED_INITIALISER (-1)
#define AEE__CALLED_NOTHING (-2)

/* Submitted calls without payload live in the first two cache lines. */
struct aee__call {
    struct aee__ring_request request;
    struct aee__batch *batch; /* NULL: a thread waits for it */
    struct aee__call *next;   /* in the queue; of a submitted call */
    uint64_t budget_ns;
    uint64_t deadline_ns;          /* of a submitted call: it must have begun by then; 0: none */
    struct aee__ring_reply result; /* out */
    aee_result status;             /* out */
    int32_t export_index;          /* or AEE__CALLED_INITIALISER */
    uint32_t context_index;        /* in its batch; of a submitted call, as are the next two */
    uint16_t epoch;                /* of the image that the function is of */
    bool queued;
    bool retried;      /* it has had its second try, or waits for it; `status` is the first's */
    bool takes_double; /* the result, where it takes one */
    bool takes_result;
    bool done;     /* status is valid; written by the lane's owner; of a call without a batch */
    bool traced;   /* it is in the trace already; the same */
    uint8_t level; /* 0: on the ring; n: nested, while the component waits in host call n - 1 */
    aee_call_mode mode;
    aee_call_mode mode_used; /* out */
    uint32_t reply_offset;   /* in the lane's reply arena */
    const void *payload;     /* of AEE_CALL_BYTES, as is what follows */
    size_t payload_size;
    void *reply;
    size_t reply_capacity;
    size_t reply_size; /* out */
};

/* A call that a thread waits for, without payload. Arguments that are not set go to the component,
 * too; the rest is written before it is read. */
static inline void aee__call_begin(struct aee__call *call, uint32_t flags)
{
    call->request.flags = flags;
    for (unsigned i = 0; i < AEE_MAX_ARGS; i++) {
        call->request.args[i] = 0;
    }
    call->takes_result = false;
    call->takes_double = false;
    call->mode = AEE_CALL_AUTO;
    call->mode_used = AEE_CALL_DIRECT;
    call->batch = NULL;
}

static inline bool aee__call_is_bytes(const struct aee__call *call)
{
    return (call->request.flags & AEE_CALL_KIND_MASK) == AEE_CALL_BYTES;
}

#endif
