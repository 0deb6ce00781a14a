/* test_faults.c: exceptions, privileged instructions, ports, selectors and wild memory. Each ends
 * in a crash report that names vector, address, place and function; sweeps go over all numbers. */
#include "hostile/harness.h"

#include <stdio.h>
#include <string.h>

#include "aee_abi.h"

#define EXCEPTION(number, words)                                                             \
    {                                                                                        \
        .ends = ENDS_CRASH, .cause = AEE_CRASH_EXCEPTION, .vectors = (number), .text = words \
    }
#define PAGE_FAULT(at, words)                                                                     \
    {                                                                                             \
        .ends = ENDS_CRASH, .cause = AEE_CRASH_EXCEPTION, .vectors = VECTOR(14), .address = (at), \
        .has_address = true, .text = words                                                        \
    }

/* ---- Sweeps: one function, many arguments, a new context every so often ------------------- */

static void sweep(struct hostile *hostile, aee_call_mode mode, const char *function, int64_t from,
                  int64_t to, const struct hostile_end *end)
{
    enum { SHOTS = 50 };
    struct offender offender = {{0}, mode};
    for (int64_t argument = from; argument < to; argument++) {
        if ((argument - from) % SHOTS == 0) { /* before a quarantine comes */
            hostile_destroy(hostile, offender);
            offender = hostile_offender(hostile, mode, NULL);
        }
        int64_t value = 0;
        aee_result result = hostile_call1(hostile, offender, function, argument, &value);
        if (result == AEE_OK && value != 0) {
            fail_msg("%s(0x%llx) got through", function, (unsigned long long)argument);
        }
        hostile_expect(hostile, offender, result, function, end);
        assert_int_equal(
            aee_wait_ready(hostile->engine, offender.context, 10000 * MS * hostile_scale(), NULL),
            AEE_OK);
    }
    hostile_expect_recovery(hostile, offender);
    hostile_expect_bystander(hostile);
    hostile_destroy(hostile, offender);
}

/* Only breakpoints and overflows have gates. An emulated KVM may take a number for a call of its
 * own, and answer it. */
static void interrupts(struct hostile *hostile, aee_call_mode mode)
{
    const struct hostile_end refused = {
        .ends = ENDS_CRASH | ENDS_RETURN, .cause = AEE_CRASH_EXCEPTION, .vectors = VECTORS_REFUSED};
    struct hostile_end gate = {.ends = ENDS_CRASH,
                               .cause = AEE_CRASH_EXCEPTION,
                               .vectors = VECTOR(3),
                               .text = "breakpoint in attacker_interrupts",
                               .function = "attacker_interrupts"};
    sweep(hostile, mode, "interrupt", 0, 3, &refused);
    sweep(hostile, mode, "interrupt", 3, 4, &gate);
    gate = (struct hostile_end){.ends = ENDS_CRASH, .vectors = VECTOR(4), .text = "overflow in"};
    sweep(hostile, mode, "interrupt", 4, 5, &gate);
    sweep(hostile, mode, "interrupt", 5, 256, &refused);
}

static bool is_open(int64_t port)
{
    return port >= AEE_PORT_HYPERCALL && port <= AEE_PORT_SYSCALL;
}

/* Every function on ports around ours, one of each usual device, and the last. */
static void ports(struct hostile *hostile, aee_call_mode mode)
{
    static const char *const functions[] = {"port_in_byte",  "port_in_word",  "port_in_long",
                                            "port_out_byte", "port_out_word", "port_out_long",
                                            "port_ins",      "port_outs",     "port_rep_outs"};
    static const int64_t numbers[] = {0,     0xc,   0xd,   0xe,   0xf,   0x15,   0x16,
                                      0x1f,  0x20,  0x2e,  0x3f,  0x40,  0x60,   0x64,
                                      0x70,  0x80,  0x92,  0xa1,  0xff,  0x100,  0x1f0,
                                      0x3f8, 0x402, 0x511, 0xcf8, 0xcf9, 0xffff, 0x5658};
    const struct hostile_end end = EXCEPTION(VECTOR(13), "general protection fault in port_");
    for (size_t f = 0; f < COUNT_OF(functions); f++) {
        for (size_t n = 0; n < COUNT_OF(numbers); n++) {
            assert_false(is_open(numbers[n]));
            sweep(hostile, mode, functions[f], numbers[n], numbers[n] + 1, &end);
        }
    }
}

/* Our ports, in every way but the right one: each way is a protocol error or none of ours. */
static void ports_of_ours(struct hostile *hostile, aee_call_mode mode)
{
    static const char *const functions[] = {"port_in_byte",  "port_in_word",  "port_in_long",
                                            "port_out_byte", "port_out_word", "port_out_long",
                                            "port_ins",      "port_rep_outs"};
    const struct hostile_end end = {.ends = ENDS_CRASH, .function = "*"};
    const struct hostile_end as_syscall = {.ends = ENDS_CRASH}; /* RIP is in a register then */
    for (size_t f = 0; f < COUNT_OF(functions); f++) {
        sweep(hostile, mode, functions[f], AEE_PORT_HYPERCALL, AEE_PORT_SYSCALL, &end);
        sweep(hostile, mode, functions[f], AEE_PORT_SYSCALL, AEE_PORT_SYSCALL + 1, &as_syscall);
    }
    const struct hostile_end null_end = {.ends = ENDS_CRASH};
    sweep(hostile, mode, "port_rep_outs_null", AEE_PORT_HYPERCALL, AEE_PORT_HYPERCALL + 1,
          &null_end);
}

/* All selectors of the table and some beyond, of every privilege, by every instruction. */
static void selectors(struct hostile *hostile, aee_call_mode mode)
{
    static const char *const functions[] = {"selector_far_return", "selector_far_jump",
                                            "selector_far_call",   "selector_iret",
                                            "selector_stack",      "selector_data"};
    const struct hostile_end end = {.ends = ENDS_CRASH | ENDS_RETURN,
                                    .cause = AEE_CRASH_EXCEPTION,
                                    .vectors = VECTOR(6) | VECTOR(11) | VECTOR(12) | VECTOR(13) |
                                               VECTOR(14)};
    for (size_t f = 0; f < COUNT_OF(functions); f++) {
        sweep(hostile, mode, functions[f], 0, 0x80, &end);
        sweep(hostile, mode, functions[f], 0xa8, 0xb0, &end);
        sweep(hostile, mode, functions[f], 0xfff8, 0x10000, &end);
    }
}

static void compatibility_mode(struct hostile *hostile, aee_call_mode mode)
{
    static const char *const functions[] = {"compat_interrupt_80", "compat_sysenter",
                                            "compat_syscall", "compat_privileged", "compat_into"};
    static const int64_t code_segments[] = {0x1b, 0x23, 0x2b, 0x33, 0x3b, 0x43};
    const struct hostile_end end = {.ends = ENDS_CRASH};
    for (size_t f = 0; f < COUNT_OF(functions); f++) {
        for (size_t s = 0; s < COUNT_OF(code_segments); s++) {
            sweep(hostile, mode, functions[f], code_segments[s], code_segments[s] + 1, &end);
        }
    }
}

/* ---- Wild addresses ----------------------------------------------------------------------- */

static void expect_fault_at(struct hostile *hostile, aee_call_mode mode, const char *function,
                            uint64_t address, const char *words)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    bool canonical = address + (UINT64_C(1) << 47) < UINT64_C(1) << 48;
    struct hostile_end end = canonical
                                 ? (struct hostile_end)PAGE_FAULT(address, words)
                                 : (struct hostile_end)EXCEPTION(VECTOR(13) | VECTOR(12), NULL);
    const int64_t args[2] = {(int64_t)address, 0};
    uint32_t count = strcmp(function, "poke") == 0 ? 2 : 1;
    aee_result result = hostile_call(hostile, offender, function, args, count, NULL);
    hostile_expect(hostile, offender, result, function, &end);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* Every boundary of the address map, from both sides, by read, write and jump. */
static void address_map(struct hostile *hostile, aee_call_mode mode)
{
    static const struct {
        uint64_t address;
        const char *words;
    } places[] = {
        {0x7, "null pointer + 7"},
        {AEE_GVA_NULL_GUARD_END - 8, "null pointer"},
        {AEE_GVA_SYSTEM, "the system area"},
        {AEE_GVA_SYSTEM + 0x1000, "the system area"},     /* interrupt table */
        {AEE_GVA_SYSTEM + 0x2000, "the system area"},     /* task state */
        {AEE_GVA_SYSTEM + 0x4400 - 8, "the system area"}, /* exception stack */
        {AEE_GVA_VDSO - 8, "the system area"},
        {AEE_GVA_INFO + 0x1000, "the library's pages"},
        {AEE_GVA_IMAGE_END - 8, "outside of the image's segments"},
        {AEE_GVA_STACKS, "the guard below the stack of lane 0"},
        {AEE_GVA_STACKS + AEE_STACK_GUARD + AEE_STACK_MAX, "behind the stack of lane 0"},
        {AEE_GVA_STACKS + AEE_STACK_STRIDE, "no lane's stack"},
        {AEE_GVA_LANES + AEE_LANE_STRIDE, ""},
        {AEE_GVA_HEAP - 8, ""},
        {AEE_GVA_HEAP + AEE_HEAP_MAX, "mapped to nothing"},
        {AEE_GVA_REGIONS, "no region that is mapped"},
        {AEE_GVA_REGIONS + AEE_REGIONS_SIZE - 8, "no region that is mapped"},
        {UINT64_C(0x100000000000), "mapped to nothing"}, /* where regions lie in the engine */
        {UINT64_C(0x7ffffffff000), "mapped to nothing"},
        {UINT64_C(0x800000000000), NULL},
        {UINT64_C(0xdeadbeefdeadbeef), NULL},
        {UINT64_C(0xffff800000000000), "mapped to nothing"},
        {UINT64_C(0xffffffffff600000), "mapped to nothing"}, /* Linux's vsyscall page */
    };
    static const char *const functions[] = {"peek", "poke", "jump"};
    for (size_t f = 0; f < COUNT_OF(functions); f++) {
        for (size_t p = 0; p < COUNT_OF(places); p++) {
            expect_fault_at(hostile, mode, functions[f], places[p].address, places[p].words);
        }
    }
}

/* A string instruction that begins in the heap and ends behind it: the address is the boundary. */
static void copy_over_the_end(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    uint64_t end = (uint64_t)hostile_ask(hostile, offender, "heap_end", 0);
    const int64_t args[2] = {(int64_t)(end - 64), 128};
    const struct hostile_end fault = PAGE_FAULT(end, "beyond the heap's limit) in copy_across");
    hostile_expect(hostile, offender, hostile_call(hostile, offender, "copy_across", args, 2, NULL),
                   "copy_across", &fault);
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
}

/* The registers of the report are those of the faulting instruction, not of the library's stubs. */
static void registers_of_the_report(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    const int64_t args[2] = {0x123450, 0x77665544};
    assert_int_equal(hostile_call(hostile, offender, "poke", args, 2, NULL), AEE_ERR_CRASHED);
    aee_crash crash = hostile_crash(hostile, offender);
    assert_int_equal(crash.error_code & 7, 6); /* not present, write, user */
    assert_in_range(crash.registers.rip, AEE_GVA_IMAGE, AEE_GVA_IMAGE_END);
    assert_in_range(crash.registers.rsp, AEE_GVA_STACKS, AEE_GVA_STACKS + AEE_STACK_STRIDE);
    assert_true(crash.registers.rdi == 0x123450 || crash.registers.rax == 0x123450);
    assert_int_equal(crash.registers.rsi, 0x77665544);
    assert_string_equal(crash.function, "poke");
    assert_in_range(crash.function_offset, 0, 64);
    assert_int_equal(crash.id, 1);
    hostile_expect_recovery(hostile, offender);
    assert_int_equal(hostile_call(hostile, offender, "poke", args, 2, NULL), AEE_ERR_CRASHED);
    assert_int_equal(hostile_crash(hostile, offender).id, 2);
    hostile_destroy(hostile, offender);
}

#define CODE(function, vectors, words)                                       \
    {                                                                        \
        .name = function, .call = function, .end = EXCEPTION(vectors, words) \
    }
#define CODE_MAY_RETURN(function)                                                              \
    {                                                                                          \
        .name = function, .call = function,                                                    \
        .end = {.ends = ENDS_CRASH | ENDS_HANG, .cause = AEE_CRASH_NONE}, .budget_ns = 20 * MS \
    }
#define FAULTS_OF_IRET                                                                       \
    (VECTOR(6) | VECTOR(11) | VECTOR(12) | VECTOR(13) | VECTOR(14) | VECTOR(1) | VECTOR(3) | \
     VECTOR(17))

static const struct hostile_case cases[] = {
    {.name = "INT n for all n", .script = interrupts},
    {.name = "IN, OUT, INS, OUTS on foreign ports", .script = ports},
    {.name = "IN, OUT, INS, OUTS on our ports", .script = ports_of_ours},
    {.name = "far transfers and loads of all selectors", .script = selectors},
    {.name = "code of 32 bits", .script = compatibility_mode},
    {.name = "every boundary of the address map", .script = address_map},
    {.name = "a copy over the end of the heap", .script = copy_over_the_end},
    {.name = "registers of the report", .script = registers_of_the_report},
    CODE("iret_non_canonical", FAULTS_OF_IRET, NULL),
    CODE("iret_null", FAULTS_OF_IRET, NULL),
    CODE("iret_data_as_code", FAULTS_OF_IRET, NULL),
    CODE("iret_code_as_stack", FAULTS_OF_IRET, NULL),
    CODE("iret_task_as_code", FAULTS_OF_IRET, NULL),
    CODE("iret_virtual_8086", FAULTS_OF_IRET, NULL),
    CODE("iret_all_flags", FAULTS_OF_IRET, NULL),
    CODE("iret_wild_stack", VECTOR(14) | VECTOR(6) | VECTOR(13), NULL),
    CODE("pop_wild_stack_selector", VECTOR(13), "in pop_wild_stack_selector"),
    CODE("stack_non_canonical", VECTOR(12) | VECTOR(13), "in stack_non_canonical"),
    CODE("stack_in_kernel_half", VECTOR(14), "mapped to nothing) in stack_in_kernel_half"),
    CODE("stack_null_then_fault", VECTOR(6), "invalid instruction in stack_null_then_fault"),
    CODE("stack_kernel_then_fault", VECTOR(6), "invalid instruction in stack_kernel_then_fault"),
    CODE("stack_in_system_then_fault", VECTOR(6),
         "invalid instruction in stack_in_system_then_fault"),
    CODE("no_stack_no_segments", VECTOR(3), "breakpoint in no_stack_no_segments"),
    CODE("trap_flag_then_fault", VECTOR(1) | VECTOR(14), "in trap_flag_then_fault"),
    {.name = "trap_flag_then_hypercall",
     .call = "trap_flag_then_hypercall",
     .end = {.ends = ENDS_CRASH, .text = "in trap_flag_then_hypercall"}},
    {.name = "trap_flag_into_system_call",
     .call = "trap_flag_into_system_call",
     .end = {.ends = ENDS_CRASH}},
    CODE("move_ss_then_interrupt", VECTOR(1) | VECTORS_REFUSED, "in move_ss_then_interrupt"),
    CODE("icebp", VECTOR(1) | VECTORS_REFUSED, "in icebp"),
    CODE("lock_prefix_invalid", VECTOR(6), "invalid instruction in lock_prefix_invalid"),
    CODE("longest_instruction", VECTOR(13) | VECTOR(6), "in longest_instruction"),
    {.name = "alignment_check",
     .call = "alignment_check",
     .end = EXCEPTION(VECTOR(17), "unaligned access in alignment_check"),
     .can_be = hostile_traps_unaligned},
    CODE("x87_pending_exception", VECTOR(16), "x87 floating-point error in x87_pending_exception"),
    {.name = "sse_unmasked_exception",
     .call = "sse_unmasked_exception",
     .end = EXCEPTION(VECTOR(19), "SIMD floating-point error in sse_unmasked_exception"),
     .can_be = hostile_traps_sse_divide},
    {.name = "read_processor_state", .call = "read_processor_state", .end = {.ends = ENDS_RETURN}},
};

int main(int argc, char **argv)
{
    static const struct hostile_program program = {.name = "hostile_faults",
                                                   .image = "hostile_attacker.elf",
                                                   .cases = cases,
                                                   .count = COUNT_OF(cases)};
    return hostile_main(&program, argc, argv);
}
