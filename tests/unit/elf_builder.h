/* elf_builder.h: a complete small component image as one C struct, for tests that break it. The
 * struct is the file: its members lie in it as in memory, so a test sets a field and has broken
 * that field of the file. Owns nothing except what elf_blob_append() allocates. */
#ifndef AEE_TESTS_UNIT_ELF_BUILDER_H
#define AEE_TESTS_UNIT_ELF_BUILDER_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "aee_abi.h"
#include "isolation/image/image.h"

enum elf_header { /* index in headers[] */
                  ELF_H_RODATA,
                  ELF_H_CODE,
                  ELF_H_DATA,
                  ELF_H_DYNAMIC,
                  ELF_H_NOTE,
                  ELF_H_TLS,
                  ELF_H_STACK,
                  ELF_H_RELRO,
                  ELF_H_COUNT
};

enum elf_section { /* index in sections[] */
                   ELF_S_NULL,
                   ELF_S_NOTE,
                   ELF_S_DYNSYM,
                   ELF_S_DYNSTR,
                   ELF_S_SIGNATURE,
                   ELF_S_TEXT,
                   ELF_S_EXPORT,
                   ELF_S_DATA,
                   ELF_S_BSS,
                   ELF_S_SYMTAB,
                   ELF_S_STRTAB,
                   ELF_S_NAMES,
                   ELF_S_COUNT
};

enum elf_symbol { /* index in symbols[] */
                  ELF_Y_NULL,
                  ELF_Y_HELPER, /* local */
                  ELF_Y_ASM,    /* local, without size */
                  ELF_Y_TABLE,  /* local object */
                  ELF_Y_START,  /* global, outside aee_export */
                  ELF_Y_ADD,
                  ELF_Y_MUL,
                  ELF_Y_BLEND,  /* weak, protected */
                  ELF_Y_SECRET, /* hidden */
                  ELF_Y_ABSENT, /* weak, undefined */
                  ELF_Y_COUNT
};

enum elf_dynamic { /* index in dynamic[] */
                   ELF_D_STRTAB,
                   ELF_D_STRSZ,
                   ELF_D_SYMTAB,
                   ELF_D_SYMENT,
                   ELF_D_RELA,
                   ELF_D_RELASZ,
                   ELF_D_RELAENT,
                   ELF_D_JMPREL,
                   ELF_D_PLTRELSZ,
                   ELF_D_PLTREL,
                   ELF_D_RELR,
                   ELF_D_RELRSZ,
                   ELF_D_RELRENT,
                   ELF_D_FLAGS,
                   ELF_D_NULL,
                   ELF_D_COUNT
};

struct elf_file {
    Elf64_Ehdr ehdr;
    Elf64_Phdr headers[ELF_H_COUNT];
    struct {
        Elf64_Nhdr header;
        char owner[4];
        uint32_t version;
        uint32_t pad;
    } note;
    Elf64_Sym dynsyms[5];
    char dynstr[64];
    Elf64_Rela relas[7];
    Elf64_Rela plt_relas[2];
    uint64_t relr[4];
    char signatures[56]; /* so that tdata is aligned */
    uint8_t text[0x80];  /* the executable segment starts here */
    uint8_t exported[0x80];
    uint8_t tdata[16]; /* the writable segment starts here */
    Elf64_Dyn dynamic[ELF_D_COUNT];
    uint64_t data[80];              /* more than one bitmap of DT_RELR describes */
    Elf64_Sym symbols[ELF_Y_COUNT]; /* from here on nothing is loaded */
    char strtab[64];
    char names[128];
    Elf64_Shdr sections[ELF_S_COUNT];
};

#define ELF_AT(member) ((uint64_t)offsetof(struct elf_file, member))
_Static_assert(offsetof(struct elf_file, tdata) % 16 == 0, "PT_TLS is aligned to 16");
#define ELF_BSS_SIZE 0x3000u
#define ELF_TLS_SIZE 40u   /* bytes of one lane's block */
#define ELF_TLS_OFFSET 48u /* the same, aligned to 16 */

/* Virtual address of an offset in the file. Each segment is a page further from its offset than the
 * one before it, so they share no page although they share pages of the file. */
static inline uint64_t elf_address(const struct elf_file *file, uint64_t offset)
{
    uint64_t base = file->ehdr.e_type == ET_EXEC ? AEE_GVA_IMAGE : 0;
    uint64_t shift =
        (offset >= ELF_AT(text) ? 0x1000u : 0u) + (offset >= ELF_AT(tdata) ? 0x1000u : 0u);
    return base + shift + offset;
}

/* Address in the component, for both types. */
static inline uint64_t elf_gva(const struct elf_file *file, uint64_t offset)
{
    return elf_address(file, offset) + (file->ehdr.e_type == ET_EXEC ? 0 : AEE_GVA_IMAGE);
}

/* Appends a string to a table and returns its offset; the table starts with an empty one. */
static inline uint32_t elf_string(char *table, size_t table_size, const char *text)
{
    size_t at = 1;
    while (table[at] != 0) {
        at += strlen(table + at) + 1;
    }
    if (at + strlen(text) + 2 > table_size) {
        abort();
    }
    memcpy(table + at, text, strlen(text) + 1);
    return (uint32_t)at;
}

static inline void elf_fill_identity(struct elf_file *file, uint16_t type)
{
    memcpy(file->ehdr.e_ident, ELFMAG, SELFMAG);
    file->ehdr.e_ident[EI_CLASS] = ELFCLASS64;
    file->ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
    file->ehdr.e_ident[EI_VERSION] = EV_CURRENT;
    file->ehdr.e_type = type;
    file->ehdr.e_machine = EM_X86_64;
    file->ehdr.e_version = EV_CURRENT;
    file->ehdr.e_entry = elf_address(file, ELF_AT(text));
    file->ehdr.e_phoff = ELF_AT(headers);
    file->ehdr.e_shoff = ELF_AT(sections);
    file->ehdr.e_ehsize = sizeof(Elf64_Ehdr);
    file->ehdr.e_phentsize = sizeof(Elf64_Phdr);
    file->ehdr.e_phnum = ELF_H_COUNT;
    file->ehdr.e_shentsize = sizeof(Elf64_Shdr);
    file->ehdr.e_shnum = ELF_S_COUNT;
    file->ehdr.e_shstrndx = ELF_S_NAMES;
    file->note.header = (Elf64_Nhdr){.n_namesz = 4, .n_descsz = 4, .n_type = AEE_ABI_NOTE_TYPE};
    memcpy(file->note.owner, AEE_ABI_NOTE_OWNER, sizeof file->note.owner);
    file->note.version = AEE_ABI_VERSION;
}

static inline void elf_set_header(struct elf_file *file, enum elf_header index, uint32_t type,
                                  uint32_t flags, uint64_t offset, uint64_t size, uint64_t align)
{
    file->headers[index] = (Elf64_Phdr){
        .p_type = type,
        .p_flags = flags,
        .p_offset = offset,
        .p_vaddr = elf_address(file, offset),
        .p_paddr = elf_address(file, offset),
        .p_filesz = size,
        .p_memsz = size,
        .p_align = align,
    };
}

static inline void elf_fill_headers(struct elf_file *file)
{
    elf_set_header(file, ELF_H_RODATA, PT_LOAD, PF_R, 0, ELF_AT(text), 0x1000);
    elf_set_header(file, ELF_H_CODE, PT_LOAD, PF_R | PF_X, ELF_AT(text),
                   ELF_AT(tdata) - ELF_AT(text), 0x1000);
    elf_set_header(file, ELF_H_DATA, PT_LOAD, PF_R | PF_W, ELF_AT(tdata),
                   ELF_AT(symbols) - ELF_AT(tdata), 0x1000);
    file->headers[ELF_H_DATA].p_memsz += ELF_BSS_SIZE;
    elf_set_header(file, ELF_H_DYNAMIC, file->ehdr.e_type == ET_DYN ? PT_DYNAMIC : PT_NULL,
                   PF_R | PF_W, ELF_AT(dynamic), sizeof file->dynamic, 8);
    elf_set_header(file, ELF_H_NOTE, PT_NOTE, PF_R, ELF_AT(note), sizeof file->note - 4, 4);
    elf_set_header(file, ELF_H_TLS, PT_TLS, PF_R, ELF_AT(tdata), sizeof file->tdata, 16);
    file->headers[ELF_H_TLS].p_memsz = ELF_TLS_SIZE;
    file->headers[ELF_H_STACK] =
        (Elf64_Phdr){.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W, .p_align = 16};
    elf_set_header(file, ELF_H_RELRO, PT_GNU_RELRO, PF_R, ELF_AT(tdata),
                   ELF_AT(data) - ELF_AT(tdata), 1);
}

static inline void elf_set_symbol(struct elf_file *file, enum elf_symbol index, const char *name,
                                  uint8_t info, uint8_t other, uint16_t section, uint64_t offset,
                                  uint64_t size)
{
    file->symbols[index] = (Elf64_Sym){
        .st_name = elf_string(file->strtab, sizeof file->strtab, name),
        .st_info = info,
        .st_other = other,
        .st_shndx = section,
        .st_value = section == SHN_UNDEF ? 0 : elf_address(file, offset),
        .st_size = size,
    };
}

static inline void elf_fill_symbols(struct elf_file *file)
{
    const uint8_t local = ELF64_ST_INFO(STB_LOCAL, STT_FUNC);
    const uint8_t global = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    const uint8_t weak = ELF64_ST_INFO(STB_WEAK, STT_FUNC);
    const uint8_t object = ELF64_ST_INFO(STB_LOCAL, STT_OBJECT);
    elf_set_symbol(file, ELF_Y_HELPER, "helper", local, 0, ELF_S_TEXT, ELF_AT(text[0x40]), 0x10);
    elf_set_symbol(file, ELF_Y_ASM, "asm", local, 0, ELF_S_TEXT, ELF_AT(text[0x10]), 0);
    elf_set_symbol(file, ELF_Y_TABLE, "table", object, 0, ELF_S_DATA, ELF_AT(data), 128);
    elf_set_symbol(file, ELF_Y_START, "_start", global, 0, ELF_S_TEXT, ELF_AT(text), 0x10);
    elf_set_symbol(file, ELF_Y_ADD, "add", global, 0, ELF_S_EXPORT, ELF_AT(exported), 0x20);
    elf_set_symbol(file, ELF_Y_MUL, "mul", global, 0, ELF_S_EXPORT, ELF_AT(exported[0x20]), 0x20);
    elf_set_symbol(file, ELF_Y_BLEND, "blend", weak, STV_PROTECTED, ELF_S_EXPORT,
                   ELF_AT(exported[0x40]), 0x20);
    elf_set_symbol(file, ELF_Y_SECRET, "secret", global, STV_HIDDEN, ELF_S_EXPORT,
                   ELF_AT(exported[0x60]), 0x20);
    elf_set_symbol(file, ELF_Y_ABSENT, "absent", weak, 0, SHN_UNDEF, 0, 0);
}

static inline void elf_set_rela(struct elf_file *file, Elf64_Rela *rela, uint32_t type,
                                uint64_t symbol, uint64_t offset, uint64_t addend)
{
    rela->r_offset = elf_address(file, offset);
    rela->r_info = ELF64_R_INFO(symbol, type);
    rela->r_addend = (int64_t)addend;
}

static inline void elf_fill_relocations(struct elf_file *file)
{
    char *names = file->dynstr;
    const size_t size = sizeof file->dynstr;
    file->dynsyms[1] = (Elf64_Sym){.st_name = elf_string(names, size, "add"),
                                   .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
                                   .st_shndx = ELF_S_EXPORT,
                                   .st_value = elf_address(file, ELF_AT(exported)),
                                   .st_size = 0x20};
    file->dynsyms[2] = (Elf64_Sym){.st_name = elf_string(names, size, "absent"),
                                   .st_info = ELF64_ST_INFO(STB_WEAK, STT_FUNC)};
    file->dynsyms[3] = (Elf64_Sym){.st_name = elf_string(names, size, "per_lane"),
                                   .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_TLS),
                                   .st_shndx = ELF_S_DATA,
                                   .st_value = 8};
    file->dynsyms[4] = (Elf64_Sym){.st_name = elf_string(names, size, "absolute"),
                                   .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_NOTYPE),
                                   .st_shndx = SHN_ABS,
                                   .st_value = 0x1234};
    elf_set_rela(file, &file->relas[0], R_X86_64_RELATIVE, 0, ELF_AT(data[0]),
                 elf_address(file, ELF_AT(data[2])));
    elf_set_rela(file, &file->relas[1], R_X86_64_64, 1, ELF_AT(data[1]), 4);
    elf_set_rela(file, &file->relas[2], R_X86_64_GLOB_DAT, 2, ELF_AT(data[2]), 0);
    elf_set_rela(file, &file->relas[3], R_X86_64_TPOFF64, 3, ELF_AT(data[3]), 0);
    elf_set_rela(file, &file->relas[4], R_X86_64_64, 4, ELF_AT(data[4]), 1);
    elf_set_rela(file, &file->relas[5], R_X86_64_RELATIVE, 0, ELF_AT(text[0x71]), 0x20);
    elf_set_rela(file, &file->relas[6], R_X86_64_NONE, 0, 0, 0);
    elf_set_rela(file, &file->plt_relas[0], R_X86_64_JUMP_SLOT, 1, ELF_AT(data[5]), 0);
    elf_set_rela(file, &file->plt_relas[1], R_X86_64_TPOFF64, 0, ELF_AT(data[6]), 4);
    file->relr[0] = elf_address(file, ELF_AT(data[8]));
    file->relr[1] = 1 | (1u << 1) | (1u << 3); /* data[9] and data[11] */
    file->relr[2] = 1 | (1u << 1);             /* data[9 + 63] */
    file->relr[3] = elf_address(file, ELF_AT(data[79]));
    for (size_t i = 0; i < 80; i++) {
        file->data[i] = 0x100 * i;
    }
}

static inline void elf_fill_dynamic(struct elf_file *file)
{
    const struct {
        int64_t tag;
        uint64_t value;
    } entries[ELF_D_COUNT] = {
        [ELF_D_STRTAB] = {DT_STRTAB, elf_address(file, ELF_AT(dynstr))},
        [ELF_D_STRSZ] = {DT_STRSZ, sizeof file->dynstr},
        [ELF_D_SYMTAB] = {DT_SYMTAB, elf_address(file, ELF_AT(dynsyms))},
        [ELF_D_SYMENT] = {DT_SYMENT, sizeof(Elf64_Sym)},
        [ELF_D_RELA] = {DT_RELA, elf_address(file, ELF_AT(relas))},
        [ELF_D_RELASZ] = {DT_RELASZ, sizeof file->relas},
        [ELF_D_RELAENT] = {DT_RELAENT, sizeof(Elf64_Rela)},
        [ELF_D_JMPREL] = {DT_JMPREL, elf_address(file, ELF_AT(plt_relas))},
        [ELF_D_PLTRELSZ] = {DT_PLTRELSZ, sizeof file->plt_relas},
        [ELF_D_PLTREL] = {DT_PLTREL, DT_RELA},
        [ELF_D_RELR] = {DT_RELR, elf_address(file, ELF_AT(relr))},
        [ELF_D_RELRSZ] = {DT_RELRSZ, sizeof file->relr},
        [ELF_D_RELRENT] = {DT_RELRENT, sizeof file->relr[0]},
        [ELF_D_FLAGS] = {DT_FLAGS_1, 0x08000000 /* DF_1_PIE */},
        [ELF_D_NULL] = {DT_NULL, 0},
    };
    for (size_t i = 0; i < ELF_D_COUNT; i++) {
        file->dynamic[i].d_tag = entries[i].tag;
        file->dynamic[i].d_un.d_val = entries[i].value;
    }
}

static inline void elf_set_section(struct elf_file *file, enum elf_section index, const char *name,
                                   uint32_t type, uint64_t offset, uint64_t size)
{
    file->sections[index] = (Elf64_Shdr){
        .sh_name = elf_string(file->names, sizeof file->names, name),
        .sh_type = type,
        .sh_addr = elf_address(file, offset),
        .sh_offset = offset,
        .sh_size = size,
        .sh_addralign = 1,
    };
}

static inline void elf_fill_sections(struct elf_file *file)
{
    elf_set_section(file, ELF_S_NOTE, AEE_ABI_NOTE_SECTION, SHT_NOTE, ELF_AT(note), 20);
    elf_set_section(file, ELF_S_DYNSYM, ".dynsym", SHT_DYNSYM, ELF_AT(dynsyms),
                    sizeof file->dynsyms);
    elf_set_section(file, ELF_S_DYNSTR, ".dynstr", SHT_STRTAB, ELF_AT(dynstr), sizeof file->dynstr);
    elf_set_section(file, ELF_S_SIGNATURE, AEE_ABI_SIGNATURE_SECTION, SHT_PROGBITS,
                    ELF_AT(signatures), sizeof file->signatures);
    elf_set_section(file, ELF_S_TEXT, ".text", SHT_PROGBITS, ELF_AT(text), sizeof file->text);
    elf_set_section(file, ELF_S_EXPORT, AEE_ABI_EXPORT_SECTION, SHT_PROGBITS, ELF_AT(exported),
                    sizeof file->exported);
    elf_set_section(file, ELF_S_DATA, ".data", SHT_PROGBITS, ELF_AT(data), sizeof file->data);
    elf_set_section(file, ELF_S_BSS, ".bss", SHT_NOBITS, ELF_AT(symbols), ELF_BSS_SIZE);
    elf_set_section(file, ELF_S_SYMTAB, ".symtab", SHT_SYMTAB, ELF_AT(symbols),
                    sizeof file->symbols);
    elf_set_section(file, ELF_S_STRTAB, ".strtab", SHT_STRTAB, ELF_AT(strtab), sizeof file->strtab);
    elf_set_section(file, ELF_S_NAMES, ".shstrtab", SHT_STRTAB, ELF_AT(names), sizeof file->names);
    file->sections[ELF_S_SYMTAB].sh_link = ELF_S_STRTAB;
    file->sections[ELF_S_SYMTAB].sh_entsize = sizeof(Elf64_Sym);
    file->sections[ELF_S_DYNSYM].sh_link = ELF_S_DYNSTR;
    file->sections[ELF_S_DYNSYM].sh_entsize = sizeof(Elf64_Sym);
}

/* A valid image: ET_DYN with relocations, or ET_EXEC without. */
static inline void elf_file_init(struct elf_file *file, uint16_t type)
{
    static const char signatures[] = "add=i:ii\0\0\0mul=d:dd\0blend=b\0dropped=v:";
    memset(file, 0, sizeof *file);
    elf_fill_identity(file, type);
    elf_fill_headers(file);
    elf_fill_symbols(file);
    elf_fill_relocations(file);
    elf_fill_dynamic(file);
    elf_fill_sections(file);
    memcpy(file->signatures, signatures, sizeof signatures);
    memset(file->text, 0x90, sizeof file->text);
    memset(file->exported, 0xc3, sizeof file->exported);
    memset(file->tdata, 0x5a, sizeof file->tdata);
}

/* ---- Files that do not fit the struct --------------------------------------------------------- */

struct elf_blob {
    uint8_t *bytes; /* exactly `size` bytes on the heap, so that a sanitizer sees a read beyond */
    size_t size;
};

/* Appends bytes and returns their offset. Free blob->bytes with free(). */
static inline uint64_t elf_blob_append(struct elf_blob *blob, const void *bytes, size_t size)
{
    size_t offset = blob->size;
    uint8_t *grown = realloc(blob->bytes, offset + size);
    if (!grown) {
        abort();
    }
    blob->bytes = grown;
    memcpy(blob->bytes + offset, bytes, size);
    blob->size = offset + size;
    return offset;
}

/* ---- What must hold of every parsed image ------------------------------------------------------ */

static inline const char *elf_segment_fault(const struct aee__image *image)
{
    uint64_t floor = AEE_GVA_IMAGE;
    size_t data = 0;
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct aee__segment *segment = &image->segments[i];
        uint64_t end = segment->start + segment->size;
        uint64_t data_end = segment->data_start + segment->data_size;
        if (segment->start % 4096 != 0 || segment->size % 4096 != 0 || segment->size == 0) {
            return "a segment is not made of pages";
        }
        if (segment->start < floor || end < segment->start || end > AEE_GVA_IMAGE_END) {
            return "segments overlap or lie outside the image's range";
        }
        if (segment->data_start < segment->start || data_end > end ||
            segment->data_offset != data) {
            return "content lies outside its segment";
        }
        if ((segment->rights & (AEE__SEG_WRITE | AEE__SEG_EXECUTE)) ==
            (AEE__SEG_WRITE | AEE__SEG_EXECUTE)) {
            return "a segment is writable and executable";
        }
        floor = end;
        data += segment->data_size;
    }
    return data == image->data_size ? NULL : "contents do not add up";
}

static inline int elf_is_code(const struct aee__image *image, uint64_t gva)
{
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct aee__segment *segment = &image->segments[i];
        if ((segment->rights & AEE__SEG_EXECUTE) && gva >= segment->start &&
            gva < segment->start + segment->size) {
            return 1;
        }
    }
    return 0;
}

static inline int elf_is_declared_well(const struct aee__image *image)
{
    uint64_t end = image->state_start + image->state_size;
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct aee__segment *segment = &image->segments[i];
        if ((segment->rights & AEE__SEG_WRITE) && image->state_start >= segment->start &&
            end >= image->state_start && end <= segment->start + segment->size) {
            return 1;
        }
    }
    return image->state_size == 0;
}

/* The first rule that `image` breaks, or NULL. Reads every byte of it. */
static inline const char *elf_image_fault(const struct aee__image *image)
{
    const char *fault = elf_segment_fault(image);
    if (fault) {
        return fault;
    }
    if (image->entry != 0 && !elf_is_code(image, image->entry)) {
        return "the entry is not code";
    }
    if (image->tls_memory_size > AEE_TLS_MAX || image->tls_file_size > image->tls_memory_size ||
        image->tls_align == 0 || image->tls_align > 4096 ||
        (image->tls_align & (image->tls_align - 1)) != 0) {
        return "TLS is out of range";
    }
    if (!elf_is_declared_well(image)) {
        return "declared state is in no writable segment";
    }
    for (uint32_t i = 0; i < image->export_count; i++) {
        const struct aee__export *export = &image->exports[i];
        uint64_t offset = 0;
        if (!elf_is_code(image, export->gva)) {
            return "an export is not code";
        }
        if (aee__image_find_export(image, export->name) != (int32_t)i) {
            return "an export is not found by its name";
        }
        const char *name = aee__image_symbol_at(image, export->gva, &offset);
        if (!name || strlen(name) == 0) {
            return "an export is not found by its address";
        }
        if (export->signature && strlen(export->signature) > 8) {
            return "a signature is too long";
        }
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < image->data_size; i++) {
        sum += image->data[i];
    }
    return sum == UINT64_MAX ? "" : NULL;
}

#endif
