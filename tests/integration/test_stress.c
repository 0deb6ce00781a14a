/* test_stress.c: eight threads call sixteen contexts in every way at once: calls, payloads, host
 * calls with re-entry, batches, ranges, a shared region, and crashes of some of the contexts. Every
 * result is compared with what it must be, and in the end what the library counted is what was
 * seen. AEE_STRESS_SECONDS: how long (3). */
#include "batch.h"

enum { THREADS = 8, CONTEXTS = 16, MORTAL = 12, BATCH = 48, BYTES = 3000 };

static struct {
    aee_engine *engine;
    aee_context contexts[CONTEXTS]; /* from MORTAL on they crash now and then */
    uint64_t word;                  /* in the region that all of them see */
    _Atomic bool stop;
    _Atomic uint64_t host_calls; /* functions that ran */
    struct ledger ledger;
} stress;

enum function { BLEND, REVERSE, ASK, DESCEND, TRAP, READ, RANGE, FUNCTIONS };
static const char *const function_names[FUNCTIONS] = {"blend", "reverse",  "ask",        "descend",
                                                      "trap",  "read_i64", "range_piece"};

struct worker {
    uint64_t random;
    aee_function functions[CONTEXTS][FUNCTIONS];
    uint64_t good[CONTEXTS]; /* results seen */
    uint64_t refused;
    uint64_t digest; /* of all arguments and results */
    const char *doing;
    uint64_t rounds;
    char failure[600];
    uint8_t in[BYTES];
    uint8_t out[BYTES];
    aee_call_item items[BATCH];
    aee_completion done[BATCH];
};

static struct worker workers[THREADS];
/* Nested calls, by context: they are made on whatever thread serves. */
static _Atomic uint64_t nested[CONTEXTS];

static uint64_t next_random(struct worker *worker)
{
    uint64_t x = worker->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    worker->random = x;
    return x >> 8;
}

/* ---- Host functions --------------------------------------------------------------------------- */

static aee_result host_add(void *user, aee_host_call *call)
{
    (void)user;
    (void)atomic_fetch_add(&stress.host_calls, 1);
    call->result = call->args[0] + call->args[1];
    return AEE_OK;
}

/* The component's index travels as the context's user pointer. */
static aee_result climb(void *user, aee_host_call *call)
{
    size_t index = (size_t)(uintptr_t)call->context_user;
    const int64_t args[3] = {call->args[0] - 1, 3 * call->args[1] + 1, 0};
    int64_t value = 0;
    (void)user;
    (void)atomic_fetch_add(&stress.host_calls, 1);
    aee_result result = aee_call_i64(call->engine, call->context,
                                     workers[0].functions[index][DESCEND], args, 3, &value, NULL);
    if (result == AEE_OK) {
        (void)atomic_fetch_add(&nested[index], 1);
    }
    call->result = value + 7;
    return result;
}

static int64_t climbed(int64_t depth, int64_t value)
{
    return depth == 0 ? value : 2 * (climbed(depth - 1, 3 * value + 1) + 7) + depth;
}

/* ---- One thing of each kind ------------------------------------------------------------------- */

static bool may_fail(unsigned context, aee_result result)
{
    return context >= MORTAL &&
           (result == AEE_ERR_CRASHED || result == AEE_ERR_RESTARTING || result == AEE_ERR_STOPPED);
}

static void judge(struct worker *worker, unsigned context, aee_result result, bool right,
                  int64_t value)
{
    if (result == AEE_OK && right) {
        worker->good[context]++;
        worker->digest = worker->digest * 31 + (uint64_t)value;
    } else if (may_fail(context, result)) {
        worker->refused++;
    } else if (!worker->failure[0]) {
        aee_crash crash = {.text = "it never crashed"};
        (void)aee_last_crash(stress.engine, stress.contexts[context], &crash, NULL);
        (void)snprintf(worker->failure, sizeof worker->failure,
                       "%s, context %u: %s, value %lld; last crash: %s", worker->doing, context,
                       aee_result_name(result), (long long)value, crash.text);
        atomic_store(&stress.stop, true);
    }
}

static void one_call(struct worker *worker, unsigned c, enum function f, const int64_t *args,
                     uint32_t count, int64_t expected)
{
    int64_t value = -1;
    aee_result result = aee_call_i64(stress.engine, stress.contexts[c], worker->functions[c][f],
                                     args, count, &value, NULL);
    judge(worker, c, result, value == expected, value);
}

static void one_payload(struct worker *worker, unsigned c)
{
    size_t got = 0;
    size_t size = next_random(worker) % BYTES;
    uint8_t seed = (uint8_t)next_random(worker);
    bool right = true;
    for (size_t i = 0; i < size; i++) {
        worker->in[i] = (uint8_t)(seed + i * 13);
    }
    aee_result result =
        aee_call_bytes(stress.engine, stress.contexts[c], worker->functions[c][REVERSE], worker->in,
                       size, worker->out, BYTES, &got, NULL);
    for (size_t i = 0; i < size && result == AEE_OK; i++) {
        right = right && worker->out[i] == worker->in[size - 1 - i];
    }
    judge(worker, c, result, right && got == size, seed);
}

/* Which calls have not come, and of which contexts. */
static void blame_batch(struct worker *worker, uint32_t count, uint32_t got, const aee_error *error)
{
    bool came[BATCH] = {false};
    size_t used = 0;
    for (uint32_t i = 0; i < got; i++) {
        came[worker->done[i].index] = true;
    }
    used += (size_t)snprintf(worker->failure, sizeof worker->failure, "batch, %u of %u: %s;", got,
                             count, error->text);
    for (uint32_t i = 0; i < count && used < sizeof worker->failure - 40; i++) {
        if (!came[i]) {
            used += (size_t)snprintf(worker->failure + used, sizeof worker->failure - used,
                                     " call %u of context %u", i,
                                     (unsigned)(uintptr_t)worker->items[i].user);
        }
    }
}

/* Calls of two kinds to several contexts. */
static void one_batch(struct worker *worker)
{
    uint32_t count = 1 + (uint32_t)(next_random(worker) % BATCH);
    uint32_t got = 0;
    aee_batch batch;
    aee_error error;
    int64_t base = (int64_t)(next_random(worker) & 0xffff);
    for (uint32_t i = 0; i < count; i++) {
        unsigned c = (unsigned)(next_random(worker) % CONTEXTS);
        worker->items[i] =
            item2(stress.contexts[c], worker->functions[c][i % 3 ? BLEND : ASK], base, (int64_t)i);
        worker->items[i].user = (void *)(uintptr_t)c;
    }
    aee_result result = aee_submit(stress.engine, worker->items, count, 0, &batch, &error);
    if (result == AEE_ERR_RESTARTING) { /* of one of the mortal */
        worker->refused++;
        return;
    }
    if (result == AEE_OK) {
        result =
            aee_wait(stress.engine, batch, worker->done, count, &got, scaled(PATIENCE), &error);
    }
    if (result != AEE_OK || got != count) {
        blame_batch(worker, count, got, &error);
        atomic_store(&stress.stop, true);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const aee_completion *done = &worker->done[i];
        int64_t expected = done->index % 3 ? blended(base, done->index) : base + done->index;
        judge(worker, (unsigned)(uintptr_t)done->user, done->result, done->value.as.i64 == expected,
              done->value.as.i64);
    }
}

static void one_range(struct worker *worker, unsigned c)
{
    int64_t begin = (int64_t)(next_random(worker) % 1000);
    aee_result result = aee_parallel_for(stress.engine, stress.contexts[c],
                                         worker->functions[c][RANGE], begin, begin + 40, 10, NULL);
    if (result == AEE_OK) {
        worker->good[c] += 3; /* four pieces in all */
    }
    judge(worker, c, result, true, begin);
}

static void one_thing(struct worker *worker)
{
    uint64_t number = next_random(worker);
    unsigned c = (unsigned)(number % CONTEXTS);
    unsigned mortal = MORTAL + (unsigned)(number % (CONTEXTS - MORTAL));
    const int64_t pair[3] = {(int64_t)(number >> 8 & 0xffff), (int64_t)(number >> 24 & 0xff), 0};
    const int64_t depth[3] = {(int64_t)(number >> 40 & 3), pair[0], 0};
    const int64_t address = (int64_t)stress.word;
    unsigned kind = (unsigned)(number >> 16 & 15);
    static const char *const kinds[16] = {
        "blend",   "blend",  "blend",  "blend", "payload", "payload", "ask",   "ask",
        "descend", "region", "region", "batch", "batch",   "batch",   "range", "trap"};
    worker->doing = kinds[kind];
    worker->rounds++;
    if (kind < 4) {
        one_call(worker, c, BLEND, pair, 2, blended(pair[0], pair[1]));
    } else if (kind < 6) {
        one_payload(worker, c);
    } else if (kind < 8) {
        one_call(worker, c, ASK, pair, 2, pair[0] + pair[1]);
    } else if (kind == 8) {
        one_call(worker, c, DESCEND, depth, 3, climbed(depth[0], depth[1]));
    } else if (kind < 11) {
        one_call(worker, c, READ, &address, 1, 4711);
    } else if (kind < 14) {
        one_batch(worker);
    } else if (kind == 14) {
        one_range(worker, c);
    } else if (worker->rounds % 8 == 0) {
        one_call(worker, mortal, TRAP, NULL, 0, 0);
    }
    worker->doing = "nothing";
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    while (!atomic_load(&stress.stop)) {
        one_thing(worker);
    }
    return NULL;
}

/* ---- The whole -------------------------------------------------------------------------------- */

static void set_up(struct bed *bed)
{
    static const aee_call_mode modes[] = {AEE_CALL_AUTO, AEE_CALL_RING, AEE_CALL_DIRECT};
    aee_engine_desc desc = {.struct_size = sizeof desc,
                            .worker_threads = 3,
                            .alloc = ledger_alloc,
                            .alloc_user = &stress.ledger};
    aee_region_desc region_desc = {.struct_size = sizeof region_desc,
                                   .name = "shared",
                                   .flags = AEE_REGION_SAME_ADDRESS,
                                   .size_bytes = 4096};
    aee_region region;
    void *data;
    bed_open(bed, &desc);
    stress.engine = bed->engine;
    ASSERT_OK(bed,
              aee_register_host_function(bed->engine, "host_add", host_add, NULL, &bed->error));
    ASSERT_OK(bed, aee_register_host_function(bed->engine, "climb", climb, NULL, &bed->error));
    ASSERT_OK(bed, aee_region_create(bed->engine, &region_desc, &region, &bed->error));
    ASSERT_OK(bed, aee_region_data(bed->engine, region, &data, NULL, &bed->error));
    *(int64_t *)data = 4711;
    for (size_t i = 0; i < CONTEXTS; i++) {
        aee_context_desc context = {.struct_size = sizeof context,
                                    .name = "stressed",
                                    .call_mode = modes[i % 3],
                                    .user = (void *)(uintptr_t)i,
                                    .limits = {.lanes = 1 + (uint32_t)(i % 4),
                                               .call_budget_ns = scaled(20 * SECOND),
                                               .restarts = 63,
                                               .restart_window_ns = 1}};
        aee_context *made = &stress.contexts[i];
        ASSERT_OK(bed, aee_context_create(bed->engine, &context, made, &bed->error));
        ASSERT_OK(bed, aee_load_file(bed->engine, *made, testbed_path(), &bed->error));
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, *made, "host_add", &bed->error));
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, *made, "climb", &bed->error));
        ASSERT_OK(bed, aee_region_map(bed->engine, *made, region, AEE_ACCESS_READ, &stress.word,
                                      &bed->error));
        for (unsigned f = 0; f < FUNCTIONS; f++) {
            workers[0].functions[i][f] = find(bed, *made, function_names[f]);
        }
    }
}

static void stop_all(const pthread_t *threads)
{
    atomic_store(&stress.stop, true);
    for (unsigned i = 0; i < THREADS; i++) {
        if (!join_within(threads[i], PATIENCE)) {
            for (unsigned k = 0; k < THREADS; k++) {
                (void)printf("thread %u: %s, round %llu\n", k, workers[k].doing,
                             (unsigned long long)workers[k].rounds);
            }
            (void)printf("thread %u does not come back\n", i);
            (void)fflush(stdout);
            _exit(1);
        }
    }
}

/* What each context counted is what was seen of it, and the engine's counts are their sums. */
static void balance(struct bed *bed)
{
    aee_stats stats;
    uint64_t calls = 0;
    uint64_t host_calls = 0;
    for (unsigned c = 0; c < CONTEXTS; c++) {
        aee_context_info info = info_of(bed, stress.contexts[c]);
        uint64_t seen = atomic_load(&nested[c]);
        for (unsigned i = 0; i < THREADS; i++) {
            seen += workers[i].good[c];
        }
        print_message("context %2u: %llu calls, %llu seen, %llu restarts\n", c,
                      (unsigned long long)info.calls, (unsigned long long)seen,
                      (unsigned long long)info.restarts);
        assert_int_equal(info.queued_calls, 0);
        if (c < MORTAL) { /* beside the initialiser, which may count */
            assert_in_range(info.calls, seen, seen + 1);
            assert_int_equal(info.failed_calls, 0);
            assert_int_equal(info.crashes + info.hangs, 0);
        } else { /* a range that failed does not tell how many of its pieces ran */
            assert_true(info.calls >= seen);
            assert_true(info.crashes > 0);
        }
        assert_true(seen > 0);
        calls += info.calls;
        host_calls += info.host_calls;
    }
    ASSERT_OK(bed, aee_get_stats(bed->engine, &stats, &bed->error));
    assert_int_equal(stats.calls, calls);
    assert_int_equal(stats.host_calls, host_calls);
    assert_int_equal(host_calls, atomic_load(&stress.host_calls));
    assert_int_equal(stats.hangs, 0);
}

static void everything_at_once(void **state)
{
    struct bed bed;
    pthread_t threads[THREADS];
    const char *text = getenv("AEE_STRESS_SECONDS");
    uint64_t seconds = text ? strtoull(text, NULL, 10) : 3;
    uint64_t digest = 0;
    uint64_t refused = 0;
    (void)state;
    set_up(&bed);
    for (unsigned i = 0; i < THREADS; i++) {
        memcpy(workers[i].functions, workers[0].functions, sizeof workers[i].functions);
        workers[i].random = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    uint64_t end = now_ns() + seconds * SECOND;
    while (now_ns() < end && !atomic_load(&stress.stop)) {
        sleep_ns(10 * MS);
        (void)aee_poll_events(bed.engine, NULL, NULL);
    }
    stop_all(threads);
    for (unsigned i = 0; i < THREADS; i++) {
        if (workers[i].failure[0]) {
            fail_msg("thread %u: %s", i, workers[i].failure);
        }
        digest ^= workers[i].digest;
        refused += workers[i].refused;
    }
    for (unsigned c = MORTAL; c < CONTEXTS; c++) {
        await_ready(&bed, stress.contexts[c]);
    }
    print_message("digest %016llx, %llu refused\n", (unsigned long long)digest,
                  (unsigned long long)refused);
    balance(&bed);
    bed_close(&bed);
    assert_int_equal(atomic_load(&stress.ledger.live), 0);
    assert_int_equal(atomic_load(&stress.ledger.wrong), 0);
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
