/* screen.h: where the view is seen: in a window, or in the picture only. */
#ifndef AEE_DEMO_SCREEN_H
#define AEE_DEMO_SCREEN_H

#include <SDL.h>

#include "game.h"

struct screen {
    struct picture picture;
    SDL_Window *window; /* NULL: none */
    int width, height;  /* of the window, as of the last event that was taken */
    SDL_Renderer *renderer;
    SDL_Texture *texture;
    struct film *film;
    double hot_until;
};

/* False: there is no display, or none that shows anything. */
bool screen_open_window(struct screen *screen, const struct options *options);
bool screen_resize(struct screen *screen, int width, int height); /* false: no memory */
void screen_close(struct screen *screen);
void screen_take_events(struct screen *screen, struct game *game);
void screen_draw(struct screen *screen, struct game *game);

#endif
