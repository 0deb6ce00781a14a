/* attacker.c: what every attacker answers when it does not attack, and an initialiser that the test
 * can turn hostile by a host function. */
#include "attacker.h"

#include <string.h>

static int64_t calls;

/* Asked before and after each attack: argument + 1. */
AEE_SIGNATURE(answer, "i:i");
AEE_EXPORT int64_t answer(int64_t number)
{
    calls++;
    return number + 1;
}

/* Calls of answer() in this instance: starts anew after a restart. */
AEE_SIGNATURE(calls_so_far, "i:i");
AEE_EXPORT int64_t calls_so_far(int64_t unused)
{
    (void)unused;
    return calls;
}

/* "init_order" answers 1: crash; 2: loop; 3: spin for a while; anything else or not granted: be
 * good. */
void aee_init(void)
{
    int64_t order = 0;
    (void)aee_host_call("init_order", &order);
    if (order == 1) {
        __builtin_trap();
    }
    if (order == 2) {
        for (;;) {
            __builtin_ia32_pause();
        }
    }
    if (order == 3) {
        attack_pause(UINT64_C(1) << 23);
    }
}

/* Bytes in, bytes out; and replies whose size is a lie. */
AEE_SIGNATURE(reply_sized, "b");
AEE_EXPORT int64_t reply_sized(const void *request, size_t size, void *reply, size_t capacity)
{
    int64_t claim = 0;
    if (size == sizeof claim) {
        memcpy(&claim, request, sizeof claim);
    }
    memset(reply, 0x5a, capacity);
    return claim;
}

/* Calls `name`, as often as asked; how many calls succeeded. */
AEE_SIGNATURE(call_host, "i:i");
AEE_EXPORT int64_t call_host(int64_t times)
{
    int64_t good = 0;
    for (int64_t i = 0; i < times; i++) {
        int64_t value = 0;
        good += aee_host_call("host", &value, i) == AEE_HOST_OK && value == i + 100;
    }
    return good;
}

/* What the host function answered. */
AEE_SIGNATURE(relay, "i:i");
AEE_EXPORT int64_t relay(int64_t argument)
{
    int64_t value = 0;
    const int32_t status = aee_host_call("host", &value, argument);
    return status == AEE_HOST_OK ? value : status - 1000;
}

/* Asks for bytes: capacity that it names, and how many came. Checks that nothing beyond was
 * written. */
AEE_SIGNATURE(take_bytes, "i:i");
AEE_EXPORT int64_t take_bytes(int64_t capacity)
{
    static uint8_t buffer[AEE_MAX_PAYLOAD + 64];
    size_t came = 0;
    memset(buffer, 0x77, sizeof buffer);
    if (aee_host_call_bytes("host", NULL, 0, buffer, (size_t)capacity, &came, NULL) !=
        AEE_HOST_OK) {
        return -1;
    }
    for (size_t i = came; i < sizeof buffer; i++) {
        if (buffer[i] != 0x77) {
            return -2;
        }
    }
    return (int64_t)came;
}

AEE_SIGNATURE(log_lines, "i:ii");
AEE_EXPORT int64_t log_lines(int64_t count, int64_t length)
{
    static char text[400];
    memset(text, 'x', sizeof text);
    for (int64_t i = 0; i < count; i++) {
        aee_log("%.*s", (int)length, text);
    }
    return 0;
}

AEE_SIGNATURE(spin, "i:");
AEE_EXPORT int64_t spin(void)
{
    for (;;) {
        __asm__ volatile("");
    }
    return ATTACK_GOT_THROUGH;
}

/* Honest work of a given length. */
AEE_SIGNATURE(work, "i:i");
AEE_EXPORT int64_t work(int64_t turns)
{
    attack_pause((uint64_t)turns);
    return turns;
}
