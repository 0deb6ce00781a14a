/* test_report.c: how tests went, as TAP version 13 or as JSON. One thread. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crash.h"
#include "json.h"
#include "term.h"
#include "test.h"

/* One document: it is open from the beginning to the end. */
static struct json the_json;

/* TAP reads what follows a '#' as a directive. */
static void print_name(const char *name)
{
    for (; *name; name++) {
        char one[2] = {*name == '#' ? '?' : *name, '\0'};
        (void)fputs(one, stdout);
    }
}

static void print_log(const struct test_outcome *outcome)
{
    for (size_t at = 0; at < outcome->log_size; at += strlen(outcome->log + at) + 1) {
        (void)fputs("# ", stdout);
        term_print_safe(stdout, outcome->log + at);
        (void)fputc('\n', stdout);
    }
    if (outcome->log_dropped > 0) {
        (void)printf("# ... and %zu lines more\n", outcome->log_dropped);
    }
}

static void tap_one(const struct test_report *report, const struct test_outcome *outcome)
{
    print_log(outcome);
    (void)printf("%s %u - ", outcome->ok ? "ok" : "not ok", report->done);
    print_name(outcome->name);
    (void)fputc('\n', stdout);
    if (!outcome->ok) {
        struct json text = {.out = stdout};
        (void)fputs("  ---\n  message: ", stdout);
        json_string(&text, NULL, outcome->message);
        (void)printf("\n  severity: fail\n  duration_ms: %.3f\n  ...\n",
                     (double)outcome->duration_ns / 1e6);
    }
    (void)fflush(stdout); /* before a test that takes long */
}

static void json_one(const struct test_outcome *outcome)
{
    json_open(&the_json, NULL, '{');
    json_string(&the_json, "name", outcome->name);
    json_bool(&the_json, "ok", outcome->ok);
    json_string(&the_json, "message", outcome->ok ? NULL : outcome->message);
    json_fixed(&the_json, "duration_ms", (double)outcome->duration_ns / 1e6, 3);
    json_open(&the_json, "log", '[');
    for (size_t at = 0; at < outcome->log_size; at += strlen(outcome->log + at) + 1) {
        json_string(&the_json, NULL, outcome->log + at);
    }
    json_close(&the_json, ']');
    json_uint(&the_json, "log_dropped", outcome->log_dropped);
    crash_json(&the_json, outcome->crashed ? &outcome->crash : NULL);
    json_close(&the_json, '}');
}

void test_report_begin(struct test_report *report)
{
    if (!report->json) {
        (void)printf("TAP version 13\n1..%u\n# seed %" PRIu64 "\n", report->count, report->seed);
        return;
    }
    the_json = (struct json){.out = stdout};
    json_open(&the_json, NULL, '{');
    json_string(&the_json, "image", report->image);
    json_uint(&the_json, "seed", report->seed);
    json_open(&the_json, "tests", '[');
}

void test_report_one(struct test_report *report, const struct test_outcome *outcome)
{
    report->done++;
    report->failed += !outcome->ok;
    if (report->json) {
        json_one(outcome);
    } else {
        tap_one(report, outcome);
    }
}

void test_report_end(struct test_report *report, int exit_code)
{
    if (!report->json) {
        (void)printf("# %u of %u passed\n", report->done - report->failed, report->count);
        return;
    }
    json_close(&the_json, ']');
    json_uint(&the_json, "passed", report->done - report->failed);
    json_uint(&the_json, "failed", report->failed);
    json_int(&the_json, "exit_code", exit_code);
    json_close(&the_json, '}');
}
