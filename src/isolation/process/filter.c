/* filter.c: which system calls the threads of a cell may make. What is not listed, also in another
 * ABI (INT 0x80, numbers with the x32 bit), is a crash of the component: SIGSYS comes with its
 * number. */
#include <linux/futex.h>
#include <seccomp.h>

#include "isolation/process/process_internal.h"

#define EVERY_BIT UINT32_MAX
#define FUTEX(operation)                                                 \
    {                                                                    \
        .call = SCMP_SYS(futex), .checks = { {1, EVERY_BIT, operation} } \
    }

/* What carries out the library's orders: regions come and go, descriptors only on their way into a
 * mapping. Its answers go to the socket. */
static const struct aee__filter_rule servant[] = {
    FUTEX(FUTEX_WAIT),
    {.call = SCMP_SYS(mmap)},
    {.call = SCMP_SYS(munmap)},
    {.call = SCMP_SYS(recvmsg)},
    {.call = SCMP_SYS(close)},
    {.call = SCMP_SYS(write), .checks = {{0, EVERY_BIT, AEE_CELL_FD_SOCKET}}},
};

/* What the component's own threads have left: to wait for the library and to wake it. */
static const struct aee__filter_rule lane[] = {
    FUTEX(FUTEX_WAIT),
    FUTEX(FUTEX_WAKE),
    {.call = SCMP_SYS(rt_sigreturn)},
};

aee_result aee__filters_make(struct aee__backend *backend, aee_error *error)
{
    aee_result result =
        aee__filter_create(&backend->servant, backend->alloc, servant,
                           sizeof servant / sizeof servant[0], AEE__FILTER_TRAP, error);
    return result == AEE_OK
               ? aee__filter_create(&backend->lane, backend->alloc, lane,
                                    sizeof lane / sizeof lane[0], AEE__FILTER_TRAP, error)
               : result;
}
