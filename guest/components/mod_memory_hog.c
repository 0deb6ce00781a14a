/* mod_memory_hog.c: a mod that takes and touches all the memory it can get at the frame it is armed
 * for, and then gives up. Otherwise it counts.
 *
 *   mod_init(seed), mod_tick(frame) -> checksum, mod_arm(frame), as every mod here */
#include <aee_guest.h>

#include "break.h"
#include "mod_counter.h"

MOD_THAT(eat_all)
