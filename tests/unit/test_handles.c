/* test_handles.c: base/handles: what is live, stale or foreign, and threads that present handles
 * while their objects go. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/handles.h"

#define TYPE AEE__HANDLE_REGION
#define SALT 0xa5

static struct aee__handles table;

static void make_table(uint32_t capacity)
{
    assert_int_equal(aee__handles_create(&table, &aee__alloc_default, TYPE, SALT, capacity, NULL),
                     AEE_OK);
}

static uint64_t publish(void *object)
{
    uint64_t handle = aee__handles_reserve(&table);
    assert_true(handle != 0);
    aee__handles_publish(&table, handle, object);
    return handle;
}

static void expect(uint64_t handle, aee_result wanted)
{
    aee_result why = AEE_OK;
    assert_null(aee__handles_acquire(&table, handle, &why));
    assert_int_equal(why, wanted);
}

static void remove_handle(uint64_t handle)
{
    aee_result why;
    assert_non_null(aee__handles_acquire(&table, handle, &why));
    assert_true(aee__handles_retire(&table, handle));
    expect(handle, AEE_ERR_STALE);
    assert_false(aee__handles_retire(&table, handle));
    aee__handles_remove(&table, handle);
    expect(handle, AEE_ERR_STALE);
}

static void test_life(void **state)
{
    (void)state;
    int object;
    aee_result why;
    make_table(4);
    uint64_t handle = aee__handles_reserve(&table);
    assert_int_equal(aee__handle_type_of(handle), TYPE);
    assert_int_equal((handle >> 52) & 0xff, SALT);
    assert_int_equal(aee__handle_slot(handle), 0);
    assert_int_equal(aee__handle_generation(handle), 1);
    expect(handle, AEE_ERR_STALE); /* reserved, not published */
    aee__handles_publish(&table, handle, &object);
    assert_ptr_equal(aee__handles_acquire(&table, handle, &why), &object);
    assert_int_equal(why, AEE_OK);
    aee__handles_ref(&table, handle);
    aee__handles_release(&table, handle);
    aee__handles_release(&table, handle);
    remove_handle(handle);
    uint64_t next = publish(&object);
    assert_int_equal(aee__handle_slot(next), 0);
    assert_int_equal(aee__handle_generation(next), 2);
    expect(handle, AEE_ERR_STALE); /* of an earlier generation */
    remove_handle(next);
    aee__handles_destroy(&table);
    aee__handles_destroy(&table); /* twice is fine */
}

static void test_foreign(void **state)
{
    (void)state;
    int object;
    make_table(4);
    uint64_t handle = publish(&object);
    expect(0, AEE_ERR_WRONG_HANDLE);
    expect(UINT64_MAX, AEE_ERR_WRONG_HANDLE);
    expect(handle ^ UINT64_C(1) << 60, AEE_ERR_WRONG_HANDLE);   /* another type */
    expect(handle ^ UINT64_C(1) << 52, AEE_ERR_WRONG_HANDLE);   /* another table */
    expect(handle + (UINT64_C(4) << 32), AEE_ERR_WRONG_HANDLE); /* beyond the capacity */
    expect(handle | UINT64_C(0xfffff) << 32, AEE_ERR_WRONG_HANDLE);
    expect(handle + 1, AEE_ERR_STALE);                   /* a generation from the future */
    expect(handle - 1, AEE_ERR_STALE);                   /* generation 0 is never used */
    expect(handle + (UINT64_C(1) << 32), AEE_ERR_STALE); /* a slot that was never used */
    for (unsigned bit = 0; bit < 64; bit++) {            /* no flip of one bit names an object */
        aee_result why;
        assert_null(aee__handles_acquire(&table, handle ^ UINT64_C(1) << bit, &why));
    }
    remove_handle(handle);
    aee__handles_destroy(&table);
}

static void test_full(void **state)
{
    (void)state;
    int object;
    uint64_t handles[3];
    make_table(3);
    for (unsigned i = 0; i < 3; i++) {
        handles[i] = publish(&object);
    }
    assert_int_equal(table.count, 3);
    assert_int_equal(aee__handles_reserve(&table), 0);
    remove_handle(handles[1]);
    handles[1] = publish(&object);
    assert_int_equal(aee__handle_slot(handles[1]), 1);
    assert_int_equal(aee__handles_reserve(&table), 0);
    for (unsigned i = 0; i < 3; i++) {
        remove_handle(handles[i]);
    }
    assert_int_equal(table.count, 0);
    aee__handles_destroy(&table);
}

static void test_generation_wraps(void **state)
{
    (void)state;
    int object;
    make_table(1);
    atomic_store(&table.slots[0].state, (uint64_t)UINT32_MAX << 32);
    uint64_t handle = publish(&object);
    assert_int_equal(aee__handle_generation(handle), 1); /* not 0: handle 0 names nothing */
    remove_handle(handle);
    aee__handles_destroy(&table);
}

static void collect(void *user, uint64_t handle, void *object)
{
    uint64_t *sum = user;
    aee_result why;
    assert_ptr_equal(aee__handles_acquire(&table, handle, &why), object);
    aee__handles_release(&table, handle);
    *sum += *(uint64_t *)object;
}

static void test_each(void **state)
{
    (void)state;
    uint64_t objects[5] = {1, 10, 100, 1000, 10000};
    uint64_t handles[5];
    uint64_t sum = 0;
    make_table(8);
    for (unsigned i = 0; i < 5; i++) {
        handles[i] = publish(&objects[i]);
    }
    uint64_t reserved = aee__handles_reserve(&table);
    remove_handle(handles[2]);
    aee__handles_each(&table, collect, &sum);
    assert_int_equal(sum, 11011);
    aee__handles_publish(&table, reserved, &objects[0]);
    remove_handle(reserved);
    for (unsigned i = 0; i < 5; i++) {
        if (i != 2) {
            remove_handle(handles[i]);
        }
    }
    aee__handles_destroy(&table);
}

static void no_memory(void **state)
{
    (void)state;
    aee_error error;
    const struct aee__alloc none = aee__alloc_default;
    struct aee__handles empty;
    assert_int_equal(aee__handles_create(&empty, &none, TYPE, SALT, 0, &error), AEE_ERR_NO_MEMORY);
    assert_non_null(strstr(error.text, "handles"));
    aee__handles_destroy(&empty);
}

/* ---- Threads -------------------------------------------------------------------------------------- */

enum { SLOTS = 4, READERS = 4, ROUNDS = 300 };

/* An object that is taken back counts as dead. */
struct object {
    _Atomic uint32_t alive;
};
static _Atomic uint64_t current[SLOTS];
static _Atomic bool stop;
static _Atomic uint32_t dead_seen;
static _Atomic uint32_t live_seen;

static void *reader(void *argument)
{
    unsigned at = (unsigned)(uintptr_t)argument;
    while (!atomic_load(&stop)) {
        uint64_t handle = atomic_load(&current[at++ % SLOTS]);
        aee_result why;
        struct object *object = aee__handles_acquire(&table, handle, &why);
        if (!object) {
            continue;
        }
        for (unsigned i = 0; i < 20; i++) {
            (void)atomic_fetch_add(atomic_load(&object->alive) == 1 ? &live_seen : &dead_seen, 1);
        }
        aee__handles_release(&table, handle);
    }
    return NULL;
}

static void *writer(void *argument)
{
    unsigned at = (unsigned)(uintptr_t)argument;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct object *object = calloc(1, sizeof *object);
        atomic_store(&object->alive, 1);
        uint64_t handle = aee__handles_reserve(&table);
        aee__handles_publish(&table, handle, object);
        atomic_store(&current[at], handle);
        aee_result why;
        (void)sched_yield(); /* the readers' turn */
        (void)aee__handles_acquire(&table, handle, &why);
        (void)aee__handles_retire(&table, handle);
        aee__handles_remove(&table, handle); /* waits for the readers */
        atomic_store(&object->alive, 0);
        free(object);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t readers[READERS];
    pthread_t writers[SLOTS];
    make_table(SLOTS);
    for (uintptr_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, reader, (void *)i), 0);
    }
    for (uintptr_t i = 0; i < SLOTS; i++) {
        assert_int_equal(pthread_create(&writers[i], NULL, writer, (void *)i), 0);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        (void)pthread_join(writers[i], NULL);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < READERS; i++) {
        (void)pthread_join(readers[i], NULL);
    }
    print_message("%u looks at live objects\n", atomic_load(&live_seen));
    assert_int_equal(atomic_load(&dead_seen), 0);
    assert_true(atomic_load(&live_seen) > 0);
    assert_int_equal(table.count, 0);
    aee__handles_destroy(&table);
}

static uint64_t held;
static _Atomic bool removed;

static void *remove_held(void *unused)
{
    aee_result why;
    (void)aee__handles_acquire(&table, held, &why);
    (void)aee__handles_retire(&table, held);
    aee__handles_remove(&table, held);
    atomic_store(&removed, true);
    return unused;
}

static void test_remove_waits(void **state)
{
    (void)state;
    int object;
    aee_result why;
    pthread_t thread;
    make_table(1);
    held = publish(&object);
    assert_non_null(aee__handles_acquire(&table, held, &why));
    aee__handles_ref(&table, held);
    assert_int_equal(pthread_create(&thread, NULL, remove_held, NULL), 0);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    aee__handles_release(&table, held);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    assert_false(atomic_load(&removed));
    aee__handles_release(&table, held);
    (void)pthread_join(thread, NULL);
    assert_true(atomic_load(&removed));
    aee__handles_destroy(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),         cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_full),         cmocka_unit_test(test_generation_wraps),
        cmocka_unit_test(test_each),         cmocka_unit_test(no_memory),
        cmocka_unit_test(test_remove_waits), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
