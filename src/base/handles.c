#include "base/handles.h"

#include "base/error.h"
#include "base/sys.h"

#define LIVE AEE__HANDLE_LIVE
#define REFERENCES (LIVE - 1)
#define NO_SLOT UINT32_MAX

aee_result aee__handles_create(struct aee__handles *table, const struct aee__alloc *alloc,
                               enum aee__handle_type type, uint64_t salt, uint32_t capacity,
                               aee_error *error)
{
    table->alloc = alloc;
    table->capacity = capacity;
    table->type = (uint8_t)type;
    table->salt = (uint8_t)salt;
    table->count = 0;
    table->first_free = 0;
    table->slots = aee__alloc_zero(alloc, capacity, sizeof *table->slots);
    if (!table->slots) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot make a table of %u handles", capacity);
    }
    for (uint32_t i = 0; i < capacity; i++) {
        atomic_init(&table->slots[i].state,
                    salt & ~(LIVE | REFERENCES)); /* a generation, not live */
        table->slots[i].next_free = i + 1 < capacity ? i + 1 : NO_SLOT;
    }
    atomic_init(&table->released, 0);
    (void)pthread_mutex_init(&table->lock, NULL);
    return AEE_OK;
}

void aee__handles_destroy(struct aee__handles *table)
{
    if (table->slots) {
        aee__alloc_free(table->alloc, table->slots, table->capacity * sizeof *table->slots);
        (void)pthread_mutex_destroy(&table->lock);
        table->slots = NULL;
    }
}

static uint64_t make_handle(const struct aee__handles *table, uint32_t slot, uint32_t generation)
{
    return (uint64_t)table->type << 60 | (uint64_t)table->salt << 52 | (uint64_t)slot << 32 |
           generation;
}

uint64_t aee__handles_reserve(struct aee__handles *table)
{
    (void)pthread_mutex_lock(&table->lock);
    uint32_t index = table->first_free;
    uint32_t generation = 0;
    if (index != NO_SLOT) {
        struct aee__handle_slot *slot = &table->slots[index];
        table->first_free = slot->next_free;
        table->count++;
        generation = (uint32_t)(atomic_load(&slot->state) >> 32) + 1;
        generation = generation ? generation : 1;
        atomic_store(&slot->state, (uint64_t)generation << 32);
    }
    (void)pthread_mutex_unlock(&table->lock);
    return generation ? make_handle(table, index, generation) : 0;
}

void aee__handles_publish(struct aee__handles *table, uint64_t handle, void *object)
{
    struct aee__handle_slot *slot = &table->slots[aee__handle_slot(handle)];
    slot->object = object;
    /* Pairs with the acquire in aee__handles_acquire(). */
    atomic_store_explicit(&slot->state, (uint64_t)aee__handle_generation(handle) << 32 | LIVE,
                          memory_order_release);
}

void aee__handles_ref(struct aee__handles *table, uint64_t handle)
{
    (void)atomic_fetch_add_explicit(&table->slots[aee__handle_slot(handle)].state, 1,
                                    memory_order_relaxed);
}

void aee__handles_wake(struct aee__handles *table)
{
    (void)atomic_fetch_add(&table->released, 1);
    aee__sys_futex_wake_all(&table->released);
}

bool aee__handles_retire(struct aee__handles *table, uint64_t handle)
{
    struct aee__handle_slot *slot = &table->slots[aee__handle_slot(handle)];
    return atomic_fetch_and(&slot->state, ~LIVE) & LIVE;
}

void aee__handles_remove(struct aee__handles *table, uint64_t handle)
{
    struct aee__handle_slot *slot = &table->slots[aee__handle_slot(handle)];
    for (;;) {
        uint32_t released = atomic_load(&table->released);
        if ((atomic_load(&slot->state) & REFERENCES) == 1) {
            break;
        }
        aee__sys_futex_wait(&table->released, released, 0);
    }
    (void)pthread_mutex_lock(&table->lock);
    slot->object = NULL;
    atomic_store(&slot->state, (uint64_t)aee__handle_generation(handle) << 32);
    slot->next_free = table->first_free;
    table->first_free = aee__handle_slot(handle);
    table->count--;
    (void)pthread_mutex_unlock(&table->lock);
}

void aee__handles_each(struct aee__handles *table,
                       void (*visit)(void *user, uint64_t handle, void *object), void *user)
{
    for (uint32_t i = 0; i < table->capacity; i++) {
        uint64_t state = atomic_load_explicit(&table->slots[i].state, memory_order_relaxed);
        if (!(state & LIVE)) {
            continue;
        }
        uint64_t handle = make_handle(table, i, (uint32_t)(state >> 32));
        aee_result why;
        void *object = aee__handles_acquire(table, handle, &why);
        if (object) {
            visit(user, handle, object);
            aee__handles_release(table, handle);
        }
    }
}
