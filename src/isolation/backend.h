/* backend.h: what a back end does for contexts: machines that hold memory, and lanes that run in
 * it. Implementations live in folders of their own and do not know each other, contexts or rings.
 */
#ifndef AEE_ISOLATION_BACKEND_H
#define AEE_ISOLATION_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/error.h"
#include "ept/layout.h"

struct aee__backend;
struct aee__vm;

/* Why a lane came back to the host. */
enum aee__exit_kind {
    AEE__EXIT_HYPERCALL, /* number is set, and not checked */
    AEE__EXIT_KICKED,    /* aee__backend_ops.lane_kick(), or a spurious wake-up */
    AEE__EXIT_CRASH,     /* the guest cannot go on; the other fields say why */
};

/* What a probe found out, for people. */
struct aee__facts {
    uint32_t count;
    aee_fact list[AEE_FACTS_MAX];
};

struct aee__exit {
    enum aee__exit_kind kind;
    uint32_t hypercall;
    aee_crash_cause cause;
    uint32_t vector;
    uint32_t error_code;
    uint64_t fault_address;
    char detail[96]; /* for causes that need words; "" otherwise */
};

/* The state a lane starts in. */
struct aee__lane_start {
    struct aee__gva rip;
    struct aee__gva rsp;
    struct aee__gva fs_base;
    struct aee__gva gs_base;
    struct aee__gva syscall; /* where SYSCALL leads, if it leads anywhere */
    struct aee__gpa root;    /* page tables */
};

struct aee__backend_ops {
    const char *name;
    aee_level level;

    /* Opens the back end, proving by experiment that it works here. `kick_signal` is a real-time
     * signal for lane_kick(). *facts (may be NULL) receives what was found, also on failure; then
     * *out is NULL and the sentence says what was missing. */
    aee_result (*open)(const struct aee__alloc *alloc, int kick_signal, struct aee__facts *facts,
                       struct aee__backend **out, aee_error *error);
    void (*close)(struct aee__backend *backend);
    uint64_t (*features)(const struct aee__backend *backend); /* AEE_FEATURE_ bits for components */
    bool (*hardware)(const struct aee__backend *backend);     /* CPU virtualization in hardware */
    bool (*nested_paging)(const struct aee__backend *backend);

    /* A machine with lane 0 and no memory; may be made ahead of its use. */
    aee_result (*vm_create)(struct aee__backend *backend, struct aee__vm **out, aee_error *error);
    /* No lane may be running. NULL is fine. */
    void (*vm_destroy)(struct aee__vm *vm);
    /* Shows [host, host + size) to the machine at `gpa`; also while lanes run. */
    aee_result (*vm_add_memory)(struct aee__vm *vm, struct aee__gpa gpa, void *host, uint64_t size,
                                aee_error *error);
    /* Writes what the processor needs into the system area, which is zero, once, before any lane
     * starts. The area stays mapped as long as the machine lives. */
    void (*vm_set_system)(struct aee__vm *vm, uint8_t *system, uint64_t size, uint32_t lanes);

    aee_result (*lane_start)(struct aee__vm *vm, uint32_t lane, const struct aee__lane_start *start,
                             aee_error *error);
    /* Runs the lane until it comes back. One thread at a time; the kick signal is blocked in it. */
    void (*lane_run)(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit);
    /* Makes a running or the next lane_run() return KICKED soon. From any thread. */
    void (*lane_kick)(struct aee__vm *vm, uint32_t lane);
    /* Registers at the last exit; for a crash, those of the component. While it does not run. */
    void (*lane_registers)(struct aee__vm *vm, uint32_t lane, aee_registers *registers);
    /* Requests of ioctl() that lane_run() and lane_registers() make; nothing else of them may need
     * a system call that src/runtime/jail.c does not list. */
    const uint32_t *run_requests;
    uint32_t run_request_count;
};

#endif
