/* lifecycle.c: how contexts come, go, crash and come back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/context.h"
#include "isolation/lifecycle.h"
#include "isolation/restarts.h"
#include "isolation/retry.h"
#include "isolation/shells.h"
#include "isolation/spares.h"

/* How long a life-cycle operation waits for the one before it, beside a call's budget. */
#define LIFE_PATIENCE_NS (10 * AEE__NS_PER_SECOND)

static struct timespec timespec_at(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / AEE__NS_PER_SECOND),
                             .tv_nsec = (long)(ns % AEE__NS_PER_SECOND)};
}

aee_result aee__context_create(struct aee__core *core, const struct aee__context_plan *plan,
                               struct aee__context **out, aee_error *error)
{
    *out = NULL;
    struct aee__context *context = aee__alloc_zero(&core->alloc, 1, sizeof *context);
    if (!context) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot create context \"%s\": out of memory",
                         plan->name);
    }
    context->core = core;
    context->kind = plan->kind;
    context->mode = plan->mode;
    context->user = plan->user;
    context->limits = plan->limits;
    atomic_init(&context->budget_ns, plan->limits.call_budget_ns);
    aee__rates_set(context, &plan->limits);
    context->restart_job.run = aee__context_restart_job;
    aee__restarts_init(context);
    aee__call_queue_init(&context->queue);
    aee__crash_keep_init(&context->keep);
    (void)snprintf(context->name, sizeof context->name, "%s", plan->name);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&context->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_mutex_init(&context->lock, NULL);
    aee__guest_clock_init(&context->clock);
    *out = context;
    return AEE_OK;
}

void aee__context_free(struct aee__context *context)
{
    context->core->recovery->forget(context);
    aee__template_end(context);
    aee__image_ref_release(context->image);
    if (atomic_load(&context->debugger)) {
        context->core->debug->free(context);
    }
    aee__shells_free(context);
    aee__call_queue_destroy(&context->queue);
    context->core->recovery->forget_files(context->core, context->keep.files);
    aee__crash_keep_destroy(&context->keep, &context->core->alloc);
    (void)pthread_mutex_destroy(&context->lock);
    aee__guest_clock_destroy(&context->clock);
    (void)pthread_cond_destroy(&context->changed);
    aee__alloc_free(&context->core->alloc, context, sizeof *context);
}

/* ---- Load, stop, restart ------------------------------------------------------------------ */

/* With the lock held: waits for the life-cycle operation under way. Not for ever: host functions
 * that initialisers call may wait for each other's contexts in a circle. */
static bool await_life(struct aee__context *context)
{
    struct timespec until =
        timespec_at(aee__now_ns() + LIFE_PATIENCE_NS + context->limits.call_budget_ns);
    while (context->in_operation) {
        if (pthread_cond_timedwait(&context->changed, &context->lock, &until) == ETIMEDOUT) {
            return !context->in_operation;
        }
    }
    return true;
}

aee_result aee__life_begin(struct aee__context *context, const char *operation, aee_error *error)
{
    if (aee__context_is_reentry(context)) {
        return aee__fail(error, AEE_ERR_BUSY,
                         "cannot %s context \"%s\" from a host function that it called", operation,
                         context->name);
    }
    (void)pthread_mutex_lock(&context->lock);
    context->operations_waiting++;
    bool mine = await_life(context);
    context->operations_waiting--;
    bool dying = context->dying;
    context->in_operation = context->in_operation || (mine && !dying);
    (void)pthread_mutex_unlock(&context->lock);
    if (!mine) {
        return aee__fail(error, AEE_ERR_BUSY,
                         "cannot %s context \"%s\": another operation on it does not end",
                         operation, context->name);
    }
    return dying
               ? aee__fail(error, AEE_ERR_STALE, "cannot %s context \"%s\": it is being destroyed",
                           operation, context->name)
               : AEE_OK;
}

bool aee__life_try(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    bool begun = !context->in_operation && context->operations_waiting == 0 && !context->dying;
    context->in_operation = context->in_operation || begun;
    (void)pthread_mutex_unlock(&context->lock);
    return begun;
}

void aee__life_end(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    context->in_operation = false;
    bool wanting = aee__spares_wanting(context);
    (void)pthread_cond_broadcast(&context->changed);
    (void)pthread_mutex_unlock(&context->lock);
    if (wanting) {
        aee__spares_want(context->core);
    }
}

static aee_result load_locked(struct aee__context *context, struct aee__image_ref *image,
                              struct aee__start *start, aee_error *error)
{
    struct aee__instance *instance;
    if (aee__context_calls_now(context) > 0) {
        return aee__fail(error, AEE_ERR_BUSY,
                         "cannot load into context \"%s\": calls are in flight", context->name);
    }
    aee_result result =
        aee__life_build(context, image, false, start ? AEE__ORIGIN_FROZEN : AEE__ORIGIN_IMAGE,
                        start, &instance, error);
    if (result != AEE_OK) {
        return result;
    }
    aee__life_drop_fallen(context);
    context->core->recovery->forget(context);
    (void)pthread_mutex_lock(&context->lock);
    if (aee__life_has_died(context, instance)) {
        (void)pthread_mutex_unlock(&context->lock);
        aee__life_discard(instance);
        return aee__fail(error, AEE_ERR_CRASHED,
                         "cannot load into context \"%s\": its machine has ended", context->name);
    }
    context->fruitless = 0;
    aee__spares_drop(context);
    struct aee__image_ref *old_image = context->image;
    context->image = aee__image_ref_take(image);
    context->image_epoch++;
    struct aee__instance *old = aee__life_make_current(context, instance);
    context->history.count = 0;
    aee__retry_forget(context);
    aee__rates_begin_total(context);
    (void)pthread_mutex_unlock(&context->lock);
    aee__life_end_current(context, old);
    aee__image_ref_release(old_image);
    aee__context_event(context, AEE_EVENT_LOADED, 0, "context \"%s\": %s", context->name,
                       start ? "forked" : "image loaded");
    return AEE_OK;
}

aee_result aee__context_load(struct aee__context *context, const void *bytes, size_t size,
                             aee_error *error)
{
    char what[AEE_NAME_MAX + 32];
    struct aee__image_ref *image;
    (void)snprintf(what, sizeof what, "image of context \"%s\"", context->name);
    aee_result result = aee__crash_keep_prepare(context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__image_ref_open(&context->core->kept_files, what, bytes, size, &image, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__life_begin(context, "load into", error);
    if (result == AEE_OK) {
        result = load_locked(context, image, NULL, error);
        aee__life_end(context);
    }
    aee__image_ref_release(image);
    return result == AEE_OK ? aee__ok(error) : result;
}

aee_result aee__context_begin_frozen(struct aee__context *context, struct aee__image_ref *image,
                                     struct aee__start *start, aee_error *error)
{
    aee_result result = aee__crash_keep_prepare(context, error);
    if (result == AEE_OK) {
        result = aee__life_begin(context, "fork into", error);
    }
    if (result == AEE_OK) {
        result = load_locked(context, image, start, error);
        aee__life_end(context);
    }
    return result;
}

struct aee__instance *aee__life_detach(struct aee__context *context, aee_state state)
{
    struct aee__instance *instance = atomic_load(&context->current);
    aee__template_outdate(context);
    atomic_store(&context->keeps_calls, state == AEE_STATE_RESTARTING && !context->dying);
    atomic_store(&context->current, NULL);
    context->state = state;
    aee__restart_settled(context);
    (void)pthread_cond_broadcast(&context->changed);
    return instance;
}

static aee_result begin_restart(struct aee__context *context, aee_error *error)
{
    aee_result result = aee__life_begin(context, "restart", error);
    if (result == AEE_OK && !context->image) { /* written within operations only */
        aee__life_end(context);
        return aee__fail(error, AEE_ERR_NOT_LOADED,
                         "cannot restart context \"%s\": no image is loaded", context->name);
    }
    return result;
}

aee_result aee__context_restart(struct aee__context *context, aee_error *error)
{
    aee_result result = begin_restart(context, error);
    if (result == AEE_OK) {
        result = aee__life_replace(context, "on request", true, AEE__ORIGIN_IMAGE, 0, error);
        aee__life_end(context);
    }
    return result == AEE_OK ? aee__ok(error) : result;
}

aee_result aee__life_revive(struct aee__context *context, const char *how, bool anew,
                            aee_error *error)
{
    bool declared = context->recovery.mode == AEE_CHECKPOINT_DECLARED;
    if (anew || declared) {
        aee__life_drop_fallen(context);
    }
    return aee__life_replace(context, how, true,
                             declared ? AEE__ORIGIN_DECLARED : AEE__ORIGIN_STATE,
                             aee__now_ns() + AEE__LEAVE_NS, error);
}

aee_result aee__context_revive(struct aee__context *context, uint32_t back, aee_error *error)
{
    aee_result result = begin_restart(context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = context->core->recovery->choose(context, back, error);
    if (result == AEE_OK) {
        result = aee__life_revive(context, "from a checkpoint, on request", false, error);
    }
    aee__life_end(context);
    return result == AEE_OK ? aee__ok(error) : result;
}

/* An initialiser that runs need not use up its budget before the operation gets its turn. */
static void stop_building(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    struct aee__instance *building = context->building;
    building = building && aee__instance_take(building) ? building : NULL;
    (void)pthread_mutex_unlock(&context->lock);
    if (building) {
        aee__instance_stop(building);
        aee__instance_release(building);
    }
}

aee_result aee__context_stop(struct aee__context *context, aee_error *error)
{
    if (!aee__context_is_reentry(context)) {
        stop_building(context);
    }
    aee_result result = aee__life_begin(context, "stop", error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&context->lock);
    bool loaded = context->state != AEE_STATE_CREATED;
    aee__spares_drop(context);
    struct aee__instance *instance = loaded ? aee__life_detach(context, AEE_STATE_STOPPED) : NULL;
    aee__group_changed(context);
    (void)pthread_mutex_unlock(&context->lock);
    aee__life_drop_fallen(context);
    aee__life_end_current(context, instance);
    aee__life_end(context);
    if (!loaded) {
        return aee__fail(error, AEE_ERR_NOT_LOADED,
                         "cannot stop context \"%s\": no image is loaded", context->name);
    }
    aee__context_event(context, AEE_EVENT_STOPPED, 0, "context \"%s\": stopped", context->name);
    return aee__ok(error);
}

aee_result aee__context_end(struct aee__context *context, aee_error *error)
{
    if (aee__housekeeper_is_self(&context->core->restarter)) {
        return aee__fail(error, AEE_ERR_BUSY,
                         "cannot destroy context \"%s\" from a host function that the initialiser "
                         "of a context under restart called",
                         context->name);
    }
    if (!aee__context_is_reentry(context)) {
        stop_building(context);
    }
    aee_result result = aee__life_begin(context, "destroy", error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&context->lock);
    context->dying = true; /* whoever waits for its turn finds it */
    aee__spares_drop(context);
    struct aee__instance *instance = aee__life_detach(context, AEE_STATE_STOPPED);
    aee__group_changed(context);
    (void)pthread_mutex_unlock(&context->lock);
    aee__life_drop_fallen(context);
    aee__housekeeper_hasten(&context->core->restarter, &context->restart_job);
    aee__life_end(context);
    aee__life_end_current(context, instance);
    if (atomic_load(&context->debugger)) {
        context->core->debug->close(context);
    }
    (void)pthread_mutex_lock(&context->lock);
    while (context->instances > 0) {
        (void)pthread_cond_wait(&context->changed, &context->lock);
    }
    (void)pthread_mutex_unlock(&context->lock);
    return AEE_OK;
}

/* ---- Pause and wait ----------------------------------------------------------------------- */

aee_result aee__context_pause(struct aee__context *context, bool paused, aee_error *error)
{
    const char *verb = paused ? "pause" : "resume";
    (void)pthread_mutex_lock(&context->lock);
    bool loaded = context->state != AEE_STATE_CREATED;
    bool change = loaded && context->paused != paused;
    if (change) {
        atomic_store(&context->paused, paused);
        (void)pthread_cond_broadcast(&context->changed);
    }
    (void)pthread_mutex_unlock(&context->lock);
    if (!loaded) {
        return aee__fail(error, AEE_ERR_NOT_LOADED, "cannot %s context \"%s\": no image is loaded",
                         verb, context->name);
    }
    if (!change) {
        return aee__fail(error, AEE_ERR_STATE, "cannot %s context \"%s\": it is %s", verb,
                         context->name, paused ? "paused already" : "not paused");
    }
    if (paused) {
        aee__call_queue_flush(&context->queue, &context->core->batches, AEE_ERR_PAUSED);
    }
    aee__context_event(context, paused ? AEE_EVENT_PAUSED : AEE_EVENT_RESUMED, 0,
                       "context \"%s\": %sd", context->name, verb);
    return aee__ok(error);
}

aee_result aee__context_wait_ready(struct aee__context *context, uint64_t timeout_ns,
                                   aee_error *error)
{
    uint64_t deadline;
    if (__builtin_add_overflow(aee__now_ns(), timeout_ns, &deadline) ||
        deadline / AEE__NS_PER_SECOND > INT32_MAX) {
        deadline = (uint64_t)INT32_MAX * AEE__NS_PER_SECOND;
    }
    struct timespec until = timespec_at(deadline);
    if (aee__housekeeper_is_self(&context->core->restarter)) {
        until = timespec_at(0); /* its restart would have to come from this very thread */
    }
    (void)pthread_mutex_lock(&context->lock);
    int status = 0;
    while (context->state == AEE_STATE_RESTARTING && !context->dying && status != ETIMEDOUT) {
        status = pthread_cond_timedwait(&context->changed, &context->lock, &until);
    }
    aee_state state = context->dying ? AEE_STATE_STOPPED : context->state;
    bool paused = context->paused;
    (void)pthread_mutex_unlock(&context->lock);
    switch (state) {
    case AEE_STATE_READY:
        return paused ? aee__fail(error, AEE_ERR_PAUSED, "context \"%s\" is paused", context->name)
                      : aee__ok(error);
    case AEE_STATE_CREATED:
        return aee__fail(error, AEE_ERR_NOT_LOADED, "no image is loaded into context \"%s\"",
                         context->name);
    case AEE_STATE_QUARANTINED:
        return aee__fail(error, AEE_ERR_QUARANTINED, "context \"%s\" is in quarantine",
                         context->name);
    case AEE_STATE_STOPPED:
        return aee__fail(error, AEE_ERR_STOPPED, "context \"%s\" is stopped", context->name);
    default:
        return aee__fail(error, AEE_ERR_TIMED_OUT, "context \"%s\" was not ready in time",
                         context->name);
    }
}
