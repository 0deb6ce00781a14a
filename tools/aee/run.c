/* run.c: the verb run. Loads an image into a context and calls a function, once or each frame. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "aee_virt.h"
#include "cli.h"
#include "crash.h"
#include "json.h"
#include "run_options.h"
#include "term.h"

#define FRAME_NS INT64_C(16666667)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_SECOND INT64_C(1000000000)

struct session {
    const struct run_options *options;
    char name[AEE_NAME_MAX];
    struct term term; /* stderr */
    aee_engine *engine;
    aee_context context;
    aee_function function;
    aee_value result;
    uint32_t frames;  /* done */
    uint32_t skipped; /* of them, because the component was being restarted */
    uint32_t failed;  /* of them, because it crashed or hung */
    bool tracing;
    uint64_t told_id; /* of the crash whose core file was told of last */
    aee_error error;  /* of the last call that failed */
};

static int exit_code(aee_result result)
{
    switch (result) {
    case AEE_OK:
        return CLI_OK;
    case AEE_ERR_CRASHED:
    case AEE_ERR_HUNG:
    case AEE_ERR_COMPONENT:
    case AEE_ERR_QUARANTINED:
    case AEE_ERR_RESTARTING:
        return CLI_COMPONENT;
    case AEE_ERR_INVALID_ARGUMENT:
    case AEE_ERR_ARGUMENT_COUNT:
    case AEE_ERR_NOT_FOUND:
        return CLI_USAGE;
    case AEE_ERR_NO_BACKEND:
        return CLI_NO_BACKEND;
    default:
        return CLI_OTHER;
    }
}

/* One line for a step that failed. */
static int complain(const aee_error *error, int code)
{
    (void)fputs("aee run: ", stderr);
    term_print_safe(stderr, error->text);
    (void)fputc('\n', stderr);
    return code;
}

/* Any thread: one write a line. The library's own lines matter only where something is wrong. */
static void on_log(void *user, aee_log_level level, aee_context context, const char *line)
{
    static const char *const levels[] = {"debug: ", "", "warning: ", "error: "};
    const struct session *session = user;
    if (context.id == 0 && level < AEE_LOG_WARNING) {
        return;
    }
    flockfile(stderr);
    term_print_safe(stderr, context.id ? session->name : "library");
    (void)fprintf(stderr, ": %s", (unsigned)level < 4 ? levels[level] : "");
    term_print_safe(stderr, line);
    (void)fputc('\n', stderr);
    funlockfile(stderr);
}

/* ---- Snapshots ---------------------------------------------------------------------------- */

static int load_snapshot(struct session *session)
{
    const char *path = session->options->load;
    aee_error error;
    if (!path || aee_snapshot_load(session->engine, session->context, path, &error) == AEE_OK) {
        return CLI_OK;
    }
    session->error = error;
    return complain(&error, CLI_IMAGE);
}

static int save_snapshot(struct session *session)
{
    const char *path = session->options->save;
    aee_error error;
    if (!path || aee_snapshot_save(session->engine, session->context, path, &error) == AEE_OK) {
        return CLI_OK;
    }
    session->error = error;
    return complain(&error, CLI_OTHER);
}

/* ---- Trace -------------------------------------------------------------------------------- */

/* Of the last calls that a component makes in an hour at 60 Hz. */
static int start_trace(struct session *session)
{
    const aee_trace_desc desc = {
        .struct_size = sizeof desc, .path = session->options->trace, .calls_per_lane = 1u << 18};
    aee_error error;
    if (!desc.path || aee_trace_start(session->engine, &desc, &error) == AEE_OK) {
        return CLI_OK;
    }
    return complain(&error, CLI_OTHER);
}

/* What was recorded is written however the run ended; `code` is how. */
static int stop_trace(struct session *session, int code)
{
    aee_error error;
    if (!session->options->trace || !session->tracing ||
        aee_trace_stop(session->engine, &error) == AEE_OK) {
        return code;
    }
    return complain(&error, code == CLI_OK ? CLI_OTHER : code);
}

/* ---- From image to function --------------------------------------------------------------- */

/* The file's name without folder and ".elf". */
static void name_session(struct session *session, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash && slash[1] ? slash + 1 : path;
    size_t used = 0;
    while (*base && used + 4 < sizeof session->name) {
        const size_t length = term_character(base);
        memcpy(session->name + used, length > 0 ? base : "?", length > 0 ? length : 1);
        used += length > 0 ? length : 1;
        base += length > 0 ? length : 1;
    }
    session->name[used] = '\0';
    if (used > 4 && strcmp(session->name + used - 4, ".elf") == 0) {
        session->name[used - 4] = '\0';
    }
}

/* On the main thread, from aee_poll_events(). */
static void on_event(void *user, const aee_event *event)
{
    struct session *session = user;
    const bool saved = event->type == AEE_EVENT_CRASH_SAVED;
    if (saved || event->type == AEE_EVENT_CRASH_NOT_SAVED) {
        session->told_id = event->crash_id;
        (void)fputs(saved ? "core file: " : "aee run: ", stderr);
        if (saved) {
            term_print_safe(stderr, session->options->core_dir);
            (void)fputc('/', stderr);
        }
        const size_t name = saved ? strcspn(event->text, ",") : strlen(event->text);
        char text[sizeof event->text];
        memcpy(text, event->text, name);
        text[name] = '\0';
        term_print_safe(stderr, text);
        (void)fputs(saved ? ".core" : "", stderr);
        term_print_safe(stderr, event->text + name);
        (void)fputc('\n', stderr);
    }
}

/* A file of the last crash may still be under way. */
static void await_core_file(struct session *session)
{
    const struct timespec moment = {.tv_nsec = 10000000};
    aee_crash crash;
    if (!session->options->core_dir ||
        aee_last_crash(session->engine, session->context, &crash, NULL) != AEE_OK) {
        return;
    }
    unsigned quiet = 0; /* moments since the last file: crashes close to each other share one */
    for (unsigned i = 0; i < 1000 && session->told_id < crash.id && quiet < 20; i++) {
        const uint64_t before = session->told_id;
        (void)nanosleep(&moment, NULL);
        (void)aee_poll_events(session->engine, NULL, NULL);
        quiet = session->told_id > before || before == 0 ? 0 : quiet + 1;
    }
}

static int open_session(struct session *session)
{
    const struct run_options *options = session->options;
    const aee_engine_desc engine = {
        .struct_size = sizeof engine, .pool_size = 1, .log = on_log, .log_user = session};
    const aee_context_desc context = {.struct_size = sizeof context,
                                      .name = session->name[0] ? session->name : "component",
                                      .call_mode = options->mode,
                                      .limits = {.memory_bytes = (uint64_t)options->memory_mb << 20,
                                                 .call_budget_ns = options->budget_ms * NS_PER_MS}};
    aee_error error;
    aee_result result = aee_engine_create(&engine, &session->engine, &error);
    if (result == AEE_OK) {
        const int code = start_trace(session);
        if (code != CLI_OK) {
            return code;
        }
        session->tracing = true;
        result = aee_context_create(session->engine, &context, &session->context, &error);
    }
    if (result == AEE_OK && options->core_dir) {
        const aee_crash_files_desc files = {.struct_size = sizeof files,
                                            .directory = options->core_dir};
        (void)aee_set_event_callback(session->engine, on_event, session, NULL);
        result = aee_set_crash_files(session->engine, session->context, &files, &error);
    }
    if (result != AEE_OK) {
        return complain(&error, exit_code(result));
    }
    result = aee_load_file(session->engine, session->context, options->image, &error);
    if (result != AEE_OK) {
        session->error = error;
        return complain(&error, exit_code(result) == CLI_COMPONENT ? CLI_COMPONENT : CLI_IMAGE);
    }
    const int loaded = load_snapshot(session);
    if (loaded != CLI_OK) {
        return loaded;
    }
    result = aee_find_function(session->engine, session->context, options->call, &session->function,
                               &error);
    return result == AEE_OK ? CLI_OK : complain(&error, exit_code(result));
}

/* ---- Calls -------------------------------------------------------------------------------- */

static aee_result call(struct session *session, uint32_t frame)
{
    const struct run_options *options = session->options;
    aee_value args[AEE_ARGS_MAX];
    aee_value result = options->returns_double ? aee_f64(0) : aee_i64(0);
    aee_error error;
    memcpy(args, options->args, sizeof args);
    if (options->frame_arg >= 0) {
        args[options->frame_arg] = aee_i64(frame);
    }
    const aee_result status = aee_call(session->engine, session->context, session->function, args,
                                       options->arg_count, &result, &error);
    if (status == AEE_OK) {
        session->result = result;
    } else {
        session->error = error;
    }
    return status;
}

/* With registers for the first one only: many look the same. */
static void show_crash(struct session *session)
{
    aee_crash crash;
    if (aee_last_crash(session->engine, session->context, &crash, NULL) == AEE_OK) {
        crash_print(&session->term, &crash, session->failed <= 1);
    }
}

static int call_once(struct session *session)
{
    const aee_result status = call(session, 0);
    if (status == AEE_ERR_CRASHED || status == AEE_ERR_HUNG) {
        show_crash(session);
    } else if (status != AEE_OK) {
        return complain(&session->error, exit_code(status));
    }
    return exit_code(status);
}

/* Sleeps until the next frame is due; a frame that was late moves all that follow. */
static void pace(struct timespec *due)
{
    struct timespec now;
    due->tv_nsec += FRAME_NS;
    if (due->tv_nsec >= NS_PER_SECOND) {
        due->tv_nsec -= NS_PER_SECOND;
        due->tv_sec++;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec > due->tv_sec || (now.tv_sec == due->tv_sec && now.tv_nsec > due->tv_nsec)) {
        *due = now;
        return;
    }
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, due, NULL);
}

/* A frame at 60 Hz goes on without a component that is being restarted; without pace there is no
 * hurry, and frames that call nothing would tell nothing. */
static void end_frame(struct session *session, bool stopped, struct timespec *due)
{
    if (!session->options->no_pace) {
        pace(due);
    } else if (stopped) {
        (void)aee_wait_ready(session->engine, session->context, 10 * (uint64_t)NS_PER_SECOND, NULL);
    }
}

static int call_frames(struct session *session)
{
    struct timespec due;
    (void)clock_gettime(CLOCK_MONOTONIC, &due);
    for (uint32_t frame = 0; frame < session->options->frames; frame++) {
        const aee_result status = call(session, frame);
        const bool stopped = status == AEE_ERR_CRASHED || status == AEE_ERR_HUNG;
        session->frames++;
        if (status == AEE_ERR_RESTARTING) {
            session->skipped++;
        } else if (stopped) {
            session->failed++;
            show_crash(session);
        } else if (status != AEE_OK) {
            return complain(&session->error, exit_code(status));
        }
        end_frame(session, stopped, &due);
    }
    return session->failed > 0 ? CLI_COMPONENT : CLI_OK;
}

/* ---- Results ------------------------------------------------------------------------------ */

static void print_result(const struct session *session)
{
    if (session->options->returns_nothing) {
        (void)puts("done");
    } else if (session->options->returns_double) {
        (void)printf("%.17g\n", session->result.as.f64);
    } else {
        (void)printf("%" PRId64 "\n", session->result.as.i64);
    }
}

static double to_ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static void print_frames(const struct session *session, const aee_context_info *info)
{
    (void)printf("frames    %u of %u, %u skipped while the component was restarted\n",
                 session->frames, session->options->frames, session->skipped);
    (void)printf("calls     %" PRIu64 ", %u failed\n", info->calls, session->failed);
    if (info->calls > 0) {
        (void)printf("p50       %.3f ms\n", to_ms(info->latency_p50_ns));
        (void)printf("p99       %.3f ms\n", to_ms(info->latency_p99_ns));
        (void)printf("longest   %.3f ms\n", to_ms(info->latency_max_ns));
    }
    (void)printf("crashes   %" PRIu64 "\n", info->crashes);
    (void)printf("hangs     %" PRIu64 "\n", info->hangs);
    (void)printf("restarts  %" PRIu64 "\n", info->restarts);
    (void)printf("state     %s\n", aee_state_name(info->state));
    if (info->calls > 0) {
        (void)fputs("result    ", stdout);
        print_result(session);
    }
}

static void json_result(struct json *json, const struct session *session, bool known)
{
    if (!known || session->options->returns_nothing) {
        json_string(json, "result", NULL);
    } else if (session->options->returns_double) {
        json_double(json, "result", session->result.as.f64);
    } else {
        json_int(json, "result", session->result.as.i64);
    }
}

static void print_json(const struct session *session, int code, const aee_context_info *info)
{
    aee_crash crash;
    struct json json = {.out = stdout};
    const bool crashed = aee_last_crash(session->engine, session->context, &crash, NULL) == AEE_OK;
    json_open(&json, NULL, '{');
    json_string(&json, "image", session->options->image);
    json_string(&json, "call", session->options->call);
    json_int(&json, "exit_code", code);
    json_result(&json, session, info->calls > 0);
    json_string(&json, "error", session->error.text[0] ? session->error.text : NULL);
    json_string(&json, "level", info->level == AEE_LEVEL_AUTO ? NULL : aee_level_name(info->level));
    json_string(&json, "mode", aee_call_mode_name(info->call_mode_now));
    json_string(&json, "state", aee_state_name(info->state));
    json_uint(&json, "frames", session->frames);
    json_uint(&json, "skipped", session->skipped);
    json_uint(&json, "calls", info->calls);
    json_uint(&json, "failed", info->failed_calls);
    json_uint(&json, "latency_p50_ns", info->latency_p50_ns);
    json_uint(&json, "latency_p99_ns", info->latency_p99_ns);
    json_uint(&json, "latency_max_ns", info->latency_max_ns);
    json_uint(&json, "crashes", info->crashes);
    json_uint(&json, "hangs", info->hangs);
    json_uint(&json, "restarts", info->restarts);
    json_uint(&json, "memory_resident", info->memory_resident);
    json_uint(&json, "memory_reserved", info->memory_reserved);
    crash_json(&json, crashed ? &crash : NULL);
    json_close(&json, '}');
}

static int run(int argc, char **argv)
{
    struct run_options options;
    int code = run_options_parse(&options, argc, argv);
    if (code != CLI_OK) {
        return code;
    }
    struct session session = {.options = &options};
    term_open(&session.term, stderr);
    name_session(&session, options.image);
    code = open_session(&session);
    if (code == CLI_OK) {
        code = options.frames > 0 ? call_frames(&session) : call_once(&session);
        aee_context_info info;
        const bool known =
            aee_get_context_info(session.engine, session.context, &info, NULL) == AEE_OK;
        const bool called = code == CLI_OK || code == CLI_COMPONENT;
        code = code == CLI_OK ? save_snapshot(&session) : code;
        if (known && called && options.json) {
            print_json(&session, code, &info);
        } else if (known && called && options.frames > 0) {
            print_frames(&session, &info);
        } else if (code == CLI_OK) {
            print_result(&session);
        }
    }
    await_core_file(&session);
    code = stop_trace(&session, code);
    aee_engine_destroy(session.engine);
    return code;
}

const struct cli_verb cli_run = {
    .name = "run",
    .summary = "load an image and call one of its functions, once or each frame",
    .help = "usage: aee run IMAGE --call NAME [ARGUMENTS] [OPTIONS]\n"
            "\n"
            "Loads a component image into an isolated context, calls the function NAME and prints\n"
            "its result. An argument is an integer (decimal or 0x...), a double (with a dot or an\n"
            "exponent), or {frame}: the number of the frame, from 0. What the component logs goes\n"
            "to stderr behind its name; so does the report of a crash.\n"
            "\n"
            "  --frames N      call once a frame at 60 Hz, N times, and print how it went\n"
            "  --no-pace       with --frames: as fast as possible\n"
            "  --budget MS     time that one call may take (default 100)\n"
            "  --memory MB     heap of the component (default 16)\n"
            "  --mode MODE     auto, ring or direct (default auto)\n"
            "  --core-dir DIR  leave core files of crashes there, for 'aee crash show' and gdb\n"
            "  --returns TYPE  int, double or nothing: what NAME returns (default int)\n"
            "  --load FILE     begin with the state of a snapshot (docs/snapshots.md)\n"
            "  --save FILE     write one after the last call, if none failed\n"
            "  --trace FILE    write a trace of calls, frames and events that Perfetto's UI opens\n"
            "  --json          one JSON object instead; its fields are in docs/cli.md\n"
            "  --              what follows are arguments\n"
            "\n"
            "exit codes: 0 every call returned, 1 the component crashed or hung, 2 wrong command\n"
            "line, 3 image or snapshot refused, 4 no usable back end, 5 anything else\n",
    .run = run,
};
