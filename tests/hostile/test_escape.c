/* test_escape.c: a component that calls the kernel. Every number, by every entry, ends in a crash
 * report, and nothing of what was asked for has happened: no signal, file, descriptor, limit or
 * byte of the engine has changed. */
#include "hostile/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hostile/guest/escape.h"
#include "level.h"

enum { SHOTS = 50, NUMBERS = 601 };

/* ---- Attempts ----------------------------------------------------------------------------- */

/* One offender after the other: each attempt is a restart, and too many lead to a quarantine. */
struct shooter {
    struct hostile *hostile;
    struct offender offender;
    aee_function function;
    aee_call_mode mode;
    unsigned shots;
};

static aee_level level;

static void shooter_stop(struct shooter *shooter)
{
    if (shooter->shots > 0) {
        hostile_expect_recovery(shooter->hostile, shooter->offender);
        hostile_destroy(shooter->hostile, shooter->offender);
        hostile_expect_bystander(shooter->hostile);
    }
    shooter->shots = 0;
}

static void shooter_aim(struct shooter *shooter)
{
    if (shooter->shots == SHOTS) {
        shooter_stop(shooter);
    }
    if (shooter->shots == 0) {
        shooter->offender = hostile_offender(shooter->hostile, shooter->mode, NULL);
        shooter->function = hostile_find(shooter->hostile, shooter->offender, "escape");
    }
    shooter->shots++;
}

/* Calls that the filter of a cell does not end: its own signal handler needs rt_sigreturn, which
 * sets the registers of the thread that calls; and newer kernels (seen: 6.18) let uretprobe (335)
 * and uprobe (336) pass by filters, and answer with a signal or an error where it was not they who
 * placed the code that makes the call. */
static bool is_beyond_filters(const struct escape *attempt)
{
    return level != AEE_LEVEL_FULL && attempt->way == ESCAPE_SYSCALL &&
           (attempt->number == SYS_rt_sigreturn || attempt->number == 335 ||
            attempt->number == 336);
}

/* INT 0x80 has no gate in a machine, and none in kernels without 32-bit programs. */
static struct hostile_end expected_end(const struct escape *attempt, const aee_crash *crash)
{
    struct hostile_end end = {.ends = ENDS_CRASH, .cause = AEE_CRASH_SYSCALL};
    if (attempt->way == ESCAPE_INTERRUPT_80 &&
        (level == AEE_LEVEL_FULL || crash->cause == AEE_CRASH_EXCEPTION)) {
        end.cause = AEE_CRASH_EXCEPTION;
        end.vectors = VECTORS_REFUSED;
    }
    if (is_beyond_filters(attempt)) {
        end.cause = crash->cause;
        end.ends = ENDS_CRASH | (attempt->number == 336 ? ENDS_RETURN : 0);
    }
    return end;
}

static void expect_end(const struct shooter *shooter, const struct escape *attempt,
                       aee_result result, int64_t answer)
{
    aee_crash crash = {.text = "no crash"};
    (void)aee_last_crash(shooter->hostile->engine, shooter->offender.context, &crash, NULL);
    const struct hostile_end end = expected_end(attempt, &crash);
    const bool refused = result == AEE_OK && (end.ends & ENDS_RETURN) && answer < 0;
    if (!refused && (result == AEE_OK || crash.cause != end.cause)) {
        fail_msg("call %lld by way %lld: %s, answer %lld: %s", (long long)attempt->number,
                 (long long)attempt->way, aee_result_name(result), (long long)answer, crash.text);
    }
    hostile_expect(shooter->hostile, shooter->offender, result, "escape", &end);
}

static void shoot(struct shooter *shooter, const struct escape *attempt)
{
    shooter_aim(shooter);
    int64_t answer = 0;
    size_t size = 0;
    const aee_result result =
        aee_call_bytes(shooter->hostile->engine, shooter->offender.context, shooter->function,
                       attempt, sizeof *attempt, &answer, sizeof answer, &size, NULL);
    expect_end(shooter, attempt, result, answer);
    assert_int_equal(aee_wait_ready(shooter->hostile->engine, shooter->offender.context,
                                    10000 * MS * hostile_scale(), NULL),
                     AEE_OK);
}

/* The same call as 64-bit, as x32 and, with the number that it has there, as 32-bit code. */
static void shoot_all(struct shooter *shooter, struct escape attempt, int64_t number_32)
{
    attempt.way = ESCAPE_SYSCALL;
    shoot(shooter, &attempt);
    attempt.number |= ESCAPE_X32;
    shoot(shooter, &attempt);
    attempt.way = ESCAPE_INTERRUPT_80;
    attempt.number = number_32;
    shoot(shooter, &attempt);
}

/* ---- Every number ------------------------------------------------------------------------- */

/* Without arguments that could do harm: should one get through, the report is to be read. */
static void numbers(struct hostile *hostile, aee_call_mode mode, enum escape_way way, int64_t bits)
{
    struct shooter shooter = {.hostile = hostile, .mode = mode};
    /* The mode makes no difference to the kernel: in the second one, only some. */
    const int64_t step = mode == AEE_CALL_DIRECT ? 1 : 37;
    for (int64_t number = 0; number < NUMBERS; number += step) {
        const struct escape attempt = {
            .way = way, .number = number | bits, .args = {-1, -1, -1, -1, -1, -1}};
        shoot(&shooter, &attempt);
    }
    shooter_stop(&shooter);
}

static void by_syscall(struct hostile *hostile, aee_call_mode mode)
{
    numbers(hostile, mode, ESCAPE_SYSCALL, 0);
}

static void by_x32(struct hostile *hostile, aee_call_mode mode)
{
    numbers(hostile, mode, ESCAPE_SYSCALL, ESCAPE_X32);
}

static void by_interrupt(struct hostile *hostile, aee_call_mode mode)
{
    numbers(hostile, mode, ESCAPE_INTERRUPT_80, 0);
}

/* Numbers that no table has: beyond 32 bits, negative, and those of a kernel's own traps. */
static void odd_numbers(struct hostile *hostile, aee_call_mode mode)
{
    static const int64_t odd[] = {
        -1,         INT64_MIN,  INT64_MAX, 0x100000027, 0x80000027, 0x3fffffff, 0x40000000 | 0x1000,
        0x7fffffff, 0xffffffff, 0x0f0002,  1024,        4096};
    struct shooter shooter = {.hostile = hostile, .mode = mode};
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        for (int64_t way = 0; way < ESCAPE_WAYS; way++) {
            const struct escape attempt = {.way = way, .number = odd[i]};
            shoot(&shooter, &attempt);
        }
    }
    shooter_stop(&shooter);
}

/* ---- Signals ------------------------------------------------------------------------------ */

static _Atomic unsigned signals_seen;

static void count_signal(int signal)
{
    (void)signal;
    (void)atomic_fetch_add(&signals_seen, 1);
}

static void signals_to_the_engine(struct hostile *hostile, aee_call_mode mode)
{
    const pid_t self = getpid();
    const struct {
        struct escape attempt;
        int64_t number_32;
    } calls[] = {
        {{.number = SYS_kill, .args = {self, SIGUSR1}}, 37},
        {{.number = SYS_kill, .args = {0, SIGUSR1}}, 37}, /* the process group */
        {{.number = SYS_tkill, .args = {self, SIGUSR1}}, 238},
        {{.number = SYS_tgkill, .args = {self, self, SIGUSR1}}, 270},
        {{.number = SYS_rt_sigqueueinfo, .args = {self, SIGUSR1, ESCAPE_DATA}}, 178},
        {{.number = SYS_kill, .args = {self, SIGSTOP}}, 37},
        {{.number = SYS_kill, .args = {self, SIGKILL}}, 37},
    };
    atomic_store(&signals_seen, 0);
    struct shooter shooter = {.hostile = hostile, .mode = mode};
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        shoot_all(&shooter, calls[i].attempt, calls[i].number_32);
    }
    shooter_stop(&shooter);
    assert_int_equal(atomic_load(&signals_seen), 0);
    assert_int_equal(raise(SIGUSR1), 0); /* one would have been seen */
    assert_int_equal(atomic_load(&signals_seen), 1);
}

/* ---- Descriptors -------------------------------------------------------------------------- */

enum { FIRST_DESCRIPTORS = 33, MARK_BYTES = 5 };

static int marked_pipe[2];
static int marked_file;

/* Before there is an engine: all of the first numbers are taken, so that none of its own
 * descriptors is among them, by a file and a pipe with a mark in each. Programs that are started
 * inherit them. */
static int take_descriptors(void)
{
    FILE *file = tmpfile();
    if (!file || pipe(marked_pipe) != 0) { // NOLINT(android-cloexec-pipe): on purpose
        return -1;
    }
    marked_file = fileno(file);
    int last = 0;
    for (int i = 0; last >= 0 && last < FIRST_DESCRIPTORS; i++) {
        last = dup(marked_pipe[i % 2]); // NOLINT(android-cloexec-dup)
    }
    (void)close(last);
    return write(marked_file, "mark", MARK_BYTES) == MARK_BYTES &&
                   write(marked_pipe[1], "mark", MARK_BYTES) == MARK_BYTES
               ? 0
               : -1;
}

static void look_at_descriptors(struct stat *stats)
{
    memset(stats, 0, FIRST_DESCRIPTORS * sizeof *stats);
    for (int fd = 0; fd < FIRST_DESCRIPTORS; fd++) {
        assert_int_equal(fstat(fd, &stats[fd]), 0);
    }
}

/* Nothing was taken, nothing was added. */
static void expect_marks(void)
{
    int waiting = 0;
    struct stat file;
    char mark[2 * MARK_BYTES] = "";
    assert_int_equal(ioctl(marked_pipe[0], FIONREAD, &waiting), 0);
    assert_int_equal(waiting, MARK_BYTES);
    assert_int_equal(fstat(marked_file, &file), 0);
    assert_int_equal(file.st_size, MARK_BYTES);
    assert_int_equal(pread(marked_file, mark, sizeof mark, 0), MARK_BYTES);
    assert_string_equal(mark, "mark");
    assert_int_equal(lseek(marked_file, 0, SEEK_CUR), MARK_BYTES);
}

static void descriptors_of_the_engine(struct hostile *hostile, aee_call_mode mode)
{
    static const struct {
        int64_t number;
        int64_t number_32;
    } calls[] = {{SYS_close, 6}, {SYS_write, 4}, {SYS_read, 3}, {SYS_ftruncate, 93}};
    struct stat before[FIRST_DESCRIPTORS];
    struct stat after[FIRST_DESCRIPTORS];
    look_at_descriptors(before);
    struct shooter shooter = {.hostile = hostile, .mode = mode};
    const int step = mode == AEE_CALL_DIRECT ? 1 : 5;
    for (size_t c = 0; c < COUNT_OF(calls); c++) {
        for (int fd = 0; fd < FIRST_DESCRIPTORS; fd += step) {
            const int64_t second = calls[c].number == SYS_ftruncate ? 1 : ESCAPE_DATA;
            const struct escape attempt = {
                .number = calls[c].number, .args = {fd, second, MARK_BYTES}, .data = "evil"};
            shoot_all(&shooter, attempt, calls[c].number_32);
        }
    }
    shooter_stop(&shooter);
    look_at_descriptors(after);
    for (int fd = 0; fd < FIRST_DESCRIPTORS; fd++) {
        assert_int_equal(before[fd].st_ino, after[fd].st_ino);
        assert_int_equal(before[fd].st_dev, after[fd].st_dev);
    }
    expect_marks();
}

/* ---- Files -------------------------------------------------------------------------------- */

struct lair {
    char folder[32];
    char victim[64];
    char wanted[64];
};

static void lair_open(struct lair *lair)
{
    (void)snprintf(lair->folder, sizeof lair->folder, "/tmp/aee-escape-XXXXXX");
    assert_non_null(mkdtemp(lair->folder));
    (void)snprintf(lair->victim, sizeof lair->victim, "%s/victim", lair->folder);
    (void)snprintf(lair->wanted, sizeof lair->wanted, "%s/wanted", lair->folder);
    const int fd = open(lair->victim, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "mark", MARK_BYTES), MARK_BYTES);
    (void)close(fd);
}

static void lair_close(const struct lair *lair)
{
    struct stat victim;
    assert_int_equal(access(lair->wanted, F_OK), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(stat(lair->victim, &victim), 0);
    assert_int_equal(victim.st_size, MARK_BYTES);
    assert_int_equal(victim.st_mode & 0777, 0600);
    assert_int_equal(unlink(lair->victim), 0);
    assert_int_equal(rmdir(lair->folder), 0); /* nothing else is in it */
}

static void shoot_at_path(struct shooter *shooter, struct escape attempt, int64_t number_32,
                          const char *path)
{
    (void)snprintf(attempt.data, sizeof attempt.data, "%s", path);
    shoot_all(shooter, attempt, number_32);
}

static void files_of_the_host(struct hostile *hostile, aee_call_mode mode)
{
    static const char *const readable[] = {"/proc/self/maps", "/proc/self/mem", "/proc/1/environ",
                                           "/etc/passwd", "/dev/kvm"};
    const struct escape open_wanted = {.number = SYS_open,
                                       .args = {ESCAPE_DATA, O_CREAT | O_WRONLY, 0644}};
    const struct escape openat_wanted = {.number = SYS_openat,
                                         .args = {AT_FDCWD, ESCAPE_DATA, O_CREAT | O_WRONLY, 0644}};
    const struct escape make_folder = {.number = SYS_mkdir, .args = {ESCAPE_DATA, 0755}};
    const struct escape make_link = {.number = SYS_symlink, .args = {ESCAPE_DATA, ESCAPE_DATA}};
    const struct escape cut = {.number = SYS_truncate, .args = {ESCAPE_DATA, 0}};
    const struct escape remove = {.number = SYS_unlink, .args = {ESCAPE_DATA}};
    const struct escape change = {.number = SYS_chmod, .args = {ESCAPE_DATA, 0777}};
    const struct escape run = {.number = SYS_execve, .args = {ESCAPE_DATA, 0, 0}};
    const struct escape look = {.number = SYS_open, .args = {ESCAPE_DATA, O_RDONLY, 0}};
    struct lair lair;
    struct shooter shooter = {.hostile = hostile, .mode = mode};
    lair_open(&lair);
    shoot_at_path(&shooter, open_wanted, 5, lair.wanted);
    shoot_at_path(&shooter, openat_wanted, 295, lair.wanted);
    shoot_at_path(&shooter, make_folder, 39, lair.wanted);
    shoot_at_path(&shooter, make_link, 83, lair.wanted);
    shoot_at_path(&shooter, cut, 92, lair.victim);
    shoot_at_path(&shooter, remove, 10, lair.victim);
    shoot_at_path(&shooter, change, 15, lair.victim);
    shoot_at_path(&shooter, run, 11, "/bin/true");
    for (size_t i = 0; i < COUNT_OF(readable); i++) {
        shoot_at_path(&shooter, look, 5, readable[i]);
    }
    shooter_stop(&shooter);
    lair_close(&lair);
}

/* ---- The engine as a process -------------------------------------------------------------- */

static bool is_traced(void)
{
    bool traced = false;
    char line[128];
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file)) {
        int tracer = 0;
        traced = traced || (sscanf(line, "TracerPid: %d", &tracer) == 1 && tracer != 0); // NOLINT
    }
    assert_non_null(file);
    (void)fclose(file);
    return traced;
}

/* The limit in `data` is 1 of each; the vectors for the copy need addresses of the component, which
 * are not known here: the address of the engine's word is the remote one. */
static void the_engine_as_a_process(struct hostile *hostile, aee_call_mode mode)
{
    static volatile uint64_t word = 0x600d;
    const pid_t self = getpid();
    const int64_t at = (int64_t)(uintptr_t)&word;
    const struct {
        struct escape attempt;
        int64_t number_32;
    } calls[] = {
        {{.number = SYS_ptrace, .args = {PTRACE_ATTACH, self}}, 26},
        {{.number = SYS_ptrace, .args = {PTRACE_SEIZE, self}}, 26},
        {{.number = SYS_process_vm_writev, .args = {self, ESCAPE_DATA, 1, ESCAPE_DATA, 1}}, 348},
        {{.number = SYS_process_vm_readv, .args = {self, ESCAPE_DATA, 1, ESCAPE_DATA, 1}}, 347},
        {{.number = SYS_prlimit64, .args = {self, RLIMIT_NOFILE, ESCAPE_DATA}}, 340},
        {{.number = SYS_setpriority, .args = {PRIO_PROCESS, self, 19}}, 97},
        {{.number = SYS_socket, .args = {1, 1, 0}}, 359},
        {{.number = SYS_socket, .args = {16, 3, 0}}, 359}, /* netlink */
        {{.number = SYS_fork}, 2},
        {{.number = SYS_pidfd_open, .args = {self}}, 434},
        {{.number = SYS_write, .args = {1, at, 8}}, 4},
        {{.number = SYS_exit_group, .args = {0}}, 252},
    };
    struct rlimit limit;
    struct rlimit now;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const int priority = getpriority(PRIO_PROCESS, 0);
    struct shooter shooter = {.hostile = hostile, .mode = mode};
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        struct escape attempt = calls[i].attempt;
        const uint64_t pair[2] = {calls[i].attempt.number == SYS_prlimit64 ? 64 : (uint64_t)at, 64};
        memcpy(attempt.data, pair, sizeof pair);
        shoot_all(&shooter, attempt, calls[i].number_32);
    }
    shooter_stop(&shooter);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    assert_true(now.rlim_cur == limit.rlim_cur && now.rlim_max == limit.rlim_max);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), priority);
    assert_int_equal(word, 0x600d);
    assert_false(is_traced());
}

static int prepare(void)
{
    level = tested_level();
    const struct sigaction counting = {.sa_handler = count_signal};
    return sigaction(SIGUSR1, &counting, NULL) == 0 ? take_descriptors() : -1;
}

static const struct hostile_case cases[] = {
    {.name = "every number by SYSCALL", .script = by_syscall},
    {.name = "every number by SYSCALL, x32", .script = by_x32},
    {.name = "every number by INT 0x80", .script = by_interrupt},
    {.name = "numbers that there are not", .script = odd_numbers},
    {.name = "signals to the engine", .script = signals_to_the_engine},
    {.name = "descriptors of the engine", .script = descriptors_of_the_engine},
    {.name = "files of the host", .script = files_of_the_host},
    {.name = "the engine as a process", .script = the_engine_as_a_process},
};

int main(int argc, char **argv)
{
    static const struct hostile_program program = {.name = "hostile_escape",
                                                   .image = "hostile_attacker.elf",
                                                   .prepare = prepare,
                                                   .cases = cases,
                                                   .count = COUNT_OF(cases)};
    return hostile_main(&program, argc, argv);
}
