/* policy.h: whether a context that crashed is restarted or put into quarantine. */
#ifndef AEE_RECOVERY_POLICY_H
#define AEE_RECOVERY_POLICY_H

#include "isolation/core.h"

/* aee__recovery_ops.decide: quarantine when more than limits->restarts crashes fall within
 * limits->restart_window_ns, or at once with never_restart. Notes the crash in the history. */
enum aee__verdict aee__policy_decide(struct aee__crash_history *history, const aee_limits *limits,
                                     uint64_t now_ns);
/* aee__recovery_ops.backoff: how long the restart after a crash that decide() has just noted waits.
 * The first within limits->restart_window_ns does not, the second waits recovery->backoff_ns, and
 * each further one twice as long, up to recovery->backoff_max_ns. */
uint64_t aee__policy_backoff(const struct aee__crash_history *history, const aee_limits *limits,
                             const aee_recovery_desc *recovery, uint64_t now_ns);

#endif
