/* test_cells.c: components that attack what their cell has of its own: exits, stacks, the servant's
 * scratch, its code; that block the kick, say that they wait and do not, or hold on to a region. */
#include "hostile/harness.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cell_level.h"
#include "isolation/process/cell.h"

#define PAGE UINT64_C(4096)
#define NR_MMAP 9
#define NR_MUNMAP 11
#define NR_WRITE 1
#define NR_RECVMSG 47

static uint64_t budget_ns(void)
{
    return 30 * MS * hostile_scale();
}

static struct offender offender_of(struct hostile *hostile, aee_call_mode mode, uint32_t lanes)
{
    const aee_limits limits = {
        .call_budget_ns = budget_ns(), .lanes = lanes, .restarts = 63, .restart_window_ns = 1};
    return hostile_offender(hostile, mode, &limits);
}

/* ---- A lane that works against another ---------------------------------------------------- */

struct accomplice {
    struct hostile *hostile;
    struct offender offender;
    const char *function;
    int64_t argument;
    uint32_t count;
    aee_result result;
    bool returned;
    pthread_t thread;
};

static void *assist(void *argument)
{
    struct accomplice *mine = argument;
    mine->result = hostile_call(mine->hostile, mine->offender, mine->function, &mine->argument,
                                mine->count, NULL);
    __atomic_store_n(&mine->returned, true, __ATOMIC_RELEASE);
    return NULL;
}

static void start(struct accomplice *accomplice)
{
    assert_int_equal(pthread_create(&accomplice->thread, NULL, assist, accomplice), 0);
}

/* Whatever it forges: the calls end within the budgets, and the context comes back. */
static void against_other_lane(struct hostile *hostile, aee_call_mode mode, const char *function,
                               int64_t argument, uint32_t count)
{
    struct offender offender = offender_of(hostile, mode, 2);
    for (int turn = 0; turn < 4; turn++) {
        struct accomplice accomplice = {.hostile = hostile,
                                        .offender = offender,
                                        .function = function,
                                        .argument = argument,
                                        .count = count};
        uint64_t begin = hostile_now_ns();
        start(&accomplice);
        aee_result result = AEE_OK;
        /* It may crash, and be back, between two calls of this thread. */
        while (result == AEE_OK && !__atomic_load_n(&accomplice.returned, __ATOMIC_ACQUIRE)) {
            int64_t value = 0;
            result = hostile_call1(hostile, offender, "answer", turn, &value);
        }
        (void)pthread_join(accomplice.thread, NULL);
        if (result != AEE_OK && result != AEE_ERR_CRASHED && result != AEE_ERR_HUNG &&
            result != AEE_ERR_RESTARTING) {
            fail_msg("%s", aee_result_name(result));
        }
        assert_true(accomplice.result == AEE_ERR_CRASHED || accomplice.result == AEE_ERR_HUNG ||
                    accomplice.result == AEE_ERR_RESTARTING);
        assert_true(hostile_now_ns() - begin < budget_ns() + 5000 * MS * hostile_scale());
        hostile_expect_bystander(hostile);
        hostile_expect_recovery(hostile, offender);
    }
    hostile_destroy(hostile, offender);
}

static void scribble_exits(struct hostile *hostile, aee_call_mode mode)
{
    against_other_lane(hostile, mode, "scribble", 0, 1);
}

static void scribble_stacks(struct hostile *hostile, aee_call_mode mode)
{
    against_other_lane(hostile, mode, "scribble", 1, 1);
}

static void forge_exits(struct hostile *hostile, aee_call_mode mode)
{
    against_other_lane(hostile, mode, "forge_all", 0, 0);
}

static void storm(struct hostile *hostile, aee_call_mode mode)
{
    against_other_lane(hostile, mode, "storm", 0, 0);
}

/* ---- One exit of every kind, with every number that means something ----------------------- */

static void forge_each(struct hostile *hostile, aee_call_mode mode)
{
    static const uint32_t numbers[] = {0,  1,  2,  3,  4,  5,  6,          7,
                                       10, 11, 31, 32, 64, 65, 0x7fffffff, 0xffffffff};
    struct offender offender = offender_of(hostile, mode, 1);
    for (int64_t kind = 0; kind < 8; kind++) {
        for (unsigned i = 0; i < COUNT_OF(numbers); i++) {
            const int64_t args[2] = {kind, numbers[i]};
            aee_result result = hostile_call(hostile, offender, "forge", args, 2, NULL);
            if (result != AEE_ERR_CRASHED && result != AEE_ERR_HUNG) {
                fail_msg("kind %d, number %u: %s", (int)kind, numbers[i], aee_result_name(result));
            }
            hostile_expect_recovery(hostile, offender);
        }
    }
    hostile_destroy(hostile, offender);
}

/* ---- Signals and segments ----------------------------------------------------------------- */

static void signal_frames(struct hostile *hostile, aee_call_mode mode)
{
    static const int64_t stacks[] = {0,
                                     8,
                                     (int64_t)AEE_CELL_CONTROL,
                                     (int64_t)AEE_CELL_LANES + 8192,
                                     (int64_t)AEE_CELL_TEXT + 4096,
                                     INT64_MAX,
                                     INT64_MIN};
    struct offender offender = offender_of(hostile, mode, 1);
    for (unsigned i = 0; i < COUNT_OF(stacks); i++) {
        aee_result result = hostile_call1(hostile, offender, "fault_elsewhere", stacks[i], NULL);
        assert_true(result == AEE_ERR_CRASHED || result == AEE_ERR_HUNG);
        hostile_expect_recovery(hostile, offender);
        result = hostile_call1(hostile, offender, "bases", stacks[i], NULL);
        assert_true(result == AEE_ERR_CRASHED || result == AEE_ERR_HUNG || result == AEE_OK);
        hostile_expect_recovery(hostile, offender);
    }
    hostile_destroy(hostile, offender);
}

/* ---- Running unseen ----------------------------------------------------------------------- */

static bool has_crashed(void *user)
{
    struct accomplice *mine = user;
    return hostile_info(mine->hostile, mine->offender).crashes > 0;
}

static void fake_park(struct hostile *hostile, aee_call_mode mode)
{
    struct accomplice mine = {.hostile = hostile, .offender = offender_of(hostile, mode, 1)};
    int64_t value = 0;
    assert_int_equal(hostile_call(hostile, mine.offender, "fake_park", NULL, 0, &value), AEE_OK);
    assert_int_equal(value, 7);
    uint64_t begin = hostile_now_ns();
    assert_true(hostile_wait(has_crashed, &mine, 20000 * MS));
    print_message("it ran unseen for %llu ms\n",
                  (unsigned long long)((hostile_now_ns() - begin) / MS));
    aee_crash crash = hostile_crash(hostile, mine.offender);
    assert_int_equal(crash.cause, AEE_CRASH_PROTOCOL);
    assert_non_null(strstr(crash.text, "went on running"));
    hostile_expect_recovery(hostile, mine.offender);
    hostile_destroy(hostile, mine.offender);
}

/* Between calls, and with many of them, an honest component is never taken for one. */
static void honest(struct hostile *hostile, aee_call_mode mode)
{
    const aee_limits limits = {.lanes = 2}; /* and a budget that it can keep on a busy machine */
    struct offender offender = hostile_offender(hostile, mode, &limits);
    uint64_t end = hostile_now_ns() + 4000 * MS;
    while (hostile_now_ns() < end) {
        for (int i = 0; i < 200; i++) {
            assert_int_equal(hostile_ask(hostile, offender, "answer", 1), 2);
        }
        (void)hostile_ask(hostile, offender, "work", 20000);
        hostile_sleep_ns(5 * MS);
    }
    assert_int_equal(hostile_info(hostile, offender).crashes, 0);
    hostile_destroy(hostile, offender);
}

/* ---- Regions ------------------------------------------------------------------------------ */

static uint64_t trials(void)
{
    const char *text = getenv("AEE_CELL_TRIALS");
    return text ? strtoull(text, NULL, 10) : 150;
}

static bool has_moved(void *user)
{
    return __atomic_load_n((uint64_t *)user, __ATOMIC_RELAXED) != 0;
}

/* One lane writes to the region, another changes all that the servant could be misled by. */
static void revocation(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = offender_of(hostile, mode, 2);
    aee_region stop = hostile_region(hostile, PAGE, 0);
    aee_region region = hostile_region(hostile, PAGE, 0);
    uint64_t *data = (uint64_t *)(void *)hostile_region_data(hostile, region);
    int64_t *stopped = (int64_t *)(void *)hostile_region_data(hostile, stop);
    uint64_t stop_at = hostile_map(hostile, offender, stop, AEE_ACCESS_READ);
    for (uint64_t trial = 0; trial < trials(); trial++) {
        struct accomplice scribbler = {.hostile = hostile,
                                       .offender = offender,
                                       .function = "scribble_scratch",
                                       .argument = (int64_t)stop_at,
                                       .count = 1};
        struct accomplice hammer = {
            .hostile = hostile, .offender = offender, .function = "hammer", .count = 1};
        __atomic_store_n(stopped, 0, __ATOMIC_RELAXED);
        start(&scribbler);
        hammer.argument = (int64_t)hostile_map(hostile, offender, region, AEE_ACCESS_READ_WRITE);
        __atomic_store_n(data, 0, __ATOMIC_RELAXED);
        start(&hammer);
        bool wrote = hostile_wait(has_moved, data, 5 * MS);
        assert_int_equal(aee_region_unmap(hostile->engine, offender.context, region, NULL), AEE_OK);
        uint64_t last = __atomic_load_n(data, __ATOMIC_RELAXED);
        for (int look = 0; look < 2000; look++) {
            assert_int_equal(__atomic_load_n(data, __ATOMIC_RELAXED), last);
        }
        __atomic_store_n(stopped, 1, __ATOMIC_RELAXED);
        (void)pthread_join(hammer.thread, NULL);
        (void)pthread_join(scribbler.thread, NULL);
        assert_true(!wrote || hammer.result != AEE_OK);
        hostile_expect_recovery(hostile, offender);
        assert_int_equal(__atomic_load_n(data, __ATOMIC_RELAXED), last);
    }
    assert_int_equal(aee_region_destroy(hostile->engine, region, NULL), AEE_OK);
    assert_int_equal(aee_region_destroy(hostile->engine, stop, NULL), AEE_OK);
    hostile_destroy(hostile, offender);
}

/* While another lane rewrites the servant's scratch, files come to where they belong, with the
 * rights that they were given. */
static void confusion(struct hostile *hostile, aee_call_mode mode)
{
    struct offender offender = offender_of(hostile, mode, 2);
    aee_region stop = hostile_region(hostile, PAGE, 0);
    int64_t *stopped = (int64_t *)(void *)hostile_region_data(hostile, stop);
    aee_region secret = hostile_region(hostile, PAGE, 0);
    aee_region open = hostile_region(hostile, PAGE, 0);
    struct accomplice scribbler = {
        .hostile = hostile,
        .offender = offender,
        .function = "scribble_scratch",
        .argument = (int64_t)hostile_map(hostile, offender, stop, AEE_ACCESS_READ),
        .count = 1};
    const aee_limits patient = {.call_budget_ns = 60000 * MS};
    assert_int_equal(aee_set_limits(hostile->engine, offender.context, &patient, NULL), AEE_OK);
    start(&scribbler);
    for (int turn = 0; turn < 400; turn++) {
        uint64_t *secret_data = (uint64_t *)(void *)hostile_region_data(hostile, secret);
        uint64_t *open_data = (uint64_t *)(void *)hostile_region_data(hostile, open);
        aee_error error;
        uint64_t at = 0;
        secret_data[0] = 0;
        open_data[0] = 0;
        if (aee_region_map(hostile->engine, offender.context, secret, AEE_ACCESS_READ, &at,
                           &error) != AEE_OK ||
            aee_region_map(hostile->engine, offender.context, open, AEE_ACCESS_READ_WRITE, &at,
                           &error) != AEE_OK) {
            fail_msg("turn %d: %s", turn, error.text);
        }
        (void)hostile_ask(hostile, offender, "write_word", (int64_t)at);
        assert_int_equal(open_data[0], 0x5eed);
        assert_int_equal(secret_data[0], 0);
        assert_int_equal(aee_region_unmap(hostile->engine, offender.context, secret, NULL), AEE_OK);
        assert_int_equal(aee_region_unmap(hostile->engine, offender.context, open, NULL), AEE_OK);
    }
    __atomic_store_n(stopped, 1, __ATOMIC_RELAXED);
    (void)pthread_join(scribbler.thread, NULL);
    assert_int_equal(scribbler.result, AEE_OK);
    hostile_destroy(hostile, offender);
    assert_int_equal(aee_region_destroy(hostile->engine, secret, NULL), AEE_OK);
    assert_int_equal(aee_region_destroy(hostile->engine, open, NULL), AEE_OK);
    assert_int_equal(aee_region_destroy(hostile->engine, stop, NULL), AEE_OK);
}

/* ---- The servant's code ------------------------------------------------------------------- */

static void servants_code(struct hostile *hostile, aee_call_mode mode)
{
    static const int64_t calls[] = {NR_MMAP, NR_MUNMAP, NR_WRITE, NR_RECVMSG};
    struct offender offender = offender_of(hostile, mode, 1);
    for (unsigned i = 0; i < COUNT_OF(calls); i++) {
        const int64_t args[6] = {calls[i], AEE_CELL_FD_SOCKET, (int64_t)AEE_CELL_CONTROL, 8, 0, 0};
        assert_int_equal(hostile_call(hostile, offender, "servants_call", args, 6, NULL),
                         AEE_ERR_CRASHED);
        assert_int_equal(hostile_crash(hostile, offender).cause, AEE_CRASH_SYSCALL);
        hostile_expect_recovery(hostile, offender);
    }
    for (uint64_t at = 0; at < 1024; at += 29) { /* into the middle of instructions, too */
        aee_result result =
            hostile_call1(hostile, offender, "jump_to", (int64_t)(AEE_CELL_TEXT + at), NULL);
        assert_true(result == AEE_ERR_CRASHED || result == AEE_ERR_HUNG || result == AEE_OK);
        hostile_expect_recovery(hostile, offender);
    }
    hostile_destroy(hostile, offender);
}

static void read_only_parts(struct hostile *hostile, aee_call_mode mode)
{
    static const uint64_t places[] = {AEE_CELL_TEXT, AEE_CELL_TEXT + 4096, AEE_CELL_CONTROL,
                                      AEE_CELL_CONTROL + 64, AEE_CELL_SCRATCH - 8};
    struct offender offender = offender_of(hostile, mode, 1);
    for (unsigned i = 0; i < COUNT_OF(places); i++) {
        assert_int_equal(hostile_call1(hostile, offender, "write_word", (int64_t)places[i], NULL),
                         AEE_ERR_CRASHED);
        aee_crash crash = hostile_crash(hostile, offender);
        assert_int_equal(crash.cause, AEE_CRASH_EXCEPTION);
        assert_int_equal(crash.vector, 14);
        hostile_expect_recovery(hostile, offender);
    }
    hostile_destroy(hostile, offender);
}

static const struct hostile_case cases[] = {
    {.name = "exits scribbled on", .script = scribble_exits},
    {.name = "exits and stacks scribbled on", .script = scribble_stacks},
    {.name = "exits of all lanes forged", .script = forge_exits},
    {.name = "wake-ups without end", .script = storm},
    {.name = "each exit forged", .script = forge_each, .modes = MODES_DIRECT},
    {.name = "signals blocked", .call = "mask_and_spin", .end = {.ends = ENDS_HANG}},
    {.name = "signal stacks and bases elsewhere", .script = signal_frames},
    {.name = "it says that it waits", .script = fake_park},
    {.name = "it waits", .script = honest},
    {.name = "a region revoked", .script = revocation},
    {.name = "one region for another", .script = confusion},
    {.name = "the servant's code", .script = servants_code, .modes = MODES_DIRECT},
    {.name = "what is read-only", .script = read_only_parts, .modes = MODES_DIRECT},
};

int main(int argc, char **argv)
{
    static const struct hostile_program program = {.name = "hostile_cells",
                                                   .image = "hostile_cell.elf",
                                                   .cases = cases,
                                                   .count = COUNT_OF(cases)};
    int skip = choose_cell_level();
    return skip ? skip : hostile_main(&program, argc, argv);
}
