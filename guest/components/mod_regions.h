/* mod_regions.h: the regions that the engine has given to a mod of the demo: it calls mod_region()
 * once for each that the manifest asks for, before mod_init(). Include it in one file of a mod: it
 * defines that export. */
#ifndef AEE_COMPONENT_MOD_REGIONS_H
#define AEE_COMPONENT_MOD_REGIONS_H

#include <aee_guest.h>

#include "region.h"
#include "stage.h"

/* By enum stage_region; NULL: not given. */
static void *mod_regions[STAGE_REGIONS];

/* Returns 0, or -1: there is no such region. */
AEE_SIGNATURE(mod_region, "i:ii");
AEE_EXPORT int64_t mod_region(int64_t which, int64_t address)
{
    if (which < 0 || which >= STAGE_REGIONS) {
        return -1;
    }
    mod_regions[which] = region_at(address);
    return 0;
}

#endif
