/* declared.h: a copy of a component's declared state (isolation/state_ranges.h). Owns its buffer,
 * which is used again. */
#ifndef AEE_RECOVERY_DECLARED_H
#define AEE_RECOVERY_DECLARED_H

#include "isolation/instance.h"
#include "isolation/state_ranges.h"

struct aee__declared {
    struct aee__state_ranges ranges;
    uint8_t *bytes; /* of the ranges, one after the other */
    uint64_t size;
    uint64_t room;
};

/* Copies from an instance whose lanes the caller owns, none with a call. Fails before anything is
 * changed: STATE (nothing was declared), NO_MEMORY. */
aee_result aee__declared_take(struct aee__declared *declared, const struct aee__alloc *alloc,
                              struct aee__instance *instance, aee_error *error);
/* Copies it back, into the same or another instance of the image, and makes its ranges the
 * instance's. STATE: one of them has no memory there. */
aee_result aee__declared_put(const struct aee__declared *declared, struct aee__instance *instance,
                             aee_error *error);
void aee__declared_free(struct aee__declared *declared, const struct aee__alloc *alloc);
uint64_t aee__declared_bytes(const struct aee__declared *declared); /* of host memory */

#endif
