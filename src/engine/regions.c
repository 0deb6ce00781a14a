/* regions.c: public regions. The regions' lock is held throughout each operation, so that a region
 * cannot go away while it is mapped; a context's lock is taken inside. */
#include <string.h>

#include "base/checked.h"
#include "engine/engine.h"

static aee_result need_arena(aee_engine *engine, aee_error *error)
{
    if (engine->arena_made) {
        return AEE_OK;
    }
    aee_result result = aee__region_arena_create(&engine->arena, error);
    engine->arena_made = result == AEE_OK;
    return result;
}

static aee_result create_locked(aee_engine *engine, const aee_region_desc *desc, uint64_t size,
                                aee_region *out, aee_error *error)
{
    aee_result result = need_arena(engine, error);
    if (result != AEE_OK) {
        return result;
    }
    struct aee__region *region = aee__alloc_zero(&engine->core.alloc, 1, sizeof *region);
    if (!region) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot create region \"%s\": out of memory",
                         desc->name);
    }
    result = aee__region_create(&engine->arena, desc->name, size,
                                desc->flags & AEE_REGION_SAME_ADDRESS, region, error);
    uint64_t handle = result == AEE_OK ? aee__handles_reserve(&engine->regions) : 0;
    if (result == AEE_OK && handle == 0) {
        aee__region_destroy(&engine->arena, region);
        result = aee__fail(error, AEE_ERR_LIMIT, "cannot create region \"%s\": too many regions",
                           desc->name);
    }
    if (result != AEE_OK) {
        aee__alloc_free(&engine->core.alloc, region, sizeof *region);
        return result;
    }
    aee__handles_publish(&engine->regions, handle, region);
    (void)atomic_fetch_add(&engine->region_bytes, size);
    out->id = handle;
    return AEE_OK;
}

aee_result aee_region_create(aee_engine *engine, const aee_region_desc *user_desc, aee_region *out,
                             aee_error *error)
{
    aee_region_desc desc = {0};
    uint64_t size = 0;
    if (!out) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot create a region: out is NULL");
    }
    out->id = 0;
    aee_result result = aee__engine_check(engine, "create a region", error);
    if (result == AEE_OK) {
        result =
            aee__copy_desc("create a region", user_desc, &desc, sizeof desc, sizeof desc, error);
    }
    if (result == AEE_OK) {
        result = aee__check_name("create a region", desc.name, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    if (desc.flags & ~AEE_REGION_SAME_ADDRESS) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot create region \"%s\": unknown flags 0x%x", desc.name, desc.flags);
    }
    if (desc.size_bytes == 0 || !aee__round_up(desc.size_bytes, AEE__PAGE_SIZE, &size)) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot create region \"%s\" of %llu bytes", desc.name,
                         (unsigned long long)desc.size_bytes);
    }
    (void)pthread_mutex_lock(&engine->regions_lock);
    result = aee__engine_check(engine, "create a region", error); /* not shut down meanwhile */
    if (result == AEE_OK) {
        result = create_locked(engine, &desc, size, out, error);
    }
    (void)pthread_mutex_unlock(&engine->regions_lock);
    return result == AEE_OK ? aee__ok(error) : result;
}

/* With the lock held. */
static struct aee__region *acquire(aee_engine *engine, aee_region handle, const char *operation,
                                   aee_result *result, aee_error *error)
{
    struct aee__region *region = aee__handles_acquire(&engine->regions, handle.id, result);
    if (*result == AEE_ERR_STALE) {
        (void)aee__fail(error, *result, "cannot %s: the region has been destroyed", operation);
    } else if (*result != AEE_OK) {
        (void)aee__fail(error, *result, "cannot %s: 0x%llx is not a region of this engine",
                        operation, (unsigned long long)handle.id);
    }
    return region;
}

static void revoke_from(void *user, uint64_t handle, void *object)
{
    (void)handle;
    (void)aee__context_unmap(object, user, NULL, NULL);
}

/* With the lock held and a reference taken, which goes with it. */
static void destroy_locked(aee_engine *engine, uint64_t handle, struct aee__region *region)
{
    (void)aee__handles_retire(&engine->regions, handle);
    aee__handles_each(&engine->core.contexts, revoke_from, region);
    aee__handles_remove(&engine->regions, handle);
    (void)atomic_fetch_sub(&engine->region_bytes, region->size);
    aee__region_destroy(&engine->arena, region);
    aee__alloc_free(&engine->core.alloc, region, sizeof *region);
}

aee_result aee_region_destroy(aee_engine *engine, aee_region handle, aee_error *error)
{
    aee_result result = aee__engine_check(engine, "destroy a region", error);
    if (result != AEE_OK || handle.id == 0) {
        return result;
    }
    (void)pthread_mutex_lock(&engine->regions_lock);
    struct aee__region *region = acquire(engine, handle, "destroy a region", &result, error);
    if (region) {
        destroy_locked(engine, handle.id, region);
    }
    (void)pthread_mutex_unlock(&engine->regions_lock);
    return result == AEE_OK ? aee__ok(error) : result;
}

static void find_one(void *user, uint64_t handle, void *object)
{
    (void)object;
    *(uint64_t *)user = handle;
}

void aee__regions_destroy_all(aee_engine *engine)
{
    (void)pthread_mutex_lock(&engine->regions_lock);
    for (;;) {
        uint64_t handle = 0;
        aee_result why;
        aee__handles_each(&engine->regions, find_one, &handle);
        struct aee__region *region =
            handle ? aee__handles_acquire(&engine->regions, handle, &why) : NULL;
        if (!region) {
            break;
        }
        destroy_locked(engine, handle, region);
    }
    (void)pthread_mutex_unlock(&engine->regions_lock);
}

aee_result aee_region_data(aee_engine *engine, aee_region handle, void **data, size_t *size,
                           aee_error *error)
{
    if (data) {
        *data = NULL;
    }
    if (size) {
        *size = 0;
    }
    aee_result result = aee__engine_check(engine, "get a region's data", error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&engine->regions_lock);
    struct aee__region *region = acquire(engine, handle, "get a region's data", &result, error);
    if (region) {
        if (data) {
            *data = region->host;
        }
        if (size) {
            *size = region->size;
        }
        aee__handles_release(&engine->regions, handle.id);
    }
    (void)pthread_mutex_unlock(&engine->regions_lock);
    return result == AEE_OK ? aee__ok(error) : result;
}

/* ---- Mapping ------------------------------------------------------------------------------ */

struct pair {
    struct aee__context *context;
    struct aee__region *region;
};

/* Takes both objects and the lock, or neither. */
static aee_result enter_pair(aee_engine *engine, aee_context context, aee_region region,
                             const char *operation, struct pair *pair, aee_error *error)
{
    aee_result result = aee__engine_enter(engine, context, operation, &pair->context, error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&engine->regions_lock);
    pair->region = acquire(engine, region, operation, &result, error);
    if (!pair->region) {
        (void)pthread_mutex_unlock(&engine->regions_lock);
        aee__engine_leave(pair->context);
    }
    return result;
}

static void leave_pair(aee_engine *engine, aee_region region, const struct pair *pair)
{
    aee__handles_release(&engine->regions, region.id);
    (void)pthread_mutex_unlock(&engine->regions_lock);
    aee__engine_leave(pair->context);
}

aee_result aee_region_map(aee_engine *engine, aee_context context, aee_region region,
                          aee_access access, uint64_t *guest_address, aee_error *error)
{
    struct pair pair;
    if (guest_address) {
        *guest_address = 0;
    }
    if (access != AEE_ACCESS_READ && access != AEE_ACCESS_READ_WRITE) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot map a region: access %d is neither read nor read-write",
                         (int)access);
    }
    aee_result result = enter_pair(engine, context, region, "map a region", &pair, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__context_map(pair.context, pair.region, access == AEE_ACCESS_READ_WRITE, error);
    if (result == AEE_OK && guest_address) {
        *guest_address = aee__region_gva(pair.region).value;
    }
    leave_pair(engine, region, &pair);
    return result == AEE_OK ? aee__ok(error) : result;
}

static void revoked(struct aee__context *context, const struct aee__region *region)
{
    aee__context_event(context, AEE_EVENT_REGION_REVOKED, 0,
                       "context \"%s\": region \"%s\" revoked", context->name, region->name);
}

aee_result aee_region_unmap(aee_engine *engine, aee_context context, aee_region region,
                            aee_error *error)
{
    struct pair pair;
    aee_result result = enter_pair(engine, context, region, "unmap a region", &pair, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__context_unmap(pair.context, pair.region, NULL, error);
    if (result == AEE_OK) {
        revoked(pair.context, pair.region);
    }
    leave_pair(engine, region, &pair);
    return result == AEE_OK ? aee__ok(error) : result;
}

/* With the lock held. When `to` cannot have it, `from` gets it back. */
static aee_result transfer_locked(struct aee__context *from, struct aee__context *to,
                                  struct aee__region *region, aee_error *error)
{
    uint32_t writable;
    if (!aee__context_has_room(to)) { /* mappings change only under the regions' lock */
        return aee__fail(error, AEE_ERR_LIMIT,
                         "cannot transfer region \"%s\": context \"%s\" is full", region->name,
                         to->name);
    }
    aee_result result = aee__context_unmap(from, region, &writable, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__context_map(to, region, writable, error);
    if (result != AEE_OK) {
        (void)aee__context_map(from, region, writable, NULL);
        return result;
    }
    revoked(from, region);
    return AEE_OK;
}

aee_result aee_region_transfer(aee_engine *engine, aee_context from, aee_context to,
                               aee_region region, uint64_t *guest_address, aee_error *error)
{
    struct pair pair;
    struct aee__context *receiver;
    if (guest_address) {
        *guest_address = 0;
    }
    aee_result result = aee__engine_enter(engine, to, "transfer a region", &receiver, error);
    if (result != AEE_OK) {
        return result;
    }
    result = enter_pair(engine, from, region, "transfer a region", &pair, error);
    if (result == AEE_OK) {
        result = pair.context == receiver
                     ? aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                                 "cannot transfer region \"%s\" from context \"%s\" to itself",
                                 pair.region->name, receiver->name)
                     : transfer_locked(pair.context, receiver, pair.region, error);
        if (result == AEE_OK && guest_address) {
            *guest_address = aee__region_gva(pair.region).value;
        }
        leave_pair(engine, region, &pair);
    }
    aee__engine_leave(receiver);
    return result == AEE_OK ? aee__ok(error) : result;
}
