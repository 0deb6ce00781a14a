/* text.h: making text that came out of a component safe to show. Pure; any thread. */
#ifndef AEE_BASE_TEXT_H
#define AEE_BASE_TEXT_H

#include <stddef.h>

/* Copies at most `size` bytes of `from` up to its first NUL and terminates; `to` has `capacity`
 * bytes. The copy is one line in any terminal: control characters (C0, DEL, C1) and stray UTF-8
 * continuation bytes become spaces. */
void aee__text_copy(char *to, size_t capacity, const char *from, size_t size);

#endif
