/* watchdog.h: one thread per engine that looks after deadlines. A watch is armed with one atomic
 * operation and needs no disarming: a deadline that has become meaningless is postponed or cleared
 * by its own expire(). The thread wakes for the earliest deadline that it knows of. Owns its
 * thread; borrows the watches. */
#ifndef AEE_ISOLATION_WATCHDOG_H
#define AEE_ISOLATION_WATCHDOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/thread.h"

#define AEE__WATCH_EXPIRED UINT64_MAX

struct aee__watch {
    _Atomic uint64_t deadline_ns; /* 0: not armed; AEE__WATCH_EXPIRED: the watchdog came */
    void (*expire)(struct aee__watch *watch); /* on the watchdog's thread, after EXPIRED is set, and
                                               * again from time to time while it stays so */
    bool (*approach)(struct aee__watch *watch); /* some milliseconds before the deadline, more than
                                                 * once: true if it has seen to it that things end
                                                 * on time. May be NULL */
    struct aee__watch *next;                    /* list of all watches, under the watchdog's lock */
    struct aee__watch *previous;
};

struct aee__watchdog {
    pthread_mutex_t lock; /* list of watches */
    struct aee__watch *watches;
    _Atomic uint64_t wake_ns; /* when the thread looks next; UINT64_MAX: when it is told to */
    _Atomic uint32_t told;    /* futex */
    _Atomic bool stopping;
    struct aee__thread thread;
};

aee_result aee__watchdog_start(struct aee__watchdog *watchdog, aee_error *error);
void aee__watchdog_stop(struct aee__watchdog *watchdog);
/* The watch must be added before it is armed. After remove, expire() does not run any more. */
void aee__watchdog_add(struct aee__watchdog *watchdog, struct aee__watch *watch);
void aee__watchdog_remove(struct aee__watchdog *watchdog, struct aee__watch *watch);
void aee__watchdog_arm(struct aee__watchdog *watchdog, struct aee__watch *watch,
                       uint64_t deadline_ns);
/* Gives a watch that has expired another deadline (0: none), unless it was armed anew meanwhile.
 * The watchdog looks at it within a few milliseconds. */
void aee__watch_postpone(struct aee__watch *watch, uint64_t deadline_ns);
bool aee__watch_expired(const struct aee__watch *watch);

#endif
