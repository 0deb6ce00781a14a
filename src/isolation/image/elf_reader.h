/* elf_reader.h: bounds-checked reads from the bytes of an ELF file, and the sentences that say what
 * is wrong with them. Owns nothing; borrows the caller's bytes and error; one thread at a time. */
#ifndef AEE_ISOLATION_IMAGE_ELF_READER_H
#define AEE_ISOLATION_IMAGE_ELF_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct aee__elf {
    const uint8_t *bytes; /* hostile; read through aee__elf_read() only, never in place */
    uint64_t size;
    const char *what;
    aee_error *error;
};

/* A name from the file, cut and cleaned so that it may stand in a sentence or a log line. */
struct aee__elf_quoted {
    char text[64];
};

/* The file has `size` bytes at `offset`. */
bool aee__elf_has(const struct aee__elf *elf, uint64_t offset, uint64_t size);
/* Copies them to `out`; false where the file has not that many. */
bool aee__elf_read(const struct aee__elf *elf, uint64_t offset, void *out, size_t size);
/* The name that starts at `offset` and ends with a NUL or before `end`. */
struct aee__elf_quoted aee__elf_quote_at(const struct aee__elf *elf, uint64_t offset, uint64_t end);
struct aee__elf_quoted aee__elf_quote(const char *name);

/* AEE_ERR_BAD_IMAGE with "what: sentence". */
aee_result aee__elf_bad(const struct aee__elf *elf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
aee_result aee__elf_no_memory(const struct aee__elf *elf, uint64_t size, const char *purpose);

#endif
