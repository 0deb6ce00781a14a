/* events.h: a bounded queue of what happened, filled by any thread and emptied by the engine's. */
#ifndef AEE_ISOLATION_EVENTS_H
#define AEE_ISOLATION_EVENTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"

#define AEE__EVENTS_MAX 1024u

struct aee__events {
    const struct aee__alloc *alloc;
    pthread_mutex_t lock;
    aee_event *ring;
    uint32_t first;
    uint32_t count;
    uint64_t lost;
};

aee_result aee__events_create(struct aee__events *events, const struct aee__alloc *alloc,
                              aee_error *error);
void aee__events_destroy(struct aee__events *events);
/* Queues a copy; counts it as lost where the queue is full. */
void aee__events_push(struct aee__events *events, const aee_event *event);
bool aee__events_pop(struct aee__events *events, aee_event *event);
uint64_t aee__events_lost(struct aee__events *events);

#endif
