/* recovery.c: how contexts keep their state and come back: checks what is asked for. */
#include "engine/engine.h"
#include "isolation/lifecycle.h"
#include "isolation/restarts.h"

#define HOUR_NS UINT64_C(3600000000000)

/* ---- Checks ------------------------------------------------------------------------------- */

static aee_result check_ranges(const char *name, const aee_recovery_desc *desc, aee_error *error)
{
    uint64_t history = desc->history ? desc->history : 1;
    const struct {
        const char *field;
        uint64_t value;
        uint64_t most;
    } ranges[] = {
        {"mode", (uint64_t)desc->mode, AEE_CHECKPOINT_DECLARED},
        {"history", desc->history, AEE_HISTORY_MAX},
        {"restart", (uint64_t)desc->restart, AEE_RESTART_CHECKPOINT},
        {"back", desc->back, history - 1}, /* no checkpoint is further back */
        {"backoff_ns", desc->backoff_ns, HOUR_NS},
        {"backoff_max_ns", desc->backoff_max_ns, HOUR_NS},
        {"supervision", (uint64_t)desc->supervision, AEE_SUPERVISE_ALL_FOR_ONE},
        {"reserved0", desc->reserved0, 0},
    };
    for (unsigned i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (ranges[i].value > ranges[i].most) {
            return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                             "cannot set the recovery of context \"%s\": %s is %llu, at most %llu "
                             "is allowed",
                             name, ranges[i].field, (unsigned long long)ranges[i].value,
                             (unsigned long long)ranges[i].most);
        }
    }
    if (desc->backoff_max_ns > 0 && desc->backoff_max_ns < desc->backoff_ns) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot set the recovery of context \"%s\": backoff_max_ns is %llu, less "
                         "than backoff_ns, %llu",
                         name, (unsigned long long)desc->backoff_max_ns,
                         (unsigned long long)desc->backoff_ns);
    }
    return AEE_OK;
}

/* Its supervisor, or 0; where the context is gone, 0: chains end there. */
static uint64_t supervisor_of(struct aee__core *core, uint64_t handle)
{
    aee_result why;
    struct aee__context *context = aee__handles_acquire(&core->contexts, handle, &why);
    if (!context) {
        return 0;
    }
    (void)pthread_mutex_lock(&context->lock);
    uint64_t supervisor = context->recovery.supervisor.id;
    (void)pthread_mutex_unlock(&context->lock);
    aee__engine_leave(context);
    return supervisor;
}

/* With the engine's recovery_lock held, so that no two threads make a circle of two chains. */
static aee_result check_supervisor(aee_engine *engine, struct aee__context *context,
                                   aee_context supervisor, aee_error *error)
{
    struct aee__context *named;
    if (supervisor.id == 0) {
        return AEE_OK;
    }
    aee_result result = aee__engine_enter(engine, supervisor, "name a supervisor", &named, error);
    if (result != AEE_OK) {
        return result;
    }
    for (uint64_t at = supervisor.id; at != 0; at = supervisor_of(&engine->core, at)) {
        if (at == context->handle) {
            result = aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                               "cannot name \"%s\" the supervisor of context \"%s\": that is its "
                               "own supervisor then",
                               named->name, context->name);
            break;
        }
    }
    aee__engine_leave(named);
    return result;
}

/* ---- Setting ------------------------------------------------------------------------------ */

/* Within the operation: checkpoints first, because they may refuse. */
static aee_result apply(struct aee__context *context, const aee_recovery_desc *desc,
                        aee_error *error)
{
    const struct aee__recovery_ops *ops = context->core->recovery;
    aee_result result = ops->configure ? ops->configure(context, desc, error) : AEE_OK;
    if (result == AEE_OK) {
        aee__restarts_configure(context, desc);
    }
    return result;
}

static aee_result set_recovery(aee_engine *engine, struct aee__context *context,
                               const aee_recovery_desc *user_desc, aee_error *error)
{
    aee_recovery_desc desc = {0};
    aee_result result = aee__copy_desc("set the recovery of a context", user_desc, &desc,
                                       sizeof desc, offsetof(aee_recovery_desc, history), error);
    if (result == AEE_OK) {
        result = check_ranges(context->name, &desc, error);
    }
    if (result == AEE_OK) {
        result = aee__life_begin(context, "set the recovery of", error);
    }
    if (result != AEE_OK) {
        return result;
    }
    desc.struct_size = sizeof desc;
    (void)pthread_mutex_lock(&engine->recovery_lock);
    result = check_supervisor(engine, context, desc.supervisor, error);
    if (result == AEE_OK) {
        result = apply(context, &desc, error);
    }
    (void)pthread_mutex_unlock(&engine->recovery_lock);
    aee__life_end(context);
    return result;
}

aee_result aee_set_recovery(aee_engine *engine, aee_context handle, const aee_recovery_desc *desc,
                            aee_error *error)
{
    struct aee__context *context;
    aee_result result = aee__engine_enter(engine, handle, "set the recovery", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = set_recovery(engine, context, desc, error);
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}
