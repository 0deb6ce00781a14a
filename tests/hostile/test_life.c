/* test_life.c: contexts that are destroyed, stopped, loaded and re-entered at the worst moment;
 * fork(). */
#include "hostile/harness.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Host functions that turn against their caller ---------------------------------------- */

enum turn {
    TURN_CALL,
    TURN_DESTROY,
    TURN_STOP,
    TURN_RESTART,
    TURN_LOAD,
    TURN_LIMITS,
    TURN_SHUT_DOWN,
    TURN_COUNT
};

static struct {
    struct hostile *hostile;
    struct offender offender;
    struct offender partner;
    enum turn turn;
    aee_result result;
    _Atomic uint64_t calls;
    uint64_t sleep_ns;
} script;

static aee_result turn_against(aee_host_call *call)
{
    char path[512];
    const aee_limits limits = {.memory_bytes = 64 * MIB};
    switch (script.turn) {
    case TURN_CALL:
        return hostile_call1(script.hostile, script.offender, "answer", 1, NULL);
    case TURN_DESTROY:
        return aee_destroy(call->engine, call->context, NULL);
    case TURN_STOP:
        return aee_stop(call->engine, call->context, NULL);
    case TURN_RESTART:
        return aee_restart(call->engine, call->context, NULL);
    case TURN_LOAD:
        return aee_load_file(call->engine, call->context,
                             hostile_image_path(script.hostile->image, path, sizeof path), NULL);
    case TURN_LIMITS:
        return aee_set_limits(call->engine, call->context, &limits, NULL);
    default:
        return aee_engine_shutdown(call->engine, NULL);
    }
}

static aee_result host_turns(void *user, aee_host_call *call)
{
    (void)user;
    script.calls++;
    script.result = turn_against(call);
    call->result = call->args[0] + 100;
    return AEE_OK;
}

/* A calls the host, which calls B, which calls the host, which calls A again. */
static aee_result host_ping_pong(void *user, aee_host_call *call)
{
    (void)user;
    script.calls++;
    if (call->context.id == script.offender.context.id) {
        call->result = hostile_ask(script.hostile, script.partner, "relay", call->args[0] + 1);
    } else {
        script.result = hostile_call1(script.hostile, script.offender, "answer", 1, NULL);
        hostile_expect_bystander(script.hostile);
        call->result = call->args[0] + 1000;
    }
    return AEE_OK;
}

static aee_result host_sleeps(void *user, aee_host_call *call)
{
    (void)user;
    script.calls++;
    hostile_sleep_ns(script.sleep_ns);
    call->result = call->args[0] + 100;
    return AEE_OK;
}

static aee_host_fn host_now;

static aee_result host(void *user, aee_host_call *call)
{
    return host_now(user, call);
}

static struct offender granted(struct hostile *hostile, aee_call_mode mode, aee_host_fn function,
                               const aee_limits *limits)
{
    memset(&script, 0, sizeof script);
    host_now = function;
    (void)aee_register_host_function(hostile->engine, "host", host, NULL, NULL);
    struct offender offender = hostile_offender(hostile, mode, limits);
    assert_int_equal(aee_grant_host_function(hostile->engine, offender.context, "host", NULL),
                     AEE_OK);
    script.hostile = hostile;
    script.offender = offender;
    return offender;
}

static void host_against_caller(struct hostile *hostile, aee_call_mode mode)
{
    for (enum turn turn = TURN_CALL; turn < TURN_COUNT; turn++) {
        struct offender offender = granted(hostile, mode, host_turns, NULL);
        script.turn = turn;
        assert_int_equal(hostile_ask(hostile, offender, "relay", 5), 105);
        if (script.result != (turn == TURN_CALL ? AEE_OK : AEE_ERR_BUSY)) {
            fail_msg("turn %d: %s", turn, aee_result_name(script.result));
        }
        hostile_expect_bystander(hostile);
        hostile_expect_recovery(hostile, offender);
        hostile_destroy(hostile, offender);
    }
}

static void recursion(struct hostile *hostile, aee_call_mode mode)
{
    struct offender first = granted(hostile, mode, host_ping_pong, NULL);
    struct offender second = hostile_offender(hostile, mode, NULL);
    assert_int_equal(aee_grant_host_function(hostile->engine, second.context, "host", NULL),
                     AEE_OK);
    script.partner = second;
    assert_int_equal(hostile_ask(hostile, first, "relay", 1), 1002);
    assert_int_equal(script.calls, 2);
    assert_int_equal(script.result, AEE_OK);
    hostile_destroy(hostile, first);
    hostile_destroy(hostile, second);
}

/* ---- At the worst moment ------------------------------------------------------------------ */

struct caller {
    struct hostile *hostile;
    struct offender offender;
    const char *function;
    pthread_t thread;
    aee_result result;
    _Atomic uint64_t ended_ns;
    aee_function found;
    bool without_argument;
};

static void *call(void *user)
{
    struct caller *caller = user;
    const int64_t argument = 1;
    caller->result = aee_call_i64(caller->hostile->engine, caller->offender.context, caller->found,
                                  &argument, caller->without_argument ? 0 : 1, NULL, NULL);
    caller->ended_ns = hostile_now_ns();
    return NULL;
}

static void start(struct caller *caller)
{
    caller->found = hostile_find(caller->hostile, caller->offender, caller->function);
    caller->without_argument = strcmp(caller->function, "spin") == 0;
    assert_int_equal(pthread_create(&caller->thread, NULL, call, caller), 0);
    hostile_sleep_ns(5 * MS * hostile_scale());
}

typedef aee_result operation_fn(aee_engine *engine, aee_context context, aee_error *error);

static aee_result load_again(aee_engine *engine, aee_context context, aee_error *error)
{
    char path[512];
    return aee_load_file(engine, context,
                         hostile_image_path(script.hostile->image, path, sizeof path), error);
}

/* A call is in its endless loop when `operation` comes; the call ends with `expected` at once. */
static void during_call(struct hostile *hostile, aee_call_mode mode, operation_fn *operation,
                        aee_result expected)
{
    for (unsigned i = 0; i < 5; i++) {
        struct caller caller = {.hostile = hostile,
                                .offender = hostile_offender(
                                    hostile, mode, &(aee_limits){.call_budget_ns = 20000 * MS}),
                                .function = "spin"};
        start(&caller);
        uint64_t begin = hostile_now_ns();
        assert_int_equal(operation(hostile->engine, caller.offender.context, NULL), AEE_OK);
        (void)pthread_join(caller.thread, NULL);
        assert_int_equal(caller.result, expected);
        assert_true(hostile_now_ns() - begin < 2000 * MS * hostile_scale());
        hostile_expect_bystander(hostile);
        if (operation == aee_destroy) {
            assert_int_equal(aee_stop(hostile->engine, caller.offender.context, NULL),
                             AEE_ERR_STALE);
        } else {
            assert_int_equal(aee_restart(hostile->engine, caller.offender.context, NULL), AEE_OK);
            hostile_expect_recovery(hostile, caller.offender);
            hostile_destroy(hostile, caller.offender);
        }
    }
}

static void destroy_during_call(struct hostile *hostile, aee_call_mode mode)
{
    during_call(hostile, mode, aee_destroy, AEE_ERR_STOPPED);
}
static void stop_during_call(struct hostile *hostile, aee_call_mode mode)
{
    during_call(hostile, mode, aee_stop, AEE_ERR_STOPPED);
}
static void restart_during_call(struct hostile *hostile, aee_call_mode mode)
{
    during_call(hostile, mode, aee_restart, AEE_ERR_STOPPED);
}

/* Loading waits for nobody; pausing lets the call finish and the next one not begin. */
static void load_and_pause_during_call(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = granted(hostile, mode, host_sleeps, NULL);
    struct caller caller = {.hostile = hostile, .offender = offender, .function = "relay"};
    script.sleep_ns = 60 * MS * hostile_scale();
    start(&caller);
    assert_int_equal(load_again(hostile->engine, offender.context, NULL), AEE_ERR_BUSY);
    assert_int_equal(aee_pause(hostile->engine, offender.context, NULL), AEE_OK);
    assert_int_equal(hostile_call1(hostile, offender, "answer", 1, NULL), AEE_ERR_PAUSED);
    (void)pthread_join(caller.thread, NULL);
    assert_int_equal(caller.result, AEE_OK);
    assert_int_equal(aee_resume(hostile->engine, offender.context, NULL), AEE_OK);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* The context goes while its host function runs in another thread. */
static void destroy_during_host_call(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = granted(hostile, mode, host_sleeps, NULL);
    struct caller caller = {.hostile = hostile, .offender = offender, .function = "relay"};
    script.sleep_ns = 30 * MS * hostile_scale();
    start(&caller);
    hostile_destroy(hostile, offender);
    (void)pthread_join(caller.thread, NULL);
    assert_int_equal(caller.result, AEE_ERR_STOPPED);
}

/* Many threads: some call, one destroys. Each call ends in one of the ways it may. */
static void destroy_under_fire(struct hostile *hostile, aee_call_mode mode)
{
    enum { CALLERS = 6 };
    for (unsigned round = 0; round < 10; round++) {
        struct offender offender = hostile_offender(hostile, mode, &(aee_limits){.lanes = 2});
        struct caller callers[CALLERS];
        for (unsigned i = 0; i < CALLERS; i++) {
            callers[i] =
                (struct caller){.hostile = hostile, .offender = offender, .function = "answer"};
            callers[i].found = hostile_find(hostile, offender, "answer");
        }
        for (unsigned i = 0; i < CALLERS; i++) {
            assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
        }
        hostile_destroy(hostile, offender);
        for (unsigned i = 0; i < CALLERS; i++) {
            (void)pthread_join(callers[i].thread, NULL);
            assert_true(callers[i].result == AEE_OK || callers[i].result == AEE_ERR_STOPPED ||
                        callers[i].result == AEE_ERR_STALE);
        }
    }
}

/* Crash and destroy at once: the restart that is under way must neither stay nor hold things up. */
static void destroy_during_restart(struct hostile *hostile, aee_call_mode mode)
{
    for (unsigned i = 0; i < 20; i++) {
        struct offender offender = hostile_offender(hostile, mode, NULL);
        assert_int_equal(hostile_call1(hostile, offender, "peek", 0, NULL), AEE_ERR_CRASHED);
        if (i % 2) {
            hostile_sleep_ns(i * MS / 10);
        }
        hostile_destroy(hostile, offender);
        assert_int_equal(aee_wait_ready(hostile->engine, offender.context, 0, NULL), AEE_ERR_STALE);
    }
}

static struct {
    _Atomic int64_t order;
    _Atomic uint64_t calls;
} init;

static aee_result give_order(void *user, aee_host_call *call)
{
    (void)user;
    init.calls++;
    call->result = init.order;
    return AEE_OK;
}

static bool init_has_begun(void *user)
{
    return init.calls > *(uint64_t *)user;
}

static void *destroy_it(void *user)
{
    struct caller *caller = user;
    caller->result = aee_destroy(caller->hostile->engine, caller->offender.context, NULL);
    caller->ended_ns = 1;
    return NULL;
}

static bool has_ended(void *user)
{
    return ((volatile struct caller *)user)->ended_ns != 0;
}

static void crash(struct hostile *hostile, struct offender offender)
{
    assert_int_equal(hostile_call1(hostile, offender, "peek", 0, NULL), AEE_ERR_CRASHED);
}

/* The thread that restarts is busy with another context's slow initialiser, when this one crashes,
 * is restarted by hand, and crashes again: two restarts are asked for, one is queued. It must still
 * be possible to destroy it. */
static void two_crashes_one_restart(struct hostile *hostile, aee_call_mode mode)
{
    (void)aee_register_host_function(hostile->engine, "init_order", give_order, NULL, NULL);
    struct offender slow =
        hostile_offender(hostile, mode, &(aee_limits){.call_budget_ns = 20000 * MS});
    struct offender offender = hostile_offender(hostile, mode, NULL);
    assert_int_equal(aee_grant_host_function(hostile->engine, slow.context, "init_order", NULL),
                     AEE_OK);
    uint64_t before = init.calls;
    init.order = 3; /* some hundred milliseconds */
    crash(hostile, slow);
    assert_true(hostile_wait(init_has_begun, &before, 5000 * MS));
    init.order = 0;
    crash(hostile, offender);
    assert_int_equal(aee_restart(hostile->engine, offender.context, NULL), AEE_OK);
    crash(hostile, offender);
    hostile_expect_recovery(hostile, offender);
    assert_int_equal(aee_wait_ready(hostile->engine, slow.context, 20000 * MS, NULL), AEE_OK);
    hostile_destroy(hostile, slow);
    static struct caller destroyer; /* its thread may outlive this function, if it hangs */
    destroyer = (struct caller){.hostile = hostile, .offender = offender};
    assert_int_equal(pthread_create(&destroyer.thread, NULL, destroy_it, &destroyer), 0);
    if (!hostile_wait(has_ended, &destroyer, 3000 * MS)) {
        print_error("aee_destroy() does not return: a reference to the context was lost\n");
        _exit(1); /* the engine cannot be taken down either */
    }
    (void)pthread_join(destroyer.thread, NULL);
    assert_int_equal(destroyer.result, AEE_OK);
}

static void *crash_it(void *user)
{
    struct caller *caller = user;
    caller->result = hostile_call1(caller->hostile, caller->offender, "peek", 0, NULL);
    return NULL;
}

/* The component crashes on another lane, and the engine's function gives it up for that. */
static aee_result host_gives_up(void *user, aee_host_call *call)
{
    (void)user;
    struct caller crasher = {.hostile = script.hostile, .offender = script.offender};
    if (pthread_create(&crasher.thread, NULL, crash_it, &crasher) == 0) {
        (void)pthread_join(crasher.thread, NULL);
    }
    script.result = aee_destroy(call->engine, call->context, NULL);
    return AEE_OK;
}

static void *relay_it(void *user)
{
    struct caller *caller = user;
    const int64_t argument = 1;
    caller->result = aee_call_i64(caller->hostile->engine, caller->offender.context, caller->found,
                                  &argument, 1, NULL, NULL);
    caller->ended_ns = 1;
    return NULL;
}

/* Destroying its caller is refused in a host function, also when that instance is dead already. */
static void destroy_by_host_after_crash(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = granted(hostile, mode, host_gives_up, &(aee_limits){.lanes = 2});
    static struct caller caller; /* its thread may outlive this function, if it hangs */
    caller = (struct caller){.hostile = hostile, .offender = offender};
    caller.found = hostile_find(hostile, offender, "relay");
    assert_int_equal(pthread_create(&caller.thread, NULL, relay_it, &caller), 0);
    if (!hostile_wait(has_ended, &caller, 3000 * MS)) {
        print_error("aee_destroy() in a host function waits for its own thread\n");
        _exit(1);
    }
    (void)pthread_join(caller.thread, NULL);
    assert_int_equal(script.result, AEE_ERR_BUSY);
    assert_int_equal(caller.result, AEE_ERR_CRASHED);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* A second engine goes down while a component of it loops. */
static void shut_down_during_call(struct hostile *hostile, aee_call_mode mode)
{
    struct hostile other = *hostile;
    aee_engine_desc desc = {.struct_size = sizeof desc, .pool_size = 1};
    assert_int_equal(aee_engine_create(&desc, &other.engine, NULL), AEE_OK);
    struct caller caller = {
        .hostile = &other,
        .offender = hostile_offender(&other, mode, &(aee_limits){.call_budget_ns = 20000 * MS}),
        .function = "spin"};
    start(&caller);
    assert_int_equal(aee_engine_shutdown(other.engine, NULL), AEE_OK);
    (void)pthread_join(caller.thread, NULL);
    assert_int_equal(caller.result, AEE_ERR_STOPPED);
    hostile_expect_bystander(hostile);
    aee_context context;
    assert_int_equal(aee_create_isolated_context(other.engine, "late", &context, NULL),
                     AEE_ERR_CLOSED);
    aee_engine_destroy(other.engine);
}

/* ---- fork() ------------------------------------------------------------------------------- */

/* In the child: 0, or the line of the first thing that was wrong. */
static int look_at_forked_engine(struct hostile *hostile, struct offender offender,
                                 aee_function function)
{
    const int64_t argument = 1;
    aee_context context;
    aee_region region = {1};
    aee_stats stats;
    const aee_result results[] = {
        aee_call_i64(hostile->engine, offender.context, function, &argument, 1, NULL, NULL),
        aee_stop(hostile->engine, offender.context, NULL),
        aee_destroy(hostile->engine, offender.context, NULL),
        aee_create_isolated_context(hostile->engine, "child", &context, NULL),
        aee_region_destroy(hostile->engine, region, NULL),
        aee_get_stats(hostile->engine, &stats, NULL),
        aee_poll_events(hostile->engine, NULL, NULL),
        aee_engine_frame_begin(hostile->engine, NULL),
        aee_engine_shutdown(hostile->engine, NULL),
    };
    for (size_t i = 0; i < COUNT_OF(results); i++) {
        if (results[i] != AEE_ERR_FORKED) {
            return 10 + (int)i;
        }
    }
    aee_engine_destroy(hostile->engine); /* harmless */
    aee_engine *own;
    aee_engine_desc desc = {.struct_size = sizeof desc, .pool_size = 1};
    if (aee_engine_create(&desc, &own, NULL) != AEE_OK) {
        return 1;
    }
    char path[512];
    int64_t value = 0;
    bool works = aee_create_isolated_context(own, "child", &context, NULL) == AEE_OK &&
                 aee_load_file(own, context, hostile_image_path(hostile->image, path, sizeof path),
                               NULL) == AEE_OK &&
                 aee_find_function(own, context, "answer", &function, NULL) == AEE_OK &&
                 aee_call_i64(own, context, function, &argument, 1, &value, NULL) == AEE_OK &&
                 value == 2;
    aee_engine_destroy(own);
    return works ? 0 : 2;
}

static int fork_and_look(struct hostile *hostile, struct offender offender, aee_function function)
{
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(20);
        _exit(look_at_forked_engine(hostile, offender, function));
    }
    assert_true(child > 0);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* At rest, and in the middle of a call of another thread. */
static void forked(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = granted(hostile, mode, host_sleeps, NULL);
    aee_function function = hostile_find(hostile, offender, "answer");
    assert_int_equal(fork_and_look(hostile, offender, function), 0);
    hostile_expect_recovery(hostile, offender);
    struct caller caller = {.hostile = hostile, .offender = offender, .function = "relay"};
    script.sleep_ns = 30 * MS * hostile_scale();
    start(&caller);
    assert_int_equal(fork_and_look(hostile, offender, function), 0);
    (void)pthread_join(caller.thread, NULL);
    assert_int_equal(caller.result, AEE_OK);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

static const struct hostile_case cases[] = {
    {.name = "a host function against its caller", .script = host_against_caller},
    {.name = "host call, guest call, host call, guest call", .script = recursion},
    {.name = "destroy during a call", .script = destroy_during_call},
    {.name = "stop during a call", .script = stop_during_call},
    {.name = "restart during a call", .script = restart_during_call},
    {.name = "load and pause during a call", .script = load_and_pause_during_call},
    {.name = "destroy during a host call", .script = destroy_during_host_call},
    {.name = "destroy while six threads call", .script = destroy_under_fire},
    {.name = "destroy during a restart", .script = destroy_during_restart},
    {.name = "destroy by the host function of a dead instance",
     .script = destroy_by_host_after_crash},
    {.name = "two crashes for one restart", .script = two_crashes_one_restart},
    {.name = "shutdown during a call", .script = shut_down_during_call},
    {.name = "fork", .script = forked},
};

int main(int argc, char **argv)
{
    static const struct hostile_program program = {.name = "hostile_life",
                                                   .image = "hostile_attacker.elf",
                                                   .cases = cases,
                                                   .count = COUNT_OF(cases)};
    return hostile_main(&program, argc, argv);
}
