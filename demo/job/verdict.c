#include "verdict.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 3, 4))) static void add(struct verdict *verdict, bool passed,
                                                      const char *format, ...)
{
    struct check *check = &verdict->checks[verdict->count++];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(check->text, sizeof check->text, format, args);
    va_end(args);
    check->passed = passed;
    verdict->passed = verdict->passed && passed;
}

/* ---- Offenders ---------------------------------------------------------------------------- */

static aee_crash_cause expected_cause(enum offence offence)
{
    switch (offence) {
    case OFFENCE_CRASH:
        return AEE_CRASH_EXCEPTION;
    case OFFENCE_HANG:
        return AEE_CRASH_HUNG;
    case OFFENCE_MEMORY:
        return AEE_CRASH_OUT_OF_MEMORY;
    default:
        return AEE_CRASH_NONE;
    }
}

static void judge_offender(const struct actor_record *actor, uint32_t frames,
                           struct verdict *verdict)
{
    if (actor->cause == AEE_CRASH_NONE) {
        add(verdict, false, "%s did not do its worst", actor->name);
    } else if (actor->cause != expected_cause(actor->offence)) {
        add(verdict, false, "%s failed in another way than expected, in frame %u: %s", actor->name,
            actor->cause_frame, actor->note);
    } else if (actor->cause_frame < frames && actor->called < actor->cause_frame) {
        add(verdict, false, "%s did not come back after frame %u", actor->name, actor->cause_frame);
    } else {
        add(verdict, true, "%s was stopped in frame %u: %s", actor->name, actor->cause_frame,
            actor->note);
    }
}

/* The frames after the checkpoint are lost, and nothing else is. */
static void judge_counter(const struct actor_record *actor, struct verdict *verdict)
{
    if (actor->cause != AEE_CRASH_EXCEPTION || actor->back_frame == 0) {
        return; /* which has been said */
    }
    if (!actor->compared) {
        add(verdict, false, "%s was not compared with a native run", actor->name);
    } else if (actor->result != actor->native) {
        add(verdict, false,
            "%s came back in frame %u without its counter: it gave %016" PRIx64
            ", from frame %u on natively %016" PRIx64,
            actor->name, actor->back_frame, actor->result, actor->kept_frame, actor->native);
    } else {
        add(verdict, true, "%s came back in frame %u with its counter at %u, and counted on",
            actor->name, actor->back_frame, actor->kept_frame);
    }
}

bool attack_contained(const struct attack_record *attack)
{
    if (attack->result == AEE_OK) {
        return attack->end == ATTACK_LIVES && attack->gained == 0;
    }
    /* A crash that takes longer than the budget is a hang: filling 2^40 bytes, say. */
    return attack->result == AEE_ERR_HUNG ||
           (attack->result == AEE_ERR_CRASHED && attack->end != ATTACK_HANGS);
}

static void judge_attacks(const struct record *record, struct verdict *verdict)
{
    uint32_t crashes = 0;
    uint32_t hangs = 0;
    for (uint32_t i = 0; i < record->attack_count; i++) {
        const struct attack_record *attack = &record->attacks[i];
        crashes += attack->result == AEE_ERR_CRASHED;
        hangs += attack->result == AEE_ERR_HUNG;
        if (!attack_contained(attack)) {
            add(verdict, false, "thief got through in frame %u: %s", attack->frame, attack->name);
            return;
        }
    }
    add(verdict, record->attack_count > 0 && record->attack_count >= record->attacks_planned,
        "thief made %u of %u attacks: %u crashed it, %u hung it, %u gained nothing",
        record->attack_count, record->attacks_planned, crashes, hangs,
        record->attack_count - crashes - hangs);
    add(verdict, record->host_untouched, "the engine's memory is %s",
        record->host_untouched ? "untouched" : "not what it was");
}

/* ---- Everybody else ----------------------------------------------------------------------- */

static void judge_calls(const struct record *record, struct verdict *verdict)
{
    bool fine = true;
    for (uint32_t i = 0; i < ACTORS; i++) {
        const struct actor_record *actor = &record->actors[i];
        if (actor->offence != OFFENCE_NONE || actor->called == record->frames) {
            continue;
        }
        fine = false;
        if (actor->first_failure > 0) {
            add(verdict, false, "%s failed in frame %u: %s", actor->name, actor->first_failure,
                actor->note);
        } else {
            add(verdict, false, "%s was called in %u of %u frames", actor->name, actor->called,
                record->frames);
        }
    }
    if (fine) {
        add(verdict, true, "everybody else was called in each of the %u frames", record->frames);
    }
}

static void judge_results(const struct record *record, struct verdict *verdict)
{
    uint32_t equal = 0;
    bool fine = true;
    for (uint32_t i = 0; i < ACTORS; i++) {
        const struct actor_record *actor = &record->actors[i];
        if (actor->offence != OFFENCE_NONE) {
            continue;
        }
        if (!actor->compared) {
            add(verdict, false, "%s was not compared with a native run", actor->name);
            return;
        }
        equal += actor->result == actor->native;
        if (actor->result != actor->native && fine) {
            fine = false;
            add(verdict, false, "%s gave %016" PRIx64 ", natively %016" PRIx64, actor->name,
                actor->result, actor->native);
        }
    }
    if (fine) {
        add(verdict, true, "the results of all %u are those of the same code run natively", equal);
    }
}

void verdict_judge(const struct record *record, struct verdict *verdict)
{
    *verdict = (struct verdict){.passed = true};
    for (uint32_t i = 0; i < ACTORS; i++) {
        const struct actor_record *actor = &record->actors[i];
        if (expected_cause(actor->offence) != AEE_CRASH_NONE) {
            judge_offender(actor, record->frames, verdict);
        }
    }
    judge_counter(&record->actors[CRASHER], verdict);
    judge_attacks(record, verdict);
    judge_calls(record, verdict);
    judge_results(record, verdict);
}
