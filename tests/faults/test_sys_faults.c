/* test_sys_faults.c: the scenario with the n-th call of each system call made to fail, with errno
 * values that the kernel gives: a clean error or a success, and nothing is left. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sys.h"
#include "cell_level.h"
#include "faults/scenario.h"

#define ALWAYS UINT_MAX

static struct scenario s;

static bool has_cells(void)
{
    return tested_level() == AEE_LEVEL_PROCESS || tested_level() == AEE_LEVEL_CONTAINER;
}

static const char *_Atomic faulty; /* name of the call that fails */
static _Atomic unsigned seen;      /* calls of it so far */
static _Atomic unsigned fail_at;
static _Atomic int fail_errno;

static int fail_one(const char *name)
{
    const char *wanted = atomic_load(&faulty);
    if (!wanted || strcmp(name, wanted) != 0) {
        return 0;
    }
    unsigned at = atomic_load(&fail_at);
    return atomic_fetch_add(&seen, 1) + 1 == at || at == ALWAYS ? atomic_load(&fail_errno) : 0;
}

static aee_result run_with(const char *name, unsigned n, int error)
{
    atomic_store(&seen, 0);
    atomic_store(&fail_at, n);
    atomic_store(&fail_errno, error);
    atomic_store(&faulty, name);
    s.ledger = (struct ledger){0};
    aee_result result = scenario_run(&s);
    atomic_store(&faulty, NULL);
    return result;
}

/* Every `stride`-th occurrence, until it is not reached any more. A name has up to four errnos. */
static void sweep(const char *name, const int *errors, unsigned stride, unsigned least)
{
    unsigned failed = 0;
    unsigned survived = 0;
    uint64_t begin = now_ns();
    assert_int_equal(run_with(NULL, 0, 0), AEE_OK);
    struct resources before = count_resources();
    for (unsigned n = 1, turn = 0;; n += stride, turn++) {
        int error = errors[turn % 4];
        aee_result result = run_with(name, n, error);
        const char *fault = scenario_fault(&s, &before);
        if (fault) {
            fail_msg("%s number %u with errno %d: %s after \"%s\" gave %s \"%s\"", name, n, error,
                     fault, s.step, aee_result_name(result), s.error.text);
        }
        if (atomic_load(&seen) < n) {
            if (result != AEE_OK) {
                fail_msg("without a fault: \"%s\" gave \"%s\"", s.step, s.error.text);
            }
            break;
        }
        failed += result != AEE_OK;
        survived += result == AEE_OK;
    }
    print_message("%s: %u occurrences, %u errors and %u successes in %llu ms\n", name,
                  atomic_load(&seen), failed, survived,
                  (unsigned long long)((now_ns() - begin) / MS));
    assert_true(failed >= least);
    assert_int_equal(run_with(NULL, 0, 0), AEE_OK); /* a retry without faults works */
    assert_null(scenario_fault(&s, &before));
}

static const int resources[4] = {ENOMEM, EMFILE, ENOMEM, EAGAIN};

static void test_open(void **state)
{
    (void)state;
    static const int errors[4] = {EMFILE, ENFILE, EACCES, ENOENT};
    sweep("open", errors, 1, 2);
}

static void test_memfd(void **state)
{
    (void)state;
    sweep("memfd_create", resources, 1, 3);
    sweep("ftruncate", resources, 1, 3);
}

static void test_mmap(void **state)
{
    (void)state;
    static const int errors[4] = {ENOMEM, EAGAIN, EINVAL, ENOMEM};
    sweep("mmap", errors, SANITIZED ? 5 : 1, SANITIZED ? 1 : 5);
}

static void test_mprotect_madvise(void **state)
{
    (void)state;
    static const int errors[4] = {ENOMEM, EINVAL, EACCES, EAGAIN};
    sweep("mprotect", errors, 1, 1);
    sweep("madvise", errors, SANITIZED ? 7 : 3, 1);
}

static void test_files(void **state)
{
    (void)state;
    static const int errors[4] = {EIO, EINTR, EISDIR, ENOMEM};
    static const int fatal[4] = {EIO, EBADF, EIO, EBADF};
    sweep("pread", errors, 1, 1);
    assert_int_equal(run_with("pread", 1, EINTR), AEE_OK); /* is tried again */
    sweep("fstat", fatal, 1, 1);
}

static void test_random(void **state)
{
    (void)state;
    static const int errors[4] = {EINTR, ENOSYS, EAGAIN, EINTR};
    sweep("getrandom", errors, 1, 3);
}

static void test_threads(void **state)
{
    (void)state;
    static const int errors[4] = {EAGAIN, EAGAIN, EPERM, EAGAIN};
    sweep("pthread_create", errors, 1, 2);
}

/* What a jail takes, and what threads ask for that cannot make any themselves. */
static void test_jail(void **state)
{
    (void)state;
    static const int errors[4] = {ENOSYS, EACCES, ENOMEM, EPERM};
    (void)setenv("AEE_TEST_JAIL", "on", 1);
    sweep("seccomp", errors, 1, 1);
    sweep("memfd_create", resources, 1, 3);
    sweep("pread", errors, 1, 1);
    sweep("pthread_create", resources, 1, 2);
    (void)unsetenv("AEE_TEST_JAIL");
}

/* The most frequent one: KVM_RUN, registers, memory slots, capabilities. */
enum { STRIDE = SANITIZED ? 13 : 1 };

static void test_ioctl(void **state)
{
    (void)state;
    static const int errors[4] = {ENOMEM, EINVAL, EFAULT, EINTR};
    sweep("ioctl", errors, STRIDE, 2);
}

static void test_ioctl_interrupted(void **state)
{
    (void)state;
    static const int errors[4] = {EINTR, EAGAIN, EINTR, EMFILE};
    sweep("ioctl", errors, 3 * STRIDE, 1);
}

/* A region that cannot be taken away: the instance must not go on with it, and the context comes
 * back without it. */
static void test_revocation_fails(void **state)
{
    (void)state;
    int64_t value = 0;
    void *data;
    struct file compute = s.compute;
    s = (struct scenario){.compute = compute};
    assert_int_equal(scenario_create(&s), AEE_OK);
    assert_int_equal(scenario_use(&s), AEE_OK);
    assert_int_equal(aee_region_data(s.engine, s.region, &data, NULL, NULL), AEE_OK);
    atomic_store(&seen, 0);
    atomic_store(&fail_at, 1);
    atomic_store(&fail_errno, ENOMEM);
    atomic_store(&faulty, has_cells() ? "poll" : "mmap");
    aee_result result = aee_region_unmap(s.engine, s.crasher_context, s.region, &s.error);
    atomic_store(&faulty, NULL);
    assert_int_equal(result, AEE_OK);
    (void)aee_wait_ready(s.engine, s.crasher_context, 5000 * MS * scale(), NULL);
    result = scenario_call(&s, s.crasher_context, "mod_tick", 1, &value);
    if (result != AEE_OK) {
        aee_context_info info;
        assert_int_equal(aee_get_context_info(s.engine, s.crasher_context, &info, NULL), AEE_OK);
        fail_msg("the context is \"%s\" and calls give %s", aee_state_name(info.state),
                 aee_result_name(result));
    }
    assert_int_equal(aee_region_unmap(s.engine, s.crasher_context, s.region, NULL),
                     AEE_ERR_NOT_FOUND);
    aee_engine_destroy(s.engine);
    assert_int_equal(s.ledger.live, 0);
}

/* Without timers the watchdog alone ends what runs too long; without kicks, the end of its process
 * does. */
static void test_timers_fail(void **state)
{
    (void)state;
    const char *const names[] = {has_cells() ? "tgkill" : "timer_create",
                                 has_cells() ? "tgkill" : "timer_settime"};
    struct file compute = s.compute;
    s = (struct scenario){.compute = compute};
    assert_int_equal(scenario_create(&s), AEE_OK);
    for (unsigned i = 0; i < 4; i++) {
        const aee_limits limits = {.call_budget_ns = (i < 2 ? 1 : 20) * MS};
        const aee_limits patient = {.call_budget_ns = 2000 * MS * scale()}; /* for the restart */
        const int64_t years = INT64_C(0x7fffffffffff);
        aee_function endless;
        assert_int_equal(aee_wait_ready(s.engine, s.worker, 5000 * MS * scale(), NULL), AEE_OK);
        assert_int_equal(aee_find_function(s.engine, s.worker, "nbody_run", &endless, NULL),
                         AEE_OK);
        assert_int_equal(aee_set_limits(s.engine, s.worker, &limits, NULL), AEE_OK);
        atomic_store(&seen, 0);
        atomic_store(&fail_at, ALWAYS);
        atomic_store(&fail_errno, EAGAIN);
        atomic_store(&faulty, names[i % 2]);
        aee_result result = aee_call_i64(s.engine, s.worker, endless, &years, 1, NULL, NULL);
        (void)aee_set_limits(s.engine, s.worker, &patient, NULL);
        atomic_store(&faulty, NULL);
        assert_int_equal(result, AEE_ERR_HUNG);
        assert_true(atomic_load(&seen) > 0);
    }
    aee_engine_destroy(s.engine);
    assert_int_equal(s.ledger.live, 0);
}

/* Other rights that cannot be given: "a failed call has changed nothing". */
static void test_remapping_fails(void **state)
{
    (void)state;
    aee_function read;
    uint64_t gva = 0;
    struct file thief = read_component("mod_thief");
    struct file compute = s.compute;
    s = (struct scenario){.compute = compute};
    assert_int_equal(scenario_create(&s), AEE_OK);
    aee_region_desc desc = {.struct_size = sizeof desc, .name = "kept", .size_bytes = 4096};
    assert_int_equal(aee_region_create(s.engine, &desc, &s.region, NULL), AEE_OK);
    assert_int_equal(aee_load(s.engine, s.worker, thief.bytes, thief.size, NULL), AEE_OK);
    free(thief.bytes);
    assert_int_equal(aee_region_map(s.engine, s.worker, s.region, AEE_ACCESS_READ, &gva, NULL),
                     AEE_OK);
    atomic_store(&seen, 0);
    atomic_store(&fail_at, 1);
    atomic_store(&fail_errno, ENOMEM);
    atomic_store(&faulty, has_cells() ? "sendmsg" : "mmap");
    aee_result result =
        aee_region_map(s.engine, s.worker, s.region, AEE_ACCESS_READ_WRITE, NULL, &s.error);
    atomic_store(&faulty, NULL);
    assert_int_equal(result, AEE_ERR_NO_MEMORY);
    assert_int_equal(aee_find_function(s.engine, s.worker, "thief_read", &read, NULL), AEE_OK);
    const int64_t at = (int64_t)gva;
    result = aee_call_i64(s.engine, s.worker, read, &at, 1, NULL, &s.error);
    aee_engine_destroy(s.engine);
    if (result != AEE_OK) {
        fail_msg("the mapping is gone after a refused change of its rights: %s", s.error.text);
    }
}

/* ---- Cells -------------------------------------------------------------------------------- */

static void test_starting_cells(void **state)
{
    (void)state;
    static const int refused[4] = {EAGAIN, EPERM, ENOMEM, ENOSPC};
    static const int none[4] = {ENOSPC, EIO, ENOMEM, EFBIG};
    sweep("clone", refused, 1, 0); /* the next one may do */
    sweep("write", none, 1, 1);
    sweep("socketpair", resources, 1, 0);
    sweep("opendir", resources, 1, 0);
}

static void test_ordering_cells(void **state)
{
    (void)state;
    static const int sending[4] = {ENOBUFS, ETOOMANYREFS, ENOMEM, EPIPE};
    sweep("sendmsg", sending, SANITIZED ? 5 : 1, 3);
    sweep("poll", resources, SANITIZED ? 7 : 1, SANITIZED ? 1 : 3); /* how many, time decides */
}

static void test_keeping_cells(void **state)
{
    (void)state;
    sweep("epoll_create1", resources, 1, 1);
    sweep("epoll_ctl", resources, 1, 0);
    sweep("eventfd", resources, 1, 1);
    sweep("pread", resources, 1, 1);
    sweep("tgkill", resources, 1, 0);
    sweep("lseek", resources, 1, 0); /* pages are compared then */
}

static _Atomic unsigned kill_at;

static int kill_cells(const char *name)
{
    pid_t cells[16];
    (void)name;
    if (atomic_fetch_add(&seen, 1) + 1 == atomic_load(&kill_at)) {
        int count = find_cells(getpid(), cells, 16);
        for (int i = 0; i < count && i < 16; i++) {
            (void)kill(cells[i], SIGKILL);
        }
    }
    return 0;
}

/* All cells are killed before the n-th of all calls: at each step of a cell's life. */
static void test_killed_cells(void **state)
{
    (void)state;
    unsigned ended = 0;
    unsigned n = 0;
    assert_int_equal(run_with(NULL, 0, 0), AEE_OK);
    struct resources before = count_resources();
    aee__sys_fault = kill_cells;
    do {
        n += SANITIZED ? 11 : 2;
        atomic_store(&kill_at, n);
        aee_result result = run_with(NULL, 0, 0);
        const char *fault = scenario_fault(&s, &before);
        if (fault || find_cells(getpid(), NULL, 0) != 0) {
            fail_msg("killed at call %u: %s after \"%s\" gave %s \"%s\"", n,
                     fault ? fault : "cells are left", s.step, aee_result_name(result),
                     s.error.text);
        }
        ended += result != AEE_OK;
    } while (atomic_load(&seen) >= n);
    aee__sys_fault = fail_one;
    print_message("killed at %u places, %u errors\n", n, ended);
    assert_true(ended > 5);
}

static int run_with_cells(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_revocation_fails),
        cmocka_unit_test(test_remapping_fails),
        cmocka_unit_test(test_timers_fail),
        cmocka_unit_test(test_memfd),
        cmocka_unit_test(test_mmap),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_starting_cells),
        cmocka_unit_test(test_ordering_cells),
        cmocka_unit_test(test_keeping_cells),
        cmocka_unit_test(test_killed_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    int skip = skip_without_engine();
    if (skip) {
        return skip;
    }
    s.compute = read_component("compute");
    aee__sys_fault = fail_one;
    if (has_cells()) {
        return run_with_cells();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_revocation_fails),
        cmocka_unit_test(test_remapping_fails),
        cmocka_unit_test(test_timers_fail),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_memfd),
        cmocka_unit_test(test_mmap),
        cmocka_unit_test(test_mprotect_madvise),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_jail),
        cmocka_unit_test(test_ioctl),
        cmocka_unit_test(test_ioctl_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
