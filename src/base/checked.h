/* checked.h: arithmetic that says when it overflows. Pure; any thread. */
#ifndef AEE_BASE_CHECKED_H
#define AEE_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

#define AEE__PAGE_SIZE UINT64_C(4096)
#define AEE__LARGE_PAGE_SIZE UINT64_C(0x200000)

static inline bool aee__add(uint64_t a, uint64_t b, uint64_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

/* Rounds up to a power of two; false on overflow. */
static inline bool aee__round_up(uint64_t value, uint64_t unit, uint64_t *rounded)
{
    uint64_t sum;
    if (!aee__add(value, unit - 1, &sum)) {
        return false;
    }
    *rounded = sum & ~(unit - 1);
    return true;
}

static inline uint64_t aee__round_down(uint64_t value, uint64_t unit)
{
    return value & ~(unit - 1);
}

/* [start, start + size) lies within [low, high), without overflow. */
static inline bool aee__within(uint64_t start, uint64_t size, uint64_t low, uint64_t high)
{
    uint64_t end;
    return aee__add(start, size, &end) && start >= low && end <= high;
}

#endif
