/* probe_x86_64.c: finds out by experiment what this host's KVM really does. One throw-away machine
 * runs a few dozen bytes of code per question; module names and CPU flags are not asked. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "base/thread.h"
#include "ept/memory.h"
#include "isolation/kvm/kvm_internal.h"

#define CODE AEE_GVA_IMAGE
#define DATA (AEE_GVA_IMAGE + 0x1000)

struct probe {
    struct aee__backend *backend;
    struct aee__vm *vm;
    struct aee__memory memory;
    struct aee__memory_plan plan;
};

__attribute__((format(printf, 5, 6))) static void add_fact(struct aee__backend *backend,
                                                           const char *name, bool usable,
                                                           const char *how, const char *format, ...)
{
    if (!backend->facts || backend->facts->count == AEE_FACTS_MAX) {
        return;
    }
    aee_fact *fact = &backend->facts->list[backend->facts->count++];
    va_list args;
    va_start(args, format);
    (void)snprintf(fact->name, sizeof fact->name, "kvm.%s", name);
    (void)vsnprintf(fact->value, sizeof fact->value, format, args);
    (void)snprintf(fact->how, sizeof fact->how, "%s", how);
    fact->usable = usable;
    va_end(args);
}

static const char *yes_no(bool value)
{
    return value ? "yes" : "no";
}

/* ---- Running a piece of code -------------------------------------------------------------- */

static aee_result start(struct probe *probe, const uint8_t *code, size_t size, aee_error *error)
{
    memcpy(aee__memory_at(&probe->memory, (struct aee__gva){CODE}, size), code, size);
    struct aee__lane_start state = {.rip = {CODE},
                                    .rsp = aee__memory_stack_top(0),
                                    .fs_base = aee__memory_tcb(0, &probe->plan),
                                    .gs_base = {AEE_GVA_LANES},
                                    .syscall = {DATA}, /* not executable */
                                    .root = probe->memory.table.base};
    return aee__kvm_lane_start(probe->vm, 0, &state, error);
}

/* Runs until something other than a stray wake-up happens. */
static void run(struct probe *probe, struct aee__exit *exit)
{
    for (unsigned tries = 0; tries < 8; tries++) {
        aee__kvm_lane_run(probe->vm, 0, exit);
        if (exit->kind != AEE__EXIT_KICKED) {
            return;
        }
    }
}

static bool run_code(struct probe *probe, const uint8_t *code, size_t size, struct aee__exit *exit)
{
    memset(exit, 0, sizeof *exit);
    if (start(probe, code, size, NULL) != AEE_OK) {
        return false;
    }
    run(probe, exit);
    return true;
}

#define RUN(probe, exit, ...)                                                                 \
    run_code((probe), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), \
             (exit))

#define OUT_EAX 0xe7, AEE_PORT_HYPERCALL
#define MOV_EAX_7 0xb8, 7, 0, 0, 0

static bool said_seven(const struct aee__exit *exit)
{
    return exit->kind == AEE__EXIT_HYPERCALL && exit->hypercall == 7;
}

static bool raised(const struct aee__exit *exit, uint32_t vector)
{
    return exit->kind == AEE__EXIT_CRASH && exit->cause == AEE_CRASH_EXCEPTION &&
           exit->vector == vector;
}

/* ---- Experiments -------------------------------------------------------------------------- */

static bool try_hypercall(struct probe *probe)
{
    enum { ROUNDS = 32 };
    struct aee__exit exit;
    bool works = RUN(probe, &exit, MOV_EAX_7, OUT_EAX, 0xeb, 0xfc) && said_seven(&exit);
    uint64_t best = UINT64_MAX;
    for (unsigned i = 0; works && i < ROUNDS; i++) {
        uint64_t begin = aee__now_ns();
        run(probe, &exit);
        uint64_t took = aee__now_ns() - begin;
        best = took < best ? took : best;
        works = said_seven(&exit);
    }
    add_fact(probe->backend, "hypercall", works, "OUT from CPL3 through the I/O permission bitmap",
             "%s", yes_no(works));
    if (works) {
        add_fact(probe->backend, "exit_cost_ns", true,
                 "least of 32 round trips from CPL3 to the library", "%llu",
                 (unsigned long long)best);
    }
    return works;
}

static bool try_exceptions(struct probe *probe)
{
    struct aee__exit exit;
    bool undefined = RUN(probe, &exit, 0x0f, 0x0b) && raised(&exit, 6);
    aee_registers registers;
    aee__kvm_lane_registers(probe->vm, 0, &registers);
    undefined = undefined && registers.rip == CODE;
    bool page_fault = RUN(probe, &exit, 0x8b, 0x04, 0x25, 0x10, 0, 0, 0) && raised(&exit, 14) &&
                      exit.fault_address == 0x10;
    bool port = RUN(probe, &exit, 0xe7, AEE_PORT_HYPERCALL + 8) && raised(&exit, 13);
    bool privileged = RUN(probe, &exit, 0xf4) && raised(&exit, 13);
    bool system = RUN(probe, &exit, 0x8b, 0x04, 0x25, 0, 0, 0x20, 0) && raised(&exit, 14);
    bool works = undefined && page_fault && port && privileged && system;
    add_fact(probe->backend, "exceptions", works,
             "UD2, null read, closed port, HLT and system area each raise their exception", "%s",
             works ? "yes" : "no");
    return works;
}

static bool try_revoke(struct probe *probe)
{
    const uint8_t write[] = {0x89, 0x04, 0x25, 0x00, 0x10, 0x40, 0x00, MOV_EAX_7, OUT_EAX};
    struct aee__exit exit;
    uint8_t *page = aee__memory_at(&probe->memory, (struct aee__gva){DATA}, 4096);
    bool before = run_code(probe, write, sizeof write, &exit) && said_seven(&exit);
    bool removed = aee__sys_protect(page, 4096, 0) == 0;
    bool refused = run_code(probe, write, sizeof write, &exit) && exit.kind == AEE__EXIT_CRASH &&
                   exit.cause == AEE_CRASH_MEMORY;
    removed = aee__sys_protect(page, 4096, 1) == 0 && removed;
    bool works = before && removed && refused;
    add_fact(probe->backend, "revoke", works,
             "a page taken from the host mapping is gone for the guest", "%s", yes_no(works));
    return works;
}

static void *kick_later(void *argument)
{
    struct probe *probe = argument;
    aee__sys_sleep(300000);
    aee__kvm_lane_kick(probe->vm, 0);
    return NULL;
}

static bool try_kick(struct probe *probe)
{
    /* mov $2^31 - 1, %ecx; again: dec %ecx; jnz again; mov $7, %eax; out: most of a second */
    const uint8_t long_loop[] = {0xb9, 0xff, 0xff, 0xff,      0x7f,   0xff,
                                 0xc9, 0x75, 0xfc, MOV_EAX_7, OUT_EAX};
    struct aee__thread thread = {0};
    struct aee__exit exit = {0};
    bool works = start(probe, long_loop, sizeof long_loop, NULL) == AEE_OK &&
                 aee__thread_start(&thread, "aee-probe", kick_later, probe, NULL) == AEE_OK;
    if (works) {
        aee__kvm_lane_run(probe->vm, 0, &exit);
        aee__thread_join(&thread);
        works = exit.kind == AEE__EXIT_KICKED;
    }
    add_fact(probe->backend, "kick", works, "a long loop is stopped from another thread", "%s",
             yes_no(works));
    return works;
}

/* In guest mode a processor obeys the guest's own EFER: SYSCALL is undefined while SCE is clear
 * (SDM vol. 2B, SYSCALL). Without hardware virtualization the guest runs as a user program of the
 * host, under the host's EFER, and SYSCALL traps to whoever plays the guest's kernel. */
static void try_hardware(struct probe *probe)
{
    struct aee__exit exit;
    probe->backend->hardware = RUN(probe, &exit, 0x0f, 0x05, OUT_EAX) && raised(&exit, 6);
    add_fact(probe->backend, "hardware", true, "SYSCALL in the guest obeys the guest's EFER", "%s",
             yes_no(probe->backend->hardware));
}

static void toggle_cr4_pge(struct probe *probe)
{
    struct kvm_sregs sregs;
    int vcpu = probe->vm->vcpus[0].fd;
    if (aee__sys_ioctl(vcpu, KVM_GET_SREGS, &sregs) == 0) {
        sregs.cr4 ^= 0x80;
        sregs.tr.type = probe->backend->tr_type;
        (void)aee__sys_ioctl(vcpu, KVM_SET_SREGS, &sregs);
    }
}

/* With nested paging the processor itself walks the guest's tables, and sees an edit after a flush;
 * a shadow copy of them does not change. */
static void try_nested_paging(struct probe *probe)
{
    /* again: mov DATA, %eax; out; jmp again */
    const uint8_t code[] = {0x8b, 0x04, 0x25, 0x00, 0x10, 0x40, 0x00, OUT_EAX, 0xeb, 0xf5};
    struct aee__exit exit;
    uint32_t *data = aee__memory_at(&probe->memory, (struct aee__gva){DATA}, 8192);
    data[0] = 1;
    data[1024] = 2;
    bool first = run_code(probe, code, sizeof code, &exit) && exit.kind == AEE__EXIT_HYPERCALL &&
                 exit.hypercall == 1;
    /* The page table that maps DATA is the one that was made for CODE, in the pool after the root
     * and the tables of the areas before it; find its entry by value. */
    const struct aee__memory_chunk *chunk = &probe->memory.chunks[0];
    uint64_t gpa = chunk->gpa.value + (uint64_t)((uint8_t *)data - chunk->host);
    uint64_t *pool = (uint64_t *)(void *)probe->memory.table.pool;
    uint64_t *entry = NULL;
    for (uint64_t i = 512; i < probe->memory.table.used * UINT64_C(512); i++) {
        if ((pool[i] & UINT64_C(0x000ffffffffff000)) == gpa) {
            entry = &pool[i];
        }
    }
    if (first && entry) {
        __atomic_store_n(entry, *entry + 4096, __ATOMIC_SEQ_CST);
        toggle_cr4_pge(probe);
        run(probe, &exit);
        probe->backend->nested_paging = exit.kind == AEE__EXIT_HYPERCALL && exit.hypercall == 2;
        __atomic_store_n(entry, *entry - 4096, __ATOMIC_SEQ_CST);
    }
    add_fact(probe->backend, "nested_paging", true,
             "the guest sees an edit of its live page tables after a flush", "%s",
             yes_no(probe->backend->nested_paging));
}

static void try_vectors(struct probe *probe)
{
    struct aee__exit exit;
    /* vpaddd %ymm0, %ymm0, %ymm0 and vfmadd231ps %ymm0, %ymm0, %ymm0 */
    bool avx2 = RUN(probe, &exit, 0xc5, 0xfd, 0xfe, 0xc0, 0xc4, 0xe2, 0x7d, 0xb8, 0xc0, MOV_EAX_7,
                    OUT_EAX) &&
                said_seven(&exit);
    /* vpaddd %zmm0, %zmm0, %zmm0 */
    bool avx512 = avx2 &&
                  RUN(probe, &exit, 0x62, 0xf1, 0x7d, 0x48, 0xfe, 0xc0, MOV_EAX_7, OUT_EAX) &&
                  said_seven(&exit);
    probe->backend->features = (avx2 ? AEE_FEATURE_AVX2 : 0) | (avx512 ? AEE_FEATURE_AVX512 : 0);
    add_fact(probe->backend, "avx2", true, "the guest executed AVX2 and FMA instructions", "%s",
             yes_no(avx2));
    add_fact(probe->backend, "avx512", true, "the guest executed an AVX-512F instruction", "%s",
             yes_no(avx512));
}

/* ---- The machine -------------------------------------------------------------------------- */

static aee_result set_up(struct probe *probe, aee_error *error)
{
    probe->plan = (struct aee__memory_plan){
        .lanes = 1,
        .stack_size = 4096,
        .tls_align = 1,
        .segment_count = 2,
        .segments = {{.start = {CODE}, .size = 4096, .rights = AEE__PT_EXECUTE},
                     {.start = {DATA}, .size = 8192, .rights = AEE__PT_WRITE}}};
    aee_result result = aee__memory_create(&probe->memory, &probe->plan, error);
    if (result != AEE_OK) {
        return result;
    }
    result = aee__kvm_vm_create(probe->backend, &probe->vm, error);
    if (result != AEE_OK) {
        return result;
    }
    const struct aee__memory_chunk *chunk = &probe->memory.chunks[0];
    result = aee__kvm_vm_add_memory(probe->vm, chunk->gpa, chunk->host, chunk->size, error);
    if (result == AEE_OK) {
        uint64_t size = AEE__SYSTEM_PAGES * UINT64_C(4096);
        probe->vm->system = aee__memory_at(&probe->memory, (struct aee__gva){AEE_GVA_SYSTEM}, size);
        aee__kvm_system_write(probe->vm->system, size, 1);
    }
    return result;
}

static aee_result experiment(struct probe *probe, aee_error *error)
{
    /* What cannot be done without, each with its own sentence. */
    const struct {
        bool (*works)(struct probe *);
        const char *lacks;
    } needed[] = {
        {try_hypercall, "a CPL3 guest cannot reach the host through its I/O permission bitmap"},
        {try_exceptions, "guest exceptions do not arrive through the guest's IDT"},
        {try_revoke, "memory cannot be revoked from a guest"},
        {try_kick, "a running vCPU cannot be kicked"},
    };
    for (unsigned i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (!needed[i].works(probe)) {
            return aee__fail(error, AEE_ERR_UNSUPPORTED, "/dev/kvm does not serve here: %s",
                             needed[i].lacks);
        }
    }
    try_hardware(probe);
    try_nested_paging(probe);
    try_vectors(probe);
    return AEE_OK;
}

aee_result aee__kvm_probe(struct aee__backend *backend, aee_error *error)
{
    struct probe probe = {.backend = backend, .memory = {.fd = -1}};
    sigset_t mask;
    add_fact(backend, "device", true, "opened /dev/kvm and asked for its API version", "API %d",
             KVM_API_VERSION);
    (void)aee__sys_block_signal(backend->kick_signal, &mask);
    aee_result result = set_up(&probe, error);
    if (result == AEE_OK) {
        result = experiment(&probe, error);
    }
    aee__kvm_vm_destroy(probe.vm);
    aee__memory_destroy(&probe.memory);
    (void)aee__sys_restore_mask(&mask);
    add_fact(backend, "sync_regs", true, "KVM_CAP_SYNC_REGS", "%s", yes_no(backend->sync_regs));
    add_fact(backend, "guest_xcr0", true, "extended states that KVM lets the guest enable",
             "0x%llx", (unsigned long long)backend->xcr0);
    return result;
}
