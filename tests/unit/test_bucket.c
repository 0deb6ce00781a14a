/* test_bucket.c: isolation/bucket: bursts, flow, debt, giving back, extremes, threads. Time is what
 * the test says it is. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "isolation/bucket.h"

#define SECOND UINT64_C(1000000000)
#define BEGIN (UINT64_C(1000) * SECOND)

static struct aee__bucket make(uint64_t rate)
{
    struct aee__bucket bucket = {0};
    aee__bucket_set(&bucket, rate, BEGIN - 5 * SECOND);
    return bucket;
}

static unsigned take_all(struct aee__bucket *bucket, uint64_t now_ns)
{
    unsigned count = 0;
    while (aee__bucket_take(bucket, 1, now_ns)) {
        count++;
    }
    return count;
}

static void test_burst_and_flow(void **state)
{
    (void)state;
    struct aee__bucket bucket = make(10);
    assert_int_equal(take_all(&bucket, BEGIN), 10);
    assert_int_equal(take_all(&bucket, BEGIN + SECOND / 10 - 1), 0);
    assert_int_equal(take_all(&bucket, BEGIN + SECOND / 10), 1);
    assert_int_equal(take_all(&bucket, BEGIN + SECOND / 2), 4);
    assert_int_equal(take_all(&bucket, BEGIN + 100 * SECOND), 10); /* it holds no more */
    assert_int_equal(take_all(&bucket, BEGIN), 0);                 /* a clock that goes back */
}

/* In t seconds at most rate * (t + 1), however they are taken. */
static void test_long_run(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1, 3, 7, 1000, 999983};
    for (unsigned i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct aee__bucket bucket = make(rates[i]);
        uint64_t taken = 0;
        for (uint64_t step = 0; step <= 30; step++) {
            taken += take_all(&bucket, BEGIN + step * SECOND / 10);
        }
        assert_true(taken <= 4 * rates[i]);
        assert_true(taken >= 4 * rates[i] - rates[i] / 100 - 1); /* costs are rounded up */
    }
}

static void test_all_or_nothing(void **state)
{
    (void)state;
    struct aee__bucket bucket = make(1000);
    assert_true(aee__bucket_take(&bucket, 600, BEGIN));
    assert_false(aee__bucket_take(&bucket, 600, BEGIN));
    assert_true(aee__bucket_take(&bucket, 400, BEGIN)); /* the refusal took nothing */
    assert_false(aee__bucket_take(&bucket, 1, BEGIN));
    assert_true(aee__bucket_take(&bucket, 0, BEGIN) && aee__bucket_borrow(&bucket, 0, BEGIN));
    assert_false(aee__bucket_borrow(&bucket, 1, BEGIN));
    assert_true(aee__bucket_take(&bucket, 600, BEGIN + SECOND * 6 / 10));
}

/* More than a second's worth: once the bucket is full, and then nothing until it is paid for. */
static void test_debt(void **state)
{
    (void)state;
    struct aee__bucket bucket = make(1000);
    assert_true(aee__bucket_take(&bucket, 1, BEGIN));
    assert_false(aee__bucket_borrow(&bucket, 5000, BEGIN));
    assert_false(aee__bucket_take(&bucket, 1001, BEGIN + SECOND));
    assert_true(aee__bucket_borrow(&bucket, 5000, BEGIN + SECOND));
    assert_false(aee__bucket_take(&bucket, 1, BEGIN + 5 * SECOND));
    assert_true(aee__bucket_take(&bucket, 1, BEGIN + 5 * SECOND + SECOND / 1000));
}

static void test_charge(void **state)
{
    (void)state;
    struct aee__bucket bucket = make(SECOND / 2); /* half of a processor's time */
    assert_true(aee__bucket_has_room(&bucket, BEGIN));
    aee__bucket_charge(&bucket, SECOND / 4, BEGIN);
    assert_true(aee__bucket_has_room(&bucket, BEGIN));
    aee__bucket_charge(&bucket, SECOND / 4, BEGIN);
    assert_false(aee__bucket_has_room(&bucket, BEGIN));
    assert_true(aee__bucket_has_room(&bucket, BEGIN + 1));
    aee__bucket_charge(&bucket, SECOND, BEGIN + 1); /* used already: it is owed */
    assert_false(aee__bucket_has_room(&bucket, BEGIN + 2 * SECOND));
    assert_true(aee__bucket_has_room(&bucket, BEGIN + 2 * SECOND + 2));
    aee__bucket_charge(&bucket, 0, BEGIN + 3 * SECOND);
    assert_true(aee__bucket_has_room(&bucket, BEGIN + 3 * SECOND));
}

static void test_give_back(void **state)
{
    (void)state;
    struct aee__bucket bucket = make(10);
    assert_int_equal(take_all(&bucket, BEGIN), 10);
    aee__bucket_give_back(&bucket, 4);
    assert_int_equal(take_all(&bucket, BEGIN), 4);
    aee__bucket_give_back(&bucket, UINT64_MAX); /* never beyond full */
    assert_int_equal(take_all(&bucket, BEGIN), 10);
}

static void test_new_rates(void **state)
{
    (void)state;
    struct aee__bucket bucket = make(10);
    assert_int_equal(take_all(&bucket, BEGIN), 10);
    aee__bucket_set(&bucket, 10, BEGIN);
    assert_int_equal(take_all(&bucket, BEGIN), 0);
    aee__bucket_set(&bucket, 50, BEGIN); /* ten of them have been taken */
    assert_int_equal(take_all(&bucket, BEGIN), 40);
    aee__bucket_set(&bucket, 10, BEGIN); /* fifty: five seconds' worth */
    assert_int_equal(take_all(&bucket, BEGIN + 4 * SECOND), 0);
    assert_int_equal(take_all(&bucket, BEGIN + 5 * SECOND), 10);
    aee__bucket_set(&bucket, AEE__BUCKET_UNLIMITED, BEGIN);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(aee__bucket_take(&bucket, UINT64_MAX, BEGIN));
        assert_true(aee__bucket_borrow(&bucket, UINT64_MAX, BEGIN));
        aee__bucket_charge(&bucket, UINT64_MAX, BEGIN);
        assert_true(aee__bucket_has_room(&bucket, BEGIN));
    }
    aee__bucket_give_back(&bucket, 1);
    aee__bucket_set(&bucket, 10, BEGIN);
    assert_int_equal(take_all(&bucket, BEGIN), 10);
}

/* Neither overflows, nor locks anybody out for good. */
static void test_extremes(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1, SECOND, SECOND * 1000, UINT64_MAX - 1};
    for (unsigned i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct aee__bucket bucket = make(rates[i]);
        assert_false(aee__bucket_take(&bucket, UINT64_MAX, BEGIN));
        assert_true(aee__bucket_borrow(&bucket, UINT64_MAX, BEGIN));
        assert_false(aee__bucket_borrow(&bucket, UINT64_MAX, BEGIN));
        for (unsigned times = 0; times < 10; times++) {
            aee__bucket_charge(&bucket, UINT64_MAX, BEGIN);
        }
        assert_false(aee__bucket_has_room(&bucket, BEGIN));
        aee__bucket_set(&bucket, rates[i] - (rates[i] > 1), BEGIN);
        assert_true(aee__bucket_take(&bucket, 1, BEGIN + AEE__BUCKET_DEBT_NS + SECOND));
    }
    struct aee__bucket fast = make(10 * SECOND); /* less than a nanosecond a unit: not free */
    assert_true(aee__bucket_take(&fast, 1, BEGIN));
    assert_false(aee__bucket_take(&fast, 10 * SECOND, BEGIN));
    struct aee__bucket early = {0};
    assert_true(aee__bucket_take(&early, UINT64_MAX, 0));
    aee__bucket_set(&early, 5, 0);
    assert_int_equal(take_all(&early, 0), 5); /* a machine that has just been started */
}

static struct aee__bucket shared;
static _Atomic unsigned shared_taken;

static void *take_shared(void *unused)
{
    (void)unused;
    (void)atomic_fetch_add(&shared_taken, take_all(&shared, BEGIN));
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    shared = make(100000);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_shared, NULL), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(shared_taken, 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_and_flow), cmocka_unit_test(test_long_run),
        cmocka_unit_test(test_all_or_nothing), cmocka_unit_test(test_debt),
        cmocka_unit_test(test_charge),         cmocka_unit_test(test_give_back),
        cmocka_unit_test(test_new_rates),      cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
