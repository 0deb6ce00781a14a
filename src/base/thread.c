#include "base/thread.h"

#include <errno.h>
#include <signal.h>

#ifdef AEE_TESTING
#include "base/sys.h"
#define FAULT() (aee__sys_fault ? aee__sys_fault("pthread_create") : 0)
#else
#define FAULT() 0
#endif

aee_result aee__thread_start(struct aee__thread *thread, const char *name,
                             void *(*function)(void *), void *argument, aee_error *error)
{
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old); /* inherited by the new thread */
    int status = FAULT();
    if (status == 0) {
        status = pthread_create(&thread->handle, NULL, function, argument);
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    thread->running = status == 0;
    if (status != 0) {
        return aee__fail_os(error, status, "cannot start thread \"%s\"", name);
    }
    (void)pthread_setname_np(thread->handle, name);
    return AEE_OK;
}

void aee__thread_join(struct aee__thread *thread)
{
    if (thread->running) {
        (void)pthread_join(thread->handle, NULL);
        thread->running = false;
    }
}
