/* capture.h: what a report of a crash wants to know, copied when it happens. On the thread that
 * found the crash, which may be jailed: no system call but those of a lane's registers, no
 * allocation, a bounded time. */
#ifndef AEE_RECOVERY_CAPTURE_H
#define AEE_RECOVERY_CAPTURE_H

#include "isolation/context.h"

/* aee__recovery_ops */
void aee__capture(struct aee__context *context, struct aee__instance *instance,
                  struct aee__lane *lane, const aee_crash *crash);
void aee__capture_number(struct aee__context *context, struct aee__instance *instance, uint64_t id);

/* What lies at an address of the component's heap, at a crash. */
struct aee__heap_place aee__capture_heap_place(const struct aee__instance *instance,
                                               uint64_t address);

#endif
