/* trace.h: what happened lately, in buffers of a fixed size of which the oldest records are
 * overwritten. Owns the buffers; knows neither contexts nor lanes, but tracks, one for each lane
 * that is recorded, and notes, which are rare. trace_json.h writes them.
 *
 * A track's ring has one writer at a time, which takes no lock and makes no system call. It finds
 * the ring behind a *door*, a pointer in its own memory that is NULL while nothing is recorded. A
 * ring is freed when nobody can be behind its door: `busy` says whether somebody may. */
#ifndef AEE_MONITOR_TRACE_H
#define AEE_MONITOR_TRACE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/clock.h"

/* ---- Records of a ring -------------------------------------------------------------------- */

struct aee__trace_record {
    _Atomic uint64_t words[4]; /* as in struct aee__trace_slice */
};

/* Half a cache line: what one record costs is mostly the memory that it goes through. */
struct aee__trace_slice {
    uint64_t begin; /* ticks, as is the next one */
    uint64_t end;
    uint64_t detail; /* aee__trace_detail() */
    uint64_t exits;  /* 16 bits for each kind, at most 65535 */
};

enum aee__trace_kind {
    AEE__TRACE_CALL,   /* that a thread waited for: its times are exact */
    AEE__TRACE_RUN,    /* one of several that were seen to end together, between the two times */
    AEE__TRACE_NESTED, /* from within a host function */
    AEE__TRACE_HOST,   /* a host function */
};

enum aee__trace_exit {
    AEE__TRACE_EXIT_PARK,
    AEE__TRACE_EXIT_NOTIFY,
    AEE__TRACE_EXIT_HOST_CALL,
    AEE__TRACE_EXIT_OTHER,
    AEE__TRACE_EXITS
};

/* `level`: of nested calls, and how many calls a host function is within. `place`: of a call in a
 * run and of a host function in it, the number of the call on its lane, modulo 256. */
static inline uint64_t aee__trace_detail(enum aee__trace_kind kind, uint32_t level, uint32_t mode,
                                         uint32_t place, int32_t result, int32_t function)
{
    return (uint64_t)(uint32_t)function | (uint64_t)(uint8_t)-result << 32 |
           (uint64_t)(place & 0xffu) << 40 | (uint64_t)kind << 48 | (uint64_t)level << 52 |
           (uint64_t)mode << 56;
}

struct aee__trace_ring {
    _Atomic uint64_t written; /* records so far; of the writer, as is the next one */
    _Atomic uint32_t exits_seen[AEE__TRACE_EXITS + 1]; /* told of by the records before */
    uint64_t mask;
    struct aee__trace_record *records;
};

/* For the ring's writer. The stores pair with the loads in aee__trace_read(): who reads a new word
 * also reads that the record before it is complete. */
static inline void aee__trace_put(struct aee__trace_ring *ring, uint64_t begin, uint64_t end,
                                  uint64_t detail, uint64_t exits)
{
    uint64_t at = atomic_load_explicit(&ring->written, memory_order_relaxed);
    struct aee__trace_record *record = &ring->records[at & ring->mask];
    atomic_store_explicit(&record->words[0], begin, memory_order_release);
    atomic_store_explicit(&record->words[1], end, memory_order_release);
    atomic_store_explicit(&record->words[2], detail, memory_order_release);
    atomic_store_explicit(&record->words[3], exits, memory_order_release);
    atomic_store_explicit(&ring->written, at + 1, memory_order_release);
}

/* ---- Tracks ------------------------------------------------------------------------------- */

/* Who names a track's functions. The owner is the track's until it is dropped. */
struct aee__trace_names {
    const char *(*name)(const void *owner, int32_t function); /* NULL: it has none */
    void (*drop)(void *owner);
    void *owner;
};

struct aee__trace_track;

/* The writer's side of a track, in the writer's memory, which outlives the track's use. */
struct aee__trace_door {
    _Atomic(struct aee__trace_ring *) ring; /* NULL: nothing is recorded */
    struct aee__trace_track *track;         /* under the trace's lock */
};

struct aee__trace_track {
    struct aee__trace_track *next;
    struct aee__trace_door *door; /* NULL: the writer is gone; under the lock, as is the next one */
    const _Atomic uint32_t *busy; /* not 0: somebody may be behind the door */
    struct aee__trace_ring ring;
    uint64_t base; /* records before it are of an earlier trace */
    uint64_t context;
    char name[AEE_NAME_MAX]; /* of the context */
    uint32_t lane;
    uint32_t copy; /* counts tracks of that lane, from 0 */
    struct aee__trace_names names;
    size_t size; /* of the records */
};

struct aee__trace_plan {
    uint64_t context;
    const char *name;
    uint32_t lane;
    const _Atomic uint32_t *busy;
    const _Atomic uint32_t *exits; /* so far, of each kind and of all */
    struct aee__trace_names names;
    void (*keep)(void *owner); /* takes what names.drop() gives back */
};

/* ---- Notes -------------------------------------------------------------------------------- */

/* Beside the values of aee_event_type. */
enum aee__trace_note_type { AEE__TRACE_CHECKPOINT = 0x100, AEE__TRACE_RESTORE, AEE__TRACE_FRAME };

struct aee__trace_note {
    uint64_t begin; /* ticks */
    uint64_t end;   /* the same, but for frames, checkpoints and restores */
    uint64_t context;
    uint64_t number; /* of the crash or frame; checkpoints kept, or back; 0: none */
    uint64_t frame;
    uint32_t type;
    uint32_t late; /* of a frame */
    char name[AEE_NAME_MAX];
};

/* Each kind has its own ring, so that frames do not drive out crashes. */
#define AEE__TRACE_NOTES 4096u
struct aee__trace_notes {
    struct aee__trace_note *ring; /* AEE__TRACE_NOTES of them; NULL: nothing is recorded */
    uint64_t written;
};

/* ---- A trace ------------------------------------------------------------------------------ */

enum aee__trace_phase { AEE__TRACE_OFF, AEE__TRACE_ON, AEE__TRACE_ENDED };

struct aee__trace {
    const struct aee__alloc *alloc;
    const struct aee__ticker *ticker;
    pthread_mutex_t lock;
    _Atomic uint32_t phase; /* written under the lock, as is all that follows */
    struct aee__trace_track *tracks;
    struct aee__trace_notes events;
    struct aee__trace_notes frames;
    uint64_t ring_records; /* of a track; a power of two */
    uint64_t memory_left;
    uint64_t without_track; /* lanes for which no memory was left */
    uint64_t begin;         /* ticks and CLOCK_MONOTONIC at both ends */
    uint64_t begin_ns;
    uint64_t end;
    uint64_t end_ns;
};

void aee__trace_init(struct aee__trace *trace, const struct aee__alloc *alloc,
                     const struct aee__ticker *ticker);
/* Every door must have been given up. */
void aee__trace_destroy(struct aee__trace *trace);

/* From OFF to ON: notes are taken, tracks can be opened. */
aee_result aee__trace_begin(struct aee__trace *trace, uint64_t ring_records, uint64_t memory_bytes,
                            aee_error *error);
/* From ON to ENDED: all doors close. Tracks and notes stay as they are. */
void aee__trace_end(struct aee__trace *trace);
/* From ENDED to OFF: frees what nobody can be writing to. */
void aee__trace_clear(struct aee__trace *trace);
static inline bool aee__trace_is_on(const struct aee__trace *trace)
{
    return atomic_load_explicit(&trace->phase, memory_order_relaxed) == AEE__TRACE_ON;
}

/* Opens the door to a track, if a trace is ON. Writers that go one after the other, with the same
 * plan's context, lane and names, share one. */
void aee__trace_open(struct aee__trace *trace, struct aee__trace_door *door,
                     const struct aee__trace_plan *plan);
/* The writer is gone: what it wrote stays until the trace is cleared. */
void aee__trace_give_up(struct aee__trace *trace, struct aee__trace_door *door);

/* Any thread; no system call but for the lock. No effect unless ON. */
void aee__trace_note(struct aee__trace *trace, const struct aee__trace_note *note);

/* ---- Reading, of a trace that has ended --------------------------------------------------- */

/* Copies the newest records of the track, at most `capacity`, oldest first; *lost receives how many
 * there were before them. */
uint64_t aee__trace_read(const struct aee__trace_track *track, struct aee__trace_slice *slices,
                         uint64_t capacity, uint64_t *lost);
/* Nanoseconds since the trace began; 0 for what was before. */
uint64_t aee__trace_ns(const struct aee__trace *trace, uint64_t ticks);

#endif
