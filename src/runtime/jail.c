#include "runtime/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>

#include "base/sys.h"
#include "base/thread.h"

#define EVERY_BIT UINT32_MAX
#define REQUESTS_MAX 8u

#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* ---- The list ----------------------------------------------------------------------------- */

/* Beside ioctl(), whose requests the back end names. Those for the thread itself take 0 as its
 * number. Memory is not among them: these threads neither allocate nor map. */
static const struct aee__filter_rule rules[] = {
    {.call = SCMP_SYS(futex)},
    {.call = SCMP_SYS(rt_sigprocmask)},  /* nested kicks; pthread_kill() and the thread's end */
    {.call = SCMP_SYS(rt_sigtimedwait)}, /* takes a kick that came late */
    {.call = SCMP_SYS(timer_settime)},   /* the timer that ends a run on time */
    {.call = SCMP_SYS(timer_create)},    /* one for the thread that runs the vCPU now */
    {.call = SCMP_SYS(timer_delete)},
    {.call = SCMP_SYS(pidfd_send_signal), .checks = {{1, EVERY_BIT, SIGKILL}}}, /* ends a cell */
    {.call = SCMP_SYS(rt_sigreturn)}, /* glibc's own signals cannot be blocked */
    {.call = SCMP_SYS(getpid)},       /* pthread_kill() */
    {.call = SCMP_SYS(sched_getaffinity), .checks = {{0, EVERY_BIT, 0}}},
    {.call = SCMP_SYS(sched_setaffinity), .checks = {{0, EVERY_BIT, 0}}},
    {.call = SCMP_SYS(getcpu)},          /* where the vDSO cannot tell */
    {.call = SCMP_SYS(clock_gettime)},   /* the same */
    {.call = SCMP_SYS(restart_syscall)}, /* a wait that a stopped process was in goes on */
    {.call = SCMP_SYS(madvise)},         /* the thread's end gives its stack back */
    {.call = SCMP_SYS(exit)},
#if SANITIZED
    /* Their allocators, their locks and their reports. */
    {.call = SCMP_SYS(mmap)},
    {.call = SCMP_SYS(munmap)},
    {.call = SCMP_SYS(mprotect)},
    {.call = SCMP_SYS(sched_yield)},
    {.call = SCMP_SYS(gettid)},
    {.call = SCMP_SYS(sigaltstack)},
    {.call = SCMP_SYS(write)},
#endif
};
enum {
    SANITIZER_RULES = SANITIZED ? 7 : 0,
    RULES = sizeof rules / sizeof rules[0],
    LISTED = RULES - SANITIZER_RULES,
    OWN_CALLS = 2, /* ioctl() and tgkill(), whose arguments are known at run time only */
};
_Static_assert(LISTED + OWN_CALLS <= AEE__JAIL_CALLS_MAX, "the list is to be short");

uint32_t aee__jail_calls(int calls[AEE__JAIL_CALLS_MAX])
{
    uint32_t count = 0;
    calls[count++] = SCMP_SYS(ioctl);
    calls[count++] = SCMP_SYS(tgkill);
    for (unsigned i = 0; i < LISTED; i++) {
        calls[count++] = rules[i].call;
    }
    return count;
}

aee_result aee__jail_create(struct aee__jail *jail, const struct aee__alloc *alloc,
                            aee_jail_mode mode, int kick_signal, const uint32_t *requests,
                            uint32_t count, aee_error *error)
{
    struct aee__filter_rule all[REQUESTS_MAX + OWN_CALLS + RULES] = {{0}};
    uint32_t used = 0;
    *jail = (struct aee__jail){.mode = mode};
    for (uint32_t i = 0; i < count && i < REQUESTS_MAX; i++) {
        all[used++] = (struct aee__filter_rule){.call = SCMP_SYS(ioctl),
                                                .checks = {{1, EVERY_BIT, requests[i]}}};
    }
    memcpy(&all[used], rules, sizeof rules);
    used += RULES;
    all[used++] = (struct aee__filter_rule){.call = SCMP_SYS(tgkill),
                                            .checks = {{0, EVERY_BIT, (uint32_t)aee__sys_process()},
                                                       {2, EVERY_BIT, (uint32_t)kick_signal}}};
    return aee__filter_create(&jail->filter, alloc, all, used,
                              mode == AEE_JAIL_LOG ? AEE__FILTER_LOG : AEE__FILTER_FAIL, error);
}

void aee__jail_destroy(struct aee__jail *jail)
{
    aee__filter_destroy(&jail->filter);
}

aee_result aee__jail_enter(const struct aee__jail *jail, aee_error *error)
{
    return aee__filter_install(&jail->filter, error);
}

/* ---- Whether it works --------------------------------------------------------------------- */

struct trial {
    const struct aee__jail *jail;
    aee_result result;
    int open_errno; /* 0: what is to be refused was not */
    aee_error error;
};

static void *try_it(void *argument)
{
    struct trial *trial = argument;
    trial->result = aee__jail_enter(trial->jail, &trial->error);
    if (trial->result == AEE_OK) {
        int fd = aee__sys_open("/", O_RDONLY);
        trial->open_errno = fd < 0 ? errno : 0;
        (void)aee__sys_close(fd);
    }
    return NULL;
}

aee_result aee__jail_try(const struct aee__jail *jail, aee_error *error)
{
    struct trial trial = {.jail = jail};
    struct aee__thread thread;
    aee_result result = aee__thread_start(&thread, "aee-jail", try_it, &trial, error);
    if (result != AEE_OK) {
        return result;
    }
    aee__thread_join(&thread);
    if (trial.result != AEE_OK) {
        return aee__fail_os(error, trial.error.os_errno, "a thread cannot be jailed: seccomp()");
    }
    int wanted = jail->mode == AEE_JAIL_LOG ? 0 : EPERM;
    return trial.open_errno == wanted
               ? AEE_OK
               : aee__fail(error, AEE_ERR_UNSUPPORTED,
                           "a thread cannot be jailed: the kernel took the filter, and open() %s",
                           trial.open_errno == 0 ? "went through" : "failed with another error");
}
