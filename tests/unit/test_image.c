/* test_image.c: the image loader on valid images, on images with one thing broken, on every
 * truncation and many flipped bytes, and with every allocation made to fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "elf_builder.h"

#define WHAT "image of \"boss\""
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- An allocator that counts, checks sizes and fails on demand --------------------------------- */

struct ledger {
    struct elf_file *victim; /* filled with `fill` at allocation `change_at` */
    size_t change_at;
    uint8_t fill;
    size_t live;    /* bytes that were not freed */
    size_t calls;   /* allocations so far */
    size_t fail_at; /* this one fails; 0: none */
    size_t wrong;   /* frees whose size was not the allocation's */
};

static void *count(void *user, void *old, size_t old_size, size_t size)
{
    struct ledger *ledger = user;
    size_t *head = old ? (size_t *)old - 2 : NULL;
    if (head && head[0] != old_size) {
        ledger->wrong++;
    }
    if (size == 0) {
        ledger->live -= head ? head[0] : 0;
        free(head);
        return NULL;
    }
    if (++ledger->calls == ledger->fail_at) {
        return NULL;
    }
    if (ledger->calls == ledger->change_at) {
        memset(ledger->victim, ledger->fill, sizeof *ledger->victim);
    }
    size_t *grown = realloc(head, size + 2 * sizeof *head);
    assert_non_null(grown);
    ledger->live += size - (head ? old_size : 0);
    grown[0] = size;
    return grown + 2;
}

static struct ledger the_ledger;
static const struct aee__alloc the_alloc = {.function = count, .user = &the_ledger};

/* Parses a copy of exactly `size` bytes. Frees the copy before it returns: images borrow nothing.
 */
static aee_result parse(const void *bytes, size_t size, struct aee__image **image, aee_error *error)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    memset(error, 0x55, sizeof *error);
    *image = (struct aee__image *)error; /* must be overwritten */
    aee_result result = aee__image_parse(&the_alloc, WHAT, copy, size, image, error);
    free(copy);
    assert_int_equal(error->code, result);
    if (result == AEE_OK) {
        assert_non_null(*image);
        assert_string_equal(error->text, "");
    } else {
        assert_null(*image);
        assert_int_equal(the_ledger.live, 0);
    }
    return result;
}

static void destroy(struct aee__image *image)
{
    aee__image_destroy(image);
    assert_int_equal(the_ledger.live, 0);
    assert_int_equal(the_ledger.wrong, 0);
}

static struct aee__image *parse_valid(const void *bytes, size_t size)
{
    struct aee__image *image;
    aee_error error;
    if (parse(bytes, size, &image, &error) != AEE_OK) {
        fail_msg("refused: %s", error.text);
    }
    const char *fault = elf_image_fault(image);
    if (fault) {
        fail_msg("%s", fault);
    }
    return image;
}

static void expect_refusal(const char *name, const void *bytes, size_t size, aee_result code,
                           const char *text)
{
    struct aee__image *image;
    aee_error error;
    aee_result result = parse(bytes, size, &image, &error);
    if (result != code || !strstr(error.text, text) ||
        strncmp(error.text, WHAT, strlen(WHAT)) != 0) {
        fail_msg("%s: %s \"%s\", expected \"%s\"", name, aee_result_name(result),
                 result == AEE_OK ? "" : error.text, text);
    }
    assert_int_equal(the_ledger.wrong, 0);
}

/* ---- Valid images -------------------------------------------------------------------------------- */

static uint64_t word_at(const struct aee__image *image, uint64_t gva)
{
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct aee__segment *segment = &image->segments[i];
        if (gva >= segment->data_start && gva + 8 <= segment->data_start + segment->data_size) {
            uint64_t word;
            memcpy(&word, image->data + segment->data_offset + (gva - segment->data_start), 8);
            return word;
        }
    }
    fail_msg("no content at 0x%llx", (unsigned long long)gva);
    return 0;
}

static void check_common(const struct elf_file *file, const struct aee__image *image)
{
    assert_int_equal(image->segment_count, 3);
    assert_int_equal(image->segments[0].start, AEE_GVA_IMAGE);
    assert_int_equal(image->segments[0].rights, AEE__SEG_READ);
    assert_int_equal(image->segments[1].start, AEE_GVA_IMAGE + 0x1000);
    assert_int_equal(image->segments[1].data_start, elf_gva(file, ELF_AT(text)));
    assert_int_equal(image->segments[1].data_size, 0x100);
    assert_int_equal(image->segments[1].rights, AEE__SEG_READ | AEE__SEG_EXECUTE);
    assert_int_equal(image->segments[2].rights, AEE__SEG_READ | AEE__SEG_WRITE);
    assert_int_equal(image->segments[2].size, 0x4000);
    assert_int_equal(image->entry, elf_gva(file, ELF_AT(text)));
    assert_int_equal(image->tls_data, elf_gva(file, ELF_AT(tdata)));
    assert_int_equal(image->tls_file_size, 16);
    assert_int_equal(image->tls_memory_size, ELF_TLS_SIZE);
    assert_int_equal(image->tls_align, 16);
    assert_int_equal(word_at(image, image->tls_data), 0x5a5a5a5a5a5a5a5aull);
    assert_int_equal(image->export_count, 3);
    assert_int_equal(image->symbol_count, 7);
}

static void test_static(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_EXEC);
    struct aee__image *image = parse_valid(&file, sizeof file);
    check_common(&file, image);
    assert_int_equal(word_at(image, elf_gva(&file, ELF_AT(data[3]))), 0x300); /* not relocated */
    destroy(image);
}

static void test_static_pie(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    struct aee__image *image = parse_valid(&file, sizeof file);
    check_common(&file, image);
    const uint64_t add = elf_gva(&file, ELF_AT(exported));
    const uint64_t expected[80] = {
        [0] = elf_gva(&file, ELF_AT(data[2])), /* RELATIVE */
        [1] = add + 4,                         /* 64 */
        [2] = 0,                               /* GLOB_DAT, weak and undefined */
        [3] = 8 - (uint64_t)ELF_TLS_OFFSET,    /* TPOFF64 */
        [4] = 0x1234 + 1,                      /* 64, absolute */
        [5] = add,                             /* JUMP_SLOT */
        [6] = 4 - (uint64_t)ELF_TLS_OFFSET,    /* TPOFF64 without symbol */
        [7] = 0x700,
        [8] = 0x800 + AEE_GVA_IMAGE, /* RELR: address, then bits 1 and 3 */
        [9] = 0x900 + AEE_GVA_IMAGE,
        [10] = 0xa00,
        [11] = 0xb00 + AEE_GVA_IMAGE,
        [12] = 0xc00,
        [13] = 0xd00,
        [14] = 0xe00,
        [15] = 0xf00,
        [71] = 0x4700,
        [72] = 0x4800 + AEE_GVA_IMAGE, /* second bitmap, then another address */
        [73] = 0x4900,
        [78] = 0x4e00,
        [79] = 0x4f00 + AEE_GVA_IMAGE,
    };
    for (size_t i = 0; i < 80; i++) {
        if (i < 16 || expected[i] != 0) {
            assert_int_equal(word_at(image, elf_gva(&file, ELF_AT(data) + 8 * i)), expected[i]);
        }
    }
    /* The text relocation at an odd address. */
    assert_int_equal(word_at(image, elf_gva(&file, ELF_AT(text[0x71]))), AEE_GVA_IMAGE + 0x20);
    destroy(image);
}

/* The lowest page lands on AEE_GVA_IMAGE wherever the file has it, also above it. */
static void test_placement(void **state)
{
    (void)state;
    static const uint64_t moves[] = {0x1000, 0x400000, 0x7ffff000, 0xffffffffffff0000};
    for (size_t m = 0; m < COUNT_OF(moves); m++) {
        struct elf_file file;
        elf_file_init(&file, ET_DYN);
        for (size_t i = 0; i < ELF_H_COUNT; i++) {
            file.headers[i].p_vaddr += moves[m];
        }
        for (size_t i = 0; i < ELF_Y_COUNT; i++) {
            file.symbols[i].st_value += moves[m];
        }
        file.ehdr.e_entry += moves[m];
        file.headers[ELF_H_DYNAMIC].p_type = PT_NULL;
        struct aee__image *image = parse_valid(&file, sizeof file);
        check_common(&file, image);
        destroy(image);
    }
}

static void test_order_of_headers(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    Elf64_Phdr first = file.headers[ELF_H_RODATA];
    file.headers[ELF_H_RODATA] = file.headers[ELF_H_DATA];
    file.headers[ELF_H_DATA] = first;
    struct aee__image *image = parse_valid(&file, sizeof file);
    check_common(&file, image);
    destroy(image);
}

/* Segments of different rights may touch where a page ends. */
static void test_adjacent(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    file.headers[ELF_H_RODATA].p_memsz = 0x1000;
    struct aee__image *image = parse_valid(&file, sizeof file);
    check_common(&file, image);
    destroy(image);
    file.headers[ELF_H_RODATA].p_memsz = 0x1001;
    expect_refusal("one more", &file, sizeof file, AEE_ERR_BAD_IMAGE, "share the page at 0x401000");
}

/* Neighbours with equal rights in one page become one segment, with zeroes between their bytes. */
static void test_shared_page(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_EXEC);
    Elf64_Phdr *a = &file.headers[ELF_H_DATA];
    Elf64_Phdr *b = &file.headers[ELF_H_RELRO];
    *b = *a;
    a->p_filesz = 0x40;
    a->p_memsz = 0x80;
    b->p_vaddr = a->p_vaddr + 0x100;
    b->p_filesz = 0x20;
    b->p_memsz = 0x1000;
    struct aee__image *image = parse_valid(&file, sizeof file);
    assert_int_equal(image->segment_count, 3);
    assert_int_equal(image->segments[2].size, 0x2000);
    assert_int_equal(image->segments[2].data_start, a->p_vaddr);
    assert_int_equal(image->segments[2].data_size, 0x120);
    assert_int_equal(word_at(image, a->p_vaddr), 0x5a5a5a5a5a5a5a5aull);
    assert_int_equal(word_at(image, a->p_vaddr + 0x40), 0);
    assert_int_equal(word_at(image, b->p_vaddr), 0x5a5a5a5a5a5a5a5aull);
    destroy(image);
}

static void test_no_entry_no_tls(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_EXEC);
    file.ehdr.e_entry = 0;
    file.headers[ELF_H_TLS].p_type = PT_NULL;
    struct aee__image *image = parse_valid(&file, sizeof file);
    assert_int_equal(image->entry, 0);
    assert_int_equal(image->tls_data, 0);
    assert_int_equal(image->tls_memory_size, 0);
    assert_int_equal(image->tls_align, 1);
    destroy(image);
    elf_file_init(&file, ET_EXEC); /* zeroed thread-local data only: no template */
    file.headers[ELF_H_TLS].p_filesz = 0;
    image = parse_valid(&file, sizeof file);
    assert_int_equal(image->tls_data, 0);
    assert_int_equal(image->tls_memory_size, ELF_TLS_SIZE);
    destroy(image);
}

/* Empty PT_LOADs are skipped, pages without content stay zero, sections may have no names. */
static void test_sparse(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_EXEC);
    file.headers[ELF_H_STACK] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = 7};
    file.headers[ELF_H_TLS].p_filesz = 0;
    for (size_t i = ELF_H_RODATA; i <= ELF_H_DATA; i++) {
        file.headers[i].p_filesz = 0;
    }
    file.ehdr.e_shstrndx = SHN_UNDEF;
    struct aee__image *image = parse_valid(&file, sizeof file);
    assert_int_equal(image->segment_count, 3);
    assert_int_equal(image->data_size, 0);
    assert_int_equal(image->export_count, 4); /* the export section has no name either */
    destroy(image);
}

static void test_several_notes(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    struct {
        Elf64_Nhdr header;
        char owner[4];
        uint32_t pad[2];
    } gnu = {.header = {.n_namesz = 4, .n_descsz = 5, .n_type = 1}, .owner = "GNU"};
    struct elf_blob blob = {NULL, 0};
    elf_blob_append(&blob, &file, sizeof file);
    uint64_t notes = elf_blob_append(&blob, &gnu, sizeof gnu); /* descriptor padded 5 -> 8 */
    elf_blob_append(&blob, &file.note, 20);
    elf_blob_append(&blob, &file.note, 20);
    struct elf_file *head = (struct elf_file *)(void *)blob.bytes;
    head->headers[ELF_H_NOTE].p_offset = notes;
    head->headers[ELF_H_NOTE].p_filesz = blob.size - notes;
    destroy(parse_valid(blob.bytes, blob.size));
    uint32_t version = 9; /* the second of two differs */
    memcpy(blob.bytes + blob.size - 4, &version, sizeof version);
    expect_refusal("second note", blob.bytes, blob.size, AEE_ERR_ABI_VERSION, "ABI version 9,");
    free(blob.bytes);
}

static void test_stripped(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    file.ehdr.e_shoff = 0;
    file.ehdr.e_shnum = 0;
    file.ehdr.e_shstrndx = 0;
    struct aee__image *image = parse_valid(&file, ELF_AT(symbols));
    uint64_t offset;
    assert_int_equal(image->segment_count, 3);
    assert_int_equal(image->export_count, 0);
    assert_int_equal(aee__image_find_export(image, "add"), -1);
    assert_null(aee__image_symbol_at(image, image->entry, &offset));
    destroy(image);
}

/* ---- Exports, signatures, symbols ------------------------------------------------------------------ */

static const struct aee__export *find(const struct aee__image *image, const char *name)
{
    int32_t index = aee__image_find_export(image, name);
    return index < 0 ? NULL : &image->exports[index];
}

static void test_exports(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    struct aee__image *image = parse_valid(&file, sizeof file);
    assert_int_equal(find(image, "add")->gva, elf_gva(&file, ELF_AT(exported)));
    assert_int_equal(find(image, "mul")->gva, elf_gva(&file, ELF_AT(exported[0x20])));
    assert_int_equal(find(image, "blend")->gva, elf_gva(&file, ELF_AT(exported[0x40])));
    static const char *const others[] = {"secret", "_start", "helper", "absent", "table",
                                         "",       "ad",     "addd",   "dropped"};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        assert_int_equal(aee__image_find_export(image, others[i]), -1);
    }
    destroy(image);
}

static void test_exports_without_section(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    file.sections[ELF_S_EXPORT].sh_name = file.sections[ELF_S_TEXT].sh_name;
    struct aee__image *image = parse_valid(&file, sizeof file);
    assert_int_equal(image->export_count, 4);
    assert_non_null(find(image, "_start"));
    assert_null(find(image, "secret"));
    destroy(image);
    file.sections[ELF_S_SYMTAB].sh_type = SHT_PROGBITS; /* .dynsym is next */
    image = parse_valid(&file, sizeof file);
    assert_int_equal(image->export_count, 1);
    assert_string_equal(find(image, "add")->signature, "i:ii");
    destroy(image);
}

static void test_signatures(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    struct aee__image *image = parse_valid(&file, sizeof file);
    assert_string_equal(find(image, "add")->signature, "i:ii");
    assert_string_equal(find(image, "mul")->signature, "d:dd");
    assert_string_equal(find(image, "blend")->signature, "b");
    destroy(image);
    static const char *const good[] = {"add=v:", "add=i:", "add=d:ididid", "add=b"};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        memset(file.signatures, 0, sizeof file.signatures);
        memcpy(file.signatures + 3, good[i], strlen(good[i]));
        image = parse_valid(&file, sizeof file);
        assert_string_equal(find(image, "add")->signature, good[i] + 4);
        assert_null(find(image, "mul")->signature);
        destroy(image);
    }
    static const char *const bad[] = {
        "add",      "add=",     "=i:i",     "add=i",  "add=ii",        "add=x:i",
        "add=i:x",  "add=i:v",  "add=b:ii", "add=bb", "add=i:iiiiiii", "add:ii",
        "add=i:i ", "add==i:i", "=",        "add=:",  "add=i:i=i",     "no\nname",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        memset(file.signatures, 0, sizeof file.signatures);
        memcpy(file.signatures + 1, bad[i], strlen(bad[i]));
        expect_refusal(bad[i], &file, sizeof file, AEE_ERR_BAD_IMAGE, "section 4: malformed");
    }
    memset(file.signatures, 0, sizeof file.signatures);
    memcpy(file.signatures, "add=i:i\0add=i:i\0add=i:d", 23);
    expect_refusal("contradiction", &file, sizeof file, AEE_ERR_BAD_IMAGE,
                   "\"add=i:d\" contradicts an earlier \"i:i\"");
}

static void expect_symbol(const struct aee__image *image, uint64_t gva, const char *name,
                          uint64_t expected)
{
    uint64_t offset = 0;
    const char *found = aee__image_symbol_at(image, gva, &offset);
    if (!name) {
        assert_null(found);
        return;
    }
    assert_non_null(found);
    assert_string_equal(found, name);
    assert_int_equal(offset, expected);
}

static void test_symbol_at(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    struct aee__image *image = parse_valid(&file, sizeof file);
    uint64_t text = elf_gva(&file, ELF_AT(text));
    uint64_t exported = elf_gva(&file, ELF_AT(exported));
    expect_symbol(image, text - 1, NULL, 0);
    expect_symbol(image, text, "_start", 0);
    expect_symbol(image, text + 0xf, "_start", 0xf);
    expect_symbol(image, text + 0x10, "asm", 0);
    expect_symbol(image, text + 0x3f, "asm", 0x2f); /* no size: up to helper */
    expect_symbol(image, text + 0x40, "helper", 0);
    expect_symbol(image, text + 0x4f, "helper", 0xf);
    expect_symbol(image, text + 0x50, NULL, 0);
    expect_symbol(image, exported - 1, NULL, 0);
    expect_symbol(image, exported + 0x3f, "mul", 0x1f);
    expect_symbol(image, exported + 0x7f, "secret", 0x1f);
    expect_symbol(image, exported + 0x80, NULL, 0);
    expect_symbol(image, 0, NULL, 0);
    expect_symbol(image, UINT64_MAX, NULL, 0);
    expect_symbol(image, elf_gva(&file, ELF_AT(data)), NULL, 0); /* not a function */
    assert_string_equal(aee__image_symbol_at(image, text, NULL), "_start");
    destroy(image);
}

static void test_symbol_sizes(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    file.symbols[ELF_Y_SECRET].st_size = 0;               /* the last: up to its segment's end */
    file.symbols[ELF_Y_HELPER].st_size = UINT64_MAX - 16; /* cut at its segment's end */
    file.symbols[ELF_Y_ASM] = file.symbols[ELF_Y_START];  /* two names, one larger */
    file.symbols[ELF_Y_ASM].st_name = file.symbols[ELF_Y_TABLE].st_name;
    file.symbols[ELF_Y_ASM].st_size = 0x20;
    struct aee__image *image = parse_valid(&file, sizeof file);
    uint64_t end = image->segments[1].start + image->segments[1].size;
    expect_symbol(image, end - 1, "secret", end - 1 - elf_gva(&file, ELF_AT(exported[0x60])));
    expect_symbol(image, end, NULL, 0);
    expect_symbol(image, elf_gva(&file, ELF_AT(text[0x7f])), "helper", 0x3f);
    expect_symbol(image, elf_gva(&file, ELF_AT(text[0x1f])), "table", 0x1f);
    destroy(image);
    file.symbols[ELF_Y_SECRET].st_size = UINT64_MAX; /* cut as well */
    image = parse_valid(&file, sizeof file);
    expect_symbol(image, end - 1, "secret", end - 1 - elf_gva(&file, ELF_AT(exported[0x60])));
    expect_symbol(image, end, NULL, 0);
    destroy(image);
}

/* ---- Many symbols ------------------------------------------------------------------------------- */

/* A valid image whose symbol table is replaced by `number` functions with the given names. */
static struct elf_blob with_functions(char (*names)[8], uint32_t number, uint8_t info)
{
    struct elf_file file;
    struct elf_blob blob = {NULL, 0};
    elf_file_init(&file, ET_EXEC);
    memset(file.signatures, 0, sizeof file.signatures);
    Elf64_Sym *symbols = calloc(number + 1, sizeof *symbols);
    assert_non_null(symbols);
    for (uint32_t i = 0; i < number; i++) { /* downwards, so that sorting has work */
        symbols[i + 1] = (Elf64_Sym){.st_name = 8 * (i + 1),
                                     .st_info = info,
                                     .st_shndx = ELF_S_EXPORT,
                                     .st_value = elf_gva(&file, ELF_AT(exported)) + 0x7f - i % 128};
    }
    elf_blob_append(&blob, &file, sizeof file);
    file.sections[ELF_S_SYMTAB].sh_size = (number + 1) * sizeof *symbols;
    file.sections[ELF_S_SYMTAB].sh_offset =
        elf_blob_append(&blob, symbols, (number + 1) * sizeof *symbols);
    file.sections[ELF_S_STRTAB].sh_size = 8 + 8 * (uint64_t)number;
    file.sections[ELF_S_STRTAB].sh_offset = elf_blob_append(&blob, "\0\0\0\0\0\0\0", 8);
    elf_blob_append(&blob, names, 8 * (size_t)number);
    memcpy(blob.bytes, &file, sizeof file);
    free(symbols);
    return blob;
}

static void test_many_exports(void **state)
{
    (void)state;
    static char names[AEE__IMAGE_MAX_EXPORTS + 1][8];
    const uint8_t global = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    for (uint32_t i = 0; i < COUNT_OF(names); i++) {
        (void)snprintf(names[i], sizeof names[i], "f%u", i);
    }
    struct elf_blob blob = with_functions(names, AEE__IMAGE_MAX_EXPORTS, global);
    struct aee__image *image = parse_valid(blob.bytes, blob.size);
    assert_int_equal(image->export_count, AEE__IMAGE_MAX_EXPORTS);
    assert_int_equal(aee__image_find_export(image, "f4095"), 4095);
    assert_int_equal(aee__image_find_export(image, "f4096"), -1);
    destroy(image);
    free(blob.bytes);
    blob = with_functions(names, AEE__IMAGE_MAX_EXPORTS + 1, global);
    expect_refusal("exports", blob.bytes, blob.size, AEE_ERR_BAD_IMAGE,
                   "section 9: more than 4096 exported functions");
    free(blob.bytes);
    memcpy(names[7], names[70], sizeof names[7]);
    blob = with_functions(names, 100, global);
    expect_refusal("twice", blob.bytes, blob.size, AEE_ERR_BAD_IMAGE,
                   "function \"f70\" is exported twice");
    free(blob.bytes);
}

static void test_many_symbols(void **state)
{
    (void)state;
    static char names[65537][8];
    const uint8_t local = ELF64_ST_INFO(STB_LOCAL, STT_FUNC);
    for (uint32_t i = 0; i < COUNT_OF(names); i++) {
        (void)snprintf(names[i], sizeof names[i], "s%u", i);
    }
    struct elf_blob blob = with_functions(names, 65536, local);
    struct aee__image *image = parse_valid(blob.bytes, blob.size);
    assert_int_equal(image->symbol_count, 65536);
    assert_non_null(aee__image_symbol_at(image, image->segments[1].data_start + 0x90, NULL));
    destroy(image);
    free(blob.bytes);
    blob = with_functions(names, 65537, local);
    expect_refusal("symbols", blob.bytes, blob.size, AEE_ERR_BAD_IMAGE,
                   "section 9: more than 65536 functions");
    free(blob.bytes);
}

/* Names that were made to fall into one bucket would make every look-up slow. */
static void test_colliding_names(void **state)
{
    (void)state;
    static char names[100][8];
    uint32_t found = 0;
    for (uint32_t i = 0; found < COUNT_OF(names); i++) {
        char name[8] = {0};
        uint32_t hash = 2166136261u;
        (void)snprintf(name, sizeof name, "%u", i % 10000000u);
        for (const char *c = name; *c; c++) {
            hash = (hash ^ (uint8_t)*c) * 16777619u;
        }
        if (((hash ^ (hash >> 16)) & 511) == 7) {
            memcpy(names[found++], name, sizeof name);
        }
    }
    struct elf_blob blob = with_functions(names, 100, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC));
    expect_refusal("collisions", blob.bytes, blob.size, AEE_ERR_BAD_IMAGE,
                   "too many exported names");
    free(blob.bytes);
}

static void test_long_name(void **state)
{
    (void)state;
    for (size_t length = 1023; length <= 1024; length++) {
        struct elf_file file;
        struct elf_blob blob = {NULL, 0};
        char name[1026] = {0};
        memset(name + 1, 'n', length);
        elf_file_init(&file, ET_DYN);
        for (size_t i = 0; i < ELF_Y_COUNT; i++) {
            file.symbols[i].st_name = 0;
        }
        file.symbols[ELF_Y_ADD].st_name = 1;
        elf_blob_append(&blob, &file, sizeof file);
        file.sections[ELF_S_STRTAB].sh_size = length + 2;
        file.sections[ELF_S_STRTAB].sh_offset = elf_blob_append(&blob, name, length + 2);
        memcpy(blob.bytes, &file, sizeof file);
        if (length == 1023) {
            struct aee__image *image = parse_valid(blob.bytes, blob.size);
            assert_non_null(find(image, name + 1));
            destroy(image);
        } else {
            expect_refusal("long name", blob.bytes, blob.size, AEE_ERR_BAD_IMAGE,
                           "longer than 1023 bytes");
        }
        free(blob.bytes);
    }
}

/* ---- One thing broken --------------------------------------------------------------------------- */

struct patch {
    size_t offset;
    size_t size;
    uint64_t value;
};
#define SET(member, value)                                                                 \
    {                                                                                      \
        offsetof(struct elf_file, member), sizeof(((struct elf_file *)0)->member), (value) \
    }

struct refusal {
    const char *name;
    const char *text; /* that the sentence must contain */
    struct patch patches[4];
};

static void apply(struct elf_file *file, const struct patch *patches)
{
    for (size_t i = 0; i < 4 && patches[i].size > 0; i++) {
        memcpy((uint8_t *)file + patches[i].offset, &patches[i].value, patches[i].size);
    }
}

static void expect_refusals(uint16_t type, aee_result code, const struct refusal *cases,
                            size_t number)
{
    for (size_t i = 0; i < number; i++) {
        struct elf_file file;
        elf_file_init(&file, type);
        apply(&file, cases[i].patches);
        expect_refusal(cases[i].name, &file, sizeof file, code, cases[i].text);
    }
}

#define REFUSALS(type, code, cases) expect_refusals(type, code, cases, COUNT_OF(cases))

static void test_file_header(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"magic", "magic is 7f 45 4c 00", {SET(ehdr.e_ident[EI_MAG3], 0)}},
        {"class", "class is 1", {SET(ehdr.e_ident[EI_CLASS], ELFCLASS32)}},
        {"order", "byte order is 2", {SET(ehdr.e_ident[EI_DATA], ELFDATA2MSB)}},
        {"ident version", "version is 0", {SET(ehdr.e_ident[EI_VERSION], 0)}},
        {"version", "and 2, not 1", {SET(ehdr.e_version, 2)}},
        {"machine", "machine is 183", {SET(ehdr.e_machine, EM_AARCH64)}},
        {"relocatable", "type is 1", {SET(ehdr.e_type, ET_REL)}},
        {"core", "type is 4", {SET(ehdr.e_type, ET_CORE)}},
        {"ehsize", "e_ehsize is 52", {SET(ehdr.e_ehsize, 52)}},
        {"phentsize", "e_phentsize is 32", {SET(ehdr.e_phentsize, 32)}},
        {"no headers", "e_phnum is 0", {SET(ehdr.e_phnum, 0)}},
        {"65 headers", "e_phnum is 65", {SET(ehdr.e_phnum, 65)}},
        {"PN_XNUM", "e_phnum is 65535", {SET(ehdr.e_phnum, 0xffff)}},
        {"phoff", "program headers at offset 0xffffff", {SET(ehdr.e_phoff, 0xffffff)}},
        {"phoff wraps", "offset 0xffffffffffffffc0", {SET(ehdr.e_phoff, UINT64_MAX - 63)}},
        {"entry in data", "entry 0x2500", {SET(ehdr.e_entry, 0x2500)}},
        {"entry wraps", "entry 0xffffffffff", {SET(ehdr.e_entry, UINT64_MAX - 4)}},
        {"interpreter",
         "program header 6: PT_INTERP",
         {SET(headers[ELF_H_STACK].p_type, PT_INTERP)}},
    };
    REFUSALS(ET_DYN, AEE_ERR_BAD_IMAGE, cases);
}

static void test_segment_headers(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"W+X", "program header 1: segment is both", {SET(headers[ELF_H_CODE].p_flags, 7)}},
        {"no rights", "program header 0: segment has no rights", {SET(headers[0].p_flags, 0)}},
        {"filesz > memsz",
         "program header 2: file size 0x380 exceeds memory size 0x37f",
         {SET(headers[ELF_H_DATA].p_memsz, 0x37f)}},
        {"beyond the file",
         "program header 1: 0x100 bytes at offset 0x1a00",
         {SET(headers[1].p_offset, 0x1a00)}},
        {"offset wraps",
         "program header 1: 0x100 bytes at offset 0xffffffffffffff80",
         {SET(headers[ELF_H_CODE].p_offset, UINT64_MAX - 127)}},
        {"address wraps",
         "program header 1: address 0xffffffffffffff80",
         {SET(headers[1].p_vaddr, UINT64_MAX - 127)}},
        {"alignment", "alignment 0x3000 is not", {SET(headers[1].p_align, 0x3000)}},
        {"alignment beyond the base",
         "alignment 0x800000 does not hold",
         {SET(headers[1].p_align, 0x800000)}},
        {"no code", "none of 3 segments is executable", {SET(headers[1].p_flags, PF_R)}},
        {"overlap",
         "program headers 0 and 1 overlap at 0x4003ff",
         {SET(headers[1].p_vaddr, 0x3ff)}},
        {"same address", "overlap at 0x401400", {SET(headers[2].p_vaddr, 0x1400)}},
        {"shared page", "share the page at 0x400000", {SET(headers[1].p_vaddr, 0x800)}},
        {"page end", "share the page at 0x401000", {SET(headers[ELF_H_DATA].p_vaddr, 0x1ff0)}},
        {"far away", "lies outside [0x400000", {SET(headers[ELF_H_DATA].p_vaddr, 0x20000000)}},
        {"far memory",
         "program header 2: address 0x2500 with size",
         {SET(headers[2].p_memsz, 0x20000000)}},
        {"too much memory", "more than 0x10000000", {SET(headers[2].p_memsz, 0x10000000)}},
    };
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    expect_refusal("cut", &file, ELF_AT(tdata) + 1, AEE_ERR_BAD_IMAGE,
                   "program header 2: 0x380 bytes");
    REFUSALS(ET_DYN, AEE_ERR_BAD_IMAGE, cases);
}

static void test_fixed_addresses(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"null", "program header 0: address 0x0 with", {SET(headers[0].p_vaddr, 0)}},
        {"system area", "program header 2: address 0x200000", {SET(headers[2].p_vaddr, 0x200000)}},
        {"just below", "program header 0: address 0x3fffff", {SET(headers[0].p_vaddr, 0x3fffff)}},
        {"kernel half",
         "address 0xffffffff80000000",
         {SET(headers[2].p_vaddr, 0xffffffff80000000)}},
        {"end",
         "program header 2: address 0x1fffd000",
         {SET(headers[ELF_H_DATA].p_vaddr, 0x1fffd000)}},
    };
    REFUSALS(ET_EXEC, AEE_ERR_BAD_IMAGE, cases);
}

static void test_too_many_segments(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    Elf64_Phdr headers[3 + AEE__IMAGE_MAX_SEGMENTS];
    for (uint32_t i = 0; i < COUNT_OF(headers); i++) {
        headers[i] = file.headers[ELF_H_DATA];
        headers[i].p_vaddr = 0x100000 + 0x10000 * (uint64_t)(COUNT_OF(headers) - i);
    }
    headers[0] = file.headers[ELF_H_NOTE];
    headers[1] = file.headers[ELF_H_RODATA];
    headers[2] = file.headers[ELF_H_CODE];
    struct elf_blob blob = {NULL, 0};
    elf_blob_append(&blob, &file, sizeof file);
    file.ehdr.e_phoff = elf_blob_append(&blob, headers, sizeof headers);
    file.ehdr.e_phnum = 1 + AEE__IMAGE_MAX_SEGMENTS;
    memcpy(blob.bytes, &file, sizeof file);
    struct aee__image *image = parse_valid(blob.bytes, blob.size);
    assert_int_equal(image->segment_count, AEE__IMAGE_MAX_SEGMENTS);
    destroy(image);
    file.ehdr.e_phnum++;
    memcpy(blob.bytes, &file, sizeof file);
    expect_refusal("segments", blob.bytes, blob.size, AEE_ERR_BAD_IMAGE,
                   "program header 17: more than 16 PT_LOAD segments");
    free(blob.bytes);
}

static void test_tls(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"filesz > memsz",
         "PT_TLS file size 0x10 exceeds memory size 0xf",
         {SET(headers[ELF_H_TLS].p_memsz, 15)}},
        {"size", "PT_TLS size 0x100001", {SET(headers[ELF_H_TLS].p_memsz, AEE_TLS_MAX + 1)}},
        {"align 24", "PT_TLS alignment 0x18", {SET(headers[ELF_H_TLS].p_align, 24)}},
        {"align 8192", "PT_TLS alignment 0x2000", {SET(headers[ELF_H_TLS].p_align, 8192)}},
        {"unaligned", "PT_TLS address 0x2508", {SET(headers[ELF_H_TLS].p_vaddr, 0x2508)}},
        {"nowhere", "PT_TLS template 0x9000", {SET(headers[ELF_H_TLS].p_vaddr, 0x9000)}},
        {"in bss", "PT_TLS template 0x2880", {SET(headers[ELF_H_TLS].p_vaddr, 0x2880)}},
        {"wraps",
         "PT_TLS template 0xfffffffffffffff0",
         {SET(headers[ELF_H_TLS].p_vaddr, UINT64_MAX - 15)}},
        {"two", "program header 6: a second PT_TLS", {SET(headers[ELF_H_STACK].p_type, PT_TLS)}},
    };
    REFUSALS(ET_DYN, AEE_ERR_BAD_IMAGE, cases);
}

static void test_note(void **state)
{
    (void)state;
    static const struct refusal versions[] = {
        {"older",
         "built for ABI version 0, but this library has version 1",
         {SET(note.version, 0)}},
        {"future", "ABI version 4294967295", {SET(note.version, UINT32_MAX)}},
        {"no segment", "include aee_guest.h", {SET(headers[ELF_H_NOTE].p_type, PT_NULL)}},
        {"owner", "include aee_guest.h", {SET(note.owner[1], 'A')}},
        {"type", "include aee_guest.h", {SET(note.header.n_type, 2)}},
        {"name size", "include aee_guest.h", {SET(note.header.n_namesz, 3)}},
        {"empty", "include aee_guest.h", {SET(headers[ELF_H_NOTE].p_filesz, 0)}},
    };
    static const struct refusal broken[] = {
        {"descriptor",
         "program header 4: the AEE note has 3 bytes",
         {SET(note.header.n_descsz, 3)}},
        {"long name", "reaches beyond its segment", {SET(note.header.n_namesz, UINT32_MAX)}},
        {"long descriptor", "reaches beyond its segment", {SET(note.header.n_descsz, UINT32_MAX)}},
        {"cut", "reaches beyond its segment", {SET(headers[ELF_H_NOTE].p_filesz, 19)}},
        {"offset",
         "program header 4: PT_NOTE with 0x14",
         {SET(headers[ELF_H_NOTE].p_offset, UINT64_MAX)}},
    };
    REFUSALS(ET_DYN, AEE_ERR_ABI_VERSION, versions);
    REFUSALS(ET_EXEC, AEE_ERR_ABI_VERSION, versions);
    REFUSALS(ET_DYN, AEE_ERR_BAD_IMAGE, broken);
}

#define INFO(symbol, type) ELF64_R_INFO((uint64_t)(symbol), type)

static void test_relocations(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"type",
         "DT_RELA relocation 3: unknown type 16",
         {SET(relas[3].r_info, INFO(0, R_X86_64_DTPMOD64))}},
        {"copy",
         "DT_RELA relocation 0: unknown type 5",
         {SET(relas[0].r_info, INFO(1, R_X86_64_COPY))}},
        {"IRELATIVE",
         "relocation 2: R_X86_64_IRELATIVE",
         {SET(relas[2].r_info, INFO(0, R_X86_64_IRELATIVE))}},
        {"IFUNC",
         "relocation 1: \"add\" is an indirect function",
         {SET(dynsyms[1].st_info, ELF64_ST_INFO(STB_GLOBAL, STT_GNU_IFUNC))}},
        {"undefined",
         "relocation 2: symbol \"absent\" is undefined",
         {SET(dynsyms[2].st_info, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC))}},
        {"symbol index",
         "symbol index 4294967295 is out of range",
         {SET(relas[1].r_info, INFO(UINT32_MAX, R_X86_64_64))}},
        {"symbol name",
         "relocation 1: name 0x40 of symbol 1 is beyond DT_STRTAB",
         {SET(dynsyms[1].st_name, 64)}},
        {"null",
         "relocation 0: address 0xffffffffffc00000",
         {SET(relas[0].r_offset, UINT64_MAX - 0x3fffff)}},
        {"bss", "DT_RELA relocation 0: address 0x2879", {SET(relas[0].r_offset, 0x2879)}},
        {"across the end", "relocation 0: address 0x14f9", {SET(relas[0].r_offset, 0x14f9)}},
        {"wraps", "address 0xfffffffffffffffc", {SET(relas[0].r_offset, UINT64_MAX - 3)}},
        {"no TLS",
         "R_X86_64_TPOFF64 in an image without PT_TLS",
         {SET(headers[ELF_H_TLS].p_type, PT_NULL)}},
        {"PLT", "DT_JMPREL relocation 0: address 0x10", {SET(plt_relas[0].r_offset, 0x10000000)}},
        {"RELR address", "DT_RELR relocation 0: address 0x10", {SET(relr[0], 0x10000000)}},
        {"RELR bitmap", "DT_RELR relocation 2: address 0x2880", {SET(relr[2], UINT64_MAX)}},
        {"RELR starts with a bitmap", "DT_RELR relocation 0: a bitmap", {SET(relr[0], 3)}},
    };
    REFUSALS(ET_DYN, AEE_ERR_BAD_IMAGE, cases);
}

static void test_dynamic(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"needed", "DT_NEEDED", {SET(dynamic[ELF_D_FLAGS].d_tag, DT_NEEDED)}},
        {"REL", "DT_REL:", {SET(dynamic[ELF_D_FLAGS].d_tag, DT_REL)}},
        {"twice", "tag 7 occurs twice", {SET(dynamic[ELF_D_FLAGS].d_tag, DT_RELA)}},
        {"no end", "has no DT_NULL", {SET(dynamic[ELF_D_NULL].d_tag, DT_FLAGS)}},
        {"RELAENT", "DT_RELAENT is 16, not 24", {SET(dynamic[ELF_D_RELAENT].d_un.d_val, 16)}},
        {"SYMENT", "DT_SYMENT is 0", {SET(dynamic[ELF_D_SYMENT].d_un.d_val, 0)}},
        {"RELRENT", "DT_RELRENT is 4", {SET(dynamic[ELF_D_RELRENT].d_un.d_val, 4)}},
        {"PLTREL", "DT_PLTREL is 17", {SET(dynamic[ELF_D_PLTREL].d_un.d_val, DT_REL)}},
        {"RELASZ", "size 0xa7 of DT_RELA", {SET(dynamic[ELF_D_RELASZ].d_un.d_val, 167)}},
        {"no RELASZ",
         "DT_RELA has an address or a size",
         {SET(dynamic[ELF_D_RELASZ].d_tag, DT_DEBUG)}},
        {"RELA", "DT_RELA at 0x123456", {SET(dynamic[ELF_D_RELA].d_un.d_val, 0x123456)}},
        {"long RELA", "DT_RELA at 0x", {SET(dynamic[ELF_D_RELASZ].d_un.d_val, UINT64_MAX - 15)}},
        {"long RELR", "DT_RELR at 0x", {SET(dynamic[ELF_D_RELRSZ].d_un.d_val, 0x1000)}},
        {"RELA in bss", "DT_RELA at 0x2888", {SET(dynamic[ELF_D_RELA].d_un.d_val, 0x2888)}},
        {"JMPREL",
         "DT_JMPREL at 0x0",
         {SET(dynamic[ELF_D_JMPREL].d_un.d_val, 0),
          SET(dynamic[ELF_D_PLTRELSZ].d_un.d_val, 0x480)}},
        {"SYMTAB",
         "DT_SYMTAB 0xfffffffffff",
         {SET(dynamic[ELF_D_SYMTAB].d_un.d_val, UINT64_MAX - 99)}},
        {"no SYMTAB",
         "symbol index 1 is out of range",
         {SET(dynamic[ELF_D_SYMTAB].d_tag, DT_DEBUG)}},
        {"STRTAB", "DT_STRTAB 0x7000", {SET(dynamic[ELF_D_STRTAB].d_un.d_val, 0x7000)}},
        {"STRSZ", "DT_STRTAB 0x", {SET(dynamic[ELF_D_STRSZ].d_un.d_val, UINT64_MAX)}},
        {"terminator", "does not end with a terminator", {SET(dynstr[63], 'x')}},
        {"size",
         "program header 3: PT_DYNAMIC with 0xf1",
         {SET(headers[ELF_H_DYNAMIC].p_filesz, 0xf1)}},
        {"empty",
         "program header 3: PT_DYNAMIC with 0x0",
         {SET(headers[ELF_H_DYNAMIC].p_filesz, 0)}},
        {"offset",
         "is not a table within the file",
         {SET(headers[ELF_H_DYNAMIC].p_offset, UINT64_MAX - 7)}},
        {"two", "a second PT_DYNAMIC", {SET(headers[ELF_H_STACK].p_type, PT_DYNAMIC)}},
    };
    REFUSALS(ET_DYN, AEE_ERR_BAD_IMAGE, cases);
}

static void test_sections(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"shentsize", "e_shentsize is 40", {SET(ehdr.e_shentsize, 40)}},
        {"no table", "e_shnum is 12, but e_shoff is 0", {SET(ehdr.e_shoff, 0)}},
        {"shoff", "section headers at offset 0xffffffffffffffff", {SET(ehdr.e_shoff, UINT64_MAX)}},
        {"shoff without shnum",
         "no section header at e_shoff 0xffffff",
         {SET(ehdr.e_shnum, 0), SET(ehdr.e_shoff, 0xffffff)}},
        {"shnum", "truncated: 13 section headers", {SET(ehdr.e_shnum, 13)}},
        {"10^6 sections",
         "1000000 sections",
         {SET(ehdr.e_shnum, 0), SET(sections[0].sh_size, 1000000)}},
        {"10^18 sections",
         "1000000000000000000 sections",
         {SET(ehdr.e_shnum, 0), SET(sections[0].sh_size, 1000000000000000000)}},
        {"65535 sections", "65535 sections", {SET(ehdr.e_shnum, 0xffff)}},
        {"shstrndx", "e_shstrndx is 12 of 12", {SET(ehdr.e_shstrndx, 12)}},
        {"names type",
         "section 10: section names are not",
         {SET(ehdr.e_shstrndx, 10), SET(sections[10].sh_type, SHT_NULL)}},
        {"no names", "section 11: section names are not", {SET(sections[11].sh_size, 0)}},
        {"names end", "section 11: section names do not end", {SET(names[127], 'x')}},
        {"names offset",
         "section 11: section names are not",
         {SET(sections[11].sh_offset, UINT64_MAX - 5)}},
        {"name", "section 5: name 0x80 is beyond", {SET(sections[5].sh_name, 128)}},
        {"offset",
         "section 5: 0x80 bytes at offset 0xfffffffffffffff0",
         {SET(sections[5].sh_offset, UINT64_MAX - 15)}},
        {"size", "section 1: 0xffffffffffffffff bytes", {SET(sections[1].sh_size, UINT64_MAX)}},
        {"signatures without bytes",
         "section 4: aee_signature",
         {SET(sections[4].sh_type, SHT_NOBITS)}},
        {"signatures end", "section 4: signatures do not end", {SET(sections[4].sh_size, 5)}},
    };
    REFUSALS(ET_DYN, AEE_ERR_BAD_IMAGE, cases);
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    file.sections[ELF_S_NOTE].sh_name = file.sections[ELF_S_SIGNATURE].sh_name;
    expect_refusal("two", &file, sizeof file, AEE_ERR_BAD_IMAGE,
                   "section 4: aee_signature is there");
}

/* The image with ".data" as its declared state. */
static void make_stateful(struct elf_file *file, uint16_t type)
{
    elf_file_init(file, type);
    Elf64_Shdr *section = &file->sections[ELF_S_DATA];
    section->sh_name = elf_string(file->names, sizeof file->names, AEE_ABI_STATE_SECTION);
    section->sh_flags = SHF_ALLOC | SHF_WRITE;
}

static void test_declared_state(void **state)
{
    (void)state;
    struct elf_file file;
    static const uint16_t types[] = {ET_EXEC, ET_DYN};
    for (unsigned i = 0; i < 2; i++) {
        elf_file_init(&file, types[i]);
        struct aee__image *image = parse_valid(&file, sizeof file);
        assert_int_equal(image->state_size, 0);
        destroy(image);
        make_stateful(&file, types[i]);
        image = parse_valid(&file, sizeof file);
        assert_int_equal(image->state_start, elf_gva(&file, ELF_AT(data)));
        assert_int_equal(image->state_size, sizeof file.data);
        destroy(image);
    }
    file.sections[ELF_S_DATA].sh_size = 0; /* nothing is declared */
    file.sections[ELF_S_DATA].sh_addr = 1;
    struct aee__image *image = parse_valid(&file, sizeof file);
    assert_int_equal(image->state_size, 0);
    destroy(image);
}

static void test_hostile_state(void **state)
{
    (void)state;
    struct elf_file good;
    make_stateful(&good, ET_DYN);
    const uint64_t data = good.sections[ELF_S_DATA].sh_addr;
    const uint64_t end = good.headers[ELF_H_DATA].p_vaddr + good.headers[ELF_H_DATA].p_memsz;
    const struct {
        uint64_t address;
        uint64_t size;
        uint64_t flags;
        uint32_t type;
    } cases[] = {
        {data, 8, SHF_WRITE, SHT_PROGBITS},                                      /* not loaded */
        {good.sections[ELF_S_TEXT].sh_addr, 8, SHF_ALLOC, SHT_PROGBITS},         /* code */
        {good.sections[ELF_S_SIGNATURE].sh_addr, 8, SHF_ALLOC, SHT_PROGBITS},    /* constants */
        {good.sections[ELF_S_SIGNATURE].sh_addr, 0x2800, SHF_ALLOC, SHT_NOBITS}, /* over segments */
        {data, UINT64_MAX, SHF_ALLOC, SHT_NOBITS},
        {data, 0 - data, SHF_ALLOC, SHT_NOBITS},
        {UINT64_MAX - 7, 16, SHF_ALLOC, SHT_NOBITS},
        {0 - AEE_GVA_IMAGE, 8, SHF_ALLOC, SHT_PROGBITS},
        {AEE_GVA_HEAP, 8, SHF_ALLOC, SHT_PROGBITS},
        {end - 8, 9, SHF_ALLOC, SHT_NOBITS},
        {end, 1, SHF_ALLOC, SHT_NOBITS},
    };
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        struct elf_file file = good;
        file.sections[ELF_S_DATA].sh_addr = cases[i].address;
        file.sections[ELF_S_DATA].sh_size = cases[i].size;
        file.sections[ELF_S_DATA].sh_flags = cases[i].flags;
        file.sections[ELF_S_DATA].sh_type = cases[i].type;
        expect_refusal("state", &file, sizeof file, AEE_ERR_BAD_IMAGE,
                       "section 7: aee_state with 0x");
    }
    struct elf_file file = good;
    file.sections[ELF_S_BSS].sh_name = file.sections[ELF_S_DATA].sh_name;
    file.sections[ELF_S_BSS].sh_flags = SHF_ALLOC;
    expect_refusal("two", &file, sizeof file, AEE_ERR_BAD_IMAGE, "section 8: aee_state is there");
    /* Whatever a byte of its header is: refused, or within a writable segment. */
    uint8_t *header = (uint8_t *)&file.sections[ELF_S_DATA];
    for (unsigned at = 0; at < sizeof(Elf64_Shdr) * 8; at++) {
        file = good;
        header[at / 8] ^= (uint8_t)(1u << at % 8);
        struct aee__image *image;
        aee_error error;
        if (parse(&file, sizeof file, &image, &error) == AEE_OK) {
            assert_null(elf_image_fault(image));
            destroy(image);
        }
    }
}

static void test_symbol_tables(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"entsize",
         "section 9: symbol table of 0xf0 bytes has entries of 16",
         {SET(sections[9].sh_entsize, 16)}},
        {"size", "section 9: symbol table of 0xef", {SET(sections[9].sh_size, 0xef)}},
        {"no link", "section 9: sh_link 0 ", {SET(sections[9].sh_link, 0)}},
        {"link", "section 9: sh_link 12 ", {SET(sections[9].sh_link, 12)}},
        {"link type", "section 9: not a string table for section 9", {SET(sections[9].sh_link, 9)}},
        {"terminator", "section 10: string table does not end", {SET(strtab[63], 'x')}},
        {"no strings", "section 10: not a string table", {SET(sections[10].sh_size, 0)}},
        {"name", "name 0x40 of symbol 3", {SET(symbols[3].st_name, 64)}},
        {"section", "symbol 5 is in section 12 of 12", {SET(symbols[5].st_shndx, 12)}},
        {"export in data",
         "exported function \"add\" at 0x2500",
         {SET(symbols[ELF_Y_ADD].st_value, 0x2500)}},
        {"export wraps",
         "exported function \"mul\" at 0xfffffffffffffff0",
         {SET(symbols[ELF_Y_MUL].st_value, UINT64_MAX - 15)}},
    };
    REFUSALS(ET_DYN, AEE_ERR_BAD_IMAGE, cases);
    struct elf_file file; /* control characters of a name reach no log */
    elf_file_init(&file, ET_DYN);
    file.symbols[ELF_Y_ADD].st_value = 0x2500;
    memcpy(file.strtab + file.symbols[ELF_Y_ADD].st_name, "\x1b[\n", 3);
    expect_refusal("escape", &file, sizeof file, AEE_ERR_BAD_IMAGE, "exported function \"?[?\"");
}

/* Local functions outside code are only left out: no report can need them. */
static void test_odd_symbols(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    file.symbols[ELF_Y_HELPER].st_value = 0x2500;
    file.symbols[ELF_Y_ASM].st_shndx = SHN_ABS;
    file.symbols[ELF_Y_START].st_name = 0;
    struct aee__image *image = parse_valid(&file, sizeof file);
    assert_int_equal(image->symbol_count, 4);
    destroy(image);
}

/* ---- Everything broken ----------------------------------------------------------------------------- */

static void test_truncation(void **state)
{
    (void)state;
    static const uint16_t types[] = {ET_DYN, ET_EXEC};
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        struct elf_file file;
        elf_file_init(&file, types[t]);
        for (size_t size = 0; size < sizeof file; size++) {
            struct aee__image *image;
            aee_error error;
            assert_int_not_equal(parse(&file, size, &image, &error), AEE_OK);
            assert_true(strncmp(error.text, WHAT, strlen(WHAT)) == 0);
        }
    }
    struct aee__image *image;
    aee_error error;
    assert_int_equal(aee__image_parse(&the_alloc, NULL, NULL, 100, &image, &error),
                     AEE_ERR_BAD_IMAGE);
    assert_int_equal(aee__image_parse(&the_alloc, NULL, NULL, 0, &image, NULL), AEE_ERR_BAD_IMAGE);
    assert_int_equal(the_ledger.live, 0);
    aee__image_destroy(NULL);
}

/* Whether the image with one byte changed is accepted; what is accepted must keep the rules. */
static bool accepts_flipped(size_t at, uint8_t mask)
{
    struct elf_file file;
    struct aee__image *image;
    aee_error error;
    elf_file_init(&file, ET_DYN);
    ((uint8_t *)&file)[at] ^= mask;
    if (parse(&file, sizeof file, &image, &error) != AEE_OK) {
        return false;
    }
    const char *fault = elf_image_fault(image);
    if (fault) {
        fail_msg("byte 0x%zx ^ 0x%x: %s", at, mask, fault);
    }
    destroy(image);
    return true;
}

static void test_flipped_bytes(void **state)
{
    (void)state;
    static const uint8_t masks[] = {0xff, 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80};
    size_t accepted = 0;
    for (size_t at = 0; at < sizeof(struct elf_file); at++) {
        for (size_t m = 0; m < COUNT_OF(masks); m++) {
            accepted += accepts_flipped(at, masks[m]) ? 1 : 0;
        }
    }
    assert_true(accepted > 1000); /* contents, paddings: not everything is refused */
}

/* The caller's bytes may lie in memory that a component writes to: they change at allocation n. */
static void test_changing_bytes(void **state)
{
    (void)state;
    bool noticed = false;
    for (size_t n = 1; n <= 7; n++) {
        for (unsigned fill = 0; fill < 256; fill++) {
            struct aee__image *image;
            aee_error error;
            struct elf_file *file = malloc(sizeof *file);
            assert_non_null(file);
            elf_file_init(file, ET_DYN);
            the_ledger = (struct ledger){.change_at = n, .victim = file, .fill = (uint8_t)fill};
            (void)aee__image_parse(&the_alloc, WHAT, file, sizeof *file, &image, &error);
            free(file);
            assert_true(!image || !elf_image_fault(image));
            noticed = noticed || strstr(error.text, "changed while it was read");
            destroy(image);
        }
    }
    assert_true(noticed);
    the_ledger = (struct ledger){0};
}

static void test_variables(void **state)
{
    (void)state;
    static const int types[] = {ET_EXEC, ET_DYN};
    for (unsigned i = 0; i < 2; i++) {
        struct elf_file file;
        struct aee__image *image;
        aee_error error;
        uint64_t gva = 0;
        uint64_t size = 0;
        uint64_t offset = 0;
        elf_file_init(&file, (uint16_t)types[i]);
        assert_int_equal(parse(&file, sizeof file, &image, &error), AEE_OK);
        assert_true(aee__image_find_variable(image, "table", &gva, &size));
        assert_int_equal(size, 128);
        assert_string_equal(aee__image_variable_at(image, gva + 127, &offset), "table");
        assert_int_equal(offset, 127);
        assert_null(aee__image_variable_at(image, gva + 128, &offset));
        assert_null(aee__image_variable_at(image, gva - 1, &offset));
        assert_false(aee__image_find_variable(image, "helper", &gva, &size)); /* a function */
        destroy(image);
    }
}

static void test_failing_allocations(void **state)
{
    (void)state;
    struct elf_file file;
    elf_file_init(&file, ET_DYN);
    size_t failures = 0;
    for (size_t n = 1;; n++) {
        struct aee__image *image;
        aee_error error;
        the_ledger = (struct ledger){.fail_at = n};
        aee_result result = parse(&file, sizeof file, &image, &error);
        assert_int_equal(the_ledger.wrong, 0);
        if (result == AEE_OK) {
            assert_true(the_ledger.calls < n);
            destroy(image);
            break;
        }
        assert_int_equal(result, AEE_ERR_NO_MEMORY);
        assert_non_null(strstr(error.text, WHAT ": no memory for "));
        failures++;
    }
    /* image, data, names, symbols, variables, exports, hash, signatures */
    assert_int_equal(failures, 8);
    the_ledger = (struct ledger){0};
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_static),
        cmocka_unit_test(test_static_pie),
        cmocka_unit_test(test_placement),
        cmocka_unit_test(test_order_of_headers),
        cmocka_unit_test(test_adjacent),
        cmocka_unit_test(test_shared_page),
        cmocka_unit_test(test_no_entry_no_tls),
        cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_several_notes),
        cmocka_unit_test(test_stripped),
        cmocka_unit_test(test_exports),
        cmocka_unit_test(test_exports_without_section),
        cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_symbol_at),
        cmocka_unit_test(test_symbol_sizes),
        cmocka_unit_test(test_many_exports),
        cmocka_unit_test(test_many_symbols),
        cmocka_unit_test(test_colliding_names),
        cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_file_header),
        cmocka_unit_test(test_segment_headers),
        cmocka_unit_test(test_fixed_addresses),
        cmocka_unit_test(test_too_many_segments),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_note),
        cmocka_unit_test(test_relocations),
        cmocka_unit_test(test_dynamic),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_declared_state),
        cmocka_unit_test(test_hostile_state),
        cmocka_unit_test(test_symbol_tables),
        cmocka_unit_test(test_odd_symbols),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_changing_bytes),
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
