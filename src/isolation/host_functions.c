#include "isolation/host_functions.h"

#include <string.h>

#include "base/error.h"

aee_result aee__host_functions_create(struct aee__host_functions *functions,
                                      const struct aee__alloc *alloc, aee_error *error)
{
    functions->alloc = alloc;
    atomic_init(&functions->count, 0);
    functions->entries =
        aee__alloc_zero(alloc, AEE__HOST_FUNCTIONS_MAX, sizeof *functions->entries);
    if (!functions->entries) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot make the table of host functions");
    }
    (void)pthread_mutex_init(&functions->lock, NULL);
    return AEE_OK;
}

void aee__host_functions_destroy(struct aee__host_functions *functions)
{
    if (functions->entries) {
        aee__alloc_free(functions->alloc, functions->entries,
                        AEE__HOST_FUNCTIONS_MAX * sizeof *functions->entries);
        (void)pthread_mutex_destroy(&functions->lock);
        functions->entries = NULL;
    }
}

int32_t aee__host_functions_find(const struct aee__host_functions *functions, const char *name)
{
    /* Pairs with the release in aee__host_functions_add(). */
    uint32_t count = atomic_load_explicit(&functions->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(functions->entries[i].name, name) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

static aee_result add_locked(struct aee__host_functions *functions, const char *name,
                             aee_host_fn function, void *user, aee_error *error)
{
    uint32_t count = atomic_load_explicit(&functions->count, memory_order_relaxed);
    if (aee__host_functions_find(functions, name) >= 0) {
        return aee__fail(error, AEE_ERR_EXISTS, "cannot register host function \"%s\": it exists",
                         name);
    }
    if (count == AEE__HOST_FUNCTIONS_MAX) {
        return aee__fail(error, AEE_ERR_LIMIT,
                         "cannot register host function \"%s\": %u exist already", name, count);
    }
    struct aee__host_function *entry = &functions->entries[count];
    memcpy(entry->name, name, strlen(name) + 1);
    entry->function = function;
    entry->user = user;
    atomic_store_explicit(&functions->count, count + 1, memory_order_release);
    return AEE_OK;
}

aee_result aee__host_functions_add(struct aee__host_functions *functions, const char *name,
                                   aee_host_fn function, void *user, aee_error *error)
{
    (void)pthread_mutex_lock(&functions->lock);
    aee_result result = add_locked(functions, name, function, user, error);
    (void)pthread_mutex_unlock(&functions->lock);
    return result;
}

void aee__grants_set(struct aee__grants *grants, uint32_t index, bool granted)
{
    uint64_t bit = UINT64_C(1) << (index % 64);
    if (granted) {
        (void)atomic_fetch_or(&grants->bits[index / 64], bit);
    } else {
        (void)atomic_fetch_and(&grants->bits[index / 64], ~bit);
    }
}

bool aee__grants_has(const struct aee__grants *grants, uint32_t index)
{
    return (atomic_load_explicit(&grants->bits[index / 64], memory_order_relaxed) >> (index % 64)) &
           1u;
}
