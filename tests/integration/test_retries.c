/* test_retries.c: calls of functions that are marked as idempotent get a second try, once; others
 * do not. */
#include "batch.h"

#include <errno.h>

#include "base/sys.h"

enum { CALLS = 20, WORDS = 4096, TRAP = 0, HANG = 1 };

static aee_call_item items[CALLS];
static aee_completion done[CALLS];

struct field {
    struct bed *bed;
    aee_context context;
    aee_function attempt;
    int64_t gva;
    _Atomic int64_t *words; /* the component's memory: it outlives it */
};

static struct field make_field(struct bed *bed, aee_call_mode mode, uint32_t lanes)
{
    struct field field = {.bed = bed, .context = make_mortal(bed, "phoenix", mode, lanes)};
    aee_region_desc desc = {
        .struct_size = sizeof desc, .name = "words", .size_bytes = WORDS * sizeof(int64_t)};
    aee_region region;
    uint64_t gva;
    void *data;
    ASSERT_OK(bed, aee_region_create(bed->engine, &desc, &region, &bed->error));
    ASSERT_OK(bed, aee_region_data(bed->engine, region, &data, NULL, &bed->error));
    ASSERT_OK(bed, aee_region_map(bed->engine, field.context, region, AEE_ACCESS_READ_WRITE, &gva,
                                  &bed->error));
    field.words = data;
    field.gva = (int64_t)gva;
    field.attempt = find(bed, field.context, "attempt");
    return field;
}

static void mark(struct field *field, const char *name, int idempotent)
{
    ASSERT_OK(field->bed, aee_set_idempotent(field->bed->engine, field->context,
                                             find(field->bed, field->context, name), idempotent,
                                             &field->bed->error));
}

static int64_t at(const struct field *field, uint32_t word)
{
    return field->gva + 8 * (int64_t)word;
}

static aee_result attempt(struct field *field, uint32_t word, int64_t bad, int64_t how,
                          int64_t *value)
{
    const int64_t args[3] = {at(field, word), bad, how};
    *value = -1;
    return aee_call_i64(field->bed->engine, field->context, field->attempt, args, 3, value,
                        &field->bed->error);
}

static int64_t word_of(const struct field *field, uint32_t word)
{
    return atomic_load(&field->words[word]);
}

/* ---- Marks ------------------------------------------------------------------------------------ */

static void marks_are_checked(void **state)
{
    struct bed *bed = *state;
    struct field field = make_field(bed, AEE_CALL_DIRECT, 1);
    aee_context empty = {0};
    aee_context_desc desc = {.struct_size = sizeof desc, .name = "empty"};
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &empty, &bed->error));
    assert_int_equal(aee_set_idempotent(bed->engine, empty, field.attempt, 1, &bed->error),
                     AEE_ERR_WRONG_HANDLE);
    assert_int_equal(
        aee_set_idempotent(bed->engine, field.context, (aee_function){0}, 1, &bed->error),
        AEE_ERR_WRONG_HANDLE);
    aee_function beyond = {field.attempt.id | 0xfff};
    assert_int_equal(aee_set_idempotent(bed->engine, field.context, beyond, 1, &bed->error),
                     AEE_ERR_WRONG_HANDLE);
    mark(&field, "attempt", 1);
    ASSERT_OK(bed, aee_load_file(bed->engine, field.context, testbed_path(), &bed->error));
    assert_int_equal(aee_set_idempotent(bed->engine, field.context, field.attempt, 1, &bed->error),
                     AEE_ERR_STALE);
    field.attempt = find(bed, field.context, "attempt");
    int64_t value; /* the mark is gone with the image */
    assert_int_equal(attempt(&field, 0, 1, TRAP, &value), AEE_ERR_CRASHED);
    await_ready(bed, field.context);
    assert_int_equal(word_of(&field, 0), 1);
}

/* ---- Calls that a thread waits for ------------------------------------------------------------ */

static void a_call_gets_a_second_try(void **state)
{
    struct bed *bed = *state;
    int64_t value;
    EACH_MODE(mode)
    {
        struct field field = make_field(bed, batch_modes[mode], 1);
        assert_int_equal(attempt(&field, 0, 1, TRAP, &value), AEE_ERR_CRASHED); /* no mark yet */
        await_ready(bed, field.context);
        mark(&field, "attempt", 1);
        ASSERT_OK(bed, attempt(&field, 1, 1, TRAP, &value));
        assert_int_equal(value, 2);
        assert_int_equal(word_of(&field, 1), 2);
        assert_int_equal(value0(bed, field.context, "calls_so_far"), 1);
        assert_int_equal(bed->error.text[0], 0);
        assert_int_equal(attempt(&field, 2, 2, TRAP, &value), AEE_ERR_CRASHED); /* twice */
        assert_int_equal(word_of(&field, 2), 2);
        await_ready(bed, field.context);
        ASSERT_OK(bed, attempt(&field, 3, 1, TRAP, &value)); /* a restart keeps the mark */
        mark(&field, "attempt", 0);
        assert_int_equal(attempt(&field, 4, 1, TRAP, &value), AEE_ERR_CRASHED);
        assert_int_equal(word_of(&field, 4), 1);
        await_ready(bed, field.context);
    }
}

static void so_does_one_that_hangs(void **state)
{
    struct bed *bed = *state;
    int64_t value;
    EACH_MODE(mode)
    {
        struct field field = make_field(bed, batch_modes[mode], 1);
        mark(&field, "attempt", 1);
        set_budget(bed, field.context, scaled(200 * MS));
        ASSERT_OK(bed, attempt(&field, 1, 1, HANG, &value));
        assert_int_equal(value, 2);
        assert_int_equal(attempt(&field, 2, 2, HANG, &value), AEE_ERR_HUNG);
        assert_int_equal(word_of(&field, 2), 2);
        await_ready(bed, field.context);
    }
}

static void all_forms_of_calls_do(void **state)
{
    struct bed *bed = *state;
    struct field field = make_field(bed, AEE_CALL_AUTO, 1);
    const int64_t request[4] = {at(&field, 2), 1, TRAP, 4711};
    const aee_value args[2] = {aee_i64(at(&field, 1)), aee_i64(1)};
    aee_value result = {.type = AEE_TYPE_F64};
    int64_t reply[8];
    size_t size = 0;
    mark(&field, "attempt_double", 1);
    mark(&field, "attempt_bytes", 1);
    ASSERT_OK(bed, aee_call(bed->engine, field.context, find(bed, field.context, "attempt_double"),
                            args, 2, &result, &bed->error));
    assert_true(result.as.f64 == 2.5);
    ASSERT_OK(bed,
              aee_call_bytes(bed->engine, field.context, find(bed, field.context, "attempt_bytes"),
                             request, sizeof request, reply, sizeof reply, &size, &bed->error));
    assert_int_equal(size, 5 * sizeof(int64_t));
    assert_int_equal(reply[0], 2);
    assert_memory_equal(&reply[1], request, sizeof request);
}

/* The second try finds the state of the checkpoint. */
static void second_tries_see_the_checkpoint(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(mode)
    {
        struct field field = make_field(bed, batch_modes[mode], 1);
        aee_recovery_desc desc = {.struct_size = sizeof desc, .restart = AEE_RESTART_CHECKPOINT};
        int64_t value;
        mark(&field, "attempt", 1);
        ASSERT_OK(bed, aee_set_recovery(bed->engine, field.context, &desc, &bed->error));
        for (uint32_t i = 0; i < 5; i++) {
            ASSERT_OK(bed, attempt(&field, i, 0, TRAP, &value));
        }
        ASSERT_OK(bed, aee_checkpoint(bed->engine, field.context, &bed->error));
        ASSERT_OK(bed, attempt(&field, 6, 1, TRAP, &value));
        assert_int_equal(value, 2);
        assert_int_equal(value0(bed, field.context, "calls_so_far"), 6);
        aee_call_item item = {.context = field.context,
                              .function = field.attempt,
                              .arg_count = 3,
                              .args = {aee_i64(at(&field, 7)), aee_i64(1), aee_i64(TRAP)}};
        wait_all(bed, submit(bed, &item, 1), done, 1);
        assert_int_equal(done[0].result, AEE_OK);
        assert_int_equal(done[0].value.as.i64, 2);
        assert_int_equal(value0(bed, field.context, "calls_so_far"), 6);
    }
}

/* Where it is not back in time the first result stands. */
static void a_try_does_not_wait_for_ever(void **state)
{
    struct bed *bed = *state;
    struct field field = make_field(bed, AEE_CALL_DIRECT, 1);
    const aee_limits never = {.never_restart = 1};
    aee_recovery_desc wait = {.struct_size = sizeof wait, .backoff_ns = scaled(300 * MS)};
    int64_t value;
    mark(&field, "attempt", 1);
    const aee_limits window = {.restart_window_ns = 3600 * SECOND};
    ASSERT_OK(bed, aee_set_limits(bed->engine, field.context, &window, &bed->error));
    ASSERT_OK(bed, aee_set_recovery(bed->engine, field.context, &wait, &bed->error));
    set_budget(bed, field.context, scaled(3 * SECOND)); /* a busy machine's time beside the wait */
    ASSERT_OK(bed, attempt(&field, 1, 1, TRAP, &value));
    uint64_t begin = now_ns();
    ASSERT_OK(bed, attempt(&field, 2, 1, TRAP, &value)); /* after the wait */
    assert_true(now_ns() - begin >= scaled(300 * MS));
    assert_int_equal(value, 2);
    ASSERT_OK(bed, aee_set_limits(bed->engine, field.context, &never, &bed->error));
    assert_int_equal(attempt(&field, 3, 1, TRAP, &value), AEE_ERR_CRASHED);
    assert_int_equal(word_of(&field, 3), 1);
    assert_non_null(strstr(bed->error.text, "crashed"));
    assert_int_equal(info_of(bed, field.context).state, AEE_STATE_QUARANTINED);
}

/* ---- Calls from within ------------------------------------------------------------------------ */

static struct field host_field;

static aee_result come_back(void *user, aee_host_call *call)
{
    (void)user;
    const int64_t args[3] = {call->args[0], call->args[1], TRAP};
    return aee_call_i64(host_field.bed->engine, host_field.context, host_field.attempt, args, 3,
                        &call->result, NULL);
}

/* The outer call has ended with the instance: only that one is made again. */
static void nested_calls_are_not_retried(void **state)
{
    struct bed *bed = *state;
    int64_t value;
    host_field = make_field(bed, AEE_CALL_DIRECT, 1);
    mark(&host_field, "attempt", 1);
    ASSERT_OK(bed,
              aee_register_host_function(bed->engine, "come_back", come_back, NULL, &bed->error));
    ASSERT_OK(bed,
              aee_grant_host_function(bed->engine, host_field.context, "come_back", &bed->error));
    assert_int_equal(
        call2(bed, host_field.context, "by_way_of_host", at(&host_field, 1), 1, 2, &value),
        AEE_ERR_CRASHED);
    assert_int_equal(word_of(&host_field, 1), 1);
    await_ready(bed, host_field.context);
    mark(&host_field, "by_way_of_host", 1);
    assert_int_equal(value2(bed, host_field.context, "by_way_of_host", at(&host_field, 2), 1, 2),
                     2);
}

/* ---- Submitted calls -------------------------------------------------------------------------- */

static void fill(struct field *field, uint32_t first_word, const char *name)
{
    aee_function function = find(field->bed, field->context, name);
    for (uint32_t i = 0; i < CALLS; i++) {
        items[i] = (aee_call_item){
            .context = field->context,
            .function = function,
            .arg_count = 3,
            .args = {aee_i64(at(field, first_word + i)), aee_i64(0), aee_i64(TRAP)}};
    }
}

static void spoil(uint32_t index, int64_t bad, int64_t how)
{
    items[index].args[1] = aee_i64(bad);
    items[index].args[2] = aee_i64(how);
}

static void run_items(struct field *field, aee_result results[CALLS], int64_t values[CALLS])
{
    bool seen[CALLS] = {false};
    wait_all(field->bed, submit(field->bed, items, CALLS), done, CALLS);
    for (uint32_t i = 0; i < CALLS; i++) {
        assert_true(done[i].index < CALLS && !seen[done[i].index]);
        seen[done[i].index] = true;
        results[done[i].index] = done[i].result;
        values[done[i].index] = done[i].value.as.i64;
    }
}

static void submitted_calls_get_a_second_try(void **state)
{
    struct bed *bed = *state;
    aee_result results[CALLS];
    int64_t values[CALLS];
    EACH_MODE(mode)
    {
        for (uint32_t lanes = 1; lanes <= 3; lanes += 2) {
            struct field field = make_field(bed, batch_modes[mode], lanes);
            mark(&field, "attempt", 1);
            for (uint32_t bad = 0; bad < CALLS; bad += 9) {
                uint32_t first = 100 * (bad + 1);
                fill(&field, first, "attempt");
                spoil(bad, 1, TRAP);
                run_items(&field, results, values);
                for (uint32_t i = 0; i < CALLS; i++) {
                    assert_int_equal(results[i], AEE_OK);
                    assert_int_equal(values[i], word_of(&field, first + i));
                    assert_true(values[i] <= 2); /* another lane's may have begun twice, too */
                }
                assert_int_equal(values[bad], 2);
            }
            assert_int_equal(info_of(bed, field.context).crashes, 3);
            assert_int_equal(info_of(bed, field.context).queued_calls, 0);
        }
    }
}

/* Not a third one: what comes of the second is told, for the others under way as well. */
static void submitted_calls_get_no_third_try(void **state)
{
    struct bed *bed = *state;
    aee_result results[CALLS];
    int64_t values[CALLS];
    EACH_MODE(mode)
    {
        struct field field = make_field(bed, batch_modes[mode], 1);
        mark(&field, "attempt", 1);
        set_budget(bed, field.context, scaled(200 * MS));
        for (int64_t how = TRAP; how <= HANG; how++) {
            uint32_t first = how == TRAP ? 0 : 100;
            fill(&field, first, "attempt");
            spoil(5, 2, how);
            run_items(&field, results, values);
            for (uint32_t i = 0; i < CALLS; i++) {
                aee_result expected = i < 5 ? AEE_OK : how == TRAP ? AEE_ERR_CRASHED : AEE_ERR_HUNG;
                assert_int_equal(results[i], expected);
            }
            assert_int_equal(word_of(&field, first + 5), 2);
            await_ready(bed, field.context);
        }
    }
}

/* In one batch: those without a mark end with the crash. */
static void marks_are_looked_at_one_by_one(void **state)
{
    struct bed *bed = *state;
    aee_result results[CALLS];
    int64_t values[CALLS];
    struct field field = make_field(bed, AEE_CALL_DIRECT, 1);
    mark(&field, "attempt", 1);
    fill(&field, 0, "attempt");
    for (uint32_t i = 1; i < CALLS; i += 2) {
        items[i].function = find(bed, field.context, "venture");
    }
    spoil(0, 1, TRAP);
    run_items(&field, results, values);
    for (uint32_t i = 0; i < CALLS; i++) {
        assert_int_equal(results[i], i % 2 ? AEE_ERR_CRASHED : AEE_OK);
        assert_int_equal(word_of(&field, i), i == 0 ? 2 : i % 2 ? 0 : 1);
    }
}

/* What waits for the next instance ends with the first result when there will be none. */
static void waiting_calls_end(void **state)
{
    struct bed *bed = *state;
    for (unsigned way = 0; way < 6; way++) {
        struct field field = make_field(bed, AEE_CALL_DIRECT, 1);
        const aee_limits limits = {.restarts = 2, .restart_window_ns = 3600 * SECOND};
        aee_recovery_desc wait = {.struct_size = sizeof wait, .backoff_ns = 3600 * SECOND};
        uint32_t count = 0;
        uint32_t cancelled = 0;
        int64_t value;
        mark(&field, "attempt", 1);
        ASSERT_OK(bed, attempt(&field, 0, 1, TRAP, &value));
        ASSERT_OK(bed, aee_set_limits(bed->engine, field.context, &limits, &bed->error));
        ASSERT_OK(bed, aee_set_recovery(bed->engine, field.context, &wait, &bed->error));
        mark(&field, "venture", 1);
        fill(&field, 100, "venture");
        spoil(3, 1, TRAP);
        if (way == 5) { /* their second try fails too */
            spoil(3, 9, TRAP);
        }
        aee_batch batch = submit(bed, items, CALLS);
        if (way == 0) { /* before any of them began */
            ASSERT_OK(bed, aee_stop(bed->engine, field.context, &bed->error));
        }
        assert_int_equal(
            aee_wait(bed->engine, batch, done, CALLS, &count, 100 * MS * scale(), &bed->error),
            way == 0 ? AEE_OK : AEE_ERR_TIMED_OUT);
        if (way == 0) {
            assert_int_equal(count, CALLS);
            assert_int_equal(done[0].result, AEE_ERR_STOPPED);
            continue;
        }
        assert_int_equal(count, 3);
        assert_int_equal(info_of(bed, field.context).queued_calls, CALLS - 3);
        aee_result expected = AEE_ERR_CRASHED;
        switch (way) {
        case 1:
            ASSERT_OK(bed, aee_stop(bed->engine, field.context, &bed->error));
            break;
        case 2:
            ASSERT_OK(bed, aee_destroy(bed->engine, field.context, &bed->error));
            break;
        case 3:
            ASSERT_OK(bed, aee_pause(bed->engine, field.context, &bed->error));
            break;
        case 4:
            ASSERT_OK(bed, aee_cancel(bed->engine, batch, AEE_ALL_CALLS, &cancelled, &bed->error));
            assert_int_equal(cancelled, CALLS - 3);
            expected = AEE_ERR_CANCELLED;
            break;
        default:
            ASSERT_OK(bed, aee_restart(bed->engine, field.context, &bed->error));
            break;
        }
        wait_all(bed, batch, done, CALLS - 3);
        for (uint32_t i = 0; i < CALLS - 3; i++) {
            assert_int_equal(done[i].result, expected);
        }
    }
}

/* Where the first crash is the last, nothing waits. */
static void there_is_none_in_quarantine(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(mode)
    {
        struct field field = make_field(bed, batch_modes[mode], 2);
        const aee_limits never = {.never_restart = 1};
        aee_result results[CALLS];
        int64_t values[CALLS];
        ASSERT_OK(bed, aee_set_limits(bed->engine, field.context, &never, &bed->error));
        mark(&field, "attempt", 1);
        fill(&field, 0, "attempt");
        spoil(0, 1, TRAP);
        run_items(&field, results, values);
        assert_int_equal(results[0], AEE_ERR_CRASHED);
        assert_int_equal(word_of(&field, 0), 1);
        assert_int_equal(info_of(bed, field.context).queued_calls, 0);
    }
}

/* A restart by hand takes them along. */
static void waiting_calls_go_on_by_hand(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(mode)
    {
        struct field field = make_field(bed, batch_modes[mode], 1);
        aee_recovery_desc wait = {.struct_size = sizeof wait, .backoff_ns = 3600 * SECOND};
        const aee_limits window = {.restart_window_ns = 3600 * SECOND};
        int64_t value;
        mark(&field, "attempt", 1);
        ASSERT_OK(bed, attempt(&field, 0, 1, TRAP, &value));
        ASSERT_OK(bed, aee_set_limits(bed->engine, field.context, &window, &bed->error));
        ASSERT_OK(bed, aee_set_recovery(bed->engine, field.context, &wait, &bed->error));
        fill(&field, 100, "attempt");
        spoil(0, 1, TRAP);
        aee_batch batch = submit(bed, items, CALLS);
        uint32_t count = 0;
        assert_int_equal(aee_wait(bed->engine, batch, done, CALLS, &count, 50 * MS, &bed->error),
                         AEE_ERR_TIMED_OUT);
        assert_int_equal(count, 0);
        ASSERT_OK(bed, aee_restart(bed->engine, field.context, &bed->error));
        wait_all(bed, batch, done, CALLS);
        for (uint32_t i = 0; i < CALLS; i++) {
            assert_int_equal(done[i].index, i); /* in their order */
            assert_int_equal(done[i].result, AEE_OK);
        }
    }
}

/* ---- Threads ---------------------------------------------------------------------------------- */

struct crowd {
    struct field field;
    _Atomic uint32_t next; /* word */
    _Atomic unsigned good;
    _Atomic unsigned bad;
    _Atomic unsigned odd;
    _Atomic bool stop;
    unsigned number;
};

static struct crowd crowd;

static void count_result(aee_result result)
{
    crowd.good += result == AEE_OK;
    crowd.bad +=
        result == AEE_ERR_CRASHED || result == AEE_ERR_RESTARTING || result == AEE_ERR_STOPPED;
    crowd.odd += result != AEE_OK && result != AEE_ERR_CRASHED && result != AEE_ERR_RESTARTING &&
                 result != AEE_ERR_STOPPED;
}

static void *call_alone(void *unused)
{
    (void)unused;
    for (unsigned turn = 0; !atomic_load(&crowd.stop); turn++) {
        const int64_t args[3] = {at(&crowd.field, atomic_fetch_add(&crowd.next, 1) % WORDS),
                                 turn % 16 == 0, TRAP};
        count_result(aee_call_i64(crowd.field.bed->engine, crowd.field.context, crowd.field.attempt,
                                  args, 3, NULL, NULL));
    }
    return NULL;
}

static void *call_many(void *unused)
{
    (void)unused;
    aee_call_item mine[8];
    aee_completion ended[8];
    for (unsigned turn = 0; !atomic_load(&crowd.stop); turn++) {
        aee_batch batch;
        uint32_t count = 0;
        for (unsigned i = 0; i < 8; i++) {
            uint32_t word = atomic_fetch_add(&crowd.next, 1) % WORDS;
            mine[i] = (aee_call_item){.context = crowd.field.context,
                                      .function = crowd.field.attempt,
                                      .arg_count = 3,
                                      .args = {aee_i64(at(&crowd.field, word)),
                                               aee_i64(turn % 8 == 0 && i == 4), aee_i64(TRAP)}};
        }
        if (aee_submit(crowd.field.bed->engine, mine, 8, 0, &batch, NULL) != AEE_OK) {
            continue; /* it restarts */
        }
        aee_result result =
            aee_wait(crowd.field.bed->engine, batch, ended, 8, &count, scaled(PATIENCE), NULL);
        crowd.odd += result != AEE_OK || count != 8;
        for (uint32_t i = 0; i < count; i++) {
            count_result(ended[i].result);
        }
    }
    return NULL;
}

static void run_crowd(struct bed *bed, aee_call_mode mode, uint32_t lanes, uint64_t time_ns,
                      bool by_hand)
{
    pthread_t threads[4];
    memset(&crowd, 0, sizeof crowd);
    crowd.field = make_field(bed, mode, lanes);
    mark(&crowd.field, "attempt", 1);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, i % 2 ? call_many : call_alone, NULL),
                         0);
    }
    uint64_t end = now_ns() + time_ns;
    while (now_ns() < end) {
        sleep_ns(10 * MS);
        if (by_hand) {
            (void)aee_restart(bed->engine, crowd.field.context, NULL);
        }
    }
    atomic_store(&crowd.stop, true);
    for (unsigned i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    print_message("%u good, %u not, %llu crashes\n", crowd.good, crowd.bad,
                  (unsigned long long)info_of(bed, crowd.field.context).crashes);
    assert_int_equal(crowd.odd, 0);
    assert_true(crowd.good > 0);
    assert_true(info_of(bed, crowd.field.context).crashes > 0);
    await_ready(bed, crowd.field.context);
    assert_int_equal(info_of(bed, crowd.field.context).queued_calls, 0);
}

static void many_threads_try_again(void **state)
{
    struct bed *bed = *state;
    run_crowd(bed, AEE_CALL_DIRECT, 1, 300 * MS, false);
    run_crowd(bed, AEE_CALL_RING, 2, 300 * MS, false);
    run_crowd(bed, AEE_CALL_AUTO, 3, 300 * MS, true);
}

/* ---- Failures --------------------------------------------------------------------------------- */

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

/* A restart that fails at first is waited for; one that leads to quarantine is not. */
static void failed_restarts(void **state)
{
    struct bed *bed = *state;
    struct field field = make_field(bed, AEE_CALL_DIRECT, 1);
    const aee_limits limits = {.restarts = 3, .restart_window_ns = 3600 * SECOND};
    int64_t value;
    mark(&field, "attempt", 1);
    atomic_store(&failing, 2);
    ASSERT_OK(bed, attempt(&field, 0, 1, TRAP, &value));
    assert_int_equal(atomic_load(&failing), 0);
    ASSERT_OK(bed, aee_set_limits(bed->engine, field.context, &limits, &bed->error));
    ASSERT_OK(bed, aee_restart(bed->engine, field.context, &bed->error));
    atomic_store(&failing, 100);
    fill(&field, 100, "attempt");
    spoil(0, 1, TRAP);
    wait_all(bed, submit(bed, items, CALLS), done, CALLS);
    atomic_store(&failing, 0);
    for (uint32_t i = 0; i < CALLS; i++) {
        assert_int_equal(done[i].result, AEE_ERR_CRASHED);
    }
    assert_int_equal(info_of(bed, field.context).state, AEE_STATE_QUARANTINED);
}

int main(void)
{
    skip_without_backend();
    aee__sys_fault = fail_memfd;
    const struct CMUnitTest tests[] = {
        WITH_BED(marks_are_checked),
        WITH_BED(a_call_gets_a_second_try),
        WITH_BED(so_does_one_that_hangs),
        WITH_BED(all_forms_of_calls_do),
        WITH_BED(second_tries_see_the_checkpoint),
        WITH_BED(a_try_does_not_wait_for_ever),
        WITH_BED(nested_calls_are_not_retried),
        WITH_BED(submitted_calls_get_a_second_try),
        WITH_BED(submitted_calls_get_no_third_try),
        WITH_BED(marks_are_looked_at_one_by_one),
        WITH_BED(waiting_calls_end),
        WITH_BED(there_is_none_in_quarantine),
        WITH_BED(waiting_calls_go_on_by_hand),
        WITH_BED(many_threads_try_again),
        WITH_BED(failed_restarts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
