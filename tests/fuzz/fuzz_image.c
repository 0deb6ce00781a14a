/* fuzz_image.c: parses arbitrary bytes as a component image. Beyond memory errors it looks for
 * images that break a rule of image.h, and for memory that is not freed. */
#include <stdint.h>
#include <stdlib.h>

#include "../unit/elf_builder.h"

#define MEMORY_LIMIT ((size_t)64 << 20)

static void *limited(void *user, void *old, size_t old_size, size_t size)
{
    size_t *live = user;
    if (size > MEMORY_LIMIT || *live - old_size > MEMORY_LIMIT - size) {
        return NULL;
    }
    if (size == 0) {
        free(old);
        *live -= old_size;
        return NULL;
    }
    void *memory = realloc(old, size);
    if (memory) {
        *live = *live - old_size + size;
    }
    return memory;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t live = 0;
    const struct aee__alloc alloc = {.function = limited, .user = &live};
    struct aee__image *image = NULL;
    aee_error error;
    aee_result result = aee__image_parse(&alloc, "fuzzed image", data, size, &image, &error);
    if ((result == AEE_OK) != (image != NULL) || error.code != result) {
        abort();
    }
    if (image) {
        uint64_t offset;
        if (elf_image_fault(image)) {
            abort();
        }
        (void)aee__image_find_export(image, "add");
        (void)aee__image_symbol_at(image, UINT64_MAX, &offset);
        (void)aee__image_symbol_at(image, 0, &offset);
    } else if (error.text[0] == 0) {
        abort();
    }
    aee__image_destroy(image);
    if (live != 0) {
        abort();
    }
    return 0;
}
