#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "term.h"

static void text(struct json *json, const char *value)
{
    (void)fputc('"', json->out);
    while (*value) {
        const size_t length = term_character(value);
        if (*value == '"' || *value == '\\') {
            (void)fprintf(json->out, "\\%c", *value);
        } else if (length > 0) {
            (void)fwrite(value, 1, length, json->out);
        } else if ((unsigned char)*value < 0x80) {
            (void)fprintf(json->out, "\\u%04x", (unsigned)*value);
        } else {
            (void)fputs("\\ufffd", json->out); /* bytes that are no UTF-8 */
        }
        value += length > 0 ? length : 1;
    }
    (void)fputc('"', json->out);
}

static void start(struct json *json, const char *name)
{
    if (json->depth > 0) {
        (void)fprintf(json->out, "%s\n%*s", json->filled ? "," : "", (int)(2 * json->depth), "");
    }
    if (name) {
        text(json, name);
        (void)fputs(": ", json->out);
    }
    json->filled = true;
}

void json_open(struct json *json, const char *name, char bracket)
{
    start(json, name);
    (void)fputc(bracket, json->out);
    json->depth++;
    json->filled = false;
}

void json_close(struct json *json, char bracket)
{
    json->depth--;
    if (json->filled) {
        (void)fprintf(json->out, "\n%*s", (int)(2 * json->depth), "");
    }
    (void)fputc(bracket, json->out);
    if (json->depth == 0) {
        (void)fputc('\n', json->out);
    }
    json->filled = true;
}

void json_string(struct json *json, const char *name, const char *value)
{
    start(json, name);
    if (value) {
        text(json, value);
    } else {
        (void)fputs("null", json->out);
    }
}

void json_bool(struct json *json, const char *name, bool value)
{
    start(json, name);
    (void)fputs(value ? "true" : "false", json->out);
}

void json_int(struct json *json, const char *name, int64_t value)
{
    start(json, name);
    (void)fprintf(json->out, "%" PRId64, value);
}

void json_uint(struct json *json, const char *name, uint64_t value)
{
    start(json, name);
    (void)fprintf(json->out, "%" PRIu64, value);
}

void json_hex(struct json *json, const char *name, uint64_t value)
{
    start(json, name);
    (void)fprintf(json->out, "\"0x%" PRIx64 "\"", value);
}

void json_double(struct json *json, const char *name, double value)
{
    start(json, name);
    if (isfinite(value)) {
        (void)fprintf(json->out, "%.17g", value);
    } else {
        (void)fputs("null", json->out);
    }
}

void json_fixed(struct json *json, const char *name, double value, int decimals)
{
    char text[400]; /* DBL_MAX has 309 digits */
    start(json, name);
    if (!isfinite(value)) {
        (void)fputs("null", json->out);
        return;
    }
    (void)snprintf(text, sizeof text, "%.*f", decimals, value);
    size_t length = strlen(text);
    while (decimals > 0 && text[length - 1] == '0') {
        length--;
    }
    length -= text[length - 1] == '.';
    (void)fwrite(text, 1, length, json->out);
}
