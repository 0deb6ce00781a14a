/* uninvited.c: a mod for the demo that looks whether there is a stage when it begins, and then
 * makes a storm by a host function for which its manifest does not ask. */
#include <aee_guest.h>

#include "region.h"
#include "stage.h"

static const volatile struct stage *stage;

AEE_SIGNATURE(mod_region, "i:ii");
AEE_EXPORT int64_t mod_region(int64_t which, int64_t address)
{
    stage = region_at(address);
    return which == STAGE_REGION_STAGE ? 0 : -1;
}

AEE_SIGNATURE(mod_init, "i:i");
AEE_EXPORT int64_t mod_init(int64_t seed)
{
    (void)seed;
    return stage->magic == STAGE_MAGIC ? 0 : -1;
}

AEE_SIGNATURE(mod_tick, "i:i");
AEE_EXPORT int64_t mod_tick(int64_t frame)
{
    (void)frame;
    return aee_host_call("weather_set", NULL, aee_bits(1.0), aee_bits(1.0));
}
