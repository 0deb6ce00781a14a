/* crashes.c: what happens when an instance has crashed: it is told and counted, and the context
 * comes back or does not. */
#include "base/clock.h"
#include "isolation/context.h"
#include "isolation/lifecycle.h"
#include "isolation/restarts.h"
#include "isolation/retry.h"
#include "isolation/spares.h"

/* First wait before a restart that failed is tried again; doubles with each try. */
#define RETRY_NS UINT64_C(10000000)
/* How long a thread whose call has failed waits for others whose calls have, and for a restart that
 * somebody else has begun. */
#define SETTLE_NS UINT64_C(5000000)

static void quarantine(struct aee__context *context, uint64_t crash_id)
{
    (void)pthread_mutex_lock(&context->lock);
    aee__spares_drop(context);
    (void)pthread_mutex_unlock(&context->lock);
    aee__call_queue_flush(&context->queue, &context->core->batches, AEE_ERR_QUARANTINED);
    (void)atomic_fetch_add(&context->core->counters.quarantines, 1);
    aee__context_event(context, AEE_EVENT_QUARANTINED, crash_id,
                       "context \"%s\": in quarantine after %u crashes in %llu ms", context->name,
                       context->limits.never_restart ? 1 : context->limits.restarts + 1,
                       (unsigned long long)(context->limits.restart_window_ns / 1000000));
    aee__group_stops(context);
}

static bool has_answered(const struct aee__instance *instance)
{
    uint64_t calls = 0;
    for (uint32_t i = 0; i < atomic_load(&instance->lane_count); i++) {
        calls += atomic_load(&instance->lanes[i].calls);
    }
    return calls > 0;
}

/* A thread waits for the call that crashed: it comes to aee__context_settle(). */
static bool is_awaited(const struct aee__instance *instance, const aee_crash *crash)
{
    return atomic_load(&instance->lanes[crash->lane].awaited);
}

void aee__context_crashed(struct aee__context *context, struct aee__instance *instance,
                          aee_crash *crash)
{
    bool hung = crash->cause == AEE_CRASH_HUNG;
    if (aee__spares_crashed(context, instance, crash)) {
        return;
    }
    (void)pthread_mutex_lock(&context->lock);
    crash->id = context->crash.id + 1;
    context->crash = *crash;
    context->core->recovery->number(context, instance, crash->id);
    bool current = atomic_load(&context->current) == instance;
    enum aee__verdict verdict = AEE__VERDICT_RESTART;
    uint64_t wait_ns = 0;
    if (current) {
        uint64_t now = aee__now_ns();
        verdict = context->core->recovery->decide(&context->history, &context->limits, now);
        (void)aee__life_detach(context, verdict == AEE__VERDICT_RESTART ? AEE_STATE_RESTARTING
                                                                        : AEE_STATE_QUARANTINED);
        wait_ns = aee__restart_wait(context, now, 0);
        aee__group_falls(context);
    }
    bool restart = current && verdict == AEE__VERDICT_RESTART && !context->dying;
    bool keep = restart && !atomic_load(&instance->held) &&
                context->core->recovery->keeps_machine(context, instance, crash);
    if (current) {
        bool fruitless = instance->restored && !has_answered(instance);
        context->fruitless = fruitless ? context->fruitless + 1 : 0;
    }
    if (keep) {
        instance->kept = true;
        context->fallen = instance;
    }
    (void)pthread_mutex_unlock(&context->lock);
    (void)atomic_fetch_add(hung ? &context->stats.hangs : &context->stats.crashes, 1);
    (void)atomic_fetch_add(hung ? &context->core->counters.hangs : &context->core->counters.crashes,
                           1);
    aee__context_event(context, hung ? AEE_EVENT_HUNG : AEE_EVENT_CRASHED, crash->id, "%s",
                       crash->text);
    if (current) { /* before the restart: what was queued is not for the next instance */
        aee__retry_queue(context, hung ? AEE_ERR_HUNG : AEE_ERR_CRASHED);
    }
    if (restart) {
        aee__restart_schedule(context, wait_ns, hung || (keep && is_awaited(instance, crash)));
    } else if (current && verdict == AEE__VERDICT_QUARANTINE) {
        quarantine(context, crash->id);
    }
    if (keep) {
        return; /* the context's reference goes with the machine */
    }
    if (current && hung) { /* the context's reference; the caller has its own */
        aee__instance_release_quietly(instance);
    } else if (current) {
        aee__instance_release(instance);
    }
}

/* A restart that did not come about counts like a crash, so that the policy ends the tries. The
 * next one waits a little: what was missing may come back. */
static void restart_failed(struct aee__context *context, const aee_error *error)
{
    enum aee__verdict verdict = AEE__VERDICT_QUARANTINE;
    (void)pthread_mutex_lock(&context->lock);
    bool wanted = aee__restart_is_wanted(context);
    uint64_t crash_id = context->crash.id;
    uint32_t tries = context->history.count;
    uint64_t wait_ns = 0;
    if (wanted) {
        uint64_t now = aee__now_ns();
        verdict = context->core->recovery->decide(&context->history, &context->limits, now);
        wait_ns = aee__restart_wait(context, now, RETRY_NS << (tries < 4 ? tries : 4));
        if (verdict == AEE__VERDICT_QUARANTINE) {
            (void)aee__life_detach(context, AEE_STATE_QUARANTINED);
        }
    }
    (void)pthread_mutex_unlock(&context->lock);
    if (!wanted) {
        return;
    }
    aee__context_event(context, AEE_EVENT_RESTART_FAILED, crash_id, "%s", error->text);
    if (verdict == AEE__VERDICT_RESTART) {
        aee__restart_schedule(context, wait_ns, false);
    } else {
        quarantine(context, crash_id);
    }
}

static aee_result recover(struct aee__context *context, uint64_t deadline_ns, aee_error *error)
{
    char buffer[AEE_NAME_MAX + 64];
    enum aee__origin origin = context->core->recovery->origin(context);
    const char *how = origin == AEE__ORIGIN_IMAGE ? "from its image" : "from a checkpoint";
    how = aee__restart_how(context, how, buffer, sizeof buffer);
    return aee__life_replace(context, how, false, origin, deadline_ns, error);
}

static bool is_wanted(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    bool wanted = aee__restart_is_wanted(context);
    (void)pthread_mutex_unlock(&context->lock);
    return wanted;
}

static void restart_after_crash(struct aee__context *context)
{
    aee_error error = {0};
    aee_result result = aee__life_begin(context, "restart", &error);
    if (result == AEE_OK) {
        if (is_wanted(context)) {
            result = recover(context, aee__now_ns() + AEE__LEAVE_NS, &error);
        }
        aee__life_end(context);
    }
    if (result != AEE_OK) {
        restart_failed(context, &error);
    }
}

void aee__context_restart_job(struct aee__job *job)
{
    struct aee__context *context =
        (struct aee__context *)((char *)job - offsetof(struct aee__context, restart_job));
    struct aee__core *core = context->core;
    uint64_t handle = context->handle;
    if (!aee__restart_put_off(context)) {
        restart_after_crash(context);
    }
    aee__handles_release(&core->contexts, handle);
}

/* The operation, where nobody else has one and the machine is there for it. */
static bool begin_settling(struct aee__context *context, bool *kept)
{
    (void)pthread_mutex_lock(&context->lock);
    bool due = context->fallen && aee__restart_is_due(context);
    *kept = due || context->in_operation;
    bool begun = due && !context->in_operation && context->operations_waiting == 0;
    context->in_operation = context->in_operation || begun;
    (void)pthread_mutex_unlock(&context->lock);
    return begun;
}

/* The restarter's job finds nothing left to do. */
void aee__context_settle(struct aee__context *context)
{
    aee_result result = AEE_ERR_BUSY;
    bool kept = false;
    if (begin_settling(context, &kept)) {
        result = recover(context, aee__now_ns() + SETTLE_NS, NULL);
        aee__life_end(context);
    }
    if (result != AEE_OK) {
        aee__housekeeper_nudge(&context->core->restarter);
    }
    if (kept && result != AEE_OK) { /* somebody else is about to */
        (void)aee__context_wait_ready(context, SETTLE_NS, NULL);
    }
}
