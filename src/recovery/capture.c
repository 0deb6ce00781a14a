#include "recovery/capture.h"

#include <string.h>

#include "base/clock.h"
#include "recovery/backtrace.h"
#include "recovery/crash_files.h"
#include "recovery/heap_walk.h"

/* Headers that are looked at: for one address, and for all that registers hold. */
#define HEAP_STEPS_ONE 2048u
#define HEAP_STEPS_ALL 4096u
/* Below the stack pointer, functions that call none may use so much (System V ABI, 3.2.2). */
#define RED_ZONE 128u

/* ---- The heap ----------------------------------------------------------------------------- */

static bool open_heap(const struct aee__instance *instance, struct aee__heap_view *view)
{
    const struct aee__memory *memory = &instance->memory;
    uint8_t copy[AEE__HEAP_OBJECT_SIZE];
    uint64_t gva;
    uint64_t size;
    *view = (struct aee__heap_view){.host = NULL};
    if (memory->area_count == 0 ||
        !aee__image_find_variable(instance->image->image, AEE__HEAP_OBJECT_NAME, &gva, &size) ||
        size != AEE__HEAP_OBJECT_SIZE) {
        return false;
    }
    const void *object = aee__memory_at(memory, (struct aee__gva){gva}, size);
    const struct aee__memory_area *heap = &memory->areas[memory->area_count - 1];
    const void *host = aee__memory_at(memory, heap->gva, heap->size);
    if (!object || !host) {
        return false;
    }
    memcpy(copy, object, sizeof copy);
    return aee__heap_view_open(view, copy, host, heap->gva.value, heap->size, HEAP_STEPS_ALL);
}

struct aee__heap_place aee__capture_heap_place(const struct aee__instance *instance,
                                               uint64_t address)
{
    struct aee__heap_view view;
    return open_heap(instance, &view) ? aee__heap_place_of(&view, address, HEAP_STEPS_ONE)
                                      : (struct aee__heap_place){.kind = AEE__HEAP_UNKNOWN};
}

static void place_registers(struct aee__crash_record *record, const struct aee__instance *instance,
                            const aee_registers *registers)
{
    struct aee__heap_view view;
    uint64_t values[AEE__RECORD_GENERAL];
    memset(record->places, 0, sizeof record->places);
    record->fault_place = (struct aee__heap_place){.kind = AEE__HEAP_UNKNOWN};
    if (!open_heap(instance, &view)) {
        return;
    }
    memcpy(values, registers, sizeof values);
    record->fault_place = aee__heap_place_of(&view, record->crash.fault_address, HEAP_STEPS_ONE);
    for (unsigned i = 0; i < AEE__RECORD_GENERAL; i++) {
        record->places[i] = aee__heap_place_of(&view, values[i], HEAP_STEPS_ONE);
    }
}

/* ---- Lanes -------------------------------------------------------------------------------- */

static void copy_calls(struct aee__record_lane *to, const struct aee__lane *lane)
{
    uint32_t submitted = atomic_load(&lane->ring.submitted);
    uint32_t completed = atomic_load(&lane->ring.completed);
    int32_t nested = atomic_load(&lane->nested_called);
    to->calls = 0;
    if (nested != AEE__CALLED_NOTHING) {
        to->called[to->calls] = nested;
        to->answered[to->calls++] = false;
    }
    for (uint32_t back = 1; back <= submitted && to->calls < AEE__RECORD_CALLS; back++) {
        uint32_t at = submitted - back;
        to->called[to->calls] =
            atomic_load_explicit(&lane->called[at % AEE_RING_SLOTS], memory_order_relaxed);
        to->answered[to->calls++] = (int32_t)(at - completed) < 0;
    }
}

static void copy_host_calls(struct aee__record_lane *to, const struct aee__lane *lane)
{
    uint32_t count = atomic_load(&lane->asked_count);
    to->host_calls = 0;
    for (uint32_t back = 1; back <= count && to->host_calls < AEE__RECORD_CALLS; back++) {
        to->asked[to->host_calls++] = atomic_load_explicit(
            &lane->asked[(count - back) % AEE__LANE_ASKED], memory_order_relaxed);
    }
}

/* Of a lane that nobody runs: while we look, nobody begins to. Where it has no call under way, they
 * are those of its wait for one, and not worth the 5 us that KVM takes for them. */
static bool read_parked(struct aee__lane *lane, aee_registers *registers)
{
    const struct aee__instance *instance = lane->instance;
    uint32_t parked = AEE__LANE_PARKED;
    if (aee__lane_outstanding(lane) == 0 ||
        !atomic_compare_exchange_strong(&lane->state, &parked, AEE__LANE_RUNNING)) {
        return false;
    }
    instance->core->ops->lane_registers(instance->vm, lane->index, registers);
    atomic_store(&lane->state, AEE__LANE_PARKED);
    return true;
}

static void copy_lanes(struct aee__crash_record *record, struct aee__instance *instance,
                       const struct aee__lane *crashed)
{
    record->lane_count = atomic_load(&instance->lane_count);
    for (uint32_t i = 0; i < record->lane_count; i++) {
        struct aee__lane *lane = &instance->lanes[i];
        struct aee__record_lane *to = &record->lanes[i];
        memset(&to->registers, 0, sizeof to->registers);
        to->known = lane == crashed;
        to->running = false;
        if (to->known) {
            to->registers = record->crash.registers;
        } else if (instance->vm) {
            to->known = read_parked(lane, &to->registers);
            to->running = !to->known && atomic_load(&lane->state) == AEE__LANE_RUNNING;
        }
        to->host_depth = atomic_load(&lane->host_depth);
        copy_calls(to, lane);
        copy_host_calls(to, lane);
    }
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* From the stack pointer up, in whatever area the component has put its stack. */
static void copy_stack(struct aee__crash_record *record, const struct aee__instance *instance)
{
    uint64_t rsp = record->crash.registers.rsp;
    struct aee__stack_view view;
    aee__stack_view_of(&instance->memory, rsp - RED_ZONE, &view);
    if (view.size == 0) { /* not so far below an area's start */
        aee__stack_view_of(&instance->memory, rsp, &view);
    }
    if (view.size == 0 && rsp - AEE_GVA_STACKS < AEE_GVA_LANES - AEE_GVA_STACKS) {
        /* An overflow has left it below the stack, in whose guard nothing is. */
        uint32_t lane = (uint32_t)((rsp - AEE_GVA_STACKS) / AEE_STACK_STRIDE);
        uint64_t start = aee__memory_stack_top(lane).value - instance->plan.stack_size;
        if (rsp < start) {
            aee__stack_view_of(&instance->memory, start, &view);
        }
    }
    record->stack_start = view.start;
    record->stack_size = (uint32_t)view.size;
    if (view.size > 0) {
        memcpy(record->stack, view.bytes, view.size);
    }
}

/* With the context's lock held, which comes before that of its records. */
static void copy_map(struct aee__crash_record *record, const struct aee__context *context,
                     const struct aee__instance *instance)
{
    record->area_count = instance->memory.area_count;
    memcpy(record->areas, instance->memory.areas, record->area_count * sizeof record->areas[0]);
    record->heap_size = instance->memory.heap_size;
    record->region_count = 0;
    for (uint32_t i = 0; i < context->mapping_count && i < AEE__RECORD_REGIONS; i++) {
        const struct aee__region *region = context->mappings[i].region;
        struct aee__record_region *to = &record->regions[record->region_count++];
        memcpy(to->name, region->name, sizeof to->name);
        to->gva = aee__region_gva(region).value;
        to->size = region->size;
        to->writable = context->mappings[i].writable;
    }
}

/* ---- The whole ---------------------------------------------------------------------------- */

static void fill(struct aee__crash_record *record, struct aee__instance *instance,
                 const struct aee__lane *lane, const aee_crash *crash)
{
    struct aee__context *context = instance->context;
    record->crash = *crash;
    record->crash.id = 0;
    record->instance = instance;
    record->time_ns = aee__now_ns();
    record->frame = atomic_load(&context->core->counters.frames);
    aee__crash_keep_image(&context->keep, record, instance->image);
    copy_lanes(record, instance, lane);
    copy_stack(record, instance);
    place_registers(record, instance, &crash->registers);
    record->log_size = aee__log_tail_copy(&context->keep.log, record->log);
}

void aee__capture(struct aee__context *context, struct aee__instance *instance,
                  struct aee__lane *lane, const aee_crash *crash)
{
    struct aee__crash_keep *keep = &context->keep;
    (void)pthread_mutex_lock(&keep->lock);
    struct aee__crash_record *record = keep->record;
    if (record) {
        fill(record, instance, lane, crash);
    }
    (void)pthread_mutex_unlock(&keep->lock);
    if (!record) {
        return;
    }
    (void)pthread_mutex_lock(&context->lock);
    (void)pthread_mutex_lock(&keep->lock);
    copy_map(record, context, instance);
    (void)pthread_mutex_unlock(&keep->lock);
    (void)pthread_mutex_unlock(&context->lock);
}

void aee__capture_number(struct aee__context *context, struct aee__instance *instance, uint64_t id)
{
    struct aee__crash_keep *keep = &context->keep;
    (void)pthread_mutex_lock(&keep->lock);
    struct aee__crash_record *record = keep->record;
    if (record && record->instance == instance && record->crash.id == 0) {
        record->crash.id = id;
        aee__crash_files_hold(context, instance);
    }
    (void)pthread_mutex_unlock(&keep->lock);
}
