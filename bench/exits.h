/* exits.h: the floor of rows in which a component is entered and left: exits of a bare machine, or
 * round trips to a child process where contexts are no machines. */
#ifndef AEE_BENCH_EXITS_H
#define AEE_BENCH_EXITS_H

#include "bench/internal.h"

struct bench_exits;

int bench_exits_open(struct bench_exits **out, const struct bench *bench,
                     struct bench_result *result);
void bench_exits_close(struct bench_exits *exits); /* NULL is fine */
/* Each sample is of so many in a row. */
int bench_exits_measure(struct bench_exits *exits, struct bench_samples *samples, uint32_t count,
                        uint32_t in_a_row, struct bench_result *result);

#endif
