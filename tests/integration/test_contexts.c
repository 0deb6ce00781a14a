/* test_contexts.c: the life of contexts: load, state, crash, restart, quarantine, limits, events.
 */
#include "harness.h"

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static aee_context_info info_of(struct bed *bed, aee_context context)
{
    aee_context_info info;
    ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
    return info;
}

static void wait_ready(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_wait_ready(bed->engine, context, 10 * SECOND, &bed->error));
}

static void kinds_have_their_names_and_limits(void **state)
{
    struct bed *bed = *state;
    aee_context context;
    ASSERT_OK(bed, aee_isolate_agents(bed->engine, &context, &bed->error));
    assert_string_equal(info_of(bed, context).name, "agents");
    assert_int_equal(info_of(bed, context).kind, AEE_KIND_AGENTS);
    ASSERT_OK(bed, aee_isolate_particles(bed->engine, &context, &bed->error));
    ASSERT_OK(bed, aee_isolate_rendering(bed->engine, &context, &bed->error));
    ASSERT_OK(bed, aee_isolate_user_mod(bed->engine, "MyMod", &context, &bed->error));
    ASSERT_OK(
        bed, aee_isolate_user_mod(bed->engine, "MyMod", &context, &bed->error)); /* twice is fine */
    ASSERT_OK(bed, aee_isolate_scene(bed->engine, "Scene1", &context, &bed->error));
    ASSERT_OK(bed,
              aee_create_isolated_context(bed->engine, "TestAgentSystem", &context, &bed->error));
    assert_int_equal(info_of(bed, context).state, AEE_STATE_CREATED);
    aee_limits limits;
    assert_int_equal(aee_default_limits(AEE_KIND_CUSTOM, &limits), AEE_OK);
    aee_limits in_force = info_of(bed, context).limits;
    assert_memory_equal(&limits, &in_force, sizeof limits);
    aee_stats stats;
    ASSERT_OK(bed, aee_get_stats(bed->engine, &stats, &bed->error));
    assert_int_equal(stats.total_contexts, 7);
    assert_int_equal(stats.active_contexts, 0);
    assert_in_range(stats.level, AEE_LEVEL_NONE, AEE_LEVEL_FULL);
    assert_int_equal(aee_allocate_isolated_gpu(bed->engine, context, NULL, 0, &bed->error),
                     AEE_ERR_UNSUPPORTED);
    assert_non_null(strstr(bed->error.text, "TestAgentSystem"));
}

static void initialisers_run_once_per_start(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "init", AEE_CALL_DIRECT, 1);
    assert_int_equal(value0(bed, context, "constructed"), 41);
    assert_int_equal(value0(bed, context, "count"), 1);
    int64_t seed = value0(bed, context, "seed_word");
    assert_int_equal(value0(bed, context, "seed_word"), seed);
    aee_function count = find(bed, context, "count");
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error));
    int64_t value = 0;
    ASSERT_OK(bed, aee_call_i64(bed->engine, context, count, NULL, 0, &value,
                                &bed->error)); /* same handle */
    assert_int_equal(value, 1);
    assert_int_not_equal(value0(bed, context, "seed_word"), seed);
    ASSERT_OK(bed, aee_load_file(bed->engine, context, testbed_path(), &bed->error));
    assert_int_equal(aee_call_i64(bed->engine, context, count, NULL, 0, &value, &bed->error),
                     AEE_ERR_STALE);
}

static void pause_stop_and_restart(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "state", AEE_CALL_DIRECT, 1);
    ASSERT_OK(bed, aee_pause(bed->engine, context, &bed->error));
    assert_int_equal(info_of(bed, context).state, AEE_STATE_PAUSED);
    assert_int_equal(call2(bed, context, "count", 0, 0, 0, NULL), AEE_ERR_PAUSED);
    ASSERT_OK(bed, aee_resume(bed->engine, context, &bed->error));
    assert_int_equal(value0(bed, context, "count"), 1);
    ASSERT_OK(bed, aee_stop(bed->engine, context, &bed->error));
    assert_int_equal(info_of(bed, context).state, AEE_STATE_STOPPED);
    assert_int_equal(info_of(bed, context).memory_resident, 0);
    assert_int_equal(call2(bed, context, "count", 0, 0, 0, NULL), AEE_ERR_STOPPED);
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error));
    assert_int_equal(value0(bed, context, "count"), 1);
    assert_int_equal(info_of(bed, context).restarts, 1);
}

static void a_crash_is_reported_and_mended(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "crash", AEE_CALL_DIRECT, 1);
    aee_context other = make_context(bed, "other", AEE_CALL_DIRECT, 1);
    assert_int_equal(value0(bed, other, "count"), 1);
    assert_int_equal(call2(bed, context, "write_i64", 0x18, 5, 2, NULL), AEE_ERR_CRASHED);
    aee_crash crash;
    ASSERT_OK(bed, aee_last_crash(bed->engine, context, &crash, &bed->error));
    assert_int_equal(crash.id, 1);
    assert_int_equal(crash.cause, AEE_CRASH_EXCEPTION);
    assert_int_equal(crash.vector, 14);
    assert_int_equal(crash.error_code & 2, 2);
    assert_int_equal(crash.fault_address, 0x18);
    assert_string_equal(crash.called, "write_i64");
    assert_string_equal(crash.function, "write_i64");
    assert_int_equal(crash.registers.rdi, 0x18);
    assert_int_equal(crash.registers.rsi, 5);
    assert_non_null(strstr(crash.text, "null pointer + 24"));
    wait_ready(bed, context);
    assert_int_equal(value0(bed, context, "count"), 1);
    assert_int_equal(value0(bed, other, "count"), 2); /* kept its state */
    assert_int_equal(info_of(bed, context).crashes, 1);
    assert_int_equal(info_of(bed, context).restarts, 1);
    assert_int_equal(aee_last_crash(bed->engine, other, &crash, &bed->error), AEE_ERR_NOT_FOUND);
    assert_int_equal(call2(bed, context, "give_up", 13, 0, 1, NULL), AEE_ERR_CRASHED);
    ASSERT_OK(bed, aee_last_crash(bed->engine, context, &crash, &bed->error));
    assert_int_equal(crash.cause, AEE_CRASH_ABORT);
    assert_int_equal(crash.id, 2);
    assert_non_null(strstr(crash.text, "cannot stand 13"));
}

static void runaways_end_at_their_budget(void **state)
{
    struct bed *bed = *state;
    static const aee_call_mode modes[] = {AEE_CALL_DIRECT, AEE_CALL_RING};
    const uint64_t budget = scaled(5000000);
    for (unsigned i = 0; i < 2; i++) {
        aee_context context = make_context(bed, "runaway", modes[i], 1);
        ASSERT_OK(bed, aee_set_limits(bed->engine, context, &(aee_limits){.call_budget_ns = budget},
                                      &bed->error));
        uint64_t begin = now_ns();
        assert_int_equal(call2(bed, context, "spin_until", 0x400000, -1, 2, NULL), AEE_ERR_HUNG);
        uint64_t took = now_ns() - begin;
        assert_true(took >= budget);
        assert_true(took < budget + scaled(SECOND));
        assert_int_equal(info_of(bed, context).hangs, 1);
        wait_ready(bed, context);
        assert_int_equal(value0(bed, context, "count"), 1);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

static void the_sixth_crash_in_a_row_is_the_last(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "loop", AEE_CALL_DIRECT, 1);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(call2(bed, context, "trap", 0, 0, 0, NULL), AEE_ERR_CRASHED);
        wait_ready(bed, context);
    }
    assert_int_equal(call2(bed, context, "trap", 0, 0, 0, NULL), AEE_ERR_CRASHED);
    assert_int_equal(aee_wait_ready(bed->engine, context, SECOND, &bed->error),
                     AEE_ERR_QUARANTINED);
    assert_int_equal(info_of(bed, context).state, AEE_STATE_QUARANTINED);
    assert_int_equal(call2(bed, context, "count", 0, 0, 0, NULL), AEE_ERR_QUARANTINED);
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error)); /* the manual way out */
    assert_int_equal(value0(bed, context, "count"), 1);
    assert_int_equal(call2(bed, context, "trap", 0, 0, 0, NULL), AEE_ERR_CRASHED);
    wait_ready(bed, context); /* the history was forgotten */
}

static void memory_is_limited_and_grows(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "memory", AEE_CALL_DIRECT, 1);
    assert_int_equal(info_of(bed, context).limits.memory_bytes, 16 << 20);
    assert_int_equal(value2(bed, context, "allocate", 12 << 20, 0, 1), 1);
    assert_int_equal(value2(bed, context, "allocate", 12 << 20, 0, 1), 0);
    ASSERT_OK(bed, aee_allocate_isolated_memory(bed->engine, context, 64, &bed->error));
    assert_int_equal(value2(bed, context, "allocate", 40 << 20, 0, 1), 1); /* without a restart */
    assert_int_equal(value2(bed, context, "allocate", 40 << 20, 0, 1), 0);
    assert_int_equal(aee_allocate_isolated_memory(bed->engine, context, 32, &bed->error),
                     AEE_ERR_STATE);
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error));
    assert_int_equal(value2(bed, context, "allocate", 60 << 20, 0, 1), 1);
}

/* ---- Events and frames ------------------------------------------------------------------------ */

struct record {
    aee_event_type types[32];
    unsigned count;
};

static void remember(void *user, const aee_event *event)
{
    struct record *record = user;
    assert_true(event->text[0] != '\0');
    if (event->type != AEE_EVENT_FALLBACK && record->count < 32) {
        record->types[record->count++] = event->type;
    }
}

static void events_tell_the_story(void **state)
{
    struct bed *bed = *state;
    struct record record = {0};
    ASSERT_OK(bed, aee_set_event_callback(bed->engine, remember, &record, &bed->error));
    aee_context context = make_context(bed, "story", AEE_CALL_DIRECT, 1);
    ASSERT_OK(bed, aee_pause(bed->engine, context, &bed->error));
    ASSERT_OK(bed, aee_resume(bed->engine, context, &bed->error));
    assert_int_equal(call2(bed, context, "trap", 0, 0, 0, NULL), AEE_ERR_CRASHED);
    wait_ready(bed, context);
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    assert_int_equal(record.count, 0); /* only where the engine asks */
    aee_frame_info frame;
    ASSERT_OK(bed, aee_engine_frame_begin(bed->engine, &bed->error));
    assert_int_equal(aee_engine_frame_begin(bed->engine, &bed->error), AEE_ERR_STATE);
    ASSERT_OK(bed, aee_engine_frame_end(bed->engine, &frame, &bed->error));
    assert_int_equal(aee_engine_frame_end(bed->engine, &frame, &bed->error), AEE_ERR_STATE);
    assert_int_equal(frame.frame, 1);
    static const aee_event_type expected[] = {AEE_EVENT_LOADED,    AEE_EVENT_PAUSED,
                                              AEE_EVENT_RESUMED,   AEE_EVENT_CRASHED,
                                              AEE_EVENT_RESTARTED, AEE_EVENT_DESTROYED};
    assert_int_equal(record.count, sizeof expected / sizeof expected[0]);
    assert_memory_equal(record.types, expected, sizeof expected);
}

static void late_frames_are_told(void **state)
{
    (void)state;
    struct bed bed;
    aee_engine_desc desc = {.struct_size = sizeof desc, .frame_budget_ns = 1000000};
    bed_open(&bed, &desc);
    struct timespec pause = {.tv_nsec = 3000000};
    aee_frame_info frame;
    ASSERT_OK(&bed, aee_engine_frame_begin(bed.engine, &bed.error));
    (void)nanosleep(&pause, NULL);
    ASSERT_OK(&bed, aee_engine_frame_end(bed.engine, &frame, &bed.error));
    assert_int_equal(frame.late, 1);
    assert_true(frame.duration_ns >= 3000000);
    aee_stats stats;
    ASSERT_OK(&bed, aee_get_stats(bed.engine, &stats, &bed.error));
    assert_int_equal(stats.late_frames, 1);
    bed_close(&bed);
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        TEST(kinds_have_their_names_and_limits),
        TEST(initialisers_run_once_per_start),
        TEST(pause_stop_and_restart),
        TEST(a_crash_is_reported_and_mended),
        TEST(runaways_end_at_their_budget),
        TEST(the_sixth_crash_in_a_row_is_the_last),
        TEST(memory_is_limited_and_grows),
        TEST(events_tell_the_story),
        cmocka_unit_test(late_frames_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
