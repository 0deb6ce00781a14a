/* calls.c: how calls come to the lanes of a context. What most calls take is free of locks: the
 * thread owns a lane, and what it then finds is still current. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/context.h"
#include "isolation/shells.h"

/* Beyond the budget of the call that has the lane: a thread that only looks at a lane may lose its
 * CPU meanwhile, and a short budget must not make that a refusal. */
#define LANE_PATIENCE_NS (AEE__NS_PER_SECOND / 10)

/* ---- Functions ---------------------------------------------------------------------------- */

aee_result aee__context_find(struct aee__context *context, const char *name, uint32_t *index,
                             uint16_t *epoch, aee_error *error)
{
    aee_result result = AEE_OK;
    (void)pthread_mutex_lock(&context->lock);
    int32_t found = context->image ? aee__image_find_export(context->image->image, name) : -1;
    if (!context->image) {
        result = aee__fail(error, AEE_ERR_NOT_LOADED,
                           "cannot find function \"%s\": no image is loaded into context \"%s\"",
                           name, context->name);
    } else if (found < 0) {
        result = aee__fail(error, AEE_ERR_NOT_FOUND, "context \"%s\" exports no function \"%s\"",
                           context->name, name);
    } else {
        *index = (uint32_t)found;
        *epoch = context->image_epoch;
    }
    (void)pthread_mutex_unlock(&context->lock);
    return result;
}

aee_result aee__context_export(struct aee__context *context, uint32_t index,
                               aee_function_info *info, uint16_t *epoch, aee_error *error)
{
    aee_result result = AEE_OK;
    (void)pthread_mutex_lock(&context->lock);
    const struct aee__image *image = context->image ? context->image->image : NULL;
    if (!image) {
        result = aee__fail(error, AEE_ERR_NOT_LOADED,
                           "cannot list functions: no image is loaded into context \"%s\"",
                           context->name);
    } else if (index >= image->export_count) {
        result = aee__fail(error, AEE_ERR_NOT_FOUND, "context \"%s\" exports %u functions only",
                           context->name, image->export_count);
    } else {
        const struct aee__export *export = &image->exports[index];
        (void)snprintf(info->name, sizeof info->name, "%s", export->name);
        (void)snprintf(info->signature, sizeof info->signature, "%s",
                       export->signature ? export->signature : "");
        *epoch = context->image_epoch;
    }
    (void)pthread_mutex_unlock(&context->lock);
    return result;
}

/* The declared signature against the call's kind, types and count, and the result that it wants. A
 * function without a result gives 0. */
static bool fits_signature(const struct aee__export *export, const struct aee__call *call)
{
    if (!export->signature) {
        return true;
    }
    if (aee__call_is_bytes(call) || export->signature[0] == 'b') {
        return aee__call_is_bytes(call) && export->signature[0] == 'b';
    }
    return call->request.flags == export->flags &&
           (!call->takes_result || (export->signature[0] == 'd') == call->takes_double);
}

/* ---- Host functions that run for the context ---------------------------------------------- */

/* The lane of that instance for which this thread runs a host function. */
static struct aee__lane *find_served(struct aee__instance *instance)
{
    uintptr_t self = (uintptr_t)pthread_self();
    uint32_t lanes = atomic_load_explicit(&instance->lane_count, memory_order_relaxed);
    for (uint32_t i = 0; i < lanes; i++) {
        if (atomic_load_explicit(&instance->servers[i], memory_order_relaxed) == self) {
            return &instance->lanes[i];
        }
    }
    return NULL;
}

/* In that case the instance is still there: the thread owns the lane. */
static struct aee__lane *serving_lane(struct aee__context *context)
{
    struct aee__instance *instance = atomic_load(&context->current);
    return instance ? find_served(instance) : NULL;
}

/* Host functions of instances that have ended, or are being built, count, too. */
bool aee__context_is_reentry(struct aee__context *context)
{
    bool served = false;
    (void)pthread_mutex_lock(&context->lock);
    for (struct aee__instance *at = context->living; at && !served; at = at->next) {
        served = find_served(at) != NULL;
    }
    (void)pthread_mutex_unlock(&context->lock);
    return served;
}

/* ---- Checks ------------------------------------------------------------------------------- */

static aee_result refuse_state(const struct aee__context *context, aee_error *error)
{
    static const struct {
        aee_state state;
        aee_result result;
        const char *text;
    } refusals[] = {
        {AEE_STATE_CREATED, AEE_ERR_NOT_LOADED, "no image is loaded"},
        {AEE_STATE_RESTARTING, AEE_ERR_RESTARTING, "it is being restarted"},
        {AEE_STATE_STOPPED, AEE_ERR_STOPPED, "it is stopped"},
        {AEE_STATE_QUARANTINED, AEE_ERR_QUARANTINED, "it crashed too often and is in quarantine"},
    };
    for (unsigned i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        if (context->state == refusals[i].state) {
            return aee__fail(error, refusals[i].result, "cannot call into context \"%s\": %s",
                             context->name, refusals[i].text);
        }
    }
    return AEE_OK;
}

static aee_result refuse_paused(const struct aee__context *context, aee_error *error)
{
    return atomic_load_explicit(&context->paused, memory_order_relaxed)
               ? aee__fail(error, AEE_ERR_PAUSED, "cannot call into context \"%s\": it is paused",
                           context->name)
               : AEE_OK;
}

/* What the call asks for exists in that image and fits; completes the request. */
static aee_result check_function(const struct aee__context *context, const struct aee__image *image,
                                 bool current, struct aee__call *call, aee_error *error)
{
    if (!current) {
        return aee__fail(
            error, AEE_ERR_STALE,
            "cannot call into context \"%s\": the function is of an image that was replaced",
            context->name);
    }
    if ((uint32_t)call->export_index >= image->export_count) {
        return aee__fail(error, AEE_ERR_WRONG_HANDLE,
                         "cannot call into context \"%s\": no such function", context->name);
    }
    const struct aee__export *export = &image->exports[call->export_index];
    if (!fits_signature(export, call)) {
        return aee__fail(error, AEE_ERR_ARGUMENT_COUNT,
                         "cannot call %s() in context \"%s\": arguments or result do not fit its "
                         "signature \"%s\"",
                         export->name, context->name, export->signature);
    }
    call->request.function = export->gva;
    return AEE_OK;
}

aee_result aee__context_check_call(struct aee__context *context, uint16_t epoch,
                                   struct aee__call *call, aee_error *error)
{
    (void)pthread_mutex_lock(&context->lock);
    aee_result result = refuse_state(context, error);
    if (result == AEE_OK) {
        result = refuse_paused(context, error);
    }
    if (result == AEE_OK) {
        result = check_function(context, context->image->image, epoch == context->image_epoch, call,
                                error);
    }
    (void)pthread_mutex_unlock(&context->lock);
    return result;
}

static aee_result describe_failure(const struct aee__context *context, const struct aee__call *call,
                                   const char *name, aee_error *error)
{
    aee_result result = call->status;
    if (result == AEE_ERR_CRASHED) {
        return aee__fail(error, result, "call of %s in context \"%s\": the component crashed", name,
                         context->name);
    }
    if (result == AEE_ERR_HUNG) {
        return aee__fail(error, result, "call of %s in context \"%s\": no answer within %llu us",
                         name, context->name, (unsigned long long)(call->budget_ns / 1000));
    }
    if (result == AEE_ERR_STOPPED) {
        return aee__fail(error, result, "call of %s in context \"%s\": the context was stopped",
                         name, context->name);
    }
    if (result == AEE_ERR_BUSY) {
        return aee__fail(
            error, result, "call of %s in context \"%s\": no lane became free within %llu us", name,
            context->name, (unsigned long long)((call->budget_ns + LANE_PATIENCE_NS) / 1000));
    }
    if (result == AEE_ERR_COMPONENT) {
        return aee__fail(error, result, "the component answered %lld",
                         (long long)(int64_t)call->result.value);
    }
    if (result == AEE_ERR_TOO_LARGE) {
        return aee__fail(error, result, "the component's reply of %lld bytes does not fit into %zu",
                         (long long)(int64_t)call->result.value, call->reply_capacity);
    }
    return result;
}

/* ---- Taking a lane ------------------------------------------------------------------------ */

static struct aee__lane *try_lanes(struct aee__instance *instance, bool idle)
{
    uint32_t count = atomic_load_explicit(&instance->lane_count, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        struct aee__lane *lane = &instance->lanes[i];
        if ((!idle || aee__lane_outstanding(lane) == 0) && aee__lane_try(lane)) {
            return lane;
        }
    }
    return NULL;
}

/* A lane of the current instance, or NULL. The object that we touch may belong to an instance that
 * was replaced or is gone: it is one all the same, and whether it is current is asked again when a
 * lane of it is ours. From then on it stays. */
static struct aee__lane *try_current(struct aee__context *context)
{
    struct aee__instance *instance = atomic_load(&context->current);
    if (!instance) {
        return NULL;
    }
    struct aee__lane *lane = try_lanes(instance, true);
    lane = lane ? lane : try_lanes(instance, false);
    if (lane && atomic_load(&context->current) != instance) {
        aee__lane_give(lane);
        lane = NULL;
    }
    return lane;
}

/* What keeps calls from beginning now, in words. */
aee_result aee__context_refuse(struct aee__context *context, aee_error *error)
{
    (void)pthread_mutex_lock(&context->lock);
    aee_result result = refuse_state(context, error);
    (void)pthread_mutex_unlock(&context->lock);
    return result == AEE_OK ? refuse_paused(context, error) : result;
}

/* All lanes are taken. A giver that does not see us among the waiters has freed its lane before our
 * second try. */
static aee_result wait_for_lane(struct aee__context *context, struct aee__call *call,
                                struct aee__lane **out, aee_error *error)
{
    struct aee__instance *instance = atomic_load(&context->current);
    uint64_t deadline = aee__now_ns() + call->budget_ns + LANE_PATIENCE_NS;
    call->status = AEE_OK;
    (void)atomic_fetch_add(&context->waiters, 1);
    for (;;) {
        uint32_t freed = atomic_load(&context->lanes_freed);
        *out = try_current(context);
        if (*out) {
            break;
        }
        if (instance && aee__instance_ended(instance) != AEE_OK) {
            call->status = aee__instance_await_end(instance);
        } else {
            call->status = aee__context_refuse(context, error);
        }
        if (call->status == AEE_OK && aee__now_ns() >= deadline) {
            call->status = AEE_ERR_BUSY;
        }
        if (call->status != AEE_OK) {
            break;
        }
        aee__sys_futex_wait(&context->lanes_freed, freed, deadline);
    }
    (void)atomic_fetch_sub(&context->waiters, 1);
    return call->status;
}

void aee__context_lane_freed(struct aee__context *context)
{
    if (atomic_load(&context->waiters) > 0) {
        (void)atomic_fetch_add(&context->lanes_freed, 1);
        aee__sys_futex_wake_all(&context->lanes_freed);
    }
    if (atomic_load(&context->zombies) > 0) {
        aee__shells_reap(context);
    }
}

uint32_t aee__context_calls_now(struct aee__context *context)
{
    uint32_t calls = atomic_load(&context->queue.count);
    (void)pthread_mutex_lock(&context->lock);
    const struct aee__instance *instance = atomic_load(&context->current);
    uint32_t lanes = instance ? atomic_load(&instance->lane_count) : 0;
    for (uint32_t i = 0; i < lanes; i++) {
        calls += aee__lane_outstanding(&instance->lanes[i]);
    }
    (void)pthread_mutex_unlock(&context->lock);
    return calls;
}

/* ---- Calls that a thread waits for -------------------------------------------------------- */

/* Rate limits, where one is set. */
static aee_result check_rates(struct aee__context *context, aee_error *error)
{
    uint32_t limited = atomic_load_explicit(&context->rates.limited, memory_order_relaxed);
    return limited & (AEE__LIMITED_CALLS | AEE__LIMITED_CPU)
               ? aee__rates_begin_calls(context, 1, error)
               : AEE_OK;
}

static aee_result call_on(struct aee__lane *lane, struct aee__context *context, uint16_t epoch,
                          struct aee__call *call, aee_error *error)
{
    const struct aee__instance *instance = lane->instance;
    aee_result result = refuse_paused(context, error);
    if (result == AEE_OK) {
        result =
            check_function(context, instance->image->image, epoch == instance->epoch, call, error);
    }
    if (result == AEE_OK) {
        result = check_rates(context, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    call->budget_ns = atomic_load_explicit(&context->budget_ns, memory_order_relaxed);
    call->mode = context->core->ops->direct_only ? AEE_CALL_DIRECT : context->mode;
    result = aee__lane_call(lane, call);
    atomic_store_explicit(&context->stats.mode_now, (uint32_t)call->mode_used,
                          memory_order_relaxed);
    return result == AEE_OK
               ? AEE_OK
               : describe_failure(context, call,
                                  instance->image->image->exports[call->export_index].name, error);
}

/* From within a host function that the lane called. */
static aee_result call_nested(struct aee__lane *lane, struct aee__context *context, uint16_t epoch,
                              struct aee__call *call, aee_error *error)
{
    const struct aee__instance *instance = lane->instance;
    const struct aee__image *image = instance->image->image;
    aee_result result = check_function(context, image, epoch == instance->epoch, call, error);
    if (result == AEE_OK) {
        result = check_rates(context, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    call->budget_ns = atomic_load_explicit(&context->budget_ns, memory_order_relaxed);
    result = aee__lane_call_nested(lane, call);
    return result == AEE_OK
               ? AEE_OK
               : describe_failure(context, call, image->exports[call->export_index].name, error);
}

aee_result aee__context_call(struct aee__context *context, uint16_t epoch, struct aee__call *call,
                             aee_error *error)
{
    struct aee__lane *lane = serving_lane(context);
    if (lane) {
        aee_result result = call_nested(lane, context, epoch, call, error);
        return result == AEE_OK ? aee__ok(error) : result;
    }
    lane = try_current(context);
    if (!lane) {
        aee_result result = aee__context_check_call(context, epoch, call, error);
        if (result != AEE_OK) {
            return result;
        }
        call->budget_ns = atomic_load_explicit(&context->budget_ns, memory_order_relaxed);
        if (wait_for_lane(context, call, &lane, error) != AEE_OK) {
            return describe_failure(context, call, "a function", error);
        }
    }
    aee_result result = call_on(lane, context, epoch, call, error);
    aee__lane_give(lane);
    if (result == AEE_ERR_CRASHED || result == AEE_ERR_HUNG) {
        aee__context_settle(context);
    }
    return result == AEE_OK ? aee__ok(error) : result;
}

aee_result aee__context_call_initialiser(struct aee__context *context,
                                         struct aee__instance *instance, uint64_t budget_ns,
                                         aee_error *error)
{
    struct aee__call call = {.request = {.function = instance->image->image->entry},
                             .export_index = AEE__CALLED_INITIALISER,
                             .budget_ns = budget_ns,
                             .mode = AEE_CALL_DIRECT};
    aee_result result = aee__lane_call(&instance->lanes[0], &call);
    return result == AEE_OK ? AEE_OK : describe_failure(context, &call, "the initialiser", error);
}

/* The lane may be another's by now: then it is awake. */
void aee__context_warm(struct aee__context *context, uint32_t frame)
{
    struct aee__instance *instance = atomic_load(&context->current);
    uint32_t count =
        instance ? atomic_load_explicit(&instance->lane_count, memory_order_relaxed) : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct aee__lane *lane = &instance->lanes[i];
        if (aee__lane_try(lane)) {
            if (aee__instance_ended(instance) == AEE_OK && lane->frame == frame) {
                aee__lane_warm(lane);
            }
            aee__lane_give(lane);
        }
    }
}

/* ---- Calls that were submitted ------------------------------------------------------------ */

aee_result aee__context_submit(struct aee__context *context, struct aee__call *first,
                               struct aee__call *last, uint32_t count)
{
    struct aee__call_queue *queue = &context->queue;
    (void)pthread_mutex_lock(&queue->lock);
    bool open = atomic_load(&context->current) && !atomic_load(&context->paused);
    if (open) {
        aee__call_queue_append(queue, first, last, count);
    }
    (void)pthread_mutex_unlock(&queue->lock);
    aee_result result = open ? AEE_OK : aee__context_refuse(context, NULL);
    return open || result != AEE_OK ? result : AEE_ERR_RESTARTING; /* it has come back since */
}

/* The next lane at or after *index that may have submitted calls, or NULL. */
static struct aee__lane *next_busy(struct aee__context *context, struct aee__instance *instance,
                                   uint32_t *index)
{
    uint32_t count =
        instance ? atomic_load_explicit(&instance->lane_count, memory_order_relaxed) : 0;
    while (*index < count) {
        struct aee__lane *lane = &instance->lanes[(*index)++];
        if (atomic_load(&context->queue.count) > 0 || aee__lane_outstanding(lane) > 0) {
            return lane;
        }
    }
    return NULL;
}

void aee__context_advance(struct aee__context *context)
{
    struct aee__instance *instance = atomic_load(&context->current);
    struct aee__lane *lane;
    uint32_t index = 0;
    while ((lane = next_busy(context, instance, &index)) != NULL) {
        aee__lane_attend(lane, false);
    }
}

void aee__context_help(struct aee__context *context, uint64_t deadline_ns)
{
    struct aee__instance *instance = atomic_load(&context->current);
    struct aee__lane *lane;
    uint32_t index = 0;
    while ((lane = next_busy(context, instance, &index)) != NULL) {
        if (aee__lane_try(lane)) {
            aee__lane_help(lane, deadline_ns);
            aee__lane_give(lane);
        }
    }
}

void aee__context_expect_sleep(struct aee__context *context, bool each)
{
    struct aee__instance *instance = atomic_load(&context->current);
    uint32_t count =
        instance ? atomic_load_explicit(&instance->lane_count, memory_order_relaxed) : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct aee__lane *lane = &instance->lanes[i];
        if (aee__lane_outstanding(lane) > 0 && aee__lane_try(lane)) {
            if (aee__instance_ended(instance) == AEE_OK) { /* else its memory may be gone */
                aee__lane_expect_sleep(lane, each);
            }
            aee__lane_give(lane);
        }
    }
}
