/* agents.c: a flock in a shared region. Agents steer by their neighbours (separation, alignment,
 * cohesion), which a uniform grid finds; the grid lives in the component's own heap. The same bits
 * come out of image and native module: only +, -, *, / and sqrtf(), which IEEE 754 defines exactly.
 *
 *   agents_init(region, count, seed)   makes a world of `count` agents; returns count or -1
 *   agents_step(region, dt)            one step of dt seconds; returns the count, or -1
 *   agents_checksum(region)            world_checksum() of it */
#include <math.h>
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

static void steer(const struct world_columns *world, uint32_t self)
{
    const uint32_t column = grid.cell_of[self] % grid.columns;
    const uint32_t row = grid.cell_of[self] / grid.columns;
    const uint32_t last = grid.columns - 1u;
    struct impression view = {0};
    for (uint32_t r = row - (row > 0); r <= row + (row < last); r++) {
        for (uint32_t c = column - (column > 0);
             c <= column + (column < last) && view.seen < NEIGHBOURS; c++) {
            look_into(world, self, r * grid.columns + c, &view);
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

AEE_SIGNATURE(agents_step, "i:id");
AEE_EXPORT int64_t agents_step(int64_t region, double dt)
{
    struct world_header *header = region_at(region);
    struct world_columns world;
    if (world_open(header, SIZE_MAX, &world) != 0 || !(header->width > 0.0f)) {
        return -1;
    }
    const float edge = header->width;
    grid_size(world.count, edge);
    grid_fill(&world);
    for (uint32_t i = 0; i < world.count; i++) {
        steer(&world, i);
    }
    for (uint32_t i = 0; i < world.count; i++) {
        move(&world, i, edge, (float)dt);
    }
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

AEE_SIGNATURE(agents_hunt, "i:iid");
AEE_EXPORT int64_t agents_hunt(int64_t region, int64_t stage_region, double dt)
{
    struct stage stage;
    if (stage_read(region_at(stage_region), &stage) != 0) {
        return -1;
    }
    return agents_step(region, dt) < 0 ? -1 : 0;
}
