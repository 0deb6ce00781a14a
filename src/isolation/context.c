#include "isolation/context.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "isolation/fault.h"

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
    if (call->takes_result && (signature[0] == 'd') != call->takes_double) {
        return false; /* a function without a result gives 0 */
    }
    for (unsigned i = 0; signature[2 + i] != '\0'; i++) {
        bool is_double = (flags >> (AEE_CALL_DOUBLE_SHIFT + i)) & 1u;
        if ((signature[2 + i] == 'd') != is_double) {
            return false;
        }
    }
    return true;
}

void aee__context_serve_begin(struct aee__context *context, struct aee__server *server)
{
    server->thread = pthread_self();
    (void)pthread_mutex_lock(&context->lock);
    server->next = context->servers;
    context->servers = server;
    (void)pthread_mutex_unlock(&context->lock);
}

void aee__context_serve_end(struct aee__context *context, struct aee__server *server)
{
    (void)pthread_mutex_lock(&context->lock);
    struct aee__server **link = &context->servers;
    while (*link != server) {
        link = &(*link)->next;
    }
    *link = server->next;
    (void)pthread_mutex_unlock(&context->lock);
}

/* With the lock held. Threads stay in the list when the instance that called them has ended. */
static bool is_server(const struct aee__context *context)
{
    for (const struct aee__server *server = context->servers; server; server = server->next) {
        if (pthread_equal(server->thread, pthread_self())) {
            return true;
        }
    }
    return false;
}

bool aee__context_is_reentry(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    bool reentry = is_server(context);
    (void)pthread_mutex_unlock(&context->lock);
    return reentry;
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

static aee_result refuse_paused(const struct aee__context *context, aee_error *error)
{
    return atomic_load_explicit(&context->paused, memory_order_relaxed)
               ? aee__fail(error, AEE_ERR_PAUSED, "cannot call into context \"%s\": it is paused",
                           context->name)
               : AEE_OK;
}

/* With the lock held: checks everything and takes a reference to the instance. */
static aee_result enter(struct aee__context *context, uint16_t epoch, struct aee__call *call,
                        struct aee__instance **out, aee_error *error)
{
    aee_result result = refuse_state(context, error);
    if (result != AEE_OK) {
        return result;
    }
    if (is_server(context)) {
        return aee__fail(error, AEE_ERR_BUSY,
                         "cannot call into context \"%s\" from a host function that it called",
                         context->name);
    }
    result = refuse_paused(context, error);
    if (result != AEE_OK) {
        return result;
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
        return aee__fail(error, AEE_ERR_ARGUMENT_COUNT,
                         "cannot call %s() in context \"%s\": arguments or result do not fit its "
                         "signature \"%s\"",
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
    if (result == AEE_ERR_BUSY) {
        return aee__fail(error, result,
                         "call of %s in context \"%s\": no lane became free within %llu us", name,
                         context->name, (unsigned long long)(call->budget_ns / 1000));
    }
    return result; /* COMPONENT, TOO_LARGE and PAUSED have their sentence */
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
    const struct aee__export *exports = instance->image->image->exports;
    bool initialiser = call->export_index < 0;
    const char *name = initialiser ? "the initialiser" : exports[call->export_index].name;
    struct aee__lane *lane;
    aee_result result = aee__lane_take(instance, aee__now_ns() + call->budget_ns, &lane);
    if (result == AEE_OK) {
        result = initialiser ? AEE_OK : refuse_paused(context, error); /* paused while we waited */
        if (result == AEE_OK) {
            result = aee__lane_call(lane, call, error);
        }
        aee__lane_give(lane);
    }
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
    for (uint32_t i = 0; i < context->spare_count && result == AEE_OK; i++) {
        result = aee__window_map(&context->spares[i]->window, region, writable, error);
    }
    return result;
}

/* From every instance that exists: one that has ended may still have a lane on its way out. An
 * instance from which a region cannot be taken must not go on: the first such is returned, with a
 * reference, to be ended without the lock. */
static struct aee__instance *unmap_everywhere(struct aee__context *context,
                                              const struct aee__region *region)
{
    struct aee__instance *stuck = NULL;
    for (struct aee__instance *at = context->living; at; at = at->next) {
        if (aee__window_unmap(&at->window, region, NULL) != AEE_OK && !stuck) {
            stuck = at;
            aee__instance_take(stuck);
        }
    }
    return stuck;
}

static void end_stuck(struct aee__instance *stuck)
{
    if (stuck) {
        aee__instance_fail(stuck, "the host could not take a region away");
        aee__instance_release(stuck);
    }
}

/* With the lock held. On failure the old rights are in force again, or nothing is mapped. */
static aee_result map_locked(struct aee__context *context, const struct aee__region *region,
                             uint32_t writable, struct aee__instance **stuck, aee_error *error)
{
    int32_t index = find_mapping(context, region);
    if (index < 0 && context->mapping_count == AEE__MAPPINGS_MAX) {
        return aee__fail(error, AEE_ERR_LIMIT,
                         "cannot map region \"%s\" into context \"%s\": it has %u regions already",
                         region->name, context->name, AEE__MAPPINGS_MAX);
    }
    aee_result result = map_everywhere(context, region, writable, error);
    if (result == AEE_OK) {
        uint32_t at = index >= 0 ? (uint32_t)index : context->mapping_count++;
        context->mappings[at] = (struct aee__mapping){.region = region, .writable = writable};
        return AEE_OK;
    }
    if (index < 0 ||
        map_everywhere(context, region, context->mappings[index].writable, NULL) != AEE_OK) {
        *stuck = unmap_everywhere(context, region);
        if (index >= 0) {
            context->mappings[index] = context->mappings[--context->mapping_count];
        }
    }
    return result;
}

aee_result aee__context_map(struct aee__context *context, const struct aee__region *region,
                            uint32_t writable, aee_error *error)
{
    struct aee__instance *stuck = NULL;
    (void)pthread_mutex_lock(&context->lock);
    aee_result result = map_locked(context, region, writable, &stuck, error);
    (void)pthread_mutex_unlock(&context->lock);
    end_stuck(stuck);
    return result;
}

aee_result aee__context_unmap(struct aee__context *context, const struct aee__region *region,
                              uint32_t *writable, aee_error *error)
{
    struct aee__instance *stuck = NULL;
    (void)pthread_mutex_lock(&context->lock);
    int32_t index = find_mapping(context, region);
    if (index >= 0) {
        if (writable) {
            *writable = context->mappings[index].writable;
        }
        context->mappings[index] = context->mappings[--context->mapping_count];
        stuck = unmap_everywhere(context, region);
    }
    (void)pthread_mutex_unlock(&context->lock);
    end_stuck(stuck);
    if (index < 0) {
        return aee__fail(error, AEE_ERR_NOT_FOUND,
                         "region \"%s\" is not mapped into context \"%s\"", region->name,
                         context->name);
    }
    return AEE_OK;
}

bool aee__context_has_room(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    bool room = context->mapping_count < AEE__MAPPINGS_MAX;
    (void)pthread_mutex_unlock(&context->lock);
    return room;
}

bool aee__context_region_at(struct aee__context *context, uint64_t gva,
                            struct aee__region_view *view)
{
    bool found = false;
    (void)pthread_mutex_lock(&context->lock);
    for (uint32_t i = 0; i < context->mapping_count && !found; i++) {
        const struct aee__region *region = context->mappings[i].region;
        found = gva - aee__region_gva(region).value < region->size;
        if (found) {
            memcpy(view->name, region->name, sizeof view->name);
            view->writable = context->mappings[i].writable;
        }
    }
    (void)pthread_mutex_unlock(&context->lock);
    return found;
}
