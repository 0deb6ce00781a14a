/* trace_layout.h: from the records of a track to slices that lie within or beside each other, as
 * viewers of traces want them. Pure; any thread. */
#ifndef AEE_MONITOR_TRACE_LAYOUT_H
#define AEE_MONITOR_TRACE_LAYOUT_H

#include "monitor/trace.h"

static inline enum aee__trace_kind aee__trace_kind(const struct aee__trace_slice *slice)
{
    return (enum aee__trace_kind)(slice->detail >> 48 & 0xfu);
}
static inline uint32_t aee__trace_level(const struct aee__trace_slice *slice)
{
    return (uint32_t)(slice->detail >> 52) & 0xfu;
}
static inline uint32_t aee__trace_place(const struct aee__trace_slice *slice)
{
    return (uint32_t)(slice->detail >> 40) & 0xffu;
}
static inline int32_t aee__trace_result(const struct aee__trace_slice *slice)
{
    return -(int32_t)(slice->detail >> 32 & 0xffu);
}
static inline int32_t aee__trace_function(const struct aee__trace_slice *slice)
{
    return (int32_t)(uint32_t)slice->detail;
}
static inline uint32_t aee__trace_mode(const struct aee__trace_slice *slice)
{
    return (uint32_t)(slice->detail >> 56);
}

/* `slices` as they were recorded: those within come before those around them. Afterwards they are
 * sorted by their begin, outer ones first, and none reaches beyond the one that it is within. The
 * calls of a run, of which only the begin of the first and the end of the last are known, share
 * that time, so that each holds the host functions that it called. Nothing begins before `begin`.
 */
void aee__trace_layout(struct aee__trace_slice *slices, uint64_t count, uint64_t begin);
/* Sorts slices of other kinds (their detail is small) and ends each with the one that it is within.
 */
void aee__trace_sort(struct aee__trace_slice *slices, uint64_t count);

#endif
