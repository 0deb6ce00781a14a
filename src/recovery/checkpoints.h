/* checkpoints.h: what is kept of a context's state, and how it gets that state back. The newest
 * checkpoint is a copy of memory, older ones are what must be undone to get there. Each object
 * belongs to one context and is touched within its life-cycle operations only. */
#ifndef AEE_RECOVERY_CHECKPOINTS_H
#define AEE_RECOVERY_CHECKPOINTS_H

#include "isolation/context.h"

/* What a lane's registers keep between calls (aee_abi.h). */
struct aee__controls {
    uint32_t mxcsr;
    uint32_t x87;
    bool known;
};

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
bool aee__checkpoint_keeps_machine(const struct aee__context *context,
                                   const struct aee__instance *instance, const aee_crash *crash);
enum aee__origin aee__checkpoint_origin(struct aee__context *context);
aee_result aee__checkpoint_begin(struct aee__context *context, struct aee__instance *instance,
                                 bool succeeded, aee_error *error);
void aee__checkpoint_forget(struct aee__context *context);

/* For state that comes from elsewhere: a history of one checkpoint, of a memory that is laid out
 * so, with an empty copy and no declared ranges, to be filled in. */
aee_result aee__checkpoints_create(const struct aee__context *context,
                                   const struct aee__memory *layout,
                                   const struct aee__controls lanes[AEE_MAX_LANES],
                                   struct aee__checkpoints **out, aee_error *error);
struct aee__shadow *aee__checkpoints_copy(struct aee__checkpoints *checkpoints);
/* Its ranges, and in that mode their bytes. */
struct aee__declared *aee__checkpoints_declared(struct aee__checkpoints *checkpoints);
void aee__checkpoints_destroy(struct aee__checkpoints *checkpoints); /* NULL is fine */
/* Within an operation: they are the context's now; those that were. */
struct aee__checkpoints *aee__checkpoints_exchange(struct aee__context *context,
                                                   struct aee__checkpoints *checkpoints);
/* What its lanes keep now; those it does not have keep nothing. */
void aee__checkpoint_read_controls(const struct aee__instance *instance,
                                   struct aee__controls lanes[AEE_MAX_LANES]);

#endif
