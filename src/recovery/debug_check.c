#include "recovery/debug_check.h"

#include <dwarf.h>
#include <elf.h>
#include <stdbool.h>
#include <string.h>

/* More than any component has: it may be made to keep the reader busy. */
#define BYTES_MAX (UINT64_C(64) << 20)

struct bytes {
    const uint8_t *at;
    uint64_t left;
};

static const char other_files[] = "it refers to other files";
static const char broken[] = "its units do not make sense";

/* ---- Reading ------------------------------------------------------------------------------ */

static bool take(struct bytes *bytes, void *to, uint64_t size)
{
    if (bytes->left < size) {
        return false;
    }
    memcpy(to, bytes->at, size);
    bytes->at += size;
    bytes->left -= size;
    return true;
}

/* A number of 7 bits in each byte (DWARF 5, 7.6); of signed ones only the length is of use. */
static bool take_leb(struct bytes *bytes, uint64_t *number)
{
    uint8_t byte;
    unsigned shift = 0;
    *number = 0;
    do {
        if (!take(bytes, &byte, 1)) {
            return false;
        }
        if (shift < 64) {
            *number |= (uint64_t)(byte & 0x7f) << shift;
        }
        shift += 7;
    } while (byte & 0x80);
    return true;
}

/* An offset of 4 or 8 bytes. */
static bool take_offset(struct bytes *bytes, bool wide, uint64_t *offset)
{
    uint32_t narrow = 0;
    *offset = 0;
    bool taken = wide ? take(bytes, offset, 8) : take(bytes, &narrow, 4);
    *offset = wide ? *offset : narrow;
    return taken;
}

/* ---- Units -------------------------------------------------------------------------------- */

/* The attributes of one abbreviation; whether they name another file. */
static const char *check_attributes(struct bytes *table)
{
    uint64_t name;
    uint64_t form;
    uint64_t value;
    do {
        if (!take_leb(table, &name) || !take_leb(table, &form) ||
            (form == DW_FORM_implicit_const && !take_leb(table, &value))) {
            return broken;
        }
        if (name == DW_AT_dwo_name || name == DW_AT_GNU_dwo_name || name == DW_AT_GNU_dwo_id) {
            return other_files;
        }
    } while (name != 0 || form != 0);
    return NULL;
}

/* The abbreviation that a unit begins with, and those before it, as a reader finds it. */
static const char *check_abbreviation(struct bytes table, uint64_t offset, uint64_t wanted)
{
    uint8_t children;
    uint64_t code;
    uint64_t tag;
    if (offset > table.left) {
        return broken;
    }
    table.at += offset;
    table.left -= offset;
    do {
        if (!take_leb(&table, &code) || code == 0 || !take_leb(&table, &tag) ||
            !take(&table, &children, 1)) {
            return broken;
        }
        const char *bad = check_attributes(&table);
        if (bad) {
            return bad;
        }
    } while (code != wanted);
    return NULL;
}

static const char *check_unit(struct bytes unit, bool wide, struct bytes table)
{
    uint16_t version;
    uint8_t kind = DW_UT_compile;
    uint8_t address_size;
    uint64_t offset;
    uint64_t code;
    if (!take(&unit, &version, 2) || version < 2 || version > 5) {
        return broken;
    }
    bool taken = version == 5 ? take(&unit, &kind, 1) && take(&unit, &address_size, 1) &&
                                    take_offset(&unit, wide, &offset)
                              : take_offset(&unit, wide, &offset) && take(&unit, &address_size, 1);
    if (!taken) {
        return broken;
    }
    if (kind != DW_UT_compile && kind != DW_UT_partial) {
        return other_files;
    }
    return take_leb(&unit, &code) && code != 0 ? check_abbreviation(table, offset, code) : NULL;
}

/* The units one after the other: that is how a reader comes to each. */
static const char *check_units(struct bytes info, struct bytes table)
{
    while (info.left > 0) {
        uint32_t narrow;
        uint64_t length;
        if (!take(&info, &narrow, 4)) {
            return broken;
        }
        bool wide = narrow == UINT32_MAX;
        length = narrow;
        if ((wide && !take(&info, &length, 8)) || length > info.left) {
            return broken;
        }
        const char *bad = check_unit((struct bytes){info.at, length}, wide, table);
        if (bad) {
            return bad;
        }
        info.at += length;
        info.left -= length;
    }
    return NULL;
}

/* ---- Sections ----------------------------------------------------------------------------- */

struct sections {
    uint64_t total;
    struct bytes info;
    struct bytes abbreviations;
};

static bool read_section(const uint8_t *bytes, size_t size, const Elf64_Ehdr *header,
                         uint32_t index, Elf64_Shdr *section)
{
    uint64_t at = header->e_shoff + index * sizeof *section;
    if (at > size || size - at < sizeof *section) {
        return false;
    }
    memcpy(section, bytes + at, sizeof *section);
    return section->sh_type == SHT_NOBITS || section->sh_type == SHT_NULL ||
           (section->sh_offset <= size && section->sh_size <= size - section->sh_offset);
}

static bool is_named(const uint8_t *bytes, const Elf64_Shdr *names, const Elf64_Shdr *section,
                     const char *name)
{
    size_t length = strlen(name) + 1;
    return section->sh_name < names->sh_size && names->sh_size - section->sh_name >= length &&
           memcmp(bytes + names->sh_offset + section->sh_name, name, length) == 0;
}

static const char *read_sections(const uint8_t *bytes, size_t size, struct sections *out)
{
    Elf64_Ehdr header;
    Elf64_Shdr names;
    memcpy(&header, bytes, sizeof header);
    if (header.e_shnum == 0 || !read_section(bytes, size, &header, header.e_shstrndx, &names) ||
        names.sh_type != SHT_STRTAB) {
        return "its sections have no names";
    }
    for (uint32_t i = 0; i < header.e_shnum; i++) {
        Elf64_Shdr section;
        if (!read_section(bytes, size, &header, i, &section)) {
            return "a section is cut off";
        }
        if (section.sh_type == SHT_NOBITS || section.sh_type == SHT_NULL) {
            continue;
        }
        struct bytes content = {bytes + section.sh_offset, section.sh_size};
        out->total += section.sh_size;
        bool info = is_named(bytes, &names, &section, ".debug_info");
        bool abbreviations = is_named(bytes, &names, &section, ".debug_abbrev");
        if ((section.sh_flags & SHF_COMPRESSED) != 0 ||
            is_named(bytes, &names, &section, ".zdebug_info")) {
            return "a section is compressed";
        }
        if ((info && out->info.at) || (abbreviations && out->abbreviations.at) ||
            is_named(bytes, &names, &section, ".debug_types")) {
            return broken;
        }
        out->info = info ? content : out->info;
        out->abbreviations = abbreviations ? content : out->abbreviations;
    }
    return NULL;
}

const char *aee__debug_check(const uint8_t *bytes, size_t size)
{
    static const char *const links[] = {".gnu_debugaltlink", ".debug_sup", ".zdebug_", ".dwo"};
    struct sections sections = {.total = 0};
    if (size < sizeof(Elf64_Ehdr)) {
        return "a section is cut off";
    }
    const char *bad = read_sections(bytes, size, &sections);
    for (unsigned i = 0; i < sizeof links / sizeof links[0] && !bad; i++) {
        bad = memmem(bytes, size, links[i], strlen(links[i])) ? other_files : NULL;
    }
    if (!bad && sections.total > BYTES_MAX) {
        bad = "there is too much of it";
    }
    return bad ? bad : check_units(sections.info, sections.abbreviations);
}
