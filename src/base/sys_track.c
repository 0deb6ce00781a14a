#include "base/sys_track.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sys.h"
#include "base/sys_fault.h"

/* Of linux/userfaultfd.h and linux/fs.h, which the build's headers may be too old for. */
#define API UINT64_C(0xaa)
#define FEATURE_WP_SHMEM (UINT64_C(1) << 12)
#define FEATURE_WP_UNPOPULATED (UINT64_C(1) << 13)
#define FEATURE_WP_ASYNC (UINT64_C(1) << 15)
#define MODE_WP UINT64_C(2)
#define SCAN_WP_MATCHING UINT64_C(1)
#define SCAN_CHECK_WPASYNC UINT64_C(2)
#define PAGE_IS_WRITTEN UINT64_C(2)

struct api {
    uint64_t api;
    uint64_t features;
    uint64_t ioctls;
};

struct registration {
    uint64_t start;
    uint64_t size;
    uint64_t mode;
    uint64_t ioctls;
};

struct scan {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end; /* out */
    uint64_t ranges;
    uint64_t range_count;
    uint64_t max_pages;
    uint64_t inverted;
    uint64_t mask;
    uint64_t any_of;
    uint64_t returned;
};

#define IOCTL_API _IOWR(0xaa, 0x3f, struct api)
#define IOCTL_REGISTER _IOWR(0xaa, 0x00, struct registration)
#define IOCTL_SCAN _IOWR('f', 16, struct scan)

int aee__sys_process_fd(int pidfd, int fd)
{
    return injected("pidfd_getfd") ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
}

int aee__sys_process_pagemap(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/pagemap", (int)pid);
    return aee__sys_open(path, O_RDONLY);
}

int aee__sys_track_begin(int track)
{
    struct api api = {.api = API,
                      .features = FEATURE_WP_SHMEM | FEATURE_WP_UNPOPULATED | FEATURE_WP_ASYNC};
    return aee__sys_ioctl(track, IOCTL_API, &api);
}

int aee__sys_track_add(int track, uint64_t start, uint64_t size)
{
    struct registration registration = {.start = start, .size = size, .mode = MODE_WP};
    return aee__sys_ioctl(track, IOCTL_REGISTER, &registration);
}

int aee__sys_track_written(int pagemap, uint64_t *from, uint64_t end, bool protect,
                           struct aee__page_range *ranges, uint32_t capacity)
{
    struct scan scan = {.size = sizeof scan,
                        .flags = SCAN_CHECK_WPASYNC | (protect ? SCAN_WP_MATCHING : 0),
                        .start = *from,
                        .end = end,
                        .ranges = (uintptr_t)ranges,
                        .range_count = capacity,
                        .mask = PAGE_IS_WRITTEN,
                        .returned = PAGE_IS_WRITTEN};
    int count = aee__sys_ioctl(pagemap, IOCTL_SCAN, &scan);
    *from = scan.walk_end;
    return count;
}

bool aee__sys_track_is_alive(int pagemap, uint64_t address)
{
    uint64_t entry;
    off_t at = (off_t)(address / 4096 * sizeof entry);
    return !injected("pread") && pread(pagemap, &entry, sizeof entry, at) == sizeof entry;
}
