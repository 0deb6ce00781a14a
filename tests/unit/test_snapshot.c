/* test_snapshot.c: the bytes of snapshot files: what the writer writes is read back, and nothing
 * that is damaged is; with a right checksum it is refused or harmless. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <zstd.h>

#include "snapshot_bed.h"

#define HEADER(field) offsetof(struct aee__snapshot_header, field)

static char path[64];

/* The caller frees the bytes. */
static size_t write_out(const struct aee__snapshot_source *source, uint8_t **bytes)
{
    aee_error error;
    if (aee__snapshot_write(source, path, &error) != AEE_OK) {
        fail_msg("%s", error.text);
    }
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(file);
    rewind(file);
    *bytes = malloc(size);
    assert_non_null(*bytes);
    assert_int_equal(fread(*bytes, 1, size, file), size);
    (void)fclose(file);
    return size;
}

static size_t make_file(uint32_t lanes, uint32_t pages, uint8_t **bytes)
{
    struct aee__snapshot_source source;
    assert_int_equal(bed_source(&source, lanes, pages), AEE_OK);
    size_t size = write_out(&source, bytes);
    aee__shadow_destroy(&source.copy);
    return size;
}

/* Of a copy of exactly that size, so that a sanitizer sees reads beyond it. */
static aee_result try(const uint8_t *bytes, size_t size, bool seal, aee_error *error)
{
    struct aee__shadow copy;
    bool sound;
    uint8_t *exact = malloc(size ? size : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    if (seal) {
        bed_seal(exact, size);
    }
    aee_result result = bed_try(exact, size, &copy, &sound, error);
    assert_true(sound);
    aee__shadow_destroy(&copy);
    free(exact);
    return result;
}

static void test_round_trip(void **state)
{
    (void)state;
    static const uint32_t pages[] = {0, 1, 9, 40, 700};
    for (unsigned i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        struct aee__snapshot_source source;
        struct aee__shadow copy;
        uint8_t *bytes;
        bool sound;
        aee_error error;
        size_t size = make_file(1 + i, pages[i], &bytes);
        assert_int_equal(bed_try(bytes, size, &copy, &sound, &error), AEE_OK);
        assert_int_equal(bed_source(&source, 1 + i, pages[i]), AEE_OK);
        assert_int_equal(copy.has.count, source.copy.has.count);
        for (uint64_t page = 0; page < copy.has.count; page++) {
            const uint8_t *a = aee__shadow_page(&copy, page * BED_PAGE);
            const uint8_t *b = aee__shadow_page(&source.copy, page * BED_PAGE);
            assert_int_equal(a != NULL, b != NULL);
            assert_true(!a || memcmp(a, b, BED_PAGE) == 0);
        }
        aee__shadow_destroy(&source.copy);
        aee__shadow_destroy(&copy);
        free(bytes);
    }
}

/* docs/snapshots.md, byte by byte. */
static void test_format(void **state)
{
    (void)state;
    static const uint8_t start[40] = {0x89, 'A', 'E', 'E', 'S', 'N', 'P', '\n', 1, 0, 0,
                                      0,    128, 0,   0,   0,   1,   0,   0,    0, 0, 0,
                                      0,    0,   0,   0,   0,   0,   2,   0,    0, 0};
    static const uint8_t lane[16] = {0x80, 0x1f, 0, 0, 0x7f, 0x03, 0, 0, 1};
    static const uint8_t frame[4] = {0x28, 0xb5, 0x2f, 0xfd};
    uint8_t *bytes;
    uint8_t expected[40];
    uint8_t hash[16];
    uint64_t run[2];
    size_t size = make_file(2, 3, &bytes);
    memcpy(expected, start, sizeof expected);
    expected[24] = AEE_ABI_VERSION;
    assert_memory_equal(bytes, expected, sizeof expected);
    assert_memory_equal(bytes + 40, "an image's hash", 16);
    assert_memory_equal(bytes + 128, lane, sizeof lane);
    memcpy(run, bytes + 160, sizeof run);
    assert_int_equal(run[0], AEE_GVA_HEAP + 8);
    assert_int_equal(run[1], 100);
    memcpy(run, bytes + 192, sizeof run);
    assert_int_equal(run[0], AEE_GVA_IMAGE + 5 * BED_PAGE); /* pages 5 and 6; 7 is the next area */
    assert_int_equal(run[1], 2 * BED_PAGE);
    assert_memory_equal(bytes + 224, frame, sizeof frame);
    aee__hash(bytes, size - 16, hash);
    assert_memory_equal(bytes + size - 16, hash, 16);
    free(bytes);
}

/* ---- Damage ------------------------------------------------------------------------------- */

static void test_every_byte(void **state)
{
    (void)state;
    uint8_t *bytes;
    aee_error error;
    uint32_t loaded = 0;
    size_t size = make_file(2, 5, &bytes);
    for (size_t at = 0; at < size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes[at] ^= (uint8_t)(1u << bit);
            aee_result result = try(bytes, size, false, &error);
            if (result == AEE_OK) {
                fail_msg("bit %u of byte %zu does not matter", bit, at);
            }
            assert_int_equal(error.code, result);
            assert_true(error.text[0] != '\0');
            loaded += try(bytes, size, true, &error) == AEE_OK;
            bytes[at] ^= (uint8_t)(1u << bit);
        }
        uint8_t was = bytes[at];
        for (unsigned value = 0; value < 256; value += 51) {
            bytes[at] = (uint8_t)value;
            (void)try(bytes, size, true, &error);
        }
        bytes[at] = was;
    }
    print_message("%zu bytes: %u flips with a right checksum load something\n", size, loaded);
    assert_true(loaded > 0); /* bytes of pages, control words, sizes */
    assert_int_equal(try(bytes, size, false, &error), AEE_OK);
    free(bytes);
}

/* The same of a file with declared state. */
static void test_declared(void **state)
{
    (void)state;
    struct aee__snapshot_source source;
    struct aee__snapshot snapshot;
    uint8_t content[512];
    uint8_t back[512];
    uint8_t *bytes;
    aee_error error;
    uint32_t loaded = 0;
    for (size_t i = 0; i < sizeof content; i++) {
        content[i] = (uint8_t)(i * i);
    }
    bed_declared_source(&source, content, 8);
    size_t size = write_out(&source, &bytes);
    assert_int_equal(aee__snapshot_parse(bytes, size, "s", BED_MOST, &snapshot, &error), AEE_OK);
    assert_int_equal(snapshot.header.content_size, 8 + 7 * 28);
    assert_int_equal(snapshot.ranges[3].gva, AEE_GVA_HEAP + 3000);
    assert_int_equal(aee__snapshot_unpack_declared(&snapshot, back, &error), AEE_OK);
    assert_memory_equal(back, content, snapshot.header.content_size);
    for (size_t at = 0; at < size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes[at] ^= (uint8_t)(1u << bit);
            assert_true(try(bytes, size, false, &error) < 0);
            loaded += try(bytes, size, true, &error) == AEE_OK;
            bytes[at] ^= (uint8_t)(1u << bit);
        }
        assert_int_equal(try(bytes, at, true, &error), AEE_ERR_BAD_SNAPSHOT);
    }
    assert_true(loaded > 0);
    for (uint64_t length = 0; length < 4; length += length == 0 ? 2 : 1) { /* of the first: is 1 */
        memcpy(bytes + 168, &length, sizeof length);
        assert_int_equal(try(bytes, size, true, &error), AEE_ERR_BAD_SNAPSHOT);
        assert_non_null(strstr(error.text, length == 0 ? "range is none" : "not as long"));
    }
    static const uint64_t one = 1;
    memcpy(bytes + 168, &one, sizeof one);
    assert_int_equal(try(bytes, size, true, &error), AEE_OK);
    memcpy(bytes + HEADER(run_count), &one, sizeof one);
    assert_int_equal(try(bytes, size, true, &error), AEE_ERR_BAD_SNAPSHOT);
    assert_non_null(strstr(error.text, "contradict"));
    free(bytes);
}

static void test_every_length(void **state)
{
    (void)state;
    uint8_t *bytes;
    aee_error error;
    size_t size = make_file(1, 5, &bytes);
    for (size_t length = 0; length < size; length++) {
        assert_int_equal(try(bytes, length, false, &error), AEE_ERR_BAD_SNAPSHOT);
        aee_result result = try(bytes, length, true, &error);
        if (result != AEE_ERR_BAD_SNAPSHOT) {
            fail_msg("%zu bytes: %s", length, error.text);
        }
    }
    uint8_t *longer = calloc(1, size + 4096);
    assert_non_null(longer);
    memcpy(longer, bytes, size - 16);
    for (size_t more = 1; more < 4096; more += more < 64 ? 1 : 97) {
        assert_int_equal(try(longer, size + more, true, &error), AEE_ERR_BAD_SNAPSHOT);
    }
    free(longer);
    free(bytes);
}

static void put(uint8_t *bytes, size_t at, const void *value, size_t size)
{
    memcpy(bytes + at, value, size);
}

/* Fields that lie, each with a right checksum. */
static void test_lies(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        size_t size;
        uint64_t value;
        aee_result result;
        const char *words;
    } lies[] = {
        {HEADER(magic), 1, 0x88, AEE_ERR_BAD_SNAPSHOT, "is not a snapshot"},
        {HEADER(version), 4, 2, AEE_ERR_UNSUPPORTED, "has format 2"},
        {HEADER(header_size), 4, 120, AEE_ERR_BAD_SNAPSHOT, "does not know"},
        {HEADER(kind), 4, 3, AEE_ERR_UNSUPPORTED, "of kind 3"},
        {HEADER(flags), 4, 1, AEE_ERR_BAD_SNAPSHOT, "does not know"},
        {HEADER(abi_version), 4, AEE_ABI_VERSION + 1, AEE_ERR_ABI_VERSION, "of ABI version"},
        {HEADER(lanes), 4, 0, AEE_ERR_BAD_SNAPSHOT, "so many lanes"},
        {HEADER(lanes), 4, 9, AEE_ERR_BAD_SNAPSHOT, "so many lanes"},
        {HEADER(lanes), 4, UINT32_MAX, AEE_ERR_BAD_SNAPSHOT, "so many lanes"},
        {HEADER(run_count), 8, 6, AEE_ERR_BAD_SNAPSHOT, "contradict"},
        {HEADER(run_count), 8, UINT64_MAX, AEE_ERR_BAD_SNAPSHOT, "contradict"},
        {HEADER(run_count), 8, 1, AEE_ERR_BAD_SNAPSHOT, "not as long"},
        {HEADER(content_size), 8, 0, AEE_ERR_BAD_SNAPSHOT, "contradict"},
        {HEADER(content_size), 8, 4097, AEE_ERR_BAD_SNAPSHOT, "contradict"},
        {HEADER(content_size), 8, 4096 * 6, AEE_ERR_BAD_SNAPSHOT, "not as long"},
        {HEADER(content_size), 8, UINT64_C(1) << 40, AEE_ERR_LIMIT, "holds 1099511627776 bytes"},
        {HEADER(content_size), 8, 0 - UINT64_C(4096), AEE_ERR_LIMIT, "bytes of state"},
        {HEADER(range_count), 4, 66, AEE_ERR_BAD_SNAPSHOT, "so many declared ranges"},
        {HEADER(range_count), 4, UINT32_MAX, AEE_ERR_BAD_SNAPSHOT, "so many declared ranges"},
        {HEADER(reserved) + 35, 1, 1, AEE_ERR_BAD_SNAPSHOT, "does not know"},
        {128, 4, 0x10000, AEE_ERR_BAD_SNAPSHOT, "control words"},
        {132, 4, 0x10000, AEE_ERR_BAD_SNAPSHOT, "control words"},
        {136, 4, 2, AEE_ERR_BAD_SNAPSHOT, "control words"},
        {140, 4, 1, AEE_ERR_BAD_SNAPSHOT, "control words"},
        {144, 8, 1, AEE_ERR_BAD_SNAPSHOT, "overlaps"},
        {144, 8, 0 - UINT64_C(4096), AEE_ERR_BAD_SNAPSHOT, "overlaps"},
        {144, 8, AEE_GVA_IMAGE + 6 * 4096, AEE_ERR_BAD_SNAPSHOT, "overlaps"},
        {144, 8, AEE_GVA_IMAGE + 4 * 4096, AEE_OK, ""},
        {144, 8, AEE_GVA_IMAGE + 3 * 4096, AEE_ERR_BAD_SNAPSHOT, "where the component has none"},
        {144, 8, 0, AEE_ERR_BAD_SNAPSHOT, "where the component has none"},
        {152, 8, 0, AEE_ERR_BAD_SNAPSHOT, "is none"},
        {152, 8, 0 - UINT64_C(4096), AEE_ERR_BAD_SNAPSHOT, "overlaps"},
        {152, 8, 3 * 4096, AEE_ERR_BAD_SNAPSHOT, "overlaps"},
        {144, 8, AEE_GVA_INFO, AEE_ERR_BAD_SNAPSHOT, "where the component has none"},
        {160, 8, AEE_GVA_LANES, AEE_ERR_BAD_SNAPSHOT, "where the component has none"},
        {144, 8, AEE_GVA_SYSTEM, AEE_ERR_BAD_SNAPSHOT, "where the component has none"},
        {160, 8, AEE_GVA_HEAP + (4 << 20) - 2 * 4096, AEE_ERR_BAD_SNAPSHOT, "has none"},
        {160, 8, AEE_GVA_HEAP + (4 << 20) - 3 * 4096, AEE_OK, ""},
        {176, 4, 0, AEE_ERR_BAD_SNAPSHOT, "cannot be unpacked"},
    };
    uint8_t *bytes;
    aee_error error;
    size_t size = make_file(1, 5, &bytes); /* two runs: of two pages and of three */
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        uint8_t *copy = malloc(size);
        assert_non_null(copy);
        memcpy(copy, bytes, size);
        put(copy, lies[i].at, &lies[i].value, lies[i].size);
        aee_result result = try(copy, size, true, &error);
        if (result != lies[i].result || !strstr(error.text, lies[i].words)) {
            if (result != AEE_OK || lies[i].result != AEE_OK) {
                fail_msg("lie %u at %zu: %s %s", i, lies[i].at, aee_result_name(result),
                         error.text);
            }
        }
        free(copy);
    }
    free(bytes);
}

/* ---- Content that is not what it says ----------------------------------------------------- */

/* A file with one run and a frame that was made elsewhere. */
static aee_result try_frame(const void *frame, size_t frame_size, uint64_t content,
                            aee_error *error)
{
    uint8_t *bytes;
    size_t size = make_file(1, 1, &bytes);
    size_t whole = 160 + frame_size + 16;
    uint8_t *made = calloc(1, whole > size ? whole : size);
    assert_non_null(made);
    memcpy(made, bytes, 144);
    const struct aee__snapshot_run run = {.gva = AEE_GVA_HEAP, .size = content};
    put(made, 144, &run, sizeof run);
    put(made, HEADER(content_size), &content, sizeof content);
    memcpy(made + 160, frame, frame_size);
    aee_result result = try(made, whole, true, error);
    free(made);
    free(bytes);
    return result;
}

static void test_frames(void **state)
{
    (void)state;
    enum { CONTENT = 64 * 4096 };
    static uint8_t content[2 * CONTENT];
    static uint8_t frame[4 * CONTENT];
    aee_error error;
    size_t size = ZSTD_compress(frame, sizeof frame, content, CONTENT, 3);
    assert_int_equal(try_frame(frame, size, CONTENT, &error), AEE_OK);
    assert_int_equal(try_frame(frame, size, CONTENT - 4096, &error), AEE_ERR_BAD_SNAPSHOT);
    assert_int_equal(try_frame(frame, size, CONTENT + 4096, &error), AEE_ERR_BAD_SNAPSHOT);
    assert_int_equal(try_frame(frame, size - 1, CONTENT, &error), AEE_ERR_BAD_SNAPSHOT);
    assert_int_equal(try_frame(frame, size + 1, CONTENT, &error), AEE_ERR_BAD_SNAPSHOT);
    assert_int_equal(try_frame(frame, 0, CONTENT, &error), AEE_ERR_BAD_SNAPSHOT);
    size_t second = ZSTD_compress(frame + size, sizeof frame - size, content, 4096, 3);
    assert_int_equal(try_frame(frame, size + second, CONTENT, &error), AEE_ERR_BAD_SNAPSHOT);
    assert_int_equal(try_frame(frame, size + second, CONTENT + 4096, &error), AEE_ERR_BAD_SNAPSHOT);
}

/* A window that would make the reader keep more than it is willing to. */
static void test_large_window(void **state)
{
    (void)state;
    static uint8_t content[4096];
    static uint8_t frame[16384];
    aee_error error;
    for (int window = 22; window <= 27; window++) {
        ZSTD_CCtx *packer = ZSTD_createCCtx();
        ZSTD_inBuffer in = {.src = content, .size = sizeof content};
        ZSTD_outBuffer out = {.dst = frame, .size = sizeof frame};
        assert_non_null(packer);
        (void)ZSTD_CCtx_setParameter(packer, ZSTD_c_windowLog, window);
        assert_true(ZSTD_compressStream2(packer, &out, &in, ZSTD_e_flush) == 0);
        assert_true(ZSTD_compressStream2(packer, &out, &in, ZSTD_e_end) == 0);
        assert_int_equal(try_frame(frame, out.pos, sizeof content, &error),
                         window > AEE__SNAPSHOT_WINDOW_LOG ? AEE_ERR_BAD_SNAPSHOT : AEE_OK);
        (void)ZSTD_freeCCtx(packer);
    }
}

int main(void)
{
    (void)snprintf(path, sizeof path, "/tmp/aee-snapshot-%d", (int)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_format),
        cmocka_unit_test(test_every_byte),   cmocka_unit_test(test_declared),
        cmocka_unit_test(test_every_length), cmocka_unit_test(test_lies),
        cmocka_unit_test(test_frames),       cmocka_unit_test(test_large_window),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    return failed;
}
