/* forgetful.c: a mod for the demo that is of no use until mod_init() was called, has nothing that
 * could be called between two crashes, and does not write its last words as UTF-8. */
#include <aee_guest.h>

static volatile int64_t ready;
static volatile int *volatile nowhere;

AEE_SIGNATURE(mod_init, "i:i");
AEE_EXPORT int64_t mod_init(int64_t seed)
{
    (void)seed;
    ready = 1;
    return 0;
}

AEE_SIGNATURE(mod_tick, "i:i");
AEE_EXPORT int64_t mod_tick(int64_t frame)
{
    (void)frame;
    if (!ready) {
        aee_abort("nobody has called mod_init()");
    }
    return 0;
}

AEE_SIGNATURE(break_hang, "i:");
AEE_EXPORT int64_t break_hang(void)
{
    aee_abort("no caf\xe9 is open");
}

AEE_SIGNATURE(break_memory, "i:");
AEE_EXPORT int64_t break_memory(void)
{
    *nowhere = 1;
    return 0;
}
