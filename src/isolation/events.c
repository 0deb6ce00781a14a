#include "isolation/events.h"

#include "base/error.h"

aee_result aee__events_create(struct aee__events *events, const struct aee__alloc *alloc,
                              aee_error *error)
{
    *events = (struct aee__events){.alloc = alloc};
    events->ring = aee__alloc_zero(alloc, AEE__EVENTS_MAX, sizeof *events->ring);
    if (!events->ring) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot make the event queue");
    }
    (void)pthread_mutex_init(&events->lock, NULL);
    return AEE_OK;
}

void aee__events_destroy(struct aee__events *events)
{
    if (events->ring) {
        aee__alloc_free(events->alloc, events->ring, AEE__EVENTS_MAX * sizeof *events->ring);
        (void)pthread_mutex_destroy(&events->lock);
        events->ring = NULL;
    }
}

void aee__events_push(struct aee__events *events, const aee_event *event)
{
    (void)pthread_mutex_lock(&events->lock);
    if (events->count < AEE__EVENTS_MAX) {
        events->ring[(events->first + events->count) % AEE__EVENTS_MAX] = *event;
        events->count++;
    } else {
        events->lost++;
    }
    (void)pthread_mutex_unlock(&events->lock);
}

bool aee__events_pop(struct aee__events *events, aee_event *event)
{
    (void)pthread_mutex_lock(&events->lock);
    bool any = events->count > 0;
    if (any) {
        *event = events->ring[events->first];
        events->first = (events->first + 1) % AEE__EVENTS_MAX;
        events->count--;
    }
    (void)pthread_mutex_unlock(&events->lock);
    return any;
}

uint64_t aee__events_lost(struct aee__events *events)
{
    (void)pthread_mutex_lock(&events->lock);
    uint64_t lost = events->lost;
    (void)pthread_mutex_unlock(&events->lock);
    return lost;
}
