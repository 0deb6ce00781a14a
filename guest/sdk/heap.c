/* heap.c: segregated fits over boundary tags. Runs on any lane, also natively in tests. Every
 * block starts with a checksummed header, every list link is checked before it is followed, so that
 * a component that overruns its buffers ends in a sentence instead of in wild writes. */
#include "heap.h"

#include <stdbool.h>
#include <string.h>

/* Blocks below config.top lie back to back. Sizes count in units of 16 bytes, header included. */
struct block {
    uint32_t units;
    uint32_t prev_units; /* of the block before; 0: this is the first */
    uint32_t state;
    uint32_t check; /* over the rest and the address */
};

struct aee__heap_free_block {
    struct block header;
    struct aee__heap_free_block *next; /* in its bin; NULL ends */
    struct aee__heap_free_block *prev;
};

typedef struct aee__heap_free_block free_block;

enum { STATE_USED = 0x55534544, STATE_FREE = 0x46524545 };
enum { UNIT = AEE__HEAP_UNIT, MIN_UNITS = 2, SCAN_LIMIT = 8 };

_Static_assert(sizeof(struct block) == UNIT, "payloads stay aligned");
_Static_assert(sizeof(free_block) == UNIT * MIN_UNITS, "a free block fits the smallest size");

/* ---- Lock ---- */

static void lock(struct aee__heap *heap)
{
    /* Acquire pairs with the release in unlock(). */
    while (__atomic_exchange_n(&heap->lock, 1u, __ATOMIC_ACQUIRE) != 0) {
        while (__atomic_load_n(&heap->lock, __ATOMIC_RELAXED) != 0) {
            __builtin_ia32_pause();
        }
    }
}

static void unlock(struct aee__heap *heap)
{
    __atomic_store_n(&heap->lock, 0u, __ATOMIC_RELEASE);
}

/* ---- Headers ---- */

static uint32_t checksum(const struct aee__heap *heap, const struct block *block)
{
    uint64_t x = ((uint64_t)block->units << 32 | block->prev_units) ^ (uintptr_t)block;
    x ^= (uint64_t)(block->state ^ heap->config.secret) << 17;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(x >> 32) ^ (uint32_t)x;
}

static void seal(const struct aee__heap *heap, struct block *block)
{
    block->check = checksum(heap, block);
}

static void *payload(struct block *block)
{
    return block + 1;
}

static struct block *after(struct block *block)
{
    return block + block->units;
}

static void report(struct aee__heap *heap, const char *sentence, const void *where)
{
    heap->config.corrupt(heap->config.user, sentence, (uintptr_t)where);
    __builtin_trap();
}

static bool is_sound(const struct aee__heap *heap, const struct block *block)
{
    return block->check == checksum(heap, block) && block->units >= MIN_UNITS &&
           (heap->top - (uintptr_t)block) / UNIT >= block->units;
}

/* The block after `block`, or NULL at the top. Damage there means that `block` was overrun. */
static struct block *next_of(struct aee__heap *heap, struct block *block)
{
    struct block *next = after(block);
    if ((uintptr_t)next == heap->top) {
        return NULL;
    }
    if (!is_sound(heap, next) || next->prev_units != block->units) {
        report(heap, "memory was written beyond the end of an allocated block", payload(block));
    }
    return next;
}

/* Tells the neighbour above that `block` has a new size. */
static void link_size(struct aee__heap *heap, struct block *block)
{
    struct block *next = after(block);
    if ((uintptr_t)next == heap->top) {
        heap->last_units = block->units;
        return;
    }
    if (!is_sound(heap, next)) {
        report(heap, "memory was written beyond the end of a block", payload(block));
    }
    next->prev_units = block->units;
    seal(heap, next);
}

static void make(struct aee__heap *heap, struct block *block, uint32_t units, uint32_t prev_units,
                 uint32_t state)
{
    block->units = units;
    block->prev_units = prev_units;
    block->state = state;
    seal(heap, block);
}

/* ---- Bins ---- */

/* Blocks of a bin are at least as large as its smallest size; exact below 64 units. */
static uint32_t bin_of(uint32_t units)
{
    if (units < AEE__HEAP_EXACT_BINS) {
        return units;
    }
    const uint32_t log = 31u - (uint32_t)__builtin_clz(units);
    return AEE__HEAP_EXACT_BINS + (log - 6u) * 4u + ((units >> (log - 2u)) & 3u);
}

static void check_link(struct aee__heap *heap, free_block *block)
{
    const uintptr_t address = (uintptr_t)block;
    if (address < heap->config.base || address >= heap->top || address % UNIT != 0) {
        report(heap, "a list of free blocks was overwritten", block);
    }
    if (!is_sound(heap, &block->header) || block->header.state != STATE_FREE) {
        report(heap, "the header of a free block was overwritten", payload(&block->header));
    }
}

static void bin_insert(struct aee__heap *heap, struct block *block)
{
    free_block *entry = (free_block *)(void *)block;
    const uint32_t bin = bin_of(block->units);
    entry->prev = NULL;
    entry->next = heap->bins[bin];
    if (entry->next != NULL) {
        check_link(heap, entry->next);
        entry->next->prev = entry;
    }
    heap->bins[bin] = entry;
    heap->bin_map[bin / 64u] |= UINT64_C(1) << (bin % 64u);
}

static void bin_remove(struct aee__heap *heap, struct block *block)
{
    free_block *entry = (free_block *)(void *)block;
    const uint32_t bin = bin_of(block->units);
    check_link(heap, entry);
    if (entry->next != NULL) {
        check_link(heap, entry->next);
    }
    if (entry->prev != NULL) {
        check_link(heap, entry->prev);
    }
    if ((entry->prev != NULL ? entry->prev->next : heap->bins[bin]) != entry ||
        (entry->next != NULL && entry->next->prev != entry)) {
        report(heap, "memory was written after it had been freed", payload(block));
    }
    if (entry->next != NULL) {
        entry->next->prev = entry->prev;
    }
    if (entry->prev != NULL) {
        entry->prev->next = entry->next;
    } else {
        heap->bins[bin] = entry->next;
    }
    if (heap->bins[bin] == NULL) {
        heap->bin_map[bin / 64u] &= ~(UINT64_C(1) << (bin % 64u));
    }
}

/* First fit among the blocks of one bin, looking at no more than `tries` of them. */
static struct block *bin_scan(struct aee__heap *heap, uint32_t units, size_t tries)
{
    free_block *entry = heap->bins[bin_of(units)];
    for (; entry != NULL && tries > 0; entry = entry->next, tries--) {
        check_link(heap, entry);
        if (entry->header.units >= units) {
            return &entry->header;
        }
    }
    return NULL;
}

/* Any block of the next greater bin that has one; all of them are large enough. */
static struct block *bin_above(struct aee__heap *heap, uint32_t units)
{
    uint32_t bin = bin_of(units) + 1u;
    while (bin < AEE__HEAP_BINS) {
        const uint64_t word = heap->bin_map[bin / 64u] >> (bin % 64u);
        if (word != 0) {
            bin += (uint32_t)__builtin_ctzll(word);
            check_link(heap, heap->bins[bin]);
            return &heap->bins[bin]->header;
        }
        bin = (bin / 64u + 1u) * 64u;
    }
    return NULL;
}

/* ---- Blocks ---- */

/* Gives a block that is in no list back: joins it with free neighbours, then lowers the top or
 * files it in a bin. */
static void release(struct aee__heap *heap, struct block *block)
{
    struct block *next = next_of(heap, block);
    if (next != NULL && next->state == STATE_FREE) {
        bin_remove(heap, next);
        block->units += next->units;
        next->check = 0;
    }
    if (block->prev_units != 0) {
        struct block *prev = block - block->prev_units;
        if ((uintptr_t)prev < heap->config.base || !is_sound(heap, prev) || after(prev) != block) {
            report(heap, "the header before a block was overwritten", payload(block));
        }
        if (prev->state == STATE_FREE) {
            bin_remove(heap, prev);
            prev->units += block->units;
            block->check = 0;
            block = prev;
        }
    }
    make(heap, block, block->units, block->prev_units, STATE_FREE);
    if ((uintptr_t)after(block) == heap->top) {
        heap->top = (uintptr_t)block;
        heap->last_units = block->prev_units;
        return;
    }
    link_size(heap, block);
    bin_insert(heap, block);
}

/* Cuts an allocated block down to `units` and releases the rest, if that is worth a block. */
static void trim(struct aee__heap *heap, struct block *block, uint32_t units)
{
    const uint32_t rest = block->units - units;
    if (rest < MIN_UNITS) {
        return;
    }
    make(heap, block, units, block->prev_units, STATE_USED);
    struct block *tail = after(block);
    make(heap, tail, rest, units, STATE_USED);
    link_size(heap, tail);
    release(heap, tail);
}

/* True if the heap may end at or above top + units; asks for the present limit when needed. */
static bool has_room(struct aee__heap *heap, uint32_t units)
{
    const uint64_t bytes = (uint64_t)units * UNIT;
    if (heap->limit - heap->top < bytes) {
        heap->limit = heap->config.base + heap->config.size(heap->config.user) / UNIT * UNIT;
    }
    return heap->limit >= heap->top && heap->limit - heap->top >= bytes;
}

static void raise_top(struct aee__heap *heap, uint32_t units)
{
    heap->top += (uintptr_t)units * UNIT;
    if (heap->top > heap->high) {
        heap->high = heap->top;
    }
}

static struct block *take_top(struct aee__heap *heap, uint32_t units)
{
    if (!has_room(heap, units)) {
        return NULL;
    }
    struct block *block = (struct block *)heap->top; // NOLINT(performance-no-int-to-ptr)
    raise_top(heap, units);
    make(heap, block, units, heap->last_units, STATE_USED);
    heap->last_units = units;
    return block;
}

/* An allocated block of at least `units`, or NULL. */
static struct block *take(struct aee__heap *heap, uint32_t units)
{
    struct block *block = bin_scan(heap, units, SCAN_LIMIT);
    if (block == NULL) {
        block = bin_above(heap, units);
    }
    if (block == NULL) {
        struct block *fresh = take_top(heap, units);
        if (fresh != NULL) {
            return fresh;
        }
        block = bin_scan(heap, units, SIZE_MAX); /* the last resort before the limit is reported */
    }
    if (block == NULL) {
        return NULL;
    }
    bin_remove(heap, block);
    make(heap, block, block->units, block->prev_units, STATE_USED);
    trim(heap, block, units);
    return block;
}

/* Units for `size` bytes and a header; 0 if no heap is that large. */
static uint32_t units_for(size_t size)
{
    if (size > (UINT64_C(1) << 35)) {
        return 0;
    }
    const uint32_t units = (uint32_t)((size + UNIT - 1u) / UNIT) + 1u;
    return units < MIN_UNITS ? MIN_UNITS : units;
}

/* The allocated block at `memory`, or a report that says what is wrong with the pointer. */
static struct block *block_at(struct aee__heap *heap, void *memory)
{
    const uintptr_t address = (uintptr_t)memory;
    if (address % UNIT != 0 || address < heap->config.base + UNIT || address > heap->high) {
        report(heap, "a pointer was freed that malloc() had not returned", memory);
    }
    struct block *block = (struct block *)memory - 1;
    if (address >= heap->top || !is_sound(heap, block)) {
        report(heap, "a block was freed twice, was never allocated, or its header was overwritten",
               memory);
    }
    if (block->state != STATE_USED) {
        report(heap, "a block was freed twice", memory);
    }
    return block;
}

/* ---- Interface ---- */

void aee__heap_init(struct aee__heap *heap, const struct aee__heap_config *config)
{
    memset(heap, 0, sizeof *heap);
    heap->config = *config;
    heap->top = config->base;
    heap->limit = config->base;
    heap->high = config->base;
}

/* Moves the start of an allocated block up so that its payload is aligned; the gap is released. */
static struct block *align_block(struct aee__heap *heap, struct block *block, size_t align)
{
    uintptr_t start = (uintptr_t)payload(block);
    if (start % align == 0) {
        return block;
    }
    start = (start + (uintptr_t)MIN_UNITS * UNIT + align - 1u) & ~(uintptr_t)(align - 1u);
    const uint32_t gap = (uint32_t)((start - (uintptr_t)payload(block)) / UNIT);
    const uint32_t units = block->units - gap;
    struct block *moved = block + gap;
    make(heap, moved, units, gap, STATE_USED);
    link_size(heap, moved);
    make(heap, block, gap, block->prev_units, STATE_USED);
    release(heap, block);
    return moved;
}

void *aee__heap_alloc(struct aee__heap *heap, size_t size, size_t align, int zeroed)
{
    const uint32_t units = units_for(size);
    const uint32_t slack = align > UNIT ? units_for(align) + MIN_UNITS : 0;
    uint32_t total;
    if (units == 0 || (align > UNIT && slack < align / UNIT) ||
        __builtin_add_overflow(units, slack, &total)) {
        return NULL;
    }
    lock(heap);
    const uintptr_t fresh = heap->high; /* never handed out from here on, so still zero */
    struct block *block = take(heap, total);
    if (block == NULL) {
        unlock(heap);
        return NULL;
    }
    if (slack != 0) {
        block = align_block(heap, block, align);
        trim(heap, block, units);
    }
    heap->used += (uint64_t)block->units * UNIT;
    unlock(heap);
    char *memory = payload(block);
    if (zeroed && (uintptr_t)memory < fresh) {
        const size_t dirty = fresh - (uintptr_t)memory;
        memset(memory, 0, dirty < size ? dirty : size);
    }
    return memory;
}

void aee__heap_free(struct aee__heap *heap, void *memory)
{
    if (memory == NULL) {
        return;
    }
    lock(heap);
    struct block *block = block_at(heap, memory);
    heap->used -= (uint64_t)block->units * UNIT;
    release(heap, block);
    unlock(heap);
}

/* Tries to make an allocated block larger where it is. */
static bool grow_in_place(struct aee__heap *heap, struct block *block, uint32_t units)
{
    struct block *next = next_of(heap, block);
    if (next == NULL) {
        if (!has_room(heap, units - block->units)) {
            return false;
        }
        raise_top(heap, units - block->units);
        make(heap, block, units, block->prev_units, STATE_USED);
        heap->last_units = units;
        return true;
    }
    if (next->state != STATE_FREE || next->units < units - block->units) {
        return false;
    }
    bin_remove(heap, next);
    next->check = 0;
    make(heap, block, block->units + next->units, block->prev_units, STATE_USED);
    link_size(heap, block);
    trim(heap, block, units);
    return true;
}

void *aee__heap_realloc(struct aee__heap *heap, void *memory, size_t size)
{
    if (memory == NULL) {
        return aee__heap_alloc(heap, size, UNIT, 0);
    }
    const uint32_t units = units_for(size);
    if (units == 0) {
        return NULL;
    }
    lock(heap);
    struct block *block = block_at(heap, memory);
    const uint32_t old_units = block->units;
    bool fits = units <= old_units;
    if (fits) {
        (void)next_of(heap, block); /* reports an overrun before the tail is cut off */
        trim(heap, block, units);
    } else {
        fits = grow_in_place(heap, block, units);
    }
    heap->used += ((uint64_t)block->units - old_units) * UNIT;
    unlock(heap);
    if (fits) {
        return memory;
    }
    void *moved = aee__heap_alloc(heap, size, UNIT, 0);
    if (moved != NULL) {
        memcpy(moved, memory, ((size_t)old_units - 1u) * UNIT);
        aee__heap_free(heap, memory);
    }
    return moved;
}

size_t aee__heap_usable_size(struct aee__heap *heap, void *memory)
{
    if (memory == NULL) {
        return 0;
    }
    lock(heap);
    const size_t units = block_at(heap, memory)->units;
    unlock(heap);
    return (units - 1u) * UNIT;
}

uint64_t aee__heap_used(struct aee__heap *heap)
{
    lock(heap);
    const uint64_t used = heap->used;
    unlock(heap);
    return used;
}

uint64_t aee__heap_available(struct aee__heap *heap)
{
    const uint64_t used = aee__heap_used(heap);
    const uint64_t size = heap->config.size(heap->config.user);
    return size > used ? size - used : 0;
}

size_t aee__heap_check(struct aee__heap *heap)
{
    size_t blocks = 0;
    size_t free_blocks = 0;
    uint32_t prev_units = 0;
    lock(heap);
    struct block *block = (struct block *)heap->config.base; // NOLINT(performance-no-int-to-ptr)
    for (; (uintptr_t)block < heap->top; block = after(block), blocks++) {
        if (!is_sound(heap, block) || block->prev_units != prev_units) {
            report(heap, "the header of a block was overwritten", payload(block));
        }
        free_blocks += block->state == STATE_FREE;
        prev_units = block->units;
    }
    for (uint32_t bin = 0; bin < AEE__HEAP_BINS; bin++) {
        for (free_block *entry = heap->bins[bin]; entry != NULL; entry = entry->next) {
            check_link(heap, entry);
            free_blocks--;
        }
    }
    if (prev_units != heap->last_units || free_blocks != 0) {
        report(heap, "a free block is in no list, or in two", NULL);
    }
    unlock(heap);
    return blocks;
}
