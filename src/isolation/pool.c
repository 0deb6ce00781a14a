#include "isolation/pool.h"

void aee__pool_init(struct aee__pool *pool, const struct aee__backend_ops *ops,
                    struct aee__backend *backend, uint32_t wanted)
{
    *pool = (struct aee__pool){.ops = ops, .backend = backend, .wanted = wanted};
    (void)pthread_mutex_init(&pool->lock, NULL);
}

void aee__pool_destroy(struct aee__pool *pool)
{
    for (uint32_t i = 0; i < pool->ready; i++) {
        pool->ops->vm_destroy(pool->machines[i]);
    }
    pool->ready = 0;
    (void)pthread_mutex_destroy(&pool->lock);
}

static struct aee__vm *take_one(struct aee__pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    struct aee__vm *vm = pool->ready > 0 ? pool->machines[--pool->ready] : NULL;
    (void)pthread_mutex_unlock(&pool->lock);
    return vm;
}

aee_result aee__pool_take(struct aee__pool *pool, struct aee__vm **out, aee_error *error)
{
    while ((*out = take_one(pool)) != NULL && pool->ops->vm_has_ended &&
           pool->ops->vm_has_ended(*out)) {
        pool->ops->vm_destroy(*out); /* somebody killed it */
    }
    return *out ? AEE_OK : pool->ops->vm_create(pool->backend, out, error);
}

bool aee__pool_fill_one(struct aee__pool *pool)
{
    struct aee__vm *vm;
    if (aee__pool_ready(pool) >= pool->wanted ||
        pool->ops->vm_create(pool->backend, &vm, NULL) != AEE_OK) {
        return false;
    }
    (void)pthread_mutex_lock(&pool->lock); /* only the housekeeper adds: there is still room */
    pool->machines[pool->ready++] = vm;
    (void)pthread_mutex_unlock(&pool->lock);
    return true;
}

uint32_t aee__pool_ready(struct aee__pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    uint32_t ready = pool->ready;
    (void)pthread_mutex_unlock(&pool->lock);
    return ready;
}
