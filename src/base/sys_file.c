#include "base/sys_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/sys_fault.h"

int aee__sys_file_create(const char *path)
{
    return injected("create")
               ? -1
               : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
}

ssize_t aee__sys_file_write(int fd, const void *bytes, size_t size)
{
    return injected("write") ? -1 : write(fd, bytes, size);
}

int aee__sys_file_sync(int fd)
{
    return injected("fsync") ? -1 : fsync(fd);
}

int aee__sys_file_rename(const char *from, const char *to)
{
    return injected("rename") ? -1 : rename(from, to);
}

int aee__sys_file_unlink(const char *path)
{
    return unlink(path);
}
