/* test_pagetable.c: ept/pagetable: what is mapped, with which rights, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ept/pagetable.h"
#include "pagetable_walker.h"

#define BASE UINT64_C(0x140000000)
#define PAGES 64u
#define LARGE UINT64_C(0x200000)

static uint8_t *pool;
static struct aee__pagetable table;
static struct leaf leaves[2048];
static unsigned leaf_count;

static int set_up(void **state)
{
    (void)state;
    pool = aligned_alloc(4096, PAGES * 4096);
    memset(pool, 0, PAGES * 4096);
    aee__pagetable_init(&table, pool, (struct aee__gpa){BASE}, PAGES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(pool);
    return 0;
}

static void note(void *user, const struct leaf *leaf)
{
    (void)user;
    assert_true(leaf_count < sizeof leaves / sizeof leaves[0]);
    leaves[leaf_count++] = *leaf;
}

static void look(void)
{
    leaf_count = 0;
    const char *fault = walk(pool, BASE, table.used, note, NULL);
    if (fault) {
        fail_msg("%s", fault);
    }
}

static aee_result map(uint64_t gva, uint64_t gpa, uint64_t size, uint32_t rights)
{
    return aee__pagetable_map(&table, (struct aee__gva){gva}, (struct aee__gpa){gpa}, size, rights,
                              NULL);
}

static void expect_leaf(unsigned i, uint64_t gva, uint64_t gpa, uint64_t size, uint32_t rights)
{
    assert_true(i < leaf_count);
    assert_true(leaves[i].gva == gva);
    assert_true(leaves[i].gpa == gpa);
    assert_true(leaves[i].size == size);
    assert_int_equal(leaves[i].user, (rights & AEE__PT_USER) != 0);
    assert_int_equal(leaves[i].writable, (rights & AEE__PT_WRITE) != 0);
    assert_int_equal(leaves[i].executable, (rights & AEE__PT_EXECUTE) != 0);
    assert_true(leaves[i].accessed && leaves[i].dirty);
}

static void test_empty(void **state)
{
    (void)state;
    look();
    assert_int_equal(leaf_count, 0);
    assert_int_equal(map(0x400000, 0x1000, 0, AEE__PT_USER), AEE_OK); /* nothing */
    look();
    assert_int_equal(leaf_count, 0);
}

static void test_every_right(void **state)
{
    (void)state;
    for (uint32_t rights = 0; rights < 8; rights++) {
        uint64_t gva = 0x400000 + rights * UINT64_C(0x2000);
        assert_int_equal(map(gva, BASE + 0x100000 + gva, 4096, rights), AEE_OK);
    }
    look();
    assert_int_equal(leaf_count, 8);
    for (uint32_t rights = 0; rights < 8; rights++) {
        uint64_t gva = 0x400000 + rights * UINT64_C(0x2000);
        expect_leaf(rights, gva, BASE + 0x100000 + gva, 4096, rights);
    }
}

/* Across the ends of a page table, a directory, a pointer table and a root entry. */
static void test_boundaries(void **state)
{
    (void)state;
    static const uint64_t ends[] = {UINT64_C(0x200000), UINT64_C(0x40000000),
                                    UINT64_C(0x8000000000), UINT64_C(0x7ffffffff000)};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(map(ends[i] - 4096, 0x900000, 8192, AEE__PT_USER | AEE__PT_WRITE), AEE_OK);
    }
    assert_int_equal(map(ends[3], 0x902000, 4096, AEE__PT_USER), AEE_OK);
    look();
    assert_int_equal(leaf_count, 7);
    for (unsigned i = 0; i < 3; i++) {
        expect_leaf(2 * i, ends[i] - 4096, 0x900000, 4096, AEE__PT_USER | AEE__PT_WRITE);
        expect_leaf(2 * i + 1, ends[i], 0x901000, 4096, AEE__PT_USER | AEE__PT_WRITE);
    }
    expect_leaf(6, ends[3], 0x902000, 4096, AEE__PT_USER);
}

/* Large pages where both addresses allow them, small ones around. */
static void test_large(void **state)
{
    (void)state;
    uint32_t rights = AEE__PT_USER | AEE__PT_WRITE | AEE__PT_LARGE;
    assert_int_equal(map(LARGE - 4096, 10 * LARGE - 4096, LARGE + 8192, rights), AEE_OK);
    look();
    assert_int_equal(leaf_count, 3);
    expect_leaf(0, LARGE - 4096, 10 * LARGE - 4096, 4096, rights);
    expect_leaf(1, LARGE, 10 * LARGE, LARGE, rights);
    expect_leaf(2, 2 * LARGE, 11 * LARGE, 4096, rights);
    /* Addresses that do not run in step, and no wish for large pages. */
    assert_int_equal(map(16 * LARGE, 20 * LARGE + 4096, LARGE, rights), AEE_OK);
    assert_int_equal(map(32 * LARGE, 30 * LARGE, LARGE, AEE__PT_USER), AEE_OK);
    look();
    assert_int_equal(leaf_count, 3 + 512 + 512);
    for (unsigned i = 3; i < leaf_count; i++) {
        assert_true(leaves[i].size == 4096);
    }
}

static void test_remap(void **state)
{
    (void)state;
    assert_int_equal(map(0x400000, 0x800000, 8192, AEE__PT_USER), AEE_OK);
    uint32_t used = table.used;
    assert_int_equal(map(0x400000, 0x800000, 4096, AEE__PT_USER), AEE_OK); /* the same again */
    assert_int_equal(map(0x400000, 0x800000, 4096, AEE__PT_USER | AEE__PT_WRITE), AEE_OK);
    /* A page that is writable stays so: the host's mapping takes the right away. */
    assert_int_equal(map(0x400000, 0x800000, 4096, AEE__PT_USER), AEE_OK);
    assert_int_equal(map(0x400000, 0x900000, 4096, AEE__PT_USER), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(map(0x400000, 0x800000, 4096, AEE__PT_USER | AEE__PT_EXECUTE),
                     AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(map(0x400000, 0x800000, 4096, AEE__PT_WRITE), AEE_ERR_INVALID_ARGUMENT);
    look();
    assert_int_equal(leaf_count, 2);
    expect_leaf(0, 0x400000, 0x800000, 4096, AEE__PT_USER | AEE__PT_WRITE);
    expect_leaf(1, 0x401000, 0x801000, 4096, AEE__PT_USER);
    assert_int_equal(table.used, used);
    /* Small pages do not go into a large one. */
    assert_int_equal(map(4 * LARGE, 4 * LARGE, LARGE, AEE__PT_USER | AEE__PT_LARGE), AEE_OK);
    assert_int_not_equal(map(4 * LARGE, 4 * LARGE, 4096, AEE__PT_USER), AEE_OK);
}

static void test_refused(void **state)
{
    (void)state;
    aee_error error;
    assert_int_equal(map(0x400001, 0x1000, 4096, 0), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(map(0x400000, 0x1001, 4096, 0), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(map(0x400000, 0x1000, 4095, 0), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(
        aee__pagetable_map(&table, (struct aee__gva){0x123}, (struct aee__gpa){0}, 0, 0, &error),
        AEE_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "0x123"));
    look();
    assert_int_equal(leaf_count, 0);
}

static void test_full(void **state)
{
    (void)state;
    table.capacity = 5;
    aee_error error;
    assert_int_equal(map(0x400000, 0x1000, 4096, AEE__PT_USER), AEE_OK);
    assert_int_equal(table.used, 4);
    assert_int_equal(map(0x600000, 0x1000, 4096, AEE__PT_USER), AEE_OK);
    assert_int_equal(aee__pagetable_map(&table, (struct aee__gva){0x800000},
                                        (struct aee__gpa){0x1000}, 4096, AEE__PT_USER, &error),
                     AEE_ERR_LIMIT);
    assert_non_null(strstr(error.text, "0x800000"));
    look();
    assert_int_equal(leaf_count, 2);
    assert_int_equal(table.used, 5);
    assert_int_equal(map(0x401000, 0x2000, 4096, AEE__PT_USER), AEE_OK); /* needs no table */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_right, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_boundaries, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_remap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
