/* lane.c: the ring of a lane and who owns it: queued calls go in, replies come out. */
#include "isolation/lane.h"

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/context.h"
#include "isolation/host_call.h"
#include "isolation/lane_internal.h"
#include "isolation/retry.h"
#include "isolation/tracing.h"

/* Submitted calls that are written to the ring before the component sees the first of them. */
#define FEED_RUN 16u

/* ---- Ownership ---------------------------------------------------------------------------- */

/* The store and the load pair with those of aee__lane_attend(): either it finds the lane free, or
 * we find its wish. */
void aee__lane_give(struct aee__lane *lane)
{
    struct aee__context *context = lane->instance->context;
    for (;;) {
        atomic_store(&lane->owned, 0);
        if (!atomic_load(&lane->attention) || !aee__lane_try(lane)) {
            break;
        }
        aee__lane_pump(lane, false);
    }
    /* Calls are left that no worker has: whoever waits for them can run them. */
    if (atomic_load(&lane->state) == AEE__LANE_PARKED &&
        (aee__lane_outstanding(lane) > 0 || atomic_load(&context->queue.count) > 0)) {
        aee__batches_wake(&context->core->batches);
    }
    aee__context_lane_freed(context);
}

void aee__lane_attend(struct aee__lane *lane, bool serve)
{
    atomic_store(&lane->attention, 1);
    if (aee__lane_try(lane)) {
        aee__lane_pump(lane, serve);
        aee__lane_give(lane);
    } else {
        aee__lane_wake(lane);
    }
}

/* ---- Requests ----------------------------------------------------------------------------- */

static void set_turns(struct aee__lane *lane, uint32_t turns)
{
    /* Else the guest keeps the line in its cache. */
    if (atomic_load_explicit(&lane->spin, memory_order_relaxed) != turns) {
        atomic_store_explicit(&lane->spin, turns, memory_order_relaxed);
        AEE__SHARED_STORE(lane->ring.shared->control.spin, turns);
    }
}

void aee__lane_set_spin(struct aee__lane *lane, bool spin)
{
    set_turns(lane, spin ? lane->instance->core->spin_turns : 0);
}

/* Frames are alike: twice the last one's time is enough. */
void aee__lane_warm(struct aee__lane *lane)
{
    const struct aee__core *core = lane->instance->core;
    if (core->spin_turns > 0 && lane->frame_offset_ns <= AEE__WARM_LATEST_NS &&
        aee__lane_outstanding(lane) == 0 && atomic_load(&lane->state) == AEE__LANE_PARKED) {
        uint64_t awake_ns = 2 * lane->frame_offset_ns + core->spin_ns;
        set_turns(lane, aee__ticker_turns(&core->ticker, awake_ns));
        (void)aee__lane_start(lane, true);
    }
}

void aee__lane_set_notify(struct aee__lane *lane, bool notify)
{
    if (lane->notify != notify) {
        lane->notify = notify;
        AEE__SHARED_STORE(lane->ring.shared->control.notify, notify);
    }
}

void aee__lane_expect_sleep(struct aee__lane *lane, bool each)
{
    aee__lane_set_spin(lane, false);
    aee__lane_set_notify(lane, each);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with the one in the guest's await() */
    (void)aee__lane_collect(lane);
}

/* ---- Replies ------------------------------------------------------------------------------ */

/* Tells the batches of calls that have ended, in runs: one atomic operation for each would keep the
 * processor from looking ahead at the next replies. */
static void tell(struct aee__lane *lane, struct aee__call *const *calls, uint32_t count)
{
    uint32_t first = 0;
    bool any = false;
    while (first < count) {
        uint32_t end = first + 1;
        while (end < count && calls[end]->batch == calls[first]->batch) {
            end++;
        }
        if (calls[first]->batch) {
            aee__batch_finish(&calls[first], end - first);
            any = true;
        }
        first = end;
    }
    if (any) {
        aee__batches_wake(&lane->instance->core->batches);
    }
}

static const struct aee__call *oldest(const struct aee__lane *lane)
{
    uint32_t at = atomic_load_explicit(&lane->ring.completed, memory_order_relaxed);
    return lane->in_flight[at % AEE_RING_SLOTS];
}

/* The oldest call, if its reply is there; it must still be told of. */
static struct aee__call *take_one(struct aee__lane *lane)
{
    struct aee__ring_reply reply;
    uint32_t at = atomic_load_explicit(&lane->ring.completed, memory_order_relaxed);
    if (!aee__call_ring_pop(&lane->ring, &reply)) {
        return NULL;
    }
    struct aee__call *call = lane->in_flight[at % AEE_RING_SLOTS];
    call->result = reply;
    aee__lane_finish(lane, call, aee__lane_payload_status(lane, call));
    return call;
}

uint32_t aee__lane_collect(struct aee__lane *lane)
{
    struct aee__ring_reply replies[AEE_RING_SLOTS];
    struct aee__call *taken[AEE_RING_SLOTS];
    uint32_t at = atomic_load_explicit(&lane->ring.completed, memory_order_relaxed);
    if (lane->host_depth > 0) {
        return 0; /* the component waits for us: what it claims to have answered can wait */
    }
    uint32_t count = aee__call_ring_pop_all(&lane->ring, replies);
    if (count == 0) {
        return 0;
    }
    uint64_t now = aee__ticks(&lane->instance->core->ticker);
    aee__meter_count(&lane->meter, now);
    for (uint32_t i = 0; i < count; i++) {
        taken[i] = lane->in_flight[(at + i) % AEE_RING_SLOTS];
        taken[i]->result = replies[i];
        aee__lane_finish(lane, taken[i], aee__lane_payload_status(lane, taken[i]));
    }
    if (aee__lane_outstanding(lane) > 0) {
        aee__lane_arm(lane, oldest(lane)->budget_ns);
    } else {
        lane->request_arena_used = 0;
        lane->reply_arena_used = 0;
    }
    aee__tracing_run(lane, taken, count, at, now);
    tell(lane, taken, count);
    return count;
}

/* The reply of the only call under way, for which this thread waits: what most calls need. */
static bool take_alone(struct aee__lane *lane)
{
    if (!take_one(lane)) {
        return false;
    }
    lane->request_arena_used = 0;
    lane->reply_arena_used = 0;
    return true;
}

bool aee__lane_take(struct aee__lane *lane, struct aee__call *call)
{
    if (!call) {
        (void)aee__lane_collect(lane);
        return aee__lane_outstanding(lane) == 0;
    }
    if (call->level == 0 && aee__lane_outstanding(lane) == 1 && oldest(lane) == call) {
        return take_alone(lane);
    }
    if (call->level == 0) {
        (void)aee__lane_collect(lane);
        return call->done;
    }
    if (!aee__call_ring_nested_pop(&lane->ring, call->level - 1u, &call->result)) {
        return false;
    }
    aee__lane_finish(lane, call, aee__lane_payload_status(lane, call));
    return true;
}

void aee__lane_fail_all(struct aee__lane *lane)
{
    aee_result status = aee__instance_await_end(lane->instance);
    struct aee__call_ring *ring = &lane->ring;
    struct aee__call *ended[AEE_RING_SLOTS];
    uint32_t first = atomic_load_explicit(&ring->completed, memory_order_relaxed);
    uint32_t count = 0;
    if (aee__lane_outstanding(lane) > 0) {
        lane->cut = true;
        aee__meter_count(&lane->meter, aee__ticks(&lane->instance->core->ticker));
    }
    /* Submitted calls that were answered before the end have their results. */
    while (aee__lane_outstanding(lane) > 0 && oldest(lane)->batch &&
           (ended[count] = take_one(lane)) != NULL) {
        count++;
    }
    uint32_t answered = count;
    while (aee__lane_outstanding(lane) > 0) {
        uint32_t at = atomic_load_explicit(&ring->completed, memory_order_relaxed);
        ended[count++] = lane->in_flight[at % AEE_RING_SLOTS];
        atomic_store_explicit(&ring->completed, at + 1, memory_order_relaxed);
    }
    aee__tracing_failed(lane, ended, answered, count, first, status);
    count = answered +
            aee__retry_ring(lane->instance->context, &ended[answered], count - answered, status);
    for (uint32_t i = answered; i < count; i++) {
        aee__lane_finish(lane, ended[i], status);
    }
    tell(lane, ended, count);
}

/* ---- Queued calls ------------------------------------------------------------------------- */

/* An equal part for each lane. */
static uint32_t share(const struct aee__lane *lane, uint32_t queued)
{
    uint32_t lanes = atomic_load_explicit(&lane->instance->lane_count, memory_order_relaxed);
    return lanes > 1 ? (queued + lanes - 1) / lanes : queued;
}

/* With the queue's lock held: whether calls may begin on this lane. Not while a host function runs
 * for it: nested calls have the arenas' ends. */
static bool may_begin(const struct aee__lane *lane)
{
    const struct aee__context *context = lane->instance->context;
    return atomic_load(&context->current) == lane->instance && !atomic_load(&context->paused) &&
           lane->host_depth == 0;
}

static bool is_late(const struct aee__call *call)
{
    return call->deadline_ns != 0 && aee__now_ns() >= call->deadline_ns;
}

/* With the queue's lock held: takes at most `most` calls from it, and hands a run of them to the
 * guest; how many were taken. Those that have ended because they were late, or of an image that was
 * replaced meanwhile, go to `late`. */
static uint32_t feed_run(struct aee__lane *lane, struct aee__call_queue *queue, uint32_t most,
                         struct aee__call **late, uint32_t *late_count)
{
    const struct aee__ring_request *begun[FEED_RUN];
    uint32_t count = 0;
    uint32_t taken = 0;
    while (taken < most && count < FEED_RUN && queue->first && aee__lane_fits(lane, queue->first)) {
        struct aee__call *call = aee__call_queue_pop(queue);
        taken++;
        if (call->epoch != lane->instance->epoch || is_late(call)) {
            aee__lane_finish(lane, call,
                             call->retried                          ? call->status
                             : call->epoch != lane->instance->epoch ? AEE_ERR_STOPPED
                                                                    : AEE_ERR_TIMED_OUT);
            late[(*late_count)++] = call;
        } else {
            aee__lane_note(lane, call, count);
            atomic_store_explicit(&lane->awaited, false, memory_order_relaxed);
            begun[count++] = &call->request;
        }
    }
    if (count > 0) {
        aee__guest_clock_note(lane->instance);
    }
    aee__call_ring_push_all(&lane->ring, begun, count);
    return taken;
}

/* With the queue's lock held; how many calls went to `late`. */
static uint32_t feed_some(struct aee__lane *lane, struct aee__call_queue *queue, uint32_t limit,
                          struct aee__call **late)
{
    uint32_t most = share(lane, atomic_load_explicit(&queue->count, memory_order_relaxed));
    uint32_t room = AEE_RING_SLOTS - aee__lane_outstanding(lane);
    uint32_t taken = 0;
    uint32_t late_count = 0;
    uint32_t now;
    most = most < room ? most : room;
    most = most < limit ? most : limit;
    aee__call_ring_expect(&lane->ring, most);
    do {
        now = feed_run(lane, queue, most - taken, late, &late_count);
        taken += now;
    } while (now > 0 && taken < most);
    aee__call_queue_popped(queue, taken);
    return late_count;
}

void aee__lane_feed(struct aee__lane *lane, uint32_t limit)
{
    struct aee__call_queue *queue = &lane->instance->context->queue;
    struct aee__call *late[AEE_RING_SLOTS];
    uint32_t late_count = 0;
    bool idle = aee__lane_outstanding(lane) == 0;
    if (atomic_load(&queue->count) == 0 || aee__rates_end_queue(lane->instance->context)) {
        return;
    }
    (void)pthread_mutex_lock(&queue->lock);
    if (may_begin(lane)) {
        if (idle) { /* the watch is still that of calls before, as in aee__lane_call() */
            atomic_store_explicit(&lane->budget.deadline_ns, AEE__LANE_NEVER_NS,
                                  memory_order_relaxed);
        }
        late_count = feed_some(lane, queue, limit, late);
    }
    (void)pthread_mutex_unlock(&queue->lock);
    if (idle && aee__lane_outstanding(lane) > 0) {
        lane->trace_from = aee__ticks(&lane->instance->core->ticker);
        aee__meter_skip(&lane->meter, lane->trace_from);
        aee__lane_arm(lane, oldest(lane)->budget_ns);
    }
    tell(lane, late, late_count);
}

/* Host functions run on threads that wait for the component, and on workers, or servers where those
 * are jailed. Anybody else calls a server, or sends a worker that waits for the answer into the
 * guest again: it asks once more, and then serves it. */
static void serve_or_send(struct aee__lane *lane, bool serve)
{
    while (serve && aee__lane_serve_host_call(lane, 0)) {
        (void)aee__lane_collect(lane);
        serve = !aee__lane_is_over(lane);
    }
    if (atomic_load(&lane->awaiting) && lane->host_depth == 0 &&
        aee__call_ring_host_call_pending(&lane->ring, 0) && !aee__lane_hand_over(lane)) {
        aee__lane_answered(lane);
    }
}

void aee__lane_pump(struct aee__lane *lane, bool serve)
{
    atomic_store(&lane->attention, 0);
    if (aee__instance_ended(lane->instance) != AEE_OK) {
        aee__lane_fail_all(lane);
        return;
    }
    (void)aee__lane_collect(lane);
    serve_or_send(lane, serve);
    if (lane->instance->context->mode == AEE_CALL_DIRECT) {
        return; /* who waits for submitted calls runs them */
    }
    aee__lane_feed(lane, AEE_RING_SLOTS);
    if (aee__lane_outstanding(lane) > 0) {
        (void)aee__lane_start(lane, false);
    }
}
