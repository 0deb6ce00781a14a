/* relocate.c: reads PT_DYNAMIC and applies its relocations to the image's own copy of the content.
 * The tables are read from the file, not from the copy, so no relocation changes another. Writing
 * to segments that are read-only for the component is intended: the component never sees the
 * unrelocated bytes (RELRO and text relocations need it). */
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "isolation/image/parser.h"

#define TAG_LIMIT 38u /* one more than DT_RELRENT, the highest tag we read */

struct table {
    const char *name;
    uint64_t offset; /* in the file */
    uint64_t count;
};

struct relocator {
    struct aee__image_parser *parser;
    uint64_t values[TAG_LIMIT]; /* of the dynamic table, by tag */
    uint64_t seen;              /* bit t: tag t was there */
    struct table symbols;
    uint64_t strings_offset;
    uint64_t strings_end;
    uint64_t tls_offset; /* of the TLS block below the thread pointer */
};

static bool has_tag(const struct relocator *relocator, uint32_t tag)
{
    return (relocator->seen >> tag) & 1;
}

static aee_result check_tag(const struct relocator *relocator, uint64_t tag)
{
    const struct aee__elf *elf = &relocator->parser->elf;
    if (tag == DT_NEEDED) {
        return aee__elf_bad(elf, "PT_DYNAMIC: DT_NEEDED asks for a shared library;"
                                 " link with -static or -static-pie");
    }
    if (tag == DT_REL) {
        return aee__elf_bad(elf, "PT_DYNAMIC: DT_REL: x86-64 has RELA relocations only");
    }
    if (tag < TAG_LIMIT && has_tag(relocator, (uint32_t)tag)) {
        return aee__elf_bad(elf, "PT_DYNAMIC: tag %" PRIu64 " occurs twice", tag);
    }
    return AEE_OK;
}

static aee_result read_tags(struct relocator *relocator, const Elf64_Phdr *header)
{
    const struct aee__elf *elf = &relocator->parser->elf;
    uint32_t index = (uint32_t)(header - relocator->parser->headers);
    uint64_t count = header->p_filesz / sizeof(Elf64_Dyn);
    if (count == 0 || header->p_filesz % sizeof(Elf64_Dyn) != 0 ||
        !aee__elf_has(elf, header->p_offset, header->p_filesz)) {
        return aee__elf_bad(elf,
                            "program header %" PRIu32 ": PT_DYNAMIC with 0x%" PRIx64
                            " bytes at offset 0x%" PRIx64 " is not a table within the file",
                            index, header->p_filesz, header->p_offset);
    }
    for (uint64_t i = 0; i < count; i++) {
        Elf64_Dyn entry;
        if (!aee__elf_read(elf, header->p_offset + i * sizeof entry, &entry, sizeof entry)) {
            break;
        }
        uint64_t tag = (uint64_t)entry.d_tag;
        if (tag == DT_NULL) {
            return AEE_OK;
        }
        aee_result result = check_tag(relocator, tag);
        if (result != AEE_OK) {
            return result;
        }
        if (tag < TAG_LIMIT) {
            relocator->values[tag] = entry.d_un.d_val;
            relocator->seen |= UINT64_C(1) << tag;
        }
    }
    return aee__elf_bad(elf, "program header %" PRIu32 ": PT_DYNAMIC has no DT_NULL at its end",
                        index);
}

/* Where the file holds the `size` bytes at a virtual address. */
static bool find_bytes(const struct relocator *relocator, uint64_t address, uint64_t size,
                       uint64_t *offset, uint64_t *available)
{
    const struct aee__image_parser *parser = relocator->parser;
    return aee__image_content_offset(parser, address + parser->bias, offset, available) &&
           size <= *available;
}

static aee_result find_table(const struct relocator *relocator, const char *name, uint32_t tag,
                             uint32_t size_tag, uint64_t entry_size, struct table *table)
{
    const struct aee__elf *elf = &relocator->parser->elf;
    uint64_t address = relocator->values[tag];
    uint64_t size = relocator->values[size_tag];
    uint64_t available;
    *table = (struct table){.name = name};
    if (!has_tag(relocator, tag) && !has_tag(relocator, size_tag)) {
        return AEE_OK;
    }
    if (!has_tag(relocator, tag) || !has_tag(relocator, size_tag)) {
        return aee__elf_bad(elf, "PT_DYNAMIC: %s has an address or a size, not both", name);
    }
    if (size % entry_size != 0) {
        return aee__elf_bad(elf, "PT_DYNAMIC: size 0x%" PRIx64 " of %s is no multiple of %" PRIu64,
                            size, name, entry_size);
    }
    if (size > 0 && !find_bytes(relocator, address, size, &table->offset, &available)) {
        return aee__elf_bad(elf,
                            "PT_DYNAMIC: %s at 0x%" PRIx64 " with 0x%" PRIx64
                            " bytes is not in the content of a segment",
                            name, address, size);
    }
    table->count = size / entry_size;
    return AEE_OK;
}

static aee_result check_entry_size(const struct relocator *relocator, const char *name,
                                   uint32_t tag, uint64_t expected)
{
    if (has_tag(relocator, tag) && relocator->values[tag] != expected) {
        return aee__elf_bad(&relocator->parser->elf, "PT_DYNAMIC: %s is %" PRIu64 ", not %" PRIu64,
                            name, relocator->values[tag], expected);
    }
    return AEE_OK;
}

/* The format gives no number of symbols that all linkers write, so the table may reach to the end
 * of its segment's content; each symbol is checked when it is used. */
static aee_result find_symbols(struct relocator *relocator)
{
    const struct aee__elf *elf = &relocator->parser->elf;
    uint64_t available = 0;
    char last = 1;
    if (has_tag(relocator, DT_SYMTAB)) {
        struct table *symbols = &relocator->symbols;
        if (!find_bytes(relocator, relocator->values[DT_SYMTAB], sizeof(Elf64_Sym),
                        &symbols->offset, &available)) {
            return aee__elf_bad(
                elf, "PT_DYNAMIC: DT_SYMTAB 0x%" PRIx64 " is not in the content of a segment",
                relocator->values[DT_SYMTAB]);
        }
        symbols->count = available / sizeof(Elf64_Sym);
    }
    uint64_t size = relocator->values[DT_STRSZ];
    if (!has_tag(relocator, DT_STRTAB) || size == 0) {
        return AEE_OK;
    }
    if (!find_bytes(relocator, relocator->values[DT_STRTAB], size, &relocator->strings_offset,
                    &available)) {
        return aee__elf_bad(elf,
                            "PT_DYNAMIC: DT_STRTAB 0x%" PRIx64 " with 0x%" PRIx64
                            " bytes is not in the content of a segment",
                            relocator->values[DT_STRTAB], size);
    }
    relocator->strings_end = relocator->strings_offset + size;
    if (!aee__elf_read(elf, relocator->strings_end - 1, &last, 1) || last != 0) {
        return aee__elf_bad(elf, "PT_DYNAMIC: DT_STRTAB does not end with a terminator");
    }
    return AEE_OK;
}

static aee_result read_symbol(const struct relocator *relocator, const char *table, uint64_t number,
                              uint64_t index, Elf64_Sym *symbol)
{
    const struct aee__elf *elf = &relocator->parser->elf;
    if (index >= relocator->symbols.count ||
        !aee__elf_read(elf, relocator->symbols.offset + index * sizeof *symbol, symbol,
                       sizeof *symbol)) {
        return aee__elf_bad(elf,
                            "%s relocation %" PRIu64 ": symbol index %" PRIu64 " is out of range",
                            table, number, index);
    }
    uint64_t strings_size = relocator->strings_end - relocator->strings_offset;
    if (symbol->st_name != 0 && symbol->st_name >= strings_size) {
        return aee__elf_bad(elf,
                            "%s relocation %" PRIu64 ": name 0x%" PRIx32 " of symbol %" PRIu64
                            " is beyond DT_STRTAB",
                            table, number, symbol->st_name, index);
    }
    return AEE_OK;
}

/* S of the psABI: the symbol's address, or its offset in the TLS block; 0 for none. */
static aee_result symbol_value(const struct relocator *relocator, const char *table,
                               uint64_t number, uint64_t index, uint64_t *value)
{
    const struct aee__image_parser *parser = relocator->parser;
    Elf64_Sym symbol;
    *value = 0;
    if (index == STN_UNDEF) {
        return AEE_OK;
    }
    aee_result result = read_symbol(relocator, table, number, index, &symbol);
    if (result != AEE_OK) {
        return result;
    }
    struct aee__elf_quoted name = aee__elf_quote_at(
        &parser->elf, relocator->strings_offset + symbol.st_name, relocator->strings_end);
    if (symbol.st_shndx == SHN_UNDEF) {
        if (ELF64_ST_BIND(symbol.st_info) == STB_WEAK) {
            return AEE_OK;
        }
        return aee__elf_bad(&parser->elf, "%s relocation %" PRIu64 ": symbol \"%s\" is undefined",
                            table, number, name.text);
    }
    uint32_t type = ELF64_ST_TYPE(symbol.st_info);
    if (type == STT_GNU_IFUNC) {
        return aee__elf_bad(&parser->elf,
                            "%s relocation %" PRIu64 ": \"%s\" is an indirect function (IFUNC);"
                            " the loader runs no component code",
                            table, number, name.text);
    }
    bool fixed = symbol.st_shndx == SHN_ABS || type == STT_TLS;
    *value = symbol.st_value + (fixed ? 0 : parser->bias);
    return AEE_OK;
}

static aee_result store(const struct relocator *relocator, const char *table, uint64_t number,
                        uint64_t address, uint64_t value)
{
    const struct aee__image_parser *parser = relocator->parser;
    uint8_t *to = aee__image_content(parser->image, address + parser->bias, sizeof value);
    if (!to) {
        return aee__elf_bad(&parser->elf,
                            "%s relocation %" PRIu64 ": address 0x%" PRIx64
                            " is not in the content of a segment",
                            table, number, address);
    }
    memcpy(to, &value, sizeof value);
    return AEE_OK;
}

static aee_result refuse_type(const struct relocator *relocator, const char *table, uint64_t number,
                              uint32_t type)
{
    const struct aee__elf *elf = &relocator->parser->elf;
    if (type == R_X86_64_IRELATIVE) {
        return aee__elf_bad(elf,
                            "%s relocation %" PRIu64 ": R_X86_64_IRELATIVE (an IFUNC) would run"
                            " component code in the loader",
                            table, number);
    }
    if (type == R_X86_64_TPOFF64) {
        return aee__elf_bad(elf,
                            "%s relocation %" PRIu64 ": R_X86_64_TPOFF64 in an image without"
                            " PT_TLS",
                            table, number);
    }
    return aee__elf_bad(elf, "%s relocation %" PRIu64 ": unknown type %" PRIu32, table, number,
                        type);
}

static aee_result apply_one(const struct relocator *relocator, const char *table, uint64_t number,
                            const Elf64_Rela *rela)
{
    uint32_t type = (uint32_t)ELF64_R_TYPE(rela->r_info);
    uint64_t symbol = 0;
    uint64_t addend = (uint64_t)rela->r_addend;
    if (type == R_X86_64_NONE) {
        return AEE_OK;
    }
    if (type != R_X86_64_RELATIVE) {
        aee_result result =
            symbol_value(relocator, table, number, ELF64_R_SYM(rela->r_info), &symbol);
        if (result != AEE_OK) {
            return result;
        }
    }
    uint64_t value; /* all sums are modulo 2^64, as the psABI has them */
    switch (type) {
    case R_X86_64_RELATIVE:
        value = relocator->parser->bias + addend;
        break;
    case R_X86_64_64:
        value = symbol + addend;
        break;
    case R_X86_64_GLOB_DAT:
    case R_X86_64_JUMP_SLOT:
        value = symbol;
        break;
    case R_X86_64_TPOFF64:
        if (relocator->tls_offset == 0) {
            return refuse_type(relocator, table, number, type);
        }
        value = symbol + addend - relocator->tls_offset;
        break;
    default:
        return refuse_type(relocator, table, number, type);
    }
    return store(relocator, table, number, rela->r_offset, value);
}

static aee_result apply_rela(const struct relocator *relocator, const struct table *table)
{
    for (uint64_t i = 0; i < table->count; i++) {
        Elf64_Rela rela;
        aee_result result;
        if (!aee__elf_read(&relocator->parser->elf, table->offset + i * sizeof rela, &rela,
                           sizeof rela)) {
            return aee__elf_bad(&relocator->parser->elf, "%s is truncated", table->name);
        }
        result = apply_one(relocator, table->name, i, &rela);
        if (result != AEE_OK) {
            return result;
        }
    }
    return AEE_OK;
}

static aee_result add_bias(const struct relocator *relocator, uint64_t number, uint64_t address)
{
    const struct aee__image_parser *parser = relocator->parser;
    uint64_t value = 0;
    const uint8_t *from = aee__image_content(parser->image, address + parser->bias, sizeof value);
    if (from) {
        memcpy(&value, from, sizeof value);
    }
    return store(relocator, "DT_RELR", number, address, value + parser->bias);
}

/* DT_RELR: an even entry is the address of a word to relocate; an odd one is a bitmap of the 63
 * words behind the last that the table described (gABI, "Relative Relocation Table"). */
static aee_result apply_relr(const struct relocator *relocator, const struct table *table)
{
    const struct aee__elf *elf = &relocator->parser->elf;
    uint64_t next = 0;
    for (uint64_t i = 0; i < table->count; i++) {
        uint64_t entry;
        aee_result result = AEE_OK;
        if (!aee__elf_read(elf, table->offset + i * sizeof entry, &entry, sizeof entry)) {
            return aee__elf_bad(elf, "DT_RELR is truncated");
        }
        if ((entry & 1) == 0) {
            result = add_bias(relocator, i, entry);
            next = entry + sizeof entry;
        } else if (i == 0) {
            return aee__elf_bad(elf, "DT_RELR relocation 0: a bitmap, but no address before it");
        }
        for (unsigned bit = 1; (entry & 1) != 0 && bit < 64 && result == AEE_OK; bit++) {
            if ((entry >> bit) & 1) {
                result = add_bias(relocator, i, next + (bit - 1) * sizeof entry);
            }
        }
        if (result != AEE_OK) {
            return result;
        }
        next += (entry & 1) != 0 ? 63 * sizeof entry : 0;
    }
    return AEE_OK;
}

static aee_result check_formats(const struct relocator *relocator)
{
    aee_result result = check_entry_size(relocator, "DT_RELAENT", DT_RELAENT, sizeof(Elf64_Rela));
    if (result == AEE_OK) {
        result = check_entry_size(relocator, "DT_SYMENT", DT_SYMENT, sizeof(Elf64_Sym));
    }
    if (result == AEE_OK) {
        result = check_entry_size(relocator, "DT_RELRENT", DT_RELRENT, sizeof(uint64_t));
    }
    if (result == AEE_OK) {
        result = check_entry_size(relocator, "DT_PLTREL", DT_PLTREL, DT_RELA);
    }
    return result;
}

static aee_result apply_all(struct relocator *relocator)
{
    struct table relr;
    struct table rela;
    struct table plt;
    aee_result result = check_formats(relocator);
    if (result == AEE_OK) {
        result = find_table(relocator, "DT_RELR", DT_RELR, DT_RELRSZ, sizeof(uint64_t), &relr);
    }
    if (result == AEE_OK) {
        result = find_table(relocator, "DT_RELA", DT_RELA, DT_RELASZ, sizeof(Elf64_Rela), &rela);
    }
    if (result == AEE_OK) {
        result =
            find_table(relocator, "DT_JMPREL", DT_JMPREL, DT_PLTRELSZ, sizeof(Elf64_Rela), &plt);
    }
    if (result == AEE_OK) {
        result = find_symbols(relocator);
    }
    if (result == AEE_OK) {
        result = apply_relr(relocator, &relr);
    }
    if (result == AEE_OK) {
        result = apply_rela(relocator, &rela);
    }
    if (result == AEE_OK) {
        result = apply_rela(relocator, &plt);
    }
    return result;
}

aee_result aee__image_relocate(struct aee__image_parser *parser)
{
    const struct aee__image *image = parser->image;
    const Elf64_Phdr *header;
    struct relocator relocator = {.parser = parser};
    aee_result result = aee__image_one_header(parser, PT_DYNAMIC, "PT_DYNAMIC", &header);
    if (result != AEE_OK || !header) {
        return result;
    }
    /* The block ends at the thread pointer and starts aligned (TLS ABI, variant II). */
    relocator.tls_offset =
        (image->tls_memory_size + image->tls_align - 1) & ~(image->tls_align - 1);
    result = read_tags(&relocator, header);
    if (result != AEE_OK) {
        return result;
    }
    return apply_all(&relocator);
}
