/* version.c: the verb version. */
#include <stdio.h>
#include <string.h>

#include "aee_virt.h"
#include "cli.h"

static int version(int argc, char **argv)
{
    if (argc > 1) {
        return cli_usage("version", "unexpected argument '%s'", argv[1]);
    }
    (void)printf("aee %s\n", AEE_VERSION_STRING);
    if (strcmp(aee_version(), AEE_VERSION_STRING) != 0) {
        (void)printf("libaee_virt %s\n", aee_version());
    }
    return CLI_OK;
}

const struct cli_verb cli_version = {
    .name = "version",
    .summary = "the version of this program",
    .help = "usage: aee version\n"
            "\n"
            "Prints the version, and that of the library where it is another one.\n",
    .run = version,
};
