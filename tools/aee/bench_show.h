/* bench_show.h: how a run of `aee bench` is shown. Borrows everything; one thread. */
#ifndef AEE_TOOLS_BENCH_SHOW_H
#define AEE_TOOLS_BENCH_SHOW_H

#include "bench/bench.h"
#include "json.h"
#include "term.h"

/* The machine, then a heading for the rows. */
void bench_show_host(const struct term *term, const struct bench_host *host);
void bench_show_row(const struct term *term, const struct bench_row *row, aee_level level,
                    const struct bench_result *result);

void bench_json_host(struct json *json, const struct bench_host *host);
void bench_json_row(struct json *json, const struct bench_row *row, aee_level level,
                    const struct bench_result *result);

#endif
