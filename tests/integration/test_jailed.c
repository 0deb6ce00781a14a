/* test_jailed.c: an engine with a jail: which threads are in it, what the engine's own functions
 * may still do, and that a jail that cannot be had is an error. */
#include "batch.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sys.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
enum { WAITERS = 12 };

/* ---- Which thread this is --------------------------------------------------------------------- */

/* The jail refuses this one, which cannot fail otherwise. */
static bool is_jailed(void)
{
    return syscall(SYS_getppid) == -1 && errno == EPERM;
}

struct task {
    char name[32];
    int seccomp;
    int no_new_privs;
};

static bool read_task(const char *number, struct task *task)
{
    char path[300];
    char line[256];
    (void)snprintf(path, sizeof path, "/proc/self/task/%s/status", number);
    FILE *file = fopen(path, "r");
    memset(task, 0, sizeof *task);
    while (file && fgets(line, sizeof line, file)) {
        (void)sscanf(line, "Name: %31s", task->name);
        (void)sscanf(line, "Seccomp: %d", &task->seccomp);
        (void)sscanf(line, "NoNewPrivs: %d", &task->no_new_privs);
    }
    if (file) {
        (void)fclose(file);
    }
    return file != NULL;
}

/* ---- An engine that notes where its functions run --------------------------------------------- */

static struct {
    _Atomic uint32_t asked;
    _Atomic uint32_t inside;
    _Atomic uint32_t failed; /* system calls that the functions were refused */
    _Atomic uint32_t jailed; /* times that something of the engine ran in the jail */
    _Atomic uint32_t lines;
} noted;

static void note_thread(void)
{
    (void)atomic_fetch_add(&noted.jailed, is_jailed());
}

static void *noting_alloc(void *user, void *old, size_t old_size, size_t size)
{
    (void)user;
    (void)old_size;
    note_thread();
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

static void noting_log(void *user, aee_log_level level, aee_context context, const char *line)
{
    (void)user;
    (void)level;
    (void)context;
    note_thread();
    (void)atomic_fetch_add(&noted.lines, strncmp(line, "number ", 7) == 0);
}

/* Needs what no jailed thread has. */
static aee_result host_add(void *user, aee_host_call *call)
{
    (void)user;
    int fd = open("/", O_RDONLY | O_CLOEXEC);
    int end = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    note_thread();
    (void)atomic_fetch_add(&noted.failed, (uint32_t)(fd < 0) + (end < 0));
    (void)close(fd);
    (void)close(end);
    (void)atomic_fetch_add(&noted.asked, 1);
    call->result = call->args[0] + call->args[1];
    return AEE_OK;
}

static aee_result host_upper(void *user, aee_host_call *call)
{
    (void)user;
    note_thread();
    memcpy(call->reply, call->payload, call->payload_size);
    call->reply_size = call->payload_size;
    return AEE_OK;
}

/* Waits until all are here. */
static aee_result host_wait(void *user, aee_host_call *call)
{
    (void)user;
    note_thread();
    (void)atomic_fetch_add(&noted.inside, 1);
    while (atomic_load(&noted.inside) < WAITERS && !aee_host_call_cancelled(call)) {
        sleep_ns(MS);
    }
    call->result = call->args[0];
    return AEE_OK;
}

static int open_jailed(void **state)
{
    static struct bed bed;
    aee_engine_desc desc = {.struct_size = sizeof desc,
                            .alloc = noting_alloc,
                            .log = noting_log,
                            .worker_threads = 2,
                            .jail = AEE_JAIL_ON};
    memset(&noted, 0, sizeof noted);
    bed_open(&bed, &desc);
    ASSERT_OK(&bed, aee_register_host_function(bed.engine, "host_add", host_add, NULL, &bed.error));
    ASSERT_OK(&bed,
              aee_register_host_function(bed.engine, "host_upper", host_upper, NULL, &bed.error));
    ASSERT_OK(&bed, aee_register_host_function(bed.engine, "wait", host_wait, NULL, &bed.error));
    *state = &bed;
    return 0;
}

static void grant(struct bed *bed, aee_context context)
{
    static const char *const names[] = {"host_add", "host_upper", "wait"};
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        ASSERT_OK(bed, aee_grant_host_function(bed->engine, context, names[i], &bed->error));
    }
}

static void expect_free(void)
{
    assert_int_equal(atomic_load(&noted.failed), 0);
    assert_int_equal(atomic_load(&noted.jailed), 0);
}

/* Takes the results without ever waiting in the library: nobody but its own threads does the work.
 */
static void poll_all(struct bed *bed, aee_batch batch, aee_completion *done, uint32_t count)
{
    uint64_t end = now_ns() + scaled(PATIENCE);
    uint32_t got = 0;
    while (got < count && now_ns() < end) {
        uint32_t now = 0;
        ASSERT_OK(bed, aee_poll(bed->engine, batch, done + got, count - got, &now, &bed->error));
        got += now;
        sleep_ns(MS / 10);
    }
    assert_int_equal(got, count);
}

/* ---- The tests -------------------------------------------------------------------------------- */

static void test_threads(void **state)
{
    struct bed *bed = *state;
    struct task task;
    uint32_t workers = 0;
    aee_context context = make_context(bed, "jailed", AEE_CALL_RING, 1);
    assert_int_equal(value2(bed, context, "blend", 3, 4, 2), blended(3, 4));
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *entry = readdir(tasks); entry; entry = readdir(tasks)) {
        if (entry->d_name[0] == '.' || !read_task(entry->d_name, &task)) {
            continue;
        }
        bool worker = strcmp(task.name, "aee-worker") == 0;
        workers += worker;
        if (task.seccomp != (worker ? 2 : 0) || task.no_new_privs != worker) {
            fail_msg("thread %s: Seccomp %d, NoNewPrivs %d", task.name, task.seccomp,
                     task.no_new_privs);
        }
    }
    (void)closedir(tasks);
    assert_true(workers > 0);
    expect_free();
}

/* What a worker does when a component ends badly. */
static void test_crashes(void **state)
{
    struct bed *bed = *state;
    aee_crash crash;
    aee_context context = make_mortal(bed, "jailed", AEE_CALL_RING, 2);
    int64_t value;
    assert_int_equal(call2(bed, context, "trap", 0, 0, 0, &value), AEE_ERR_CRASHED);
    ASSERT_OK(bed, aee_last_crash(bed->engine, context, &crash, &bed->error));
    assert_string_equal(crash.function, "trap");
    assert_true(crash.registers.rip != 0);
    await_ready(bed, context);
    assert_int_equal(call2(bed, context, "read_i64", 0x123, 0, 1, &value), AEE_ERR_CRASHED);
    ASSERT_OK(bed, aee_last_crash(bed->engine, context, &crash, &bed->error));
    assert_int_equal(crash.fault_address, 0x123);
    await_ready(bed, context);
    set_budget(bed, context, scaled(SECOND / 20));
    assert_int_equal(call2(bed, context, "hang", 0, 0, 1, &value), AEE_ERR_HUNG);
    await_ready(bed, context);
    assert_int_equal(value2(bed, context, "blend", 5, 6, 2), blended(5, 6));
    expect_free();
}

/* Host functions and log lines of calls that nobody waits for. */
static void test_host_functions(void **state)
{
    enum { CALLS = 200 };
    struct bed *bed = *state;
    static aee_call_item items[CALLS + 1];
    static aee_completion done[CALLS + 1];
    static const char text[] = "text";
    char reply[8];
    size_t got = 0;
    aee_context context = make_context(bed, "asks", AEE_CALL_RING, 2);
    grant(bed, context);
    for (int i = 0; i < CALLS; i++) {
        items[i] = item2(context, find(bed, context, "ask"), i, 5);
    }
    items[CALLS] = item1(context, find(bed, context, "say"), 7);
    poll_all(bed, submit(bed, items, CALLS + 1), done, CALLS + 1);
    for (unsigned i = 0; i < CALLS + 1; i++) {
        int64_t wanted = done[i].index < CALLS ? (int64_t)done[i].index + 5 : 7;
        assert_int_equal(done[i].result, AEE_OK);
        assert_int_equal(done[i].value.as.i64, wanted);
    }
    assert_int_equal(atomic_load(&noted.asked), CALLS);
    assert_int_equal(atomic_load(&noted.lines), 1);
    ASSERT_OK(bed, aee_call_bytes(bed->engine, context, find(bed, context, "ask_bytes"), text,
                                  sizeof text, reply, sizeof reply, &got, &bed->error));
    assert_int_equal(got, sizeof text);
    assert_string_equal(reply, text);
    expect_free();
}

/* More functions that wait for each other than there are workers: each has a thread, and so has the
 * component behind it; jailed threads ask for both. */
static void test_waiting_functions(void **state)
{
    struct bed *bed = *state;
    aee_call_item items[WAITERS];
    aee_completion done[WAITERS];
    for (int i = 0; i < WAITERS; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "waits %d", i);
        aee_context context = make_context(bed, name, AEE_CALL_RING, 1);
        grant(bed, context);
        items[i] = item1(context, find(bed, context, "wait_once"), i);
    }
    poll_all(bed, submit(bed, items, WAITERS), done, WAITERS);
    for (unsigned i = 0; i < WAITERS; i++) {
        assert_int_equal(done[i].result, AEE_OK);
        assert_int_equal(done[i].value.as.i64, done[i].index);
    }
    assert_int_equal(atomic_load(&noted.inside), WAITERS);
    expect_free();
}

/* ---- Engines that are refused ----------------------------------------------------------------- */

static const char *failing;

static int fail_named(const char *name)
{
    return strcmp(name, failing) == 0 ? ENOSYS : 0;
}

static void test_no_jail(void **state)
{
    (void)state;
    aee_engine_desc desc = {.struct_size = sizeof desc, .jail = AEE_JAIL_ON};
    aee_error error;
    aee_engine *engine = (aee_engine *)&desc;
    failing = "seccomp";
    aee__sys_fault = fail_named;
    aee_result result = aee_engine_create(&desc, &engine, &error);
    aee__sys_fault = NULL;
    assert_int_equal(result, AEE_ERR_SYSTEM);
    assert_null(engine);
    assert_int_equal(error.os_errno, ENOSYS);
    assert_string_equal(error.text,
                        "cannot create an engine with a jail: a thread cannot be jailed: "
                        "seccomp(): Function not implemented");
}

static void test_modes(void **state)
{
    (void)state;
    aee_engine_desc desc = {.struct_size = sizeof desc, .jail = 3};
    struct bed bed = {0};
    assert_int_equal(aee_engine_create(&desc, &bed.engine, &bed.error), AEE_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(bed.error.text, "jail is 3"));
    desc.jail = AEE_JAIL_LOG;
    bed_open(&bed, &desc);
    aee_context context = make_context(&bed, "logged", AEE_CALL_RING, 1);
    assert_int_equal(value2(&bed, context, "blend", 1, 2, 2), blended(1, 2));
    bed_close(&bed);
}

static void test_fact(void **state)
{
    (void)state;
    aee_probe_report report;
    const aee_fact *fact = NULL;
    assert_int_equal(aee_probe(&report, NULL), AEE_OK);
    for (uint32_t i = 0; i < report.fact_count; i++) {
        fact = strcmp(report.facts[i].name, "seccomp.jail") == 0 ? &report.facts[i] : fact;
    }
    assert_non_null(fact);
    assert_string_equal(fact->value, "yes");
    failing = "seccomp";
    aee__sys_fault = fail_named;
    assert_int_equal(aee_probe(&report, NULL), AEE_OK);
    aee__sys_fault = NULL;
    fact = &report.facts[report.fact_count - 1];
    assert_string_equal(fact->value, "no");
    assert_non_null(strstr(fact->how, "Function not implemented"));
    assert_true(report.level > AEE_LEVEL_NONE); /* an engine without a jail does without */
}

#define JAILED(test) cmocka_unit_test_setup_teardown(test, open_jailed, close_bed)

int main(void)
{
    aee_probe_report report;
    const struct CMUnitTest tests[] = {
        JAILED(test_threads),           JAILED(test_crashes),
        JAILED(test_host_functions),    JAILED(test_waiting_functions),
        cmocka_unit_test(test_no_jail), cmocka_unit_test(test_modes),
        cmocka_unit_test(test_fact),
    };
    skip_without_backend();
    if (aee_probe(&report, NULL) != AEE_OK || report.fact_count == 0 ||
        strcmp(report.facts[report.fact_count - 1].value, "no") == 0) {
        printf("SKIP: %s\n", report.facts[report.fact_count - 1].how);
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
