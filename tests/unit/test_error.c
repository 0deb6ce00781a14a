/* test_error.c: base/error: names and texts of results, sentences, errno values. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static const aee_result all[] = {
#define VALUE(name, value, text) name,
    AEE_RESULTS(VALUE)
#undef VALUE
};
enum { COUNT = sizeof all / sizeof all[0] };

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(all[i], -i); /* without gaps: a number is never used again */
        assert_int_equal(strncmp(aee_result_name(all[i]), i ? "AEE_ERR_" : "AEE_OK", i ? 8 : 7), 0);
        assert_true(strlen(aee_result_text(all[i])) > 4);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(aee_result_name(all[i]), aee_result_name(all[j]));
            assert_string_not_equal(aee_result_text(all[i]), aee_result_text(all[j]));
        }
    }
    const int others[] = {1, -COUNT, INT_MAX, INT_MIN};
    for (unsigned i = 0; i < 4; i++) {
        assert_string_equal(aee_result_name((aee_result)others[i]), "unknown result");
        assert_string_equal(aee_result_text((aee_result)others[i]), "unknown result");
    }
    assert_string_equal(aee_result_name(AEE_ERR_STALE), "AEE_ERR_STALE");
    assert_string_equal(aee_version(), AEE_VERSION_STRING);
}

static void test_fail(void **state)
{
    (void)state;
    aee_error error;
    memset(&error, 0x55, sizeof error);
    assert_int_equal(aee__fail(&error, AEE_ERR_LIMIT, "no %s left for %d", "room", 7),
                     AEE_ERR_LIMIT);
    assert_int_equal(error.code, AEE_ERR_LIMIT);
    assert_int_equal(error.os_errno, 0);
    assert_string_equal(error.text, "no room left for 7");
    assert_int_equal(aee__fail(NULL, AEE_ERR_BUSY, "unseen %d", 1), AEE_ERR_BUSY);
    assert_int_equal(aee__ok(&error), AEE_OK);
    assert_int_equal(error.code, AEE_OK);
    assert_string_equal(error.text, "");
    assert_int_equal(aee__ok(NULL), AEE_OK);
}

static void test_errno(void **state)
{
    (void)state;
    static const struct {
        int os_errno;
        aee_result result;
    } cases[] = {{ENOMEM, AEE_ERR_NO_MEMORY}, {EMFILE, AEE_ERR_LIMIT},  {ENFILE, AEE_ERR_LIMIT},
                 {EAGAIN, AEE_ERR_LIMIT},     {ENOSPC, AEE_ERR_LIMIT},  {EACCES, AEE_ERR_DENIED},
                 {EPERM, AEE_ERR_DENIED},     {EINVAL, AEE_ERR_SYSTEM}, {EINTR, AEE_ERR_SYSTEM},
                 {EIO, AEE_ERR_SYSTEM}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        aee_error error;
        char wanted[128] = "cannot open \"x\": ";
        const char *limit = cases[i].os_errno == EMFILE   ? " (RLIMIT_NOFILE of the process)"
                            : cases[i].os_errno == ENFILE ? " (fs.file-max)"
                                                          : "";
        strncat(wanted, strerror(cases[i].os_errno), 64);
        strncat(wanted, limit, 40);
        memset(&error, 0x55, sizeof error);
        assert_int_equal(aee__fail_os(&error, cases[i].os_errno, "cannot open \"%s\"", "x"),
                         cases[i].result);
        assert_int_equal(error.code, cases[i].result);
        assert_int_equal(error.os_errno, cases[i].os_errno);
        assert_string_equal(error.text, wanted);
        assert_int_equal(aee__fail_os(NULL, cases[i].os_errno, "unseen"), cases[i].result);
    }
    aee_error error;
    assert_int_equal(aee__fail_os(&error, 4242, "cannot"), AEE_ERR_SYSTEM);
    assert_string_equal(error.text, "cannot: unknown error");
}

/* A sentence that is too long is cut, and terminated within its buffer. */
static void test_long_sentences(void **state)
{
    (void)state;
    struct {
        aee_error error;
        char after[16];
    } guarded;
    char name[512];
    for (size_t length = sizeof guarded.error.text - 40; length < sizeof name; length++) {
        memset(&guarded, 0x55, sizeof guarded);
        memset(name, 'n', length);
        name[length < sizeof name ? length : sizeof name - 1] = '\0';
        (void)aee__fail_os(&guarded.error, ENOMEM, "%s", name);
        assert_non_null(memchr(guarded.error.text, '\0', sizeof guarded.error.text));
        assert_int_equal(guarded.error.text[200], 'n');
        (void)aee__fail(&guarded.error, AEE_ERR_LIMIT, "%s", name);
        assert_non_null(memchr(guarded.error.text, '\0', sizeof guarded.error.text));
        for (unsigned i = 0; i < sizeof guarded.after; i++) {
            assert_int_equal(guarded.after[i], 0x55);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_long_sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
