/* variables.c: what an image's symbol table says of its data, for crash reports. Nothing here makes
 * an image invalid: what makes no sense is left out. */
#include <string.h>

#include "isolation/image/parser.h"

static bool lies_in_segment(const struct aee__image *image, uint64_t gva, uint64_t size)
{
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct aee__segment *segment = &image->segments[i];
        if (gva - segment->start < segment->size) {
            return size <= segment->size - (gva - segment->start);
        }
    }
    return false;
}

static bool read_variable(const struct aee__image_parser *parser, uint64_t at,
                          struct aee__symbol *out)
{
    const struct aee__image *image = parser->image;
    Elf64_Sym symbol;
    if (!aee__elf_read(&parser->elf, at, &symbol, sizeof symbol) ||
        ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT || symbol.st_shndx == SHN_UNDEF ||
        symbol.st_shndx >= SHN_LORESERVE || symbol.st_size == 0 ||
        symbol.st_name >= image->strings_size) {
        return false;
    }
    *out = (struct aee__symbol){.gva = symbol.st_value + parser->bias, /* modulo 2^64 */
                                .size = symbol.st_size,
                                .name = image->strings + symbol.st_name};
    return out->name[0] != '\0' && lies_in_segment(image, out->gva, out->size);
}

aee_result aee__image_read_variables(struct aee__image_parser *parser, uint64_t offset,
                                     uint64_t count)
{
    struct aee__image *image = parser->image;
    struct aee__symbol found;
    uint32_t wanted = 0;
    for (uint64_t i = 1; i < count && wanted < AEE__IMAGE_MAX_SYMBOLS; i++) {
        wanted += read_variable(parser, offset + i * sizeof(Elf64_Sym), &found);
    }
    if (wanted == 0) {
        return AEE_OK;
    }
    image->variables = aee__alloc_zero(parser->alloc, wanted, sizeof *image->variables);
    if (!image->variables) {
        return aee__elf_no_memory(&parser->elf, wanted * sizeof *image->variables, "variables");
    }
    image->variable_count = wanted; /* of what is allocated: the bytes may change meanwhile */
    uint32_t used = 0;
    for (uint64_t i = 1; i < count && used < wanted; i++) {
        used += read_variable(parser, offset + i * sizeof(Elf64_Sym), &image->variables[used]);
    }
    if (used < wanted) {
        memset(&image->variables[used], 0, (wanted - used) * sizeof *image->variables);
    }
    aee__image_sort_symbols(image->variables, wanted);
    return AEE_OK;
}

const char *aee__image_variable_at(const struct aee__image *image, uint64_t gva, uint64_t *offset)
{
    const struct aee__symbol *symbol =
        aee__image_symbol_in(image->variables, image->variable_count, gva);
    if (symbol && offset) {
        *offset = gva - symbol->gva;
    }
    return symbol ? symbol->name : NULL;
}

bool aee__image_find_variable(const struct aee__image *image, const char *name, uint64_t *gva,
                              uint64_t *size)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < image->variable_count; i++) {
        const struct aee__symbol *symbol = &image->variables[i];
        if (symbol->name && strcmp(symbol->name, name) == 0) {
            *gva = symbol->gva;
            *size = symbol->size;
            found++;
        }
    }
    return found == 1;
}
