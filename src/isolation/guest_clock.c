#include "isolation/guest_clock.h"

#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/context.h"

void aee__guest_clock_init(struct aee__guest_clock *clock)
{
    *clock = (struct aee__guest_clock){0};
    (void)pthread_mutex_init(&clock->lock, NULL);
}

void aee__guest_clock_destroy(struct aee__guest_clock *clock)
{
    (void)pthread_mutex_destroy(&clock->lock);
}

void aee__guest_clock_set(struct aee__context *context, const aee_determinism *wanted)
{
    struct aee__guest_clock *clock = &context->clock;
    (void)pthread_mutex_lock(&context->lock);
    (void)pthread_mutex_lock(&clock->lock);
    clock->flags = wanted->flags;
    clock->seed = wanted->seed;
    clock->base = atomic_load(&context->core->counters.frames);
    clock->frame = wanted->frame;
    clock->time_ns = wanted->time_ns;
    clock->step_ns = wanted->time_step_ns;
    for (struct aee__instance *at = context->living; at; at = at->next) {
        atomic_store(&at->clock_frame, 0);
    }
    (void)pthread_mutex_unlock(&clock->lock);
    (void)pthread_mutex_unlock(&context->lock);
}

void aee__guest_clock_inherit(struct aee__context *context, struct aee__context *from)
{
    (void)pthread_mutex_lock(&from->clock.lock);
    (void)pthread_mutex_lock(&context->clock.lock); /* nobody knows it yet: no other order */
    context->clock.flags = from->clock.flags;
    context->clock.seed = from->clock.seed;
    context->clock.base = from->clock.base;
    context->clock.frame = from->clock.frame;
    context->clock.time_ns = from->clock.time_ns;
    context->clock.step_ns = from->clock.step_ns;
    (void)pthread_mutex_unlock(&context->clock.lock);
    (void)pthread_mutex_unlock(&from->clock.lock);
}

/* As aee_seed() takes it apart, and as native modules have it. */
int aee__guest_clock_seed(struct aee__context *context, uint8_t seed[32])
{
    struct aee__guest_clock *clock = &context->clock;
    (void)pthread_mutex_lock(&clock->lock);
    bool fixed = (clock->flags & AEE_FIXED_SEED) != 0;
    uint64_t value = clock->seed;
    (void)pthread_mutex_unlock(&clock->lock);
    if (!fixed) {
        return aee__sys_random(seed, 32);
    }
    memset(seed, 0, 32);
    memcpy(seed, &value, sizeof value);
    return 0;
}

void aee__guest_clock_tell(struct aee__instance *instance)
{
    struct aee__core *core = instance->core;
    struct aee__guest_clock *clock = &instance->context->clock;
    struct aee_abi_info *info =
        aee__memory_at(&instance->memory, (struct aee__gva){AEE_GVA_INFO}, sizeof *info);
    aee__template_pass(instance); /* who copies an instance makes its clock stale */
    (void)pthread_mutex_lock(&clock->lock);
    uint64_t frames = atomic_load(&core->counters.frames);
    uint64_t begin = atomic_load(&core->frame_begin_ns);
    uint64_t frame = frames;
    uint64_t time = begin ? begin : aee__now_ns();
    if (clock->flags & AEE_FIXED_TIME) {
        frame = clock->frame + (frames - clock->base);
        time = clock->time_ns + (frames - clock->base) * clock->step_ns;
    }
    __atomic_store_n(&info->frame, frame, __ATOMIC_RELAXED);
    __atomic_store_n(&info->time_ns, time, __ATOMIC_RELAXED);
    atomic_store(&instance->clock_frame, frames + 1);
    (void)pthread_mutex_unlock(&clock->lock);
}
