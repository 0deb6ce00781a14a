/* screen.c: the window, keys and the mouse. */
#include "screen.h"

#include <stdlib.h>
#include <string.h>

bool screen_resize(struct screen *screen, int width, int height)
{
    width = width < 960 ? 960 : width;
    height = height < 540 ? 540 : height;
    uint32_t *pixels = calloc((size_t)width * (size_t)height, sizeof *pixels);
    if (!pixels) {
        return false;
    }
    free(screen->picture.pixels);
    screen->picture = (struct picture){.width = width, .height = height, .pixels = pixels};
    if (screen->renderer) {
        SDL_DestroyTexture(screen->texture);
        screen->texture = SDL_CreateTexture(screen->renderer, SDL_PIXELFORMAT_ARGB8888,
                                            SDL_TEXTUREACCESS_STREAMING, width, height);
    }
    return !screen->renderer || screen->texture;
}

bool screen_open_window(struct screen *screen, const struct options *options)
{
    if (SDL_Init(SDL_INIT_VIDEO) != 0) {
        return false;
    }
    const char *driver = SDL_GetCurrentVideoDriver();
    const bool shows = strcmp(driver, "dummy") != 0 && strcmp(driver, "offscreen") != 0;
    screen->window =
        !shows ? NULL
               : SDL_CreateWindow("AEE Virt", SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED,
                                  options->width, options->height, SDL_WINDOW_RESIZABLE);
    screen->width = options->width;
    screen->height = options->height;
    screen->renderer = screen->window ? SDL_CreateRenderer(screen->window, -1, 0) : NULL;
    if (screen->window && !screen->renderer) {
        screen->renderer = SDL_CreateRenderer(screen->window, -1, SDL_RENDERER_SOFTWARE);
    }
    if (!screen->renderer) {
        screen_close(screen);
    }
    return screen->renderer != NULL;
}

void screen_close(struct screen *screen)
{
    SDL_DestroyTexture(screen->texture);
    SDL_DestroyRenderer(screen->renderer);
    SDL_DestroyWindow(screen->window);
    SDL_Quit();
    free(screen->picture.pixels);
    (void)film_close(screen->film);
    *screen = (struct screen){0};
}

static int action_of_key(SDL_Keycode key)
{
    static const char *const keys[ACTIONS] = {
#define KEY(id, name, key, text) [ACTION_##id] = (key),
        DEMO_ACTIONS(KEY)
#undef KEY
    };
    for (int action = 0; action < ACTIONS; action++) {
        if (SDL_GetKeyFromName(keys[action]) == key) {
            return action;
        }
    }
    return ACTION_NONE;
}

static void press(struct screen *screen, struct game *game, int action)
{
    if (action != ACTION_NONE) {
        game->view.hot = action;
        screen->hot_until = game_now_s() + 0.3;
        game_act(game, action, -1);
    }
}

/* Scenes are numbered by their places in the view. */
static void select_scene(struct game *game, int seen)
{
    for (int i = 0; i < VIEW_SCENES && seen >= 0; i++) {
        if (scene_at(game, i) && seen-- == 0) {
            game->selected = i;
        }
    }
}

static void take_event(struct screen *screen, struct game *game, const SDL_Event *event)
{
    if (event->type == SDL_QUIT) {
        game->over = true;
    } else if (event->type == SDL_KEYDOWN && !event->key.repeat) {
        press(screen, game, action_of_key(event->key.keysym.sym));
    } else if (event->type == SDL_MOUSEBUTTONDOWN) {
        const int x = event->button.x * screen->picture.width / screen->width;
        const int y = event->button.y * screen->picture.height / screen->height;
        const int action = draw_button_at(&screen->picture, x, y);
        press(screen, game, action);
        if (action == ACTION_NONE) {
            select_scene(game, draw_scene_at(&screen->picture, &game->view, x, y));
        }
    } else if (event->type == SDL_WINDOWEVENT &&
               event->window.event == SDL_WINDOWEVENT_SIZE_CHANGED) {
        screen->width = event->window.data1 > 0 ? event->window.data1 : 1;
        screen->height = event->window.data2 > 0 ? event->window.data2 : 1;
        /* A film has one size: the window shows its picture larger or smaller meanwhile. */
        game->over |= !screen->film && !screen_resize(screen, screen->width, screen->height);
    }
}

void screen_take_events(struct screen *screen, struct game *game)
{
    SDL_Event event;
    while (screen->window && SDL_PollEvent(&event)) {
        take_event(screen, game, &event);
    }
}

void screen_draw(struct screen *screen, struct game *game)
{
    game->view.hot = game_now_s() < screen->hot_until ? game->view.hot : ACTION_NONE;
    draw_view(&screen->picture, &game->view);
    if (screen->texture) {
        (void)SDL_UpdateTexture(screen->texture, NULL, screen->picture.pixels,
                                screen->picture.width * 4);
        (void)SDL_RenderCopy(screen->renderer, screen->texture, NULL, NULL);
    }
}
