/* hud.c: the panels around the scenes: contexts, frame times, events, buttons, help. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "paint.h"

static const struct {
    const char *key;
    const char *text;
} buttons[ACTIONS] = {
#define BUTTON(id, name, key, text) {key, text},
    DEMO_ACTIONS(BUTTON)
#undef BUTTON
};

static const char *const sentences[ACTIONS] = {
    [ACTION_CRASH_AGENTS] =
        "The agents of the selected scene write to an address they do not have.",
    [ACTION_CRASH_PARTICLES] = "Its particles do the same; the agents go on.",
    [ACTION_CRASH_RENDERING] = "Its draw list is no longer made until rendering is back.",
    [ACTION_HANG_MOD] = "A mod never returns, until its time is up.",
    [ACTION_MEMORY_BOMB] = "A mod asks for memory until it has reached its limit.",
    [ACTION_THIEF] = "A mod tries to read the other scene's memory, and the engine's.",
    [ACTION_KILL_SCENE] = "The whole scene ends at once, and comes back from its checkpoints.",
    [ACTION_ROLL_BACK] = "The scene is again what it was three seconds ago.",
    [ACTION_PAUSE] = "The contexts of the scene are not called until they are resumed.",
    [ACTION_CLOSE_SCENE] = "Its contexts are destroyed, and their memory is given back.",
    [ACTION_ADD_SCENE] = "Another scene with contexts of its own, up to eight.",
    [ACTION_SELECT_NEXT] = "Keys are for the scene with the bright border; a click selects, too.",
    [ACTION_FREEZE] = "The whole world stands still; the window does not.",
    [ACTION_STEP] = "One frame of a world that stands still.",
    [ACTION_HELP] = "This list.",
    [ACTION_QUIT] = "The end.",
};

/* ---- Words and shapes ------------------------------------------------------------------------- */

const char *hud_number(char *text, size_t size, uint64_t number)
{
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    size_t used = 0;
    for (int i = 0; i < length && used + 2 < size; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            text[used++] = ',';
        }
        text[used++] = digits[i];
    }
    text[used] = '\0';
    return text;
}

/* Four digits at most: 12.3 M */
static void short_number(char *text, size_t size, uint64_t number)
{
    if (number < 100000u) {
        hud_number(text, size, number);
    } else if (number < 999950000u) {
        snprintf(text, size, "%.*f M", number < 99950000u ? 2 - (number >= 9995000u) : 0,
                 (double)number / 1e6);
    } else {
        snprintf(text, size, "%.1f G", (double)number / 1e9);
    }
}

static void memory_text(char *text, size_t size, uint64_t bytes)
{
    const double mib = (double)bytes / 1048576.0;
    if (mib < 0.95) {
        snprintf(text, size, "%.0f KB", (double)bytes / 1024.0);
    } else if (mib < 99.95) {
        snprintf(text, size, "%.1f MB", mib);
    } else if (mib < 1023.5) {
        snprintf(text, size, "%.0f MB", mib);
    } else {
        snprintf(text, size, "%.1f GB", mib / 1024.0);
    }
}

/* A time in milliseconds, in four characters. */
static void ms_text(char *text, size_t size, float ms)
{
    if (!(ms >= 0.0f)) {
        snprintf(text, size, "-");
    } else if (ms < 9.995f) {
        snprintf(text, size, "%.2f", (double)ms);
    } else if (ms < 99.95f) {
        snprintf(text, size, "%.1f", (double)ms);
    } else {
        snprintf(text, size, ms < 9999.0f ? "%.0f" : ">10s", (double)ms);
    }
}

/* A cross for a crash, a clock for a hang; otherwise by state: a disc, bars, an open ring with a
 * gap, a square, a crossed ring. */
void hud_mark(const struct paint *paint, const struct view_row *row, float x, float y, float radius)
{
    const float thick = radius * 0.45f;
    const float r = radius * 0.85f;
    const struct rect square = {(int)(x - r + 0.5f), (int)(y - r + 0.5f), (int)(2.0f * r + 0.5f),
                                (int)(2.0f * r + 0.5f)};
    if (row->state == AEE_STATE_QUARANTINED) {
        draw_ring(paint, x, y, radius, thick * 0.8f, COLOR_VERMILLION);
        draw_line(paint, x - r * 0.6f, y + r * 0.6f, x + r * 0.6f, y - r * 0.6f, thick,
                  COLOR_VERMILLION);
    } else if (row->stricken > 0.0f && row->hung) {
        draw_ring(paint, x, y, radius, thick * 0.7f, COLOR_ORANGE);
        draw_line(paint, x, y - r * 0.6f, x, y, thick * 0.7f, COLOR_ORANGE);
        draw_line(paint, x, y, x + r * 0.5f, y, thick * 0.7f, COLOR_ORANGE);
    } else if (row->stricken > 0.0f) {
        draw_line(paint, x - r, y - r, x + r, y + r, thick * 1.2f, COLOR_VERMILLION);
        draw_line(paint, x - r, y + r, x + r, y - r, thick * 1.2f, COLOR_VERMILLION);
    } else if (row->state == AEE_STATE_READY) {
        draw_disc(paint, x, y, r * 0.8f, COLOR_GREEN, 256);
    } else if (row->state == AEE_STATE_PAUSED) {
        draw_line(paint, x - r * 0.45f, y - r * 0.7f, x - r * 0.45f, y + r * 0.7f, thick,
                  COLOR_YELLOW);
        draw_line(paint, x + r * 0.45f, y - r * 0.7f, x + r * 0.45f, y + r * 0.7f, thick,
                  COLOR_YELLOW);
    } else if (row->state == AEE_STATE_RESTARTING) {
        draw_ring(paint, x, y, r, thick * 0.8f, COLOR_SKY);
        draw_line(paint, x + r, y, x + r * 0.2f, y - r * 0.1f, thick * 0.8f, COLOR_SKY);
        draw_line(paint, x + r, y, x + r, y - r * 0.9f, thick * 0.8f, COLOR_SKY);
    } else if (row->state == AEE_STATE_STOPPED) {
        fill_rect(paint, square, COLOR_MUTED);
    } else {
        draw_ring(paint, x, y, r * 0.8f, thick * 0.6f, COLOR_MUTED);
    }
}

static uint32_t state_color(const struct view_row *row)
{
    static const uint32_t colors[AEE_STATE_COUNT] = {
        [AEE_STATE_CREATED] = COLOR_MUTED, [AEE_STATE_READY] = COLOR_MUTED,
        [AEE_STATE_PAUSED] = COLOR_YELLOW, [AEE_STATE_RESTARTING] = COLOR_SKY,
        [AEE_STATE_STOPPED] = COLOR_TEXT,  [AEE_STATE_QUARANTINED] = COLOR_ALARM,
    };
    const unsigned state = (unsigned)row->state;
    return state < AEE_STATE_COUNT ? colors[state] : COLOR_MUTED;
}

/* ---- Contexts --------------------------------------------------------------------------------- */

/* Right ends of columns (left ends of words) in a row of two lines, in pixels from its start. */
struct columns {
    int name;
    int state;
    int spark;
    int spark_end;
    int right;
    int kind;
    int level;
    int rate;
    int bar;
    int bar_end;
    int share_end;
    int memory_end;
    int crashes_end;
};

static struct columns columns_of(const struct layout *layout)
{
    const int big = layout->body->advance;
    const int small = layout->small->advance;
    const int right = layout->side.w - 2 * layout->pad;
    struct columns columns = {.name = 2 * big, .right = right};
    columns.kind = columns.name;
    columns.level = columns.kind + 10 * small;
    columns.rate = columns.level + 10 * small;
    columns.crashes_end = right - 8 * small;
    columns.memory_end = columns.crashes_end - 7 * small;
    columns.share_end = columns.memory_end - 8 * small;
    columns.bar = columns.rate + 5 * small;
    columns.bar_end = columns.share_end - 5 * small;
    columns.spark_end = right - 10 * small;
    columns.spark = columns.spark_end - 12 * big;
    columns.state = columns.spark - 12 * big;
    return columns;
}

static void draw_spark(const struct paint *paint, struct rect rect, const struct view_row *row,
                       float pixel)
{
    float most = 0.05f;
    for (int i = 0; i < VIEW_SPARK; i++) {
        most = row->spark_ms[i] > most ? row->spark_ms[i] : most;
    }
    const float step = (float)rect.w / (float)VIEW_SPARK;
    const float low = (float)(rect.y + rect.h) - 1.0f;
    const float high = (float)rect.h - 2.0f;
    fill_rect(paint, (struct rect){rect.x, rect.y + rect.h - 1, rect.w, 1}, COLOR_BORDER);
    float before = -1.0f;
    for (int i = 0; i < VIEW_SPARK; i++) {
        const float ms = row->spark_ms[i];
        const float x = (float)rect.x + ((float)i + 0.5f) * step;
        const float y = low - (ms > 0.0f ? ms / most * high : 0.0f);
        if (ms < 0.0f) {
            draw_line(paint, x, low, x, low - high, pixel * 1.5f, COLOR_VERMILLION);
        } else if (before >= 0.0f) {
            draw_line(paint, x - step, low - before / most * high, x, y, pixel * 1.1f, COLOR_SKY);
        }
        before = ms;
    }
}

static void draw_bar(const struct paint *paint, struct rect rect, float share)
{
    const uint32_t part = share_of(share);
    fill_rect(paint, rect, COLOR_BORDER);
    rect.w = (int)((uint32_t)rect.w * part >> 8);
    rect.w = part != 0 && rect.w == 0 ? 1 : rect.w;
    fill_rect(paint, rect, share > 0.5f ? COLOR_ORANGE : COLOR_SKY);
}

static void row_first_line(const struct paint *paint, const struct layout *layout,
                           const struct columns *columns, const struct view_row *row, int y)
{
    const int x = layout->side.x + layout->pad;
    const struct glyphs *body = layout->body;
    const struct glyphs *small = layout->small;
    const bool dim = row->stricken > 0.0f;
    hud_mark(paint, row, (float)x + (float)body->advance * 0.7f,
             (float)y + (float)body->line * 0.5f, (float)body->line * 0.28f);
    text_draw(paint, body, x + columns->name, y, columns->state - columns->name - body->advance,
              dim ? COLOR_FAINT : COLOR_TEXT, row->name, sizeof row->name);
    text_put(paint, body, x + columns->state, y, columns->spark - columns->state,
             dim ? COLOR_FAINT : state_color(row), aee_state_name(row->state));
    const struct rect spark = {x + columns->spark, y + 2, columns->spark_end - columns->spark,
                               body->line - 4};
    draw_spark(paint, spark, row, layout->pixel);
    char last[16];
    char p99[16];
    char text[40];
    ms_text(last, sizeof last, row->last_ms);
    ms_text(p99, sizeof p99, row->p99_ms);
    snprintf(text, sizeof text, "%s/%s", last, p99);
    text_right(paint, small, x + columns->right, y + (body->line - small->line) / 2 + 1,
               dim ? COLOR_FAINT : COLOR_TEXT, text);
}

static void row_second_line(const struct paint *paint, const struct layout *layout,
                            const struct columns *columns, const struct view_row *row, int y)
{
    const int x = layout->side.x + layout->pad;
    const struct glyphs *small = layout->small;
    char text[40];
    text_put(paint, small, x + columns->kind, y, 9 * small->advance, COLOR_MUTED,
             aee_kind_name(row->kind));
    text_put(paint, small, x + columns->level, y, 9 * small->advance, COLOR_MUTED,
             aee_level_name(row->level));
    if (row->every != 1) {
        snprintf(text, sizeof text, row->every == 0 ? "-" : "1/%u", row->every);
        text_put(paint, small, x + columns->rate, y, 4 * small->advance,
                 row->every == 0 ? COLOR_MUTED : COLOR_YELLOW, text);
    }
    const struct rect bar = {x + columns->bar, y + small->line / 2 - small->line / 5,
                             columns->bar_end - columns->bar, 2 * (small->line / 5)};
    draw_bar(paint, bar, row->share);
    snprintf(text, sizeof text, "%u%%", share_of(row->share) * 100u >> 8);
    text_right(paint, small, x + columns->share_end, y, COLOR_MUTED, text);
    memory_text(text, sizeof text, row->memory_bytes);
    text_right(paint, small, x + columns->memory_end, y, COLOR_MUTED, text);
    snprintf(text, sizeof text, "%llu/%llu", (unsigned long long)row->crashes,
             (unsigned long long)row->restarts);
    text_right(paint, small, x + columns->crashes_end, y,
               row->crashes != 0 ? COLOR_ALARM : COLOR_MUTED, text);
    if (row->checkpoint_age_s >= 0.0f) {
        snprintf(text, sizeof text, row->checkpoint_age_s < 999.0f ? "%.1f s" : ">999 s",
                 (double)row->checkpoint_age_s);
    } else {
        snprintf(text, sizeof text, "none");
    }
    text_right(paint, small, x + columns->right, y, COLOR_MUTED, text);
}

/* How much of a scene's contexts is shown. */
enum detail { DETAIL_MARKS, DETAIL_LINE, DETAIL_ALL };

static int row_height(const struct layout *layout, const struct view_row *row, enum detail detail)
{
    const bool second = detail == DETAIL_ALL || row->stricken > 0.0f;
    return layout->body->line + (second ? layout->small->line + layout->pad / 3 : 0);
}

static int group_height(const struct layout *layout, const struct view *view, int scene,
                        enum detail detail)
{
    int height = layout->body->line + layout->pad;
    for (uint32_t i = 0; detail != DETAIL_MARKS && i < view->row_count && i < VIEW_ROWS; i++) {
        if (view->rows[i].scene == scene) {
            height += row_height(layout, &view->rows[i], detail);
        }
    }
    return height;
}

/* A scene's heading, with a mark for each context where those are not listed. */
static void draw_heading(const struct paint *paint, const struct layout *layout,
                         const struct view *view, int scene, enum detail detail, int y)
{
    const struct view_scene *shown = &view->scenes[scene];
    const struct glyphs *bold = layout->bold;
    const struct rect bar = {layout->side.x + 1, y, layout->side.w - 2, bold->line};
    const int x = layout->side.x + layout->pad;
    fill_rect(paint, bar, COLOR_RAISED);
    const int end =
        text_draw(paint, bold, x, y, bar.w / 2, shown->selected ? COLOR_SKY : COLOR_TEXT,
                  shown->name, sizeof shown->name);
    int count = 0;
    for (uint32_t i = 0; i < view->row_count && i < VIEW_ROWS; i++) {
        if (view->rows[i].scene == scene && detail == DETAIL_MARKS) {
            hud_mark(paint, &view->rows[i], (float)(end + (2 * count + 2) * bold->advance),
                     (float)y + (float)bold->line * 0.5f, (float)bold->line * 0.28f);
        }
        count += view->rows[i].scene == scene;
    }
    char text[40];
    snprintf(text, sizeof text, "%d context%s", count, count == 1 ? "" : "s");
    text_right(paint, layout->small, x + layout->side.w - 2 * layout->pad,
               y + (bold->line - layout->small->line) / 2 + 1, COLOR_MUTED, text);
}

static int draw_group(const struct paint *paint, const struct layout *layout,
                      const struct columns *columns, const struct view *view, int scene,
                      enum detail detail, int y)
{
    draw_heading(paint, layout, view, scene, detail, y);
    y += layout->body->line + layout->pad / 2;
    for (uint32_t i = 0; detail != DETAIL_MARKS && i < view->row_count && i < VIEW_ROWS; i++) {
        const struct view_row *row = &view->rows[i];
        if (row->scene != scene) {
            continue;
        }
        const int second = y + layout->body->line - layout->pad / 3;
        row_first_line(paint, layout, columns, row, y);
        if (row->stricken > 0.0f) {
            text_draw(paint, layout->small, layout->side.x + layout->pad + columns->kind, second,
                      columns->right - columns->kind, COLOR_ALARM, row->cause, sizeof row->cause);
        } else if (detail == DETAIL_ALL) {
            row_second_line(paint, layout, columns, row, second);
        }
        y += row_height(layout, row, detail);
    }
    return y + layout->pad / 2;
}

static void draw_table_head(const struct paint *paint, const struct layout *layout,
                            const struct columns *columns, int y)
{
    const struct glyphs *small = layout->small;
    const int x = layout->side.x + layout->pad;
    const int width = layout->side.w;
    const int second = y + small->line;
    text_put(paint, small, x + columns->name, y, width, COLOR_FAINT, "context");
    text_put(paint, small, x + columns->state, y, width, COLOR_FAINT, "state");
    text_put(paint, small, x + columns->spark, y, width, COLOR_FAINT, "calls");
    text_right(paint, small, x + columns->right, y, COLOR_FAINT, "last/p99 ms");
    text_put(paint, small, x + columns->kind, second, width, COLOR_FAINT, "kind");
    text_put(paint, small, x + columns->level, second, width, COLOR_FAINT, "level");
    text_put(paint, small, x + columns->rate, second, width, COLOR_FAINT, "rate");
    text_put(paint, small, x + columns->bar, second, width, COLOR_FAINT, "of frame");
    text_right(paint, small, x + columns->memory_end, second, COLOR_FAINT, "memory");
    text_right(paint, small, x + columns->crashes_end, second, COLOR_FAINT, "cr/rs");
    text_right(paint, small, x + columns->right, second, COLOR_FAINT, "ckpt");
}

/* The order of scenes: the selected one first. */
static uint32_t order_of(const struct view *view, int order[VIEW_SCENES])
{
    uint32_t count = 0;
    for (int pass = 1; pass >= 0; pass--) {
        for (int i = 0; i < VIEW_SCENES && (uint32_t)i < view->scene_count; i++) {
            if (view->scenes[i].selected == (pass == 1)) {
                order[count++] = i;
            }
        }
    }
    return count;
}

/* Scenes get more detail as long as there is room, the selected one first. */
static void draw_table(const struct paint *paint, const struct layout *layout,
                       const struct view *view, int y)
{
    const struct columns columns = columns_of(layout);
    int order[VIEW_SCENES];
    enum detail details[VIEW_SCENES];
    const uint32_t count = order_of(view, order);
    draw_table_head(paint, layout, &columns, y);
    y += 2 * layout->small->line + layout->pad / 2;
    int room = layout->side.y + layout->side.h - y;
    for (uint32_t i = 0; i < count; i++) {
        details[i] = DETAIL_MARKS;
        room -= group_height(layout, view, order[i], DETAIL_MARKS);
    }
    for (enum detail next = DETAIL_LINE; next <= DETAIL_ALL; next++) {
        for (uint32_t i = 0; i < count; i++) {
            const enum detail wanted = i == 0 && next == DETAIL_LINE ? DETAIL_ALL : next;
            const int more = group_height(layout, view, order[i], wanted) -
                             group_height(layout, view, order[i], details[i]);
            if (more <= room && wanted > details[i]) {
                details[i] = wanted;
                room -= more;
            }
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        y = draw_group(paint, layout, &columns, view, order[i], details[i], y);
    }
}

/* ---- The other panels ------------------------------------------------------------------------- */

static void panel(const struct paint *paint, const struct layout *layout, struct rect rect)
{
    fill_rect(paint, rect, COLOR_PANEL);
    frame_rect(paint, rect, (int)(layout->pixel + 0.5f), COLOR_BORDER);
}

static void draw_totals(const struct paint *paint, const struct layout *layout,
                        const struct view *view, int y)
{
    enum { TOTALS = 6 };
    static const char *const labels[TOTALS] = {"fps",     "frame",    "calls",
                                               "crashes", "restarts", "memory"};
    char values[TOTALS][32];
    snprintf(values[0], sizeof values[0], "%.1f", (double)view->fps);
    short_number(values[1], sizeof values[1], view->frame);
    short_number(values[2], sizeof values[2], view->calls);
    short_number(values[3], sizeof values[3], view->crashes);
    short_number(values[4], sizeof values[4], view->restarts);
    memory_text(values[5], sizeof values[5], view->memory_bytes);
    const int width = (layout->side.w - 2 * layout->pad) / TOTALS;
    for (int i = 0; i < TOTALS; i++) {
        const int x = layout->side.x + layout->pad + i * width;
        text_put(paint, layout->small, x, y, width, COLOR_MUTED, labels[i]);
        text_put(paint, layout->bold, x, y + layout->small->line, width,
                 i == 3 && view->crashes != 0 ? COLOR_ALARM : COLOR_TEXT, values[i]);
    }
}

void hud_side(const struct paint *paint, const struct layout *layout, const struct view *view)
{
    const struct rect side = layout->side;
    const struct paint inside = paint_within(paint, side);
    const int x = side.x + layout->pad;
    int y = side.y + layout->pad / 2;
    panel(paint, layout, side);
    const int end =
        text_put(&inside, layout->title, x, y, side.w, COLOR_SKY, "AEE Virt") + layout->pad * 2;
    char text[96];
    int used = snprintf(text, sizeof text, "level %s  seed %llu", aee_level_name(view->level),
                        (unsigned long long)view->seed);
    if (view->slow_down > 1 && used > 0 && (size_t)used < sizeof text) {
        snprintf(text + used, sizeof text - (size_t)used, "  slowed 1/%u", view->slow_down);
    }
    text_put(&inside, layout->small, end, y + layout->title->line - layout->small->line * 5 / 4,
             side.x + side.w - layout->pad - end, view->slow_down > 1 ? COLOR_YELLOW : COLOR_MUTED,
             text);
    y += layout->title->line;
    draw_totals(&inside, layout, view, y);
    y += layout->small->line + layout->bold->line + layout->pad;
    draw_table(&inside, layout, view, y);
}

void hud_graph(const struct paint *paint, const struct layout *layout, const struct view *view)
{
    const struct rect graph = layout->graph;
    const struct glyphs *small = layout->small;
    const struct paint inside = paint_within(paint, rect_inset(graph, 1));
    char text[64];
    panel(paint, layout, graph);
    const int y = graph.y + layout->pad / 2;
    text_put(&inside, layout->bold, graph.x + layout->pad, y, graph.w, COLOR_TEXT, "Frame time");
    snprintf(text, sizeof text, "late %llu", (unsigned long long)view->late);
    text_right(&inside, layout->body, graph.x + graph.w - layout->pad, y,
               view->late != 0 ? COLOR_ALARM : COLOR_MUTED, text);
    ms_text(text, sizeof text, view->frame_ms[VIEW_FRAMES - 1]);
    const int middle = graph.x + layout->pad + 11 * layout->bold->advance;
    text_put(&inside, layout->body, middle, y, graph.w, COLOR_MUTED, strcat(text, " ms"));

    const struct rect plot = {graph.x + layout->pad, y + layout->body->line + layout->pad / 2,
                              graph.w - 2 * layout->pad,
                              graph.h - layout->body->line - 2 * layout->pad};
    const float budget = view->budget_ms > 0.0f ? view->budget_ms : 1.0f;
    const float tick = 4.0f * layout->pixel;
    for (int i = 0; i < VIEW_FRAMES; i++) {
        const float part = fminf(fmaxf(view->frame_ms[i] / (2.0f * budget), 0.0f), 1.0f);
        const int left = plot.x + plot.w * i / VIEW_FRAMES;
        const int right = plot.x + plot.w * (i + 1) / VIEW_FRAMES;
        const int height = (int)(part * ((float)plot.h - tick * 1.5f) + 0.5f);
        const struct rect bar = {left, plot.y + plot.h - height, right > left ? right - left : 1,
                                 height};
        fill_rect(&inside, bar,
                  view->frame_late[i] ? COLOR_VERMILLION : mix(COLOR_PANEL, COLOR_SKY, 150));
        if (view->frame_late[i]) {
            const float x = (float)left + 0.5f;
            draw_line(&inside, x, (float)plot.y, x, (float)plot.y + tick, 1.5f * layout->pixel,
                      COLOR_ALARM);
        }
    }
    const int line = plot.y + plot.h - (int)(0.5f * ((float)plot.h - tick * 1.5f) + 0.5f);
    const int thin = (int)(layout->pixel + 0.5f);
    fill_rect(&inside, (struct rect){plot.x, line, plot.w, thin}, COLOR_YELLOW);
    snprintf(text, sizeof text, "%.2f ms", (double)budget);
    text_put(&inside, small, plot.x, line - small->line, plot.w, COLOR_YELLOW, text);
}

/* The newest at the bottom, as many as fit; those that are too long have a second line. */
void hud_events(const struct paint *paint, const struct layout *layout, const struct view *view)
{
    const struct rect box = layout->events;
    const struct glyphs *small = layout->small;
    const struct paint inside = paint_within(paint, rect_inset(box, 1));
    const int top = box.y + layout->body->line + layout->pad;
    const int indent = 10 * small->advance;
    const int x = box.x + layout->pad;
    const int width = box.w - 2 * layout->pad - indent;
    panel(paint, layout, box);
    text_put(&inside, layout->bold, x, box.y + layout->pad / 2, box.w, COLOR_TEXT, "Events");
    int y = box.y + box.h - layout->pad / 2;
    for (uint32_t i = view->event_count < VIEW_EVENTS ? view->event_count : VIEW_EVENTS; i > 0;
         i--) {
        const struct view_event *event = &view->events[i - 1u];
        char words[VIEW_TEXT + 1];
        char at[32];
        size_t second;
        snprintf(words, sizeof words, "%.*s", VIEW_TEXT, event->text);
        const size_t first = text_wrap(words, (size_t)(width / small->advance), &second);
        const int lines = words[second] != '\0' ? 2 : 1;
        y -= lines * small->line;
        if (y < top) {
            break;
        }
        const uint32_t color = event->bad ? COLOR_ALARM : COLOR_TEXT;
        const struct view_row mark = {.state = AEE_STATE_READY,
                                      .stricken = event->bad ? 1.0f : 0.0f};
        snprintf(at, sizeof at, "%7.2f", event->at_s);
        text_put(&inside, small, x, y, indent, COLOR_MUTED, at);
        hud_mark(&inside, &mark, (float)x + 8.5f * (float)small->advance,
                 (float)y + (float)small->line * 0.5f, (float)small->line * 0.26f);
        text_draw(&inside, small, x + indent, y, width, color, words, first);
        if (lines == 2) {
            text_put(&inside, small, x + indent, y + small->line, width, color, words + second);
        }
    }
}

static void draw_key(const struct paint *paint, const struct layout *layout, int x, int y,
                     int width, const char *key, bool hot)
{
    const struct rect cap = {x, y, width, layout->small->line + 2};
    fill_rect(paint, cap, hot ? COLOR_BACK : COLOR_BORDER);
    text_put(paint, layout->small, x + (width - text_width(layout->small, key)) / 2, y + 1, width,
             COLOR_YELLOW, key);
}

void hud_buttons(const struct paint *paint, const struct layout *layout, const struct view *view)
{
    for (int action = 0; action < ACTIONS; action++) {
        const struct rect button = layout_button(layout, action);
        const struct paint inside = paint_within(paint, button);
        const bool hot = view->hot == action;
        const char *key = buttons[action].key;
        const int cap = text_width(layout->small, key) + layout->pad + 2;
        fill_rect(paint, button, hot ? COLOR_SKY : COLOR_RAISED);
        frame_rect(paint, button, (int)(layout->pixel + 0.5f), hot ? 0xffffff : COLOR_BORDER);
        draw_key(&inside, layout, button.x + layout->pad,
                 button.y + (button.h - layout->small->line - 2) / 2, cap, key, hot);
        text_put(&inside, layout->body, button.x + 2 * layout->pad + cap,
                 button.y + (button.h - layout->body->line) / 2, button.w - 2 * layout->pad - cap,
                 hot ? COLOR_BACK : COLOR_TEXT, buttons[action].text);
    }
}

void hud_help(const struct paint *paint, const struct layout *layout)
{
    const struct glyphs *body = layout->body;
    const int step = body->line + layout->pad;
    struct rect box = layout->scenes;
    const int height = step * (ACTIONS + 2) + layout->title->line;
    box.y += box.h > height ? (box.h - height) / 2 : 0;
    box.h = box.h > height ? height : box.h;
    const struct paint inside = paint_within(paint, box);
    blend_rect(&inside, box, COLOR_BACK, 240);
    frame_rect(&inside, box, (int)(2.0f * layout->pixel + 0.5f), COLOR_SKY);
    const int x = box.x + 3 * layout->pad;
    int y = box.y + layout->pad;
    text_put(&inside, layout->title, x, y, box.w, COLOR_TEXT, "Keys");
    y += layout->title->line + layout->pad;
    for (int action = 0; action < ACTIONS; action++, y += step) {
        const int key = 8 * layout->small->advance;
        const int name = x + key + 2 * layout->pad;
        const int what = name + 17 * body->advance;
        draw_key(&inside, layout, x, y, key, buttons[action].key, false);
        text_put(&inside, layout->bold, name, y, what - name, COLOR_TEXT, buttons[action].text);
        text_put(&inside, layout->small, what, y + (body->line - layout->small->line) / 2 + 1,
                 box.x + box.w - layout->pad - what, COLOR_MUTED, sentences[action]);
    }
}
