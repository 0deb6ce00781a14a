/* switch_x86_64.S: between the engine's code and a component's on one thread. Each side has its own
 * stack, FS and GS base, MXCSR and x87 control word. A side that waits has left a frame on its
 * stack: MXCSR and control word, r15, r14, r13, r12, rbx, rbp, return address.
 *
 * A signal may come after any instruction here. Handlers act on a component only while `inside` is
 * set, so it is set when everything is the component's, and cleared while everything still is. */
#include "isolation/none/switch.h"

#define SYS_ARCH_PRCTL 158
#define ARCH_SET_GS 0x1001
#define ARCH_SET_FS 0x1002
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004

    .hidden aee__none_arena
    .hidden aee__none_caught
    .hidden aee__none_elsewhere

    .macro function name
    .globl \name
    .hidden \name
    .type \name, @function
    .balign 16
\name:
    .endm

    .macro save_frame
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    .endm

/* The engine's code wants no direction, alignment check or single step from a component. */
    .macro clean_flags
    pushq $0x202
    popfq
    .endm

    .text

/* rdi: block, kept; rsi: FS base; rdx: GS base. Without the instructions (AT_HWCAP2, bit 1), by
 * system calls. Other registers that are lost: rax, rcx, rsi, r8, r9, r11. */
    .type set_bases, @function
set_bases:
    cmpl $0, AEE__NONE_HAS_FSGSBASE(%rdi)
    je 1f
    wrfsbase %rsi
    wrgsbase %rdx
    ret
1:  movq %rdi, %r8
    movq %rdx, %r9
    movl $ARCH_SET_FS, %edi
    movl $SYS_ARCH_PRCTL, %eax
    syscall
    movq %r9, %rsi
    movl $ARCH_SET_GS, %edi
    movl $SYS_ARCH_PRCTL, %eax
    syscall
    movq %r8, %rdi
    ret

/* rdi: block, kept; FS base to rsi, GS base to rdx. Loses the same registers. */
    .type get_bases, @function
get_bases:
    cmpl $0, AEE__NONE_HAS_FSGSBASE(%rdi)
    je 1f
    rdfsbase %rsi
    rdgsbase %rdx
    ret
1:  movq %rdi, %r8
    subq $16, %rsp
    movq %rsp, %rsi
    movl $ARCH_GET_FS, %edi
    movl $SYS_ARCH_PRCTL, %eax
    syscall
    leaq 8(%rsp), %rsi
    movl $ARCH_GET_GS, %edi
    movl $SYS_ARCH_PRCTL, %eax
    syscall
    popq %rsi
    popq %rdx
    movq %r8, %rdi
    ret

function aee__none_note_host
    call get_bases
    movq %rsi, AEE__NONE_HOST_FS(%rdi)
    movq %rdx, AEE__NONE_HOST_GS(%rdi)
    ret

function aee__none_enter
    save_frame
    movq %rsp, AEE__NONE_HOST_RSP(%rdi)
    movq AEE__NONE_FS(%rdi), %rsi
    movq AEE__NONE_GS(%rdi), %rdx
    call set_bases
    movq AEE__NONE_RSP(%rdi), %rsp
    movl $1, AEE__NONE_INSIDE(%rdi)
    cmpl $0, AEE__NONE_IS_KICKED(%rdi) /* before the handler could act on it */
    jne 1f
load_frame:
    ldmxcsr (%rsp)
    fldcw 4(%rsp)
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
1:  movl $0, AEE__NONE_INSIDE(%rdi)
    movq %rsp, AEE__NONE_RSP(%rdi)
    movl $AEE__NONE_KIND_KICKED, AEE__NONE_KIND(%rdi)
    jmp to_host

function aee__none_hypercall
    save_frame
    movl $0, AEE__NONE_INSIDE(%rsi)
    movq %rsp, AEE__NONE_RSP(%rsi)
    movl %edi, AEE__NONE_NUMBER(%rsi)
    movl $AEE__NONE_KIND_HYPERCALL, AEE__NONE_KIND(%rsi)
    movq %rsi, %rdi
to_host:
    movq AEE__NONE_HOST_RSP(%rdi), %rsp /* the component's stack may end here */
    clean_flags
    call get_bases
    movq %rsi, AEE__NONE_FS(%rdi)
    movq %rdx, AEE__NONE_GS(%rdi)
    movq AEE__NONE_HOST_FS(%rdi), %rsi
    movq AEE__NONE_HOST_GS(%rdi), %rdx
    call set_bases
    jmp load_frame

function aee__none_begin
    movq %rbx, %rsp
    xorl %ebp, %ebp
    jmp *%r12

/* edi: signal, rsi: siginfo, rdx: context. What is called here may change every register:
 * rt_sigreturn(2) loads them all. */
function aee__none_signal
    movq %rsp, %rax
    subq aee__none_arena(%rip), %rax
    movq %rsp, %rcx
    cmpq $AEE__NONE_ARENA_SIZE, %rax
    jae aee__none_elsewhere
    clean_flags
    subq $8, %rsp
    movl %edi, %ebp
    movq %rsi, %r14
    movq %rdx, %r15
    movq %rsp, %rbx
    andq $-AEE__NONE_BLOCK_SIZE, %rbx
    movq %rbx, %rdi
    call get_bases
    movq %rsi, %r12
    movq %rdx, %r13
    movq AEE__NONE_HOST_FS(%rdi), %rsi
    movq AEE__NONE_HOST_GS(%rdi), %rdx
    call set_bases
    movl %ebp, %esi
    movq %r14, %rdx
    movq %r15, %rcx
    call aee__none_caught
    testl %eax, %eax
    jz 1f
    movq %r12, AEE__NONE_FS(%rbx)
    movq %r13, AEE__NONE_GS(%rbx)
    call switch_out /* until the lane is entered again, with its bases */
    jmp 2f
1:  movq %rbx, %rdi
    movq %r12, %rsi
    movq %r13, %rdx
    call set_bases
2:  addq $8, %rsp
    ret

    .type switch_out, @function
switch_out:
    save_frame
    movq %rsp, AEE__NONE_RSP(%rbx)
    movq AEE__NONE_HOST_RSP(%rbx), %rsp
    jmp load_frame

    .section .note.GNU-stack,"",@progbits
