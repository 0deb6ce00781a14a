/* system_x86_64.c: what a 64-bit processor needs to run CPL3 code and report its exceptions. All of
 * it is written once by the host and invisible to CPL3; CPL0 runs three instructions per exception.
 */
#include <string.h>

#include "isolation/kvm/kvm_internal.h"

_Static_assert(AEE__KVM_GDT + AEE__KVM_GDT_LIMIT < AEE__KVM_IDT, "the GDT fits");
_Static_assert(AEE__KVM_IDT + AEE__KVM_IDT_LIMIT < AEE__KVM_TSS, "the IDT fits");
_Static_assert(AEE__KVM_IST + AEE_MAX_LANES * AEE__KVM_IST_SIZE <=
                   AEE__SYSTEM_PAGES * UINT64_C(4096),
               "fits the system area");
_Static_assert(AEE__KVM_TSS + AEE_MAX_LANES * AEE__KVM_TSS_STRIDE <= AEE__KVM_STUBS, "TSSs fit");
_Static_assert(AEE__KVM_TR(AEE_MAX_LANES) <= AEE__KVM_GDT_LIMIT + 1, "TSS descriptors fit the GDT");

_Static_assert(AEE__KVM_STUBS == AEE__SYSTEM_TABLE_PAGES * UINT64_C(4096), "tables are read-only");
_Static_assert(AEE__KVM_IST == AEE__KVM_STUBS + AEE__SYSTEM_CODE_PAGES * UINT64_C(4096),
               "stubs execute, stacks do not");

static void put64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}

/* 16-byte system descriptor of an available 64-bit TSS (SDM vol. 3A, figure 8-4). */
static void put_tss_descriptor(uint8_t *at, uint64_t base)
{
    uint64_t low = AEE__KVM_TSS_LIMIT | (base & 0xffffff) << 16 | UINT64_C(0x89) << 40 |
                   (base >> 24 & 0xff) << 56;
    put64(at, low);
    put64(at + 8, base >> 32);
}

static void write_gdt(uint8_t *gdt, uint32_t lanes)
{
    put64(gdt + 0x08, UINT64_C(0x00af9b000000ffff)); /* CPL0 code, 64-bit */
    put64(gdt + 0x10, UINT64_C(0x00cf93000000ffff)); /* CPL0 data */
    put64(gdt + 0x20, UINT64_C(0x00cff3000000ffff)); /* CPL3 data */
    put64(gdt + 0x28,
          UINT64_C(0x00affb000000ffff)); /* CPL3 code, 64-bit; no 32-bit code anywhere */
    for (uint32_t lane = 0; lane < lanes; lane++) {
        put_tss_descriptor(gdt + AEE__KVM_TR(lane),
                           AEE_GVA_SYSTEM + AEE__KVM_TSS + lane * AEE__KVM_TSS_STRIDE);
    }
}

static uint64_t ist_top(uint32_t lane)
{
    return AEE__KVM_IST + (lane + 1) * AEE__KVM_IST_SIZE;
}

/* Task state: IST1 and RSP0, and an I/O permission bitmap in which only our ports are open; ports
 * above its end are closed (SDM vol. 1, 19.5.2). IOPL is 0 in the guest. */
static void write_tss(uint8_t *tss, uint32_t lane)
{
    enum { RSP0 = 4, IST1 = 36, BITMAP_BASE = 102, BITMAP = 0x68, BITMAP_SIZE = 32 };
    uint64_t top = AEE_GVA_SYSTEM + ist_top(lane);
    put64(tss + RSP0, top);
    put64(tss + IST1, top);
    tss[BITMAP_BASE] = BITMAP;
    memset(tss + BITMAP, 0xff, BITMAP_SIZE + 4);
    for (unsigned port = AEE_PORT_HYPERCALL; port < AEE_PORT_HYPERCALL + 4; port++) {
        tss[BITMAP + port / 8] &= (uint8_t) ~(1u << (port % 8));
    }
    tss[BITMAP + AEE_PORT_SYSCALL / 8] &= (uint8_t) ~(1u << (AEE_PORT_SYSCALL % 8));
}

static bool has_error_code(uint32_t vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 ||
           vector == 29 || vector == 30;
}

/* OUT to the vector's port; should the host resume, drop the error code and return to CPL3. */
static void write_stub(uint8_t *stub, uint32_t vector)
{
    static const uint8_t drop_error_code[] = {0x48, 0x83, 0xc4, 0x08}; /* add $8, %rsp */
    static const uint8_t iretq[] = {0x48, 0xcf};
    *stub++ = 0xe6; /* out %al, $imm8 */
    *stub++ = (uint8_t)(AEE_PORT_EXCEPTION + vector);
    if (has_error_code(vector)) {
        memcpy(stub, drop_error_code, sizeof drop_error_code);
        stub += sizeof drop_error_code;
    }
    memcpy(stub, iretq, sizeof iretq);
}

/* Interrupt gate, DPL 0 except for INT3 and INTO, on IST1 (SDM vol. 3A, figure 6-8). */
static void write_gate(uint8_t *gate, uint32_t vector, uint64_t handler)
{
    uint64_t type = vector == 3 || vector == 4 ? 0xee : 0x8e;
    put64(gate, (handler & 0xffff) | UINT64_C(8) << 16 | UINT64_C(1) << 32 | type << 40 |
                    (handler >> 16 & 0xffff) << 48);
    put64(gate + 8, handler >> 32);
}

void aee__kvm_system_write(uint8_t *system, uint64_t size, uint32_t lanes)
{
    /* The exception stacks are written by the processor first: they need no page before. */
    memset(system, 0, size < AEE__KVM_IST ? size : AEE__KVM_IST);
    write_gdt(system + AEE__KVM_GDT, lanes);
    for (uint32_t lane = 0; lane < lanes; lane++) {
        write_tss(system + AEE__KVM_TSS + lane * AEE__KVM_TSS_STRIDE, lane);
    }
    for (uint32_t vector = 0; vector < 32; vector++) {
        const uint64_t entry = UINT64_C(16) * vector; /* bytes of a gate, and of a stub */
        uint64_t stub = AEE__KVM_STUBS + entry;
        write_stub(system + stub, vector);
        write_gate(system + AEE__KVM_IDT + entry, vector, AEE_GVA_SYSTEM + stub);
    }
}

void aee__kvm_system_frame(const uint8_t *system, uint32_t lane, uint32_t vector,
                           struct aee__kvm_frame *frame)
{
    uint64_t with_code = sizeof *frame;
    uint64_t without = with_code - sizeof frame->error_code;
    memset(frame, 0, sizeof *frame);
    if (has_error_code(vector)) {
        memcpy(frame, system + ist_top(lane) - with_code, with_code);
    } else {
        memcpy(&frame->rip, system + ist_top(lane) - without, without);
    }
}
