/* shadow.h: a copy of what an instance's memory held at one moment, page for page, and the way back
 * to moments before. Owns the copy; borrows memory and allocator. Callers serialise. */
#ifndef AEE_EPT_SHADOW_H
#define AEE_EPT_SHADOW_H

#include "ept/memory.h"
#include "ept/pages.h"

/* What pages of the copy held before an update. */
struct aee__undo {
    uint64_t count;  /* pages */
    uint64_t held;   /* of those, the ones that the copy had: their bytes come in this order */
    uint64_t *pages; /* page number * 2 + whether the copy had it */
    uint8_t *bytes;
    uint64_t pages_room;
    uint64_t bytes_room;
};

struct aee__shadow {
    const struct aee__alloc *alloc;
    uint8_t *bytes;         /* as large as the memory file */
    struct aee__pages has;  /* pages that are not all zero, or were not */
    struct aee__pages work; /* scratch, also for callers */
};

/* An empty copy: all pages are zero. */
aee_result aee__shadow_create(struct aee__shadow *shadow, const struct aee__alloc *alloc,
                              uint64_t file_size, aee_error *error);
void aee__shadow_destroy(struct aee__shadow *shadow);
/* The memory file has grown. On failure nothing has changed. */
aee_result aee__shadow_grow(struct aee__shadow *shadow, uint64_t file_size, aee_error *error);

/* Marks in `work` the pages that have host memory, and those of the copy: all others are zero. */
aee_result aee__shadow_find_present(struct aee__shadow *shadow, const struct aee__memory *memory,
                                    aee_error *error);
/* Takes out of `work` what is not state and, with `compare`, what is as in the copy; how many pages
 * are left. */
uint64_t aee__shadow_narrow(struct aee__shadow *shadow, const struct aee__memory *memory,
                            bool compare);
/* Copies the pages of `work` from memory; *undo (its buffers are used again) is the way back. Fails
 * before anything was copied, with NO_MEMORY. */
aee_result aee__shadow_update(struct aee__shadow *shadow, const struct aee__memory *memory,
                              struct aee__undo *undo, aee_error *error);
/* The copy becomes what it was before the update; marks the pages in `work`. */
void aee__shadow_undo(struct aee__shadow *shadow, const struct aee__undo *undo);
/* Writes the pages of `work` to memory; how many. */
uint64_t aee__shadow_restore(struct aee__shadow *shadow, const struct aee__memory *memory);
/* Writes all state of the copy, which was laid out as `from` says, to memory of another instance
 * that holds nothing but what its image put there. */
void aee__shadow_apply(struct aee__shadow *shadow, const struct aee__memory *from,
                       const struct aee__memory *memory);

/* For bytes from elsewhere: these pages, which lie within the copy, are part of it now; where they
 * are. */
uint8_t *aee__shadow_fill(struct aee__shadow *shadow, uint64_t offset, uint64_t size);
/* What the copy has of a page; NULL: zeroes. */
const uint8_t *aee__shadow_page(const struct aee__shadow *shadow, uint64_t offset);
/* Forgets pages that are all zero: an empty copy has the same there. */
void aee__shadow_drop_zeroes(struct aee__shadow *shadow);

void aee__undo_free(struct aee__undo *undo, const struct aee__alloc *alloc);
uint64_t aee__undo_bytes(const struct aee__undo *undo); /* of host memory */

#endif
