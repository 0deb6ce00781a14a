/* image.h: a parsed component image. Owns its copy of what it needs from the ELF bytes; borrows
 * nothing after parsing. Immutable once parsed, so any thread may read it. Does no I/O. */
#ifndef AEE_ISOLATION_IMAGE_IMAGE_H
#define AEE_ISOLATION_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"

#define AEE__IMAGE_MAX_SEGMENTS 16u
#define AEE__IMAGE_MAX_EXPORTS 4096u
#define AEE__IMAGE_MAX_NAME 1023u /* bytes of an exported name */

/* Rights of a segment; never both write and execute. */
enum { AEE__SEG_READ = 1, AEE__SEG_WRITE = 2, AEE__SEG_EXECUTE = 4 };

/* One page-aligned piece of the image. Segments are sorted by address and do not overlap, also
 * when rounded out to pages, and lie within [AEE_GVA_IMAGE, AEE_GVA_IMAGE_END). */
struct aee__segment {
    uint64_t start;      /* gva, page-aligned */
    uint64_t size;       /* bytes, multiple of the page size */
    uint64_t data_start; /* gva of the first byte with file content, >= start */
    uint64_t data_size;  /* bytes with content; the rest of the segment is zero */
    size_t data_offset;  /* of that content in image->data */
    uint32_t rights;     /* AEE__SEG_ bits */
};

struct aee__export {
    uint64_t gva;
    const char *name;      /* in image->strings */
    const char *signature; /* "i:ii" or "b", in image->signatures; NULL: not declared */
    uint32_t flags;        /* of a request that fits the signature: kind, doubles and count */
};

struct aee__image {
    const struct aee__alloc *alloc;
    struct aee__segment segments[AEE__IMAGE_MAX_SEGMENTS];
    uint32_t segment_count;
    uint8_t hash_of_file[AEE__HASH_SIZE];
    uint64_t bias;            /* of the file's addresses: gva = address in the file + bias */
    uint64_t entry;           /* gva of the initialiser (run once by lane 0), or 0 for none */
    uint64_t tls_data;        /* gva of the TLS template; 0 when there are no bytes of it */
    uint64_t tls_file_size;   /* bytes of template */
    uint64_t tls_memory_size; /* bytes of one lane's TLS block, <= AEE_TLS_MAX; 0: no TLS */
    uint64_t tls_align;       /* power of two, 1..4096 */
    uint64_t state_start;     /* gva of the declared state, in one writable segment */
    uint64_t state_size;      /* 0: the image declares none */
    uint32_t export_count;
    uint32_t symbol_count;
    struct aee__export *exports; /* in the order of the symbol table; names differ */
    /* private to image/ */
    uint8_t *data; /* segment contents, relocated */
    size_t data_size;
    char *strings; /* the file's string table, as a whole */
    size_t strings_size;
    char *signatures; /* the signature section, with '=' replaced by a terminator */
    size_t signatures_size;
    uint32_t *hash; /* open addressing over exports; size is a power of two */
    uint32_t hash_mask;
    struct aee__symbol *symbols;   /* all functions, sorted by address, for crash reports */
    struct aee__symbol *variables; /* the same of data */
    uint32_t variable_count;
};

/* Parses and checks `bytes`, which may be hostile, and applies relocations. On success *out is an
 * image to be freed with aee__image_destroy(); on failure *out is NULL and the error (BAD_IMAGE,
 * ABI_VERSION, NO_MEMORY) says which field of which header or section is wrong. `what` names the
 * object in that sentence ("image of context \"boss\""). */
aee_result aee__image_parse(const struct aee__alloc *alloc, const char *what, const void *bytes,
                            size_t size, struct aee__image **out, aee_error *error);
void aee__image_destroy(struct aee__image *image);

/* Index into exports[], or -1. */
int32_t aee__image_find_export(const struct aee__image *image, const char *name);
/* Name of the function that contains `gva`, and the offset in it; NULL if none does. */
const char *aee__image_symbol_at(const struct aee__image *image, uint64_t gva, uint64_t *offset);
/* The same of variables. */
const char *aee__image_variable_at(const struct aee__image *image, uint64_t gva, uint64_t *offset);
/* Address and size of the variable of that name, whether or not it is exported; false where there
 * is none, or several. */
bool aee__image_find_variable(const struct aee__image *image, const char *name, uint64_t *gva,
                              uint64_t *size);

#endif
