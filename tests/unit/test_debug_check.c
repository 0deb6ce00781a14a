/* test_debug_check.c: recovery/debug_check: what of an image's debugging information is not given
 * to libdw. One small file, made here, and what is wrong with its variants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <dwarf.h>
#include <elf.h>

#include "recovery/debug_check.h"

enum { NAMES = 1, INFO, ABBREVIATIONS, SECTIONS };

struct file {
    Elf64_Ehdr header;
    Elf64_Shdr sections[SECTIONS];
    char names[64];
    uint8_t info[64];
    uint8_t abbreviations[32];
};

static void put(struct file *file, unsigned section, uint64_t offset, uint64_t size, uint32_t type)
{
    file->sections[section].sh_type = type;
    file->sections[section].sh_offset = offset;
    file->sections[section].sh_size = size;
}

/* A DWARF 5 unit of 9 bytes, then one of DWARF 4 of 8; both begin with abbreviation 1. */
static void make(struct file *file)
{
    static const char names[] = "\0.shstrtab\0.debug_info\0.debug_abbrev";
    static const uint8_t info[] = {9, 0, 0, 0, 5, 0, DW_UT_compile,
                                   8, 0, 0, 0, 0, 1, /* and */
                                   8, 0, 0, 0, 4, 0, 0,
                                   0, 0, 0, 8, 1};
    static const uint8_t abbreviations[] = {
        2, DW_TAG_subprogram,   0, DW_AT_name,     DW_FORM_string, 0, 0,
        1, DW_TAG_compile_unit, 1, DW_AT_language, DW_FORM_data1,  0, 0,
        0};
    memset(file, 0, sizeof *file);
    file->header.e_shoff = offsetof(struct file, sections);
    file->header.e_shnum = SECTIONS;
    file->header.e_shstrndx = NAMES;
    memcpy(file->names, names, sizeof names);
    memcpy(file->info, info, sizeof info);
    memcpy(file->abbreviations, abbreviations, sizeof abbreviations);
    put(file, NAMES, offsetof(struct file, names), sizeof names, SHT_STRTAB);
    put(file, INFO, offsetof(struct file, info), sizeof info, SHT_PROGBITS);
    put(file, ABBREVIATIONS, offsetof(struct file, abbreviations), sizeof abbreviations,
        SHT_PROGBITS);
    file->sections[NAMES].sh_name = 1;
    file->sections[INFO].sh_name = 11;
    file->sections[ABBREVIATIONS].sh_name = 23;
}

static const char *check(const struct file *file)
{
    return aee__debug_check((const uint8_t *)file, sizeof *file);
}

static void test_sound(void **state)
{
    (void)state;
    struct file file;
    make(&file);
    assert_null(check(&file));
    file.header.e_shnum = 2; /* no debugging information at all */
    assert_null(check(&file));
}

static void test_sections(void **state)
{
    (void)state;
    struct file file;
    make(&file);
    file.sections[INFO].sh_flags = SHF_COMPRESSED;
    assert_string_equal(check(&file), "a section is compressed");
    make(&file);
    file.sections[INFO].sh_size = sizeof file;
    assert_string_equal(check(&file), "a section is cut off");
    make(&file);
    file.sections[INFO].sh_offset = UINT64_MAX - 3;
    assert_string_equal(check(&file), "a section is cut off");
    make(&file);
    file.header.e_shoff = UINT64_MAX - 100;
    assert_non_null(check(&file));
    make(&file);
    file.header.e_shstrndx = 200;
    assert_non_null(check(&file));
    make(&file);
    memcpy(file.names + 40, ".gnu_debugaltlink", 18);
    assert_string_equal(check(&file), "it refers to other files");
    make(&file);
    file.sections[ABBREVIATIONS].sh_name = 11; /* a second .debug_info */
    assert_non_null(check(&file));
    assert_string_equal(aee__debug_check((const uint8_t *)&file, 20), "a section is cut off");
}

static void test_units(void **state)
{
    (void)state;
    struct file file;
    make(&file);
    file.info[6] = DW_UT_skeleton;
    assert_string_equal(check(&file), "it refers to other files");
    make(&file);
    file.abbreviations[10] = DW_AT_dwo_name;
    assert_string_equal(check(&file), "it refers to other files");
    make(&file);
    file.abbreviations[10] = 0xb0; /* DW_AT_GNU_dwo_name, with a byte that says nothing */
    file.abbreviations[11] = 0xc2;
    file.abbreviations[12] = 0x00;
    file.abbreviations[13] = DW_FORM_string;
    file.sections[ABBREVIATIONS].sh_size += 3;
    assert_string_equal(check(&file), "it refers to other files");
    make(&file);
    file.info[4] = 9; /* a version that nobody knows */
    assert_non_null(check(&file));
    make(&file);
    file.info[0] = 200; /* longer than the section */
    assert_non_null(check(&file));
    make(&file);
    file.info[8] = 200; /* abbreviations that are not there */
    assert_non_null(check(&file));
    make(&file);
    file.info[12] = 3; /* none of that number */
    assert_non_null(check(&file));
}

/* Every byte of it takes every value: no answer comes from outside (the sanitizers look). */
static void test_each_byte(void **state)
{
    (void)state;
    struct file file;
    for (size_t i = 0; i < sizeof file; i++) {
        for (unsigned value = 0; value < 256; value++) {
            make(&file);
            ((uint8_t *)&file)[i] = (uint8_t)value;
            (void)check(&file);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_each_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
