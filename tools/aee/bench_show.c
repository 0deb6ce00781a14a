#include "bench_show.h"

#include <stdlib.h>
#include <string.h>

/* ---- Text --------------------------------------------------------------------------------- */

/* Times in the unit that suits them, everything else as it is. */
static void format_value(char *text, size_t size, const char *unit, double value)
{
    static const struct {
        double at;
        const char *unit;
    } scales[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1.0, "ns"}};
    if (strcmp(unit, "ns") != 0) {
        (void)snprintf(text, size, "%.4g %s", value, unit);
        return;
    }
    unsigned i = 0;
    while (i < 3 && value < scales[i].at) {
        i++;
    }
    const double scaled = value / scales[i].at;
    const int decimals = scaled < 10.0 ? 2 : scaled < 100.0 ? 1 : 0;
    (void)snprintf(text, size, "%.*f %s", decimals, scaled, scales[i].unit);
}

static void print_value(FILE *out, int width, const char *unit, double value)
{
    char text[48];
    format_value(text, sizeof text, unit, value);
    (void)fprintf(out, "%*s", width, text);
}

void bench_show_host(const struct term *term, const struct bench_host *host)
{
    FILE *out = term->out;
    (void)fprintf(out, "aee %s on ", aee_version());
    term_print_safe(out, host->cpu);
    (void)fprintf(out, ", %u processors, %s, clock %s (%.0f ns a reading), level %s", host->cpus,
                  host->kernel, host->clocksource, host->clock_cost_ns,
                  aee_level_name(host->level));
    if (host->level == AEE_LEVEL_FULL) {
        (void)fprintf(out, ", VM exit %s ns", host->exit_cost_ns[0] ? host->exit_cost_ns : "?");
    }
    (void)fprintf(out, "\n\n  %-24s %-9s %11s %11s %11s   %s\n", "row", "level", "p50", "p99",
                  "max", "against its floor, and the target");
}

static void show_verdict(const struct term *term, const struct bench_row *row,
                         const struct bench_result *result)
{
    const enum bench_verdict verdict = bench_judge(row, result);
    const double ratio = bench_ratio(result);
    FILE *out = term->out;
    if (ratio > 0.0) {
        char floor[48];
        format_value(floor, sizeof floor, row->unit, result->floor.p50);
        (void)fprintf(out, "%.2fx of %s (%s)%s", ratio, row->floor, floor,
                      verdict != BENCH_NO_TARGET ? ", " : "");
    }
    if (verdict == BENCH_NO_TARGET) {
        return;
    }
    (void)fprintf(out, "target %s: ", row->target_text);
    term_colored(term, verdict == BENCH_MET ? TERM_GOOD : TERM_BAD,
                 verdict == BENCH_MET ? "met" : "missed");
}

void bench_show_row(const struct term *term, const struct bench_row *row, aee_level level,
                    const struct bench_result *result)
{
    FILE *out = term->out;
    const enum bench_verdict verdict = bench_judge(row, result);
    term_mark(term, verdict == BENCH_MET      ? TERM_GOOD
                    : verdict == BENCH_MISSED ? TERM_BAD
                                              : TERM_NEUTRAL);
    (void)fprintf(out, " %-24s %-9s ", row->name, bench_row_level(row, level));
    if (result->skipped[0]) {
        (void)fputs("skipped: ", out);
        term_print_safe(out, result->skipped);
        (void)fputc('\n', out);
        return;
    }
    print_value(out, 11, row->unit, result->row.p50);
    print_value(out, 12, row->unit, result->row.p99);
    print_value(out, 12, row->unit, result->row.max);
    (void)fputs("   ", out);
    show_verdict(term, row, result);
    (void)fputc('\n', out);
    for (unsigned i = 0; i < result->extra_count; i++) {
        (void)fprintf(out, "      %s %.6g\n", result->extras[i].name, result->extras[i].value);
    }
    if (result->note[0]) {
        (void)fputs("      ", out);
        term_print_safe(out, result->note);
        (void)fputc('\n', out);
    }
}

/* ---- JSON --------------------------------------------------------------------------------- */

enum { DECIMALS = 3 };

void bench_json_host(struct json *json, const struct bench_host *host)
{
    json_open(json, "host", '{');
    json_string(json, "version", aee_version());
    json_string(json, "kernel", host->kernel);
    json_string(json, "cpu", host->cpu);
    json_uint(json, "cpus", host->cpus);
    json_string(json, "clocksource", host->clocksource);
    json_fixed(json, "clock_cost_ns", host->clock_cost_ns, DECIMALS);
    json_string(json, "level", aee_level_name(host->level));
    json_string(json, "back_end", host->back_end);
    json_bool(json, "hardware", host->hardware != 0);
    json_uint(json, "exit_cost_ns", strtoull(host->exit_cost_ns, NULL, 10));
    json_close(json, '}');
}

static void json_summary(struct json *json, const struct bench_summary *summary)
{
    json_fixed(json, "p50", summary->p50, DECIMALS);
    json_fixed(json, "p99", summary->p99, DECIMALS);
    json_fixed(json, "max", summary->max, DECIMALS);
    json_fixed(json, "mean", summary->mean, DECIMALS);
    json_uint(json, "n", summary->count);
}

static void json_measured(struct json *json, const struct bench_row *row,
                          const struct bench_result *result)
{
    static const char *const verdicts[] = {NULL, "met", "missed"};
    json_summary(json, &result->row);
    if (result->floor.count > 0) {
        json_open(json, "floor", '{');
        json_string(json, "name", row->floor);
        json_summary(json, &result->floor);
        json_close(json, '}');
        json_fixed(json, "ratio", bench_ratio(result), DECIMALS);
    } else {
        json_string(json, "floor", NULL);
        json_string(json, "ratio", NULL);
    }
    json_string(json, "verdict", verdicts[bench_judge(row, result)]);
    json_open(json, "extra", '{');
    for (unsigned i = 0; i < result->extra_count; i++) {
        json_fixed(json, result->extras[i].name, result->extras[i].value, DECIMALS);
    }
    json_close(json, '}');
    json_string(json, "note", result->note[0] ? result->note : NULL);
}

void bench_json_row(struct json *json, const struct bench_row *row, aee_level level,
                    const struct bench_result *result)
{
    json_open(json, NULL, '{');
    json_string(json, "name", row->name);
    json_string(json, "level", bench_row_level(row, level));
    json_string(json, "unit", row->unit);
    if (result->skipped[0]) {
        json_string(json, "skipped", result->skipped);
    } else {
        json_measured(json, row, result);
    }
    json_string(json, "target", row->target_text[0] ? row->target_text : NULL);
    json_string(json, "how", row->how);
    json_close(json, '}');
}
