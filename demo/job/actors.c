/* actors.c: what each does: when its level loads, in a frame, and when its call fails. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <world.h>

#include "demo.h"

enum { CUT_EVERY = 60 /* frames: the camera moves */ };

/* ---- Calls ------------------------------------------------------------------------------- */

static uint32_t init_arguments(const struct demo *demo, int index, aee_value args[AEE_ARGS_MAX])
{
    args[0] = aee_i64(DEMO_SEED(index));
    switch (index) {
    case AGENTS:
    case PARTICLES:
        args[0] = aee_i64((int64_t)demo->shared[index].address[index]);
        args[1] = aee_i64(index == AGENTS ? DEMO_AGENTS : DEMO_PARTICLES);
        args[2] = aee_i64(DEMO_SEED(index));
        return 3;
    case SCENE_1:
    case SCENE_2:
        args[1] = aee_i64(demo->actors[index].nodes);
        return 2;
    default:
        return 1;
    }
}

static uint32_t step_arguments(const struct demo *demo, int index, uint32_t frame,
                               aee_value args[AEE_ARGS_MAX])
{
    args[0] = aee_i64(frame);
    switch (index) {
    case AGENTS:
    case PARTICLES:
        args[0] = aee_i64((int64_t)demo->shared[index].address[index]);
        args[1] = aee_f64(DEMO_STEP_S);
        return 2;
    case RENDERING:
        for (unsigned i = 0; i < SHARED; i++) {
            args[i] = aee_i64((int64_t)demo->shared[i].address[RENDERING]);
        }
        return SHARED;
    default:
        return 1;
    }
}

bool demo_camera(uint32_t frame, double at[3])
{
    at[0] = 500.0 + 100.0 * sin(frame * 0.01);
    at[1] = 500.0 + 100.0 * cos(frame * 0.01);
    at[2] = 1.25;
    return frame % CUT_EVERY == 0;
}

static aee_result call(struct demo *demo, int index, unsigned function, const aee_value *args,
                       uint32_t count, int64_t *value, aee_error *error)
{
    const struct actor *actor = &demo->actors[index];
    aee_value result = aee_i64(0);
    const aee_result status = aee_call(demo->engine, actor->context, actor->handles[function], args,
                                       count, &result, error);
    *value = result.as.i64;
    return status;
}

/* Gives it its state, and tells a mod its frame. A mod that could not do its worst in its frame,
 * because it was not there, does it in this one. */
static aee_result initialise(struct demo *demo, int index, uint32_t frame, aee_error *error)
{
    struct actor *actor = &demo->actors[index];
    aee_value args[AEE_ARGS_MAX];
    int64_t value;
    aee_result result = AEE_OK;
    if (actor->functions[INIT]) {
        const uint32_t count = init_arguments(demo, index, args);
        result = call(demo, index, INIT, args, count, &value, error);
    }
    if (result == AEE_OK && actor->armed_frame > 0 &&
        demo->record.actors[index].cause == AEE_CRASH_NONE) {
        actor->armed_frame = actor->armed_frame < frame ? frame : actor->armed_frame;
        args[0] = aee_i64(actor->armed_frame);
        result = call(demo, index, EXTRA, args, 1, &value, error);
    }
    return result;
}

static aee_result step(struct demo *demo, int index, uint32_t frame, int64_t *value,
                       aee_error *error)
{
    aee_value args[AEE_ARGS_MAX];
    double at[3]; /* x, y and zoom */
    if (index == RENDERING && demo_camera(frame, at)) {
        const aee_value camera[] = {aee_f64(at[0]), aee_f64(at[1]), aee_f64(at[2])};
        const aee_result result = call(demo, index, EXTRA, camera, 3, value, error);
        if (result != AEE_OK) {
            return result;
        }
    }
    const uint32_t count = step_arguments(demo, index, frame, args);
    return call(demo, index, STEP, args, count, value, error);
}

/* First calls touch fresh memory, which takes its time: here, not in the first frame. */
aee_result demo_load(struct demo *demo, int index, aee_error *error)
{
    int64_t value = 0;
    const struct actor *actor = &demo->actors[index];
    const aee_result result = initialise(demo, index, 0, error);
    if (result == AEE_OK && actor->keep_every > 0) {
        return aee_checkpoint(demo->engine, actor->context, error);
    }
    return result == AEE_OK && index == RENDERING ? step(demo, index, 0, &value, error) : result;
}

/* ---- In the frames ------------------------------------------------------------------------ */

void demo_failed(struct demo *demo, int index, uint32_t frame, const aee_error *error)
{
    struct actor_record *record = &demo->record.actors[index];
    aee_crash crash = {0};
    const bool stopped = error->code == AEE_ERR_CRASHED || error->code == AEE_ERR_HUNG;
    if (stopped && aee_last_crash(demo->engine, demo->actors[index].context, &crash, NULL) != 0) {
        crash.cause = AEE_CRASH_NONE;
    }
    demo->failed_now[index] = true;
    if (demo->actors[index].keep_every == 0) {
        demo->actors[index].lost = demo->actors[index].lost || stopped;
    }
    const bool scripted = frame == demo->actors[index].armed_frame;
    if (record->first_failure == 0 || scripted) {
        /* The report begins with the context's name, which every line here has anyway. */
        const char *text = crash.cause ? crash.text : error->text;
        const char *colon = crash.cause ? strstr(text, "\": ") : NULL;
        (void)snprintf(record->note, sizeof record->note, "%s", colon ? colon + 3 : text);
    }
    record->first_failure = record->first_failure ? record->first_failure : frame;
    if (scripted) {
        record->cause = crash.cause;
        record->cause_frame = frame;
        record->kept_frame = demo->actors[index].kept_frame;
    }
}

void demo_play(struct demo *demo, int index, uint32_t frame)
{
    struct actor *actor = &demo->actors[index];
    struct actor_record *record = &demo->record.actors[index];
    int64_t value = 0;
    aee_error error = {0};
    aee_result result = actor->lost ? initialise(demo, index, frame, &error) : AEE_OK;
    if (result == AEE_OK) {
        actor->lost = false;
        result = step(demo, index, frame, &value, &error);
    }
    if (result == AEE_OK) {
        record->called++;
        if (record->cause != AEE_CRASH_NONE && record->back_frame == 0) {
            record->back_frame = frame;
        }
        record->result = DEMO_FOLD(record->result, value);
    } else if (result == AEE_ERR_RESTARTING) {
        record->skipped++;
    } else {
        record->failed++;
        demo_failed(demo, index, frame, &error);
    }
}

/* The library takes them when it finds the context idle: not always in the same frames. */
void demo_look_at_checkpoints(struct demo *demo, uint32_t frame)
{
    for (int i = 0; i < ACTORS; i++) {
        struct actor *actor = &demo->actors[i];
        aee_context_info info;
        if (actor->keep_every > 0 &&
            aee_get_context_info(demo->engine, actor->context, &info, NULL) == AEE_OK &&
            info.checkpoints != actor->checkpoints) {
            actor->kept_frame = frame;
            actor->checkpoints = info.checkpoints;
        }
    }
}

/* ---- Results ------------------------------------------------------------------------------ */

uint64_t demo_draw_checksum(const void *list, size_t size)
{
    struct draw_header header;
    const int64_t quads = draw_open(list, size, &header);
    uint64_t sum = DEMO_FOLD(0, quads);
    const char *bytes = (const char *)list + sizeof header;
    for (uint32_t i = 0; quads > 0 && i < header.batch_count; i++) {
        sum = DEMO_FOLD(sum, header.batches[i].material * UINT64_C(0x100000000) +
                                 header.batches[i].count);
    }
    for (int64_t i = 0; i < quads * (int64_t)sizeof(struct draw_quad) / 8; i++) {
        uint64_t word;
        memcpy(&word, bytes + i * 8, sizeof word);
        sum = DEMO_FOLD(sum, word);
    }
    return sum;
}

void demo_collect(struct demo *demo)
{
    struct actor_record *records = demo->record.actors;
    for (int i = AGENTS; i <= PARTICLES; i++) {
        const aee_value region = aee_i64((int64_t)demo->shared[i].address[i]);
        int64_t sum = 0;
        (void)call(demo, i, EXTRA, &region, 1, &sum, NULL); /* a failure shows as a difference */
        records[i].result = DEMO_FOLD(records[i].result, sum);
    }
    records[RENDERING].result =
        DEMO_FOLD(records[RENDERING].result,
                  demo_draw_checksum(demo->shared[DRAW_LIST].data, demo->shared[DRAW_LIST].size));
    demo->record.host_untouched = attacks_left_no_trace(demo);
    records[GOOD].result = DEMO_FOLD(records[GOOD].result, demo->weather.history);
    records[GOOD].result = DEMO_FOLD(records[GOOD].result, demo->weather.score);
}
