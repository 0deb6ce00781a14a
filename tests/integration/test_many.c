/* test_many.c: a thousand contexts in one process: threads, descriptors and mappings stay bounded,
 * and where the process may have no more, one clear error comes and the others go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "faults/support.h"

/* What one context may take: the image's memory file, the machine and its vCPU, or of a cell its
 * process, its socket and the two that tell of written pages; the memory and the page that the vCPU
 * shares. docs/memory.md tells users so. */
enum { CONTEXTS = 1000, MOST = 4096, FDS_EACH = 5, MAPPINGS_EACH = 2, ENGINE_THREADS = 4 };

static struct file minimal;
static aee_context contexts[MOST];

static void must(aee_result result, const aee_error *error)
{
    if (result != AEE_OK) {
        fail_msg("%s: %s", aee_result_name(result), error->text);
    }
}

static aee_engine *make_engine(void)
{
    aee_engine *engine;
    aee_error error;
    aee_engine_desc desc = {.struct_size = sizeof desc, .max_contexts = MOST};
    must(aee_engine_create(&desc, &engine, &error), &error);
    return engine;
}

/* Fewer where memory is short, files are few or everything is slow; AEE_TEST_CONTEXTS asks for
 * another number, up to MOST. */
static unsigned affordable(void)
{
    const char *wanted = getenv("AEE_TEST_CONTEXTS");
    unsigned long count = wanted ? strtoul(wanted, NULL, 10) : SANITIZED ? 100 : CONTEXTS;
    unsigned long available_kib = 0;
    struct rlimit files;
    char line[256];
    FILE *meminfo = fopen("/proc/meminfo", "r");
    while (meminfo && fgets(line, sizeof line, meminfo)) {
        (void)sscanf(line, "MemAvailable: %lu kB", &available_kib);
    }
    if (meminfo) {
        (void)fclose(meminfo);
    }
    (void)getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max; /* as an engine with many contexts has to */
    (void)setrlimit(RLIMIT_NOFILE, &files);
    unsigned long by_memory = available_kib / 2 / 512;
    unsigned long by_files = (unsigned long)(files.rlim_cur - 100) / FDS_EACH;
    count = count < by_memory ? count : by_memory;
    count = count < by_files ? count : by_files;
    return (unsigned)(count < MOST ? count : MOST);
}

static aee_result make(aee_engine *engine, unsigned number, aee_context *out, aee_error *error)
{
    char name[32];
    aee_function add;
    int64_t args[2] = {(int64_t)number, 1};
    int64_t sum = 0;
    (void)snprintf(name, sizeof name, "many %u", number);
    aee_result result = aee_create_isolated_context(engine, name, out, error);
    if (result == AEE_OK) {
        result = aee_load(engine, *out, minimal.bytes, minimal.size, error);
    }
    if (result == AEE_OK) {
        must(aee_find_function(engine, *out, "add", &add, error), error);
        must(aee_call_i64(engine, *out, add, args, 2, &sum, error), error);
        assert_int_equal(sum, number + 1);
    }
    return result;
}

/* Threads but those that Linux 6.12 and later makes for each virtual machine, to take large pages
 * apart (kvm.nx_huge_pages): they sleep, and appear as ours. */
static int count_threads(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *task = readdir(tasks); task; task = readdir(tasks)) {
        char path[300];
        char name[32] = "";
        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *comm = task->d_name[0] == '.' ? NULL : fopen(path, "r");
        count += comm && fgets(name, sizeof name, comm) && strncmp(name, "kvm-nx", 6) != 0;
        if (comm) {
            (void)fclose(comm);
        }
    }
    (void)closedir(tasks);
    return count;
}

static void check_info(aee_engine *engine, unsigned number)
{
    aee_context_info info;
    aee_error error;
    char name[32];
    (void)snprintf(name, sizeof name, "many %u", number);
    must(aee_get_context_info(engine, contexts[number], &info, &error), &error);
    assert_string_equal(info.name, name);
    assert_int_equal(info.state, AEE_STATE_READY);
    assert_int_equal(info.calls, 1);
    assert_int_equal(info.failed_calls, 0);
    assert_true(info.memory_resident > 0 && info.memory_resident <= 256 << 10);
}

static void test_a_thousand(void **state)
{
    (void)state;
    aee_error error;
    aee_stats stats;
    unsigned count = affordable();
    struct resources before = count_resources();
    int threads_before = count_threads();
    aee_engine *engine = make_engine();
    must(make(engine, 0, &contexts[0], &error), &error);
    struct resources one = count_resources();
    for (unsigned i = 1; i < count; i++) {
        must(make(engine, i, &contexts[i], &error), &error);
    }
    struct resources all = count_resources();
    int threads = count_threads();
    print_message("%u contexts: %d threads, %d descriptors, %d mappings\n", count, threads, all.fds,
                  all.mappings);
    assert_true(threads <= threads_before + ENGINE_THREADS + 16);
    /* Beside the pool, which is being filled when the first is counted. */
    assert_true(all.fds - one.fds <= (int)(count - 1) * FDS_EACH + 8);
    assert_true(all.named - one.named <= (int)(count - 1) * MAPPINGS_EACH + 4);
    for (unsigned i = 0; i < count; i++) {
        check_info(engine, i);
    }
    must(aee_get_stats(engine, &stats, &error), &error);
    assert_int_equal(stats.active_contexts, count);
    for (unsigned i = 0; i < count; i += 2) { /* the rest goes with the engine */
        must(aee_destroy(engine, contexts[i], &error), &error);
    }
    aee_engine_destroy(engine);
    struct resources after;
    assert_true(back_to(&before, &after));
    assert_true(SANITIZED || after.mappings <= before.mappings + 20); /* the C library's own heap */
}

static void test_too_many_files(void **state)
{
    (void)state;
    enum { ROOM = 64 };
    struct rlimit files;
    aee_error error;
    aee_engine *engine = make_engine();
    must(make(engine, 0, &contexts[0], &error), &error);
    (void)getrlimit(RLIMIT_NOFILE, &files);
    struct rlimit few = {(rlim_t)count_resources().fds + ROOM, files.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    aee_result result = AEE_OK;
    unsigned made = 1;
    while (made < ROOM && result == AEE_OK) {
        result = make(engine, made, &contexts[made], &error);
        made += result == AEE_OK;
    }
    (void)setrlimit(RLIMIT_NOFILE, &files);
    assert_int_equal(result, AEE_ERR_LIMIT);
    assert_non_null(strstr(error.text, "RLIMIT_NOFILE"));
    assert_true(made > ROOM / FDS_EACH / 2);
    for (unsigned i = 0; i < made; i++) {
        check_info(engine, i);
    }
    /* The one that could not be loaded can be now. */
    must(aee_load(engine, contexts[made], minimal.bytes, minimal.size, &error), &error);
    aee_engine_destroy(engine);
}

/* The engine's own limit. */
static void test_max_contexts(void **state)
{
    (void)state;
    aee_engine *engine;
    aee_error error;
    aee_engine_desc desc = {.struct_size = sizeof desc, .max_contexts = 3};
    must(aee_engine_create(&desc, &engine, &error), &error);
    for (unsigned i = 0; i < 3; i++) {
        must(make(engine, i, &contexts[i], &error), &error);
    }
    assert_int_equal(aee_create_isolated_context(engine, "more", &contexts[3], &error),
                     AEE_ERR_LIMIT);
    assert_non_null(strstr(error.text, "3 contexts"));
    must(aee_destroy(engine, contexts[1], &error), &error);
    must(make(engine, 4, &contexts[1], &error), &error);
    aee_engine_destroy(engine);
}

int main(void)
{
    int skip = skip_without_engine();
    if (skip) {
        return skip;
    }
    minimal = read_component("minimal");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thousand),
        cmocka_unit_test(test_too_many_files),
        cmocka_unit_test(test_max_contexts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
