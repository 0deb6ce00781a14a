/* test_handles.c: quarantine and its window, floods of events, and handles that are stale, forged
 * or of another engine. */
#include "hostile/harness.h"

#include <stdio.h>
#include <string.h>

static aee_result load_again(struct hostile *hostile, struct offender offender)
{
    char path[512];
    return aee_load_file(hostile->engine, offender.context,
                         hostile_image_path(hostile->image, path, sizeof path), NULL);
}

static void crash(struct hostile *hostile, struct offender offender)
{
    assert_int_equal(hostile_call1(hostile, offender, "peek", 0, NULL), AEE_ERR_CRASHED);
}

/* ---- Quarantine --------------------------------------------------------------------------- */

static void quarantine(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, &(aee_limits){.restarts = 5});
    for (unsigned i = 1; i <= 6; i++) {
        assert_int_equal(aee_wait_ready(hostile->engine, offender.context, 10000 * MS, NULL),
                         AEE_OK);
        crash(hostile, offender);
        hostile_expect_bystander(hostile);
    }
    assert_int_equal(aee_wait_ready(hostile->engine, offender.context, 10000 * MS, NULL),
                     AEE_ERR_QUARANTINED);
    assert_int_equal(hostile_call1(hostile, offender, "answer", 1, NULL), AEE_ERR_QUARANTINED);
    aee_context_info info = hostile_info(hostile, offender);
    assert_int_equal(info.state, AEE_STATE_QUARANTINED);
    assert_int_equal(info.crashes, 6);
    assert_int_equal(info.restarts, 5);
    assert_int_equal(hostile_crash(hostile, offender).id, 6);
    assert_int_equal(aee_restart(hostile->engine, offender.context, NULL), AEE_OK);
    hostile_expect_recovery(hostile, offender);
    crash(hostile, offender); /* its history was forgotten */
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

static void quarantine_at_once(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, &(aee_limits){.never_restart = 1});
    crash(hostile, offender);
    assert_int_equal(aee_wait_ready(hostile->engine, offender.context, 1000 * MS, NULL),
                     AEE_ERR_QUARANTINED);
    assert_int_equal(hostile_info(hostile, offender).restarts, 0);
    hostile_destroy(hostile, offender);
}

/* Crashes that are further apart than the window do not count together. */
static void window_of_restarts(struct hostile *hostile, aee_call_mode mode)
{
    const aee_limits limits = {.restarts = 1, .restart_window_ns = 20 * MS};
    struct offender offender = hostile_offender(hostile, mode, &limits);
    for (unsigned i = 0; i < 4; i++) {
        crash(hostile, offender);
        hostile_expect_recovery(hostile, offender);
        hostile_sleep_ns(30 * MS);
    }
    hostile_destroy(hostile, offender);
}

static void count_event(void *user, const aee_event *event)
{
    *(uint32_t *)user += memchr(event->text, 0, sizeof event->text) != NULL;
}

/* More events than the queue holds: counted, and nothing else is lost. */
static void flood_of_events(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    uint32_t delivered = 0;
    uint32_t counted = 0;
    assert_int_equal(aee_set_event_callback(hostile->engine, count_event, &counted, NULL), AEE_OK);
    (void)aee_poll_events(hostile->engine, &delivered, NULL);
    counted = 0;
    aee_stats before;
    aee_stats after;
    assert_int_equal(aee_get_stats(hostile->engine, &before, NULL), AEE_OK);
    for (unsigned i = 0; i < 600; i++) {
        assert_int_equal(aee_pause(hostile->engine, offender.context, NULL), AEE_OK);
        assert_int_equal(aee_resume(hostile->engine, offender.context, NULL), AEE_OK);
    }
    assert_int_equal(aee_poll_events(hostile->engine, &delivered, NULL), AEE_OK);
    assert_int_equal(aee_get_stats(hostile->engine, &after, NULL), AEE_OK);
    assert_int_equal(aee_set_event_callback(hostile->engine, NULL, NULL, NULL), AEE_OK);
    assert_int_equal(delivered, 1024);
    assert_int_equal(counted, 1024);
    assert_int_equal(after.events_lost - before.events_lost, 1200 - 1024);
    hostile_destroy(hostile, offender);
}

/* ---- Handles ------------------------------------------------------------------------------ */

static void expect_no_context(struct hostile *hostile, uint64_t id, aee_function function)
{
    const aee_context context = {id};
    const int64_t argument = 1;
    const aee_result results[] = {
        aee_call_i64(hostile->engine, context, function, &argument, 1, NULL, NULL),
        aee_stop(hostile->engine, context, NULL),
        aee_restart(hostile->engine, context, NULL),
        aee_pause(hostile->engine, context, NULL),
        aee_wait_ready(hostile->engine, context, 0, NULL),
        aee_get_context_info(hostile->engine, context, &(aee_context_info){0}, NULL),
        aee_last_crash(hostile->engine, context, &(aee_crash){0}, NULL),
        aee_grant_host_function(hostile->engine, context, "host", NULL),
        aee_allocate_isolated_memory(hostile->engine, context, 64, NULL),
        aee_charge_io(hostile->engine, context, AEE_IO_DISK, 1, NULL),
        id ? aee_destroy(hostile->engine, context, NULL) : AEE_ERR_STALE,
    };
    for (size_t i = 0; i < COUNT_OF(results); i++) {
        if (results[i] != AEE_ERR_STALE && results[i] != AEE_ERR_WRONG_HANDLE) {
            fail_msg("handle 0x%llx, operation %zu: %s", (unsigned long long)id, i,
                     aee_result_name(results[i]));
        }
    }
}

static void forged_contexts(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    aee_function function = hostile_find(hostile, offender, "answer");
    aee_region region = hostile_region(hostile, 4096, 0);
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t forged = offender.context.id ^ (UINT64_C(1) << bit);
        if (forged != hostile->bystander.id) {
            expect_no_context(hostile, forged, function);
        }
    }
    const uint64_t ids[] = {0, 1, UINT64_MAX, UINT64_C(1) << 60, region.id, function.id};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        expect_no_context(hostile, ids[i], function);
    }
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
    expect_no_context(hostile, offender.context.id, function);
    struct offender next = hostile_offender(hostile, mode, NULL); /* in the place of the old one */
    expect_no_context(hostile, offender.context.id, function);
    hostile_expect_recovery(hostile, next);
    hostile_destroy(hostile, next);
    assert_int_equal(aee_region_destroy(hostile->engine, region, NULL), AEE_OK);
}

static void forged_functions(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    aee_function good = hostile_find(hostile, offender, "answer");
    const int64_t argument = 1;
    for (unsigned bit = 12; bit < 64; bit++) { /* below: another function of the same context */
        aee_function forged = {good.id ^ (UINT64_C(1) << bit)};
        aee_result result =
            aee_call_i64(hostile->engine, offender.context, forged, &argument, 1, NULL, NULL);
        assert_true(result == AEE_ERR_WRONG_HANDLE || result == AEE_ERR_STALE);
    }
    const uint64_t ids[] = {0, UINT64_MAX, good.id | 0xfff, hostile->bystander_add.id,
                            offender.context.id};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        aee_function forged = {ids[i]};
        assert_int_equal(
            aee_call_i64(hostile->engine, offender.context, forged, &argument, 1, NULL, NULL),
            AEE_ERR_WRONG_HANDLE);
    }
    assert_int_equal(load_again(hostile, offender), AEE_OK);
    assert_int_equal(
        aee_call_i64(hostile->engine, offender.context, good, &argument, 1, NULL, NULL),
        AEE_ERR_STALE);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

static void forged_regions(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    aee_region region = hostile_region(hostile, 4096, 0);
    uint64_t ids[68] = {0, UINT64_MAX, offender.context.id, 1};
    for (unsigned bit = 0; bit < 64; bit++) {
        ids[4 + bit] = region.id ^ (UINT64_C(1) << bit);
    }
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        aee_region forged = {ids[i]};
        void *data = NULL;
        aee_result results[] = {
            aee_region_data(hostile->engine, forged, &data, NULL, NULL),
            aee_region_map(hostile->engine, offender.context, forged, AEE_ACCESS_READ, NULL, NULL),
            aee_region_unmap(hostile->engine, offender.context, forged, NULL),
            ids[i] ? aee_region_destroy(hostile->engine, forged, NULL) : AEE_ERR_STALE,
        };
        for (size_t r = 0; r < COUNT_OF(results); r++) {
            assert_true(results[r] == AEE_ERR_STALE || results[r] == AEE_ERR_WRONG_HANDLE);
        }
    }
    assert_int_equal(aee_region_destroy(hostile->engine, region, NULL), AEE_OK);
    assert_int_equal(aee_region_data(hostile->engine, region, NULL, NULL, NULL), AEE_ERR_STALE);
    hostile_destroy(hostile, offender);
}

#define SALT(id) (((id) >> 52) & 0xff)

/* An engine whose handles differ in more than 1 of 256 cases by luck. */
static struct hostile other_engine(struct hostile *hostile)
{
    struct hostile other = *hostile;
    aee_engine_desc desc = {.struct_size = sizeof desc, .pool_size = 1};
    for (;;) {
        aee_context probe;
        assert_int_equal(aee_engine_create(&desc, &other.engine, NULL), AEE_OK);
        assert_int_equal(aee_create_isolated_context(other.engine, "probe", &probe, NULL), AEE_OK);
        bool differs = SALT(probe.id) != SALT(hostile->bystander.id);
        assert_int_equal(aee_destroy(other.engine, probe, NULL), AEE_OK);
        if (differs) {
            return other;
        }
        aee_engine_destroy(other.engine);
    }
}

static void handles_of_another_engine(struct hostile *hostile, aee_call_mode mode)
{
    struct hostile other = other_engine(hostile);
    struct offender stranger = hostile_offender(&other, mode, NULL);
    aee_region region = hostile_region(&other, 4096, 0);
    expect_no_context(hostile, stranger.context.id, hostile->bystander_add);
    expect_no_context(&other, hostile->bystander.id, hostile->bystander_add);
    assert_int_equal(aee_region_destroy(hostile->engine, region, NULL), AEE_ERR_WRONG_HANDLE);
    assert_int_equal(
        aee_region_map(hostile->engine, hostile->bystander, region, AEE_ACCESS_READ, NULL, NULL),
        AEE_ERR_WRONG_HANDLE);
    hostile_expect_recovery(&other, stranger);
    aee_engine_destroy(other.engine);
}

/* Both engines' first contexts hold the same image: only the engine tells their functions apart. */
static void functions_of_another_engine(struct hostile *hostile, aee_call_mode mode)
{
    struct hostile first = other_engine(hostile);
    struct hostile second = first;
    for (;;) { /* two engines with different handles */
        second = other_engine(hostile);
        struct offender a = hostile_offender_of(&first, NULL, mode, NULL);
        struct offender b = hostile_offender_of(&second, NULL, mode, NULL);
        bool differs = SALT(a.context.id) != SALT(b.context.id);
        hostile_destroy(&first, a);
        hostile_destroy(&second, b);
        if (differs) {
            break;
        }
        aee_engine_destroy(second.engine);
    }
    struct offender own = hostile_offender(&first, mode, NULL);
    struct offender foreign = hostile_offender(&second, mode, NULL);
    aee_function function = hostile_find(&second, foreign, "answer");
    const int64_t argument = 1;
    aee_result result = aee_call_i64(first.engine, own.context, function, &argument, 1, NULL, NULL);
    aee_engine_destroy(first.engine);
    aee_engine_destroy(second.engine);
    assert_int_equal(result, AEE_ERR_WRONG_HANDLE);
}

static const struct hostile_case cases[] = {
    {.name = "quarantine after six crashes", .script = quarantine},
    {.name = "quarantine at once", .script = quarantine_at_once},
    {.name = "crashes outside of the window", .script = window_of_restarts},
    {.name = "a flood of events", .script = flood_of_events},
    {.name = "forged and stale contexts", .script = forged_contexts},
    {.name = "forged and stale functions", .script = forged_functions},
    {.name = "forged and stale regions", .script = forged_regions},
    {.name = "handles of another engine", .script = handles_of_another_engine},
    {.name = "functions of another engine", .script = functions_of_another_engine},
};

int main(int argc, char **argv)
{
    static const struct hostile_program program = {.name = "hostile_handles",
                                                   .image = "hostile_attacker.elf",
                                                   .cases = cases,
                                                   .count = COUNT_OF(cases)};
    return hostile_main(&program, argc, argv);
}
