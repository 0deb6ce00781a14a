/* mod_weather.c: a mod of the demo: wind and rain that drift, and now and then a storm. Its only
 * clock is how often it is called.
 *
 *   "weather_set" (wind, rain)   two doubles as bits: -1 to 1, 0 to 1
 *
 *   mod_init(seed), mod_tick(frame) -> checksum */
#include <stdbool.h>

#include <aee_guest.h>

#include "break.h"
#include "mod_regions.h"

#define APPROACH 0.02 /* share of the way to the next weather that is made in a tick */
#define LULL 90       /* ticks: the shortest calm; at most three times as long */
#define STORM 120     /* the same of storms */

static struct aee_random randomness;
static double wind;
static double rain;
static double wind_to;
static double rain_to;
static int64_t until; /* the tick at which the weather changes */
static int64_t ticks;
static bool storm;

static double chance(void)
{
    return (double)aee_random_float(&randomness);
}

/* After each storm a calm; two calms in three are followed by another. */
static void change(void)
{
    const int64_t least = storm ? STORM : LULL;
    storm = !storm && ticks > 0 && chance() < 1.0 / 3.0;
    const double side = chance() < 0.5 ? -1.0 : 1.0;
    const double strength = chance();
    const double wetness = chance();
    wind_to = side * (storm ? 0.75 + 0.25 * strength : 0.45 * strength);
    rain_to = storm ? 0.7 + 0.3 * wetness : wetness < 0.5 ? 0.0 : 0.5 * (wetness - 0.5);
    until = ticks + least + (int64_t)aee_random_below(&randomness, 2u * (uint64_t)least);
}

static double limit(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

AEE_SIGNATURE(mod_init, "i:i");
AEE_EXPORT int64_t mod_init(int64_t seed)
{
    aee_random_init(&randomness, (uint64_t)seed);
    wind = 0.0;
    rain = 0.0;
    ticks = 0;
    storm = false;
    change();
    return 0;
}

AEE_SIGNATURE(mod_tick, "i:i");
AEE_EXPORT int64_t mod_tick(int64_t frame)
{
    (void)frame;
    if (++ticks >= until) {
        change();
    }
    const double gust = (chance() - 0.5) * (storm ? 0.1 : 0.02);
    wind = limit(wind + (wind_to - wind) * APPROACH + gust, -1.0, 1.0);
    rain = limit(rain + (rain_to - rain) * APPROACH, 0.0, 1.0);
    (void)aee_host_call("weather_set", NULL, aee_bits(wind), aee_bits(rain));
    return (int64_t)(((uint64_t)aee_bits(wind) * 31u ^ (uint64_t)aee_bits(rain)) * 31u +
                     (uint64_t)ticks);
}
