// mod_painter.cpp: a mod of the demo: paints the ground, a quarter of its rows in each tick: waves
// of a few deep colours that drift through one another, a fading trail behind the boss, rings of
// light where it has caught agents. It stays dark, so that what is drawn on it is seen.
//
//   mod_init(seed), mod_tick(frame) -> checksum of the rows that it has painted
#include <algorithm>
#include <array>
#include <cstdint>

#include <aee_guest.h>

#include "break.h"
#include "mod_regions.h"
#include "stage_read.h"

namespace
{

constexpr int edge = static_cast<int>(STAGE_CANVAS);
constexpr int passes = 4; // ticks in which all rows get their turn
constexpr float pixels_per_unit = static_cast<float>(edge) / STAGE_EDGE;

struct Color {
    int red, green, blue;
};

// ---- Waves -------------------------------------------------------------------------------------

// One turn of a sine in 1024 parts, from -256 to 256, of parabolas.
class Sine
{
public:
    Sine()
    {
        for (int i = 0; i < turn; i++) {
            const int half = turn / 2;
            const int at = i % half;
            const int bow = at * (half - at) * 1024 / (half * half); // 0 to 256 to 0
            values_[static_cast<std::size_t>(i)] =
                static_cast<std::int16_t>(i < half ? bow : -bow);
        }
    }
    int operator()(int phase) const
    {
        return values_[static_cast<std::size_t>(phase & (turn - 1))];
    }

private:
    static constexpr int turn = 1024;
    std::array<std::int16_t, turn> values_{};
};

// What of a wave's phase depends on one coordinate only.
using Phases = std::array<std::int16_t, STAGE_CANVAS>;

// The ground's height in [0, 256): three waves, bent by slower ones.
class Ground
{
public:
    void init(aee_random &random)
    {
        for (int &offset : offsets_) {
            offset = static_cast<int>(aee_random_below(&random, 1024));
        }
        const std::array<Color, 5> deep{
            {{6, 10, 26}, {14, 34, 68}, {9, 54, 72}, {47, 25, 80}, {11, 15, 36}}};
        for (int i = 0; i < 256; i++) {
            const int at = i * 4;
            const Color &from = deep[static_cast<std::size_t>(at / 256)];
            const Color &to = deep[static_cast<std::size_t>(at / 256) + 1];
            const int part = at % 256;
            colors_[static_cast<std::size_t>(i)] = {
                from.red + (to.red - from.red) * part / 256,
                from.green + (to.green - from.green) * part / 256,
                from.blue + (to.blue - from.blue) * part / 256};
        }
    }

    // For the rows of a tick; time goes on by 1 in two frames.
    void prepare(int time)
    {
        for (int i = 0; i < edge; i++) {
            const std::size_t at = static_cast<std::size_t>(i);
            const int bend_x = sine_(i * 5 + time * 2 + offsets_[0]) / 2;
            const int bend_y = sine_(i * 4 - time * 3 / 2 + offsets_[1]) / 2;
            x_[0][at] = static_cast<std::int16_t>(i * 6 + bend_x + time);
            y_[0][at] = static_cast<std::int16_t>(i * 3 + bend_y + offsets_[2]);
            x_[1][at] = static_cast<std::int16_t>(i * 4 - bend_x * 2 + offsets_[3]);
            y_[1][at] = static_cast<std::int16_t>(-i * 7 + bend_y + time * 3 / 2);
            x_[2][at] = static_cast<std::int16_t>(i * 9 + bend_x * 2 - time * 2);
            y_[2][at] = static_cast<std::int16_t>(i * 8 - bend_y * 2 + offsets_[4]);
        }
        shift_ = time / 2;
    }

    const Color &at(std::size_t x, std::size_t y) const
    {
        const int sum = 2 * sine_(x_[0][x] + y_[0][y]) + 2 * sine_(x_[1][x] + y_[1][y]) +
                        sine_(x_[2][x] + y_[2][y]);              // -1280 to 1280
        const int folded = sine_(sum / 2 + shift_ + offsets_[5]); // lines of equal height wander
        return colors_[static_cast<std::size_t>((folded + 256) * 255 / 512)];
    }

private:
    Sine sine_;
    std::array<int, 6> offsets_{};
    std::array<Phases, 3> x_{};
    std::array<Phases, 3> y_{};
    std::array<Color, 256> colors_{};
    int shift_ = 0;
};

// ---- Light that fades --------------------------------------------------------------------------

class Light
{
public:
    void clear()
    {
        values_.fill(0);
    }
    // Raises what is within `radius` of a place to `strength`, less towards the rim; with a hole,
    // to a ring.
    void stamp(float x, float y, float radius, float hole, int strength)
    {
        const float middle = (radius + hole) * 0.5f;
        const float half = (radius - hole) * 0.5f;
        const int bottom = pixel(y - radius);
        const int top = pixel(y + radius);
        const int right = pixel(x + radius);
        for (int row = bottom; row <= top; row++) {
            for (int column = pixel(x - radius); column <= right; column++) {
                const float dx = static_cast<float>(column) + 0.5f - x;
                const float dy = static_cast<float>(row) + 0.5f - y;
                const float away = (__builtin_sqrtf(dx * dx + dy * dy) - middle) / half;
                const float share = 1.0f - away * away;
                if (share > 0.0f) {
                    std::uint8_t &value =
                        values_[static_cast<std::size_t>(row * edge + column)];
                    const int raised = static_cast<int>(share * static_cast<float>(strength));
                    value = std::max(value, static_cast<std::uint8_t>(raised));
                }
            }
        }
    }
    // What is there now; it fades.
    int take(std::size_t place, int share)
    {
        std::uint8_t &value = values_[place];
        const int now = value;
        value = static_cast<std::uint8_t>(now - (now + share - 1) / share);
        return now;
    }

private:
    static int pixel(float coordinate)
    {
        return static_cast<int>(stage_clamp(coordinate, 0.0f, static_cast<float>(edge - 1)));
    }

    std::array<std::uint8_t, STAGE_CANVAS * STAGE_CANVAS> values_{};
};

// A ring that grows.
struct Splash {
    float x, y;
    int age; // ticks; too old: there is none
    int strength;
};

// ---- The painter -------------------------------------------------------------------------------

class Painter
{
public:
    void init(std::uint64_t seed)
    {
        aee_random random;
        aee_random_init(&random, seed);
        ground_.init(random);
        trail_.clear();
        light_.clear();
        splashes_.fill({0.0f, 0.0f, oldest, 0});
        caught_ = 0;
        ticks_ = 0;
    }

    std::uint64_t tick(int time, const stage &stage, std::uint32_t *canvas)
    {
        watch(stage);
        ground_.prepare(time);
        std::uint64_t sum = 0;
        for (int row = order[ticks_ % passes]; row < edge; row += passes) {
            sum = sum * 31 + paint_row(static_cast<std::size_t>(row), canvas);
        }
        ticks_++;
        return sum;
    }

private:
    static constexpr int oldest = 24;
    static constexpr std::array<int, passes> order{{0, 2, 1, 3}};

    // Where the boss is, there is a trail; where it has caught somebody, a ring begins.
    void watch(const stage &stage)
    {
        const float x = stage.boss.x * pixels_per_unit;
        const float y = stage.boss.y * pixels_per_unit;
        const float radius = stage.boss.radius * pixels_per_unit;
        if (radius > 0.0f) {
            trail_.stamp(x, y, radius * 1.2f, -radius * 1.2f, 200);
        }
        if (stage.caught > caught_ && ticks_ > 0 && ticks_ % 3 == 0) {
            const std::uint32_t more = std::min<std::uint32_t>(stage.caught - caught_, 10);
            splashes_[next_++ % splashes_.size()] = {x, y, 0, 60 + 15 * static_cast<int>(more)};
            caught_ = stage.caught;
        }
        caught_ = ticks_ == 0 ? stage.caught : std::min(caught_, stage.caught);
        for (Splash &splash : splashes_) {
            if (splash.age < oldest) {
                const float size = 6.0f + 0.8f * static_cast<float>(splash.age);
                light_.stamp(splash.x, splash.y, size, size - 5.0f,
                             splash.strength * (oldest - splash.age) / oldest);
                splash.age++;
            }
        }
    }

    std::uint64_t paint_row(std::size_t row, std::uint32_t *canvas)
    {
        std::uint64_t sum = 0;
        for (std::size_t column = 0; column < STAGE_CANVAS; column++) {
            const std::size_t place = row * STAGE_CANVAS + column;
            const Color &ground = ground_.at(column, row);
            const int trail = trail_.take(place, 24);
            const int light = light_.take(place, 5);
            // The ground alone has at most 19 % of white's luminance, all together 35 %.
            const int red = ground.red + trail * 60 / 256 + light * 44 / 256;
            const int green = ground.green + trail * 8 / 256 + light * 28 / 256;
            const int blue = ground.blue + trail * 36 / 256 + light * 26 / 256;
            const std::uint32_t color = 0xff000000u | static_cast<std::uint32_t>(blue) << 16 |
                                        static_cast<std::uint32_t>(green) << 8 |
                                        static_cast<std::uint32_t>(red);
            canvas[place] = color;
            sum += color;
        }
        return sum;
    }

    Ground ground_;
    Light trail_;
    Light light_;
    std::array<Splash, 8> splashes_{};
    std::size_t next_ = 0;
    std::uint32_t caught_ = 0;
    unsigned ticks_ = 0;
};

Painter painter;

} // namespace

AEE_SIGNATURE(mod_init, "i:i");
AEE_EXPORT std::int64_t mod_init(std::int64_t seed)
{
    painter.init(static_cast<std::uint64_t>(seed));
    return 0;
}

AEE_SIGNATURE(mod_tick, "i:i");
AEE_EXPORT std::int64_t mod_tick(std::int64_t frame)
{
    stage now;
    if (mod_regions[STAGE_REGION_STAGE] == nullptr ||
        mod_regions[STAGE_REGION_CANVAS] == nullptr ||
        stage_read(mod_regions[STAGE_REGION_STAGE], &now) != 0) {
        return -1;
    }
    // The waves have come round after so long.
    const int time = static_cast<int>(frame / 2 & 0x1fff);
    return static_cast<std::int64_t>(painter.tick(
        time, now, static_cast<std::uint32_t *>(mod_regions[STAGE_REGION_CANVAS])));
}
