#include "ept/memory.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/sys.h"
#include "ept/frozen.h"

#define TABLE_POOL_PAGES 512u
#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

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

/* Where the areas are in areas[], and so in the file: what is used from the first call on lies
 * close together, also to need few of the host's own page tables; the pool of the guest's tables
 * comes behind it. The heap is last, so that it can grow. */
static uint32_t first_segment(const struct aee__memory_plan *plan)
{
    return 2 * plan->lanes;
}

static uint32_t first_fixed(const struct aee__memory_plan *plan)
{
    return first_segment(plan) + plan->segment_count;
}

enum { FIXED_INFO, FIXED_SYSTEM, FIXED_VDSO, FIXED_LANES };

static uint32_t find_rights(const struct aee__memory_plan *plan, uint32_t area)
{
    uint32_t segment = area - first_segment(plan);
    uint32_t fixed = area - first_fixed(plan);
    if (area >= first_segment(plan) && segment < plan->segment_count) {
        return AEE__PT_USER | plan->segments[segment].rights;
    }
    if (area >= first_fixed(plan) && fixed == FIXED_SYSTEM) {
        return 0; /* of parts that differ: map_system() */
    }
    if (area >= first_fixed(plan) && fixed == FIXED_INFO) {
        return AEE__PT_USER;
    }
    if (area >= first_fixed(plan) && fixed == FIXED_VDSO) {
        return AEE__PT_USER | AEE__PT_EXECUTE;
    }
    return AEE__PT_USER | AEE__PT_WRITE;
}

static void lay_out(struct aee__memory *memory, const struct aee__memory_plan *plan,
                    uint64_t *tables)
{
    memory->file_size = 0;
    for (uint32_t lane = 0; lane < plan->lanes; lane++) {
        uint64_t top = aee__memory_stack_top(lane).value;
        add_area(memory, (struct aee__gva){top - plan->stack_size}, plan->stack_size);
        add_area(memory, tls_start(lane), tls_pages_size(plan));
    }
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        add_area(memory, plan->segments[i].start, plan->segments[i].size);
    }
    add_area(memory, (struct aee__gva){AEE_GVA_INFO}, AEE__PAGE_SIZE);
    add_area(memory, (struct aee__gva){AEE_GVA_SYSTEM}, AEE__SYSTEM_PAGES * AEE__PAGE_SIZE);
    add_area(memory, (struct aee__gva){AEE_GVA_VDSO}, AEE__VDSO_PAGES * AEE__PAGE_SIZE);
    add_area(memory, (struct aee__gva){AEE_GVA_LANES}, plan->lanes * AEE_LANE_STRIDE);
    *tables = memory->file_size; /* in no area: no guest address leads there */
    memory->file_size += TABLE_POOL_SIZE;
    memory->file_size =
        (memory->file_size + AEE__LARGE_PAGE_SIZE - 1) & ~(AEE__LARGE_PAGE_SIZE - 1);
    add_area(memory, (struct aee__gva){AEE_GVA_HEAP}, plan->heap_size);
    memory->heap_size = plan->heap_size;
    for (uint32_t i = 0; i < memory->area_count; i++) {
        struct aee__memory_area *area = &memory->areas[i];
        bool stack = i < first_segment(plan) && i % 2 == 0;
        area->rights = find_rights(plan, i);
        area->state = (area->rights & AEE__PT_WRITE) && !stack && area->gva.value != AEE_GVA_LANES;
    }
}

static aee_result begin(struct aee__memory *memory, const struct aee__memory_plan *plan,
                        uint64_t *tables, aee_error *error)
{
    memset(memory, 0, sizeof *memory);
    memory->fd = -1;
    aee_result result = check_plan(plan, error);
    if (result == AEE_OK) {
        lay_out(memory, plan, tables);
    }
    return result;
}

aee_result aee__memory_lay_out(struct aee__memory *memory, const struct aee__memory_plan *plan,
                               aee_error *error)
{
    uint64_t tables;
    return begin(memory, plan, &tables, error);
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
static aee_result map_system(struct aee__memory *memory, const struct aee__memory_area *area,
                             aee_error *error)
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
        result = map_part(memory, area, start, size, parts[i].rights, error);
        start += size;
    }
    return result;
}

static aee_result map_areas(struct aee__memory *memory, const struct aee__memory_plan *plan,
                            aee_error *error)
{
    uint32_t system = first_fixed(plan) + FIXED_SYSTEM;
    aee_result result = map_system(memory, &memory->areas[system], error);
    for (uint32_t i = 0; i < memory->area_count && result == AEE_OK; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        bool heap = i == memory->area_count - 1;
        uint32_t rights = area->rights | (heap ? (uint32_t)AEE__PT_LARGE : 0);
        if (i != system) {
            result = map_part(memory, area, 0, area->size, rights, error);
        }
    }
    return result;
}

/* ---- Host side ---------------------------------------------------------------------------- */

/* Address space for a mapping at a multiple of 2 MiB, as large pages need it on the host's side;
 * MAP_FAILED for none. */
static void *reserve_aligned(uint64_t size)
{
    uint64_t with_slack = size + AEE__LARGE_PAGE_SIZE;
    uint8_t *got = aee__sys_mmap(NULL, with_slack, PROT_NONE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (got == MAP_FAILED) {
        return MAP_FAILED;
    }
    uint64_t before = -(uintptr_t)got & (AEE__LARGE_PAGE_SIZE - 1);
    if (before > 0) {
        (void)aee__sys_munmap(got, before);
    }
    (void)aee__sys_munmap(got + before + size, with_slack - before - size);
    return got + before;
}

static void *map_file(const struct aee__memory *memory, uint64_t offset, uint64_t size)
{
    int flags = MAP_SHARED | MAP_NORESERVE;
    void *place = NULL;
    if (memory->huge_pages) {
        place = reserve_aligned(size);
        if (place == MAP_FAILED) {
            return MAP_FAILED;
        }
        flags |= MAP_FIXED;
    }
    if (memory->fd < 0) { /* what a fork grows by */
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        offset = 0;
    }
    void *host =
        aee__sys_mmap(place, size, PROT_READ | PROT_WRITE, flags, memory->fd, (off_t)offset);
    if (host == MAP_FAILED && place) {
        (void)aee__sys_munmap(place, size);
    }
    return host;
}

/* Maps [offset, offset + size) of the file as the next chunk. A child of fork() does not get it:
 * two processes must not share a running machine's memory. */
static aee_result map_chunk(struct aee__memory *memory, uint64_t offset, uint64_t size,
                            aee_error *error)
{
    void *host = map_file(memory, offset, size);
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

/* Large pages for the heap's part of the chunk that was mapped last, where the host gives them to
 * memory files (shmem_enabled, Documentation/admin-guide/mm/transhuge.rst). */
static void ask_for_huge_pages(const struct aee__memory *memory, uint64_t heap_start)
{
    const struct aee__memory_chunk *chunk = &memory->chunks[memory->chunk_count - 1];
    if (memory->huge_pages) {
        (void)aee__sys_madvise(chunk->host + heap_start, chunk->size - heap_start, MADV_HUGEPAGE);
    }
}

/* ---- Memory that is ready ----------------------------------------------------------------- */

/* A page that the host lacks costs a guest's first touch about 13 us; populated here, in one call
 * for many, 2 us (docs/memory.md). */

#define READY_STACK (2 * AEE__PAGE_SIZE)
#define READY_TLS_MAX (4 * AEE__PAGE_SIZE)
#define READY_ZEROES_MAX (16 * AEE__PAGE_SIZE) /* of a segment, behind its content */
#define READY_FORK_DATA (2 * AEE__PAGE_SIZE)
#define READY_FORK_EDGE (2 * AEE__PAGE_SIZE) /* the last page of .data and what follows */
#define READY_LANE (offsetof(struct aee_abi_lane, slots) + AEE__PAGE_SIZE) /* 32 of 64 slots */

/* Page tables that an instance with a small image fills: the root, the two levels below it, system
 * area, image and lanes, the heap's directory; stack and TLS block of each lane. */
static uint64_t ready_tables(const struct aee__memory_plan *plan)
{
    return (7 + 2 * plan->lanes) * AEE__PAGE_SIZE;
}

/* Failure is not told: the pages come when they are touched, and where the host has none left, that
 * is found out then, as it is without populating. */
static void populate(uint8_t *at, uint64_t size)
{
    if (size > 0) {
        (void)aee__sys_madvise(at, size, MADV_POPULATE_WRITE);
    }
}

/* A stretch of the file that is to be populated with one call. */
struct stretch {
    uint64_t start;
    uint64_t end;
};

static void flush(const struct aee__memory *memory, struct stretch *stretch)
{
    populate(memory->chunks[0].host + stretch->start, stretch->end - stretch->start);
    *stretch = (struct stretch){0};
}

/* Parts come in the order of the file; neighbours become one stretch. */
static void add_ready(const struct aee__memory *memory, struct stretch *stretch, uint32_t area,
                      uint64_t from, uint64_t size)
{
    const struct aee__memory_area *at = &memory->areas[area];
    uint64_t start = at->offset + from;
    uint64_t end = at->offset + (from + size < at->size ? from + size : at->size);
    if (start != stretch->end) {
        flush(memory, stretch);
        stretch->start = start;
    }
    stretch->end = end;
}

static uint64_t ready_segment(const struct aee__memory_segment *segment)
{
    uint64_t content = (segment->content_size + AEE__PAGE_SIZE - 1) & ~(AEE__PAGE_SIZE - 1);
    return content + (segment->rights & AEE__PT_WRITE ? READY_ZEROES_MAX : 0);
}

/* What every instance touches by its first call, without the tables. */
static void populate_start(const struct aee__memory *memory, const struct aee__memory_plan *plan)
{
    struct stretch stretch = {0};
    uint32_t fixed = first_fixed(plan);
    uint64_t tls = tls_pages_size(plan);
    uint64_t tls_ready = tls < READY_TLS_MAX ? tls : READY_TLS_MAX;
    for (uint32_t lane = 0; lane < plan->lanes; lane++) {
        uint64_t stack_ready = plan->stack_size < READY_STACK ? plan->stack_size : READY_STACK;
        add_ready(memory, &stretch, 2 * lane, plan->stack_size - stack_ready, stack_ready);
        add_ready(memory, &stretch, 2 * lane + 1, tls - tls_ready, tls_ready);
    }
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        add_ready(memory, &stretch, first_segment(plan) + i, 0, ready_segment(&plan->segments[i]));
    }
    add_ready(memory, &stretch, fixed + FIXED_INFO, 0, AEE__PAGE_SIZE);
    if (!plan->without_tables) {
        add_ready(memory, &stretch, fixed + FIXED_SYSTEM, 0,
                  (AEE__SYSTEM_TABLE_PAGES + AEE__SYSTEM_CODE_PAGES) * AEE__PAGE_SIZE);
    }
    add_ready(memory, &stretch, fixed + FIXED_VDSO, 0, AEE__PAGE_SIZE);
    for (uint32_t lane = 0; lane < plan->lanes; lane++) {
        add_ready(memory, &stretch, fixed + FIXED_LANES, lane * AEE_LANE_STRIDE, READY_LANE);
    }
    flush(memory, &stretch);
}

void aee__memory_populate_heap(const struct aee__memory *memory, uint64_t size)
{
    uint64_t first = memory->areas[memory->area_count - 1].offset; /* the heap is last */
    uint64_t end = first + (size < memory->heap_size ? size : memory->heap_size);
    for (uint32_t i = 0; i < memory->chunk_count; i++) {
        const struct aee__memory_chunk *chunk = &memory->chunks[i];
        uint64_t start = chunk->gpa.value - AEE__GPA_PRIVATE;
        uint64_t skip = i == 0 ? first : 0;
        if (start + skip < end) {
            uint64_t stop = end - start < chunk->size ? end - start : chunk->size;
            populate(chunk->host + skip, stop - skip);
        }
    }
}

aee_result aee__memory_create(struct aee__memory *memory, const struct aee__memory_plan *plan,
                              aee_error *error)
{
    uint64_t tables;
    aee_result result = begin(memory, plan, &tables, error);
    if (result != AEE_OK) {
        return result;
    }
    memory->huge_pages = plan->huge_pages;
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
    ask_for_huge_pages(memory, memory->areas[memory->area_count - 1].offset);
    if (!plan->without_tables) {
        populate(memory->chunks[0].host + tables, ready_tables(plan));
        aee__pagetable_init(&memory->table, memory->chunks[0].host + tables,
                            (struct aee__gpa){AEE__GPA_PRIVATE + tables}, TABLE_POOL_PAGES);
        result = map_areas(memory, plan, error);
    }
    if (result == AEE_OK) {
        populate_start(memory, plan);
        aee__memory_populate_heap(memory, plan->ready_size);
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
    aee__frozen_release(memory->frozen);
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

uint8_t *aee__memory_page(const struct aee__memory *memory, uint64_t offset)
{
    uint32_t chunk = memory->chunk_count - 1;
    while (chunk > 0 && memory->chunks[chunk].gpa.value - AEE__GPA_PRIVATE > offset) {
        chunk--;
    }
    return memory->chunks[chunk].host +
           (offset - (memory->chunks[chunk].gpa.value - AEE__GPA_PRIVATE));
}

uint64_t aee__memory_area_size(const struct aee__memory *memory, uint32_t area)
{
    return area == memory->area_count - 1 ? memory->heap_size : memory->areas[area].size;
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
    if (memory->fd >= 0 && file_size > memory->file_capacity) { /* else a growth was taken back */
        if (aee__sys_resize_memfd(memory->fd, file_size) != 0) {
            return aee__fail_os(error, errno, "cannot grow the heap to %llu bytes",
                                (unsigned long long)heap_size);
        }
        memory->file_capacity = file_size;
    }
    aee_result result = map_chunk(memory, memory->file_size, added, error);
    if (result == AEE_OK) {
        ask_for_huge_pages(memory, 0);
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

/* ---- Forks -------------------------------------------------------------------------------- */

/* What is read only comes from the template's file; the host maps many pages of it at once. */
static void map_template(const struct aee__memory *memory)
{
    for (uint32_t i = 0; i < memory->area_count; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        if (!(area->rights & AEE__PT_WRITE)) {
            (void)aee__sys_madvise(memory->chunks[0].host + area->offset, area->size,
                                   MADV_POPULATE_READ);
        }
    }
    (void)aee__sys_madvise(memory->table.pool, memory->table.used * AEE__PAGE_SIZE,
                           MADV_POPULATE_READ);
}

/* Where a segment begins, and where its variables without a value do. */
static void add_fork_data(const struct aee__memory *memory, struct stretch *stretch, uint32_t area,
                          const struct aee__memory_segment *segment)
{
    uint64_t from = aee__round_down(segment->content_size, AEE__PAGE_SIZE);
    uint64_t end = from + READY_FORK_EDGE;
    add_ready(memory, stretch, area, 0, READY_FORK_DATA);
    from = from > READY_FORK_DATA ? from : READY_FORK_DATA;
    if (from < end && from < segment->size) {
        add_ready(memory, stretch, area, from, end - from);
    }
}

void aee__memory_populate_fork(const struct aee__memory *memory,
                               const struct aee__memory_plan *plan)
{
    struct stretch stretch = {0};
    uint64_t tls = tls_pages_size(plan);
    map_template(memory);
    for (uint32_t lane = 0; lane < plan->lanes; lane++) {
        add_ready(memory, &stretch, 2 * lane, plan->stack_size - READY_STACK, READY_STACK);
        add_ready(memory, &stretch, 2 * lane + 1, tls - AEE__PAGE_SIZE, AEE__PAGE_SIZE);
    }
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        if (plan->segments[i].rights & AEE__PT_WRITE) {
            add_fork_data(memory, &stretch, first_segment(plan) + i, &plan->segments[i]);
        }
    }
    add_ready(memory, &stretch, first_fixed(plan) + FIXED_INFO, 0, AEE__PAGE_SIZE);
    for (uint32_t lane = 0; lane < plan->lanes; lane++) {
        add_ready(memory, &stretch, first_fixed(plan) + FIXED_LANES, lane * AEE_LANE_STRIDE,
                  READY_LANE);
    }
    flush(memory, &stretch);
}
