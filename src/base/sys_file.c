#include "base/sys_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "base/sys_fault.h"

int aee__sys_open_directory(const char *path)
{
    return injected("open") ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int aee__sys_create_at(int directory, const char *name)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    return injected("openat") ? -1 : openat(directory, name, flags, 0600);
}

int aee__sys_kind_at(int directory, const char *name)
{
    struct stat status;
    if (!injected("fstatat") && fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        return (int)(status.st_mode & S_IFMT);
    }
    return errno == ENOENT ? 0 : -1;
}

int aee__sys_rename_at(int directory, const char *from, const char *to)
{
    return injected("renameat") ? -1 : renameat(directory, from, directory, to);
}

int aee__sys_unlink_at(int directory, const char *name)
{
    return unlinkat(directory, name, 0);
}

int aee__sys_write_all(int fd, const void *bytes, uint64_t size, uint64_t offset)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t wrote = injected("pwrite") ? -1 : pwrite(fd, at, size, (off_t)offset);
        if (wrote <= 0 && errno != EINTR) {
            errno = wrote == 0 ? ENOSPC : errno;
            return -1;
        }
        uint64_t done = wrote > 0 ? (uint64_t)wrote : 0;
        at += done;
        offset += done;
        size -= done;
    }
    return 0;
}

int aee__sys_resize(int fd, uint64_t size)
{
    return injected("ftruncate") ? -1 : ftruncate(fd, (off_t)size);
}

int aee__sys_sync(int fd)
{
    return injected("fsync") ? -1 : fsync(fd);
}

int aee__sys_list(int directory, void (*each)(void *user, const char *name), void *user)
{
    int fd = injected("opendir") ? -1 : openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        (void)aee__sys_close(fd);
        return -1;
    }
    const struct dirent *entry;
    while ((entry = readdir(list)) != NULL) {
        each(user, entry->d_name);
    }
    (void)closedir(list);
    return 0;
}

void aee__sys_block_file_signal(sigset_t *old, bool block)
{
    if (block) {
        (void)aee__sys_block_signal(SIGXFSZ, old);
    } else {
        aee__sys_consume_signal(SIGXFSZ);
        (void)aee__sys_restore_mask(old);
    }
}

void aee__sys_wall_clock(int64_t *seconds, uint32_t *ns)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    *seconds = now.tv_sec;
    *ns = (uint32_t)now.tv_nsec;
}
