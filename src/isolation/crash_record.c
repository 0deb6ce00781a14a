#include "isolation/crash_record.h"

#include <string.h>

#include "isolation/context.h"

/* ---- Log lines ---------------------------------------------------------------------------- */

/* Drops whole lines from the start until `size` bytes fit. */
static void make_room(struct aee__log_tail *tail, uint32_t size)
{
    uint32_t drop = 0;
    while (AEE__LOG_TAIL - (tail->used - drop) < size) {
        const char *end = memchr(tail->text + drop, '\n', tail->used - drop);
        drop = end ? (uint32_t)(end - tail->text) + 1 : tail->used;
    }
    memmove(tail->text, tail->text + drop, tail->used - drop);
    tail->used -= drop;
}

void aee__log_tail_add(struct aee__log_tail *tail, uint64_t level, const char *line)
{
    uint32_t length = (uint32_t)strnlen(line, AEE__LOG_TAIL / 4);
    (void)pthread_mutex_lock(&tail->lock);
    if (tail->text) {
        make_room(tail, length + 2);
        tail->text[tail->used++] = (char)('0' + (level <= AEE_LOG_ERROR ? level : AEE_LOG_INFO));
        memcpy(tail->text + tail->used, line, length);
        tail->used += length;
        tail->text[tail->used++] = '\n';
    }
    (void)pthread_mutex_unlock(&tail->lock);
}

uint32_t aee__log_tail_copy(struct aee__log_tail *tail, char *to)
{
    (void)pthread_mutex_lock(&tail->lock);
    uint32_t used = tail->used;
    if (used > 0) {
        memcpy(to, tail->text, used);
    }
    (void)pthread_mutex_unlock(&tail->lock);
    return used;
}

/* ---- The record --------------------------------------------------------------------------- */

struct aee__crash_record *aee__crash_record_create(const struct aee__alloc *alloc)
{
    /* The rest stays untouched until a crash, or the first line of a log, and of 64 KiB of stack
     * what no crash uses. */
    struct aee__crash_record *record =
        alloc->function(alloc->user, NULL, 0, sizeof(struct aee__crash_record));
    if (record) {
        memset(record, 0, offsetof(struct aee__crash_record, lanes));
    }
    return record;
}

void aee__crash_record_destroy(struct aee__crash_record *record, const struct aee__alloc *alloc)
{
    if (record) {
        aee__image_ref_release(record->image);
        aee__alloc_free(alloc, record, sizeof *record);
    }
}

void aee__crash_record_copy(struct aee__crash_record *to, const struct aee__crash_record *from)
{
    memcpy(to, from, offsetof(struct aee__crash_record, stack));
    memcpy(to->stack, from->stack, from->stack_size);
    to->image = from->image ? aee__image_ref_take(from->image) : NULL;
}

void aee__crash_keep_init(struct aee__crash_keep *keep)
{
    (void)pthread_mutex_init(&keep->lock, NULL);
    (void)pthread_mutex_init(&keep->log.lock, NULL);
}

static void release_spent(struct aee__crash_keep *keep)
{
    for (uint32_t i = 0; i < AEE__SPENT_IMAGES; i++) {
        aee__image_ref_release(keep->spent[i]);
        keep->spent[i] = NULL;
    }
}

void aee__crash_keep_destroy(struct aee__crash_keep *keep, const struct aee__alloc *alloc)
{
    aee__crash_record_destroy(keep->record, alloc);
    aee__crash_record_destroy(keep->core, alloc);
    release_spent(keep);
    (void)pthread_mutex_destroy(&keep->lock);
    (void)pthread_mutex_destroy(&keep->log.lock);
}

aee_result aee__crash_keep_prepare(struct aee__context *context, aee_error *error)
{
    const struct aee__alloc *alloc = &context->core->alloc;
    struct aee__crash_keep *keep = &context->keep;
    (void)pthread_mutex_lock(&keep->lock);
    release_spent(keep);
    if (!keep->record) {
        keep->record = aee__crash_record_create(alloc);
        (void)pthread_mutex_lock(&keep->log.lock);
        keep->log.text = keep->record ? keep->record->lines : NULL;
        (void)pthread_mutex_unlock(&keep->log.lock);
    }
    bool files = atomic_load(&context->core->crash_files_wanted);
    if (files && !keep->core) {
        keep->core = aee__crash_record_create(alloc);
    }
    bool made = keep->record && (keep->core || !files);
    (void)pthread_mutex_unlock(&keep->lock);
    return made ? AEE_OK
                : aee__fail(error, AEE_ERR_NO_MEMORY, "cannot load into context \"%s\"",
                            context->name);
}

/* An image is freed with its last reference, and the thread that finds a crash must not free: what
 * may be the last one waits for the next load. */
void aee__crash_keep_image(struct aee__crash_keep *keep, struct aee__crash_record *record,
                           struct aee__image_ref *image)
{
    uint32_t at = 0;
    if (record->image == image) {
        return;
    }
    while (at < AEE__SPENT_IMAGES && keep->spent[at] && record->image) {
        at++;
    }
    if (at == AEE__SPENT_IMAGES) {
        record->instance = NULL; /* the old one stays; the record is of no use */
        return;
    }
    if (record->image) {
        keep->spent[at] = record->image;
    }
    record->image = aee__image_ref_take(image);
}
