/* test_sys.c: base/sys: futexes, memory files, signals, and the door through which tests make each
 * call fail. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/sys.h"
#include "base/thread.h"

#define MS UINT64_C(1000000)

/* ---- Futex ---------------------------------------------------------------------------------------- */

static _Atomic uint32_t word;

static void test_futex_value(void **state)
{
    (void)state;
    uint64_t begin = aee__now_ns();
    atomic_store(&word, 1);
    aee__sys_futex_wait(&word, 0, 0); /* another value: returns at once */
    aee__sys_futex_wait(&word, 1, 1); /* a deadline long ago */
    assert_true(aee__now_ns() - begin < 1000 * MS);
}

static void test_futex_deadline(void **state)
{
    (void)state;
    for (uint64_t ns = 300000; ns < 20 * MS; ns *= 3) { /* also below a millisecond */
        uint64_t deadline = aee__now_ns() + ns;
        do {
            aee__sys_futex_wait(&word, 1, deadline);
        } while (aee__now_ns() < deadline && aee__now_ns() + 100000 < deadline);
        assert_true(aee__now_ns() + 100000 >= deadline);
    }
}

static _Atomic uint32_t awake;

static void *sleeper(void *unused)
{
    while (atomic_load(&word) == 5) {
        aee__sys_futex_wait(&word, 5, 0);
    }
    (void)atomic_fetch_add(&awake, 1);
    return unused;
}

static void test_futex_wakes_all(void **state)
{
    (void)state;
    struct aee__thread threads[3] = {0};
    aee_error error;
    atomic_store(&word, 5);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(aee__thread_start(&threads[i], "sleeper", sleeper, NULL, &error), AEE_OK);
    }
    aee__sys_sleep(30 * MS);
    assert_int_equal(atomic_load(&awake), 0);
    atomic_store(&word, 6);
    aee__sys_futex_wake_all(&word);
    for (unsigned i = 0; i < 3; i++) {
        aee__thread_join(&threads[i]);
        aee__thread_join(&threads[i]); /* no effect */
    }
    assert_int_equal(atomic_load(&awake), 3);
}

/* ---- Files and memory ----------------------------------------------------------------------------- */

static void test_memfd(void **state)
{
    (void)state;
    int fd = aee__sys_memfd("test", 8192);
    assert_true(fd >= 0);
    assert_int_equal(aee__sys_file_size(fd), 8192);
    assert_int_equal(aee__sys_file_resident(fd), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(aee__sys_resize_memfd(fd, 16384), 0);
    assert_int_equal(aee__sys_resize_memfd(fd, 4096), -1); /* sealed against shrinking */
    assert_int_equal(errno, EPERM);
    char *memory = aee__sys_mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    memory[5000] = 7;
    assert_int_equal(aee__sys_file_resident(fd), 4096);
    char byte = 0;
    assert_int_equal(aee__sys_pread(fd, &byte, 1, 5000), 1);
    assert_int_equal(byte, 7);
    assert_int_equal(aee__sys_protect(memory, 4096, 0), 0);
    assert_int_equal(aee__sys_protect(memory, 4096, 1), 0);
    memory[0] = 1;
    assert_int_equal(aee__sys_munmap(memory, 16384), 0);
    assert_int_equal(aee__sys_close(fd), 0);
    assert_int_equal(aee__sys_close(-1), 0); /* nothing to close */
    assert_int_equal(aee__sys_file_size(-1), -1);
    assert_int_equal(aee__sys_file_resident(-1), 0);
}

static void test_random(void **state)
{
    (void)state;
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};
    assert_int_equal(aee__sys_random(a, sizeof a), 0);
    assert_int_equal(aee__sys_random(b, sizeof b), 0);
    assert_memory_not_equal(a, b, sizeof a);
    assert_true(aee__sys_cpu_count() >= 1);
}

/* ---- Signals -------------------------------------------------------------------------------------- */

/* Sent to a thread that blocks it, the signal is consumed without any handler: were it not, the
 * process would end when the mask is put back. */
static void test_signal_is_consumed(void **state)
{
    (void)state;
    int signal_number = SIGRTMAX - 1;
    sigset_t old;
    sigset_t pending;
    assert_int_equal(aee__sys_block_signal(signal_number, &old), 0);
    assert_false(sigismember(&old, signal_number));
    aee__sys_consume_signal(signal_number); /* none is pending */
    assert_int_equal(aee__sys_signal_thread(pthread_self(), signal_number), 0);
    assert_int_equal(sigpending(&pending), 0);
    assert_true(sigismember(&pending, signal_number));
    aee__sys_consume_signal(signal_number);
    assert_int_equal(sigpending(&pending), 0);
    assert_false(sigismember(&pending, signal_number));
    assert_int_equal(aee__sys_restore_mask(&old), 0);
}

static void *report_mask(void *argument)
{
    (void)pthread_sigmask(SIG_SETMASK, NULL, argument);
    return NULL;
}

static void test_threads_block_signals(void **state)
{
    (void)state;
    struct aee__thread thread = {0};
    sigset_t mask;
    sigset_t before;
    sigset_t after;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(aee__thread_start(&thread, "masked", report_mask, &mask, NULL), AEE_OK);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &after);
    aee__thread_join(&thread);
    assert_true(sigismember(&mask, SIGINT));
    assert_true(sigismember(&mask, SIGTERM));
    assert_true(sigismember(&mask, SIGRTMAX - 1));
    assert_int_equal(sigismember(&before, SIGINT), sigismember(&after, SIGINT));
}

/* ---- Injected faults ------------------------------------------------------------------------------ */

static const char *faulty;
static unsigned asked;

static int fail_named(const char *name)
{
    asked += strcmp(name, faulty) == 0;
    return strcmp(name, faulty) == 0 ? EXDEV : 0;
}

static int try_call(const char *name)
{
    char bytes[16];
    if (strcmp(name, "open") == 0) {
        return aee__sys_open("/dev/null", O_RDONLY);
    }
    if (strcmp(name, "ioctl") == 0) {
        return aee__sys_ioctl(-1, 0, NULL) == -1 && errno == EXDEV ? aee__sys_ioctl_value(-1, 0, 0)
                                                                   : 1;
    }
    if (strcmp(name, "mmap") == 0) {
        return aee__sys_mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                       MAP_FAILED
                   ? -1
                   : 1;
    }
    if (strcmp(name, "mprotect") == 0) {
        return aee__sys_protect(bytes, 0, 1);
    }
    if (strcmp(name, "madvise") == 0) {
        return aee__sys_madvise(NULL, 0, MADV_DONTDUMP);
    }
    if (strcmp(name, "memfd_create") == 0) {
        return aee__sys_memfd("test", 4096);
    }
    if (strcmp(name, "ftruncate") == 0) {
        return aee__sys_memfd("test", 4096) == -1 && errno == EXDEV
                   ? aee__sys_resize_memfd(-1, 4096)
                   : 1;
    }
    if (strcmp(name, "pread") == 0) {
        return (int)aee__sys_pread(0, bytes, 1, 0);
    }
    return strcmp(name, "fstat") == 0 ? (int)aee__sys_file_size(0)
                                      : aee__sys_random(bytes, sizeof bytes);
}

static void *report_thread(void *ids)
{
    ((pid_t *)ids)[0] = gettid();
    ((pid_t *)ids)[1] = aee__sys_thread_id(pthread_self());
    return NULL;
}

/* What names a thread to a timer. */
static void test_thread_id(void **state)
{
    (void)state;
    pthread_t thread;
    pid_t ids[2] = {0, 0};
    assert_int_equal(aee__sys_thread_id(pthread_self()), gettid());
    assert_int_equal(pthread_create(&thread, NULL, report_thread, ids), 0);
    (void)pthread_join(thread, NULL);
    assert_int_not_equal(ids[0], gettid());
    assert_int_equal(ids[0], ids[1]);
}

static void test_faults(void **state)
{
    (void)state;
    static const char *const names[] = {"open",    "ioctl",        "mmap",      "mprotect",
                                        "madvise", "memfd_create", "ftruncate", "pread",
                                        "fstat",   "getrandom"};
    int before = open("/dev/null", O_RDONLY);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        faulty = names[i];
        asked = 0;
        errno = 0;
        aee__sys_fault = fail_named;
        int result = try_call(names[i]);
        aee__sys_fault = NULL;
        if (result != -1 || errno != EXDEV || asked == 0) {
            fail_msg("%s was not made to fail: %d, errno %d", names[i], result, errno);
        }
    }
    faulty = "pthread_create";
    struct aee__thread thread = {0};
    aee_error error;
    aee__sys_fault = fail_named;
    assert_int_equal(aee__thread_start(&thread, "never", report_mask, NULL, &error),
                     AEE_ERR_SYSTEM);
    aee__sys_fault = NULL;
    assert_int_equal(error.os_errno, EXDEV);
    assert_non_null(strstr(error.text, "\"never\""));
    aee__thread_join(&thread); /* was never started */
    int after = open("/dev/null", O_RDONLY);
    assert_int_equal(after, before + 1); /* the half-made memory file was closed */
    (void)close(before);
    (void)close(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_futex_value),
        cmocka_unit_test(test_futex_deadline),
        cmocka_unit_test(test_futex_wakes_all),
        cmocka_unit_test(test_memfd),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_signal_is_consumed),
        cmocka_unit_test(test_threads_block_signals),
        cmocka_unit_test(test_thread_id),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
