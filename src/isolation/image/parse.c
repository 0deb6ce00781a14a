/* parse.c: the file header, the program header table, and the life of struct aee__image. */
#include "isolation/image/image.h"

#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "isolation/image/parser.h"

static aee_result check_identity(const struct aee__elf *elf, const Elf64_Ehdr *header)
{
    const unsigned char *ident = header->e_ident;
    if (memcmp(ident, ELFMAG, SELFMAG) != 0) {
        return aee__elf_bad(elf, "not an ELF file: magic is %02x %02x %02x %02x", ident[EI_MAG0],
                            ident[EI_MAG1], ident[EI_MAG2], ident[EI_MAG3]);
    }
    if (ident[EI_CLASS] != ELFCLASS64) {
        return aee__elf_bad(elf, "ELF header: class is %u, not ELFCLASS64 (2)", ident[EI_CLASS]);
    }
    if (ident[EI_DATA] != ELFDATA2LSB) {
        return aee__elf_bad(elf, "ELF header: byte order is %u, not little-endian (1)",
                            ident[EI_DATA]);
    }
    if (ident[EI_VERSION] != EV_CURRENT || header->e_version != EV_CURRENT) {
        return aee__elf_bad(elf, "ELF header: version is %u (e_ident) and %" PRIu32 ", not 1",
                            ident[EI_VERSION], header->e_version);
    }
    if (header->e_machine != EM_X86_64) {
        return aee__elf_bad(elf, "ELF header: machine is %u, not x86-64 (62)", header->e_machine);
    }
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN) {
        return aee__elf_bad(elf, "ELF header: type is %u, not a static executable (2 or 3)",
                            header->e_type);
    }
    return AEE_OK;
}

static aee_result check_table(const struct aee__elf *elf, const Elf64_Ehdr *header)
{
    if (header->e_ehsize != sizeof(Elf64_Ehdr)) {
        return aee__elf_bad(elf, "ELF header: e_ehsize is %u, not 64", header->e_ehsize);
    }
    if (header->e_phnum == 0) {
        return aee__elf_bad(elf, "ELF header: e_phnum is 0, so there is nothing to load");
    }
    if (header->e_phentsize != sizeof(Elf64_Phdr)) {
        return aee__elf_bad(elf, "ELF header: e_phentsize is %u, not 56", header->e_phentsize);
    }
    if (header->e_phnum > AEE__IMAGE_MAX_HEADERS) {
        return aee__elf_bad(elf, "ELF header: e_phnum is %u, more than %u program headers",
                            header->e_phnum, AEE__IMAGE_MAX_HEADERS);
    }
    return AEE_OK;
}

aee_result aee__image_read_headers(struct aee__image_parser *parser)
{
    const struct aee__elf *elf = &parser->elf;
    Elf64_Ehdr *header = &parser->header;
    if (!aee__elf_read(elf, 0, header, sizeof *header)) {
        return aee__elf_bad(elf, "truncated: %" PRIu64 " bytes are less than an ELF header",
                            elf->size);
    }
    aee_result result = check_identity(elf, header);
    if (result == AEE_OK) {
        result = check_table(elf, header);
    }
    if (result != AEE_OK) {
        return result;
    }
    size_t table_size = header->e_phnum * sizeof(Elf64_Phdr);
    if (!aee__elf_read(elf, header->e_phoff, parser->headers, table_size)) {
        return aee__elf_bad(elf,
                            "truncated: %u program headers at offset 0x%" PRIx64
                            " reach beyond the file's %" PRIu64 " bytes",
                            header->e_phnum, header->e_phoff, elf->size);
    }
    parser->header_count = header->e_phnum;
    for (uint32_t i = 0; i < parser->header_count; i++) {
        if (parser->headers[i].p_type == PT_INTERP) {
            return aee__elf_bad(elf,
                                "program header %" PRIu32 ": PT_INTERP asks for a dynamic linker;"
                                " link with -static or -static-pie",
                                i);
        }
    }
    return AEE_OK;
}

aee_result aee__image_one_header(const struct aee__image_parser *parser, uint32_t type,
                                 const char *name, const Elf64_Phdr **out)
{
    *out = NULL;
    for (uint32_t i = 0; i < parser->header_count; i++) {
        if (parser->headers[i].p_type != type) {
            continue;
        }
        if (*out) {
            return aee__elf_bad(&parser->elf, "program header %" PRIu32 ": a second %s", i, name);
        }
        *out = &parser->headers[i];
    }
    return AEE_OK;
}

static aee_result read_entry(struct aee__image_parser *parser)
{
    uint64_t entry = parser->header.e_entry;
    if (entry == 0) {
        return AEE_OK;
    }
    uint64_t gva = entry + parser->bias; /* modulo 2^64: the look-up refuses what wraps */
    if (!aee__image_code_at(parser->image, gva)) {
        return aee__elf_bad(&parser->elf,
                            "ELF header: entry 0x%" PRIx64 " is in no executable segment", entry);
    }
    parser->image->entry = gva;
    return AEE_OK;
}

static aee_result run_steps(struct aee__image_parser *parser)
{
    static aee_result (*const steps[])(struct aee__image_parser *) = {
        aee__image_read_headers,    aee__image_read_note,
        aee__image_read_segments,   read_entry,
        aee__image_read_tls,        aee__image_relocate,
        aee__image_read_sections,   aee__image_read_symbols,
        aee__image_read_signatures,
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        aee_result result = steps[i](parser);
        if (result != AEE_OK) {
            return result;
        }
    }
    return AEE_OK;
}

aee_result aee__image_parse(const struct aee__alloc *alloc, const char *what, const void *bytes,
                            size_t size, struct aee__image **out, aee_error *error)
{
    *out = NULL;
    struct aee__image_parser parser = {
        .elf = {.bytes = bytes,
                .size = bytes ? size : 0,
                .what = what ? what : "image",
                .error = error},
        .alloc = alloc,
    };
    parser.image = aee__alloc_zero(alloc, 1, sizeof *parser.image);
    if (!parser.image) {
        return aee__elf_no_memory(&parser.elf, sizeof *parser.image, "the image object");
    }
    parser.image->alloc = alloc;
    parser.image->tls_align = 1;
    aee_result result = run_steps(&parser);
    if (result != AEE_OK) {
        aee__image_destroy(parser.image);
        return result;
    }
    aee__hash(bytes, size, parser.image->hash_of_file);
    parser.image->bias = parser.bias;
    *out = parser.image;
    return aee__ok(error);
}

void aee__image_destroy(struct aee__image *image)
{
    if (!image) {
        return;
    }
    const struct aee__alloc *alloc = image->alloc;
    aee__alloc_free(alloc, image->data, image->data_size);
    aee__alloc_free(alloc, image->strings, image->strings_size);
    aee__alloc_free(alloc, image->signatures, image->signatures_size);
    aee__alloc_free(alloc, image->exports, image->export_count * sizeof *image->exports);
    aee__alloc_free(alloc, image->symbols, image->symbol_count * sizeof *image->symbols);
    aee__alloc_free(alloc, image->variables, image->variable_count * sizeof *image->variables);
    aee__alloc_free(alloc, image->hash, ((size_t)image->hash_mask + 1) * sizeof *image->hash);
    aee__alloc_free(alloc, image, sizeof *image);
}
