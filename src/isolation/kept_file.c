#include "isolation/kept_file.h"

#include <stdbool.h>
#include <string.h>

void aee__kept_files_init(struct aee__kept_files *files, const struct aee__alloc *alloc)
{
    *files = (struct aee__kept_files){.alloc = alloc};
    (void)pthread_mutex_init(&files->lock, NULL);
}

void aee__kept_files_destroy(struct aee__kept_files *files)
{
    (void)pthread_mutex_destroy(&files->lock);
}

/* With the lock held. */
static struct aee__kept_file *make(struct aee__kept_files *files, const void *bytes, size_t size)
{
    struct aee__kept_file *file =
        files->alloc->function(files->alloc->user, NULL, 0, sizeof *file + size);
    if (file) {
        *file = (struct aee__kept_file){.list = files, .next = files->first, .size = size};
        memcpy(file->bytes, bytes, size);
        files->first = file;
    }
    return file;
}

struct aee__kept_file *aee__kept_file_take(struct aee__kept_files *files, const void *bytes,
                                           size_t size)
{
    (void)pthread_mutex_lock(&files->lock);
    struct aee__kept_file *file = files->first;
    while (file && (file->size != size || memcmp(file->bytes, bytes, size) != 0)) {
        file = file->next;
    }
    file = file ? file : make(files, bytes, size);
    if (file) {
        file->references++;
    }
    (void)pthread_mutex_unlock(&files->lock);
    return file;
}

void aee__kept_file_release(struct aee__kept_file *file)
{
    if (!file) {
        return;
    }
    struct aee__kept_files *files = file->list;
    (void)pthread_mutex_lock(&files->lock);
    bool last = --file->references == 0;
    if (last) {
        struct aee__kept_file **link = &files->first;
        while (*link != file) {
            link = &(*link)->next;
        }
        *link = file->next;
    }
    (void)pthread_mutex_unlock(&files->lock);
    if (last) {
        aee__alloc_free(files->alloc, file, sizeof *file + file->size);
    }
}
