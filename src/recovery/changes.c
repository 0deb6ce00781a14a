#include "recovery/changes.h"

#include "isolation/context.h"

static aee_result ask(struct aee__shadow *shadow, const struct aee__instance *instance, bool keep)
{
    return instance->core->ops->vm_written(instance->vm, shadow->work.bits, shadow->work.count,
                                           keep, NULL);
}

/* A component often writes the same pages between one checkpoint or restore and the next. Those
 * stay writable: comparing or copying one that was not written costs 0.1 us, the fault that tells
 * of a write 1 to 8 us, and protecting pages where the component's thread has another processor 10
 * us. */
bool aee__changes_find(struct aee__changes *changes, struct aee__shadow *shadow,
                       const struct aee__instance *instance)
{
    bool keep = changes->wait == 0;
    changes->wait -= changes->wait > 0;
    changes->again = changes->kept;
    changes->kept = keep;
    if (changes->known != instance->machine || ask(shadow, instance, keep) != AEE_OK) {
        changes->known = 0;
    }
    return changes->known != 0;
}

/* Now and then it is looked whether it does write the same ones. */
void aee__changes_narrow(struct aee__changes *changes, struct aee__shadow *shadow,
                         const struct aee__memory *memory, bool compare)
{
    enum { LOOK = 8, WAIT = 8, FEW = 8 };
    uint64_t told = aee__shadow_narrow(shadow, memory, false);
    bool look = changes->again && ++changes->since >= LOOK;
    if (!compare && !look) {
        return;
    }
    uint64_t changed = aee__shadow_narrow(shadow, memory, true);
    if (changes->again) {
        changes->since = 0;
        changes->wait = 2 * changed + FEW < told ? WAIT : 0;
    }
}

void aee__changes_follow(struct aee__changes *changes, struct aee__shadow *shadow,
                         const struct aee__instance *instance)
{
    const struct aee__backend_ops *ops = instance->core->ops;
    /* What is told at once was written before the log began: lanes do not run now. */
    if (changes->known != instance->machine && ops->vm_track &&
        ops->vm_track(instance->vm, NULL) == AEE_OK && ask(shadow, instance, false) == AEE_OK) {
        *changes = (struct aee__changes){.known = instance->machine};
    }
}
