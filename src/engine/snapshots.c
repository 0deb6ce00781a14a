/* snapshots.c: the public side of snapshot files. */
#include "engine/engine.h"
#include "recovery/snapshot.h"

static aee_result
with_context(aee_engine *engine, aee_context handle, const char *path, const char *operation,
             aee_result (*carry_out)(struct aee__context *, const char *, aee_error *),
             aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, operation, &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = path && path[0] ? carry_out(context, path, error)
                             : aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                                         "cannot %s: there is no path", operation);
    aee__engine_leave(context);
    return result;
}

aee_result aee_snapshot_save(aee_engine *engine, aee_context handle, const char *path,
                             aee_error *error)
{
    return with_context(engine, handle, path, "save a snapshot", aee__snapshot_save, error);
}

aee_result aee_snapshot_load(aee_engine *engine, aee_context handle, const char *path,
                             aee_error *error)
{
    return with_context(engine, handle, path, "load a snapshot", aee__snapshot_load, error);
}
