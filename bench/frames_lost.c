/* frames_lost.c: the row about a context that crashes in every frame beside three that do not. */
#include <string.h>

#include "bench/rows.h"
#include "bench/stage.h"

enum { OTHERS = 3, FRAMES = 120, QUICK_FRAMES = 20 };

static const uint64_t frame_ns = BENCH_NS_PER_SECOND / 60;

struct beside {
    struct bench_stage stage; /* its context is the one that crashes */
    aee_function count;
    aee_function crash;
    int64_t kept; /* what the first count after a crash gives */
    aee_context others[OTHERS];
    aee_function other_count[OTHERS];
    int64_t other_kept[OTHERS];
    uint32_t lost;
    uint32_t late;
    uint32_t crashes;
    uint32_t missed;
};

/* One checkpoint, to which it comes back from every crash. */
static aee_result keep(struct beside *beside, aee_error *error)
{
    const aee_recovery_desc settings = {.struct_size = sizeof settings,
                                        .restart = AEE_RESTART_CHECKPOINT};
    aee_engine *engine = beside->stage.engine;
    const aee_context context = beside->stage.context;
    aee_result status = aee_set_recovery(engine, context, &settings, error);
    if (status == AEE_OK) {
        status = aee_call_i64(engine, context, beside->count, NULL, 0, &beside->kept, error);
        beside->kept++;
    }
    return status == AEE_OK ? aee_checkpoint(engine, context, error) : status;
}

/* All of them, called once. */
static int open_beside(struct beside *beside, struct bench *bench, struct bench_result *result)
{
    const struct bench_stage_plan plan = {.image = bench_image_recovery,
                                          .limits = {.restarts = 63, .restart_window_ns = 1},
                                          .engine = {.frame_budget_ns = frame_ns}};
    struct bench_stage *stage = &beside->stage;
    aee_error error = {0};
    memset(beside, 0, sizeof *beside);
    if (bench_stage_open(stage, bench, &plan, result) != 0 ||
        bench_stage_find(stage, "recovery_count", &beside->count, result) != 0 ||
        bench_stage_find(stage, "recovery_crash", &beside->crash, result) != 0) {
        return -1;
    }
    aee_result status = keep(beside, &error);
    for (int i = 0; i < OTHERS && status == AEE_OK; i++) {
        if (bench_stage_context(stage, &plan, &beside->others[i], result) != 0) {
            return -1;
        }
        status = aee_find_function(stage->engine, beside->others[i], "recovery_count",
                                   &beside->other_count[i], &error);
        if (status == AEE_OK) {
            status = aee_call_i64(stage->engine, beside->others[i], beside->other_count[i], NULL, 0,
                                  &beside->other_kept[i], &error);
        }
    }
    return bench_check(result, status, &error);
}

/* It must be there, with its state, and falls again. */
static int let_crash(struct beside *beside, struct bench_result *result)
{
    aee_engine *engine = beside->stage.engine;
    aee_error error = {0};
    int64_t value = 0;
    aee_result status =
        aee_call_i64(engine, beside->stage.context, beside->count, NULL, 0, &value, &error);
    if (status == AEE_ERR_RESTARTING) {
        beside->missed++;
        return 0;
    }
    if (bench_check(result, status, &error) != 0) {
        return -1;
    }
    if (value != beside->kept) {
        return bench_skip(result, "the state was lost: %lld instead of %lld", (long long)value,
                          (long long)beside->kept);
    }
    status = aee_call_i64(engine, beside->stage.context, beside->crash, NULL, 0, NULL, &error);
    beside->crashes++;
    return status == AEE_ERR_CRASHED
               ? 0
               : bench_skip(result, "a call that crashes gave %s", aee_result_name(status));
}

/* False: one of them failed, or has not the state that it had. */
static bool call_others(struct beside *beside)
{
    bool fine = true;
    for (int i = 0; i < OTHERS; i++) {
        int64_t value = 0;
        fine = aee_call_i64(beside->stage.engine, beside->others[i], beside->other_count[i], NULL,
                            0, &value, NULL) == AEE_OK &&
               value == ++beside->other_kept[i] && fine;
    }
    return fine;
}

static int play_frames(struct beside *beside, uint32_t frames, struct bench_result *result)
{
    aee_engine *engine = beside->stage.engine;
    uint64_t due = bench_now();
    for (uint32_t frame = 0; frame < frames; frame++) {
        aee_frame_info info = {0};
        aee_error error;
        bench_sleep_until(due);
        aee_result status = aee_engine_frame_begin(engine, &error);
        const uint64_t begun = bench_now();
        if (bench_check(result, status, &error) != 0 || let_crash(beside, result) != 0) {
            return -1;
        }
        const bool fine = call_others(beside);
        beside->lost += !fine || bench_now() - begun > frame_ns;
        status = aee_engine_frame_end(engine, &info, &error);
        if (bench_check(result, status, &error) != 0) {
            return -1;
        }
        beside->late += info.late != 0;
        due += frame_ns;
        due = due > bench_now() ? due : bench_now(); /* late ones are not made up for */
    }
    return 0;
}

static int run_frames_lost(struct bench *bench, struct bench_result *result)
{
    const uint32_t frames = bench->options.quick ? QUICK_FRAMES : FRAMES;
    struct beside beside;
    int status = open_beside(&beside, bench, result);
    if (status == 0) {
        status = play_frames(&beside, frames, result);
    }
    if (status == 0) {
        const double lost = beside.lost;
        result->row = (struct bench_summary){
            .p50 = lost, .p99 = lost, .max = lost, .mean = lost, .count = frames};
        result->met = beside.lost == 0;
        bench_extra(result, "crashes", beside.crashes);
        bench_extra(result, "restarts_missed", beside.missed);
        bench_extra(result, "late_frames", beside.late);
    }
    bench_stage_close(&beside.stage);
    return status;
}

const struct bench_row bench_row_frames_lost = {
    .name = "frames_lost",
    .unit = "frames",
    .target_text = "0",
    .how = "frames at 60 Hz in which a call of one of three contexts failed, lost its state or "
           "ended late, while a fourth crashes in each of them and comes back to its checkpoint",
    .target = {.own = true},
    .run = run_frames_lost,
};
