/* lane_payload.c: bytes that travel with calls, in the arenas of a lane. */
#include <string.h>

#include "isolation/instance.h"
#include "isolation/lane_internal.h"

#define ARENA_ALIGN 64u

bool aee__lane_payload_fits(const struct aee__lane *lane, const struct aee__call *call)
{
    return lane->request_arena_used + call->payload_size <= AEE_MAX_PAYLOAD &&
           lane->reply_arena_used + call->reply_capacity <= AEE_MAX_PAYLOAD;
}

static uint32_t arena_end(size_t end)
{
    size_t aligned = (end + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    return (uint32_t)(aligned < AEE_MAX_PAYLOAD ? aligned : AEE_MAX_PAYLOAD);
}

void aee__lane_place_payload(struct aee__lane *lane, struct aee__call *call)
{
    uint64_t base = AEE_GVA_LANES + lane->index * AEE_LANE_STRIDE;
    uint32_t at = lane->request_arena_used;
    if (call->payload_size > 0) {
        memcpy(lane->ring.shared->request_arena + at, call->payload, call->payload_size);
    }
    call->reply_offset = lane->reply_arena_used;
    call->request.args[0] = base + offsetof(struct aee_abi_lane, request_arena) + at;
    call->request.args[1] = call->payload_size;
    call->request.args[2] = base + offsetof(struct aee_abi_lane, reply_arena) + call->reply_offset;
    call->request.args[3] = call->reply_capacity;
    lane->request_arena_used = arena_end(at + call->payload_size);
    lane->reply_arena_used = arena_end(call->reply_offset + call->reply_capacity);
}

aee_result aee__lane_take_payload(struct aee__lane *lane, struct aee__call *call)
{
    int64_t size = (int64_t)call->result.value;
    if (size < 0) {
        return AEE_ERR_COMPONENT;
    }
    if ((uint64_t)size > call->reply_capacity) {
        return AEE_ERR_TOO_LARGE;
    }
    if (size > 0) {
        memcpy(call->reply, lane->ring.shared->reply_arena + call->reply_offset, (size_t)size);
    }
    call->reply_size = (size_t)size;
    return AEE_OK;
}
