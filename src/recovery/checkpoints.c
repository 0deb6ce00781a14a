#include "recovery/checkpoints.h"

#include <string.h>

#include "base/clock.h"
#include "ept/shadow.h"
#include "isolation/lifecycle.h"
#include "isolation/quiesce.h"
#include "isolation/tracing.h"
#include "recovery/changes.h"
#include "recovery/declared.h"

/* How long a restore waits for a restart that is under way. */
#define RESTART_PATIENCE_NS (AEE__NS_PER_SECOND / 10)

struct record {
    struct aee__undo undo;         /* from the copy as of this one to that of the one before */
    struct aee__declared declared; /* or, in that mode, all there is */
    struct aee__controls lanes[AEE_MAX_LANES];
};

struct aee__checkpoints {
    const struct aee__alloc *alloc;
    aee_checkpoint_mode mode;
    struct aee__shadow shadow; /* as of the newest */
    struct aee__memory layout; /* what was laid out when it was taken: areas only */
    struct aee__changes changes;
    uint32_t capacity;      /* of records: one more than are kept, for the next */
    _Atomic uint32_t count; /* read under the context's lock, too */
    uint32_t newest;
    uint32_t chosen; /* by the origin or by request: the one to go to, back from the newest */
    struct record records[];
};

/* ---- Life --------------------------------------------------------------------------------- */

static size_t size_of(uint32_t capacity)
{
    return sizeof(struct aee__checkpoints) + capacity * sizeof(struct record);
}

static aee_result create(const struct aee__context *context, const struct aee__memory *memory,
                         struct aee__checkpoints **out, aee_error *error)
{
    const struct aee__alloc *alloc = &context->core->alloc;
    uint32_t capacity = (context->recovery.history ? context->recovery.history : 1) + 1;
    struct aee__checkpoints *made = aee__alloc_zero(alloc, 1, size_of(capacity));
    if (!made) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "no memory for a history of %u checkpoints",
                         capacity - 1);
    }
    made->alloc = alloc;
    made->mode = context->recovery.mode;
    made->capacity = capacity;
    aee_result result = made->mode == AEE_CHECKPOINT_DECLARED
                            ? AEE_OK
                            : aee__shadow_create(&made->shadow, alloc, memory->file_size, error);
    if (result != AEE_OK) {
        aee__alloc_free(alloc, made, size_of(capacity));
        return result;
    }
    *out = made;
    return AEE_OK;
}

/* The lock: a crash looks whether there are any, and whoever ends an instance how many. */
struct aee__checkpoints *aee__checkpoints_exchange(struct aee__context *context,
                                                   struct aee__checkpoints *checkpoints)
{
    (void)pthread_mutex_lock(&context->lock);
    struct aee__checkpoints *before = context->checkpoints;
    context->checkpoints = checkpoints;
    (void)pthread_mutex_unlock(&context->lock);
    return before;
}

void aee__checkpoint_forget(struct aee__context *context)
{
    aee__checkpoints_destroy(aee__checkpoints_exchange(context, NULL));
}

/* Offsets in the file mean the same in both: what a heap has grown by does not matter. */
static bool is_laid_out_alike(const struct aee__memory *one, const struct aee__memory *other)
{
    bool alike = one->area_count == other->area_count;
    for (uint32_t i = 0; alike && i < one->area_count; i++) {
        alike = one->areas[i].gva.value == other->areas[i].gva.value &&
                one->areas[i].offset == other->areas[i].offset;
    }
    return alike;
}

static bool fits(const struct aee__checkpoints *kept, const struct aee__instance *instance)
{
    return kept->mode == AEE_CHECKPOINT_DECLARED || kept->count == 0 ||
           is_laid_out_alike(&kept->layout, &instance->memory);
}

void aee__checkpoints_destroy(struct aee__checkpoints *checkpoints)
{
    if (checkpoints) {
        for (uint32_t i = 0; i < checkpoints->capacity; i++) {
            aee__undo_free(&checkpoints->records[i].undo, checkpoints->alloc);
            aee__declared_free(&checkpoints->records[i].declared, checkpoints->alloc);
        }
        aee__shadow_destroy(&checkpoints->shadow);
        aee__alloc_free(checkpoints->alloc, checkpoints, size_of(checkpoints->capacity));
    }
}

static struct record *record_at(struct aee__checkpoints *kept, uint32_t back)
{
    return &kept->records[(kept->newest + kept->capacity - back) % kept->capacity];
}

/* What fits a longer history; the records keep their order. */
static aee_result lengthen(struct aee__context *context, uint32_t capacity, aee_error *error)
{
    struct aee__checkpoints *old = context->checkpoints;
    struct aee__checkpoints *made = aee__alloc_zero(old->alloc, 1, size_of(capacity));
    if (!made) {
        return aee__fail(error, AEE_ERR_NO_MEMORY,
                         "cannot set the recovery of context \"%s\": no memory for a history of %u",
                         context->name, capacity - 1);
    }
    memcpy(made, old, sizeof *made);
    made->capacity = capacity;
    made->newest = old->capacity - 1;
    for (uint32_t back = 0; back < old->capacity; back++) {
        made->records[old->capacity - 1 - back] = *record_at(old, back);
    }
    (void)aee__checkpoints_exchange(context, made);
    aee__alloc_free(old->alloc, old, size_of(old->capacity));
    return AEE_OK;
}

aee_result aee__checkpoint_configure(struct aee__context *context, const aee_recovery_desc *desc,
                                     aee_error *error)
{
    const struct aee__checkpoints *kept = context->checkpoints;
    uint32_t capacity = (desc->history ? desc->history : 1) + 1;
    bool itself = desc->every_frames > 0 || desc->every_ns > 0;
    atomic_store(&context->due_frame, 0);
    atomic_store(&context->due_ns, 0);
    atomic_store(&context->checkpoints_itself, itself);
    if (itself) {
        atomic_store(&context->core->checkpoints_frames, true);
    }
    if (kept && kept->mode != desc->mode) {
        aee__checkpoint_forget(context);
    } else if (kept && kept->capacity < capacity) {
        return lengthen(context, capacity, error);
    }
    return AEE_OK;
}

uint32_t aee__checkpoint_count(const struct aee__context *context)
{
    return context->checkpoints ? context->checkpoints->count : 0;
}

/* ---- Which pages have changed since the copy ---------------------------------------------- */

/* Marks them in shadow.work, not narrowed yet; *told: by the host, which knows. */
static aee_result find_changes(struct aee__checkpoints *kept, const struct aee__instance *instance,
                               bool *told, aee_error *error)
{
    *told = aee__changes_find(&kept->changes, &kept->shadow, instance);
    return *told ? AEE_OK : aee__shadow_find_present(&kept->shadow, &instance->memory, error);
}

/* Where the host does not tell. */
static bool compares(const struct aee__checkpoints *kept)
{
    return kept->mode == AEE_CHECKPOINT_INCREMENTAL && kept->count > 0;
}

/* Takes out what is no state. Checkpoints `compare`, so that they hold what was changed only. */
static void narrow(struct aee__checkpoints *kept, const struct aee__instance *instance, bool told,
                   bool compare)
{
    if (told) {
        aee__changes_narrow(&kept->changes, &kept->shadow, &instance->memory, compare);
    } else {
        (void)aee__shadow_narrow(&kept->shadow, &instance->memory, compares(kept));
    }
}

static void follow(struct aee__checkpoints *kept, const struct aee__instance *instance)
{
    if (kept->mode == AEE_CHECKPOINT_INCREMENTAL) {
        aee__changes_follow(&kept->changes, &kept->shadow, instance);
    }
}

/* ---- Registers ---------------------------------------------------------------------------- */

void aee__checkpoint_read_controls(const struct aee__instance *instance,
                                   struct aee__controls lanes[AEE_MAX_LANES])
{
    for (uint32_t i = 0; i < AEE_MAX_LANES; i++) {
        struct aee__controls *to = &lanes[i];
        *to = (struct aee__controls){0};
        if (i < atomic_load(&instance->lane_count)) {
            const struct aee_abi_lane_private *own = &instance->lanes[i].ring.shared->own;
            to->mxcsr = __atomic_load_n(&own->mxcsr, __ATOMIC_RELAXED);
            to->x87 = __atomic_load_n(&own->x87_control, __ATOMIC_RELAXED);
            to->known = __atomic_load_n(&own->controls, __ATOMIC_RELAXED) != 0;
        }
    }
}

/* A lane that had not run then begins with what the processor begins with (SDM vol. 1, 8.1.5 and
 * 11.6.4). */
static void load_controls(const struct aee__instance *instance, const struct record *record)
{
    enum { MXCSR_RESET = 0x1f80, X87_RESET = 0x37f };
    for (uint32_t i = 0; i < atomic_load(&instance->lane_count); i++) {
        struct aee_abi_lane_private *own = &instance->lanes[i].ring.shared->own;
        const struct aee__controls *from = &record->lanes[i];
        __atomic_store_n(&own->mxcsr, from->known ? from->mxcsr : MXCSR_RESET, __ATOMIC_RELAXED);
        __atomic_store_n(&own->x87_control, from->known ? from->x87 : X87_RESET, __ATOMIC_RELAXED);
        __atomic_store_n(&own->controls, 1, __ATOMIC_RELEASE);
    }
}

/* ---- Taking ------------------------------------------------------------------------------- */

static aee_result copy_changes(struct aee__checkpoints *kept, const struct aee__instance *instance,
                               struct record *record, aee_error *error)
{
    bool told;
    aee_result result = aee__shadow_grow(&kept->shadow, instance->memory.file_size, error);
    if (result == AEE_OK) {
        result = find_changes(kept, instance, &told, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    narrow(kept, instance, told, true);
    result = aee__shadow_update(&kept->shadow, &instance->memory, &record->undo, error);
    if (result != AEE_OK) {
        kept->changes.known = 0; /* what the host has told is forgotten */
    }
    return result;
}

/* What the history holds beside the newest is within its bounds. Buffers of records that go for
 * want of memory are given back; those of others are used again. */
static void trim(struct aee__checkpoints *kept, uint32_t history, uint64_t memory_bytes)
{
    uint64_t bytes = 0;
    uint32_t keep = 0;
    uint32_t most = kept->count < history ? kept->count : history;
    while (keep < most) {
        bytes += keep > 0 ? aee__undo_bytes(&record_at(kept, keep - 1)->undo) : 0;
        bytes += keep > 0 ? aee__declared_bytes(&record_at(kept, keep)->declared) : 0;
        if (keep > 0 && bytes > memory_bytes) {
            break;
        }
        keep++;
    }
    for (uint32_t back = keep; back < most; back++) {
        aee__undo_free(&record_at(kept, back - 1)->undo, kept->alloc);
        aee__declared_free(&record_at(kept, back)->declared, kept->alloc);
    }
    kept->count = keep;
}

static aee_result copy_state(struct aee__checkpoints *kept, struct aee__instance *instance,
                             struct record *record, aee_error *error)
{
    return kept->mode == AEE_CHECKPOINT_DECLARED
               ? aee__declared_take(&record->declared, kept->alloc, instance, error)
               : copy_changes(kept, instance, record, error);
}

/* What the component has declared goes with its memory. */
static void load_declarations(struct aee__instance *instance, const struct record *record)
{
    aee__instance_set_state_ranges(instance, &record->declared.ranges);
}

/* The newest record's successor, filled. */
static aee_result take_record(struct aee__checkpoints *kept, struct aee__instance *instance,
                              aee_error *error)
{
    uint32_t next = (kept->newest + 1) % kept->capacity;
    struct record *record = &kept->records[next];
    aee_result result = copy_state(kept, instance, record, error);
    if (result == AEE_OK && aee__instance_ended(instance) != AEE_OK) {
        aee__shadow_undo(&kept->shadow, &record->undo); /* it was not between calls after all */
        kept->changes.known = 0;
        result = aee__fail(error, AEE_ERR_CRASHED, "the component crashed meanwhile");
    }
    if (result != AEE_OK) {
        return result;
    }
    follow(kept, instance);
    aee__instance_state_ranges(instance, &record->declared.ranges);
    aee__checkpoint_read_controls(instance, record->lanes);
    kept->layout = instance->memory;
    kept->newest = next;
    kept->count++;
    return AEE_OK;
}

/* Where lanes or stacks have changed none can be undone to: they go when there is a new one. */
static aee_result take_locked(struct aee__context *context, struct aee__instance *instance,
                              aee_error *error)
{
    aee_result result = AEE_OK;
    struct aee__checkpoints *before = context->checkpoints;
    bool first = !before || !fits(before, instance);
    if (first) {
        struct aee__checkpoints *made = NULL;
        result = create(context, &instance->memory, &made, error);
        if (result != AEE_OK) {
            return result;
        }
        (void)aee__checkpoints_exchange(context, made);
    }
    result = take_record(context->checkpoints, instance, error);
    if (first) {
        aee__checkpoints_destroy(result == AEE_OK ? before
                                                  : aee__checkpoints_exchange(context, before));
    }
    if (result == AEE_OK) {
        trim(context->checkpoints, context->recovery.history ? context->recovery.history : 1,
             context->recovery.memory_bytes ? context->recovery.memory_bytes : UINT64_C(64) << 20);
        context->fruitless = 0;
    }
    return result;
}

/* With what it took. */
static aee_result take_and_count(struct aee__context *context, struct aee__instance *instance,
                                 aee_error *error)
{
    uint64_t begin = aee__now_ns();
    uint64_t ticks = aee__ticks(&context->core->ticker);
    aee_result result = take_locked(context, instance, error);
    uint64_t end = aee__now_ns();
    if (result == AEE_OK) {
        aee__tracing_checkpoint(context, aee__checkpoint_count(context), ticks);
        (void)atomic_fetch_add(&context->stats.checkpoints, 1);
        atomic_store(&context->stats.checkpoint_at_ns, end);
        atomic_store(&context->stats.checkpoint_ns, end - begin);
    }
    return result;
}

static aee_result explain(const struct aee__context *context, const char *operation,
                          aee_result result, const aee_error *why, aee_error *error)
{
    return result == AEE_OK ? aee__ok(error)
                            : aee__fail(error, result, "cannot %s context \"%s\": %s", operation,
                                        context->name, why->text);
}

/* Declared state has no registers: its lanes need not park. Before an operation. */
static bool is_declared(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    bool declared = context->recovery.mode == AEE_CHECKPOINT_DECLARED;
    (void)pthread_mutex_unlock(&context->lock);
    return declared;
}

aee_result aee__checkpoint_try(struct aee__context *context, aee_error *error)
{
    struct aee__instance *instance;
    aee_error why;
    aee_result result = aee__quiesce_try(context, !is_declared(context), &instance);
    if (result != AEE_OK) {
        return aee__fail(error, result, "context \"%s\" is busy", context->name);
    }
    result = take_and_count(context, instance, &why);
    aee__quiesce_end(context, instance);
    return explain(context, "take a checkpoint of", result, &why, error);
}

aee_result aee__checkpoint_take(struct aee__context *context, aee_error *error)
{
    struct aee__instance *instance;
    aee_error why;
    aee_result result = aee__quiesce_begin(context, "take a checkpoint of", !is_declared(context),
                                           &instance, error);
    if (result != AEE_OK) {
        return result;
    }
    result = take_and_count(context, instance, &why);
    aee__quiesce_end(context, instance);
    return explain(context, "take a checkpoint of", result, &why, error);
}

/* ---- Going back --------------------------------------------------------------------------- */

/* The copy becomes that of the chosen checkpoint, which becomes the newest. Marks what changes in
 * it in shadow.work. */
static void go_back(struct aee__checkpoints *kept, uint32_t back)
{
    for (; back > 0; back--) {
        aee__shadow_undo(&kept->shadow, &record_at(kept, 0)->undo);
        kept->newest = (kept->newest + kept->capacity - 1) % kept->capacity;
        kept->count--;
    }
}

/* Declared state, over what is there. */
static aee_result restore_declared(struct aee__checkpoints *kept, struct aee__instance *instance,
                                   aee_error *error)
{
    uint64_t begin = aee__ticks(&instance->core->ticker);
    aee_result result =
        aee__declared_put(&record_at(kept, kept->chosen)->declared, instance, error);
    if (result == AEE_OK) {
        aee__tracing_restore(instance->context, kept->chosen, begin);
        kept->newest = (kept->newest + kept->capacity - kept->chosen) % kept->capacity;
        (void)atomic_fetch_sub(&kept->count, kept->chosen);
        aee__template_pass(instance);
        instance->restores++;
        (void)atomic_fetch_add(&instance->context->stats.restores, 1);
    }
    return result;
}

/* In its own memory. */
static aee_result restore_in_place(struct aee__checkpoints *kept, struct aee__instance *instance,
                                   aee_error *error)
{
    uint64_t begin = aee__ticks(&instance->core->ticker);
    bool told;
    aee_result result = aee__shadow_grow(&kept->shadow, instance->memory.file_size, error);
    if (result == AEE_OK) {
        result = find_changes(kept, instance, &told, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    go_back(kept, kept->chosen);
    narrow(kept, instance, told, false);
    (void)aee__shadow_restore(&kept->shadow, &instance->memory);
    aee__template_pass(instance);
    instance->restores++;
    (void)atomic_fetch_add(&instance->context->stats.restores, 1);
    follow(kept, instance);
    load_controls(instance, record_at(kept, 0));
    load_declarations(instance, record_at(kept, 0));
    aee__tracing_restore(instance->context, kept->chosen, begin);
    return AEE_OK;
}

aee_result aee__checkpoint_begin(struct aee__context *context, struct aee__instance *instance,
                                 bool succeeded, aee_error *error)
{
    struct aee__checkpoints *kept = context->checkpoints;
    if (kept->mode == AEE_CHECKPOINT_DECLARED) {
        return restore_declared(kept, instance, error);
    }
    if (succeeded) {
        return restore_in_place(kept, instance, error);
    }
    uint64_t begin = aee__ticks(&context->core->ticker);
    memset(kept->shadow.work.bits, 0, kept->shadow.work.count / 8);
    go_back(kept, kept->chosen);
    uint32_t back = kept->chosen;
    kept->chosen = 0;
    aee__shadow_apply(&kept->shadow, &kept->layout, &instance->memory);
    (void)atomic_fetch_add(&context->stats.restores, 1);
    kept->changes.known = 0;
    if (instance->memory.file_size == kept->layout.file_size) {
        follow(kept, instance);
    }
    load_controls(instance, record_at(kept, 0));
    load_declarations(instance, record_at(kept, 0));
    aee__tracing_restore(context, back, begin);
    return AEE_OK;
}

aee_result aee__checkpoint_choose(struct aee__context *context, uint32_t back, aee_error *error)
{
    uint32_t count = aee__checkpoint_count(context);
    if (back >= count) {
        return aee__fail(error, AEE_ERR_NOT_FOUND,
                         "cannot restore context \"%s\": it has %u checkpoints", context->name,
                         count);
    }
    context->checkpoints->chosen = back;
    return AEE_OK;
}

aee_result aee__checkpoint_restore(struct aee__context *context, uint32_t back, aee_error *error)
{
    struct aee__instance *instance;
    aee_error why;
    aee_result result =
        aee__quiesce_begin(context, "restore", !is_declared(context), &instance, error);
    if (result == AEE_ERR_RESTARTING || result == AEE_ERR_CRASHED || result == AEE_ERR_HUNG) {
        (void)aee__context_wait_ready(context, RESTART_PATIENCE_NS, NULL); /* it comes back */
        result = aee__quiesce_begin(context, "restore", !is_declared(context), &instance, error);
    }
    if (result == AEE_ERR_STOPPED || result == AEE_ERR_QUARANTINED ||
        result == AEE_ERR_RESTARTING) {
        return aee__context_revive(context, back, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    result = aee__checkpoint_choose(context, back, error);
    if (result == AEE_OK && !fits(context->checkpoints, instance)) {
        aee__quiesce_end(context, instance);
        return aee__context_revive(context, back, error);
    }
    if (result == AEE_OK) {
        result = aee__checkpoint_begin(context, instance, true, &why);
        result = explain(context, "restore", result, &why, error);
    }
    aee__quiesce_end(context, instance);
    return result;
}

/* ---- State from elsewhere ----------------------------------------------------------------- */

aee_result aee__checkpoints_create(const struct aee__context *context,
                                   const struct aee__memory *layout,
                                   const struct aee__controls lanes[AEE_MAX_LANES],
                                   struct aee__checkpoints **out, aee_error *error)
{
    *out = NULL;
    aee_result result = create(context, layout, out, error);
    if (result == AEE_OK && *out) {
        (*out)->layout = *layout;
        (*out)->count = 1;
        memcpy((*out)->records[0].lanes, lanes, sizeof(*out)->records[0].lanes);
    }
    return result;
}

struct aee__shadow *aee__checkpoints_copy(struct aee__checkpoints *checkpoints)
{
    return &checkpoints->shadow;
}

struct aee__declared *aee__checkpoints_declared(struct aee__checkpoints *checkpoints)
{
    return &checkpoints->records[checkpoints->newest].declared;
}

/* ---- After a crash ------------------------------------------------------------------------ */

/* How far back the next restart goes, one further than the last where that was in vain: those after
 * that one are gone. UINT32_MAX: to the image. */
static uint32_t choose(const struct aee__context *context)
{
    uint32_t back = context->fruitless > 0 ? 1 : context->recovery.back;
    return context->recovery.restart == AEE_RESTART_CHECKPOINT &&
                   back < aee__checkpoint_count(context)
               ? back
               : UINT32_MAX;
}

bool aee__checkpoint_keeps_machine(const struct aee__context *context,
                                   const struct aee__instance *instance, const aee_crash *crash)
{
    enum { DOUBLE_FAULT = 8 };
    return context->core->ops->lane_restart && choose(context) != UINT32_MAX &&
           context->checkpoints->mode != AEE_CHECKPOINT_DECLARED &&
           crash->cause != AEE_CRASH_HOST && crash->cause != AEE_CRASH_KILLED &&
           !(crash->cause == AEE_CRASH_EXCEPTION && crash->vector == DOUBLE_FAULT) &&
           fits(context->checkpoints, instance);
}

enum aee__origin aee__checkpoint_origin(struct aee__context *context)
{
    uint32_t back = choose(context);
    if (back == UINT32_MAX) {
        if (context->fruitless > 0) { /* they all led to crashes */
            aee__checkpoint_forget(context);
        }
        return AEE__ORIGIN_IMAGE;
    }
    context->checkpoints->chosen = back;
    return context->checkpoints->mode == AEE_CHECKPOINT_DECLARED ? AEE__ORIGIN_DECLARED
                                                                 : AEE__ORIGIN_STATE;
}
