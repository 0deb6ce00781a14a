/* sections.c: checks the section header table, which may be absent, and finds the sections that the
 * loader reads: symbol table, exports, signatures, declared state. */
#include <inttypes.h>
#include <string.h>

#include "aee_abi.h"
#include "base/checked.h"
#include "isolation/image/parser.h"

aee_result aee__image_section(const struct aee__image_parser *parser, uint32_t index,
                              Elf64_Shdr *out)
{
    /* count_sections() checked the whole table, so the sum does not overflow. */
    if (!aee__elf_read(&parser->elf, parser->header.e_shoff + index * sizeof *out, out,
                       sizeof *out)) {
        return aee__elf_bad(&parser->elf, "section %" PRIu32 ": unreadable header", index);
    }
    return AEE_OK;
}

bool aee__image_section_named(const struct aee__image_parser *parser, const Elf64_Shdr *section,
                              const char *name)
{
    char found[32];
    size_t size = strlen(name) + 1;
    return size <= sizeof found && section->sh_name < parser->names_size &&
           parser->names_size - section->sh_name >= size &&
           aee__elf_read(&parser->elf, parser->names_offset + section->sh_name, found, size) &&
           memcmp(found, name, size) == 0;
}

static aee_result count_sections(struct aee__image_parser *parser)
{
    const struct aee__elf *elf = &parser->elf;
    const Elf64_Ehdr *header = &parser->header;
    uint64_t count = header->e_shnum;
    if (header->e_shoff == 0) {
        return count == 0 ? AEE_OK
                          : aee__elf_bad(elf, "ELF header: e_shnum is %u, but e_shoff is 0",
                                         header->e_shnum);
    }
    if (header->e_shentsize != sizeof(Elf64_Shdr)) {
        return aee__elf_bad(elf, "ELF header: e_shentsize is %u, not 64", header->e_shentsize);
    }
    if (count == 0) { /* gABI: numbers from SHN_LORESERVE on are in sh_size of section 0 */
        Elf64_Shdr first;
        if (!aee__elf_read(elf, header->e_shoff, &first, sizeof first)) {
            return aee__elf_bad(elf, "truncated: no section header at e_shoff 0x%" PRIx64,
                                header->e_shoff);
        }
        count = first.sh_size;
    }
    if (count > AEE__IMAGE_MAX_SECTIONS) {
        return aee__elf_bad(elf, "ELF header: %" PRIu64 " sections are more than %u", count,
                            AEE__IMAGE_MAX_SECTIONS);
    }
    if (!aee__elf_has(elf, header->e_shoff, count * sizeof(Elf64_Shdr))) {
        return aee__elf_bad(elf,
                            "truncated: %" PRIu64 " section headers at offset 0x%" PRIx64
                            " reach beyond the file's %" PRIu64 " bytes",
                            count, header->e_shoff, elf->size);
    }
    parser->section_count = (uint32_t)count;
    return AEE_OK;
}

static aee_result find_names(struct aee__image_parser *parser)
{
    const struct aee__elf *elf = &parser->elf;
    uint32_t index = parser->header.e_shstrndx;
    Elf64_Shdr names;
    char last = 1;
    if (index == SHN_UNDEF) {
        return AEE_OK;
    }
    if (index >= parser->section_count) {
        return aee__elf_bad(elf, "ELF header: e_shstrndx is %" PRIu32 " of %" PRIu32 " sections",
                            index, parser->section_count);
    }
    aee_result result = aee__image_section(parser, index, &names);
    if (result != AEE_OK) {
        return result;
    }
    if (names.sh_type != SHT_STRTAB || names.sh_size == 0 ||
        !aee__elf_has(elf, names.sh_offset, names.sh_size)) {
        return aee__elf_bad(elf,
                            "section %" PRIu32 ": section names are not a string table"
                            " (type %" PRIu32 ", size 0x%" PRIx64 ")",
                            index, names.sh_type, names.sh_size);
    }
    if (!aee__elf_read(elf, names.sh_offset + names.sh_size - 1, &last, 1) || last != 0) {
        return aee__elf_bad(elf, "section %" PRIu32 ": section names do not end with a terminator",
                            index);
    }
    parser->names_offset = names.sh_offset;
    parser->names_size = names.sh_size;
    return AEE_OK;
}

static aee_result check_section(const struct aee__image_parser *parser, uint32_t index,
                                const Elf64_Shdr *section)
{
    const struct aee__elf *elf = &parser->elf;
    if (section->sh_type != SHT_NULL && section->sh_type != SHT_NOBITS &&
        !aee__elf_has(elf, section->sh_offset, section->sh_size)) {
        return aee__elf_bad(elf,
                            "section %" PRIu32 ": 0x%" PRIx64 " bytes at offset 0x%" PRIx64
                            " reach beyond the file",
                            index, section->sh_size, section->sh_offset);
    }
    if (parser->names_size > 0 && section->sh_name >= parser->names_size) {
        return aee__elf_bad(elf,
                            "section %" PRIu32 ": name 0x%" PRIx32
                            " is beyond the section names (0x%" PRIx64 " bytes)",
                            index, section->sh_name, parser->names_size);
    }
    return AEE_OK;
}

static bool is_writable(const struct aee__image_parser *parser, uint64_t gva, uint64_t size)
{
    for (uint32_t i = 0; i < parser->load_count; i++) {
        const struct aee__load *load = &parser->loads[i];
        if (aee__within(gva, size, load->gva, load->gva + load->memory_size)) {
            return (load->rights & AEE__SEG_WRITE) != 0;
        }
    }
    return false;
}

static aee_result note_state(struct aee__image_parser *parser, uint32_t index,
                             const Elf64_Shdr *section)
{
    struct aee__image *image = parser->image;
    if (section->sh_size == 0) {
        return AEE_OK;
    }
    if (image->state_size > 0) {
        return aee__elf_bad(&parser->elf, "section %" PRIu32 ": %s is there twice", index,
                            AEE_ABI_STATE_SECTION);
    }
    uint64_t gva =
        section->sh_addr + parser->bias; /* modulo 2^64: the look-up refuses what wraps */
    if (!(section->sh_flags & SHF_ALLOC) || !is_writable(parser, gva, section->sh_size)) {
        return aee__elf_bad(&parser->elf,
                            "section %" PRIu32 ": %s with 0x%" PRIx64 " bytes at 0x%" PRIx64
                            " is in no writable segment",
                            index, AEE_ABI_STATE_SECTION, section->sh_size, section->sh_addr);
    }
    image->state_start = gva;
    image->state_size = section->sh_size;
    return AEE_OK;
}

/* .symtab wins over .dynsym, which stripped images may still have. */
static aee_result note_section(struct aee__image_parser *parser, uint32_t index,
                               const Elf64_Shdr *section, uint32_t *dynamic_symbols)
{
    if (section->sh_type == SHT_SYMTAB && parser->symbol_section == 0) {
        parser->symbol_section = index;
    }
    if (section->sh_type == SHT_DYNSYM && *dynamic_symbols == 0) {
        *dynamic_symbols = index;
    }
    if (aee__image_section_named(parser, section, AEE_ABI_EXPORT_SECTION)) {
        parser->has_export_section = true;
    }
    if (aee__image_section_named(parser, section, AEE_ABI_STATE_SECTION)) {
        return note_state(parser, index, section);
    }
    if (!aee__image_section_named(parser, section, AEE_ABI_SIGNATURE_SECTION)) {
        return AEE_OK;
    }
    if (parser->signature_section != 0 || section->sh_type == SHT_NOBITS) {
        return aee__elf_bad(&parser->elf, "section %" PRIu32 ": %s is there twice or has no bytes",
                            index, AEE_ABI_SIGNATURE_SECTION);
    }
    parser->signature_section = index;
    return AEE_OK;
}

aee_result aee__image_read_sections(struct aee__image_parser *parser)
{
    uint32_t dynamic_symbols = 0;
    aee_result result = count_sections(parser);
    if (result != AEE_OK || parser->section_count == 0) {
        return result;
    }
    result = find_names(parser);
    for (uint32_t i = 1; result == AEE_OK && i < parser->section_count; i++) {
        Elf64_Shdr section;
        result = aee__image_section(parser, i, &section);
        if (result == AEE_OK) {
            result = check_section(parser, i, &section);
        }
        if (result == AEE_OK) {
            result = note_section(parser, i, &section, &dynamic_symbols);
        }
    }
    if (parser->symbol_section == 0) {
        parser->symbol_section = dynamic_symbols;
    }
    return result;
}
