/* cgroup.h: control groups around the cells of one engine, as far as the host lets it make some:
 * one group per cell, with what it may have at most. A backstop: a component can touch only memory
 * that is mapped for it and run only on its lanes. Version 2
 * (Documentation/admin-guide/cgroup-v2.rst) or, where that is what the host has, version 1
 * (cgroup-v1/memory.rst and pids.rst). */
#ifndef AEE_ISOLATION_PROCESS_CGROUP_H
#define AEE_ISOLATION_PROCESS_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define AEE__CGROUP_PATH 256u

enum aee__controller { AEE__CGROUP_MEMORY, AEE__CGROUP_CPU, AEE__CGROUP_PIDS, AEE__CGROUP_COUNT };

/* The groups of an engine: in version 2 all controllers share one. */
struct aee__cgroups {
    bool version2;
    char group[AEE__CGROUP_COUNT][AEE__CGROUP_PATH]; /* the engine's folder; "": not to be had */
    char missing[128];                               /* "" or why some are not, in words */
};

/* Never fails: what cannot be had is missing. `number` tells the engines of a process apart. */
void aee__cgroups_open(struct aee__cgroups *groups, uint64_t number);
void aee__cgroups_close(struct aee__cgroups *groups);

/* Puts a process into a group of its own with at most `threads` threads. What fails, of this and
 * the next two, is told by false and errno. */
bool aee__cgroups_enter(const struct aee__cgroups *groups, uint64_t id, pid_t pid,
                        uint32_t threads);
/* As much time as that many processors have. */
bool aee__cgroups_set_cpus(const struct aee__cgroups *groups, uint64_t id, uint32_t cpus);
bool aee__cgroups_set_memory(const struct aee__cgroups *groups, uint64_t id, uint64_t bytes);
/* The process is gone. */
void aee__cgroups_leave(const struct aee__cgroups *groups, uint64_t id);

#endif
