/* none_internal.h: shared by the files of the back end without isolation. Unlike the rest of the
 * library it has process-wide state, since addresses and signal handlers are the process's: the
 * window (window.c) and the handlers (handlers.c), both under the window's lock. */
#ifndef AEE_ISOLATION_NONE_NONE_INTERNAL_H
#define AEE_ISOLATION_NONE_NONE_INTERNAL_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "isolation/backend.h"
#include "isolation/none/switch.h"

/* Why aee__none_enter() came back. */
enum aee__none_kind {
    AEE__NONE_KICKED = AEE__NONE_KIND_KICKED,
    AEE__NONE_HYPERCALL = AEE__NONE_KIND_HYPERCALL,
    AEE__NONE_SIGNAL,
};

/* What the switch keeps of a lane, at the bottom of the lane's block; its signal stack fills the
 * rest. A signal handler finds the block by the stack that it runs on: thread-local storage is the
 * component's there. */
struct aee__none_block {
    uint64_t host_rsp;
    uint64_t host_fs; /* of the thread that is in lane_run() */
    uint64_t host_gs;
    uint64_t rsp; /* where the lane stopped */
    uint64_t fs;
    uint64_t gs;
    uint32_t inside;         /* the component runs; the lane's thread only */
    _Atomic uint32_t kicked; /* written under the window's lock */
    uint32_t kind;           /* enum aee__none_kind */
    uint32_t hypercall;
    uint32_t has_fsgsbase; /* instructions for FS and GS base; never changes */
    int32_t signal;        /* by which it stopped; 0: none, and what follows is old */
    int32_t signal_code;
    uint32_t reserved0;
    uint64_t trap;
    uint64_t error_code;
    uint64_t fault_address;
    aee_registers registers;
    uint64_t first_frame[8]; /* what the lane begins with, as the switch leaves it */
};
_Static_assert(offsetof(struct aee__none_block, host_rsp) == AEE__NONE_HOST_RSP, "switch.h");
_Static_assert(offsetof(struct aee__none_block, host_fs) == AEE__NONE_HOST_FS, "switch.h");
_Static_assert(offsetof(struct aee__none_block, host_gs) == AEE__NONE_HOST_GS, "switch.h");
_Static_assert(offsetof(struct aee__none_block, rsp) == AEE__NONE_RSP, "switch.h");
_Static_assert(offsetof(struct aee__none_block, fs) == AEE__NONE_FS, "switch.h");
_Static_assert(offsetof(struct aee__none_block, gs) == AEE__NONE_GS, "switch.h");
_Static_assert(offsetof(struct aee__none_block, inside) == AEE__NONE_INSIDE, "switch.h");
_Static_assert(offsetof(struct aee__none_block, kicked) == AEE__NONE_IS_KICKED, "switch.h");
_Static_assert(offsetof(struct aee__none_block, kind) == AEE__NONE_KIND, "switch.h");
_Static_assert(offsetof(struct aee__none_block, hypercall) == AEE__NONE_NUMBER, "switch.h");
_Static_assert(offsetof(struct aee__none_block, has_fsgsbase) == AEE__NONE_HAS_FSGSBASE,
               "switch.h");
#define AEE__NONE_BLOCK_HEAD 4096u
_Static_assert(sizeof(struct aee__none_block) <= AEE__NONE_BLOCK_HEAD, "the signal stack is above");

struct aee__backend {
    const struct aee__alloc *alloc;
    int kick_signal;
    bool has_fsgsbase;
    uint64_t features;
};

struct aee__none_lane {
    struct aee__none_block *block; /* NULL: not started */
    struct aee_abi_lane *area;     /* in the window */
    pthread_t runner;              /* valid while `running`; under the window's lock, as is that */
    bool running;
    bool signalled;
};

/* A file that the machine was shown, and what of it. */
struct aee__none_file {
    int fd;
    uint32_t uses; /* mappings; 0: free */
};
struct aee__none_mapping {
    struct aee__file_map map; /* size 0: free */
    uint32_t file;
};
/* The memory file and its growths, regions; areas of the first, growths, regions. */
#define AEE__NONE_FILES 96u
#define AEE__NONE_MAPPINGS 160u

struct aee__vm {
    struct aee__backend *backend;
    struct aee__none_lane lanes[AEE_MAX_LANES];
    struct aee__none_file files[AEE__NONE_FILES]; /* under the window's lock, as are mappings */
    struct aee__none_mapping mappings[AEE__NONE_MAPPINGS];
};

/* window.c */
/* Reserves the addresses and installs the handlers if nobody has done so. */
aee_result aee__none_window_open(int kick_signal, aee_error *error);
void aee__none_window_close(int kick_signal);
enum aee__window_turn { AEE__WINDOW_IN, AEE__WINDOW_KICKED, AEE__WINDOW_FAILED };
/* Waits until the machine's memory is, or can be, mapped, and sees to it that it is and stays so
 * until leave. FAILED: the host refused; errno. */
enum aee__window_turn aee__none_window_enter(struct aee__vm *vm, struct aee__none_lane *lane);
void aee__none_window_leave(struct aee__vm *vm, struct aee__none_lane *lane);
void aee__none_lane_kick(struct aee__vm *vm, uint32_t lane);
aee_result aee__none_map(struct aee__vm *vm, int fd, const struct aee__file_map *list,
                         uint32_t count, aee_error *error);
aee_result aee__none_unmap(struct aee__vm *vm, struct aee__gva gva, uint64_t size,
                           aee_error *error);
/* Forgets the machine. */
void aee__none_window_drop(struct aee__vm *vm);
/* NULL: none is left; errno. */
struct aee__none_block *aee__none_block_take(void);
void aee__none_block_give(struct aee__none_block *block);

/* handlers.c; under the window's lock. */
aee_result aee__none_handlers_install(int kick_signal, aee_error *error);
void aee__none_handlers_remove(int kick_signal);
/* In a child of fork(): nobody uses them, and they are there. */
void aee__none_handlers_forget(void);
/* Puts handlers back that somebody replaced. */
void aee__none_handlers_check(void);
bool aee__none_is_fault(int signal);
/* Every signal but those that have our handlers, for rt_sigprocmask(2). */
uint64_t aee__none_component_mask(int kick_signal);
/* A signal that did not hit a component: what was there before the handler gets it. `stack`: the
 * stack pointer at the handler's first instruction. */
void aee__none_elsewhere(int signal, siginfo_t *info, void *context, uintptr_t stack);

/* lanes.c */
aee_result aee__none_lane_start(struct aee__vm *vm, uint32_t lane,
                                const struct aee__lane_start *start, aee_error *error);
void aee__none_lane_run(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit);
void aee__none_lane_registers(struct aee__vm *vm, uint32_t lane, aee_registers *registers);
/* From the signal handler, on the lane's signal stack, with the thread's own bases: true if the
 * lane stops here. */
uint32_t aee__none_caught(struct aee__none_block *block, int signal, siginfo_t *info,
                          void *context);

/* switch_x86_64.S */
extern uintptr_t aee__none_arena; /* of blocks; 0: none */
/* FS and GS base of the calling thread, for handlers and the way back. */
void aee__none_note_host(struct aee__none_block *block);
/* Runs the lane until it stops. */
void aee__none_enter(struct aee__none_block *block);
/* For the vDSO: stops the lane. */
void aee__none_hypercall(uint32_t number, struct aee__none_block *block);
/* Where a lane begins: RBX its stack, R12 its first instruction. */
void aee__none_begin(void);
/* The handler of every signal. */
void aee__none_signal(int signal, siginfo_t *info, void *context);

#endif
