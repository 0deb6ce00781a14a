/* alloc.h: the engine's allocator behind three functions. Borrows the user's; any thread. */
#ifndef AEE_BASE_ALLOC_H
#define AEE_BASE_ALLOC_H

#include <stddef.h>

#include "aee_virt.h"

struct aee__alloc {
    aee_alloc_fn function;
    void *user;
};

/* realloc()/free(), for callers without an engine. */
extern const struct aee__alloc aee__alloc_default;

/* Zeroed memory for `count` objects of `size` bytes, or NULL (also when the product overflows). */
void *aee__alloc_zero(const struct aee__alloc *alloc, size_t count, size_t size);
/* As realloc; the new part is zeroed. */
void *aee__alloc_resize(const struct aee__alloc *alloc, void *old, size_t old_size, size_t size);
/* Frees; NULL is fine. `size` is what was allocated. */
void aee__alloc_free(const struct aee__alloc *alloc, void *memory, size_t size);

#endif
