/* heap.h: the allocator behind malloc() of a component: segregated fits over boundary tags. Owns
 * nothing but its bookkeeping inside [base, base + size); the memory belongs to the caller. Any
 * lane may call it: one spin lock per heap, held for a bounded number of steps except where a
 * request near the limit searches one size class. */
#ifndef AEE_GUEST_HEAP_H
#define AEE_GUEST_HEAP_H

#include <stddef.h>
#include <stdint.h>

#define AEE__HEAP_UNIT 16u /* bytes; sizes and alignment of blocks are multiples of it */
#define AEE__HEAP_EXACT_BINS 64u
#define AEE__HEAP_BINS 168u /* exact ones, then four for each power of two up to 2^31 units */

struct aee__heap_free_block;

struct aee__heap_config {
    uintptr_t base;               /* multiple of the page size */
    uint64_t (*size)(void *user); /* bytes from base; may only grow */
    /* Called when the bookkeeping is found damaged or misused: a sentence and the address of the
     * block that it is about. Must not return. */
    void (*corrupt)(void *user, const char *sentence, uintptr_t address);
    void *user;
    uint32_t secret; /* makes header checksums hard to forge by accident */
};

struct aee__heap {
    struct aee__heap_config config;
    uint32_t lock;       /* protects everything below */
    uint32_t last_units; /* size of the block that ends at top; 0: none */
    uintptr_t top;       /* blocks lie below; above, nothing is in use */
    uintptr_t limit;     /* config.base + config.size(), as last seen */
    uintptr_t high;      /* greatest top so far: memory above has never been handed out */
    uint64_t used;       /* bytes of allocated blocks, headers included */
    uint64_t bin_map[(AEE__HEAP_BINS + 63u) / 64u];
    struct aee__heap_free_block *bins[AEE__HEAP_BINS];
};

void aee__heap_init(struct aee__heap *heap, const struct aee__heap_config *config);

/* Allocates `size` bytes at a multiple of `align` (a power of two; at least 16 is given), NULL at
 * the limit. Memory above every earlier allocation must be zero for `zeroed` to be true to its
 * name. */
void *aee__heap_alloc(struct aee__heap *heap, size_t size, size_t align, int zeroed);
/* As free() and realloc(). */
void aee__heap_free(struct aee__heap *heap, void *memory);
void *aee__heap_realloc(struct aee__heap *heap, void *memory, size_t size);
/* Bytes that may be used at `memory`, at least as many as were asked for. */
size_t aee__heap_usable_size(struct aee__heap *heap, void *memory);

/* Bytes in allocated blocks, and bytes that are not. */
uint64_t aee__heap_used(struct aee__heap *heap);
uint64_t aee__heap_available(struct aee__heap *heap);

/* Walks over all blocks and free lists; reports the first damage. Returns the number of blocks. */
size_t aee__heap_check(struct aee__heap *heap);

#endif
