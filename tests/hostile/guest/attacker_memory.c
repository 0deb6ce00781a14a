/* attacker_memory.c: memory at addresses that the test names, storms of faults, and canaries: what
 * one context leaves behind, and what another finds. */
#include "attacker.h"

#include <stdlib.h>
#include <string.h>

#define PAGE UINT64_C(4096)

static uint64_t hidden(uint64_t address)
{
    __asm__("" : "+r"(address));
    return address;
}

AEE_SIGNATURE(peek, "i:i");
AEE_EXPORT int64_t peek(int64_t address)
{
    return (int64_t) * (volatile const uint64_t *)hidden((uint64_t)address); // NOLINT
}

AEE_SIGNATURE(poke, "i:ii");
AEE_EXPORT int64_t poke(int64_t address, int64_t value)
{
    *(volatile uint64_t *)hidden((uint64_t)address) = (uint64_t)value; // NOLINT
    return 0;
}

AEE_SIGNATURE(jump, "i:i");
AEE_EXPORT int64_t jump(int64_t address)
{
    ((void (*)(void))hidden((uint64_t)address))(); // NOLINT
    return ATTACK_GOT_THROUGH;
}

/* Counts up at an address for ever. */
AEE_SIGNATURE(hammer, "i:i");
AEE_EXPORT int64_t hammer(int64_t address)
{
    volatile uint64_t *word = (volatile uint64_t *)hidden((uint64_t)address); // NOLINT
    for (;;) {
        (*word)++;
    }
    return ATTACK_GOT_THROUGH;
}

/* Reads it for ever. */
AEE_SIGNATURE(stare, "i:i");
AEE_EXPORT int64_t stare(int64_t address)
{
    volatile const uint64_t *word = (volatile const uint64_t *)hidden((uint64_t)address); // NOLINT
    for (;;) {
        (void)*word;
    }
    return ATTACK_GOT_THROUGH;
}

AEE_SIGNATURE(stack_at, "i:i");
AEE_EXPORT int64_t stack_at(int64_t address)
{
    __asm__ volatile("movq %0, %%rsp; pushq %%rax; ud2" ::"r"(address) : "memory");
    return ATTACK_GOT_THROUGH;
}

/* A string that is not ended, up to a boundary and across it. */
AEE_SIGNATURE(copy_across, "i:ii");
AEE_EXPORT int64_t copy_across(int64_t address, int64_t size)
{
    static uint8_t sink[1 << 16];
    void *to = sink;
    const void *from = (const void *)hidden((uint64_t)address); // NOLINT
    uint64_t count = (uint64_t)size;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
    return 0;
}

/* ---- The heap ---- */

AEE_SIGNATURE(heap_end, "i:i");
AEE_EXPORT int64_t heap_end(int64_t unused)
{
    (void)unused;
    return (int64_t)(aee_info()->heap_base + aee_info()->heap_size);
}

/* Touches pages in an order that defeats read-ahead, for ever. */
AEE_SIGNATURE(fault_storm, "i:");
AEE_EXPORT int64_t fault_storm(void)
{
    struct aee_random random;
    aee_random_init(&random, aee_seed());
    for (;;) {
        const uint64_t page = aee_random_below(&random, aee_info()->heap_size / PAGE);
        *(volatile uint8_t *)(aee_info()->heap_base + page * PAGE) = 1; // NOLINT
    }
    return ATTACK_GOT_THROUGH;
}

/* Touches `count` pages from the start. */
AEE_SIGNATURE(touch_pages, "i:i");
AEE_EXPORT int64_t touch_pages(int64_t count)
{
    for (uint64_t page = 0; page < (uint64_t)count; page++) {
        *(volatile uint8_t *)(aee_info()->heap_base + page * PAGE) = 1; // NOLINT
    }
    return 0;
}

/* Allocates 64 KiB pieces until there is no more; how many. */
AEE_SIGNATURE(allocate_all, "i:i");
AEE_EXPORT int64_t allocate_all(int64_t give_up)
{
    int64_t pieces = 0;
    for (volatile uint8_t *piece = malloc(65536); piece != NULL; piece = malloc(65536)) {
        piece[0] = 1;
        pieces++;
    }
    if (give_up) {
        aee_out_of_memory();
    }
    return pieces;
}

/* ---- Canaries ---- */

static uint64_t data_canary[512] = {1};

static void fill(volatile uint64_t *from, uint64_t bytes, uint64_t canary)
{
    for (uint64_t i = 0; i < bytes / 8; i++) {
        from[i] = canary;
    }
}

static int64_t count(const volatile uint64_t *from, uint64_t bytes, uint64_t canary)
{
    int64_t found = 0;
    for (uint64_t i = 0; i < bytes / 8; i++) {
        found += from[i] == canary;
    }
    return found;
}

static uint64_t stack_bottom(void)
{
    return AEE_GVA_STACKS + AEE_STACK_GUARD + AEE_STACK_MAX - aee_info()->stack_size;
}

/* Fills all memory that it can write: heap, data, stack below this frame, arenas. The host passes
 * the canary inverted, so that the argument itself is not found. */
AEE_SIGNATURE(canary_leave, "i:i");
AEE_EXPORT int64_t canary_leave(int64_t inverted)
{
    const uint64_t canary = ~(uint64_t)inverted;
    const uint64_t here = (uint64_t)(uintptr_t)__builtin_frame_address(0);
    struct aee_abi_lane *lane = attack_this_lane();
    fill((volatile uint64_t *)aee_info()->heap_base, aee_info()->heap_size, canary); // NOLINT
    fill(data_canary, sizeof data_canary, canary);
    fill((volatile uint64_t *)stack_bottom(), here - 512 - stack_bottom(), canary); // NOLINT
    fill((volatile uint64_t *)(void *)lane->request_arena, 3 * (uint64_t)AEE_MAX_PAYLOAD, canary);
    fill((volatile uint64_t *)(void *)lane->pad1, sizeof lane->pad1, canary);
    return 0;
}

AEE_SIGNATURE(canary_find, "i:i");
AEE_EXPORT int64_t canary_find(int64_t inverted)
{
    const uint64_t canary = ~(uint64_t)inverted;
    const struct aee_abi_lane *lane = attack_this_lane();
    int64_t found =
        count((const volatile uint64_t *)aee_info()->heap_base, aee_info()->heap_size, // NOLINT
              canary);
    found += count(data_canary, sizeof data_canary, canary);
    found +=
        count((const volatile uint64_t *)stack_bottom(), aee_info()->stack_size, canary); // NOLINT
    found += count((const volatile uint64_t *)(const void *)lane, sizeof *lane, canary);
    return found;
}

AEE_SIGNATURE(canary_find_at, "i:iii");
AEE_EXPORT int64_t canary_find_at(int64_t address, int64_t size, int64_t inverted)
{
    return count((const volatile uint64_t *)hidden((uint64_t)address), (uint64_t)size, // NOLINT
                 ~(uint64_t)inverted);
}

/* Fills the vector, mask and x87 registers with a byte pattern and leaves them so. */
__attribute__((target("avx512f"))) static void fill_registers_512(uint64_t canary)
{
    __asm__ volatile(
        "vpbroadcastq %0, %%zmm0\n"
        "vmovdqa64 %%zmm0, %%zmm1\nvmovdqa64 %%zmm0, %%zmm5\nvmovdqa64 %%zmm0, %%zmm9\n"
        "vmovdqa64 %%zmm0, %%zmm15\nvmovdqa64 %%zmm0, %%zmm16\n"
        "vmovdqa64 %%zmm0, %%zmm24\nvmovdqa64 %%zmm0, %%zmm31\n"
        "kmovw %%eax, %%k1\nkmovw %%eax, %%k7\n" ::"a"(canary)
        : "memory");
}

__attribute__((target("avx2"))) static void fill_registers_256(uint64_t canary)
{
    __asm__ volatile("vmovq %0, %%xmm0\nvpbroadcastq %%xmm0, %%ymm0\n"
                     "vmovdqa %%ymm0, %%ymm1\nvmovdqa %%ymm0, %%ymm5\nvmovdqa %%ymm0, %%ymm9\n"
                     "vmovdqa %%ymm0, %%ymm15\n" ::"r"(canary)
                     : "memory");
}

AEE_SIGNATURE(registers_leave, "i:i");
AEE_EXPORT int64_t registers_leave(int64_t inverted)
{
    const uint64_t canary = ~(uint64_t)inverted;
    __asm__ volatile("movq %0, %%mm0; movq %%mm0, %%mm3; movq %%mm0, %%mm7" ::"r"(canary)
                     : "memory");
    if (aee_info()->features & AEE_FEATURE_AVX512) {
        fill_registers_512(canary);
    } else if (aee_has_avx2()) {
        fill_registers_256(canary);
    }
    return 0;
}

static uint8_t registers[2048] __attribute__((aligned(64)));

__attribute__((target("avx512f"))) static void save_registers_512(void)
{
    __asm__ volatile("vmovdqa64 %%zmm0, (%0)\nvmovdqa64 %%zmm1, 64(%0)\nvmovdqa64 %%zmm5, 128(%0)\n"
                     "vmovdqa64 %%zmm9, 192(%0)\nvmovdqa64 %%zmm15, 256(%0)\n"
                     "vmovdqa64 %%zmm16, 320(%0)\nvmovdqa64 %%zmm24, 384(%0)\n"
                     "vmovdqa64 %%zmm31, 448(%0)\nkmovw %%k1, %%eax\nmovl %%eax, 512(%0)\n"
                     "kmovw %%k7, %%eax\nmovl %%eax, 516(%0)\n" ::"r"(registers)
                     : "rax", "memory");
}

__attribute__((target("avx2"))) static void save_registers_256(void)
{
    __asm__ volatile("vmovdqa %%ymm0, (%0)\nvmovdqa %%ymm1, 64(%0)\nvmovdqa %%ymm5, 128(%0)\n"
                     "vmovdqa %%ymm9, 192(%0)\nvmovdqa %%ymm15, 256(%0)\n" ::"r"(registers)
                     : "memory");
}

/* 64-bit words of the registers that hold the canary; -1: no AVX2 here. */
AEE_SIGNATURE(registers_find, "i:i");
AEE_EXPORT int64_t registers_find(int64_t inverted)
{
    if (aee_info()->features & AEE_FEATURE_AVX512) {
        save_registers_512();
    } else if (aee_has_avx2()) {
        save_registers_256();
    } else {
        return -1;
    }
    __asm__ volatile(
        "movq %%mm0, 1024(%0); movq %%mm3, 1032(%0); movq %%mm7, 1040(%0); emms" ::"r"(registers)
        : "memory");
    int64_t found = count((const volatile uint64_t *)(const void *)registers, sizeof registers,
                          ~(uint64_t)inverted);
    uint32_t masks[2];
    memcpy(masks, registers + 512, sizeof masks);
    return found + ((masks[0] | masks[1]) != 0 && (aee_info()->features & AEE_FEATURE_AVX512));
}

/* Anything in the registers, general ones included, that looks like an address of the host: what a
 * first call finds there, before any of the component's code has run in this instance. */
AEE_SIGNATURE(registers_any, "i:i");
AEE_EXPORT int64_t registers_any(int64_t unused)
{
    (void)unused;
    if (aee_info()->features & AEE_FEATURE_AVX512) {
        save_registers_512();
    } else if (aee_has_avx2()) {
        save_registers_256();
    }
    int64_t found = 0;
    for (size_t i = 0; i < sizeof registers / 8; i++) {
        uint64_t word;
        memcpy(&word, registers + 8 * i, sizeof word);
        found += word >= UINT64_C(0x500000000000) && word < UINT64_C(0x800000000000);
        found += word >= UINT64_C(0xffff800000000000);
    }
    return found;
}

/* The same in all memory that the component can read: the lanes, the information page, data. */
AEE_SIGNATURE(host_addresses, "i:i");
AEE_EXPORT int64_t host_addresses(int64_t unused)
{
    (void)unused;
    int64_t found = 0;
    const uint64_t from[3] = {AEE_GVA_INFO, AEE_GVA_LANES, AEE_GVA_HEAP};
    const uint64_t size[3] = {sizeof(struct aee_abi_info) - 48, AEE_LANE_STRIDE,
                              aee_info()->heap_size};
    for (int a = 0; a < 3; a++) {
        for (uint64_t i = 0; i < size[a] / 8; i++) {
            if (a == 0 && i * 8 >= offsetof(struct aee_abi_info, seed)) {
                break; /* random, not an address */
            }
            const uint64_t word = ((const volatile uint64_t *)from[a])[i]; // NOLINT
            found += word >= UINT64_C(0x550000000000) && word < UINT64_C(0x800000000000);
        }
    }
    return found;
}

AEE_SIGNATURE(seed_of_instance, "i:i");
AEE_EXPORT int64_t seed_of_instance(int64_t unused)
{
    (void)unused;
    return (int64_t)aee_seed();
}
