#include "ring/call_ring.h"

#include <string.h>

/* The shared structs are plain C so that a guest's C++ can include them; these make every access to
 * them one atomic load or store. */
#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)
#define STORE_RELEASE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

void aee__call_ring_init(struct aee__call_ring *ring, struct aee_abi_lane *shared)
{
    *ring = (struct aee__call_ring){.shared = shared};
}

bool aee__call_ring_full(const struct aee__call_ring *ring)
{
    return ring->submitted - ring->completed >= AEE_RING_SLOTS;
}

void aee__call_ring_push(struct aee__call_ring *ring, const struct aee__ring_request *request)
{
    struct aee_abi_request *shared = &ring->shared->slots[ring->submitted % AEE_RING_SLOTS].request;
    STORE(shared->flags, request->flags);
    STORE(shared->function, request->function);
    for (unsigned i = 0; i < AEE_MAX_ARGS; i++) {
        STORE(shared->args[i], request->args[i]);
    }
    ring->submitted++;
    /* Pairs with the guest's acquire load of seq in its dispatcher. */
    STORE_RELEASE(shared->seq, ring->submitted);
}

static const struct aee_abi_reply *oldest(const struct aee__call_ring *ring)
{
    return &ring->shared->slots[ring->completed % AEE_RING_SLOTS].reply;
}

bool aee__call_ring_answered(const struct aee__call_ring *ring)
{
    return ring->submitted == ring->completed ||
           LOAD_ACQUIRE(oldest(ring)->seq) == ring->completed + 1;
}

bool aee__call_ring_pop(struct aee__call_ring *ring, struct aee__ring_reply *reply)
{
    const struct aee_abi_reply *shared = oldest(ring);
    /* Pairs with the guest's release store after it wrote the result. */
    if (ring->submitted == ring->completed || LOAD_ACQUIRE(shared->seq) != ring->completed + 1) {
        return false;
    }
    reply->value = LOAD(shared->value);
    reply->double_value = LOAD(shared->double_value);
    ring->completed++;
    return true;
}

/* ---- Host calls --------------------------------------------------------------------------- */

static void copy_name(char *to, const char *from)
{
    for (unsigned i = 0; i < AEE_HOST_NAME_MAX; i++) {
        to[i] = LOAD(from[i]);
    }
}

enum aee__ring_poll aee__call_ring_host_call(const struct aee__call_ring *ring, uint32_t level,
                                             struct aee__ring_host_call *call)
{
    const struct aee_abi_host_request *shared = &ring->shared->levels[level].request;
    /* Pairs with the guest's release store after it wrote request and payload. */
    if (LOAD_ACQUIRE(shared->seq) != ring->host_calls[level] + 1) {
        return AEE__RING_NONE;
    }
    call->kind = LOAD(shared->kind);
    call->payload_size = LOAD(shared->payload_size);
    call->payload_capacity = LOAD(shared->payload_capacity);
    for (unsigned i = 0; i < AEE_MAX_ARGS; i++) {
        call->args[i] = LOAD(shared->args[i]);
    }
    copy_name(call->name, shared->name);
    bool sound = call->payload_size <= AEE_MAX_PAYLOAD &&
                 call->payload_capacity <= AEE_MAX_PAYLOAD &&
                 memchr(call->name, '\0', sizeof call->name) != NULL;
    return sound ? AEE__RING_READY : AEE__RING_MALFORMED;
}

void aee__call_ring_host_reply(struct aee__call_ring *ring, uint32_t level, int32_t status,
                               int64_t value, const void *payload, uint32_t payload_size)
{
    struct aee_abi_host_reply *shared = &ring->shared->levels[level].reply;
    if (payload_size > 0) {
        memcpy(ring->shared->host_arena, payload, payload_size);
    }
    STORE(shared->status, status);
    STORE(shared->value, value);
    STORE(shared->payload_size, payload_size);
    ring->host_calls[level]++;
    /* Pairs with the guest's acquire load of seq while it waits for the answer. */
    STORE_RELEASE(shared->seq, ring->host_calls[level]);
}
