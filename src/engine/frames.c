/* frames.c: frames of the engine, and events on its thread. */
#include <stdio.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "isolation/tracing.h"
#include "recovery/periodic.h"

aee_result aee_set_event_callback(aee_engine *engine, aee_event_fn function, void *user,
                                  aee_error *error)
{
    aee_result result = aee__engine_check(engine, "set the event callback", error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&engine->events_lock);
    engine->on_event = function;
    engine->on_event_user = user;
    (void)pthread_mutex_unlock(&engine->events_lock);
    return aee__ok(error);
}

/* Delivers what is queued now, not what the callback adds: it could go on for ever. Without a
 * callback events stay queued. */
static uint32_t deliver(aee_engine *engine)
{
    aee_event event;
    uint32_t delivered = 0;
    (void)pthread_mutex_lock(&engine->events_lock);
    aee_event_fn function = engine->on_event;
    void *user = engine->on_event_user;
    (void)pthread_mutex_unlock(&engine->events_lock);
    while (function && delivered < AEE__EVENTS_MAX &&
           aee__events_pop(&engine->core.events, &event)) {
        function(user, &event);
        delivered++;
    }
    return delivered;
}

aee_result aee_poll_events(aee_engine *engine, uint32_t *delivered, aee_error *error)
{
    if (delivered) {
        *delivered = 0;
    }
    aee_result result = aee__engine_check(engine, "poll events", error);
    if (result != AEE_OK) {
        return result;
    }
    uint32_t count = deliver(engine);
    if (delivered) {
        *delivered = count;
    }
    return aee__ok(error);
}

aee_result aee_engine_frame_begin(aee_engine *engine, aee_error *error)
{
    aee_result result = aee__engine_check(engine, "begin a frame", error);
    if (result != AEE_OK) {
        return result;
    }
    uint64_t now = aee__now_ns();
    (void)pthread_mutex_lock(&engine->frame_lock);
    bool nested = engine->in_frame;
    if (!nested) {
        engine->in_frame = true;
        aee__housekeeper_hold(&engine->core.housekeeper); /* the pool and spares can wait */
        aee__housekeeper_hold(&engine->core.restarter);
        engine->frame_begin_ns = now;
        engine->frame_begin_ticks = aee__ticks(&engine->core.ticker);
        atomic_store(&engine->core.frame_begin_ns, now); /* before the number that goes with it */
        (void)atomic_fetch_add(&engine->core.counters.frames, 1);
    }
    (void)pthread_mutex_unlock(&engine->frame_lock);
    if (nested) {
        return aee__fail(error, AEE_ERR_STATE, "cannot begin a frame: the last one has not ended");
    }
    aee__warm_begin_frame(&engine->core, now);
    return aee__ok(error);
}

static void push_late(aee_engine *engine, const aee_frame_info *info)
{
    aee_event event = {
        .type = AEE_EVENT_FRAME_LATE, .time_ns = aee__now_ns(), .frame = info->frame};
    (void)snprintf(event.text, sizeof event.text, "frame %llu took %llu us of %llu us",
                   (unsigned long long)info->frame, (unsigned long long)(info->duration_ns / 1000),
                   (unsigned long long)(engine->frame_budget_ns / 1000));
    aee__events_push(&engine->core.events, &event);
    aee__tracing_event(&engine->core, &event);
}

static void trace_frame(aee_engine *engine, const aee_frame_info *info, uint64_t begin)
{
    const struct aee__trace_note note = {.begin = begin,
                                         .end = aee__ticks(&engine->core.ticker),
                                         .number = info->frame,
                                         .type = AEE__TRACE_FRAME,
                                         .late = info->late != 0};
    aee__trace_note(&engine->core.trace, &note);
}

/* What checkpoints take is part of the frame. */
static void take_checkpoints(aee_engine *engine)
{
    (void)pthread_mutex_lock(&engine->frame_lock);
    bool begun = engine->in_frame;
    (void)pthread_mutex_unlock(&engine->frame_lock);
    if (begun) {
        aee__periodic_end_frame(&engine->core, atomic_load(&engine->core.counters.frames));
    }
}

aee_result aee_engine_frame_end(aee_engine *engine, aee_frame_info *info, aee_error *error)
{
    aee_frame_info frame = {0};
    aee_result result = aee__engine_check(engine, "end a frame", error);
    if (result != AEE_OK) {
        return result;
    }
    take_checkpoints(engine);
    (void)pthread_mutex_lock(&engine->frame_lock);
    bool begun = engine->in_frame;
    uint64_t begin = engine->frame_begin_ticks;
    if (begun) {
        engine->in_frame = false;
        frame.frame = atomic_load(&engine->core.counters.frames);
        frame.duration_ns = aee__now_ns() - engine->frame_begin_ns;
        frame.late = frame.duration_ns > engine->frame_budget_ns;
        aee__housekeeper_release(&engine->core.housekeeper);
        aee__housekeeper_release(&engine->core.restarter);
    }
    (void)pthread_mutex_unlock(&engine->frame_lock);
    if (!begun) {
        return aee__fail(error, AEE_ERR_STATE, "cannot end a frame: none has begun");
    }
    trace_frame(engine, &frame, begin);
    if (frame.late) {
        (void)atomic_fetch_add(&engine->core.counters.late_frames, 1);
        push_late(engine, &frame);
    }
    (void)deliver(engine);
    if (info) {
        *info = frame;
    }
    return aee__ok(error);
}
