/* debug_check.h: what is asked of an image's debugging information before libdw reads it: that it
 * lies within the file, is not compressed, and names no other file, which libdw would open. Pure.
 */
#ifndef AEE_RECOVERY_DEBUG_CHECK_H
#define AEE_RECOVERY_DEBUG_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* NULL, or what is wrong, in words. The bytes are those of an image that was loaded. */
const char *aee__debug_check(const uint8_t *bytes, size_t size);

#endif
