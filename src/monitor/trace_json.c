#include "monitor/trace_json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "monitor/trace_layout.h"

/* What one event takes at most, and about; what the end of the file takes at most. */
#define EVENT_MOST 2048u
#define EVENT_ABOUT 192u
#define TAIL_MOST 1024u
/* Bytes of a name that are shown. */
#define NAME_MOST 120u
#define BUFFER 65536u

/* Numbers of threads in the file: the tracks of the engine, then those of contexts. */
enum { THREAD_FRAMES = 1, THREAD_EVENTS, THREAD_CONTEXTS };

struct writer {
    const struct aee__trace *trace;
    const struct aee__trace_output *output;
    uint64_t used; /* bytes so far */
    uint64_t left_out;
    uint64_t overwritten;
    uint32_t events;
    uint32_t thread;                 /* the next number that is free */
    uint64_t share;                  /* of 1024, of each track's calls that is written */
    struct aee__trace_slice *slices; /* room for those of any track, or of the notes */
    uint32_t fill;
    bool failed;
    char buffer[BUFFER];
};

/* ---- Text --------------------------------------------------------------------------------- */

static void flush(struct writer *w)
{
    if (w->fill > 0 && !w->failed) {
        w->failed = w->output->write(w->output->user, w->buffer, w->fill) != 0;
    }
    w->fill = 0;
}

static void put(struct writer *w, const char *text, size_t size)
{
    if (w->fill + size > BUFFER) {
        flush(w);
    }
    memcpy(w->buffer + w->fill, text, size);
    w->fill += (uint32_t)size;
    w->used += size;
}

__attribute__((format(printf, 2, 3))) static void print(struct writer *w, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it was begun in the line before
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(w, text, size < 0 ? 0 : (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
}

/* Length of the UTF-8 sequence at `text` (RFC 3629), which ends at `end`; 0: it is none. */
static size_t sequence(const unsigned char *text, const unsigned char *end)
{
    size_t length = text[0] < 0x80   ? 1
                    : text[0] < 0xc2 ? 0
                    : text[0] < 0xe0 ? 2
                    : text[0] < 0xf0 ? 3
                    : text[0] < 0xf5 ? 4
                                     : 0;
    if (length > (size_t)(end - text)) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool wrong = (text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
                 (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f);
    return wrong ? 0 : length;
}

/* The inside of a JSON string. What is no text becomes U+FFFD; what controls a terminal, or ends a
 * script where the file is put into a page, is escaped. */
static void put_name(struct writer *w, const char *name)
{
    const unsigned char *at = (const unsigned char *)name;
    const unsigned char *end = at + strnlen(name, NAME_MOST);
    while (at < end) {
        size_t length = sequence(at, end);
        bool c1 = length == 2 && at[0] == 0xc2 && at[1] < 0xa0;
        if (length == 0) {
            put(w, "\\ufffd", 6);
        } else if (c1) {
            print(w, "\\u00%02x", at[1]);
        } else if (length == 1 && (at[0] < 0x20 || at[0] == 0x7f || strchr("\"\\<>&", at[0]))) {
            print(w, "\\u00%02x", at[0]);
        } else {
            put(w, (const char *)at, length);
        }
        at += length ? length : 1;
    }
}

/* Whether another event may be written; counts it as left out if not. */
static bool begin_event(struct writer *w)
{
    if (w->failed || w->used + EVENT_MOST + TAIL_MOST > w->output->max_bytes) {
        w->left_out++;
        return false;
    }
    put(w, w->events ? ",\n" : "\n", w->events ? 2 : 1);
    w->events++;
    return true;
}

/* Microseconds, as the format wants them. */
static void print_time(struct writer *w, const char *name, uint64_t ns)
{
    print(w, ",\"%s\":%" PRIu64 ".%03u", name, ns / 1000, (unsigned)(ns % 1000));
}

static void begin_at(struct writer *w, const char *phase, uint32_t thread, uint64_t ticks)
{
    print(w, "{\"ph\":\"%s\",\"pid\":%d,\"tid\":%u", phase, w->output->process, thread);
    print_time(w, "ts", aee__trace_ns(w->trace, ticks));
}

static void print_span(struct writer *w, uint64_t begin, uint64_t end)
{
    print_time(w, "dur", aee__trace_ns(w->trace, end) - aee__trace_ns(w->trace, begin));
}

/* ---- Names of tracks ---------------------------------------------------------------------- */

static void name_thread(struct writer *w, uint32_t thread, const char *name, const char *rest)
{
    if (begin_event(w)) {
        print(w,
              "{\"ph\":\"M\",\"pid\":%d,\"tid\":%u,\"name\":\"thread_name\",\"args\":{\"name\":\"",
              w->output->process, thread);
        put_name(w, name);
        print(w, "%s\"}}", rest);
    }
    if (begin_event(w)) { /* viewers sort by name else */
        print(w,
              "{\"ph\":\"M\",\"pid\":%d,\"tid\":%u,\"name\":\"thread_sort_index\",\"args\":"
              "{\"sort_index\":%u}}",
              w->output->process, thread, thread);
    }
}

static void name_process(struct writer *w)
{
    if (begin_event(w)) {
        print(w, "{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\",\"args\":{\"name\":\"",
              w->output->process);
        put_name(w, w->output->title);
        print(w, "\"}}");
    }
    name_thread(w, THREAD_FRAMES, "frames", "");
    name_thread(w, THREAD_EVENTS, "engine", "");
}

/* ---- Calls -------------------------------------------------------------------------------- */

static const char *name_of(const struct writer *w, const struct aee__trace_track *track,
                           const struct aee__trace_slice *slice)
{
    int32_t function = aee__trace_function(slice);
    const char *name = aee__trace_kind(slice) == AEE__TRACE_HOST
                           ? w->output->host_name(w->output->host_names, function)
                           : track->names.name(track->names.owner, function);
    return name ? name : "?";
}

static void print_exits(struct writer *w, uint64_t exits)
{
    static const char *const names[AEE__TRACE_EXITS] = {"park", "notify", "host_call", "other"};
    const char *separator = ",\"exits\":{";
    if (exits == 0) {
        return;
    }
    for (unsigned i = 0; i < AEE__TRACE_EXITS; i++) {
        unsigned count = (unsigned)(exits >> (16 * i) & 0xffffu);
        if (count > 0) {
            print(w, "%s\"%s\":%u", separator, names[i], count);
            separator = ",";
        }
    }
    put(w, "}", 1);
}

static void print_slice(struct writer *w, const struct aee__trace_track *track, uint32_t thread,
                        const struct aee__trace_slice *slice)
{
    static const char *const kinds[] = {"call", "submitted call", "nested call", "host call"};
    static const char *const modes[] = {"auto", "ring", "direct"};
    enum aee__trace_kind kind = aee__trace_kind(slice);
    if (!begin_event(w)) {
        return;
    }
    begin_at(w, "X", thread, slice->begin);
    print_span(w, slice->begin, slice->end);
    print(w, ",\"cat\":\"%s\",\"name\":\"", kinds[kind & 3u]);
    put_name(w, name_of(w, track, slice));
    print(w, "\",\"args\":{\"result\":\"%s\"",
          aee_result_name((aee_result)aee__trace_result(slice)));
    if (kind == AEE__TRACE_CALL && aee__trace_mode(slice) < 3) {
        print(w, ",\"mode\":\"%s\"", modes[aee__trace_mode(slice)]);
    }
    print_exits(w, slice->exits);
    put(w, "}}", 2);
}

static void print_lost(struct writer *w, uint32_t thread, uint64_t lost, uint64_t at)
{
    if (lost > 0 && begin_event(w)) {
        begin_at(w, "i", thread, at);
        print(w, ",\"s\":\"t\",\"cat\":\"trace\",\"name\":\"%" PRIu64 " before are lost\"}", lost);
    }
}

/* `share`, of 1024, of what was recorded: the newest. */
static void print_track(struct writer *w, const struct aee__trace_track *track)
{
    struct aee__trace_slice *slices = w->slices;
    char rest[48];
    uint64_t lost;
    uint32_t thread = w->thread++;
    uint64_t count = aee__trace_read(track, slices, track->ring.mask + 1, &lost);
    uint64_t first = count - count * w->share / 1024;
    if (track->copy > 0) {
        (void)snprintf(rest, sizeof rest, " lane %u #%u", track->lane, track->copy + 1);
    } else {
        (void)snprintf(rest, sizeof rest, " lane %u", track->lane);
    }
    name_thread(w, thread, track->name, rest);
    w->overwritten += lost;
    w->left_out += first;
    aee__trace_layout(slices, count, w->trace->begin);
    print_lost(w, thread, lost + first, count > first ? slices[first].begin : w->trace->begin);
    for (uint64_t i = first; i < count; i++) {
        print_slice(w, track, thread, &slices[i]);
    }
}

/* ---- Notes -------------------------------------------------------------------------------- */

static uint64_t first_note(const struct aee__trace_notes *notes)
{
    return notes->written > AEE__TRACE_NOTES ? notes->written - AEE__TRACE_NOTES : 0;
}

static const struct aee__trace_note *note_at(const struct aee__trace_notes *notes, uint64_t index)
{
    return &notes->ring[index % AEE__TRACE_NOTES];
}

static void print_frames(struct writer *w)
{
    const struct aee__trace_notes *frames = &w->trace->frames;
    uint64_t first = first_note(frames);
    w->overwritten += first;
    print_lost(w, THREAD_FRAMES, first, w->trace->begin);
    for (uint64_t i = first; i < frames->written; i++) {
        const struct aee__trace_note *frame = note_at(frames, i);
        uint64_t ns = aee__ticks_to_ns(w->trace->ticker, frame->end - frame->begin);
        if (begin_event(w)) {
            begin_at(w, "X", THREAD_FRAMES, frame->begin);
            print_span(w, frame->begin, frame->end);
            print(w, ",\"cat\":\"frame\",\"name\":\"%s\"%s,\"args\":{\"frame\":%" PRIu64 "}}",
                  frame->late ? "late frame" : "frame",
                  frame->late ? ",\"cname\":\"terrible\"" : "", frame->number);
        }
        if (begin_event(w)) {
            begin_at(w, "C", THREAD_FRAMES, frame->begin);
            print(w, ",\"name\":\"frame time\",\"args\":{\"us\":%" PRIu64 ".%03u}}", ns / 1000,
                  (unsigned)(ns % 1000));
        }
    }
}

static void print_event(struct writer *w, const struct aee__trace_note *note, uint32_t thread)
{
    if (!begin_event(w)) {
        return;
    }
    begin_at(w, "i", thread, note->begin);
    print(w, ",\"s\":\"t\",\"cat\":\"event\",\"name\":\"%s\",\"args\":{\"frame\":%" PRIu64,
          aee_event_name((aee_event_type)note->type), note->frame);
    if (note->number > 0) {
        print(w, ",\"crash\":%" PRIu64, note->number);
    }
    put(w, "}}", 2);
}

/* What takes time: a checkpoint, a restore, and from a crash to the context's return. */
static void print_spans(struct writer *w, uint64_t count, uint32_t thread)
{
    aee__trace_sort(w->slices, count);
    for (uint64_t i = 0; i < count; i++) {
        const struct aee__trace_slice *span = &w->slices[i];
        bool taken = span->detail == AEE__TRACE_CHECKPOINT;
        bool restored = span->detail == AEE__TRACE_RESTORE;
        if (begin_event(w)) {
            begin_at(w, "X", thread, span->begin);
            print_span(w, span->begin, span->end);
            print(w, ",\"cat\":\"recovery\",\"name\":\"%s\",\"args\":{\"%s\":%" PRIu64 "}}",
                  taken      ? "checkpoint"
                  : restored ? "restore"
                             : "down",
                  taken      ? "kept"
                  : restored ? "back"
                             : "crash",
                  span->exits);
        }
    }
}

static bool falls(const struct aee__trace_note *note)
{
    return note->type == AEE_EVENT_CRASHED || note->type == AEE_EVENT_HUNG;
}

/* A context that is down is so until it is back, or given up. */
static bool ends_fall(const struct aee__trace_note *note)
{
    return note->type == AEE_EVENT_RESTARTED || note->type == AEE_EVENT_LOADED ||
           note->type == AEE_EVENT_QUARANTINED || note->type == AEE_EVENT_STOPPED ||
           note->type == AEE_EVENT_DESTROYED;
}

static void print_life(struct writer *w, uint64_t context, uint32_t thread)
{
    const struct aee__trace_notes *events = &w->trace->events;
    const struct aee__trace_note *down = NULL;
    uint64_t spans = 0;
    for (uint64_t i = first_note(events); i < events->written; i++) {
        const struct aee__trace_note *note = note_at(events, i);
        if (note->context != context) {
            continue;
        }
        if (down && ends_fall(note)) {
            w->slices[spans++] = (struct aee__trace_slice){down->begin, note->end, 0, down->number};
            down = NULL;
        } else if (falls(note) && !down) {
            down = note;
        }
        if (note->type < AEE_EVENT_COUNT) {
            print_event(w, note, thread);
        } else {
            w->slices[spans++] =
                (struct aee__trace_slice){note->begin, note->end, note->type, note->number};
        }
    }
    print_spans(w, spans, thread);
}

/* ---- Contexts ----------------------------------------------------------------------------- */

static void print_context(struct writer *w, uint64_t context, const char *name,
                          const struct aee__trace_track *tracks)
{
    uint32_t thread = w->thread++;
    name_thread(w, thread, name, "");
    print_life(w, context, thread);
    for (const struct aee__trace_track *track = tracks; track; track = track->next) {
        if (track->context == context) {
            print_track(w, track);
        }
    }
}

static bool has_track(const struct aee__trace_track *tracks, const struct aee__trace_track *end,
                      uint64_t context)
{
    const struct aee__trace_track *track = tracks;
    while (track != end && track->context != context) {
        track = track->next;
    }
    return track != end;
}

static bool has_note(const struct aee__trace_notes *events, uint64_t end, uint64_t context)
{
    uint64_t at = first_note(events);
    while (at < end && note_at(events, at)->context != context) {
        at++;
    }
    return at < end;
}

/* Those with calls, then those with events only. */
static void print_contexts(struct writer *w)
{
    const struct aee__trace_track *tracks = w->trace->tracks;
    const struct aee__trace_notes *events = &w->trace->events;
    for (const struct aee__trace_track *track = tracks; track; track = track->next) {
        if (!has_track(tracks, track, track->context)) {
            print_context(w, track->context, track->name, track);
        }
    }
    for (uint64_t i = first_note(events); i < events->written; i++) {
        const struct aee__trace_note *note = note_at(events, i);
        if (note->context != 0 && !has_track(tracks, NULL, note->context) &&
            !has_note(events, i, note->context)) {
            print_context(w, note->context, note->name, NULL);
        }
    }
}

/* ---- The file ----------------------------------------------------------------------------- */

/* The share, of 1024, of each track's calls that fits. */
static uint64_t share(const struct aee__trace *trace, uint64_t max_bytes)
{
    uint64_t events = trace->events.written + 2 * trace->frames.written + 16;
    for (const struct aee__trace_track *track = trace->tracks; track; track = track->next) {
        uint64_t written = atomic_load(&track->ring.written) - track->base;
        events += (written < track->ring.mask ? written : track->ring.mask) + 4;
    }
    uint64_t fits = max_bytes / EVENT_ABOUT;
    return fits >= events ? 1024 : fits * 1024 / events;
}

static void write_all(struct writer *w)
{
    const struct aee__trace *trace = w->trace;
    put(w, "{\"traceEvents\":[", 16);
    name_process(w);
    print_frames(w);
    w->overwritten += first_note(&trace->events);
    print_life(w, 0, THREAD_EVENTS);
    print_contexts(w);
    print(w,
          "\n],\"displayTimeUnit\":\"ns\",\"otherData\":{\"version\":\"%s\","
          "\"clock_monotonic_ns\":\"%" PRIu64 "\",\"duration_ns\":\"%" PRIu64
          "\",\"overwritten\":%" PRIu64 ",\"left_out\":%" PRIu64
          ",\"lanes_without_buffer\":%" PRIu64 "}}\n",
          aee_version(), trace->begin_ns, trace->end_ns - trace->begin_ns, w->overwritten,
          w->left_out, trace->without_track);
    flush(w);
}

static uint64_t most_slices(const struct aee__trace *trace)
{
    uint64_t most = AEE__TRACE_NOTES + AEE__TRACE_NOTES;
    for (const struct aee__trace_track *track = trace->tracks; track; track = track->next) {
        most = track->ring.mask + 1 > most ? track->ring.mask + 1 : most;
    }
    return most;
}

aee_result aee__trace_write(const struct aee__trace *trace, const struct aee__trace_output *output,
                            aee_error *error)
{
    uint64_t slices = most_slices(trace);
    struct writer *w = aee__alloc_zero(trace->alloc, 1, sizeof *w);
    if (w) {
        w->slices = aee__alloc_zero(trace->alloc, (size_t)slices, sizeof *w->slices);
    }
    aee_result result = AEE_OK;
    if (w && w->slices) {
        w->trace = trace;
        w->output = output;
        w->thread = THREAD_CONTEXTS;
        w->share = share(trace, output->max_bytes);
        write_all(w);
        result = w->failed ? AEE_ERR_SYSTEM : AEE_OK;
    } else {
        result = aee__fail(error, AEE_ERR_NO_MEMORY, "cannot write the trace: out of memory");
    }
    if (w) {
        aee__alloc_free(trace->alloc, w->slices, (size_t)slices * sizeof *w->slices);
    }
    aee__alloc_free(trace->alloc, w, sizeof *w);
    return result;
}
