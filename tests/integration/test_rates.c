/* test_rates.c: limits on what flows: each is met, named, counted, told of, and over again. */
#include "batch.h"

#include "aee_abi.h"

enum { MANY = 300 };
static aee_call_item items[MANY];
static aee_completion done[MANY];

/* ---- Helpers ---------------------------------------------------------------------------------- */

static struct {
    unsigned count; /* THROTTLED and LOG_DROPPED */
    aee_event last;
} told;

static void hear(void *user, const aee_event *event)
{
    (void)user;
    if (event->type == AEE_EVENT_THROTTLED || event->type == AEE_EVENT_LOG_DROPPED) {
        told.count++;
        told.last = *event;
    }
}

/* To what happens from now on. */
static void listen(struct bed *bed)
{
    ASSERT_OK(bed, aee_set_event_callback(bed->engine, hear, NULL, &bed->error));
    ASSERT_OK(bed, aee_poll_events(bed->engine, NULL, &bed->error));
    memset(&told, 0, sizeof told);
}

/* Something was told of this limit since, but at most once a second. */
static void expect_told(struct bed *bed, const char *field, uint64_t begin_ns)
{
    ASSERT_OK(bed, aee_poll_events(bed->engine, NULL, &bed->error));
    assert_in_range(told.count, 1, (now_ns() - begin_ns) / SECOND + 1);
    assert_non_null(strstr(told.last.text, field));
    told.count = 0;
}

static aee_context limited(struct bed *bed, aee_call_mode mode, const aee_limits *limits)
{
    aee_context context = make_context(bed, "mod", mode, 1);
    ASSERT_OK(bed, aee_set_limits(bed->engine, context, limits, &bed->error));
    return context;
}

static void expect_refusal(const struct bed *bed, aee_result result, const char *sentence)
{
    if (result != AEE_ERR_LIMIT || !strstr(bed->error.text, sentence)) {
        fail_msg("%s \"%s\" instead of \"%s\"", aee_result_name(result), bed->error.text, sentence);
    }
}

/* Calls until one is refused; how many were not. */
static unsigned call_until_refused(struct bed *bed, aee_context context, const char *name,
                                   int64_t turns, unsigned most)
{
    for (unsigned i = 0; i < most; i++) {
        aee_result result = call2(bed, context, name, turns, 0, 2, NULL);
        if (result == AEE_ERR_LIMIT) {
            return i;
        }
        assert_int_equal(result, AEE_OK);
    }
    fail_msg("%u calls of %s were not refused", most, name);
    return 0;
}

static void call_until_allowed(struct bed *bed, aee_context context)
{
    uint64_t end = now_ns() + scaled(PATIENCE);
    aee_result result;
    do {
        sleep_ns(5 * MS);
        result = call2(bed, context, "blend", 1, 2, 2, NULL);
        assert_true(result == AEE_OK || result == AEE_ERR_LIMIT);
    } while (result != AEE_OK && now_ns() < end);
    assert_int_equal(result, AEE_OK);
}

/* ---- Calls ------------------------------------------------------------------------------------ */

static void calls_per_second(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        const aee_limits limits = {.calls_per_second = 100};
        aee_context context = limited(bed, batch_modes[m], &limits);
        listen(bed);
        uint64_t begin = now_ns();
        unsigned calls = call_until_refused(bed, context, "blend", 1, 10000);
        uint64_t took = now_ns() - begin;
        assert_in_range(calls, 100, 101 + took * 100 / SECOND);
        expect_refusal(bed, AEE_ERR_LIMIT,
                       "context \"mod\": more than 100 calls per second (calls_per_second)");
        (void)call2(bed, context, "blend", 1, 1, 2, NULL);
        expect_told(bed, "calls_per_second", begin);
        aee_context_info info = info_of(bed, context);
        assert_int_equal(info.limits.calls_per_second, 100);
        assert_in_range(info.throttled_calls, 1, 2);
        assert_int_equal(info.failed_calls, 0);
        assert_in_range(info.calls, calls, calls + 1);
        call_until_allowed(bed, context);
        const aee_limits none = {.calls_per_second = AEE_UNLIMITED};
        ASSERT_OK(bed, aee_set_limits(bed->engine, context, &none, &bed->error));
        for (unsigned i = 0; i < 200; i++) {
            (void)value2(bed, context, "blend", 1, 2, 2);
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

static void fill(struct bed *bed, aee_context context, uint32_t first, uint32_t count)
{
    aee_function blend = find(bed, context, "blend");
    for (uint32_t i = first; i < first + count; i++) {
        items[i] = item2(context, blend, i, 1);
    }
}

/* Counted when they are submitted, all or none of a batch. */
static void batches_count_as_calls(void **state)
{
    struct bed *bed = *state;
    const aee_limits hundred = {.calls_per_second = 100};
    const aee_limits ten = {.calls_per_second = 10};
    aee_context first = limited(bed, AEE_CALL_AUTO, &hundred);
    aee_context second = limited(bed, AEE_CALL_AUTO, &ten);
    aee_batch batch;
    fill(bed, first, 0, MANY);
    expect_refusal(bed, aee_submit(bed->engine, items, 101, 0, &batch, &bed->error),
                   "(calls_per_second)"); /* never */
    assert_true(batch.id == 0);
    assert_int_equal(info_of(bed, first).throttled_calls, 101);
    fill(bed, second, 60, 20);
    expect_refusal(bed, aee_submit(bed->engine, items, 80, 0, &batch, &bed->error),
                   "more than 10 calls");
    fill(bed, first, 0, MANY);
    batch = submit(bed, items, 100); /* what the first had taken was given back */
    wait_all(bed, batch, done, 100);
    fill(bed, second, 0, 10);
    batch = submit(bed, items, 10);
    wait_all(bed, batch, done, 10);
    assert_int_equal(info_of(bed, first).calls, 100);
}

static void pieces_count_as_calls(void **state)
{
    struct bed *bed = *state;
    const aee_limits limits = {.calls_per_second = 100};
    aee_context context = limited(bed, AEE_CALL_AUTO, &limits);
    aee_function piece = find(bed, context, "range_piece");
    expect_refusal(bed, aee_parallel_for(bed->engine, context, piece, 0, 101, 1, &bed->error),
                   "(calls_per_second)");
    assert_int_equal(info_of(bed, context).calls, 0);
    assert_int_equal(info_of(bed, context).throttled_calls, 101);
}

/* ---- CPU time --------------------------------------------------------------------------------- */

static void cpu_per_second(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        const aee_limits limits = {.cpu_ns_per_second = 20 * MS};
        aee_context context = limited(bed, batch_modes[m], &limits);
        listen(bed);
        uint64_t begin = now_ns();
        (void)call_until_refused(bed, context, "spin_for", 5000, 100000);
        assert_true(now_ns() - begin >= 15 * MS); /* the ticker is not exact */
        expect_refusal(
            bed, AEE_ERR_LIMIT,
            "context \"mod\": more than 20000000 ns of CPU time per second (cpu_ns_per_second)");
        expect_told(bed, "cpu_ns_per_second", begin);
        aee_context_info info = info_of(bed, context);
        assert_in_range(info.cpu_ns, 20 * MS, now_ns() - begin + 10 * MS);
        assert_int_equal(info.throttled_cpu, 1);
        call_until_allowed(bed, context);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

/* What was used without a limit is no debt under one. */
static void a_late_limit_begins_with_nothing_used(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "mod", AEE_CALL_AUTO, 1);
    do {
        (void)value2(bed, context, "spin_for", 50000, 0, 2);
    } while (info_of(bed, context).cpu_ns < 60 * MS);
    const aee_limits limits = {.cpu_ns_per_second = 20 * MS};
    ASSERT_OK(bed, aee_set_limits(bed->engine, context, &limits, &bed->error));
    (void)value2(bed, context, "blend", 1, 2, 2);
}

static void cpu_in_total(void **state)
{
    struct bed *bed = *state;
    aee_limits limits = {.cpu_ns_total = 20 * MS};
    aee_context context = limited(bed, AEE_CALL_AUTO, &limits);
    listen(bed);
    uint64_t begin = now_ns();
    (void)call_until_refused(bed, context, "spin_for", 5000, 100000);
    expect_refusal(
        bed, AEE_ERR_LIMIT,
        "context \"mod\": all of its 20000000 ns of CPU time are used up (cpu_ns_total)");
    sleep_ns(100 * MS); /* no time of the clock helps */
    assert_int_equal(call2(bed, context, "blend", 1, 2, 2, NULL), AEE_ERR_LIMIT);
    assert_int_equal(info_of(bed, context).throttled_cpu_total, 2);
    assert_int_equal(info_of(bed, context).state, AEE_STATE_READY);
    expect_told(bed, "cpu_ns_total", begin);
    limits.cpu_ns_total = 3600 * SECOND;
    ASSERT_OK(bed, aee_set_limits(bed->engine, context, &limits, &bed->error));
    (void)value2(bed, context, "blend", 1, 2, 2);
    limits.cpu_ns_total = 10 * MS;
    ASSERT_OK(bed, aee_set_limits(bed->engine, context, &limits, &bed->error));
    assert_int_equal(call2(bed, context, "blend", 1, 2, 2, NULL), AEE_ERR_LIMIT);
    uint64_t before = info_of(bed, context).cpu_ns;
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error));
    (void)value2(bed, context, "blend", 1, 2, 2);
    assert_true(info_of(bed, context).cpu_ns >= before); /* that is of its whole life */
}

/* A component cannot buy time by crashing. */
static void crashes_do_not_begin_the_total_anew(void **state)
{
    struct bed *bed = *state;
    const aee_limits limits = {.cpu_ns_total = 20 * MS};
    aee_context context = limited(bed, AEE_CALL_DIRECT, &limits);
    uint64_t before = 0;
    do {
        (void)value2(bed, context, "spin_for", 5000, 0, 2);
        before = info_of(bed, context).cpu_ns;
    } while (before < 10 * MS);
    if (call2(bed, context, "trap", 0, 0, 0, NULL) != AEE_ERR_LIMIT) { /* a slow machine */
        await_ready(bed, context);
        assert_true(info_of(bed, context).cpu_ns >= before);
        (void)call_until_refused(bed, context, "spin_for", 5000, 100000);
    }
    assert_non_null(strstr(bed->error.text, "cpu_ns_total"));
}

/* Calls that wait when time runs out end with that; none is lost. */
static void queued_calls_end_when_time_is_used_up(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        const aee_limits limits = {.cpu_ns_total = 10 * MS};
        aee_context context = limited(bed, batch_modes[m], &limits);
        aee_function spin = find(bed, context, "spin_for");
        for (uint32_t i = 0; i < MANY; i++) {
            items[i] = item2(context, spin, 20000, i);
        }
        wait_all(bed, submit(bed, items, MANY), done, MANY);
        unsigned good = 0;
        for (uint32_t i = 0; i < MANY; i++) {
            assert_true(done[i].result == AEE_OK || done[i].result == AEE_ERR_LIMIT);
            good += done[i].result == AEE_OK;
        }
        aee_context_info info = info_of(bed, context);
        assert_in_range(good, 1, MANY - 1);
        assert_int_equal(info.calls, good);
        assert_int_equal(info.throttled_cpu_total, MANY - good);
        assert_true(info.cpu_ns >= 10 * MS);
        assert_int_equal(call2(bed, context, "blend", 1, 2, 2, NULL), AEE_ERR_LIMIT);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

static aee_result dawdle(void *user, aee_host_call *call)
{
    (void)user;
    sleep_ns(50 * MS);
    call->result = call->args[0] + call->args[1];
    return AEE_OK;
}

/* What a host function takes is the engine's time, and an idle lane's is nobody's. */
static void only_time_in_calls_counts(void **state)
{
    struct bed *bed = *state;
    ASSERT_OK(bed, aee_register_host_function(bed->engine, "host_add", dawdle, NULL, &bed->error));
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "mod", batch_modes[m], 1);
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "host_add", &bed->error));
        uint64_t least = UINT64_MAX; /* of a few: others use this machine, too */
        for (unsigned i = 0; i < 5; i++) {
            uint64_t before = info_of(bed, context).cpu_ns;
            assert_int_equal(value2(bed, context, "ask", 1, 2, 2), 3);
            sleep_ns(20 * MS);
            uint64_t used = info_of(bed, context).cpu_ns - before;
            least = used < least ? used : least;
        }
        assert_true(least < scaled(20 * MS));
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

/* ---- Host calls, log, input and output -------------------------------------------------------- */

static aee_result add(void *user, aee_host_call *call)
{
    (void)user;
    call->result = call->args[0] + call->args[1];
    return AEE_OK;
}

static void host_calls_per_second(void **state)
{
    struct bed *bed = *state;
    ASSERT_OK(bed, aee_register_host_function(bed->engine, "host_add", add, NULL, &bed->error));
    EACH_MODE(m)
    {
        const aee_limits limits = {.host_calls_per_second = 50};
        aee_context context = limited(bed, batch_modes[m], &limits);
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "host_add", &bed->error));
        listen(bed);
        uint64_t begin = now_ns();
        unsigned asked = 0;
        while (value2(bed, context, "ask", 1, 2, 2) != AEE_HOST_LIMIT) {
            asked++;
        }
        assert_in_range(asked, 50, 51 + (now_ns() - begin) * 50 / SECOND);
        expect_told(bed, "more than 50 host calls per second (host_calls_per_second)", begin);
        aee_context_info info = info_of(bed, context);
        assert_int_equal(info.host_calls, asked);
        assert_int_equal(info.throttled_host_calls, 1);
        sleep_ns(100 * MS);
        assert_int_equal(value2(bed, context, "ask", 1, 2, 2), 3);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

static void log_bytes_per_second(void **state)
{
    struct bed *bed = *state;
    const aee_limits limits = {.log_bytes_per_second = 400};
    aee_context context = limited(bed, AEE_CALL_DIRECT, &limits);
    listen(bed);
    uint64_t begin = now_ns();
    aee_context_info info = info_of(bed, context);
    for (unsigned i = 0; i < 10000 && info.throttled_log == 0; i++) {
        (void)value2(bed, context, "say", 1, 0, 1);
        info = info_of(bed, context);
    }
    assert_int_equal(info.throttled_log, 1);
    assert_in_range(info.log_bytes, 300, 400 + (now_ns() - begin) * 400 / SECOND);
    expect_told(bed, "more than 400 bytes of log per second (log_bytes_per_second)", begin);
    assert_int_equal(told.last.type, AEE_EVENT_LOG_DROPPED);
}

static aee_result charge(struct bed *bed, aee_context context, aee_io io, uint64_t bytes)
{
    return aee_charge_io(bed->engine, context, io, bytes, &bed->error);
}

static void io_per_second(void **state)
{
    struct bed *bed = *state;
    const aee_limits limits = {.disk_bytes_per_second = 1000, .network_bytes_per_second = 10000};
    aee_context context;
    ASSERT_OK(bed, aee_create_isolated_context(bed->engine, "mod", &context, &bed->error));
    assert_int_equal(charge(bed, context, AEE_IO_DISK, UINT64_MAX / 2), AEE_OK); /* unlimited */
    ASSERT_OK(bed, aee_set_limits(bed->engine, context, &limits, &bed->error));
    listen(bed);
    uint64_t begin = now_ns();
    assert_int_equal(charge(bed, context, AEE_IO_DISK, 3000), AEE_OK); /* owed for 3 s */
    expect_refusal(bed, charge(bed, context, AEE_IO_DISK, 1),
                   "context \"mod\": more than 1000 bytes of disk I/O per second "
                   "(disk_bytes_per_second)");
    expect_told(bed, "disk_bytes_per_second", begin);
    assert_int_equal(charge(bed, context, AEE_IO_NETWORK, 10000), AEE_OK);
    expect_refusal(bed, charge(bed, context, AEE_IO_NETWORK, 10000),
                   "more than 10000 bytes of network I/O per second (network_bytes_per_second)");
    expect_told(bed, "network_bytes_per_second", begin);
    sleep_ns(200 * MS);
    assert_int_equal(charge(bed, context, AEE_IO_NETWORK, 1000), AEE_OK);
    aee_context_info info = info_of(bed, context);
    assert_true(info.disk_bytes == UINT64_MAX / 2 + 3000 && info.network_bytes == 11000);
    assert_true(info.throttled_disk == 1 && info.throttled_network == 1);
    assert_int_equal(charge(bed, context, (aee_io)0, 1), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(charge(bed, context, (aee_io)3, 1), AEE_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(bed->error.text, "mod"));
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    assert_int_equal(charge(bed, context, AEE_IO_DISK, 1), AEE_ERR_STALE);
    assert_int_equal(aee_charge_io(NULL, context, AEE_IO_DISK, 1, NULL), AEE_ERR_INVALID_ARGUMENT);
}

/* What a host function does before it writes a file for the component. */
static aee_result write_file(void *user, aee_host_call *call)
{
    (void)user;
    return aee_charge_io(call->engine, call->context, AEE_IO_DISK, (uint64_t)call->args[0], NULL);
}

static void host_functions_charge(void **state)
{
    struct bed *bed = *state;
    const aee_limits limits = {.disk_bytes_per_second = 1000};
    aee_context context = limited(bed, AEE_CALL_RING, &limits);
    ASSERT_OK(bed,
              aee_register_host_function(bed->engine, "host_add", write_file, NULL, &bed->error));
    ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "host_add", &bed->error));
    assert_int_equal(value2(bed, context, "ask", 900, 0, 2), 0);
    assert_int_equal(value2(bed, context, "ask", 900, 0, 2), AEE_HOST_FAILED);
    assert_int_equal(info_of(bed, context).throttled_disk, 1);
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        WITH_BED(calls_per_second),
        WITH_BED(batches_count_as_calls),
        WITH_BED(pieces_count_as_calls),
        WITH_BED(cpu_per_second),
        WITH_BED(a_late_limit_begins_with_nothing_used),
        WITH_BED(cpu_in_total),
        WITH_BED(crashes_do_not_begin_the_total_anew),
        WITH_BED(queued_calls_end_when_time_is_used_up),
        WITH_BED(only_time_in_calls_counts),
        WITH_BED(host_calls_per_second),
        WITH_BED(log_bytes_per_second),
        WITH_BED(io_per_second),
        WITH_BED(host_functions_charge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
