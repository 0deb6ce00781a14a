/* fault.h: how a lane's last exit becomes the end of its instance. On the thread that ran it. */
#ifndef AEE_ISOLATION_FAULT_H
#define AEE_ISOLATION_FAULT_H

#include "isolation/instance.h"

/* The component cannot go on: ends the instance with a crash report. */
void aee__lane_fault(struct aee__lane *lane, const struct aee__exit *exit);
/* The same for a call that overran its budget, and for a broken rule of the protocol. */
void aee__lane_fault_hung(struct aee__lane *lane);
void aee__lane_fault_protocol(struct aee__lane *lane, const char *detail);
/* The host cannot let the instance go on, though no lane is to blame. */
void aee__instance_fail(struct aee__instance *instance, aee_crash_cause cause, const char *detail);
/* A write fault on a region that has become writable since the processor cached its entry: the
 * instruction can be run again. */
bool aee__lane_fault_is_spurious(struct aee__lane *lane, const struct aee__exit *exit);

#endif
