/* test_limits.c: what runs out: contexts, descriptors, address space, threads. Each failure is an
 * error with its sentence, leaves nothing behind, and goes away with its cause. */
#include "hostile/harness.h"

#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Many contexts ------------------------------------------------------------------------ */

static void many(struct hostile *hostile, aee_call_mode mode, unsigned count)
{
    struct offender *offenders = calloc(count, sizeof *offenders);
    assert_non_null(offenders);
    for (unsigned i = 0; i < count; i++) {
        offenders[i] = hostile_offender_of(hostile, "minimal.elf", mode, NULL);
    }
    for (unsigned i = 0; i < count; i++) {
        const int64_t args[2] = {i, 3};
        int64_t sum = 0;
        assert_int_equal(hostile_call(hostile, offenders[i], "add", args, 2, &sum), AEE_OK);
        assert_int_equal(sum, i + 3);
    }
    hostile_expect_bystander(hostile);
    for (unsigned i = 0; i < count; i++) {
        hostile_destroy(hostile, offenders[i]);
    }
    free(offenders);
}

static void contexts_64(struct hostile *hostile, aee_call_mode mode)
{
    many(hostile, mode, 64);
}

static void contexts_500(struct hostile *hostile, aee_call_mode mode)
{
    struct rlimit old;
    (void)getrlimit(RLIMIT_NOFILE, &old);
    struct rlimit most = {old.rlim_max, old.rlim_max};
    (void)setrlimit(RLIMIT_NOFILE, &most);
    if (old.rlim_max < 4096) {
        print_message("    only %llu descriptors here: 150 contexts\n",
                      (unsigned long long)old.rlim_max);
    }
    many(hostile, mode, old.rlim_max < 4096 ? 150 : 500);
    (void)setrlimit(RLIMIT_NOFILE, &old);
}

/* Sixteen crash together; all come back. */
static void crashes_together(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offenders[16];
    for (size_t i = 0; i < COUNT_OF(offenders); i++) {
        offenders[i] = hostile_offender(hostile, mode, NULL);
    }
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT_OF(offenders); i++) {
            assert_int_equal(hostile_call1(hostile, offenders[i], "peek", 0, NULL),
                             AEE_ERR_CRASHED);
        }
        for (size_t i = 0; i < COUNT_OF(offenders); i++) {
            hostile_expect_recovery(hostile, offenders[i]);
        }
    }
    for (size_t i = 0; i < COUNT_OF(offenders); i++) {
        hostile_destroy(hostile, offenders[i]);
    }
}

static void context_limit(struct hostile *hostile, aee_call_mode mode)
{
    struct hostile small = *hostile;
    aee_engine_desc desc = {.struct_size = sizeof desc, .max_contexts = 4, .pool_size = 1};
    assert_int_equal(aee_engine_create(&desc, &small.engine, NULL), AEE_OK);
    struct offender four[4];
    for (unsigned i = 0; i < 4; i++) {
        four[i] = hostile_offender(&small, mode, NULL);
    }
    aee_context fifth = {1};
    aee_error error;
    assert_int_equal(aee_create_isolated_context(small.engine, "fifth", &fifth, &error),
                     AEE_ERR_LIMIT);
    assert_int_equal(fifth.id, 0);
    assert_non_null(strstr(error.text, "fifth"));
    hostile_destroy(&small, four[2]);
    four[2] = hostile_offender(&small, mode, NULL);
    for (unsigned i = 0; i < 4; i++) {
        hostile_expect_recovery(&small, four[i]);
    }
    aee_engine_destroy(small.engine);
}

/* ---- Limits of the process ---------------------------------------------------------------- */

/* One context from nothing to an answer; the first result that is not OK. */
static aee_result one_life(struct hostile *hostile, aee_call_mode mode, bool with_region,
                           aee_error *error)
{
    aee_context_desc desc = {.struct_size = sizeof desc, .name = "offender", .call_mode = mode};
    aee_context context = {0};
    aee_region region = {0};
    char path[512];
    memset(error, 0, sizeof *error);
    aee_result result = aee_context_create(hostile->engine, &desc, &context, error);
    if (result == AEE_OK) {
        result = aee_load_file(hostile->engine, context,
                               hostile_image_path("minimal.elf", path, sizeof path), error);
    }
    if (result == AEE_OK && with_region) {
        aee_region_desc loot = {.struct_size = sizeof loot, .name = "loot", .size_bytes = 4096};
        result = aee_region_create(hostile->engine, &loot, &region, error);
        if (result == AEE_OK) {
            result = aee_region_map(hostile->engine, context, region, AEE_ACCESS_READ, NULL, error);
        }
    }
    aee_function add = {0};
    const int64_t args[2] = {1, 2};
    int64_t sum = 0;
    if (result == AEE_OK) {
        result = aee_find_function(hostile->engine, context, "add", &add, error);
    }
    if (result == AEE_OK) {
        result = aee_call_i64(hostile->engine, context, add, args, 2, &sum, error);
        assert_true(result != AEE_OK || sum == 3);
    }
    assert_int_equal(aee_region_destroy(hostile->engine, region, NULL), AEE_OK);
    assert_int_equal(aee_destroy(hostile->engine, context, NULL), AEE_OK);
    return result;
}

static void expect_clean(aee_result result, const aee_error *error)
{
    if (result == AEE_OK) {
        return;
    }
    if ((result != AEE_ERR_SYSTEM && result != AEE_ERR_NO_MEMORY && result != AEE_ERR_LIMIT) ||
        error->code != result || strlen(error->text) < 10 || error->os_errno == 0) {
        fail_msg("%s, errno %d: %s", aee_result_name(result), error->os_errno, error->text);
    }
}

static void descriptor_limit(struct hostile *hostile, aee_call_mode mode)
{
    struct rlimit old;
    (void)getrlimit(RLIMIT_NOFILE, &old);
    unsigned failures = 0;
    /* The pool keeps two machines of two descriptors each; below that nothing can be had. */
    for (rlim_t spare = 0; spare < 12; spare++) {
        aee_error error;
        int next = dup(0);
        (void)close(next);
        const struct rlimit low = {(rlim_t)next + spare, old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        aee_result results[3];
        aee_error errors[3];
        for (unsigned i = 0; i < 3; i++) { /* more than the pool has */
            results[i] = one_life(hostile, mode, true, &errors[i]);
        }
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        for (unsigned i = 0; i < 3; i++) {
            expect_clean(results[i], &errors[i]);
            failures += results[i] != AEE_OK;
            assert_true(results[i] == AEE_OK || errors[i].os_errno == EMFILE);
        }
        hostile_expect_bystander(hostile);
        assert_int_equal(one_life(hostile, mode, true, &error), AEE_OK);
    }
    print_message("    %u of 36 lives failed\n", failures);
    assert_in_range(failures, 3, 35);
}

/* Descriptors run out when a crashed context is to be restarted: it comes back when there are some,
 * or is in quarantine, and then by hand. */
static void descriptor_limit_at_restart(struct hostile *hostile, aee_call_mode mode)
{
    struct rlimit old;
    (void)getrlimit(RLIMIT_NOFILE, &old);
    struct offender offender = hostile_offender(hostile, mode, NULL);
    struct offender second = hostile_offender(hostile, mode, NULL);
    const struct rlimit low = {3, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    aee_result crash = hostile_call1(hostile, offender, "peek", 0, NULL);
    aee_result other = hostile_call1(hostile, second, "answer", 1, NULL);
    aee_result wait = aee_wait_ready(hostile->engine, offender.context, 100 * MS, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(crash, AEE_ERR_CRASHED);
    assert_int_equal(other, AEE_OK);
    assert_true(wait == AEE_ERR_TIMED_OUT || wait == AEE_ERR_QUARANTINED);
    if (wait == AEE_ERR_QUARANTINED) {
        assert_int_equal(aee_restart(hostile->engine, offender.context, NULL), AEE_OK);
    }
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
    hostile_destroy(hostile, second);
}

static void engine_without_descriptors(struct hostile *hostile, aee_call_mode mode)
{
    (void)mode;
    struct rlimit old;
    (void)getrlimit(RLIMIT_NOFILE, &old);
    unsigned failures = 0;
    for (rlim_t spare = 0; spare < 6; spare++) {
        int next = dup(0);
        (void)close(next);
        const struct rlimit low = {(rlim_t)next + spare, old.rlim_max};
        aee_engine *engine = NULL;
        aee_error error;
        aee_engine_desc desc = {.struct_size = sizeof desc, .pool_size = 1};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        aee_result result = aee_engine_create(&desc, &engine, &error);
        aee_engine_destroy(engine);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        if (result != AEE_OK) {
            failures++;
            assert_null(engine);
            assert_true(result == AEE_ERR_NO_BACKEND || result == AEE_ERR_SYSTEM ||
                        result == AEE_ERR_LIMIT);
            assert_int_equal(error.os_errno, EMFILE);
        }
        hostile_expect_bystander(hostile);
    }
    assert_in_range(failures, 2, 6);
}

static uint64_t address_space_in_use(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%llu", &pages), 1);
    (void)fclose(file);
    return pages * 4096;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* Address space that suffices for less and less. */
static void address_space_limit(struct hostile *hostile, aee_call_mode mode)
{
    if (SANITIZED) {
        print_message("    sanitizers need the address space\n");
        skip();
    }
    struct rlimit old;
    unsigned failures = 0;
    (void)getrlimit(RLIMIT_AS, &old);
    uint64_t spares[] = {0,        MIB / 4,  MIB,      4 * MIB,   16 * MIB,
                         20 * MIB, 24 * MIB, 64 * MIB, 1024 * MIB};
    for (size_t i = 0; i < COUNT_OF(spares); i++) {
        aee_error error;
        const struct rlimit low = {address_space_in_use() + spares[i], old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_AS, &low), 0);
        aee_result result = one_life(hostile, mode, i % 2, &error);
        assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
        expect_clean(result, &error);
        failures += result != AEE_OK;
        hostile_expect_bystander(hostile);
        assert_int_equal(one_life(hostile, mode, true, &error), AEE_OK);
    }
    print_message("    %u of %zu lives failed\n", failures, COUNT_OF(spares));
    assert_in_range(failures, 2, COUNT_OF(spares));
}

/* ---- Threads ------------------------------------------------------------------------------ */

/* Becomes a user of whom there is no other process and for whom RLIMIT_NPROC holds, who may open
 * /dev/kvm nevertheless. */
static bool become_nobody(unsigned threads)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    const struct rlimit limit = {threads, threads};
    const uid_t nobody = 64321;
    data[0].effective = data[0].permitted = 1u << CAP_DAC_OVERRIDE;
    return setrlimit(RLIMIT_NPROC, &limit) == 0 && prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L) == 0 &&
           setresuid(nobody, nobody, nobody) == 0 && syscall(SYS_capset, &header, data) == 0;
}

enum { CHILD_OK = 0, CHILD_ERROR = 40, CHILD_UNCLEAN = 41, CHILD_CANNOT = 42, CHILD_WRONG = 43 };

static int live_with_threads(unsigned threads, aee_call_mode mode)
{
    struct hostile own = {.image = "minimal.elf"};
    aee_error error;
    aee_engine_desc desc = {.struct_size = sizeof desc, .pool_size = 1};
    if (!become_nobody(threads)) {
        return CHILD_CANNOT;
    }
    aee_result result = aee_engine_create(&desc, &own.engine, &error);
    if (result != AEE_OK) {
        print_message("    %u threads: %s\n", threads, error.text);
        return own.engine == NULL && strlen(error.text) > 10 ? CHILD_ERROR : CHILD_UNCLEAN;
    }
    result = one_life(&own, mode, true, &error);
    if (result != AEE_OK) {
        print_message("    %u threads: %s\n", threads, error.text);
    }
    aee_engine_destroy(own.engine);
    return result == AEE_OK         ? CHILD_OK
           : result == AEE_ERR_HUNG ? CHILD_WRONG /* the component was not even started */
                                    : CHILD_ERROR;
}

/* From no thread at all to enough. KVM itself may need one for each machine, which then does not
 * run; that is no fault of the component. */
static void thread_limit(struct hostile *hostile, aee_call_mode mode)
{
    (void)hostile;
    unsigned errors = 0;
    unsigned good = 0;
    for (unsigned threads = 1; threads <= 12; threads++) {
        pid_t child = fork();
        if (child == 0) {
            (void)alarm(30);
            _exit(live_with_threads(threads, mode));
        }
        int status = -1;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFEXITED(status)) {
            fail_msg("%u threads: signal %d", threads, WTERMSIG(status));
        }
        int code = WEXITSTATUS(status);
        if (code == CHILD_CANNOT) {
            print_message("    cannot become a user with a limit of threads\n");
            skip();
        }
        if (code != CHILD_OK && code != CHILD_ERROR) {
            fail_msg("%u threads: %d", threads, code);
        }
        errors += code == CHILD_ERROR;
        good += code == CHILD_OK;
    }
    assert_true(errors >= 1);
    assert_true(good >= 2);
}

static const struct hostile_case cases[] = {
    {.name = "64 contexts", .script = contexts_64},
    {.name = "500 contexts", .script = contexts_500},
    {.name = "sixteen contexts crash together", .script = crashes_together},
    {.name = "one context too many", .script = context_limit},
    {.name = "no descriptors in the middle of a creation", .script = descriptor_limit},
    {.name = "no descriptors for a restart", .script = descriptor_limit_at_restart},
    {.name = "no descriptors for an engine",
     .script = engine_without_descriptors,
     .modes = MODES_DIRECT},
    {.name = "no address space", .script = address_space_limit},
    {.name = "no threads", .script = thread_limit},
};

int main(int argc, char **argv)
{
    static const struct hostile_program program = {.name = "hostile_limits",
                                                   .image = "hostile_attacker.elf",
                                                   .cases = cases,
                                                   .count = COUNT_OF(cases)};
    return hostile_main(&program, argc, argv);
}
