/* draw_sample.c: draws the made-up view, to look at, and says how long it took.
 *
 *   draw_sample FILE.png [WIDTH HEIGHT [SCENES [PARTICLES [calm|faults|help]]]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sample_view.h"

static double now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static int argument(int argc, char **argv, int i, int otherwise)
{
    return i < argc ? atoi(argv[i]) : otherwise;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 6 ? argv[6] : "faults";
    struct picture picture = {argument(argc, argv, 2, 1280), argument(argc, argv, 3, 720), NULL};
    struct view *view =
        sample_view((uint32_t)argument(argc, argv, 4, 2), (uint32_t)argument(argc, argv, 5, 100000),
                    1234, strcmp(mode, "calm") != 0);
    picture.pixels = calloc((size_t)picture.width * (size_t)picture.height, sizeof(uint32_t));
    const char *why = text_open();
    if (argc < 2 || view == NULL || picture.pixels == NULL || why != NULL) {
        fprintf(stderr, "draw_sample: %s\n", why != NULL ? why : "no file name, or no memory");
        return 2;
    }
    view->help = strcmp(mode, "help") == 0;
    double best = 1e9;
    for (int i = 0; i < 20; i++) {
        const double start = now_ms();
        draw_view(&picture, view);
        const double took = now_ms() - start;
        best = took < best ? took : best;
    }
    why = picture_save(&picture, argv[1]);
    printf("%s: %d x %d, %.2f ms\n", argv[1], picture.width, picture.height, best);
    if (why != NULL) {
        fprintf(stderr, "%s\n", why);
    }
    text_close();
    sample_free(view);
    free(picture.pixels);
    return why != NULL;
}
