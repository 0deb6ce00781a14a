#include "isolation/shells.h"

#include "base/clock.h"

static size_t shell_size(uint32_t lanes)
{
    return sizeof(struct aee__instance) + lanes * sizeof(struct aee__lane);
}

static struct aee__instance *make_shell(struct aee__context *context, uint32_t lanes)
{
    struct aee__instance *shell = aee__alloc_zero(&context->core->alloc, 1, shell_size(lanes));
    if (shell) {
        shell->context = context;
        shell->lane_capacity = lanes;
        for (uint32_t i = 0; i < lanes; i++) {
            shell->lanes[i].instance = shell;
            shell->lanes[i].index = i;
        }
    }
    return shell;
}

static struct aee__instance *find_shell(struct aee__context *context, uint32_t lanes)
{
    struct aee__instance **link = &context->shells;
    while (*link && (*link)->lane_capacity < lanes) {
        link = &(*link)->next;
    }
    struct aee__instance *shell = *link;
    if (shell) {
        *link = shell->next;
    }
    return shell;
}

/* A caller that comes too late may still own a lane for the moment that it takes to notice. */
static void own_lanes(struct aee__instance *shell)
{
    for (uint32_t i = 0; i < shell->lane_capacity; i++) {
        while (!aee__lane_try(&shell->lanes[i])) {
            aee__cpu_relax();
        }
    }
}

struct aee__instance *aee__shells_take(struct aee__context *context, uint32_t lanes)
{
    (void)pthread_mutex_lock(&context->lock);
    struct aee__instance *shell = find_shell(context, lanes);
    shell = shell ? shell : make_shell(context, lanes);
    if (shell) {
        shell->life = AEE__LIFE_LIVING;
        shell->next = NULL;
        context->instances++;
    }
    (void)pthread_mutex_unlock(&context->lock);
    if (shell) {
        own_lanes(shell);
        atomic_store(&shell->lane_count, 0);
        atomic_store(&shell->end, AEE__END_NOT);
        atomic_store(&shell->debugged, false);
        atomic_store(&shell->unhurried, false);
        atomic_store(&shell->concluded, false);
        atomic_store(&shell->clock_frame, 0);
        atomic_store(&shell->held, false);
        atomic_store(&shell->copied, false);
        shell->spare = false;
        shell->kept = false;
        shell->restored = false;
        shell->restores = 0;
        shell->bereft = false;
    }
    return shell;
}

void aee__shells_free(struct aee__context *context)
{
    while (context->shells) {
        struct aee__instance *shell = context->shells;
        context->shells = shell->next;
        aee__alloc_free(&context->core->alloc, shell, shell_size(shell->lane_capacity));
    }
}

/* ---- The way back ------------------------------------------------------------------------- */

/* With the lock held: its counts live on. */
static void retire(struct aee__context *context, struct aee__instance *instance)
{
    uint32_t lanes = atomic_load(&instance->lane_count);
    for (uint32_t i = 0; i < lanes; i++) {
        uint64_t calls = atomic_load(&instance->lanes[i].calls);
        (void)atomic_fetch_add(&context->stats.calls, calls);
        (void)atomic_fetch_add(&context->core->counters.calls, calls);
        (void)atomic_fetch_add(&context->stats.failed_calls,
                               atomic_load(&instance->lanes[i].failed_calls));
        (void)atomic_fetch_add(&context->stats.host_calls,
                               atomic_load(&instance->lanes[i].host_calls));
        (void)atomic_fetch_add(&context->core->counters.host_calls,
                               atomic_load(&instance->lanes[i].host_calls));
        (void)atomic_fetch_add(&context->stats.cpu_ticks,
                               aee__meter_ticks(&instance->lanes[i].meter));
    }
    struct aee__instance **link = &context->living;
    while (*link && *link != instance) {
        link = &(*link)->next;
    }
    if (*link) {
        *link = instance->next;
    }
}

/* With the lock held: whether the instance can be freed now. The count of zombies comes before the
 * look at the lanes, as in aee__lane_give() the end of ownership before the look at the count. */
static bool may_bury(struct aee__context *context, struct aee__instance *instance)
{
    if (instance->life == AEE__LIFE_LIVING) {
        (void)atomic_fetch_add(&context->zombies, 1);
    }
    if (aee__instance_is_owned(instance)) {
        instance->life = AEE__LIFE_ZOMBIE;
        return false;
    }
    (void)atomic_fetch_sub(&context->zombies, 1);
    instance->life = AEE__LIFE_SHELL;
    return true;
}

void aee__shells_bury(struct aee__context *context, struct aee__instance *instance)
{
    (void)pthread_mutex_lock(&context->lock);
    bool now = may_bury(context, instance);
    if (now) {
        retire(context, instance);
    }
    (void)pthread_mutex_unlock(&context->lock);
    if (!now) {
        return;
    }
    aee__instance_strip(instance);
    (void)pthread_mutex_lock(&context->lock);
    instance->next = context->shells;
    context->shells = instance;
    context->instances--; /* the context may go with the last one: not to be touched after this */
    (void)pthread_cond_broadcast(&context->changed);
    (void)pthread_mutex_unlock(&context->lock);
}

void aee__shells_reap(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    for (struct aee__instance *at = context->living; at; at = at->next) {
        if (at->life == AEE__LIFE_ZOMBIE && !aee__instance_is_owned(at)) {
            at->life = AEE__LIFE_CALLED;
            aee__housekeeper_post(&context->core->housekeeper, &at->free_job);
        }
    }
    (void)pthread_mutex_unlock(&context->lock);
}
