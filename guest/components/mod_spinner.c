/* mod_spinner.c: a mod that never returns from the frame it is armed for. Otherwise it counts.
 *
 *   mod_init(seed), mod_tick(frame) -> checksum, mod_arm(frame), as every mod here */
#include <aee_guest.h>

#include "break.h"
#include "mod_counter.h"

MOD_THAT(spin_forever)
