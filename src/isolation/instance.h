/* instance.h: one incarnation of a context: a virtual machine, its memory, its region window and
 * its lanes, made from an image and never reused. Reference-counted: the context holds one
 * reference while the instance is current, each call one while it runs. The last release frees it
 * on the housekeeper's thread. */
#ifndef AEE_ISOLATION_INSTANCE_H
#define AEE_ISOLATION_INSTANCE_H

#include <stdatomic.h>

#include "ept/memory.h"
#include "ept/window.h"
#include "isolation/core.h"
#include "isolation/image/image.h"
#include "isolation/lane.h"

/* An image that several instances and a context share. */
struct aee__image_ref {
    _Atomic uint32_t references;
    struct aee__image *image;
    const struct aee__alloc *alloc;
};

struct aee__image_ref *aee__image_ref_create(const struct aee__alloc *alloc,
                                             struct aee__image *image);
struct aee__image_ref *aee__image_ref_take(struct aee__image_ref *reference);
void aee__image_ref_release(struct aee__image_ref *reference);

/* Why an instance ended. Written once. */
enum aee__end {
    AEE__END_NOT = 0,
    AEE__END_CLAIMED,
    AEE__END_CRASHED,
    AEE__END_HUNG,
    AEE__END_STOPPED
};

struct aee__instance {
    struct aee__core *core;
    struct aee__context *context; /* outlives the instance */
    struct aee__image_ref *image;
    struct aee__vm *vm;
    struct aee__memory_plan plan;
    struct aee__memory memory;
    struct aee__window window;
    _Atomic uint32_t references;
    _Atomic uint32_t end;         /* enum aee__end */
    _Atomic uint32_t calls;       /* in flight */
    _Atomic uint32_t lanes_freed; /* futex: callers that found all lanes taken should look again */
    _Atomic uint32_t lane_waiters;
    bool spare;                 /* waits to be taken; under the context's lock once it is known */
    struct aee__instance *next; /* living instances of the context, under its lock */
    struct aee__job free_job;
    uint32_t lane_count;
    struct aee__lane lanes[];
};

/* Makes an instance and starts its lanes; the initialisers have not run. */
aee_result aee__instance_create(struct aee__core *core, struct aee__context *context,
                                struct aee__image_ref *image, const aee_limits *limits,
                                struct aee__instance **out, aee_error *error);
void aee__instance_take(struct aee__instance *instance);
void aee__instance_release(struct aee__instance *instance);

/* Ends it without blame: calls in flight return AEE_ERR_STOPPED. Any thread. */
void aee__instance_stop(struct aee__instance *instance);
/* Ends it with blame, once: the first caller wins and gets true, and must fill the crash in and
 * call aee__instance_conclude(). */
bool aee__instance_claim_end(struct aee__instance *instance);
/* Publishes the end and wakes whoever runs or waits in the instance. */
void aee__instance_conclude(struct aee__instance *instance, enum aee__end end);
/* AEE_OK while it lives; otherwise what calls return. */
aee_result aee__instance_ended(const struct aee__instance *instance);

/* Waits for the conclusion of an instance that aee__instance_ended() found ended; what calls
 * return. */
aee_result aee__instance_await_end(struct aee__instance *instance);

/* Enlarges the heap while the component runs. */
aee_result aee__instance_grow_heap(struct aee__instance *instance, uint64_t heap_size,
                                   aee_error *error);

#endif
