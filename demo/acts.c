/* acts.c: what a viewer does to the game, and what is told of it. */
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "game.h"
#include "job/job.h"

/* ---- The timeline ------------------------------------------------------------------------- */

void game_say(struct game *game, bool bad, const char *format, ...)
{
    struct view *view = &game->view;
    va_list args;
    if (view->event_count == VIEW_EVENTS) {
        memmove(view->events, view->events + 1, (VIEW_EVENTS - 1) * sizeof view->events[0]);
        view->event_count--;
    }
    struct view_event *event = &view->events[view->event_count++];
    *event = (struct view_event){.at_s = view->time_s, .frame = view->frame, .bad = bad};
    va_start(args, format);
    (void)vsnprintf(event->text, sizeof event->text, format, args);
    va_end(args);
    demo_make_printable(event->text); /* the names and last words of components are in it */
}

static void strike(struct part *part, const char *text)
{
    const char *colon = strstr(text, "\": ");
    part->struck_at = part->scene->game->view.time_s;
    (void)snprintf(part->row.cause, sizeof part->row.cause, "%.159s", colon ? colon + 3 : text);
    demo_make_printable(part->row.cause);
}

/* What the viewer has asked for, and members that went down and came back with their core. */
static bool is_noise(const struct game *game, const aee_event *event)
{
    const struct part *part = event->context_user;
    const struct part *core = part && part->scene ? &part->scene->parts[CORE] : NULL;
    switch (event->type) {
    case AEE_EVENT_LOADED:
    case AEE_EVENT_DESTROYED:
    case AEE_EVENT_PAUSED:
    case AEE_EVENT_RESUMED:
    case AEE_EVENT_REGION_REVOKED:
    case AEE_EVENT_FRAME_LATE:
        return true;
    case AEE_EVENT_RESTARTING:
    case AEE_EVENT_RESTARTED:
        return core && part != core && core->struck_at > 0.0 &&
               game->view.time_s - core->struck_at < 1.0;
    default:
        return false;
    }
}

void game_event(void *user, const aee_event *event)
{
    struct game *game = user;
    struct part *part = event->context_user;
    const bool bad =
        event->type == AEE_EVENT_CRASHED || event->type == AEE_EVENT_HUNG ||
        event->type == AEE_EVENT_QUARANTINED || event->type == AEE_EVENT_RESTART_FAILED ||
        event->type == AEE_EVENT_CHECKPOINT_FAILED || event->type == AEE_EVENT_FALLBACK;
    if (is_noise(game, event)) {
        return;
    }
    const bool struck = event->type == AEE_EVENT_CRASHED || event->type == AEE_EVENT_HUNG;
    if (struck && part &&
        part->context.id == event->context.id) { /* not of a scene that is closed */
        strike(part, event->text);
        part->row.hung = event->type == AEE_EVENT_HUNG;
    }
    game_say(game, bad, "%s", event->text);
}

/* ---- Breaking things ---------------------------------------------------------------------- */

/* One in quarantine is let out first, with the state of its last checkpoint. */
static bool bring_back(struct part *part)
{
    struct game *game = part->scene->game;
    aee_result result = aee_wait_ready(game->engine, part->context, UINT64_C(2000000000), NULL);
    if (result == AEE_ERR_QUARANTINED || result == AEE_ERR_STOPPED) {
        result = aee_restore(game->engine, part->context, 0, NULL);
    }
    return result == AEE_OK;
}

/* Tells a component to misbehave: the call is to fail. True: it did. */
static bool misbehave(struct part *part, enum fault fault, int64_t target)
{
    struct game *game = part->scene->game;
    int64_t value = 0;
    aee_error error = {0};
    if (!part->faults[fault].id || !bring_back(part)) {
        game_say(game, true, "%s of %s is not there to be broken", part->row.name,
                 part->scene->name);
        return false;
    }
    /* A state that crashes again before any call has succeeded is taken for the cause, and in the
     * end a component begins anew with its image. Who is told to crash over and over again is not
     * ill. */
    (void)aee_call_i64(game->engine, part->context, part->faults[BREAK_NOTHING], NULL, 0, &value,
                       NULL);
    const aee_limits tight = {.call_budget_ns = HANG_BUDGET_NS};
    const aee_limits usual = {.call_budget_ns = part->budget_ns};
    if (fault == BREAK_HANG) {
        (void)aee_set_limits(game->engine, part->context, &tight, NULL);
    }
    aee_result result = aee_call_i64(game->engine, part->context, part->faults[fault], &target,
                                     fault == BREAK_PEEK, &value, &error);
    if (fault == BREAK_HANG) {
        (void)aee_set_limits(game->engine, part->context, &usual, NULL);
    }
    part->broken++;
    if (result == AEE_OK) {
        game->stolen += fault == BREAK_PEEK;
        game_say(game, true, "%s of %s got away with it", part->row.name, part->scene->name);
    } else if (result != AEE_ERR_CRASHED && result != AEE_ERR_HUNG) {
        game_say(game, true, "%s", error.text);
    }
    return result == AEE_ERR_CRASHED || result == AEE_ERR_HUNG;
}

static struct part *find(struct scene *scene, const char *name)
{
    for (uint32_t i = 0; i < scene->part_count; i++) {
        if (strcmp(scene->parts[i].row.name, name) == 0) {
            return &scene->parts[i];
        }
    }
    return NULL;
}

/* The named mod, or else the first that can. */
static void break_mod(struct scene *scene, const char *name, enum fault fault)
{
    struct part *part = find(scene, name);
    for (uint32_t i = MOD; i < scene->part_count && (!part || !part->faults[fault].id); i++) {
        part = &scene->parts[i];
    }
    if (part) {
        (void)misbehave(part, fault, 0);
    }
}

/* The agents of another scene (of this one, where it is alone), the engine's memory, its code. */
static void steal(struct scene *scene)
{
    struct game *game = scene->game;
    struct part *thief = find(scene, "thief");
    const struct scene *victim = scene;
    for (int i = 0; i < VIEW_SCENES; i++) {
        if (scene_at(game, i) && &game->scenes[i] != scene) {
            victim = &game->scenes[i];
        }
    }
    const int64_t targets[] = {(int64_t)(uintptr_t)victim->shared[SHARED_AGENTS].data,
                               (int64_t)(uintptr_t)game->canary,
                               (int64_t)(uintptr_t)&aee_engine_create};
    for (unsigned i = 0; thief && i < sizeof targets / sizeof targets[0]; i++) {
        (void)misbehave(thief, BREAK_PEEK, targets[i]);
    }
}

static void pause_scene(struct scene *scene)
{
    scene->paused = !scene->paused;
    game_say(scene->game, false, "%s %s", scene->name, scene->paused ? "is paused" : "goes on");
    for (uint32_t i = 0; i < scene->part_count; i++) {
        (void)(scene->paused ? aee_pause : aee_resume)(scene->game->engine, scene->parts[i].context,
                                                       NULL);
    }
}

#define NEVER UINT64_MAX /* restarts of one that does not come back by itself */

static uint64_t restarts_of(const struct part *part)
{
    aee_context_info info;
    return aee_get_context_info(engine_of(part), part->context, &info, NULL) == AEE_OK &&
                   (info.state == AEE_STATE_READY || info.state == AEE_STATE_RESTARTING)
               ? info.restarts
               : NEVER;
}

/* The members go down and come back by the library's own thread, some of them in the next frame.
 * In a scripted run that must not be left to chance. */
static void kill_scene(struct scene *scene)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    uint64_t before[PARTS];
    for (uint32_t i = 0; i < scene->part_count; i++) {
        before[i] = restarts_of(&scene->parts[i]);
    }
    if (!misbehave(&scene->parts[CORE], BREAK_NULL, 0)) {
        return;
    }
    game_say(scene->game, true, "%s fell with its core: all its %u contexts restart", scene->name,
             scene->part_count);
    for (uint32_t i = 0; i < scene->part_count && scene->game->options.headless; i++) {
        for (int wait = 0;
             before[i] != NEVER && restarts_of(&scene->parts[i]) == before[i] && wait < 5000;
             wait++) {
            (void)nanosleep(&moment, NULL);
        }
    }
}

static void act_on(struct game *game, struct scene *scene, int action)
{
    switch (action) {
    case ACTION_CRASH_AGENTS:
    case ACTION_CRASH_PARTICLES:
    case ACTION_CRASH_RENDERING: /* in the order of their roles */
        (void)misbehave(&scene->parts[AGENTS + action - ACTION_CRASH_AGENTS], BREAK_NULL, 0);
        break;
    case ACTION_HANG_MOD:
        break_mod(scene, "weather", BREAK_HANG);
        break;
    case ACTION_MEMORY_BOMB:
        break_mod(scene, "scoreboard", BREAK_MEMORY);
        break;
    case ACTION_THIEF:
        steal(scene);
        break;
    case ACTION_KILL_SCENE:
        kill_scene(scene);
        break;
    case ACTION_ROLL_BACK:
        game_say(game, false, "%s goes back %s", scene->name,
                 scene_roll_back(scene, BACK_FRAMES) ? "3 s" : "nowhere: it has no checkpoint");
        break;
    case ACTION_PAUSE:
        pause_scene(scene);
        break;
    case ACTION_CLOSE_SCENE:
    default:
        game_say(game, false, "%s is closed", scene->name);
        scene_close(scene);
        break;
    }
}

static void select_next(struct game *game)
{
    for (int i = 1; i <= VIEW_SCENES; i++) {
        const int next = (game->selected + i) % VIEW_SCENES;
        if (scene_at(game, next)) {
            game->selected = next;
            return;
        }
    }
}

void game_act(struct game *game, int action, int scene)
{
    aee_error error = {0};
    struct scene *target = scene_at(game, scene >= 0 ? scene : game->selected);
    switch (action) {
    case ACTION_ADD_SCENE:
        if (!scene_open(game, &error)) {
            game_say(game, true, "%s", error.text);
        }
        break;
    case ACTION_SELECT_NEXT:
        select_next(game);
        break;
    case ACTION_FREEZE:
        game->view.frozen = !game->view.frozen;
        break;
    case ACTION_STEP:
        game->view.frozen = true;
        game->step = true;
        break;
    case ACTION_HELP:
        game->view.help = !game->view.help;
        break;
    case ACTION_QUIT:
        game->over = true;
        break;
    default:
        if (target && target->paused && action != ACTION_PAUSE && action != ACTION_CLOSE_SCENE) {
            pause_scene(target); /* nothing happens in a paused one */
        }
        if (target) {
            act_on(game, target, action);
        }
        if (!scene_at(game, game->selected)) {
            select_next(game);
        }
        break;
    }
}
