/* draw.c: where everything is in the picture, and the scenes. Quads, canvas and words come from
 * components: nothing in them decides about more than the colour of a pixel inside of the scene. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "paint.h"

enum { PARTICLES_FROM = 8, BUTTON_ROWS = 2, CAUSE_LINES = 3 };

/* ---- Layout ----------------------------------------------------------------------------------- */

static int at_least(int value, int low)
{
    return value > low ? value : low;
}

void layout_of(const struct picture *picture, uint32_t scene_count, struct layout *layout)
{
    const int width = picture->width;
    const int height = picture->height;
    /* Of a picture of 16:9 that fits. Size: 10 at 540 rows, 14 at 720, 20 at 1080 */
    const int rows = height < width * 9 / 16 ? height : width * 9 / 16;
    const int size = at_least((rows + 8) / 52, 6);
    layout->small = text_glyphs(at_least((size * 4 + 2) / 5, 6), false);
    layout->body = text_glyphs(size, false);
    layout->bold = text_glyphs(size, true);
    layout->title = text_glyphs(size * 3 / 2, true);
    layout->gap = at_least(rows / 90, 2);
    layout->pad = at_least(rows / 100, 2);
    layout->pixel = (float)rows / 720.0f;
    layout->sink = layout->body->ascent - layout->small->ascent;

    static const int columns[VIEW_SCENES + 1] = {1, 1, 2, 2, 2, 3, 3, 4, 4};
    const uint32_t count = scene_count < VIEW_SCENES ? scene_count : VIEW_SCENES;
    layout->tile_columns = columns[count];
    layout->tile_rows = count > 2 ? 2 : 1;

    const int gap = layout->gap;
    const int buttons = BUTTON_ROWS * (layout->body->line + layout->pad) + gap / 2;
    const int left = (width - 3 * gap) * 66 / 100;
    const int inner = height - 3 * gap - buttons;
    /* Tiles are square under their titles as far as there is room; the rest is for graph and
     * events. */
    const int tile = (left - (layout->tile_columns - 1) * gap) / layout->tile_columns;
    const int wanted = layout->tile_rows * (tile + layout->body->line + layout->pad + gap);
    int strip = at_least(inner - wanted, inner * 23 / 100);
    strip = strip < inner * 36 / 100 ? strip : inner * 36 / 100;
    const int graph = left * 38 / 100;
    layout->scenes = (struct rect){gap, gap, left, inner - strip - gap};
    layout->graph = (struct rect){gap, inner - strip + gap, graph, strip};
    layout->events = (struct rect){2 * gap + graph, inner - strip + gap, left - graph - gap, strip};
    layout->side = (struct rect){2 * gap + left, gap, width - left - 3 * gap, inner};
    layout->buttons = (struct rect){gap, height - gap - buttons, width - 2 * gap, buttons};
}

/* Part i of n of a length, with gaps between parts: no pixel is lost to rounding. */
static int part_start(int length, int gap, int n, int i)
{
    return (length + gap) * i / n;
}

static struct rect part_of(struct rect all, int gap, int columns, int rows, int i)
{
    const int x = part_start(all.w, gap, columns, i % columns);
    const int y = part_start(all.h, gap, rows, i / columns);
    const int right = part_start(all.w, gap, columns, i % columns + 1) - gap;
    const int bottom = part_start(all.h, gap, rows, i / columns + 1) - gap;
    return (struct rect){all.x + x, all.y + y, right - x, bottom - y};
}

struct rect layout_tile(const struct layout *layout, uint32_t scene)
{
    return part_of(layout->scenes, layout->gap, layout->tile_columns, layout->tile_rows,
                   (int)scene);
}

static int title_height(const struct layout *layout)
{
    return layout->body->line + layout->pad;
}

/* Of the frame of a tile, at most. */
static int border_width(const struct layout *layout)
{
    return (int)(2.0f * layout->pixel + 0.5f);
}

struct rect layout_square(const struct layout *layout, uint32_t scene)
{
    const struct rect tile = layout_tile(layout, scene);
    const int line = border_width(layout);
    const int title = title_height(layout);
    const int high = tile.h - title - line;
    const int edge = tile.w - 2 * line < high ? tile.w - 2 * line : high;
    return (struct rect){tile.x + (tile.w - edge) / 2, tile.y + title + (high - edge) / 2, edge,
                         edge};
}

struct rect layout_button(const struct layout *layout, int action)
{
    const int columns = (ACTIONS + BUTTON_ROWS - 1) / BUTTON_ROWS;
    return part_of(layout->buttons, layout->gap / 2, columns, BUTTON_ROWS, action);
}

int draw_button_at(const struct picture *picture, int x, int y)
{
    struct layout layout;
    layout_of(picture, 0, &layout);
    for (int action = 0; action < ACTIONS; action++) {
        if (rect_holds(layout_button(&layout, action), x, y)) {
            return action;
        }
    }
    return ACTION_NONE;
}

static uint32_t scenes_of(const struct view *view)
{
    return view->scene_count < VIEW_SCENES ? view->scene_count : VIEW_SCENES;
}

int draw_scene_at(const struct picture *picture, const struct view *view, int x, int y)
{
    struct layout layout;
    layout_of(picture, view->scene_count, &layout);
    for (uint32_t i = 0; i < scenes_of(view); i++) {
        if (rect_holds(layout_tile(&layout, i), x, y)) {
            return (int)i;
        }
    }
    return -1;
}

/* ---- A scene's world -------------------------------------------------------------------------- */

/* A square of the picture that shows the world. */
struct window {
    const struct paint *paint;
    const struct layout *layout;
    const struct view_scene *scene;
    struct rect square; /* inside of the picture */
    struct rect area;   /* the square and what is beside it: for words */
    const struct paint *words;
    float scale; /* pixels for a unit of the world */
};

static uint32_t swapped(uint32_t color)
{
    return (color & 0xffu) << 16 | (color & 0xff00u) | (color >> 16 & 0xffu);
}

/* Two rows of the canvas, blended and darkened, so that what moves on it stays visible. */
static void canvas_row(const uint32_t *canvas, uint32_t position, uint32_t *row)
{
    const uint32_t low = position >> 16;
    const uint32_t high = low + 1u < STAGE_CANVAS ? low + 1u : low;
    const uint32_t part = position >> 8 & 255u;
    for (uint32_t i = 0; i < STAGE_CANVAS; i++) {
        const uint32_t a = canvas[low * STAGE_CANVAS + i];
        const uint32_t b = canvas[high * STAGE_CANVAS + i];
        const uint32_t opaque = ((a >> 24) * (256u - part) + (b >> 24) * part) >> 8;
        row[i] = mix(COLOR_BACK, swapped(mix(a, b, part)), opaque * 5u / 8u);
    }
}

/* Where a pixel is among the canvas' pixels, as 16.16; `step` is the distance of two pixels. */
static uint32_t canvas_position(int pixel, int step)
{
    const int position = pixel * step + step / 2 - (1 << 15);
    const int last = (int)(STAGE_CANVAS - 1u) << 16;
    return (uint32_t)(position < 0 ? 0 : position > last ? last : position);
}

static void draw_canvas(const struct window *window)
{
    const struct rect square = window->square;
    const struct picture *picture = window->paint->picture;
    const int step = (int)(STAGE_CANVAS << 16) / square.w;
    uint32_t row[STAGE_CANVAS + 1];
    if (window->scene->canvas == NULL) {
        fill_rect(window->paint, square, COLOR_BACK);
        return;
    }
    for (int y = 0; y < square.h; y++) {
        canvas_row(window->scene->canvas, canvas_position(square.h - 1 - y, step), row);
        row[STAGE_CANVAS] = row[STAGE_CANVAS - 1];
        uint32_t *pixels =
            picture->pixels + (size_t)(square.y + y) * (size_t)picture->width + square.x;
        for (int x = 0; x < square.w; x++) {
            const uint32_t position = canvas_position(x, step);
            const uint32_t i = position >> 16;
            pixels[x] = 0xff000000u | mix(row[i], row[i + 1u], position >> 8 & 255u);
        }
    }
}

static inline uint32_t add_light(uint32_t a, uint32_t b)
{
    uint32_t red_blue = (a & 0xff00ffu) + (b & 0xff00ffu);
    uint32_t green = (a & 0xff00u) + (b & 0xff00u);
    red_blue |= (red_blue >> 8 & 0x10001u) * 0xffu;
    green |= (green >> 8 & 0x100u) * 0xffu;
    return 0xff000000u | (red_blue & 0xff00ffu) | (green & 0xff00u);
}

/* A mark's edge in pixels. */
static int edge_of(float size, float scale, int low, int high)
{
    const float edge = size * scale + 0.5f;
    return !(edge > (float)low) ? low : edge >= (float)high ? high : (int)edge;
}

static uint32_t particle_color(uint32_t color, uint32_t dim, uint32_t light)
{
    return mix(0, dimmed(swapped(color), dim), light);
}

static uint32_t agent_color(uint32_t color, uint32_t dim)
{
    return 0xff000000u | dimmed(mix(swapped(color), 0xffffffu, 96), dim);
}

/* The inner loop. Each quad is read once; a position is compared as a float, so that NaN and
 * numbers beyond any integer are left out, and its copy is what becomes an integer. */
static void draw_quads_of(const struct window *window, const struct draw_batch *batch,
                          uint32_t count, bool agents)
{
    const struct picture *picture = window->paint->picture;
    const size_t stride = (size_t)picture->width;
    const struct rect square = window->square;
    uint32_t *origin = picture->pixels + (size_t)square.y * stride + (size_t)square.x;
    const volatile struct draw_quad *quads = window->scene->quads + batch->first;
    const uint32_t dim = share_of(window->scene->dim[agents ? VIEW_AGENTS : VIEW_PARTICLES]);
    const float scale = window->scale;
    /* Of many particles, each is darker: they add up. */
    const float share =
        0.14f * (float)(square.w * square.h) / (float)(window->scene->list.quad_count + 1u);
    const uint32_t light = share_of(fminf(fmaxf(share, 0.05f), 0.6f));
    uint32_t last = 0;
    uint32_t color = agents ? agent_color(last, dim) : particle_color(last, dim, light);
    for (uint32_t i = 0; i < count; i++) {
        const float size = quads[i].size;
        const int edge = agents ? edge_of(size, scale, 1, 6) : edge_of(size * 0.7f, scale, 1, 2);
        const float limit = (float)(square.w - edge + 1);
        const float x = quads[i].x * scale - (float)(edge / 2);
        const float y = (STAGE_EDGE - quads[i].y) * scale - (float)(edge / 2);
        const uint32_t next = quads[i].color;
        if (!(x >= 0.0f && x < limit && y >= 0.0f && y < limit)) {
            continue;
        }
        if (next != last) {
            last = next;
            color = agents ? agent_color(last, dim) : particle_color(last, dim, light);
        }
        uint32_t *pixel = origin + (size_t)(int)y * stride + (size_t)(int)x;
        for (int row = 0; row < edge; row++, pixel += stride) {
            for (int column = 0; column < edge; column++) {
                pixel[column] = agents ? color : add_light(pixel[column], color);
            }
        }
    }
}

/* Batches may overlap: no more quads are drawn than there are. */
static void draw_quads_of_kind(const struct window *window, bool agents)
{
    const struct draw_header *list = &window->scene->list;
    uint32_t left = window->scene->quads != NULL ? list->quad_count : 0;
    for (uint32_t i = 0; i < list->batch_count && i < DRAW_MATERIALS; i++) {
        const struct draw_batch *batch = &list->batches[i];
        if ((batch->material < PARTICLES_FROM) == agents && batch->first <= list->quad_count) {
            const uint32_t most = list->quad_count - batch->first;
            uint32_t count = batch->count < most ? batch->count : most;
            count = count < left ? count : left;
            draw_quads_of(window, batch, count, agents);
            left -= count;
        }
    }
}

static void to_pixels(const struct window *window, const struct stage_disc *disc, float *x,
                      float *y)
{
    *x = (float)window->square.x + disc->x * window->scale;
    *y = (float)window->square.y + (STAGE_EDGE - disc->y) * window->scale;
}

static void draw_obstacles(const struct window *window)
{
    const struct stage *stage = &window->scene->stage;
    for (uint32_t i = 0; i < stage->obstacle_count && i < STAGE_OBSTACLES; i++) {
        const float radius = stage->obstacles[i].radius * window->scale;
        float x;
        float y;
        to_pixels(window, &stage->obstacles[i], &x, &y);
        draw_disc(window->paint, x, y, radius, 0x2b3440, 256);
        draw_disc(window->paint, x, y, radius * 0.8f, 0x343f4d, 256);
        draw_ring(window->paint, x, y, radius, 1.5f * window->layout->pixel, 0x66758a);
    }
}

static void draw_boss(const struct window *window)
{
    const struct stage_disc *boss = &window->scene->stage.boss;
    const bool narrow = window->square.w < 32 * window->layout->body->advance;
    const struct glyphs *glyphs = narrow ? window->layout->small : window->layout->bold;
    if (!(boss->radius > 0.0f)) {
        return;
    }
    float x;
    float y;
    to_pixels(window, boss, &x, &y);
    const float line = 2.0f * window->layout->pixel;
    const float radius = fmaxf(boss->radius * window->scale, 5.0f * line);
    draw_disc(window->paint, x, y, radius, COLOR_PURPLE, 110);
    draw_ring(window->paint, x, y, radius, line, COLOR_PURPLE);
    draw_ring(window->paint, x, y, radius + 2.5f * line, line / 2.0f, COLOR_PURPLE);
    if (x > -1e4f && x < 1e4f && y > -1e4f && y < 1e4f) {
        const int width = text_width(glyphs, "boss");
        text_put(window->paint, glyphs, (int)x - width / 2, (int)y - glyphs->line / 2, width,
                 0xffffff, "boss");
    }
}

static uint32_t scatter(uint32_t i)
{
    i = (i ^ i >> 16) * 0x7feb352du;
    i = (i ^ i >> 15) * 0x846ca68bu;
    return i ^ i >> 16;
}

static void draw_rain(const struct window *window)
{
    const struct stage *stage = &window->scene->stage;
    const uint32_t edge = (uint32_t)window->square.w;
    const uint32_t drops = edge * share_of(stage->rain) >> 10;
    const float length = 9.0f * window->layout->pixel;
    const float slope = fminf(fmaxf(stage->wind, -1.0f), 1.0f) * 0.8f;
    for (uint32_t i = 0; i < drops; i++) {
        const uint32_t bits = scatter(i);
        const uint32_t fall = (uint32_t)stage->frame * (7u + bits % 5u);
        const float x = (float)(window->square.x + (int)((bits >> 8) % edge));
        const float y = (float)(window->square.y + (int)((scatter(bits) + fall) % edge));
        draw_line(window->paint, x, y, x + slope * length, y + length, window->layout->pixel,
                  0x6f93b5);
    }
}

/* ---- A scene's words -------------------------------------------------------------------------- */

/* Rows of words on a plate at a corner. */
static void draw_weather(const struct window *window)
{
    const struct layout *layout = window->layout;
    const struct glyphs *glyphs = layout->small;
    const struct stage *stage = &window->scene->stage;
    const float wind = fminf(fmaxf(stage->wind, -1.0f), 1.0f);
    const int width = 10 * glyphs->advance + 2 * layout->pad;
    const struct rect plate = {window->area.x + window->area.w - width - layout->pad / 2,
                               window->area.y + layout->pad / 2, width,
                               2 * glyphs->line + layout->pad};
    blend_rect(window->words, plate, COLOR_BACK, 200);
    char text[32];
    const int x = plate.x + layout->pad;
    const int y = plate.y + layout->pad / 2;
    text_put(window->words, glyphs, x, y, width, COLOR_MUTED, "wind");
    const float middle = (float)(plate.x + width - layout->pad) - 2.5f * (float)glyphs->advance;
    const float line = (float)y + (float)glyphs->line * 0.5f;
    const float reach = wind * 2.4f * (float)glyphs->advance;
    const float head = (reach < 0.0f ? 1.0f : -1.0f) * 3.5f * layout->pixel;
    draw_disc(window->words, middle, line, 1.5f * layout->pixel, COLOR_MUTED, 256);
    if (fabsf(reach) >= 1.0f) {
        const float tip = middle + reach;
        const float thick = 1.5f * layout->pixel;
        draw_line(window->words, middle - reach, line, tip, line, thick, COLOR_SKY);
        draw_line(window->words, tip, line, tip + head, line + head, thick, COLOR_SKY);
        draw_line(window->words, tip, line, tip + head, line - head, thick, COLOR_SKY);
    }
    snprintf(text, sizeof text, "%u%%", share_of(stage->rain) * 100u >> 8);
    text_put(window->words, glyphs, x, y + glyphs->line, width, COLOR_MUTED, "rain");
    text_right(window->words, glyphs, plate.x + width - layout->pad, y + glyphs->line, COLOR_SKY,
               text);
}

static void draw_board(const struct window *window)
{
    const struct glyphs *glyphs = window->layout->small;
    const int pad = window->layout->pad;
    size_t longest = 0;
    int lines = 0;
    for (int i = 0; i < VIEW_BOARD; i++) {
        const char *line = window->scene->board[i];
        const size_t length = strnlen(line, sizeof window->scene->board[i]);
        longest = length > longest ? length : longest;
        lines = length != 0 ? i + 1 : lines;
    }
    if (lines == 0) {
        return;
    }
    const int weather = 10 * glyphs->advance + 3 * pad;
    const int most = window->area.w - weather - 3 * pad;
    int width = (int)longest * glyphs->advance;
    width = width < most ? width : most;
    const struct rect plate = {window->area.x + pad / 2, window->area.y + pad / 2, width + 2 * pad,
                               lines * glyphs->line + pad};
    blend_rect(window->words, plate, COLOR_BACK, 200);
    for (int i = 0; i < lines; i++) {
        text_draw(window->words, glyphs, plate.x + pad, plate.y + pad / 2 + i * glyphs->line, width,
                  i == 0 ? COLOR_YELLOW : COLOR_TEXT, window->scene->board[i],
                  sizeof window->scene->board[i]);
    }
}

/* The stricken row of a scene that comes after `previous`, the newest first. */
static const struct view_row *next_stricken(const struct view *view, int scene,
                                            const struct view_row *previous)
{
    const struct view_row *found = NULL;
    for (uint32_t i = 0; i < view->row_count && i < VIEW_ROWS; i++) {
        const struct view_row *row = &view->rows[i];
        const bool later = previous == NULL || row->stricken < previous->stricken ||
                           (row->stricken == previous->stricken && row > previous);
        if (row->scene == scene && row->stricken > 0.0f && later &&
            (found == NULL || row->stricken > found->stricken)) {
            found = row;
        }
    }
    return found;
}

/* Why parts of the scene are dim, across its lower part. */
static void draw_causes(const struct window *window, const struct view *view, int scene)
{
    const struct layout *layout = window->layout;
    const struct rect area = window->area;
    const bool narrow = area.w < 32 * layout->body->advance;
    const struct glyphs *glyphs = narrow ? layout->small : layout->body;
    const int indent = 2 * glyphs->advance;
    const int columns = (area.w - 2 * layout->pad - indent) / glyphs->advance;
    char lines[CAUSE_LINES][VIEW_TEXT + AEE_NAME_MAX + 4];
    const struct view_row *marks[CAUSE_LINES] = {NULL};
    int count = 0;
    const struct view_row *row = NULL;
    while (columns > 0 && count < CAUSE_LINES && (row = next_stricken(view, scene, row)) != NULL) {
        char words[sizeof lines[0]];
        snprintf(words, sizeof words, "%.*s: %.*s", AEE_NAME_MAX, row->name, VIEW_TEXT, row->cause);
        marks[count] = row;
        for (const char *rest = words; *rest != '\0' && count < CAUSE_LINES; count++) {
            size_t next;
            size_t end = text_wrap(rest, (size_t)columns, &next);
            /* The last line has the whole rest, and is cut with an ellipsis. */
            end = count == CAUSE_LINES - 1 ? strlen(rest) : end;
            snprintf(lines[count], sizeof lines[count], "%.*s", (int)end, rest);
            rest += next;
        }
    }
    if (count == 0) {
        return;
    }
    const int height = count * glyphs->line + layout->pad;
    const struct rect plate = {area.x, area.y + area.h - height, area.w, height};
    blend_rect(window->words, plate, 0x1c1210, 232);
    fill_rect(window->words, (struct rect){plate.x, plate.y, plate.w, (int)(layout->pixel + 0.5f)},
              COLOR_VERMILLION);
    for (int i = 0; i < count; i++) {
        const int y = plate.y + layout->pad / 2 + i * glyphs->line;
        if (marks[i] != NULL) {
            hud_mark(window->words, marks[i], (float)(plate.x + layout->pad + indent / 3),
                     (float)y + (float)glyphs->line * 0.5f, (float)glyphs->line * 0.26f);
        }
        text_put(window->words, glyphs, plate.x + layout->pad + indent, y,
                 columns * glyphs->advance, COLOR_TEXT, lines[i]);
    }
}

static const char *scene_state(const struct view *view, const struct view_scene *scene, int index)
{
    if (scene->paused) {
        return "paused";
    }
    for (uint32_t i = 0; i < view->row_count && i < VIEW_ROWS; i++) {
        const struct view_row *row = &view->rows[i];
        if (row->scene == index && row->kind == AEE_KIND_SCENE && row->state != AEE_STATE_READY) {
            return aee_state_name(row->state);
        }
    }
    return view->frozen ? "frozen" : "running";
}

static void draw_title(const struct paint *paint, const struct layout *layout, struct rect bar,
                       const struct view *view, int index)
{
    const struct view_scene *scene = &view->scenes[index];
    const char *state = scene_state(view, scene, index);
    const uint32_t color = scene->selected ? COLOR_SKY : COLOR_TEXT;
    const int y = bar.y + (bar.h - layout->body->line) / 2;
    const int right = bar.x + bar.w - layout->pad;
    const int state_width = text_width(layout->body, state);
    text_put(paint, layout->body, right - state_width, y, state_width,
             strcmp(state, "running") == 0   ? COLOR_MUTED
             : scene->paused || view->frozen ? COLOR_YELLOW
                                             : COLOR_ALARM,
             state);
    const int x =
        text_draw(paint, layout->bold, bar.x + layout->pad, y,
                  bar.w - 3 * layout->pad - state_width, color, scene->name, sizeof scene->name);
    uint64_t counts[2] = {0, 0};
    for (uint32_t i = 0; i < scene->list.batch_count && i < DRAW_MATERIALS; i++) {
        counts[scene->list.batches[i].material < PARTICLES_FROM ? 0 : 1] +=
            scene->list.batches[i].count;
    }
    char numbers[2][32];
    char text[96];
    snprintf(text, sizeof text, "%s agents  %s particles", hud_number(numbers[0], 32, counts[0]),
             hud_number(numbers[1], 32, counts[1]));
    const int room = right - state_width - x - 3 * layout->body->advance;
    if (text_width(layout->small, text) <= room) {
        text_put(paint, layout->small, x + 2 * layout->body->advance, y + layout->sink, room,
                 COLOR_MUTED, text);
    }
}

static void dim_square(const struct window *window)
{
    const uint32_t by = share_of(window->scene->dim[VIEW_WHOLE]);
    const struct picture *picture = window->paint->picture;
    const struct rect square = window->square;
    for (int y = square.y; by != 0 && y < square.y + square.h; y++) {
        uint32_t *row = picture->pixels + (size_t)y * (size_t)picture->width;
        for (int x = square.x; x < square.x + square.w; x++) {
            row[x] = 0xff000000u | dimmed(row[x], by);
        }
    }
}

static void draw_scene(const struct paint *paint, const struct layout *layout,
                       const struct view *view, uint32_t index)
{
    const struct view_scene *scene = &view->scenes[index];
    const struct rect tile = layout_tile(layout, index);
    const int border = (int)(layout->pixel * (scene->selected ? 2.0f : 1.0f) + 0.5f);
    const struct rect bar = {tile.x, tile.y, tile.w, title_height(layout)};
    fill_rect(paint, tile, COLOR_PANEL);
    fill_rect(paint, bar, COLOR_RAISED);
    frame_rect(paint, tile, border, scene->selected ? COLOR_SKY : COLOR_BORDER);
    draw_title(paint, layout, bar, view, (int)index);
    const struct rect square = layout_square(layout, index);
    const struct paint inside = paint_within(paint, square);
    if (square.w < 16 || inside.clip.w != square.w || inside.clip.h != square.h) {
        return; /* what follows writes to all of the square */
    }
    const int line = border_width(layout);
    const struct rect area = {tile.x + line, square.y, tile.w - 2 * line, square.h};
    const struct paint words = paint_within(paint, area);
    const struct window window = {.paint = &inside,
                                  .layout = layout,
                                  .scene = scene,
                                  .square = square,
                                  .area = area,
                                  .words = &words,
                                  .scale = (float)square.w / STAGE_EDGE};
    draw_canvas(&window);
    draw_obstacles(&window);
    draw_quads_of_kind(&window, false);
    draw_quads_of_kind(&window, true);
    draw_boss(&window);
    draw_rain(&window);
    dim_square(&window);
    draw_weather(&window);
    draw_board(&window);
    draw_causes(&window, view, (int)index);
}

void draw_view(struct picture *picture, const struct view *view)
{
    struct layout layout;
    layout_of(picture, view->scene_count, &layout);
    const struct paint paint = paint_on(picture);
    fill_rect(&paint, paint.clip, COLOR_BACK);
    for (uint32_t i = 0; i < scenes_of(view); i++) {
        draw_scene(&paint, &layout, view, i);
    }
    hud_graph(&paint, &layout, view);
    hud_events(&paint, &layout, view);
    hud_side(&paint, &layout, view);
    hud_buttons(&paint, &layout, view);
    if (view->help) {
        hud_help(&paint, &layout);
    }
}
