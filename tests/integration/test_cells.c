/* test_cells.c: cells as processes of the host: what one has, what happens when somebody ends or
 * stops it, that none outlives its engine, and that the engine's own children are left alone. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#include "cell_level.h"

#define MOST 64
#define MS UINT64_C(1000000)

static aee_engine_desc small(void)
{
    return (aee_engine_desc){
        .struct_size = sizeof(aee_engine_desc), .pool_size = 1, .worker_threads = 2};
}

static void sleep_ms(long ms)
{
    const struct timespec delay = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&delay, NULL);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* ---- Finding cells ------------------------------------------------------------------------ */

/* The text behind a word at the start of a line of a file in /proc/PID; "" if it is not there. */
static const char *status_of(pid_t pid, const char *file, const char *word)
{
    static char line[512];
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    FILE *stream = fopen(path, "r");
    bool found = false;
    while (stream && !found && fgets(line, sizeof line, stream)) {
        found = strncmp(line, word, strlen(word)) == 0;
    }
    if (stream) {
        (void)fclose(stream);
    }
    line[strcspn(line, "\n")] = '\0';
    return found ? line + strlen(word) + strspn(line + strlen(word), " \t") : "";
}

/* The cell with lanes that is not among `others`. */
static pid_t cell_of_newest(const pid_t *others, int count)
{
    pid_t cells[MOST];
    int found = find_cells(getpid(), cells, MOST);
    for (int i = 0; i < found && i < MOST; i++) {
        bool other = strtol(status_of(cells[i], "status", "Threads:"), NULL, 10) < 2;
        for (int k = 0; k < count; k++) {
            other = other || cells[i] == others[k];
        }
        if (!other) {
            return cells[i];
        }
    }
    fail_msg("no cell has lanes");
    return -1;
}

static bool is_alive(pid_t pid)
{
    const char *state = status_of(pid, "status", "State:");
    return state[0] != '\0' && state[0] != 'Z';
}

static bool any_is_alive(const pid_t *cells, int count)
{
    bool alive = false;
    for (int i = 0; i < count && i < MOST; i++) {
        alive = alive || is_alive(cells[i]);
    }
    return alive;
}

static int count_entries(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);
    while (folder && readdir(folder)) {
        count++;
    }
    if (folder) {
        (void)closedir(folder);
    }
    return count;
}

/* ---- A victim and a bystander ------------------------------------------------------------- */

static struct {
    struct bed bed;
    aee_context bystander;
    aee_context victim;
    pid_t bystanders;
    pid_t cell; /* the victim's */
    int signal;
} scene;

static int descriptors_before;
static int threads_before;

static void await_full_pool(void)
{
    aee_stats stats = {0};
    for (int i = 0; i < 500 && stats.pool_ready < 1; i++) {
        assert_int_equal(aee_get_stats(scene.bed.engine, &stats, NULL), AEE_OK);
        sleep_ms(10);
    }
    assert_int_equal(stats.pool_ready, 1);
}

static aee_result host_strikes(void *user, aee_host_call *call)
{
    (void)user;
    (void)kill(scene.cell, scene.signal);
    sleep_ms(5);
    call->result = call->args[0];
    return AEE_OK;
}

/* Answers what the component answers that it asks, while its cell is killed there. */
static aee_result host_climbs(void *user, aee_host_call *call)
{
    (void)user;
    const int64_t args[3] = {call->args[0] - 1, call->args[1], call->args[2]};
    aee_error error;
    return aee_call_i64(call->engine, call->context, find(&scene.bed, call->context, "descend"),
                        args, 3, &call->result, &error);
}

static void open_scene(aee_call_mode mode)
{
    descriptors_before = count_entries("/proc/self/fd");
    threads_before = count_entries("/proc/self/task");
    aee_engine_desc desc = small();
    memset(&scene, 0, sizeof scene);
    bed_open(&scene.bed, &desc);
    scene.signal = SIGKILL;
    scene.bystander = make_context(&scene.bed, "bystander", AEE_CALL_DIRECT, 1);
    scene.bystanders = cell_of_newest(NULL, 0);
    scene.victim = make_context(&scene.bed, "victim", mode, 2);
    scene.cell = cell_of_newest(&scene.bystanders, 1);
    ASSERT_OK(&scene.bed, aee_register_host_function(scene.bed.engine, "wait", host_strikes, NULL,
                                                     &scene.bed.error));
    ASSERT_OK(&scene.bed, aee_register_host_function(scene.bed.engine, "climb", host_climbs, NULL,
                                                     &scene.bed.error));
    ASSERT_OK(&scene.bed,
              aee_grant_host_function(scene.bed.engine, scene.victim, "wait", &scene.bed.error));
    ASSERT_OK(&scene.bed,
              aee_grant_host_function(scene.bed.engine, scene.victim, "climb", &scene.bed.error));
    assert_int_equal(value0(&scene.bed, scene.bystander, "count"), 1);
    await_full_pool();
}

static void expect_cause(aee_crash_cause cause, const char *text)
{
    aee_crash crash;
    ASSERT_OK(&scene.bed, aee_last_crash(scene.bed.engine, scene.victim, &crash, &scene.bed.error));
    if (crash.cause != cause || !strstr(crash.text, text)) {
        fail_msg("cause %d: %s", crash.cause, crash.text);
    }
}

static bool has_crashed(void)
{
    aee_context_info info;
    assert_int_equal(aee_get_context_info(scene.bed.engine, scene.victim, &info, NULL), AEE_OK);
    return info.crashes > 0;
}

static void kill_victim(void)
{
    assert_int_equal(kill(scene.cell, SIGKILL), 0);
    for (int turn = 0; turn < 500 && !has_crashed(); turn++) {
        sleep_ms(10); /* nobody calls: the library learns of it all the same */
    }
    assert_true(has_crashed());
}

/* The victim comes back, the bystander was never away, and nothing is left. */
static void close_scene(void)
{
    ASSERT_OK(&scene.bed, aee_wait_ready(scene.bed.engine, scene.victim, scaled(20 * SECOND),
                                         &scene.bed.error));
    assert_int_equal(value0(&scene.bed, scene.victim, "count"), 1);
    assert_int_equal(value0(&scene.bed, scene.bystander, "count"), 2);
    bed_close(&scene.bed);
    for (int i = 0; i < 200 && find_cells(getpid(), NULL, 0) > 0; i++) {
        sleep_ms(10); /* where SIGCHLD is ignored the kernel buries them, in its time */
    }
    assert_int_equal(find_cells(getpid(), NULL, 0), 0); /* no zombie either */
    for (int i = 0; i < 200 && count_entries("/proc/self/task") > threads_before; i++) {
        sleep_ms(10);
    }
    assert_int_equal(count_entries("/proc/self/task"), threads_before);
    assert_int_equal(count_entries("/proc/self/fd"), descriptors_before);
}

static void expect_killed(aee_result result)
{
    if (result != AEE_ERR_CRASHED) {
        fail_msg("%s: %s", aee_result_name(result), scene.bed.error.text);
    }
    expect_cause(AEE_CRASH_KILLED, "SIGKILL");
    close_scene();
}

static void *strike_soon(void *unused)
{
    (void)unused;
    sleep_ms(20);
    (void)kill(scene.cell, scene.signal);
    return NULL;
}

/* The call that the signal meets. */
static aee_result call_and_strike(const char *function, int64_t argument)
{
    pthread_t thread;
    int64_t value;
    assert_int_equal(pthread_create(&thread, NULL, strike_soon, NULL), 0);
    aee_result result = call2(&scene.bed, scene.victim, function, argument, 0, 1, &value);
    (void)pthread_join(thread, NULL);
    return result;
}

static void killed_in_a_direct_call(void **state)
{
    (void)state;
    open_scene(AEE_CALL_DIRECT);
    expect_killed(call_and_strike("hang", 1));
}

static void killed_in_a_ring_call(void **state)
{
    (void)state;
    open_scene(AEE_CALL_RING);
    expect_killed(call_and_strike("hang", 1));
}

static void killed_in_a_host_call(void **state)
{
    (void)state;
    static const aee_call_mode modes[] = {AEE_CALL_DIRECT, AEE_CALL_RING};
    for (unsigned i = 0; i < 2; i++) {
        int64_t value;
        open_scene(modes[i]);
        expect_killed(call2(&scene.bed, scene.victim, "wait_once", 1, 0, 1, &value));
    }
}

static void killed_in_a_nested_call(void **state)
{
    (void)state;
    static const aee_call_mode modes[] = {AEE_CALL_DIRECT, AEE_CALL_RING};
    for (unsigned i = 0; i < 2; i++) {
        const int64_t args[3] = {2, 5, 3}; /* down twice, then "wait" */
        open_scene(modes[i]);
        expect_killed(aee_call_i64(scene.bed.engine, scene.victim,
                                   find(&scene.bed, scene.victim, "descend"), args, 3, NULL,
                                   &scene.bed.error));
    }
}

static void killed_between_calls(void **state)
{
    (void)state;
    static const aee_call_mode modes[] = {AEE_CALL_DIRECT, AEE_CALL_RING};
    for (unsigned i = 0; i < 2; i++) {
        open_scene(modes[i]);
        assert_int_equal(value0(&scene.bed, scene.victim, "count"), 1); /* its lane has parked */
        kill_victim();
        expect_killed(AEE_ERR_CRASHED);
    }
}

static void killed_with_calls_queued(void **state)
{
    (void)state;
    enum { CALLS = 200 };
    static aee_call_item items[CALLS];
    static aee_completion done[CALLS];
    uint32_t count = 0;
    unsigned ended = 0;
    aee_batch batch;
    open_scene(AEE_CALL_AUTO);
    for (unsigned i = 0; i < CALLS; i++) {
        items[i] = (aee_call_item){.context = scene.victim,
                                   .function = find(&scene.bed, scene.victim, "hang"),
                                   .arg_count = 1};
        items[i].args[0] = aee_i64(i);
    }
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, strike_soon, NULL), 0);
    ASSERT_OK(&scene.bed, aee_submit(scene.bed.engine, items, CALLS, 0, &batch, &scene.bed.error));
    ASSERT_OK(&scene.bed, aee_wait(scene.bed.engine, batch, done, CALLS, &count,
                                   scaled(60 * SECOND), &scene.bed.error));
    (void)pthread_join(thread, NULL);
    assert_int_equal(count, CALLS);
    for (unsigned i = 0; i < CALLS; i++) {
        ended += done[i].result == AEE_ERR_CRASHED || done[i].result == AEE_ERR_RESTARTING ||
                 done[i].result == AEE_ERR_HUNG;
    }
    assert_int_equal(ended, CALLS);
    close_scene();
}

static void killed_in_the_pool(void **state)
{
    (void)state;
    open_scene(AEE_CALL_DIRECT);
    pid_t cells[MOST];
    int count = find_cells(getpid(), cells, MOST);
    unsigned killed = 0;
    for (int i = 0; i < count; i++) {
        if (cells[i] != scene.cell && cells[i] != scene.bystanders) {
            assert_int_equal(kill(cells[i], SIGKILL), 0);
            killed++;
        }
    }
    assert_int_equal(killed, 1);
    sleep_ms(100);
    aee_context late = make_context(&scene.bed, "late", AEE_CALL_DIRECT, 1);
    assert_int_equal(value0(&scene.bed, late, "count"), 1);
    kill_victim(); /* as the end of the scene wants it */
    close_scene();
}

/* While regions come and go; what was revoked stays so. */
static void killed_while_regions_change(void **state)
{
    (void)state;
    for (unsigned delay = 0; delay < 12; delay++) {
        aee_region region;
        aee_region_desc desc = {.struct_size = sizeof desc, .name = "lent", .size_bytes = 1 << 20};
        open_scene(AEE_CALL_DIRECT);
        ASSERT_OK(&scene.bed,
                  aee_region_create(scene.bed.engine, &desc, &region, &scene.bed.error));
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, strike_soon, NULL), 0);
        uint64_t end = now_ns() + (15 + delay) * MS;
        while (now_ns() < end || (!has_crashed() && now_ns() < end + scaled(10 * SECOND))) {
            aee_result result = aee_region_map(scene.bed.engine, scene.victim, region,
                                               AEE_ACCESS_READ_WRITE, NULL, &scene.bed.error);
            if (result != AEE_OK && result != AEE_ERR_SYSTEM) {
                fail_msg("%s", scene.bed.error.text);
            }
            result = aee_region_unmap(scene.bed.engine, scene.victim, region, &scene.bed.error);
            if (result != AEE_OK && result != AEE_ERR_NOT_FOUND) {
                fail_msg("%s", scene.bed.error.text);
            }
        }
        (void)pthread_join(thread, NULL);
        expect_killed(AEE_ERR_CRASHED);
    }
}

/* ---- Other signals ------------------------------------------------------------------------ */

static void stopped_is_hung(void **state)
{
    (void)state;
    static const aee_call_mode modes[] = {AEE_CALL_DIRECT, AEE_CALL_RING};
    for (unsigned i = 0; i < 2; i++) {
        open_scene(modes[i]);
        const aee_limits limits = {.call_budget_ns = 200 * MS};
        const aee_limits patient = {.call_budget_ns = scaled(10 * SECOND)};
        scene.signal = SIGSTOP;
        ASSERT_OK(&scene.bed,
                  aee_set_limits(scene.bed.engine, scene.victim, &limits, &scene.bed.error));
        uint64_t begin = now_ns();
        assert_int_equal(call_and_strike("hang", 1), AEE_ERR_HUNG);
        assert_true(now_ns() - begin < scaled(3 * SECOND));
        ASSERT_OK(&scene.bed,
                  aee_set_limits(scene.bed.engine, scene.victim, &patient, &scene.bed.error));
        close_scene();
    }
}

/* A terminal's keys go to the whole process group, but mean the engine. */
static void signals_to_the_group_pass_by(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGALRM, SIGUSR2};
    open_scene(AEE_CALL_DIRECT);
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        assert_int_equal(kill(scene.cell, signals[i]), 0);
    }
    sleep_ms(50);
    assert_int_equal(value0(&scene.bed, scene.victim, "count"), 1);
    assert_false(has_crashed());
    kill_victim();
    close_scene();
}

/* ---- Where a lane runs -------------------------------------------------------------------- */

/* How many of the victim's two lanes may run on these. */
static int lanes_on(const char *cpus)
{
    char folder[64];
    char file[64];
    int lanes = 0;
    (void)snprintf(folder, sizeof folder, "/proc/%d/task", (int)scene.cell);
    DIR *tasks = opendir(folder);
    assert_non_null(tasks);
    for (const struct dirent *task; (task = readdir(tasks));) {
        long thread = strtol(task->d_name, NULL, 10);
        (void)snprintf(file, sizeof file, "task/%ld/status", thread);
        lanes += thread > 0 && thread != scene.cell &&
                 strcmp(status_of(scene.cell, file, "Cpus_allowed_list:"), cpus) == 0;
    }
    (void)closedir(tasks);
    return lanes;
}

static void move_to(size_t cpu, char name[8])
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    assert_int_equal(sched_setaffinity(0, sizeof set, &set), 0);
    (void)snprintf(name, 8, "%zu", cpu);
}

/* That nobody has touched: the first writes to it take some milliseconds. */
static int64_t lend_pages(size_t pages)
{
    const aee_region_desc desc = {
        .struct_size = sizeof desc, .name = "lent", .size_bytes = pages * 4096};
    aee_region region;
    uint64_t address;
    ASSERT_OK(&scene.bed, aee_region_create(scene.bed.engine, &desc, &region, &scene.bed.error));
    ASSERT_OK(&scene.bed, aee_region_map(scene.bed.engine, scene.victim, region,
                                         AEE_ACCESS_READ_WRITE, &address, &scene.bed.error));
    return (int64_t)address;
}

/* Some may take long where others run, too. */
static void call_until_on(const char *cpu)
{
    for (int i = 0; i < 1000 && lanes_on(cpu) == 0; i++) {
        (void)value0(&scene.bed, scene.victim, "count");
    }
    assert_int_equal(lanes_on(cpu), 1);
}

/* Direct calls run where the caller is, until one takes long. The other lane is not called. */
static void a_lane_runs_where_its_caller_sleeps(void **state)
{
    enum { PAGES = 8192, AWAY_RUNS = 16 };
    (void)state;
    cpu_set_t before;
    char name[8];
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    if (CPU_COUNT(&before) < 2) {
        skip();
    }
    open_scene(AEE_CALL_DIRECT);
    const char *all = status_of(getpid(), "status", "Cpus_allowed_list:");
    char any[64];
    (void)snprintf(any, sizeof any, "%s", all);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &before)) {
            move_to(cpu, name);
            call_until_on(name);
        }
    }
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    (void)value2(&scene.bed, scene.victim, "touch", lend_pages(PAGES), PAGES, 2);
    assert_int_equal(lanes_on(any), 2);
    move_to((size_t)sched_getcpu(), name);
    for (int i = 0; i < AWAY_RUNS; i++) {
        (void)value0(&scene.bed, scene.victim, "count");
        assert_int_equal(lanes_on(any), 2);
    }
    (void)value0(&scene.bed, scene.victim, "count");
    assert_int_equal(lanes_on(name), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    kill_victim();
    close_scene();
}

/* ---- What a cell has ---------------------------------------------------------------------- */

static void expect_status(const char *word, const char *value)
{
    if (strcmp(status_of(scene.cell, "status", word), value) != 0) {
        fail_msg("%s %s", word, status_of(scene.cell, "status", word));
    }
}

static void expect_mappings(void)
{
    char path[64];
    char line[512];
    bool orders = false;
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)scene.cell);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        const char *rights = strchr(line, ' ') + 1;
        if (rights[1] == 'w' && rights[2] == 'x') {
            fail_msg("it can be written and executed: %s", line);
        }
        if (strncmp(line, "600010000000-", 13) == 0) {
            assert_memory_equal(rights, "r--s", 4);
            orders = true;
        }
    }
    (void)fclose(file);
    assert_true(orders);
}

static void expect_own_namespaces(void)
{
    static const char *const names[] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[64];
        char ours[64] = "";
        char theirs[64] = "";
        (void)snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
        assert_true(readlink(path, ours, sizeof ours - 1) > 0);
        (void)snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)scene.cell, names[i]);
        assert_true(readlink(path, theirs, sizeof theirs - 1) > 0);
        if (strcmp(ours, theirs) == 0) {
            print_message("    it shares our %s namespace\n", names[i]);
            assert_string_equal(names[i], "user"); /* root may do without one */
            assert_int_equal(geteuid(), 0);
        }
    }
    char root[64];
    (void)snprintf(root, sizeof root, "/proc/%d/root/", (int)scene.cell);
    assert_int_equal(count_entries(root), 2); /* . and .. */
}

static void a_cell_has_nothing(void **state)
{
    (void)state;
    static const char *const words[] = {"CapInh:", "CapPrm:", "CapEff:", "CapAmb:"};
    char path[64];
    open_scene(AEE_CALL_DIRECT);
    expect_status("Name:", "aee-cell");
    expect_status("NoNewPrivs:", "1");
    expect_status("Seccomp:", "2");
    expect_status("Threads:", "3"); /* the servant and two lanes */
    for (unsigned i = 0; i < 4; i++) {
        expect_status(words[i], "0000000000000000");
    }
    if (geteuid() == 0) { /* it cannot be dumped, so others may not look */
        (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)scene.cell);
        assert_int_equal(count_entries(path), 3); /* the socket */
        expect_mappings();
        assert_int_equal(strtol(status_of(scene.cell, "limits", "Max open files"), NULL, 10), 16);
        assert_int_equal(strtol(status_of(scene.cell, "limits", "Max processes"), NULL, 10), 0);
        assert_int_equal(strtol(status_of(scene.cell, "limits", "Max core file size"), NULL, 10),
                         0);
        if (strcmp(getenv("AEE_FORCE_LEVEL"), "container") == 0) {
            expect_own_namespaces();
        }
    }
    kill_victim();
    close_scene();
}

/* ---- Engines that end --------------------------------------------------------------------- */

enum leaving { LEAVE_KILLED, LEAVE_EXIT, LEAVE_EXEC };

static void *hang_in(void *unused)
{
    (void)unused;
    int64_t value;
    (void)call2(&scene.bed, scene.victim, "hang", 1, 0, 1, &value);
    return NULL;
}

static void be_an_engine(enum leaving how, int ready)
{
    pthread_t thread;
    char byte = 1;
    aee_engine_desc desc = small();
    bed_open(&scene.bed, &desc);
    (void)make_context(&scene.bed, "idle", AEE_CALL_DIRECT, 1);
    scene.victim = make_context(&scene.bed, "busy", AEE_CALL_RING, 1);
    (void)pthread_create(&thread, NULL, hang_in, NULL);
    sleep_ms(50);
    (void)!write(ready, &byte, 1);
    if (how == LEAVE_EXIT) {
        exit(0);
    }
    if (how == LEAVE_EXEC) {
        (void)execl("/bin/sleep", "sleep", "3", (char *)NULL);
    }
    sleep_ms(60000);
    _exit(1);
}

static void none_outlives_its_engine(void **state)
{
    (void)state;
    static const enum leaving ways[] = {LEAVE_KILLED, LEAVE_EXIT, LEAVE_EXEC};
    for (unsigned i = 0; i < 3; i++) {
        int ends[2];
        char byte;
        pid_t cells[MOST];
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        pid_t engine = fork();
        if (engine == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            be_an_engine(ways[i], ends[1]);
        }
        assert_int_equal(read(ends[0], &byte, 1), 1);
        int count = find_cells(engine, cells, MOST);
        if (ways[i] == LEAVE_KILLED) {
            assert_true(count >= 2);
            assert_int_equal(kill(engine, SIGKILL), 0);
        }
        uint64_t end = now_ns() + scaled(SECOND);
        while (any_is_alive(cells, count) && now_ns() < end) {
            sleep_ms(1);
        }
        assert_false(any_is_alive(cells, count));
        count = find_cells(engine, cells, MOST); /* what an engine that went on meanwhile has */
        assert_false(any_is_alive(cells, count));
        (void)kill(engine, SIGKILL);
        (void)waitpid(engine, NULL, 0);
        (void)close(ends[0]);
        (void)close(ends[1]);
    }
}

/* ---- The engine's own children ------------------------------------------------------------ */

static _Atomic bool waiting;

static void take_signal(int number)
{
    (void)number;
}

static void *wait_for_any(void *unused)
{
    (void)unused;
    while (atomic_load(&waiting)) {
        (void)waitpid(-1, NULL, WNOHANG);
    }
    return NULL;
}

/* Whoever takes the ends of children away, cells go on, and their ends are told of. */
static void children_of_the_engine(void **state)
{
    (void)state;
    struct sigaction old;
    const struct sigaction handled = {.sa_handler = take_signal};
    const struct sigaction ignored = {.sa_handler = SIG_IGN};
    pthread_t thread;
    for (int turn = 0; turn < 2; turn++) {
        assert_int_equal(sigaction(SIGCHLD, turn == 0 ? &handled : &ignored, &old), 0);
        atomic_store(&waiting, true);
        open_scene(AEE_CALL_DIRECT);
        assert_int_equal(pthread_create(&thread, NULL, wait_for_any, NULL), 0);
        assert_int_equal(call_and_strike("hang", 1), AEE_ERR_CRASHED);
        expect_cause(AEE_CRASH_KILLED, "its process");
        atomic_store(&waiting, false);
        (void)pthread_join(thread, NULL);
        close_scene();
        assert_int_equal(sigaction(SIGCHLD, &old, NULL), 0);
    }
}

/* ---- Hosts that refuse -------------------------------------------------------------------- */

/* In a child, with a limit of its own; 0: an engine could be used, or said why not. */
static int use_with_limit(int resource, rlim_t most)
{
    const struct rlimit limit = {.rlim_cur = most, .rlim_max = most};
    struct bed bed = {0};
    aee_engine_desc desc = small();
    aee_function count;
    if (setrlimit(resource, &limit) != 0) {
        return 1;
    }
    if (resource == RLIMIT_NPROC && setresuid(65534, 65534, 65534) != 0) {
        return 0;
    }
    aee_result result = aee_engine_create(&desc, &bed.engine, &bed.error);
    aee_context_desc context = {.struct_size = sizeof context, .name = "poor"};
    if (result == AEE_OK) {
        result = aee_context_create(bed.engine, &context, &bed.context, &bed.error);
    }
    if (result == AEE_OK) {
        result = aee_load_file(bed.engine, bed.context, testbed_path(), &bed.error);
    }
    if (result == AEE_OK) {
        result = aee_find_function(bed.engine, bed.context, "count", &count, &bed.error);
    }
    if (result == AEE_OK) {
        result = aee_call_i64(bed.engine, bed.context, count, NULL, 0, NULL, &bed.error);
    }
    print_message("    limit %d of %llu: %s %s\n", resource, (unsigned long long)most,
                  aee_result_name(result), bed.error.text);
    aee_engine_destroy(bed.engine);
    if (find_cells(getpid(), NULL, 0) != 0) {
        return 2;
    }
    return result != AEE_OK && (strlen(bed.error.text) < 20 || result == AEE_ERR_CRASHED ||
                                result == AEE_ERR_HUNG)
               ? 3
               : 0;
}

static void hosts_that_refuse(void **state)
{
    (void)state;
    static const struct {
        int resource;
        rlim_t most;
    } limits[] = {
        {RLIMIT_NPROC, 1},      {RLIMIT_NPROC, 8},       {RLIMIT_NOFILE, 8},
        {RLIMIT_NOFILE, 16},    {RLIMIT_NOFILE, 20},     {RLIMIT_NOFILE, 26},
        {RLIMIT_FSIZE, 0},      {RLIMIT_FSIZE, 1 << 20}, {RLIMIT_AS, 64 << 20},
        {RLIMIT_AS, 256 << 20}, {RLIMIT_STACK, 65536},
    };
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const bool sanitized = true; /* which needs much address space of its own */
#else
    const bool sanitized = false;
#endif
    for (unsigned i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        int status = -1;
        if (sanitized && limits[i].resource == RLIMIT_AS) {
            continue;
        }
        (void)fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            (void)signal(SIGXFSZ, SIG_IGN);
            int fault = use_with_limit(limits[i].resource, limits[i].most);
            (void)fflush(NULL);
            _exit(fault);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (status != 0) {
            fail_msg("limit %d of %llu: status 0x%x", limits[i].resource,
                     (unsigned long long)limits[i].most, (unsigned)status);
        }
    }
}

/* Standard descriptors that are closed are not what memory files are taken for. */
static void without_standard_descriptors(void **state)
{
    (void)state;
    int status = -1;
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        for (int fd = 0; fd < 10; fd++) {
            (void)close(fd);
        }
        struct bed bed = {0};
        aee_engine_desc desc = small();
        int fault = aee_engine_create(&desc, &bed.engine, &bed.error) != AEE_OK;
        if (!fault) {
            aee_context context = make_context(&bed, "alone", AEE_CALL_DIRECT, 1);
            fault = value0(&bed, context, "count") != 1;
        }
        aee_engine_destroy(bed.engine);
        _exit(fault);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
    int skip = choose_cell_level();
    if (skip) {
        return skip;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_in_a_direct_call),
        cmocka_unit_test(killed_in_a_ring_call),
        cmocka_unit_test(killed_in_a_host_call),
        cmocka_unit_test(killed_in_a_nested_call),
        cmocka_unit_test(killed_between_calls),
        cmocka_unit_test(killed_with_calls_queued),
        cmocka_unit_test(killed_in_the_pool),
        cmocka_unit_test(killed_while_regions_change),
        cmocka_unit_test(stopped_is_hung),
        cmocka_unit_test(signals_to_the_group_pass_by),
        cmocka_unit_test(a_lane_runs_where_its_caller_sleeps),
        cmocka_unit_test(a_cell_has_nothing),
        cmocka_unit_test(none_outlives_its_engine),
        cmocka_unit_test(children_of_the_engine),
        cmocka_unit_test(hosts_that_refuse),
        cmocka_unit_test(without_standard_descriptors),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
