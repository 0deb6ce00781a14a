/* declared.c: a component with declared state, for test_declared.c and `aee test`. */
#include <aee_guest.h>
#include <stdlib.h>
#include <string.h>

AEE_STATE static int64_t counter = 5;
AEE_STATE static uint8_t table[3000];
static int64_t undeclared;
static int64_t in_init;

void aee_init(void)
{
    in_init = (int64_t)aee_time_ns();
}

AEE_EXPORT int64_t count(void)
{
    return ++counter;
}

AEE_EXPORT int64_t set_byte(int64_t at, int64_t value)
{
    table[at] = (uint8_t)value;
    return at;
}

AEE_EXPORT int64_t count_undeclared(void)
{
    return ++undeclared;
}

AEE_EXPORT int64_t add_range(int64_t start, int64_t size)
{
    return aee_state_add((void *)start, (size_t)size);
}

AEE_EXPORT int64_t remove_range(int64_t start)
{
    return aee_state_remove((void *)start);
}

AEE_EXPORT int64_t allocate(int64_t size)
{
    void *made = malloc((size_t)size);
    if (made) {
        memset(made, 0x5a, (size_t)size);
    }
    return (int64_t)made;
}

AEE_EXPORT int64_t poke(int64_t at, int64_t value)
{
    *(volatile uint8_t *)at = (uint8_t)value;
    return value;
}

/* What a hostile component might name: 0 own stack, 1 thread-local storage, 2 code, 3 rings,
 * 4 the information page, 5 and 7 declared already, 6 variables that are not. */
AEE_EXPORT int64_t place(int64_t what)
{
    static _Thread_local int64_t local;
    int64_t here = 0;
    void *const places[] = {&here,
                            &local,
                            (void *)(uintptr_t)&count,
                            (void *)AEE_GVA_LANES,
                            (void *)AEE_GVA_INFO,
                            &counter,
                            &undeclared,
                            table};
    return (int64_t)places[what];
}

/* Adds and removes `times` ranges; how many orders were refused. */
AEE_EXPORT int64_t storm(int64_t times)
{
    static uint8_t area[256];
    int64_t refused = 0;
    for (int64_t i = 0; i < times; i++) {
        refused += aee_state_add(area + i % 256, 1) != AEE_HOST_OK;
        if (i % 3 == 2) {
            refused += aee_state_remove(area + (i - 1) % 256) != AEE_HOST_OK;
        }
    }
    return refused;
}

AEE_EXPORT int64_t ask(void)
{
    int64_t before = (int64_t)aee_frame();
    return aee_host_call("probe", NULL) * 1000 + (int64_t)aee_frame() - before;
}

/* As no function of the SDK asks. */
AEE_EXPORT int64_t raw_order(int64_t order, int64_t start, int64_t size)
{
    const struct aee_abi_host_request request = {
        .kind = AEE_HOST_CALL_STATE, .args = {(uint64_t)order, (uint64_t)start, (uint64_t)size}};
    aee_vdso_host_call_fn *ask = (aee_vdso_host_call_fn *)(uintptr_t)aee_info()->vdso_host_call;
    int64_t value = 0;
    uint32_t reply_size = 0;
    return ask(&request, NULL, NULL, &value, &reply_size);
}

AEE_EXPORT int64_t frame(void)
{
    return (int64_t)aee_frame();
}

AEE_EXPORT int64_t time_ns(void)
{
    return (int64_t)aee_time_ns();
}

AEE_EXPORT int64_t init_time_ns(void)
{
    return in_init;
}

AEE_EXPORT int64_t seed(void)
{
    return (int64_t)aee_seed();
}

AEE_EXPORT int64_t trap(void)
{
    __builtin_trap();
}
