#include "isolation/housekeeper.h"

#include <stddef.h>

#include "base/sys.h"

static struct aee__job *pop(struct aee__housekeeper *housekeeper)
{
    struct aee__job *job = housekeeper->first;
    if (job) {
        housekeeper->first = job->next;
        job->queued = false;
    }
    return job;
}

static void run_job(struct aee__housekeeper *housekeeper, struct aee__job *job)
{
    housekeeper->busy = true;
    (void)pthread_mutex_unlock(&housekeeper->lock);
    job->run(job);
    (void)pthread_mutex_lock(&housekeeper->lock);
    housekeeper->busy = false;
    housekeeper->poked = true; /* the job may have made room for idle work */
}

static void run_idle_work(struct aee__housekeeper *housekeeper)
{
    housekeeper->poked = false;
    housekeeper->holds = 0;
    (void)pthread_mutex_unlock(&housekeeper->lock);
    bool more = housekeeper->idle_work(housekeeper->user);
    (void)pthread_mutex_lock(&housekeeper->lock);
    housekeeper->poked = housekeeper->poked || more;
}

/* One step with the lock held at both ends: a job, a piece of idle work, or a wait. */
static void step(struct aee__housekeeper *housekeeper)
{
    struct aee__job *job = pop(housekeeper);
    if (job) {
        run_job(housekeeper, job);
    } else if (housekeeper->poked && housekeeper->idle_work && !housekeeper->stopping &&
               !housekeeper->held) {
        run_idle_work(housekeeper);
    } else {
        (void)pthread_cond_broadcast(&housekeeper->idle);
        (void)pthread_cond_wait(&housekeeper->wake, &housekeeper->lock);
    }
}

static void *run(void *argument)
{
    struct aee__housekeeper *housekeeper = argument;
    aee__sys_background_thread();
    (void)pthread_mutex_lock(&housekeeper->lock);
    while (!housekeeper->stopping || housekeeper->first) {
        step(housekeeper);
    }
    (void)pthread_cond_broadcast(&housekeeper->idle);
    (void)pthread_mutex_unlock(&housekeeper->lock);
    return NULL;
}

aee_result aee__housekeeper_start(struct aee__housekeeper *housekeeper, const char *name,
                                  bool (*idle_work)(void *user), void *user, aee_error *error)
{
    *housekeeper = (struct aee__housekeeper){.idle_work = idle_work, .user = user, .poked = true};
    (void)pthread_mutex_init(&housekeeper->lock, NULL);
    (void)pthread_cond_init(&housekeeper->wake, NULL);
    (void)pthread_cond_init(&housekeeper->idle, NULL);
    return aee__thread_start(&housekeeper->thread, name, run, housekeeper, error);
}

void aee__housekeeper_stop(struct aee__housekeeper *housekeeper)
{
    (void)pthread_mutex_lock(&housekeeper->lock);
    housekeeper->stopping = true;
    (void)pthread_cond_signal(&housekeeper->wake);
    (void)pthread_mutex_unlock(&housekeeper->lock);
    aee__thread_join(&housekeeper->thread);
    (void)pthread_cond_destroy(&housekeeper->idle);
    (void)pthread_cond_destroy(&housekeeper->wake);
    (void)pthread_mutex_destroy(&housekeeper->lock);
}

static bool post(struct aee__housekeeper *housekeeper, struct aee__job *job, bool wake)
{
    (void)pthread_mutex_lock(&housekeeper->lock);
    bool fresh = !job->queued;
    if (fresh) {
        job->queued = true;
        job->next = NULL;
        if (housekeeper->first) {
            housekeeper->last->next = job;
        } else {
            housekeeper->first = job;
        }
        housekeeper->last = job;
    }
    if (fresh && wake) {
        (void)pthread_cond_signal(&housekeeper->wake);
    }
    (void)pthread_mutex_unlock(&housekeeper->lock);
    return fresh;
}

bool aee__housekeeper_post(struct aee__housekeeper *housekeeper, struct aee__job *job)
{
    return post(housekeeper, job, true);
}

bool aee__housekeeper_post_quietly(struct aee__housekeeper *housekeeper, struct aee__job *job)
{
    return post(housekeeper, job, false);
}

void aee__housekeeper_nudge(struct aee__housekeeper *housekeeper)
{
    (void)pthread_mutex_lock(&housekeeper->lock);
    if (housekeeper->first) {
        (void)pthread_cond_signal(&housekeeper->wake);
    }
    (void)pthread_mutex_unlock(&housekeeper->lock);
}

void aee__housekeeper_flush(struct aee__housekeeper *housekeeper)
{
    (void)pthread_mutex_lock(&housekeeper->lock);
    while (housekeeper->first || housekeeper->busy) {
        (void)pthread_cond_wait(&housekeeper->idle, &housekeeper->lock);
    }
    (void)pthread_mutex_unlock(&housekeeper->lock);
}

void aee__housekeeper_poke(struct aee__housekeeper *housekeeper)
{
    (void)pthread_mutex_lock(&housekeeper->lock);
    housekeeper->poked = true;
    (void)pthread_cond_signal(&housekeeper->wake);
    (void)pthread_mutex_unlock(&housekeeper->lock);
}

void aee__housekeeper_hold(struct aee__housekeeper *housekeeper)
{
    (void)pthread_mutex_lock(&housekeeper->lock);
    housekeeper->held = housekeeper->holds < AEE__HOLDS_MAX;
    housekeeper->holds += housekeeper->poked && housekeeper->held;
    if (!housekeeper->held) {
        (void)pthread_cond_signal(&housekeeper->wake);
    }
    (void)pthread_mutex_unlock(&housekeeper->lock);
}

void aee__housekeeper_release(struct aee__housekeeper *housekeeper)
{
    (void)pthread_mutex_lock(&housekeeper->lock);
    housekeeper->held = false;
    if (housekeeper->poked) {
        (void)pthread_cond_signal(&housekeeper->wake);
    }
    (void)pthread_mutex_unlock(&housekeeper->lock);
}

bool aee__housekeeper_is_self(const struct aee__housekeeper *housekeeper)
{
    return housekeeper->thread.running && pthread_equal(housekeeper->thread.handle, pthread_self());
}
