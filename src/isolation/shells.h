/* shells.h: the objects of a context's instances. They are used again and freed with the context
 * only, so that a caller that comes too late finds an object whose lanes it can try. Owns the
 * objects while no instance lives in them. */
#ifndef AEE_ISOLATION_SHELLS_H
#define AEE_ISOLATION_SHELLS_H

#include "isolation/context.h"

/* An object for a new instance with that many lanes, all of which the caller owns, or NULL. */
struct aee__instance *aee__shells_take(struct aee__context *context, uint32_t lanes);
/* Nobody refers to the instance any more: it is freed, now or when the last owner of one of its
 * lanes has left. On the housekeeper's thread. */
void aee__shells_bury(struct aee__context *context, struct aee__instance *instance);
/* A lane's owner has left: what waited for that goes to the housekeeper. */
void aee__shells_reap(struct aee__context *context);
/* With the context, when all instances are buried. */
void aee__shells_free(struct aee__context *context);

#endif
