#include "isolation/instance.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/sys.h"
#include "isolation/context.h"
#include "isolation/machine.h"
#include "isolation/shells.h"

/* ---- Filling memory ----------------------------------------------------------------------- */

struct aee__memory_plan aee__instance_plan(const struct aee__backend_ops *ops,
                                           const struct aee__image *image, const aee_limits *limits)
{
    struct aee__memory_plan plan = {.without_tables = ops->vm_map != NULL,
                                    .lanes = limits->lanes,
                                    .stack_size = limits->stack_bytes,
                                    .tls_size = image->tls_memory_size,
                                    .tls_align = image->tls_align ? image->tls_align : 1,
                                    .heap_size = limits->memory_bytes,
                                    .ready_size = limits->ready_bytes,
                                    .huge_pages = limits->huge_pages != 0,
                                    .segment_count = image->segment_count};
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct aee__segment *segment = &image->segments[i];
        plan.segments[i] = (struct aee__memory_segment){
            .start = {segment->start},
            .size = segment->size,
            .content_size = segment->data_start + segment->data_size - segment->start,
            .rights = (segment->rights & AEE__SEG_WRITE ? (uint32_t)AEE__PT_WRITE : 0) |
                      (segment->rights & AEE__SEG_EXECUTE ? (uint32_t)AEE__PT_EXECUTE : 0)};
    }
    return plan;
}

static void copy_image(struct aee__memory *memory, const struct aee__image *image)
{
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct aee__segment *segment = &image->segments[i];
        void *to =
            aee__memory_at(memory, (struct aee__gva){segment->data_start}, segment->data_size);
        if (to && segment->data_size > 0) {
            memcpy(to, image->data + segment->data_offset, segment->data_size);
        }
    }
}

static void write_vdso(const struct aee__backend_ops *ops, struct aee__memory *memory)
{
    size_t size = (size_t)(ops->vdso_end - ops->vdso);
    memcpy(aee__memory_at(memory, (struct aee__gva){AEE_GVA_VDSO}, size), ops->vdso, size);
}

static aee_result write_info(struct aee__instance *instance, aee_error *error)
{
    struct aee_abi_vdso vdso;
    memcpy(&vdso, instance->core->ops->vdso, sizeof vdso);
    struct aee_abi_info *info =
        aee__memory_at(&instance->memory, (struct aee__gva){AEE_GVA_INFO}, sizeof *info);
    *info =
        (struct aee_abi_info){.magic = AEE_ABI_MAGIC,
                              .abi_version = AEE_ABI_VERSION,
                              .features = instance->core->ops->features(instance->core->backend),
                              .context_id = instance->context->handle,
                              .lane_count = instance->plan.lanes,
                              .heap_base = AEE_GVA_HEAP,
                              .heap_size = instance->plan.heap_size,
                              .stack_size = instance->plan.stack_size,
                              .vdso_host_call = vdso.host_call,
                              .vdso_abort = vdso.abort};
    if (aee__guest_clock_seed(instance->context, info->seed) != 0) {
        return aee__fail_os(error, errno, "cannot get random numbers for context \"%s\"",
                            instance->context->name);
    }
    return AEE_OK;
}

/* TLS block and thread control block of one lane; the latter begins with its own address. */
static void write_tls(struct aee__instance *instance, uint32_t lane)
{
    const struct aee__image *image = instance->image->image;
    struct aee__gva tcb = aee__memory_tcb(lane, &instance->plan);
    memcpy(aee__memory_at(&instance->memory, tcb, AEE__TCB_SIZE), &tcb.value, sizeof tcb.value);
    if (image->tls_file_size > 0) {
        void *from = aee__memory_at(&instance->memory, (struct aee__gva){image->tls_data},
                                    image->tls_file_size);
        void *to = aee__memory_at(&instance->memory, aee__memory_tls(lane, &instance->plan),
                                  image->tls_file_size);
        if (from && to) {
            memcpy(to, from, image->tls_file_size);
        }
    }
}

/* ---- Creation ----------------------------------------------------------------------------- */

static aee_result add_slot(void *vm, struct aee__gpa gpa, void *host, uint64_t size,
                           aee_error *error)
{
    struct aee__instance *instance = vm;
    return instance->core->ops->vm_add_memory(instance->vm, gpa, host, size, error);
}

static aee_result show_region(void *vm, struct aee__gva gva, int fd, uint64_t size,
                              uint32_t writable, aee_error *error)
{
    const struct aee__instance *instance = vm;
    const struct aee__file_map mapping = {
        .gva = gva, .size = size, .rights = writable ? (uint32_t)AEE__PT_WRITE : 0};
    return instance->core->ops->vm_map(instance->vm, fd, &mapping, 1, error);
}

static aee_result hide_region(void *vm, struct aee__gva gva, uint64_t size, aee_error *error)
{
    const struct aee__instance *instance = vm;
    return instance->core->ops->vm_unmap(instance->vm, gva, size, error);
}

const struct aee__window_ops *aee__instance_window_ops(const struct aee__core *core)
{
    static const struct aee__window_ops by_tables = {.add_slot = add_slot};
    static const struct aee__window_ops by_mapping = {.show = show_region, .hide = hide_region};
    return core->ops->vm_map ? &by_mapping : &by_tables;
}

static void begin_lanes(struct aee__instance *instance)
{
    for (uint32_t lane = 0; lane < instance->plan.lanes; lane++) {
        aee__lane_init(&instance->lanes[lane], instance, lane);
        atomic_store(&instance->lane_count, lane + 1);
    }
}

static aee_result make_memory(struct aee__instance *instance, struct aee__frozen *frozen,
                              aee_error *error)
{
    aee_result result = frozen ? aee__frozen_thaw(frozen, &instance->memory, error)
                               : aee__memory_create(&instance->memory, &instance->plan, error);
    if (result == AEE_OK && !frozen) {
        copy_image(&instance->memory, instance->image->image);
        write_vdso(instance->core->ops, &instance->memory);
        for (uint32_t lane = 0; lane < instance->plan.lanes; lane++) {
            write_tls(instance, lane);
        }
    }
    return result == AEE_OK ? write_info(instance, error) : result;
}

static aee_result fill(struct aee__instance *instance, struct aee__frozen *frozen, aee_error *error)
{
    struct aee__core *core = instance->core;
    aee_result result = make_memory(instance, frozen, error);
    if (result == AEE_OK) {
        result = aee__machine_make(core, &instance->memory, &instance->plan, &instance->vm, error);
    }
    if (result == AEE_OK) {
        begin_lanes(instance);
        result = aee__machine_seal(core, instance->vm, instance, error);
    }
    return result;
}

/* The same with a spare fork's memory and machine. */
static aee_result fill_with(struct aee__instance *instance, struct aee__spare_fork *spare,
                            aee_error *error)
{
    aee__spare_fork_move(spare, &instance->vm, &instance->memory);
    aee_result result = write_info(instance, error);
    if (result != AEE_OK) {
        return result;
    }
    begin_lanes(instance);
    for (uint32_t lane = 0; lane < instance->plan.lanes; lane++) {
        instance->lanes[lane].parked = spare->parked;
    }
    return aee__machine_adopt(instance->core, instance->vm, instance)
               ? AEE_OK
               : aee__fail(error, AEE_ERR_SYSTEM, "cannot start context \"%s\": its machine ended",
                           instance->context->name);
}

void aee__instance_strip(struct aee__instance *instance)
{
    struct aee__core *core = instance->core;
    uint32_t lanes = instance->bereft ? 0 : atomic_load(&instance->lane_count);
    for (uint32_t lane = 0; lane < lanes; lane++) {
        aee__lane_destroy(&instance->lanes[lane]);
    }
    core->ops->vm_destroy(instance->bereft ? NULL : instance->vm);
    instance->vm = NULL;
    aee__window_destroy(&instance->window);
    aee__memory_destroy(&instance->memory);
    aee__image_ref_release(instance->image);
    instance->image = NULL;
}

void aee__instance_bury(struct aee__job *job)
{
    struct aee__instance *instance =
        (struct aee__instance *)((char *)job - offsetof(struct aee__instance, free_job));
    if (!instance
             ->bereft) { /* with the lanes' watches goes the nudge that a quiet restart waits for */
        aee__housekeeper_nudge(&instance->core->restarter);
    }
    aee__shells_bury(instance->context, instance);
}

aee_result aee__instance_create(struct aee__core *core, struct aee__context *context,
                                struct aee__image_ref *image, const aee_limits *limits,
                                struct aee__start *start, struct aee__instance **out,
                                aee_error *error)
{
    struct aee__frozen *frozen = start ? start->frozen : NULL;
    *out = NULL;
    struct aee__instance *instance =
        aee__shells_take(context, frozen ? frozen->plan.lanes : limits->lanes);
    if (!instance) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot start context \"%s\": out of memory",
                         context->name);
    }
    instance->core = core;
    instance->image = aee__image_ref_take(image);
    instance->machine = atomic_fetch_add(&core->machines, 1) + 1;
    instance->plan = frozen ? frozen->plan : aee__instance_plan(core->ops, image->image, limits);
    aee__state_ranges_begin(&instance->state, image->image);
    instance->free_job.run = aee__instance_bury;
    atomic_store(&instance->references, 1);
    aee__window_init(&instance->window, &core->alloc, &instance->memory.table,
                     aee__instance_window_ops(core), instance);
    aee_result result = start && start->spare ? fill_with(instance, start->spare, error)
                                              : fill(instance, frozen, error);
    if (result != AEE_OK) {
        aee__instance_stop(instance);
        aee__instance_open(instance);
        aee__instance_release(instance);
        return result;
    }
    *out = instance;
    return AEE_OK;
}

uint64_t aee__instance_age(const struct aee__instance *instance)
{
    uint64_t age = instance->restores;
    for (uint32_t i = 0; i < atomic_load(&instance->lane_count); i++) {
        age += atomic_load(&instance->lanes[i].ring.submitted);
    }
    return age;
}

void aee__instance_open(struct aee__instance *instance)
{
    for (uint32_t i = 0; i < instance->lane_capacity;
         i++) { /* the object may have more than we use */
        aee__lane_give(&instance->lanes[i]);
    }
}

bool aee__instance_is_owned(const struct aee__instance *instance)
{
    for (uint32_t i = 0; i < instance->lane_capacity; i++) {
        if (atomic_load(&instance->lanes[i].owned)) {
            return true;
        }
    }
    return false;
}

bool aee__instance_take(struct aee__instance *instance)
{
    uint32_t references = atomic_load_explicit(&instance->references, memory_order_relaxed);
    do {
        if (references == 0) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&instance->references, &references, references + 1));
    return true;
}

static bool was_last(struct aee__instance *instance)
{
    return instance &&
           atomic_fetch_sub_explicit(&instance->references, 1, memory_order_acq_rel) == 1;
}

void aee__instance_release(struct aee__instance *instance)
{
    if (was_last(instance)) {
        (void)aee__housekeeper_post(&instance->core->housekeeper, &instance->free_job);
    }
}

void aee__instance_release_quietly(struct aee__instance *instance)
{
    if (was_last(instance)) {
        (void)aee__housekeeper_post_quietly(&instance->core->housekeeper, &instance->free_job);
    }
}

/* ---- The end ------------------------------------------------------------------------------ */

bool aee__instance_claim_end(struct aee__instance *instance)
{
    uint32_t expected = AEE__END_NOT;
    return atomic_compare_exchange_strong(&instance->end, &expected, AEE__END_CLAIMED);
}

void aee__instance_conclude(struct aee__instance *instance, enum aee__end end)
{
    if (instance->core->ops->vm_stop && instance->vm && !instance->kept) {
        instance->core->ops->vm_stop(instance->vm);
    }
    atomic_store(&instance->end, end);
    aee__sys_futex_wake_all(&instance->end);
    if (atomic_load(&instance->debugged)) {
        instance->core->debug->ended(instance);
    }
    uint32_t lanes = atomic_load(&instance->lane_count);
    for (uint32_t lane = 0; lane < lanes; lane++) {
        aee__lane_interrupt(&instance->lanes[lane]);
        aee__lane_attend(&instance->lanes[lane],
                         false); /* calls in a lane that nobody runs end, too */
    }
    aee__context_lane_freed(instance->context); /* who waits for a lane learns of it */
    atomic_store(&instance->concluded, true);   /* pairs with aee__instance_succeed() */
}

void aee__instance_stop(struct aee__instance *instance)
{
    if (aee__instance_claim_end(instance)) {
        aee__instance_conclude(instance, AEE__END_STOPPED);
    }
}

aee_result aee__instance_end_result(uint32_t end)
{
    switch (end) {
    case AEE__END_NOT:
        return AEE_OK;
    case AEE__END_HUNG:
        return AEE_ERR_HUNG;
    case AEE__END_STOPPED:
        return AEE_ERR_STOPPED;
    default:
        return AEE_ERR_CRASHED;
    }
}

aee_result aee__instance_await_end(struct aee__instance *instance)
{
    while (atomic_load(&instance->end) == AEE__END_CLAIMED) {
        aee__sys_futex_wait(&instance->end, AEE__END_CLAIMED, 0);
    }
    return aee__instance_ended(instance);
}

static aee_result show_growth(struct aee__instance *instance, aee_error *error)
{
    const struct aee__memory *memory = &instance->memory;
    const struct aee__memory_chunk *chunk = &memory->chunks[memory->chunk_count - 1];
    if (!instance->plan.without_tables) {
        return add_slot(instance, chunk->gpa, chunk->host, chunk->size, error);
    }
    const struct aee__file_map mapping = {.gva = {AEE_GVA_HEAP + memory->heap_size - chunk->size},
                                          .offset = chunk->gpa.value - AEE__GPA_PRIVATE,
                                          .size = chunk->size,
                                          .rights = AEE__PT_WRITE};
    return instance->core->ops->vm_map(instance->vm, memory->fd, &mapping, 1, error);
}

aee_result aee__instance_grow_heap(struct aee__instance *instance, uint64_t heap_size,
                                   aee_error *error)
{
    aee_result result = aee__memory_grow_heap(&instance->memory, heap_size, error);
    if (result != AEE_OK) {
        return result;
    }
    result = show_growth(instance, error);
    if (result != AEE_OK) {
        aee__memory_ungrow_heap(&instance->memory);
        return result;
    }
    if (!instance->plan.without_tables) {
        result = aee__memory_publish_heap(&instance->memory, error);
    }
    if (result == AEE_OK) {
        struct aee_abi_info *info =
            aee__memory_at(&instance->memory, (struct aee__gva){AEE_GVA_INFO}, sizeof *info);
        /* Pairs with the component's load before it uses the new part. */
        __atomic_store_n(&info->heap_size, heap_size, __ATOMIC_RELEASE);
    }
    return result;
}
