/* keeper.c: the thread that starts cells and learns of their ends. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

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

void aee__keeper_describe_end(const struct aee__vm *vm, char *text, size_t size)
{
    int signal = vm->reason & 0x7f;
    if (signal != 0) {
        (void)snprintf(text, size, "its process was ended by SIG%s%s", sigabbrev_np(signal),
                       signal == SIGKILL ? ": out of memory, or from outside" : "");
    } else {
        (void)snprintf(text, size, "its process ended with status %d", vm->reason >> 8);
    }
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
    (void)aee__sys_process_reap(vm->process.pidfd, &vm->reason);
    aee__sys_poll_remove(keeper->poll, vm->process.pidfd);
    atomic_store(&vm->ended, true);
    aee__cell_ring_bells(vm);
    if (vm->notice) {
        char how[96];
        aee__keeper_describe_end(vm, how, sizeof how);
        vm->notice(vm->notice_user, how);
    }
}

static void *run(void *argument)
{
    struct aee__keeper *keeper = argument;
    bool stop = false;
    while (!stop) {
        uint64_t id;
        int result = aee__sys_poll_wait(keeper->poll, &id);
        (void)pthread_mutex_lock(&keeper->lock);
        if (result == 0 && id == OWN_EVENT) {
            serve_requests(keeper);
        } else if (result == 0) {
            note_end(keeper, id);
        }
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
        (void)aee__sys_process_reap(vm->process.pidfd, NULL);
    }
    (void)aee__sys_close(vm->process.pidfd);
    vm->started = false;
}
