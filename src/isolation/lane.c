#include "isolation/lane.h"

#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/context.h"
#include "isolation/fault.h"
#include "isolation/host_call.h"

/* How long a lane that a worker runs waits for the next call before it parks, and how long a caller
 * watches the ring before it sleeps: turns of a loop with one PAUSE, about 50 us. */
#define SPIN_TURNS 1500u
/* AUTO takes the ring when the usual gap between calls is at most this: then the lane still spins
 * from the last one. */
#define AUTO_GAP_NS UINT64_C(40000)
/* After a ring call the lane must park within this time; far above the spin, so that only a
 * component that keeps its worker meets it. */
#define IDLE_NS AEE__NS_PER_SECOND

#define STORE_SHARED(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

/* ---- Interrupts --------------------------------------------------------------------------- */

static void wake_caller(struct aee__lane *lane)
{
    (void)atomic_fetch_add(&lane->waker, 1);
    aee__sys_futex_wake_all(&lane->waker);
}

void aee__lane_interrupt(struct aee__lane *lane)
{
    struct aee__instance *instance = lane->instance;
    instance->core->ops->lane_kick(instance->vm, lane->index);
    wake_caller(lane);
    (void)atomic_fetch_add(&lane->answer, 1);
    aee__sys_futex_wake_all(&lane->answer);
}

static void expire(struct aee__watch *watch)
{
    aee__lane_interrupt((struct aee__lane *)((char *)watch - offsetof(struct aee__lane, watch)));
}

/* ---- Running the vCPU --------------------------------------------------------------------- */

enum step { STEP_GO_ON, STEP_PARKED, STEP_HOST_CALL, STEP_OVER };

static enum step digest_hypercall(struct aee__lane *lane, const struct aee__exit *exit)
{
    struct aee__exit abort = {.kind = AEE__EXIT_CRASH};
    switch (exit->hypercall) {
    case AEE_HC_PARK:
        return STEP_PARKED;
    case AEE_HC_NOTIFY:
        wake_caller(lane);
        return STEP_GO_ON;
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

/* Enters the guest once and says what is to be done next. */
static enum step run_once(struct aee__lane *lane)
{
    struct aee__instance *instance = lane->instance;
    struct aee__exit exit;
    if (aee__instance_ended(instance) != AEE_OK) {
        return STEP_OVER;
    }
    if (aee__watch_expired(&lane->watch)) {
        if (atomic_load(&lane->busy)) {
            aee__lane_fault_hung(lane);
        } else {
            aee__lane_fault_protocol(lane, "it went on running after its answer");
        }
        return STEP_OVER;
    }
    instance->core->ops->lane_run(instance->vm, lane->index, &exit);
    (void)atomic_fetch_add_explicit(&instance->context->stats.exits, 1, memory_order_relaxed);
    switch (exit.kind) {
    case AEE__EXIT_HYPERCALL:
        return digest_hypercall(lane, &exit);
    case AEE__EXIT_CRASH:
        if (aee__lane_fault_is_spurious(lane, &exit)) {
            return STEP_GO_ON;
        }
        aee__lane_fault(lane, &exit);
        return STEP_OVER;
    case AEE__EXIT_KICKED:
    default:
        return STEP_GO_ON;
    }
}

/* ---- Direct: the calling thread runs the vCPU --------------------------------------------- */

static aee_result drive(struct aee__lane *lane, struct aee__ring_reply *reply)
{
    for (;;) {
        switch (run_once(lane)) {
        case STEP_PARKED:
            if (aee__call_ring_pop(&lane->ring, reply)) {
                return AEE_OK;
            }
            break;
        case STEP_HOST_CALL:
            (void)aee__lane_serve_host_call(lane);
            break;
        case STEP_OVER:
            return aee__instance_await_end(lane->instance);
        case STEP_GO_ON:
        default:
            break;
        }
    }
}

static aee_result drive_on_this_thread(struct aee__lane *lane, struct aee__ring_reply *reply)
{
    sigset_t mask;
    STORE_SHARED(lane->ring.shared->control.spin, 0);
    (void)aee__sys_block_signal(lane->instance->core->kick_signal, &mask);
    aee_result result = drive(lane, reply);
    (void)aee__sys_restore_mask(&mask);
    atomic_store(&lane->state, AEE__LANE_PARKED);
    return result;
}

/* ---- Ring: a worker runs the vCPU --------------------------------------------------------- */

/* Disarms the idle watch, and nothing that a caller has armed since. */
static void disarm_idle(struct aee__lane *lane)
{
    uint64_t idle = atomic_load(&lane->idle_deadline_ns);
    (void)atomic_compare_exchange_strong(&lane->watch.deadline_ns, &idle, 0);
}

/* The guest left: nobody runs the lane any more. A caller that waits takes it over: what it is owed
 * is its own knowledge, not the guest's word. */
static void release_lane(struct aee__lane *lane)
{
    atomic_store(&lane->state, AEE__LANE_PARKED);
    disarm_idle(lane); /* after the store: pairs with arm_idle() */
    if (atomic_load(&lane->busy)) {
        wake_caller(lane);
    }
}

/* Waits until the caller has answered the host call that the guest left for. False: nobody will. */
static bool await_answer(struct aee__lane *lane)
{
    const struct aee_abi_level *level = &lane->ring.shared->levels[0];
    wake_caller(lane);
    for (;;) {
        uint32_t answer = atomic_load(&lane->answer);
        if (aee__instance_ended(lane->instance) != AEE_OK || aee__watch_expired(&lane->watch)) {
            return true; /* run_once() deals with it */
        }
        if (__atomic_load_n(&level->request.seq, __ATOMIC_ACQUIRE) ==
            __atomic_load_n(&level->reply.seq, __ATOMIC_ACQUIRE)) {
            return true;
        }
        if (!atomic_load(&lane->busy)) {
            return false;
        }
        aee__sys_futex_wait(&lane->answer, answer, 0);
    }
}

static void run_on_worker(struct aee__runnable *runnable)
{
    struct aee__lane *lane =
        (struct aee__lane *)((char *)runnable - offsetof(struct aee__lane, runnable));
    struct aee__instance *instance = lane->instance;
    enum step step;
    do {
        step = run_once(lane);
        if (step == STEP_HOST_CALL && !await_answer(lane)) {
            aee__lane_fault_protocol(lane, "host call outside of a call");
        }
    } while (step != STEP_OVER && step != STEP_PARKED);
    release_lane(lane);
    aee__instance_release(instance);
}

/* Sleeps until the guest answers, asks, leaves or ends. The guest looks at notify after its answer;
 * we look for an answer after setting notify. */
static void sleep_until_woken(struct aee__lane *lane)
{
    struct aee_abi_lane_control *control = &lane->ring.shared->control;
    struct aee__ring_host_call unused;
    uint32_t waker = atomic_load(&lane->waker);
    STORE_SHARED(control->notify, 1);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!aee__call_ring_answered(&lane->ring) && atomic_load(&lane->state) == AEE__LANE_RUNNING &&
        aee__instance_ended(lane->instance) == AEE_OK &&
        aee__call_ring_host_call(&lane->ring, 0, &unused) == AEE__RING_NONE) {
        aee__sys_futex_wait(&lane->waker, waker, 0);
    }
    STORE_SHARED(control->notify, 0);
}

/* True: nobody runs the lane, and this thread has the right to. */
static bool take_over(struct aee__lane *lane)
{
    uint32_t parked = AEE__LANE_PARKED;
    return atomic_load_explicit(&lane->state, memory_order_relaxed) == AEE__LANE_PARKED &&
           atomic_compare_exchange_strong(&lane->state, &parked, AEE__LANE_RUNNING);
}

static aee_result await_reply(struct aee__lane *lane, struct aee__ring_reply *reply)
{
    uint32_t turns = lane->instance->core->cpus > 1 ? SPIN_TURNS : 0;
    for (uint32_t turn = 0;; turn++) {
        if (aee__call_ring_pop(&lane->ring, reply)) {
            return AEE_OK;
        }
        if (aee__instance_ended(lane->instance) != AEE_OK) {
            return aee__instance_await_end(lane->instance);
        }
        if (take_over(lane)) { /* it parked without an answer, or before it saw the request */
            return drive_on_this_thread(lane, reply);
        }
        if (aee__lane_serve_host_call(lane)) {
            turn = 0;
        } else if (turn < turns) {
            aee__cpu_relax();
        } else {
            sleep_until_woken(lane);
        }
    }
}

/* A lane that stays with a worker after a call must park by itself in a while; the watch sees to
 * it. */
static void arm_idle(struct aee__lane *lane, uint64_t now)
{
    uint64_t deadline = now + IDLE_NS;
    atomic_store(&lane->idle_deadline_ns, deadline);
    aee__watchdog_arm(&lane->instance->core->watchdog, &lane->watch, deadline);
    if (atomic_load(&lane->state) == AEE__LANE_PARKED) { /* it has parked meanwhile */
        disarm_idle(lane);
    }
}

/* Gives the lane to a worker; false when none is free. */
static bool hand_to_worker(struct aee__lane *lane)
{
    aee__instance_take(lane->instance);
    if (aee__workers_run(&lane->instance->core->workers, &lane->runnable)) {
        return true;
    }
    aee__instance_release(lane->instance);
    return false;
}

/* ---- Calls -------------------------------------------------------------------------------- */

static aee_call_mode choose_mode(struct aee__lane *lane, aee_call_mode wanted, uint64_t now)
{
    uint64_t gap = now - lane->last_end_ns;
    lane->gap_ns = lane->gap_ns - lane->gap_ns / 8 + gap / 8;
    if (wanted != AEE_CALL_AUTO) {
        return wanted;
    }
    bool close = lane->gap_ns < AUTO_GAP_NS && lane->instance->core->cpus > 1;
    return close ? AEE_CALL_RING : AEE_CALL_DIRECT;
}

/* Publishes the request and gets the answer, one way or the other. The lane's state decides who may
 * run the vCPU: taking it from PARKED to RUNNING gives the right. */
static aee_result transact(struct aee__lane *lane, struct aee__call *call, aee_call_mode mode)
{
    uint32_t expected = AEE__LANE_PARKED;
    uint32_t spin = mode == AEE_CALL_RING && lane->instance->core->cpus > 1 ? SPIN_TURNS : 0;
    STORE_SHARED(lane->ring.shared->control.spin, spin);
    STORE_SHARED(lane->ring.shared->control.notify, 0);
    aee__call_ring_push(&lane->ring, &call->request);
    if (!atomic_compare_exchange_strong(&lane->state, &expected, AEE__LANE_RUNNING)) {
        /* A worker has it; should that leave, await_reply() takes the lane over. */
        call->mode_used = AEE_CALL_RING;
        return await_reply(lane, &call->result);
    }
    if (mode == AEE_CALL_RING && hand_to_worker(lane)) {
        call->mode_used = AEE_CALL_RING;
        return await_reply(lane, &call->result);
    }
    call->mode_used = AEE_CALL_DIRECT;
    return drive_on_this_thread(lane, &call->result);
}

static void prepare(struct aee__lane *lane, struct aee__call *call)
{
    if (call->payload_size > 0) {
        memcpy(lane->ring.shared->request_arena, call->payload, call->payload_size);
    }
    if ((call->request.flags & AEE_CALL_KIND_MASK) == AEE_CALL_BYTES) {
        uint64_t base = AEE_GVA_LANES + lane->index * AEE_LANE_STRIDE;
        call->request.args[0] = base + offsetof(struct aee_abi_lane, request_arena);
        call->request.args[1] = call->payload_size;
        call->request.args[2] = base + offsetof(struct aee_abi_lane, reply_arena);
        call->request.args[3] = call->reply_capacity;
    }
    atomic_store_explicit(&lane->called, call->export_index, memory_order_relaxed);
}

/* Copies the reply out once; its size is the component's word and is checked. */
static aee_result take_payload(struct aee__lane *lane, struct aee__call *call, aee_error *error)
{
    int64_t size = (int64_t)call->result.value;
    if ((call->request.flags & AEE_CALL_KIND_MASK) != AEE_CALL_BYTES) {
        return AEE_OK;
    }
    if (size < 0) {
        return aee__fail(error, AEE_ERR_COMPONENT, "the component answered %lld", (long long)size);
    }
    if ((uint64_t)size > call->reply_capacity) {
        return aee__fail(error, AEE_ERR_TOO_LARGE,
                         "the component's reply of %lld bytes does not fit into %zu",
                         (long long)size, call->reply_capacity);
    }
    if (size > 0) {
        memcpy(call->reply, lane->ring.shared->reply_arena, (size_t)size);
    }
    call->reply_size = (size_t)size;
    return AEE_OK;
}

aee_result aee__lane_call(struct aee__lane *lane, struct aee__call *call, aee_error *error)
{
    aee_result result = aee__instance_ended(lane->instance);
    if (result != AEE_OK) {
        return aee__instance_await_end(lane->instance);
    }
    uint64_t now = aee__now_ns();
    aee_call_mode mode = choose_mode(lane, call->mode, now);
    prepare(lane, call);
    lane->budget_ns = call->budget_ns;
    lane->host_credit_ns = call->budget_ns;
    aee__watchdog_arm(&lane->instance->core->watchdog, &lane->watch, now + call->budget_ns);
    atomic_store(&lane->busy, true);
    result = transact(lane, call, mode);
    atomic_store(&lane->busy, false);
    atomic_store_explicit(&lane->called, AEE__CALLED_NOTHING, memory_order_relaxed);
    (void)aee__watchdog_disarm(&lane->watch);
    lane->last_end_ns = aee__now_ns();
    if (call->mode_used == AEE_CALL_RING && result == AEE_OK) {
        arm_idle(lane, lane->last_end_ns);
    }
    return result == AEE_OK ? take_payload(lane, call, error) : result;
}

/* ---- Turns -------------------------------------------------------------------------------- */

static struct aee__lane *try_lanes(struct aee__instance *instance)
{
    for (uint32_t i = 0; i < instance->lane_count; i++) {
        uint32_t free = 0;
        if (atomic_compare_exchange_strong(&instance->lanes[i].taken, &free, 1)) {
            return &instance->lanes[i];
        }
    }
    return NULL;
}

/* A giver that does not see us among the waiters has freed its lane before our second try. */
aee_result aee__lane_take(struct aee__instance *instance, uint64_t deadline_ns,
                          struct aee__lane **out)
{
    aee_result result = AEE_OK;
    *out = try_lanes(instance);
    if (*out) {
        return AEE_OK;
    }
    (void)atomic_fetch_add(&instance->lane_waiters, 1);
    for (;;) {
        uint32_t freed = atomic_load(&instance->lanes_freed);
        *out = try_lanes(instance);
        if (*out) {
            break;
        }
        if (aee__instance_ended(instance) != AEE_OK) {
            result = aee__instance_await_end(instance);
            break;
        }
        if (aee__now_ns() >= deadline_ns) {
            result = AEE_ERR_BUSY;
            break;
        }
        aee__sys_futex_wait(&instance->lanes_freed, freed, deadline_ns);
    }
    (void)atomic_fetch_sub(&instance->lane_waiters, 1);
    return result;
}

void aee__lane_give(struct aee__lane *lane)
{
    struct aee__instance *instance = lane->instance;
    atomic_store(&lane->taken, 0);
    if (atomic_load(&instance->lane_waiters) > 0) {
        (void)atomic_fetch_add(&instance->lanes_freed, 1);
        aee__sys_futex_wake_all(&instance->lanes_freed);
    }
}

/* ---- Life --------------------------------------------------------------------------------- */

void aee__lane_init(struct aee__lane *lane, struct aee__instance *instance, uint32_t index)
{
    memset(lane, 0, sizeof *lane);
    lane->instance = instance;
    lane->index = index;
    lane->gap_ns = AEE__NS_PER_SECOND / 100;
    lane->last_end_ns = aee__now_ns();
    atomic_init(&lane->called, AEE__CALLED_NOTHING);
    lane->runnable.run = run_on_worker;
    lane->watch.expire = expire;
    struct aee__gva gva = {AEE_GVA_LANES + index * AEE_LANE_STRIDE};
    aee__call_ring_init(&lane->ring, aee__memory_at(&instance->memory, gva, AEE_LANE_STRIDE));
    STORE_SHARED(lane->ring.shared->control.lane_index, index);
    aee__watchdog_add(&instance->core->watchdog, &lane->watch);
}

void aee__lane_destroy(struct aee__lane *lane)
{
    aee__watchdog_remove(&lane->instance->core->watchdog, &lane->watch);
    aee__alloc_free(&lane->instance->core->alloc, lane->host_buffers, 2 * (size_t)AEE_MAX_PAYLOAD);
}
