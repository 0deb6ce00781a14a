/* calls.c: rows about one call: through the ring, from the component to the engine, and directly.
 */
#include "bench/machine.h"
#include "bench/pingpong.h"
#include "bench/process.h"
#include "bench/rows.h"
#include "bench/stage.h"

#define LONG_BUDGET_NS (10 * BENCH_NS_PER_SECOND)
/* An idle lane parks after its spin (aee_engine_desc.spin_ns, 50 us); it must not be in the way of
 * the floor, whose partner needs the same processor. */
#define PARKED_AFTER_NS (2 * BENCH_NS_PER_MS)

enum { WARM_UP = 500 };

struct caller {
    const struct bench *bench;
    struct bench_stage stage;
    struct bench_pingpong pingpong;
    aee_function function;
};

static int call(struct caller *caller, struct bench_result *result)
{
    aee_error error;
    const aee_result status = aee_call_i64(caller->stage.engine, caller->stage.context,
                                           caller->function, NULL, 0, NULL, &error);
    return status == AEE_OK ? 0 : bench_check(result, status, &error);
}

static int measure_calls(void *user, struct bench_samples *samples, uint32_t count,
                         struct bench_result *result)
{
    struct caller *caller = user;
    bench_cpus_pin(caller->bench->cpu_here);
    for (uint32_t i = 0; i < WARM_UP; i++) {
        if (call(caller, result) != 0) {
            return -1;
        }
    }
    uint64_t before = bench_now();
    for (uint32_t i = 0; i < count; i++) {
        if (call(caller, result) != 0) {
            return -1;
        }
        const uint64_t now = bench_now();
        bench_samples_add(samples, (double)(now - before));
        before = now;
    }
    return 0;
}

static int measure_ring_calls(void *user, struct bench_samples *samples, uint32_t count,
                              struct bench_result *result)
{
    const int status = measure_calls(user, samples, count, result);
    bench_sleep(PARKED_AFTER_NS);
    return status;
}

/* Opens the stage with its threads on the two processors, and the floor beside it. */
static int open_ring(struct caller *caller, struct bench *bench, const char *function,
                     struct bench_result *result)
{
    const struct bench_stage_plan plan = {.image = bench_image_compute,
                                          .mode = AEE_CALL_RING,
                                          .limits = {.call_budget_ns = LONG_BUDGET_NS}};
    caller->bench = bench;
    if (bench_need_two_cpus(bench, result) != 0) {
        return -1;
    }
    bench_cpus_pair(bench);
    if (bench_stage_open(&caller->stage, bench, &plan, result) != 0 ||
        bench_stage_find(&caller->stage, function, &caller->function, result) != 0) {
        return -1;
    }
    return bench_pingpong_open(&caller->pingpong, bench, result);
}

static void close_ring(struct caller *caller)
{
    bench_pingpong_close(&caller->pingpong);
    bench_stage_close(&caller->stage);
}

/* ---- ring_call ---------------------------------------------------------------------------- */

/* Calls and exits of the library meanwhile, to show that calls do not leave the guest. */
static int add_exits(struct bench_stage *stage, const aee_context_info *before, const char *name,
                     struct bench_result *result)
{
    aee_context_info after;
    if (bench_stage_info(stage, &after, result) != 0) {
        return -1;
    }
    const double calls = (double)(after.calls - before->calls);
    bench_extra(result, name, (double)(after.exits - before->exits) / (calls > 0 ? calls : 1));
    return 0;
}

static int run_ring_call(struct bench *bench, struct bench_result *result)
{
    struct caller caller = {0};
    const struct bench_pair pair = {.floor = bench_pingpong_measure,
                                    .floor_user = &caller.pingpong,
                                    .row = measure_ring_calls,
                                    .row_user = &caller,
                                    .rounds = bench_scale(bench, 50),
                                    .floor_count = 4000,
                                    .row_count = 4000};
    aee_context_info before;
    int status = open_ring(&caller, bench, "bench_empty", result);
    if (status == 0) {
        status = call(&caller, result); /* starts the worker while it may run anywhere */
    }
    if (status == 0 && (status = bench_stage_info(&caller.stage, &before, result)) == 0) {
        status = bench_interleave(&pair, result);
    }
    if (status == 0) {
        status = add_exits(&caller.stage, &before, "exits_per_call", result);
    }
    close_ring(&caller);
    return status;
}

const struct bench_row bench_row_ring_call = {
    .name = "ring_call",
    .unit = "ns",
    .floor = "pingpong",
    .target_text = "p50 <= 1.5x, p99 <= 4x",
    .how = "aee_call_i64() of an empty function in AEE_CALL_RING, caller pinned; floor: two "
           "pinned native threads, one 64-byte line each way",
    .target = {.p50_ratio = 1.5, .p99_ratio = 4.0},
    .run = run_ring_call,
};

/* ---- trace_overhead ----------------------------------------------------------------------- */

/* Nobody looks at the trace. */
static int drop_bytes(void *user, const void *bytes, size_t size)
{
    (void)user;
    (void)bytes;
    (void)size;
    return 0;
}

struct traced {
    struct caller caller;
    bool on;
};

/* Calls of one sample: the difference is a few per cent of one call, less than a clock's reading.
 */
#define TRACED_CALLS 250u

static int measure_blocks(struct caller *caller, struct bench_samples *samples, uint32_t count,
                          struct bench_result *result)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t before = bench_now();
        for (uint32_t j = 0; j < TRACED_CALLS; j++) {
            if (call(caller, result) != 0) {
                return -1;
            }
        }
        bench_samples_add(samples, (double)(bench_now() - before) / TRACED_CALLS);
    }
    return 0;
}

/* The trace's ring is filled once before it counts. */
static int measure_traced(void *user, struct bench_samples *samples, uint32_t count,
                          struct bench_result *result)
{
    struct traced *traced = user;
    const aee_trace_desc desc = {
        .struct_size = sizeof desc, .write = drop_bytes, .calls_per_lane = 8192};
    aee_engine *engine = traced->caller.stage.engine;
    aee_error error;
    bench_cpus_pin(traced->caller.bench->cpu_here);
    if (traced->on && bench_check(result, aee_trace_start(engine, &desc, &error), &error) != 0) {
        return -1;
    }
    int status = 0;
    for (uint32_t i = 0; i < desc.calls_per_lane && status == 0; i++) {
        status = call(&traced->caller, result);
    }
    status = status == 0 ? measure_blocks(&traced->caller, samples, count, result) : status;
    if (traced->on && bench_check(result, aee_trace_stop(engine, &error), &error) != 0) {
        return -1;
    }
    return status;
}

static int measure_untraced(void *user, struct bench_samples *samples, uint32_t count,
                            struct bench_result *result)
{
    struct traced *traced = user;
    traced->on = false;
    const int status = measure_traced(traced, samples, count, result);
    traced->on = true;
    return status;
}

static int run_trace_overhead(struct bench *bench, struct bench_result *result)
{
    struct traced traced = {.on = true};
    const struct bench_pair pair = {.floor = measure_untraced,
                                    .floor_user = &traced,
                                    .row = measure_traced,
                                    .row_user = &traced,
                                    .rounds = bench_scale(bench, 50),
                                    .floor_count = 80,
                                    .row_count = 80};
    int status = open_ring(&traced.caller, bench, "bench_empty", result);
    if (status == 0 && (status = call(&traced.caller, result)) == 0) {
        status = bench_interleave(&pair, result);
    }
    close_ring(&traced.caller);
    return status;
}

const struct bench_row bench_row_trace_overhead = {
    .name = "trace_overhead",
    .unit = "ns",
    .floor = "ring_call",
    .target_text = "p50 <= 1.02x",
    .how = "the call of ring_call between aee_trace_start() and aee_trace_stop(), 250 to a sample; "
           "floor: the same without a trace",
    .target = {.p50_ratio = 1.02},
    .run = run_trace_overhead,
};

/* ---- host_call ---------------------------------------------------------------------------- */

struct host_calls {
    struct caller caller;
    struct bench_samples *samples;
    uint64_t before; /* 0: the first call of a run has none before it */
};

/* From one host call to the next is one round trip, seen from this side. */
static aee_result nop(void *user, aee_host_call *host_call)
{
    struct host_calls *calls = user;
    const uint64_t now = bench_now();
    (void)host_call;
    if (calls->before != 0 && calls->samples) {
        bench_samples_add(calls->samples, (double)(now - calls->before));
    }
    calls->before = now;
    return AEE_OK;
}

static int make_host_calls(struct host_calls *calls, struct bench_samples *samples, int64_t count,
                           struct bench_result *result)
{
    struct caller *caller = &calls->caller;
    aee_error error;
    int64_t succeeded = 0;
    calls->samples = samples;
    calls->before = 0;
    const aee_result status = aee_call_i64(caller->stage.engine, caller->stage.context,
                                           caller->function, &count, 1, &succeeded, &error);
    if (status != AEE_OK) {
        return bench_check(result, status, &error);
    }
    return succeeded == count ? 0 : bench_skip(result, "host calls of the component failed");
}

static int measure_host_calls(void *user, struct bench_samples *samples, uint32_t count,
                              struct bench_result *result)
{
    struct host_calls *calls = user;
    bench_cpus_pin(calls->caller.bench->cpu_here);
    int status = make_host_calls(calls, NULL, WARM_UP, result);
    if (status == 0) {
        status = make_host_calls(calls, samples, (int64_t)count + 1, result);
    }
    bench_sleep(PARKED_AFTER_NS);
    return status;
}

static int grant_nop(struct host_calls *calls, struct bench_result *result)
{
    struct bench_stage *stage = &calls->caller.stage;
    aee_error error;
    aee_result status = aee_register_host_function(stage->engine, "bench_nop", nop, calls, &error);
    if (status == AEE_OK) {
        status = aee_grant_host_function(stage->engine, stage->context, "bench_nop", &error);
    }
    return bench_check(result, status, &error);
}

static int run_host_call(struct bench *bench, struct bench_result *result)
{
    struct host_calls calls = {0};
    const struct bench_pair pair = {.floor = bench_pingpong_measure,
                                    .floor_user = &calls.caller.pingpong,
                                    .row = measure_host_calls,
                                    .row_user = &calls,
                                    .rounds = bench_scale(bench, 50),
                                    .floor_count = 4000,
                                    .row_count = 4000};
    int status = open_ring(&calls.caller, bench, "bench_host_calls", result);
    if (status == 0 && (status = grant_nop(&calls, result)) == 0 &&
        (status = make_host_calls(&calls, NULL, 1, result)) == 0) {
        status = bench_interleave(&pair, result);
    }
    close_ring(&calls.caller);
    return status;
}

const struct bench_row bench_row_host_call = {
    .name = "host_call",
    .unit = "ns",
    .floor = "pingpong",
    .target_text = "p50 <= 1.5x",
    .how = "a component calls an empty host function in a loop, in AEE_CALL_RING; from one call's "
           "arrival to the next",
    .target = {.p50_ratio = 1.5},
    .run = run_host_call,
};

/* ---- direct_call -------------------------------------------------------------------------- */

struct exits {
    const struct bench *bench;
    struct bench_machine machine;
};

static int measure_exits(void *user, struct bench_samples *samples, uint32_t count,
                         struct bench_result *result)
{
    struct exits *exits = user;
    bench_cpus_pin(exits->bench->cpu_here);
    for (uint32_t i = 0; i < WARM_UP / 10; i++) {
        if (bench_machine_run(&exits->machine, result) != 0) {
            return -1;
        }
    }
    uint64_t before = bench_now();
    for (uint32_t i = 0; i < count; i++) {
        if (bench_machine_run(&exits->machine, result) != 0) {
            return -1;
        }
        const uint64_t now = bench_now();
        bench_samples_add(samples, (double)(now - before));
        before = now;
    }
    return 0;
}

static int open_exits(struct exits *exits, const struct bench *bench, struct bench_result *result)
{
    /* again: out %al, $0x10; jmp again */
    static const uint8_t code[] = {0xe6, BENCH_MACHINE_PORT, 0xeb, 0xfc};
    enum { MEMORY = 4 << 20 };
    struct bench_kvm kvm;
    exits->bench = bench;
    exits->machine = (struct bench_machine){.vm = -1, .vcpu = -1};
    int status = bench_kvm_open(&kvm, result);
    if (status == 0) {
        status = bench_machine_open(&exits->machine, &kvm, MEMORY, code, sizeof code, result);
    }
    bench_kvm_close(&kvm);
    return status;
}

/* One exit and no allocation a call are part of the target. */
static int interleave_direct(struct caller *caller, const struct bench_pair *pair,
                             struct bench_result *result)
{
    aee_context_info before;
    if (bench_stage_info(&caller->stage, &before, result) != 0) {
        return -1;
    }
    const uint64_t allocations = atomic_load(&caller->stage.allocations);
    if (bench_interleave(pair, result) != 0 ||
        add_exits(&caller->stage, &before, "exits_per_call", result) != 0) {
        return -1;
    }
    const uint64_t made = atomic_load(&caller->stage.allocations) - allocations;
    bench_extra(result, "allocations_per_call", (double)made / result->row.count);
    result->met = made == 0 && result->extras[0].value == 1.0;
    return 0;
}

static int run_direct(struct caller *caller, struct bench *bench, bench_measure_fn floor,
                      void *floor_user, struct bench_result *result)
{
    const struct bench_stage_plan plan = {.image = bench_image_compute,
                                          .mode = AEE_CALL_DIRECT,
                                          .limits = {.call_budget_ns = LONG_BUDGET_NS}};
    const struct bench_pair pair = {.floor = floor,
                                    .floor_user = floor_user,
                                    .row = measure_calls,
                                    .row_user = caller,
                                    .rounds = bench_scale(bench, 20),
                                    .floor_count = 1000,
                                    .row_count = 1000};
    caller->bench = bench;
    int status = bench_stage_open(&caller->stage, bench, &plan, result);
    if (status == 0 && (status = bench_stage_find(&caller->stage, "bench_empty", &caller->function,
                                                  result)) == 0) {
        status = interleave_direct(caller, &pair, result);
    }
    bench_stage_close(&caller->stage);
    return status;
}

static int run_direct_call(struct bench *bench, struct bench_result *result)
{
    struct caller caller = {0};
    struct exits exits;
    int status = open_exits(&exits, bench, result);
    if (status == 0) {
        status = run_direct(&caller, bench, measure_exits, &exits, result);
    }
    bench_machine_close(&exits.machine);
    return status;
}

static int measure_round_trips(void *user, struct bench_samples *samples, uint32_t count,
                               struct bench_result *result)
{
    const struct bench_process *process = user;
    bench_cpus_pin(process->bench->cpu_here);
    return bench_process_measure(user, samples, count, result);
}

/* The lane's thread sleeps between calls, as the floor's child does, both on the processor `there`:
 * what is started from here inherits that. */
static int run_sleeping(struct bench *bench, int there, struct bench_result *result)
{
    struct caller caller = {0};
    struct bench_process process;
    bench_cpus_pin(there);
    int status = bench_process_open(&process, bench, "futex", result);
    if (status == 0) {
        status = run_direct(&caller, bench, measure_round_trips, &process, result);
    }
    bench_process_close(&process);
    return status;
}

/* Where the scheduler places the two is no matter of ours, and the figures differ by ten: the row
 * is of one processor, and two give further figures. */
static int run_direct_call_in_cell(struct bench *bench, struct bench_result *result)
{
    int status = run_sleeping(bench, bench->cpu_here, result);
    if (status == 0 && bench->cpu_there >= 0) {
        struct bench_result apart = {0};
        if (run_sleeping(bench, bench->cpu_there, &apart) == 0) {
            bench_extra(result, "two_cpus_p50_ns", apart.row.p50);
            bench_extra(result, "two_cpus_floor_p50_ns", apart.floor.p50);
        }
    }
    return status;
}

static const struct bench_row direct_call_in_cell = {
    .name = "direct_call",
    .unit = "ns",
    .floor = "futex round trip",
    .target_text = "p50 <= 1.3x, 1 exit and 0 allocations a call",
    .how = "aee_call_i64() of an empty function in AEE_CALL_DIRECT, to a lane that sleeps; floor: "
           "an empty call into a child process, both sleep on futexes while they wait; all on one "
           "processor",
    .target = {.p50_ratio = 1.3, .own = true},
    .run = run_direct_call_in_cell,
};

const struct bench_row bench_row_direct_call = {
    .name = "direct_call",
    .unit = "ns",
    .floor = "bare OUT exit",
    .target_text = "p50 <= 1.1x, 1 exit and 0 allocations a call",
    .how = "aee_call_i64() of an empty function in AEE_CALL_DIRECT; floor: KVM_RUN of a CPL3 loop "
           "of OUT, raw ioctls",
    .target = {.p50_ratio = 1.1, .own = true},
    .run = run_direct_call,
    .in_cells = &direct_call_in_cell,
};
