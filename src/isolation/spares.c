#include "isolation/spares.h"

#include "isolation/lifecycle.h"

/* ---- With the context's lock held --------------------------------------------------------- */

/* Nobody runs or waits in it, so that there is nobody to be told; telling takes the lock. */
static void drop(struct aee__instance *spare)
{
    if (aee__instance_claim_end(spare)) {
        atomic_store(&spare->end, AEE__END_STOPPED);
    }
    aee__instance_release(spare);
}

struct aee__instance *aee__spares_take(struct aee__context *context)
{
    while (context->spare_count > 0) {
        struct aee__instance *spare = context->spares[--context->spare_count];
        if (aee__instance_ended(spare) == AEE_OK) {
            spare->spare = false; /* from now on its crash is the context's */
            return spare;
        }
        drop(spare);
    }
    return NULL;
}

void aee__spares_drop(struct aee__context *context)
{
    while (context->spare_count > 0) {
        drop(context->spares[--context->spare_count]);
    }
    context->spares_failed = false;
}

bool aee__spares_wanting(const struct aee__context *context)
{
    return context->spare_count < context->limits.spares && context->state == AEE_STATE_READY &&
           !context->dying && !context->spares_failed && !context->in_operation &&
           context->operations_waiting == 0;
}

/* ---- Building ----------------------------------------------------------------------------- */

void aee__spares_want(struct aee__core *core)
{
    atomic_store(&core->spares_wanted, true);
    aee__housekeeper_poke(&core->restarter);
}

/* The operation, begun only where nobody else has one: the restarter does not wait for others. */
static bool begin(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    bool wanting = aee__spares_wanting(context);
    context->in_operation = context->in_operation || wanting;
    (void)pthread_mutex_unlock(&context->lock);
    return wanting;
}

/* Failures that are told already, or meant. */
static bool is_told(aee_result result)
{
    return result == AEE_OK || result == AEE_ERR_STOPPED || result == AEE_ERR_STALE ||
           result == AEE_ERR_CRASHED || result == AEE_ERR_HUNG;
}

static void build_one(struct aee__context *context)
{
    struct aee__instance *spare = NULL;
    aee_error error = {0};
    aee_result result =
        aee__life_build(context, context->image, true, AEE__ORIGIN_IMAGE, NULL, &spare, &error);
    (void)pthread_mutex_lock(&context->lock);
    context->building = NULL;
    /* It may have crashed meanwhile; then it is what the restart takes, unless that was the end. */
    bool kept = spare && context->state != AEE_STATE_QUARANTINED;
    if (kept) {
        context->spares[context->spare_count++] = spare;
    } else if (!is_told(result)) {
        context->spares_failed = true;
    }
    (void)pthread_mutex_unlock(&context->lock);
    if (!kept) {
        aee__life_discard(spare);
    }
    if (!is_told(result)) {
        aee__context_event(context, AEE_EVENT_SPARE_FAILED, 0, "%s", error.text);
    }
}

struct search {
    struct aee__core *core;
    struct aee__context *found;
};

static void find_wanting(void *user, uint64_t handle, void *object)
{
    struct search *search = user;
    if (!search->found && begin(object)) {
        search->found = object;
        aee__handles_ref(&search->core->contexts, handle);
    }
}

bool aee__spares_fill_one(void *user)
{
    struct search search = {.core = user};
    struct aee__core *core = user;
    if (!atomic_exchange(&core->spares_wanted, false)) {
        return false;
    }
    aee__handles_each(&core->contexts, find_wanting, &search);
    if (!search.found) {
        return false;
    }
    atomic_store(&core->spares_wanted, true); /* by this one again, or by others */
    uint64_t handle = search.found->handle;
    build_one(search.found);
    aee__life_end(search.found);
    aee__handles_release(&core->contexts, handle);
    return true;
}

/* ---- Crashes ------------------------------------------------------------------------------ */

bool aee__spares_crashed(struct aee__context *context, struct aee__instance *instance,
                         const aee_crash *crash)
{
    (void)pthread_mutex_lock(&context->lock);
    bool spare = instance->spare; /* changes when it is taken */
    context->spares_failed = context->spares_failed || spare;
    (void)pthread_mutex_unlock(&context->lock);
    if (spare) {
        aee__context_event(context, AEE_EVENT_SPARE_FAILED, 0,
                           "context \"%s\": no spares until the next load: %s", context->name,
                           crash->text);
    }
    return spare;
}
