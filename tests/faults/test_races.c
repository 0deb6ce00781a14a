/* test_races.c: interleavings of threads that happen seldom, brought about with an allocator and
 * system calls that hold chosen threads, and calls that must end in time whatever happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sys.h"
#include "faults/support.h"

/* ---- What holds threads -------------------------------------------------------------- */

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char thread[16]; /* name of the threads to hold; "" for none */
    int held;
    _Atomic bool calls_only; /* not in the allocator, which is used with locks held, too */
};
static struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void pass_gate(void)
{
    char name[16] = "";
    (void)pthread_getname_np(pthread_self(), name, sizeof name);
    (void)pthread_mutex_lock(&gate.lock);
    gate.held++;
    (void)pthread_cond_broadcast(&gate.changed);
    while (gate.thread[0] && strcmp(gate.thread, name) == 0) {
        (void)pthread_cond_wait(&gate.changed, &gate.lock);
    }
    gate.held--;
    (void)pthread_mutex_unlock(&gate.lock);
}

static int gate_call(const char *name)
{
    (void)name;
    pass_gate();
    return 0;
}

static void *gate_alloc(void *user, void *old, size_t old_size, size_t size)
{
    (void)user;
    (void)old_size;
    if (size == 0) {
        free(old);
        return NULL;
    }
    if (!gate.calls_only) {
        pass_gate();
    }
    return realloc(old, size);
}

static void close_gate(const char *thread)
{
    (void)pthread_mutex_lock(&gate.lock);
    (void)snprintf(gate.thread, sizeof gate.thread, "%s", thread);
    (void)pthread_mutex_unlock(&gate.lock);
}

static void open_gate(void)
{
    close_gate("");
    gate.calls_only = false;
    (void)pthread_cond_broadcast(&gate.changed);
}

static bool wait_held(void)
{
    uint64_t end = now_ns() + 5000 * MS * scale();
    bool held = false;
    while (!held && now_ns() < end) {
        sleep_ns(MS);
        (void)pthread_mutex_lock(&gate.lock);
        held = gate.held > 0;
        (void)pthread_mutex_unlock(&gate.lock);
    }
    return held;
}

/* ---- Engines and contexts ------------------------------------------------------------------------- */

static struct {
    aee_engine *engine;
    aee_context context;
    struct file crasher;
    struct file compute;
    struct file minimal;
} t;

static int set_up(void **state)
{
    (void)state;
    aee_engine_desc desc = {.struct_size = sizeof desc, .alloc = gate_alloc, .pool_size = 2};
    aee_error error;
    if (aee_engine_create(&desc, &t.engine, &error) != AEE_OK) {
        print_message("%s\n", error.text);
        return -1;
    }
    return 0;
}

static void *destroy_engine(void *engine)
{
    aee_engine_destroy(engine);
    return NULL;
}

/* After a test that failed the engine may be stuck: it is left to itself then. */
static int tear_down(void **state)
{
    (void)state;
    pthread_t thread;
    if (pthread_create(&thread, NULL, destroy_engine, t.engine) != 0) {
        return -1;
    }
    return join_within(thread, 10000 * MS) ? 0 : -1;
}

static aee_context make(const char *name, const struct file *image, aee_call_mode mode,
                        uint64_t budget_ns)
{
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = name,
                             .call_mode = mode,
                             .limits = {.restarts = 60, .call_budget_ns = budget_ns}};
    aee_context context;
    aee_error error;
    if (aee_context_create(t.engine, &desc, &context, &error) != AEE_OK ||
        aee_load(t.engine, context, image->bytes, image->size, &error) != AEE_OK) {
        fail_msg("%s", error.text);
    }
    return context;
}

static aee_function find(aee_context context, const char *name)
{
    aee_function function;
    aee_error error;
    if (aee_find_function(t.engine, context, name, &function, &error) != AEE_OK) {
        fail_msg("%s", error.text);
    }
    return function;
}

static aee_result call_1(aee_context context, aee_function function, int64_t argument)
{
    return aee_call_i64(t.engine, context, function, &argument, 1, NULL, NULL);
}

static void crash(aee_context context)
{
    assert_int_equal(call_1(context, find(context, "mod_arm"), 7), AEE_OK);
    assert_int_equal(call_1(context, find(context, "mod_tick"), 7), AEE_ERR_CRASHED);
}

static void *destroy_context(void *unused)
{
    (void)unused;
    (void)pthread_setname_np(pthread_self(), "destroyer");
    (void)aee_destroy(t.engine, t.context, NULL);
    return NULL;
}

/* Destroys t.context; a test that would hang fails instead. */
static void destroy_in_time(void)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, destroy_context, NULL), 0);
    if (!join_within(thread, 5000 * MS)) {
        fail_msg("aee_destroy() does not come back");
    }
}

/* ---- Tests ---------------------------------------------------------------------------------------- */

/* Where the old instance is freed at once, a restart may need no memory, and is not held. */
static void skip_level_none(void)
{
    aee_stats stats = {0};
    open_gate();
    assert_int_equal(aee_get_stats(t.engine, &stats, NULL), AEE_OK);
    assert_int_equal(stats.level, AEE_LEVEL_NONE);
    print_message("the restart needed no memory\n");
    skip();
}

/* A crash while the restart of an earlier crash is still queued: the context was restarted by hand
 * in between. It must come back, and can be destroyed. */
static void test_crash_while_restart_is_queued(void **state)
{
    (void)state;
    t.context = make("twice", &t.crasher, AEE_CALL_DIRECT, 0);
    aee_context first = make("first in the queue", &t.crasher, AEE_CALL_DIRECT, 0);
    gate.calls_only = true;
    close_gate("aee-restarter");
    crash(first);
    if (!wait_held()) { /* the thread that restarts is held there */
        skip_level_none();
    }
    crash(t.context);
    assert_int_equal(aee_restart(t.engine, t.context, NULL), AEE_OK);
    crash(t.context);
    open_gate();
    assert_int_equal(aee_wait_ready(t.engine, t.context, 5000 * MS * scale(), NULL), AEE_OK);
    destroy_in_time();
}

static aee_result raced;

static void *load_context(void *unused)
{
    (void)unused;
    (void)pthread_setname_np(pthread_self(), "loader");
    /* An image that no context has: it is read before anything is locked. */
    raced = aee_load(t.engine, t.context, t.crasher.bytes, t.crasher.size, NULL);
    return NULL;
}

/* aee_load() has checked its handle when another thread destroys the context. */
static void test_load_while_destroyed(void **state)
{
    (void)state;
    pthread_t loader;
    pthread_t destroyer;
    struct resources before = count_resources();
    struct resources after;
    aee_stats stats;
    t.context = make("loaded late", &t.minimal, AEE_CALL_DIRECT, 0);
    close_gate("loader");
    assert_int_equal(pthread_create(&loader, NULL, load_context, NULL), 0);
    assert_true(wait_held());
    assert_int_equal(pthread_create(&destroyer, NULL, destroy_context, NULL), 0);
    uint64_t end = now_ns() + 200 * MS;
    do { /* the handle goes stale while the loader still holds its reference */
        assert_int_equal(aee_get_stats(t.engine, &stats, NULL), AEE_OK);
    } while (stats.total_contexts > 0 && now_ns() < end);
    open_gate();
    assert_true(join_within(loader, 5000 * MS));
    if (!join_within(destroyer, 5000 * MS)) {
        fail_msg("aee_destroy() waits for an instance that was loaded after it began");
    }
    if (raced == AEE_OK) {
        fail_msg("aee_load() succeeded in a context that was destroyed: its machine leaks");
    }
    /* Two machines more than the pool had may wait there now: a cell has four descriptors.
     */
    sleep_ns(100 * MS);
    after = count_resources();
    assert_true(after.fds <= before.fds + 8);
}

/* aee_restart() waits for its turn behind aee_destroy(). */
static void *restart_context(void *unused)
{
    (void)unused;
    for (int i = 0; i < 200; i++) {
        aee_result result = aee_restart(t.engine, t.context, NULL);
        if (result == AEE_ERR_STALE) {
            break;
        }
    }
    return NULL;
}

static void test_restart_while_destroyed(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        pthread_t thread[2];
        t.context = make("restarted late", &t.minimal, AEE_CALL_DIRECT, 0);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(pthread_create(&thread[i], NULL, restart_context, NULL), 0);
        }
        sleep_ns((uint64_t)(round % 7) * MS);
        destroy_in_time();
        for (int i = 0; i < 2; i++) {
            assert_true(join_within(thread[i], 5000 * MS));
        }
    }
}

/* ---- Host functions ------------------------------------------------------------------------------- */

static aee_result from_host_function;

static void *stop_context(void *unused)
{
    (void)unused;
    (void)aee_stop(t.engine, t.context, NULL);
    return NULL;
}

/* Somebody else stops the context meanwhile; then it is destroyed from within. */
static aee_result stopped_then_destroys(void *user, aee_host_call *call)
{
    pthread_t thread;
    (void)user;
    (void)call;
    if (pthread_create(&thread, NULL, stop_context, NULL) == 0) {
        (void)join_within(thread, 5000 * MS);
    }
    from_host_function = aee_destroy(t.engine, t.context, NULL);
    return AEE_OK;
}

static void *call_host_calls(void *unused)
{
    (void)unused;
    (void)call_1(t.context, find(t.context, "bench_host_calls"), 1);
    return NULL;
}

static void test_destroy_from_host_function_of_stopped(void **state)
{
    (void)state;
    pthread_t thread;
    t.context = make("inside", &t.compute, AEE_CALL_DIRECT, 0);
    assert_int_equal(
        aee_register_host_function(t.engine, "bench_nop", stopped_then_destroys, NULL, NULL),
        AEE_OK);
    assert_int_equal(aee_grant_host_function(t.engine, t.context, "bench_nop", NULL), AEE_OK);
    assert_int_equal(pthread_create(&thread, NULL, call_host_calls, NULL), 0);
    if (!join_within(thread, 5000 * MS)) {
        fail_msg("aee_destroy() within a host function of a stopped context waits for itself");
    }
    assert_int_equal(from_host_function, AEE_ERR_BUSY);
}

static aee_result nothing(void *user, aee_host_call *call)
{
    (void)user;
    (void)call;
    return AEE_OK;
}

enum { FLOODS = 300 };

struct flood {
    aee_context context;
    int done;
    aee_result last;
};

static void *flood(void *argument)
{
    struct flood *flood = argument;
    aee_function calls = find(flood->context, "bench_host_calls");
    for (int i = 0; i < FLOODS; i++) {
        const aee_limits loose = {.call_budget_ns = 1000 * MS * scale()};
        const aee_limits tight = {.call_budget_ns = 2 * MS};
        (void)aee_set_limits(t.engine, flood->context, &tight, NULL);
        flood->last = call_1(flood->context, calls, INT64_C(1) << 40);
        (void)aee_set_limits(t.engine, flood->context, &loose, NULL); /* for the initialiser */
        if (flood->last != AEE_ERR_HUNG || aee_restart(t.engine, flood->context, NULL) != AEE_OK) {
            break;
        }
        flood->done = i + 1;
    }
    return NULL;
}

/* A component that does nothing but host calls: its budget ends in the middle of one, and the call
 * must come back although caller and worker are busy with each other. */
static void flood_in(aee_call_mode mode)
{
    pthread_t thread;
    static struct flood f;
    f = (struct flood){.context = make("flood", &t.compute, mode, 0)};
    assert_int_equal(aee_register_host_function(t.engine, "bench_nop", nothing, NULL, NULL),
                     AEE_OK);
    assert_int_equal(aee_grant_host_function(t.engine, f.context, "bench_nop", NULL), AEE_OK);
    assert_int_equal(pthread_create(&thread, NULL, flood, &f), 0);
    if (!join_within(thread, 20000 * MS)) {
        fail_msg("call %d of a component that floods the engine with host calls never ends",
                 f.done + 1);
    }
    assert_int_equal(f.last, AEE_ERR_HUNG);
    assert_int_equal(f.done, FLOODS);
}

static void test_flood_ring(void **state)
{
    (void)state;
    flood_in(AEE_CALL_RING);
}

static void test_flood_direct(void **state)
{
    (void)state;
    flood_in(AEE_CALL_DIRECT);
}

/* ---- Between calls -------------------------------------------------------------------------------- */

/* A component with a small budget that is not called is not hung, however long the processor makes
 * its lane wait for the way back to the host. */
static void test_idle_is_not_hung(void **state)
{
    (void)state;
    const int64_t two[2] = {1, 2};
    aee_context_info info;
    t.context = make("idle", &t.minimal, AEE_CALL_RING, 1000 * MS * scale());
    aee_function add = find(t.context, "add");
    aee_limits tight = {.call_budget_ns = 50000};
    unsigned hung = 0;
    for (int round = 0; round < 50; round++) {
        aee_limits loose = {.call_budget_ns = 1000 * MS * scale()};
        assert_int_equal(aee_set_limits(t.engine, t.context, &loose, NULL), AEE_OK);
        for (int i = 0; i < 20; i++) { /* the lane spins with its worker */
            assert_int_equal(aee_call_i64(t.engine, t.context, add, two, 2, NULL, NULL), AEE_OK);
        }
        assert_int_equal(aee_set_limits(t.engine, t.context, &tight, NULL), AEE_OK);
        uint64_t begin = now_ns();
        aee_result result = aee_call_i64(t.engine, t.context, add, two, 2, NULL, NULL);
        bool in_time = result == AEE_OK && now_ns() - begin < 30000;
        sleep_ns(3 * MS); /* nobody calls */
        assert_int_equal(aee_get_context_info(t.engine, t.context, &info, NULL), AEE_OK);
        hung += in_time && info.state != AEE_STATE_READY;
        if (in_time && info.state != AEE_STATE_READY) {
            aee_crash report;
            assert_int_equal(aee_last_crash(t.engine, t.context, &report, NULL), AEE_OK);
            print_message("%s\n", report.text);
        }
        if (info.state != AEE_STATE_READY) {
            assert_int_equal(aee_set_limits(t.engine, t.context, &loose, NULL), AEE_OK);
            assert_int_equal(aee_restart(t.engine, t.context, NULL), AEE_OK);
        }
    }
    if (hung > 0) {
        fail_msg("%u of 50 times a component was called hung while it was not called", hung);
    }
}

int main(void)
{
    int skip = skip_without_engine();
    if (skip) {
        return skip;
    }
    t.crasher = read_component("mod_crasher");
    t.compute = read_component("compute");
    t.minimal = read_component("minimal");
    aee__sys_fault = gate_call;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_idle_is_not_hung, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flood_direct, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flood_ring, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_crash_while_restart_is_queued, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_load_while_destroyed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restart_while_destroyed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_destroy_from_host_function_of_stopped, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
