/* host.c: on what machine a run was made. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "bench/internal.h"

/* The first line of a file, without its newline; "" if there is none. */
static void read_line(const char *path, char *line, size_t size)
{
    line[0] = '\0';
    FILE *file = fopen(path, "r");
    if (!file) {
        return;
    }
    if (!fgets(line, (int)size, file)) {
        line[0] = '\0';
    }
    (void)fclose(file);
    line[strcspn(line, "\n")] = '\0';
}

static void read_cpu(char *cpu, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (colon && strncmp(line, "model name", 10) == 0) {
            (void)snprintf(cpu, size, "%s", colon + 1 + strspn(colon + 1, " "));
            cpu[strcspn(cpu, "\n")] = '\0';
            break;
        }
    }
    if (file) {
        (void)fclose(file);
    }
}

static double measure_clock(void)
{
    enum { READINGS = 10000 };
    const uint64_t before = bench_now();
    uint64_t last = before;
    for (int i = 0; i < READINGS; i++) {
        last = bench_now();
    }
    return (double)(last - before) / READINGS;
}

static const char *find_fact(const aee_probe_report *probe, const char *name)
{
    for (uint32_t i = 0; i < probe->fact_count; i++) {
        if (strcmp(probe->facts[i].name, name) == 0) {
            return probe->facts[i].value;
        }
    }
    return "";
}

void bench_describe_host(const struct bench *bench, struct bench_host *host)
{
    struct utsname name;
    memset(host, 0, sizeof *host);
    if (uname(&name) == 0) {
        (void)snprintf(host->kernel, sizeof host->kernel, "%s %s", name.sysname, name.release);
    }
    read_cpu(host->cpu, sizeof host->cpu);
    read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", host->clocksource,
              sizeof host->clocksource);
    (void)snprintf(host->exit_cost_ns, sizeof host->exit_cost_ns, "%s",
                   find_fact(&bench->probe, "kvm.exit_cost_ns"));
    host->cpus = bench->cpu_count;
    host->clock_cost_ns = measure_clock();
    host->hardware = bench->probe.use_vt_x;
    host->level = bench->level;
    host->back_end = bench->level == AEE_LEVEL_FULL ? "kvm" : aee_level_name(bench->level);
}
