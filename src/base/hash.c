#include "base/hash.h"

#include <string.h>

#define XXH_INLINE_ALL /* as a header: no library to be linked, none of its names in ours */
#include <xxhash.h>

_Static_assert(sizeof(XXH128_canonical_t) == AEE__HASH_SIZE, "128 bits");

static void store(XXH128_hash_t value, uint8_t hash[AEE__HASH_SIZE])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, value);
    memcpy(hash, &canonical, sizeof canonical);
}

void aee__hash(const void *bytes, size_t size, uint8_t hash[AEE__HASH_SIZE])
{
    store(XXH3_128bits(bytes, size), hash);
}

/* The state's type is the library's; ours only names it. */
struct aee__hasher *aee__hasher_create(void)
{
    XXH3_state_t *state = XXH3_createState();
    if (state) {
        (void)XXH3_128bits_reset(state);
    }
    return (struct aee__hasher *)state;
}

void aee__hasher_add(struct aee__hasher *hasher, const void *bytes, size_t size)
{
    (void)XXH3_128bits_update((XXH3_state_t *)hasher, bytes, size);
}

void aee__hasher_end(const struct aee__hasher *hasher, uint8_t hash[AEE__HASH_SIZE])
{
    store(XXH3_128bits_digest((const XXH3_state_t *)hasher), hash);
}

void aee__hasher_destroy(struct aee__hasher *hasher)
{
    (void)XXH3_freeState((XXH3_state_t *)hasher);
}
