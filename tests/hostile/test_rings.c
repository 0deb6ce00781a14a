/* test_rings.c: hypercalls and rings. The component forges sequence numbers and replies, goes on
 * after its reply, and overwrites what steers its lane. */
#include "hostile/watched_host.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "aee_abi.h"

/* ---- Hypercalls --------------------------------------------------------------------------- */

static void hypercall_numbers(struct hostile *hostile, aee_call_mode mode)
{
    static const int64_t numbers[] = {
        0,  1,  2,  3,   4,   5,      6,          7,          8,          16,
        31, 32, 64, 127, 255, 0x1000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        int64_t number = numbers[i];
        struct hostile_end end = {
            .ends = ENDS_CRASH, .cause = AEE_CRASH_PROTOCOL, .text = "unknown hypercall in"};
        if (number >= AEE_HC_PARK && number <= AEE_HC_HOST_CALL) {
            end = (struct hostile_end){.ends = ENDS_RETURN};
        } else if (number == AEE_HC_ABORT) {
            end = (struct hostile_end){
                .ends = ENDS_CRASH, .cause = AEE_CRASH_ABORT, .text = "aborted"};
        } else if (number == AEE_HC_OUT_OF_MEMORY) {
            end = (struct hostile_end){
                .ends = ENDS_CRASH, .cause = AEE_CRASH_OUT_OF_MEMORY, .text = "out of memory"};
        }
        struct offender offender = hostile_offender(hostile, mode, NULL);
        int64_t value = -1;
        aee_result result = hostile_call1(hostile, offender, "hypercall_once", number, &value);
        hostile_expect(hostile, offender, result, "hypercall_once", &end);
        assert_true(result != AEE_OK || value == 0);
        hostile_expect_recovery(hostile, offender);
        hostile_destroy(hostile, offender);
    }
}

/* ---- After the reply ---------------------------------------------------------------------- */

struct wait {
    struct hostile *hostile;
    struct offender offender;
};

static bool has_ended(void *user)
{
    struct wait *wait = user;
    aee_context_info info = hostile_info(wait->hostile, wait->offender);
    return info.crashes + info.hangs > 0;
}

/* The process, guests included, uses less than half a processor: nothing spins. */
static bool is_quiet(void)
{
    struct timespec before;
    struct timespec after;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    hostile_sleep_ns(300 * MS);
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    return (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec < 150000000;
}

/* The component forges its reply and goes on. In ring mode the caller has its answer, and what goes
 * on behind its back ends within the budget, without another call; in direct mode, and always at
 * level none, it is part of the call. */
static struct offender go_on(struct hostile *hostile, aee_call_mode mode, const char *attack)
{
    const aee_limits limits = {.call_budget_ns = 30 * MS * hostile_scale()};
    struct offender offender = watched_offender(hostile, mode, &limits);
    int64_t value = 0;
    aee_result result = hostile_call1(hostile, offender, attack, 77, &value);
    if (mode == AEE_CALL_RING && hostile_level() > AEE_LEVEL_NONE) {
        assert_int_equal(result, AEE_OK);
        assert_int_equal(value, 77);
    } else {
        assert_true(result == AEE_ERR_CRASHED || result == AEE_ERR_HUNG);
    }
    return offender;
}

static void goes_on(struct hostile *hostile, aee_call_mode mode, const char *attack,
                    aee_crash_cause cause, const char *text)
{
    struct offender offender = go_on(hostile, mode, attack);
    struct wait wait = {hostile, offender};
    if (!hostile_wait(has_ended, &wait, 4000 * MS)) {
        fail_msg("%s goes on for ever without a call", attack);
    }
    aee_crash crash = hostile_crash(hostile, offender);
    assert_true(strcmp(crash.called, attack) == 0 ||
                strcmp(crash.called, "-") == 0); /* its call is over */
    if (crash.cause != AEE_CRASH_HUNG && !strstr(crash.text, "after its answer")) {
        assert_int_equal(crash.cause, cause); /* it came to what it wanted */
        assert_non_null(strstr(crash.text, text));
    }
    hostile_expect_bystander(hostile);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* It makes the host believe that there is something to do when nobody waits. */
static void goes_on_unasked(struct hostile *hostile, aee_call_mode mode, const char *attack)
{
    struct offender offender = go_on(hostile, mode, attack);
    hostile_sleep_ns(1500 * MS); /* the most that a lane may idle */
    if (!is_quiet()) {
        fail_msg("%s runs for ever without a call", attack);
    }
    hostile_expect_bystander(hostile);
    hostile_destroy(hostile, offender);
}

static void spins_on(struct hostile *hostile, aee_call_mode mode)
{
    goes_on(hostile, mode, "reply_then_spin", AEE_CRASH_HUNG, "in reply_then_spin");
}

static void faults_later(struct hostile *hostile, aee_call_mode mode)
{
    goes_on(hostile, mode, "reply_then_fault", AEE_CRASH_EXCEPTION,
            "invalid instruction in reply_then_fault");
}

/* What happened between calls happened in none of them, and not in the initialiser. */
static void late_report(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = go_on(hostile, mode, "reply_then_fault");
    struct wait wait = {hostile, offender};
    assert_true(hostile_wait(has_ended, &wait, 4000 * MS));
    aee_crash crash = hostile_crash(hostile, offender);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
    if (strstr(crash.text, "initialiser")) {
        fail_msg("%s", crash.text);
    }
}

static void calls_host_later(struct hostile *hostile, aee_call_mode mode)
{
    goes_on(hostile, mode, "reply_then_host_calls", AEE_CRASH_PROTOCOL,
            "host call outside of a call");
}

static void takes_reply_back_and_spins(struct hostile *hostile, aee_call_mode mode)
{
    goes_on_unasked(hostile, mode, "reply_unreply_park_spin");
}

static void takes_reply_back_and_parks(struct hostile *hostile, aee_call_mode mode)
{
    goes_on_unasked(hostile, mode, "reply_unreply_park_storm");
}

/* It parks with its reply there, so the call ends well in both modes; the next call finds it
 * spinning. */
static void parks_then_spins(struct hostile *hostile, aee_call_mode mode)
{
    const aee_limits limits = {.call_budget_ns = 30 * MS * hostile_scale()};
    struct offender offender = hostile_offender(hostile, mode, &limits);
    assert_int_equal(hostile_ask(hostile, offender, "reply_park_then_spin", 78), 78);
    hostile_expect_bystander(hostile);
    assert_int_equal(hostile_call1(hostile, offender, "answer", 1, NULL), AEE_ERR_HUNG);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* ---- Storms ------------------------------------------------------------------------------- */

static void storm(struct hostile *hostile, aee_call_mode mode, const char *attack, int64_t argument,
                  int rounds)
{
    for (int i = 0; i < rounds; i++) {
        const aee_limits limits = {.call_budget_ns = 10 * MS * hostile_scale()};
        struct offender offender = watched_offender(hostile, mode, &limits);
        aee_function function = hostile_find(hostile, offender, attack);
        uint32_t count = strcmp(attack, "honest_host_calls") == 0 ? 0 : 1;
        uint64_t begin = hostile_now_ns();
        aee_result result =
            aee_call_i64(hostile->engine, offender.context, function, &argument, count, NULL, NULL);
        assert_int_equal(result, AEE_ERR_HUNG);
        assert_true(hostile_now_ns() - begin < 2000 * MS * hostile_scale());
        hostile_expect_bystander(hostile);
        hostile_expect_recovery(hostile, offender);
        hostile_destroy(hostile, offender);
    }
}

static void park_storm(struct hostile *hostile, aee_call_mode mode)
{
    storm(hostile, mode, "hypercall_storm", AEE_HC_PARK, 3);
}

static void notify_storm(struct hostile *hostile, aee_call_mode mode)
{
    storm(hostile, mode, "hypercall_storm", AEE_HC_NOTIFY, 3);
}

static void host_call_storm(struct hostile *hostile, aee_call_mode mode)
{
    storm(hostile, mode, "hypercall_storm", AEE_HC_HOST_CALL, 3);
}

static void host_function_storm(struct hostile *hostile, aee_call_mode mode)
{
    storm(hostile, mode, "honest_host_calls", 0, 5);
    assert_true(seen.calls > 0);
    assert_int_equal(seen.wrong, 0);
}

/* The door bell is never rung; the caller sees the requests while it waits. */
static void silent_host_calls(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = watched_offender(hostile, mode, NULL);
    assert_int_equal(hostile_ask(hostile, offender, "silent_host_calls", 200), 0);
    assert_int_equal(seen.calls, 200);
    hostile_destroy(hostile, offender);
}

static void silent_host_calls_for_ever(struct hostile *hostile, aee_call_mode mode)
{
    storm(hostile, mode, "silent_host_calls", -1, 20);
}

/* The budget is of wall-clock time (aee_virt.h): a component must not stretch it by calling slow
 * host functions in a loop. The cheaper an exit is on this host, the worse. */
static void host_time_is_not_free(struct hostile *hostile, aee_call_mode mode)
{
    const aee_limits limits = {.call_budget_ns = 20 * MS * hostile_scale()};
    struct offender offender = watched_offender(hostile, mode, &limits);
    seen.delay_ns = MS;
    uint64_t begin = hostile_now_ns();
    aee_function function = hostile_find(hostile, offender, "honest_host_calls");
    assert_int_equal(aee_call_i64(hostile->engine, offender.context, function, NULL, 0, NULL, NULL),
                     AEE_ERR_HUNG);
    uint64_t took = hostile_now_ns() - begin;
    print_message("    budget 20 ms, host calls of 1 ms without end: %llu ms, %llu calls\n",
                  (unsigned long long)(took / MS), (unsigned long long)seen.calls);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
    assert_true(took < 200 * MS * hostile_scale());
}

/* ---- Forged numbers ----------------------------------------------------------------------- */

/* All answers to come are forged: the component lies to its own callers, and to nobody else. */
static void replies_ahead(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    assert_int_equal(hostile_ask(hostile, offender, "reply_ahead", 4711), 0);
    unsigned forged = 0;
    int64_t value = 0;
    for (unsigned i = 0; i < 3 * AEE_RING_SLOTS; i++) {
        aee_result result = hostile_call1(hostile, offender, "answer", 1, &value);
        assert_int_equal(result, AEE_OK);
        assert_true(value == 2 || value == 4711);
        forged += value == 4711;
        hostile_expect_bystander(hostile);
    }
    assert_true(forged < AEE_RING_SLOTS);
    assert_int_equal(value, 2);
    hostile_destroy(hostile, offender);
}

static void request_numbers(struct hostile *hostile, aee_call_mode mode)
{
    static const int64_t numbers[] = {0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff};
    const struct hostile_end end = {.ends = ENDS_RETURN | ENDS_CRASH | ENDS_HANG};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        const aee_limits limits = {.call_budget_ns = 20 * MS * hostile_scale()};
        struct offender offender = hostile_offender(hostile, mode, &limits);
        aee_result result = hostile_call1(hostile, offender, "request_seq_all", numbers[i], NULL);
        hostile_expect(hostile, offender, result, NULL, &end);
        hostile_expect_recovery(hostile, offender);
        hostile_destroy(hostile, offender);
    }
}

/* Only the number that is due is served, and once. */
static void host_call_numbers(struct hostile *hostile, aee_call_mode mode)
{
    static const int64_t offsets[] = {0, -1, 1, 2, 64, -64, 0x7fffffff, 0x80000000};
    const struct hostile_end end = {.ends = ENDS_RETURN | ENDS_HANG};
    for (size_t i = 0; i < COUNT_OF(offsets); i++) {
        const aee_limits limits = {.call_budget_ns = 200 * MS * hostile_scale()};
        struct offender offender = watched_offender(hostile, mode, &limits);
        assert_int_equal(hostile_ask(hostile, offender, "call_host", 3), 3);
        aee_result result = hostile_call1(hostile, offender, "host_seq", offsets[i], NULL);
        hostile_expect(hostile, offender, result, NULL, &end);
        assert_int_equal(seen.calls, offsets[i] == 0 ? 4 : 3);
        hostile_expect_recovery(hostile, offender);
        hostile_destroy(hostile, offender);
    }
}

static void host_call_levels(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = watched_offender(hostile, mode, NULL);
    for (int64_t seq = -2; seq < 3; seq++) {
        assert_int_equal(hostile_ask(hostile, offender, "host_levels", seq), 0);
    }
    assert_int_equal(seen.calls, 0);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* ---- The control line --------------------------------------------------------------------- */

static void control(struct hostile *hostile, aee_call_mode mode, const char *attack, int64_t value)
{
    const aee_limits limits = {.call_budget_ns = 30 * MS * hostile_scale()};
    struct offender offender = watched_offender(hostile, mode, &limits);
    const struct hostile_end end = {.ends = ENDS_RETURN | ENDS_CRASH | ENDS_HANG};
    aee_result result = hostile_call1(hostile, offender, attack, value, NULL);
    hostile_expect(hostile, offender, result, NULL, &end);
    hostile_expect_bystander(hostile);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

static void control_line(struct hostile *hostile, aee_call_mode mode)
{
    static const char *const attacks[] = {"control_spin", "control_notify", "control_lane",
                                          "control_lane_then_host_call"};
    static const int64_t values[] = {0, 1, 7, 8, 0x7fffffff, 0xffffffff};
    for (size_t a = 0; a < COUNT_OF(attacks); a++) {
        for (size_t v = 0; v < COUNT_OF(values); v++) {
            control(hostile, mode, attacks[a], values[v]);
        }
    }
}

static const struct hostile_case cases[] = {
    {.name = "all hypercall numbers", .script = hypercall_numbers},
    {.name = "PARK storm", .script = park_storm},
    {.name = "NOTIFY storm", .script = notify_storm},
    {.name = "HOST_CALL storm without a request", .script = host_call_storm},
    {.name = "host calls without end", .script = host_function_storm},
    {.name = "host calls without a door bell", .script = silent_host_calls, .modes = MODES_RING},
    {.name = "host calls without a door bell, without end", .script = silent_host_calls_for_ever},
    {.name = "slow host calls without end", .script = host_time_is_not_free},
    {.name = "forges its reply, then spins", .script = spins_on},
    {.name = "forges its reply, then faults", .script = faults_later},
    {.name = "the report of a fault after the reply",
     .script = late_report,
     .modes = MODES_RING,
     .least = AEE_LEVEL_PROCESS},
    {.name = "forges its reply, then makes host calls", .script = calls_host_later},
    {.name = "forges its reply, parks, then spins", .script = parks_then_spins},
    {.name = "takes its reply back, parks, then spins", .script = takes_reply_back_and_spins},
    {.name = "takes its reply back and parks for ever", .script = takes_reply_back_and_parks},
    {.name = "replies before the requests", .script = replies_ahead},
    {.name = "forged request numbers", .script = request_numbers},
    {.name = "forged host-call numbers", .script = host_call_numbers},
    {.name = "forged host-call levels", .script = host_call_levels},
    {.name = "overwritten control line", .script = control_line},
};

int main(int argc, char **argv)
{
    static const struct hostile_program program = {.name = "hostile_rings",
                                                   .image = "hostile_attacker.elf",
                                                   .cases = cases,
                                                   .count = COUNT_OF(cases)};
    return hostile_main(&program, argc, argv);
}
