/* test_images.c: hostile images through the public functions: broken files, a real image with
 * fields set to extremes and bytes flipped, symbol names that attack a terminal. What loads in
 * spite of it runs, and is contained as any component is. tests/unit/test_image.c has the parser's
 * own cases. */
#include "hostile/harness.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aee_abi.h"

static struct {
    uint8_t *good;
    uint8_t *bytes; /* a copy to be broken */
    size_t size;
} image;

static void read_image(struct hostile *hostile)
{
    char path[512];
    struct stat status;
    int fd = open(hostile_image_path(hostile->image, path, sizeof path), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    free(image.good);
    free(image.bytes);
    image.size = (size_t)status.st_size;
    image.good = malloc(image.size);
    image.bytes = malloc(image.size);
    assert_non_null(image.good);
    assert_non_null(image.bytes);
    assert_int_equal(read(fd, image.good, image.size), image.size);
    (void)close(fd);
    memcpy(image.bytes, image.good, image.size);
}

static Elf64_Ehdr *header(void)
{
    return (Elf64_Ehdr *)(void *)image.bytes;
}

static Elf64_Phdr *segment(unsigned index)
{
    return (Elf64_Phdr *)(void *)(image.bytes + header()->e_phoff) + index;
}

static Elf64_Shdr *section(unsigned index)
{
    return (Elf64_Shdr *)(void *)(image.bytes + header()->e_shoff) + index;
}

static Elf64_Shdr *symbols(void)
{
    for (unsigned i = 0; i < header()->e_shnum; i++) {
        if (section(i)->sh_type == SHT_SYMTAB) {
            return section(i);
        }
    }
    fail_msg("no symbol table");
    return NULL;
}

/* Loads the broken copy. What loads is called; whatever then happens is a result. */
static aee_result try_image(struct hostile *hostile, struct offender offender, size_t size)
{
    static const struct hostile_end any = {.ends = ENDS_RETURN | ENDS_CRASH | ENDS_HANG};
    aee_error error;
    aee_result result = aee_load(hostile->engine, offender.context, image.bytes, size, &error);
    assert_int_equal(error.code, result);
    if (result != AEE_OK) {
        if (result != AEE_ERR_BAD_IMAGE && result != AEE_ERR_ABI_VERSION &&
            result != AEE_ERR_CRASHED && result != AEE_ERR_HUNG && result != AEE_ERR_NO_MEMORY &&
            result != AEE_ERR_LIMIT) {
            fail_msg("%s: %s", aee_result_name(result), error.text);
        }
        assert_true(strlen(error.text) > 10);
        return result;
    }
    aee_function function;
    result = aee_find_function(hostile->engine, offender.context, "answer", &function, NULL);
    if (result == AEE_OK) {
        const int64_t argument = 1;
        int64_t value = 0;
        result =
            aee_call_i64(hostile->engine, offender.context, function, &argument, 1, &value, NULL);
        if (result != AEE_ERR_ARGUMENT_COUNT) {
            hostile_expect(hostile, offender, result, NULL, &any);
        }
    }
    return AEE_OK;
}

static struct offender empty(struct hostile *hostile, aee_call_mode mode)
{
    const aee_limits limits = {.call_budget_ns = 50 * MS * hostile_scale()};
    return hostile_offender_of(hostile, NULL, mode, &limits);
}

/* ---- Files -------------------------------------------------------------------------------- */

static void truncated(struct hostile *hostile, aee_call_mode mode)
{
    read_image(hostile);
    struct offender offender = empty(hostile, mode);
    for (size_t size = 0; size < image.size; size += size < 1024 ? 13 : 1777) {
        assert_int_equal(try_image(hostile, offender, size), AEE_ERR_BAD_IMAGE);
    }
    assert_int_equal(hostile_info(hostile, offender).state, AEE_STATE_CREATED);
    hostile_destroy(hostile, offender);
}

static void no_files(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = empty(hostile, mode);
    const char *const paths[] = {"/",
                                 "/dev/null",
                                 "/dev/zero",
                                 "/dev/full",
                                 "/proc/self/mem",
                                 "/proc/self/maps",
                                 "/nonexistent/image.elf",
                                 ""};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        aee_error error;
        assert_true(aee_load_file(hostile->engine, offender.context, paths[i], &error) != AEE_OK);
        assert_true(strlen(error.text) > 10);
    }
    char fifo[] = "/tmp/aee-hostile-XXXXXX"; /* must not wait for a writer */
    assert_non_null(mkdtemp(fifo));
    char path[64];
    (void)snprintf(path, sizeof path, "%s/fifo", fifo);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_true(aee_load_file(hostile->engine, offender.context, path, NULL) != AEE_OK);
    (void)unlink(path);
    (void)rmdir(fifo);
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_true(aee_load_fd(hostile->engine, offender.context, pipes[0], NULL) != AEE_OK);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    assert_true(aee_load_fd(hostile->engine, offender.context, -1, NULL) != AEE_OK);
    assert_true(aee_load_fd(hostile->engine, offender.context, 12345, NULL) != AEE_OK);
    int large = memfd_create("large", MFD_CLOEXEC); /* 255 MiB of nothing */
    assert_true(large >= 0);
    assert_int_equal(ftruncate(large, 255 * (off_t)MIB), 0);
    assert_int_equal(aee_load_fd(hostile->engine, offender.context, large, NULL),
                     AEE_ERR_BAD_IMAGE);
    assert_int_equal(ftruncate(large, (off_t)1 << 40), 0);
    assert_int_equal(aee_load_fd(hostile->engine, offender.context, large, NULL),
                     AEE_ERR_BAD_IMAGE);
    (void)close(large);
    hostile_destroy(hostile, offender);
}

/* ---- Fields at extremes ------------------------------------------------------------------- */

static const uint64_t extremes[] = {0,
                                    1,
                                    0x1fffff,
                                    0x200000, /* the system area */
                                    0x300000,
                                    0x400000,
                                    0x20000000,
                                    0x3fe00000,
                                    UINT64_C(0x100000000),
                                    UINT64_C(0x7fffffffffff),
                                    UINT64_C(0x8000000000000000),
                                    UINT64_MAX - 4095,
                                    UINT64_MAX};

/* Each field of each program header, then of the file's header, set to each extreme. */
static void extreme_headers(struct hostile *hostile, aee_call_mode mode)
{
    static const size_t fields[] = {offsetof(Elf64_Phdr, p_offset), offsetof(Elf64_Phdr, p_vaddr),
                                    offsetof(Elf64_Phdr, p_filesz), offsetof(Elf64_Phdr, p_memsz),
                                    offsetof(Elf64_Phdr, p_align)};
    static const size_t file_fields[] = {offsetof(Elf64_Ehdr, e_entry),
                                         offsetof(Elf64_Ehdr, e_phoff),
                                         offsetof(Elf64_Ehdr, e_shoff)};
    read_image(hostile);
    struct offender offender = empty(hostile, mode);
    unsigned loaded = 0;
    for (unsigned i = 0; i < header()->e_phnum; i++) {
        for (size_t f = 0; f < COUNT_OF(fields) * COUNT_OF(extremes); f++) {
            memcpy((uint8_t *)segment(i) + fields[f / COUNT_OF(extremes)],
                   &extremes[f % COUNT_OF(extremes)], 8);
            loaded += try_image(hostile, offender, image.size) == AEE_OK;
            memcpy(image.bytes, image.good, image.size);
        }
    }
    for (size_t f = 0; f < COUNT_OF(file_fields) * COUNT_OF(extremes); f++) {
        memcpy(image.bytes + file_fields[f / COUNT_OF(extremes)], &extremes[f % COUNT_OF(extremes)],
               8);
        loaded += try_image(hostile, offender, image.size) == AEE_OK;
        memcpy(image.bytes, image.good, image.size);
    }
    print_message("    %u of the images loaded\n", loaded);
    hostile_expect_bystander(hostile);
    hostile_destroy(hostile, offender);
}

/* Writable code, code in the data, an interpreter, and the numbers of headers. */
static void extreme_kinds(struct hostile *hostile, aee_call_mode mode)
{
    read_image(hostile);
    struct offender offender = empty(hostile, mode);
    for (unsigned i = 0; i < header()->e_phnum; i++) {
        if (segment(i)->p_type == PT_LOAD) {
            segment(i)->p_flags = PF_R | PF_W | PF_X;
            assert_int_equal(try_image(hostile, offender, image.size), AEE_ERR_BAD_IMAGE);
            memcpy(image.bytes, image.good, image.size);
        }
        segment(i)->p_type = PT_INTERP;
        assert_int_equal(try_image(hostile, offender, image.size), AEE_ERR_BAD_IMAGE);
        memcpy(image.bytes, image.good, image.size);
    }
    const uint16_t counts[] = {0, 1, 2, 100, 0x7fff, 0xfffe, 0xffff};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        header()->e_phnum = counts[i];
        (void)try_image(hostile, offender, image.size);
        memcpy(image.bytes, image.good, image.size);
        header()->e_shnum = counts[i];
        (void)try_image(hostile, offender, image.size);
        memcpy(image.bytes, image.good, image.size);
        header()->e_shstrndx = counts[i];
        (void)try_image(hostile, offender, image.size);
        memcpy(image.bytes, image.good, image.size);
    }
    hostile_expect_bystander(hostile);
    hostile_destroy(hostile, offender);
}

/* ---- Flipped bytes: of the code, too, which then does anything ---------------------------- */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void flipped(struct hostile *hostile, aee_call_mode mode)
{
    enum { ROUNDS = 250 };
    uint64_t random =
        mode == AEE_CALL_RING ? UINT64_C(0x9e3779b97f4a7c15) : UINT64_C(0xb5297a4d3f84d5b5);
    const aee_limits limits = {.call_budget_ns = 5 * MS * hostile_scale()};
    unsigned loaded = 0;
    read_image(hostile);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct offender offender = hostile_offender_of(hostile, NULL, mode, &limits);
        /* First the headers and tables at both ends, then everywhere. */
        size_t from = round % 3 == 0 ? 0 : round % 3 == 1 ? image.size - 8192 : 0;
        size_t range = round % 3 == 0 ? 4096 : round % 3 == 1 ? 8192 : image.size;
        for (unsigned flips = 0; flips < 1 + round % 24; flips++) {
            image.bytes[from + next_random(&random) % range] ^=
                (uint8_t)(1u << (next_random(&random) % 8));
        }
        loaded += try_image(hostile, offender, image.size) == AEE_OK;
        memcpy(image.bytes, image.good, image.size);
        hostile_destroy(hostile, offender);
    }
    print_message("    %u of %d images loaded\n", loaded, ROUNDS);
    assert_in_range(loaded, 10, ROUNDS - 10);
    hostile_expect_bystander(hostile);
}

/* Code that is random bytes: every instruction of x86 in its turn. */
static void random_code(struct hostile *hostile, aee_call_mode mode)
{
    enum { ROUNDS = 150 };
    uint64_t random = mode == AEE_CALL_RING ? 12345678901 : 98765432109;
    const aee_limits limits = {.call_budget_ns = 5 * MS * hostile_scale()};
    read_image(hostile);
    uint64_t address = 0;
    const Elf64_Sym *symbol = (const Elf64_Sym *)(const void *)(image.good + symbols()->sh_offset);
    const char *names = (const char *)image.good + section(symbols()->sh_link)->sh_offset;
    for (uint64_t i = 0; i < symbols()->sh_size / sizeof *symbol; i++) {
        address = strcmp(names + symbol[i].st_name, "spin") == 0 ? symbol[i].st_value : address;
    }
    uint64_t offset = 0;
    for (unsigned i = 0; i < header()->e_phnum; i++) {
        if (segment(i)->p_type == PT_LOAD && address - segment(i)->p_vaddr < segment(i)->p_filesz) {
            offset = segment(i)->p_offset + (address - segment(i)->p_vaddr);
        }
    }
    assert_true(offset > 0);
    static const struct hostile_end any = {.ends = ENDS_RETURN | ENDS_CRASH | ENDS_HANG};
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct offender offender = hostile_offender_of(hostile, NULL, mode, &limits);
        for (unsigned i = 0; i < 512; i++) {
            image.bytes[offset + i] = (uint8_t)next_random(&random);
        }
        if (aee_load(hostile->engine, offender.context, image.bytes, image.size, NULL) == AEE_OK) {
            aee_function spin = hostile_find(hostile, offender, "spin");
            aee_result result =
                aee_call_i64(hostile->engine, offender.context, spin, NULL, 0, NULL, NULL);
            hostile_expect(hostile, offender, result, NULL, &any);
        }
        memcpy(image.bytes, image.good, image.size);
        hostile_destroy(hostile, offender);
    }
    hostile_expect_bystander(hostile);
}

/* ---- Names -------------------------------------------------------------------------------- */

static bool is_printable(const char *text, size_t size)
{
    for (size_t i = 0; i < size && text[i] != '\0'; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 || byte == 0x7f) {
            return false;
        }
    }
    return memchr(text, 0, size) != NULL;
}

/* A function whose name is terminal commands crashes: neither report nor event repeats them. */
static void names_with_control_characters(struct hostile *hostile, aee_call_mode mode)
{
    static const char good[] = "iret_non_canonical";
    static const char evil[] = "\033]0;owned!!\a\r\n%n%s";
    _Static_assert(sizeof good == sizeof evil, "takes its place");
    read_image(hostile);
    unsigned places = 0; /* symbol and signature */
    for (char *at = memmem(image.bytes, image.size, good, sizeof good - 1); at;
         at = memmem(image.bytes, image.size, good, sizeof good - 1)) {
        memcpy(at, evil, sizeof evil - 1);
        places++;
    }
    assert_true(places >= 2);
    struct offender offender = empty(hostile, mode);
    aee_function function;
    aee_error error;
    aee_result loaded =
        aee_load(hostile->engine, offender.context, image.bytes, image.size, &error);
    if (loaded == AEE_ERR_BAD_IMAGE) { /* the other good answer */
        assert_true(is_printable(error.text, sizeof error.text));
        hostile_destroy(hostile, offender);
        return;
    }
    assert_int_equal(loaded, AEE_OK);
    assert_int_equal(aee_find_function(hostile->engine, offender.context, evil, &function, &error),
                     AEE_OK);
    assert_int_equal(
        aee_call_i64(hostile->engine, offender.context, function, NULL, 0, NULL, &error),
        AEE_ERR_CRASHED);
    aee_crash crash = hostile_crash(hostile, offender);
    hostile_destroy(hostile, offender);
    assert_true(is_printable(crash.text, sizeof crash.text));
    assert_true(is_printable(error.text, sizeof error.text));
    assert_true(is_printable(crash.function, sizeof crash.function));
    assert_true(is_printable(crash.called, sizeof crash.called));
}

/* Symbols that overlap, of all sizes, over the whole address space: the report stays sane. */
static void symbols_over_everything(struct hostile *hostile, aee_call_mode mode)
{
    read_image(hostile);
    Elf64_Sym *symbol = (Elf64_Sym *)(void *)(image.bytes + symbols()->sh_offset);
    uint64_t count = symbols()->sh_size / sizeof *symbol;
    for (uint64_t i = 1; i < count; i++) {
        if (ELF64_ST_TYPE(symbol[i].st_info) == STT_FUNC &&
            ELF64_ST_BIND(symbol[i].st_info) == STB_LOCAL) {
            symbol[i].st_size = UINT64_MAX - i;
        }
    }
    struct offender offender = empty(hostile, mode);
    aee_error error;
    aee_result result =
        aee_load(hostile->engine, offender.context, image.bytes, image.size, &error);
    if (result == AEE_OK) {
        assert_int_equal(hostile_call1(hostile, offender, "peek", 0, NULL), AEE_ERR_CRASHED);
        assert_true(is_printable(hostile_crash(hostile, offender).text, 248));
    } else {
        assert_int_equal(result, AEE_ERR_BAD_IMAGE);
    }
    hostile_destroy(hostile, offender);
}

static const struct hostile_case cases[] = {
    {.name = "truncated images", .script = truncated, .modes = MODES_DIRECT},
    {.name = "files that are none", .script = no_files, .modes = MODES_DIRECT},
    {.name = "headers with extreme fields", .script = extreme_headers},
    {.name = "headers of other kinds and numbers", .script = extreme_kinds, .modes = MODES_DIRECT},
    /* Any code may be run: not where it could make system calls. */
    {.name = "images with flipped bytes", .script = flipped, .least = AEE_LEVEL_PROCESS},
    {.name = "random code", .script = random_code, .least = AEE_LEVEL_PROCESS},
    {.name = "names with control characters", .script = names_with_control_characters},
    {.name = "symbols over everything", .script = symbols_over_everything},
};

int main(int argc, char **argv)
{
    static const struct hostile_program program = {.name = "hostile_images",
                                                   .image = "hostile_attacker.elf",
                                                   .cases = cases,
                                                   .count = COUNT_OF(cases)};
    int status = hostile_main(&program, argc, argv);
    free(image.good);
    free(image.bytes);
    return status;
}
