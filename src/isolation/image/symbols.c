/* symbols.c: exported functions with their hash table, and all functions by address. */
#include <inttypes.h>
#include <string.h>

#include "aee_abi.h"
#include "base/text.h"
#include "isolation/image/parser.h"

struct symbol_table {
    uint32_t index;        /* of its section */
    uint64_t offset;       /* of its entries in the file */
    uint64_t count;        /* entries, the reserved entry 0 included */
    uint64_t strings_size; /* of its names, which are at image->strings */
};

struct function {
    uint64_t gva;
    uint64_t size;
    const char *name; /* NULL: nothing that we keep */
    bool exported;
};

/* ---- Names -------------------------------------------------------------------------------- */

static aee_result check_linked(const struct aee__image_parser *parser, uint32_t index,
                               const Elf64_Shdr *symbols, Elf64_Shdr *strings)
{
    const struct aee__elf *elf = &parser->elf;
    if (symbols->sh_entsize != sizeof(Elf64_Sym) || symbols->sh_size % sizeof(Elf64_Sym) != 0) {
        return aee__elf_bad(elf,
                            "section %" PRIu32 ": symbol table of 0x%" PRIx64
                            " bytes has entries of %" PRIu64 " bytes, not 24",
                            index, symbols->sh_size, symbols->sh_entsize);
    }
    if (symbols->sh_link == SHN_UNDEF || symbols->sh_link >= parser->section_count) {
        return aee__elf_bad(elf, "section %" PRIu32 ": sh_link %" PRIu32 " names no string table",
                            index, symbols->sh_link);
    }
    aee_result result = aee__image_section(parser, symbols->sh_link, strings);
    if (result != AEE_OK) {
        return result;
    }
    if (strings->sh_type != SHT_STRTAB || strings->sh_size == 0 ||
        !aee__elf_has(elf, strings->sh_offset, strings->sh_size)) {
        return aee__elf_bad(elf,
                            "section %" PRIu32 ": not a string table for section %" PRIu32
                            " (type %" PRIu32 ", size 0x%" PRIx64 ")",
                            symbols->sh_link, index, strings->sh_type, strings->sh_size);
    }
    return AEE_OK;
}

/* Copies the string table as a whole: symbols may share tails, so that copies of single names
 * could take far more memory than the file has. */
static aee_result copy_strings(struct aee__image_parser *parser, uint32_t index,
                               const Elf64_Shdr *strings)
{
    struct aee__image *image = parser->image;
    image->strings = aee__alloc_zero(parser->alloc, 1, strings->sh_size);
    if (!image->strings) {
        return aee__elf_no_memory(&parser->elf, strings->sh_size, "symbol names");
    }
    image->strings_size = strings->sh_size;
    if (!aee__elf_read(&parser->elf, strings->sh_offset, image->strings, strings->sh_size) ||
        image->strings[image->strings_size - 1] != 0) {
        return aee__elf_bad(&parser->elf,
                            "section %" PRIu32 ": string table does not end with a terminator",
                            index);
    }
    return AEE_OK;
}

static aee_result open_table(struct aee__image_parser *parser, struct symbol_table *table)
{
    Elf64_Shdr symbols = {0};
    Elf64_Shdr strings = {0};
    uint32_t index = parser->symbol_section;
    aee_result result = aee__image_section(parser, index, &symbols);
    if (result == AEE_OK) {
        result = check_linked(parser, index, &symbols, &strings);
    }
    if (result == AEE_OK) {
        result = copy_strings(parser, symbols.sh_link, &strings);
    }
    if (result == AEE_OK) {
        *table = (struct symbol_table){
            .index = index,
            .offset = symbols.sh_offset,
            .count = symbols.sh_size / sizeof(Elf64_Sym),
            .strings_size = strings.sh_size,
        };
    }
    return result;
}

/* ---- One symbol --------------------------------------------------------------------------- */

static aee_result read_symbol(const struct aee__image_parser *parser,
                              const struct symbol_table *table, uint64_t number, Elf64_Sym *symbol)
{
    const struct aee__elf *elf = &parser->elf;
    if (!aee__elf_read(elf, table->offset + number * sizeof *symbol, symbol, sizeof *symbol)) {
        return aee__elf_bad(elf, "section %" PRIu32 ": symbol %" PRIu64 " is beyond the file",
                            table->index, number);
    }
    if (symbol->st_name >= table->strings_size) {
        return aee__elf_bad(elf,
                            "section %" PRIu32 ": name 0x%" PRIx32 " of symbol %" PRIu64
                            " is beyond its string table",
                            table->index, symbol->st_name, number);
    }
    if (symbol->st_shndx >= parser->section_count && symbol->st_shndx < SHN_LORESERVE) {
        return aee__elf_bad(elf,
                            "section %" PRIu32 ": symbol %" PRIu64 " is in section %u of %" PRIu32,
                            table->index, number, symbol->st_shndx, parser->section_count);
    }
    return AEE_OK;
}

static bool is_exported(const struct aee__image_parser *parser, const Elf64_Sym *symbol)
{
    uint32_t binding = ELF64_ST_BIND(symbol->st_info);
    uint32_t visibility = ELF64_ST_VISIBILITY(symbol->st_other);
    Elf64_Shdr section;
    if ((binding != STB_GLOBAL && binding != STB_WEAK) ||
        (visibility != STV_DEFAULT && visibility != STV_PROTECTED)) {
        return false;
    }
    return !parser->has_export_section ||
           (aee__image_section(parser, symbol->st_shndx, &section) == AEE_OK &&
            aee__image_section_named(parser, &section, AEE_ABI_EXPORT_SECTION));
}

/* Names of exports come back in error sentences, which people read in terminals. */
static bool is_printable(const char *name)
{
    char clean[AEE__IMAGE_MAX_NAME + 1];
    aee__text_copy(clean, sizeof clean, name, sizeof clean);
    return strcmp(clean, name) == 0;
}

static aee_result check_export(const struct aee__image_parser *parser,
                               const struct symbol_table *table, uint64_t number, const char *name,
                               const Elf64_Sym *symbol)
{
    struct aee__elf_quoted quoted = aee__elf_quote(name);
    if (!aee__image_code_at(parser->image, symbol->st_value + parser->bias)) {
        return aee__elf_bad(&parser->elf,
                            "section %" PRIu32 ": exported function \"%s\" at 0x%" PRIx64
                            " is in no executable segment",
                            table->index, quoted.text, symbol->st_value);
    }
    if (strnlen(name, AEE__IMAGE_MAX_NAME + 1) > AEE__IMAGE_MAX_NAME) {
        return aee__elf_bad(&parser->elf,
                            "section %" PRIu32 ": exported name \"%s...\" (symbol %" PRIu64
                            ") is longer than %u bytes",
                            table->index, quoted.text, number, AEE__IMAGE_MAX_NAME);
    }
    if (!is_printable(name)) {
        return aee__elf_bad(&parser->elf,
                            "section %" PRIu32 ": exported name of symbol %" PRIu64
                            " has control characters",
                            table->index, number);
    }
    return AEE_OK;
}

static aee_result read_function(const struct aee__image_parser *parser,
                                const struct symbol_table *table, uint64_t number,
                                struct function *out)
{
    Elf64_Sym symbol;
    *out = (struct function){.name = NULL};
    aee_result result = read_symbol(parser, table, number, &symbol);
    if (result != AEE_OK) {
        return result;
    }
    const char *name = parser->image->strings + symbol.st_name;
    if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF ||
        symbol.st_shndx >= SHN_LORESERVE || name[0] == 0) {
        return AEE_OK;
    }
    out->gva = symbol.st_value + parser->bias; /* modulo 2^64: the look-up refuses what wraps */
    out->exported = is_exported(parser, &symbol);
    if (out->exported) {
        result = check_export(parser, table, number, name, &symbol);
        if (result != AEE_OK) {
            return result;
        }
    }
    const struct aee__segment *segment = aee__image_code_at(parser->image, out->gva);
    if (segment) {
        uint64_t room = segment->size - (out->gva - segment->start);
        out->size = symbol.st_size < room ? symbol.st_size : room;
        out->name = name;
    }
    return AEE_OK;
}

/* ---- All symbols -------------------------------------------------------------------------- */

struct counts {
    uint32_t symbols;
    uint32_t exports;
};

static aee_result count_functions(const struct aee__image_parser *parser,
                                  const struct symbol_table *table, struct counts *counts)
{
    *counts = (struct counts){0};
    for (uint64_t i = 1; i < table->count; i++) {
        struct function function;
        aee_result result = read_function(parser, table, i, &function);
        if (result != AEE_OK) {
            return result;
        }
        counts->symbols += function.name ? 1 : 0;
        counts->exports += function.name && function.exported ? 1 : 0;
        if (counts->symbols > AEE__IMAGE_MAX_SYMBOLS) {
            return aee__elf_bad(&parser->elf,
                                "section %" PRIu32 ": more than %u functions; strip the image",
                                table->index, AEE__IMAGE_MAX_SYMBOLS);
        }
        if (counts->exports > AEE__IMAGE_MAX_EXPORTS) {
            return aee__elf_bad(&parser->elf,
                                "section %" PRIu32 ": more than %u exported functions; put those"
                                " that the engine calls into section %s",
                                table->index, AEE__IMAGE_MAX_EXPORTS, AEE_ABI_EXPORT_SECTION);
        }
    }
    return AEE_OK;
}

static aee_result allocate(struct aee__image_parser *parser, const struct counts *counts)
{
    struct aee__image *image = parser->image;
    if (counts->symbols > 0) {
        image->symbols = aee__alloc_zero(parser->alloc, counts->symbols, sizeof *image->symbols);
        if (!image->symbols) {
            return aee__elf_no_memory(&parser->elf, counts->symbols * sizeof *image->symbols,
                                      "symbols");
        }
        image->symbol_count = counts->symbols;
    }
    if (counts->exports > 0) {
        image->exports = aee__alloc_zero(parser->alloc, counts->exports, sizeof *image->exports);
        if (!image->exports) {
            return aee__elf_no_memory(&parser->elf, counts->exports * sizeof *image->exports,
                                      "exports");
        }
        image->export_count = counts->exports;
    }
    return AEE_OK;
}

static aee_result fill(struct aee__image_parser *parser, const struct symbol_table *table)
{
    struct aee__image *image = parser->image;
    uint32_t symbols = 0;
    uint32_t exports = 0;
    for (uint64_t i = 1; i < table->count; i++) {
        struct function function;
        aee_result result = read_function(parser, table, i, &function);
        if (result != AEE_OK) {
            return result;
        }
        if (function.name && symbols < image->symbol_count) {
            image->symbols[symbols++] = (struct aee__symbol){
                .gva = function.gva, .size = function.size, .name = function.name};
        }
        if (function.name && function.exported && exports < image->export_count) {
            image->exports[exports++] =
                (struct aee__export){.gva = function.gva, .name = function.name};
        }
    }
    /* The caller's bytes may lie in memory that somebody else writes to. */
    if (symbols != image->symbol_count || exports != image->export_count) {
        return aee__elf_bad(&parser->elf, "section %" PRIu32 ": changed while it was read",
                            table->index);
    }
    return AEE_OK;
}

/* ---- By address -------------------------------------------------------------------------------
 */

/* At equal addresses the larger symbol comes last and is the one that is found. */
static bool is_before(const struct aee__symbol *a, const struct aee__symbol *b)
{
    return a->gva != b->gva ? a->gva < b->gva : a->size < b->size;
}

static void sift_down(struct aee__symbol *symbols, size_t root, size_t count)
{
    struct aee__symbol moved = symbols[root];
    for (size_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
        if (child + 1 < count && is_before(&symbols[child], &symbols[child + 1])) {
            child++;
        }
        if (!is_before(&moved, &symbols[child])) {
            break;
        }
        symbols[root] = symbols[child];
        root = child;
    }
    symbols[root] = moved;
}

/* Heap sort: no order of a hostile file makes it slow, and it allocates nothing (qsort() may). */
void aee__image_sort_symbols(struct aee__symbol *symbols, size_t count)
{
    for (size_t i = count / 2; i > 0; i--) {
        sift_down(symbols, i - 1, count);
    }
    for (size_t i = count; i > 1; i--) {
        struct aee__symbol last = symbols[i - 1];
        symbols[i - 1] = symbols[0];
        symbols[0] = last;
        sift_down(symbols, 0, i - 1);
    }
}

/* A symbol without size (assembly) reaches to the end of its segment; the look-up stops at the next
 * symbol anyway. After sorting, so that a name with a size comes behind it. */
static void complete_sizes(struct aee__image *image)
{
    for (uint32_t i = 0; i < image->symbol_count; i++) {
        struct aee__symbol *symbol = &image->symbols[i];
        const struct aee__segment *segment = aee__image_code_at(image, symbol->gva);
        if (symbol->size == 0 && segment) {
            symbol->size = segment->start + segment->size - symbol->gva;
        }
    }
}

const struct aee__symbol *aee__image_symbol_in(const struct aee__symbol *symbols, uint32_t count,
                                               uint64_t gva)
{
    uint32_t low = 0; /* symbols before it start at or below gva, those from high on above */
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (symbols[middle].gva <= gva) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && gva - symbols[low - 1].gva < symbols[low - 1].size ? &symbols[low - 1] : NULL;
}

const char *aee__image_symbol_at(const struct aee__image *image, uint64_t gva, uint64_t *offset)
{
    const struct aee__symbol *symbol =
        aee__image_symbol_in(image->symbols, image->symbol_count, gva);
    if (symbol && offset) {
        *offset = gva - symbol->gva;
    }
    return symbol ? symbol->name : NULL;
}

/* ---- By name ----------------------------------------------------------------------------------
 */

/* FNV-1a (Fowler, Noll, Vo), its high half folded into the bits that the mask keeps. */
static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++) {
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    }
    return hash ^ (hash >> 16);
}

static aee_result insert(struct aee__image_parser *parser, uint32_t index)
{
    struct aee__image *image = parser->image;
    const char *name = image->exports[index].name;
    uint32_t slot = hash_of(name) & image->hash_mask;
    for (uint32_t probe = 0; probe < AEE__IMAGE_MAX_PROBES; probe++) {
        uint32_t other = image->hash[slot];
        if (other == 0) {
            image->hash[slot] = index + 1;
            return AEE_OK;
        }
        if (strcmp(image->exports[other - 1].name, name) == 0) {
            return aee__elf_bad(&parser->elf, "function \"%s\" is exported twice",
                                aee__elf_quote(name).text);
        }
        slot = (slot + 1) & image->hash_mask;
    }
    return aee__elf_bad(&parser->elf, "too many exported names have the hash of \"%s\"",
                        aee__elf_quote(name).text);
}

static aee_result build_hash(struct aee__image_parser *parser)
{
    struct aee__image *image = parser->image;
    if (image->export_count == 0) {
        return AEE_OK;
    }
    uint32_t size = AEE__IMAGE_MAX_PROBES; /* at least, so that a look-up that fails can end */
    while (size < image->export_count * 4) {
        size *= 2;
    }
    image->hash = aee__alloc_zero(parser->alloc, size, sizeof *image->hash);
    if (!image->hash) {
        return aee__elf_no_memory(&parser->elf, size * sizeof *image->hash, "export table");
    }
    image->hash_mask = size - 1;
    for (uint32_t i = 0; i < image->export_count; i++) {
        aee_result result = insert(parser, i);
        if (result != AEE_OK) {
            return result;
        }
    }
    return AEE_OK;
}

int32_t aee__image_find_export(const struct aee__image *image, const char *name)
{
    if (image->export_count == 0) {
        return -1;
    }
    uint32_t slot = hash_of(name) & image->hash_mask;
    for (uint32_t probe = 0; probe < AEE__IMAGE_MAX_PROBES; probe++) {
        uint32_t index = image->hash[slot];
        if (index == 0) {
            return -1;
        }
        if (strcmp(image->exports[index - 1].name, name) == 0) {
            return (int32_t)(index - 1);
        }
        slot = (slot + 1) & image->hash_mask;
    }
    return -1;
}

aee_result aee__image_read_symbols(struct aee__image_parser *parser)
{
    struct symbol_table table;
    struct counts counts;
    if (parser->symbol_section == 0) {
        return AEE_OK;
    }
    aee_result result = open_table(parser, &table);
    if (result == AEE_OK) {
        result = count_functions(parser, &table, &counts);
    }
    if (result == AEE_OK) {
        result = allocate(parser, &counts);
    }
    if (result == AEE_OK) {
        result = fill(parser, &table);
    }
    if (result == AEE_OK) {
        aee__image_sort_symbols(parser->image->symbols, parser->image->symbol_count);
        complete_sizes(parser->image);
        result = aee__image_read_variables(parser, table.offset, table.count);
    }
    if (result == AEE_OK) {
        result = build_hash(parser);
    }
    return result;
}
