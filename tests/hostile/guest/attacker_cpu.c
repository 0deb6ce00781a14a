/* attacker_cpu.c: attacks with instructions that the thief (guest/components) does not try: every
 * port and width, every selector, returns to nonsense, code of other widths, ends by triple fault.
 */
#include "attacker.h"

/* ---- Ports: the argument is the port ---- */
ATTACK_CODE1(port_in_byte, "movq %%rax, %%rdx; inb %%dx, %%al")
ATTACK_CODE1(port_in_word, "movq %%rax, %%rdx; inw %%dx, %%ax")
ATTACK_CODE1(port_in_long, "movq %%rax, %%rdx; inl %%dx, %%eax")
ATTACK_CODE1(port_out_byte, "movq %%rax, %%rdx; movl $0x99, %%eax; outb %%al, %%dx")
ATTACK_CODE1(port_out_word, "movq %%rax, %%rdx; movl $0x99, %%eax; outw %%ax, %%dx")
ATTACK_CODE1(port_out_long, "movq %%rax, %%rdx; movl $0x99, %%eax; outl %%eax, %%dx")
ATTACK_CODE1(port_ins, "movq %%rax, %%rdx; leaq -96(%%rsp), %%rdi; movl $4, %%ecx; rep insl")
ATTACK_CODE1(port_outs, "movq %%rax, %%rdx; leaq -96(%%rsp), %%rsi; outsl")
ATTACK_CODE1(port_rep_outs, "movq %%rax, %%rdx; leaq -96(%%rsp), %%rsi; movl $4, %%ecx; rep outsl")
ATTACK_CODE1(port_rep_outs_null,
             "movq %%rax, %%rdx; xorl %%esi, %%esi; movl $0x1000, %%ecx; rep outsb")

/* ---- INT n; RET for every n, four bytes each ---- */
__asm__(".pushsection .text.attacker_interrupts,\"ax\",@progbits\n"
        ".balign 16\n"
        ".type attacker_interrupts, @function\n"
        "attacker_interrupts:\n"
        ".set vector, 0\n"
        ".rept 256\n"
        "    .byte 0xcd, vector, 0xc3, 0x90\n"
        "    .set vector, vector + 1\n"
        ".endr\n"
        ".size attacker_interrupts, 1024\n"
        ".popsection\n");
extern const char attacker_interrupts[1024] __attribute__((visibility("hidden")));

/* Whatever answers may change any register: where it returns, nothing else has happened. */
AEE_SIGNATURE(interrupt, "i:i");
AEE_EXPORT int64_t interrupt(int64_t n)
{
    uint64_t stub = (uint64_t)(uintptr_t)attacker_interrupts + 4u * ((uint64_t)n & 255u);
    __asm__ volatile("subq $128, %%rsp; pushq %%rbp; call *%0; popq %%rbp; addq $128, %%rsp"
                     : "+a"(stub)
                     :
                     : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
                       "r14", "r15", "memory", "cc");
    return 0;
}

/* ---- Selectors: the argument ---- */

/* Other code segments of CPL 3 may be there; none of a lower CPL. The bytes are far jump and call
 * through (RSP), with a 64-bit offset. */
#define SELECTOR(name, text)                                                                  \
    AEE_SIGNATURE(name, "i:i");                                                               \
    AEE_EXPORT int64_t name(int64_t argument)                                                 \
    {                                                                                         \
        uint16_t level;                                                                       \
        __asm__ volatile(text "; movw %%cs, %%bx"                                             \
                         : "+a"(argument), "=b"(level)::"rcx", "rdx", "rsi", "rdi", "memory", \
                           "cc");                                                             \
        return (level & 3) == 3 ? 0 : ATTACK_GOT_THROUGH;                                     \
    }
SELECTOR(selector_far_return,
         "subq $128, %%rsp; pushq %%rax; leaq 1f(%%rip), %%rbx; pushq %%rbx; lretq; "
         "1: addq $128, %%rsp")
SELECTOR(selector_far_jump,
         "subq $160, %%rsp; leaq 1f(%%rip), %%rbx; movq %%rbx, (%%rsp); movw %%ax, 8(%%rsp); "
         ".byte 0x48, 0xff, 0x2c, 0x24; 1: addq $160, %%rsp")
SELECTOR(selector_far_call,
         "subq $160, %%rsp; leaq 1f(%%rip), %%rbx; movq %%rbx, (%%rsp); movw %%ax, 8(%%rsp); "
         ".byte 0x48, 0xff, 0x1c, 0x24; 1: addq $176, %%rsp")
SELECTOR(selector_iret,
         "subq $128, %%rsp; movq %%rsp, %%rbx; movl $0x23, %%ecx; pushq %%rcx; pushq %%rbx; "
         "pushfq; pushq %%rax; leaq 1f(%%rip), %%rdx; pushq %%rdx; iretq; 1: addq $128, %%rsp")
SELECTOR(selector_stack, "movw %%ax, %%ss; pushq %%rax; popq %%rax")
SELECTOR(selector_data, "movw %%ax, %%ds; movw %%ax, %%es")

/* Compatibility mode, should a 32-bit code segment be there: both ways into a kernel from it. The
 * selector is the argument; the code works at any address below 4 GiB. */
#define COMPAT(name, text)                                                                         \
    ATTACK_CODE1(name, "movq %%rsp, %%rbx; subq $256, %%rsp; pushq %%rax; leaq 1f(%%rip), %%rdx; " \
                       "pushq %%rdx; lretq; .code32; 1: " text "; ud2; .code64")
COMPAT(compat_interrupt_80, "movl $20, %%eax; int $0x80")
COMPAT(compat_sysenter, "movl $20, %%eax; sysenter")
COMPAT(compat_syscall, "movl $20, %%eax; syscall")
COMPAT(compat_privileged, "cli")
COMPAT(compat_into, "movl $0x7fffffff, %%eax; addl $1, %%eax; into")

/* ---- IRET and stacks to nonsense ---- */
#define IRET_TO(ss, rsp, flags, cs, rip)                                             \
    "subq $128, %%rsp; movabsq $" rsp ", %%rax; movabsq $" rip ", %%rbx; pushq $" ss \
    "; pushq %%rax; pushq $" flags "; pushq $" cs "; pushq %%rbx; iretq"
ATTACK_CODE(iret_non_canonical,
            IRET_TO("0x23", "0x20000000", "0x202", "0x2b", "0x8000000000000000"))
ATTACK_CODE(iret_null, IRET_TO("0x23", "0x20000000", "0x202", "0x2b", "0"))
ATTACK_CODE(iret_data_as_code, IRET_TO("0x23", "0x20000000", "0x202", "0x23", "0x400000"))
ATTACK_CODE(iret_code_as_stack, IRET_TO("0x2b", "0x20000000", "0x202", "0x2b", "0x400000"))
ATTACK_CODE(iret_task_as_code, IRET_TO("0x23", "0x20000000", "0x202", "0x33", "0x400000"))
ATTACK_CODE(iret_virtual_8086, IRET_TO("0x23", "0x20000000", "0x20202", "0x2b", "0"))
ATTACK_CODE(iret_all_flags, IRET_TO("0x23", "0x20000000", "0x3f7fd7", "0x2b", "0"))
ATTACK_CODE(iret_wild_stack, IRET_TO("0x23", "0xffffffff80000000", "0x202", "0x2b", "0x300000"))
ATTACK_CODE(pop_wild_stack_selector,
            "movl $0xfffb, %%eax; movw %%ax, %%ss; pushq %%rax; popq %%rax")
ATTACK_CODE(stack_non_canonical,
            "movabsq $0x8000000000000000, %%rax; movq %%rax, %%rsp; pushq %%rbx")
ATTACK_CODE(stack_in_kernel_half,
            "movabsq $0xffffffff81000000, %%rax; movq %%rax, %%rsp; pushq %%rbx")
ATTACK_CODE(stack_null_then_fault, "xorl %%esp, %%esp; ud2")
ATTACK_CODE(stack_kernel_then_fault, "movabsq $0xffffffff81000000, %%rax; movq %%rax, %%rsp; ud2")
ATTACK_CODE(stack_in_system_then_fault, "movl $0x204400, %%esp; ud2")
/* What a nested fault could become a triple fault of, had it any hold on the handler. */
ATTACK_CODE(no_stack_no_segments,
            "xorl %%esp, %%esp; xorl %%eax, %%eax; movw %%ax, %%ds; movw %%ax, %%es; "
            "movw %%ax, %%fs; movw %%ax, %%gs; xorl %%ebp, %%ebp; int3")
ATTACK_CODE(trap_flag_then_fault,
            "subq $128, %%rsp; pushfq; orq $0x100, (%%rsp); popfq; movq 0, %%rax")
ATTACK_CODE(
    trap_flag_then_hypercall,
    "subq $128, %%rsp; pushfq; orq $0x100, (%%rsp); popfq; movl $2, %%eax; outl %%eax, $0x10")
ATTACK_CODE(trap_flag_into_system_call,
            "subq $128, %%rsp; pushfq; orq $0x100, (%%rsp); popfq; movl $39, %%eax; syscall")
ATTACK_CODE(move_ss_then_interrupt,
            "movl $0x23, %%eax; subq $128, %%rsp; pushfq; orq $0x100, (%%rsp); popfq; "
            "movw %%ax, %%ss; int $1; ud2")
ATTACK_CODE(icebp, ".byte 0xf1")
ATTACK_CODE(lock_prefix_invalid, ".byte 0xf0, 0x90, 0x0f, 0x0b")
ATTACK_CODE(longest_instruction, ".fill 20, 1, 0x66; nop")
ATTACK_CODE(alignment_check,
            "subq $128, %%rsp; pushfq; orq $0x40000, (%%rsp); popfq; addq $128, %%rsp; "
            "movl -127(%%rsp), %%eax")
ATTACK_CODE(x87_pending_exception,
            "subq $128, %%rsp; movw $0x0340, (%%rsp); fldcw (%%rsp); addq $128, %%rsp; fldz; fld1; "
            "fdivp; fwait")
ATTACK_CODE(sse_unmasked_exception,
            "subq $128, %%rsp; movl $0, (%%rsp); ldmxcsr (%%rsp); addq $128, %%rsp; "
            "xorps %%xmm0, %%xmm0; movl $1, %%eax; cvtsi2sd %%eax, %%xmm1; divsd %%xmm0, %%xmm1")

/* ---- Every way that user code can look at or set what the kernel keeps: may return ---- */
AEE_SIGNATURE(read_processor_state, "i:");
AEE_EXPORT int64_t read_processor_state(void)
{
    uint64_t flags;
    __asm__ volatile("pushfq; popq %0" : "=r"(flags));
    return (flags & 0x3000) != 0; /* IOPL must be 0: a value here is an attack that got through */
}

AEE_SIGNATURE(flood_cpuid, "i:");
AEE_EXPORT int64_t flood_cpuid(void)
{
    for (;;) {
        uint32_t a = 0;
        uint32_t b;
        uint32_t c = 0;
        uint32_t d;
        __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    }
    return ATTACK_GOT_THROUGH;
}

AEE_SIGNATURE(flood_rdtsc, "i:");
AEE_EXPORT int64_t flood_rdtsc(void)
{
    for (;;) {
        (void)attack_clock();
    }
    return ATTACK_GOT_THROUGH;
}

AEE_SIGNATURE(flood_vmcall, "i:");
AEE_EXPORT int64_t flood_vmcall(void)
{
    for (;;) {
        uint64_t a = UINT64_MAX;
        __asm__ volatile("vmcall" : "+a"(a)::"memory");
    }
    return ATTACK_GOT_THROUGH;
}

AEE_SIGNATURE(flood_trap_flag, "i:");
AEE_EXPORT int64_t flood_trap_flag(void)
{
    __asm__ volatile("subq $128, %%rsp; pushfq; orq $0x100, (%%rsp); popfq; addq $128, %%rsp;"
                     "1: nop; jmp 1b" ::
                         : ATTACK_CLOBBERS);
    return ATTACK_GOT_THROUGH;
}
