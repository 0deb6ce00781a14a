/* doctor.c: the verb doctor. What this host offers, and what an engine has in force on it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "advice.h"
#include "aee_virt.h"
#include "cli.h"
#include "json.h"
#include "term.h"

/* What the probe found, and what became of it when an engine was made. */
struct diagnosis {
    aee_probe_report probe;
    aee_level level;    /* in force: an engine was made, and says so itself; AUTO: none */
    const char *forced; /* AEE_FORCE_LEVEL, or NULL */
    char why[248];      /* unless a level is in force */
};

static const char *forced_level(void)
{
    const char *forced = getenv("AEE_FORCE_LEVEL");
    return forced && forced[0] && strcmp(forced, aee_level_name(AEE_LEVEL_AUTO)) != 0 ? forced
                                                                                      : NULL;
}

static aee_result examine(struct diagnosis *diagnosis, aee_error *error)
{
    memset(diagnosis, 0, sizeof *diagnosis);
    aee_result result = aee_probe(&diagnosis->probe, error);
    if (result != AEE_OK) {
        return result;
    }
    diagnosis->forced = forced_level();
    aee_engine *engine;
    aee_error why;
    aee_stats stats;
    if (diagnosis->probe.level == AEE_LEVEL_AUTO) {
        (void)snprintf(diagnosis->why, sizeof diagnosis->why, "%s", diagnosis->probe.why);
    } else if (aee_engine_create(NULL, &engine, &why) != AEE_OK) {
        (void)snprintf(diagnosis->why, sizeof diagnosis->why, "%s", why.text);
    } else {
        if (aee_get_stats(engine, &stats, NULL) == AEE_OK) {
            diagnosis->level = stats.level;
        }
        aee_engine_destroy(engine);
    }
    return AEE_OK;
}

static bool is_in_force(const struct diagnosis *diagnosis)
{
    return diagnosis->level != AEE_LEVEL_AUTO;
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void print_json(const struct diagnosis *diagnosis)
{
    const aee_probe_report *probe = &diagnosis->probe;
    struct json json = {.out = stdout};
    json_open(&json, NULL, '{');
    json_string(&json, "version", aee_version());
    json_string(&json, "level", is_in_force(diagnosis) ? aee_level_name(diagnosis->level) : NULL);
    json_string(&json, "forced_level", diagnosis->forced);
    json_bool(&json, "use_vt_x", probe->use_vt_x);
    json_bool(&json, "use_ept", probe->use_ept);
    json_bool(&json, "use_vt_d", probe->use_vt_d);
    json_open(&json, "backends", '[');
    for (uint32_t i = 0; i < probe->backend_count; i++) {
        const aee_backend_report *backend = &probe->backends[i];
        json_open(&json, NULL, '{');
        json_string(&json, "name", backend->name);
        json_string(&json, "level", aee_level_name(backend->level));
        json_bool(&json, "usable", backend->usable);
        json_bool(&json, "in_force", backend->level == diagnosis->level);
        json_string(&json, "why", backend->why);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_open(&json, "facts", '[');
    for (uint32_t i = 0; i < probe->fact_count; i++) {
        json_open(&json, NULL, '{');
        json_string(&json, "name", probe->facts[i].name);
        json_string(&json, "value", probe->facts[i].value);
        json_string(&json, "how", probe->facts[i].how);
        json_bool(&json, "usable", probe->facts[i].usable);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
}

/* ---- For people --------------------------------------------------------------------------- */

struct row {
    const char *name;
    const char *value;
    const char *how;
    enum term_mark mark;
};

static void print_row(const struct term *term, const struct row *row)
{
    enum { NAME = 24, VALUE = 8 };
    (void)fputs("  ", term->out);
    term_mark(term, row->mark);
    (void)fprintf(term->out, " %-*s %-*s ", NAME, row->name, VALUE, row->value);
    term_wrapped(term, 4 + NAME + 1 + VALUE + 1, row->how);
    (void)fputc('\n', term->out);
}

static void print_verdict(const struct term *term, const struct diagnosis *diagnosis)
{
    char line[64];
    if (!is_in_force(diagnosis)) {
        term_colored(term, TERM_BAD, "no level is in force");
        (void)fprintf(term->out, "\n  ");
        term_wrapped(term, 2, diagnosis->why);
        (void)fputc('\n', term->out);
        return;
    }
    (void)snprintf(line, sizeof line, "level %s is in force", aee_level_name(diagnosis->level));
    term_colored(term, diagnosis->level == AEE_LEVEL_NONE ? TERM_BAD : TERM_GOOD, line);
    (void)fputs(diagnosis->forced ? ": AEE_FORCE_LEVEL demands it\n"
                                  : ": the strongest that works here\n",
                term->out);
}

static const char *describe(aee_level level)
{
    switch (level) {
    case AEE_LEVEL_FULL:
        return "level full: each context is a virtual machine of its own";
    case AEE_LEVEL_CONTAINER:
        return "level container: a process, too, in namespaces of its own";
    case AEE_LEVEL_PROCESS:
        return "level process: each context is a process of its own, without system calls";
    case AEE_LEVEL_NONE:
    case AEE_LEVEL_AUTO:
    default:
        return "level none: nothing is isolated; never chosen unless asked for";
    }
}

static void print_backends(const struct term *term, const struct diagnosis *diagnosis)
{
    (void)fputs("\nback ends, from the strongest\n", term->out);
    for (uint32_t i = 0; i < diagnosis->probe.backend_count; i++) {
        const aee_backend_report *backend = &diagnosis->probe.backends[i];
        const bool in_force = backend->level == diagnosis->level;
        const struct row row = {.name = backend->name,
                                .value = in_force          ? "in force"
                                         : backend->usable ? "usable"
                                                           : "no",
                                .how = backend->usable ? describe(backend->level) : backend->why,
                                .mark = !backend->usable                   ? TERM_BAD
                                        : backend->level == AEE_LEVEL_NONE ? TERM_NEUTRAL
                                                                           : TERM_GOOD};
        print_row(term, &row);
    }
}

static struct row in_force(const char *name, int yes, const char *how)
{
    return (struct row){.name = name,
                        .value = yes ? "yes" : "no",
                        .how = how,
                        .mark = yes ? TERM_GOOD : TERM_NEUTRAL};
}

static void print_in_force(const struct term *term, const struct diagnosis *diagnosis)
{
    const aee_level level = diagnosis->level;
    const aee_probe_report *probe = &diagnosis->probe;
    if (!is_in_force(diagnosis)) {
        return;
    }
    const struct row rows[] = {
        in_force("memory of its own", level > AEE_LEVEL_NONE,
                 level == AEE_LEVEL_FULL  ? "page tables that a context cannot reach"
                 : level > AEE_LEVEL_NONE ? "an address space of its own"
                                          : "a context can reach all of the engine"),
        in_force("no system calls", level > AEE_LEVEL_NONE,
                 level == AEE_LEVEL_FULL  ? "a system call is a crash of the component"
                 : level > AEE_LEVEL_NONE ? "seccomp leaves futexes and the return from signals"
                                          : "a context can do what the engine can"),
        in_force("namespaces", level == AEE_LEVEL_CONTAINER,
                 "no files, network or processes but its own; for level container"),
        in_force("VT-x or AMD-V", probe->use_vt_x,
                 "use_vt_x; the experiment is kvm.hardware; for level full"),
        in_force("EPT or NPT", probe->use_ept,
                 "use_ept; the experiment is kvm.nested_paging; for level full"),
        in_force("VT-d", probe->use_vt_d, "use_vt_d; no device is attached through it"),
    };
    (void)fputs("\nin force\n", term->out);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_row(term, &rows[i]);
    }
}

static void print_facts(const struct term *term, const aee_probe_report *probe)
{
    if (probe->fact_count == 0) {
        return;
    }
    (void)fputs("\nfacts, and how each was found\n", term->out);
    for (uint32_t i = 0; i < probe->fact_count; i++) {
        const aee_fact *fact = &probe->facts[i];
        const bool no = strcmp(fact->value, "no") == 0;
        const struct row row = {.name = fact->name,
                                .value = fact->value,
                                .how = fact->how,
                                .mark = !fact->usable ? TERM_BAD
                                        : no          ? TERM_NEUTRAL
                                                      : TERM_GOOD};
        print_row(term, &row);
    }
}

static const char *find_fact(const aee_probe_report *probe, const char *name)
{
    for (uint32_t i = 0; i < probe->fact_count; i++) {
        if (strcmp(probe->facts[i].name, name) == 0) {
            return probe->facts[i].value;
        }
    }
    return NULL;
}

/* One that works and is stronger than what is in force; AUTO: none. */
static aee_level find_stronger(const struct diagnosis *diagnosis)
{
    for (uint32_t i = 0; i < diagnosis->probe.backend_count; i++) {
        const aee_backend_report *backend = &diagnosis->probe.backends[i];
        if (backend->usable && backend->level > diagnosis->level &&
            backend->level > AEE_LEVEL_NONE) {
            return backend->level;
        }
    }
    return AEE_LEVEL_AUTO;
}

static bool is_usable(const struct diagnosis *diagnosis, aee_level level)
{
    for (uint32_t i = 0; i < diagnosis->probe.backend_count; i++) {
        const aee_backend_report *backend = &diagnosis->probe.backends[i];
        if (backend->level == level) {
            return backend->usable;
        }
    }
    return false;
}

static void print_paragraph(const struct term *term, const char *lead, const char *text)
{
    if (text[0]) {
        (void)fprintf(term->out, "  %s", lead);
        term_wrapped(term, 2 + (int)strlen(lead), text);
        (void)fputc('\n', term->out);
    }
}

static void print_advice(const struct term *term, const struct diagnosis *diagnosis)
{
    char text[512] = "";
    const char *exit_cost = find_fact(&diagnosis->probe, "kvm.exit_cost_ns");
    const aee_level stronger = find_stronger(diagnosis);
    if (diagnosis->level == AEE_LEVEL_FULL && diagnosis->probe.use_vt_x) {
        return;
    }
    (void)fputs("\nadvice\n", term->out);
    if (diagnosis->forced && stronger != AEE_LEVEL_AUTO) {
        (void)snprintf(text, sizeof text, "Level %s works here: unset AEE_FORCE_LEVEL.",
                       aee_level_name(stronger));
        print_paragraph(term, "", text);
    }
    if (!is_usable(diagnosis, AEE_LEVEL_FULL)) {
        advice_for_kvm(text, sizeof text);
        print_paragraph(term, "level full: ", text);
    }
    if (is_in_force(diagnosis)) {
        advice_about_level(diagnosis->level, exit_cost ? strtod(exit_cost, NULL) : 0.0, text,
                           sizeof text);
        print_paragraph(term, "", text);
    }
}

static void print_text(const struct diagnosis *diagnosis)
{
    struct term term;
    term_open(&term, stdout);
    print_verdict(&term, diagnosis);
    print_backends(&term, diagnosis);
    print_in_force(&term, diagnosis);
    print_facts(&term, &diagnosis->probe);
    print_advice(&term, diagnosis);
}

static int doctor(int argc, char **argv)
{
    bool as_json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") != 0) {
            return cli_usage("doctor", "unexpected argument '%s'", argv[i]);
        }
        as_json = true;
    }
    struct diagnosis diagnosis;
    aee_error error;
    const aee_result result = examine(&diagnosis, &error);
    if (result != AEE_OK) { /* the environment demands a level that does not exist, or no memory */
        (void)fprintf(stderr, "aee doctor: %s\n", error.text);
        return result == AEE_ERR_INVALID_ARGUMENT ? CLI_USAGE : CLI_OTHER;
    }
    if (as_json) {
        print_json(&diagnosis);
    } else {
        print_text(&diagnosis);
    }
    return is_in_force(&diagnosis) ? CLI_OK : CLI_NO_BACKEND;
}

const struct cli_verb cli_doctor = {
    .name = "doctor",
    .summary = "what this host offers, what is in force, and what to do about the rest",
    .help = "usage: aee doctor [--json]\n"
            "\n"
            "Tries the isolation mechanisms of this host out and says what worked, which level\n"
            "engines get, how each fact was found, and what to do where something is missing.\n"
            "\n"
            "  --json   one JSON object instead; its fields are in docs/cli.md\n"
            "\n"
            "exit codes: 0 a level is in force, 4 none is, 2 wrong command line, 5 anything else\n",
    .run = doctor,
};
