/* filter.h: a program for the kernel's filter of system calls (seccomp), made by libseccomp from a
 * list of what is allowed. Owns the program's instructions, which any number of threads and
 * processes may install; any thread. */
#ifndef AEE_BASE_FILTER_H
#define AEE_BASE_FILTER_H

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/error.h"

#define AEE__FILTER_CHECKS 2u

/* An argument's lower half as the kernel reads an int or a flag word: (argument & mask) == value.
 * A mask of 0 checks nothing. */
struct aee__filter_check {
    uint32_t argument;
    uint32_t mask;
    uint32_t value;
};

/* A call (SCMP_SYS(name)) that is allowed if all checks hold. Several rules for one call: any. */
struct aee__filter_rule {
    int call;
    struct aee__filter_check checks[AEE__FILTER_CHECKS];
};

enum aee__filter_refusal {
    AEE__FILTER_FAIL, /* the call fails with EPERM */
    AEE__FILTER_LOG,  /* the call is made, and the kernel logs it */
    AEE__FILTER_TRAP, /* SIGSYS with its number, instead of the call */
};

struct aee__filter {
    const struct aee__alloc *alloc;
    struct sock_filter *instructions;
    size_t size; /* bytes */
};

/* Everything that no rule allows is refused, in the other ABIs of the processor, too. Rules that
 * come first are looked at first. */
aee_result aee__filter_create(struct aee__filter *filter, const struct aee__alloc *alloc,
                              const struct aee__filter_rule *rules, uint32_t count,
                              enum aee__filter_refusal refusal, aee_error *error);
void aee__filter_destroy(struct aee__filter *filter);

/* Installs it in the calling thread, for ever, and sets that thread's no_new_privs. Threads that it
 * makes have both. */
aee_result aee__filter_install(const struct aee__filter *filter, aee_error *error);

#endif
