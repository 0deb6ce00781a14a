/* run_options.h: the command line of `aee run`. Owns nothing; one thread. */
#ifndef AEE_TOOLS_RUN_OPTIONS_H
#define AEE_TOOLS_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "aee_virt.h"

struct run_options {
    const char *image;
    const char *call;
    const char *load;     /* a snapshot, or NULL */
    const char *save;     /* the same */
    const char *trace;    /* file; NULL: none */
    const char *core_dir; /* NULL: no core files */
    aee_value args[AEE_ARGS_MAX];
    uint32_t arg_count;
    int frame_arg;      /* index of the argument that was given as {frame}; -1: none */
    uint32_t frames;    /* 0: one call */
    uint32_t budget_ms; /* 0: the library's default */
    uint32_t memory_mb; /* the same */
    aee_call_mode mode;
    bool returns_double;
    bool returns_nothing;
    bool no_pace;
    bool json;
};

/* Fills the options from the command line; returns an enum cli_exit and has said why. */
int run_options_parse(struct run_options *options, int argc, char **argv);
/* One argument of a function: a 64-bit integer or a double. */
bool run_options_value(const char *text, aee_value *value);

#endif
