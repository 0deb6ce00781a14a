/* native.c: the functions of aee_guest.h for native builds of a component (AEE_NATIVE), compiled
 * into each native module. Owns the hooks. The hooks are set before the component runs; after that
 * any thread. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aee_guest.h"

enum { TEXT_MAX = 512 };

static struct aee_native_hooks hooks;
static struct aee_abi_info info;

void aee_native_set_hooks(const struct aee_native_hooks *wanted)
{
    memset(&hooks, 0, sizeof hooks);
    if (wanted != NULL) {
        hooks = *wanted;
    }
    info.magic = 0; /* made anew by the next aee_info() */
}

const struct aee_abi_info *aee_info(void)
{
    if (info.magic != AEE_ABI_MAGIC) {
        memset(&info, 0, sizeof info);
        info.abi_version = AEE_ABI_VERSION;
        info.lane_count = 1;
        memcpy(info.seed, &hooks.seed, sizeof hooks.seed);
        info.frame = hooks.frame;
        info.time_ns = hooks.time_ns;
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
            info.features |= AEE_FEATURE_AVX2;
        }
        if (__builtin_cpu_supports("avx512f")) {
            info.features |= AEE_FEATURE_AVX512;
        }
        info.features &= ~hooks.hidden_features;
        info.magic = AEE_ABI_MAGIC;
    }
    return &info;
}

/* Nobody keeps the state of a native module; what a component may do wrong is told all the same. */
static struct {
    uintptr_t start;
    size_t size;
} ranges[AEE_STATE_RANGES_MAX];
static size_t range_count;
static uint64_t range_bytes;

int32_t aee_state_add(void *start, size_t size)
{
    const uintptr_t at = (uintptr_t)start;
    if (size == 0 || at == 0 || at + size < at) {
        return AEE_HOST_BAD;
    }
    for (size_t i = 0; i < range_count; i++) {
        if (at < ranges[i].start + ranges[i].size && ranges[i].start < at + size) {
            return AEE_HOST_BAD;
        }
    }
    if (range_count == AEE_STATE_RANGES_MAX || size > AEE_STATE_BYTES_MAX - range_bytes) {
        return AEE_HOST_LIMIT;
    }
    ranges[range_count].start = at;
    ranges[range_count++].size = size;
    range_bytes += size;
    return AEE_HOST_OK;
}

int32_t aee_state_remove(void *start)
{
    for (size_t i = 0; i < range_count; i++) {
        if (ranges[i].start == (uintptr_t)start) {
            range_bytes -= ranges[i].size;
            memmove(&ranges[i], &ranges[i + 1], (range_count - i - 1) * sizeof ranges[0]);
            range_count--;
            return AEE_HOST_OK;
        }
    }
    return AEE_HOST_NOT_FOUND;
}

static void log_format(int level, const char *format, va_list args)
{
    char line[TEXT_MAX];
    (void)vsnprintf(line, sizeof line, format, args);
    if (hooks.log != NULL) {
        hooks.log(hooks.user, level, line);
    } else {
        (void)fprintf(stderr, "%s\n", line);
    }
}

#define DEFINE_LOG(name, level)          \
    void name(const char *format, ...)   \
    {                                    \
        va_list args;                    \
        va_start(args, format);          \
        log_format(level, format, args); \
        va_end(args);                    \
    }
DEFINE_LOG(aee_log_debug, 0)
DEFINE_LOG(aee_log, 1)
DEFINE_LOG(aee_log_warning, 2)
DEFINE_LOG(aee_log_error, 3)

_Noreturn static void give_up(int out_of_memory, const char *text)
{
    if (hooks.abort != NULL) {
        hooks.abort(hooks.user, out_of_memory, text);
    } else {
        (void)fprintf(stderr, "component gave up: %s\n", text);
    }
    abort();
}

_Noreturn void aee_abort(const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    give_up(0, text);
}

_Noreturn void aee_out_of_memory(void)
{
    give_up(1, "the heap is full");
}

static int32_t call(const char *name, const int64_t args[AEE_MAX_ARGS], const void *in,
                    size_t in_size, void *out, size_t out_capacity, size_t *out_size,
                    int64_t *result)
{
    size_t size = 0;
    int64_t value = 0;
    int32_t status = AEE_HOST_NOT_FOUND;
    if (strnlen(name, AEE_HOST_NAME_MAX) == AEE_HOST_NAME_MAX || in_size > AEE_MAX_PAYLOAD ||
        out_capacity > AEE_MAX_PAYLOAD) {
        status = AEE_HOST_BAD;
    } else if (hooks.host_call != NULL) {
        status =
            hooks.host_call(hooks.user, name, args, in, in_size, out, out_capacity, &size, &value);
    }
    if (out_size != NULL) {
        *out_size = size;
    }
    if (result != NULL) {
        *result = value;
    }
    return status;
}

int32_t aee_host_call_args(const char *name, int64_t *result, int64_t a, int64_t b, int64_t c,
                           int64_t d, int64_t e, int64_t f)
{
    const int64_t args[AEE_MAX_ARGS] = {a, b, c, d, e, f};
    return call(name, args, NULL, 0, NULL, 0, NULL, result);
}

int32_t aee_host_call_bytes(const char *name, const void *in, size_t in_size, void *out,
                            size_t out_capacity, size_t *out_size, int64_t *result)
{
    static const int64_t args[AEE_MAX_ARGS];
    return call(name, args, in, in_size, out, out_capacity, out_size, result);
}

uint64_t aee_heap_used(void)
{
    return 0;
}

uint64_t aee_heap_free(void)
{
    return 0;
}
