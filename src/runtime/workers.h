/* workers.h: who runs a lane. A bounded set of threads, each of which runs one thing at a time
 * until that gives its thread back. Knows nothing of contexts, rings or virtual CPUs: a lane is a
 * runnable with one operation. A scheduler can take this module's place behind the same three
 * calls. */
#ifndef AEE_RUNTIME_WORKERS_H
#define AEE_RUNTIME_WORKERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/thread.h"

#define AEE__WORKERS_MAX 16u

struct aee__runnable {
    void (*run)(struct aee__runnable *runnable); /* on a worker; returns when parked */
    struct aee__runnable *next;                  /* private to workers */
};

struct aee__workers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct aee__runnable *first;
    struct aee__runnable *last;
    int32_t idle;     /* threads that wait, less runnables that wait */
    uint32_t limit;   /* threads at most */
    uint32_t started; /* threads so far: they start when they are first needed */
    bool stopping;
    struct aee__thread threads[AEE__WORKERS_MAX];
};

void aee__workers_init(struct aee__workers *workers, uint32_t limit);
/* Waits for what runs to end; nothing may be posted any more. */
void aee__workers_destroy(struct aee__workers *workers);
/* Runs it now on a worker. False, and nothing happens, when no worker is free. */
bool aee__workers_run(struct aee__workers *workers, struct aee__runnable *runnable);
/* A worker is free, or could be started. A hint: it may be gone by the time of the call. */
bool aee__workers_free(struct aee__workers *workers);

#endif
