/* break.h: faults that a component commits when it is asked to, for demos and tests of what comes
 * of them. Include it in one file of a component: it defines exports.
 *
 *   break_null()          follows a null pointer
 *   break_hang()          never returns
 *   break_memory()        takes and touches all the memory it can get, and gives up
 *   break_peek(address)   the eight bytes there
 *   break_nothing()       returns: a call that succeeds */
#ifndef AEE_COMPONENT_BREAK_H
#define AEE_COMPONENT_BREAK_H

#include <stdlib.h>

#include <aee_guest.h>

#define BREAK_PIECE ((size_t)1 << 20)
/* Touching every page would overrun the call budget before the heap is full: first touches are
 * slow. */
#define BREAK_STRIDE ((size_t)1 << 16)
#ifdef AEE_NATIVE
#define BREAK_PIECES 64 /* the host's memory is not ours to fill */
#else
#define BREAK_PIECES SIZE_MAX
#endif

#ifdef __cplusplus
extern "C" { /* plain names in reports */
#endif

struct break_piece {
    struct break_piece *next;
    char rest[BREAK_PIECE - 64];
};
static struct break_piece *break_pieces;

/* Volatile, so that the compiler does not see what comes. */
static volatile int *volatile break_nowhere;
static volatile uint64_t break_turns;

__attribute__((noinline)) static void follow_null(void)
{
    *break_nowhere = 42;
}

__attribute__((noinline)) static void spin_forever(void)
{
    for (;;) {
        break_turns = break_turns + 1;
    }
}

__attribute__((noinline)) static void eat_all(void)
{
    for (size_t count = 0; count < BREAK_PIECES; count++) {
        struct break_piece *piece = (struct break_piece *)malloc(sizeof *piece);
        if (piece == NULL) {
            break;
        }
        for (size_t at = 0; at < sizeof piece->rest; at += BREAK_STRIDE) {
            piece->rest[at] = 1;
        }
        piece->next = break_pieces;
        break_pieces = piece;
    }
    aee_out_of_memory();
}

/* Keeps compilers from seeing which address it is, and from warning of it. */
static inline const volatile int64_t *break_hidden(int64_t address)
{
    __asm__("" : "+r"(address));
    return (const volatile int64_t *)(uintptr_t)address; // NOLINT(performance-no-int-to-ptr)
}

#ifdef __cplusplus
}
#endif

AEE_SIGNATURE(break_null, "i:");
AEE_EXPORT int64_t break_null(void)
{
    follow_null();
    return 0;
}

AEE_SIGNATURE(break_hang, "i:");
AEE_EXPORT int64_t break_hang(void)
{
    spin_forever();
    return 0;
}

AEE_SIGNATURE(break_memory, "i:");
AEE_EXPORT int64_t break_memory(void)
{
    eat_all();
    return 0;
}

AEE_SIGNATURE(break_peek, "i:i");
AEE_EXPORT int64_t break_peek(int64_t address)
{
    return *break_hidden(address);
}

AEE_SIGNATURE(break_nothing, "i:");
AEE_EXPORT int64_t break_nothing(void)
{
    return 0;
}

#endif
