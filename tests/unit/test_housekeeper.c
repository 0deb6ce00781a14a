/* test_housekeeper.c: isolation/housekeeper: order of jobs, posting again, idle work, and notices
 * that come at a bad moment. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/housekeeper.h"

#define MS UINT64_C(1000000)

struct item {
    struct aee__job job; /* first */
    _Atomic uint32_t runs;
    uint32_t order;
    bool again; /* posts itself once more */
};

static struct aee__housekeeper keeper;
static _Atomic uint32_t order;
static _Atomic uint32_t gate; /* jobs wait while it is 0 */
static _Atomic uint32_t idle_runs;
static _Atomic uint32_t idle_wanted; /* how many times idle work has something to do */
static _Atomic bool hold_idle;
static _Atomic bool in_idle;

static void run(struct aee__job *job)
{
    struct item *item = (struct item *)(void *)job;
    while (atomic_load(&gate) == 0) {
        aee__sys_sleep(200000);
    }
    item->order = atomic_fetch_add(&order, 1) + 1;
    if (item->again) {
        item->again = false;
        aee__housekeeper_post(&keeper, job);
    }
    (void)atomic_fetch_add(&item->runs, 1);
}

static bool idle_work(void *user)
{
    (void)user;
    (void)atomic_fetch_add(&idle_runs, 1);
    atomic_store(&in_idle, true);
    while (atomic_load(&hold_idle)) {
        aee__sys_sleep(200000);
    }
    atomic_store(&in_idle, false);
    uint32_t wanted = atomic_load(&idle_wanted);
    if (wanted == 0) {
        return false;
    }
    atomic_store(&idle_wanted, wanted - 1);
    return true;
}

static int set_up(void **state)
{
    (void)state;
    atomic_store(&order, 0);
    atomic_store(&gate, 1);
    atomic_store(&idle_runs, 0);
    atomic_store(&idle_wanted, 0);
    atomic_store(&hold_idle, false);
    return aee__housekeeper_start(&keeper, "housekeeper", idle_work, NULL, NULL) == AEE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    aee__housekeeper_stop(&keeper);
    return 0;
}

static bool wait_for(const _Atomic uint32_t *what, uint32_t least)
{
    uint64_t end = aee__now_ns() + 5000 * MS;
    while (atomic_load(what) < least && aee__now_ns() < end) {
        aee__sys_sleep(200000);
    }
    return atomic_load(what) >= least;
}

static void test_order(void **state)
{
    (void)state;
    struct item items[20] = {0};
    atomic_store(&gate, 0);
    for (unsigned i = 0; i < 20; i++) {
        items[i].job.run = run;
        aee__housekeeper_post(&keeper, &items[i].job);
    }
    assert_false(aee__housekeeper_is_self(&keeper));
    atomic_store(&gate, 1);
    aee__housekeeper_flush(&keeper);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(items[i].runs, 1);
        assert_int_equal(items[i].order, i + 1);
    }
    aee__housekeeper_flush(&keeper); /* nothing to wait for */
}

/* Nobody is woken for it until the nudge; another job takes it along. */
static void test_quiet(void **state)
{
    (void)state;
    struct item quiet = {.job = {.run = run}};
    struct item loud = {.job = {.run = run}};
    for (uint32_t round = 1; round <= 4; round += 2) {
        assert_true(wait_for(&idle_runs, 1));
        aee__sys_sleep(5 * MS); /* it sleeps */
        assert_true(aee__housekeeper_post_quietly(&keeper, &quiet.job));
        assert_false(aee__housekeeper_post_quietly(&keeper, &quiet.job));
        aee__sys_sleep(20 * MS);
        assert_int_equal(atomic_load(&quiet.runs), round - 1);
        aee__housekeeper_nudge(&keeper);
        assert_true(wait_for(&quiet.runs, round));
        aee__housekeeper_nudge(&keeper); /* for nothing */
        aee__sys_sleep(5 * MS);
        assert_true(aee__housekeeper_post_quietly(&keeper, &quiet.job));
        assert_true(aee__housekeeper_post(&keeper, &loud.job));
        assert_true(wait_for(&loud.runs, round / 2 + 1));
        assert_int_equal(atomic_load(&quiet.runs), round + 1);
    }
}

/* Jobs that wait for their time run after it and in its order, and hold nobody up. */
static void test_late(void **state)
{
    (void)state;
    struct item items[4] = {0};
    struct item other = {.job = {.run = run}};
    static const uint64_t delays_ms[4] = {120, 40, 80, 0};
    uint64_t begin = aee__now_ns();
    for (unsigned i = 0; i < 4; i++) {
        items[i].job.run = run;
        assert_true(
            aee__housekeeper_post_at(&keeper, &items[i].job, begin + delays_ms[i] * MS, false));
    }
    aee__housekeeper_post(&keeper, &other.job);
    assert_true(wait_for(&other.runs, 1));
    assert_int_equal(atomic_load(&items[0].runs), 0);
    assert_true(wait_for(&items[1].runs, 1));
    assert_true(aee__now_ns() - begin >= 40 * MS);
    assert_true(wait_for(&items[0].runs, 1));
    assert_true(aee__now_ns() - begin >= 120 * MS);
    assert_true(items[1].order < items[2].order && items[2].order < items[0].order);
    assert_int_equal(items[2].runs, 1);
    assert_int_equal(items[3].runs, 1);
}

/* Who posts loudly what is queued quietly wakes the thread. */
static void test_loud_after_quiet(void **state)
{
    (void)state;
    struct item item = {.job = {.run = run}};
    assert_true(wait_for(&idle_runs, 1));
    aee__sys_sleep(5 * MS);
    assert_true(aee__housekeeper_post_quietly(&keeper, &item.job));
    aee__sys_sleep(5 * MS);
    assert_int_equal(item.runs, 0);
    assert_false(aee__housekeeper_post(&keeper, &item.job));
    assert_true(wait_for(&item.runs, 1));
}

/* The earlier time counts, and a post without one most. */
static void test_hastened(void **state)
{
    (void)state;
    struct item items[4] = {0};
    uint64_t hour = aee__now_ns() + 3600 * 1000 * MS;
    for (unsigned i = 0; i < 4; i++) {
        items[i].job.run = run;
        assert_true(aee__housekeeper_post_at(&keeper, &items[i].job, hour + i, false));
        assert_false(aee__housekeeper_post_at(&keeper, &items[i].job, hour + 10, false));
    }
    aee__housekeeper_flush(&keeper); /* they are no reason to wait */
    assert_false(aee__housekeeper_post(&keeper, &items[1].job));
    assert_true(wait_for(&items[1].runs, 1));
    aee__housekeeper_hasten(&keeper, &items[1].job); /* it is not there: nothing happens */
    aee__housekeeper_hasten(&keeper, &items[2].job);
    assert_true(wait_for(&items[2].runs, 1));
    assert_false(aee__housekeeper_post_at(&keeper, &items[0].job, aee__now_ns() + MS, false));
    assert_true(wait_for(&items[0].runs, 1));
    assert_true(aee__housekeeper_post_at(&keeper, &items[0].job, hour, false));
    aee__sys_sleep(5 * MS);
    assert_int_equal(items[0].runs, 1);
    assert_int_equal(items[1].runs, 1);
    aee__housekeeper_stop(&keeper); /* runs those that are left */
    assert_int_equal(items[0].runs, 2);
    assert_int_equal(items[3].runs, 1);
    assert_int_equal(set_up(NULL), 0);
}

/* A quiet one is known of from the nudge on. */
static void test_quietly_late(void **state)
{
    (void)state;
    struct item item = {.job = {.run = run}};
    assert_true(wait_for(&idle_runs, 1));
    aee__sys_sleep(5 * MS);
    assert_true(aee__housekeeper_post_at(&keeper, &item.job, aee__now_ns() + MS, true));
    aee__sys_sleep(30 * MS);
    assert_int_equal(item.runs, 0);
    aee__housekeeper_nudge(&keeper);
    assert_true(wait_for(&item.runs, 1));
}

static void test_posted_twice(void **state)
{
    (void)state;
    struct item blocker = {.job = {.run = run}};
    struct item item = {.job = {.run = run}};
    atomic_store(&gate, 0);
    aee__housekeeper_post(&keeper, &blocker.job);
    for (unsigned i = 0; i < 5; i++) {
        aee__housekeeper_post(&keeper, &item.job); /* queued already: no effect */
    }
    atomic_store(&gate, 1);
    aee__housekeeper_flush(&keeper);
    assert_int_equal(item.runs, 1);
    item.again = true; /* a job that runs may post itself */
    aee__housekeeper_post(&keeper, &item.job);
    aee__housekeeper_flush(&keeper);
    assert_int_equal(item.runs, 3);
}

static void check_self(struct aee__job *job)
{
    struct item *item = (struct item *)(void *)job;
    (void)atomic_fetch_add(&item->runs, aee__housekeeper_is_self(&keeper));
}

static void test_self(void **state)
{
    (void)state;
    struct item item = {.job = {.run = check_self}};
    aee__housekeeper_post(&keeper, &item.job);
    aee__housekeeper_flush(&keeper);
    assert_int_equal(item.runs, 1);
}

static void test_idle_work(void **state)
{
    (void)state;
    struct item item = {.job = {.run = run}};
    assert_true(wait_for(&idle_runs, 1)); /* at the start */
    aee__sys_sleep(20 * MS);
    uint32_t before = atomic_load(&idle_runs);
    aee__sys_sleep(20 * MS);
    assert_int_equal(atomic_load(&idle_runs), before); /* sleeps when there is nothing to do */
    atomic_store(&idle_wanted, 7);
    aee__housekeeper_poke(&keeper);
    assert_true(wait_for(&idle_runs, before + 8));
    before = atomic_load(&idle_runs);
    atomic_store(&idle_wanted, 1);
    aee__housekeeper_post(&keeper, &item.job); /* after a job it looks again */
    assert_true(wait_for(&idle_runs, before + 2));
    assert_int_equal(item.runs, 1);
}

/* Work that comes up while idle work ends with "nothing left" is not forgotten. */
static void test_poke_during_idle_work(void **state)
{
    (void)state;
    assert_true(wait_for(&idle_runs, 1));
    aee__sys_sleep(10 * MS);
    atomic_store(&hold_idle, true);
    aee__housekeeper_poke(&keeper);
    while (!atomic_load(&in_idle)) {
        aee__sys_sleep(200000);
    }
    uint32_t before = atomic_load(&idle_runs);
    aee__housekeeper_poke(&keeper); /* it has looked already, and found nothing */
    atomic_store(&hold_idle, false);
    if (!wait_for(&idle_runs, before + 1)) {
        fail_msg("a poke while idle work runs is lost");
    }
}

/* Within a frame jobs run, idle work waits: but not through frame after frame for ever. */
static void test_hold(void **state)
{
    (void)state;
    struct item item = {.job = {.run = run}};
    assert_true(wait_for(&idle_runs, 1));
    aee__sys_sleep(10 * MS);
    uint32_t before = atomic_load(&idle_runs);
    aee__housekeeper_hold(&keeper);
    aee__housekeeper_poke(&keeper);
    aee__housekeeper_post(&keeper, &item.job);
    aee__housekeeper_flush(&keeper);
    assert_int_equal(item.runs, 1);
    aee__sys_sleep(20 * MS);
    assert_int_equal(atomic_load(&idle_runs), before);
    aee__housekeeper_release(&keeper);
    assert_true(wait_for(&idle_runs, before + 1));
    aee__sys_sleep(10 * MS);
    before = atomic_load(&idle_runs);
    for (unsigned i = 0; i < AEE__HOLDS_MAX; i++) { /* frames without a pause between them */
        aee__housekeeper_hold(&keeper);
        aee__housekeeper_poke(&keeper);
    }
    aee__sys_sleep(20 * MS);
    assert_int_equal(atomic_load(&idle_runs), before);
    aee__housekeeper_hold(&keeper); /* one hold began before there was anything to do */
    aee__housekeeper_hold(&keeper);
    assert_true(wait_for(&idle_runs, before + 1));
    aee__housekeeper_release(&keeper);
}

/* A job that is posted during idle work is not left behind. */
static void test_post_during_idle_work(void **state)
{
    (void)state;
    struct item item = {.job = {.run = run}};
    atomic_store(&hold_idle, true);
    aee__housekeeper_poke(&keeper);
    while (!atomic_load(&in_idle)) {
        aee__sys_sleep(200000);
        aee__housekeeper_poke(&keeper);
    }
    aee__housekeeper_post(&keeper, &item.job);
    atomic_store(&hold_idle, false);
    aee__housekeeper_flush(&keeper);
    assert_int_equal(item.runs, 1);
}

static void test_stop_runs_jobs(void **state)
{
    (void)state;
    struct item items[10] = {0};
    assert_int_equal(set_up(NULL), 0);
    atomic_store(&idle_wanted, UINT32_MAX); /* endless idle work does not keep it from ending */
    for (unsigned i = 0; i < 10; i++) {
        items[i].job.run = run;
        aee__housekeeper_post(&keeper, &items[i].job);
    }
    aee__housekeeper_stop(&keeper);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(items[i].runs, 1);
    }
}

enum { POSTERS = 4, ROUNDS = 5000 };

static void *post_many(void *argument)
{
    struct item *item = argument;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t before = atomic_load(&item->runs);
        aee__housekeeper_post(&keeper, &item->job);
        if (i % 100 == 0) {
            aee__housekeeper_flush(&keeper);
        }
        while (atomic_load(&item->runs) == before) {
            aee__cpu_relax();
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct item items[POSTERS] = {0};
    pthread_t threads[POSTERS];
    for (unsigned i = 0; i < POSTERS; i++) {
        items[i].job.run = run;
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &items[i]), 0);
    }
    for (unsigned i = 0; i < POSTERS; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_int_equal(items[i].runs, ROUNDS);
    }
}

static int no_thread(const char *name)
{
    return strcmp(name, "pthread_create") == 0 ? EAGAIN : 0;
}

static void test_no_thread(void **state)
{
    (void)state;
    aee_error error;
    aee__sys_fault = no_thread;
    assert_int_equal(aee__housekeeper_start(&keeper, "housekeeper", idle_work, NULL, &error),
                     AEE_ERR_LIMIT);
    aee__sys_fault = NULL;
    assert_non_null(strstr(error.text, "housekeeper"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_quiet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_loud_after_quiet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hastened, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_quietly_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_posted_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_self, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_idle_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_poke_during_idle_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hold, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_post_during_idle_work, set_up, tear_down),
        cmocka_unit_test(test_stop_runs_jobs),
        cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
        cmocka_unit_test(test_no_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
