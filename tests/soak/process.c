#include "process.h"

#include <dirent.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

void sleep_until(uint64_t at_ns)
{
    const struct timespec at = {.tv_sec = (time_t)(at_ns / NS_PER_SECOND),
                                .tv_nsec = (long)(at_ns % NS_PER_SECOND)};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

uint64_t process_resident_kib(void)
{
    unsigned long total = 0;
    unsigned long resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        if (fscanf(file, "%lu %lu", &total, &resident) != 2) {
            resident = 0;
        }
        (void)fclose(file);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static uint64_t open_descriptors(void)
{
    uint64_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder)) {
        count++;
    }
    if (folder) {
        (void)closedir(folder);
    }
    return count;
}

struct process_size process_settled_size(void)
{
    const uint64_t patience = now_ns() + 20 * NS_PER_SECOND;
    struct process_size size = {0, UINT64_MAX};
    for (int quiet = 0; quiet < 20 && now_ns() < patience; quiet++) {
        const uint64_t descriptors = open_descriptors();
        quiet = descriptors == size.descriptors ? quiet : 0;
        size.descriptors = descriptors;
        sleep_until(now_ns() + NS_PER_SECOND / 50);
    }
    size.kib = process_resident_kib();
    return size;
}
