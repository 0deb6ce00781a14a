#include "run_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define VERB "run"

/* ---- Values ------------------------------------------------------------------------------- */

/* Decimal as a signed number, hexadecimal as 64 bits. */
static bool parse_integer(const char *text, int64_t *value)
{
    char *end;
    const bool negative = text[0] == '-';
    const char *digits = text + (negative || text[0] == '+');
    if (digits[0] < '0' || digits[0] > '9') {
        return false;
    }
    errno = 0;
    if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) {
        const uint64_t bits = strtoull(digits, &end, 16);
        *value = (int64_t)(negative ? 0 - bits : bits);
        return errno == 0 && *end == '\0' && end > digits + 2;
    }
    *value = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0';
}

bool run_options_value(const char *text, aee_value *value)
{
    int64_t integer;
    if (parse_integer(text, &integer)) {
        *value = aee_i64(integer);
        return true;
    }
    char *end;
    const bool hexadecimal = strpbrk(text, "xX") != NULL;
    const bool is_double = strpbrk(text, ".eE") || strstr(text, "inf") || strstr(text, "nan");
    *value = aee_f64(strtod(text, &end));
    return is_double && !hexadecimal && end != text && *end == '\0';
}

/* A number from 1 to `most`. */
static int parse_number(const char *option, const char *text, uint32_t most, uint32_t *out)
{
    int64_t value;
    if (!parse_integer(text, &value) || value < 1 || value > most) {
        return cli_usage(VERB, "%s takes a number from 1 to %u, not '%s'", option, most, text);
    }
    *out = (uint32_t)value;
    return CLI_OK;
}

static int parse_mode(struct run_options *options, const char *text)
{
    static const aee_call_mode modes[] = {AEE_CALL_AUTO, AEE_CALL_RING, AEE_CALL_DIRECT};
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(text, aee_call_mode_name(modes[i])) == 0) {
            options->mode = modes[i];
            return CLI_OK;
        }
    }
    return cli_usage(VERB, "--mode takes auto, ring or direct, not '%s'", text);
}

static int parse_returns(struct run_options *options, const char *text)
{
    options->returns_double = strcmp(text, "double") == 0;
    options->returns_nothing = strcmp(text, "nothing") == 0;
    if (!options->returns_double && !options->returns_nothing && strcmp(text, "int") != 0) {
        return cli_usage(VERB, "--returns takes int, double or nothing, not '%s'", text);
    }
    return CLI_OK;
}

/* ---- Options ------------------------------------------------------------------------------ */

/* An option that has a value. */
static int parse_pair(struct run_options *options, const char *name, const char *value)
{
    enum { MAX_FRAMES = 100000000, MAX_BUDGET_MS = 3600000, MAX_MEMORY_MB = 12288 };
    if (strcmp(name, "--call") == 0) {
        options->call = value;
        return CLI_OK;
    }
    if (strcmp(name, "--trace") == 0) {
        options->trace = value;
        return CLI_OK;
    }
    if (strcmp(name, "--core-dir") == 0) {
        options->core_dir = value;
        return CLI_OK;
    }
    if (strcmp(name, "--frames") == 0) {
        return parse_number(name, value, MAX_FRAMES, &options->frames);
    }
    if (strcmp(name, "--budget") == 0) {
        return parse_number(name, value, MAX_BUDGET_MS, &options->budget_ms);
    }
    if (strcmp(name, "--memory") == 0) {
        return parse_number(name, value, MAX_MEMORY_MB, &options->memory_mb);
    }
    if (strcmp(name, "--mode") == 0) {
        return parse_mode(options, value);
    }
    if (strcmp(name, "--load") == 0) {
        options->load = value;
        return CLI_OK;
    }
    if (strcmp(name, "--save") == 0) {
        options->save = value;
        return CLI_OK;
    }
    return parse_returns(options, value);
}

static bool has_value(const char *name)
{
    static const char *const names[] = {"--call",  "--frames",  "--budget", "--memory",
                                        "--mode",  "--returns", "--load",   "--save",
                                        "--trace", "--core-dir"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The image comes first, then the arguments of the function. */
static int parse_positional(struct run_options *options, const char *text)
{
    if (!options->image) {
        options->image = text;
        return CLI_OK;
    }
    if (options->arg_count == AEE_ARGS_MAX) {
        return cli_usage(VERB, "a function takes %d arguments at most", AEE_ARGS_MAX);
    }
    aee_value *value = &options->args[options->arg_count];
    if (strcmp(text, "{frame}") == 0) {
        options->frame_arg = (int)options->arg_count;
        *value = aee_i64(0);
    } else if (!run_options_value(text, value)) {
        return cli_usage(VERB, "argument '%s' is neither a 64-bit integer nor a double nor {frame}",
                         text);
    }
    options->arg_count++;
    return CLI_OK;
}

static bool is_option(const char *text)
{
    return text[0] == '-' && text[1] != '\0' && strchr("0123456789.", text[1]) == NULL;
}

static int parse_one(struct run_options *options, int argc, char **argv, int *at)
{
    const char *name = argv[*at];
    if (!is_option(name)) {
        return parse_positional(options, name);
    }
    if (strcmp(name, "--json") == 0) {
        options->json = true;
        return CLI_OK;
    }
    if (strcmp(name, "--no-pace") == 0) {
        options->no_pace = true;
        return CLI_OK;
    }
    if (!has_value(name)) {
        return cli_usage(VERB, "there is no option '%s'", name);
    }
    if (*at + 1 == argc) {
        return cli_usage(VERB, "%s needs a value", name);
    }
    return parse_pair(options, name, argv[++*at]);
}

int run_options_parse(struct run_options *options, int argc, char **argv)
{
    *options = (struct run_options){.frame_arg = -1};
    int status = CLI_OK;
    int at = 1;
    for (; at < argc && status == CLI_OK && strcmp(argv[at], "--") != 0; at++) {
        status = parse_one(options, argc, argv, &at);
    }
    for (at++; at < argc && status == CLI_OK; at++) { /* what follows -- is positional */
        status = parse_positional(options, argv[at]);
    }
    if (status != CLI_OK) {
        return status;
    }
    if (!options->image) {
        return cli_usage(VERB, "an image is missing");
    }
    if (!options->call) {
        return cli_usage(VERB, "--call NAME is missing");
    }
    if (options->frame_arg >= 0 && options->frames == 0) {
        return cli_usage(VERB, "{frame} needs --frames");
    }
    if (options->no_pace && options->frames == 0) {
        return cli_usage(VERB, "--no-pace needs --frames");
    }
    return CLI_OK;
}
