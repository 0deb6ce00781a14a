/* sys_fault.h: for the files behind sys.h and sys_process.h: whether a test wants a system call of
 * that name to fail. Sets errno and returns it; 0: it is made. Any thread. */
#ifndef AEE_BASE_SYS_FAULT_H
#define AEE_BASE_SYS_FAULT_H

#include <errno.h>

#include "base/sys.h"

static inline int injected(const char *name)
{
#ifdef AEE_TESTING
    int (*fault)(const char *) = aee__sys_fault;
    int error = fault ? fault(name) : 0;
    if (error != 0) {
        errno = error;
    }
    return error;
#else
    (void)name;
    return 0;
#endif
}

#endif
