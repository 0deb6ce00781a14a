/* unfit.c: a mod for the demo whose tick does not take what the demo has to give. */
#include <aee_guest.h>

AEE_SIGNATURE(mod_init, "i:i");
AEE_EXPORT int64_t mod_init(int64_t seed)
{
    (void)seed;
    return 0;
}

AEE_SIGNATURE(mod_tick, "i:d");
AEE_EXPORT int64_t mod_tick(double seconds)
{
    return (int64_t)seconds;
}
