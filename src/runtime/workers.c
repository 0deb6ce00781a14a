#include "runtime/workers.h"

void aee__workers_init(struct aee__workers *workers, uint32_t limit)
{
    *workers = (struct aee__workers){.name = "aee-worker",
                                     .limit = limit < AEE__WORKERS_MAX ? limit : AEE__WORKERS_MAX};
    (void)pthread_mutex_init(&workers->lock, NULL);
    (void)pthread_cond_init(&workers->wake, NULL);
}

void aee__workers_use(struct aee__workers *workers, const char *name, struct aee__starter *starter,
                      const struct aee__jail *jail)
{
    workers->name = name;
    workers->starter = starter;
    workers->jail = jail;
}

/* ---- The queue, with the lock held -------------------------------------------------------- */

/* Threads at work that are not blocked. */
static uint32_t running(const struct aee__workers *workers)
{
    return workers->started - workers->idle - workers->starting - workers->blocked;
}

/* Runnables that can begin now: as many as there are threads, and places among the running ones. */
static uint32_t takers(const struct aee__workers *workers)
{
    uint32_t threads = workers->idle + workers->starting;
    uint32_t busy = running(workers);
    uint32_t places = busy < workers->limit ? workers->limit - busy : 0;
    return threads < places ? threads : places;
}

static void note_crowd(struct aee__workers *workers)
{
    atomic_store_explicit(&workers->crowded, workers->waiting > takers(workers),
                          memory_order_relaxed);
}

static void append(struct aee__workers *workers, struct aee__runnable *runnable)
{
    runnable->next = NULL;
    runnable->waiting = true;
    if (workers->first) {
        workers->last->next = runnable;
    } else {
        workers->first = runnable;
    }
    workers->last = runnable;
    workers->waiting++;
    note_crowd(workers);
    (void)pthread_cond_signal(&workers->wake);
}

static void take_out(struct aee__workers *workers, struct aee__runnable *runnable)
{
    struct aee__runnable *previous = NULL;
    for (struct aee__runnable *at = workers->first; at != runnable; at = at->next) {
        previous = at;
    }
    if (previous) {
        previous->next = runnable->next;
    } else {
        workers->first = runnable->next;
    }
    if (workers->last == runnable) {
        workers->last = previous;
    }
    runnable->waiting = false;
    workers->waiting--;
    note_crowd(workers);
}

/* ---- Threads ------------------------------------------------------------------------------ */

static struct aee__runnable *take(struct aee__workers *workers)
{
    (void)pthread_mutex_lock(&workers->lock);
    while (!workers->stopping && !(workers->first && running(workers) < workers->limit)) {
        (void)pthread_cond_wait(&workers->wake, &workers->lock);
    }
    struct aee__runnable *runnable = workers->first;
    if (runnable) {
        take_out(workers, runnable);
    }
    workers->idle--;
    note_crowd(workers);
    (void)pthread_mutex_unlock(&workers->lock);
    return runnable;
}

static void come_back(struct aee__workers *workers)
{
    (void)pthread_mutex_lock(&workers->lock);
    workers->idle++;
    note_crowd(workers);
    (void)pthread_mutex_unlock(&workers->lock);
}

static void *worker(void *argument)
{
    struct aee__workers *workers = argument;
    struct aee__runnable *runnable;
    (void)pthread_mutex_lock(&workers->lock);
    workers->starting--;
    workers->idle++;
    (void)pthread_mutex_unlock(&workers->lock);
    while ((runnable = take(workers)) != NULL) {
        runnable->run(runnable);
        come_back(workers);
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

static aee_result start(struct aee__workers *workers, struct aee__thread *thread)
{
    return workers->starter ? aee__starter_start(workers->starter, thread, workers->name,
                                                 workers->jail, worker, workers, NULL)
                            : aee__thread_start(thread, workers->name, worker, workers, NULL);
}

/* With the lock held: there is a thread for one more runnable, or one is started. */
static bool need_thread(struct aee__workers *workers)
{
    if (workers->idle + workers->starting > workers->waiting) {
        return true;
    }
    if (running(workers) + workers->idle + workers->starting >= workers->limit ||
        workers->started == AEE__WORKERS_THREADS) {
        return false;
    }
    if (start(workers, &workers->threads[workers->started]) != AEE_OK) {
        return false;
    }
    workers->started++;
    workers->starting++;
    return true;
}

bool aee__workers_prepare(struct aee__workers *workers)
{
    (void)pthread_mutex_lock(&workers->lock);
    bool ready = need_thread(workers);
    (void)pthread_mutex_unlock(&workers->lock);
    return ready;
}

/* ---- Runnables ---------------------------------------------------------------------------- */

bool aee__workers_run(struct aee__workers *workers, struct aee__runnable *runnable)
{
    (void)pthread_mutex_lock(&workers->lock);
    bool free = running(workers) + workers->waiting < workers->limit && need_thread(workers);
    if (free) {
        append(workers, runnable);
    }
    (void)pthread_mutex_unlock(&workers->lock);
    return free;
}

bool aee__workers_post(struct aee__workers *workers, struct aee__runnable *runnable)
{
    (void)pthread_mutex_lock(&workers->lock);
    bool served = need_thread(workers) || workers->started > workers->blocked;
    if (served) {
        append(workers, runnable);
    }
    (void)pthread_mutex_unlock(&workers->lock);
    return served;
}

bool aee__workers_withdraw(struct aee__workers *workers, struct aee__runnable *runnable)
{
    (void)pthread_mutex_lock(&workers->lock);
    bool waiting = runnable->waiting;
    if (waiting) {
        take_out(workers, runnable);
    }
    (void)pthread_mutex_unlock(&workers->lock);
    return waiting;
}

/* Number of the calling thread, or -1. */
static int32_t own_number(const struct aee__workers *workers)
{
    for (uint32_t i = 0; i < workers->started; i++) {
        if (pthread_equal(workers->threads[i].handle, pthread_self())) {
            return (int32_t)i;
        }
    }
    return -1;
}

/* With the lock held: somebody waits, and a thread's place is free. */
static void replace(struct aee__workers *workers)
{
    workers->waiting--; /* the thread is for one that is counted already */
    (void)need_thread(workers);
    workers->waiting++;
    (void)pthread_cond_signal(&workers->wake);
}

/* Host functions call components, which call host functions: only the outermost counts. */
void aee__workers_block(struct aee__workers *workers, bool blocked)
{
    (void)pthread_mutex_lock(&workers->lock);
    int32_t number = own_number(workers);
    if (number >= 0) {
        uint8_t *depth = &workers->depth[number];
        bool outermost = blocked ? *depth == 0 : *depth == 1;
        *depth = (uint8_t)(blocked ? *depth + 1 : *depth - 1);
        workers->blocked += outermost ? (blocked ? 1u : -1u) : 0;
        if (outermost && blocked && workers->waiting > 0) {
            replace(workers);
        }
        note_crowd(workers);
    }
    (void)pthread_mutex_unlock(&workers->lock);
}
