/* test_pool.c: isolation/pool on a back end that only counts. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "isolation/pool.h"

struct aee__vm {
    unsigned number;
};

static _Atomic unsigned made;
static _Atomic unsigned destroyed;
static _Atomic bool refuse;
static int backend_tag;
static struct aee__backend *const backend = (struct aee__backend *)(void *)&backend_tag;

static aee_result vm_create(struct aee__backend *seen, struct aee__vm **out, aee_error *error)
{
    *out = NULL;
    if (seen != backend || atomic_load(&refuse)) {
        return aee__fail(error, AEE_ERR_LIMIT, "no machine today");
    }
    *out = malloc(sizeof **out);
    (*out)->number = atomic_fetch_add(&made, 1) + 1;
    return AEE_OK;
}

static void vm_destroy(struct aee__vm *vm)
{
    free(vm);
    (void)atomic_fetch_add(&destroyed, 1);
}

static const struct aee__backend_ops ops = {
    .name = "fake", .vm_create = vm_create, .vm_destroy = vm_destroy};
static struct aee__pool pool;

static int set_up(void **state)
{
    (void)state;
    atomic_store(&made, 0);
    atomic_store(&destroyed, 0);
    atomic_store(&refuse, false);
    aee__pool_init(&pool, &ops, backend, 3);
    return 0;
}

static void test_fill(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 3; i++) {
        assert_true(aee__pool_fill_one(&pool));
        assert_int_equal(aee__pool_ready(&pool), i);
    }
    assert_false(aee__pool_fill_one(&pool));
    assert_int_equal(made, 3);
    struct aee__vm *vm;
    assert_int_equal(aee__pool_take(&pool, &vm, NULL), AEE_OK);
    assert_int_equal(made, 3); /* out of the pool */
    assert_int_equal(aee__pool_ready(&pool), 2);
    vm_destroy(vm);
    assert_true(aee__pool_fill_one(&pool));
    assert_false(aee__pool_fill_one(&pool));
    aee__pool_destroy(&pool);
    assert_int_equal(made, destroyed);
}

static void test_empty(void **state)
{
    (void)state;
    struct aee__vm *vm;
    aee_error error;
    assert_int_equal(aee__pool_take(&pool, &vm, NULL), AEE_OK); /* made on the spot */
    vm_destroy(vm);
    atomic_store(&refuse, true);
    assert_int_equal(aee__pool_take(&pool, &vm, &error), AEE_ERR_LIMIT);
    assert_null(vm);
    assert_string_equal(error.text, "no machine today");
    assert_false(aee__pool_fill_one(&pool)); /* the host has no more: no endless tries */
    assert_int_equal(aee__pool_ready(&pool), 0);
    atomic_store(&refuse, false);
    assert_true(aee__pool_fill_one(&pool));
    aee__pool_destroy(&pool);
    assert_int_equal(made, destroyed);
}

enum { TAKERS = 4, ROUNDS = 20000 };
static _Atomic bool stop;
static _Atomic uint8_t taken[TAKERS * ROUNDS * 4];
static _Atomic unsigned twice;

static void *take(void *unused)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct aee__vm *vm;
        if (aee__pool_take(&pool, &vm, NULL) == AEE_OK) {
            (void)atomic_fetch_add(&twice, atomic_fetch_add(&taken[vm->number], 1) != 0);
            vm_destroy(vm);
        }
    }
    return unused;
}

static void *fill(void *unused)
{
    while (!atomic_load(&stop)) {
        if (atomic_load(&made) < TAKERS * ROUNDS * 3) {
            (void)aee__pool_fill_one(&pool);
        }
    }
    return unused;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t takers[TAKERS];
    pthread_t filler;
    assert_int_equal(pthread_create(&filler, NULL, fill, NULL), 0);
    for (unsigned i = 0; i < TAKERS; i++) {
        assert_int_equal(pthread_create(&takers[i], NULL, take, NULL), 0);
    }
    for (unsigned i = 0; i < TAKERS; i++) {
        (void)pthread_join(takers[i], NULL);
    }
    atomic_store(&stop, true);
    (void)pthread_join(filler, NULL);
    assert_int_equal(twice, 0); /* a machine has one user */
    assert_true(aee__pool_ready(&pool) <= 3);
    aee__pool_destroy(&pool);
    assert_int_equal(made, destroyed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fill, set_up),
        cmocka_unit_test_setup(test_empty, set_up),
        cmocka_unit_test_setup(test_threads, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
