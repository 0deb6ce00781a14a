/* paint.c: shapes on a picture. Every one of them is cut to the clip before a float becomes an
 * integer: coordinates may come from components. */
#include <math.h>

#include "paint.h"

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

struct rect rect_inset(struct rect rect, int by)
{
    return (struct rect){rect.x + by, rect.y + by, rect.w - 2 * by, rect.h - 2 * by};
}

bool rect_holds(struct rect rect, int x, int y)
{
    return x >= rect.x && x < rect.x + rect.w && y >= rect.y && y < rect.y + rect.h;
}

static struct rect common_part(struct rect a, struct rect b)
{
    const int x = most(a.x, b.x);
    const int y = most(a.y, b.y);
    const int right = least(a.x + a.w, b.x + b.w);
    const int bottom = least(a.y + a.h, b.y + b.h);
    return (struct rect){x, y, most(right - x, 0), most(bottom - y, 0)};
}

struct paint paint_on(const struct picture *picture)
{
    return (struct paint){picture, {0, 0, picture->width, picture->height}};
}

struct paint paint_within(const struct paint *paint, struct rect rect)
{
    return (struct paint){paint->picture, common_part(paint->clip, rect)};
}

uint32_t share_of(float value)
{
    return !(value > 0.0f) ? 0u : value >= 1.0f ? 256u : (uint32_t)(value * 256.0f);
}

uint32_t dimmed(uint32_t color, uint32_t by)
{
    const uint32_t red = color >> 16 & 255u;
    const uint32_t green = color >> 8 & 255u;
    const uint32_t light = (77u * red + 150u * green + 29u * (color & 255u)) >> 10;
    return mix(color, light * 0x10101u, by);
}

static uint32_t *row_at(const struct paint *paint, int y)
{
    return paint->picture->pixels + (size_t)y * (size_t)paint->picture->width;
}

void fill_rect(const struct paint *paint, struct rect rect, uint32_t color)
{
    const struct rect part = common_part(paint->clip, rect);
    for (int y = part.y; y < part.y + part.h; y++) {
        uint32_t *row = row_at(paint, y);
        for (int x = part.x; x < part.x + part.w; x++) {
            row[x] = 0xff000000u | color;
        }
    }
}

void blend_rect(const struct paint *paint, struct rect rect, uint32_t color, uint32_t share)
{
    const struct rect part = common_part(paint->clip, rect);
    for (int y = part.y; y < part.y + part.h; y++) {
        uint32_t *row = row_at(paint, y);
        for (int x = part.x; x < part.x + part.w; x++) {
            row[x] = 0xff000000u | mix(row[x], color, share);
        }
    }
}

void frame_rect(const struct paint *paint, struct rect rect, int width, uint32_t color)
{
    fill_rect(paint, (struct rect){rect.x, rect.y, rect.w, width}, color);
    fill_rect(paint, (struct rect){rect.x, rect.y + rect.h - width, rect.w, width}, color);
    fill_rect(paint, (struct rect){rect.x, rect.y, width, rect.h}, color);
    fill_rect(paint, (struct rect){rect.x + rect.w - width, rect.y, width, rect.h}, color);
}

static int to_int(float value, int low, int high)
{
    return !(value > (float)low) ? low : value >= (float)high ? high : (int)value;
}

/* Pixels of the clip that a shape between these corners may touch. */
static struct rect touched(const struct paint *paint, float x0, float y0, float x1, float y1)
{
    const struct rect clip = paint->clip;
    const int left = to_int(floorf(x0), clip.x, clip.x + clip.w);
    const int top = to_int(floorf(y0), clip.y, clip.y + clip.h);
    const int right = to_int(ceilf(x1) + 1.0f, clip.x, clip.x + clip.w);
    const int bottom = to_int(ceilf(y1) + 1.0f, clip.y, clip.y + clip.h);
    return (struct rect){left, top, most(right - left, 0), most(bottom - top, 0)};
}

static void blend_pixel(uint32_t *pixel, uint32_t color, float cover, uint32_t share)
{
    const uint32_t part = share_of(cover) * share >> 8;
    if (part != 0) {
        *pixel = 0xff000000u | mix(*pixel, color, part);
    }
}

void draw_line(const struct paint *paint, float x0, float y0, float x1, float y1, float width,
               uint32_t color)
{
    const float reach = width / 2.0f + 0.5f;
    const struct rect part = touched(paint, fminf(x0, x1) - reach, fminf(y0, y1) - reach,
                                     fmaxf(x0, x1) + reach, fmaxf(y0, y1) + reach);
    const float dx = x1 - x0;
    const float dy = y1 - y0;
    const float square = dx * dx + dy * dy;
    const float scale = square > 0.0f ? 1.0f / square : 0.0f;
    for (int y = part.y; y < part.y + part.h; y++) {
        uint32_t *row = row_at(paint, y);
        for (int x = part.x; x < part.x + part.w; x++) {
            const float px = (float)x + 0.5f - x0;
            const float py = (float)y + 0.5f - y0;
            const float along = fminf(fmaxf((px * dx + py * dy) * scale, 0.0f), 1.0f);
            const float off_x = px - along * dx;
            const float off_y = py - along * dy;
            const float far = off_x * off_x + off_y * off_y;
            if (far < reach * reach) {
                blend_pixel(&row[x], color, reach - sqrtf(far), 256);
            }
        }
    }
}

/* Covers what is between two circles. */
static void draw_band(const struct paint *paint, float x, float y, float inner, float outer,
                      uint32_t color, uint32_t share)
{
    const float reach = outer + 0.5f;
    const struct rect part = touched(paint, x - reach, y - reach, x + reach, y + reach);
    for (int py = part.y; py < part.y + part.h; py++) {
        uint32_t *row = row_at(paint, py);
        const float dy = (float)py + 0.5f - y;
        for (int px = part.x; px < part.x + part.w; px++) {
            const float dx = (float)px + 0.5f - x;
            const float square = dx * dx + dy * dy;
            if (square < reach * reach) {
                const float far = sqrtf(square);
                blend_pixel(&row[px], color, fminf(reach - far, far - inner + 0.5f), share);
            }
        }
    }
}

void draw_disc(const struct paint *paint, float x, float y, float radius, uint32_t color,
               uint32_t share)
{
    draw_band(paint, x, y, -1.0f, radius, color, share);
}

void draw_ring(const struct paint *paint, float x, float y, float radius, float width,
               uint32_t color)
{
    draw_band(paint, x, y, radius - width, radius, color, 256);
}
