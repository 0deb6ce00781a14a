/* json.h: writes one JSON document, indented by two spaces. Borrows the stream; one thread. A name
 * of NULL is for elements of arrays and for the outermost object. */
#ifndef AEE_TOOLS_JSON_H
#define AEE_TOOLS_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *out;
    unsigned depth;
    bool filled; /* the innermost object or array has an element already */
};

void json_open(struct json *json, const char *name, char bracket); /* '{' or '[' */
/* After the outermost one comes the newline. */
void json_close(struct json *json, char bracket); /* '}' or ']' */

void json_string(struct json *json, const char *name, const char *value); /* NULL: null */
void json_bool(struct json *json, const char *name, bool value);
void json_int(struct json *json, const char *name, int64_t value);
void json_uint(struct json *json, const char *name, uint64_t value);
void json_hex(struct json *json, const char *name, uint64_t value);  /* "0x1f", a string */
void json_double(struct json *json, const char *name, double value); /* not finite: null */
/* With at most so many decimals, and without zeros at the end; not finite: null. */
void json_fixed(struct json *json, const char *name, double value, int decimals);

#endif
