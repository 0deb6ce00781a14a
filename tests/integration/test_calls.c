/* test_calls.c: arguments, results, payloads, host functions, lanes and logs, in each call mode. */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

static const aee_call_mode modes[] = {AEE_CALL_DIRECT, AEE_CALL_RING, AEE_CALL_AUTO};
#define EACH_MODE(i) for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++)

static void integers_and_doubles(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(i)
    {
        aee_context context = make_context(bed, "numbers", modes[i], 1);
        aee_function sum = find(bed, context, "sum6");
        aee_function mixed = find(bed, context, "mixed");
        aee_value ints[6];
        for (int n = 0; n < 6; n++) {
            ints[n] = aee_i64(INT64_C(1000000007) * (n + 1) * (n % 2 ? 1 : -1));
        }
        aee_value result = aee_i64(0);
        ASSERT_OK(bed, aee_call(bed->engine, context, sum, ints, 6, &result, &bed->error));
        assert_int_equal(result.as.i64, INT64_C(1000000007) * (-1 + 4 - 9 + 16 - 25 + 36));
        aee_value args[4] = {aee_i64(1), aee_f64(0.5), aee_i64(-3), aee_f64(2.25)};
        result = aee_f64(0);
        ASSERT_OK(bed, aee_call(bed->engine, context, mixed, args, 4, &result, &bed->error));
        assert_true(result.as.f64 == 1 + 5 - 300 + 2250);
        aee_value one = aee_f64(-0.25);
        ASSERT_OK(bed, aee_call(bed->engine, context, find(bed, context, "half"), &one, 1, &result,
                                &bed->error));
        assert_true(result.as.f64 == -0.125);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

static void payloads_of_every_size(void **state)
{
    static const size_t sizes[] = {0, 1, 63, 64, 4096, 65535, 65536};
    static uint8_t in[65536];
    static uint8_t out[65536];
    struct bed *bed = *state;
    for (size_t i = 0; i < sizeof in; i++) {
        in[i] = (uint8_t)(i * 31 + (i >> 8));
    }
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "bytes", modes[m], 1);
        aee_function reverse = find(bed, context, "reverse");
        for (unsigned s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            size_t size = sizes[s];
            size_t got = 99;
            ASSERT_OK(bed, aee_call_bytes(bed->engine, context, reverse, in, size, out, sizeof out,
                                          &got, &bed->error));
            assert_int_equal(got, size);
            for (size_t i = 0; i < size; i++) {
                assert_int_equal(out[i], in[size - 1 - i]);
            }
        }
        size_t got = 99;
        assert_int_equal(aee_call_bytes(bed->engine, context, reverse, in, 65537, out, sizeof out,
                                        &got, &bed->error),
                         AEE_ERR_TOO_LARGE);
        assert_int_equal(
            aee_call_bytes(bed->engine, context, reverse, in, 100, out, 99, &got, &bed->error),
            AEE_ERR_TOO_LARGE);
        assert_int_equal(got, 0);
        assert_int_equal(aee_call_bytes(bed->engine, context, find(bed, context, "refuse"), NULL, 0,
                                        NULL, 0, &got, &bed->error),
                         AEE_ERR_COMPONENT);
        assert_non_null(strstr(bed->error.text, "-7"));
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

/* The ring has 64 slots: more calls than that use each slot again. */
static void many_calls_keep_their_order(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "order", modes[m], 1);
        for (int64_t i = 1; i <= 300; i++) {
            assert_int_equal(value0(bed, context, "count"), i);
        }
        aee_context_info info;
        ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
        assert_int_equal(info.calls, 300);
        assert_true(info.latency_p50_ns > 0 && info.latency_p50_ns <= info.latency_p99_ns &&
                    info.latency_p99_ns <= info.latency_max_ns);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

/* Others use the processors too, so that caller and lane cannot both have one. */
static bool machine_is_loaded(void)
{
    double load = 0;
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 2 || (getloadavg(&load, 1) == 1 && load > (double)processors - 1);
}

/* With a processor to itself, a lane answers without leaving the guest. */
static void ring_calls_need_no_exit(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "ring", AEE_CALL_RING, 1);
    aee_function count = find(bed, context, "count");
    aee_context_info before = {0};
    aee_context_info after = {.exits = UINT64_MAX};
    for (int tries = 0; tries < 1000 && after.exits != before.exits; tries++) {
        ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &before, &bed->error));
        for (int i = 0; i < 20; i++) {
            ASSERT_OK(bed, aee_call_i64(bed->engine, context, count, NULL, 0, NULL, &bed->error));
        }
        ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &after, &bed->error));
    }
    if (after.exits != before.exits && machine_is_loaded()) {
        skip();
    }
    assert_int_equal(after.exits, before.exits);
    assert_int_equal(after.calls, before.calls + 20);
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
}

/* ---- Host functions --------------------------------------------------------------------------- */

static aee_result host_add(void *user, aee_host_call *call)
{
    ++*(int *)user;
    call->result = call->args[0] + call->args[1];
    return AEE_OK;
}

static aee_result host_upper(void *user, aee_host_call *call)
{
    (void)user;
    const char *from = call->payload;
    for (size_t i = 0; i < call->payload_size && i < call->reply_capacity; i++) {
        ((char *)call->reply)[i] =
            (char)(from[i] >= 'a' && from[i] <= 'z' ? from[i] - 32 : from[i]);
        call->reply_size = i + 1;
    }
    return AEE_OK;
}

static void host_functions_need_a_grant(void **state)
{
    struct bed *bed = *state;
    int called = 0;
    ASSERT_OK(bed,
              aee_register_host_function(bed->engine, "host_add", host_add, &called, &bed->error));
    ASSERT_OK(bed,
              aee_register_host_function(bed->engine, "host_upper", host_upper, NULL, &bed->error));
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "asker", modes[m], 1);
        called = 0;
        assert_int_equal(value2(bed, context, "ask", 20, 22, 2), -1); /* AEE_HOST_NOT_FOUND */
        assert_int_equal(called, 0);
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "host_add", &bed->error));
        assert_int_equal(value2(bed, context, "ask", 20, 22, 2), 42);
        assert_int_equal(value2(bed, context, "ask_many", 200, 0, 1), 200 * 199 / 2 + 200);
        assert_int_equal(called, 201);
        ASSERT_OK(bed, aee_revoke_host_function(bed->engine, context, "host_add", &bed->error));
        assert_int_equal(value2(bed, context, "ask", 20, 22, 2), -1);
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "host_upper", &bed->error));
        char reply[16] = {0};
        size_t size = 0;
        ASSERT_OK(bed, aee_call_bytes(bed->engine, context, find(bed, context, "ask_bytes"),
                                      "boids!", 6, reply, sizeof reply, &size, &bed->error));
        assert_int_equal(size, 6);
        assert_string_equal(reply, "BOIDS!");
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

#define SLEEP_NS 3000000

static aee_result host_sleep(void *user, aee_host_call *call)
{
    const struct timespec time = {.tv_nsec = SLEEP_NS};
    (void)user;
    call->result = 0;
    (void)nanosleep(&time, NULL);
    return AEE_OK;
}

/* A call's duration is noted while the next one works, or when somebody asks. */
static void the_last_call_is_in_the_figures(void **state)
{
    struct bed *bed = *state;
    ASSERT_OK(bed,
              aee_register_host_function(bed->engine, "host_add", host_sleep, NULL, &bed->error));
    EACH_MODE(m)
    {
        for (int stopped = 0; stopped < 2; stopped++) {
            aee_context context = make_context(bed, "last", modes[m], 1);
            aee_context_info info;
            ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "host_add", &bed->error));
            assert_int_equal(value2(bed, context, "ask", 1, 2, 2), 0);
            if (stopped) {
                ASSERT_OK(bed, aee_stop(bed->engine, context, &bed->error));
            }
            ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
            assert_true(info.latency_max_ns >= SLEEP_NS);
            ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
        }
    }
}

/* Answers with the length of the name that it was registered with. */
static aee_result name_length(void *user, aee_host_call *call)
{
    call->result = (int64_t)(uintptr_t)user;
    return AEE_OK;
}

/* The library in the component leaves what is left of the last name alone, word by word. */
static void names_of_host_functions_follow_each_other(void **state)
{
    static const size_t lengths[] = {1, 7, 8, 9, 16, 54, 55};
    static const char name[] = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";
    struct bed *bed = *state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        ASSERT_OK(bed, aee_register_host_function(bed->engine, name + 56 - lengths[i], name_length,
                                                  (void *)(uintptr_t)lengths[i], &bed->error));
    }
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "names", modes[m], 1);
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, name + 56 - lengths[i],
                                                   &bed->error));
        }
        for (size_t i = 0; i < 49; i++) { /* each after each */
            const int64_t first = (int64_t)lengths[i / 7];
            const int64_t second = (int64_t)lengths[i % 7];
            assert_int_equal(value2(bed, context, "ask_names", first, second, 2),
                             100 * first + second);
        }
        assert_int_equal(value2(bed, context, "ask_names", 8, 56, 2), 800 - 2); /* AEE_HOST_BAD */
        assert_int_equal(value2(bed, context, "ask_names", 8, 10, 2), 800 - 1); /* ..._NOT_FOUND */
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

struct seen {
    aee_context context;
    aee_log_level level;
    char line[128];
};

static void remember_log(void *user, aee_log_level level, aee_context context, const char *line)
{
    struct seen *seen = user;
    seen->context = context;
    seen->level = level;
    (void)snprintf(seen->line, sizeof seen->line, "%s", line);
}

static void logs_arrive_as_one_clean_line(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct bed bed;
    aee_engine_desc desc = {.struct_size = sizeof desc, .log = remember_log, .log_user = &seen};
    bed_open(&bed, &desc);
    aee_context context = make_context(&bed, "talker", AEE_CALL_DIRECT, 1);
    assert_int_equal(value2(&bed, context, "say", 7, 0, 1), 7);
    assert_string_equal(seen.line, "number 7 and [31m");
    assert_int_equal(seen.level, AEE_LOG_WARNING);
    assert_true(seen.context.id == context.id);
    bed_close(&bed);
}

/* ---- Lanes ------------------------------------------------------------------------------------ */

struct caller {
    struct bed *bed;
    aee_context context;
    aee_function function;
    int64_t lanes_seen;
    aee_error error;
    _Atomic int *start;
};

static void *call_often(void *argument)
{
    struct caller *caller = argument;
    while (!atomic_load(caller->start)) {
    }
    for (int i = 0; i < 2000; i++) {
        int64_t value = 0;
        if (aee_call_i64(caller->bed->engine, caller->context, caller->function, NULL, 0, &value,
                         &caller->error) != AEE_OK) {
            return caller->error.text;
        }
        caller->lanes_seen |= INT64_C(1) << (value / 1000);
    }
    return NULL;
}

static void calls_spread_over_lanes(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "lanes", AEE_CALL_DIRECT, 4);
    _Atomic int start = 0;
    struct caller callers[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        callers[i] =
            (struct caller){bed, context, find(bed, context, "count_on_lane"), .start = &start};
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    atomic_store(&start, 1);
    int64_t seen = 0;
    for (int i = 0; i < 4; i++) {
        void *failure;
        assert_int_equal(pthread_join(threads[i], &failure), 0);
        if (failure) {
            fail_msg("%s", (const char *)failure);
        }
        seen |= callers[i].lanes_seen;
    }
    assert_true(seen & 1);
    assert_true(seen & ~INT64_C(1)); /* somebody found lane 0 taken and used another */
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
}

static void auto_takes_the_ring_when_calls_are_close(void **state)
{
    struct bed *bed = *state;
    aee_context_info info = {0};
    if (level_is_none(bed)) {
        print_message("level none makes each call directly\n");
        skip();
    }
    aee_context context = make_context(bed, "busy", AEE_CALL_AUTO, 1);
    aee_function count = find(bed, context, "count");
    /* A loaded machine may take its time, but not for ever; one processor alone never does. */
    for (int i = 0; i < 400 && info.call_mode_now != AEE_CALL_RING; i++) {
        for (int k = 0; k < 100; k++) {
            ASSERT_OK(bed, aee_call_i64(bed->engine, context, count, NULL, 0, NULL, &bed->error));
        }
        ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
    }
    assert_int_equal(info.call_mode_now,
                     sysconf(_SC_NPROCESSORS_ONLN) > 1 ? AEE_CALL_RING : AEE_CALL_DIRECT);
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    context = make_context(bed, "rare", AEE_CALL_AUTO, 1);
    struct timespec pause = {.tv_nsec = 2000000};
    for (int i = 0; i < 5; i++) {
        (void)nanosleep(&pause, NULL);
        (void)value0(bed, context, "count");
    }
    ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
    assert_int_equal(info.call_mode_now, AEE_CALL_DIRECT);
    /* One per call, and one for the initialiser; the host kernel may add one now and then. */
    assert_in_range(info.exits, 5 + 1, 5 + 3);
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        TEST(integers_and_doubles),
        TEST(payloads_of_every_size),
        TEST(many_calls_keep_their_order),
        TEST(the_last_call_is_in_the_figures),
        TEST(ring_calls_need_no_exit),
        TEST(host_functions_need_a_grant),
        TEST(names_of_host_functions_follow_each_other),
        cmocka_unit_test(logs_arrive_as_one_clean_line),
        TEST(calls_spread_over_lanes),
        TEST(auto_takes_the_ring_when_calls_are_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
