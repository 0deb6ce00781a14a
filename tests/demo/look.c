/* look.c: see the header. Words are found by correlation with the characters that are drawn: it is
 * 1 for the same shapes in whatever colours, and less over a background that is not of one colour.
 */
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "look.h"

/* What the function leaves unexplained of a character, at most: 'e' for 'o' is 0.3, and a plate
 * that lets the scene shine through 0.02. */
#define UNLIKE 0.12

enum { PROBES = 6, CONTRAST = 10, CHARACTERS = 128 };

const char *look_load(const char *path, struct picture *picture)
{
    static char sentence[512];
    png_image image = {.version = PNG_IMAGE_VERSION};
    *picture = (struct picture){0, 0, NULL};
    if (png_image_begin_read_from_file(&image, path) != 0) {
        image.format = PNG_FORMAT_BGRA; /* 0xAARRGGBB on a little-endian machine */
        picture->pixels = malloc(PNG_IMAGE_SIZE(image));
        if (picture->pixels != NULL &&
            png_image_finish_read(&image, NULL, picture->pixels, 0, NULL) != 0) {
            picture->width = (int)image.width;
            picture->height = (int)image.height;
            return NULL;
        }
    }
    free(picture->pixels);
    png_image_free(&image);
    picture->pixels = NULL;
    snprintf(sentence, sizeof sentence, "%s: %s", path, image.message);
    return sentence;
}

static int light_of(uint32_t pixel)
{
    return (int)((pixel >> 16 & 255u) + (pixel >> 8 & 255u) + (pixel & 255u));
}

double look_light(const struct picture *picture, struct rect part)
{
    double sum = 0;
    for (int y = part.y; y < part.y + part.h; y++) {
        for (int x = part.x; x < part.x + part.w; x++) {
            sum += light_of(picture->pixels[(size_t)y * (size_t)picture->width + (size_t)x]);
        }
    }
    return sum / 3.0 / part.w / part.h;
}

/* Words as they are drawn in white on black, cut to their ink. */
struct stencil {
    uint8_t *ink;
    int w, h;
    int left; /* columns that were cut */
    int advance;
    double mean, square; /* of the ink, and the sum of squares about it */
    int bright[PROBES];  /* places with much ink, and without */
    int dark[PROBES];
};

static bool has_ink(const struct picture *drawn, struct rect part)
{
    return look_light(drawn, part) > 0.0;
}

static struct rect ink_of(const struct picture *drawn)
{
    struct rect box = {0, 0, drawn->width, drawn->height};
    while (box.h > 0 && !has_ink(drawn, (struct rect){0, box.y, box.w, 1})) {
        box.y++;
        box.h--;
    }
    while (box.h > 0 && !has_ink(drawn, (struct rect){0, box.y + box.h - 1, box.w, 1})) {
        box.h--;
    }
    while (box.w > 0 && box.h > 0 && !has_ink(drawn, (struct rect){box.x, box.y, 1, box.h})) {
        box.x++;
        box.w--;
    }
    while (box.w > 0 && box.h > 0 &&
           !has_ink(drawn, (struct rect){box.x + box.w - 1, box.y, 1, box.h})) {
        box.w--;
    }
    return box;
}

/* The probes: spread over the words. */
static void choose_probes(struct stencil *stencil)
{
    const int count = stencil->w * stencil->h;
    for (int i = 0; i < PROBES; i++) {
        int bright = count * i / PROBES;
        int dark = bright;
        for (int k = 0; k < count; k++) {
            const int at = (count * i / PROBES + k) % count;
            bright = stencil->ink[at] > stencil->ink[bright] ? at : bright;
            dark = stencil->ink[at] < stencil->ink[dark] ? at : dark;
        }
        stencil->bright[i] = bright;
        stencil->dark[i] = dark;
    }
}

static bool stencil_make(const struct glyphs *glyphs, const char *words, struct stencil *stencil)
{
    struct picture drawn = {text_width(glyphs, words), glyphs->line, NULL};
    *stencil = (struct stencil){.advance = glyphs->advance};
    drawn.pixels = calloc((size_t)drawn.width * (size_t)drawn.height + 1u, sizeof *drawn.pixels);
    if (drawn.pixels == NULL) {
        return false;
    }
    const struct paint paint = paint_on(&drawn);
    text_put(&paint, glyphs, 0, 0, drawn.width, 0xffffff, words);
    const struct rect box = ink_of(&drawn);
    stencil->w = box.w;
    stencil->h = box.h;
    stencil->left = box.x;
    stencil->ink = box.w > 0 && box.h > 0 ? malloc((size_t)(box.w * box.h)) : NULL;
    double sum = 0;
    double squares = 0;
    for (int i = 0; stencil->ink != NULL && i < box.w * box.h; i++) {
        const int at = (box.y + i / box.w) * drawn.width + box.x + i % box.w;
        stencil->ink[i] = (uint8_t)(drawn.pixels[at] & 255u);
        sum += stencil->ink[i];
        squares += (double)stencil->ink[i] * stencil->ink[i];
    }
    free(drawn.pixels);
    if (stencil->ink == NULL) {
        return false;
    }
    stencil->mean = sum / (box.w * box.h);
    stencil->square = squares - sum * stencil->mean;
    choose_probes(stencil);
    return true;
}

static bool may_be_at(const struct picture *picture, const struct stencil *stencil,
                      const uint32_t *corner)
{
    int sign = 0;
    for (int i = 0; i < PROBES; i++) {
        const int bright = stencil->bright[i];
        const int dark = stencil->dark[i];
        const int more =
            light_of(corner[bright / stencil->w * picture->width + bright % stencil->w]) -
            light_of(corner[dark / stencil->w * picture->width + dark % stencil->w]);
        const int this = more > CONTRAST ? 1 : more < -CONTRAST ? -1 : 0;
        if (this == 0 || this == -sign) {
            return false;
        }
        sign = this;
    }
    return true;
}

/* How much of the worst character the best straight function leaves unexplained. */
static double worst_rest(const struct picture *picture, const struct stencil *stencil,
                         const uint32_t *corner)
{
    double rests[CHARACTERS] = {0};
    double inks[CHARACTERS] = {0};
    double sum = 0;
    double both = 0;
    for (int i = 0; i < stencil->w * stencil->h; i++) {
        const double light = light_of(corner[i / stencil->w * picture->width + i % stencil->w]);
        sum += light;
        both += light * (stencil->ink[i] - stencil->mean);
    }
    const double mean = sum / (stencil->w * stencil->h);
    const double slope = both / stencil->square;
    double worst = 0;
    int last = 0;
    for (int i = 0; i < stencil->w * stencil->h; i++) {
        const double light = light_of(corner[i / stencil->w * picture->width + i % stencil->w]);
        const double ink = stencil->ink[i] - stencil->mean;
        const double rest = light - mean - slope * ink;
        last = (i % stencil->w + stencil->left) / stencil->advance;
        rests[last] += rest * rest;
        inks[last] += slope * ink * slope * ink;
    }
    for (int i = 0; i <= last; i++) {
        const double rest = inks[i] > 0 ? rests[i] / inks[i] : rests[i] > 0 ? 1.0 : 0.0;
        worst = rest > worst ? rest : worst;
    }
    return worst;
}

bool look_find(const struct picture *picture, const struct glyphs *glyphs, const char *words,
               struct rect *found)
{
    struct stencil stencil;
    if (glyphs->alpha == NULL || strlen(words) >= CHARACTERS ||
        !stencil_make(glyphs, words, &stencil)) {
        return false;
    }
    bool is_there = false;
    int x = found->x;
    for (int y = found->y; !is_there && y + stencil.h <= picture->height; y++, x = 0) {
        for (; !is_there && x + stencil.w <= picture->width; x++) {
            const uint32_t *corner =
                picture->pixels + (size_t)y * (size_t)picture->width + (size_t)x;
            is_there = may_be_at(picture, &stencil, corner) &&
                       worst_rest(picture, &stencil, corner) < UNLIKE;
            *found = (struct rect){x, y, stencil.w, stencil.h};
        }
    }
    free(stencil.ink);
    return is_there;
}

bool look_sees(const struct picture *picture, const char *words)
{
    struct layout layout;
    layout_of(picture, 0, &layout);
    const struct glyphs *fonts[] = {layout.small, layout.body, layout.bold, layout.title};
    for (int i = 0; i < 4; i++) {
        struct rect found = {0, 0, 0, 0};
        if (look_find(picture, fonts[i], words, &found)) {
            return true;
        }
    }
    return false;
}
