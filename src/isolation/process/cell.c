/* cell.c: the program of a cell (cell.h). Freestanding: raw system calls, general registers only.
 */
#include "cell.h"

#include <asm/siginfo.h>
#include <asm/unistd_64.h>
#include <linux/futex.h>
#include <linux/prctl.h>

#define LOAD_ACQUIRE(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define STORE_RELEASE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

enum { PROT_READ = 1, PROT_WRITE = 2, MAP_SHARED = 1, MAP_FIXED = 16, SIGKILL = 9, SIGSYS = 31 };

static struct aee_cell_control *const control = (struct aee_cell_control *)AEE_CELL_CONTROL;

static long call6(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                  uint64_t f)
{
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static void wake(uint32_t *word)
{
    (void)call6(__NR_futex, (uintptr_t)word, FUTEX_WAKE, 1, 0, 0, 0);
}

/* ---- Lanes -------------------------------------------------------------------------------- */

/* Tells of an exit that has been written, and waits until it was digested. */
static void exchange(struct aee_cell_exit *exit)
{
    uint32_t number = exit->posted + 1;
    uint32_t go;
    STORE_RELEASE(exit->posted, number);
    if (exit->inside == AEE_CELL_POSTS) {
        STORE_RELEASE(exit->inside, AEE_CELL_WAITS);
    }
    (void)__atomic_fetch_add(&exit->bell, 1, __ATOMIC_SEQ_CST);
    wake(&exit->bell);
    while ((int32_t)((go = LOAD_ACQUIRE(exit->go)) - number) < 0) { /* a kick can come between */
        (void)call6(__NR_futex, (uintptr_t)&exit->go, FUTEX_WAIT, go, 0, 0, 0);
    }
}

/* What the component passes is its own business: it stops one of its lanes, or another. */
__attribute__((used)) static void cell_hypercall(uint32_t number, uint32_t lane)
{
    struct aee_cell_exit *exit = &control->lanes[lane % AEE_MAX_LANES].exit;
    STORE_RELEASE(exit->inside, AEE_CELL_POSTS);
    exit->kind = AEE_CELL_EXIT_HYPERCALL;
    exit->number = number;
    exit->frame = 0;
    exit->registers[AEE_CELL_RIP] = AEE_GVA_VDSO; /* its code, or as good as that */
    exit->registers[AEE_CELL_RSP] = (uintptr_t)__builtin_frame_address(0);
    exchange(exit);
    STORE_RELEASE(exit->inside, AEE_CELL_OUTSIDE);
}

/* `out %eax, $AEE_PORT_HYPERCALL`, which a component may have instead of calling the vDSO.
 * Volatile: an address of the component's, of which the compiler knows nothing. */
static int is_hypercall(const struct aee_cell_frame *frame)
{
    enum { GENERAL_PROTECTION = 13 };
    const volatile uint8_t *code = (const volatile uint8_t *)frame->rip;
    return frame->trap == GENERAL_PROTECTION && frame->error_code == 0 && frame->rip >> 47 == 0 &&
           code[0] == 0xe7 && code[1] == AEE_PORT_HYPERCALL;
}

/* It has stopped, or is about to. One whose exit was digested already is about to go on. */
static int is_stopping(const struct aee_cell_exit *exit)
{
    return exit->inside == AEE_CELL_POSTS ||
           (exit->inside == AEE_CELL_WAITS && LOAD_ACQUIRE(exit->go) != exit->posted);
}

/* On the signal stack of the lane, whose place tells which one it is. */
__attribute__((used)) static void cell_signal(uint32_t signal, const void *info,
                                              struct aee_cell_frame *frame)
{
    uint64_t lane = ((uintptr_t)frame - AEE_CELL_LANES) / AEE_CELL_LANE_SIZE;
    struct aee_cell_exit *exit = &control->lanes[lane % AEE_MAX_LANES].exit;
    (void)info;
    if (signal == AEE_CELL_KICK && is_stopping(exit)) {
        return;
    }
    exit->kind = signal == AEE_CELL_KICK ? AEE_CELL_EXIT_KICKED : AEE_CELL_EXIT_SIGNAL;
    exit->number = signal;
    exit->trap = frame->trap;
    exit->error_code = frame->error_code;
    exit->fault_address = frame->cr2;
    exit->frame = (uintptr_t)frame - (uintptr_t)control->lanes[lane % AEE_MAX_LANES].signal_stack;
    const uint64_t registers[18] = {frame->rax, frame->rbx, frame->rcx,   frame->rdx, frame->rsi,
                                    frame->rdi, frame->rsp, frame->rbp,   frame->r8,  frame->r9,
                                    frame->r10, frame->r11, frame->r12,   frame->r13, frame->r14,
                                    frame->r15, frame->rip, frame->rflags};
    for (unsigned i = 0; i < 18; i++) {
        exit->registers[i] = registers[i];
    }
    if (is_hypercall(frame)) {
        frame->rip += 2;
        exit->kind = AEE_CELL_EXIT_HYPERCALL;
        exit->number = (uint32_t)frame->rax;
    }
    exchange(exit);
}

/* AEE_CELL_HYPERCALL, AEE_CELL_SIGNAL, AEE_CELL_RESTORE. */
__asm__(".section .text.entries, \"ax\"\n"
        "    jmp cell_hypercall\n"
        ".balign 16\n"
        "    jmp cell_signal\n"
        ".balign 16\n"
        "    movl $15, %eax\n" /* rt_sigreturn */
        "    syscall\n"
        "    hlt\n"
        ".previous\n");

static void __attribute__((noreturn)) enter(uint64_t rip, uint64_t rsp)
{
    __asm__ volatile("movq %0, %%rsp\n"
                     "xorl %%ebp, %%ebp\n"
                     "jmp *%1\n"
                     :
                     : "r"(rsp), "r"(rip)
                     : "memory");
    __builtin_unreachable();
}

__attribute__((used, noreturn)) static void lane_main(uint32_t lane)
{
    const struct aee_cell_start *start = &control->orders.starts[lane % AEE_MAX_LANES];
    struct aee_cell_exit *exit = &control->lanes[lane % AEE_MAX_LANES].exit;
    int ready = 1;
    exit->inside = AEE_CELL_POSTS;
    exit->kind = AEE_CELL_EXIT_READY;
    for (uint32_t i = 0; i < start->count && i < 8; i++) {
        const struct aee_cell_order *order = &start->orders[i];
        long result = call6(order->number, order->args[0], order->args[1], order->args[2],
                            order->args[3], order->args[4], order->args[5]);
        if (result < 0 && !(order->flags & AEE_CELL_MAY_FAIL)) {
            ready = 0;
            exit->kind = AEE_CELL_EXIT_FAILED;
            exit->number = i;
            exit->value = (uint64_t)-result;
            break;
        }
    }
    for (;;) {
        exchange(exit);
        if (ready) {
            STORE_RELEASE(exit->inside, AEE_CELL_OUTSIDE);
            enter(start->rip, start->rsp);
        }
    }
}

/* ---- The servant -------------------------------------------------------------------------- */

/* Registers only: r12 the list, r13 its last number, r14 the order, r15 how many, rbx which. The
 * answer is one of the numbers below, from read-only memory: 0, or 1 + the index of the order that
 * failed and then its errno. A new lane comes out of clone() here, too, with a stack of its own. */
__asm__(".section .rodata\n"
        ".balign 8\n"
        "numbers:\n"
        ".set n, 0\n"
        ".rept 256\n"
        ".quad n\n"
        ".set n, n + 1\n"
        ".endr\n"
        ".text\n"
        "serve:\n"
        "    xorl %r13d, %r13d\n"
        "1:  movl (%r12), %eax\n"
        "    cmpl %eax, %r13d\n"
        "    jne 2f\n"
        "    movl $202, %eax\n" /* futex(list, FUTEX_WAIT, last, NULL) */
        "    movq %r12, %rdi\n"
        "    xorl %esi, %esi\n"
        "    movl %r13d, %edx\n"
        "    xorl %r10d, %r10d\n"
        "    syscall\n"
        "    jmp 1b\n"
        "2:  movl %eax, %r13d\n"
        "    movl 4(%r12), %r15d\n"
        "    leaq 64(%r12), %r14\n"
        "    xorl %ebx, %ebx\n"
        "3:  cmpl %r15d, %ebx\n"
        "    jae 6f\n"
        "    movq (%r14), %rax\n"
        "    movq 8(%r14), %rdi\n"
        "    movq 16(%r14), %rsi\n"
        "    movq 24(%r14), %rdx\n"
        "    movq 32(%r14), %r10\n"
        "    movq 40(%r14), %r8\n"
        "    movq 48(%r14), %r9\n"
        "    syscall\n"
        "    testq %rax, %rax\n"
        "    js 5f\n"
        "    jnz 4f\n"
        "    testq $2, 56(%r14)\n" /* AEE_CELL_NEW_LANE, in the new thread */
        "    jz 4f\n"
        "    movl %r9d, %edi\n"
        "    call lane_main\n"
        "4:  addq $64, %r14\n"
        "    incl %ebx\n"
        "    jmp 3b\n"
        "5:  testq $1, 56(%r14)\n" /* AEE_CELL_MAY_FAIL */
        "    jnz 4b\n"
        "    negq %rax\n"
        "    movq %rax, %r14\n"
        "    andl $255, %r14d\n"
        "    incl %ebx\n"
        "    jmp 7f\n"
        "6:  xorl %ebx, %ebx\n"
        "7:  movl $1, %eax\n" /* write(socket, &numbers[...], 8) */
        "    movl $4, %edi\n"
        "    leaq numbers(%rip), %rsi\n"
        "    leaq (%rsi,%rbx,8), %rsi\n"
        "    movl $8, %edx\n"
        "    syscall\n"
        "    testl %ebx, %ebx\n"
        "    jz 1b\n"
        "    xorl %ebx, %ebx\n"
        "    leaq numbers(%rip), %rsi\n"
        "    leaq (%rsi,%r14,8), %rsi\n"
        "    movl $1, %eax\n"
        "    movl $4, %edi\n"
        "    movl $8, %edx\n"
        "    syscall\n"
        "    jmp 1b\n"
        ".globl _start\n"
        "_start:\n"
        "    call begin\n"
        "    movq %rax, %r12\n"
        "    jmp serve\n");
_Static_assert(AEE_CELL_FD_SOCKET == 4 && AEE_CELL_MAY_FAIL == 1 && AEE_CELL_NEW_LANE == 2,
               "the instructions above name them");
_Static_assert(__NR_futex == 202 && __NR_write == 1 && __NR_rt_sigreturn == 15, "and these");

static void __attribute__((noreturn)) give_up(void)
{
    for (;;) {
        (void)call6(__NR_exit_group, 1, 0, 0, 0, 0, 0);
    }
}

static void must(long result)
{
    if (result < 0) {
        give_up();
    }
}

/* Dies with the thread that started it, also if that has ended by now: then the socket does. */
__attribute__((used)) static const struct aee_cell_list *begin(void)
{
    const uint64_t read_only = sizeof(struct aee_cell_orders);
    char byte;
    must(call6(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, 0));
    if (call6(__NR_read, AEE_CELL_FD_SOCKET, (uintptr_t)&byte, 1, 0, 0, 0) != 1) {
        give_up();
    }
    must(call6(__NR_mmap, AEE_CELL_CONTROL, read_only, PROT_READ, MAP_SHARED | MAP_FIXED,
               AEE_CELL_FD_CONTROL, 0));
    must(call6(__NR_mmap, AEE_CELL_CONTROL + read_only, sizeof *control - read_only,
               PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, AEE_CELL_FD_CONTROL, read_only));
    must(call6(__NR_close, AEE_CELL_FD_CONTROL, 0, 0, 0, 0, 0));
    return &control->orders.list;
}
