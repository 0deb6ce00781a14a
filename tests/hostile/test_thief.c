/* test_thief.c: the sample component mod_thief tries all its attacks, each in a fresh context:
 * those that must crash do, with the exception that belongs to them; the others end as they may. */
#include "hostile/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aee_abi.h"

enum { THIEF_CRASHES, THIEF_LIVES, THIEF_HANGS, MOST_ATTACKS = 256 };

/* What the report of an attack must say; attacks that are not listed only have to end. */
static const struct detail {
    const char *attack;
    struct hostile_end end;
} details[] = {
#define FAULT(attack, number, words)                                                \
    {                                                                               \
        attack,                                                                     \
        {                                                                           \
            .cause = AEE_CRASH_EXCEPTION, .vectors = VECTOR(number), .text = words, \
            .function = "*"                                                         \
        }                                                                           \
    }
#define PAGE_FAULT(attack, at, words)                                                 \
    {                                                                                 \
        attack,                                                                       \
        {                                                                             \
            .cause = AEE_CRASH_EXCEPTION, .vectors = VECTOR(14), .has_address = true, \
            .address = (at), .text = words                                            \
        }                                                                             \
    }
    PAGE_FAULT("read null", 0, "read of address 0x0 (null pointer + 0) in read_null"),
    PAGE_FAULT("write null", 8, "write to address 0x8 (null pointer + 8) in write_null"),
    PAGE_FAULT("call null", 0, "execution of address 0x0 (null pointer + 0)"),
    PAGE_FAULT("read the null guard's last page", AEE_GVA_NULL_GUARD_END - 4096, "null pointer"),
    PAGE_FAULT("read the system area", AEE_GVA_SYSTEM,
               "read of address 0x200000 (the system area)"),
    PAGE_FAULT("write the system area", AEE_GVA_SYSTEM,
               "write to address 0x200000 (the system area)"),
    PAGE_FAULT("call the system area", AEE_GVA_SYSTEM,
               "execution of address 0x200000 (the system area)"),
    PAGE_FAULT("write the vDSO", AEE_GVA_VDSO, "(the library's pages)"),
    PAGE_FAULT("write the information page", AEE_GVA_INFO,
               "write to address 0x310000 (the library's pages)"),
    PAGE_FAULT("raise the heap size in the information page",
               AEE_GVA_INFO + offsetof(struct aee_abi_info, heap_size) + 4,
               "(the library's pages)"),
    PAGE_FAULT("execute the information page", AEE_GVA_INFO, "execution of"),
    PAGE_FAULT("read before the information page", AEE_GVA_INFO - 4096, "(the library's pages)"),
    PAGE_FAULT("read the end of the image area", AEE_GVA_IMAGE_END - 4096,
               "outside of the image's segments"),
    PAGE_FAULT("read the stack guard", AEE_GVA_STACKS, "the guard below the stack of lane 0"),
    PAGE_FAULT("read after the lanes", AEE_GVA_LANES + AEE_MAX_LANES * AEE_LANE_STRIDE, "read of"),
    PAGE_FAULT("read before the heap", AEE_GVA_HEAP - 4096, "read of"),
    PAGE_FAULT("read the end of the heap area", AEE_GVA_HEAP + AEE_HEAP_MAX - 4096,
               "beyond the heap's limit"),
    PAGE_FAULT("read the end of the region area", AEE_GVA_REGIONS + AEE_REGIONS_SIZE - 4096,
               "no region that is mapped"),
    PAGE_FAULT("write the end of the region area", AEE_GVA_REGIONS + AEE_REGIONS_SIZE - 4096,
               "no region that is mapped"),
    PAGE_FAULT("read after the region area", AEE_GVA_REGIONS + AEE_REGIONS_SIZE,
               "mapped to nothing"),
    FAULT("read a non-canonical address", 13, "general protection fault in read_not_canonical"),
    FAULT("divide by zero", 0, "division error in divide_by_zero"),
    FAULT("divide with overflow", 0, "division error"),
    FAULT("UD2", 6, "invalid instruction in undefined"),
    FAULT("INT3", 3, "breakpoint"),
    FAULT("unaligned SSE", 13, "general protection fault in unaligned_sse"),
    FAULT("unmasked SSE exception", 19, "SIMD floating-point error in sse_unmasked"),
    {"reserved MXCSR bits", {.cause = AEE_CRASH_EXCEPTION, .vectors = VECTORS_REFUSED}},
    FAULT("unmasked x87 exception", 16, "x87 floating-point error in x87_unmasked"),
    FAULT("HLT", 13, "in halt"),
    FAULT("CLI", 13, "in interrupts_off"),
    FAULT("STI", 13, "in interrupts_on"),
    FAULT("read CR0", 13, "in read_cr0"),
    FAULT("read CR3", 13, "in read_cr3"),
    FAULT("write CR0", 13, "in write_cr0"),
    FAULT("write CR3", 13, "in write_cr3"),
    FAULT("write CR4", 13, "in write_cr4"),
    FAULT("write CR8", 13, "in write_cr8"),
    FAULT("read DR7", 13, "in read_dr7"),
    FAULT("write DR0", 13, "in write_dr0"),
    FAULT("LGDT", 13, "in load_gdt"),
    FAULT("LIDT", 13, "in load_idt"),
    FAULT("LLDT", 13, "in load_ldt"),
    FAULT("LTR", 13, "in load_task"),
    FAULT("LMSW", 13, "in load_machine_status"),
    FAULT("CLTS", 13, "in clear_task_switched"),
    FAULT("INVLPG", 13, "in flush_page"),
    FAULT("INVD", 13, "in drop_caches"),
    FAULT("WBINVD", 13, "in write_back_caches"),
    FAULT("RDMSR", 13, "in read_msr"),
    FAULT("WRMSR", 13, "in write_msr"),
    FAULT("RDMSR of a wild number", 13, "in read_msr_wild"),
    FAULT("XSETBV", 13, "in set_xcr0"),
    FAULT("SWAPGS", 13, "in swap_gs"),
    FAULT("OUTS to the serial port", 13, "in out_string"),
    FAULT("INS from the keyboard", 13, "in in_string"),
    FAULT("OUT to port 0x80", 13, "in out_debug_port"),
    FAULT("OUT to the reset port", 13, "in out_reset"),
    FAULT("IN from the PCI port", 13, "in in_pci"),
    FAULT("OUT to the exception port", 13, "in out_exception_port"),
    FAULT("IN from the keyboard", 13, "in in_keyboard"),
    FAULT("IRET to ring 0", 13, "in return_to_ring_0"),
    FAULT("load a wrong stack segment", 13, "in null_stack_segment"),
    FAULT("far return to ring 0", 13, "in far_return_ring_0"),
    FAULT("load a wild selector", 13, "in load_wild_selector"),
    {"read the last byte of the address space", {.cause = AEE_CRASH_EXCEPTION}},
    {"write its own code", {.vectors = VECTOR(14), .text = "(the image's code) in write_code"}},
    {"write its own constants", {.vectors = VECTOR(14), .text = "(the image's read-only data"}},
    {"execute data", {.vectors = VECTOR(14), .text = "execution of address"}},
    {"execute the stack", {.vectors = VECTOR(14), .text = "(the stack of lane 0)"}},
    {"execute the heap", {.vectors = VECTOR(14), .text = "(the heap)"}},
    {"overflow the stack", {.vectors = VECTOR(14), .text = "stack overflow) in recurse"}},
    {"move the stack to null", {.vectors = VECTOR(12) | VECTOR(14), .text = "pivot_to_null"}},
    {"move the stack into the system area", {.vectors = VECTOR(14), .text = "(the system area)"}},
    {"fault with the stack in the heap", {.vectors = VECTOR(6), .text = "pivot_to_heap"}},
    {"read after the heap", {.vectors = VECTOR(14), .text = "beyond the heap's limit"}},
    {"write after the heap", {.vectors = VECTOR(14), .text = "beyond the heap's limit"}},
    {"fill 2^40 bytes", {.vectors = VECTOR(14), .text = "beyond the heap's limit) in huge_copy"}},
    {"fill the heap", {.cause = AEE_CRASH_OUT_OF_MEMORY, .text = "out of memory (16 MiB heap)"}},
    {"abort with a text without end", {.cause = AEE_CRASH_ABORT, .text = "aborted: %%%%"}},
    {"OUT to the SYSCALL port", {.cause = AEE_CRASH_SYSCALL, .text = "SYSCALL"}},
    {"hypercall 0", {.cause = AEE_CRASH_PROTOCOL, .text = "unknown hypercall"}},
    {"hypercall of an unknown number", {.cause = AEE_CRASH_PROTOCOL, .text = "unknown hypercall"}},
    {"hypercall of all ones", {.cause = AEE_CRASH_PROTOCOL, .text = "unknown hypercall"}},
    {"hypercall of another width", {.cause = AEE_CRASH_PROTOCOL}},
    {"IN from the hypercall port", {.cause = AEE_CRASH_PROTOCOL, .text = "input"}},
    {"OUTS to the hypercall port", {.cause = AEE_CRASH_PROTOCOL, .text = "string"}},
#undef FAULT
#undef PAGE_FAULT
};

static struct {
    char names[MOST_ATTACKS][80];
    int64_t ends[MOST_ATTACKS];
    bool used[COUNT_OF(details)];
    int64_t count;
} list;

static void read_list(struct hostile *hostile, aee_call_mode mode)
{
    struct offender thief = hostile_offender_of(hostile, "mod_thief.elf", mode, NULL);
    assert_int_equal(hostile_call(hostile, thief, "thief_attack_count", NULL, 0, &list.count),
                     AEE_OK);
    assert_in_range(list.count, 100, MOST_ATTACKS);
    aee_function name = hostile_find(hostile, thief, "thief_attack_name");
    for (int64_t i = 0; i < list.count; i++) {
        size_t size = 0;
        memset(list.names[i], 0, sizeof list.names[i]);
        assert_int_equal(aee_call_bytes(hostile->engine, thief.context, name, &i, sizeof i,
                                        list.names[i], sizeof list.names[i] - 1, &size, NULL),
                         AEE_OK);
        list.ends[i] = hostile_ask(hostile, thief, "thief_attack_end", i);
    }
    hostile_destroy(hostile, thief);
}

static struct hostile_end expected(int64_t attack)
{
    struct hostile_end end = {0};
    for (size_t i = 0; i < COUNT_OF(details); i++) {
        if (strcmp(details[i].attack, list.names[attack]) == 0) {
            end = details[i].end;
            list.used[i] = true;
        }
    }
    end.ends = list.ends[attack] == THIEF_CRASHES ? ENDS_CRASH
               : list.ends[attack] == THIEF_HANGS ? ENDS_HANG
                                                  : ENDS_RETURN | ENDS_CRASH | ENDS_HANG;
    return end;
}

/* It answers right again, perhaps after some answers that it has forged for itself. */
static void expect_thief_back(struct hostile *hostile, struct offender thief)
{
    aee_error error;
    int64_t count = 0;
    for (int tries = 0; tries < 200 && count != list.count; tries++) {
        if (aee_wait_ready(hostile->engine, thief.context, 10000 * MS * hostile_scale(), &error) !=
            AEE_OK) {
            fail_msg("%s", error.text);
        }
        (void)hostile_call(hostile, thief, "thief_attack_count", NULL, 0, &count);
    }
    assert_int_equal(count, list.count);
}

static void try_attack(struct hostile *hostile, aee_call_mode mode, int64_t attack)
{
    aee_limits limits = {.call_budget_ns =
                             list.ends[attack] == THIEF_CRASHES ? 0 : 20 * MS * hostile_scale()};
    struct offender thief = hostile_offender_of(hostile, "mod_thief.elf", mode, &limits);
    int64_t value = 0;
    aee_result result = hostile_call1(hostile, thief, "thief_attempt", attack, &value);
    const struct hostile_end end = expected(attack);
    hostile_expect_bystander(hostile);
    if (result == AEE_OK && value != 0 &&
        strcmp(list.names[attack], "forge replies to coming requests") != 0) {
        fail_msg("\"%s\" got through: %lld", list.names[attack], (long long)value);
    }
    print_message("    %s: %s\n", list.names[attack],
                  result == AEE_OK ? "harmless" : hostile_crash(hostile, thief).text);
    hostile_expect(hostile, thief, result, "thief_attempt", &end);
    expect_thief_back(hostile, thief);
    hostile_destroy(hostile, thief);
}

/* An attack that needs a trap which this processor does not have. */
static bool cannot_be(const char *name)
{
    return (strcmp(name, "unmasked SSE exception") == 0 && !hostile_traps_sse_divide()) ||
           (strcmp(name, "reserved MXCSR bits") == 0 && !hostile_traps_sse_reserved());
}

/* What level none lets through: the kernel is there, and FS, GS and the way out (in the lane) are
 * what the component runs on. */
static bool is_promised(int64_t attack)
{
    static const char *const open_at_none[] = {
        "SYSCALL",  "SYSENTER", "INT 0x80", "clear FS",
        "clear GS", "WRFSBASE", "WRGSBASE", "fill the lane with garbage"};
    for (size_t i = 0; hostile_level() == AEE_LEVEL_NONE && i < COUNT_OF(open_at_none); i++) {
        if (strcmp(list.names[attack], open_at_none[i]) == 0) {
            (void)expected(attack); /* noted as used */
            return false;
        }
    }
    return true;
}

static void all_attacks(struct hostile *hostile, aee_call_mode mode)
{
    read_list(hostile, mode);
    for (int64_t i = 0; i < list.count; i++) {
        if (cannot_be(list.names[i])) {
            print_message("SKIP: this processor does not do %s\n", list.names[i]);
            (void)expected(i);
        } else if (is_promised(i)) {
            try_attack(hostile, mode, i);
        }
    }
    for (size_t i = 0; i < COUNT_OF(details); i++) {
        if (!list.used[i]) {
            fail_msg("the thief has no attack \"%s\" any more", details[i].attack);
        }
    }
}

/* ---- Mods in a frame loop: the thief tries one attack a frame, the good mod scores on ------ */

static void frame_loop(struct hostile *hostile, aee_call_mode mode)
{
    enum { FRAMES = 60 };
    struct offender thief = hostile_offender_of(hostile, "mod_thief.elf", mode, NULL);
    struct offender good = hostile_offender_of(hostile, "mod_good.elf", mode, NULL);
    struct offender twin = hostile_offender_of(hostile, "mod_good.elf", mode, NULL);
    assert_int_equal(hostile_ask(hostile, good, "mod_init", 5), 0);
    assert_int_equal(hostile_ask(hostile, twin, "mod_init", 5), 0);
    unsigned crashes = 0;
    for (int64_t frame = 0; frame < FRAMES; frame++) {
        assert_int_equal(aee_engine_frame_begin(hostile->engine, NULL), AEE_OK);
        aee_result result = hostile_call1(hostile, thief, "thief_attempt", frame % 40, NULL);
        crashes += result == AEE_ERR_CRASHED;
        int64_t with_thief = hostile_ask(hostile, good, "mod_tick", frame);
        assert_int_equal(aee_engine_frame_end(hostile->engine, NULL, NULL), AEE_OK);
        assert_int_equal(with_thief, hostile_ask(hostile, twin, "mod_tick", frame));
        assert_int_equal(
            aee_wait_ready(hostile->engine, thief.context, 10000 * MS * hostile_scale(), NULL),
            AEE_OK);
    }
    assert_in_range(crashes, 30, FRAMES);
    assert_int_equal(hostile_info(hostile, thief).crashes, crashes);
    assert_int_equal(hostile_info(hostile, good).crashes, 0);
    hostile_destroy(hostile, thief);
    hostile_destroy(hostile, good);
    hostile_destroy(hostile, twin);
}

static const struct hostile_case cases[] = {
    {.name = "all attacks of the thief", .script = all_attacks},
    {.name = "an attack in every frame", .script = frame_loop},
};

int main(int argc, char **argv)
{
    static const struct hostile_program program = {.name = "hostile_thief",
                                                   .image = "mod_thief.elf",
                                                   .cases = cases,
                                                   .count = COUNT_OF(cases)};
    return hostile_main(&program, argc, argv);
}
