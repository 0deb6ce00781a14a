/* test_crash_record.c: isolation/crash_record and isolation/kept_file: the end of the log, images
 * that a record keeps, and bytes and images that contexts share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "elf_builder.h"
#include "isolation/context.h"

static void test_log_tail(void **state)
{
    (void)state;
    struct aee__crash_keep keep = {0};
    char copy[AEE__LOG_TAIL];
    char line[2048];
    aee__crash_keep_init(&keep);
    aee__log_tail_add(&keep.log, AEE_LOG_ERROR, "before anything is loaded");
    assert_int_equal(aee__log_tail_copy(&keep.log, copy), 0);
    keep.record = aee__crash_record_create(&aee__alloc_default);
    assert_non_null(keep.record);
    keep.log.text = keep.record->lines;
    aee__log_tail_add(&keep.log, AEE_LOG_ERROR, "first");
    aee__log_tail_add(&keep.log, 77, "");
    assert_int_equal(aee__log_tail_copy(&keep.log, copy), 9);
    assert_memory_equal(copy, "3first\n1\n", 9);
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(line, sizeof line, "line %u", i);
        aee__log_tail_add(&keep.log, AEE_LOG_INFO, line);
    }
    uint32_t used = aee__log_tail_copy(&keep.log, copy);
    assert_in_range(used, AEE__LOG_TAIL - 32, AEE__LOG_TAIL);
    assert_memory_equal(copy, "1line ", 6); /* whole lines */
    assert_memory_equal(copy + used - 10, "1line 999\n", 10);
    memset(line, 'x', sizeof line); /* longer than what one may have */
    line[sizeof line - 1] = '\0';
    for (unsigned i = 0; i < 9; i++) {
        aee__log_tail_add(&keep.log, AEE_LOG_DEBUG, line);
        used = aee__log_tail_copy(&keep.log, copy);
        assert_true(used <= AEE__LOG_TAIL);
        assert_int_equal(copy[used - 1], '\n');
        assert_int_equal(copy[used - AEE__LOG_TAIL / 4 - 2], '0');
    }
    aee__crash_keep_destroy(&keep, &aee__alloc_default);
}

/* What may be the last reference is not given back where a crash is found. */
static void test_images(void **state)
{
    (void)state;
    struct aee__crash_keep keep = {0};
    struct aee__image_ref images[6];
    int instance;
    for (unsigned i = 0; i < 6; i++) {
        images[i] = (struct aee__image_ref){.references = 100};
    }
    aee__crash_keep_init(&keep);
    struct aee__crash_record *record = aee__crash_record_create(&aee__alloc_default);
    assert_non_null(record);
    keep.record = record;
    for (unsigned i = 0; i < 4; i++) {
        record->instance = (const void *)&instance;
        aee__crash_keep_image(&keep, record, &images[i]);
        aee__crash_keep_image(&keep, record, &images[i]); /* the same again takes none */
        assert_ptr_equal(record->image, &images[i]);
        assert_int_equal(images[i].references, 101);
        assert_non_null(record->instance);
    }
    aee__crash_keep_image(&keep, record, &images[4]); /* no room: the record is of no use */
    assert_ptr_equal(record->image, &images[3]);
    assert_null(record->instance);
    assert_int_equal(images[4].references, 100);
    aee__crash_keep_destroy(&keep, &aee__alloc_default);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(images[i].references, 100);
    }
}

static void test_kept_files(void **state)
{
    (void)state;
    struct aee__kept_files files;
    aee__kept_files_init(&files, &aee__alloc_default);
    struct aee__kept_file *a = aee__kept_file_take(&files, "image one", 9);
    struct aee__kept_file *b = aee__kept_file_take(&files, "image two", 9);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(aee__kept_file_take(&files, "image one", 9), a);
    assert_ptr_not_equal(aee__kept_file_take(&files, "image", 5), a);
    assert_memory_equal(a->bytes, "image one", 9);
    aee__kept_file_release(a);
    assert_memory_equal(a->bytes, "image one", 9); /* one is left */
    aee__kept_file_release(a);
    aee__kept_file_release(b);
    aee__kept_file_release(files.first);
    assert_null(files.first);
    aee__kept_file_release(NULL);
    aee__kept_files_destroy(&files);
}

/* One image for all that load the same bytes, as long as anybody has it. */
static void test_shared_images(void **state)
{
    (void)state;
    static struct elf_file elf;
    struct aee__kept_files files;
    struct aee__image_ref *images[4];
    aee_error error;
    elf_file_init(&elf, ET_DYN);
    aee__kept_files_init(&files, &aee__alloc_default);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(aee__image_ref_open(&files, "image", &elf, sizeof elf, &images[i], &error),
                         AEE_OK);
    }
    assert_ptr_equal(images[0], images[1]);
    assert_int_equal(images[0]->references, 2);
    elf.data[0] ^= 1;
    assert_int_equal(aee__image_ref_open(&files, "image", &elf, sizeof elf, &images[2], &error),
                     AEE_OK);
    assert_ptr_not_equal(images[2]->image, images[0]->image);
    aee__image_ref_release(images[0]);
    elf.data[0] ^= 1;
    assert_int_equal(aee__image_ref_open(&files, "image", &elf, sizeof elf, &images[3], &error),
                     AEE_OK);
    assert_ptr_equal(images[3], images[1]);
    elf.ehdr.e_machine = EM_386;
    assert_int_equal(aee__image_ref_open(&files, "image", &elf, sizeof elf, &images[0], &error),
                     AEE_ERR_BAD_IMAGE);
    assert_null(images[0]);
    for (unsigned i = 1; i < 4; i++) {
        aee__image_ref_release(images[i]);
    }
    assert_null(files.first);
    aee__kept_files_destroy(&files);
}

static struct aee__kept_files shared_files;

/* The other thread lets its last reference go at any moment. */
static void *open_and_release(void *user)
{
    const struct elf_file *elf = user;
    for (unsigned i = 0; i < 3000; i++) {
        struct aee__image_ref *image;
        aee_error error;
        if (aee__image_ref_open(&shared_files, "image", elf, sizeof *elf, &image, &error) != 0 ||
            image->image->export_count == 0) {
            return &shared_files;
        }
        aee__image_ref_release(image);
    }
    return NULL;
}

static void test_images_of_threads(void **state)
{
    (void)state;
    static struct elf_file elf;
    pthread_t other;
    void *failed;
    elf_file_init(&elf, ET_DYN);
    aee__kept_files_init(&shared_files, &aee__alloc_default);
    assert_int_equal(pthread_create(&other, NULL, open_and_release, &elf), 0);
    assert_null(open_and_release(&elf));
    assert_int_equal(pthread_join(other, &failed), 0);
    assert_null(failed);
    assert_null(shared_files.first);
    aee__kept_files_destroy(&shared_files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_tail),          cmocka_unit_test(test_images),
        cmocka_unit_test(test_kept_files),        cmocka_unit_test(test_shared_images),
        cmocka_unit_test(test_images_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
