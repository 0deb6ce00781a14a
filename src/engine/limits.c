/* limits.c: default limits by kind, and completing what a user gives. */
#include "base/checked.h"
#include "engine/engine.h"

#define MIB UINT64_C(0x100000)
#define KIB UINT64_C(1024)
#define MS UINT64_C(1000000)

void aee__limits_default(aee_kind kind, aee_limits *limits)
{
    static const uint64_t memory[AEE_KIND_COUNT] = {
        [AEE_KIND_CUSTOM] = 16 * MIB,     [AEE_KIND_AGENTS] = 64 * MIB,
        [AEE_KIND_PARTICLES] = 128 * MIB, [AEE_KIND_RENDERING] = 64 * MIB,
        [AEE_KIND_USER_MOD] = 16 * MIB,   [AEE_KIND_SCENE] = 64 * MIB};
    /* Populating costs 2 us a page when an instance is made, and the memory: little where contexts
     * may be many, a frame's worth of data where they are few and large (docs/memory.md). */
    static const uint64_t ready[AEE_KIND_COUNT] = {
        [AEE_KIND_CUSTOM] = 8 * KIB,    [AEE_KIND_AGENTS] = 512 * KIB,
        [AEE_KIND_PARTICLES] = 2 * MIB, [AEE_KIND_RENDERING] = 512 * KIB,
        [AEE_KIND_USER_MOD] = 8 * KIB,  [AEE_KIND_SCENE] = 512 * KIB};
    *limits = (aee_limits){.memory_bytes = memory[kind],
                           .stack_bytes = MIB / 4,
                           .call_budget_ns = kind == AEE_KIND_USER_MOD ? 20 * MS : 100 * MS,
                           .lanes = 1,
                           .log_bytes_per_second = 65536,
                           .restarts = 5,
                           .restart_window_ns = 10000 * MS,
                           .ready_bytes = ready[kind],
                           .cpu_ns_per_second = AEE_UNLIMITED,
                           .cpu_ns_total = AEE_UNLIMITED,
                           .calls_per_second = AEE_UNLIMITED,
                           .host_calls_per_second = AEE_UNLIMITED,
                           .disk_bytes_per_second = AEE_UNLIMITED,
                           .network_bytes_per_second = AEE_UNLIMITED};
}

static void fill_zeroes(const aee_limits *base, aee_limits *limits)
{
#define FILL(field) limits->field = limits->field ? limits->field : base->field
    FILL(memory_bytes);
    FILL(stack_bytes);
    FILL(call_budget_ns);
    FILL(lanes);
    FILL(log_bytes_per_second);
    FILL(restarts);
    FILL(never_restart);
    FILL(restart_window_ns);
    FILL(ready_bytes);
    FILL(spares);
    FILL(huge_pages);
    FILL(cpu_ns_per_second);
    FILL(cpu_ns_total);
    FILL(calls_per_second);
    FILL(host_calls_per_second);
    FILL(disk_bytes_per_second);
    FILL(network_bytes_per_second);
#undef FILL
}

aee_result aee__limits_complete(const char *name, const aee_limits *base, aee_limits *limits,
                                aee_error *error)
{
    fill_zeroes(base, limits);
    const struct {
        const char *field;
        uint64_t value;
        uint64_t least;
        uint64_t most;
    } ranges[] = {
        {"memory_bytes", limits->memory_bytes, 1, AEE_HEAP_MAX},
        {"stack_bytes", limits->stack_bytes, 1, AEE_STACK_MAX},
        {"call_budget_ns", limits->call_budget_ns, AEE__LIMIT_BUDGET_LEAST_NS,
         UINT64_C(3600000000000)},
        {"lanes", limits->lanes, 1, AEE_MAX_LANES},
        {"restarts", limits->restarts, 1, AEE__HISTORY_MAX - 1},
        {"restart_window_ns", limits->restart_window_ns, 1, UINT64_C(3600000000000)},
        {"ready_bytes", limits->ready_bytes, 1, AEE_HEAP_MAX},
        {"spares", limits->spares, 0, AEE__SPARES_MAX},
    };
    for (unsigned i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (ranges[i].value < ranges[i].least || ranges[i].value > ranges[i].most) {
            return aee__fail(error, AEE_ERR_INVALID_ARGUMENT,
                             "limits of context \"%s\": %s is %llu, not between %llu and %llu",
                             name, ranges[i].field, (unsigned long long)ranges[i].value,
                             (unsigned long long)ranges[i].least,
                             (unsigned long long)ranges[i].most);
        }
    }
    (void)aee__round_up(limits->memory_bytes, AEE__LARGE_PAGE_SIZE, &limits->memory_bytes);
    (void)aee__round_up(limits->ready_bytes, AEE__PAGE_SIZE, &limits->ready_bytes);
    (void)aee__round_up(limits->stack_bytes, AEE__PAGE_SIZE, &limits->stack_bytes);
    return AEE_OK;
}

aee_result aee_default_limits(aee_kind kind, aee_limits *out)
{
    if (!out || kind < 0 || kind >= AEE_KIND_COUNT) {
        return AEE_ERR_INVALID_ARGUMENT;
    }
    aee__limits_default(kind, out);
    return AEE_OK;
}
