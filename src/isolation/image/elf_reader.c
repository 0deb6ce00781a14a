#include "isolation/image/elf_reader.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

bool aee__elf_has(const struct aee__elf *elf, uint64_t offset, uint64_t size)
{
    return aee__within(offset, size, 0, elf->size);
}

bool aee__elf_read(const struct aee__elf *elf, uint64_t offset, void *out, size_t size)
{
    if (!aee__elf_has(elf, offset, size)) {
        return false;
    }
    if (size > 0) {
        memcpy(out, elf->bytes + offset, size);
    }
    return true;
}

static struct aee__elf_quoted quote_bytes(const uint8_t *bytes, uint64_t size)
{
    struct aee__elf_quoted quoted = {.text = ""};
    size_t length = 0;
    while (length < size && length < sizeof quoted.text - 1 && bytes[length] != 0) {
        uint8_t byte = bytes[length];
        quoted.text[length] = (char)(byte >= 0x20 && byte < 0x7f ? byte : '?');
        length++;
    }
    return quoted;
}

struct aee__elf_quoted aee__elf_quote_at(const struct aee__elf *elf, uint64_t offset, uint64_t end)
{
    uint64_t limit = end < elf->size ? end : elf->size;
    if (offset >= limit) {
        return quote_bytes(NULL, 0);
    }
    return quote_bytes(elf->bytes + offset, limit - offset);
}

struct aee__elf_quoted aee__elf_quote(const char *name)
{
    return quote_bytes((const uint8_t *)name, UINT64_MAX);
}

aee_result aee__elf_bad(const struct aee__elf *elf, const char *format, ...)
{
    char sentence[sizeof elf->error->text];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return aee__fail(elf->error, AEE_ERR_BAD_IMAGE, "%s: %s", elf->what, sentence);
}

aee_result aee__elf_no_memory(const struct aee__elf *elf, uint64_t size, const char *purpose)
{
    return aee__fail(elf->error, AEE_ERR_NO_MEMORY, "%s: no memory for %" PRIu64 " bytes of %s",
                     elf->what, size, purpose);
}
