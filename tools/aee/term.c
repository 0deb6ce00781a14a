#include "term.h"

#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool is_set(const char *variable)
{
    const char *value = getenv(variable);
    return value && value[0];
}

void term_open(struct term *term, FILE *out)
{
    const char *kind = getenv("TERM");
    const bool terminal = isatty(fileno(out)) == 1;
    struct winsize size = {0};
    term->out = out;
    term->color = terminal && !is_set("NO_COLOR") && kind && strcmp(kind, "dumb") != 0;
    term->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    term->width = 0;
    if (terminal && ioctl(fileno(out), TIOCGWINSZ, &size) == 0) {
        term->width = size.ws_col;
    }
}

void term_colored(const struct term *term, enum term_mark mark, const char *text)
{
    static const char *const colors[] = {
        [TERM_GOOD] = "\033[32m", [TERM_BAD] = "\033[31m", [TERM_NEUTRAL] = "\033[33m"};
    if (term->color) {
        (void)fprintf(term->out, "%s%s\033[0m", colors[mark], text);
    } else {
        (void)fputs(text, term->out);
    }
}

void term_mark(const struct term *term, enum term_mark mark)
{
    static const char *const fine[] = {
        [TERM_GOOD] = "\u2713", [TERM_BAD] = "\u2717", [TERM_NEUTRAL] = "\u2013"};
    static const char *const plain[] = {[TERM_GOOD] = "+", [TERM_BAD] = "x", [TERM_NEUTRAL] = "-"};
    term_colored(term, mark, term->utf8 ? fine[mark] : plain[mark]);
}

void term_wrapped(const struct term *term, int indent, const char *text)
{
    enum { LEAST = 20 }; /* columns; less is not worth breaking for */
    int column = indent;
    while (*text) {
        const int length = (int)strcspn(text, " ");
        if (term->width - indent >= LEAST && column > indent && column + length >= term->width) {
            (void)fprintf(term->out, "\n%*s", indent, "");
            column = indent;
        }
        (void)fprintf(term->out, "%.*s", length, text);
        column += length;
        text += length;
        while (*text == ' ') {
            text++;
        }
        if (*text) {
            (void)fputc(' ', term->out);
            column++;
        }
    }
}

size_t term_character(const char *text)
{
    const unsigned char *byte = (const unsigned char *)text;
    if (byte[0] < 0x80) {
        return byte[0] >= 0x20 && byte[0] != 0x7f;
    }
    const size_t length = byte[0] >= 0xf0 ? 4 : byte[0] >= 0xe0 ? 3 : 2;
    if (byte[0] < 0xc2 || byte[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((byte[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* Control characters U+0080 to U+009F; overlong forms; surrogates; beyond U+10FFFF. */
    const bool bad = (byte[0] == 0xc2 && byte[1] < 0xa0) || (byte[0] == 0xe0 && byte[1] < 0xa0) ||
                     (byte[0] == 0xed && byte[1] > 0x9f) || (byte[0] == 0xf0 && byte[1] < 0x90) ||
                     (byte[0] == 0xf4 && byte[1] > 0x8f);
    return bad ? 0 : length;
}

void term_print_safe(FILE *out, const char *text)
{
    while (*text) {
        const size_t length = term_character(text);
        if (length > 0) {
            (void)fwrite(text, 1, length, out);
        } else {
            (void)fputc('?', out);
        }
        text += length > 0 ? length : 1;
    }
}
