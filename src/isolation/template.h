/* template.h: what a context that was forked keeps for its next forks: a copy of its memory, and
 * machines that begin with that, made ahead and run until their lanes park, so that what their
 * first entry costs is paid. The housekeeper makes them between frames, and takes all of it back
 * when the context has gone on. A spare fork is nobody's: no component has run in it. */
#ifndef AEE_ISOLATION_TEMPLATE_H
#define AEE_ISOLATION_TEMPLATE_H

#include "ept/frozen.h"
#include "isolation/housekeeper.h"

struct aee__context;
struct aee__core;
struct aee__instance;
struct aee__vm;

struct aee__spare_fork {
    struct aee__core *core;
    struct aee__vm *vm;
    struct aee__memory memory; /* but for the info page, which is of whom it was copied from */
    struct aee__memory_plan plan;
    bool parked; /* its lanes have been run */
    struct aee__job free_job;
    struct aee__spare_fork *next;
};

/* Of a context, under its lock. */
struct aee__template {
    struct aee__frozen *frozen; /* NULL: it was not forked */
    uint64_t machine;           /* of the instance that it was copied from, */
    uint64_t age;               /* ... and what aee__instance_age() was */
    uint32_t forks;             /* begun with it */
    bool failed;                /* no spare forks of this copy: one could not be made */
    struct aee__spare_fork *spares;
    uint32_t spare_count;
};

/* What a fork begins with; holds references. */
struct aee__start {
    struct aee__frozen *frozen;
    struct aee__spare_fork *spare; /* NULL: none was ready, or it was used */
};

/* For the owner of all lanes of the current instance: its memory as it is now, copied unless it is
 * as it was at the last fork, and a spare fork where one is ready. Others are made when the
 * housekeeper is poked next, which building an instance does. */
aee_result aee__template_take(struct aee__context *context, struct aee__instance *instance,
                              struct aee__start *start, aee_error *error);
void aee__start_release(struct aee__start *start);
/* Gives away what it is made of; then it is only to be released. */
void aee__spare_fork_move(struct aee__spare_fork *spare, struct aee__vm **vm,
                          struct aee__memory *memory);

/* With the context's lock held: its instance or its limits change, so that what it keeps is of no
 * use any more. */
void aee__template_outdate(struct aee__context *context);
/* The same where the memory of an instance, which may have been copied, is about to change. Any
 * thread; takes no lock but the housekeeper's. */
void aee__template_pass(struct aee__instance *instance);
/* The context is about to be freed. */
void aee__template_end(struct aee__context *context);

/* The housekeeper's idle work: one spare fork, or what one context keeps in vain; false when there
 * is nothing of that. */
bool aee__templates_look_after_one(struct aee__core *core);

#endif
