/* test_threads.c: eight threads call four contexts while others pause, restart, crash, create and
 * destroy them and give and take their regions. Every result is checked, and at the end nothing is
 * left. Also meant for ThreadSanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "faults/support.h"

enum { CALLERS = 8, CONTEXTS = 4, THIEF = 3, SIZES = 8 };

static struct {
    aee_engine *engine;
    struct ledger ledger;
    aee_context contexts[CONTEXTS];
    aee_region region;
    uint64_t gva;
    int64_t digests[SIZES];
    struct file compute;
    struct file thief;
    struct file minimal;
    struct file spinner;
} t;

static _Atomic bool stop;
static _Atomic uint32_t wrong; /* results that are not what they must be */
static _Atomic int odd_code;   /* a code that must not come */
static _Atomic uint64_t good[CONTEXTS];
static _Atomic uint64_t refused;

static void must(aee_result result, const aee_error *error)
{
    if (result != AEE_OK) {
        fail_msg("%s: %s", aee_result_name(result), error->text);
    }
}

static aee_result host_double(void *user, aee_host_call *call)
{
    (void)user;
    call->result = 2 * call->args[0];
    return AEE_OK;
}

static aee_context make(const char *name, const struct file *image, aee_call_mode mode,
                        uint32_t lanes)
{
    aee_error error;
    aee_context context;
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = name,
                             .call_mode = mode,
                             .limits = {.lanes = lanes,
                                        .call_budget_ns = 4000 * MS * scale(),
                                        .restarts = 63,
                                        .restart_window_ns = 1}};
    must(aee_context_create(t.engine, &desc, &context, &error), &error);
    must(aee_load(t.engine, context, image->bytes, image->size, &error), &error);
    return context;
}

static void set_up_engine(void)
{
    aee_error error;
    aee_engine_desc desc = {.struct_size = sizeof desc,
                            .pool_size = 2,
                            .worker_threads = 3,
                            .alloc = ledger_alloc,
                            .alloc_user = &t.ledger};
    memset(&t.ledger, 0, sizeof t.ledger);
    must(aee_engine_create(&desc, &t.engine, &error), &error);
    must(aee_register_host_function(t.engine, "bench_nop", host_double, NULL, &error), &error);
}

static void *destroy_engine(void *unused)
{
    aee_engine_destroy(t.engine);
    return unused;
}

/* A test whose engine cannot be destroyed fails instead of hanging. */
static void destroy_in_time(const struct resources *before)
{
    struct resources now;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, destroy_engine, NULL), 0);
    if (!join_within(thread, 15000 * MS)) {
        (void)printf("aee_engine_destroy() does not come back\n");
        (void)fflush(stdout);
        _exit(1); /* nothing can be tried after this */
    }
    assert_true(back_to(before, &now));
    assert_int_equal(t.ledger.live, 0);
    assert_int_equal(t.ledger.wrong, 0);
}

/* ---- Callers -------------------------------------------------------------------------------------- */

/* Codes that a call may have while others meddle with the context. */
static bool may_come(aee_result result)
{
    return result == AEE_ERR_PAUSED || result == AEE_ERR_RESTARTING || result == AEE_ERR_STOPPED ||
           result == AEE_ERR_CRASHED;
}

static void judge(unsigned context, aee_result result, bool right)
{
    if (result == AEE_OK) {
        (void)atomic_fetch_add(&good[context], 1);
        (void)atomic_fetch_add(&wrong, !right);
    } else if (may_come(result)) {
        (void)atomic_fetch_add(&refused, 1);
        sleep_ns(50000);
    } else {
        atomic_store(&odd_code, result);
    }
}

static aee_result call(unsigned context, const char *name, const int64_t *args, uint32_t count,
                       int64_t *value)
{
    aee_function function;
    aee_result result = aee_find_function(t.engine, t.contexts[context], name, &function, NULL);
    return result == AEE_OK
               ? aee_call_i64(t.engine, t.contexts[context], function, args, count, value, NULL)
               : result;
}

static void call_bytes(unsigned context, uint64_t seed)
{
    uint8_t sent[600];
    uint8_t got[700] = {0};
    size_t size = 0;
    aee_function function;
    for (unsigned i = 0; i < sizeof sent; i++) {
        sent[i] = (uint8_t)(seed + i * 7);
    }
    if (aee_find_function(t.engine, t.contexts[context], "bench_bytes", &function, NULL)) {
        return;
    }
    aee_result result = aee_call_bytes(t.engine, t.contexts[context], function, sent, sizeof sent,
                                       got, sizeof got, &size, NULL);
    judge(context, result, size == sizeof sent && memcmp(sent, got, sizeof sent) == 0);
}

static void call_compute(unsigned context, uint64_t number)
{
    int64_t value = -1;
    if (number % 5 == 0) {
        call_bytes(context, number);
    } else if (number % 5 == 1) {
        const int64_t three = 3;
        aee_result result = call(context, "bench_host_calls", &three, 1, &value);
        judge(context, result, value == 3);
    } else if (number % 5 == 2) {
        const int64_t six[6] = {1, (int64_t)number, 3, -4, 5, 6};
        aee_result result = call(context, "bench_sum", six, 6, &value);
        judge(context, result, value == 11 + (int64_t)number);
    } else {
        const int64_t blocks = 1 + (int64_t)(number % SIZES);
        aee_result result = call(context, "sha_run", &blocks, 1, &value);
        judge(context, result, value == t.digests[blocks - 1]);
    }
}

static void *caller(void *argument)
{
    uint64_t number = (uint64_t)(uintptr_t)argument;
    for (; !atomic_load(&stop); number += CALLERS + 1) {
        unsigned context = (unsigned)(number % CONTEXTS);
        if (context == THIEF) { /* what it reads is 42, or the region is not there */
            int64_t value = -1;
            const int64_t gva = (int64_t)t.gva;
            aee_result result = call(context, "thief_read", &gva, 1, &value);
            judge(context, result, value == 42);
        } else {
            call_compute(context, number / CONTEXTS);
        }
    }
    return NULL;
}

/* ---- Meddlers ------------------------------------------------------------------------------------- */

static void create_and_destroy(void)
{
    aee_context context;
    aee_function add;
    const int64_t two[2] = {40, 2};
    int64_t value = 0;
    if (aee_create_isolated_context(t.engine, "short-lived", &context, NULL) != AEE_OK) {
        atomic_store(&odd_code, 1);
        return;
    }
    if (aee_load(t.engine, context, t.minimal.bytes, t.minimal.size, NULL) == AEE_OK &&
        aee_find_function(t.engine, context, "add", &add, NULL) == AEE_OK &&
        aee_call_i64(t.engine, context, add, two, 2, &value, NULL) == AEE_OK) {
        (void)atomic_fetch_add(&wrong, value != 42);
    }
    if (aee_destroy(t.engine, context, NULL) != AEE_OK) {
        atomic_store(&odd_code, 2);
    }
}

static void look(unsigned context)
{
    aee_stats stats;
    aee_context_info info;
    aee_crash crash;
    (void)aee_get_stats(t.engine, &stats, NULL);
    (void)aee_get_context_info(t.engine, t.contexts[context], &info, NULL);
    (void)aee_last_crash(t.engine, t.contexts[context], &crash, NULL);
    (void)aee_poll_events(t.engine, NULL, NULL);
}

static void meddle(uint64_t number)
{
    unsigned n = (unsigned)(number / 7 % CONTEXTS);
    aee_context context = t.contexts[n];
    const int64_t null[2] = {0, 1};
    switch (number % 7) {
    case 0:
        (void)aee_pause(t.engine, context, NULL);
        sleep_ns(MS);
        (void)aee_resume(t.engine, context, NULL);
        break;
    case 1:
        (void)aee_restart(t.engine, context, NULL);
        break;
    case 2:
        (void)aee_region_unmap(t.engine, t.contexts[THIEF], t.region, NULL);
        sleep_ns(MS / 2);
        (void)aee_region_map(t.engine, t.contexts[THIEF], t.region,
                             number & 8 ? AEE_ACCESS_READ : AEE_ACCESS_READ_WRITE, NULL, NULL);
        break;
    case 3:
        (void)call(THIEF, "thief_write", null, 2, NULL);
        break;
    case 4:
        create_and_destroy();
        break;
    case 5:
        (void)aee_stop(t.engine, context, NULL);
        (void)aee_restart(t.engine, context, NULL);
        break;
    default:
        look(n);
        break;
    }
}

static void *meddler(void *argument)
{
    uint64_t number = (uint64_t)(uintptr_t)argument;
    while (!atomic_load(&stop)) {
        meddle(number++);
        sleep_ns(MS);
    }
    return NULL;
}

static void make_contexts(void)
{
    aee_error error;
    void *data;
    aee_region_desc region = {.struct_size = sizeof region, .name = "world", .size_bytes = 8192};
    static const aee_call_mode modes[CONTEXTS] = {AEE_CALL_AUTO, AEE_CALL_DIRECT, AEE_CALL_RING,
                                                  AEE_CALL_RING};
    static const char *const names[CONTEXTS] = {"auto", "direct", "ring", "thief"};
    for (unsigned i = 0; i < CONTEXTS; i++) {
        t.contexts[i] = make(names[i], i == THIEF ? &t.thief : &t.compute, modes[i], 1 + i % 3);
        must(aee_grant_host_function(t.engine, t.contexts[i], "bench_nop", &error), &error);
    }
    for (int64_t blocks = 1; blocks <= SIZES; blocks++) {
        must(call(0, "sha_run", &blocks, 1, &t.digests[blocks - 1]), &error);
    }
    must(aee_region_create(t.engine, &region, &t.region, &error), &error);
    must(aee_region_data(t.engine, t.region, &data, NULL, &error), &error);
    *(volatile uint8_t *)data = 42;
    must(aee_region_map(t.engine, t.contexts[THIEF], t.region, AEE_ACCESS_READ, &t.gva, &error),
         &error);
}

static void test_all(void **state)
{
    (void)state;
    pthread_t callers[CALLERS];
    pthread_t meddlers[2];
    struct resources before = count_resources();
    set_up_engine();
    make_contexts();
    atomic_store(&stop, false);
    for (unsigned i = 0; i < CONTEXTS; i++) {
        atomic_store(&good[i], 0);
    }
    for (uintptr_t i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_create(&callers[i], NULL, caller, (void *)i), 0);
    }
    for (uintptr_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&meddlers[i], NULL, meddler, (void *)(i * 16)), 0);
    }
    sleep_ns((SANITIZED ? 8000 : 4000) * MS);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < CALLERS + 2; i++) {
        if (!join_within(i < CALLERS ? callers[i] : meddlers[i - CALLERS], 15000 * MS)) {
            (void)printf("a %s does not come back\n", i < CALLERS ? "caller" : "meddler");
            (void)fflush(stdout);
            _exit(1);
        }
    }
    for (unsigned i = 0; i < CONTEXTS; i++) {
        print_message("context %u: %llu good calls\n", i, (unsigned long long)good[i]);
        assert_true(good[i] > 20);
    }
    print_message("%llu refused\n", (unsigned long long)refused);
    if (odd_code != 0) {
        fail_msg("a call gave %s", aee_result_name((aee_result)odd_code));
    }
    assert_int_equal(wrong, 0);
    destroy_in_time(&before);
}

/* ---- A crash report that names a region while the region goes --------------------------------------- */

static _Atomic uint64_t target;

static void *write_to_region(void *unused)
{
    while (!atomic_load(&stop)) {
        const int64_t two[2] = {(int64_t)atomic_load(&target), 1};
        aee_result result = call(0, "thief_write", two, 2, NULL);
        (void)atomic_fetch_add(&good[0], result == AEE_ERR_CRASHED);
        (void)aee_wait_ready(t.engine, t.contexts[0], 2000 * MS, NULL);
    }
    return unused;
}

static void test_report_of_a_region_that_goes(void **state)
{
    (void)state;
    pthread_t writer;
    aee_error error;
    struct resources before = count_resources();
    set_up_engine();
    t.contexts[0] = make("writer", &t.thief, AEE_CALL_DIRECT, 1);
    atomic_store(&stop, false);
    atomic_store(&good[0], 0);
    assert_int_equal(pthread_create(&writer, NULL, write_to_region, NULL), 0);
    for (unsigned i = 0; i < (SANITIZED ? 300 : 1000); i++) {
        aee_region_desc desc = {.struct_size = sizeof desc, .name = "brief", .size_bytes = 4096};
        uint64_t gva = 0;
        must(aee_region_create(t.engine, &desc, &t.region, &error), &error);
        must(aee_region_map(t.engine, t.contexts[0], t.region, AEE_ACCESS_READ, &gva, &error),
             &error);
        atomic_store(&target, gva);
        sleep_ns(i % 16 * 100000);
        must(aee_region_destroy(t.engine, t.region, &error), &error);
    }
    atomic_store(&stop, true);
    assert_true(join_within(writer, 5000 * MS));
    print_message("%llu crashes\n", (unsigned long long)good[0]);
    assert_true(good[0] > 10);
    destroy_in_time(&before);
}

/* ---- Overrunning the budget on a worker --------------------------------------------------------------- */

static void test_hang_in_ring(void **state)
{
    (void)state;
    struct resources before = count_resources();
    aee_error error;
    set_up_engine();
    t.contexts[0] = make("spinner", &t.spinner, AEE_CALL_RING, 1);
    for (int64_t round = 1; round <= 5; round++) {
        const aee_limits loose = {.call_budget_ns = 2000 * MS * scale()};
        const aee_limits tight = {.call_budget_ns = 30 * MS};
        const int64_t frame = 1000 + round;
        must(aee_set_limits(t.engine, t.contexts[0], &loose, &error), &error);
        must(call(0, "mod_arm", &frame, 1, NULL), &error);
        for (int64_t i = 0; i < 200; i++) {
            must(call(0, "mod_tick", &i, 1, NULL), &error);
        }
        must(aee_set_limits(t.engine, t.contexts[0], &tight, &error), &error);
        assert_int_equal(call(0, "mod_tick", &frame, 1, NULL), AEE_ERR_HUNG);
        must(aee_wait_ready(t.engine, t.contexts[0], 5000 * MS * scale(), &error), &error);
    }
    destroy_in_time(&before);
}

int main(void)
{
    int skip = skip_without_engine();
    if (skip) {
        return skip;
    }
    t.compute = read_component("compute");
    t.thief = read_component("mod_thief");
    t.minimal = read_component("minimal");
    t.spinner = read_component("mod_spinner");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hang_in_ring),
        cmocka_unit_test(test_report_of_a_region_that_goes),
        cmocka_unit_test(test_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
