/* gdb_stops.c: stopping the lanes of a context and letting them go. What happens is decided by the
 * server's thread; the threads that run lanes only wait for it, since they may be jailed. */
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/fault.h"
#include "isolation/lane_internal.h"
#include "isolation/process/cell.h"
#include "recovery/gdb_internal.h"

#define BREAKPOINT 3u
#define SINGLE_STEP 1u
#define TF UINT64_C(0x100)
/* A kick may come to nothing: it is repeated. */
#define KICK_AGAIN_NS UINT64_C(5000000)

static struct aee__debugger *debugger_of(const struct aee__instance *instance)
{
    return atomic_load(&instance->context->debugger);
}

static void tell(_Atomic uint32_t *word)
{
    (void)atomic_fetch_add(word, 1);
    aee__sys_futex_wake_all(word);
}

/* ---- On the threads that run lanes -------------------------------------------------------- */

/* With the lock held, which is given up meanwhile. Somebody else may have the worker's place. */
static void wait_for_word(struct aee__debugger *debugger, struct aee__lane *lane, uint64_t until)
{
    struct aee__workers *workers = &lane->instance->core->workers;
    uint32_t seen = atomic_load(&debugger->go);
    (void)pthread_mutex_unlock(&debugger->lock);
    aee__workers_block(workers, true);
    aee__sys_futex_wait(&debugger->go, seen, until);
    aee__workers_block(workers, false);
    (void)pthread_mutex_lock(&debugger->lock);
}

static bool is_subject(const struct aee__debugger *debugger, const struct aee__lane *lane)
{
    return debugger->attached && debugger->subject == lane->instance;
}

/* Nobody debugs it any more: calls under way get their whole budget once more. */
static void hurry(struct aee__instance *instance)
{
    uint32_t lanes = atomic_load(&instance->lane_count);
    for (uint32_t i = 0; i < lanes; i++) {
        struct aee__lane *lane = &instance->lanes[i];
        uint64_t budget = atomic_load(&lane->budget.budget_ns);
        atomic_store(&lane->budget.deadline_ns, aee__now_ns() + budget);
    }
    atomic_store(&instance->unhurried, false);
    for (uint32_t i = 0; i < lanes; i++) {
        struct aee__lane *lane = &instance->lanes[i];
        if (aee__lane_outstanding(lane) > 0) {
            aee__watchdog_arm(&instance->core->watchdog, &lane->watch,
                              atomic_load(&lane->budget.deadline_ns));
        }
    }
}

/* With the lock held: until when a lane that wants to run is to wait; 0: it need not. */
static uint64_t wait_at_gate(struct aee__debugger *debugger, const struct aee__lane *lane)
{
    if (is_subject(debugger, lane)) {
        return debugger->lanes[lane->index].runs ? 0 : UINT64_MAX;
    }
    if (debugger->wait_until_ns != 0 && aee__now_ns() >= debugger->wait_until_ns) {
        debugger->wait_until_ns = 0; /* nobody has come */
        tell(&debugger->go);
    }
    return debugger->wait_until_ns;
}

void aee__gdb_lane_enter(struct aee__lane *lane)
{
    struct aee__debugger *debugger = debugger_of(lane->instance);
    bool waited = false;
    (void)pthread_mutex_lock(&debugger->lock);
    for (uint64_t until; !lane->midway && aee__instance_ended(lane->instance) == AEE_OK &&
                         (until = wait_at_gate(debugger, lane)) != 0;) {
        lane->in_guest = false;
        waited = true;
        if (!is_subject(debugger, lane)) {
            debugger->waiter = lane->instance;
        }
        wait_for_word(debugger, lane, until == UINT64_MAX ? 0 : until);
    }
    lane->in_guest = true;
    lane->midway = false;
    if (debugger->subject != lane->instance && atomic_load(&lane->instance->unhurried)) {
        hurry(lane->instance);
    }
    (void)pthread_mutex_unlock(&debugger->lock);
    if (waited) {
        aee__meter_skip(&lane->meter, aee__ticks(&lane->instance->core->ticker));
    }
}

/* An exit that would be the component's end. */
static bool is_fatal(const struct aee__exit *exit)
{
    return exit->kind == AEE__EXIT_HYPERCALL
               ? exit->hypercall == AEE_HC_ABORT || exit->hypercall == AEE_HC_OUT_OF_MEMORY
               : exit->kind == AEE__EXIT_CRASH && exit->cause != AEE_CRASH_HOST &&
                     exit->cause != AEE_CRASH_KILLED;
}

/* With the lock held. */
static bool stops_here(struct aee__debugger *debugger, const struct aee__lane *lane,
                       const struct aee__exit *exit)
{
    if (is_subject(debugger, lane)) {
        return is_fatal(exit) ||
               (exit->kind == AEE__EXIT_KICKED && !debugger->lanes[lane->index].runs);
    }
    return is_fatal(exit) && debugger->hold_crashes && debugger->listening && !debugger->attached &&
           (!debugger->subject || debugger->subject == lane->instance);
}

/* With the lock held. */
static bool any_held(const struct aee__debugger *debugger)
{
    bool held = false;
    for (uint32_t i = 0; i < AEE_MAX_LANES; i++) {
        held = held || debugger->lanes[i].held;
    }
    return held;
}

/* With the lock held: waits for the word, or until a crash has been held long enough. */
static bool hold(struct aee__debugger *debugger, struct aee__lane *lane,
                 const struct aee__exit *exit)
{
    struct aee__gdb_lane *mine = &debugger->lanes[lane->index];
    uint64_t until = aee__now_ns() + debugger->hold_ns;
    if (!debugger->attached) {
        debugger->subject = lane->instance;
        atomic_store(&lane->instance->unhurried, true);
    }
    mine->exit = *exit;
    mine->signal = AEE__GDB_SIGNONE;
    mine->told = !is_fatal(exit);
    mine->looked = false;
    mine->at_breakpoint = false;
    mine->released = false;
    mine->runs = false;
    mine->held = true;
    tell(&debugger->news);
    while (!mine->released && aee__instance_ended(lane->instance) == AEE_OK &&
           (debugger->attached || (debugger->listening && aee__now_ns() < until))) {
        wait_for_word(debugger, lane, debugger->attached ? 0 : until);
    }
    bool goes_on = mine->released && mine->goes_on;
    mine->held = false;
    mine->released = false;
    if (!debugger->attached) {
        debugger->subject = any_held(debugger) ? lane->instance : NULL;
    }
    tell(&debugger->news);
    return goes_on;
}

bool aee__gdb_lane_left(struct aee__lane *lane, const struct aee__exit *exit)
{
    struct aee__debugger *debugger = debugger_of(lane->instance);
    bool goes_on = false;
    if (exit->kind == AEE__EXIT_CRASH && aee__lane_fault_is_spurious(lane, exit)) {
        return true;
    }
    (void)pthread_mutex_lock(&debugger->lock);
    lane->midway = exit->kind == AEE__EXIT_KICKED && exit->running;
    lane->in_guest = lane->midway;
    bool stops = !lane->midway && stops_here(debugger, lane, exit);
    if (stops) {
        goes_on = hold(debugger, lane, exit);
    }
    (void)pthread_mutex_unlock(&debugger->lock);
    if (stops) {
        aee__meter_skip(&lane->meter, aee__ticks(&lane->instance->core->ticker));
    }
    return goes_on;
}

void aee__gdb_instance_ended(struct aee__instance *instance)
{
    struct aee__debugger *debugger = debugger_of(instance);
    (void)pthread_mutex_lock(&instance->context->lock);
    (void)pthread_mutex_lock(&debugger->lock); /* who looked before sleeps by now */
    if (debugger->subject == instance) {       /* its memory may be another's soon */
        aee__gdb_restore_bytes(debugger);
    }
    (void)pthread_mutex_unlock(&debugger->lock);
    (void)pthread_mutex_unlock(&instance->context->lock);
    tell(&debugger->go);
    tell(&debugger->news);
}

/* ---- Who is watched ----------------------------------------------------------------------- */

/* With the lock held. */
static void watch_one(struct aee__debugger *debugger, struct aee__instance *instance)
{
    uint32_t lanes = atomic_load(&instance->lane_count);
    if (debugger->listening && debugger->wait_until_ns != 0) {
        atomic_store(&instance->unhurried, true);
    } else if (atomic_load(&instance->unhurried)) {
        hurry(instance);
    }
    atomic_store(&instance->debugged, debugger->listening);
    for (uint32_t i = 0; i < lanes; i++) { /* who runs it tells us when it comes back */
        instance->lanes[i].in_guest = atomic_load(&instance->lanes[i].runner) != 0;
        instance->lanes[i].midway = false;
    }
}

void aee__gdb_instance_born(struct aee__instance *instance)
{
    struct aee__debugger *debugger = debugger_of(instance);
    (void)pthread_mutex_lock(&debugger->lock);
    if (debugger->listening) {
        watch_one(debugger, instance);
    }
    (void)pthread_mutex_unlock(&debugger->lock);
}

void aee__gdb_watch(struct aee__debugger *debugger, bool listening)
{
    struct aee__context *context = debugger->context;
    (void)pthread_mutex_lock(&context->lock);
    (void)pthread_mutex_lock(&debugger->lock);
    debugger->listening = listening;
    debugger->wait_until_ns = listening ? debugger->wait_until_ns : 0;
    for (struct aee__instance *at = context->living; at; at = at->next) {
        watch_one(debugger, at);
    }
    (void)pthread_mutex_unlock(&debugger->lock);
    (void)pthread_mutex_unlock(&context->lock);
    tell(&debugger->go);
}

/* ---- Stopping ----------------------------------------------------------------------------- */

bool aee__gdb_has_ended(const struct aee__debugger *debugger)
{
    return !debugger->subject || aee__instance_ended(debugger->subject) != AEE_OK;
}

/* A lane that nobody runs is as good as out, wherever it was left. */
static bool is_inside(const struct aee__instance *instance, uint32_t lane)
{
    return instance->lanes[lane].in_guest && atomic_load(&instance->lanes[lane].runner) != 0;
}

/* With the lock held: kicks the lanes that are in the guest; how many. */
static uint32_t kick_all(struct aee__debugger *debugger)
{
    struct aee__instance *instance = debugger->subject;
    uint32_t inside = 0;
    for (uint32_t i = 0; i < aee__gdb_lanes(debugger); i++) {
        if (is_inside(instance, i)) {
            instance->core->ops->lane_kick(instance->vm, i);
            inside++;
        }
    }
    return inside;
}

/* With the lock held: says what an exit is in gdb's words, and puts the registers right. */
static void look_at(struct aee__debugger *debugger, uint32_t index)
{
    struct aee__gdb_lane *lane = &debugger->lanes[index];
    const struct aee__exit *exit = &lane->exit;
    aee_registers registers;
    static const enum aee__gdb_signal signals[32] = {
        [0] = AEE__GDB_SIGFPE,   [1] = AEE__GDB_SIGTRAP, [3] = AEE__GDB_SIGTRAP,
        [4] = AEE__GDB_SIGSEGV,  [5] = AEE__GDB_SIGSEGV, [6] = AEE__GDB_SIGILL,
        [7] = AEE__GDB_SIGFPE,   [12] = AEE__GDB_SIGBUS, [13] = AEE__GDB_SIGSEGV,
        [14] = AEE__GDB_SIGSEGV, [16] = AEE__GDB_SIGFPE, [17] = AEE__GDB_SIGBUS,
        [19] = AEE__GDB_SIGFPE,  [21] = AEE__GDB_SIGSEGV};
    lane->looked = true;
    lane->at_breakpoint = false;
    if (exit->kind == AEE__EXIT_HYPERCALL) {
        lane->signal = AEE__GDB_SIGABRT;
    } else if (exit->kind == AEE__EXIT_CRASH && exit->cause == AEE_CRASH_EXCEPTION) {
        lane->signal = signals[exit->vector % 32] ? signals[exit->vector % 32] : AEE__GDB_SIGSEGV;
    } else if (exit->kind == AEE__EXIT_CRASH) {
        lane->signal = exit->cause == AEE_CRASH_SYSCALL ? AEE__GDB_SIGSYS : AEE__GDB_SIGSEGV;
    }
    if (!aee__gdb_registers(debugger, index, &registers)) {
        return;
    }
    aee_registers before = registers;
    if (lane->signal == AEE__GDB_SIGTRAP && exit->vector == BREAKPOINT &&
        aee__gdb_is_breakpoint(debugger, registers.rip - 1)) {
        registers.rip--;
        lane->at_breakpoint = true;
    }
    if (lane->stepping) {
        registers.rflags &= ~TF;
        lane->stepping = false;
    }
    if (memcmp(&before, &registers, sizeof before) != 0) {
        (void)aee__gdb_set_registers(debugger, index, &registers);
    }
}

/* With the lock held: one that left by a hypercall has not come to the end of its step. */
static void end_step(struct aee__debugger *debugger, uint32_t index)
{
    aee_registers registers;
    if (aee__gdb_registers(debugger, index, &registers)) {
        registers.rflags &= ~TF;
        debugger->lanes[index].stepping = !aee__gdb_set_registers(debugger, index, &registers);
    }
}

static void forget_gates(struct aee__debugger *debugger);

void aee__gdb_stop_all(struct aee__debugger *debugger)
{
    (void)pthread_mutex_lock(&debugger->lock);
    for (uint32_t i = 0; i < AEE_MAX_LANES; i++) {
        debugger->lanes[i].runs = false;
    }
    for (;;) {
        uint32_t seen = atomic_load(&debugger->news);
        if (aee__gdb_has_ended(debugger) || kick_all(debugger) == 0) {
            break;
        }
        (void)pthread_mutex_unlock(&debugger->lock);
        aee__sys_futex_wait(&debugger->news, seen, aee__now_ns() + KICK_AGAIN_NS);
        (void)pthread_mutex_lock(&debugger->lock);
    }
    for (uint32_t i = 0; i < aee__gdb_lanes(debugger) && !aee__gdb_has_ended(debugger); i++) {
        if (debugger->lanes[i].held && !debugger->lanes[i].looked) {
            look_at(debugger, i);
        } else if (debugger->lanes[i].stepping) {
            end_step(debugger, i);
        }
    }
    (void)pthread_mutex_unlock(&debugger->lock);
    forget_gates(debugger);
}

bool aee__gdb_has_news(struct aee__debugger *debugger)
{
    bool news = aee__gdb_has_ended(debugger);
    (void)pthread_mutex_lock(&debugger->lock);
    for (uint32_t i = 0; i < aee__gdb_lanes(debugger); i++) {
        news = news || (debugger->lanes[i].held && !debugger->lanes[i].told);
    }
    (void)pthread_mutex_unlock(&debugger->lock);
    return news;
}

/* A breakpoint that gdb has taken away since then is none: the instruction is yet to run. */
int aee__gdb_next_stop(struct aee__debugger *debugger)
{
    int found = -1;
    (void)pthread_mutex_lock(&debugger->lock);
    for (uint32_t i = 0; i < aee__gdb_lanes(debugger) && found < 0; i++) {
        struct aee__gdb_lane *lane = &debugger->lanes[i];
        aee_registers registers = {0};
        if (!lane->held || lane->told) {
            continue;
        }
        lane->told = true;
        if (lane->at_breakpoint && aee__gdb_registers(debugger, i, &registers) &&
            !aee__gdb_is_breakpoint(debugger, registers.rip)) {
            lane->signal = AEE__GDB_SIGNONE;
            continue;
        }
        found = (int)i;
    }
    (void)pthread_mutex_unlock(&debugger->lock);
    return found;
}

/* One that was in the middle of something, rather than one that has nothing to do. */
int aee__gdb_interrupted_lane(const struct aee__debugger *debugger)
{
    for (uint32_t i = 0; i < aee__gdb_lanes(debugger); i++) {
        if (debugger->lanes[i].held &&
            aee__lane_called(&debugger->subject->lanes[i]) != AEE__CALLED_NOTHING) {
            return (int)i;
        }
    }
    return 0;
}

/* ---- Going on ----------------------------------------------------------------------------- */

/* What the component would die of, if it were told. */
static bool is_real_crash(const struct aee__gdb_lane *lane)
{
    return is_fatal(&lane->exit) && lane->signal != AEE__GDB_SIGTRAP &&
           lane->signal != AEE__GDB_SIGNONE;
}

bool aee__gdb_plan(struct aee__debugger *debugger, uint32_t index, enum aee__gdb_action action,
                   uint64_t signal)
{
    struct aee__gdb_lane *lane = &debugger->lanes[index];
    aee_registers registers;
    (void)pthread_mutex_lock(&debugger->lock);
    if (action == AEE__GDB_STAY) {
        lane->action = action;
        (void)pthread_mutex_unlock(&debugger->lock);
        return true;
    }
    bool dies = lane->held && is_real_crash(lane) && signal != AEE__GDB_SIGNONE;
    bool moved = action == AEE__GDB_STEP ||
                 (lane->held && lane->exit.kind == AEE__EXIT_CRASH); /* out of the stub */
    bool done = true;
    if (!dies && moved) {
        done = aee__gdb_registers(debugger, index, &registers);
        registers.rflags |= action == AEE__GDB_STEP ? TF : 0;
        done = done && aee__gdb_set_registers(debugger, index, &registers);
        lane->stepping = done && action == AEE__GDB_STEP;
        done = done || !lane->held; /* parked in a cell, where nothing steps it */
    }
    lane->action = action;
    lane->goes_on = !dies;
    lane->runs = done;
    (void)pthread_mutex_unlock(&debugger->lock);
    return done;
}

void aee__gdb_resume(struct aee__debugger *debugger)
{
    (void)pthread_mutex_lock(&debugger->lock);
    for (uint32_t i = 0; i < AEE_MAX_LANES; i++) {
        struct aee__gdb_lane *lane = &debugger->lanes[i];
        lane->released = lane->held && lane->runs;
    }
    (void)pthread_mutex_unlock(&debugger->lock);
    tell(&debugger->go);
}

void aee__gdb_resume_as_before(struct aee__debugger *debugger)
{
    for (uint32_t i = 0; i < aee__gdb_lanes(debugger); i++) {
        (void)aee__gdb_plan(debugger, i, debugger->lanes[i].action, AEE__GDB_SIGNONE);
    }
    aee__gdb_resume(debugger);
}

/* ---- Steps into a cell's own program -------------------------------------------------------- */

/* A lane of a cell makes hypercalls by calling a function, in which it cannot be stopped: what the
 * trap of a step says is said in the same place. */
bool aee__gdb_step_over_gate(struct aee__debugger *debugger, uint32_t index)
{
    struct aee__gdb_lane *lane = &debugger->lanes[index];
    aee_registers registers = {0};
    uint64_t back = 0;
    (void)pthread_mutex_lock(&debugger->lock);
    bool there =
        lane->held && lane->exit.vector == SINGLE_STEP && lane->signal == AEE__GDB_SIGTRAP &&
        aee__gdb_registers(debugger, index, &registers) && registers.rip == AEE_CELL_HYPERCALL;
    (void)pthread_mutex_unlock(&debugger->lock);
    if (!there || aee__gdb_read(debugger, registers.rsp, &back, sizeof back) != sizeof back ||
        aee__gdb_is_breakpoint(debugger, back) || !aee__gdb_insert(debugger, back)) {
        return false;
    }
    lane->gate_return = back;
    lane->action = AEE__GDB_CONTINUE;
    aee__gdb_resume_as_before(debugger);
    return true;
}

/* All are stopped: the breakpoint behind the gate has done its work, or is not wanted any more. */
static void forget_gates(struct aee__debugger *debugger)
{
    for (uint32_t i = 0; i < aee__gdb_lanes(debugger); i++) {
        struct aee__gdb_lane *lane = &debugger->lanes[i];
        aee_registers registers = {0};
        if (lane->gate_return == 0) {
            continue;
        }
        (void)aee__gdb_remove(debugger, lane->gate_return);
        (void)pthread_mutex_lock(&debugger->lock);
        if (lane->at_breakpoint && aee__gdb_registers(debugger, i, &registers) &&
            registers.rip == lane->gate_return) {
            lane->at_breakpoint = false;
        }
        (void)pthread_mutex_unlock(&debugger->lock);
        lane->gate_return = 0;
    }
}

/* ---- Coming and leaving ------------------------------------------------------------------- */

static bool take_subject(struct aee__debugger *debugger, struct aee__instance *instance)
{
    if (!instance || aee__instance_ended(instance) != AEE_OK || !aee__instance_take(instance)) {
        return false;
    }
    bool held = debugger->subject == instance; /* `lanes` are of it already */
    if (!held) {
        memset(debugger->lanes, 0, sizeof debugger->lanes);
    }
    debugger->subject = instance;
    debugger->attached = true;
    atomic_store(&instance->unhurried, true);
    return true;
}

bool aee__gdb_attach(struct aee__debugger *debugger)
{
    struct aee__context *context = debugger->context;
    (void)pthread_mutex_lock(&context->lock);
    (void)pthread_mutex_lock(&debugger->lock);
    bool taken = take_subject(debugger, debugger->subject) ||
                 (!debugger->subject && (take_subject(debugger, debugger->waiter) ||
                                         take_subject(debugger, atomic_load(&context->current))));
    if (taken) {
        debugger->wait_until_ns = 0;
    }
    (void)pthread_mutex_unlock(&debugger->lock);
    (void)pthread_mutex_unlock(&context->lock);
    if (taken) {
        tell(&debugger->go);
        aee__gdb_stop_all(debugger);
    }
    return taken;
}

/* The reference goes last: lanes that were held have gone by then. */
void aee__gdb_drop(struct aee__debugger *debugger)
{
    struct aee__instance *instance = debugger->subject;
    aee__gdb_remove_all(debugger);
    (void)pthread_mutex_lock(&debugger->lock);
    for (uint32_t i = 0; i < AEE_MAX_LANES; i++) {
        debugger->lanes[i].released = debugger->lanes[i].held;
        debugger->lanes[i].runs = true;
    }
    tell(&debugger->go);
    while (any_held(debugger)) {
        uint32_t seen = atomic_load(&debugger->news);
        (void)pthread_mutex_unlock(&debugger->lock);
        aee__sys_futex_wait(&debugger->news, seen, aee__now_ns() + KICK_AGAIN_NS);
        (void)pthread_mutex_lock(&debugger->lock);
    }
    debugger->attached = false;
    debugger->subject = NULL;
    debugger->waiter = NULL;
    (void)pthread_mutex_unlock(&debugger->lock);
    tell(&debugger->go);
    if (instance && aee__instance_ended(instance) == AEE_OK) {
        hurry(instance);
    }
    if (instance) {
        aee__instance_release(instance);
    }
}

void aee__gdb_detach(struct aee__debugger *debugger)
{
    if (!debugger->subject) {
        return;
    }
    aee__gdb_stop_all(debugger);
    for (uint32_t i = 0; i < aee__gdb_lanes(debugger); i++) {
        (void)aee__gdb_plan(debugger, i, AEE__GDB_CONTINUE, debugger->lanes[i].signal);
    }
    aee__gdb_drop(debugger);
}
