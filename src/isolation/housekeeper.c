#include "isolation/housekeeper.h"

#include <stddef.h>

#include "base/clock.h"
#include "base/sys.h"

/* ---- Jobs, with the lock held ------------------------------------------------------------- */

static void append(struct aee__housekeeper *housekeeper, struct aee__job *job)
{
    job->next = NULL;
    job->late = false;
    if (housekeeper->first) {
        housekeeper->last->next = job;
    } else {
        housekeeper->first = job;
    }
    housekeeper->last = job;
}

static void append_late(struct aee__housekeeper *housekeeper, struct aee__job *job, uint64_t due_ns)
{
    struct aee__job **link = &housekeeper->late;
    while (*link && (*link)->due_ns <= due_ns) {
        link = &(*link)->next;
    }
    job->late = true;
    job->due_ns = due_ns;
    job->next = *link;
    *link = job;
}

static void remove_late(struct aee__housekeeper *housekeeper, struct aee__job *job)
{
    struct aee__job **link = &housekeeper->late;
    while (*link != job) {
        link = &(*link)->next;
    }
    *link = job->next;
    job->late = false;
}

/* Those whose time has come go behind the others. */
static void take_due(struct aee__housekeeper *housekeeper)
{
    uint64_t now = housekeeper->late ? aee__now_ns() : 0;
    while (housekeeper->late && (housekeeper->stopping || housekeeper->late->due_ns <= now)) {
        struct aee__job *job = housekeeper->late;
        housekeeper->late = job->next;
        append(housekeeper, job);
    }
}

static struct aee__job *pop(struct aee__housekeeper *housekeeper)
{
    take_due(housekeeper);
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

static void sleep_until_woken(struct aee__housekeeper *housekeeper)
{
    if (!housekeeper->late) {
        (void)pthread_cond_wait(&housekeeper->wake, &housekeeper->lock);
        return;
    }
    uint64_t due = housekeeper->late->due_ns;
    struct timespec until = {.tv_sec = (time_t)(due / AEE__NS_PER_SECOND),
                             .tv_nsec = (long)(due % AEE__NS_PER_SECOND)};
    (void)pthread_cond_timedwait(&housekeeper->wake, &housekeeper->lock, &until);
}

/* ---- The thread --------------------------------------------------------------------------- */

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
        sleep_until_woken(housekeeper);
    }
}

static void *run(void *argument)
{
    struct aee__housekeeper *housekeeper = argument;
    aee__sys_background_thread();
    (void)pthread_mutex_lock(&housekeeper->lock);
    while (!housekeeper->stopping || housekeeper->first || housekeeper->late) {
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
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&housekeeper->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
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

/* ---- Posting ------------------------------------------------------------------------------ */

/* `due_ns` 0: it waits for nothing. */
static bool post(struct aee__housekeeper *housekeeper, struct aee__job *job, uint64_t due_ns,
                 bool wake)
{
    (void)pthread_mutex_lock(&housekeeper->lock);
    bool fresh = !job->queued;
    bool earlier = job->late && due_ns < job->due_ns;
    if (earlier) {
        remove_late(housekeeper, job);
    }
    if (fresh || earlier) {
        job->queued = true;
        if (due_ns > 0) {
            append_late(housekeeper, job, due_ns);
        } else {
            append(housekeeper, job);
        }
    }
    if (wake) { /* also for one that was posted quietly before */
        (void)pthread_cond_signal(&housekeeper->wake);
    }
    (void)pthread_mutex_unlock(&housekeeper->lock);
    return fresh;
}

bool aee__housekeeper_post(struct aee__housekeeper *housekeeper, struct aee__job *job)
{
    return post(housekeeper, job, 0, true);
}

bool aee__housekeeper_post_quietly(struct aee__housekeeper *housekeeper, struct aee__job *job)
{
    return post(housekeeper, job, 0, false);
}

bool aee__housekeeper_post_at(struct aee__housekeeper *housekeeper, struct aee__job *job,
                              uint64_t due_ns, bool quietly)
{
    return post(housekeeper, job, due_ns, !quietly);
}

void aee__housekeeper_hasten(struct aee__housekeeper *housekeeper, struct aee__job *job)
{
    (void)pthread_mutex_lock(&housekeeper->lock);
    if (job->late) {
        remove_late(housekeeper, job);
        append(housekeeper, job);
        (void)pthread_cond_signal(&housekeeper->wake);
    }
    (void)pthread_mutex_unlock(&housekeeper->lock);
}

void aee__housekeeper_nudge(struct aee__housekeeper *housekeeper)
{
    (void)pthread_mutex_lock(&housekeeper->lock);
    if (housekeeper->first || housekeeper->late) { /* it may not know of the first to come */
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
