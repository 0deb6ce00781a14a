/* check.c: the checks that public calls begin with. */
#include <string.h>

#include "engine/engine.h"

aee_result aee__engine_check(const aee_engine *engine, const char *operation, aee_error *error)
{
    if (!engine) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot %s: engine is NULL", operation);
    }
    if (*engine->alive == 0) {
        return aee__fail(error, AEE_ERR_FORKED,
                         "cannot %s: the engine belongs to the process that called fork()",
                         operation);
    }
    if (atomic_load_explicit(&engine->closed, memory_order_relaxed)) {
        return aee__fail(error, AEE_ERR_CLOSED, "cannot %s: the engine has been shut down",
                         operation);
    }
    return AEE_OK;
}

aee_result aee__engine_enter(aee_engine *engine, aee_context handle, const char *operation,
                             struct aee__context **out, aee_error *error)
{
    aee_result result = aee__engine_check(engine, operation, error);
    if (result != AEE_OK) {
        return result;
    }
    *out = aee__handles_acquire(&engine->core.contexts, handle.id, &result);
    if (result == AEE_ERR_STALE) {
        return aee__fail(error, result, "cannot %s: the context has been destroyed", operation);
    }
    if (result != AEE_OK) {
        return aee__fail(error, result, "cannot %s: 0x%llx is not a context of this engine",
                         operation, (unsigned long long)handle.id);
    }
    return AEE_OK;
}

void aee__engine_leave(struct aee__context *context)
{
    aee__handles_release(&context->core->contexts, context->handle);
}

aee_result aee__check_name(const char *operation, const char *name, aee_error *error)
{
    if (!name || !name[0]) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot %s: the name is %s", operation,
                         name ? "empty" : "NULL");
    }
    size_t length = strnlen(name, AEE_NAME_MAX);
    if (length == AEE_NAME_MAX) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot %s: the name is longer than %d bytes", operation,
                         AEE_NAME_MAX - 1);
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)name[i];
        if (byte < 0x20 || byte == 0x7f) {
            return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                             "cannot %s: byte %zu of the name is a control character", operation,
                             i);
        }
    }
    return AEE_OK;
}

aee_result aee__copy_desc(const char *operation, const void *desc, void *known, size_t size,
                          size_t least, aee_error *error)
{
    uint32_t struct_size;
    if (!desc) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot %s: the descriptor is NULL",
                         operation);
    }
    memcpy(&struct_size, desc, sizeof struct_size);
    if (struct_size < least || struct_size > size) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot %s: struct_size is %u, this library knows %zu to %zu", operation,
                         struct_size, least, size);
    }
    memcpy(known, desc, struct_size);
    return AEE_OK;
}
