/* attacker.h: shared by the attacker's files. Attacks return 0 when nothing was gained and
 * ATTACK_GOT_THROUGH when the host let happen what it must not. */
#ifndef AEE_HOSTILE_ATTACKER_H
#define AEE_HOSTILE_ATTACKER_H

#include <stdint.h>

#include <aee_guest.h>

#define ATTACK_GOT_THROUGH INT64_C(0x5eed)
#define ATTACK_CLOBBERS \
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc"

/* An export without arguments that is a few instructions and must not come to their end. */
#define ATTACK_CODE(name, text)                     \
    AEE_SIGNATURE(name, "i:");                      \
    AEE_EXPORT int64_t name(void)                   \
    {                                               \
        __asm__ volatile(text ::: ATTACK_CLOBBERS); \
        return ATTACK_GOT_THROUGH;                  \
    }

/* The same with one argument, in RAX. */
#define ATTACK_CODE1(name, text)                                                               \
    AEE_SIGNATURE(name, "i:i");                                                                \
    AEE_EXPORT int64_t name(int64_t argument)                                                  \
    {                                                                                          \
        __asm__ volatile(text                                                                  \
                         : "+a"(argument)::"rbx", "rcx", "rdx", "rsi", "rdi", "memory", "cc"); \
        return ATTACK_GOT_THROUGH;                                                             \
    }

static inline struct aee_abi_lane *attack_lane(uint64_t index)
{
    return (struct aee_abi_lane *)(AEE_GVA_LANES + index * AEE_LANE_STRIDE); // NOLINT
}

static inline struct aee_abi_lane *attack_this_lane(void)
{
    return attack_lane(aee_lane_index() % AEE_MAX_LANES);
}

static inline void attack_hypercall(uint32_t number)
{
    __asm__ volatile("outl %0, %1" ::"a"(number), "i"(AEE_PORT_HYPERCALL) : "memory");
}

static inline uint64_t attack_clock(void)
{
    uint32_t low;
    uint32_t high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* Turns of PAUSE: a while that needs no clock. */
static inline void attack_pause(uint64_t turns)
{
    for (uint64_t i = 0; i < turns; i++) {
        __builtin_ia32_pause();
    }
}

#endif
