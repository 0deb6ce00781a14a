/* test_region.c: ept/region: places in the arena, what is mapped there, and what is left after. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sys.h"
#include "ept/region.h"

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

static struct aee__region_arena arena;
static int lowest_fd;

static int next_fd(void)
{
    int fd = dup(0);
    (void)close(fd);
    return fd;
}

static int set_up(void **state)
{
    (void)state;
    lowest_fd = next_fd();
    return aee__region_arena_create(&arena, NULL) == AEE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    aee__region_arena_destroy(&arena);
    aee__region_arena_destroy(&arena); /* twice is fine */
    return next_fd() == lowest_fd ? 0 : -1;
}

static struct aee__region make(uint64_t size, uint32_t same)
{
    struct aee__region region;
    aee_error error;
    if (aee__region_create(&arena, "r", size, same, &region, &error) != AEE_OK) {
        fail_msg("%s", error.text);
    }
    return region;
}

/* Whether the kernel can read a byte there: no signal where it cannot. */
static bool readable(const uint8_t *at)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    bool yes = write(ends[1], at, 1) == 1;
    (void)close(ends[0]);
    (void)close(ends[1]);
    return yes;
}

static void test_arena(void **state)
{
    (void)state;
    assert_int_equal((uintptr_t)arena.base % AEE__REGION_GRANULE, 0);
    assert_true(arena.reservation <= arena.base);
    assert_true(arena.base + AEE_REGIONS_SIZE <= arena.reservation + arena.reservation_size);
    assert_false(readable(arena.base));
    assert_false(readable(arena.base + AEE_REGIONS_SIZE - 1));
}

static void test_places(void **state)
{
    (void)state;
    struct aee__region a = make(4096, 0);
    struct aee__region b = make(3 * MIB, 1);
    struct aee__region c = make(4096, 0);
    assert_true(a.offset == 0 && b.offset == 2 * MIB && c.offset == 6 * MIB); /* whole granules */
    assert_ptr_equal(b.host, arena.base + 2 * MIB);
    assert_true(aee__region_gva(&a).value == AEE_GVA_REGIONS);
    assert_true(aee__region_gva(&c).value == AEE_GVA_REGIONS + 6 * MIB);
    assert_true(aee__region_gva(&b).value == (uintptr_t)b.host);
    memset(a.host, 1, a.size);
    memset(b.host, 2, b.size);
    assert_int_equal(c.host[0], 0);
    assert_false(readable(a.host + a.size)); /* the rest of the granule is nobody's */
    assert_false(readable(b.host + b.size));
    aee__region_destroy(&arena, &b);
    assert_false(readable(arena.base + 2 * MIB));
    aee__region_destroy(&arena, &b);         /* twice is fine */
    struct aee__region d = make(6 * MIB, 0); /* too large for the hole */
    struct aee__region e = make(4 * MIB, 0); /* fits it */
    assert_true(d.offset == 8 * MIB && e.offset == 2 * MIB);
    for (uint64_t i = 0; i < e.size; i++) { /* zeroed, although the place was used */
        assert_int_equal(e.host[i], 0);
    }
    aee__region_destroy(&arena, &a);
    aee__region_destroy(&arena, &c);
    aee__region_destroy(&arena, &d);
    aee__region_destroy(&arena, &e);
    for (unsigned i = 0; i < AEE__REGION_GRANULES / 64; i++) {
        assert_int_equal(arena.used[i], 0);
    }
}

static void test_limit(void **state)
{
    (void)state;
    struct aee__region region;
    aee_error error;
    const uint64_t too_large[] = {AEE_REGIONS_SIZE + 4096, UINT64_MAX - 4095, UINT64_C(1) << 63};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(aee__region_create(&arena, "big", too_large[i], 0, &region, &error),
                         AEE_ERR_LIMIT);
        assert_non_null(strstr(error.text, "\"big\""));
        assert_int_equal(region.fd, -1);
        aee__region_destroy(&arena, &region);
    }
    struct aee__region half = make(8 * GIB, 0);
    struct aee__region rest = make(8 * GIB - 2 * MIB, 0);
    struct aee__region last = make(2 * MIB, 0);
    assert_true(last.offset == AEE_REGIONS_SIZE - 2 * MIB);
    last.host[2 * MIB - 1] = 1;
    assert_int_equal(aee__region_create(&arena, "one more", 4096, 0, &region, &error),
                     AEE_ERR_LIMIT);
    aee__region_destroy(&arena, &half);
    region = make(4096, 0);
    assert_true(region.offset == 0);
    aee__region_destroy(&arena, &region);
    aee__region_destroy(&arena, &rest);
    aee__region_destroy(&arena, &last);
}

static void test_names(void **state)
{
    (void)state;
    struct aee__region region;
    char name[200];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(aee__region_create(&arena, name, 4096, 0, &region, NULL), AEE_OK);
    assert_int_equal(strlen(region.name), AEE_NAME_MAX - 1);
    aee__region_destroy(&arena, &region);
}

/* ---- System calls that fail ------------------------------------------------------------------------ */

static const char *faulty;
static unsigned from;

static int fail_named(const char *name)
{
    if (strcmp(name, faulty) != 0) {
        return 0;
    }
    from -= from > 0;
    return from == 0 ? ENOMEM : 0;
}

static aee_result create_with(const char *name, struct aee__region *region, aee_error *error)
{
    faulty = name;
    from = 1;
    aee__sys_fault = fail_named;
    aee_result result = aee__region_create(&arena, "r", 4096, 0, region, error);
    aee__sys_fault = NULL;
    return result;
}

static void test_faults(void **state)
{
    (void)state;
    static const char *const names[] = {"memfd_create", "ftruncate", "mmap"};
    for (unsigned i = 0; i < 3; i++) {
        struct aee__region region;
        aee_error error;
        assert_int_equal(create_with(names[i], &region, &error), AEE_ERR_NO_MEMORY);
        assert_non_null(strstr(error.text, "\"r\""));
        assert_int_equal(arena.used[0], 0);
        assert_int_equal(next_fd(), lowest_fd);
        aee__region_destroy(&arena, &region);
    }
    /* A place that could not be cleared is not given to anybody else. */
    struct aee__region first = make(4096, 0);
    faulty = "mmap";
    from = 1;
    aee__sys_fault = fail_named;
    aee__region_destroy(&arena, &first);
    aee__sys_fault = NULL;
    struct aee__region second = make(4096, 0);
    assert_true(second.offset == 2 * MIB);
    aee__region_destroy(&arena, &second);
}

/* The arena finds a place where the usual addresses are taken, and fails cleanly where none is. */
static void test_arena_faults(void **state)
{
    (void)state;
    struct aee__region_arena other;
    aee_error error;
    assert_int_equal(aee__region_arena_create(&other, NULL), AEE_OK); /* the next hint */
    assert_ptr_not_equal(other.base, arena.base);
    aee__region_arena_destroy(&other);
    faulty = "mmap";
    from = 1;
    aee__sys_fault = fail_named;
    assert_int_equal(aee__region_arena_create(&other, &error), AEE_ERR_NO_MEMORY);
    aee__sys_fault = NULL;
    assert_null(other.reservation);
    assert_true(strlen(error.text) > 10);
    aee__region_arena_destroy(&other);
}

static unsigned mmaps;

static int fail_hints(const char *name)
{
    return strcmp(name, "mmap") == 0 && ++mmaps <= 32 ? EEXIST : 0;
}

static void test_arena_without_hint(void **state)
{
    (void)state;
    struct aee__region_arena other;
    struct aee__region region;
    mmaps = 0;
    aee__sys_fault = fail_hints;
    assert_int_equal(aee__region_arena_create(&other, NULL), AEE_OK);
    aee__sys_fault = NULL;
    assert_int_equal((uintptr_t)other.base % AEE__REGION_GRANULE, 0);
    assert_int_equal(aee__region_create(&other, "r", 4096, 1, &region, NULL), AEE_OK);
    region.host[4095] = 1;
    aee__region_destroy(&other, &region);
    aee__region_arena_destroy(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_arena, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_faults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_arena_faults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_arena_without_hint, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
