/* test_kvm_log.c: isolation/kvm/vm: which pages were written, asked with and without keeping them
 * in KVM's log. Compiles the module with a log of its own, so it needs no /dev/kvm. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/sys.h"

static int play_ioctl(int fd, unsigned long request, void *argument);
#define aee__sys_ioctl play_ioctl
#include "isolation/kvm/vm.c" // NOLINT(bugprone-suspicious-include)
#undef aee__sys_ioctl

enum { FD = 77, PAGES = 1024, WORDS = PAGES / 64, SLOTS = 2 };

static struct {
    struct aee__backend backend;
    struct aee__vm vm;
    uint64_t log[SLOTS][WORDS]; /* of slots 5 and 6 */
    unsigned fetched;
    unsigned cleared;
    unsigned long fails; /* that request */
} t;

static void clear_log(const struct kvm_clear_dirty_log *clear)
{
    const uint64_t *bits = clear->dirty_bitmap;
    assert_int_equal(clear->first_page, 0);
    assert_int_equal(clear->num_pages, PAGES);
    for (unsigned i = 0; i < WORDS; i++) {
        t.log[clear->slot - 5][i] &= ~bits[i];
    }
    t.cleared++;
}

/* As KVM's: fetching clears where the log does not stay (api.rst 4.8). */
static int play_ioctl(int fd, unsigned long request, void *argument)
{
    assert_int_equal(fd, FD);
    if (request == t.fails) {
        errno = EINVAL;
        return -1;
    }
    if (request == KVM_GET_DIRTY_LOG) {
        const struct kvm_dirty_log *log = argument;
        memcpy(log->dirty_bitmap, t.log[log->slot - 5], sizeof t.log[0]);
        if (!t.vm.log_stays) {
            memset(t.log[log->slot - 5], 0, sizeof t.log[0]);
        }
        t.fetched++;
    } else if (request == KVM_CLEAR_DIRTY_LOG) {
        clear_log(argument);
    } else {
        assert_int_equal(request, KVM_ENABLE_CAP);
    }
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    t.backend.log_stays = true;
    t.vm.backend = &t.backend;
    t.vm.fd = FD;
    enable_capabilities(&t.vm);
    for (uint32_t i = 0; i < SLOTS; i++) {
        t.vm.slots[t.vm.private_count++] =
            (struct aee__kvm_slot){.number = 5 + i,
                                   .gpa = {AEE__GPA_PRIVATE + i * UINT64_C(4096) * PAGES},
                                   .size = UINT64_C(4096) * PAGES};
    }
    return 0;
}

static void expect(bool keep, unsigned slot, uint64_t word)
{
    uint64_t bitmap[SLOTS * WORDS];
    memset(bitmap, 0x5a, sizeof bitmap);
    assert_int_equal(aee__kvm_vm_written(&t.vm, bitmap, UINT64_C(2) * PAGES, keep, NULL), AEE_OK);
    for (unsigned i = 0; i < SLOTS * WORDS; i++) {
        assert_int_equal(bitmap[i], i == slot * WORDS + 3 ? word : 0);
    }
}

static void test_kept(void **state)
{
    (void)state;
    t.log[1][3] = 0x81;
    expect(true, 1, 0x81);
    t.log[1][3] |= 0x100; /* written meanwhile */
    expect(true, 1, 0x181);
    assert_int_equal(t.cleared, 0);
}

static void test_cleared(void **state)
{
    (void)state;
    t.log[1][3] = 0x81;
    expect(false, 1, 0x81);
    assert_int_equal(t.fetched, 2);
    assert_int_equal(t.cleared, 1); /* nothing was written in the other slot */
    expect(false, 1, 0);
    assert_int_equal(t.cleared, 1);
}

/* A kernel that has no such log, or does not give it: each page is told once. */
static void test_does_not_stay(void **state)
{
    (void)state;
    t.fails = KVM_ENABLE_CAP;
    enable_capabilities(&t.vm);
    assert_false(t.vm.log_stays);
    t.log[0][3] = 7;
    expect(true, 0, 7);
    expect(true, 0, 0);
    t.log[0][3] = 7;
    expect(false, 0, 7);
    assert_int_equal(t.cleared, 0);
}

static void test_failures(void **state)
{
    (void)state;
    uint64_t bitmap[SLOTS * WORDS];
    static const unsigned long requests[] = {KVM_GET_DIRTY_LOG, KVM_CLEAR_DIRTY_LOG};
    t.log[0][3] = 1;
    for (unsigned i = 0; i < 2; i++) {
        aee_error error;
        t.fails = requests[i];
        assert_int_equal(aee__kvm_vm_written(&t.vm, bitmap, UINT64_C(2) * PAGES, false, &error),
                         AEE_ERR_SYSTEM);
        assert_non_null(strstr(error.text, "cannot tell which pages were written"));
    }
    t.fails = 0;
    assert_int_not_equal(aee__kvm_vm_written(&t.vm, bitmap, PAGES, false, NULL), AEE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_kept, set_up),
        cmocka_unit_test_setup(test_cleared, set_up),
        cmocka_unit_test_setup(test_does_not_stay, set_up),
        cmocka_unit_test_setup(test_failures, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
