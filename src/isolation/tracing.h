/* tracing.h: what lanes and contexts tell the engine's trace (monitor/trace.h). Off, it costs a
 * call one load and a branch that is always taken the same way. */
#ifndef AEE_ISOLATION_TRACING_H
#define AEE_ISOLATION_TRACING_H

#include "isolation/context.h"

/* ---- Life --------------------------------------------------------------------------------- */

/* With the context's lock held: its instance's lanes are recorded, if a trace is on. */
void aee__tracing_attach(struct aee__instance *instance);
/* Nobody owns the lane any more. */
void aee__tracing_detach(struct aee__lane *lane);
/* The same for all instances there are, when a trace has begun. */
void aee__tracing_attach_all(struct aee__core *core);

/* ---- Calls, for the lane's owner ---------------------------------------------------------- */

static inline struct aee__trace_ring *aee__tracing_ring(struct aee__lane *lane)
{
    return atomic_load(&lane->trace.ring);
}

/* Exits since the last look, one field for each kind. */
uint64_t aee__tracing_exits(struct aee__lane *lane, struct aee__trace_ring *ring);

/* A call that a thread waited for has ended. If it was not alone on the lane it may be told of. */
static inline void aee__tracing_call(struct aee__lane *lane, const struct aee__call *call,
                                     uint64_t begin, uint64_t end)
{
    struct aee__trace_ring *ring = aee__tracing_ring(lane);
    uint64_t exits = 0;
    if (__builtin_expect(!ring || call->traced, 1)) {
        return;
    }
    if (atomic_load_explicit(&lane->exits[AEE__TRACE_EXITS], memory_order_relaxed) !=
        atomic_load_explicit(&ring->exits_seen[AEE__TRACE_EXITS], memory_order_relaxed)) {
        exits = aee__tracing_exits(lane, ring);
    }
    aee__trace_put(
        ring, begin, end,
        aee__trace_detail(AEE__TRACE_CALL, 0, call->mode_used, 0, call->status, call->export_index),
        exits);
}
/* A nested one. */
void aee__tracing_nested(struct aee__lane *lane, const struct aee__call *call, uint64_t begin);
/* Calls that were seen to end now, in this order; `first` is the number of the first on its lane.
 * They have their status. */
void aee__tracing_run(struct aee__lane *lane, struct aee__call *const *calls, uint32_t count,
                      uint32_t first, uint64_t now);
/* The same when the instance has ended with `status`: so many were answered before, the next one of
 * `count` was under way, and the others never ran. */
void aee__tracing_failed(struct aee__lane *lane, struct aee__call *const *calls, uint32_t answered,
                         uint32_t count, uint32_t first, aee_result status);
/* For which of the calls on the lane a host call is, going by the component's word as far as it
 * goes: to be asked before the answer is given. */
uint32_t aee__tracing_asking(struct aee__lane *lane);
/* A host function of that number has run for the lane. */
void aee__tracing_host(struct aee__lane *lane, uint32_t function, aee_result result,
                       uint32_t asking, uint64_t begin, uint64_t end);

/* ---- Exits, for the lane's runner --------------------------------------------------------- */

void aee__tracing_count_exit(struct aee__lane *lane, const struct aee__exit *exit);

/* ---- The rest, for any thread ------------------------------------------------------------- */

void aee__tracing_event(struct aee__core *core, const aee_event *event);
/* A checkpoint, of which there are `kept` now, that began then, in ticks of the core's ticker, and
 * has ended; a restore from the one so far back. */
void aee__tracing_checkpoint(struct aee__context *context, uint32_t kept, uint64_t begin);
void aee__tracing_restore(struct aee__context *context, uint32_t back, uint64_t begin);

#endif
