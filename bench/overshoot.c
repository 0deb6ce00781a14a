/* overshoot.c: how long after its deadline a component that never returns has been stopped, while
 * every processor has something else to do. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "bench/machine.h"
#include "bench/rows.h"
#include "bench/sandbox.h"
#include "bench/stage.h"

/* Initialisers have it too, and on a busy machine they may have to wait for a processor. */
#define BUDGET_NS (5 * BENCH_NS_PER_MS)
#define NEVER INT64_C(0x7fffffffffff) /* steps of nbody_run(): months */

enum { BURNERS = 64, POOL = 4 }; /* POOL: aee_engine_desc.pool_size by default */

struct overshoot {
    struct bench_stage stage;
    aee_function endless;
    pthread_t burners[BURNERS];
    uint32_t burner_count;
    atomic_bool burning;
    /* Of the floor. */
    struct bench_machine machine;
    pthread_t runner;
    _Atomic uint32_t kicked;    /* futex, in cells */
    _Atomic uint64_t entered;   /* 1: the runner is about to enter the guest, or to sleep */
    uint64_t timer_ns;          /* when its own timer signals the runner; 0: it has none */
    uint64_t left_ns;           /* when KVM_RUN had returned */
    struct bench_samples late;  /* how long after its time a sleeping thread got a processor */
    struct bench_samples timed; /* KVM_RUN returned so long after the runner's own timer was due */
};

/* ---- Load --------------------------------------------------------------------------------- */

static void *burn(void *argument)
{
    struct overshoot *overshoot = argument;
    while (atomic_load_explicit(&overshoot->burning, memory_order_relaxed)) {
        bench_pause();
    }
    return NULL;
}

/* One thread for every processor but that which the runaway itself keeps busy. */
static int start_burning(struct overshoot *overshoot, const struct bench *bench,
                         struct bench_result *result)
{
    atomic_store(&overshoot->burning, true);
    while (overshoot->burner_count + 1 < bench->cpu_count && overshoot->burner_count < BURNERS) {
        if (pthread_create(&overshoot->burners[overshoot->burner_count], NULL, burn, overshoot) !=
            0) {
            return bench_skip(result, "a thread could not be started");
        }
        overshoot->burner_count++;
    }
    return 0;
}

static void stop_burning(struct overshoot *overshoot)
{
    atomic_store(&overshoot->burning, false);
    while (overshoot->burner_count > 0) {
        (void)pthread_join(overshoot->burners[--overshoot->burner_count], NULL);
    }
}

/* ---- The floor: a signal for a vCPU that spins -------------------------------------------- */

static int kick_signal(void)
{
    return SIGRTMIN + 1; /* the library's own is SIGRTMAX - 1 */
}

/* Only the kick is open while the vCPU runs; in the thread it stays blocked (api.rst 4.19). */
static int set_vcpu_mask(int vcpu)
{
    struct {
        struct kvm_signal_mask header;
        uint64_t mask;
    } __attribute__((packed)) argument = {.header = {.len = sizeof argument.mask},
                                          .mask = ~(UINT64_C(1) << (kick_signal() - 1))};
    return ioctl(vcpu, KVM_SET_SIGNAL_MASK, &argument);
}

/* A timer that signals the thread which runs the vCPU needs no other thread to get a processor. */
static void arm_timer(timer_t *timer, uint64_t at_ns)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = kick_signal()};
    event._sigev_un._tid = gettid();
    const struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_ns / BENCH_NS_PER_SECOND),
                                                 .tv_nsec = (long)(at_ns % BENCH_NS_PER_SECOND)}};
    if (timer_create(CLOCK_MONOTONIC, &event, timer) == 0) {
        (void)timer_settime(*timer, TIMER_ABSTIME, &when, NULL);
    }
}

static void *run_spinning(void *argument)
{
    struct overshoot *overshoot = argument;
    timer_t timer = NULL;
    if (overshoot->timer_ns > 0) {
        arm_timer(&timer, overshoot->timer_ns);
    }
    atomic_store(&overshoot->entered, 1);
    (void)ioctl(overshoot->machine.vcpu, KVM_RUN, 0);
    overshoot->left_ns = bench_now();
    if (overshoot->timer_ns > 0) {
        (void)timer_delete(timer);
    }
    return NULL;
}

static int kick_once(struct overshoot *overshoot, struct bench_samples *samples,
                     struct bench_result *result)
{
    atomic_store(&overshoot->entered, 0);
    if (pthread_create(&overshoot->runner, NULL, run_spinning, overshoot) != 0) {
        return bench_skip(result, "a thread could not be started");
    }
    while (atomic_load(&overshoot->entered) == 0) {
        bench_sleep(BUDGET_NS / 100);
    }
    const uint64_t due = bench_now() + BUDGET_NS;
    bench_sleep_until(due);
    const uint64_t before = bench_now();
    bench_samples_add(&overshoot->late, (double)(before - due));
    (void)pthread_kill(overshoot->runner, kick_signal());
    (void)pthread_join(overshoot->runner, NULL);
    bench_samples_add(samples, (double)(overshoot->left_ns - before));
    return 0;
}

/* Without a kick from here: what a timer of the runner's own would reach. */
static int time_once(struct overshoot *overshoot, struct bench_result *result)
{
    overshoot->timer_ns = bench_now() + BUDGET_NS;
    if (pthread_create(&overshoot->runner, NULL, run_spinning, overshoot) != 0) {
        return bench_skip(result, "a thread could not be started");
    }
    (void)pthread_join(overshoot->runner, NULL);
    bench_samples_add(&overshoot->timed,
                      (double)(int64_t)(overshoot->left_ns - overshoot->timer_ns));
    overshoot->timer_ns = 0;
    return 0;
}

static int measure_kicks(void *user, struct bench_samples *samples, uint32_t count,
                         struct bench_result *result)
{
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        status = kick_once(user, samples, result);
        if (status == 0) {
            status = time_once(user, result);
        }
    }
    return status;
}

/* New threads inherit the blocked signal. The library's watchdog has exact timers too. */
static int open_floor(struct overshoot *overshoot, struct bench_result *result)
{
    static const uint8_t spin[] = {0xeb, 0xfe};
    struct bench_kvm kvm;
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, kick_signal());
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    int status = bench_kvm_open(&kvm, result);
    if (status == 0) {
        status = bench_machine_open(&overshoot->machine, &kvm, 4 << 20, spin, sizeof spin, result);
    }
    bench_kvm_close(&kvm);
    if (status == 0 && set_vcpu_mask(overshoot->machine.vcpu) != 0) {
        status = bench_skip(result, "KVM_SET_SIGNAL_MASK was refused: %s", strerror(errno));
    }
    return status;
}

/* ---- The floor in cells: a futex for a thread that sleeps --------------------------------- */

/* Instead of the runaway. */
static void *spin_until_kick(void *argument)
{
    struct overshoot *overshoot = argument;
    while (atomic_load_explicit(&overshoot->kicked, memory_order_relaxed) == 0) {
        bench_pause();
    }
    return NULL;
}

/* Instead of its caller. */
static void *sleep_until_kick(void *argument)
{
    struct overshoot *overshoot = argument;
    atomic_store(&overshoot->entered, 1);
    while (atomic_load(&overshoot->kicked) == 0) {
        (void)sandbox_wait(&overshoot->kicked, 0);
    }
    overshoot->left_ns = bench_now();
    return NULL;
}

static int wake_once(struct overshoot *overshoot, struct bench_samples *samples,
                     struct bench_result *result)
{
    pthread_t spinner;
    atomic_store(&overshoot->entered, 0);
    atomic_store(&overshoot->kicked, 0);
    if (pthread_create(&spinner, NULL, spin_until_kick, overshoot) != 0) {
        return bench_skip(result, "a thread could not be started");
    }
    const bool started = pthread_create(&overshoot->runner, NULL, sleep_until_kick, overshoot) == 0;
    while (started && atomic_load(&overshoot->entered) == 0) {
        bench_sleep(BUDGET_NS / 100);
    }
    const uint64_t due = bench_now() + BUDGET_NS;
    bench_sleep_until(due);
    const uint64_t before = bench_now();
    bench_samples_add(&overshoot->late, (double)(before - due));
    atomic_store(&overshoot->kicked, 1);
    sandbox_wake(&overshoot->kicked);
    (void)pthread_join(spinner, NULL);
    if (!started) {
        return bench_skip(result, "a thread could not be started");
    }
    (void)pthread_join(overshoot->runner, NULL);
    bench_samples_add(samples, (double)(overshoot->left_ns - before));
    return 0;
}

static int measure_wakes(void *user, struct bench_samples *samples, uint32_t count,
                         struct bench_result *result)
{
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        status = wake_once(user, samples, result);
    }
    return status;
}

/* ---- The row ------------------------------------------------------------------------------ */

static int hang_once(struct overshoot *overshoot, struct bench_samples *samples,
                     struct bench_result *result)
{
    struct bench_stage *stage = &overshoot->stage;
    const int64_t steps = NEVER;
    const aee_value arg = aee_i64(steps);
    aee_error error;
    aee_result status =
        aee_wait_ready(stage->engine, stage->context, 10 * BENCH_NS_PER_SECOND, &error);
    if (bench_check(result, status, &error) != 0 ||
        bench_stage_await_pool(stage, POOL, result) != 0) {
        return -1;
    }
    const uint64_t deadline = bench_now() + BUDGET_NS;
    status = aee_call(stage->engine, stage->context, overshoot->endless, &arg, 1, NULL, &error);
    bench_samples_add(samples, (double)(int64_t)(bench_now() - deadline));
    return status == AEE_ERR_HUNG
               ? 0
               : bench_skip(result, "the endless call ended with %s", aee_result_name(status));
}

static int measure_hangs(void *user, struct bench_samples *samples, uint32_t count,
                         struct bench_result *result)
{
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        status = hang_once(user, samples, result);
    }
    return status;
}

/* What no watchdog without a real-time priority can be better than here. */
static void add_lateness(struct overshoot *overshoot, struct bench_result *result)
{
    const struct bench_summary late = bench_summarize(&overshoot->late);
    const struct bench_summary timed = bench_summarize(&overshoot->timed);
    bench_extra(result, "timer_late_p50_ns", late.p50);
    bench_extra(result, "timer_late_p99_ns", late.p99);
    if (timed.count > 0) {
        bench_extra(result, "own_timer_p50_ns", timed.p50);
        bench_extra(result, "own_timer_p99_ns", timed.p99);
    }
    bench_samples_free(&overshoot->late);
    bench_samples_free(&overshoot->timed);
}

static int run_hangs(struct overshoot *overshoot, struct bench *bench, bench_measure_fn floor,
                     struct bench_result *result)
{
    /* A window of 1 ns: no number of hangs leads to quarantine. */
    const struct bench_stage_plan plan = {
        .image = bench_image_compute,
        .mode = AEE_CALL_DIRECT,
        .limits = {.call_budget_ns = BUDGET_NS, .restarts = 63, .restart_window_ns = 1}};
    const struct bench_pair pair = {.floor = floor,
                                    .floor_user = overshoot,
                                    .row = measure_hangs,
                                    .row_user = overshoot,
                                    .rounds = bench_scale(bench, 20),
                                    .floor_count = 10,
                                    .row_count = 10};
    int status = 0;
    const uint32_t kicks = pair.rounds * pair.floor_count;
    if (!bench_samples_init(&overshoot->late, kicks) ||
        !bench_samples_init(&overshoot->timed, kicks)) {
        status = bench_skip(result, "there is no memory for the samples");
    }
    if (status == 0 && (status = bench_stage_open(&overshoot->stage, bench, &plan, result)) == 0 &&
        (status = bench_stage_find(&overshoot->stage, "nbody_run", &overshoot->endless, result)) ==
            0 &&
        (status = start_burning(overshoot, bench, result)) == 0) {
        status = bench_interleave(&pair, result);
    }
    add_lateness(overshoot, result);
    stop_burning(overshoot);
    bench_stage_close(&overshoot->stage);
    return status;
}

static int run_overshoot(struct bench *bench, struct bench_result *result)
{
    struct overshoot overshoot = {.machine = {.vm = -1, .vcpu = -1}};
    int status = open_floor(&overshoot, result);
    if (status == 0) {
        status = run_hangs(&overshoot, bench, measure_kicks, result);
    }
    bench_machine_close(&overshoot.machine);
    return status;
}

static int run_overshoot_in_cell(struct bench *bench, struct bench_result *result)
{
    struct overshoot overshoot = {.machine = {.vm = -1, .vcpu = -1}};
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    return run_hangs(&overshoot, bench, measure_wakes, result);
}

static const struct bench_row overshoot_in_cell = {
    .name = "budget_overshoot",
    .unit = "ns",
    .floor = "futex wake",
    .target_text = "p99 <= 250 us",
    .how = "an endless function with a budget of 5 ms, from the deadline to aee_call()'s return, "
           "with a busy thread for every other processor; floor: from FUTEX_WAKE until a thread "
           "that sleeps goes on, while every processor has a busy thread",
    .target = {.p99 = 250000.0},
    .run = run_overshoot_in_cell,
};

const struct bench_row bench_row_budget_overshoot = {
    .name = "budget_overshoot",
    .unit = "ns",
    .floor = "signal kick",
    .target_text = "p99 <= 250 us",
    .how = "an endless function with a budget of 5 ms, from the deadline to aee_call()'s return, "
           "with a busy thread for every other processor; floor: pthread_kill() of a bare vCPU "
           "that spins, until KVM_RUN has returned",
    .target = {.p99 = 250000.0},
    .run = run_overshoot,
    .in_cells = &overshoot_in_cell,
};
