/* test_stage.c: the components of the visual demo on a stage: the same bits as their native builds,
 * and rules that hold for whatever the stage says. */
#include "stage_bed.h"

/* ---- The same bits ------------------------------------------------------------------------------ */

struct theatre {
    struct shared stage, agents, particles, list;
    void *native_agents, *native_particles, *plain_particles, *native_list;
};

static struct theatre open_theatre(struct bed *bed)
{
    const size_t list = draw_size(AGENTS + PARTICLES);
    struct theatre theatre = {.stage = share(bed, "stage", sizeof(struct stage)),
                              .agents = share(bed, "agents", world_size(AGENTS)),
                              .particles = share(bed, "particles", world_size(PARTICLES)),
                              .list = share(bed, "list", list)};
    theatre.native_agents = calloc(1, world_size(AGENTS));
    theatre.native_particles = calloc(1, world_size(PARTICLES));
    theatre.plain_particles = calloc(1, world_size(PARTICLES));
    theatre.native_list = calloc(1, list);
    draw_format(theatre.list.data, AGENTS + PARTICLES);
    draw_format(theatre.native_list, AGENTS + PARTICLES);
    return theatre;
}

static void close_theatre(struct theatre *theatre)
{
    free(theatre->native_agents);
    free(theatre->native_particles);
    free(theatre->plain_particles);
    free(theatre->native_list);
}

static void hunts_are_those_of_the_native_build(void **state)
{
    struct bed *bed = *state;
    struct theatre theatre = open_theatre(bed);
    const aee_context agents = load(bed, "agents", 10 * SECOND);
    const int64_t stage = map(bed, agents, &theatre.stage, AEE_ACCESS_READ);
    const int64_t world = map(bed, agents, &theatre.agents, AEE_ACCESS_READ_WRITE);
    const union native hunt = native("agents", "agents_hunt");
    int64_t caught = 0;
    (void)native("agents", "agents_init").integers(at(theatre.native_agents), AGENTS, 3);
    memcpy(theatre.agents.data, theatre.native_agents, world_size(AGENTS));
    for (uint64_t frame = 1; frame <= 100; frame++) {
        const struct stage now = stage_at(frame);
        memcpy(theatre.stage.data, &now, sizeof now);
        const int64_t image = step(bed, agents, "agents_hunt", world, stage, DT);
        assert_int_equal(image, hunt.step(at(theatre.native_agents), at(&now), DT));
        assert_memory_equal(theatre.agents.data, theatre.native_agents, world_size(AGENTS));
        caught += image;
    }
    assert_true(caught > 0);
    close_theatre(&theatre);
}

static void weather_is_that_of_the_native_builds(void **state)
{
    struct bed *bed = *state;
    struct theatre theatre = open_theatre(bed);
    const aee_context particles = load(bed, "particles", 10 * SECOND);
    const int64_t stage = map(bed, particles, &theatre.stage, AEE_ACCESS_READ);
    const int64_t world = map(bed, particles, &theatre.particles, AEE_ACCESS_READ_WRITE);
    const union native init = native("particles", "particles_init");
    const union native weather = native("particles", "particles_weather");
    const union native set_hooks = native("particles", "aee_native_set_hooks");
    const struct aee_native_hooks all = {0};
    const struct aee_native_hooks plain = {.hidden_features = AEE_FEATURE_AVX2};
    (void)init.integers(at(theatre.native_particles), PARTICLES, 3);
    memcpy(theatre.plain_particles, theatre.native_particles, world_size(PARTICLES));
    memcpy(theatre.particles.data, theatre.native_particles, world_size(PARTICLES));
    for (uint64_t frame = 1; frame <= 300; frame++) { /* all have begun anew */
        const struct stage now = stage_at(frame);
        memcpy(theatre.stage.data, &now, sizeof now);
        assert_int_equal(step(bed, particles, "particles_weather", world, stage, DT), PARTICLES);
        set_hooks.set_hooks(&all);
        (void)weather.step(at(theatre.native_particles), at(&now), DT);
        set_hooks.set_hooks(&plain);
        (void)weather.step(at(theatre.plain_particles), at(&now), DT);
    }
    assert_memory_equal(theatre.particles.data, theatre.native_particles, world_size(PARTICLES));
    assert_memory_equal(theatre.particles.data, theatre.plain_particles, world_size(PARTICLES));
    close_theatre(&theatre);
}

static bool has_color(const void *list, uint32_t color)
{
    const struct draw_header *header = list;
    const struct draw_quad *quads = (const void *)(header + 1);
    for (uint32_t i = 0; i < header->quad_count; i++) {
        if (quads[i].color == color) {
            return true;
        }
    }
    return false;
}

static void themes_color_the_list(void **state)
{
    struct bed *bed = *state;
    struct theatre theatre = open_theatre(bed);
    const aee_context rendering = load(bed, "rendering", 10 * SECOND);
    const int64_t agents = map(bed, rendering, &theatre.agents, AEE_ACCESS_READ);
    const int64_t list = map(bed, rendering, &theatre.list, AEE_ACCESS_READ_WRITE);
    const union native build = native("rendering", "rendering_build");
    const union native theme = native("rendering", "rendering_theme");
    const size_t size = draw_size(AGENTS + PARTICLES);
    (void)native("agents", "agents_init").integers(at(theatre.agents.data), AGENTS, 5);
    uint32_t first[9];
    for (int64_t i = -1; i < 8; i++) {
        const int64_t args[3] = {agents, 0, list};
        int64_t quads = 0;
        int64_t done = -1;
        assert_int_equal(theme.integers(i, 0, 0), 0);
        ASSERT_OK(bed, aee_call_i64(bed->engine, rendering, find(bed, rendering, "rendering_theme"),
                                    &i, 1, &done, &bed->error));
        assert_int_equal(done, 0);
        ASSERT_OK(bed, aee_call_i64(bed->engine, rendering, find(bed, rendering, "rendering_build"),
                                    args, 3, &quads, &bed->error));
        assert_int_equal(build.integers(at(theatre.agents.data), 0, at(theatre.native_list)),
                         quads);
        assert_memory_equal(theatre.list.data, theatre.native_list, size);
        first[i + 1] = draw_quads(theatre.list.data)[0].color;
        assert_true(i < 0 || !has_color(theatre.list.data, first[0]));
    }
    for (int i = 1; i < 4; i++) { /* neighbours differ */
        assert_int_not_equal(first[i], first[i + 1]);
    }
    close_theatre(&theatre);
}

/* ---- Rules of the hunt -------------------------------------------------------------------------- */

static bool is_in(const struct stage_disc *disc, float x, float y)
{
    const float dx = x - disc->x;
    const float dy = y - disc->y;
    return disc->radius > 0.0f && dx * dx + dy * dy < disc->radius * disc->radius;
}

/* Everybody is in the world and outside of every disc. */
static void check_places(void *world, const struct stage *stage)
{
    struct world_columns columns;
    assert_int_equal(world_open(world, world_size(AGENTS), &columns), 0);
    for (uint32_t i = 0; i < columns.count; i++) {
        const float x = columns.x[i];
        const float y = columns.y[i];
        assert_true(x >= 0.0f && x < EDGE && y >= 0.0f && y < EDGE);
        assert_false(is_in(&stage->boss, x, y));
        for (uint32_t k = 0; k < stage->obstacle_count; k++) {
            assert_false(is_in(&stage->obstacles[k], x, y));
        }
    }
}

static void nobody_is_inside_of_anything(void **state)
{
    (void)state;
    const union native hunt = native("agents", "agents_hunt");
    void *world = calloc(1, world_size(AGENTS));
    int64_t caught = 0;
    (void)native("agents", "agents_init").integers(at(world), AGENTS, 11);
    for (uint64_t frame = 1; frame <= 400; frame++) {
        struct stage now = stage_at(frame);
        if (frame % 50 == 0) { /* one that overlaps another, at the border, out of the blue */
            now.obstacles[0] = (struct stage_disc){490.0f, 250.0f, 60.0f};
            now.obstacles[1] = (struct stage_disc){430.0f, 280.0f, 60.0f};
        }
        const int64_t more = hunt.step(at(world), at(&now), frame % 7 == 0 ? 1e9 : DT);
        assert_true(more >= 0 && more <= AGENTS);
        caught += more;
        check_places(world, &now);
    }
    assert_true(caught > 100);
    free(world);
}

static uint64_t agents_near_border(const struct world_columns *columns)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < columns->count; i++) {
        const float x = columns->x[i];
        const float y = columns->y[i];
        count += x < 1.0f || y < 1.0f || x > EDGE - 1.0f || y > EDGE - 1.0f;
    }
    return count;
}

static void the_caught_reappear_at_the_border(void **state)
{
    (void)state;
    void *world = calloc(1, world_size(AGENTS));
    void *again = calloc(1, world_size(AGENTS));
    struct world_columns columns;
    const union native hunt = native("agents", "agents_hunt");
    struct stage now = {.magic = STAGE_MAGIC, .frame = 9, .boss = {250.0f, 250.0f, 100.0f}};
    (void)native("agents", "agents_init").integers(at(world), AGENTS, 1);
    memcpy(again, world, world_size(AGENTS));
    assert_int_equal(world_open(world, SIZE_MAX, &columns), 0);
    const uint64_t before = agents_near_border(&columns);
    const int64_t caught = hunt.step(at(world), at(&now), DT);
    assert_true(caught > 200 && caught < 450); /* 314 on average */
    assert_true(agents_near_border(&columns) + 20 > before + (uint64_t)caught);
    assert_int_equal(hunt.step(at(again), at(&now), DT), caught); /* not by chance */
    assert_memory_equal(world, again, world_size(AGENTS));
    free(world);
    free(again);
}

/* ---- Stages that make no sense ------------------------------------------------------------------ */

static struct stage garbage(struct aee_random *random, unsigned round)
{
    struct stage stage;
    uint32_t words[sizeof stage / sizeof(uint32_t)];
    const float odd[] = {NAN, INFINITY, -INFINITY, 1e38f, -1e38f, 1e-42f, -0.0f, 500.0f};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        words[i] = (uint32_t)aee_random_next(random);
        if (round % 2 == 0) {
            memcpy(&words[i], &odd[aee_random_below(random, 8)], sizeof words[i]);
        }
    }
    memcpy(&stage, words, sizeof stage);
    stage.magic = STAGE_MAGIC;
    stage.obstacle_count = (uint32_t)aee_random_below(random, STAGE_OBSTACLES + 2u);
    return stage;
}

static void stages_are_checked(void **state)
{
    struct bed *bed = *state;
    struct theatre theatre = open_theatre(bed);
    const aee_context agents = load(bed, "agents", 10 * SECOND);
    const aee_context particles = load(bed, "particles", 10 * SECOND);
    const int64_t stage[2] = {map(bed, agents, &theatre.stage, AEE_ACCESS_READ),
                              map(bed, particles, &theatre.stage, AEE_ACCESS_READ)};
    const int64_t world[2] = {map(bed, agents, &theatre.agents, AEE_ACCESS_READ_WRITE),
                              map(bed, particles, &theatre.particles, AEE_ACCESS_READ_WRITE)};
    struct aee_random random;
    struct world_columns columns;
    aee_random_init(&random, 77);
    (void)native("agents", "agents_init").integers(at(theatre.agents.data), AGENTS, 4);
    (void)native("particles", "particles_init").integers(at(theatre.particles.data), PARTICLES, 4);
    for (unsigned round = 0; round < 200; round++) {
        const struct stage now = garbage(&random, round);
        memcpy(theatre.stage.data, &now, sizeof now);
        const bool sound = now.obstacle_count <= STAGE_OBSTACLES;
        const int64_t caught = step(bed, agents, "agents_hunt", world[0], stage[0], DT);
        assert_true(sound ? caught >= 0 : caught == -1);
        assert_int_equal(step(bed, particles, "particles_weather", world[1], stage[1], DT),
                         sound ? PARTICLES : -1);
    }
    const uint32_t wrong[] = {UINT32_MAX, STAGE_OBSTACLES + 1u};
    for (unsigned i = 0; i < 2; i++) {
        struct stage now = stage_at(1);
        now.obstacle_count = wrong[i];
        memcpy(theatre.stage.data, &now, sizeof now);
        assert_int_equal(step(bed, agents, "agents_hunt", world[0], stage[0], DT), -1);
    }
    memset(theatre.stage.data, 0, sizeof(struct stage));
    assert_int_equal(step(bed, agents, "agents_hunt", world[0], stage[0], DT), -1);
    assert_int_equal(world_open(theatre.agents.data, theatre.agents.size, &columns), 0);
    for (uint32_t i = 0; i < columns.count; i++) {
        assert_true(isfinite(columns.vx[i]) && isfinite(columns.vy[i]));
        assert_true(columns.x[i] >= 0.0f && columns.x[i] < EDGE);
    }
    assert_int_equal(world_open(theatre.particles.data, theatre.particles.size, &columns), 0);
    for (uint32_t i = 0; i < columns.count; i++) {
        assert_true(isfinite(columns.x[i]) && isfinite(columns.vx[i]) && isfinite(columns.y[i]));
    }
    close_theatre(&theatre);
}

static void stages_are_read_once_and_put_right(void **state)
{
    (void)state;
    struct stage copy;
    struct stage stage = stage_at(7);
    stage.wind = NAN;
    stage.rain = 7.0f;
    stage.boss.radius = INFINITY;
    stage.obstacles[1].x = NAN;
    stage.obstacles[2].radius = -5.0f;
    stage.obstacles[6].radius = 9.0f; /* beyond the count */
    assert_int_equal(stage_read(&stage, &copy), 0);
    assert_true(copy.wind == 0.0f && copy.rain == 1.0f && copy.boss.radius == 0.0f);
    assert_true(copy.obstacles[1].radius == 0.0f && copy.obstacles[2].radius == 0.0f);
    assert_true(copy.obstacles[6].radius == 0.0f);
    assert_memory_equal(&copy.obstacles[0], &stage.obstacles[0], sizeof copy.obstacles[0]);
    stage.obstacle_count = UINT32_MAX;
    assert_int_equal(stage_read(&stage, &copy), -1);
    assert_true(copy.obstacle_count == 0 && copy.obstacles[0].radius == 0.0f);
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        TEST(hunts_are_those_of_the_native_build),
        TEST(weather_is_that_of_the_native_builds),
        TEST(themes_color_the_list),
        cmocka_unit_test(nobody_is_inside_of_anything),
        cmocka_unit_test(the_caught_reappear_at_the_border),
        TEST(stages_are_checked),
        cmocka_unit_test(stages_are_read_once_and_put_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
