/* test_lanes.c: contexts with one to eight lanes, called from eight threads; ranges spread over the
 * lanes by aee_parallel_for(). */
#include "batch.h"

/* ---- Calls from many threads ------------------------------------------------------------------ */

struct spreader {
    struct bed *bed;
    aee_context context;
    int64_t number;
    uint64_t lanes;
    aee_result result;
};

static void *spread(void *argument)
{
    struct spreader *spreader = argument;
    aee_engine *engine = spreader->bed->engine;
    aee_function blend;
    aee_function lane;
    (void)aee_find_function(engine, spreader->context, "blend", &blend, NULL);
    (void)aee_find_function(engine, spreader->context, "count_on_lane", &lane, NULL);
    for (int64_t i = 0; i < 100 && spreader->result == AEE_OK; i++) {
        const int64_t args[2] = {spreader->number, i};
        int64_t value = 0;
        spreader->result = aee_call_i64(engine, spreader->context, blend, args, 2, &value, NULL);
        if (spreader->result == AEE_OK && value != blended(spreader->number, i)) {
            spreader->result = AEE_ERR_COMPONENT;
        }
        if (spreader->result == AEE_OK) {
            spreader->result = aee_call_i64(engine, spreader->context, lane, NULL, 0, &value, NULL);
            spreader->lanes |= UINT64_C(1) << (value / 1000);
        }
    }
    return NULL;
}

static void every_number_of_lanes(void **state)
{
    enum { THREADS = 8 };
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        for (uint32_t lanes = 1; lanes <= 8; lanes++) {
            struct spreader spreaders[THREADS];
            pthread_t threads[THREADS];
            uint64_t seen = 0;
            aee_context context = make_context(bed, "lanes", batch_modes[m], lanes);
            for (int i = 0; i < THREADS; i++) {
                spreaders[i] = (struct spreader){.bed = bed, .context = context, .number = i};
                assert_int_equal(pthread_create(&threads[i], NULL, spread, &spreaders[i]), 0);
            }
            for (int i = 0; i < THREADS; i++) {
                assert_int_equal(pthread_join(threads[i], NULL), 0);
                if (spreaders[i].result != AEE_OK) {
                    fail_msg("mode %u, %u lanes: %s", m, lanes,
                             aee_result_name(spreaders[i].result));
                }
                seen |= spreaders[i].lanes;
            }
            assert_int_equal(seen >> lanes, 0); /* none that it has not */
            assert_true(seen != 0);
            aee_context_info info = info_of(bed, context);
            assert_int_equal(info.limits.lanes, lanes);
            assert_in_range(info.calls, THREADS * 200, THREADS * 200 + 1);
            ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
        }
    }
}

/* A lane that works does not keep the others. */
static void a_busy_lane_leaves_the_others(void **state)
{
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "busy", batch_modes[m], 2);
        struct gate gate = make_gate(bed, context);
        struct spreader spreader = {.bed = bed, .context = context, .number = 3};
        aee_call_item item = gate_item(bed, context, gate);
        aee_batch batch = submit(bed, &item, 1);
        aee_completion done;
        (void)spread(&spreader);
        assert_int_equal(spreader.result, AEE_OK);
        atomic_store(gate.word, 1);
        wait_all(bed, batch, &done, 1);
        assert_int_equal(done.result, AEE_OK);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
        ASSERT_OK(bed, aee_region_destroy(bed->engine, gate.region, &bed->error));
    }
}

/* ---- Ranges ----------------------------------------------------------------------------------- */

enum { INDICES = 20000 };

struct marks {
    aee_region region;
    uint32_t *at;
    int64_t gva;
};

static struct marks make_marks(struct bed *bed, aee_context context)
{
    struct marks marks;
    void *data;
    uint64_t gva;
    aee_region_desc desc = {
        .struct_size = sizeof desc, .name = "marks", .size_bytes = INDICES * sizeof(uint32_t)};
    ASSERT_OK(bed, aee_region_create(bed->engine, &desc, &marks.region, &bed->error));
    ASSERT_OK(bed, aee_region_data(bed->engine, marks.region, &data, NULL, &bed->error));
    ASSERT_OK(bed, aee_region_map(bed->engine, context, marks.region, AEE_ACCESS_READ_WRITE, &gva,
                                  &bed->error));
    marks.at = data;
    marks.gva = (int64_t)gva;
    return marks;
}

static void run_range(struct bed *bed, aee_context context, const struct marks *marks,
                      int64_t begin, int64_t size, int64_t grain)
{
    aee_function piece = find(bed, context, "range_piece");
    memset(marks->at, 0, INDICES * sizeof(uint32_t));
    (void)value2(bed, context, "range_at", marks->gva, begin, 2);
    ASSERT_OK(bed, aee_parallel_for(bed->engine, context, piece, begin, begin + size, grain,
                                    &bed->error));
    for (int64_t i = 0; i < INDICES; i++) {
        if (marks->at[i] != (i < size ? 1u : 0u)) {
            fail_msg("index %lld of [%lld, +%lld) by %lld: %u times", (long long)i,
                     (long long)begin, (long long)size, (long long)grain, marks->at[i]);
        }
    }
    int64_t pieces = value2(bed, context, "range_seen", 0, 0, 1);
    assert_int_equal(value2(bed, context, "range_seen", 1, 0, 1), size);
    if (grain > 0) {
        assert_int_equal(pieces, (size + grain - 1) / grain);
    } else {
        assert_true(size == 0 ? pieces == 0 : pieces >= 1 && pieces <= 4 * 8 + 1);
    }
    if (size > 0) {
        assert_int_equal(value2(bed, context, "range_seen", 3, 0, 1), begin);
        assert_int_equal(value2(bed, context, "range_seen", 4, 0, 1), begin + size);
    }
}

static void every_index_exactly_once(void **state)
{
    static const int64_t begins[] = {0, -5, 1000000007, -INDICES};
    static const int64_t sizes[] = {0, 1, 2, 7, 64, 1000, INDICES};
    static const int64_t grains[] = {0, 1, 3, 64, 999, 100000};
    struct bed *bed = *state;
    EACH_MODE(m)
    {
        for (uint32_t lanes = 1; lanes <= 8; lanes += lanes < 3 ? 1 : 5) {
            aee_context context = make_context(bed, "range", batch_modes[m], lanes);
            struct marks marks = make_marks(bed, context);
            for (unsigned s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
                for (unsigned g = 0; g < sizeof grains / sizeof grains[0]; g++) {
                    if (grains[g] != 1 || sizes[s] <= 1000) {
                        run_range(bed, context, &marks, begins[(s + g) % 4], sizes[s], grains[g]);
                    }
                }
            }
            ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
            ASSERT_OK(bed, aee_region_destroy(bed->engine, marks.region, &bed->error));
        }
    }
}

/* All lanes take part when the pieces are long and many. */
static void all_lanes_take_part(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "wide", AEE_CALL_RING, 3);
    struct marks marks = make_marks(bed, context);
    uint64_t seen = 0;
    for (int tries = 0; tries < 200 && seen != 7; tries++) {
        run_range(bed, context, &marks, 0, INDICES, 100);
        seen |= (uint64_t)value2(bed, context, "range_seen", 2, 0, 1);
    }
    assert_int_equal(seen, 7);
}

static void the_ends_of_the_numbers(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "far", AEE_CALL_AUTO, 2);
    aee_function piece = find(bed, context, "range_piece");
    static const int64_t quarter = INT64_C(1) << 62;
    static const int64_t ranges[][3] = {
        {INT64_MIN, INT64_MAX, 0},         {INT64_MIN, INT64_MAX, quarter},
        {INT64_MIN, INT64_MIN + 3, 1},     {INT64_MAX - 3, INT64_MAX, 2},
        {INT64_MIN, INT64_MAX, INT64_MAX}, {-1, INT64_MAX, quarter},
        {INT64_MIN, 0, quarter / 3},       {INT64_MAX - 1, INT64_MAX, INT64_MAX},
    };
    for (unsigned i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const int64_t *range = ranges[i];
        (void)value2(bed, context, "range_at", 0, 0, 2);
        ASSERT_OK(bed, aee_parallel_for(bed->engine, context, piece, range[0], range[1], range[2],
                                        &bed->error));
        uint64_t size = (uint64_t)range[1] - (uint64_t)range[0];
        assert_true((uint64_t)value2(bed, context, "range_seen", 1, 0, 1) == size);
        assert_true(value2(bed, context, "range_seen", 3, 0, 1) == range[0]);
        assert_true(value2(bed, context, "range_seen", 4, 0, 1) == range[1]);
        if (range[2] > 0) {
            uint64_t grain = (uint64_t)range[2];
            assert_int_equal(value2(bed, context, "range_seen", 0, 0, 1),
                             size / grain + (size % grain != 0));
        }
    }
    /* What cannot be done is refused and runs nothing. */
    (void)value2(bed, context, "range_at", 0, 0, 2);
    assert_int_not_equal(
        aee_parallel_for(bed->engine, context, piece, INT64_MIN, INT64_MAX, 1, &bed->error),
        AEE_OK);
    assert_int_equal(aee_parallel_for(bed->engine, context, piece, 1, 0, 0, &bed->error),
                     AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_parallel_for(bed->engine, context, piece, INT64_MAX, INT64_MIN, 0, NULL),
                     AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_parallel_for(bed->engine, context, piece, 0, 9, -1, &bed->error),
                     AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(
        aee_parallel_for(bed->engine, context, find(bed, context, "sum6"), 0, 9, 0, &bed->error),
        AEE_ERR_ARGUMENT_COUNT);
    assert_int_equal(value2(bed, context, "range_seen", 0, 0, 1), 0);
}

/* ---- Ends of pieces --------------------------------------------------------------------------- */

static void spoil(struct bed *bed, aee_call_mode mode, int64_t how, aee_result expected)
{
    aee_context context = make_mortal(bed, "spoiled", mode, 3);
    aee_function piece = find(bed, context, "range_piece");
    for (int64_t at = 0; at < 2000; at += 900) {
        (void)value2(bed, context, "range_at", 0, 0, 2);
        (void)value2(bed, context, "range_spoil", at, how, 2);
        set_budget(bed, context, how == 2 ? scaled(200 * MS) : 10 * SECOND);
        aee_result result =
            aee_parallel_for(bed->engine, context, piece, 0, 2000, 100, &bed->error);
        if (result != expected) {
            fail_msg("mode %d, piece %lld: %s instead of %s", mode, (long long)at,
                     aee_result_name(result), aee_result_name(expected));
        }
        assert_int_equal(bed->error.code, expected);
        set_budget(bed, context, 10 * SECOND);
        await_ready(bed, context);
        assert_int_equal(info_of(bed, context).queued_calls, 0);
        (void)value2(bed, context, "range_at", 0, 0, 2);
        ASSERT_OK(bed, aee_parallel_for(bed->engine, context, piece, 0, 2000, 100, &bed->error));
        assert_int_equal(value2(bed, context, "range_seen", 1, 0, 1), 2000);
    }
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
}

static void a_piece_crashes(void **state)
{
    EACH_MODE(m)
    {
        spoil(*state, batch_modes[m], 1, AEE_ERR_CRASHED);
    }
}

static void a_piece_hangs(void **state)
{
    EACH_MODE(m)
    {
        spoil(*state, batch_modes[m], 2, AEE_ERR_HUNG);
    }
}

/* ---- Where it may not or may run -------------------------------------------------------------- */

static void states_refuse_it(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "state", AEE_CALL_AUTO, 2);
    aee_function piece = find(bed, context, "range_piece");
    ASSERT_OK(bed, aee_pause(bed->engine, context, &bed->error));
    assert_int_equal(aee_parallel_for(bed->engine, context, piece, 0, 100, 10, &bed->error),
                     AEE_ERR_PAUSED);
    ASSERT_OK(bed, aee_resume(bed->engine, context, &bed->error));
    ASSERT_OK(bed, aee_stop(bed->engine, context, &bed->error));
    assert_int_equal(aee_parallel_for(bed->engine, context, piece, 0, 100, 10, &bed->error),
                     AEE_ERR_STOPPED);
    ASSERT_OK(bed, aee_restart(bed->engine, context, &bed->error));
    ASSERT_OK(bed, aee_parallel_for(bed->engine, context, piece, 0, 100, 10, &bed->error));
    aee_context other = make_context(bed, "other", AEE_CALL_AUTO, 1);
    assert_int_equal(aee_parallel_for(bed->engine, other, piece, 0, 100, 10, &bed->error),
                     AEE_ERR_WRONG_HANDLE);
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    assert_int_equal(aee_parallel_for(bed->engine, context, piece, 0, 100, 10, &bed->error),
                     AEE_ERR_STALE);
}

static aee_context other_context;
static aee_function other_piece;
static aee_result inner_other;
static aee_result inner_own;

static aee_result host_add(void *user, aee_host_call *call)
{
    (void)user;
    call->result = call->args[0] + call->args[1];
    return AEE_OK;
}

static aee_result range_within(void *user, aee_host_call *call)
{
    aee_function own;
    (void)user;
    inner_other = aee_parallel_for(call->engine, other_context, other_piece, 0, 1000, 50, NULL);
    inner_own = aee_find_function(call->engine, call->context, "range_piece", &own, NULL);
    if (inner_own == AEE_OK) {
        inner_own = aee_parallel_for(call->engine, call->context, own, 0, 1000, 50, NULL);
    }
    return AEE_OK;
}

/* For another context it works; for the one that called the function it is refused or works. */
static void from_within_a_host_function(void **state)
{
    struct bed *bed = *state;
    ASSERT_OK(bed,
              aee_register_host_function(bed->engine, "wait", range_within, NULL, &bed->error));
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "caller", batch_modes[m], 2);
        other_context = make_context(bed, "other", batch_modes[m], 2);
        other_piece = find(bed, other_context, "range_piece");
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "wait", &bed->error));
        (void)value2(bed, other_context, "range_at", 0, 0, 2);
        (void)value2(bed, context, "wait_once", 0, 0, 1);
        assert_int_equal(inner_other, AEE_OK);
        assert_int_equal(value2(bed, other_context, "range_seen", 1, 0, 1), 1000);
        assert_true(inner_own == AEE_OK || inner_own == AEE_ERR_BUSY);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
        ASSERT_OK(bed, aee_destroy(bed->engine, other_context, &bed->error));
    }
}

static void pieces_call_host_functions(void **state)
{
    struct bed *bed = *state;
    ASSERT_OK(bed,
              aee_register_host_function(bed->engine, "host_add", host_add, NULL, &bed->error));
    EACH_MODE(m)
    {
        aee_context context = make_context(bed, "asking", batch_modes[m], 3);
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, "host_add", &bed->error));
        struct marks marks = make_marks(bed, context);
        (void)value2(bed, context, "range_at", marks.gva, 0, 2);
        ASSERT_OK(bed, aee_parallel_for(bed->engine, context, find(bed, context, "range_ask"), 0,
                                        5000, 20, &bed->error));
        for (int64_t i = 0; i < INDICES; i++) {
            assert_int_equal(marks.at[i], i < 5000);
        }
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
        ASSERT_OK(bed, aee_region_destroy(bed->engine, marks.region, &bed->error));
    }
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        WITH_BED(every_number_of_lanes),
        WITH_BED(a_busy_lane_leaves_the_others),
        WITH_BED(every_index_exactly_once),
        WITH_BED(all_lanes_take_part),
        WITH_BED(the_ends_of_the_numbers),
        WITH_BED(a_piece_crashes),
        WITH_BED(a_piece_hangs),
        WITH_BED(states_refuse_it),
        WITH_BED(from_within_a_host_function),
        WITH_BED(pieces_call_host_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
