/* test_container.c: what level container has beside level process: control groups around cells,
 * and what happens where a host does not give all of it. */
#include <errno.h>
#include <glob.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/sys.h"
#include "harness.h"

#define OWN_BYTES (UINT64_C(16) << 20) /* beside what is mapped */

static int open_bed(void **state)
{
    static struct bed bed;
    bed_open(&bed, &(aee_engine_desc){.struct_size = sizeof(aee_engine_desc),
                                      .level = AEE_LEVEL_CONTAINER,
                                      .pool_size = 1});
    *state = &bed;
    return 0;
}

static int close_bed(void **state)
{
    bed_close(*state);
    return 0;
}

/* The number in a file, or UINT64_MAX. */
static uint64_t read_number(const char *path)
{
    FILE *file = fopen(path, "r");
    unsigned long long number = UINT64_MAX;
    if (file) {
        (void)fscanf(file, "%llu", &number);
        (void)fclose(file);
    }
    return number;
}

/* The file of the cell's group that has a limit there, which those in the pool do not; in version 1
 * or 2. False: there is none. */
static bool find_file(const char *controller, const char *file, char *path, size_t size)
{
    static const char *const above[] = {"", "*/", "*/*/", "*/*/*/"};
    char pattern[256];
    bool found = false;
    for (unsigned i = 0; !found && i < sizeof above / sizeof above[0]; i++) {
        glob_t matches;
        (void)snprintf(pattern, sizeof pattern, "/sys/fs/cgroup/%s%saee-%d-*/cell-*/%s", controller,
                       above[i], (int)getpid(), file);
        int status = glob(pattern, 0, NULL, &matches);
        for (size_t k = 0; status == 0 && !found && k < matches.gl_pathc; k++) {
            (void)snprintf(path, size, "%s", matches.gl_pathv[k]);
            found = read_number(path) < INT64_MAX / 4096 * 4096;
        }
        globfree(&matches);
    }
    return found;
}

static void write_number(const char *path, uint64_t number)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "%llu", (unsigned long long)number) > 0);
    assert_int_equal(fclose(file), 0);
}

static void need_memory_group(char *path, size_t size)
{
    if (!find_file("memory/", "memory.limit_in_bytes", path, size) &&
        !find_file("", "memory.max", path, size)) {
        print_message("    no control group for memory can be had here\n");
        skip();
    }
}

static void limits_follow_what_is_mapped(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "grouped", AEE_CALL_DIRECT, 2);
    char path[256];
    need_memory_group(path, sizeof path);
    uint64_t before = read_number(path);
    assert_true(before > OWN_BYTES + (UINT64_C(16) << 20)); /* the heap */
    assert_true(before < OWN_BYTES + (UINT64_C(32) << 20));
    aee_region region;
    ASSERT_OK(bed, aee_region_create(bed->engine,
                                     &(aee_region_desc){.struct_size = sizeof(aee_region_desc),
                                                        .name = "lent",
                                                        .size_bytes = 8 << 20},
                                     &region, &bed->error));
    uint64_t address;
    ASSERT_OK(bed, aee_region_map(bed->engine, context, region, AEE_ACCESS_READ_WRITE, &address,
                                  &bed->error));
    assert_int_equal(read_number(path), before + (8 << 20));
    assert_int_equal(value2(bed, context, "touch", (int64_t)address, (8 << 20) / 4096, 2),
                     (8 << 20) / 4096);
    ASSERT_OK(bed, aee_allocate_isolated_memory(bed->engine, context, 32, &bed->error));
    assert_int_equal(read_number(path), before + (8 << 20) + (16 << 20));
    if (find_file("pids/", "pids.max", path, sizeof path) ||
        find_file("", "pids.max", path, sizeof path)) {
        assert_int_equal(read_number(path), 9);
    }
    if (find_file("cpu/", "cpu.cfs_quota_us", path, sizeof path)) {
        assert_int_equal(read_number(path),
                         2 * read_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
    }
    ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
}

/* The kernel kills for want of memory; that is a crash like any other. */
static void want_of_memory_is_a_crash(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "hungry", AEE_CALL_DIRECT, 1);
    char path[256];
    need_memory_group(path, sizeof path);
    aee_context other = make_context(bed, "other", AEE_CALL_DIRECT, 1);
    write_number(path, UINT64_C(2) << 20);
    const int64_t address = 0x100000000 + (2 << 20); /* in its heap */
    int64_t value;
    assert_int_equal(call2(bed, context, "touch", address, (12 << 20) / 4096, 2, &value),
                     AEE_ERR_CRASHED);
    aee_crash crash;
    ASSERT_OK(bed, aee_last_crash(bed->engine, context, &crash, &bed->error));
    assert_int_equal(crash.cause, AEE_CRASH_KILLED);
    assert_non_null(strstr(crash.text, "out of memory"));
    ASSERT_OK(bed, aee_wait_ready(bed->engine, context, 10 * SECOND, &bed->error));
    assert_int_equal(value2(bed, context, "touch", address, (12 << 20) / 4096, 2),
                     (12 << 20) / 4096);
    assert_int_equal(value0(bed, other, "count"), 1);
}

static void nothing_is_left(void **state)
{
    (void)state;
    char path[256];
    struct bed bed;
    bed_open(&bed, &(aee_engine_desc){.struct_size = sizeof(aee_engine_desc),
                                      .level = AEE_LEVEL_CONTAINER});
    (void)make_context(&bed, "brief", AEE_CALL_RING, 1);
    bed_close(&bed);
    assert_false(find_file("memory/", "memory.usage_in_bytes", path, sizeof path));
    assert_false(find_file("pids/", "pids.current", path, sizeof path));
    assert_false(find_file("", "pids.current", path, sizeof path));
}

/* ---- Hosts that give less ----------------------------------------------------------------- */

static const char *failing;
static unsigned failures_left;

static int fail_call(const char *name)
{
    if (failures_left == 0 || strcmp(name, failing) != 0) {
        return 0;
    }
    failures_left--;
    return EPERM;
}

static char fallback[248];

static void note_fallback(void *user, const aee_event *event)
{
    (void)user;
    if (event->type == AEE_EVENT_FALLBACK) {
        (void)snprintf(fallback, sizeof fallback, "%s", event->text);
    }
}

/* An engine on a host where the first calls of that name fail; it works, and says what is missing.
 */
static void live_without(const char *name, unsigned times, const char *word)
{
    struct bed bed = {0};
    fallback[0] = '\0';
    failing = name;
    failures_left = times;
    aee__sys_fault = fail_call;
    aee_result result = aee_engine_create(
        &(aee_engine_desc){.struct_size = sizeof(aee_engine_desc), .level = AEE_LEVEL_CONTAINER},
        &bed.engine, &bed.error);
    aee__sys_fault = NULL;
    if (result != AEE_OK) {
        fail_msg("%s", bed.error.text);
    }
    ASSERT_OK(&bed, aee_set_event_callback(bed.engine, note_fallback, NULL, &bed.error));
    ASSERT_OK(&bed, aee_poll_events(bed.engine, NULL, &bed.error));
    if (!strstr(fallback, word)) {
        fail_msg("no \"%s\" in \"%s\"", word, fallback);
    }
    aee_context context = make_context(&bed, "content", AEE_CALL_DIRECT, 1);
    assert_int_equal(value0(&bed, context, "count"), 1);
    bed_close(&bed);
}

static void groups_are_not_needed(void **state)
{
    (void)state;
    live_without("mkdir", 3, "memory: Operation not permitted; cpu: ");
}

static void a_user_namespace_is_not_needed_by_root(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        print_message("    for root only\n");
        skip();
    }
    live_without("clone", 1, "no user namespace");
}

static void without_namespaces_there_is_no_container(void **state)
{
    (void)state;
    aee_engine *engine = NULL;
    aee_error error;
    failing = "clone";
    failures_left = 4;
    aee__sys_fault = fail_call;
    aee_result result = aee_engine_create(
        &(aee_engine_desc){.struct_size = sizeof(aee_engine_desc), .level = AEE_LEVEL_CONTAINER},
        &engine, &error);
    aee__sys_fault = NULL;
    assert_int_equal(result, AEE_ERR_NO_BACKEND);
    assert_int_equal(error.os_errno, EPERM);
    assert_non_null(strstr(error.text, "container: cannot start a cell's process"));
    assert_null(engine);
}

int main(void)
{
    (void)unsetenv("AEE_FORCE_LEVEL"); /* these tests are about one level */
    aee_engine *engine;
    aee_error error;
    const aee_engine_desc desc = {.struct_size = sizeof desc, .level = AEE_LEVEL_CONTAINER};
    if (aee_engine_create(&desc, &engine, &error) != AEE_OK) {
        printf("SKIP: %s\n", error.text);
        return 77;
    }
    aee_engine_destroy(engine);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(limits_follow_what_is_mapped, open_bed, close_bed),
        cmocka_unit_test_setup_teardown(want_of_memory_is_a_crash, open_bed, close_bed),
        cmocka_unit_test(nothing_is_left),
        cmocka_unit_test(groups_are_not_needed),
        cmocka_unit_test(a_user_namespace_is_not_needed_by_root),
        cmocka_unit_test(without_namespaces_there_is_no_container),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
