/* picture.c: pictures and films as files. */
#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "view.h"

struct film {
    FILE *file;
    char path[256]; /* for sentences */
    int width;
    int height;
    uint8_t *planes; /* Y, then U and V at half the size */
    size_t size;
};

static char sentence[512];

static const char *failed(const char *what, const char *path, const char *why)
{
    snprintf(sentence, sizeof sentence, "%s: cannot write %s: %s", what, path, why);
    return sentence;
}

const char *picture_save(const struct picture *picture, const char *path)
{
    const size_t count = (size_t)picture->width * (size_t)picture->height;
    uint8_t *bytes = malloc(count * 3u);
    FILE *file = bytes != NULL ? fopen(path, "wb") : NULL;
    if (file == NULL) {
        const char *why = bytes != NULL ? strerror(errno) : "there is no memory";
        free(bytes);
        return failed("picture", path, why);
    }
    for (size_t i = 0; i < count; i++) {
        const uint32_t pixel = picture->pixels[i];
        bytes[3u * i] = (uint8_t)(pixel >> 16);
        bytes[3u * i + 1u] = (uint8_t)(pixel >> 8);
        bytes[3u * i + 2u] = (uint8_t)pixel;
    }
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)picture->width,
                       .height = (png_uint_32)picture->height,
                       .format = PNG_FORMAT_RGB};
    errno = 0;
    const bool written = png_image_write_to_stdio(&image, file, 0, bytes, 0, NULL) != 0;
    const int error = errno;
    const bool closed = fclose(file) == 0;
    free(bytes);
    if (!written) {
        return failed("picture", path, error != 0 ? strerror(error) : image.message);
    }
    return closed ? NULL : failed("picture", path, strerror(errno));
}

const char *film_open(const char *path, const struct picture *picture, unsigned frames_per_second,
                      struct film **film)
{
    *film = NULL;
    const size_t luma = (size_t)picture->width * (size_t)picture->height;
    const size_t chroma = (size_t)((picture->width + 1) / 2) * (size_t)((picture->height + 1) / 2);
    struct film *made = calloc(1, sizeof *made);
    uint8_t *planes = malloc(luma + 2u * chroma);
    FILE *file = made != NULL && planes != NULL ? fopen(path, "wb") : NULL;
    if (file == NULL) {
        const char *why = made != NULL && planes != NULL ? strerror(errno) : "there is no memory";
        free(planes);
        free(made);
        return failed("film", path, why);
    }
    made->file = file;
    snprintf(made->path, sizeof made->path, "%s", path);
    made->width = picture->width;
    made->height = picture->height;
    made->planes = planes;
    made->size = luma + 2u * chroma;
    if (fprintf(file, "YUV4MPEG2 W%d H%d F%u:1 Ip A1:1 C420jpeg\n", made->width, made->height,
                frames_per_second) < 0 ||
        fflush(file) != 0) {
        const int error = errno;
        film_close(made);
        return failed("film", path, strerror(error));
    }
    *film = made;
    return NULL;
}

/* BT.601 of limited range, as players take it when nothing else is said. */
static uint8_t luma_of(uint32_t red, uint32_t green, uint32_t blue)
{
    return (uint8_t)(((66u * red + 129u * green + 25u * blue + 128u) >> 8) + 16u);
}

static void chroma_of(const struct picture *picture, int x, int y, uint8_t *u, uint8_t *v)
{
    int sums[3] = {0, 0, 0};
    for (int i = 0; i < 4; i++) {
        const int px = x + (i & 1) < picture->width ? x + (i & 1) : x;
        const int py = y + (i >> 1) < picture->height ? y + (i >> 1) : y;
        const uint32_t pixel = picture->pixels[(size_t)py * (size_t)picture->width + (size_t)px];
        sums[0] += (int)(pixel >> 16 & 255u);
        sums[1] += (int)(pixel >> 8 & 255u);
        sums[2] += (int)(pixel & 255u);
    }
    /* 128 is added before the shift, so that no negative number is shifted. */
    *u = (uint8_t)((-38 * sums[0] - 74 * sums[1] + 112 * sums[2] + 512 + (128 << 10)) >> 10);
    *v = (uint8_t)((112 * sums[0] - 94 * sums[1] - 18 * sums[2] + 512 + (128 << 10)) >> 10);
}

const char *film_add(struct film *film, const struct picture *picture)
{
    if (picture->width != film->width || picture->height != film->height) {
        snprintf(sentence, sizeof sentence, "film: a picture of %d x %d in a film of %d x %d",
                 picture->width, picture->height, film->width, film->height);
        return sentence;
    }
    const size_t count = (size_t)film->width * (size_t)film->height;
    for (size_t i = 0; i < count; i++) {
        const uint32_t pixel = picture->pixels[i];
        film->planes[i] = luma_of(pixel >> 16 & 255u, pixel >> 8 & 255u, pixel & 255u);
    }
    uint8_t *u = film->planes + count;
    uint8_t *v = u + (film->size - count) / 2u;
    for (int y = 0; y < film->height; y += 2) {
        for (int x = 0; x < film->width; x += 2) {
            chroma_of(picture, x, y, u++, v++);
        }
    }
    if (fputs("FRAME\n", film->file) < 0 ||
        fwrite(film->planes, 1, film->size, film->file) != film->size) {
        return failed("film", film->path, strerror(errno));
    }
    return NULL;
}

const char *film_close(struct film *film)
{
    if (film == NULL) {
        return NULL;
    }
    const bool closed = fclose(film->file) == 0;
    const char *why = closed ? NULL : failed("film", film->path, strerror(errno));
    free(film->planes);
    free(film);
    return why;
}
