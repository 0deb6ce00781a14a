/* advice.h: what to do where the library finds no usable back end. Owns nothing; one thread. */
#ifndef AEE_TOOLS_ADVICE_H
#define AEE_TOOLS_ADVICE_H

#include <stddef.h>

/* Writes the sentences that say what keeps this process from /dev/kvm and what helps. */
void advice_for_kvm(char *text, size_t size);

#endif
