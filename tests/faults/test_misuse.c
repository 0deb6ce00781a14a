/* test_misuse.c: NULL wherever a pointer goes, zero handles, regions, host functions, frames, the
 * state between a crash and its restart, and calls from within host functions. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sys.h"
#include "faults/support.h"

static struct {
    aee_engine *engine;
    aee_context context; /* compute, loaded */
    aee_region region;
    struct file compute;
    struct file crasher;
    struct file good;
} t;

static aee_error error;
static pthread_t main_thread;
static _Atomic bool hold; /* system calls of the library's own threads wait */
static _Atomic uint32_t log_lines;

static int hold_others(const char *name)
{
    while (atomic_load(&hold) && strcmp(name, "memfd_create") == 0 &&
           !pthread_equal(pthread_self(), main_thread)) {
        sleep_ns(MS);
    }
    return 0;
}

static void count_line(void *user, aee_log_level level, aee_context context, const char *line)
{
    (void)user;
    (void)level;
    (void)context;
    (void)line;
    (void)atomic_fetch_add(&log_lines, 1);
}

static void must(aee_result result)
{
    if (result != AEE_OK) {
        fail_msg("%s: %s", aee_result_name(result), error.text);
    }
}

static void expect(aee_result result, aee_result wanted, const char *word)
{
    const char *fault = fault_of_error(result, &error);
    if (result != wanted || fault || !strstr(error.text, word)) {
        fail_msg("%s \"%s\" instead of %s with \"%s\" %s", aee_result_name(result), error.text,
                 aee_result_name(wanted), word, fault ? fault : "");
    }
    memset(&error, 0x55, sizeof error);
}

static aee_context make(const char *name, const struct file *image)
{
    aee_context context;
    must(aee_create_isolated_context(t.engine, name, &context, &error));
    must(aee_load(t.engine, context, image->bytes, image->size, &error));
    return context;
}

static int set_up(void **state)
{
    (void)state;
    aee_engine_desc desc = {.struct_size = sizeof desc, .pool_size = 1, .log = count_line};
    aee_region_desc region = {.struct_size = sizeof region, .name = "world", .size_bytes = 5000};
    main_thread = pthread_self();
    aee__sys_fault = hold_others;
    must(aee_engine_create(&desc, &t.engine, &error));
    t.context = make("compute", &t.compute);
    must(aee_region_create(t.engine, &region, &t.region, &error));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    atomic_store(&hold, false);
    aee_engine_destroy(t.engine);
    return 0;
}

static aee_function find(aee_context context, const char *name)
{
    aee_function function;
    must(aee_find_function(t.engine, context, name, &function, &error));
    return function;
}

static aee_result call_1(aee_context context, const char *name, int64_t argument)
{
    return aee_call_i64(t.engine, context, find(context, name), &argument, 1, NULL, &error);
}

static aee_context_info info_of(aee_context context)
{
    aee_context_info info;
    must(aee_get_context_info(t.engine, context, &info, &error));
    info.memory_resident = 0;
    return info;
}

/* ---- NULL ----------------------------------------------------------------------------------------- */

#define REFUSED(call) assert_int_not_equal((call), AEE_OK)

static void test_null_engine(void **state)
{
    (void)state;
    aee_context c = {0};
    aee_region r = {0};
    aee_function f = {0};
    REFUSED(aee_probe(NULL, NULL));
    REFUSED(aee_engine_create(NULL, NULL, NULL));
    REFUSED(aee_engine_shutdown(NULL, NULL));
    aee_engine_destroy(NULL);
    REFUSED(aee_context_create(NULL, NULL, NULL, NULL));
    REFUSED(aee_context_create(NULL, NULL, &c, NULL));
    REFUSED(aee_create_isolated_context(NULL, NULL, &c, NULL));
    REFUSED(aee_isolate_agents(NULL, NULL, NULL));
    REFUSED(aee_isolate_particles(NULL, NULL, NULL));
    REFUSED(aee_isolate_rendering(NULL, NULL, NULL));
    REFUSED(aee_isolate_user_mod(NULL, NULL, NULL, NULL));
    REFUSED(aee_isolate_scene(NULL, NULL, NULL, NULL));
    REFUSED(aee_default_limits(AEE_KIND_CUSTOM, NULL));
    REFUSED(aee_set_limits(NULL, c, NULL, NULL));
    REFUSED(aee_allocate_isolated_memory(NULL, c, 1, NULL));
    REFUSED(aee_charge_io(NULL, c, AEE_IO_DISK, 1, NULL));
    REFUSED(aee_allocate_isolated_gpu(NULL, c, NULL, 0, NULL));
    REFUSED(aee_load(NULL, c, NULL, 0, NULL));
    REFUSED(aee_load_file(NULL, c, NULL, NULL));
    REFUSED(aee_load_fd(NULL, c, 0, NULL));
    REFUSED(aee_pause(NULL, c, NULL));
    REFUSED(aee_resume(NULL, c, NULL));
    REFUSED(aee_stop(NULL, c, NULL));
    REFUSED(aee_restart(NULL, c, NULL));
    REFUSED(aee_wait_ready(NULL, c, 0, NULL));
    REFUSED(aee_destroy(NULL, c, NULL));
    REFUSED(aee_find_function(NULL, c, NULL, NULL, NULL));
    REFUSED(aee_call(NULL, c, f, NULL, 0, NULL, NULL));
    REFUSED(aee_call_i64(NULL, c, f, NULL, 0, NULL, NULL));
    REFUSED(aee_call_bytes(NULL, c, f, NULL, 0, NULL, 0, NULL, NULL));
    REFUSED(aee_register_host_function(NULL, NULL, NULL, NULL, NULL));
    REFUSED(aee_grant_host_function(NULL, c, NULL, NULL));
    REFUSED(aee_revoke_host_function(NULL, c, NULL, NULL));
    REFUSED(aee_region_create(NULL, NULL, NULL, NULL));
    REFUSED(aee_region_destroy(NULL, r, NULL));
    REFUSED(aee_region_data(NULL, r, NULL, NULL, NULL));
    REFUSED(aee_region_map(NULL, c, r, AEE_ACCESS_READ, NULL, NULL));
    REFUSED(aee_region_unmap(NULL, c, r, NULL));
    REFUSED(aee_region_transfer(NULL, c, c, r, NULL, NULL));
    REFUSED(aee_get_context_info(NULL, c, NULL, NULL));
    REFUSED(aee_get_stats(NULL, NULL, NULL));
    REFUSED(aee_last_crash(NULL, c, NULL, NULL));
    REFUSED(aee_set_event_callback(NULL, NULL, NULL, NULL));
    REFUSED(aee_poll_events(NULL, NULL, NULL));
    REFUSED(aee_engine_frame_begin(NULL, NULL));
    REFUSED(aee_engine_frame_end(NULL, NULL, NULL));
}

static void test_null_arguments(void **state)
{
    (void)state;
    aee_context c = t.context;
    aee_context_info before = info_of(c);
    aee_function sum = find(c, "bench_sum");
    REFUSED(aee_context_create(t.engine, NULL, NULL, NULL));
    REFUSED(aee_create_isolated_context(t.engine, NULL, &c, NULL));
    assert_int_equal(c.id, 0);
    c = t.context;
    REFUSED(aee_create_isolated_context(t.engine, "x", NULL, NULL));
    REFUSED(aee_isolate_user_mod(t.engine, NULL, &c, NULL));
    c = t.context;
    REFUSED(aee_set_limits(t.engine, c, NULL, NULL));
    REFUSED(aee_allocate_isolated_memory(t.engine, c, 0, NULL));
    REFUSED(aee_charge_io(t.engine, c, (aee_io)7, 1, NULL));
    REFUSED(aee_allocate_isolated_memory(t.engine, c, 12289, NULL));
    REFUSED(aee_allocate_isolated_memory(t.engine, c, UINT64_MAX, NULL));
    REFUSED(aee_allocate_isolated_gpu(t.engine, c, NULL, 7, NULL));
    REFUSED(aee_load(t.engine, c, NULL, 100, NULL));
    REFUSED(aee_load_file(t.engine, c, NULL, NULL));
    REFUSED(aee_find_function(t.engine, c, NULL, &sum, NULL));
    REFUSED(aee_find_function(t.engine, c, "bench_sum", NULL, NULL));
    REFUSED(aee_call(t.engine, c, sum, NULL, 6, NULL, NULL));
    REFUSED(aee_call_i64(t.engine, c, sum, NULL, 6, NULL, NULL));
    REFUSED(aee_register_host_function(t.engine, NULL, NULL, NULL, NULL));
    REFUSED(aee_register_host_function(t.engine, "null", NULL, NULL, NULL));
    REFUSED(aee_grant_host_function(t.engine, c, NULL, NULL));
    REFUSED(aee_revoke_host_function(t.engine, c, NULL, NULL));
    REFUSED(aee_region_create(t.engine, NULL, &t.region, NULL));
    REFUSED(aee_get_context_info(t.engine, c, NULL, NULL));
    REFUSED(aee_get_stats(t.engine, NULL, NULL));
    REFUSED(aee_last_crash(t.engine, c, NULL, NULL));
    aee_context_info after = info_of(c);
    assert_memory_equal(&before, &after, sizeof before);
    must(aee_poll_events(t.engine, NULL, &error));
    must(aee_set_event_callback(t.engine, NULL, NULL, &error));
    must(aee_destroy(t.engine, (aee_context){0}, &error)); /* zero handles are fine */
    must(aee_region_destroy(t.engine, (aee_region){0}, &error));
}

/* ---- Regions -------------------------------------------------------------------------------------- */

static void test_regions(void **state)
{
    (void)state;
    aee_region_desc bad[8];
    const char *const words[8] = {"struct_size", "struct_size", "flags",   "NULL",
                                  "empty",       "control",     "0 bytes", "bytes"};
    void *data;
    size_t size;
    for (unsigned i = 0; i < 8; i++) {
        bad[i] = (aee_region_desc){.struct_size = sizeof bad[i], .name = "bad", .size_bytes = 1};
    }
    bad[0].struct_size += 8;
    bad[1].struct_size = 4;
    bad[2].flags = 2;
    bad[3].name = NULL;
    bad[4].name = "";
    bad[5].name = "\t";
    bad[6].size_bytes = 0;
    bad[7].size_bytes = UINT64_MAX;
    for (unsigned i = 0; i < 8; i++) {
        aee_region out = {9};
        expect(aee_region_create(t.engine, &bad[i], &out, &error), AEE_ERR_INVALID_ARGUMENT,
               words[i]);
        assert_int_equal(out.id, 0);
    }
    bad[0] = (aee_region_desc){
        .struct_size = sizeof bad[0], .name = "vast", .size_bytes = (UINT64_C(16) << 30) + 1};
    aee_region out;
    expect(aee_region_create(t.engine, &bad[0], &out, &error), AEE_ERR_LIMIT, "vast");
    aee_region stale = t.region;
    must(aee_region_data(t.engine, t.region, &data, &size, &error));
    assert_int_equal(size, 8192);
    expect(aee_region_map(t.engine, t.context, t.region, (aee_access)2, NULL, &error),
           AEE_ERR_INVALID_ARGUMENT, "access 2");
    expect(aee_region_map(t.engine, t.context, (aee_region){t.context.id}, AEE_ACCESS_READ, NULL,
                          &error),
           AEE_ERR_WRONG_HANDLE, "region");
    must(aee_region_map(t.engine, t.context, t.region, AEE_ACCESS_READ, NULL, &error));
    expect(aee_region_transfer(t.engine, t.context, t.context, t.region, NULL, &error),
           AEE_ERR_INVALID_ARGUMENT, "itself");
    must(aee_region_unmap(t.engine, t.context, t.region, &error));
    expect(aee_region_unmap(t.engine, t.context, t.region, &error), AEE_ERR_NOT_FOUND, "world");
    must(aee_region_destroy(t.engine, t.region, &error));
    expect(aee_region_destroy(t.engine, stale, &error), AEE_ERR_STALE, "destroyed");
    expect(aee_region_data(t.engine, stale, &data, &size, &error), AEE_ERR_STALE, "destroyed");
    expect(aee_region_map(t.engine, t.context, stale, AEE_ACCESS_READ, NULL, &error), AEE_ERR_STALE,
           "destroyed");
}

static void test_too_many_mappings(void **state)
{
    (void)state;
    aee_region regions[65];
    for (unsigned i = 0; i < 65; i++) {
        aee_region_desc desc = {.struct_size = sizeof desc, .name = "small", .size_bytes = 1};
        must(aee_region_create(t.engine, &desc, &regions[i], &error));
        aee_result result =
            aee_region_map(t.engine, t.context, regions[i], AEE_ACCESS_READ, NULL, &error);
        if (i < 64) {
            must(result);
        } else {
            expect(result, AEE_ERR_LIMIT, "64");
        }
    }
    must(aee_region_unmap(t.engine, t.context, regions[10], &error));
    must(aee_region_map(t.engine, t.context, regions[64], AEE_ACCESS_READ, NULL, &error));
}

/* ---- Frames --------------------------------------------------------------------------------------- */

static void test_frames(void **state)
{
    (void)state;
    aee_frame_info info = {.frame = 99};
    expect(aee_engine_frame_end(t.engine, &info, &error), AEE_ERR_STATE, "frame");
    assert_int_equal(info.frame, 99);
    must(aee_engine_frame_begin(t.engine, &error));
    expect(aee_engine_frame_begin(t.engine, &error), AEE_ERR_STATE, "frame");
    must(aee_engine_frame_end(t.engine, &info, &error));
    assert_int_equal(info.frame, 1);
    expect(aee_engine_frame_end(t.engine, &info, &error), AEE_ERR_STATE, "frame");
}

/* ---- Host functions ------------------------------------------------------------------------------- */

static struct {
    aee_result call, load, restart, stop, destroy, limits, shutdown, info;
} inside;
static aee_function inside_function;

static aee_result misbehave(void *user, aee_host_call *call)
{
    const int64_t six[6] = {0};
    aee_limits limits = {.restarts = 7};
    aee_context_info info;
    (void)user;
    inside.call = aee_call_i64(call->engine, call->context, inside_function, six, 6, NULL, &error);
    inside.load = aee_load(call->engine, call->context, t.compute.bytes, t.compute.size, NULL);
    inside.restart = aee_restart(call->engine, call->context, NULL);
    inside.stop = aee_stop(call->engine, call->context, NULL);
    inside.destroy = aee_destroy(call->engine, call->context, NULL);
    inside.limits = aee_set_limits(call->engine, call->context, &limits, NULL);
    inside.shutdown = aee_engine_shutdown(call->engine, NULL);
    inside.info = aee_get_context_info(call->engine, call->context, &info, NULL);
    call->reply_size = call->reply_capacity + 1; /* more than there is: the component gets BAD */
    return AEE_OK;
}

static void test_reentry(void **state)
{
    (void)state;
    int64_t succeeded = 9;
    const int64_t one = 1;
    inside_function = find(t.context, "bench_sum");
    must(aee_register_host_function(t.engine, "bench_nop", misbehave, NULL, &error));
    must(aee_grant_host_function(t.engine, t.context, "bench_nop", &error));
    aee_context_info before = info_of(t.context);
    must(aee_call_i64(t.engine, t.context, find(t.context, "bench_host_calls"), &one, 1, &succeeded,
                      &error));
    aee_context_info after = info_of(t.context);
    assert_int_equal(inside.call, AEE_OK); /* re-entry */
    assert_int_equal(inside.load, AEE_ERR_BUSY);
    assert_int_equal(inside.restart, AEE_ERR_BUSY);
    assert_int_equal(inside.stop, AEE_ERR_BUSY);
    assert_int_equal(inside.destroy, AEE_ERR_BUSY);
    assert_int_equal(inside.limits, AEE_ERR_BUSY);
    assert_int_equal(inside.shutdown, AEE_ERR_BUSY);
    assert_int_equal(inside.info, AEE_OK);
    assert_int_equal(succeeded, 0);
    assert_int_equal(after.host_calls, before.host_calls + 1);
    assert_int_equal(after.calls, before.calls + 2); /* the outer and the inner one */
    assert_int_equal(after.failed_calls, before.failed_calls);
}

static void test_host_function_names(void **state)
{
    (void)state;
    const char *longest = "1234567890123456789012345678901234567890123456789012345";
    const char *longer = "12345678901234567890123456789012345678901234567890123456";
    must(aee_register_host_function(t.engine, longest, misbehave, NULL, &error));
    expect(aee_register_host_function(t.engine, longest, misbehave, NULL, &error), AEE_ERR_EXISTS,
           longest);
    expect(aee_register_host_function(t.engine, longer, misbehave, NULL, &error),
           AEE_ERR_INVALID_ARGUMENT, "55");
    expect(aee_register_host_function(t.engine, "", misbehave, NULL, &error),
           AEE_ERR_INVALID_ARGUMENT, "empty");
    expect(aee_register_host_function(t.engine, "f", NULL, NULL, &error), AEE_ERR_INVALID_ARGUMENT,
           "\"f\"");
    expect(aee_grant_host_function(t.engine, t.context, "unknown", &error), AEE_ERR_NOT_FOUND,
           "\"unknown\"");
    expect(aee_revoke_host_function(t.engine, t.context, "unknown", &error), AEE_ERR_NOT_FOUND,
           "\"unknown\"");
    must(aee_grant_host_function(t.engine, t.context, longest, &error));
    must(aee_revoke_host_function(t.engine, t.context, longest, &error));
}

/* ---- Between crash and restart --------------------------------------------------------------------- */

static void test_restarting(void **state)
{
    (void)state;
    aee_context context = make("crasher", &t.crasher);
    must(call_1(context, "mod_arm", 3));
    sleep_ns(30 * MS); /* the housekeeper has filled the pool */
    atomic_store(&hold, true);
    expect(call_1(context, "mod_tick", 3), AEE_ERR_CRASHED, "mod_tick");
    aee_context_info before = info_of(context);
    assert_int_equal(before.state, AEE_STATE_RESTARTING);
    expect(call_1(context, "mod_tick", 4), AEE_ERR_RESTARTING, "crasher");
    expect(aee_wait_ready(t.engine, context, MS, &error), AEE_ERR_TIMED_OUT, "crasher");
    expect(aee_wait_ready(t.engine, context, 0, &error), AEE_ERR_TIMED_OUT, "crasher");
    aee_context_info after = info_of(context);
    assert_memory_equal(&before, &after, sizeof before);
    aee_crash crash;
    must(aee_last_crash(t.engine, context, &crash, &error));
    assert_int_equal(crash.id, 1);
    atomic_store(&hold, false);
    must(aee_wait_ready(t.engine, context, UINT64_MAX, &error));
    must(call_1(context, "mod_tick", 4));
    assert_int_equal(info_of(context).restarts, 1);
}

/* ---- Log rate ------------------------------------------------------------------------------------- */

/* A limit that is lowered below what was logged in this second holds at once. */
static void test_lowered_log_rate(void **state)
{
    (void)state;
    aee_context context = make("talker", &t.good);
    aee_limits less = {.log_bytes_per_second = 10};
    for (unsigned tries = 0; tries < 5; tries++) {
        aee_limits more = {.log_bytes_per_second = 1000};
        must(aee_set_limits(t.engine, context, &more, &error));
        uint64_t second = now_ns() / 1000000000u;
        atomic_store(&log_lines, 0);
        must(call_1(context, "mod_init", 1)); /* logs about 30 bytes */
        must(aee_set_limits(t.engine, context, &less, &error));
        must(call_1(context, "mod_init", 1));
        if (now_ns() / 1000000000u == second) {
            assert_int_equal(atomic_load(&log_lines), 1);
            return;
        }
    }
}

int main(void)
{
    int skip = skip_without_engine();
    if (skip) {
        return skip;
    }
    t.compute = read_component("compute");
    t.crasher = read_component("mod_crasher");
    t.good = read_component("mod_good");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_engine),
        cmocka_unit_test_setup_teardown(test_null_arguments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_regions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_many_mappings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_frames, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reentry, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_host_function_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restarting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lowered_log_rate, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
