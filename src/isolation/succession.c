#include "isolation/succession.h"

#include <string.h>

#include "base/clock.h"
#include "isolation/context.h"
#include "isolation/lifecycle.h"
#include "isolation/machine.h"
#include "isolation/quiesce.h"
#include "isolation/shells.h"
#include "isolation/tracing.h"

/* With the lock held: region changes find the window in one of the two. */
static void move_machine(struct aee__instance *heir, struct aee__instance *fallen)
{
    heir->vm = fallen->vm; /* stays there, too: a kick may be on its way */
    atomic_store(&heir->machine, atomic_load(&fallen->machine));
    heir->memory = fallen->memory;
    heir->window = fallen->window;
    heir->window.table = &heir->memory.table;
    heir->window.vm = heir;
    memset(&fallen->memory, 0, sizeof fallen->memory);
    fallen->memory.fd = -1;
    aee__window_init(&fallen->window, &fallen->core->alloc, &fallen->memory.table,
                     aee__instance_window_ops(fallen->core), fallen);
    fallen->bereft = true;
}

/* Whatever the component did to it: the bytes that guest and host share are as new. */
static void clean_ring(struct aee_abi_lane *shared)
{
    memset(shared->slots, 0, sizeof shared->slots);
    memset(shared->levels, 0, sizeof shared->levels);
    memset(&shared->control, 0, sizeof shared->control);
    shared->own.depth = 0;
    shared->own.controls = 0;
}

/* The lane begins anew; one that cannot, because it has parked, goes on: between calls that is the
 * same. */
static bool begin_lane(struct aee__lane *lane, struct aee__lane *before)
{
    struct aee__instance *heir = lane->instance;
    const struct aee__backend_ops *ops = heir->core->ops;
    struct aee__lane_start start =
        aee__machine_lane_start(heir->core, &heir->memory, &heir->plan, lane->index);
    struct aee_abi_lane *shared = before->ring.shared;
    bool idle = !before->cut && before->parked;
    aee__lane_destroy(before);
    if (ops->lane_restart(heir->vm, lane->index, &start)) {
        clean_ring(shared);
        aee__lane_init(lane, heir, lane->index);
        return true;
    }
    struct aee__call_ring ring = before->ring;
    aee__lane_init(lane, heir, lane->index);
    atomic_store(&lane->ring.submitted, atomic_load(&ring.submitted));
    atomic_store(&lane->ring.completed, atomic_load(&ring.completed));
    for (uint32_t i = 0; i < AEE_RING_SLOTS; i++) { /* for reports */
        atomic_store(&lane->called[i], atomic_load(&before->called[i]));
    }
    memcpy(lane->ring.host_calls, ring.host_calls, sizeof ring.host_calls);
    memcpy(lane->ring.nested, ring.nested, sizeof ring.nested);
    atomic_store(&lane->spin, atomic_load(&before->spin));
    lane->notify = before->notify;
    return idle;
}

static aee_result begin_lanes(struct aee__instance *heir, struct aee__instance *fallen)
{
    uint32_t lanes = atomic_load(&fallen->lane_count);
    bool begun = true;
    for (uint32_t i = 0; i < lanes; i++) {
        begun = begin_lane(&heir->lanes[i], &fallen->lanes[i]) && begun;
        atomic_store(&heir->lane_count, i + 1);
    }
    return begun ? AEE_OK : AEE_ERR_UNSUPPORTED;
}

static struct aee__instance *make_heir(struct aee__instance *fallen)
{
    struct aee__instance *heir =
        aee__shells_take(fallen->context, atomic_load(&fallen->lane_count));
    if (heir) {
        heir->core = fallen->core;
        heir->image = aee__image_ref_take(fallen->image);
        heir->plan = fallen->plan;
        heir->epoch = fallen->epoch;
        aee__instance_state_ranges(fallen, &heir->state);
        heir->free_job.run = aee__instance_bury;
        atomic_store(&heir->references, 1);
    }
    return heir;
}

aee_result aee__instance_succeed(struct aee__instance *fallen, uint64_t deadline_ns,
                                 struct aee__instance **out)
{
    struct aee__context *context = fallen->context;
    *out = NULL;
    while (!atomic_load(&fallen->concluded)) {
        aee__cpu_relax(); /* a moment: who ended it is on its way */
    }
    aee_result result = aee__quiesce_lanes(fallen, true, deadline_ns);
    if (result != AEE_OK) {
        return result;
    }
    struct aee__instance *heir = make_heir(fallen);
    if (!heir) {
        aee__quiesce_release(fallen);
        return AEE_ERR_NO_MEMORY;
    }
    (void)pthread_mutex_lock(&context->lock);
    move_machine(heir, fallen);
    heir->next = context->living;
    context->living = heir;
    context->building = heir;
    (void)pthread_mutex_unlock(&context->lock);
    result = begin_lanes(heir, fallen);
    if (!aee__machine_adopt(heir->core, heir->vm, heir)) {
        result = AEE_ERR_UNSUPPORTED; /* its machine is gone */
    }
    (void)pthread_mutex_lock(&context->lock);
    aee__tracing_attach(heir);
    (void)pthread_mutex_unlock(&context->lock);
    aee__quiesce_release(fallen);
    *out = heir;
    return result;
}
