#include "ept/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/sys.h"

#define TABLE_POOL_PAGES 512u
#define TABLE_POOL_SIZE (TABLE_POOL_PAGES * AEE__PAGE_SIZE)

/* ---- Lanes' places in the stack area: guard, stack, guard, TLS block, guard --------------- */

static uint64_t lane_stack_base(uint32_t lane)
{
    return AEE_GVA_STACKS + lane * AEE_STACK_STRIDE;
}

struct aee__gva aee__memory_stack_top(uint32_t lane)
{
    return (struct aee__gva){lane_stack_base(lane) + AEE_STACK_GUARD + AEE_STACK_MAX};
}

static struct aee__gva tls_start(uint32_t lane)
{
    return (struct aee__gva){aee__memory_stack_top(lane).value + AEE_STACK_GUARD};
}

static uint64_t tls_align(const struct aee__memory_plan *plan)
{
    return plan->tls_align > 64 ? plan->tls_align : 64;
}

static uint64_t tls_pages_size(const struct aee__memory_plan *plan)
{
    uint64_t size = plan->tls_size + AEE__TCB_SIZE + 2 * tls_align(plan);
    return (size + AEE__PAGE_SIZE - 1) & ~(AEE__PAGE_SIZE - 1);
}

struct aee__gva aee__memory_tcb(uint32_t lane, const struct aee__memory_plan *plan)
{
    uint64_t end = tls_start(lane).value + tls_pages_size(plan);
    return (struct aee__gva){aee__round_down(end - AEE__TCB_SIZE, tls_align(plan))};
}

struct aee__gva aee__memory_tls(uint32_t lane, const struct aee__memory_plan *plan)
{
    uint64_t below = aee__memory_tcb(lane, plan).value - plan->tls_size;
    return (struct aee__gva){aee__round_down(below, plan->tls_align ? plan->tls_align : 1)};
}

_Static_assert(AEE_STACK_MAX + AEE_TLS_MAX + 16384 + 3 * AEE_STACK_GUARD <= AEE_STACK_STRIDE,
               "stack, TLS block and guards fit a lane's stride");

/* ---- Layout ------------------------------------------------------------------------------- */

/* Appends an area at the end of the file. */
static void add_area(struct aee__memory *memory, struct aee__gva gva, uint64_t size)
{
    memory->areas[memory->area_count++] =
        (struct aee__memory_area){.gva = gva, .size = size, .offset = memory->file_size};
    memory->file_size += size;
}

static aee_result check_plan(const struct aee__memory_plan *plan, aee_error *error)
{
    bool sound = plan->lanes >= 1 && plan->lanes <= AEE_MAX_LANES && plan->stack_size > 0 &&
                 plan->stack_size <= AEE_STACK_MAX && plan->stack_size % AEE__PAGE_SIZE == 0 &&
                 plan->tls_size <= AEE_TLS_MAX && plan->tls_align <= AEE__PAGE_SIZE &&
                 plan->heap_size <= AEE_HEAP_MAX && plan->heap_size % AEE__LARGE_PAGE_SIZE == 0 &&
                 plan->segment_count <= AEE__MEMORY_MAX_SEGMENTS;
    for (uint32_t i = 0; sound && i < plan->segment_count; i++) {
        const struct aee__memory_segment *segment = &plan->segments[i];
        sound =
            aee__within(segment->start.value, segment->size, AEE_GVA_IMAGE, AEE_GVA_IMAGE_END) &&
            ((segment->start.value | segment->size) & (AEE__PAGE_SIZE - 1)) == 0;
    }
    return sound ? AEE_OK
                 : aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                             "cannot lay out guest memory: bad plan");
}

/* Lays the areas out; their order in the file is the order of areas[]: system, info, vDSO, lanes,
 * stacks and TLS, segments, and the heap last, so that it can grow. */
static void lay_out(struct aee__memory *memory, const struct aee__memory_plan *plan)
{
    memory->file_size = TABLE_POOL_SIZE;
    add_area(memory, (struct aee__gva){AEE_GVA_SYSTEM}, AEE__SYSTEM_PAGES * AEE__PAGE_SIZE);
    add_area(memory, (struct aee__gva){AEE_GVA_INFO}, AEE__PAGE_SIZE);
    add_area(memory, (struct aee__gva){AEE_GVA_VDSO}, AEE__VDSO_PAGES * AEE__PAGE_SIZE);
    add_area(memory, (struct aee__gva){AEE_GVA_LANES}, plan->lanes * AEE_LANE_STRIDE);
    for (uint32_t lane = 0; lane < plan->lanes; lane++) {
        uint64_t top = aee__memory_stack_top(lane).value;
        add_area(memory, (struct aee__gva){top - plan->stack_size}, plan->stack_size);
        add_area(memory, tls_start(lane), tls_pages_size(plan));
    }
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        add_area(memory, plan->segments[i].start, plan->segments[i].size);
    }
    memory->file_size =
        (memory->file_size + AEE__LARGE_PAGE_SIZE - 1) & ~(AEE__LARGE_PAGE_SIZE - 1);
    add_area(memory, (struct aee__gva){AEE_GVA_HEAP}, plan->heap_size);
    memory->heap_size = plan->heap_size;
}

static uint32_t area_rights(const struct aee__memory_plan *plan, uint32_t area)
{
    uint32_t fixed = 4 + 2 * plan->lanes;
    switch (area) {
    case 1:
        return AEE__PT_USER;
    case 2:
        return AEE__PT_USER | AEE__PT_EXECUTE;
    default:
        break;
    }
    if (area >= fixed && area < fixed + plan->segment_count) {
        return AEE__PT_USER | plan->segments[area - fixed].rights;
    }
    return AEE__PT_USER | AEE__PT_WRITE;
}

static aee_result map_part(struct aee__memory *memory, const struct aee__memory_area *area,
                           uint64_t start, uint64_t size, uint32_t rights, aee_error *error)
{
    return aee__pagetable_map(&memory->table, (struct aee__gva){area->gva.value + start},
                              (struct aee__gpa){AEE__GPA_PRIVATE + area->offset + start}, size,
                              rights, error);
}

/* Invisible to CPL3, and even CPL0 writes only to the exception stacks. Accessed and busy bits in
 * the descriptor tables are set from the start, so that the processor does not write them. */
static aee_result map_system(struct aee__memory *memory, aee_error *error)
{
    static const struct {
        uint32_t pages;
        uint32_t rights;
    } parts[] = {{AEE__SYSTEM_TABLE_PAGES, 0},
                 {AEE__SYSTEM_CODE_PAGES, AEE__PT_EXECUTE},
                 {AEE__SYSTEM_STACK_PAGES, AEE__PT_WRITE}};
    uint64_t start = 0;
    aee_result result = AEE_OK;
    for (unsigned i = 0; i < 3 && result == AEE_OK; i++) {
        uint64_t size = parts[i].pages * AEE__PAGE_SIZE;
        result = map_part(memory, &memory->areas[0], start, size, parts[i].rights, error);
        start += size;
    }
    return result;
}

static aee_result map_areas(struct aee__memory *memory, const struct aee__memory_plan *plan,
                            aee_error *error)
{
    aee_result result = map_system(memory, error);
    for (uint32_t i = 1; i < memory->area_count && result == AEE_OK; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        bool heap = i == memory->area_count - 1;
        uint32_t rights = area_rights(plan, i) | (heap ? (uint32_t)AEE__PT_LARGE : 0);
        result = map_part(memory, area, 0, area->size, rights, error);
    }
    return result;
}

/* ---- Host side ---------------------------------------------------------------------------- */

/* Maps [offset, offset + size) of the file as the next chunk. A child of fork() does not get it:
 * two processes must not share a running machine's memory. */
static aee_result map_chunk(struct aee__memory *memory, uint64_t offset, uint64_t size,
                            aee_error *error)
{
    void *host = aee__sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                               memory->fd, (off_t)offset);
    if (host == MAP_FAILED) {
        return aee__fail_os(error, errno, "cannot map %llu bytes of guest memory",
                            (unsigned long long)size);
    }
    (void)aee__sys_madvise(host, size, MADV_DONTFORK);
    (void)aee__sys_madvise(host, size, MADV_DONTDUMP);
    memory->chunks[memory->chunk_count++] =
        (struct aee__memory_chunk){.gpa = {AEE__GPA_PRIVATE + offset}, .host = host, .size = size};
    return AEE_OK;
}

aee_result aee__memory_create(struct aee__memory *memory, const struct aee__memory_plan *plan,
                              aee_error *error)
{
    memset(memory, 0, sizeof *memory);
    memory->fd = -1;
    aee_result result = check_plan(plan, error);
    if (result != AEE_OK) {
        return result;
    }
    lay_out(memory, plan);
    memory->fd = aee__sys_memfd("aee-context", memory->file_size);
    if (memory->fd < 0) {
        result = aee__fail_os(error, errno, "cannot create a memory file of %llu bytes",
                              (unsigned long long)memory->file_size);
        goto fail;
    }
    memory->file_capacity = memory->file_size;
    result = map_chunk(memory, 0, memory->file_size, error);
    if (result != AEE_OK) {
        goto fail;
    }
    aee__pagetable_init(&memory->table, memory->chunks[0].host, (struct aee__gpa){AEE__GPA_PRIVATE},
                        TABLE_POOL_PAGES);
    result = map_areas(memory, plan, error);
    if (result == AEE_OK) {
        return AEE_OK;
    }
fail:
    aee__memory_destroy(memory);
    return result;
}

void aee__memory_destroy(struct aee__memory *memory)
{
    for (uint32_t i = 0; i < memory->chunk_count; i++) {
        (void)aee__sys_munmap(memory->chunks[i].host, memory->chunks[i].size);
    }
    if (memory->fd >= 0) {
        (void)aee__sys_close(memory->fd);
    }
    memset(memory, 0, sizeof *memory);
    memory->fd = -1;
}

void *aee__memory_at(const struct aee__memory *memory, struct aee__gva gva, uint64_t size)
{
    for (uint32_t i = 0; i < memory->area_count; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        if (aee__within(gva.value, size, area->gva.value, area->gva.value + area->size)) {
            return memory->chunks[0].host + area->offset + (gva.value - area->gva.value);
        }
    }
    return NULL;
}

/* ---- Growth ------------------------------------------------------------------------------- */

aee_result aee__memory_grow_heap(struct aee__memory *memory, uint64_t heap_size, aee_error *error)
{
    if (heap_size <= memory->heap_size || heap_size > AEE_HEAP_MAX ||
        heap_size % AEE__LARGE_PAGE_SIZE != 0) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot grow the heap to %llu bytes",
                         (unsigned long long)heap_size);
    }
    if (memory->chunk_count == AEE__MEMORY_MAX_CHUNKS) {
        return aee__fail(error, AEE_ERR_LIMIT,
                         "cannot grow the heap more than %u times between restarts",
                         AEE__MEMORY_MAX_CHUNKS - 1);
    }
    uint64_t added = heap_size - memory->heap_size;
    uint64_t file_size = memory->file_size + added;
    if (file_size > memory->file_capacity) { /* else a growth was taken back */
        if (aee__sys_resize_memfd(memory->fd, file_size) != 0) {
            return aee__fail_os(error, errno, "cannot grow the heap to %llu bytes",
                                (unsigned long long)heap_size);
        }
        memory->file_capacity = file_size;
    }
    aee_result result = map_chunk(memory, memory->file_size, added, error);
    if (result == AEE_OK) {
        memory->file_size += added;
        memory->heap_size = heap_size;
    }
    return result;
}

aee_result aee__memory_publish_heap(struct aee__memory *memory, aee_error *error)
{
    const struct aee__memory_chunk *chunk = &memory->chunks[memory->chunk_count - 1];
    struct aee__gva gva = {AEE_GVA_HEAP + memory->heap_size - chunk->size};
    return aee__pagetable_map(&memory->table, gva, chunk->gpa, chunk->size,
                              AEE__PT_USER | AEE__PT_WRITE | AEE__PT_LARGE, error);
}

void aee__memory_ungrow_heap(struct aee__memory *memory)
{
    struct aee__memory_chunk *chunk = &memory->chunks[--memory->chunk_count];
    memory->file_size -= chunk->size;
    memory->heap_size -= chunk->size;
    (void)aee__sys_munmap(chunk->host, chunk->size);
}

uint64_t aee__memory_resident(const struct aee__memory *memory)
{
    return memory->fd >= 0 ? aee__sys_file_resident(memory->fd) : 0;
}
