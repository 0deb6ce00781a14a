#include "isolation/quiesce.h"

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/lane_internal.h"
#include "isolation/lifecycle.h"

/* Beyond the budget of the calls that have the lanes; as LANE_PATIENCE_NS of calls.c. */
#define PATIENCE_NS (AEE__NS_PER_SECOND / 10)
/* Turns for which a lane that is about to park is watched before we sleep between the looks. */
#define PARK_TURNS 2000u
#define PARK_NAP_NS UINT64_C(20000)
/* What aee__quiesce_try() may take: longer than lanes spin. */
#define PARK_MOST_NS UINT64_C(300000)

static bool own(struct aee__lane *lane, uint64_t deadline_ns)
{
    struct aee__context *context = lane->instance->context;
    bool owned = aee__lane_try(lane);
    if (owned) {
        return true;
    }
    (void)atomic_fetch_add(&context->waiters, 1);
    for (;;) { /* as in wait_for_lane() */
        uint32_t freed = atomic_load(&context->lanes_freed);
        owned = aee__lane_try(lane);
        if (owned || aee__now_ns() >= deadline_ns) {
            break;
        }
        aee__sys_futex_wait(&context->lanes_freed, freed, deadline_ns);
    }
    (void)atomic_fetch_sub(&context->waiters, 1);
    return owned;
}

/* Who runs it leaves soon: it was told not to spin, or the instance has ended. */
static bool await_parked(struct aee__lane *lane, uint64_t deadline_ns)
{
    for (uint32_t turn = 0; atomic_load(&lane->state) != AEE__LANE_PARKED; turn++) {
        if (turn < PARK_TURNS) {
            aee__cpu_relax();
        } else if (aee__now_ns() >= deadline_ns) {
            return false;
        } else {
            aee__sys_sleep(PARK_NAP_NS);
        }
    }
    return true;
}

/* Of an owned lane. */
static bool settle(struct aee__lane *lane, bool parked, uint64_t deadline_ns)
{
    bool ended = aee__instance_ended(lane->instance) != AEE_OK;
    if (ended) {
        aee__lane_fail_all(lane);
    } else if (aee__lane_outstanding(lane) > 0) {
        aee__lane_await(lane, NULL); /* which their budgets end */
    }
    if (!parked) {
        return true;
    }
    if (!ended) {
        aee__lane_set_spin(lane, false);
    }
    return await_parked(lane, deadline_ns);
}

static void release(struct aee__instance *instance, uint32_t lanes)
{
    for (uint32_t i = 0; i < lanes; i++) {
        aee__lane_give(&instance->lanes[i]);
    }
}

aee_result aee__quiesce_lanes(struct aee__instance *instance, bool parked, uint64_t deadline_ns)
{
    for (uint32_t i = 0; i < instance->lane_capacity; i++) { /* also those that are not in use */
        struct aee__lane *lane = &instance->lanes[i];
        bool owned = own(lane, deadline_ns);
        bool used = i < atomic_load(&instance->lane_count);
        if (!owned || (used && !settle(lane, parked, deadline_ns))) {
            release(instance, i + owned);
            return AEE_ERR_BUSY;
        }
    }
    return AEE_OK;
}

void aee__quiesce_release(struct aee__instance *instance)
{
    release(instance, instance->lane_capacity);
}

static aee_result refuse(const struct aee__context *context, const char *operation,
                         aee_result result, aee_error *error)
{
    return result == AEE_ERR_BUSY
               ? aee__fail(error, result, "cannot %s context \"%s\": its calls do not end",
                           operation, context->name)
               : aee__fail(error, result, "cannot %s context \"%s\": %s", operation, context->name,
                           aee_result_text(result));
}

aee_result aee__quiesce_begin(struct aee__context *context, const char *operation, bool parked,
                              struct aee__instance **out, aee_error *error)
{
    aee_result result = aee__life_begin(context, operation, error);
    if (result != AEE_OK) {
        return result;
    }
    struct aee__instance *instance = atomic_load(&context->current);
    uint64_t deadline = aee__now_ns() + atomic_load(&context->budget_ns) + PATIENCE_NS;
    /* Only a crash takes the current instance away within an operation; its object stays. */
    if (!instance) {
        result = aee__context_refuse(context, NULL);
        result = result == AEE_OK ? AEE_ERR_RESTARTING : result; /* it has come back since */
    } else {
        result = aee__quiesce_lanes(instance, parked, deadline);
    }
    if (result == AEE_OK && aee__instance_ended(instance) != AEE_OK) {
        aee__quiesce_release(instance);
        result = aee__instance_await_end(instance);
    }
    if (result != AEE_OK) {
        aee__life_end(context);
        return refuse(context, operation, result, error);
    }
    *out = instance;
    return AEE_OK;
}

/* A lane that spins may park meanwhile. */
static bool is_idle(const struct aee__instance *instance)
{
    for (uint32_t i = 0; i < atomic_load(&instance->lane_count); i++) {
        if (atomic_load(&instance->lanes[i].owned) ||
            aee__lane_outstanding(&instance->lanes[i]) > 0) {
            return false;
        }
    }
    return true;
}

aee_result aee__quiesce_try(struct aee__context *context, bool parked, struct aee__instance **out)
{
    const uint64_t deadline = aee__now_ns() + PARK_MOST_NS;
    if (!aee__life_try(context)) {
        return AEE_ERR_BUSY;
    }
    struct aee__instance *instance = atomic_load(&context->current);
    aee_result result = AEE_ERR_BUSY;
    if (instance && is_idle(instance)) {
        result = aee__quiesce_lanes(instance, parked, deadline);
    }
    if (result == AEE_OK && aee__instance_ended(instance) != AEE_OK) {
        aee__quiesce_release(instance);
        result = AEE_ERR_BUSY;
    }
    if (result != AEE_OK) {
        aee__life_end(context);
        return result;
    }
    *out = instance;
    return AEE_OK;
}

void aee__quiesce_end(struct aee__context *context, struct aee__instance *instance)
{
    aee__quiesce_release(instance);
    aee__life_end(context);
}
