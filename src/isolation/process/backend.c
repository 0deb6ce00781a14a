/* backend.c: opening the process back end, its machines, and its tables of operations. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "ept/pagetable.h"
#include "isolation/process/process.h"
#include "isolation/process/process_internal.h"

extern const uint8_t aee__cell_start[]; /* the program, cell.c */
extern const uint8_t aee__cell_end[];
extern const uint8_t aee__vdso_cell_start[];
extern const uint8_t aee__vdso_cell_end[];

/* ---- Machines ----------------------------------------------------------------------------- */

static void vm_destroy(struct aee__vm *vm)
{
    if (!vm) {
        return;
    }
    bool started = vm->started;
    aee__keeper_bury(vm);
    if (started) {
        aee__cgroups_leave(&vm->backend->groups, vm->id);
    }
    if (vm->control != MAP_FAILED) {
        (void)aee__sys_munmap(vm->control, sizeof *vm->control);
    }
    (void)aee__sys_close(vm->control_fd);
    (void)aee__sys_close(vm->socket);
    (void)aee__sys_close(vm->track);
    (void)aee__sys_close(vm->pagemap);
    for (uint32_t lane = 0; lane < AEE_MAX_LANES; lane++) {
        (void)pthread_mutex_destroy(&vm->lanes[lane].lock);
    }
    (void)pthread_mutex_destroy(&vm->orders_lock);
    aee__alloc_free(vm->backend->alloc, vm, sizeof *vm);
}

static aee_result make_control(struct aee__vm *vm, aee_error *error)
{
    vm->control_fd = aee__sys_memfd("aee-cell", sizeof *vm->control);
    if (vm->control_fd >= 0) {
        vm->control = aee__sys_mmap(NULL, sizeof *vm->control, PROT_READ | PROT_WRITE, MAP_SHARED,
                                    vm->control_fd, 0);
    }
    if (vm->control == MAP_FAILED) {
        return aee__fail_os(error, errno, "cannot create a cell");
    }
    (void)aee__sys_madvise(vm->control, sizeof *vm->control, MADV_DONTFORK);
    return AEE_OK;
}

/* The program waits for a byte from us, so that it cannot outlive an engine that ended meanwhile.
 */
static aee_result start_program(struct aee__vm *vm, aee_error *error)
{
    int ends[2];
    if (aee__sys_socket_pair(ends) != 0) {
        return aee__fail_os(error, errno, "cannot create a cell");
    }
    vm->socket = ends[0];
    aee_result result = aee__keeper_spawn(vm, ends[1], error);
    (void)aee__sys_close(vm->control_fd);
    vm->control_fd = -1;
    (void)aee__sys_close(ends[1]);
    if (result == AEE_OK && aee__sys_send(vm->socket, -1) != 0) {
        result = aee__fail_os(error, errno, "cannot create a cell: it does not answer");
    }
    return result;
}

static aee_result vm_create(struct aee__backend *backend, struct aee__vm **out, aee_error *error)
{
    *out = NULL;
    struct aee__vm *vm = aee__alloc_zero(backend->alloc, 1, sizeof *vm);
    if (!vm) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot create a cell: out of memory");
    }
    vm->backend = backend;
    vm->control = MAP_FAILED;
    vm->control_fd = -1;
    vm->socket = -1;
    vm->track = -1;
    vm->pagemap = -1;
    (void)pthread_mutex_init(&vm->orders_lock, NULL);
    for (uint32_t lane = 0; lane < AEE_MAX_LANES; lane++) {
        (void)pthread_mutex_init(&vm->lanes[lane].lock, NULL);
    }
    aee_result result = make_control(vm, error);
    if (result == AEE_OK) {
        result = start_program(vm, error);
    }
    if (result == AEE_OK &&
        !aee__cgroups_enter(&backend->groups, vm->id, vm->process.pid, AEE_MAX_LANES + 1)) {
        result = aee__fail_os(error, errno, "cannot create a cell: its control group");
    }
    if (result == AEE_OK) {
        aee__cell_prepare_tracking(vm);
        result = aee__cell_prepare(vm, error);
    }
    if (result != AEE_OK) {
        vm_destroy(vm);
        return result;
    }
    *out = vm;
    return AEE_OK;
}

static aee_result vm_seal(struct aee__vm *vm, aee__vm_ended_fn *notice, void *user,
                          aee_error *error)
{
    struct aee__keeper *keeper = &vm->backend->keeper;
    uint32_t lanes = 0;
    while (lanes < AEE_MAX_LANES && vm->lanes[lanes].thread > 0) {
        lanes++;
    }
    if (!aee__cgroups_set_cpus(&vm->backend->groups, vm->id, lanes)) {
        return aee__fail_os(error, errno, "cannot start a cell: its control group");
    }
    aee_result result = aee__cell_seal(vm, error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&keeper->lock);
    bool ended = vm->reaped;
    vm->notice = notice;
    vm->notice_user = user;
    if (!keeper->watches) { /* what is sealed it does */
        aee__sys_event_set(keeper->event);
    }
    (void)pthread_mutex_unlock(&keeper->lock);
    return ended ? aee__fail(error, AEE_ERR_SYSTEM, "cannot seal a cell: it has ended") : AEE_OK;
}

static void vm_adopt(struct aee__vm *vm, void *user)
{
    (void)pthread_mutex_lock(&vm->backend->keeper.lock);
    vm->notice_user = user;
    (void)pthread_mutex_unlock(&vm->backend->keeper.lock);
}

static bool vm_has_ended(const struct aee__vm *vm)
{
    return atomic_load(&vm->ended);
}

/* Its number stays ours until it is buried. */
static void vm_stop(struct aee__vm *vm)
{
    (void)aee__sys_process_kill(vm->process.pidfd);
}

/* ---- Finding out what works --------------------------------------------------------------- */

#define PROBE_CODE AEE_GVA_IMAGE

static aee_result probe_map(struct aee__vm *vm, const uint8_t *code, size_t size, aee_error *error)
{
    const struct aee__file_map mapping = {
        .gva = {PROBE_CODE}, .size = 4096, .rights = AEE__PT_EXECUTE};
    int fd = aee__sys_memfd("aee-probe", mapping.size);
    if (fd < 0) {
        return aee__fail_os(error, errno, "cannot create a memory file");
    }
    void *host = aee__sys_mmap(NULL, mapping.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    aee_result result =
        host == MAP_FAILED ? aee__fail_os(error, errno, "cannot map a memory file") : AEE_OK;
    if (result == AEE_OK) {
        memcpy(host, code, size);
        (void)aee__sys_munmap(host, mapping.size);
        result = aee__cell_map(vm, fd, &mapping, 1, error);
    }
    (void)aee__sys_close(fd);
    return result;
}

/* A cell makes a hypercall, and then a system call, which must be kept from it. */
static aee_result probe_run(struct aee__vm *vm, aee_error *error)
{
    static const uint8_t code[] = {
        0xbe, 0,    0, 0, 0,                      /* mov $0, %esi: lane */
        0xbf, 0x01, 0, 0, 0,                      /* mov $AEE_HC_PARK, %edi */
        0x48, 0xb8, 0, 0, 0, 0, 0x00, 0x60, 0, 0, /* movabs $AEE_CELL_HYPERCALL, %rax */
        0xff, 0xd0,                               /* call *%rax */
        0xb8, 0x27, 0, 0, 0,                      /* mov $getpid, %eax */
        0x0f, 0x05,                               /* syscall */
    };
    _Static_assert(AEE_CELL_HYPERCALL == UINT64_C(0x600000000000), "the code above calls it");
    const struct aee__lane_start start = {.rip = {PROBE_CODE}, .rsp = {AEE_CELL_SCRATCH + 4096}};
    struct aee__exit exit;
    aee_result result = probe_map(vm, code, sizeof code, error);
    if (result == AEE_OK) {
        result = aee__cell_lane_start(vm, 0, &start, error);
    }
    if (result == AEE_OK) {
        result = aee__cell_seal(vm, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    aee__cell_lane_run(vm, 0, &exit);
    if (exit.kind == AEE__EXIT_HYPERCALL && exit.hypercall == AEE_HC_PARK) {
        aee__cell_lane_run(vm, 0, &exit);
        if (exit.kind == AEE__EXIT_CRASH && exit.cause == AEE_CRASH_SYSCALL) {
            return AEE_OK;
        }
    }
    return aee__fail(error, AEE_ERR_UNSUPPORTED, "a cell on trial did not do as it should%s%s",
                     exit.detail[0] ? ": " : "", exit.detail);
}

static aee_result probe(struct aee__backend *backend, aee_error *error)
{
    struct aee__vm *vm;
    aee_result result = vm_create(backend, &vm, error);
    if (result == AEE_OK) {
        result = probe_run(vm, error);
        vm_destroy(vm);
    }
    return result;
}

static uint64_t find_features(void)
{
    uint64_t avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    uint64_t avx512 = __builtin_cpu_supports("avx512f") != 0;
    return (avx2 ? AEE_FEATURE_AVX2 : 0) | (avx512 ? AEE_FEATURE_AVX512 : 0);
}

static void add_fact(struct aee__facts *facts, const char *name, bool usable, const char *how)
{
    if (!facts || facts->count == AEE_FACTS_MAX) {
        return;
    }
    aee_fact *fact = &facts->list[facts->count++];
    (void)snprintf(fact->name, sizeof fact->name, "%s", name);
    (void)snprintf(fact->value, sizeof fact->value, "%s", usable ? "yes" : "no");
    (void)snprintf(fact->how, sizeof fact->how, "%s", how);
    fact->usable = usable;
}

/* ---- Opening ------------------------------------------------------------------------------ */

static void backend_close(struct aee__backend *backend)
{
    if (backend) {
        aee__keeper_stop(backend);
        aee__cgroups_close(&backend->groups);
        aee__filter_destroy(&backend->servant);
        aee__filter_destroy(&backend->lane);
        (void)aee__sys_close(backend->program);
        aee__alloc_free(backend->alloc, backend, sizeof *backend);
    }
}

static aee_result start_parts(struct aee__backend *backend, aee_error *error)
{
    backend->program =
        aee__sys_program("aee-cell", aee__cell_start, (size_t)(aee__cell_end - aee__cell_start));
    aee_result result = backend->program >= 0
                            ? AEE_OK
                            : aee__fail_os(error, errno, "cannot make the cell's program");
    if (result == AEE_OK) {
        result = aee__filters_make(backend, error);
    }
    return result == AEE_OK ? aee__keeper_start(backend, error) : result;
}

static struct aee__backend *make_backend(const struct aee__alloc *alloc, aee_error *error)
{
    struct aee__backend *backend = aee__alloc_zero(alloc, 1, sizeof *backend);
    if (!backend) {
        (void)aee__fail(error, AEE_ERR_NO_MEMORY, "cannot open the back end: out of memory");
        return NULL;
    }
    *backend = (struct aee__backend){.alloc = alloc, .program = -1, .features = find_features()};
    backend->keeper.poll = -1;
    backend->keeper.event = -1;
    return backend;
}

/* ---- Level container ---------------------------------------------------------------------- */

#define NEEDED (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET)
#define LESSER (CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

/* From best to worst. A user namespace gives an engine without privileges the right to the others;
 * one with privileges can do without where the host forbids it. The lesser ones hide what a cell
 * has no system call for. */
static const struct {
    uint64_t namespaces;
    const char *shortfall;
} variants[] = {
    {CLONE_NEWUSER | NEEDED | LESSER, ""},
    {NEEDED | LESSER, "no user namespace"},
    {CLONE_NEWUSER | NEEDED, "no namespaces for ipc, uts and cgroup"},
    {NEEDED, "no namespaces for user, ipc, uts and cgroup"},
};
#define VARIANTS (sizeof variants / sizeof variants[0])

/* The sentence is about the best one. */
static aee_result choose_variant(struct aee__backend *backend, aee_error *error)
{
    aee_result result = AEE_ERR_UNSUPPORTED;
    for (unsigned i = 0; i < VARIANTS; i++) {
        backend->namespaces = variants[i].namespaces;
        result = probe(backend, i == 0 ? error : NULL);
        if (result == AEE_OK) {
            (void)snprintf(backend->shortfall, sizeof backend->shortfall, "%s",
                           variants[i].shortfall);
            break;
        }
    }
    return result;
}

static aee_result open_groups(struct aee__backend *backend, struct aee__facts *facts,
                              aee_error *error)
{
    uint32_t number;
    char how[128];
    if (aee__sys_random(&number, sizeof number) != 0) {
        return aee__fail_os(error, errno, "cannot name control groups");
    }
    aee__cgroups_open(&backend->groups, number);
    const char *missing = backend->groups.missing;
    size_t used = strlen(backend->shortfall);
    if (missing[0]) {
        (void)snprintf(backend->shortfall + used, sizeof backend->shortfall - used,
                       "%sno control group (%s)", used > 0 ? "; " : "", missing);
    }
    (void)snprintf(how, sizeof how, "a group for each cell%s%.80s", missing[0] ? "; " : "",
                   missing);
    add_fact(facts, "container.cgroups", !missing[0], how);
    return AEE_OK;
}

/* ---- Opening ------------------------------------------------------------------------------ */

static aee_result try_process(struct aee__backend *backend, struct aee__facts *facts,
                              aee_error *error)
{
    aee_result result = probe(backend, error);
    add_fact(facts, "process.cell", result == AEE_OK,
             "a cell on trial made a hypercall and was kept from a system call");
    return result;
}

static aee_result try_container(struct aee__backend *backend, struct aee__facts *facts,
                                aee_error *error)
{
    aee_result result = choose_variant(backend, error);
    add_fact(facts, "container.cell", result == AEE_OK,
             "a cell in namespaces of its own, with an empty root");
    return result == AEE_OK ? open_groups(backend, facts, error) : result;
}

static aee_result open_cells(const struct aee__alloc *alloc, struct aee__facts *facts,
                             aee_result (*try_cells)(struct aee__backend *, struct aee__facts *,
                                                     aee_error *),
                             struct aee__backend **out, aee_error *error)
{
    *out = NULL;
    struct aee__backend *backend = make_backend(alloc, error);
    if (!backend) {
        return AEE_ERR_NO_MEMORY;
    }
    aee_result result = start_parts(backend, error);
    if (result == AEE_OK) {
        result = try_cells(backend, facts, error);
    }
    if (result != AEE_OK) {
        backend_close(backend);
        return result;
    }
    *out = backend;
    return AEE_OK;
}

static aee_result open_process(const struct aee__alloc *alloc, int kick_signal,
                               struct aee__facts *facts, struct aee__backend **out,
                               aee_error *error)
{
    (void)kick_signal;
    return open_cells(alloc, facts, try_process, out, error);
}

static aee_result open_container(const struct aee__alloc *alloc, int kick_signal,
                                 struct aee__facts *facts, struct aee__backend **out,
                                 aee_error *error)
{
    (void)kick_signal;
    return open_cells(alloc, facts, try_container, out, error);
}

static const char *shortfall(const struct aee__backend *backend)
{
    return backend->shortfall;
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

#define CELL_OPERATIONS                                                                          \
    .vdso = aee__vdso_cell_start, .vdso_end = aee__vdso_cell_end, .close = backend_close,        \
    .features = features, .hardware = no_hardware, .nested_paging = no_hardware,                 \
    .vm_create = vm_create, .vm_destroy = vm_destroy, .vm_has_ended = vm_has_ended,              \
    .vm_map = aee__cell_map, .vm_unmap = aee__cell_unmap, .shortfall = shortfall,                \
    .vm_seal = vm_seal, .vm_adopt = vm_adopt, .vm_track = aee__cell_track,                       \
    .vm_written = aee__cell_written, .lane_restart = aee__cell_lane_restart, .vm_stop = vm_stop, \
    .lane_start = aee__cell_lane_start, .lane_run = aee__cell_lane_run,                          \
    .lane_kick = aee__cell_lane_kick, .lane_place = aee__cell_lane_place,                        \
    .lane_registers = aee__cell_lane_registers,                                                  \
    .lane_set_registers = aee__cell_lane_set_registers, .lane_vectors = aee__cell_lane_vectors,  \
    .lane_set_vectors = aee__cell_lane_set_vectors

const struct aee__backend_ops aee__process_backend = {
    .name = "process", .level = AEE_LEVEL_PROCESS, .open = open_process, CELL_OPERATIONS};

const struct aee__backend_ops aee__container_backend = {
    .name = "container", .level = AEE_LEVEL_CONTAINER, .open = open_container, CELL_OPERATIONS};
