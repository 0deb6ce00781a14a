/* sys_track.h: which pages of a process were written, as Linux 6.7 tells it: pages are protected
 * through userfaultfd in its asynchronous mode, where the kernel notes a write and lets it go on,
 * and looked up with PAGEMAP_SCAN (Documentation/admin-guide/mm/{userfaultfd,pagemap}.rst). -1 and
 * errno on failure. Any thread. */
#ifndef AEE_BASE_SYS_TRACK_H
#define AEE_BASE_SYS_TRACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Flags that another process passes to userfaultfd(2). */
#define AEE__TRACK_FLAGS 02000001 /* O_CLOEXEC, UFFD_USER_MODE_ONLY */

/* A copy of a descriptor of another process, which this one may trace. */
int aee__sys_process_fd(int pidfd, int fd);
/* Its page map. */
int aee__sys_process_pagemap(pid_t pid);
/* Prepares what userfaultfd(2) has returned. */
int aee__sys_track_begin(int track);
/* Pages of [start, start + size), which are mapped from a memory file, are told from now on. */
int aee__sys_track_add(int track, uint64_t start, uint64_t size);

/* [start, end) */
struct aee__page_range {
    uint64_t start;
    uint64_t end;
    uint64_t kinds; /* private to the kernel */
};
/* Ranges that were written since they were protected, from *from up to `end`; how many. *from
 * receives how far that was. `protect`: and protects them. */
int aee__sys_track_written(int pagemap, uint64_t *from, uint64_t end, bool protect,
                           struct aee__page_range *ranges, uint32_t capacity);
/* Whether the process still has its memory: in one that has ended a scan finds nothing, which is no
 * error. `address`: anywhere. */
bool aee__sys_track_is_alive(int pagemap, uint64_t address);

#endif
