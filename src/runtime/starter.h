/* starter.h: starts threads for those that may not. A thread inherits the filter of the one that
 * makes it, and a jailed one cannot make any: so one thread that is never jailed makes them all.
 * Owns that thread; borrows those that it starts. Any thread may ask, jailed or not. */
#ifndef AEE_RUNTIME_STARTER_H
#define AEE_RUNTIME_STARTER_H

#include <pthread.h>

#include "base/thread.h"
#include "runtime/jail.h"

struct aee__start;

struct aee__starter {
    pthread_mutex_t turn; /* one asks at a time */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct aee__start *start; /* what is asked for, or NULL; under the lock, as is the next one */
    bool stopping;
    struct aee__thread thread;
};

aee_result aee__starter_open(struct aee__starter *starter, aee_error *error);
/* Nobody may ask any more. */
void aee__starter_close(struct aee__starter *starter);
/* As aee__thread_start(); the thread is in the jail (NULL: in none) before `function` begins.
 * Blocks until it is. */
aee_result aee__starter_start(struct aee__starter *starter, struct aee__thread *thread,
                              const char *name, const struct aee__jail *jail,
                              void *(*function)(void *), void *argument, aee_error *error);

#endif
