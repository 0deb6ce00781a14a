/* test_reentry.c: engine to component to engine to component: results and payloads of each level,
 * the bound on depth, ends at each depth, several contexts, host functions that block. */
#include "batch.h"

enum { RETURN, TRAP, HANG, WAIT, DEPTHS = AEE_REENTRY_MAX };

/* ---- Host functions --------------------------------------------------------------------------- */

static struct {
    aee_context next[2];  /* a call goes from one of these to the other; the same: to itself */
    aee_result inner[16]; /* of the nested call, by the depth that it asked for */
    _Atomic uint32_t climbs;
    _Atomic uint32_t deepest; /* climbs inside one another */
    uint32_t inside;
} reentry;

static aee_context target_of(const aee_host_call *call)
{
    return reentry.next[call->context.id == reentry.next[0].id];
}

static void enter_climb(void)
{
    (void)atomic_fetch_add(&reentry.climbs, 1);
    reentry.inside++;
    if (reentry.inside > atomic_load(&reentry.deepest)) {
        atomic_store(&reentry.deepest, reentry.inside);
    }
}

static aee_result climb(void *user, aee_host_call *call)
{
    aee_function descend;
    aee_context context = target_of(call);
    int64_t value = 0;
    const int64_t args[3] = {call->args[0] - 1, 3 * call->args[1] + 1, call->args[2]};
    (void)user;
    enter_climb();
    aee_result result = aee_find_function(call->engine, context, "descend", &descend, NULL);
    if (result == AEE_OK) {
        result = aee_call_i64(call->engine, context, descend, args, 3, &value, NULL);
    }
    reentry.inside--;
    reentry.inner[call->args[0] & 15] = result;
    call->result = value + 7;
    return result;
}

/* What descend() and climb() give together. */
static int64_t climbed(int64_t depth, int64_t value)
{
    return depth == 0 ? value : 2 * (climbed(depth - 1, 3 * value + 1) + 7) + depth;
}

static aee_result climb_double(void *user, aee_host_call *call)
{
    aee_function descend;
    aee_value args[2] = {aee_i64(call->args[0] - 1), aee_f64(aee_host_arg_f64(call, 1) * 1.5)};
    aee_value value = aee_f64(0);
    (void)user;
    aee_result result =
        aee_find_function(call->engine, call->context, "descend_double", &descend, NULL);
    if (result == AEE_OK) {
        result = aee_call(call->engine, call->context, descend, args, 2, &value, NULL);
    }
    memcpy(&call->result, &value.as.f64, sizeof call->result);
    return result;
}

/* Keeps a copy of its payload, and looks whether the payload is the same after the nested call. */
static aee_result climb_bytes(void *user, aee_host_call *call)
{
    aee_function descend;
    uint8_t sent[4096];
    uint8_t got[4096];
    size_t size = 0;
    (void)user;
    if (call->payload_size > sizeof sent || call->reply_capacity < call->payload_size) {
        return AEE_ERR_TOO_LARGE;
    }
    memcpy(sent, call->payload, call->payload_size);
    sent[0]--;
    aee_result result =
        aee_find_function(call->engine, call->context, "descend_bytes", &descend, NULL);
    if (result == AEE_OK) {
        result = aee_call_bytes(call->engine, call->context, descend, sent, call->payload_size, got,
                                sizeof got, &size, NULL);
    }
    sent[0]++;
    if (result == AEE_OK &&
        (size != call->payload_size || memcmp(sent, call->payload, call->payload_size) != 0)) {
        return AEE_ERR_COMPONENT;
    }
    memcpy(call->reply, got, call->payload_size);
    call->reply_size = call->payload_size;
    return result;
}

static _Atomic uint64_t wait_ns;
static _Atomic uint32_t waiting;
static _Atomic uint32_t noticed; /* waits that learnt that they were cancelled */

static aee_result wait_function(void *user, aee_host_call *call)
{
    (void)user;
    uint64_t end = now_ns() + atomic_load(&wait_ns);
    (void)atomic_fetch_add(&waiting, 1);
    while (now_ns() < end) {
        if (aee_host_call_cancelled(call)) {
            (void)atomic_fetch_add(&noticed, 1);
            break;
        }
        sleep_ns(MS);
    }
    (void)atomic_fetch_sub(&waiting, 1);
    call->result = call->args[0] + 1;
    return AEE_OK;
}

static aee_context make_climber(struct bed *bed, const char *name, aee_call_mode mode,
                                uint32_t lanes)
{
    static const char *const names[] = {"climb", "climb_double", "climb_bytes", "wait"};
    static const aee_host_fn functions[] = {climb, climb_double, climb_bytes, wait_function};
    aee_context context = make_context(bed, name, mode, lanes);
    for (unsigned i = 0; i < 4; i++) {
        aee_result result =
            aee_register_host_function(bed->engine, names[i], functions[i], NULL, &bed->error);
        assert_true(result == AEE_OK || result == AEE_ERR_EXISTS);
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, names[i], &bed->error));
    }
    reentry.next[0] = context;
    reentry.next[1] = context;
    return context;
}

static aee_result descend(struct bed *bed, aee_context context, int64_t depth, int64_t what,
                          int64_t *value)
{
    const int64_t args[3] = {depth, 5, what};
    atomic_store(&reentry.deepest, 0);
    for (unsigned i = 0; i < 16; i++) {
        reentry.inner[i] = AEE_OK;
    }
    return aee_call_i64(bed->engine, context, find(bed, context, "descend"), args, 3, value,
                        &bed->error);
}

/* ---- Values ----------------------------------------------------------------------------------- */

static void up_to_the_bound(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_climber(bed, "climber", batch_modes[m], 1);
        for (int round = 0; round < 20; round++) {
            for (int64_t depth = 0; depth <= DEPTHS; depth++) {
                int64_t value = 0;
                ASSERT_OK(bed, descend(bed, context, depth, RETURN, &value));
                assert_int_equal(value, climbed(depth, 5));
                assert_int_equal(atomic_load(&reentry.deepest), depth);
            }
        }
        /* One deeper: the limit is told at the bottom, whichever side meets it; then all is well.
         */
        int64_t value = 0;
        (void)descend(bed, context, DEPTHS + 1, RETURN, &value);
        assert_int_equal(atomic_load(&reentry.deepest), DEPTHS);
        assert_int_equal(atomic_load(&reentry.inside), 0);
        ASSERT_OK(bed, descend(bed, context, DEPTHS, RETURN, &value));
        assert_int_equal(value, climbed(DEPTHS, 5));
        aee_context_info info = info_of(bed, context);
        assert_int_equal(info.crashes + info.hangs, 0);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

static void doubles_at_each_level(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_climber(bed, "doubles", batch_modes[m], 2);
        aee_function function = find(bed, context, "descend_double");
        double up = 0;
        double down = 3.25;
        for (int64_t depth = 0; depth <= DEPTHS; depth++, up += 0.5, down *= 1.5) {
            aee_value args[2] = {aee_i64(depth), aee_f64(3.25)};
            aee_value value = aee_f64(0);
            ASSERT_OK(bed, aee_call(bed->engine, context, function, args, 2, &value, &bed->error));
            assert_true(value.as.f64 == down + up);
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

static void payloads_of_each_level_stay_intact(void **state)
{
    static const size_t sizes[] = {1, 2, 63, 64, 65, 1000, 4096};
    static uint8_t sent[4096];
    static uint8_t got[4096];
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_climber(bed, "bytes", batch_modes[m], 1);
        aee_function function = find(bed, context, "descend_bytes");
        for (unsigned s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            for (uint32_t depth = 0; depth <= DEPTHS; depth++) {
                size_t size = 0;
                for (size_t i = 0; i < sizes[s]; i++) {
                    sent[i] = (uint8_t)(i * 7 + depth);
                }
                sent[0] = (uint8_t)depth;
                ASSERT_OK(bed, aee_call_bytes(bed->engine, context, function, sent, sizes[s], got,
                                              sizeof got, &size, &bed->error));
                assert_int_equal(size, sizes[s]);
                for (size_t i = 1; i < size; i++) {
                    assert_int_equal(got[i], (uint8_t)(sent[i] + depth));
                }
            }
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

/* From A into B into A, and so on. */
static void two_contexts_in_turn(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context a = make_climber(bed, "a", batch_modes[m], 1);
        aee_context b = make_climber(bed, "b", batch_modes[(m + 1) % 3], 1);
        reentry.next[0] = a;
        reentry.next[1] = b;
        for (int round = 0; round < 20; round++) {
            for (int64_t depth = 0; depth <= DEPTHS; depth++) {
                int64_t value = 0;
                ASSERT_OK(bed, descend(bed, round % 2 ? a : b, depth, RETURN, &value));
                assert_int_equal(value, climbed(depth, 5));
            }
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, a, &bed->error));
        ASSERT_OK(bed, aee_destroy(bed->engine, b, &bed->error));
    }
}

/* ---- Ends ------------------------------------------------------------------------------------- */

/* Each level learns of it, and the context comes back. */
static void ends_at(struct bed *bed, aee_call_mode mode, int64_t depth, int64_t what,
                    aee_result expected)
{
    int64_t value = 0;
    aee_context context = make_climber(bed, "mortal", mode, 1);
    set_budget(bed, context, what == HANG ? scaled(100 * MS) : 10 * SECOND);
    aee_result result = descend(bed, context, depth, what, &value);
    if (result != expected) {
        fail_msg("mode %d, depth %lld: %s instead of %s", mode, (long long)depth,
                 aee_result_name(result), aee_result_name(expected));
    }
    for (int64_t level = 1; level <= depth; level++) {
        assert_int_equal(reentry.inner[level], expected);
    }
    assert_int_equal(reentry.inside, 0);
    set_budget(bed, context, 10 * SECOND);
    await_ready(bed, context);
    ASSERT_OK(bed, descend(bed, context, DEPTHS, RETURN, &value));
    assert_int_equal(value, climbed(DEPTHS, 5));
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
}

static void crash_at_each_depth(void **state)
{
    EACH_MODE(m)
    {
        for (int64_t depth = 0; depth <= DEPTHS; depth++) {
            ends_at(*state, batch_modes[m], depth, TRAP, AEE_ERR_CRASHED);
        }
    }
}

static void hang_at_each_depth(void **state)
{
    EACH_MODE(m)
    {
        for (int64_t depth = 0; depth <= DEPTHS; depth += 2) {
            ends_at(*state, batch_modes[m], depth, HANG, AEE_ERR_HUNG);
        }
    }
}

/* A crash of the inner context is a result for the outer one, which goes on. */
static void the_other_context_crashes(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        int64_t value = 0;
        aee_context a = make_climber(bed, "a", batch_modes[m], 1);
        aee_context b = make_climber(bed, "b", batch_modes[m], 1);
        reentry.next[0] = a;
        reentry.next[1] = b;
        ASSERT_OK(bed, descend(bed, a, 1, TRAP, &value));
        assert_int_equal(reentry.inner[1], AEE_ERR_CRASHED);
        assert_int_equal(value, -3); /* AEE_HOST_FAILED */
        await_ready(bed, b);
        ASSERT_OK(bed, descend(bed, a, 3, RETURN, &value));
        assert_int_equal(value, climbed(3, 5));
        assert_int_equal(info_of(bed, a).crashes, 0);
        ASSERT_OK(bed, aee_destroy(bed->engine, a, &bed->error));
        ASSERT_OK(bed, aee_destroy(bed->engine, b, &bed->error));
    }
}

struct meddler {
    struct bed *bed;
    aee_context context;
    bool destroy;
    aee_result result;
};

static void *end_it_meanwhile(void *argument)
{
    struct meddler *meddler = argument;
    while (atomic_load(&waiting) == 0) {
        sleep_ns(MS);
    }
    meddler->result = meddler->destroy ? aee_destroy(meddler->bed->engine, meddler->context, NULL)
                                       : aee_stop(meddler->bed->engine, meddler->context, NULL);
    return NULL;
}

/* At the bottom a host function waits, and learns that nobody wants its answer any more. */
static void ended_by_another_thread(void **state)
{
    struct bed *bed = *state;
    atomic_store(&wait_ns, scaled(20 * SECOND));
    EACH_MODE(m)
    {
        for (int64_t depth = 0; depth < 2 * DEPTHS; depth += 3) {
            int64_t value = 0;
            pthread_t thread;
            aee_context context = make_climber(bed, "ended", batch_modes[m], 1);
            set_budget(bed, context, scaled(20 * SECOND));
            struct meddler meddler = {bed, context, depth % 2 != 0, AEE_OK};
            atomic_store(&noticed, 0);
            uint64_t begin = now_ns();
            assert_int_equal(pthread_create(&thread, NULL, end_it_meanwhile, &meddler), 0);
            assert_int_equal(descend(bed, context, depth / 2, WAIT, &value), AEE_ERR_STOPPED);
            assert_int_equal(pthread_join(thread, NULL), 0);
            assert_int_equal(meddler.result, AEE_OK);
            assert_int_equal(atomic_load(&noticed), 1);
            assert_true(now_ns() - begin < scaled(10 * SECOND));
            (void)aee_destroy(bed->engine, context, NULL);
        }
    }
}

/* ---- What a host function may not do ---------------------------------------------------------- */

static aee_result forbidden[8];

static aee_result meddle_from_within(void *user, aee_host_call *call)
{
    aee_function blend;
    aee_batch batch = {0};
    (void)user;
    forbidden[0] = aee_destroy(call->engine, call->context, NULL);
    forbidden[1] = aee_stop(call->engine, call->context, NULL);
    forbidden[2] = aee_restart(call->engine, call->context, NULL);
    forbidden[3] = aee_load_file(call->engine, call->context, testbed_path(), NULL);
    forbidden[4] = aee_engine_shutdown(call->engine, NULL);
    if (aee_find_function(call->engine, call->context, "blend", &blend, NULL) == AEE_OK) {
        aee_call_item item = item2(call->context, blend, 1, 2);
        forbidden[6] = aee_submit(call->engine, &item, 1, 0, &batch, NULL);
        forbidden[5] = aee_wait(call->engine, batch, NULL, 0, NULL, FOREVER, NULL);
        memcpy(&call->result, &batch.id, sizeof call->result);
    }
    return AEE_OK;
}

static void life_cycle_from_within_is_refused(void **state)
{
    struct bed *bed = *state;
    ASSERT_OK(bed, aee_register_host_function(bed->engine, "host_add", meddle_from_within, NULL,
                                              &bed->error));
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "meddler", batch_modes[m], 1);
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "host_add", &bed->error));
        aee_batch batch = {.id = (uint64_t)value2(bed, context, "ask", 1, 2, 2)};
        for (int i = 0; i < 6; i++) {
            assert_int_equal(forbidden[i], AEE_ERR_BUSY);
        }
        /* What it submitted runs when the lane is free. */
        assert_int_equal(forbidden[6], AEE_OK);
        aee_completion done;
        wait_all(bed, batch, &done, 1);
        assert_int_equal(done.result, AEE_OK);
        assert_true(done.value.as.i64 == blended(1, 2));
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

/* ---- Host functions that block ---------------------------------------------------------------- */

static void *wait_in_call(void *argument)
{
    struct meddler *meddler = argument;
    aee_function function;
    const int64_t one = 1;
    int64_t value = 0;
    (void)aee_find_function(meddler->bed->engine, meddler->context, "wait_once", &function, NULL);
    meddler->result =
        aee_call_i64(meddler->bed->engine, meddler->context, function, &one, 1, &value, NULL);
    if (meddler->result == AEE_OK && value != 2) {
        meddler->result = AEE_ERR_COMPONENT;
    }
    return NULL;
}

/* Calls to others while something blocks; at least some, however slow the machine. */
static void others_go_on(struct bed *bed, const aee_context *others, uint32_t count)
{
    uint32_t rounds = 0;
    while (atomic_load(&waiting) > 0) {
        for (uint32_t i = 0; i < count; i++) {
            assert_true(value2(bed, others[i], "blend", rounds, i, 2) == blended(rounds, i));
        }
        rounds++;
    }
    assert_true(rounds > 3);
}

static void blocking_functions_do_not_hold_others(void **state)
{
    struct bed *bed = *state;
    atomic_store(&wait_ns, scaled(300 * MS));
    EACH_MODE(m)
    {
        enum { BLOCKED = 6 };
        aee_context others[2] = {make_context(bed, "ring", AEE_CALL_RING, 1),
                                 make_context(bed, "direct", AEE_CALL_DIRECT, 1)};
        struct meddler blocked[BLOCKED];
        pthread_t threads[BLOCKED];
        for (int i = 0; i < BLOCKED; i++) {
            aee_context context = make_climber(bed, "blocked", batch_modes[m], 1);
            blocked[i] = (struct meddler){.bed = bed, .context = context};
            assert_int_equal(pthread_create(&threads[i], NULL, wait_in_call, &blocked[i]), 0);
        }
        while (atomic_load(&waiting) == 0) {
            sleep_ns(MS);
        }
        others_go_on(bed, others, 2);
        for (int i = 0; i < BLOCKED; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(blocked[i].result, AEE_OK);
            ASSERT_OK(bed, aee_destroy(bed->engine, blocked[i].context, &bed->error));
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, others[0], &bed->error));
        ASSERT_OK(bed, aee_destroy(bed->engine, others[1], &bed->error));
    }
}

/* More blocked workers than workers there are: batches of others still run. */
static void blocked_workers_do_not_hold_batches(void **state)
{
    enum { BLOCKED = 8 };
    struct bed bed;
    aee_engine_desc desc = {.struct_size = sizeof desc, .worker_threads = 2};
    aee_call_item items[BLOCKED];
    aee_completion done[BLOCKED];
    (void)state;
    bed_open(&bed, &desc);
    atomic_store(&wait_ns, scaled(300 * MS));
    aee_context other = make_context(&bed, "other", AEE_CALL_RING, 2);
    for (int i = 0; i < BLOCKED; i++) {
        aee_context context = make_climber(&bed, "blocked", AEE_CALL_RING, 1);
        items[i] = item1(context, find(&bed, context, "wait_once"), i);
    }
    aee_batch batch = submit(&bed, items, BLOCKED);
    uint64_t end = now_ns() + scaled(PATIENCE);
    while (atomic_load(&waiting) == 0 && now_ns() < end) {
        sleep_ns(MS);
    }
    uint32_t rounds = 0;
    aee_function blend = find(&bed, other, "blend");
    while (atomic_load(&waiting) > 0) {
        aee_call_item item = item2(other, blend, 4, 5);
        aee_completion completion;
        wait_all(&bed, submit(&bed, &item, 1), &completion, 1);
        assert_true(completion.value.as.i64 == blended(4, 5));
        rounds++;
    }
    assert_true(rounds > 3);
    wait_all(&bed, batch, done, BLOCKED);
    for (int i = 0; i < BLOCKED; i++) {
        assert_int_equal(done[i].result, AEE_OK);
        assert_int_equal(done[i].value.as.i64, done[i].index + 1);
    }
    bed_close(&bed);
}

/* ---- Submitted while a nested call runs ------------------------------------------------------- */

static _Atomic uint32_t counted;
static _Atomic bool nested_runs;

static aee_result count_up(void *user, aee_host_call *call)
{
    (void)user;
    (void)atomic_fetch_add(&counted, 1);
    call->result = call->args[0];
    return AEE_OK;
}

/* Calls back for a while. */
static aee_result spin_within(void *user, aee_host_call *call)
{
    aee_function spin;
    const int64_t args[2] = {200000, 1};
    uint64_t end = now_ns() + scaled(200 * MS);
    (void)user;
    aee_result result = aee_find_function(call->engine, call->context, "spin_for", &spin, NULL);
    atomic_store(&nested_runs, true);
    while (result == AEE_OK && now_ns() < end) {
        result = aee_call_i64(call->engine, call->context, spin, args, 2, NULL, NULL);
    }
    call->result = call->args[0] + 1;
    return result;
}

/* Nobody waits for it: a worker runs it when the lane is free, though its owner looked before. */
static void submitted_while_nested(void **state)
{
    struct bed *bed = *state;
    ASSERT_OK(bed, aee_register_host_function(bed->engine, "wait", spin_within, NULL, &bed->error));
    ASSERT_OK(bed,
              aee_register_host_function(bed->engine, "host_add", count_up, NULL, &bed->error));
    EACH_MODE(m)
    {
        if (batch_modes[m] == AEE_CALL_DIRECT) {
            continue; /* there only waiters run it */
        }
        aee_context context = make_context(bed, "nested", batch_modes[m], 1);
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "wait", &bed->error));
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "host_add", &bed->error));
        struct meddler caller = {.bed = bed, .context = context};
        pthread_t thread;
        atomic_store(&counted, 0);
        atomic_store(&nested_runs, false);
        assert_int_equal(pthread_create(&thread, NULL, wait_in_call, &caller), 0);
        while (!atomic_load(&nested_runs)) {
            sleep_ns(MS);
        }
        aee_call_item item = item2(context, find(bed, context, "ask"), 1, 2);
        aee_batch batch = submit(bed, &item, 1);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(caller.result, AEE_OK);
        uint64_t end = now_ns() + scaled(5 * SECOND);
        while (atomic_load(&counted) == 0 && now_ns() < end) {
            sleep_ns(MS);
        }
        if (atomic_load(&counted) != 1) {
            fail_msg("mode %u: the submitted call lies in its queue", m);
        }
        aee_completion completion;
        wait_all(bed, batch, &completion, 1);
        assert_int_equal(completion.result, AEE_OK);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        WITH_BED(up_to_the_bound),
        WITH_BED(doubles_at_each_level),
        WITH_BED(payloads_of_each_level_stay_intact),
        WITH_BED(two_contexts_in_turn),
        WITH_BED(crash_at_each_depth),
        WITH_BED(hang_at_each_depth),
        WITH_BED(the_other_context_crashes),
        WITH_BED(ended_by_another_thread),
        WITH_BED(life_cycle_from_within_is_refused),
        WITH_BED(blocking_functions_do_not_hold_others),
        cmocka_unit_test(blocked_workers_do_not_hold_batches),
        WITH_BED(submitted_while_nested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
