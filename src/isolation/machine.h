/* machine.h: a machine of a back end with an instance's memory in it and its lanes started.
 * Stateless; the caller owns machine and memory. */
#ifndef AEE_ISOLATION_MACHINE_H
#define AEE_ISOLATION_MACHINE_H

#include "ept/memory.h"
#include "isolation/core.h"

/* What a lane begins with in such memory. */
struct aee__lane_start aee__machine_lane_start(const struct aee__core *core,
                                               const struct aee__memory *memory,
                                               const struct aee__memory_plan *plan, uint32_t lane);
/* Takes a machine from the pool, shows it the memory and starts the lanes. Also on failure *out is
 * to be destroyed: NULL or a machine. */
aee_result aee__machine_make(struct aee__core *core, const struct aee__memory *memory,
                             const struct aee__memory_plan *plan, struct aee__vm **out,
                             aee_error *error);
/* From now on an end that no lane tells of ends `owner`; NULL: nobody yet. */
aee_result aee__machine_seal(struct aee__core *core, struct aee__vm *vm,
                             struct aee__instance *owner, aee_error *error);
/* The same of a machine that is sealed. False: it has ended. */
bool aee__machine_adopt(struct aee__core *core, struct aee__vm *vm, struct aee__instance *owner);

#endif
