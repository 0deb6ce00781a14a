#include "isolation/batch.h"

#include <string.h>

#include "base/sys.h"
#include "isolation/core.h"

/* ---- The store ---------------------------------------------------------------------------- */

void aee__batches_init(struct aee__batches *batches, const struct aee__alloc *alloc, uint32_t limit)
{
    memset(batches, 0, sizeof *batches);
    batches->alloc = alloc;
    batches->limit = limit;
    (void)pthread_mutex_init(&batches->lock, NULL);
}

static size_t batch_size(uint32_t class_index)
{
    size_t calls = (size_t)1 << class_index;
    return sizeof(struct aee__batch) + calls * (sizeof(struct aee__call) + sizeof(void *) +
                                                sizeof(uint64_t) + sizeof(_Atomic uint32_t));
}

void aee__batches_destroy(struct aee__batches *batches)
{
    if (!batches->alloc) {
        return;
    }
    for (uint32_t i = 0; i < AEE__BATCH_CLASSES; i++) {
        while (batches->free[i]) {
            struct aee__batch *batch = batches->free[i];
            batches->free[i] = batch->next_free;
            (void)pthread_mutex_destroy(&batch->lock);
            aee__alloc_free(batches->alloc, batch, batch_size(i));
        }
    }
    (void)pthread_mutex_destroy(&batches->lock);
    batches->alloc = NULL;
}

bool aee__batches_reserve(struct aee__batches *batches, uint32_t count)
{
    uint32_t now = atomic_load(&batches->submitted);
    do {
        if (count > batches->limit - now) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&batches->submitted, &now, now + count));
    return true;
}

void aee__batches_unreserve(struct aee__batches *batches, uint32_t count)
{
    (void)atomic_fetch_sub(&batches->submitted, count);
    aee__batches_wake(batches);
}

/* ---- Sleep -------------------------------------------------------------------------------- */

uint32_t aee__batches_begin_sleep(struct aee__batches *batches)
{
    (void)atomic_fetch_add(&batches->sleepers, 1);
    return atomic_load(&batches->completed);
}

void aee__batches_end_sleep(struct aee__batches *batches, uint32_t seen, uint64_t deadline_ns)
{
    aee__sys_futex_wait(&batches->completed, seen, deadline_ns);
    (void)atomic_fetch_sub(&batches->sleepers, 1);
}

void aee__batches_cancel_sleep(struct aee__batches *batches)
{
    (void)atomic_fetch_sub(&batches->sleepers, 1);
}

/* The atomic operation on `places` or `submitted` before this pairs with the increment of
 * `sleepers`: either the sleeper finds what has ended, or we find the sleeper. */
void aee__batches_wake(struct aee__batches *batches)
{
    if (atomic_load(&batches->sleepers) > 0) {
        (void)atomic_fetch_add(&batches->completed, 1);
        aee__sys_futex_wake_all(&batches->completed);
    }
}

/* ---- Batches ------------------------------------------------------------------------------ */

static uint32_t class_of(uint32_t count)
{
    uint32_t class_index = 0;
    while ((1u << class_index) < count) {
        class_index++;
    }
    return class_index;
}

static struct aee__batch *make(struct aee__batches *batches, uint32_t class_index)
{
    struct aee__batch *batch = aee__alloc_zero(batches->alloc, 1, batch_size(class_index));
    size_t calls = (size_t)1 << class_index;
    if (batch) {
        batch->class_index = class_index;
        batch->users = (void **)(void *)&batch->calls[calls];
        batch->contexts = (uint64_t *)(void *)(batch->users + calls);
        batch->order = (_Atomic uint32_t *)(void *)(batch->contexts + calls);
        (void)pthread_mutex_init(&batch->lock, NULL);
    }
    return batch;
}

struct aee__batch *aee__batch_create(struct aee__batches *batches, struct aee__core *core,
                                     uint32_t count)
{
    uint32_t class_index = class_of(count);
    (void)pthread_mutex_lock(&batches->lock);
    struct aee__batch *batch = batches->free[class_index];
    if (batch) {
        batches->free[class_index] = batch->next_free;
    }
    (void)pthread_mutex_unlock(&batches->lock);
    batch = batch ? batch : make(batches, class_index);
    if (!batch) {
        return NULL;
    }
    batch->core = core;
    batch->handle = 0;
    batch->count = count;
    batch->taken = 0;
    batch->context_count = 0;
    batch->limited = false;
    atomic_store_explicit(&batch->places, 0, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        atomic_store_explicit(&batch->order[i], 0, memory_order_relaxed);
    }
    return batch;
}

void aee__batch_free(struct aee__batches *batches, struct aee__batch *batch)
{
    (void)pthread_mutex_lock(&batches->lock);
    batch->next_free = batches->free[batch->class_index];
    batches->free[batch->class_index] = batch;
    (void)pthread_mutex_unlock(&batches->lock);
}

/* The taker's acquire load of the place pairs with our release store: it then has the result. */
void aee__batch_finish(struct aee__call *const *calls, uint32_t count)
{
    struct aee__batch *batch = calls[0]->batch;
    uint32_t place = atomic_fetch_add_explicit(&batch->places, count, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = (uint32_t)(calls[i] - batch->calls);
        atomic_store_explicit(&batch->order[place + i], index + 1, memory_order_release);
    }
}

/* ---- Queues ------------------------------------------------------------------------------- */

void aee__call_queue_init(struct aee__call_queue *queue)
{
    memset(queue, 0, sizeof *queue);
    (void)pthread_mutex_init(&queue->lock, NULL);
}

void aee__call_queue_destroy(struct aee__call_queue *queue)
{
    (void)pthread_mutex_destroy(&queue->lock);
}

static void add_count(struct aee__call_queue *queue, uint32_t change)
{
    uint32_t count = atomic_load_explicit(&queue->count, memory_order_relaxed);
    atomic_store(&queue->count, count + change);
}

void aee__call_queue_append(struct aee__call_queue *queue, struct aee__call *first,
                            struct aee__call *last, uint32_t count)
{
    last->next = NULL;
    if (queue->first) {
        queue->last->next = first;
    } else {
        queue->first = first;
    }
    queue->last = last;
    add_count(queue, count);
}

void aee__call_queue_prepend(struct aee__call_queue *queue, struct aee__call *first,
                             struct aee__call *last, uint32_t count)
{
    last->next = queue->first;
    queue->last = queue->first ? queue->last : last;
    queue->first = first;
    add_count(queue, count);
}

void aee__call_queue_end(struct aee__call *call, aee_result status)
{
    call->queued = false;
    call->status = call->retried ? call->status : status;
    aee__batch_finish(&call, 1);
}

void aee__call_queue_popped(struct aee__call_queue *queue, uint32_t count)
{
    add_count(queue, -count);
}

void aee__call_queue_flush(struct aee__call_queue *queue, struct aee__batches *batches,
                           aee_result status)
{
    (void)pthread_mutex_lock(&queue->lock);
    uint32_t count = 0;
    while (queue->first) {
        aee__call_queue_end(aee__call_queue_pop(queue), status);
        count++;
    }
    aee__call_queue_popped(queue, count);
    (void)pthread_mutex_unlock(&queue->lock);
    if (count > 0) {
        aee__batches_wake(batches);
    }
}

/* Removes the call, if it is there: one that is about to be queued may be not. */
static bool unlink_call(struct aee__call_queue *queue, const struct aee__call *call)
{
    struct aee__call *previous = NULL;
    struct aee__call *at = queue->first;
    while (at && at != call) {
        previous = at;
        at = at->next;
    }
    if (!at) {
        return false;
    }
    if (previous) {
        previous->next = at->next;
    } else {
        queue->first = at->next;
    }
    queue->last = queue->last == at ? previous : queue->last;
    add_count(queue, UINT32_MAX);
    return true;
}

bool aee__call_queue_cancel(struct aee__call_queue *queue, struct aee__call *call)
{
    (void)pthread_mutex_lock(&queue->lock);
    bool queued = call->queued && unlink_call(queue, call);
    if (queued) {
        call->queued = false;
        call->status = AEE_ERR_CANCELLED;
        aee__batch_finish(&call, 1);
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return queued;
}
