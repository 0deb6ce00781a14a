/* find_scenes.c: where the scenes are in a picture of the demo.
 *
 *   find_scenes WIDTH HEIGHT SCENES    prints "x y width height" of each */
#include <stdio.h>
#include <stdlib.h>

#include "paint.h"

int main(int argc, char **argv)
{
    struct picture picture = {0, 0, NULL};
    struct layout layout;
    if (argc != 4) {
        fprintf(stderr, "usage: find_scenes WIDTH HEIGHT SCENES\n");
        return 2;
    }
    picture.width = atoi(argv[1]);
    picture.height = atoi(argv[2]);
    const uint32_t count = (uint32_t)atoi(argv[3]);
    const char *why = text_open();
    if (why != NULL) {
        fprintf(stderr, "find_scenes: %s\n", why);
        return 2;
    }
    layout_of(&picture, count, &layout);
    for (uint32_t i = 0; i < count; i++) {
        const struct rect tile = layout_tile(&layout, i);
        printf("%d %d %d %d\n", tile.x, tile.y, tile.w, tile.h);
    }
    text_close();
    return 0;
}
