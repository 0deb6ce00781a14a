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

/* At most "99,999", "9.99 M", "999 M", "12.3 G" */
static void short_number(char *text, size_t size, uint64_t number)
{
    if (number < 100000u) {
        hud_number(text, size, number);
    } else if (number < 999500000u) {
        snprintf(text, size, "%.*f M", number < 99950000u ? 2 - (number >= 9995000u) : 0,
                 (double)number / 1e6);
    } else {
        snprintf(text, size, "%.1f G", (double)number / 1e9);
    }
}

void hud_memory(char *text, size_t size, uint64_t bytes)
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

/* A time in milliseconds, in five characters at most. */
void hud_ms(char *text, size_t size, float ms)
{
    if (!(ms >= 0.0f)) {
        snprintf(text, size, "-");
    } else if (ms < 0.0995f) {
        snprintf(text, size, "%.3f", (double)ms);
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
    hud_memory(values[5], sizeof values[5], view->memory_bytes);
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
    snprintf(text, sizeof text, "level %s  seed %llu", aee_level_name(view->level),
             (unsigned long long)view->seed);
    const int low = y + layout->title->ascent - layout->small->ascent;
    text_put(&inside, layout->small, end, low, side.x + side.w - end, COLOR_MUTED, text);
    text[0] = '\0';
    if (view->slow_down > 1) {
        snprintf(text, sizeof text, "slowed 1/%u", view->slow_down);
    }
    text_right(&inside, layout->small, side.x + side.w - layout->pad, low, COLOR_YELLOW,
               view->frozen ? "frozen" : text);
    y += layout->title->line;
    draw_totals(&inside, layout, view, y);
    y += layout->small->line + layout->bold->line + layout->pad;
    table_draw(&inside, layout, view, y);
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
    hud_ms(text, sizeof text, view->frame_ms[VIEW_FRAMES - 1]);
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
    const struct rect plate = {plot.x, line - small->line, text_width(small, text) + layout->pad,
                               small->line};
    fill_rect(&inside, plate, COLOR_PANEL);
    text_put(&inside, small, plot.x, plate.y, plot.w, COLOR_YELLOW, text);
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
    const struct rect box = layout->scenes;
    const struct paint inside = paint_within(paint, box);
    blend_rect(&inside, box, COLOR_BACK, 246);
    frame_rect(&inside, box, (int)(2.0f * layout->pixel + 0.5f), COLOR_SKY);
    const int x = box.x + 3 * layout->pad;
    int y = box.y + layout->pad;
    text_put(&inside, layout->title, x, y, box.w, COLOR_TEXT, "Keys");
    y += layout->title->line + layout->pad;
    const int step = (box.y + box.h - layout->pad - y) / ACTIONS;
    for (int action = 0; action < ACTIONS; action++, y += step) {
        const int key = 8 * layout->small->advance;
        const int name = x + key + 2 * layout->pad;
        const int what = name + 17 * body->advance;
        draw_key(&inside, layout, x, y, key, buttons[action].key, false);
        text_put(&inside, layout->bold, name, y, what - name, COLOR_TEXT, buttons[action].text);
        text_put(&inside, layout->small, what, y + layout->sink, box.x + box.w - layout->pad - what,
                 COLOR_MUTED, sentences[action]);
    }
}
