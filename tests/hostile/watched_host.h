/* watched_host.h: the host function "host" of the tests of rings and host calls: it checks what it
 * is given, and counts. Owns one set of counters; any thread. */
#ifndef AEE_TESTS_HOSTILE_WATCHED_HOST_H
#define AEE_TESTS_HOSTILE_WATCHED_HOST_H

#include "hostile/harness.h"

struct watched_host {
    _Atomic uint64_t calls;
    _Atomic uint64_t wrong;      /* arguments out of range, or a payload that changed meanwhile */
    _Atomic uint64_t reply_size; /* to be given */
    _Atomic uint64_t delay_ns;   /* to be taken */
};
extern struct watched_host seen;

/* A fresh offender that may call "host"; the counters are cleared. */
struct offender watched_offender(struct hostile *hostile, aee_call_mode mode,
                                 const aee_limits *limits);

#endif
