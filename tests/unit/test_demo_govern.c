/* When the demo calls mods less often, and when again as often as they wish. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "game.h"

enum { CALM = 120 };

/* ---- What play.c needs of the rest of the demo ------------------------------------------------ */

struct scene *scene_at(struct game *game, int index)
{
    (void)game, (void)index;
    return NULL;
}

void scene_tend(struct scene *scene)
{
    (void)scene;
}

void scene_keep(struct scene *scene)
{
    (void)scene;
}

int64_t native_step(const struct part *part, const aee_value args[AEE_ARGS_MAX])
{
    (void)part, (void)args;
    return 0;
}

void game_say(struct game *game, bool bad, const char *format, ...)
{
    (void)bad, (void)format;
    game->stolen++; /* sentences so far */
}

/* ---- Frames ----------------------------------------------------------------------------------- */

/* So many frames, of which every so many is late; 0: none. */
static void play(struct game *game, uint32_t frames, uint32_t late_every)
{
    for (uint32_t i = 1; i <= frames; i++) {
        const aee_frame_info info = {.duration_ns = FRAME_NS,
                                     .late = late_every > 0 && i % late_every == 0};
        game_govern(game, &info);
    }
}

static void mods_wait_while_frames_are_late(void **state)
{
    (void)state;
    static struct game game = {.view.slow_down = 1};
    play(&game, 300, 10);
    assert_int_equal(game.view.slow_down, 1);
    play(&game, 6, 1);
    assert_int_equal(game.view.slow_down, 2);
    play(&game, 600, 1);
    assert_int_equal(game.view.slow_down, 8);
    assert_int_equal(game.stolen, 1);
}

static void mods_wait_until_two_seconds_were_calm(void **state)
{
    (void)state;
    static struct game game = {.view.slow_down = 4};
    play(&game, 20 * CALM, CALM); /* one is late in each two seconds */
    assert_int_equal(game.view.slow_down, 4);
    play(&game, CALM - 1, 0);
    assert_int_equal(game.view.slow_down, 4);
    play(&game, 1, 0);
    assert_int_equal(game.view.slow_down, 2);
    play(&game, CALM, 0);
    assert_int_equal(game.view.slow_down, 1);
    assert_int_equal(game.stolen, 1);
}

static void clocks_decide_nothing_without_a_window(void **state)
{
    (void)state;
    static struct game game = {.options.headless = true, .view.slow_down = 1};
    play(&game, 100, 1);
    assert_int_equal(game.view.slow_down, 1);
    assert_int_equal(game.view.late, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mods_wait_while_frames_are_late),
        cmocka_unit_test(mods_wait_until_two_seconds_were_calm),
        cmocka_unit_test(clocks_decide_nothing_without_a_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
