/* bench.h: the measurements behind `aee bench`: a list of rows, each measured beside its floor in
 * the same run. A bench borrows its options; one thread at a time. */
#ifndef AEE_BENCH_BENCH_H
#define AEE_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "aee_virt.h"
#include "bench/stats.h"

#define BENCH_TEXT 320
#define BENCH_EXTRAS 12

/* What a row must reach; a zero asks for nothing. Ratios are to the floor's p50. */
struct bench_target {
    double p50_ratio;
    double p99_ratio;
    double p50;
    double p99;
    double mean;
    double least_p50; /* for figures that are better the higher they are */
    bool own;         /* the row decides by itself: bench_result.met */
};

enum bench_verdict { BENCH_NO_TARGET, BENCH_MET, BENCH_MISSED };

/* A further figure of a row; its name carries the unit. */
struct bench_extra {
    const char *name;
    double value;
};

struct bench_result {
    struct bench_summary row;
    struct bench_summary floor; /* count 0: the row has none */
    struct bench_extra extras[BENCH_EXTRAS];
    unsigned extra_count;
    bool met;                 /* see bench_target.own */
    bool unjudged;            /* of a quick run, which has too few samples for a verdict */
    char note[BENCH_TEXT];    /* "", or what a reader of this very run should know */
    char skipped[BENCH_TEXT]; /* "", or why the row could not be measured */
};

struct bench;

struct bench_row {
    const char *name;
    const char *unit;
    const char *level; /* what the row measures instead of contexts; NULL: contexts */
    const char *floor; /* NULL: none */
    const char *target_text;
    const char *how;
    struct bench_target target;
    int (*run)(struct bench *bench, struct bench_result *result); /* -1: skipped says why */
    const struct bench_row *in_cells; /* the same where contexts are no machines; NULL: this one */
};

struct bench_options {
    bool quick;      /* fewer samples: whether it works, not how fast */
    aee_level level; /* of the contexts; AUTO: the strongest that works */
};

struct bench_host {
    char kernel[160];
    char cpu[128];
    char clocksource[32];
    char exit_cost_ns[64]; /* of aee_probe() */
    uint32_t cpus;         /* that this process may use */
    double clock_cost_ns;  /* one reading of the clock, which every sample contains */
    int hardware;          /* VT-x or AMD-V is in force */
    aee_level level;       /* of the contexts */
    const char *back_end;  /* "kvm", "container", "process", "none" */
};

/* Rows in the order in which they are shown; NULL after the last. */
const struct bench_row *bench_row_at(unsigned index);
const struct bench_row *bench_find_row(const char *name);
/* The row of that name for contexts of a level: another one where its floor is of machines. */
const struct bench_row *bench_row_in(const struct bench_row *row, aee_level level);
/* The row's word for what it measures at a level: "kvm" for full, else the level's name. */
const char *bench_row_level(const struct bench_row *row, aee_level level);

/* Tries the level out. */
aee_result bench_open(const struct bench_options *options, struct bench **out, aee_error *error);
void bench_close(struct bench *bench);
aee_level bench_level(const struct bench *bench);
/* Always fills the result. */
void bench_run(struct bench *bench, const struct bench_row *row, struct bench_result *result);
void bench_describe_host(const struct bench *bench, struct bench_host *host);

enum bench_verdict bench_judge(const struct bench_row *row, const struct bench_result *result);
/* Row's p50 in terms of the floor's; 0: there is no floor. */
double bench_ratio(const struct bench_result *result);

/* What the process started by the elsewhere_process_ rows does, with the word that they give it.
 * Returns its exit status. */
int bench_sandbox_main(const char *kind);

#endif
