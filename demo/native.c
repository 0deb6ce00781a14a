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

/* ---- Modules: the parts of a twin, a scene as it would be without contexts --------------------- */

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
    return status == AEE_OK              ? AEE_HOST_OK
           : status == AEE_ERR_NOT_FOUND ? AEE_HOST_NOT_FOUND
                                         : AEE_HOST_FAILED;
}

/* A namespace for each twin gives its modules variables of their own. */
bool native_load(struct part *part, aee_error *error)
{
    const struct aee_native_hooks hooks = {.user = part, .host_call = host_call};
    struct scene *scene = part->scene;
    char path[4200];
    const char *image = part->manifest->image;
    const size_t length = strlen(image);
    (void)snprintf(path, sizeof path, "%.*s_native.so", (int)(length > 4 ? length - 4 : 0), image);
    union native setter = {.address = NULL};
    part->module = dlmopen(scene->names, path, RTLD_NOW | RTLD_LOCAL);
    part->native_step = part->module ? dlsym(part->module, part->manifest->step) : NULL;
    if (part->native_step) {
        setter.address = dlsym(part->module, "aee_native_set_hooks");
    }
    if (!setter.address || dlinfo(part->module, RTLD_DI_LMID, &scene->names) != 0) {
        (void)snprintf(error->text, sizeof error->text, "cannot compare: %.200s", dlerror());
        return false;
    }
    setter.set_hooks(&hooks);
    return true;
}

bool native_call(const struct part *part, const char *name, const int64_t args[3], int64_t *value,
                 aee_error *error)
{
    const union native function = {.address = dlsym(part->module, name)};
    if (!function.address) {
        (void)snprintf(error->text, sizeof error->text, "cannot compare: %.200s", dlerror());
        return false;
    }
    *value = function.call(args[0], args[1], args[2]);
    return true;
}

int64_t native_step(const struct part *part, const aee_value args[AEE_ARGS_MAX])
{
    const union native function = {.address = part->native_step};
    return args[2].type == AEE_TYPE_F64
               ? function.step(args[0].as.i64, args[1].as.i64, args[2].as.f64)
               : function.call(args[0].as.i64, args[1].as.i64, args[2].as.i64);
}

/* ---- Frames ------------------------------------------------------------------------------- */

struct times {
    uint32_t count;
    double frames[2][MOST_FRAMES]; /* isolated, native */
    double parts[2][PARTS][MOST_FRAMES];
};

static bool play(struct scene *scene, double parts[PARTS], aee_error *error)
{
    static const unsigned phases[] = {1u << CORE | 1u << MOD,
                                      1u << AGENTS | 1u << PARTICLES | 1u << RENDERING};
    scene->frame++;
    for (unsigned phase = 0; phase < 2; phase++) {
        scene_set_stage(scene);
        for (uint32_t i = 0; i < scene->part_count; i++) {
            struct part *part = &scene->parts[i];
            if (!(phases[phase] & 1u << part->role) || !part_is_due(part)) {
                continue;
            }
            const double begin = game_now_s();
            if (!part_call(part, error)) {
                return false;
            }
            parts[i] += game_now_s() - begin;
        }
    }
    return true;
}

static bool play_all(struct game *game, struct scene *twins, unsigned native, struct times *times,
                     bool count, aee_error *error)
{
    double parts[PARTS] = {0};
    for (int i = 0; i < VIEW_SCENES; i++) {
        if (scene_at(game, i) && !play(native ? &twins[i] : &game->scenes[i], parts, error)) {
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

static bool is_same(const struct game *game, const struct scene *twins)
{
    for (unsigned i = 0; i < VIEW_SCENES * REGIONS; i++) {
        const struct shared *mine = &game->scenes[i / REGIONS].shared[i % REGIONS];
        const struct shared *theirs = &twins[i / REGIONS].shared[i % REGIONS];
        if (mine->size != theirs->size ||
            (mine->size > 0 && memcmp(mine->data, theirs->data, mine->size) != 0)) {
            return false;
        }
    }
    return true;
}

static int print_result(const struct game *game, const struct scene *twins, struct times *times)
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

int compare_native(struct game *game, aee_error *error)
{
    static struct scene twins[VIEW_SCENES];
    struct times *times = calloc(1, sizeof *times);
    uint32_t frames = game->options.frames > 0 ? game->options.frames : 300;
    bool good = times != NULL;
    frames = frames < LEAST_FRAMES ? LEAST_FRAMES : frames < MOST_FRAMES ? frames : MOST_FRAMES;
    game_look(game); /* the level */
    for (int i = 0; i < VIEW_SCENES && good; i++) {
        const struct scene *scene = scene_at(game, i);
        if (scene) {
            twins[i] = (struct scene){.game = game, .number = scene->number, .names = LM_ID_NEWLM};
            memcpy(twins[i].name, scene->name, sizeof scene->name);
            twins[i].open = good = scene_build(&twins[i], error);
        }
    }
    for (uint32_t frame = 0; frame < WARM_UP + frames && good; frame++) {
        const bool count = frame >= WARM_UP;
        good = aee_engine_frame_begin(game->engine, error) == AEE_OK &&
               play_all(game, twins, frame % 2, times, count, error) &&
               play_all(game, twins, 1 - frame % 2, times, count, error) &&
               aee_engine_frame_end(game->engine, NULL, error) == AEE_OK;
        times->count += count;
    }
    const int status = good ? print_result(game, twins, times) : 1;
    for (int i = 0; i < VIEW_SCENES; i++) {
        if (twins[i].open) {
            scene_close(&twins[i]);
        }
    }
    free(times);
    return status;
}
