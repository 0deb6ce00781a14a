/* cli.h: what the verbs of the command line share. Owns nothing; main thread only. */
#ifndef AEE_TOOLS_CLI_H
#define AEE_TOOLS_CLI_H

/* Exit codes, documented in docs/cli.md and by `aee help`. */
enum cli_exit {
    CLI_OK = 0,
    CLI_COMPONENT = 1,  /* the component crashed, hung or reported failure */
    CLI_USAGE = 2,      /* the command line is wrong */
    CLI_IMAGE = 3,      /* the image could not be read or was refused */
    CLI_NO_BACKEND = 4, /* no isolation back end is usable here */
    CLI_OTHER = 5
};

struct cli_verb {
    const char *name;
    const char *summary;               /* for the list of verbs */
    const char *help;                  /* all of `aee help VERB` */
    int (*run)(int argc, char **argv); /* argv[0] is the verb; returns an enum cli_exit */
};

extern const struct cli_verb cli_doctor;
extern const struct cli_verb cli_run;
extern const struct cli_verb cli_test;
extern const struct cli_verb cli_gdb;
extern const struct cli_verb cli_bench;
extern const struct cli_verb cli_crash;
extern const struct cli_verb cli_version;
extern const struct cli_verb cli_help;

/* The verb of that name, or NULL. cli_verb_at() gives NULL after the last one. */
const struct cli_verb *cli_find_verb(const char *name);
const struct cli_verb *cli_verb_at(unsigned index);

/* Prints the one line about a wrong command line, with a hint at the verb's help. `verb` may be
 * NULL. Returns CLI_USAGE. */
__attribute__((format(printf, 2, 3))) int cli_usage(const char *verb, const char *format, ...);

#endif
