/* verdict.h: what happened in a run, and whether it is what should have happened. Pure; owns
 * nothing. */
#ifndef AEE_DEMO_VERDICT_H
#define AEE_DEMO_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "aee_virt.h"

/* Everybody in the demo has a context; the order is that of the calls in a frame. */
enum { AGENTS, PARTICLES, RENDERING, SCENE_1, SCENE_2, GOOD, CRASHER, SPINNER, HOG, THIEF, ACTORS };

enum offence { OFFENCE_NONE, OFFENCE_CRASH, OFFENCE_HANG, OFFENCE_MEMORY, OFFENCE_ATTACKS };

struct actor_record {
    const char *name;
    enum offence offence;   /* that is expected of it */
    uint32_t called;        /* frames in which its call returned a result */
    uint32_t skipped;       /* frames in which it was being restarted */
    uint32_t failed;        /* frames in which its call ended in an error */
    uint32_t first_failure; /* frame of it; 0: none */
    aee_crash_cause cause;  /* of the failure in the scripted frame */
    uint32_t cause_frame;
    uint32_t kept_frame; /* of the checkpoint that there was then; 0: before the first */
    uint32_t back_frame; /* the first one after that in which it was called; 0: none */
    char note[248];      /* the report of that failure, or the error of the first one */
    bool compared;       /* its results count, and were replayed natively */
    uint64_t result;     /* folded over all frames */
    uint64_t native;
};

/* What the thief itself says must happen to it. */
enum attack_end { ATTACK_CRASHES, ATTACK_LIVES, ATTACK_HANGS };

struct attack_record {
    uint32_t frame;
    char name[64];
    enum attack_end end;
    aee_result result;
    int64_t gained; /* what the attack returned; not 0: it got through */
};

#define ATTACKS_MAX 256

struct record {
    uint32_t frames;
    struct actor_record actors[ACTORS];
    uint32_t attacks_planned;
    uint32_t attack_count;
    struct attack_record attacks[ATTACKS_MAX];
    bool host_untouched; /* the engine's memory that the thief aimed at */
};

struct check {
    bool passed;
    char text[320];
};

struct verdict {
    bool passed;
    uint32_t count;
    struct check checks[ACTORS + 5];
};

bool attack_contained(const struct attack_record *attack);
void verdict_judge(const struct record *record, struct verdict *verdict);

#endif
