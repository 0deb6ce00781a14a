/* snapshot_format.h: the bytes of a snapshot file (docs/snapshots.md), and their reader, which
 * works on a buffer of hostile bytes. Owns nothing: what it finds points into the buffer. Any
 * thread. */
#ifndef AEE_RECOVERY_SNAPSHOT_FORMAT_H
#define AEE_RECOVERY_SNAPSHOT_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "ept/shadow.h"
#include "recovery/checkpoints.h"

#define AEE__SNAPSHOT_MAGIC UINT64_C(0x0a504e5345454189) /* 0x89 "AEESNP\n" */
#define AEE__SNAPSHOT_VERSION 1u
#define AEE__SNAPSHOT_WINDOW_LOG 23 /* of the zstd frame: what a reader must keep of it, 8 MiB */

/* What it holds. */
enum { AEE__SNAPSHOT_ALL_STATE = 1, AEE__SNAPSHOT_DECLARED = 2 };

/* Little-endian, as the only machines that run this. The parts follow each other without gaps:
 * header, lanes, ranges, runs, one zstd frame, trailer. */
struct aee__snapshot_header {
    uint64_t magic;
    uint32_t version;
    uint32_t header_size;
    uint32_t kind;
    uint32_t flags; /* none are known */
    uint32_t abi_version;
    uint32_t lanes;
    uint64_t features;   /* AEE_FEATURE_ bits that the component saw */
    uint8_t image[16];   /* aee__hash() of the image's file */
    uint64_t stack_size; /* per lane */
    uint64_t heap_size;
    uint64_t run_count;
    uint64_t content_size; /* bytes of all runs, and of the frame when it is unpacked */
    uint32_t range_count;
    uint8_t reserved[36]; /* zero */
};

struct aee__snapshot_lane {
    uint32_t mxcsr;
    uint32_t x87;
    uint32_t known; /* 1: it had run */
    uint32_t reserved;
};

/* What was declared as state, in that order; what the image declares is the first. */
struct aee__snapshot_range {
    uint64_t gva;
    uint64_t size;
};

/* Memory whose bytes the frame holds. By address, and apart; state outside of them is zero. */
struct aee__snapshot_run {
    uint64_t gva;
    uint64_t size;
};

struct aee__snapshot_trailer {
    uint8_t hash[16]; /* aee__hash() of all that comes before it */
};

_Static_assert(sizeof(struct aee__snapshot_header) == 128, "docs/snapshots.md");
_Static_assert(offsetof(struct aee__snapshot_header, image) == 40, "docs/snapshots.md");
_Static_assert(offsetof(struct aee__snapshot_header, content_size) == 80, "docs/snapshots.md");
_Static_assert(sizeof(struct aee__snapshot_lane) == 16, "docs/snapshots.md");
_Static_assert(sizeof(struct aee__snapshot_run) == 16, "docs/snapshots.md");

struct aee__snapshot {
    const char *name; /* of the file, for sentences */
    struct aee__snapshot_header header;
    struct aee__controls lanes[AEE_MAX_LANES];
    struct aee__snapshot_range ranges[1 + AEE_STATE_RANGES_MAX]; /* not checked */
    const uint8_t *runs; /* header.run_count of them, at any alignment */
    const uint8_t *frame;
    size_t frame_size;
};

/* A header alone: is it one, and can a file that begins with it have so many bytes, where its
 * content may be `most`? So a reader need not read more. Errors: BAD_SNAPSHOT, UNSUPPORTED,
 * ABI_VERSION, LIMIT. */
aee_result aee__snapshot_check_header(const struct aee__snapshot_header *header, const char *name,
                                      uint64_t file_size, uint64_t most, aee_error *error);
/* The whole file, but for what is in the frame. `bytes` and `name` must outlive *out. */
aee_result aee__snapshot_parse(const void *bytes, size_t size, const char *name, uint64_t most,
                               struct aee__snapshot *out, aee_error *error);
/* Unpacks it into an empty copy of a memory that is laid out so: all runs must lie in state. On
 * failure the copy is of no use. */
aee_result aee__snapshot_unpack(const struct aee__snapshot *snapshot,
                                const struct aee__memory *layout, struct aee__shadow *shadow,
                                aee_error *error);
/* The same of declared state: all ranges one after the other, header.content_size bytes. */
aee_result aee__snapshot_unpack_declared(const struct aee__snapshot *snapshot, uint8_t *to,
                                         aee_error *error);
#endif
