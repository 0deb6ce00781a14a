/* snapshot.h: a context's state in a file, and back. All of it on the calling thread, which may
 * wait for disks. */
#ifndef AEE_RECOVERY_SNAPSHOT_H
#define AEE_RECOVERY_SNAPSHOT_H

#include "recovery/snapshot_format.h"

/* aee_snapshot_save() and aee_snapshot_load(). */
aee_result aee__snapshot_save(struct aee__context *context, const char *path, aee_error *error);
aee_result aee__snapshot_load(struct aee__context *context, const char *path, aee_error *error);

/* What a file is written from. */
struct aee__snapshot_source {
    const struct aee__alloc *alloc;
    struct aee__snapshot_header header; /* but for run_count and, of all state, content_size */
    struct aee__controls lanes[AEE_MAX_LANES];
    struct aee__snapshot_range ranges[1 + AEE_STATE_RANGES_MAX]; /* header.range_count of them */
    struct aee__memory layout;                                   /* areas only */
    const uint8_t *declared; /* all ranges, content_size bytes; NULL: it is of all state */
    struct aee__shadow copy; /* without pages of zeroes */
};

/* Writes the file under a temporary name and gives it its own when it is complete and on the disk.
 * On failure there is no new file, and the one of that name is as it was. */
aee_result aee__snapshot_write(const struct aee__snapshot_source *source, const char *path,
                               aee_error *error);

#endif
