/* jail.h: what a thread that runs guests may still ask of the kernel. Owns the filter; each thread
 * enters by itself, and never leaves. docs/jail.md has the list and the reasons. */
#ifndef AEE_RUNTIME_JAIL_H
#define AEE_RUNTIME_JAIL_H

#include "base/filter.h"

/* System calls in the list, at most; those of the sanitizers' run time come on top. */
#define AEE__JAIL_CALLS_MAX 20u

struct aee__jail {
    struct aee__filter filter;
    aee_jail_mode mode;
};

/* `requests`: those of ioctl() with which the back end runs a virtual CPU and looks at it. */
aee_result aee__jail_create(struct aee__jail *jail, const struct aee__alloc *alloc,
                            aee_jail_mode mode, int kick_signal, const uint32_t *requests,
                            uint32_t count, aee_error *error);
void aee__jail_destroy(struct aee__jail *jail);

/* For the calling thread. */
aee_result aee__jail_enter(const struct aee__jail *jail, aee_error *error);
/* Lets a thread of its own enter and ask for what is refused: whether this works here. */
aee_result aee__jail_try(const struct aee__jail *jail, aee_error *error);

/* Numbers of the calls in the list; how many. */
uint32_t aee__jail_calls(int calls[AEE__JAIL_CALLS_MAX]);

#endif
