/* elsewhere_process.c: the same empty call into another process, for comparison: over shared memory
 * with futexes or by spinning, and over pipes. */
#include "bench/process.h"
#include "bench/rows.h"

static int run(struct bench *bench, const char *kind, struct bench_result *result)
{
    struct bench_process process;
    const struct bench_pair pair = {.row = bench_process_measure,
                                    .row_user = &process,
                                    .rounds = bench_scale(bench, 20),
                                    .row_count = 1000};
    int status = bench_process_open(&process, bench, kind, result);
    if (status == 0) {
        status = bench_interleave(&pair, result);
    }
    bench_process_close(&process);
    return status;
}

static int run_spin(struct bench *bench, struct bench_result *result)
{
    if (bench_need_two_cpus(bench, result) != 0) {
        return -1;
    }
    bench_cpus_pin(bench->cpu_here);
    return run(bench, "spin", result);
}

static int run_futex(struct bench *bench, struct bench_result *result)
{
    return run(bench, "futex", result);
}

static int run_pipe(struct bench *bench, struct bench_result *result)
{
    return run(bench, "pipe", result);
}

const struct bench_row bench_row_elsewhere_process_spin = {
    .name = "elsewhere_process_spin",
    .unit = "ns",
    .level = "process",
    .target_text = "",
    .how = "an empty call into a child process over shared memory; both spin, each on a processor "
           "of its own",
    .run = run_spin,
};

const struct bench_row bench_row_elsewhere_process_futex = {
    .name = "elsewhere_process_futex",
    .unit = "ns",
    .level = "process",
    .target_text = "",
    .how = "the same with futexes: both sleep while they wait; the scheduler places them",
    .run = run_futex,
};

const struct bench_row bench_row_elsewhere_process_pipe = {
    .name = "elsewhere_process_pipe",
    .unit = "ns",
    .level = "process",
    .target_text = "",
    .how = "the same over two pipes; the scheduler places both",
    .run = run_pipe,
};
