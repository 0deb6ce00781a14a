/* backend.h: what a back end does for contexts: machines that hold memory, and lanes that run in
 * it. Implementations live in folders of their own and do not know each other, contexts or rings.
 */
#ifndef AEE_ISOLATION_BACKEND_H
#define AEE_ISOLATION_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/sys.h"
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
    bool running; /* of KICKED: the lane has been told to stop, and its exit is yet to come */
    uint32_t hypercall;
    aee_crash_cause cause;
    uint32_t vector;
    uint32_t error_code;
    uint64_t fault_address;
    char detail[96]; /* for causes that need words; "" otherwise */
};

/* Flags that CPL3 may change: ID AC RF OF DF TF SF ZF AF PF CF (SDM vol. 1, 3.4.3). */
#define AEE__USER_FLAGS UINT64_C(0x250dd5)
#define AEE__FXSAVE_SIZE 512u
#define AEE__FXSAVE_MXCSR 24u
#define AEE__MXCSR_MASK UINT32_C(0xffff)
/* Above this no address is CPL3's. */
#define AEE__USER_END UINT64_C(0x7ffffffff000)

/* A part of a memory file that a machine without page tables of ours sees. */
struct aee__file_map {
    struct aee__gva gva;
    uint64_t offset; /* in the file */
    uint64_t size;
    uint64_t ready;  /* of its start: is about to be touched */
    uint32_t rights; /* AEE__PT_WRITE, AEE__PT_EXECUTE */
};

/* Of a machine that ended without a lane's exit, and how; from a thread of the back end. */
typedef void aee__vm_ended_fn(void *user, aee_crash_cause cause, const char *how);

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
    const uint8_t *vdso; /* the library's code in each machine */
    const uint8_t *vdso_end;
    bool direct_only; /* each call is made as by AEE_CALL_DIRECT; workers run submitted ones only */

    /* Opens the back end, proving by experiment that it works here. `kick_signal` is a real-time
     * signal for lane_kick(). *facts (may be NULL) receives what was found, also on failure; then
     * *out is NULL and the sentence says what was missing. */
    aee_result (*open)(const struct aee__alloc *alloc, int kick_signal, struct aee__facts *facts,
                       struct aee__backend **out, aee_error *error);
    void (*close)(struct aee__backend *backend);
    uint64_t (*features)(const struct aee__backend *backend); /* AEE_FEATURE_ bits for components */
    bool (*hardware)(const struct aee__backend *backend);     /* CPU virtualization in hardware */
    bool (*nested_paging)(const struct aee__backend *backend);
    /* "" or what of its level this host does not give, in words. NULL: it gives all or nothing. */
    const char *(*shortfall)(const struct aee__backend *backend);

    /* A machine with lane 0 and no memory; may be made ahead of its use. */
    aee_result (*vm_create)(struct aee__backend *backend, struct aee__vm **out, aee_error *error);
    /* No lane may be running. NULL is fine. */
    void (*vm_destroy)(struct aee__vm *vm);
    /* It ended by itself, and is of no use. NULL: none does. */
    bool (*vm_has_ended)(const struct aee__vm *vm);
    /* Memory comes in one of two ways. With page tables (src/ept): vm_add_memory() shows [host,
     * host + size) to the machine at `gpa`, also while lanes run; vm_set_system() writes what the
     * processor needs into the system area, which is zero, once, before any lane starts; `lanes` is
     * 0 where it is written already. The area stays mapped as long as the machine lives. */
    aee_result (*vm_add_memory)(struct aee__vm *vm, struct aee__gpa gpa, void *host, uint64_t size,
                                aee_error *error);
    void (*vm_set_system)(struct aee__vm *vm, uint8_t *system, uint64_t size, uint32_t lanes);
    /* Or by mapping files at guest virtual addresses, where both of the above are NULL: what was
     * there before goes; when a call returns, no lane has the old memory any more. The file of
     * private memory stays open as long as the machine is asked about it. */
    aee_result (*vm_map)(struct aee__vm *vm, int fd, const struct aee__file_map *list,
                         uint32_t count, aee_error *error);
    aee_result (*vm_unmap)(struct aee__vm *vm, struct aee__gva gva, uint64_t size,
                           aee_error *error);
    /* All lanes have been started, none has run. From now on the end of the machine is told of.
     * NULL: nothing is to be done. */
    aee_result (*vm_seal)(struct aee__vm *vm, aee__vm_ended_fn *notice, void *user,
                          aee_error *error);
    /* From now on the end is told to that `user`. NULL: as for vm_seal(). */
    void (*vm_adopt)(struct aee__vm *vm, void *user);
    /* No lane is to go on, ever: those that run are stopped by force. NULL: lane_kick() is enough.
     */
    void (*vm_stop)(struct aee__vm *vm);

    /* Which pages of the private memory the lanes have written: vm_track() begins, where it
     * has not begun; vm_written() tells since then, or since it was asked last, by one bit for each
     * page of the memory file (src/ept), and may be asked while lanes run; bits of what is no
     * state mean nothing. Both NULL, or failing: it is not known, and pages must be compared. It
     * may tell pages that were not written, and with `keep` tells all that it tells now the next
     * time, too, if it can: that costs the component no fault for each that it writes again. */
    aee_result (*vm_track)(struct aee__vm *vm, aee_error *error);
    aee_result (*vm_written)(struct aee__vm *vm, uint64_t *bitmap, uint64_t pages, bool keep,
                             aee_error *error);

    aee_result (*lane_start)(struct aee__vm *vm, uint32_t lane, const struct aee__lane_start *start,
                             aee_error *error);
    /* Makes a lane that was started, and is not in lane_run(), begin anew. False: it cannot. NULL:
     * none can. */
    bool (*lane_restart)(struct aee__vm *vm, uint32_t lane, const struct aee__lane_start *start);
    /* Runs the lane until it comes back. One thread at a time; the kick signal is blocked in it. */
    void (*lane_run)(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit);
    /* Makes a running or the next lane_run() return KICKED soon. From any thread. */
    void (*lane_kick)(struct aee__vm *vm, uint32_t lane);
    /* The same at that time of CLOCK_MONOTONIC, unless the lane has come back before; the last time
     * that was named counts. False: it cannot be arranged. NULL where a back end has no such thing.
     * From any thread. */
    bool (*lane_kick_at)(struct aee__vm *vm, uint32_t lane, uint64_t at_ns);
    /* Where the lane is a thread of its own: it is to run on that CPU, the caller's, who is about
     * to sleep in lane_run(), or off it, as somebody watches the ring there. By whoever may call
     * lane_run(). A hint; NULL: it runs on the thread that calls lane_run(). */
    void (*lane_place)(struct aee__vm *vm, uint32_t lane, enum aee__place place, int cpu);
    /* Registers at the last exit; for a crash, those of the component. While it does not run. */
    void (*lane_registers)(struct aee__vm *vm, uint32_t lane, aee_registers *registers);
    /* Makes the lane, which is out of lane_run() and not parked by a hypercall of a cell, go on at
     * CPL3 with these general registers (fs and gs base stay; of the flags, those that CPL3 may
     * change). False: it cannot, now. NULL where a back end cannot ever. */
    bool (*lane_set_registers)(struct aee__vm *vm, uint32_t lane, const aee_registers *registers);
    /* The same of the x87 and SSE registers, as FXSAVE lays them out (SDM vol. 1, table 10-2). */
    bool (*lane_vectors)(struct aee__vm *vm, uint32_t lane, uint8_t fxsave[AEE__FXSAVE_SIZE]);
    bool (*lane_set_vectors)(struct aee__vm *vm, uint32_t lane,
                             const uint8_t fxsave[AEE__FXSAVE_SIZE]);
    /* Requests of ioctl() that lane_run() and lane_registers() make; nothing else of them may need
     * a system call that src/runtime/jail.c does not list. */
    const uint32_t *run_requests;
    uint32_t run_request_count;
};

#endif
