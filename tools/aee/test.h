/* test.h: what the two halves of `aee test` share: running tests, and telling how they went. */
#ifndef AEE_TOOLS_TEST_H
#define AEE_TOOLS_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aee_virt.h"

/* How one test went. */
struct test_outcome {
    const char *name;
    bool ok;
    char message[sizeof((aee_error *)0)->text]; /* why it is not ok */
    bool crashed;                               /* then there is a crash report */
    aee_crash crash;
    uint64_t duration_ns;
    char *log; /* lines, each with its terminator */
    size_t log_size;
    size_t log_dropped; /* lines */
};

struct test_report {
    const char *image;
    bool json;
    uint64_t seed;
    unsigned count; /* of tests to come */
    unsigned done;
    unsigned failed; /* of them */
};

void test_report_begin(struct test_report *report);
void test_report_one(struct test_report *report, const struct test_outcome *outcome);
void test_report_end(struct test_report *report, int exit_code);

#endif
