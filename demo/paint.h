/* paint.h: what the drawing of the demo shares: shapes on a picture within a clip, text, layout. */
#ifndef AEE_DEMO_PAINT_H
#define AEE_DEMO_PAINT_H

#include "view.h"

struct rect {
    int x, y, w, h;
};

/* Where to draw: nothing is written outside of the clip, which lies inside of the picture. */
struct paint {
    const struct picture *picture;
    struct rect clip;
};

/* Colours 0xRRGGBB: a dark theme, and the palette of Okabe and Ito for what has a meaning, which
 * people with any kind of colour vision can tell apart. A shape or a word always says it, too. */
enum {
    COLOR_BACK = 0x0d1015,
    COLOR_PANEL = 0x151a21,
    COLOR_STRIPE = 0x191f27,
    COLOR_RAISED = 0x242c37,
    COLOR_BORDER = 0x323b48,
    COLOR_TEXT = 0xe3e8ee,
    COLOR_MUTED = 0x98a3b1,
    COLOR_FAINT = 0x6b7787,
    COLOR_ORANGE = 0xe69f00,
    COLOR_SKY = 0x56b4e9,
    COLOR_GREEN = 0x009e73,
    COLOR_YELLOW = 0xf0e442,
    COLOR_VERMILLION = 0xd55e00,
    COLOR_PURPLE = 0xcc79a7,
    COLOR_ALARM = 0xff9a4d, /* vermillion, bright enough for text */
};

/* ---- paint.c ---------------------------------------------------------------------------------- */

struct rect rect_inset(struct rect rect, int by);
bool rect_holds(struct rect rect, int x, int y);
/* The part of the clip (or of the whole picture) that lies within a rectangle. */
struct paint paint_on(const struct picture *picture);
struct paint paint_within(const struct paint *paint, struct rect rect);

/* Mixes two colours; share is that of b, from 0 to 256. */
static inline uint32_t mix(uint32_t a, uint32_t b, uint32_t share)
{
    const uint32_t rest = 256u - share;
    const uint32_t red_blue = ((a & 0xff00ffu) * rest + (b & 0xff00ffu) * share) >> 8;
    const uint32_t green = ((a & 0xff00u) * rest + (b & 0xff00u) * share) >> 8;
    return (red_blue & 0xff00ffu) | (green & 0xff00u);
}

/* A share of 0 to 256 of a number from 0 to 1; any bits are taken. */
uint32_t share_of(float value);
/* What is left of a colour that is dimmed by 0 to 256: a quarter of its light, without its hue. */
uint32_t dimmed(uint32_t color, uint32_t by);

void fill_rect(const struct paint *paint, struct rect rect, uint32_t color);
void blend_rect(const struct paint *paint, struct rect rect, uint32_t color, uint32_t share);
void frame_rect(const struct paint *paint, struct rect rect, int width, uint32_t color);
/* Smooth edges; any floats are taken. */
void draw_line(const struct paint *paint, float x0, float y0, float x1, float y1, float width,
               uint32_t color);
void draw_disc(const struct paint *paint, float x, float y, float radius, uint32_t color,
               uint32_t share);
void draw_ring(const struct paint *paint, float x, float y, float radius, float width,
               uint32_t color);

/* ---- text.c ----------------------------------------------------------------------------------- */

enum { GLYPH_FIRST = 32, GLYPH_ELLIPSIS = 127, GLYPHS = 96 };

/* The characters of one size, each a cell of advance x line bytes, 0 to 255. */
struct glyphs {
    int size;
    bool bold;
    int advance;
    int line;
    int ascent;     /* from the top of a cell to its base line */
    uint8_t *alpha; /* NULL: there is no memory, and the text is not drawn */
};

/* Made at the first use; kept while the 15 that were asked for after it are. */
const struct glyphs *text_glyphs(int size, bool bold);

/* Draws at most `size` bytes up to a 0, cut with an ellipsis to `width` pixels. Returns where it
 * ends. Bytes that are not printable ASCII become '?'. */
int text_draw(const struct paint *paint, const struct glyphs *glyphs, int x, int y, int width,
              uint32_t color, const char *words, size_t size);
/* The same for a string; and one that ends at `right`. */
int text_put(const struct paint *paint, const struct glyphs *glyphs, int x, int y, int width,
             uint32_t color, const char *words);
void text_right(const struct paint *paint, const struct glyphs *glyphs, int right, int y,
                uint32_t color, const char *words);
int text_width(const struct glyphs *glyphs, const char *words);
/* Bytes of the first line of a text that is wrapped at spaces; *next is where the second starts. */
size_t text_wrap(const char *words, size_t columns, size_t *next);

/* ---- draw.c: layout --------------------------------------------------------------------------- */

struct layout {
    const struct glyphs *small;
    const struct glyphs *body;
    const struct glyphs *bold;
    const struct glyphs *title;
    int gap;     /* between panels */
    int pad;     /* within them */
    float pixel; /* a thin line: 1 at 720 rows */
    int sink;    /* of small text beside a body text, so that both are on one base line */
    struct rect scenes;
    struct rect graph;
    struct rect events;
    struct rect side;
    struct rect buttons;
    int tile_columns;
    int tile_rows;
};

void layout_of(const struct picture *picture, uint32_t scene_count, struct layout *layout);
/* A scene with its title; and the square in it that shows the world. */
struct rect layout_tile(const struct layout *layout, uint32_t scene);
struct rect layout_square(const struct layout *layout, uint32_t scene);
struct rect layout_button(const struct layout *layout, int action);

/* ---- hud.c ------------------------------------------------------------------------------------ */

void hud_side(const struct paint *paint, const struct layout *layout, const struct view *view);
void hud_graph(const struct paint *paint, const struct layout *layout, const struct view *view);
void hud_events(const struct paint *paint, const struct layout *layout, const struct view *view);
void hud_buttons(const struct paint *paint, const struct layout *layout, const struct view *view);
void hud_help(const struct paint *paint, const struct layout *layout);
/* The shape that stands for a context's state, around (x, y). */
void hud_mark(const struct paint *paint, const struct view_row *row, float x, float y,
              float radius);
/* "12,345"; "12.3 MB"; "1.23" */
const char *hud_number(char *text, size_t size, uint64_t number);
void hud_memory(char *text, size_t size, uint64_t bytes);
void hud_ms(char *text, size_t size, float ms);

/* ---- table.c ---------------------------------------------------------------------------------- */

/* The contexts, from y down to the lower end of the side. */
void table_draw(const struct paint *paint, const struct layout *layout, const struct view *view,
                int y);

#endif
