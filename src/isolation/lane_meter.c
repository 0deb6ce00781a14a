#include "isolation/lane_meter.h"

#include "base/clock.h"
#include "isolation/context.h"

/* Twice the spin, since the guest's turns may be slower than ours, and a spin to leave. Owner and
 * runner may both see the end of the same idle time: who moves `from` counts it. */
void aee__meter_idle(struct aee__lane *lane, uint64_t now)
{
    const struct aee__core *core = lane->instance->core;
    struct aee__lane_meter *meter = &lane->meter;
    uint64_t from = atomic_load(&meter->from);
    uint64_t spin_ns = (uint64_t)atomic_load(&lane->spin) * core->ticker.turn_ps / 1000;
    if (now > from && aee__ticks_to_ns(&core->ticker, now - from) > 2 * spin_ns + core->spin_ns &&
        atomic_compare_exchange_strong(&meter->from, &from, now)) {
        (void)atomic_fetch_add(&meter->overstays, now - from);
    }
}
