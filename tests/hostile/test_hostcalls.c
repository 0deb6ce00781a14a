/* test_hostcalls.c: what a component sends to the engine and gets back: sizes, kinds and names of
 * host calls, sizes of replies, memory that a second lane rewrites while the host reads it, and
 * logs. */
#include "hostile/watched_host.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "aee_abi.h"

/* ---- Sizes and names ---------------------------------------------------------------------- */

static void host_call_fields(struct hostile *hostile, aee_call_mode mode)
{
    static const struct {
        int64_t kind, size, capacity, name_length;
        int64_t status;
    } rows[] = {
        {AEE_HOST_CALL_INVOKE, 0, 0, 1, AEE_HOST_NOT_FOUND},
        {AEE_HOST_CALL_INVOKE, 0, 0, 0, AEE_HOST_NOT_FOUND},
        {AEE_HOST_CALL_INVOKE, 65536, 65536, 1, AEE_HOST_NOT_FOUND},
        {AEE_HOST_CALL_INVOKE, 65537, 0, 1, AEE_HOST_BAD},
        {AEE_HOST_CALL_INVOKE, 0, 65537, 1, AEE_HOST_BAD},
        {AEE_HOST_CALL_INVOKE, 0xffffffff, 0xffffffff, 1, AEE_HOST_BAD},
        {AEE_HOST_CALL_INVOKE, 0x80000000, 0, 1, AEE_HOST_BAD},
        {AEE_HOST_CALL_INVOKE, 0, 0, 55, AEE_HOST_NOT_FOUND},
        {AEE_HOST_CALL_INVOKE, 0, 0, 56, AEE_HOST_BAD},
        {AEE_HOST_CALL_LOG, 0xffffffff, 0, 0, AEE_HOST_BAD},
        {AEE_HOST_CALL_LOG, 65536, 0, 56, AEE_HOST_BAD},
        {2, 0, 0, 1, AEE_HOST_BAD},
        {255, 65536, 65536, 1, AEE_HOST_BAD},
        {0xffffffff, 0, 0, 1, AEE_HOST_BAD},
    };
    struct offender offender = watched_offender(hostile, mode, NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const int64_t args[4] = {rows[i].kind, rows[i].size, rows[i].capacity, rows[i].name_length};
        int64_t status = 1;
        assert_int_equal(hostile_call(hostile, offender, "raw_host_call", args, 4, &status),
                         AEE_OK);
        if (status != rows[i].status) {
            fail_msg("row %zu: status %lld instead of %lld", i, (long long)status,
                     (long long)rows[i].status);
        }
    }
    assert_int_equal(seen.calls, 0);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* A function that exists is not there for a context without the grant, before, between and after.
 */
static void host_call_grants(struct hostile *hostile, aee_call_mode mode)
{
    const int64_t not_found = AEE_HOST_NOT_FOUND - 1000;
    struct offender granted = watched_offender(hostile, mode, NULL);
    struct offender offender = hostile_offender(hostile, mode, NULL);
    assert_int_equal(hostile_ask(hostile, offender, "relay", 1), not_found);
    assert_int_equal(aee_grant_host_function(hostile->engine, offender.context, "host", NULL),
                     AEE_OK);
    assert_int_equal(hostile_ask(hostile, offender, "relay", 1), 101);
    assert_int_equal(aee_revoke_host_function(hostile->engine, offender.context, "host", NULL),
                     AEE_OK);
    assert_int_equal(hostile_ask(hostile, offender, "relay", 1), not_found);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(hostile_ask(hostile, granted, "relay", 1), 101);
    hostile_destroy(hostile, granted);
    hostile_destroy(hostile, offender);
    offender = hostile_offender(hostile, mode, NULL); /* in the place of one that had it */
    assert_int_equal(hostile_ask(hostile, offender, "relay", 1), not_found);
    hostile_destroy(hostile, offender);
}

/* What the host function gives is cut to what the component takes, and nothing else is written. */
static void host_reply_sizes(struct hostile *hostile, aee_call_mode mode)
{
    static const struct {
        uint64_t gives;
        int64_t takes, gets;
    } rows[] = {{0, 0, 0},  {8, 8, 8},        {8, 64, 8}, {65536, 65536, 65536},
                {9, 8, -1}, {SIZE_MAX, 8, -1}};
    struct offender offender = watched_offender(hostile, mode, NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        seen.reply_size = rows[i].gives;
        assert_int_equal(hostile_ask(hostile, offender, "take_bytes", rows[i].takes), rows[i].gets);
    }
    hostile_destroy(hostile, offender);
}

/* Byte replies whose size is a lie: an error, and not one byte outside of the caller's buffer. */
static void reply_sizes(struct hostile *hostile, aee_call_mode mode)
{
    enum { CAPACITY = 100, GUARD = 64 };
    static const struct {
        int64_t claim;
        aee_result result;
    } rows[] = {{0, AEE_OK},
                {CAPACITY, AEE_OK},
                {CAPACITY + 1, AEE_ERR_TOO_LARGE},
                {AEE_PAYLOAD_MAX, AEE_ERR_TOO_LARGE},
                {AEE_PAYLOAD_MAX + 1, AEE_ERR_TOO_LARGE},
                {INT64_C(1) << 32, AEE_ERR_TOO_LARGE},
                {INT64_MAX, AEE_ERR_TOO_LARGE},
                {-1, AEE_ERR_COMPONENT},
                {INT64_MIN, AEE_ERR_COMPONENT}};
    struct offender offender = hostile_offender(hostile, mode, NULL);
    aee_function function = hostile_find(hostile, offender, "reply_sized");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint8_t buffer[CAPACITY + 2 * GUARD];
        size_t size = 12345;
        memset(buffer, 0xee, sizeof buffer);
        aee_result result =
            aee_call_bytes(hostile->engine, offender.context, function, &rows[i].claim,
                           sizeof rows[i].claim, buffer + GUARD, CAPACITY, &size, NULL);
        assert_int_equal(result, rows[i].result);
        assert_int_equal(size, result == AEE_OK ? rows[i].claim : 0);
        for (size_t b = 0; b < sizeof buffer; b++) {
            assert_int_equal(buffer[b], b >= GUARD && b < GUARD + size ? 0x5a : 0xee);
        }
    }
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* ---- Two lanes ---------------------------------------------------------------------------- */

struct partner {
    struct hostile *hostile;
    struct offender offender;
    const char *function;
    int64_t argument;
    pthread_t thread;
    aee_result result;
};

static void *run_partner(void *user)
{
    struct partner *partner = user;
    partner->result = hostile_call1(partner->hostile, partner->offender, partner->function,
                                    partner->argument, NULL);
    return NULL;
}

static bool is_racing(void *user)
{
    struct partner *partner = user;
    return hostile_ask(partner->hostile, partner->offender, "is_racing", 0) != 0;
}

/* Returns when its function runs, on one of the lanes. */
static void start_partner(struct partner *partner)
{
    assert_int_equal(pthread_create(&partner->thread, NULL, run_partner, partner), 0);
    assert_true(hostile_wait(is_racing, partner, 5000 * MS));
}

/* One lane rewrites sizes, names and payload of the other's host calls while the host reads them.
 */
static void rewritten_host_calls(struct hostile *hostile, aee_call_mode mode)
{
    const aee_limits limits = {.lanes = 2, .call_budget_ns = 10000 * MS};
    struct offender offender = watched_offender(hostile, mode, &limits);
    struct partner partner = {.hostile = hostile, .offender = offender, .function = "race_disturb"};
    start_partner(&partner);
    int64_t answered = hostile_ask(hostile, offender, "race_call", 3000);
    (void)pthread_join(partner.thread, NULL);
    assert_int_equal(partner.result, AEE_OK);
    assert_true(answered > 0);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(hostile_info(hostile, offender).host_calls, seen.calls);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* One lane rewrites the sizes of the other's replies: each is an error or within the buffer. */
static void rewritten_replies(struct hostile *hostile, aee_call_mode mode)
{
    enum { CAPACITY = 4096, GUARD = 64 };
    static uint8_t buffer[CAPACITY + GUARD];
    const aee_limits limits = {.lanes = 2, .call_budget_ns = 10000 * MS};
    struct offender offender = hostile_offender(hostile, mode, &limits);
    struct partner partner = {
        .hostile = hostile, .offender = offender, .function = "race_replies", .argument = 20000000};
    aee_function function = hostile_find(hostile, offender, "reply_sized");
    start_partner(&partner);
    for (int i = 0; i < 500; i++) {
        const int64_t claim = 8;
        size_t size = 0;
        memset(buffer + CAPACITY, 0xee, GUARD);
        aee_result result = aee_call_bytes(hostile->engine, offender.context, function, &claim,
                                           sizeof claim, buffer, CAPACITY, &size, NULL);
        assert_true(result == AEE_OK || result == AEE_ERR_TOO_LARGE || result == AEE_ERR_COMPONENT);
        assert_true(size <= CAPACITY);
        assert_int_equal(buffer[CAPACITY], 0xee);
        assert_int_equal(buffer[CAPACITY + GUARD - 1], 0xee);
    }
    (void)pthread_join(partner.thread, NULL);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* One lane faults while the other is in a call: both callers learn of it. */
static void one_lane_faults(struct hostile *hostile, aee_call_mode mode)
{
    const aee_limits limits = {.lanes = 2, .call_budget_ns = 10000 * MS};
    struct offender offender = hostile_offender(hostile, mode, &limits);
    struct partner partner = {
        .hostile = hostile, .offender = offender, .function = "spin_until_stopped", .argument = 1};
    start_partner(&partner);
    uint64_t begin = hostile_now_ns();
    assert_int_equal(hostile_call1(hostile, offender, "peek", 0, NULL), AEE_ERR_CRASHED);
    (void)pthread_join(partner.thread, NULL);
    assert_int_equal(partner.result, AEE_ERR_CRASHED);
    assert_true(hostile_now_ns() - begin < 2000 * MS * hostile_scale());
    aee_crash crash = hostile_crash(hostile, offender);
    assert_string_equal(crash.called, "peek");
    assert_in_range(crash.lane, 0, 1);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* ---- Logs --------------------------------------------------------------------------------- */

static struct {
    _Atomic uint64_t lines;
    _Atomic uint64_t bytes;
    _Atomic uint64_t dirty; /* lines with a control character */
    _Atomic uint64_t level_out_of_range;
} logged;

static void take_line(void *user, aee_log_level level, aee_context context, const char *line)
{
    (void)user;
    (void)context;
    size_t length = strlen(line);
    (void)atomic_fetch_add(&logged.lines, 1);
    (void)atomic_fetch_add(&logged.bytes, length);
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            (void)atomic_fetch_add(&logged.dirty, 1);
            break;
        }
    }
    if (level < AEE_LOG_DEBUG || level > AEE_LOG_ERROR) {
        (void)atomic_fetch_add(&logged.level_out_of_range, 1);
    }
}

static void log_raw(struct hostile *hostile, struct offender offender, int64_t count,
                    int64_t length, int64_t byte)
{
    const int64_t args[3] = {count, length, byte};
    assert_int_equal(hostile_call(hostile, offender, "log_raw", args, 3, NULL), AEE_OK);
}

static void log_flood(struct hostile *hostile, aee_call_mode mode)
{
    const aee_limits limits = {.log_bytes_per_second = 4096, .call_budget_ns = 5000 * MS};
    struct offender offender = hostile_offender(hostile, mode, &limits);
    memset(&logged, 0, sizeof logged);
    uint64_t begin = hostile_now_ns();
    log_raw(hostile, offender, 2000, 512, 'x');
    uint64_t seconds = (hostile_now_ns() - begin) / (1000 * MS) + 2; /* begun ones */
    assert_true(logged.bytes >= 2048);
    assert_true(logged.bytes <= seconds * 4096);
    assert_int_equal(logged.level_out_of_range, 0);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

static void log_control_characters(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    memset(&logged, 0, sizeof logged);
    for (int64_t byte = 0; byte < 0x20; byte++) {
        log_raw(hostile, offender, 1, 40, byte);
    }
    log_raw(hostile, offender, 1, 40, 0x7f);
    log_raw(hostile, offender, 1, 65536, '\n'); /* cut, and one line */
    assert_in_range(logged.lines, 33, 34);
    assert_int_equal(logged.dirty, 0);
    hostile_destroy(hostile, offender);
}

/* A line without bytes costs the engine as much as any other. */
static void log_empty_lines(struct hostile *hostile, aee_call_mode mode)
{
    const aee_limits limits = {.log_bytes_per_second = 256, .call_budget_ns = 5000 * MS};
    struct offender offender = hostile_offender(hostile, mode, &limits);
    memset(&logged, 0, sizeof logged);
    uint64_t begin = hostile_now_ns();
    log_raw(hostile, offender, 3000, 0, 'x');
    uint64_t seconds = (hostile_now_ns() - begin) / (1000 * MS) + 2;
    uint64_t lines = logged.lines;
    hostile_destroy(hostile, offender);
    print_message("    256 bytes a second: %llu empty lines delivered\n",
                  (unsigned long long)lines);
    assert_true(lines <= seconds * 256);
}

/* ---- Floods over a rate limit ------------------------------------------------------------- */

static void host_call_flood(struct hostile *hostile, aee_call_mode mode)
{
    const aee_limits limits = {.host_calls_per_second = 100, .call_budget_ns = 20000 * MS};
    struct offender offender = watched_offender(hostile, mode, &limits);
    uint64_t begin = hostile_now_ns();
    uint64_t pings = hostile_pings();
    int64_t good = hostile_ask(hostile, offender, "call_host", 10000);
    good += hostile_ask(hostile, offender, "call_host", 10000);
    uint64_t most = 100 + (hostile_now_ns() - begin) / (10 * MS) + 1;
    aee_context_info info = hostile_info(hostile, offender);
    assert_int_equal(good, seen.calls);
    assert_in_range(seen.calls, 98, most); /* the offender may have used one or two before */
    assert_int_equal(info.host_calls, seen.calls);
    assert_int_equal(info.throttled_host_calls, 20000 - seen.calls);
    assert_true(hostile_pings() > pings);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* Names that nobody granted and lines that are dropped are host calls, too. */
static void other_floods(struct hostile *hostile, aee_call_mode mode)
{
    const aee_limits limits = {.host_calls_per_second = 100, .call_budget_ns = 20000 * MS};
    struct offender offender = hostile_offender(hostile, mode, &limits);
    memset(&logged, 0, sizeof logged);
    uint64_t begin = hostile_now_ns();
    assert_int_equal(hostile_ask(hostile, offender, "call_host", 1000), 0);
    log_raw(hostile, offender, 1000, 0, 'x');
    uint64_t most = 100 + (hostile_now_ns() - begin) / (10 * MS) + 1;
    aee_context_info info = hostile_info(hostile, offender);
    assert_true(info.throttled_host_calls >= 2000 - most);
    assert_true(logged.lines <= most);
    hostile_destroy(hostile, offender);
}

static const struct hostile_case cases[] = {
    {.name = "host calls of all sizes, kinds and names", .script = host_call_fields},
    {.name = "host calls without a grant", .script = host_call_grants},
    {.name = "host replies of all sizes", .script = host_reply_sizes},
    {.name = "replies of all sizes", .script = reply_sizes},
    {.name = "host calls rewritten by another lane", .script = rewritten_host_calls},
    {.name = "replies rewritten by another lane", .script = rewritten_replies},
    {.name = "one lane faults while the other is in a call", .script = one_lane_faults},
    {.name = "log flood", .script = log_flood},
    {.name = "control characters in logs", .script = log_control_characters},
    {.name = "flood of empty log lines", .script = log_empty_lines},
    {.name = "flood of host calls over their rate", .script = host_call_flood},
    {.name = "floods of other host calls over their rate", .script = other_floods},
};

int main(int argc, char **argv)
{
    static const struct hostile_program program = {.name = "hostile_hostcalls",
                                                   .image = "hostile_attacker.elf",
                                                   .log = take_line,
                                                   .cases = cases,
                                                   .count = COUNT_OF(cases)};
    return hostile_main(&program, argc, argv);
}
