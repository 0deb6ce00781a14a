/* parallel.c: one function over a range of indices, on all lanes of a context: a batch whose calls
 * are pieces of the range. */
#include "engine/batches.h"

/* Pieces of [begin, end) with `grain` indices each; 0: too many. */
static uint32_t piece_count(uint64_t size, uint64_t grain)
{
    uint64_t pieces = size / grain + (size % grain != 0);
    return pieces <= AEE__BATCH_CALLS_MAX ? (uint32_t)pieces : 0;
}

static void fill_pieces(struct aee__batch *batch, const struct aee__call *pattern, int64_t begin,
                        int64_t end, uint64_t grain)
{
    uint64_t at = (uint64_t)begin;
    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t next = i + 1 < batch->count ? at + grain : (uint64_t)end;
        batch->calls[i] = *pattern;
        aee__batch_link(batch, &batch->calls[i]);
        batch->calls[i].request.args[0] = at;
        batch->calls[i].request.args[1] = next;
        at = next;
    }
}

/* After the first failure nothing more begins. */
static aee_result await_pieces(struct aee__core *core, struct aee__batch *batch)
{
    aee_result result = AEE_OK;
    aee_completion completion;
    uint32_t left = batch->count;
    while (left > 0) {
        (void)aee__batch_wait_until(core, batch, batch->count - left + 1, AEE__NO_DEADLINE);
        while (aee__batch_take(batch, &completion, 1, &left) > 0) {
            if (completion.result != AEE_OK && result == AEE_OK) {
                result = completion.result;
                (void)aee__batch_cancel(core, batch, 0, batch->count);
            }
        }
    }
    return result;
}

static aee_result run_pieces(aee_engine *engine, struct aee__context *context, uint16_t epoch,
                             struct aee__call *pattern, const int64_t *range, int64_t grain,
                             aee_error *error)
{
    struct aee__core *core = &engine->core;
    uint64_t size = (uint64_t)range[1] - (uint64_t)range[0];
    aee_result result = aee__context_check_call(context, epoch, pattern, error);
    if (result != AEE_OK || size == 0) {
        return result;
    }
    aee_limits limits;
    aee__context_get_limits(context, &limits);
    uint64_t piece = grain > 0 ? (uint64_t)grain : size / (4 * (uint64_t)limits.lanes) + 1;
    uint32_t count = piece_count(size, piece);
    if (count == 0) {
        return aee__fail(error, AEE_ERR_TOO_LARGE,
                         "cannot run a function over %llu indices in pieces of %llu: more than "
                         "65536 pieces",
                         (unsigned long long)size, (unsigned long long)piece);
    }
    struct aee__batch *batch = aee__batch_create(&core->batches, core, count);
    if (!batch) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot run a function in %u pieces", count);
    }
    if (atomic_load_explicit(&context->rates.limited, memory_order_relaxed)) {
        result = aee__rates_begin_calls(context, count, error);
    }
    if (result != AEE_OK) {
        aee__batch_free(&core->batches, batch);
        return result;
    }
    pattern->epoch = epoch;
    pattern->budget_ns = atomic_load_explicit(&context->budget_ns, memory_order_relaxed);
    batch->context_count = 1;
    batch->contexts[0] = context->handle;
    fill_pieces(batch, pattern, range[0], range[1], piece);
    aee__batch_submit_all(core, batch);
    result = await_pieces(core, batch);
    aee__batch_free(&core->batches, batch);
    return result == AEE_OK
               ? AEE_OK
               : aee__fail(error, result, "a piece of a function in context \"%s\": %s",
                           context->name, aee_result_text(result));
}

aee_result aee_parallel_for(aee_engine *engine, aee_context handle, aee_function function,
                            int64_t begin, int64_t end, int64_t grain, aee_error *error)
{
    struct aee__context *context;
    struct aee__call pattern = {.request.flags = AEE_CALL_ARGS | 2u << AEE_CALL_COUNT_SHIFT,
                                .export_index = (int32_t)(function.id & 0xfff)};
    const int64_t range[2] = {begin, end};
    aee_result result =
        aee__engine_enter(engine, handle, "run a function over a range in", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    if (end < begin || grain < 0) {
        result = aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                           "cannot run a function over [%lld, %lld) in pieces of %lld",
                           (long long)begin, (long long)end, (long long)grain);
    } else if (aee__context_is_reentry(context)) {
        result = aee__fail(error, AEE_ERR_BUSY,
                           "cannot run a function over a range in context \"%s\" from a host "
                           "function that it called",
                           context->name);
    } else {
        result = aee__function_check(function, handle, context, error);
    }
    if (result == AEE_OK) {
        result = run_pieces(engine, context, aee__function_epoch(function), &pattern, range, grain,
                            error);
    }
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}
