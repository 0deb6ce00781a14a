/* SPDX-License-Identifier: Apache-2.0
 *
 * aee_guest.h: what the author of a component includes. A component is a static ELF image whose
 * exported functions the engine calls; it runs in a virtual machine of its own, without operating
 * system, files, clock or threads. C11 and C++17; build it with aee-cc or aee_add_component().
 *
 *     #include <aee_guest.h>
 *     AEE_EXPORT int64_t add(int64_t a, int64_t b) { return a + b; }
 *
 * With AEE_NATIVE defined the same source makes a shared module for the host, so that tests can
 * compare the two; see the last part of this file.
 */
#ifndef AEE_GUEST_H
#define AEE_GUEST_H

#include <stddef.h>
#include <stdint.h>

#include "aee_abi.h"

/* Exports are found by name in the image; a header with their prototypes would serve nobody. */
#if defined(__GNUC__) && !defined(__cplusplus)
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#endif

#ifdef __cplusplus
#define AEE_GUEST_EXTERN_C extern "C"
#define AEE_GUEST_NORETURN [[noreturn]]
#else
#define AEE_GUEST_EXTERN_C
#define AEE_GUEST_NORETURN _Noreturn
#endif

/* Sections that nothing refers to survive --gc-sections only when marked. */
#if defined(__has_attribute)
#if __has_attribute(retain)
#define AEE_GUEST_KEEP used, retain
#endif
#endif
#ifndef AEE_GUEST_KEEP
#define AEE_GUEST_KEEP used
#endif

/* ---- Exports ---------------------------------------------------------------------------------- */

/* Put before the definition of a function that the engine may call. Arguments and result are
 * int64_t (or any integer of 64 bits) and double, at most six of them; or the payload form
 * `int64_t f(const void *request, size_t size, void *reply, size_t capacity)`, which returns the
 * number of bytes of reply or a negative error. */
#ifdef AEE_NATIVE
#define AEE_EXPORT AEE_GUEST_EXTERN_C __attribute__((visibility("default"), used))
#else
#define AEE_EXPORT                                                                     \
    AEE_GUEST_EXTERN_C __attribute__((visibility("default"), AEE_GUEST_KEEP, noinline, \
                                      section(AEE_ABI_EXPORT_SECTION)))
#endif

/* Declares the types of an export, so that the engine checks its calls against them: result, colon,
 * arguments, with i = 64-bit integer, d = double, v = no result; or "b" for the payload form. For
 * example AEE_SIGNATURE(add, "i:ii"); at file scope. */
#ifdef AEE_NATIVE
#define AEE_SIGNATURE(name, types) AEE_ABI_ASSERT(sizeof(types) > 1, "result:arguments, or b")
#else
#define AEE_SIGNATURE(name, types)                                     \
    __attribute__((AEE_GUEST_KEEP, section(AEE_ABI_SIGNATURE_SECTION), \
                   aligned(1))) static const char aee_signature_of_##name[] = #name "=" types
#endif

/* The note by which the library knows which ABI the image was built for. Each file that includes
 * this header emits one. */
#ifndef AEE_NATIVE
AEE_ABI_ASSERT(AEE_ABI_VERSION == 1u, "the note below carries the number as text");
AEE_ABI_ASSERT(sizeof(AEE_ABI_NOTE_OWNER) == 4 && AEE_ABI_NOTE_TYPE == 1u, "as does it these");
__asm__(".pushsection " AEE_ABI_NOTE_SECTION ",\"a\",@note\n"
        ".balign 4\n"
        ".long 4, 4, 1\n"
        ".asciz \"" AEE_ABI_NOTE_OWNER "\"\n"
        ".long 1\n"
        ".popsection\n");
#endif

/* ---- Declared state --------------------------------------------------------------------------- */

/* Put before the definition of a variable of static storage that is part of the component's
 * declared state: what a checkpoint of mode AEE_CHECKPOINT_DECLARED keeps and aee_state_checksum()
 * reads.
 *
 *     AEE_STATE static struct world world;
 *
 * Zero bytes of it are in the image, too: what is large belongs to the heap and aee_state_add(). */
#define AEE_STATE __attribute__((section(AEE_ABI_STATE_SECTION), AEE_GUEST_KEEP))

#ifdef __cplusplus
extern "C" {
#endif

/* Adds `size` bytes at `start` to the declared state: of the heap, or of variables. Returns an enum
 * aee_abi_host_status: AEE_HOST_BAD for a range that is empty, overlaps another or is no memory
 * that the component may write, stacks and thread-local storage included; AEE_HOST_LIMIT beyond
 * AEE_STATE_RANGES_MAX ranges or AEE_STATE_BYTES_MAX bytes. Ranges belong to the instance: one that
 * was restarted from the image has those that its initialisers add. Pointers in the state keep
 * their meaning only where what they point at is part of it. Costs a host call. */
int32_t aee_state_add(void *start, size_t size);
/* Takes the range that was added with that start away, before its memory is freed.
 * AEE_HOST_NOT_FOUND: there is none. */
int32_t aee_state_remove(void *start);

/* ---- The instance ----------------------------------------------------------------------------- */

/* Optional: define it and it runs once, on lane 0, after the static constructors and before the
 * first call. It must return; the call budget holds. */
void aee_init(void);

/* What the library tells about this instance: features, lanes, heap, seed. Read-only; heap_size may
 * grow while the component runs. */
#ifdef AEE_NATIVE
const struct aee_abi_info *aee_info(void);
#else
static inline const struct aee_abi_info *aee_info(void)
{
    return (const struct aee_abi_info *)AEE_GVA_INFO;
}
#endif

/* Number of the lane (vCPU) that executes this, 0 to aee_info()->lane_count - 1. */
static inline uint32_t aee_lane_index(void)
{
#ifdef AEE_NATIVE
    return 0;
#else
    uint32_t index;
    __asm__("movl %%gs:0, %0" : "=r"(index)); /* aee_abi_lane.control.lane_index */
    return index;
#endif
}

/* Frames that the engine has begun, and the time at which it began the last of them, in ns of an
 * arbitrary beginning. Both are read before the first call of a frame begins and stand still until
 * the next frame's first: a component that takes its time from here and its random numbers from
 * aee_seed() does the same again when it is called the same again (aee_set_determinism()). */
static inline uint64_t aee_frame(void)
{
    return __atomic_load_n(&aee_info()->frame, __ATOMIC_RELAXED);
}
static inline uint64_t aee_time_ns(void)
{
    return __atomic_load_n(&aee_info()->time_ns, __ATOMIC_RELAXED);
}

/* Non-zero where AVX2 and FMA may be executed. Components are compiled for plain x86-64; put
 * functions that need more behind __attribute__((target("avx2"))) and this question. */
static inline int aee_has_avx2(void)
{
    return (aee_info()->features & AEE_FEATURE_AVX2) != 0;
}

/* Ends this instance and reports the text (printf format, 511 bytes at most) as a crash. The
 * engine's call fails; the library restarts the component if its policy says so. */
AEE_GUEST_NORETURN void aee_abort(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for a component that cannot go on because its heap is full; the crash report says so.
 * malloc() itself returns NULL at the limit; operator new comes here. */
AEE_GUEST_NORETURN void aee_out_of_memory(void);

/* ---- Logging ---------------------------------------------------------------------------------- */

/* Sends one line (printf format, at most 511 bytes, no newline) to the engine's log. What exceeds
 * the context's log rate is dropped. Costs a host call: not for inner loops. printf() and puts()
 * arrive as lines of level info, those on stderr as warnings. */
void aee_log(const char *format, ...) __attribute__((format(printf, 1, 2))); /* level info */
void aee_log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void aee_log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void aee_log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- Host functions --------------------------------------------------------------------------- */

/* aee_host_call(name, result, ...): calls the engine's function `name` with up to six integers and
 * waits for the answer. `result` (int64_t *, may be NULL) receives its value, which is 0 unless the
 * status is AEE_HOST_OK or AEE_HOST_FAILED. Returns an enum aee_abi_host_status:
 * AEE_HOST_NOT_FOUND where the engine did not grant the function. Doubles go as aee_bits(d).
 *
 *     int64_t id;
 *     if (aee_host_call("spawn", &id, kind, aee_bits(x)) != AEE_HOST_OK) ... */
#define aee_host_call(name, ...)                                                                 \
    ((void)sizeof(char[AEE_GUEST_COUNT(__VA_ARGS__, 99, 6, 5, 4, 3, 2, 1, 0, 0) <= 6 ? 1 : -1]), \
     AEE_GUEST_PAD(name, __VA_ARGS__, 0, 0, 0, 0, 0, 0, 0))
#define AEE_GUEST_COUNT(r, a, b, c, d, e, f, g, n, ...) n
#define AEE_GUEST_PAD(name, result, a, b, c, d, e, f, ...) \
    aee_host_call_args(name, result, a, b, c, d, e, f)
/* What the macro expands to. */
int32_t aee_host_call_args(const char *name, int64_t *result, int64_t a, int64_t b, int64_t c,
                           int64_t d, int64_t e, int64_t f);

/* The same with bytes: `in_size` bytes go to the engine's function, at most `out_capacity` bytes of
 * its reply come back to `out`. Both at most AEE_MAX_PAYLOAD, or AEE_HOST_BAD. `out_size` and
 * `result` may be NULL. */
int32_t aee_host_call_bytes(const char *name, const void *in, size_t in_size, void *out,
                            size_t out_capacity, size_t *out_size, int64_t *result);

/* A double as the 64 bits in which it travels as an argument of a host call; and back. */
static inline int64_t aee_bits(double value)
{
    int64_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}
static inline double aee_from_bits(int64_t bits)
{
    double value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- Heap ------------------------------------------------------------------------------------- */

/* Bytes of the heap that are allocated now, with overhead; and bytes that could still be had, not
 * necessarily in one piece. Both are 0 in native builds, which use the C library's heap. */
uint64_t aee_heap_used(void);
uint64_t aee_heap_free(void);

/* ---- Random numbers --------------------------------------------------------------------------- */

/* 64 random bits that differ in each instance, also between forks of one template. Take an explicit
 * seed from the engine instead where runs must be repeatable. */
static inline uint64_t aee_seed(void)
{
    uint64_t part[4];
    __builtin_memcpy(part, aee_info()->seed, sizeof part);
    return part[0] ^ part[1] ^ part[2] ^ part[3];
}

/* A small fast generator (xoshiro256**, Blackman and Vigna 2018); not for secrets. One per lane. */
struct aee_random {
    uint64_t state[4];
};

/* Any seed will do: it is spread by splitmix64. */
static inline void aee_random_init(struct aee_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        random->state[i] = z ^ (z >> 31);
    }
}

/* The next 64 bits. */
static inline uint64_t aee_random_next(struct aee_random *random)
{
    uint64_t *s = random->state;
    const uint64_t product = s[1] * 5;
    const uint64_t result = ((product << 7) | (product >> 57)) * 9;
    const uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

/* Below `bound`, evenly for bounds far below 2^64; 0 for bound 0. */
static inline uint64_t aee_random_below(struct aee_random *random, uint64_t bound)
{
    const uint64_t value = aee_random_next(random);
    return bound == 0 ? 0 : value % bound;
}

/* In [0, 1), in steps of 2^-24, so that the conversion is exact. */
static inline float aee_random_float(struct aee_random *random)
{
    return (float)(aee_random_next(random) >> 40) * (1.0f / 16777216.0f);
}

/* ---- Tests ------------------------------------------------------------------------------------ */

/* AEE_TEST(name) { ... } defines the export test_name(), which `aee test` runs in an instance of
 * its own (docs/testing.md). AEE_CHECK() ends the test with a sentence where the condition is
 * false. */
#define AEE_TEST(name)                \
    AEE_SIGNATURE(test_##name, "v:"); \
    AEE_EXPORT void test_##name(void)
#define AEE_CHECK(condition) \
    ((condition) ? (void)0 : aee_abort("%s:%d: AEE_CHECK(%s)", __FILE__, __LINE__, #condition))

/* ---- Native builds ---------------------------------------------------------------------------- */

#ifdef AEE_NATIVE
/* A native module exports aee_native_set_hooks(); without it logs go to stderr, aee_abort() ends in
 * abort(), and host calls are answered AEE_HOST_NOT_FOUND. NULL members keep that behaviour. */
struct aee_native_hooks {
    void *user;
    void (*log)(void *user, int level, const char *line);
    void (*abort)(void *user, int out_of_memory, const char *text); /* must not return */
    int32_t (*host_call)(void *user, const char *name, const int64_t args[AEE_MAX_ARGS],
                         const void *in, size_t in_size, void *out, size_t out_capacity,
                         size_t *out_size, int64_t *result);
    uint64_t hidden_features; /* AEE_FEATURE_ bits that the module must not see */
    uint64_t seed;            /* what aee_seed() gives */
    uint64_t frame;           /* what aee_frame() and aee_time_ns() give */
    uint64_t time_ns;
};
__attribute__((visibility("default"))) void
aee_native_set_hooks(const struct aee_native_hooks *hooks);
#endif

#ifdef __cplusplus
}
#endif

#endif
