#include "base/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "base/sys_file.h"

static bool may_replace(const struct aee__new_file *file)
{
    int there = aee__sys_kind_at(file->directory, file->name);
    if (there == 0 || there == S_IFREG) {
        return true;
    }
    errno = there < 0 ? errno : there == S_IFDIR ? EISDIR : there == S_IFLNK ? ELOOP : EEXIST;
    return false;
}

static bool create(struct aee__new_file *file)
{
    enum { TRIES = 8 };
    for (int i = 0; i < TRIES; i++) {
        uint64_t random;
        char name[sizeof file->temporary];
        if (aee__sys_random(&random, sizeof random) != 0) {
            return false;
        }
        (void)snprintf(name, sizeof name, ".aee-%016llx", (unsigned long long)random);
        file->fd = aee__sys_create_at(file->directory, name);
        if (file->fd >= 0) {
            memcpy(file->temporary, name, sizeof name);
            return true;
        }
        if (errno != EEXIST) {
            return false;
        }
    }
    return false;
}

bool aee__new_file_begin_at(struct aee__new_file *file, int directory, const char *name)
{
    *file = (struct aee__new_file)AEE__NEW_FILE_NONE;
    file->name = name;
    file->directory = directory;
    file->lent = true;
    return may_replace(file) && create(file);
}

bool aee__new_file_begin(struct aee__new_file *file, const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    *file = (struct aee__new_file)AEE__NEW_FILE_NONE;
    file->name = path + length;
    if (length >= sizeof folder) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (*file->name == '\0') {
        errno = EISDIR;
        return false;
    }
    memcpy(folder, path, length);
    folder[length] = '\0';
    file->directory = aee__sys_open_directory(length > 0 ? folder : ".");
    return file->directory >= 0 && may_replace(file) && create(file);
}

bool aee__new_file_keep(struct aee__new_file *file)
{
    if (aee__sys_sync(file->fd) != 0 ||
        aee__sys_rename_at(file->directory, file->temporary, file->name) != 0) {
        return false;
    }
    file->temporary[0] = '\0';
    (void)aee__sys_sync(file->directory); /* the name; the file is good without it */
    return true;
}

void aee__new_file_end(struct aee__new_file *file)
{
    if (file->temporary[0]) {
        (void)aee__sys_unlink_at(file->directory, file->temporary);
    }
    (void)aee__sys_close(file->fd);
    if (!file->lent) {
        (void)aee__sys_close(file->directory);
    }
    *file = (struct aee__new_file)AEE__NEW_FILE_NONE;
}
