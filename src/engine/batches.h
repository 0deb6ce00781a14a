/* batches.h: bringing the calls of a batch to their contexts and waiting for them; what submitted
 * batches and functions over a range share. */
#ifndef AEE_ENGINE_BATCHES_H
#define AEE_ENGINE_BATCHES_H

#include "engine/engine.h"

#define AEE__BATCH_CALLS_MAX (1u << (AEE__BATCH_CLASSES - 1))
#define AEE__NO_DEADLINE UINT64_MAX

/* Makes the batch's calls from `items`; refuses it as a whole where one is bad. */
aee_result aee__batch_fill(aee_engine *engine, struct aee__batch *batch, const aee_call_item *items,
                           aee_error *error);
/* Queues all calls and lets workers begin. */
void aee__batch_submit_all(struct aee__core *core, struct aee__batch *batch);
/* Until `wanted` calls of the batch have ended, or the deadline (then false). Helps, spins, sleeps.
 */
bool aee__batch_wait_until(struct aee__core *core, struct aee__batch *batch, uint32_t wanted,
                           uint64_t deadline_ns);
/* Takes completions in the order in which the calls ended (NULL: drops them); how many. *left
 * receives how many of the batch nobody has taken. */
uint32_t aee__batch_take(struct aee__batch *batch, aee_completion *completions, uint32_t capacity,
                         uint32_t *left);
/* Cancels those of [first, end) that have not begun; how many. */
uint32_t aee__batch_cancel(struct aee__core *core, struct aee__batch *batch, uint32_t first,
                           uint32_t end);

#endif
