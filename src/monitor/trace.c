#include "monitor/trace.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/sys.h"

/* Between the two readings of the clocks, for them to tell the rate of the ticks. */
#define SPAN_LEAST_NS UINT64_C(100000)

/* ---- Memory ------------------------------------------------------------------------------- */

/* Populated: a page fault in the middle of a call would cost more than all its records. */
static void *map(size_t size)
{
    void *memory = aee__sys_mmap(NULL, size, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static bool make_notes(struct aee__trace_notes *notes)
{
    notes->ring = map(AEE__TRACE_NOTES * sizeof *notes->ring);
    notes->written = 0;
    return notes->ring != NULL;
}

static void free_notes(struct aee__trace_notes *notes)
{
    if (notes->ring) {
        (void)aee__sys_munmap(notes->ring, AEE__TRACE_NOTES * sizeof *notes->ring);
        notes->ring = NULL;
    }
}

static void free_track(struct aee__trace *trace, struct aee__trace_track *track)
{
    if (track->door) {
        track->door->track = NULL;
    }
    track->names.drop(track->names.owner);
    (void)aee__sys_munmap(track->ring.records, track->size);
    aee__alloc_free(trace->alloc, track, sizeof *track);
}

/* ---- Life --------------------------------------------------------------------------------- */

void aee__trace_init(struct aee__trace *trace, const struct aee__alloc *alloc,
                     const struct aee__ticker *ticker)
{
    *trace = (struct aee__trace){.alloc = alloc, .ticker = ticker};
    (void)pthread_mutex_init(&trace->lock, NULL);
}

/* With the lock held: without the tracks whose writer may still be at work. After the door was
 * closed (both seq_cst, as are a writer's taking of `busy` and its look at the door) a look at
 * `busy` that finds nobody finds nobody behind the door either, now or later. */
static void free_tracks(struct aee__trace *trace)
{
    struct aee__trace_track **link = &trace->tracks;
    while (*link) {
        struct aee__trace_track *track = *link;
        if (track->door && atomic_load(track->busy) != 0) {
            link = &track->next;
        } else {
            *link = track->next;
            free_track(trace, track);
        }
    }
}

void aee__trace_destroy(struct aee__trace *trace)
{
    free_notes(&trace->events);
    free_notes(&trace->frames);
    free_tracks(trace);
    (void)pthread_mutex_destroy(&trace->lock);
}

/* Ticks and the clock at the same time, as near as it gets. */
static void read_clocks(const struct aee__trace *trace, uint64_t *ticks, uint64_t *ns)
{
    uint64_t best = UINT64_MAX;
    for (unsigned attempt = 0; attempt < 5; attempt++) {
        uint64_t before = aee__ticks(trace->ticker);
        uint64_t now = aee__now_ns();
        uint64_t took = aee__ticks(trace->ticker) - before;
        if (took < best) {
            best = took;
            *ticks = before + took / 2;
            *ns = now;
        }
    }
}

aee_result aee__trace_begin(struct aee__trace *trace, uint64_t ring_records, uint64_t memory_bytes,
                            aee_error *error)
{
    aee_result result = AEE_OK;
    (void)pthread_mutex_lock(&trace->lock);
    if (!make_notes(&trace->events) || !make_notes(&trace->frames)) {
        result = aee__fail_os(error, errno, "cannot start a trace: no memory for its events");
        free_notes(&trace->events);
    } else {
        trace->ring_records = ring_records;
        trace->memory_left = memory_bytes;
        trace->without_track = 0;
        read_clocks(trace, &trace->begin, &trace->begin_ns);
        atomic_store(&trace->phase, AEE__TRACE_ON);
    }
    (void)pthread_mutex_unlock(&trace->lock);
    return result;
}

void aee__trace_end(struct aee__trace *trace)
{
    (void)pthread_mutex_lock(&trace->lock);
    for (struct aee__trace_track *track = trace->tracks; track; track = track->next) {
        if (track->door) {
            atomic_store(&track->door->ring, NULL);
        }
    }
    read_clocks(trace, &trace->end, &trace->end_ns);
    atomic_store(&trace->phase, AEE__TRACE_ENDED);
    (void)pthread_mutex_unlock(&trace->lock);
}

void aee__trace_clear(struct aee__trace *trace)
{
    (void)pthread_mutex_lock(&trace->lock);
    free_tracks(trace);
    free_notes(&trace->events);
    free_notes(&trace->frames);
    atomic_store(&trace->phase, AEE__TRACE_OFF);
    (void)pthread_mutex_unlock(&trace->lock);
}

/* ---- Tracks ------------------------------------------------------------------------------- */

/* With the lock held, as with all here. */
static struct aee__trace_track *make_track(struct aee__trace *trace,
                                           const struct aee__trace_plan *plan)
{
    size_t size = (size_t)trace->ring_records * sizeof(struct aee__trace_record);
    struct aee__trace_track *track =
        size <= trace->memory_left ? aee__alloc_zero(trace->alloc, 1, sizeof *track) : NULL;
    void *records = track ? map(size) : NULL;
    if (!records) {
        aee__alloc_free(trace->alloc, track, sizeof *track);
        return NULL;
    }
    track->ring.records = records;
    track->ring.mask = trace->ring_records - 1;
    track->size = size;
    track->context = plan->context;
    memcpy(track->name, plan->name, sizeof track->name);
    track->lane = plan->lane;
    track->names = plan->names;
    plan->keep(track->names.owner);
    struct aee__trace_track **link = &trace->tracks;
    while (*link) { /* in the order in which they were made */
        track->copy += (*link)->context == plan->context && (*link)->lane == plan->lane;
        link = &(*link)->next;
    }
    *link = track;
    trace->memory_left -= size;
    return track;
}

/* One of this trace whose writer is gone. */
static struct aee__trace_track *find_track(struct aee__trace *trace,
                                           const struct aee__trace_plan *plan)
{
    struct aee__trace_track *track = trace->tracks;
    while (track && (track->door || track->context != plan->context || track->lane != plan->lane ||
                     track->names.owner != plan->names.owner)) {
        track = track->next;
    }
    return track;
}

void aee__trace_open(struct aee__trace *trace, struct aee__trace_door *door,
                     const struct aee__trace_plan *plan)
{
    (void)pthread_mutex_lock(&trace->lock);
    struct aee__trace_track *track = NULL;
    bool wanted = aee__trace_is_on(trace) && !atomic_load(&door->ring);
    if (wanted && door->track) { /* of an earlier trace at whose end the writer was at work */
        track = door->track;
        track->base = atomic_load(&track->ring.written);
    } else if (wanted) {
        track = find_track(trace, plan);
        track = track ? track : make_track(trace, plan);
    }
    if (track) {
        for (unsigned i = 0; i <= AEE__TRACE_EXITS; i++) {
            atomic_store(&track->ring.exits_seen[i], atomic_load(&plan->exits[i]));
        }
        track->busy = plan->busy;
        track->door = door;
        door->track = track;
        atomic_store(&door->ring, &track->ring);
    }
    trace->without_track += wanted && !track;
    (void)pthread_mutex_unlock(&trace->lock);
}

void aee__trace_give_up(struct aee__trace *trace, struct aee__trace_door *door)
{
    (void)pthread_mutex_lock(&trace->lock);
    struct aee__trace_track *track = door->track;
    atomic_store(&door->ring, NULL);
    door->track = NULL;
    if (track) {
        track->door = NULL;
        if (atomic_load(&trace->phase) == AEE__TRACE_OFF) {
            free_tracks(trace);
        }
    }
    (void)pthread_mutex_unlock(&trace->lock);
}

/* ---- Notes -------------------------------------------------------------------------------- */

void aee__trace_note(struct aee__trace *trace, const struct aee__trace_note *note)
{
    if (!aee__trace_is_on(trace)) {
        return;
    }
    (void)pthread_mutex_lock(&trace->lock);
    if (aee__trace_is_on(trace)) {
        struct aee__trace_notes *notes =
            note->type == AEE__TRACE_FRAME ? &trace->frames : &trace->events;
        notes->ring[notes->written % AEE__TRACE_NOTES] = *note;
        notes->written++;
    }
    (void)pthread_mutex_unlock(&trace->lock);
}

/* ---- Reading ------------------------------------------------------------------------------ */

static void read_record(const struct aee__trace_record *record, struct aee__trace_slice *slice)
{
    slice->begin = atomic_load_explicit(&record->words[0], memory_order_acquire);
    slice->end = atomic_load_explicit(&record->words[1], memory_order_acquire);
    slice->detail = atomic_load_explicit(&record->words[2], memory_order_acquire);
    slice->exits = atomic_load_explicit(&record->words[3], memory_order_acquire);
}

/* A writer may be at its last record still, in the place of the oldest one. */
uint64_t aee__trace_read(const struct aee__trace_track *track, struct aee__trace_slice *slices,
                         uint64_t capacity, uint64_t *lost)
{
    const struct aee__trace_ring *ring = &track->ring;
    uint64_t end = atomic_load_explicit(&ring->written, memory_order_acquire);
    uint64_t most = capacity < ring->mask ? capacity : ring->mask;
    uint64_t first = end - track->base > most ? end - most : track->base;
    for (uint64_t i = first; i < end; i++) {
        read_record(&ring->records[i & ring->mask], &slices[i - first]);
    }
    uint64_t now = atomic_load_explicit(&ring->written, memory_order_relaxed);
    uint64_t whole = now > ring->mask ? now - ring->mask : 0; /* the first that was not touched */
    uint64_t spoilt = whole > first ? whole - first : 0;
    spoilt = spoilt < end - first ? spoilt : end - first;
    memmove(slices, slices + spoilt, (size_t)(end - first - spoilt) * sizeof *slices);
    *lost = first + spoilt - track->base;
    return end - first - spoilt;
}

/* By both ends where they are far enough from each other: more exact than the ticker's own rate. */
uint64_t aee__trace_ns(const struct aee__trace *trace, uint64_t ticks)
{
    uint64_t span = trace->end - trace->begin;
    uint64_t span_ns = trace->end_ns - trace->begin_ns;
    if (ticks <= trace->begin) {
        return 0;
    }
    if (span == 0 || span_ns < SPAN_LEAST_NS) {
        return aee__ticks_to_ns(trace->ticker, ticks - trace->begin);
    }
    return (uint64_t)((unsigned __int128)(ticks - trace->begin) * span_ns / span);
}
