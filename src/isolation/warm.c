#include "isolation/warm.h"

#include "base/clock.h"
#include "isolation/context.h"

static void remember(struct aee__core *core, struct aee__lane *lane, uint32_t frame)
{
    struct aee__warm *warm = &core->warm;
    lane->frame = frame;
    uint64_t begin = atomic_load(&warm->begin_ns);
    uint64_t now = aee__now_ns();
    lane->frame_offset_ns = now > begin ? now - begin : 0;
    if (lane->frame_offset_ns > AEE__WARM_LATEST_NS) {
        return;
    }
    uint32_t index = atomic_fetch_add(&warm->count, 1);
    if (index < AEE__WORKERS_MAX) {
        atomic_store(&warm->contexts[index], lane->instance->context->handle);
    }
}

void aee__warm_note(struct aee__core *core, struct aee__lane *lane)
{
    uint32_t frame = atomic_load_explicit(&core->warm.frame, memory_order_relaxed);
    if (frame != lane->frame) {
        remember(core, lane, frame);
    }
}

void aee__warm_begin_frame(struct aee__core *core, uint64_t now_ns)
{
    struct aee__warm *warm = &core->warm;
    uint64_t contexts[AEE__WORKERS_MAX];
    uint32_t count = atomic_exchange(&warm->count, 0);
    count = count < AEE__WORKERS_MAX ? count : AEE__WORKERS_MAX;
    for (uint32_t i = 0; i < count; i++) { /* 0: somebody is about to write it */
        contexts[i] = atomic_exchange(&warm->contexts[i], 0);
    }
    uint32_t last = atomic_load(&warm->frame);
    atomic_store(&warm->begin_ns, now_ns);
    atomic_store(&warm->frame, last + 1 ? last + 1 : 1);
    for (uint32_t i = 0; i < count; i++) {
        aee_result why;
        struct aee__context *context = aee__handles_acquire(&core->contexts, contexts[i], &why);
        if (context) {
            aee__context_warm(context, last);
            aee__handles_release(&core->contexts, contexts[i]);
        }
    }
}
