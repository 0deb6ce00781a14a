/* window.h: through which one instance sees regions: large memory slots whose host mapping changes.
 * Granting maps a region's file into the window; revoking maps nothing there again, which the host
 * kernel carries through to running vCPUs before mmap() returns. Owns its reservations; borrows the
 * page tables and the regions. Callers serialise (the context's lock). */
#ifndef AEE_EPT_WINDOW_H
#define AEE_EPT_WINDOW_H

#include "base/error.h"
#include "ept/pagetable.h"
#include "ept/region.h"

#define AEE__WINDOW_CHUNK UINT64_C(0x2000000) /* 32 MiB: one memory slot */
#define AEE__WINDOW_CHUNKS (AEE_REGIONS_SIZE / AEE__WINDOW_CHUNK)

/* Gives a slot to the virtual machine. */
typedef aee_result aee__window_slot_fn(void *vm, struct aee__gpa gpa, void *host, uint64_t size,
                                       aee_error *error);

/* How a machine without page tables of ours sees regions: the file, at the address. */
typedef aee_result aee__window_show_fn(void *vm, struct aee__gva gva, int fd, uint64_t size,
                                       uint32_t writable, aee_error *error);
typedef aee_result aee__window_hide_fn(void *vm, struct aee__gva gva, uint64_t size,
                                       aee_error *error);

struct aee__window_ops {
    aee__window_slot_fn *add_slot; /* or, where it is NULL, the two below */
    aee__window_show_fn *show;
    aee__window_hide_fn *hide;
};

struct aee__window {
    uint8_t *
        *chunks; /* host address of each, NULL until a region needs it; NULL until there is one */
    const struct aee__alloc *alloc;
    struct aee__pagetable *table;
    const struct aee__window_ops *ops;
    void *vm;
};

void aee__window_init(struct aee__window *window, const struct aee__alloc *alloc,
                      struct aee__pagetable *table, const struct aee__window_ops *ops, void *vm);
/* Unmaps every chunk; the virtual machine must be gone or never run again. */
void aee__window_destroy(struct aee__window *window);

/* Grants. `writable` 0 after 1 takes writing away. On failure the region is not mapped. */
aee_result aee__window_map(struct aee__window *window, const struct aee__region *region,
                           uint32_t writable, aee_error *error);
/* Revokes. Fails only where the host cannot map; then the caller must stop the instance. */
aee_result aee__window_unmap(struct aee__window *window, const struct aee__region *region,
                             aee_error *error);

#endif
