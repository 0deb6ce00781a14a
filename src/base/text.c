#include "base/text.h"

#include <stdbool.h>

/* U+0080 to U+009F are control characters too; in UTF-8 they are 0xc2 and the byte itself. */
static bool is_c1_pair(unsigned char first, unsigned char second)
{
    return first == 0xc2 && second >= 0x80 && second <= 0x9f;
}

void aee__text_copy(char *to, size_t capacity, const char *from, size_t size)
{
    size_t length = 0;
    unsigned char before = 0;
    while (length + 1 < capacity && length < size && from[length] != '\0') {
        unsigned char byte = (unsigned char)from[length];
        bool control = byte < 0x20 || byte == 0x7f;
        bool stray = byte >= 0x80 && byte <= 0xbf && before < 0x80;
        if (is_c1_pair(before, byte)) {
            to[length - 1] = ' ';
            control = true;
        }
        to[length++] = control || stray ? ' ' : (char)byte;
        before = byte;
    }
    to[length] = '\0';
}
