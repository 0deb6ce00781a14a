/* mod_spinner.c: a mod that never returns from the frame it is armed for. Otherwise it counts.
 *
 *   mod_init(seed), mod_tick(frame) -> checksum, mod_arm(frame), as every mod here */
#include <aee_guest.h>

#include "break.h"
#include "mod_counter.h"

static struct mod_counter counter;

AEE_SIGNATURE(mod_init, "i:i");
AEE_EXPORT int64_t mod_init(int64_t seed)
{
    mod_counter_init(&counter, seed);
    return 0;
}

AEE_SIGNATURE(mod_arm, "i:i");
AEE_EXPORT int64_t mod_arm(int64_t frame)
{
    counter.armed_frame = frame;
    return 0;
}

AEE_SIGNATURE(mod_tick, "i:i");
AEE_EXPORT int64_t mod_tick(int64_t frame)
{
    if (frame == counter.armed_frame) {
        spin_forever();
    }
    return mod_counter_tick(&counter, frame);
}
