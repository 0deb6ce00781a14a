/* lane_life.c: how lanes begin and end. */
#include <string.h>

#include "isolation/context.h"
#include "isolation/host_call.h"
#include "isolation/lane_internal.h"
#include "isolation/tracing.h"

void aee__lane_init(struct aee__lane *lane, struct aee__instance *instance, uint32_t index)
{
    size_t keep = offsetof(struct aee__lane, attention);
    memset((char *)lane + keep, 0, sizeof *lane - keep);
    lane->instance = instance;
    lane->index = index;
    lane->idle_number = UINT64_MAX;
    atomic_init(&lane->budget.wait_ns, UINT64_MAX);
    lane->costs.gap_ns = 8 * instance->core->spin_ns;
    lane->costs.last_end = aee__ticks(&instance->core->ticker);
    aee__meter_pause(&lane->meter);
    for (unsigned i = 0; i < AEE__LANE_NAMES; i++) {
        lane->names[i].index = -1;
    }
    atomic_init(&lane->nested_called, AEE__CALLED_NOTHING);
    lane->runnable.run = aee__lane_run;
    lane->server.run = aee__lane_serve;
    lane->watch.expire = aee__lane_expire;
    lane->watch.approach = aee__lane_approach;
    struct aee__gva gva = {AEE_GVA_LANES + index * AEE_LANE_STRIDE};
    aee__call_ring_init(&lane->ring, aee__memory_at(&instance->memory, gva, AEE_LANE_STRIDE));
    AEE__SHARED_STORE(lane->ring.shared->control.lane_index, index);
    aee__watchdog_add(&instance->core->watchdog, &lane->watch);
}

void aee__lane_tell_latency(struct aee__lane *lane)
{
    struct aee__instance *instance = lane->instance;
    uint64_t ticks = atomic_exchange_explicit(&lane->latency_ticks, 0, memory_order_relaxed);
    if (ticks > 0) {
        aee__histogram_record(&instance->context->stats.latency,
                              aee__ticks_to_ns(&instance->core->ticker, ticks));
    }
}

void aee__lane_destroy(struct aee__lane *lane)
{
    aee__lane_tell_latency(lane);
    aee__tracing_detach(lane);
    aee__watchdog_remove(&lane->instance->core->watchdog, &lane->watch);
    for (unsigned i = 0; i < AEE_HOST_CALL_DEPTH; i++) {
        aee__alloc_free(&lane->instance->core->alloc, lane->host_buffers[i],
                        2 * (size_t)AEE_MAX_PAYLOAD);
        lane->host_buffers[i] = NULL;
    }
}
