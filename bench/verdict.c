/* verdict.c: rows against their floors and targets. Pure; any thread. */
#include <string.h>

#include "bench/bench.h"

double bench_ratio(const struct bench_result *result)
{
    return result->floor.count > 0 && result->floor.p50 > 0.0 ? result->row.p50 / result->floor.p50
                                                              : 0.0;
}

enum bench_verdict bench_judge(const struct bench_row *row, const struct bench_result *result)
{
    static const struct bench_target none;
    const struct bench_target *target = &row->target;
    const struct bench_summary *measured = &result->row;
    if (result->unjudged || memcmp(target, &none, sizeof none) == 0 || measured->count == 0) {
        return BENCH_NO_TARGET;
    }
    const double floor = result->floor.p50;
    const bool missed = (target->p50_ratio > 0.0 && measured->p50 > target->p50_ratio * floor) ||
                        (target->p99_ratio > 0.0 && measured->p99 > target->p99_ratio * floor) ||
                        (target->p50 > 0.0 && measured->p50 > target->p50) ||
                        (target->p99 > 0.0 && measured->p99 > target->p99) ||
                        (target->mean > 0.0 && measured->mean > target->mean) ||
                        (target->least_p50 > 0.0 && measured->p50 < target->least_p50) ||
                        (target->own && !result->met);
    return missed ? BENCH_MISSED : BENCH_MET;
}
