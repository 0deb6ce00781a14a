/* bench.c: the verb bench. Chooses rows, has them measured (bench/) and shows them. */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_show.h"
#include "cli.h"
#include "json.h"
#include "term.h"

enum { ROWS_MAX = 64 };

struct bench_choice {
    bool json;
    bool list;
    bool quick;
    const char *sandbox; /* this is the child of a row; not for users */
    aee_level level;
    const struct bench_row *rows[ROWS_MAX];
    unsigned row_count; /* 0: all */
};

/* ---- Command line ------------------------------------------------------------------------- */

static int complain_about_row(const char *name)
{
    char names[1024] = "";
    size_t used = 0;
    for (unsigned i = 0; bench_row_at(i) && used < sizeof names; i++) {
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "",
                                 bench_row_at(i)->name);
    }
    return cli_usage("bench", "there is no row '%.64s'; there are %s", name, names);
}

static int choose_row(struct bench_choice *choice, const char *name)
{
    const struct bench_row *row = bench_find_row(name);
    if (!row) {
        return complain_about_row(name);
    }
    for (unsigned i = 0; i < choice->row_count; i++) {
        if (choice->rows[i] == row) {
            return CLI_OK;
        }
    }
    choice->rows[choice->row_count++] = row; /* each at most once, and ROWS_MAX is more than all */
    return CLI_OK;
}

static int choose_level(struct bench_choice *choice, const char *name)
{
    for (int level = AEE_LEVEL_AUTO; level <= (int)AEE_LEVEL_FULL; level++) {
        if (strcmp(name, aee_level_name((aee_level)level)) == 0) {
            choice->level = (aee_level)level;
            return CLI_OK;
        }
    }
    return cli_usage(
        "bench", "there is no level '%.64s'; there are auto, none, process, container, full", name);
}

static int parse_valued(struct bench_choice *choice, const char *option, const char *value)
{
    if (!value) {
        return cli_usage("bench", "%s needs a value", option);
    }
    if (strcmp(option, "--only") == 0) {
        return choose_row(choice, value);
    }
    if (strcmp(option, "--level") == 0) {
        return choose_level(choice, value);
    }
    choice->sandbox = value;
    return CLI_OK;
}

static int parse(struct bench_choice *choice, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i];
        if (strcmp(option, "--json") == 0) {
            choice->json = true;
        } else if (strcmp(option, "--list") == 0) {
            choice->list = true;
        } else if (strcmp(option, "--quick") == 0) {
            choice->quick = true;
        } else if (strcmp(option, "--only") == 0 || strcmp(option, "--level") == 0 ||
                   strcmp(option, "--sandbox-child") == 0) {
            const int code = parse_valued(choice, option, argv[++i]);
            if (code != CLI_OK) {
                return code;
            }
        } else {
            return cli_usage("bench", "unexpected argument '%s'", option);
        }
    }
    for (unsigned i = 0; choice->row_count == 0 && bench_row_at(i) && i < ROWS_MAX; i++) {
        choice->rows[i] = bench_row_at(i);
    }
    while (choice->row_count < ROWS_MAX && choice->rows[choice->row_count]) {
        choice->row_count++;
    }
    return CLI_OK;
}

/* ---- Output ------------------------------------------------------------------------------- */

static int list_rows(const struct bench_choice *choice)
{
    for (unsigned i = 0; i < choice->row_count; i++) {
        const aee_level level = choice->level == AEE_LEVEL_AUTO ? AEE_LEVEL_FULL : choice->level;
        const struct bench_row *row = bench_row_in(choice->rows[i], level);
        (void)printf("%s\n    %s\n", row->name, row->how);
        if (row->target_text[0]) {
            (void)printf("    target: %s\n", row->target_text);
        }
    }
    return CLI_OK;
}

/* A line that the next one replaces. */
static void show_progress(const struct bench_choice *choice, unsigned index)
{
    if (isatty(STDERR_FILENO) != 1) {
        return;
    }
    if (index < choice->row_count) {
        (void)fprintf(stderr, "\r\033[K%u of %u: %s", index + 1, choice->row_count,
                      choice->rows[index]->name);
    } else {
        (void)fputs("\r\033[K", stderr);
    }
    (void)fflush(stderr);
}

static void run_rows(struct bench *bench, const struct bench_choice *choice)
{
    struct term term;
    struct json json = {.out = stdout};
    struct bench_host host;
    term_open(&term, stdout);
    bench_describe_host(bench, &host);
    const aee_level level = host.level;
    if (choice->json) {
        json_open(&json, NULL, '{');
        bench_json_host(&json, &host);
        json_open(&json, "rows", '[');
    } else {
        bench_show_host(&term, &host);
    }
    for (unsigned i = 0; i < choice->row_count; i++) {
        const struct bench_row *row = bench_row_in(choice->rows[i], level);
        struct bench_result result;
        show_progress(choice, i);
        bench_run(bench, row, &result);
        show_progress(choice, choice->row_count);
        if (choice->json) {
            bench_json_row(&json, row, level, &result);
        } else {
            bench_show_row(&term, row, level, &result);
            (void)fflush(stdout);
        }
    }
    if (choice->json) {
        json_close(&json, ']');
        json_close(&json, '}');
    }
}

/* One line where no context of the level can be made: then there is nothing to compare with. */
static int open_bench(const struct bench_choice *choice, struct bench **bench)
{
    const struct bench_options options = {.quick = choice->quick, .level = choice->level};
    aee_error error;
    const aee_result result = bench_open(&options, bench, &error);
    if (result != AEE_OK) {
        (void)fprintf(stderr, "aee bench: %s\n", error.text);
        return result == AEE_ERR_NO_BACKEND         ? CLI_NO_BACKEND
               : result == AEE_ERR_INVALID_ARGUMENT ? CLI_USAGE
                                                    : CLI_OTHER;
    }
    if (choice->level != AEE_LEVEL_AUTO && bench_level(*bench) != choice->level) {
        const char *forced = aee_level_name(bench_level(*bench));
        bench_close(*bench);
        return cli_usage("bench", "--level %s and AEE_FORCE_LEVEL=%s contradict each other",
                         aee_level_name(choice->level), forced);
    }
    return CLI_OK;
}

static int run(int argc, char **argv)
{
    struct bench_choice choice = {0};
    int code = parse(&choice, argc, argv);
    if (code != CLI_OK) {
        return code;
    }
    if (choice.sandbox) {
        return bench_sandbox_main(choice.sandbox);
    }
    if (choice.list) {
        return list_rows(&choice);
    }
    struct bench *bench;
    code = open_bench(&choice, &bench);
    if (code != CLI_OK) {
        return code;
    }
    run_rows(bench, &choice);
    bench_close(bench);
    return CLI_OK;
}

const struct cli_verb cli_bench = {
    .name = "bench",
    .summary = "measure this host: every figure beside its floor",
    .help = "usage: aee bench [--json] [--only NAME]... [--level LEVEL] [--quick] [--list]\n"
            "\n"
            "Measures calls, compute, creation, memory and limits, each beside the least that the\n"
            "host allows (its floor), in turns. Takes less than two minutes. Only ratios can be\n"
            "compared between machines; docs/performance.md explains every row.\n"
            "\n"
            "  --only NAME    this row; may be repeated\n"
            "  --level LEVEL  the isolation to measure: none, process, container, full or auto,\n"
            "                 the strongest that works (default auto)\n"
            "  --quick        few samples: whether everything works, not how fast it is\n"
            "  --list         the rows, how each is measured, and its target\n"
            "  --json         one JSON object instead; its fields are in docs/performance.md\n"
            "\n"
            "A row that cannot be measured says why. A missed target is no failure.\n"
            "\n"
            "exit codes: 0 measured, 2 wrong command line, 4 no usable back end, 5 anything else\n",
    .run = run,
};
