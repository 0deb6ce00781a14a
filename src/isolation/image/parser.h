/* parser.h: what the steps of aee__image_parse() share. Lives on the stack of one parse; owns
 * nothing itself (the image under construction is freed by aee__image_parse() when a step fails).
 */
#ifndef AEE_ISOLATION_IMAGE_PARSER_H
#define AEE_ISOLATION_IMAGE_PARSER_H

#include <elf.h>

#include "isolation/image/elf_reader.h"
#include "isolation/image/image.h"

#define AEE__IMAGE_MAX_HEADERS 64u    /* program headers; linkers write about a dozen */
#define AEE__IMAGE_MAX_SECTIONS 4096u /* section headers; static images have some tens */
#define AEE__IMAGE_MAX_SYMBOLS 65536u /* functions kept for crash reports */
#define AEE__IMAGE_MAX_MEMORY UINT64_C(0x10000000) /* 256 MiB of segments */
/* With the hash table at most a quarter full, a run of this length has a probability of about
 * 1e-14 for names that were not made to collide (linear probing, ln(n) / (a - 1 - ln a) = 13 slots
 * are expected at most for n = 4096, a = 1/4). */
#define AEE__IMAGE_MAX_PROBES 64u

struct aee__symbol {
    uint64_t gva;
    uint64_t size; /* within its segment; never 0 in a finished image */
    const char *name;
};

/* A PT_LOAD header that was checked and placed. */
struct aee__load {
    uint64_t gva;
    uint64_t memory_size;
    uint64_t file_offset;
    uint64_t file_size;
    uint64_t align;
    uint32_t rights;
    uint32_t index; /* of its program header */
};

struct aee__image_parser {
    struct aee__elf elf;
    const struct aee__alloc *alloc;
    struct aee__image *image;
    Elf64_Ehdr header;
    Elf64_Phdr headers[AEE__IMAGE_MAX_HEADERS];
    uint32_t header_count;
    uint64_t bias; /* added, modulo 2^64, to a virtual address of the file to get a gva */
    struct aee__load loads[AEE__IMAGE_MAX_SEGMENTS]; /* sorted by gva */
    uint32_t load_count;
    /* Filled by aee__image_read_sections(); index 0 means that there is no such section. */
    uint32_t section_count;
    uint64_t names_offset; /* of the section names in the file */
    uint64_t names_size;
    uint32_t symbol_section;
    uint32_t signature_section;
    bool has_export_section;
};

/* The steps, in their order. Each returns AEE_OK or has filled the error. */
aee_result aee__image_read_headers(struct aee__image_parser *parser);
aee_result aee__image_read_note(struct aee__image_parser *parser);
aee_result aee__image_read_segments(struct aee__image_parser *parser);
aee_result aee__image_read_tls(struct aee__image_parser *parser);
aee_result aee__image_relocate(struct aee__image_parser *parser);
aee_result aee__image_read_sections(struct aee__image_parser *parser);
aee_result aee__image_read_symbols(struct aee__image_parser *parser);
aee_result aee__image_read_signatures(struct aee__image_parser *parser);
/* Part of reading symbols: data among the `count` symbols at that offset of the file, whose names
 * are in image->strings. */
aee_result aee__image_read_variables(struct aee__image_parser *parser, uint64_t offset,
                                     uint64_t count);
/* symbols.c: by address. */
void aee__image_sort_symbols(struct aee__symbol *symbols, size_t count);
const struct aee__symbol *aee__image_symbol_in(const struct aee__symbol *symbols, uint32_t count,
                                               uint64_t gva);

/* Program header of `type`, or NULL; a second one is refused. */
aee_result aee__image_one_header(const struct aee__image_parser *parser, uint32_t type,
                                 const char *name, const Elf64_Phdr **out);
/* File offset of the content that the file has for gva, and how much of it follows there. */
bool aee__image_content_offset(const struct aee__image_parser *parser, uint64_t gva,
                               uint64_t *offset, uint64_t *available);
/* Where image->data holds `size` bytes at gva, or NULL: not all of them have content. */
uint8_t *aee__image_content(const struct aee__image *image, uint64_t gva, uint64_t size);
/* The executable segment that contains gva, or NULL. */
const struct aee__segment *aee__image_code_at(const struct aee__image *image, uint64_t gva);

/* Section header `index`, which must be below section_count. */
aee_result aee__image_section(const struct aee__image_parser *parser, uint32_t index,
                              Elf64_Shdr *out);
bool aee__image_section_named(const struct aee__image_parser *parser, const Elf64_Shdr *section,
                              const char *name);

#endif
