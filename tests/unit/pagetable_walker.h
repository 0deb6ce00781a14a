/* pagetable_walker.h: walks x86-64 page tables the way the processor does, from the formats in SDM
 * vol. 3A, 4.5 and tables 4-15 to 4-20, and knows nothing of the code that built them. */
#ifndef AEE_TESTS_UNIT_PAGETABLE_WALKER_H
#define AEE_TESTS_UNIT_PAGETABLE_WALKER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* One page that the tables map, with its rights after all levels. */
struct leaf {
    uint64_t gva;
    uint64_t gpa;
    uint64_t size;
    bool user;
    bool writable;
    bool executable;
    bool accessed; /* at every level */
    bool dirty;
};

struct walker {
    const uint8_t *pool;
    uint64_t base; /* gpa of the pool */
    uint64_t pages;
    uint8_t visited[1024]; /* a table that is reached twice is a mistake */
    const char *fault;     /* the first one that was found */
    void (*visit)(void *user, const struct leaf *leaf);
    void *user;
};

static inline uint64_t walker_entry(const struct walker *walker, uint64_t table, unsigned index)
{
    uint64_t value;
    memcpy(&value, walker->pool + (table - walker->base) + 8 * index, sizeof value);
    return value;
}

static inline bool walker_enters(struct walker *walker, uint64_t table)
{
    uint64_t page = (table - walker->base) / 4096;
    if (table < walker->base || page >= walker->pages || page >= sizeof walker->visited) {
        walker->fault = "a table lies outside of the pool";
        return false;
    }
    if (walker->visited[page]) {
        walker->fault = "a table is used twice";
        return false;
    }
    walker->visited[page] = 1;
    return true;
}

/* `level` 4 is the root; `so_far` collects the rights. */
static inline void walker_table(struct walker *walker, uint64_t table, unsigned level, uint64_t gva,
                                struct leaf so_far)
{
    if (!walker_enters(walker, table)) {
        return;
    }
    for (unsigned i = 0; i < 512 && !walker->fault; i++) {
        uint64_t entry = walker_entry(walker, table, i);
        uint64_t shift = 12 + 9 * (level - 1);
        struct leaf leaf = so_far;
        leaf.gva = gva | (uint64_t)i << shift;
        if (level == 4 && i >= 256) {
            leaf.gva |= UINT64_C(0xffff) << 48; /* canonical form */
        }
        if (!(entry & 1)) {
            walker->fault = entry ? "bits in an absent entry" : walker->fault;
            continue;
        }
        leaf.writable = leaf.writable && (entry & 2);
        leaf.user = leaf.user && (entry & 4);
        leaf.accessed = leaf.accessed && (entry & 0x20);
        leaf.executable = leaf.executable && !(entry >> 63);
        bool large = level > 1 && (entry & 0x80);
        if (entry & (UINT64_C(0x7ff) << 52 | 0x18)) { /* ignored and cache bits stay clear */
            walker->fault = "stray bits in an entry";
        } else if (level > 1 && !large) {
            walker_table(walker, entry & UINT64_C(0xffffffffff000), level - 1, leaf.gva, leaf);
        } else if (large && (level != 2 || (entry & 0x1ff000))) {
            walker->fault = "a large page at the wrong level or place";
        } else {
            leaf.dirty = entry & 0x40;
            leaf.gpa = entry & UINT64_C(0xffffffffff000);
            leaf.size = UINT64_C(1) << shift;
            walker->visit(walker->user, &leaf);
        }
    }
}

/* Visits every mapped page in the order of addresses; NULL, or what is wrong with the tables. */
static inline const char *walk(const uint8_t *pool, uint64_t base, uint64_t pages,
                               void (*visit)(void *user, const struct leaf *leaf), void *user)
{
    struct walker walker = {
        .pool = pool, .base = base, .pages = pages, .visit = visit, .user = user};
    struct leaf all = {.user = true, .writable = true, .executable = true, .accessed = true};
    walker_table(&walker, base, 4, 0, all);
    return walker.fault;
}

#endif
