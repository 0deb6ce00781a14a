#include "isolation/fault.h"

#include <stdio.h>
#include <string.h>

#include "isolation/context.h"

static const char *called_name(const struct aee__lane *lane)
{
    uint32_t called = atomic_load_explicit(&lane->called_plus_1, memory_order_relaxed);
    return called > 0 ? lane->instance->image->image->exports[called - 1].name : "";
}

static void end(struct aee__lane *lane, aee_crash *crash, const char *detail)
{
    struct aee__instance *instance = lane->instance;
    if (!aee__instance_claim_end(instance)) {
        return;
    }
    crash->lane = lane->index;
    instance->core->ops->lane_registers(instance->vm, lane->index, &crash->registers);
    (void)snprintf(crash->called, sizeof crash->called, "%s", called_name(lane));
    instance->core->recovery->describe(instance->context, instance, detail, crash);
    aee__context_crashed(instance->context, instance, crash);
    aee__instance_conclude(instance,
                           crash->cause == AEE_CRASH_HUNG ? AEE__END_HUNG : AEE__END_CRASHED);
}

void aee__lane_fault(struct aee__lane *lane, const struct aee__exit *exit)
{
    aee_crash crash = {.cause = exit->cause,
                       .vector = exit->vector,
                       .error_code = exit->error_code,
                       .fault_address = exit->fault_address};
    end(lane, &crash, exit->detail);
}

void aee__lane_fault_hung(struct aee__lane *lane)
{
    aee_crash crash = {.cause = AEE_CRASH_HUNG};
    char budget[32];
    (void)snprintf(budget, sizeof budget, "%llu us", (unsigned long long)(lane->budget_ns / 1000));
    end(lane, &crash, budget);
}

void aee__lane_fault_protocol(struct aee__lane *lane, const char *detail)
{
    aee_crash crash = {.cause = AEE_CRASH_PROTOCOL};
    end(lane, &crash, detail);
}

bool aee__lane_fault_is_spurious(struct aee__lane *lane, const struct aee__exit *exit)
{
    enum { PAGE_FAULT = 14, PRESENT_WRITE_USER = 7, RETRIES = 3 };
    struct aee__mapping mapping;
    if (exit->cause != AEE_CRASH_EXCEPTION || exit->vector != PAGE_FAULT ||
        (exit->error_code & PRESENT_WRITE_USER) != PRESENT_WRITE_USER ||
        !aee__context_region_at(lane->instance->context, exit->fault_address, &mapping) ||
        !mapping.writable) {
        return false;
    }
    bool again = lane->spurious_address == exit->fault_address;
    lane->spurious_count = again ? lane->spurious_count + 1 : 1;
    lane->spurious_address = exit->fault_address;
    return lane->spurious_count <= RETRIES;
}
