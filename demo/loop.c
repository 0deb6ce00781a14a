/* loop.c: the demo from its first frame to its last. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "screen.h"

enum { DEFAULT_FRAMES = 600 }; /* without a window */

/* What the drawing says: NULL or a sentence. */
static bool is_fine(const char *wrong, aee_error *error)
{
    if (wrong) {
        (void)snprintf(error->text, sizeof error->text, "%s", wrong);
    }
    return !wrong;
}

static bool save_frame(const struct screen *screen, const struct game *game, aee_error *error)
{
    const struct options *options = &game->options;
    char path[4200];
    const char *wrong = NULL;
    if (options->capture && game->view.frame % options->capture_every == 0) {
        (void)snprintf(path, sizeof path, "%s/frame-%06llu.png", options->capture,
                       (unsigned long long)game->view.frame);
        wrong = picture_save(&screen->picture, path);
    }
    if (!wrong && screen->film) {
        wrong = film_add(screen->film, &screen->picture);
    }
    return is_fine(wrong, error);
}

/* Anything but to quit, close the last scene or freeze. */
static void play_monkey(struct game *game, uint64_t *random)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    const int action = (int)(*random >> 33) % ACTIONS;
    if (game->view.frame % 7 == 0 && action != ACTION_QUIT && action != ACTION_FREEZE &&
        action != ACTION_STEP && (action != ACTION_CLOSE_SCENE || game->view.scene_count > 1)) {
        game_act(game, action, -1);
    }
}

static void wait_until(double *next)
{
    const double now = game_now_s();
    if (*next < now - 0.1) {
        *next = now; /* too far behind: time is lost, not made up for */
    }
    if (*next > now) {
        const struct timespec rest = {.tv_nsec = (long)((*next - now) * 1e9)};
        (void)nanosleep(&rest, NULL);
    }
    *next += STEP_S;
}

/* Nothing that takes time decides what a scripted run does: it waits for who is coming back. */
static void await_all(struct game *game)
{
    for (int i = 0; i < VIEW_SCENES; i++) {
        for (uint32_t k = 0; game->scenes[i].open && k < game->scenes[i].part_count; k++) {
            (void)aee_wait_ready(game->engine, game->scenes[i].parts[k].context,
                                 UINT64_C(5000000000), NULL);
        }
    }
}

static bool play_frame(struct game *game, struct screen *screen, struct script *script,
                       uint64_t *random, aee_error *error)
{
    aee_frame_info info;
    if (aee_engine_frame_begin(game->engine, error) != AEE_OK) {
        return false;
    }
    game->view.frame++;
    game->view.time_s += STEP_S;
    screen_take_events(screen, game);
    script_play(script, game);
    if (game->options.monkey) {
        play_monkey(game, random);
    }
    if (game->options.headless) {
        await_all(game);
    }
    bool good = true;
    if (!game->view.frozen || game->step) {
        good = game_play(game, error);
        game->step = false;
    }
    (void)aee_poll_events(game->engine, NULL, NULL);
    game_look(game);
    screen_draw(screen, game);
    good = good && save_frame(screen, game, error) &&
           aee_engine_frame_end(game->engine, &info, error) == AEE_OK;
    if (good) {
        game_govern(game, &info);
    }
    return good;
}

static bool run(struct game *game, struct screen *screen, struct script *script, aee_error *error)
{
    uint64_t random = game->options.seed;
    double next = game_now_s();
    double before = next;
    while (!game->over && (game->options.frames == 0 || game->view.frame < game->options.frames)) {
        if (!play_frame(game, screen, script, &random, error)) {
            return false;
        }
        if (!game->options.fast) {
            wait_until(&next);
        }
        if (screen->renderer) {
            SDL_RenderPresent(screen->renderer);
        }
        const double now = game_now_s();
        game->view.fps += ((float)(1.0 / (now - before)) - game->view.fps) * 0.05f;
        before = now;
    }
    return true;
}

static void summarize(const struct game *game)
{
    (void)printf(
        "aee-demo: %llu frames at level %s, %llu late; %llu calls, %llu crashes, %llu restarts\n",
        (unsigned long long)game->view.frame, aee_level_name(game->view.level),
        (unsigned long long)game->view.late, (unsigned long long)game->view.calls,
        (unsigned long long)game->view.crashes, (unsigned long long)game->view.restarts);
    if (game->options.capture) {
        (void)printf("pictures: %s/frame-*.png\n", game->options.capture);
    }
}

static bool open_files(struct game *game, struct screen *screen, struct script **script,
                       aee_error *error)
{
    const struct options *options = &game->options;
    const aee_trace_desc trace = {.struct_size = sizeof trace, .path = options->trace};
    const char *wrong = screen_resize(screen, options->width, options->height)
                            ? text_open()
                            : "there is no memory for the picture";
    if (!wrong && options->capture && mkdir(options->capture, 0777) != 0 && errno != EEXIST) {
        wrong = "cannot make the directory of --capture";
    }
    if (!wrong && options->record) {
        wrong = film_open(options->record, &screen->picture, 60, &screen->film);
    }
    return is_fine(wrong, error) &&
           (!options->script || script_open(options->script, script, error)) &&
           game_open(game, error) &&
           (!options->trace || aee_trace_start(game->engine, &trace, error) == AEE_OK);
}

static bool finish(struct game *game, struct screen *screen, aee_error *error)
{
    const struct options *options = &game->options;
    const char *wrong = film_close(screen->film);
    screen->film = NULL;
    return is_fine(wrong, error) &&
           (!options->trace || aee_trace_stop(game->engine, error) == AEE_OK) &&
           (!options->json || report_write(game, options->json, error));
}

/* There is no display. */
static void take_tour(struct options *options)
{
    options->headless = true;
    options->script = options->script || options->monkey ? options->script : options->tour;
    options->capture = options->capture ? options->capture : "aee-demo-frames";
    FILE *out = options->json && strcmp(options->json, "-") == 0 ? stderr : stdout;
    (void)fprintf(out, "aee-demo: no display: a tour of %u frames, in pictures in %s\n",
                  options->frames ? options->frames : DEFAULT_FRAMES, options->capture);
    (void)fflush(out);
}

int game_run(struct game *game)
{
    struct options *options = &game->options;
    struct screen screen = {0};
    struct script *script = NULL;
    aee_error error = {0};
    int status = 0;
    if (!options->headless && !options->compare_native && !screen_open_window(&screen, options)) {
        take_tour(options);
    }
    options->frames = options->headless && options->frames == 0 ? DEFAULT_FRAMES : options->frames;
    game->patience = options->headless || options->compare_native ? 50 : 1;
    if (!open_files(game, &screen, &script, &error)) {
        status = error.code == AEE_ERR_NO_BACKEND ? 77 : 1;
    } else if (options->compare_native) {
        status = compare_native(game, &error);
    } else if (!run(game, &screen, script, &error) || !finish(game, &screen, &error)) {
        status = 1;
    } else if (!options->json || strcmp(options->json, "-") != 0) {
        summarize(game);
    }
    if (error.text[0]) {
        (void)fprintf(stderr, "aee-demo: %s%s\n", error.text,
                      status == 77 ? " ('aee doctor' says more)" : "");
    }
    free(script);
    game_close(game);
    screen_close(&screen);
    text_close();
    return status;
}
