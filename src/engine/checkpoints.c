/* checkpoints.c: the public side of checkpoints. */
#include "recovery/checkpoints.h"
#include "engine/engine.h"

aee_result aee_checkpoint(aee_engine *engine, aee_context handle, aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, "take a checkpoint", &context, error);
    if (result == AEE_OK) {
        result = aee__checkpoint_take(context, error);
        aee__engine_leave(context);
    }
    return result;
}

aee_result aee_restore(aee_engine *engine, aee_context handle, uint32_t back, aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, "restore", &context, error);
    if (result == AEE_OK) {
        result = aee__checkpoint_restore(context, back, error);
        aee__engine_leave(context);
    }
    return result;
}
