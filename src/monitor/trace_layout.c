#include "monitor/trace_layout.h"

#include <stdlib.h>

/* Calls of one run, at most: as many as a lane's ring has places. */
#define RUN_MAX 64u
/* A call, within it a host function, within that a nested call: there are not so many. */
#define DEPTH_MAX 32u

static bool is_call(const struct aee__trace_slice *slice)
{
    return aee__trace_kind(slice) == AEE__TRACE_CALL || aee__trace_kind(slice) == AEE__TRACE_RUN;
}

static bool is_outer_host(const struct aee__trace_slice *slice)
{
    return aee__trace_kind(slice) == AEE__TRACE_HOST && aee__trace_level(slice) == 0;
}

/* ---- Runs --------------------------------------------------------------------------------- */

struct layout {
    struct aee__trace_slice *slices;
    uint64_t hosts;    /* the first host function that belongs to no call yet */
    uint64_t last_end; /* of the calls so far */
};

/* So many slices from `at` on are of one run. */
static uint64_t run_length(const struct aee__trace_slice *slices, uint64_t at, uint64_t count)
{
    uint64_t end = at + 1;
    while (end < count && end - at < RUN_MAX && aee__trace_kind(&slices[end]) == AEE__TRACE_RUN &&
           slices[end].begin == slices[at].begin && slices[end].end == slices[at].end) {
        end++;
    }
    return end - at;
}

/* Where the layout of a run has come to: within call `call`, at `time`. */
struct progress {
    struct aee__trace_slice *run;
    uint64_t call;
    uint64_t time;
};

/* The calls up to call `call` begin within the time until `until`, which all of them share: the one
 * that is under way, those between, and `call`, which is under way at its end. */
static void advance(struct progress *at, uint64_t call, uint64_t until, uint64_t shares)
{
    uint64_t first = at->call;
    uint64_t from = at->time;
    until = until > from ? until : from;
    for (uint64_t i = first + 1; i <= call; i++) {
        uint64_t time = from + (until - from) * (i - first) / shares;
        at->run[i - 1].end = time;
        at->run[i].begin = time;
    }
    at->call = call;
    at->time = until;
}

/* The call of the run that made the host call, by its number on the lane; -1: one before the run.
 * What the component said of that goes as far as the order of its calls. */
static int64_t caller(const struct aee__trace_slice *run, const struct aee__trace_slice *host)
{
    int8_t call = (int8_t)(uint8_t)(aee__trace_place(host) - aee__trace_place(run));
    return call < 0 ? -1 : call;
}

/* The next host function that a call of the run or a later one called, or NULL. */
static const struct aee__trace_slice *next_host(struct layout *layout, uint64_t at, uint64_t call)
{
    for (; layout->hosts < at; layout->hosts++) {
        const struct aee__trace_slice *host = &layout->slices[layout->hosts];
        if (is_outer_host(host) && caller(&layout->slices[at], host) >= (int64_t)call) {
            return host;
        }
    }
    return NULL;
}

static void lay_run(struct layout *layout, uint64_t at, uint64_t length)
{
    struct aee__trace_slice *run = layout->slices + at;
    struct progress progress = {.run = run, .time = run->begin};
    uint64_t end = run->end;
    const struct aee__trace_slice *host = next_host(layout, at, 0);
    if (host && caller(run, host) < (int64_t)length && host->begin < progress.time) {
        progress.time = host->begin; /* the run before was seen to end only then */
    }
    progress.time = progress.time > layout->last_end ? progress.time : layout->last_end;
    run->begin = progress.time;
    for (; host && caller(run, host) < (int64_t)length;
         host = next_host(layout, at, progress.call)) {
        uint64_t call = (uint64_t)caller(run, host);
        advance(&progress, call, host->begin, call - progress.call + 1);
        progress.time = host->end > progress.time ? host->end : progress.time;
        layout->hosts++;
    }
    if (host && host->begin < end) {
        end = host->begin; /* a later run's */
    }
    uint64_t rest = length - 1 - progress.call;
    advance(&progress, length - 1, end, rest + 1);
    run[length - 1].end = progress.time;
    layout->last_end = progress.time;
}

/* Its times are exact, but that another call may have been before it on the lane. */
static void lay_call(struct layout *layout, uint64_t at)
{
    struct aee__trace_slice *call = &layout->slices[at];
    call->begin = call->begin > layout->last_end ? call->begin : layout->last_end;
    call->end = call->end > call->begin ? call->end : call->begin;
    layout->last_end = call->end;
    layout->hosts = at;
}

/* ---- Order -------------------------------------------------------------------------------- */

static uint32_t rank(const struct aee__trace_slice *slice)
{
    return is_call(slice)
               ? 0
               : 2 * aee__trace_level(slice) + (aee__trace_kind(slice) == AEE__TRACE_HOST);
}

static int compare(const void *left, const void *right)
{
    const struct aee__trace_slice *a = left;
    const struct aee__trace_slice *b = right;
    if (a->begin != b->begin) {
        return a->begin < b->begin ? -1 : 1;
    }
    if (rank(a) != rank(b)) {
        return rank(a) < rank(b) ? -1 : 1;
    }
    return a->end == b->end ? 0 : a->end < b->end ? -1 : 1;
}

/* What begins within a slice ends within it: an outer call that ended with its instance was seen to
 * end before the host functions that still ran for it. */
static void nest(struct aee__trace_slice *slices, uint64_t count)
{
    uint64_t ends[DEPTH_MAX];
    uint32_t depth = 0;
    for (uint64_t i = 0; i < count; i++) {
        while (depth > 0 && ends[depth - 1] <= slices[i].begin) {
            depth--;
        }
        if (depth == DEPTH_MAX) {
            slices[i].end = slices[i].begin;
            continue;
        }
        if (depth > 0 && slices[i].end > ends[depth - 1]) {
            slices[i].end = ends[depth - 1];
        }
        ends[depth++] = slices[i].end;
    }
}

void aee__trace_sort(struct aee__trace_slice *slices, uint64_t count)
{
    qsort(slices, (size_t)count, sizeof *slices, compare);
    nest(slices, count);
}

void aee__trace_layout(struct aee__trace_slice *slices, uint64_t count, uint64_t begin)
{
    struct layout layout = {.slices = slices};
    for (uint64_t i = 0; i < count; i++) {
        slices[i].begin = slices[i].begin > begin ? slices[i].begin : begin;
        slices[i].end = slices[i].end > slices[i].begin ? slices[i].end : slices[i].begin;
    }
    for (uint64_t i = 0; i < count;) {
        uint64_t length = 1;
        if (aee__trace_kind(&slices[i]) == AEE__TRACE_RUN) {
            length = run_length(slices, i, count);
            lay_run(&layout, i, length);
        } else if (is_call(&slices[i])) {
            lay_call(&layout, i);
        }
        i += length;
    }
    aee__trace_sort(slices, count);
}
