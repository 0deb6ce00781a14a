/* level.h: the isolation level that a test is run at, which AEE_FORCE_LEVEL in the environment
 * names; without it, the strongest that is usable. For C and C++; include after the standard
 * headers. */
#ifndef AEE_TESTS_LEVEL_H
#define AEE_TESTS_LEVEL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aee_virt.h"

/* 0 where the level is usable; otherwise prints why it is not, and is 77. */
static inline int skip_without_level(void)
{
    const char *forced = getenv("AEE_FORCE_LEVEL");
    aee_probe_report report;
    memset(&report, 0, sizeof report);
    if (aee_probe(&report, NULL) != AEE_OK || report.level == AEE_LEVEL_AUTO) {
        (void)printf("SKIP: %s\n", report.why[0] ? report.why : "no isolation level is usable");
        return 77;
    }
    if (forced && forced[0] != '\0' && strcmp(forced, aee_level_name(report.level)) != 0) {
        (void)printf("SKIP: level \"%s\" is not offered: the library takes \"%s\"\n", forced,
                     aee_level_name(report.level));
        return 77;
    }
    return 0;
}

/* False: AEE_FORCE_LEVEL names another level than the engine's. */
static inline int is_tested_level(aee_engine *engine)
{
    const char *forced = getenv("AEE_FORCE_LEVEL");
    aee_stats stats;
    return !forced || forced[0] == '\0' ||
           (aee_get_stats(engine, &stats, NULL) == AEE_OK &&
            strcmp(forced, aee_level_name(stats.level)) == 0);
}

/* The level that is tested. */
static inline aee_level tested_level(void)
{
    aee_probe_report report;
    return aee_probe(&report, NULL) == AEE_OK ? report.level : AEE_LEVEL_AUTO;
}

/* In a cmocka test: leaves out what has no meaning below a level, and says so. */
#define NEEDS_LEVEL(least, reason)                                                           \
    do {                                                                                     \
        if (tested_level() < (least)) {                                                      \
            print_message("SKIP: at level \"%s\" not: %s\n", aee_level_name(tested_level()), \
                          reason);                                                           \
            skip();                                                                          \
        }                                                                                    \
    } while (0)

#endif
