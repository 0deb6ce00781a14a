#include "recovery/policy.h"

enum aee__verdict aee__policy_decide(struct aee__crash_history *history, const aee_limits *limits,
                                     uint64_t now_ns)
{
    history->times_ns[history->count % AEE__HISTORY_MAX] = now_ns;
    history->count++;
    uint32_t known = history->count < AEE__HISTORY_MAX ? history->count : AEE__HISTORY_MAX;
    uint32_t recent = 0;
    for (uint32_t i = 0; i < known; i++) {
        recent += now_ns - history->times_ns[i] <= limits->restart_window_ns;
    }
    return limits->never_restart || recent > limits->restarts ? AEE__VERDICT_QUARANTINE
                                                              : AEE__VERDICT_RESTART;
}
