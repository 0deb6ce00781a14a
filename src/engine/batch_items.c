/* batch_items.c: what was submitted, checked and made calls of a batch. Most calls of a batch are
 * like the one before: those cost no more than reading them. */
#include <string.h>

#include "engine/batches.h"

static aee_result check_item(const aee_call_item *item, uint32_t index, aee_error *error)
{
    const char *problem = NULL;
    bool bytes = (item->flags & AEE_ITEM_BYTES) != 0;
    if ((item->flags & ~AEE_ITEM_BYTES) != 0 || item->reserved0 != 0) {
        problem = "it has unknown flags";
    } else if (item->arg_count > (bytes ? 0 : AEE_ARGS_MAX)) {
        return aee__fail(error, AEE_ERR_ARGUMENT_COUNT,
                         "cannot submit call %u: it has %u arguments", index, item->arg_count);
    } else if (item->result_type != AEE_TYPE_I64 && item->result_type != AEE_TYPE_F64) {
        problem = "its result_type is unknown";
    } else if ((item->request_size > 0 && !item->request) ||
               (item->reply_capacity > 0 && !item->reply)) {
        problem = "request or reply is NULL";
    } else if (item->budget_ns > 0 && item->budget_ns < AEE__LIMIT_BUDGET_LEAST_NS) {
        problem = "its budget_ns is below 50 us";
    }
    if (problem) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot submit call %u: %s", index,
                         problem);
    }
    if (item->request_size > AEE_PAYLOAD_MAX) {
        return aee__fail(error, AEE_ERR_TOO_LARGE,
                         "cannot submit call %u: %zu bytes, at most %d travel inline", index,
                         item->request_size, AEE_PAYLOAD_MAX);
    }
    return AEE_OK;
}

static void fill_bytes(struct aee__call *call, const aee_call_item *item)
{
    call->request.flags = AEE_CALL_BYTES | 4u << AEE_CALL_COUNT_SHIFT;
    call->request.args[4] = 0;
    call->request.args[5] = 0;
    call->payload = item->request;
    call->payload_size = item->request_size;
    call->reply = item->reply;
    call->reply_capacity =
        item->reply_capacity < AEE_PAYLOAD_MAX ? item->reply_capacity : AEE_PAYLOAD_MAX;
    call->reply_size = 0;
}

static aee_result refuse_type(const aee_call_item *item, uint32_t index, aee_error *error)
{
    uint32_t i = 0;
    while (item->args[i].type == AEE_TYPE_I64 || item->args[i].type == AEE_TYPE_F64) {
        i++;
    }
    return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                     "cannot submit call %u: argument %u has type %d", index, i,
                     (int)item->args[i].type);
}

struct types {
    uint32_t seen;    /* all of them, or-ed: looked at once */
    uint32_t doubles; /* bit i: argument i is one */
};

static inline void fill_argument(struct aee__call *call, const aee_call_item *item, uint32_t i,
                                 struct types *types)
{
    uint32_t type = (uint32_t)item->args[i].type;
    _Static_assert(AEE_TYPE_I64 == 0 && AEE_TYPE_F64 == 1, "a type is a bit");
    types->seen |= type;
    types->doubles |= type << i;
    memcpy(&call->request.args[i], &item->args[i].as, sizeof call->request.args[i]);
}

/* The types that were seen, or-ed: more than 1 is unknown. Without a loop, which would take twice
 * the instructions. */
static inline uint32_t fill_arguments(struct aee__call *call, const aee_call_item *item)
{
    struct types types = {0};
    /* Those that are not given are 0 and not what another call left here. */
    memset(call->request.args, 0, sizeof call->request.args);
    switch (item->arg_count) {
    case 6:
        fill_argument(call, item, 5, &types); /* fall through */
    case 5:
        fill_argument(call, item, 4, &types); /* fall through */
    case 4:
        fill_argument(call, item, 3, &types); /* fall through */
    case 3:
        fill_argument(call, item, 2, &types); /* fall through */
    case 2:
        fill_argument(call, item, 1, &types); /* fall through */
    case 1:
        fill_argument(call, item, 0, &types);
        break;
    default:
        break;
    }
    _Static_assert(AEE_MAX_ARGS == 6, "one case for each");
    call->request.flags = AEE_CALL_ARGS | item->arg_count << AEE_CALL_COUNT_SHIFT |
                          types.doubles << AEE_CALL_DOUBLE_SHIFT;
    return types.seen;
}

/* Index of the context in the batch, appended when it is new. Calls often go round a few contexts,
 * so the one after the last is tried first. */
static uint32_t context_index(struct aee__batch *batch, uint64_t handle, uint32_t last)
{
    uint32_t next = last + 1 < batch->context_count ? last + 1 : 0;
    if (next < batch->context_count && batch->contexts[next] == handle) {
        return next;
    }
    for (uint32_t i = 0; i < batch->context_count; i++) {
        if (batch->contexts[i] == handle) {
            return i;
        }
    }
    batch->contexts[batch->context_count] = handle;
    return batch->context_count++;
}

/* The second needs no checks that the first has passed, but for those of its arguments and payload.
 */
static inline bool same_head(const aee_call_item *a, const aee_call_item *b)
{
    return ((a->function.id ^ b->function.id) | (a->context.id ^ b->context.id) |
            (a->flags ^ b->flags) | (a->arg_count ^ b->arg_count) |
            ((uint32_t)a->result_type ^ (uint32_t)b->result_type) | (a->reserved0 ^ b->reserved0) |
            (a->budget_ns ^ b->budget_ns)) == 0;
}

static aee_result check_call(aee_engine *engine, struct aee__batch *batch,
                             const aee_call_item *item, uint32_t index, aee_error *error)
{
    struct aee__context *context;
    struct aee__call *call = &batch->calls[index];
    call->budget_ns = item->budget_ns;
    call->takes_result = true;
    aee_result result =
        aee__engine_enter(engine, item->context, "submit a call to", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__function_check(item->function, item->context, context, error);
    if (result == AEE_OK) {
        result = aee__context_check_call(context, aee__function_epoch(item->function), call, error);
    }
    if (result == AEE_OK && call->budget_ns == 0) {
        call->budget_ns = atomic_load_explicit(&context->budget_ns, memory_order_relaxed);
    }
    batch->limited |= atomic_load_explicit(&context->rates.limited, memory_order_relaxed) != 0;
    aee__engine_leave(context);
    return result;
}

/* The sentence is about a call; it becomes one about that call of the batch. */
static aee_result name_call(aee_result result, uint32_t index, aee_error *error)
{
    if (error) {
        aee_error of_call = *error;
        (void)aee__fail(error, result, "call %u of the batch: %s", index, of_call.text);
        error->os_errno = of_call.os_errno;
    }
    return result;
}

static aee_result fill_call(struct aee__call *call, const aee_call_item *item, uint32_t index,
                            aee_error *error)
{
    aee_result result = check_item(item, index, error);
    if (result != AEE_OK) {
        return result;
    }
    call->deadline_ns = item->deadline_ns;
    call->export_index = (int32_t)(item->function.id & 0xfff);
    call->epoch = aee__function_epoch(item->function);
    call->takes_double = item->result_type == AEE_TYPE_F64;
    if (item->flags & AEE_ITEM_BYTES) {
        fill_bytes(call, item);
        return AEE_OK;
    }
    return fill_arguments(call, item) <= 1 ? AEE_OK : refuse_type(item, index, error);
}

/* What one call needs that is no repetition. `before`: a call with the same head that was checked,
 * or NULL. Kept apart from the loop, which is faster without it. */
static __attribute__((noinline)) aee_result fill_new(aee_engine *engine, struct aee__batch *batch,
                                                     const aee_call_item *item, uint32_t index,
                                                     const struct aee__call *before,
                                                     aee_error *error)
{
    struct aee__call *call = &batch->calls[index];
    aee_result result = fill_call(call, item, index, error);
    if (result != AEE_OK) {
        return result;
    }
    if (before && before->request.flags == call->request.flags) {
        call->request.function = before->request.function;
        call->context_index = before->context_index;
        call->budget_ns = before->budget_ns;
        return AEE_OK;
    }
    result = check_call(engine, batch, item, index, error);
    if (result != AEE_OK) {
        return name_call(result, index, error);
    }
    call->context_index =
        context_index(batch, item->context.id, index > 0 ? call[-1].context_index : UINT32_MAX - 1);
    return AEE_OK;
}

/* A call whose head is that of the one before, which was checked: true where there is no payload
 * and the types of its arguments are the same, too. */
static inline bool fill_like(struct aee__call *call, const aee_call_item *item,
                             const struct aee__call *before)
{
    if ((item->request_size | item->reply_capacity | (item->flags & AEE_ITEM_BYTES)) != 0) {
        return false;
    }
    uint32_t seen = fill_arguments(call, item);
    call->request.function = before->request.function;
    call->budget_ns = before->budget_ns;
    call->deadline_ns = item->deadline_ns;
    call->export_index = before->export_index;
    call->context_index = before->context_index;
    call->epoch = before->epoch;
    call->takes_double = before->takes_double;
    return seen <= 1 && call->request.flags == before->request.flags;
}

aee_result aee__batch_fill(aee_engine *engine, struct aee__batch *batch, const aee_call_item *items,
                           aee_error *error)
{
    struct aee__call *call = batch->calls;
    for (uint32_t i = 0; i < batch->count; i++, call++) {
        const aee_call_item *item = &items[i];
        aee__batch_link(batch, call);
        batch->users[i] = item->user;
        const struct aee__call *before = i > 0 && same_head(item, item - 1) ? call - 1 : NULL;
        if (before && fill_like(call, item, before)) {
            continue;
        }
        aee_result result = fill_new(engine, batch, item, i, before, error);
        if (result != AEE_OK) {
            return result;
        }
    }
    return AEE_OK;
}
