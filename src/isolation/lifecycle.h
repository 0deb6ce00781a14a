/* lifecycle.h: what the files that change a context's instances share. */
#ifndef AEE_ISOLATION_LIFECYCLE_H
#define AEE_ISOLATION_LIFECYCLE_H

#include "isolation/context.h"

/* How long the restarter waits for the threads of calls that ended with the instance. */
#define AEE__LEAVE_NS (AEE__NS_PER_SECOND / 10)

/* Begins a life-cycle operation, when those before it have ended; to be ended with aee__life_end().
 * `operation` is a verb for the sentence. Errors: BUSY, STALE. */
aee_result aee__life_begin(struct aee__context *context, const char *operation, aee_error *error);
void aee__life_end(struct aee__context *context);
/* The same where nobody else has one, or waits for it; false: not so. */
bool aee__life_try(struct aee__context *context);

/* In an operation: makes an instance of `image` that is ready to become current. While its
 * initialisers run it is context->building, and remains that on success. */
aee_result aee__life_build(struct aee__context *context, struct aee__image_ref *image, bool spare,
                           enum aee__origin origin, struct aee__start *start,
                           struct aee__instance **out, aee_error *error);
/* In an operation: an instance that begins with the chosen checkpoint becomes current, as somebody
 * asked for. `how` completes "restarted ...". `anew`: not in the machine of the one that crashed.
 */
aee_result aee__life_revive(struct aee__context *context, const char *how, bool anew,
                            aee_error *error);
/* With the lock held: takes the current instance away, with the context's reference to it. */
struct aee__instance *aee__life_detach(struct aee__context *context, aee_state state);
/* With the lock held, before it becomes current: whether the built instance has ended. Then it is
 * not being built any more, and the caller discards it without the lock. */
bool aee__life_has_died(struct aee__context *context, const struct aee__instance *instance);
/* With the lock held: the built instance takes calls from now on. Returns the old one, to be
 * stopped and released without the lock. */
struct aee__instance *aee__life_make_current(struct aee__context *context,
                                             struct aee__instance *instance);
/* Without the lock: ends an instance that was current, and what was queued for it. */
void aee__life_end_current(struct aee__context *context, struct aee__instance *instance);
/* In an operation: gives up the machine that a crashed instance has left. */
void aee__life_drop_fallen(struct aee__context *context);
/* In an operation: another instance becomes current. `forgive`: somebody asked for it. Until the
 * deadline it waits for threads of calls that ended with the one before. */
aee_result aee__life_replace(struct aee__context *context, const char *how, bool forgive,
                             enum aee__origin origin, uint64_t deadline_ns, aee_error *error);
/* crashes.c: of context->restart_job. */
void aee__context_restart_job(struct aee__job *job);
/* Ends an instance and gives the context's reference back. NULL is fine. */
void aee__life_discard(struct aee__instance *instance);

#endif
