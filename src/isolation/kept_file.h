/* kept_file.h: the bytes of the images that an engine has loaded, for debuggers' information in
 * reports of crashes. Contexts that load the same bytes share one copy, and what was parsed from it
 * (image_ref.h). Owns the copies; any thread, none that is jailed. */
#ifndef AEE_ISOLATION_KEPT_FILE_H
#define AEE_ISOLATION_KEPT_FILE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"

struct aee__kept_files;
struct aee__image_ref;

struct aee__kept_file {
    struct aee__kept_files *list;
    struct aee__kept_file *next;
    uint64_t references;          /* under the list's lock, as is the next one */
    struct aee__image_ref *image; /* parsed from it, or NULL; has a reference to this, and not this
                                     to it */
    size_t size;
    uint8_t bytes[];
};

struct aee__kept_files {
    pthread_mutex_t lock;
    const struct aee__alloc *alloc;
    struct aee__kept_file *first;
};

void aee__kept_files_init(struct aee__kept_files *files, const struct aee__alloc *alloc);
/* Every file must have been released. */
void aee__kept_files_destroy(struct aee__kept_files *files);
/* A reference to a copy of the bytes; NULL: no memory. */
struct aee__kept_file *aee__kept_file_take(struct aee__kept_files *files, const void *bytes,
                                           size_t size);
void aee__kept_file_release(struct aee__kept_file *file); /* NULL is fine */

#endif
