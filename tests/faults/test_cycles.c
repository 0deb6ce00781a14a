/* test_cycles.c: contexts are created, called, crashed and destroyed ten thousand times in one
 * engine: no descriptor, thread, mapping or byte is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "faults/support.h"

enum { CYCLES = SANITIZED ? 300 : 10000 };

static struct ledger ledger;
static struct file crasher;

static aee_result cycle(aee_engine *engine, unsigned number, aee_error *error)
{
    static const int64_t frame = 1;
    static const char *const names[2] = {"mod_arm", "mod_tick"};
    aee_context_desc desc = {
        .struct_size = sizeof desc,
        .name = "brief",
        .call_mode = number % 2 ? AEE_CALL_RING : AEE_CALL_DIRECT,
        /* half of them are destroyed while they restart */
        .limits = {.never_restart = number / 2 % 2, .call_budget_ns = 2000 * MS * scale()}};
    aee_context context;
    aee_function function;
    aee_result result = aee_context_create(engine, &desc, &context, error);
    if (result == AEE_OK) {
        result = aee_load(engine, context, crasher.bytes, crasher.size, error);
    }
    for (unsigned i = 0; i < 2 && result == AEE_OK; i++) {
        result = aee_find_function(engine, context, names[i], &function, error);
        if (result == AEE_OK) {
            result = aee_call_i64(engine, context, function, &frame, 1, NULL, error);
        }
    }
    if (result != AEE_ERR_CRASHED) {
        return result == AEE_OK ? AEE_ERR_COMPONENT : result;
    }
    return aee_destroy(engine, context, error);
}

static void run(aee_engine *engine, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        aee_error error;
        aee_result result = cycle(engine, i, &error);
        if (result != AEE_OK) {
            fail_msg("cycle %u: %s \"%s\"", i, aee_result_name(result), error.text);
        }
        if (i % 500 == 499) {
            (void)aee_poll_events(engine, NULL, NULL);
        }
    }
}

/* Until the pool is full again and the housekeeper has nothing left to free. */
static void settle(aee_engine *engine, size_t bytes)
{
    uint64_t end = now_ns() + 5000 * MS * scale();
    aee_stats stats = {0};
    while ((stats.pool_ready < 2 || (bytes && ledger.live != bytes)) && now_ns() < end) {
        assert_int_equal(aee_get_stats(engine, &stats, NULL), AEE_OK);
        sleep_ns(5 * MS);
    }
    sleep_ns(20 * MS);
}

static void test_cycles(void **state)
{
    (void)state;
    struct resources at_start = count_resources();
    struct resources now;
    aee_engine *engine;
    aee_error error;
    aee_stats stats;
    aee_engine_desc desc = {
        .struct_size = sizeof desc, .pool_size = 2, .alloc = ledger_alloc, .alloc_user = &ledger};
    assert_int_equal(aee_engine_create(&desc, &engine, &error), AEE_OK);
    run(engine, 20); /* what is made once */
    settle(engine, 0);
    struct resources before = count_resources();
    size_t bytes = ledger.live;
    uint64_t begin = now_ns();
    run(engine, CYCLES);
    uint64_t took = now_ns() - begin;
    settle(engine, bytes);
    print_message("%u cycles in %llu ms, %llu us each\n", (unsigned)CYCLES,
                  (unsigned long long)(took / MS), (unsigned long long)(took / CYCLES / 1000));
    assert_int_equal(ledger.live, bytes);
    assert_true(back_to(&before, &now));
    assert_true(SANITIZED || now.mappings <= before.mappings + 4);
    assert_int_equal(aee_get_stats(engine, &stats, NULL), AEE_OK);
    assert_int_equal(stats.total_contexts, 0);
    assert_int_equal(stats.crashes, CYCLES + 20);
    aee_engine_destroy(engine);
    assert_int_equal(ledger.live, 0);
    assert_int_equal(ledger.wrong, 0);
    assert_true(back_to(&at_start, &now));
}

/* The same for whole engines. */
static void test_engines(void **state)
{
    (void)state;
    struct resources now;
    struct resources before = {0};
    for (unsigned i = 0; i < (SANITIZED ? 10 : 60); i++) {
        aee_engine *engine;
        aee_error error;
        aee_engine_desc desc = {
            .struct_size = sizeof desc, .alloc = ledger_alloc, .alloc_user = &ledger};
        assert_int_equal(aee_engine_create(&desc, &engine, &error), AEE_OK);
        run(engine, 2);
        aee_engine_destroy(engine);
        assert_int_equal(ledger.live, 0);
        if (i == 2) {
            sleep_ns(20 * MS);
            before = count_resources();
        }
    }
    assert_true(back_to(&before, &now));
    assert_true(SANITIZED || now.mappings <= before.mappings + 4);
}

int main(void)
{
    int skip = skip_without_engine();
    if (skip) {
        return skip;
    }
    crasher = read_component("mod_crasher");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cycles),
        cmocka_unit_test(test_engines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
