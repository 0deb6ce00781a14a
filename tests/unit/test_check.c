/* test_check.c: engine/check and engine/names: names, descriptors, words for enums. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"

static aee_error error;

static void test_names(void **state)
{
    (void)state;
    char name[AEE_NAME_MAX + 1];
    assert_int_equal(aee__check_name("bake", "boss", &error), AEE_OK);
    assert_int_equal(aee__check_name("bake", "Drache \xc3\xb6 %s \"", &error), AEE_OK);
    assert_int_equal(aee__check_name("bake", NULL, &error), AEE_ERR_INVALID_ARGUMENT);
    assert_string_equal(error.text, "cannot bake: the name is NULL");
    assert_int_equal(aee__check_name("bake", "", &error), AEE_ERR_INVALID_ARGUMENT);
    assert_string_equal(error.text, "cannot bake: the name is empty");
    memset(name, 'n', sizeof name);
    name[AEE_NAME_MAX - 1] = '\0';
    assert_int_equal(aee__check_name("bake", name, &error), AEE_OK);
    name[AEE_NAME_MAX - 1] = 'n';
    name[AEE_NAME_MAX] = '\0';
    assert_int_equal(aee__check_name("bake", name, &error), AEE_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "63"));
    for (int byte = 1; byte < 256; byte++) {
        char text[] = {'a', (char)byte, 'b', '\0'};
        bool control = byte < 0x20 || byte == 0x7f;
        assert_int_equal(aee__check_name("bake", text, &error),
                         control ? AEE_ERR_INVALID_ARGUMENT : AEE_OK);
        assert_true(!control || strstr(error.text, "byte 1 "));
    }
    /* Without an end: nothing beyond the longest name is read. */
    char *endless = malloc(AEE_NAME_MAX);
    memset(endless, 'n', AEE_NAME_MAX);
    assert_int_equal(aee__check_name("bake", endless, NULL), AEE_ERR_INVALID_ARGUMENT);
    free(endless);
}

struct desc {
    uint32_t struct_size;
    uint32_t flags;
    uint64_t first;
    uint64_t second;
};

static void test_descriptors(void **state)
{
    (void)state;
    size_t least = offsetof(struct desc, second);
    for (uint32_t size = 0; size < 64; size++) {
        /* Of exactly that many bytes: no more may be read. */
        size_t bytes = size < sizeof size ? sizeof size : size;
        uint8_t *given = malloc(bytes);
        struct desc known = {0};
        memset(given, 0x77, bytes);
        memcpy(given, &size, sizeof size);
        aee_result result = aee__copy_desc("bake", given, &known, sizeof known, least, &error);
        bool good = size >= least && size <= sizeof known;
        assert_int_equal(result, good ? AEE_OK : AEE_ERR_INVALID_ARGUMENT);
        if (good) {
            assert_memory_equal(&known, given, size);
            for (size_t i = size; i < sizeof known; i++) { /* what is not given is the default */
                assert_int_equal(((uint8_t *)&known)[i], 0);
            }
        } else {
            assert_non_null(strstr(error.text, "struct_size"));
            assert_non_null(strstr(error.text, "bake"));
            assert_int_equal(known.first, 0);
        }
        free(given);
    }
    struct desc known = {0};
    const uint32_t huge = UINT32_MAX;
    assert_int_equal(aee__copy_desc("bake", &huge, &known, sizeof known, least, &error),
                     AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee__copy_desc("bake", NULL, &known, sizeof known, least, &error),
                     AEE_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "NULL"));
}

/* ---- Words ---------------------------------------------------------------------------------------- */

typedef const char *words(int value);

static const char *level(int value)
{
    return aee_level_name((aee_level)value);
}
static const char *kind(int value)
{
    return aee_kind_name((aee_kind)value);
}
static const char *state_word(int value)
{
    return aee_state_name((aee_state)value);
}
static const char *mode(int value)
{
    return aee_call_mode_name((aee_call_mode)value);
}
static const char *event(int value)
{
    return aee_event_name((aee_event_type)value);
}

static void test_words(void **state)
{
    (void)state;
    static const struct {
        words *word;
        int first;
        int count;
    } cases[] = {{level, 0, AEE_LEVEL_FULL + 1},
                 {kind, 0, AEE_KIND_COUNT},
                 {state_word, 0, AEE_STATE_COUNT},
                 {mode, 0, AEE_CALL_DIRECT + 1},
                 {event, 1, AEE_EVENT_COUNT}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int a = cases[i].first; a < cases[i].count; a++) {
            assert_true(strlen(cases[i].word(a)) > 1);
            assert_string_not_equal(cases[i].word(a), "unknown");
            for (int b = cases[i].first; b < a; b++) {
                assert_string_not_equal(cases[i].word(a), cases[i].word(b));
            }
        }
        const int others[] = {-1, cases[i].first - 1, cases[i].count, INT_MAX, INT_MIN};
        for (unsigned j = 0; j < 5; j++) {
            assert_string_equal(cases[i].word(others[j]), "unknown");
        }
    }
    assert_string_equal(aee_level_name(AEE_LEVEL_FULL), "full");
    assert_string_equal(aee_kind_name(AEE_KIND_AGENTS), "agents");
    assert_string_equal(aee_state_name(AEE_STATE_READY), "ready");
    assert_string_equal(aee_call_mode_name(AEE_CALL_DIRECT), "direct");
    assert_string_equal(aee_event_name(AEE_EVENT_RESTART_FAILED), "restart failed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
