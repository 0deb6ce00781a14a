/* test_memory.c: shared regions under attack, and what one context leaves for the next: canaries in
 * memory, registers, regions and reused machines. */
#include "hostile/harness.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "aee_abi.h"

#define PAGE UINT64_C(4096)
#define CANARY INT64_C(0x5ec2e7c0ffee1234)

static const struct hostile_end MEMORY = {
    .ends = ENDS_CRASH, .cause = AEE_CRASH_MEMORY, .text = "access to memory"};

/* A page fault or refused memory: which of the two depends on whether the place was ever mapped. */
static void expect_refused(struct hostile *hostile, struct offender offender, aee_result result,
                           const char *called)
{
    const struct hostile_end any = {.ends = ENDS_CRASH, .function = "*"};
    hostile_expect(hostile, offender, result, called, &any);
    aee_crash crash = hostile_crash(hostile, offender);
    assert_true(crash.cause == AEE_CRASH_MEMORY ||
                (crash.cause == AEE_CRASH_EXCEPTION && crash.vector == 14));
    hostile_expect_recovery(hostile, offender);
}

static aee_result peek(struct hostile *hostile, struct offender offender, uint64_t address,
                       int64_t *value)
{
    return hostile_call1(hostile, offender, "peek", (int64_t)address, value);
}

static aee_result poke(struct hostile *hostile, struct offender offender, uint64_t address,
                       int64_t value)
{
    const int64_t args[2] = {(int64_t)address, value};
    return hostile_call(hostile, offender, "poke", args, 2, NULL);
}

static void destroy_region(struct hostile *hostile, aee_region region)
{
    assert_int_equal(aee_region_destroy(hostile->engine, region, NULL), AEE_OK);
}

/* ---- Rights ------------------------------------------------------------------------------- */

static void rights(struct hostile *hostile, aee_call_mode mode, uint32_t flags)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    aee_region region = hostile_region(hostile, 3 * PAGE, flags);
    uint8_t *data = hostile_region_data(hostile, region);
    uint64_t at = hostile_map(hostile, offender, region, AEE_ACCESS_READ);
    assert_true(!(flags & AEE_REGION_SAME_ADDRESS) || at == (uint64_t)(uintptr_t)data);
    int64_t value = 0;
    memset(data, 0x21, 3 * PAGE);
    assert_int_equal(peek(hostile, offender, at + 2 * PAGE, &value), AEE_OK);
    assert_int_equal(value, 0x2121212121212121);
    expect_refused(hostile, offender, poke(hostile, offender, at, 1), "poke");
    assert_int_equal(data[0], 0x21);
    /* More rights, less rights, and the page that was written stays refused. */
    assert_int_equal(hostile_map(hostile, offender, region, AEE_ACCESS_READ_WRITE), at);
    assert_int_equal(poke(hostile, offender, at, 0x77), AEE_OK);
    assert_int_equal(data[0], 0x77);
    assert_int_equal(hostile_map(hostile, offender, region, AEE_ACCESS_READ), at);
    assert_int_equal(peek(hostile, offender, at, &value), AEE_OK);
    expect_refused(hostile, offender, poke(hostile, offender, at, 0x99), "poke");
    assert_int_equal(data[0], 0x77);
    /* Beyond its end, before its start, and as code. */
    expect_refused(hostile, offender, peek(hostile, offender, at + 3 * PAGE, NULL), "peek");
    expect_refused(hostile, offender, peek(hostile, offender, at - 8, NULL), "peek");
    const struct hostile_end no_code = {
        .ends = ENDS_CRASH, .vectors = VECTOR(14), .text = "execution of"};
    hostile_expect(hostile, offender, hostile_call1(hostile, offender, "jump", (int64_t)at, NULL),
                   "jump", &no_code);
    hostile_expect_recovery(hostile, offender);
    assert_int_equal(aee_region_unmap(hostile->engine, offender.context, region, NULL), AEE_OK);
    expect_refused(hostile, offender, peek(hostile, offender, at, NULL), "peek");
    hostile_destroy(hostile, offender);
    destroy_region(hostile, region);
}

static void region_rights(struct hostile *hostile, aee_call_mode mode)
{
    rights(hostile, mode, 0);
}

static void same_address_rights(struct hostile *hostile, aee_call_mode mode)
{
    rights(hostile, mode, AEE_REGION_SAME_ADDRESS);
}

/* A region that is mapped elsewhere: neither its neighbour's owner nor a context without it sees
 * it, through either address. */
static void regions_of_others(struct hostile *hostile, aee_call_mode mode)
{
    struct offender owner = hostile_offender(hostile, mode, NULL);
    struct offender thief = hostile_offender(hostile, mode, NULL);
    aee_region own = hostile_region(hostile, PAGE, AEE_REGION_SAME_ADDRESS);
    aee_region secret = hostile_region(hostile, PAGE, AEE_REGION_SAME_ADDRESS);
    (void)hostile_map(hostile, thief, own, AEE_ACCESS_READ_WRITE);
    uint64_t at = hostile_map(hostile, owner, secret, AEE_ACCESS_READ_WRITE);
    expect_refused(hostile, thief, peek(hostile, thief, at, NULL), "peek");
    expect_refused(hostile, thief, poke(hostile, thief, at, 1), "poke");
    for (uint64_t offset = 0; offset < 64 * MIB;
         offset += 2 * MIB) { /* the window by its other address */
        if (peek(hostile, thief, AEE_GVA_REGIONS + offset, NULL) == AEE_OK) {
            fail_msg("0x%llx is readable", (unsigned long long)(AEE_GVA_REGIONS + offset));
        }
        assert_int_equal(aee_wait_ready(hostile->engine, thief.context, 5000 * MS, NULL), AEE_OK);
    }
    hostile_destroy(hostile, owner);
    hostile_destroy(hostile, thief);
    destroy_region(hostile, own);
    destroy_region(hostile, secret);
}

/* The stack moved into a region: the exception must not be written there with the library's data.
 */
static void stack_in_region(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = hostile_offender(hostile, mode, NULL);
    aee_region region = hostile_region(hostile, PAGE, 0);
    uint8_t *data = hostile_region_data(hostile, region);
    uint64_t at = hostile_map(hostile, offender, region, AEE_ACCESS_READ_WRITE);
    const struct hostile_end end = {
        .ends = ENDS_CRASH, .vectors = VECTOR(6), .text = "invalid instruction in stack_at"};
    memset(data, 0x33, PAGE);
    hostile_expect(hostile, offender,
                   hostile_call1(hostile, offender, "stack_at", (int64_t)(at + PAGE), NULL),
                   "stack_at", &end);
    for (uint64_t i = 0; i < PAGE - 8; i++) { /* one push of the component's own, no more */
        assert_int_equal(data[i], 0x33);
    }
    hostile_expect_recovery(hostile, offender);
    hostile_destroy(hostile, offender);
    destroy_region(hostile, region);
}

/* ---- Revoking while it runs --------------------------------------------------------------- */

struct runner {
    struct hostile *hostile;
    struct offender offender;
    const char *function;
    uint64_t address;
    volatile const uint64_t *word; /* what it counts up */
    pthread_t thread;
    aee_result result;
};

static void *run(void *user)
{
    struct runner *runner = user;
    runner->result = hostile_call1(runner->hostile, runner->offender, runner->function,
                                   (int64_t)runner->address, NULL);
    return NULL;
}

static bool counts(void *user)
{
    return *((struct runner *)user)->word > 1000;
}

static void start(struct runner *runner)
{
    assert_int_equal(pthread_create(&runner->thread, NULL, run, runner), 0);
    if (strcmp(runner->function, "hammer") == 0) {
        assert_true(hostile_wait(counts, runner, 5000 * MS));
    } else {
        hostile_sleep_ns(5 * MS);
    }
}

enum revocation { UNMAP, DEGRADE, TRANSFER, DESTROY };

static void take_away(struct hostile *hostile, struct offender offender, struct offender heir,
                      aee_region region, enum revocation how)
{
    switch (how) {
    case UNMAP:
        assert_int_equal(aee_region_unmap(hostile->engine, offender.context, region, NULL), AEE_OK);
        break;
    case DEGRADE:
        (void)hostile_map(hostile, offender, region, AEE_ACCESS_READ);
        break;
    case TRANSFER:
        assert_int_equal(aee_region_transfer(hostile->engine, offender.context, heir.context,
                                             region, NULL, NULL),
                         AEE_OK);
        break;
    default:
        destroy_region(hostile, region);
        break;
    }
}

static void revoke_in_call(struct hostile *hostile, aee_call_mode mode, const char *function,
                           enum revocation how)
{
    struct offender offender =
        hostile_offender(hostile, mode, &(aee_limits){.call_budget_ns = 10000 * MS});
    struct offender heir = hostile_offender(hostile, mode, NULL);
    for (unsigned i = 0; i < 5; i++) {
        aee_region region = hostile_region(hostile, 2 * MIB, 0);
        struct runner runner = {
            .hostile = hostile,
            .offender = offender,
            .function = function,
            .address = hostile_map(hostile, offender, region, AEE_ACCESS_READ_WRITE),
            .word = (const uint64_t *)(void *)hostile_region_data(hostile, region)};
        start(&runner);
        take_away(hostile, offender, heir, region, how);
        if (how != DESTROY) {
            uint64_t at_once = *runner.word;
            hostile_sleep_ns(MS);
            assert_int_equal(*runner.word, at_once); /* nothing lands any more */
        }
        (void)pthread_join(runner.thread, NULL);
        hostile_expect(hostile, offender, runner.result, function, &MEMORY);
        hostile_expect_recovery(hostile, offender);
        if (how != DESTROY) {
            destroy_region(hostile, region);
        }
    }
    hostile_destroy(hostile, offender);
    hostile_destroy(hostile, heir);
}

static void unmap_while_writing(struct hostile *hostile, aee_call_mode mode)
{
    revoke_in_call(hostile, mode, "hammer", UNMAP);
}
static void unmap_while_reading(struct hostile *hostile, aee_call_mode mode)
{
    revoke_in_call(hostile, mode, "stare", UNMAP);
}
static void read_only_while_writing(struct hostile *hostile, aee_call_mode mode)
{
    revoke_in_call(hostile, mode, "hammer", DEGRADE);
}
static void transfer_while_writing(struct hostile *hostile, aee_call_mode mode)
{
    revoke_in_call(hostile, mode, "hammer", TRANSFER);
}
static void destroy_while_writing(struct hostile *hostile, aee_call_mode mode)
{
    revoke_in_call(hostile, mode, "hammer", DESTROY);
}

/* Stopping comes first, revoking second: the instance that still runs for a moment has lost the
 * region as well when the revocation returns. */
static void unmap_after_stop(struct hostile *hostile, aee_call_mode mode)
{
    enum { ROUNDS = 40 };
    unsigned late = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct offender offender =
            hostile_offender(hostile, mode, &(aee_limits){.call_budget_ns = 10000 * MS});
        aee_region region = hostile_region(hostile, PAGE, 0);
        struct runner runner = {
            .hostile = hostile,
            .offender = offender,
            .function = "hammer",
            .address = hostile_map(hostile, offender, region, AEE_ACCESS_READ_WRITE),
            .word = (const uint64_t *)(void *)hostile_region_data(hostile, region)};
        start(&runner);
        assert_int_equal(aee_stop(hostile->engine, offender.context, NULL), AEE_OK);
        assert_int_equal(aee_region_unmap(hostile->engine, offender.context, region, NULL), AEE_OK);
        uint64_t at_once = *runner.word;
        hostile_sleep_ns(2 * MS);
        late += *runner.word != at_once;
        (void)pthread_join(runner.thread, NULL);
        assert_int_equal(runner.result, AEE_ERR_STOPPED);
        hostile_destroy(hostile, offender);
        destroy_region(hostile, region);
    }
    print_message("    writes after the revocation in %u of %d rounds\n", late, ROUNDS);
    assert_int_equal(late, 0);
}

/* The same after the crash of another lane: the caller that learns of it revokes. */
static void unmap_after_crash_of_lane(struct hostile *hostile, aee_call_mode mode)
{
    enum { ROUNDS = 40 };
    unsigned late = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const aee_limits limits = {.call_budget_ns = 10000 * MS, .lanes = 2};
        struct offender offender = hostile_offender(hostile, mode, &limits);
        aee_region region = hostile_region(hostile, PAGE, 0);
        struct runner runner = {
            .hostile = hostile,
            .offender = offender,
            .function = "hammer",
            .address = hostile_map(hostile, offender, region, AEE_ACCESS_READ_WRITE),
            .word = (const uint64_t *)(void *)hostile_region_data(hostile, region)};
        start(&runner);
        assert_int_equal(peek(hostile, offender, 0, NULL), AEE_ERR_CRASHED);
        assert_int_equal(aee_region_unmap(hostile->engine, offender.context, region, NULL), AEE_OK);
        uint64_t at_once = *runner.word;
        hostile_sleep_ns(2 * MS);
        late += *runner.word != at_once;
        (void)pthread_join(runner.thread, NULL);
        hostile_destroy(hostile, offender);
        destroy_region(hostile, region);
    }
    print_message("    writes after the revocation in %u of %d rounds\n", late, ROUNDS);
    assert_int_equal(late, 0);
}

/* Stands before the C library's: the library's kick can be held up, as if its thread had been
 * preempted there. */
static _Atomic bool hold_kicks;

int pthread_kill(pthread_t thread, int signal)
{
    static int (*real)(pthread_t, int);
    if (!real) {
        *(void **)(void *)&real = dlsym(RTLD_NEXT, "pthread_kill");
    }
    while (hold_kicks) {
        hostile_sleep_ns(MS / 10);
    }
    return real(thread, signal);
}

static void *stop(void *user)
{
    struct runner *runner = user;
    runner->result = aee_stop(runner->hostile->engine, runner->offender.context, NULL);
    return NULL;
}

static bool is_stopped(void *user)
{
    struct runner *runner = user;
    return hostile_info(runner->hostile, runner->offender).state == AEE_STATE_STOPPED;
}

/* One thread stops the context and is preempted before it has kicked the vCPU; another revokes.
 * When the revocation returns, nothing may land any more, although the instance is nobody's current
 * one. */
static void unmap_during_stop(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender =
        hostile_offender(hostile, mode, &(aee_limits){.call_budget_ns = 10000 * MS});
    aee_region region = hostile_region(hostile, PAGE, 0);
    struct runner runner = {.hostile = hostile,
                            .offender = offender,
                            .function = "hammer",
                            .address =
                                hostile_map(hostile, offender, region, AEE_ACCESS_READ_WRITE),
                            .word = (const uint64_t *)(void *)hostile_region_data(hostile, region)};
    struct runner stopper = runner;
    start(&runner);
    hold_kicks = true;
    assert_int_equal(pthread_create(&stopper.thread, NULL, stop, &stopper), 0);
    bool stopped = hostile_wait(is_stopped, &stopper, 2000 * MS);
    aee_result result = aee_region_unmap(hostile->engine, offender.context, region, NULL);
    uint64_t at_once = *runner.word;
    hostile_sleep_ns(5 * MS);
    uint64_t later = *runner.word;
    hold_kicks = false;
    (void)pthread_join(stopper.thread, NULL);
    (void)pthread_join(runner.thread, NULL);
    assert_true(stopped);
    assert_int_equal(result, AEE_OK);
    assert_int_equal(stopper.result, AEE_OK);
    hostile_destroy(hostile, offender);
    destroy_region(hostile, region);
    if (later != at_once) {
        fail_msg("%llu writes landed after the revocation had returned",
                 (unsigned long long)(later - at_once));
    }
}

/* ---- Canaries ----------------------------------------------------------------------------- */

static void expect_no_canary(struct hostile *hostile, struct offender offender)
{
    assert_int_equal(hostile_ask(hostile, offender, "canary_find", ~CANARY), 0);
}

static void canary_in_memory(struct hostile *hostile, aee_call_mode mode)
{
    const aee_limits limits = {.memory_bytes = 4 * MIB, .call_budget_ns = 5000 * MS};
    struct offender other = hostile_offender(hostile, mode, &limits);
    struct offender first = hostile_offender(hostile, mode, &limits);
    assert_int_equal(hostile_ask(hostile, first, "canary_leave", ~CANARY), 0);
    assert_true(hostile_ask(hostile, first, "canary_find", ~CANARY) >
                100000); /* the search finds */
    expect_no_canary(hostile, other);
    /* The next life of the same context, then contexts in the place of a dead one. */
    assert_int_equal(aee_restart(hostile->engine, first.context, NULL), AEE_OK);
    expect_no_canary(hostile, first);
    assert_int_equal(hostile_ask(hostile, first, "canary_leave", ~CANARY), 0);
    assert_int_equal(peek(hostile, first, 0, NULL), AEE_ERR_CRASHED);
    hostile_expect_recovery(hostile, first);
    expect_no_canary(hostile, first);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(hostile_ask(hostile, first, "canary_leave", ~CANARY), 0);
        hostile_destroy(hostile, first);
        first = hostile_offender(hostile, mode, &limits);
        expect_no_canary(hostile, first);
    }
    /* New heap of a living context is clean too. */
    assert_int_equal(hostile_ask(hostile, other, "canary_leave", ~CANARY), 0);
    assert_int_equal(aee_allocate_isolated_memory(hostile->engine, first.context, 8, NULL), AEE_OK);
    expect_no_canary(hostile, first);
    hostile_destroy(hostile, first);
    hostile_destroy(hostile, other);
}

static void canary_in_regions(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender =
        hostile_offender(hostile, mode, &(aee_limits){.call_budget_ns = 5000 * MS});
    for (unsigned i = 0; i < 4; i++) {
        aee_region region = hostile_region(hostile, 2 * MIB, 0);
        uint64_t at = hostile_map(hostile, offender, region, AEE_ACCESS_READ_WRITE);
        const int64_t args[3] = {(int64_t)at, 2 * MIB, ~CANARY};
        int64_t found = -1;
        assert_int_equal(hostile_call(hostile, offender, "canary_find_at", args, 3, &found),
                         AEE_OK);
        assert_int_equal(found, 0);
        uint64_t *words = (uint64_t *)(void *)hostile_region_data(hostile, region);
        for (uint64_t w = 0; w < 2 * MIB / 8; w++) {
            words[w] = (uint64_t)CANARY;
        }
        assert_int_equal(hostile_call(hostile, offender, "canary_find_at", args, 3, &found),
                         AEE_OK);
        assert_int_equal(found, 2 * MIB / 8);
        destroy_region(hostile, region);
    }
    hostile_destroy(hostile, offender);
}

/* Vector, mask and x87 registers, from context to context through the same thread and worker. */
static void canary_in_registers(struct hostile *hostile, aee_call_mode mode)
{
    struct offender first = hostile_offender(hostile, mode, NULL);
    struct offender second = hostile_offender(hostile, mode, NULL);
    if (hostile_ask(hostile, first, "registers_find", ~CANARY) < 0) {
        print_message("    no AVX2 here\n");
    } else {
        for (unsigned i = 0; i < 8; i++) {
            assert_int_equal(hostile_ask(hostile, first, "registers_leave", ~CANARY), 0);
            assert_int_equal(hostile_ask(hostile, second, "registers_find", ~CANARY), 0);
        }
        assert_int_equal(hostile_ask(hostile, first, "registers_leave", ~CANARY), 0);
        assert_true(hostile_ask(hostile, first, "registers_find", ~CANARY) >
                    4); /* the search finds */
        assert_int_equal(aee_restart(hostile->engine, first.context, NULL), AEE_OK);
        assert_int_equal(hostile_ask(hostile, first, "registers_find", ~CANARY), 0);
        hostile_destroy(hostile, second);
        second = hostile_offender(hostile, mode, NULL);
        assert_int_equal(hostile_ask(hostile, second, "registers_find", ~CANARY), 0);
    }
    hostile_destroy(hostile, first);
    hostile_destroy(hostile, second);
}

/* What a component finds in its memory and registers at first is nothing of the host's. */
static void host_addresses(struct hostile *hostile, aee_call_mode mode)
{
    const aee_limits limits = {.memory_bytes = 2 * MIB};
    for (unsigned i = 0; i < 4; i++) {
        struct offender offender = hostile_offender(hostile, mode, &limits);
        assert_int_equal(hostile_ask(hostile, offender, "registers_any", 0), 0);
        assert_int_equal(hostile_ask(hostile, offender, "host_addresses", 0), 0);
        hostile_destroy(hostile, offender);
    }
}

static void seeds(struct hostile *hostile, aee_call_mode mode)
{
    enum { LIVES = 6 };
    int64_t seeds[2 * LIVES];
    struct offender first = hostile_offender(hostile, mode, NULL);
    for (unsigned i = 0; i < LIVES; i++) {
        struct offender second = hostile_offender(hostile, mode, NULL);
        seeds[2 * i] = hostile_ask(hostile, first, "seed_of_instance", 0);
        seeds[2 * i + 1] = hostile_ask(hostile, second, "seed_of_instance", 0);
        hostile_destroy(hostile, second);
        assert_int_equal(aee_restart(hostile->engine, first.context, NULL), AEE_OK);
    }
    for (unsigned i = 0; i < 2 * LIVES; i++) {
        for (unsigned j = 0; j < i; j++) {
            assert_true(seeds[i] != seeds[j]);
        }
    }
    hostile_destroy(hostile, first);
}

static const struct hostile_case cases[] = {
    {.name = "rights of a region", .script = region_rights},
    {.name = "rights of a region at the same address",
     .script = same_address_rights,
     .least = AEE_LEVEL_PROCESS},
    {.name = "regions of other contexts", .script = regions_of_others, .least = AEE_LEVEL_PROCESS},
    {.name = "the stack moved into a region", .script = stack_in_region},
    {.name = "a region unmapped while it is written", .script = unmap_while_writing},
    {.name = "a region unmapped while it is read", .script = unmap_while_reading},
    {.name = "a region made read-only while it is written", .script = read_only_while_writing},
    {.name = "a region transferred while it is written", .script = transfer_while_writing},
    {.name = "a region destroyed while it is written", .script = destroy_while_writing},
    {.name = "a region unmapped after a stop", .script = unmap_after_stop},
    {.name = "a region unmapped after the crash of another lane",
     .script = unmap_after_crash_of_lane},
    /* Level none holds the window's lock while it sends the signal that the case holds back. */
    {.name = "a region unmapped during a stop",
     .script = unmap_during_stop,
     .least = AEE_LEVEL_PROCESS},
    {.name = "a canary in memory", .script = canary_in_memory},
    {.name = "a canary in regions", .script = canary_in_regions},
    {.name = "a canary in registers", .script = canary_in_registers, .least = AEE_LEVEL_PROCESS},
    {.name = "addresses of the host", .script = host_addresses, .least = AEE_LEVEL_PROCESS},
    {.name = "seeds of instances", .script = seeds},
};

int main(int argc, char **argv)
{
    static const struct hostile_program program = {.name = "hostile_memory",
                                                   .image = "hostile_attacker.elf",
                                                   .cases = cases,
                                                   .count = COUNT_OF(cases)};
    return hostile_main(&program, argc, argv);
}
