/* text.c: text in one font of fixed width. Its characters are rasterised once for each size, and
 * then blended by us: the same words always give the same pixels, which tests look for. */
#include <SDL_ttf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "paint.h"

enum { ATLASES = 16 };

static const char *const folders[] = {
    "/usr/share/fonts/truetype/dejavu",
    "/usr/share/fonts/truetype",
    "/usr/share/fonts/dejavu",
    "/usr/share/fonts/dejavu-sans-mono-fonts",
    "/usr/share/fonts/TTF",
    "/usr/local/share/fonts",
};
static const char *const names[2] = {"DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"};

static char paths[2][128]; /* by boldness */
static struct glyphs atlases[ATLASES];
static unsigned last_use[ATLASES];
static unsigned uses;
static char sentence[256];

const char *text_open(void)
{
    for (size_t bold = 0; bold < 2; bold++) {
        size_t i = 0;
        do {
            if (i == sizeof folders / sizeof folders[0]) {
                return "text: the font DejaVu Sans Mono was not found (Debian: fonts-dejavu-core)";
            }
            snprintf(paths[bold], sizeof paths[bold], "%s/%s", folders[i++], names[bold]);
        } while (access(paths[bold], R_OK) != 0);
    }
    if (!TTF_WasInit() && TTF_Init() != 0) {
        snprintf(sentence, sizeof sentence, "text: SDL_ttf does not start: %s", TTF_GetError());
        return sentence;
    }
    return NULL;
}

void text_close(void)
{
    for (int i = 0; i < ATLASES; i++) {
        free(atlases[i].alpha);
        atlases[i] = (struct glyphs){0};
        last_use[i] = 0;
    }
    if (TTF_WasInit()) {
        TTF_Quit();
    }
}

static uint8_t *cell_of(const struct glyphs *glyphs, unsigned character)
{
    return glyphs->alpha +
           (size_t)(character - GLYPH_FIRST) * (size_t)glyphs->advance * (size_t)glyphs->line;
}

static void copy_cell(struct glyphs *glyphs, unsigned character, const SDL_Surface *surface)
{
    uint8_t *cell = cell_of(glyphs, character);
    for (int y = 0; y < glyphs->line && y < surface->h; y++) {
        const uint8_t *row = (const uint8_t *)surface->pixels + (ptrdiff_t)y * surface->pitch;
        for (int x = 0; x < glyphs->advance && x < surface->w; x++) {
            uint32_t pixel;
            memcpy(&pixel, row + 4 * x, sizeof pixel); /* TTF_RenderGlyph32_Blended(): 0xAARRGGBB */
            cell[y * glyphs->advance + x] = (uint8_t)(pixel >> 24);
        }
    }
}

static void rasterise(struct glyphs *glyphs, TTF_Font *font)
{
    const SDL_Color white = {255, 255, 255, 255};
    SDL_Surface *low = TTF_RenderGlyph32_Blended(font, '_', white);
    glyphs->line = TTF_FontHeight(font);
    if (low != NULL && low->h > glyphs->line) { /* an underscore of some sizes is below the font */
        glyphs->line = low->h;
    }
    SDL_FreeSurface(low);
    glyphs->ascent = TTF_FontAscent(font);
    if (TTF_GlyphMetrics(font, 'M', NULL, NULL, NULL, NULL, &glyphs->advance) != 0) {
        return;
    }
    glyphs->alpha = calloc(GLYPHS, (size_t)glyphs->advance * (size_t)glyphs->line);
    for (unsigned c = GLYPH_FIRST; glyphs->alpha != NULL && c <= GLYPH_ELLIPSIS; c++) {
        SDL_Surface *surface =
            TTF_RenderGlyph32_Blended(font, c == GLYPH_ELLIPSIS ? 0x2026u : c, white);
        if (surface != NULL) { /* a space may have none */
            copy_cell(glyphs, c, surface);
            SDL_FreeSurface(surface);
        }
    }
}

/* A window that is resized needs more sizes than there is room for: the one that was not used for
 * the longest time makes room, and never one that this frame has asked for. */
const struct glyphs *text_glyphs(int size, bool bold)
{
    int slot = 0;
    for (int i = 0; i < ATLASES; i++) {
        if (atlases[i].size == size && atlases[i].bold == bold) {
            last_use[i] = ++uses;
            return &atlases[i];
        }
        slot = last_use[i] < last_use[slot] ? i : slot;
    }
    struct glyphs *glyphs = &atlases[slot];
    last_use[slot] = ++uses;
    free(glyphs->alpha);
    *glyphs = (struct glyphs){size, bold, (size * 3 + 4) / 5, (size * 6 + 4) / 5, size, NULL};
    TTF_Font *font = TTF_WasInit() ? TTF_OpenFont(paths[bold], size) : NULL;
    if (font != NULL) {
        rasterise(glyphs, font);
        TTF_CloseFont(font);
    }
    return glyphs;
}

static void blend_cell(const struct paint *paint, const struct glyphs *glyphs, int x, int y,
                       uint32_t color, unsigned character)
{
    const struct rect clip = paint->clip;
    const uint8_t *cell = cell_of(glyphs, character);
    for (int row = 0; row < glyphs->line; row++) {
        if (y + row < clip.y || y + row >= clip.y + clip.h) {
            continue;
        }
        uint32_t *pixels =
            paint->picture->pixels + (size_t)(y + row) * (size_t)paint->picture->width;
        for (int column = 0; column < glyphs->advance; column++) {
            const uint32_t alpha = cell[row * glyphs->advance + column];
            if (alpha != 0 && x + column >= clip.x && x + column < clip.x + clip.w) {
                pixels[x + column] =
                    0xff000000u | mix(pixels[x + column], color, alpha + (alpha >> 7));
            }
        }
    }
}

int text_draw(const struct paint *paint, const struct glyphs *glyphs, int x, int y, int width,
              uint32_t color, const char *words, size_t size)
{
    const size_t fit = width > 0 ? (size_t)(width / glyphs->advance) : 0;
    size_t length = strnlen(words, size);
    const bool cut = length > fit;
    length = cut ? fit : length;
    for (size_t i = 0; i < length && glyphs->alpha != NULL; i++) {
        const unsigned byte = (unsigned char)words[i];
        const unsigned printable = byte >= 32 && byte < 127 ? byte : '?';
        const bool last = cut && i + 1 == length;
        blend_cell(paint, glyphs, x + (int)i * glyphs->advance, y, color,
                   last ? (unsigned)GLYPH_ELLIPSIS : printable);
    }
    return x + (int)length * glyphs->advance;
}

int text_put(const struct paint *paint, const struct glyphs *glyphs, int x, int y, int width,
             uint32_t color, const char *words)
{
    return text_draw(paint, glyphs, x, y, width, color, words, strlen(words));
}

int text_width(const struct glyphs *glyphs, const char *words)
{
    return (int)strlen(words) * glyphs->advance;
}

void text_right(const struct paint *paint, const struct glyphs *glyphs, int right, int y,
                uint32_t color, const char *words)
{
    const int width = text_width(glyphs, words);
    text_put(paint, glyphs, right - width, y, width, color, words);
}

size_t text_wrap(const char *words, size_t columns, size_t *next)
{
    const size_t length = strlen(words);
    size_t end = length;
    if (length > columns) {
        end = columns;
        while (end > 0 && words[end] != ' ') {
            end--;
        }
        end = end == 0 ? columns : end; /* a word that is longer than the line */
    }
    *next = end;
    while (words[*next] == ' ') {
        ++*next;
    }
    return end;
}
