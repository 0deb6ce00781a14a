/* build.c: how instances come to be, from an image, from kept state, with the machine of the one
 * before, and become current. */
#include "base/sys.h"
#include "isolation/context.h"
#include "isolation/lifecycle.h"
#include "isolation/restarts.h"
#include "isolation/retry.h"
#include "isolation/spares.h"
#include "isolation/succession.h"
#include "isolation/tracing.h"

/* ---- Building an instance ----------------------------------------------------------------- */

/* With the lock held: gives the new instance the regions of the context, and makes it known to
 * whoever wants to end it. */
static aee_result adopt(struct aee__context *context, struct aee__instance *instance,
                        aee_error *error)
{
    for (uint32_t i = 0; i < context->mapping_count; i++) {
        const struct aee__mapping *mapping = &context->mappings[i];
        aee_result result =
            aee__window_map(&instance->window, mapping->region, mapping->writable, error);
        if (result != AEE_OK) {
            return result;
        }
    }
    context->building = instance;
    return context->dying
               ? aee__fail(error, AEE_ERR_STALE, "context \"%s\" is being destroyed", context->name)
               : AEE_OK;
}

/* What the instance begins with is there, or will not be: its lanes are given free. */
static void finish_building(struct aee__context *context, struct aee__instance **instance,
                            aee_result result)
{
    if (result != AEE_OK) {
        (void)pthread_mutex_lock(&context->lock);
        context->building = NULL;
        (void)pthread_mutex_unlock(&context->lock);
        aee__instance_stop(*instance);
    }
    aee__instance_open(*instance);
    if (result != AEE_OK) {
        aee__instance_release(*instance);
        *instance = NULL;
    }
}

static aee_result begin_with(struct aee__context *context, struct aee__instance *instance,
                             enum aee__origin origin, uint64_t budget_ns, aee_error *error)
{
    aee_result result = AEE_OK;
    bool initialise = origin == AEE__ORIGIN_IMAGE || origin == AEE__ORIGIN_DECLARED;
    if (initialise && instance->image->image->entry != 0) {
        result = aee__context_call_initialiser(context, instance, budget_ns, error);
    }
    if (result == AEE_OK && (origin == AEE__ORIGIN_STATE || origin == AEE__ORIGIN_DECLARED)) {
        instance->restored = true;
        result = context->core->recovery->restore(context, instance, false, error);
    }
    return result;
}

aee_result aee__life_build(struct aee__context *context, struct aee__image_ref *image, bool spare,
                           enum aee__origin origin, struct aee__start *start,
                           struct aee__instance **out, aee_error *error)
{
    (void)pthread_mutex_lock(&context->lock);
    aee_limits limits = context->limits;
    (void)pthread_mutex_unlock(&context->lock);
    aee_result result =
        aee__instance_create(context->core, context, image, &limits, start, out, error);
    if (result != AEE_OK) {
        aee__housekeeper_poke(&context->core->housekeeper); /* it may have taken a machine */
        return result;
    }
    (*out)->spare = spare;
    (void)pthread_mutex_lock(&context->lock);
    (*out)->next = context->living;
    context->living = *out;
    aee__tracing_attach(*out);
    result = adopt(context, *out, error);
    (void)pthread_mutex_unlock(&context->lock);
    if (atomic_load(&context->debugger)) {
        context->core->debug->born(*out);
    }
    if (result == AEE_OK) {
        result = begin_with(context, *out, origin, limits.call_budget_ns, error);
    }
    /* Only now: making a machine stops every page fault of the process for as long (mmu_notifier
     * registration takes all of its locks). */
    aee__housekeeper_poke(&context->core->housekeeper);
    finish_building(context, out, result);
    return result;
}

/* The same with the machine of the instance that has crashed. */
static aee_result build_in_place(struct aee__context *context, struct aee__instance *fallen,
                                 uint64_t deadline_ns, struct aee__instance **out)
{
    aee_result result = aee__instance_succeed(fallen, deadline_ns, out);
    if (!*out) {
        return result;
    }
    if (atomic_load(&context->debugger)) {
        context->core->debug->born(*out);
    }
    if (result == AEE_OK) {
        (*out)->restored = true;
        result = context->core->recovery->restore(context, *out, true, NULL);
    }
    /* A call that waits for a lane of the one that crashed may look at this one's object. */
    if (result != AEE_OK && aee__instance_claim_end(*out)) {
        aee__instance_conclude(*out, AEE__END_CRASHED);
    }
    finish_building(context, out, result);
    return result;
}

/* The instance whose machine is there for the next, with the context's reference to it, or NULL. */
static struct aee__instance *take_fallen(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    struct aee__instance *fallen = context->fallen;
    context->fallen = NULL;
    (void)pthread_mutex_unlock(&context->lock);
    return fallen;
}

void aee__life_drop_fallen(struct aee__context *context)
{
    struct aee__instance *fallen = take_fallen(context);
    if (fallen) {
        aee__instance_release_quietly(fallen);
    }
}

/* With the lock held: the built instance takes calls from now on. Returns the old one, to be
 * stopped and released without the lock. */
struct aee__instance *aee__life_make_current(struct aee__context *context,
                                             struct aee__instance *instance)
{
    struct aee__instance *old = atomic_load(&context->current);
    aee__template_outdate(context);
    instance->epoch = context->image_epoch;
    atomic_store(&context->current, instance);
    context->building = NULL;
    context->state = AEE_STATE_READY;
    atomic_store(&context->keeps_calls, true);
    aee__restart_settled(context);
    aee__group_changed(context);
    (void)pthread_cond_broadcast(&context->changed);
    (void)atomic_fetch_add(&context->lanes_freed, 1); /* who waits for a lane finds new ones */
    aee__sys_futex_wake_all(&context->lanes_freed);
    return old;
}

/* The same after a restart, which is counted and told before anybody can see the context ready. */
static struct aee__instance *make_restarted(struct aee__context *context,
                                            struct aee__instance *instance, const char *how)
{
    (void)atomic_fetch_add(&context->stats.restarts, 1);
    (void)atomic_fetch_add(&context->core->counters.restarts, 1);
    aee__context_event(context, AEE_EVENT_RESTARTED, context->crash.id,
                       "context \"%s\": restarted %s", context->name, how);
    return aee__life_make_current(context, instance);
}

/* Without the lock: ends an instance that was current, and what was queued for it. */
void aee__life_end_current(struct aee__context *context, struct aee__instance *instance)
{
    if (instance || !atomic_load(&context->keeps_calls)) {
        aee__call_queue_flush(&context->queue, &context->core->batches, AEE_ERR_STOPPED);
    }
    aee__life_discard(instance);
}

void aee__life_discard(struct aee__instance *instance)
{
    if (instance) {
        aee__instance_stop(instance);
        aee__instance_release(instance);
    }
}

/* An end before it is current is nobody's crash: nobody else restarts the context. One after that
 * waits for the lock, and finds it current. */
bool aee__life_has_died(struct aee__context *context, const struct aee__instance *instance)
{
    bool died = aee__instance_ended(instance) != AEE_OK;
    if (died) {
        context->building = NULL;
    }
    return died;
}

/* ---- Becoming current ---------------------------------------------------------------------- */

/* In an operation: an instance that begins as the last one did: a spare, or a new one. */
static aee_result get_from_image(struct aee__context *context, struct aee__instance **out,
                                 aee_error *error)
{
    aee__life_drop_fallen(context);
    (void)pthread_mutex_lock(&context->lock);
    *out = aee__spares_take(context);
    (void)pthread_mutex_unlock(&context->lock);
    return *out ? AEE_OK
                : aee__life_build(context, context->image, false, AEE__ORIGIN_IMAGE, NULL, out,
                                  error);
}

/* In an operation: an instance with the state of a checkpoint. */
static aee_result get_from_state(struct aee__context *context, enum aee__origin origin,
                                 uint64_t deadline_ns, struct aee__instance **out, aee_error *error)
{
    struct aee__instance *fallen = take_fallen(context);
    *out = NULL;
    if (fallen) {
        (void)build_in_place(context, fallen, deadline_ns, out);
        aee__instance_release_quietly(fallen);
    }
    return *out ? AEE_OK
                : aee__life_build(context, context->image, false, origin, NULL, out, error);
}

/* In an operation: another instance becomes current. `forgive`: somebody asked for it. */
aee_result aee__life_replace(struct aee__context *context, const char *how, bool forgive,
                             enum aee__origin origin, uint64_t deadline_ns, aee_error *error)
{
    struct aee__instance *instance;
    aee_result result = origin == AEE__ORIGIN_IMAGE
                            ? get_from_image(context, &instance, error)
                            : get_from_state(context, origin, deadline_ns, &instance, error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&context->lock);
    if (aee__life_has_died(context, instance)) {
        (void)pthread_mutex_unlock(&context->lock);
        aee__life_discard(instance);
        return aee__fail(error, AEE_ERR_CRASHED,
                         "cannot restart context \"%s\": its machine has ended", context->name);
    }
    if (forgive) {
        context->history.count = 0;
        context->fruitless = 0;
        aee__rates_begin_total(context);
    }
    struct aee__instance *old = make_restarted(context, instance, how);
    (void)pthread_mutex_unlock(&context->lock);
    aee__life_end_current(context, old);
    aee__retry_resume(context);
    return AEE_OK;
}
