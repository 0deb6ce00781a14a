/* cpus.c: which two processors the rows use, and pinning to them. */
#include <stdio.h>

#include "bench/internal.h"

/* Identifies the core that a processor is a thread of; the processor itself where nothing tells. */
static int core_of(int cpu)
{
    char path[96];
    int core = cpu;
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/core_cpus_list", cpu);
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%d", &core) != 1) {
            core = cpu;
        }
        (void)fclose(file);
    }
    return core;
}

void bench_cpus_find(struct bench *bench)
{
    bench->cpu_here = 0;
    bench->cpu_there = -1;
    CPU_ZERO(&bench->allowed);
    (void)sched_getaffinity(0, sizeof bench->allowed, &bench->allowed);
    bench->cpu_count = (uint32_t)CPU_COUNT(&bench->allowed);
    bool first = true;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &bench->allowed)) {
            continue;
        }
        if (first) {
            bench->cpu_here = cpu;
            first = false;
        } else if (bench->cpu_there < 0) {
            bench->cpu_there = cpu;
        } else if (core_of(bench->cpu_there) == core_of(bench->cpu_here)) {
            bench->cpu_there = cpu; /* rather a core of its own */
        }
    }
}

void bench_cpus_pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

void bench_cpus_pair(const struct bench *bench)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)bench->cpu_here, &set);
    if (bench->cpu_there >= 0) {
        CPU_SET((size_t)bench->cpu_there, &set);
    }
    (void)sched_setaffinity(0, sizeof set, &set);
}

void bench_cpus_free(const struct bench *bench)
{
    (void)sched_setaffinity(0, sizeof bench->allowed, &bench->allowed);
}

int bench_need_two_cpus(const struct bench *bench, struct bench_result *result)
{
    return bench->cpu_there >= 0 ? 0
                                 : bench_skip(result, "this process may use one processor only");
}
