#include "gpu/ownership.h"

aee_result aee__gpu_allocate(struct aee__context *context, const aee_gpu_buffer *buffers,
                             uint32_t count, aee_error *error)
{
    (void)buffers;
    return aee__fail(
        error, AEE_ERR_UNSUPPORTED,
        "cannot give %u GPU buffers to context \"%s\": this version has no GPU back end", count,
        context->name);
}
