/* tracing.c: starting, stopping and writing a trace. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"
#include "base/sys_file.h"
#include "engine/engine.h"
#include "isolation/tracing.h"
#include "monitor/trace_json.h"

#define CALLS_MOST (1u << 20)

/* ---- Settings ----------------------------------------------------------------------------- */

static uint32_t power_of_two(uint32_t value)
{
    uint32_t power = 16;
    while (power < value) {
        power *= 2;
    }
    return power;
}

static aee_result complete(aee_trace_desc *desc, aee_error *error)
{
    const char *wrong = NULL;
    if (desc->flags != 0 || desc->reserved0 != 0) {
        wrong = "flags and reserved0 must be 0";
    } else if ((desc->path != NULL) == (desc->write != NULL)) {
        wrong = "exactly one of path and write must be given";
    } else if (desc->path && desc->path[0] == '\0') {
        wrong = "path is empty";
    } else if (desc->calls_per_lane > CALLS_MOST) {
        wrong = "calls_per_lane is more than 2^20";
    } else if (desc->max_bytes > 0 && desc->max_bytes < AEE__TRACE_BYTES_LEAST) {
        wrong = "max_bytes is less than 2 MiB";
    }
    if (wrong) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT, "cannot start a trace: %s", wrong);
    }
    desc->calls_per_lane = power_of_two(desc->calls_per_lane ? desc->calls_per_lane : 8192);
    desc->memory_bytes = desc->memory_bytes ? desc->memory_bytes : UINT64_C(64) << 20;
    desc->max_bytes = desc->max_bytes ? desc->max_bytes : UINT64_C(256) << 20;
    return AEE_OK;
}

/* ---- The file ----------------------------------------------------------------------------- */

/* Made at the start, so that a path that is wrong is known before the trace is wanted. */
static aee_result open_file(aee_engine *engine, const char *path, aee_error *error)
{
    struct aee__tracing *tracing = &engine->tracing;
    size_t size = strlen(path) + 1;
    tracing->path = aee__alloc_zero(&engine->core.alloc, 1, size);
    if (!tracing->path) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot start a trace: out of memory");
    }
    memcpy(tracing->path, path, size);
    tracing->desc.path = tracing->path;
    tracing->written = 0;
    return aee__new_file_begin(&tracing->file, tracing->path)
               ? AEE_OK
               : aee__fail_os(error, errno, "cannot start a trace: cannot make \"%s\"", path);
}

static void drop_file(aee_engine *engine)
{
    struct aee__tracing *tracing = &engine->tracing;
    aee__new_file_end(&tracing->file);
    if (tracing->path) {
        aee__alloc_free(&engine->core.alloc, tracing->path, strlen(tracing->path) + 1);
    }
    tracing->path = NULL;
}

static int write_file(void *user, const void *bytes, size_t size)
{
    struct aee__tracing *tracing = user;
    if (aee__sys_write_all(tracing->file.fd, bytes, size, tracing->written) != 0) {
        tracing->os_errno = errno;
        return -1;
    }
    tracing->written += size;
    return 0;
}

/* ---- Writing ------------------------------------------------------------------------------ */

static const char *host_name(const void *owner, int32_t function)
{
    const struct aee__host_functions *functions = owner;
    return function >= 0 && (uint32_t)function < atomic_load(&functions->count)
               ? functions->entries[function].name
               : NULL;
}

static aee_result write_trace(aee_engine *engine, aee_error *error)
{
    struct aee__tracing *tracing = &engine->tracing;
    char title[64];
    (void)snprintf(title, sizeof title, "aee engine, level %s",
                   aee_level_name(engine->core.ops->level));
    bool to_file = tracing->path != NULL;
    const struct aee__trace_output output = {.write = to_file ? write_file : tracing->desc.write,
                                             .user = to_file ? tracing : tracing->desc.write_user,
                                             .max_bytes = tracing->desc.max_bytes,
                                             .process = aee__sys_process(),
                                             .title = title,
                                             .host_name = host_name,
                                             .host_names = &engine->core.functions};
    aee_result result = aee__trace_write(&engine->core.trace, &output, error);
    if (result == AEE_ERR_SYSTEM && to_file) {
        return aee__fail_os(error, tracing->os_errno, "cannot write the trace to \"%s\"",
                            tracing->path);
    }
    if (result == AEE_ERR_SYSTEM) {
        return aee__fail(error, AEE_ERR_HOST_FUNCTION,
                         "cannot write the trace: the engine's function took no more");
    }
    if (result == AEE_OK && to_file && !aee__new_file_keep(&tracing->file)) {
        return aee__fail_os(error, errno, "cannot write the trace to \"%s\"", tracing->path);
    }
    return result;
}

/* With the lock held. */
static aee_result stop(aee_engine *engine, aee_error *error)
{
    sigset_t mask;
    aee__trace_end(&engine->core.trace);
    aee__sys_block_file_signal(&mask, true);
    aee_result result = write_trace(engine, error);
    aee__sys_block_file_signal(&mask, false);
    drop_file(engine);
    aee__trace_clear(&engine->core.trace);
    return result;
}

/* ---- The public calls --------------------------------------------------------------------- */

static aee_result start(aee_engine *engine, const aee_trace_desc *desc, aee_error *error)
{
    struct aee__tracing *tracing = &engine->tracing;
    if (aee__trace_is_on(&engine->core.trace)) {
        return aee__fail(error, AEE_ERR_STATE, "cannot start a trace: one is on already");
    }
    tracing->desc = *desc;
    aee_result result = desc->path ? open_file(engine, desc->path, error) : AEE_OK;
    if (result == AEE_OK) {
        result =
            aee__trace_begin(&engine->core.trace, desc->calls_per_lane, desc->memory_bytes, error);
    }
    if (result != AEE_OK) {
        drop_file(engine);
        return result;
    }
    aee__tracing_attach_all(&engine->core);
    return AEE_OK;
}

aee_result aee_trace_start(aee_engine *engine, const aee_trace_desc *user_desc, aee_error *error)
{
    aee_trace_desc desc = {0};
    aee_result result = aee__engine_check(engine, "start a trace", error);
    if (result == AEE_OK) {
        result = aee__copy_desc("start a trace", user_desc, &desc, sizeof desc,
                                offsetof(aee_trace_desc, calls_per_lane), error);
    }
    if (result == AEE_OK) {
        result = complete(&desc, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&engine->tracing.lock);
    result = start(engine, &desc, error);
    (void)pthread_mutex_unlock(&engine->tracing.lock);
    return result == AEE_OK ? aee__ok(error) : result;
}

aee_result aee_trace_stop(aee_engine *engine, aee_error *error)
{
    aee_result result = aee__engine_check(engine, "stop the trace", error);
    if (result != AEE_OK) {
        return result;
    }
    (void)pthread_mutex_lock(&engine->tracing.lock);
    result = aee__trace_is_on(&engine->core.trace)
                 ? stop(engine, error)
                 : aee__fail(error, AEE_ERR_STATE, "cannot stop the trace: none is on");
    (void)pthread_mutex_unlock(&engine->tracing.lock);
    return result == AEE_OK ? aee__ok(error) : result;
}

/* ---- Life --------------------------------------------------------------------------------- */

void aee__tracing_init(aee_engine *engine)
{
    struct aee__core *core = &engine->core;
    (void)pthread_mutex_init(&engine->tracing.lock, NULL);
    engine->tracing.file = (struct aee__new_file)AEE__NEW_FILE_NONE;
    aee__trace_init(&core->trace, &core->alloc, &core->ticker);
}

void aee__tracing_destroy(aee_engine *engine)
{
    struct aee__core *core = &engine->core;
    aee_error error = {0};
    if (aee__trace_is_on(&core->trace) && stop(engine, &error) != AEE_OK && core->log) {
        core->log(core->log_user, AEE_LOG_ERROR, (aee_context){0}, error.text);
    }
    aee__trace_destroy(&core->trace);
    (void)pthread_mutex_destroy(&engine->tracing.lock);
}
