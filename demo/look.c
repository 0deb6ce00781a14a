/* look.c: fills the view from what the engine tells of its contexts. */
#include <string.h>

#include "game.h"

enum { STRICKEN_S = 2 };

static float stricken(const struct part *part, double now)
{
    const double age = now - part->struck_at;
    return part->struck_at > 0.0 && age < STRICKEN_S ? (float)(1.0 - age / STRICKEN_S) : 0.0f;
}

/* Of the last calls: the second longest of 128. */
static float p99_ms(const struct part *part)
{
    float most = 0.0f;
    float second = 0.0f;
    for (unsigned i = 0; i < TIMES; i++) {
        if (part->times_ms[i] > most) {
            second = most;
            most = part->times_ms[i];
        } else if (part->times_ms[i] > second) {
            second = part->times_ms[i];
        }
    }
    return second;
}

/* The time of the call that ended in this frame is the last value of the sparkline. */
static void look_at_part(struct game *game, struct part *part, int scene)
{
    struct view_row *row = &part->row;
    aee_context_info info;
    if (aee_get_context_info(game->engine, part->context, &info, NULL) != AEE_OK) {
        return;
    }
    const double spent = (double)(info.cpu_ns - part->cpu_ns);
    float *last = &row->spark_ms[VIEW_SPARK - 1];
    part->cpu_ns = info.cpu_ns;
    part->share += (spent - part->share) / 32.0;
    if (*last >= 0.0f && spent > 0.0) {
        *last = (float)(spent * 1e-6);
        part->times_ms[part->times++ % TIMES] = *last;
    }
    row->last_ms = *last >= 0.0f ? *last : row->last_ms;
    row->scene = scene;
    row->kind = info.kind;
    row->level = info.level;
    row->state = info.state;
    row->every = part->manifest->every * (part->manifest->important ? 1 : game->view.slow_down);
    row->p99_ms = p99_ms(part);
    row->share = (float)(part->share / (double)FRAME_NS);
    row->memory_bytes = info.memory_resident;
    row->memory_limit = info.memory_reserved;
    row->crashes = info.crashes + info.hangs;
    row->restarts = info.restarts;
    row->checkpoint_age_s = info.checkpoint_at_ns
                                ? (float)(game_now_s() - (double)info.checkpoint_at_ns * 1e-9)
                                : -1.0f;
    row->stricken = stricken(part, game->view.time_s);
    game->view.memory_bytes += info.memory_resident;
}

static void look_at_scene(struct game *game, struct scene *scene, int index)
{
    struct view *view = &game->view;
    struct view_scene *seen = &view->scenes[view->scene_count];
    memset(seen, 0, sizeof *seen);
    (void)snprintf(seen->name, sizeof seen->name, "%s", scene->name);
    seen->selected = index == game->selected;
    seen->paused = scene->paused;
    seen->stage = scene->wishes;
    seen->canvas = scene->shared[SHARED_CANVAS].data;
    memcpy(seen->board, scene->board, sizeof seen->board);
    if (draw_open(scene->shared[SHARED_LIST].data, scene->shared[SHARED_LIST].size, &seen->list) <
        0) {
        seen->list = (struct draw_header){0}; /* not a list: nothing is drawn of it */
    }
    seen->quads = draw_quads(scene->shared[SHARED_LIST].data);
    for (uint32_t i = 0; i < scene->part_count && view->row_count < VIEW_ROWS; i++) {
        look_at_part(game, &scene->parts[i], (int)view->scene_count);
        view->rows[view->row_count++] = scene->parts[i].row;
    }
    seen->dim[VIEW_AGENTS] = scene->parts[AGENTS].row.stricken;
    seen->dim[VIEW_PARTICLES] = scene->parts[PARTICLES].row.stricken;
    seen->dim[VIEW_WHOLE] = scene->parts[CORE].row.stricken;
    if (scene->parts[RENDERING].row.stricken > seen->dim[VIEW_WHOLE]) {
        seen->dim[VIEW_WHOLE] = scene->parts[RENDERING].row.stricken;
    }
    view->scene_count++;
}

void game_look(struct game *game)
{
    struct view *view = &game->view;
    aee_stats stats;
    view->scene_count = 0;
    view->row_count = 0;
    view->memory_bytes = 0;
    view->seed = game->options.seed;
    view->budget_ms = (float)((double)FRAME_NS * 1e-6);
    if (aee_get_stats(game->engine, &stats, NULL) == AEE_OK) {
        view->level = stats.level;
        view->calls = stats.calls;
        view->crashes = stats.crashes + stats.hangs;
        view->restarts = stats.restarts;
    }
    for (int i = 0; i < VIEW_SCENES; i++) {
        if (scene_at(game, i)) {
            look_at_scene(game, &game->scenes[i], i);
        }
    }
}
