/* advice.h: what to do where something is missing, and what to know about a level. Owns nothing;
 * one thread. */
#ifndef AEE_TOOLS_ADVICE_H
#define AEE_TOOLS_ADVICE_H

#include <stddef.h>

#include "aee_virt.h"

/* Writes the sentences that say what keeps this process from /dev/kvm and what helps. */
void advice_for_kvm(char *text, size_t size);
/* What the level that is in force protects and what not, or what is slow about it; "" where nothing
 * is to be said. */
void advice_about_level(aee_level level, double exit_cost_ns, char *text, size_t size);

#endif
