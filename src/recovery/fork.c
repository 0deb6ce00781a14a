#include "recovery/fork.h"

#include <string.h>

#include "isolation/lifecycle.h"
#include "isolation/quiesce.h"

/* The template's memory as it is now, kept for the next fork. */
static aee_result freeze(struct aee__context *template, const struct aee__instance *instance,
                         aee_error *error)
{
    uint64_t age = aee__instance_age(instance);
    if (template->template && template->template_machine == instance->machine &&
        template->template_age == age) {
        return AEE_OK;
    }
    struct aee__frozen *frozen;
    aee_result result = aee__frozen_create(&template->core->alloc, &instance->memory,
                                           &instance->plan, &frozen, error);
    if (result == AEE_OK) {
        aee__frozen_release(template->template);
        template->template = frozen;
        template->template_machine = instance->machine;
        template->template_age = age;
    }
    return result;
}

aee_result aee__fork_begin(struct aee__context *template, struct aee__fork *fork, aee_error *error)
{
    struct aee__instance *instance;
    aee_error why;
    memset(fork, 0, sizeof *fork);
    aee_result result = aee__quiesce_begin(template, "fork", true, &instance, error);
    if (result != AEE_OK) {
        return result;
    }
    result = freeze(template, instance, &why);
    if (result == AEE_OK) {
        fork->frozen = aee__frozen_take(template->template);
        fork->image = aee__image_ref_take(instance->image);
        aee__instance_state_ranges(instance, &fork->state);
        fork->kind = template->kind;
        fork->mode = template->mode;
        (void)pthread_mutex_lock(&template->lock);
        fork->limits = template->limits;
        (void)pthread_mutex_unlock(&template->lock);
    }
    aee__quiesce_end(template, instance);
    return result == AEE_OK ? AEE_OK
                            : aee__fail(error, result, "cannot fork context \"%s\": %s",
                                        template->name, why.text);
}

aee_result aee__fork_into(const struct aee__fork *fork, struct aee__context *template,
                          struct aee__context *context, aee_error *error)
{
    for (uint32_t i = 0; i < AEE__HOST_FUNCTIONS_MAX / 64; i++) {
        atomic_store(&context->grants.bits[i], atomic_load(&template->grants.bits[i]));
    }
    aee__guest_clock_inherit(context, template);
    aee_result result = aee__context_begin_frozen(context, fork->image, fork->frozen, error);
    struct aee__instance *instance = atomic_load(&context->current); /* nobody calls it yet */
    if (result == AEE_OK && instance) {
        aee__instance_set_state_ranges(instance, &fork->state);
    }
    return result;
}

void aee__fork_end(struct aee__fork *fork)
{
    aee__frozen_release(fork->frozen);
    aee__image_ref_release(fork->image);
}
