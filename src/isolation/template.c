#include "isolation/template.h"

#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "isolation/context.h"
#include "isolation/machine.h"

/* For a lane's way to its first park, which is some hundred instructions of ours. */
#define PARK_NS AEE__NS_PER_SECOND

/* ---- Spare forks -------------------------------------------------------------------------- */

/* The copy, where it is shared, goes with the last memory. */
static void destroy(struct aee__spare_fork *spare)
{
    spare->core->ops->vm_destroy(spare->vm);
    aee__memory_destroy(&spare->memory);
    aee__alloc_free(&spare->core->alloc, spare, sizeof *spare);
}

static void free_job(struct aee__job *job)
{
    destroy((struct aee__spare_fork *)((char *)job - offsetof(struct aee__spare_fork, free_job)));
}

/* Where it may take its time. */
static void discard(struct aee__spare_fork *spare)
{
    while (spare) {
        struct aee__spare_fork *next = spare->next; /* it may be gone as soon as it is posted */
        (void)aee__housekeeper_post(&spare->core->housekeeper, &spare->free_job);
        spare = next;
    }
}

struct parking {
    struct aee__watch watch;
    const struct aee__spare_fork *spare;
    uint32_t lane;
};

static void kick(struct aee__watch *watch)
{
    const struct parking *parking =
        (const struct parking *)((const char *)watch - offsetof(struct parking, watch));
    const struct aee__spare_fork *spare = parking->spare;
    spare->core->ops->lane_kick(spare->vm, parking->lane);
}

/* What runs is ours, and the component's memory is not looked at; but the host may fail. */
static bool park(const struct aee__spare_fork *spare, uint32_t lane)
{
    struct aee__core *core = spare->core;
    struct parking parking = {.watch.expire = kick, .spare = spare, .lane = lane};
    uint64_t deadline = aee__now_ns() + PARK_NS;
    struct aee__exit exit;
    aee__watchdog_add(&core->watchdog, &parking.watch);
    aee__watchdog_arm(&core->watchdog, &parking.watch, deadline);
    do {
        core->ops->lane_run(spare->vm, lane, &exit);
    } while (exit.kind == AEE__EXIT_KICKED && aee__now_ns() < deadline);
    aee__watchdog_remove(&core->watchdog, &parking.watch);
    return exit.kind == AEE__EXIT_HYPERCALL && exit.hypercall == AEE_HC_PARK;
}

/* Runs each lane until it waits for its first call. Not where the processor has nested page tables:
 * there the first entry is cheap, and a Linux before 6.13 lets another thread's first entry wait
 * for a grace period of RCU, which is milliseconds. */
static aee_result park_all(struct aee__spare_fork *spare, aee_error *error)
{
    struct aee__core *core = spare->core;
    bool parked = true;
    sigset_t mask;
    if (core->ops->nested_paging && core->ops->nested_paging(core->backend)) {
        return AEE_OK;
    }
    (void)aee__sys_block_signal(core->kick_signal, &mask);
    for (uint32_t lane = 0; lane < spare->plan.lanes && parked; lane++) {
        struct aee__gva gva = {AEE_GVA_LANES + lane * AEE_LANE_STRIDE};
        struct aee_abi_lane *shared = aee__memory_at(&spare->memory, gva, AEE_LANE_STRIDE);
        shared->control.lane_index = lane;
        parked = park(spare, lane);
    }
    (void)aee__sys_restore_mask(&mask);
    spare->parked = parked;
    return parked ? AEE_OK : aee__fail(error, AEE_ERR_SYSTEM, "a lane did not come to its park");
}

static aee_result make(struct aee__core *core, struct aee__frozen *frozen,
                       struct aee__spare_fork **out, aee_error *error)
{
    struct aee__spare_fork *spare = aee__alloc_zero(&core->alloc, 1, sizeof *spare);
    *out = NULL;
    if (!spare) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "out of memory");
    }
    spare->core = core;
    spare->plan = frozen->plan;
    spare->free_job.run = free_job;
    aee_result result = aee__frozen_thaw(frozen, &spare->memory, error);
    if (result == AEE_OK) {
        result = aee__machine_make(core, &spare->memory, &spare->plan, &spare->vm, error);
    }
    if (result == AEE_OK) {
        result = aee__machine_seal(core, spare->vm, NULL, error);
    }
    if (result == AEE_OK) {
        result = park_all(spare, error);
    }
    if (result != AEE_OK) {
        destroy(spare);
        return result;
    }
    *out = spare;
    return AEE_OK;
}

/* ---- With the context's lock held --------------------------------------------------------- */

static bool has_ended(const struct aee__spare_fork *spare)
{
    const struct aee__backend_ops *ops = spare->core->ops;
    return ops->vm_has_ended && ops->vm_has_ended(spare->vm);
}

/* One whose machine is alive, or NULL. */
static struct aee__spare_fork *pop(struct aee__template *template)
{
    struct aee__spare_fork *spare;
    while ((spare = template->spares) != NULL) {
        template->spares = spare->next;
        template->spare_count--;
        spare->next = NULL;
        if (!has_ended(spare)) {
            break;
        }
        discard(spare);
    }
    return spare;
}

/* As many as `spares` says. Without it one, where it costs little, for who forks again and again.
 */
static uint32_t wanted(const struct aee__context *context)
{
    bool shared = !context->core->ops->vm_map;
    return context->limits.spares > 0 ? context->limits.spares
                                      : (shared && context->template.forks > 1);
}

static bool is_wanting(const struct aee__context *context)
{
    const struct aee__template *template = &context->template;
    return template->frozen && !atomic_load(&context->template_spent) && !template->failed &&
           !context->dying && context->state == AEE_STATE_READY &&
           template->spare_count < wanted(context);
}

/* ---- Forks -------------------------------------------------------------------------------- */

/* With the lock held: what the next fork begins with, if that is still so. */
static bool take(struct aee__context *context, const struct aee__instance *instance, uint64_t age,
                 struct aee__start *start)
{
    struct aee__template *template = &context->template;
    if (!template->frozen || atomic_load(&context->template_spent) ||
        template->machine != instance->machine || template->age != age) {
        return false;
    }
    start->frozen = aee__frozen_take(template->frozen);
    start->spare = pop(template);
    template->forks++;
    return true;
}

static void release(const struct aee__template *old)
{
    discard(old->spares);
    aee__frozen_release(old->frozen);
}

/* The next call of the instance finds out that it was copied. */
static aee_result freeze(struct aee__context *context, struct aee__instance *instance, uint64_t age,
                         struct aee__start *start, aee_error *error)
{
    struct aee__template copy = {.machine = instance->machine, .age = age, .forks = 1};
    aee_result result = aee__frozen_create(&context->core->alloc, &instance->memory,
                                           &instance->plan, &copy.frozen, error);
    if (result != AEE_OK) {
        return result;
    }
    start->frozen = aee__frozen_take(copy.frozen);
    (void)pthread_mutex_lock(&context->lock);
    struct aee__template old = context->template;
    context->template = copy;
    atomic_store(&context->template_spent, atomic_load(&context->current) != instance);
    (void)pthread_mutex_unlock(&context->lock);
    release(&old);
    atomic_store(&instance->copied, true);
    atomic_store(&instance->clock_frame, 0);
    return AEE_OK;
}

aee_result aee__template_take(struct aee__context *context, struct aee__instance *instance,
                              struct aee__start *start, aee_error *error)
{
    uint64_t age = aee__instance_age(instance);
    *start = (struct aee__start){0};
    (void)pthread_mutex_lock(&context->lock);
    bool taken = take(context, instance, age, start);
    (void)pthread_mutex_unlock(&context->lock);
    aee_result result = taken ? AEE_OK : freeze(context, instance, age, start, error);
    atomic_store(&context->core->templates_wanting, true);
    return result;
}

void aee__start_release(struct aee__start *start)
{
    discard(start->spare);
    aee__frozen_release(start->frozen);
    *start = (struct aee__start){0};
}

void aee__spare_fork_move(struct aee__spare_fork *spare, struct aee__vm **vm,
                          struct aee__memory *memory)
{
    *vm = spare->vm;
    *memory = spare->memory;
    spare->vm = NULL;
    memset(&spare->memory, 0, sizeof spare->memory);
    spare->memory.fd = -1;
}

/* ---- The end of a copy -------------------------------------------------------------------- */

static void outdate(struct aee__context *context)
{
    atomic_store(&context->template_spent, true);
    atomic_store(&context->core->templates_wanting, true);
    aee__housekeeper_poke(&context->core->housekeeper);
}

void aee__template_outdate(struct aee__context *context)
{
    if (context->template.frozen) {
        outdate(context);
    }
}

void aee__template_pass(struct aee__instance *instance)
{
    if (atomic_load_explicit(&instance->copied, memory_order_relaxed) &&
        atomic_exchange(&instance->copied, false)) {
        outdate(instance->context);
    }
}

void aee__template_end(struct aee__context *context)
{
    release(&context->template);
    context->template = (struct aee__template){0};
}

/* ---- On the housekeeper's thread ---------------------------------------------------------- */

struct search {
    struct aee__core *core;
    struct aee__context *found;
    struct aee__frozen *frozen; /* to make one of; NULL: it is of no use any more */
};

static void find(void *user, uint64_t handle, void *object)
{
    struct search *search = user;
    struct aee__context *context = object;
    if (search->found) {
        return;
    }
    (void)pthread_mutex_lock(&context->lock);
    bool wanting = is_wanting(context);
    if (wanting || (atomic_load(&context->template_spent) && context->template.frozen)) {
        search->frozen = wanting ? aee__frozen_take(context->template.frozen) : NULL;
        search->found = context;
        aee__handles_ref(&search->core->contexts, handle);
    }
    (void)pthread_mutex_unlock(&context->lock);
}

/* Unless it was copied anew meanwhile. */
static void forget_spent(struct aee__context *context)
{
    struct aee__template old = {0};
    (void)pthread_mutex_lock(&context->lock);
    if (atomic_load(&context->template_spent)) {
        old = context->template;
        context->template = (struct aee__template){0};
    }
    (void)pthread_mutex_unlock(&context->lock);
    release(&old);
}

static void add_one(struct aee__context *context, struct aee__frozen *frozen)
{
    struct aee__spare_fork *spare;
    aee_error error = {0};
    aee_result result = make(context->core, frozen, &spare, &error);
    (void)pthread_mutex_lock(&context->lock);
    struct aee__template *template = &context->template;
    bool same = template->frozen == frozen; /* `frozen` is referred to: it is no other one */
    if (same && spare && is_wanting(context)) {
        spare->next = template->spares;
        template->spares = spare;
        template->spare_count++;
        spare = NULL;
    }
    bool failed = same && result != AEE_OK;
    template->failed = template->failed || failed;
    (void)pthread_mutex_unlock(&context->lock);
    discard(spare);
    if (failed) {
        aee__context_event(context, AEE_EVENT_SPARE_FAILED, 0,
                           "context \"%s\": no forks are made ahead until it changes: %s",
                           context->name, error.text);
    }
}

bool aee__templates_look_after_one(struct aee__core *core)
{
    struct search search = {.core = core};
    if (!atomic_exchange(&core->templates_wanting, false)) {
        return false;
    }
    aee__handles_each(&core->contexts, find, &search);
    if (!search.found) {
        return false;
    }
    atomic_store(&core->templates_wanting, true); /* this one again, or others */
    uint64_t handle = search.found->handle;
    if (search.frozen) {
        add_one(search.found, search.frozen);
        aee__frozen_release(search.frozen);
    } else {
        forget_spent(search.found);
    }
    aee__handles_release(&core->contexts, handle);
    return true;
}
