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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_window, set_up),
        cmocka_unit_test_setup(test_slow_crashes, set_up),
        cmocka_unit_test_setup(test_edge_of_window, set_up),
        cmocka_unit_test_setup(test_never, set_up),
        cmocka_unit_test_setup(test_most, set_up),
        cmocka_unit_test_setup(test_model, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
