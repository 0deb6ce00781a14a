#include "isolation/retry.h"

#include "base/clock.h"
#include "base/error.h"

/* ---- Marks -------------------------------------------------------------------------------- */

aee_result aee__retry_mark(struct aee__context *context, uint32_t export_index, uint16_t epoch,
                           bool idempotent, aee_error *error)
{
    static const char operation[] = "mark a function as idempotent";
    aee_result result = AEE_OK;
    uint64_t bit = UINT64_C(1) << export_index % 64;
    (void)pthread_mutex_lock(&context->lock);
    if (!context->image) {
        result = aee__fail(error, AEE_ERR_NOT_LOADED,
                           "cannot %s: no image is loaded into context \"%s\"", operation,
                           context->name);
    } else if (epoch != context->image_epoch) {
        result = aee__fail(error, AEE_ERR_STALE,
                           "cannot %s in context \"%s\": it is of an image that was replaced",
                           operation, context->name);
    } else if (export_index >= context->image->image->export_count) {
        result = aee__fail(error, AEE_ERR_WRONG_HANDLE,
                           "cannot %s in context \"%s\": there is none", operation, context->name);
    } else if (idempotent) {
        (void)atomic_fetch_or(&context->idempotent[export_index / 64], bit);
    } else {
        (void)atomic_fetch_and(&context->idempotent[export_index / 64], ~bit);
    }
    (void)pthread_mutex_unlock(&context->lock);
    return result;
}

void aee__retry_forget(struct aee__context *context)
{
    for (unsigned i = 0; i < sizeof context->idempotent / sizeof context->idempotent[0]; i++) {
        atomic_store_explicit(&context->idempotent[i], 0, memory_order_relaxed);
    }
}

static bool is_marked(const struct aee__context *context, int32_t export_index)
{
    return export_index >= 0 &&
           (atomic_load(&context->idempotent[export_index / 64]) >> export_index % 64 & 1) != 0;
}

static bool is_end(aee_result result)
{
    return result == AEE_ERR_CRASHED || result == AEE_ERR_HUNG;
}

/* ---- Calls that a thread waits for -------------------------------------------------------- */

/* The second try may have to wait for the restart, and beside that once the budget. */
static uint64_t patience(struct aee__context *context)
{
    uint64_t now = aee__now_ns();
    (void)pthread_mutex_lock(&context->lock);
    uint64_t due = context->restart_due_ns;
    (void)pthread_mutex_unlock(&context->lock);
    return atomic_load(&context->budget_ns) + (due > now ? due - now : 0);
}

/* What comes of a call that has begun. */
static bool is_outcome(aee_result result)
{
    return result == AEE_OK || is_end(result) || result == AEE_ERR_STOPPED ||
           result == AEE_ERR_COMPONENT || result == AEE_ERR_TOO_LARGE;
}

aee_result aee__retry_call(struct aee__context *context, uint16_t epoch, struct aee__call *call,
                           aee_result result, aee_error *error)
{
    if (!is_end(result) || !is_marked(context, call->export_index) ||
        aee__context_is_reentry(context)) {
        return result;
    }
    aee_error second;
    aee_result outcome;
    uint64_t now = aee__now_ns();
    uint64_t deadline = now + patience(context);
    do { /* it may crash again, by another's call, before ours begins */
        if (now >= deadline || aee__context_wait_ready(context, deadline - now, NULL) != AEE_OK) {
            return result;
        }
        outcome = aee__context_call(context, epoch, call, &second);
        now = aee__now_ns();
    } while (outcome == AEE_ERR_RESTARTING);
    if (!is_outcome(outcome)) {
        return result;
    }
    if (error) {
        *error = second;
    }
    return outcome;
}

/* ---- Submitted calls ---------------------------------------------------------------------- */

static bool gets_second_try(const struct aee__context *context, const struct aee__call *call)
{
    return call->batch && !call->retried && is_marked(context, call->export_index);
}

/* With the queue's lock held: there will be an instance that takes them. Pairs with those that end
 * what is queued: they see to it that this is false before they take the lock. */
static bool may_wait(const struct aee__context *context)
{
    return atomic_load(&context->keeps_calls) && !atomic_load(&context->paused);
}

static void keep(struct aee__call *call, aee_result status)
{
    call->retried = true;
    call->queued = true;
    call->status = status;
}

uint32_t aee__retry_ring(struct aee__context *context, struct aee__call **calls, uint32_t count,
                         aee_result status)
{
    struct aee__call_queue *queue = &context->queue;
    struct aee__call *first = NULL;
    struct aee__call *last = NULL;
    uint32_t left = 0;
    if (!is_end(status) || count == 0) {
        return count;
    }
    (void)pthread_mutex_lock(&queue->lock);
    bool open = may_wait(context);
    for (uint32_t i = 0; i < count; i++) {
        struct aee__call *call = calls[i];
        if (!open || !gets_second_try(context, call)) {
            calls[left++] = call;
            continue;
        }
        keep(call, status);
        if (last) {
            last->next = call;
        } else {
            first = call;
        }
        last = call;
    }
    if (first) {
        aee__call_queue_prepend(queue, first, last, count - left);
    }
    (void)pthread_mutex_unlock(&queue->lock);
    if (first) {
        aee__retry_resume(context); /* should the next instance be there already */
    }
    return left;
}

void aee__retry_queue(struct aee__context *context, aee_result status)
{
    struct aee__call_queue *queue = &context->queue;
    uint32_t ended = 0;
    (void)pthread_mutex_lock(&queue->lock);
    bool open = may_wait(context);
    struct aee__call *at = queue->first;
    queue->first = NULL;
    queue->last = NULL;
    while (at) {
        struct aee__call *call = at;
        at = at->next; /* before it ends: its batch may go with it */
        if (open && gets_second_try(context, call)) {
            keep(call, status);
            aee__call_queue_append(queue, call, call, 0);
        } else {
            aee__call_queue_end(call, status);
            ended++;
        }
    }
    aee__call_queue_popped(queue, ended);
    (void)pthread_mutex_unlock(&queue->lock);
    if (ended > 0) {
        aee__batches_wake(&context->core->batches);
    }
}

void aee__retry_resume(struct aee__context *context)
{
    if (atomic_load(&context->queue.count) > 0 && atomic_load(&context->current)) {
        aee__context_advance(context);
        aee__batches_wake(&context->core->batches); /* who waits may run lanes that nobody has */
    }
}
