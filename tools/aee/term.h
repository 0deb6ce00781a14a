/* term.h: what the terminal can show: colour, marks, width. Owns nothing; text functions are pure
 * and may run on any thread. */
#ifndef AEE_TOOLS_TERM_H
#define AEE_TOOLS_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum term_mark { TERM_GOOD, TERM_BAD, TERM_NEUTRAL };

struct term {
    FILE *out;
    bool color; /* a terminal, TERM is not dumb, NO_COLOR is empty */
    bool utf8;
    int width; /* columns; 0 off a terminal: do not wrap */
};

void term_open(struct term *term, FILE *out);

/* One column wide, coloured where that is on. */
void term_mark(const struct term *term, enum term_mark mark);

/* Prints text in the colour that goes with the mark. */
void term_colored(const struct term *term, enum term_mark mark, const char *text);

/* Prints text that begins in column `indent`, broken between words where the terminal ends. */
void term_wrapped(const struct term *term, int indent, const char *text);

/* Bytes of the printable UTF-8 character at `text`: 1 to 4, or 0 for a control character and for
 * bytes that are none. */
size_t term_character(const char *text);

/* Prints text that came from elsewhere (a component, a file name): what is not printable UTF-8
 * becomes '?', so that it cannot steer the terminal. */
void term_print_safe(FILE *out, const char *text);

#endif
