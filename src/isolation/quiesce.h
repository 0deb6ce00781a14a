/* quiesce.h: a context between calls: one thread owns all lanes of its instance, and none has a
 * call. Calls that come meanwhile wait. */
#ifndef AEE_ISOLATION_QUIESCE_H
#define AEE_ISOLATION_QUIESCE_H

#include "isolation/context.h"

/* Begins a life-cycle operation, waits for calls in flight (about a call budget) and takes the
 * lanes of the current instance. `parked`: no vCPU spins any more, either. On failure nothing is
 * held: BUSY, STALE, and what calls into a context without an instance return. */
aee_result aee__quiesce_begin(struct aee__context *context, const char *operation, bool parked,
                              struct aee__instance **out, aee_error *error);
/* The same where nobody has to be waited for, or else BUSY. */
aee_result aee__quiesce_try(struct aee__context *context, bool parked, struct aee__instance **out);
void aee__quiesce_end(struct aee__context *context, struct aee__instance *instance);

/* Within an operation: the same for an instance, which need not be current; until about that time.
 */
aee_result aee__quiesce_lanes(struct aee__instance *instance, bool parked, uint64_t deadline_ns);
void aee__quiesce_release(struct aee__instance *instance);

#endif
