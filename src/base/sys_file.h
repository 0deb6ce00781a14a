/* sys_file.h: the system calls that write files, beside those of sys.h and with their conventions.
 * Owns nothing; any thread that is not jailed. */
#ifndef AEE_BASE_SYS_FILE_H
#define AEE_BASE_SYS_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* Makes the file or empties the one that is there, which must not be a symbolic link. */
int aee__sys_file_create(const char *path);
ssize_t aee__sys_file_write(int fd, const void *bytes, size_t size);
int aee__sys_file_sync(int fd);
int aee__sys_file_rename(const char *from, const char *to);
int aee__sys_file_unlink(const char *path);

#endif
