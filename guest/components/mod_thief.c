/* mod_thief.c: a mod that attacks: wild memory accesses, privileged instructions, forged rings.
 * Each attack is tried by number, so that a test can go through the list on every back end; the
 * lists are in the mod_thief_*.c files.
 *
 *   thief_attack_count()
 *   thief_attack_name(request: int64 number, reply: text)    bytes
 *   thief_attack_end(n)            enum thief_end: what must happen to the thief
 *   thief_attempt(n)               0: nothing gained; 1: the attack got through; or no return
 *   thief_aim(address)             target of the attacks called "aimed", which else do nothing
 *   thief_read(address), thief_write(address, value), thief_interrupt(n), thief_in(port),
 *   thief_out(port, value), thief_hypercall(number), thief_far_call(selector)   single shots
 *   thief_race(turns)              rewrites sizes on lane 0's rings as fast as it can, from lane 1
 *   mod_init(seed), mod_tick(frame), mod_arm(frame): attack number seed + frame at that frame */
#include <string.h>

#include <aee_guest.h>

#include "break.h"
#include "mod_counter.h"
#include "mod_thief.h"

uint64_t thief_target;

static struct mod_counter counter;
static int64_t first_attack;

static const struct thief_list *const lists[] = {
    &thief_memory_attacks,
    &thief_processor_attacks,
    &thief_ring_attacks,
};
enum { LIST_COUNT = sizeof lists / sizeof lists[0] };

static const struct thief_attack *attack_at(int64_t n)
{
    for (int i = 0; i < LIST_COUNT && n >= 0; i++) {
        if (n < lists[i]->count) {
            return &lists[i]->attacks[n];
        }
        n -= lists[i]->count;
    }
    return NULL;
}

AEE_SIGNATURE(thief_attack_count, "i:");
AEE_EXPORT int64_t thief_attack_count(void)
{
    int64_t count = 0;
    for (int i = 0; i < LIST_COUNT; i++) {
        count += lists[i]->count;
    }
    return count;
}

AEE_SIGNATURE(thief_attack_name, "b");
AEE_EXPORT int64_t thief_attack_name(const void *request, size_t size, void *reply, size_t capacity)
{
    int64_t n = -1;
    if (size == sizeof n) {
        memcpy(&n, request, sizeof n);
    }
    const struct thief_attack *attack = attack_at(n);
    if (attack == NULL) {
        return -1;
    }
    const size_t length = strlen(attack->name);
    const size_t count = length < capacity ? length : capacity;
    memcpy(reply, attack->name, count);
    return (int64_t)count;
}

AEE_SIGNATURE(thief_attack_end, "i:i");
AEE_EXPORT int64_t thief_attack_end(int64_t n)
{
    const struct thief_attack *attack = attack_at(n);
    return attack == NULL ? -1 : (int64_t)attack->end;
}

AEE_SIGNATURE(thief_attempt, "i:i");
AEE_EXPORT int64_t thief_attempt(int64_t n)
{
    const struct thief_attack *attack = attack_at(n);
    return attack == NULL ? -1 : attack->run();
}

AEE_SIGNATURE(thief_aim, "i:i");
AEE_EXPORT int64_t thief_aim(int64_t address)
{
    thief_target = (uint64_t)address;
    return 0;
}

AEE_SIGNATURE(mod_init, "i:i");
AEE_EXPORT int64_t mod_init(int64_t seed)
{
    mod_counter_init(&counter, seed);
    first_attack = seed & INT64_C(0xffff);
    return 0;
}

AEE_SIGNATURE(mod_arm, "i:i");
AEE_EXPORT int64_t mod_arm(int64_t frame)
{
    counter.armed_frame = frame;
    return 0;
}

AEE_SIGNATURE(mod_tick, "i:i");
AEE_EXPORT int64_t mod_tick(int64_t frame)
{
    if (frame == counter.armed_frame && frame >= 0) {
        (void)thief_attempt((first_attack + frame) % thief_attack_count());
    }
    return mod_counter_tick(&counter, frame);
}
