#include "ept/pagetable.h"

#include <stdatomic.h>

#include "base/checked.h"

/* Entry bits: SDM vol. 3A, tables 4-15 to 4-20. */
#define PRESENT UINT64_C(0x001)
#define WRITABLE UINT64_C(0x002)
#define USER UINT64_C(0x004)
#define ACCESSED UINT64_C(0x020)
#define DIRTY UINT64_C(0x040)
#define LARGE UINT64_C(0x080)
#define NO_EXECUTE (UINT64_C(1) << 63)
#define ADDRESS UINT64_C(0x000ffffffffff000)

typedef _Atomic uint64_t entry;

void aee__pagetable_init(struct aee__pagetable *table, uint8_t *pool, struct aee__gpa base,
                         uint32_t capacity)
{
    *table = (struct aee__pagetable){.pool = pool, .base = base, .capacity = capacity, .used = 1};
}

static entry *page_of(struct aee__pagetable *table, uint64_t gpa)
{
    return (entry *)(void *)(table->pool + (gpa - table->base.value));
}

/* Index into the table of a level: 3 is the root, 0 holds 4 KiB pages. */
static unsigned index_of(uint64_t gva, unsigned level)
{
    return (unsigned)(gva >> (12 + 9 * level)) & 511u;
}

/* The table below `slot`, made when it is absent. A new table is complete (all absent) before the
 * release store publishes it; pairs with the processor's page walk. */
static entry *descend(struct aee__pagetable *table, entry *slot)
{
    uint64_t value = atomic_load_explicit(slot, memory_order_relaxed);
    if (value & PRESENT) {
        return value & LARGE ? NULL : page_of(table, value & ADDRESS);
    }
    if (table->used == table->capacity) {
        return NULL;
    }
    uint64_t gpa = table->base.value + table->used * AEE__PAGE_SIZE;
    table->used++;
    atomic_store_explicit(slot, gpa | PRESENT | WRITABLE | USER | ACCESSED, memory_order_release);
    return page_of(table, gpa);
}

/* The entry for `gva` at `level` (1: 2 MiB page, 0: 4 KiB page), or NULL. */
static entry *find(struct aee__pagetable *table, uint64_t gva, unsigned level)
{
    entry *tables = page_of(table, table->base.value);
    for (unsigned i = 3; i > level && tables; i--) {
        tables = descend(table, &tables[index_of(gva, i)]);
    }
    return tables ? &tables[index_of(gva, level)] : NULL;
}

static uint64_t entry_bits(uint32_t rights)
{
    return PRESENT | ACCESSED | DIRTY | (rights & AEE__PT_WRITE ? WRITABLE : 0) |
           (rights & AEE__PT_USER ? USER : 0) | (rights & AEE__PT_EXECUTE ? 0 : NO_EXECUTE);
}

static bool may_replace(uint64_t old, uint64_t new)
{
    return !(old & PRESENT) || (old | WRITABLE) == (new | WRITABLE);
}

static aee_result map_one(struct aee__pagetable *table, uint64_t gva, uint64_t gpa, bool large,
                          uint32_t rights, aee_error *error)
{
    entry *slot = find(table, gva, large ? 1 : 0);
    if (!slot) {
        return aee__fail(error, AEE_ERR_LIMIT,
                         "cannot map guest address 0x%llx: page tables are full",
                         (unsigned long long)gva);
    }
    uint64_t old = atomic_load_explicit(slot, memory_order_relaxed);
    uint64_t value = gpa | entry_bits(rights) | (large ? LARGE : 0);
    if (!may_replace(old, value)) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot map guest address 0x%llx: it is mapped elsewhere",
                         (unsigned long long)gva);
    }
    atomic_store_explicit(slot, old | value, memory_order_release);
    return AEE_OK;
}

aee_result aee__pagetable_map(struct aee__pagetable *table, struct aee__gva gva,
                              struct aee__gpa gpa, uint64_t size, uint32_t rights, aee_error *error)
{
    if (((gva.value | gpa.value | size) & (AEE__PAGE_SIZE - 1)) != 0) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot map guest address 0x%llx: not on a page boundary",
                         (unsigned long long)gva.value);
    }
    for (uint64_t done = 0; done < size;) {
        uint64_t at = gva.value + done;
        uint64_t to = gpa.value + done;
        bool large = (rights & AEE__PT_LARGE) && ((at | to) & (AEE__LARGE_PAGE_SIZE - 1)) == 0 &&
                     size - done >= AEE__LARGE_PAGE_SIZE;
        aee_result result = map_one(table, at, to, large, rights, error);
        if (result != AEE_OK) {
            return result;
        }
        done += large ? AEE__LARGE_PAGE_SIZE : AEE__PAGE_SIZE;
    }
    return AEE_OK;
}
