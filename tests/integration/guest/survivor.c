/* survivor.c: a component that fails the first times only. What must outlive it is in a region. */
#include <aee_guest.h>
#include <string.h>

static int64_t lives; /* calls since the initialisers ran */

/* Counts at `address`, and fails as long as the count is not above `bad`: 0 traps, else hangs. */
static int64_t try_at(int64_t address, int64_t bad, int64_t how)
{
    int64_t count = __atomic_add_fetch((int64_t *)address, 1, __ATOMIC_SEQ_CST);
    lives++;
    if (count <= bad && how == 0) {
        __builtin_trap();
    }
    while (count <= bad) {
        __asm__ volatile("" ::: "memory");
    }
    return count;
}

AEE_SIGNATURE(attempt, "i:iii");
AEE_EXPORT int64_t attempt(int64_t address, int64_t bad, int64_t how)
{
    return try_at(address, bad, how);
}

/* The same, but for its mark. */
AEE_SIGNATURE(venture, "i:iii");
AEE_EXPORT int64_t venture(int64_t address, int64_t bad, int64_t how)
{
    return try_at(address, bad, how);
}

AEE_SIGNATURE(attempt_double, "d:ii");
AEE_EXPORT double attempt_double(int64_t address, int64_t bad)
{
    return 0.5 + (double)try_at(address, bad, 0);
}

/* Three numbers; the reply is what came of them, and then the request. */
AEE_SIGNATURE(attempt_bytes, "b");
AEE_EXPORT int64_t attempt_bytes(const void *request, size_t size, void *reply, size_t capacity)
{
    int64_t numbers[3];
    if (size < sizeof numbers || capacity < size + 8) {
        return -1;
    }
    memcpy(numbers, request, sizeof numbers);
    int64_t count = try_at(numbers[0], numbers[1], numbers[2]);
    memcpy(reply, &count, sizeof count);
    memcpy((char *)reply + sizeof count, request, size);
    return (int64_t)(size + 8);
}

/* From within a host function: fails there. */
AEE_SIGNATURE(by_way_of_host, "i:ii");
AEE_EXPORT int64_t by_way_of_host(int64_t address, int64_t bad)
{
    int64_t result = 0;
    int32_t status = aee_host_call("come_back", &result, address, bad);
    return status == AEE_HOST_OK ? result : status;
}

AEE_SIGNATURE(calls_so_far, "i:");
AEE_EXPORT int64_t calls_so_far(void)
{
    return lives;
}

AEE_SIGNATURE(trap, "i:");
AEE_EXPORT int64_t trap(void)
{
    __builtin_trap();
}

/* Until the word there changes. */
AEE_SIGNATURE(wait_at, "i:i");
AEE_EXPORT int64_t wait_at(int64_t address)
{
    while (__atomic_load_n((int64_t *)address, __ATOMIC_ACQUIRE) == 0) {
        __builtin_ia32_pause();
    }
    return 1;
}
