/* test_policy.c: recovery/policy against a plain model of the same rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "recovery/policy.h"

#define SECOND UINT64_C(1000000000)

static struct aee__crash_history history;

static enum aee__verdict crash(uint32_t restarts, uint64_t window_ns, uint64_t now)
{
    aee_limits limits = {.restarts = restarts, .restart_window_ns = window_ns};
    return aee__policy_decide(&history, &limits, now);
}

static int set_up(void **state)
{
    (void)state;
    memset(&history, 0, sizeof history);
    return 0;
}

static void test_window(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(crash(5, 10 * SECOND, 100 * SECOND + i), AEE__VERDICT_RESTART);
    }
    assert_int_equal(crash(5, 10 * SECOND, 100 * SECOND + 5), AEE__VERDICT_QUARANTINE);
    history.count = 0; /* as a restart by hand does */
    assert_int_equal(crash(5, 10 * SECOND, 100 * SECOND + 6), AEE__VERDICT_RESTART);
}

static void test_slow_crashes(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 500; i++) { /* one in three seconds is never too many for 5 in 10 */
        assert_int_equal(crash(5, 10 * SECOND, i * 3 * SECOND + 1), AEE__VERDICT_RESTART);
    }
}

static void test_edge_of_window(void **state)
{
    (void)state;
    assert_int_equal(crash(1, 100, 1000), AEE__VERDICT_RESTART);
    assert_int_equal(crash(1, 100, 1100), AEE__VERDICT_QUARANTINE); /* exactly the window */
    set_up(NULL);
    assert_int_equal(crash(1, 100, 1000), AEE__VERDICT_RESTART);
    assert_int_equal(crash(1, 100, 1101), AEE__VERDICT_RESTART);
}

static void test_never(void **state)
{
    (void)state;
    aee_limits limits = {.restarts = 63, .restart_window_ns = 1, .never_restart = 1};
    assert_int_equal(aee__policy_decide(&history, &limits, 5), AEE__VERDICT_QUARANTINE);
}

/* The largest limit still ends: the history remembers enough. */
static void test_most(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 63; i++) {
        assert_int_equal(crash(63, 3600 * SECOND, 1 + i), AEE__VERDICT_RESTART);
    }
    for (uint64_t i = 63; i < 200; i++) {
        assert_int_equal(crash(63, 3600 * SECOND, 1 + i), AEE__VERDICT_QUARANTINE);
    }
}

static void test_model(void **state)
{
    (void)state;
    static uint64_t times[3000];
    uint64_t seed = 7;
    uint64_t now = SECOND;
    for (unsigned i = 0; i < 3000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        now += (seed >> 40) % 2000;
        times[i] = now;
        uint32_t restarts = 1 + (uint32_t)(seed >> 20) % 63;
        uint64_t window = 1 + (seed >> 30) % 20000;
        uint32_t recent = 0;
        for (unsigned j = i >= 63 ? i - 63 : 0; j <= i; j++) {
            recent += now - times[j] <= window;
        }
        assert_int_equal(crash(restarts, window, now),
                         recent > restarts ? AEE__VERDICT_QUARANTINE : AEE__VERDICT_RESTART);
    }
}

/* ---- Waits ------------------------------------------------------------------------------------ */

static uint64_t wait_of(uint64_t backoff_ns, uint64_t most_ns, uint64_t window_ns, uint64_t now)
{
    aee_limits limits = {.restarts = 63, .restart_window_ns = window_ns};
    aee_recovery_desc recovery = {.backoff_ns = backoff_ns, .backoff_max_ns = most_ns};
    (void)aee__policy_decide(&history, &limits, now);
    return aee__policy_backoff(&history, &limits, &recovery, now);
}

static void test_waits_double(void **state)
{
    (void)state;
    static const uint64_t waits[] = {0, 3, 6, 12, 24, 48, 90, 90, 90};
    for (uint64_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        assert_int_equal(wait_of(3, 90, SECOND, 1000 + i), waits[i]);
    }
}

static void test_no_wait_by_default(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 70; i++) {
        assert_int_equal(wait_of(0, i % 2, SECOND, 1 + i), 0);
    }
}

/* A second, or the first wait where that is longer. */
static void test_default_most(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t wait = wait_of(SECOND / 3, 0, 3600 * SECOND, 1 + i);
        assert_int_equal(wait, i == 0   ? 0
                               : i == 1 ? SECOND / 3
                               : i == 2 ? 2 * (SECOND / 3)
                                        : SECOND);
    }
    set_up(NULL);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(wait_of(7 * SECOND, 0, 3600 * SECOND, 1 + i), i ? 7 * SECOND : 0);
    }
}

/* Crashes that are out of the window are forgotten, one by one. */
static void test_waits_shrink(void **state)
{
    (void)state;
    assert_int_equal(wait_of(5, 1000, 100, 1000), 0);
    assert_int_equal(wait_of(5, 1000, 100, 1010), 5);
    assert_int_equal(wait_of(5, 1000, 100, 1020), 10);
    assert_int_equal(wait_of(5, 1000, 100, 1111), 5); /* 1000 and 1010 are out */
    assert_int_equal(wait_of(5, 1000, 100, 1121), 5);
    assert_int_equal(wait_of(5, 1000, 100, 1222), 0);
}

/* Nothing overflows. */
static void test_long_waits(void **state)
{
    (void)state;
    uint64_t most = UINT64_MAX;
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t wait = wait_of(UINT64_C(1) << 60, most, SECOND, 1 + i);
        assert_true(wait == (i == 0 ? 0 : i <= 4 ? UINT64_C(1) << (59 + i) : most));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_window, set_up),
        cmocka_unit_test_setup(test_slow_crashes, set_up),
        cmocka_unit_test_setup(test_edge_of_window, set_up),
        cmocka_unit_test_setup(test_never, set_up),
        cmocka_unit_test_setup(test_most, set_up),
        cmocka_unit_test_setup(test_model, set_up),
        cmocka_unit_test_setup(test_waits_double, set_up),
        cmocka_unit_test_setup(test_no_wait_by_default, set_up),
        cmocka_unit_test_setup(test_default_most, set_up),
        cmocka_unit_test_setup(test_waits_shrink, set_up),
        cmocka_unit_test_setup(test_long_waits, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
