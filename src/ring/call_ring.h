/* call_ring.h: the host's side of one lane's call ring and host-call levels (aee_abi.h). Borrows
 * the shared lane memory, which the guest can rewrite at any time: indices live here, every field
 * is loaded once, and only the validated copy is used. Knows no back end. One caller at a time. */
#ifndef AEE_RING_CALL_RING_H
#define AEE_RING_CALL_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "aee_abi.h"

struct aee__call_ring {
    struct aee_abi_lane *shared;
    /* Written by the owner; others read them for reports. Only the host knows these numbers. */
    _Atomic uint32_t submitted;               /* requests written so far */
    _Atomic uint32_t completed;               /* replies taken so far */
    uint32_t host_calls[AEE_HOST_CALL_DEPTH]; /* host calls answered so far, per level */
    uint32_t nested[AEE_HOST_CALL_DEPTH];     /* nested requests written so far, per level */
};

struct aee__ring_request {
    uint64_t function; /* gva */
    uint32_t flags;    /* AEE_CALL_ kind, double mask and count */
    uint64_t args[AEE_MAX_ARGS];
};

struct aee__ring_reply {
    uint64_t value;
    uint64_t double_value;
};

/* A host call, checked: sizes are within the arena, the name is terminated. */
struct aee__ring_host_call {
    uint32_t kind;
    uint32_t payload_size;
    uint32_t payload_capacity;
    uint64_t args[AEE_MAX_ARGS];
    char name[AEE_HOST_NAME_MAX];
};

enum aee__ring_poll { AEE__RING_NONE, AEE__RING_READY, AEE__RING_MALFORMED };

void aee__call_ring_init(struct aee__call_ring *ring, struct aee_abi_lane *shared);
/* Requests without a taken reply. Any thread. */
static inline uint32_t aee__call_ring_outstanding(const struct aee__call_ring *ring)
{
    return atomic_load_explicit(&ring->submitted, memory_order_relaxed) -
           atomic_load_explicit(&ring->completed, memory_order_relaxed);
}
/* Publishes a request; the ring must not be full. */
void aee__call_ring_push(struct aee__call_ring *ring, const struct aee__ring_request *request);
/* The same for several. The guest watches the first, which is therefore written last: else the
 * lines of the others would be taken away from us while we write. */
void aee__call_ring_push_all(struct aee__call_ring *ring,
                             const struct aee__ring_request *const *requests, uint32_t count);
/* So many are about to be pushed: fetches their lines all at once. */
void aee__call_ring_expect(const struct aee__call_ring *ring, uint32_t count);
/* Takes the oldest outstanding reply, if it is there. */
bool aee__call_ring_pop(struct aee__call_ring *ring, struct aee__ring_reply *reply);
/* Takes all replies that are there; how many. `replies` has AEE_RING_SLOTS places. */
uint32_t aee__call_ring_pop_all(struct aee__call_ring *ring, struct aee__ring_reply *replies);
/* The oldest outstanding reply is there, or none is outstanding. Does not take it. */
bool aee__call_ring_answered(const struct aee__call_ring *ring);
/* The same of the reply that comes `after` it, which is outstanding. */
bool aee__call_ring_answered_after(const struct aee__call_ring *ring, uint32_t after);
/* Number (from 0) of the oldest request that has no reply yet, taken or not, going by the guest's
 * word; equal to `submitted` when all have. Any thread; for reports. */
uint32_t aee__call_ring_oldest(const struct aee__call_ring *ring);

/* What a waiting host looks at in a tight loop: the next reply (nested: that of the level), and the
 * next host call at a depth. */
struct aee__ring_watch {
    const uint32_t *reply;
    const uint32_t *host_call;
    uint32_t reply_seq;
    uint32_t host_call_seq;
};
#define AEE__RING_LEVEL_NONE UINT32_MAX
/* `nested`: a level, or AEE__RING_LEVEL_NONE for the ring; `depth` may be AEE_HOST_CALL_DEPTH. */
struct aee__ring_watch aee__call_ring_watch(const struct aee__call_ring *ring, uint32_t nested,
                                            uint32_t depth);
/* One of the two seems to be there. */
static inline bool aee__ring_watch_hit(const struct aee__ring_watch *watch)
{
    return __atomic_load_n(watch->reply, __ATOMIC_RELAXED) == watch->reply_seq ||
           __atomic_load_n(watch->host_call, __ATOMIC_RELAXED) == watch->host_call_seq;
}

/* The same for the one nested request of a level. */
void aee__call_ring_nested_push(struct aee__call_ring *ring, uint32_t level,
                                const struct aee__ring_request *request);
bool aee__call_ring_nested_pop(struct aee__call_ring *ring, uint32_t level,
                               struct aee__ring_reply *reply);
bool aee__call_ring_nested_answered(const struct aee__call_ring *ring, uint32_t level);

/* Copies the pending host call of a level. MALFORMED: it is there and breaks a rule. */
enum aee__ring_poll aee__call_ring_host_call(const struct aee__call_ring *ring, uint32_t level,
                                             struct aee__ring_host_call *call);
/* The guest says that it waits for an answer at that level. Any thread. */
bool aee__call_ring_host_call_pending(const struct aee__call_ring *ring, uint32_t level);
/* Answers it; payload (at most AEE_MAX_PAYLOAD bytes) goes to the host-call arena first. */
void aee__call_ring_host_reply(struct aee__call_ring *ring, uint32_t level, int32_t status,
                               int64_t value, const void *payload, uint32_t payload_size);

#endif
