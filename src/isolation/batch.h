/* batch.h: calls that were submitted together, the order in which they ended, and the queue in
 * which a context's submitted calls wait for a lane. A batch's memory is used again and freed with
 * its store only, so that a late finisher never meets freed memory. */
#ifndef AEE_ISOLATION_BATCH_H
#define AEE_ISOLATION_BATCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "isolation/call.h"

struct aee__core;

#define AEE__BATCH_CLASSES 17u /* capacities are powers of two up to 65536 */
#define AEE__BATCHES_MAX 1024u

struct aee__batch {
    struct aee__core *core;
    uint64_t handle;
    uint32_t count;
    uint32_t class_index;
    _Atomic uint32_t places; /* in order[], given out so far */
    pthread_mutex_t lock;    /* takers: `taken` */
    uint32_t taken;
    uint32_t context_count;
    bool limited;            /* one of them has a limit on its calls */
    uint64_t *contexts;      /* handles of the contexts that are called, each once */
    _Atomic uint32_t *order; /* index + 1 of the calls that ended, in that order; 0: not yet */
    void **users;
    struct aee__batch *next_free;
    struct aee__call calls[];
};

struct aee__batches {
    const struct aee__alloc *alloc;
    pthread_mutex_t lock; /* free lists */
    struct aee__batch *free[AEE__BATCH_CLASSES];
    uint32_t limit;             /* of calls that are submitted and not taken */
    _Atomic uint32_t submitted; /* such calls now */
    _Atomic uint32_t sleepers;  /* threads that wait for completions */
    _Atomic uint32_t completed; /* futex: bumped when calls ended, or room came, while sleepers */
};

void aee__batches_init(struct aee__batches *batches, const struct aee__alloc *alloc,
                       uint32_t limit);
void aee__batches_destroy(struct aee__batches *batches);
/* Counts `count` calls as submitted; false: over the limit. */
bool aee__batches_reserve(struct aee__batches *batches, uint32_t count);
void aee__batches_unreserve(struct aee__batches *batches, uint32_t count);
/* A thread is about to sleep: what it gets goes to end_sleep(), which sleeps until calls end that
 * had not by then, or until the deadline (0: none). In between it looks once more, and may think
 * better of it. */
uint32_t aee__batches_begin_sleep(struct aee__batches *batches);
void aee__batches_end_sleep(struct aee__batches *batches, uint32_t seen, uint64_t deadline_ns);
void aee__batches_cancel_sleep(struct aee__batches *batches);
/* Wakes them. */
void aee__batches_wake(struct aee__batches *batches);

/* An empty batch with room for `count` calls, or NULL. */
struct aee__batch *aee__batch_create(struct aee__batches *batches, struct aee__core *core,
                                     uint32_t count);
/* The call becomes one of the batch that is queued before the next one; to be done before the batch
 * is published. */
static inline void aee__batch_link(struct aee__batch *batch, struct aee__call *call)
{
    call->batch = batch;
    call->next = call + 1;
    call->queued = true;
    call->retried = false;
}
void aee__batch_free(struct aee__batches *batches, struct aee__batch *batch);
/* Calls of one batch have ended, each with its status. The batch may be gone when this returns.
 * Whoever calls it wakes sleepers with aee__batches_wake() afterwards. */
void aee__batch_finish(struct aee__call *const *calls, uint32_t count);
/* Calls that ended, taken or not; the last of them may not be there to take yet. */
static inline uint32_t aee__batch_ended(const struct aee__batch *batch)
{
    return atomic_load_explicit(&batch->places, memory_order_relaxed);
}

/* Submitted calls of one context, in order. */
struct aee__call_queue {
    pthread_mutex_t lock;
    _Atomic uint32_t count;
    struct aee__call *first;
    struct aee__call *last;
};

void aee__call_queue_init(struct aee__call_queue *queue);
void aee__call_queue_destroy(struct aee__call_queue *queue);
/* With the queue's lock held. `count` calls, linked by `next`. */
void aee__call_queue_append(struct aee__call_queue *queue, struct aee__call *first,
                            struct aee__call *last, uint32_t count);
/* The same, before all others. */
void aee__call_queue_prepend(struct aee__call_queue *queue, struct aee__call *first,
                             struct aee__call *last, uint32_t count);
/* The first one, of at least one; what was taken is counted afterwards, at once: an atomic
 * operation for each would wait for all that was written to the ring before it. */
static inline struct aee__call *aee__call_queue_pop(struct aee__call_queue *queue)
{
    struct aee__call *call = queue->first;
    queue->first = call->next;
    call->queued = false;
    return call;
}
void aee__call_queue_popped(struct aee__call_queue *queue, uint32_t count);

/* Ends a call that was taken from the queue: with `status`, or with that of its first try. */
void aee__call_queue_end(struct aee__call *call, aee_result status);
/* Ends all queued calls so. */
void aee__call_queue_flush(struct aee__call_queue *queue, struct aee__batches *batches,
                           aee_result status);
/* Ends the call with AEE_ERR_CANCELLED if it is still queued. */
bool aee__call_queue_cancel(struct aee__call_queue *queue, struct aee__call *call);

#endif
