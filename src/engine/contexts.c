/* contexts.c: the public life of contexts. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/sys.h"
#include "engine/engine.h"
#include "gpu/ownership.h"

#define IMAGE_FILE_MAX (INT64_C(256) << 20)

/* ---- Creation ----------------------------------------------------------------------------- */

static aee_result check_desc(const aee_engine *engine, const aee_context_desc *desc,
                             aee_error *error)
{
    aee_result result = aee__check_name("create a context", desc->name, error);
    if (result != AEE_OK) {
        return result;
    }
    if (desc->flags != 0 || desc->reserved0 != 0 || desc->kind < 0 ||
        desc->kind >= AEE_KIND_COUNT || desc->call_mode < AEE_CALL_AUTO ||
        desc->call_mode > AEE_CALL_DIRECT || desc->minimum_level < AEE_LEVEL_AUTO ||
        desc->minimum_level > AEE_LEVEL_FULL) {
        return aee__fail(
            error, AEE_ERR_INVALID_ARGUMENT,
            "cannot create context \"%s\": flags, kind, level or call mode is out of range",
            desc->name);
    }
    if (desc->minimum_level > engine->core.ops->level) {
        return aee__fail(error, AEE_ERR_NO_BACKEND,
                         "cannot create context \"%s\": level %s is demanded, %s is in force",
                         desc->name, aee_level_name(desc->minimum_level),
                         aee_level_name(engine->core.ops->level));
    }
    return AEE_OK;
}

static aee_result destroy_handle(aee_engine *engine, uint64_t handle, aee_error *error);

aee_result aee__contexts_add(aee_engine *engine, const struct aee__context_plan *plan,
                             aee_context *out, aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__context_create(&engine->core, plan, &context, error);
    if (result != AEE_OK) {
        return result;
    }
    /* The handle is written before anybody else can know it. */
    context->handle = aee__handles_reserve(&engine->core.contexts);
    if (context->handle == 0) {
        aee__context_free(context);
        return aee__fail(error, AEE_ERR_LIMIT,
                         "cannot create context \"%s\": the engine has %u contexts", plan->name,
                         engine->core.contexts.capacity);
    }
    uint64_t handle = context->handle;
    aee__handles_publish(&engine->core.contexts, handle, context);
    if (atomic_load(&engine->closed)) { /* shut down meanwhile: nobody may be left behind */
        (void)destroy_handle(engine, handle, NULL);
        return aee__engine_check(engine, "create a context", error);
    }
    out->id = handle;
    return aee__ok(error);
}

static aee_result create(aee_engine *engine, const aee_context_desc *desc, aee_context *out,
                         aee_error *error)
{
    struct aee__context_plan plan = {.name = desc->name,
                                     .kind = desc->kind,
                                     .mode = desc->call_mode,
                                     .user = desc->user,
                                     .limits = desc->limits};
    aee_limits defaults;
    aee__limits_default(desc->kind, &defaults);
    aee_result result = aee__limits_complete(desc->name, &defaults, &plan.limits, error);
    return result == AEE_OK ? aee__contexts_add(engine, &plan, out, error) : result;
}

aee_result aee_context_create(aee_engine *engine, const aee_context_desc *user_desc,
                              aee_context *out, aee_error *error)
{
    aee_context_desc desc = {0};
    if (!out) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot create a context: out is NULL");
    }
    out->id = 0;
    aee_result result = aee__engine_check(engine, "create a context", error);
    if (result == AEE_OK) {
        result = aee__copy_desc("create a context", user_desc, &desc, sizeof desc,
                                offsetof(aee_context_desc, kind), error);
    }
    if (result == AEE_OK) {
        result = check_desc(engine, &desc, error);
    }
    return result == AEE_OK ? create(engine, &desc, out, error) : result;
}

static aee_result create_kind(aee_engine *engine, aee_kind kind, const char *name, aee_context *out,
                              aee_error *error)
{
    aee_context_desc desc = {.struct_size = sizeof desc, .name = name, .kind = kind};
    return aee_context_create(engine, &desc, out, error);
}

aee_result aee_create_isolated_context(aee_engine *engine, const char *name, aee_context *out,
                                       aee_error *error)
{
    return create_kind(engine, AEE_KIND_CUSTOM, name, out, error);
}

aee_result aee_isolate_agents(aee_engine *engine, aee_context *out, aee_error *error)
{
    return create_kind(engine, AEE_KIND_AGENTS, "agents", out, error);
}

aee_result aee_isolate_particles(aee_engine *engine, aee_context *out, aee_error *error)
{
    return create_kind(engine, AEE_KIND_PARTICLES, "particles", out, error);
}

aee_result aee_isolate_rendering(aee_engine *engine, aee_context *out, aee_error *error)
{
    return create_kind(engine, AEE_KIND_RENDERING, "rendering", out, error);
}

aee_result aee_isolate_user_mod(aee_engine *engine, const char *name, aee_context *out,
                                aee_error *error)
{
    return create_kind(engine, AEE_KIND_USER_MOD, name, out, error);
}

aee_result aee_isolate_scene(aee_engine *engine, const char *name, aee_context *out,
                             aee_error *error)
{
    return create_kind(engine, AEE_KIND_SCENE, name, out, error);
}

/* ---- Loading ------------------------------------------------------------------------------ */

aee_result aee_load(aee_engine *engine, aee_context handle, const void *bytes, size_t size,
                    aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, "load an image", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    if (!bytes) {
        result = aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                           "cannot load into context \"%s\": bytes is NULL", context->name);
    } else {
        result = aee__context_load(context, bytes, size, error);
    }
    aee__engine_leave(context);
    return result;
}

static aee_result read_all(int fd, const char *what, uint8_t *bytes, size_t size, aee_error *error)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = aee__sys_pread(fd, bytes + done, size - done, (off_t)done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return aee__fail_os(error, errno, "cannot read %s", what);
        }
        if (got == 0) {
            return aee__fail(error, AEE_ERR_BAD_IMAGE, "%s became shorter while it was read", what);
        }
        done += (size_t)got;
    }
    return AEE_OK;
}

static aee_result load_fd(aee_engine *engine, aee_context handle, int fd, const char *what,
                          aee_error *error)
{
    int64_t size = aee__sys_file_size(fd);
    if (size < 0) {
        return aee__fail_os(error, errno, "cannot load %s", what);
    }
    if (size == 0 || size > IMAGE_FILE_MAX) {
        return aee__fail(error, AEE_ERR_BAD_IMAGE, "cannot load %s: it has %lld bytes", what,
                         (long long)size);
    }
    const struct aee__alloc *alloc = &engine->core.alloc;
    uint8_t *bytes = aee__alloc_zero(alloc, 1, (size_t)size);
    if (!bytes) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot load %s: out of memory", what);
    }
    aee_result result = read_all(fd, what, bytes, (size_t)size, error);
    if (result == AEE_OK) {
        result = aee_load(engine, handle, bytes, (size_t)size, error);
    }
    aee__alloc_free(alloc, bytes, (size_t)size);
    return result;
}

aee_result aee_load_fd(aee_engine *engine, aee_context handle, int fd, aee_error *error)
{
    aee_result result = aee__engine_check(engine, "load an image", error);
    return result == AEE_OK ? load_fd(engine, handle, fd, "the descriptor's file", error) : result;
}

aee_result aee_load_file(aee_engine *engine, aee_context handle, const char *path, aee_error *error)
{
    aee_result result = aee__engine_check(engine, "load an image", error);
    if (result != AEE_OK) {
        return result;
    }
    if (!path) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot load an image: path is NULL");
    }
    int fd = aee__sys_open(path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) {
        return aee__fail_os(error, errno, "cannot open image \"%s\"", path);
    }
    result = load_fd(engine, handle, fd, path, error);
    (void)aee__sys_close(fd);
    return result;
}

/* ---- State -------------------------------------------------------------------------------- */

aee_result aee_pause(aee_engine *engine, aee_context handle, aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, "pause", &context, error);
    if (result == AEE_OK) {
        result = aee__context_pause(context, true, error);
        aee__engine_leave(context);
    }
    return result;
}

aee_result aee_resume(aee_engine *engine, aee_context handle, aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, "resume", &context, error);
    if (result == AEE_OK) {
        result = aee__context_pause(context, false, error);
        aee__engine_leave(context);
    }
    return result;
}

aee_result aee_stop(aee_engine *engine, aee_context handle, aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, "stop", &context, error);
    if (result == AEE_OK) {
        result = aee__context_stop(context, error);
        aee__engine_leave(context);
    }
    return result;
}

aee_result aee_restart(aee_engine *engine, aee_context handle, aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, "restart", &context, error);
    if (result == AEE_OK) {
        result = aee__context_restart(context, error);
        aee__engine_leave(context);
    }
    return result;
}

aee_result aee_wait_ready(aee_engine *engine, aee_context handle, uint64_t timeout_ns,
                          aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, "wait", &context, error);
    if (result == AEE_OK) {
        result = aee__context_wait_ready(context, timeout_ns, error);
        aee__engine_leave(context);
    }
    return result;
}

/* ---- Destruction -------------------------------------------------------------------------- */

/* Ends the context and takes its handle away; the caller's reference goes with it. */
static aee_result destroy(aee_engine *engine, struct aee__context *context, aee_error *error)
{
    aee_result result = aee__context_end(context, error);
    if (result == AEE_OK && !aee__handles_retire(&engine->core.contexts, context->handle)) {
        result =
            aee__fail(error, AEE_ERR_STALE,
                      "cannot destroy context \"%s\": another thread does already", context->name);
    }
    if (result != AEE_OK) {
        aee__engine_leave(context);
        return result;
    }
    aee__handles_remove(&engine->core.contexts, context->handle);
    aee__context_event(context, AEE_EVENT_DESTROYED, 0, "context \"%s\": destroyed", context->name);
    aee__context_free(context);
    return aee__ok(error);
}

aee_result aee_destroy(aee_engine *engine, aee_context handle, aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_check(engine, "destroy", error);
    if (result != AEE_OK || handle.id == 0) {
        return result;
    }
    result = aee__engine_enter(engine, handle, "destroy", &context, error);
    return result == AEE_OK ? destroy(engine, context, error) : result;
}

static aee_result destroy_handle(aee_engine *engine, uint64_t handle, aee_error *error)
{
    aee_result why;
    struct aee__context *context = aee__handles_acquire(&engine->core.contexts, handle, &why);
    return context ? destroy(engine, context, error) : why;
}

struct sweep {
    uint64_t found;
    bool reentry;
};

static void find_one(void *user, uint64_t handle, void *object)
{
    struct sweep *sweep = user;
    sweep->found = handle;
    sweep->reentry = sweep->reentry || aee__context_is_reentry(object);
}

bool aee__contexts_any_reentry(aee_engine *engine, aee_error *error)
{
    struct sweep sweep = {0};
    aee__handles_each(&engine->core.contexts, find_one, &sweep);
    if (sweep.reentry || aee__housekeeper_is_self(&engine->core.restarter)) {
        (void)aee__fail(error, AEE_ERR_BUSY, "cannot shut the engine down from a host function");
        return true;
    }
    return false;
}

void aee__contexts_destroy_all(aee_engine *engine)
{
    struct sweep sweep;
    atomic_store(&engine->closed, true);
    do {
        sweep = (struct sweep){0};
        aee__handles_each(&engine->core.contexts, find_one, &sweep);
        if (sweep.found != 0) {
            (void)destroy_handle(engine, sweep.found, NULL);
        }
    } while (sweep.found != 0);
}

/* ---- Limits and resources ----------------------------------------------------------------- */

static aee_result set_limits(aee_engine *engine, struct aee__context *context,
                             const aee_limits *limits, aee_error *error)
{
    aee_limits base;
    aee_limits complete = *limits;
    (void)pthread_mutex_lock(&engine->limits_lock);
    aee__context_get_limits(context, &base);
    aee_result result = aee__limits_complete(context->name, &base, &complete, error);
    if (result == AEE_OK) {
        result = aee__context_set_limits(context, &complete, error);
    }
    (void)pthread_mutex_unlock(&engine->limits_lock);
    return result;
}

aee_result aee_set_limits(aee_engine *engine, aee_context handle, const aee_limits *limits,
                          aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, "set limits", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = limits ? set_limits(engine, context, limits, error)
                    : aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                                "cannot set the limits of context \"%s\": limits is NULL",
                                context->name);
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}

aee_result aee_allocate_isolated_memory(aee_engine *engine, aee_context handle, uint64_t megabytes,
                                        aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, "allocate memory", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    if (megabytes == 0 || megabytes > AEE_HEAP_MAX >> 20) {
        result =
            aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                      "cannot give context \"%s\" %llu MiB: 1 to %llu are possible", context->name,
                      (unsigned long long)megabytes, (unsigned long long)(AEE_HEAP_MAX >> 20));
    } else {
        aee_limits limits = {.memory_bytes = megabytes << 20};
        result = set_limits(engine, context, &limits, error);
    }
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}

aee_result aee_allocate_isolated_gpu(aee_engine *engine, aee_context handle,
                                     const aee_gpu_buffer *buffers, uint32_t count,
                                     aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, "allocate GPU buffers", &context, error);
    if (result == AEE_OK) {
        result = aee__gpu_allocate(context, buffers, count, error);
        aee__engine_leave(context);
    }
    return result;
}

aee_result aee_charge_io(aee_engine *engine, aee_context handle, aee_io io, uint64_t bytes,
                         aee_error *error)
{
    struct aee__context *context;
    aee_result result =
        aee__engine_enter(engine, handle, "charge input and output", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    if (io == AEE_IO_DISK || io == AEE_IO_NETWORK) {
        enum aee__rate rate = io == AEE_IO_DISK ? AEE__RATE_DISK : AEE__RATE_NETWORK;
        result = aee__rates_take(context, rate, bytes, error);
    } else {
        result = aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                           "cannot charge context \"%s\" for I/O: kind %d is unknown",
                           context->name, (int)io);
    }
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}
