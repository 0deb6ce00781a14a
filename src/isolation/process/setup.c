/* setup.c: how a cell loses every right. All is done before the component's first instruction, by
 * the cell's servant, in this order: descriptors, limits, namespaces, files, capabilities, signals,
 * and at last system calls. */
#include <asm/unistd_64.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "isolation/process/process_internal.h"

/* ---- Limits ------------------------------------------------------------------------------- */

static void add_limit(struct aee__vm *vm, int resource, uint64_t most)
{
    const struct rlimit limit = {.rlim_cur = most, .rlim_max = most};
    (void)AEE__ORDER(vm, "setrlimit", __NR_setrlimit, (uint64_t)resource,
                     aee__orders_data(vm, &limit, sizeof limit));
}

/* What a component could use up without system calls is its own stack's page range; the rest holds
 * should a kernel's defect let it make one. */
static void add_limits(struct aee__vm *vm)
{
    add_limit(vm, RLIMIT_CORE, 0);
    add_limit(vm, RLIMIT_STACK, 65536);
    add_limit(vm, RLIMIT_FSIZE, 0);
    add_limit(vm, RLIMIT_NOFILE, 16);
    add_limit(vm, RLIMIT_MEMLOCK, 0);
    add_limit(vm, RLIMIT_MSGQUEUE, 0);
}

/* ---- Namespaces and files ----------------------------------------------------------------- */

static uint64_t text(struct aee__vm *vm, const char *string)
{
    return aee__orders_data(vm, string, strlen(string) + 1);
}

/* An empty, read-only file system becomes the root; the old one is dropped. pivot_root(".", ".")
 * stacks them, so that no folder is needed (pivot_root(2), notes). */
static void add_empty_root(struct aee__vm *vm)
{
    uint64_t root = text(vm, "/");
    uint64_t place = text(vm, "/proc"); /* a folder that every system has */
    uint64_t here = text(vm, ".");
    uint64_t name = text(vm, "tmpfs");
    uint64_t options = text(vm, "size=4k,nr_inodes=2,mode=500");
    (void)AEE__ORDER(vm, "making mounts private", __NR_mount, name, root, 0, MS_REC | MS_PRIVATE,
                     0);
    (void)AEE__ORDER(vm, "mounting an empty root", __NR_mount, name, place, name,
                     MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, options);
    (void)AEE__ORDER(vm, "entering the empty root", __NR_chdir, place);
    (void)AEE__ORDER(vm, "pivot_root", __NR_pivot_root, here, here);
    (void)AEE__ORDER(vm, "dropping the old root", __NR_umount2, here, MNT_DETACH);
    (void)AEE__ORDER(vm, "entering the root", __NR_chdir, root);
}

/* No file, with any right. Kernels without Landlock go on without (Linux 5.13). */
static void add_landlock(struct aee__vm *vm)
{
    enum { RULESET = 0 }; /* the lowest free descriptor */
    const uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
    AEE__ORDER(vm, "landlock", __NR_landlock_create_ruleset, aee__orders_data(vm, &all, sizeof all),
               sizeof all, 0)
        ->flags = AEE_CELL_MAY_FAIL;
    AEE__ORDER(vm, "landlock", __NR_landlock_restrict_self, RULESET, 0)->flags = AEE_CELL_MAY_FAIL;
    AEE__ORDER(vm, "landlock", __NR_close, RULESET)->flags = AEE_CELL_MAY_FAIL;
}

static void add_no_capabilities(struct aee__vm *vm)
{
    const struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    (void)AEE__ORDER(vm, "capset", __NR_capset, aee__orders_data(vm, &header, sizeof header),
                     aee__orders_data(vm, none, sizeof none));
}

/* ---- Signals ------------------------------------------------------------------------------ */

/* The kernel's struct sigaction, not libc's. */
struct action {
    uint64_t handler;
    uint64_t flags;
    uint64_t restorer;
    uint64_t mask;
};

static void add_signals(struct aee__vm *vm)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, AEE_CELL_KICK};
    const uint64_t restorer_flag = 0x04000000; /* SA_RESTORER */
    const struct action action = {.handler = AEE_CELL_SIGNAL,
                                  .flags = (uint64_t)SA_SIGINFO | SA_ONSTACK | restorer_flag,
                                  .restorer = AEE_CELL_RESTORE,
                                  .mask = ~UINT64_C(0)};
    uint64_t at = aee__orders_data(vm, &action, sizeof action);
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        (void)AEE__ORDER(vm, "rt_sigaction", __NR_rt_sigaction, (uint64_t)signals[i], at, 0,
                         sizeof action.mask);
    }
}

/* ---- System calls ------------------------------------------------------------------------- */

static uint64_t filter_data(struct aee__vm *vm, const struct aee__filter *filter)
{
    const struct {
        uint16_t count;
        uint64_t filter;
    } program = {.count = (uint16_t)(filter->size / sizeof *filter->instructions),
                 .filter = aee__orders_data(vm, filter->instructions, filter->size)};
    return aee__orders_data(vm, &program, sizeof program);
}

aee_result aee__cell_prepare(struct aee__vm *vm, aee_error *error)
{
    vm->lane_filter = filter_data(vm, &vm->backend->lane);
    aee__cell_expect_memory(vm);
    aee__orders_begin(vm);
    (void)AEE__ORDER(vm, "close_range", __NR_close_range, 0, AEE_CELL_FD_SOCKET - 1, 0);
    (void)AEE__ORDER(vm, "close_range", __NR_close_range, AEE_CELL_FD_SOCKET + 1, UINT32_MAX, 0);
    (void)AEE__ORDER(vm, "naming", __NR_prctl, PR_SET_NAME, text(vm, "aee-cell"));
    /* Also keeps others of the same user from looking into it, and core dumps from being piped. */
    (void)AEE__ORDER(vm, "prctl", __NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)AEE__ORDER(vm, "no_new_privs", __NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (vm->backend->namespaces & CLONE_NEWNS) {
        add_empty_root(vm);
    }
    add_limits(vm);
    add_landlock(vm);
    add_no_capabilities(vm);
    add_signals(vm);
    return aee__orders_commit(vm, "prepare a cell", error);
}

aee_result aee__cell_seal(struct aee__vm *vm, aee_error *error)
{
    aee__orders_begin(vm);
    add_limit(vm, RLIMIT_NPROC, 0);
    (void)AEE__ORDER(vm, "seccomp", __NR_seccomp, SECCOMP_SET_MODE_FILTER, 0,
                     filter_data(vm, &vm->backend->servant));
    return aee__orders_commit(vm, "seal a cell", error);
}
