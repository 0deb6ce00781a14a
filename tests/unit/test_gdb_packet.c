/* test_gdb_packet.c: recovery/gdb_packet: packets taken apart and put together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "recovery/gdb_packet.h"

static struct aee__gdb_in *in;
static struct aee__gdb_out *out;

static int set_up(void **state)
{
    (void)state;
    in = calloc(1, sizeof *in);
    out = calloc(1, sizeof *out);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(in);
    free(out);
    return 0;
}

/* What the last byte led to; all before it lead to nothing. */
static enum aee__gdb_got feed(const char *bytes, size_t size)
{
    enum aee__gdb_got got = AEE__GDB_NOTHING;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(got, AEE__GDB_NOTHING);
        got = aee__gdb_feed(in, (uint8_t)bytes[i]);
    }
    return got;
}

#define FEED(text) feed(text, sizeof(text) - 1)

static void test_packets(void **state)
{
    (void)state;
    assert_int_equal(FEED("$?#3f"), AEE__GDB_PACKET_READY);
    assert_string_equal(in->text, "?");
    assert_int_equal(FEED("++$#00"), AEE__GDB_PACKET_READY);
    assert_int_equal(in->size, 0);
    assert_int_equal(FEED("noise$?#3F"), AEE__GDB_PACKET_READY);
    assert_int_equal(FEED("\x03"), AEE__GDB_INTERRUPT);
    assert_int_equal(FEED("-"), AEE__GDB_NACK);
    assert_int_equal(FEED("$\x03-#30"), AEE__GDB_PACKET_READY); /* content within a packet */
    assert_int_equal(FEED("$X}\x03}]#b2"), AEE__GDB_PACKET_READY);
    assert_int_equal(in->size, 3);
    assert_memory_equal(in->text, "X#}", 4);
}

static void test_bad_packets(void **state)
{
    (void)state;
    assert_int_equal(FEED("$?#3e"), AEE__GDB_PACKET_BAD);
    assert_int_equal(FEED("$?#g0"), AEE__GDB_PACKET_BAD);
    assert_int_equal(FEED("$?#0g"), AEE__GDB_PACKET_BAD);
    assert_int_equal(FEED("$}#7d"), AEE__GDB_PACKET_BAD); /* an escape of nothing */
    assert_int_equal(FEED("$garbage$?#3f"), AEE__GDB_PACKET_READY);
    assert_string_equal(in->text, "?");
}

static void test_lengths(void **state)
{
    (void)state;
    for (size_t size = AEE__GDB_PACKET - 1; size <= AEE__GDB_PACKET + 1; size++) {
        uint8_t sum = (uint8_t)(size * 'm');
        assert_int_equal(FEED("$"), AEE__GDB_NOTHING);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(aee__gdb_feed(in, 'm'), AEE__GDB_NOTHING);
        }
        char end[4];
        (void)snprintf(end, sizeof end, "#%02x", sum);
        assert_int_equal(feed(end, 3),
                         size <= AEE__GDB_PACKET ? AEE__GDB_PACKET_READY : AEE__GDB_PACKET_BAD);
    }
}

static void test_answers(void **state)
{
    (void)state;
    size_t size;
    aee__gdb_begin(out);
    aee__gdb_add(out, "%s", "OK");
    assert_memory_equal(aee__gdb_finish(out, &size), "$OK#9a", 6);
    assert_int_equal(size, 6);
    aee__gdb_begin(out);
    aee__gdb_add_hex(out, "\x01\xab", 2);
    aee__gdb_add_unknown(out, 1);
    aee__gdb_add_binary(out, "a}#$*", 5);
    const char *text = aee__gdb_finish(out, &size);
    assert_memory_equal(text, "$01abxxa}]}\x03}\x04}\n#", 17);
    /* What it says is understood. */
    assert_int_equal(feed(text, size), AEE__GDB_PACKET_READY);
    assert_string_equal(in->text, "01abxxa}#$*");
}

static void test_answers_that_do_not_fit(void **state)
{
    (void)state;
    size_t size;
    static uint8_t bytes[AEE__GDB_PACKET];
    aee__gdb_begin(out);
    aee__gdb_add_hex(out, bytes, sizeof bytes);
    assert_false(out->full);
    aee__gdb_add_hex(out, bytes, sizeof bytes);
    assert_true(out->full);
    (void)aee__gdb_finish(out, &size);
    assert_in_range(size, 2 * AEE__GDB_PACKET, sizeof out->text);
    aee__gdb_begin(out);
    assert_false(out->full);
}

static void test_numbers(void **state)
{
    (void)state;
    uint64_t number;
    uint8_t bytes[2];
    const char *at = "1f,";
    assert_true(aee__gdb_number_and(&at, ',', &number));
    assert_int_equal(number, 0x1f);
    assert_string_equal(at, "");
    assert_false(aee__gdb_number(&at, &number));
    at = "ffffffffffffffff";
    assert_true(aee__gdb_number(&at, &number));
    assert_true(number == UINT64_MAX);
    at = "10000000000000000";
    assert_false(aee__gdb_number(&at, &number));
    at = "12:";
    assert_false(aee__gdb_number_and(&at, ',', &number));
    at = "aB01";
    assert_true(aee__gdb_bytes(&at, bytes, 2));
    assert_memory_equal(bytes, "\xab\x01", 2);
    at = "abc";
    assert_false(aee__gdb_bytes(&at, bytes, 2));
    at = "zz";
    assert_false(aee__gdb_bytes(&at, bytes, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_packets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_packets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lengths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answers_that_do_not_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("gdb_packet", tests, NULL, NULL);
}
