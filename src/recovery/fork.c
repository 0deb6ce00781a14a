#include "recovery/fork.h"

#include <string.h>

#include "isolation/lifecycle.h"
#include "isolation/quiesce.h"

aee_result aee__fork_begin(struct aee__context *template, struct aee__fork *fork, aee_error *error)
{
    struct aee__instance *instance;
    aee_error why;
    memset(fork, 0, sizeof *fork);
    aee_result result = aee__quiesce_begin(template, "fork", true, &instance, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__template_take(template, instance, &fork->start, &why);
    if (result == AEE_OK) {
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

aee_result aee__fork_into(struct aee__fork *fork, struct aee__context *template,
                          struct aee__context *context, aee_error *error)
{
    for (uint32_t i = 0; i < AEE__HOST_FUNCTIONS_MAX / 64; i++) {
        atomic_store(&context->grants.bits[i], atomic_load(&template->grants.bits[i]));
    }
    aee__guest_clock_inherit(context, template);
    aee_result result = aee__context_begin_frozen(context, fork->image, &fork->start, error);
    struct aee__instance *instance = atomic_load(&context->current); /* nobody calls it yet */
    if (result == AEE_OK && instance) {
        aee__instance_set_state_ranges(instance, &fork->state);
    }
    return result;
}

void aee__fork_end(struct aee__fork *fork)
{
    aee__start_release(&fork->start);
    aee__image_ref_release(fork->image);
}
