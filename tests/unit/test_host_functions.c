/* test_host_functions.c: isolation/host_functions: names, limits, grants, and look-ups while others
 * register. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "isolation/host_functions.h"

static struct aee__host_functions functions;

static aee_result first(void *user, aee_host_call *call)
{
    (void)user;
    (void)call;
    return AEE_OK;
}

static int set_up(void **state)
{
    (void)state;
    return aee__host_functions_create(&functions, &aee__alloc_default, NULL) == AEE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    aee__host_functions_destroy(&functions);
    aee__host_functions_destroy(&functions);
    return 0;
}

static void test_names(void **state)
{
    (void)state;
    aee_error error;
    int user;
    char longest[AEE_HOST_NAME_MAX];
    memset(longest, 'n', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(aee__host_functions_find(&functions, "spawn"), -1);
    assert_int_equal(aee__host_functions_add(&functions, "spawn", first, &user, NULL), AEE_OK);
    assert_int_equal(aee__host_functions_add(&functions, longest, first, NULL, NULL), AEE_OK);
    assert_int_equal(aee__host_functions_find(&functions, "spawn"), 0);
    assert_int_equal(aee__host_functions_find(&functions, longest), 1);
    assert_int_equal(aee__host_functions_find(&functions, "spaw"), -1);
    assert_int_equal(aee__host_functions_find(&functions, "spawn2"), -1);
    assert_int_equal(aee__host_functions_find(&functions, ""), -1);
    assert_ptr_equal(functions.entries[0].user, &user);
    assert_int_equal(aee__host_functions_add(&functions, "spawn", first, NULL, &error),
                     AEE_ERR_EXISTS);
    assert_non_null(strstr(error.text, "\"spawn\""));
    assert_ptr_equal(functions.entries[0].user, &user); /* the first one stays */
}

static void test_limit(void **state)
{
    (void)state;
    char name[16];
    aee_error error;
    for (unsigned i = 0; i < AEE__HOST_FUNCTIONS_MAX; i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        assert_int_equal(aee__host_functions_add(&functions, name, first, NULL, NULL), AEE_OK);
    }
    assert_int_equal(aee__host_functions_add(&functions, "more", first, NULL, &error),
                     AEE_ERR_LIMIT);
    assert_non_null(strstr(error.text, "256"));
    assert_int_equal(aee__host_functions_add(&functions, "f7", first, NULL, NULL), AEE_ERR_EXISTS);
    assert_int_equal(aee__host_functions_find(&functions, "f255"), 255);
}

static void test_grants(void **state)
{
    (void)state;
    struct aee__grants grants = {0};
    for (unsigned i = 0; i < AEE__HOST_FUNCTIONS_MAX; i++) {
        assert_false(aee__grants_has(&grants, i));
        aee__grants_set(&grants, i, true);
        for (unsigned j = 0; j < AEE__HOST_FUNCTIONS_MAX; j++) {
            assert_int_equal(aee__grants_has(&grants, j), i == j);
        }
        aee__grants_set(&grants, i, true); /* again */
        assert_true(aee__grants_has(&grants, i));
        aee__grants_set(&grants, i, false);
    }
}

/* ---- Threads -------------------------------------------------------------------------------------- */

static struct aee__grants shared;
static _Atomic bool stop;
static _Atomic uint32_t incomplete;

static void *look_up(void *argument)
{
    unsigned at = (unsigned)(uintptr_t)argument;
    while (!atomic_load(&stop)) {
        char name[16];
        at = (at * 5 + 1) % AEE__HOST_FUNCTIONS_MAX;
        (void)snprintf(name, sizeof name, "g%u", at);
        int32_t index = aee__host_functions_find(&functions, name);
        if (index >= 0) {
            const struct aee__host_function *entry = &functions.entries[index];
            bool complete = entry->function == first && entry->user == (void *)&functions;
            (void)atomic_fetch_add(&incomplete, !complete);
        }
    }
    return NULL;
}

static void *toggle(void *argument)
{
    uint32_t bit = (uint32_t)(uintptr_t)argument;
    for (unsigned i = 0; i < 20001; i++) {
        aee__grants_set(&shared, bit, i % 2 == 0);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t readers[2];
    pthread_t togglers[4];
    atomic_store(&stop, false);
    for (uintptr_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, look_up, (void *)i), 0);
    }
    for (uintptr_t i = 0; i < 4; i++) { /* neighbours in one word */
        assert_int_equal(pthread_create(&togglers[i], NULL, toggle, (void *)i), 0);
    }
    for (unsigned i = 0; i < AEE__HOST_FUNCTIONS_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "g%u", i);
        assert_int_equal(aee__host_functions_add(&functions, name, first, &functions, NULL),
                         AEE_OK);
    }
    for (unsigned i = 0; i < 4; i++) {
        (void)pthread_join(togglers[i], NULL);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 2; i++) {
        (void)pthread_join(readers[i], NULL);
    }
    assert_int_equal(incomplete, 0);
    assert_int_equal(shared.bits[0], 0xf); /* no change of a neighbour was lost */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
        cmocka_unit_test(test_grants),
        cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
