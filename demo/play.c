/* play.c: what the components of all scenes do in one frame, and who waits when time is short. */
#include <string.h>
#include <time.h>

#include "game.h"

double game_now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- A step of many, at the same time --------------------------------------------------------- */

struct step {
    struct game *game;
    aee_call_item items[VIEW_SCENES * PARTS];
    uint32_t count;
};

bool part_is_due(const struct part *part)
{
    const struct manifest *manifest = part->manifest;
    const uint32_t wait = manifest->important ? 1 : part->scene->game->view.slow_down;
    return manifest->every > 0 && part->scene->frame % (manifest->every * wait) == 0;
}

int64_t part_address(const struct part *part, unsigned index)
{
    return (int64_t)(uintptr_t)part->scene->shared[index].data;
}

/* Of its call in a frame; how many. */
static uint32_t arguments(const struct part *part, aee_value args[AEE_ARGS_MAX])
{
    switch (part->role) {
    case AGENTS:
    case PARTICLES:
        args[0] =
            aee_i64(part_address(part, part->role == AGENTS ? SHARED_AGENTS : SHARED_PARTICLES));
        args[1] = aee_i64(part_address(part, SHARED_STAGE));
        args[2] = aee_f64(STEP_S);
        return 3;
    case RENDERING:
        args[0] = aee_i64(part_address(part, SHARED_AGENTS));
        args[1] = aee_i64(part_address(part, SHARED_PARTICLES));
        args[2] = aee_i64(part_address(part, SHARED_LIST));
        return 3;
    case CORE:
    case MOD:
    default:
        args[0] = aee_i64((int64_t)part->scene->frame);
        return 1;
    }
}

static void count_caught(struct part *part, int64_t value)
{
    if (part->role == AGENTS && value > 0) {
        part->scene->wishes.caught += (uint32_t)value;
    }
}

bool part_call(struct part *part, aee_error *error)
{
    aee_value args[AEE_ARGS_MAX] = {{0}};
    aee_value value = aee_i64(0);
    const uint32_t count = arguments(part, args);
    if (part->module) {
        value.as.i64 = native_step(part, args);
    } else if (aee_call(engine_of(part), part->context, part->step, args, count, &value, error) !=
               AEE_OK) {
        return false;
    }
    count_caught(part, value.as.i64);
    return true;
}

static void add(struct step *step, struct part *part)
{
    aee_call_item *item = &step->items[step->count++];
    *item = (aee_call_item){.context = part->context, .function = part->step, .user = part};
    item->arg_count = arguments(part, item->args);
    part->due++;
}

static void finish(struct part *part, const aee_completion *done)
{
    float *spark = part->row.spark_ms;
    memmove(spark, spark + 1, (VIEW_SPARK - 1) * sizeof *spark);
    spark[VIEW_SPARK - 1] = done->result == AEE_OK ? 0.0f : -1.0f; /* its time: game_look() */
    part->called += done->result == AEE_OK;
    part->failed += done->result != AEE_OK;
    if (done->result == AEE_OK) {
        count_caught(part, done->value.as.i64);
    }
}

/* A call that cannot be made spoils the batch: it is left out, and the others go on. */
static void drop_unready(struct step *step)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < step->count; i++) {
        struct part *part = step->items[i].user;
        if (aee_wait_ready(step->game->engine, part->context, 0, NULL) == AEE_OK) {
            step->items[kept++] = step->items[i];
        } else {
            finish(part, &(aee_completion){.result = AEE_ERR_RESTARTING});
        }
    }
    step->count = kept;
}

static bool run(struct step *step, aee_error *error)
{
    aee_engine *engine = step->game->engine;
    aee_completion done[VIEW_SCENES * PARTS];
    aee_batch batch;
    aee_result result;
    uint32_t count = 0;
    do { /* one that was there when it was asked may have gone down with its core since: once more
          */
        *error = (aee_error){0};
        drop_unready(step);
        result = step->count > 0 ? aee_submit(engine, step->items, step->count, 0, &batch, error)
                                 : AEE_OK;
    } while (result == AEE_ERR_RESTARTING || result == AEE_ERR_STOPPED ||
             result == AEE_ERR_QUARANTINED);
    if (result == AEE_OK && step->count > 0) {
        result = aee_wait(engine, batch, done, step->count, &count, UINT64_MAX, error);
    }
    for (uint32_t i = 0; i < count && result == AEE_OK; i++) {
        finish(done[i].user, &done[i]);
    }
    return result == AEE_OK;
}

void scene_set_stage(struct scene *scene)
{
    scene->wishes.frame = scene->frame;
    memcpy(scene->shared[SHARED_STAGE].data, &scene->wishes, sizeof scene->wishes);
}

/* NULL: there is none, or it is paused. */
static struct scene *playing(struct game *game, int index)
{
    struct scene *scene = scene_at(game, index);
    return scene && !scene->paused ? scene : NULL;
}

static bool step_of(struct game *game, unsigned roles, aee_error *error)
{
    struct step step = {.game = game};
    for (int i = 0; i < VIEW_SCENES; i++) {
        struct scene *scene = playing(game, i);
        if (scene) {
            scene_set_stage(scene);
        }
        for (uint32_t k = 0; scene && k < scene->part_count; k++) {
            struct part *part = &scene->parts[k];
            if ((roles & 1u << part->role) && part_is_due(part)) {
                add(&step, part);
            }
        }
    }
    return run(&step, error);
}

/* ---- A frame ------------------------------------------------------------------------------ */

/* The mods and the cores see the agents of the frame before; agents and particles what the mods
 * have made of the stage; rendering what has become of all. */
bool game_play(struct game *game, aee_error *error)
{
    for (int i = 0; i < VIEW_SCENES; i++) {
        struct scene *scene = playing(game, i);
        if (scene) {
            scene_tend(scene);
            scene->frame++;
        }
    }
    if (!step_of(game, 1u << CORE | 1u << MOD, error) ||
        !step_of(game, 1u << AGENTS | 1u << PARTICLES, error) ||
        !step_of(game, 1u << RENDERING, error)) {
        return false;
    }
    for (int i = 0; i < VIEW_SCENES; i++) {
        struct scene *scene = playing(game, i);
        if (scene && scene->frame % KEEP_EVERY == 0) {
            scene_keep(scene);
        }
    }
    return true;
}

/* Mods that can wait are called in every second, fourth, eighth frame while frames are late, and
 * more often again when none was late for two seconds. The clock of a scripted run must not
 * decide what happens in it. */
void game_govern(struct game *game, const aee_frame_info *info)
{
    enum { WINDOW = 30, TOO_MANY = 6, CALM = 120, MOST = 8 };
    struct view *view = &game->view;
    memmove(view->frame_ms, view->frame_ms + 1, (VIEW_FRAMES - 1) * sizeof view->frame_ms[0]);
    memmove(view->frame_late, view->frame_late + 1, (VIEW_FRAMES - 1) * sizeof view->frame_late[0]);
    view->frame_ms[VIEW_FRAMES - 1] = (float)((double)info->duration_ns * 1e-6);
    view->frame_late[VIEW_FRAMES - 1] = info->late != 0;
    view->late += info->late != 0;
    game->late_lately += info->late != 0;
    game->calm = info->late ? 0 : game->calm + 1;
    game->since_change++;
    if (game->options.headless) {
        return;
    }
    if (game->late_lately >= TOO_MANY && view->slow_down < MOST) {
        if (view->slow_down == 1) {
            game_say(game, true, "frames are late: mods that can wait are called less often");
        }
        view->slow_down *= 2;
        game->since_change = 0;
    } else if (game->since_change >= CALM && game->calm >= CALM && view->slow_down > 1) {
        view->slow_down /= 2;
        game->since_change = 0;
        if (view->slow_down == 1) {
            game_say(game, false, "frames are in time: all mods are called at their full rate");
        }
    }
    if (game->since_change % WINDOW == 0) {
        game->late_lately = 0;
    }
}
