/* tls_demo.c: thread-local variables are per lane: each lane starts from the same initial values
 * and keeps its own. */
#include <aee_guest.h>

static _Thread_local int64_t count = 1000; /* from the image */
static _Thread_local int64_t sum;          /* zero */
static _Thread_local _Alignas(64) char line[64];
static int64_t total; /* of all lanes */

/* Adds to the variables of this lane; returns its sum. */
AEE_SIGNATURE(tls_add, "i:i");
AEE_EXPORT int64_t tls_add(int64_t value)
{
    count++;
    sum += value;
    line[0] = (char)(line[0] + 1);
    __atomic_fetch_add(&total, value, __ATOMIC_RELAXED);
    return sum;
}

/* 1000 + the calls of tls_add() on this lane. */
AEE_SIGNATURE(tls_count, "i:");
AEE_EXPORT int64_t tls_count(void)
{
    return count;
}

AEE_SIGNATURE(tls_total, "i:");
AEE_EXPORT int64_t tls_total(void)
{
    return __atomic_load_n(&total, __ATOMIC_RELAXED);
}

/* 1 if the alignment that the image asks for holds on this lane. */
AEE_SIGNATURE(tls_aligned, "i:");
AEE_EXPORT int64_t tls_aligned(void)
{
    return ((uintptr_t)line & 63u) == 0;
}

AEE_SIGNATURE(tls_lane, "i:");
AEE_EXPORT int64_t tls_lane(void)
{
    return aee_lane_index();
}
