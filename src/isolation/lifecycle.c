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
#include "isolation/succession.h"

/* How long a life-cycle operation waits for the one before it, beside a call's budget. */
#define LIFE_PATIENCE_NS (10 * AEE__NS_PER_SECOND)
/* First wait before a restart that failed is tried again; doubles with each try. */
#define RETRY_NS UINT64_C(10000000)
/* How long the restarter waits for the threads of calls that ended with the instance. */
#define LEAVE_NS (AEE__NS_PER_SECOND / 10)
/* How long a thread whose call has failed waits for a restart that others have begun. */
#define SETTLE_NS UINT64_C(5000000)

static void restart_job(struct aee__job *job);

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
    context->restart_job.run = restart_job;
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
    aee__frozen_release(context->template);
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

/* ---- Building an instance ----------------------------------------------------------------- */

/* With the lock held: gives the new instance the regions of the context, and makes it known to
 * whoever wants to end it. */
static aee_result adopt(struct aee__context *context, struct aee__instance *instance,
                        aee_error *error)
{
    for (uint32_t i = 0; i < context->mapping_count; i++) {
        const struct aee__mapping *mapping = &context->mappings[i];
        aee_result result =
            aee__window_map(&instance->window, mapping->region, mapping->writable, error);
        if (result != AEE_OK) {
            return result;
        }
    }
    context->building = instance;
    return context->dying
               ? aee__fail(error, AEE_ERR_STALE, "context \"%s\" is being destroyed", context->name)
               : AEE_OK;
}

/* What the instance begins with is there, or will not be: its lanes are given free. */
static void finish_building(struct aee__context *context, struct aee__instance **instance,
                            aee_result result)
{
    /* Only now: making a machine stops every page fault of the process for as long (mmu_notifier
     * registration takes all of its locks). */
    aee__housekeeper_poke(&context->core->housekeeper);
    if (result != AEE_OK) {
        (void)pthread_mutex_lock(&context->lock);
        context->building = NULL;
        (void)pthread_mutex_unlock(&context->lock);
        aee__instance_stop(*instance);
    }
    aee__instance_open(*instance);
    if (result != AEE_OK) {
        aee__instance_release(*instance);
        *instance = NULL;
    }
}

static aee_result begin_with(struct aee__context *context, struct aee__instance *instance,
                             enum aee__origin origin, uint64_t budget_ns, aee_error *error)
{
    aee_result result = AEE_OK;
    bool initialise = origin == AEE__ORIGIN_IMAGE || origin == AEE__ORIGIN_DECLARED;
    if (initialise && instance->image->image->entry != 0) {
        result = aee__context_call_initialiser(context, instance, budget_ns, error);
    }
    if (result == AEE_OK && (origin == AEE__ORIGIN_STATE || origin == AEE__ORIGIN_DECLARED)) {
        instance->restored = true;
        result = context->core->recovery->restore(context, instance, false, error);
    }
    return result;
}

aee_result aee__life_build(struct aee__context *context, struct aee__image_ref *image, bool spare,
                           enum aee__origin origin, struct aee__frozen *frozen,
                           struct aee__instance **out, aee_error *error)
{
    (void)pthread_mutex_lock(&context->lock);
    aee_limits limits = context->limits;
    (void)pthread_mutex_unlock(&context->lock);
    aee_result result =
        aee__instance_create(context->core, context, image, &limits, frozen, out, error);
    if (result != AEE_OK) {
        aee__housekeeper_poke(&context->core->housekeeper); /* it may have taken a machine */
        return result;
    }
    (*out)->spare = spare;
    (void)pthread_mutex_lock(&context->lock);
    (*out)->next = context->living;
    context->living = *out;
    result = adopt(context, *out, error);
    (void)pthread_mutex_unlock(&context->lock);
    if (atomic_load(&context->debugger)) {
        context->core->debug->born(*out);
    }
    if (result == AEE_OK) {
        result = begin_with(context, *out, origin, limits.call_budget_ns, error);
    }
    finish_building(context, out, result);
    return result;
}

/* The same with the machine of the instance that has crashed. */
static aee_result build_in_place(struct aee__context *context, struct aee__instance *fallen,
                                 uint64_t deadline_ns, struct aee__instance **out)
{
    aee_result result = aee__instance_succeed(fallen, deadline_ns, out);
    if (!*out) {
        return result;
    }
    if (atomic_load(&context->debugger)) {
        context->core->debug->born(*out);
    }
    if (result == AEE_OK) {
        (*out)->restored = true;
        result = context->core->recovery->restore(context, *out, true, NULL);
    }
    /* A call that waits for a lane of the one that crashed may look at this one's object. */
    if (result != AEE_OK && aee__instance_claim_end(*out)) {
        aee__instance_conclude(*out, AEE__END_CRASHED);
    }
    finish_building(context, out, result);
    return result;
}

/* The instance whose machine is there for the next, with the context's reference to it, or NULL. */
static struct aee__instance *take_fallen(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    struct aee__instance *fallen = context->fallen;
    context->fallen = NULL;
    (void)pthread_mutex_unlock(&context->lock);
    return fallen;
}

static void drop_fallen(struct aee__context *context)
{
    struct aee__instance *fallen = take_fallen(context);
    if (fallen) {
        aee__instance_release_quietly(fallen);
    }
}

/* With the lock held: the built instance takes calls from now on. Returns the old one, to be
 * stopped and released without the lock. */
static struct aee__instance *make_current(struct aee__context *context,
                                          struct aee__instance *instance)
{
    struct aee__instance *old = atomic_load(&context->current);
    instance->epoch = context->image_epoch;
    atomic_store(&context->current, instance);
    context->building = NULL;
    context->state = AEE_STATE_READY;
    atomic_store(&context->keeps_calls, true);
    aee__restart_settled(context);
    aee__group_changed(context);
    (void)pthread_cond_broadcast(&context->changed);
    (void)atomic_fetch_add(&context->lanes_freed, 1); /* who waits for a lane finds new ones */
    aee__sys_futex_wake_all(&context->lanes_freed);
    return old;
}

/* The same after a restart, which is counted and told before anybody can see the context ready. */
static struct aee__instance *make_restarted(struct aee__context *context,
                                            struct aee__instance *instance, const char *how)
{
    (void)atomic_fetch_add(&context->stats.restarts, 1);
    (void)atomic_fetch_add(&context->core->counters.restarts, 1);
    aee__context_event(context, AEE_EVENT_RESTARTED, context->crash.id,
                       "context \"%s\": restarted %s", context->name, how);
    return make_current(context, instance);
}

/* Without the lock: ends an instance that was current, and what was queued for it. */
static void end_current(struct aee__context *context, struct aee__instance *instance)
{
    if (instance || !atomic_load(&context->keeps_calls)) {
        aee__call_queue_flush(&context->queue, &context->core->batches, AEE_ERR_STOPPED);
    }
    aee__life_discard(instance);
}

void aee__life_discard(struct aee__instance *instance)
{
    if (instance) {
        aee__instance_stop(instance);
        aee__instance_release(instance);
    }
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
                              struct aee__frozen *frozen, aee_error *error)
{
    struct aee__instance *instance;
    if (aee__context_calls_now(context) > 0) {
        return aee__fail(error, AEE_ERR_BUSY,
                         "cannot load into context \"%s\": calls are in flight", context->name);
    }
    aee_result result =
        aee__life_build(context, image, false, frozen ? AEE__ORIGIN_FROZEN : AEE__ORIGIN_IMAGE,
                        frozen, &instance, error);
    if (result != AEE_OK) {
        return result;
    }
    drop_fallen(context);
    context->core->recovery->forget(context);
    (void)pthread_mutex_lock(&context->lock);
    context->fruitless = 0;
    aee__spares_drop(context);
    struct aee__image_ref *old_image = context->image;
    context->image = aee__image_ref_take(image);
    context->image_epoch++;
    struct aee__instance *old = make_current(context, instance);
    context->history.count = 0;
    aee__retry_forget(context);
    aee__rates_begin_total(context);
    (void)pthread_mutex_unlock(&context->lock);
    end_current(context, old);
    aee__image_ref_release(old_image);
    aee__context_event(context, AEE_EVENT_LOADED, 0, "context \"%s\": %s", context->name,
                       frozen ? "forked" : "image loaded");
    return AEE_OK;
}

aee_result aee__context_load(struct aee__context *context, const void *bytes, size_t size,
                             aee_error *error)
{
    char what[AEE_NAME_MAX + 32];
    struct aee__image *image;
    (void)snprintf(what, sizeof what, "image of context \"%s\"", context->name);
    aee_result result = aee__crash_keep_prepare(context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__image_parse(&context->core->alloc, what, bytes, size, &image, error);
    if (result != AEE_OK) {
        return result;
    }
    struct aee__image_ref *reference = aee__image_ref_create(context->core, image, bytes, size);
    if (!reference) {
        aee__image_destroy(image);
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot load into context \"%s\"",
                         context->name);
    }
    result = aee__life_begin(context, "load into", error);
    if (result == AEE_OK) {
        result = load_locked(context, reference, NULL, error);
        aee__life_end(context);
    }
    aee__image_ref_release(reference);
    return result == AEE_OK ? aee__ok(error) : result;
}

aee_result aee__context_begin_frozen(struct aee__context *context, struct aee__image_ref *image,
                                     struct aee__frozen *frozen, aee_error *error)
{
    aee_result result = aee__crash_keep_prepare(context, error);
    if (result == AEE_OK) {
        result = aee__life_begin(context, "fork into", error);
    }
    if (result == AEE_OK) {
        result = load_locked(context, image, frozen, error);
        aee__life_end(context);
    }
    return result;
}

struct aee__instance *aee__life_detach(struct aee__context *context, aee_state state)
{
    struct aee__instance *instance = atomic_load(&context->current);
    atomic_store(&context->keeps_calls, state == AEE_STATE_RESTARTING && !context->dying);
    atomic_store(&context->current, NULL);
    context->state = state;
    aee__restart_settled(context);
    (void)pthread_cond_broadcast(&context->changed);
    return instance;
}

/* In an operation: an instance that begins as the last one did: a spare, or a new one. */
static aee_result get_from_image(struct aee__context *context, struct aee__instance **out,
                                 aee_error *error)
{
    drop_fallen(context);
    (void)pthread_mutex_lock(&context->lock);
    *out = aee__spares_take(context);
    (void)pthread_mutex_unlock(&context->lock);
    return *out ? AEE_OK
                : aee__life_build(context, context->image, false, AEE__ORIGIN_IMAGE, NULL, out,
                                  error);
}

/* In an operation: an instance with the state of a checkpoint. */
static aee_result get_from_state(struct aee__context *context, enum aee__origin origin,
                                 uint64_t deadline_ns, struct aee__instance **out, aee_error *error)
{
    struct aee__instance *fallen = take_fallen(context);
    *out = NULL;
    if (fallen) {
        (void)build_in_place(context, fallen, deadline_ns, out);
        aee__instance_release_quietly(fallen);
    }
    return *out ? AEE_OK
                : aee__life_build(context, context->image, false, origin, NULL, out, error);
}

/* In an operation: another instance becomes current. `forgive`: somebody asked for it. */
static aee_result replace(struct aee__context *context, const char *how, bool forgive,
                          enum aee__origin origin, uint64_t deadline_ns, aee_error *error)
{
    struct aee__instance *instance;
    aee_result result = origin == AEE__ORIGIN_IMAGE
                            ? get_from_image(context, &instance, error)
                            : get_from_state(context, origin, deadline_ns, &instance, error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&context->lock);
    if (forgive) {
        context->history.count = 0;
        context->fruitless = 0;
        aee__rates_begin_total(context);
    }
    struct aee__instance *old = make_restarted(context, instance, how);
    (void)pthread_mutex_unlock(&context->lock);
    end_current(context, old);
    aee__retry_resume(context);
    return AEE_OK;
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
        result = replace(context, "on request", true, AEE__ORIGIN_IMAGE, 0, error);
        aee__life_end(context);
    }
    return result == AEE_OK ? aee__ok(error) : result;
}

aee_result aee__context_revive(struct aee__context *context, uint32_t back, aee_error *error)
{
    aee_result result = begin_restart(context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = context->core->recovery->choose(context, back, error);
    if (result == AEE_OK) {
        result = replace(context, "from a checkpoint, on request", true, AEE__ORIGIN_STATE,
                         aee__now_ns() + LEAVE_NS, error);
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
    drop_fallen(context);
    end_current(context, instance);
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
    drop_fallen(context);
    aee__housekeeper_hasten(&context->core->restarter, &context->restart_job);
    aee__life_end(context);
    end_current(context, instance);
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

/* ---- Crashes ------------------------------------------------------------------------------ */

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
                context->core->recovery->keeps_machine(context, crash);
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
    return replace(context, how, false, origin, deadline_ns, error);
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
            result = recover(context, aee__now_ns() + LEAVE_NS, &error);
        }
        aee__life_end(context);
    }
    if (result != AEE_OK) {
        restart_failed(context, &error);
    }
}

static void restart_job(struct aee__job *job)
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
        result = recover(context, 0, NULL);
        aee__life_end(context);
    }
    if (result != AEE_OK) {
        aee__housekeeper_nudge(&context->core->restarter);
    }
    if (kept && result != AEE_OK) { /* somebody else is about to */
        (void)aee__context_wait_ready(context, SETTLE_NS, NULL);
    }
}
