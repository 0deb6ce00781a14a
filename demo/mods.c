/* mods.c: manifests of mods, and what mods may ask of the engine. */
#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "game.h"

/* ---- Manifests ---------------------------------------------------------------------------- */

static const char *const region_names[STAGE_REGIONS] = {"stage", "agents", "canvas"};

static bool read_host_functions(const json_t *list, struct manifest *mod)
{
    size_t i;
    const json_t *name;
    json_array_foreach(list, i, name)
    {
        if (mod->host_count == HOST_FUNCTIONS || json_string_length(name) == 0 ||
            json_string_length(name) >= sizeof mod->host[0]) {
            return false;
        }
        (void)snprintf(mod->host[mod->host_count++], sizeof mod->host[0], "%s",
                       json_string_value(name));
    }
    return !list || json_is_array(list);
}

static bool read_regions(const json_t *regions, struct manifest *mod)
{
    size_t known = 0;
    for (unsigned i = 0; i < STAGE_REGIONS; i++) {
        const char *access = json_string_value(json_object_get(regions, region_names[i]));
        /* The stage and the agents are not for mods to write. */
        if (access && strcmp(access, "read") == 0) {
            mod->regions[i] = AEE_ACCESS_READ;
            known++;
        } else if (access && strcmp(access, "write") == 0 && i == STAGE_REGION_CANVAS) {
            mod->regions[i] = AEE_ACCESS_READ_WRITE;
            known++;
        }
    }
    return json_object_size(regions) == known && (!regions || json_is_object(regions));
}

/* An image lies beside its manifest, or with the components of the demo. */
static void find_image(const struct options *options, const char *image, struct manifest *mod)
{
    (void)snprintf(mod->image, sizeof mod->image, "%.3800s/%s", options->mods, image);
    if (access(mod->image, R_OK) != 0) {
        (void)snprintf(mod->image, sizeof mod->image, "%.3800s/%s", options->components, image);
    }
}

static bool read_manifest(const struct options *options, const char *path, struct manifest *mod,
                          aee_error *error)
{
    json_error_t why;
    const char *name = NULL;
    const char *image = NULL;
    const json_t *host = NULL;
    const json_t *regions = NULL;
    json_int_t memory = 4;
    json_int_t budget = 20;
    json_int_t every = 1;
    int important = 1;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    bool good =
        root && json_unpack_ex(root, &why, 0, "{s:s, s:s, s?I, s?I, s?I, s?b, s?o, s?o}", "name",
                               &name, "image", &image, "memory_mb", &memory, "budget_ms", &budget,
                               "every_frames", &every, "important", &important, "host_functions",
                               &host, "regions", &regions) == 0;
    if (!good) {
        (void)snprintf(error->text, sizeof error->text,
                       "cannot read the manifest \"%.110s\": %.90s", path, why.text);
        json_decref(root);
        return false;
    }
    *mod = (struct manifest){.step = "mod_tick",
                             .kind = AEE_KIND_USER_MOD,
                             .memory_mb = (uint32_t)memory,
                             .budget_ms = (uint32_t)budget,
                             .every = (uint32_t)every,
                             .important = important};
    (void)snprintf(mod->name, sizeof mod->name, "%s", name);
    find_image(options, image, mod);
    good = strlen(name) > 0 && strlen(name) < AEE_NAME_MAX && strlen(image) < 256 && memory > 0 &&
           memory <= 1024 && budget > 0 && budget <= 10000 && every >= 0 && every <= 1000 &&
           read_host_functions(host, mod) && read_regions(regions, mod);
    if (!good) {
        (void)snprintf(error->text, sizeof error->text,
                       "cannot use the manifest \"%.120s\": a field is out of its range", path);
    }
    json_decref(root);
    return good;
}

/* Calls of mods run at the same time, and each host function writes its own part of the wishes. */
static bool asks_alone(const struct game *game, const struct manifest *mod, aee_error *error)
{
    for (const struct manifest *other = game->manifests; other < mod; other++) {
        for (uint32_t i = 0; i < mod->host_count * other->host_count; i++) {
            const char *name = mod->host[i / other->host_count];
            if (strcmp(name, other->host[i % other->host_count]) == 0) {
                (void)snprintf(error->text, sizeof error->text,
                               "cannot load the mods: \"%s\" and \"%s\" both ask for \"%s\"",
                               other->name, mod->name, name);
                return false;
            }
        }
    }
    return true;
}

static int is_manifest(const struct dirent *entry)
{
    const char *end = strrchr(entry->d_name, '.');
    return end && end != entry->d_name && strcmp(end, ".json") == 0;
}

bool mods_read(struct game *game, aee_error *error)
{
    char path[sizeof game->options.mods + 256];
    struct dirent **entries;
    bool good = true;
    int count = scandir(game->options.mods, &entries, is_manifest, alphasort);
    if (count < 0) {
        (void)snprintf(error->text, sizeof error->text,
                       "cannot open the mods' directory \"%.160s\"", game->options.mods);
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (good && game->manifest_count == PARTS) {
            (void)snprintf(error->text, sizeof error->text,
                           "cannot load the mods in \"%.120s\": there are more than %d",
                           game->options.mods, MODS);
            good = false;
        }
        if (good) {
            (void)snprintf(path, sizeof path, "%s/%s", game->options.mods, entries[i]->d_name);
            struct manifest *mod = &game->manifests[game->manifest_count++];
            good = read_manifest(&game->options, path, mod, error) && asks_alone(game, mod, error);
        }
        free(entries[i]);
    }
    free(entries);
    return good;
}

/* ---- Host functions: whatever comes in, a component has sent it ------------------------------- */

static float in_range(double value, double least, double most)
{
    return value >= least ? (float)(value <= most ? value : most) : (float)least; /* NaN: least */
}

static struct scene *scene_of(const aee_host_call *call)
{
    const struct part *part = call->context_user;
    return part->scene;
}

static aee_result weather_set(void *user, aee_host_call *call)
{
    (void)user;
    struct stage *wishes = &scene_of(call)->wishes;
    wishes->wind = in_range(aee_host_arg_f64(call, 0), -1.0, 1.0);
    wishes->rain = in_range(aee_host_arg_f64(call, 1), 0.0, 1.0);
    return AEE_OK;
}

static aee_result boss_set(void *user, aee_host_call *call)
{
    (void)user;
    scene_of(call)->wishes.boss =
        (struct stage_disc){.x = in_range(aee_host_arg_f64(call, 0), 0.0, (double)STAGE_EDGE),
                            .y = in_range(aee_host_arg_f64(call, 1), 0.0, (double)STAGE_EDGE),
                            .radius = in_range(aee_host_arg_f64(call, 2), 0.0, 60.0)};
    return AEE_OK;
}

/* The first byte is the line's number, '0' to '3'; the rest its text. */
static aee_result board_line(void *user, aee_host_call *call)
{
    (void)user;
    const unsigned char *bytes = call->payload;
    if (call->payload_size == 0 || bytes[0] < '0' || bytes[0] >= '0' + VIEW_BOARD) {
        return AEE_ERR_INVALID_ARGUMENT;
    }
    char *line = scene_of(call)->board[bytes[0] - '0'];
    const size_t room = sizeof scene_of(call)->board[0] - 1;
    const size_t size = call->payload_size - 1 < room ? call->payload_size - 1 : room;
    for (size_t i = 0; i < size; i++) {
        line[i] = bytes[i + 1] >= ' ' && bytes[i + 1] <= '~' ? (char)bytes[i + 1] : '?';
    }
    line[size] = '\0';
    return AEE_OK;
}

static const struct {
    const char *name;
    aee_host_fn function;
} offers[] = {{"weather_set", weather_set}, {"boss_set", boss_set}, {"board_line", board_line}};

bool mods_offer(struct game *game, aee_error *error)
{
    for (unsigned i = 0; i < sizeof offers / sizeof offers[0]; i++) {
        if (aee_register_host_function(game->engine, offers[i].name, offers[i].function, game,
                                       error) != AEE_OK) {
            return false;
        }
    }
    return true;
}

static bool is_granted(const struct manifest *mod, const char *name)
{
    for (uint32_t i = 0; i < mod->host_count; i++) {
        if (strcmp(mod->host[i], name) == 0) {
            return true;
        }
    }
    return false;
}

aee_result mods_serve(const char *name, aee_host_call *call)
{
    const struct part *part = call->context_user;
    for (unsigned i = 0; i < sizeof offers / sizeof offers[0]; i++) {
        if (strcmp(offers[i].name, name) == 0 && is_granted(part->manifest, name)) {
            return offers[i].function(NULL, call);
        }
    }
    return AEE_ERR_NOT_FOUND;
}
