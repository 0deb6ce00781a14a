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
    bool usable;   /* the probe's word for it */
    bool in_force; /* an engine was made, and says so itself */
    char why[248]; /* unless in force */
};

static aee_result examine(struct diagnosis *diagnosis, aee_error *error)
{
    memset(diagnosis, 0, sizeof *diagnosis);
    aee_result result = aee_probe(&diagnosis->probe, error);
    if (result != AEE_OK) {
        return result;
    }
    diagnosis->usable = diagnosis->probe.level == AEE_LEVEL_FULL;
    (void)snprintf(diagnosis->why, sizeof diagnosis->why, "%s", diagnosis->probe.why);
    aee_engine *engine;
    aee_error why;
    aee_stats stats;
    if (diagnosis->usable && aee_engine_create(NULL, &engine, &why) != AEE_OK) {
        (void)snprintf(diagnosis->why, sizeof diagnosis->why, "%s", why.text);
    } else if (diagnosis->usable) {
        diagnosis->in_force =
            aee_get_stats(engine, &stats, NULL) == AEE_OK && stats.level == diagnosis->probe.level;
        aee_engine_destroy(engine);
    }
    return AEE_OK;
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void print_json(const struct diagnosis *diagnosis)
{
    const aee_probe_report *probe = &diagnosis->probe;
    struct json json = {.out = stdout};
    json_open(&json, NULL, '{');
    json_string(&json, "version", aee_version());
    json_string(&json, "level", diagnosis->in_force ? aee_level_name(probe->level) : NULL);
    json_bool(&json, "use_vt_x", probe->use_vt_x);
    json_bool(&json, "use_ept", probe->use_ept);
    json_bool(&json, "use_vt_d", probe->use_vt_d);
    json_open(&json, "backends", '[');
    json_open(&json, NULL, '{');
    json_string(&json, "name", "kvm");
    json_string(&json, "level", aee_level_name(AEE_LEVEL_FULL));
    json_bool(&json, "usable", diagnosis->usable);
    json_bool(&json, "in_force", diagnosis->in_force);
    json_string(&json, "why", diagnosis->why);
    json_close(&json, '}');
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
    (void)snprintf(line, sizeof line, "usable (level %s)", aee_level_name(AEE_LEVEL_FULL));
    (void)fputs("KVM back end: ", term->out);
    if (diagnosis->in_force) {
        term_colored(term, TERM_GOOD, line);
        (void)fputc('\n', term->out);
    } else {
        term_colored(term, TERM_BAD, "not usable");
        (void)fprintf(term->out, "\n  ");
        term_wrapped(term, 2, diagnosis->why);
        (void)fputc('\n', term->out);
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
    if (!diagnosis->in_force) {
        return;
    }
    const struct row rows[] = {
        in_force("isolation by page tables", 1, "each context is a virtual machine of its own"),
        in_force("VT-x or AMD-V", diagnosis->probe.use_vt_x,
                 "use_vt_x; the experiment is kvm.hardware"),
        in_force("EPT or NPT", diagnosis->probe.use_ept,
                 "use_ept; the experiment is kvm.nested_paging"),
        in_force("VT-d", diagnosis->probe.use_vt_d, "use_vt_d; no device is attached through it"),
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

static void print_advice(const struct term *term, const struct diagnosis *diagnosis)
{
    char text[512] = "";
    if (!diagnosis->in_force) {
        advice_for_kvm(text, sizeof text);
    } else if (!diagnosis->probe.use_vt_x) {
        const char *cost = find_fact(&diagnosis->probe, "kvm.exit_cost_ns");
        (void)snprintf(text, sizeof text,
                       "This KVM works without the processor's virtualization. Components are "
                       "isolated all the same, but each VM exit costs %.0f us: make few large "
                       "calls, and share data through regions.",
                       cost ? strtod(cost, NULL) / 1e3 : 0.0);
    }
    if (text[0]) {
        (void)fputs("\nadvice\n  ", term->out);
        term_wrapped(term, 2, text);
        (void)fputc('\n', term->out);
    }
}

static void print_text(const struct diagnosis *diagnosis)
{
    struct term term;
    term_open(&term, stdout);
    print_verdict(&term, diagnosis);
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
    if (examine(&diagnosis, &error) != AEE_OK) {
        (void)fprintf(stderr, "aee doctor: %s\n", error.text);
        return CLI_OTHER;
    }
    if (as_json) {
        print_json(&diagnosis);
    } else {
        print_text(&diagnosis);
    }
    return diagnosis.in_force ? CLI_OK : CLI_NO_BACKEND;
}

const struct cli_verb cli_doctor = {
    .name = "doctor",
    .summary = "what this host offers, what is in force, and what to do about the rest",
    .help =
        "usage: aee doctor [--json]\n"
        "\n"
        "Tries the isolation mechanisms of this host out and says what worked, how each fact\n"
        "was found, and what to do where something is missing.\n"
        "\n"
        "  --json   one JSON object instead; its fields are in docs/cli.md\n"
        "\n"
        "exit codes: 0 a back end is usable, 4 none is, 2 wrong command line, 5 anything else\n",
    .run = doctor,
};
