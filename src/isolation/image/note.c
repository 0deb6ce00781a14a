/* note.c: finds the AEE note and compares its ABI version with ours. */
#include <inttypes.h>
#include <string.h>

#include "aee_abi.h"
#include "base/checked.h"
#include "isolation/image/parser.h"

static aee_result check_version(const struct aee__image_parser *parser, uint32_t index,
                                uint64_t offset, uint64_t size)
{
    uint32_t version;
    if (size != sizeof version || !aee__elf_read(&parser->elf, offset, &version, sizeof version)) {
        return aee__elf_bad(&parser->elf,
                            "program header %" PRIu32 ": the AEE note has %" PRIu64
                            " bytes of descriptor, not 4",
                            index, size);
    }
    if (version != AEE_ABI_VERSION) {
        return aee__fail(parser->elf.error, AEE_ERR_ABI_VERSION,
                         "%s: built for ABI version %" PRIu32 ", but this library has version %u;"
                         " rebuild it with this library's aee_guest.h",
                         parser->elf.what, version, AEE_ABI_VERSION);
    }
    return AEE_OK;
}

static bool is_ours(const struct aee__elf *elf, uint64_t offset, const Elf64_Nhdr *note)
{
    char owner[sizeof AEE_ABI_NOTE_OWNER];
    return note->n_type == AEE_ABI_NOTE_TYPE && note->n_namesz == sizeof owner &&
           aee__elf_read(elf, offset + sizeof *note, owner, sizeof owner) &&
           memcmp(owner, AEE_ABI_NOTE_OWNER, sizeof owner) == 0;
}

/* Reads the notes of one segment. Name and descriptor are padded to 4 bytes, or to 8 where the
 * segment is so aligned (gABI, "Note Section"; .note.gnu.property is an example). */
static aee_result read_segment(const struct aee__image_parser *parser, uint32_t index, bool *found)
{
    const struct aee__elf *elf = &parser->elf;
    const Elf64_Phdr *header = &parser->headers[index];
    if (!aee__elf_has(elf, header->p_offset, header->p_filesz)) {
        return aee__elf_bad(elf,
                            "program header %" PRIu32 ": PT_NOTE with 0x%" PRIx64
                            " bytes at offset 0x%" PRIx64 " reaches beyond the file",
                            index, header->p_filesz, header->p_offset);
    }
    uint64_t align = header->p_align == 8 ? 8 : 4;
    uint64_t at = 0;
    Elf64_Nhdr note;
    while (at < header->p_filesz && header->p_filesz - at >= sizeof note) {
        uint64_t offset = header->p_offset + at;
        uint64_t size = header->p_filesz - at;
        if (!aee__elf_read(elf, offset, &note, sizeof note)) {
            break;
        }
        /* No overflow: sizes are 32 bits wide, sums 64. */
        uint64_t descriptor = (sizeof note + (uint64_t)note.n_namesz + align - 1) / align * align;
        if (descriptor + note.n_descsz > size) {
            return aee__elf_bad(elf,
                                "program header %" PRIu32 ": the note at 0x%" PRIx64
                                " (name %" PRIu32 ", descriptor %" PRIu32
                                " bytes) reaches beyond its segment",
                                index, at, note.n_namesz, note.n_descsz);
        }
        if (is_ours(elf, offset, &note)) {
            aee_result result = check_version(parser, index, offset + descriptor, note.n_descsz);
            if (result != AEE_OK) {
                return result;
            }
            *found = true;
        }
        at += (descriptor + note.n_descsz + align - 1) / align * align;
    }
    return AEE_OK;
}

aee_result aee__image_read_note(struct aee__image_parser *parser)
{
    bool found = false;
    for (uint32_t i = 0; i < parser->header_count; i++) {
        if (parser->headers[i].p_type != PT_NOTE) {
            continue;
        }
        aee_result result = read_segment(parser, i, &found);
        if (result != AEE_OK) {
            return result;
        }
    }
    if (!found) {
        return aee__fail(parser->elf.error, AEE_ERR_ABI_VERSION,
                         "%s: no PT_NOTE holds the AEE note with the ABI version; include"
                         " aee_guest.h in one of its sources and keep section %s when linking",
                         parser->elf.what, AEE_ABI_NOTE_SECTION);
    }
    return AEE_OK;
}
