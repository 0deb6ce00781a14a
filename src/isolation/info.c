/* info.c: what a context tells about itself. */
#include <string.h>

#include "isolation/context.h"

void aee__context_get_limits(struct aee__context *context, aee_limits *limits)
{
    (void)pthread_mutex_lock(&context->lock);
    *limits = context->limits;
    (void)pthread_mutex_unlock(&context->lock);
}

/* With the lock held. */
static aee_state state_of(const struct aee__context *context)
{
    return context->state == AEE_STATE_READY && context->paused ? AEE_STATE_PAUSED : context->state;
}

aee_state aee__context_state(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    aee_state state = state_of(context);
    (void)pthread_mutex_unlock(&context->lock);
    return state;
}

static void copy_stats(const struct aee__context_stats *stats, aee_context_info *info)
{
    info->call_mode_now = (aee_call_mode)atomic_load(&stats->mode_now);
    info->calls = atomic_load(&stats->calls);
    info->failed_calls = atomic_load(&stats->failed_calls);
    info->host_calls = atomic_load(&stats->host_calls);
    info->crashes = atomic_load(&stats->crashes);
    info->hangs = atomic_load(&stats->hangs);
    info->restarts = atomic_load(&stats->restarts);
    info->exits = atomic_load(&stats->exits);
    info->checkpoints = atomic_load(&stats->checkpoints);
    info->checkpoint_at_ns = atomic_load(&stats->checkpoint_at_ns);
    info->checkpoint_ns = atomic_load(&stats->checkpoint_ns);
    info->restores = atomic_load(&stats->restores);
    info->latency_p50_ns = aee__histogram_quantile(&stats->latency, 0.50);
    info->latency_p99_ns = aee__histogram_quantile(&stats->latency, 0.99);
    info->latency_max_ns = aee__histogram_max(&stats->latency);
}

/* With the lock held: what the lanes of its instances have counted. */
static void count_living(const struct aee__context *context, uint64_t *calls, uint64_t *failed,
                         uint64_t *host_calls)
{
    for (const struct aee__instance *at = context->living; at; at = at->next) {
        uint32_t lanes = atomic_load(&at->lane_count);
        for (uint32_t i = 0; i < lanes; i++) {
            *calls += atomic_load(&at->lanes[i].calls);
            *failed += atomic_load(&at->lanes[i].failed_calls);
            *host_calls += atomic_load(&at->lanes[i].host_calls);
        }
    }
}

/* With the lock held. */
static void tell_latencies(const struct aee__context *context)
{
    for (struct aee__instance *at = context->living; at; at = at->next) {
        uint32_t lanes = atomic_load(&at->lane_count);
        for (uint32_t i = 0; i < lanes; i++) {
            aee__lane_tell_latency(&at->lanes[i]);
        }
    }
}

void aee__context_add_counts(struct aee__context *context, aee_stats *stats)
{
    uint64_t failed = 0;
    (void)pthread_mutex_lock(&context->lock);
    count_living(context, &stats->calls, &failed, &stats->host_calls);
    (void)pthread_mutex_unlock(&context->lock);
}

void aee__context_get_info(struct aee__context *context, aee_context_info *info)
{
    memset(info, 0, sizeof *info);
    memcpy(info->name, context->name, sizeof info->name);
    info->kind = context->kind;
    info->call_mode = context->mode;
    (void)pthread_mutex_lock(&context->lock);
    tell_latencies(context);
    copy_stats(&context->stats, info);
    info->state = state_of(context);
    info->limits = context->limits;
    info->queued_calls = atomic_load(&context->queue.count);
    info->spares_ready = context->spare_count;
    info->forks_ready = context->template.spare_count;
    info->checkpoints_kept = context->core->recovery->count(context);
    aee__rates_get_info(context, info);
    count_living(context, &info->calls, &info->failed_calls, &info->host_calls);
    const struct aee__instance *current = atomic_load(&context->current);
    if (current) {
        info->level = context->core->ops->level;
        info->isolated = info->level > AEE_LEVEL_NONE;
        info->memory_reserved = current->memory.file_size;
        info->memory_resident = aee__memory_resident(&current->memory);
    }
    (void)pthread_mutex_unlock(&context->lock);
}

aee_result aee__context_get_crash(struct aee__context *context, aee_crash *crash, aee_error *error)
{
    (void)pthread_mutex_lock(&context->lock);
    *crash = context->crash;
    (void)pthread_mutex_unlock(&context->lock);
    return crash->id ? AEE_OK
                     : aee__fail(error, AEE_ERR_NOT_FOUND, "context \"%s\" has never crashed",
                                 context->name);
}
