/* spares.h: instances of a context's image that are built and initialised ahead, so that a restart
 * need not wait for one. The restarter's thread builds them when it has nothing else to do, outside
 * of frames; each is taken once. A spare sees the context's regions like the current instance: what
 * is mapped or revoked meanwhile is so in the spares too. */
#ifndef AEE_ISOLATION_SPARES_H
#define AEE_ISOLATION_SPARES_H

#include "isolation/context.h"

/* All of these with the context's lock held: */

/* A spare that is alive and no spare any more, to become current at once; NULL: there is none. */
struct aee__instance *aee__spares_take(struct aee__context *context);
/* Drops all, because they are of an old image or limits, or not needed. Lets new ones be built. */
void aee__spares_drop(struct aee__context *context);
/* There are fewer than there should be, and now is a time to build one. */
bool aee__spares_wanting(const struct aee__context *context);

/* And these without it: */

/* Some context has become wanting. */
void aee__spares_want(struct aee__core *core);
/* The restarter's idle work: builds one spare; false when no context wants one. */
bool aee__spares_fill_one(void *core);
/* A spare crashed: tells it and returns true. That is no crash of the context, but an initialiser
 * that fails would fail again, so no more are built. False: the instance is no spare. */
bool aee__spares_crashed(struct aee__context *context, struct aee__instance *instance,
                         const aee_crash *crash);

#endif
