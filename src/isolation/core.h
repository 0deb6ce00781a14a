/* core.h: what all contexts of one engine share. The engine owns, starts and stops its parts. */
#ifndef AEE_ISOLATION_CORE_H
#define AEE_ISOLATION_CORE_H

#include "base/clock.h"
#include "base/handles.h"
#include "isolation/backend.h"
#include "isolation/batch.h"
#include "isolation/debug.h"
#include "isolation/events.h"
#include "isolation/host_functions.h"
#include "isolation/housekeeper.h"
#include "isolation/kept_file.h"
#include "isolation/pool.h"
#include "isolation/warm.h"
#include "isolation/watchdog.h"
#include "monitor/trace.h"
#include "runtime/workers.h"

struct aee__context;
struct aee__core;
struct aee__crash_files;
struct aee__instance;
struct aee__lane;

/* What recovery decides after a crash. */
enum aee__verdict { AEE__VERDICT_RESTART, AEE__VERDICT_QUARANTINE };

/* What a restarted instance begins with. */
enum aee__origin {
    AEE__ORIGIN_IMAGE,    /* its initialisers run */
    AEE__ORIGIN_DECLARED, /* its initialisers run, and declared state comes over it */
    AEE__ORIGIN_STATE,    /* all that it could write */
    AEE__ORIGIN_FROZEN,   /* a template's memory: only forks do */
};

/* Crashes of one context that the policy remembers. */
#define AEE__HISTORY_MAX 64u
struct aee__crash_history {
    uint64_t times_ns[AEE__HISTORY_MAX]; /* ring */
    uint32_t count;
};

/* Filled in by src/recovery, connected by src/engine. */
struct aee__recovery_ops {
    /* Completes cause, vector and registers to a full report with its sentence. */
    void (*describe)(struct aee__context *context, const struct aee__instance *instance,
                     const char *detail, aee_crash *crash);
    /* Copies what a report of the crash wants to know, on the thread that found it, which may be
     * jailed: no system call, no allocation, a bounded time. `lane`: which crashed, or NULL. */
    void (*capture)(struct aee__context *context, struct aee__instance *instance,
                    struct aee__lane *lane, const aee_crash *crash);
    /* What was captured of that instance has this number. Where files are wanted, holds the
     * instance until the housekeeper has written them. With the context's lock held. */
    void (*number)(struct aee__context *context, struct aee__instance *instance, uint64_t id);
    /* Gives a context's settings for such files back; NULL is fine. */
    void (*forget_files)(struct aee__core *core, struct aee__crash_files *files);
    enum aee__verdict (*decide)(struct aee__crash_history *history, const aee_limits *limits,
                                uint64_t now_ns);
    /* How long the restart waits after a crash that decide() has just noted. */
    uint64_t (*backoff)(const struct aee__crash_history *history, const aee_limits *limits,
                        const aee_recovery_desc *recovery, uint64_t now_ns);
    /* Within an operation, before `wanted` replaces context->recovery; a failure leaves it as it
     * was. NULL: nobody needs to know. */
    aee_result (*configure)(struct aee__context *context, const aee_recovery_desc *wanted,
                            aee_error *error);
    /* With the context's lock held: the machine of an instance that has crashed so can go on with
     * what a checkpoint kept. */
    bool (*keeps_machine)(const struct aee__context *context, const struct aee__instance *instance,
                          const aee_crash *crash);
    /* Within an operation: the next instance is to begin with that checkpoint. NOT_FOUND. */
    aee_result (*choose)(struct aee__context *context, uint32_t back, aee_error *error);
    /* Within an operation: what the next instance after a crash is to begin with. */
    enum aee__origin (*origin)(struct aee__context *context);
    /* Within an operation: gives an instance, whose lanes the caller owns, that state. `succeeded`:
     * its memory is the one of the instance before. */
    aee_result (*restore)(struct aee__context *context, struct aee__instance *instance,
                          bool succeeded, aee_error *error);
    /* How many checkpoints there are. With the lock held. */
    uint32_t (*count)(const struct aee__context *context);
    /* The context goes: so do its checkpoints. */
    void (*forget)(struct aee__context *context);
};

struct aee__counters {
    _Atomic uint64_t calls; /* of instances that are gone, as is the next one */
    _Atomic uint64_t host_calls;
    _Atomic uint64_t crashes;
    _Atomic uint64_t hangs;
    _Atomic uint64_t restarts;
    _Atomic uint64_t quarantines;
    _Atomic uint64_t frames;
    _Atomic uint64_t late_frames;
};

struct aee__core {
    aee_engine *engine; /* handed to host functions, never looked into here */
    struct aee__alloc alloc;
    aee_log_fn log; /* may be NULL */
    void *log_user;
    int kick_signal;
    uint32_t cpus;
    uint64_t spin_ns;    /* how long lanes and callers stay awake without work */
    uint32_t spin_turns; /* the same in turns of a loop; 0 on one CPU */
    struct aee__ticker ticker;
    const struct aee__backend_ops *ops;
    struct aee__backend *backend;
    const struct aee__recovery_ops *recovery;
    const struct aee__debug_ops *debug;
    struct aee__handles contexts;
    struct aee__pool pool;
    struct aee__watchdog watchdog;
    struct aee__workers workers;
    bool jailed; /* the workers are; set once, and only then the next three are there */
    struct aee__jail jail;
    struct aee__starter starter;
    struct aee__workers servers; /* not jailed: host functions that nobody waits for */
    struct aee__housekeeper housekeeper;
    struct aee__housekeeper restarter;
    _Atomic uint64_t machines;       /* numbers given */
    _Atomic bool checkpoints_frames; /* some context wants checkpoints at the ends of frames */
    _Atomic bool spares_wanted;      /* by a context: the restarter should look for it */
    _Atomic bool templates_wanting;  /* one of them: the housekeeper should look for it */
    _Atomic bool crash_files_wanted; /* some context, or all of them, leave files of crashes */
    struct aee__events events;
    struct aee__host_functions functions;
    struct aee__batches batches;
    struct aee__handles batch_handles;
    struct aee__warm warm;
    struct aee__kept_files kept_files;
    pthread_mutex_t crash_files_lock;     /* of the next, and of references to such */
    struct aee__crash_files *crash_files; /* of contexts that have none of their own; or NULL */
    struct aee__counters counters;
    _Atomic uint64_t frame_begin_ns; /* of the last frame; 0: none has begun */
    struct aee__trace trace;
};

#endif
