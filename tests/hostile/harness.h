/* harness.h: runs attacks. One engine a test program; in it a bystander, which another thread calls
 * all the time, and for each case a fresh offender. Before and after each case: the bystander
 * answers, no signal handler, signal mask or pending signal has changed, no descriptor is left
 * over. Owns the engine and the bystander; the tests run on the main thread. */
#ifndef AEE_TESTS_HOSTILE_HARNESS_H
#define AEE_TESTS_HOSTILE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "aee_virt.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define MS UINT64_C(1000000)
#define MIB (UINT64_C(1) << 20)

/* How the offender's call may end. */
#define ENDS_RETURN 1u
#define ENDS_CRASH 2u
#define ENDS_HANG 4u
#define VECTOR(n) (UINT64_C(1) << (n))
/* INT n without a gate and other refusals differ: #GP on processors, #UD where KVM is emulated. */
#define VECTORS_REFUSED (VECTOR(6) | VECTOR(13))

/* What must happen; zero fields are not looked at. */
struct hostile_end {
    unsigned ends;
    aee_crash_cause cause;
    uint64_t vectors; /* of cause EXCEPTION: any of these bits */
    uint64_t address; /* with has_address: the fault address */
    bool has_address;
    const char *text;     /* part of the report's sentence */
    const char *function; /* crash.function; with "*" anything but "" */
};

enum hostile_modes { MODES_BOTH = 0, MODES_DIRECT, MODES_RING };

struct hostile;

struct hostile_case {
    const char *name;
    /* Either a call of an exported function of the component ... */
    const char *call;
    int64_t args[4];
    uint32_t count;
    struct hostile_end end;
    uint64_t budget_ns; /* default 5 s, or 20 ms where it must hang */
    /* ... or a script. */
    void (*script)(struct hostile *hostile, aee_call_mode mode);
    enum hostile_modes modes;
    bool (*can_be)(void); /* the case is left out where this processor says no */
    /* A fault of the library that the case shows: the case is not run, and says so, unless
     * AEE_HOSTILE_KNOWN_BUGS=1 is set. Remove the line when the fault is repaired. */
    const char *known_bug;
};

struct hostile_program {
    const char *name;
    const char *image;    /* the offender's, a file name; NULL: none */
    uint32_t pool_size;   /* default 2 */
    aee_log_fn log;       /* the engine's */
    int (*prepare)(void); /* before the engine exists; non-zero: fails */
    const struct hostile_case *cases;
    size_t count;
};

/* Runs each case in each mode; its result is main()'s. argv[1]: only cases whose name, with the
 * mode in parentheses, contains it. */
int hostile_main(const struct hostile_program *program, int argc, char **argv);

struct hostile {
    aee_engine *engine;
    aee_context bystander;
    aee_function bystander_add;
    const char *image;
    uint32_t pool_size;
};

/* ---- Steps of scripts. All fail the test when they cannot be done ------------------------- */

struct offender {
    aee_context context;
    aee_call_mode mode;
};

/* Context with the image loaded; zero limits are the harness's defaults. A call budget holds from
 * the load on, not for it. */
struct offender hostile_offender(struct hostile *hostile, aee_call_mode mode,
                                 const aee_limits *limits);
struct offender hostile_offender_of(struct hostile *hostile, const char *image, aee_call_mode mode,
                                    const aee_limits *limits);
void hostile_destroy(struct hostile *hostile, struct offender offender);
aee_function hostile_find(struct hostile *hostile, struct offender offender, const char *name);
aee_result hostile_call(struct hostile *hostile, struct offender offender, const char *name,
                        const int64_t *args, uint32_t count, int64_t *value);
aee_result hostile_call1(struct hostile *hostile, struct offender offender, const char *name,
                         int64_t arg, int64_t *value);
/* Must succeed; its value. */
int64_t hostile_ask(struct hostile *hostile, struct offender offender, const char *name,
                    int64_t arg);
aee_crash hostile_crash(struct hostile *hostile, struct offender offender);
aee_context_info hostile_info(struct hostile *hostile, struct offender offender);
/* The end that a call came to is one of the expected ones, and the crash report fits. */
void hostile_expect(struct hostile *hostile, struct offender offender, aee_result result,
                    const char *called, const struct hostile_end *end);
/* Comes back, at the latest after 10 s, and answers. */
void hostile_expect_recovery(struct hostile *hostile, struct offender offender);
/* The bystander answers right, now. */
void hostile_expect_bystander(struct hostile *hostile);
/* Waits until the condition holds; false: it did not within the time. */
bool hostile_wait(bool (*holds)(void *user), void *user, uint64_t timeout_ns);

aee_region hostile_region(struct hostile *hostile, uint64_t size, uint32_t flags);
uint64_t hostile_map(struct hostile *hostile, struct offender offender, aee_region region,
                     aee_access access);
uint8_t *hostile_region_data(struct hostile *hostile, aee_region region);

/* What the bystander's thread has counted: answers so far. */
uint64_t hostile_pings(void);
aee_level hostile_level(void); /* in force */
uint64_t hostile_now_ns(void);
void hostile_sleep_ns(uint64_t ns);
/* Open descriptors of the process. */
int hostile_descriptors(void);
/* AEE_TEST_TIMEOUT_SCALE, for budgets that honest code must keep. */
uint64_t hostile_scale(void);
/* Traps of user code that emulated processors do without. By experiment, in a child. */
bool hostile_traps_sse_divide(void);   /* a division by zero that is unmasked */
bool hostile_traps_sse_reserved(void); /* bits of MXCSR that there are not */
bool hostile_traps_unaligned(void);    /* with the AC flag */
/* Path of a component. */
const char *hostile_image_path(const char *image, char *path, size_t size);

#endif
