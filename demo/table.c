/* table.c: the table of contexts: as many scenes and lines as there is room for. */
#include <stdio.h>

#include "paint.h"

/* ---- Rows ------------------------------------------------------------------------------------- */

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
    columns.crashes_end = right - 7 * small;
    columns.memory_end = columns.crashes_end - 6 * small;
    columns.share_end = columns.memory_end - 8 * small;
    columns.bar = columns.rate + 5 * small;
    columns.bar_end = columns.share_end - 5 * small;
    columns.spark_end = right - 12 * small;
    columns.spark = columns.spark_end - 11 * big;
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
    if (rect.w <= 0) {
        return;
    }
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
    hud_ms(last, sizeof last, row->last_ms);
    hud_ms(p99, sizeof p99, row->p99_ms);
    snprintf(text, sizeof text, "%s/%s", last, p99);
    text_right(paint, small, x + columns->right, y + layout->sink, dim ? COLOR_FAINT : COLOR_TEXT,
               text);
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
    hud_memory(text, sizeof text, row->memory_bytes);
    text_right(paint, small, x + columns->memory_end, y, COLOR_MUTED, text);
    snprintf(text, sizeof text, "%llu/%llu", (unsigned long long)row->crashes,
             (unsigned long long)row->restarts);
    text_right(paint, small, x + columns->crashes_end, y,
               row->crashes != 0 ? COLOR_ALARM : COLOR_MUTED, text);
    if (row->checkpoint_age_s >= 0.0f) {
        snprintf(text, sizeof text, row->checkpoint_age_s < 999.0f ? "%.1f s" : "old",
                 (double)row->checkpoint_age_s);
    } else {
        snprintf(text, sizeof text, "none");
    }
    text_right(paint, small, x + columns->right, y, COLOR_MUTED, text);
}

/* How much of a scene's contexts is shown. */
enum detail { DETAIL_MARKS, DETAIL_LINE, DETAIL_ALL };

/* Does not depend on who is stricken: nothing is to move when somebody crashes. */
static int row_height(const struct layout *layout, enum detail detail)
{
    return layout->body->line + (detail == DETAIL_ALL ? layout->small->line - 1 : 0);
}

static int rows_of(const struct view *view, int scene)
{
    int count = 0;
    for (uint32_t i = 0; i < view->row_count && i < VIEW_ROWS; i++) {
        count += view->rows[i].scene == scene;
    }
    return count;
}

static int group_height(const struct layout *layout, const struct view *view, int scene,
                        enum detail detail)
{
    /* One cause may be told among rows of one line. */
    const int more = detail == DETAIL_LINE ? layout->small->line : 0;
    const int rows = detail == DETAIL_MARKS ? 0 : rows_of(view, scene);
    return layout->body->line + layout->pad + rows * row_height(layout, detail) + more;
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
    uint64_t used = 0;
    uint64_t limit = 0;
    for (uint32_t i = 0; i < view->row_count && i < VIEW_ROWS; i++) {
        const struct view_row *row = &view->rows[i];
        if (row->scene != scene) {
            continue;
        }
        if (detail == DETAIL_MARKS) {
            hud_mark(paint, row, (float)(end + (2 * count + 2) * bold->advance),
                     (float)y + (float)bold->line * 0.5f, (float)bold->line * 0.28f);
        }
        count++;
        used += row->memory_bytes;
        limit += row->memory_limit;
    }
    char text[96];
    char sizes[2][16];
    hud_memory(sizes[0], sizeof sizes[0], used);
    hud_memory(sizes[1], sizeof sizes[1], limit);
    snprintf(text, sizeof text, "%d context%s, %s of %s", count, count == 1 ? "" : "s", sizes[0],
             sizes[1]);
    text_right(paint, layout->small, x + layout->side.w - 2 * layout->pad, y + layout->sink,
               COLOR_MUTED, text);
}

/* Returns the height that it took. */
static int draw_row(const struct paint *paint, const struct layout *layout,
                    const struct columns *columns, const struct view_row *row, enum detail detail,
                    struct rect place, bool stripe)
{
    const int spare = place.h - row_height(layout, detail);
    const int y = place.y + spare / 2;
    const int second = y + layout->body->line - 1;
    const bool stricken = row->stricken > 0.0f;
    place.h += stricken && detail == DETAIL_LINE ? layout->small->line - 1 : 0;
    if (stripe) {
        fill_rect(paint, place, COLOR_STRIPE);
    }
    row_first_line(paint, layout, columns, row, y);
    if (stricken) {
        text_draw(paint, layout->small, layout->side.x + layout->pad + columns->kind, second,
                  columns->right - columns->kind, COLOR_ALARM, row->cause, sizeof row->cause);
    } else if (detail == DETAIL_ALL) {
        row_second_line(paint, layout, columns, row, second);
    }
    return place.h;
}

static int draw_group(const struct paint *paint, const struct layout *layout,
                      const struct columns *columns, const struct view *view, int scene,
                      enum detail detail, int spare, int y)
{
    draw_heading(paint, layout, view, scene, detail, y);
    y += layout->bold->line + layout->pad / 2;
    bool stripe = false;
    for (uint32_t i = 0; detail != DETAIL_MARKS && i < view->row_count && i < VIEW_ROWS; i++) {
        if (view->rows[i].scene == scene) {
            const struct rect place = {layout->side.x + 1, y, layout->side.w - 2,
                                       row_height(layout, detail) + spare};
            y += draw_row(paint, layout, columns, &view->rows[i], detail, place, stripe);
            stripe = !stripe;
        }
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
    text_put(paint, small, x + columns->name, y, width, COLOR_MUTED, "context");
    text_put(paint, small, x + columns->state, y, width, COLOR_MUTED, "state");
    text_put(paint, small, x + columns->spark, y, width, COLOR_MUTED, "calls");
    text_right(paint, small, x + columns->right, y, COLOR_MUTED, "last/p99 ms");
    text_put(paint, small, x + columns->kind, second, width, COLOR_MUTED, "kind");
    text_put(paint, small, x + columns->level, second, width, COLOR_MUTED, "level");
    text_put(paint, small, x + columns->rate, second, width, COLOR_MUTED, "rate");
    text_put(paint, small, x + columns->bar, second, width, COLOR_MUTED, "frame share");
    text_right(paint, small, x + columns->memory_end, second, COLOR_MUTED, "memory");
    text_right(paint, small, x + columns->crashes_end, second, COLOR_MUTED, "cr/rs");
    text_right(paint, small, x + columns->right, second, COLOR_MUTED, "ckpt");
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
void table_draw(const struct paint *paint, const struct layout *layout, const struct view *view,
                int y)
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
            if (more > room) {
                break;
            }
            details[i] = wanted > details[i] ? wanted : details[i];
            room -= more > 0 ? more : 0;
        }
    }
    int rows = 0;
    for (uint32_t i = 0; i < count; i++) {
        rows += details[i] != DETAIL_MARKS ? rows_of(view, order[i]) : 0;
    }
    int spare = rows > 0 && room > 0 ? room / rows : 0;
    spare = spare < layout->body->line / 2 ? spare : layout->body->line / 2;
    for (uint32_t i = 0; i < count; i++) {
        y = draw_group(paint, layout, &columns, view, order[i], details[i], spare, y);
    }
}
