#include "monitor/trace_layout.h"

#include <stdlib.h>

/* Calls of one run, at most: as many as a lane's ring has places. */
#define RUN_MAX 64u
/* A call, within it a host function, within that a nested call, and so on. */
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

/* Between which times call i of the run begins (its predecessor ends): not before the end of a host
 * function that a call before it called, not after the begin of one that it or a later one called.
 */
struct bounds {
    uint64_t low[RUN_MAX + 1];
    uint64_t high[RUN_MAX + 1];
};

static void bind_host(struct bounds *bounds, const struct aee__trace_slice *host, uint64_t call,
                      uint64_t length)
{
    for (uint64_t i = 0; i <= length; i++) {
        if (i <= call) {
            bounds->high[i] = bounds->high[i] < host->begin ? bounds->high[i] : host->begin;
        } else {
            bounds->low[i] = bounds->low[i] > host->end ? bounds->low[i] : host->end;
        }
    }
}

/* Host functions before slice `at`: those of this run, and the first of a later call. */
static void bind_hosts(struct layout *layout, struct bounds *bounds, uint64_t at, uint64_t length)
{
    uint32_t first = aee__trace_place(&layout->slices[at]);
    for (; layout->hosts < at; layout->hosts++) {
        const struct aee__trace_slice *host = &layout->slices[layout->hosts];
        if (!is_outer_host(host)) {
            continue;
        }
        int8_t call = (int8_t)(uint8_t)(aee__trace_place(host) - first);
        if (call >= 0 && (uint64_t)call >= length) {
            bind_host(bounds, host, length, length);
            return; /* a later run's */
        }
        if (call >= 0) {
            bind_host(bounds, host, (uint64_t)call, length);
        }
    }
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
    return value > high ? high : value < low ? low : value;
}

static void lay_run(struct layout *layout, uint64_t at, uint64_t length)
{
    struct aee__trace_slice *run = layout->slices + at;
    struct bounds bounds;
    uint64_t begin = run->begin > layout->last_end ? run->begin : layout->last_end;
    uint64_t end = run->end > begin ? run->end : begin;
    for (uint64_t i = 0; i <= length; i++) {
        bounds.low[i] = begin;
        bounds.high[i] = end;
    }
    bind_hosts(layout, &bounds, at, length);
    for (uint64_t i = 0; i <= length; i++) {
        uint64_t even = begin + (end - begin) * i / length;
        uint64_t time = clamp(even, bounds.low[i], bounds.high[i]);
        time = time > layout->last_end ? time : layout->last_end;
        if (i > 0) {
            run[i - 1].end = time;
        }
        if (i < length) {
            run[i].begin = time;
        }
        layout->last_end = time;
    }
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
        while (depth > 0 && (ends[depth - 1] <= slices[i].begin || depth == DEPTH_MAX)) {
            depth--;
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
