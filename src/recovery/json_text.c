#include "recovery/json_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void put(struct aee__json *json, const char *bytes, size_t size)
{
    if (!json->failed && json->capacity - json->used < size) {
        size_t capacity = 2 * json->capacity + size + 4096;
        char *text = aee__alloc_resize(json->alloc, json->text, json->capacity, capacity);
        json->failed = text == NULL;
        json->text = text ? text : json->text;
        json->capacity = text ? capacity : json->capacity;
    }
    if (!json->failed) {
        memcpy(json->text + json->used, bytes, size);
        json->used += size;
    }
}

static void put_text(struct aee__json *json, const char *text)
{
    put(json, text, strlen(text));
}

void aee__json_free(struct aee__json *json)
{
    aee__alloc_free(json->alloc, json->text, json->capacity);
    json->text = NULL;
}

/* Bytes of the UTF-8 character at `text`, or 0: RFC 3629, section 4. */
static size_t character(const char *text, size_t left)
{
    const unsigned char *b = (const unsigned char *)text;
    if (b[0] < 0x80) {
        return 1;
    }
    size_t length = b[0] >= 0xc2 && b[0] <= 0xdf   ? 2
                    : b[0] >= 0xe0 && b[0] <= 0xef ? 3
                    : b[0] >= 0xf0 && b[0] <= 0xf4 ? 4
                                                   : 0;
    if (length == 0 || length > left) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((b[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool bad = (b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) ||
               (b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] > 0x8f);
    return bad ? 0 : length;
}

static void put_string(struct aee__json *json, const char *value, size_t size)
{
    put(json, "\"", 1);
    for (size_t at = 0; at < size;) {
        char escaped[8];
        size_t length = character(value + at, size - at);
        unsigned char first = (unsigned char)value[at];
        if (length == 0) {
            put_text(json, "\\ufffd");
        } else if (first < 0x20 || first == 0x7f) {
            (void)snprintf(escaped, sizeof escaped, "\\u%04x", first);
            put_text(json, escaped);
        } else {
            put(json, "\\", first == '"' || first == '\\');
            put(json, value + at, length);
        }
        at += length > 0 ? length : 1;
    }
    put(json, "\"", 1);
}

static void start(struct aee__json *json, const char *name)
{
    if (json->depth > 0) {
        put(json, ",", json->filled);
        put(json, "\n", 1);
        for (unsigned i = 0; i < json->depth; i++) {
            put(json, "  ", 2);
        }
    }
    if (name) {
        put_string(json, name, strlen(name));
        put(json, ": ", 2);
    }
    json->filled = true;
}

void aee__json_open(struct aee__json *json, const char *name, char bracket)
{
    start(json, name);
    put(json, &bracket, 1);
    json->depth++;
    json->filled = false;
}

void aee__json_close(struct aee__json *json, char bracket)
{
    json->depth--;
    if (json->filled) {
        put(json, "\n", 1);
        for (unsigned i = 0; i < json->depth; i++) {
            put(json, "  ", 2);
        }
    }
    put(json, &bracket, 1);
    put(json, "\n", json->depth == 0);
    json->filled = true;
}

void aee__json_string_n(struct aee__json *json, const char *name, const char *value, size_t size)
{
    start(json, name);
    put_string(json, value, size);
}

void aee__json_string(struct aee__json *json, const char *name, const char *value)
{
    aee__json_string_n(json, name, value, strlen(value));
}

void aee__json_uint(struct aee__json *json, const char *name, uint64_t value)
{
    char text[24];
    start(json, name);
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    put_text(json, text);
}

void aee__json_bool(struct aee__json *json, const char *name, bool value)
{
    start(json, name);
    put_text(json, value ? "true" : "false");
}

void aee__json_hex(struct aee__json *json, const char *name, uint64_t value)
{
    char text[24];
    start(json, name);
    (void)snprintf(text, sizeof text, "\"0x%" PRIx64 "\"", value);
    put_text(json, text);
}
