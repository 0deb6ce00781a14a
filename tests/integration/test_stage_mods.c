/* test_stage_mods.c: the mods of the visual demo keep to what they promise, for a thousand frames
 * and in the memory that their manifests give them, and do as their native builds; components
 * commit the faults that they are asked for. */
#include "stage_bed.h"

enum { FRAMES = 1000 };

/* What the engine of the demo has for a scene. Contexts and native builds play on one each. */
struct play {
    struct stage *stage;
    uint32_t *canvas;
    unsigned weathers, places, lines; /* host calls, all of which were in range */
    unsigned wrong;
    double wind[2], rain[2], x[2], y[2]; /* the least and the most */
    double fastest;                      /* way of the boss in a frame */
    char board[4][48];
};

static void note(double range[2], double value)
{
    range[0] = fmin(range[0], value);
    range[1] = fmax(range[1], value);
}

static void set_weather(struct play *play, double wind, double rain)
{
    const bool right = fabs(wind) <= 1.0 && rain >= 0.0 && rain <= 1.0;
    play->weathers += right;
    play->wrong += !right;
    note(play->wind, wind);
    note(play->rain, rain);
    play->stage->wind = (float)wind;
    play->stage->rain = (float)rain;
}

static void set_boss(struct play *play, double x, double y, double radius)
{
    const double edge = (double)STAGE_EDGE + 0.001; /* for rounding */
    const struct stage_disc *old = &play->stage->boss;
    const bool right = radius >= 10.0 && radius <= 40.0 && x >= radius && x <= edge - radius &&
                       y >= radius && y <= edge - radius;
    if (play->places > 0) {
        play->fastest = fmax(play->fastest, hypot(x - (double)old->x, y - (double)old->y));
    }
    play->places += right;
    play->wrong += !right;
    note(play->x, x);
    note(play->y, y);
    play->stage->boss = (struct stage_disc){(float)x, (float)y, (float)radius};
}

static void set_line(struct play *play, const char *payload, size_t size)
{
    bool right = size >= 1 && size <= 41 && payload[0] >= '0' && payload[0] <= '3';
    for (size_t i = 1; i < size && right; i++) {
        right = payload[i] >= ' ' && payload[i] <= '~';
    }
    if (right) {
        char *line = play->board[payload[0] - '0'];
        right = strlen(line) != size - 1 || memcmp(line, payload + 1, size - 1) != 0; /* is new */
        memcpy(line, payload + 1, size - 1);
        line[size - 1] = '\0';
    }
    play->lines += right;
    play->wrong += !right;
}

static int32_t native_call(void *user, const char *name, const int64_t args[AEE_MAX_ARGS],
                           const void *in, size_t in_size, void *out, size_t out_capacity,
                           size_t *out_size, int64_t *result)
{
    (void)out, (void)out_capacity, (void)out_size, (void)result;
    if (strcmp(name, "weather_set") == 0) {
        set_weather(user, aee_from_bits(args[0]), aee_from_bits(args[1]));
    } else if (strcmp(name, "boss_set") == 0) {
        set_boss(user, aee_from_bits(args[0]), aee_from_bits(args[1]), aee_from_bits(args[2]));
    } else if (strcmp(name, "board_line") == 0) {
        set_line(user, in, in_size);
    }
    return AEE_HOST_OK;
}

static aee_result weather_set(void *user, aee_host_call *call)
{
    set_weather(user, aee_host_arg_f64(call, 0), aee_host_arg_f64(call, 1));
    return AEE_OK;
}

static aee_result boss_set(void *user, aee_host_call *call)
{
    set_boss(user, aee_host_arg_f64(call, 0), aee_host_arg_f64(call, 1), aee_host_arg_f64(call, 2));
    return AEE_OK;
}

static aee_result board_line(void *user, aee_host_call *call)
{
    set_line(user, call->payload, call->payload_size);
    return AEE_OK;
}

/* ---- A mod in a context and natively, side by side ---------------------------------------------- */

/* What its manifest says. */
struct mod {
    const char *image;
    const char *host_function;
    aee_host_fn function;
    aee_access access[STAGE_REGIONS];
};

struct duo {
    struct play plays[2]; /* of the context, of the native build */
    struct shared regions[STAGE_REGIONS];
    void *memory[STAGE_REGIONS]; /* the same for the native build */
    aee_context context;
    union native tick;
    struct bed *bed;
    bool sees_agents;
};

static void open_duo(struct duo *duo, struct bed *bed, const struct mod *mod)
{
    const size_t sizes[STAGE_REGIONS] = {sizeof(struct stage), world_size(AGENTS),
                                         PIXELS * sizeof(uint32_t)};
    *duo = (struct duo){.bed = bed,
                        .context = load(bed, mod->image, 10 * SECOND),
                        .sees_agents = mod->access[STAGE_REGION_AGENTS] != 0};
    duo->tick = native(mod->image, "mod_tick");
    const struct aee_native_hooks hooks = {.user = &duo->plays[1], .host_call = native_call};
    native(mod->image, "aee_native_set_hooks").set_hooks(&hooks);
    if (mod->function) {
        ASSERT_OK(bed, aee_register_host_function(bed->engine, mod->host_function, mod->function,
                                                  &duo->plays[0], &bed->error));
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, duo->context, mod->host_function,
                                               &bed->error));
    }
    for (int i = 0; i < STAGE_REGIONS; i++) {
        duo->regions[i] = share(bed, mod->image, sizes[i]);
        duo->memory[i] = calloc(1, sizes[i]);
        if (mod->access[i]) {
            const int64_t address = map(bed, duo->context, &duo->regions[i], mod->access[i]);
            assert_int_equal(value2(bed, duo->context, "mod_region", i, address, 2), 0);
            (void)native(mod->image, "mod_region").integers(i, at(duo->memory[i]), 0);
        }
    }
    (void)native("agents", "agents_init").integers(at(duo->memory[STAGE_REGION_AGENTS]), AGENTS, 1);
    for (int i = 0; i < 2; i++) {
        struct stage *stage =
            i == 0 ? duo->regions[STAGE_REGION_STAGE].data : duo->memory[STAGE_REGION_STAGE];
        *stage = stage_at(0);
        duo->plays[i].stage = stage;
        duo->plays[i].canvas =
            i == 0 ? duo->regions[STAGE_REGION_CANVAS].data : duo->memory[STAGE_REGION_CANVAS];
        duo->plays[i].x[0] = duo->plays[i].y[0] = 1e9;
    }
    assert_int_equal(value2(bed, duo->context, "mod_init", 21, 0, 1), 0);
    assert_int_equal(native(mod->image, "mod_init").integers(21, 0, 0), 0);
}

static void close_duo(struct duo *duo)
{
    for (int i = 0; i < STAGE_REGIONS; i++) {
        free(duo->memory[i]);
    }
}

/* One frame: agents move, some are caught, the mod is called. Both must say and do the same. */
static void play_frame(struct duo *duo, uint64_t frame, uint32_t caught)
{
    const union native hunt = native("agents", "agents_hunt");
    for (int i = 0; i < 2; i++) {
        duo->plays[i].stage->frame = frame;
        duo->plays[i].stage->caught += caught;
    }
    if (duo->sees_agents) {
        void *agents = duo->memory[STAGE_REGION_AGENTS];
        assert_true(hunt.step(at(agents), at(duo->plays[1].stage), DT) >= 0);
        memcpy(duo->regions[STAGE_REGION_AGENTS].data, agents, world_size(AGENTS));
    }
    const int64_t value = value2(duo->bed, duo->context, "mod_tick", (int64_t)frame, 0, 1);
    assert_int_equal(value, duo->tick.integers((int64_t)frame, 0, 0));
    assert_int_not_equal(value, -1);
    assert_memory_equal(duo->plays[0].stage, duo->plays[1].stage, sizeof(struct stage));
}

static void check_life(struct duo *duo)
{
    aee_context_info info;
    ASSERT_OK(duo->bed,
              aee_get_context_info(duo->bed->engine, duo->context, &info, &duo->bed->error));
    assert_int_equal(info.crashes, 0);
    assert_int_equal(duo->plays[0].wrong, 0);
    assert_int_equal(duo->plays[1].wrong, 0);
}

static void the_weather_drifts_and_storms(void **state)
{
    static struct duo duo;
    const struct mod mod = {"mod_weather", "weather_set", weather_set, {0}};
    unsigned calm = 0;
    unsigned storm = 0;
    double last = 0.0;
    open_duo(&duo, *state, &mod);
    for (uint64_t frame = 1; frame <= 4 * FRAMES; frame++) {
        const double wind = (double)duo.plays[0].stage->wind;
        assert_true(fabs(wind - last) < 0.15); /* no jumps */
        last = wind;
        play_frame(&duo, frame, 0);
        calm += fabs(wind) < 0.4 && duo.plays[0].stage->rain < 0.4f;
        storm += fabs(wind) > 0.65 && duo.plays[0].stage->rain > 0.6f;
    }
    assert_int_equal(duo.plays[0].weathers, 4 * FRAMES);
    assert_true(calm > FRAMES && storm > FRAMES / 10);
    check_life(&duo);
    close_duo(&duo);
}

static void the_boss_hunts(void **state)
{
    static struct duo duo;
    const struct mod mod = {"mod_boss", "boss_set", boss_set, {AEE_ACCESS_READ, AEE_ACCESS_READ}};
    unsigned rests = 0;
    unsigned charges = 0;
    open_duo(&duo, *state, &mod);
    for (uint64_t frame = 1; frame <= FRAMES; frame++) {
        const struct stage_disc old = duo.plays[0].stage->boss;
        play_frame(&duo, frame, 0);
        const struct stage *now = duo.plays[0].stage;
        const float way = hypotf(now->boss.x - old.x, now->boss.y - old.y);
        rests += way < 0.2f;
        charges += way > 1.5f;
        for (uint32_t i = 0; i < now->obstacle_count; i++) {
            const struct stage_disc *disc = &now->obstacles[i];
            assert_true(hypotf(now->boss.x - disc->x, now->boss.y - disc->y) > disc->radius);
        }
    }
    const struct play *play = &duo.plays[0];
    assert_int_equal(play->places, FRAMES);
    assert_true(play->fastest < 30.0); /* out of an obstacle's way, at most */
    assert_true(play->x[1] - play->x[0] > 100.0 && play->y[1] - play->y[0] > 100.0);
    assert_true(rests > 30 && charges > 30);
    check_life(&duo);
    close_duo(&duo);
}

static void the_scoreboard_says_what_has_changed(void **state)
{
    static struct duo duo;
    const struct mod mod = {"mod_scoreboard", "board_line", board_line, {AEE_ACCESS_READ}};
    open_duo(&duo, *state, &mod);
    for (uint64_t frame = 1; frame <= FRAMES; frame++) {
        play_frame(&duo, frame, frame % 10 == 0 && frame <= 600 ? 3 : 0);
        if (frame == 600) {
            assert_string_equal(duo.plays[0].board[0], "Caught 180, 18 a second");
            assert_string_equal(duo.plays[0].board[1], "Streak 180, best 180");
        }
    }
    const struct play *play = &duo.plays[0];
    assert_string_equal(play->board[0], "Caught 180, 0 a second");
    assert_string_equal(play->board[1], "Streak 0, best 180");
    assert_string_equal(play->board[2], "Calm, heavy rain");
    assert_string_equal(play->board[3], "Hunting for 0:16");
    assert_true(play->lines > 100 && play->lines < 300);
    /* Back in time, as after a rollback, and with the largest numbers. */
    play_frame(&duo, 900, 0);
    play_frame(&duo, UINT64_MAX - 1, UINT32_MAX - 180);
    assert_string_equal(play->board[0], "Caught 4294967295, 0 a second");
    check_life(&duo);
    close_duo(&duo);
}

/* The brightest pixel, from 0 to 1; all are opaque. */
static double luminance(const uint32_t *canvas)
{
    double most = 0.0;
    for (size_t i = 0; i < PIXELS; i++) {
        const uint32_t c = canvas[i];
        const double sum =
            0.2126 * (c & 255u) + 0.7152 * (c >> 8 & 255u) + 0.0722 * (c >> 16 & 255u);
        assert_int_equal(c >> 24, 255);
        most = fmax(most, sum / 255.0);
    }
    return most;
}

static void the_painter_keeps_it_dark(void **state)
{
    static struct duo duo;
    static uint32_t before[PIXELS];
    const struct mod mod = {
        "mod_painter", "none", NULL, {AEE_ACCESS_READ, 0, AEE_ACCESS_READ_WRITE}};
    double most = 0.0;
    open_duo(&duo, *state, &mod);
    for (uint64_t frame = 1; frame <= FRAMES; frame++) {
        const struct stage path = stage_at(frame);
        duo.plays[0].stage->boss = duo.plays[1].stage->boss = path.boss;
        memcpy(before, duo.plays[0].canvas, sizeof before);
        play_frame(&duo, frame, frame % 9 == 0 ? 20 : 0);
        assert_memory_equal(duo.plays[0].canvas, duo.plays[1].canvas, sizeof before);
        size_t changed = 0;
        for (size_t i = 0; i < PIXELS; i++) {
            changed += before[i] != duo.plays[0].canvas[i];
        }
        assert_true(changed <= PIXELS / 4);
        assert_true(frame > 4 || changed == PIXELS / 4);
        if (frame >= 4 && frame % 8 == 0) {
            most = fmax(most, luminance(duo.plays[0].canvas));
        }
    }
    assert_true(most > 0.12 && most < 0.35);
    check_life(&duo);
    close_duo(&duo);
}

static void mods_without_their_regions_say_so(void **state)
{
    struct bed *bed = *state;
    const char *const images[] = {"mod_boss", "mod_scoreboard", "mod_painter"};
    for (unsigned i = 0; i < 3; i++) {
        const aee_context context = load(bed, images[i], 10 * SECOND);
        assert_int_equal(value2(bed, context, "mod_region", STAGE_REGIONS, 0, 2), -1);
        assert_int_equal(value2(bed, context, "mod_region", -1, 0, 2), -1);
        assert_int_equal(value2(bed, context, "mod_init", 1, 0, 1), 0);
        assert_int_equal(value2(bed, context, "mod_tick", 1, 0, 1), -1);
    }
    const aee_context weather = load(bed, "mod_weather", 10 * SECOND);
    (void)value2(bed, weather, "mod_init", 1, 0, 1); /* nobody listens: it goes on */
    for (int64_t frame = 1; frame < 50; frame++) {
        (void)value2(bed, weather, "mod_tick", frame, 0, 1);
    }
}

/* ---- Faults on demand --------------------------------------------------------------------------- */

static void commit(struct bed *bed, const char *image, const char *fault, int64_t address,
                   aee_crash_cause cause, const char *function)
{
    /* Too little for none of the other faults, even on a loaded machine: the heap is small. */
    const bool hangs = cause == AEE_CRASH_HUNG;
    const aee_context context = load(bed, image, hangs ? scaled(SECOND / 20) : 30 * SECOND);
    aee_crash crash;
    int64_t value = 0;
    const bool peeks = strcmp(fault, "break_peek") == 0;
    const aee_result result = call2(bed, context, fault, address, 0, peeks, &value);
    if (result != (hangs ? AEE_ERR_HUNG : AEE_ERR_CRASHED)) {
        fail_msg("%s of %s: %s", fault, image, aee_result_name(result));
    }
    ASSERT_OK(bed, aee_last_crash(bed->engine, context, &crash, &bed->error));
    assert_int_equal(crash.cause, cause);
    assert_string_equal(crash.called, fault);
    if (function) {
        assert_string_equal(crash.function, function);
    }
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
}

static void faults_are_committed_on_demand(void **state)
{
    struct bed *bed = *state;
    static const char *const images[] = {"agents",         "particles",   "rendering",
                                         "scene",          "mod_weather", "mod_boss",
                                         "mod_scoreboard", "mod_painter", "mod_thief",
                                         "mod_crasher",    "mod_spinner", "mod_memory_hog"};
    NEEDS_LEVEL(AEE_LEVEL_PROCESS, "components share the engine's memory");
    for (unsigned i = 0; i < sizeof images / sizeof images[0]; i++) {
        commit(bed, images[i], "break_null", 0, AEE_CRASH_EXCEPTION, "follow_null");
        commit(bed, images[i], "break_hang", 0, AEE_CRASH_HUNG, NULL);
        commit(bed, images[i], "break_memory", 0, AEE_CRASH_OUT_OF_MEMORY, NULL);
        commit(bed, images[i], "break_peek", 16, AEE_CRASH_EXCEPTION, "break_peek");
    }
}

static void peeking_shows_only_what_is_ones_own(void **state)
{
    struct bed *bed = *state;
    const uint64_t secret = UINT64_C(0x5ec2e7005ec2e700);
    uint64_t *hidden = malloc(sizeof *hidden);
    int64_t value = 0;
    NEEDS_LEVEL(AEE_LEVEL_PROCESS, "components share the engine's memory");
    const aee_context context = load(bed, "agents", 10 * SECOND);
    const struct shared region = share(bed, "own", 4096);
    memcpy(region.data, &secret, sizeof secret);
    const int64_t address = map(bed, context, &region, AEE_ACCESS_READ);
    assert_int_equal(value2(bed, context, "break_peek", address, 0, 1), secret);
    *hidden = secret;
    const aee_result result = call2(bed, context, "break_peek", at(hidden), 0, 1, &value);
    assert_true(result == AEE_ERR_CRASHED || (uint64_t)value != secret);
    free(hidden);
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        TEST(the_weather_drifts_and_storms),        TEST(the_boss_hunts),
        TEST(the_scoreboard_says_what_has_changed), TEST(the_painter_keeps_it_dark),
        TEST(mods_without_their_regions_say_so),    TEST(faults_are_committed_on_demand),
        TEST(peeking_shows_only_what_is_ones_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
