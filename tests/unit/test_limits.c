/* test_limits.c: engine/limits: defaults of each kind, completion, every field at its ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"

#define HOUR UINT64_C(3600000000000)

static aee_limits base;

static int set_up(void **state)
{
    (void)state;
    return aee_default_limits(AEE_KIND_CUSTOM, &base) == AEE_OK ? 0 : -1;
}

static aee_result complete(aee_limits *limits, aee_error *error)
{
    return aee__limits_complete("boss", &base, limits, error);
}

static void test_defaults(void **state)
{
    (void)state;
    aee_limits limits;
    assert_true(base.memory_bytes == 16 << 20 && base.stack_bytes == 256 << 10);
    assert_true(base.call_budget_ns == 100000000 && base.lanes == 1 && base.restarts == 5);
    assert_true(base.log_bytes_per_second == 65536 && base.restart_window_ns == 10000000000);
    assert_int_equal(base.never_restart, 0);
    assert_true(base.cpu_ns_per_second == AEE_UNLIMITED && base.cpu_ns_total == AEE_UNLIMITED);
    assert_true(base.calls_per_second == AEE_UNLIMITED);
    assert_true(base.host_calls_per_second == AEE_UNLIMITED);
    assert_true(base.disk_bytes_per_second == AEE_UNLIMITED);
    assert_true(base.network_bytes_per_second == AEE_UNLIMITED);
    assert_true(base.ready_bytes == 8 << 10 && base.spares == 0 && base.huge_pages == 0);
    for (int kind = 0; kind < AEE_KIND_COUNT; kind++) {
        assert_int_equal(aee_default_limits((aee_kind)kind, &limits), AEE_OK);
        aee_limits same = limits;
        assert_int_equal(complete(&same, NULL), AEE_OK); /* defaults are valid and rounded */
        assert_memory_equal(&same, &limits, sizeof same);
    }
    assert_int_equal(aee_default_limits((aee_kind)-1, &limits), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_default_limits(AEE_KIND_COUNT, &limits), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_default_limits(AEE_KIND_CUSTOM, NULL), AEE_ERR_INVALID_ARGUMENT);
}

static void test_zero_keeps(void **state)
{
    (void)state;
    aee_limits limits = {0};
    assert_int_equal(complete(&limits, NULL), AEE_OK);
    assert_memory_equal(&limits, &base, sizeof limits);
    limits = (aee_limits){.lanes = 4, .restarts = 63};
    assert_int_equal(complete(&limits, NULL), AEE_OK);
    aee_limits wanted = base;
    wanted.lanes = 4;
    wanted.restarts = 63;
    assert_memory_equal(&limits, &wanted, sizeof limits);
    limits = (aee_limits){.cpu_ns_per_second = 1, /* any number is a limit */
                          .cpu_ns_total = 2,
                          .calls_per_second = 3,
                          .host_calls_per_second = 4,
                          .disk_bytes_per_second = 5,
                          .network_bytes_per_second = UINT64_MAX - 1};
    aee_limits set = limits;
    assert_int_equal(complete(&limits, NULL), AEE_OK);
    assert_true(limits.cpu_ns_per_second == 1 && limits.cpu_ns_total == 2);
    assert_true(limits.calls_per_second == 3 && limits.host_calls_per_second == 4);
    assert_true(limits.disk_bytes_per_second == 5 &&
                limits.network_bytes_per_second == set.network_bytes_per_second);
}

static void test_rounding(void **state)
{
    (void)state;
    aee_limits limits = {.memory_bytes = 1, .stack_bytes = 1};
    assert_int_equal(complete(&limits, NULL), AEE_OK);
    assert_true(limits.memory_bytes == 2 << 20 && limits.stack_bytes == 4096);
    limits = (aee_limits){.memory_bytes = (2 << 20) + 1, .stack_bytes = 4097};
    assert_int_equal(complete(&limits, NULL), AEE_OK);
    assert_true(limits.memory_bytes == 4 << 20 && limits.stack_bytes == 8192);
    limits = (aee_limits){.memory_bytes = AEE_HEAP_MAX, .stack_bytes = AEE_STACK_MAX};
    assert_int_equal(complete(&limits, NULL), AEE_OK);
    assert_true(limits.memory_bytes == AEE_HEAP_MAX && limits.stack_bytes == AEE_STACK_MAX);
    limits = (aee_limits){.ready_bytes = 4097};
    assert_int_equal(complete(&limits, NULL), AEE_OK);
    assert_true(limits.ready_bytes == 8192);
}

static void refused(aee_limits limits, const char *field)
{
    aee_error error;
    if (complete(&limits, &error) != AEE_ERR_INVALID_ARGUMENT) {
        fail_msg("%s out of range was accepted", field);
    }
    assert_non_null(strstr(error.text, field));
    assert_non_null(strstr(error.text, "\"boss\""));
}

static void test_ranges(void **state)
{
    (void)state;
    refused((aee_limits){.memory_bytes = AEE_HEAP_MAX + 1}, "memory_bytes");
    refused((aee_limits){.memory_bytes = UINT64_MAX}, "memory_bytes");
    refused((aee_limits){.stack_bytes = AEE_STACK_MAX + 1}, "stack_bytes");
    refused((aee_limits){.stack_bytes = UINT64_MAX}, "stack_bytes");
    refused((aee_limits){.call_budget_ns = 1}, "call_budget_ns");
    refused((aee_limits){.call_budget_ns = 49999}, "call_budget_ns");
    refused((aee_limits){.call_budget_ns = HOUR + 1}, "call_budget_ns");
    refused((aee_limits){.call_budget_ns = UINT64_MAX}, "call_budget_ns");
    refused((aee_limits){.lanes = 9}, "lanes");
    refused((aee_limits){.lanes = UINT32_MAX}, "lanes");
    refused((aee_limits){.restarts = 64}, "restarts");
    refused((aee_limits){.restart_window_ns = HOUR + 1}, "restart_window_ns");
    refused((aee_limits){.ready_bytes = AEE_HEAP_MAX + 1}, "ready_bytes");
    refused((aee_limits){.spares = 5}, "spares");
    aee_limits good = {.call_budget_ns = 50000, .lanes = 8, .restarts = 63, .restart_window_ns = 1};
    assert_int_equal(complete(&good, NULL), AEE_OK);
    good =
        (aee_limits){.call_budget_ns = HOUR, .restart_window_ns = HOUR, .log_bytes_per_second = 1};
    assert_int_equal(complete(&good, NULL), AEE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_defaults, set_up),
        cmocka_unit_test_setup(test_zero_keeps, set_up),
        cmocka_unit_test_setup(test_rounding, set_up),
        cmocka_unit_test_setup(test_ranges, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
