#include "isolation/context.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

void aee__context_event(struct aee__context *context, aee_event_type type, uint64_t crash_id,
                        const char *format, ...)
{
    aee_event event = {.type = type,
                       .context = {context->handle},
                       .context_user = context->user,
                       .time_ns = aee__now_ns(),
                       .frame = atomic_load(&context->core->counters.frames),
                       .crash_id = crash_id};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(event.text, sizeof event.text, format, args);
    va_end(args);
    memcpy(event.context_name, context->name, sizeof event.context_name);
    aee__events_push(&context->core->events, &event);
}

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

/* "i:ii" against the call's count and kinds. */
static bool fits_signature(const char *signature, const struct aee__call *call)
{
    uint32_t flags = call->request.flags;
    bool bytes = (flags & AEE_CALL_KIND_MASK) == AEE_CALL_BYTES;
    if (!signature || bytes) {
        return !signature || signature[0] == 'b';
    }
    if (signature[0] == 'b' || strlen(signature) != 2 + (flags >> AEE_CALL_COUNT_SHIFT)) {
        return false;
    }
    for (unsigned i = 0; signature[2 + i] != '\0'; i++) {
        bool is_double = (flags >> (AEE_CALL_DOUBLE_SHIFT + i)) & 1u;
        if ((signature[2 + i] == 'd') != is_double) {
            return false;
        }
    }
    return true;
}

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

/* With the lock held: checks everything and takes a reference to the instance. */
static aee_result enter(struct aee__context *context, uint16_t epoch, struct aee__call *call,
                        struct aee__instance **out, aee_error *error)
{
    aee_result result = refuse_state(context, error);
    if (result != AEE_OK) {
        return result;
    }
    if (context->paused) {
        return aee__fail(error, AEE_ERR_PAUSED, "cannot call into context \"%s\": it is paused",
                         context->name);
    }
    if (epoch != context->image_epoch) {
        return aee__fail(
            error, AEE_ERR_STALE,
            "cannot call into context \"%s\": the function is of an image that was replaced",
            context->name);
    }
    if ((uint32_t)call->export_index >= context->image->image->export_count) {
        return aee__fail(error, AEE_ERR_WRONG_HANDLE,
                         "cannot call into context \"%s\": no such function", context->name);
    }
    const struct aee__export *export = &context->image->image->exports[call->export_index];
    if (!fits_signature(export->signature, call)) {
        return aee__fail(
            error, AEE_ERR_ARGUMENT_COUNT,
            "cannot call %s() in context \"%s\": the arguments do not fit its signature \"%s\"",
            export->name, context->name, export->signature);
    }
    call->request.function = export->gva;
    call->budget_ns = context->limits.call_budget_ns;
    call->mode = context->mode;
    *out = context->instance;
    aee__instance_take(*out);
    (void)atomic_fetch_add(&(*out)->calls, 1);
    return AEE_OK;
}

static bool is_reentry(const struct aee__instance *instance)
{
    for (uint32_t i = 0; instance && i < instance->lane_count; i++) {
        if (aee__lane_is_server(&instance->lanes[i])) {
            return true;
        }
    }
    return false;
}

bool aee__context_is_reentry(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    bool reentry = is_reentry(context->instance) || is_reentry(context->building);
    (void)pthread_mutex_unlock(&context->lock);
    return reentry;
}

static aee_result describe_failure(const struct aee__context *context, const struct aee__call *call,
                                   const char *name, aee_result result, aee_error *error)
{
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
    return result; /* COMPONENT and TOO_LARGE have their sentence */
}

static void count_call(struct aee__context *context, const struct aee__call *call,
                       aee_result result, uint64_t took_ns)
{
    struct aee__context_stats *stats = &context->stats;
    atomic_store_explicit(&stats->mode_now, (uint32_t)call->mode_used, memory_order_relaxed);
    if (result != AEE_OK) {
        (void)atomic_fetch_add_explicit(&stats->failed_calls, 1, memory_order_relaxed);
        return;
    }
    (void)atomic_fetch_add_explicit(&stats->calls, 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&context->core->counters.calls, 1, memory_order_relaxed);
    aee__histogram_record(&stats->latency, took_ns);
}

aee_result aee__context_call_instance(struct aee__context *context, struct aee__instance *instance,
                                      struct aee__call *call, aee_error *error)
{
    if (is_reentry(instance)) {
        return aee__fail(error, AEE_ERR_BUSY,
                         "cannot call into context \"%s\" from a host function that it called",
                         context->name);
    }
    const struct aee__export *exports = instance->image->image->exports;
    const char *name =
        call->export_index >= 0 ? exports[call->export_index].name : "the initialiser";
    struct aee__lane *lane = aee__lane_lock(instance);
    aee_result result = aee__lane_call(lane, call, error);
    aee__lane_unlock(lane);
    return result == AEE_OK ? AEE_OK : describe_failure(context, call, name, result, error);
}

aee_result aee__context_call(struct aee__context *context, uint16_t epoch, struct aee__call *call,
                             aee_error *error)
{
    struct aee__instance *instance = NULL;
    (void)pthread_mutex_lock(&context->lock);
    aee_result result = enter(context, epoch, call, &instance, error);
    (void)pthread_mutex_unlock(&context->lock);
    if (!instance) {
        return result;
    }
    uint64_t begin = aee__now_ns();
    result = aee__context_call_instance(context, instance, call, error);
    count_call(context, call, result, aee__now_ns() - begin);
    (void)atomic_fetch_sub(&instance->calls, 1);
    aee__instance_release(instance);
    return result == AEE_OK ? aee__ok(error) : result;
}

/* ---- Regions ------------------------------------------------------------------------------ */

static int32_t find_mapping(const struct aee__context *context, const struct aee__region *region)
{
    for (uint32_t i = 0; i < context->mapping_count; i++) {
        if (context->mappings[i].region == region) {
            return (int32_t)i;
        }
    }
    return -1;
}

static aee_result map_everywhere(struct aee__context *context, const struct aee__region *region,
                                 uint32_t writable, aee_error *error)
{
    aee_result result = AEE_OK;
    if (context->instance) {
        result = aee__window_map(&context->instance->window, region, writable, error);
    }
    if (result == AEE_OK && context->building) {
        result = aee__window_map(&context->building->window, region, writable, error);
    }
    return result;
}

/* An instance from which a region cannot be taken must not go on with it. */
static void unmap_everywhere(struct aee__context *context, const struct aee__region *region)
{
    struct aee__instance *instances[2] = {context->instance, context->building};
    for (unsigned i = 0; i < 2; i++) {
        if (instances[i] && aee__window_unmap(&instances[i]->window, region, NULL) != AEE_OK) {
            aee__instance_stop(instances[i]);
        }
    }
}

aee_result aee__context_map(struct aee__context *context, const struct aee__region *region,
                            uint32_t writable, aee_error *error)
{
    (void)pthread_mutex_lock(&context->lock);
    int32_t index = find_mapping(context, region);
    aee_result result = AEE_OK;
    if (index < 0 && context->mapping_count == AEE__MAPPINGS_MAX) {
        result =
            aee__fail(error, AEE_ERR_LIMIT,
                      "cannot map region \"%s\" into context \"%s\": it has %u regions already",
                      region->name, context->name, AEE__MAPPINGS_MAX);
    }
    if (result == AEE_OK) {
        result = map_everywhere(context, region, writable, error);
        if (result == AEE_OK) {
            uint32_t at = index >= 0 ? (uint32_t)index : context->mapping_count++;
            context->mappings[at] = (struct aee__mapping){.region = region, .writable = writable};
        } else {
            unmap_everywhere(context, region);
            if (index >= 0) {
                context->mappings[index] = context->mappings[--context->mapping_count];
            }
        }
    }
    (void)pthread_mutex_unlock(&context->lock);
    return result;
}

aee_result aee__context_unmap(struct aee__context *context, const struct aee__region *region,
                              uint32_t *writable, aee_error *error)
{
    (void)pthread_mutex_lock(&context->lock);
    int32_t index = find_mapping(context, region);
    if (index >= 0) {
        if (writable) {
            *writable = context->mappings[index].writable;
        }
        context->mappings[index] = context->mappings[--context->mapping_count];
        unmap_everywhere(context, region);
    }
    (void)pthread_mutex_unlock(&context->lock);
    if (index < 0) {
        return aee__fail(error, AEE_ERR_NOT_FOUND,
                         "region \"%s\" is not mapped into context \"%s\"", region->name,
                         context->name);
    }
    return AEE_OK;
}

bool aee__context_region_at(struct aee__context *context, uint64_t gva,
                            struct aee__mapping *mapping)
{
    bool found = false;
    (void)pthread_mutex_lock(&context->lock);
    for (uint32_t i = 0; i < context->mapping_count && !found; i++) {
        const struct aee__region *region = context->mappings[i].region;
        found = gva - aee__region_gva(region).value < region->size;
        *mapping = context->mappings[i];
    }
    (void)pthread_mutex_unlock(&context->lock);
    return found;
}
