/* test_heap_walk.c: recovery/heap_walk against the allocator of the guest SDK itself, and against
 * memory that nobody can trust. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "heap.h"
#include "recovery/heap_walk.h"

#define SIZE UINT64_C(0x200000)

static struct aee__heap heap;
static uint8_t *memory;

static uint64_t heap_size(void *user)
{
    (void)user;
    return SIZE;
}

static void corrupt(void *user, const char *sentence, uintptr_t address)
{
    (void)user;
    fail_msg("%s at %p", sentence, (void *)address);
}

static int set_up(void **state)
{
    (void)state;
    memory = aligned_alloc(4096, SIZE);
    assert_non_null(memory);
    memset(memory, 0, SIZE);
    const struct aee__heap_config config = {
        .base = (uintptr_t)memory, .size = heap_size, .corrupt = corrupt, .secret = 0x5eed1234};
    aee__heap_init(&heap, &config);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(memory);
    return 0;
}

static struct aee__heap_place place_of(const void *address)
{
    struct aee__heap_view view;
    assert_true(aee__heap_view_open(&view, (const uint8_t *)&heap, memory, (uintptr_t)memory, SIZE,
                                    100000));
    return aee__heap_place_of(&view, (uintptr_t)address, 4096);
}

static void expect(const void *address, enum aee__heap_kind kind, uint64_t size, uint64_t offset)
{
    struct aee__heap_place place = place_of(address);
    assert_int_equal(place.kind, kind);
    assert_int_equal(place.size, size);
    assert_int_equal(place.offset, offset);
}

static void test_layout(void **state)
{
    (void)state;
    assert_int_equal(sizeof heap, AEE__HEAP_OBJECT_SIZE);
    assert_int_equal(offsetof(struct aee__heap, config.base), AEE__HEAP_BASE_AT);
    assert_int_equal(offsetof(struct aee__heap, config.secret), AEE__HEAP_SECRET_AT);
    assert_int_equal(offsetof(struct aee__heap, top), AEE__HEAP_TOP_AT);
    assert_int_equal(AEE__HEAP_UNIT, AEE__HEAP_BLOCK);
}

static void test_kinds(void **state)
{
    (void)state;
    char *a = aee__heap_alloc(&heap, 64, 16, 0);
    char *b = aee__heap_alloc(&heap, 40, 16, 0);
    char *c = aee__heap_alloc(&heap, 20000, 16, 0);
    char *d = aee__heap_alloc(&heap, 32, 16, 0);
    expect(a, AEE__HEAP_USED, 64, 0);
    expect(a + 16, AEE__HEAP_USED, 64, 16);
    expect(a + 63, AEE__HEAP_USED, 64, 63);
    expect(a + 64, AEE__HEAP_BEHIND, 64, 64);
    expect(a + 79, AEE__HEAP_BEHIND, 64, 79);
    expect(c + 19999, AEE__HEAP_USED, 20000, 19999);
    aee__heap_free(&heap, b);
    expect(b + 8, AEE__HEAP_FREE, 48, 8);
    expect(d, AEE__HEAP_USED, 32, 0);
    aee__heap_free(&heap, d); /* given back: it lies above the top now */
    expect(d + 4, AEE__HEAP_FREE, 32, 4);
    expect(memory, AEE__HEAP_UNKNOWN, 0, 0); /* the first header has no block before it */
    expect(memory + SIZE - 1, AEE__HEAP_UNKNOWN, 0, 0);
    expect(memory + SIZE, AEE__HEAP_UNKNOWN, 0, 0);
}

/* A block that covers where others were does not show them. */
static void test_old_headers(void **state)
{
    (void)state;
    char *a = aee__heap_alloc(&heap, 64, 16, 0);
    char *b = aee__heap_alloc(&heap, 64, 16, 0);
    char *c = aee__heap_alloc(&heap, 64, 16, 0);
    aee__heap_free(&heap, c);
    aee__heap_free(&heap, b);
    aee__heap_free(&heap, a);
    char *all = aee__heap_alloc(&heap, 400, 16, 0);
    assert_ptr_equal(all, a);
    expect(c + 8, AEE__HEAP_USED, 400, (uint64_t)(c + 8 - all));
    expect(b + 60, AEE__HEAP_USED, 400, (uint64_t)(b + 60 - all));
}

static void test_steps(void **state)
{
    (void)state;
    struct aee__heap_view view;
    char *a = aee__heap_alloc(&heap, 100000, 16, 0);
    assert_true(
        aee__heap_view_open(&view, (const uint8_t *)&heap, memory, (uintptr_t)memory, SIZE, 1000));
    struct aee__heap_place place = aee__heap_place_of(&view, (uintptr_t)a + 90000, 600);
    assert_int_equal(place.kind, AEE__HEAP_UNKNOWN);
    assert_int_equal(view.steps, 400); /* a header each */
    place = aee__heap_place_of(&view, (uintptr_t)a + 90000, 600);
    assert_int_equal(place.kind, AEE__HEAP_UNKNOWN);
    assert_int_equal(view.steps, 0);
    place = aee__heap_place_of(&view, (uintptr_t)a, 600);
    assert_int_equal(place.kind, AEE__HEAP_UNKNOWN);
}

/* What the object claims is checked against what the library knows. */
static void test_forged_object(void **state)
{
    (void)state;
    struct aee__heap_view view;
    struct aee__heap forged = heap;
    const uint8_t *object = (const uint8_t *)&forged;
    forged.config.base += 4096;
    assert_false(aee__heap_view_open(&view, object, memory, (uintptr_t)memory, SIZE, 10));
    assert_int_equal(aee__heap_place_of(&view, (uintptr_t)memory + 64, 10).kind, AEE__HEAP_UNKNOWN);
    forged = heap;
    forged.top = (uintptr_t)memory + SIZE + 16;
    assert_false(aee__heap_view_open(&view, object, memory, (uintptr_t)memory, SIZE, 10));
    forged.top = (uintptr_t)memory - 16;
    assert_false(aee__heap_view_open(&view, object, memory, (uintptr_t)memory, SIZE, 10));
}

/* Nothing in the heap leads out of it (the sanitizers look), and damage ends what is said. */
static void test_noise(void **state)
{
    (void)state;
    char *a = aee__heap_alloc(&heap, 64, 16, 0);
    char *b = aee__heap_alloc(&heap, 64, 16, 0);
    heap.top = (uintptr_t)memory + SIZE;
    memset(a + 64, 0x41, 16); /* b's header */
    expect(b + 8, AEE__HEAP_UNKNOWN, 0, 0);
    uint64_t random = 88172645463325252u;
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 4096; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            memory[i] = (uint8_t)(random >> 32);
            memory[SIZE - 1 - i] = (uint8_t)(random >> 40);
        }
        (void)place_of(memory + random % 4096);
        (void)place_of(memory + SIZE - 1 - random % 4096);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_layout, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kinds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_headers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_steps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_forged_object, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_noise, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
