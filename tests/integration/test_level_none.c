/* test_level_none.c: components in the engine's own process: what its threads, signal handlers and
 * addresses are like before, during and after. */
#include "harness.h"

#include <asm/prctl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aee_abi.h"
#include "base/sys.h"

#define MS UINT64_C(1000000)

static const aee_engine_desc none = {.struct_size = sizeof none, .level = AEE_LEVEL_NONE};
static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
enum { FAULTS = sizeof faults / sizeof faults[0] };

static aee_context make(struct bed *bed, const char *name, uint64_t budget_ns)
{
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = name,
                             .limits = {.call_budget_ns = 10 * SECOND, .restarts = 60}};
    aee_limits limits = {.call_budget_ns = budget_ns};
    aee_context context = {0};
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_load_file(bed->engine, context, testbed_path(), &bed->error));
    ASSERT_OK(bed, aee_set_limits(bed->engine, context, &limits, &bed->error));
    return context;
}

static void finish(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
}

static void come_back(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_wait_ready(bed->engine, context, 10 * SECOND, &bed->error));
}

static void expect_crash(struct bed *bed, aee_context context, const char *words)
{
    aee_crash crash;
    assert_int_equal(call2(bed, context, "read_i64", 8, 0, 1, NULL), AEE_ERR_CRASHED);
    ASSERT_OK(bed, aee_last_crash(bed->engine, context, &crash, &bed->error));
    if (!strstr(crash.text, words)) {
        fail_msg("\"%s\" does not say \"%s\"", crash.text, words);
    }
    come_back(bed, context);
}

/* ---- Signal handlers -------------------------------------------------------------------------- */

static volatile sig_atomic_t caught;
static volatile int *volatile nowhere = (volatile int *)16;
static sigjmp_buf after_fault;
static __thread int of_thread;

static void leave_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    caught = signal;
    of_thread += info->si_addr == (void *)nowhere;
    siglongjmp(after_fault, 1);
}

/* A fault of the test's own thread. */
static void fault_here(void)
{
    caught = 0;
    if (sigsetjmp(after_fault, 1) == 0) {
        *nowhere = 1;
        fail_msg("writing to address 16 has no effect");
    }
}

static void set_handler(int signal, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    assert_int_equal(sigaction(signal, &action, NULL), 0);
}

static void *handler_of(int signal)
{
    struct sigaction action;
    assert_int_equal(sigaction(signal, NULL, &action), 0);
    return (void *)action.sa_sigaction;
}

static void handlers_are_chained_and_gone(void **state)
{
    (void)state;
    struct bed bed;
    struct bed second;
    int kick = SIGRTMAX - 1;
    for (int i = 0; i < FAULTS; i++) {
        set_handler(faults[i], leave_fault);
    }
    void *before = handler_of(kick);
    bed_open(&bed, &none);
    assert_true(level_is_none(&bed));
    aee_context context = make(&bed, "chained", 10 * SECOND);
    of_thread = 0;
    for (int i = 0; i < 3; i++) {
        fault_here();
        assert_int_equal(caught, SIGSEGV);
        assert_int_equal(of_thread, i + 1);
        caught = 0;
        expect_crash(&bed, context, "null pointer");
        assert_int_equal(caught, 0); /* it was not asked */
    }
    bed_open(&second, &none);
    bed_close(&bed);
    assert_ptr_not_equal(handler_of(SIGSEGV), (void *)leave_fault);
    expect_crash(&second, make(&second, "second", 10 * SECOND), "null pointer");
    bed_close(&second);
    for (int i = 0; i < FAULTS; i++) {
        assert_ptr_equal(handler_of(faults[i]), (void *)leave_fault);
    }
    assert_ptr_equal(handler_of(kick), before);
    fault_here();
    assert_int_equal(caught, SIGSEGV);
}

static void (*below)(int, siginfo_t *, void *);
static int asked;

/* As crash reporters do: what was there before is asked, too. */
static void ask_below(int signal, siginfo_t *info, void *context)
{
    asked++;
    below(signal, info, context);
}

/* Somebody installs a handler while the engine is there, chained to ours. */
static void handlers_of_others_may_come_later(void **state)
{
    (void)state;
    struct bed bed;
    struct sigaction ours;
    set_handler(SIGSEGV, leave_fault);
    for (int round = 0; round < 3; round++) {
        bed_open(&bed, &none);
        aee_context context = make(&bed, "later", 10 * SECOND);
        expect_crash(&bed, context, "null pointer");
        assert_int_equal(sigaction(SIGSEGV, NULL, &ours), 0);
        if (round == 0) {
            below = ours.sa_sigaction;
            set_handler(SIGSEGV, ask_below);
        }
        asked = 0;
        expect_crash(&bed, context, "null pointer");
        assert_int_equal(asked, 0);
        fault_here();
        assert_int_equal(caught, SIGSEGV);
        assert_int_equal(asked, 1);
        bed_close(&bed);
        assert_ptr_equal(handler_of(SIGSEGV), (void *)ask_below);
        fault_here();
        assert_int_equal(caught, SIGSEGV);
    }
    set_handler(SIGSEGV, leave_fault);
}

/* The engine's own faults kill it as they always did. */
static void default_actions_stay(void **state)
{
    (void)state;
    for (int i = 0; i < FAULTS; i++) {
        pid_t child = fork();
        if (child == 0) {
            aee_engine *engine;
            for (int k = 0; k < FAULTS; k++) {
                (void)signal(faults[k], SIG_DFL);
            }
            if (aee_engine_create(&none, &engine, NULL) != AEE_OK) {
                _exit(1);
            }
            if (faults[i] == SIGSEGV) {
                *nowhere = 1;
            } else if (faults[i] == SIGTRAP) {
                __asm__ volatile("int3");
            } else if (faults[i] == SIGILL) {
                __asm__ volatile("ud2");
            } else {
                (void)raise(faults[i]);
            }
            _exit(2);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), faults[i]);
    }
}

/* ---- The thread ------------------------------------------------------------------------------- */

struct thread_state {
    uint64_t fs;
    uint64_t gs;
    sigset_t mask;
    stack_t stack;
    uint32_t mxcsr;
    uint16_t control_word;
};

static struct thread_state look_at_thread(void)
{
    struct thread_state now;
    memset(&now, 0, sizeof now);
    (void)syscall(SYS_arch_prctl, ARCH_GET_FS, &now.fs);
    (void)syscall(SYS_arch_prctl, ARCH_GET_GS, &now.gs);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &now.mask);
    (void)sigaltstack(NULL, &now.stack);
    __asm__ volatile("stmxcsr %0" : "=m"(now.mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(now.control_word));
    return now;
}

static void set_rounding(uint32_t mxcsr, uint16_t control_word)
{
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
    __asm__ volatile("fldcw %0" ::"m"(control_word));
}

static void expect_same_thread(const struct thread_state *before)
{
    struct thread_state now = look_at_thread();
    now.mxcsr &= ~0x3fu; /* sticky flags */
    assert_memory_equal(&now, before, sizeof now);
}

static _Atomic int signals_seen;

static void count_signal(int signal)
{
    (void)signal;
    of_thread++;
    errno = EBUSY;
    (void)atomic_fetch_add(&signals_seen, 1);
}

static void the_thread_keeps_what_it_has(void **state)
{
    static uint8_t signal_stack[65536];
    const stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
    struct bed *bed = *state;
    stack_t old;
    aee_context context = make(bed, "guest", 20 * MS * scaled(1));
    assert_int_equal(sigaltstack(&stack, &old), 0);
    set_rounding(0x7f80, 0x27f); /* towards zero; double precision */
    struct thread_state before = look_at_thread();
    of_thread = 4711;
    errno = ENOTTY;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(value2(bed, context, "blend", i, 0, 2),
                         value2(bed, context, "blend", i, 0, 2));
    }
    assert_int_equal(errno, ENOTTY);
    expect_same_thread(&before);
    for (int i = 0; i < 5; i++) {
        expect_crash(bed, context, "null pointer");
        assert_int_equal(call2(bed, context, "hang", 1, 0, 1, NULL), AEE_ERR_HUNG);
        come_back(bed, context);
        expect_same_thread(&before);
    }
    assert_int_equal(of_thread, 4711);
    set_rounding(0x1f80, 0x37f);
    assert_int_equal(sigaltstack(&old, NULL), 0);
    finish(bed, context);
}

struct caller {
    struct bed *bed;
    aee_context context;
    const char *function;
    int64_t args[2];
    aee_result result;
    int64_t value;
    int seen; /* of_thread in the end */
    _Atomic int begun;
};

static void *call_once(void *user)
{
    struct caller *caller = user;
    aee_error error;
    aee_function function;
    of_thread = 0;
    caller->result = aee_find_function(caller->bed->engine, caller->context, caller->function,
                                       &function, &error);
    atomic_store(&caller->begun, 1);
    if (caller->result == AEE_OK) {
        caller->result = aee_call_i64(caller->bed->engine, caller->context, function, caller->args,
                                      2, &caller->value, &error);
    }
    caller->seen = of_thread;
    return NULL;
}

/* Signals of the engine wait until its thread is itself again. */
static void signals_of_the_engine_wait(void **state)
{
    struct bed *bed = *state;
    struct sigaction action = {.sa_handler = count_signal};
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    atomic_store(&signals_seen, 0);
    struct caller caller = {.bed = bed,
                            .context = make(bed, "slow", 10 * SECOND),
                            .function = "spin_for",
                            .args = {2000000, 5}};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, call_once, &caller), 0);
    while (!atomic_load(&caller.begun)) {
    }
    for (int i = 0; i < 20; i++) {
        aee__sys_sleep(MS);
        (void)pthread_kill(thread, SIGUSR1);
    }
    (void)pthread_join(thread, NULL);
    assert_int_equal(caller.result, AEE_OK);
    assert_int_equal(caller.value, 5);
    assert_int_equal(caller.seen, atomic_load(&signals_seen));
    assert_true(caller.seen > 0);
    finish(bed, caller.context);
}

/* ---- The window ------------------------------------------------------------------------------- */

static void contexts_take_turns(void **state)
{
    struct bed *bed = *state;
    aee_context contexts[3];
    for (int i = 0; i < 3; i++) {
        contexts[i] = make(bed, "turns", 10 * SECOND);
    }
    for (int64_t n = 1; n < 200; n++) {
        for (int i = 0; i < 3; i++) {
            assert_int_equal(value0(bed, contexts[i], "count"), n);
        }
        if (n % 50 == 0) { /* nobody notices */
            expect_crash(bed, make(bed, "crasher", 10 * SECOND), "null pointer");
        }
    }
    for (int i = 0; i < 3; i++) {
        finish(bed, contexts[i]);
    }
}

/* Stopped in the middle and continued, perhaps many times. */
static void long_calls_share_the_window(void **state)
{
    enum { CALLERS = 4 };
    struct bed *bed = *state;
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.bed = bed,
                                     .context = make(bed, "sharer", 60 * SECOND),
                                     .function = "spin_for",
                                     .args = {2000000, 1000 + i}};
    }
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, call_once, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].result, AEE_OK);
        assert_int_equal(callers[i].value, 1000 + i);
        finish(bed, callers[i].context);
    }
}

/* An endless call does not keep the others out. */
static void nobody_keeps_the_window(void **state)
{
    struct bed *bed = *state;
    aee_context other = make(bed, "other", 2 * SECOND * scaled(1));
    struct caller caller = {.bed = bed,
                            .context = make(bed, "endless", 5 * SECOND * scaled(1)),
                            .function = "spin_for",
                            .args = {INT64_MAX, 0}};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, call_once, &caller), 0);
    while (!atomic_load(&caller.begun)) {
    }
    for (int64_t n = 1; n <= 20; n++) {
        aee__sys_sleep(MS);
        assert_int_equal(value0(bed, other, "count"), n);
    }
    finish(bed, caller.context); /* ends the call */
    (void)pthread_join(thread, NULL);
    assert_int_equal(caller.result, AEE_ERR_STOPPED);
    finish(bed, other);
}

static aee_context asked_context;

static aee_result ask_other(void *user, aee_host_call *call)
{
    struct bed *bed = user;
    call->result = value2(bed, asked_context, "blend", call->args[0], call->args[1], 2);
    return AEE_OK;
}

/* A host function calls another context, whose memory comes in between. */
static void contexts_ask_each_other(void **state)
{
    struct bed *bed = *state;
    aee_context asker = make(bed, "asker", 10 * SECOND);
    asked_context = make(bed, "asked", 10 * SECOND);
    ASSERT_OK(bed,
              aee_register_host_function(bed->engine, "host_add", ask_other, bed, &bed->error));
    ASSERT_OK(bed, aee_grant_host_function(bed->engine, asker, "host_add", &bed->error));
    for (int64_t i = 0; i < 100; i++) {
        assert_int_equal(value2(bed, asker, "ask", i, 3, 2),
                         value2(bed, asked_context, "blend", i, 3, 2));
    }
    finish(bed, asker);
    finish(bed, asked_context);
}

/* While the parent's lanes run, at any instant. */
static void children_have_engines_of_their_own(void **state)
{
    struct bed *bed = *state;
    struct caller caller = {.bed = bed,
                            .context = make(bed, "busy", 60 * SECOND),
                            .function = "spin_for",
                            .args = {4000000, 5}};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, call_once, &caller), 0);
    aee_context second = make(bed, "second", 10 * SECOND);
    for (int i = 0; i < 10; i++) {
        (void)value0(bed, second, "count");
        pid_t child = fork();
        if (child == 0) {
            struct bed own;
            bed_open(&own, &none);
            aee_context context = make(&own, "child", 10 * SECOND);
            bool good = value0(&own, context, "count") == 1;
            expect_crash(&own, context, "null pointer");
            bed_close(&own);
            _exit(good ? 0 : 1);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    (void)pthread_join(thread, NULL);
    assert_int_equal(caller.result, AEE_OK);
    finish(bed, second);
}

/* ---- Refusals --------------------------------------------------------------------------------- */

static void expect_refusal(const char *words)
{
    aee_engine *engine;
    aee_error error;
    assert_int_equal(aee_engine_create(&none, &engine, &error), AEE_ERR_NO_BACKEND);
    assert_null(engine);
    if (!strstr(error.text, words)) {
        fail_msg("\"%s\" does not say \"%s\"", error.text, words);
    }
}

static void taken_addresses_are_told(void **state)
{
    (void)state;
    static const uint64_t places[] = {AEE_GVA_IMAGE, AEE_GVA_HEAP + (1 << 20), AEE_GVA_REGIONS};
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        void *page = (void *)(uintptr_t)places[i]; // NOLINT(performance-no-int-to-ptr)
        assert_ptr_equal(mmap(page, 4096, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
                         page);
        *(volatile int *)page = 5;
        expect_refusal("where components lie");
        assert_int_equal(*(volatile int *)page, 5);
        assert_int_equal(munmap(page, 4096), 0);
    }
    struct bed bed; /* nothing is left of the attempts */
    bed_open(&bed, &none);
    bed_close(&bed);
}

static const char *failing;
static _Atomic int until;

static int fail_call(const char *name)
{
    return strcmp(name, failing) == 0 && atomic_fetch_sub(&until, 1) == 1 ? ENOMEM : 0;
}

/* Each call in turn, until the engine comes up; then again without. */
static void failing_calls_leave_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {"mmap", "mprotect", "dup", "sigaltstack", "memfd_create"};
    void *before = handler_of(SIGSEGV);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        int refused = 0;
        for (int nth = 1;; nth++) {
            aee_engine *engine;
            aee_error error;
            failing = names[i];
            atomic_store(&until, nth);
            aee__sys_fault = fail_call;
            aee_result result = aee_engine_create(&none, &engine, &error);
            aee__sys_fault = NULL;
            aee_engine_destroy(engine);
            assert_ptr_equal(handler_of(SIGSEGV), before);
            if (atomic_load(&until) > 0) {
                assert_int_equal(result, AEE_OK);
                break;
            }
            refused += result != AEE_OK;
        }
        assert_true(refused > 0);
    }
}

static void nobody_gets_it_unasked(void **state)
{
    (void)state;
    aee_engine *engine;
    aee_probe_report report;
    void *before = handler_of(SIGSEGV);
    assert_int_equal(unsetenv("AEE_FORCE_LEVEL"), 0);
    assert_int_equal(aee_probe(&report, NULL), AEE_OK);
    assert_int_not_equal(report.level, AEE_LEVEL_NONE);
    assert_int_equal(report.backends[report.backend_count - 1].level, AEE_LEVEL_NONE);
    assert_true(report.backends[report.backend_count - 1].usable);
    assert_ptr_equal(handler_of(SIGSEGV), before);
    if (aee_engine_create(NULL, &engine, NULL) == AEE_OK) {
        aee_stats stats;
        assert_int_equal(aee_get_stats(engine, &stats, NULL), AEE_OK);
        assert_true(stats.level > AEE_LEVEL_NONE);
        aee_engine_destroy(engine);
    }
    assert_ptr_equal(handler_of(SIGSEGV), before);
}

static int set_up(void **state)
{
    static struct bed bed;
    bed_open(&bed, &none);
    *state = &bed;
    return 0;
}

static int tear_down(void **state)
{
    bed_close(*state);
    return 0;
}

int main(void)
{
    aee_engine *engine;
    aee_error error;
    (void)unsetenv("AEE_FORCE_LEVEL");
    if (aee_engine_create(&none, &engine, &error) != AEE_OK) {
        printf("SKIP: %s\n", error.text);
        return 77;
    }
    aee_engine_destroy(engine);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handlers_are_chained_and_gone),
        cmocka_unit_test(handlers_of_others_may_come_later),
        cmocka_unit_test(default_actions_stay),
        cmocka_unit_test_setup_teardown(the_thread_keeps_what_it_has, set_up, tear_down),
        cmocka_unit_test_setup_teardown(signals_of_the_engine_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(contexts_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_calls_share_the_window, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_keeps_the_window, set_up, tear_down),
        cmocka_unit_test_setup_teardown(contexts_ask_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(children_have_engines_of_their_own, set_up, tear_down),
        cmocka_unit_test(taken_addresses_are_told),
        cmocka_unit_test(failing_calls_leave_nothing),
        cmocka_unit_test(nobody_gets_it_unasked),
    };
    int failed = cmocka_run_group_tests_name("level none", tests, NULL, NULL);
    assert_int_equal(setenv("AEE_NONE_WITHOUT_FSGSBASE", "1", 1), 0);
    failed += cmocka_run_group_tests_name("level none without FSGSBASE", tests, NULL, NULL);
    return failed != 0;
}
