/* pagetable.h: guest page tables, built by the host in a pool of guest-physical pages that the
 * guest cannot reach from CPL3. Borrows the pool; one writer at a time (the owner's lock).
 *
 * While a context lives an entry only goes from absent to present, or from read-only to writable;
 * rights are taken away on the host side (docs/adr/0002). Accessed and dirty bits are set from the
 * start: the processor then never writes the tables, and the first touch of a page is cheap. */
#ifndef AEE_EPT_PAGETABLE_H
#define AEE_EPT_PAGETABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "ept/layout.h"

enum {
    AEE__PT_WRITE = 1,
    AEE__PT_EXECUTE = 2,
    AEE__PT_USER = 4,
    AEE__PT_LARGE = 8, /* 2 MiB pages where gva, gpa and size allow */
};

struct aee__pagetable {
    uint8_t *pool;        /* host address of the pool */
    struct aee__gpa base; /* its guest physical address; the root table is its first page */
    uint32_t capacity;    /* pages in the pool */
    uint32_t used;
};

/* Takes a zeroed pool and makes its first page the root. */
void aee__pagetable_init(struct aee__pagetable *table, uint8_t *pool, struct aee__gpa base,
                         uint32_t capacity);
/* Maps [gva, gva + size) to gpa; all multiples of 4 KiB. Pages that are mapped already must have
 * the same gpa and may gain the right to write. Errors: LIMIT (pool is full), INVALID_ARGUMENT. */
aee_result aee__pagetable_map(struct aee__pagetable *table, struct aee__gva gva,
                              struct aee__gpa gpa, uint64_t size, uint32_t rights,
                              aee_error *error);

#endif
