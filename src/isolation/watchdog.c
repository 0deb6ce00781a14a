#include "isolation/watchdog.h"

#include "base/clock.h"
#include "base/sys.h"

/* While a watch is armed, the thread looks at least this often instead of waiting to be told:
 * arming a later deadline is then free of system calls. */
#define LOOK_NS UINT64_C(4000000)

/* How long before a deadline approach() is asked: two looks, as each may come late. */
#define AHEAD_NS (2 * LOOK_NS)
/* Nearer than this it is not asked again: what it arranged stays. */
#define NEAR_NS UINT64_C(400000)
/* When things end without us we look only afterwards, to be in nobody's way. */
#define BACKSTOP_NS UINT64_C(500000)

/* A deadline that is to come. Who is called again and again has a later one long before the first
 * is near: we come again in between, so that what approach() arranged is moved on. */
static uint64_t look_ahead(struct aee__watch *watch, uint64_t now, uint64_t deadline)
{
    uint64_t left = deadline - now;
    if (left > AHEAD_NS || !watch->approach || !watch->approach(watch)) {
        return deadline;
    }
    return left > NEAR_NS ? deadline - left / 4 : deadline + BACKSTOP_NS;
}

/* One watch; when it wants the next look, or UINT64_MAX. */
static uint64_t look_at(struct aee__watch *watch, uint64_t now)
{
    uint64_t deadline = atomic_load(&watch->deadline_ns);
    if (deadline == 0) {
        return UINT64_MAX;
    }
    if (deadline <= now &&
        !atomic_compare_exchange_strong(&watch->deadline_ns, &deadline, AEE__WATCH_EXPIRED)) {
        return now + LOOK_NS; /* armed anew at the last moment */
    }
    if (deadline > now && deadline != AEE__WATCH_EXPIRED) {
        return look_ahead(watch, now, deadline);
    }
    watch->expire(watch);
    deadline = atomic_load(&watch->deadline_ns);
    /* Again after a while if it still has not left: a kick can be lost, signal queues have limits.
     */
    return deadline == AEE__WATCH_EXPIRED ? now + LOOK_NS : deadline ? deadline : UINT64_MAX;
}

/* Expires what is due; the earliest deadline that is left, or UINT64_MAX. */
static uint64_t look(struct aee__watchdog *watchdog)
{
    uint64_t now = aee__now_ns();
    uint64_t earliest = UINT64_MAX;
    (void)pthread_mutex_lock(&watchdog->lock);
    for (struct aee__watch *watch = watchdog->watches; watch; watch = watch->next) {
        uint64_t next = look_at(watch, now);
        earliest = next < earliest ? next : earliest;
    }
    (void)pthread_mutex_unlock(&watchdog->lock);
    return earliest;
}

/* One turn: publish when we look next, look, sleep. A watch that is armed before the publication is
 * seen by the look; one that is armed later sees the publication and tells us when it is earlier.
 */
static void turn(struct aee__watchdog *watchdog)
{
    uint32_t told = atomic_load(&watchdog->told);
    uint64_t next = aee__now_ns() + LOOK_NS;
    atomic_store(&watchdog->wake_ns, next);
    uint64_t earliest = look(watchdog);
    if (earliest == UINT64_MAX) {
        atomic_store(&watchdog->wake_ns, UINT64_MAX);
        earliest = look(watchdog); /* for what was armed before that store */
        next = UINT64_MAX;
    }
    if (earliest < next) {
        next = earliest;
        atomic_store(&watchdog->wake_ns, next);
    }
    if (!atomic_load(&watchdog->stopping)) {
        aee__sys_futex_wait(&watchdog->told, told, next == UINT64_MAX ? 0 : next);
    }
}

static void *run(void *argument)
{
    struct aee__watchdog *watchdog = argument;
    aee__sys_fine_timers();
    aee__sys_urgent_thread(); /* for microseconds at a time; what it stops may have all cores */
    while (!atomic_load(&watchdog->stopping)) {
        turn(watchdog);
    }
    return NULL;
}

aee_result aee__watchdog_start(struct aee__watchdog *watchdog, aee_error *error)
{
    watchdog->watches = NULL;
    atomic_init(&watchdog->wake_ns, UINT64_MAX);
    atomic_init(&watchdog->told, 0);
    atomic_init(&watchdog->stopping, false);
    (void)pthread_mutex_init(&watchdog->lock, NULL);
    return aee__thread_start(&watchdog->thread, "aee-watchdog", run, watchdog, error);
}

static void tell(struct aee__watchdog *watchdog)
{
    (void)atomic_fetch_add(&watchdog->told, 1);
    aee__sys_futex_wake_all(&watchdog->told);
}

void aee__watchdog_stop(struct aee__watchdog *watchdog)
{
    atomic_store(&watchdog->stopping, true);
    tell(watchdog);
    aee__thread_join(&watchdog->thread);
    (void)pthread_mutex_destroy(&watchdog->lock);
}

void aee__watchdog_add(struct aee__watchdog *watchdog, struct aee__watch *watch)
{
    (void)pthread_mutex_lock(&watchdog->lock);
    watch->previous = NULL;
    watch->next = watchdog->watches;
    if (watch->next) {
        watch->next->previous = watch;
    }
    watchdog->watches = watch;
    (void)pthread_mutex_unlock(&watchdog->lock);
}

void aee__watchdog_remove(struct aee__watchdog *watchdog, struct aee__watch *watch)
{
    (void)pthread_mutex_lock(&watchdog->lock);
    if (watch->next) {
        watch->next->previous = watch->previous;
    }
    if (watch->previous) {
        watch->previous->next = watch->next;
    } else {
        watchdog->watches = watch->next;
    }
    (void)pthread_mutex_unlock(&watchdog->lock);
}

void aee__watchdog_arm(struct aee__watchdog *watchdog, struct aee__watch *watch,
                       uint64_t deadline_ns)
{
    atomic_store(&watch->deadline_ns, deadline_ns);
    if (deadline_ns < atomic_load(&watchdog->wake_ns)) {
        tell(watchdog);
    }
}

void aee__watch_postpone(struct aee__watch *watch, uint64_t deadline_ns)
{
    uint64_t expired = AEE__WATCH_EXPIRED;
    (void)atomic_compare_exchange_strong(&watch->deadline_ns, &expired, deadline_ns);
}

bool aee__watch_expired(const struct aee__watch *watch)
{
    return atomic_load_explicit(&watch->deadline_ns, memory_order_relaxed) == AEE__WATCH_EXPIRED;
}
