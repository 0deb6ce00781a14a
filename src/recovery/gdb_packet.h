/* gdb_packet.h: packets of gdb's remote protocol (gdb's manual, appendix E): taken apart byte by
 * byte, and put together. What comes in is hostile. Pure: owns its buffers, does no I/O. */
#ifndef AEE_RECOVERY_GDB_PACKET_H
#define AEE_RECOVERY_GDB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a packet's content, either way; told to gdb as PacketSize. */
#define AEE__GDB_PACKET 8192u

enum aee__gdb_got {
    AEE__GDB_NOTHING, /* the packet goes on, or there is none */
    AEE__GDB_PACKET_READY,
    AEE__GDB_PACKET_BAD, /* its checksum is wrong, or it is too long */
    AEE__GDB_INTERRUPT,
    AEE__GDB_NACK, /* the last answer is wanted again */
};

/* A packet that comes in: all zero to begin with. */
struct aee__gdb_in {
    enum { AEE__GDB_OUTSIDE, AEE__GDB_INSIDE, AEE__GDB_SUM_1, AEE__GDB_SUM_2 } state;
    bool too_long;
    bool escaped;
    uint8_t sum;
    uint8_t told_sum;
    bool bad_sum;
    size_t size;
    char text[AEE__GDB_PACKET + 1]; /* unescaped and terminated, when the packet is ready */
};

enum aee__gdb_got aee__gdb_feed(struct aee__gdb_in *in, uint8_t byte);

/* An answer. What does not fit is left out, and `full` says so. */
struct aee__gdb_out {
    size_t size;
    bool full;
    char text[2 * AEE__GDB_PACKET + 8]; /* from [1] on; the frame comes around it */
};

void aee__gdb_begin(struct aee__gdb_out *out);
void aee__gdb_add(struct aee__gdb_out *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void aee__gdb_add_hex(struct aee__gdb_out *out, const void *bytes, size_t size);
void aee__gdb_add_unknown(struct aee__gdb_out *out, size_t size); /* of a register: 'x' */
/* For answers with binary data: escaped. */
void aee__gdb_add_binary(struct aee__gdb_out *out, const void *bytes, size_t size);
/* Puts the frame around it; what is to be sent. */
const char *aee__gdb_finish(struct aee__gdb_out *out, size_t *size);

/* Numbers in packets: hexadecimal, at least one digit, at most 64 bits. *at moves behind them. */
bool aee__gdb_number(const char **at, uint64_t *number);
/* The same and a character behind it. */
bool aee__gdb_number_and(const char **at, char after, uint64_t *number);
/* `size` bytes as pairs of digits. */
bool aee__gdb_bytes(const char **at, void *bytes, size_t size);

#endif
