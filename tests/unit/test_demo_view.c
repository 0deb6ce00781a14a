/* The demo's drawing: what is where, that words can be read in it, that what components say never
 * leads outside of the picture; and its files. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "look.h"
#include "sample_view.h"

enum { GUARD_ROWS = 64, PATTERN = 0x5a5a5a5a };

static const struct {
    int width, height;
} sizes[] = {{960, 540}, {1280, 720}, {1920, 1080}, {960, 1080}};

enum { SIZES = sizeof sizes / sizeof sizes[0] };

/* ---- Pictures --------------------------------------------------------------------------------- */

/* With rows before and after it that must stay as they are. */
static struct picture picture_make(int width, int height)
{
    const size_t count = (size_t)width * (size_t)(height + 2 * GUARD_ROWS);
    uint32_t *pixels = malloc(count * sizeof *pixels);
    assert_non_null(pixels);
    for (size_t i = 0; i < count; i++) {
        pixels[i] = PATTERN;
    }
    return (struct picture){width, height, pixels + (size_t)width * GUARD_ROWS};
}

static void picture_check(const struct picture *picture)
{
    const size_t guard = (size_t)picture->width * GUARD_ROWS;
    const size_t count = (size_t)picture->width * (size_t)picture->height;
    for (size_t i = 0; i < guard; i++) {
        assert_int_equal(picture->pixels[-(ptrdiff_t)i - 1], PATTERN);
        assert_int_equal(picture->pixels[count + i], PATTERN);
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(picture->pixels[i] >> 24, 0xff);
    }
}

static void picture_free(struct picture *picture)
{
    free(picture->pixels - (size_t)picture->width * GUARD_ROWS);
}

static struct picture drawn(int width, int height, const struct view *view)
{
    struct picture picture = picture_make(width, height);
    draw_view(&picture, view);
    picture_check(&picture);
    return picture;
}

static struct view *sample(uint32_t scenes, uint32_t particles, bool faults)
{
    struct view *view = sample_view(scenes, particles, 100, faults);
    assert_non_null(view);
    return view;
}

/* The scene has nothing to draw any more. */
static void take_away(const void *list)
{
    free((void *)(uintptr_t)list);
}

static int open_font(void **state)
{
    (void)state;
    const char *why = text_open();
    if (why != NULL) {
        printf("SKIP: %s\n", why);
        exit(77);
    }
    return 0;
}

static int close_font(void **state)
{
    (void)state;
    text_close();
    return 0;
}

/* ---- Words ------------------------------------------------------------------------------------ */

static void test_words_are_found_at_every_size(void **state)
{
    (void)state;
    static const char *const words[] = {
        "AEE Virt",      "meadow",      "harbour",    "quarantined", "restarting", "late 7",
        "Crash agents",  "slowed 1/4",  "16.67 ms",   "seed 42",     "caught 217", "boss",
        "page fault: a", "824 MB",      "level full", "1.23 M",      "paused",     "Escape",
        "agents: page",  "particles: ", "stopped",    "Events",      "Frame time", "8 contexts"};
    struct view *view = sample(2, 8000, true);
    for (int i = 0; i < SIZES; i++) {
        struct picture picture = drawn(sizes[i].width, sizes[i].height, view);
        for (size_t k = 0; k < sizeof words / sizeof words[0]; k++) {
            if (!look_sees(&picture, words[k])) {
                fail_msg("'%s' is not to be seen at %d x %d", words[k], sizes[i].width,
                         sizes[i].height);
            }
        }
        assert_false(look_sees(&picture, "Crash agonts")); /* one character is enough */
        assert_false(look_sees(&picture, "boss_stop()"));
        assert_false(look_sees(&picture, "elephants"));
        picture_free(&picture);
    }
    sample_free(view);
}

static void test_same_words_give_the_same_pixels(void **state)
{
    (void)state;
    struct picture picture = picture_make(400, 120);
    const struct paint paint = paint_on(&picture);
    fill_rect(&paint, paint.clip, COLOR_PANEL);
    const struct glyphs *glyphs = text_glyphs(14, false);
    const int end = text_put(&paint, glyphs, 3, 5, 400, COLOR_TEXT, "quarantined 12.5");
    assert_int_equal(end - 3, text_width(glyphs, "quarantined 12.5"));
    text_close(); /* the characters are made again */
    assert_null(text_open());
    glyphs = text_glyphs(14, false);
    text_put(&paint, glyphs, 201, 77, 400, COLOR_TEXT, "quarantined 12.5");
    size_t ink = 0;
    for (int y = 0; y < glyphs->line; y++) {
        const uint32_t *first = picture.pixels + (5 + y) * 400 + 3;
        const uint32_t *second = picture.pixels + (77 + y) * 400 + 201;
        assert_memory_equal(first, second, (size_t)(end - 3) * sizeof *first);
        for (int x = 0; x < end - 3; x++) {
            ink += first[x] != (0xff000000u | COLOR_PANEL);
        }
    }
    assert_true(ink > 300);
    picture_check(&picture);
    picture_free(&picture);
}

/* More sizes of text than are kept: what a window is drawn with while somebody pulls at it. */
static void test_a_window_that_is_resized(void **state)
{
    (void)state;
    static const int heights[] = {720, 1000, 700, 940, 640, 880, 600, 820, 550, 760};
    enum { HEIGHTS = sizeof heights / sizeof heights[0] };
    struct view *view = sample(2, 800, true);
    struct picture pictures[HEIGHTS];
    for (int i = 0; i < HEIGHTS; i++) {
        pictures[i] = drawn(heights[i] * 16 / 9, heights[i], view);
    }
    for (int i = 0; i < HEIGHTS; i++) {
        text_close();
        assert_null(text_open());
        struct picture again = drawn(pictures[i].width, pictures[i].height, view);
        assert_memory_equal(again.pixels, pictures[i].pixels,
                            (size_t)again.width * (size_t)again.height * sizeof *again.pixels);
        picture_free(&again);
        picture_free(&pictures[i]);
    }
    sample_free(view);
}

/* Nothing of the table leaves it, however narrow its columns are. */
static void test_a_narrow_table(void **state)
{
    (void)state;
    struct view *view = sample(1, 800, false);
    for (uint32_t i = 0; i < view->row_count; i++) {
        view->rows[i].share = 1.0f;
    }
    for (int width = 500; width <= 960; width += 20) {
        struct picture picture = drawn(width, 1080, view);
        struct layout layout;
        layout_of(&picture, 1, &layout);
        const int right = layout.side.x + layout.side.w;
        for (int y = 0; y < layout.side.y + layout.side.h; y++) {
            for (int x = right; x < picture.width; x++) {
                assert_int_equal(picture.pixels[y * picture.width + x], 0xff000000 | COLOR_BACK);
            }
        }
        const struct paint paint = paint_on(&picture);
        fill_rect(&paint, paint.clip, COLOR_BACK);
        layout.side.w = 24 * layout.small->advance; /* no room for bars */
        table_draw(&paint, &layout, view, layout.side.y);
        for (size_t i = 0; i < (size_t)width * 1080u; i++) {
            assert_int_not_equal(picture.pixels[i], 0xff000000 | COLOR_ORANGE);
        }
        picture_free(&picture);
    }
    sample_free(view);
}

static void test_words_of_components_are_cut_and_made_printable(void **state)
{
    (void)state;
    struct view *view = sample(1, 800, true);
    memset(view->scenes[0].board, 0xff, sizeof view->scenes[0].board); /* no end, either */
    snprintf(view->rows[1].name, sizeof view->rows[1].name, "ev\x01il\xfe");
    memset(view->rows[1].cause, 'q', sizeof view->rows[1].cause - 1);
    memset(view->events[view->event_count - 1].text, 'w', VIEW_TEXT);
    memset(view->scenes[0].name, 'n', sizeof view->scenes[0].name);
    memset(view->rows[2].name, 'm', sizeof view->rows[2].name);
    struct picture picture = drawn(1280, 720, view);
    assert_true(look_sees(&picture, "ev?il?"));
    assert_true(look_sees(&picture, "????????"));
    assert_true(look_sees(&picture, "qqqqqqqq"));
    assert_true(look_sees(&picture, "running")); /* a long name leaves room for it */
    assert_true(look_sees(&picture, "ready"));
    picture_free(&picture);
    sample_free(view);
}

static void test_wrapping(void **state)
{
    (void)state;
    size_t next;
    assert_int_equal(text_wrap("one two three", 8, &next), 7);
    assert_int_equal(next, 8);
    assert_int_equal(text_wrap("one two", 7, &next), 7);
    assert_int_equal(next, 7);
    assert_int_equal(text_wrap("abcdefgh ij", 4, &next), 4);
    assert_int_equal(next, 4);
    assert_int_equal(text_wrap("", 4, &next), 0);
    assert_int_equal(next, 0);
}

static void test_help_lists_every_action(void **state)
{
    (void)state;
    static const char *const texts[] = {
#define TEXT(id, name, key, text) text,
        DEMO_ACTIONS(TEXT)
#undef TEXT
    };
    struct view *view = sample(2, 800, false);
    view->help = true;
    for (int i = 0; i < SIZES; i++) {
        struct picture picture = drawn(sizes[i].width, sizes[i].height, view);
        struct layout layout;
        layout_of(&picture, 2, &layout);
        assert_true(look_sees(&picture, "Keys"));
        for (int action = 0; action < ACTIONS; action++) {
            struct rect found = {0, 0, 0, 0};
            if (!look_find(&picture, layout.bold, texts[action], &found)) {
                fail_msg("'%s' is not in the help", texts[action]);
            }
            assert_true(rect_holds(layout.scenes, found.x, found.y));
        }
        picture_free(&picture);
    }
    sample_free(view);
}

/* ---- Scenes ----------------------------------------------------------------------------------- */

static double scene_light(const struct picture *picture, uint32_t scenes, uint32_t scene)
{
    struct layout layout;
    layout_of(picture, scenes, &layout);
    return look_light(picture, rect_inset(layout_tile(&layout, scene), picture->height / 20));
}

static void test_dim_parts_are_darker(void **state)
{
    (void)state;
    struct view *view = sample(2, 40000, false);
    struct picture before = drawn(1280, 720, view);
    for (int part = 0; part < VIEW_PARTS; part++) {
        view->scenes[1].dim[part] = 1.0f;
        struct picture after = drawn(1280, 720, view);
        assert_true(scene_light(&after, 2, 0) == scene_light(&before, 2, 0));
        assert_true(scene_light(&after, 2, 1) < 0.93 * scene_light(&before, 2, 1));
        view->scenes[1].dim[part] = 0.5f;
        struct picture between = drawn(1280, 720, view);
        assert_true(scene_light(&between, 2, 1) < 0.99 * scene_light(&before, 2, 1));
        assert_true(scene_light(&between, 2, 1) > scene_light(&after, 2, 1));
        view->scenes[1].dim[part] = 0.0f;
        picture_free(&between);
        picture_free(&after);
    }
    picture_free(&before);
    sample_free(view);
}

static void test_things_are_where_the_world_says(void **state)
{
    (void)state;
    struct view *view = sample(1, 0, false);
    struct draw_quad *quads = (struct draw_quad *)(uintptr_t)view->scenes[0].quads;
    take_away(view->scenes[0].canvas);
    view->scenes[0].canvas = NULL;
    memset(&view->scenes[0].stage, 0, sizeof view->scenes[0].stage);
    view->scenes[0].list.quad_count = 1;
    view->scenes[0].list.batch_count = 1;
    view->scenes[0].list.batches[0] = (struct draw_batch){0, 0, 1};
    quads[0] = (struct draw_quad){100.0f, 900.0f, 4.0f, 0xff0000ffu}; /* red; above, on the left */
    struct picture one = drawn(1280, 720, view);
    quads[0].x = 900.0f;
    quads[0].y = 100.0f;
    quads[0].size = INFINITY; /* does not cover more than a mark does */
    struct picture two = drawn(1280, 720, view);
    struct layout layout;
    layout_of(&one, 1, &layout);
    const int edge = layout.scenes.h;
    const int middle_x = layout.scenes.x + layout.scenes.w / 2;
    int first = 0;
    int second = 0;
    for (int i = 0; i < 1280 * 720; i++) {
        if (one.pixels[i] == two.pixels[i]) {
            continue;
        }
        const int x = (i % 1280 - middle_x) * 1000 / edge; /* about -500 to 500 */
        const int y = (i / 1280 - layout.scenes.y) * 1000 / edge;
        const bool above = abs(x + 400) < 50 && abs(y - 100) < 60;
        const bool below = abs(x - 400) < 50 && abs(y - 900) < 60;
        assert_true(above || below);
        first += above;
        second += below;
        const uint32_t color = above ? one.pixels[i] : two.pixels[i];
        assert_true((color >> 16 & 255u) > (color & 255u)); /* 0xAABBGGRR has become 0xRRGGBB */
    }
    assert_true(first >= 1 && first <= 36 && second >= 1 && second <= 36);
    picture_free(&two);
    picture_free(&one);
    sample_free(view);
}

/* ---- Hostile lists ---------------------------------------------------------------------------- */

static const float oddities[] = {0.0f,           -0.0f,         NAN,       -NAN,    INFINITY,
                                 -INFINITY,      3.4e38f,       -3.4e38f,  1e-40f,  2147483648.0f,
                                 -2147483649.0f, 4294967296.0f, 999.9999f, 1000.0f, 1000.0001f,
                                 -0.0001f,       500.0f,        0.0001f};
enum { ODDITIES = sizeof oddities / sizeof oddities[0] };

static uint32_t noise;

static uint32_t bits(void)
{
    noise ^= noise << 13;
    noise ^= noise >> 17;
    noise ^= noise << 5;
    return noise;
}

static void fill_with_oddities(struct view_scene *scene)
{
    struct draw_quad *quads = (struct draw_quad *)(uintptr_t)scene->quads;
    for (uint32_t i = 0; i < scene->list.quad_count; i++) {
        if (i < ODDITIES * ODDITIES * ODDITIES) {
            quads[i].x = oddities[i % ODDITIES];
            quads[i].y = oddities[i / ODDITIES % ODDITIES];
            quads[i].size = oddities[i / ODDITIES / ODDITIES];
            quads[i].color = bits();
        } else {
            const uint32_t random[4] = {bits(), bits(), bits(), bits()};
            memcpy(&quads[i], random, sizeof quads[i]);
        }
    }
    for (uint32_t i = 0; i < DRAW_MATERIALS; i++) { /* all of them, again and again */
        const struct draw_batch batch = {i == 3 ? UINT32_MAX : i, 0, scene->list.quad_count};
        scene->list.batches[i] = batch;
    }
    uint32_t *canvas = (uint32_t *)(uintptr_t)scene->canvas;
    for (uint32_t i = 0; i < STAGE_CANVAS * STAGE_CANVAS; i++) {
        canvas[i] = bits();
    }
}

/* What components draw has changed nothing but the scenes' squares. */
static void assert_same_outside(const struct picture *a, const struct picture *b, uint32_t scenes)
{
    struct layout layout;
    struct rect squares[VIEW_SCENES];
    size_t inside = 0;
    layout_of(a, scenes, &layout);
    for (uint32_t k = 0; k < scenes; k++) {
        squares[k] = layout_square(&layout, k);
    }
    for (int i = 0; i < a->width * a->height; i++) {
        bool found = a->pixels[i] == b->pixels[i];
        for (uint32_t k = 0; k < scenes && !found; k++) {
            found = rect_holds(squares[k], i % a->width, i / a->width);
            inside += found;
        }
        assert_true(found);
    }
    assert_true(inside > (size_t)(squares[0].w * squares[0].h) / 2);
}

static void test_hostile_quads_stay_inside(void **state)
{
    (void)state;
    noise = 7;
    for (int i = 0; i < SIZES; i++) {
        for (uint32_t scenes = 1; scenes <= VIEW_SCENES; scenes++) {
            struct view *view = sample(scenes, 4000, true);
            for (uint32_t k = 0; k < scenes; k++) {
                fill_with_oddities(&view->scenes[k]);
            }
            struct picture picture = drawn(sizes[i].width, sizes[i].height, view);
            for (uint32_t k = 0; k < scenes; k++) {
                take_away(view->scenes[k].quads);
                take_away(view->scenes[k].canvas);
                view->scenes[k].quads = NULL;
                view->scenes[k].canvas = NULL;
            }
            struct picture empty = drawn(sizes[i].width, sizes[i].height, view);
            assert_same_outside(&picture, &empty, scenes);
            picture_free(&empty);
            picture_free(&picture);
            sample_free(view);
        }
    }
}

static void test_nothing_leaves_the_clip(void **state)
{
    (void)state;
    enum { EDGE = 48 };
    const struct rect clip = {14, 12, 17, 19};
    struct picture picture = picture_make(EDGE, EDGE);
    const struct paint whole = paint_on(&picture);
    const struct paint paint = paint_within(&whole, clip);
    fill_rect(&whole, whole.clip, 0);
    noise = 3;
    for (int i = 0; i < 4000; i++) {
        const int x = (int)(bits() % 100u) - 30;
        const int y = (int)(bits() % 100u) - 30;
        const struct rect rect = {x, y, (int)(bits() % 60u), (int)(bits() % 60u)};
        const float odd = i % 3 ? (float)(bits() % 80u) : oddities[bits() % ODDITIES];
        fill_rect(&paint, rect, bits() & 0xffffffu);
        blend_rect(&paint, rect, bits() & 0xffffffu, bits() % 257u);
        frame_rect(&paint, rect, 3, bits() & 0xffffffu);
        draw_line(&paint, (float)x, odd, odd, (float)y, odd, bits() & 0xffffffu);
        draw_disc(&paint, odd, (float)y, odd, bits() & 0xffffffu, 200);
        draw_ring(&paint, (float)x, odd, odd, odd, bits() & 0xffffffu);
        text_put(&paint, text_glyphs(14, false), x, y, rect.w, bits() & 0xffffffu, "What is it?");
    }
    size_t painted = 0;
    for (int i = 0; i < EDGE * EDGE; i++) {
        const bool inside = rect_holds(clip, i % EDGE, i / EDGE);
        assert_true(inside || picture.pixels[i] == 0xff000000u);
        painted += inside && picture.pixels[i] != 0xff000000u;
    }
    assert_true(painted > 200);
    picture_check(&picture);
    picture_free(&picture);
}

static void test_hostile_numbers_elsewhere(void **state)
{
    (void)state;
    for (int i = 0; i < ODDITIES; i++) {
        struct view *view = sample(2, 800, true);
        const float odd = oddities[i];
        struct stage *stage = &view->scenes[0].stage;
        stage->wind = stage->rain = odd;
        stage->boss = (struct stage_disc){odd, oddities[(i * 7) % ODDITIES], odd};
        stage->obstacle_count = UINT32_MAX;
        for (uint32_t k = 0; k < STAGE_OBSTACLES; k++) {
            stage->obstacles[k] = (struct stage_disc){oddities[(i + (int)k) % ODDITIES], odd, odd};
        }
        for (uint32_t k = 0; k < view->row_count; k++) {
            struct view_row *row = &view->rows[k];
            row->last_ms = row->p99_ms = row->share = row->checkpoint_age_s = odd;
            row->spark_ms[k % VIEW_SPARK] = odd;
            row->crashes = row->restarts = row->memory_bytes = UINT64_MAX;
            row->every = UINT32_MAX;
            row->scene = k == 5 ? -1 : k == 6 ? 99 : row->scene;
            row->state = k == 7 ? (aee_state)99 : row->state;
        }
        view->frame = view->calls = view->seed = view->late = view->memory_bytes = UINT64_MAX;
        view->fps = view->budget_ms = odd;
        view->frame_ms[i] = odd;
        view->scenes[1].dim[VIEW_WHOLE] = view->scenes[1].dim[VIEW_AGENTS] = odd;
        take_away(view->scenes[1].quads);
        take_away(view->scenes[1].canvas);
        view->scenes[1].quads = NULL;
        view->scenes[1].canvas = NULL;
        view->slow_down = UINT32_MAX;
        view->hot = i - 2;
        struct picture picture = drawn(960, 540, view);
        picture_free(&picture);
        sample_free(view);
    }
    struct view *view = sample(8, 800, true);
    view->scene_count = view->row_count = view->event_count = UINT32_MAX;
    struct picture picture = drawn(960, 540, view);
    picture_free(&picture);
    picture = drawn(320, 200, view); /* too small to be legible, but drawn */
    picture_free(&picture);
    view->scene_count = view->row_count = view->event_count = 0;
    picture = drawn(960, 540, view);
    picture_free(&picture);
    sample_free(view);
}

/* ---- Buttons ---------------------------------------------------------------------------------- */

static bool overlap(struct rect a, struct rect b)
{
    return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

static void test_buttons(void **state)
{
    (void)state;
    for (int i = 0; i < SIZES; i++) {
        const struct picture picture = {sizes[i].width, sizes[i].height, NULL};
        struct layout layout;
        layout_of(&picture, 2, &layout);
        for (int a = 0; a < ACTIONS; a++) {
            const struct rect button = layout_button(&layout, a);
            assert_true(button.x >= 0 && button.x + button.w <= picture.width);
            assert_true(button.y >= 0 && button.y + button.h <= picture.height);
            assert_true(button.w >= 60 && button.h >= layout.body->line);
            assert_int_equal(
                draw_button_at(&picture, button.x + button.w / 2, button.y + button.h / 2), a);
            assert_false(overlap(button, layout.scenes) || overlap(button, layout.side) ||
                         overlap(button, layout.graph) || overlap(button, layout.events));
            for (int b = 0; b < a; b++) {
                assert_false(overlap(button, layout_button(&layout, b)));
            }
        }
        assert_int_equal(draw_button_at(&picture, 0, 0), ACTION_NONE);
        assert_int_equal(draw_button_at(&picture, -5, 100000), ACTION_NONE);
    }
}

static void test_every_button_has_its_words(void **state)
{
    (void)state;
    static const char *const texts[] = {
#define TEXT(id, name, key, text) text,
        DEMO_ACTIONS(TEXT)
#undef TEXT
    };
    struct view *view = sample(2, 0, false);
    for (int i = 0; i < SIZES; i++) {
        struct picture picture = drawn(sizes[i].width, sizes[i].height, view);
        struct layout layout;
        layout_of(&picture, 2, &layout);
        for (int action = 0; action < ACTIONS; action++) {
            struct rect found = {0, 0, 0, 0};
            if (!look_find(&picture, layout.body, texts[action], &found)) {
                fail_msg("no button says '%s' at %d x %d", texts[action], sizes[i].width,
                         sizes[i].height);
            }
            assert_int_equal(draw_button_at(&picture, found.x, found.y), action);
        }
        picture_free(&picture);
    }
    sample_free(view);
}

static void test_the_pressed_button_is_bright(void **state)
{
    (void)state;
    struct view *view = sample(1, 0, false);
    struct picture calm = drawn(1280, 720, view);
    view->hot = ACTION_THIEF;
    struct picture hot = drawn(1280, 720, view);
    struct layout layout;
    layout_of(&hot, 1, &layout);
    for (int action = 0; action < ACTIONS; action++) {
        const struct rect button = layout_button(&layout, action);
        const double more = look_light(&hot, button) - look_light(&calm, button);
        assert_true(action == ACTION_THIEF ? more > 40.0 : more == 0.0);
    }
    picture_free(&hot);
    picture_free(&calm);
    sample_free(view);
}

static void test_scenes_are_found_by_a_click(void **state)
{
    (void)state;
    struct view *view = sample(8, 0, false);
    for (int i = 0; i < SIZES; i++) {
        const struct picture picture = {sizes[i].width, sizes[i].height, NULL};
        for (uint32_t scenes = 1; scenes <= VIEW_SCENES; scenes++) {
            view->scene_count = scenes;
            struct layout layout;
            layout_of(&picture, scenes, &layout);
            for (uint32_t k = 0; k < scenes; k++) {
                const struct rect tile = layout_tile(&layout, k);
                assert_int_equal(
                    draw_scene_at(&picture, view, tile.x + tile.w / 2, tile.y + tile.h / 2), k);
                for (uint32_t other = 0; other < k; other++) {
                    assert_false(overlap(tile, layout_tile(&layout, other)));
                }
                assert_false(overlap(tile, layout.side) || overlap(tile, layout.events));
            }
            assert_int_equal(draw_scene_at(&picture, view, picture.width - 1, 9), -1);
        }
    }
    sample_free(view);
}

/* ---- Files ------------------------------------------------------------------------------------ */

static void temporary(char *path, size_t size)
{
    const char *folder = getenv("TMPDIR");
    snprintf(path, size, "%s/aee-demo-view-XXXXXX", folder != NULL ? folder : "/tmp");
    const int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
}

static void test_a_png_is_read_back(void **state)
{
    (void)state;
    struct view *view = sample(2, 4000, true);
    struct picture written = drawn(961, 541, view);
    struct picture read;
    char path[256];
    temporary(path, sizeof path);
    assert_null(picture_save(&written, path));
    assert_null(look_load(path, &read));
    assert_int_equal(read.width, written.width);
    assert_int_equal(read.height, written.height);
    assert_memory_equal(read.pixels, written.pixels, 961u * 541u * sizeof *read.pixels);
    free(read.pixels);
    picture_free(&written);
    sample_free(view);
    unlink(path);
}

static void assert_says(const char *sentence, const char *object, int error)
{
    assert_non_null(sentence);
    if (strstr(sentence, object) == NULL || strstr(sentence, strerror(error)) == NULL) {
        fail_msg("'%s' does not say '%s' and '%s'", sentence, object, strerror(error));
    }
}

static void test_files_that_cannot_be_written(void **state)
{
    (void)state;
    struct picture picture = picture_make(640, 360);
    struct film *film = NULL;
    assert_says(picture_save(&picture, "/no/such/folder/a.png"), "/no/such/folder/a.png", ENOENT);
    assert_says(film_open("/no/such/folder/a.y4m", &picture, 60, &film), "/no/such/folder/a.y4m",
                ENOENT);
    assert_null(film);
    if (access("/dev/full", W_OK) == 0) {
        assert_says(picture_save(&picture, "/dev/full"), "/dev/full", ENOSPC);
        assert_says(film_open("/dev/full", &picture, 60, &film), "/dev/full", ENOSPC);
        assert_null(film);
    }
    assert_null(film_close(NULL));
    picture_free(&picture);
}

static void film_of(uint32_t color, uint8_t frame[6 + 3 * 2 + 2 * 2 * 1])
{
    char path[256];
    uint32_t pixels[6];
    struct picture picture = {3, 2, pixels};
    struct picture other = {2, 3, pixels};
    struct film *film;
    for (int i = 0; i < 6; i++) {
        pixels[i] = 0xff000000u | color;
    }
    temporary(path, sizeof path);
    assert_null(film_open(path, &picture, 30, &film));
    assert_null(film_add(film, &picture));
    assert_non_null(film_add(film, &other));
    assert_null(film_add(film, &picture));
    assert_null(film_close(film));
    static const char head[] = "YUV4MPEG2 W3 H2 F30:1 Ip A1:1 C420jpeg\n";
    char bytes[128];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    unlink(path);
    assert_int_equal(size, sizeof head - 1 + 2 * (6 + 6 + 2 * 2));
    assert_memory_equal(bytes, head, sizeof head - 1);
    assert_memory_equal(bytes + sizeof head - 1, "FRAME\n", 6);
    memcpy(frame, bytes + sizeof head - 1, 16);
    assert_memory_equal(frame, bytes + sizeof head - 1 + 16, 16);
}

static void test_a_film(void **state)
{
    (void)state;
    /* BT.601: Y, U, V of black, white and the primary colours. */
    static const struct {
        uint32_t color;
        int yuv[3];
    } known[] = {{0x000000, {16, 128, 128}},
                 {0xffffff, {235, 128, 128}},
                 {0xff0000, {82, 90, 240}},
                 {0x00ff00, {145, 54, 34}},
                 {0x0000ff, {41, 240, 110}}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint8_t frame[16];
        film_of(known[i].color, frame);
        for (int k = 0; k < 6; k++) {
            assert_in_range(frame[6 + k] + 1, known[i].yuv[0], known[i].yuv[0] + 2);
        }
        for (int k = 0; k < 2; k++) {
            assert_in_range(frame[12 + k] + 1, known[i].yuv[1], known[i].yuv[1] + 2);
            assert_in_range(frame[14 + k] + 1, known[i].yuv[2], known[i].yuv[2] + 2);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_are_found_at_every_size),
        cmocka_unit_test(test_same_words_give_the_same_pixels),
        cmocka_unit_test(test_a_window_that_is_resized),
        cmocka_unit_test(test_a_narrow_table),
        cmocka_unit_test(test_words_of_components_are_cut_and_made_printable),
        cmocka_unit_test(test_wrapping),
        cmocka_unit_test(test_help_lists_every_action),
        cmocka_unit_test(test_dim_parts_are_darker),
        cmocka_unit_test(test_things_are_where_the_world_says),
        cmocka_unit_test(test_hostile_quads_stay_inside),
        cmocka_unit_test(test_nothing_leaves_the_clip),
        cmocka_unit_test(test_hostile_numbers_elsewhere),
        cmocka_unit_test(test_buttons),
        cmocka_unit_test(test_every_button_has_its_words),
        cmocka_unit_test(test_the_pressed_button_is_bright),
        cmocka_unit_test(test_scenes_are_found_by_a_click),
        cmocka_unit_test(test_a_png_is_read_back),
        cmocka_unit_test(test_files_that_cannot_be_written),
        cmocka_unit_test(test_a_film),
    };
    return cmocka_run_group_tests(tests, open_font, close_font);
}
