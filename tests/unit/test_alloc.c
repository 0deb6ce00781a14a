/* test_alloc.c: base/alloc on a recording allocator, and base/checked at its limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/checked.h"

struct record {
    unsigned calls;
    void *old;
    size_t old_size;
    size_t size;
    int refuse;
};

/* Hands out memory full of 0xaa, so that what is zero was zeroed. */
static void *record(void *user, void *old, size_t old_size, size_t size)
{
    struct record *record = user;
    record->calls++;
    record->old = old;
    record->old_size = old_size;
    record->size = size;
    if (size == 0) {
        free(old);
        return NULL;
    }
    if (record->refuse) {
        return NULL;
    }
    unsigned char *grown = realloc(old, size);
    assert_non_null(grown);
    if (size > old_size) {
        memset(grown + old_size, 0xaa, size - old_size);
    }
    return grown;
}

static void test_zero(void **state)
{
    (void)state;
    struct record seen = {0};
    const struct aee__alloc alloc = {.function = record, .user = &seen};
    unsigned char *memory = aee__alloc_zero(&alloc, 7, 13);
    assert_non_null(memory);
    assert_int_equal(seen.size, 91);
    assert_null(seen.old);
    for (unsigned i = 0; i < 91; i++) {
        assert_int_equal(memory[i], 0);
    }
    memset(memory, 1, 91);
    memory = aee__alloc_resize(&alloc, memory, 91, 200);
    assert_int_equal(seen.old_size, 91);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(memory[i], i < 91);
    }
    memory = aee__alloc_resize(&alloc, memory, 200, 50); /* shrinking keeps the beginning */
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(memory[i], 1);
    }
    aee__alloc_free(&alloc, memory, 50);
    assert_int_equal(seen.old_size, 50);
    assert_int_equal(seen.size, 0);
    seen.calls = 0;
    aee__alloc_free(&alloc, NULL, 50);
    assert_int_equal(seen.calls, 0);
}

static void test_refused(void **state)
{
    (void)state;
    struct record seen = {0};
    const struct aee__alloc alloc = {.function = record, .user = &seen};
    /* Neither an overflow nor nothing reaches the allocator: size 0 would mean free. */
    assert_null(aee__alloc_zero(&alloc, SIZE_MAX, 2));
    assert_null(aee__alloc_zero(&alloc, SIZE_MAX / 8 + 1, 8));
    assert_null(aee__alloc_zero(&alloc, 0, 8));
    assert_null(aee__alloc_zero(&alloc, 8, 0));
    assert_int_equal(seen.calls, 0);
    char *memory = aee__alloc_zero(&alloc, 1, 8);
    memory[3] = 9;
    seen.refuse = 1;
    assert_null(aee__alloc_zero(&alloc, 1, 8));
    assert_null(aee__alloc_resize(&alloc, memory, 8, 16));
    assert_int_equal(memory[3], 9); /* still ours, as after realloc() */
    aee__alloc_free(&alloc, memory, 8);
}

static void test_default(void **state)
{
    (void)state;
    char *memory = aee__alloc_zero(&aee__alloc_default, 3, 1000);
    assert_non_null(memory);
    assert_int_equal(memory[2999], 0);
    memory = aee__alloc_resize(&aee__alloc_default, memory, 3000, 6000);
    assert_int_equal(memory[5999], 0);
    aee__alloc_free(&aee__alloc_default, memory, 6000);
}

static void test_checked(void **state)
{
    (void)state;
    uint64_t value = 1;
    assert_true(aee__add(UINT64_MAX - 1, 1, &value));
    assert_true(value == UINT64_MAX);
    assert_false(aee__add(UINT64_MAX, 1, &value));

    assert_true(aee__round_up(0, 4096, &value) && value == 0);
    assert_true(aee__round_up(1, 4096, &value) && value == 4096);
    assert_true(aee__round_up(4096, 4096, &value) && value == 4096);
    assert_true(aee__round_up(UINT64_MAX - 4095, 4096, &value) && value == UINT64_MAX - 4095);
    assert_false(aee__round_up(UINT64_MAX - 4094, 4096, &value));
    assert_false(aee__round_up(UINT64_MAX, 4096, &value));
    assert_true(aee__round_down(4095, 4096) == 0);
    assert_true(aee__round_down(UINT64_MAX, 4096) == UINT64_MAX - 4095);

    assert_true(aee__within(100, 50, 100, 150));
    assert_true(aee__within(150, 0, 100, 150));
    assert_false(aee__within(99, 1, 100, 150));
    assert_false(aee__within(100, 51, 100, 150));
    assert_false(aee__within(150, 1, 100, 150));
    assert_false(aee__within(120, UINT64_MAX - 20, 100, 150)); /* ends below its start */
    assert_false(aee__within(UINT64_MAX, 1, 100, UINT64_MAX)); /* ends at 2^64 */
    assert_true(aee__within(UINT64_MAX - 1, 1, 100, UINT64_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
