/* tested.c: a component with tests that pass and tests that do not, for test_test.py. */
#include <aee_guest.h>
#include <stdio.h>

static int64_t calls;
static int64_t initialised;

void aee_init(void)
{
    initialised = 1;
    aee_log("initialised");
}

AEE_TEST(passes)
{
    AEE_CHECK(initialised == 1);
    AEE_CHECK(++calls == 1); /* nobody else's calls are seen here */
    aee_log("this one passes");
}

AEE_TEST(sees_no_other)
{
    AEE_CHECK(++calls == 1);
}

AEE_TEST(checks)
{
    aee_log_warning("about to check");
    AEE_CHECK(1 + 1 == 3);
}

AEE_TEST(traps)
{
    __builtin_trap();
}

AEE_TEST(hangs)
{
    for (;;) {
        __asm__ volatile("pause");
    }
}

AEE_SIGNATURE(test_returns_zero, "i:");
AEE_EXPORT int64_t test_returns_zero(void)
{
    return 0;
}

AEE_SIGNATURE(test_returns_seven, "i:");
AEE_EXPORT int64_t test_returns_seven(void)
{
    return 7;
}

AEE_EXPORT int64_t test_undeclared(void)
{
    return 0;
}

AEE_SIGNATURE(test_takes_arguments, "i:ii");
AEE_EXPORT int64_t test_takes_arguments(int64_t a, int64_t b)
{
    return a + b;
}

AEE_TEST(seed)
{
    printf("seed is %llu at %llu\n", (unsigned long long)aee_seed(),
           (unsigned long long)aee_time_ns());
}

AEE_TEST(chatters)
{
    for (int i = 0; i < 300; i++) {
        aee_log("line %d of many that are as long as this one is: %0400d", i, i);
    }
}

AEE_EXPORT int64_t not_a_test(void)
{
    return 1;
}
