/* test_api_errors.c: whatever is wrong with a public call, it answers with a code of its own and a
 * sentence, and changes nothing. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "faults/support.h"

static struct {
    aee_engine *engine;
    aee_context ready;     /* minimal, loaded */
    aee_context other;     /* mod_crasher, loaded */
    aee_context destroyed; /* stale */
    aee_region region;
    aee_function add;
    struct file minimal;
    struct file crasher;
    struct file compute;
} t;

static aee_error error;

static void must(aee_result result)
{
    if (result != AEE_OK) {
        fail_msg("%s: %s", aee_result_name(result), error.text);
    }
}

static aee_context make(const char *name, const struct file *image, const aee_limits *limits)
{
    aee_context_desc desc = {.struct_size = sizeof desc, .name = name};
    aee_context context;
    desc.limits = limits ? *limits : desc.limits;
    must(aee_context_create(t.engine, &desc, &context, &error));
    if (image) {
        must(aee_load(t.engine, context, image->bytes, image->size, &error));
    }
    return context;
}

static int set_up(void **state)
{
    (void)state;
    aee_region_desc region = {.struct_size = sizeof region, .name = "world", .size_bytes = 4096};
    aee_engine_desc desc = {.struct_size = sizeof desc, .pool_size = 1};
    must(aee_engine_create(&desc, &t.engine, &error));
    t.ready = make("ready", &t.minimal, NULL);
    t.other = make("other", &t.crasher, NULL);
    t.destroyed = make("destroyed", NULL, NULL);
    must(aee_destroy(t.engine, t.destroyed, &error));
    must(aee_region_create(t.engine, &region, &t.region, &error));
    must(aee_find_function(t.engine, t.ready, "add", &t.add, &error));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    aee_engine_destroy(t.engine);
    return 0;
}

/* The call gave `wanted`, and a sentence that holds `word`. */
static void expect(aee_result result, aee_result wanted, const char *word)
{
    const char *fault = fault_of_error(result, &error);
    if (result != wanted || fault || (word && !strstr(error.text, word))) {
        fail_msg("%s \"%s\" instead of %s with \"%s\" %s", aee_result_name(result), error.text,
                 aee_result_name(wanted), word ? word : "", fault ? fault : "");
    }
    memset(&error, 0x55, sizeof error);
}

/* ---- Every operation on a context ------------------------------------------------------------------ */

typedef aee_result operation(aee_engine *engine, aee_context context);
#define OPERATION(name, call)                                       \
    static aee_result name(aee_engine *engine, aee_context context) \
    {                                                               \
        return call;                                                \
    }

OPERATION(do_load, aee_load(engine, context, t.minimal.bytes, t.minimal.size, &error))
OPERATION(do_load_file, aee_load_file(engine, context, AEE_COMPONENT_DIR "/minimal.elf", &error))
static aee_result do_load_fd(aee_engine *engine, aee_context context)
{
    int fd = open(AEE_COMPONENT_DIR "/minimal.elf", O_RDONLY);
    aee_result result = aee_load_fd(engine, context, fd, &error);
    (void)close(fd);
    return result;
}
OPERATION(do_pause, aee_pause(engine, context, &error))
OPERATION(do_resume, aee_resume(engine, context, &error))
OPERATION(do_stop, aee_stop(engine, context, &error))
OPERATION(do_restart, aee_restart(engine, context, &error))
OPERATION(do_wait, aee_wait_ready(engine, context, MS, &error))
static aee_result do_limits(aee_engine *engine, aee_context context)
{
    aee_limits limits = {.restarts = 6};
    return aee_set_limits(engine, context, &limits, &error);
}
OPERATION(do_memory, aee_allocate_isolated_memory(engine, context, 16, &error))
static aee_result do_gpu(aee_engine *engine, aee_context context)
{
    aee_gpu_buffer buffer = {1};
    return aee_allocate_isolated_gpu(engine, context, &buffer, 1, &error);
}
static aee_result do_find(aee_engine *engine, aee_context context)
{
    aee_function function = {77};
    aee_result result = aee_find_function(engine, context, "add", &function, &error);
    assert_true(result == AEE_OK || function.id == 0); /* outputs are cleared */
    return result;
}
/* A function of that context: aee_virt.h does not say what is in a handle, but it is derived. */
static aee_function function_of(aee_context context)
{
    return (aee_function){(t.add.id & ~(UINT64_C(0xffffffff) << 28)) |
                          (context.id >> 32 & 0xffff) << 44 | (context.id & 0xffff) << 28};
}
static aee_result do_call(aee_engine *engine, aee_context context)
{
    aee_value two[2] = {aee_i64(1), aee_i64(2)};
    aee_value result = {AEE_TYPE_I64, {.i64 = 99}};
    aee_result status = aee_call(engine, context, function_of(context), two, 2, &result, &error);
    assert_int_equal(result.as.i64, status == AEE_OK ? 3 : 99);
    return status;
}
static aee_result do_call_i64(aee_engine *engine, aee_context context)
{
    const int64_t two[2] = {1, 2};
    return aee_call_i64(engine, context, function_of(context), two, 2, NULL, &error);
}
OPERATION(do_grant, aee_grant_host_function(engine, context, "registered", &error))
OPERATION(do_revoke, aee_revoke_host_function(engine, context, "registered", &error))
OPERATION(do_map, aee_region_map(engine, context, t.region, AEE_ACCESS_READ, NULL, &error))
OPERATION(do_unmap, aee_region_unmap(engine, context, t.region, &error))
OPERATION(do_transfer_from, aee_region_transfer(engine, context, t.other, t.region, NULL, &error))
OPERATION(do_transfer_to, aee_region_transfer(engine, t.other, context, t.region, NULL, &error))
static aee_result do_info(aee_engine *engine, aee_context context)
{
    aee_context_info info;
    return aee_get_context_info(engine, context, &info, &error);
}
static aee_result do_crash(aee_engine *engine, aee_context context)
{
    aee_crash crash;
    return aee_last_crash(engine, context, &crash, &error);
}
OPERATION(do_destroy, aee_destroy(engine, context, &error))

static const struct {
    const char *name;
    operation *run;
} operations[] = {{"load", do_load},
                  {"load_file", do_load_file},
                  {"load_fd", do_load_fd},
                  {"pause", do_pause},
                  {"resume", do_resume},
                  {"stop", do_stop},
                  {"restart", do_restart},
                  {"wait_ready", do_wait},
                  {"set_limits", do_limits},
                  {"memory", do_memory},
                  {"gpu", do_gpu},
                  {"find", do_find},
                  {"call", do_call},
                  {"call_i64", do_call_i64},
                  {"grant", do_grant},
                  {"revoke", do_revoke},
                  {"map", do_map},
                  {"unmap", do_unmap},
                  {"transfer from", do_transfer_from},
                  {"transfer to", do_transfer_to},
                  {"info", do_info},
                  {"last_crash", do_crash},
                  {"destroy", do_destroy}};
enum { OPERATIONS = sizeof operations / sizeof operations[0] };

static void expect_all(aee_engine *engine, aee_context context, aee_result wanted)
{
    for (unsigned i = 0; i < OPERATIONS; i++) {
        memset(&error, 0x55, sizeof error);
        aee_result result = operations[i].run(engine, context);
        const char *fault = fault_of_error(result, &error);
        if (operations[i].run == do_destroy && context.id == 0 && wanted == AEE_ERR_WRONG_HANDLE) {
            continue;
        }
        if (result != wanted || fault || strncmp(error.text, "cannot ", 7) != 0) {
            fail_msg("%s: %s \"%s\" instead of %s", operations[i].name, aee_result_name(result),
                     error.text, aee_result_name(wanted));
        }
    }
}

static void test_handles(void **state)
{
    (void)state;
    aee_stats before;
    aee_stats after;
    must(aee_get_stats(t.engine, &before, &error));
    expect_all(t.engine, (aee_context){0}, AEE_ERR_WRONG_HANDLE);
    expect_all(t.engine, (aee_context){UINT64_MAX}, AEE_ERR_WRONG_HANDLE);
    expect_all(t.engine, (aee_context){t.region.id}, AEE_ERR_WRONG_HANDLE);
    expect_all(t.engine, (aee_context){t.add.id}, AEE_ERR_WRONG_HANDLE);
    expect_all(t.engine, (aee_context){t.ready.id ^ UINT64_C(1) << 52}, AEE_ERR_WRONG_HANDLE);
    expect_all(t.engine, t.destroyed, AEE_ERR_STALE);
    expect_all(t.engine, (aee_context){t.ready.id + 1}, AEE_ERR_STALE);
    must(aee_get_stats(t.engine, &after, &error));
    before.pool_ready = after.pool_ready; /* is filled behind our back */
    assert_memory_equal(&before, &after, sizeof before);
}

/* Two engines. The tables' salts are random bytes; equal ones make the handles alike. */
static void test_other_engine(void **state)
{
    (void)state;
    aee_engine *second = NULL;
    aee_context foreign;
    for (unsigned i = 0; i < 5; i++) {
        must(aee_engine_create(NULL, &second, &error));
        must(aee_create_isolated_context(second, "foreign", &foreign, &error));
        if ((foreign.id >> 52 & 0xff) != (t.ready.id >> 52 & 0xff)) {
            break;
        }
        aee_engine_destroy(second);
    }
    expect_all(t.engine, foreign, AEE_ERR_WRONG_HANDLE);
    expect(aee_region_destroy(second, t.region, &error), AEE_ERR_WRONG_HANDLE, "region");
    /* A function of the first context here, and of the first one there. */
    aee_function there;
    const int64_t two[2] = {1, 2};
    must(aee_load(second, foreign, t.minimal.bytes, t.minimal.size, &error));
    must(aee_find_function(second, foreign, "add", &there, &error));
    aee_result result = aee_call_i64(t.engine, t.ready, there, two, 2, NULL, &error);
    aee_engine_destroy(second);
    if (result != AEE_ERR_WRONG_HANDLE) {
        fail_msg("a call with a function of another engine gave %s", aee_result_name(result));
    }
}

static void test_closed(void **state)
{
    (void)state;
    aee_region_desc region = {.struct_size = sizeof region, .name = "late", .size_bytes = 1};
    aee_stats stats;
    aee_context context;
    expect_all(NULL, t.ready, AEE_ERR_INVALID_ARGUMENT);
    must(aee_engine_shutdown(t.engine, &error));
    must(aee_engine_shutdown(t.engine, &error)); /* again is fine */
    expect_all(t.engine, t.ready, AEE_ERR_CLOSED);
    expect(aee_create_isolated_context(t.engine, "late", &context, &error), AEE_ERR_CLOSED, "shut");
    expect(aee_isolate_agents(t.engine, &context, &error), AEE_ERR_CLOSED, "shut");
    expect(aee_region_create(t.engine, &region, &t.region, &error), AEE_ERR_CLOSED, "region");
    expect(aee_region_destroy(t.engine, t.region, &error), AEE_ERR_CLOSED, "region");
    expect(aee_region_data(t.engine, t.region, NULL, NULL, &error), AEE_ERR_CLOSED, "region");
    expect(aee_get_stats(t.engine, &stats, &error), AEE_ERR_CLOSED, "statistics");
    expect(aee_engine_frame_begin(t.engine, &error), AEE_ERR_CLOSED, "frame");
    expect(aee_engine_frame_end(t.engine, NULL, &error), AEE_ERR_CLOSED, "frame");
    expect(aee_poll_events(t.engine, NULL, &error), AEE_ERR_CLOSED, "events");
    expect(aee_set_event_callback(t.engine, NULL, NULL, &error), AEE_ERR_CLOSED, "callback");
}

/* ---- States --------------------------------------------------------------------------------------- */

static aee_context_info info_of(aee_context context)
{
    aee_context_info info;
    must(aee_get_context_info(t.engine, context, &info, &error));
    info.memory_resident = 0; /* may grow by itself */
    return info;
}

/* The operation is refused with that code, and the context is as before. */
static void refuse(aee_context context, operation *run, aee_result wanted)
{
    aee_context_info before = info_of(context);
    memset(&error, 0x55, sizeof error);
    aee_result result = run(t.engine, context);
    expect(result, wanted, before.name);
    aee_context_info after = info_of(context);
    assert_memory_equal(&before, &after, sizeof before);
}

static void test_created(void **state)
{
    (void)state;
    aee_context context = make("bare", NULL, NULL);
    operation *const refused[] = {do_pause, do_resume, do_stop, do_restart,
                                  do_wait,  do_find,   do_call, do_call_i64};
    for (unsigned i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        refuse(context, refused[i], AEE_ERR_NOT_LOADED);
    }
    refuse(context, do_crash, AEE_ERR_NOT_FOUND);
    refuse(context, do_unmap, AEE_ERR_NOT_FOUND);
    refuse(context, do_gpu, AEE_ERR_UNSUPPORTED);
    must(do_map(t.engine, context)); /* what is mapped now is there after loading */
    must(do_load(t.engine, context));
    must(do_call(t.engine, context));
}

static void test_ready(void **state)
{
    (void)state;
    refuse(t.ready, do_resume, AEE_ERR_STATE);
    refuse(t.ready, do_crash, AEE_ERR_NOT_FOUND);
    refuse(t.ready, do_unmap, AEE_ERR_NOT_FOUND);
    refuse(t.ready, do_transfer_from, AEE_ERR_NOT_FOUND);
    must(do_call(t.engine, t.ready));
}

static void test_paused(void **state)
{
    (void)state;
    must(do_pause(t.engine, t.ready));
    assert_int_equal(info_of(t.ready).state, AEE_STATE_PAUSED);
    refuse(t.ready, do_pause, AEE_ERR_STATE);
    refuse(t.ready, do_call, AEE_ERR_PAUSED);
    refuse(t.ready, do_call_i64, AEE_ERR_PAUSED);
    refuse(t.ready, do_wait, AEE_ERR_PAUSED);
    must(do_resume(t.engine, t.ready));
    must(do_call(t.engine, t.ready));
}

static void test_stopped(void **state)
{
    (void)state;
    must(do_stop(t.engine, t.ready));
    assert_int_equal(info_of(t.ready).state, AEE_STATE_STOPPED);
    refuse(t.ready, do_call, AEE_ERR_STOPPED);
    refuse(t.ready, do_call_i64, AEE_ERR_STOPPED);
    refuse(t.ready, do_wait, AEE_ERR_STOPPED);
    must(do_find(t.engine, t.ready)); /* image and functions stay */
    must(do_restart(t.engine, t.ready));
    must(do_call(t.engine, t.ready));
}

static aee_result arm_and_tick(aee_context context)
{
    aee_function arm;
    aee_function tick;
    const int64_t frame = 5;
    must(aee_find_function(t.engine, context, "mod_arm", &arm, &error));
    must(aee_find_function(t.engine, context, "mod_tick", &tick, &error));
    must(aee_call_i64(t.engine, context, arm, &frame, 1, NULL, &error));
    return aee_call_i64(t.engine, context, tick, &frame, 1, NULL, &error);
}

static aee_result do_tick(aee_engine *engine, aee_context context)
{
    aee_function tick;
    const int64_t frame = 6;
    must(aee_find_function(engine, context, "mod_tick", &tick, &error));
    return aee_call_i64(engine, context, tick, &frame, 1, NULL, &error);
}

static void test_quarantined(void **state)
{
    (void)state;
    aee_limits limits = {.never_restart = 1};
    aee_context context = make("wild", &t.crasher, &limits);
    expect(arm_and_tick(context), AEE_ERR_CRASHED, "wild");
    assert_int_equal(info_of(context).state, AEE_STATE_QUARANTINED);
    refuse(context, do_tick, AEE_ERR_QUARANTINED);
    refuse(context, do_wait, AEE_ERR_QUARANTINED);
    must(do_crash(t.engine, context));
    must(do_restart(t.engine, context));
    must(do_tick(t.engine, context));
}

/* ---- Descriptors ---------------------------------------------------------------------------------- */

static void test_engine_desc(void **state)
{
    (void)state;
    const aee_engine_desc good = {.struct_size = sizeof good};
    aee_engine_desc bad[9];
    const char *const words[9] = {"struct_size",    "struct_size",  "flags",
                                  "minimum_level",  "max_contexts", "pool_size",
                                  "worker_threads", "kick_signal",  "kick_signal"};
    for (unsigned i = 0; i < 9; i++) {
        bad[i] = good;
    }
    bad[0].struct_size = sizeof good + 4;
    bad[1].struct_size = 8;
    bad[2].flags = 1;
    bad[3].minimum_level = (aee_level)5;
    bad[4].max_contexts = 65537;
    bad[5].pool_size = 257;
    bad[6].worker_threads = 17;
    bad[7].kick_signal = 10;
    bad[8].kick_signal = 65;
    for (unsigned i = 0; i < 9; i++) {
        aee_engine *engine = t.engine;
        expect(aee_engine_create(&bad[i], &engine, &error), AEE_ERR_INVALID_ARGUMENT, words[i]);
        assert_null(engine);
    }
    expect(aee_engine_create(&good, NULL, &error), AEE_ERR_INVALID_ARGUMENT, "out");
    /* An older, shorter descriptor; what lies behind it is not looked at. */
    aee_engine_desc old = {.struct_size = offsetof(aee_engine_desc, max_contexts)};
    memset((char *)&old + old.struct_size, 0xff, sizeof old - old.struct_size);
    aee_engine *engine;
    must(aee_engine_create(&old, &engine, &error));
    aee_engine_destroy(engine);
}

static void test_context_desc(void **state)
{
    (void)state;
    const aee_context_desc good = {.struct_size = sizeof good, .name = "good"};
    aee_context_desc bad[16];
    aee_context out = {1};
    unsigned n = 0;
#define BAD(change)    \
    do {               \
        bad[n] = good; \
        bad[n].change; \
        n++;           \
    } while (0)
    BAD(struct_size = sizeof good + 8);
    BAD(struct_size = 8);
    BAD(flags = 1);
    BAD(name = NULL);
    BAD(name = "");
    BAD(name = "new\nline");
    BAD(name = "1234567890123456789012345678901234567890123456789012345678901234");
    BAD(kind = AEE_KIND_COUNT);
    BAD(kind = (aee_kind)-1);
    BAD(minimum_level = (aee_level)5);
    BAD(call_mode = (aee_call_mode)3);
    BAD(limits.lanes = 9);
    BAD(limits.memory_bytes = UINT64_C(1) << 40);
    BAD(limits.call_budget_ns = 100);
    BAD(limits.restarts = 64);
    for (unsigned i = 0; i < n; i++) {
        out.id = 1;
        expect(aee_context_create(t.engine, &bad[i], &out, &error), AEE_ERR_INVALID_ARGUMENT,
               "context");
        assert_int_equal(out.id, 0);
    }
    expect(aee_context_create(t.engine, NULL, &out, &error), AEE_ERR_INVALID_ARGUMENT, "NULL");
    expect(aee_context_create(t.engine, &good, NULL, &error), AEE_ERR_INVALID_ARGUMENT, "out");
    aee_context_desc old = {.struct_size = offsetof(aee_context_desc, kind), .name = "old"};
    memset((char *)&old + old.struct_size, 0xff, sizeof old - old.struct_size);
    must(aee_context_create(t.engine, &old, &out, &error));
    assert_int_equal(info_of(out).limits.lanes, 1);
}

static void test_context_limit(void **state)
{
    (void)state;
    aee_engine_desc desc = {.struct_size = sizeof desc, .max_contexts = 2, .pool_size = 1};
    aee_engine *engine;
    aee_context contexts[3];
    must(aee_engine_create(&desc, &engine, &error));
    must(aee_create_isolated_context(engine, "one", &contexts[0], &error));
    must(aee_create_isolated_context(engine, "two", &contexts[1], &error));
    expect(aee_create_isolated_context(engine, "three", &contexts[2], &error), AEE_ERR_LIMIT,
           "three");
    must(aee_destroy(engine, contexts[0], &error));
    must(aee_create_isolated_context(engine, "three", &contexts[2], &error));
    aee_engine_destroy(engine);
}

/* ---- Images --------------------------------------------------------------------------------------- */

static void test_images(void **state)
{
    (void)state;
    static const char junk[200] = "\177ELF\2\1\1";
    aee_context_info before = info_of(t.ready);
    expect(aee_load(t.engine, t.ready, junk, sizeof junk, &error), AEE_ERR_BAD_IMAGE, "ready");
    expect(aee_load(t.engine, t.ready, junk, 0, &error), AEE_ERR_BAD_IMAGE, "ready");
    expect(aee_load(t.engine, t.ready, t.minimal.bytes, t.minimal.size / 2, &error),
           AEE_ERR_BAD_IMAGE, "ready");
    expect(aee_load(t.engine, t.ready, NULL, 5, &error), AEE_ERR_INVALID_ARGUMENT, "ready");
    expect(aee_load_file(t.engine, t.ready, "/nonexistent/x.elf", &error), AEE_ERR_SYSTEM,
           "/nonexistent/x.elf");
    expect(aee_load_file(t.engine, t.ready, "/dev/null", &error), AEE_ERR_BAD_IMAGE, "/dev/null");
    expect(aee_load_file(t.engine, t.ready, "/", &error), AEE_ERR_SYSTEM, "/");
    expect(aee_load_file(t.engine, t.ready, NULL, &error), AEE_ERR_INVALID_ARGUMENT, "path");
    expect(aee_load_fd(t.engine, t.ready, -1, &error), AEE_ERR_SYSTEM, "descriptor");
    aee_context_info after = info_of(t.ready);
    assert_memory_equal(&before, &after, sizeof before);
    must(do_call(t.engine, t.ready)); /* what was loaded is still there */
    aee_function old = t.add;
    const int64_t two[2] = {1, 2};
    must(do_load(t.engine, t.ready));
    expect(aee_call_i64(t.engine, t.ready, old, two, 2, NULL, &error), AEE_ERR_STALE, "ready");
}

/* ---- Calls ---------------------------------------------------------------------------------------- */

static void test_arguments(void **state)
{
    (void)state;
    aee_value values[7];
    const int64_t numbers[7] = {0};
    aee_context_info before = info_of(t.ready);
    for (unsigned i = 0; i < 7; i++) {
        values[i] = aee_i64(i);
    }
    for (uint32_t count = 0; count <= 6; count++) {
        if (count != 2) {
            expect(aee_call(t.engine, t.ready, t.add, values, count, NULL, &error),
                   AEE_ERR_ARGUMENT_COUNT, "\"i:ii\"");
            expect(aee_call_i64(t.engine, t.ready, t.add, numbers, count, NULL, &error),
                   AEE_ERR_ARGUMENT_COUNT, "add");
        }
    }
    expect(aee_call(t.engine, t.ready, t.add, values, 7, NULL, &error), AEE_ERR_ARGUMENT_COUNT,
           "7");
    expect(aee_call_i64(t.engine, t.ready, t.add, numbers, UINT32_MAX, NULL, &error),
           AEE_ERR_ARGUMENT_COUNT, "4294967295");
    values[1] = aee_f64(1.0);
    expect(aee_call(t.engine, t.ready, t.add, values, 2, NULL, &error), AEE_ERR_ARGUMENT_COUNT,
           "\"i:ii\"");
    values[1].type = (aee_type)9;
    expect(aee_call(t.engine, t.ready, t.add, values, 2, NULL, &error), AEE_ERR_INVALID_ARGUMENT,
           "argument 1");
    expect(aee_call(t.engine, t.ready, t.add, NULL, 2, NULL, &error), AEE_ERR_INVALID_ARGUMENT,
           "args");
    expect(aee_call_bytes(t.engine, t.ready, t.add, "x", 1, NULL, 0, NULL, &error),
           AEE_ERR_ARGUMENT_COUNT, "\"i:ii\"");
    expect(aee_call_i64(t.engine, t.ready, (aee_function){0}, numbers, 2, NULL, &error),
           AEE_ERR_WRONG_HANDLE, "ready");
    expect(aee_call_i64(t.engine, t.ready, (aee_function){t.ready.id}, numbers, 2, NULL, &error),
           AEE_ERR_WRONG_HANDLE, "ready");
    expect(
        aee_call_i64(t.engine, t.ready, (aee_function){t.add.id | 0xfff}, numbers, 2, NULL, &error),
        AEE_ERR_WRONG_HANDLE, "ready");
    expect(aee_call_i64(t.engine, t.other, t.add, numbers, 2, NULL, &error), AEE_ERR_WRONG_HANDLE,
           "other");
    aee_function function = {5};
    expect(aee_find_function(t.engine, t.ready, "subtract", &function, &error), AEE_ERR_NOT_FOUND,
           "subtract");
    assert_int_equal(function.id, 0);
    aee_context_info after = info_of(t.ready);
    assert_memory_equal(&before, &after, sizeof before);
}

static void test_bytes(void **state)
{
    (void)state;
    static char big[AEE_PAYLOAD_MAX + 1];
    aee_context context = make("bytes", &t.compute, NULL);
    aee_function echo;
    size_t size = 7;
    must(aee_find_function(t.engine, context, "bench_bytes", &echo, &error));
    aee_context_info before = info_of(context);
    expect(aee_call_bytes(t.engine, context, echo, big, sizeof big, NULL, 0, &size, &error),
           AEE_ERR_TOO_LARGE, "65537");
    assert_int_equal(size, 0);
    expect(aee_call_bytes(t.engine, context, echo, NULL, 1, NULL, 0, NULL, &error),
           AEE_ERR_INVALID_ARGUMENT, "NULL");
    expect(aee_call_bytes(t.engine, context, echo, NULL, 0, NULL, 1, NULL, &error),
           AEE_ERR_INVALID_ARGUMENT, "NULL");
    const int64_t four[4] = {0};
    expect(aee_call_i64(t.engine, context, echo, four, 4, NULL, &error), AEE_ERR_ARGUMENT_COUNT,
           "bench_bytes");
    aee_context_info after = info_of(context);
    assert_memory_equal(&before, &after, sizeof before);
    must(aee_call_bytes(t.engine, context, echo, NULL, 0, NULL, 0, &size, &error));
    must(aee_call_bytes(t.engine, context, echo, big, AEE_PAYLOAD_MAX, big, sizeof big, &size,
                        &error));
    assert_int_equal(size, AEE_PAYLOAD_MAX);
}

int main(void)
{
    int skip = skip_without_engine();
    if (skip) {
        return skip;
    }
    t.minimal = read_component("minimal");
    t.crasher = read_component("mod_crasher");
    t.compute = read_component("compute");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_handles, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_engine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_closed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_created, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ready, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_paused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_quarantined, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_engine_desc, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_context_desc, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_context_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_images, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_arguments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bytes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
