/* region.h: the address of a shared region, as it comes in an argument, made into a pointer. */
#ifndef AEE_COMPONENT_REGION_H
#define AEE_COMPONENT_REGION_H

#include <stdint.h>

static inline void *region_at(int64_t address)
{
    return (void *)(uintptr_t)address; // NOLINT(performance-no-int-to-ptr)
}

#endif
