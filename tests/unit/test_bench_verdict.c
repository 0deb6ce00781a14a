/* test_bench_verdict.c: bench/verdict: what counts as met. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/bench.h"

static struct bench_result result_of(double p50, double p99, double floor)
{
    struct bench_result result = {.row = {.p50 = p50, .p99 = p99, .mean = p50, .count = 10}};
    if (floor > 0.0) {
        result.floor = (struct bench_summary){.p50 = floor, .p99 = floor, .count = 10};
    }
    return result;
}

static void expect(enum bench_verdict wanted, struct bench_target target,
                   struct bench_result result)
{
    const struct bench_row row = {.name = "row", .target = target};
    assert_int_equal(bench_judge(&row, &result), wanted);
}

static void test_ratios(void **state)
{
    (void)state;
    const struct bench_target target = {.p50_ratio = 1.5, .p99_ratio = 4.0};
    expect(BENCH_MET, target, result_of(150, 400, 100));
    expect(BENCH_MISSED, target, result_of(151, 400, 100));
    expect(BENCH_MISSED, target, result_of(150, 401, 100));
    const struct bench_result result = result_of(150, 400, 100);
    assert_true(bench_ratio(&result) == 1.5);
}

static void test_absolute_figures(void **state)
{
    (void)state;
    expect(BENCH_MET, (struct bench_target){.p50 = 60.0}, result_of(60, 900, 0));
    expect(BENCH_MISSED, (struct bench_target){.p50 = 60.0}, result_of(61, 900, 0));
    expect(BENCH_MISSED, (struct bench_target){.p99 = 250.0}, result_of(60, 251, 0));
    expect(BENCH_MISSED, (struct bench_target){.mean = 59.0}, result_of(60, 60, 0));
    expect(BENCH_MET, (struct bench_target){.least_p50 = 1000.0}, result_of(1000, 1000, 0));
    expect(BENCH_MISSED, (struct bench_target){.least_p50 = 1000.0}, result_of(999, 999, 0));
}

static void test_the_row_may_decide(void **state)
{
    (void)state;
    struct bench_result result = result_of(1, 1, 1);
    const struct bench_target target = {.p50_ratio = 1.1, .own = true};
    expect(BENCH_MISSED, target, result);
    result.met = true;
    expect(BENCH_MET, target, result);
}

static void test_no_verdict(void **state)
{
    (void)state;
    struct bench_result result = result_of(1, 1, 1);
    expect(BENCH_NO_TARGET, (struct bench_target){0}, result);
    result.unjudged = true;
    expect(BENCH_NO_TARGET, (struct bench_target){.p50 = 0.5}, result);
    result = (struct bench_result){0};
    expect(BENCH_NO_TARGET, (struct bench_target){.p50 = 0.5}, result);
    assert_true(bench_ratio(&result) == 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ratios),
        cmocka_unit_test(test_absolute_figures),
        cmocka_unit_test(test_the_row_may_decide),
        cmocka_unit_test(test_no_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
