#include "break.h"
#include "mod_regions.h"

AEE_SIGNATURE(mod_init, "i:i");
AEE_EXPORT int64_t mod_init(int64_t seed)
{
    (void)seed;
    return 0;
}

AEE_SIGNATURE(mod_tick, "i:i");
AEE_EXPORT int64_t mod_tick(int64_t frame)
{
    return frame;
}
