/* agents.c: a flock in a shared region. Agents steer by their neighbours (separation, alignment,
 * cohesion), which a uniform grid finds; the grid lives in the component's own heap. The same bits
 * come out of image and native module: only +, -, *, / and sqrtf(), which IEEE 754 defines exactly.
 *
 *   agents_init(region, count, seed)   makes a world of `count` agents; returns count or -1
 *   agents_step(region, dt)            one step of dt seconds; returns the count, or -1
 *   agents_hunt(region, stage, dt)     a step of at most 0.1 s with wind, obstacles and the boss of
 *                                      a stage; returns how many agents the boss has caught, or -1
 *   agents_checksum(region)            world_checksum() of it */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include <aee_guest.h>

#include "break.h"
#include "region.h"
#include "stage_read.h"
#include "world.h"

#define RADIUS 15.0f      /* how far an agent sees; edge of a grid cell */
#define NEIGHBOURS 12     /* that it heeds at most */
#define AGENT_SPACE 10.0f /* world edge = this * sqrt(count): the same density for every count */
#define MIN_SPEED 10.0f
#define MAX_SPEED 40.0f
#define SEPARATION 60.0f
#define ALIGNMENT 1.0f
#define COHESION 0.5f

/* Of a hunt. */
#define LONGEST_STEP 0.1f /* s: agents go less far than MARGIN in it */
#define MARGIN 25.0f      /* around obstacles and borders: there agents turn away */
#define FEAR 120.0f       /* from the boss's rim: there they flee */
#define AVOID 150.0f      /* accelerations */
#define PASS 80.0f
#define FLEE 160.0f
#define CARRY 4.0f
#define BORDER 8.0f /* per unit of length */
#define CALM 0.12f  /* share of the velocity that is lost in a second */
#define PLACES 32   /* that are tried for an agent that reappears */

/* Agents sorted by cell: cell c holds entries [start[c], start[c + 1]) of `order`. */
static struct grid {
    uint32_t columns; /* cells per edge */
    uint32_t capacity;
    uint32_t *start;
    uint32_t *order;
    uint32_t *cell_of;
    float *ax; /* steering of this step */
    float *ay;
} grid;

static uint32_t cell_coordinate(float value)
{
    const int32_t cell = (int32_t)(value * (1.0f / RADIUS));
    if (cell < 0) {
        return 0;
    }
    return (uint32_t)cell < grid.columns ? (uint32_t)cell : grid.columns - 1u;
}

static void *need(void *old, size_t count, size_t size)
{
    void *memory = realloc(old, count * size);
    if (memory == NULL) {
        aee_out_of_memory();
    }
    return memory;
}

static void grid_size(uint32_t count, float edge)
{
    uint32_t columns = (uint32_t)(edge * (1.0f / RADIUS));
    columns = columns < 1u ? 1u : columns;
    if (grid.columns == columns && grid.capacity >= count) {
        return;
    }
    grid.start = need(grid.start, (size_t)columns * columns + 1u, sizeof *grid.start);
    grid.order = need(grid.order, count, sizeof *grid.order);
    grid.cell_of = need(grid.cell_of, count, sizeof *grid.cell_of);
    grid.ax = need(grid.ax, count, sizeof *grid.ax);
    grid.ay = need(grid.ay, count, sizeof *grid.ay);
    grid.columns = columns;
    grid.capacity = count;
}

/* Counting sort of the agents by cell. */
static void grid_fill(const struct world_columns *world)
{
    const uint32_t cells = grid.columns * grid.columns;
    for (uint32_t c = 0; c <= cells; c++) {
        grid.start[c] = 0;
    }
    for (uint32_t i = 0; i < world->count; i++) {
        const uint32_t cell =
            cell_coordinate(world->y[i]) * grid.columns + cell_coordinate(world->x[i]);
        grid.cell_of[i] = cell;
        grid.start[cell]++;
    }
    uint32_t sum = 0;
    for (uint32_t c = 0; c < cells; c++) {
        sum += grid.start[c];
        grid.start[c] = sum; /* the end, until filling from the back makes it the start */
    }
    grid.start[cells] = sum;
    for (uint32_t i = world->count; i-- > 0;) {
        grid.order[--grid.start[grid.cell_of[i]]] = i;
    }
}

struct impression {
    float away_x, away_y;
    float sum_x, sum_y;
    float sum_vx, sum_vy;
    uint32_t seen;
};

/* Adds the neighbours of one cell to what an agent sees. */
static void look_into(const struct world_columns *world, uint32_t self, uint32_t cell,
                      struct impression *view)
{
    const float x = world->x[self];
    const float y = world->y[self];
    for (uint32_t k = grid.start[cell]; k < grid.start[cell + 1u]; k++) {
        const uint32_t other = grid.order[k];
        const float dx = world->x[other] - x;
        const float dy = world->y[other] - y;
        const float square = dx * dx + dy * dy;
        if (other == self || square >= RADIUS * RADIUS) {
            continue;
        }
        const float weight = 1.0f / (square + 1.0f);
        view->away_x -= dx * weight;
        view->away_y -= dy * weight;
        view->sum_x += dx;
        view->sum_y += dy;
        view->sum_vx += world->vx[other];
        view->sum_vy += world->vy[other];
        if (++view->seen == NEIGHBOURS) {
            return;
        }
    }
}

/* Looks around, and steers by that. An agent in a crowd heeds those that it sees first: from below,
 * or, turned around, from above. */
static inline __attribute__((always_inline)) void steer(const struct world_columns *world,
                                                        uint32_t self, bool turned)
{
    const uint32_t column = grid.cell_of[self] % grid.columns;
    const uint32_t row = grid.cell_of[self] / grid.columns;
    const uint32_t last = grid.columns - 1u;
    const uint32_t low_row = row - (row > 0);
    const uint32_t high_row = row + (row < last);
    const uint32_t low = column - (column > 0);
    const uint32_t high = column + (column < last);
    struct impression view = {0};
    for (uint32_t r = low_row; r <= high_row; r++) {
        const uint32_t y = turned ? high_row + low_row - r : r;
        for (uint32_t c = low; c <= high && view.seen < NEIGHBOURS; c++) {
            look_into(world, self, y * grid.columns + (turned ? high + low - c : c), &view);
        }
    }
    grid.ax[self] = 0.0f;
    grid.ay[self] = 0.0f;
    if (view.seen > 0) {
        const float share = 1.0f / (float)view.seen;
        grid.ax[self] = SEPARATION * view.away_x + COHESION * view.sum_x * share +
                        ALIGNMENT * (view.sum_vx * share - world->vx[self]);
        grid.ay[self] = SEPARATION * view.away_y + COHESION * view.sum_y * share +
                        ALIGNMENT * (view.sum_vy * share - world->vy[self]);
    }
}

/* The factor that brings a velocity between the speed limits. */
static float speed_limit(float vx, float vy)
{
    const float speed = sqrtf(vx * vx + vy * vy);
    if (speed > MAX_SPEED) {
        return MAX_SPEED / speed;
    }
    return speed < MIN_SPEED && speed > 0.0f ? MIN_SPEED / speed : 1.0f;
}

/* Keeps a coordinate in [0, edge) by turning the velocity around at the borders. */
static float keep_inside(float value, float edge, float *velocity)
{
    if (value < 0.0f) {
        *velocity = *velocity < 0.0f ? -*velocity : *velocity;
        return 0.0f;
    }
    if (value >= edge) {
        *velocity = *velocity > 0.0f ? -*velocity : *velocity;
        return edge * 0.9999f;
    }
    return value;
}

static void move(const struct world_columns *world, uint32_t i, float edge, float dt)
{
    float vx = world->vx[i] + grid.ax[i] * dt;
    float vy = world->vy[i] + grid.ay[i] * dt;
    const float factor = speed_limit(vx, vy);
    vx *= factor;
    vy *= factor;
    world->x[i] = keep_inside(world->x[i] + vx * dt, edge, &vx);
    world->y[i] = keep_inside(world->y[i] + vy * dt, edge, &vy);
    world->vx[i] = vx;
    world->vy[i] = vy;
}

AEE_SIGNATURE(agents_init, "i:iii");
AEE_EXPORT int64_t agents_init(int64_t region, int64_t count, int64_t seed)
{
    if (count < 1 || count > WORLD_MAX_ENTITIES) {
        return -1;
    }
    const float edge = AGENT_SPACE * sqrtf((float)count);
    const struct world_columns world =
        world_format(region_at(region), (uint32_t)count, edge, edge, (uint64_t)seed);
    struct aee_random random;
    aee_random_init(&random, (uint64_t)seed);
    for (uint32_t i = 0; i < world.count; i++) {
        world.x[i] = aee_random_float(&random) * edge;
        world.y[i] = aee_random_float(&random) * edge;
        world.vx[i] = (aee_random_float(&random) - 0.5f) * MAX_SPEED;
        world.vy[i] = (aee_random_float(&random) - 0.5f) * MAX_SPEED;
    }
    return count;
}

static void steer_all(const struct world_columns *world, float edge, bool turned)
{
    grid_size(world->count, edge);
    grid_fill(world);
    for (uint32_t i = 0; i < world->count && !turned; i++) {
        steer(world, i, false);
    }
    for (uint32_t i = 0; i < world->count && turned; i++) {
        steer(world, i, true);
    }
}

static void move_all(const struct world_columns *world, float edge, float dt)
{
    for (uint32_t i = 0; i < world->count; i++) {
        move(world, i, edge, dt);
    }
}

AEE_SIGNATURE(agents_step, "i:id");
AEE_EXPORT int64_t agents_step(int64_t region, double dt)
{
    struct world_header *header = region_at(region);
    struct world_columns world;
    if (world_open(header, SIZE_MAX, &world) != 0 || !(header->width > 0.0f)) {
        return -1;
    }
    const float edge = header->width;
    steer_all(&world, edge, false);
    move_all(&world, edge, (float)dt);
    header->frame++;
    return world.count;
}

AEE_SIGNATURE(agents_checksum, "i:i");
AEE_EXPORT int64_t agents_checksum(int64_t region)
{
    struct world_columns world;
    if (world_open(region_at(region), SIZE_MAX, &world) != 0) {
        return -1;
    }
    return (int64_t)world_checksum(&world);
}

/* ---- The hunt --------------------------------------------------------------------------------- */

/* The stage as this step sees it, and the world it is in. */
struct hunt {
    struct world_columns world;
    float edge;
    struct stage stage;
    int64_t caught;
};

/* Calls do_agent for the agents that were within `reach` of a disc's centre at the step's begin,
 * and for some others near by. */
static inline __attribute__((always_inline)) void
near_disc(struct hunt *hunt, const struct stage_disc *disc, float reach,
          void (*do_agent)(struct hunt *hunt, const struct stage_disc *disc, uint32_t agent))
{
    if (disc->radius == 0.0f) {
        return;
    }
    const uint32_t first = cell_coordinate(disc->x - reach);
    const uint32_t last = cell_coordinate(disc->x + reach);
    const uint32_t top = cell_coordinate(disc->y + reach);
    for (uint32_t row = cell_coordinate(disc->y - reach); row <= top; row++) {
        /* Cells of a row follow one another, and so do their agents. */
        const uint32_t end = grid.start[row * grid.columns + last + 1u];
        for (uint32_t k = grid.start[row * grid.columns + first]; k < end; k++) {
            do_agent(hunt, disc, grid.order[k]);
        }
    }
}

static bool is_inside(const struct stage_disc *disc, float x, float y)
{
    const float dx = x - disc->x;
    const float dy = y - disc->y;
    return dx * dx + dy * dy < disc->radius * disc->radius;
}

/* Away from the disc, and past it on the side where the agent is going. */
static void avoid(struct hunt *hunt, const struct stage_disc *disc, uint32_t agent)
{
    const struct world_columns *world = &hunt->world;
    const float dx = world->x[agent] - disc->x;
    const float dy = world->y[agent] - disc->y;
    const float reach = disc->radius + MARGIN;
    const float square = dx * dx + dy * dy;
    if (square >= reach * reach || !(square > 0.0f)) {
        return;
    }
    const float distance = sqrtf(square);
    const float push = (reach - distance) / (MARGIN * distance);
    const float side = dx * world->vy[agent] - dy * world->vx[agent] < 0.0f ? -PASS : PASS;
    grid.ax[agent] += push * (AVOID * dx - side * dy);
    grid.ay[agent] += push * (AVOID * dy + side * dx);
}

static void flee(struct hunt *hunt, const struct stage_disc *boss, uint32_t agent)
{
    const float dx = hunt->world.x[agent] - boss->x;
    const float dy = hunt->world.y[agent] - boss->y;
    const float reach = boss->radius + FEAR;
    const float square = dx * dx + dy * dy;
    if (square >= reach * reach || !(square > 0.0f)) {
        return;
    }
    const float distance = sqrtf(square);
    const float push = FLEE * (reach - distance) / (FEAR * distance);
    grid.ax[agent] += push * dx;
    grid.ay[agent] += push * dy;
}

/* Wind, what keeps agents from crowding at the borders, and what calms them. Selects instead of
 * branches, as vector code has them. */
static void carry(const struct hunt *hunt)
{
    const float *restrict x = hunt->world.x;
    const float *restrict y = hunt->world.y;
    const float *restrict vx = hunt->world.vx;
    const float *restrict vy = hunt->world.vy;
    float *restrict ax = grid.ax;
    float *restrict ay = grid.ay;
    const float high = hunt->edge - MARGIN;
    const float wind = CARRY * hunt->stage.wind;
    for (uint32_t i = 0; i < hunt->world.count; i++) {
        const float low_x = x[i] < MARGIN ? MARGIN - x[i] : 0.0f;
        const float low_y = y[i] < MARGIN ? MARGIN - y[i] : 0.0f;
        const float high_x = x[i] > high ? high - x[i] : 0.0f;
        const float high_y = y[i] > high ? high - y[i] : 0.0f;
        ax[i] += wind + BORDER * (low_x + high_x) - CALM * vx[i];
        ay[i] += BORDER * (low_y + high_y) - CALM * vy[i];
    }
}

static bool is_free(const struct stage *stage, float x, float y)
{
    bool taken = is_inside(&stage->boss, x, y);
    for (uint32_t i = 0; i < STAGE_OBSTACLES; i++) {
        taken = taken || is_inside(&stage->obstacles[i], x, y);
    }
    return !taken;
}

/* Puts an agent somewhere at the border, going inwards: always the same place for the same agent
 * and frame. */
static void reappear(struct hunt *hunt, uint32_t agent)
{
    const struct world_columns *world = &hunt->world;
    struct aee_random random;
    aee_random_init(&random, hunt->stage.frame * WORLD_MAX_ENTITIES + agent);
    for (int i = 0; i < PLACES; i++) {
        const float along = aee_random_float(&random) * hunt->edge;
        const uint64_t side = aee_random_below(&random, 4);
        const float across = side < 2u ? 0.001f * hunt->edge : 0.999f * hunt->edge;
        const float speed = side < 2u ? MIN_SPEED : -MIN_SPEED;
        const bool upright = side % 2u == 0u;
        world->x[agent] = upright ? across : along;
        world->y[agent] = upright ? along : across;
        world->vx[agent] = upright ? speed : 0.0f;
        world->vy[agent] = upright ? 0.0f : speed;
        if (is_free(&hunt->stage, world->x[agent], world->y[agent])) {
            return;
        }
    }
}

/* To the disc's rim, and the velocity turned outwards. */
static void push_out(const struct hunt *hunt, const struct stage_disc *disc, uint32_t agent)
{
    const struct world_columns *world = &hunt->world;
    float nx = world->x[agent] - disc->x;
    float ny = world->y[agent] - disc->y;
    const float distance = sqrtf(nx * nx + ny * ny);
    nx = distance > 0.0f ? nx / distance : 1.0f;
    ny = distance > 0.0f ? ny / distance : 0.0f;
    const float inwards = nx * world->vx[agent] + ny * world->vy[agent];
    const float turn = inwards < 0.0f ? 2.0f * inwards : 0.0f;
    world->vx[agent] -= turn * nx;
    world->vy[agent] -= turn * ny;
    const float rim = disc->radius + 0.02f; /* more than rounding takes away */
    world->x[agent] = keep_inside(disc->x + nx * rim, hunt->edge, &world->vx[agent]);
    world->y[agent] = keep_inside(disc->y + ny * rim, hunt->edge, &world->vy[agent]);
}

/* An agent that is in an obstacle leaves it; where it comes into the next one, and has no way out
 * between it and the border, it reappears elsewhere. */
static void settle(struct hunt *hunt, const struct stage_disc *disc, uint32_t agent)
{
    const struct world_columns *world = &hunt->world;
    if (!is_inside(disc, world->x[agent], world->y[agent])) {
        return;
    }
    push_out(hunt, disc, agent);
    for (uint32_t i = 0; i < STAGE_OBSTACLES; i++) {
        if (is_inside(&hunt->stage.obstacles[i], world->x[agent], world->y[agent])) {
            reappear(hunt, agent);
            return;
        }
    }
}

static void take(struct hunt *hunt, const struct stage_disc *boss, uint32_t agent)
{
    if (is_inside(boss, hunt->world.x[agent], hunt->world.y[agent])) {
        reappear(hunt, agent);
        hunt->caught++;
    }
}

AEE_SIGNATURE(agents_hunt, "i:iid");
AEE_EXPORT int64_t agents_hunt(int64_t region, int64_t stage, double dt)
{
    struct world_header *header = region_at(region);
    struct hunt hunt = {.edge = header->width};
    const struct stage_disc *boss = &hunt.stage.boss;
    if (world_open(header, SIZE_MAX, &hunt.world) != 0 || !(hunt.edge > 0.0f) ||
        stage_read(region_at(stage), &hunt.stage) != 0) {
        return -1;
    }
    /* Turned around in every other frame, or the crowd would drift upwards. */
    steer_all(&hunt.world, hunt.edge, hunt.stage.frame % 2u == 1u);
    carry(&hunt);
    for (uint32_t i = 0; i < STAGE_OBSTACLES; i++) {
        const struct stage_disc *obstacle = &hunt.stage.obstacles[i];
        near_disc(&hunt, obstacle, obstacle->radius + MARGIN, avoid);
    }
    near_disc(&hunt, boss, boss->radius + FEAR, flee);
    move_all(&hunt.world, hunt.edge, stage_clamp((float)dt, 0.0f, LONGEST_STEP));
    for (uint32_t i = 0; i < STAGE_OBSTACLES; i++) {
        const struct stage_disc *obstacle = &hunt.stage.obstacles[i];
        near_disc(&hunt, obstacle, obstacle->radius + MARGIN, settle);
    }
    near_disc(&hunt, boss, boss->radius + FEAR, take);
    header->frame++;
    return hunt.caught;
}
