/* checkpoints.h: what is kept of a context's state, and how it gets that state back. The newest
 * checkpoint is a copy of memory, older ones are what must be undone to get there. Each object
 * belongs to one context and is touched within its life-cycle operations only. */
#ifndef AEE_RECOVERY_CHECKPOINTS_H
#define AEE_RECOVERY_CHECKPOINTS_H

#include "isolation/context.h"

/* aee_checkpoint() and aee_restore(). */
aee_result aee__checkpoint_take(struct aee__context *context, aee_error *error);
aee_result aee__checkpoint_restore(struct aee__context *context, uint32_t back, aee_error *error);
/* The same where the context need not be waited for, or else BUSY. */
aee_result aee__checkpoint_try(struct aee__context *context, aee_error *error);
/* How many there are. */
uint32_t aee__checkpoint_count(const struct aee__context *context);

/* aee__recovery_ops */
aee_result aee__checkpoint_configure(struct aee__context *context, const aee_recovery_desc *desc,
                                     aee_error *error);
aee_result aee__checkpoint_choose(struct aee__context *context, uint32_t back, aee_error *error);
bool aee__checkpoint_keeps_machine(const struct aee__context *context, const aee_crash *crash);
enum aee__origin aee__checkpoint_origin(struct aee__context *context);
aee_result aee__checkpoint_begin(struct aee__context *context, struct aee__instance *instance,
                                 bool succeeded, aee_error *error);
void aee__checkpoint_forget(struct aee__context *context);

#endif
