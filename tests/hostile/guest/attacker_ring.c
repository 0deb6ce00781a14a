/* attacker_ring.c: attacks on rings and hypercalls that need more than one write: the component's
 * code goes on after it has forged its reply, parks when it must not, lies about sequence numbers,
 * and rewrites from a second lane what the host is about to read. */
#include "attacker.h"

#include <string.h>

enum { A_WHILE = 1 << 16, A_LONG_WHILE = 1 << 20 };

/* The slot of the request that is being served. */
static struct aee_abi_slot *current_slot(void)
{
    struct aee_abi_slot *slots = attack_this_lane()->slots;
    struct aee_abi_slot *newest = &slots[0];
    for (unsigned i = 1; i < AEE_RING_SLOTS; i++) {
        if ((int32_t)(slots[i].request.seq - newest->request.seq) > 0 &&
            slots[i].request.seq != 0) {
            newest = &slots[i];
        }
    }
    return newest;
}

static void forge_reply(uint64_t value)
{
    struct aee_abi_slot *slot = current_slot();
    slot->reply.value = value;
    __atomic_store_n(&slot->reply.seq, slot->request.seq, __ATOMIC_RELEASE);
    if (attack_this_lane()->control.notify) {
        attack_hypercall(AEE_HC_NOTIFY);
    }
}

/* ---- After the reply. In direct mode nobody takes it before the lane parks ---- */

AEE_SIGNATURE(reply_then_spin, "i:i");
AEE_EXPORT int64_t reply_then_spin(int64_t value)
{
    forge_reply((uint64_t)value);
    for (;;) {
        __builtin_ia32_pause();
    }
    return ATTACK_GOT_THROUGH;
}

AEE_SIGNATURE(reply_park_then_spin, "i:i");
AEE_EXPORT int64_t reply_park_then_spin(int64_t value)
{
    forge_reply((uint64_t)value);
    attack_hypercall(AEE_HC_PARK);
    for (;;) {
        __builtin_ia32_pause();
    }
    return ATTACK_GOT_THROUGH;
}

AEE_SIGNATURE(reply_then_host_calls, "i:i");
AEE_EXPORT int64_t reply_then_host_calls(int64_t value)
{
    forge_reply((uint64_t)value);
    attack_pause(A_WHILE);
    for (;;) {
        (void)aee_host_call("host", NULL, 7);
    }
    return ATTACK_GOT_THROUGH;
}

AEE_SIGNATURE(reply_then_fault, "i:i");
AEE_EXPORT int64_t reply_then_fault(int64_t value)
{
    forge_reply((uint64_t)value);
    attack_pause(A_WHILE);
    __builtin_trap();
}

/* Takes its reply back after the caller has read it, parks, and then never ends. */
AEE_SIGNATURE(reply_unreply_park_spin, "i:i");
AEE_EXPORT int64_t reply_unreply_park_spin(int64_t value)
{
    struct aee_abi_slot *slot = current_slot();
    forge_reply((uint64_t)value);
    attack_pause(A_LONG_WHILE);
    __atomic_store_n(&slot->reply.seq, 0, __ATOMIC_RELEASE);
    attack_hypercall(AEE_HC_PARK);
    for (;;) {
        __builtin_ia32_pause();
    }
    return ATTACK_GOT_THROUGH;
}

/* The same, but keeps parking. */
AEE_SIGNATURE(reply_unreply_park_storm, "i:i");
AEE_EXPORT int64_t reply_unreply_park_storm(int64_t value)
{
    struct aee_abi_slot *slot = current_slot();
    forge_reply((uint64_t)value);
    attack_pause(A_LONG_WHILE);
    __atomic_store_n(&slot->reply.seq, 0, __ATOMIC_RELEASE);
    for (;;) {
        attack_hypercall(AEE_HC_PARK);
    }
    return ATTACK_GOT_THROUGH;
}

/* ---- Storms within a call ---- */

AEE_SIGNATURE(hypercall_storm, "i:i");
AEE_EXPORT int64_t hypercall_storm(int64_t number)
{
    for (;;) {
        attack_hypercall((uint32_t)number);
    }
    return ATTACK_GOT_THROUGH;
}

AEE_SIGNATURE(hypercall_once, "i:i");
AEE_EXPORT int64_t hypercall_once(int64_t number)
{
    attack_hypercall((uint32_t)number);
    return 0;
}

/* The request is there, the door bell is rung only when nobody looks by himself. */
AEE_SIGNATURE(silent_host_calls, "i:i");
AEE_EXPORT int64_t silent_host_calls(int64_t count)
{
    struct aee_abi_level *level = &attack_this_lane()->levels[0];
    for (int64_t i = 0; i < count || count < 0; i++) {
        const uint32_t seq = __atomic_load_n(&level->reply.seq, __ATOMIC_ACQUIRE) + 1u;
        level->request.kind = AEE_HOST_CALL_INVOKE;
        level->request.payload_size = 0;
        level->request.payload_capacity = 0;
        memcpy(level->request.name, "host", 5);
        __atomic_store_n(&level->request.seq, seq, __ATOMIC_RELEASE);
        for (uint32_t turn = 1; __atomic_load_n(&level->reply.seq, __ATOMIC_ACQUIRE) != seq;
             turn++) {
            __builtin_ia32_pause();
            if (turn % A_WHILE == 0) {
                attack_hypercall(AEE_HC_HOST_CALL);
            }
        }
    }
    return 0;
}

AEE_SIGNATURE(honest_host_calls, "i:");
AEE_EXPORT int64_t honest_host_calls(void)
{
    for (;;) {
        (void)aee_host_call("host", NULL, 7);
    }
    return ATTACK_GOT_THROUGH;
}

/* ---- Forged numbers ---- */

/* Answers to the next requests, before they are made: all get `value`. */
AEE_SIGNATURE(reply_ahead, "i:i");
AEE_EXPORT int64_t reply_ahead(int64_t value)
{
    struct aee_abi_slot *slots = attack_this_lane()->slots;
    const uint32_t now = current_slot()->request.seq;
    for (uint32_t i = 1; i < AEE_RING_SLOTS; i++) {
        struct aee_abi_slot *slot = &slots[(now - 1 + i) % AEE_RING_SLOTS];
        slot->reply.value = (uint64_t)value;
        __atomic_store_n(&slot->reply.seq, now + i, __ATOMIC_RELEASE);
    }
    return 0;
}

AEE_SIGNATURE(request_seq_all, "i:i");
AEE_EXPORT int64_t request_seq_all(int64_t seq)
{
    struct aee_abi_lane *lane = attack_this_lane();
    for (uint32_t i = 0; i < AEE_RING_SLOTS; i++) {
        __atomic_store_n(&lane->slots[i].request.seq, (uint32_t)seq, __ATOMIC_RELEASE);
    }
    return 0;
}

/* Host-call request with this sequence number, relative to what is due; then the bell. */
AEE_SIGNATURE(host_seq, "i:i");
AEE_EXPORT int64_t host_seq(int64_t offset)
{
    struct aee_abi_level *level = &attack_this_lane()->levels[0];
    const uint32_t seq =
        __atomic_load_n(&level->reply.seq, __ATOMIC_RELAXED) + 1u + (uint32_t)offset;
    memcpy(level->request.name, "host", 5);
    level->request.kind = AEE_HOST_CALL_INVOKE;
    __atomic_store_n(&level->request.seq, seq, __ATOMIC_RELEASE);
    for (int i = 0; i < 8; i++) {
        attack_hypercall(AEE_HC_HOST_CALL);
    }
    return 0;
}

/* A wild request on each level but the first, which alone is in use. */
AEE_SIGNATURE(host_levels, "i:i");
AEE_EXPORT int64_t host_levels(int64_t seq)
{
    struct aee_abi_lane *lane = attack_this_lane();
    for (uint32_t i = 1; i < AEE_HOST_CALL_DEPTH; i++) {
        memset(&lane->levels[i], 0xff, sizeof lane->levels[i]);
        __atomic_store_n(&lane->levels[i].request.seq, (uint32_t)seq, __ATOMIC_RELEASE);
    }
    attack_hypercall(AEE_HC_HOST_CALL);
    return 0;
}

/* One host call as it is, past the vDSO: sizes, kind, and a name of `name_length` bytes 'h' without
 * end where that is 56. The status that came back, or 1 when none did. */
AEE_SIGNATURE(raw_host_call, "i:iiii");
AEE_EXPORT int64_t raw_host_call(int64_t kind, int64_t size, int64_t capacity, int64_t name_length)
{
    struct aee_abi_level *level = &attack_this_lane()->levels[0];
    const uint32_t seq = __atomic_load_n(&level->reply.seq, __ATOMIC_RELAXED) + 1u;
    level->request.kind = (uint32_t)kind;
    level->request.payload_size = (uint32_t)size;
    level->request.payload_capacity = (uint32_t)capacity;
    memset(level->request.name, 0, sizeof level->request.name);
    memset(level->request.name, 'h', (size_t)name_length % (sizeof level->request.name + 1));
    level->request.reserved0 = UINT64_MAX;
    __atomic_store_n(&level->request.seq, seq, __ATOMIC_RELEASE);
    for (int i = 0; i < 1000 && __atomic_load_n(&level->reply.seq, __ATOMIC_ACQUIRE) != seq; i++) {
        attack_hypercall(AEE_HC_HOST_CALL);
    }
    return level->reply.seq == seq ? level->reply.status : 1;
}

/* ---- The control line ---- */

AEE_SIGNATURE(control_spin, "i:i");
AEE_EXPORT int64_t control_spin(int64_t turns)
{
    __atomic_store_n(&attack_this_lane()->control.spin, (uint32_t)turns, __ATOMIC_RELAXED);
    return 0;
}

AEE_SIGNATURE(control_notify, "i:i");
AEE_EXPORT int64_t control_notify(int64_t notify)
{
    attack_pause(A_WHILE); /* until the caller sleeps */
    __atomic_store_n(&attack_this_lane()->control.notify, (uint32_t)notify, __ATOMIC_RELAXED);
    return 0;
}

AEE_SIGNATURE(control_lane, "i:i");
AEE_EXPORT int64_t control_lane(int64_t index)
{
    attack_this_lane()->control.lane_index = (uint32_t)index;
    return 0;
}

AEE_SIGNATURE(control_lane_then_host_call, "i:i");
AEE_EXPORT int64_t control_lane_then_host_call(int64_t index)
{
    attack_this_lane()->control.lane_index = (uint32_t)index;
    (void)aee_host_call("host", NULL, 7);
    return 0;
}

/* ---- Two lanes: meet, then one calls while the other rewrites ---- */

static _Atomic uint32_t racing;

AEE_SIGNATURE(is_racing, "i:i");
AEE_EXPORT int64_t is_racing(int64_t unused)
{
    return (int64_t)racing + unused;
}

static struct aee_abi_lane *other_lane(void)
{
    return attack_lane(1u - (aee_lane_index() & 1u));
}

/* Rewrites the other lane's requests until that one is done. */
AEE_SIGNATURE(race_disturb, "i:i");
AEE_EXPORT int64_t race_disturb(int64_t unused)
{
    struct aee_abi_lane *lane = other_lane();
    struct aee_abi_host_request *request = &lane->levels[0].request;
    int64_t turns = unused;
    racing = 1;
    for (; racing; turns++) {
        const int odd = (int)(turns & 1);
        __atomic_store_n(&request->payload_size, odd ? UINT32_MAX : 64u, __ATOMIC_RELAXED);
        __atomic_store_n(&request->payload_capacity, odd ? AEE_MAX_PAYLOAD + 1u : 64u,
                         __ATOMIC_RELAXED);
        __atomic_store_n(&request->name[4], (char)(odd ? 'X' : 0), __ATOMIC_RELAXED);
        __atomic_store_n(&request->name[AEE_HOST_NAME_MAX - 1u], (char)(odd ? 'X' : 0),
                         __ATOMIC_RELAXED);
        __atomic_store_n(&lane->host_arena[turns & 63], (uint8_t)turns, __ATOMIC_RELAXED);
        __atomic_store_n(&lane->levels[0].reply.payload_size, odd ? UINT32_MAX : 0,
                         __ATOMIC_RELAXED);
    }
    return turns;
}

/* Host calls meanwhile, past the vDSO so that a torn answer does not stop it; how many were
 * answered. */
AEE_SIGNATURE(race_call, "i:i");
AEE_EXPORT int64_t race_call(int64_t calls)
{
    struct aee_abi_level *level = &attack_this_lane()->levels[0];
    int64_t answered = 0;
    while (!racing) {
        __builtin_ia32_pause();
    }
    for (int64_t i = 0; i < calls; i++) {
        const uint32_t seq = __atomic_load_n(&level->reply.seq, __ATOMIC_RELAXED) + 1u;
        level->request.kind = AEE_HOST_CALL_INVOKE;
        memcpy(level->request.name, "host", 4);
        __atomic_store_n(&level->request.seq, seq, __ATOMIC_RELEASE);
        attack_hypercall(AEE_HC_HOST_CALL);
        answered += __atomic_load_n(&level->reply.seq, __ATOMIC_ACQUIRE) == seq;
    }
    racing = 0;
    return answered;
}

/* Rewrites the sizes and bytes of the other lane's replies while the host copies. */
AEE_SIGNATURE(race_replies, "i:i");
AEE_EXPORT int64_t race_replies(int64_t turns)
{
    struct aee_abi_lane *lane = other_lane();
    racing = 1;
    for (int64_t i = 0; i < turns; i++) {
        struct aee_abi_slot *slot = &lane->slots[(uint64_t)i % AEE_RING_SLOTS];
        __atomic_store_n(&slot->reply.value, (i & 1) ? UINT64_C(1) << 40 : 8u, __ATOMIC_RELAXED);
        __atomic_store_n(&lane->reply_arena[i & 0xffff], (uint8_t)i, __ATOMIC_RELAXED);
    }
    return turns;
}

/* One lane loops, to see what becomes of the others. */
AEE_SIGNATURE(spin_until_stopped, "i:i");
AEE_EXPORT int64_t spin_until_stopped(int64_t start)
{
    racing = (uint32_t)start;
    while (racing) {
        __builtin_ia32_pause();
    }
    return 0;
}

/* Logs past the SDK: `count` lines of `length` bytes of value `byte`, no length check. */
AEE_SIGNATURE(log_raw, "i:iii");
AEE_EXPORT int64_t log_raw(int64_t count, int64_t length, int64_t byte)
{
    struct aee_abi_lane *lane = attack_this_lane();
    struct aee_abi_level *level = &lane->levels[0];
    int64_t refused = 0;
    memset(lane->host_arena, (int)byte, AEE_MAX_PAYLOAD);
    for (int64_t i = 0; i < count; i++) {
        const uint32_t seq = __atomic_load_n(&level->reply.seq, __ATOMIC_RELAXED) + 1u;
        level->request.kind = AEE_HOST_CALL_LOG;
        level->request.payload_size = (uint32_t)length;
        level->request.payload_capacity = 0;
        level->request.args[0] = (uint64_t)i; /* levels beyond the last too */
        level->request.name[0] = 0;
        __atomic_store_n(&level->request.seq, seq, __ATOMIC_RELEASE);
        while (__atomic_load_n(&level->reply.seq, __ATOMIC_ACQUIRE) != seq) {
            attack_hypercall(AEE_HC_HOST_CALL);
        }
        refused += level->reply.status != AEE_HOST_OK;
    }
    return refused;
}
