/* sample_view.c: see the header. Deterministic: the same arguments make the same view. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "sample_view.h"

enum { AGENTS = 10000, ROWS = 8 };

static uint32_t state;

static float chance(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 16777216.0f;
}

static const struct {
    const char *name;
    aee_kind kind;
    float ms;
    uint64_t memory;
} cast[ROWS] = {
    {"scene", AEE_KIND_SCENE, 0.01f, 2u << 20},
    {"agents", AEE_KIND_AGENTS, 1.93f, 12u << 20},
    {"particles", AEE_KIND_PARTICLES, 0.84f, 9u << 20},
    {"rendering", AEE_KIND_RENDERING, 2.41f, 21u << 20},
    {"weather", AEE_KIND_USER_MOD, 0.02f, 700u << 10},
    {"boss", AEE_KIND_USER_MOD, 0.11f, 1u << 20},
    {"scoreboard", AEE_KIND_USER_MOD, 0.004f, 900u << 10},
    {"painter", AEE_KIND_USER_MOD, 0.37f, 3u << 20},
};

static void strike(struct view_row *row, bool hung, aee_state now, float stricken,
                   const char *cause)
{
    row->state = now;
    row->stricken = stricken;
    row->hung = hung;
    row->crashes++;
    row->restarts += now == AEE_STATE_READY;
    row->spark_ms[VIEW_SPARK - 9] = -1.0f;
    snprintf(row->cause, sizeof row->cause, "%s", cause);
}

static void fill_rows(struct view *view, uint32_t scenes, bool faults)
{
    for (uint32_t i = 0; i < scenes * ROWS; i++) {
        struct view_row *row = &view->rows[view->row_count++];
        const uint32_t c = i % ROWS;
        row->scene = (int)(i / ROWS);
        snprintf(row->name, sizeof row->name, "%s", cast[c].name);
        row->kind = cast[c].kind;
        row->level = AEE_LEVEL_FULL;
        row->state = AEE_STATE_READY;
        row->every = c == 0 ? 0 : c >= 6 ? 4 : 1;
        for (int k = 0; k < VIEW_SPARK; k++) {
            row->spark_ms[k] =
                cast[c].ms * (0.85f + 0.3f * chance() + (chance() > 0.95f ? 0.6f : 0));
        }
        row->last_ms = row->spark_ms[VIEW_SPARK - 1];
        row->p99_ms = cast[c].ms * 1.7f;
        row->share = row->last_ms / 16.667f;
        row->memory_bytes = cast[c].memory;
        row->checkpoint_age_s = c == 3 ? -1.0f : 2.0f * chance();
    }
    if (faults) {
        strike(&view->rows[1], false, AEE_STATE_RESTARTING, 0.9f,
               "page fault: a write to 0xdead0000, which is not mapped, in agents_crash()");
        strike(&view->rows[5], true, AEE_STATE_READY, 0.6f,
               "hung: boss_step() took longer than 20 ms");
        view->rows[7].state = AEE_STATE_QUARANTINED;
        view->rows[7].crashes = 5;
        view->rows[7].restarts = 4;
        view->rows[4].state = AEE_STATE_PAUSED;
    }
    if (faults && scenes > 1) {
        view->rows[ROWS].state = AEE_STATE_STOPPED;
        strike(&view->rows[ROWS + 2], false, AEE_STATE_READY, 0.4f,
               "out of memory: particles_step() asked for more than its 64 MiB");
    }
}

static void place(struct draw_quad *quad, float x, float y, float size, uint32_t material)
{
    const uint32_t heat = (material & 7u) * 36u;
    const uint32_t red = material < 8u ? heat : 255u;
    const uint32_t blue = material < 8u ? 255u : 252u - heat;
    *quad = (struct draw_quad){x, y, size, 0xff000000u | blue << 16 | 0x8000u | red};
}

/* As rendering.c colours them: by kind and speed. Agents in flocks, particles in two jets. */
static void fill_quads(struct view_scene *scene, struct draw_quad *quads, uint32_t particles)
{
    uint32_t at = 0;
    for (uint32_t m = 0; m < DRAW_MATERIALS; m++) {
        struct draw_batch *batch = &scene->list.batches[m];
        const uint32_t count = m < 8 ? AGENTS / 8 : particles / 8;
        *batch = (struct draw_batch){m, at, count};
        for (uint32_t i = 0; i < count; i++, at++) {
            const float turn = 6.2832f * chance();
            const float far = sqrtf(-2.0f * logf(chance() + 1e-6f));
            if (m < 8) {
                const float flock = (float)(i % 7u) * 0.9f + (float)m * 0.05f;
                place(&quads[at], 500.0f + 330.0f * cosf(flock) + 45.0f * far * cosf(turn),
                      500.0f + 300.0f * sinf(flock * 1.3f) + 30.0f * far * sinf(turn), 4.0f, m);
            } else {
                const float out = (float)(m - 7u) * 45.0f * (0.6f + 0.4f * chance());
                const float x = i % 2u ? 300.0f : 740.0f;
                place(&quads[at], x + (out + 20.0f * far) * cosf(turn),
                      360.0f + (out + 20.0f * far) * sinf(turn) * 0.8f, 1.0f, m);
            }
        }
    }
    scene->quads = quads;
    scene->list.quad_count = at;
    scene->list.batch_count = DRAW_MATERIALS;
}

static void fill_canvas(uint32_t *canvas, uint32_t which)
{
    for (uint32_t i = 0; i < STAGE_CANVAS * STAGE_CANVAS; i++) {
        const float x = (float)(i % STAGE_CANVAS) / 40.0f;
        const float y = (float)(i / STAGE_CANVAS) / 40.0f;
        const float wave = 0.5f + 0.5f * sinf(x + sinf(y * 1.3f + (float)which) * 1.7f);
        const uint32_t level = (uint32_t)(wave * 90.0f);
        canvas[i] = 0xff000000u | (40u + level) << 16 |
                    (20u + level * (1u + which % 2u) / 2u) << 8 | (30u + level / 2u * (which % 2u));
    }
}

static void fill_scene(struct view *view, uint32_t i, uint32_t particles, uint64_t frame)
{
    static const char *const names[VIEW_SCENES] = {"meadow",  "harbour", "scene-3", "scene-4",
                                                   "scene-5", "scene-6", "scene-7", "scene-8"};
    struct view_scene *scene = &view->scenes[i];
    uint32_t *canvas = malloc(sizeof *canvas * STAGE_CANVAS * STAGE_CANVAS);
    struct draw_quad *quads = malloc(sizeof *quads * (AGENTS + particles + 1u));
    snprintf(scene->name, sizeof scene->name, "%s", names[i]);
    scene->selected = i == 0;
    if (canvas != NULL && quads != NULL) {
        fill_canvas(canvas, i);
        fill_quads(scene, quads, particles);
    }
    scene->canvas = canvas;
    scene->quads = quads;
    scene->stage = (struct stage){
        .obstacle_count = 3,
        .frame = frame,
        .wind = i % 2u ? -0.3f : 0.7f,
        .rain = i % 2u ? 0.0f : 0.6f,
        .boss = {620.0f, 640.0f, 32.0f},
        .caught = 217,
        .obstacles = {{250.0f, 700.0f, 70.0f}, {520.0f, 200.0f, 90.0f}, {820.0f, 560.0f, 50.0f}}};
    snprintf(scene->board[0], sizeof scene->board[0], "caught 217");
    snprintf(scene->board[1], sizeof scene->board[1], "fastest flock 84");
}

struct view *sample_view(uint32_t scenes, uint32_t particles, uint64_t frame, bool faults)
{
    static const char *const events[] = {
        "meadow: boss hung: boss_step() took longer than 20 ms; 19 ms later it was back",
        "meadow: boss is back with its state of 1.2 s ago",
        "harbour: scene stopped",
        "harbour: thief was refused: host function \"peek\" is not granted to it, and the address "
        "0x7f12 of another scene is not mapped",
        "harbour: particles is back with its state of 0.4 s ago",
        "meadow: agents crashed: page fault: a write to 0xdead0000, which is not mapped",
    };
    struct view *view = calloc(1, sizeof *view);
    if (view == NULL) {
        return NULL;
    }
    state = 1;
    view->frame = frame;
    view->time_s = (double)frame / 60.0;
    view->seed = 42;
    view->level = AEE_LEVEL_FULL;
    view->hot = faults ? ACTION_CRASH_AGENTS : ACTION_NONE;
    view->budget_ms = 16.667f;
    view->fps = 59.8f;
    view->late = faults ? 7 : 0;
    view->slow_down = faults ? 4 : 1;
    view->calls = 1234567;
    view->crashes = faults ? 8 : 0;
    view->restarts = faults ? 6 : 0;
    view->memory_bytes = (uint64_t)scenes * (412u << 20);
    for (int i = 0; i < VIEW_FRAMES; i++) {
        view->frame_ms[i] = 9.0f + 3.0f * chance() + (chance() > 0.96f ? 9.0f : 0.0f);
        view->frame_late[i] = view->frame_ms[i] > view->budget_ms;
    }
    view->scene_count = scenes;
    for (uint32_t i = 0; i < scenes; i++) {
        fill_scene(view, i, particles, frame);
    }
    fill_rows(view, scenes, faults);
    if (faults) {
        view->scenes[0].dim[VIEW_AGENTS] = 0.9f;
        view->scenes[scenes > 1].dim[VIEW_PARTICLES] = 0.7f;
    }
    for (uint32_t i = 0; i < 24; i++) {
        struct view_event *event = &view->events[view->event_count++];
        event->at_s = 3.0 + 1.7 * i;
        event->frame = (uint64_t)(event->at_s * 60.0);
        event->bad = i % 6u % 2u != 0 ? i % 6u != 1u : i % 6u == 0u;
        snprintf(event->text, sizeof event->text, "%s", events[i % 6u]);
        event->bad = i % 6u == 0 || i % 6u == 3u || i % 6u == 5u;
    }
    return view;
}

void sample_free(struct view *view)
{
    for (uint32_t i = 0; view != NULL && i < VIEW_SCENES; i++) {
        free((void *)(uintptr_t)view->scenes[i].canvas);
        free((void *)(uintptr_t)view->scenes[i].quads);
    }
    free(view);
}
