/* game.h: the demo's game: an engine with up to eight scenes, each of which has a core, agents,
 * particles, rendering and mods in contexts of their own. Main thread only, but for host functions,
 * which write what is theirs in `struct scene`'s wishes. */
#ifndef AEE_DEMO_GAME_H
#define AEE_DEMO_GAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "view.h"

#define FRAME_NS UINT64_C(16666667)
#define STEP_S (1.0 / 60.0)
#define HANG_BUDGET_NS UINT64_C(20000000) /* what a call has that is told to hang */

enum {
    MODS = 8,         /* manifests */
    PARTS = 4 + MODS, /* contexts of a scene */
    KEEP_EVERY = 30,  /* frames: a checkpoint of everything in the scene */
    KEEPS = 8,        /* that are there at a time */
    BACK_FRAMES = 180,
    HOST_FUNCTIONS = 8,
    CORE_NODES = 500,
    LAUNCH_FRAMES = 240, /* of the particles, before the first frame of a scene */
    TIMES = 128
};

struct options {
    bool headless;
    bool fast;   /* the next frame begins when the last one is over */
    bool monkey; /* does something at random in every few frames */
    bool compare_native;
    uint32_t frames; /* 0: until somebody quits */
    uint32_t scenes;
    uint32_t agents;
    uint32_t particles;
    uint32_t capture_every;
    int width, height;
    uint64_t seed;
    const char *script;
    const char *tour;    /* the script for where nobody can press keys */
    const char *capture; /* directory */
    const char *record;  /* files */
    const char *json;
    const char *trace;
    char components[4096]; /* directories */
    char mods[4096];
};

/* The first ones are those that mods may ask for. */
enum { SHARED_STAGE, SHARED_AGENTS, SHARED_CANVAS, SHARED_PARTICLES, SHARED_LIST, REGIONS };

/* What a manifest says (docs/demo-mods.md), and the same for parts that are no mods. */
struct manifest {
    char name[AEE_NAME_MAX];
    char image[4096]; /* path */
    const char *step; /* function that is called in frames */
    aee_kind kind;
    uint32_t memory_mb;
    uint32_t budget_ms;
    uint32_t every; /* frames; 0: only on demand */
    bool important;
    aee_access regions[REGIONS]; /* 0: it does not see it */
    uint32_t host_count;
    char host[HOST_FUNCTIONS][56];
};

enum role { CORE, AGENTS, PARTICLES, RENDERING, MOD };
enum fault { BREAK_NULL, BREAK_HANG, BREAK_MEMORY, BREAK_PEEK, BREAK_NOTHING, FAULTS };

/* A context of a scene. */
struct part {
    enum role role;
    struct scene *scene;
    const struct manifest *manifest;
    aee_context context;
    aee_function step;
    aee_function faults[FAULTS];
    void *module; /* a twin's, instead of a context: the same code natively (native.c) */
    void *native_step;
    uint32_t due;    /* frames in which it was to be called */
    uint32_t called; /* ... and returned a result */
    uint32_t failed;
    uint32_t broken; /* times that it was told to misbehave */
    uint64_t budget_ns;
    uint64_t cpu_ns;       /* of its info, at the last look */
    double share;          /* running mean of its time in a frame, in ns */
    float times_ms[TIMES]; /* of its last calls */
    uint32_t times;
    double struck_at;     /* time of the last crash; 0: none */
    uint64_t kept[KEEPS]; /* frames of its checkpoints, the oldest first */
    uint32_t kept_count;
    struct view_row row;
};

/* A region, as the engine has it. */
struct shared {
    aee_region region;
    void *data;
    size_t size;
};

/* Contents of the regions at a checkpoint. */
struct keep {
    uint64_t frame; /* 0: none */
    uint8_t *bytes;
    struct stage wishes;
    char board[VIEW_BOARD][48];
};

struct scene {
    bool open;
    bool paused;
    char name[AEE_NAME_MAX];
    uint32_t number; /* counts up with each scene that is opened */
    uint64_t frame;  /* of its own: goes back with it */
    struct game *game;
    struct part parts[PARTS];
    uint32_t part_count;
    struct shared shared[REGIONS];
    struct stage wishes; /* what mods asked for: each writes its own field, the stage gets it all */
    char board[VIEW_BOARD][48];
    struct keep keeps[KEEPS];
    uint32_t next_keep;
    long names; /* of a twin: the namespace of its modules; 0: it has contexts */
};

struct game {
    struct options options;
    aee_engine *engine;
    struct manifest manifests[PARTS]; /* by roles, then of mods */
    uint32_t manifest_count;
    struct scene scenes[VIEW_SCENES];
    uint32_t opened; /* scenes so far */
    int selected;
    uint64_t patience; /* times the budgets of honest calls */
    uint32_t late_lately;
    uint32_t calm;         /* frames since one was late */
    uint32_t since_change; /* frames since slow_down changed */
    bool step;             /* one more frame although frozen */
    bool over;
    char canary[64]; /* memory of the engine, at which the thief aims */
    uint32_t stolen; /* reads of the thief that came back: must stay 0 */
    struct view view;
};

static inline aee_engine *engine_of(const struct part *part)
{
    return part->scene->game->engine;
}

/* options.c: -1, or the exit code: nothing is to be played. */
int options_parse(struct options *options, int argc, char **argv);

/* loop.c: the exit code */
int game_run(struct game *game);

/* Where a function can fail: true, or false with a sentence in `error`. */

/* scene.c */
bool game_open(struct game *game, aee_error *error);
void game_close(struct game *game);
bool scene_open(struct game *game, aee_error *error);
void scene_close(struct scene *scene);
/* Fills one whose game, name, number and names are set; closes it where that fails. */
bool scene_build(struct scene *scene, aee_error *error);
void scene_tend(struct scene *scene);                 /* before each of its frames */
struct scene *scene_at(struct game *game, int index); /* NULL: none is open there */

/* mods.c */
bool mods_read(struct game *game,
               aee_error *error); /* their manifests, behind those that are there */
bool mods_offer(struct game *game, aee_error *error);         /* the host functions */
aee_result mods_serve(const char *name, aee_host_call *call); /* for a native mod */

/* play.c */
bool game_play(struct game *game, aee_error *error);           /* what components do in one frame */
bool part_is_due(const struct part *part);                     /* in this frame */
int64_t part_address(const struct part *part, unsigned index); /* of a region, everywhere */
bool part_call(struct part *part, aee_error *error);           /* one call, which waits */
void scene_set_stage(struct scene *scene); /* what the mods asked for comes into force */
void game_govern(struct game *game, const aee_frame_info *info);
double game_now_s(void);

/* keep.c */
void part_keep(struct part *part);    /* a checkpoint of one context */
void scene_keep(struct scene *scene); /* a checkpoint of all its contexts and regions */
bool scene_roll_back(struct scene *scene, uint64_t frames);

/* acts.c */
void game_act(struct game *game, int action, int scene); /* scene: -1 for the selected one */
__attribute__((format(printf, 3, 4))) void game_say(struct game *game, bool bad, const char *format,
                                                    ...);
void game_event(void *user, const aee_event *event); /* an aee_event_fn */

/* look.c */
void game_look(struct game *game); /* fills the view */

/* script.c */
struct script;
bool script_open(const char *path, struct script **script, aee_error *error); /* to be freed */
void script_play(struct script *script, struct game *game);
bool report_write(const struct game *game, const char *path, aee_error *error);

/* native.c */
int compare_native(struct game *game, aee_error *error); /* the exit code */
/* The module beside its image. */
bool native_load(struct part *part, aee_error *error);
bool native_call(const struct part *part, const char *name, const int64_t args[3], int64_t *value,
                 aee_error *error);
int64_t native_step(const struct part *part, const aee_value args[AEE_ARGS_MAX]);

#endif
