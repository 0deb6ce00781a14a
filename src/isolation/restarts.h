/* restarts.h: when a context that crashed comes back: after its wait, and with the supervisor that
 * it went down with. What is decided here is done on the restarter's thread, which waits for no
 * context while others have something to do. */
#ifndef AEE_ISOLATION_RESTARTS_H
#define AEE_ISOLATION_RESTARTS_H

#include "isolation/context.h"

/* All of these with the context's lock held: */

/* After decide(): how long the restart waits, at least `least_ns`. From now on none begins before.
 */
uint64_t aee__restart_wait(struct aee__context *context, uint64_t now_ns, uint64_t least_ns);
/* It is to come back, and nothing keeps it but its wait. */
bool aee__restart_is_wanted(const struct aee__context *context);
/* The same, and the wait is over. */
bool aee__restart_is_due(const struct aee__context *context);
/* An instance has become current, or was taken away: it waits for nothing any more. */
void aee__restart_settled(struct aee__context *context);
/* The context crashed: those that it supervises go down with it, where it is so, once its restart
 * is scheduled or its state told. */
void aee__group_falls(struct aee__context *context);
/* Its state changed: those that wait for it are looked at. */
void aee__group_changed(struct aee__context *context);

/* And these without it: */

void aee__restarts_init(struct aee__context *context);
/* Posts the restart for after its wait, which is told; the job has a reference to the handle until
 * it has run. `quietly` as for aee__housekeeper_post_quietly(). */
void aee__restart_schedule(struct aee__context *context, uint64_t wait_ns, bool quietly);
/* It went to quarantine: so do, in their way, those that it supervises. */
void aee__group_stops(struct aee__context *context);
/* For the job: true where it came too early, and is posted again. */
bool aee__restart_put_off(struct aee__context *context);
/* How it restarts, for the event: `how`, or with whom. */
const char *aee__restart_how(struct aee__context *context, const char *how, char *buffer,
                             size_t size);

/* Within an operation: takes over what aee_set_recovery() asks for. */
void aee__restarts_configure(struct aee__context *context, const aee_recovery_desc *desc);

#endif
