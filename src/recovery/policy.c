#include "recovery/policy.h"

#define BACKOFF_MAX_NS UINT64_C(1000000000)

/* Crashes within the window before `now_ns`, as far as they are remembered. */
static uint32_t count_recent(const struct aee__crash_history *history, const aee_limits *limits,
                             uint64_t now_ns)
{
    uint32_t known = history->count < AEE__HISTORY_MAX ? history->count : AEE__HISTORY_MAX;
    uint32_t recent = 0;
    for (uint32_t i = 0; i < known; i++) {
        recent += now_ns - history->times_ns[i] <= limits->restart_window_ns;
    }
    return recent;
}

enum aee__verdict aee__policy_decide(struct aee__crash_history *history, const aee_limits *limits,
                                     uint64_t now_ns)
{
    history->times_ns[history->count % AEE__HISTORY_MAX] = now_ns;
    history->count++;
    return limits->never_restart || count_recent(history, limits, now_ns) > limits->restarts
               ? AEE__VERDICT_QUARANTINE
               : AEE__VERDICT_RESTART;
}

uint64_t aee__policy_backoff(const struct aee__crash_history *history, const aee_limits *limits,
                             const aee_recovery_desc *recovery, uint64_t now_ns)
{
    uint32_t recent = count_recent(history, limits, now_ns);
    uint64_t most = recovery->backoff_max_ns ? recovery->backoff_max_ns : BACKOFF_MAX_NS;
    uint64_t wait = recovery->backoff_ns;
    most = most > wait ? most : wait;
    if (recent < 2) {
        return 0;
    }
    for (uint32_t i = 2; i < recent && wait < most; i++) {
        wait = wait > most / 2 ? most : 2 * wait;
    }
    return wait;
}
