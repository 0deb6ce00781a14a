/* bucket.h: a token bucket: so many units a second flow in, and it holds a second's worth, so that
 * in t seconds at most rate * (t + 1) units are taken. Owns nothing. Any thread, without locks; the
 * caller says what time it is. */
#ifndef AEE_ISOLATION_BUCKET_H
#define AEE_ISOLATION_BUCKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define AEE__BUCKET_UNLIMITED UINT64_MAX
/* No amount empties a bucket for longer than this. */
#define AEE__BUCKET_DEBT_NS UINT64_C(3600000000000)

/* All zeroes: unlimited. */
struct aee__bucket {
    _Atomic uint64_t rate;
    _Atomic uint64_t paid_ns; /* when what has been taken so far will have flowed in */
};

/* At least 1. What has been taken stays taken; a bucket that was unlimited begins full. */
void aee__bucket_set(struct aee__bucket *bucket, uint64_t rate, uint64_t now_ns);
/* Takes `amount`, or refuses: more than a second's worth always. */
bool aee__bucket_take(struct aee__bucket *bucket, uint64_t amount, uint64_t now_ns);
/* The same, but a full bucket also gives more than it has: the rest is owed. */
bool aee__bucket_borrow(struct aee__bucket *bucket, uint64_t amount, uint64_t now_ns);
/* Takes what has been used already, full or not. */
void aee__bucket_charge(struct aee__bucket *bucket, uint64_t amount, uint64_t now_ns);
/* Something is left in it. */
bool aee__bucket_has_room(const struct aee__bucket *bucket, uint64_t now_ns);
/* Puts back what was taken and not used. */
void aee__bucket_give_back(struct aee__bucket *bucket, uint64_t amount);

#endif
