/* sys_file.h: the system calls of files that the library writes, as in sys.h: -1 and errno on
 * failure. Names are relative to the descriptor of an open directory. Owns nothing; any thread. */
#ifndef AEE_BASE_SYS_FILE_H
#define AEE_BASE_SYS_FILE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

int aee__sys_open_directory(const char *path);
/* A file that was not there before, for writing by its owner. */
int aee__sys_create_at(int directory, const char *name);
/* S_IFREG and so on, of a link itself; 0: there is nothing. */
int aee__sys_kind_at(int directory, const char *name);
int aee__sys_rename_at(int directory, const char *from, const char *to);
int aee__sys_unlink_at(int directory, const char *name);
/* All of it, or -1. */
int aee__sys_write_all(int fd, const void *bytes, uint64_t size, uint64_t offset);
int aee__sys_resize(int fd, uint64_t size);
int aee__sys_sync(int fd);
/* Calls `each` with every name in the directory. */
int aee__sys_list(int directory, void (*each)(void *user, const char *name), void *user);
/* The signal that a write beyond RLIMIT_FSIZE sends does not end the process: the write fails. */
void aee__sys_block_file_signal(sigset_t *old, bool block);
/* Seconds and nanoseconds since 1970. */
void aee__sys_wall_clock(int64_t *seconds, uint32_t *ns);

#endif
