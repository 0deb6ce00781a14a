/* info.c: what the engine and the machine tell about themselves. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/levels.h"

aee_result aee_get_context_info(aee_engine *engine, aee_context handle, aee_context_info *info,
                                aee_error *error)
{
    struct aee__context *context;
    if (!info) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot get a context's information: info is NULL");
    }
    aee_result result =
        aee__engine_enter(engine, handle, "get a context's information", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    aee__context_get_info(context, info);
    aee__engine_leave(context);
    return aee__ok(error);
}

aee_result aee_last_crash(aee_engine *engine, aee_context handle, aee_crash *crash,
                          aee_error *error)
{
    struct aee__context *context;
    if (!crash) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot get a context's crash: crash is NULL");
    }
    aee_result result = aee__engine_enter(engine, handle, "get a context's crash", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__context_get_crash(context, crash, error);
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}

static void count_context(void *user, uint64_t handle, void *object)
{
    aee_stats *stats = user;
    (void)handle;
    aee__context_add_counts(object, stats);
    stats->total_contexts++;
    stats->active_contexts += aee__context_state(object) == AEE_STATE_READY;
}

static void count_region(void *user, uint64_t handle, void *object)
{
    (void)handle;
    (void)object;
    ((aee_stats *)user)->regions++;
}

aee_result aee_get_stats(aee_engine *engine, aee_stats *stats, aee_error *error)
{
    if (!stats) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot get statistics: stats is NULL");
    }
    aee_result result = aee__engine_check(engine, "get statistics", error);
    if (result != AEE_OK) {
        return result;
    }
    struct aee__core *core = &engine->core;
    *stats = (aee_stats){.use_vt_x = core->ops->hardware(core->backend),
                         .use_ept = core->ops->nested_paging(core->backend),
                         .level = core->ops->level,
                         .region_bytes = atomic_load(&engine->region_bytes),
                         .pool_ready = aee__pool_ready(&core->pool),
                         .calls = atomic_load(&core->counters.calls),
                         .host_calls = atomic_load(&core->counters.host_calls),
                         .crashes = atomic_load(&core->counters.crashes),
                         .hangs = atomic_load(&core->counters.hangs),
                         .restarts = atomic_load(&core->counters.restarts),
                         .quarantines = atomic_load(&core->counters.quarantines),
                         .frames = atomic_load(&core->counters.frames),
                         .late_frames = atomic_load(&core->counters.late_frames),
                         .events_lost = aee__events_lost(&core->events)};
    aee__handles_each(&core->contexts, count_context, stats);
    aee__handles_each(&engine->regions, count_region, stats);
    return aee__ok(error);
}

/* Tried out like the rest. An engine without a jail does without it. */
static void add_jail_fact(aee_probe_report *report)
{
    struct aee__jail jail;
    aee_error why = {0};
    if (report->fact_count == AEE_FACTS_MAX) {
        return;
    }
    aee_result result =
        aee__jail_create(&jail, &aee__alloc_default, AEE_JAIL_ON, SIGRTMAX - 1, NULL, 0, &why);
    if (result == AEE_OK) {
        result = aee__jail_try(&jail, &why);
        aee__jail_destroy(&jail);
    }
    aee_fact *fact = &report->facts[report->fact_count++];
    (void)snprintf(fact->name, sizeof fact->name, "seccomp.jail");
    (void)snprintf(fact->value, sizeof fact->value, "%s", result == AEE_OK ? "yes" : "no");
    (void)snprintf(fact->how, sizeof fact->how, "%.127s",
                   result == AEE_OK ? "open() failed with EPERM in a jailed thread" : why.text);
    fact->usable = 1;
}

aee_result aee_probe(aee_probe_report *report, aee_error *error)
{
    if (!report) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot probe: report is NULL");
    }
    struct aee__wish wish = {.level = AEE_LEVEL_AUTO};
    memset(report, 0, sizeof *report);
    aee_result result = aee__wish_read(&wish, error);
    if (result == AEE_OK) {
        result = aee__levels_probe(&wish, report, error);
    }
    if (result == AEE_OK) {
        add_jail_fact(report);
    }
    return result;
}
