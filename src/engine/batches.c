/* batches.c: public calls that do not wait: submitted, polled, waited for, cancelled, and spread
 * over the lanes of a context. */
#include <string.h>

#include "base/clock.h"
#include "engine/batches.h"

/* How long a submitter that waits for room sleeps before it looks whether the engine still lives.
 */
#define CLOSED_LOOK_NS UINT64_C(100000000)

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
    for (uint32_t i = 1; i < batch->count && batch->context_count > 1; i++) {
        if (batch->calls[i].context_index != batch->calls[first].context_index) {
            submit_run(core, batch, first, i - 1);
            first = i;
        }
    }
    submit_run(core, batch, first, batch->count - 1);
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
    uint64_t bits = call->takes_double ? call->result.double_value : call->result.value;
    bool good = call->status == AEE_OK;
    bits = good ? bits : 0;
    out->index = index;
    out->result = call->status;
    out->value.type = call->takes_double ? AEE_TYPE_F64 : AEE_TYPE_I64;
    memcpy(&out->value.as, &bits, sizeof bits);
    out->reply_size = good && aee__call_is_bytes(call) ? call->reply_size : 0;
    out->user = batch->users[index];
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
    aee_result result = aee__batch_fill(engine, batch, items, error);
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
