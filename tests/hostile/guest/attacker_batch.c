/* attacker_batch.c: attacks of a component that has several requests in its ring, that is called
 * from within its own host calls, or that rewrites all of another lane's memory. */
#include "attacker.h"

#include <stdbool.h>
#include <string.h>

enum { A_WHILE = 1 << 14, SOME = 500 };

/* The oldest request without an answer: the one that is being served. */
static struct aee_abi_slot *served_slot(void)
{
    struct aee_abi_slot *slots = attack_this_lane()->slots;
    struct aee_abi_slot *oldest = NULL;
    for (unsigned i = 0; i < AEE_RING_SLOTS; i++) {
        const uint32_t seq = slots[i].request.seq;
        if (seq != 0 && slots[i].reply.seq != seq &&
            (!oldest || (int32_t)(seq - oldest->request.seq) < 0)) {
            oldest = &slots[i];
        }
    }
    return oldest ? oldest : &slots[0];
}

static void answer_slot(struct aee_abi_slot *slot, uint32_t seq, uint64_t value)
{
    slot->reply.value = value;
    __atomic_store_n(&slot->reply.seq, seq, __ATOMIC_RELEASE);
}

/* ---- In the middle of a batch ---- */

/* Every request that is there, the last one first, itself included. */
static void answer_backwards(uint32_t own)
{
    struct aee_abi_slot *slots = attack_this_lane()->slots;
    for (uint32_t i = AEE_RING_SLOTS; i-- > 0;) {
        struct aee_abi_slot *slot = &slots[(own - 1 + i) % AEE_RING_SLOTS];
        if ((int32_t)(slot->request.seq - own) >= 0) {
            answer_slot(slot, slot->request.seq, 4711);
        }
        attack_pause(100);
    }
}

static void fill_replies(uint32_t seq)
{
    struct aee_abi_slot *slots = attack_this_lane()->slots;
    for (uint32_t i = 0; i < AEE_RING_SLOTS; i++) {
        answer_slot(&slots[i], seq, 4711);
    }
}

static void answer_ahead(uint32_t own)
{
    struct aee_abi_slot *slots = attack_this_lane()->slots;
    for (uint32_t i = 1; i < AEE_RING_SLOTS; i++) {
        answer_slot(&slots[(own - 1 + i) % AEE_RING_SLOTS], own + i, 4711);
    }
}

static void hypercalls(uint32_t number)
{
    for (int i = 0; i < SOME; i++) {
        attack_hypercall(number);
    }
}

AEE_SIGNATURE(batch_attack, "i:i");
AEE_EXPORT int64_t batch_attack(int64_t how)
{
    struct aee_abi_lane *lane = attack_this_lane();
    struct aee_abi_slot *slot = served_slot();
    const uint32_t own = slot->request.seq;
    switch (how) {
    case 0:
        answer_backwards(own);
        break;
    case 1: /* twice, with two values */
        answer_slot(slot, own, 4711);
        attack_hypercall(AEE_HC_NOTIFY);
        attack_pause(A_WHILE);
        answer_slot(slot, own, 4711);
        break;
    case 2:
        answer_ahead(own);
        break;
    case 3:
        fill_replies(UINT32_MAX);
        break;
    case 4: /* answers are taken back */
        fill_replies(0);
        break;
    case 5:
        hypercalls(AEE_HC_PARK);
        break;
    case 6:
        hypercalls(AEE_HC_NOTIFY);
        break;
    case 7:
        answer_slot(slot, own, 4711);
        for (;;) {
            __builtin_ia32_pause();
        }
    case 8:
        lane->own.depth = UINT32_MAX;
        (void)aee_host_call("host", NULL, 7);
        lane->own.depth = AEE_HOST_CALL_DEPTH - 1;
        (void)aee_host_call("host", NULL, 7);
        break;
    case 9:
        lane->control.spin = UINT32_MAX;
        lane->control.notify = UINT32_MAX;
        break;
    case 10: /* numbers of the requests, as the vDSO will look for them */
        for (uint32_t i = 0; i < AEE_RING_SLOTS; i++) {
            lane->slots[i].request.seq += 3;
        }
        break;
    case 11: /* parks in the middle with a false answer for the next one */
        answer_slot(&lane->slots[own % AEE_RING_SLOTS], own + 1, 4711);
        hypercalls(AEE_HC_PARK);
        break;
    case 12: /* a door bell without a request, with work outstanding */
        hypercalls(AEE_HC_HOST_CALL);
        break;
    default:
        break;
    }
    return 4711;
}

/* ---- Called from within its own host call ---- */

static uint32_t ask_raw(struct aee_abi_level *level, const char *name)
{
    const uint32_t seq = __atomic_load_n(&level->reply.seq, __ATOMIC_ACQUIRE) + 1u;
    memset(&level->request.kind, 0, sizeof level->request - sizeof level->request.seq);
    memcpy(level->request.name, name, strlen(name) + 1);
    __atomic_store_n(&level->request.seq, seq, __ATOMIC_RELEASE);
    return seq;
}

/* Until the engine asks back, or a while. */
static bool await_nested(struct aee_abi_level *level, uint32_t before)
{
    for (int i = 0; i < SOME; i++) {
        for (int k = 0; k < A_WHILE / 16; k++) {
            if (__atomic_load_n(&level->nested.request.seq, __ATOMIC_ACQUIRE) != before) {
                return true;
            }
            __builtin_ia32_pause();
        }
        attack_hypercall(AEE_HC_HOST_CALL);
    }
    return false;
}

static void finish_raw(struct aee_abi_level *level, uint32_t seq)
{
    for (int i = 0; i < SOME && __atomic_load_n(&level->reply.seq, __ATOMIC_ACQUIRE) != seq; i++) {
        attack_pause(A_WHILE / 16);
        attack_hypercall(AEE_HC_HOST_CALL);
    }
}

AEE_SIGNATURE(nested_attack, "i:i");
AEE_EXPORT int64_t nested_attack(int64_t how)
{
    struct aee_abi_lane *lane = attack_this_lane();
    struct aee_abi_level *level = &lane->levels[0];
    struct aee_abi_slot *slot = served_slot();
    const uint32_t before = level->nested.request.seq;
    if (how == 0) { /* an answer before the question */
        answer_slot(&level->nested, before + 1, 4711);
    }
    const uint32_t seq = ask_raw(level, "reenter");
    if (!await_nested(level, before) && how != 0) {
        return -1;
    }
    const uint32_t nested = level->nested.request.seq;
    if (how == 1) { /* the wrong level */
        answer_slot(&lane->levels[1].nested, nested, 4711);
    } else if (how == 2) { /* wrong numbers, then twice the right one */
        answer_slot(&level->nested, nested + 1, 1);
        attack_hypercall(AEE_HC_NOTIFY);
        answer_slot(&level->nested, nested - 1, 2);
        attack_hypercall(AEE_HC_HOST_CALL);
        answer_slot(&level->nested, nested, 4711);
        answer_slot(&level->nested, nested, 4712);
    } else if (how == 3) { /* the outer answer while the engine is still inside */
        answer_slot(slot, slot->request.seq, 4711);
        hypercalls(AEE_HC_NOTIFY);
        answer_slot(&level->nested, nested, 4711);
    } else if (how == 4) { /* requests on all levels but the one that is due */
        for (uint32_t i = 2; i < AEE_HOST_CALL_DEPTH; i++) {
            (void)ask_raw(&lane->levels[i], "host");
        }
        hypercalls(AEE_HC_HOST_CALL);
        answer_slot(&level->nested, nested, 4711);
    } else if (how == 5) { /* parks instead of answering */
        hypercalls(AEE_HC_PARK);
        answer_slot(&level->nested, nested, 4711);
    } else {
        answer_slot(&level->nested, nested, 4711);
    }
    finish_raw(level, seq);
    return 4711;
}

/* Answers the outer call while the engine is inside, makes it look, and never answers the inner
 * one. */
AEE_SIGNATURE(nested_forge_spin, "i:i");
AEE_EXPORT int64_t nested_forge_spin(int64_t unused)
{
    struct aee_abi_level *level = &attack_this_lane()->levels[0];
    struct aee_abi_slot *slot = served_slot();
    const uint32_t before = level->nested.request.seq;
    (void)ask_raw(level, "reenter");
    if (!await_nested(level, before)) {
        return unused;
    }
    answer_slot(slot, slot->request.seq, 4711);
    attack_hypercall(AEE_HC_NOTIFY);
    for (;;) {
        __builtin_ia32_pause();
    }
    return 4711;
}

/* Comes back through the engine with the depth counter set to `depth` each time. */
AEE_SIGNATURE(nested_depth, "i:i");
AEE_EXPORT int64_t nested_depth(int64_t depth)
{
    attack_this_lane()->own.depth = (uint32_t)depth;
    (void)aee_host_call("descend", NULL, depth);
    attack_this_lane()->own.depth = (uint32_t)depth;
    return 4711;
}

/* ---- A second lane that rewrites everything ---- */

static uint64_t noise(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x >> 16;
}

/* Near what is right, where that may hurt most. */
static void spoil_slot(struct aee_abi_slot *slot, uint64_t random)
{
    const uint32_t seq = __atomic_load_n(&slot->request.seq, __ATOMIC_RELAXED);
    if (random & 1) {
        __atomic_store_n(&slot->reply.seq, seq + (uint32_t)(random >> 4 & 3) - 1, __ATOMIC_RELAXED);
    }
    if (random & 2) {
        slot->reply.value = random & 8 ? UINT64_C(1) << (random >> 8 & 63) : random >> 8 & 0x1ffff;
    }
    if ((random & 0xff0) == 0xff0) {
        __atomic_store_n(&slot->request.seq, seq + 1, __ATOMIC_RELAXED);
        slot->request.function = random;
    }
}

static void spoil_level(struct aee_abi_level *level, uint64_t random)
{
    const uint32_t seq = __atomic_load_n(&level->reply.seq, __ATOMIC_RELAXED);
    level->request.kind = random & 1;
    level->request.payload_size = random & 2 ? UINT32_MAX : AEE_MAX_PAYLOAD + 1;
    level->request.payload_capacity = random & 4 ? UINT32_MAX : AEE_MAX_PAYLOAD;
    level->request.name[4] = random & 8 ? 0 : 'x';
    level->request.name[AEE_HOST_NAME_MAX - 1] = random & 16 ? 0 : 'x';
    __atomic_store_n(&level->request.seq, seq + (random & 1), __ATOMIC_RELAXED);
    spoil_slot(&level->nested, random >> 5);
}

/* Not lane_index: the victim's own code goes by it, and the attack is on the host. */
AEE_SIGNATURE(race_everything, "i:ii");
AEE_EXPORT int64_t race_everything(int64_t turns, int64_t seed)
{
    uint64_t state = (uint64_t)seed * 2 + 1;
    for (int64_t i = 0; i < turns; i++) {
        const uint64_t random = noise(&state);
        const uint64_t lanes = aee_info()->lane_count;
        struct aee_abi_lane *lane = attack_lane(random % lanes);
        const uint64_t what = random >> 8 & 15;
        if (lane == attack_this_lane()) {
            continue;
        }
        if (what < 6) {
            spoil_slot(&lane->slots[random >> 16 & (AEE_RING_SLOTS - 1)], random >> 24);
        } else if (what < 12) {
            spoil_level(&lane->levels[random >> 16 & (AEE_HOST_CALL_DEPTH - 1)], random >> 24);
        } else if (what < 13) {
            lane->control.notify = (uint32_t)(random >> 20 & 1);
        } else if (what < 14) {
            lane->control.spin = random & 1 << 20 ? 0 : UINT32_MAX;
        } else if (what < 15) {
            lane->own.depth = (uint32_t)(random >> 20 & 15);
        } else {
            lane->reply_arena[random >> 16 & 0xffff] = (uint8_t)random;
            lane->host_arena[random >> 24 & 0xffff] = (uint8_t)random;
        }
    }
    return turns;
}

/* Has its budget set anew by a call that comes back, then works for a while and says that it waits,
 * for ever. */
AEE_SIGNATURE(reenter_then_park, "i:i");
AEE_EXPORT int64_t reenter_then_park(int64_t turns)
{
    for (;;) {
        (void)aee_host_call("reenter", NULL, 0);
        attack_pause((uint64_t)turns);
        attack_hypercall(AEE_HC_PARK);
    }
    return 4711;
}
