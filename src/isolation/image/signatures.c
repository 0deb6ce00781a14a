/* signatures.c: reads "name=result:arguments" entries and attaches them to the exports they name.
 */
#include <inttypes.h>
#include <string.h>

#include "aee_abi.h"
#include "isolation/image/parser.h"

/* "i:ii", "v:", "d:did", or "b" for functions that take and give a byte payload. */
static bool is_signature(const char *text)
{
    if (strcmp(text, "b") == 0) {
        return true;
    }
    if ((text[0] != 'i' && text[0] != 'd' && text[0] != 'v') || text[1] != ':') {
        return false;
    }
    const char *arguments = text + 2;
    size_t count = strspn(arguments, "id");
    return arguments[count] == 0 && count <= AEE_MAX_ARGS;
}

static uint32_t request_flags(const char *signature)
{
    if (signature[0] == 'b') {
        return AEE_CALL_BYTES;
    }
    uint32_t flags = AEE_CALL_ARGS;
    uint32_t count = 0;
    for (const char *type = signature + 2; *type; type++) {
        flags |= *type == 'd' ? 1u << (AEE_CALL_DOUBLE_SHIFT + count) : 0;
        count++;
    }
    return flags | count << AEE_CALL_COUNT_SHIFT;
}

/* `entry` is in image->signatures; its name and signature become strings of their own. Entries for
 * functions that are not exported are left alone: the linker may have dropped the function. */
static aee_result attach(struct aee__image_parser *parser, char *entry)
{
    struct aee__elf_quoted quoted = aee__elf_quote(entry);
    char *equals = strchr(entry, '=');
    if (!equals || equals == entry || !is_signature(equals + 1)) {
        return aee__elf_bad(&parser->elf,
                            "section %" PRIu32 ": malformed signature \"%s\", not"
                            " name=result:arguments",
                            parser->signature_section, quoted.text);
    }
    *equals = 0;
    int32_t index = aee__image_find_export(parser->image, entry);
    if (index < 0) {
        return AEE_OK;
    }
    struct aee__export *export = &parser->image->exports[index];
    if (export->signature && strcmp(export->signature, equals + 1) != 0) {
        return aee__elf_bad(&parser->elf,
                            "section %" PRIu32 ": signature \"%s\" contradicts an earlier \"%s\"",
                            parser->signature_section, quoted.text, export->signature);
    }
    export->signature = equals + 1;
    export->flags = request_flags(export->signature);
    return AEE_OK;
}

static aee_result copy_section(struct aee__image_parser *parser)
{
    struct aee__image *image = parser->image;
    Elf64_Shdr section;
    aee_result result = aee__image_section(parser, parser->signature_section, &section);
    if (result != AEE_OK || section.sh_size == 0) {
        return result;
    }
    if (!aee__elf_has(&parser->elf, section.sh_offset, section.sh_size)) {
        return aee__elf_bad(&parser->elf, "section %" PRIu32 ": reaches beyond the file",
                            parser->signature_section);
    }
    image->signatures = aee__alloc_zero(parser->alloc, 1, section.sh_size);
    if (!image->signatures) {
        return aee__elf_no_memory(&parser->elf, section.sh_size, "signatures");
    }
    image->signatures_size = section.sh_size;
    (void)aee__elf_read(&parser->elf, section.sh_offset, image->signatures, section.sh_size);
    if (image->signatures[image->signatures_size - 1] != 0) {
        return aee__elf_bad(&parser->elf,
                            "section %" PRIu32 ": signatures do not end with a terminator",
                            parser->signature_section);
    }
    return AEE_OK;
}

aee_result aee__image_read_signatures(struct aee__image_parser *parser)
{
    struct aee__image *image = parser->image;
    if (parser->signature_section == 0) {
        return AEE_OK;
    }
    aee_result result = copy_section(parser);
    size_t at = 0;
    while (result == AEE_OK && at < image->signatures_size) {
        size_t length = strlen(image->signatures + at); /* copy_section() saw a last terminator */
        if (length > 0) {
            result = attach(parser, image->signatures + at);
        }
        at += length + 1;
    }
    return result;
}
