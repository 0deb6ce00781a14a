/* succession.h: an instance that takes the machine of one that has crashed: memory, window and
 * vCPUs go over as they are, with all that is mapped and warm, and the lanes begin anew. */
#ifndef AEE_ISOLATION_SUCCESSION_H
#define AEE_ISOLATION_SUCCESSION_H

#include "isolation/instance.h"

/* Within an operation. Makes the successor of `fallen`, as aee__life_build() does without running
 * initialisers: the caller owns its lanes, and gives the memory its contents. Waits for owners of
 * the fallen one's lanes until about that time. BUSY: they do not leave; UNSUPPORTED: a lane cannot
 * begin anew; then the fallen one has what it had, or its machine is gone. */
aee_result aee__instance_succeed(struct aee__instance *fallen, uint64_t deadline_ns,
                                 struct aee__instance **out);

#endif
