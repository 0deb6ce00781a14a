/* mod_thief_memory.c: the thief's attacks on memory: reading, writing and executing what is not its
 * own, and using up what is. */
#include <stdlib.h>
#include <string.h>

#include <aee_guest.h>

#include "mod_thief.h"

#define PAGE UINT64_C(4096)

/* Keeps compilers from seeing which address it is, and from warning of it. */
static uint64_t hidden(uint64_t address)
{
    __asm__("" : "+r"(address));
    return address;
}

static int64_t read_at(uint64_t address)
{
    (void)*(volatile const uint8_t *)hidden(address); // NOLINT(performance-no-int-to-ptr)
    return 1;
}

static int64_t write_at(uint64_t address)
{
    *(volatile uint8_t *)hidden(address) = 0x41; // NOLINT(performance-no-int-to-ptr)
    return 1;
}

static int64_t call_at(uint64_t address)
{
    ((void (*)(void))hidden(address))(); // NOLINT(performance-no-int-to-ptr)
    return 1;
}

#define AT(name, action, address) \
    static int64_t name(void)     \
    {                             \
        return action(address);   \
    }

AT(read_null, read_at, 0)
AT(write_null, write_at, 8)
AT(call_null, call_at, 0)
AT(read_null_guard, read_at, AEE_GVA_NULL_GUARD_END - PAGE)
AT(read_system, read_at, AEE_GVA_SYSTEM)
AT(write_system, write_at, AEE_GVA_SYSTEM)
AT(call_system, call_at, AEE_GVA_SYSTEM)
AT(write_vdso, write_at, AEE_GVA_VDSO)
AT(write_info, write_at, AEE_GVA_INFO)
AT(write_heap_size, write_at, AEE_GVA_INFO + offsetof(struct aee_abi_info, heap_size) + 4)
AT(call_info, call_at, AEE_GVA_INFO)
AT(read_before_info, read_at, AEE_GVA_INFO - PAGE)
AT(read_image_end, read_at, AEE_GVA_IMAGE_END - PAGE)
AT(read_stack_guard, read_at, AEE_GVA_STACKS)
AT(read_after_lanes, read_at, AEE_GVA_LANES + AEE_MAX_LANES * AEE_LANE_STRIDE)
AT(read_before_heap, read_at, AEE_GVA_HEAP - PAGE)
AT(read_after_heap, read_at, aee_info()->heap_base + aee_info()->heap_size)
AT(write_after_heap, write_at, aee_info()->heap_base + aee_info()->heap_size)
AT(read_heap_end, read_at, AEE_GVA_HEAP + AEE_HEAP_MAX - PAGE)
AT(read_region_end, read_at, AEE_GVA_REGIONS + AEE_REGIONS_SIZE - PAGE)
AT(write_region_end, write_at, AEE_GVA_REGIONS + AEE_REGIONS_SIZE - PAGE)
AT(read_after_regions, read_at, AEE_GVA_REGIONS + AEE_REGIONS_SIZE)
AT(read_high, read_at, UINT64_C(0x00007fffffffe000))
AT(read_not_canonical, read_at, UINT64_C(0x0000800000000000))
AT(call_not_canonical, call_at, UINT64_C(0x1234567812345678))
AT(read_kernel_half, read_at, UINT64_C(0xffff800000000000))
AT(write_kernel_half, write_at, UINT64_C(0xffffffff80000000))
AT(read_all_ones, read_at, UINT64_MAX)

static int64_t write_code(void)
{
    return write_at((uintptr_t)&write_null);
}

static int64_t write_constants(void)
{
    static const char text[] = "read-only";
    return write_at((uintptr_t)text);
}

/* A RET in each kind of memory that may be written. */
static int64_t run_data(void)
{
    static uint8_t code[16];
    code[0] = 0xc3;
    return call_at((uintptr_t)code);
}

static int64_t run_stack(void)
{
    volatile uint8_t code[16] = {0xc3};
    return call_at((uintptr_t)code);
}

static int64_t run_heap(void)
{
    volatile uint8_t *code = malloc(16);
    if (code == NULL) {
        return 0;
    }
    code[0] = 0xc3;
    return call_at((uintptr_t)code);
}

/* Jumps over a guard of some kilobytes, but hits every page. */
__attribute__((noinline)) static uint64_t recurse(uint64_t depth)
{
    volatile uint64_t frame[256];
    frame[depth % 256u] = depth;
    return depth == UINT64_MAX ? 0 : recurse(depth + 1u) + frame[(depth + 1u) % 256u];
}

static int64_t overflow_stack(void)
{
    return recurse(0) == 1;
}

static int64_t pivot_to_null(void)
{
    __asm__ volatile("xorl %%esp, %%esp; pushq %%rax" ::: "memory");
    return 1;
}

static int64_t pivot_to_system(void)
{
    __asm__ volatile("movq %0, %%rsp; pushq %%rax" ::"r"(AEE_GVA_SYSTEM + PAGE) : "memory");
    return 1;
}

/* An exception while the stack pointer is in the heap: the handler must not use it. */
static int64_t pivot_to_heap(void)
{
    char *stack = malloc(PAGE);
    if (stack == NULL) {
        return 0;
    }
    __asm__ volatile("movq %0, %%rsp; ud2" ::"r"(stack + PAGE) : "memory");
    return 1;
}

/* Ends at the heap's limit or at the call budget, whichever is nearer. */
static int64_t huge_copy(void)
{
    void *to = (void *)aee_info()->heap_base; // NOLINT(performance-no-int-to-ptr)
    uint64_t count = UINT64_C(1) << 40;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(0x55) : "memory");
    return 1;
}

/* Touches every page of the heap, allocated or not: legal, and a storm of page faults. */
static int64_t fault_storm(void)
{
    const uint64_t end = aee_info()->heap_base + aee_info()->heap_size;
    for (uint64_t at = aee_info()->heap_base; at < end; at += PAGE) {
        (void)read_at(at);
    }
    return 0;
}

static int64_t aimed_read(void)
{
    return thief_target == 0 ? 0 : read_at(thief_target);
}

static int64_t aimed_write(void)
{
    return thief_target == 0 ? 0 : write_at(thief_target);
}

static int64_t aimed_stack(void)
{
    if (thief_target != 0) {
        __asm__ volatile("movq %0, %%rsp; ud2" ::"r"(thief_target) : "memory");
    }
    return 0;
}

static int64_t fill_heap(void)
{
    for (size_t size = (size_t)1 << 30; size >= 16; size /= 2) {
        for (void *piece = malloc(size); piece != NULL; piece = malloc(size)) {
            memset(piece, 1, 16);
        }
    }
    aee_out_of_memory();
}

static const struct thief_attack attacks[] = {
    {"read null", read_null, THIEF_CRASHES},
    {"write null", write_null, THIEF_CRASHES},
    {"call null", call_null, THIEF_CRASHES},
    {"read the null guard's last page", read_null_guard, THIEF_CRASHES},
    {"read the system area", read_system, THIEF_CRASHES},
    {"write the system area", write_system, THIEF_CRASHES},
    {"call the system area", call_system, THIEF_CRASHES},
    {"write the vDSO", write_vdso, THIEF_CRASHES},
    {"write the information page", write_info, THIEF_CRASHES},
    {"raise the heap size in the information page", write_heap_size, THIEF_CRASHES},
    {"execute the information page", call_info, THIEF_CRASHES},
    {"read before the information page", read_before_info, THIEF_CRASHES},
    {"read the end of the image area", read_image_end, THIEF_CRASHES},
    {"read the stack guard", read_stack_guard, THIEF_CRASHES},
    {"read after the lanes", read_after_lanes, THIEF_CRASHES},
    {"read before the heap", read_before_heap, THIEF_CRASHES},
    {"read after the heap", read_after_heap, THIEF_CRASHES},
    {"write after the heap", write_after_heap, THIEF_CRASHES},
    {"read the end of the heap area", read_heap_end, THIEF_CRASHES},
    {"read the end of the region area", read_region_end, THIEF_CRASHES},
    {"write the end of the region area", write_region_end, THIEF_CRASHES},
    {"read after the region area", read_after_regions, THIEF_CRASHES},
    {"read the highest user address", read_high, THIEF_CRASHES},
    {"read a non-canonical address", read_not_canonical, THIEF_CRASHES},
    {"call a non-canonical address", call_not_canonical, THIEF_CRASHES},
    {"read the kernel half", read_kernel_half, THIEF_CRASHES},
    {"write the kernel half", write_kernel_half, THIEF_CRASHES},
    {"read the last byte of the address space", read_all_ones, THIEF_CRASHES},
    {"write its own code", write_code, THIEF_CRASHES},
    {"write its own constants", write_constants, THIEF_CRASHES},
    {"execute data", run_data, THIEF_CRASHES},
    {"execute the stack", run_stack, THIEF_CRASHES},
    {"execute the heap", run_heap, THIEF_CRASHES},
    {"overflow the stack", overflow_stack, THIEF_CRASHES},
    {"move the stack to null", pivot_to_null, THIEF_CRASHES},
    {"move the stack into the system area", pivot_to_system, THIEF_CRASHES},
    {"fault with the stack in the heap", pivot_to_heap, THIEF_CRASHES},
    {"fill 2^40 bytes", huge_copy, THIEF_LIVES},
    {"touch the whole heap", fault_storm, THIEF_LIVES},
    {"fill the heap", fill_heap, THIEF_CRASHES},
    {"aimed read", aimed_read, THIEF_LIVES},
    {"aimed write", aimed_write, THIEF_LIVES},
    {"fault with the stack at the aim", aimed_stack, THIEF_LIVES},
};
const struct thief_list thief_memory_attacks = {attacks, sizeof attacks / sizeof attacks[0]};

AEE_SIGNATURE(thief_read, "i:i");
AEE_EXPORT int64_t thief_read(int64_t address)
{
    return *(volatile const uint8_t *)(uintptr_t)address; // NOLINT(performance-no-int-to-ptr)
}

AEE_SIGNATURE(thief_write, "i:ii");
AEE_EXPORT int64_t thief_write(int64_t address, int64_t value)
{
    *(volatile uint8_t *)(uintptr_t)address = (uint8_t)value; // NOLINT(performance-no-int-to-ptr)
    return 1;
}
