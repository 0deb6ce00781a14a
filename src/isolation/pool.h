/* pool.h: virtual machines made ahead of their use, because making one costs a millisecond. A
 * machine is used once and destroyed: no state of an earlier user can be left in it. Filled by the
 * housekeeper's thread, emptied by any. Owns the machines in it. */
#ifndef AEE_ISOLATION_POOL_H
#define AEE_ISOLATION_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "isolation/backend.h"

#define AEE__POOL_MAX 256u

struct aee__pool {
    const struct aee__backend_ops *ops;
    struct aee__backend *backend;
    pthread_mutex_t lock;
    uint32_t wanted;
    uint32_t ready;
    struct aee__vm *machines[AEE__POOL_MAX];
};

void aee__pool_init(struct aee__pool *pool, const struct aee__backend_ops *ops,
                    struct aee__backend *backend, uint32_t wanted);
void aee__pool_destroy(struct aee__pool *pool);
/* A machine from the pool, or a new one where the pool is empty. */
aee_result aee__pool_take(struct aee__pool *pool, struct aee__vm **out, aee_error *error);
/* Makes one machine if the pool wants more; false when it is full or the host has no more. */
bool aee__pool_fill_one(struct aee__pool *pool);
uint32_t aee__pool_ready(struct aee__pool *pool);

#endif
