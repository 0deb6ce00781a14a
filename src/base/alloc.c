#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *default_function(void *user, void *old, size_t old_size, size_t size)
{
    (void)user;
    (void)old_size;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

const struct aee__alloc aee__alloc_default = {.function = default_function};

void *aee__alloc_zero(const struct aee__alloc *alloc, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total) || total == 0) {
        return NULL;
    }
    void *memory = alloc->function(alloc->user, NULL, 0, total);
    if (memory) {
        memset(memory, 0, total);
    }
    return memory;
}

void *aee__alloc_resize(const struct aee__alloc *alloc, void *old, size_t old_size, size_t size)
{
    void *memory = alloc->function(alloc->user, old, old_size, size);
    if (memory && size > old_size) {
        memset((uint8_t *)memory + old_size, 0, size - old_size);
    }
    return memory;
}

void aee__alloc_free(const struct aee__alloc *alloc, void *memory, size_t size)
{
    if (memory) {
        (void)alloc->function(alloc->user, memory, size, 0);
    }
}
