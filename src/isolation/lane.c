#include "isolation/lane.h"

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/context.h"
#include "isolation/host_call.h"
#include "isolation/lane_internal.h"
#include "isolation/retry.h"
#include "isolation/tracing.h"

#define NEVER_NS (UINT64_MAX / 2)
/* AUTO: calls for which a ring that turned out slower than direct calls is left alone. */
#define RING_BAN 256u
/* Submitted calls that are written to the ring before the component sees the first of them. */
#define FEED_RUN 16u

/* ---- Ownership ---------------------------------------------------------------------------- */

bool aee__lane_try(struct aee__lane *lane)
{
    uint32_t free = 0;
    return atomic_load_explicit(&lane->owned, memory_order_relaxed) == 0 &&
           atomic_compare_exchange_strong(&lane->owned, &free, 1);
}

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

static bool fits(const struct aee__lane *lane, const struct aee__call *call)
{
    return !aee__call_is_bytes(call) || aee__lane_payload_fits(lane, call);
}

/* Everything but the ring: the call will be the one `ahead` places after the last. */
static void note(struct aee__lane *lane, struct aee__call *call, uint32_t ahead)
{
    uint32_t at = atomic_load_explicit(&lane->ring.submitted, memory_order_relaxed) + ahead;
    at %= AEE_RING_SLOTS;
    if (aee__call_is_bytes(call)) {
        aee__lane_place_payload(lane, call);
    }
    lane->in_flight[at] = call;
    atomic_store_explicit(&lane->called[at], call->export_index, memory_order_relaxed);
}

static void push(struct aee__lane *lane, struct aee__call *call)
{
    aee__guest_clock_note(lane->instance);
    note(lane, call, 0);
    aee__call_ring_push(&lane->ring, &call->request);
}

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

static aee_result payload_status(struct aee__lane *lane, struct aee__call *call)
{
    return aee__call_is_bytes(call) ? aee__lane_take_payload(lane, call) : AEE_OK;
}

static void count(_Atomic uint64_t *number)
{
    uint64_t value = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, value + 1, memory_order_relaxed);
}

/* The call has its status; one of a batch is told of by aee__batch_finish(). */
static void finish(struct aee__lane *lane, struct aee__call *call, aee_result status)
{
    if (call->export_index != AEE__CALLED_INITIALISER) {
        count(status == AEE_OK ? &lane->calls : &lane->failed_calls);
    }
    call->status = status;
    if (!call->batch) {
        call->done = true;
    }
}

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
    finish(lane, call, payload_status(lane, call));
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
        finish(lane, taken[i], payload_status(lane, taken[i]));
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
    finish(lane, call, payload_status(lane, call));
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
        finish(lane, ended[i], status);
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
    while (taken < most && count < FEED_RUN && queue->first && fits(lane, queue->first)) {
        struct aee__call *call = aee__call_queue_pop(queue);
        taken++;
        if (call->epoch != lane->instance->epoch || is_late(call)) {
            finish(lane, call,
                   call->retried                          ? call->status
                   : call->epoch != lane->instance->epoch ? AEE_ERR_STOPPED
                                                          : AEE_ERR_TIMED_OUT);
            late[(*late_count)++] = call;
        } else {
            note(lane, call, count);
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
            atomic_store_explicit(&lane->budget.deadline_ns, NEVER_NS, memory_order_relaxed);
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
    while (serve && aee__lane_serve_host_call(lane)) {
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

/* ---- Which way ---------------------------------------------------------------------------- */

/* The ring pays where the next call usually comes while the lane still spins, and where it has not
 * turned out slower than the exit that it saves: on a machine with other work to do it can. */
static aee_call_mode choose_mode(struct aee__lane *lane, aee_call_mode wanted)
{
    const struct aee__core *core = lane->instance->core;
    struct aee__lane_costs *costs = &lane->costs;
    if (wanted != AEE_CALL_AUTO) {
        return wanted;
    }
    if (costs->gap_ns >= core->spin_ns || core->cpus == 1 || aee__workers_crowded(&core->workers)) {
        return AEE_CALL_DIRECT;
    }
    if (costs->ring_banned > 0) {
        costs->ring_banned--;
        return AEE_CALL_DIRECT;
    }
    if (costs->direct_ns > 0 && costs->ring_ns > costs->direct_ns + costs->direct_ns / 4) {
        costs->ring_banned = RING_BAN;
        costs->ring_ns = 0;
        return AEE_CALL_DIRECT;
    }
    return AEE_CALL_RING;
}

/* A pause between two frames says little about the calls within one: it counts as a few spins. A
 * lane that was awake all the while had better reasons than the next call. */
static void note_gap(struct aee__lane *lane, uint64_t begin, bool awake)
{
    const struct aee__core *core = lane->instance->core;
    struct aee__lane_costs *costs = &lane->costs;
    uint64_t gap = aee__ticks_to_ns(&core->ticker, begin - costs->last_end);
    uint64_t most = 8 * core->spin_ns;
    if (gap >= most) {
        gap = most;
        if (awake) {
            aee__meter_idle(lane, begin);
        }
    }
    costs->gap_ns = aee__lane_average(costs->gap_ns, gap);
}

/* `awake`: the lane was running when the call came. The first call of many wakes it, which says
 * nothing about the others. */
static void note_cost(struct aee__lane *lane, const struct aee__call *call, uint64_t begin,
                      bool awake)
{
    const struct aee__core *core = lane->instance->core;
    struct aee__lane_costs *costs = &lane->costs;
    costs->last_end = aee__ticks(&core->ticker);
    uint64_t took = aee__ticks_to_ns(&core->ticker, costs->last_end - begin);
    aee__meter_count(&lane->meter, costs->last_end);
    if (call->mode_used == AEE_CALL_DIRECT) {
        costs->direct_ns = aee__lane_average(costs->direct_ns, took);
    } else if (awake) {
        costs->ring_ns = aee__lane_average(costs->ring_ns, took);
    }
    aee__tracing_call(lane, call, begin, costs->last_end);
    if (call->status == AEE_OK) {
        aee__histogram_record(&lane->instance->context->stats.latency, took);
    }
}

/* ---- Calls -------------------------------------------------------------------------------- */

static aee_result ended(struct aee__lane *lane, struct aee__call *call)
{
    call->status = aee__instance_await_end(lane->instance);
    return call->status;
}

/* The request is written first: clock, watchdog and statistics are looked after while the component
 * works. */
aee_result aee__lane_call(struct aee__lane *lane, struct aee__call *call)
{
    struct aee__core *core = lane->instance->core;
    call->level = 0;
    call->done = false;
    call->traced = false;
    if (aee__lane_outstanding(lane) == AEE_RING_SLOTS || !fits(lane, call)) {
        aee__lane_await(lane, NULL);
    }
    if (aee__instance_ended(lane->instance) != AEE_OK) {
        return ended(lane, call);
    }
    bool idle = aee__lane_outstanding(lane) == 0;
    bool awake = atomic_load_explicit(&lane->state, memory_order_relaxed) == AEE__LANE_RUNNING;
    call->mode_used = choose_mode(lane, call->mode);
    aee__lane_set_spin(lane,
                       call->mode_used == AEE_CALL_RING && !aee__workers_crowded(&core->workers));
    aee__lane_set_notify(lane, false);
    if (idle) { /* the watch is still that of the call before: until it is armed anew it means
                   nothing */
        atomic_store_explicit(&lane->budget.deadline_ns, NEVER_NS, memory_order_relaxed);
    }
    atomic_store_explicit(&lane->awaited, true, memory_order_relaxed);
    push(lane, call);
    uint64_t begin = aee__ticks(&core->ticker);
    note_gap(lane, begin, awake);
    if (idle) {
        lane->trace_from = begin;
        aee__meter_skip(&lane->meter, begin);
        aee__lane_arm(lane, call->budget_ns);
    }
    if (call->mode_used == AEE_CALL_RING) {
        aee__warm_note(core, lane);
    }
    aee__lane_await(lane, call);
    note_cost(lane, call, begin, awake);
    return call->status;
}

/* The outer call's budget rests meanwhile; its arenas' contents stay where they are. */
aee_result aee__lane_call_nested(struct aee__lane *lane, struct aee__call *call)
{
    struct aee__lane_budget *budget = &lane->budget;
    const struct aee__ticker *ticker = &lane->instance->core->ticker;
    uint32_t request_used = lane->request_arena_used;
    uint32_t reply_used = lane->reply_arena_used;
    uint64_t deadline = atomic_load(&budget->deadline_ns);
    uint64_t host_ns = atomic_load(&budget->host_ns);
    uint64_t outer_budget = atomic_load(&budget->budget_ns);
    int32_t called = atomic_load(&lane->nested_called);
    if (aee__instance_ended(lane->instance) != AEE_OK) {
        return ended(lane, call);
    }
    if (!fits(lane, call)) {
        return AEE_ERR_TOO_LARGE;
    }
    call->level = (uint8_t)lane->host_depth;
    call->done = false;
    call->mode_used = call->mode;
    if (aee__call_is_bytes(call)) {
        aee__lane_place_payload(lane, call);
    }
    atomic_store(&lane->nested_called, call->export_index);
    atomic_store(&budget->in_host, 0);
    aee__call_ring_nested_push(&lane->ring, call->level - 1u, &call->request);
    aee__lane_answered(lane);
    aee__lane_arm(lane, call->budget_ns);
    uint64_t begin = aee__ticks(ticker);
    aee__meter_skip(&lane->meter, begin);
    aee__lane_await(lane, call);
    aee__meter_count(&lane->meter, aee__ticks(ticker));
    aee__tracing_nested(lane, call, begin);
    atomic_store(&lane->nested_called, called);
    lane->request_arena_used = request_used;
    lane->reply_arena_used = reply_used;
    atomic_store(&budget->budget_ns, outer_budget);
    atomic_store(&budget->host_ns, host_ns);
    atomic_store(&budget->deadline_ns, deadline);
    atomic_store(&budget->in_host, 1);
    aee__watchdog_arm(&lane->instance->core->watchdog, &lane->watch, deadline);
    return call->status;
}
