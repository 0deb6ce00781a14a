/* job.c: the main job: a game loop whose parts are isolated from each other, and what became of
 * those that misbehaved. Exit codes: 0 every fault was contained and every result is right, 1 not
 * so, 2 wrong command line, 77 no isolation back end is usable here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "demo.h"
#include "job.h"

enum { EXIT_CANNOT_RUN = 77, LEAST_FRAMES = 60, MOST_FRAMES = 1000000, DEFAULT_FRAMES = 600 };

static const char usage[] =
    "usage: aee-demo --headless --script [--frames N] [--fast] [--json] [--trace FILE]\n"
    "\n"
    "Plays N frames (default 600) of a game whose parts run in contexts of their own, while\n"
    "mods crash, hang, exhaust their memory and attack.\n"
    "\n"
    "  --fast   wait only for contexts that restart, not for the next sixtieth of a second\n"
    "  --json   one JSON object instead of text; its fields are in docs/demo.md\n"
    "  --trace FILE   write a trace of all calls that Perfetto's UI opens (docs/tracing.md)\n"
    "\n"
    "AEE_COMPONENT_DIR names the folder of the components; default: ../guest beside the demo.\n"
    "exit codes: 0 all faults contained, 1 not so, 2 wrong command line, 77 cannot run here\n";

static bool parse_frames(const char *text, uint32_t *frames)
{
    char *end;
    const long value = text ? strtol(text, &end, 10) : 0;
    if (value < LEAST_FRAMES || value > MOST_FRAMES || *end != '\0') {
        (void)fprintf(stderr, "demo: --frames takes a number from %d to %d\n", LEAST_FRAMES,
                      MOST_FRAMES);
        return false;
    }
    *frames = (uint32_t)value;
    return true;
}

static bool parse_options(struct options *options, int argc, char **argv)
{
    options->frames = DEFAULT_FRAMES;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--fast") == 0) {
            options->fast = true;
        } else if (strcmp(argv[i], "--json") == 0) {
            options->json = true;
        } else if (strcmp(argv[i], "--trace") == 0 && i + 1 < argc) {
            options->trace = argv[++i];
        } else if (strcmp(argv[i], "--frames") == 0) {
            if (!parse_frames(argv[++i], &options->frames)) {
                return false;
            }
        } else {
            (void)fprintf(stderr, "demo: unexpected argument '%s' (see '--help')\n", argv[i]);
            return false;
        }
    }
    return true;
}

static void find_components(struct options *options)
{
    const char *given = getenv("AEE_COMPONENT_DIR");
    if (given && given[0]) {
        (void)snprintf(options->folder, sizeof options->folder, "%s", given);
        return;
    }
    char self[2048];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) {
        *slash = '\0';
    }
    (void)snprintf(options->folder, sizeof options->folder, "%s/../guest", self);
}

static aee_result start_trace(const struct demo *demo, aee_error *error)
{
    const aee_trace_desc desc = {.struct_size = sizeof desc, .path = demo->options.trace};
    return desc.path ? aee_trace_start(demo->engine, &desc, error) : AEE_OK;
}

static int play(struct demo *demo)
{
    aee_error error = {0};
    struct verdict verdict;
    aee_result result = demo_open(demo, &error);
    if (result == AEE_ERR_NO_BACKEND) {
        (void)fprintf(stderr, "demo: %s ('aee doctor' says more)\n", error.text);
        return EXIT_CANNOT_RUN;
    }
    if (result == AEE_OK) {
        result = start_trace(demo, &error);
    }
    if (result == AEE_OK) {
        report_start(demo);
        result = frames_run(demo, &error);
    }
    if (result == AEE_OK && demo->options.trace) {
        result = aee_trace_stop(demo->engine, &error);
    }
    if (result != AEE_OK) {
        (void)fprintf(stderr, "demo: %s\n", error.text);
        return 1;
    }
    demo_collect(demo);
    report_checking(demo);
    oracle_run(demo);
    verdict_judge(&demo->record, &verdict);
    if (demo->options.json) {
        report_json(demo, &verdict);
    } else {
        report_end(demo, &verdict);
    }
    return verdict.passed ? 0 : 1;
}

int job_main(int argc, char **argv)
{
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        (void)fputs(usage, stdout);
        return 0;
    }
    struct demo demo = {0};
    if (!parse_options(&demo.options, argc, argv)) {
        return 2;
    }
    find_components(&demo.options);
    const int status = play(&demo);
    demo_close(&demo);
    return fflush(stdout) == 0 ? status : 1;
}
