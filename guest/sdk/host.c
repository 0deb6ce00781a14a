/* host.c: what a component asks of the engine: host calls, log lines, giving up. Everything goes
 * through the two vDSO functions named in the information page. Any lane; owns nothing. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "aee_guest.h"
#include "sdk.h"

static aee_vdso_host_call_fn *host_call_entry(void)
{
    return (aee_vdso_host_call_fn *)(uintptr_t)aee_info()->vdso_host_call;
}

_Noreturn static void give_up(uint32_t hypercall, const char *text, size_t size)
{
    aee_vdso_abort_fn *entry = (aee_vdso_abort_fn *)(uintptr_t)aee_info()->vdso_abort;
    entry(hypercall, text, size);
    __builtin_trap();
}

/* The next eight bytes of a name as a word; zeroes behind its end. */
static uint64_t name_word(const char *name, int *ended)
{
    uint64_t word = 0;
    for (unsigned i = 0; i < sizeof word; i++) {
        const uint64_t byte = (unsigned char)name[i];
        if (byte == 0) {
            *ended = 1;
            break;
        }
        word |= byte << (8 * i);
    }
    return word;
}

/* False: too long. Written in words, as it is read: what was written byte by byte would have to
 * reach the cache first. */
static int set_name(struct aee_abi_host_request *request, const char *name)
{
    typedef uint64_t __attribute__((may_alias)) word;
    _Static_assert(offsetof(struct aee_abi_host_request, name) % sizeof(word) == 0 &&
                       AEE_HOST_NAME_MAX % sizeof(word) == 0,
                   "names are whole words");
    word *words = (word *)(void *)request->name;
    int ended = 0;
    for (unsigned i = 0; i < AEE_HOST_NAME_MAX / sizeof *words; i++) {
        words[i] = ended ? 0 : name_word(name + i * sizeof *words, &ended);
    }
    return ended;
}

int32_t aee_host_call_args(const char *name, int64_t *result, int64_t a, int64_t b, int64_t c,
                           int64_t d, int64_t e, int64_t f)
{
    struct aee_abi_host_request request; /* all that travels is set: clearing it first costs more */
    int64_t value = 0;
    uint32_t reply_size = 0;
    int32_t status = AEE_HOST_BAD;
    request.kind = AEE_HOST_CALL_INVOKE;
    request.payload_size = 0;
    request.payload_capacity = 0;
    request.args[0] = (uint64_t)a;
    request.args[1] = (uint64_t)b;
    request.args[2] = (uint64_t)c;
    request.args[3] = (uint64_t)d;
    request.args[4] = (uint64_t)e;
    request.args[5] = (uint64_t)f;
    if (set_name(&request, name)) {
        status = host_call_entry()(&request, NULL, NULL, &value, &reply_size);
    }
    if (result != NULL) {
        *result = value;
    }
    return status;
}

int32_t aee_host_call_bytes(const char *name, const void *in, size_t in_size, void *out,
                            size_t out_capacity, size_t *out_size, int64_t *result)
{
    struct aee_abi_host_request request = {.kind = AEE_HOST_CALL_INVOKE};
    int64_t value = 0;
    uint32_t reply_size = 0;
    int32_t status = AEE_HOST_BAD;
    if (in_size <= AEE_MAX_PAYLOAD && out_capacity <= AEE_MAX_PAYLOAD && set_name(&request, name)) {
        request.payload_size = (uint32_t)in_size;
        request.payload_capacity = (uint32_t)out_capacity;
        status = host_call_entry()(&request, in, out, &value, &reply_size);
    }
    if (out_size != NULL) {
        *out_size = reply_size;
    }
    if (result != NULL) {
        *result = value;
    }
    return status;
}

static int32_t order_state(uint64_t order, const void *start, size_t size)
{
    struct aee_abi_host_request request = {.kind = AEE_HOST_CALL_STATE,
                                           .args = {order, (uint64_t)(uintptr_t)start, size}};
    int64_t value = 0;
    uint32_t reply_size = 0;
    return host_call_entry()(&request, NULL, NULL, &value, &reply_size);
}

int32_t aee_state_add(void *start, size_t size)
{
    return order_state(AEE_STATE_ORDER_ADD, start, size);
}

int32_t aee_state_remove(void *start)
{
    return order_state(AEE_STATE_ORDER_REMOVE, start, 0);
}

void aee__log_line(int level, const char *line, size_t size)
{
    struct aee_abi_host_request request = {.kind = AEE_HOST_CALL_LOG};
    int64_t value = 0;
    uint32_t reply_size = 0;
    request.payload_size = (uint32_t)size;
    request.args[0] = (uint64_t)level;
    (void)host_call_entry()(&request, line, NULL, &value, &reply_size);
}

/* Length of what vsnprintf() left in a buffer of AEE__TEXT_MAX bytes. */
static size_t written(int result)
{
    if (result < 0) {
        return 0;
    }
    return (size_t)result < AEE__TEXT_MAX ? (size_t)result : AEE__TEXT_MAX - 1;
}

static void log_format(int level, const char *format, va_list args)
{
    char line[AEE__TEXT_MAX];
    aee__log_line(level, line, written(vsnprintf(line, sizeof line, format, args)));
}

#define DEFINE_LOG(name, level)          \
    void name(const char *format, ...)   \
    {                                    \
        va_list args;                    \
        va_start(args, format);          \
        log_format(level, format, args); \
        va_end(args);                    \
    }
DEFINE_LOG(aee_log_debug, AEE__LOG_DEBUG)
DEFINE_LOG(aee_log, AEE__LOG_INFO)
DEFINE_LOG(aee_log_warning, AEE__LOG_WARNING)
DEFINE_LOG(aee_log_error, AEE__LOG_ERROR)

_Noreturn void aee_abort(const char *format, ...)
{
    char text[AEE__TEXT_MAX];
    va_list args;
    va_start(args, format);
    const size_t size = written(vsnprintf(text, sizeof text, format, args));
    va_end(args);
    give_up(AEE_HC_ABORT, text, size);
}

_Noreturn void aee__abort_text(const char *text)
{
    give_up(AEE_HC_ABORT, text, strlen(text));
}

_Noreturn void aee_out_of_memory(void)
{
    static const char text[] = "the heap is full";
    give_up(AEE_HC_OUT_OF_MEMORY, text, sizeof text - 1);
}
