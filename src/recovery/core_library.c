#include "recovery/core_library.h"

#include <elf.h>
#include <string.h>

#include "ept/memory.h"

enum { TEXT = 1, FRAMES, SYMBOLS, STRINGS, SECTIONS };

/* Names of sections and of the one symbol. */
static const char strings[] = "\0.text\0.eh_frame\0.symtab\0.strtab\0aee_library";
enum { TEXT_NAME = 1, FRAMES_NAME = 7, SYMBOLS_NAME = 17, STRINGS_NAME = 25, LIBRARY_NAME = 33 };

#define CODE_SIZE (AEE__VDSO_PAGES * UINT64_C(4096))

/* One CIE and one FDE (DWARF 5, 6.4.1; LSB 5.0, 10.6.1): the caller of this code is undefined. */
struct __attribute__((packed)) frames {
    uint32_t cie_length;
    uint32_t cie_id;
    uint8_t version;
    uint8_t augmentation;
    uint8_t code_align;
    uint8_t data_align; /* SLEB128: -8 */
    uint8_t return_column;
    uint8_t rules[7]; /* DW_CFA_def_cfa rsp+8, DW_CFA_undefined rip, and nothing */
    uint32_t fde_length;
    uint32_t cie_distance;
    uint64_t start;
    uint64_t size;
    uint32_t pad;
    uint32_t end;
};

static const struct frames frames = {
    .cie_length = 16,
    .version = 1,
    .code_align = 1,
    .data_align = 0x78,
    .return_column = 16,
    .rules = {0x0c, 7, 8, 0x07, 16, 0, 0},
    .fde_length = 24,
    .cie_distance = 24,
    .start = AEE_GVA_VDSO,
    .size = CODE_SIZE,
};
_Static_assert(offsetof(struct frames, fde_length) == 20, "the CIE has 16 bytes behind its length");
_Static_assert(offsetof(struct frames, end) == 48, "the FDE has 24 bytes behind its length");

struct image {
    Elf64_Ehdr header;
    Elf64_Phdr load;
    Elf64_Shdr sections[SECTIONS];
    Elf64_Sym symbols[2];
    struct frames frames;
    char strings[sizeof strings];
};
_Static_assert(sizeof(struct image) <= AEE__CORE_LIBRARY_SIZE, "it fits");

static Elf64_Shdr section(uint32_t name, uint32_t type, uint64_t offset, uint64_t size)
{
    return (Elf64_Shdr){.sh_name = name,
                        .sh_type = type,
                        .sh_addr = AEE__CORE_LIBRARY_GVA + offset,
                        .sh_offset = offset,
                        .sh_size = size,
                        .sh_addralign = 1};
}

void aee__core_library(uint8_t page[AEE__CORE_LIBRARY_SIZE])
{
    struct image image = {
        .header = {.e_type = ET_DYN,
                   .e_machine = EM_X86_64,
                   .e_version = EV_CURRENT,
                   .e_phoff = offsetof(struct image, load),
                   .e_shoff = offsetof(struct image, sections),
                   .e_ehsize = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 1,
                   .e_shentsize = sizeof(Elf64_Shdr),
                   .e_shnum = SECTIONS,
                   .e_shstrndx = STRINGS},
        .load = {.p_type = PT_LOAD,
                 .p_flags = PF_R | PF_X,
                 .p_vaddr = AEE__CORE_LIBRARY_GVA,
                 .p_filesz = AEE__CORE_LIBRARY_SIZE,
                 .p_memsz = AEE__CORE_LIBRARY_SIZE,
                 .p_align = 4096},
        .frames = frames,
    };
    memcpy(image.header.e_ident, ELFMAG, SELFMAG);
    image.header.e_ident[EI_CLASS] = ELFCLASS64;
    image.header.e_ident[EI_DATA] = ELFDATA2LSB;
    image.header.e_ident[EI_VERSION] = EV_CURRENT;
    memcpy(image.strings, strings, sizeof strings);
    image.sections[TEXT] = section(TEXT_NAME, SHT_NOBITS, AEE__CORE_LIBRARY_SIZE, CODE_SIZE);
    image.sections[TEXT].sh_flags = SHF_ALLOC | SHF_EXECINSTR;
    image.sections[FRAMES] =
        section(FRAMES_NAME, SHT_PROGBITS, offsetof(struct image, frames), sizeof frames);
    image.sections[FRAMES].sh_flags = SHF_ALLOC;
    image.sections[SYMBOLS] =
        section(SYMBOLS_NAME, SHT_SYMTAB, offsetof(struct image, symbols), sizeof image.symbols);
    image.sections[SYMBOLS].sh_link = STRINGS;
    image.sections[SYMBOLS].sh_info = 1;
    image.sections[SYMBOLS].sh_entsize = sizeof image.symbols[0];
    image.sections[STRINGS] =
        section(STRINGS_NAME, SHT_STRTAB, offsetof(struct image, strings), sizeof strings);
    image.symbols[1] = (Elf64_Sym){.st_name = LIBRARY_NAME,
                                   .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
                                   .st_shndx = TEXT,
                                   .st_value = AEE_GVA_VDSO,
                                   .st_size = CODE_SIZE};
    memset(page, 0, AEE__CORE_LIBRARY_SIZE);
    memcpy(page, &image, sizeof image);
}
