/* policy.h: whether a context that crashed is restarted or put into quarantine. */
#ifndef AEE_RECOVERY_POLICY_H
#define AEE_RECOVERY_POLICY_H

#include "isolation/core.h"

/* aee__recovery_ops.decide: quarantine when more than limits->restarts crashes fall within
 * limits->restart_window_ns, or at once with never_restart. Notes the crash in the history. */
enum aee__verdict aee__policy_decide(struct aee__crash_history *history, const aee_limits *limits,
                                     uint64_t now_ns);

#endif
