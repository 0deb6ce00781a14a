#include "bench/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Guest physical addresses, which are the virtual ones too. */
enum { PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, GDT = 0x4000, TSS = 0x6000, STACK = 0x20000 };
enum { PAGE_TABLES = 0x100000, PAGE = 4096, LARGE_PAGE = 0x200000 };
enum { TSS_SELECTOR = 0x30, TSS_BITMAP = 0x68, TSS_BITMAP_SIZE = 32, TSS_BITMAP_BASE = 102 };
enum { TSS_LIMIT = TSS_BITMAP + TSS_BITMAP_SIZE };

/* Present, writable, user; accessed and dirty set, so that no walk has to write them (SDM vol. 3A,
 * 4.5 and 4.8). */
enum { PAGE_TABLE_FLAGS = 0x27, PAGE_FLAGS = 0x67 };

int bench_kvm_open(struct bench_kvm *kvm, struct bench_result *result)
{
    memset(kvm, 0, sizeof *kvm);
    kvm->fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm->fd < 0) {
        return bench_skip(result, "cannot open /dev/kvm: %s", strerror(errno));
    }
    const int size = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    kvm->cpuid.header.nent = BENCH_MACHINE_CPUID;
    if (size < (int)sizeof(struct kvm_run) ||
        ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, &kvm->cpuid) != 0) {
        return bench_skip(result, "/dev/kvm did not answer: %s", strerror(errno));
    }
    kvm->run_size = (size_t)size;
    return 0;
}

void bench_kvm_close(struct bench_kvm *kvm)
{
    if (kvm->fd >= 0) {
        (void)close(kvm->fd);
        kvm->fd = -1;
    }
}

/* ---- Memory ------------------------------------------------------------------------------- */

static void put64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}

static void write_page_tables(uint8_t *memory, size_t size)
{
    put64(memory + PML4, PDPT | PAGE_TABLE_FLAGS);
    put64(memory + PDPT, PD | PAGE_TABLE_FLAGS);
    for (uint64_t page = 0; page < size / PAGE; page++) {
        put64(memory + PAGE_TABLES + 8 * page, page * PAGE | PAGE_FLAGS);
    }
    for (uint64_t table = 0; table < size / LARGE_PAGE; table++) {
        put64(memory + PD + 8 * table, (PAGE_TABLES + table * PAGE) | PAGE_TABLE_FLAGS);
    }
}

/* Segments, and task state with an I/O bitmap in which one port is open (SDM vol. 1, 19.5.2). */
static void write_system(uint8_t *memory)
{
    uint8_t *tss = memory + TSS;
    put64(memory + GDT + 0x08, UINT64_C(0x00af9b000000ffff)); /* CPL0 code */
    put64(memory + GDT + 0x10, UINT64_C(0x00cf93000000ffff)); /* CPL0 data */
    put64(memory + GDT + 0x20, UINT64_C(0x00cff3000000ffff)); /* CPL3 data */
    put64(memory + GDT + 0x28, UINT64_C(0x00affb000000ffff)); /* CPL3 code */
    put64(memory + GDT + TSS_SELECTOR, TSS_LIMIT | (uint64_t)TSS << 16 | UINT64_C(0x89) << 40);
    put64(tss + 4, STACK);
    tss[TSS_BITMAP_BASE] = TSS_BITMAP;
    memset(tss + TSS_BITMAP, 0xff, TSS_BITMAP_SIZE + 1);
    tss[TSS_BITMAP + BENCH_MACHINE_PORT / 8] &= (uint8_t) ~(1u << BENCH_MACHINE_PORT % 8);
}

static int add_memory(struct bench_machine *machine, size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return -1;
    }
    machine->memory = memory;
    machine->size = size;
    const struct kvm_userspace_memory_region slot = {.memory_size = size,
                                                     .userspace_addr = (uint64_t)(uintptr_t)memory};
    return ioctl(machine->vm, KVM_SET_USER_MEMORY_REGION, &slot);
}

/* ---- Processor ---------------------------------------------------------------------------- */

static int set_registers(int vcpu)
{
    const struct kvm_segment code = {.limit = 0xffffffff,
                                     .selector = 0x2b,
                                     .present = 1,
                                     .type = 11,
                                     .dpl = 3,
                                     .s = 1,
                                     .l = 1,
                                     .g = 1};
    struct kvm_segment data = code;
    data.selector = 0x23;
    data.type = 3;
    data.l = 0;
    data.db = 1;
    struct kvm_sregs sregs;
    if (ioctl(vcpu, KVM_GET_SREGS, &sregs) != 0) {
        return -1;
    }
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.tr = (struct kvm_segment){
        .base = TSS, .limit = TSS_LIMIT, .selector = TSS_SELECTOR, .present = 1, .type = 11};
    sregs.gdt = (struct kvm_dtable){.base = GDT, .limit = 0x7f};
    sregs.cr0 = 0x80050033; /* PG AM WP NE ET MP PE */
    sregs.cr3 = PML4;
    sregs.cr4 = 0x620;  /* PAE OSFXSR OSXMMEXCPT */
    sregs.efer = 0xd00; /* LME LMA NXE */
    const struct kvm_regs regs = {.rip = BENCH_MACHINE_CODE, .rsp = STACK, .rflags = 0x202};
    return ioctl(vcpu, KVM_SET_SREGS, &sregs) != 0 ? -1 : ioctl(vcpu, KVM_SET_REGS, &regs);
}

static int add_vcpu(struct bench_machine *machine, const struct bench_kvm *kvm)
{
    machine->vcpu = ioctl(machine->vm, KVM_CREATE_VCPU, 0);
    if (machine->vcpu < 0) {
        return -1;
    }
    void *run = mmap(NULL, kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, machine->vcpu, 0);
    if (run == MAP_FAILED) {
        return -1;
    }
    machine->run = run;
    machine->run_size = kvm->run_size;
    return ioctl(machine->vcpu, KVM_SET_CPUID2, &kvm->cpuid);
}

/* ---- Life --------------------------------------------------------------------------------- */

int bench_machine_open(struct bench_machine *machine, const struct bench_kvm *kvm, size_t size,
                       const uint8_t *code, size_t code_size, struct bench_result *result)
{
    *machine = (struct bench_machine){.vcpu = -1};
    machine->vm = ioctl(kvm->fd, KVM_CREATE_VM, 0);
    if (machine->vm < 0 || add_memory(machine, size) != 0 || add_vcpu(machine, kvm) != 0) {
        return bench_skip(result, "no bare virtual machine for the floor: %s", strerror(errno));
    }
    write_page_tables(machine->memory, size);
    write_system(machine->memory);
    memcpy(machine->memory + BENCH_MACHINE_CODE, code, code_size);
    if (set_registers(machine->vcpu) != 0) {
        return bench_skip(result, "the floor's registers were refused: %s", strerror(errno));
    }
    return 0;
}

void bench_machine_close(struct bench_machine *machine)
{
    if (machine->run) {
        (void)munmap(machine->run, machine->run_size);
    }
    if (machine->vcpu >= 0) {
        (void)close(machine->vcpu);
    }
    if (machine->vm >= 0) {
        (void)close(machine->vm);
    }
    if (machine->memory) {
        (void)munmap(machine->memory, machine->size);
    }
    *machine = (struct bench_machine){.vm = -1, .vcpu = -1};
}

int bench_machine_populate(struct bench_machine *machine, struct bench_result *result)
{
    if (madvise(machine->memory, machine->size, MADV_POPULATE_WRITE) != 0) {
        return bench_skip(result, "the floor's memory could not be had: %s", strerror(errno));
    }
    return 0;
}

int bench_machine_run(struct bench_machine *machine, struct bench_result *result)
{
    if (ioctl(machine->vcpu, KVM_RUN, 0) != 0) {
        return bench_skip(result, "KVM_RUN of the floor failed: %s", strerror(errno));
    }
    const struct kvm_run *run = machine->run;
    return run->exit_reason == KVM_EXIT_IO && run->io.port == BENCH_MACHINE_PORT
               ? 0
               : bench_skip(result, "the floor's machine ended with exit %u", run->exit_reason);
}
