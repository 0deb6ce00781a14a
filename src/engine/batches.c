/* batches.c: public calls that do not wait: submitted, polled, waited for, cancelled, and spread
 * over the lanes of a context. */
#include <string.h>

#include "base/clock.h"
#include "engine/batches.h"

/* How long a submitter that waits for room sleeps before it looks whether the engine still lives.
 */
#define CLOSED_LOOK_NS UINT64_C(100000000)

/* ---- From items to calls ------------------------------------------------------------------ */

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

static aee_result fill_call(struct aee__call *call, const aee_call_item *item, uint32_t index,
                            aee_error *error)
{
    aee_result result = check_item(item, index, error);
    if (result != AEE_OK) {
        return result;
    }
    call->status = AEE_OK;
    call->level = 0;
    call->takes_result = true;
    call->takes_double = item->result_type == AEE_TYPE_F64;
    call->export_index = (int32_t)(item->function.id & 0xfff);
    call->budget_ns = item->budget_ns;
    call->deadline_ns = item->deadline_ns;
    call->reply_size = 0;
    call->epoch = aee__function_epoch(item->function);
    if (item->flags & AEE_ITEM_BYTES) {
        call->request.flags = AEE_CALL_BYTES | 4u << AEE_CALL_COUNT_SHIFT;
        call->request.args[4] = 0;
        call->request.args[5] = 0;
        call->payload = item->request;
        call->payload_size = item->request_size;
        call->reply = item->reply;
        call->reply_capacity =
            item->reply_capacity < AEE_PAYLOAD_MAX ? item->reply_capacity : AEE_PAYLOAD_MAX;
        return AEE_OK;
    }
    call->request.flags = AEE_CALL_ARGS | item->arg_count << AEE_CALL_COUNT_SHIFT;
    for (uint32_t i = item->arg_count; i < AEE_MAX_ARGS; i++) {
        call->request.args[i] = 0; /* not what another call left here */
    }
    for (uint32_t i = 0; i < item->arg_count; i++) {
        memcpy(&call->request.args[i], &item->args[i].as, sizeof call->request.args[i]);
        if (item->args[i].type == AEE_TYPE_F64) {
            call->request.flags |= 1u << (AEE_CALL_DOUBLE_SHIFT + i);
        } else if (item->args[i].type != AEE_TYPE_I64) {
            return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                             "cannot submit call %u: argument %u has type %d", index, i,
                             (int)item->args[i].type);
        }
    }
    return AEE_OK;
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

/* What two calls must share so that the second needs no check of its own. */
static bool same_shape(const aee_call_item *a, const aee_call_item *b)
{
    if (a->function.id != b->function.id || a->context.id != b->context.id ||
        a->flags != b->flags || a->arg_count != b->arg_count || a->result_type != b->result_type ||
        a->budget_ns != b->budget_ns) {
        return false;
    }
    for (uint32_t i = 0; i < a->arg_count; i++) {
        if (a->args[i].type != b->args[i].type) {
            return false;
        }
    }
    return true;
}

static aee_result check_call(aee_engine *engine, struct aee__batch *batch,
                             const aee_call_item *item, uint32_t index, aee_error *error)
{
    struct aee__context *context;
    struct aee__call *call = &batch->calls[index];
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

static aee_result fill_batch(aee_engine *engine, struct aee__batch *batch,
                             const aee_call_item *items, aee_error *error)
{
    aee_result result = AEE_OK;
    for (uint32_t i = 0; i < batch->count; i++) {
        struct aee__call *call = &batch->calls[i];
        const struct aee__call *before = i > 0 ? &batch->calls[i - 1] : NULL;
        call->batch = batch;
        batch->users[i] = items[i].user;
        result = fill_call(call, &items[i], i, error);
        if (result != AEE_OK) {
            return result;
        }
        if (before && same_shape(&items[i], &items[i - 1])) {
            call->request.function = before->request.function;
            call->context_index = before->context_index;
            call->budget_ns = before->budget_ns;
        } else {
            result = check_call(engine, batch, &items[i], i, error);
            if (result != AEE_OK) {
                return name_call(result, i, error);
            }
            call->context_index = context_index(batch, items[i].context.id,
                                                before ? before->context_index : UINT32_MAX - 1);
        }
    }
    return result;
}

/* ---- Contexts of a batch ------------------------------------------------------------------ */

static struct aee__context *enter(struct aee__core *core, const struct aee__batch *batch,
                                  uint32_t index)
{
    aee_result why;
    return aee__handles_acquire(&core->contexts, batch->contexts[index], &why);
}

/* Queues a run of calls to one context; a context that takes none any more has ended them. */
static void submit_run(struct aee__core *core, struct aee__batch *batch, uint32_t first,
                       uint32_t last)
{
    struct aee__context *context = enter(core, batch, batch->calls[first].context_index);
    for (uint32_t i = first; i <= last; i++) {
        batch->calls[i].next = i < last ? &batch->calls[i + 1] : NULL;
        batch->calls[i].queued = true;
    }
    aee_result result = AEE_ERR_STOPPED;
    if (context) {
        result = aee__context_submit(context, &batch->calls[first], &batch->calls[last],
                                     last - first + 1);
        aee__engine_leave(context);
    }
    for (uint32_t i = first; i <= last && result != AEE_OK; i++) {
        batch->calls[i].queued = false;
        batch->calls[i].status = result;
        aee__batch_finish(&(struct aee__call *){&batch->calls[i]}, 1);
    }
}

static void advance(struct aee__core *core, const struct aee__batch *batch)
{
    for (uint32_t i = 0; i < batch->context_count; i++) {
        struct aee__context *context = enter(core, batch, i);
        if (context) {
            aee__context_advance(context);
            aee__engine_leave(context);
        }
    }
}

static void help(struct aee__core *core, const struct aee__batch *batch, uint64_t deadline_ns)
{
    for (uint32_t i = 0; i < batch->context_count; i++) {
        struct aee__context *context = enter(core, batch, i);
        if (context) {
            aee__context_help(context, deadline_ns);
            aee__engine_leave(context);
        }
    }
}

static void expect_sleep(struct aee__core *core, const struct aee__batch *batch, bool each)
{
    for (uint32_t i = 0; i < batch->context_count; i++) {
        struct aee__context *context = enter(core, batch, i);
        if (context) {
            aee__context_expect_sleep(context, each);
            aee__engine_leave(context);
        }
    }
}

void aee__batch_submit_all(struct aee__core *core, struct aee__batch *batch)
{
    uint32_t first = 0;
    for (uint32_t i = 1; i <= batch->count; i++) {
        if (i == batch->count ||
            batch->calls[i].context_index != batch->calls[first].context_index) {
            submit_run(core, batch, first, i - 1);
            first = i;
        }
    }
    advance(core, batch);
}

/* ---- Waiting ------------------------------------------------------------------------------ */

bool aee__batch_wait_until(struct aee__core *core, struct aee__batch *batch, uint32_t wanted,
                           uint64_t deadline_ns)
{
    uint32_t turns = core->spin_turns;
    uint32_t ended = aee__batch_ended(batch);
    for (uint32_t turn = 0; ended < wanted; turn++) {
        help(core, batch, deadline_ns);
        uint32_t before = ended;
        ended = aee__batch_ended(batch);
        turn = ended != before ? 0 : turn;
        if (ended >= wanted) {
            break;
        }
        if (aee__now_ns() >= deadline_ns) {
            return false;
        }
        if (turn < turns) {
            aee__cpu_relax();
            continue;
        }
        uint32_t seen = aee__batches_begin_sleep(&core->batches);
        help(core, batch, deadline_ns); /* a lane's owner that left before knew of no sleeper */
        expect_sleep(core, batch, wanted < batch->count);
        if (aee__batch_ended(batch) < wanted) {
            aee__batches_end_sleep(&core->batches, seen,
                                   deadline_ns == AEE__NO_DEADLINE ? 0 : deadline_ns);
        } else {
            aee__batches_cancel_sleep(&core->batches);
        }
        if (aee__now_ns() >= deadline_ns) {
            advance(core, batch); /* replies that came while we slept */
            return aee__batch_ended(batch) >= wanted;
        }
        ended = aee__batch_ended(batch);
    }
    return true;
}

/* The calling thread is in a host function of one of the contexts: it holds a lane that calls may
 * need. */
static bool is_reentry(struct aee__core *core, const struct aee__batch *batch)
{
    bool reentry = false;
    for (uint32_t i = 0; i < batch->context_count && !reentry; i++) {
        struct aee__context *context = enter(core, batch, i);
        if (context) {
            reentry = aee__context_is_reentry(context);
            aee__engine_leave(context);
        }
    }
    return reentry;
}

/* ---- Taking ------------------------------------------------------------------------------- */

static void complete(const struct aee__batch *batch, uint32_t index, aee_completion *out)
{
    const struct aee__call *call = &batch->calls[index];
    *out = (aee_completion){.index = index,
                            .result = call->status,
                            .value.type = call->takes_double ? AEE_TYPE_F64 : AEE_TYPE_I64,
                            .user = batch->users[index]};
    if (call->status == AEE_OK) {
        uint64_t bits = call->takes_double ? call->result.double_value : call->result.value;
        memcpy(&out->value.as, &bits, sizeof bits);
        out->reply_size = call->reply_size;
    }
}

uint32_t aee__batch_take(struct aee__batch *batch, aee_completion *completions, uint32_t capacity,
                         uint32_t *left)
{
    uint32_t taken = 0;
    (void)pthread_mutex_lock(&batch->lock);
    while (taken < capacity && batch->taken < batch->count) {
        /* Pairs with aee__batch_finish(). */
        uint32_t place = atomic_load_explicit(&batch->order[batch->taken], memory_order_acquire);
        if (place == 0) {
            break;
        }
        if (completions) {
            complete(batch, place - 1, &completions[taken]);
        }
        taken++;
        batch->taken++;
    }
    *left = batch->count - batch->taken;
    (void)pthread_mutex_unlock(&batch->lock);
    return taken;
}

static aee_result enter_batch(aee_engine *engine, aee_batch handle, const char *operation,
                              struct aee__batch **out, aee_error *error)
{
    aee_result why = AEE_ERR_STALE;
    aee_result result = aee__engine_check(engine, operation, error);
    if (result != AEE_OK) {
        return result;
    }
    *out = aee__handles_acquire(&engine->core.batch_handles, handle.id, &why);
    return *out ? AEE_OK
                : aee__fail(error, why, "cannot %s: 0x%llx is not a batch that is under way",
                            operation, (unsigned long long)handle.id);
}

/* Gives the reference back; the last completion takes the batch with it. */
static void leave_batch(struct aee__core *core, struct aee__batch *batch, uint32_t taken,
                        uint32_t left)
{
    uint64_t handle = batch->handle;
    if (left == 0 && aee__handles_retire(&core->batch_handles, handle)) {
        aee__batches_unreserve(&core->batches, taken); /* wakes who waits for the same batch */
        aee__handles_remove(&core->batch_handles, handle);
        aee__batch_free(&core->batches, batch);
        return;
    }
    if (taken > 0) {
        aee__batches_unreserve(&core->batches, taken);
    }
    aee__handles_release(&core->batch_handles, handle);
}

/* ---- Public ------------------------------------------------------------------------------- */

static aee_result reserve(aee_engine *engine, uint32_t count, bool block, aee_error *error)
{
    struct aee__batches *batches = &engine->core.batches;
    bool possible = count <= batches->limit;
    while (!aee__batches_reserve(batches, count)) {
        if (!block || !possible) {
            return aee__fail(error, AEE_ERR_LIMIT,
                             "cannot submit %u calls: %u of max_submitted %u are not taken yet",
                             count, atomic_load(&batches->submitted), batches->limit);
        }
        if (atomic_load(&engine->closed)) { /* nobody can take completions any more */
            return aee__fail(error, AEE_ERR_CLOSED, "cannot submit %u calls: the engine is closed",
                             count);
        }
        uint32_t seen = aee__batches_begin_sleep(batches);
        if (count > batches->limit - atomic_load(&batches->submitted)) {
            aee__batches_end_sleep(batches, seen, aee__now_ns() + CLOSED_LOOK_NS);
        } else {
            aee__batches_cancel_sleep(batches);
        }
    }
    return AEE_OK;
}

static aee_result publish(struct aee__core *core, struct aee__batch *batch, aee_error *error)
{
    batch->handle = aee__handles_reserve(&core->batch_handles);
    if (batch->handle == 0) {
        if (batch->limited) {
            aee__rates_cancel_batch(core, batch);
        }
        return aee__fail(error, AEE_ERR_LIMIT, "cannot submit: %u batches are under way",
                         AEE__BATCHES_MAX);
    }
    aee__handles_publish(&core->batch_handles, batch->handle, batch);
    return AEE_OK;
}

static aee_result submit(aee_engine *engine, const aee_call_item *items, uint32_t count,
                         aee_batch *out, aee_error *error)
{
    struct aee__core *core = &engine->core;
    struct aee__batch *batch = aee__batch_create(&core->batches, core, count);
    if (!batch) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot submit %u calls: out of memory", count);
    }
    aee_result result = fill_batch(engine, batch, items, error);
    if (result == AEE_OK && batch->limited) {
        result = aee__rates_begin_batch(core, batch, error);
    }
    if (result == AEE_OK) {
        result = publish(core, batch, error);
    }
    if (result != AEE_OK) {
        aee__batch_free(&core->batches, batch);
        return result;
    }
    out->id = batch->handle;
    aee__batch_submit_all(core, batch);
    return AEE_OK;
}

aee_result aee_submit(aee_engine *engine, const aee_call_item *items, uint32_t count,
                      uint32_t flags, aee_batch *out, aee_error *error)
{
    aee_result result = aee__engine_check(engine, "submit calls", error);
    if (result != AEE_OK) {
        return result;
    }
    if (!items || !out || count == 0 || count > AEE__BATCH_CALLS_MAX ||
        (flags & ~AEE_SUBMIT_BLOCK) != 0) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot submit %u calls: %s", count,
                         !items || !out              ? "items or out is NULL"
                         : flags & ~AEE_SUBMIT_BLOCK ? "unknown flags"
                                                     : "a batch has between 1 and 65536");
    }
    out->id = 0;
    result = reserve(engine, count, (flags & AEE_SUBMIT_BLOCK) != 0, error);
    if (result != AEE_OK) {
        return result;
    }
    result = submit(engine, items, count, out, error);
    if (result != AEE_OK) {
        aee__batches_unreserve(&engine->core.batches, count);
    }
    return result == AEE_OK ? aee__ok(error) : result;
}

aee_result aee_poll(aee_engine *engine, aee_batch handle, aee_completion *completions,
                    uint32_t capacity, uint32_t *count, aee_error *error)
{
    struct aee__batch *batch;
    uint32_t left;
    if (!count || (capacity > 0 && !completions)) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot poll a batch: count or completions is NULL");
    }
    *count = 0;
    aee_result result = enter_batch(engine, handle, "poll a batch", &batch, error);
    if (result != AEE_OK) {
        return result;
    }
    advance(&engine->core, batch);
    *count = aee__batch_take(batch, completions, capacity, &left);
    leave_batch(&engine->core, batch, *count, left);
    return aee__ok(error);
}

static uint64_t deadline_after(uint64_t timeout_ns)
{
    uint64_t deadline;
    return __builtin_add_overflow(aee__now_ns(), timeout_ns, &deadline) ||
                   deadline > (uint64_t)INT64_MAX
               ? AEE__NO_DEADLINE
               : deadline;
}

aee_result aee_wait(aee_engine *engine, aee_batch handle, aee_completion *completions,
                    uint32_t capacity, uint32_t *count, uint64_t timeout_ns, aee_error *error)
{
    struct aee__batch *batch;
    if (count) {
        *count = 0;
    }
    aee_result result = enter_batch(engine, handle, "wait for a batch", &batch, error);
    if (result != AEE_OK) {
        return result;
    }
    struct aee__core *core = &engine->core;
    if (is_reentry(core, batch)) {
        aee__handles_release(&core->batch_handles, handle.id);
        return aee__fail(error, AEE_ERR_BUSY,
                         "cannot wait for a batch from a host function that one of its contexts "
                         "called");
    }
    uint64_t deadline = deadline_after(timeout_ns);
    uint32_t left;
    uint32_t taken = 0;
    uint32_t got;
    capacity = completions ? capacity : UINT32_MAX;
    do {
        got = aee__batch_take(batch, completions ? completions + taken : NULL, capacity - taken,
                              &left);
        taken += got;
        if (taken == capacity || left == 0) {
            break;
        }
        uint32_t more = capacity - taken < left ? capacity - taken : left;
        /* What has ended may not be there to take yet, while its finisher has no processor. */
        if (!aee__batch_wait_until(core, batch, batch->count - left + more, deadline) ||
            (got == 0 && aee__now_ns() >= deadline)) {
            taken += aee__batch_take(batch, completions ? completions + taken : NULL,
                                     capacity - taken, &left);
            result = taken < capacity && left > 0 ? AEE_ERR_TIMED_OUT : AEE_OK;
        }
    } while (result == AEE_OK);
    leave_batch(core, batch, taken, left);
    if (count) {
        *count = taken;
    }
    return result == AEE_OK
               ? aee__ok(error)
               : aee__fail(error, result, "%u calls of the batch have not ended", left);
}

uint32_t aee__batch_cancel(struct aee__core *core, struct aee__batch *batch, uint32_t first,
                           uint32_t end)
{
    uint32_t cancelled = 0;
    for (uint32_t i = first; i < end; i++) {
        struct aee__context *context = enter(core, batch, batch->calls[i].context_index);
        if (context) {
            cancelled += aee__call_queue_cancel(&context->queue, &batch->calls[i]);
            aee__engine_leave(context);
        }
    }
    if (cancelled > 0) {
        aee__batches_wake(&core->batches);
    }
    return cancelled;
}

aee_result aee_cancel(aee_engine *engine, aee_batch handle, uint32_t index, uint32_t *cancelled,
                      aee_error *error)
{
    struct aee__batch *batch;
    if (cancelled) {
        *cancelled = 0;
    }
    aee_result result = enter_batch(engine, handle, "cancel calls", &batch, error);
    if (result != AEE_OK) {
        return result;
    }
    bool all = index == AEE_ALL_CALLS;
    uint32_t count = batch->count;
    if (all || index < count) {
        uint32_t number =
            aee__batch_cancel(&engine->core, batch, all ? 0 : index, all ? count : index + 1);
        if (cancelled) {
            *cancelled = number;
        }
    }
    aee__handles_release(&engine->core.batch_handles, handle.id);
    return all || index < count
               ? aee__ok(error)
               : aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                           "cannot cancel call %u: the batch has %u", index, count);
}

aee_result aee_batch_release(aee_engine *engine, aee_batch handle, aee_error *error)
{
    if (handle.id == 0) {
        return aee__ok(error);
    }
    aee_result result = aee_cancel(engine, handle, AEE_ALL_CALLS, NULL, error);
    return result == AEE_OK ? aee_wait(engine, handle, NULL, 0, NULL, UINT64_MAX, error) : result;
}
