/* machine.h: the least virtual machine that runs code at CPL3, on raw KVM ioctls: the floor of rows
 * about exits, creation and memory. Owns its descriptors and memory. One thread, unless said
 * otherwise. */
#ifndef AEE_BENCH_MACHINE_H
#define AEE_BENCH_MACHINE_H

#include <linux/kvm.h>
#include <stddef.h>

#include "bench/internal.h"

#define BENCH_MACHINE_CODE 0x10000u  /* guest address, as are all here */
#define BENCH_MACHINE_DATA 0x200000u /* the first byte that neither code nor tables use */
#define BENCH_MACHINE_PORT 0x10u     /* open to CPL3 */
#define BENCH_MACHINE_CPUID 256u

/* /dev/kvm and what is asked of it once. */
struct bench_kvm {
    int fd;
    size_t run_size;
    struct {
        struct kvm_cpuid2 header;
        struct kvm_cpuid_entry2 entries[BENCH_MACHINE_CPUID];
    } cpuid;
};

struct bench_machine {
    int vm;
    int vcpu;
    struct kvm_run *run;
    size_t run_size;
    uint8_t *memory;
    size_t size;
};

int bench_kvm_open(struct bench_kvm *kvm, struct bench_result *result);
void bench_kvm_close(struct bench_kvm *kvm);

/* A machine with `size` bytes of memory (a multiple of 2 MiB, at most 512 MiB) and one vCPU that
 * stands before `code`. Close it in any case. */
int bench_machine_open(struct bench_machine *machine, const struct bench_kvm *kvm, size_t size,
                       const uint8_t *code, size_t code_size, struct bench_result *result);
void bench_machine_close(struct bench_machine *machine);
/* Backs all memory with pages now. */
int bench_machine_populate(struct bench_machine *machine, struct bench_result *result);
/* Runs until the guest writes to the port. */
int bench_machine_run(struct bench_machine *machine, struct bench_result *result);

#endif
