/* filter.c: which system calls the threads of a cell may make. What is not listed is a crash of the
 * component: SIGSYS comes with its number. */
#include <errno.h>
#include <linux/futex.h>
#include <seccomp.h>

#include "base/sys.h"
#include "isolation/process/process_internal.h"

/* Waiting for the library and waking it, on any word that the cell has mapped. */
static int allow_futex(scmp_filter_ctx filter, unsigned operation)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(futex), 1,
                            SCMP_A1(SCMP_CMP_EQ, operation));
}

/* What carries out the library's orders: regions come and go, descriptors only on their way into a
 * mapping. Its answers go to the socket. */
static int allow_servant(scmp_filter_ctx filter)
{
    static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(recvmsg),
                                SCMP_SYS(close)};
    int result = allow_futex(filter, FUTEX_WAIT);
    for (unsigned i = 0; i < sizeof calls / sizeof calls[0] && result == 0; i++) {
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    }
    return result != 0 ? result
                       : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(write), 1,
                                          SCMP_A0(SCMP_CMP_EQ, AEE_CELL_FD_SOCKET));
}

/* What the component's own threads have left. */
static int allow_lane(scmp_filter_ctx filter)
{
    int result = allow_futex(filter, FUTEX_WAIT);
    if (result == 0) {
        result = allow_futex(filter, FUTEX_WAKE);
    }
    return result != 0 ? result
                       : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(rt_sigreturn), 0);
}

static int export(scmp_filter_ctx filter, struct aee__filter *out)
{
    int fd = aee__sys_memfd("aee-filter", 0);
    if (fd < 0) {
        return -errno;
    }
    int result = seccomp_export_bpf(filter, fd);
    ssize_t size = result == 0 ? aee__sys_read_all(fd, out->bytes, sizeof out->bytes) : -1;
    (void)aee__sys_close(fd);
    out->size = size > 0 ? (size_t)size : 0;
    return result != 0 ? result : size > 0 && out->size < sizeof out->bytes ? 0 : -E2BIG;
}

static int make(int (*allow)(scmp_filter_ctx filter), struct aee__filter *out)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
    if (!filter) {
        return -ENOMEM;
    }
    /* Also calls of another ABI: INT 0x80, and numbers with the x32 bit. */
    int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP);
    if (result == 0) {
        result = allow(filter);
    }
    if (result == 0) {
        result = export(filter, out);
    }
    seccomp_release(filter);
    return result;
}

aee_result aee__filters_make(struct aee__backend *backend, aee_error *error)
{
    int result = make(allow_servant, &backend->servant);
    if (result == 0) {
        result = make(allow_lane, &backend->lane);
    }
    return result == 0 ? AEE_OK : aee__fail_os(error, -result, "cannot make a system-call filter");
}
