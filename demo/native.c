/* native.c: --compare-native: the components of all scenes, one after the other, in their contexts
 * and as the same code linked natively, frame by frame in turns. */
#define AEE_NATIVE 1
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "aee_guest.h"
#include "game.h"

enum { WARM_UP = 30, LEAST_FRAMES = 120, MOST_FRAMES = 2000 };
#define MOST_RATIO 1.1

union native {
    void *address;
    int64_t (*call)(int64_t, int64_t, int64_t);
    int64_t (*step)(int64_t, int64_t, double);
    void (*set_hooks)(const struct aee_native_hooks *hooks);
};

/* A scene as it would be without contexts: its modules have a namespace, and so variables, of their
 * own. */
struct twin {
    struct scene scene;
    union native steps[PARTS];
    Lmid_t names;
    bool has_names;
};

/* ---- Modules ------------------------------------------------------------------------------ */

static int32_t host_call(void *user, const char *name, const int64_t args[AEE_MAX_ARGS],
                         const void *in, size_t in_size, void *out, size_t out_capacity,
                         size_t *out_size, int64_t *result)
{
    (void)out, (void)out_capacity, (void)out_size;
    aee_host_call call = {.context_user = user, .payload = in, .payload_size = in_size};
    if (args) {
        memcpy(call.args, args, sizeof call.args);
    }
    aee_result status = mods_serve(name, &call);
    if (result) {
        *result = call.result;
    }
    return status == AEE_OK ? AEE_HOST_OK : AEE_HOST_FAILED;
}

static bool open_module(struct twin *twin, const char *image, void **module)
{
    char path[4200];
    const size_t length = strlen(image);
    (void)snprintf(path, sizeof path, "%.*s_native.so", (int)(length > 4 ? length - 4 : 0), image);
    *module = dlmopen(twin->has_names ? twin->names : LM_ID_NEWLM, path, RTLD_NOW | RTLD_LOCAL);
    if (*module && !twin->has_names) {
        twin->has_names = dlinfo(*module, RTLD_DI_LMID, &twin->names) == 0;
    }
    if (!*module) {
        (void)fprintf(stderr, "aee-demo: %s\n", dlerror());
    }
    return *module != NULL;
}

static int64_t call(void *module, const char *name, int64_t a, int64_t b, int64_t c)
{
    const union native function = {.address = dlsym(module, name)};
    return function.address ? function.call(a, b, c) : -1;
}

static bool prepare(struct part *part, void *module)
{
    const struct options *options = &part->scene->game->options;
    const int64_t number = part->scene->number;
    const int64_t seed = (int64_t)options->seed + number;
    const int64_t flock = (int64_t)options->seed * 16 + number;
    switch (part->role) {
    case CORE:
        return call(module, "scene_init", seed, CORE_NODES, 0) >= 0;
    case AGENTS:
        if (call(module, "agents_init", part_address(part, SHARED_AGENTS), options->agents, flock) <
            0) {
            return false;
        }
        scene_spread(part->scene->shared[SHARED_AGENTS].data);
        return true;
    case PARTICLES:
        return call(module, "particles_init", part_address(part, SHARED_PARTICLES),
                    options->particles, flock) >= 0;
    case RENDERING:
        return call(module, "rendering_theme", number - 1, 0, 0) >= 0;
    case MOD:
    default:
        for (unsigned i = 0; i < STAGE_REGIONS; i++) {
            if (part->mod->regions[i] &&
                call(module, "mod_region", i, part_address(part, i), 0) < 0) {
                return false;
            }
        }
        return call(module, "mod_init", seed, 0, 0) >= 0;
    }
}

static bool open_part(struct twin *twin, unsigned index, const char *image, const char *step)
{
    struct part *part = &twin->scene.parts[index];
    const struct aee_native_hooks hooks = {.user = part, .host_call = host_call};
    void *module;
    part->scene = &twin->scene;
    if (!open_module(twin, image, &module)) {
        return false;
    }
    const union native setter = {.address = dlsym(module, "aee_native_set_hooks")};
    twin->steps[index].address = dlsym(module, step);
    if (setter.address) {
        setter.set_hooks(&hooks);
    }
    return setter.address && twin->steps[index].address && prepare(part, module);
}

/* ---- Twins ---------------------------------------------------------------------------------- */

static void launch_particles(struct twin *twin)
{
    struct scene *scene = &twin->scene;
    for (scene->frame = 1; scene->frame <= LAUNCH_FRAMES; scene->frame++) {
        scene_set_stage(scene);
        (void)twin->steps[PARTICLES].step(part_address(&scene->parts[PARTICLES], SHARED_PARTICLES),
                                          part_address(&scene->parts[PARTICLES], SHARED_STAGE),
                                          STEP_S);
    }
    scene->frame = 0;
}

static bool open_twin(struct twin *twin, const struct scene *scene)
{
    char path[4200];
    bool good = true;
    twin->scene = *scene;
    memset(twin->scene.keeps, 0, sizeof twin->scene.keeps);
    for (unsigned i = 0; i < REGIONS && good; i++) {
        struct shared *shared = &twin->scene.shared[i];
        shared->data = aligned_alloc(4096, (shared->size + 4095) & ~(size_t)4095);
        good = shared->data != NULL;
        if (good) {
            memset(shared->data, 0, shared->size);
        }
    }
    if (good) {
        draw_format(twin->scene.shared[SHARED_LIST].data,
                    scene->game->options.agents + scene->game->options.particles);
    }
    for (unsigned i = 0; i < scene->part_count && good; i++) {
        const struct part *part = &scene->parts[i];
        if (part->step.id) {
            (void)snprintf(path, sizeof path, "%s/%s.elf", scene->game->options.components,
                           part->mod ? "" : scene_image(part->role));
            good = open_part(twin, i, part->mod ? part->mod->image : path,
                             part->mod ? "mod_tick" : scene_step(part->role));
        }
    }
    if (good) {
        launch_particles(twin);
    }
    return good;
}

static void close_twin(struct twin *twin)
{
    for (unsigned i = 0; i < REGIONS; i++) {
        free(twin->scene.shared[i].data);
    }
}

/* ---- Frames ------------------------------------------------------------------------------- */

struct times {
    uint32_t count;
    double frames[2][MOST_FRAMES]; /* isolated, native */
    double parts[2][PARTS][MOST_FRAMES];
};

/* One call, in a context or (with its function) natively. */
static bool step(struct part *part, const union native *native, aee_error *error)
{
    aee_value args[AEE_ARGS_MAX] = {{0}};
    const uint32_t count = part_arguments(part, args);
    aee_value value = aee_i64(0);
    if (!native) {
        if (aee_call(part->scene->game->engine, part->context, part->step, args, count, &value,
                     error) != AEE_OK) {
            return false;
        }
    } else if (count == 3 && args[2].type == AEE_TYPE_F64) {
        value.as.i64 = native->step(args[0].as.i64, args[1].as.i64, args[2].as.f64);
    } else {
        value.as.i64 = native->call(args[0].as.i64, args[1].as.i64, args[2].as.i64);
    }
    if (part->role == AGENTS && value.as.i64 > 0) {
        part->scene->wishes.caught += (uint32_t)value.as.i64;
    }
    return true;
}

static bool play(struct scene *scene, const union native *natives, double parts[PARTS],
                 aee_error *error)
{
    static const unsigned phases[] = {1u << CORE | 1u << MOD,
                                      1u << AGENTS | 1u << PARTICLES | 1u << RENDERING};
    scene->frame++;
    for (unsigned phase = 0; phase < 2; phase++) {
        scene_set_stage(scene);
        for (uint32_t i = 0; i < scene->part_count; i++) {
            struct part *part = &scene->parts[i];
            const bool due =
                !part->mod || (part->mod->every > 0 && scene->frame % part->mod->every == 0);
            if (!(phases[phase] & 1u << part->role) || !due) {
                continue;
            }
            const double begin = game_now_s();
            if (!step(part, natives ? &natives[i] : NULL, error)) {
                return false;
            }
            parts[i] += game_now_s() - begin;
        }
    }
    return true;
}

static bool play_all(struct game *game, struct twin *twins, unsigned native, struct times *times,
                     bool count, aee_error *error)
{
    double parts[PARTS] = {0};
    for (int i = 0; i < VIEW_SCENES; i++) {
        struct scene *scene = native ? &twins[i].scene : &game->scenes[i];
        if (game->scenes[i].open && !play(scene, native ? twins[i].steps : NULL, parts, error)) {
            return false;
        }
    }
    for (unsigned i = 0; i < PARTS && count; i++) {
        times->parts[native][i][times->count] = parts[i];
        times->frames[native][times->count] =
            i == 0 ? parts[i] : times->frames[native][times->count] + parts[i];
    }
    return true;
}

/* ---- Result ------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the frames in which there was a call. */
static double median_ms(double *values, uint32_t count)
{
    uint32_t none = 0;
    qsort(values, count, sizeof *values, compare);
    while (none + 1 < count && values[none] <= 0.0) {
        none++;
    }
    return values[none + (count - none) / 2] * 1e3;
}

static void print_row(const char *name, double isolated, double native)
{
    (void)printf("%-12s %9.3f %9.3f %8.2f\n", name, isolated, native,
                 native > 0.0 ? isolated / native : 0.0);
}

static bool is_same(const struct game *game, const struct twin *twins)
{
    for (int i = 0; i < VIEW_SCENES; i++) {
        for (unsigned k = SHARED_AGENTS; k <= SHARED_PARTICLES && game->scenes[i].open; k++) {
            const struct shared *shared = &game->scenes[i].shared[k];
            if (memcmp(shared->data, twins[i].scene.shared[k].data,
                       k == SHARED_CANVAS ? STAGE_CANVAS * STAGE_CANVAS * 4
                                          : sizeof(struct world_header)) != 0) {
                return false;
            }
            struct world_columns mine;
            struct world_columns theirs;
            if (k != SHARED_CANVAS &&
                (world_open(shared->data, shared->size, &mine) != 0 ||
                 world_open(twins[i].scene.shared[k].data, shared->size, &theirs) != 0 ||
                 world_checksum(&mine) != world_checksum(&theirs))) {
                return false;
            }
        }
    }
    return true;
}

static int print_result(const struct game *game, const struct twin *twins, struct times *times)
{
    const struct scene *scene = &game->scenes[0];
    (void)printf(
        "components of %u scenes, %u agents and %u particles each, level %s, medians of %u "
        "frames\n\n%-12s %9s %9s %8s\n",
        game->options.scenes, game->options.agents, game->options.particles,
        aee_level_name(game->view.level), times->count, "component", "ms", "native ms", "ratio");
    for (uint32_t i = 0; i < scene->part_count; i++) {
        if (scene->parts[i].step.id) {
            print_row(scene->parts[i].row.name, median_ms(times->parts[0][i], times->count),
                      median_ms(times->parts[1][i], times->count));
        }
    }
    const double isolated = median_ms(times->frames[0], times->count);
    const double native = median_ms(times->frames[1], times->count);
    const bool same = is_same(game, twins);
    print_row("frame", isolated, native);
    (void)printf("\nthe worlds are %s; %.2f of native, at most %.1f: %s\n",
                 same ? "the same, bit by bit" : "NOT the same", isolated / native, MOST_RATIO,
                 isolated <= MOST_RATIO * native ? "met" : "missed");
    return same && isolated <= MOST_RATIO * native ? 0 : 1;
}

int compare_native(struct game *game)
{
    static struct twin twins[VIEW_SCENES];
    struct times *times = calloc(1, sizeof *times);
    uint32_t frames = game->options.frames > 0 ? game->options.frames : 300;
    aee_error error = {0};
    bool good = times != NULL;
    frames = frames < LEAST_FRAMES ? LEAST_FRAMES : frames < MOST_FRAMES ? frames : MOST_FRAMES;
    game_look(game); /* the level */
    for (int i = 0; i < VIEW_SCENES && good; i++) {
        good = !game->scenes[i].open || open_twin(&twins[i], &game->scenes[i]);
    }
    for (uint32_t frame = 0; frame < WARM_UP + frames && good; frame++) {
        const bool count = frame >= WARM_UP;
        good = aee_engine_frame_begin(game->engine, &error) == AEE_OK &&
               play_all(game, twins, frame % 2, times, count, &error) &&
               play_all(game, twins, 1 - frame % 2, times, count, &error) &&
               aee_engine_frame_end(game->engine, NULL, &error) == AEE_OK;
        times->count += count;
    }
    const int status = good ? print_result(game, twins, times) : 1;
    if (!good) {
        (void)fprintf(stderr, "aee-demo: cannot compare: %s\n",
                      error.text[0] ? error.text : "a native module is missing");
    }
    for (int i = 0; i < VIEW_SCENES; i++) {
        close_twin(&twins[i]);
    }
    free(times);
    return status;
}
