/* main.c: finds the verb and runs it. */
#include "cli.h"

#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "term.h"

static const struct cli_verb *const verbs[] = {&cli_doctor, &cli_run,   &cli_test,    &cli_gdb,
                                               &cli_bench,  &cli_crash, &cli_version, &cli_help};
enum { VERB_COUNT = sizeof verbs / sizeof verbs[0] };

const struct cli_verb *cli_verb_at(unsigned index)
{
    return index < VERB_COUNT ? verbs[index] : NULL;
}

const struct cli_verb *cli_find_verb(const char *name)
{
    for (unsigned i = 0; i < VERB_COUNT; i++) {
        if (strcmp(verbs[i]->name, name) == 0) {
            return verbs[i];
        }
    }
    return NULL;
}

int cli_usage(const char *verb, const char *format, ...)
{
    char text[1280];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *space = verb ? " " : "";
    verb = verb ? verb : "";
    (void)fprintf(stderr, "aee%s%s: ", space, verb);
    term_print_safe(stderr, text);
    (void)fprintf(stderr, " (see 'aee help%s%s')\n", space, verb);
    return CLI_USAGE;
}

static bool is_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

static int run_verb(const struct cli_verb *verb, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (is_help(argv[i])) {
            (void)fputs(verb->help, stdout);
            return CLI_OK;
        }
    }
    return verb->run(argc, argv);
}

int main(int argc, char **argv)
{
    (void)setlocale(LC_CTYPE, ""); /* whether the terminal is UTF-8; numbers stay in C format */
    if (argc < 2) {
        return cli_usage(
            NULL, "a verb is missing: doctor, run, test, gdb, bench, crash, version or help");
    }
    const char *name = argv[1];
    if (is_help(name)) {
        name = cli_help.name;
    } else if (strcmp(name, "--version") == 0) {
        name = cli_version.name;
    }
    const struct cli_verb *verb = cli_find_verb(name);
    int status =
        verb ? run_verb(verb, argc - 1, argv + 1) : cli_usage(NULL, "there is no verb '%s'", name);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)fputs("aee: the output could not be written\n", stderr);
        return status == CLI_OK ? CLI_OTHER : status;
    }
    return status;
}
