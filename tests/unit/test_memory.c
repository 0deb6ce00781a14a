/* test_memory.c: ept/memory: the tables that are built for a context hold exactly what its plan
 * asks for; the gate to guest memory; growth; failing system calls. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/checked.h"
#include "base/sys.h"
#include "ept/memory.h"
#include "pagetable_walker.h"

#define MIB UINT64_C(0x100000)
#define POOL_PAGES 512u

/* What must be mapped, from the plan and aee_abi.h alone. */
struct range {
    const char *name;
    uint64_t gva;
    uint64_t size;
    bool user;
    bool writable;
    bool executable;
    uint64_t seen;
};

static struct range ranges[64];
static unsigned range_count;

static void expect_range(const char *name, uint64_t gva, uint64_t size, const char *rights)
{
    ranges[range_count++] = (struct range){.name = name,
                                           .gva = gva,
                                           .size = size,
                                           .user = strchr(rights, 'u') != NULL,
                                           .writable = strchr(rights, 'w') != NULL,
                                           .executable = strchr(rights, 'x') != NULL};
}

static uint64_t tls_start(uint32_t lane)
{
    return AEE_GVA_STACKS + lane * AEE_STACK_STRIDE + AEE_STACK_MAX + 2 * AEE_STACK_GUARD;
}

static uint64_t tls_end(uint32_t lane, const struct aee__memory_plan *plan)
{
    uint64_t last = aee__memory_tcb(lane, plan).value + AEE__TCB_SIZE;
    return (last + 4095) & ~UINT64_C(4095);
}

static void expect_plan(const struct aee__memory_plan *plan)
{
    range_count = 0;
    /* Not even CPL0 may write what it executes or what the processor reads its tables from. */
    uint64_t code = AEE_GVA_SYSTEM + AEE__SYSTEM_TABLE_PAGES * 4096;
    uint64_t stacks = code + AEE__SYSTEM_CODE_PAGES * 4096;
    expect_range("tables", AEE_GVA_SYSTEM, AEE__SYSTEM_TABLE_PAGES * 4096, "");
    expect_range("stubs", code, AEE__SYSTEM_CODE_PAGES * 4096, "x");
    expect_range("exception stacks", stacks, AEE__SYSTEM_STACK_PAGES * 4096, "w");
    expect_range("info", AEE_GVA_INFO, 4096, "u");
    expect_range("vdso", AEE_GVA_VDSO, AEE__VDSO_PAGES * 4096, "ux");
    expect_range("lanes", AEE_GVA_LANES, plan->lanes * AEE_LANE_STRIDE, "uw");
    for (uint32_t i = 0; i < plan->lanes; i++) {
        uint64_t top = AEE_GVA_STACKS + i * AEE_STACK_STRIDE + AEE_STACK_GUARD + AEE_STACK_MAX;
        expect_range("stack", top - plan->stack_size, plan->stack_size, "uw");
        expect_range("tls", tls_start(i), 0, "uw"); /* size: checked apart */
    }
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        const struct aee__memory_segment *segment = &plan->segments[i];
        char rights[4] = "u";
        strcat(rights, segment->rights & AEE__PT_WRITE ? "w" : "");
        strcat(rights, segment->rights & AEE__PT_EXECUTE ? "x" : "");
        expect_range("segment", segment->start.value, segment->size, rights);
    }
    if (plan->heap_size) {
        expect_range("heap", AEE_GVA_HEAP, plan->heap_size, "uw");
    }
}

static struct aee__memory memory;

static void check_leaf(void *user, const struct leaf *leaf)
{
    const struct aee__memory_plan *plan = user;
    struct range *range = NULL;
    for (unsigned i = 0; i < range_count; i++) {
        bool tls = strcmp(ranges[i].name, "tls") == 0;
        uint64_t size = tls ? plan->tls_size + 4 * 4096 + 4096 : ranges[i].size;
        if (leaf->gva - ranges[i].gva < size) {
            range = &ranges[i];
        }
    }
    if (!range) {
        fail_msg("0x%llx is mapped and should not be", (unsigned long long)leaf->gva);
        return;
    }
    range->seen += leaf->size;
    bool same = leaf->user == range->user && leaf->writable == range->writable &&
                leaf->executable == range->executable && leaf->accessed && leaf->dirty;
    if (!same) {
        fail_msg("%s at 0x%llx has other rights", range->name, (unsigned long long)leaf->gva);
    }
    if (leaf->writable && leaf->executable) {
        fail_msg("0x%llx is writable and executable", (unsigned long long)leaf->gva);
    }
    /* It leads to where the host has it. */
    uint64_t offset = leaf->gpa - AEE__GPA_PRIVATE;
    uint64_t pool = memory.table.base.value - AEE__GPA_PRIVATE;
    assert_true(offset < memory.file_size && offset - pool >= POOL_PAGES * 4096); /* no table */
    void *host = aee__memory_at(&memory, (struct aee__gva){leaf->gva}, leaf->size);
    if (offset < memory.chunks[0].size) {
        assert_ptr_equal(host, memory.chunks[0].host + offset);
    }
}

static void check_tables(const struct aee__memory_plan *plan)
{
    expect_plan(plan);
    const char *fault = walk(memory.table.pool, memory.table.base.value, memory.table.used,
                             check_leaf, (void *)(uintptr_t)plan);
    if (fault) {
        fail_msg("%s", fault);
    }
    for (unsigned i = 0; i < range_count; i++) {
        uint64_t wanted = ranges[i].size;
        if (strcmp(ranges[i].name, "tls") == 0) {
            assert_true(ranges[i].seen >= plan->tls_size + AEE__TCB_SIZE);
        } else if (ranges[i].seen != wanted) {
            fail_msg("%s: %llu bytes are mapped", ranges[i].name,
                     (unsigned long long)ranges[i].seen);
        }
    }
}

static const struct aee__memory_plan full = {
    .lanes = AEE_MAX_LANES,
    .stack_size = 256 * 1024,
    .tls_size = 5000,
    .tls_align = 128,
    .heap_size = 16 * MIB,
    .segment_count = 3,
    .segments = {{{AEE_GVA_IMAGE}, 0x3000, 0},
                 {{AEE_GVA_IMAGE + 0x3000}, 0x2000, AEE__PT_EXECUTE},
                 {{AEE_GVA_IMAGE + 0x200000}, 0x400000, AEE__PT_WRITE}}};

static void create(const struct aee__memory_plan *plan)
{
    aee_error error;
    if (aee__memory_create(&memory, plan, &error) != AEE_OK) {
        fail_msg("%s", error.text);
    }
}

static void test_tables(void **state)
{
    (void)state;
    create(&full);
    check_tables(&full);
    assert_true(memory.chunks[0].gpa.value == AEE__GPA_PRIVATE);
    assert_true(memory.chunks[0].size == memory.file_size);
    aee__memory_destroy(&memory);
    struct aee__memory_plan least = {.lanes = 1, .stack_size = 4096, .tls_align = 1};
    create(&least);
    check_tables(&least);
    aee__memory_destroy(&memory);
    struct aee__memory_plan most = full;
    most.stack_size = AEE_STACK_MAX;
    most.tls_size = AEE_TLS_MAX;
    most.tls_align = 4096;
    most.heap_size = AEE_HEAP_MAX;
    create(&most);
    check_tables(&most);
    aee__memory_destroy(&memory);
    aee__memory_destroy(&memory); /* twice is fine */
}

/* Untouched memory is read through the gate as zero, and files are sparse. */
static void test_zeroed(void **state)
{
    (void)state;
    create(&full);
    uint8_t *heap = aee__memory_at(&memory, (struct aee__gva){AEE_GVA_HEAP}, 16 * MIB);
    uint8_t *stack =
        aee__memory_at(&memory, (struct aee__gva){aee__memory_stack_top(7).value - 4096}, 4096);
    uint64_t before = aee__memory_resident(&memory);
    assert_true(before >= memory.table.used * UINT64_C(4096) && before < 2 * MIB);
    for (unsigned i = 0; i < 4096; i++) {
        assert_int_equal(heap[i] | stack[i], 0);
    }
    heap[8 * MIB] = 1;
    assert_true(aee__memory_resident(&memory) > before);
    aee__memory_destroy(&memory);
    assert_int_equal(aee__memory_resident(&memory), 0);
}

/* ---- The gate ------------------------------------------------------------------------------------- */

static bool gate(uint64_t gva, uint64_t size)
{
    return aee__memory_at(&memory, (struct aee__gva){gva}, size) != NULL;
}

static void test_gate(void **state)
{
    (void)state;
    create(&full);
    expect_plan(&full);
    ranges[0].size = AEE__SYSTEM_PAGES * 4096; /* for the gate they are one area */
    for (unsigned i = 0; i < range_count; i += i ? 1 : 3) {
        uint64_t start = ranges[i].gva;
        uint64_t size =
            strcmp(ranges[i].name, "tls") ? ranges[i].size : tls_end((i - 6) / 2, &full) - start;
        bool next = false; /* another area follows at once: a range across both is refused too */
        for (unsigned j = 0; j < range_count; j++) {
            next = next || ranges[j].gva == start + size;
        }
        assert_true(gate(start, size));
        assert_true(gate(start, 1) && gate(start + size - 1, 1));
        assert_true(next || !gate(start + size, 1));
        assert_false(gate(start, size + 1));
        assert_false(gate(start + size - 1, 2));
        assert_false(gate(start - 1, 2));
        assert_false(gate(start, UINT64_MAX));
        assert_false(gate(start, UINT64_MAX - start));
        assert_false(gate(start, UINT64_MAX - start + 1)); /* ends at 2^64 */
        assert_false(gate(start, UINT64_MAX - start + 2));
        assert_false(gate(start + size - 1, UINT64_MAX));
    }
    /* Two areas side by side are not one. */
    assert_true(gate(AEE_GVA_IMAGE + 0x2fff, 1) && gate(AEE_GVA_IMAGE + 0x3000, 1));
    assert_false(gate(AEE_GVA_IMAGE + 0x2fff, 2));
    const uint64_t nowhere[] = {0,
                                1,
                                4095,
                                AEE_GVA_NULL_GUARD_END - 1,
                                AEE_GVA_STACKS,
                                AEE_GVA_STACKS - 1,
                                AEE_GVA_REGIONS,
                                AEE_GVA_HEAP - 1,
                                UINT64_C(0x7fffffffffff),
                                UINT64_C(0xffff800000000000),
                                UINT64_MAX};
    for (unsigned i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++) {
        assert_false(gate(nowhere[i], 1));
    }
    aee__memory_destroy(&memory);
    assert_false(gate(AEE_GVA_HEAP, 1));
}

/* ---- TLS ------------------------------------------------------------------------------------------ */

/* For any size and alignment: block and control block are aligned, in order, within the lane's area
 * and away from its guards. */
static void test_tls_places(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 7, 64, 511, 4095, 4096, 5000, 65536, AEE_TLS_MAX};
    for (uint64_t align = 1; align <= 4096; align *= 2) {
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct aee__memory_plan plan = {
                .lanes = 8, .stack_size = 4096, .tls_size = sizes[i], .tls_align = align};
            for (uint32_t lane = 0; lane < 8; lane += 7) {
                uint64_t block = aee__memory_tls(lane, &plan).value;
                uint64_t control = aee__memory_tcb(lane, &plan).value;
                assert_true(block % align == 0);
                assert_true(control % 64 == 0 && control % align == 0);
                assert_true(block >= tls_start(lane));
                assert_true(block + sizes[i] <= control);
                assert_true(control - block < sizes[i] + align); /* variant II: right below */
                assert_true(tls_end(lane, &plan) + AEE_STACK_GUARD <=
                            AEE_GVA_STACKS + (lane + 1) * AEE_STACK_STRIDE);
            }
            create(&plan);
            assert_non_null(aee__memory_at(&memory, aee__memory_tls(7, &plan), sizes[i]));
            assert_non_null(aee__memory_at(&memory, aee__memory_tcb(7, &plan), AEE__TCB_SIZE));
            aee__memory_destroy(&memory);
        }
    }
}

/* ---- Plans that are refused ------------------------------------------------------------------------ */

static void test_bad_plans(void **state)
{
    (void)state;
    struct aee__memory_plan plans[16];
    unsigned n = 0;
#define BAD(change)      \
    do {                 \
        plans[n] = full; \
        plans[n].change; \
        n++;             \
    } while (0)
    BAD(lanes = 0);
    BAD(lanes = AEE_MAX_LANES + 1);
    BAD(stack_size = 0);
    BAD(stack_size = 4097);
    BAD(stack_size = AEE_STACK_MAX + 4096);
    BAD(tls_size = AEE_TLS_MAX + 1);
    BAD(tls_align = 8192);
    BAD(heap_size = MIB);
    BAD(heap_size = AEE_HEAP_MAX + 2 * MIB);
    BAD(segment_count = AEE__MEMORY_MAX_SEGMENTS + 1);
    BAD(segments[0].start.value = AEE_GVA_IMAGE - 4096);
    BAD(segments[1].start.value = AEE_GVA_IMAGE + 1);
    BAD(segments[1].size = 1);
    BAD(segments[2].size = AEE_GVA_IMAGE_END - AEE_GVA_IMAGE);
    BAD(segments[2].size = UINT64_MAX - 4095);
    BAD(segments[1].start.value = AEE_GVA_IMAGE); /* over another one, with other rights */
    for (unsigned i = 0; i < n; i++) {
        aee_error error;
        if (aee__memory_create(&memory, &plans[i], &error) != AEE_ERR_INVALID_ARGUMENT) {
            fail_msg("plan %u was accepted", i);
        }
        assert_true(strlen(error.text) > 10);
        assert_int_equal(memory.fd, -1);
        assert_int_equal(memory.chunk_count, 0);
        aee__memory_destroy(&memory);
    }
}

/* ---- Growth --------------------------------------------------------------------------------------- */

static void test_growth(void **state)
{
    (void)state;
    struct aee__memory_plan plan = full;
    create(&plan);
    uint64_t file = memory.file_size;
    assert_int_equal(aee__memory_grow_heap(&memory, 32 * MIB, NULL), AEE_OK);
    check_tables(&plan); /* not yet published */
    const struct aee__memory_chunk *chunk = &memory.chunks[1];
    assert_int_equal(memory.chunk_count, 2);
    assert_true(chunk->size == 16 * MIB && chunk->gpa.value == AEE__GPA_PRIVATE + file);
    chunk->host[16 * MIB - 1] = 9; /* backed */
    assert_int_equal(aee__memory_publish_heap(&memory, NULL), AEE_OK);
    plan.heap_size = 32 * MIB;
    check_tables(&plan);
    const uint64_t refused[] = {
        0, 16 * MIB, 32 * MIB, 33 * MIB, 34 * MIB + 1, AEE_HEAP_MAX + 2 * MIB, UINT64_MAX};
    for (unsigned i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(aee__memory_grow_heap(&memory, refused[i], NULL),
                         AEE_ERR_INVALID_ARGUMENT);
    }
    aee__memory_destroy(&memory);
}

static void test_growth_limit(void **state)
{
    (void)state;
    aee_error error;
    create(&full);
    for (unsigned i = 1; i < AEE__MEMORY_MAX_CHUNKS; i++) {
        assert_int_equal(aee__memory_grow_heap(&memory, 16 * MIB + i * 2 * MIB, NULL), AEE_OK);
        assert_int_equal(aee__memory_publish_heap(&memory, NULL), AEE_OK);
    }
    assert_int_equal(aee__memory_grow_heap(&memory, 512 * MIB, &error), AEE_ERR_LIMIT);
    assert_non_null(strstr(error.text, "31 times"));
    aee__memory_destroy(&memory);
}

/* Growth that was taken back leaves nothing behind: less can be asked for next. */
static void test_growth_taken_back(void **state)
{
    (void)state;
    aee_error error;
    create(&full);
    uint64_t file = memory.file_size;
    assert_int_equal(aee__memory_grow_heap(&memory, 64 * MIB, NULL), AEE_OK);
    aee__memory_ungrow_heap(&memory);
    assert_true(memory.file_size == file && memory.heap_size == 16 * MIB);
    assert_int_equal(memory.chunk_count, 1);
    check_tables(&full);
    if (aee__memory_grow_heap(&memory, 32 * MIB, &error) != AEE_OK) {
        fail_msg("after growth to 64 MiB was taken back: %s", error.text);
    }
    assert_int_equal(aee__memory_publish_heap(&memory, NULL), AEE_OK);
    aee__memory_destroy(&memory);
}

/* ---- Memory that is ready ------------------------------------------------------------------------- */

/* How many pages of [gva, gva + size) have memory behind them. */
static unsigned populated(uint64_t gva, uint64_t size)
{
    static unsigned char present[16 * MIB / 4096];
    unsigned count = 0;
    void *at = aee__memory_at(&memory, (struct aee__gva){gva}, size);
    assert_non_null(at);
    assert_int_equal(mincore(at, size, present), 0);
    for (uint64_t page = 0; page < size / 4096; page++) {
        count += present[page] & 1u;
    }
    return count;
}

/* What the first call touches is there; what most never use is not. */
static void test_ready_start(void **state)
{
    (void)state;
    struct aee__memory_plan plan = full;
    plan.segments[0].content_size = 100;
    create(&plan);
    for (uint32_t lane = 0; lane < plan.lanes; lane++) {
        uint64_t top = aee__memory_stack_top(lane).value;
        uint64_t ring = AEE_GVA_LANES + lane * AEE_LANE_STRIDE;
        assert_int_equal(populated(top - 4096, 4096), 1);
        assert_true(populated(top - plan.stack_size, plan.stack_size) <= 2);
        assert_int_equal(populated(aee__memory_tcb(lane, &plan).value & ~UINT64_C(4095), 4096), 1);
        assert_int_equal(populated(ring, 3 * 4096), 2); /* control and half of the slots */
        uint64_t arenas = offsetof(struct aee_abi_lane, request_arena);
        assert_int_equal(populated(ring + arenas, AEE_LANE_STRIDE - arenas), 0);
    }
    assert_int_equal(populated(AEE_GVA_INFO, 4096), 1);
    assert_int_equal(populated(AEE_GVA_VDSO, AEE__VDSO_PAGES * 4096), 1);
    assert_int_equal(populated(plan.segments[0].start.value, 4096), 1);
    assert_int_equal(populated(AEE_GVA_HEAP, 16 * MIB), 0);
    aee__memory_destroy(&memory);
}

static void test_ready_heap(void **state)
{
    (void)state;
    struct aee__memory_plan plan = full;
    plan.ready_size = 3 * MIB;
    create(&plan);
    assert_int_equal(populated(AEE_GVA_HEAP, 16 * MIB), 3 * MIB / 4096);
    assert_int_equal(aee__memory_grow_heap(&memory, 32 * MIB, NULL), AEE_OK);
    uint64_t before = aee__memory_resident(&memory);
    aee__memory_populate_heap(&memory, 17 * MIB); /* reaches into the second chunk */
    assert_int_equal(aee__memory_resident(&memory) - before, 14 * MIB);
    aee__memory_populate_heap(&memory, UINT64_MAX);
    assert_int_equal(aee__memory_resident(&memory) - before, 29 * MIB);
    aee__memory_destroy(&memory);
    plan.ready_size = UINT64_MAX; /* more than there is */
    create(&plan);
    assert_int_equal(populated(AEE_GVA_HEAP, 16 * MIB), 16 * MIB / 4096);
    aee__memory_destroy(&memory);
}

/* Large pages on the host's side need the same place within 2 MiB on all three sides. */
static void test_huge_pages(void **state)
{
    (void)state;
    struct aee__memory_plan plan = full;
    plan.huge_pages = true;
    create(&plan);
    assert_int_equal(aee__memory_grow_heap(&memory, 32 * MIB, NULL), AEE_OK);
    for (uint32_t i = 0; i < memory.chunk_count; i++) {
        const struct aee__memory_chunk *chunk = &memory.chunks[i];
        assert_int_equal((chunk->gpa.value ^ (uintptr_t)chunk->host) % (2 * MIB), 0);
    }
    aee__memory_destroy(&memory);
}

/* ---- System calls that fail ------------------------------------------------------------------------ */

static const char *faulty;
static unsigned countdown;

static int fail_named(const char *name)
{
    return strcmp(name, faulty) == 0 && --countdown == 0 ? ENOMEM : 0;
}

static int next_fd(void)
{
    int fd = dup(0);
    (void)close(fd);
    return fd;
}

static int fail_every_madvise(const char *name)
{
    return strcmp(name, "madvise") == 0 ? EINVAL : 0; /* as from a kernel that lacks the advice */
}

/* Then pages come when they are touched. */
static void test_no_populating(void **state)
{
    (void)state;
    struct aee__memory_plan plan = full;
    plan.ready_size = MIB;
    plan.huge_pages = true;
    aee__sys_fault = fail_every_madvise;
    aee_result result = aee__memory_create(&memory, &plan, NULL);
    aee__sys_fault = NULL;
    assert_int_equal(result, AEE_OK);
    check_tables(&plan);
    assert_int_equal(populated(AEE_GVA_HEAP, 16 * MIB), 0);
    *(uint8_t *)aee__memory_at(&memory, (struct aee__gva){AEE_GVA_HEAP}, 1) = 1;
    aee__memory_destroy(&memory);
}

static void test_faults(void **state)
{
    (void)state;
    static const char *const names[] = {"memfd_create", "ftruncate", "mmap"};
    int before = next_fd();
    for (unsigned i = 0; i < 3; i++) {
        aee_error error;
        faulty = names[i];
        countdown = 1;
        aee__sys_fault = fail_named;
        aee_result result = aee__memory_create(&memory, &full, &error);
        aee__sys_fault = NULL;
        assert_int_equal(result, AEE_ERR_NO_MEMORY);
        assert_int_equal(error.os_errno, ENOMEM);
        assert_int_equal(memory.fd, -1);
        assert_int_equal(next_fd(), before);
        aee__memory_destroy(&memory);
    }
    create(&full);
    for (unsigned i = 1; i < 3; i++) {
        faulty = names[i];
        countdown = 1;
        aee__sys_fault = fail_named;
        assert_int_equal(aee__memory_grow_heap(&memory, 32 * MIB, NULL), AEE_ERR_NO_MEMORY);
        aee__sys_fault = NULL;
        assert_true(memory.heap_size == 16 * MIB);
        check_tables(&full);
    }
    assert_int_equal(aee__memory_grow_heap(&memory, 32 * MIB, NULL), AEE_OK);
    aee__memory_destroy(&memory);
    assert_int_equal(next_fd(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),       cmocka_unit_test(test_zeroed),
        cmocka_unit_test(test_gate),         cmocka_unit_test(test_tls_places),
        cmocka_unit_test(test_bad_plans),    cmocka_unit_test(test_growth),
        cmocka_unit_test(test_growth_limit), cmocka_unit_test(test_growth_taken_back),
        cmocka_unit_test(test_ready_start),  cmocka_unit_test(test_ready_heap),
        cmocka_unit_test(test_huge_pages),   cmocka_unit_test(test_no_populating),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
