/* memory.h: the private memory of one instance of a context: one memory file, its host mapping, and
 * the page tables in it, where the machine needs them. Owns file and mappings; borrows the
 * allocator. Created and grown by one thread at a time; look-ups from any thread. */
#ifndef AEE_EPT_MEMORY_H
#define AEE_EPT_MEMORY_H

#include <stdbool.h>

#include "base/alloc.h"
#include "base/error.h"
#include "ept/pages.h"
#include "ept/pagetable.h"

struct aee__frozen;

#define AEE__MEMORY_MAX_SEGMENTS 16u
#define AEE__MEMORY_MAX_CHUNKS 32u
#define AEE__VDSO_PAGES 4u

/* Thread control block: one self pointer and room that a libc may use, above the TLS block. */
#define AEE__TCB_SIZE UINT64_C(512)

struct aee__memory_segment {
    struct aee__gva start;
    uint64_t size;         /* multiple of 4 KiB */
    uint64_t content_size; /* bytes from `start` that will be filled in; the rest stays zero */
    uint32_t rights;       /* AEE__PT_WRITE, AEE__PT_EXECUTE */
};

struct aee__memory_plan {
    uint32_t lanes;
    uint64_t stack_size; /* per lane, multiple of 4 KiB, <= AEE_STACK_MAX */
    uint64_t tls_size;   /* per lane, bytes of the TLS block, <= AEE_TLS_MAX */
    uint64_t tls_align;  /* of the TLS block: power of two, 1..4096 */
    uint64_t heap_size;  /* multiple of 2 MiB */
    uint64_t ready_size; /* of the heap's start, populated; may be more than the heap */
    bool huge_pages;     /* ask the host for large pages behind the heap */
    bool without_tables; /* the machine has no use for page tables */
    uint32_t segment_count;
    struct aee__memory_segment segments[AEE__MEMORY_MAX_SEGMENTS];
};

/* One piece of guest memory that is contiguous on all three sides. */
struct aee__memory_area {
    struct aee__gva gva;
    uint64_t size;
    uint64_t offset; /* in the file; gpa is AEE__GPA_PRIVATE + offset */
    uint32_t rights; /* AEE__PT_ values; without AEE__PT_USER it is not the component's */
    bool state;      /* what the component keeps between calls: not its stacks, nor the rings */
};

/* One memory slot: a host mapping and where the guest has it. */
struct aee__memory_chunk {
    struct aee__gpa gpa;
    uint8_t *host;
    uint64_t size;
};

#define AEE__MEMORY_MAX_AREAS (8u + AEE__MEMORY_MAX_SEGMENTS + 2u * AEE_MAX_LANES)

struct aee__memory {
    int fd;                     /* -1: of a fork, */
    struct aee__frozen *frozen; /* ... which has its first chunk from there, page by page */
    uint32_t chunk_count;
    uint32_t area_count;
    uint64_t file_size; /* in use; the file itself only grows */
    uint64_t file_capacity;
    uint64_t heap_size;
    bool huge_pages;
    struct aee__pagetable table;
    struct aee__memory_chunk chunks[AEE__MEMORY_MAX_CHUNKS];
    struct aee__memory_area areas[AEE__MEMORY_MAX_AREAS];
};

/* Creates and maps everything that the plan asks for, and populates what every instance touches at
 * once and the heap's ready part; where the host does not populate, first touches are slower. On
 * failure *memory is empty and safe to destroy. Errors: INVALID_ARGUMENT, NO_MEMORY, LIMIT, SYSTEM.
 */
aee_result aee__memory_create(struct aee__memory *memory, const struct aee__memory_plan *plan,
                              aee_error *error);
void aee__memory_destroy(struct aee__memory *memory);
/* Where everything would lie: areas and sizes, without any memory. Nothing is to be destroyed.
 * Errors: INVALID_ARGUMENT. */
aee_result aee__memory_lay_out(struct aee__memory *memory, const struct aee__memory_plan *plan,
                               aee_error *error);

/* The gate: host address of [gva, gva + size), or NULL unless all of it lies in one private area.
 * The heap counts as far as its first chunk. */
void *aee__memory_at(const struct aee__memory *memory, struct aee__gva gva, uint64_t size);

/* Host address of the page at that place of the file, which lies below file_size. */
uint8_t *aee__memory_page(const struct aee__memory *memory, uint64_t offset);
/* Bytes of an area, with what its heap has grown by. */
uint64_t aee__memory_area_size(const struct aee__memory *memory, uint32_t area);

/* Adds a chunk that makes the heap `heap_size` bytes, without mapping it in the page tables: give
 * the chunk to the machine first, then, where there are tables, call aee__memory_publish_heap(). */
aee_result aee__memory_grow_heap(struct aee__memory *memory, uint64_t heap_size, aee_error *error);
aee_result aee__memory_publish_heap(struct aee__memory *memory, aee_error *error);
/* Drops the chunk that was grown last, before it was published. */
void aee__memory_ungrow_heap(struct aee__memory *memory);

/* Populates the first `size` bytes of the heap as far as they exist. Never fails. */
void aee__memory_populate_heap(const struct aee__memory *memory, uint64_t size);

/* Marks the pages that have host memory, beside those that are marked: all others are zero. */
aee_result aee__memory_find_present(const struct aee__memory *memory, struct aee__pages *pages,
                                    aee_error *error);
/* Populates what a fork writes in its first call. Never fails. */
void aee__memory_populate_fork(const struct aee__memory *memory,
                               const struct aee__memory_plan *plan);

/* Bytes backed by host memory now; of a fork, beside its template's. */
uint64_t aee__memory_resident(const struct aee__memory *memory);

/* Where a lane's stack ends (the first stack pointer) and its control block lies. */
struct aee__gva aee__memory_stack_top(uint32_t lane);
struct aee__gva aee__memory_tcb(uint32_t lane, const struct aee__memory_plan *plan);
/* Where a lane's TLS block begins: right below its control block, rounded down to its alignment
 * (variant II of the ELF TLS specification, section 3). */
struct aee__gva aee__memory_tls(uint32_t lane, const struct aee__memory_plan *plan);

#endif
