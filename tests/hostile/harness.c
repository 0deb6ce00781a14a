#include "hostile/harness.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "level.h"

enum { WORKERS = 4, SIGNALS = 65 };
#define GENEROUS_NS (5000 * MS)

static struct hostile the_hostile;
static const struct hostile_program *the_program;

/* ---- Small helpers ------------------------------------------------------------------------ */

uint64_t hostile_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * MS + (uint64_t)now.tv_nsec;
}

void hostile_sleep_ns(uint64_t ns)
{
    struct timespec delay = {.tv_sec = (time_t)(ns / (1000 * MS)),
                             .tv_nsec = (long)(ns % (1000 * MS))};
    (void)nanosleep(&delay, NULL);
}

uint64_t hostile_scale(void)
{
    const char *text = getenv("AEE_TEST_TIMEOUT_SCALE");
    unsigned long scale = text ? strtoul(text, NULL, 10) : 1;
    return scale > 0 ? scale : 1;
}

bool hostile_wait(bool (*holds)(void *user), void *user, uint64_t timeout_ns)
{
    uint64_t end = hostile_now_ns() + timeout_ns * hostile_scale();
    while (!holds(user)) {
        if (hostile_now_ns() > end) {
            return false;
        }
        hostile_sleep_ns(MS / 5);
    }
    return true;
}

const char *hostile_image_path(const char *image, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/%s", AEE_COMPONENT_DIR, image);
    if (access(path, R_OK) != 0) {
        (void)snprintf(path, size, "%s/%s", AEE_HOSTILE_DIR, image);
    }
    return path;
}

/* ---- What this processor traps ------------------------------------------------------------ */

static void divide_by_zero(void)
{
    const unsigned divide_unmasked = 0x1f80 & ~0x200u; /* SDM vol. 1, 10.2.3: MXCSR */
    __asm__ volatile("ldmxcsr %0; xorps %%xmm0, %%xmm0; movl $1, %%eax; cvtsi2sd %%eax, %%xmm1; "
                     "divsd %%xmm0, %%xmm1" ::"m"(divide_unmasked)
                     : "eax", "xmm0", "xmm1");
}

static void load_reserved_bits(void)
{
    const unsigned all_ones = UINT32_MAX;
    __asm__ volatile("ldmxcsr %0" ::"m"(all_ones));
}

static void read_unaligned(void)
{
    const uint64_t data[2] = {0};
    __asm__ volatile("subq $128, %%rsp; pushfq; orq $0x40000, (%%rsp); popfq; movl 1(%0), %%eax; "
                     "pushfq; andq $~0x40000, (%%rsp); popfq; addq $128, %%rsp" ::"r"(data)
                     : "eax", "memory", "cc");
}

/* Whether the child is ended by a signal. */
static bool traps(void (*instructions)(void))
{
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGFPE, SIG_DFL); /* cmocka has handlers */
        (void)signal(SIGSEGV, SIG_DFL);
        (void)signal(SIGBUS, SIG_DFL);
        instructions();
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status);
}

bool hostile_traps_sse_divide(void)
{
    return traps(divide_by_zero);
}

bool hostile_traps_sse_reserved(void)
{
    return traps(load_reserved_bits);
}

bool hostile_traps_unaligned(void)
{
    return traps(read_unaligned);
}

/* ---- The bystander's thread --------------------------------------------------------------- */

static pthread_t pinger;
static _Atomic bool pinger_stop;
static _Atomic uint64_t pings;
static _Atomic uint64_t ping_failures;

static bool ping(int64_t number)
{
    const int64_t args[2] = {number, 7};
    int64_t sum = 0;
    return aee_call_i64(the_hostile.engine, the_hostile.bystander, the_hostile.bystander_add, args,
                        2, &sum, NULL) == AEE_OK &&
           sum == number + 7;
}

static void *keep_pinging(void *unused)
{
    (void)unused;
    for (int64_t number = 0; !atomic_load(&pinger_stop); number++) {
        if (ping(number)) {
            (void)atomic_fetch_add(&pings, 1);
        } else {
            (void)atomic_fetch_add(&ping_failures, 1);
        }
        hostile_sleep_ns(MS);
    }
    return NULL;
}

uint64_t hostile_pings(void)
{
    return atomic_load(&pings);
}

void hostile_expect_bystander(struct hostile *hostile)
{
    const int64_t args[2] = {hostile_now_ns() & 0xffff, 11};
    int64_t sum = 0;
    aee_error error;
    if (aee_call_i64(hostile->engine, hostile->bystander, hostile->bystander_add, args, 2, &sum,
                     &error) != AEE_OK) {
        fail_msg("the bystander does not answer: %s", error.text);
    }
    assert_int_equal(sum, args[0] + 11);
    assert_int_equal(atomic_load(&ping_failures), 0);
}

/* ---- What must not change in the process -------------------------------------------------- */

struct process_state {
    sigset_t mask;
    sigset_t pending;
    struct sigaction actions[SIGNALS];
    int descriptors;
};

int hostile_descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder)) {
        count++;
    }
    if (folder) {
        (void)closedir(folder);
    }
    return count;
}

static struct process_state first; /* before there was an engine */

static void look_at_signals(struct process_state *state)
{
    memset(state, 0, sizeof *state);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &state->mask);
    (void)sigpending(&state->pending);
    for (int signal = 1; signal < SIGNALS; signal++) {
        (void)sigaction(signal, NULL, &state->actions[signal]);
    }
}

static bool pool_is_full(void *user)
{
    aee_stats stats;
    (void)user;
    return aee_get_stats(the_hostile.engine, &stats, NULL) == AEE_OK &&
           stats.pool_ready == the_hostile.pool_size;
}

static void look_at_process(struct process_state *state)
{
    look_at_signals(state);
    assert_true(hostile_wait(pool_is_full, NULL, 10000 * MS));
    state->descriptors = hostile_descriptors();
}

static bool descriptors_are_back(void *user)
{
    const struct process_state *before = user;
    return pool_is_full(NULL) && hostile_descriptors() <= before->descriptors;
}

/* Level none has handlers of faults and of the kick. */
static bool may_have_handler(int signal)
{
    return hostile_level() == AEE_LEVEL_NONE &&
           (signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL ||
            signal == SIGTRAP || signal >= SIGRTMIN);
}

/* cmocka has handlers of its own, so only the engine's creation is compared with the beginning. */
static bool engine_left_signals_alone(void)
{
    struct process_state now;
    look_at_signals(&now);
    bool same = true;
    for (int signal = 1; signal < SIGNALS; signal++) {
        same = same &&
               (now.actions[signal].sa_handler == first.actions[signal].sa_handler ||
                may_have_handler(signal)) &&
               sigismember(&now.mask, signal) == sigismember(&first.mask, signal);
    }
    return same;
}

static void expect_same_process(struct process_state *before)
{
    struct process_state after;
    look_at_process(&after);
    for (int signal = 1; signal < SIGNALS; signal++) {
        assert_int_equal(sigismember(&after.mask, signal), sigismember(&first.mask, signal));
        assert_int_equal(sigismember(&after.pending, signal), sigismember(&first.pending, signal));
        if (may_have_handler(signal)) {
            continue;
        }
        assert_ptr_equal(after.actions[signal].sa_handler, before->actions[signal].sa_handler);
        assert_int_equal(after.actions[signal].sa_flags, before->actions[signal].sa_flags);
    }
    if (!hostile_wait(descriptors_are_back, before, 5000 * MS)) {
        fail_msg("%d descriptors before, %d after", before->descriptors, hostile_descriptors());
    }
}

/* ---- Offenders ---------------------------------------------------------------------------- */

struct offender hostile_offender_of(struct hostile *hostile, const char *image, aee_call_mode mode,
                                    const aee_limits *limits)
{
    struct offender offender = {.mode = mode};
    aee_context_desc desc = {.struct_size = sizeof desc, .name = "offender", .call_mode = mode};
    if (limits) {
        desc.limits = *limits;
    }
    const uint64_t budget = desc.limits.call_budget_ns;
    desc.limits.call_budget_ns = GENEROUS_NS * hostile_scale(); /* for the load: it is honest */
    desc.limits.restarts = desc.limits.restarts ? desc.limits.restarts : 60;
    aee_error error;
    if (aee_context_create(hostile->engine, &desc, &offender.context, &error) != AEE_OK) {
        fail_msg("%s", error.text);
    }
    char path[512];
    if (image && aee_load_file(hostile->engine, offender.context,
                               hostile_image_path(image, path, sizeof path), &error) != AEE_OK) {
        fail_msg("%s", error.text);
    }
    const aee_limits tight = {.call_budget_ns = budget};
    if (budget > 0 && aee_set_limits(hostile->engine, offender.context, &tight, &error) != AEE_OK) {
        fail_msg("%s", error.text);
    }
    return offender;
}

struct offender hostile_offender(struct hostile *hostile, aee_call_mode mode,
                                 const aee_limits *limits)
{
    return hostile_offender_of(hostile, hostile->image, mode, limits);
}

void hostile_destroy(struct hostile *hostile, struct offender offender)
{
    aee_error error;
    if (aee_destroy(hostile->engine, offender.context, &error) != AEE_OK) {
        fail_msg("%s", error.text);
    }
}

aee_function hostile_find(struct hostile *hostile, struct offender offender, const char *name)
{
    aee_function function;
    aee_error error;
    if (aee_find_function(hostile->engine, offender.context, name, &function, &error) != AEE_OK) {
        fail_msg("%s", error.text);
    }
    return function;
}

aee_result hostile_call(struct hostile *hostile, struct offender offender, const char *name,
                        const int64_t *args, uint32_t count, int64_t *value)
{
    aee_function function = hostile_find(hostile, offender, name);
    aee_error error;
    aee_result result =
        aee_call_i64(hostile->engine, offender.context, function, args, count, value, &error);
    assert_int_equal(error.code, result);
    return result;
}

aee_result hostile_call1(struct hostile *hostile, struct offender offender, const char *name,
                         int64_t arg, int64_t *value)
{
    return hostile_call(hostile, offender, name, &arg, 1, value);
}

int64_t hostile_ask(struct hostile *hostile, struct offender offender, const char *name,
                    int64_t arg)
{
    int64_t value = 0;
    aee_error error;
    aee_result result =
        aee_call_i64(hostile->engine, offender.context, hostile_find(hostile, offender, name), &arg,
                     1, &value, &error);
    if (result != AEE_OK) {
        aee_crash crash = {.text = ""};
        (void)aee_last_crash(hostile->engine, offender.context, &crash, NULL);
        fail_msg("%s: %s; last crash: %s", name, error.text, crash.text);
    }
    return value;
}

aee_crash hostile_crash(struct hostile *hostile, struct offender offender)
{
    aee_crash crash;
    aee_error error;
    if (aee_last_crash(hostile->engine, offender.context, &crash, &error) != AEE_OK) {
        fail_msg("%s", error.text);
    }
    return crash;
}

aee_context_info hostile_info(struct hostile *hostile, struct offender offender)
{
    aee_context_info info;
    assert_int_equal(aee_get_context_info(hostile->engine, offender.context, &info, NULL), AEE_OK);
    return info;
}

/* ---- Expectations ------------------------------------------------------------------------- */

aee_level hostile_level(void)
{
    aee_stats stats;
    assert_int_equal(aee_get_stats(the_hostile.engine, &stats, NULL), AEE_OK);
    return stats.level;
}

/* A process is told of the same crimes in other words: memory that was taken away is a page fault
 * there, an OUT to the wrong place a general protection fault, and INT 0x80 a system call. */
static bool is_same_crime(const aee_crash *crash, const struct hostile_end *end)
{
    enum { GENERAL_PROTECTION = 13, PAGE_FAULT = 14 };
    if (hostile_level() == AEE_LEVEL_FULL) {
        return false;
    }
    return crash->cause == AEE_CRASH_EXCEPTION
               ? (end->cause == AEE_CRASH_MEMORY && crash->vector == PAGE_FAULT) ||
                     ((end->cause == AEE_CRASH_PROTOCOL || end->cause == AEE_CRASH_SYSCALL) &&
                      crash->vector == GENERAL_PROTECTION)
               : crash->cause == AEE_CRASH_SYSCALL && end->cause == AEE_CRASH_EXCEPTION &&
                     (end->vectors & VECTOR(GENERAL_PROTECTION));
}

static void expect_report(const aee_crash *crash, const char *called, const struct hostile_end *end)
{
    bool same = end->cause == AEE_CRASH_NONE || crash->cause == end->cause;
    if (!same && !is_same_crime(crash, end)) {
        fail_msg("cause %d instead of %d: %s", crash->cause, end->cause, crash->text);
    }
    if (end->vectors && crash->cause == AEE_CRASH_EXCEPTION &&
        (crash->vector > 31 || !(end->vectors & VECTOR(crash->vector)))) {
        fail_msg("vector %u is not among 0x%llx: %s", crash->vector,
                 (unsigned long long)end->vectors, crash->text);
    }
    if (end->has_address && crash->fault_address != end->address) {
        fail_msg("address 0x%llx instead of 0x%llx: %s", (unsigned long long)crash->fault_address,
                 (unsigned long long)end->address, crash->text);
    }
    if (end->text && same && !strstr(crash->text, end->text)) {
        fail_msg("no \"%s\" in: %s", end->text, crash->text);
    }
    bool any = end->function && strcmp(end->function, "*") == 0;
    if (end->function &&
        (any ? crash->function[0] == '\0' : strcmp(crash->function, end->function) != 0)) {
        fail_msg("function \"%s\" instead of \"%s\": %s", crash->function, end->function,
                 crash->text);
    }
    if (called) {
        assert_string_equal(crash->called, called);
    }
    assert_non_null(strstr(crash->text, "context \"offender\""));
}

void hostile_expect(struct hostile *hostile, struct offender offender, aee_result result,
                    const char *called, const struct hostile_end *end)
{
    unsigned how = result == AEE_OK            ? ENDS_RETURN
                   : result == AEE_ERR_CRASHED ? ENDS_CRASH
                   : result == AEE_ERR_HUNG    ? ENDS_HANG
                                               : 0;
    aee_crash crash = {.text = "never crashed"};
    (void)aee_last_crash(hostile->engine, offender.context, &crash, NULL);
    if (!(how & end->ends)) {
        fail_msg("ended with %s: %s", aee_result_name(result), crash.text);
    }
    if (how == ENDS_HANG) {
        assert_int_equal(crash.cause, AEE_CRASH_HUNG);
        assert_non_null(strstr(crash.text, "call budget"));
    } else if (how == ENDS_CRASH) {
        expect_report(&crash, called, end);
    }
}

void hostile_expect_recovery(struct hostile *hostile, struct offender offender)
{
    aee_error error;
    aee_result result = AEE_OK;
    /* A lane that goes on by itself may still bring the instance down after the call: try again. */
    for (int tries = 0; tries < 20; tries++) {
        if (aee_wait_ready(hostile->engine, offender.context, 10000 * MS * hostile_scale(),
                           &error) != AEE_OK) {
            fail_msg("%s", error.text);
        }
        int64_t value = 0;
        result = hostile_call1(hostile, offender, "answer", 41, &value);
        if (result == AEE_OK && value == 42) {
            return;
        }
        if (result == AEE_OK) {
            fail_msg("the offender answers %lld", (long long)value);
        }
    }
    fail_msg("the offender does not come back: %s", aee_result_name(result));
}

/* ---- Regions ------------------------------------------------------------------------------ */

aee_region hostile_region(struct hostile *hostile, uint64_t size, uint32_t flags)
{
    aee_region_desc desc = {
        .struct_size = sizeof desc, .name = "loot", .flags = flags, .size_bytes = size};
    aee_region region;
    aee_error error;
    if (aee_region_create(hostile->engine, &desc, &region, &error) != AEE_OK) {
        fail_msg("%s", error.text);
    }
    return region;
}

uint64_t hostile_map(struct hostile *hostile, struct offender offender, aee_region region,
                     aee_access access)
{
    uint64_t address = 0;
    aee_error error;
    if (aee_region_map(hostile->engine, offender.context, region, access, &address, &error) !=
        AEE_OK) {
        fail_msg("%s", error.text);
    }
    return address;
}

uint8_t *hostile_region_data(struct hostile *hostile, aee_region region)
{
    void *data = NULL;
    assert_int_equal(aee_region_data(hostile->engine, region, &data, NULL, NULL), AEE_OK);
    return data;
}

/* ---- Running a case ----------------------------------------------------------------------- */

struct run {
    const struct hostile_case *test;
    aee_call_mode mode;
    char name[160];
};

static void attack(struct hostile *hostile, const struct hostile_case *test, aee_call_mode mode)
{
    bool hangs = test->end.ends == ENDS_HANG;
    const aee_limits tight = {.call_budget_ns = test->budget_ns ? test->budget_ns
                                                : hangs         ? 20 * MS
                                                                : 0};
    struct offender offender = hostile_offender(hostile, mode, NULL);
    aee_error error;
    assert_int_equal(hostile_ask(hostile, offender, "answer", 1), 2); /* it is honest so far */
    if (tight.call_budget_ns > 0) {
        assert_int_equal(aee_set_limits(hostile->engine, offender.context, &tight, &error), AEE_OK);
    }
    uint64_t before = hostile_pings();
    uint64_t begin = hostile_now_ns();
    int64_t value = 0;
    aee_result result =
        hostile_call(hostile, offender, test->call, test->args, test->count, &value);
    if (hostile_now_ns() - begin > 15 * MS) {
        assert_true(hostile_pings() > before); /* others went on meanwhile */
    }
    hostile_expect_bystander(hostile);
    hostile_expect(hostile, offender, result, test->call, &test->end);
    if (result == AEE_OK && value != 0) {
        fail_msg("the attack got through: %lld", (long long)value);
    }
    hostile_expect_recovery(hostile, offender);
    aee_context_info info = hostile_info(hostile, offender);
    if (result != AEE_OK) {
        assert_true(info.restarts >= 1);
        assert_true(info.crashes + info.hangs >= 1);
    }
    hostile_destroy(hostile, offender);
}

static void run_case(void **state)
{
    struct run *run = *state;
    struct process_state before;
    if (run->test->can_be && !run->test->can_be()) {
        print_message("SKIP: this processor does not do %s\n", run->test->name);
        skip();
    }
    look_at_process(&before);
    hostile_expect_bystander(&the_hostile);
    if (run->test->script) {
        run->test->script(&the_hostile, run->mode);
    } else {
        attack(&the_hostile, run->test, run->mode);
    }
    hostile_expect_bystander(&the_hostile);
    expect_same_process(&before);
}

static void skip_case(void **state)
{
    struct run *run = *state;
    if (hostile_level() < run->test->least) {
        print_message("level %s does not promise this\n", aee_level_name(hostile_level()));
        skip();
    }
    print_message("KNOWN BUG, not run without AEE_HOSTILE_KNOWN_BUGS=1: %s\n",
                  run->test->known_bug);
    skip();
}

/* ---- Programs ----------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    aee_error error;
    aee_context_desc desc = {
        .struct_size = sizeof desc, .name = "bystander", .limits = {.call_budget_ns = 10000 * MS}};
    char path[512];
    if (aee_context_create(the_hostile.engine, &desc, &the_hostile.bystander, &error) != AEE_OK ||
        aee_load_file(the_hostile.engine, the_hostile.bystander,
                      hostile_image_path("minimal.elf", path, sizeof path), &error) != AEE_OK ||
        aee_find_function(the_hostile.engine, the_hostile.bystander, "add",
                          &the_hostile.bystander_add, &error) != AEE_OK) {
        print_error("%s\n", error.text);
        return -1;
    }
    return pthread_create(&pinger, NULL, keep_pinging, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    atomic_store(&pinger_stop, true);
    (void)pthread_join(pinger, NULL);
    aee_context_info info;
    if (aee_get_context_info(the_hostile.engine, the_hostile.bystander, &info, NULL) != AEE_OK ||
        info.crashes + info.hangs + info.restarts + info.failed_calls != 0 ||
        atomic_load(&ping_failures) != 0) {
        print_error("the bystander was disturbed\n");
        return -1;
    }
    aee_engine_destroy(the_hostile.engine);
    return 0;
}

/* One cmocka test for each case and mode. */
static size_t make_tests(const struct hostile_program *program, const char *filter,
                         struct run *runs, struct CMUnitTest *tests)
{
    static const aee_call_mode both[2] = {AEE_CALL_DIRECT, AEE_CALL_RING};
    size_t made = 0;
    bool known = getenv("AEE_HOSTILE_KNOWN_BUGS") != NULL;
    for (size_t i = 0; i < program->count; i++) {
        const struct hostile_case *test = &program->cases[i];
        for (size_t m = 0; m < 2; m++) {
            if ((test->modes == MODES_DIRECT && m == 1) || (test->modes == MODES_RING && m == 0)) {
                continue;
            }
            struct run *run = &runs[made];
            *run = (struct run){.test = test, .mode = both[m]};
            (void)snprintf(run->name, sizeof run->name, "%s (%s)", test->name,
                           aee_call_mode_name(both[m]));
            if (filter && !strstr(run->name, filter)) {
                continue;
            }
            bool skipped = (test->known_bug && !known) || hostile_level() < test->least;
            tests[made++] =
                (struct CMUnitTest){run->name, skipped ? skip_case : run_case, NULL, NULL, run};
        }
    }
    return made;
}

static int make_engine(const struct hostile_program *program)
{
    aee_error error;
    aee_engine_desc desc = {.struct_size = sizeof desc,
                            .pool_size = program->pool_size ? program->pool_size : 2,
                            .worker_threads = WORKERS,
                            .log = program->log};
    the_hostile.image = program->image;
    the_hostile.pool_size = desc.pool_size;
    aee_result result = aee_engine_create(&desc, &the_hostile.engine, &error);
    if (result != AEE_OK) {
        (void)printf("%s\n", error.text);
        return 1;
    }
    if (!is_tested_level(the_hostile.engine)) {
        (void)printf("the engine has another level than AEE_FORCE_LEVEL\n");
        return 1;
    }
    if (!engine_left_signals_alone()) {
        (void)printf("creating the engine has changed a signal handler or the mask\n");
        return 1;
    }
    return 0;
}

int hostile_main(const struct hostile_program *program, int argc, char **argv)
{
    the_program = program;
    const int skip = skip_without_level();
    if (skip) {
        return skip;
    }
    if (program->prepare && program->prepare() != 0) {
        return 1;
    }
    look_at_signals(&first);
    int status = make_engine(program);
    struct run *runs = calloc(2 * program->count, sizeof *runs);
    struct CMUnitTest *tests = calloc(2 * program->count, sizeof *tests);
    if (status == 0 && runs && tests) {
        size_t count = make_tests(program, argc > 1 ? argv[1] : NULL, runs, tests);
        status = _cmocka_run_group_tests(program->name, tests, count, set_up, tear_down) != 0;
    }
    free(tests);
    free(runs);
    return status;
}
