/* lanes.c: threads of a cell on which a component runs: starting them, and their exits. */
#include <asm/prctl.h>
#include <asm/unistd_64.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/process/process_internal.h"

/* A component can take the ring of a bell away from us, for this long. */
#define LOOK_NS UINT64_C(10000000)
#define BOUND_NS UINT64_C(200000) /* that a lane runs bound to its caller's CPU */
/* How long a lane that was kicked may take to say where it is. */
#define ANSWER_NS UINT64_C(20000000)
/* A lane's start; as PATIENCE_NS of orders. */
#define START_NS UINT64_C(20000000000)
#define RFLAGS_START 0x202 /* interrupts on, and the bit that is always set */

_Static_assert(sizeof(aee_registers) == sizeof(((struct aee_cell_exit *)0)->registers),
               "registers come in the order of aee_registers");

static struct aee_cell_exit *exit_of(struct aee__vm *vm, uint32_t lane)
{
    return &vm->control->lanes[lane].exit;
}

static void ring(struct aee_cell_exit *shared)
{
    (void)__atomic_fetch_add(&shared->bell, 1, __ATOMIC_SEQ_CST);
    aee__sys_shared_wake(&shared->bell);
}

void aee__cell_lanes_end(struct aee__vm *vm)
{
    atomic_store(&vm->ended, true);
    for (uint32_t lane = 0; lane < AEE_MAX_LANES; lane++) {
        /* Who looked before is done with its signal, who looks later sends none. */
        (void)pthread_mutex_lock(&vm->lanes[lane].lock);
        (void)pthread_mutex_unlock(&vm->lanes[lane].lock);
        ring(exit_of(vm, lane));
    }
}

/* ---- Starting ----------------------------------------------------------------------------- */

static void add_start(struct aee_cell_start *at, uint64_t number, uint64_t a, uint64_t b,
                      uint64_t c, uint64_t d)
{
    at->orders[at->count++] = (struct aee_cell_order){.number = number, .args = {a, b, c, d, 0, 0}};
}

/* All but the kick and what its own instructions cause: signals to the engine's process group, such
 * as a terminal's, are for the engine. */
static uint64_t blocked_signals(void)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, AEE_CELL_KICK};
    uint64_t blocked = ~UINT64_C(0);
    for (unsigned i = 0; i < sizeof own / sizeof own[0]; i++) {
        blocked &= ~(UINT64_C(1) << (own[i] - 1));
    }
    return blocked;
}

/* What each thread must do for itself; the last takes its system calls away. */
static void write_start(struct aee__vm *vm, uint32_t lane, const struct aee__lane_start *start)
{
    struct aee_cell_start *at = &vm->control->orders.starts[lane];
    uint64_t block = AEE_CELL_LANES + lane * (uint64_t)AEE_CELL_LANE_SIZE;
    const uint64_t stack[3] = {block + offsetof(struct aee_cell_lane, signal_stack), 0,
                               sizeof vm->control->lanes[lane].signal_stack};
    const uint64_t blocked = blocked_signals();
    memset(at, 0, sizeof *at);
    at->rip = start->rip.value;
    at->rsp = start->rsp.value;
    add_start(at, __NR_sigaltstack, aee__orders_data(vm, stack, sizeof stack), 0, 0, 0);
    add_start(at, __NR_arch_prctl, ARCH_SET_FS, start->fs_base.value, 0, 0);
    add_start(at, __NR_arch_prctl, ARCH_SET_GS, start->gs_base.value, 0, 0);
    add_start(at, __NR_rt_sigprocmask, SIG_SETMASK, aee__orders_data(vm, &blocked, sizeof blocked),
              0, sizeof blocked);
    add_start(at, __NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, vm->lane_filter, 0);
}

/* The newest thread of the process, as the engine's pid namespace numbers it. */
static pid_t find_thread(struct aee__vm *vm, uint32_t lane)
{
    pid_t threads[2 + AEE_MAX_LANES];
    int count = aee__sys_process_threads(vm->process.pid, threads, 2 + AEE_MAX_LANES);
    for (int i = 0; i < count; i++) {
        bool known = threads[i] == vm->process.pid;
        for (uint32_t other = 0; other < lane; other++) {
            known = known || vm->lanes[other].thread == threads[i];
        }
        if (!known) {
            return threads[i];
        }
    }
    return -1;
}

static bool await_ready(struct aee__vm *vm, struct aee_cell_exit *shared)
{
    uint64_t deadline = aee__now_ns() + START_NS;
    for (;;) {
        uint32_t bell = __atomic_load_n(&shared->bell, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&shared->posted, __ATOMIC_ACQUIRE) != 0) {
            return true;
        }
        if (atomic_load(&vm->ended) || aee__now_ns() > deadline) {
            return false;
        }
        aee__sys_shared_wait(&shared->bell, bell, LOOK_NS);
    }
}

aee_result aee__cell_lane_start(struct aee__vm *vm, uint32_t lane,
                                const struct aee__lane_start *start, aee_error *error)
{
    struct aee__cell_lane *mine = &vm->lanes[lane];
    struct aee_cell_exit *shared = exit_of(vm, lane);
    uint64_t stack = AEE_CELL_LANES + lane * (uint64_t)AEE_CELL_LANE_SIZE +
                     offsetof(struct aee_cell_lane, signal_stack);
    aee__orders_begin(vm);
    write_start(vm, lane, start);
    AEE__ORDER(vm, "clone", __NR_clone,
               CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
               stack, 0, 0, 0, lane)
        ->flags = AEE_CELL_NEW_LANE;
    aee_result result = aee__orders_commit(vm, "start a lane of a cell", error);
    if (result != AEE_OK) {
        return result;
    }
    if (!await_ready(vm, shared)) {
        return aee__fail(error, AEE_ERR_SYSTEM, "cannot start lane %u: the cell does not answer",
                         lane);
    }
    if (shared->kind != AEE_CELL_EXIT_READY) {
        static const char *const steps[] = {"sigaltstack", "arch_prctl", "arch_prctl",
                                            "rt_sigprocmask", "seccomp"};
        uint32_t step = shared->number;
        return aee__fail_os(error, (int)shared->value, "cannot start lane %u: %s", lane,
                            step < 5 ? steps[step] : "a step");
    }
    mine->thread = find_thread(vm, lane);
    if (mine->thread < 0) {
        return aee__fail_os(error, errno, "cannot start lane %u: its thread is not in /proc", lane);
    }
    mine->taken = shared->posted;
    mine->out = true;
    mine->frame = 0;
    mine->registers = (aee_registers){.rip = start->rip.value, .rsp = start->rsp.value};
    return AEE_OK;
}

/* ---- Exits -------------------------------------------------------------------------------- */

static void crash(struct aee__exit *exit, aee_crash_cause cause, uint64_t address,
                  const char *detail)
{
    exit->kind = AEE__EXIT_CRASH;
    exit->cause = cause;
    exit->fault_address = address;
    (void)snprintf(exit->detail, sizeof exit->detail, "%s", detail);
}

static struct aee_cell_frame *frame_of(struct aee__vm *vm, uint32_t lane, uint64_t offset)
{
    struct aee_cell_lane *block = &vm->control->lanes[lane];
    const uint64_t last = sizeof block->signal_stack - sizeof(struct aee_cell_frame);
    return offset == 0 || offset > last || offset % sizeof(uint64_t) != 0
               ? NULL
               : (struct aee_cell_frame *)(void *)(block->signal_stack + offset);
}

static void digest_signal(const struct aee_cell_exit *copy, struct aee__cell_lane *mine,
                          struct aee__exit *exit)
{
    enum { PAGE_FAULT = 14, SYSCALL_SIZE = 2 };
    if (copy->number == SIGSYS) {
        mine->registers.rip -= SYSCALL_SIZE;
        crash(exit, AEE_CRASH_SYSCALL, 0, "");
        return;
    }
    bool at_address = copy->trap == PAGE_FAULT;
    crash(exit, AEE_CRASH_EXCEPTION, at_address ? copy->fault_address : 0, "");
    exit->vector = copy->trap < 32 ? (uint32_t)copy->trap : 31;
    exit->error_code = (uint32_t)copy->error_code;
}

/* Reads once what the lane, or whoever writes there, has posted. */
static void digest(struct aee__vm *vm, uint32_t lane, uint32_t posted, struct aee__exit *exit)
{
    struct aee__cell_lane *mine = &vm->lanes[lane];
    struct aee_cell_exit copy;
    memcpy(&copy, exit_of(vm, lane), sizeof copy);
    mine->taken = posted;
    mine->out = true;
    memcpy(&mine->registers, copy.registers, sizeof mine->registers);
    mine->frame = copy.frame;
    switch (copy.kind) {
    case AEE_CELL_EXIT_HYPERCALL:
        exit->kind = AEE__EXIT_HYPERCALL;
        exit->hypercall = copy.number;
        return;
    case AEE_CELL_EXIT_KICKED:
        exit->kind = AEE__EXIT_KICKED;
        return;
    case AEE_CELL_EXIT_SIGNAL:
        digest_signal(&copy, mine, exit);
        return;
    default:
        crash(exit, AEE_CRASH_PROTOCOL, 0, "an exit of an unknown kind");
        return;
    }
}

/* ---- Running ------------------------------------------------------------------------------ */

/* False: a kick came first. */
static bool enter(struct aee__cell_lane *mine)
{
    (void)pthread_mutex_lock(&mine->lock);
    bool kicked = atomic_exchange(&mine->kicked, false);
    mine->running = !kicked;
    mine->since_ns = aee__now_ns();
    (void)pthread_mutex_unlock(&mine->lock);
    return !kicked;
}

static void leave(struct aee__cell_lane *mine)
{
    (void)pthread_mutex_lock(&mine->lock);
    mine->running = false;
    mine->run_ns += aee__now_ns() - mine->since_ns;
    mine->runs++;
    atomic_store(&mine->kicked, false);
    (void)pthread_mutex_unlock(&mine->lock);
}

void aee__cell_lanes_use(struct aee__vm *vm, uint64_t *run_ns, uint64_t *runs)
{
    *run_ns = 0;
    *runs = 0;
    for (uint32_t lane = 0; lane < AEE_MAX_LANES; lane++) {
        struct aee__cell_lane *mine = &vm->lanes[lane];
        (void)pthread_mutex_lock(&mine->lock);
        *run_ns += mine->run_ns + (mine->running ? aee__now_ns() - mine->since_ns : 0);
        *runs += mine->runs;
        (void)pthread_mutex_unlock(&mine->lock);
    }
}

/* Lets the lane go on from the exit that we have digested. */
static void resume(struct aee__cell_lane *mine, struct aee_cell_exit *shared)
{
    if (mine->out) {
        mine->out = false;
        __atomic_store_n(&shared->go, mine->taken, __ATOMIC_RELEASE);
        aee__sys_shared_wake(&shared->go);
    }
}

/* Whether the kernel does what it is told is all the same: it is not asked again. The cell's first
 * thread, which runs no lane, has the CPUs that all may use. As for a kick, the lock: with a cell
 * that has ended, the numbers may be another's. */
static void put(struct aee__vm *vm, struct aee__cell_lane *mine, enum aee__place place, int cpu)
{
    if (mine->place == place && mine->place_cpu == cpu) {
        return;
    }
    (void)pthread_mutex_lock(&mine->lock);
    if (!atomic_load(&vm->ended)) {
        aee__sys_thread_place(mine->thread, vm->process.pid, place, cpu);
    }
    (void)pthread_mutex_unlock(&mine->lock);
    mine->place = place;
    mine->place_cpu = cpu;
}

/* A thread that is woken where its waker goes to sleep has that CPU at once, and its caches. The
 * kernel likes to give it an idle one, which is slow to wake where that is a virtual one. A lane
 * that has run for long may go there. */
void aee__cell_lane_place(struct aee__vm *vm, uint32_t lane, enum aee__place place, int cpu)
{
    struct aee__cell_lane *mine = &vm->lanes[lane];
    if (place == AEE__PLACE_AT && mine->away_runs > 0) {
        mine->away_runs--;
    } else if (cpu >= 0) {
        put(vm, mine, place, cpu);
    }
}

static void let_go(struct aee__vm *vm, struct aee__cell_lane *mine)
{
    enum { AWAY_RUNS = 16 };
    if (mine->place == AEE__PLACE_AT && aee__now_ns() - mine->since_ns >= BOUND_NS) {
        put(vm, mine, AEE__PLACE_ANY, mine->place_cpu);
        mine->away_runs = AWAY_RUNS;
    }
}

/* Waits for an exit until a kick comes, the cell ends, or (with a deadline, for the exit only) that
 * has passed; true: *posted is its number. */
static bool await_exit(struct aee__vm *vm, uint32_t lane, uint64_t deadline_ns, uint32_t *posted)
{
    struct aee__cell_lane *mine = &vm->lanes[lane];
    struct aee_cell_exit *shared = exit_of(vm, lane);
    for (;;) {
        uint32_t bell = __atomic_load_n(&shared->bell, __ATOMIC_SEQ_CST);
        *posted = __atomic_load_n(&shared->posted, __ATOMIC_ACQUIRE);
        if (*posted != mine->taken) {
            return true;
        }
        if (atomic_load(&vm->ended) ||
            (deadline_ns == 0 ? atomic_load(&mine->kicked) : aee__now_ns() >= deadline_ns)) {
            return false;
        }
        aee__sys_shared_wait(&shared->bell, bell,
                             mine->place == AEE__PLACE_AT ? BOUND_NS : LOOK_NS);
        let_go(vm, mine);
    }
}

/* A kick makes us return at once; the exit of the lane, which is told to stop, too, comes the next
 * time. */
void aee__cell_lane_run(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit)
{
    struct aee__cell_lane *mine = &vm->lanes[lane];
    uint32_t posted;
    memset(exit, 0, sizeof *exit);
    exit->kind = AEE__EXIT_KICKED;
    if (!enter(mine)) {
        return;
    }
    resume(mine, exit_of(vm, lane));
    if (await_exit(vm, lane, 0, &posted)) {
        digest(vm, lane, posted, exit);
    } else if (atomic_load(&vm->ended)) {
        char how[sizeof exit->detail];
        aee_crash_cause cause = aee__keeper_describe_end(vm, how, sizeof how);
        crash(exit, cause, 0, how);
    }
    exit->running = !mine->out;
    leave(mine);
}

void aee__cell_lane_kick(struct aee__vm *vm, uint32_t lane)
{
    struct aee__cell_lane *mine = &vm->lanes[lane];
    if (mine->thread <= 0) {
        return;
    }
    (void)pthread_mutex_lock(&mine->lock);
    atomic_store(&mine->kicked, true);
    if (mine->running && !atomic_load(&vm->ended)) {
        /* It first: when it has stopped there is a CPU for who waits. */
        (void)aee__sys_process_signal(vm->process.pid, mine->thread, AEE_CELL_KICK);
        ring(exit_of(vm, lane));
    }
    (void)pthread_mutex_unlock(&mine->lock);
}

void aee__cell_lane_registers(struct aee__vm *vm, uint32_t lane, aee_registers *registers)
{
    struct aee__cell_lane *mine = &vm->lanes[lane];
    struct aee__exit unused = {0};
    uint32_t posted;
    if (!mine->out && await_exit(vm, lane, aee__now_ns() + ANSWER_NS, &posted)) {
        digest(vm, lane, posted, &unused);
    }
    *registers = mine->registers;
}

/* The kernel takes them from the frame when the handler returns, and lets it have the flags of a
 * user only. Whoever writes there beside us changes what the component goes on with, no more. */
bool aee__cell_lane_set_registers(struct aee__vm *vm, uint32_t lane, const aee_registers *registers)
{
    struct aee__cell_lane *mine = &vm->lanes[lane];
    struct aee_cell_frame *frame = frame_of(vm, lane, mine->frame);
    if (!mine->out || !frame || atomic_load(&vm->ended) || registers->rip >= AEE__USER_END) {
        return false;
    }
    frame->r8 = registers->r8;
    frame->r9 = registers->r9;
    frame->r10 = registers->r10;
    frame->r11 = registers->r11;
    frame->r12 = registers->r12;
    frame->r13 = registers->r13;
    frame->r14 = registers->r14;
    frame->r15 = registers->r15;
    frame->rdi = registers->rdi;
    frame->rsi = registers->rsi;
    frame->rbp = registers->rbp;
    frame->rbx = registers->rbx;
    frame->rdx = registers->rdx;
    frame->rax = registers->rax;
    frame->rcx = registers->rcx;
    frame->rsp = registers->rsp;
    frame->rip = registers->rip;
    frame->rflags = registers->rflags & AEE__USER_FLAGS;
    mine->registers = *registers;
    return true;
}

/* What the signal handler returns to may have been changed by the component, as what is blocked
 * then. */
bool aee__cell_lane_restart(struct aee__vm *vm, uint32_t lane, const struct aee__lane_start *start)
{
    const aee_registers begin = {
        .rip = start->rip.value, .rsp = start->rsp.value, .rflags = RFLAGS_START};
    struct aee__cell_lane *mine = &vm->lanes[lane];
    struct aee__exit unused = {0};
    uint32_t posted;
    if (!mine->out && await_exit(vm, lane, aee__now_ns() + ANSWER_NS, &posted)) {
        digest(vm, lane, posted, &unused);
    }
    return aee__cell_lane_set_registers(vm, lane, &begin);
}

/* The rest of the frame is where it says; checked as all that it says. */
static uint8_t *vectors_of(struct aee__vm *vm, uint32_t lane)
{
    struct aee__cell_lane *mine = &vm->lanes[lane];
    struct aee_cell_lane *block = &vm->control->lanes[lane];
    const struct aee_cell_frame *frame = frame_of(vm, lane, mine->frame);
    const uint64_t stack = AEE_CELL_LANES + lane * (uint64_t)AEE_CELL_LANE_SIZE +
                           offsetof(struct aee_cell_lane, signal_stack);
    const uint64_t last = sizeof block->signal_stack - AEE__FXSAVE_SIZE - sizeof(uint64_t);
    if (!mine->out || !frame || atomic_load(&vm->ended)) {
        return NULL;
    }
    uint64_t offset = __atomic_load_n(&frame->vector_state, __ATOMIC_RELAXED) - stack;
    return offset > last || offset % sizeof(uint64_t) != 0 ? NULL : block->signal_stack + offset;
}

bool aee__cell_lane_vectors(struct aee__vm *vm, uint32_t lane, uint8_t fxsave[AEE__FXSAVE_SIZE])
{
    const uint8_t *from = vectors_of(vm, lane);
    if (from) {
        memcpy(fxsave, from, AEE__FXSAVE_SIZE);
    }
    return from != NULL;
}

/* The kernel keeps a mark of its own in the last bytes (struct _fpx_sw_bytes, asm/sigcontext.h),
 * and behind them says what of the state is in use. */
bool aee__cell_lane_set_vectors(struct aee__vm *vm, uint32_t lane,
                                const uint8_t fxsave[AEE__FXSAVE_SIZE])
{
    enum { MARK = 464, X87_AND_SSE = 3 };
    uint8_t *to = vectors_of(vm, lane);
    uint32_t mxcsr;
    if (to) {
        memcpy(&mxcsr, fxsave + AEE__FXSAVE_MXCSR, sizeof mxcsr);
        mxcsr &= AEE__MXCSR_MASK;
        memcpy(to, fxsave, MARK);
        memcpy(to + AEE__FXSAVE_MXCSR, &mxcsr, sizeof mxcsr);
        to[AEE__FXSAVE_SIZE] |= X87_AND_SSE;
    }
    return to != NULL;
}
