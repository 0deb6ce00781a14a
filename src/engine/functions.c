/* functions.c: what an image exports, one after the other. */
#include "engine/engine.h"

_Static_assert(AEE_FUNCTION_NAME_MAX > AEE__IMAGE_MAX_NAME, "every exported name fits");

aee_result aee_get_function_info(aee_engine *engine, aee_context handle, uint32_t index,
                                 aee_function_info *info, aee_error *error)
{
    struct aee__context *context;
    if (!info) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot list the functions of a context: info is NULL");
    }
    *info = (aee_function_info){0};
    aee_result result =
        aee__engine_enter(engine, handle, "list the functions of a context", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    uint16_t epoch = 0;
    result = aee__context_export(context, index, info, &epoch, error);
    if (result == AEE_OK) {
        info->function = aee__function_handle(handle, epoch, index);
    }
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}
