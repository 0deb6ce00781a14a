/* statebed.c: a component with state everywhere that a component can have some, and ways to lose
 * it. */
#include <aee_guest.h>
#include <stdlib.h>
#include <string.h>

enum { PAGES = 512, PAGE = 4096, WORDS = PAGE / 8 };

static int64_t counter = 100; /* data */
AEE_STATE static int64_t declared[1000];
static int64_t *added; /* as much again, from the heap */

AEE_EXPORT int64_t add_block(void)
{
    added = calloc(1000, sizeof *added);
    return added ? aee_state_add(added, 1000 * sizeof *added) : -100;
}

AEE_EXPORT int64_t set_declared(int64_t index, int64_t value)
{
    declared[index] = value;
    if (added) {
        added[index] = -value;
    }
    return 0;
}

AEE_EXPORT int64_t get_declared(int64_t index)
{
    return added && added[index] != -declared[index] ? INT64_MIN : declared[index];
}

static int64_t scratch[PAGES * WORDS] __attribute__((aligned(PAGE))); /* bss */
static _Thread_local int64_t per_lane = 7;
static int64_t *heap;
static uint64_t heap_words;

AEE_EXPORT int64_t count(void)
{
    per_lane++;
    return ++counter;
}

AEE_EXPORT int64_t counted(void)
{
    return counter;
}

AEE_EXPORT int64_t lane_count(void)
{
    return per_lane;
}

/* Writes `value` to the first words of so many pages. */
AEE_EXPORT int64_t touch(int64_t pages, int64_t value)
{
    for (int64_t i = 0; i < pages; i++) {
        *(volatile int64_t *)&scratch[i * WORDS] = value;
    }
    return pages;
}

AEE_EXPORT int64_t look(int64_t page)
{
    return scratch[page * WORDS];
}

/* A heap block of so many words, each a function of its place and `seed`. */
AEE_EXPORT int64_t fill(int64_t words, int64_t seed)
{
    free(heap);
    heap = malloc((size_t)words * sizeof *heap);
    heap_words = heap ? (uint64_t)words : 0;
    for (uint64_t i = 0; i < heap_words; i++) {
        heap[i] = (int64_t)((i + 1) * (uint64_t)seed);
    }
    return heap != NULL;
}

/* A heap block of so many words, none of which is written. */
AEE_EXPORT int64_t reserve(int64_t words)
{
    free(heap);
    heap = malloc((size_t)words * sizeof *heap);
    heap_words = heap ? (uint64_t)words : 0;
    return heap != NULL;
}

AEE_EXPORT int64_t put_word(int64_t index, int64_t value)
{
    return heap[index] = value;
}

AEE_EXPORT int64_t word(int64_t index)
{
    return heap[index];
}

/* Adds to the first words of `pages` pages, from one that `number` chooses. */
AEE_EXPORT int64_t stir(int64_t number, int64_t pages)
{
    for (int64_t i = 0; i < pages; i++) {
        scratch[(number + i) % PAGES * WORDS + number % WORDS] += number;
    }
    return pages;
}

AEE_EXPORT int64_t sum(void)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < heap_words; i++) {
        sum += (uint64_t)heap[i];
    }
    return (int64_t)sum;
}

/* Rounds towards zero from now on, or to nearest. */
AEE_EXPORT int64_t set_rounding(int64_t towards_zero)
{
    uint32_t mxcsr = towards_zero ? 0x7f80 : 0x1f80;
    uint16_t x87 = towards_zero ? 0x0f7f : 0x037f;
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(x87));
    return 0;
}

AEE_EXPORT int64_t rounding(void)
{
    uint32_t mxcsr;
    uint16_t x87;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(x87));
    return (int64_t)((mxcsr & 0x6000) << 16 | (x87 & 0x0c00));
}

/* One operation of a random walk over all of the state, chosen by `number`. */
AEE_EXPORT int64_t step(int64_t number)
{
    uint64_t n = (uint64_t)number * UINT64_C(0x9e3779b97f4a7c15);
    counter += (int64_t)(n >> 60);
    scratch[(n >> 20) % (PAGES * WORDS)] ^= (int64_t)n;
    per_lane ^= (int64_t)(n >> 7);
    if ((n >> 50) % 8 == 0) {
        (void)fill((int64_t)((n >> 30) % 20000 + 1), number);
    } else if (heap_words > 0) {
        heap[(n >> 10) % heap_words] += number;
    }
    return 0;
}

/* Over all that step() changes. */
AEE_EXPORT int64_t digest(void)
{
    uint64_t hash = (uint64_t)counter * 31 + (uint64_t)per_lane;
    for (uint64_t i = 0; i < PAGES * WORDS; i++) {
        hash = (hash ^ (uint64_t)scratch[i]) * UINT64_C(0x100000001b3);
    }
    for (uint64_t i = 0; i < heap_words; i++) {
        hash = (hash ^ (uint64_t)heap[i]) * UINT64_C(0x100000001b3);
    }
    return (int64_t)hash;
}

AEE_EXPORT int64_t seed(void)
{
    return (int64_t)aee_seed();
}

AEE_EXPORT int64_t peek(int64_t address)
{
    return *(const volatile int64_t *)address;
}

AEE_EXPORT int64_t nothing(void)
{
    return 0;
}

/* Overwrites as much as it can before it falls. */
AEE_EXPORT int64_t wreck(void)
{
    memset(scratch, 0xee, sizeof scratch);
    counter = -1;
    per_lane = -1;
    if (heap) {
        memset(heap, 0xee, heap_words * sizeof *heap);
    }
    (void)set_rounding(1);
    memset((void *)(AEE_GVA_LANES + 4096), 0xee, 8192); /* the ring */
    *(volatile int64_t *)8 = 1;
    return 0;
}

AEE_EXPORT int64_t crash(void)
{
    *(volatile int64_t *)0 = 1;
    return 0;
}

AEE_EXPORT int64_t hang(void)
{
    for (volatile int go = 1; go;) {
    }
    return 0;
}

static int64_t poisoned;

AEE_EXPORT int64_t poison(void)
{
    poisoned = 1;
    return 0;
}

/* Crashes once it is poisoned. */
AEE_EXPORT int64_t use(void)
{
    return poisoned ? crash() : counter;
}

/* Of indices, on many lanes: the last one falls. */
AEE_EXPORT void fall_at_end(int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++) {
        scratch[i % PAGES * WORDS] = i;
        if (i == 999) {
            __builtin_trap();
        }
    }
}

AEE_EXPORT int64_t ask(void)
{
    int64_t answer = -1;
    counter++;
    (void)aee_host_call("ask", &answer);
    return answer;
}

/* Pages that the image fills, and that are all zero after clear(). */
static uint8_t filled[2 * PAGE] __attribute__((aligned(PAGE))) = {[0 ... 2 * PAGE - 1] = 0x5a};

AEE_EXPORT int64_t clear(void)
{
    for (size_t i = 0; i < sizeof filled; i++) {
        *(volatile uint8_t *)&filled[i] = 0;
    }
    return 1;
}

AEE_EXPORT int64_t cleared(void)
{
    uint8_t all = 0;
    for (size_t i = 0; i < sizeof filled; i++) {
        all |= *(volatile uint8_t *)&filled[i];
    }
    return all == 0;
}

AEE_EXPORT int64_t chance(void)
{
    int64_t value;
    memcpy(&value, aee_info()->seed, sizeof value);
    return value;
}

AEE_EXPORT int64_t declare(int64_t page)
{
    return aee_state_add(&scratch[page * WORDS], 100 + (size_t)page);
}
