/* soakbed.c: a component that falls in several ways, having written over its state, and that
 * counts.
 *
 *   count() -> one more each time; -1: it sees what a fallen one wrote
 *   fall(kind)
 *   mix(value) -> a function of it */
#include <aee_guest.h>

enum { PAGES = 16, WORDS = 512 };
enum kind { NULL_WRITE, WILD_JUMP, STACK_OVERFLOW, ABORT, HANG };

static int64_t pages[PAGES * WORDS] __attribute__((aligned(4096)));
static int64_t counter;
static int64_t *volatile nowhere;
static void (*volatile wild)(void) = (void (*)(void))UINT64_C(0x123456789000);

__attribute__((noinline)) static int64_t deep(int64_t n)
{
    volatile char filler[512];
    filler[0] = (char)n;
    return deep(n + 1) + filler[0];
}

AEE_SIGNATURE(count, "i:");
AEE_EXPORT int64_t count(void)
{
    for (int64_t i = 0; i < PAGES; i++) {
        if (pages[i * WORDS] != 0) {
            return -1;
        }
    }
    return ++counter;
}

AEE_SIGNATURE(fall, "i:i");
AEE_EXPORT int64_t fall(int64_t kind)
{
    counter = -2;
    for (int64_t i = 0; i < PAGES; i++) {
        pages[i * WORDS] = kind + 1;
    }
    switch (kind) {
    case NULL_WRITE:
        *nowhere = 1;
        break;
    case WILD_JUMP:
        wild();
        break;
    case STACK_OVERFLOW:
        return deep(0);
    case ABORT:
        aee_abort("given up");
    default:
        for (volatile int go = 1; go;) {
        }
    }
    return 0;
}

AEE_SIGNATURE(mix, "i:i");
AEE_EXPORT int64_t mix(int64_t value)
{
    return value * 31 + 7;
}
