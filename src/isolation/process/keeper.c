/* keeper.c: the thread that starts cells and learns of their ends. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/process/process_internal.h"

struct aee__spawn {
    struct aee__vm *vm;
    int peer;
    int error;
    bool done;
    struct aee__spawn *next;
};

/* Numbers of events: that of the keeper's own descriptor; cells count from 1. */
#define OWN_EVENT UINT64_C(0)

/* A lane that says that it waits and goes on running burns time that no budget sees. So often we
 * look at each cell's processor time; it may have used so much more than its lanes were run for,
 * and in so many looks in a row. */
#define LOOK_NS UINT64_C(1000000000)
#define SLACK_NS UINT64_C(100000000)
#define SLACK_PER_RUN_NS UINT64_C(50000) /* its way from an exit into the kernel and back */
#define OFFENCES 2u

/* ---- The thread --------------------------------------------------------------------------- */

static int spawn(struct aee__keeper *keeper, struct aee__spawn *request)
{
    struct aee__vm *vm = request->vm;
    const int fds[2] = {vm->control_fd, request->peer};
    if (aee__sys_process_start(vm->backend->program, "aee-cell", fds, vm->backend->namespaces,
                               &vm->process) != 0) {
        return errno;
    }
    vm->started = true;
    vm->id = ++keeper->last_id;
    vm->next = keeper->living;
    keeper->living = vm;
    return aee__sys_poll_add(keeper->poll, vm->process.pidfd, vm->id) == 0 ? 0 : errno;
}

static void serve_requests(struct aee__keeper *keeper)
{
    aee__sys_event_clear(keeper->event);
    while (keeper->requests) {
        struct aee__spawn *request = keeper->requests;
        keeper->requests = request->next;
        request->error = spawn(keeper, request);
        request->done = true;
    }
    (void)pthread_cond_broadcast(&keeper->done);
}

aee_crash_cause aee__keeper_describe_end(const struct aee__vm *vm, char *text, size_t size)
{
    const struct aee__verdict *verdict = atomic_load(&vm->verdict);
    int signal = vm->reason & 0x7f;
    const char *name = sigabbrev_np(signal);
    if (verdict) {
        (void)snprintf(text, size, "%s", verdict->text);
        return verdict->cause;
    }
    if (vm->reason < 0) {
        (void)snprintf(text, size, "its process is gone");
    } else if (signal != 0) {
        (void)snprintf(text, size, "its process was ended by SIG%s%s", name ? name : "RT",
                       signal == SIGKILL ? ": out of memory, or from outside" : "");
    } else {
        (void)snprintf(text, size, "its process ended with status %d", vm->reason >> 8);
    }
    return AEE_CRASH_KILLED;
}

/* With the lock held: who is being buried waits for it, so that the machine stays. */
static void note_end(struct aee__keeper *keeper, uint64_t id)
{
    struct aee__vm *vm = keeper->living;
    while (vm && vm->id != id) {
        vm = vm->next;
    }
    if (!vm || vm->reaped) {
        return;
    }
    vm->reaped = true;
    aee__sys_poll_remove(keeper->poll, vm->process.pidfd);
    aee__sys_process_wait(vm->process.pidfd, &vm->reason);
    aee__cell_lanes_end(vm);
    aee__sys_process_reap(vm->process.pidfd);
    if (vm->notice) {
        char how[96];
        aee_crash_cause cause = aee__keeper_describe_end(vm, how, sizeof how);
        vm->notice(vm->notice_user, cause, how);
    }
}

void aee__cell_condemn(struct aee__vm *vm, const struct aee__verdict *verdict)
{
    const struct aee__verdict *none = NULL;
    if (!atomic_load(&vm->ended)) {
        (void)atomic_compare_exchange_strong(&vm->verdict, &none, verdict);
        (void)aee__sys_process_kill(vm->process.pidfd);
    }
}

static void look_at(struct aee__vm *vm)
{
    static const struct aee__verdict busy = {AEE_CRASH_PROTOCOL,
                                             "it went on running after it said that it waits"};
    const struct aee__cell_use before = vm->use;
    uint64_t runs;
    struct aee__cell_use now = {.known = true};
    if (aee__sys_process_cpu(vm->process.pid, &now.cpu_ns) != 0) {
        return;
    }
    aee__cell_lanes_use(vm, &now.owed_ns, &runs);
    now.owed_ns += runs * SLACK_PER_RUN_NS + atomic_load(&vm->orders_ns);
    if (before.known && now.cpu_ns - before.cpu_ns > now.owed_ns - before.owed_ns + SLACK_NS) {
        now.offences = before.offences + 1;
    }
    vm->use = now;
    if (now.offences == OFFENCES) {
        aee__cell_condemn(vm, &busy);
    }
}

/* With the lock held, once in LOOK_NS: milliseconds until the next time, or -1 when there is
 * nothing to look at. Before they are sealed, cells have no component. */
static int look(struct aee__keeper *keeper, uint64_t *next_ns)
{
    uint64_t now = aee__now_ns();
    bool any = false;
    bool due = now >= *next_ns;
    for (struct aee__vm *vm = keeper->living; vm; vm = vm->next) {
        bool sealed = vm->notice && !vm->reaped;
        any = any || sealed;
        if (sealed && due) {
            look_at(vm);
        }
    }
    if (due) {
        *next_ns = now + LOOK_NS;
    }
    keeper->watches = any;
    return any ? (int)((*next_ns - now) / 1000000u) + 1 : -1;
}

static void *run(void *argument)
{
    struct aee__keeper *keeper = argument;
    uint64_t next_ns = 0;
    int timeout_ms = -1;
    bool stop = false;
    while (!stop) {
        uint64_t id;
        int events = aee__sys_poll_wait(keeper->poll, &id, timeout_ms);
        (void)pthread_mutex_lock(&keeper->lock);
        if (events > 0 && id == OWN_EVENT) {
            serve_requests(keeper);
        } else if (events > 0) {
            note_end(keeper, id);
        }
        timeout_ms = look(keeper, &next_ns);
        stop = keeper->stop;
        (void)pthread_mutex_unlock(&keeper->lock);
    }
    return NULL;
}

aee_result aee__keeper_start(struct aee__backend *backend, aee_error *error)
{
    struct aee__keeper *keeper = &backend->keeper;
    (void)pthread_mutex_init(&keeper->lock, NULL);
    (void)pthread_cond_init(&keeper->done, NULL);
    keeper->event = -1;
    keeper->poll = aee__sys_poll_create();
    if (keeper->poll >= 0) {
        keeper->event = aee__sys_event_create();
    }
    if (keeper->poll < 0 || keeper->event < 0 ||
        aee__sys_poll_add(keeper->poll, keeper->event, OWN_EVENT) != 0) {
        return aee__fail_os(error, errno, "cannot watch processes");
    }
    return aee__thread_start(&keeper->thread, "aee-cells", run, keeper, error);
}

void aee__keeper_stop(struct aee__backend *backend)
{
    struct aee__keeper *keeper = &backend->keeper;
    if (keeper->thread.running) {
        (void)pthread_mutex_lock(&keeper->lock);
        keeper->stop = true;
        (void)pthread_mutex_unlock(&keeper->lock);
        aee__sys_event_set(keeper->event);
        aee__thread_join(&keeper->thread);
    }
    (void)aee__sys_close(keeper->poll);
    (void)aee__sys_close(keeper->event);
    (void)pthread_cond_destroy(&keeper->done);
    (void)pthread_mutex_destroy(&keeper->lock);
}

/* ---- For other threads -------------------------------------------------------------------- */

aee_result aee__keeper_spawn(struct aee__vm *vm, int peer, aee_error *error)
{
    struct aee__keeper *keeper = &vm->backend->keeper;
    struct aee__spawn request = {.vm = vm, .peer = peer};
    (void)pthread_mutex_lock(&keeper->lock);
    request.next = keeper->requests;
    keeper->requests = &request;
    aee__sys_event_set(keeper->event);
    while (!request.done) {
        (void)pthread_cond_wait(&keeper->done, &keeper->lock);
    }
    (void)pthread_mutex_unlock(&keeper->lock);
    return request.error == 0 ? AEE_OK
                              : aee__fail_os(error, request.error, "cannot start a cell's process");
}

void aee__keeper_bury(struct aee__vm *vm)
{
    struct aee__keeper *keeper = &vm->backend->keeper;
    if (!vm->started) {
        return;
    }
    (void)pthread_mutex_lock(&keeper->lock);
    bool reaped = vm->reaped;
    struct aee__vm **at = &keeper->living;
    while (*at != vm) {
        at = &(*at)->next;
    }
    *at = vm->next;
    (void)pthread_mutex_unlock(&keeper->lock);
    if (!reaped) {
        aee__sys_poll_remove(keeper->poll, vm->process.pidfd);
        (void)aee__sys_process_kill(vm->process.pidfd);
        aee__sys_process_reap(vm->process.pidfd);
    }
    (void)aee__sys_close(vm->process.pidfd);
    vm->started = false;
}
