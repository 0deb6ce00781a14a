/* engine.h: the engine object behind the public API, and the checks that every call begins with. */
#ifndef AEE_ENGINE_ENGINE_H
#define AEE_ENGINE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/tracing.h"
#include "ept/region.h"
#include "isolation/context.h"
#include "isolation/core.h"

struct aee_engine {
    struct aee__core core;
    uint32_t *alive; /* a page that reads 0 in a child of fork() */
    _Atomic bool closed;
    uint64_t frame_budget_ns;
    pthread_mutex_t shutdown_lock; /* shutdowns wait for each other */
    pthread_mutex_t limits_lock;   /* from reading a context's limits to setting them */
    pthread_mutex_t recovery_lock; /* from following supervisors to naming another */
    uint32_t parts;                /* how many parts of the core were started */

    pthread_mutex_t regions_lock; /* arena, and the regions' objects */
    struct aee__handles regions;
    struct aee__region_arena arena;
    bool arena_made;
    _Atomic uint64_t region_bytes;

    pthread_mutex_t events_lock; /* callback; held while it is read, not while it runs */
    aee_event_fn on_event;
    void *on_event_user;

    pthread_mutex_t frame_lock;
    bool in_frame;
    uint64_t frame_begin_ns;
    uint64_t frame_begin_ticks;

    struct aee__tracing tracing;
};

/* Refuses NULL, a forked child and a closed engine. `operation` is a verb for the sentence. */
aee_result aee__engine_check(const aee_engine *engine, const char *operation, aee_error *error);
/* The same, and takes a reference to the context's object, to be given to aee__engine_leave(). */
aee_result aee__engine_enter(aee_engine *engine, aee_context handle, const char *operation,
                             struct aee__context **out, aee_error *error);
static inline void aee__engine_leave(struct aee__context *context)
{
    aee__handles_release(&context->core->contexts, context->handle);
}

/* Names: 1 to AEE_NAME_MAX - 1 bytes, no control characters. */
aee_result aee__check_name(const char *operation, const char *name, aee_error *error);
/* A descriptor that begins with struct_size: at least `least` bytes, and no more than we know.
 * Copies it over `known` (all zero before), which has `size` bytes. */
aee_result aee__copy_desc(const char *operation, const void *desc, void *known, size_t size,
                          size_t least, aee_error *error);

/* calls.c: refuses a function that is not of that context; the image epoch in a function's handle.
 */
aee_result aee__function_check(aee_function function, aee_context handle,
                               const struct aee__context *context, aee_error *error);
uint16_t aee__function_epoch(aee_function function);
aee_function aee__function_handle(aee_context handle, uint16_t epoch, uint32_t index);

/* limits.c */
#define AEE__LIMIT_BUDGET_LEAST_NS UINT64_C(50000)
void aee__limits_default(aee_kind kind, aee_limits *limits);
/* Fills zero fields of *limits from `base`, rounds and checks. */
aee_result aee__limits_complete(const char *name, const aee_limits *base, aee_limits *limits,
                                aee_error *error);

/* contexts.c: makes a context of a complete plan and gives it a handle. */
aee_result aee__contexts_add(aee_engine *engine, const struct aee__context_plan *plan,
                             aee_context *out, aee_error *error);
/* The calling thread is inside a host function (then *error says so); closes the engine
 * and destroys every context. */
bool aee__contexts_any_reentry(aee_engine *engine, aee_error *error);
void aee__contexts_destroy_all(aee_engine *engine);
/* regions.c: destroys every region. */
void aee__regions_destroy_all(aee_engine *engine);

#endif
