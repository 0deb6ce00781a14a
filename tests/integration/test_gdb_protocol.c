/* test_gdb_protocol.c: the gdb server against clients that are hostile, silent or gone, and
 * contexts that end while they are debugged. */
#include <pthread.h>
#include <stdatomic.h>

#include "harness.h"

#include "base/sys.h"
#include "gdb_client.h"

#define MS UINT64_C(1000000)

static struct {
    struct bed bed;
    aee_context context;
    char folder[64];
    char path[96];
    char address[104];
    struct client client;
} t;

static void listen_as(uint32_t flags, uint64_t hold_ns, uint64_t timeout_ns)
{
    aee_debug_desc desc = {.struct_size = sizeof desc,
                           .flags = flags,
                           .address = t.address,
                           .hold_ns = hold_ns,
                           .timeout_ns = timeout_ns};
    ASSERT_OK(&t.bed, aee_debug_listen(t.bed.engine, t.context, &desc, &t.bed.error));
}

static int set_up(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    t.client.fd = -1;
    (void)snprintf(t.folder, sizeof t.folder, "/tmp/aee-test-gdb-XXXXXX");
    assert_non_null(mkdtemp(t.folder));
    (void)snprintf(t.path, sizeof t.path, "%s/socket", t.folder);
    (void)snprintf(t.address, sizeof t.address, "unix:%s", t.path);
    aee_context_desc desc = {.struct_size = sizeof desc,
                             .name = "debuggee",
                             .limits = {.lanes = 2, .call_budget_ns = 200 * MS}};
    bed_open(&t.bed, NULL);
    ASSERT_OK(&t.bed, aee_context_create(t.bed.engine, &desc, &t.context, &t.bed.error));
    ASSERT_OK(&t.bed, aee_load_file(t.bed.engine, t.context, AEE_TESTBED, &t.bed.error));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bed_close(&t.bed);
    client_close(&t.client);
    assert_int_equal(access(t.path, F_OK), -1);
    assert_int_equal(rmdir(t.folder), 0);
    return 0;
}

static void works(void)
{
    assert_int_equal(value2(&t.bed, t.context, "work", 3, 4, 2), 16);
}

/* ---- A call on a thread of its own -------------------------------------------------------- */

static struct {
    pthread_t thread;
    aee_function function;
    uint32_t count;
    aee_result result;
    int64_t value;
    _Atomic bool done;
} caller;

static void *make_call(void *unused)
{
    const int64_t args[2] = {3, 4};
    (void)unused;
    caller.result = aee_call_i64(t.bed.engine, t.context, caller.function, args, caller.count,
                                 &caller.value, NULL);
    atomic_store(&caller.done, true);
    return NULL;
}

static void begin_named(const char *name, uint32_t count)
{
    caller.count = count;
    caller.function = find(&t.bed, t.context, name);
    caller.value = 0;
    atomic_store(&caller.done, false);
    assert_int_equal(pthread_create(&caller.thread, NULL, make_call, NULL), 0);
}

static void begin_work(void)
{
    begin_named("work", 2);
}

static aee_result end_work(void)
{
    (void)pthread_join(caller.thread, NULL);
    return caller.result;
}

static void pause_ms(long ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&pause, NULL);
}

static uint64_t address_of(const char *name)
{
    char command[256];
    uint64_t address = 0;
    (void)snprintf(command, sizeof command, "nm %s | grep ' %s$'", AEE_TESTBED, name);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    assert_int_equal(fscanf(out, "%lx", &address), 1);
    (void)pclose(out);
    return address;
}

/* Connected, and stopped in work(); the call is on its way. */
static void stop_in_work(void)
{
    char packet[64];
    client_open(&t.client, t.path);
    EXPECT_REPLY(&t.client, "?", "T");
    (void)snprintf(packet, sizeof packet, "Z0,%lx,1", address_of("work"));
    EXPECT_REPLY(&t.client, packet, "OK");
    client_send(&t.client, "vCont;c");
    begin_work();
    const char *stop = client_receive(&t.client, CLIENT_TIMEOUT_MS);
    assert_non_null(stop);
    assert_int_equal(strncmp(stop, "T05", 3), 0);
    assert_non_null(strstr(stop, "swbreak:;"));
    assert_false(atomic_load(&caller.done));
}

/* ---- What is said well -------------------------------------------------------------------- */

static void test_breakpoints_are_not_seen(void **state)
{
    (void)state;
    char packet[64];
    char before[64];
    uint64_t at = address_of("work");
    listen_as(0, 0, 0);
    client_open(&t.client, t.path);
    (void)snprintf(packet, sizeof packet, "m%lx,8", at);
    (void)snprintf(before, sizeof before, "%s", client_ask(&t.client, packet));
    (void)snprintf(packet, sizeof packet, "Z0,%lx,1", at);
    EXPECT_REPLY(&t.client, packet, "OK");
    EXPECT_REPLY(&t.client, packet, "OK"); /* once is enough */
    (void)snprintf(packet, sizeof packet, "m%lx,8", at);
    EXPECT_REPLY(&t.client, packet, before);
    /* What is written there is the instruction's, not the breakpoint's. */
    (void)snprintf(packet, sizeof packet, "M%lx,2:%.4s", at, before);
    EXPECT_REPLY(&t.client, packet, "OK");
    (void)snprintf(packet, sizeof packet, "z0,%lx,1", at);
    EXPECT_REPLY(&t.client, packet, "OK");
    EXPECT_REPLY(&t.client, packet, "E");
    (void)snprintf(packet, sizeof packet, "m%lx,8", at);
    EXPECT_REPLY(&t.client, packet, before);
    EXPECT_REPLY(&t.client, "D", "OK");
    works();
}

static void test_answers(void **state)
{
    (void)state;
    listen_as(0, 0, 0);
    client_open(&t.client, t.path);
    EXPECT_REPLY(&t.client, "qSupported:swbreak+", "PacketSize=");
    EXPECT_REPLY(&t.client, "vMustReplyEmpty", "");
    EXPECT_REPLY(&t.client, "qfThreadInfo", "m1,2");
    EXPECT_REPLY(&t.client, "qsThreadInfo", "l");
    EXPECT_REPLY(&t.client, "qC", "QC1");
    EXPECT_REPLY(&t.client, "T2", "OK");
    EXPECT_REPLY(&t.client, "T3", "E");
    EXPECT_REPLY(&t.client, "Hg2", "OK");
    EXPECT_REPLY(&t.client, "qC", "QC2");
    EXPECT_REPLY(&t.client, "Hg9", "E");
    EXPECT_REPLY(&t.client, "Hc-1", "OK");
    EXPECT_REPLY(&t.client, "qXfer:features:read:target.xml:0,20", "m<?xml");
    EXPECT_REPLY(&t.client, "qXfer:features:read:target.xml:100000,20", "l");
    EXPECT_REPLY(&t.client, "qXfer:threads:read::0,fff", "l<?xml");
    EXPECT_REPLY(&t.client, "qXfer:nothing:read::0,fff", "E00");
    EXPECT_REPLY(&t.client, "Z1,400000,1", ""); /* only software breakpoints */
    assert_int_equal(strlen(client_ask(&t.client, "g")), 1120);
    EXPECT_REPLY(&t.client, "QStartNoAckMode", "OK");
    EXPECT_REPLY(&t.client, "?", "T00");
    EXPECT_REPLY(&t.client, "vKill;1", "OK");
    assert_null(client_receive(&t.client, CLIENT_TIMEOUT_MS));
    ASSERT_OK(&t.bed, aee_wait_ready(t.bed.engine, t.context, 10 * SECOND, &t.bed.error));
    works();
}

static void test_steps(void **state)
{
    (void)state;
    listen_as(0, 0, 0);
    stop_in_work();
    char packet[64];
    (void)snprintf(packet, sizeof packet, "z0,%lx,1", address_of("work"));
    EXPECT_REPLY(&t.client, packet, "OK");
    uint64_t last = address_of("work");
    for (int i = 0; i < 50; i++) {
        uint64_t rip = 0;
        client_send(&t.client, i % 3 == 0 ? "s" : i % 3 == 1 ? "vCont;s:1" : "vCont;s:1;c");
        const char *stop = client_receive(&t.client, CLIENT_TIMEOUT_MS);
        assert_non_null(stop);
        assert_int_equal(strncmp(stop, "T05", 3), 0);
        (void)snprintf(packet, sizeof packet, "p10");
        assert_int_equal(sscanf(client_ask(&t.client, packet), "%lx", &rip), 1);
        rip = __builtin_bswap64(rip);
        assert_int_not_equal(rip, last);
        last = rip;
    }
    EXPECT_REPLY(&t.client, "D", "OK");
    assert_int_equal(end_work(), AEE_OK);
    assert_int_equal(caller.value, 16);
}

/* ---- What is not -------------------------------------------------------------------------- */

static void test_refuses_wild_addresses(void **state)
{
    (void)state;
    const char *const wild[] = {
        "m0,8",
        "m200000,8", /* the system area */
        "M200000,1:90",
        "m7fff00000000,40",
        "mffffffffffffffff,10",
        "mfffffffffffffff0,20",
        "m1ffffffffffffffff,10",
        "m600000000000,10", /* a cell's own program */
        "m600010000000,10",
        "m,",
        "m400000",
        "M400000,4:12",
        "M400000,4:123456789a",
        "M400000,ffffffffffffffff:00",
        "M300000,1:90", /* the library's code */
        "M310000,1:90",
        "Z0,310000,1", /* not code */
        "Z0,0,1",
        "Z0,ffffffffffffffff,1",
        "Z0,",
        "p999999",
        "P10=zz",
        "P99=00",
        "G00",
        "vCont;s:9",
        "vCont;x",
        "vCont;",
        "vCont;S",
        "vCont;c:zz",
        "Hgzz",
        "qXfer:threads:read::zz,1",
        "P10=ffffffffffffffff", /* such an address would never run */
    };
    listen_as(0, 0, 0);
    client_open(&t.client, t.path);
    for (unsigned i = 0; i < sizeof wild / sizeof wild[0]; i++) {
        EXPECT_REPLY(&t.client, wild[i], "E");
    }
    EXPECT_REPLY(&t.client, "D", "OK");
    works();
}

/* Addresses of this process are none of the component's. */
static void test_does_not_reach_the_engine(void **state)
{
    (void)state;
    static char own[64] = "this is the engine's";
    char packet[64];
    listen_as(0, 0, 0);
    client_open(&t.client, t.path);
    (void)snprintf(packet, sizeof packet, "m%lx,8", (unsigned long)(uintptr_t)own);
    EXPECT_REPLY(&t.client, packet, "E");
    (void)snprintf(packet, sizeof packet, "M%lx,1:00", (unsigned long)(uintptr_t)own);
    EXPECT_REPLY(&t.client, packet, "E");
    assert_int_equal(own[0], 't');
}

static void test_regions_have_their_rights(void **state)
{
    (void)state;
    aee_region region;
    uint64_t at = 0;
    void *data = NULL;
    size_t size = 0;
    char packet[64];
    const aee_region_desc desc = {.struct_size = sizeof desc, .name = "shared", .size_bytes = 4096};
    ASSERT_OK(&t.bed, aee_region_create(t.bed.engine, &desc, &region, &t.bed.error));
    ASSERT_OK(&t.bed, aee_region_data(t.bed.engine, region, &data, &size, &t.bed.error));
    memcpy(data, "\x11\x22\x33\x44", 4);
    ASSERT_OK(&t.bed,
              aee_region_map(t.bed.engine, t.context, region, AEE_ACCESS_READ, &at, &t.bed.error));
    listen_as(0, 0, 0);
    client_open(&t.client, t.path);
    (void)snprintf(packet, sizeof packet, "m%lx,4", at);
    EXPECT_REPLY(&t.client, packet, "11223344");
    (void)snprintf(packet, sizeof packet, "M%lx,1:ff", at);
    EXPECT_REPLY(&t.client, packet, "E");
    ASSERT_OK(&t.bed, aee_region_map(t.bed.engine, t.context, region, AEE_ACCESS_READ_WRITE, &at,
                                     &t.bed.error));
    EXPECT_REPLY(&t.client, packet, "OK");
    assert_int_equal(*(unsigned char *)data, 0xff);
    (void)snprintf(packet, sizeof packet, "m%lx,8", at + 4092); /* as much as there is */
    assert_int_equal(strlen(client_ask(&t.client, packet)), 8);
    ASSERT_OK(&t.bed, aee_region_unmap(t.bed.engine, t.context, region, &t.bed.error));
    (void)snprintf(packet, sizeof packet, "m%lx,4", at);
    EXPECT_REPLY(&t.client, packet, "E");
}

static uint32_t noise = 12345;

static uint32_t next_noise(void)
{
    noise ^= noise << 13;
    noise ^= noise >> 17;
    noise ^= noise << 5;
    return noise;
}

/* Bytes, packets of bytes, and good packets that were damaged: whatever comes, it answers. */
static void test_survives_noise(void **state)
{
    (void)state;
    static const char letters[] = "mMXgGpPcCsSzZHTqQvDk?0123456789abcdef,:;=-+$#}*";
    static const char *const good[] = {"m400000,100", "vCont;c:1;s", "Z0,401000,1",
                                       "g",           "?",           "qXfer:auxv:read::0,100",
                                       "X400000,0:",  "P0=00000000"};
    listen_as(0, 0, 0);
    for (int round = 0; round < 40; round++) {
        client_open(&t.client, t.path);
        for (int i = 0; i < 60; i++) {
            char packet[64];
            size_t size = next_noise() % 48;
            for (size_t k = 0; k < size; k++) {
                packet[k] = round % 2 ? letters[next_noise() % (sizeof letters - 1)]
                                      : (char)(next_noise() & 0xff);
            }
            packet[size] = '\0';
            if (i % 3 == 0) {
                const char *base = good[next_noise() % (sizeof good / sizeof good[0])];
                (void)snprintf(packet, sizeof packet, "%s", base);
                packet[next_noise() % strlen(base)] = (char)next_noise();
            }
            if (i % 3 == 1) {
                client_send_raw(&t.client, packet, size);
            } else {
                client_send(&t.client, packet);
            }
        }
        client_send_raw(&t.client, "\x03", 1);
        client_close(&t.client);
    }
    t.client.fd = -1;
    ASSERT_OK(&t.bed, aee_debug_close(t.bed.engine, t.context, &t.bed.error));
    ASSERT_OK(&t.bed, aee_restart(t.bed.engine, t.context, &t.bed.error)); /* it may be in ruins */
    works();
}

static void test_too_long(void **state)
{
    (void)state;
    static char packet[100001];
    listen_as(0, 0, 0);
    client_open(&t.client, t.path);
    EXPECT_REPLY(&t.client, "?", "T");
    memset(packet, 'm', sizeof packet - 1);
    client_send_raw(&t.client, "$", 1);
    client_send_raw(&t.client, packet, sizeof packet - 1);
    client_send_raw(&t.client, "#00", 3);
    assert_int_equal(client_byte(&t.client, CLIENT_TIMEOUT_MS), '-');
    client_send_raw(&t.client, "$?#00", 5); /* a wrong sum */
    assert_int_equal(client_byte(&t.client, CLIENT_TIMEOUT_MS), '-');
    client_send_raw(&t.client, "$?#zz", 5);
    assert_int_equal(client_byte(&t.client, CLIENT_TIMEOUT_MS), '-');
    client_send_raw(&t.client, "$m4000$?#3f", 11); /* begun anew */
    assert_int_equal(client_byte(&t.client, CLIENT_TIMEOUT_MS), '+');
    assert_non_null(client_receive(&t.client, CLIENT_TIMEOUT_MS));
    client_send_raw(&t.client, "-", 1); /* once more */
    assert_non_null(client_receive(&t.client, CLIENT_TIMEOUT_MS));
    client_send(&t.client, "m400000,ffffffff");
    const char *most = client_receive(&t.client, CLIENT_TIMEOUT_MS);
    assert_non_null(most);
    assert_in_range(strlen(most), 2, 8192);
}

/* ---- Several lanes ------------------------------------------------------------------------ */

/* It entered before anybody listened. */
static void test_attaches_to_one_that_spins(void **state)
{
    (void)state;
    char packet[64];
    const aee_limits limits = {.call_budget_ns = 20 * SECOND};
    ASSERT_OK(&t.bed, aee_set_limits(t.bed.engine, t.context, &limits, &t.bed.error));
    for (int i = 0; i < 3; i++) {
        begin_named("spin", 0);
        pause_ms(50);
        listen_as(0, 0, 0);
        client_open(&t.client, t.path);
        EXPECT_REPLY(&t.client, "?", "T00");
        (void)snprintf(packet, sizeof packet, "m%lx,4", address_of("go_on"));
        EXPECT_REPLY(&t.client, packet, "00000000");
        EXPECT_REPLY(&t.client, packet, "00000000");
        client_send(&t.client, "vCont;c");
        pause_ms(20);
        client_send_raw(&t.client, "\x03", 1);
        const char *stop = client_receive(&t.client, CLIENT_TIMEOUT_MS);
        assert_non_null(stop);
        assert_int_equal(strncmp(stop, "T02", 3), 0);
        assert_false(atomic_load(&caller.done));
        (void)snprintf(packet, sizeof packet, "M%lx,1:01", address_of("go_on"));
        EXPECT_REPLY(&t.client, packet, "OK");
        ASSERT_OK(&t.bed, aee_debug_close(t.bed.engine, t.context, &t.bed.error));
        assert_int_equal(end_work(), AEE_OK);
        client_close(&t.client);
    }
}

#define CALLS 40

/* The bed's error is the main thread's. */
static void *make_calls(void *sum)
{
    const int64_t args[2] = {3, 4};
    aee_function work = {0};
    (void)aee_find_function(t.bed.engine, t.context, "work", &work, NULL);
    for (int i = 0; i < CALLS; i++) {
        int64_t value = 0;
        while (aee_call_i64(t.bed.engine, t.context, work, args, 2, &value, NULL) == AEE_ERR_BUSY) {
        }
        *(int64_t *)sum += value;
    }
    return NULL;
}

/* Each stop at the breakpoint is stepped over as gdb does it: nothing is lost, on no lane. */
static void test_steps_over_breakpoints_on_two_lanes(void **state)
{
    (void)state;
    int64_t sums[2] = {0, 0};
    pthread_t threads[2];
    char insert[64];
    char remove[64];
    int lanes[3] = {0};
    (void)snprintf(insert, sizeof insert, "Z0,%lx,1", address_of("work"));
    (void)snprintf(remove, sizeof remove, "z0,%lx,1", address_of("work"));
    listen_as(0, 0, 0);
    client_open(&t.client, t.path);
    EXPECT_REPLY(&t.client, insert, "OK");
    client_send(&t.client, "vCont;c");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, make_calls, &sums[i]), 0);
    }
    for (int stops = 0; stops < 2 * CALLS;) {
        char step[32];
        const char *stop = client_receive(&t.client, CLIENT_TIMEOUT_MS);
        assert_non_null(stop);
        assert_int_equal(strncmp(stop, "T05", 3), 0);
        bool breakpoint = strstr(stop, "swbreak:;") != NULL;
        const char *thread = strstr(stop, "thread:");
        assert_non_null(thread);
        int number = (int)strtol(thread + 7, NULL, 16);
        assert_in_range(number, 1, 2);
        if (breakpoint) { /* else the end of a step */
            stops++;
            lanes[number]++;
            EXPECT_REPLY(&t.client, remove, "OK");
            (void)snprintf(step, sizeof step, "vCont;s:%x", (unsigned)number);
            client_send(&t.client, step);
        } else {
            EXPECT_REPLY(&t.client, insert, "OK");
            client_send(&t.client, "vCont;c");
        }
    }
    /* The last step. */
    assert_non_null(client_receive(&t.client, CLIENT_TIMEOUT_MS));
    EXPECT_REPLY(&t.client, "D", "OK");
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_int_equal(sums[i], CALLS * 16);
    }
    assert_int_equal(lanes[1] + lanes[2], 2 * CALLS);
    assert_int_equal(value0(&t.bed, t.context, "get_total"), 7 + 2 * CALLS * 16);
}

/* ---- Who goes away ------------------------------------------------------------------------ */

static void test_a_client_that_is_gone(void **state)
{
    (void)state;
    listen_as(0, 0, 0);
    for (int i = 0; i < 10; i++) {
        stop_in_work();
        client_close(&t.client);
        assert_int_equal(end_work(), AEE_OK);
        assert_int_equal(caller.value, 16);
    }
}

static void test_a_silent_client(void **state)
{
    (void)state;
    listen_as(0, 0, 400 * MS);
    stop_in_work();
    pause_ms(150);
    EXPECT_REPLY(&t.client, "?", "T"); /* which counts as a sign of life */
    pause_ms(300);
    assert_false(atomic_load(&caller.done));
    assert_int_equal(end_work(), AEE_OK);
    assert_int_equal(caller.value, 16);
}

static void test_nobody_comes(void **state)
{
    (void)state;
    int64_t value = 0;
    listen_as(AEE_DEBUG_WAIT | AEE_DEBUG_HOLD_CRASHES, 300 * MS, 0);
    works(); /* after the wait; its budget begins then */
    assert_int_equal(call2(&t.bed, t.context, "crash", 1, 0, 1, &value), AEE_ERR_CRASHED);
    ASSERT_OK(&t.bed, aee_wait_ready(t.bed.engine, t.context, 10 * SECOND, &t.bed.error));
    works();
}

static void test_closing_lets_go(void **state)
{
    (void)state;
    listen_as(AEE_DEBUG_WAIT, 0, 0);
    begin_work();
    pause_ms(400);
    assert_false(atomic_load(&caller.done));
    ASSERT_OK(&t.bed, aee_debug_close(t.bed.engine, t.context, &t.bed.error));
    assert_int_equal(end_work(), AEE_OK);
    listen_as(AEE_DEBUG_HOLD_CRASHES, 0, 0);
    begin_named("crash", 1);
    pause_ms(300);
    assert_false(atomic_load(&caller.done));
    ASSERT_OK(&t.bed, aee_debug_close(t.bed.engine, t.context, &t.bed.error));
    assert_int_equal(end_work(), AEE_ERR_CRASHED);
}

/* Without a debugger budgets are what they were. */
static void test_budgets_come_back(void **state)
{
    (void)state;
    int64_t value = 0;
    listen_as(0, 0, 0);
    stop_in_work();
    pause_ms(400);
    EXPECT_REPLY(&t.client, "D", "OK");
    assert_int_equal(end_work(), AEE_OK);
    assert_int_equal(call2(&t.bed, t.context, "spin", 0, 0, 0, &value), AEE_ERR_HUNG);
}

static void test_ends_while_stopped(void **state)
{
    (void)state;
    listen_as(0, 0, 0);
    stop_in_work();
    ASSERT_OK(&t.bed, aee_restart(t.bed.engine, t.context, &t.bed.error));
    assert_int_equal(end_work(), AEE_ERR_STOPPED);
    works();
    client_send(&t.client, "vCont;c");
    const char *reply = client_receive(&t.client, CLIENT_TIMEOUT_MS);
    assert_non_null(reply);
    assert_true(reply[0] == 'E' || reply[0] == 'W');
    EXPECT_REPLY(&t.client, "m400000,4", "E");
    EXPECT_REPLY(&t.client, "?", "W00");
    client_close(&t.client);
    stop_in_work(); /* in the new one */
    ASSERT_OK(&t.bed, aee_debug_close(t.bed.engine, t.context, &t.bed.error));
    assert_int_equal(end_work(), AEE_OK);
    client_close(&t.client);
    listen_as(0, 0, 0);
    stop_in_work();
    ASSERT_OK(&t.bed, aee_destroy(t.bed.engine, t.context, &t.bed.error));
    assert_int_equal(end_work(), AEE_ERR_STOPPED);
}

/* A breakpoint must not stay in the memory that a restart takes over. */
static void test_comes_back_from_a_checkpoint(void **state)
{
    (void)state;
    aee_recovery_desc recovery = {.struct_size = sizeof recovery,
                                  .restart = AEE_RESTART_CHECKPOINT};
    char packet[64];
    ASSERT_OK(&t.bed, aee_set_recovery(t.bed.engine, t.context, &recovery, &t.bed.error));
    works();
    ASSERT_OK(&t.bed, aee_checkpoint(t.bed.engine, t.context, &t.bed.error));
    listen_as(0, 0, 0);
    client_open(&t.client, t.path);
    (void)snprintf(packet, sizeof packet, "Z0,%lx,1", address_of("get_total"));
    EXPECT_REPLY(&t.client, packet, "OK");
    client_send(&t.client, "vCont;c");
    begin_named("crash", 1);
    const char *stop = client_receive(&t.client, CLIENT_TIMEOUT_MS);
    assert_non_null(stop);
    assert_int_equal(strncmp(stop, "T0b", 3), 0);
    client_send(&t.client, "vCont;C0b");
    assert_int_equal(end_work(), AEE_ERR_CRASHED);
    stop = client_receive(&t.client, CLIENT_TIMEOUT_MS);
    assert_non_null(stop);
    assert_int_equal(stop[0], 'X');
    ASSERT_OK(&t.bed, aee_wait_ready(t.bed.engine, t.context, 10 * SECOND, &t.bed.error));
    assert_int_equal(value0(&t.bed, t.context, "get_total"), 7 + 16);
}

/* What a debugger writes is in checkpoints, and goes with them, though no component wrote it. */
static void test_checkpoints_see_what_is_written(void **state)
{
    (void)state;
    char packet[64];
    works();
    ASSERT_OK(&t.bed, aee_checkpoint(t.bed.engine, t.context, &t.bed.error));
    listen_as(0, 0, 0);
    client_open(&t.client, t.path);
    (void)snprintf(packet, sizeof packet, "M%lx,1:2a", address_of("total"));
    EXPECT_REPLY(&t.client, packet, "OK");
    EXPECT_REPLY(&t.client, "D", "OK");
    assert_int_equal(value0(&t.bed, t.context, "get_total"), 42);
    ASSERT_OK(&t.bed, aee_restore(t.bed.engine, t.context, 0, &t.bed.error));
    assert_int_equal(value0(&t.bed, t.context, "get_total"), 7 + 16);
    client_close(&t.client);
    client_open(&t.client, t.path);
    EXPECT_REPLY(&t.client, packet, "OK");
    EXPECT_REPLY(&t.client, "D", "OK");
    ASSERT_OK(&t.bed, aee_checkpoint(t.bed.engine, t.context, &t.bed.error));
    ASSERT_OK(&t.bed, aee_restart(t.bed.engine, t.context, &t.bed.error));
    ASSERT_OK(&t.bed, aee_restore(t.bed.engine, t.context, 0, &t.bed.error));
    assert_int_equal(value0(&t.bed, t.context, "get_total"), 42);
}

/* ---- Listening ---------------------------------------------------------------------------- */

static void expect_refusal(const char *address, uint32_t flags, aee_result expected)
{
    aee_debug_desc desc = {.struct_size = sizeof desc, .flags = flags, .address = address};
    aee_result result = aee_debug_listen(t.bed.engine, t.context, &desc, &t.bed.error);
    if (result != expected || t.bed.error.text[0] == '\0') {
        fail_msg("%s: %s (%s)", address ? address : "NULL", aee_result_name(result),
                 t.bed.error.text);
    }
}

static void test_addresses(void **state)
{
    (void)state;
    char address[128];
    char longest[300];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memcpy(longest, "unix:/tmp/", 10);
    expect_refusal(NULL, 0, AEE_ERR_INVALID_ARGUMENT);
    expect_refusal("", 0, AEE_ERR_INVALID_ARGUMENT);
    expect_refusal("0.0.0.0:1234", 0, AEE_ERR_INVALID_ARGUMENT);
    expect_refusal("127.0.0.1:", 0, AEE_ERR_INVALID_ARGUMENT);
    expect_refusal("127.0.0.1:70000", 0, AEE_ERR_INVALID_ARGUMENT);
    expect_refusal("127.0.0.1:12x", 0, AEE_ERR_INVALID_ARGUMENT);
    expect_refusal("127.0.0.1:-1", 0, AEE_ERR_INVALID_ARGUMENT);
    expect_refusal("unix:", 0, AEE_ERR_SYSTEM);
    expect_refusal(longest, 0, AEE_ERR_SYSTEM);
    expect_refusal("unix:/nonexistent/folder/socket", 0, AEE_ERR_SYSTEM);
    expect_refusal(t.address, 0x80, AEE_ERR_INVALID_ARGUMENT);
    assert_int_equal(aee_debug_close(t.bed.engine, t.context, NULL), AEE_ERR_NOT_FOUND);
    assert_int_equal(aee_debug_address(t.bed.engine, t.context, address, sizeof address, NULL),
                     AEE_ERR_NOT_FOUND);
    listen_as(0, 0, 0);
    expect_refusal(t.address, 0, AEE_ERR_EXISTS);
    ASSERT_OK(&t.bed,
              aee_debug_address(t.bed.engine, t.context, address, sizeof address, &t.bed.error));
    assert_string_equal(address, t.address);
    assert_int_equal(aee_debug_address(t.bed.engine, t.context, address, 5, NULL),
                     AEE_ERR_TOO_LARGE);
    ASSERT_OK(&t.bed, aee_debug_close(t.bed.engine, t.context, &t.bed.error));
    aee_debug_desc desc = {.struct_size = sizeof desc, .address = "127.0.0.1:0"};
    ASSERT_OK(&t.bed, aee_debug_listen(t.bed.engine, t.context, &desc, &t.bed.error));
    ASSERT_OK(&t.bed,
              aee_debug_address(t.bed.engine, t.context, address, sizeof address, &t.bed.error));
    assert_int_equal(strncmp(address, "127.0.0.1:", 10), 0);
    assert_true(strtoul(address + 10, NULL, 10) > 0);
    works();
}

/* The engine's threads ask, too. */
static const char *_Atomic failing;
static int fail_named(const char *name)
{
    return strcmp(name, atomic_load(&failing)) == 0 ? EMFILE : 0;
}

/* Nothing is left behind where one cannot listen. */
static void test_system_calls_fail(void **state)
{
    (void)state;
    const char *const names[] = {"listen", "eventfd", "pthread_create"};
    for (unsigned i = 0; i < 3; i++) {
        aee_debug_desc desc = {.struct_size = sizeof desc, .address = t.address};
        atomic_store(&failing, names[i]);
        atomic_store(&aee__sys_fault, fail_named);
        aee_result result = aee_debug_listen(t.bed.engine, t.context, &desc, &t.bed.error);
        atomic_store(&aee__sys_fault, NULL);
        if (result == AEE_OK) {
            fail_msg("%s did not fail", names[i]);
        }
        assert_int_equal(access(t.path, F_OK), -1);
        works();
    }
    listen_as(0, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_breakpoints_are_not_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_steps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refuses_wild_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_does_not_reach_the_engine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_regions_have_their_rights, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_survives_noise, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_attaches_to_one_that_spins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_steps_over_breakpoints_on_two_lanes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_client_that_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_silent_client, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody_comes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_closing_lets_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_budgets_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ends_while_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_comes_back_from_a_checkpoint, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_checkpoints_see_what_is_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_system_calls_fail, set_up, tear_down),
    };
    skip_without_backend();
    return cmocka_run_group_tests_name("gdb_protocol", tests, NULL, NULL);
}
