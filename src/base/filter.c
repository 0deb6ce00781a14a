#include "base/filter.h"

#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>

#include "base/sys.h"

#define FAILURE "cannot make a filter of system calls: %s"

/* Rules for the same call share a priority. */
static int add_rule(scmp_filter_ctx context, const struct aee__filter_rule *rule, uint32_t index)
{
    struct scmp_arg_cmp compare[AEE__FILTER_CHECKS];
    unsigned count = 0;
    for (unsigned i = 0; i < AEE__FILTER_CHECKS; i++) {
        const struct aee__filter_check *check = &rule->checks[i];
        if (check->mask != 0) {
            compare[count++] = (struct scmp_arg_cmp){.arg = check->argument,
                                                     .op = SCMP_CMP_MASKED_EQ,
                                                     .datum_a = check->mask,
                                                     .datum_b = check->value};
        }
    }
    int status = seccomp_syscall_priority(context, rule->call, (uint8_t)(255u - index));
    return status != 0
               ? status
               : seccomp_rule_add_array(context, SCMP_ACT_ALLOW, rule->call, count, compare);
}

static int fill(scmp_filter_ctx context, const struct aee__filter_rule *rules, uint32_t count,
                uint32_t refusal)
{
    int status = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, refusal);
    for (uint32_t i = 0; i < count && status == 0; i++) {
        status = add_rule(context, &rules[i], i);
    }
    return status;
}

static bool read_back(int fd, void *to, size_t size)
{
    ssize_t got;
    do {
        got = aee__sys_pread(fd, to, size, 0);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)size;
}

/* libseccomp writes programs to files only. */
static aee_result export(struct aee__filter *filter, scmp_filter_ctx context, aee_error *error)
{
    int fd = aee__sys_memfd("aee filter", 0);
    if (fd < 0) {
        return aee__fail_os(error, errno, FAILURE, "no memory file");
    }
    aee_result result = AEE_OK;
    int status = seccomp_export_bpf(context, fd);
    int64_t size = status == 0 ? aee__sys_file_size(fd) : -1;
    if (status != 0 || size <= 0) {
        result = aee__fail_os(error, status != 0 ? -status : errno, FAILURE, "export");
    } else {
        filter->instructions = aee__alloc_zero(filter->alloc, 1, (size_t)size);
        filter->size = filter->instructions ? (size_t)size : 0;
    }
    if (result == AEE_OK && !filter->instructions) {
        result = aee__fail(error, AEE_ERR_NO_MEMORY, FAILURE, "out of memory");
    }
    if (result == AEE_OK && !read_back(fd, filter->instructions, filter->size)) {
        result = aee__fail_os(error, errno, FAILURE, "reading it back");
    }
    (void)aee__sys_close(fd);
    return result;
}

aee_result aee__filter_create(struct aee__filter *filter, const struct aee__alloc *alloc,
                              const struct aee__filter_rule *rules, uint32_t count,
                              enum aee__filter_refusal refusal, aee_error *error)
{
    uint32_t action = refusal == AEE__FILTER_LOG    ? SCMP_ACT_LOG
                      : refusal == AEE__FILTER_TRAP ? SCMP_ACT_TRAP
                                                    : SCMP_ACT_ERRNO(EPERM);
    *filter = (struct aee__filter){.alloc = alloc};
    scmp_filter_ctx context = seccomp_init(action);
    if (!context) {
        return aee__fail(error, AEE_ERR_UNSUPPORTED, FAILURE,
                         "libseccomp or the kernel does not know the action for refused calls");
    }
    int status = fill(context, rules, count, action);
    aee_result result = status == 0 ? export(filter, context, error)
                                    : aee__fail_os(error, -status, FAILURE, "a rule");
    seccomp_release(context);
    if (result != AEE_OK) {
        aee__filter_destroy(filter);
    }
    return result;
}

void aee__filter_destroy(struct aee__filter *filter)
{
    if (filter->alloc) {
        aee__alloc_free(filter->alloc, filter->instructions, filter->size);
    }
    *filter = (struct aee__filter){0};
}

aee_result aee__filter_install(const struct aee__filter *filter, aee_error *error)
{
    const struct sock_fprog program = {
        .len = (unsigned short)(filter->size / sizeof *filter->instructions),
        .filter = filter->instructions};
    return aee__sys_filter_thread(&program) == 0
               ? AEE_OK
               : aee__fail_os(error, errno, "cannot install a filter of system calls: seccomp()");
}
