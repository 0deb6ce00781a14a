/* ownership.h: GPU buffers that belong to exactly one context. */
#ifndef AEE_GPU_OWNERSHIP_H
#define AEE_GPU_OWNERSHIP_H

#include "isolation/context.h"

/* No GPU back end is built in: AEE_ERR_UNSUPPORTED, with a sentence. */
aee_result aee__gpu_allocate(struct aee__context *context, const aee_gpu_buffer *buffers,
                             uint32_t count, aee_error *error);

#endif
