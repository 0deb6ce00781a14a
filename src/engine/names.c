/* names.c: words for the public enums. */
#include "aee_virt.h"

static const char *pick(const char *const *names, unsigned count, unsigned index)
{
    return index < count && names[index] ? names[index] : "unknown";
}

#define PICK(names, index) pick(names, sizeof(names) / sizeof(names)[0], (unsigned)(index))

const char *aee_level_name(aee_level level)
{
    static const char *const names[] = {"auto", "none", "process", "container", "full"};
    return PICK(names, level);
}

const char *aee_kind_name(aee_kind kind)
{
    static const char *const names[] = {"custom",    "agents", "particles",
                                        "rendering", "mod",    "scene"};
    return PICK(names, kind);
}

const char *aee_state_name(aee_state state)
{
    static const char *const names[] = {"created",    "ready",   "paused",
                                        "restarting", "stopped", "quarantined"};
    return PICK(names, state);
}

const char *aee_call_mode_name(aee_call_mode mode)
{
    static const char *const names[] = {"auto", "ring", "direct"};
    return PICK(names, mode);
}

const char *aee_event_name(aee_event_type type)
{
    static const char *const names[] = {[AEE_EVENT_LOADED] = "loaded",
                                        [AEE_EVENT_CRASHED] = "crashed",
                                        [AEE_EVENT_HUNG] = "hung",
                                        [AEE_EVENT_RESTARTED] = "restarted",
                                        [AEE_EVENT_RESTART_FAILED] = "restart failed",
                                        [AEE_EVENT_QUARANTINED] = "quarantined",
                                        [AEE_EVENT_PAUSED] = "paused",
                                        [AEE_EVENT_RESUMED] = "resumed",
                                        [AEE_EVENT_STOPPED] = "stopped",
                                        [AEE_EVENT_DESTROYED] = "destroyed",
                                        [AEE_EVENT_REGION_REVOKED] = "region revoked",
                                        [AEE_EVENT_FRAME_LATE] = "frame late",
                                        [AEE_EVENT_LOG_DROPPED] = "log dropped",
                                        [AEE_EVENT_SPARE_FAILED] = "spare failed",
                                        [AEE_EVENT_FALLBACK] = "fallback",
                                        [AEE_EVENT_THROTTLED] = "throttled",
                                        [AEE_EVENT_CRASH_SAVED] = "crash saved",
                                        [AEE_EVENT_CRASH_NOT_SAVED] = "crash not saved",
                                        [AEE_EVENT_DEBUGGER] = "debugger",
                                        [AEE_EVENT_RESTARTING] = "restarting",
                                        [AEE_EVENT_CHECKPOINT_FAILED] = "checkpoint failed"};
    return PICK(names, type);
}
