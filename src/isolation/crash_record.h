/* crash_record.h: what a context keeps for reports of crashes: its last log lines, and a copy of
 * what a report wants to know, made at the crash, because memory is restored or freed right after.
 * Owns its memory, all of which is there before anything can crash. Filled by src/recovery on the
 * thread that finds the crash; read by any. */
#ifndef AEE_ISOLATION_CRASH_RECORD_H
#define AEE_ISOLATION_CRASH_RECORD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "aee_abi.h"
#include "base/alloc.h"
#include "ept/memory.h"

struct aee__context;
struct aee__instance;
struct aee__image_ref;

#define AEE__RECORD_STACK 65536u /* bytes of the crashed lane's stack */
#define AEE__RECORD_CALLS 32u    /* calls and host calls of each lane */
#define AEE__RECORD_REGIONS 64u
#define AEE__LOG_TAIL 4096u
/* Images of earlier records that wait to be released where that is allowed. */
#define AEE__SPENT_IMAGES 3u

/* ---- Log lines ---------------------------------------------------------------------------- */

/* The newest lines, as "<level digit><text>\n". */
struct aee__log_tail {
    pthread_mutex_t lock;
    uint32_t used;
    char *text; /* AEE__LOG_TAIL bytes of the record; NULL: there is none yet */
};

void aee__log_tail_add(struct aee__log_tail *tail, uint64_t level, const char *line);
/* How many bytes `to`, of AEE__LOG_TAIL, received. */
uint32_t aee__log_tail_copy(struct aee__log_tail *tail, char *to);

/* ---- The record --------------------------------------------------------------------------- */

/* Where an address lies in the component's heap, as far as its headers can be believed. */
enum aee__heap_kind {
    AEE__HEAP_UNKNOWN = 0,
    AEE__HEAP_USED,   /* in an allocated block */
    AEE__HEAP_FREE,   /* in a free one */
    AEE__HEAP_BEHIND, /* past the end of a block, in what describes the next */
};

struct aee__heap_place {
    enum aee__heap_kind kind;
    uint64_t size;   /* of the block */
    uint64_t offset; /* of the address in it */
};

struct aee__record_lane {
    aee_registers registers;
    bool known;   /* the registers are */
    bool running; /* it ran when another lane crashed */
    uint32_t host_depth;
    uint32_t calls;                    /* in the next, newest first */
    int32_t called[AEE__RECORD_CALLS]; /* export, or AEE__CALLED_ values */
    bool answered[AEE__RECORD_CALLS];
    uint32_t host_calls;
    int32_t asked[AEE__RECORD_CALLS]; /* host function, or AEE__ASKED_ values */
};

struct aee__record_region {
    char name[AEE_NAME_MAX];
    uint64_t gva;
    uint64_t size;
    uint32_t writable;
};

enum { AEE__RECORD_GENERAL = 16 }; /* general registers, in the order of aee_registers */

struct aee__crash_record {
    const struct aee__instance *instance; /* whose crash; only to be compared */
    struct aee__image_ref *image;         /* NULL: was not kept */
    aee_crash crash;                      /* id 0: nothing is here */
    uint64_t time_ns;
    uint64_t frame;
    uint32_t lane_count;
    struct aee__record_lane lanes[AEE_MAX_LANES];
    struct aee__heap_place fault_place;
    struct aee__heap_place places[AEE__RECORD_GENERAL]; /* of what the registers hold */
    uint32_t area_count;
    struct aee__memory_area areas[AEE__MEMORY_MAX_AREAS];
    uint64_t heap_size;
    uint32_t region_count;
    struct aee__record_region regions[AEE__RECORD_REGIONS];
    uint32_t log_size;
    char log[AEE__LOG_TAIL];
    uint64_t stack_start; /* gva */
    uint32_t stack_size;
    uint8_t stack[AEE__RECORD_STACK]; /* the most of it is not used, nor touched */
    char lines[AEE__LOG_TAIL];        /* of the context's log, as they come */
};

struct aee__crash_files;

struct aee__crash_keep {
    pthread_mutex_t lock;             /* of all that follows, but for `log` */
    struct aee__crash_record *record; /* NULL until the first load */
    struct aee__image_ref *spent[AEE__SPENT_IMAGES];
    struct aee__crash_files *files; /* of the context; NULL: those of the engine */
    struct aee__crash_record *core; /* of the crash whose files are being written */
    bool core_pending;
    uint32_t cores_skipped; /* crashes meanwhile */
    struct aee__log_tail log;
};

void aee__crash_keep_init(struct aee__crash_keep *keep);
void aee__crash_keep_destroy(struct aee__crash_keep *keep, const struct aee__alloc *alloc);
/* Makes the record, should there be none; before an image is used. */
aee_result aee__crash_keep_prepare(struct aee__context *context, aee_error *error);
/* A new record of nothing; NULL: no memory. */
struct aee__crash_record *aee__crash_record_create(const struct aee__alloc *alloc);
void aee__crash_record_destroy(struct aee__crash_record *record, const struct aee__alloc *alloc);
/* With the lock held: `record` has this image from now on; releases nothing. */
void aee__crash_keep_image(struct aee__crash_keep *keep, struct aee__crash_record *record,
                           struct aee__image_ref *image);
/* A copy with a reference to the image; `to` has none before. */
void aee__crash_record_copy(struct aee__crash_record *to, const struct aee__crash_record *from);

#endif
