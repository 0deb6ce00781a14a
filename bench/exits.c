#include "bench/exits.h"

#include <stdlib.h>

#include "bench/machine.h"
#include "bench/process.h"

enum { WARM_UP = 200, MEMORY = 4 << 20 };

struct bench_exits {
    bool machines;
    struct bench_machine machine;
    struct bench_process process;
};

static int open_machine(struct bench_exits *exits, struct bench_result *result)
{
    /* again: out %al, $0x10; jmp again */
    static const uint8_t code[] = {0xe6, BENCH_MACHINE_PORT, 0xeb, 0xfc};
    struct bench_kvm kvm;
    int status = bench_kvm_open(&kvm, result);
    if (status == 0) {
        status = bench_machine_open(&exits->machine, &kvm, MEMORY, code, sizeof code, result);
    }
    bench_kvm_close(&kvm);
    return status;
}

/* The child runs on the processor on which its calls are made, as a lane of a cell does. */
static int open_process(struct bench_exits *exits, const struct bench *bench,
                        struct bench_result *result)
{
    bench_cpus_pin(bench->cpu_here);
    return bench_process_open(&exits->process, bench, "futex", result);
}

int bench_exits_open(struct bench_exits **out, const struct bench *bench,
                     struct bench_result *result)
{
    struct bench_exits *exits = calloc(1, sizeof *exits);
    *out = exits;
    if (!exits) {
        return bench_skip(result, "there is no memory");
    }
    exits->machine = (struct bench_machine){.vm = -1, .vcpu = -1};
    exits->machines = bench->level == AEE_LEVEL_FULL;
    return exits->machines ? open_machine(exits, result) : open_process(exits, bench, result);
}

void bench_exits_close(struct bench_exits *exits)
{
    if (exits) {
        bench_machine_close(&exits->machine);
        bench_process_close(&exits->process);
        free(exits);
    }
}

static int once(struct bench_exits *exits, struct bench_result *result)
{
    return exits->machines ? bench_machine_run(&exits->machine, result)
           : exits->process.call(&exits->process) == 0
               ? 0
               : bench_skip(result, "the child process is gone");
}

int bench_exits_measure(struct bench_exits *exits, struct bench_samples *samples, uint32_t count,
                        uint32_t in_a_row, struct bench_result *result)
{
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < WARM_UP; i++) {
        status = once(exits, result);
    }
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        const uint64_t before = bench_now();
        for (uint32_t n = 0; status == 0 && n < in_a_row; n++) {
            status = once(exits, result);
        }
        bench_samples_add(samples, (double)(bench_now() - before));
    }
    return status;
}
