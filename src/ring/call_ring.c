#include "ring/call_ring.h"

#include <string.h>

#include "base/clock.h"

/* The shared structs are plain C so that a guest's C++ can include them; these make every access to
 * them one atomic load or store. */
#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)
#define STORE_RELEASE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

/* A reply that is there is often followed by others: their lines are fetched in time. */
#define FETCH_AHEAD 8u

void aee__call_ring_init(struct aee__call_ring *ring, struct aee_abi_lane *shared)
{
    memset(ring, 0, sizeof *ring);
    ring->shared = shared;
}

static uint32_t own(const _Atomic uint32_t *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}

/* Two words by one store. */
typedef uint64_t pair __attribute__((vector_size(16), may_alias));

static void write_pair(uint64_t *to, uint64_t first, uint64_t second)
{
    *(pair *)(void *)to = (pair){first, second};
}

/* With few stores: between two of them the guest, which is looking at the line, may take it away
 * from us. */
static void write_request(struct aee_abi_request *shared, const struct aee__ring_request *request,
                          uint32_t seq)
{
    _Static_assert(AEE_MAX_ARGS == 6 && offsetof(struct aee_abi_request, args) % sizeof(pair) == 0,
                   "pairs of arguments");
    _Static_assert(offsetof(struct aee_abi_request, seq) == 0 &&
                       offsetof(struct aee_abi_request, flags) == sizeof seq,
                   "one word");
    typedef uint64_t __attribute__((may_alias)) word;
    write_pair(&shared->args[0], request->args[0], request->args[1]);
    write_pair(&shared->args[2], request->args[2], request->args[3]);
    write_pair(&shared->args[4], request->args[4], request->args[5]);
    STORE(shared->function, request->function);
    /* Pairs with the guest's acquire load of seq in its dispatcher. */
    STORE_RELEASE(*(word *)(void *)&shared->seq, (uint64_t)request->flags << 32 | seq);
}

/* Takes a reply whose number is `seq`. */
static bool read_reply(const struct aee_abi_reply *shared, uint32_t seq,
                       struct aee__ring_reply *reply)
{
    /* Pairs with the guest's release store after it wrote the result. */
    if (LOAD_ACQUIRE(shared->seq) != seq) {
        return false;
    }
    reply->value = LOAD(shared->value);
    reply->double_value = LOAD(shared->double_value);
    return true;
}

static struct aee_abi_slot *slot_of(const struct aee__call_ring *ring, uint32_t number)
{
    return &ring->shared->slots[number % AEE_RING_SLOTS];
}

void aee__call_ring_push(struct aee__call_ring *ring, const struct aee__ring_request *request)
{
    uint32_t number = own(&ring->submitted);
    write_request(&slot_of(ring, number)->request, request, number + 1);
    atomic_store_explicit(&ring->submitted, number + 1, memory_order_relaxed);
}

void aee__call_ring_push_all(struct aee__call_ring *ring,
                             const struct aee__ring_request *const *requests, uint32_t count)
{
    uint32_t number = own(&ring->submitted);
    for (uint32_t i = count; i > 0; i--) {
        write_request(&slot_of(ring, number + i - 1)->request, requests[i - 1], number + i);
    }
    atomic_store_explicit(&ring->submitted, number + count, memory_order_relaxed);
}

void aee__call_ring_expect(const struct aee__call_ring *ring, uint32_t count)
{
    uint32_t number = own(&ring->submitted);
    for (uint32_t i = 0; i < count; i++) {
        aee__cpu_fetch_to_write(&slot_of(ring, number + i)->request);
    }
}

bool aee__call_ring_pop(struct aee__call_ring *ring, struct aee__ring_reply *reply)
{
    uint32_t number = own(&ring->completed);
    if (own(&ring->submitted) == number ||
        !read_reply(&slot_of(ring, number)->reply, number + 1, reply)) {
        return false;
    }
    atomic_store_explicit(&ring->completed, number + 1, memory_order_relaxed);
    return true;
}

uint32_t aee__call_ring_pop_all(struct aee__call_ring *ring, struct aee__ring_reply *replies)
{
    uint32_t first = own(&ring->completed);
    uint32_t end = own(&ring->submitted);
    uint32_t number = first;
    while (number != end && read_reply(&slot_of(ring, number)->reply, number + 1, replies)) {
        if (end - number > FETCH_AHEAD) {
            __builtin_prefetch(&slot_of(ring, number + FETCH_AHEAD)->reply);
        }
        replies++;
        number++;
    }
    if (number != first) {
        atomic_store_explicit(&ring->completed, number, memory_order_relaxed);
    }
    return number - first;
}

bool aee__call_ring_answered(const struct aee__call_ring *ring)
{
    uint32_t number = own(&ring->completed);
    return own(&ring->submitted) == number ||
           LOAD_ACQUIRE(slot_of(ring, number)->reply.seq) == number + 1;
}

bool aee__call_ring_answered_after(const struct aee__call_ring *ring, uint32_t after)
{
    uint32_t number = own(&ring->completed) + after;
    return LOAD_ACQUIRE(slot_of(ring, number)->reply.seq) == number + 1;
}

uint32_t aee__call_ring_oldest(const struct aee__call_ring *ring)
{
    uint32_t number = own(&ring->completed);
    uint32_t end = own(&ring->submitted);
    while (number != end && LOAD_ACQUIRE(slot_of(ring, number)->reply.seq) == number + 1) {
        number++;
    }
    return number;
}

void aee__call_ring_nested_push(struct aee__call_ring *ring, uint32_t level,
                                const struct aee__ring_request *request)
{
    ring->nested[level]++;
    write_request(&ring->shared->levels[level].nested.request, request, ring->nested[level]);
}

bool aee__call_ring_nested_pop(struct aee__call_ring *ring, uint32_t level,
                               struct aee__ring_reply *reply)
{
    return read_reply(&ring->shared->levels[level].nested.reply, ring->nested[level], reply);
}

bool aee__call_ring_nested_answered(const struct aee__call_ring *ring, uint32_t level)
{
    return LOAD_ACQUIRE(ring->shared->levels[level].nested.reply.seq) == ring->nested[level];
}

struct aee__ring_watch aee__call_ring_watch(const struct aee__call_ring *ring, uint32_t nested,
                                            uint32_t depth)
{
    bool on_ring = nested == AEE__RING_LEVEL_NONE;
    struct aee__ring_watch watch = {
        .reply = on_ring ? &slot_of(ring, own(&ring->completed))->reply.seq
                         : &ring->shared->levels[nested].nested.reply.seq,
        .reply_seq = on_ring ? own(&ring->completed) + 1 : ring->nested[nested]};
    bool may_ask = depth < AEE_HOST_CALL_DEPTH;
    watch.host_call = may_ask ? &ring->shared->levels[depth].request.seq : watch.reply;
    watch.host_call_seq = may_ask ? ring->host_calls[depth] + 1 : watch.reply_seq;
    return watch;
}

/* ---- Host calls --------------------------------------------------------------------------- */

/* In words: the field is aligned, and a byte at a time would cost as much as the whole call. */
static void copy_name(char *to, const char *from)
{
    typedef uint64_t __attribute__((may_alias)) word;
    _Static_assert(AEE_HOST_NAME_MAX % sizeof(word) == 0, "names are whole words");
    const word *words = (const word *)(const void *)from;
    for (unsigned i = 0; i < AEE_HOST_NAME_MAX / sizeof(word); i++) {
        uint64_t value = LOAD(words[i]);
        memcpy(to + i * sizeof value, &value, sizeof value);
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
                 (call->name[AEE_HOST_NAME_MAX - 1] == '\0' ||
                  memchr(call->name, '\0', sizeof call->name) != NULL);
    return sound ? AEE__RING_READY : AEE__RING_MALFORMED;
}

bool aee__call_ring_host_call_pending(const struct aee__call_ring *ring, uint32_t level)
{
    const struct aee_abi_level *shared = &ring->shared->levels[level];
    return LOAD_ACQUIRE(shared->request.seq) != LOAD_ACQUIRE(shared->reply.seq);
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
