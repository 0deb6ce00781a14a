/* fork.h: contexts that begin with the memory of another. */
#ifndef AEE_RECOVERY_FORK_H
#define AEE_RECOVERY_FORK_H

#include "isolation/context.h"

/* What a fork takes from its template. Holds references; to be given to aee__fork_end(). */
struct aee__fork {
    struct aee__start start;
    struct aee__image_ref *image;
    struct aee__state_ranges state;
    aee_limits limits;
    aee_kind kind;
    aee_call_mode mode;
};

/* Waits for calls in flight, as aee__quiesce_begin() does, and copies the template's memory unless
 * it is as it was at the last fork; takes a spare fork where one is ready. */
aee_result aee__fork_begin(struct aee__context *template, struct aee__fork *fork, aee_error *error);
/* Gives a context that was just created the template's grants and memory. */
aee_result aee__fork_into(struct aee__fork *fork, struct aee__context *template,
                          struct aee__context *context, aee_error *error);
void aee__fork_end(struct aee__fork *fork);

#endif
