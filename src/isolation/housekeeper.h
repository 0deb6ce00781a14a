/* housekeeper.h: a thread for what must not happen inside a frame. An engine has two: one frees
 * dead instances and fills the pool; the other restarts contexts, for which components run. Neither
 * takes a core from the engine's threads when it is woken. Owns its thread; jobs belong to who
 * posts them. */
#ifndef AEE_ISOLATION_HOUSEKEEPER_H
#define AEE_ISOLATION_HOUSEKEEPER_H

#include <pthread.h>
#include <stdbool.h>

#include "base/thread.h"

/* Runs once per post, on the housekeeper's thread. A job may be posted again once it runs. */
struct aee__job {
    void (*run)(struct aee__job *job);
    struct aee__job *next; /* private to the housekeeper */
    uint64_t due_ns;       /* while it is `late` */
    bool queued;           /* under the housekeeper's lock, as is the next one */
    bool late;             /* among those that wait for their time */
};

struct aee__housekeeper {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_cond_t idle;
    struct aee__job *first;
    struct aee__job *last;
    struct aee__job *late; /* those that wait for their time, the first to come first */
    bool busy;
    bool stopping;
    bool poked;                    /* since idle_work last began */
    bool held;                     /* idle work waits */
    uint32_t holds;                /* in a row that idle work has waited for */
    bool (*idle_work)(void *user); /* when there are no jobs; false: nothing left to do */
    void *user;
    struct aee__thread thread;
};

aee_result aee__housekeeper_start(struct aee__housekeeper *housekeeper, const char *name,
                                  bool (*idle_work)(void *user), void *user, aee_error *error);
/* Runs the jobs that are queued, whatever they wait for, then ends the thread. */
void aee__housekeeper_stop(struct aee__housekeeper *housekeeper);
/* False for a job that is queued already, which has no effect but that it need not wait for its
 * time any more. */
bool aee__housekeeper_post(struct aee__housekeeper *housekeeper, struct aee__job *job);
/* The same, but the thread is not woken: whoever posts it is late and needs its core. Somebody
 * nudges the housekeeper afterwards. */
bool aee__housekeeper_post_quietly(struct aee__housekeeper *housekeeper, struct aee__job *job);
void aee__housekeeper_nudge(struct aee__housekeeper *housekeeper);
/* The same at a time of CLOCK_MONOTONIC, or after it. A job that is queued already runs at the
 * earlier one of both times. */
bool aee__housekeeper_post_at(struct aee__housekeeper *housekeeper, struct aee__job *job,
                              uint64_t due_ns, bool quietly);
/* A job that waits for its time need not any more. No effect on others. */
void aee__housekeeper_hasten(struct aee__housekeeper *housekeeper, struct aee__job *job);
/* Waits until no job is running or ready to. Not on the housekeeper's thread. */
void aee__housekeeper_flush(struct aee__housekeeper *housekeeper);
/* The calling thread is the housekeeper's: it must not wait for its own jobs. */
bool aee__housekeeper_is_self(const struct aee__housekeeper *housekeeper);
/* Something for idle_work may have come up. */
void aee__housekeeper_poke(struct aee__housekeeper *housekeeper);
/* Between hold and release no idle work begins: a frame is under way. Work that has waited for
 * AEE__HOLDS_MAX holds in a row is not held up any longer, for engines without pauses. */
#define AEE__HOLDS_MAX 8u
void aee__housekeeper_hold(struct aee__housekeeper *housekeeper);
void aee__housekeeper_release(struct aee__housekeeper *housekeeper);

#endif
