#include "recovery/crash_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/new_file.h"
#include "base/sys.h"
#include "base/sys_file.h"
#include "recovery/core_file.h"
#include "recovery/report_json.h"

#define PREFIX "aee-"
#define NAME_SIZE 160u
/* How long lanes that were told to stop may take until they have. */
#define STOP_TURNS 500u
#define STOP_TURN_NS UINT64_C(1000000)

struct aee__crash_files {
    uint32_t references; /* under the core's crash_files_lock */
    int directory;       /* -1: nothing is to be written */
    uint32_t flags;
    uint32_t max_files;
    uint64_t max_bytes;
    char path[128]; /* for sentences: its start */
};

/* ---- Settings ----------------------------------------------------------------------------- */

static struct aee__crash_files *open_files(struct aee__core *core, const aee_crash_files_desc *desc,
                                           aee_error *error)
{
    struct aee__crash_files *files = aee__alloc_zero(&core->alloc, 1, sizeof *files);
    if (!files) {
        (void)aee__fail(error, AEE_ERR_NO_MEMORY, "cannot set crash files: out of memory");
        return NULL;
    }
    files->references = 1;
    files->directory = -1;
    files->flags = desc->flags;
    files->max_files = desc->max_files;
    files->max_bytes = desc->max_bytes;
    (void)snprintf(files->path, sizeof files->path, "%s", desc->directory);
    if (desc->directory[0]) {
        files->directory = aee__sys_open_directory(desc->directory);
        if (files->directory < 0) {
            (void)aee__fail_os(error, errno, "cannot set crash files: directory \"%.100s\"",
                               desc->directory);
            aee__alloc_free(&core->alloc, files, sizeof *files);
            return NULL;
        }
    }
    return files;
}

void aee__crash_files_release(struct aee__core *core, struct aee__crash_files *files)
{
    if (!files) {
        return;
    }
    (void)pthread_mutex_lock(&core->crash_files_lock);
    bool last = --files->references == 0;
    (void)pthread_mutex_unlock(&core->crash_files_lock);
    if (last) {
        (void)aee__sys_close(files->directory);
        aee__alloc_free(&core->alloc, files, sizeof *files);
    }
}

aee_result aee__crash_files_set(struct aee__core *core, struct aee__context *context,
                                const aee_crash_files_desc *desc, aee_error *error)
{
    struct aee__crash_files *files = NULL;
    if (desc) {
        files = open_files(core, desc, error);
        if (!files) {
            return error->code;
        }
        atomic_store(&core->crash_files_wanted, true);
    }
    struct aee__crash_files **place = context ? &context->keep.files : &core->crash_files;
    (void)pthread_mutex_lock(&core->crash_files_lock);
    struct aee__crash_files *old = *place;
    *place = files;
    (void)pthread_mutex_unlock(&core->crash_files_lock);
    aee__crash_files_release(core, old);
    return AEE_OK;
}

/* Those of the context, with a reference; NULL: nothing is to be written. */
static struct aee__crash_files *take_files(struct aee__context *context)
{
    struct aee__core *core = context->core;
    (void)pthread_mutex_lock(&core->crash_files_lock);
    struct aee__crash_files *files = context->keep.files ? context->keep.files : core->crash_files;
    files = files && files->directory >= 0 ? files : NULL;
    if (files) {
        files->references++;
    }
    (void)pthread_mutex_unlock(&core->crash_files_lock);
    return files;
}

static bool are_wanted(struct aee__context *context)
{
    struct aee__core *core = context->core;
    if (!atomic_load(&core->crash_files_wanted)) {
        return false;
    }
    (void)pthread_mutex_lock(&core->crash_files_lock);
    const struct aee__crash_files *files =
        context->keep.files ? context->keep.files : core->crash_files;
    bool wanted = files && files->directory >= 0;
    (void)pthread_mutex_unlock(&core->crash_files_lock);
    return wanted;
}

/* ---- Room for one more -------------------------------------------------------------------- */

struct oldest {
    char name[NAME_SIZE];
    uint32_t count;
};

static bool is_core(const char *name)
{
    size_t length = strlen(name);
    return length > 5 && length < NAME_SIZE && strncmp(name, PREFIX, strlen(PREFIX)) == 0 &&
           strcmp(name + length - 5, ".core") == 0;
}

/* Names begin with the time: the least is the oldest. */
static void note_name(void *user, const char *name)
{
    struct oldest *oldest = user;
    if (is_core(name)) {
        oldest->count++;
        if (!oldest->name[0] || strcmp(name, oldest->name) < 0) {
            (void)snprintf(oldest->name, sizeof oldest->name, "%s", name);
        }
    }
}

static void remove_core(int directory, const char *name)
{
    char report[NAME_SIZE + 8];
    (void)aee__sys_unlink_at(directory, name);
    (void)snprintf(report, sizeof report, "%.*s.json", (int)strlen(name) - 5, name);
    (void)aee__sys_unlink_at(directory, report);
}

/* As many as are too many; what cannot be removed stays. */
static void make_room(const struct aee__crash_files *files)
{
    enum { MOST_AT_ONCE = 64 };
    for (unsigned i = 0; i < MOST_AT_ONCE; i++) {
        struct oldest oldest = {.count = 0};
        if (aee__sys_list(files->directory, note_name, &oldest) != 0 ||
            oldest.count < files->max_files) {
            return;
        }
        remove_core(files->directory, oldest.name);
    }
}

/* ---- Writing ------------------------------------------------------------------------------ */

/* aee-20261121T190535.123-4711-boss-3: time, process, context and crash. */
static void make_name(const struct aee__context *context, uint64_t id, char name[NAME_SIZE])
{
    char clean[AEE_NAME_MAX];
    int64_t seconds;
    uint32_t ns;
    struct tm parts = {0};
    aee__sys_wall_clock(&seconds, &ns);
    time_t now = seconds;
    (void)gmtime_r(&now, &parts);
    size_t i = 0;
    for (; context->name[i] && i + 1 < sizeof clean; i++) {
        char c = context->name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '_' || c == '-';
        clean[i] = c;
        if (!plain) {
            clean[i] = '_';
        }
    }
    clean[i] = '\0';
    (void)snprintf(name, NAME_SIZE, PREFIX "%04d%02d%02dT%02d%02d%02d.%03u-%d-%s-%llu",
                   (parts.tm_year + 1900) % 10000, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
                   parts.tm_min, parts.tm_sec, ns / 1000000, aee__sys_process(), clean,
                   (unsigned long long)id);
}

struct job {
    struct aee__instance *instance;
    struct aee__crash_files *files;
    const struct aee__crash_record *record;
    struct aee__json json;
    char name[NAME_SIZE];
    uint64_t left_out;
};

static aee_result put_core(struct job *job, int fd, aee_error *error)
{
    const struct aee__core_content content = {.instance = job->instance,
                                              .record = job->record,
                                              .report = job->json.text,
                                              .report_size = job->json.used,
                                              .max_bytes = job->files->max_bytes};
    return aee__core_write(fd, &content, &job->left_out, error);
}

static aee_result put_report(struct job *job, int fd, aee_error *error)
{
    return aee__sys_write_all(fd, job->json.text, job->json.used, 0) == 0
               ? AEE_OK
               : aee__fail_os(error, errno, "writing failed");
}

/* The job's file with that ending: all of it, or none. */
static aee_result write_file(struct job *job, const char *ending,
                             aee_result (*put)(struct job *, int, aee_error *), aee_error *error)
{
    char name[NAME_SIZE + 16];
    struct aee__new_file file;
    aee_result result;
    (void)snprintf(name, sizeof name, "%s%s", job->name, ending);
    if (!aee__new_file_begin_at(&file, job->files->directory, name)) {
        result = aee__fail_os(error, errno, "cannot create a file");
    } else if ((result = put(job, file.fd, error)) == AEE_OK && !aee__new_file_keep(&file)) {
        result = aee__fail_os(error, errno, "writing failed");
    }
    aee__new_file_end(&file);
    return result;
}

static aee_result write_both(struct job *job, aee_error *error)
{
    struct aee__context *context = job->instance->context;
    job->json.alloc = &context->core->alloc;
    aee__report_json(context, job->record, !(job->files->flags & AEE_CRASH_FILES_NO_TRACE),
                     &job->json);
    if (job->json.failed) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "out of memory");
    }
    make_name(context, job->record->crash.id, job->name);
    make_room(job->files);
    aee_result result = write_file(job, ".json", put_report, error);
    if (result == AEE_OK && !(job->files->flags & AEE_CRASH_FILES_NO_CORE)) {
        result = write_file(job, ".core", put_core, error);
        if (result != AEE_OK) {
            char name[NAME_SIZE + 16];
            (void)snprintf(name, sizeof name, "%s.json", job->name);
            (void)aee__sys_unlink_at(job->files->directory, name);
        }
    }
    return result;
}

static uint32_t take_skipped(struct aee__crash_keep *keep)
{
    (void)pthread_mutex_lock(&keep->lock);
    uint32_t skipped = keep->cores_skipped;
    keep->cores_skipped = 0;
    (void)pthread_mutex_unlock(&keep->lock);
    return skipped;
}

static void tell(const struct job *job, aee_result result, const aee_error *error)
{
    struct aee__context *context = job->instance->context;
    uint32_t skipped = take_skipped(&context->keep);
    char missing[64] = "";
    size_t used = 0;
    if (job->left_out > 0) {
        used = (size_t)snprintf(missing, sizeof missing, ", without %llu KiB of memory",
                                (unsigned long long)(job->left_out + 1023) / 1024);
    }
    if (skipped > 0 && used < sizeof missing) {
        (void)snprintf(missing + used, sizeof missing - used, ", none of %u more crashes", skipped);
    }
    if (result == AEE_OK) {
        aee__context_event(context, AEE_EVENT_CRASH_SAVED, job->record->crash.id, "%s%s", job->name,
                           missing);
    } else {
        aee__context_event(context, AEE_EVENT_CRASH_NOT_SAVED, job->record->crash.id,
                           "context \"%s\": no files of crash %llu in \"%.80s\": %.80s",
                           context->name, (unsigned long long)job->record->crash.id,
                           job->files->path, error->text);
    }
}

/* They were told to stop when the crash was found. */
static void await_lanes(struct aee__instance *instance)
{
    uint32_t lanes = atomic_load(&instance->lane_count);
    for (unsigned turn = 0; turn < STOP_TURNS; turn++) {
        uint32_t running = 0;
        for (uint32_t i = 0; i < lanes; i++) {
            running += atomic_load(&instance->lanes[i].state) == AEE__LANE_RUNNING;
        }
        if (running == 0) {
            return;
        }
        aee__sys_sleep(STOP_TURN_NS);
    }
}

static void write_files(struct aee__instance *instance)
{
    struct aee__context *context = instance->context;
    aee_error error = {0};
    struct job job = {
        .instance = instance, .files = take_files(context), .record = context->keep.core};
    if (!job.files) {
        return; /* switched off meanwhile */
    }
    await_lanes(instance);
    aee_result result = write_both(&job, &error);
    tell(&job, result, &error);
    aee__json_free(&job.json);
    aee__crash_files_release(context->core, job.files);
}

static void write_job(struct aee__job *job)
{
    struct aee__instance *instance =
        (struct aee__instance *)((char *)job - offsetof(struct aee__instance, keep_job));
    struct aee__crash_keep *keep = &instance->context->keep;
    write_files(instance);
    (void)pthread_mutex_lock(&keep->lock);
    aee__image_ref_release(keep->core->image);
    keep->core->image = NULL;
    keep->core_pending = false;
    (void)pthread_mutex_unlock(&keep->lock);
    atomic_store(&instance->held, false);
    aee__instance_release(instance);
}

void aee__crash_files_hold(struct aee__context *context, struct aee__instance *instance)
{
    struct aee__crash_keep *keep = &context->keep;
    if (!keep->core || !are_wanted(context)) {
        return;
    }
    if (keep->core_pending) {
        keep->cores_skipped++;
        return;
    }
    if (keep->record->image && aee__instance_take(instance)) {
        aee__crash_record_copy(keep->core, keep->record);
        keep->core_pending = true;
        instance->keep_job.run = write_job;
        atomic_store(&instance->held, true);
        (void)aee__housekeeper_post(&context->core->housekeeper, &instance->keep_job);
    }
}
