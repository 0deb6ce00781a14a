/* test_crash_reports.c: what aee_crash_json() and core files say of crashes of each kind: the stack
 * trace with its lines, for both kinds of image, the calls, the log, the map; and what happens
 * where files cannot be written. */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"

enum kind {
    NULL_POINTER,
    CONSTANT,
    DIVISION,
    CALL_NULL,
    ABORT,
    FREED,
    HUNG,
    WILD_STACK,
    DOUBLE_FREE,
    OVERRUN,
    DEEP,
    INVALID,
};

#ifdef __SANITIZE_ADDRESS__
/* libdw forgets some bytes when it gives a damaged image up. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libdw.so\n";
}
#endif

static char report[1 << 20];
static const char *const images[] = {AEE_CRASHBED, AEE_CRASHBED_PIE};

/* ---- Support ------------------------------------------------------------------------------ */

/* Number of the line of crashbed.c that is marked so. */
static unsigned marked(const char *mark)
{
    char line[256];
    char wanted[64];
    unsigned number = 0;
    FILE *file = fopen(AEE_CRASHBED_SOURCE, "r");
    assert_non_null(file);
    (void)snprintf(wanted, sizeof wanted, "/* line: %s */", mark);
    while (fgets(line, sizeof line, file)) {
        number++;
        if (strstr(line, wanted)) {
            (void)fclose(file);
            return number;
        }
    }
    fail_msg("no line is marked with %s", wanted);
    return 0;
}

static aee_context make(struct bed *bed, const char *name, const void *bytes, size_t size)
{
    const aee_context_desc desc = {
        .struct_size = sizeof desc,
        .name = name,
        .limits = {.restarts = 63, .lanes = 2, .call_budget_ns = scaled(SECOND / 4)}};
    aee_context context = {0};
    ASSERT_OK(bed, aee_context_create(bed->engine, &desc, &context, &bed->error));
    ASSERT_OK(bed, aee_load(bed->engine, context, bytes, size, &bed->error));
    return context;
}

static char *read_image(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc(4u << 20);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 4u << 20, file);
    (void)fclose(file);
    return bytes;
}

static aee_context make_image(struct bed *bed, const char *name, const char *path)
{
    size_t size;
    char *bytes = read_image(path, &size);
    aee_context context = make(bed, name, bytes, size);
    free(bytes);
    return context;
}

static void crash(struct bed *bed, aee_context context, int64_t kind)
{
    ASSERT_OK(bed, aee_wait_ready(bed->engine, context, 10 * SECOND, &bed->error));
    aee_result result = call2(bed, context, "crash", kind, 0, 1, NULL);
    if (result != (kind == HUNG ? AEE_ERR_HUNG : AEE_ERR_CRASHED)) {
        fail_msg("kind %d: %s, %s", (int)kind, aee_result_name(result), bed->error.text);
    }
}

static void get_report(struct bed *bed, aee_context context, uint32_t flags)
{
    size_t size = 0;
    ASSERT_OK(bed, aee_crash_json(bed->engine, context, flags, report, sizeof report, &size,
                                  &bed->error));
    assert_int_equal(strlen(report), size);
}

static void expect(const char *text)
{
    if (!strstr(report, text)) {
        fail_msg("'%s' is not in the report:\n%s", text, report);
    }
}

/* The next frame of the trace from `at` on is of that function at that line (0: any). */
static const char *expect_frame(const char *at, const char *function, unsigned line)
{
    char wanted[96];
    const char *next = strstr(at, "\"pc\"");
    const char *end = next ? strchr(next, '}') : NULL;
    (void)snprintf(wanted, sizeof wanted, "\"function\": \"%s\"", function);
    const char *found = next ? strstr(next, wanted) : NULL;
    if (!found || found > end) {
        fail_msg("frame of %s expected at: %.300s\nin %s", function, at, report);
    }
    (void)snprintf(wanted, sizeof wanted, "\"line\": %u,", line);
    found = strstr(next, wanted);
    if (line > 0 && (!found || found > end)) {
        fail_msg("line %u of %s expected: %.300s", line, function, next);
    }
    return end;
}

static const char *trace(void)
{
    const char *at = strstr(report, "\"trace\": [");
    assert_non_null(at);
    return at;
}

/* What called inner(), outwards, and nothing else. */
static void expect_callers(const char *at)
{
    at = expect_frame(at, "folded", marked("folded"));
    at = expect_frame(at, "middle", marked("middle"));
    at = expect_frame(at, "crash", marked("outer"));
    assert_true(strspn(at, "} \n]") > 3); /* the end of the array */
}

/* ---- Reports ------------------------------------------------------------------------------ */

static void test_traces(void **state)
{
    (void)state;
    static const struct {
        enum kind kind;
        const char *mark; /* of inner()'s line */
    } cases[] = {{NULL_POINTER, "null"}, {CONSTANT, "constant"}, {HUNG, "hung"}};
    struct bed bed;
    bed_open(&bed, NULL);
    for (unsigned i = 0; i < 2; i++) {
        aee_context context = make_image(&bed, "crashbed", images[i]);
        for (unsigned k = 0; k < sizeof cases / sizeof cases[0]; k++) {
            crash(&bed, context, cases[k].kind);
            get_report(&bed, context, 0);
            /* A loop has several lines. */
            unsigned line = cases[k].kind == HUNG ? 0 : marked(cases[k].mark);
            expect_callers(expect_frame(trace(), "inner", line));
            expect("\"inlined\": true");
        }
        crash(&bed, context, DIVISION);
        get_report(&bed, context, 0);
        const char *at = expect_frame(trace(), "divide", marked("divide"));
        expect_callers(expect_frame(at, "inner", marked("division")));
        crash(&bed, context, CALL_NULL);
        get_report(&bed, context, 0);
        expect("null pointer + 0");
        expect_callers(expect_frame(expect_frame(trace(), "", 0), "inner", marked("nowhere")));
        crash(&bed, context, ABORT);
        get_report(&bed, context, 0);
        at = expect_frame(expect_frame(trace(), "give_up", 0), "aee_abort", 0);
        expect_callers(expect_frame(at, "inner", marked("abort")));
    }
    bed_close(&bed);
}

static void test_addresses(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make_image(&bed, "crashbed", AEE_CRASHBED);
    crash(&bed, context, CONSTANT);
    get_report(&bed, context, AEE_CRASH_NO_TRACE);
    expect("read-only data, variable \\\"constants\\\"+0x10");
    assert_null(strstr(report, "\"trace\""));
    crash(&bed, context, FREED);
    get_report(&bed, context, 0);
    expect("(the heap, inside a freed block of 48 bytes at +8)");
    expect("\"fault_place\": \"heap: inside a freed block of 48 bytes at +8\"");
    (void)expect_frame(expect_frame(trace(), "", 0), "call_freed", marked("freed"));
    crash(&bed, context, DEEP);
    get_report(&bed, context, 0);
    expect("the guard below the stack of lane 0: stack overflow");
    const char *at = trace();
    for (unsigned i = 0; i < 20; i++) {
        at = expect_frame(at, "deep", 0);
    }
    crash(&bed, context, INVALID);
    get_report(&bed, context, 0);
    expect("invalid instruction");
    bed_close(&bed);
}

static void test_contents(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make_image(&bed, "crashbed", AEE_CRASHBED);
    const aee_region_desc desc = {
        .struct_size = sizeof desc, .name = "positions", .size_bytes = 8192};
    aee_region region;
    uint64_t address = 0;
    ASSERT_OK(&bed, aee_region_create(bed.engine, &desc, &region, &bed.error));
    ASSERT_OK(&bed,
              aee_region_map(bed.engine, context, region, AEE_ACCESS_READ, &address, &bed.error));
    for (int64_t i = 0; i < 40; i++) {
        assert_int_equal(value2(&bed, context, "fine", i, 0, 1), i);
    }
    assert_int_equal(call2(&bed, context, "poke", (int64_t)address + 24, 0, 1, NULL),
                     AEE_ERR_CRASHED);
    get_report(&bed, context, 0);
    const char *at = expect_frame(trace(), "poke_inner", marked("poke"));
    (void)expect_frame(at, "poke", 0);
    expect("region \\\"positions\\\", read-only");
    expect("\"fault_place\": \"region \\\"positions\\\"+0x18, read-only\"");
    expect("\"rights\": \"r--\",\n      \"what\": \"region\",\n      \"name\": \"positions\"");
    expect("\"what\": \"heap\"");
    expect("\"what\": \"stack\",\n      \"name\": \"lane 1\"");
    expect("\"function\": \"poke\",\n          \"answered\": false");
    expect("\"text\": \"fine 39\"");
    expect("\"text\": \"fine 10\"");
    unsigned lines = 0;
    for (at = report; (at = strstr(at, "\"(log)\"")) != NULL; at++) {
        lines++;
    }
    assert_in_range(lines, 32, 64); /* 32 of each lane */
    bed_close(&bed);
}

static void test_wrong_use(void **state)
{
    (void)state;
    struct bed bed;
    size_t size = 7;
    bed_open(&bed, NULL);
    aee_context context = make_image(&bed, "crashbed", AEE_CRASHBED);
    char small[64] = "untouched";
    assert_int_equal(aee_crash_json(bed.engine, context, 0, small, sizeof small, &size, &bed.error),
                     AEE_ERR_NOT_FOUND);
    assert_int_equal(size, 0);
    crash(&bed, context, NULL_POINTER);
    assert_int_equal(aee_crash_json(bed.engine, context, 0, small, sizeof small, &size, &bed.error),
                     AEE_ERR_TOO_LARGE);
    assert_string_equal(small, "untouched");
    get_report(&bed, context, 0);
    assert_in_range(strlen(report), size - 64, size + 64); /* but for times */
    assert_int_equal(aee_crash_json(bed.engine, context, 0, NULL, 5, &size, &bed.error),
                     AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_crash_json(bed.engine, context, 0, small, 5, NULL, &bed.error),
                     AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_crash_json(bed.engine, context, 8, small, 5, &size, &bed.error),
                     AEE_ERR_INVALID_ARGUMENT);
    aee_crash_files_desc files = {.struct_size = sizeof files};
    assert_int_equal(aee_set_crash_files(bed.engine, context, &files, &bed.error),
                     AEE_ERR_INVALID_ARGUMENT);
    files.directory = "/nowhere/at/all";
    assert_int_equal(aee_set_crash_files(bed.engine, context, &files, &bed.error), AEE_ERR_SYSTEM);
    assert_non_null(strstr(bed.error.text, "/nowhere/at/all"));
    files.directory = "/tmp";
    files.flags = 64;
    assert_int_equal(aee_set_crash_files(bed.engine, context, &files, &bed.error),
                     AEE_ERR_INVALID_ARGUMENT);
    bed_close(&bed);
}

/* Without debugging information callers are guessed, and said to be; a compressed section is not
 * read, and images that name other files are not either. */
static void test_poor_images(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *note;
    } cases[] = {{AEE_CRASH_PLAIN, NULL},
                 {AEE_CRASH_PACKED, "a section is compressed"},
                 {AEE_CRASH_SPLIT, "it refers to other files"}};
    struct bed bed;
    bed_open(&bed, NULL);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char note[96];
        aee_context context = make_image(&bed, "crashbed", cases[i].path);
        crash(&bed, context, NULL_POINTER);
        get_report(&bed, context, 0);
        const char *at = expect_frame(trace(), "inner", 0);
        assert_true(strstr(report, "\"guessed\"") > at);
        at = expect_frame(at, "middle", 0);
        (void)expect_frame(at, "crash", 0);
        assert_null(strstr(report, "\"line\""));
        (void)snprintf(note, sizeof note, "\"trace_note\": \"%s\"",
                       cases[i].note ? cases[i].note : "");
        if (cases[i].note) {
            expect(note);
        }
    }
    bed_close(&bed);
}

/* The report is of the image that crashed, whatever is loaded by then. */
static void test_older_image(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make_image(&bed, "crashbed", AEE_CRASHBED_PIE);
    crash(&bed, context, NULL_POINTER);
    for (unsigned i = 0; i < 4; i++) {
        ASSERT_OK(&bed, aee_wait_ready(bed.engine, context, 10 * SECOND, &bed.error));
        ASSERT_OK(&bed, aee_load_file(bed.engine, context, images[i % 2], &bed.error));
        get_report(&bed, context, 0);
        expect_callers(expect_frame(trace(), "inner", marked("null")));
    }
    for (unsigned i = 0; i < 4; i++) {
        ASSERT_OK(&bed, aee_wait_ready(bed.engine, context, 10 * SECOND, &bed.error));
        ASSERT_OK(&bed, aee_load_file(bed.engine, context, images[i % 2], &bed.error));
        crash(&bed, context, CONSTANT);
    }
    get_report(&bed, context, 0);
    expect_callers(expect_frame(trace(), "inner", marked("constant")));
    bed_close(&bed);
}

/* A worker finds the crash, which may be jailed (test_crash_reports_in_jail). */
static void test_on_worker(void **state)
{
    (void)state;
    struct bed bed;
    size_t size;
    char *bytes = read_image(AEE_CRASHBED, &size);
    bed_open(&bed, NULL);
    const aee_context_desc desc = {
        .struct_size = sizeof desc,
        .name = "crashbed",
        .call_mode = AEE_CALL_RING,
        .limits = {.restarts = 63, .lanes = 4, .call_budget_ns = scaled(SECOND / 4)}};
    aee_context context = {0};
    ASSERT_OK(&bed, aee_context_create(bed.engine, &desc, &context, &bed.error));
    ASSERT_OK(&bed, aee_load(bed.engine, context, bytes, size, &bed.error));
    for (unsigned i = 0; i < 10; i++) {
        ASSERT_OK(&bed, aee_wait_ready(bed.engine, context, 10 * SECOND, &bed.error));
        assert_int_equal(value2(&bed, context, "fine", i, 0, 1), i);
        crash(&bed, context, i % 2 ? DEEP : FREED);
        get_report(&bed, context, 0);
        if (i % 2) {
            (void)expect_frame(expect_frame(trace(), "deep", 0), "deep", 0);
        } else {
            (void)expect_frame(expect_frame(trace(), "", 0), "call_freed", marked("freed"));
        }
    }
    bed_close(&bed);
    free(bytes);
}

/* ---- Hostile ------------------------------------------------------------------------------ */

static void test_damaged_component(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make_image(&bed, "crashbed", AEE_CRASHBED);
    crash(&bed, context, WILD_STACK);
    get_report(&bed, context, 0);
    (void)expect_frame(trace(), "wild_stack", 0);
    crash(&bed, context, DOUBLE_FREE);
    get_report(&bed, context, 0);
    expect("freed twice");
    crash(&bed, context, OVERRUN);
    get_report(&bed, context, 0);
    expect("heap: memory was written beyond the end of an allocated block (block at 0x1000");
    bed_close(&bed);
}

struct section_range {
    size_t offset;
    size_t size;
};

/* Where the sections for debuggers lie: from the first to the last byte of them. */
static struct section_range debug_bytes(const char *bytes)
{
    uint64_t table;
    uint16_t count;
    uint16_t names;
    struct section_range range = {.offset = SIZE_MAX};
    size_t end = 0;
    memcpy(&table, bytes + 40, 8);
    memcpy(&count, bytes + 60, 2);
    memcpy(&names, bytes + 62, 2);
    uint64_t strings;
    memcpy(&strings, bytes + table + names * 64u + 24, 8);
    for (unsigned i = 0; i < count; i++) {
        uint32_t name;
        uint64_t offset;
        uint64_t size;
        memcpy(&name, bytes + table + i * 64u, 4);
        memcpy(&offset, bytes + table + i * 64u + 24, 8);
        memcpy(&size, bytes + table + i * 64u + 32, 8);
        if (strncmp(bytes + strings + name, ".debug_", 7) == 0) {
            range.offset = offset < range.offset ? offset : range.offset;
            end = offset + size > end ? offset + size : end;
        }
    }
    assert_true(end > range.offset);
    range.size = end - range.offset;
    return range;
}

/* Whatever the sections say, a report comes in time, with the sentence at least. */
static void test_damaged_sections(void **state)
{
    (void)state;
    enum { ROUNDS = 60, BYTES = 24 };
    struct bed bed;
    size_t size;
    uint64_t random = 88172645463325252u;
    char *bytes = read_image(AEE_CRASHBED, &size);
    char *copy = malloc(size);
    struct section_range range = debug_bytes(bytes);
    bed_open(&bed, NULL);
    aee_context context = make(&bed, "crashbed", bytes, size);
    for (unsigned round = 0; round < ROUNDS; round++) {
        memcpy(copy, bytes, size);
        for (unsigned i = 0; i < BYTES; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            copy[range.offset + random % range.size] = (char)(random >> 40);
        }
        if (round % 8 == 7) { /* or nothing but that byte */
            memset(copy + range.offset, (int)(random >> 40), range.size);
        }
        ASSERT_OK(&bed, aee_wait_ready(bed.engine, context, 10 * SECOND, &bed.error));
        ASSERT_OK(&bed, aee_load(bed.engine, context, copy, size, &bed.error));
        crash(&bed, context, round % 2 ? DIVISION : NULL_POINTER);
        get_report(&bed, context, 0);
        expect(round % 2 ? "division error in divide" : "null pointer + 16");
        expect("\"map\": [");
    }
    bed_close(&bed);
    free(copy);
    free(bytes);
}

static atomic_bool over;

static void *read_reports(void *argument)
{
    struct bed *bed = argument;
    char *text = malloc(1 << 20);
    size_t size;
    while (!atomic_load(&over)) {
        aee_error error;
        aee_result result =
            aee_crash_json(bed->engine, bed->context, 0, text, 1 << 20, &size, &error);
        if (result != AEE_OK && result != AEE_ERR_NOT_FOUND) {
            free(text);
            return argument;
        }
    }
    free(text);
    return NULL;
}

static void test_readers_and_crashes(void **state)
{
    (void)state;
    struct bed bed;
    pthread_t thread;
    void *failed = NULL;
    bed_open(&bed, NULL);
    bed.context = make_image(&bed, "crashbed", AEE_CRASHBED);
    assert_int_equal(pthread_create(&thread, NULL, read_reports, &bed), 0);
    for (unsigned i = 0; i < 50; i++) {
        ASSERT_OK(&bed, aee_wait_ready(bed.engine, bed.context, 10 * SECOND, &bed.error));
        crash(&bed, bed.context, i % 2 ? CONSTANT : NULL_POINTER);
    }
    atomic_store(&over, true);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    bed_close(&bed);
}

/* ---- Core files --------------------------------------------------------------------------- */

static char directory[64];
static char saved[256];  /* of the last event: the text */
static unsigned told[2]; /* events: saved, not saved */

static void on_event(void *user, const aee_event *event)
{
    (void)user;
    if (event->type == AEE_EVENT_CRASH_SAVED || event->type == AEE_EVENT_CRASH_NOT_SAVED) {
        (void)snprintf(saved, sizeof saved, "%s", event->text);
        told[event->type == AEE_EVENT_CRASH_NOT_SAVED]++;
    }
}

static void open_files(struct bed *bed, uint32_t max_files, uint64_t max_bytes)
{
    (void)snprintf(directory, sizeof directory, "/tmp/aee-cores-XXXXXX");
    assert_non_null(mkdtemp(directory));
    told[0] = told[1] = 0;
    bed_open(bed, NULL);
    ASSERT_OK(bed, aee_set_event_callback(bed->engine, on_event, NULL, &bed->error));
    const aee_crash_files_desc files = {.struct_size = sizeof files,
                                        .directory = directory,
                                        .max_files = max_files,
                                        .max_bytes = max_bytes};
    ASSERT_OK(bed, aee_set_crash_files(bed->engine, (aee_context){0}, &files, &bed->error));
}

/* How many names there are with that in them; all are removed where `remove_them`. */
static unsigned count_files(const char *part, bool remove_them)
{
    unsigned count = 0;
    DIR *list = opendir(directory);
    assert_non_null(list);
    const struct dirent *entry;
    while ((entry = readdir(list)) != NULL) {
        if (entry->d_type == DT_REG && strstr(entry->d_name, part)) {
            count++;
            if (remove_them) {
                (void)unlinkat(dirfd(list), entry->d_name, 0);
            }
        }
    }
    (void)closedir(list);
    return count;
}

static void await_told(struct bed *bed, unsigned count)
{
    const struct timespec moment = {.tv_nsec = 2000000};
    for (unsigned i = 0; i < 10000 && told[0] + told[1] < count; i++) {
        ASSERT_OK(bed, aee_poll_events(bed->engine, NULL, &bed->error));
        (void)nanosleep(&moment, NULL);
    }
    assert_int_equal(told[0] + told[1], count);
}

static void close_files(struct bed *bed)
{
    bed_close(bed);
    assert_int_equal(count_files(".aee-", false), 0);
    (void)count_files("", true);
    assert_int_equal(rmdir(directory), 0);
}

/* A region that is mapped into the context and begins with that number; its address there. */
static uint64_t share(struct bed *bed, aee_context context, int64_t number)
{
    const aee_region_desc desc = {
        .struct_size = sizeof desc, .name = "positions", .size_bytes = 1 << 20};
    aee_region region;
    uint64_t address = 0;
    void *data;
    ASSERT_OK(bed, aee_region_create(bed->engine, &desc, &region, &bed->error));
    ASSERT_OK(bed,
              aee_region_map(bed->engine, context, region, AEE_ACCESS_READ, &address, &bed->error));
    ASSERT_OK(bed, aee_region_data(bed->engine, region, &data, NULL, &bed->error));
    memcpy(data, &number, sizeof number);
    return address;
}

/* What gdb prints for some expressions, in `report`. */
static void ask_gdb(const char *image, const char *commands)
{
    char command[1024];
    (void)snprintf(command, sizeof command, "'%s' -nx -batch %s '%s' '%s/%s.core' 2>&1", AEE_GDB,
                   commands, image, directory, saved);
    FILE *gdb = popen(command, "r");
    assert_non_null(gdb);
    report[fread(report, 1, sizeof report - 1, gdb)] = '\0';
    assert_int_equal(pclose(gdb), 0);
}

/* The heap with what it has grown by, regions, and data of a fork. */
static void test_all_memory(void **state)
{
    (void)state;
    struct bed bed;
    char commands[256];
    if (!AEE_GDB[0]) {
        skip();
    }
    open_files(&bed, 0, 0);
    aee_context context = make_image(&bed, "crashbed", AEE_CRASHBED);
    ASSERT_OK(&bed, aee_allocate_isolated_memory(bed.engine, context, 32, &bed.error));
    (void)snprintf(commands, sizeof commands,
                   "-ex 'p/x *block' -ex 'p *(long*)%#llx' -ex 'p world' ",
                   (unsigned long long)share(&bed, context, 4711));
    assert_int_equal(value2(&bed, context, "fill", 24 << 20, 0, 1), 1);
    assert_int_equal(value2(&bed, context, "set_world", 99, 0, 1), 99);
    crash(&bed, context, NULL_POINTER);
    await_told(&bed, 1);
    ask_gdb(AEE_CRASHBED, commands);
    expect("$1 = 0x5a");
    expect("$2 = 4711");
    expect("$3 = {1, 99, 3, 4}");
    close_files(&bed);
}

static void test_gdb(void **state)
{
    (void)state;
    struct bed bed;
    if (!AEE_GDB[0]) {
        skip();
    }
    for (unsigned i = 0; i < 2; i++) {
        open_files(&bed, 0, 0);
        const char *const names[] = {"crashbed", "crash_pie"};
        aee_context context = make_image(&bed, names[i], images[i]);
        crash(&bed, context, NULL_POINTER);
        await_told(&bed, 1);
        assert_int_equal(told[0], 1);
        assert_int_equal(count_files(".core", false), 1);
        assert_int_equal(count_files(".json", false), 1);
        ask_gdb(images[i], "-ex bt -ex 'p world' -ex 'info threads'");
        char line[64];
        expect("terminated with signal SIGSEGV");
        (void)snprintf(line, sizeof line, "crashbed.c:%u", marked("null"));
        expect(line);
        const char *at = strstr(report, " in inner (kind=0)");
        assert_non_null(at);
        at = strstr(at, "in folded (");
        assert_non_null(at);
        at = strstr(at, "middle (");
        assert_non_null(at);
        at = strstr(at, "in crash (kind=");
        assert_non_null(at);
        at = strstr(at, "in aee_library ()"); /* and there it ends */
        assert_non_null(at);
        assert_non_null(strchr(at, '\n'));
        assert_int_equal(strchr(at, '\n')[1], '$');
        expect("$1 = {1, 2, 3, 4}");
        expect("* 1 "); /* the crashed lane; the other is a thread, too */
        expect("  2 ");
        assert_null(strstr(report, "warning"));
        close_files(&bed);
    }
}

/* A core file has the memory of the crash, whatever the context comes back with: here a checkpoint,
 * and for a fork its template's memory, of which it had its own copy. */
static void test_recovered(void **state)
{
    (void)state;
    struct bed bed;
    if (!AEE_GDB[0]) {
        skip();
    }
    open_files(&bed, 0, 0);
    aee_context context = make_image(&bed, "crashbed", AEE_CRASHBED);
    const aee_recovery_desc recovery = {.struct_size = sizeof recovery,
                                        .restart = AEE_RESTART_CHECKPOINT};
    ASSERT_OK(&bed, aee_set_recovery(bed.engine, context, &recovery, &bed.error));
    assert_int_equal(value2(&bed, context, "set_world", 50, 0, 1), 50);
    ASSERT_OK(&bed, aee_checkpoint(bed.engine, context, &bed.error));
    const aee_fork_desc desc = {.struct_size = sizeof desc, .name = "crashbed"};
    aee_context fork;
    ASSERT_OK(&bed, aee_fork(bed.engine, context, &desc, &fork, &bed.error));
    assert_int_equal(value2(&bed, context, "set_world", 60, 0, 1), 60);
    crash(&bed, context, NULL_POINTER);
    await_told(&bed, 1);
    ask_gdb(AEE_CRASHBED, "-ex 'p world'");
    expect("$1 = {1, 60, 3, 4}");
    ASSERT_OK(&bed, aee_wait_ready(bed.engine, context, 10 * SECOND, &bed.error));
    assert_int_equal(value0(&bed, context, "get_world"), 50);
    crash(&bed, fork, CONSTANT);
    await_told(&bed, 2);
    assert_int_equal(told[0], 2);
    ask_gdb(AEE_CRASHBED, "-ex 'p world' -ex bt");
    expect("$1 = {1, 50, 3, 4}");
    expect("in crash (kind=");
    get_report(&bed, fork, 0);
    expect_callers(expect_frame(trace(), "inner", marked("constant")));
    close_files(&bed);
}

static void test_limit_of_files(void **state)
{
    (void)state;
    struct bed bed;
    open_files(&bed, 2, 0);
    aee_context context = make_image(&bed, "crashbed", AEE_CRASHBED);
    for (unsigned i = 1; i <= 4; i++) {
        crash(&bed, context, NULL_POINTER);
        await_told(&bed, i);
    }
    assert_int_equal(told[0], 4);
    assert_int_equal(count_files(".core", false), 2);
    assert_int_equal(count_files(".json", false), 2);
    assert_non_null(strstr(saved, "-crashbed-4"));
    close_files(&bed);
}

static void test_limit_of_bytes(void **state)
{
    (void)state;
    struct bed bed;
    struct stat status;
    char path[512];
    open_files(&bed, 2, 20480);
    aee_context context = make_image(&bed, "crashbed", AEE_CRASHBED);
    crash(&bed, context, NULL_POINTER);
    await_told(&bed, 1);
    assert_int_equal(told[0], 1);
    char *cut = strstr(saved, ", without ");
    assert_non_null(cut);
    *cut = '\0';
    (void)snprintf(path, sizeof path, "%s/%s.core", directory, saved);
    assert_int_equal(stat(path, &status), 0);
    assert_true(status.st_blocks * 512 < 20480 + 65536); /* and the notes */
    close_files(&bed);
}

/* Off for one context, where the engine has a setting, and off for all. */
static void test_settings(void **state)
{
    (void)state;
    struct bed bed;
    open_files(&bed, 0, 0);
    aee_context context = make_image(&bed, "crashbed", AEE_CRASHBED);
    const aee_crash_files_desc none = {.struct_size = sizeof none, .directory = ""};
    ASSERT_OK(&bed, aee_set_crash_files(bed.engine, context, &none, &bed.error));
    crash(&bed, context, NULL_POINTER);
    ASSERT_OK(&bed, aee_wait_ready(bed.engine, context, 10 * SECOND, &bed.error));
    ASSERT_OK(&bed, aee_set_crash_files(bed.engine, context, NULL, &bed.error));
    crash(&bed, context, CONSTANT);
    await_told(&bed, 1);
    assert_non_null(strstr(saved, "-crashbed-2"));
    assert_int_equal(count_files(".core", false), 1);
    ASSERT_OK(&bed, aee_set_crash_files(bed.engine, (aee_context){0}, NULL, &bed.error));
    crash(&bed, context, CONSTANT);
    ASSERT_OK(&bed, aee_wait_ready(bed.engine, context, 10 * SECOND, &bed.error));
    assert_int_equal(count_files(".core", false), 1);
    close_files(&bed);
}

static void test_directory_gone(void **state)
{
    (void)state;
    struct bed bed;
    open_files(&bed, 0, 0);
    aee_context context = make_image(&bed, "crashbed", AEE_CRASHBED);
    assert_int_equal(rmdir(directory), 0);
    crash(&bed, context, NULL_POINTER);
    await_told(&bed, 1);
    assert_int_equal(told[1], 1);
    assert_non_null(strstr(saved, directory));
    ASSERT_OK(&bed, aee_wait_ready(bed.engine, context, 10 * SECOND, &bed.error));
    assert_int_equal(value2(&bed, context, "fine", 5, 0, 1), 5);
    bed_close(&bed);
}

/* ---- No room ------------------------------------------------------------------------------ */

static atomic_int calls_left; /* of writing; then there is no room */
static const char *_Atomic failing;

static int no_room(const char *name)
{
    return strcmp(name, failing) == 0 && atomic_fetch_sub(&calls_left, 1) <= 0 ? ENOSPC : 0;
}

/* Either both files are there, or none. */
static void expect_pairs(void)
{
    assert_int_equal(count_files(".aee-", false), 0);
    assert_int_equal(count_files(".core", false), told[0]);
    assert_int_equal(count_files(".json", false), told[0]);
}

static void test_disk_full(void **state)
{
    (void)state;
    static const char *const steps[] = {"openat", "pwrite", "fsync", "renameat",
                                        "lseek",  "pread"}; /* the last two for the region */
    static const int after[] = {0, 1, 3, 6};
    struct bed bed;
    unsigned count = 0;
    open_files(&bed, 100, 0);
    aee_context context = make_image(&bed, "crashbed", AEE_CRASHBED);
    (void)share(&bed, context, 17);
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        for (unsigned k = 0; k < sizeof after / sizeof after[0]; k++) {
            unsigned failed = told[1];
            ASSERT_OK(&bed, aee_restart(bed.engine, context, &bed.error));
            failing = steps[i];
            atomic_store(&calls_left, after[k]);
            atomic_store(&aee__sys_fault, no_room);
            crash(&bed, context, NULL_POINTER);
            await_told(&bed, ++count);
            atomic_store(&aee__sys_fault, NULL);
            expect_pairs();
            if (told[1] > failed) {
                assert_non_null(strstr(saved, "No space left on device"));
            } else {
                assert_true(after[k] > 0);
            }
        }
    }
    assert_true(told[1] >= 10); /* and where the step has fewer calls, it went well */
    close_files(&bed);
}

/* The limit of the process: its signal must not end it. */
static void test_file_size_limit(void **state)
{
    (void)state;
    struct bed bed;
    struct rlimit old;
    size_t size;
    char *bytes = read_image(AEE_CRASHBED, &size);
    open_files(&bed, 0, 0);
    const aee_context_desc desc = {
        .struct_size = sizeof desc, .name = "crashbed", .limits = {.never_restart = 1, .lanes = 1}};
    aee_context context = {0};
    ASSERT_OK(&bed, aee_context_create(bed.engine, &desc, &context, &bed.error));
    ASSERT_OK(&bed, aee_load(bed.engine, context, bytes, size, &bed.error));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    const struct rlimit small = {.rlim_cur = 32768, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    crash(&bed, context, NULL_POINTER);
    await_told(&bed, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(told[1], 1);
    assert_non_null(strstr(saved, "File too large"));
    expect_pairs();
    close_files(&bed);
    free(bytes);
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traces),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_wrong_use),
        cmocka_unit_test(test_older_image),
        cmocka_unit_test(test_on_worker),
        cmocka_unit_test(test_poor_images),
        cmocka_unit_test(test_damaged_component),
        cmocka_unit_test(test_damaged_sections),
        cmocka_unit_test(test_readers_and_crashes),
        cmocka_unit_test(test_gdb),
        cmocka_unit_test(test_all_memory),
        cmocka_unit_test(test_recovered),
        cmocka_unit_test(test_limit_of_files),
        cmocka_unit_test(test_limit_of_bytes),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_directory_gone),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_file_size_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
