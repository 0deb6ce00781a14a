/* lane_budget.c: how long the call under way may take, and what the watchdog does about it. */
#include "base/clock.h"
#include "isolation/context.h"
#include "isolation/lane_internal.h"

/* A budget for which the watchdog may not come in time to set the timer. Each entry into the guest
 * pays two system calls for it. */
#define SHORT_NS UINT64_C(2000000)

/* ---- Beginning ---------------------------------------------------------------------------- */

static void set_budget(struct aee__lane *lane, uint64_t budget_ns, uint64_t now_ns)
{
    struct aee__lane_budget *budget = &lane->budget;
    uint64_t deadline = now_ns + budget_ns;
    atomic_store_explicit(&budget->budget_ns, budget_ns, memory_order_relaxed);
    atomic_store_explicit(&budget->host_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&budget->deadline_ns, deadline, memory_order_relaxed);
    aee__watchdog_arm(&lane->instance->core->watchdog, &lane->watch, deadline);
}

void aee__lane_arm(struct aee__lane *lane, uint64_t budget_ns)
{
    uint64_t now = aee__now_ns();
    atomic_store_explicit(&lane->budget.idle_ns, now, memory_order_relaxed);
    set_budget(lane, budget_ns, now);
}

/* The time that nobody ran it is given back, and no more: one that parks again and again gains
 * nothing. */
void aee__lane_begin_budget(struct aee__lane *lane)
{
    uint64_t idle = atomic_exchange(&lane->budget.idle_ns, 0);
    uint64_t now = aee__now_ns();
    if (idle == 0 || idle >= now || aee__lane_outstanding(lane) == 0) {
        return;
    }
    uint64_t deadline = atomic_load(&lane->budget.deadline_ns) + (now - idle);
    atomic_store(&lane->budget.deadline_ns, deadline);
    aee__watchdog_arm(&lane->instance->core->watchdog, &lane->watch, deadline);
}

/* One that parks although it has a call gets nothing back. What was armed while it was run waits
 * from now on; what is armed meanwhile stays. */
void aee__lane_end_budget(struct aee__lane *lane)
{
    _Atomic uint64_t *idle = &lane->budget.idle_ns;
    uint64_t armed = atomic_load(idle); /* before the look at what is outstanding */
    if (aee__lane_outstanding(lane) == 0) {
        return;
    }
    if (!lane->parked) {
        atomic_store(idle, aee__now_ns());
    } else if (armed != 0) {
        (void)atomic_compare_exchange_strong(idle, &armed, aee__now_ns());
    }
}

/* ---- Ending ------------------------------------------------------------------------------- */

static struct aee__lane *lane_of(struct aee__watch *watch)
{
    return (struct aee__lane *)((char *)watch - offsetof(struct aee__lane, watch));
}

/* No call is under way. A lane that has not parked after a while, and two looks, is in the way. */
static void expire_idle(struct aee__lane *lane)
{
    uint64_t number = atomic_load(&lane->ring.submitted);
    if (atomic_load(&lane->state) == AEE__LANE_PARKED) {
        lane->idle_number = UINT64_MAX;
        aee__watch_postpone(&lane->watch, 0);
    } else if (lane->idle_number != number) {
        lane->idle_number = number;
        aee__watch_postpone(&lane->watch, aee__now_ns() + AEE__LANE_IDLE_NS);
    } else {
        atomic_store(&lane->budget.overdue_idle, true);
        aee__lane_interrupt(lane);
    }
}

uint64_t aee__lane_limit(const struct aee__lane *lane)
{
    const struct aee__lane_budget *budget = &lane->budget;
    if (atomic_load(&lane->instance->unhurried)) {
        return UINT64_MAX / 2;
    }
    uint64_t most = atomic_load(&budget->budget_ns);
    uint64_t host = atomic_load(&budget->in_host) ? most : atomic_load(&budget->host_ns);
    return atomic_load(&budget->deadline_ns) + (host < most ? host : most);
}

/* The instance has ended: whoever ended it because it hung has left work for others to us. A thread
 * that still runs it is kicked until it leaves. */
static void expire_ended(struct aee__lane *lane)
{
    struct aee__core *core = lane->instance->core;
    if (atomic_load(&lane->instance->end) == AEE__END_CLAIMED) {
        return; /* that work comes yet: the watch stays expired */
    }
    aee__housekeeper_nudge(&core->restarter);
    aee__housekeeper_nudge(&core->housekeeper);
    if (atomic_load(&lane->runner) != 0) {
        aee__lane_interrupt(lane);
    } else {
        aee__watch_postpone(&lane->watch, 0);
    }
}

/* The engine's own time is free up to once the budget, so that no component can hold its caller
 * with host calls without end. It is added up as it comes and looked at only here. */
void aee__lane_expire(struct aee__watch *watch)
{
    struct aee__lane *lane = lane_of(watch);
    const struct aee__lane_budget *budget = &lane->budget;
    if (aee__instance_ended(lane->instance) != AEE_OK) {
        expire_ended(lane);
        return;
    }
    if (atomic_load(&lane->instance->unhurried)) {
        aee__watch_postpone(watch, aee__now_ns() + AEE__LANE_IDLE_NS);
        return;
    }
    if (aee__lane_outstanding(lane) == 0) {
        expire_idle(lane);
        return;
    }
    if (atomic_load(&lane->runner) == 0 &&
        atomic_load(&lane->budget.idle_ns) !=
            0) { /* it waits to be run: no time of its own passes */
        aee__watch_postpone(watch, 0);
        return;
    }
    uint64_t limit = aee__lane_limit(lane);
    uint64_t now = aee__now_ns();
    uint64_t wait = atomic_load(&budget->wait_ns);
    if (now < limit) {
        if (now >= wait) { /* who runs it here has waited long enough */
            lane->instance->core->ops->lane_kick(lane->instance->vm, lane->index);
        }
        aee__watch_postpone(watch, now < wait && wait < limit ? wait : limit);
    } else {
        aee__lane_interrupt(lane);
    }
}

/* The thread that runs the lane is kicked by a timer of its own: a thread that had to be woken for
 * it may get a processor late. */
static bool kick_on_time(struct aee__lane *lane)
{
    const struct aee__backend_ops *ops = lane->instance->core->ops;
    uint64_t limit = aee__lane_limit(lane);
    uint64_t wait = atomic_load(&lane->budget.wait_ns);
    return ops->lane_kick_at &&
           ops->lane_kick_at(lane->instance->vm, lane->index, wait < limit ? wait : limit);
}

bool aee__lane_approach(struct aee__watch *watch)
{
    struct aee__lane *lane = lane_of(watch);
    return aee__lane_outstanding(lane) > 0 && atomic_load(&lane->runner) != 0 &&
           !atomic_load(&lane->budget.in_host) && kick_on_time(lane);
}

void aee__lane_watch_short(struct aee__lane *lane)
{
    if (atomic_load_explicit(&lane->budget.budget_ns, memory_order_relaxed) <= SHORT_NS) {
        (void)kick_on_time(lane);
    }
}

bool aee__lane_is_over(const struct aee__lane *lane)
{
    return aee__instance_ended(lane->instance) != AEE_OK ||
           (aee__watch_expired(&lane->watch) && aee__now_ns() >= aee__lane_limit(lane));
}
