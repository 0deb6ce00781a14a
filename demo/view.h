/* view.h: one frame as the viewer sees it, as plain data: filled by the game (look.c),
 * read by the drawing (draw.c, hud.c), which knows nothing of engines and contexts. */
#ifndef AEE_DEMO_VIEW_H
#define AEE_DEMO_VIEW_H

#include <stage.h>
#include <stdbool.h>
#include <stdint.h>
#include <world.h>

#include "actions.h"
#include "aee_virt.h"

enum {
    VIEW_SCENES = 8,
    VIEW_ROWS = VIEW_SCENES * 12, /* contexts */
    VIEW_SPARK = 48,              /* calls in a sparkline */
    VIEW_FRAMES = 240,            /* in the graph of frame times */
    VIEW_EVENTS = 64,
    VIEW_BOARD = 4, /* lines of the scoreboard */
    VIEW_TEXT = 160
};

/* A context. */
struct view_row {
    int scene; /* index into view.scenes */
    char name[AEE_NAME_MAX];
    aee_kind kind;
    aee_level level;
    aee_state state;
    float stricken;             /* 1 when it has just crashed or hung, and down to 0 within 2 s */
    char cause[VIEW_TEXT];      /* of its last crash in words; "" before the first */
    bool hung;                  /* it was a hang */
    uint32_t every;             /* called in every such frame; 0: only on demand */
    float spark_ms[VIEW_SPARK]; /* its last calls, the newest last; negative: one failed */
    float last_ms;
    float p99_ms;
    float share; /* of the frame budget, by a running mean */
    uint64_t memory_bytes;
    uint64_t memory_limit;
    uint64_t crashes; /* and hangs */
    uint64_t restarts;
    float checkpoint_age_s; /* negative: it has none */
};

/* Parts of a scene that can be stricken: how far each is dimmed, from 0 to 1. */
enum { VIEW_AGENTS, VIEW_PARTICLES, VIEW_WHOLE, VIEW_PARTS };

struct view_scene {
    char name[AEE_NAME_MAX];
    bool selected;
    bool paused;
    struct draw_header list;       /* checked by draw_open() */
    const struct draw_quad *quads; /* list.quad_count of them; materials below 8: agents, others:
                                    * particles; from a component: any bits at all */
    const uint32_t *canvas;        /* STAGE_CANVAS squared, or NULL */
    struct stage stage;
    float dim[VIEW_PARTS];
    char board[VIEW_BOARD][48];
};

struct view_event {
    double at_s;
    uint64_t frame;
    bool bad; /* a crash, a hang, a refusal; otherwise a restart and such */
    char text[VIEW_TEXT];
};

struct view {
    uint64_t frame;
    double time_s;
    uint64_t seed;
    aee_level level; /* of the engine */
    bool frozen;
    bool help; /* the list of keys is shown */
    int hot;   /* action whose button was pressed lately, or ACTION_NONE */
    float budget_ms;
    float fps;
    uint64_t late;
    float frame_ms[VIEW_FRAMES]; /* the newest last; 0: before the first */
    bool frame_late[VIEW_FRAMES];
    uint32_t slow_down; /* those who can wait are called in every such frame; 1: all at full rate */
    uint64_t calls, crashes, restarts, memory_bytes; /* totals */
    uint32_t scene_count;
    struct view_scene scenes[VIEW_SCENES];
    uint32_t row_count;
    struct view_row rows[VIEW_ROWS];
    uint32_t event_count; /* the newest last */
    struct view_event events[VIEW_EVENTS];
};

/* ---- Drawing: main thread only ---------------------------------------------------------------- */

/* A picture of 32-bit pixels 0xffRRGGBB, without gaps between rows. */
struct picture {
    int width;
    int height;
    uint32_t *pixels;
};

/* Loads the font. NULL, or a sentence that says what is missing. */
const char *text_open(void);
void text_close(void);

/* Draws all of it. At least 960 x 540; laid out for 1280 x 720 and 1920 x 1080. */
void draw_view(struct picture *picture, const struct view *view);
/* The action whose button is there, or ACTION_NONE; and the scene, or -1. */
int draw_button_at(const struct picture *picture, int x, int y);
int draw_scene_at(const struct picture *picture, const struct view *view, int x, int y);

/* ---- Files ------------------------------------------------------------------------------------ */

/* Writes a PNG. NULL, or a sentence that says why not. */
const char *picture_save(const struct picture *picture, const char *path);

/* A film in YUV4MPEG2 (4:2:0), which ffmpeg and mpv read. */
struct film;
const char *film_open(const char *path, const struct picture *picture, unsigned frames_per_second,
                      struct film **film);
const char *film_add(struct film *film, const struct picture *picture);
const char *film_close(struct film *film);

#endif
