/* json_text.h: one JSON document in memory. Owns its bytes, from the engine's allocator; one
 * thread. A name of NULL is for elements of arrays and for the outermost object. */
#ifndef AEE_RECOVERY_JSON_TEXT_H
#define AEE_RECOVERY_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"

struct aee__json {
    const struct aee__alloc *alloc;
    char *text;
    size_t used;
    size_t capacity;
    unsigned depth;
    bool filled; /* the innermost object or array has an element already */
    bool failed; /* there was no memory: the text is of no use */
};

void aee__json_free(struct aee__json *json);
void aee__json_open(struct aee__json *json, const char *name, char bracket);
/* After the outermost one comes a newline. */
void aee__json_close(struct aee__json *json, char bracket);
/* What is not UTF-8 becomes U+FFFD. */
void aee__json_string(struct aee__json *json, const char *name, const char *value);
void aee__json_string_n(struct aee__json *json, const char *name, const char *value, size_t size);
void aee__json_uint(struct aee__json *json, const char *name, uint64_t value);
void aee__json_bool(struct aee__json *json, const char *name, bool value);
void aee__json_hex(struct aee__json *json, const char *name, uint64_t value); /* "0x1f" */

#endif
