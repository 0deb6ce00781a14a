// mod_boss.cpp: a mod of the demo: the boss. It prowls towards where the agents are thickest,
// charges, is out of breath, and begins again.
//
//   "boss_set" (x, y, radius)   three doubles as bits: where it is now
//
//   mod_init(seed), mod_tick(frame) -> checksum of its state
#include <array>
#include <cmath>
#include <cstdint>

#include <aee_guest.h>

#include "break.h"
#include "mod_regions.h"
#include "stage_read.h"
#include "world.h"

namespace
{

constexpr float frame_s = 1.0f / 60.0f;
constexpr int longest_pause = 12; // frames between two ticks that are made up for

struct Vector {
    float x = 0.0f;
    float y = 0.0f;

    Vector operator+(Vector other) const
    {
        return {x + other.x, y + other.y};
    }
    Vector operator-(Vector other) const
    {
        return {x - other.x, y - other.y};
    }
    Vector operator*(float factor) const
    {
        return {x * factor, y * factor};
    }
    float length() const
    {
        return std::sqrt(x * x + y * y);
    }
    // The same direction, so long; nothing stays nothing.
    Vector with_length(float wanted) const
    {
        const float now = length();
        return now > 0.0f ? *this * (wanted / now) : Vector{};
    }
};

// What it does, for how long, how fast it wants to be and gets so, how large it makes itself.
struct Mood {
    float seconds;
    float speed;
    float acceleration;
    float radius;
};
enum MoodName { PROWL, CHARGE, REST, MOODS };
constexpr std::array<Mood, MOODS> moods{{
    {2.2f, 45.0f, 90.0f, 24.0f},
    {1.6f, 190.0f, 320.0f, 32.0f},
    {1.4f, 6.0f, 110.0f, 20.0f},
}};

// How many agents are where, coarsely.
class Crowd
{
public:
    void count(const world_columns &world)
    {
        cells_.fill(0);
        for (std::uint32_t i = 0; i < world.count; i++) {
            cells_[at(world.x[i], world.y[i])]++;
        }
    }
    // The middle of the cell with the most agents; those count for more that are neither at the
    // border nor where it is already nor far away.
    Vector thickest(Vector from) const
    {
        float best = -1.0f;
        Vector place{STAGE_EDGE * 0.5f, STAGE_EDGE * 0.5f};
        for (std::size_t cell = 0; cell < cells_.size(); cell++) {
            const Vector middle{(static_cast<float>(cell % columns) + 0.5f) * edge,
                                (static_cast<float>(cell / columns) + 0.5f) * edge};
            const float off = std::fabs((middle - from).length() - liked);
            const bool is_border = cell % columns == 0 || cell % columns == columns - 1 ||
                                   cell / columns == 0 || cell / columns == columns - 1;
            const float weight = static_cast<float>(cells_[cell]) * (is_border ? 0.3f : 1.0f) /
                                 (2.0f * liked + off);
            if (weight > best) {
                best = weight;
                place = middle;
            }
        }
        return place;
    }

private:
    static constexpr std::size_t columns = 16;
    static constexpr float liked = 220.0f; // way to go
    static constexpr float edge = STAGE_EDGE / static_cast<float>(columns);

    static std::size_t coordinate(float value)
    {
        // Also for what is not a number.
        const float inside = value > 0.0f ? value : 0.0f;
        return inside < STAGE_EDGE ? static_cast<std::size_t>(inside / edge) : columns - 1;
    }
    static std::size_t at(float x, float y)
    {
        return coordinate(y) * columns + coordinate(x);
    }

    std::array<std::uint32_t, columns * columns> cells_{};
};

class Boss
{
public:
    void init(std::uint64_t seed)
    {
        *this = Boss();
        aee_random_init(&random_, seed);
        place_ = {STAGE_EDGE * (0.3f + 0.4f * chance()), STAGE_EDGE * (0.3f + 0.4f * chance())};
        left_s_ = moods[PROWL].seconds * (0.5f + chance());
    }

    void tick(std::int64_t frame, const world_columns &agents, const stage &stage)
    {
        const std::int64_t passed = frame - frame_;
        const float dt =
            frame_s * static_cast<float>(passed < 1 ? 1 : passed < longest_pause ? passed
                                                                                 : longest_pause);
        frame_ = frame;
        left_s_ -= dt;
        if (left_s_ <= 0.0f) {
            change_mood(agents);
        } else if (mood_ == PROWL && (frame & 7) == 0) {
            look(agents);
        }
        const float wanted = moods[mood_].radius;
        radius_ += (wanted - radius_) * (dt < 0.2f ? 5.0f * dt : 1.0f);
        go(dt, stage);
    }

    Vector place() const
    {
        return place_;
    }
    float radius() const
    {
        return radius_;
    }

private:
    float chance()
    {
        return aee_random_float(&random_);
    }

    void look(const world_columns &agents)
    {
        crowd_.count(agents);
        target_ = crowd_.thickest(place_);
    }

    // A charge aims beyond its target and does not look again.
    void change_mood(const world_columns &agents)
    {
        mood_ = mood_ == PROWL ? CHARGE : mood_ == CHARGE && chance() < 0.75f ? REST : PROWL;
        left_s_ = moods[mood_].seconds * (0.7f + 0.6f * chance());
        if (mood_ != REST) {
            look(agents);
        }
        if (mood_ == CHARGE) {
            target_ = target_ + (target_ - place_).with_length(150.0f);
        }
        // In a corner it would be stuck with those that it has driven there.
        target_.x = stage_clamp(target_.x, shy, STAGE_EDGE - shy);
        target_.y = stage_clamp(target_.y, shy, STAGE_EDGE - shy);
    }

    void go(float dt, const stage &stage)
    {
        const Mood &mood = moods[mood_];
        const Vector way = target_ - place_;
        const float far = way.length();
        const Vector wanted = way.with_length(far < mood.speed ? far : mood.speed);
        const Vector change = wanted - speed_ + around_obstacles(stage);
        const float most = mood.acceleration * dt;
        const float much = change.length();
        speed_ = speed_ + (much > most ? change.with_length(most) : change);
        place_ = place_ + speed_ * dt;
        for (std::uint32_t i = 0; i < stage.obstacle_count; i++) {
            leave(stage.obstacles[i]);
        }
        place_.x = stage_clamp(place_.x, radius_, STAGE_EDGE - radius_);
        place_.y = stage_clamp(place_.y, radius_, STAGE_EDGE - radius_);
    }

    // The velocity that it would rather have for the sake of obstacles: past them, on the side
    // where it is going.
    Vector around_obstacles(const stage &stage) const
    {
        Vector sum;
        for (std::uint32_t i = 0; i < stage.obstacle_count; i++) {
            const stage_disc &disc = stage.obstacles[i];
            const Vector from = place_ - Vector{disc.x, disc.y};
            const float gap = from.length() - disc.radius - radius_;
            if (disc.radius > 0.0f && gap < margin) {
                const float side = from.x * speed_.y - from.y * speed_.x < 0.0f ? -1.0f : 1.0f;
                const Vector away = from.with_length(120.0f * (1.0f - gap / margin));
                sum = sum + away + Vector{-away.y, away.x} * (1.5f * side);
            }
        }
        return sum;
    }

    void leave(const stage_disc &disc)
    {
        const Vector from = place_ - Vector{disc.x, disc.y};
        const float least = disc.radius + radius_;
        if (disc.radius > 0.0f && from.length() < least) {
            const Vector out = from.length() > 0.0f ? from : Vector{1.0f, 0.0f};
            place_ = Vector{disc.x, disc.y} + out.with_length(least);
        }
    }

    static constexpr float margin = 60.0f;
    static constexpr float shy = 130.0f; // of borders

    aee_random random_{};
    Crowd crowd_;
    Vector place_;
    Vector speed_;
    Vector target_{STAGE_EDGE * 0.5f, STAGE_EDGE * 0.5f};
    float radius_ = moods[PROWL].radius;
    float left_s_ = 0.0f;
    MoodName mood_ = PROWL;
    std::int64_t frame_ = 0;
};

Boss boss;

} // namespace

AEE_SIGNATURE(mod_init, "i:i");
AEE_EXPORT std::int64_t mod_init(std::int64_t seed)
{
    boss.init(static_cast<std::uint64_t>(seed));
    return 0;
}

AEE_SIGNATURE(mod_tick, "i:i");
AEE_EXPORT std::int64_t mod_tick(std::int64_t frame)
{
    stage now;
    world_columns agents;
    if (mod_regions[STAGE_REGION_STAGE] == nullptr ||
        mod_regions[STAGE_REGION_AGENTS] == nullptr ||
        stage_read(mod_regions[STAGE_REGION_STAGE], &now) != 0 ||
        world_open(mod_regions[STAGE_REGION_AGENTS], SIZE_MAX, &agents) != 0) {
        return -1;
    }
    boss.tick(frame, agents, now);
    const std::int64_t x = aee_bits(static_cast<double>(boss.place().x));
    const std::int64_t y = aee_bits(static_cast<double>(boss.place().y));
    const std::int64_t radius = aee_bits(static_cast<double>(boss.radius()));
    (void)aee_host_call("boss_set", nullptr, x, y, radius);
    return static_cast<std::int64_t>((static_cast<std::uint64_t>(x) * 31u ^
                                      static_cast<std::uint64_t>(y)) *
                                         31u +
                                     static_cast<std::uint64_t>(frame));
}
