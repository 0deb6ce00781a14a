/* cast.c: who plays, what each may do and see, and how the game is set up. */
#include <stdio.h>
#include <string.h>
#include <world.h>

#include "demo.h"

/* Budgets: a game would give a few milliseconds to every mod. Here only those that will hang get
 * so little, and all others so much that no host is busy enough to make them look hung. */
enum { GENEROUS_MS = 1000, TIGHT_MS = 5 };

static const struct actor cast[ACTORS] = {
    [AGENTS] = {.name = "agents",
                .image = "agents",
                .kind = AEE_KIND_AGENTS,
                .budget_ms = GENEROUS_MS,
                .functions = {"agents_init", "agents_step", "agents_checksum"}},
    [PARTICLES] = {.name = "particles",
                   .image = "particles",
                   .kind = AEE_KIND_PARTICLES,
                   .budget_ms = GENEROUS_MS,
                   .functions = {"particles_init", "particles_step", "particles_checksum"}},
    [RENDERING] = {.name = "rendering",
                   .image = "rendering",
                   .kind = AEE_KIND_RENDERING,
                   .budget_ms = GENEROUS_MS,
                   .functions = {NULL, "rendering_build", "rendering_camera"}},
    [SCENE_1] = {.name = "harbour",
                 .image = "scene",
                 .kind = AEE_KIND_SCENE,
                 .budget_ms = GENEROUS_MS,
                 .nodes = 2000,
                 .functions = {"scene_init", "scene_step"}},
    [SCENE_2] = {.name = "cave",
                 .image = "scene",
                 .kind = AEE_KIND_SCENE,
                 .budget_ms = GENEROUS_MS,
                 .nodes = 1000,
                 .functions = {"scene_init", "scene_step"}},
    [GOOD] = {.name = "good",
              .image = "mod_good",
              .kind = AEE_KIND_USER_MOD,
              .budget_ms = GENEROUS_MS,
              .armed_percent = 60,
              .functions = {"mod_init", "mod_tick", "mod_arm"}},
    [CRASHER] = {.name = "crasher",
                 .image = "mod_crasher",
                 .kind = AEE_KIND_USER_MOD,
                 .offence = OFFENCE_CRASH,
                 .budget_ms = GENEROUS_MS,
                 .armed_percent = 25,
                 .keep_every = 8,
                 .functions = {"mod_init", "mod_tick", "mod_arm"}},
    [SPINNER] = {.name = "spinner",
                 .image = "mod_spinner",
                 .kind = AEE_KIND_USER_MOD,
                 .offence = OFFENCE_HANG,
                 .budget_ms = TIGHT_MS,
                 .armed_percent = 50,
                 .functions = {"mod_init", "mod_tick", "mod_arm"}},
    [HOG] = {.name = "memory_hog",
             .image = "mod_memory_hog",
             .kind = AEE_KIND_USER_MOD,
             .offence = OFFENCE_MEMORY,
             .budget_ms = GENEROUS_MS,
             .memory_mb = 4,
             .armed_percent = 75,
             .functions = {"mod_init", "mod_tick", "mod_arm"}},
    [THIEF] = {.name = "thief",
               .image = "mod_thief",
               .kind = AEE_KIND_USER_MOD,
               .offence = OFFENCE_ATTACKS,
               .budget_ms = TIGHT_MS,
               .memory_mb = 2,
               .functions = {"mod_init", "mod_tick"}},
};

void demo_make_printable(char *text)
{
    for (; *text; text++) {
        *text = *text >= ' ' && *text <= '~' ? *text : '?';
    }
}

/* ---- Host functions of the good mod ------------------------------------------------------- */

void demo_set_weather(struct weather *weather, double wind, double rain)
{
    const double values[] = {wind, rain}; /* any at all: a component has sent them */
    for (unsigned i = 0; i < 2; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        weather->history = DEMO_FOLD(weather->history, bits);
    }
}

static aee_result weather_set(void *user, aee_host_call *call)
{
    demo_set_weather(user, aee_host_arg_f64(call, 0), aee_host_arg_f64(call, 1));
    return AEE_OK;
}

static aee_result score_add(void *user, aee_host_call *call)
{
    struct weather *weather = user;
    weather->score += call->args[0] == 1; /* one point at a time, whatever the mod asks for */
    call->result = weather->score;
    return AEE_OK;
}

static aee_result chat(void *user, aee_host_call *call)
{
    struct weather *weather = user;
    const size_t room = sizeof weather->chat - 1;
    const size_t size = call->payload_size < room ? call->payload_size : room;
    if (size > 0) {
        memcpy(weather->chat, call->payload, size);
    }
    weather->chat[size] = '\0';
    demo_make_printable(weather->chat);
    return AEE_OK;
}

static aee_result offer_host_functions(struct demo *demo, aee_error *error)
{
    static const struct {
        const char *name;
        aee_host_fn function;
    } offers[] = {{"weather_set", weather_set}, {"score_add", score_add}, {"chat", chat}};
    aee_result result = AEE_OK;
    for (unsigned i = 0; i < sizeof offers / sizeof offers[0] && result == AEE_OK; i++) {
        result = aee_register_host_function(demo->engine, offers[i].name, offers[i].function,
                                            &demo->weather, error);
        if (result == AEE_OK) {
            result = aee_grant_host_function(demo->engine, demo->actors[GOOD].context,
                                             offers[i].name, error);
        }
    }
    return result;
}

/* ---- Contexts and regions ----------------------------------------------------------------- */

static aee_result open_actor(struct demo *demo, struct actor *actor, aee_error *error)
{
    char path[sizeof demo->options.folder + 64];
    const aee_context_desc desc = {
        .struct_size = sizeof desc,
        .name = actor->name,
        .kind = actor->kind,
        .limits = {.memory_bytes = (uint64_t)actor->memory_mb << 20,
                   .call_budget_ns = UINT64_C(10000000000), /* while the level loads */
                   /* Whoever crashes is let back, even the thief with twenty crashes a second. */
                   .restarts = 60,
                   .restart_window_ns = UINT64_C(250000000)}};
    aee_result result = aee_context_create(demo->engine, &desc, &actor->context, error);
    if (result == AEE_OK) {
        (void)snprintf(path, sizeof path, "%s/%s.elf", demo->options.folder, actor->image);
        result = aee_load_file(demo->engine, actor->context, path, error);
    }
    if (result == AEE_OK && actor->keep_every > 0) {
        const aee_recovery_desc recovery = {.struct_size = sizeof recovery,
                                            .every_frames = actor->keep_every,
                                            .restart = AEE_RESTART_CHECKPOINT};
        result = aee_set_recovery(demo->engine, actor->context, &recovery, error);
    }
    for (unsigned i = 0; i < FUNCTIONS && result == AEE_OK; i++) {
        if (actor->functions[i]) {
            result = aee_find_function(demo->engine, actor->context, actor->functions[i],
                                       &actor->handles[i], error);
        }
    }
    return result;
}

static aee_result share(struct demo *demo, unsigned index, const char *name, size_t size,
                        const aee_access access[ACTORS], aee_error *error)
{
    struct shared *shared = &demo->shared[index];
    const aee_region_desc desc = {.struct_size = sizeof desc, .name = name, .size_bytes = size};
    aee_result result = aee_region_create(demo->engine, &desc, &shared->region, error);
    if (result == AEE_OK) {
        result = aee_region_data(demo->engine, shared->region, &shared->data, &shared->size, error);
    }
    for (int i = 0; i < ACTORS && result == AEE_OK; i++) {
        if (access[i]) {
            result = aee_region_map(demo->engine, demo->actors[i].context, shared->region,
                                    access[i], &shared->address[i], error);
        }
    }
    return result;
}

/* Each writes its own columns; rendering reads both, and writes the draw list. */
static aee_result share_all(struct demo *demo, aee_error *error)
{
    static const aee_access access[SHARED][ACTORS] = {
        [COLUMNS_AGENTS] = {[AGENTS] = AEE_ACCESS_READ_WRITE, [RENDERING] = AEE_ACCESS_READ},
        [COLUMNS_PARTICLES] = {[PARTICLES] = AEE_ACCESS_READ_WRITE, [RENDERING] = AEE_ACCESS_READ},
        [DRAW_LIST] = {[RENDERING] = AEE_ACCESS_READ_WRITE}};
    static const char *const names[SHARED] = {"agents", "particles", "draw list"};
    const size_t sizes[SHARED] = {world_size(DEMO_AGENTS), world_size(DEMO_PARTICLES),
                                  draw_size(DEMO_QUADS)};
    aee_result result = AEE_OK;
    for (unsigned i = 0; i < SHARED && result == AEE_OK; i++) {
        result = share(demo, i, names[i], sizes[i], access[i], error);
    }
    if (result == AEE_OK) {
        draw_format(demo->shared[DRAW_LIST].data, DEMO_QUADS);
    }
    return result;
}

/* ---- Begin and end ------------------------------------------------------------------------ */

/* Loads the level under generous budgets, and then sets those of the frames. */
static aee_result load(struct demo *demo, aee_error *error)
{
    aee_result result = AEE_OK;
    for (int i = 0; i < ACTORS && result == AEE_OK; i++) {
        result = demo_load(demo, i, error);
    }
    result = result == AEE_OK ? attacks_plan(demo, error) : result;
    for (int i = 0; i < ACTORS && result == AEE_OK; i++) {
        const aee_limits limits = {.call_budget_ns = cast[i].budget_ms * UINT64_C(1000000)};
        result = aee_set_limits(demo->engine, demo->actors[i].context, &limits, error);
    }
    return result;
}

aee_result demo_open(struct demo *demo, aee_error *error)
{
    const aee_engine_desc desc = {.struct_size = sizeof desc, .frame_budget_ns = DEMO_FRAME_NS};
    aee_stats stats;
    memcpy(demo->actors, cast, sizeof cast);
    demo->record.frames = demo->options.frames;
    for (int i = 0; i < ACTORS; i++) {
        demo->record.actors[i].name = cast[i].name;
        demo->record.actors[i].offence = cast[i].offence;
        demo->actors[i].armed_frame = demo->options.frames * cast[i].armed_percent / 100;
    }
    aee_result result = aee_engine_create(&desc, &demo->engine, error);
    for (int i = 0; i < ACTORS && result == AEE_OK; i++) {
        result = open_actor(demo, &demo->actors[i], error);
    }
    result = result == AEE_OK ? share_all(demo, error) : result;
    result = result == AEE_OK ? offer_host_functions(demo, error) : result;
    result = result == AEE_OK ? load(demo, error) : result;
    result = result == AEE_OK ? aee_get_stats(demo->engine, &stats, error) : result;
    demo->level = result == AEE_OK ? stats.level : AEE_LEVEL_AUTO;
    return result;
}

void demo_close(struct demo *demo)
{
    aee_engine_destroy(demo->engine);
    demo->engine = NULL;
}
