/* lane_call.c: a call that a thread waits for, from its request to its end: by ring or directly. */
#include "base/clock.h"
#include "isolation/context.h"
#include "isolation/lane_internal.h"
#include "isolation/tracing.h"

/* AUTO: calls for which a ring that turned out slower than direct calls is left alone. */
#define RING_BAN 256u

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
 * nothing about the others. What can wait does: the caller waits for this, and the next call, while
 * its component works, does not. */
static void note_end(struct aee__lane *lane, const struct aee__call *call, uint64_t begin,
                     uint64_t end, bool awake)
{
    struct aee__lane_costs *costs = &lane->costs;
    costs->last_end = end;
    costs->last_ticks = call->mode_used == AEE_CALL_DIRECT || awake ? end - begin : 0;
    costs->last_direct = call->mode_used == AEE_CALL_DIRECT;
    aee__meter_count(&lane->meter, end);
    aee__tracing_call(lane, call, begin, end);
    if (call->status == AEE_OK) {
        atomic_store_explicit(&lane->latency_ticks, (end - begin) | 1, memory_order_relaxed);
    }
}

/* The rest, of the call before. */
static void note_cost(struct aee__lane *lane)
{
    struct aee__lane_costs *costs = &lane->costs;
    if (costs->last_ticks > 0) {
        uint64_t *average = costs->last_direct ? &costs->direct_ns : &costs->ring_ns;
        uint64_t took = aee__ticks_to_ns(&lane->instance->core->ticker, costs->last_ticks);
        *average = aee__lane_average(*average, took);
        costs->last_ticks = 0;
    }
    aee__lane_tell_latency(lane);
}

static void push(struct aee__lane *lane, struct aee__call *call)
{
    aee__guest_clock_note(lane->instance);
    aee__lane_note(lane, call, 0);
    aee__call_ring_push(&lane->ring, &call->request);
}

/* ---- Calls -------------------------------------------------------------------------------- */

/* The reply of the only call under way, from a lane that runs: what most calls by ring need. Looks
 * for a moment only; 0: aee__lane_await() goes on. Else about when the reply came. */
static uint64_t await_alone(struct aee__lane *lane, struct aee__call *call)
{
    const struct aee__core *core = lane->instance->core;
    /* Who runs the lane comes first, as there. */
    if (atomic_load_explicit(&lane->state, memory_order_relaxed) != AEE__LANE_RUNNING ||
        aee__workers_crowded(&core->workers)) {
        return 0;
    }
    struct aee__ring_watch watch =
        aee__call_ring_watch(&lane->ring, AEE__RING_LEVEL_NONE, lane->host_depth);
    uint64_t seen = aee__lane_look(&core->ticker, &watch);
    if (seen == 0 || !aee__call_ring_pop(&lane->ring, &call->result)) {
        return 0;
    }
    aee__lane_finish(lane, call, aee__lane_payload_status(lane, call));
    lane->request_arena_used = 0;
    lane->reply_arena_used = 0;
    return seen;
}

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
    if (aee__lane_outstanding(lane) == AEE_RING_SLOTS || !aee__lane_fits(lane, call)) {
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
        atomic_store_explicit(&lane->budget.deadline_ns, AEE__LANE_NEVER_NS, memory_order_relaxed);
    }
    atomic_store_explicit(&lane->awaited, true, memory_order_relaxed);
    push(lane, call);
    uint64_t begin = aee__ticks(&core->ticker);
    note_gap(lane, begin, awake);
    note_cost(lane);
    if (idle) {
        lane->trace_from = begin;
        aee__meter_skip(&lane->meter, begin);
        aee__lane_arm(lane, call->budget_ns);
    }
    if (call->mode_used == AEE_CALL_RING) {
        aee__warm_note(core, lane);
    }
    uint64_t end = idle && call->mode_used == AEE_CALL_RING ? await_alone(lane, call) : 0;
    if (end == 0) {
        aee__lane_await(lane, call);
        end = aee__ticks(&core->ticker);
    }
    note_end(lane, call, begin, end, awake);
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
    if (!aee__lane_fits(lane, call)) {
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
