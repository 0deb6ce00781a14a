/* attacks.c: what the thief tries: first what belongs to others, at the addresses where it is; then
 * the list that it brings with it. */
#include <stdio.h>
#include <string.h>

#include "demo.h"

enum { EVERY = 3 /* frames */, LURE_BYTES = 4096 };

/* ---- The plan ----------------------------------------------------------------------------- */

static aee_result find(struct demo *demo, const char *name, aee_function *out, aee_error *error)
{
    return aee_find_function(demo->engine, demo->actors[THIEF].context, name, out, error);
}

/* A region that the thief may read, and one that it had and lost. */
static aee_result make_lures(struct demo *demo, uint64_t *read_only, uint64_t *lost,
                             aee_error *error)
{
    aee_region_desc desc = {.struct_size = sizeof desc, .name = "lure", .size_bytes = LURE_BYTES};
    const aee_context thief = demo->actors[THIEF].context;
    aee_region regions[2];
    uint64_t addresses[2] = {0};
    aee_result result = AEE_OK;
    for (unsigned i = 0; i < 2 && result == AEE_OK; i++) {
        result = aee_region_create(demo->engine, &desc, &regions[i], error);
        if (result == AEE_OK) {
            result = aee_region_map(demo->engine, thief, regions[i], AEE_ACCESS_READ, &addresses[i],
                                    error);
        }
    }
    *read_only = addresses[0];
    *lost = addresses[1];
    return result == AEE_OK ? aee_region_unmap(demo->engine, thief, regions[1], error) : result;
}

static aee_result plan_aimed(struct demo *demo, aee_error *error)
{
    aee_function peek;
    aee_function poke;
    uint64_t read_only;
    uint64_t lost;
    aee_result result = make_lures(demo, &read_only, &lost, error);
    result = result == AEE_OK ? find(demo, "thief_read", &peek, error) : result;
    result = result == AEE_OK ? find(demo, "thief_write", &poke, error) : result;
    if (result != AEE_OK) {
        return result;
    }
    const struct shared *agents = &demo->shared[COLUMNS_AGENTS];
    const int64_t theirs = (int64_t)agents->address[AGENTS];
    const int64_t ours = (int64_t)(uintptr_t)agents->data;
    const int64_t stack = (int64_t)(uintptr_t)demo->canary;
    const struct attack aimed[] = {
        {"read the agents' columns", ATTACK_CRASHES, peek, {theirs}, 1},
        {"write the agents' columns", ATTACK_CRASHES, poke, {theirs, 1}, 2},
        {"read them where the engine has them", ATTACK_CRASHES, peek, {ours}, 1},
        {"write them where the engine has them", ATTACK_CRASHES, poke, {ours, 1}, 2},
        {"read the engine's stack", ATTACK_CRASHES, peek, {stack}, 1},
        {"write the engine's stack", ATTACK_CRASHES, poke, {stack, 1}, 2},
        {"write a region that it may only read", ATTACK_CRASHES, poke, {(int64_t)read_only, 1}, 2},
        {"read a region that was taken back", ATTACK_CRASHES, peek, {(int64_t)lost}, 1},
    };
    memcpy(demo->plan, aimed, sizeof aimed);
    demo->plan_count = sizeof aimed / sizeof aimed[0];
    demo->aimed_count = demo->plan_count;
    return AEE_OK;
}

/* The thief's own list, or an even part of it where the frames are few. */
aee_result attacks_plan(struct demo *demo, aee_error *error)
{
    const aee_context thief = demo->actors[THIEF].context;
    aee_function count_of;
    aee_function name_of;
    aee_function end_of;
    aee_function attempt;
    int64_t count = 0;
    memset(demo->canary, 0x5a, sizeof demo->canary);
    aee_result result = plan_aimed(demo, error);
    result = result == AEE_OK ? find(demo, "thief_attack_count", &count_of, error) : result;
    result = result == AEE_OK ? find(demo, "thief_attack_name", &name_of, error) : result;
    result = result == AEE_OK ? find(demo, "thief_attack_end", &end_of, error) : result;
    result = result == AEE_OK ? find(demo, "thief_attempt", &attempt, error) : result;
    if (result == AEE_OK) {
        result = aee_call_i64(demo->engine, thief, count_of, NULL, 0, &count, error);
    }
    count = count < ATTACKS_MAX ? count : ATTACKS_MAX; /* the thief may say anything */
    /* A fifth of the turns stays free: the thief may not be back in time. */
    const int64_t turns = (int64_t)demo->options.frames / EVERY * 4 / 5 - demo->plan_count;
    const int64_t wanted = count < turns ? count : turns;
    for (int64_t i = 0; i < wanted && result == AEE_OK && demo->plan_count < ATTACKS_MAX; i++) {
        const int64_t number = i * count / wanted;
        struct attack *attack = &demo->plan[demo->plan_count++];
        int64_t end = ATTACK_CRASHES;
        size_t size;
        *attack = (struct attack){.function = attempt, .args = {number}, .count = 1};
        result = aee_call_bytes(demo->engine, thief, name_of, &number, sizeof number, attack->name,
                                sizeof attack->name - 1, &size, error);
        if (result == AEE_OK) {
            result = aee_call_i64(demo->engine, thief, end_of, &number, 1, &end, error);
        }
        attack->end = (enum attack_end)end;
        demo_make_printable(attack->name);
    }
    demo->record.attacks_planned = demo->plan_count;
    return result;
}

/* ---- In the frames ------------------------------------------------------------------------ */

static const char *outcome(const struct attack_record *attack)
{
    if (!attack_contained(attack)) {
        return "GOT THROUGH";
    }
    return attack->result == AEE_ERR_CRASHED ? "crashed"
           : attack->result == AEE_ERR_HUNG  ? "hung"
                                             : "gained nothing";
}

void attacks_play(struct demo *demo, uint32_t frame)
{
    struct record *record = &demo->record;
    if (frame % EVERY != 0 || record->attack_count == demo->plan_count ||
        demo->actors[THIEF].lost) {
        return;
    }
    const struct attack *attack = &demo->plan[record->attack_count];
    struct attack_record *done = &record->attacks[record->attack_count];
    aee_error error = {0};
    *done = (struct attack_record){.frame = frame, .end = attack->end};
    memcpy(done->name, attack->name, sizeof done->name);
    done->result = aee_call_i64(demo->engine, demo->actors[THIEF].context, attack->function,
                                attack->args, attack->count, &done->gained, &error);
    if (done->result == AEE_ERR_RESTARTING) {
        return; /* not back yet: again at the next turn */
    }
    record->attack_count++;
    if (done->result != AEE_OK) {
        demo_failed(demo, THIEF, frame, &error);
    }
    const bool aimed = record->attack_count <= demo->aimed_count;
    if (aimed || !attack_contained(done)) {
        report_event(demo, frame, "thief", "tries to %s: %s", done->name, outcome(done));
    }
    if (record->attack_count == demo->aimed_count) {
        report_event(demo, frame, "thief", "goes on with %u attacks from its own list",
                     demo->plan_count - demo->aimed_count);
    }
}

bool attacks_left_no_trace(const struct demo *demo)
{
    for (size_t i = 0; i < sizeof demo->canary; i++) {
        if (demo->canary[i] != 0x5a) {
            return false;
        }
    }
    return true;
}
