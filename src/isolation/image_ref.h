/* image_ref.h: an image that instances and contexts share, as do all that load the same bytes. Any
 * thread, none that is jailed. */
#ifndef AEE_ISOLATION_IMAGE_REF_H
#define AEE_ISOLATION_IMAGE_REF_H

#include <stdatomic.h>

#include "isolation/image/image.h"
#include "isolation/kept_file.h"

struct aee__image_ref {
    _Atomic uint32_t references;
    struct aee__image *image;
    struct aee__kept_file *file; /* the bytes that it was made from */
    const struct aee__alloc *alloc;
};

/* What is there of these bytes, or is parsed from them now, with the errors of
 * aee__image_parse(). */
aee_result aee__image_ref_open(struct aee__kept_files *files, const char *what, const void *bytes,
                               size_t size, struct aee__image_ref **out, aee_error *error);
struct aee__image_ref *aee__image_ref_take(struct aee__image_ref *reference);
void aee__image_ref_release(struct aee__image_ref *reference); /* NULL is fine */

#endif
