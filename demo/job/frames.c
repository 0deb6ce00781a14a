/* frames.c: the frame loop, and why a frame was late. */
#include <string.h>
#include <time.h>

#include "demo.h"

enum { MEAN_OVER = 16 /* frames */ };

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Sleeps until `due`, and moves it on by a frame. After a late frame it starts anew from now. */
static void wait_for_frame(uint64_t *due_ns)
{
    const uint64_t now = now_ns();
    if (*due_ns > now) {
        const struct timespec due = {.tv_sec = (time_t)(*due_ns / UINT64_C(1000000000)),
                                     .tv_nsec = (long)(*due_ns % UINT64_C(1000000000))};
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    } else {
        *due_ns = now;
    }
    *due_ns += DEMO_FRAME_NS;
}

/* ---- Late frames -------------------------------------------------------------------------- */

/* Who took most beyond its usual time? */
static void note_late(struct demo *demo, uint32_t frame)
{
    uint64_t most = 0;
    int culprit = ACTORS;
    for (int i = 0; i <= ACTORS; i++) {
        const uint64_t spent = demo->spent_ns[i];
        const uint64_t usual = demo->usual_ns[i];
        if (spent > usual && spent - usual > most) {
            most = spent - usual;
            culprit = i;
        }
    }
    struct late_frames *late = &demo->late[culprit];
    demo->late_count++;
    late->count++;
    if (demo->spent_ns[culprit] > late->worst_ns) {
        late->worst_ns = demo->spent_ns[culprit];
        late->worst_frame = frame;
        late->usual_ns = demo->usual_ns[culprit];
        late->stopped = culprit < ACTORS && demo->failed_now[culprit];
    }
}

static void note_time(struct demo *demo, const aee_frame_info *info)
{
    uint64_t calls = 0;
    for (int i = 0; i < ACTORS; i++) {
        calls += demo->spent_ns[i];
    }
    demo->spent_ns[ACTORS] = info->duration_ns - calls;
    if (info->late) {
        note_late(demo, (uint32_t)info->frame);
    }
    for (int i = 0; i <= ACTORS && (!info->late || info->frame == 1); i++) {
        const uint64_t spent = demo->spent_ns[i];
        const uint64_t usual = demo->usual_ns[i];
        demo->usual_ns[i] =
            info->frame == 1 ? spent : usual + spent / MEAN_OVER - usual / MEAN_OVER;
    }
    demo->frame_ns = info->frame == 1 ? info->duration_ns
                                      : demo->frame_ns + info->duration_ns / MEAN_OVER -
                                            demo->frame_ns / MEAN_OVER;
}

/* ---- Events ------------------------------------------------------------------------------- */

/* What the thief's attacks end in they report themselves. */
static void on_event(void *user, const aee_event *event)
{
    const struct demo *demo = user;
    const bool thief = event->context.id == demo->actors[THIEF].context.id;
    /* A sentence begins with the context's name, which the line has already. */
    const char *colon = strstr(event->text, "\": ");
    const char *text = colon ? colon + 3 : event->text;
    switch (event->type) {
    case AEE_EVENT_CRASHED:
    case AEE_EVENT_HUNG:
        if (!thief) {
            report_event(demo, (uint32_t)event->frame, event->context_name, "%s: %s",
                         aee_event_name(event->type), text);
        }
        break;
    case AEE_EVENT_RESTARTED:
        if (thief) {
            break;
        } /* fall through */
    case AEE_EVENT_RESTART_FAILED:
    case AEE_EVENT_QUARANTINED:
        report_event(demo, (uint32_t)event->frame, event->context_name, "%s", text);
        break;
    default:
        break;
    }
}

static aee_result play_frame(struct demo *demo, uint32_t frame, aee_error *error)
{
    aee_frame_info info;
    const aee_result result = aee_engine_frame_begin(demo->engine, error);
    if (result != AEE_OK) {
        return result;
    }
    memset(demo->failed_now, 0, sizeof demo->failed_now);
    uint64_t before = now_ns();
    for (int i = 0; i < ACTORS; i++) {
        demo_play(demo, i, frame);
        if (i == THIEF) {
            attacks_play(demo, frame);
        }
        const uint64_t after = now_ns();
        demo->spent_ns[i] = after - before;
        before = after;
    }
    if (demo->weather.chat[0]) {
        report_event(demo, frame, demo->actors[GOOD].name, "says: %s", demo->weather.chat);
        demo->weather.chat[0] = '\0';
    }
    const aee_result ended = aee_engine_frame_end(demo->engine, &info, error);
    if (ended == AEE_OK) {
        note_time(demo, &info);
        demo_look_at_checkpoints(demo, frame);
    }
    return ended;
}

/* Without pacing there is no time between frames in which contexts come back. */
static void wait_for_restarts(struct demo *demo)
{
    for (uint32_t i = 0; i < ACTORS; i++) {
        (void)aee_wait_ready(demo->engine, demo->actors[i].context, UINT64_C(5000000000), NULL);
    }
}

aee_result frames_run(struct demo *demo, aee_error *error)
{
    (void)aee_poll_events(demo->engine, NULL, NULL);
    aee_result result = aee_set_event_callback(demo->engine, on_event, demo, error);
    uint64_t due = now_ns();
    for (uint32_t frame = 1; frame <= demo->options.frames && result == AEE_OK; frame++) {
        if (demo->options.fast) {
            wait_for_restarts(demo);
        } else {
            wait_for_frame(&due);
        }
        result = play_frame(demo, frame, error);
        report_status(demo, frame);
    }
    return result;
}
