/* test.c: the verb test. Runs each test function of an image in an instance of its own. */
#include "test.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "term.h"

#define VERB "test"
#define PREFIX "test_"
#define NS_PER_MS UINT64_C(1000000)
#define DEFAULT_BUDGET_MS 10000u

struct options {
    const char *image;
    const char *filter;
    uint32_t budget_ms;
    uint64_t seed;
    bool has_seed;
    bool json;
};

enum { LOG_MAX = 1 << 16, LINE_MAX_BYTES = 600 };

/* What the test that runs now has logged. Any thread writes. */
struct log {
    pthread_mutex_t lock;
    char *text; /* LOG_MAX bytes */
    size_t size;
    size_t dropped;
};

struct test_case {
    char name[AEE_FUNCTION_NAME_MAX];
    char kind; /* what it returns: 'i', 'v', or '?' for what is no test */
};

struct session {
    struct options options;
    aee_engine *engine;
    aee_context template; /* loaded and initialised once */
    struct test_case *tests;
    unsigned count;
    struct log log;
};

static int complain(const aee_error *error, int code)
{
    (void)fputs("aee test: ", stderr);
    term_print_safe(stderr, error->text);
    (void)fputc('\n', stderr);
    return code;
}

static int no_memory(void)
{
    (void)fputs("aee test: out of memory\n", stderr);
    return CLI_OTHER;
}

/* ---- Log lines ---------------------------------------------------------------------------- */

/* The library's own lines matter only where something is wrong. */
static void on_log(void *user, aee_log_level level, aee_context context, const char *line)
{
    static const char *const levels[] = {"debug: ", "", "warning: ", "error: "};
    struct log *log = user;
    char text[LINE_MAX_BYTES];
    if (context.id == 0 && level < AEE_LOG_WARNING) {
        return;
    }
    const int length =
        snprintf(text, sizeof text, "%s%s%s",
                 context.id ? "" : "library: ", (unsigned)level < 4 ? levels[level] : "", line);
    const size_t size =
        (length > 0 && length < LINE_MAX_BYTES ? (size_t)length : LINE_MAX_BYTES - 1) + 1;
    (void)pthread_mutex_lock(&log->lock);
    if (log->text && size <= LOG_MAX - log->size) {
        memcpy(log->text + log->size, text, size);
        log->size += size;
    } else {
        log->dropped++;
    }
    (void)pthread_mutex_unlock(&log->lock);
}

static void clear_log(struct log *log)
{
    (void)pthread_mutex_lock(&log->lock);
    log->size = 0;
    log->dropped = 0;
    (void)pthread_mutex_unlock(&log->lock);
}

/* ---- Contexts ----------------------------------------------------------------------------- */

static aee_result make_context(struct session *session, aee_context *out, aee_error *error)
{
    const aee_context_desc desc = {
        .struct_size = sizeof desc,
        .name = "test",
        .call_mode = AEE_CALL_DIRECT,
        .limits = {.call_budget_ns = session->options.budget_ms * NS_PER_MS,
                   .log_bytes_per_second = UINT32_MAX,
                   .never_restart = 1}};
    const aee_determinism fixed = {.struct_size = sizeof fixed,
                                   .flags = AEE_FIXED_SEED | AEE_FIXED_TIME,
                                   .seed = session->options.seed};
    aee_result result = aee_context_create(session->engine, &desc, out, error);
    if (result == AEE_OK) {
        result = aee_set_determinism(session->engine, *out, &fixed, error);
    }
    if (result == AEE_OK) {
        result = aee_load_file(session->engine, *out, session->options.image, error);
    }
    return result;
}

/* A context as the template was when its initialisers had run. */
static aee_result make_copy(struct session *session, aee_context *out, aee_error *error)
{
    return aee_fork(session->engine, session->template, NULL, out, error);
}

/* ---- Tests -------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * NS_PER_MS + (uint64_t)now.tv_nsec;
}

static void fail(struct test_outcome *outcome, const char *format, const char *text)
{
    outcome->ok = false;
    (void)snprintf(outcome->message, sizeof outcome->message, format, text);
}

static void judge(struct session *session, aee_context context, aee_result status, int64_t value,
                  const aee_error *error, struct test_outcome *outcome)
{
    if ((status == AEE_ERR_CRASHED || status == AEE_ERR_HUNG) &&
        aee_last_crash(session->engine, context, &outcome->crash, NULL) == AEE_OK) {
        outcome->crashed = true;
        fail(outcome, "%s", outcome->crash.text);
    } else if (status != AEE_OK) {
        fail(outcome, "%s", error->text);
    } else if (value != 0) {
        char number[32];
        (void)snprintf(number, sizeof number, "%" PRId64, value);
        fail(outcome, "it returned %s", number);
    }
}

static void run_in(struct session *session, aee_context context, char kind,
                   struct test_outcome *outcome)
{
    aee_function function;
    aee_error error;
    aee_value value = aee_i64(0);
    aee_result status =
        aee_find_function(session->engine, context, outcome->name, &function, &error);
    clear_log(&session->log); /* what the initialisers said, they said for the template */
    const uint64_t begin = now_ns();
    if (status == AEE_OK) {
        status = aee_call(session->engine, context, function, NULL, 0, kind == 'i' ? &value : NULL,
                          &error);
    }
    outcome->duration_ns = now_ns() - begin;
    judge(session, context, status, value.as.i64, &error, outcome);
}

static void run_test(struct session *session, unsigned index, struct test_report *report)
{
    const struct test_case *test = &session->tests[index];
    struct test_outcome outcome = {.name = test->name, .ok = true};
    aee_context context = {0};
    aee_error error;
    if (test->kind == '?') {
        fail(&outcome, "%s", "a test takes no arguments and returns an integer or nothing");
    } else if (make_copy(session, &context, &error) != AEE_OK) {
        fail(&outcome, "%s", error.text);
    } else {
        run_in(session, context, test->kind, &outcome);
    }
    if (aee_destroy(session->engine, context, &error) != AEE_OK && outcome.ok) {
        fail(&outcome, "%s", error.text);
    }
    outcome.log = session->log.text; /* nobody writes any more: the context is gone */
    outcome.log_size = session->log.size;
    outcome.log_dropped = session->log.dropped;
    test_report_one(report, &outcome);
    clear_log(&session->log);
}

/* ---- What there is to run ----------------------------------------------------------------- */

/* An image that declares no signatures is believed to return integers. */
static char kind_of(const char *signature)
{
    if (signature[0] == '\0' || strcmp(signature, "i:") == 0) {
        return 'i';
    }
    return strcmp(signature, "v:") == 0 ? 'v' : '?';
}

/* With or without the prefix that all of them have. */
static bool is_wanted(const struct options *options, const char *name)
{
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0 &&
           (!options->filter || fnmatch(options->filter, name, 0) == 0 ||
            fnmatch(options->filter, name + strlen(PREFIX), 0) == 0);
}

static bool add_test(struct session *session, const aee_function_info *info)
{
    struct test_case *tests = realloc(session->tests, (session->count + 1) * sizeof *tests);
    if (!tests) {
        return false;
    }
    session->tests = tests;
    memcpy(tests[session->count].name, info->name, sizeof info->name);
    tests[session->count++].kind = kind_of(info->signature);
    return true;
}

static int compare(const void *left, const void *right)
{
    const struct test_case *a = left;
    const struct test_case *b = right;
    return strcmp(a->name, b->name);
}

static int list_tests(struct session *session)
{
    aee_function_info info;
    for (uint32_t i = 0;
         aee_get_function_info(session->engine, session->template, i, &info, NULL) == AEE_OK; i++) {
        if (is_wanted(&session->options, info.name) && !add_test(session, &info)) {
            return no_memory();
        }
    }
    if (session->count > 0) {
        qsort(session->tests, session->count, sizeof session->tests[0], compare);
        return CLI_OK;
    }
    return session->options.filter
               ? cli_usage(VERB, "the image exports no function %s* that fits '%s'", PREFIX,
                           session->options.filter)
               : cli_usage(VERB, "the image exports no function %s*", PREFIX);
}

static int open_session(struct session *session)
{
    aee_error error;
    session->log.text = malloc(LOG_MAX);
    const aee_engine_desc desc = {
        .struct_size = sizeof desc, .pool_size = 1, .log = on_log, .log_user = &session->log};
    aee_result result = aee_engine_create(&desc, &session->engine, &error);
    if (result != AEE_OK) {
        return complain(&error, result == AEE_ERR_NO_BACKEND         ? CLI_NO_BACKEND
                                : result == AEE_ERR_INVALID_ARGUMENT ? CLI_USAGE
                                                                     : CLI_OTHER);
    }
    result = make_context(session, &session->template, &error);
    if (result != AEE_OK) {
        return complain(&error, result == AEE_ERR_CRASHED || result == AEE_ERR_HUNG ? CLI_COMPONENT
                                                                                    : CLI_IMAGE);
    }
    return list_tests(session);
}

/* ---- The command line --------------------------------------------------------------------- */

static bool parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    errno = 0;
    *out = strtoull(text, &end, 0);
    return errno == 0 && *end == '\0' && *out >= least && *out <= most;
}

static int parse_pair(struct options *options, const char *name, const char *value)
{
    enum { MAX_BUDGET_MS = 3600000 };
    uint64_t number;
    if (strcmp(name, "--filter") == 0) {
        options->filter = value;
        return CLI_OK;
    }
    if (strcmp(name, "--budget") == 0) {
        if (!parse_number(value, 1, MAX_BUDGET_MS, &number)) {
            return cli_usage(VERB, "--budget takes a number from 1 to %d, not '%s'", MAX_BUDGET_MS,
                             value);
        }
        options->budget_ms = (uint32_t)number;
        return CLI_OK;
    }
    options->has_seed = parse_number(value, 0, UINT64_MAX, &options->seed);
    return options->has_seed ? CLI_OK : cli_usage(VERB, "--seed takes a number, not '%s'", value);
}

static int parse_one(struct options *options, int argc, char **argv, int *at)
{
    const char *name = argv[*at];
    if (name[0] != '-') {
        if (options->image) {
            return cli_usage(VERB, "there is one image too many: '%s'", name);
        }
        options->image = name;
        return CLI_OK;
    }
    if (strcmp(name, "--json") == 0) {
        options->json = true;
        return CLI_OK;
    }
    if (strcmp(name, "--filter") != 0 && strcmp(name, "--budget") != 0 &&
        strcmp(name, "--seed") != 0) {
        return cli_usage(VERB, "there is no option '%s'", name);
    }
    return *at + 1 < argc ? parse_pair(options, name, argv[++*at])
                          : cli_usage(VERB, "%s needs a value", name);
}

static int parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){.budget_ms = DEFAULT_BUDGET_MS};
    int code = CLI_OK;
    for (int at = 1; at < argc && code == CLI_OK; at++) {
        code = parse_one(options, argc, argv, &at);
    }
    if (code == CLI_OK && !options->image) {
        code = cli_usage(VERB, "an image is missing");
    }
    if (!options->has_seed) {
        options->seed = now_ns() % 1000000; /* short, so that people type it */
    }
    return code;
}

static int test(int argc, char **argv)
{
    struct session session = {.log.lock = PTHREAD_MUTEX_INITIALIZER};
    int code = parse(&session.options, argc, argv);
    if (code != CLI_OK) {
        return code;
    }
    code = open_session(&session);
    if (code == CLI_OK) {
        struct test_report report = {.image = session.options.image,
                                     .json = session.options.json,
                                     .seed = session.options.seed,
                                     .count = session.count};
        test_report_begin(&report);
        for (unsigned i = 0; i < session.count; i++) {
            run_test(&session, i, &report);
        }
        code = report.failed > 0 ? CLI_COMPONENT : CLI_OK;
        test_report_end(&report, code);
    }
    aee_engine_destroy(session.engine);
    free(session.tests);
    free(session.log.text);
    return code;
}

const struct cli_verb cli_test = {
    .name = VERB,
    .summary = "run the test functions of an image, each in an instance of its own",
    .help =
        "usage: aee test IMAGE [OPTIONS]\n"
        "\n"
        "Runs every exported function whose name begins with test_, in the order of the image,\n"
        "each in an instance that was just initialised, and prints TAP version 13. A test takes\n"
        "no arguments and returns nothing, or an integer that is 0 when all is well; one that\n"
        "crashes, hangs or calls aee_abort() is not ok. AEE_TEST and AEE_CHECK of aee_guest.h\n"
        "write them. What a test logs comes before its line, behind '# '.\n"
        "\n"
        "  --filter GLOB  only tests whose names fit, with or without test_\n"
        "  --budget MS    time that one test may take (default 10000)\n"
        "  --seed N       what aee_seed() gives; the default changes, and is printed\n"
        "  --json         one JSON object instead; its fields are in docs/cli.md\n"
        "\n"
        "exit codes: 0 all tests passed, 1 some did not, or the image's initialisers failed,\n"
        "2 wrong command line or no such test, 3 image refused, 4 no usable back end,\n"
        "5 anything else\n",
    .run = test,
};
