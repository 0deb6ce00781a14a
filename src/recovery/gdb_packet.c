#include "recovery/gdb_packet.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ESCAPE '}'
#define ESCAPE_FLIP 0x20

static const char digits[] = "0123456789abcdef";

static int digit(int character)
{
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    character |= 0x20;
    return character >= 'a' && character <= 'f' ? character - 'a' + 10 : -1;
}

/* ---- In ----------------------------------------------------------------------------------- */

static enum aee__gdb_got begin(struct aee__gdb_in *in, uint8_t byte)
{
    enum { CONTROL_C = 3 };
    if (byte == '$') {
        in->state = AEE__GDB_INSIDE;
        in->size = 0;
        in->sum = 0;
        in->too_long = false;
        in->escaped = false;
        in->bad_sum = false;
    }
    return byte == CONTROL_C ? AEE__GDB_INTERRUPT : byte == '-' ? AEE__GDB_NACK : AEE__GDB_NOTHING;
}

static void take(struct aee__gdb_in *in, uint8_t byte)
{
    in->sum = (uint8_t)(in->sum + byte);
    if (!in->escaped && byte == ESCAPE) {
        in->escaped = true;
        return;
    }
    if (in->size == AEE__GDB_PACKET) {
        in->too_long = true;
    } else {
        in->text[in->size++] = (char)(in->escaped ? byte ^ ESCAPE_FLIP : byte);
    }
    in->escaped = false;
}

static enum aee__gdb_got take_sum(struct aee__gdb_in *in, uint8_t byte)
{
    int value = digit(byte);
    in->bad_sum = in->bad_sum || value < 0;
    if (in->state == AEE__GDB_SUM_1) {
        in->told_sum = (uint8_t)((unsigned)value << 4);
        in->state = AEE__GDB_SUM_2;
        return AEE__GDB_NOTHING;
    }
    in->state = AEE__GDB_OUTSIDE;
    in->text[in->size] = '\0';
    bool good =
        !in->bad_sum && !in->too_long && !in->escaped && (uint8_t)(in->told_sum | value) == in->sum;
    return good ? AEE__GDB_PACKET_READY : AEE__GDB_PACKET_BAD;
}

enum aee__gdb_got aee__gdb_feed(struct aee__gdb_in *in, uint8_t byte)
{
    switch (in->state) {
    case AEE__GDB_OUTSIDE:
        return begin(in, byte);
    case AEE__GDB_INSIDE:
        if (byte == '#') {
            in->state = AEE__GDB_SUM_1;
        } else if (byte == '$') { /* the sender has begun anew */
            return begin(in, byte);
        } else {
            take(in, byte);
        }
        return AEE__GDB_NOTHING;
    default:
        return take_sum(in, byte);
    }
}

/* ---- Out ---------------------------------------------------------------------------------- */

#define FRAME 4u /* '$', '#' and the sum */

void aee__gdb_begin(struct aee__gdb_out *out)
{
    out->size = 0;
    out->full = false;
}

static bool has_room(struct aee__gdb_out *out, size_t size)
{
    out->full = out->full || size > sizeof out->text - FRAME - out->size;
    return !out->full;
}

static void add_character(struct aee__gdb_out *out, char character)
{
    if (has_room(out, 1)) {
        out->text[1 + out->size++] = character;
    }
}

void aee__gdb_add(struct aee__gdb_out *out, const char *format, ...)
{
    size_t room = sizeof out->text - FRAME - out->size;
    va_list args;
    va_start(args, format);
    int size = vsnprintf(out->text + 1 + out->size, room + 1, format, args);
    va_end(args);
    if (size > 0 && has_room(out, (size_t)size)) {
        out->size += (size_t)size;
    }
}

void aee__gdb_add_hex(struct aee__gdb_out *out, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) {
        add_character(out, digits[at[i] >> 4]);
        add_character(out, digits[at[i] & 15]);
    }
}

void aee__gdb_add_unknown(struct aee__gdb_out *out, size_t size)
{
    for (size_t i = 0; i < 2 * size; i++) {
        add_character(out, 'x');
    }
}

void aee__gdb_add_binary(struct aee__gdb_out *out, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) {
        if (at[i] == '$' || at[i] == '#' || at[i] == ESCAPE || at[i] == '*') {
            add_character(out, ESCAPE);
            add_character(out, (char)(at[i] ^ ESCAPE_FLIP));
        } else {
            add_character(out, (char)at[i]);
        }
    }
}

const char *aee__gdb_finish(struct aee__gdb_out *out, size_t *size)
{
    uint8_t sum = 0;
    out->text[0] = '$';
    for (size_t i = 0; i < out->size; i++) {
        sum = (uint8_t)(sum + (uint8_t)out->text[1 + i]);
    }
    char *end = out->text + 1 + out->size;
    end[0] = '#';
    end[1] = digits[sum >> 4];
    end[2] = digits[sum & 15];
    *size = out->size + FRAME;
    return out->text;
}

/* ---- Numbers ------------------------------------------------------------------------------ */

bool aee__gdb_number(const char **at, uint64_t *number)
{
    enum { DIGITS_MAX = 16 };
    int count = 0;
    *number = 0;
    for (int value; (value = digit((unsigned char)**at)) >= 0; (*at)++) {
        if (++count > DIGITS_MAX) {
            return false;
        }
        *number = *number << 4 | (uint64_t)value;
    }
    return count > 0;
}

bool aee__gdb_number_and(const char **at, char after, uint64_t *number)
{
    if (!aee__gdb_number(at, number) || **at != after) {
        return false;
    }
    (*at)++;
    return true;
}

bool aee__gdb_bytes(const char **at, void *bytes, size_t size)
{
    uint8_t *to = bytes;
    for (size_t i = 0; i < size; i++) {
        int high = digit((unsigned char)(*at)[0]);
        int low = high < 0 ? -1 : digit((unsigned char)(*at)[1]);
        if (low < 0) {
            return false;
        }
        to[i] = (uint8_t)(high << 4 | low);
        *at += 2;
    }
    return true;
}
