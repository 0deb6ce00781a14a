#include "runtime/workers.h"

void aee__workers_init(struct aee__workers *workers, uint32_t limit)
{
    *workers = (struct aee__workers){.limit = limit < AEE__WORKERS_MAX ? limit : AEE__WORKERS_MAX};
    (void)pthread_mutex_init(&workers->lock, NULL);
    (void)pthread_cond_init(&workers->wake, NULL);
}

static struct aee__runnable *take(struct aee__workers *workers)
{
    (void)pthread_mutex_lock(&workers->lock);
    workers->idle++;
    while (!workers->first && !workers->stopping) {
        (void)pthread_cond_wait(&workers->wake, &workers->lock);
    }
    struct aee__runnable *runnable = workers->first;
    if (runnable) {
        workers->first = runnable->next;
    }
    (void)pthread_mutex_unlock(&workers->lock);
    return runnable;
}

static void *worker(void *argument)
{
    struct aee__workers *workers = argument;
    struct aee__runnable *runnable;
    while ((runnable = take(workers)) != NULL) {
        runnable->run(runnable);
    }
    return NULL;
}

void aee__workers_destroy(struct aee__workers *workers)
{
    (void)pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    (void)pthread_cond_broadcast(&workers->wake);
    (void)pthread_mutex_unlock(&workers->lock);
    for (uint32_t i = 0; i < workers->started; i++) {
        aee__thread_join(&workers->threads[i]);
    }
    (void)pthread_cond_destroy(&workers->wake);
    (void)pthread_mutex_destroy(&workers->lock);
}

/* With the lock held. The new thread counts itself as idle when it comes to wait; until then the
 * runnable that it is started for takes its place in advance. */
static bool start_one(struct aee__workers *workers)
{
    if (workers->started == workers->limit) {
        return false;
    }
    struct aee__thread *thread = &workers->threads[workers->started];
    if (aee__thread_start(thread, "aee-worker", worker, workers, NULL) != AEE_OK) {
        return false;
    }
    workers->started++;
    return true;
}

bool aee__workers_run(struct aee__workers *workers, struct aee__runnable *runnable)
{
    (void)pthread_mutex_lock(&workers->lock);
    bool free = workers->idle > 0 || start_one(workers);
    if (free) {
        workers->idle--;
        runnable->next = NULL;
        if (workers->first) {
            workers->last->next = runnable;
        } else {
            workers->first = runnable;
        }
        workers->last = runnable;
        (void)pthread_cond_signal(&workers->wake);
    }
    (void)pthread_mutex_unlock(&workers->lock);
    return free;
}

bool aee__workers_free(struct aee__workers *workers)
{
    (void)pthread_mutex_lock(&workers->lock);
    bool free = workers->idle > 0 || workers->started < workers->limit;
    (void)pthread_mutex_unlock(&workers->lock);
    return free;
}
