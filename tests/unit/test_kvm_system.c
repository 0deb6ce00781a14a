/* test_kvm_system.c: isolation/kvm/system: the descriptor tables, task states and stubs, read bit
 * by bit as SDM vol. 3A figures 3-8, 6-8, 8-4 and 8-11 define them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ept/memory.h"
#include "isolation/kvm/kvm_internal.h"

#define SIZE (AEE__SYSTEM_PAGES * UINT64_C(4096))

static uint8_t *area;

static int set_up(void **state)
{
    (void)state;
    area = malloc(SIZE);
    memset(area, 0x5a, SIZE);
    aee__kvm_system_write(area, SIZE, AEE_MAX_LANES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(area);
    return 0;
}

static uint64_t bits(uint64_t offset, unsigned first, unsigned count)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t bit = offset * 8 + first + i;
        value |= (uint64_t)(area[bit / 8] >> (bit % 8) & 1) << i;
    }
    return value;
}

/* Code and data segments, figure 3-8: present, right level, no conforming code, 64-bit code only.
 */
static void expect_segment(uint16_t selector, bool code)
{
    uint64_t at = AEE__KVM_GDT + (selector & ~7u);
    assert_int_equal(bits(at, 47, 1), 1);            /* P */
    assert_int_equal(bits(at, 45, 2), selector & 3); /* DPL */
    assert_int_equal(bits(at, 44, 1), 1);            /* S: code or data */
    assert_int_equal(bits(at, 43, 1), code);         /* type: code */
    assert_int_equal(bits(at, 42, 1), 0);            /* neither conforming nor expand-down */
    assert_int_equal(bits(at, 41, 1), 1);            /* readable code, writable data */
    assert_int_equal(bits(at, 40, 1), 1);            /* accessed: the processor need not write */
    assert_int_equal(bits(at, 53, 1), code);         /* L */
    assert_int_equal(bits(at, 54, 1), !code);        /* D/B: 0 with L */
    assert_int_equal(bits(at, 55, 1), 1);            /* G */
    assert_int_equal(bits(at, 16, 24) | bits(at, 56, 8), 0); /* base */
    assert_int_equal(bits(at, 0, 16), 0xffff);
    assert_int_equal(bits(at, 48, 4), 0xf);
}

static void test_segments(void **state)
{
    (void)state;
    expect_segment(0x08, true);
    expect_segment(0x10, false);
    expect_segment(AEE__KVM_SS_USER, false);
    expect_segment(AEE__KVM_CS_USER, true);
    assert_int_equal(AEE__KVM_SS_USER & 3, 3);
    assert_int_equal(AEE__KVM_CS_USER & 3, 3);
    assert_int_equal(bits(AEE__KVM_GDT, 0, 64), 0);        /* the null descriptor */
    assert_int_equal(bits(AEE__KVM_GDT + 0x18, 0, 64), 0); /* no other segment */
    /* What lies between the last descriptor and the limit is absent. */
    for (uint64_t at = AEE__KVM_TR(AEE_MAX_LANES); at < AEE__KVM_GDT_LIMIT; at += 8) {
        assert_int_equal(bits(at, 47, 1), 0);
    }
}

static uint64_t tss_base(uint32_t lane)
{
    uint64_t at = AEE__KVM_GDT + AEE__KVM_TR(lane);
    return bits(at, 16, 24) | bits(at, 56, 8) << 24 | bits(at + 8, 0, 32) << 32;
}

/* System descriptors, figure 8-4. */
static void test_task_descriptors(void **state)
{
    (void)state;
    for (uint32_t lane = 0; lane < AEE_MAX_LANES; lane++) {
        uint64_t at = AEE__KVM_GDT + AEE__KVM_TR(lane);
        assert_true(at + 15 <= AEE__KVM_GDT_LIMIT);
        assert_int_equal(AEE__KVM_TR(lane) & 7, 0);
        assert_int_equal(bits(at, 40, 5), 9); /* available 64-bit TSS, S = 0 */
        assert_int_equal(bits(at, 45, 2), 0); /* DPL */
        assert_int_equal(bits(at, 47, 1), 1); /* P */
        assert_int_equal(bits(at, 55, 1), 0); /* G: the limit is in bytes */
        assert_int_equal(bits(at, 0, 16) | bits(at, 48, 4) << 16, AEE__KVM_TSS_LIMIT);
        assert_int_equal(bits(at + 8, 32, 32), 0);
        assert_int_equal(tss_base(lane),
                         AEE_GVA_SYSTEM + AEE__KVM_TSS + lane * AEE__KVM_TSS_STRIDE);
    }
}

/* Figure 8-11: RSP0 at 4, IST1 at 36, the base of the I/O map at 102; and vol. 1, 19.5.2: a clear
 * bit opens a port, and a byte of ones follows the map. */
static void test_task_states(void **state)
{
    (void)state;
    uint64_t tops[AEE_MAX_LANES];
    for (uint32_t lane = 0; lane < AEE_MAX_LANES; lane++) {
        uint64_t at = tss_base(lane) - AEE_GVA_SYSTEM;
        tops[lane] = bits(at + 36, 0, 64);
        assert_int_equal(bits(at + 4, 0, 64), tops[lane]);
        assert_int_equal(tops[lane] % 16, 0); /* aligned stack frames, vol. 3A 6.14.2 */
        assert_int_equal(tops[lane],
                         AEE_GVA_SYSTEM + AEE__KVM_IST + (lane + 1) * AEE__KVM_IST_SIZE);
        uint64_t map = bits(at + 102, 0, 16);
        assert_int_equal(map, 0x68);
        for (unsigned port = 0; port < 65536; port++) {
            /* Both bytes of the entry are read; beyond the limit everything is closed. */
            bool inside = map + port / 8 + 1 <= AEE__KVM_TSS_LIMIT;
            bool open = inside && bits(at + map, port, 1) == 0;
            bool wanted = (port >= AEE_PORT_HYPERCALL && port < AEE_PORT_HYPERCALL + 4) ||
                          port == AEE_PORT_SYSCALL;
            assert_int_equal(open, wanted);
        }
        assert_int_equal(area[at + AEE__KVM_TSS_LIMIT], 0xff);
        assert_true(AEE__KVM_TSS_LIMIT < AEE__KVM_TSS_STRIDE);
        for (unsigned i = 0; i < 2; i++) { /* RSP1, RSP2, IST2 to IST7: unused */
            assert_int_equal(bits(at + 12 + 8 * i, 0, 64), 0);
        }
        for (unsigned i = 0; i < 6; i++) {
            assert_int_equal(bits(at + 44 + 8 * i, 0, 64), 0);
        }
    }
}

/* Error codes by vector: SDM vol. 3A, table 6-1, and vol. 2 of AMD's manual for 29 and 30. */
static bool has_code(unsigned vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 ||
           vector == 29 || vector == 30;
}

/* 64-bit interrupt gates, figure 6-8, and what they lead to. */
static void test_gates(void **state)
{
    (void)state;
    assert_int_equal(AEE__KVM_IDT_LIMIT, 32 * 16 - 1);
    for (unsigned vector = 0; vector < 32; vector++) {
        uint64_t at = AEE__KVM_IDT + vector * 16;
        uint64_t handler = bits(at, 0, 16) | bits(at, 48, 16) << 16 | bits(at + 8, 0, 32) << 32;
        assert_int_equal(bits(at, 16, 16), 0x08); /* CPL0 code */
        assert_int_equal(bits(at, 32, 3), 1);     /* IST1 */
        assert_int_equal(bits(at, 35, 5), 0);
        assert_int_equal(bits(at, 40, 5), 0xe);                                /* interrupt gate */
        assert_int_equal(bits(at, 45, 2), vector == 3 || vector == 4 ? 3 : 0); /* INT3, INTO */
        assert_int_equal(bits(at, 47, 1), 1);
        assert_int_equal(bits(at + 8, 32, 32), 0);
        assert_true(handler >= AEE_GVA_SYSTEM + AEE__KVM_STUBS &&
                    handler + 16 <= AEE_GVA_SYSTEM + AEE__KVM_IST);
        const uint8_t *stub = area + (handler - AEE_GVA_SYSTEM);
        const uint8_t plain[] = {0xe6, (uint8_t)(AEE_PORT_EXCEPTION + vector), 0x48, 0xcf};
        const uint8_t coded[] = {
            0xe6, (uint8_t)(AEE_PORT_EXCEPTION + vector), 0x48, 0x83, 0xc4, 8, 0x48, 0xcf};
        if (has_code(vector)) {
            assert_memory_equal(stub, coded, sizeof coded);
        } else {
            assert_memory_equal(stub, plain, sizeof plain);
        }
    }
}

/* The rest is zero: nothing of what was there before is shown to anybody. The exception stacks are
 * fresh memory, and stay without pages until there is an exception. */
static void test_nothing_else(void **state)
{
    (void)state;
    for (uint64_t at = AEE__KVM_IST; at < SIZE; at++) {
        assert_int_equal(area[at], 0x5a);
    }
    for (uint64_t at = AEE__KVM_GDT_LIMIT + 1; at < AEE__KVM_IDT; at++) {
        assert_int_equal(area[at], 0);
    }
    aee__kvm_system_write(area, SIZE, 1);
    for (uint64_t at = AEE__KVM_TR(1); at < AEE__KVM_GDT_LIMIT; at += 8) {
        assert_int_equal(bits(at, 0, 64), 0); /* one lane, one task */
    }
}

static void test_frames(void **state)
{
    (void)state;
    for (uint32_t lane = 0; lane < AEE_MAX_LANES; lane++) {
        for (unsigned vector = 0; vector < 32; vector++) {
            /* As the processor pushes them, downwards: SS, RSP, RFLAGS, CS, RIP, error code. */
            uint64_t top = AEE__KVM_IST + (lane + 1) * AEE__KVM_IST_SIZE;
            const uint64_t pushed[] = {1000 + lane, 2000 + vector, 3000, 4000, 5000, 6000};
            unsigned count = has_code(vector) ? 6 : 5;
            struct aee__kvm_frame frame;
            memset(area + top - 64, 0, 64);
            for (unsigned i = 0; i < count; i++) {
                memcpy(area + top - 8 * (i + 1), &pushed[i], 8);
            }
            memset(&frame, 0xff, sizeof frame);
            aee__kvm_system_frame(area, lane, vector, &frame);
            assert_int_equal(frame.ss, pushed[0]);
            assert_int_equal(frame.rsp, pushed[1]);
            assert_int_equal(frame.rflags, pushed[2]);
            assert_int_equal(frame.cs, pushed[3]);
            assert_int_equal(frame.rip, pushed[4]);
            assert_int_equal(frame.error_code, count == 6 ? pushed[5] : 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_segments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_task_descriptors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_task_states, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_frames, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
