/* handles.h: generational handles with reference counts. A table owns its slots and borrows the
 * objects in them. Handles are safe to present at any time, from any thread: a retired one is
 * stale. Layout of a handle: type (4 bits) | salt of the table (8) | slot (20) | generation (32).
 */
#ifndef AEE_BASE_HANDLES_H
#define AEE_BASE_HANDLES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"

enum aee__handle_type {
    AEE__HANDLE_CONTEXT = 1,
    AEE__HANDLE_REGION = 2,
    AEE__HANDLE_FUNCTION = 3,
    AEE__HANDLE_BATCH = 4
};

struct aee__handle_slot {
    _Atomic uint64_t state; /* generation << 32 | live << 31 | references */
    void *object;           /* written before the slot is live */
    uint32_t next_free;
};

struct aee__handles {
    const struct aee__alloc *alloc;
    struct aee__handle_slot *slots;
    uint32_t capacity;
    uint32_t first_free;
    uint32_t count;
    uint8_t type;
    uint8_t salt;
    pthread_mutex_t lock;      /* free list, count */
    _Atomic uint32_t released; /* futex: bumped when a retired slot loses its last reference */
};

/* `capacity` at most 2^20. `salt` is random: it tells handles of other tables apart, and
 * generations begin at a place that it gives. */
aee_result aee__handles_create(struct aee__handles *table, const struct aee__alloc *alloc,
                               enum aee__handle_type type, uint64_t salt, uint32_t capacity,
                               aee_error *error);
void aee__handles_destroy(struct aee__handles *table);

/* Takes a slot: its handle is stale until it is published; 0 when the table is full. */
uint64_t aee__handles_reserve(struct aee__handles *table);
void aee__handles_publish(struct aee__handles *table, uint64_t handle, void *object);
/* Takes another reference to an object whose handle the caller holds one for. */
void aee__handles_ref(struct aee__handles *table, uint64_t handle);
/* Makes the handle stale; false when it is already. The caller holds a reference. */
bool aee__handles_retire(struct aee__handles *table, uint64_t handle);
/* Waits until the caller's reference is the last one, and frees the slot of a retired handle. */
void aee__handles_remove(struct aee__handles *table, uint64_t handle);
/* Calls `visit` with a reference held for each live object. */
void aee__handles_each(struct aee__handles *table,
                       void (*visit)(void *user, uint64_t handle, void *object), void *user);

static inline uint32_t aee__handle_slot(uint64_t handle)
{
    return (uint32_t)(handle >> 32) & 0xfffffu;
}
static inline uint32_t aee__handle_generation(uint64_t handle)
{
    return (uint32_t)handle;
}
static inline uint32_t aee__handle_type_of(uint64_t handle)
{
    return (uint32_t)(handle >> 60);
}

/* ---- What each call does: here, so that it needs no call of its own ----------------------- */

#define AEE__HANDLE_LIVE (UINT64_C(1) << 31) /* in a slot's state */

/* Takes a reference. NULL, and *why STALE or WRONG_HANDLE, when the handle names no live object. */
static inline void *aee__handles_acquire(struct aee__handles *table, uint64_t handle,
                                         aee_result *why)
{
    uint32_t index = aee__handle_slot(handle);
    uint64_t table_of = (uint64_t)table->type << 8 | table->salt;
    if (handle >> 52 != table_of || index >= table->capacity) {
        *why = AEE_ERR_WRONG_HANDLE;
        return NULL;
    }
    struct aee__handle_slot *slot = &table->slots[index];
    uint64_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
    do {
        if (state >> 32 != aee__handle_generation(handle) || !(state & AEE__HANDLE_LIVE)) {
            *why = AEE_ERR_STALE;
            return NULL;
        }
    } while (!atomic_compare_exchange_weak_explicit(&slot->state, &state, state + 1,
                                                    memory_order_acquire, memory_order_acquire));
    *why = AEE_OK;
    return slot->object;
}

/* Wakes who waits in aee__handles_remove(). */
void aee__handles_wake(struct aee__handles *table);

static inline void aee__handles_release(struct aee__handles *table, uint64_t handle)
{
    struct aee__handle_slot *slot = &table->slots[aee__handle_slot(handle)];
    uint64_t before = atomic_fetch_sub_explicit(&slot->state, 1, memory_order_acq_rel);
    if (!(before & AEE__HANDLE_LIVE)) {
        aee__handles_wake(table);
    }
}

#endif
