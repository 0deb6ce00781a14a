/* instance.h: one incarnation of a context: a virtual machine, its memory, its region window and
 * its lanes, made from an image and never reused. The context holds one reference while the
 * instance is current, each lane one that a worker runs; a call holds none: it owns a lane. When
 * the last reference and the last owner are gone, everything is freed on the housekeeper's thread,
 * but the object itself stays with its context, to be used again: a caller that comes too late
 * finds memory that is still an instance. */
#ifndef AEE_ISOLATION_INSTANCE_H
#define AEE_ISOLATION_INSTANCE_H

#include <stdatomic.h>

#include "ept/frozen.h"
#include "ept/memory.h"
#include "ept/window.h"
#include "isolation/core.h"
#include "isolation/image_ref.h"
#include "isolation/lane.h"
#include "isolation/state_ranges.h"
#include "isolation/template.h"

/* Why an instance ended. Written once. */
enum aee__end {
    AEE__END_NOT = 0,
    AEE__END_CLAIMED,
    AEE__END_CRASHED,
    AEE__END_HUNG,
    AEE__END_STOPPED
};

/* Where its object is on its way from the first reference to the next use. */
enum aee__life {
    AEE__LIFE_LIVING,
    AEE__LIFE_ZOMBIE, /* no references; a lane has an owner */
    AEE__LIFE_CALLED, /* the last owner has left; to be freed by the housekeeper */
    AEE__LIFE_SHELL   /* freed, but for the object */
};

struct aee__instance {
    struct aee__core *core;
    struct aee__context *context; /* outlives the instance */
    struct aee__image_ref *image;
    struct aee__vm *vm;
    _Atomic uint64_t machine; /* a number of its own for vm and memory, which go together */
    struct aee__memory_plan plan;
    struct aee__memory memory;
    struct aee__window window;
    uint16_t epoch;             /* of the image, for function handles */
    bool kept;                  /* its machine may go on with another instance: do not stop it */
    bool restored;              /* it began with a checkpoint's state */
    uint64_t restores;          /* how often its memory was replaced */
    bool bereft;                /* its machine went on with another instance */
    _Atomic bool concluded;     /* who ended it does not touch it any more */
    _Atomic bool copied;        /* for forks, and nothing has changed its memory since */
    bool spare;                 /* waits to be taken; under the context's lock once it is known */
    enum aee__life life;        /* under the context's lock, as is the next one */
    struct aee__instance *next; /* in the context's list of living instances, or of shells */
    struct aee__job free_job;
    struct aee__job keep_job; /* writes what was asked to be kept of its crash */
    _Atomic bool held;        /* until then: its machine stays as it is */
    struct aee__state_ranges state;
    _Atomic uint64_t clock_frame; /* it was told of (guest_clock.h), plus 1; 0: of none */
    _Atomic uintptr_t servers[AEE_MAX_LANES]; /* a lane's owner in a host function for it, or 0 */
    _Atomic uint32_t references;
    _Atomic uint32_t end;   /* enum aee__end */
    _Atomic bool debugged;  /* its lanes look at core->debug */
    _Atomic bool unhurried; /* somebody debugs it: calls have all the time in the world */
    _Atomic uint32_t lane_count;
    uint32_t lane_capacity;
    struct aee__lane lanes[];
};

/* Grows with each call that may have changed its memory; for the owner of all lanes. */
uint64_t aee__instance_age(const struct aee__instance *instance);

/* Makes an instance, as one of the living of its context, and starts its lanes, all of which the
 * caller owns; the initialisers have not run. `start`: what it begins with, whose spare fork it may
 * use, or NULL: the image. */
aee_result aee__instance_create(struct aee__core *core, struct aee__context *context,
                                struct aee__image_ref *image, const aee_limits *limits,
                                struct aee__start *start, struct aee__instance **out,
                                aee_error *error);
/* The memory that it would have. */
struct aee__memory_plan aee__instance_plan(const struct aee__backend_ops *ops,
                                           const struct aee__image *image,
                                           const aee_limits *limits);
/* How its window reaches the machine. */
const struct aee__window_ops *aee__instance_window_ops(const struct aee__core *core);
/* Frees, on the housekeeper's thread, an instance without references and owners. */
void aee__instance_bury(struct aee__job *job);
/* Gives all lanes free that aee__instance_create() left to the caller. */
void aee__instance_open(struct aee__instance *instance);
/* Frees what an instance owns, but for its object. */
void aee__instance_strip(struct aee__instance *instance);
/* Somebody owns one of the lanes, or tries to. */
bool aee__instance_is_owned(const struct aee__instance *instance);
/* Takes a reference; false when the last one is gone, and with it the right to more: the instance
 * has ended then. */
bool aee__instance_take(struct aee__instance *instance);
void aee__instance_release(struct aee__instance *instance);
/* The same; the housekeeper is not woken for it, as aee__housekeeper_post_quietly() says. */
void aee__instance_release_quietly(struct aee__instance *instance);

/* Ends it without blame: calls in flight return AEE_ERR_STOPPED. Any thread. */
void aee__instance_stop(struct aee__instance *instance);
/* Ends it with blame, once: the first caller wins and gets true, and must fill the crash in and
 * call aee__instance_conclude(). */
bool aee__instance_claim_end(struct aee__instance *instance);
/* Publishes the end and wakes whoever runs or waits in the instance. Not with the context's lock
 * held, as all that ends an instance. */
void aee__instance_conclude(struct aee__instance *instance, enum aee__end end);
aee_result aee__instance_end_result(uint32_t end);
/* AEE_OK while it lives; otherwise what calls return. */
static inline aee_result aee__instance_ended(const struct aee__instance *instance)
{
    uint32_t end = atomic_load(&instance->end);
    return end == AEE__END_NOT ? AEE_OK : aee__instance_end_result(end);
}

/* Waits for the conclusion of an instance that aee__instance_ended() found ended; what calls
 * return. */
aee_result aee__instance_await_end(struct aee__instance *instance);

/* Enlarges the heap while the component runs. */
aee_result aee__instance_grow_heap(struct aee__instance *instance, uint64_t heap_size,
                                   aee_error *error);

#endif
