/* test_runaways.c: components that do not end: loops, floods and storms under budgets from 50 us
 * up, allocation to the limit, initialisers that hang; and honest ones under the same budgets. */
#include "hostile/harness.h"

#include <stdio.h>
#include <string.h>

/* ---- Budgets ------------------------------------------------------------------------------ */

static aee_result call_spin(struct hostile *hostile, struct offender offender, uint64_t *took)
{
    aee_function spin = hostile_find(hostile, offender, "spin");
    uint64_t begin = hostile_now_ns();
    aee_result result = aee_call_i64(hostile->engine, offender.context, spin, NULL, 0, NULL, NULL);
    *took = hostile_now_ns() - begin;
    return result;
}

static void set_budget(struct hostile *hostile, struct offender offender, uint64_t budget_ns)
{
    const aee_limits limits = {.call_budget_ns = budget_ns};
    assert_int_equal(aee_set_limits(hostile->engine, offender.context, &limits, NULL), AEE_OK);
}

/* Ends HUNG and not early; how late is printed and not judged, except for a second. */
static void overrun(struct hostile *hostile, aee_call_mode mode, uint64_t budget_ns)
{
    enum { ROUNDS = 5 };
    uint64_t worst = 0;
    uint64_t sum = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct offender offender = hostile_offender(hostile, mode, NULL);
        assert_int_equal(hostile_ask(hostile, offender, "answer", 1), 2);
        set_budget(hostile, offender, budget_ns);
        uint64_t took = 0;
        assert_int_equal(call_spin(hostile, offender, &took), AEE_ERR_HUNG);
        set_budget(hostile, offender, 5000 * MS); /* for the restart */
        assert_true(took >= budget_ns);
        assert_true(took < budget_ns + 1000 * MS * hostile_scale());
        worst = took - budget_ns > worst ? took - budget_ns : worst;
        sum += took - budget_ns;
        aee_crash crash = hostile_crash(hostile, offender);
        char words[64];
        (void)snprintf(words, sizeof words, "overran its call budget of %u us%s",
                       (unsigned)(budget_ns / 1000),
                       budget_ns > MS ? " in spin" : ""); /* it may not have got there */
        if (!strstr(crash.text, words)) {
            fail_msg("%s", crash.text);
        }
        hostile_expect_recovery(hostile, offender);
        assert_true(hostile_info(hostile, offender).hangs >=
                    1); /* a restart may have been as slow */
        hostile_destroy(hostile, offender);
    }
    print_message("    budget %llu us: overshoot %llu us mean, %llu us worst of %d\n",
                  (unsigned long long)(budget_ns / 1000), (unsigned long long)(sum / ROUNDS / 1000),
                  (unsigned long long)(worst / 1000), ROUNDS);
}

static void budget_50_us(struct hostile *hostile, aee_call_mode mode)
{
    overrun(hostile, mode, 50000);
}

static void budget_900_us(struct hostile *hostile, aee_call_mode mode)
{
    overrun(hostile, mode, 900000); /* rounded down to milliseconds it would be none, or for ever */
}

static void budget_1_ms(struct hostile *hostile, aee_call_mode mode)
{
    overrun(hostile, mode, MS);
}

static void budget_20_ms(struct hostile *hostile, aee_call_mode mode)
{
    overrun(hostile, mode, 20 * MS);
}

/* Work within the budget, then a rest: the lane that idles after a call is no runaway, however
 * short the budget is. */
static void honest_under_short_budget(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    assert_int_equal(hostile_ask(hostile, offender, "answer", 1), 2);
    set_budget(hostile, offender, 300000 * hostile_scale());
    unsigned answered = 0;
    for (unsigned i = 0; i < 100; i++) {
        int64_t value = 0;
        if (hostile_call1(hostile, offender, "answer", 1, &value) == AEE_OK) {
            answered += value == 2;
        }
        hostile_sleep_ns(2 * MS);
    }
    aee_context_info info = hostile_info(hostile, offender);
    print_message("    budget 300 us, 100 calls of a few instructions: %u answered, %llu hangs\n",
                  answered, (unsigned long long)info.hangs);
    assert_int_equal(info.crashes, 0); /* it did not run on between calls */
    assert_true(info.hangs == 0 || answered < 100);
    hostile_destroy(hostile, offender);
}

/* ---- Many calls --------------------------------------------------------------------------- */

static void tiny_calls(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    aee_function answer = hostile_find(hostile, offender, "answer");
    int64_t calls = mode == AEE_CALL_RING ? 100000 : 5000;
    for (int64_t i = 0; i < calls; i++) {
        int64_t value = 0;
        assert_int_equal(
            aee_call_i64(hostile->engine, offender.context, answer, &i, 1, &value, NULL), AEE_OK);
        assert_int_equal(value, i + 1);
    }
    assert_int_equal(hostile_ask(hostile, offender, "calls_so_far", 0), calls);
    hostile_destroy(hostile, offender);
}

/* ---- Memory ------------------------------------------------------------------------------- */

static void out_of_memory(struct hostile *hostile, aee_call_mode mode)
{
    const struct hostile_end end = {
        .ends = ENDS_CRASH, .cause = AEE_CRASH_OUT_OF_MEMORY, .text = "out of memory (4 MiB heap)"};
    const aee_limits limits = {.memory_bytes = 4 * MIB, .call_budget_ns = 5000 * MS};
    struct offender offender = hostile_offender(hostile, mode, &limits);
    int64_t pieces = hostile_ask(hostile, offender, "allocate_all", 0);
    assert_in_range(pieces, 40, 64);
    assert_int_equal(hostile_ask(hostile, offender, "allocate_all", 0), 0); /* and goes on living */
    hostile_expect(hostile, offender, hostile_call1(hostile, offender, "allocate_all", 1, NULL),
                   "allocate_all", &end);
    hostile_expect_recovery(hostile, offender);
    assert_true(hostile_info(hostile, offender).memory_resident < 64 * MIB);
    hostile_destroy(hostile, offender);
}

/* The limit grows while the component lives, and after a restart the new one holds. */
static void growth(struct hostile *hostile, aee_call_mode mode)
{
    const struct hostile_end beyond = {
        .ends = ENDS_CRASH, .vectors = VECTOR(14), .text = "beyond the heap's limit"};
    const aee_limits limits = {.memory_bytes = 2 * MIB, .call_budget_ns = 5000 * MS};
    struct offender offender = hostile_offender(hostile, mode, &limits);
    hostile_expect(hostile, offender, hostile_call1(hostile, offender, "touch_pages", 1024, NULL),
                   "touch_pages", &beyond);
    hostile_expect_recovery(hostile, offender);
    assert_int_equal(aee_allocate_isolated_memory(hostile->engine, offender.context, 4, NULL),
                     AEE_OK);
    assert_int_equal(hostile_ask(hostile, offender, "touch_pages", 1024), 0);
    assert_int_equal(aee_allocate_isolated_memory(hostile->engine, offender.context, 2, NULL),
                     AEE_ERR_STATE);
    assert_int_equal(
        aee_allocate_isolated_memory(hostile->engine, offender.context, UINT64_MAX, NULL),
        AEE_ERR_INVALID_ARGUMENT);
    aee_result result = AEE_OK;
    uint64_t megabytes = 4;
    for (unsigned i = 0; i < 40 && result == AEE_OK; i++) { /* until the library has enough */
        result =
            aee_allocate_isolated_memory(hostile->engine, offender.context, megabytes + 2, NULL);
        megabytes += result == AEE_OK ? 2 : 0;
    }
    assert_true(result == AEE_OK || result == AEE_ERR_LIMIT);
    assert_int_equal(hostile_ask(hostile, offender, "touch_pages", (int64_t)(megabytes * 256)), 0);
    hostile_expect(
        hostile, offender,
        hostile_call1(hostile, offender, "touch_pages", (int64_t)(megabytes * 256 + 1), NULL),
        "touch_pages", &beyond);
    hostile_expect_recovery(hostile, offender);
    assert_int_equal(hostile_ask(hostile, offender, "touch_pages", (int64_t)(megabytes * 256)), 0);
    hostile_destroy(hostile, offender);
}

/* ---- Initialisers ------------------------------------------------------------------------- */

static _Atomic int64_t init_order;

static aee_result give_order(void *user, aee_host_call *call)
{
    (void)user;
    call->result = init_order;
    return AEE_OK;
}

static struct offender ordered(struct hostile *hostile, aee_call_mode mode,
                               const aee_limits *limits)
{
    init_order = 0;
    (void)aee_register_host_function(hostile->engine, "init_order", give_order, NULL, NULL);
    struct offender offender = hostile_offender(hostile, mode, limits);
    assert_int_equal(aee_grant_host_function(hostile->engine, offender.context, "init_order", NULL),
                     AEE_OK);
    return offender;
}

static bool is_quarantined(void *user)
{
    aee_context_info info;
    const struct offender *offender = user;
    aee_engine *engine = *(aee_engine **)(void *)((const char *)user + sizeof *offender);
    return aee_get_context_info(engine, offender->context, &info, NULL) == AEE_OK &&
           info.state == AEE_STATE_QUARANTINED;
}

/* After one crash the initialiser is bad: restarts fail until the quarantine, then a good one
 * helps. */
static void bad_initialiser(struct hostile *hostile, aee_call_mode mode, int64_t order)
{
    const aee_limits limits = {.restarts = 3, .call_budget_ns = 50 * MS * hostile_scale()};
    struct {
        struct offender offender;
        aee_engine *engine;
    } wait = {ordered(hostile, mode, &limits), hostile->engine};
    init_order = order;
    assert_int_equal(hostile_call1(hostile, wait.offender, "peek", 0, NULL), AEE_ERR_CRASHED);
    assert_true(hostile_wait(is_quarantined, &wait, 10000 * MS));
    assert_int_equal(hostile_call1(hostile, wait.offender, "answer", 1, NULL), AEE_ERR_QUARANTINED);
    aee_crash crash = hostile_crash(hostile, wait.offender);
    assert_string_equal(crash.called, "");
    assert_non_null(strstr(crash.text, "initialiser"));
    assert_int_equal(aee_restart(hostile->engine, wait.offender.context, NULL),
                     order == 1 ? AEE_ERR_CRASHED : AEE_ERR_HUNG);
    init_order = 0;
    assert_int_equal(aee_restart(hostile->engine, wait.offender.context, NULL), AEE_OK);
    hostile_expect_recovery(hostile, wait.offender);
    hostile_destroy(hostile, wait.offender);
}

static void initialiser_crashes(struct hostile *hostile, aee_call_mode mode)
{
    bad_initialiser(hostile, mode, 1);
}

static void initialiser_loops(struct hostile *hostile, aee_call_mode mode)
{
    bad_initialiser(hostile, mode, 2);
}

/* A load whose initialiser is bad leaves what was there. */
static void bad_load(struct hostile *hostile, aee_call_mode mode)
{
    static const aee_result results[] = {AEE_OK, AEE_ERR_CRASHED, AEE_ERR_HUNG};
    const aee_limits limits = {.call_budget_ns = 50 * MS * hostile_scale()};
    struct offender offender = ordered(hostile, mode, &limits);
    char path[512];
    hostile_image_path(hostile->image, path, sizeof path);
    assert_int_equal(hostile_ask(hostile, offender, "answer", 1), 2);
    aee_function old = hostile_find(hostile, offender, "calls_so_far");
    for (int64_t order = 1; order <= 2; order++) {
        init_order = order;
        aee_error error;
        assert_int_equal(aee_load_file(hostile->engine, offender.context, path, &error),
                         results[order]);
        const int64_t unused = 0;
        int64_t value = 0;
        assert_int_equal(
            aee_call_i64(hostile->engine, offender.context, old, &unused, 1, &value, NULL), AEE_OK);
        assert_int_equal(value, 1);
    }
    assert_int_equal(hostile_info(hostile, offender).state, AEE_STATE_READY);
    hostile_destroy(hostile, offender);
}

#define HANGS(function)                                                                      \
    {                                                                                        \
        .name = function, .call = function, .end = {.ends = ENDS_HANG}, .budget_ns = 20 * MS \
    }

/* ---- Time is paid for ---------------------------------------------------------------------- */

struct ended {
    struct hostile *hostile;
    struct offender offender;
};

static bool has_ended(void *user)
{
    struct ended *wait = user;
    aee_context_info info = hostile_info(wait->hostile, wait->offender);
    return info.crashes + info.hangs > 0;
}

/* A call that never ends costs what it took. */
static void hung_time(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    set_budget(hostile, offender, 20 * MS);
    uint64_t before = hostile_info(hostile, offender).cpu_ns;
    uint64_t took;
    assert_int_equal(call_spin(hostile, offender, &took), AEE_ERR_HUNG);
    set_budget(hostile, offender, 5000 * MS); /* for the restart */
    uint64_t used = hostile_info(hostile, offender).cpu_ns - before;
    assert_in_range(used, 15 * MS, took + took / 10 + MS); /* and a restart may have begun */
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* One that answers and works on, between calls, does not do so for nothing. */
static void stolen_time(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    struct ended wait = {hostile, offender};
    set_budget(hostile, offender, 1000 * MS);
    uint64_t before = hostile_info(hostile, offender).cpu_ns;
    (void)hostile_call1(hostile, offender, "reply_then_spin", 1, NULL);
    assert_true(hostile_wait(has_ended, &wait, 10000 * MS));
    hostile_expect_recovery(hostile, offender);
    uint64_t used = hostile_info(hostile, offender).cpu_ns - before;
    print_message("    %llu ms of stolen time are counted\n", (unsigned long long)(used / MS));
    assert_true(used >= 800 * MS);
    hostile_destroy(hostile, offender);
}

static const struct hostile_case cases[] = {
    {.name = "an endless loop under 50 us", .script = budget_50_us},
    {.name = "an endless loop under 0.9 ms", .script = budget_900_us},
    {.name = "an endless loop under 1 ms", .script = budget_1_ms},
    {.name = "an endless loop under 20 ms", .script = budget_20_ms},
    {.name = "honest calls under a short budget", .script = honest_under_short_budget},
    {.name = "a great many tiny calls", .script = tiny_calls},
    HANGS("spin"),
    HANGS("flood_cpuid"),
    HANGS("flood_rdtsc"),
    HANGS("fault_storm"),
    {.name = "flood_vmcall",
     .call = "flood_vmcall",
     .end = {.ends = ENDS_HANG | ENDS_CRASH},
     .budget_ns = 20 * MS},
    {.name = "flood_trap_flag",
     .call = "flood_trap_flag",
     .end = {.ends = ENDS_HANG | ENDS_CRASH},
     .budget_ns = 20 * MS},
    {.name = "allocation to the limit", .script = out_of_memory},
    {.name = "growing limits", .script = growth},
    {.name = "an initialiser that crashes at restarts", .script = initialiser_crashes},
    {.name = "an initialiser that loops at restarts", .script = initialiser_loops},
    {.name = "a load whose initialiser fails", .script = bad_load},
    {.name = "the time of a call that hangs counts", .script = hung_time},
    {.name = "time stolen between calls counts", .script = stolen_time},
};

int main(int argc, char **argv)
{
    static const struct hostile_program program = {.name = "hostile_runaways",
                                                   .image = "hostile_attacker.elf",
                                                   .cases = cases,
                                                   .count = COUNT_OF(cases)};
    return hostile_main(&program, argc, argv);
}
