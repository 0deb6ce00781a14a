/* test_workers.c: runtime/workers: how many run, what is refused, and that nothing is lost. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/sys.h"
#include "runtime/workers.h"

struct item {
    struct aee__runnable runnable; /* first */
    _Atomic uint32_t runs;
    _Atomic uint32_t *gate; /* waits while it is 0; NULL: does not wait */
};

static struct aee__workers workers;
static _Atomic uint32_t running;
static _Atomic uint32_t most;
static _Atomic uint32_t gate;

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

static void run(struct aee__runnable *runnable)
{
    struct item *item = (struct item *)(void *)runnable;
    uint32_t now = atomic_fetch_add(&running, 1) + 1;
    uint32_t seen = atomic_load(&most);
    while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now)) {
    }
    while (item->gate && atomic_load(item->gate) == 0) {
        nap();
    }
    (void)atomic_fetch_sub(&running, 1);
    (void)atomic_fetch_add(&item->runs, 1);
}

static int set_up(void **state)
{
    (void)state;
    atomic_store(&gate, 0);
    atomic_store(&most, 0);
    return 0;
}

static void wait_until(const _Atomic uint32_t *what, uint32_t value)
{
    for (unsigned i = 0; i < 100000 && atomic_load(what) != value; i++) {
        nap();
    }
    assert_int_equal(atomic_load(what), value);
}

static void test_limit(void **state)
{
    (void)state;
    struct item items[4] = {0};
    aee__workers_init(&workers, 3);
    for (unsigned i = 0; i < 4; i++) {
        items[i].runnable.run = run;
        items[i].gate = &gate;
    }
    assert_int_equal(workers.started, 0); /* no thread before it is needed */
    for (unsigned i = 0; i < 3; i++) {
        assert_true(aee__workers_run(&workers, &items[i].runnable));
    }
    wait_until(&running, 3);
    assert_false(aee__workers_run(&workers, &items[3].runnable)); /* refused, not queued */
    atomic_store(&gate, 1);
    for (unsigned i = 0; i < 3; i++) {
        wait_until(&items[i].runs, 1);
    }
    while (!aee__workers_run(&workers, &items[3].runnable)) {
        nap();
    }
    wait_until(&items[3].runs, 1);
    assert_int_equal(items[3].runs + items[0].runs, 2);
    assert_int_equal(workers.started, 3);
    aee__workers_destroy(&workers);
}

static void test_none(void **state)
{
    (void)state;
    struct item item = {.runnable = {.run = run}};
    aee__workers_init(&workers, 0);
    assert_false(aee__workers_run(&workers, &item.runnable));
    aee__workers_destroy(&workers);
    aee__workers_init(&workers, 1000); /* more than there can be */
    assert_int_equal(workers.limit, AEE__WORKERS_MAX);
    aee__workers_destroy(&workers); /* none was started */
}

/* Destroying waits for what runs, and runs what was accepted. */
static void *open_later(void *unused)
{
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    atomic_store(&gate, 1);
    return unused;
}

static void test_destroy_waits(void **state)
{
    (void)state;
    struct item items[AEE__WORKERS_MAX] = {0};
    pthread_t thread;
    aee__workers_init(&workers, AEE__WORKERS_MAX);
    for (unsigned i = 0; i < AEE__WORKERS_MAX; i++) {
        items[i].runnable.run = run;
        items[i].gate = &gate;
        assert_true(aee__workers_run(&workers, &items[i].runnable));
    }
    assert_int_equal(pthread_create(&thread, NULL, open_later, NULL), 0);
    aee__workers_destroy(&workers);
    (void)pthread_join(thread, NULL);
    for (unsigned i = 0; i < AEE__WORKERS_MAX; i++) {
        assert_int_equal(items[i].runs, 1);
    }
}

/* ---- Blocked threads -------------------------------------------------------------------------------- */

enum { BLOCKED = 12 };

static void block(struct aee__runnable *runnable)
{
    struct item *item = (struct item *)(void *)runnable;
    aee__workers_block(&workers, true);
    (void)atomic_fetch_add(&running, 1);
    while (atomic_load(item->gate) == 0) {
        nap();
    }
    (void)atomic_fetch_sub(&running, 1);
    aee__workers_block(&workers, false);
    (void)atomic_fetch_add(&item->runs, 1);
}

/* Many wait when the first block: each that blocks makes room for one more. */
static void test_blocked(void **state)
{
    (void)state;
    struct item items[BLOCKED] = {0};
    aee__workers_init(&workers, 2);
    for (unsigned i = 0; i < BLOCKED; i++) {
        items[i].runnable.run = block;
        items[i].gate = &gate;
        assert_true(aee__workers_post(&workers, &items[i].runnable));
    }
    wait_until(&running, BLOCKED);
    atomic_store(&gate, 1);
    for (unsigned i = 0; i < BLOCKED; i++) {
        wait_until(&items[i].runs, 1);
    }
    assert_in_range(workers.started, BLOCKED, BLOCKED + 2);
    aee__workers_destroy(&workers);
}

/* ---- Many posters ---------------------------------------------------------------------------------- */

enum { POSTERS = 4, ROUNDS = 5000 };
static _Atomic uint32_t refused;
static _Atomic uint32_t doubled;

static void *post(void *argument)
{
    struct item *item = argument;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t before = atomic_load(&item->runs);
        if (!aee__workers_run(&workers, &item->runnable)) {
            (void)atomic_fetch_add(&refused, 1);
            continue;
        }
        while (atomic_load(&item->runs) == before) { /* a runnable is posted once at a time */
            (void)sched_yield();
        }
        (void)atomic_fetch_add(&doubled, atomic_load(&item->runs) != before + 1);
    }
    return NULL;
}

static void test_many_posters(void **state)
{
    (void)state;
    struct item items[POSTERS] = {0};
    pthread_t threads[POSTERS];
    uint32_t runs = 0;
    aee__workers_init(&workers, 3);
    for (unsigned i = 0; i < POSTERS; i++) {
        items[i].runnable.run = run;
        assert_int_equal(pthread_create(&threads[i], NULL, post, &items[i]), 0);
    }
    for (unsigned i = 0; i < POSTERS; i++) {
        (void)pthread_join(threads[i], NULL);
        runs += items[i].runs;
    }
    aee__workers_destroy(&workers);
    print_message("%u ran, %u refused, %u at once\n", runs, refused, atomic_load(&most));
    assert_int_equal(runs + refused, POSTERS * ROUNDS);
    assert_int_equal(doubled, 0);
    assert_in_range(most, 1, 3);
    assert_true(runs > 0);
}

/* ---- Threads that cannot be had --------------------------------------------------------------------- */

static int no_threads(const char *name)
{
    return strcmp(name, "pthread_create") == 0 ? EAGAIN : 0;
}

static void test_no_threads(void **state)
{
    (void)state;
    struct item item = {.runnable = {.run = run}};
    aee__workers_init(&workers, 2);
    aee__sys_fault = no_threads;
    assert_false(aee__workers_run(&workers, &item.runnable));
    aee__sys_fault = NULL;
    assert_int_equal(workers.started, 0);
    assert_int_equal(workers.idle, 0);
    assert_true(aee__workers_run(&workers, &item.runnable)); /* later there are some */
    wait_until(&item.runs, 1);
    aee__workers_destroy(&workers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_limit, set_up),
        cmocka_unit_test_setup(test_none, set_up),
        cmocka_unit_test_setup(test_destroy_waits, set_up),
        cmocka_unit_test_setup(test_blocked, set_up),
        cmocka_unit_test_setup(test_many_posters, set_up),
        cmocka_unit_test_setup(test_no_threads, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
