/* test_alloc_faults.c: the scenario with its first, second, third … allocation refused, and with
 * all allocations from the n-th on: each time a clean error or a success, and nothing is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "faults/scenario.h"

static struct scenario s;

static void check(size_t n, aee_result result, const struct resources *before)
{
    const char *fault = scenario_fault(&s, before);
    if (fault) {
        fail_msg("allocation %zu: %s after \"%s\" gave %s \"%s\"", n, fault, s.step,
                 aee_result_name(result), s.error.text);
    }
}

static void sweep(bool and_later)
{
    unsigned refused = 0;
    unsigned survived = 0;
    s.ledger = (struct ledger){0};
    assert_int_equal(scenario_run(&s), AEE_OK); /* what the first run leaves for ever, is left */
    struct resources before = count_resources();
    for (size_t n = 1;; n++) {
        s.ledger = (struct ledger){.fail_at = n, .fail_on = and_later};
        aee_result result = scenario_run(&s);
        check(n, result, &before);
        if (s.ledger.requests < n) { /* it was not reached any more */
            assert_int_equal(result, AEE_OK);
            break;
        }
        refused += result != AEE_OK;
        survived += result == AEE_OK;
        bool plausible = result == AEE_OK || result == AEE_ERR_NO_MEMORY ||
                         result == AEE_ERR_QUARANTINED || result == AEE_ERR_TIMED_OUT;
        if (!plausible) {
            fail_msg("allocation %zu: \"%s\" gave %s \"%s\"", n, s.step, aee_result_name(result),
                     s.error.text);
        }
    }
    print_message("%u times an error, %u times a success\n", refused, survived);
    assert_true(refused > 10);
    s.ledger = (struct ledger){0};
    assert_int_equal(scenario_run(&s), AEE_OK); /* a retry without faults works */
    check(0, AEE_OK, &before);
}

static void test_each(void **state)
{
    (void)state;
    sweep(false);
}

static void test_each_and_all_later(void **state)
{
    (void)state;
    sweep(true);
}

/* Within one engine: an operation that failed for lack of memory works when there is some. */
static void test_retry(void **state)
{
    (void)state;
    struct scenario *again = &s;
    for (size_t more = 1; more < 30; more++) {
        s.ledger = (struct ledger){0};
        struct file compute = s.compute;
        s = (struct scenario){.compute = compute};
        assert_int_equal(scenario_create(again), AEE_OK);
        sleep_ns(30 * MS); /* the pool is full: allocations come from this thread only */
        s.ledger.fail_at = s.ledger.requests + more;
        aee_context_info info;
        aee_result result = aee_load(s.engine, s.worker, s.compute.bytes, s.compute.size, &s.error);
        bool reached = s.ledger.requests >= s.ledger.fail_at;
        assert_int_equal(result, reached && result != AEE_OK ? AEE_ERR_NO_MEMORY : AEE_OK);
        s.ledger.fail_at = 0;
        assert_int_equal(aee_get_context_info(s.engine, s.worker, &info, NULL), AEE_OK);
        assert_int_equal(info.state, AEE_STATE_READY); /* keeps what it had */
        assert_int_equal(scenario_use(again), AEE_OK);
        aee_engine_destroy(s.engine);
        assert_int_equal(s.ledger.live, 0);
        if (!reached) {
            break;
        }
    }
}

int main(void)
{
    int skip = skip_without_engine();
    if (skip) {
        return skip;
    }
    s.compute = read_component("compute");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_each_and_all_later),
        cmocka_unit_test(test_retry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
