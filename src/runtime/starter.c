#include "runtime/starter.h"

enum state { ASKED, UNDER_WAY, BEGUN, REFUSED, ANSWERED };

/* On the stack of the thread that asks. */
struct aee__start {
    struct aee__starter *starter;
    struct aee__thread *thread;
    const char *name;
    const struct aee__jail *jail;
    void *(*function)(void *);
    void *argument;
    aee_error *error;
    aee_result result; /* of the jail, by the new thread; else by the starter */
    enum state state;  /* under the starter's lock */
};

static void set_state(struct aee__start *start, enum state state)
{
    struct aee__starter *starter = start->starter;
    (void)pthread_mutex_lock(&starter->lock);
    start->state = state;
    (void)pthread_cond_broadcast(&starter->changed);
    (void)pthread_mutex_unlock(&starter->lock);
}

/* The new thread. After it has told, `start` is not there any more. */
static void *begin(void *argument)
{
    struct aee__start *start = argument;
    void *(*function)(void *) = start->function;
    void *function_argument = start->argument;
    bool jailed = true;
    if (start->jail) {
        start->result = aee__jail_enter(start->jail, start->error);
        jailed = start->result == AEE_OK;
    }
    set_state(start, jailed ? BEGUN : REFUSED);
    return jailed ? function(function_argument) : NULL;
}

/* With the lock held at both ends. */
static void serve(struct aee__starter *starter, struct aee__start *start)
{
    start->state = UNDER_WAY;
    (void)pthread_mutex_unlock(&starter->lock);
    aee_result made = aee__thread_start(start->thread, start->name, begin, start, start->error);
    (void)pthread_mutex_lock(&starter->lock);
    while (made == AEE_OK && start->state == UNDER_WAY) {
        (void)pthread_cond_wait(&starter->changed, &starter->lock);
    }
    if (made != AEE_OK) {
        start->result = made;
    } else if (start->state == REFUSED) {
        aee__thread_join(start->thread);
    }
    start->state = ANSWERED;
    starter->start = NULL;
    (void)pthread_cond_broadcast(&starter->changed);
}

static void *run(void *argument)
{
    struct aee__starter *starter = argument;
    (void)pthread_mutex_lock(&starter->lock);
    while (!starter->stopping) {
        if (starter->start) {
            serve(starter, starter->start);
        } else {
            (void)pthread_cond_wait(&starter->changed, &starter->lock);
        }
    }
    (void)pthread_mutex_unlock(&starter->lock);
    return NULL;
}

aee_result aee__starter_open(struct aee__starter *starter, aee_error *error)
{
    *starter = (struct aee__starter){0};
    (void)pthread_mutex_init(&starter->turn, NULL);
    (void)pthread_mutex_init(&starter->lock, NULL);
    (void)pthread_cond_init(&starter->changed, NULL);
    return aee__thread_start(&starter->thread, "aee-starter", run, starter, error);
}

void aee__starter_close(struct aee__starter *starter)
{
    (void)pthread_mutex_lock(&starter->lock);
    starter->stopping = true;
    (void)pthread_cond_broadcast(&starter->changed);
    (void)pthread_mutex_unlock(&starter->lock);
    aee__thread_join(&starter->thread);
    (void)pthread_cond_destroy(&starter->changed);
    (void)pthread_mutex_destroy(&starter->lock);
    (void)pthread_mutex_destroy(&starter->turn);
}

aee_result aee__starter_start(struct aee__starter *starter, struct aee__thread *thread,
                              const char *name, const struct aee__jail *jail,
                              void *(*function)(void *), void *argument, aee_error *error)
{
    struct aee__start start = {.starter = starter,
                               .thread = thread,
                               .name = name,
                               .jail = jail,
                               .function = function,
                               .argument = argument,
                               .error = error,
                               .state = ASKED};
    (void)pthread_mutex_lock(&starter->turn);
    (void)pthread_mutex_lock(&starter->lock);
    starter->start = &start;
    (void)pthread_cond_broadcast(&starter->changed);
    while (start.state != ANSWERED) {
        (void)pthread_cond_wait(&starter->changed, &starter->lock);
    }
    (void)pthread_mutex_unlock(&starter->lock);
    (void)pthread_mutex_unlock(&starter->turn);
    return start.result;
}
