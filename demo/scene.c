/* scene.c: opens and closes the engine and its scenes: contexts, limits, regions, supervision. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "game.h"

static const struct manifest cast[MOD] = {
    [CORE] = {.name = "core",
              .image = "scene",
              .step = "scene_step",
              .kind = AEE_KIND_SCENE,
              .memory_mb = 4},
    [AGENTS] =
        {.name = "agents",
         .image = "agents",
         .step = "agents_hunt",
         .kind = AEE_KIND_AGENTS,
         .memory_mb = 4,
         .regions = {[SHARED_STAGE] = AEE_ACCESS_READ, [SHARED_AGENTS] = AEE_ACCESS_READ_WRITE}},
    [PARTICLES] =
        {.name = "particles",
         .image = "particles",
         .step = "particles_weather",
         .kind = AEE_KIND_PARTICLES,
         .memory_mb = 2,
         .regions = {[SHARED_STAGE] = AEE_ACCESS_READ, [SHARED_PARTICLES] = AEE_ACCESS_READ_WRITE}},
    [RENDERING] = {.name = "rendering",
                   .image = "rendering",
                   .step = "rendering_build",
                   .kind = AEE_KIND_RENDERING,
                   .memory_mb = 16,
                   .regions = {[SHARED_AGENTS] = AEE_ACCESS_READ,
                               [SHARED_PARTICLES] = AEE_ACCESS_READ,
                               [SHARED_LIST] = AEE_ACCESS_READ_WRITE}},
};

enum { RESTARTS = 12, RESTART_WINDOW_S = 10 };

/* ---- Contexts ----------------------------------------------------------------------------- */

static bool find(struct part *part, const char *name, aee_function *out, aee_error *error)
{
    return aee_find_function(engine_of(part), part->context, name, out, error) == AEE_OK;
}

/* Of a context or of a module. */
static bool call(struct part *part, const char *name, const int64_t args[3], uint32_t count,
                 aee_error *error)
{
    aee_function function;
    int64_t value = 0;
    if (part->module ? !native_call(part, name, args, &value, error)
                     : !find(part, name, &function, error) ||
                           aee_call_i64(engine_of(part), part->context, function, args, count,
                                        &value, error) != AEE_OK) {
        return false;
    }
    if (value < 0) {
        (void)snprintf(error->text, sizeof error->text, "cannot set \"%s\" up: %s() gave %lld",
                       part->row.name, name, (long long)value);
    }
    return value >= 0;
}

static bool create_context(struct part *part, aee_error *error)
{
    char name[AEE_NAME_MAX];
    const aee_context_desc desc = {
        .struct_size = sizeof desc,
        .name = name,
        .kind = part->manifest->kind,
        .limits = {.memory_bytes = (uint64_t)part->manifest->memory_mb << 20,
                   .call_budget_ns = UINT64_C(10000000000), /* while the scene loads */
                   .restarts = RESTARTS,
                   .restart_window_ns = RESTART_WINDOW_S * UINT64_C(1000000000)},
        .user = part};
    (void)snprintf(name, sizeof name, "%.40s %.20s", part->row.name, part->scene->name);
    return aee_context_create(engine_of(part), &desc, &part->context, error) == AEE_OK &&
           aee_load_file(engine_of(part), part->context, part->manifest->image, error) == AEE_OK;
}

/* It comes back with the state of its last checkpoint; all of a scene when the core falls. */
static bool set_recovery(struct part *part, aee_error *error)
{
    const bool core = part->role == CORE;
    const aee_recovery_desc recovery = {
        .struct_size = sizeof recovery,
        .history = KEEPS,
        .restart = AEE_RESTART_CHECKPOINT,
        .supervisor = core ? (aee_context){0} : part->scene->parts[CORE].context,
        .supervision = core ? AEE_SUPERVISE_ALL_FOR_ONE : AEE_SUPERVISE_ONE_FOR_ONE};
    return aee_set_recovery(engine_of(part), part->context, &recovery, error) == AEE_OK;
}

/* Regions are everywhere at the same address. Mods are told of theirs. */
static bool map_regions(struct part *part, aee_error *error)
{
    for (unsigned i = 0; i < REGIONS; i++) {
        const aee_access access = part->manifest->regions[i];
        if (access && !part->module &&
            aee_region_map(engine_of(part), part->context, part->scene->shared[i].region, access,
                           NULL, error) != AEE_OK) {
            return false;
        }
        if (access && part->role == MOD &&
            !call(part, "mod_region", (int64_t[3]){i, part_address(part, i)}, 2, error)) {
            return false;
        }
    }
    return true;
}

static bool grant_host_functions(struct part *part, aee_error *error)
{
    for (uint32_t i = 0; i < part->manifest->host_count && !part->module; i++) {
        if (aee_grant_host_function(engine_of(part), part->context, part->manifest->host[i],
                                    error) != AEE_OK) {
            return false;
        }
    }
    return true;
}

/* agents_init() makes a world for as many as there are; here all of the stage is theirs. */
static void spread(const struct shared *agents)
{
    struct world_header *header = agents->data;
    const float width = header->width;
    struct world_columns columns;
    if (world_open(agents->data, agents->size, &columns) == 0 && width > 0.0f) {
        const float factor = STAGE_EDGE / width;
        header->width = STAGE_EDGE;
        header->height = STAGE_EDGE;
        for (uint32_t i = 0; i < columns.count; i++) {
            columns.x[i] *= factor;
            columns.y[i] *= factor;
        }
    }
}

static bool prepare(struct part *part, aee_error *error)
{
    const struct scene *scene = part->scene;
    const struct options *options = &scene->game->options;
    const int64_t seed = (int64_t)(options->seed + scene->number);
    const int64_t flock = (int64_t)(options->seed * 16 + scene->number);
    if (!grant_host_functions(part, error) || !map_regions(part, error)) {
        return false;
    }
    switch (part->role) {
    case CORE:
        return call(part, "scene_init", (int64_t[3]){seed, CORE_NODES}, 2, error);
    case AGENTS:
        if (!call(part, "agents_init",
                  (int64_t[3]){part_address(part, SHARED_AGENTS), options->agents, flock}, 3,
                  error)) {
            return false;
        }
        spread(&scene->shared[SHARED_AGENTS]);
        return true;
    case PARTICLES:
        return call(part, "particles_init",
                    (int64_t[3]){part_address(part, SHARED_PARTICLES), options->particles, flock},
                    3, error);
    case RENDERING:
        return call(part, "rendering_theme", (int64_t[3]){scene->number - 1}, 1, error);
    case MOD:
    default:
        return call(part, "mod_init", (int64_t[3]){seed}, 1, error);
    }
}

/* A crash that no checkpoint was good for: the part has begun anew with its image, and is told once
 * more where everything is. */
void scene_tend(struct scene *scene)
{
    for (uint32_t i = 0; i < scene->part_count; i++) {
        struct part *part = &scene->parts[i];
        aee_context_info info;
        aee_error error;
        if ((part->struck_at > 0.0 || part->broken > 0) && part->kept_count > 0 &&
            aee_get_context_info(scene->game->engine, part->context, &info, NULL) == AEE_OK &&
            info.state == AEE_STATE_READY && info.checkpoints_kept == 0) {
            part->kept_count = 0;
            if (prepare(part, &error)) {
                part_keep(part);
            } else {
                game_say(scene->game, true, "%s", error.text);
            }
        }
    }
}

/* A tick that takes something else would spoil the batch that all are called in. */
static bool find_step(struct part *part, aee_error *error)
{
    static aee_function_info info;
    const struct manifest *manifest = part->manifest;
    if (manifest->every == 0) {
        return true;
    }
    if (!find(part, manifest->step, &part->step, error)) {
        return false;
    }
    for (uint32_t i = 0; part->role == MOD && aee_get_function_info(engine_of(part), part->context,
                                                                    i, &info, NULL) == AEE_OK;
         i++) {
        if (info.function.id == part->step.id && info.signature[0] != '\0' &&
            strcmp(info.signature, "i:i") != 0 && strcmp(info.signature, "v:i") != 0) {
            (void)snprintf(error->text, sizeof error->text,
                           "cannot use the mod \"%s\": %s() is declared as \"%s\", not as \"i:i\"",
                           manifest->name, manifest->step, info.signature);
            return false;
        }
    }
    return true;
}

static bool open_part(struct part *part, aee_error *error)
{
    static const char *const faults[FAULTS] = {"break_null", "break_hang", "break_memory",
                                               "break_peek", "break_nothing"};
    const struct manifest *manifest = part->manifest;
    (void)snprintf(part->row.name, sizeof part->row.name, "%s", manifest->name);
    if (part->scene->names) {
        return manifest->every == 0 || /* it is never called */
               (native_load(part, error) && prepare(part, error));
    }
    if (!create_context(part, error) || !set_recovery(part, error) || !prepare(part, error) ||
        !find_step(part, error)) {
        return false;
    }
    for (unsigned i = 0; i < FAULTS; i++) { /* mods of others need not have them */
        (void)find(part, faults[i], &part->faults[i], NULL);
    }
    part->budget_ns = manifest->budget_ms * UINT64_C(1000000) * part->scene->game->patience;
    const aee_limits limits = {.call_budget_ns = part->budget_ns};
    return aee_set_limits(engine_of(part), part->context, &limits, error) == AEE_OK;
}

/* ---- Regions ------------------------------------------------------------------------------ */

static bool create_regions(struct scene *scene, aee_error *error)
{
    static const char *const names[REGIONS] = {"stage", "agents", "canvas", "particles",
                                               "draw list"};
    const struct options *options = &scene->game->options;
    const uint32_t quads = options->agents + options->particles;
    const size_t sizes[REGIONS] = {sizeof(struct stage), world_size(options->agents),
                                   STAGE_CANVAS * STAGE_CANVAS * 4, world_size(options->particles),
                                   draw_size(quads)};
    aee_engine *engine = scene->game->engine;
    char name[AEE_NAME_MAX];
    for (unsigned i = 0; i < REGIONS; i++) {
        struct shared *shared = &scene->shared[i];
        const aee_region_desc desc = {.struct_size = sizeof desc,
                                      .flags = AEE_REGION_SAME_ADDRESS,
                                      .name = name,
                                      .size_bytes = sizes[i]};
        (void)snprintf(name, sizeof name, "%s of %.40s", names[i], scene->name);
        if (aee_region_create(engine, &desc, &shared->region, error) != AEE_OK ||
            aee_region_data(engine, shared->region, &shared->data, &shared->size, error) !=
                AEE_OK) {
            return false;
        }
    }
    draw_format(scene->shared[SHARED_LIST].data, quads);
    return true;
}

/* Obstacles where nobody minds: by the seed, apart from each other. */
static void set_stage(struct scene *scene)
{
    uint64_t random = (scene->game->options.seed + scene->number) * UINT64_C(0x9e3779b97f4a7c15);
    struct stage *stage = &scene->wishes;
    *stage = (struct stage){.magic = STAGE_MAGIC, .obstacle_count = 5};
    for (uint32_t i = 0; i < stage->obstacle_count; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        stage->obstacles[i] =
            (struct stage_disc){.x = 120.0f + 190.0f * (float)i + (float)(random >> 58),
                                .y = 150.0f + (float)(random >> 40 & 1023) * 0.68f,
                                .radius = 26.0f + (float)(random >> 32 & 31)};
    }
    memcpy(scene->shared[SHARED_STAGE].data, stage, sizeof *stage);
}

/* The fountains are in full flow when the scene is seen first. */
static bool launch_particles(struct scene *scene, aee_error *error)
{
    bool good = true;
    for (scene->frame = 1; scene->frame <= LAUNCH_FRAMES && good; scene->frame++) {
        scene_set_stage(scene);
        good = part_call(&scene->parts[PARTICLES], error);
    }
    scene->frame = 0;
    return good;
}

/* ---- Begin and end ------------------------------------------------------------------------ */

struct scene *scene_at(struct game *game, int index)
{
    return index >= 0 && index < VIEW_SCENES && game->scenes[index].open ? &game->scenes[index]
                                                                         : NULL;
}

void scene_close(struct scene *scene)
{
    struct game *game = scene->game;
    for (uint32_t i = scene->part_count; i-- > 0;) {
        if (scene->parts[i].module) {
            (void)dlclose(scene->parts[i].module);
        } else {
            (void)aee_destroy(game->engine, scene->parts[i].context, NULL);
        }
    }
    for (unsigned i = 0; i < REGIONS; i++) {
        if (scene->shared[i].region.id) {
            (void)aee_region_destroy(game->engine, scene->shared[i].region, NULL);
        }
    }
    for (unsigned i = 0; i < KEEPS; i++) {
        free(scene->keeps[i].bytes);
    }
    memset(scene, 0, sizeof *scene);
}

bool scene_build(struct scene *scene, aee_error *error)
{
    struct game *game = scene->game;
    bool good = create_regions(scene, error);
    if (good) {
        set_stage(scene);
    }
    for (uint32_t i = 0; i < game->manifest_count && good; i++) {
        struct part *part = &scene->parts[scene->part_count++];
        part->scene = scene;
        part->role = i < MOD ? (enum role)i : MOD;
        part->manifest = &game->manifests[i];
        good = open_part(part, error);
    }
    good = good && launch_particles(scene, error);
    if (!good) {
        scene_close(scene);
    }
    return good;
}

bool scene_open(struct game *game, aee_error *error)
{
    static const char *const names[VIEW_SCENES] = {"Harbour", "Cave",   "Forest", "Market",
                                                   "Desert",  "Temple", "Tundra", "Reef"};
    int index = 0;
    while (index < VIEW_SCENES && game->scenes[index].open) {
        index++;
    }
    if (index == VIEW_SCENES) {
        (void)snprintf(error->text, sizeof error->text, "there is room for %d scenes", VIEW_SCENES);
        return false;
    }
    struct scene *scene = &game->scenes[index];
    *scene = (struct scene){.game = game, .number = ++game->opened};
    (void)snprintf(scene->name, sizeof scene->name, "%s", names[index]);
    scene->open = scene_build(scene, error);
    if (scene->open) {
        scene_keep(scene);
        game->selected = scene_at(game, game->selected) ? game->selected : index;
    }
    return scene->open;
}

bool game_open(struct game *game, aee_error *error)
{
    /* Machines for the next scene that is opened are ready. */
    const aee_engine_desc desc = {
        .struct_size = sizeof desc, .frame_budget_ns = FRAME_NS, .pool_size = PARTS};
    for (unsigned i = 0; i < MOD; i++) {
        struct manifest *manifest = &game->manifests[game->manifest_count++];
        *manifest = cast[i];
        manifest->budget_ms = 50;
        manifest->every = 1;
        manifest->important = true;
        (void)snprintf(manifest->image, sizeof manifest->image, "%.4000s/%s.elf",
                       game->options.components, cast[i].image);
    }
    bool good = mods_read(game, error) &&
                aee_engine_create(&desc, &game->engine, error) == AEE_OK &&
                aee_set_event_callback(game->engine, game_event, game, error) == AEE_OK &&
                mods_offer(game, error);
    for (uint32_t i = 0; i < game->options.scenes && good; i++) {
        good = scene_open(game, error);
    }
    (void)snprintf(game->canary, sizeof game->canary, "the engine's own memory");
    game->view.slow_down = 1;
    game->view.hot = ACTION_NONE;
    return good;
}

void game_close(struct game *game)
{
    for (int i = 0; i < VIEW_SCENES; i++) {
        if (scene_at(game, i)) {
            scene_close(&game->scenes[i]);
        }
    }
    aee_engine_destroy(game->engine);
}
