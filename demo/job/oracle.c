/* oracle.c: the same components, compiled for the host (aee_add_component's NATIVE), play the same
 * frames in this process. What they compute is what the contexts must have computed. */
#define AEE_NATIVE 1
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <world.h>

#include "aee_guest.h"
#include "demo.h"

/* POSIX lets what dlsym() finds be called; C has no cast for it. */
union native {
    void *address;
    int64_t (*integers)(int64_t, int64_t, int64_t);
    int64_t (*step)(int64_t region, double seconds);
    void (*camera)(double x, double y, double zoom);
    void (*set_hooks)(const struct aee_native_hooks *hooks);
};

/* ---- Modules ------------------------------------------------------------------------------ */

/* Modules stay: they own what they have allocated. Their init functions begin anew. */
static void *open_module(const struct demo *demo, int index)
{
    char path[sizeof demo->options.folder + 64];
    (void)snprintf(path, sizeof path, "%s/%s_native.so", demo->options.folder,
                   demo->actors[index].image);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

/* Finds all of an actor's functions. */
static bool find_functions(const struct demo *demo, int index, void *module,
                           union native out[FUNCTIONS])
{
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        const char *name = demo->actors[index].functions[i];
        out[i].address = module && name ? dlsym(module, name) : NULL;
        if (name && !out[i].address) {
            return false;
        }
    }
    return true;
}

/* Functions of fewer arguments ignore the others, by the x86-64 calling convention. */
static int64_t call(union native function, int64_t a, int64_t b, int64_t c)
{
    return function.integers(a, b, c);
}

static void set_result(struct demo *demo, int index, uint64_t result)
{
    demo->record.actors[index].native = result;
    demo->record.actors[index].compared = true;
}

/* ---- Agents, particles and the list of what is drawn of them ------------------------------- */

struct flock {
    union native functions[3][FUNCTIONS]; /* agents, particles, rendering */
    int64_t memory[SHARED];
    uint64_t sums[3];
};

static void play_flock(struct flock *flock, uint32_t frame)
{
    double at[3];
    for (int i = AGENTS; i <= PARTICLES && frame > 0; i++) {
        const int64_t count = flock->functions[i][STEP].step(flock->memory[i], DEMO_STEP_S);
        flock->sums[i] = DEMO_FOLD(flock->sums[i], count);
    }
    if (demo_camera(frame, at)) {
        flock->functions[RENDERING][EXTRA].camera(at[0], at[1], at[2]);
    }
    const int64_t quads = call(flock->functions[RENDERING][STEP], flock->memory[COLUMNS_AGENTS],
                               flock->memory[COLUMNS_PARTICLES], flock->memory[DRAW_LIST]);
    if (frame > 0) { /* frame 0 only warms up */
        flock->sums[RENDERING] = DEMO_FOLD(flock->sums[RENDERING], quads);
    }
}

static void replay_flock(struct demo *demo)
{
    struct flock flock = {0};
    const size_t sizes[SHARED] = {world_size(DEMO_AGENTS), world_size(DEMO_PARTICLES),
                                  draw_size(DEMO_QUADS)};
    void *memory[SHARED];
    bool ready = true;
    for (int i = 0; i < SHARED; i++) {
        memory[i] = calloc(1, sizes[i]);
        flock.memory[i] = (int64_t)(uintptr_t)memory[i];
        ready =
            find_functions(demo, i, open_module(demo, i), flock.functions[i]) && memory[i] && ready;
    }
    if (ready) {
        draw_format(memory[DRAW_LIST], DEMO_QUADS);
        (void)call(flock.functions[AGENTS][INIT], flock.memory[AGENTS], DEMO_AGENTS,
                   DEMO_SEED(AGENTS));
        (void)call(flock.functions[PARTICLES][INIT], flock.memory[PARTICLES], DEMO_PARTICLES,
                   DEMO_SEED(PARTICLES));
        for (uint32_t frame = 0; frame <= demo->options.frames; frame++) {
            play_flock(&flock, frame);
        }
        for (int i = AGENTS; i <= PARTICLES; i++) {
            const int64_t sum = call(flock.functions[i][EXTRA], flock.memory[i], 0, 0);
            set_result(demo, i, DEMO_FOLD(flock.sums[i], sum));
        }
        const uint64_t drawn = demo_draw_checksum(memory[DRAW_LIST], sizes[DRAW_LIST]);
        set_result(demo, RENDERING, DEMO_FOLD(flock.sums[RENDERING], drawn));
    }
    for (int i = 0; i < SHARED; i++) {
        free(memory[i]);
    }
}

/* ---- Scenes and the good mod --------------------------------------------------------------- */

/* The host functions of the mod. */
static int32_t host_call(void *user, const char *name, const int64_t args[AEE_MAX_ARGS],
                         const void *in, size_t in_size, void *out, size_t out_capacity,
                         size_t *out_size, int64_t *result)
{
    struct weather *weather = user;
    (void)in, (void)in_size, (void)out, (void)out_capacity, (void)out_size;
    if (strcmp(name, "weather_set") == 0) {
        demo_set_weather(weather, aee_from_bits(args[0]), aee_from_bits(args[1]));
    } else if (strcmp(name, "score_add") == 0) {
        *result = ++weather->score;
    }
    return AEE_HOST_OK;
}

static void ignore_log(void *user, int level, const char *line)
{
    (void)user, (void)level, (void)line;
}

static void replay_alone(struct demo *demo, int index)
{
    union native functions[FUNCTIONS];
    struct weather weather = {0};
    const struct aee_native_hooks hooks = {
        .user = &weather, .log = ignore_log, .host_call = host_call};
    void *module = open_module(demo, index);
    const union native setter = {.address = module ? dlsym(module, "aee_native_set_hooks") : NULL};
    if (find_functions(demo, index, module, functions) && setter.address) {
        uint64_t sum = 0;
        setter.set_hooks(&hooks);
        (void)call(functions[INIT], DEMO_SEED(index), demo->actors[index].nodes, 0);
        if (index == GOOD) {
            (void)call(functions[EXTRA], demo->actors[index].armed_frame, 0, 0);
        }
        for (uint32_t frame = 1; frame <= demo->options.frames; frame++) {
            sum = DEMO_FOLD(sum, call(functions[STEP], frame, 0, 0));
        }
        if (index == GOOD) {
            sum = DEMO_FOLD(DEMO_FOLD(sum, weather.history), weather.score);
        }
        set_result(demo, index, sum);
    }
}

/* Two lives: until it crashed, and from its checkpoint on. */
static void replay_crasher(struct demo *demo)
{
    const struct actor_record *record = &demo->record.actors[CRASHER];
    union native functions[FUNCTIONS];
    uint64_t sum = 0;
    if (!find_functions(demo, CRASHER, open_module(demo, CRASHER), functions) ||
        record->back_frame == 0) {
        return;
    }
    (void)call(functions[INIT], DEMO_SEED(CRASHER), 0, 0);
    for (uint32_t frame = 1; frame < record->cause_frame; frame++) {
        sum = DEMO_FOLD(sum, call(functions[STEP], frame, 0, 0));
    }
    (void)call(functions[INIT], DEMO_SEED(CRASHER), 0, 0);
    for (uint32_t frame = 1; frame <= record->kept_frame; frame++) {
        (void)call(functions[STEP], frame, 0, 0);
    }
    for (uint32_t frame = record->back_frame; frame <= demo->options.frames; frame++) {
        sum = DEMO_FOLD(sum, call(functions[STEP], frame, 0, 0));
    }
    set_result(demo, CRASHER, sum);
}

void oracle_run(struct demo *demo)
{
    replay_flock(demo);
    replay_alone(demo, SCENE_1);
    replay_alone(demo, SCENE_2);
    replay_alone(demo, GOOD);
    replay_crasher(demo);
}
