#include "isolation/tracing.h"

#include <string.h>

#include "base/clock.h"

/* ---- Names -------------------------------------------------------------------------------- */

static const char *export_name(const void *owner, int32_t function)
{
    const struct aee__image_ref *reference = owner;
    if (function == AEE__CALLED_INITIALISER) {
        return "(initialisers)";
    }
    return function >= 0 && (uint32_t)function < reference->image->export_count
               ? reference->image->exports[function].name
               : NULL;
}

static void drop_image(void *owner)
{
    aee__image_ref_release(owner);
}

static void keep_image(void *owner)
{
    (void)aee__image_ref_take(owner);
}

/* ---- Life --------------------------------------------------------------------------------- */

void aee__tracing_attach(struct aee__instance *instance)
{
    struct aee__core *core = instance->core;
    uint32_t lanes = atomic_load(&instance->lane_count);
    if (!aee__trace_is_on(&core->trace) || instance->bereft) { /* whose lanes have ended */
        return;
    }
    for (uint32_t i = 0; i < lanes; i++) {
        struct aee__lane *lane = &instance->lanes[i];
        const struct aee__trace_plan plan = {
            .context = instance->context->handle,
            .name = instance->context->name,
            .lane = i,
            .busy = &lane->owned,
            .exits = lane->exits,
            .names = {.name = export_name, .drop = drop_image, .owner = instance->image},
            .keep = keep_image};
        aee__trace_open(&core->trace, &lane->trace, &plan);
    }
}

void aee__tracing_detach(struct aee__lane *lane)
{
    aee__trace_give_up(&lane->instance->core->trace, &lane->trace);
}

static void attach_context(void *user, uint64_t handle, void *object)
{
    struct aee__context *context = object;
    (void)user;
    (void)handle;
    (void)pthread_mutex_lock(&context->lock);
    for (struct aee__instance *at = context->living; at; at = at->next) {
        aee__tracing_attach(at);
    }
    (void)pthread_mutex_unlock(&context->lock);
}

void aee__tracing_attach_all(struct aee__core *core)
{
    aee__handles_each(&core->contexts, attach_context, NULL);
}

/* ---- Exits -------------------------------------------------------------------------------- */

static void add_one(_Atomic uint32_t *number)
{
    uint32_t value = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, value + 1, memory_order_relaxed);
}

void aee__tracing_count_exit(struct aee__lane *lane, const struct aee__exit *exit)
{
    enum aee__trace_exit kind = AEE__TRACE_EXIT_OTHER;
    if (exit->kind == AEE__EXIT_HYPERCALL) {
        kind = exit->hypercall == AEE_HC_PARK        ? AEE__TRACE_EXIT_PARK
               : exit->hypercall == AEE_HC_NOTIFY    ? AEE__TRACE_EXIT_NOTIFY
               : exit->hypercall == AEE_HC_HOST_CALL ? AEE__TRACE_EXIT_HOST_CALL
                                                     : AEE__TRACE_EXIT_OTHER;
    }
    add_one(&lane->exits[kind]);
    add_one(&lane->exits[AEE__TRACE_EXITS]);
}

uint64_t aee__tracing_exits(struct aee__lane *lane, struct aee__trace_ring *ring)
{
    uint64_t fields = 0;
    for (unsigned i = 0; i <= AEE__TRACE_EXITS; i++) {
        uint32_t now = atomic_load_explicit(&lane->exits[i], memory_order_relaxed);
        uint32_t more = now - atomic_load_explicit(&ring->exits_seen[i], memory_order_relaxed);
        atomic_store_explicit(&ring->exits_seen[i], now, memory_order_relaxed);
        if (i < AEE__TRACE_EXITS) {
            fields |= (uint64_t)(more < 0xffffu ? more : 0xffffu) << (16 * i);
        }
    }
    return fields;
}

/* ---- Calls -------------------------------------------------------------------------------- */

void aee__tracing_nested(struct aee__lane *lane, const struct aee__call *call, uint64_t begin)
{
    struct aee__trace_ring *ring = aee__tracing_ring(lane);
    if (ring) {
        aee__trace_put(ring, begin, aee__ticks(&lane->instance->core->ticker),
                       aee__trace_detail(AEE__TRACE_NESTED, call->level, 0, 0, call->status,
                                         call->export_index),
                       0);
    }
}

/* The first `answered` calls of the run have their status, a call after them ended with `status`.
 */
static void put_run(struct aee__lane *lane, struct aee__trace_ring *ring,
                    struct aee__call *const *calls, uint32_t answered, uint32_t count,
                    uint32_t first, uint64_t end, aee_result status)
{
    uint64_t exits = aee__tracing_exits(lane, ring);
    for (uint32_t i = 0; i < count; i++) {
        calls[i]->traced = true;
        aee__trace_put(ring, lane->trace_from, end,
                       aee__trace_detail(AEE__TRACE_RUN, 0, 0, first + i,
                                         i < answered ? calls[i]->status : status,
                                         calls[i]->export_index),
                       exits);
        exits = 0;
    }
}

/* A call that a thread waits for and that was alone is left to its own thread, which knows exactly
 * when it began. */
static bool is_exact(struct aee__call *const *calls, uint32_t count)
{
    return count == 1 && !calls[0]->batch;
}

void aee__tracing_run(struct aee__lane *lane, struct aee__call *const *calls, uint32_t count,
                      uint32_t first, uint64_t now)
{
    struct aee__trace_ring *ring = aee__tracing_ring(lane);
    if (ring && !is_exact(calls, count)) {
        put_run(lane, ring, calls, count, count, first, now, AEE_OK);
    }
    lane->trace_from = now;
}

void aee__tracing_failed(struct aee__lane *lane, struct aee__call *const *calls, uint32_t answered,
                         uint32_t count, uint32_t first, aee_result status)
{
    struct aee__trace_ring *ring = aee__tracing_ring(lane);
    uint32_t ran = answered < count ? answered + 1 : count;
    if (ring && ran > 0 && !is_exact(calls, ran)) {
        put_run(lane, ring, calls, answered, ran, first, aee__ticks(&lane->instance->core->ticker),
                status);
    }
}

uint32_t aee__tracing_asking(struct aee__lane *lane)
{
    return aee__tracing_ring(lane) ? aee__call_ring_oldest(&lane->ring) : 0;
}

void aee__tracing_host(struct aee__lane *lane, uint32_t function, aee_result result,
                       uint32_t asking, uint64_t begin, uint64_t end)
{
    struct aee__trace_ring *ring = aee__tracing_ring(lane);
    if (ring) {
        uint32_t level = atomic_load_explicit(&lane->host_depth, memory_order_relaxed);
        aee__trace_put(
            ring, begin, end,
            aee__trace_detail(AEE__TRACE_HOST, level, 0, asking, result, (int32_t)function), 0);
    }
}

/* ---- Notes -------------------------------------------------------------------------------- */

void aee__tracing_event(struct aee__core *core, const aee_event *event)
{
    if (aee__trace_is_on(&core->trace)) {
        uint64_t now = aee__ticks(&core->ticker);
        struct aee__trace_note note = {.begin = now,
                                       .end = now,
                                       .context = event->context.id,
                                       .number = event->crash_id,
                                       .frame = event->frame,
                                       .type = event->type};
        memcpy(note.name, event->context_name, sizeof note.name);
        aee__trace_note(&core->trace, &note);
    }
}

static void note_span(struct aee__context *context, enum aee__trace_note_type type, uint64_t number,
                      uint64_t begin)
{
    struct aee__core *core = context->core;
    if (aee__trace_is_on(&core->trace)) {
        struct aee__trace_note note = {.begin = begin,
                                       .end = aee__ticks(&core->ticker),
                                       .context = context->handle,
                                       .number = number,
                                       .type = type};
        memcpy(note.name, context->name, sizeof note.name);
        aee__trace_note(&core->trace, &note);
    }
}

void aee__tracing_checkpoint(struct aee__context *context, uint32_t kept, uint64_t begin)
{
    note_span(context, AEE__TRACE_CHECKPOINT, kept, begin);
}

void aee__tracing_restore(struct aee__context *context, uint32_t back, uint64_t begin)
{
    note_span(context, AEE__TRACE_RESTORE, back, begin);
}
