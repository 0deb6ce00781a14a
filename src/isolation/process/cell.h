/* cell.h: bytes that the library and a cell share. A cell is a process in which a component runs: a
 * small program (cell.c) with one thread that carries out system calls for the library, the
 * *servant*, and one thread for each lane.
 *
 * The component can write all of the cell's memory but what is mapped read-only, and no thread on
 * which it runs can change a mapping. The servant's code, its orders and what it answers lie in
 * read-only memory, and its state in registers: a component cannot make it do or say anything.
 * What lanes write here is hostile to the library, as all that a component can write. */
#ifndef AEE_ISOLATION_PROCESS_CELL_H
#define AEE_ISOLATION_PROCESS_CELL_H

#include "aee_abi.h"

/* Addresses in the cell; above all that a component can have, below where kernels place stacks. */
#define AEE_CELL_TEXT UINT64_C(0x600000000000)
#define AEE_CELL_HYPERCALL AEE_CELL_TEXT      /* void (uint32_t number, uint32_t lane) */
#define AEE_CELL_SIGNAL (AEE_CELL_TEXT + 16)  /* the handler of every signal */
#define AEE_CELL_RESTORE (AEE_CELL_TEXT + 32) /* where it returns to */
#define AEE_CELL_CONTROL UINT64_C(0x600010000000)

/* Descriptors that the program finds open. Later ones take the lowest free number. */
#define AEE_CELL_FD_CONTROL 3
#define AEE_CELL_FD_SOCKET 4

#define AEE_CELL_KICK 10 /* SIGUSR1: makes a lane stop for a moment */

/* One system call. */
struct aee_cell_order {
    uint64_t number;
    uint64_t args[6];
    uint64_t flags;
};
#define AEE_CELL_MAY_FAIL UINT64_C(1) /* goes on with the next one all the same */
#define AEE_CELL_NEW_LANE UINT64_C(2) /* clone(): the new thread becomes the lane in args[5] */

#define AEE_CELL_ORDERS 62u
struct aee_cell_list {
    uint32_t seq; /* futex; changes when the list is complete */
    uint32_t count;
    uint32_t reserved0[14];
    struct aee_cell_order orders[AEE_CELL_ORDERS];
};
AEE_ABI_ASSERT(sizeof(struct aee_cell_order) == 64, "the servant steps by it");
AEE_ABI_ASSERT(offsetof(struct aee_cell_list, orders) == 64, "the servant begins there");

/* How a lane begins. */
struct aee_cell_start {
    uint64_t rip;
    uint64_t rsp;
    uint32_t count;
    uint32_t reserved0[11];
    struct aee_cell_order orders[8]; /* carried out by the lane's own thread */
};

/* The first part of the control area: read-only in the cell. */
struct aee_cell_orders {
    struct aee_cell_list list;
    struct aee_cell_start starts[AEE_MAX_LANES];
    uint8_t data[20032]; /* what orders point to */
};

AEE_ABI_ASSERT(sizeof(struct aee_cell_orders) % 4096 == 0, "rights change behind it");

enum aee_cell_exit_kind {
    AEE_CELL_EXIT_NONE = 0,
    AEE_CELL_EXIT_READY,     /* the lane waits to begin */
    AEE_CELL_EXIT_FAILED,    /* an order of its start failed: number, value */
    AEE_CELL_EXIT_HYPERCALL, /* number */
    AEE_CELL_EXIT_KICKED,
    AEE_CELL_EXIT_SIGNAL, /* number, and what the kernel put into the signal frame */
};

/* Where a lane is that has not been interrupted by a signal. */
enum aee_cell_inside {
    AEE_CELL_OUTSIDE = 0, /* in the component */
    AEE_CELL_POSTS,
    AEE_CELL_WAITS,
};

#define AEE_CELL_RSP 6
#define AEE_CELL_RIP 16

/* Of one lane: it posts exits here and waits until `go` says that the last one was digested. */
struct aee_cell_exit {
    uint32_t bell;   /* futex, rung by either side after each change */
    uint32_t posted; /* exits so far */
    uint32_t go;     /* futex: the exit that the library has digested */
    uint32_t inside; /* the lane's own: enum aee_cell_inside */
    uint32_t kind;   /* enum aee_cell_exit_kind */
    uint32_t number;
    uint64_t value;
    uint64_t trap;
    uint64_t error_code;
    uint64_t fault_address;
    uint64_t registers[18]; /* as in aee_registers; of a hypercall, these two */
    uint64_t frame; /* of an exit from a signal: where in signal_stack its frame lies; else 0 */
};

/* What of the kernel's signal frame (struct ucontext, asm/sigcontext.h) comes first behind the
 * return address: what the lane goes on with. */
struct aee_cell_frame {
    uint64_t flags;
    uint64_t link;
    uint64_t stack[3];
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
    uint64_t selectors;
    uint64_t error_code, trap, old_mask, cr2;
    uint64_t vector_state; /* where the rest of the frame lies */
};

#define AEE_CELL_LANE_SIZE 32768u
#define AEE_CELL_BOOT_STACK 4096u
struct aee_cell_lane {
    struct aee_cell_exit exit;
    uint8_t pad0[4096 - sizeof(struct aee_cell_exit)];
    uint8_t boot_stack[AEE_CELL_BOOT_STACK];
    uint8_t signal_stack[AEE_CELL_LANE_SIZE - 4096u - AEE_CELL_BOOT_STACK];
};
AEE_ABI_ASSERT(sizeof(struct aee_cell_lane) == AEE_CELL_LANE_SIZE, "lanes are found by division");

struct aee_cell_control {
    struct aee_cell_orders orders;
    uint8_t scratch[4096]; /* what system calls of orders write */
    struct aee_cell_lane lanes[AEE_MAX_LANES];
};
#define AEE_CELL_SCRATCH (AEE_CELL_CONTROL + offsetof(struct aee_cell_control, scratch))
#define AEE_CELL_LANES (AEE_CELL_CONTROL + offsetof(struct aee_cell_control, lanes))
#endif
