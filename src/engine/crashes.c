/* crashes.c: the public side of crash reports. */
#include <string.h>

#include "engine/engine.h"
#include "recovery/crash_files.h"
#include "recovery/report_json.h"

#define FILES_DEFAULT 16u
#define FILES_MOST 4096u
#define BYTES_DEFAULT (UINT64_C(1) << 30)

aee_result aee_crash_json(aee_engine *engine, aee_context handle, uint32_t flags, char *buffer,
                          size_t capacity, size_t *size, aee_error *error)
{
    struct aee__context *context;
    struct aee__json json;
    if (size) {
        *size = 0;
    }
    aee_result result = aee__engine_enter(engine, handle, "report a crash", &context, error);
    if (result != AEE_OK) {
        return result;
    }
    if (!size || (!buffer && capacity > 0) || (flags & ~(uint32_t)AEE_CRASH_NO_TRACE) != 0) {
        result = aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                           "cannot report the crash of context \"%s\": %s", context->name,
                           !size                     ? "size is NULL"
                           : !buffer && capacity > 0 ? "buffer is NULL"
                                                     : "unknown flags");
        aee__engine_leave(context);
        return result;
    }
    result = aee__report_last(context, !(flags & AEE_CRASH_NO_TRACE), &json, error);
    if (result == AEE_OK) {
        *size = json.used;
        if (json.used < capacity) {
            memcpy(buffer, json.text, json.used);
            buffer[json.used] = '\0';
        } else {
            result = aee__fail(error, AEE_ERR_TOO_LARGE,
                               "the report of context \"%s\" has %zu bytes, and a terminator: the "
                               "buffer has %zu",
                               context->name, json.used, capacity);
        }
    }
    aee__json_free(&json);
    aee__engine_leave(context);
    return result == AEE_OK ? aee__ok(error) : result;
}

/* ---- Files -------------------------------------------------------------------------------- */

static aee_result check_files(aee_crash_files_desc *desc, aee_error *error)
{
    const uint32_t known = AEE_CRASH_FILES_NO_CORE | AEE_CRASH_FILES_NO_TRACE;
    if (!desc->directory) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot set crash files: directory is NULL");
    }
    if ((desc->flags & ~known) != 0 || desc->reserved0 != 0 || desc->max_files > FILES_MOST) {
        return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                         "cannot set crash files: flags are unknown, or max_files is more than %u",
                         FILES_MOST);
    }
    desc->max_files = desc->max_files ? desc->max_files : FILES_DEFAULT;
    desc->max_bytes = desc->max_bytes ? desc->max_bytes : BYTES_DEFAULT;
    return AEE_OK;
}

/* Those that have an image need a second record. */
static void prepare(void *user, uint64_t handle, void *object)
{
    struct aee__context *context = object;
    aee_result *result = user;
    (void)handle;
    (void)pthread_mutex_lock(&context->keep.lock);
    bool loaded = context->keep.record != NULL;
    (void)pthread_mutex_unlock(&context->keep.lock);
    if (loaded && *result == AEE_OK) {
        *result = aee__crash_keep_prepare(context, NULL);
    }
}

static aee_result set_files(aee_engine *engine, struct aee__context *context,
                            const aee_crash_files_desc *desc, aee_error *error)
{
    aee_error own = {0};
    aee_result result = aee__crash_files_set(&engine->core, context, desc, &own);
    if (result != AEE_OK) {
        if (error) {
            *error = own;
        }
        return result;
    }
    if (desc && context) {
        prepare(&result, 0, context);
    } else if (desc) {
        aee__handles_each(&engine->core.contexts, prepare, &result);
    }
    if (result != AEE_OK) {
        (void)aee__crash_files_set(&engine->core, context, NULL, NULL);
        return aee__fail(error, result, "cannot set crash files: out of memory");
    }
    return aee__ok(error);
}

aee_result aee_set_crash_files(aee_engine *engine, aee_context handle,
                               const aee_crash_files_desc *user_desc, aee_error *error)
{
    aee_crash_files_desc desc = {0};
    struct aee__context *context = NULL;
    aee_result result = aee__engine_check(engine, "set crash files", error);
    if (result == AEE_OK && user_desc) {
        result = aee__copy_desc("set crash files", user_desc, &desc, sizeof desc,
                                offsetof(aee_crash_files_desc, max_files), error);
        if (result == AEE_OK) {
            result = check_files(&desc, error);
        }
    }
    if (result == AEE_OK && handle.id != 0) {
        result = aee__engine_enter(engine, handle, "set crash files", &context, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    result = set_files(engine, context, user_desc ? &desc : NULL, error);
    if (context) {
        aee__engine_leave(context);
    }
    return result;
}
