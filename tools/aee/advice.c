#include "advice.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE "/dev/kvm"

/* "vmx" or "svm" as a flag of the first processor in /proc/cpuinfo, or NULL. */
static const char *processor_flag(void)
{
    static const char *const flags[] = {" vmx ", " svm "};
    static const char *const names[] = {"vmx", "svm"};
    char line[8192];
    const char *found = NULL;
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        if (strncmp(line, "flags", 5) != 0) {
            continue;
        }
        line[strcspn(line, "\n")] = ' ';
        for (unsigned i = 0; i < 2 && !found; i++) {
            found = strstr(line, flags[i]) ? names[i] : NULL;
        }
        break;
    }
    if (file) {
        (void)fclose(file);
    }
    return found;
}

static void device_missing(char *text, size_t size)
{
    const char *flag = processor_flag();
    if (flag) {
        (void)snprintf(text, size,
                       "The processor offers %s, but there is no " DEVICE ": load the module with "
                       "'sudo modprobe %s'. In a container, pass the device in: --device " DEVICE
                       ".",
                       strcmp(flag, "vmx") == 0 ? "VT-x" : "AMD-V",
                       strcmp(flag, "vmx") == 0 ? "kvm_intel" : "kvm_amd");
    } else {
        (void)snprintf(text, size,
                       "There is no " DEVICE ", and the processor shows neither VT-x nor AMD-V: "
                       "enable it in the firmware or, in a virtual machine, nested "
                       "virtualization in its host. In a container, pass the device in: "
                       "--device " DEVICE ".");
    }
}

static void permission_missing(char *text, size_t size)
{
    struct stat info;
    if (stat(DEVICE, &info) != 0) {
        (void)snprintf(text, size, DEVICE " cannot be looked at: %s.", strerror(errno));
        return;
    }
    const struct passwd *user = getpwuid(geteuid());
    const struct group *group = getgrgid(info.st_gid);
    const char *user_name = user ? user->pw_name : "$USER";
    const bool for_group = (info.st_mode & 0060) == 0060 && info.st_gid != 0;
    if (for_group && group) {
        (void)snprintf(text, size,
                       DEVICE " is for the group %s: 'sudo usermod -aG %s %s', then log in again.",
                       group->gr_name, group->gr_name, user_name);
    } else if (for_group) {
        (void)snprintf(text, size,
                       DEVICE " is for the group with number %u, which has no name here: run with "
                              "that group (in a container: --group-add %u).",
                       (unsigned)info.st_gid, (unsigned)info.st_gid);
    } else {
        (void)snprintf(text, size,
                       DEVICE " has mode %03o and group %s: give a group access with 'sudo chgrp "
                              "kvm " DEVICE " && sudo chmod 660 " DEVICE
                              "', and be in it: 'sudo usermod -aG kvm %s', then log in again.",
                       (unsigned)info.st_mode & 0777u, group ? group->gr_name : "unknown",
                       user_name);
    }
}

void advice_for_kvm(char *text, size_t size)
{
    const int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
    const int reason = errno;
    text[0] = '\0';
    if (fd >= 0) {
        (void)close(fd);
        (void)snprintf(text, size,
                       DEVICE " can be opened, but does not do what isolation needs; the reason "
                              "above names it. Another hypervisor may hold the processor, or "
                              "this process may be out of a resource (ulimit -a).");
    } else if (reason == ENOENT || reason == ENXIO || reason == ENODEV) {
        device_missing(text, size);
    } else if (reason == EACCES || reason == EPERM) {
        permission_missing(text, size);
    } else {
        (void)snprintf(text, size, DEVICE " cannot be opened: %s.", strerror(reason));
    }
}

void advice_about_level(aee_level level, double exit_cost_ns, char *text, size_t size)
{
    text[0] = '\0';
    switch (level) {
    case AEE_LEVEL_FULL:
        (void)snprintf(text, size,
                       "This KVM works without the processor's virtualization. Components are "
                       "isolated all the same, but each VM exit costs %.0f us: make few large "
                       "calls, and share data through regions.",
                       exit_cost_ns / 1e3);
        return;
    case AEE_LEVEL_PROCESS:
    case AEE_LEVEL_CONTAINER:
        (void)snprintf(text, size,
                       "Level %s keeps components from the memory of the engine and of each other, "
                       "from files, network and devices, and from time beyond their budgets. It "
                       "does not keep them from bugs of the host's kernel in page faults, signals "
                       "and futexes, which level full does; nor, as no level, from watching shared "
                       "caches.",
                       aee_level_name(level));
        return;
    case AEE_LEVEL_NONE:
        (void)snprintf(text, size,
                       "Level none isolates nothing: a component can read and write all of the "
                       "engine and end it. It is for debugging and for code that you trust.");
        return;
    case AEE_LEVEL_AUTO:
    default:
        return;
    }
}
