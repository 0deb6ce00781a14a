/* guest_clock.h: frame, time and seed that a context's components see. Told to an instance before
 * the first request of a frame is written: a context that is not called costs a frame nothing. */
#ifndef AEE_ISOLATION_GUEST_CLOCK_H
#define AEE_ISOLATION_GUEST_CLOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "aee_virt.h"

struct aee__context;
struct aee__instance;

/* Of a context; what is fixed is changed under the lock. */
struct aee__guest_clock {
    pthread_mutex_t lock;
    uint32_t flags; /* AEE_FIXED_ */
    uint64_t seed;
    uint64_t base; /* frames that the engine had begun when the next three were set */
    uint64_t frame;
    uint64_t time_ns;
    uint64_t step_ns;
};

void aee__guest_clock_init(struct aee__guest_clock *clock);
void aee__guest_clock_destroy(struct aee__guest_clock *clock);
/* From the next call on, and for the seeds of instances that are made from now on. */
void aee__guest_clock_set(struct aee__context *context, const aee_determinism *wanted);
/* A fork has what is fixed for its template. */
void aee__guest_clock_inherit(struct aee__context *context, struct aee__context *from);
/* The seed of a new instance of it: random, unless it is fixed. -1 with errno. */
int aee__guest_clock_seed(struct aee__context *context, uint8_t seed[32]);
/* Tells an instance, one of whose lanes the caller owns, of the frame. Takes a lock. For
 * aee__guest_clock_note() of context.h, which looks first whether it is a new one. */
void aee__guest_clock_tell(struct aee__instance *instance);

#endif
