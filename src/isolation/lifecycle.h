/* lifecycle.h: what the files that change a context's instances share. */
#ifndef AEE_ISOLATION_LIFECYCLE_H
#define AEE_ISOLATION_LIFECYCLE_H

#include "isolation/context.h"

/* Begins a life-cycle operation, when those before it have ended; to be ended with aee__life_end().
 * `operation` is a verb for the sentence. Errors: BUSY, STALE. */
aee_result aee__life_begin(struct aee__context *context, const char *operation, aee_error *error);
void aee__life_end(struct aee__context *context);

/* In an operation: makes an instance of `image` that is ready to become current. While its
 * initialisers run it is context->building, and remains that on success. */
aee_result aee__life_build(struct aee__context *context, struct aee__image_ref *image, bool spare,
                           enum aee__origin origin, struct aee__frozen *frozen,
                           struct aee__instance **out, aee_error *error);
/* With the lock held: takes the current instance away, with the context's reference to it. */
struct aee__instance *aee__life_detach(struct aee__context *context, aee_state state);
/* Ends an instance and gives the context's reference back. NULL is fine. */
void aee__life_discard(struct aee__instance *instance);

#endif
