#include "isolation/image_ref.h"

/* The file's lock keeps one that is about to go from going before we have looked. */
static struct aee__image_ref *find(struct aee__kept_file *file)
{
    (void)pthread_mutex_lock(&file->list->lock);
    struct aee__image_ref *found = file->image;
    uint32_t count = found ? atomic_load_explicit(&found->references, memory_order_relaxed) : 0;
    while (count > 0 &&
           !atomic_compare_exchange_weak_explicit(&found->references, &count, count + 1,
                                                  memory_order_acquire, memory_order_relaxed)) {
    }
    (void)pthread_mutex_unlock(&file->list->lock);
    return count > 0 ? found : NULL;
}

static void set_image(struct aee__kept_file *file, struct aee__image_ref *from,
                      struct aee__image_ref *to)
{
    (void)pthread_mutex_lock(&file->list->lock);
    if (file->image == from) {
        file->image = to;
    }
    (void)pthread_mutex_unlock(&file->list->lock);
}

/* Takes over the file. */
static aee_result make(struct aee__kept_file *file, const char *what, struct aee__image_ref **out,
                       aee_error *error)
{
    const struct aee__alloc *alloc = file->list->alloc;
    struct aee__image *image;
    aee_result result = aee__image_parse(alloc, what, file->bytes, file->size, &image, error);
    if (result != AEE_OK) {
        aee__kept_file_release(file);
        return result;
    }
    struct aee__image_ref *made = aee__alloc_zero(alloc, 1, sizeof *made);
    if (!made) {
        aee__image_destroy(image);
        aee__kept_file_release(file);
        return aee__fail(error, AEE_ERR_NO_MEMORY, "no memory for the %s", what);
    }
    atomic_init(&made->references, 1);
    made->image = image;
    made->file = file;
    made->alloc = alloc;
    set_image(file, NULL, made);
    *out = made;
    return AEE_OK;
}

aee_result aee__image_ref_open(struct aee__kept_files *files, const char *what, const void *bytes,
                               size_t size, struct aee__image_ref **out, aee_error *error)
{
    *out = NULL;
    struct aee__kept_file *file = aee__kept_file_take(files, bytes, size);
    if (!file) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "no memory for the %s", what);
    }
    *out = find(file);
    if (*out) { /* which has the file itself */
        aee__kept_file_release(file);
        return AEE_OK;
    }
    return make(file, what, out, error);
}

struct aee__image_ref *aee__image_ref_take(struct aee__image_ref *reference)
{
    (void)atomic_fetch_add_explicit(&reference->references, 1, memory_order_relaxed);
    return reference;
}

void aee__image_ref_release(struct aee__image_ref *reference)
{
    if (reference &&
        atomic_fetch_sub_explicit(&reference->references, 1, memory_order_acq_rel) == 1) {
        set_image(reference->file, reference, NULL);
        aee__image_destroy(reference->image);
        aee__kept_file_release(reference->file);
        aee__alloc_free(reference->alloc, reference, sizeof *reference);
    }
}
