/* lifecycle.c: how contexts come, go, crash and come back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "isolation/context.h"

static void restart_job(struct aee__job *job);

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
    context->restart_job.run = restart_job;
    (void)snprintf(context->name, sizeof context->name, "%s", plan->name);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&context->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_mutex_init(&context->life, NULL);
    (void)pthread_mutex_init(&context->lock, NULL);
    *out = context;
    return AEE_OK;
}

void aee__context_free(struct aee__context *context)
{
    aee__image_ref_release(context->image);
    (void)pthread_mutex_destroy(&context->lock);
    (void)pthread_mutex_destroy(&context->life);
    (void)pthread_cond_destroy(&context->changed);
    aee__alloc_free(&context->core->alloc, context, sizeof *context);
}

/* ---- Building an instance ----------------------------------------------------------------- */

/* With the lock held: gives the new instance the regions of the context. */
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
    return AEE_OK;
}

static aee_result run_initialiser(struct aee__context *context, struct aee__instance *instance,
                                  uint64_t budget_ns, aee_error *error)
{
    uint64_t entry = instance->image->image->entry;
    struct aee__call call = {.request = {.function = entry},
                             .export_index = -1,
                             .budget_ns = budget_ns,
                             .mode = AEE_CALL_DIRECT};
    return entry ? aee__context_call_instance(context, instance, &call, error) : AEE_OK;
}

/* With `life` held: makes an instance of `image` that is ready to become current. */
static aee_result build(struct aee__context *context, struct aee__image_ref *image,
                        struct aee__instance **out, aee_error *error)
{
    (void)pthread_mutex_lock(&context->lock);
    aee_limits limits = context->limits;
    (void)pthread_mutex_unlock(&context->lock);
    aee_result result = aee__instance_create(context->core, context, image, &limits, out, error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&context->lock);
    context->instances++;
    result = adopt(context, *out, error);
    (void)pthread_mutex_unlock(&context->lock);
    if (result == AEE_OK) {
        result = run_initialiser(context, *out, limits.call_budget_ns, error);
    }
    if (result != AEE_OK) {
        (void)pthread_mutex_lock(&context->lock);
        context->building = NULL;
        (void)pthread_mutex_unlock(&context->lock);
        aee__instance_stop(*out);
        aee__instance_release(*out);
        *out = NULL;
    }
    return result;
}

/* With the lock held: the built instance takes calls from now on. Returns the old one, to be
 * stopped and released without the lock. */
static struct aee__instance *make_current(struct aee__context *context,
                                          struct aee__instance *instance)
{
    struct aee__instance *old = context->instance;
    context->instance = instance;
    context->building = NULL;
    context->state = AEE_STATE_READY;
    (void)pthread_cond_broadcast(&context->changed);
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

static void discard(struct aee__instance *instance)
{
    if (instance) {
        aee__instance_stop(instance);
        aee__instance_release(instance);
    }
}

void aee__context_instance_gone(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    context->instances--;
    (void)pthread_cond_broadcast(&context->changed);
    (void)pthread_mutex_unlock(&context->lock);
}

/* ---- Load, stop, restart ------------------------------------------------------------------ */

static aee_result refuse_reentry(struct aee__context *context, const char *operation,
                                 aee_error *error)
{
    if (aee__context_is_reentry(context) || aee__housekeeper_is_self(&context->core->housekeeper)) {
        return aee__fail(error, AEE_ERR_BUSY,
                         "cannot %s context \"%s\" from a host function that it called", operation,
                         context->name);
    }
    return AEE_OK;
}

static aee_result load_locked(struct aee__context *context, struct aee__image_ref *image,
                              aee_error *error)
{
    struct aee__instance *instance;
    (void)pthread_mutex_lock(&context->lock);
    bool busy = context->instance && atomic_load(&context->instance->calls) > 0;
    (void)pthread_mutex_unlock(&context->lock);
    if (busy) {
        return aee__fail(error, AEE_ERR_BUSY,
                         "cannot load into context \"%s\": calls are in flight", context->name);
    }
    aee_result result = build(context, image, &instance, error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&context->lock);
    struct aee__instance *old = make_current(context, instance);
    struct aee__image_ref *old_image = context->image;
    context->image = aee__image_ref_take(image);
    context->image_epoch++;
    context->history.count = 0;
    (void)pthread_mutex_unlock(&context->lock);
    discard(old);
    aee__image_ref_release(old_image);
    aee__context_event(context, AEE_EVENT_LOADED, 0, "context \"%s\": image loaded", context->name);
    return AEE_OK;
}

aee_result aee__context_load(struct aee__context *context, const void *bytes, size_t size,
                             aee_error *error)
{
    char what[AEE_NAME_MAX + 32];
    struct aee__image *image;
    (void)snprintf(what, sizeof what, "image of context \"%s\"", context->name);
    aee_result result = refuse_reentry(context, "load into", error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__image_parse(&context->core->alloc, what, bytes, size, &image, error);
    if (result != AEE_OK) {
        return result;
    }
    struct aee__image_ref *reference = aee__image_ref_create(&context->core->alloc, image);
    if (!reference) {
        aee__image_destroy(image);
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot load into context \"%s\"",
                         context->name);
    }
    (void)pthread_mutex_lock(&context->life);
    result = load_locked(context, reference, error);
    (void)pthread_mutex_unlock(&context->life);
    aee__image_ref_release(reference);
    return result == AEE_OK ? aee__ok(error) : result;
}

/* With the lock held: takes the current instance away. */
static struct aee__instance *detach(struct aee__context *context, aee_state state)
{
    struct aee__instance *instance = context->instance;
    context->instance = NULL;
    context->state = state;
    (void)pthread_cond_broadcast(&context->changed);
    return instance;
}

aee_result aee__context_restart(struct aee__context *context, aee_error *error)
{
    struct aee__instance *instance;
    aee_result result = refuse_reentry(context, "restart", error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&context->life);
    if (!context->image) { /* written under `life` only */
        (void)pthread_mutex_unlock(&context->life);
        return aee__fail(error, AEE_ERR_NOT_LOADED,
                         "cannot restart context \"%s\": no image is loaded", context->name);
    }
    result = build(context, context->image, &instance, error);
    if (result == AEE_OK) {
        (void)pthread_mutex_lock(&context->lock);
        context->history.count = 0;
        struct aee__instance *old = make_restarted(context, instance, "on request");
        (void)pthread_mutex_unlock(&context->lock);
        discard(old);
    }
    (void)pthread_mutex_unlock(&context->life);
    return result == AEE_OK ? aee__ok(error) : result;
}

aee_result aee__context_stop(struct aee__context *context, aee_error *error)
{
    aee_result result = refuse_reentry(context, "stop", error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&context->life);
    (void)pthread_mutex_lock(&context->lock);
    bool loaded = context->state != AEE_STATE_CREATED;
    struct aee__instance *instance = loaded ? detach(context, AEE_STATE_STOPPED) : NULL;
    (void)pthread_mutex_unlock(&context->lock);
    discard(instance);
    (void)pthread_mutex_unlock(&context->life);
    if (!loaded) {
        return aee__fail(error, AEE_ERR_NOT_LOADED,
                         "cannot stop context \"%s\": no image is loaded", context->name);
    }
    aee__context_event(context, AEE_EVENT_STOPPED, 0, "context \"%s\": stopped", context->name);
    return aee__ok(error);
}

aee_result aee__context_end(struct aee__context *context, aee_error *error)
{
    aee_result result = refuse_reentry(context, "destroy", error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&context->lock);
    context->dying = true;
    struct aee__instance *building = context->building;
    if (building) { /* an initialiser need not use up its budget */
        aee__instance_stop(building);
    }
    (void)pthread_mutex_unlock(&context->lock);
    (void)pthread_mutex_lock(&context->life);
    (void)pthread_mutex_lock(&context->lock);
    struct aee__instance *instance = detach(context, AEE_STATE_STOPPED);
    (void)pthread_mutex_unlock(&context->lock);
    discard(instance);
    (void)pthread_mutex_unlock(&context->life);
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
        context->paused = paused;
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
    struct timespec until = {.tv_sec = (time_t)(deadline / AEE__NS_PER_SECOND),
                             .tv_nsec = (long)(deadline % AEE__NS_PER_SECOND)};
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

/* ---- Limits ------------------------------------------------------------------------------- */

aee_result aee__context_set_limits(struct aee__context *context, const aee_limits *limits,
                                   aee_error *error)
{
    aee_result result = refuse_reentry(context, "change the limits of", error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&context->life); /* no instance is being built from the old ones */
    (void)pthread_mutex_lock(&context->lock);
    if (limits->memory_bytes < context->limits.memory_bytes) {
        result =
            aee__fail(error, AEE_ERR_STATE,
                      "cannot give context \"%s\" %llu MiB: it has %llu MiB, and memory only grows",
                      context->name, (unsigned long long)(limits->memory_bytes >> 20),
                      (unsigned long long)(context->limits.memory_bytes >> 20));
    } else if (limits->memory_bytes > context->limits.memory_bytes && context->instance) {
        result = aee__instance_grow_heap(context->instance, limits->memory_bytes, error);
    }
    if (result == AEE_OK) {
        context->limits = *limits;
    }
    (void)pthread_mutex_unlock(&context->lock);
    (void)pthread_mutex_unlock(&context->life);
    return result;
}

/* ---- Crashes ------------------------------------------------------------------------------ */

/* Posts the restart; the job holds a reference to the handle until it has run. */
static void schedule_restart(struct aee__context *context)
{
    aee__handles_ref(&context->core->contexts, context->handle);
    aee__housekeeper_post(&context->core->housekeeper, &context->restart_job);
}

static void quarantine(struct aee__context *context, uint64_t crash_id)
{
    (void)atomic_fetch_add(&context->core->counters.quarantines, 1);
    aee__context_event(context, AEE_EVENT_QUARANTINED, crash_id,
                       "context \"%s\": in quarantine after %u crashes in %llu ms", context->name,
                       context->limits.never_restart ? 1 : context->limits.restarts + 1,
                       (unsigned long long)(context->limits.restart_window_ns / 1000000));
}

void aee__context_crashed(struct aee__context *context, struct aee__instance *instance,
                          aee_crash *crash)
{
    bool hung = crash->cause == AEE_CRASH_HUNG;
    (void)pthread_mutex_lock(&context->lock);
    crash->id = context->crash.id + 1;
    context->crash = *crash;
    bool current = context->instance == instance;
    enum aee__verdict verdict = AEE__VERDICT_RESTART;
    if (current) {
        verdict =
            context->core->recovery->decide(&context->history, &context->limits, aee__now_ns());
        (void)detach(context, verdict == AEE__VERDICT_RESTART ? AEE_STATE_RESTARTING
                                                              : AEE_STATE_QUARANTINED);
    }
    bool restart = current && verdict == AEE__VERDICT_RESTART && !context->dying;
    (void)pthread_mutex_unlock(&context->lock);
    (void)atomic_fetch_add(hung ? &context->stats.hangs : &context->stats.crashes, 1);
    (void)atomic_fetch_add(hung ? &context->core->counters.hangs : &context->core->counters.crashes,
                           1);
    aee__context_event(context, hung ? AEE_EVENT_HUNG : AEE_EVENT_CRASHED, crash->id, "%s",
                       crash->text);
    if (restart) {
        schedule_restart(context);
    } else if (current && verdict == AEE__VERDICT_QUARANTINE) {
        quarantine(context, crash->id);
    }
    if (current) {
        aee__instance_release(instance); /* the context's reference; the caller has its own */
    }
}

/* A restart that did not come about counts like a crash, so that the policy ends the tries. */
static void restart_failed(struct aee__context *context, const aee_error *error)
{
    (void)pthread_mutex_lock(&context->lock);
    bool wanted = context->state == AEE_STATE_RESTARTING && !context->dying;
    enum aee__verdict verdict =
        context->core->recovery->decide(&context->history, &context->limits, aee__now_ns());
    uint64_t crash_id = context->crash.id;
    if (wanted && verdict == AEE__VERDICT_QUARANTINE) {
        (void)detach(context, AEE_STATE_QUARANTINED);
    }
    (void)pthread_mutex_unlock(&context->lock);
    if (!wanted) {
        return;
    }
    aee__context_event(context, AEE_EVENT_RESTART_FAILED, crash_id, "%s", error->text);
    if (verdict == AEE__VERDICT_RESTART) {
        schedule_restart(context);
    } else {
        quarantine(context, crash_id);
    }
}

static void restart_after_crash(struct aee__context *context)
{
    struct aee__instance *instance = NULL;
    aee_error error = {0};
    (void)pthread_mutex_lock(&context->life);
    (void)pthread_mutex_lock(&context->lock);
    bool wanted = context->state == AEE_STATE_RESTARTING && !context->dying;
    (void)pthread_mutex_unlock(&context->lock);
    aee_result result = wanted ? build(context, context->image, &instance, &error) : AEE_OK;
    if (instance) {
        (void)pthread_mutex_lock(&context->lock);
        (void)make_restarted(context, instance, "from its image"); /* the crash took the old one */
        (void)pthread_mutex_unlock(&context->lock);
    }
    (void)pthread_mutex_unlock(&context->life);
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
    restart_after_crash(context);
    aee__handles_release(&core->contexts, handle);
}
