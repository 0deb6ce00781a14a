/* test_json_text.c: recovery/json_text: layout, and text that is not what it should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "recovery/json_text.h"

static void expect(const struct aee__json *json, const char *text)
{
    assert_false(json->failed);
    assert_int_equal(json->used, strlen(text));
    assert_memory_equal(json->text, text, json->used);
}

static void test_layout(void **state)
{
    (void)state;
    struct aee__json json = {.alloc = &aee__alloc_default};
    aee__json_open(&json, NULL, '{');
    aee__json_uint(&json, "a", 1);
    aee__json_open(&json, "b", '[');
    aee__json_hex(&json, NULL, 31);
    aee__json_bool(&json, NULL, true);
    aee__json_close(&json, ']');
    aee__json_open(&json, "c", '{');
    aee__json_close(&json, '}');
    aee__json_close(&json, '}');
    expect(&json, "{\n  \"a\": 1,\n  \"b\": [\n    \"0x1f\",\n    true\n  ],\n  \"c\": {}\n}\n");
    aee__json_free(&json);
}

static void test_text(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        const char *to;
    } cases[] = {
        {"plain", "\"plain\""},
        {"\"\\", "\"\\\"\\\\\""},
        {"\n\x1b\x7f", "\"\\u000a\\u001b\\u007f\""},
        {"\xc3\xa4", "\"\xc3\xa4\""},
        {"\xe2\x82\xac", "\"\xe2\x82\xac\""},
        {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
        {"\x80", "\"\\ufffd\""},
        {"\xc3", "\"\\ufffd\""},                       /* cut off */
        {"\xc0\x80", "\"\\ufffd\\ufffd\""},            /* too long for what it is */
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, /* a surrogate */
        {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct aee__json json = {.alloc = &aee__alloc_default};
        aee__json_string(&json, NULL, cases[i].from);
        expect(&json, cases[i].to);
        aee__json_free(&json);
    }
}

static void *no_memory(void *user, void *old, size_t old_size, size_t size)
{
    (void)user;
    (void)old;
    (void)old_size;
    (void)size;
    return NULL;
}

static void test_no_memory(void **state)
{
    (void)state;
    const struct aee__alloc alloc = {.function = no_memory};
    struct aee__json json = {.alloc = &alloc};
    aee__json_open(&json, NULL, '{');
    aee__json_string(&json, "a", "b");
    aee__json_close(&json, '}');
    assert_true(json.failed);
    aee__json_free(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
