/* test_gdb.c: gdb itself on components: breakpoints, steps, crashes, lanes, interrupts. */
#include <pthread.h>
#include <stdatomic.h>

#include "harness.h"

#include "gdb_client.h"

#define MS UINT64_C(1000000)

static struct {
    struct bed bed;
    aee_context context;
    char folder[64];
    char path[96];
    char address[104];
    struct gdb gdb;
} t;

static void open_context(uint32_t lanes, aee_call_mode mode, uint64_t budget_ns)
{
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = "debuggee",
                             .call_mode = mode,
                             .limits = {.lanes = lanes, .call_budget_ns = budget_ns}};
    bed_open(&t.bed, NULL);
    ASSERT_OK(&t.bed, aee_context_create(t.bed.engine, &desc, &t.context, &t.bed.error));
    ASSERT_OK(&t.bed, aee_load_file(t.bed.engine, t.context, AEE_TESTBED, &t.bed.error));
}

static int set_up(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    (void)snprintf(t.folder, sizeof t.folder, "/tmp/aee-test-gdb-XXXXXX");
    assert_non_null(mkdtemp(t.folder));
    (void)snprintf(t.path, sizeof t.path, "%s/socket", t.folder);
    (void)snprintf(t.address, sizeof t.address, "unix:%s", t.path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bed_close(&t.bed);
    assert_int_equal(access(t.path, F_OK), -1); /* the socket went with the context */
    assert_int_equal(rmdir(t.folder), 0);
    return 0;
}

static void listen_with(uint32_t flags)
{
    aee_debug_desc desc = {
        .struct_size = sizeof desc, .flags = flags, .address = t.address, .file = AEE_TESTBED};
    ASSERT_OK(&t.bed, aee_debug_listen(t.bed.engine, t.context, &desc, &t.bed.error));
}

static aee_result call(const char *name, const int64_t *args, uint32_t count, int64_t *value,
                       aee_error *error)
{
    aee_function function;
    aee_result result = aee_find_function(t.bed.engine, t.context, name, &function, error);
    return result == AEE_OK
               ? aee_call_i64(t.bed.engine, t.context, function, args, count, value, error)
               : result;
}

static int64_t value_of(const char *name, const int64_t *args, uint32_t count)
{
    int64_t value = 0;
    if (call(name, args, count, &value, &t.bed.error) != AEE_OK) {
        fail_msg("%s: %s", name, t.bed.error.text);
    }
    return value;
}

/* ---- Straight on -------------------------------------------------------------------------- */

/* The budget is a tenth of the time for which the component stands still. */
static void walk(aee_call_mode mode)
{
    const int64_t args[2] = {3, 4};
    open_context(1, mode, 50 * MS);
    listen_with(AEE_DEBUG_WAIT);
    START(&t.gdb, AEE_TESTBED, t.path, "break work", "continue", "bt 1", "print a + b",
          "print total", "print history", "shell sleep 0.5", "next", "next", "print sum", "step",
          "step", "info registers rip", "tbreak square", "detach");
    assert_int_equal(value_of("work", args, 2), 16);
    gdb_finish(&t.gdb);
    SAID(&t.gdb, "Breakpoint 1, work (a=3, b=4)", "#0  work (a=3, b=4)", "$1 = 7", "$2 = 7",
         "$3 = {11, 22, 33, 44}", "sum += square(a)", "total += sum", "$4 = 16", "return sum",
         "rip ", "detached");
    assert_int_equal(value_of("work", args, 2), 16); /* no breakpoint was left behind */
    assert_int_equal(value_of("get_total", NULL, 0), 7 + 32);
}

static void test_walks_through_a_call(void **state)
{
    (void)state;
    walk(AEE_CALL_DIRECT);
}

static void test_walks_through_a_call_on_a_worker(void **state)
{
    (void)state;
    walk(AEE_CALL_RING);
}

static void test_steps_instructions_and_changes_what_it_sees(void **state)
{
    (void)state;
    const int64_t args[2] = {3, 4};
    open_context(1, AEE_CALL_DIRECT, SECOND);
    listen_with(AEE_DEBUG_WAIT);
    START(&t.gdb, AEE_TESTBED, t.path, "break square", "continue", "up", "print sum",
          "set var b = 100", "print b", "down", "set var value = 5", "stepi", "stepi", "stepi",
          "x/2i $pc", "print $rsp != 0", "finish", "set var total = 1000", "delete", "continue");
    assert_int_equal(value_of("work", args, 2), 7 + 25);
    aee_engine_destroy(t.bed.engine); /* gdb waits for the end of what it lets run */
    t.bed.engine = NULL;
    gdb_finish(&t.gdb);
    SAID(&t.gdb, "Breakpoint 1, square (value=3)", "$1 = 7", "$2 = 100", "=> 0x", "$3 = 1",
         "Value returned is $4 = 25", "exited normally");
}

static void test_finds_where_a_moved_image_is(void **state)
{
    (void)state;
    const int64_t args[2] = {3, 4};
    open_context(1, AEE_CALL_DIRECT, SECOND);
    ASSERT_OK(&t.bed, aee_load_file(t.bed.engine, t.context, AEE_DEBUGGEE_PIE, &t.bed.error));
    listen_with(AEE_DEBUG_WAIT);
    START(&t.gdb, AEE_DEBUGGEE_PIE, t.path, "break square", "continue", "print total", "up",
          "print a", "detach");
    assert_int_equal(value_of("work", args, 2), 16);
    gdb_finish(&t.gdb);
    SAID(&t.gdb, "Breakpoint 1, square (value=3)", "$1 = 7", "$2 = 3");
}

static void test_sees_and_sets_vectors(void **state)
{
    (void)state;
    aee_function stretch;
    aee_value by = aee_f64(3.0);
    aee_value value = aee_f64(0);
    open_context(1, AEE_CALL_DIRECT, SECOND);
    listen_with(AEE_DEBUG_WAIT);
    START(&t.gdb, AEE_TESTBED, t.path, "break *stretch", "continue", "print $xmm0.v2_double[0]",
          "print $mxcsr", "set var $xmm0.v2_double[0] = 5.0", "delete", "tbreak stretch",
          "continue", "print by", "finish", "print $st0", "print/x $fctrl", "detach");
    stretch = find(&t.bed, t.context, "stretch");
    ASSERT_OK(&t.bed, aee_call(t.bed.engine, t.context, stretch, &by, 1, &value, &t.bed.error));
    gdb_finish(&t.gdb);
    SAID(&t.gdb, "$1 = 3", "$2 = [", "$3 = 5", "Value returned is $4 = 7.5", "$5 = 0", "$6 = 0x37f",
         "detached");
    assert_true(value.as.f64 == 7.5);
}

/* ---- Crashes ------------------------------------------------------------------------------ */

static void test_holds_a_crash(void **state)
{
    (void)state;
    const int64_t args[1] = {77};
    int64_t value = 0;
    open_context(1, AEE_CALL_AUTO, 50 * MS);
    listen_with(AEE_DEBUG_HOLD_CRASHES);
    assert_int_equal(value_of("get_total", NULL, 0), 7); /* all else goes on */
    START(&t.gdb, AEE_TESTBED, t.path, "bt 1", "print value", "print nowhere", "continue");
    assert_int_equal(call("crash", args, 1, &value, &t.bed.error), AEE_ERR_CRASHED);
    gdb_finish(&t.gdb);
    SAID(&t.gdb, "in crash (value=77)", "#0 ", "$1 = 77", "$2 = (volatile int64_t *) 0x0",
         "Program terminated with signal");
    aee_crash crash;
    ASSERT_OK(&t.bed, aee_last_crash(t.bed.engine, t.context, &crash, &t.bed.error));
    assert_string_equal(crash.function, "crash");
    assert_int_equal(crash.vector, 14);
    ASSERT_OK(&t.bed, aee_wait_ready(t.bed.engine, t.context, 10 * SECOND, &t.bed.error));
    assert_int_equal(value_of("get_total", NULL, 0), 7);
}

static void test_mends_a_crash(void **state)
{
    (void)state;
    const int64_t args[1] = {77};
    open_context(1, AEE_CALL_DIRECT, 50 * MS);
    listen_with(AEE_DEBUG_HOLD_CRASHES);
    START(&t.gdb, AEE_TESTBED, t.path, "print nowhere", "set var nowhere = &total", "print $rax",
          "print $rdx", "break debuggee.c:80", "jump debuggee.c:79", "print total", "delete",
          "detach");
    assert_int_equal(value_of("crash", args, 1), 78);
    gdb_finish(&t.gdb);
    SAID(&t.gdb, "$1 = (volatile int64_t *) 0x0", "Breakpoint 1, crash", "$4 = 77", "detached");
    assert_int_equal(value_of("get_total", NULL, 0), 77);
}

static void test_holds_an_abort(void **state)
{
    (void)state;
    int64_t value = 0;
    open_context(1, AEE_CALL_DIRECT, 50 * MS);
    listen_with(AEE_DEBUG_HOLD_CRASHES);
    START(&t.gdb, AEE_TESTBED, t.path, "print total", "detach");
    assert_int_equal(call("give_up", NULL, 0, &value, &t.bed.error), AEE_ERR_CRASHED);
    gdb_finish(&t.gdb);
    SAID(&t.gdb, "$1 = 7", "detached");
    aee_crash crash;
    ASSERT_OK(&t.bed, aee_last_crash(t.bed.engine, t.context, &crash, &t.bed.error));
    assert_int_equal(crash.cause, AEE_CRASH_ABORT);
    assert_non_null(strstr(crash.text, "nothing left to do"));
}

static void test_kills(void **state)
{
    (void)state;
    const int64_t args[2] = {3, 4};
    int64_t value = 0;
    open_context(1, AEE_CALL_DIRECT, SECOND);
    listen_with(AEE_DEBUG_WAIT);
    START(&t.gdb, AEE_TESTBED, t.path, "break work", "continue", "kill");
    assert_int_equal(call("work", args, 2, &value, &t.bed.error), AEE_ERR_CRASHED);
    gdb_finish(&t.gdb);
    aee_crash crash;
    ASSERT_OK(&t.bed, aee_last_crash(t.bed.engine, t.context, &crash, &t.bed.error));
    assert_int_equal(crash.cause, AEE_CRASH_KILLED);
    assert_non_null(strstr(crash.text, "debugger"));
    ASSERT_OK(&t.bed, aee_wait_ready(t.bed.engine, t.context, 10 * SECOND, &t.bed.error));
    assert_int_equal(value_of("work", args, 2), 16);
}

/* ---- Several threads ---------------------------------------------------------------------- */

struct caller {
    pthread_t thread;
    const char *name;
    int64_t args[2];
    uint32_t count;
    int64_t value;
    aee_result result;
    aee_error error;
    _Atomic bool done;
};

static void *make_call(void *argument)
{
    struct caller *caller = argument;
    caller->result =
        call(caller->name, caller->args, caller->count, &caller->value, &caller->error);
    atomic_store(&caller->done, true);
    return NULL;
}

static void begin_call(struct caller *caller, const char *name, int64_t a, uint32_t count)
{
    *caller = (struct caller){.name = name, .args = {a}, .count = count};
    assert_int_equal(pthread_create(&caller->thread, NULL, make_call, caller), 0);
}

static int64_t end_call(struct caller *caller)
{
    (void)pthread_join(caller->thread, NULL);
    if (caller->result != AEE_OK) {
        fail_msg("%s: %s", caller->name, caller->error.text);
    }
    return caller->value;
}

static void test_shows_lanes_as_threads(void **state)
{
    (void)state;
    struct caller callers[2];
    open_context(3, AEE_CALL_AUTO, SECOND);
    listen_with(AEE_DEBUG_WAIT);
    begin_call(&callers[0], "meet", 2, 1);
    begin_call(&callers[1], "meet", 2, 1);
    START(&t.gdb, AEE_TESTBED, t.path, "break met", "continue", "up", "info threads",
          "thread apply all print $rip != 0", "thread 2", "bt 1", "delete", "detach");
    assert_int_equal(end_call(&callers[0]) + end_call(&callers[1]), 0 + 1);
    gdb_finish(&t.gdb);
    SAID(&t.gdb, "Breakpoint 1, met ()", "meet (others=2)", "lane 0", "lane 1", "lane 2",
         "(no call)", "Thread 3", "= 1", "Thread 2", "= 1", "Thread 1", "= 1", "#0 ", "detached");
}

static void test_interrupts_one_that_spins(void **state)
{
    (void)state;
    const int64_t args[2] = {1, 2};
    struct caller caller;
    aee_context other = {0};
    open_context(1, AEE_CALL_AUTO, 50 * MS);
    listen_with(AEE_DEBUG_WAIT);
    other = make_context(&t.bed, "other", AEE_CALL_AUTO, 1);
    begin_call(&caller, "spin", 0, 0);
    START(&t.gdb, AEE_TESTBED, t.path, "tbreak spin", "continue", "echo now it spins\\n",
          "continue", "bt 1", "print turns > 0", "set var go_on = 1", "detach");
    assert_true(gdb_read(&t.gdb, "now it spins"));
    const struct timespec while_ = {.tv_nsec = 300000000};
    (void)nanosleep(&while_, NULL);
    assert_false(atomic_load(&caller.done)); /* its budget is over by far */
    assert_int_equal(value2(&t.bed, other, "work", args[0], args[1], 2), 4);
    assert_int_equal(kill(t.gdb.pid, SIGINT), 0);
    assert_int_equal(end_call(&caller), 1);
    gdb_finish(&t.gdb);
    SAID(&t.gdb, "Temporary breakpoint 1, spin", "now it spins", "received signal SIGINT", "#0 ",
         "spin () at", "$1 = 1", "detached");
}

static void test_gdb_dies(void **state)
{
    (void)state;
    const int64_t args[2] = {3, 4};
    struct caller caller;
    open_context(1, AEE_CALL_DIRECT, 50 * MS);
    listen_with(AEE_DEBUG_WAIT);
    begin_call(&caller, "get_total", 0, 0);
    START(&t.gdb, AEE_TESTBED, t.path, "break get_total", "break work", "continue",
          "echo stopped\\n", "shell sleep 60");
    assert_true(gdb_read(&t.gdb, "stopped"));
    assert_false(atomic_load(&caller.done));
    (void)kill(-t.gdb.pid, SIGKILL);
    assert_int_equal(end_call(&caller), 7);
    gdb_finish(&t.gdb);
    assert_int_equal(value_of("work", args, 2), 16);
}

static void test_attaches_twice(void **state)
{
    (void)state;
    struct caller caller;
    open_context(1, AEE_CALL_AUTO, SECOND);
    listen_with(0);
    assert_int_equal(value_of("get_total", NULL, 0), 7); /* nobody waits for gdb */
    for (int64_t i = 1; i <= 2; i++) {
        START(&t.gdb, AEE_TESTBED, t.path, "break get_total", "echo attached\\n", "continue",
              "set var total = total + 1", "detach");
        assert_true(gdb_read(&t.gdb, "attached"));
        begin_call(&caller, "get_total", 0, 0);
        assert_int_equal(end_call(&caller), 7 + i);
        gdb_finish(&t.gdb);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_walks_through_a_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_walks_through_a_call_on_a_worker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_steps_instructions_and_changes_what_it_sees, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_finds_where_a_moved_image_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sees_and_sets_vectors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_holds_a_crash, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mends_a_crash, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_holds_an_abort, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kills, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shows_lanes_as_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_interrupts_one_that_spins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gdb_dies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_attaches_twice, set_up, tear_down),
    };
    skip_without_backend();
    if (!has_gdb()) {
        (void)printf("SKIP: gdb is not installed\n");
        return 77;
    }
    return cmocka_run_group_tests_name("gdb", tests, NULL, NULL);
}
