/* test_trace_faults.c: traces whose file cannot be made, written, finished or renamed, and whose
 * memory is missing: one clear error, nothing left behind, and the next trace works. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sys.h"
#include "faults/support.h"

static struct file compute;
static char folder[] = "/tmp/aee-trace-XXXXXX";
static char path[128];
static aee_engine *engine;
static aee_context context;
static aee_error error;

/* On this thread only: the library's own have work to do meanwhile. */
static _Thread_local const char *faulty;
static _Thread_local unsigned fail_at; /* of its calls, from 1 */
static _Thread_local int fail_errno;

static int fail_one(const char *name)
{
    return faulty && strcmp(name, faulty) == 0 && fail_at > 0 && --fail_at == 0 ? fail_errno : 0;
}

static void inject(const char *name, unsigned at, int os_errno)
{
    faulty = name;
    fail_at = at;
    fail_errno = os_errno;
}

static int set_up(void **state)
{
    (void)state;
    const aee_engine_desc desc = {.struct_size = sizeof desc, .pool_size = 1};
    const aee_context_desc made = {
        .struct_size = sizeof made, .name = "traced", .call_mode = AEE_CALL_DIRECT};
    compute = read_component("compute");
    aee__sys_fault = fail_one;
    if (!mkdtemp(folder)) {
        return -1;
    }
    (void)snprintf(path, sizeof path, "%s/trace.json", folder);
    return aee_engine_create(&desc, &engine, &error) == AEE_OK &&
                   aee_context_create(engine, &made, &context, &error) == AEE_OK &&
                   aee_load(engine, context, compute.bytes, compute.size, &error) == AEE_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    aee_engine_destroy(engine);
    aee__sys_fault = NULL;
    free(compute.bytes);
    (void)unlink(path);
    return rmdir(folder);
}

static void call_some(unsigned count)
{
    aee_function function;
    assert_int_equal(aee_find_function(engine, context, "bench_empty", &function, &error), AEE_OK);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(aee_call_i64(engine, context, function, NULL, 0, NULL, &error), AEE_OK);
    }
}

static aee_result start(void)
{
    const aee_trace_desc desc = {.struct_size = sizeof desc, .path = path};
    memset(&error, 0x55, sizeof error);
    return aee_trace_start(engine, &desc, &error);
}

static aee_result stop(void)
{
    memset(&error, 0x55, sizeof error);
    return aee_trace_stop(engine, &error);
}

/* Files in the folder. */
static unsigned files(void)
{
    unsigned count = 0;
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    (void)closedir(directory);
    return count;
}

static off_t size_of_trace(void)
{
    struct stat status;
    return stat(path, &status) == 0 ? status.st_size : -1;
}

static void a_trace_works(void)
{
    assert_int_equal(start(), AEE_OK);
    call_some(500);
    assert_int_equal(stop(), AEE_OK);
    assert_true(size_of_trace() > 500 * 50);
    assert_int_equal(files(), 1);
}

/* Each way to fail in writing leaves the file that was there, and no part of the new one. */
static void a_write_that_fails_leaves_the_old_file(void **state)
{
    static const struct {
        const char *name;
        int os_errno;
        aee_result result;
    } faults[] = {{"pwrite", ENOSPC, AEE_ERR_LIMIT},
                  {"pwrite", EIO, AEE_ERR_SYSTEM},
                  {"fsync", EIO, AEE_ERR_SYSTEM},
                  {"renameat", EACCES, AEE_ERR_DENIED}};
    (void)state;
    a_trace_works();
    off_t before = size_of_trace();
    for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        assert_int_equal(start(), AEE_OK);
        call_some(5000);
        inject(faults[i].name, 1 + (i == 0), faults[i].os_errno);
        assert_int_equal(stop(), faults[i].result);
        inject(NULL, 0, 0);
        assert_int_equal(error.os_errno, faults[i].os_errno);
        assert_non_null(strstr(error.text, "trace.json"));
        assert_int_equal(size_of_trace(), before);
        assert_int_equal(files(), 1);
        assert_int_equal(stop(), AEE_ERR_STATE); /* it is over all the same */
    }
    inject("pwrite", 1, EINTR);
    assert_int_equal(start(), AEE_OK);
    assert_int_equal(stop(), AEE_OK);
    inject(NULL, 0, 0);
    a_trace_works();
}

static void a_file_that_cannot_be_made_is_told_at_the_start(void **state)
{
    (void)state;
    unsigned before = files();
    static const char *const steps[] = {"open", "openat", "fstatat"};
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        inject(steps[i], 1, EACCES);
        assert_int_equal(start(), AEE_ERR_DENIED);
        inject(NULL, 0, 0);
        assert_int_equal(stop(), AEE_ERR_STATE);
        assert_int_equal(files(), before);
    }
    for (unsigned n = 1; n <= 2; n++) {
        inject("mmap", n, ENOMEM);
        assert_int_equal(start(), AEE_ERR_NO_MEMORY);
        inject(NULL, 0, 0);
        assert_int_equal(files(), before);
    }
    const aee_trace_desc nowhere = {.struct_size = sizeof nowhere, .path = "/nonexistent/trace"};
    assert_int_equal(aee_trace_start(engine, &nowhere, &error), AEE_ERR_SYSTEM);
    assert_non_null(strstr(error.text, "/nonexistent/trace"));
    a_trace_works();
}

static void start_at(const char *where, int os_errno)
{
    const aee_trace_desc desc = {.struct_size = sizeof desc, .path = where};
    assert_int_not_equal(aee_trace_start(engine, &desc, &error), AEE_OK);
    assert_int_equal(error.os_errno, os_errno);
    assert_non_null(strstr(error.text, where));
}

/* What is no plain file is neither written through nor replaced. */
static void only_plain_files_are_replaced(void **state)
{
    char link[160];
    char pipe[160];
    struct stat status;
    (void)state;
    a_trace_works();
    (void)snprintf(link, sizeof link, "%s/link", folder);
    (void)snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    start_at(link, ELOOP);
    start_at(pipe, EEXIST);
    start_at(folder, EISDIR);
    start_at("/dev/null", EEXIST);
    assert_int_equal(stat("/dev/null", &status), 0);
    assert_true(S_ISCHR(status.st_mode));
    assert_int_equal(files(), 3);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(unlink(pipe), 0);
}

static int take(void *user, const void *bytes, size_t size)
{
    uint64_t *left = user;
    (void)bytes;
    *left -= *left < size ? *left : size;
    return *left == 0 ? -1 : 0;
}

static void a_function_may_take_the_bytes_or_not(void **state)
{
    (void)state;
    uint64_t left = 1000;
    const aee_trace_desc desc = {.struct_size = sizeof desc, .write = take, .write_user = &left};
    assert_int_equal(aee_trace_start(engine, &desc, &error), AEE_OK);
    call_some(100);
    assert_int_equal(stop(), AEE_ERR_HOST_FUNCTION);
    left = 1u << 30;
    assert_int_equal(aee_trace_start(engine, &desc, &error), AEE_OK);
    call_some(100);
    assert_int_equal(stop(), AEE_OK);
    assert_true(left < (1u << 30) - 100 * 50);
}

static void wrong_descriptions_are_refused(void **state)
{
    (void)state;
    const aee_trace_desc good = {.struct_size = sizeof good, .path = path};
    aee_trace_desc wrong[8];
    for (unsigned i = 0; i < 8; i++) {
        wrong[i] = good;
    }
    wrong[0].struct_size = 4;
    wrong[1].flags = 1;
    wrong[2].path = NULL;
    wrong[3].write = take;
    wrong[4].path = "";
    wrong[5].calls_per_lane = (1u << 20) + 1;
    wrong[6].max_bytes = (2u << 20) - 1;
    wrong[7].reserved0 = 1;
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(aee_trace_start(engine, &wrong[i], &error), AEE_ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(error.text, "trace"));
    }
    assert_int_equal(aee_trace_start(engine, NULL, &error), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_trace_start(NULL, &good, &error), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_trace_stop(NULL, &error), AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(start(), AEE_OK);
    assert_int_equal(aee_trace_start(engine, &good, &error), AEE_ERR_STATE);
    assert_int_equal(stop(), AEE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_that_fails_leaves_the_old_file),
        cmocka_unit_test(a_file_that_cannot_be_made_is_told_at_the_start),
        cmocka_unit_test(only_plain_files_are_replaced),
        cmocka_unit_test(a_function_may_take_the_bytes_or_not),
        cmocka_unit_test(wrong_descriptions_are_refused),
    };
    int skip = skip_without_engine();
    return skip ? skip : cmocka_run_group_tests(tests, set_up, tear_down);
}
