/* calls.c: public calls into components and host functions for them.
 * A function handle is type (4 bits) | context slot (16) | context generation (16) | image epoch
 * (16) | export index (12). */
#include <string.h>

#include "engine/engine.h"
#include "isolation/retry.h"

_Static_assert(AEE__IMAGE_MAX_EXPORTS <= 1u << 12, "an export index fits a function handle");

static uint64_t function_prefix(uint64_t context)
{
    return (uint64_t)AEE__HANDLE_FUNCTION << 60 |
           (uint64_t)(aee__handle_slot(context) & 0xffff) << 44 |
           (uint64_t)(aee__handle_generation(context) & 0xffff) << 28;
}

#define FUNCTION_PREFIX (~UINT64_C(0) << 28)

aee_function aee__function_handle(aee_context handle, uint16_t epoch, uint32_t index)
{
    return (aee_function){function_prefix(handle.id) | (uint64_t)epoch << 12 | index};
}

aee_result aee_find_function(aee_engine *engine, aee_context handle, const char *name,
                             aee_function *out, aee_error *error)
{
    struct aee__context *context;
    uint32_t index = 0;
    uint16_t epoch = 0;
    if (!name || !out) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot find a function: name or out is NULL");
    }
    out->id = 0;
    aee_result result = aee__engine_enter(engine, handle, "find a function", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__context_find(context, name, &index, &epoch, error);
    if (result == AEE_OK) {
        *out = aee__function_handle(handle, epoch, index);
    }
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}

uint16_t aee__function_epoch(aee_function function)
{
    return (uint16_t)(function.id >> 12);
}

aee_result aee__function_check(aee_function function, aee_context handle,
                               const struct aee__context *context, aee_error *error)
{
    return (function.id & FUNCTION_PREFIX) == function_prefix(handle.id)
               ? AEE_OK
               : aee__fail(error, AEE_ERR_WRONG_HANDLE,
                           "cannot call 0x%llx: it is not a function of context \"%s\"",
                           (unsigned long long)function.id, context->name);
}

static aee_result call(aee_engine *engine, aee_context handle, aee_function function,
                       struct aee__call *call, aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, "call a function", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__function_check(function, handle, context, error);
    if (result == AEE_OK) {
        call->export_index = (int32_t)(function.id & 0xfff);
        uint16_t epoch = aee__function_epoch(function);
        result = aee__context_call(context, epoch, call, error);
        if (result != AEE_OK) {
            result = aee__retry_call(context, epoch, call, result, error);
        }
    }
    aee__engine_leave(context);
    return result;
}

aee_result aee_set_idempotent(aee_engine *engine, aee_context handle, aee_function function,
                              int idempotent, aee_error *error)
{
    struct aee__context *context;
    aee_result result =
        aee__engine_enter(engine, handle, "mark a function as idempotent", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__function_check(function, handle, context, error);
    if (result == AEE_OK) {
        result = aee__retry_mark(context, (uint32_t)(function.id & 0xfff),
                                 aee__function_epoch(function), idempotent != 0, error);
    }
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}

static aee_result check_arguments(const void *args, uint32_t count, aee_error *error)
{
    if (count > AEE_ARGS_MAX) {
        return aee__fail(error, AEE_ERR_ARGUMENT_COUNT,
                         "cannot call a function with %u arguments: at most %d", count,
                         AEE_ARGS_MAX);
    }
    if (count > 0 && !args) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot call a function: args is NULL");
    }
    return AEE_OK;
}

aee_result aee_call(aee_engine *engine, aee_context context, aee_function function,
                    const aee_value *args, uint32_t count, aee_value *result, aee_error *error)
{
    aee_result status = check_arguments(args, count, error);
    if (status != AEE_OK) {
        return status;
    }
    struct aee__call request = {.request.flags = AEE_CALL_ARGS | count << AEE_CALL_COUNT_SHIFT,
                                .takes_result = result != NULL,
                                .takes_double = result && result->type == AEE_TYPE_F64};
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&request.request.args[i], &args[i].as, sizeof request.request.args[i]);
        if (args[i].type == AEE_TYPE_F64) {
            request.request.flags |= 1u << (AEE_CALL_DOUBLE_SHIFT + i);
        } else if (args[i].type != AEE_TYPE_I64) {
            return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                             "cannot call a function: argument %u has type %d", i,
                             (int)args[i].type);
        }
    }
    status = call(engine, context, function, &request, error);
    if (status == AEE_OK && result) {
        uint64_t bits =
            result->type == AEE_TYPE_F64 ? request.result.double_value : request.result.value;
        memcpy(&result->as, &bits, sizeof bits);
    }
    return status;
}

aee_result aee_call_i64(aee_engine *engine, aee_context context, aee_function function,
                        const int64_t *args, uint32_t count, int64_t *result, aee_error *error)
{
    aee_result status = check_arguments(args, count, error);
    if (status != AEE_OK) {
        return status;
    }
    struct aee__call request;
    aee__call_begin(&request, AEE_CALL_ARGS | count << AEE_CALL_COUNT_SHIFT);
    request.takes_result = result != NULL;
    for (uint32_t i = 0; i < count; i++) {
        request.request.args[i] = (uint64_t)args[i];
    }
    status = call(engine, context, function, &request, error);
    if (status == AEE_OK && result) {
        *result = (int64_t)request.result.value;
    }
    return status;
}

aee_result aee_call_bytes(aee_engine *engine, aee_context context, aee_function function,
                          const void *request, size_t request_size, void *reply,
                          size_t reply_capacity, size_t *reply_size, aee_error *error)
{
    if (reply_size) {
        *reply_size = 0;
    }
    if ((request_size > 0 && !request) || (reply_capacity > 0 && !reply)) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot call a function: request or reply is NULL");
    }
    if (request_size > AEE_PAYLOAD_MAX) {
        return aee__fail(error, AEE_ERR_TOO_LARGE,
                         "cannot call a function with %zu bytes: at most %d travel inline",
                         request_size, AEE_PAYLOAD_MAX);
    }
    struct aee__call call_bytes = {
        .request.flags = AEE_CALL_BYTES | 4u << AEE_CALL_COUNT_SHIFT,
        .payload = request,
        .payload_size = request_size,
        .reply = reply,
        .reply_capacity = reply_capacity < AEE_PAYLOAD_MAX ? reply_capacity : AEE_PAYLOAD_MAX};
    aee_result status = call(engine, context, function, &call_bytes, error);
    if (status == AEE_OK && reply_size) {
        *reply_size = call_bytes.reply_size;
    }
    return status;
}

/* ---- Host functions ----------------------------------------------------------------------- */

static aee_result check_host_name(const char *operation, const char *name, aee_error *error)
{
    aee_result result = aee__check_name(operation, name, error);
    if (result == AEE_OK && strlen(name) >= AEE_HOST_NAME_MAX) {
        result = aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                           "cannot %s: the name is longer than %u bytes", operation,
                           AEE_HOST_NAME_MAX - 1);
    }
    return result;
}

aee_result aee_register_host_function(aee_engine *engine, const char *name, aee_host_fn function,
                                      void *user, aee_error *error)
{
    aee_result result = aee__engine_check(engine, "register a host function", error);
    if (result == AEE_OK) {
        result = check_host_name("register a host function", name, error);
    }
    if (result == AEE_OK && !function) {
        result = aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                           "cannot register host function \"%s\": it is NULL", name);
    }
    if (result == AEE_OK) {
        result = aee__host_functions_add(&engine->core.functions, name, function, user, error);
    }
    return result == AEE_OK ? aee__ok(error) : result;
}

int aee_host_call_cancelled(const aee_host_call *call)
{
    return call && call->internal ? aee__lane_is_over(call->internal) : 0;
}

static aee_result set_grant(aee_engine *engine, aee_context handle, const char *name, bool granted,
                            aee_error *error)
{
    struct aee__context *context;
    const char *operation = granted ? "grant a host function" : "revoke a host function";
    aee_result result = aee__engine_enter(engine, handle, operation, &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = check_host_name(operation, name, error);
    if (result == AEE_OK) {
        int32_t index = aee__host_functions_find(&engine->core.functions, name);
        if (index >= 0) {
            aee__grants_set(&context->grants, (uint32_t)index, granted);
            (void)aee__ok(error);
        } else {
            result = aee__fail(error, AEE_ERR_NOT_FOUND, "cannot %s: none is called \"%s\"",
                               operation, name);
        }
    }
    aee__engine_leave(context);
    return result;
}

aee_result aee_grant_host_function(aee_engine *engine, aee_context context, const char *name,
                                   aee_error *error)
{
    return set_grant(engine, context, name, true, error);
}

aee_result aee_revoke_host_function(aee_engine *engine, aee_context context, const char *name,
                                    aee_error *error)
{
    return set_grant(engine, context, name, false, error);
}
