/* backend.c: opening the back end without isolation, its machines, and its table of operations. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "ept/pagetable.h"
#include "isolation/none/none.h"
#include "isolation/none/none_internal.h"

#ifndef HWCAP2_FSGSBASE /* asm/hwcap2.h */
#define HWCAP2_FSGSBASE (1 << 1)
#endif

extern const uint8_t aee__vdso_none_start[];
extern const uint8_t aee__vdso_none_end[];

/* ---- Machines ----------------------------------------------------------------------------- */

static aee_result vm_create(struct aee__backend *backend, struct aee__vm **out, aee_error *error)
{
    *out = aee__alloc_zero(backend->alloc, 1, sizeof **out);
    if (!*out) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot create a machine: out of memory");
    }
    (*out)->backend = backend;
    return AEE_OK;
}

static void vm_destroy(struct aee__vm *vm)
{
    if (!vm) {
        return;
    }
    aee__none_window_drop(vm);
    for (uint32_t lane = 0; lane < AEE_MAX_LANES; lane++) {
        aee__none_block_give(vm->lanes[lane].block);
    }
    aee__alloc_free(vm->backend->alloc, vm, sizeof *vm);
}

/* ---- Finding out what works --------------------------------------------------------------- */

static aee_result check_process(aee_error *error)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED
    return aee__fail(error, AEE_ERR_UNSUPPORTED,
                     "a sanitizer's shadow memory lies where components do");
#else
    uint64_t shadow_stack = 0;
    __asm__ volatile("rdsspq %0" : "+r"(shadow_stack)); /* does nothing where there is none */
    return shadow_stack == 0 ? AEE_OK
                             : aee__fail(error, AEE_ERR_UNSUPPORTED,
                                         "the process has shadow stacks, which allow no others");
#endif
}

/* A component's lane on trial makes two hypercalls. It does not fault: debuggers would stop. */
static aee_result fill_trial(uint8_t *memory, struct aee__vm *vm, int fd, aee_error *error)
{
    // clang-format off
    static const uint8_t code[] = {
        0xbf, 0x01, 0, 0, 0,                         /* mov $AEE_HC_PARK, %edi */
        0x65, 0x48, 0x8b, 0x34, 0x25, 0x50, 0, 0, 0, /* mov %gs:80, %rsi */
        0x65, 0xff, 0x14, 0x25, 0x48, 0, 0, 0,       /* call *%gs:72 */
        0xbf, 0x02, 0, 0, 0,                         /* mov $AEE_HC_NOTIFY, %edi */
        0x65, 0x48, 0x8b, 0x34, 0x25, 0x50, 0, 0, 0, /* mov %gs:80, %rsi */
        0x65, 0xff, 0x14, 0x25, 0x48, 0, 0, 0,       /* call *%gs:72 */
    };
    // clang-format on
    _Static_assert(offsetof(struct aee_abi_lane, own.gate) == 72, "the code above names it");
    _Static_assert(offsetof(struct aee_abi_lane, own.gate_argument) == 80, "and this");
    const struct aee__file_map list[] = {
        {.gva = {AEE_GVA_IMAGE}, .size = 4096, .rights = AEE__PT_EXECUTE},
        {.gva = {AEE_GVA_LANES}, .offset = 4096, .size = 4096, .rights = AEE__PT_WRITE}};
    const struct aee__lane_start start = {
        .rip = {AEE_GVA_IMAGE}, .rsp = {AEE_GVA_LANES + 4096}, .gs_base = {AEE_GVA_LANES}};
    memcpy(memory, code, sizeof code);
    aee_result result = aee__none_map(vm, fd, list, 2, error);
    return result == AEE_OK ? aee__none_lane_start(vm, 0, &start, error) : result;
}

static aee_result run_trial(struct aee__vm *vm, aee_error *error)
{
    struct aee__exit exit;
    aee__none_lane_run(vm, 0, &exit);
    if (exit.kind == AEE__EXIT_HYPERCALL && exit.hypercall == AEE_HC_PARK) {
        aee__none_lane_run(vm, 0, &exit);
        if (exit.kind == AEE__EXIT_HYPERCALL && exit.hypercall == AEE_HC_NOTIFY) {
            return AEE_OK;
        }
    }
    return aee__fail(error, AEE_ERR_UNSUPPORTED, "a lane on trial did not do as it should%s%s",
                     exit.detail[0] ? ": " : "", exit.detail);
}

static aee_result probe(struct aee__backend *backend, aee_error *error)
{
    struct aee__vm *vm;
    sigset_t mask;
    uint8_t *memory = MAP_FAILED;
    const uint64_t size = 8192;
    aee_result result = vm_create(backend, &vm, error);
    if (result != AEE_OK) {
        return result;
    }
    int fd = aee__sys_memfd("aee-probe", size);
    if (fd >= 0) {
        memory = aee__sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    result = memory == MAP_FAILED ? aee__fail_os(error, errno, "cannot make a memory file")
                                  : fill_trial(memory, vm, fd, error);
    if (result == AEE_OK) {
        (void)aee__sys_block_signal(backend->kick_signal, &mask);
        result = run_trial(vm, error);
        (void)aee__sys_restore_mask(&mask);
    }
    if (memory != MAP_FAILED) {
        (void)aee__sys_munmap(memory, size);
    }
    (void)aee__sys_close(fd);
    vm_destroy(vm);
    return result;
}

static void add_fact(struct aee__facts *facts, bool usable)
{
    if (!facts || facts->count == AEE_FACTS_MAX) {
        return;
    }
    aee_fact *fact = &facts->list[facts->count++];
    (void)snprintf(fact->name, sizeof fact->name, "none.lane");
    (void)snprintf(fact->value, sizeof fact->value, "%s", usable ? "yes" : "no");
    (void)snprintf(fact->how, sizeof fact->how, "a lane on trial made hypercalls");
    fact->usable = usable;
}

/* Tests have it both ways: system calls do the same. */
static bool has_fsgsbase(void)
{
#ifdef AEE_TESTING
    if (getenv("AEE_NONE_WITHOUT_FSGSBASE")) {
        return false;
    }
#endif
    return (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) != 0;
}

static uint64_t find_features(void)
{
    uint64_t avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    uint64_t avx512 = __builtin_cpu_supports("avx512f") != 0;
    return (avx2 ? AEE_FEATURE_AVX2 : 0) | (avx512 ? AEE_FEATURE_AVX512 : 0);
}

/* ---- Opening ------------------------------------------------------------------------------ */

static void backend_close(struct aee__backend *backend)
{
    if (backend) {
        aee__none_window_close(backend->kick_signal);
        aee__alloc_free(backend->alloc, backend, sizeof *backend);
    }
}

static aee_result backend_open(const struct aee__alloc *alloc, int kick_signal,
                               struct aee__facts *facts, struct aee__backend **out,
                               aee_error *error)
{
    *out = NULL;
    aee_result result = check_process(error);
    if (result != AEE_OK) {
        return result;
    }
    struct aee__backend *backend = aee__alloc_zero(alloc, 1, sizeof *backend);
    if (!backend) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot open the back end none: out of memory");
    }
    backend->alloc = alloc;
    backend->kick_signal = kick_signal;
    backend->has_fsgsbase = has_fsgsbase();
    backend->features = find_features();
    result = aee__none_window_open(kick_signal, error);
    if (result != AEE_OK) {
        aee__alloc_free(alloc, backend, sizeof *backend);
        return result;
    }
    result = probe(backend, error);
    add_fact(facts, result == AEE_OK);
    if (result != AEE_OK) {
        backend_close(backend);
        return result;
    }
    *out = backend;
    return AEE_OK;
}

static uint64_t features(const struct aee__backend *backend)
{
    return backend->features;
}

static bool no_hardware(const struct aee__backend *backend)
{
    (void)backend;
    return false;
}

const struct aee__backend_ops aee__none_backend = {.name = "none",
                                                   .level = AEE_LEVEL_NONE,
                                                   .vdso = aee__vdso_none_start,
                                                   .vdso_end = aee__vdso_none_end,
                                                   .direct_only = true,
                                                   .open = backend_open,
                                                   .close = backend_close,
                                                   .features = features,
                                                   .hardware = no_hardware,
                                                   .nested_paging = no_hardware,
                                                   .vm_create = vm_create,
                                                   .vm_destroy = vm_destroy,
                                                   .vm_map = aee__none_map,
                                                   .vm_unmap = aee__none_unmap,
                                                   .lane_start = aee__none_lane_start,
                                                   .lane_run = aee__none_lane_run,
                                                   .lane_kick = aee__none_lane_kick,
                                                   .lane_registers = aee__none_lane_registers};
