/* determinism.c: what makes runs of a component repeatable, and comparable between peers. */
#define XXH_INLINE_ALL /* as a header: no library to be linked, none of its names in ours */
#include <xxhash.h>

#include "engine/engine.h"
#include "isolation/quiesce.h"
#include "isolation/state_ranges.h"

#define KNOWN_FLAGS (AEE_FIXED_SEED | AEE_FIXED_TIME)

aee_result aee_set_determinism(aee_engine *engine, aee_context handle, const aee_determinism *desc,
                               aee_error *error)
{
    struct aee__context *context;
    aee_determinism wanted = {0};
    aee_result result = aee__copy_desc("set the determinism of a context", desc, &wanted,
                                       sizeof wanted, sizeof wanted, error);
    if (result != AEE_OK) {
        return result;
    }
    if (wanted.flags & ~KNOWN_FLAGS) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot set the determinism of a context: flags are 0x%x, of which only "
                         "0x%x are known",
                         wanted.flags, KNOWN_FLAGS);
    }
    result = aee__engine_enter(engine, handle, "set the determinism of a context", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    aee__guest_clock_set(context, &wanted);
    aee__engine_leave(context);
    return aee__ok(error);
}

/* ---- Checksums ---------------------------------------------------------------------------- */

static void add_range(XXH3_state_t *sum, const struct aee__memory *memory,
                      const struct aee__state_range *range)
{
    const uint64_t head[2] = {range->gva.value, range->size};
    (void)XXH3_64bits_update(sum, head, sizeof head);
    struct aee__gva at = range->gva;
    uint64_t left = range->size;
    while (left > 0) {
        uint64_t piece = left;
        const uint8_t *bytes = aee__state_ranges_at(memory, at, &piece);
        if (!bytes) {
            return; /* of a checkpoint with another heap: its head tells */
        }
        (void)XXH3_64bits_update(sum, bytes, piece);
        at.value += piece;
        left -= piece;
    }
}

static aee_result add_up(struct aee__context *context, struct aee__instance *instance,
                         uint64_t *checksum, aee_error *error)
{
    struct aee__state_ranges ranges;
    XXH3_state_t sum;
    aee__instance_state_ranges(instance, &ranges);
    if (ranges.count == 0) {
        return aee__fail(error, AEE_ERR_STATE,
                         "cannot check the state of context \"%s\": its component declares none",
                         context->name);
    }
    XXH3_INITSTATE(&sum);
    (void)XXH3_64bits_reset(&sum);
    for (uint32_t i = 0; i < ranges.count; i++) {
        add_range(&sum, &instance->memory, &ranges.ranges[i]);
    }
    *checksum = XXH3_64bits_digest(&sum);
    return AEE_OK;
}

aee_result aee_state_checksum(aee_engine *engine, aee_context handle, uint64_t *checksum,
                              aee_error *error)
{
    struct aee__context *context;
    struct aee__instance *instance;
    if (!checksum) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot check the state of a context: checksum is NULL");
    }
    *checksum = 0;
    aee_result result =
        aee__engine_enter(engine, handle, "check the state of a context", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__quiesce_begin(context, "check the state of", false, &instance, error);
    if (result == AEE_OK) {
        result = add_up(context, instance, checksum, error);
        aee__quiesce_end(context, instance);
    }
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}
