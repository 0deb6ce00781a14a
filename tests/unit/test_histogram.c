/* test_histogram.c: monitor/histogram against exact quantiles of the same values. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "monitor/histogram.h"

enum { COUNT = 20000 };

static struct aee__histogram histogram;
static uint64_t values[COUNT];

static uint64_t next(uint64_t *seed) /* splitmix64 */
{
    uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void expect_close(const char *name, double share)
{
    uint64_t got = aee__histogram_quantile(&histogram, share);
    uint64_t rank = (uint64_t)((double)COUNT * share);
    uint64_t exact = values[rank < COUNT ? rank : COUNT - 1];
    /* Never below the exact value, and above it by at most a bucket: 1/32. */
    if (got < exact || (double)got > (double)exact * (1.0 + 1.0 / 32.0) + 1.0) {
        fail_msg("%s: quantile %g is %llu, exactly %llu", name, share, (unsigned long long)got,
                 (unsigned long long)exact);
    }
}

static void check(const char *name)
{
    static const double shares[] = {0.0, 0.01, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0};
    memset(&histogram, 0, sizeof histogram);
    for (unsigned i = 0; i < COUNT; i++) {
        aee__histogram_record(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof values[0], by_value);
    for (unsigned i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        expect_close(name, shares[i]);
    }
    assert_true(aee__histogram_max(&histogram) == values[COUNT - 1]);
    assert_true(aee__histogram_quantile(&histogram, 1.0) == values[COUNT - 1]);
}

static void test_distributions(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (unsigned i = 0; i < COUNT; i++) {
        values[i] = next(&seed) % 50;
    }
    check("small");
    for (unsigned i = 0; i < COUNT; i++) {
        values[i] = next(&seed) % 1000000;
    }
    check("even");
    for (unsigned i = 0; i < COUNT; i++) { /* each power of two alike, up to 2^35 */
        values[i] = next(&seed) >> (29 + next(&seed) % 34);
    }
    check("wide");
    for (unsigned i = 0; i < COUNT; i++) {
        values[i] = i % 100 == 0 ? 50000000 + i : 900 + i % 7;
    }
    check("two peaks");
    for (unsigned i = 0; i < COUNT; i++) {
        values[i] = 12345;
    }
    check("one value");
}

/* Each value by itself: buckets have no gaps and do not overlap. */
static void test_every_bucket(void **state)
{
    (void)state;
    for (uint64_t ns = 0; ns < (UINT64_C(1) << 36); ns += 1 + ns / 97) {
        memset(&histogram, 0, sizeof histogram);
        aee__histogram_record(&histogram, ns);
        aee__histogram_record(&histogram, UINT64_C(1) << 36); /* so that max does not cap it */
        uint64_t got = aee__histogram_quantile(&histogram, 0.25);
        assert_true(got >= ns);
        assert_true((double)(got - ns) <= (double)ns / 32.0);
    }
}

static void test_extremes(void **state)
{
    (void)state;
    memset(&histogram, 0, sizeof histogram);
    assert_int_equal(aee__histogram_quantile(&histogram, 0.5), 0);
    assert_int_equal(aee__histogram_quantile(&histogram, 1.0), 0);
    assert_int_equal(aee__histogram_max(&histogram), 0);
    aee__histogram_record(&histogram, UINT64_MAX); /* longer than the buckets reach */
    assert_true(aee__histogram_max(&histogram) == UINT64_MAX);
    assert_true(aee__histogram_quantile(&histogram, 0.5) >= UINT64_C(1) << 35);
    aee__histogram_record(&histogram, 0);
    assert_int_equal(aee__histogram_quantile(&histogram, 0.0), 0);
    assert_true(aee__histogram_quantile(&histogram, 2.0) >= UINT64_C(1) << 35);
}

static void *record_all(void *argument)
{
    uint64_t first = (uint64_t)(uintptr_t)argument;
    for (uint64_t i = 0; i < COUNT; i++) {
        aee__histogram_record(&histogram, first + 4 * i);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    uint64_t total = 0;
    memset(&histogram, 0, sizeof histogram);
    for (uintptr_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, record_all, (void *)i), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < AEE__HISTOGRAM_BUCKETS; i++) {
        total += histogram.buckets[i];
    }
    assert_int_equal(total, 4 * COUNT); /* none is lost */
    assert_int_equal(aee__histogram_max(&histogram), 4 * COUNT - 1);
    double median = (double)aee__histogram_quantile(&histogram, 0.5);
    assert_true(median >= 2.0 * COUNT && median <= 2.0 * COUNT * 33.0 / 32.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_every_bucket),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
