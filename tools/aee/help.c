/* help.c: the verb help. */
#include <stdio.h>

#include "cli.h"

static int help(int argc, char **argv)
{
    if (argc > 2) {
        return cli_usage("help", "one verb at most, not '%s'", argv[2]);
    }
    if (argc == 2) {
        const struct cli_verb *verb = cli_find_verb(argv[1]);
        if (!verb) {
            return cli_usage(NULL, "there is no verb '%s'", argv[1]);
        }
        (void)fputs(verb->help, stdout);
        return CLI_OK;
    }
    (void)printf("usage: aee VERB [ARGUMENTS]\n"
                 "\n"
                 "Isolated execution of engine components.\n"
                 "\n");
    for (unsigned i = 0; cli_verb_at(i); i++) {
        (void)printf("  %-9s %s\n", cli_verb_at(i)->name, cli_verb_at(i)->summary);
    }
    (void)printf("\n"
                 "'aee help VERB' or 'aee VERB --help' tells more. NO_COLOR is respected.\n"
                 "\n"
                 "exit codes:\n"
                 "  0  success\n"
                 "  1  the component crashed, hung or reported failure\n"
                 "  2  the command line is wrong\n"
                 "  3  the image could not be read or was refused\n"
                 "  4  no isolation back end is usable on this host\n"
                 "  5  anything else\n");
    return CLI_OK;
}

const struct cli_verb cli_help = {
    .name = "help",
    .summary = "what the verbs do",
    .help = "usage: aee help [VERB]\n"
            "\n"
            "Explains a verb, or lists them.\n",
    .run = help,
};
