/* cell_level.h: for tests of the back end process: the level that AEE_FORCE_LEVEL names; without
 * it, process. */
#ifndef AEE_TESTS_CELL_LEVEL_H
#define AEE_TESTS_CELL_LEVEL_H

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "aee_virt.h"

/* 0, or 77 and why there is no such level here. */
static inline int choose_cell_level(void)
{
    static aee_probe_report report;
    const char *forced = getenv("AEE_FORCE_LEVEL");
    const char *level = forced && strcmp(forced, "container") == 0 ? "container" : "process";
    const char *why = "there is no such back end";
    if (forced && forced[0] && strcmp(forced, level) != 0) {
        (void)printf("SKIP: there are no cells at level %s\n", forced);
        return 77;
    }
    if (setenv("AEE_FORCE_LEVEL", level, 1) != 0 || aee_probe(&report, NULL) != AEE_OK) {
        (void)printf("SKIP: the probe failed\n");
        return 77;
    }
    for (uint32_t i = 0; i < report.backend_count; i++) {
        if (strcmp(report.backends[i].name, level) == 0) {
            why = report.backends[i].usable ? NULL : report.backends[i].why;
        }
    }
    if (why) {
        (void)printf("SKIP: %s: %s\n", level, why);
    }
    return why ? 77 : 0;
}

/* Processes named "aee-cell" whose parent is `engine`, or any process if that is 0; how many, of
 * which the first `most` are stored. Zombies count. */
static inline int find_cells(pid_t engine, pid_t *cells, int most)
{
    int count = 0;
    DIR *folder = opendir("/proc");
    for (const struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
        char path[300];
        char line[256] = "";
        if (!isdigit((unsigned char)entry->d_name[0])) {
            continue;
        }
        (void)snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        FILE *file = fopen(path, "r");
        const char *got = file ? fgets(line, sizeof line, file) : NULL;
        if (file) {
            (void)fclose(file);
        }
        const char *after = got ? strrchr(line, ')') : NULL;
        const char *name = got ? strchr(line, '(') : NULL;
        bool is_cell = name && (strncmp(name, "(aee-cell)", 10) == 0 ||
                                strncmp(name, "(memfd:aee-cell)", 16) == 0);
        if (after && is_cell && (engine == 0 || strtol(after + 4, NULL, 10) == engine)) {
            if (count < most) {
                cells[count] = (pid_t)strtol(entry->d_name, NULL, 10);
            }
            count++;
        }
    }
    if (folder) {
        (void)closedir(folder);
    }
    return count;
}

#endif
