/* test_restarts.c: when contexts come back after a crash: at once, after a wait, by hand, and with
 * their supervisors. */
#include "batch.h"

#include <errno.h>

#include "base/sys.h"

enum { MEMBERS = 3 };
#define HOUR (3600 * SECOND)

/* ---- Helpers ---------------------------------------------------------------------------------- */

static aee_context make_unloaded(struct bed *bed, const char *name, uint32_t restarts)
{
    aee_context context;
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = name,
                             .call_mode = AEE_CALL_DIRECT,
                             .limits = {.call_budget_ns = 10 * SECOND,
                                        .restarts = restarts,
                                        .restart_window_ns = HOUR,
                                        .never_restart = restarts == 0}};
    desc.limits.restarts = restarts ? restarts : 1;
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    return context;
}

static aee_context make(struct bed *bed, const char *name, uint32_t restarts)
{
    aee_context context = make_unloaded(bed, name, restarts);
    ASSERT_OK(bed, aee_load_file(bed->engine, context, testbed_path(), &bed->error));
    return context;
}

static void recover_as(struct bed *bed, aee_context context, aee_recovery_desc desc)
{
    desc.struct_size = sizeof desc;
    ASSERT_OK(bed, aee_set_recovery(bed->engine, context, &desc, &bed->error));
}

static void supervise(struct bed *bed, aee_context context, aee_context supervisor,
                      aee_supervision supervision)
{
    recover_as(bed, context,
               (aee_recovery_desc){.supervisor = supervisor, .supervision = supervision});
}

static void crash(struct bed *bed, aee_context context)
{
    int64_t value;
    assert_int_equal(call2(bed, context, "trap", 0, 0, 0, &value), AEE_ERR_CRASHED);
}

static aee_state state_of(struct bed *bed, aee_context context)
{
    return info_of(bed, context).state;
}

static void await_state(struct bed *bed, aee_context context, aee_state state)
{
    uint64_t end = now_ns() + PATIENCE;
    while (state_of(bed, context) != state) {
        if (now_ns() > end) {
            fail_msg("context \"%s\" is %s, not %s", info_of(bed, context).name,
                     aee_state_name(state_of(bed, context)), aee_state_name(state));
        }
        sleep_ns(MS / 2);
    }
}

/* A group goes down and comes back a moment after the crash was told. */
static void await_restarts(struct bed *bed, aee_context context, uint64_t restarts)
{
    uint64_t end = now_ns() + PATIENCE;
    while (info_of(bed, context).restarts < restarts && now_ns() < end) {
        sleep_ns(MS / 2);
    }
    await_ready(bed, context);
    assert_int_equal(info_of(bed, context).restarts, restarts);
}

struct told {
    unsigned count[AEE_EVENT_COUNT];
    char text[AEE_EVENT_COUNT][248];
};

static void note_event(void *user, const aee_event *event)
{
    struct told *told = user;
    told->count[event->type]++;
    memcpy(told->text[event->type], event->text, sizeof event->text);
}

static struct told events_of(struct bed *bed)
{
    struct told told;
    memset(&told, 0, sizeof told);
    ASSERT_OK(bed, aee_set_event_callback(bed->engine, note_event, &told, &bed->error));
    ASSERT_OK(bed, aee_poll_events(bed->engine, NULL, &bed->error));
    ASSERT_OK(bed, aee_set_event_callback(bed->engine, NULL, NULL, &bed->error));
    return told;
}

static void expect_text(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        fail_msg("\"%s\" does not say \"%s\"", text, part);
    }
}

/* ---- What may be asked for -------------------------------------------------------------------- */

static void refuse(struct bed *bed, aee_context context, aee_recovery_desc desc, const char *field)
{
    desc.struct_size = sizeof desc;
    assert_int_equal(aee_set_recovery(bed->engine, context, &desc, &bed->error),
                     AEE_ERR_INVALID_ARGUMENT);
    expect_text(bed->error.text, field);
}

static void bad_wishes_are_refused(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_unloaded(bed, "wisher", 5);
    aee_context gone = make_unloaded(bed, "gone", 5);
    aee_recovery_desc desc = {.struct_size = sizeof desc, .supervisor = gone};
    refuse(bed, context, (aee_recovery_desc){.mode = (aee_checkpoint_mode)7}, "mode");
    refuse(bed, context, (aee_recovery_desc){.mode = (aee_checkpoint_mode)-1}, "mode");
    refuse(bed, context, (aee_recovery_desc){.history = 257}, "history");
    refuse(bed, context, (aee_recovery_desc){.restart = (aee_restart_from)2}, "restart");
    refuse(bed, context, (aee_recovery_desc){.back = 1}, "back");
    refuse(bed, context, (aee_recovery_desc){.history = 3, .back = 3}, "back");
    refuse(bed, context, (aee_recovery_desc){.backoff_ns = HOUR + 1}, "backoff_ns");
    refuse(bed, context, (aee_recovery_desc){.backoff_max_ns = HOUR + 1}, "backoff_max_ns");
    refuse(bed, context, (aee_recovery_desc){.backoff_ns = 2, .backoff_max_ns = 1}, "less than");
    refuse(bed, context, (aee_recovery_desc){.supervision = (aee_supervision)2}, "supervision");
    refuse(bed, context, (aee_recovery_desc){.reserved0 = 1}, "reserved0");
    refuse(bed, context, (aee_recovery_desc){.supervisor = context}, "own supervisor");
    assert_int_equal(aee_set_recovery(bed->engine, context, NULL, &bed->error),
                     AEE_ERR_INVALID_ARGUMENT);
    desc.struct_size = 4;
    assert_int_equal(aee_set_recovery(bed->engine, context, &desc, &bed->error),
                     AEE_ERR_INVALID_ARGUMENT);
    desc.struct_size = sizeof desc;
    ASSERT_OK(bed, aee_destroy(bed->engine, gone, &bed->error));
    assert_int_equal(aee_set_recovery(bed->engine, context, &desc, &bed->error), AEE_ERR_STALE);
    assert_int_equal(aee_set_recovery(bed->engine, gone, &desc, &bed->error), AEE_ERR_STALE);
    desc.supervisor.id = 77;
    assert_int_equal(aee_set_recovery(bed->engine, context, &desc, &bed->error),
                     AEE_ERR_WRONG_HANDLE);
    recover_as(bed, context, (aee_recovery_desc){.history = 4, .back = 3, .backoff_ns = HOUR});
}

static void circles_are_refused(void **state)
{
    struct bed *bed = *state;
    aee_context chain[4];
    for (unsigned i = 0; i < 4; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "link %u", i);
        chain[i] = make_unloaded(bed, name, 5);
        if (i > 0) {
            supervise(bed, chain[i], chain[i - 1], AEE_SUPERVISE_ONE_FOR_ONE);
        }
    }
    refuse(bed, chain[0], (aee_recovery_desc){.supervisor = chain[3]}, "own supervisor");
    refuse(bed, chain[1], (aee_recovery_desc){.supervisor = chain[2]}, "own supervisor");
    ASSERT_OK(bed, aee_destroy(bed->engine, chain[2], &bed->error));
    supervise(bed, chain[0], chain[3], AEE_SUPERVISE_ONE_FOR_ONE); /* the chain is broken */
}

/* ---- Waits ------------------------------------------------------------------------------------ */

static uint64_t crash_and_return(struct bed *bed, aee_context context)
{
    uint64_t begin = now_ns();
    int64_t value;
    crash(bed, context);
    if (state_of(bed, context) == AEE_STATE_RESTARTING) {
        aee_result result = call2(bed, context, "count", 0, 0, 0, &value);
        assert_true(result == AEE_ERR_RESTARTING || result == AEE_OK);
    }
    await_ready(bed, context);
    return now_ns() - begin;
}

/* None, 60 ms, 120 ms, and then the most, 150 ms. */
static void waits_grow(void **state)
{
    struct bed *bed = *state;
    aee_context context = make(bed, "faller", 63);
    static const uint64_t waits_ms[] = {0, 60, 120, 150, 150};
    recover_as(bed, context,
               (aee_recovery_desc){.backoff_ns = 60 * MS, .backoff_max_ns = 150 * MS});
    (void)events_of(bed);
    for (unsigned i = 0; i < sizeof waits_ms / sizeof waits_ms[0]; i++) {
        uint64_t took = crash_and_return(bed, context);
        if (took < waits_ms[i] * MS || took > (waits_ms[i] + 5000) * MS * scale()) {
            fail_msg("crash %u: ready after %llu us", i + 1, (unsigned long long)(took / 1000));
        }
        struct told told = events_of(bed);
        assert_int_equal(told.count[AEE_EVENT_RESTARTING], i > 0);
        assert_int_equal(told.count[AEE_EVENT_RESTARTED], 1);
        if (i > 0) {
            char wait[32];
            (void)snprintf(wait, sizeof wait, "waits %u.000 ms", (unsigned)waits_ms[i]);
            expect_text(told.text[AEE_EVENT_RESTARTING], wait);
        }
    }
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error)); /* forgets them */
    crash(bed, context);
    await_ready(bed, context);
    assert_int_equal(events_of(bed).count[AEE_EVENT_RESTARTING], 0);
}

/* In a wait of an hour. */
static aee_context make_waiting(struct bed *bed, const char *name)
{
    aee_context context = make(bed, name, 63);
    recover_as(bed, context, (aee_recovery_desc){.backoff_ns = HOUR});
    (void)crash_and_return(bed, context);
    crash(bed, context);
    return context;
}

static uint64_t cpu_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static void others_restart_meanwhile(void **state)
{
    struct bed *bed = *state;
    aee_context waiting = make_waiting(bed, "waiting");
    aee_context other = make(bed, "other", 63);
    aee_context patient = make(bed, "patient", 63);
    recover_as(bed, patient, (aee_recovery_desc){.backoff_ns = 20 * MS});
    for (unsigned i = 0; i < 4; i++) {
        (void)crash_and_return(bed, other);
        (void)crash_and_return(bed, patient);
    }
    assert_int_equal(state_of(bed, waiting), AEE_STATE_RESTARTING);
    uint64_t used = cpu_ns();
    assert_int_equal(aee_wait_ready(bed->engine, waiting, 300 * MS, &bed->error),
                     AEE_ERR_TIMED_OUT);
    assert_true(cpu_ns() - used < 50 * MS); /* nobody looks at the clock meanwhile */
}

/* Where the thread whose call crashed could restore the component itself. */
static void checkpoints_wait_too(void **state)
{
    struct bed *bed = *state;
    aee_context context = make(bed, "keeper", 63);
    recover_as(bed, context,
               (aee_recovery_desc){.restart = AEE_RESTART_CHECKPOINT, .backoff_ns = 70 * MS});
    assert_int_equal(value0(bed, context, "count"), 1);
    ASSERT_OK(bed, aee_checkpoint(bed->engine, context, &bed->error));
    for (unsigned i = 0; i < 4; i++) {
        uint64_t took = crash_and_return(bed, context);
        assert_int_equal(value0(bed, context, "count"), 2);
        if (i > 0 && took < 70 * MS << (i - 1)) {
            fail_msg("crash %u: ready after %llu us", i + 1, (unsigned long long)(took / 1000));
        }
    }
}

/* The restart after a crash that nobody waits for comes without help. */
static void submitted_crashes_come_back(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_mortal(bed, "alone", AEE_CALL_RING, 1);
    aee_call_item item = {.context = context, .function = find(bed, context, "trap")};
    aee_completion done;
    recover_as(bed, context, (aee_recovery_desc){.restart = AEE_RESTART_CHECKPOINT});
    ASSERT_OK(bed, aee_checkpoint(bed->engine, context, &bed->error));
    for (unsigned i = 0; i < 6; i++) {
        crash(bed, context);
        await_ready(bed, context);
        wait_all(bed, submit(bed, &item, 1), &done, 1);
        assert_int_equal(done.result, AEE_ERR_CRASHED);
        await_ready(bed, context);
    }
}

static void operations_do_not_wait(void **state)
{
    struct bed *bed = *state;
    uint64_t begin = now_ns();
    aee_context context = make_waiting(bed, "hasty");
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error));
    assert_int_equal(value0(bed, context, "count"), 1);
    (void)crash_and_return(bed, context); /* its first, again */
    crash(bed, context);
    ASSERT_OK(bed, aee_stop(bed->engine, context, &bed->error));
    assert_int_equal(state_of(bed, context), AEE_STATE_STOPPED);
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error));
    (void)crash_and_return(bed, context);
    crash(bed, context);
    ASSERT_OK(bed, aee_load_file(bed->engine, context, testbed_path(), &bed->error));
    (void)crash_and_return(bed, context);
    crash(bed, context);
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    (void)make_waiting(bed, "left"); /* the engine's end finds it */
    bed_close(bed);
    if (now_ns() - begin > 20 * SECOND * scale()) {
        fail_msg("it took %llu ms", (unsigned long long)((now_ns() - begin) / MS));
    }
    bed_open(bed, NULL);
}

/* A wait that was begun does not shorten or lengthen the next one. */
static void waits_are_of_the_last_crash(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_waiting(bed, "again");
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error));
    recover_as(bed, context, (aee_recovery_desc){.backoff_ns = 80 * MS, .backoff_max_ns = 80 * MS});
    (void)crash_and_return(bed, context);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t took = crash_and_return(bed, context);
        assert_true(took >= 80 * MS);
        assert_true(took < 5080 * MS * scale());
    }
}

/* ---- Quarantine ------------------------------------------------------------------------------- */

static void quarantine_ends_by_hand(void **state)
{
    struct bed *bed = *state;
    aee_context context = make(bed, "looper", 2);
    int64_t value;
    (void)events_of(bed);
    for (unsigned round = 0; round < 2; round++) {
        (void)crash_and_return(bed, context);
        (void)crash_and_return(bed, context);
        crash(bed, context);
        assert_int_equal(state_of(bed, context), AEE_STATE_QUARANTINED);
        assert_int_equal(call2(bed, context, "count", 0, 0, 0, &value), AEE_ERR_QUARANTINED);
        assert_int_equal(aee_wait_ready(bed->engine, context, HOUR, &bed->error),
                         AEE_ERR_QUARANTINED);
        struct told told = events_of(bed);
        assert_int_equal(told.count[AEE_EVENT_QUARANTINED], 1);
        assert_int_equal(told.count[AEE_EVENT_CRASHED], 3);
        assert_int_equal(told.count[AEE_EVENT_RESTARTED], 2);
        ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error));
        assert_int_equal(value0(bed, context, "count"), 1);
        assert_int_equal(events_of(bed).count[AEE_EVENT_RESTARTED], 1);
    }
}

/* ---- Supervisors ------------------------------------------------------------------------------ */

/* core - middle - leaf, and a bystander. */
struct tree {
    aee_context core;
    aee_context middle;
    aee_context leaf;
    aee_context other;
};

static struct tree make_tree(struct bed *bed, aee_supervision middle, uint32_t core_restarts)
{
    struct tree tree = {.core = make(bed, "core", core_restarts),
                        .middle = make(bed, "middle", 63),
                        .leaf = make(bed, "leaf", 63),
                        .other = make(bed, "other", 63)};
    supervise(bed, tree.core, (aee_context){0}, AEE_SUPERVISE_ALL_FOR_ONE);
    supervise(bed, tree.middle, tree.core, middle);
    supervise(bed, tree.leaf, tree.middle, AEE_SUPERVISE_ONE_FOR_ONE);
    return tree;
}

static void expect_restarts(struct bed *bed, const struct tree *tree, uint64_t core,
                            uint64_t middle, uint64_t leaf)
{
    await_restarts(bed, tree->core, core);
    await_restarts(bed, tree->middle, middle);
    await_restarts(bed, tree->leaf, leaf);
    sleep_ns(20 * MS); /* and no more */
    await_restarts(bed, tree->core, core);
    await_restarts(bed, tree->middle, middle);
    await_restarts(bed, tree->leaf, leaf);
    await_restarts(bed, tree->other, 0);
}

static void groups_restart_together(void **state)
{
    struct bed *bed = *state;
    struct tree tree = make_tree(bed, AEE_SUPERVISE_ALL_FOR_ONE, 63);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(value0(bed, tree.leaf, "count"), i + 1);
    }
    (void)events_of(bed);
    crash(bed, tree.core);
    expect_restarts(bed, &tree, 1, 1, 1);
    assert_int_equal(value0(bed, tree.leaf, "count"), 1);
    struct told told = events_of(bed);
    assert_int_equal(told.count[AEE_EVENT_RESTARTED], 3);
    assert_int_equal(told.count[AEE_EVENT_RESTARTING], 2);
    expect_text(told.text[AEE_EVENT_RESTARTING], "down with its supervisor \"middle\"");
    expect_text(told.text[AEE_EVENT_RESTARTED], "restarted with its supervisor \"middle\"");
    assert_int_equal(info_of(bed, tree.leaf).crashes, 0);
    crash(bed, tree.middle);
    expect_restarts(bed, &tree, 1, 2, 2);
    crash(bed, tree.leaf);
    expect_restarts(bed, &tree, 1, 2, 3);
    ASSERT_OK(bed, aee_restart(bed->engine, tree.core, &bed->error)); /* is no crash */
    expect_restarts(bed, &tree, 2, 2, 3);
}

static void one_for_one_ends_the_chain(void **state)
{
    struct bed *bed = *state;
    struct tree tree = make_tree(bed, AEE_SUPERVISE_ONE_FOR_ONE, 63);
    crash(bed, tree.core);
    expect_restarts(bed, &tree, 1, 1, 0);
    crash(bed, tree.middle);
    expect_restarts(bed, &tree, 1, 2, 0);
    supervise(bed, tree.core, (aee_context){0}, AEE_SUPERVISE_ONE_FOR_ONE);
    crash(bed, tree.core);
    expect_restarts(bed, &tree, 2, 2, 0);
}

/* The group waits for its core, and hangs count. */
static void members_wait_for_their_supervisor(void **state)
{
    struct bed *bed = *state;
    struct tree tree = make_tree(bed, AEE_SUPERVISE_ALL_FOR_ONE, 63);
    int64_t value;
    recover_as(bed, tree.core,
               (aee_recovery_desc){.supervision = AEE_SUPERVISE_ALL_FOR_ONE, .backoff_ns = HOUR});
    crash(bed, tree.core);
    expect_restarts(bed, &tree, 1, 1, 1);
    set_budget(bed, tree.core, 20 * MS);
    assert_int_equal(call2(bed, tree.core, "hang", 0, 0, 1, &value), AEE_ERR_HUNG);
    await_state(bed, tree.middle, AEE_STATE_RESTARTING);
    await_state(bed, tree.leaf, AEE_STATE_RESTARTING);
    assert_int_equal(call2(bed, tree.leaf, "count", 0, 0, 0, &value), AEE_ERR_RESTARTING);
    ASSERT_OK(bed, aee_restart(bed->engine, tree.leaf, &bed->error)); /* it need not wait */
    assert_int_equal(value0(bed, tree.leaf, "count"), 1);
    assert_int_equal(state_of(bed, tree.middle), AEE_STATE_RESTARTING);
    ASSERT_OK(bed, aee_restart(bed->engine, tree.core, &bed->error));
    expect_restarts(bed, &tree, 2, 2, 2);
}

/* One that waits for its own restart waits for its supervisor from then on, and what becomes of
 * that one is known down to the leaves. */
static void own_waits_end_with_the_supervisor(void **state)
{
    struct bed *bed = *state;
    struct tree tree = make_tree(bed, AEE_SUPERVISE_ALL_FOR_ONE, 63);
    recover_as(bed, tree.core,
               (aee_recovery_desc){.supervision = AEE_SUPERVISE_ALL_FOR_ONE, .backoff_ns = HOUR});
    recover_as(bed, tree.leaf,
               (aee_recovery_desc){.supervisor = tree.middle, .backoff_ns = 100 * MS});
    crash(bed, tree.core);
    expect_restarts(bed, &tree, 1, 1, 1);
    crash(bed, tree.leaf);
    await_restarts(bed, tree.leaf, 2);
    crash(bed, tree.leaf); /* waits for 100 ms */
    crash(bed, tree.core); /* for an hour */
    sleep_ns(250 * MS * scale());
    assert_int_equal(state_of(bed, tree.leaf), AEE_STATE_RESTARTING);
    assert_int_equal(info_of(bed, tree.leaf).restarts, 2);
    ASSERT_OK(bed, aee_stop(bed->engine, tree.core, &bed->error));
    await_state(bed, tree.middle, AEE_STATE_STOPPED);
    await_state(bed, tree.leaf, AEE_STATE_STOPPED);
    ASSERT_OK(bed, aee_restart(bed->engine, tree.core, &bed->error));
    expect_restarts(bed, &tree, 2, 2, 3);
}

static void members_stop_with_a_quarantine(void **state)
{
    struct bed *bed = *state;
    struct tree tree = make_tree(bed, AEE_SUPERVISE_ALL_FOR_ONE, 0);
    aee_context stopped = make(bed, "stopped", 63);
    aee_context bad = make(bed, "bad", 0);
    int64_t value;
    supervise(bed, stopped, tree.core, AEE_SUPERVISE_ONE_FOR_ONE);
    supervise(bed, bad, tree.core, AEE_SUPERVISE_ONE_FOR_ONE);
    ASSERT_OK(bed, aee_stop(bed->engine, stopped, &bed->error));
    crash(bed, bad);
    (void)events_of(bed);
    crash(bed, tree.core);
    await_state(bed, tree.middle, AEE_STATE_STOPPED);
    await_state(bed, tree.leaf, AEE_STATE_STOPPED);
    assert_int_equal(call2(bed, tree.leaf, "count", 0, 0, 0, &value), AEE_ERR_STOPPED);
    assert_int_equal(aee_wait_ready(bed->engine, tree.leaf, HOUR, &bed->error), AEE_ERR_STOPPED);
    struct told told = events_of(bed);
    assert_int_equal(told.count[AEE_EVENT_STOPPED], 2);
    expect_text(told.text[AEE_EVENT_STOPPED], "stopped until its supervisor \"middle\" is back");
    ASSERT_OK(bed, aee_restart(bed->engine, tree.core, &bed->error));
    expect_restarts(bed, &tree, 1, 1, 1);
    assert_int_equal(value0(bed, tree.leaf, "count"), 1);
    assert_int_equal(state_of(bed, stopped), AEE_STATE_STOPPED); /* by hand, and so to be ended */
    assert_int_equal(state_of(bed, bad), AEE_STATE_QUARANTINED);
}

/* Each way out of a wait for a supervisor in quarantine. */
static void members_are_freed(void **state)
{
    struct bed *bed = *state;
    for (unsigned way = 0; way < 5; way++) {
        struct tree tree = make_tree(bed, AEE_SUPERVISE_ALL_FOR_ONE, 0);
        crash(bed, tree.core);
        await_state(bed, tree.leaf, AEE_STATE_STOPPED);
        switch (way) {
        case 0:
            ASSERT_OK(bed, aee_destroy(bed->engine, tree.core, &bed->error));
            break;
        case 1:
            supervise(bed, tree.core, (aee_context){0}, AEE_SUPERVISE_ONE_FOR_ONE);
            break;
        case 2:
            supervise(bed, tree.middle, tree.other, AEE_SUPERVISE_ALL_FOR_ONE);
            break;
        case 3:
            ASSERT_OK(bed, aee_restart(bed->engine, tree.middle, &bed->error));
            break;
        default:
            ASSERT_OK(bed, aee_load_file(bed->engine, tree.core, testbed_path(), &bed->error));
            break;
        }
        await_state(bed, tree.middle, AEE_STATE_READY);
        await_state(bed, tree.leaf, AEE_STATE_READY);
        crash(bed, tree.middle); /* they still are a group */
        await_restarts(bed, tree.leaf, 2);
        if (way > 0) {
            ASSERT_OK(bed, aee_destroy(bed->engine, tree.core, &bed->error));
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, tree.middle, &bed->error));
        ASSERT_OK(bed, aee_destroy(bed->engine, tree.leaf, &bed->error));
        ASSERT_OK(bed, aee_destroy(bed->engine, tree.other, &bed->error));
    }
}

/* Each in its own way: one with its state, one from the image. */
static void members_keep_their_state(void **state)
{
    struct bed *bed = *state;
    struct tree tree = make_tree(bed, AEE_SUPERVISE_ALL_FOR_ONE, 63);
    recover_as(bed, tree.leaf,
               (aee_recovery_desc){.supervisor = tree.middle, .restart = AEE_RESTART_CHECKPOINT});
    for (unsigned i = 0; i < 3; i++) {
        (void)value0(bed, tree.leaf, "count");
        (void)value0(bed, tree.middle, "count");
    }
    ASSERT_OK(bed, aee_checkpoint(bed->engine, tree.leaf, &bed->error));
    (void)events_of(bed);
    for (unsigned i = 0; i < 3; i++) {
        crash(bed, tree.core);
        expect_restarts(bed, &tree, i + 1, i + 1, i + 1);
        assert_int_equal(value0(bed, tree.leaf, "count"), 4);
        assert_int_equal(value0(bed, tree.middle, "count"), 1);
    }
    expect_text(events_of(bed).text[AEE_EVENT_RESTARTED],
                "with its supervisor \"middle\", from a checkpoint");
}

/* A member that the user stops while it waits stays so. */
static void a_stop_while_waiting_holds(void **state)
{
    struct bed *bed = *state;
    struct tree tree = make_tree(bed, AEE_SUPERVISE_ALL_FOR_ONE, 0);
    crash(bed, tree.core);
    await_state(bed, tree.leaf, AEE_STATE_STOPPED);
    ASSERT_OK(bed, aee_stop(bed->engine, tree.middle, &bed->error));
    ASSERT_OK(bed, aee_restart(bed->engine, tree.core, &bed->error));
    sleep_ns(50 * MS);
    assert_int_equal(state_of(bed, tree.middle), AEE_STATE_STOPPED);
    assert_int_equal(state_of(bed, tree.leaf), AEE_STATE_STOPPED);
    ASSERT_OK(bed, aee_restart(bed->engine, tree.middle, &bed->error));
    await_state(bed, tree.leaf, AEE_STATE_READY);
}

/* ---- Calls in flight -------------------------------------------------------------------------- */

struct caller {
    struct bed *bed;
    aee_context context;
    int64_t gva;
    aee_result result;
};

static void *call_and_wait(void *argument)
{
    struct caller *caller = argument;
    aee_function function;
    int64_t args[2] = {caller->gva, 1};
    caller->result =
        aee_find_function(caller->bed->engine, caller->context, "spin_until", &function, NULL);
    if (caller->result == AEE_OK) {
        caller->result =
            aee_call_i64(caller->bed->engine, caller->context, function, args, 2, NULL, NULL);
    }
    return NULL;
}

static void calls_of_members_end(void **state)
{
    struct bed *bed = *state;
    NEEDS_LEVEL(AEE_LEVEL_PROCESS, "one context runs at a time");
    struct tree tree = make_tree(bed, AEE_SUPERVISE_ALL_FOR_ONE, 63);
    struct gate gate = make_gate(bed, tree.leaf);
    struct caller caller = {.bed = bed, .context = tree.leaf, .gva = gate.gva};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, call_and_wait, &caller), 0);
    sleep_ns(100 * MS); /* it begins */
    crash(bed, tree.core);
    (void)pthread_join(thread, NULL);
    assert_int_equal(caller.result, AEE_ERR_STOPPED);
    expect_restarts(bed, &tree, 1, 1, 1);
}

/* ---- Races and failures ----------------------------------------------------------------------- */

static void supervisors_go_in_the_middle(void **state)
{
    struct bed *bed = *state;
    enum { ROUNDS = SANITIZED ? 12 : 40 };
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct tree tree = make_tree(bed, AEE_SUPERVISE_ALL_FOR_ONE, 63);
        crash(bed, i % 2 ? tree.core : tree.middle);
        sleep_ns((i / 2) * MS / 10);
        ASSERT_OK(bed, aee_destroy(bed->engine, i % 4 < 2 ? tree.core : tree.middle, &bed->error));
        await_state(bed, tree.leaf, AEE_STATE_READY);
        if (i % 4 < 2) {
            await_state(bed, tree.middle, AEE_STATE_READY);
            ASSERT_OK(bed, aee_destroy(bed->engine, tree.middle, &bed->error));
        } else {
            await_state(bed, tree.core, AEE_STATE_READY);
            ASSERT_OK(bed, aee_destroy(bed->engine, tree.core, &bed->error));
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, tree.leaf, &bed->error));
        ASSERT_OK(bed, aee_destroy(bed->engine, tree.other, &bed->error));
    }
}

struct storm {
    struct bed *bed;
    struct tree tree;
    unsigned number;
    _Atomic bool stop;
    _Atomic unsigned odd;
};

static void act(struct storm *storm, unsigned turn)
{
    aee_engine *engine = storm->bed->engine;
    const aee_context all[3] = {storm->tree.core, storm->tree.middle, storm->tree.leaf};
    aee_context context = all[turn % 3];
    aee_function function;
    int64_t value = 0;
    const char *name = turn % 7 == 0 ? "trap" : "count";
    if (turn % 41 == 40) {
        (void)aee_restart(engine, context, NULL);
    } else if (aee_find_function(engine, context, name, &function, NULL) == AEE_OK) {
        aee_result result = aee_call_i64(engine, context, function, NULL, 0, &value, NULL);
        storm->odd += result != AEE_OK && result != AEE_ERR_CRASHED && result != AEE_ERR_STOPPED &&
                      result != AEE_ERR_RESTARTING && result != AEE_ERR_QUARANTINED &&
                      result != AEE_ERR_HUNG;
    }
}

static void *rage(void *argument)
{
    struct storm *storm = argument;
    for (unsigned turn = 0; !atomic_load(&storm->stop); turn++) {
        act(storm, turn);
    }
    return NULL;
}

static void groups_outlive_a_storm(void **state)
{
    struct bed *bed = *state;
    static struct storm storm;
    pthread_t threads[3];
    memset(&storm, 0, sizeof storm);
    storm.bed = bed;
    storm.tree = make_tree(bed, AEE_SUPERVISE_ALL_FOR_ONE, 63);
    for (unsigned i = 0; i < 3; i++) {
        const aee_context all[3] = {storm.tree.core, storm.tree.middle, storm.tree.leaf};
        const aee_limits limits = {.restart_window_ns = 1};
        ASSERT_OK(bed, aee_set_limits(bed->engine, all[i], &limits, &bed->error));
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, rage, &storm), 0);
    }
    sleep_ns(700 * MS);
    atomic_store(&storm.stop, true);
    for (unsigned i = 0; i < 3; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    assert_int_equal(storm.odd, 0);
    await_state(bed, storm.tree.core, AEE_STATE_READY);
    await_state(bed, storm.tree.middle, AEE_STATE_READY);
    await_state(bed, storm.tree.leaf, AEE_STATE_READY);
    assert_true(info_of(bed, storm.tree.leaf).restarts > 0);
    uint64_t restarts = info_of(bed, storm.tree.leaf).restarts;
    sleep_ns(50 * MS);
    restarts = info_of(bed, storm.tree.leaf).restarts;
    crash(bed, storm.tree.core);
    await_restarts(bed, storm.tree.leaf, restarts + 1);
}

static _Atomic unsigned failing; /* so many memory files are not made */

static int fail_memfd(const char *name)
{
    unsigned left = atomic_load(&failing);
    if (strcmp(name, "memfd_create") != 0 || left == 0) {
        return 0;
    }
    atomic_store(&failing, left - 1);
    return ENOMEM;
}

static void a_restart_that_fails_is_tried_again(void **state)
{
    struct bed *bed = *state;
    struct tree tree = make_tree(bed, AEE_SUPERVISE_ALL_FOR_ONE, 63);
    (void)events_of(bed);
    atomic_store(&failing, 3);
    crash(bed, tree.core);
    await_restarts(bed, tree.core, 1);
    await_restarts(bed, tree.middle, 1);
    await_restarts(bed, tree.leaf, 1);
    assert_int_equal(atomic_load(&failing), 0);
    struct told told = events_of(bed);
    unsigned failed = told.count[AEE_EVENT_RESTART_FAILED];
    if (tested_level() == AEE_LEVEL_FULL) { /* cells of the pool need memory files as well */
        assert_int_equal(failed, 3);
    }
    assert_int_equal(told.count[AEE_EVENT_RESTARTED], 3);
    assert_int_equal(told.count[AEE_EVENT_RESTARTING], failed + 2); /* waits, and two members */
}

int main(void)
{
    skip_without_backend();
    aee__sys_fault = fail_memfd;
    const struct CMUnitTest tests[] = {
        WITH_BED(bad_wishes_are_refused),
        WITH_BED(circles_are_refused),
        WITH_BED(waits_grow),
        WITH_BED(others_restart_meanwhile),
        WITH_BED(checkpoints_wait_too),
        WITH_BED(submitted_crashes_come_back),
        WITH_BED(operations_do_not_wait),
        WITH_BED(waits_are_of_the_last_crash),
        WITH_BED(quarantine_ends_by_hand),
        WITH_BED(groups_restart_together),
        WITH_BED(one_for_one_ends_the_chain),
        WITH_BED(members_wait_for_their_supervisor),
        WITH_BED(own_waits_end_with_the_supervisor),
        WITH_BED(members_stop_with_a_quarantine),
        WITH_BED(members_keep_their_state),
        WITH_BED(members_are_freed),
        WITH_BED(a_stop_while_waiting_holds),
        WITH_BED(calls_of_members_end),
        WITH_BED(supervisors_go_in_the_middle),
        WITH_BED(groups_outlive_a_storm),
        WITH_BED(a_restart_that_fails_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
