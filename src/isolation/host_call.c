#include "isolation/host_call.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "base/text.h"
#include "isolation/context.h"

/* ---- Log lines ---------------------------------------------------------------------------- */

/* What a line costs beside its bytes, so that empty lines are not free. */
#define LOG_LINE_COST 16u

/* Takes a line of `bytes` from the second's allowance; false: over the limit. *first: the first
 * time in this second. */
static bool log_allowed(struct aee__context *context, uint32_t bytes, bool *first)
{
    uint32_t size = bytes + LOG_LINE_COST;
    uint64_t second = aee__now_ns() / AEE__NS_PER_SECOND;
    (void)pthread_mutex_lock(&context->lock);
    if (context->log_second != second) {
        context->log_second = second;
        context->log_bytes = 0;
        context->log_dropped = false;
    }
    bool allowed = (uint64_t)context->log_bytes + size <= context->limits.log_bytes_per_second;
    context->log_bytes += allowed ? size : 0;
    *first = !allowed && !context->log_dropped;
    context->log_dropped = context->log_dropped || !allowed;
    (void)pthread_mutex_unlock(&context->lock);
    return allowed;
}

static void write_log(struct aee__context *context, uint64_t level, const char *text, uint32_t size)
{
    char line[512];
    aee__text_copy(line, sizeof line, text, size);
    if (context->core->log) {
        context->core->log(context->core->log_user,
                           level <= AEE_LOG_ERROR ? (aee_log_level)level : AEE_LOG_INFO,
                           (aee_context){context->handle}, line);
    }
}

static int32_t serve_log(struct aee__context *context, const struct aee__ring_host_call *call,
                         const char *payload)
{
    bool first;
    if (log_allowed(context, call->payload_size, &first)) {
        write_log(context, call->args[0], payload, call->payload_size);
        return AEE_HOST_OK;
    }
    if (first) {
        aee__context_event(context, AEE_EVENT_LOG_DROPPED, 0,
                           "context \"%s\" logs more than %u bytes a second: lines are dropped",
                           context->name, context->limits.log_bytes_per_second);
    }
    return AEE_HOST_LIMIT;
}

/* ---- Functions ---------------------------------------------------------------------------- */

/* The engine's own time is free up to once the budget, so that no component can hold its caller
 * with host calls without end; what goes beyond is charged. */
static void resume_budget(struct aee__lane *lane, uint64_t left, uint64_t begin)
{
    uint64_t now = aee__now_ns();
    uint64_t took = now - begin;
    uint64_t free = took < lane->host_credit_ns ? took : lane->host_credit_ns;
    lane->host_credit_ns -= free;
    uint64_t charged = took - free;
    aee__watchdog_arm(&lane->instance->core->watchdog, &lane->watch,
                      now + (left > charged ? left - charged : 0));
}

static int32_t invoke(struct aee__lane *lane, const struct aee__ring_host_call *call,
                      const uint8_t *payload, uint8_t *reply, uint32_t *reply_size, int64_t *value)
{
    struct aee__context *context = lane->instance->context;
    struct aee__host_functions *functions = &context->core->functions;
    int32_t index = aee__host_functions_find(functions, call->name);
    if (index < 0 || !aee__grants_has(&context->grants, (uint32_t)index)) {
        return AEE_HOST_NOT_FOUND;
    }
    aee_host_call host = {.engine = context->core->engine,
                          .context = {context->handle},
                          .context_user = context->user,
                          .payload = payload,
                          .payload_size = call->payload_size,
                          .reply = reply,
                          .reply_capacity = call->payload_capacity};
    memcpy(host.args, call->args, sizeof host.args);
    uint64_t left;
    if (!aee__watchdog_suspend(&lane->watch, &left)) {
        return AEE_HOST_LIMIT; /* the budget is used up: the instance is about to end */
    }
    struct aee__server server;
    uint64_t begin = aee__now_ns();
    aee__context_serve_begin(context, &server);
    aee_result result = functions->entries[index].function(functions->entries[index].user, &host);
    aee__context_serve_end(context, &server);
    resume_budget(lane, left, begin);
    (void)atomic_fetch_add_explicit(&context->stats.host_calls, 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&context->core->counters.host_calls, 1, memory_order_relaxed);
    if (host.reply_size > host.reply_capacity) {
        return AEE_HOST_BAD;
    }
    *reply_size = (uint32_t)host.reply_size;
    *value = result == AEE_OK ? host.result : result;
    return result == AEE_OK ? AEE_HOST_OK : AEE_HOST_FAILED;
}

/* Two buffers of AEE_MAX_PAYLOAD bytes: the payload's copy and the reply. Made when a component
 * first uses a host call, because most never do. */
static bool need_buffers(struct aee__lane *lane)
{
    if (!lane->host_buffers) {
        lane->host_buffers = aee__alloc_zero(&lane->instance->core->alloc, 2, AEE_MAX_PAYLOAD);
    }
    return lane->host_buffers != NULL;
}

static void serve(struct aee__lane *lane, const struct aee__ring_host_call *call)
{
    uint8_t *payload = lane->host_buffers;
    uint8_t *reply = lane->host_buffers + AEE_MAX_PAYLOAD;
    uint32_t reply_size = 0;
    int64_t value = 0;
    int32_t status = AEE_HOST_BAD;
    memcpy(payload, lane->ring.shared->host_arena, call->payload_size);
    if (call->kind == AEE_HOST_CALL_INVOKE) {
        status = invoke(lane, call, payload, reply, &reply_size, &value);
    } else if (call->kind == AEE_HOST_CALL_LOG) {
        status = serve_log(lane->instance->context, call, (const char *)payload);
    }
    aee__call_ring_host_reply(&lane->ring, 0, status, value, reply, reply_size);
}

bool aee__lane_serve_host_call(struct aee__lane *lane)
{
    struct aee__ring_host_call call;
    enum aee__ring_poll poll = aee__call_ring_host_call(&lane->ring, 0, &call);
    if (poll == AEE__RING_NONE) {
        return false;
    }
    if (poll == AEE__RING_MALFORMED || !need_buffers(lane)) {
        aee__call_ring_host_reply(&lane->ring, 0, AEE_HOST_BAD, 0, NULL, 0);
    } else {
        serve(lane, &call);
    }
    (void)atomic_fetch_add(&lane->answer, 1);
    aee__sys_futex_wake_all(&lane->answer);
    return true;
}
