/* retry.h: calls of functions that are marked as idempotent, and the second try that such a call
 * gets when the first one ended with the instance. Looked at after a failure only. */
#ifndef AEE_ISOLATION_RETRY_H
#define AEE_ISOLATION_RETRY_H

#include "isolation/context.h"

/* Marks an export, or takes the mark away. Errors: NOT_LOADED, STALE, WRONG_HANDLE. */
aee_result aee__retry_mark(struct aee__context *context, uint32_t export_index, uint16_t epoch,
                           bool idempotent, aee_error *error);
/* Another image was loaded: no function of it is marked. */
void aee__retry_forget(struct aee__context *context);

/* A call that a thread waits for failed with `result`: makes it once more where that is allowed,
 * when the context is back, and returns what came of it, or `result` again. Not for calls from
 * within a host function of the context. */
aee_result aee__retry_call(struct aee__context *context, uint16_t epoch, struct aee__call *call,
                           aee_result result, aee_error *error);

/* An instance of the context has ended with `status`: of these submitted calls, which were on its
 * ring in this order, those that get a second try are queued again, before all others. The rest
 * moves to the front; how many those are. */
uint32_t aee__retry_ring(struct aee__context *context, struct aee__call **calls, uint32_t count,
                         aee_result status);
/* The same for calls that were queued: those without a second try end with `status`. */
void aee__retry_queue(struct aee__context *context, aee_result status);
/* Another instance is current: calls that waited for it go on. Without the context's lock. */
void aee__retry_resume(struct aee__context *context);

#endif
