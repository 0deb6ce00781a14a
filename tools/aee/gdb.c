/* gdb.c: the verb gdb. Starts a component that waits for gdb before its first instruction, and gdb
 * with it, or says what to type. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aee_virt.h"
#include "cli.h"
#include "crash.h"
#include "run_options.h"
#include "term.h"

#define VERB "gdb"
#define NS_PER_SECOND UINT64_C(1000000000)
#define HOUR_NS (3600 * NS_PER_SECOND)
enum { GDB_ARGS_MAX = 64 };

extern char **environ;

struct options {
    const char *listen;                  /* NULL: a path of our own */
    bool wait;                           /* gdb is the user's business */
    const char *words[2 + AEE_ARGS_MAX]; /* image, function, arguments */
    int word_count;
    char **gdb; /* what follows -- */
};

struct session {
    const struct options *options;
    char *image;
    char folder[64];
    char address[128];
    aee_value args[AEE_ARGS_MAX];
    uint32_t arg_count;
    aee_engine *engine;
    aee_context context;
    pid_t gdb; /* 0: none was started */
    pthread_t watcher;
    aee_error error;
};

/* ---- The command line --------------------------------------------------------------------- */

static int parse(struct options *options, int argc, char **argv)
{
    int at = 1;
    for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
        if (strcmp(argv[at], "--wait") == 0) {
            options->wait = true;
        } else if (strcmp(argv[at], "--listen") == 0) {
            if (at + 1 == argc) {
                return cli_usage(VERB, "--listen needs a value");
            }
            options->listen = argv[++at];
            options->wait = true;
        } else if (strncmp(argv[at], "--", 2) == 0) {
            return cli_usage(VERB, "there is no option '%s'", argv[at]);
        } else if (options->word_count == 2 + AEE_ARGS_MAX) {
            return cli_usage(VERB, "a function takes %d arguments at most", AEE_ARGS_MAX);
        } else {
            options->words[options->word_count++] = argv[at];
        }
    }
    options->gdb = argv + (at < argc ? at + 1 : at);
    if (options->word_count < 2) {
        return cli_usage(VERB, options->word_count == 0 ? "an image is missing"
                                                        : "a function is missing");
    }
    return options->wait && *options->gdb
               ? cli_usage(VERB,
                           "what follows -- is for gdb, which --wait and --listen do not start")
               : CLI_OK;
}

static int parse_args(struct session *session)
{
    const struct options *options = session->options;
    for (int i = 2; i < options->word_count; i++) {
        if (!run_options_value(options->words[i], &session->args[session->arg_count++])) {
            return cli_usage(VERB, "argument '%s' is neither a 64-bit integer nor a double",
                             options->words[i]);
        }
    }
    return CLI_OK;
}

/* ---- The component ------------------------------------------------------------------------ */

static int complain(const aee_error *error, int code)
{
    (void)fputs("aee gdb: ", stderr);
    term_print_safe(stderr, error->text);
    (void)fputc('\n', stderr);
    return code;
}

static void on_log(void *user, aee_log_level level, aee_context context, const char *line)
{
    (void)user;
    if (context.id != 0 || level >= AEE_LOG_WARNING) {
        flockfile(stderr);
        term_print_safe(stderr, line);
        (void)fputc('\n', stderr);
        funlockfile(stderr);
    }
}

/* A folder that nobody else can enter, for the socket. */
static int choose_address(struct session *session, char *address, size_t size)
{
    const char *temporary = getenv("XDG_RUNTIME_DIR");
    if (session->options->listen) {
        (void)snprintf(address, size, "%s", session->options->listen);
        return CLI_OK;
    }
    temporary = temporary && strlen(temporary) < 32 ? temporary : "/tmp";
    (void)snprintf(session->folder, sizeof session->folder, "%s/aee-gdb-XXXXXX", temporary);
    if (!mkdtemp(session->folder)) {
        (void)fprintf(stderr, "aee gdb: cannot make a folder for the socket: %s\n",
                      strerror(errno));
        session->folder[0] = '\0';
        return CLI_OTHER;
    }
    (void)snprintf(address, size, "unix:%s/socket", session->folder);
    return CLI_OK;
}

/* Nothing of the component runs before gdb has said so. */
static int listen_first(struct session *session)
{
    char address[128];
    const aee_engine_desc engine = {.struct_size = sizeof engine, .pool_size = 1, .log = on_log};
    const aee_context_desc context = {.struct_size = sizeof context,
                                      .name = "component",
                                      .limits = {.call_budget_ns = HOUR_NS, .never_restart = 1}};
    const aee_debug_desc debug = {.struct_size = sizeof debug,
                                  .flags = AEE_DEBUG_WAIT | AEE_DEBUG_HOLD_CRASHES,
                                  .address = address,
                                  .file = session->image,
                                  .hold_ns = HOUR_NS,
                                  .timeout_ns = 24 * HOUR_NS};
    int code = choose_address(session, address, sizeof address);
    if (code != CLI_OK) {
        return code;
    }
    aee_result result = aee_engine_create(&engine, &session->engine, &session->error);
    if (result != AEE_OK) {
        return complain(&session->error, CLI_NO_BACKEND);
    }
    result = aee_context_create(session->engine, &context, &session->context, &session->error);
    if (result == AEE_OK) {
        result = aee_debug_listen(session->engine, session->context, &debug, &session->error);
    }
    if (result == AEE_OK) {
        result = aee_debug_address(session->engine, session->context, session->address,
                                   sizeof session->address, &session->error);
    }
    return result == AEE_OK ? CLI_OK
                            : complain(&session->error,
                                       result == AEE_ERR_INVALID_ARGUMENT ? CLI_USAGE : CLI_OTHER);
}

/* ---- gdb ---------------------------------------------------------------------------------- */

static const char *target_of(const struct session *session)
{
    return strncmp(session->address, "unix:", 5) == 0 ? session->address + 5 : session->address;
}

/* Without gdb nobody else is to be waited for. */
static void *watch_gdb(void *argument)
{
    const struct session *session = argument;
    while (waitpid(session->gdb, NULL, 0) < 0 && errno == EINTR) {
    }
    (void)aee_debug_close(session->engine, session->context, NULL);
    return NULL;
}

/* A control character from the terminal is for gdb alone. */
static int start_gdb(struct session *session)
{
    char target[160];
    char *args[GDB_ARGS_MAX] = {"gdb", "-q",  "-iex", "set auto-load safe-path /dev/null",
                                "-ex", target};
    int count = 6;
    posix_spawnattr_t attributes;
    sigset_t interrupt;
    (void)snprintf(target, sizeof target, "target remote %s", target_of(session));
    for (char **more = session->options->gdb; *more && count < GDB_ARGS_MAX - 2; more++) {
        args[count++] = *more;
    }
    args[count] = session->image;
    (void)signal(SIGINT, SIG_IGN);
    (void)sigemptyset(&interrupt);
    (void)sigaddset(&interrupt, SIGINT);
    (void)posix_spawnattr_init(&attributes);
    (void)posix_spawnattr_setsigdefault(&attributes, &interrupt);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    int error = posix_spawnp(&session->gdb, "gdb", NULL, &attributes, args, environ);
    (void)posix_spawnattr_destroy(&attributes);
    if (error != 0) {
        session->gdb = 0;
        (void)fprintf(stderr, "aee gdb: cannot start gdb: %s\n", strerror(error));
        return CLI_OTHER;
    }
    error = pthread_create(&session->watcher, NULL, watch_gdb, session);
    if (error != 0) {
        (void)kill(session->gdb, SIGTERM);
        session->gdb = 0;
        (void)fprintf(stderr, "aee gdb: cannot watch gdb: %s\n", strerror(error));
        return CLI_OTHER;
    }
    return CLI_OK;
}

static int invite(struct session *session)
{
    if (!session->options->wait) {
        return start_gdb(session);
    }
    (void)fputs("the component waits for a debugger; type:\n  gdb -ex 'target remote ", stderr);
    term_print_safe(stderr, target_of(session));
    (void)fputs("' ", stderr);
    term_print_safe(stderr, session->image);
    (void)fputc('\n', stderr);
    return CLI_OK;
}

/* ---- The call ----------------------------------------------------------------------------- */

static int show_crash(struct session *session)
{
    aee_crash crash;
    struct term term;
    term_open(&term, stderr);
    if (aee_last_crash(session->engine, session->context, &crash, NULL) == AEE_OK) {
        crash_print(&term, &crash, false);
        return CLI_COMPONENT;
    }
    return complain(&session->error, CLI_COMPONENT);
}

static int call(struct session *session)
{
    aee_function function;
    aee_value result = aee_i64(0);
    aee_error *error = &session->error;
    aee_result status = aee_load_file(session->engine, session->context, session->image, error);
    if (status == AEE_ERR_CRASHED || status == AEE_ERR_HUNG) {
        return show_crash(session);
    }
    if (status != AEE_OK) {
        return complain(error, CLI_IMAGE);
    }
    status = aee_find_function(session->engine, session->context, session->options->words[1],
                               &function, error);
    if (status == AEE_OK) {
        status = aee_call(session->engine, session->context, function, session->args,
                          session->arg_count, &result, error);
    }
    if (status == AEE_ERR_ARGUMENT_COUNT) { /* or its result is a double */
        result = aee_f64(0);
        status = aee_call(session->engine, session->context, function, session->args,
                          session->arg_count, &result, error);
    }
    if (status == AEE_ERR_CRASHED || status == AEE_ERR_HUNG) {
        return show_crash(session);
    }
    if (status != AEE_OK) {
        return complain(error, status == AEE_ERR_NOT_FOUND || status == AEE_ERR_ARGUMENT_COUNT
                                   ? CLI_USAGE
                                   : CLI_OTHER);
    }
    if (result.type == AEE_TYPE_F64) {
        (void)printf("%.17g\n", result.as.f64);
    } else {
        (void)printf("%" PRId64 "\n", result.as.i64);
    }
    (void)fflush(stdout);
    return CLI_OK;
}

/* gdb learns of the component's end by the context's, and may be left open for a while. */
static void close_session(struct session *session)
{
    if (session->engine) {
        (void)aee_destroy(session->engine, session->context, NULL);
    }
    if (session->gdb > 0) {
        (void)pthread_join(session->watcher, NULL);
    }
    aee_engine_destroy(session->engine);
    if (session->folder[0]) {
        (void)rmdir(session->folder);
    }
    free(session->image);
}

static int gdb(int argc, char **argv)
{
    struct options options = {.listen = NULL};
    struct session session = {.options = &options};
    int code = parse(&options, argc, argv);
    if (code == CLI_OK) {
        code = parse_args(&session);
    }
    if (code != CLI_OK) {
        return code;
    }
    session.image = realpath(options.words[0], NULL);
    if (!session.image) {
        (void)snprintf(session.error.text, sizeof session.error.text,
                       "cannot open image \"%.128s\": %s", options.words[0], strerror(errno));
        return complain(&session.error, CLI_IMAGE);
    }
    code = listen_first(&session);
    if (code == CLI_OK) {
        code = invite(&session);
    }
    if (code == CLI_OK) {
        code = call(&session);
    }
    close_session(&session);
    return code;
}

const struct cli_verb cli_gdb = {
    .name = "gdb",
    .summary = "debug a component: gdb before its first instruction",
    .help = "usage: aee gdb IMAGE NAME [ARGUMENTS] [OPTIONS] [-- GDB-OPTIONS]\n"
            "\n"
            "Loads a component image into an isolated context and calls the function NAME, with\n"
            "gdb attached before the first instruction: set breakpoints and type 'continue'. What\n"
            "follows -- goes to gdb (-batch, -x FILE). The result is printed when the call has\n"
            "returned, a crash when gdb has let it come to pass.\n"
            "\n"
            "  --wait          do not start gdb, but say what to type and wait for it, an hour at\n"
            "                  most\n"
            "  --listen ADDR   the same at unix:PATH or 127.0.0.1:PORT\n"
            "\n"
            "exit codes: 0 the call returned, 1 the component crashed, 2 wrong command line,\n"
            "3 image refused, 4 no usable back end, 5 anything else\n",
    .run = gdb,
};
