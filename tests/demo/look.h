/* look.h: what tests see in pictures of the demo. */
#ifndef AEE_TESTS_LOOK_H
#define AEE_TESTS_LOOK_H

#include "paint.h"

/* Reads a PNG; the pixels are the caller's to free. NULL, or a sentence that says why not. */
const char *look_load(const char *path, struct picture *picture);

/* Finds words that are drawn in one of the layout's fonts, in any colour, from the position
 * (found->x, found->y) on, rows from top to bottom. text_open() has been called. */
bool look_find(const struct picture *picture, const struct glyphs *glyphs, const char *words,
               struct rect *found);
/* In any of the fonts. */
bool look_sees(const struct picture *picture, const char *words);

/* Mean of red, green and blue, 0 to 255, in a part of the picture. */
double look_light(const struct picture *picture, struct rect part);

#endif
