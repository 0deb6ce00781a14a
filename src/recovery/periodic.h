/* periodic.h: checkpoints at the ends of frames. */
#ifndef AEE_RECOVERY_PERIODIC_H
#define AEE_RECOVERY_PERIODIC_H

#include "isolation/core.h"

/* Takes those that are due. On the thread that ends the frame, one at a time. */
void aee__periodic_end_frame(struct aee__core *core, uint64_t frame);

#endif
