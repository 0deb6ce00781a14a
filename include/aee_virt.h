/* SPDX-License-Identifier: Apache-2.0
 *
 * aee_virt.h: the host API of libaee_virt, the only header that an engine needs.
 *
 * An engine object owns contexts. A context is one lightweight virtual machine that runs one
 * component image; nothing that the component does reaches the engine's memory or stops its
 * threads. Contexts, regions and functions are named by generational handles: a handle whose
 * object is gone gives AEE_ERR_STALE, never undefined behaviour, and a context keeps its handle
 * when it crashes and is restarted.
 *
 * Conventions. Every call that can fail returns aee_result: AEE_OK (0) or a negative AEE_ERR_ code.
 * Most take an optional `aee_error *` that receives the code, an errno value and one sentence that
 * names the operation and the object; pass NULL where the code is enough. A failed call has changed
 * nothing. Descriptor structs start with struct_size; a zero in any other field asks for the
 * default. Calls are thread-safe unless their comment says otherwise. Nothing is printed, and no
 * process-wide handler is installed (but by AEE_LEVEL_NONE, which must be asked for).
 */
#ifndef AEE_VIRT_H
#define AEE_VIRT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AEE_VERSION_MAJOR 0
#define AEE_VERSION_MINOR 1
#define AEE_VERSION_PATCH 0
#define AEE_VERSION_STRING "0.1.0"

#if defined(__GNUC__)
#define AEE_API __attribute__((visibility("default")))
#else
#define AEE_API
#endif

/* ---- Results and errors ------------------------------------------------------------------- */

/* X(name, value, text): one list makes the enum, the names and the texts. */
#define AEE_RESULTS(X)                                                                             \
    X(AEE_OK, 0, "success")                                                                        \
    X(AEE_ERR_INVALID_ARGUMENT, -1, "an argument is out of its range")                             \
    X(AEE_ERR_NO_MEMORY, -2, "memory could not be had")                                            \
    X(AEE_ERR_SYSTEM, -3, "an operating system call failed")                                       \
    X(AEE_ERR_UNSUPPORTED, -4, "this build or host does not offer it")                             \
    X(AEE_ERR_NO_BACKEND, -5, "no isolation back end of the demanded level is usable here")        \
    X(AEE_ERR_CLOSED, -6, "the engine has been shut down")                                         \
    X(AEE_ERR_FORKED, -7, "the engine belongs to the parent process")                              \
    X(AEE_ERR_STALE, -8, "the handle's object no longer exists")                                   \
    X(AEE_ERR_WRONG_HANDLE, -9, "the handle names an object of another kind, context or engine")   \
    X(AEE_ERR_NOT_FOUND, -10, "there is no object of that name")                                   \
    X(AEE_ERR_EXISTS, -11, "an object of that name exists already")                                \
    X(AEE_ERR_STATE, -12, "the object is in the wrong state for this")                             \
    X(AEE_ERR_BUSY, -13, "the object is in use")                                                   \
    X(AEE_ERR_BAD_IMAGE, -14, "the image is not a valid component")                                \
    X(AEE_ERR_ABI_VERSION, -15, "the image was built for another ABI version")                     \
    X(AEE_ERR_ARGUMENT_COUNT, -16, "the number or types of the arguments do not fit the function") \
    X(AEE_ERR_TOO_LARGE, -17, "the data does not fit")                                             \
    X(AEE_ERR_LIMIT, -18, "a limit has been reached")                                              \
    X(AEE_ERR_DENIED, -19, "permission is missing")                                                \
    X(AEE_ERR_NOT_LOADED, -20, "no image has been loaded into the context")                        \
    X(AEE_ERR_PAUSED, -21, "the context is paused")                                                \
    X(AEE_ERR_STOPPED, -22, "the context is stopped")                                              \
    X(AEE_ERR_CRASHED, -23, "the component crashed")                                               \
    X(AEE_ERR_HUNG, -24, "the component overran its call budget")                                  \
    X(AEE_ERR_RESTARTING, -25, "the context is being restarted")                                   \
    X(AEE_ERR_QUARANTINED, -26, "the context crashed too often and stays stopped")                 \
    X(AEE_ERR_HOST_FUNCTION, -27, "a host function reported failure")                              \
    X(AEE_ERR_TIMED_OUT, -28, "the wait ended before the event")                                   \
    X(AEE_ERR_COMPONENT, -29, "the component reported failure")                                    \
    X(AEE_ERR_CANCELLED, -30, "the call was cancelled before it began")                            \
    X(AEE_ERR_BAD_SNAPSHOT, -31, "the file is not a snapshot, or damaged")

typedef enum aee_result {
#define AEE_RESULT_ENUM(name, value, text) name = (value),
    AEE_RESULTS(AEE_RESULT_ENUM)
#undef AEE_RESULT_ENUM
} aee_result;

/* What went wrong, in one sentence. Filled by a failing call, cleared by a successful one. */
typedef struct aee_error {
    aee_result code;
    int os_errno; /* errno of the system call behind AEE_ERR_SYSTEM and others, or 0 */
    char text[248];
} aee_error;

/* Name ("AEE_ERR_STALE") and general meaning of a result; "unknown result" for other values. */
AEE_API const char *aee_result_name(aee_result result);
AEE_API const char *aee_result_text(aee_result result);
/* Version of the library that is linked: AEE_VERSION_STRING of its build. */
AEE_API const char *aee_version(void);

/* ---- Types -------------------------------------------------------------------------------- */

typedef struct aee_engine aee_engine;
typedef struct aee_context {
    uint64_t id;
} aee_context;
typedef struct aee_function {
    uint64_t id;
} aee_function;
typedef struct aee_region {
    uint64_t id;
} aee_region;
typedef struct aee_gpu_buffer {
    uint64_t id;
} aee_gpu_buffer;

#define AEE_NAME_MAX 64       /* bytes of a name, terminator included */
#define AEE_PAYLOAD_MAX 65536 /* bytes of one inline payload; larger data goes through regions */
#define AEE_ARGS_MAX 6

/* Isolation, from weakest to strongest (docs/levels.md). AEE_LEVEL_AUTO takes the strongest usable
 * one, and never AEE_LEVEL_NONE. */
typedef enum aee_level {
    AEE_LEVEL_AUTO = 0,
    AEE_LEVEL_NONE = 1,    /* no isolation: in the engine's process, for debugging; only on demand.
                            * While such an engine exists, the process has handlers of SIGSEGV, SIGBUS,
                            * SIGFPE, SIGILL, SIGTRAP and kick_signal, chained to those before */
    AEE_LEVEL_PROCESS = 2, /* a process without system calls */
    AEE_LEVEL_CONTAINER = 3, /* the same in namespaces and a control group, with an empty root */
    AEE_LEVEL_FULL = 4,      /* a KVM virtual machine */
} aee_level;

typedef enum aee_kind {
    AEE_KIND_CUSTOM = 0,
    AEE_KIND_AGENTS,
    AEE_KIND_PARTICLES,
    AEE_KIND_RENDERING,
    AEE_KIND_USER_MOD,
    AEE_KIND_SCENE,
    AEE_KIND_COUNT
} aee_kind;

typedef enum aee_state {
    AEE_STATE_CREATED = 0, /* no image yet */
    AEE_STATE_READY,       /* takes calls */
    AEE_STATE_PAUSED,
    AEE_STATE_RESTARTING,  /* crashed or hung; comes back by itself */
    AEE_STATE_STOPPED,     /* aee_stop() was called, or it waits for a supervisor that is stopped or
                            * in quarantine; aee_restart() brings it back */
    AEE_STATE_QUARANTINED, /* crashed too often; aee_restart() brings it back */
    AEE_STATE_COUNT
} aee_state;

/* How calls reach the component. */
typedef enum aee_call_mode {
    AEE_CALL_AUTO = 0, /* chosen per context from its call rate and the free cores */
    AEE_CALL_RING,     /* a worker thread runs the component, which spins between calls */
    AEE_CALL_DIRECT,   /* the calling thread runs the component: one VM exit per call */
} aee_call_mode;

/* "full", "agents", "ready", "direct" and so on; "unknown" for other values. */
AEE_API const char *aee_level_name(aee_level level);
AEE_API const char *aee_kind_name(aee_kind kind);
AEE_API const char *aee_state_name(aee_state state);
AEE_API const char *aee_call_mode_name(aee_call_mode mode);

/* ---- Probe: what this machine offers ------------------------------------------------------ */

typedef struct aee_fact {
    char name[32];  /* "kvm.exit_cost_ns" */
    char value[64]; /* "24100" */
    char how[128];  /* how it was found out, in words */
    int usable;     /* 0: this fact keeps a back end from being used */
} aee_fact;

#define AEE_FACTS_MAX 32

typedef struct aee_backend_report {
    char name[16]; /* "kvm", "container", "process" */
    aee_level level;
    int usable;
    char why[248]; /* if it is not: the sentence that says why */
} aee_backend_report;

#define AEE_BACKENDS_MAX 4

typedef struct aee_probe_report {
    aee_level level; /* strongest usable level; AEE_LEVEL_AUTO if there is none */
    int use_vt_x;    /* hardware CPU virtualization (VT-x, AMD-V) is in force, by experiment */
    int use_ept;     /* nested paging (EPT or NPT) is in force, by experiment */
    int use_vt_d;    /* DMA isolation is in force; 0 until a device is attached through it */
    uint32_t fact_count;
    aee_fact facts[AEE_FACTS_MAX];
    char why[248];          /* if level is AEE_LEVEL_AUTO: the sentence that says why */
    uint32_t backend_count; /* from strongest to weakest */
    aee_backend_report backends[AEE_BACKENDS_MAX];
} aee_probe_report;

/* Tries the host's mechanisms out (a throw-away virtual machine, cells) and reports what worked.
 * `level` is what an engine gets here by default, or what AEE_FORCE_LEVEL in the environment (auto,
 * none, process, container, full) forces on every engine, for testing. Takes some milliseconds.
 * Always fills `report`; returns AEE_OK even where nothing is usable, and fails only for a NULL
 * report or lack of memory. */
AEE_API aee_result aee_probe(aee_probe_report *report, aee_error *error);

/* ---- Engine ------------------------------------------------------------------------------- */

/* All memory of the library comes from here: size 0 frees `old`, otherwise behaves as realloc().
 * NULL for out of memory. May be called from any of the library's threads. */
typedef void *(*aee_alloc_fn)(void *user, void *old, size_t old_size, size_t size);

typedef enum aee_log_level {
    AEE_LOG_DEBUG = 0,
    AEE_LOG_INFO,
    AEE_LOG_WARNING,
    AEE_LOG_ERROR
} aee_log_level;
/* One line without newline. `context` is 0 for the library's own lines, otherwise the component's
 * that logged. Called from any thread, also during calls: must not call back into the library. */
typedef void (*aee_log_fn)(void *user, aee_log_level level, aee_context context, const char *line);

/* What the library's workers, which run components, may ask of the kernel (docs/jail.md). */
typedef enum aee_jail_mode {
    AEE_JAIL_OFF = 0, /* anything, as the engine's own threads */
    AEE_JAIL_ON,      /* what running a component takes; any other system call fails with EPERM */
    AEE_JAIL_LOG,     /* anything; the kernel logs what AEE_JAIL_ON would refuse */
} aee_jail_mode;

typedef struct aee_engine_desc {
    uint32_t struct_size;
    uint32_t flags;           /* none are defined: must be 0 */
    aee_level minimum_level;  /* refuse to start with anything weaker; AUTO: take what there is */
    uint32_t max_contexts;    /* default 1024, at most 65536 */
    uint32_t pool_size;       /* virtual machines kept ready; default 4, at most 256 */
    uint32_t worker_threads;  /* for ring calls, at most 16; default: cores - 1, at least 1 */
    uint64_t frame_budget_ns; /* a frame that takes longer counts as late; default 16666667 */
    int kick_signal;          /* real-time signal for the library; default SIGRTMAX - 1 */
    aee_level level;          /* exactly this one; AUTO: the strongest that works, but not NONE */
    aee_alloc_fn alloc;       /* default realloc()/free() */
    void *alloc_user;
    aee_log_fn log; /* default: lines are dropped */
    void *log_user;
    uint64_t spin_ns;       /* how long an idle lane stays awake, and how long a waiting caller
                             * watches before it sleeps; default 50 us, at most 10 ms */
    uint32_t max_submitted; /* calls of aee_submit() that are not taken yet; default 16384, at most
                             * 2^20 */
    uint32_t jail;          /* aee_jail_mode; default AEE_JAIL_OFF */
} aee_engine_desc;

/* Creates an engine; `desc` may be NULL for all defaults. Starts its threads (a watchdog, a
 * housekeeper, a restarter, a keeper of processes at levels PROCESS and CONTAINER, workers when
 * ring calls need them). Blocks for some milliseconds. On failure *out is NULL. Errors:
 * INVALID_ARGUMENT, NO_BACKEND, NO_MEMORY, LIMIT, SYSTEM; with a jail that cannot be
 * had, also DENIED and UNSUPPORTED. */
AEE_API aee_result aee_engine_create(const aee_engine_desc *desc, aee_engine **out,
                                     aee_error *error);
/* Destroys every context and region; later calls on the engine return AEE_ERR_CLOSED. Calls that
 * are in flight in other threads return AEE_ERR_STOPPED. Blocks until they have. Not from within a
 * host function (AEE_ERR_BUSY). Idempotent. */
AEE_API aee_result aee_engine_shutdown(aee_engine *engine, aee_error *error);
/* Shuts the engine down and frees it. NULL is fine. No other thread may use the engine any more. */
AEE_API void aee_engine_destroy(aee_engine *engine);

/* ---- Contexts ----------------------------------------------------------------------------- */

/* No limit, in those fields of aee_limits that say so. */
#define AEE_UNLIMITED UINT64_MAX

/* Limits of one context. Zero in a field asks for the default of the context's kind, as
 * aee_default_limits() tells it; those of AEE_KIND_CUSTOM are noted here. What is used and what was
 * refused is in aee_context_info; docs/limits.md has the details. */
typedef struct aee_limits {
    uint64_t memory_bytes;         /* heap of the component, rounded up to 2 MiB; 16 MiB */
    uint64_t stack_bytes;          /* per lane, rounded up to 4 KiB; 256 KiB, at most 16 MiB */
    uint64_t call_budget_ns;       /* wall-clock time of one call; 100 ms, at least 50 us.
                                    * Host functions are free up to once the budget. */
    uint32_t lanes;                /* vCPUs; 1, at most 8 */
    uint32_t log_bytes_per_second; /* what the component may log, and 16 bytes for each line;
                                    * 64 KiB; the rest is dropped; UINT32_MAX: unlimited */
    uint32_t restarts;             /* within restart_window_ns, before quarantine; 5, at most 63 */
    uint32_t never_restart;        /* non-zero: a crash leads to quarantine at once */
    uint64_t restart_window_ns;    /* 10 s */
    uint64_t ready_bytes;          /* of the heap's start, backed by memory from the start, so that
                                    * their first use is cheap (docs/memory.md); 8 KiB */
    uint32_t spares;               /* instances that are built and initialised ahead on the restart
                                    * thread, outside of frames, for restarts to take; each needs
                                    * what the context needs; 0, at most 4. As many forks, once it
                                    * has been forked, until it is called */
    uint32_t huge_pages;           /* non-zero: ask the host for 2 MiB pages behind the heap */
    /* AEE_UNLIMITED in all that follow. A second's worth may be used at once. Beyond it calls, host
     * calls and charges are refused with a sentence that names the field, until there is room. */
    uint64_t cpu_ns_per_second; /* of all lanes together: time of their vCPUs in calls */
    uint64_t cpu_ns_total;      /* the same since aee_load() or aee_restart() */
    uint64_t calls_per_second;
    uint64_t host_calls_per_second; /* log lines included */
    uint64_t disk_bytes_per_second; /* as aee_charge_io() counts them */
    uint64_t network_bytes_per_second;
} aee_limits;

typedef struct aee_context_desc {
    uint32_t struct_size;
    uint32_t flags;   /* none are defined: must be 0 */
    const char *name; /* required; 1 to 63 bytes; need not be unique; copied */
    aee_kind kind;
    aee_level minimum_level;
    aee_call_mode call_mode;
    uint32_t reserved0;
    aee_limits limits;
    void *user; /* yours; handed to host functions and events */
} aee_context_desc;

/* Creates an empty context; load an image into it next. Cheap: no virtual machine is taken yet.
 * Errors: INVALID_ARGUMENT, LIMIT (max_contexts), NO_BACKEND (level), NO_MEMORY, CLOSED. */
AEE_API aee_result aee_context_create(aee_engine *engine, const aee_context_desc *desc,
                                      aee_context *out, aee_error *error);
/* The same with a name and the defaults of its kind. Seed names of the engine-facing system. */
AEE_API aee_result aee_create_isolated_context(aee_engine *engine, const char *name,
                                               aee_context *out, aee_error *error);
AEE_API aee_result aee_isolate_agents(aee_engine *engine, aee_context *out, aee_error *error);
AEE_API aee_result aee_isolate_particles(aee_engine *engine, aee_context *out, aee_error *error);
AEE_API aee_result aee_isolate_rendering(aee_engine *engine, aee_context *out, aee_error *error);
AEE_API aee_result aee_isolate_user_mod(aee_engine *engine, const char *name, aee_context *out,
                                        aee_error *error);
AEE_API aee_result aee_isolate_scene(aee_engine *engine, const char *name, aee_context *out,
                                     aee_error *error);
/* The limits that a kind of context starts with, for display or as a base to change. */
AEE_API aee_result aee_default_limits(aee_kind kind, aee_limits *out);

/* Changes limits; zero fields keep their value. memory_bytes may only grow and takes effect at
 * once, and so does a greater ready_bytes; stack_bytes, lanes and huge_pages take effect at the
 * next load or restart. Spares with the old limits are dropped and made anew. */
AEE_API aee_result aee_set_limits(aee_engine *engine, aee_context context, const aee_limits *limits,
                                  aee_error *error);
/* Gives the context's component a heap of `megabytes` (MiB). May only grow. */
AEE_API aee_result aee_allocate_isolated_memory(aee_engine *engine, aee_context context,
                                                uint64_t megabytes, aee_error *error);
/* Charges a context for input or output that a host function is about to do for it. LIMIT: that is
 * more than the context may have now: do without, or try again later. More than a second's worth is
 * allowed where nothing was used for a second, and keeps the context waiting for as long as it
 * takes. May be called from anywhere but log functions; does not block. */
typedef enum aee_io { AEE_IO_DISK = 1, AEE_IO_NETWORK = 2 } aee_io;
AEE_API aee_result aee_charge_io(aee_engine *engine, aee_context context, aee_io io, uint64_t bytes,
                                 aee_error *error);
/* Gives GPU buffers to exactly one context. Not offered by this version: AEE_ERR_UNSUPPORTED. */
AEE_API aee_result aee_allocate_isolated_gpu(aee_engine *engine, aee_context context,
                                             const aee_gpu_buffer *buffers, uint32_t count,
                                             aee_error *error);

/* Loads an image (ELF64, static or static-PIE) and runs its initialisers, under the call budget.
 * The bytes are copied. Replaces an image that is loaded already; functions found in the old one
 * become stale, and calls that begin in the old one meanwhile return AEE_ERR_STOPPED. On failure
 * the context keeps what it had. Errors: BAD_IMAGE, ABI_VERSION, CRASHED/HUNG (an initialiser
 * failed), STALE, BUSY (calls are in flight), NO_MEMORY, SYSTEM. */
AEE_API aee_result aee_load(aee_engine *engine, aee_context context, const void *bytes, size_t size,
                            aee_error *error);
AEE_API aee_result aee_load_file(aee_engine *engine, aee_context context, const char *path,
                                 aee_error *error);
/* Reads from the descriptor's start; the descriptor stays yours. */
AEE_API aee_result aee_load_fd(aee_engine *engine, aee_context context, int fd, aee_error *error);

/* No call begins in a paused context (AEE_ERR_PAUSED); calls in flight finish. */
AEE_API aee_result aee_pause(aee_engine *engine, aee_context context, aee_error *error);
AEE_API aee_result aee_resume(aee_engine *engine, aee_context context, aee_error *error);
/* Ends calls in flight with AEE_ERR_STOPPED and releases the virtual machine. Image, functions and
 * region mappings stay and come back with aee_restart(). An initialiser under way is ended too.
 * Errors: NOT_LOADED, STALE, and BUSY: from within a host function that this context called, or
 * when another load, restart, stop or destroy of it does not end within 10 s and a call budget. */
AEE_API aee_result aee_stop(aee_engine *engine, aee_context context, aee_error *error);
/* Starts again from the image, from any state but CREATED; ends a quarantine and forgets the crash
 * history. Blocks until the context is ready; on failure it keeps what it had. Takes a spare where
 * one waits. Errors: NOT_LOADED, CRASHED/HUNG (an initialiser failed), STALE, BUSY as for
 * aee_stop(), LIMIT, NO_MEMORY, SYSTEM. */
AEE_API aee_result aee_restart(aee_engine *engine, aee_context context, aee_error *error);
/* Waits until the context takes calls, at most `timeout_ns`. Errors: TIMED_OUT, QUARANTINED,
 * STOPPED, PAUSED, NOT_LOADED, STALE. */
AEE_API aee_result aee_wait_ready(aee_engine *engine, aee_context context, uint64_t timeout_ns,
                                  aee_error *error);
/* Ends calls in flight with AEE_ERR_STOPPED, waits for them and frees everything. The zero handle
 * is fine. Not from within a host function that this context called (AEE_ERR_BUSY). */
AEE_API aee_result aee_destroy(aee_engine *engine, aee_context context, aee_error *error);

/* ---- Calls -------------------------------------------------------------------------------- */

typedef enum aee_type { AEE_TYPE_I64 = 0, AEE_TYPE_F64 = 1 } aee_type;

typedef struct aee_value {
    aee_type type;
    union {
        int64_t i64;
        double f64;
    } as;
} aee_value;

/* Looks an exported function up. The handle holds until another image is loaded or the context is
 * destroyed; restarts keep it. Errors: NOT_FOUND, NOT_LOADED, STALE. */
AEE_API aee_result aee_find_function(aee_engine *engine, aee_context context, const char *name,
                                     aee_function *out, aee_error *error);
#define AEE_FUNCTION_NAME_MAX 1024 /* bytes of an exported name, terminator included */

typedef struct aee_function_info {
    aee_function function;
    char name[AEE_FUNCTION_NAME_MAX];
    char signature[16]; /* "i:ii" and so on (aee_guest.h); "": the image declares none */
} aee_function_info;

/* What the image exports, one after the other: `index` from 0 on, until NOT_FOUND. Errors:
 * NOT_FOUND, NOT_LOADED, STALE. */
AEE_API aee_result aee_get_function_info(aee_engine *engine, aee_context context, uint32_t index,
                                         aee_function_info *info, aee_error *error);
/* Calls a function with up to AEE_ARGS_MAX integers and doubles and waits for its result.
 * `result` may be NULL; otherwise its `type`, set by the caller, says which of the two to take.
 * Where the image declares the function's signature, number and types are checked against it.
 * Blocks up to the call budget, and as long before it when every lane is taken (then BUSY); behind
 * submitted calls that its lane has accepted, as long as those take. Does not allocate, but for
 * buffers when a component first sends or takes bytes in a host call. Errors: ARGUMENT_COUNT,
 * WRONG_HANDLE, STALE, NOT_LOADED, PAUSED, STOPPED, RESTARTING, QUARANTINED, CRASHED, HUNG, BUSY,
 * LIMIT (calls or CPU time: see aee_limits). */
AEE_API aee_result aee_call(aee_engine *engine, aee_context context, aee_function function,
                            const aee_value *args, uint32_t count, aee_value *result,
                            aee_error *error);
/* The same for int64_t only; `result` may be NULL. */
AEE_API aee_result aee_call_i64(aee_engine *engine, aee_context context, aee_function function,
                                const int64_t *args, uint32_t count, int64_t *result,
                                aee_error *error);
/* Calls `int64_t f(const void *request, size_t size, void *reply, size_t capacity)`: the request is
 * copied in, and as many bytes as f returns are copied out. A negative return is AEE_ERR_COMPONENT
 * (the number is in the sentence). Sizes up to AEE_PAYLOAD_MAX. More reply than fits: TOO_LARGE. */
AEE_API aee_result aee_call_bytes(aee_engine *engine, aee_context context, aee_function function,
                                  const void *request, size_t request_size, void *reply,
                                  size_t reply_capacity, size_t *reply_size, aee_error *error);

/* ---- Calls that do not wait --------------------------------------------------------------- */

/* One call of a batch. Zero in a field asks for the default. */
typedef struct aee_call_item {
    aee_context context;
    aee_function function;
    uint32_t flags;       /* AEE_ITEM_ bits */
    uint32_t arg_count;   /* as for aee_call(), unless AEE_ITEM_BYTES */
    aee_type result_type; /* which of the two to take */
    uint32_t reserved0;
    aee_value args[AEE_ARGS_MAX];
    const void *request; /* of AEE_ITEM_BYTES, as for aee_call_bytes(); these two buffers stay */
    size_t request_size; /* yours and must live until the call has completed */
    void *reply;
    size_t reply_capacity;
    uint64_t deadline_ns; /* CLOCK_MONOTONIC: TIMED_OUT if it has not begun by then; 0: none */
    uint64_t budget_ns;   /* for this call, at least 50 us; 0: the context's */
    void *user;           /* handed to the completion */
} aee_call_item;

#define AEE_ITEM_BYTES 1u /* the payload form of aee_call_bytes() */

/* How one call of a batch ended. */
typedef struct aee_completion {
    uint32_t index;    /* in the array that was submitted */
    aee_result result; /* as aee_call() would have returned, or TIMED_OUT, or CANCELLED */
    aee_value value;   /* 0 unless result is AEE_OK */
    size_t reply_size;
    void *user;
} aee_completion;

typedef struct aee_batch {
    uint64_t id;
} aee_batch;

#define AEE_SUBMIT_BLOCK 1u /* wait for room instead of failing with AEE_ERR_LIMIT */

/* Submits `count` calls (1 to 65536) to one or many contexts and returns without waiting for them.
 * The array is copied. Calls to a context begin in the order of submission, on any of its lanes; a
 * call that a lane has accepted has begun. Workers run them; contexts in AEE_CALL_DIRECT only make
 * progress within aee_wait(). A batch lives until its last completion was taken, or
 * aee_batch_release(). A call budget counts from when the call before it was seen to end, so that a
 * hung call of a batch may be found out after twice its budget. Where the context crashes, stops or
 * pauses, calls that have not begun complete with that result too. Does not allocate once batches
 * of that size have been used. Bad calls are refused as a whole (the sentence names the first),
 * with the errors of aee_call(), and LIMIT (max_submitted). Calls that wait when the context has
 * used up its CPU time complete with LIMIT. */
AEE_API aee_result aee_submit(aee_engine *engine, const aee_call_item *items, uint32_t count,
                              uint32_t flags, aee_batch *out, aee_error *error);
/* Takes up to `capacity` completions, in the order in which the calls ended; *count receives how
 * many. Never blocks. When the last one has been taken, the batch is gone and its handle stale. */
AEE_API aee_result aee_poll(aee_engine *engine, aee_batch batch, aee_completion *completions,
                            uint32_t capacity, uint32_t *count, aee_error *error);
/* Waits until `capacity` completions (or all that are left) are there and takes them. NULL for
 * `completions`: waits for the whole batch and drops them; then *count (may be NULL) tells how
 * many. The calling thread helps: it runs lanes that no worker has, so that it may come back a call
 * budget after the timeout. TIMED_OUT: *count completions were taken nevertheless. Also STALE,
 * CLOSED, BUSY (from within a host function, for calls to the context that it serves). */
AEE_API aee_result aee_wait(aee_engine *engine, aee_batch batch, aee_completion *completions,
                            uint32_t capacity, uint32_t *count, uint64_t timeout_ns,
                            aee_error *error);
/* Completes calls that have not begun with AEE_ERR_CANCELLED: the one of that index, or all for
 * AEE_ALL_CALLS; *cancelled (may be NULL) tells how many. What has begun goes on. */
#define AEE_ALL_CALLS UINT32_MAX
AEE_API aee_result aee_cancel(aee_engine *engine, aee_batch batch, uint32_t index,
                              uint32_t *cancelled, aee_error *error);
/* Cancels what has not begun, waits for what has, drops all completions. The zero handle is fine.
 */
AEE_API aee_result aee_batch_release(aee_engine *engine, aee_batch batch, aee_error *error);

/* Calls `void f(int64_t begin, int64_t end)` for pieces of [begin, end), on all lanes of the
 * context at the same time; the calling thread runs one of them. Pieces have `grain` indices (the
 * last may have fewer); 0: four pieces a lane. Each piece has the context's call budget. Returns
 * when all are done; after a failure, the first one's result, and pieces that had not begun have
 * not been called. Errors: those of aee_call(). */
AEE_API aee_result aee_parallel_for(aee_engine *engine, aee_context context, aee_function function,
                                    int64_t begin, int64_t end, int64_t grain, aee_error *error);

static inline aee_value aee_i64(int64_t value)
{
    aee_value v;
    v.type = AEE_TYPE_I64;
    v.as.i64 = value;
    return v;
}
static inline aee_value aee_f64(double value)
{
    aee_value v;
    v.type = AEE_TYPE_F64;
    v.as.f64 = value;
    return v;
}

/* ---- Host functions: what a component may ask of the engine ------------------------------- */

/* One call from a component. Everything in it is a private copy that the component cannot change.
 * The function runs on the thread whose aee_call() the component is serving; for submitted calls on
 * a thread that waits for them or on a worker; for initialisers of an automatic restart on the
 * library's restart thread. It may use the library, and call functions of the context that called
 * it, on the same lane, up to AEE_REENTRY_MAX deep (then AEE_ERR_LIMIT). It cannot load, restart,
 * stop or destroy that context (AEE_ERR_BUSY); on the restart thread it cannot destroy contexts at
 * all. While it blocks, other contexts go on. */
typedef struct aee_host_call {
    aee_engine *engine;
    aee_context context;
    void *context_user;
    int64_t args[AEE_ARGS_MAX]; /* doubles travel as their bits: aee_host_arg_f64() */
    const void *payload;
    size_t payload_size;
    void *reply; /* to be filled */
    size_t reply_capacity;
    size_t reply_size; /* to be set: bytes of reply, at most reply_capacity */
    int64_t result;    /* to be set: what the component's call returns */
    const void *internal;
} aee_host_call;

#define AEE_REENTRY_MAX 8

/* Non-zero when nobody waits for the function's answer any more: the component was stopped, crashed
 * on another lane, or ran out of its budget. A long host function looks now and then. */
AEE_API int aee_host_call_cancelled(const aee_host_call *call);

static inline double aee_host_arg_f64(const aee_host_call *call, unsigned index)
{
    union {
        int64_t i64;
        double f64;
    } bits;
    bits.i64 = call->args[index];
    return bits.f64;
}

/* AEE_OK, or a code that the component gets instead of a result. */
typedef aee_result (*aee_host_fn)(void *user, aee_host_call *call);

/* Makes a function known under a name (1 to 55 bytes). No context may call it before a grant.
 * Errors: EXISTS, INVALID_ARGUMENT, NO_MEMORY. */
AEE_API aee_result aee_register_host_function(aee_engine *engine, const char *name,
                                              aee_host_fn function, void *user, aee_error *error);
/* Lets one context call the named host function, or takes the permission away. */
AEE_API aee_result aee_grant_host_function(aee_engine *engine, aee_context context,
                                           const char *name, aee_error *error);
AEE_API aee_result aee_revoke_host_function(aee_engine *engine, aee_context context,
                                            const char *name, aee_error *error);

/* ---- Regions: memory that the engine shares with contexts --------------------------------- */

typedef struct aee_region_desc {
    uint32_t struct_size;
    uint32_t flags;      /* AEE_REGION_ bits */
    const char *name;    /* required; copied */
    uint64_t size_bytes; /* rounded up to 4 KiB */
} aee_region_desc;

/* Contexts see the region at the address it has in the engine, so that pointers into it hold on
 * both sides. Without it, contexts see it at an address of their own (aee_region_map returns it).
 */
#define AEE_REGION_SAME_ADDRESS 1u

typedef enum aee_access { AEE_ACCESS_READ = 1, AEE_ACCESS_READ_WRITE = 3 } aee_access;

/* Creates a zeroed region that the engine can read and write. Errors: INVALID_ARGUMENT, NO_MEMORY,
 * LIMIT (16 GiB of regions per engine), SYSTEM. */
AEE_API aee_result aee_region_create(aee_engine *engine, const aee_region_desc *desc,
                                     aee_region *out, aee_error *error);
/* Revokes it from every context and frees it; engine pointers into it become invalid. */
AEE_API aee_result aee_region_destroy(aee_engine *engine, aee_region region, aee_error *error);
/* Address and size in the engine; valid until aee_region_destroy(). */
AEE_API aee_result aee_region_data(aee_engine *engine, aee_region region, void **data, size_t *size,
                                   aee_error *error);
/* Lets a context see the region; `guest_address` (may be NULL) receives where. The mapping survives
 * restarts. Mapping again with other rights changes the rights. Works while the component runs. */
AEE_API aee_result aee_region_map(aee_engine *engine, aee_context context, aee_region region,
                                  aee_access access, uint64_t *guest_address, aee_error *error);
/* Revokes: when it returns, the component can no longer read or write the region, even in the
 * middle of a call; a later access is a crash of the component. */
AEE_API aee_result aee_region_unmap(aee_engine *engine, aee_context context, aee_region region,
                                    aee_error *error);
/* Moves a mapping: `from` loses it before `to` gets it, with the same rights. */
AEE_API aee_result aee_region_transfer(aee_engine *engine, aee_context from, aee_context to,
                                       aee_region region, uint64_t *guest_address,
                                       aee_error *error);

/* ---- Recovery: state that outlives a crash -------------------------------------------------- */

/* What a checkpoint keeps (docs/recovery.md). All are taken between calls. */
typedef enum aee_checkpoint_mode {
    AEE_CHECKPOINT_INCREMENTAL = 0, /* all that the component can write; only pages written since
                                     * the last checkpoint are copied, which the host tracks */
    AEE_CHECKPOINT_FULL,     /* the same without tracking: each copies all of it, and the component
                              * pays nothing for its writes in between */
    AEE_CHECKPOINT_DECLARED, /* the ranges that the component marked with AEE_STATE or
                              * aee_state_add(), and nothing else */
} aee_checkpoint_mode;

typedef enum aee_restart_from {
    AEE_RESTART_IMAGE = 0,  /* as after aee_load() */
    AEE_RESTART_CHECKPOINT, /* the newest, `back` before it; where it crashes again at once, one
                             * further back each time; where there is none, the image */
} aee_restart_from;

/* What happens to the contexts that name a context as their supervisor when that one falls. */
typedef enum aee_supervision {
    AEE_SUPERVISE_ONE_FOR_ONE = 0, /* nothing: each restarts alone */
    AEE_SUPERVISE_ALL_FOR_ONE,     /* they restart with it, each in its own way */
} aee_supervision;

#define AEE_HISTORY_MAX 256u

/* How a context keeps its state and comes back. Zero in a field asks for the default. */
typedef struct aee_recovery_desc {
    uint32_t struct_size;
    aee_checkpoint_mode mode;
    uint32_t history;        /* checkpoints kept; 1, at most AEE_HISTORY_MAX */
    uint32_t every_frames;   /* a checkpoint at the end of every such frame; 0: none */
    uint64_t every_ns;       /* at the end of the first frame after so long; 0: none */
    uint64_t frame_share_ns; /* what those two may cost a frame on average: where they cost more,
                              * they come less often; 0: whatever they cost */
    uint64_t memory_bytes;   /* for what the history keeps beside the newest: the oldest go when it
                              * does not fit; 64 MiB */
    aee_restart_from restart;
    uint32_t back;               /* of AEE_RESTART_CHECKPOINT */
    uint64_t backoff_ns;         /* wait before the second restart within restart_window_ns of
                                  * aee_limits; doubles with each; 0: none */
    uint64_t backoff_max_ns;     /* ... up to this; 1 s */
    aee_context supervisor;      /* 0: none */
    aee_supervision supervision; /* of this context for those it supervises */
    uint32_t reserved0;
} aee_recovery_desc;

/* Sets all of it. Checkpoints that were taken in another mode are dropped. Errors:
 * INVALID_ARGUMENT, STALE, BUSY, NO_MEMORY, UNSUPPORTED, SYSTEM. */
AEE_API aee_result aee_set_recovery(aee_engine *engine, aee_context context,
                                    const aee_recovery_desc *desc, aee_error *error);
/* Says (non-zero) or takes back that a call of the function may be made twice with the effect of
 * once, until another image is loaded. Such a call of aee_call() and its kin, or of aee_submit() or
 * aee_parallel_for(), that ends with CRASHED or HUNG is made once more after the restart, and what
 * comes of that is its result. Calls that a thread waits for have the first result where the
 * context is not back within the restart's wait and a call budget; submitted ones wait until it is
 * back, stopped, paused, in quarantine or destroyed. Not for calls from within a host function that
 * the context called. Errors: NOT_LOADED, WRONG_HANDLE, STALE. */
AEE_API aee_result aee_set_idempotent(aee_engine *engine, aee_context context,
                                      aee_function function, int idempotent, aee_error *error);
/* Keeps the state that the component has now as its newest checkpoint. Waits for calls in flight,
 * at most about a call budget (BUSY); calls that come meanwhile wait. A failure leaves the earlier
 * ones as they were. Not from within a host function that this context called (BUSY). Errors:
 * NOT_LOADED, STALE, BUSY, STATE (nothing was declared), LIMIT, NO_MEMORY, and those of aee_call()
 * for a context that takes no calls. */
AEE_API aee_result aee_checkpoint(aee_engine *engine, aee_context context, aee_error *error);
/* Gives the component the state of the checkpoint `back` before the newest one (0) again; those
 * after it are gone. Functions, regions and limits stay as they are. Waits as aee_checkpoint()
 * does. A context that is stopped, in quarantine or restarting is restarted in that state. Errors:
 * NOT_FOUND (there are not so many), and those of aee_checkpoint() and aee_restart(). */
AEE_API aee_result aee_restore(aee_engine *engine, aee_context context, uint32_t back,
                               aee_error *error);

/* Writes the state that the component has now (what a checkpoint of the context's mode would keep)
 * to a file (docs/snapshots.md), for another run or another context with the same image. The
 * component stands still while its state is copied, not while the calling thread packs and writes
 * it. The file appears, or replaces the one of that name, when it is complete and on the disk; a
 * failure leaves no file, and the old one as it was. Does not touch the checkpoints. Errors: those
 * of aee_checkpoint(), INVALID_ARGUMENT, NO_MEMORY, and DENIED, LIMIT (the disk is full) or SYSTEM
 * for the file. */
AEE_API aee_result aee_snapshot_save(aee_engine *engine, aee_context context, const char *path,
                                     aee_error *error);
/* Gives the component the state of such a file, which need not be trusted; it becomes the newest
 * checkpoint, and the only one. The context must have the image loaded that the snapshot was made
 * with, as many lanes, and at least its memory and stack. Waits as aee_checkpoint() does, and calls
 * that come meanwhile wait until the state is unpacked (some 3 ms for each MiB). A context that is
 * stopped, in quarantine or restarting is restarted in that state. A failure changes nothing.
 * Errors: BAD_SNAPSHOT (damaged, or no snapshot), STATE (another image or mode), LIMIT (lanes,
 * memory or stack do not fit), ABI_VERSION, UNSUPPORTED (a newer format, or a processor with less),
 * DENIED or SYSTEM for the file, and those of aee_restore(). */
AEE_API aee_result aee_snapshot_load(aee_engine *engine, aee_context context, const char *path,
                                     aee_error *error);

typedef struct aee_fork_desc {
    uint32_t struct_size;
    uint32_t flags;   /* none are defined: must be 0 */
    const char *name; /* NULL: the template's; copied */
    void *user;       /* of the fork, for host functions and events */
} aee_fork_desc;

/* Makes a context that goes on where the template is now, between two calls: its image, state,
 * limits, grants, and the regions that it may only read. Neither sees what the other writes from
 * now on: the host's kernel copies a page when a fork first writes it (docs/recovery.md). A
 * fork has random numbers of its own, unless its template has a fixed seed, no checkpoints, and is
 * restarted from the image. `desc` may be NULL. Waits for the template's calls as aee_checkpoint()
 * does. Fast where the template has not been called since its last fork and a spare fork is ready:
 * some are made between frames, as many as aee_limits.spares says (docs/recovery.md).
 * Errors: those of aee_checkpoint(), and LIMIT (max_contexts), INVALID_ARGUMENT, SYSTEM. */
AEE_API aee_result aee_fork(aee_engine *engine, aee_context template_, const aee_fork_desc *desc,
                            aee_context *out, aee_error *error);

/* ---- Debugging ---------------------------------------------------------------------------- */

/* The component does not run, from its next instruction on, until a debugger has attached and lets
 * it go, for up to hold_ns. */
#define AEE_DEBUG_WAIT 1u
/* A crash is held, before anybody learns of it, until a debugger has attached and lets it come to
 * pass, for up to hold_ns. */
#define AEE_DEBUG_HOLD_CRASHES 2u

/* Zero in a field asks for the default. */
typedef struct aee_debug_desc {
    uint32_t struct_size;
    uint32_t flags;      /* AEE_DEBUG_ bits */
    const char *address; /* required: "unix:PATH", which must not exist and is made for this user
                          * only, or "127.0.0.1:PORT", which every user of the machine can connect
                          * to; port 0: any */
    const char *file;    /* where gdb finds the image with its symbols; NULL: the user says so */
    uint64_t hold_ns;    /* 5 min */
    uint64_t timeout_ns; /* a component that is stopped goes on, as if the debugger had gone, when
                          * that has said nothing for so long; 10 min */
} aee_debug_desc;

/* Lets gdb connect to a context ("target remote ADDRESS"; docs/debugging.md), until
 * aee_debug_close() or the context's end: its lanes are gdb's threads. Starts a thread. While gdb
 * is connected, calls have no budget; while it has stopped the component, whoever called waits.
 * Other contexts go on. A debugger can read and write all that the component can, and nothing else.
 * When gdb detaches or goes away, calls under way get their whole budget again. Errors:
 * INVALID_ARGUMENT, EXISTS (somebody listens already), UNSUPPORTED (at level none), NO_MEMORY,
 * STALE, SYSTEM. */
AEE_API aee_result aee_debug_listen(aee_engine *engine, aee_context context,
                                    const aee_debug_desc *desc, aee_error *error);
/* Where it listens, with the port that was taken. Errors: NOT_FOUND, TOO_LARGE, STALE. */
AEE_API aee_result aee_debug_address(aee_engine *engine, aee_context context, char *address,
                                     size_t capacity, aee_error *error);
/* Ends it; a debugger that is connected is let go. Errors: NOT_FOUND (nobody listens), STALE.
 */
AEE_API aee_result aee_debug_close(aee_engine *engine, aee_context context, aee_error *error);

/* ---- Determinism: the same again, and the same elsewhere ------------------------------------ */

#define AEE_FIXED_SEED 1u /* aee_seed() gives `seed` in instances that are made from now on */
#define AEE_FIXED_TIME 2u /* aee_frame() and aee_time_ns() count from the values given here */

/* What a component sees of time and chance (docs/rollback.md). */
typedef struct aee_determinism {
    uint32_t struct_size;
    uint32_t flags; /* AEE_FIXED_ bits; without one, the seed is random and time the clock's */
    uint64_t seed;
    uint64_t frame;        /* number of the frame that is now */
    uint64_t time_ns;      /* and its time */
    uint64_t time_step_ns; /* what each aee_engine_frame_begin() from now on adds to it */
} aee_determinism;

/* Holds for calls that begin from now on, over restarts; call it again to go back or forward in
 * time, or with no flags to end it. Without AEE_FIXED_TIME a component sees the number of the
 * engine's frame and when that began (CLOCK_MONOTONIC). Any thread; does not wait for calls.
 * Errors: INVALID_ARGUMENT, STALE. */
AEE_API aee_result aee_set_determinism(aee_engine *engine, aee_context context,
                                       const aee_determinism *determinism, aee_error *error);
/* A checksum (XXH3, 64 bits, not cryptographic) of the component's declared state: addresses, sizes
 * and bytes of AEE_STATE variables and of what aee_state_add() added, in that order. Peers that run
 * the same image on the same inputs compare it. Waits as aee_checkpoint() does. Errors: STATE (no
 * state is declared), and those of aee_checkpoint() for a context that takes no calls. */
AEE_API aee_result aee_state_checksum(aee_engine *engine, aee_context context, uint64_t *checksum,
                                      aee_error *error);

/* ---- Information -------------------------------------------------------------------------- */

typedef struct aee_context_info {
    char name[AEE_NAME_MAX];
    aee_kind kind;
    aee_level level; /* in force for its virtual machine; AUTO while it has none */
    aee_state state;
    int isolated;                /* 1: its memory is its own, enforced by page tables */
    aee_call_mode call_mode;     /* as asked for */
    aee_call_mode call_mode_now; /* what AUTO uses now */
    aee_limits limits;
    uint64_t memory_reserved; /* bytes of address space that the component may fill */
    uint64_t memory_resident; /* bytes that are backed by host memory now */
    uint64_t calls;           /* that returned a result */
    uint64_t failed_calls;    /* that entered the component and did not */
    uint64_t host_calls;
    uint64_t crashes;
    uint64_t hangs;
    uint64_t restarts;
    uint64_t exits;          /* VM exits to the library */
    uint64_t queued_calls;   /* submitted, not begun */
    uint64_t latency_p50_ns; /* of calls, from histograms with a relative error of 3% */
    uint64_t latency_p99_ns;
    uint64_t latency_max_ns;
    uint32_t spares_ready; /* instances that wait for a restart */
    uint32_t forks_ready;  /* spare forks that wait for aee_fork() */
    uint64_t cpu_ns;       /* time of its vCPUs in calls, all since it was created */
    uint64_t log_bytes;    /* that were not dropped, and 16 for each line */
    uint64_t disk_bytes;
    uint64_t network_bytes;
    uint64_t throttled_calls;     /* calls refused by calls_per_second */
    uint64_t throttled_cpu;       /* by cpu_ns_per_second */
    uint64_t throttled_cpu_total; /* by cpu_ns_total */
    uint64_t throttled_host_calls;
    uint64_t throttled_log; /* lines dropped */
    uint64_t throttled_disk;
    uint64_t throttled_network; /* charges refused */
    uint64_t checkpoints;       /* taken so far */
    uint64_t checkpoint_at_ns;  /* when the last was, on CLOCK_MONOTONIC; 0: there was none */
    uint64_t checkpoint_ns;     /* what it took */
    uint64_t restores;          /* to checkpoints, after crashes or on request */
    uint64_t checkpoints_kept;  /* that aee_restore() can go back to now */
} aee_context_info;

AEE_API aee_result aee_get_context_info(aee_engine *engine, aee_context context,
                                        aee_context_info *info, aee_error *error);

typedef struct aee_stats {
    uint32_t total_contexts;
    uint32_t active_contexts; /* that take calls */
    int use_vt_x;             /* as in aee_probe_report: in force, never wishful */
    int use_vt_d;
    int use_ept;
    aee_level level;
    uint32_t regions;
    uint32_t pool_ready; /* virtual machines waiting in the pool */
    uint64_t region_bytes;
    uint64_t calls;
    uint64_t host_calls;
    uint64_t crashes;
    uint64_t hangs;
    uint64_t restarts;
    uint64_t quarantines;
    uint64_t frames;
    uint64_t late_frames;
    uint64_t events_lost;
} aee_stats;

AEE_API aee_result aee_get_stats(aee_engine *engine, aee_stats *stats, aee_error *error);

typedef enum aee_crash_cause {
    AEE_CRASH_NONE = 0,
    AEE_CRASH_EXCEPTION,     /* a processor exception: vector, error code, address */
    AEE_CRASH_SYSCALL,       /* SYSCALL instruction: a component has no system calls */
    AEE_CRASH_MEMORY,        /* access to memory that was revoked or is backed by nothing */
    AEE_CRASH_ABORT,         /* the component called aee_abort() */
    AEE_CRASH_HUNG,          /* call budget overrun */
    AEE_CRASH_PROTOCOL,      /* unknown hypercall or nonsense on a ring */
    AEE_CRASH_HOST,          /* the host could not go on running it (KVM error) */
    AEE_CRASH_OUT_OF_MEMORY, /* the heap limit was reached and the component gave up */
    AEE_CRASH_KILLED, /* its process was ended: by the kernel for want of memory, or by others */
} aee_crash_cause;

typedef struct aee_registers {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rip, rflags;
} aee_registers;

typedef struct aee_crash {
    uint64_t id; /* counts up per context, from 1 */
    aee_crash_cause cause;
    uint32_t lane;
    uint32_t vector; /* of AEE_CRASH_EXCEPTION */
    uint32_t error_code;
    uint64_t fault_address; /* of a page fault; guest physical, if known, of AEE_CRASH_MEMORY */
    aee_registers registers;
    char function[AEE_NAME_MAX]; /* that contains registers.rip; "" if unknown */
    uint64_t function_offset;
    char called[AEE_NAME_MAX]; /* export; "" for initialisers, "-" between calls */
    char text[248];            /* the report in one sentence */
} aee_crash;

/* The last crash of the context. Errors: NOT_FOUND (it never crashed), STALE. */
AEE_API aee_result aee_last_crash(aee_engine *engine, aee_context context, aee_crash *crash,
                                  aee_error *error);

/* Leaves the stack trace out: libdw reads the image's debugging information for it, on the calling
 * thread and for some milliseconds, and was not written for hostile input (docs/crashes.md). */
#define AEE_CRASH_NO_TRACE 1u

/* The whole report of the last crash as a JSON document (docs/crashes.md): the sentence, registers
 * and what they point to, stack trace, the last calls and host calls of each lane, the last log
 * lines, the memory map; all as it was at the crash. *size receives its bytes, without the
 * terminator that is written, too. TOO_LARGE: the buffer has no room for both, and nothing was
 * written (a capacity of 0 asks for the size). Errors: TOO_LARGE, INVALID_ARGUMENT, NOT_FOUND,
 * NO_MEMORY, STALE. */
AEE_API aee_result aee_crash_json(aee_engine *engine, aee_context context, uint32_t flags,
                                  char *buffer, size_t capacity, size_t *size, aee_error *error);

#define AEE_CRASH_FILES_NO_CORE 1u  /* reports only */
#define AEE_CRASH_FILES_NO_TRACE 2u /* as AEE_CRASH_NO_TRACE */

/* Where core files go. Zero in a field asks for the default. */
typedef struct aee_crash_files_desc {
    uint32_t struct_size;
    uint32_t flags;        /* AEE_CRASH_FILES_ bits */
    const char *directory; /* required; must exist, and is opened now; "": no files */
    uint32_t max_files;    /* core files of this library in it: the oldest go; 16, at most 4096 */
    uint32_t reserved0;
    uint64_t max_bytes; /* of memory in one core file; regions and heap are left out first; 1 GiB */
} aee_crash_files_desc;

/* From now on each crash of the context, or for the zero handle of all contexts that have no
 * setting of their own, leaves an ELF core file, which gdb opens beside the image, and its report
 * in the directory: aee-TIME-PROCESS-CONTEXT-CRASH.core and .json. They are written by a thread of
 * the library under a temporary name; AEE_EVENT_CRASH_SAVED has the name without its end,
 * AEE_EVENT_CRASH_NOT_SAVED the reason, and then there is none. Until then the memory of the
 * crashed instance is kept, and a restart makes a new one. A crash while files of an earlier one of
 * the same context are written has none. A desc of NULL takes the setting away. Errors:
 * INVALID_ARGUMENT, SYSTEM or DENIED (the directory), NO_MEMORY, STALE. */
AEE_API aee_result aee_set_crash_files(aee_engine *engine, aee_context context,
                                       const aee_crash_files_desc *desc, aee_error *error);

/* ---- Events and frames -------------------------------------------------------------------- */

typedef enum aee_event_type {
    AEE_EVENT_LOADED = 1,
    AEE_EVENT_CRASHED,
    AEE_EVENT_HUNG,
    AEE_EVENT_RESTARTED,
    AEE_EVENT_RESTART_FAILED,
    AEE_EVENT_QUARANTINED,
    AEE_EVENT_PAUSED,
    AEE_EVENT_RESUMED,
    AEE_EVENT_STOPPED,
    AEE_EVENT_DESTROYED,
    AEE_EVENT_REGION_REVOKED,
    AEE_EVENT_FRAME_LATE,
    AEE_EVENT_LOG_DROPPED,
    AEE_EVENT_SPARE_FAILED, /* no crash of the context; no more spares until the next load, or no
                             * more spare forks until it is called */
    AEE_EVENT_FALLBACK,     /* of the engine: what of its level the host does not give */
    AEE_EVENT_THROTTLED,    /* over a limit of aee_limits: at most once a second for each limit */
    AEE_EVENT_CRASH_SAVED,  /* of aee_set_crash_files(): the text is the files' name, and behind a
                             * comma what they lack */
    AEE_EVENT_CRASH_NOT_SAVED,   /* and why there are none */
    AEE_EVENT_DEBUGGER,          /* one has attached, or is gone */
    AEE_EVENT_RESTARTING,        /* a restart waits: for its time, or for the supervisor's */
    AEE_EVENT_CHECKPOINT_FAILED, /* one at the end of a frame; told once until one succeeds */
    AEE_EVENT_COUNT
} aee_event_type;

typedef struct aee_event {
    aee_event_type type;
    aee_context context; /* 0 for events of the engine */
    void *context_user;
    uint64_t time_ns;  /* CLOCK_MONOTONIC */
    uint64_t frame;    /* frames begun so far */
    uint64_t crash_id; /* of CRASHED and HUNG */
    char context_name[AEE_NAME_MAX];
    char text[248]; /* one sentence */
} aee_event;

AEE_API const char *aee_event_name(aee_event_type type);

/* Called by aee_engine_frame_end() and aee_poll_events(), on their thread; may use the library. */
typedef void (*aee_event_fn)(void *user, const aee_event *event);
AEE_API aee_result aee_set_event_callback(aee_engine *engine, aee_event_fn function, void *user,
                                          aee_error *error);
/* Delivers queued events now; `delivered` (may be NULL) receives how many. The queue holds 1024;
 * what comes on top is counted in aee_stats.events_lost. */
AEE_API aee_result aee_poll_events(aee_engine *engine, uint32_t *delivered, aee_error *error);

typedef struct aee_frame_info {
    uint64_t frame;       /* number of this frame, from 1 */
    uint64_t duration_ns; /* from begin to end */
    int late;             /* it took longer than frame_budget_ns */
} aee_frame_info;

/* Brackets a frame of the engine. One thread at a time; frames do not nest (AEE_ERR_STATE). The end
 * delivers events. `info` may be NULL. Machines for the pool and spares are made between frames,
 * or, where there is no time between them, in every ninth. */
AEE_API aee_result aee_engine_frame_begin(aee_engine *engine, aee_error *error);
AEE_API aee_result aee_engine_frame_end(aee_engine *engine, aee_frame_info *info, aee_error *error);

/* ---- Trace -------------------------------------------------------------------------------- */

/* Takes the next `size` bytes of a trace; not 0: it takes no more. Starts and stops no traces. */
typedef int (*aee_trace_write_fn)(void *user, const void *bytes, size_t size);

/* Where a trace goes, and what it may take (docs/tracing.md). Zero asks for the default. */
typedef struct aee_trace_desc {
    uint32_t struct_size;
    uint32_t flags;           /* none are defined: must be 0 */
    const char *path;         /* file to be written; or `write`: exactly one of the two */
    aee_trace_write_fn write; /* called by aee_trace_stop() and aee_engine_destroy() */
    void *write_user;
    uint32_t calls_per_lane; /* and host calls, kept: the last ones. Rounded up to a power of two;
                              * 8192, at most 2^20. 32 bytes each */
    uint32_t reserved0;
    uint64_t memory_bytes; /* for all lanes, 64 MiB: those that find none are not recorded */
    uint64_t max_bytes;    /* of the output; 256 MiB, at least 2 MiB: the oldest calls go first */
} aee_trace_desc;

/* Begins to record calls, host calls, exits, frames and events of all contexts: names, times,
 * results, never arguments or contents. Memory is bounded: what is older is overwritten, and
 * counted. A file is written beside `path` under another name and takes its own when it is
 * complete; anything but a plain file at `path` is refused. Errors: INVALID_ARGUMENT, STATE (a
 * trace is on already), NO_MEMORY, DENIED, LIMIT, SYSTEM (the file cannot be made). */
AEE_API aee_result aee_trace_start(aee_engine *engine, const aee_trace_desc *desc,
                                   aee_error *error);
/* Ends the trace and writes it in the Chrome trace event format (JSON), which Perfetto's UI and
 * chrome://tracing open, on the calling thread. May be called while other threads call: a call that
 * has not ended is not in it. Also after a failure the trace is over; a file that was at `path`
 * before stays as it was. aee_engine_destroy() stops a trace that is on, and logs failures.
 * Errors: STATE (no trace is on), NO_MEMORY, LIMIT (no room on the disk), SYSTEM, and
 * HOST_FUNCTION (`write` took no more). */
AEE_API aee_result aee_trace_stop(aee_engine *engine, aee_error *error);

#ifdef __cplusplus
}
#endif

#endif
