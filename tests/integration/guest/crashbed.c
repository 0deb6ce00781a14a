/* crashbed.c: a component that crashes in every way that a report is to explain, three functions
 * deep. Tests look for the lines that are marked with "line:". */
#include <aee_guest.h>
#include <stdlib.h>

int64_t world[4] = {1, 2, 3, 4};
static const int64_t constants[4] = {1, 2, 3, 4};
static int64_t (*volatile nowhere)(int64_t);
static char *volatile block;
static volatile int64_t sink;

enum kind {
    NULL_POINTER,
    CONSTANT,
    DIVISION,
    CALL_NULL,
    ABORT,
    FREED,
    HUNG,
    WILD_STACK,
    DOUBLE_FREE,
    OVERRUN,
    DEEP,
    INVALID,
};

__attribute__((noinline)) static int64_t divide(int64_t a, int64_t b)
{
    return a / b; /* line: divide */
}

__attribute__((noinline)) static int64_t deep(int64_t n)
{
    volatile char filler[512];
    filler[0] = (char)n;
    return deep(n + 1) + filler[0];
}

__attribute__((noinline)) static void wild_stack(void)
{
    __asm__ volatile("movq $0x123456789000, %%rsp\n\tpushq %%rax" ::: "memory");
}

/* A call through a pointer into a freed block: the address is in the heap, which is no code. */
__attribute__((noinline)) static int64_t call_freed(void)
{
    char *freed = malloc(40);
    char *behind = malloc(40);
    block = freed;
    block = behind;
    free(freed);
    int64_t (*function)(void) = (int64_t(*)(void))(void *)(freed + 8);
    return function() + sink; /* line: freed */
}

__attribute__((noinline)) static int64_t heap_kinds(int64_t kind)
{
    char *memory = malloc(32);
    block = memory;
    if (kind == DOUBLE_FREE) {
        free(memory);
        free(block);
    } else {
        char *next = malloc(32);
        block = next;
        for (volatile char *at = memory; at < memory + 48 + sink; at++) {
            *at = 0x41;
        }
        free(memory);
        free(next);
    }
    return 0;
}

__attribute__((noinline)) static int64_t inner(int64_t kind)
{
    switch (kind) {
    case NULL_POINTER:
        *(volatile int64_t *)(uintptr_t)(16 + sink) = 1; /* line: null */
        break;
    case CONSTANT:
        *(volatile int64_t *)(uintptr_t)&constants[2] = sink; /* line: constant */
        break;
    case DIVISION:
        return divide(kind, sink) + sink; /* line: division */
    case CALL_NULL:
        return nowhere(kind) + 1; /* line: nowhere */
    case ABORT:
        aee_abort("given up with %d", (int)kind); /* line: abort */
    case FREED:
        return call_freed() + 1;
    case HUNG:
        for (;;) {
            sink++; /* line: hung */
        }
    case WILD_STACK:
        wild_stack();
        break;
    case DEEP:
        return deep(0);
    case INVALID:
        __asm__ volatile("ud2");
        break;
    default:
        return heap_kinds(kind) + 1;
    }
    return kind;
}

static inline __attribute__((always_inline)) int64_t folded(int64_t kind)
{
    return inner(kind) + world[1]; /* line: folded */
}

__attribute__((noinline)) static int64_t middle(int64_t kind)
{
    int64_t value = folded(kind); /* line: middle */
    return value * 3;
}

AEE_EXPORT int64_t crash(int64_t kind)
{
    return middle(kind) + 1; /* line: outer */
}

AEE_EXPORT int64_t fine(int64_t value)
{
    aee_log("fine %d", (int)value);
    return value;
}

/* Leaves a pointer to the last of so many bytes in `block`. */
AEE_EXPORT int64_t fill(int64_t bytes)
{
    char *memory = malloc((size_t)bytes);
    if (memory == NULL) {
        return 0;
    }
    block = memory + bytes - 1;
    *block = 0x5a;
    return 1;
}

AEE_EXPORT int64_t set_world(int64_t value)
{
    world[1] = value;
    return value;
}

AEE_EXPORT int64_t get_world(void)
{
    return world[1];
}

/* Writes a byte at an address, from as deep as the others. */
__attribute__((noinline)) static int64_t poke_inner(int64_t address)
{
    *(volatile char *)(uintptr_t)address = 1; /* line: poke */
    return address;
}

AEE_EXPORT int64_t poke(int64_t address)
{
    return poke_inner(address) + 1;
}
