#include "recovery/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/sys.h"
#include "isolation/guest_clock.h"
#include "isolation/lifecycle.h"
#include "isolation/quiesce.h"
#include "recovery/declared.h"

/* ---- Saving ------------------------------------------------------------------------------- */

static bool is_declared(const struct aee__context *context)
{
    return context->recovery.mode == AEE_CHECKPOINT_DECLARED;
}

static struct aee__snapshot_header make_header(const struct aee__instance *instance)
{
    const struct aee__core *core = instance->core;
    struct aee__snapshot_header header = {
        .magic = AEE__SNAPSHOT_MAGIC,
        .version = AEE__SNAPSHOT_VERSION,
        .header_size = sizeof header,
        .kind = AEE__SNAPSHOT_ALL_STATE,
        .abi_version = AEE_ABI_VERSION,
        .lanes = instance->plan.lanes,
        .features = core->ops->features(core->backend),
        .stack_size = instance->plan.stack_size,
        .heap_size = instance->memory.heap_size,
    };
    memcpy(header.image, instance->image->image->hash_of_file, sizeof header.image);
    return header;
}

static aee_result capture_all(struct aee__instance *instance, struct aee__snapshot_source *source,
                              aee_error *error)
{
    const struct aee__memory *memory = &instance->memory;
    struct aee__undo none = {0};
    aee_result result = aee__shadow_create(&source->copy, source->alloc, memory->file_size, error);
    if (result == AEE_OK) {
        result = aee__shadow_find_present(&source->copy, memory, error);
    }
    if (result == AEE_OK) {
        (void)aee__shadow_narrow(&source->copy, memory, false);
        result = aee__shadow_update(&source->copy, memory, &none, error);
        aee__undo_free(&none, source->alloc);
    }
    aee__checkpoint_read_controls(instance, source->lanes);
    source->layout = *memory;
    return result;
}

static aee_result capture_declared(struct aee__instance *instance,
                                   struct aee__snapshot_source *source,
                                   struct aee__declared *declared, aee_error *error)
{
    aee_result result = aee__declared_take(declared, source->alloc, instance, error);
    if (result == AEE_OK) {
        source->header.kind = AEE__SNAPSHOT_DECLARED;
        source->header.content_size = declared->size;
        source->declared = declared->bytes;
    }
    return result;
}

/* With the lanes of the instance: its state as of now. */
static aee_result capture(struct aee__instance *instance, struct aee__snapshot_source *source,
                          struct aee__declared *declared, aee_error *error)
{
    source->header = make_header(instance);
    aee_result result = is_declared(instance->context)
                            ? capture_declared(instance, source, declared, error)
                            : capture_all(instance, source, error);
    if (result == AEE_OK && aee__instance_ended(instance) != AEE_OK) {
        result = aee__fail(error, AEE_ERR_CRASHED, "the component crashed meanwhile");
    }
    source->header.range_count = instance->state.count;
    for (uint32_t i = 0; i < instance->state.count; i++) {
        const struct aee__state_range *range = &instance->state.ranges[i];
        source->ranges[i] = (struct aee__snapshot_range){range->gva.value, range->size};
    }
    return result;
}

static aee_result explain(const struct aee__context *context, const char *operation,
                          aee_result result, const aee_error *why, aee_error *error)
{
    if (result == AEE_OK) {
        return aee__ok(error);
    }
    (void)aee__fail(error, result, "cannot %s context \"%s\": %s", operation, context->name,
                    why->text);
    if (error) {
        error->os_errno = why->os_errno;
    }
    return result;
}

aee_result aee__snapshot_save(struct aee__context *context, const char *path, aee_error *error)
{
    static const char operation[] = "save a snapshot of";
    struct aee__snapshot_source source = {.alloc = &context->core->alloc};
    struct aee__declared declared = {0};
    struct aee__instance *instance;
    aee_error why;
    aee_result result = aee__quiesce_begin(context, operation, true, &instance, error);
    if (result != AEE_OK) {
        return result;
    }
    result = capture(instance, &source, &declared, &why);
    aee__quiesce_end(context, instance);
    if (result == AEE_OK) {
        aee__shadow_drop_zeroes(&source.copy);
        result = aee__snapshot_write(&source, path, &why);
    }
    aee__shadow_destroy(&source.copy);
    aee__declared_free(&declared, source.alloc);
    return explain(context, operation, result, &why, error);
}

/* ---- Reading ------------------------------------------------------------------------------ */

struct file {
    const struct aee__alloc *alloc;
    const char *path;
    int fd;
    uint8_t *bytes;
    size_t size;
};

static aee_result read_bytes(const struct file *file, uint8_t *to, size_t size, aee_error *error)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = aee__sys_pread(file->fd, to + done, size - done, (off_t)done);
        if (got < 0 && errno != EINTR) {
            return aee__fail_os(error, errno, "cannot read snapshot \"%s\"", file->path);
        }
        if (got == 0) {
            return aee__fail(error, AEE_ERR_BAD_SNAPSHOT,
                             "snapshot \"%s\" became shorter while it was read", file->path);
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return AEE_OK;
}

/* Not more of it than its header and the context allow. */
static aee_result read_file(struct file *file, uint64_t most, aee_error *error)
{
    struct aee__snapshot_header header;
    file->fd = aee__sys_open(file->path, O_RDONLY | O_NONBLOCK);
    int64_t size = file->fd >= 0 ? aee__sys_file_size(file->fd) : -1;
    if (size < 0) {
        return aee__fail_os(error, errno, "cannot open snapshot \"%s\"", file->path);
    }
    if ((uint64_t)size < sizeof header) {
        return aee__fail(error, AEE_ERR_BAD_SNAPSHOT, "\"%s\" is too short to be a snapshot",
                         file->path);
    }
    aee_result result = read_bytes(file, (uint8_t *)&header, sizeof header, error);
    if (result == AEE_OK) {
        result = aee__snapshot_check_header(&header, file->path, (uint64_t)size, most, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    file->bytes = aee__alloc_zero(file->alloc, 1, (size_t)size);
    if (!file->bytes) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot read snapshot \"%s\": out of memory",
                         file->path);
    }
    file->size = (size_t)size;
    return read_bytes(file, file->bytes, file->size, error);
}

static void free_file(struct file *file)
{
    aee__alloc_free(file->alloc, file->bytes, file->size);
    (void)aee__sys_close(file->fd);
}

/* ---- Does it fit? ------------------------------------------------------------------------- */

/* Where a snapshot is to go. */
struct target {
    struct aee__context *context;
    struct aee__memory_plan plan;
    struct aee__memory layout; /* areas only */
};

static aee_result check_machine(const struct aee__core *core, const struct aee__image *image,
                                const struct aee__snapshot *snapshot, aee_error *error)
{
    const struct aee__snapshot_header *header = &snapshot->header;
    if (memcmp(header->image, image->hash_of_file, sizeof header->image) != 0) {
        return aee__fail(error, AEE_ERR_STATE, "snapshot \"%s\" is of another image",
                         snapshot->name);
    }
    uint64_t missing = header->features & ~core->ops->features(core->backend);
    if (missing != 0) {
        return aee__fail(error, AEE_ERR_UNSUPPORTED,
                         "snapshot \"%s\" is of a component that saw a processor with %s, "
                         "which is missing here",
                         snapshot->name,
                         missing & AEE_FEATURE_AVX512 ? "AVX-512" : "more features");
    }
    return AEE_OK;
}

static aee_result check_sizes(const struct target *target, const struct aee__snapshot *snapshot,
                              aee_error *error)
{
    const struct aee__snapshot_header *header = &snapshot->header;
    if (header->lanes != target->plan.lanes) {
        return aee__fail(error, AEE_ERR_LIMIT, "snapshot \"%s\" is of %u lanes, the context has %u",
                         snapshot->name, header->lanes, target->plan.lanes);
    }
    if (header->stack_size > target->plan.stack_size) {
        return aee__fail(error, AEE_ERR_LIMIT,
                         "snapshot \"%s\" needs stacks of %llu bytes, the context has %llu",
                         snapshot->name, (unsigned long long)header->stack_size,
                         (unsigned long long)target->plan.stack_size);
    }
    if (header->heap_size > target->layout.heap_size) {
        return aee__fail(error, AEE_ERR_LIMIT,
                         "snapshot \"%s\" needs %llu bytes of heap, the context has %llu",
                         snapshot->name, (unsigned long long)header->heap_size,
                         (unsigned long long)target->layout.heap_size);
    }
    return AEE_OK;
}

/* Zeroes that the file left out, where a new instance has something else: what the image put there,
 * and the lanes' control and TLS blocks. */
static void keep_zeroes(const struct target *target, struct aee__shadow *copy)
{
    const struct aee__memory_plan *plan = &target->plan;
    for (uint32_t i = 0; i < target->layout.area_count; i++) {
        const struct aee__memory_area *area = &target->layout.areas[i];
        uint64_t size = area->gva.value == AEE_GVA_HEAP ? 0 : area->size;
        for (uint32_t k = 0; k < plan->segment_count; k++) {
            if (plan->segments[k].start.value == area->gva.value) {
                size = plan->segments[k].content_size;
            }
        }
        if (area->state && size > 0) {
            (void)aee__shadow_fill(copy, area->offset, size);
        }
    }
}

/* As the component would declare them, one by one. */
static aee_result read_ranges(const struct target *target, const struct aee__snapshot *snapshot,
                              struct aee__checkpoints *made, aee_error *error)
{
    struct aee__state_ranges *ranges = &aee__checkpoints_declared(made)->ranges;
    struct aee__memory memory = target->layout;
    bool fits;
    if (memory.chunk_count == 0) { /* addresses are found, not followed */
        memory.chunk_count = 1;
        memory.chunks[0].host = (uint8_t *)&memory;
    }
    aee__state_ranges_begin(ranges, target->context->image->image);
    uint32_t given = ranges->declared;
    fits = snapshot->header.range_count >= given &&
           (given == 0 || (snapshot->ranges[0].gva == ranges->ranges[0].gva.value &&
                           snapshot->ranges[0].size == ranges->ranges[0].size));
    for (uint32_t i = given; i < snapshot->header.range_count && fits; i++) {
        fits = aee__state_ranges_order(ranges, &memory, AEE_STATE_ORDER_ADD,
                                       (struct aee__gva){snapshot->ranges[i].gva},
                                       snapshot->ranges[i].size) == AEE_HOST_OK;
    }
    return fits ? AEE_OK
                : aee__fail(error, AEE_ERR_BAD_SNAPSHOT,
                            "snapshot \"%s\" is damaged: it declares state where there is none",
                            snapshot->name);
}

static aee_result read_all(const struct target *target, const struct aee__snapshot *snapshot,
                           struct aee__checkpoints *made, aee_error *error)
{
    struct aee__shadow *copy = aee__checkpoints_copy(made);
    keep_zeroes(target, copy);
    return aee__snapshot_unpack(snapshot, &target->layout, copy, error);
}

static aee_result read_declared(const struct aee__context *context,
                                const struct aee__snapshot *snapshot, struct aee__checkpoints *made,
                                aee_error *error)
{
    struct aee__declared *declared = aee__checkpoints_declared(made);
    uint64_t size = snapshot->header.content_size;
    declared->bytes = size > 0 ? aee__alloc_zero(&context->core->alloc, 1, size) : NULL;
    if (!declared->bytes) {
        return aee__fail(error, size > 0 ? AEE_ERR_NO_MEMORY : AEE_ERR_BAD_SNAPSHOT,
                         "no memory for %llu bytes of state", (unsigned long long)size);
    }
    declared->room = size;
    declared->size = size;
    return aee__snapshot_unpack_declared(snapshot, declared->bytes, error);
}

/* Checks all of it, and makes of it what a context keeps. Changes nothing. */
static aee_result make_checkpoints(const struct target *target,
                                   const struct aee__snapshot *snapshot,
                                   struct aee__checkpoints **out, aee_error *error)
{
    struct aee__context *context = target->context;
    *out = NULL;
    bool declared = snapshot->header.kind == AEE__SNAPSHOT_DECLARED;
    aee_result result = check_machine(context->core, context->image->image, snapshot, error);
    if (result == AEE_OK && declared != is_declared(context)) {
        result = aee__fail(error, AEE_ERR_STATE, "snapshot \"%s\" holds %s, the context keeps %s",
                           snapshot->name, declared ? "declared state only" : "all state",
                           declared ? "all state" : "declared state only");
    }
    if (result == AEE_OK && !declared) {
        result = check_sizes(target, snapshot, error);
    }
    if (result == AEE_OK) {
        result = aee__checkpoints_create(context, &target->layout, snapshot->lanes, out, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    result = read_ranges(target, snapshot, *out, error);
    if (result == AEE_OK) {
        result = declared ? read_declared(context, snapshot, *out, error)
                          : read_all(target, snapshot, *out, error);
    }
    if (result != AEE_OK) {
        aee__checkpoints_destroy(*out);
        *out = NULL;
    }
    return result;
}

/* ---- Loading ------------------------------------------------------------------------------ */

static void forgive(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    context->fruitless = 0;
    (void)pthread_mutex_unlock(&context->lock);
}

/* With the lanes of the current instance. */
static aee_result load_in_place(struct aee__context *context, struct aee__instance *instance,
                                const struct aee__snapshot *snapshot, aee_error *error)
{
    struct target target = {.context = context, .plan = instance->plan, .layout = instance->memory};
    struct aee__checkpoints *made;
    uint8_t seed[sizeof((struct aee_abi_info *)NULL)->seed];
    if (aee__guest_clock_seed(context, seed) != 0) {
        return aee__fail_os(error, errno, "cannot get random numbers");
    }
    aee_result result = make_checkpoints(&target, snapshot, &made, error);
    if (result != AEE_OK) {
        return result;
    }
    struct aee__checkpoints *before = aee__checkpoints_exchange(context, made);
    result = aee__checkpoint_begin(context, instance, true, error);
    if (result != AEE_OK) {
        before = aee__checkpoints_exchange(context, before);
    } else {
        struct aee_abi_info *info =
            aee__memory_at(&instance->memory, (struct aee__gva){AEE_GVA_INFO}, sizeof *info);
        memcpy(info->seed, seed, sizeof seed);
        forgive(context);
    }
    aee__checkpoints_destroy(before);
    return result;
}

/* In an operation: in a new instance. */
static aee_result load_anew(struct aee__context *context, const struct aee__snapshot *snapshot,
                            aee_error *error)
{
    struct target target = {.context = context};
    struct aee__checkpoints *made;
    if (!context->image) {
        return aee__fail(error, AEE_ERR_NOT_LOADED, "no image is loaded");
    }
    aee_limits limits;
    aee__context_get_limits(context, &limits);
    target.plan = aee__instance_plan(context->core->ops, context->image->image, &limits);
    aee_result result = aee__memory_lay_out(&target.layout, &target.plan, error);
    if (result == AEE_OK) {
        result = make_checkpoints(&target, snapshot, &made, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    struct aee__checkpoints *before = aee__checkpoints_exchange(context, made);
    result = aee__life_revive(context, "from a snapshot, on request", true, error);
    if (result != AEE_OK) {
        before = aee__checkpoints_exchange(context, before);
    }
    aee__checkpoints_destroy(before);
    return result;
}

static aee_result load(struct aee__context *context, const struct aee__snapshot *snapshot,
                       aee_error *error)
{
    static const char operation[] = "load a snapshot into";
    struct aee__instance *instance;
    aee_error why;
    aee_result result = aee__quiesce_begin(context, operation, true, &instance, error);
    if (result == AEE_OK) {
        result = load_in_place(context, instance, snapshot, &why);
        aee__quiesce_end(context, instance);
        return explain(context, operation, result, &why, error);
    }
    if (result != AEE_ERR_STOPPED && result != AEE_ERR_QUARANTINED &&
        result != AEE_ERR_RESTARTING && result != AEE_ERR_CRASHED && result != AEE_ERR_HUNG) {
        return result;
    }
    result = aee__life_begin(context, operation, error);
    if (result == AEE_OK) {
        result = load_anew(context, snapshot, &why);
        aee__life_end(context);
        result = explain(context, operation, result, &why, error);
    }
    return result;
}

/* More bytes of state than a context with its limits can have. */
static uint64_t most_state(struct aee__context *context)
{
    aee_limits limits;
    aee__context_get_limits(context, &limits);
    return limits.memory_bytes + (AEE_GVA_IMAGE_END - AEE_GVA_IMAGE) +
           AEE_MAX_LANES * AEE_STACK_STRIDE;
}

aee_result aee__snapshot_load(struct aee__context *context, const char *path, aee_error *error)
{
    struct file file = {.alloc = &context->core->alloc, .path = path, .fd = -1};
    struct aee__snapshot snapshot;
    uint64_t most = most_state(context);
    aee_result result = read_file(&file, most, error);
    if (result == AEE_OK) {
        result = aee__snapshot_parse(file.bytes, file.size, path, most, &snapshot, error);
    }
    if (result == AEE_OK) {
        result = load(context, &snapshot, error);
    }
    free_file(&file);
    return result;
}
