/* mod_good.c: a well-behaved mod: weather that drifts, rain that scores. It asks the engine for
 * functions by name and goes on where they are not granted:
 *
 *   "weather_set" (wind, rain)   two doubles as bits: the weather of this frame
 *   "score_add" (points)         adds to the game's score; returns the new score
 *   "chat" (bytes)               one line for the players
 *
 * The interface of every mod here: mod_init(seed), mod_tick(frame) -> checksum, mod_arm(frame): at
 * that frame it does what its name says. This one announces a storm. */
#include <stdio.h>

#include <aee_guest.h>

#define RAIN_FROM 0.6

static struct aee_random randomness;
static double wind;
static double rain;
static int64_t score;
static int64_t ticks;
static int64_t refused;
static int64_t armed_frame = -1;

static void note(int32_t status)
{
    if (status != AEE_HOST_OK) {
        refused++;
    }
}

static double drift(double value, double low, double high)
{
    const double next = value + ((double)aee_random_float(&randomness) - 0.5) * 0.1;
    return next < low ? low : next > high ? high : next;
}

static void announce_storm(int64_t frame)
{
    char line[64];
    const int length =
        snprintf(line, sizeof line, "storm at frame %lld, wind %.3f", (long long)frame, wind);
    note(aee_host_call_bytes("chat", line, (size_t)length, NULL, 0, NULL, NULL));
    aee_log("%s", line);
}

AEE_SIGNATURE(mod_init, "i:i");
AEE_EXPORT int64_t mod_init(int64_t seed)
{
    aee_random_init(&randomness, (uint64_t)seed);
    wind = 0.0;
    rain = 0.5;
    score = 0;
    ticks = 0;
    refused = 0;
    armed_frame = -1;
    aee_log("weather mod ready, seed %lld", (long long)seed);
    return 0;
}

AEE_SIGNATURE(mod_arm, "i:i");
AEE_EXPORT int64_t mod_arm(int64_t frame)
{
    armed_frame = frame;
    return 0;
}

AEE_SIGNATURE(mod_tick, "i:i");
AEE_EXPORT int64_t mod_tick(int64_t frame)
{
    ticks++;
    wind = drift(wind, -1.0, 1.0);
    rain = drift(rain, 0.0, 1.0);
    if (frame == armed_frame) {
        wind = 1.0;
        rain = 1.0;
        announce_storm(frame);
    }
    note(aee_host_call("weather_set", NULL, aee_bits(wind), aee_bits(rain)));
    if (rain > RAIN_FROM) {
        int64_t total = 0;
        const int32_t status = aee_host_call("score_add", &total, 1);
        note(status);
        score += status == AEE_HOST_OK;
    }
    return (int64_t)(((uint64_t)aee_bits(wind) * 31u ^ (uint64_t)aee_bits(rain)) * 31u +
                     (uint64_t)ticks);
}

AEE_SIGNATURE(mod_ticks, "i:");
AEE_EXPORT int64_t mod_ticks(void)
{
    return ticks;
}

/* Points that the engine accepted, and host calls that it refused. */
AEE_SIGNATURE(mod_score, "i:");
AEE_EXPORT int64_t mod_score(void)
{
    return score;
}

AEE_SIGNATURE(mod_refused, "i:");
AEE_EXPORT int64_t mod_refused(void)
{
    return refused;
}
