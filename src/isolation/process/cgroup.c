#include "isolation/process/cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"
#include "base/sys_process.h"

static const char *const controllers[AEE__CGROUP_COUNT] = {"memory", "cpu", "pids"};

/* ---- Where this process is ---------------------------------------------------------------- */

/* Whether a list like "cpu,cpuacct" has the word. */
static bool has_word(const char *list, size_t size, const char *word)
{
    size_t length = strlen(word);
    for (size_t at = 0; at + length <= size; at++) {
        if (memcmp(list + at, word, length) == 0 && (at == 0 || list[at - 1] == ',') &&
            (at + length == size || list[at + length] == ',')) {
            return true;
        }
    }
    return false;
}

/* The path in "4:memory:/path" or, of version 2, "0::/path" of /proc/self/cgroup. */
static bool find_path(const char *text, const char *controller, char *path, size_t capacity)
{
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        const char *end = strchr(line, '\n');
        const char *first = strchr(line, ':');
        const char *second = first ? strchr(first + 1, ':') : NULL;
        if (!end || !second || second > end) {
            return false;
        }
        size_t size = (size_t)(second - first - 1);
        bool is_it = controller ? has_word(first + 1, size, controller) : size == 0;
        if (is_it && (size_t)(end - second - 1) < capacity) {
            (void)snprintf(path, capacity, "%.*s", (int)(end - second - 1), second + 1);
            return true;
        }
    }
    return false;
}

/* Where the hierarchy is mounted, and which part of it, from a line of /proc/self/mountinfo
 * (proc(5)): "31 23 0:28 ROOT POINT OPTIONS ... - TYPE SOURCE SUPER". */
static bool find_mount(const char *text, const char *controller, char *root, char *point)
{
    for (const char *line = text; *line;) {
        const char *end = strchr(line, '\n');
        const char *dash = strstr(line, " - cgroup");
        char super[128] = "";
        char type[16] = "";
        if (!end) {
            return false;
        }
        if (dash && dash < end && sscanf(dash, " - %15s %*s %127s", type, super) >= 1 &&
            sscanf(line, "%*s %*s %*s %127s %127s", root, point) == 2 &&
            (controller ? strcmp(type, "cgroup") == 0 && has_word(super, strlen(super), controller)
                        : strcmp(type, "cgroup2") == 0)) {
            return true;
        }
        line = end + 1;
    }
    return false;
}

/* The folder of the group that this process is in. A namespace or a container may show only a part
 * of the hierarchy: then its root is as near as we get. */
static bool find_folder(const char *cgroup, const char *mountinfo, const char *controller,
                        char *folder)
{
    char path[128];
    char root[128];
    char point[128];
    char probe[AEE__CGROUP_PATH + 16];
    char text[16];
    if (!find_path(cgroup, controller, path, sizeof path) ||
        !find_mount(mountinfo, controller, root, point)) {
        return false;
    }
    size_t skip =
        strcmp(root, "/") != 0 && strncmp(path, root, strlen(root)) == 0 ? strlen(root) : 0;
    const char *below = strcmp(path + skip, "/") == 0 ? "" : path + skip;
    (void)snprintf(folder, AEE__CGROUP_PATH, "%s%s", point, below);
    (void)snprintf(probe, sizeof probe, "%s/cgroup.procs", folder);
    if (aee__sys_read_text(probe, text, sizeof text) < 0) {
        (void)snprintf(folder, AEE__CGROUP_PATH, "%s", point);
    }
    return true;
}

/* ---- The engine's groups ------------------------------------------------------------------ */

static bool write_number(const char *folder, const char *file, uint64_t number)
{
    char path[AEE__CGROUP_PATH + 64];
    char text[24];
    (void)snprintf(path, sizeof path, "%s/%s", folder, file);
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return aee__sys_write_text(path, text) == 0;
}

static bool write_word(const char *folder, const char *file, const char *word)
{
    char path[AEE__CGROUP_PATH + 64];
    (void)snprintf(path, sizeof path, "%s/%s", folder, file);
    return aee__sys_write_text(path, word) == 0;
}

static void note_missing(struct aee__cgroups *groups, enum aee__controller which, const char *why)
{
    size_t used = strlen(groups->missing);
    (void)snprintf(groups->missing + used, sizeof groups->missing - used, "%s%s: %s",
                   used > 0 ? "; " : "", controllers[which], why);
    groups->group[which][0] = '\0';
}

static bool make_group(char *folder, uint64_t number)
{
    size_t used = strlen(folder);
    (void)snprintf(folder + used, AEE__CGROUP_PATH - used, "/aee-%d-%llu", (int)aee__sys_process(),
                   (unsigned long long)number);
    return used < AEE__CGROUP_PATH - 64 && aee__sys_make_folder(folder) == 0;
}

static void open_version1(struct aee__cgroups *groups, const char *cgroup, const char *mountinfo,
                          uint64_t number)
{
    for (unsigned i = 0; i < AEE__CGROUP_COUNT; i++) {
        if (!find_folder(cgroup, mountinfo, controllers[i], groups->group[i])) {
            note_missing(groups, i, "no such controller");
        } else if (!make_group(groups->group[i], number)) {
            note_missing(groups, i, strerrordesc_np(errno));
        }
    }
}

/* A group with processes cannot hand controllers on ("no internal processes"), unless it is the
 * root: the engine must have been started in a group that was delegated and left empty. */
static void open_version2(struct aee__cgroups *groups, char *folder, uint64_t number)
{
    char own[AEE__CGROUP_PATH];
    (void)snprintf(own, sizeof own, "%s", folder);
    if (!make_group(own, number)) {
        for (unsigned i = 0; i < AEE__CGROUP_COUNT; i++) {
            note_missing(groups, i, strerrordesc_np(errno));
        }
        return;
    }
    bool any = false;
    for (unsigned i = 0; i < AEE__CGROUP_COUNT; i++) {
        char word[16];
        (void)snprintf(word, sizeof word, "+%s", controllers[i]);
        (void)snprintf(groups->group[i], AEE__CGROUP_PATH, "%s", own);
        if (!write_word(folder, "cgroup.subtree_control", word) ||
            !write_word(own, "cgroup.subtree_control", word)) {
            note_missing(groups, i, strerrordesc_np(errno));
        }
        any = any || groups->group[i][0];
    }
    if (!any) {
        (void)aee__sys_remove_folder(own);
    }
}

void aee__cgroups_open(struct aee__cgroups *groups, uint64_t number)
{
    char cgroup[2048];
    char mountinfo[16384];
    char folder[AEE__CGROUP_PATH];
    memset(groups, 0, sizeof *groups);
    if (aee__sys_read_text("/proc/self/cgroup", cgroup, sizeof cgroup) <= 0 ||
        aee__sys_read_text("/proc/self/mountinfo", mountinfo, sizeof mountinfo) <= 0) {
        (void)snprintf(groups->missing, sizeof groups->missing, "no /proc");
        return;
    }
    groups->version2 = !find_folder(cgroup, mountinfo, "memory", folder) &&
                       find_folder(cgroup, mountinfo, NULL, folder);
    if (groups->version2) {
        open_version2(groups, folder, number);
    } else {
        open_version1(groups, cgroup, mountinfo, number);
    }
}

/* Each folder once: in version 2 they are one. */
static bool is_first(const struct aee__cgroups *groups, unsigned which)
{
    for (unsigned i = 0; i < which; i++) {
        if (strcmp(groups->group[i], groups->group[which]) == 0) {
            return false;
        }
    }
    return groups->group[which][0] != '\0';
}

void aee__cgroups_close(struct aee__cgroups *groups)
{
    for (unsigned i = 0; i < AEE__CGROUP_COUNT; i++) {
        if (is_first(groups, i)) {
            (void)aee__sys_remove_folder(groups->group[i]);
        }
    }
}

/* ---- One cell's --------------------------------------------------------------------------- */

static void cell_folder(const struct aee__cgroups *groups, unsigned which, uint64_t id,
                        char *folder, size_t capacity)
{
    (void)snprintf(folder, capacity, "%s/cell-%llu", groups->group[which], (unsigned long long)id);
}

bool aee__cgroups_enter(const struct aee__cgroups *groups, uint64_t id, pid_t pid, uint32_t threads)
{
    for (unsigned i = 0; i < AEE__CGROUP_COUNT; i++) {
        char folder[AEE__CGROUP_PATH + 32];
        cell_folder(groups, i, id, folder, sizeof folder);
        if (is_first(groups, i) && (aee__sys_make_folder(folder) != 0 ||
                                    !write_number(folder, "cgroup.procs", (uint64_t)pid))) {
            return false;
        }
        if (groups->group[i][0] && i == AEE__CGROUP_PIDS &&
            !write_number(folder, "pids.max", threads)) {
            return false;
        }
    }
    return true;
}

bool aee__cgroups_set_cpus(const struct aee__cgroups *groups, uint64_t id, uint32_t cpus)
{
    enum { PERIOD_US = 100000 };
    char folder[AEE__CGROUP_PATH + 32];
    char text[32];
    if (groups->group[AEE__CGROUP_CPU][0] == '\0') {
        return true;
    }
    cell_folder(groups, AEE__CGROUP_CPU, id, folder, sizeof folder);
    (void)snprintf(text, sizeof text, "%u %u", cpus * PERIOD_US, (unsigned)PERIOD_US);
    return groups->version2 ? write_word(folder, "cpu.max", text)
                            : write_number(folder, "cpu.cfs_quota_us", (uint64_t)cpus * PERIOD_US);
}

bool aee__cgroups_set_memory(const struct aee__cgroups *groups, uint64_t id, uint64_t bytes)
{
    char folder[AEE__CGROUP_PATH + 32];
    if (groups->group[AEE__CGROUP_MEMORY][0] == '\0') {
        return true;
    }
    cell_folder(groups, AEE__CGROUP_MEMORY, id, folder, sizeof folder);
    return write_number(folder, groups->version2 ? "memory.max" : "memory.limit_in_bytes", bytes);
}

void aee__cgroups_leave(const struct aee__cgroups *groups, uint64_t id)
{
    for (unsigned i = 0; i < AEE__CGROUP_COUNT; i++) {
        char folder[AEE__CGROUP_PATH + 32];
        cell_folder(groups, i, id, folder, sizeof folder);
        if (is_first(groups, i)) {
            (void)aee__sys_remove_folder(folder);
        }
    }
}
