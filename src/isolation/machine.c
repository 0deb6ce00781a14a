#include "isolation/machine.h"

#include <string.h>

#include "base/checked.h"
#include "isolation/fault.h"
#include "isolation/instance.h"

struct aee__lane_start aee__machine_lane_start(const struct aee__core *core,
                                               const struct aee__memory *memory,
                                               const struct aee__memory_plan *plan, uint32_t lane)
{
    struct aee_abi_vdso vdso;
    memcpy(&vdso, core->ops->vdso, sizeof vdso);
    return (struct aee__lane_start){.rip = {vdso.lane_entry},
                                    .rsp = aee__memory_stack_top(lane),
                                    .fs_base = aee__memory_tcb(lane, plan),
                                    .gs_base = {AEE_GVA_LANES + lane * AEE_LANE_STRIDE},
                                    .syscall = {vdso.syscall},
                                    .root = memory->table.base};
}

/* ---- Memory ------------------------------------------------------------------------------- */

static aee_result map_files(const struct aee__core *core, struct aee__vm *vm,
                            const struct aee__memory *memory, const struct aee__memory_plan *plan,
                            aee_error *error)
{
    struct aee__file_map list[AEE__MEMORY_MAX_AREAS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < memory->area_count; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        if ((area->rights & AEE__PT_USER) && area->size > 0) {
            list[count++] = (struct aee__file_map){
                .gva = area->gva,
                .offset = area->offset,
                .size = area->size,
                .ready = area->gva.value == AEE_GVA_HEAP ? plan->ready_size : 0,
                .rights = area->rights};
        }
    }
    return core->ops->vm_map(vm, memory->fd, list, count, error);
}

/* With page tables: they lie in the memory, too. A fork's system area is there already. */
static aee_result add_slot(const struct aee__core *core, struct aee__vm *vm,
                           const struct aee__memory *memory, const struct aee__memory_plan *plan,
                           aee_error *error)
{
    const struct aee__memory_chunk *chunk = &memory->chunks[0];
    aee_result result = core->ops->vm_add_memory(vm, chunk->gpa, chunk->host, chunk->size, error);
    if (result != AEE_OK) {
        return result;
    }
    uint64_t size = AEE__SYSTEM_PAGES * AEE__PAGE_SIZE;
    core->ops->vm_set_system(vm, aee__memory_at(memory, (struct aee__gva){AEE_GVA_SYSTEM}, size),
                             size, memory->frozen ? 0 : plan->lanes);
    return AEE_OK;
}

aee_result aee__machine_make(struct aee__core *core, const struct aee__memory *memory,
                             const struct aee__memory_plan *plan, struct aee__vm **out,
                             aee_error *error)
{
    aee_result result = aee__pool_take(&core->pool, out, error);
    if (result == AEE_OK) {
        result = core->ops->vm_map ? map_files(core, *out, memory, plan, error)
                                   : add_slot(core, *out, memory, plan, error);
    }
    for (uint32_t lane = 0; lane < plan->lanes && result == AEE_OK; lane++) {
        struct aee__lane_start start = aee__machine_lane_start(core, memory, plan, lane);
        result = core->ops->lane_start(*out, lane, &start, error);
    }
    return result;
}

/* ---- Ends --------------------------------------------------------------------------------- */

static void note_end(void *owner, aee_crash_cause cause, const char *how)
{
    if (owner) {
        aee__instance_fail(owner, cause, how);
    }
}

aee_result aee__machine_seal(struct aee__core *core, struct aee__vm *vm,
                             struct aee__instance *owner, aee_error *error)
{
    return core->ops->vm_seal ? core->ops->vm_seal(vm, note_end, owner, error) : AEE_OK;
}

/* In this order: an end is told to the owner, or seen here, or both. */
bool aee__machine_adopt(struct aee__core *core, struct aee__vm *vm, struct aee__instance *owner)
{
    if (core->ops->vm_adopt) {
        core->ops->vm_adopt(vm, owner);
    }
    return !core->ops->vm_has_ended || !core->ops->vm_has_ended(vm);
}
