/* heap_walk.h: what lies at an address of a component's heap, by the headers that the guest SDK's
 * malloc() (guest/sdk/heap.c) puts before its blocks. All of it is the component's to forge: each
 * header is copied once and believed only with its checksum and its neighbours'. Reads guest memory
 * in place; a bounded number of steps; any thread. */
#ifndef AEE_RECOVERY_HEAP_WALK_H
#define AEE_RECOVERY_HEAP_WALK_H

#include "isolation/crash_record.h"

/* The layout of struct aee__heap and of a block's header; a test compares it with the SDK's. */
#define AEE__HEAP_OBJECT_NAME "the_heap"
#define AEE__HEAP_OBJECT_SIZE 1448u
#define AEE__HEAP_BASE_AT 0u
#define AEE__HEAP_SECRET_AT 32u
#define AEE__HEAP_TOP_AT 48u
#define AEE__HEAP_BLOCK 16u

struct aee__heap_view {
    const uint8_t *host; /* of `base`; NULL: the heap cannot be looked at */
    uint64_t base;       /* gva */
    uint64_t size;       /* bytes that can be read at `host` */
    uint64_t top;        /* gva; blocks lie below */
    uint32_t secret;
    uint32_t steps; /* left; each header that is looked at takes one */
};

/* `object` is a copy of the allocator's own object. False, and a view of nothing, if it makes no
 * sense. */
bool aee__heap_view_open(struct aee__heap_view *view, const uint8_t *object, const void *host,
                         uint64_t base, uint64_t size, uint32_t steps);
/* UNKNOWN where the address is in no block, or more than `most` headers' places behind one. */
struct aee__heap_place aee__heap_place_of(struct aee__heap_view *view, uint64_t address,
                                          uint32_t most);

#endif
