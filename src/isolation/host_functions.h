/* host_functions.h: the engine's functions that components may be granted. Entries are added and
 * never removed, so that look-ups need no lock. Any thread. */
#ifndef AEE_ISOLATION_HOST_FUNCTIONS_H
#define AEE_ISOLATION_HOST_FUNCTIONS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "aee_abi.h"
#include "base/alloc.h"

#define AEE__HOST_FUNCTIONS_MAX 256u

struct aee__host_function {
    char name[AEE_HOST_NAME_MAX];
    aee_host_fn function;
    void *user;
};

struct aee__host_functions {
    const struct aee__alloc *alloc;
    struct aee__host_function
        *entries; /* AEE__HOST_FUNCTIONS_MAX; the first `count` are complete */
    _Atomic uint32_t count;
    pthread_mutex_t lock; /* writers */
};

/* Which of them one context may call. */
struct aee__grants {
    _Atomic uint64_t bits[AEE__HOST_FUNCTIONS_MAX / 64];
};

aee_result aee__host_functions_create(struct aee__host_functions *functions,
                                      const struct aee__alloc *alloc, aee_error *error);
void aee__host_functions_destroy(struct aee__host_functions *functions);
aee_result aee__host_functions_add(struct aee__host_functions *functions, const char *name,
                                   aee_host_fn function, void *user, aee_error *error);
/* Index, or -1. */
int32_t aee__host_functions_find(const struct aee__host_functions *functions, const char *name);

void aee__grants_set(struct aee__grants *grants, uint32_t index, bool granted);
bool aee__grants_has(const struct aee__grants *grants, uint32_t index);

#endif
