#include "isolation/host_call.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "base/text.h"
#include "isolation/context.h"
#include "isolation/lane_internal.h"
#include "isolation/tracing.h"

/* ---- Log lines ---------------------------------------------------------------------------- */

/* What a line costs beside its bytes, so that empty lines are not free. */
#define LOG_LINE_COST 16u

static void write_log(struct aee__context *context, uint64_t level, const char *text, uint32_t size)
{
    char line[512];
    aee__text_copy(line, sizeof line, text, size);
    if (context->core->log) {
        context->core->log(context->core->log_user,
                           level <= AEE_LOG_ERROR ? (aee_log_level)level : AEE_LOG_INFO,
                           (aee_context){context->handle}, line);
    }
    aee__log_tail_add(&context->keep.log, level, line);
}

static int32_t serve_log(struct aee__context *context, const struct aee__ring_host_call *call,
                         const char *payload)
{
    if (aee__rates_take(context, AEE__RATE_LOG, call->payload_size + LOG_LINE_COST, NULL) !=
        AEE_OK) {
        return AEE_HOST_LIMIT;
    }
    write_log(context, call->args[0], payload, call->payload_size);
    return AEE_HOST_OK;
}

/* ---- For reports -------------------------------------------------------------------------- */

/* Written by the lane's owner alone. */
static void note_asked(struct aee__lane *lane, int32_t what)
{
    uint32_t count = atomic_load_explicit(&lane->asked_count, memory_order_relaxed);
    atomic_store_explicit(&lane->asked[count % AEE__LANE_ASKED], what, memory_order_relaxed);
    atomic_store_explicit(&lane->asked_count, count + 1, memory_order_relaxed);
}

/* ---- Declared state ----------------------------------------------------------------------- */

static int32_t serve_state(struct aee__instance *instance, const struct aee__ring_host_call *call)
{
    (void)pthread_mutex_lock(&instance->context->lock); /* the heap may grow, too */
    int32_t status = aee__state_ranges_order(&instance->state, &instance->memory, call->args[0],
                                             (struct aee__gva){call->args[1]}, call->args[2]);
    (void)pthread_mutex_unlock(&instance->context->lock);
    return status;
}

/* ---- Functions ---------------------------------------------------------------------------- */

/* All of AEE_HOST_NAME_MAX bytes; inline, where memcmp() would be called. */
static bool same_name(const char *a, const char *b)
{
    uint64_t difference = 0;
    for (unsigned i = 0; i < AEE_HOST_NAME_MAX; i += 8) {
        uint64_t left;
        uint64_t right;
        memcpy(&left, a + i, sizeof left);
        memcpy(&right, b + i, sizeof right);
        difference |= left ^ right;
    }
    return difference == 0;
}

/* Number of the function of that name, or -1. Names are looked up once per lane: most components
 * use a few functions, and functions never go away. */
static int32_t find(struct aee__lane *lane, const struct aee__host_functions *functions,
                    const char *name)
{
    uint64_t words[2];
    memcpy(words, name, sizeof words);
    uint64_t hash = (words[0] ^ (words[1] << 1)) * UINT64_C(0x9e3779b97f4a7c15);
    struct aee__lane_name *known = &lane->names[hash >> 61];
    if (known->index < 0 || !same_name(known->name, name)) {
        known->index = aee__host_functions_find(functions, name);
        memcpy(known->name, name, sizeof known->name);
    }
    return known->index;
}

/* Time in host functions; written by the lane's owner alone. */
static void add_host_time(struct aee__lane *lane, uint64_t ticks)
{
    _Atomic uint64_t *sum = &lane->budget.host_ns;
    uint64_t took = aee__ticks_to_ns(&lane->instance->core->ticker, ticks);
    atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + took,
                          memory_order_relaxed);
}

/* A host function runs: the call's budget rests, and this thread may call the component back.
 * Written by the lane's owner alone. */
static void set_depth(struct aee__lane *lane, uint32_t depth)
{
    uintptr_t server = depth > 0 ? (uintptr_t)pthread_self() : 0;
    atomic_store_explicit(&lane->instance->servers[lane->index], server, memory_order_relaxed);
    atomic_store_explicit(&lane->host_depth, depth, memory_order_relaxed);
    atomic_store_explicit(&lane->budget.in_host, depth > 0, memory_order_relaxed);
}

/* A request that is being served. */
struct served {
    const struct aee__ring_host_call *call;
    uint8_t *payload;
    uint8_t *reply;
    uint32_t reply_size; /* out, as is all that follows */
    int64_t value;
    const struct aee__host_function *function; /* that ran; NULL: none */
    aee_result result;                         /* of it */
    uint32_t asking;                           /* for the trace: the call that it is for */
    uint64_t begin;                            /* ticks, of the request */
};

/* On the thread that runs the vCPU others may need its place meanwhile. */
static bool is_runner(const struct aee__lane *lane)
{
    return atomic_load_explicit(&lane->runner, memory_order_relaxed) == (uintptr_t)pthread_self();
}

static void run_function(struct aee__lane *lane, struct served *served, aee_host_call *host)
{
    struct aee__core *core = lane->instance->core;
    uint32_t depth = atomic_load_explicit(&lane->host_depth, memory_order_relaxed);
    bool runs = is_runner(lane);
    aee__meter_count(&lane->meter, served->begin);
    if (runs) {
        aee__workers_block(&core->workers, true);
    }
    served->asking = aee__tracing_asking(lane);
    set_depth(lane, depth + 1);
    served->result = served->function->function(served->function->user, host);
    if (runs) {
        aee__workers_block(&core->workers, false);
    }
}

/* When the answer is on its way: the component does not wait for this. */
static void end_function(struct aee__lane *lane, const struct served *served)
{
    const struct aee__core *core = lane->instance->core;
    uint32_t depth = atomic_load_explicit(&lane->host_depth, memory_order_relaxed);
    uint64_t end = aee__ticks(&core->ticker);
    uint64_t calls = atomic_load_explicit(&lane->host_calls, memory_order_relaxed);
    add_host_time(lane, end - served->begin);
    aee__meter_skip(&lane->meter, end);
    set_depth(lane, depth - 1);
    atomic_store_explicit(&lane->host_calls, calls + 1, memory_order_relaxed);
    aee__tracing_host(lane, (uint32_t)(served->function - core->functions.entries), served->result,
                      served->asking, served->begin, end);
}

static int32_t invoke(struct aee__lane *lane, struct served *served)
{
    const struct aee__ring_host_call *call = served->call;
    struct aee__context *context = lane->instance->context;
    struct aee__host_functions *functions = &context->core->functions;
    int32_t index = find(lane, functions, call->name);
    note_asked(lane, index < 0 ? (int32_t)AEE__ASKED_UNKNOWN : index);
    if (index < 0 || !aee__grants_has(&context->grants, (uint32_t)index)) {
        return AEE_HOST_NOT_FOUND;
    }
    if (aee__lane_is_over(lane)) {
        return AEE_HOST_LIMIT; /* the budget is used up: the instance is about to end */
    }
    aee_host_call host = {.engine = context->core->engine,
                          .context = {context->handle},
                          .context_user = context->user,
                          .payload = served->payload,
                          .payload_size = call->payload_size,
                          .reply = served->reply,
                          .reply_capacity = call->payload_capacity,
                          .internal = lane};
    memcpy(host.args, call->args, sizeof host.args);
    served->function = &functions->entries[index];
    run_function(lane, served, &host);
    if (host.reply_size > host.reply_capacity) {
        return AEE_HOST_BAD;
    }
    served->reply_size = (uint32_t)host.reply_size;
    served->value = served->result == AEE_OK ? host.result : served->result;
    return served->result == AEE_OK ? AEE_HOST_OK : AEE_HOST_FAILED;
}

/* Room for a payload's copy and a reply: at each depth its own, because an outer function still
 * reads its payload while an inner one runs. Made when a component first sends or takes bytes
 * there, because most never do. False: there is no memory. */
static bool need_buffers(struct aee__lane *lane, const struct aee__ring_host_call *call,
                         uint8_t **buffers)
{
    uint8_t **kept = &lane->host_buffers[lane->host_depth];
    bool bytes = call->payload_size > 0 || call->payload_capacity > 0;
    if (bytes && !*kept) {
        *kept = aee__alloc_zero(&lane->instance->core->alloc, 2, AEE_MAX_PAYLOAD);
    }
    *buffers = *kept;
    return !bytes || *kept != NULL;
}

/* Every host call counts, whether or not it leads to a function. */
static bool may_ask(struct aee__context *context)
{
    uint32_t limited = atomic_load_explicit(&context->rates.limited, memory_order_relaxed);
    return !(limited & AEE__LIMITED_HOST_CALLS) ||
           aee__rates_take(context, AEE__RATE_HOST_CALLS, 1, NULL) == AEE_OK;
}

static void serve(struct aee__lane *lane, const struct aee__ring_host_call *call, uint8_t *buffers,
                  uint64_t begin)
{
    uint8_t nothing[1] = {0}; /* memcpy() and its like take no NULL, not even for no bytes */
    struct served served = {.call = call,
                            .payload = buffers ? buffers : nothing,
                            .reply = buffers ? buffers + AEE_MAX_PAYLOAD : nothing,
                            .begin = begin};
    uint32_t level = lane->host_depth;
    int32_t status = AEE_HOST_BAD;
    if (call->payload_size > 0) {
        memcpy(served.payload, lane->ring.shared->host_arena, call->payload_size);
    }
    if (!may_ask(lane->instance->context)) {
        status = AEE_HOST_LIMIT;
    } else if (call->kind == AEE_HOST_CALL_INVOKE) {
        status = invoke(lane, &served);
    } else if (call->kind == AEE_HOST_CALL_LOG) {
        note_asked(lane, AEE__ASKED_LOG);
        status = serve_log(lane->instance->context, call, (const char *)served.payload);
    } else if (call->kind == AEE_HOST_CALL_STATE) {
        status = serve_state(lane->instance, call);
    }
    aee__call_ring_host_reply(&lane->ring, level, status, served.value, served.reply,
                              served.reply_size);
    if (served.function) {
        end_function(lane, &served);
    }
}

bool aee__lane_serve_host_call(struct aee__lane *lane, uint64_t seen)
{
    struct aee__ring_host_call call;
    if (lane->host_depth == AEE_HOST_CALL_DEPTH || aee__lane_outstanding(lane) == 0) {
        return false;
    }
    enum aee__ring_poll poll = aee__call_ring_host_call(&lane->ring, lane->host_depth, &call);
    if (poll == AEE__RING_NONE) {
        return false;
    }
    uint8_t *buffers;
    if (poll == AEE__RING_READY && need_buffers(lane, &call, &buffers)) {
        serve(lane, &call, buffers, seen ? seen : aee__ticks(&lane->instance->core->ticker));
    } else {
        aee__call_ring_host_reply(&lane->ring, lane->host_depth, AEE_HOST_BAD, 0, NULL, 0);
    }
    aee__lane_answered(lane);
    return true;
}

/* ---- Servers ------------------------------------------------------------------------------ */

bool aee__lane_hand_over(struct aee__lane *lane)
{
    struct aee__core *core = lane->instance->core;
    if (!core->jailed) {
        return false;
    }
    if (atomic_exchange(&lane->handed_over, true)) {
        return true; /* it has not begun to look yet */
    }
    bool taken = aee__instance_take(lane->instance);
    if (taken && aee__workers_post(&core->servers, &lane->server)) {
        return true;
    }
    atomic_store(&lane->handed_over, false);
    if (taken) {
        aee__instance_release(lane->instance);
    }
    return false;
}

/* Blocked all the time: a function may wait for whatever it likes, and another lane's must not wait
 * for it. */
void aee__lane_serve(struct aee__runnable *runnable)
{
    struct aee__lane *lane =
        (struct aee__lane *)((char *)runnable - offsetof(struct aee__lane, server));
    struct aee__instance *instance = lane->instance;
    struct aee__workers *servers = &instance->core->servers;
    atomic_store(&lane->handed_over, false);
    aee__workers_block(servers, true);
    aee__lane_attend(lane, true);
    aee__instance_release(instance);
    aee__workers_block(servers, false);
}
