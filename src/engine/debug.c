/* debug.c: the public side of debugging. */
#include "engine/engine.h"
#include "recovery/gdb.h"

#define HOLD_NS (300 * AEE__NS_PER_SECOND)
#define TIMEOUT_NS (600 * AEE__NS_PER_SECOND)
/* Longer times are as good as none, and can be added up. */
#define LONGEST_NS (UINT64_MAX / 4)

static uint64_t time_or(uint64_t ns, uint64_t otherwise)
{
    ns = ns ? ns : otherwise;
    return ns < LONGEST_NS ? ns : LONGEST_NS;
}

static aee_result listen(struct aee__context *context, aee_debug_desc *desc, aee_error *error)
{
    if (desc->flags & ~(AEE_DEBUG_WAIT | AEE_DEBUG_HOLD_CRASHES)) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot listen for a debugger of context \"%s\": flags 0x%x are unknown",
                         context->name, desc->flags);
    }
    if (!desc->address) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot listen for a debugger of context \"%s\": address is NULL",
                         context->name);
    }
    if (!context->core->ops->lane_set_registers) {
        return aee__fail(error, AEE_ERR_UNSUPPORTED,
                         "cannot listen for a debugger of context \"%s\": at level %s the "
                         "component runs in this process, to which a debugger can attach",
                         context->name, aee_level_name(context->core->ops->level));
    }
    desc->hold_ns = time_or(desc->hold_ns, HOLD_NS);
    desc->timeout_ns = time_or(desc->timeout_ns, TIMEOUT_NS);
    return aee__gdb_listen(context, desc, error);
}

aee_result aee_debug_listen(aee_engine *engine, aee_context handle, const aee_debug_desc *user_desc,
                            aee_error *error)
{
    struct aee__context *context;
    aee_debug_desc desc = {0};
    aee_result result = aee__engine_enter(engine, handle, "listen for a debugger", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__copy_desc("listen for a debugger", user_desc, &desc, sizeof desc,
                            offsetof(aee_debug_desc, file), error);
    if (result == AEE_OK) {
        result = listen(context, &desc, error);
    }
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}

aee_result aee_debug_address(aee_engine *engine, aee_context handle, char *address, size_t capacity,
                             aee_error *error)
{
    struct aee__context *context;
    aee_result result =
        aee__engine_enter(engine, handle, "tell a debugger's address", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = address ? aee__gdb_address(context, address, capacity, error)
                     : aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                                 "cannot tell a debugger's address: address is NULL");
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}

aee_result aee_debug_close(aee_engine *engine, aee_context handle, aee_error *error)
{
    struct aee__context *context;
    aee_result result =
        aee__engine_enter(engine, handle, "close a debugger's address", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__gdb_close(context, error);
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}
