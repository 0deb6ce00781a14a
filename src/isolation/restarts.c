#include "isolation/restarts.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "isolation/lifecycle.h"

#define NS_PER_MS UINT64_C(1000000)

/* ---- The wait ----------------------------------------------------------------------------- */

uint64_t aee__restart_wait(struct aee__context *context, uint64_t now_ns, uint64_t least_ns)
{
    uint64_t wait = context->core->recovery->backoff(&context->history, &context->limits,
                                                     &context->recovery, now_ns);
    wait = wait > least_ns ? wait : least_ns;
    context->restart_due_ns = now_ns + wait;
    return wait;
}

bool aee__restart_is_wanted(const struct aee__context *context)
{
    return context->state == AEE_STATE_RESTARTING && !context->awaits_supervisor && !context->dying;
}

bool aee__restart_is_due(const struct aee__context *context)
{
    return aee__restart_is_wanted(context) && aee__now_ns() >= context->restart_due_ns;
}

void aee__restart_settled(struct aee__context *context)
{
    context->awaits_supervisor = false;
    context->restart_due_ns = 0;
    context->rises_with[0] = '\0';
}

/* With the lock held: who destroys the context hastens the job when the lock says that it is dying,
 * so that it cannot come to wait after that. */
static void post_restart(struct aee__context *context, uint64_t due_ns, bool quietly)
{
    struct aee__core *core = context->core;
    struct aee__job *job = &context->restart_job;
    aee__handles_ref(&core->contexts, context->handle);
    bool fresh = !context->dying && due_ns > 0
                     ? aee__housekeeper_post_at(&core->restarter, job, due_ns, quietly)
                 : quietly ? aee__housekeeper_post_quietly(&core->restarter, job)
                           : aee__housekeeper_post(&core->restarter, job);
    if (!fresh) { /* it is queued already, with a reference of its own */
        aee__handles_release(&core->contexts, context->handle);
    }
}

static void post_group(struct aee__context *context, bool quietly)
{
    struct aee__core *core = context->core;
    aee__handles_ref(&core->contexts, context->handle);
    if (!(quietly ? aee__housekeeper_post_quietly(&core->restarter, &context->group_job)
                  : aee__housekeeper_post(&core->restarter, &context->group_job))) {
        aee__handles_release(&core->contexts, context->handle);
    }
}

void aee__restart_schedule(struct aee__context *context, uint64_t wait_ns, bool quietly)
{
    if (wait_ns > 0) {
        aee__context_event(context, AEE_EVENT_RESTARTING, 0,
                           "context \"%s\": waits %llu.%03llu ms for its restart", context->name,
                           (unsigned long long)(wait_ns / NS_PER_MS),
                           (unsigned long long)(wait_ns % NS_PER_MS / 1000));
    }
    (void)pthread_mutex_lock(&context->lock);
    if (context->fell) { /* they go down first */
        post_group(context, quietly);
    }
    post_restart(context, wait_ns > 0 ? context->restart_due_ns : 0, quietly);
    (void)pthread_mutex_unlock(&context->lock);
}

bool aee__restart_put_off(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    bool early = aee__restart_is_wanted(context) && !aee__restart_is_due(context);
    if (early) {
        post_restart(context, context->restart_due_ns, false);
    }
    (void)pthread_mutex_unlock(&context->lock);
    return early;
}

const char *aee__restart_how(struct aee__context *context, const char *how, char *buffer,
                             size_t size)
{
    (void)pthread_mutex_lock(&context->lock);
    bool alone = context->rises_with[0] == '\0';
    if (!alone) {
        (void)snprintf(buffer, size, "with its supervisor \"%s\", %s", context->rises_with, how);
    }
    (void)pthread_mutex_unlock(&context->lock);
    return alone ? how : buffer;
}

/* ---- Supervisors -------------------------------------------------------------------------- */

void aee__group_falls(struct aee__context *context)
{
    context->fell = context->recovery.supervision == AEE_SUPERVISE_ALL_FOR_ONE;
}

void aee__group_changed(struct aee__context *context)
{
    if (context->recovery.supervision == AEE_SUPERVISE_ALL_FOR_ONE) {
        post_group(context, false);
    }
}

void aee__group_stops(struct aee__context *context)
{
    (void)pthread_mutex_lock(&context->lock);
    aee__group_changed(context);
    (void)pthread_mutex_unlock(&context->lock);
}

/* What a visit to the members of a group goes by: their supervisor as it was when it began. When
 * that changes meanwhile the job is queued again. */
struct group {
    const struct aee__context *supervisor;
    bool falls;      /* it crashed since the last visit */
    bool together;   /* its members wait for it */
    aee_state state; /* its own */
};

/* What a member's visit leaves to be done without its lock. */
struct visit {
    struct aee__instance *instance; /* that was current */
    bool down;
    bool stopped; /* until the supervisor is released */
    bool restart;
};

/* With the member's lock held. Whoever is stopped, in quarantine or empty stays so. */
static void take_down(struct aee__context *member, struct visit *visit)
{
    if (member->dying || member->awaits_supervisor ||
        (member->state != AEE_STATE_READY && member->state != AEE_STATE_RESTARTING)) {
        return;
    }
    visit->down = true;
    visit->instance = aee__life_detach(member, AEE_STATE_RESTARTING);
    member->awaits_supervisor = true;
    aee__group_falls(member);
    aee__group_changed(member);
}

/* With the member's lock held: it waits for its supervisor, and that one may be back. */
static void look_up(struct aee__context *member, const struct group *group, struct visit *visit)
{
    bool gone = !group->together;
    aee_state before = member->state;
    if (gone || group->state == AEE_STATE_READY) {
        (void)aee__life_detach(member, AEE_STATE_RESTARTING);
        if (!gone) {
            memcpy(member->rises_with, group->supervisor->name, sizeof member->rises_with);
        }
        visit->restart = true;
    } else if (group->state != AEE_STATE_RESTARTING && before == AEE_STATE_RESTARTING) {
        (void)aee__life_detach(member, AEE_STATE_STOPPED);
        member->awaits_supervisor = true;
        visit->stopped = true;
    } else if (group->state == AEE_STATE_RESTARTING && before == AEE_STATE_STOPPED) {
        (void)aee__life_detach(member, AEE_STATE_RESTARTING);
        member->awaits_supervisor = true;
    }
    if (member->state != before) {
        aee__group_changed(member);
    }
}

static void finish_visit(struct aee__context *member, const struct group *group,
                         const struct visit *visit)
{
    if (visit->down) {
        aee__context_event(member, AEE_EVENT_RESTARTING, 0,
                           "context \"%s\": down with its supervisor \"%s\"", member->name,
                           group->supervisor->name);
    }
    if (visit->stopped) {
        aee__context_event(member, AEE_EVENT_STOPPED, 0,
                           "context \"%s\": stopped until its supervisor \"%s\" is back",
                           member->name, group->supervisor->name);
    }
    if (visit->instance || visit->stopped) {
        aee__call_queue_flush(&member->queue, &member->core->batches, AEE_ERR_STOPPED);
    }
    aee__life_discard(visit->instance);
    if (visit->restart) {
        aee__restart_schedule(member, 0, false);
    }
}

static void visit_member(void *user, uint64_t handle, void *object)
{
    const struct group *group = user;
    struct aee__context *member = object;
    struct visit visit = {0};
    (void)handle;
    (void)pthread_mutex_lock(&member->lock);
    if (member->recovery.supervisor.id == group->supervisor->handle) {
        if (group->falls && group->together) {
            take_down(member, &visit);
        }
        if (member->awaits_supervisor && !member->dying) {
            look_up(member, group, &visit);
        }
    }
    (void)pthread_mutex_unlock(&member->lock);
    finish_visit(member, group, &visit);
}

static void group_job(struct aee__job *job)
{
    struct aee__context *context =
        (struct aee__context *)((char *)job - offsetof(struct aee__context, group_job));
    struct aee__core *core = context->core;
    uint64_t handle = context->handle;
    (void)pthread_mutex_lock(&context->lock);
    struct group group = {.supervisor = context,
                          .falls = context->fell,
                          .together = context->recovery.supervision == AEE_SUPERVISE_ALL_FOR_ONE &&
                                      !context->dying,
                          .state = context->state};
    context->fell = false;
    (void)pthread_mutex_unlock(&context->lock);
    aee__handles_each(&core->contexts, visit_member, &group);
    aee__handles_release(&core->contexts, handle);
}

void aee__restarts_init(struct aee__context *context)
{
    context->group_job.run = group_job;
}

/* Whoever waits for a supervisor that is not its own any more comes back alone. */
void aee__restarts_configure(struct aee__context *context, const aee_recovery_desc *desc)
{
    (void)pthread_mutex_lock(&context->lock);
    bool alone =
        context->awaits_supervisor && context->recovery.supervisor.id != desc->supervisor.id;
    bool regroup = context->recovery.supervision != desc->supervision;
    context->recovery = *desc;
    if (alone) {
        (void)aee__life_detach(context, AEE_STATE_RESTARTING);
        aee__group_changed(context);
    }
    if (regroup) {
        post_group(context, false);
    }
    (void)pthread_mutex_unlock(&context->lock);
    if (alone) {
        aee__restart_schedule(context, 0, false);
    }
}
