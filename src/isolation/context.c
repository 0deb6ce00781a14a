#include "isolation/context.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "isolation/fault.h"
#include "isolation/tracing.h"

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
    aee__tracing_event(context->core, &event);
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
    struct aee__instance *current = atomic_load(&context->current);
    if (current) {
        result = aee__window_map(&current->window, region, writable, error);
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
        if (!at->bereft && aee__window_unmap(&at->window, region, NULL) != AEE_OK && !stuck &&
            aee__instance_take(at)) {
            stuck = at;
        }
    }
    return stuck;
}

static void end_stuck(struct aee__instance *stuck)
{
    if (stuck) {
        aee__instance_fail(stuck, AEE_CRASH_HOST, "the host could not take a region away");
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
