/* segments.c: turns PT_LOAD headers into placed, sorted, page-aligned segments with their content,
 * and checks PT_TLS against them. */
#include <inttypes.h>
#include <string.h>

#include "aee_abi.h"
#include "base/checked.h"
#include "isolation/image/parser.h"

static bool is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

/* x86-64 pages cannot be present and unreadable, so write and execute bring read with them. */
static uint32_t rights_of(uint32_t flags)
{
    uint32_t rights = 0;
    rights |= (flags & (PF_R | PF_W | PF_X)) ? AEE__SEG_READ : 0u;
    rights |= (flags & PF_W) ? AEE__SEG_WRITE : 0u;
    rights |= (flags & PF_X) ? AEE__SEG_EXECUTE : 0u;
    return rights;
}

static aee_result check_sizes(const struct aee__elf *elf, uint32_t index, const Elf64_Phdr *header)
{
    uint64_t end;
    if (header->p_filesz > header->p_memsz) {
        return aee__elf_bad(elf,
                            "program header %" PRIu32 ": file size 0x%" PRIx64
                            " exceeds memory size 0x%" PRIx64,
                            index, header->p_filesz, header->p_memsz);
    }
    if (!aee__elf_has(elf, header->p_offset, header->p_filesz)) {
        return aee__elf_bad(elf,
                            "program header %" PRIu32 ": 0x%" PRIx64 " bytes at offset 0x%" PRIx64
                            " reach beyond the file's 0x%" PRIx64,
                            index, header->p_filesz, header->p_offset, elf->size);
    }
    if (!aee__add(header->p_vaddr, header->p_memsz, &end)) {
        return aee__elf_bad(elf,
                            "program header %" PRIu32 ": address 0x%" PRIx64 " plus size 0x%" PRIx64
                            " wraps around",
                            index, header->p_vaddr, header->p_memsz);
    }
    return AEE_OK;
}

static aee_result check_rights(const struct aee__elf *elf, uint32_t index, const Elf64_Phdr *header)
{
    uint32_t rights = rights_of(header->p_flags);
    if ((rights & AEE__SEG_WRITE) && (rights & AEE__SEG_EXECUTE)) {
        return aee__elf_bad(elf,
                            "program header %" PRIu32 ": segment is both writable and executable"
                            " (flags 0x%" PRIx32 ")",
                            index, header->p_flags);
    }
    if (rights == 0) {
        return aee__elf_bad(
            elf, "program header %" PRIu32 ": segment has no rights (flags 0x%" PRIx32 ")", index,
            header->p_flags);
    }
    if (header->p_align > 1 && !is_power_of_two(header->p_align)) {
        return aee__elf_bad(
            elf, "program header %" PRIu32 ": alignment 0x%" PRIx64 " is not a power of two", index,
            header->p_align);
    }
    return AEE_OK;
}

/* Fills loads[] with addresses as in the file; *lowest is the least of them, rounded to its page.
 */
static aee_result collect_loads(struct aee__image_parser *parser, uint64_t *lowest)
{
    const struct aee__elf *elf = &parser->elf;
    *lowest = UINT64_MAX;
    for (uint32_t i = 0; i < parser->header_count; i++) {
        const Elf64_Phdr *header = &parser->headers[i];
        if (header->p_type != PT_LOAD) {
            continue;
        }
        aee_result result = check_sizes(elf, i, header);
        if (result != AEE_OK) {
            return result;
        }
        if (header->p_memsz == 0) {
            continue; /* some linkers leave these behind */
        }
        result = check_rights(elf, i, header);
        if (result != AEE_OK) {
            return result;
        }
        if (parser->load_count == AEE__IMAGE_MAX_SEGMENTS) {
            return aee__elf_bad(elf, "program header %" PRIu32 ": more than %u PT_LOAD segments", i,
                                AEE__IMAGE_MAX_SEGMENTS);
        }
        parser->loads[parser->load_count++] = (struct aee__load){
            .gva = header->p_vaddr,
            .memory_size = header->p_memsz,
            .file_offset = header->p_offset,
            .file_size = header->p_filesz,
            .align = header->p_align,
            .rights = rights_of(header->p_flags),
            .index = i,
        };
        uint64_t page = aee__round_down(header->p_vaddr, AEE__PAGE_SIZE);
        *lowest = page < *lowest ? page : *lowest;
    }
    return AEE_OK;
}

/* Moves a load to where the component will see it. `lowest` is the image's first page. */
static aee_result place_load(const struct aee__image_parser *parser, struct aee__load *load,
                             uint64_t lowest)
{
    const struct aee__elf *elf = &parser->elf;
    uint64_t address = load->gva;
    bool fits = true;
    if (parser->header.e_type == ET_DYN) {
        fits = aee__add(AEE_GVA_IMAGE, address - lowest, &load->gva);
        if (load->align > 1 && parser->bias % load->align != 0) {
            return aee__elf_bad(elf,
                                "program header %" PRIu32 ": alignment 0x%" PRIx64
                                " does not hold when the image is placed at 0x%" PRIx64,
                                load->index, load->align, AEE_GVA_IMAGE);
        }
    }
    uint64_t end = 0;
    uint64_t page_end = 0;
    fits = fits && aee__add(load->gva, load->memory_size, &end) &&
           aee__round_up(end, AEE__PAGE_SIZE, &page_end) && load->gva >= AEE_GVA_IMAGE &&
           page_end <= AEE_GVA_IMAGE_END;
    if (!fits) {
        return aee__elf_bad(elf,
                            "program header %" PRIu32 ": address 0x%" PRIx64 " with size 0x%" PRIx64
                            " lies outside [0x%" PRIx64 ", 0x%" PRIx64 ")",
                            load->index, address, load->memory_size, AEE_GVA_IMAGE,
                            AEE_GVA_IMAGE_END);
    }
    return AEE_OK;
}

static aee_result place_loads(struct aee__image_parser *parser, uint64_t lowest)
{
    /* The bias may be "negative": addresses are added to it modulo 2^64. */
    parser->bias = parser->header.e_type == ET_DYN ? AEE_GVA_IMAGE - lowest : 0;
    for (uint32_t i = 0; i < parser->load_count; i++) {
        aee_result result = place_load(parser, &parser->loads[i], lowest);
        if (result != AEE_OK) {
            return result;
        }
    }
    return AEE_OK;
}

static void sort_loads(struct aee__image_parser *parser)
{
    for (uint32_t i = 1; i < parser->load_count; i++) {
        struct aee__load load = parser->loads[i];
        uint32_t to = i;
        for (; to > 0 && parser->loads[to - 1].gva > load.gva; to--) {
            parser->loads[to] = parser->loads[to - 1];
        }
        parser->loads[to] = load;
    }
}

static void start_segment(struct aee__image *image, const struct aee__load *load)
{
    struct aee__segment *segment = &image->segments[image->segment_count++];
    segment->start = aee__round_down(load->gva, AEE__PAGE_SIZE);
    segment->data_start = load->gva;
    segment->rights = load->rights;
}

/* Checks a load against the one before it; *shares says that both touch one page. */
static aee_result check_neighbours(const struct aee__image_parser *parser,
                                   const struct aee__load *before, const struct aee__load *load,
                                   bool *shares)
{
    uint64_t end = before->gva + before->memory_size;
    if (load->gva < end) {
        return aee__elf_bad(&parser->elf,
                            "program headers %" PRIu32 " and %" PRIu32 " overlap at 0x%" PRIx64,
                            before->index, load->index, load->gva);
    }
    uint64_t page = aee__round_down(load->gva, AEE__PAGE_SIZE);
    *shares = page < end;
    if (*shares && before->rights != load->rights) {
        return aee__elf_bad(&parser->elf,
                            "program headers %" PRIu32 " and %" PRIu32
                            " overlap: they share the page at 0x%" PRIx64 " with different rights",
                            before->index, load->index, page);
    }
    return AEE_OK;
}

/* Makes segments of the sorted loads; those that share a page with equal rights become one. */
static aee_result build_segments(struct aee__image_parser *parser)
{
    struct aee__image *image = parser->image;
    for (uint32_t i = 0; i < parser->load_count; i++) {
        const struct aee__load *load = &parser->loads[i];
        bool shares = false;
        if (i > 0) {
            aee_result result = check_neighbours(parser, load - 1, load, &shares);
            if (result != AEE_OK) {
                return result;
            }
        }
        if (!shares) {
            start_segment(image, load);
        }
        struct aee__segment *segment = &image->segments[image->segment_count - 1];
        uint64_t end = load->gva + load->memory_size; /* place_load() checked both sums */
        segment->size = (end - segment->start + AEE__PAGE_SIZE - 1) & ~(AEE__PAGE_SIZE - 1);
        if (load->file_size > 0) {
            segment->data_start = segment->data_size > 0 ? segment->data_start : load->gva;
            segment->data_size = load->gva + load->file_size - segment->data_start;
        }
    }
    return AEE_OK;
}

static aee_result check_whole(const struct aee__image_parser *parser)
{
    const struct aee__image *image = parser->image;
    uint64_t total = 0; /* at most 16 segments of at most 508 MiB */
    bool has_code = false;
    for (uint32_t i = 0; i < image->segment_count; i++) {
        total += image->segments[i].size;
        has_code = has_code || (image->segments[i].rights & AEE__SEG_EXECUTE);
    }
    if (total > AEE__IMAGE_MAX_MEMORY) {
        return aee__elf_bad(&parser->elf,
                            "its segments take 0x%" PRIx64 " bytes of memory, more than 0x%" PRIx64,
                            total, AEE__IMAGE_MAX_MEMORY);
    }
    if (!has_code) {
        return aee__elf_bad(&parser->elf, "none of %" PRIu32 " segments is executable",
                            image->segment_count);
    }
    return AEE_OK;
}

static aee_result copy_content(struct aee__image_parser *parser)
{
    struct aee__image *image = parser->image;
    size_t size = 0; /* at most AEE__IMAGE_MAX_MEMORY */
    for (uint32_t i = 0; i < image->segment_count; i++) {
        image->segments[i].data_offset = size;
        size += image->segments[i].data_size;
    }
    if (size == 0) {
        return AEE_OK;
    }
    image->data = aee__alloc_zero(parser->alloc, 1, size);
    if (!image->data) {
        return aee__elf_no_memory(&parser->elf, size, "segment contents");
    }
    image->data_size = size;
    for (uint32_t i = 0; i < parser->load_count; i++) {
        const struct aee__load *load = &parser->loads[i];
        uint8_t *to = aee__image_content(image, load->gva, load->file_size);
        if (load->file_size > 0 &&
            !aee__elf_read(&parser->elf, load->file_offset, to, load->file_size)) {
            return aee__elf_bad(&parser->elf, "program header %" PRIu32 ": unreadable",
                                load->index);
        }
    }
    return AEE_OK;
}

aee_result aee__image_read_segments(struct aee__image_parser *parser)
{
    uint64_t lowest;
    aee_result result = collect_loads(parser, &lowest);
    if (result == AEE_OK) {
        result = place_loads(parser, lowest);
    }
    if (result == AEE_OK) {
        sort_loads(parser);
        result = build_segments(parser);
    }
    if (result == AEE_OK) {
        result = check_whole(parser);
    }
    if (result == AEE_OK) {
        result = copy_content(parser);
    }
    return result;
}

static aee_result check_tls(const struct aee__image_parser *parser, const Elf64_Phdr *header,
                            uint64_t align)
{
    const struct aee__elf *elf = &parser->elf;
    uint32_t index = (uint32_t)(header - parser->headers);
    if (header->p_filesz > header->p_memsz) {
        return aee__elf_bad(elf,
                            "program header %" PRIu32 ": PT_TLS file size 0x%" PRIx64
                            " exceeds memory size 0x%" PRIx64,
                            index, header->p_filesz, header->p_memsz);
    }
    if (header->p_memsz > AEE_TLS_MAX) {
        return aee__elf_bad(
            elf, "program header %" PRIu32 ": PT_TLS size 0x%" PRIx64 " exceeds 0x%" PRIx64, index,
            header->p_memsz, AEE_TLS_MAX);
    }
    if (!is_power_of_two(align) || align > AEE__PAGE_SIZE) {
        return aee__elf_bad(elf,
                            "program header %" PRIu32 ": PT_TLS alignment 0x%" PRIx64
                            " is not a power of two up to 4096",
                            index, align);
    }
    /* Variant II of the TLS ABI puts the block at a multiple of its alignment below the thread
     * pointer, so offsets in it are only right where the template is aligned as well. */
    if (header->p_vaddr % align != 0) {
        return aee__elf_bad(elf,
                            "program header %" PRIu32 ": PT_TLS address 0x%" PRIx64
                            " is not aligned to 0x%" PRIx64,
                            index, header->p_vaddr, align);
    }
    if (header->p_filesz > 0 &&
        !aee__image_content(parser->image, header->p_vaddr + parser->bias, header->p_filesz)) {
        return aee__elf_bad(elf,
                            "program header %" PRIu32 ": PT_TLS template 0x%" PRIx64
                            " with 0x%" PRIx64 " bytes is not in the content of a segment",
                            index, header->p_vaddr, header->p_filesz);
    }
    return AEE_OK;
}

aee_result aee__image_read_tls(struct aee__image_parser *parser)
{
    const Elf64_Phdr *header;
    aee_result result = aee__image_one_header(parser, PT_TLS, "PT_TLS", &header);
    if (result != AEE_OK || !header) {
        return result;
    }
    uint64_t align = header->p_align > 0 ? header->p_align : 1;
    result = check_tls(parser, header, align);
    if (result != AEE_OK || header->p_memsz == 0) {
        return result;
    }
    struct aee__image *image = parser->image;
    image->tls_data = header->p_filesz > 0 ? header->p_vaddr + parser->bias : 0;
    image->tls_file_size = header->p_filesz;
    image->tls_memory_size = header->p_memsz;
    image->tls_align = align;
    return AEE_OK;
}

bool aee__image_content_offset(const struct aee__image_parser *parser, uint64_t gva,
                               uint64_t *offset, uint64_t *available)
{
    for (uint32_t i = 0; i < parser->load_count; i++) {
        const struct aee__load *load = &parser->loads[i];
        if (gva >= load->gva && gva - load->gva < load->file_size) {
            *offset = load->file_offset + (gva - load->gva);
            *available = load->file_size - (gva - load->gva);
            return true;
        }
    }
    return false;
}

uint8_t *aee__image_content(const struct aee__image *image, uint64_t gva, uint64_t size)
{
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct aee__segment *segment = &image->segments[i];
        if (aee__within(gva, size, segment->data_start, segment->data_start + segment->data_size)) {
            return image->data + segment->data_offset + (gva - segment->data_start);
        }
    }
    return NULL;
}

const struct aee__segment *aee__image_code_at(const struct aee__image *image, uint64_t gva)
{
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct aee__segment *segment = &image->segments[i];
        if ((segment->rights & AEE__SEG_EXECUTE) && gva >= segment->start &&
            gva - segment->start < segment->size) {
            return segment;
        }
    }
    return NULL;
}
