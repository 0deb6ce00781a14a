/* lane_run.c: running a lane's vCPU, on its owner's thread or on a worker's, and waiting for it. */
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/context.h"
#include "isolation/fault.h"
#include "isolation/host_call.h"
#include "isolation/lane_internal.h"
#include "isolation/tracing.h"

/* Turns for which a helper stays with a lane that a worker runs. */
#define HELP_TURNS 64u
/* Turns of the tight loop. */
#define WATCH_TURNS 32u
/* Replies that it waits for before it takes them, but for a closer look now and then. */
#define HELP_RUN 16u
#define LOOK_CLOSELY 8u
/* For how long a waiter runs submitted calls before it looks at its own deadline. */
#define PORTION_NS UINT64_C(1000000)
/* Host calls of one call after which a worker takes a lane over. */
#define PROMOTE_AFTER 4u

static uintptr_t self(void)
{
    return (uintptr_t)pthread_self();
}

/* ---- The end of a budget ------------------------------------------------------------------ */

/* On a worker: true if the lane must not go on. */
static bool is_out_of_time_there(struct aee__lane *lane)
{
    if (atomic_load(&lane->budget.overdue_idle)) {
        aee__lane_fault_protocol(lane, "it went on running without a call");
        return true;
    }
    if (aee__lane_outstanding(lane) == 0 || aee__now_ns() < aee__lane_limit(lane)) {
        return false; /* the answer was taken at the last moment, or the watchdog is about to see */
    }
    if (atomic_load(&lane->host_depth) == 0 &&
        aee__call_ring_oldest(&lane->ring) != atomic_load(&lane->ring.completed)) {
        /* Answers that nobody has taken: the next call's budget begins. */
        aee__lane_attend(lane, true);
        return false;
    }
    aee__lane_fault_hung(lane);
    return true;
}

/* The same on the owner's thread, which takes answers when the lane parks: one that has answered
 * everything and does not park is over its time, too. */
static bool is_out_of_time_here(struct aee__lane *lane)
{
    uint32_t oldest = aee__call_ring_oldest(&lane->ring);
    if (aee__lane_outstanding(lane) > 0 && aee__now_ns() < aee__lane_limit(lane)) {
        return false;
    }
    if (oldest != atomic_load(&lane->ring.completed) &&
        oldest != atomic_load(&lane->ring.submitted) && aee__lane_collect(lane) > 0) {
        return false;
    }
    aee__lane_fault_hung(lane);
    return true;
}

/* The watch has expired, or the time is up: true if the lane must not go on. */
static bool is_out_of_time(struct aee__lane *lane, bool here)
{
    if (atomic_load(&lane->instance->unhurried)) {
        return false;
    }
    return here ? is_out_of_time_here(lane) : is_out_of_time_there(lane);
}

/* ---- Running the vCPU --------------------------------------------------------------------- */

enum step { STEP_GO_ON, STEP_PARKED, STEP_NOTIFIED, STEP_HOST_CALL, STEP_OVER };

static enum step digest_hypercall(struct aee__lane *lane, const struct aee__exit *exit)
{
    struct aee__exit abort = {.kind = AEE__EXIT_CRASH};
    switch (exit->hypercall) {
    case AEE_HC_PARK:
        return STEP_PARKED;
    case AEE_HC_NOTIFY:
        return STEP_NOTIFIED;
    case AEE_HC_HOST_CALL:
        return STEP_HOST_CALL;
    case AEE_HC_ABORT:
    case AEE_HC_OUT_OF_MEMORY:
        abort.cause = exit->hypercall == AEE_HC_ABORT ? AEE_CRASH_ABORT : AEE_CRASH_OUT_OF_MEMORY;
        /* Copied once; terminated here, whatever the component does to it meanwhile. */
        memcpy(abort.detail, lane->ring.shared->host_arena, sizeof abort.detail - 1);
        aee__lane_fault(lane, &abort);
        return STEP_OVER;
    default:
        aee__lane_fault_protocol(lane, "unknown hypercall");
        return STEP_OVER;
    }
}

/* Enters the guest once and says what is to be done next. `here`: on the owner's thread. */
static enum step run_once(struct aee__lane *lane, bool here)
{
    struct aee__instance *instance = lane->instance;
    struct aee__exit exit;
    if (atomic_load(&instance->debugged)) {
        instance->core->debug->enter(lane);
    }
    if (aee__instance_ended(instance) != AEE_OK ||
        (aee__watch_expired(&lane->watch) && is_out_of_time(lane, here))) {
        return STEP_OVER;
    }
    if (here) {
        aee__lane_watch_short(lane);
    }
    lane->parked = false;
    instance->core->ops->lane_run(instance->vm, lane->index, &exit);
    (void)atomic_fetch_add_explicit(&instance->context->stats.exits, 1, memory_order_relaxed);
    aee__tracing_count_exit(lane, &exit);
    if (atomic_load(&instance->debugged) && instance->core->debug->left(lane, &exit)) {
        return STEP_GO_ON;
    }
    switch (exit.kind) {
    case AEE__EXIT_HYPERCALL:
        lane->parked = exit.hypercall == AEE_HC_PARK;
        return digest_hypercall(lane, &exit);
    case AEE__EXIT_CRASH:
        if (aee__lane_fault_is_spurious(lane, &exit)) {
            return STEP_GO_ON;
        }
        aee__lane_fault(lane, &exit);
        return STEP_OVER;
    case AEE__EXIT_KICKED:
    default: /* by its own timer it comes here before the watchdog has looked */
        return aee__now_ns() >= aee__lane_limit(lane) && is_out_of_time(lane, here) ? STEP_OVER
                                                                                    : STEP_GO_ON;
    }
}

/* True: nobody runs the lane, and this thread has the right to. */
static bool take_over(struct aee__lane *lane)
{
    uint32_t parked = AEE__LANE_PARKED;
    return atomic_load_explicit(&lane->state, memory_order_relaxed) == AEE__LANE_PARKED &&
           atomic_compare_exchange_strong(&lane->state, &parked, AEE__LANE_RUNNING);
}

/* ---- On the owner's thread ---------------------------------------------------------------- */

/* A call that asks the engine so often is cheaper on the ring: where the way is ours to choose, a
 * worker that is free takes the lane over. */
static bool promotes(const struct aee__lane *lane, struct aee__call *call, uint32_t host_calls)
{
    const struct aee__core *core = lane->instance->core;
    if (!call || call->level > 0 || call->mode != AEE_CALL_AUTO || host_calls < PROMOTE_AFTER ||
        core->cpus == 1 || aee__workers_crowded(&core->workers)) {
        return false;
    }
    call->mode_used = AEE_CALL_RING;
    return true;
}

/* Until `call` has ended, or is better served by a worker. */
static void run_steps(struct aee__lane *lane, struct aee__call *call)
{
    for (uint32_t host_calls = 0;;) {
        switch (run_once(lane, true)) {
        case STEP_PARKED:
            if (aee__lane_take(lane, call)) {
                return;
            }
            break;
        case STEP_HOST_CALL:
            if (call && call->level > 0 && aee__lane_take(lane, call)) {
                return;
            }
            host_calls += aee__lane_serve_host_call(lane, 0);
            if (promotes(lane, call, host_calls)) {
                return;
            }
            break;
        case STEP_OVER:
            return;
        case STEP_NOTIFIED:
        case STEP_GO_ON:
        default:
            break; /* answers are taken when it parks: it must not go on after the last */
        }
    }
}

/* So many submitted calls go to the lane at once that it comes back after about a millisecond. */
static uint32_t portion(const struct aee__lane *lane)
{
    uint64_t call_ns = lane->costs.call_ns;
    uint64_t calls = call_ns > 0 ? PORTION_NS / call_ns : 1;
    return calls < 1 ? 1 : calls < AEE_RING_SLOTS ? (uint32_t)calls : AEE_RING_SLOTS;
}

/* Runs what is outstanding. Past the deadline the watchdog kicks it out in the middle of a call,
 * which goes on when somebody runs the lane again. */
static void run_portion(struct aee__lane *lane, uint64_t deadline_ns)
{
    uint32_t calls = aee__lane_outstanding(lane);
    uint64_t begin = aee__now_ns();
    bool left = false;
    aee__lane_set_notify(lane, false);
    do {
        switch (run_once(lane, true)) {
        case STEP_PARKED:
            (void)aee__lane_collect(lane);
            left = true;
            break;
        case STEP_HOST_CALL:
            (void)aee__lane_serve_host_call(lane, 0);
            break;
        case STEP_OVER:
            return;
        case STEP_NOTIFIED:
        case STEP_GO_ON:
        default:
            break;
        }
        left = left || aee__now_ns() >= deadline_ns;
    } while (!left);
    calls -= aee__lane_outstanding(lane);
    if (calls > 0) {
        lane->costs.call_ns =
            aee__lane_average(lane->costs.call_ns, (aee__now_ns() - begin) / calls);
    }
}

/* The watchdog looks at the waiter's deadline, too, where that comes before the budget's. */
static void watch_wait(struct aee__lane *lane, uint64_t deadline_ns)
{
    if (deadline_ns < atomic_load(&lane->budget.deadline_ns)) {
        aee__watchdog_arm(&lane->instance->core->watchdog, &lane->watch, deadline_ns);
    }
}

/* Some submitted calls: the waiter looks at its own batch between portions. */
static void run_some(struct aee__lane *lane, uint64_t deadline_ns)
{
    atomic_store(&lane->budget.wait_ns, deadline_ns);
    if (aee__lane_outstanding(lane) == 0) {
        aee__lane_feed(lane, portion(lane));
    }
    if (aee__lane_outstanding(lane) > 0) {
        aee__lane_begin_budget(lane);
        watch_wait(lane, deadline_ns);
        run_portion(lane, deadline_ns);
    }
    atomic_store(&lane->budget.wait_ns, UINT64_MAX);
}

/* On this thread: the state is RUNNING, and ours. */
static void begin_here(struct aee__lane *lane, sigset_t *mask)
{
    aee__lane_set_spin(lane, false);
    if (lane->instance->core->ops->lane_place) {
        lane->instance->core->ops->lane_place(lane->instance->vm, lane->index, AEE__PLACE_AT,
                                              aee__sys_cpu());
    }
    (void)aee__sys_block_signal(lane->instance->core->kick_signal, mask);
    atomic_store(&lane->runner, self());
    atomic_store(&lane->budget.overdue_idle, false);
    aee__meter_skip(&lane->meter, aee__ticks(&lane->instance->core->ticker));
    aee__lane_begin_budget(lane);
}

static void end_here(struct aee__lane *lane, const sigset_t *mask)
{
    aee__meter_count(&lane->meter, aee__ticks(&lane->instance->core->ticker));
    aee__meter_pause(&lane->meter);
    aee__lane_end_budget(lane);
    atomic_store(&lane->runner, 0);
    (void)aee__sys_restore_mask(mask);
    atomic_store(&lane->state, AEE__LANE_PARKED);
}

static void run_here(struct aee__lane *lane, struct aee__call *call)
{
    sigset_t mask;
    begin_here(lane, &mask);
    run_steps(lane, call);
    end_here(lane, &mask);
}

/* ---- On a worker -------------------------------------------------------------------------- */

bool aee__lane_start(struct aee__lane *lane, bool now)
{
    struct aee__workers *workers = &lane->instance->core->workers;
    if (!take_over(lane)) {
        return true;
    }
    if (aee__lane_outstanding(lane) == 0) {
        lane->idle_number = UINT64_MAX;
        aee__watchdog_arm(&lane->instance->core->watchdog, &lane->watch,
                          aee__now_ns() + AEE__LANE_IDLE_NS);
    }
    atomic_store_explicit(&lane->watcher_cpu, aee__sys_cpu(), memory_order_relaxed);
    bool taken = aee__instance_take(lane->instance);
    if (taken && (now ? aee__workers_run(workers, &lane->runnable)
                      : aee__workers_post(workers, &lane->runnable))) {
        return true;
    }
    atomic_store(&lane->state, AEE__LANE_PARKED);
    if (taken) {
        aee__instance_release(lane->instance);
    }
    return false;
}

/* A lane that waits for a worker is as good as parked for who can run it now. */
static void withdraw(struct aee__lane *lane)
{
    if (aee__workers_withdraw(&lane->instance->core->workers, &lane->runnable)) {
        atomic_store(&lane->state, AEE__LANE_PARKED);
        aee__instance_release(lane->instance);
    }
}

/* The kernel likes to wake a thread where its waker runs; but that one watches the ring, and two
 * that watch each other need two CPUs. */
static void leave_watcher(const struct aee__lane *lane)
{
    int cpu = atomic_load_explicit(&lane->watcher_cpu, memory_order_relaxed);
    aee__sys_leave_cpu(cpu);
    if (lane->instance->core->ops->lane_place) {
        lane->instance->core->ops->lane_place(lane->instance->vm, lane->index, AEE__PLACE_OFF, cpu);
    }
}

/* A worker in a jail runs no host functions. */
static bool may_serve(const struct aee__lane *lane)
{
    return !lane->instance->core->jailed;
}

/* The guest's word, where ours is that no host function runs for it. */
static bool is_asking(const struct aee__lane *lane)
{
    return atomic_load(&lane->host_depth) > 0 || aee__call_ring_host_call_pending(&lane->ring, 0);
}

static void sleep_until_answered(struct aee__lane *lane, uint32_t seen)
{
    struct aee__workers *workers = &lane->instance->core->workers;
    aee__workers_block(workers, true);
    while (atomic_load(&lane->answer) == seen && !aee__lane_is_over(lane)) {
        aee__sys_futex_wait(&lane->answer, seen, 0);
    }
    aee__workers_block(workers, false);
}

/* The guest left for an answer. We serve it if nobody owns the lane and we may; else the owner
 * does, or a server, while another worker may take our place. An owner that only looked finds
 * `awaiting`: it is set before it is asked to. `seen`: the answers before the guest was entered. */
static void await_answer(struct aee__lane *lane, uint32_t seen)
{
    atomic_store(&lane->awaiting, 1);
    aee__lane_attend(lane, may_serve(lane));
    if (atomic_load(&lane->answer) == seen && is_asking(lane)) {
        if (aee__lane_outstanding(lane) == 0) {
            aee__lane_fault_protocol(lane, "host call outside of a call");
        } else {
            sleep_until_answered(lane, seen);
        }
    }
    atomic_store(&lane->awaiting, 0);
}

void aee__lane_run(struct aee__runnable *runnable)
{
    struct aee__lane *lane =
        (struct aee__lane *)((char *)runnable - offsetof(struct aee__lane, runnable));
    struct aee__instance *instance = lane->instance;
    enum step step;
    leave_watcher(lane);
    atomic_store(&lane->runner, self());
    atomic_store(&lane->budget.overdue_idle, false);
    aee__meter_skip(&lane->meter, aee__ticks(&instance->core->ticker));
    aee__lane_begin_budget(lane);
    do {
        uint32_t seen = atomic_load(&lane->answer);
        step = run_once(lane, false);
        if (step == STEP_HOST_CALL) {
            await_answer(lane, seen);
            leave_watcher(lane);
        } else if (step == STEP_NOTIFIED) {
            aee__lane_attend(lane, may_serve(lane));
        }
    } while (step != STEP_OVER && step != STEP_PARKED);
    if (aee__lane_outstanding(lane) == 0) {
        aee__meter_idle(lane, aee__ticks(&instance->core->ticker));
    }
    aee__lane_end_budget(lane);
    atomic_store(&lane->runner, 0);
    atomic_store(&lane->state, AEE__LANE_PARKED);
    aee__lane_attend(
        lane,
        may_serve(
            lane)); /* whoever owns it finds it parked, and what it is owed is its knowledge */
    aee__instance_release(instance);
}

/* ---- Waiting ------------------------------------------------------------------------------ */

static bool is_answered(const struct aee__lane *lane, const struct aee__call *call)
{
    return call && call->level > 0 ? aee__call_ring_nested_answered(&lane->ring, call->level - 1u)
                                   : aee__call_ring_answered(&lane->ring);
}

/* Sleeps until the guest answers, asks, leaves or ends. The guest looks at notify after its answer;
 * we look for an answer after setting notify. */
static void sleep_until_woken(struct aee__lane *lane, const struct aee__call *call)
{
    struct aee__ring_host_call unused;
    uint32_t waker = atomic_load(&lane->waker);
    atomic_store(&lane->sleeping, 1);
    aee__lane_set_notify(lane, true);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!is_answered(lane, call) && !atomic_load(&lane->attention) &&
        atomic_load(&lane->state) == AEE__LANE_RUNNING &&
        aee__instance_ended(lane->instance) == AEE_OK &&
        (lane->host_depth == AEE_HOST_CALL_DEPTH ||
         aee__call_ring_host_call(&lane->ring, lane->host_depth, &unused) == AEE__RING_NONE)) {
        aee__sys_futex_wait(&lane->waker, waker, 0);
    }
    aee__lane_set_notify(lane, false);
    atomic_store_explicit(&lane->watcher_cpu, aee__sys_cpu(), memory_order_relaxed);
    atomic_store(&lane->sleeping, 0);
}

/* The lane is parked, or waits for a worker: a worker that is free takes it if the call wants the
 * ring, else this thread. */
static bool get_running(struct aee__lane *lane, struct aee__call *call, bool ring)
{
    if (atomic_load_explicit(&lane->state, memory_order_relaxed) == AEE__LANE_RUNNING ||
        (ring && aee__lane_start(lane, true)) || !take_over(lane)) {
        return false;
    }
    if (call) {
        call->mode_used = AEE_CALL_DIRECT;
    }
    run_here(lane, call);
    return true;
}

static bool is_over(struct aee__lane *lane, struct aee__call *call)
{
    if (aee__instance_ended(lane->instance) == AEE_OK) {
        return false;
    }
    aee__lane_fail_all(lane);
    if (call && call->level > 0) {
        call->status = aee__instance_await_end(lane->instance);
    }
    return true;
}

static void look_or_sleep(struct aee__lane *lane, const struct aee__call *call)
{
    if (atomic_load(&lane->attention)) {
        aee__lane_pump(lane, true);
    } else {
        sleep_until_woken(lane, call);
    }
}

/* Serves what the component asks, as long as it asks again at once; false: it did not ask. */
static bool serve_run(struct aee__lane *lane, struct aee__ring_watch *watch)
{
    const struct aee__core *core = lane->instance->core;
    uint64_t seen = 0;
    bool any = false;
    while (aee__lane_serve_host_call(lane, seen)) {
        any = true;
        watch->host_call_seq++;
        seen = aee__lane_look(&core->ticker, watch);
        if (seen == 0 || aee__instance_ended(lane->instance) != AEE_OK) {
            break;
        }
    }
    return any;
}

/* Turns that were spent watching, a few at most: other things must be looked at now and then. */
static uint32_t spin(const struct aee__ring_watch *watch)
{
    uint32_t turn = 0;
    do {
        aee__cpu_relax();
        turn++;
    } while (turn < WATCH_TURNS && !aee__ring_watch_hit(watch));
    return turn;
}

void aee__lane_await(struct aee__lane *lane, struct aee__call *call)
{
    uint32_t turns = lane->instance->core->spin_turns;
    bool ring = call && call->mode_used == AEE_CALL_RING;
    if (atomic_load(&lane->runner) == self()) { /* nested */
        run_steps(lane, call);
        (void)is_over(lane, call);
        return;
    }
    if (aee__workers_crowded(&lane->instance->core->workers)) {
        withdraw(lane);
    }
    /* Who runs the lane comes first: a reply that is there before is none. */
    bool ran = get_running(lane, call, ring);
    uint32_t turn = 0;
    struct aee__ring_watch watch = aee__call_ring_watch(
        &lane->ring, call && call->level > 0 ? call->level - 1u : AEE__RING_LEVEL_NONE,
        lane->host_depth);
    /* What ended on this thread has not answered, whatever it wrote there. */
    while (!(ran && is_over(lane, call)) && !aee__lane_take(lane, call) && !is_over(lane, call)) {
        ring = ran && call && call->mode_used == AEE_CALL_RING; /* a worker is to go on with it */
        if (ring) {
            aee__lane_set_spin(lane, true);
        }
        ran = get_running(lane, call, ring);
        if (ran) {
            continue;
        }
        if (serve_run(lane, &watch)) {
            turn = 0;
        } else if (turn < turns && !atomic_load_explicit(&lane->attention, memory_order_relaxed)) {
            turn += spin(&watch);
        } else {
            look_or_sleep(lane, call);
            turn = 0;
        }
    }
}

/* A good part of what is outstanding has been answered. Watching a reply that is not there yet
 * takes its line away from the guest that is about to write it: better to watch one that comes
 * later. */
static bool has_run(const struct aee__lane *lane)
{
    uint32_t outstanding = aee__lane_outstanding(lane);
    uint32_t after = outstanding < HELP_RUN ? outstanding : HELP_RUN;
    return aee__call_ring_answered_after(&lane->ring, after - 1);
}

/* A worker runs the vCPU: takes replies for a moment. */
static void watch_worker(struct aee__lane *lane)
{
    aee__lane_set_notify(lane, false);
    aee__lane_set_spin(lane, !aee__workers_crowded(&lane->instance->core->workers));
    for (uint32_t turn = 0; turn < HELP_TURNS && aee__lane_outstanding(lane) > 0; turn++) {
        bool look = turn % LOOK_CLOSELY == LOOK_CLOSELY - 1 || has_run(lane);
        if (look && (aee__lane_collect(lane) > 0 || aee__lane_serve_host_call(lane, 0))) {
            aee__lane_feed(lane, AEE_RING_SLOTS);
        } else {
            aee__cpu_relax();
        }
    }
}

void aee__lane_help(struct aee__lane *lane, uint64_t deadline_ns)
{
    const struct aee__context *context = lane->instance->context;
    sigset_t mask;
    aee__lane_pump(lane, true);
    if (aee__instance_ended(lane->instance) != AEE_OK ||
        (aee__lane_outstanding(lane) == 0 && atomic_load(&context->queue.count) == 0)) {
        return;
    }
    if (aee__workers_crowded(&context->core->workers)) {
        withdraw(lane);
    }
    if (!take_over(lane)) {
        watch_worker(lane);
        return;
    }
    begin_here(lane, &mask);
    run_some(lane, deadline_ns);
    end_here(lane, &mask);
    (void)is_over(lane, NULL);
}
