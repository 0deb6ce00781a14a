/* scenario.h: one life of an engine with everything in it, for tests in which something fails on
 * the way. Each step either succeeds or ends the scenario with a code and a sentence; then the
 * engine is destroyed and nothing may be left. Include after cmocka.h and support.h. */
#ifndef AEE_TESTS_FAULTS_SCENARIO_H
#define AEE_TESTS_FAULTS_SCENARIO_H

#include "faults/support.h"

struct scenario {
    struct file compute;
    struct file crasher;
    struct ledger ledger;
    aee_engine *engine;
    aee_context worker;
    aee_context crasher_context;
    aee_region region;
    const char *step;  /* where it ended */
    const char *fault; /* what is wrong with how it ended, or NULL */
    aee_error error;
};

static inline aee_result scenario_nop(void *user, aee_host_call *call)
{
    (void)user;
    (void)call;
    return AEE_OK;
}

static inline const char *scenario_snapshot(void)
{
    static char path[64];
    (void)snprintf(path, sizeof path, "/tmp/aee-faults-%d", (int)getpid());
    return path;
}

/* Notes the step; checks the error. */
static inline aee_result scenario_note(struct scenario *s, const char *step, aee_result result)
{
    s->step = step;
    if (!s->fault) {
        s->fault = fault_of_error(result, &s->error);
    }
    return result;
}
#define STEP(call)                                       \
    do {                                                 \
        memset(&s->error, 0x55, sizeof s->error);        \
        aee_result step_result = (call);                 \
        if (scenario_note(s, #call, step_result) != 0) { \
            return step_result;                          \
        }                                                \
    } while (0)

static inline aee_result scenario_call(struct scenario *s, aee_context context, const char *name,
                                       int64_t argument, int64_t *value)
{
    aee_function function;
    STEP(aee_find_function(s->engine, context, name, &function, &s->error));
    memset(&s->error, 0x55, sizeof s->error);
    aee_result result = aee_call_i64(s->engine, context, function, &argument, 1, value, &s->error);
    return scenario_note(s, name, result);
}

/* The crasher is a group of its own, which waits a little. */
static inline aee_result scenario_supervise(struct scenario *s)
{
    aee_recovery_desc group = {.struct_size = sizeof group,
                               .supervision = AEE_SUPERVISE_ALL_FOR_ONE,
                               .backoff_ns = MS / 2};
    aee_recovery_desc member = {.struct_size = sizeof member, .supervisor = s->crasher_context};
    STEP(aee_set_recovery(s->engine, s->crasher_context, &group, &s->error));
    STEP(aee_set_recovery(s->engine, s->worker, &member, &s->error));
    return AEE_OK;
}

static inline aee_result scenario_create(struct scenario *s)
{
    aee_engine_desc desc = {.struct_size = sizeof desc,
                            .pool_size = 1,
                            .worker_threads = 1,
                            .alloc = ledger_alloc,
                            .alloc_user = &s->ledger};
    aee_context_desc ring = {
        .struct_size = sizeof ring,
        .name = "crasher",
        .call_mode = AEE_CALL_RING,
        .limits = {
            .lanes = 2, .call_budget_ns = 2000 * MS * scale(), .spares = 1, .huge_pages = 1}};
    aee_context_desc direct = {.struct_size = sizeof direct,
                               .name = "worker",
                               .call_mode = AEE_CALL_DIRECT,
                               .limits = {.call_budget_ns = 2000 * MS * scale()}};
    STEP(aee_engine_create(&desc, &s->engine, &s->error));
    STEP(aee_register_host_function(s->engine, "bench_nop", scenario_nop, NULL, &s->error));
    STEP(aee_context_create(s->engine, &direct, &s->worker, &s->error));
    STEP(aee_load(s->engine, s->worker, s->compute.bytes, s->compute.size, &s->error));
    STEP(aee_context_create(s->engine, &ring, &s->crasher_context, &s->error));
    STEP(aee_load_file(s->engine, s->crasher_context, AEE_COMPONENT_DIR "/mod_crasher.elf",
                       &s->error));
    return scenario_supervise(s);
}

/* Regions, host calls, more memory. */
static inline aee_result scenario_use(struct scenario *s)
{
    int64_t value = 0;
    aee_region_desc region = {.struct_size = sizeof region, .name = "world", .size_bytes = 8192};
    STEP(aee_grant_host_function(s->engine, s->worker, "bench_nop", &s->error));
    STEP(scenario_call(s, s->worker, "sha_run", 1, &value));
    STEP(scenario_call(s, s->worker, "bench_host_calls", 2, &value));
    STEP(aee_region_create(s->engine, &region, &s->region, &s->error));
    STEP(aee_region_map(s->engine, s->worker, s->region, AEE_ACCESS_READ, NULL, &s->error));
    STEP(aee_region_map(s->engine, s->worker, s->region, AEE_ACCESS_READ_WRITE, NULL, &s->error));
    STEP(scenario_call(s, s->worker, "sha_run", 1, &value));
    STEP(aee_region_transfer(s->engine, s->worker, s->crasher_context, s->region, NULL, &s->error));
    STEP(aee_allocate_isolated_memory(s->engine, s->worker, 32, &s->error));
    STEP(scenario_call(s, s->worker, "bench_touch", 20, &value));
    return AEE_OK;
}

/* A fork that is made ahead need not come: making it may be what fails. */
static inline void scenario_await_fork(struct scenario *s)
{
    aee_context_info info = {0};
    for (unsigned i = 0; i < 20 * scale(); i++) {
        if (aee_get_context_info(s->engine, s->crasher_context, &info, NULL) != AEE_OK ||
            info.forks_ready > 0) {
            return;
        }
        sleep_ns(MS);
    }
}

/* State that is kept, goes back, and begins other contexts; a restart in place. */
static inline aee_result scenario_keep(struct scenario *s)
{
    int64_t value = 0;
    aee_context fork;
    aee_context second;
    const aee_recovery_desc recovery = {
        .struct_size = sizeof recovery, .history = 2, .restart = AEE_RESTART_CHECKPOINT};
    STEP(aee_set_recovery(s->engine, s->crasher_context, &recovery, &s->error));
    for (int64_t frame = 1; frame < 3; frame++) {
        STEP(scenario_call(s, s->crasher_context, "mod_tick", frame, &value));
        STEP(aee_checkpoint(s->engine, s->crasher_context, &s->error));
    }
    STEP(aee_restore(s->engine, s->crasher_context, 1, &s->error));
    STEP(aee_fork(s->engine, s->crasher_context, NULL, &fork, &s->error));
    STEP(scenario_call(s, fork, "mod_tick", 3, &value));
    STEP(aee_checkpoint(s->engine, fork, &s->error));
    scenario_await_fork(s);
    STEP(aee_fork(s->engine, s->crasher_context, NULL, &second, &s->error));
    STEP(scenario_call(s, second, "mod_tick", 3, &value));
    STEP(aee_destroy(s->engine, second, &s->error));
    return aee_destroy(s->engine, fork, &s->error);
}

/* A crash, its restart, restarts by hand. */
static inline aee_result scenario_crash(struct scenario *s)
{
    int64_t value = 0;
    for (int64_t frame = 1; frame < 3; frame++) {
        STEP(scenario_call(s, s->crasher_context, "mod_arm", frame, &value));
        aee_result result = scenario_call(s, s->crasher_context, "mod_tick", frame, &value);
        if (result != AEE_ERR_CRASHED) {
            return result == AEE_OK ? AEE_ERR_COMPONENT : result;
        }
        STEP(aee_wait_ready(s->engine, s->crasher_context, 20000 * MS * scale(), &s->error));
        STEP(scenario_call(s, s->crasher_context, "mod_tick", 9, &value));
    }
    STEP(aee_region_unmap(s->engine, s->crasher_context, s->region, &s->error));
    STEP(aee_wait_ready(s->engine, s->worker, 20000 * MS * scale(), &s->error)); /* of the group */
    STEP(aee_snapshot_save(s->engine, s->worker, scenario_snapshot(), &s->error));
    STEP(aee_snapshot_load(s->engine, s->worker, scenario_snapshot(), &s->error));
    STEP(aee_restart(s->engine, s->worker, &s->error));
    STEP(scenario_call(s, s->worker, "bench_touch", 20, &value));
    STEP(aee_stop(s->engine, s->worker, &s->error));
    STEP(aee_restart(s->engine, s->worker, &s->error));
    STEP(aee_destroy(s->engine, s->worker, &s->error));
    STEP(aee_region_destroy(s->engine, s->region, &s->error));
    return AEE_OK;
}

static inline void *scenario_destroy(void *engine)
{
    aee_engine_destroy(engine);
    return NULL;
}

/* Runs it all; the engine is gone afterwards. Ends the process should that hang. */
static inline aee_result scenario_run(struct scenario *s)
{
    pthread_t thread;
    struct file compute = s->compute;
    struct ledger ledger = {.fail_at = s->ledger.fail_at, .fail_on = s->ledger.fail_on};
    memset(s, 0, sizeof *s);
    s->compute = compute;
    s->ledger = ledger;
    aee_result result = scenario_create(s);
    result = result == AEE_OK ? scenario_use(s) : result;
    result = result == AEE_OK ? scenario_keep(s) : result;
    result = result == AEE_OK ? scenario_crash(s) : result;
    (void)unlink(scenario_snapshot());
    if (pthread_create(&thread, NULL, scenario_destroy, s->engine) != 0 ||
        !join_within(thread, 20000 * MS)) {
        (void)printf("aee_engine_destroy() does not come back after \"%s\"\n", s->step);
        (void)fflush(stdout);
        _exit(1);
    }
    return result;
}

/* What is left or wrong after a run, or NULL. */
static inline const char *scenario_fault(const struct scenario *s, const struct resources *before)
{
    struct resources now;
    if (s->fault) {
        return s->fault;
    }
    if (s->ledger.live != 0) {
        return "memory is left";
    }
    if (s->ledger.wrong != 0) {
        return "memory was given back with a wrong size";
    }
    return back_to(before, &now) ? NULL : "descriptors, threads or mappings are left";
}

#endif
