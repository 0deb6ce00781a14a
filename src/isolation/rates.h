/* rates.h: what a context may use of things that flow: calls, host calls, time of its vCPUs, bytes
 * of log, disk and network. Part of a context. Any thread; everything is counted, but costs more
 * than a test of `limited` only where a limit is set. */
#ifndef AEE_ISOLATION_RATES_H
#define AEE_ISOLATION_RATES_H

#include "aee_virt.h"
#include "isolation/bucket.h"

struct aee__batch;
struct aee__context;
struct aee__core;

enum aee__rate {
    AEE__RATE_CALLS = 0,
    AEE__RATE_HOST_CALLS,
    AEE__RATE_CPU,
    AEE__RATE_CPU_TOTAL, /* no bucket: a sum */
    AEE__RATE_LOG,
    AEE__RATE_DISK,
    AEE__RATE_NETWORK,
    AEE__RATE_COUNT
};

/* Bits of aee__rates.limited: what has to be looked at when ... */
#define AEE__LIMITED_CALLS 1u      /* calls begin */
#define AEE__LIMITED_HOST_CALLS 2u /* the component asks the engine */
#define AEE__LIMITED_CPU 4u        /* calls begin, and when a lane takes queued ones */

struct aee__rate_state {
    struct aee__bucket bucket;
    _Atomic uint64_t used;     /* units that were allowed; of LOG, DISK and NETWORK */
    _Atomic uint64_t refused;  /* calls, host calls, log lines, charges */
    _Atomic uint64_t quiet_ns; /* no event before this time */
};

struct aee__rates {
    _Atomic uint32_t limited;
    struct aee__rate_state states[AEE__RATE_COUNT];
    _Atomic uint64_t cpu_total_ns; /* limits.cpu_ns_total */
    uint64_t cpu_charged_ns;       /* of all CPU time, charged to the bucket; under the lock, */
    uint64_t cpu_begin_ns;         /* as is: where the total begins */
};

/* With the context's lock held: puts limits in force. */
void aee__rates_set(struct aee__context *context, const aee_limits *limits);
/* With the context's lock held: the total begins anew. */
void aee__rates_begin_total(struct aee__context *context);

/* Takes `amount` units, or counts a refusal, tells of it, and gives AEE_ERR_LIMIT. */
aee_result aee__rates_take(struct aee__context *context, enum aee__rate rate, uint64_t amount,
                           aee_error *error);
/* Not with the context's lock held, as the next two: CPU time is left for `count` more calls. */
aee_result aee__rates_check_cpu(struct aee__context *context, uint32_t count, aee_error *error);
/* `count` calls may begin, all or none. */
aee_result aee__rates_begin_calls(struct aee__context *context, uint32_t count, aee_error *error);
/* Where CPU time is used up, ends what is queued with AEE_ERR_LIMIT; true: it did. */
bool aee__rates_end_queue(struct aee__context *context);
/* As begin_calls() for all calls of a batch that is about to be submitted. */
aee_result aee__rates_begin_batch(struct aee__core *core, const struct aee__batch *batch,
                                  aee_error *error);
/* They did not begin. */
void aee__rates_cancel_batch(struct aee__core *core, const struct aee__batch *batch);

/* With the context's lock held: the time of its vCPUs so far. */
uint64_t aee__rates_cpu_ns(const struct aee__context *context);
/* With the lock held: usage and refusals. */
void aee__rates_get_info(const struct aee__context *context, aee_context_info *info);

#endif
