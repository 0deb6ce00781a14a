#include "hostile/watched_host.h"

#include <string.h>

struct watched_host seen;

static uint64_t sum_of(const uint8_t *bytes, size_t size)
{
    uint64_t sum = size;
    for (size_t i = 0; i < size; i++) {
        sum = sum * 31 + ((const volatile uint8_t *)bytes)[i];
    }
    return sum;
}

static aee_result host(void *user, aee_host_call *call)
{
    (void)user;
    (void)atomic_fetch_add(&seen.calls, 1);
    uint64_t sum = sum_of(call->payload, call->payload_size);
    size_t size = call->payload_size;
    if (seen.delay_ns) {
        hostile_sleep_ns(seen.delay_ns);
    }
    if (size > AEE_PAYLOAD_MAX || call->reply_capacity > AEE_PAYLOAD_MAX ||
        call->payload_size != size || sum_of(call->payload, call->payload_size) != sum) {
        (void)atomic_fetch_add(&seen.wrong, 1);
    }
    call->reply_size = seen.reply_size;
    if (call->reply_size > 0 && call->reply_size <= call->reply_capacity) {
        memset(call->reply, 0x11, call->reply_size);
    }
    call->result = call->args[0] + 100;
    return AEE_OK;
}

struct offender watched_offender(struct hostile *hostile, aee_call_mode mode,
                                 const aee_limits *limits)
{
    memset(&seen, 0, sizeof seen);
    (void)aee_register_host_function(hostile->engine, "host", host, NULL,
                                     NULL); /* or it is already */
    struct offender offender = hostile_offender(hostile, mode, limits);
    assert_int_equal(aee_grant_host_function(hostile->engine, offender.context, "host", NULL),
                     AEE_OK);
    return offender;
}
