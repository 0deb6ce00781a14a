#include "isolation/rates.h"

#include "base/clock.h"
#include "isolation/context.h"

/* At most one event of a limit in this time. */
#define QUIET_NS AEE__NS_PER_SECOND

/* For sentences: the field of aee_limits, and what it counts. */
static const struct {
    const char *field;
    const char *units;
} names[AEE__RATE_COUNT] = {
    [AEE__RATE_CALLS] = {"calls_per_second", "calls"},
    [AEE__RATE_HOST_CALLS] = {"host_calls_per_second", "host calls"},
    [AEE__RATE_CPU] = {"cpu_ns_per_second", "ns of CPU time"},
    [AEE__RATE_CPU_TOTAL] = {"cpu_ns_total", "ns of CPU time"},
    [AEE__RATE_LOG] = {"log_bytes_per_second", "bytes of log"},
    [AEE__RATE_DISK] = {"disk_bytes_per_second", "bytes of disk I/O"},
    [AEE__RATE_NETWORK] = {"network_bytes_per_second", "bytes of network I/O"},
};

/* ---- Limits ------------------------------------------------------------------------------- */

void aee__rates_set(struct aee__context *context, const aee_limits *limits)
{
    struct aee__rates *rates = &context->rates;
    const uint64_t now = aee__now_ns();
    const uint64_t log = limits->log_bytes_per_second;
    const uint64_t wanted[AEE__RATE_COUNT] = {
        [AEE__RATE_CALLS] = limits->calls_per_second,
        [AEE__RATE_HOST_CALLS] = limits->host_calls_per_second,
        [AEE__RATE_CPU] = limits->cpu_ns_per_second,
        [AEE__RATE_CPU_TOTAL] = AEE_UNLIMITED,
        [AEE__RATE_LOG] = log == UINT32_MAX ? AEE_UNLIMITED : log,
        [AEE__RATE_DISK] = limits->disk_bytes_per_second,
        [AEE__RATE_NETWORK] = limits->network_bytes_per_second,
    };
    if (!(atomic_load(&rates->limited) & AEE__LIMITED_CPU)) { /* what was free stays so */
        rates->cpu_charged_ns = aee__rates_cpu_ns(context);
    }
    for (unsigned i = 0; i < AEE__RATE_COUNT; i++) {
        aee__bucket_set(&rates->states[i].bucket, wanted[i], now);
    }
    atomic_store(&rates->cpu_total_ns, limits->cpu_ns_total);
    atomic_store(&rates->states[AEE__RATE_CPU_TOTAL].quiet_ns, 0);
    bool cpu = limits->cpu_ns_per_second != AEE_UNLIMITED || limits->cpu_ns_total != AEE_UNLIMITED;
    atomic_store(
        &rates->limited,
        (limits->calls_per_second != AEE_UNLIMITED ? AEE__LIMITED_CALLS : 0) |
            (limits->host_calls_per_second != AEE_UNLIMITED ? AEE__LIMITED_HOST_CALLS : 0) |
            (cpu ? AEE__LIMITED_CPU : 0));
}

void aee__rates_begin_total(struct aee__context *context)
{
    context->rates.cpu_begin_ns = aee__rates_cpu_ns(context);
    atomic_store(&context->rates.states[AEE__RATE_CPU_TOTAL].quiet_ns, 0);
}

/* ---- Refusing ----------------------------------------------------------------------------- */

/* The first in a while. A total that is used up is told of once. */
static bool is_news(struct aee__rate_state *state, bool total, uint64_t now_ns)
{
    uint64_t quiet = atomic_load(&state->quiet_ns);
    uint64_t until = total ? UINT64_MAX : now_ns + QUIET_NS;
    return now_ns >= quiet && atomic_compare_exchange_strong(&state->quiet_ns, &quiet, until);
}

static aee_result say(const struct aee__context *context, enum aee__rate rate, aee_error *error)
{
    const struct aee__rates *rates = &context->rates;
    if (rate == AEE__RATE_CPU_TOTAL) {
        return aee__fail(error, AEE_ERR_LIMIT,
                         "context \"%s\": all of its %llu ns of CPU time are used up (%s)",
                         context->name, (unsigned long long)atomic_load(&rates->cpu_total_ns),
                         names[rate].field);
    }
    return aee__fail(error, AEE_ERR_LIMIT, "context \"%s\": more than %llu %s per second (%s)",
                     context->name,
                     (unsigned long long)atomic_load(&rates->states[rate].bucket.rate),
                     names[rate].units, names[rate].field);
}

static aee_result refuse(struct aee__context *context, enum aee__rate rate, uint64_t count,
                         uint64_t now_ns, aee_error *error)
{
    struct aee__rate_state *state = &context->rates.states[rate];
    (void)atomic_fetch_add_explicit(&state->refused, count, memory_order_relaxed);
    if (is_news(state, rate == AEE__RATE_CPU_TOTAL, now_ns)) {
        aee_error news;
        (void)say(context, rate, &news);
        aee__context_event(context,
                           rate == AEE__RATE_LOG ? AEE_EVENT_LOG_DROPPED : AEE_EVENT_THROTTLED, 0,
                           "%s", news.text);
    }
    return say(context, rate, error);
}

aee_result aee__rates_take(struct aee__context *context, enum aee__rate rate, uint64_t amount,
                           aee_error *error)
{
    struct aee__rate_state *state = &context->rates.states[rate];
    uint64_t now = aee__now_ns();
    bool io = rate == AEE__RATE_DISK || rate == AEE__RATE_NETWORK;
    if (!(io ? aee__bucket_borrow : aee__bucket_take)(&state->bucket, amount, now)) {
        return refuse(context, rate, 1, now, error);
    }
    (void)atomic_fetch_add_explicit(&state->used, amount, memory_order_relaxed);
    return AEE_OK;
}

/* ---- Time --------------------------------------------------------------------------------- */

uint64_t aee__rates_cpu_ns(const struct aee__context *context)
{
    uint64_t ticks = atomic_load(&context->stats.cpu_ticks);
    for (const struct aee__instance *at = context->living; at; at = at->next) {
        uint32_t lanes = atomic_load(&at->lane_count);
        for (uint32_t i = 0; i < lanes; i++) {
            ticks += aee__meter_ticks(&at->lanes[i].meter);
        }
    }
    return aee__ticks_to_ns(&context->core->ticker, ticks);
}

/* Lanes only add up; what they have used since the last look is charged here. */
aee_result aee__rates_check_cpu(struct aee__context *context, uint32_t count, aee_error *error)
{
    struct aee__rates *rates = &context->rates;
    struct aee__bucket *bucket = &rates->states[AEE__RATE_CPU].bucket;
    uint64_t now = aee__now_ns();
    (void)pthread_mutex_lock(&context->lock);
    uint64_t used = aee__rates_cpu_ns(context);
    aee__bucket_charge(bucket, used - rates->cpu_charged_ns, now);
    rates->cpu_charged_ns = used;
    bool all_used = used - rates->cpu_begin_ns >= atomic_load(&rates->cpu_total_ns);
    (void)pthread_mutex_unlock(&context->lock);
    if (all_used) {
        return refuse(context, AEE__RATE_CPU_TOTAL, count, now, error);
    }
    return aee__bucket_has_room(bucket, now) ? AEE_OK
                                             : refuse(context, AEE__RATE_CPU, count, now, error);
}

/* ---- Calls -------------------------------------------------------------------------------- */

aee_result aee__rates_begin_calls(struct aee__context *context, uint32_t count, aee_error *error)
{
    struct aee__bucket *bucket = &context->rates.states[AEE__RATE_CALLS].bucket;
    uint32_t limited = atomic_load_explicit(&context->rates.limited, memory_order_relaxed);
    aee_result result =
        limited & AEE__LIMITED_CPU ? aee__rates_check_cpu(context, count, error) : AEE_OK;
    uint64_t now = aee__now_ns();
    if (result == AEE_OK && !aee__bucket_take(bucket, count, now)) {
        result = refuse(context, AEE__RATE_CALLS, count, now, error);
    }
    return result;
}

bool aee__rates_end_queue(struct aee__context *context)
{
    uint32_t limited = atomic_load_explicit(&context->rates.limited, memory_order_relaxed);
    uint32_t count = atomic_load(&context->queue.count);
    if (!(limited & AEE__LIMITED_CPU) || aee__rates_check_cpu(context, count, NULL) == AEE_OK) {
        return false;
    }
    aee__call_queue_flush(&context->queue, &context->core->batches, AEE_ERR_LIMIT);
    return true;
}

static uint32_t calls_to(const struct aee__batch *batch, uint32_t context_index)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        count += batch->calls[i].context_index == context_index;
    }
    return count;
}

static void give_back(struct aee__core *core, const struct aee__batch *batch, uint32_t contexts)
{
    aee_result why;
    for (uint32_t i = 0; i < contexts; i++) {
        struct aee__context *context =
            aee__handles_acquire(&core->contexts, batch->contexts[i], &why);
        if (context) {
            aee__bucket_give_back(&context->rates.states[AEE__RATE_CALLS].bucket,
                                  calls_to(batch, i));
            aee__handles_release(&core->contexts, batch->contexts[i]);
        }
    }
}

aee_result aee__rates_begin_batch(struct aee__core *core, const struct aee__batch *batch,
                                  aee_error *error)
{
    aee_result result = AEE_OK;
    aee_result why;
    uint32_t index = 0;
    for (; index < batch->context_count && result == AEE_OK; index++) {
        struct aee__context *context =
            aee__handles_acquire(&core->contexts, batch->contexts[index], &why);
        if (context) { /* else its calls end with that */
            if (atomic_load_explicit(&context->rates.limited, memory_order_relaxed)) {
                result = aee__rates_begin_calls(context, calls_to(batch, index), error);
            }
            aee__handles_release(&core->contexts, batch->contexts[index]);
        }
    }
    if (result != AEE_OK) {
        give_back(core, batch, index - 1);
    }
    return result;
}

void aee__rates_cancel_batch(struct aee__core *core, const struct aee__batch *batch)
{
    give_back(core, batch, batch->context_count);
}

/* ---- Information -------------------------------------------------------------------------- */

void aee__rates_get_info(const struct aee__context *context, aee_context_info *info)
{
    const struct aee__rate_state *states = context->rates.states;
    info->cpu_ns = aee__rates_cpu_ns(context);
    info->log_bytes = atomic_load(&states[AEE__RATE_LOG].used);
    info->disk_bytes = atomic_load(&states[AEE__RATE_DISK].used);
    info->network_bytes = atomic_load(&states[AEE__RATE_NETWORK].used);
    info->throttled_calls = atomic_load(&states[AEE__RATE_CALLS].refused);
    info->throttled_host_calls = atomic_load(&states[AEE__RATE_HOST_CALLS].refused);
    info->throttled_cpu = atomic_load(&states[AEE__RATE_CPU].refused);
    info->throttled_cpu_total = atomic_load(&states[AEE__RATE_CPU_TOTAL].refused);
    info->throttled_log = atomic_load(&states[AEE__RATE_LOG].refused);
    info->throttled_disk = atomic_load(&states[AEE__RATE_DISK].refused);
    info->throttled_network = atomic_load(&states[AEE__RATE_NETWORK].refused);
}
