/* mod_scoreboard.c: a mod of the demo: statistics of the hunt, from the stage.
 *
 *   "board_line" (bytes)   the line's number, '0' to '3', and its text of at most 40 printable
 *                          characters; sent when it has changed
 *
 *   mod_init(seed), mod_tick(frame) -> how many agents were caught, mixed with the best streak */
#include <stdio.h>
#include <string.h>

#include <aee_guest.h>

#include "break.h"
#include "mod_regions.h"
#include "stage_read.h"

#define LINES 4u
#define LINE_SIZE 41u
#define RATE 60u    /* frames in a second */
#define SAMPLES 64u /* of the last second, at least; the mod is not called in every frame */

struct sample {
    uint64_t frame;
    uint32_t caught;
};

static struct board {
    char lines[LINES][LINE_SIZE]; /* as they were sent */
    struct sample samples[SAMPLES];
    uint32_t sample_count; /* so far; the newest overwrites the oldest */
    uint32_t streak;       /* agents caught without a second's pause */
    uint32_t best;
    uint64_t last_catch; /* frame */
} board;

static void send_line(uint32_t number, const char *text)
{
    char payload[1u + LINE_SIZE];
    if (strncmp(board.lines[number], text, LINE_SIZE) == 0) {
        return;
    }
    const size_t length = strnlen(text, LINE_SIZE - 1u);
    payload[0] = (char)('0' + number);
    memcpy(payload + 1, text, length);
    /* A line that was not taken is sent again. */
    if (aee_host_call_bytes("board_line", payload, 1u + length, NULL, 0, NULL, NULL) ==
        AEE_HOST_OK) {
        memcpy(board.lines[number], text, length);
        board.lines[number][length] = '\0';
    }
}

/* The newest sample, or nothing before the first. */
static struct sample newest(void)
{
    const struct sample nothing = {0, 0};
    return board.sample_count == 0 ? nothing : board.samples[(board.sample_count - 1u) % SAMPLES];
}

static void take_sample(const struct stage *stage)
{
    const struct sample last = newest();
    /* Back in time: the engine has rolled back, or another scene has begun. */
    if (stage->frame < last.frame || stage->caught < last.caught) {
        board.sample_count = 0;
        board.streak = 0;
        board.last_catch = 0;
    }
    const uint32_t more = board.sample_count == 0 ? 0 : stage->caught - last.caught;
    if (stage->frame - board.last_catch > RATE) {
        board.streak = 0;
    }
    if (more > 0) {
        board.streak += more;
        board.last_catch = stage->frame;
        board.best = board.streak > board.best ? board.streak : board.best;
    }
    const struct sample sample = {stage->frame, stage->caught};
    board.samples[board.sample_count++ % SAMPLES] = sample;
    if (board.sample_count == 2u * SAMPLES) {
        board.sample_count = SAMPLES; /* the same place in the ring, and still full */
    }
}

/* Agents caught in the last second. */
static uint32_t rate(void)
{
    const struct sample now = newest();
    uint32_t oldest = now.caught;
    for (uint32_t i = 0; i < SAMPLES && i < board.sample_count; i++) {
        const struct sample sample = board.samples[i];
        if (now.frame - sample.frame <= RATE && sample.caught < oldest) {
            oldest = sample.caught;
        }
    }
    return now.caught - oldest;
}

static const char *wind_words(float wind)
{
    const float strength = wind < 0.0f ? -wind : wind;
    if (strength < 0.05f) {
        return "Calm";
    }
    if (strength < 0.25f) {
        return wind < 0.0f ? "Breeze from the right" : "Breeze from the left";
    }
    if (strength < 0.6f) {
        return wind < 0.0f ? "Wind from the right" : "Wind from the left";
    }
    return wind < 0.0f ? "Storm from the right" : "Storm from the left";
}

static const char *rain_words(float rain)
{
    if (rain < 0.03f) {
        return "dry";
    }
    return rain < 0.3f ? "some rain" : "heavy rain";
}

AEE_SIGNATURE(mod_init, "i:i");
AEE_EXPORT int64_t mod_init(int64_t seed)
{
    (void)seed;
    memset(&board, 0, sizeof board);
    return 0;
}

AEE_SIGNATURE(mod_tick, "i:i");
AEE_EXPORT int64_t mod_tick(int64_t frame)
{
    char text[LINE_SIZE];
    struct stage stage;
    (void)frame;
    if (mod_regions[STAGE_REGION_STAGE] == NULL ||
        stage_read(mod_regions[STAGE_REGION_STAGE], &stage) != 0) {
        return -1;
    }
    take_sample(&stage);
    (void)snprintf(text, sizeof text, "Caught %u, %u a second", stage.caught, rate());
    send_line(0, text);
    (void)snprintf(text, sizeof text, "Streak %u, best %u", board.streak, board.best);
    send_line(1, text);
    (void)snprintf(text, sizeof text, "%s, %s", wind_words(stage.wind), rain_words(stage.rain));
    send_line(2, text);
    const uint64_t seconds = stage.frame / RATE;
    (void)snprintf(text, sizeof text, "Hunting for %llu:%02u", (unsigned long long)(seconds / 60u),
                   (unsigned)(seconds % 60u));
    send_line(3, text);
    return (int64_t)((uint64_t)board.best << 32 | stage.caught);
}
