/* thread.h: the library's own threads: all signals blocked, named, joinable. */
#ifndef AEE_BASE_THREAD_H
#define AEE_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"

struct aee__thread {
    pthread_t handle;
    bool running;
};

/* Starts `function(argument)` in a thread called `name` (at most 15 bytes). */
aee_result aee__thread_start(struct aee__thread *thread, const char *name,
                             void *(*function)(void *), void *argument, aee_error *error);
/* Waits for its end; no effect on a thread that was never started. */
void aee__thread_join(struct aee__thread *thread);

#endif
