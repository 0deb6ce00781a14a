/* test_bench_stats.c: bench/stats: percentiles by nearest rank. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bench/stats.h"

/* 1 to count, in an order that is not sorted: 7 is prime to all counts used here. */
static void fill(struct bench_samples *samples, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        bench_samples_add(samples, (double)(i * UINT64_C(7) % count + 1));
    }
}

static struct bench_summary summarize_first(uint32_t count)
{
    struct bench_samples samples;
    assert_true(bench_samples_init(&samples, count));
    fill(&samples, count);
    const struct bench_summary summary = bench_summarize(&samples);
    bench_samples_free(&samples);
    return summary;
}

static void expect(uint32_t count, double p50, double p99, double mean)
{
    const struct bench_summary summary = summarize_first(count);
    assert_int_equal(summary.count, count);
    assert_true(summary.p50 == p50);
    assert_true(summary.p99 == p99);
    assert_true(summary.max == (double)count);
    assert_true(summary.mean == mean);
}

static void test_percentiles(void **state)
{
    (void)state;
    expect(1, 1, 1, 1.0);
    expect(2, 1, 2, 1.5);
    expect(3, 2, 3, 2.0);
    expect(99, 50, 99, 50.0);
    expect(100, 50, 99, 50.5);
    expect(101, 51, 100, 51.0);
    expect(1000, 500, 990, 500.5);
    expect(100000, 50000, 99000, 50000.5);
}

static void test_one_outlier_is_the_maximum_only(void **state)
{
    (void)state;
    struct bench_samples samples;
    assert_true(bench_samples_init(&samples, 200));
    for (int i = 0; i < 199; i++) {
        bench_samples_add(&samples, 10.0);
    }
    bench_samples_add(&samples, 1e9);
    const struct bench_summary summary = bench_summarize(&samples);
    assert_true(summary.p50 == 10.0 && summary.p99 == 10.0 && summary.max == 1e9);
    bench_samples_free(&samples);
}

/* A time of 113 by a clock with steps of 10: 110 seven times of ten, else 120. */
static void test_steps_of_the_clock(void **state)
{
    (void)state;
    struct bench_samples samples;
    assert_true(bench_samples_init(&samples, 1002));
    bench_samples_add(&samples, 100.0);
    bench_samples_add(&samples, 130.0);
    for (int i = 0; i < 1000; i++) {
        bench_samples_add(&samples, i % 10 < 7 ? 110.0 : 120.0);
    }
    const struct bench_summary summary = bench_summarize(&samples);
    assert_true(summary.p50 > 111.0 && summary.p50 < 113.0);
    assert_true(summary.p99 > 120.0 && summary.p99 <= 125.0);
    assert_true(summary.max == 130.0);
    bench_samples_free(&samples);
}

static void test_nothing(void **state)
{
    (void)state;
    struct bench_samples samples;
    assert_true(bench_samples_init(&samples, 4));
    const struct bench_summary summary = bench_summarize(&samples);
    assert_int_equal(summary.count, 0);
    assert_true(summary.p50 == 0.0 && summary.p99 == 0.0 && summary.max == 0.0);
    bench_samples_free(&samples);
    bench_samples_free(&samples); /* nothing is left to free */
}

static void test_what_does_not_fit_is_dropped(void **state)
{
    (void)state;
    struct bench_samples samples;
    assert_true(bench_samples_init(&samples, 2));
    for (int i = 1; i <= 5; i++) {
        bench_samples_add(&samples, i);
    }
    const struct bench_summary summary = bench_summarize(&samples);
    assert_int_equal(summary.count, 2);
    assert_true(summary.max == 2.0);
    bench_samples_free(&samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_one_outlier_is_the_maximum_only),
        cmocka_unit_test(test_steps_of_the_clock),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_what_does_not_fit_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
