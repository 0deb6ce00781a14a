/* lanes.c: lanes as coroutines of the threads that run them, and their exits. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "base/sys.h"
#include "isolation/none/none_internal.h"

#define GENERAL_PROTECTION 13
#define PAGE_FAULT 14
#define RED_ZONE 128 /* bytes below the stack pointer that code may use; System V ABI, x86-64 */

/* ---- Starting ----------------------------------------------------------------------------- */

aee_result aee__none_lane_start(struct aee__vm *vm, uint32_t lane,
                                const struct aee__lane_start *start, aee_error *error)
{
    enum { RBX = 5, RETURN = 7, R12 = 4 }; /* see switch_x86_64.S */
    const uint64_t mxcsr = 0x1f80;         /* and the x87 control word, as a process begins */
    const uint64_t control_word = 0x37f;
    struct aee__none_block *block = aee__none_block_take();
    if (!block) {
        return aee__fail_os(error, errno, "cannot start lane %u", lane);
    }
    memset(block, 0, sizeof *block);
    block->has_fsgsbase = vm->backend->has_fsgsbase;
    block->fs = start->fs_base.value;
    block->gs = start->gs_base.value;
    block->first_frame[0] = mxcsr | control_word << 32;
    block->first_frame[R12] = start->rip.value;
    block->first_frame[RBX] = start->rsp.value;
    block->first_frame[RETURN] = (uintptr_t)aee__none_begin;
    block->rsp = (uintptr_t)block->first_frame;
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    vm->lanes[lane].area = (struct aee_abi_lane *)(uintptr_t)start->gs_base.value;
    vm->lanes[lane].block = block;
    return AEE_OK;
}

/* ---- Signals ------------------------------------------------------------------------------ */

static void note_registers(struct aee__none_block *block, const ucontext_t *context)
{
    const greg_t *from = context->uc_mcontext.gregs;
    static const int order[] = {REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI,
                                REG_RSP, REG_RBP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP, REG_EFL};
    uint64_t to[sizeof order / sizeof order[0]];
    _Static_assert(sizeof to == sizeof block->registers, "in the order of aee_registers");
    for (unsigned i = 0; i < sizeof order / sizeof order[0]; i++) {
        to[i] = (uint64_t)from[order[i]];
    }
    memcpy(&block->registers, to, sizeof to);
}

/* `out %eax, $AEE_PORT_HYPERCALL`, which a component may have instead of calling the vDSO. */
static bool is_hypercall(const struct aee__none_block *block)
{
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    const uint8_t *code = (const uint8_t *)(uintptr_t)block->registers.rip;
    return block->signal == SIGSEGV && block->trap == GENERAL_PROTECTION &&
           block->error_code == 0 && block->registers.rip >> 47 == 0 && code[0] == 0xe7 &&
           code[1] == AEE_PORT_HYPERCALL;
}

uint32_t aee__none_caught(struct aee__none_block *block, int signal, siginfo_t *info, void *context)
{
    ucontext_t *frame = context;
    if (!block->inside) { /* this side of the switch */
        aee__none_elsewhere(signal, info, context, (uintptr_t)context - sizeof(void *));
        return 0;
    }
    block->kind = aee__none_is_fault(signal) ? AEE__NONE_SIGNAL : AEE__NONE_KICKED;
    block->signal = signal;
    block->signal_code = info->si_code;
    block->trap = (uint64_t)frame->uc_mcontext.gregs[REG_TRAPNO];
    block->error_code = (uint64_t)frame->uc_mcontext.gregs[REG_ERR];
    block->fault_address = (uint64_t)frame->uc_mcontext.gregs[REG_CR2];
    note_registers(block, frame);
    if (is_hypercall(block)) {
        frame->uc_mcontext.gregs[REG_RIP] += 2;
        block->kind = AEE__NONE_HYPERCALL;
        block->hypercall = (uint32_t)block->registers.rax;
    }
    block->inside = 0;
    return 1;
}

/* ---- Exits -------------------------------------------------------------------------------- */

static void crash(struct aee__exit *exit, aee_crash_cause cause, const char *detail)
{
    exit->kind = AEE__EXIT_CRASH;
    exit->cause = cause;
    (void)snprintf(exit->detail, sizeof exit->detail, "%s", detail);
}

static void crash_host(struct aee__exit *exit, const char *what, int error)
{
    char text[sizeof exit->detail];
    (void)snprintf(text, sizeof text, "%s: %s", what, strerrordesc_np(error));
    crash(exit, AEE_CRASH_HOST, text);
}

static void decode_signal(const struct aee__none_block *block, struct aee__exit *exit)
{
    char text[sizeof exit->detail];
    if (block->signal_code <= 0) {
        (void)snprintf(text, sizeof text, "SIG%s was sent to its thread",
                       sigabbrev_np(block->signal));
        crash(exit, AEE_CRASH_KILLED, text);
        return;
    }
    crash(exit, AEE_CRASH_EXCEPTION, "");
    exit->vector = block->trap < 32 ? (uint32_t)block->trap : 31;
    exit->error_code = (uint32_t)block->error_code;
    exit->fault_address = block->trap == PAGE_FAULT ? block->fault_address : 0;
}

static void decode(const struct aee__none_block *block, struct aee__exit *exit)
{
    switch (block->kind) {
    case AEE__NONE_HYPERCALL:
        exit->kind = AEE__EXIT_HYPERCALL;
        exit->hypercall = block->hypercall;
        return;
    case AEE__NONE_SIGNAL:
        decode_signal(block, exit);
        return;
    case AEE__NONE_KICKED:
    default:
        exit->kind = AEE__EXIT_KICKED;
        return;
    }
}

/* ---- Running ------------------------------------------------------------------------------ */

/* A component that was left in the handler of a signal has its frame on the signal stack. Until it
 * is in force again, which restores the whole stack, a signal that comes must find room below. */
static stack_t signal_stack(struct aee__none_block *block)
{
    uint8_t *start = (uint8_t *)block + AEE__NONE_BLOCK_HEAD;
    uintptr_t end = (uintptr_t)block + AEE__NONE_BLOCK_SIZE;
    if (block->rsp > (uintptr_t)start && block->rsp < end) {
        end = (block->rsp - RED_ZONE) & ~UINT64_C(15);
    }
    return (stack_t){.ss_sp = start, .ss_size = end - (uintptr_t)start};
}

/* While the component runs, only signals with handlers that know of its thread-local storage come
 * through. They find the block by its signal stack, so that it comes into force when nothing else
 * can use it, and the thread's bases are noted before. */
static void run(const struct aee__backend *backend, struct aee__none_block *block,
                struct aee__exit *exit)
{
    const uint64_t mask = aee__none_component_mask(backend->kick_signal);
    const stack_t stack = signal_stack(block);
    stack_t old_stack;
    uint64_t old_mask;
    block->signal = 0;
    aee__none_note_host(block);
    aee__sys_swap_mask(&mask, &old_mask);
    if (aee__sys_signal_stack(&stack, &old_stack) != 0) { /* EPERM: called on a signal stack */
        crash_host(exit, "sigaltstack failed", errno);
    } else {
        aee__none_enter(block);
        (void)aee__sys_signal_stack(&old_stack, NULL);
        decode(block, exit);
    }
    aee__sys_swap_mask(&old_mask, NULL);
}

void aee__none_lane_run(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit)
{
    struct aee__none_lane *mine = &vm->lanes[lane];
    memset(exit, 0, sizeof *exit);
    switch (aee__none_window_enter(vm, mine)) {
    case AEE__WINDOW_IN:
        mine->area->own.gate = (uintptr_t)aee__none_hypercall;
        mine->area->own.gate_argument = (uintptr_t)mine->block;
        run(vm->backend, mine->block, exit);
        aee__none_window_leave(vm, mine);
        return;
    case AEE__WINDOW_FAILED:
        crash_host(exit, "its memory cannot be mapped", errno);
        return;
    case AEE__WINDOW_KICKED:
    default:
        exit->kind = AEE__EXIT_KICKED;
        return;
    }
}

void aee__none_lane_registers(struct aee__vm *vm, uint32_t lane, aee_registers *registers)
{
    const struct aee__none_block *block = vm->lanes[lane].block;
    memset(registers, 0, sizeof *registers);
    if (!block) {
        return;
    }
    if (block->kind != AEE__NONE_HYPERCALL || block->signal != 0) {
        *registers = block->registers;
    } else {
        registers->rip = AEE_GVA_VDSO; /* its code, or as good as that */
        registers->rsp = block->rsp;
    }
}
