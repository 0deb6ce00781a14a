/* overstated.c: agents for the demo that say there are far more of them than their region holds. */
#include <aee_guest.h>

#include "region.h"
#include "world.h"

AEE_SIGNATURE(agents_init, "i:iii");
AEE_EXPORT int64_t agents_init(int64_t world, int64_t count, int64_t seed)
{
    struct world_header *header = region_at(world);
    (void)world_format(header, (uint32_t)count, 500.0f, 500.0f, (uint64_t)seed);
    header->count = WORLD_MAX_ENTITIES;
    header->capacity = WORLD_MAX_ENTITIES;
    return 0;
}

AEE_SIGNATURE(agents_hunt, "i:iid");
AEE_EXPORT int64_t agents_hunt(int64_t world, int64_t stage, double seconds)
{
    (void)world, (void)stage, (void)seconds;
    return 0;
}
