/* resize.c: a context's limits change. */
#include "isolation/lifecycle.h"
#include "isolation/spares.h"

/* With the lock held. */
static aee_result change(struct aee__context *context, const aee_limits *limits, aee_error *error)
{
    aee_result result = AEE_OK;
    if (limits->memory_bytes < context->limits.memory_bytes) {
        return aee__fail(
            error, AEE_ERR_STATE,
            "cannot give context \"%s\" %llu MiB: it has %llu MiB, and memory only grows",
            context->name, (unsigned long long)(limits->memory_bytes >> 20),
            (unsigned long long)(context->limits.memory_bytes >> 20));
    }
    struct aee__instance *current = atomic_load(&context->current);
    if (limits->memory_bytes > context->limits.memory_bytes && current) {
        result = aee__instance_grow_heap(current, limits->memory_bytes, error);
    }
    if (result == AEE_OK) {
        context->limits = *limits;
        atomic_store(&context->budget_ns, limits->call_budget_ns);
        aee__rates_set(context, limits);
        aee__spares_drop(context);
        aee__template_outdate(context);
    }
    return result;
}

aee_result aee__context_set_limits(struct aee__context *context, const aee_limits *limits,
                                   aee_error *error)
{
    struct aee__instance *instance = NULL;
    /* Within an operation no instance is being built from the old ones. */
    aee_result result = aee__life_begin(context, "change the limits of", error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&context->lock);
    result = change(context, limits, error);
    instance = result == AEE_OK ? atomic_load(&context->current) : NULL;
    instance = instance && aee__instance_take(instance) ? instance : NULL;
    (void)pthread_mutex_unlock(&context->lock);
    if (instance) { /* without the lock: it may take milliseconds, and calls go on */
        aee__memory_populate_heap(&instance->memory, limits->ready_bytes);
        aee__instance_release(instance);
    }
    aee__life_end(context);
    return result;
}
