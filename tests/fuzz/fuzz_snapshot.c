/* fuzz_snapshot.c: loads arbitrary bytes as a snapshot file, as they are and with the right
 * checksum. Beyond memory errors it looks for content outside of the component's state. */
#include <stdint.h>
#include <stdlib.h>

#include "../unit/snapshot_bed.h"

static void try(const uint8_t *bytes, size_t size)
{
    struct aee__shadow copy;
    bool sound;
    aee_error error;
    aee_result result = bed_try(bytes, size, &copy, &sound, &error);
    if (!sound || (result != AEE_OK && (error.code != result || error.text[0] == 0))) {
        abort();
    }
    aee__shadow_destroy(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *sealed = malloc(size ? size : 1);
    if (!sealed) {
        return 0;
    }
    try(data, size);
    memcpy(sealed, data, size);
    bed_seal(sealed, size);
    try(sealed, size);
    free(sealed);
    return 0;
}
