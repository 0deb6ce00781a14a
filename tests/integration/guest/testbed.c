/* testbed.c: the component of the integration tests: one function per thing that they look at. */
#include <aee_guest.h>
#include <stdlib.h>
#include <string.h>

static int64_t calls;
static int64_t started_with;
static _Thread_local int64_t lane_calls;

/* ---- Arguments and results -------------------------------------------------------------------- */

AEE_SIGNATURE(sum6, "i:iiiiii");
AEE_EXPORT int64_t sum6(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f)
{
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f;
}

AEE_SIGNATURE(mixed, "d:idid");
AEE_EXPORT double mixed(int64_t a, double b, int64_t c, double d)
{
    return (double)a + 10 * b + 100 * (double)c + 1000 * d;
}

AEE_EXPORT double half(double x)
{
    return x / 2;
}

AEE_SIGNATURE(reverse, "b");
AEE_EXPORT int64_t reverse(const void *request, size_t size, void *reply, size_t capacity)
{
    const uint8_t *from = request;
    uint8_t *to = reply;
    if (size > capacity) {
        return (int64_t)size; /* more than fits: the library has to refuse it */
    }
    for (size_t i = 0; i < size; i++) {
        to[i] = from[size - 1 - i];
    }
    return (int64_t)size;
}

AEE_EXPORT int64_t refuse(const void *request, size_t size, void *reply, size_t capacity)
{
    (void)request;
    (void)size;
    (void)reply;
    (void)capacity;
    return -7;
}

/* ---- State ------------------------------------------------------------------------------------ */

__attribute__((constructor)) static void start(void)
{
    started_with = 41;
}

AEE_EXPORT int64_t count(void)
{
    return ++calls;
}

AEE_EXPORT int64_t count_on_lane(void)
{
    return (int64_t)aee_lane_index() * 1000 + ++lane_calls;
}

AEE_EXPORT int64_t constructed(void)
{
    return started_with;
}

AEE_EXPORT int64_t seed_word(void)
{
    return (int64_t)aee_seed();
}

AEE_EXPORT int64_t spin_until(int64_t address, int64_t value)
{
    while (__atomic_load_n((int64_t *)address, __ATOMIC_ACQUIRE) != value) {
    }
    return value;
}

/* ---- Memory ----------------------------------------------------------------------------------- */

AEE_EXPORT int64_t read_i64(int64_t address)
{
    return *(volatile int64_t *)address;
}

AEE_EXPORT int64_t write_i64(int64_t address, int64_t value)
{
    *(volatile int64_t *)address = value;
    return value;
}

AEE_EXPORT int64_t write_for_ever(int64_t address)
{
    for (int64_t i = 0;; i++) {
        *(volatile int64_t *)address = i;
    }
}

/* Allocates `bytes`, touches both ends; 0 where malloc() refuses. */
AEE_EXPORT int64_t allocate(int64_t bytes)
{
    volatile char *memory = malloc((size_t)bytes);
    if (!memory) {
        return 0;
    }
    memory[0] = 1;
    memory[bytes - 1] = 1;
    return 1;
}

/* Writes to `pages` pages from `address`. */
AEE_EXPORT int64_t touch(int64_t address, int64_t pages)
{
    for (int64_t i = 0; i < pages; i++) {
        *(volatile char *)(address + i * 4096) = 1;
    }
    return pages;
}

/* ---- Host functions --------------------------------------------------------------------------- */

AEE_EXPORT int64_t ask(int64_t a, int64_t b)
{
    int64_t result = 0;
    int32_t status = aee_host_call("host_add", &result, a, b);
    return status == AEE_HOST_OK ? result : status;
}

AEE_EXPORT int64_t ask_many(int64_t times)
{
    int64_t total = 0;
    for (int64_t i = 0; i < times; i++) {
        total += ask(i, 1);
    }
    return total;
}

/* Of a function whose name is so many times "n": what it answers, or the status. */
static int64_t ask_name(int64_t length)
{
    char name[64] = {0};
    int64_t result = 0;
    for (int64_t i = 0; i < length; i++) {
        name[i] = 'n';
    }
    int32_t status = aee_host_call(name, &result);
    return status == AEE_HOST_OK ? result : status;
}

AEE_EXPORT int64_t ask_names(int64_t first, int64_t second)
{
    int64_t answer = ask_name(first);
    return 100 * answer + ask_name(second);
}

AEE_EXPORT int64_t ask_bytes(const void *request, size_t size, void *reply, size_t capacity)
{
    size_t got = 0;
    int64_t result = 0;
    int32_t status =
        aee_host_call_bytes("host_upper", request, size, reply, capacity, &got, &result);
    return status == AEE_HOST_OK ? (int64_t)got : status;
}

AEE_EXPORT int64_t say(int64_t number)
{
    aee_log_warning("number %d\tand\x1b[31m", (int)number);
    return number;
}

/* ---- Ends ------------------------------------------------------------------------------------- */

AEE_EXPORT int64_t give_up(int64_t number)
{
    aee_abort("cannot stand %d", (int)number);
}

AEE_EXPORT int64_t trap(void)
{
    __builtin_trap();
}
