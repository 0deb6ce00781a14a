/* find_text.c: finds words in a picture of the demo.
 *
 *   find_text FILE.png "words"    prints "x y width height" of each place; 0 if there is one, 1 if
 *                                 not, 2 for a file that cannot be read */
#include <stdio.h>
#include <stdlib.h>

#include "look.h"

int main(int argc, char **argv)
{
    struct picture picture = {0, 0, NULL};
    if (argc != 3) {
        fprintf(stderr, "usage: find_text FILE.png \"words\"\n");
        return 2;
    }
    const char *why = look_load(argv[1], &picture);
    why = why != NULL ? why : text_open();
    if (why != NULL) {
        fprintf(stderr, "find_text: %s\n", why);
        free(picture.pixels);
        return 2;
    }
    struct layout layout;
    layout_of(&picture, 0, &layout);
    const struct glyphs *fonts[] = {layout.small, layout.body, layout.bold, layout.title};
    int count = 0;
    for (int i = 0; i < 4; i++) {
        struct rect found = {0, 0, 0, 0};
        for (; look_find(&picture, fonts[i], argv[2], &found); found.x += found.w, count++) {
            printf("%d %d %d %d\n", found.x, found.y, found.w, found.h);
        }
    }
    text_close();
    free(picture.pixels);
    return count > 0 ? 0 : 1;
}
