/* check.c: the checks that public calls begin with. */
#include <string.h>

#include "engine/engine.h"

static aee_result refuse(const aee_engine *engine, const char *operation, aee_error *error)
{
    if (!engine) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot %s: engine is NULL", operation);
    }
    if (*engine->alive == 0) {
        return aee__fail(error, AEE_ERR_FORKED,
                         "cannot %s: the engine belongs to the process that called fork()",
                         operation);
    }
    return aee__fail(error, AEE_ERR_CLOSED, "cannot %s: the engine has been shut down", operation);
}

/* Each call passes here: without a sentence there is nothing to prepare. */
static inline aee_result check(const aee_engine *engine, const char *operation, aee_error *error)
{
    bool fine = engine && *engine->alive != 0 &&
                !atomic_load_explicit(&engine->closed, memory_order_relaxed);
    return __builtin_expect(fine, 1) ? AEE_OK : refuse(engine, operation, error);
}

aee_result aee__engine_check(const aee_engine *engine, const char *operation, aee_error *error)
{
    return check(engine, operation, error);
}

static aee_result refuse_handle(aee_context handle, const char *operation, aee_result why,
                                aee_error *error)
{
    return why == AEE_ERR_STALE
               ? aee__fail(error, why, "cannot %s: the context has been destroyed", operation)
               : aee__fail(error, why, "cannot %s: 0x%llx is not a context of this engine",
                           operation, (unsigned long long)handle.id);
}

aee_result aee__engine_enter(aee_engine *engine, aee_context handle, const char *operation,
                             struct aee__context **out, aee_error *error)
{
    aee_result result = check(engine, operation, error);
    if (result != AEE_OK) {
        return result;
    }
    *out = aee__handles_acquire(&engine->core.contexts, handle.id, &result);
    return result == AEE_OK ? AEE_OK : refuse_handle(handle, operation, result, error);
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
