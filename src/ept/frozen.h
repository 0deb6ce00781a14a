/* frozen.h: an instance's memory as it was between two calls, in a file that nobody writes any
 * more: what forks begin with. Shared by reference; any thread. */
#ifndef AEE_EPT_FROZEN_H
#define AEE_EPT_FROZEN_H

#include <stdatomic.h>

#include "ept/memory.h"
#include "ept/shadow.h"

struct aee__frozen {
    _Atomic uint32_t references;
    const struct aee__alloc *alloc;
    int fd;
    struct aee__memory layout; /* as of the memory that it was made of: no file, no mapping */
    struct aee__memory_plan plan;
    struct aee__pages has; /* pages that are not all zero */
};

/* Copies all but what does not live between calls, stacks and rings, which are zero. */
aee_result aee__frozen_create(const struct aee__alloc *alloc, const struct aee__memory *memory,
                              const struct aee__memory_plan *plan, struct aee__frozen **out,
                              aee_error *error);
struct aee__frozen *aee__frozen_take(struct aee__frozen *frozen);
void aee__frozen_release(struct aee__frozen *frozen); /* NULL is fine */

/* Makes memory that begins with it. Where the machine has page tables of ours, the host's kernel
 * copies each page when it is first written; else all is copied now, into a file of its own. */
aee_result aee__frozen_thaw(struct aee__frozen *frozen, struct aee__memory *memory,
                            aee_error *error);

#endif
