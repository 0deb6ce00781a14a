/* workbed.c: beside the testbed, what the tests of batches, lanes and re-entry call. */
#include <aee_guest.h>
#include <string.h>

/* ---- Work ------------------------------------------------------------------------------------- */

AEE_SIGNATURE(spin_for, "i:ii");
AEE_EXPORT int64_t spin_for(int64_t turns, int64_t value)
{
    for (int64_t i = 0; i < turns; i++) {
        __builtin_ia32_pause();
    }
    return value;
}

AEE_SIGNATURE(hang, "i:i");
AEE_EXPORT int64_t hang(int64_t value)
{
    for (;;) {
        __asm__ volatile("" : "+r"(value));
    }
    return value;
}

/* Different for every pair; the same arithmetic is in the tests. */
AEE_SIGNATURE(blend, "i:ii");
AEE_EXPORT int64_t blend(int64_t a, int64_t b)
{
    uint64_t x = (uint64_t)a * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)b;
    x ^= x >> 29;
    return (int64_t)(x * UINT64_C(0xbf58476d1ce4e5b9));
}

AEE_SIGNATURE(scale_by, "d:dd");
AEE_EXPORT double scale_by(double a, double b)
{
    return a * b;
}

/* ---- Ranges ----------------------------------------------------------------------------------- */

static uint32_t *marks; /* one for each index, in a region */
static int64_t marks_begin;
static _Atomic int64_t pieces;
static _Atomic uint64_t covered;
static _Atomic uint64_t lanes_seen;
static _Atomic int64_t bad_piece; /* a piece that begins here misbehaves */
static _Atomic int64_t bad_how;
static int64_t least = INT64_MAX;
static int64_t most = INT64_MIN;

AEE_SIGNATURE(range_at, "i:ii");
AEE_EXPORT int64_t range_at(int64_t address, int64_t begin)
{
    marks = (uint32_t *)address;
    marks_begin = begin;
    pieces = 0;
    covered = 0;
    lanes_seen = 0;
    bad_how = 0;
    least = INT64_MAX;
    most = INT64_MIN;
    return 0;
}

AEE_SIGNATURE(range_spoil, "i:ii");
AEE_EXPORT int64_t range_spoil(int64_t begin, int64_t how)
{
    bad_piece = begin;
    bad_how = how;
    return 0;
}

static void note_ends(int64_t begin, int64_t end)
{
    static _Atomic uint32_t lock;
    while (__atomic_exchange_n((uint32_t *)&lock, 1, __ATOMIC_ACQUIRE)) {
        __builtin_ia32_pause();
    }
    least = begin < least ? begin : least;
    most = end > most ? end : most;
    __atomic_store_n((uint32_t *)&lock, 0, __ATOMIC_RELEASE);
}

AEE_SIGNATURE(range_piece, "v:ii");
AEE_EXPORT void range_piece(int64_t begin, int64_t end)
{
    if (bad_how && begin == bad_piece) {
        if (bad_how == 1) {
            __builtin_trap();
        }
        for (;;) {
            __builtin_ia32_pause();
        }
    }
    pieces++;
    covered += (uint64_t)end - (uint64_t)begin;
    lanes_seen |= UINT64_C(1) << aee_lane_index();
    note_ends(begin, end);
    for (int64_t i = begin; marks && i < end; i++) {
        (void)__atomic_fetch_add(&marks[i - marks_begin], 1, __ATOMIC_RELAXED);
    }
}

/* 0: pieces, 1: indices, 2: lanes, 3: least, 4: most. */
AEE_SIGNATURE(range_seen, "i:i");
AEE_EXPORT int64_t range_seen(int64_t what)
{
    const int64_t seen[5] = {pieces, (int64_t)covered, (int64_t)lanes_seen, least, most};
    return what >= 0 && what < 5 ? seen[what] : -1;
}

/* ---- Re-entry --------------------------------------------------------------------------------- */

enum { DO_RETURN, DO_TRAP, DO_HANG, DO_WAIT };

/* At the bottom does `what`; above it asks the engine to come back one level deeper. */
AEE_SIGNATURE(descend, "i:iii");
AEE_EXPORT int64_t descend(int64_t depth, int64_t value, int64_t what)
{
    int64_t result = 0;
    if (depth == 0 && what == DO_TRAP) {
        __builtin_trap();
    }
    while (depth == 0 && what == DO_HANG) {
        __asm__ volatile("");
    }
    if (depth == 0 && what == DO_WAIT) {
        (void)aee_host_call("wait", NULL);
    }
    if (depth == 0) {
        return value;
    }
    int32_t status = aee_host_call("climb", &result, depth, value, what);
    return status == AEE_HOST_OK ? 2 * result + depth : status;
}

AEE_SIGNATURE(descend_double, "d:id");
AEE_EXPORT double descend_double(int64_t depth, double value)
{
    int64_t result = 0;
    if (depth == 0) {
        return value;
    }
    int32_t status = aee_host_call("climb_double", &result, depth, aee_bits(value));
    return status == AEE_HOST_OK ? aee_from_bits(result) + 0.5 : -1;
}

/* Byte 0: how deep still. The reply is the request with each byte one higher a level. */
AEE_SIGNATURE(descend_bytes, "b");
AEE_EXPORT int64_t descend_bytes(const void *request, size_t size, void *reply, size_t capacity)
{
    uint8_t mine[4096];
    const uint8_t *from = request;
    size_t got = 0;
    if (size < 1 || size > sizeof mine || capacity < size) {
        return -1;
    }
    memcpy(mine, from, size);
    if (mine[0] == 0) {
        memcpy(reply, mine, size);
        return (int64_t)size;
    }
    int32_t status = aee_host_call_bytes("climb_bytes", mine, size, reply, capacity, &got, NULL);
    if (status != AEE_HOST_OK || got != size) {
        return -2;
    }
    if (memcmp(mine, from, size) != 0) {
        return -3; /* the request of this level changed while deeper ones ran */
    }
    for (size_t i = 1; i < size; i++) {
        if (((uint8_t *)reply)[i] != (uint8_t)(mine[i] + mine[0] - 1)) {
            return -4;
        }
        ((uint8_t *)reply)[i]++;
    }
    return (int64_t)size;
}

/* Asks for a function that blocks, and answers what it gave. */
AEE_SIGNATURE(wait_once, "i:i");
AEE_EXPORT int64_t wait_once(int64_t value)
{
    int64_t result = 0;
    int32_t status = aee_host_call("wait", &result, value);
    return status == AEE_HOST_OK ? result : status;
}

/* The first index of a piece is handed to a host function. */
AEE_SIGNATURE(range_ask, "v:ii");
AEE_EXPORT void range_ask(int64_t begin, int64_t end)
{
    int64_t result = 0;
    if (aee_host_call("host_add", &result, begin, end) == AEE_HOST_OK && result == begin + end) {
        range_piece(begin, end);
    }
}
