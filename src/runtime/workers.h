/* workers.h: who runs a lane. A bounded set of threads, each of which runs one thing at a time
 * until that gives its thread back. Knows nothing of contexts, rings or virtual CPUs: a lane is a
 * runnable with one operation. A scheduler can take this module's place behind the same calls. */
#ifndef AEE_RUNTIME_WORKERS_H
#define AEE_RUNTIME_WORKERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/thread.h"
#include "runtime/starter.h"

#define AEE__WORKERS_MAX 16u
/* Threads at most, with those that take a blocked one's place. */
#define AEE__WORKERS_THREADS 64u

struct aee__runnable {
    void (*run)(struct aee__runnable *runnable); /* on a worker; returns when parked */
    struct aee__runnable *next;                  /* private to workers, as is the next one */
    bool waiting;
};

struct aee__workers {
    const char *name;             /* of the threads; set once, as are the next two */
    struct aee__starter *starter; /* makes them; NULL: whoever needs one */
    const struct aee__jail *jail; /* which they enter; NULL: none */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct aee__runnable *first;
    struct aee__runnable *last;
    uint32_t idle;        /* threads that wait */
    uint32_t starting;    /* threads that have not come to wait yet */
    uint32_t waiting;     /* runnables that wait for a thread */
    uint32_t blocked;     /* threads that wait for something else: others may take their place */
    uint32_t limit;       /* threads at most that are not blocked */
    _Atomic bool crowded; /* more runnables wait than threads */
    uint32_t started;     /* threads so far: they start when they are first needed */
    bool stopping;
    uint8_t depth[AEE__WORKERS_THREADS]; /* how often each thread is blocked, one in the other */
    struct aee__thread threads[AEE__WORKERS_THREADS];
};

void aee__workers_init(struct aee__workers *workers, uint32_t limit);
/* Before the first use, where threads of this set, or those that post to it, are jailed. */
void aee__workers_use(struct aee__workers *workers, const char *name, struct aee__starter *starter,
                      const struct aee__jail *jail);
/* Sees to it that there is a thread; false when none can be started. */
bool aee__workers_prepare(struct aee__workers *workers);
/* Waits for what runs to end; nothing may be posted any more. */
void aee__workers_destroy(struct aee__workers *workers);
/* Runs it now on a worker. False, and nothing happens, when no worker is free. */
bool aee__workers_run(struct aee__workers *workers, struct aee__runnable *runnable);
/* Runs it as soon as a worker is free. False when there is no thread and none can be started. */
bool aee__workers_post(struct aee__workers *workers, struct aee__runnable *runnable);
/* Takes back what has not begun; false when it has, or was not waiting. */
bool aee__workers_withdraw(struct aee__workers *workers, struct aee__runnable *runnable);
/* The calling thread is about to wait for something that is not a runnable's own doing (true), or
 * has waited (false). If it is a worker, another one may run meanwhile. */
void aee__workers_block(struct aee__workers *workers, bool blocked);
/* Runnables wait for a thread: who keeps one without need should give it back. */
static inline bool aee__workers_crowded(const struct aee__workers *workers)
{
    return atomic_load_explicit(&workers->crowded, memory_order_relaxed);
}

#endif
