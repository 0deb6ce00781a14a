/* context.h: a named place for a component: its image, limits, grants, region mappings, statistics,
 * and the instance that is current. Keeps its handle while instances come and go.
 *
 * Life-cycle operations (load, restart, stop, destroy, limits) happen one at a time:
 * `in_operation`. The lock is short and never held while a component runs. */
#ifndef AEE_ISOLATION_CONTEXT_H
#define AEE_ISOLATION_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>

#include "ept/region.h"
#include "isolation/batch.h"
#include "isolation/core.h"
#include "isolation/crash_record.h"
#include "isolation/guest_clock.h"
#include "isolation/instance.h"
#include "isolation/rates.h"
#include "isolation/template.h"
#include "monitor/histogram.h"

/* A region that the context may see; kept across restarts. */
struct aee__mapping {
    const struct aee__region *region; /* the engine revokes it before it destroys the region */
    uint32_t writable;
};

#define AEE__MAPPINGS_MAX 64u
#define AEE__SPARES_MAX 4u

/* What a crash report says of a region: a copy, because the region may go away. */
struct aee__region_view {
    char name[AEE_NAME_MAX];
    uint32_t writable;
};

struct aee__context_stats {
    /* The first four are of instances that are gone: lanes count their own. */
    _Atomic uint64_t calls;
    _Atomic uint64_t failed_calls;
    _Atomic uint64_t host_calls;
    _Atomic uint64_t cpu_ticks;
    _Atomic uint64_t crashes;
    _Atomic uint64_t hangs;
    _Atomic uint64_t restarts;
    _Atomic uint64_t exits;
    _Atomic uint64_t checkpoints;
    _Atomic uint64_t checkpoint_at_ns; /* of the last; 0: none */
    _Atomic uint64_t checkpoint_ns;    /* what it took */
    _Atomic uint64_t restores;
    _Atomic uint32_t mode_now; /* aee_call_mode of the last call */
    struct aee__histogram latency;
};

struct aee__context {
    struct aee__core *core;
    uint64_t handle;
    char name[AEE_NAME_MAX];
    aee_kind kind;
    aee_call_mode mode;
    void *user;
    struct aee__grants grants;
    struct aee__context_stats stats;
    struct aee__job restart_job; /* holds a reference to the handle while queued */
    struct aee__job group_job;   /* the same: those it supervises are looked at */
    struct aee__call_queue queue;
    struct aee__crash_keep keep; /* for reports */

    /* What a call looks at without the lock. */
    _Atomic(struct aee__instance *) current; /* takes calls; NULL unless state is READY */
    _Atomic uint64_t budget_ns;              /* limits.call_budget_ns */
    _Atomic uint32_t zombies;                /* instances that only wait for lanes' owners */
    _Atomic uint32_t waiters;                /* threads that wait for a lane */
    _Atomic uint32_t lanes_freed;            /* futex: they should look again */
    _Atomic bool keeps_calls; /* those of an instance that crashed may wait for the next one */
    struct aee__rates rates;
    struct aee__guest_clock clock;
    _Atomic uint64_t idempotent[AEE__IMAGE_MAX_EXPORTS / 64]; /* exports, one bit each */

    pthread_mutex_t lock;
    pthread_cond_t changed;         /* state, paused */
    aee_state state;                /* never AEE_STATE_PAUSED: that is READY and paused */
    _Atomic bool paused;            /* written under the lock, read without */
    bool in_operation;              /* a life-cycle operation is under way */
    bool dying;                     /* being destroyed: no restart any more */
    bool spares_failed;             /* none are built until the next load or change of limits */
    aee_limits limits;              /* complete: no zero fields */
    struct aee__image_ref *image;   /* NULL until the first load */
    struct aee__instance *living;   /* all that can still run, current or not */
    struct aee__instance *shells;   /* objects of instances that are gone, to be used again */
    struct aee__instance *building; /* sees region changes while its initialisers run */
    struct aee__instance *spares[AEE__SPARES_MAX]; /* see region changes too */
    uint32_t spare_count;
    uint32_t operations_waiting; /* life-cycle operations that wait for their turn */
    struct aee__mapping mappings[AEE__MAPPINGS_MAX];
    uint32_t mapping_count;
    uint16_t image_epoch;          /* counts loads; part of function handles */
    _Atomic bool template_spent;   /* it has gone on since `template` was made */
    struct aee__template template; /* for the next forks of it */
    struct aee__instance *fallen;  /* the last, which crashed: its machine is there for the next */
    struct aee__crash_history history;
    uint64_t restart_due_ns;              /* no restart after a crash begins before this */
    bool awaits_supervisor;               /* it went down with it, and comes back with it */
    bool fell;                            /* it crashed: those that it supervises are to go down */
    char rises_with[AEE_NAME_MAX];        /* the supervisor with which it restarts; "": alone */
    aee_recovery_desc recovery;           /* as asked for: zero fields are defaults */
    struct aee__checkpoints *checkpoints; /* of src/recovery; NULL: none were taken */
    _Atomic bool checkpoints_itself;      /* at the ends of frames, the next not before both */
    _Atomic uint64_t due_frame;
    _Atomic uint64_t due_ns;
    bool due_failed;                          /* the last try did, which was told */
    _Atomic(struct aee__debugger *) debugger; /* the same; NULL: nobody has listened yet */
    aee_crash crash;                          /* the last; id 0: none */
    uint32_t fruitless; /* restores in a row after which no call succeeded before the next crash */
    uint32_t instances; /* not freed yet */
};

struct aee__context_plan {
    const char *name;
    aee_kind kind;
    aee_call_mode mode;
    void *user;
    aee_limits limits; /* complete */
};

/* Creates the object; the engine gives it its handle. */
aee_result aee__context_create(struct aee__core *core, const struct aee__context_plan *plan,
                               struct aee__context **out, aee_error *error);
/* Frees it; the instance must be gone. */
void aee__context_free(struct aee__context *context);

/* Life cycle; each blocks until done. BUSY from within a host function of this context. */
aee_result aee__context_load(struct aee__context *context, const void *bytes, size_t size,
                             aee_error *error);
/* Loads as aee__context_load() does, with a template's memory instead of initialisers. */
aee_result aee__context_begin_frozen(struct aee__context *context, struct aee__image_ref *image,
                                     struct aee__start *start, aee_error *error);
aee_result aee__context_restart(struct aee__context *context, aee_error *error);
/* The same with the state of a checkpoint. */
aee_result aee__context_revive(struct aee__context *context, uint32_t back, aee_error *error);
/* For the thread whose call crashed or hung, when its lane is given back: restarts the context now,
 * where its machine is there for that, or sees to it that the restarter does. */
void aee__context_settle(struct aee__context *context);
aee_result aee__context_stop(struct aee__context *context, aee_error *error);
aee_result aee__context_pause(struct aee__context *context, bool paused, aee_error *error);
aee_result aee__context_wait_ready(struct aee__context *context, uint64_t timeout_ns,
                                   aee_error *error);
/* Stops it for good and marks it as dying; the engine frees it when its handle is gone. */
aee_result aee__context_end(struct aee__context *context, aee_error *error);
/* Only memory_bytes can change while an instance lives; the rest waits for the next one. */
aee_result aee__context_set_limits(struct aee__context *context, const aee_limits *limits,
                                   aee_error *error);

void aee__context_get_limits(struct aee__context *context, aee_limits *limits);
/* Consistent copies for any thread. */
aee_state aee__context_state(struct aee__context *context);
void aee__context_get_info(struct aee__context *context, aee_context_info *info);
/* Adds what the counters of the core do not hold yet: what living instances have counted. */
void aee__context_add_counts(struct aee__context *context, aee_stats *stats);
aee_result aee__context_get_crash(struct aee__context *context, aee_crash *crash, aee_error *error);

/* Calls (calls.c). */
aee_result aee__context_find(struct aee__context *context, const char *name, uint32_t *index,
                             uint16_t *epoch, aee_error *error);
/* Name and signature of an export; NOT_FOUND beyond the last one. */
aee_result aee__context_export(struct aee__context *context, uint32_t index,
                               aee_function_info *info, uint16_t *epoch, aee_error *error);
/* call->export_index and request.args and flags are set; checks signature and epoch. */
aee_result aee__context_call(struct aee__context *context, uint16_t epoch, struct aee__call *call,
                             aee_error *error);
/* What keeps calls from beginning now, in words; AEE_OK: nothing. */
aee_result aee__context_refuse(struct aee__context *context, aee_error *error);
/* Checks a call that is to be submitted and completes its request. */
aee_result aee__context_check_call(struct aee__context *context, uint16_t epoch,
                                   struct aee__call *call, aee_error *error);
/* Queues checked calls (linked by `next`, `count` of them). On failure nothing happens: the context
 * takes no calls any more, and the result says why. */
aee_result aee__context_submit(struct aee__context *context, struct aee__call *first,
                               struct aee__call *last, uint32_t count);
/* Brings submitted calls forward: gives them to lanes. */
void aee__context_advance(struct aee__context *context);
/* The same, and takes replies, or runs lanes that no worker has, until about the deadline. */
void aee__context_help(struct aee__context *context, uint64_t deadline_ns);
/* Lets lanes with submitted calls park when they are done, and tell of each answer if asked to. */
void aee__context_expect_sleep(struct aee__context *context, bool each);
/* Wakes the lanes that were called by ring in that frame. */
void aee__context_warm(struct aee__context *context, uint32_t frame);
/* A lane is free: whoever waits for one may look, and what waited for its owner may go. */
void aee__context_lane_freed(struct aee__context *context);
/* Calls under way, submitted ones included. */
uint32_t aee__context_calls_now(struct aee__context *context);

/* Runs the initialiser of an instance that is being built. */
aee_result aee__context_call_initialiser(struct aee__context *context,
                                         struct aee__instance *instance, uint64_t budget_ns,
                                         aee_error *error);
/* This thread runs a host function that the context called. */
bool aee__context_is_reentry(struct aee__context *context);

/* Regions. */
aee_result aee__context_map(struct aee__context *context, const struct aee__region *region,
                            uint32_t writable, aee_error *error);
/* NOT_FOUND if it was not mapped; *writable (may be NULL) receives the right it had. */
aee_result aee__context_unmap(struct aee__context *context, const struct aee__region *region,
                              uint32_t *writable, aee_error *error);
/* The mapped region that contains a guest address; false for none. */
bool aee__context_region_at(struct aee__context *context, uint64_t gva,
                            struct aee__region_view *view);
/* There is room for one more mapping. */
bool aee__context_has_room(struct aee__context *context);

/* An instance of the context crashed or hung: counts, decides, schedules. Called once per instance,
 * before waiting callers learn of it. Gives crash->id. */
void aee__context_crashed(struct aee__context *context, struct aee__instance *instance,
                          aee_crash *crash);

void aee__context_event(struct aee__context *context, aee_event_type type, uint64_t crash_id,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Requests are about to be written to an instance, one of whose lanes the caller owns: tells it
 * when a new frame has begun since the last ones, once a frame. */
static inline void aee__guest_clock_note(struct aee__instance *instance)
{
    uint64_t frames = atomic_load_explicit(&instance->core->counters.frames, memory_order_relaxed);
    if (atomic_load_explicit(&instance->clock_frame, memory_order_relaxed) != frames + 1) {
        aee__guest_clock_tell(instance);
    }
}

#endif
