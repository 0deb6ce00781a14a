/* The whole state is one time: units cost as long as they take to flow in, and are taken by moving
 * that time forward. It lies in the past while the bucket is full, and up to a second ahead. */
#include "isolation/bucket.h"

#include "base/clock.h"

#define WINDOW_NS AEE__NS_PER_SECOND

/* Rounded up, so that nothing is free. */
static uint64_t cost_ns(uint64_t rate, uint64_t amount)
{
    unsigned __int128 cost = ((unsigned __int128)amount * WINDOW_NS + rate - 1) / rate;
    return cost < AEE__BUCKET_DEBT_NS ? (uint64_t)cost : AEE__BUCKET_DEBT_NS;
}

static bool is_unlimited(uint64_t rate)
{
    return rate == AEE__BUCKET_UNLIMITED || rate == 0;
}

/* What is taken meanwhile by others may be lost. */
void aee__bucket_set(struct aee__bucket *bucket, uint64_t rate, uint64_t now_ns)
{
    uint64_t old = atomic_load(&bucket->rate);
    uint64_t paid = atomic_load(&bucket->paid_ns);
    uint64_t left_ns = is_unlimited(old) || paid < now_ns ? 0 : paid - now_ns;
    if (old == rate) {
        return;
    }
    unsigned __int128 units = (unsigned __int128)left_ns * old / WINDOW_NS;
    uint64_t taken = units < UINT64_MAX ? (uint64_t)units : UINT64_MAX;
    atomic_store(&bucket->paid_ns, now_ns + cost_ns(rate, taken));
    atomic_store(&bucket->rate, rate);
}

/* `need` of the cost must be there. */
static bool take(struct aee__bucket *bucket, uint64_t cost, uint64_t need, uint64_t now_ns)
{
    uint64_t paid = atomic_load_explicit(&bucket->paid_ns, memory_order_relaxed);
    uint64_t from;
    do {
        from = paid > now_ns ? paid : now_ns;
        if (from + need > now_ns + WINDOW_NS) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&bucket->paid_ns, &paid, from + cost,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

bool aee__bucket_take(struct aee__bucket *bucket, uint64_t amount, uint64_t now_ns)
{
    uint64_t rate = atomic_load_explicit(&bucket->rate, memory_order_relaxed);
    if (is_unlimited(rate) || amount == 0) {
        return true;
    }
    uint64_t cost = cost_ns(rate, amount);
    return take(bucket, cost, cost, now_ns);
}

bool aee__bucket_borrow(struct aee__bucket *bucket, uint64_t amount, uint64_t now_ns)
{
    uint64_t rate = atomic_load_explicit(&bucket->rate, memory_order_relaxed);
    if (is_unlimited(rate) || amount == 0) {
        return true;
    }
    uint64_t cost = cost_ns(rate, amount);
    return take(bucket, cost, cost < WINDOW_NS ? cost : WINDOW_NS, now_ns);
}

void aee__bucket_charge(struct aee__bucket *bucket, uint64_t amount, uint64_t now_ns)
{
    uint64_t rate = atomic_load_explicit(&bucket->rate, memory_order_relaxed);
    uint64_t paid = atomic_load_explicit(&bucket->paid_ns, memory_order_relaxed);
    uint64_t from;
    uint64_t to;
    if (is_unlimited(rate)) {
        return;
    }
    do {
        from = paid > now_ns ? paid : now_ns;
        to = from + cost_ns(rate, amount);
        to = to < now_ns + AEE__BUCKET_DEBT_NS ? to : now_ns + AEE__BUCKET_DEBT_NS;
    } while (!atomic_compare_exchange_weak_explicit(&bucket->paid_ns, &paid, to > from ? to : from,
                                                    memory_order_relaxed, memory_order_relaxed));
}

bool aee__bucket_has_room(const struct aee__bucket *bucket, uint64_t now_ns)
{
    return is_unlimited(atomic_load_explicit(&bucket->rate, memory_order_relaxed)) ||
           atomic_load_explicit(&bucket->paid_ns, memory_order_relaxed) < now_ns + WINDOW_NS;
}

void aee__bucket_give_back(struct aee__bucket *bucket, uint64_t amount)
{
    uint64_t rate = atomic_load_explicit(&bucket->rate, memory_order_relaxed);
    uint64_t paid = atomic_load_explicit(&bucket->paid_ns, memory_order_relaxed);
    uint64_t cost = is_unlimited(rate) ? 0 : cost_ns(rate, amount);
    while (!atomic_compare_exchange_weak_explicit(&bucket->paid_ns, &paid,
                                                  paid > cost ? paid - cost : 0,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}
