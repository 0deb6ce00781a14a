/* script.c: scripts, which say what happens in which frame, and the report of a run. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "game.h"

struct line {
    uint64_t frame;
    int action;
    int scene; /* from 0; -1: the selected one */
};

struct script {
    uint32_t count;
    uint32_t next;
    struct line lines[1024];
};

static const char *const action_names[ACTIONS] = {
#define NAME(id, name, key, text) [ACTION_##id] = (name),
    DEMO_ACTIONS(NAME)
#undef NAME
};

/* "FRAME: action [SCENE]", scenes from 1 on. NULL, or what is wrong with it. */
static const char *parse(const char *text, struct line *line)
{
    char frame[10]; /* digits only: no signs */
    char name[32];
    char scene[10] = "";
    int end = 0;
    const int found =
        sscanf(text, " %9[0-9] : %31[a-z-] %n%9[0-9] %n", frame, name, &end, scene, &end);
    if (found < 2 || text[end] != '\0') {
        return "expected \"FRAME: action [SCENE]\"";
    }
    const unsigned long number = strtoul(scene, NULL, 10);
    if (found == 3 && (number == 0 || number > VIEW_SCENES)) {
        return number == 0 ? "scenes are counted from 1" : "there are no more than 8 scenes";
    }
    line->frame = strtoul(frame, NULL, 10);
    line->scene = (int)number - 1;
    line->action = 0;
    while (line->action < ACTIONS && strcmp(action_names[line->action], name) != 0) {
        line->action++;
    }
    return line->action < ACTIONS ? NULL : "there is no such action";
}

static const char *add_line(struct script *script, char *text)
{
    text[strcspn(text, "#\r\n")] = '\0';
    if (text[strspn(text, " \t")] == '\0') {
        return NULL;
    }
    if (script->count == sizeof script->lines / sizeof script->lines[0]) {
        return "a script has no more than 1024 actions";
    }
    struct line *line = &script->lines[script->count++];
    const char *wrong = parse(text, line);
    if (!wrong && script->count > 1 && line->frame < line[-1].frame) {
        wrong = "frames must not go back";
    }
    return wrong;
}

bool script_open(const char *path, struct script **out, aee_error *error)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t length;
    unsigned number = 0;
    const char *wrong = NULL;
    FILE *file = fopen(path, "r");
    struct script *script = file ? calloc(1, sizeof *script) : NULL;
    while (script && !wrong && (length = getline(&text, &room, file)) >= 0) {
        number++;
        wrong = strlen(text) == (size_t)length ? add_line(script, text) : "there is a byte 0";
    }
    free(text);
    if (!script || ferror(file)) { /* a directory opens, and cannot be read */
        (void)snprintf(error->text, sizeof error->text, "cannot read the script \"%.180s\"", path);
    } else if (wrong) {
        (void)snprintf(error->text, sizeof error->text, "%.150s:%u: %s", path, number, wrong);
    }
    const bool good = script && !wrong && !ferror(file);
    if (file) {
        (void)fclose(file);
    }
    if (!good) {
        free(script);
        return false;
    }
    *out = script;
    return true;
}

void script_play(struct script *script, struct game *game)
{
    while (script && script->next < script->count &&
           script->lines[script->next].frame <= game->view.frame) {
        const struct line *line = &script->lines[script->next++];
        game_act(game, line->action, line->scene);
    }
}

/* ---- Report ------------------------------------------------------------------------------- */

static json_t *part_json(const struct part *part)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I, s:I, s:f, s:f, s:I, s:s}",
                     "name", part->row.name, "kind", aee_kind_name(part->row.kind), "level",
                     aee_level_name(part->row.level), "state", aee_state_name(part->row.state),
                     "frames_due", part->due, "frames_called", part->called, "frames_failed",
                     part->failed, "broken", part->broken, "crashes", (json_int_t)part->row.crashes,
                     "restarts", (json_int_t)part->row.restarts, "p99_ms", (double)part->row.p99_ms,
                     "share", (double)part->row.share, "memory_bytes",
                     (json_int_t)part->row.memory_bytes, "cause", part->row.cause);
}

static json_t *scene_json(const struct scene *scene)
{
    json_t *parts = json_array();
    for (uint32_t i = 0; i < scene->part_count; i++) {
        (void)json_array_append_new(parts, part_json(&scene->parts[i]));
    }
    return json_pack("{s:s, s:I, s:b, s:I, s:f, s:f, s:[s,s,s,s], s:o}", "name", scene->name,
                     "frame", (json_int_t)scene->frame, "paused", scene->paused, "caught",
                     (json_int_t)scene->wishes.caught, "wind", (double)scene->wishes.wind, "rain",
                     (double)scene->wishes.rain, "board", scene->board[0], scene->board[1],
                     scene->board[2], scene->board[3], "contexts", parts);
}

static json_t *events_json(const struct view *view)
{
    json_t *events = json_array();
    for (uint32_t i = 0; i < view->event_count; i++) {
        const struct view_event *event = &view->events[i];
        (void)json_array_append_new(events,
                                    json_pack("{s:I, s:b, s:s}", "frame", (json_int_t)event->frame,
                                              "bad", event->bad, "text", event->text));
    }
    return events;
}

static uint64_t checksum(const struct game *game)
{
    uint64_t sum = 0;
    for (int i = 0; i < VIEW_SCENES; i++) {
        const struct scene *scene = &game->scenes[i];
        struct world_columns columns;
        for (unsigned k = 0; k < 2 && scene->open; k++) {
            const struct shared *shared = &scene->shared[k ? SHARED_PARTICLES : SHARED_AGENTS];
            if (world_open(shared->data, shared->size, &columns) == 0) {
                sum = sum * UINT64_C(0x100000001b3) ^ world_checksum(&columns);
            }
        }
    }
    return sum;
}

bool report_write(const struct game *game, const char *path, aee_error *error)
{
    char sum[20];
    json_t *scenes = json_array();
    for (int i = 0; i < VIEW_SCENES; i++) {
        if (game->scenes[i].open) {
            (void)json_array_append_new(scenes, scene_json(&game->scenes[i]));
        }
    }
    (void)snprintf(sum, sizeof sum, "%016llx", (unsigned long long)checksum(game));
    json_t *root = json_pack("{s:s, s:s, s:I, s:I, s:I, s:i, s:s, s:o, s:o}", "version",
                             aee_version(), "level", aee_level_name(game->view.level), "seed",
                             (json_int_t)game->options.seed, "frames", (json_int_t)game->view.frame,
                             "late_frames", (json_int_t)game->view.late, "stolen", game->stolen,
                             "state", sum, "scenes", scenes, "events", events_json(&game->view));
    const bool good =
        root && (strcmp(path, "-") == 0 ? json_dumpf(root, stdout, JSON_INDENT(2)) == 0 &&
                                              putchar('\n') != EOF && fflush(stdout) == 0
                                        : json_dump_file(root, path, JSON_INDENT(2)) == 0);
    json_decref(root);
    if (!good) {
        (void)snprintf(error->text, sizeof error->text, "cannot write the report to \"%.180s\"",
                       path);
    }
    return good;
}
