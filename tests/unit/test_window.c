/* test_window.c: ept/window: what a machine's slots show of regions, after every change, and that
 * nothing stays visible when a step fails. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sys.h"
#include "ept/window.h"
#include "pagetable_walker.h"

#define MIB UINT64_C(0x100000)
#define POOL_BASE AEE__GPA_PRIVATE
#define POOL_PAGES 64u

static struct aee__region_arena arena;
static struct aee__pagetable table;
static struct aee__window window;
static uint8_t *pool;
static struct {
    unsigned count;
    uint64_t gpa[8];
    uint8_t *host[8];
    unsigned fail_at;
} slots;

static aee_result add_slot(void *vm, struct aee__gpa gpa, void *host, uint64_t size,
                           aee_error *error)
{
    (void)error;
    assert_ptr_equal(vm, &slots);
    assert_true(size == AEE__WINDOW_CHUNK);
    if (++slots.count == slots.fail_at) {
        return AEE_ERR_SYSTEM;
    }
    slots.gpa[slots.count - 1] = gpa.value;
    slots.host[slots.count - 1] = host;
    return AEE_OK;
}

static int set_up(void **state)
{
    (void)state;
    memset(&slots, 0, sizeof slots);
    pool = aligned_alloc(4096, POOL_PAGES * 4096);
    memset(pool, 0, POOL_PAGES * 4096);
    aee__pagetable_init(&table, pool, (struct aee__gpa){POOL_BASE}, POOL_PAGES);
    static const struct aee__window_ops ops = {.add_slot = add_slot};
    aee__window_init(&window, &aee__alloc_default, &table, &ops, &slots);
    return aee__region_arena_create(&arena, NULL) == AEE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    aee__window_destroy(&window);
    aee__window_destroy(&window);
    aee__region_arena_destroy(&arena);
    free(pool);
    return 0;
}

static struct aee__region make(uint64_t size, uint32_t same)
{
    struct aee__region region;
    assert_int_equal(aee__region_create(&arena, "region", size, same, &region, NULL), AEE_OK);
    return region;
}

/* What the machine may do with a byte of the window, found out without a signal. */
static const char *rights_at(uint64_t offset)
{
    uint8_t *chunk = window.chunks[offset / AEE__WINDOW_CHUNK];
    int ends[2];
    if (!chunk) {
        return "none";
    }
    uint8_t *at = chunk + offset % AEE__WINDOW_CHUNK;
    assert_int_equal(pipe(ends), 0);
    bool readable = write(ends[1], at, 1) == 1;
    if (!readable) {
        assert_int_equal(write(ends[1], "", 1), 1);
    }
    bool writable = read(ends[0], at, 1) == 1; /* puts the same byte back */
    (void)close(ends[0]);
    (void)close(ends[1]);
    return writable ? "read-write" : readable ? "read" : "none";
}

static void expect(const struct aee__region *region, const char *rights)
{
    const uint64_t places[] = {0, region->size / 2, region->size - 1};
    for (unsigned i = 0; i < 3; i++) {
        assert_string_equal(rights_at(region->offset + places[i]), rights);
    }
}

/* ---- The tables ----------------------------------------------------------------------------------- */

static struct {
    uint64_t gva;
    uint64_t gpa;
    uint64_t size;
    bool writable;
    uint64_t seen;
} wanted;

static void check_leaf(void *user, const struct leaf *leaf)
{
    (void)user;
    assert_true(leaf->gva - wanted.gva < wanted.size);
    assert_true(leaf->gpa - wanted.gpa == leaf->gva - wanted.gva);
    assert_true(leaf->user && !leaf->executable && leaf->accessed && leaf->dirty);
    assert_int_equal(leaf->writable, wanted.writable);
    wanted.seen += leaf->size;
}

/* Exactly this region is in the tables, in whole granules. */
static void expect_tables(const struct aee__region *region, bool writable)
{
    wanted.gva = aee__region_gva(region).value;
    wanted.gpa = AEE__GPA_REGIONS + region->offset;
    wanted.size = (region->size + 2 * MIB - 1) & ~(2 * MIB - 1);
    wanted.writable = writable;
    wanted.seen = 0;
    const char *fault = walk(pool, POOL_BASE, table.used, check_leaf, NULL);
    if (fault) {
        fail_msg("%s", fault);
    }
    assert_true(wanted.seen == wanted.size);
}

/* ---- Tests ---------------------------------------------------------------------------------------- */

static void test_rights(void **state)
{
    (void)state;
    struct aee__region region = make(3 * MIB, 0);
    region.host[2 * MIB + 5] = 77;
    assert_int_equal(aee__window_map(&window, &region, 0, NULL), AEE_OK);
    expect(&region, "read");
    expect_tables(&region, false);
    assert_string_equal(rights_at(region.offset + region.size), "none"); /* rest of the granule */
    assert_int_equal(slots.count, 1);
    assert_true(slots.gpa[0] == AEE__GPA_REGIONS);
    assert_int_equal(window.chunks[0][region.offset + 2 * MIB + 5], 77);
    assert_int_equal(aee__window_map(&window, &region, 1, NULL), AEE_OK); /* more */
    expect(&region, "read-write");
    expect_tables(&region, true);
    window.chunks[0][region.offset + 9] = 55; /* as the machine does */
    assert_int_equal(region.host[9], 55);
    assert_int_equal(aee__window_map(&window, &region, 0, NULL), AEE_OK); /* less */
    expect(&region, "read");
    assert_int_equal(aee__window_unmap(&window, &region, NULL), AEE_OK);
    expect(&region, "none");
    assert_int_equal(aee__window_unmap(&window, &region, NULL), AEE_OK); /* again */
    assert_int_equal(aee__window_map(&window, &region, 1, NULL), AEE_OK);
    expect(&region, "read-write");
    assert_int_equal(slots.count, 1); /* a slot comes once and stays */
    assert_int_equal(region.host[9], 55);
    aee__region_destroy(&arena, &region);
}

static void test_same_address(void **state)
{
    (void)state;
    struct aee__region region = make(2 * MIB, 1);
    assert_int_equal(aee__window_map(&window, &region, 1, NULL), AEE_OK);
    expect_tables(&region, true);
    assert_true(wanted.gva == (uintptr_t)region.host);
    aee__region_destroy(&arena, &region);
}

static void test_neighbours(void **state)
{
    (void)state;
    struct aee__region regions[3] = {make(4096, 0), make(5 * MIB, 0), make(4096, 0)};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(aee__window_map(&window, &regions[i], i != 1, NULL), AEE_OK);
    }
    assert_int_equal(aee__window_unmap(&window, &regions[1], NULL), AEE_OK);
    expect(&regions[0], "read-write");
    expect(&regions[1], "none");
    expect(&regions[2], "read-write");
}

static void test_several_chunks(void **state)
{
    (void)state;
    struct aee__region before = make(30 * MIB, 0);
    struct aee__region region = make(70 * MIB, 0); /* from 30 to 100: chunks 0 to 3 */
    assert_int_equal(aee__window_map(&window, &region, 1, NULL), AEE_OK);
    assert_int_equal(slots.count, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(slots.gpa[i] == AEE__GPA_REGIONS + i * AEE__WINDOW_CHUNK);
        assert_ptr_equal(slots.host[i], window.chunks[i]);
    }
    expect_tables(&region, true);
    for (uint64_t at = 0; at < region.size; at += 2 * MIB) {
        uint64_t offset = region.offset + at;
        region.host[at] = (uint8_t)(at / MIB + 1);
        assert_int_equal(window.chunks[offset / AEE__WINDOW_CHUNK][offset % AEE__WINDOW_CHUNK],
                         region.host[at]);
        assert_string_equal(rights_at(offset), "read-write");
    }
    expect(&before, "none");
    assert_int_equal(aee__window_unmap(&window, &region, NULL), AEE_OK);
    for (uint64_t at = 0; at < region.size; at += 2 * MIB) {
        assert_string_equal(rights_at(region.offset + at), "none");
    }
}

/* ---- Failing steps -------------------------------------------------------------------------------- */

static void test_slot_refused(void **state)
{
    (void)state;
    struct aee__region first = make(30 * MIB, 0);
    struct aee__region region = make(70 * MIB, 0);
    slots.fail_at = 3;
    assert_int_equal(aee__window_map(&window, &region, 1, NULL), AEE_ERR_SYSTEM);
    for (uint64_t at = 0; at < region.size; at += 2 * MIB) {
        assert_string_equal(rights_at(region.offset + at), "none");
    }
    assert_null(window.chunks[2]);
    assert_int_equal(aee__window_map(&window, &region, 1, NULL), AEE_OK);
    expect(&region, "read-write");
    expect(&first, "none");
}

static unsigned mmaps;
static unsigned fail_mmap;

static int fail_one_mmap(const char *name)
{
    return strcmp(name, "mmap") == 0 && ++mmaps == fail_mmap ? ENOMEM : 0;
}

static void test_mmap_fails(void **state)
{
    (void)state;
    struct aee__region before = make(30 * MIB, 0);
    struct aee__region region = make(70 * MIB, 0);
    (void)before;
    for (fail_mmap = 1; fail_mmap <= 20; fail_mmap++) {
        aee_error error;
        mmaps = 0;
        aee__sys_fault = fail_one_mmap;
        aee_result result = aee__window_map(&window, &region, 1, &error);
        aee__sys_fault = NULL;
        if (result == AEE_OK) {
            break;
        }
        assert_int_equal(result, AEE_ERR_NO_MEMORY);
        assert_true(strlen(error.text) > 10);
        for (uint64_t at = 0; at < region.size; at += 2 * MIB) {
            assert_string_equal(rights_at(region.offset + at), "none");
        }
    }
    assert_in_range(fail_mmap, 5, 12);
    expect(&region, "read-write");
    /* A revocation that fails says so: the caller ends the machine. */
    aee_error error;
    mmaps = 0;
    fail_mmap = 2;
    aee__sys_fault = fail_one_mmap;
    assert_int_equal(aee__window_unmap(&window, &region, &error), AEE_ERR_NO_MEMORY);
    aee__sys_fault = NULL;
    assert_non_null(strstr(error.text, "\"region\""));
    assert_int_equal(aee__window_unmap(&window, &region, NULL), AEE_OK);
}

static void test_tables_full(void **state)
{
    (void)state;
    struct aee__region region = make(4096, 0);
    table.capacity = 2;
    assert_int_equal(aee__window_map(&window, &region, 1, NULL), AEE_ERR_LIMIT);
    expect(&region, "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rights, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_same_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_neighbours, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_several_chunks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slot_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mmap_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tables_full, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
