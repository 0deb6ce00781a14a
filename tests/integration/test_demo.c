/* test_demo.c: the demo's verdict over made-up runs: each thing that can go wrong is noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "verdict.h"

enum { FRAMES = 100 };

/* A run in which all went as it should. */
static void perfect(struct record *record)
{
    static const enum offence offences[ACTORS] = {[CRASHER] = OFFENCE_CRASH,
                                                  [SPINNER] = OFFENCE_HANG,
                                                  [HOG] = OFFENCE_MEMORY,
                                                  [THIEF] = OFFENCE_ATTACKS};
    static const aee_crash_cause causes[ACTORS] = {[CRASHER] = AEE_CRASH_EXCEPTION,
                                                   [SPINNER] = AEE_CRASH_HUNG,
                                                   [HOG] = AEE_CRASH_OUT_OF_MEMORY};
    memset(record, 0, sizeof *record);
    record->frames = FRAMES;
    record->host_untouched = true;
    for (unsigned i = 0; i < ACTORS; i++) {
        struct actor_record *actor = &record->actors[i];
        *actor = (struct actor_record){
            .name = "somebody", .offence = offences[i], .called = FRAMES, .cause = causes[i]};
        if (causes[i] != AEE_CRASH_NONE) {
            actor->called = FRAMES - 1;
            actor->cause_frame = 50;
            actor->first_failure = 50;
        }
        if (i == CRASHER) {
            actor->kept_frame = 49;
            actor->back_frame = 51;
        }
        if (offences[i] == OFFENCE_NONE || i == CRASHER) {
            actor->compared = true;
            actor->result = actor->native = 1000 + i;
        }
    }
    const struct attack_record attacks[] = {
        {.end = ATTACK_CRASHES, .result = AEE_ERR_CRASHED},
        {.end = ATTACK_CRASHES, .result = AEE_ERR_HUNG},
        {.end = ATTACK_HANGS, .result = AEE_ERR_HUNG},
        {.end = ATTACK_LIVES, .result = AEE_ERR_CRASHED},
        {.end = ATTACK_LIVES, .result = AEE_OK},
    };
    memcpy(record->attacks, attacks, sizeof attacks);
    record->attack_count = record->attacks_planned = sizeof attacks / sizeof attacks[0];
}

static struct verdict judge(const struct record *record)
{
    struct verdict verdict;
    verdict_judge(record, &verdict);
    assert_in_range(verdict.count, 1, sizeof verdict.checks / sizeof verdict.checks[0]);
    return verdict;
}

/* Exactly one check fails, and its text contains `text`. */
static void expect_failure(const struct record *record, const char *text)
{
    const struct verdict verdict = judge(record);
    unsigned failed = 0;
    assert_false(verdict.passed);
    for (uint32_t i = 0; i < verdict.count; i++) {
        if (!verdict.checks[i].passed) {
            failed++;
            assert_non_null(strstr(verdict.checks[i].text, text));
        }
    }
    assert_int_equal(failed, 1);
}

static void test_perfect_run_passes(void **state)
{
    struct record record;
    (void)state;
    perfect(&record);
    const struct verdict verdict = judge(&record);
    assert_true(verdict.passed);
    assert_int_equal(verdict.count, 8);
    assert_non_null(strstr(verdict.checks[4].text, "5 of 5 attacks: 2 crashed it, 2 hung it, 1"));
}

static void test_offenders(void **state)
{
    struct record record;
    (void)state;
    perfect(&record);
    record.actors[CRASHER].cause = AEE_CRASH_NONE;
    expect_failure(&record, "did not do its worst");
    perfect(&record);
    record.actors[SPINNER].cause = AEE_CRASH_EXCEPTION;
    expect_failure(&record, "in another way");
    perfect(&record);
    record.actors[HOG].cause = AEE_CRASH_HUNG;
    expect_failure(&record, "in another way");
    perfect(&record);
    record.actors[HOG].called = 49; /* never again */
    expect_failure(&record, "did not come back");
}

static void test_counter(void **state)
{
    struct record record;
    (void)state;
    perfect(&record);
    assert_non_null(strstr(judge(&record).checks[3].text, "in frame 51 with its counter at 49"));
    record.actors[CRASHER].result++;
    expect_failure(&record, "without its counter");
    record.actors[CRASHER].compared = false;
    expect_failure(&record, "not compared");
}

static void test_attacks(void **state)
{
    static const struct attack_record through[] = {
        {.end = ATTACK_CRASHES, .result = AEE_OK},
        {.end = ATTACK_HANGS, .result = AEE_OK},
        {.end = ATTACK_HANGS, .result = AEE_ERR_CRASHED},
        {.end = ATTACK_LIVES, .result = AEE_OK, .gained = 1},
        {.end = ATTACK_LIVES, .result = AEE_ERR_STALE},
    };
    struct record record;
    (void)state;
    for (unsigned i = 0; i < sizeof through / sizeof through[0]; i++) {
        perfect(&record);
        record.attacks[2] = through[i];
        expect_failure(&record, "got through");
    }
    perfect(&record);
    record.attack_count--;
    expect_failure(&record, "4 of 5 attacks");
    perfect(&record);
    record.attack_count = record.attacks_planned = 0;
    expect_failure(&record, "0 of 0 attacks");
    perfect(&record);
    record.host_untouched = false;
    expect_failure(&record, "not what it was");
}

static void test_everybody_else(void **state)
{
    struct record record;
    (void)state;
    perfect(&record);
    record.actors[RENDERING].called--;
    expect_failure(&record, "99 of 100 frames");
    record.actors[RENDERING].first_failure = 7;
    expect_failure(&record, "failed in frame 7");
    perfect(&record);
    record.actors[SCENE_2].native++;
    expect_failure(&record, "natively");
    perfect(&record);
    record.actors[PARTICLES].compared = false;
    expect_failure(&record, "not compared");
}

/* As many failures as there can be fit. */
static void test_everything_wrong(void **state)
{
    struct record record;
    (void)state;
    perfect(&record);
    for (unsigned i = 0; i < ACTORS; i++) {
        record.actors[i].called = 0;
        record.actors[i].native++;
    }
    record.host_untouched = false;
    assert_false(judge(&record).passed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_perfect_run_passes),
        cmocka_unit_test(test_offenders),
        cmocka_unit_test(test_counter),
        cmocka_unit_test(test_attacks),
        cmocka_unit_test(test_everybody_else),
        cmocka_unit_test(test_everything_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
