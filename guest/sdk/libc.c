/* libc.c: the parts of a C library that would need an operating system or a thread descriptor of
 * musl's. A component's thread control block is zero but for its first word, so musl's functions
 * that read the current locale from it would follow a null pointer: they are replaced here, in the
 * C locale with UTF-8. Any lane; owns nothing. */
#include <errno.h>
#include <locale.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "aee_guest.h"
#include "sdk.h"

/* ---- Ending ---- */

_Noreturn void abort(void)
{
    aee__abort_text("abort() was called");
}

_Noreturn void exit(int status)
{
    aee_abort("exit(%d) was called", status);
}

_Noreturn void _Exit(int status)
{
    aee_abort("_Exit(%d) was called", status);
}

/* A component never exits, so nothing that waits for the exit ever runs. */
int atexit(void (*function)(void))
{
    (void)function;
    return 0;
}

_Noreturn void __assert_fail(const char *condition, const char *file, int line,
                             const char *function);
_Noreturn void __assert_fail(const char *condition, const char *file, int line,
                             const char *function)
{
    aee_abort("%s:%d: %s: assertion failed: %s", file, line, function, condition);
}

/* The guard is the word at fs:0x28 of the thread control block. */
_Noreturn void __stack_chk_fail(void);
_Noreturn void __stack_chk_fail(void)
{
    aee__abort_text("the stack was overrun: a buffer on it was written beyond its end");
}

/* ---- musl's internal hooks ---- */

/* Lock of musl's random(): an int that is 0 when free. */
void __lock(volatile int *lock);
void __lock(volatile int *lock)
{
    while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE) != 0) {
        __builtin_ia32_pause();
    }
}

void __unlock(volatile int *lock);
void __unlock(volatile int *lock)
{
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

/* Streams here are private to one snprintf() or sscanf(): nothing to lock, nothing to flush. */
int __lockfile(void *stream);
int __lockfile(void *stream)
{
    (void)stream;
    return 0;
}

void __unlockfile(void *stream);
void __unlockfile(void *stream)
{
    (void)stream;
}

void __stdio_exit_needed(void);
void __stdio_exit_needed(void)
{
}

/* ---- Locale ---- */

char *setlocale(int category, const char *name)
{
    static char c_locale[] = "C";
    (void)category;
    const bool known =
        name == NULL || name[0] == '\0' || strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0;
    return known ? c_locale : NULL;
}

char *getenv(const char *name)
{
    (void)name;
    return NULL;
}

int strcoll(const char *a, const char *b)
{
    return strcmp(a, b);
}

size_t strxfrm(char *restrict to, const char *restrict from, size_t size)
{
    const size_t length = strlen(from);
    if (length < size) {
        memcpy(to, from, length + 1);
    }
    return length;
}

struct c_locale {
    const void *categories[6]; /* as struct __locale_struct of musl: all "C" */
};
char *aee__musl_strerror_l(int error, const struct c_locale *locale);
const char *__lctrans(const char *text, const void *map);

const char *__lctrans(const char *text, const void *map)
{
    (void)map;
    return text;
}

char *strerror(int error)
{
    static const struct c_locale c_locale;
    return aee__musl_strerror_l(error, &c_locale);
}

/* ---- Multibyte characters: UTF-8 ---- */

size_t __ctype_get_mb_cur_max(void);
size_t __ctype_get_mb_cur_max(void)
{
    return 4;
}

static bool is_scalar(uint32_t c)
{
    return c < 0x110000u && (c < 0xd800u || c > 0xdfffu);
}

size_t wcrtomb(char *restrict to, wchar_t wide, mbstate_t *restrict state)
{
    const uint32_t c = (uint32_t)wide;
    (void)state;
    if (to == NULL) {
        return 1;
    }
    if (c < 0x80u) {
        to[0] = (char)c;
        return 1;
    }
    if (!is_scalar(c)) {
        errno = EILSEQ;
        return (size_t)-1;
    }
    const size_t size = c < 0x800u ? 2 : c < 0x10000u ? 3 : 4;
    uint32_t rest = c;
    for (size_t i = size - 1; i > 0; i--, rest >>= 6) {
        to[i] = (char)(0x80u | (rest & 0x3fu));
    }
    to[0] = (char)((0xf00u >> size & 0xffu) | rest);
    return size;
}

/* Decodes one character from at most `size` bytes: its length, -1 if malformed, -2 if cut off. */
static int decode(uint32_t *c, const unsigned char *from, size_t size)
{
    static const uint32_t least[5] = {0, 0, 0x80u, 0x800u, 0x10000u};
    const unsigned lead = from[0];
    if (lead < 0x80u) {
        *c = lead;
        return 1;
    }
    const int length = lead >= 0xf0u ? 4 : lead >= 0xe0u ? 3 : 2;
    if (lead < 0xc2u || lead > 0xf4u) {
        return -1;
    }
    *c = lead & (0x7fu >> length);
    for (int i = 1; i < length; i++) {
        if ((size_t)i == size) {
            return -2;
        }
        if ((from[i] & 0xc0u) != 0x80u) {
            return -1;
        }
        *c = *c << 6 | (from[i] & 0x3fu);
    }
    return *c >= least[length] && is_scalar(*c) ? length : -1;
}

/* Characters that are cut off at `size` are not carried over: they count as malformed. */
size_t mbrtowc(wchar_t *restrict to, const char *restrict from, size_t size,
               mbstate_t *restrict state)
{
    uint32_t c = 0;
    (void)state;
    if (from == NULL) {
        return 0;
    }
    if (size == 0) {
        return (size_t)-2;
    }
    const int length = decode(&c, (const unsigned char *)from, size);
    if (length < 0) {
        errno = EILSEQ;
        return (size_t)-1;
    }
    if (to != NULL) {
        *to = (wchar_t)c;
    }
    return c == 0 ? 0 : (size_t)length;
}

int mbtowc(wchar_t *restrict to, const char *restrict from, size_t size)
{
    const size_t length = mbrtowc(to, from, size, NULL);
    return length > 4 ? -1 : (int)length;
}
