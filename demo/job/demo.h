/* demo.h: a small game whose parts run in contexts of their own. `struct demo` owns the engine, its
 * contexts and regions; main thread only. */
#ifndef AEE_DEMO_DEMO_H
#define AEE_DEMO_DEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aee_virt.h"
#include "job.h"
#include "verdict.h"

#define DEMO_AGENTS 10000
#define DEMO_PARTICLES 100000
#define DEMO_QUADS (DEMO_AGENTS + DEMO_PARTICLES)
#define DEMO_STEP_S (1.0 / 60.0)
#define DEMO_FRAME_NS 16666667
#define DEMO_SEED(actor) (INT64_C(1000) + (actor))
#define DEMO_FOLD(sum, value) (((sum) ^ (uint64_t)(value)) * UINT64_C(0x100000001b3))

struct options {
    uint32_t frames;
    bool fast; /* do not wait for the next frame's time */
    bool json;
    const char *trace; /* file; NULL: none */
    char folder[4096]; /* of the components */
};

enum { INIT, STEP, EXTRA, FUNCTIONS };

struct actor {
    const char *name;
    const char *image; /* without ".elf" */
    aee_kind kind;
    enum offence offence;
    uint32_t budget_ms;
    uint32_t memory_mb;
    uint32_t armed_percent; /* of all frames: when it does what it is for */
    int64_t nodes;          /* of a scene */
    uint32_t keep_every;    /* frames: a checkpoint, with which it comes back; 0: none */
    const char *functions[FUNCTIONS];

    aee_context context;
    aee_function handles[FUNCTIONS];
    uint32_t armed_frame; /* 0: never */
    bool lost;            /* its state went with a crash: it must be initialised again */
    uint64_t checkpoints; /* taken so far */
    uint32_t kept_frame;  /* after which the last one was; 0: before the first */
};

/* What the good mod may change, through host functions. */
struct weather {
    uint64_t history; /* folded over all settings */
    int64_t score;
    char chat[128]; /* the last line */
};

/* A region in the engine and as the contexts see it. */
struct shared {
    aee_region region;
    void *data;
    size_t size;
    uint64_t address[ACTORS]; /* 0: not mapped */
};
enum { COLUMNS_AGENTS, COLUMNS_PARTICLES, DRAW_LIST, SHARED };

/* Frames that took longer than a sixtieth of a second because of one of the cast, which took most
 * beyond its usual time; or because of the engine itself, outside of calls. */
struct late_frames {
    uint32_t count;
    uint32_t worst_frame;
    uint64_t worst_ns; /* of the culprit in that frame */
    uint64_t usual_ns;
    bool stopped; /* its call ended in a crash or a hang */
};

struct attack {
    char name[64];
    enum attack_end end;
    aee_function function;
    int64_t args[2];
    uint32_t count; /* of arguments */
};

struct demo {
    struct options options;
    aee_engine *engine;
    aee_level level;
    struct actor actors[ACTORS];
    struct shared shared[SHARED];
    struct weather weather;
    struct record record;

    uint32_t plan_count;
    uint32_t aimed_count; /* the first ones of the plan */
    struct attack plan[ATTACKS_MAX];
    unsigned char canary[64]; /* memory of the engine, which the thief aims at */

    uint64_t spent_ns[ACTORS + 1]; /* in this frame; the last one: outside of calls */
    uint64_t usual_ns[ACTORS + 1]; /* running means of frames that were not late */
    bool failed_now[ACTORS];
    uint64_t frame_ns; /* running mean of whole frames */
    uint32_t late_count;
    struct late_frames late[ACTORS + 1];
};

/* cast.c */
aee_result demo_open(struct demo *demo, aee_error *error);
void demo_close(struct demo *demo);
void demo_set_weather(struct weather *weather, double wind, double rain);

/* actors.c */
aee_result demo_load(struct demo *demo, int actor, aee_error *error);
void demo_play(struct demo *demo, int actor, uint32_t frame); /* its part of one frame */
void demo_failed(struct demo *demo, int actor, uint32_t frame, const aee_error *error);
void demo_look_at_checkpoints(struct demo *demo, uint32_t frame); /* which this frame's end took */
void demo_collect(struct demo *demo); /* the results, after the last frame */
uint64_t demo_draw_checksum(const void *list, size_t size);
/* Where the camera is: x, y and zoom. False: where it was in the frame before. */
bool demo_camera(uint32_t frame, double at[3]);

/* attacks.c */
aee_result attacks_plan(struct demo *demo, aee_error *error);
void attacks_play(struct demo *demo, uint32_t frame);
bool attacks_left_no_trace(const struct demo *demo);

/* frames.c */
aee_result frames_run(struct demo *demo, aee_error *error);

/* oracle.c: replays the same frames without contexts, and fills in the native results. */
void oracle_run(struct demo *demo);

/* report.c and json.c */
void report_start(const struct demo *demo);
__attribute__((format(printf, 4, 5))) void report_event(const struct demo *demo, uint32_t frame,
                                                        const char *name, const char *format, ...);
void report_status(const struct demo *demo, uint32_t frame);
void report_checking(const struct demo *demo);
void report_end(const struct demo *demo, const struct verdict *verdict);
void report_json(const struct demo *demo, const struct verdict *verdict);

#endif
