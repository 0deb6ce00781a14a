/* engine.c: making and unmaking engines. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "engine/engine.h"
#include "engine/levels.h"
#include "isolation/spares.h"
#include "recovery/capture.h"
#include "recovery/checkpoints.h"
#include "recovery/crash_files.h"
#include "recovery/gdb.h"
#include "recovery/policy.h"
#include "recovery/report.h"

static const struct aee__recovery_ops recovery = {.describe = aee__report_describe,
                                                  .capture = aee__capture,
                                                  .number = aee__capture_number,
                                                  .forget_files = aee__crash_files_release,
                                                  .decide = aee__policy_decide,
                                                  .backoff = aee__policy_backoff,
                                                  .configure = aee__checkpoint_configure,
                                                  .keeps_machine = aee__checkpoint_keeps_machine,
                                                  .choose = aee__checkpoint_choose,
                                                  .origin = aee__checkpoint_origin,
                                                  .restore = aee__checkpoint_begin,
                                                  .count = aee__checkpoint_count,
                                                  .forget = aee__checkpoint_forget};

/* ---- Settings ----------------------------------------------------------------------------- */

static aee_result check_desc(aee_engine_desc *desc, aee_error *error)
{
    const struct {
        const char *field;
        uint64_t value;
        uint64_t most;
    } ranges[] = {
        {"flags", desc->flags, 0},
        {"level", desc->level, AEE_LEVEL_FULL},
        {"minimum_level", desc->minimum_level, AEE_LEVEL_FULL},
        {"max_contexts", desc->max_contexts, 65536},
        {"pool_size", desc->pool_size, AEE__POOL_MAX},
        {"worker_threads", desc->worker_threads, AEE__WORKERS_MAX},
        {"spin_ns", desc->spin_ns, 10000000},
        {"max_submitted", desc->max_submitted, 1u << 20},
        {"jail", desc->jail, AEE_JAIL_LOG},
    };
    for (unsigned i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (ranges[i].value > ranges[i].most) {
            return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                             "cannot create an engine: %s is %llu, at most %llu is allowed",
                             ranges[i].field, (unsigned long long)ranges[i].value,
                             (unsigned long long)ranges[i].most);
        }
    }
    if (desc->kick_signal != 0 && (desc->kick_signal < SIGRTMIN || desc->kick_signal > SIGRTMAX)) {
        return aee__fail(
            error, AEE_ERR_INVALID_ARGUMENT,
            "cannot create an engine: kick_signal %d is not a real-time signal (%d to %d)",
            desc->kick_signal, SIGRTMIN, SIGRTMAX);
    }
    return AEE_OK;
}

static void fill_defaults(aee_engine_desc *desc, uint32_t cpus)
{
    desc->max_contexts = desc->max_contexts ? desc->max_contexts : 1024;
    desc->pool_size = desc->pool_size ? desc->pool_size : 4;
    desc->frame_budget_ns = desc->frame_budget_ns ? desc->frame_budget_ns : 16666667;
    desc->spin_ns = desc->spin_ns ? desc->spin_ns : 50000;
    desc->max_submitted = desc->max_submitted ? desc->max_submitted : 16384;
    desc->kick_signal = desc->kick_signal ? desc->kick_signal : SIGRTMAX - 1;
    if (desc->worker_threads == 0) {
        uint32_t spare = cpus > 1 ? cpus - 1 : 1;
        desc->worker_threads = spare < AEE__WORKERS_MAX ? spare : AEE__WORKERS_MAX;
    }
}

/* So that whole test programs run with a jail. */
static void jail_for_tests(aee_engine_desc *desc)
{
#ifdef AEE_TESTING
    const char *mode = getenv("AEE_TEST_JAIL");
    if (mode && desc->jail == AEE_JAIL_OFF) {
        desc->jail = strcmp(mode, "log") == 0 ? AEE_JAIL_LOG : AEE_JAIL_ON;
    }
#else
    (void)desc;
#endif
}

/* ---- Parts, started in order and stopped in reverse --------------------------------------- */

static bool prepare_machines(void *user)
{
    struct aee__core *core = user;
    return aee__pool_fill_one(&core->pool) || aee__templates_look_after_one(core);
}

static aee_result open_backend(struct aee__core *core, const aee_engine_desc *desc,
                               aee_error *error)
{
    struct aee__wish wish = {.level = desc->level, .minimum = desc->minimum_level};
    aee_result result = aee__wish_read(&wish, error);
    return result == AEE_OK ? aee__levels_open(&wish, &core->alloc, core->kick_signal, &core->ops,
                                               &core->backend, error)
                            : result;
}

static aee_result start_events(struct aee__core *core, aee_error *error)
{
    aee_event event = {.type = AEE_EVENT_FALLBACK, .time_ns = aee__now_ns()};
    const char *missing = core->ops->shortfall ? core->ops->shortfall(core->backend) : "";
    aee_result result = aee__events_create(&core->events, &core->alloc, error);
    if (result == AEE_OK && missing[0]) {
        (void)snprintf(event.text, sizeof event.text, "level %s without all of it: %.160s",
                       aee_level_name(core->ops->level), missing);
        aee__events_push(&core->events, &event);
    }
    return result;
}

/* One server that is at work elsewhere is enough to have others started. */
#define SERVERS_IDLE 1u

static void close_jail(struct aee__core *core)
{
    if (core->jailed) {
        aee__workers_destroy(&core->servers);
        aee__starter_close(&core->starter);
        aee__jail_destroy(&core->jail);
        core->jailed = false;
    }
}

/* A jail that was asked for is there, or there is no engine. */
static aee_result open_jail(struct aee__core *core, aee_jail_mode mode, aee_error *error)
{
    aee_error why = {0};
    aee_result result =
        aee__jail_create(&core->jail, &core->alloc, mode, core->kick_signal,
                         core->ops->run_requests, core->ops->run_request_count, &why);
    if (result == AEE_OK) {
        result = aee__jail_try(&core->jail, &why);
    }
    if (result == AEE_OK) {
        result = aee__starter_open(&core->starter, &why);
    }
    if (result != AEE_OK) {
        aee__jail_destroy(&core->jail);
        result = aee__fail(error, result, "cannot create an engine with a jail: %s", why.text);
        if (error) {
            error->os_errno = why.os_errno;
        }
        return result;
    }
    aee__workers_init(&core->servers, SERVERS_IDLE);
    aee__workers_use(&core->servers, "aee-server", &core->starter, NULL);
    core->jailed = true;
    if (!aee__workers_prepare(&core->servers)) {
        close_jail(core);
        return aee__fail(error, AEE_ERR_LIMIT,
                         "cannot create an engine with a jail: no thread for host functions");
    }
    return AEE_OK;
}

enum {
    PART_BACKEND,
    PART_CONTEXTS,
    PART_BATCHES,
    PART_REGIONS,
    PART_EVENTS,
    PART_FUNCTIONS,
    PART_WATCHDOG,
    PART_JAIL,
    PART_HOUSEKEEPER,
    PART_RESTARTER,
    PART_COUNT
};

static aee_result start_part(aee_engine *engine, const aee_engine_desc *desc, uint32_t part,
                             uint64_t salt, aee_error *error)
{
    struct aee__core *core = &engine->core;
    switch (part) {
    case PART_BACKEND:
        return open_backend(core, desc, error);
    case PART_CONTEXTS:
        return aee__handles_create(&core->contexts, &core->alloc, AEE__HANDLE_CONTEXT, salt,
                                   desc->max_contexts, error);
    case PART_BATCHES:
        aee__batches_init(&core->batches, &core->alloc, desc->max_submitted);
        return aee__handles_create(&core->batch_handles, &core->alloc, AEE__HANDLE_BATCH, salt,
                                   AEE__BATCHES_MAX, error);
    case PART_REGIONS:
        return aee__handles_create(&engine->regions, &core->alloc, AEE__HANDLE_REGION, salt,
                                   (uint32_t)AEE__REGION_GRANULES, error);
    case PART_EVENTS:
        return start_events(core, error);
    case PART_FUNCTIONS:
        return aee__host_functions_create(&core->functions, &core->alloc, error);
    case PART_WATCHDOG:
        return aee__watchdog_start(&core->watchdog, error);
    case PART_JAIL:
        return desc->jail != AEE_JAIL_OFF ? open_jail(core, (aee_jail_mode)desc->jail, error)
                                          : AEE_OK;
    case PART_HOUSEKEEPER:
        aee__pool_init(&core->pool, core->ops, core->backend, desc->pool_size);
        aee__workers_init(&core->workers, desc->worker_threads);
        if (core->jailed) {
            aee__workers_use(&core->workers, "aee-worker", &core->starter, &core->jail);
        }
        return aee__housekeeper_start(&core->housekeeper, "aee-housekeeper", prepare_machines, core,
                                      error);
    default:
        return aee__housekeeper_start(&core->restarter, "aee-restarter", aee__spares_fill_one, core,
                                      error);
    }
}

/* Its calls have ended with their contexts. */
static void drop_batch(void *user, uint64_t handle, void *object)
{
    (void)handle;
    aee__batch_free(user, object);
}

static void stop_part(aee_engine *engine, uint32_t part)
{
    struct aee__core *core = &engine->core;
    switch (part) {
    case PART_BACKEND:
        core->ops->close(core->backend);
        break;
    case PART_CONTEXTS:
        aee__handles_destroy(&core->contexts);
        break;
    case PART_BATCHES:
        aee__handles_each(&core->batch_handles, drop_batch, &core->batches);
        aee__handles_destroy(&core->batch_handles);
        aee__batches_destroy(&core->batches);
        break;
    case PART_REGIONS:
        aee__handles_destroy(&engine->regions);
        break;
    case PART_EVENTS:
        aee__events_destroy(&core->events);
        break;
    case PART_FUNCTIONS:
        aee__host_functions_destroy(&core->functions);
        break;
    case PART_WATCHDOG:
        aee__watchdog_stop(&core->watchdog);
        break;
    case PART_JAIL:
        close_jail(core);
        break;
    case PART_HOUSEKEEPER:
        aee__workers_destroy(&core->workers);
        aee__housekeeper_stop(&core->housekeeper);
        aee__pool_destroy(&core->pool);
        break;
    default:
        aee__housekeeper_stop(&core->restarter);
        break;
    }
}

static void free_engine(aee_engine *engine)
{
    struct aee__alloc alloc = engine->core.alloc;
    aee__tracing_destroy(engine); /* a trace that is on needs the names of host functions */
    while (engine->parts > 0) {
        stop_part(engine, --engine->parts);
    }
    if (engine->arena_made) {
        aee__region_arena_destroy(&engine->arena);
    }
    aee__crash_files_release(&engine->core, engine->core.crash_files);
    (void)pthread_mutex_destroy(&engine->core.crash_files_lock);
    aee__kept_files_destroy(&engine->core.kept_files);
    (void)pthread_mutex_destroy(&engine->shutdown_lock);
    (void)pthread_mutex_destroy(&engine->limits_lock);
    (void)pthread_mutex_destroy(&engine->recovery_lock);
    (void)pthread_mutex_destroy(&engine->regions_lock);
    (void)pthread_mutex_destroy(&engine->events_lock);
    (void)pthread_mutex_destroy(&engine->frame_lock);
    if (engine->alive) {
        (void)aee__sys_munmap(engine->alive, 4096);
    }
    aee__alloc_free(&alloc, engine, sizeof *engine);
}

/* A page that the kernel clears in a child of fork(): machines cannot be used there. */
static aee_result make_alive_page(aee_engine *engine, aee_error *error)
{
    void *page =
        aee__sys_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return aee__fail_os(error, errno, "cannot create an engine");
    }
    engine->alive = page;
    if (aee__sys_madvise(page, 4096, MADV_WIPEONFORK) != 0) {
        return aee__fail_os(error, errno, "cannot create an engine: MADV_WIPEONFORK");
    }
    *engine->alive = 1;
    return AEE_OK;
}

static aee_result start(aee_engine *engine, const aee_engine_desc *desc, aee_error *error)
{
    uint64_t salt;
    aee_result result = make_alive_page(engine, error);
    if (result == AEE_OK && aee__sys_random(&salt, sizeof salt) != 0) {
        result = aee__fail_os(error, errno, "cannot create an engine: no random numbers");
    }
    while (result == AEE_OK && engine->parts < PART_COUNT) {
        result = start_part(engine, desc, engine->parts, salt, error);
        engine->parts += result == AEE_OK;
    }
    return result;
}

aee_result aee_engine_create(const aee_engine_desc *user_desc, aee_engine **out, aee_error *error)
{
    if (!out) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot create an engine: out is NULL");
    }
    *out = NULL;
    aee_engine_desc desc = {0};
    aee_result result = AEE_OK;
    if (user_desc) {
        result = aee__copy_desc("create an engine", user_desc, &desc, sizeof desc,
                                offsetof(aee_engine_desc, max_contexts), error);
    }
    if (result == AEE_OK) {
        result = check_desc(&desc, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    uint32_t cpus = (uint32_t)aee__sys_cpu_count();
    fill_defaults(&desc, cpus);
    jail_for_tests(&desc);
    struct aee__alloc alloc =
        desc.alloc ? (struct aee__alloc){desc.alloc, desc.alloc_user} : aee__alloc_default;
    aee_engine *engine = aee__alloc_zero(&alloc, 1, sizeof *engine);
    if (!engine) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot create an engine: out of memory");
    }
    engine->core.engine = engine;
    engine->core.alloc = alloc;
    engine->core.log = desc.log;
    engine->core.log_user = desc.log_user;
    engine->core.kick_signal = desc.kick_signal;
    engine->core.cpus = cpus;
    engine->core.spin_ns = desc.spin_ns;
    aee__ticker_init(&engine->core.ticker);
    engine->core.spin_turns = cpus > 1 ? aee__ticker_turns(&engine->core.ticker, desc.spin_ns) : 0;
    engine->core.recovery = &recovery;
    aee__kept_files_init(&engine->core.kept_files, &engine->core.alloc);
    (void)pthread_mutex_init(&engine->core.crash_files_lock, NULL);
    engine->core.debug = &aee__gdb_ops;
    engine->frame_budget_ns = desc.frame_budget_ns;
    aee__tracing_init(engine);
    (void)pthread_mutex_init(&engine->shutdown_lock, NULL);
    (void)pthread_mutex_init(&engine->limits_lock, NULL);
    (void)pthread_mutex_init(&engine->recovery_lock, NULL);
    (void)pthread_mutex_init(&engine->regions_lock, NULL);
    (void)pthread_mutex_init(&engine->events_lock, NULL);
    (void)pthread_mutex_init(&engine->frame_lock, NULL);
    result = start(engine, &desc, error);
    if (result != AEE_OK) {
        free_engine(engine);
        return result;
    }
    *out = engine;
    return aee__ok(error);
}

aee_result aee_engine_shutdown(aee_engine *engine, aee_error *error)
{
    aee_result result = aee__engine_check(engine, "shut the engine down", error);
    if (result == AEE_ERR_CLOSED) { /* wait for a shutdown that is under way */
        result = AEE_OK;
    }
    if (result != AEE_OK || aee__contexts_any_reentry(engine, error)) {
        return result != AEE_OK ? result : AEE_ERR_BUSY;
    }
    (void)pthread_mutex_lock(&engine->shutdown_lock);
    if (!atomic_load(&engine->closed)) {
        aee__contexts_destroy_all(engine);
        aee__regions_destroy_all(engine);
    }
    (void)pthread_mutex_unlock(&engine->shutdown_lock);
    return aee__ok(error);
}

void aee_engine_destroy(aee_engine *engine)
{
    /* In a child of fork() the threads and machines are not there: nothing can be taken apart. */
    if (engine && *engine->alive && aee_engine_shutdown(engine, NULL) == AEE_OK) {
        free_engine(engine);
    }
}
