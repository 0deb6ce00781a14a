/* handlers.c: signal handlers of the process, which the rest of the library does without. They are
 * there while a back end of level none is open; where somebody puts another in our place meanwhile,
 * ours comes back before the next component runs. A signal that does not hit a component goes to
 * the handler that was there before. The table is under the window's lock; handlers read it
 * without, so that who installs handlers while other threads fault may lose one. */
#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "isolation/none/none_internal.h"

#define SIGNALS 65

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
#define FAULTS (sizeof faults / sizeof faults[0])

static struct slot {
    uint32_t users;
    bool replaced;           /* somebody took our place once, and may call us */
    struct sigaction former; /* what gets the signals that are not ours */
    struct sigaction first;  /* the same where `former`, or another handler, calls us */
} table[SIGNALS];

bool aee__none_is_fault(int signal)
{
    for (unsigned i = 0; i < FAULTS; i++) {
        if (faults[i] == signal) {
            return true;
        }
    }
    return false;
}

uint64_t aee__none_component_mask(int kick_signal)
{
    uint64_t mask = ~(UINT64_C(1) << (kick_signal - 1));
    for (unsigned i = 0; i < FAULTS; i++) {
        mask &= ~(UINT64_C(1) << (faults[i] - 1));
    }
    return mask;
}

/* ---- Installing --------------------------------------------------------------------------- */

static bool is_ours(const struct sigaction *action)
{
    return action->sa_sigaction == aee__none_signal;
}

static int put(int signal)
{
    struct sigaction ours = {.sa_sigaction = aee__none_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    (void)sigfillset(&ours.sa_mask); /* nothing interrupts the way out of a component */
    return sigaction(signal, &ours, NULL);
}

static aee_result install(int signal, aee_error *error)
{
    struct slot *slot = &table[signal];
    struct sigaction now;
    if (slot->users > 0) {
        slot->users++;
        return AEE_OK;
    }
    if (sigaction(signal, NULL, &now) != 0) {
        return aee__fail_os(error, errno, "cannot install a handler of signal %d", signal);
    }
    if (!is_ours(&now)) { /* else who replaced it has put it back too late */
        slot->former = now;
        slot->first = slot->replaced ? slot->first : now;
    }
    if (put(signal) != 0) {
        return aee__fail_os(error, errno, "cannot install a handler of signal %d", signal);
    }
    slot->users = 1;
    return AEE_OK;
}

static void remove_one(int signal)
{
    struct sigaction now;
    if (--table[signal].users > 0) {
        return;
    }
    if (sigaction(signal, NULL, &now) == 0 && is_ours(&now)) {
        (void)sigaction(signal, &table[signal].former, NULL);
    } else {
        table[signal].replaced = true;
    }
}

void aee__none_handlers_forget(void)
{
    for (int signal = 0; signal < SIGNALS; signal++) {
        table[signal].users = 0;
    }
}

/* One stands for all: who handles faults handles them together. */
void aee__none_handlers_check(void)
{
    struct sigaction now;
    if (sigaction(SIGSEGV, NULL, &now) != 0 || is_ours(&now)) {
        return;
    }
    for (unsigned i = 0; i < FAULTS; i++) {
        struct slot *slot = &table[faults[i]];
        if (sigaction(faults[i], NULL, &now) == 0 && !is_ours(&now)) {
            slot->former = now;
            slot->replaced = true;
            (void)put(faults[i]);
        }
    }
}

aee_result aee__none_handlers_install(int kick_signal, aee_error *error)
{
    unsigned done = 0;
    aee_result result = install(kick_signal, error);
    if (result != AEE_OK) {
        return result;
    }
    while (done < FAULTS && result == AEE_OK) {
        result = install(faults[done], error);
        done += result == AEE_OK;
    }
    if (result != AEE_OK) {
        while (done > 0) {
            remove_one(faults[--done]);
        }
        remove_one(kick_signal);
    }
    return result;
}

void aee__none_handlers_remove(int kick_signal)
{
    for (unsigned i = 0; i < FAULTS; i++) {
        remove_one(faults[i]);
    }
    remove_one(kick_signal);
}

/* ---- Signals that are not ours ------------------------------------------------------------ */

/* With the mask that the kernel would have given it. */
static void call_handler(const struct sigaction *action, int signal, siginfo_t *info,
                         ucontext_t *context)
{
    sigset_t mask;
    (void)sigorset(&mask, &context->uc_sigmask, &action->sa_mask);
    if (!(action->sa_flags & SA_NODEFER)) {
        (void)sigaddset(&mask, signal);
    }
    (void)aee__sys_restore_mask(&mask);
    if (action->sa_flags & SA_SIGINFO) {
        action->sa_sigaction(signal, info, context);
    } else {
        action->sa_handler(signal);
    }
}

/* The default action comes when the instruction is repeated, or the signal, where it has none. */
static void fall_back(int signal, const siginfo_t *info)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    (void)sigaction(signal, &standard, NULL);
    if (info->si_code <= 0 || signal == SIGTRAP) {
        (void)aee__sys_signal_thread(pthread_self(), signal);
    }
}

/* The kernel puts the context right behind the return address (struct rt_sigframe); a handler that
 * calls ours has a stack of its own in between. */
static bool is_from_kernel(const void *context, uintptr_t stack)
{
    return (uintptr_t)context == stack + sizeof(void *);
}

/* A kick that came too early or too late means nothing, and the signal is ours alone. */
void aee__none_elsewhere(int signal, siginfo_t *info, void *context, uintptr_t stack)
{
    int error = errno;
    const struct slot *slot = &table[signal];
    if (!aee__none_is_fault(signal)) {
        return;
    }
    const struct sigaction action = is_from_kernel(context, stack) ? slot->former : slot->first;
    if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN) {
        call_handler(&action, signal, info, context);
    } else if (action.sa_handler == SIG_DFL || info->si_code > 0) {
        fall_back(signal, info);
    }
    errno = error;
}
