/* stdio.c: stdout and stderr of a component. Whole lines go to the engine's log, stdout at level
 * info and stderr at level warning; there are no other streams. Owns two line buffers, each behind
 * a spin lock; a line is sent with the lock released. Any lane. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "sdk.h"

struct _IO_FILE {
    int level;
    uint32_t lock; /* protects the rest */
    uint32_t size;
    char line[AEE__TEXT_MAX];
};

static FILE out_stream = {.level = AEE__LOG_INFO};
static FILE err_stream = {.level = AEE__LOG_WARNING};
#undef stdout
#undef stderr
FILE *const stdout = &out_stream;
FILE *const stderr = &err_stream;

/* Adds bytes up to a newline or a full buffer; returns how many it took. A finished line is moved
 * to `done`, and *done_size is its length or SIZE_MAX if there is none. */
static size_t add(FILE *stream, const char *bytes, size_t size, char *done, size_t *done_size)
{
    const char *end = memchr(bytes, '\n', size);
    size_t count = end != NULL ? (size_t)(end - bytes) : size;
    bool complete = end != NULL;
    while (__atomic_exchange_n(&stream->lock, 1u, __ATOMIC_ACQUIRE) != 0) {
        __builtin_ia32_pause();
    }
    const size_t room = sizeof stream->line - stream->size;
    if (count >= room) {
        count = room;
        complete = true;
        end = NULL;
    }
    memcpy(stream->line + stream->size, bytes, count);
    stream->size += (uint32_t)count;
    *done_size = SIZE_MAX;
    if (complete) {
        memcpy(done, stream->line, stream->size);
        *done_size = stream->size;
        stream->size = 0;
    }
    __atomic_store_n(&stream->lock, 0u, __ATOMIC_RELEASE);
    return count + (end != NULL);
}

static void put(FILE *stream, const char *bytes, size_t size)
{
    char done[AEE__TEXT_MAX];
    size_t done_size;
    while (size > 0) {
        const size_t taken = add(stream, bytes, size, done, &done_size);
        if (done_size != SIZE_MAX) {
            aee__log_line(stream->level, done, done_size);
        }
        bytes += taken;
        size -= taken;
    }
}

int vfprintf(FILE *restrict stream, const char *restrict format, va_list args)
{
    char text[2 * AEE__TEXT_MAX]; /* longer output is cut */
    const int length = vsnprintf(text, sizeof text, format, args);
    if (length > 0) {
        put(stream, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
    }
    return length;
}

int fprintf(FILE *restrict stream, const char *restrict format, ...)
{
    va_list args;
    va_start(args, format);
    const int length = vfprintf(stream, format, args);
    va_end(args);
    return length;
}

int vprintf(const char *restrict format, va_list args)
{
    return vfprintf(stdout, format, args);
}

int printf(const char *restrict format, ...)
{
    va_list args;
    va_start(args, format);
    const int length = vfprintf(stdout, format, args);
    va_end(args);
    return length;
}

size_t fwrite(const void *restrict bytes, size_t size, size_t count, FILE *restrict stream)
{
    put(stream, bytes, size * count);
    return count;
}

int fputs(const char *restrict text, FILE *restrict stream)
{
    put(stream, text, strlen(text));
    return 0;
}

int puts(const char *text)
{
    put(stdout, text, strlen(text));
    put(stdout, "\n", 1);
    return 0;
}

int fputc(int c, FILE *stream)
{
    const char byte = (char)c;
    put(stream, &byte, 1);
    return (unsigned char)byte;
}

#undef putc
#undef putchar
int putc(int c, FILE *stream)
{
    return fputc(c, stream);
}

int putchar(int c)
{
    return fputc(c, stdout);
}

/* Sends what is there of an unfinished line. */
int fflush(FILE *stream)
{
    FILE *const streams[2] = {stream != NULL ? stream : stdout, stream != NULL ? NULL : stderr};
    for (int i = 0; i < 2 && streams[i] != NULL; i++) {
        if (__atomic_load_n(&streams[i]->size, __ATOMIC_RELAXED) != 0) {
            put(streams[i], "\n", 1);
        }
    }
    return 0;
}
