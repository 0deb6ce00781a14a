/* mod_thief_processor.c: the thief's attacks with instructions: exceptions, privileged
 * instructions, flags and segments, every way into a kernel that x86 has. */
#include <aee_guest.h>

#include "mod_thief.h"

#define CLOBBERS "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc"

/* An attack that is a few instructions; got through (1) where it must crash. */
#define CODE(name, result, text)             \
    static int64_t name(void)                \
    {                                        \
        __asm__ volatile(text ::: CLOBBERS); \
        return result;                       \
    }

/* ---- Exceptions ---- */
CODE(divide_by_zero, 1, "xorl %%ecx, %%ecx; movl $1, %%eax; cltd; idivl %%ecx")
CODE(divide_overflow, 1, "movl $0x80000000, %%eax; cltd; movl $-1, %%ecx; idivl %%ecx")
CODE(undefined, 1, "ud2")
CODE(breakpoint, 1, "int3")
CODE(unaligned_sse, 1, "movq %%rsp, %%rax; andq $-16, %%rax; movaps -63(%%rax), %%xmm0")
CODE(sse_unmasked, 1,
     "subq $128, %%rsp; movl $0x1d80, (%%rsp); ldmxcsr (%%rsp); addq $128, %%rsp;"
     "xorps %%xmm0, %%xmm0; movl $1, %%eax; cvtsi2sd %%eax, %%xmm1; divsd %%xmm0, %%xmm1")
CODE(sse_reserved, 1, "subq $128, %%rsp; movl $0xffff0000, (%%rsp); ldmxcsr (%%rsp)")
CODE(x87_unmasked, 1,
     "subq $128, %%rsp; movw $0x0360, (%%rsp); fldcw (%%rsp); addq $128, %%rsp;"
     "fldz; fld1; fdivp; fwait")
/* Left behind for whoever runs next on this lane. */
CODE(mxcsr_left_unmasked, 0,
     "subq $128, %%rsp; movl $0, (%%rsp); ldmxcsr (%%rsp); addq $128, %%rsp")
CODE(x87_left_full, 0, "fld1; fld1; fld1; fld1; fld1; fld1; fld1; fld1")

/* ---- Flags ---- */
#define SET_FLAGS(bits) \
    "subq $128, %%rsp; pushfq; orq $" #bits ", (%%rsp); popfq; nop; nop; addq $128, %%rsp"
CODE(trap_flag, 0, SET_FLAGS(0x100))
CODE(alignment_flag, 0, SET_FLAGS(0x40000) "; movl -127(%%rsp), %%eax")
CODE(nested_task, 1, SET_FLAGS(0x4000) "; iretq")
CODE(io_privilege, 1, SET_FLAGS(0x3000) "; movb $0, %%al; outb %%al, $0x80")
CODE(interrupts_by_popf, 0,
     "subq $128, %%rsp; pushfq; andq $~0x200, (%%rsp); popfq; addq $128, %%rsp")
/* The ABI wants it clear; the library must not rely on it. */
CODE(direction_flag, 0, "std")

/* ---- Privileged instructions ---- */
CODE(halt, 1, "hlt")
CODE(interrupts_off, 1, "cli")
CODE(interrupts_on, 1, "sti")
CODE(read_cr0, 1, "movq %%cr0, %%rax")
CODE(read_cr3, 1, "movq %%cr3, %%rax")
CODE(write_cr0, 1, "movl $0x80000011, %%eax; movq %%rax, %%cr0")
CODE(write_cr3, 1, "movl $0x400000, %%eax; movq %%rax, %%cr3")
CODE(write_cr4, 1, "xorl %%eax, %%eax; movq %%rax, %%cr4")
CODE(write_cr8, 1, "xorl %%eax, %%eax; movq %%rax, %%cr8")
CODE(read_dr7, 1, "movq %%dr7, %%rax")
CODE(write_dr0, 1, "xorl %%eax, %%eax; movq %%rax, %%dr0")
CODE(load_gdt, 1, "lgdt -64(%%rsp)")
CODE(load_idt, 1, "lidt -64(%%rsp)")
CODE(load_ldt, 1, "xorl %%eax, %%eax; lldt %%ax")
CODE(load_task, 1, "movl $0x28, %%eax; ltr %%ax")
CODE(load_machine_status, 1, "movl $1, %%eax; lmsw %%ax")
CODE(clear_task_switched, 1, "clts")
CODE(flush_page, 1, "invlpg (%%rsp)")
CODE(flush_context, 1, "xorl %%eax, %%eax; invpcid -64(%%rsp), %%rax")
CODE(drop_caches, 1, "invd")
CODE(write_back_caches, 1, "wbinvd")
CODE(read_msr, 1, "movl $0xc0000080, %%ecx; rdmsr")
CODE(write_msr, 1, "movl $0xc0000082, %%ecx; xorl %%eax, %%eax; xorl %%edx, %%edx; wrmsr")
CODE(read_msr_wild, 1, "movl $0xdeadbeef, %%ecx; rdmsr")
CODE(set_xcr0, 1, "xorl %%ecx, %%ecx; xorl %%edx, %%edx; movl $1, %%eax; xsetbv")
CODE(swap_gs, 1, "swapgs")
CODE(system_return, 1, "leaq 1f(%%rip), %%rcx; pushfq; popq %%r11; sysretq; 1:")
CODE(monitor, 1, "movq %%rsp, %%rax; xorl %%ecx, %%ecx; xorl %%edx, %%edx; monitor; mwait")
CODE(resume_from_smm, 1, "rsm")
CODE(vmx_off, 1, "vmxoff")
CODE(vmx_launch, 1, "vmlaunch")
CODE(svm_run, 1, "movl $0x400000, %%eax; vmrun")
CODE(out_string, 1, "movl $0x3f8, %%edx; leaq -64(%%rsp), %%rsi; movl $4, %%ecx; rep outsb")
CODE(in_string, 1, "movl $0x60, %%edx; leaq -64(%%rsp), %%rdi; movl $4, %%ecx; rep insb")
CODE(out_debug_port, 1, "outb %%al, $0x80")
CODE(out_reset, 1, "movl $0xcf9, %%edx; movb $6, %%al; outb %%al, %%dx")
CODE(in_pci, 1, "movl $0xcf8, %%edx; inl %%dx, %%eax")
CODE(out_exception_port, 1, "outb %%al, $0x20") /* AEE_PORT_EXCEPTION: for the stubs only */
CODE(in_keyboard, 1, "inb $0x60, %%al")

/* ---- Ways into a kernel ---- */
CODE(system_call, 1, "movl $39, %%eax; syscall")
CODE(system_enter, 1, "movl $20, %%eax; sysenter")
CODE(interrupt_80, 1, "movl $20, %%eax; int $0x80")
CODE(double_fault_gate, 1, "int $8")
CODE(page_fault_gate, 1, "int $14")
CODE(return_to_ring_0, 1,
     "movq %%rsp, %%rax; pushq $0; pushq %%rax; pushfq; pushq $8; leaq 1f(%%rip), %%rcx;"
     "pushq %%rcx; iretq; 1:")
CODE(null_stack_segment, 1, "movl $0x18, %%eax; movw %%ax, %%ss; pushq %%rax; popq %%rax; ud2")
CODE(far_return_ring_0, 1, "pushq $8; leaq 1f(%%rip), %%rax; pushq %%rax; lretq; 1:")
CODE(vm_call, 0, "movl $1, %%eax; vmcall")
CODE(vmm_call, 0, "movl $1, %%eax; vmmcall")
CODE(vm_call_wild, 0, "movl $-1, %%eax; movq %%rax, %%rbx; movq %%rax, %%rcx; vmcall")

/* ---- Segments and bases ---- */
CODE(clear_data_segments, 0, "xorl %%eax, %%eax; movw %%ax, %%ds; movw %%ax, %%es")
CODE(clear_fs, 0, "xorl %%eax, %%eax; movw %%ax, %%fs")
CODE(clear_gs, 0, "xorl %%eax, %%eax; movw %%ax, %%gs")
CODE(load_wild_selector, 1, "movl $0xfff8, %%eax; movw %%ax, %%es")
CODE(fs_base_wild, 0, "movabsq $0x5555555555555555, %%rax; shrq $17, %%rax; wrfsbase %%rax")
CODE(gs_base_wild, 0, "movabsq $0x5555555555555555, %%rax; shrq $17, %%rax; wrgsbase %%rax")
CODE(store_gdt, 0, "sgdt -64(%%rsp)")
CODE(store_idt, 0, "sidt -64(%%rsp)")
CODE(read_counter, 0, "xorl %%ecx, %%ecx; rdpmc")

/* ---- Floods ---- */
CODE(cpuid_flood, 0, "movl $1000, %%esi; 1: xorl %%eax, %%eax; cpuid; decl %%esi; jnz 1b")
CODE(time_flood, 0, "movl $100000, %%esi; 1: rdtsc; decl %%esi; jnz 1b")
CODE(endless_loop, 1, "1: jmp 1b")
CODE(endless_pause, 1, "1: pause; jmp 1b")

static const struct thief_attack attacks[] = {
    {"divide by zero", divide_by_zero, THIEF_CRASHES},
    {"divide with overflow", divide_overflow, THIEF_CRASHES},
    {"UD2", undefined, THIEF_CRASHES},
    {"INT3", breakpoint, THIEF_CRASHES},
    {"unaligned SSE", unaligned_sse, THIEF_CRASHES},
    {"unmasked SSE exception", sse_unmasked, THIEF_CRASHES},
    {"reserved MXCSR bits", sse_reserved, THIEF_CRASHES},
    {"unmasked x87 exception", x87_unmasked, THIEF_CRASHES},
    {"leave MXCSR unmasked", mxcsr_left_unmasked, THIEF_LIVES},
    {"leave the x87 stack full", x87_left_full, THIEF_LIVES},
    {"set the trap flag", trap_flag, THIEF_LIVES},
    {"set the alignment-check flag", alignment_flag, THIEF_LIVES},
    {"IRET with the nested-task flag", nested_task, THIEF_CRASHES},
    {"raise IOPL by POPF", io_privilege, THIEF_CRASHES},
    {"clear IF by POPF", interrupts_by_popf, THIEF_LIVES},
    {"leave the direction flag set", direction_flag, THIEF_LIVES},
    {"HLT", halt, THIEF_CRASHES},
    {"CLI", interrupts_off, THIEF_CRASHES},
    {"STI", interrupts_on, THIEF_CRASHES},
    {"read CR0", read_cr0, THIEF_CRASHES},
    {"read CR3", read_cr3, THIEF_CRASHES},
    {"write CR0", write_cr0, THIEF_CRASHES},
    {"write CR3", write_cr3, THIEF_CRASHES},
    {"write CR4", write_cr4, THIEF_CRASHES},
    {"write CR8", write_cr8, THIEF_CRASHES},
    {"read DR7", read_dr7, THIEF_CRASHES},
    {"write DR0", write_dr0, THIEF_CRASHES},
    {"LGDT", load_gdt, THIEF_CRASHES},
    {"LIDT", load_idt, THIEF_CRASHES},
    {"LLDT", load_ldt, THIEF_CRASHES},
    {"LTR", load_task, THIEF_CRASHES},
    {"LMSW", load_machine_status, THIEF_CRASHES},
    {"CLTS", clear_task_switched, THIEF_CRASHES},
    {"INVLPG", flush_page, THIEF_CRASHES},
    {"INVPCID", flush_context, THIEF_CRASHES},
    {"INVD", drop_caches, THIEF_CRASHES},
    {"WBINVD", write_back_caches, THIEF_CRASHES},
    {"RDMSR", read_msr, THIEF_CRASHES},
    {"WRMSR", write_msr, THIEF_CRASHES},
    {"RDMSR of a wild number", read_msr_wild, THIEF_CRASHES},
    {"XSETBV", set_xcr0, THIEF_CRASHES},
    {"SWAPGS", swap_gs, THIEF_CRASHES},
    {"SYSRET", system_return, THIEF_CRASHES},
    {"MONITOR and MWAIT", monitor, THIEF_CRASHES},
    {"RSM", resume_from_smm, THIEF_CRASHES},
    {"VMXOFF", vmx_off, THIEF_CRASHES},
    {"VMLAUNCH", vmx_launch, THIEF_CRASHES},
    {"VMRUN", svm_run, THIEF_CRASHES},
    {"OUTS to the serial port", out_string, THIEF_CRASHES},
    {"INS from the keyboard", in_string, THIEF_CRASHES},
    {"OUT to port 0x80", out_debug_port, THIEF_CRASHES},
    {"OUT to the reset port", out_reset, THIEF_CRASHES},
    {"IN from the PCI port", in_pci, THIEF_CRASHES},
    {"OUT to the exception port", out_exception_port, THIEF_CRASHES},
    {"IN from the keyboard", in_keyboard, THIEF_CRASHES},
    {"SYSCALL", system_call, THIEF_CRASHES},
    {"SYSENTER", system_enter, THIEF_CRASHES},
    {"INT 0x80", interrupt_80, THIEF_CRASHES},
    {"INT 8", double_fault_gate, THIEF_CRASHES},
    {"INT 14", page_fault_gate, THIEF_CRASHES},
    {"IRET to ring 0", return_to_ring_0, THIEF_CRASHES},
    {"load a wrong stack segment", null_stack_segment, THIEF_CRASHES},
    {"far return to ring 0", far_return_ring_0, THIEF_CRASHES},
    {"VMCALL", vm_call, THIEF_LIVES},
    {"VMMCALL", vmm_call, THIEF_LIVES},
    {"VMCALL with wild arguments", vm_call_wild, THIEF_LIVES},
    {"clear DS and ES", clear_data_segments, THIEF_LIVES},
    {"clear FS", clear_fs, THIEF_LIVES},
    {"clear GS", clear_gs, THIEF_LIVES},
    {"load a wild selector", load_wild_selector, THIEF_CRASHES},
    {"WRFSBASE", fs_base_wild, THIEF_LIVES},
    {"WRGSBASE", gs_base_wild, THIEF_LIVES},
    {"SGDT", store_gdt, THIEF_LIVES},
    {"SIDT", store_idt, THIEF_LIVES},
    {"RDPMC", read_counter, THIEF_LIVES},
    {"CPUID flood", cpuid_flood, THIEF_LIVES},
    {"RDTSC flood", time_flood, THIEF_LIVES},
    {"endless loop", endless_loop, THIEF_HANGS},
    {"endless PAUSE", endless_pause, THIEF_HANGS},
};
const struct thief_list thief_processor_attacks = {attacks, sizeof attacks / sizeof attacks[0]};

/* ---- Single shots ---- */

/* INT n; RET for every n, four bytes each. */
__asm__(".pushsection .text.thief_interrupts,\"ax\",@progbits\n"
        ".balign 16\n"
        "thief_interrupts:\n"
        ".set vector, 0\n"
        ".rept 256\n"
        "    .byte 0xcd, vector, 0xc3, 0x90\n"
        "    .set vector, vector + 1\n"
        ".endr\n"
        ".popsection\n");
extern const char thief_interrupts[1024] __attribute__((visibility("hidden")));

AEE_SIGNATURE(thief_interrupt, "i:i");
AEE_EXPORT int64_t thief_interrupt(int64_t n)
{
    const uintptr_t stub = (uintptr_t)thief_interrupts + 4u * ((uint64_t)n & 255u);
    ((void (*)(void))stub)(); // NOLINT(performance-no-int-to-ptr)
    return 1;
}

AEE_SIGNATURE(thief_out, "i:ii");
AEE_EXPORT int64_t thief_out(int64_t port, int64_t value)
{
    __asm__ volatile("outl %0, %1" ::"a"((uint32_t)value), "d"((uint16_t)port) : "memory");
    return 1;
}

AEE_SIGNATURE(thief_in, "i:i");
AEE_EXPORT int64_t thief_in(int64_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "d"((uint16_t)port) : "memory");
    return value;
}

/* 0 if it came back with user rights, as through one of the user's own code segments. */
AEE_SIGNATURE(thief_far_call, "i:i");
AEE_EXPORT int64_t thief_far_call(int64_t selector)
{
    __asm__ volatile("subq $128, %%rsp; pushq %0; leaq 1f(%%rip), %%rax; pushq %%rax; lretq;"
                     "1: addq $128, %%rsp" ::"r"(selector & 0xffff)
                     : CLOBBERS);
    uint16_t segment;
    __asm__ volatile("movw %%cs, %0" : "=r"(segment));
    return (segment & 3u) != 3u;
}
