/* mod_crasher.c: a mod that follows a null pointer at the frame it is armed for. Otherwise it
 * counts.
 *
 *   mod_init(seed), mod_tick(frame) -> checksum, mod_arm(frame), as every mod here */
#include <aee_guest.h>

#include "break.h"
#include "mod_counter.h"

MOD_THAT(follow_null)
