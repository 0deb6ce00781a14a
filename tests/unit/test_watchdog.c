/* test_watchdog.c: isolation/watchdog: no deadline is missed or comes early, and arming and
 * expiring exclude each other. Accuracy is printed, not judged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/watchdog.h"

#define MS UINT64_C(1000000)

struct item {
    struct aee__watch watch; /* first */
    _Atomic uint64_t expired_ns;
    _Atomic uint32_t expired;
};

static struct aee__watchdog dog;

/* It is called again from time to time until the watch is postponed, so that it may come late, for
 * a deadline that is over. */
static void expire(struct aee__watch *watch)
{
    struct item *item = (struct item *)(void *)watch;
    if (!aee__watch_expired(watch)) {
        return;
    }
    atomic_store(&item->expired_ns, aee__now_ns());
    (void)atomic_fetch_add(&item->expired, 1);
}

static int set_up(void **state)
{
    (void)state;
    return aee__watchdog_start(&dog, NULL) == AEE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    aee__watchdog_stop(&dog);
    return 0;
}

static void add(struct item *item)
{
    *item = (struct item){.watch = {.expire = expire}};
    aee__watchdog_add(&dog, &item->watch);
}

static bool wait_expired(const struct item *item, uint32_t times, uint64_t ns)
{
    uint64_t end = aee__now_ns() + ns;
    while (atomic_load(&item->expired) < times && aee__now_ns() < end) {
        aee__sys_sleep(50000);
    }
    return atomic_load(&item->expired) >= times;
}

/* From 50 us, the least budget, to some milliseconds; after a long silence, too. */
static void test_accuracy(void **state)
{
    (void)state;
    static const uint64_t delays[] = {50000, 300000, 900000, MS, 3 * MS, 5 * MS, 20 * MS};
    struct item item;
    add(&item);
    for (unsigned i = 0; i < sizeof delays / sizeof delays[0]; i++) {
        uint64_t worst = 0;
        for (uint32_t round = 0; round < 10; round++) {
            uint64_t deadline = aee__now_ns() + delays[i];
            uint32_t before = atomic_load(&item.expired);
            aee__watchdog_arm(&dog, &item.watch, deadline);
            assert_true(wait_expired(&item, before + 1, 10000 * MS));
            uint64_t at = atomic_load(&item.expired_ns);
            assert_true(at >= deadline); /* never early */
            aee__watch_postpone(&item.watch, 0);
            worst = at - deadline > worst ? at - deadline : worst;
            if (round == 5) {
                aee__sys_sleep(20 * MS); /* the thread goes to sleep for good */
            }
        }
        print_message("deadline in %llu us: at most %llu us late\n",
                      (unsigned long long)(delays[i] / 1000), (unsigned long long)(worst / 1000));
    }
    aee__watchdog_remove(&dog, &item.watch);
}

static void test_postponed(void **state)
{
    (void)state;
    struct item item;
    add(&item);
    aee__watch_postpone(&item.watch, 1); /* has not expired: no effect */
    assert_int_equal(item.watch.deadline_ns, 0);
    for (unsigned i = 0; i < 100; i++) {
        aee__watchdog_arm(&dog, &item.watch, aee__now_ns() + 20 * MS);
    }
    assert_false(aee__watch_expired(&item.watch));
    /* A later deadline takes the place of an earlier one. */
    uint64_t late = aee__now_ns() + 60 * MS;
    aee__watchdog_arm(&dog, &item.watch, late);
    assert_true(wait_expired(&item, 1, 10000 * MS));
    assert_true(item.expired_ns >= late);
    assert_true(aee__watch_expired(&item.watch));
    /* Postponed, it expires once more. */
    uint64_t later = aee__now_ns() + 30 * MS;
    aee__watch_postpone(&item.watch, later);
    assert_false(aee__watch_expired(&item.watch));
    uint32_t before = atomic_load(&item.expired);
    assert_true(wait_expired(&item, before + 1, 10000 * MS));
    assert_true(item.expired_ns >= later);
    /* Cleared, it is left alone. */
    aee__watch_postpone(&item.watch, 0);
    aee__sys_sleep(10 * MS);
    before = atomic_load(&item.expired);
    aee__sys_sleep(20 * MS);
    assert_int_equal(item.expired, before);
    /* A deadline in the past is one that is due. */
    aee__watchdog_arm(&dog, &item.watch, 1);
    assert_true(wait_expired(&item, before + 1, 10000 * MS));
    aee__watchdog_remove(&dog, &item.watch);
}

static void test_many(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    struct item *items = calloc(COUNT, sizeof *items);
    uint64_t now = aee__now_ns();
    for (unsigned i = 0; i < COUNT; i++) {
        add(&items[i]);
    }
    for (unsigned i = 0; i < COUNT; i++) { /* from the last deadline to the first */
        aee__watchdog_arm(&dog, &items[i].watch, now + (COUNT - i) * 200000);
    }
    for (unsigned i = 0; i < COUNT; i += 3) {
        aee__watchdog_arm(&dog, &items[i].watch, 0); /* an owner may clear it at any time */
    }
    aee__sys_sleep(COUNT * 200000 + 20 * MS);
    for (unsigned i = 0; i < COUNT; i++) {
        if (i % 3 != 0) {
            assert_true(wait_expired(&items[i], 1, 10000 * MS));
        }
    }
    /* Until somebody postpones it, it is told again. */
    assert_true(wait_expired(&items[1], items[1].expired + 2, 10000 * MS));
    aee__watch_postpone(&items[1].watch, 0);
    aee__sys_sleep(10 * MS);
    uint32_t told = items[1].expired;
    aee__sys_sleep(10 * MS);
    assert_int_equal(items[1].expired, told);
    for (unsigned i = 0; i < COUNT; i += 2) { /* from the middle of the list, and its ends */
        aee__watchdog_remove(&dog, &items[i].watch);
    }
    for (unsigned i = 1; i < COUNT; i += 2) {
        aee__watchdog_remove(&dog, &items[COUNT - i].watch);
    }
    assert_null(dog.watches);
    free(items);
}

/* ---- Ahead of time -------------------------------------------------------------------------------- */

struct approached {
    struct item item; /* first */
    _Atomic uint32_t asked;
    _Atomic uint64_t asked_ns; /* the last time */
    bool arranged;
};

static bool approach(struct aee__watch *watch)
{
    struct approached *approached = (struct approached *)(void *)watch;
    (void)atomic_fetch_add(&approached->asked, 1);
    atomic_store(&approached->asked_ns, aee__now_ns());
    return approached->arranged;
}

/* Asked some milliseconds before the deadline, several times; it expires all the same. */
static void test_approach(void **state)
{
    (void)state;
    struct approached approached = {.arranged = true};
    for (unsigned round = 0; round < 6; round++) {
        add(&approached.item);
        approached.item.watch.approach = approach;
        approached.arranged = round % 2 == 0;
        uint32_t asked = atomic_load(&approached.asked);
        uint64_t deadline = aee__now_ns() + 40 * MS;
        aee__watchdog_arm(&dog, &approached.item.watch, deadline);
        aee__sys_sleep(20 * MS);
        if (aee__now_ns() < deadline - 10 * MS) {
            assert_int_equal(approached.asked, asked); /* too early */
        }
        assert_true(wait_expired(&approached.item, 1, 10000 * MS));
        uint64_t at = atomic_load(&approached.item.expired_ns);
        assert_true(at >= deadline);
        print_message("asked %u times, the last %lld us before the deadline\n",
                      approached.asked - asked, (long long)(deadline - approached.asked_ns) / 1000);
        assert_true(approached.asked > asked || at > deadline + 2 * MS); /* it came too late */
        aee__watch_postpone(&approached.item.watch, 0);
        aee__watchdog_remove(&dog, &approached.item.watch);
    }
}

/* ---- Races ---------------------------------------------------------------------------------------- */

enum { ROUNDS = 3000, RACERS = 3 };

struct racer {
    struct item item;
    uint32_t expired; /* rounds that ended after the deadline was found */
    uint32_t early;
    uint32_t missing;
};

/* Arms so that arming anew and expiring happen at the same moment. */
static void *race(void *argument)
{
    struct racer *racer = argument;
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    for (unsigned i = 0; i < ROUNDS; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint64_t end = aee__now_ns() + 20000 + (seed >> 13) % 150000;
        uint64_t deadline = aee__now_ns() + 20000 + (seed >> 33) % 150000;
        aee__watchdog_arm(&dog, &racer->item.watch, deadline);
        while (aee__now_ns() < end) {
            aee__cpu_relax();
        }
        if (i % 2 == 0 && aee__watch_expired(&racer->item.watch)) { /* the callback follows */
            uint64_t until = aee__now_ns() + 5000 * MS;
            while (atomic_load(&racer->item.expired_ns) < deadline && aee__now_ns() < until) {
                aee__sys_sleep(20000);
            }
            racer->missing += atomic_load(&racer->item.expired_ns) < deadline;
        }
        bool expired = aee__watch_expired(&racer->item.watch);
        aee__watchdog_arm(&dog, &racer->item.watch, aee__now_ns() + 1000000 * MS);
        racer->expired += expired;
        racer->early += expired && aee__now_ns() < deadline;
        racer->missing += aee__watch_expired(&racer->item.watch);
    }
    return NULL;
}

static void test_races(void **state)
{
    (void)state;
    struct racer racers[RACERS];
    pthread_t threads[RACERS];
    for (unsigned i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){0};
        add(&racers[i].item);
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < RACERS; i++) {
        (void)pthread_join(threads[i], NULL);
        aee__watchdog_remove(&dog, &racers[i].item.watch);
        print_message("%u of %u expired\n", racers[i].expired, ROUNDS);
        assert_int_equal(racers[i].early, 0);
        assert_int_equal(racers[i].missing, 0);
        assert_in_range(racers[i].expired, 1, ROUNDS - 1);
    }
}

/* After remove() returned, expire() does not run: the watch may be freed. */
static void test_removed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        struct item *item = malloc(sizeof *item);
        add(item);
        aee__watchdog_arm(&dog, &item->watch, aee__now_ns() + i % 100 * 1000);
        for (unsigned turn = 0; turn < i % 37 * 40; turn++) {
            aee__cpu_relax();
        }
        aee__watchdog_remove(&dog, &item->watch);
        memset(item, 0x5a, sizeof *item);
        free(item);
    }
    assert_null(dog.watches);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_accuracy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_postponed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_approach, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_races, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_removed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
