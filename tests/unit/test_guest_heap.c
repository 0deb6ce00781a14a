/* test_guest_heap.c: the component's allocator, natively: against an oracle under random load, at
 * its limit, when the limit is raised, with several threads, and when its bookkeeping is damaged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/mman.h>

#include "heap.h"

#define SPACE ((size_t)64 << 20)

struct arena {
    struct aee__heap heap;
    unsigned char *base;
    uint64_t size; /* what the heap may use now */
    jmp_buf on_corrupt;
    const char *sentence;
    uintptr_t address;
};

static uint64_t arena_size(void *user)
{
    const struct arena *arena = user;
    return __atomic_load_n(&arena->size, __ATOMIC_RELAXED);
}

static void arena_corrupt(void *user, const char *sentence, uintptr_t address)
{
    struct arena *arena = user;
    arena->sentence = sentence;
    arena->address = address;
    longjmp(arena->on_corrupt, 1);
}

/* Fresh zero pages behind which nothing can be written. */
static void arena_make(struct arena *arena, uint64_t size)
{
    void *base = mmap(NULL, SPACE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(base, MAP_FAILED);
    memset(arena, 0, sizeof *arena);
    arena->base = base;
    arena->size = size;
    const struct aee__heap_config config = {
        .base = (uintptr_t)base,
        .size = arena_size,
        .corrupt = arena_corrupt,
        .user = arena,
        .secret = 0x5eed1234u,
    };
    aee__heap_init(&arena->heap, &config);
}

static void arena_end(struct arena *arena)
{
    assert_int_equal(munmap(arena->base, SPACE), 0);
}

/* ---- Random load against an oracle ---- */

#define SLOTS 400

struct slot {
    unsigned char *memory;
    size_t size;
    unsigned char fill;
};

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* Mostly small, now and then large. */
static size_t random_size(uint64_t *state)
{
    const uint64_t kind = next_random(state) % 100u;
    const size_t bound = kind < 70 ? 200 : kind < 95 ? 5000 : 300000;
    return next_random(state) % bound;
}

static void check_fill(const struct slot *slot, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (slot->memory[i] != slot->fill) {
            fail_msg("byte %zu of a block of %zu is 0x%02x, not 0x%02x", i, slot->size,
                     slot->memory[i], slot->fill);
        }
    }
}

static void fill(struct slot *slot, uint64_t *state)
{
    slot->fill = (unsigned char)next_random(state);
    memset(slot->memory, slot->fill, slot->size);
}

static void step_alloc(struct arena *arena, struct slot *slot, uint64_t *state)
{
    const int zeroed = next_random(state) % 4u == 0;
    const size_t align = next_random(state) % 8u == 0 ? (size_t)16 << next_random(state) % 9u : 16;
    slot->size = random_size(state);
    slot->memory = aee__heap_alloc(&arena->heap, slot->size, align, zeroed);
    assert_non_null(slot->memory);
    assert_int_equal((uintptr_t)slot->memory % align, 0);
    assert_true(aee__heap_usable_size(&arena->heap, slot->memory) >= slot->size);
    assert_in_range((uintptr_t)slot->memory, (uintptr_t)arena->base,
                    (uintptr_t)arena->base + arena->size - slot->size);
    if (zeroed) {
        slot->fill = 0;
        check_fill(slot, slot->size);
    }
    fill(slot, state);
}

static void step_realloc(struct arena *arena, struct slot *slot, uint64_t *state)
{
    const size_t size = random_size(state);
    const size_t kept = size < slot->size ? size : slot->size;
    slot->memory = aee__heap_realloc(&arena->heap, slot->memory, size);
    assert_non_null(slot->memory);
    check_fill(slot, kept);
    slot->size = size;
    fill(slot, state);
}

static void step_free(struct arena *arena, struct slot *slot)
{
    check_fill(slot, slot->size);
    aee__heap_free(&arena->heap, slot->memory);
    slot->memory = NULL;
}

static void random_load_keeps_contents(void **state)
{
    (void)state;
    static struct arena arena;
    static struct slot slots[SLOTS];
    arena_make(&arena, SPACE);
    if (setjmp(arena.on_corrupt) != 0) {
        fail_msg("damage was reported: %s", arena.sentence);
    }
    uint64_t random = 42;
    for (int step = 0; step < 200000; step++) {
        struct slot *slot = &slots[next_random(&random) % SLOTS];
        if (slot->memory == NULL) {
            step_alloc(&arena, slot, &random);
        } else if (next_random(&random) % 3u == 0) {
            step_realloc(&arena, slot, &random);
        } else {
            step_free(&arena, slot);
        }
        if (step % 5000 == 0) {
            (void)aee__heap_check(&arena.heap);
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].memory != NULL) {
            step_free(&arena, &slots[i]);
        }
    }
    /* Everything has grown together again. */
    assert_int_equal(aee__heap_check(&arena.heap), 0);
    assert_int_equal(aee__heap_used(&arena.heap), 0);
    assert_int_equal(arena.heap.top, arena.base);
    arena_end(&arena);
}

/* ---- Limit and growth ---- */

static void limit_gives_null_and_nothing_else(void **state)
{
    (void)state;
    static struct arena arena;
    arena_make(&arena, 1 << 20);
    void *first = aee__heap_alloc(&arena.heap, 100, 16, 0);
    assert_non_null(first);
    const uint64_t used = aee__heap_used(&arena.heap);
    assert_null(aee__heap_alloc(&arena.heap, 1 << 20, 16, 0));
    assert_null(aee__heap_alloc(&arena.heap, SIZE_MAX, 16, 0));
    assert_null(aee__heap_alloc(&arena.heap, SIZE_MAX - 15, 16, 1));
    assert_null(aee__heap_alloc(&arena.heap, (size_t)1 << 36, 16, 0));
    assert_null(aee__heap_alloc(&arena.heap, 16, (size_t)1 << 40, 0));
    assert_null(aee__heap_alloc(&arena.heap, 16, (size_t)1 << 63, 0));
    assert_null(aee__heap_realloc(&arena.heap, first, 1 << 20));
    assert_null(aee__heap_realloc(&arena.heap, first, SIZE_MAX));
    assert_int_equal(aee__heap_used(&arena.heap), used);
    assert_int_equal(aee__heap_available(&arena.heap), (1 << 20) - used);
    /* The last byte can be had, one more cannot. */
    assert_null(aee__heap_alloc(&arena.heap, (1 << 20) - used - 16 + 1, 16, 0));
    unsigned char *rest = aee__heap_alloc(&arena.heap, (1 << 20) - used - 16, 16, 0);
    assert_non_null(rest);
    assert_ptr_equal(rest + (1 << 20) - used - 16, arena.base + (1 << 20));
    assert_null(aee__heap_alloc(&arena.heap, 1, 16, 0));
    aee__heap_free(&arena.heap, rest);
    aee__heap_free(&arena.heap, first);
    assert_int_equal(aee__heap_check(&arena.heap), 0);
    arena_end(&arena);
}

static void heap_grows_when_its_size_does(void **state)
{
    (void)state;
    static struct arena arena;
    arena_make(&arena, 4096);
    assert_null(aee__heap_alloc(&arena.heap, 8192, 16, 0));
    void *piece = aee__heap_alloc(&arena.heap, 4000, 16, 0);
    assert_non_null(piece);
    arena.size = 1 << 20;
    assert_non_null(aee__heap_alloc(&arena.heap, 8192, 16, 0));
    assert_int_equal(aee__heap_available(&arena.heap), (1 << 20) - aee__heap_used(&arena.heap));
    arena_end(&arena);
}

/* Blocks of one size class differ in size: near the limit the right one must still be found. */
static void a_fitting_block_is_found_at_the_limit(void **state)
{
    (void)state;
    static struct arena arena;
    arena_make(&arena, 1 << 20);
    void *large[32];
    for (int i = 0; i < 32; i++) {
        const size_t size = i == 0 ? 1270 * 16 : 1100 * 16; /* both in one class */
        large[i] = aee__heap_alloc(&arena.heap, size, 16, 0);
        assert_non_null(large[i]);
        assert_non_null(aee__heap_alloc(&arena.heap, 16, 16, 0));
    }
    while (aee__heap_alloc(&arena.heap, 1270 * 16, 16, 0) != NULL) {
    }
    for (int i = 0; i < 32; i++) {
        aee__heap_free(&arena.heap, large[i]); /* the good one is the last of its list */
    }
    assert_ptr_equal(aee__heap_alloc(&arena.heap, 1270 * 16, 16, 0), large[0]);
    arena_end(&arena);
}

static void realloc_grows_in_place_where_it_can(void **state)
{
    (void)state;
    static struct arena arena;
    arena_make(&arena, 1 << 20);
    void *last = aee__heap_alloc(&arena.heap, 100, 16, 0);
    assert_ptr_equal(aee__heap_realloc(&arena.heap, last, 10000), last);
    void *after = aee__heap_alloc(&arena.heap, 5000, 16, 0);
    void *wall = aee__heap_alloc(&arena.heap, 16, 16, 0);
    aee__heap_free(&arena.heap, after);
    assert_ptr_equal(aee__heap_realloc(&arena.heap, last, 14000), last);
    assert_ptr_not_equal(aee__heap_realloc(&arena.heap, last, 30000), last);
    aee__heap_free(&arena.heap, wall);
    (void)aee__heap_check(&arena.heap);
    arena_end(&arena);
}

static void zeroed_memory_is_zero_after_use(void **state)
{
    (void)state;
    static struct arena arena;
    arena_make(&arena, 1 << 20);
    unsigned char *dirty = aee__heap_alloc(&arena.heap, 50000, 16, 0);
    memset(dirty, 0xff, 50000);
    aee__heap_free(&arena.heap, dirty);
    /* Half of it lies in memory that was used, half in memory that never was. */
    unsigned char *clean = aee__heap_alloc(&arena.heap, 100000, 16, 1);
    assert_ptr_equal(clean, dirty);
    for (size_t i = 0; i < 100000; i++) {
        assert_int_equal(clean[i], 0);
    }
    arena_end(&arena);
}

/* ---- Several lanes ---- */

static void *lane(void *argument)
{
    struct arena *arena = argument;
    struct slot slots[16] = {{0}};
    uint64_t random = (uintptr_t)&slots;
    for (int step = 0; step < 20000; step++) {
        struct slot *slot = &slots[next_random(&random) % 16u];
        if (slot->memory != NULL) {
            check_fill(slot, slot->size);
            aee__heap_free(&arena->heap, slot->memory);
        }
        slot->size = next_random(&random) % 2000u;
        slot->memory = aee__heap_alloc(&arena->heap, slot->size, 16, 0);
        assert_non_null(slot->memory);
        fill(slot, &random);
    }
    for (int i = 0; i < 16; i++) {
        aee__heap_free(&arena->heap, slots[i].memory);
    }
    return NULL;
}

static void lanes_share_the_heap(void **state)
{
    (void)state;
    static struct arena arena;
    pthread_t threads[4];
    arena_make(&arena, SPACE);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, lane, &arena), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(aee__heap_check(&arena.heap), 0);
    assert_int_equal(aee__heap_used(&arena.heap), 0);
    arena_end(&arena);
}

/* ---- Damage ---- */

typedef void crime_fn(struct arena *arena, unsigned char **blocks);

static void double_free(struct arena *arena, unsigned char **blocks)
{
    aee__heap_free(&arena->heap, blocks[1]);
    aee__heap_free(&arena->heap, blocks[1]);
}

static void double_free_after_merge(struct arena *arena, unsigned char **blocks)
{
    aee__heap_free(&arena->heap, blocks[1]);
    aee__heap_free(&arena->heap, blocks[2]);
    aee__heap_free(&arena->heap, blocks[2]);
}

static void double_free_at_the_top(struct arena *arena, unsigned char **blocks)
{
    aee__heap_free(&arena->heap, blocks[3]);
    aee__heap_free(&arena->heap, blocks[3]);
}

static void free_in_the_middle(struct arena *arena, unsigned char **blocks)
{
    aee__heap_free(&arena->heap, blocks[1] + 16);
}

static void free_unaligned(struct arena *arena, unsigned char **blocks)
{
    aee__heap_free(&arena->heap, blocks[1] + 1);
}

static void free_foreign(struct arena *arena, unsigned char **blocks)
{
    static unsigned char foreign[64];
    (void)blocks;
    aee__heap_free(&arena->heap, foreign);
}

static void overrun_by_one(struct arena *arena, unsigned char **blocks)
{
    const size_t size = aee__heap_usable_size(&arena->heap, blocks[1]);
    blocks[1][size] ^= 0x10;
    aee__heap_free(&arena->heap, blocks[1]);
}

static void overrun_far(struct arena *arena, unsigned char **blocks)
{
    memset(blocks[1], 0xff, 400);
    aee__heap_free(&arena->heap, blocks[0]);
    aee__heap_free(&arena->heap, blocks[2]);
}

static void overrun_then_realloc(struct arena *arena, unsigned char **blocks)
{
    const size_t size = aee__heap_usable_size(&arena->heap, blocks[1]);
    memset(blocks[1] + size, 0, 16);
    (void)aee__heap_realloc(&arena->heap, blocks[1], 16);
}

static void underrun(struct arena *arena, unsigned char **blocks)
{
    memset(blocks[2] - 8, 0xee, 8);
    aee__heap_free(&arena->heap, blocks[2]);
}

static void write_after_free(struct arena *arena, unsigned char **blocks)
{
    aee__heap_free(&arena->heap, blocks[1]);
    memset(blocks[1], 0x41, 16); /* the links of the free list */
    (void)aee__heap_alloc(&arena->heap, 200, 16, 0);
}

static void redirected_list(struct arena *arena, unsigned char **blocks)
{
    aee__heap_free(&arena->heap, blocks[1]);
    unsigned char *target = blocks[2] - 16;
    memcpy(blocks[1], &target, sizeof target);
    (void)aee__heap_alloc(&arena->heap, 200, 16, 0);
}

static const struct {
    const char *name;
    crime_fn *run;
} crimes[] = {
    {"double free", double_free},
    {"double free after merging", double_free_after_merge},
    {"double free at the top", double_free_at_the_top},
    {"free in the middle", free_in_the_middle},
    {"free of an unaligned pointer", free_unaligned},
    {"free of foreign memory", free_foreign},
    {"overrun by one byte", overrun_by_one},
    {"overrun far", overrun_far},
    {"overrun, then realloc", overrun_then_realloc},
    {"underrun", underrun},
    {"write after free", write_after_free},
    {"redirected free list", redirected_list},
};

static void commit(struct arena *arena, size_t crime)
{
    unsigned char *blocks[4];
    for (int b = 0; b < 4; b++) {
        blocks[b] = aee__heap_alloc(&arena->heap, 200, 16, 0);
        assert_non_null(blocks[b]);
    }
    if (setjmp(arena->on_corrupt) == 0) {
        crimes[crime].run(arena, blocks);
        fail_msg("%s went unnoticed", crimes[crime].name);
    }
}

static void damage_is_reported(void **state)
{
    (void)state;
    static struct arena arena;
    for (size_t i = 0; i < sizeof crimes / sizeof crimes[0]; i++) {
        arena_make(&arena, 1 << 20);
        commit(&arena, i);
        assert_non_null(arena.sentence);
        print_message("%s: %s\n", crimes[i].name, arena.sentence);
        arena_end(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_load_keeps_contents),
        cmocka_unit_test(limit_gives_null_and_nothing_else),
        cmocka_unit_test(heap_grows_when_its_size_does),
        cmocka_unit_test(a_fitting_block_is_found_at_the_limit),
        cmocka_unit_test(realloc_grows_in_place_where_it_can),
        cmocka_unit_test(zeroed_memory_is_zero_after_use),
        cmocka_unit_test(lanes_share_the_heap),
        cmocka_unit_test(damage_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
