/* test_snapshots.c: state that is kept in files: it comes back in another context, engine and
 * process, nothing else is accepted, and what fails changes nothing. */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"

#if !defined(AEE_STATEBED) || !defined(AEE_TESTBED)
#error "the build names the components"
#endif

static char folder[64];
static char path[96];

static aee_context make_with(struct bed *bed, const char *image, const aee_limits *limits)
{
    aee_context context;
    aee_context_desc desc = {.struct_size = sizeof desc, .name = "state", .limits = *limits};
    desc.limits.call_budget_ns = scaled(2 * SECOND);
    desc.limits.restart_window_ns = SECOND;
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_load_file(bed->engine, context, image, &bed->error));
    const aee_recovery_desc recovery = {
        .struct_size = sizeof recovery, .history = 4, .restart = AEE_RESTART_CHECKPOINT};
    ASSERT_OK(bed, aee_set_recovery(bed->engine, context, &recovery, &bed->error));
    return context;
}

static aee_context make(struct bed *bed, uint32_t lanes)
{
    const aee_limits limits = {.lanes = lanes, .restarts = 63};
    return make_with(bed, AEE_STATEBED, &limits);
}

static int64_t get(struct bed *bed, aee_context context, const char *name)
{
    return value2(bed, context, name, 0, 0, 0);
}

static void save(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_snapshot_save(bed->engine, context, path, &bed->error));
}

static void load(struct bed *bed, aee_context context)
{
    ASSERT_OK(bed, aee_snapshot_load(bed->engine, context, path, &bed->error));
}

/* The sentence names the context and the file, and says this. */
static void refuses(struct bed *bed, aee_context context, aee_result code, const char *words)
{
    aee_result result = aee_snapshot_load(bed->engine, context, path, &bed->error);
    if (result != code || !strstr(bed->error.text, words)) {
        fail_msg("%s: %s", aee_result_name(result), bed->error.text);
    }
}

/* Much state everywhere; its digest. */
static int64_t live(struct bed *bed, aee_context context)
{
    for (int64_t i = 1; i <= 60; i++) {
        (void)value2(bed, context, "step", i, 0, 1);
    }
    (void)value2(bed, context, "set_rounding", 1, 0, 1);
    return get(bed, context, "digest");
}

static uint32_t files(void)
{
    uint32_t count = 0;
    DIR *list = opendir(folder);
    assert_non_null(list);
    for (const struct dirent *entry = readdir(list); entry; entry = readdir(list)) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    (void)closedir(list);
    return count;
}

/* ---- There and back ----------------------------------------------------------------------- */

static void comes_back(uint32_t lanes)
{
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, lanes);
    int64_t digest = live(&bed, context);
    int64_t rounding = get(&bed, context, "rounding");
    save(&bed, context);
    assert_int_equal(files(), 1);
    (void)live(&bed, context);
    (void)value2(&bed, context, "touch", 500, 3, 2); /* pages that were zero */
    (void)value2(&bed, context, "set_rounding", 0, 0, 1);
    int64_t chance = get(&bed, context, "chance");
    load(&bed, context);
    assert_int_equal(get(&bed, context, "digest"), digest);
    assert_int_not_equal(get(&bed, context, "chance"), chance);
    assert_int_equal(get(&bed, context, "rounding"), rounding);
    ASSERT_OK(&bed, aee_stop(bed.engine, context, &bed.error));
    load(&bed, context);
    assert_int_equal(get(&bed, context, "digest"), digest);
    bed_close(&bed);

    bed_open(&bed, NULL);
    aee_context other = make(&bed, lanes);
    assert_int_not_equal(get(&bed, other, "digest"), digest);
    load(&bed, other);
    assert_int_equal(get(&bed, other, "digest"), digest);
    assert_int_equal(get(&bed, other, "rounding"), rounding);
    int64_t value;
    assert_int_equal(call2(&bed, other, "wreck", 0, 0, 0, &value), AEE_ERR_CRASHED);
    ASSERT_OK(&bed, aee_wait_ready(bed.engine, other, scaled(5 * SECOND), &bed.error));
    assert_int_equal(get(&bed, other, "digest"), digest); /* it is a checkpoint */
    (void)get(&bed, other, "count");
    ASSERT_OK(&bed, aee_restore(bed.engine, other, 0, &bed.error));
    assert_int_equal(get(&bed, other, "digest"), digest);
    assert_int_equal(aee_restore(bed.engine, other, 1, &bed.error), AEE_ERR_NOT_FOUND);
    (void)get(&bed, other, "count");
    ASSERT_OK(&bed, aee_checkpoint(bed.engine, other, &bed.error));
    ASSERT_OK(&bed, aee_restore(bed.engine, other, 1, &bed.error));
    assert_int_equal(get(&bed, other, "digest"), digest);
    bed_close(&bed);
}

static void test_one_lane(void **state)
{
    (void)state;
    comes_back(1);
}

static void test_four_lanes(void **state)
{
    (void)state;
    comes_back(4);
}

/* What the image put there and the component has cleared stays cleared in a new instance. */
static void test_cleared_data(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, 1);
    assert_int_equal(get(&bed, context, "clear"), 1);
    assert_int_equal(get(&bed, context, "cleared"), 1);
    save(&bed, context);
    ASSERT_OK(&bed, aee_restart(bed.engine, context, &bed.error));
    assert_int_equal(get(&bed, context, "cleared"), 0);
    load(&bed, context);
    assert_int_equal(get(&bed, context, "cleared"), 1);
    ASSERT_OK(&bed, aee_stop(bed.engine, context, &bed.error));
    load(&bed, context);
    assert_int_equal(get(&bed, context, "cleared"), 1);
    bed_close(&bed);
}

/* Saves in a process of its own, which is gone then; its digest. */
static int64_t save_elsewhere(aee_level level)
{
    int pipes[2];
    int64_t digest = 0;
    int status;
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        struct bed bed = {0};
        const aee_engine_desc desc = {.struct_size = sizeof desc, .level = level};
        (void)unsetenv("AEE_FORCE_LEVEL");
        if (aee_engine_create(&desc, &bed.engine, &bed.error) != AEE_OK) {
            _exit(77);
        }
        aee_context context = make(&bed, 1);
        digest = live(&bed, context);
        save(&bed, context);
        _exit(write(pipes[1], &digest, sizeof digest) == sizeof digest ? 0 : 1);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 77) {
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_int_equal(read(pipes[0], &digest, sizeof digest), sizeof digest);
    }
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    return digest;
}

/* Also from other levels: the file knows none. */
static void test_other_process(void **state)
{
    (void)state;
    static const aee_level levels[] = {AEE_LEVEL_AUTO, AEE_LEVEL_PROCESS, AEE_LEVEL_FULL};
    uint32_t done = 0;
    for (unsigned i = 0; i < 3; i++) {
        int64_t digest = save_elsewhere(levels[i]);
        if (digest == 0) {
            print_message("level %s cannot be had\n", aee_level_name(levels[i]));
            continue;
        }
        struct bed bed;
        bed_open(&bed, NULL);
        aee_context context = make(&bed, 1);
        load(&bed, context);
        assert_int_equal(get(&bed, context, "digest"), digest);
        bed_close(&bed);
        done++;
    }
    assert_true(done > 0);
}

static void test_quarantined(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    const aee_limits limits = {.lanes = 1, .never_restart = 1};
    aee_context context = make_with(&bed, AEE_STATEBED, &limits);
    int64_t value;
    int64_t digest = live(&bed, context);
    save(&bed, context);
    assert_int_equal(call2(&bed, context, "wreck", 0, 0, 0, &value), AEE_ERR_CRASHED);
    assert_int_equal(call2(&bed, context, "count", 0, 0, 0, &value), AEE_ERR_QUARANTINED);
    assert_int_equal(aee_snapshot_save(bed.engine, context, path, &bed.error), AEE_ERR_QUARANTINED);
    load(&bed, context);
    assert_int_equal(get(&bed, context, "digest"), digest);
    bed_close(&bed);
}

/* A heap that was grown goes into one that is as large from the start, and into one that grew. */
static void test_growth(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    const aee_limits large = {.lanes = 1, .memory_bytes = UINT64_C(48) << 20};
    aee_context context = make(&bed, 1);
    aee_context small = make(&bed, 1);
    ASSERT_OK(&bed, aee_allocate_isolated_memory(bed.engine, context, 48, &bed.error));
    assert_int_equal(value2(&bed, context, "fill", 4 << 20, 7, 2), 1); /* 32 MiB */
    int64_t sum = get(&bed, context, "sum");
    save(&bed, context);
    aee_context other = make_with(&bed, AEE_STATEBED, &large);
    load(&bed, other);
    assert_int_equal(get(&bed, other, "sum"), sum);
    refuses(&bed, small, AEE_ERR_LIMIT, "bytes of heap");
    ASSERT_OK(&bed, aee_stop(bed.engine, small, &bed.error));
    refuses(&bed, small, AEE_ERR_LIMIT, "bytes of heap");
    ASSERT_OK(&bed, aee_restart(bed.engine, small, &bed.error));
    assert_int_equal(get(&bed, small, "counted"), 100);
    ASSERT_OK(&bed, aee_allocate_isolated_memory(bed.engine, small, 48, &bed.error));
    load(&bed, small);
    assert_int_equal(get(&bed, small, "sum"), sum);
    bed_close(&bed);
}

static uint64_t checksum(struct bed *bed, aee_context context)
{
    uint64_t sum = 0;
    ASSERT_OK(bed, aee_state_checksum(bed->engine, context, &sum, &bed->error));
    return sum;
}

/* What the component has declared is known again, in that order. */
static void test_declared_ranges(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, 1);
    (void)live(&bed, context);
    save(&bed, context);
    uint64_t before = checksum(&bed, context);
    for (int64_t page = 9; page > 5; page--) {
        assert_int_equal(value2(&bed, context, "declare", page, 0, 1), 0);
    }
    uint64_t sum = checksum(&bed, context);
    load(&bed, context);
    assert_int_equal(checksum(&bed, context), before);
    for (int64_t page = 9; page > 5; page--) {
        assert_int_equal(value2(&bed, context, "declare", page, 0, 1), 0);
    }
    save(&bed, context);
    aee_context other = make(&bed, 1);
    load(&bed, other);
    assert_int_equal(checksum(&bed, other), sum);
    ASSERT_OK(&bed, aee_stop(bed.engine, other, &bed.error));
    load(&bed, other);
    assert_int_equal(checksum(&bed, other), sum);
    int64_t value = get(&bed, other, "count"); /* else the state would be to blame */
    assert_int_equal(call2(&bed, other, "wreck", 0, 0, 0, &value), AEE_ERR_CRASHED);
    ASSERT_OK(&bed, aee_wait_ready(bed.engine, other, scaled(5 * SECOND), &bed.error));
    assert_int_equal(checksum(&bed, other), sum);
    bed_close(&bed);
}

static void keep_declared(struct bed *bed, aee_context context)
{
    const aee_recovery_desc recovery = {.struct_size = sizeof recovery,
                                        .mode = AEE_CHECKPOINT_DECLARED,
                                        .restart = AEE_RESTART_CHECKPOINT};
    ASSERT_OK(bed, aee_set_recovery(bed->engine, context, &recovery, &bed->error));
}

/* A context that keeps declared state saves that, and takes nothing else. */
static void test_declared_state(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, 1);
    aee_context all = make(&bed, 1);
    keep_declared(&bed, context);
    (void)value2(&bed, context, "touch", 10, 7, 2);
    (void)get(&bed, context, "count");
    assert_int_equal(value2(&bed, context, "declare", 5, 0, 1), 0);
    assert_int_equal(value2(&bed, context, "declare", 3, 0, 1), 0);
    uint64_t sum = checksum(&bed, context);
    save(&bed, context);
    (void)value2(&bed, context, "touch", 10, 8, 2);
    load(&bed, context);
    assert_int_equal(value2(&bed, context, "look", 5, 0, 1), 7);
    assert_int_equal(value2(&bed, context, "look", 6, 0, 1), 8); /* is not declared */
    refuses(&bed, all, AEE_ERR_STATE, "holds declared state only, the context keeps all state");
    aee_context other = make(&bed, 2); /* lanes do not matter */
    keep_declared(&bed, other);
    ASSERT_OK(&bed, aee_stop(bed.engine, other, &bed.error));
    load(&bed, other);
    assert_int_equal(checksum(&bed, other), sum);
    assert_int_equal(value2(&bed, other, "look", 3, 0, 1), 7);
    assert_int_equal(get(&bed, other, "counted"), 100);
    int64_t value;
    assert_int_equal(call2(&bed, other, "wreck", 0, 0, 0, &value), AEE_ERR_CRASHED);
    ASSERT_OK(&bed, aee_wait_ready(bed.engine, other, scaled(5 * SECOND), &bed.error));
    assert_int_equal(checksum(&bed, other), sum);
    save(&bed, all);
    refuses(&bed, other, AEE_ERR_STATE, "holds all state, the context keeps declared state only");
    bed_close(&bed);
}

/* A fork has its pages from elsewhere. */
static void test_fork(void **state)
{
    (void)state;
    struct bed bed;
    aee_context fork;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, 2);
    int64_t before = live(&bed, context);
    ASSERT_OK(&bed, aee_fork(bed.engine, context, NULL, &fork, &bed.error));
    (void)value2(&bed, fork, "step", 1000, 0, 1);
    int64_t digest = get(&bed, fork, "digest");
    save(&bed, fork);
    (void)live(&bed, fork);
    load(&bed, fork);
    assert_int_equal(get(&bed, fork, "digest"), digest);
    assert_int_equal(get(&bed, context, "digest"), before);
    load(&bed, context);
    assert_int_equal(get(&bed, context, "digest"), digest);
    bed_close(&bed);
}

/* ---- Refusals ----------------------------------------------------------------------------- */

static void test_what_does_not_fit(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    const aee_limits deep = {.lanes = 1, .stack_bytes = 512 << 10};
    const aee_limits one = {.lanes = 1};
    aee_context context = make_with(&bed, AEE_STATEBED, &deep);
    (void)live(&bed, context);
    save(&bed, context);
    aee_context shallow = make(&bed, 1);
    aee_context lanes = make(&bed, 2);
    aee_context image = make_with(&bed, AEE_TESTBED, &one);
    int64_t before = live(&bed, shallow);
    refuses(&bed, shallow, AEE_ERR_LIMIT, "needs stacks of 524288 bytes");
    refuses(&bed, lanes, AEE_ERR_LIMIT, "is of 1 lanes, the context has 2");
    refuses(&bed, image, AEE_ERR_STATE, "is of another image");
    assert_non_null(strstr(bed.error.text, "cannot load a snapshot into context \"state\""));
    assert_int_equal(get(&bed, shallow, "digest"), before);
    assert_int_equal(aee_restore(bed.engine, shallow, 0, &bed.error), AEE_ERR_NOT_FOUND);
    aee_context empty;
    ASSERT_OK(&bed, aee_create_isolated_context(bed.engine, "empty", &empty, &bed.error));
    refuses(&bed, empty, AEE_ERR_NOT_LOADED, "no image");
    assert_int_equal(aee_snapshot_save(bed.engine, empty, path, &bed.error), AEE_ERR_NOT_LOADED);
    assert_int_equal(aee_snapshot_save(bed.engine, context, NULL, &bed.error),
                     AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_snapshot_load(bed.engine, context, "", &bed.error),
                     AEE_ERR_INVALID_ARGUMENT);
    bed_close(&bed);
}

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        aee_result save;
        aee_result load;
    } cases[] = {{"/nonexistent/file", AEE_ERR_SYSTEM, AEE_ERR_SYSTEM},
                 {"/proc/self/file", AEE_ERR_SYSTEM, AEE_ERR_SYSTEM},
                 {"/dev/null", 0, AEE_ERR_BAD_SNAPSHOT},
                 {"/", AEE_ERR_SYSTEM, AEE_ERR_SYSTEM},
                 {AEE_STATEBED, 0, AEE_ERR_BAD_SNAPSHOT}};
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, 1);
    int64_t digest = live(&bed, context);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        aee_result result = aee_snapshot_load(bed.engine, context, cases[i].path, &bed.error);
        if (result >= 0 || (cases[i].load != result && result != AEE_ERR_BAD_SNAPSHOT &&
                            result != AEE_ERR_NOT_FOUND)) {
            fail_msg("load of %s gave %s", cases[i].path, bed.error.text);
        }
        if (cases[i].save) {
            result = aee_snapshot_save(bed.engine, context, cases[i].path, &bed.error);
            assert_true(result < 0);
            assert_non_null(strstr(bed.error.text, cases[i].path));
        }
    }
    if (geteuid() != 0) {
        assert_int_equal(chmod(folder, 0500), 0);
        assert_int_equal(aee_snapshot_save(bed.engine, context, path, &bed.error), AEE_ERR_DENIED);
        assert_int_equal(chmod(folder, 0700), 0);
    }
    save(&bed, context);
    assert_int_equal(mkdir("snapshot.d", 0700), 0);
    assert_true(aee_snapshot_save(bed.engine, context, "snapshot.d", &bed.error) < 0);
    assert_int_equal(rmdir("snapshot.d"), 0);
    assert_int_equal(get(&bed, context, "digest"), digest);
    ASSERT_OK(&bed, aee_snapshot_save(bed.engine, context, "here.snap", &bed.error));
    ASSERT_OK(&bed, aee_snapshot_load(bed.engine, context, "here.snap", &bed.error));
    assert_int_equal(unlink("here.snap"), 0);
    assert_int_equal(files(), 1);
    bed_close(&bed);
}

static aee_result ask(void *user, aee_host_call *call)
{
    struct bed *bed = user;
    call->result = aee_snapshot_save(bed->engine, call->context, path, &bed->error);
    if (call->result == AEE_ERR_BUSY) {
        call->result = aee_snapshot_load(bed->engine, call->context, path, &bed->error);
    }
    return AEE_OK;
}

static void test_reentry(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, 1);
    save(&bed, context);
    ASSERT_OK(&bed, aee_register_host_function(bed.engine, "ask", ask, &bed, &bed.error));
    ASSERT_OK(&bed, aee_grant_host_function(bed.engine, context, "ask", &bed.error));
    assert_int_equal(get(&bed, context, "ask"), AEE_ERR_BUSY);
    bed_close(&bed);
}

/* ---- Failures ----------------------------------------------------------------------------- */

static size_t read_file(uint8_t **bytes)
{
    struct stat status;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &status), 0);
    *bytes = malloc((size_t)status.st_size + 1);
    assert_non_null(*bytes);
    assert_int_equal(fread(*bytes, 1, (size_t)status.st_size, file), status.st_size);
    (void)fclose(file);
    return (size_t)status.st_size;
}

static void write_file(const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* With a limit on the size of files: the signal that comes with it does not end the process. */
static void test_disk_full(void **state)
{
    (void)state;
    struct bed bed;
    uint8_t *before;
    uint8_t *after;
    struct rlimit limit;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, 1);
    (void)live(&bed, context);
    save(&bed, context);
    size_t size = read_file(&before);
    assert_true(size > 20000);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    for (rlim_t most = 0; most < size; most += size / 8) {
        const struct rlimit small = {.rlim_cur = most, .rlim_max = limit.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        aee_result result = aee_snapshot_save(bed.engine, context, path, &bed.error);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        assert_int_equal(result, AEE_ERR_SYSTEM);
        assert_int_equal(bed.error.os_errno, EFBIG);
        assert_int_equal(files(), 1);
        assert_int_equal(read_file(&after), size);
        assert_memory_equal(before, after, size);
        free(after);
    }
    free(before);
    load(&bed, context);
    bed_close(&bed);
}

static const char *_Atomic faulty;
static _Atomic uint32_t fail_at;
static _Atomic uint32_t seen;
static pthread_t failing; /* only its calls: other threads of the engine have work of their own */

static int fail_one(const char *name)
{
    const char *wanted = atomic_load(&faulty);
    if (!wanted || strcmp(name, wanted) != 0 || !pthread_equal(pthread_self(), failing)) {
        return 0;
    }
    return atomic_fetch_add(&seen, 1) + 1 == atomic_load(&fail_at) ? ENOSPC : 0;
}

/* Each occurrence of each system call fails once: then nothing has changed. */
static void sweep(struct bed *bed, aee_context context, const char *name,
                  aee_result (*operation)(aee_engine *, aee_context, const char *, aee_error *),
                  bool stopped, uint32_t least)
{
    uint8_t *before;
    uint8_t *after;
    uint32_t failed = 0;
    size_t size = read_file(&before);
    for (uint32_t n = 1;; n++) {
        int64_t digest = live(bed, context);
        if (stopped) {
            ASSERT_OK(bed, aee_checkpoint(bed->engine, context, &bed->error));
            ASSERT_OK(bed, aee_stop(bed->engine, context, &bed->error));
        }
        atomic_store(&seen, 0);
        atomic_store(&fail_at, n);
        atomic_store(&faulty, name);
        aee_result result = operation(bed->engine, context, path, &bed->error);
        atomic_store(&faulty, NULL);
        assert_int_equal(files(), 1);
        if (atomic_load(&seen) < n) {
            assert_int_equal(result, AEE_OK);
            break;
        }
        if (result == AEE_OK) { /* it could do without */
            continue;
        }
        failed++;
        assert_true(bed->error.text[0] != '\0');
        if (stopped) {
            ASSERT_OK(bed, aee_restore(bed->engine, context, 0, &bed->error));
        }
        assert_int_equal(get(bed, context, "digest"), digest);
        assert_int_equal(read_file(&after), size);
        assert_memory_equal(before, after, size);
        free(after);
    }
    free(before);
    print_message("%s: %u failures\n", name, failed);
    assert_true(failed >= least);
}

static void test_system_calls_fail(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t save;
        uint32_t load;
        uint32_t load_stopped;
    } calls[] = {{"open", 1, 1, 1},  {"openat", 1, 0, 0},      {"pwrite", 5, 0, 0},
                 {"fsync", 1, 0, 0}, {"renameat", 1, 0, 0},    {"getrandom", 1, 1, 1},
                 {"pread", 0, 2, 2}, {"fstat", 0, 1, 1},       {"mmap", 1, 1, 2},
                 {"lseek", 1, 1, 0}, {"memfd_create", 0, 0, 1}};
    struct bed bed;
    failing = pthread_self();
    aee__sys_fault = fail_one;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, 1);
    (void)live(&bed, context);
    for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        save(&bed, context);
        sweep(&bed, context, calls[i].name, aee_snapshot_save, false, calls[i].save);
        sweep(&bed, context, calls[i].name, aee_snapshot_load, false, calls[i].load);
        sweep(&bed, context, calls[i].name, aee_snapshot_load, true, calls[i].load_stopped);
    }
    bed_close(&bed);
    aee__sys_fault = NULL;
}

/* Damaged files, through everything: the component does not notice. */
static void test_damage(void **state)
{
    (void)state;
    struct bed bed;
    uint8_t *bytes;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, 1);
    (void)get(&bed, context, "count");
    save(&bed, context);
    size_t size = read_file(&bytes);
    int64_t digest = live(&bed, context);
    for (size_t at = 0; at < size; at += at < 256 ? 7 : 997) {
        bytes[at] ^= 0x10;
        write_file(bytes, size);
        bytes[at] ^= 0x10;
        assert_true(aee_snapshot_load(bed.engine, context, path, &bed.error) < 0);
        write_file(bytes, at);
        assert_int_equal(aee_snapshot_load(bed.engine, context, path, &bed.error),
                         AEE_ERR_BAD_SNAPSHOT);
    }
    assert_int_equal(get(&bed, context, "digest"), digest);
    write_file(bytes, size);
    load(&bed, context);
    assert_int_equal(get(&bed, context, "counted"), 101);
    free(bytes);
    bed_close(&bed);
}

/* ---- While others call -------------------------------------------------------------------- */

struct caller {
    struct bed *bed;
    aee_context context;
    _Atomic bool stop;
    _Atomic uint64_t good;
};

static void *call_on(void *user)
{
    struct caller *caller = user;
    aee_error error;
    aee_function function;
    if (aee_find_function(caller->bed->engine, caller->context, "count", &function, &error) != 0) {
        return caller;
    }
    while (!atomic_load(&caller->stop)) {
        int64_t value;
        aee_result result =
            aee_call_i64(caller->bed->engine, caller->context, function, NULL, 0, &value, &error);
        if (result == AEE_OK) {
            (void)atomic_fetch_add(&caller->good, 1);
        } else if (result != AEE_ERR_CRASHED && result != AEE_ERR_RESTARTING &&
                   result != AEE_ERR_STOPPED && result != AEE_ERR_BUSY) {
            return caller;
        }
    }
    return NULL;
}

static void test_while_others_call(void **state)
{
    (void)state;
    enum { THREADS = 2, ROUNDS = 60 };
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make(&bed, 2);
    (void)value2(&bed, context, "fill", 50000, 3, 2);
    int64_t sum = get(&bed, context, "sum");
    struct caller caller = {.bed = &bed, .context = context};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, call_on, &caller), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        int64_t value;
        save(&bed, context);
        if (i % 3 == 1) {
            (void)call2(&bed, context, "wreck", 0, 0, 0, &value);
        } else if (i % 3 == 2) {
            ASSERT_OK(&bed, aee_stop(bed.engine, context, &bed.error));
        }
        load(&bed, context);
        ASSERT_OK(&bed, aee_wait_ready(bed.engine, context, scaled(5 * SECOND), &bed.error));
        assert_int_equal(get(&bed, context, "sum"), sum);
    }
    atomic_store(&caller.stop, true);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_true(atomic_load(&caller.good) > 0);
    bed_close(&bed);
}

int main(void)
{
    skip_without_backend();
    (void)snprintf(folder, sizeof folder, "/tmp/aee-snapshots-XXXXXX");
    if (!mkdtemp(folder) || chdir(folder) != 0) {
        return 1;
    }
    (void)snprintf(path, sizeof path, "%s/state.snap", folder);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_process), /* first: forks */
        cmocka_unit_test(test_one_lane),
        cmocka_unit_test(test_four_lanes),
        cmocka_unit_test(test_cleared_data),
        cmocka_unit_test(test_quarantined),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_declared_ranges),
        cmocka_unit_test(test_declared_state),
        cmocka_unit_test(test_what_does_not_fit),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_reentry),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_system_calls_fail),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_while_others_call),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    (void)rmdir(folder);
    return failed;
}
