#include "isolation/fault.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "isolation/context.h"

int32_t aee__lane_called(const struct aee__lane *lane)
{
    int32_t nested = atomic_load(&lane->nested_called);
    if (nested != AEE__CALLED_NOTHING) {
        return nested;
    }
    uint32_t at = aee__call_ring_oldest(&lane->ring);
    return at == atomic_load(&lane->ring.submitted)
               ? AEE__CALLED_NOTHING
               : atomic_load(&lane->called[at % AEE_RING_SLOTS]);
}

static const char *called_name(const struct aee__lane *lane)
{
    int32_t called = aee__lane_called(lane);
    if (called == AEE__CALLED_NOTHING) {
        return "-";
    }
    return called >= 0 ? lane->instance->image->image->exports[called].name : "";
}

static void conclude(struct aee__instance *instance, struct aee__lane *lane, aee_crash *crash,
                     const char *detail)
{
    const struct aee__recovery_ops *recovery = instance->core->recovery;
    recovery->describe(instance->context, instance, detail, crash);
    (void)pthread_mutex_lock(&instance->context->lock);
    bool spare = instance->spare; /* what it does is no crash of the context */
    (void)pthread_mutex_unlock(&instance->context->lock);
    if (!spare) {
        recovery->capture(instance->context, instance, lane, crash);
    }
    aee__context_crashed(instance->context, instance, crash);
    aee__instance_conclude(instance,
                           crash->cause == AEE_CRASH_HUNG ? AEE__END_HUNG : AEE__END_CRASHED);
}

static void end(struct aee__lane *lane, aee_crash *crash, const char *detail)
{
    struct aee__instance *instance = lane->instance;
    if (!aee__instance_claim_end(instance)) {
        return;
    }
    crash->lane = lane->index;
    instance->core->ops->lane_registers(instance->vm, lane->index, &crash->registers);
    aee__text_copy(crash->called, sizeof crash->called, called_name(lane), AEE_NAME_MAX);
    conclude(instance, lane, crash, detail);
}

void aee__instance_fail(struct aee__instance *instance, aee_crash_cause cause, const char *detail)
{
    aee_crash crash = {.cause = cause};
    if (aee__instance_claim_end(instance)) {
        conclude(instance, NULL, &crash, detail);
    }
}

/* Where the processor obeys the guest's EFER, SYSCALL is an undefined instruction. */
static bool is_syscall(const struct aee__instance *instance, const struct aee__exit *exit,
                       uint64_t rip)
{
    enum { UNDEFINED_INSTRUCTION = 6 };
    static const uint8_t syscall[2] = {0x0f, 0x05};
    const void *code = aee__memory_at(&instance->memory, (struct aee__gva){rip}, sizeof syscall);
    return exit->cause == AEE_CRASH_EXCEPTION && exit->vector == UNDEFINED_INSTRUCTION && code &&
           memcmp(code, syscall, sizeof syscall) == 0;
}

void aee__lane_fault(struct aee__lane *lane, const struct aee__exit *exit)
{
    aee_crash crash = {.cause = exit->cause,
                       .vector = exit->vector,
                       .error_code = exit->error_code,
                       .fault_address = exit->fault_address};
    aee_registers registers;
    lane->instance->core->ops->lane_registers(lane->instance->vm, lane->index, &registers);
    if (is_syscall(lane->instance, exit, registers.rip)) {
        crash.cause = AEE_CRASH_SYSCALL;
    }
    end(lane, &crash, exit->detail);
}

void aee__lane_fault_hung(struct aee__lane *lane)
{
    aee_crash crash = {.cause = AEE_CRASH_HUNG};
    char budget[32];
    (void)snprintf(budget, sizeof budget, "%llu us",
                   (unsigned long long)(atomic_load(&lane->budget.budget_ns) / 1000));
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
    struct aee__region_view region;
    if (exit->cause != AEE_CRASH_EXCEPTION || exit->vector != PAGE_FAULT ||
        (exit->error_code & PRESENT_WRITE_USER) != PRESENT_WRITE_USER ||
        !aee__context_region_at(lane->instance->context, exit->fault_address, &region) ||
        !region.writable) {
        return false;
    }
    bool again = lane->spurious_address == exit->fault_address;
    lane->spurious_count = again ? lane->spurious_count + 1 : 1;
    lane->spurious_address = exit->fault_address;
    return lane->spurious_count <= RETRIES;
}
