/* mod_thief_ring.c: the thief's attacks on the rings and the hypercall port: forged requests and
 * replies, sizes beyond everything, names without an end, floods. All of it is memory that the
 * component may write; the host must not be moved by it. */
#include <stdio.h>
#include <string.h>

#include <aee_guest.h>

#include "mod_thief.h"

enum { FLOOD = 1000 };

static struct aee_abi_lane *lane_at(uint64_t index)
{
    return (struct aee_abi_lane *)(AEE_GVA_LANES + index * AEE_LANE_STRIDE); // NOLINT
}

static struct aee_abi_lane *this_lane(void)
{
    return lane_at(aee_lane_index());
}

static void hypercall(uint32_t number)
{
    __asm__ volatile("outl %0, %1" ::"a"(number), "i"(AEE_PORT_HYPERCALL) : "memory");
}

#define HYPERCALL(name, number) \
    static int64_t name(void)   \
    {                           \
        hypercall(number);      \
        return 0;               \
    }
HYPERCALL(hypercall_zero, 0)
HYPERCALL(hypercall_unknown, AEE_HC_OUT_OF_MEMORY + 1)
HYPERCALL(hypercall_all_ones, UINT32_MAX)
HYPERCALL(hypercall_park, AEE_HC_PARK)
HYPERCALL(hypercall_notify, AEE_HC_NOTIFY)
HYPERCALL(hypercall_host_call, AEE_HC_HOST_CALL)

/* The text is what lies in the arena: 64 KiB without an end. */
static int64_t abort_without_end(void)
{
    memset(this_lane()->host_arena, '%', AEE_MAX_PAYLOAD);
    hypercall(AEE_HC_ABORT);
    return 1;
}

static int64_t out_of_other_width(void)
{
    __asm__ volatile("outb %%al, %0" ::"i"(AEE_PORT_HYPERCALL), "a"(AEE_HC_NOTIFY) : "memory");
    __asm__ volatile("outw %%ax, %0" ::"i"(AEE_PORT_HYPERCALL), "a"(AEE_HC_NOTIFY) : "memory");
    return 0;
}

static int64_t in_from_hypercall_port(void)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "i"(AEE_PORT_HYPERCALL) : "memory");
    return 0;
}

static int64_t out_string_to_hypercall_port(void)
{
    static const uint8_t bytes[64];
    const void *from = bytes;
    uint64_t count = 4;
    __asm__ volatile("rep outsl" : "+S"(from), "+c"(count) : "d"(AEE_PORT_HYPERCALL) : "memory");
    return 0;
}

static int64_t out_to_syscall_port(void)
{
    __asm__ volatile("outb %%al, %0" ::"i"(AEE_PORT_SYSCALL), "a"(0) : "memory");
    return 1;
}

static int64_t notify_flood(void)
{
    for (int i = 0; i < FLOOD; i++) {
        hypercall(AEE_HC_NOTIFY);
    }
    return 0;
}

static int64_t park_forever(void)
{
    for (;;) {
        hypercall(AEE_HC_PARK);
    }
    return 1;
}

static int64_t host_calls_forever(void)
{
    for (;;) {
        (void)aee_host_call("bench_nop", NULL);
    }
    return 1;
}

/* ---- Call ring ---- */

static int64_t forge_replies(uint32_t first, uint32_t step)
{
    struct aee_abi_slot *slots = this_lane()->slots;
    for (uint32_t i = 0; i < AEE_RING_SLOTS; i++) {
        slots[i].reply.value = UINT64_MAX;
        slots[i].reply.double_value = UINT64_MAX;
        __atomic_store_n(&slots[i].reply.seq, first + i * step, __ATOMIC_RELEASE);
    }
    return 0;
}

static int64_t replies_ahead(void)
{
    return forge_replies(1, 1);
}

static int64_t replies_far_ahead(void)
{
    return forge_replies(UINT32_MAX - 3u, 1);
}

static int64_t replies_zero(void)
{
    return forge_replies(0, 0);
}

static int64_t forge_requests(void)
{
    struct aee_abi_slot *slots = this_lane()->slots;
    for (uint32_t i = 0; i < AEE_RING_SLOTS; i++) {
        memset(&slots[i].request, 0xff, sizeof slots[i].request);
    }
    return 0;
}

static int64_t forge_control(void)
{
    memset(&this_lane()->control, 0xff, sizeof this_lane()->control);
    return 0;
}

/* Random bytes all over the lane, arenas and padding included. */
static int64_t garbage_lane(void)
{
    struct aee_random random;
    aee_random_init(&random, aee_seed());
    uint64_t *words = (uint64_t *)(void *)this_lane();
    for (size_t i = 0; i < sizeof(struct aee_abi_lane) / sizeof *words; i++) {
        words[i] = aee_random_next(&random);
    }
    return 0;
}

static int64_t other_lane(void)
{
    (void)*(volatile uint32_t *)(void *)&lane_at(AEE_MAX_LANES - 1u)->slots[0].request.seq;
    return 0;
}

/* ---- Host calls ---- */

/* Sends a request as it is, past the vDSO's clamping. */
static int64_t send_raw(const struct aee_abi_host_request *request)
{
    struct aee_abi_level *level = &this_lane()->levels[0];
    const uint32_t seq = __atomic_load_n(&level->reply.seq, __ATOMIC_RELAXED) + 1u;
    memcpy(&level->request.kind, &request->kind,
           sizeof *request - offsetof(struct aee_abi_host_request, kind));
    __atomic_store_n(&level->request.seq, seq, __ATOMIC_RELEASE);
    hypercall(AEE_HC_HOST_CALL);
    return 0;
}

static int64_t huge_payload(void)
{
    const struct aee_abi_host_request request = {
        .payload_size = UINT32_MAX, .payload_capacity = UINT32_MAX, .name = "chat"};
    return send_raw(&request);
}

static int64_t payload_one_too_large(void)
{
    const struct aee_abi_host_request request = {.payload_size = AEE_MAX_PAYLOAD + 1u,
                                                 .payload_capacity = AEE_MAX_PAYLOAD + 1u,
                                                 .name = "chat"};
    return send_raw(&request);
}

static int64_t endless_name(void)
{
    struct aee_abi_host_request request = {.kind = AEE_HOST_CALL_INVOKE};
    memset(request.name, 'A', sizeof request.name);
    request.reserved0 = UINT64_MAX;
    return send_raw(&request);
}

static int64_t unknown_kind(void)
{
    struct aee_abi_host_request request;
    memset(&request, 0xff, sizeof request);
    return send_raw(&request);
}

static int64_t forge_levels(void)
{
    memset(this_lane()->levels, 0xff, sizeof this_lane()->levels);
    hypercall(AEE_HC_HOST_CALL);
    return 0;
}

/* Writes the answer itself, as the host would, with a huge payload. */
static int64_t forge_host_reply(void)
{
    struct aee_abi_level *level = &this_lane()->levels[0];
    memset(&level->reply, 0xff, sizeof level->reply);
    (void)aee_host_call("chat", NULL);
    return 0;
}

static int64_t format_name(void)
{
    return aee_host_call("%n%s%n%s%n", NULL) == AEE_HOST_OK;
}

static int64_t ungranted_name(void)
{
    return aee_host_call("engine_quit", NULL) == AEE_HOST_OK;
}

static int64_t log_garbage(void)
{
    struct aee_abi_host_request request = {.kind = AEE_HOST_CALL_LOG, .payload_size = 256};
    uint8_t *bytes = this_lane()->host_arena;
    for (int i = 0; i < 256; i++) {
        bytes[i] = (uint8_t)i;
    }
    request.args[0] = UINT64_MAX;
    return send_raw(&request);
}

static int64_t log_huge(void)
{
    const struct aee_abi_host_request request = {.kind = AEE_HOST_CALL_LOG,
                                                 .payload_size = AEE_MAX_PAYLOAD};
    memset(this_lane()->host_arena, '\n', AEE_MAX_PAYLOAD);
    return send_raw(&request);
}

static int64_t log_flood(void)
{
    for (int i = 0; i < FLOOD; i++) {
        aee_log_error("flood %d of %d", i, FLOOD);
    }
    return 0;
}

static const struct thief_attack attacks[] = {
    {"hypercall 0", hypercall_zero, THIEF_LIVES},
    {"hypercall of an unknown number", hypercall_unknown, THIEF_LIVES},
    {"hypercall of all ones", hypercall_all_ones, THIEF_LIVES},
    {"park within a call", hypercall_park, THIEF_LIVES},
    {"notify without a reply", hypercall_notify, THIEF_LIVES},
    {"host call without a request", hypercall_host_call, THIEF_LIVES},
    {"abort with a text without end", abort_without_end, THIEF_CRASHES},
    {"hypercall of another width", out_of_other_width, THIEF_LIVES},
    {"IN from the hypercall port", in_from_hypercall_port, THIEF_LIVES},
    {"OUTS to the hypercall port", out_string_to_hypercall_port, THIEF_LIVES},
    {"OUT to the SYSCALL port", out_to_syscall_port, THIEF_CRASHES},
    {"notify flood", notify_flood, THIEF_LIVES},
    {"park forever", park_forever, THIEF_HANGS},
    {"host calls forever", host_calls_forever, THIEF_HANGS},
    {"forge replies to coming requests", replies_ahead, THIEF_LIVES},
    {"forge replies with wrapped numbers", replies_far_ahead, THIEF_LIVES},
    {"move replies backwards", replies_zero, THIEF_LIVES},
    {"forge requests", forge_requests, THIEF_LIVES},
    {"forge the lane's control line", forge_control, THIEF_LIVES},
    {"fill the lane with garbage", garbage_lane, THIEF_LIVES},
    {"read the last lane", other_lane, THIEF_LIVES},
    {"host call with a huge payload", huge_payload, THIEF_LIVES},
    {"host call with one byte too many", payload_one_too_large, THIEF_LIVES},
    {"host call with an endless name", endless_name, THIEF_LIVES},
    {"host call of an unknown kind", unknown_kind, THIEF_LIVES},
    {"forge all host-call levels", forge_levels, THIEF_LIVES},
    {"forge a host's reply", forge_host_reply, THIEF_LIVES},
    {"host call with a format as its name", format_name, THIEF_LIVES},
    {"host call that was not granted", ungranted_name, THIEF_LIVES},
    {"log every byte at a wild level", log_garbage, THIEF_LIVES},
    {"log 64 KiB of newlines", log_huge, THIEF_LIVES},
    {"log flood", log_flood, THIEF_LIVES},
};
const struct thief_list thief_ring_attacks = {attacks, sizeof attacks / sizeof attacks[0]};

AEE_SIGNATURE(thief_hypercall, "i:i");
AEE_EXPORT int64_t thief_hypercall(int64_t number)
{
    hypercall((uint32_t)number);
    return 0;
}

/* For a second lane, while the host reads what lane 0 sends: sizes between small and huge, a name
 * with and without end. */
AEE_SIGNATURE(thief_race, "i:i");
AEE_EXPORT int64_t thief_race(int64_t turns)
{
    struct aee_abi_level *level = &lane_at(0)->levels[0];
    for (int64_t i = 0; i < turns; i++) {
        const uint32_t size = (i & 1) != 0 ? UINT32_MAX : 8u;
        __atomic_store_n(&level->request.payload_size, size, __ATOMIC_RELAXED);
        __atomic_store_n(&level->request.payload_capacity, size, __ATOMIC_RELAXED);
        __atomic_store_n(&level->request.name[AEE_HOST_NAME_MAX - 1u], (char)(i & 1 ? 'A' : 0),
                         __ATOMIC_RELAXED);
    }
    return turns;
}
