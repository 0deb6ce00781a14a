/* hash.h: the hash that files and images are recognised by: XXH3 with 128 bits, in its canonical
 * (big-endian) form. Finds damage, not forgery. Any thread. */
#ifndef AEE_BASE_HASH_H
#define AEE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define AEE__HASH_SIZE 16u

void aee__hash(const void *bytes, size_t size, uint8_t hash[AEE__HASH_SIZE]);

/* Piece by piece. */
struct aee__hasher;
struct aee__hasher *aee__hasher_create(void); /* NULL: no memory */
void aee__hasher_add(struct aee__hasher *hasher, const void *bytes, size_t size);
void aee__hasher_end(const struct aee__hasher *hasher, uint8_t hash[AEE__HASH_SIZE]);
void aee__hasher_destroy(struct aee__hasher *hasher); /* NULL is fine */

#endif
