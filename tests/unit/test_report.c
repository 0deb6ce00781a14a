/* test_report.c: recovery/report: the sentence for each cause, and what it says about an address.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "elf_builder.h"
#include "recovery/report.h"

#define MIB UINT64_C(0x100000)

static struct {
    struct aee__context *context;
    struct aee__instance *instance;
    struct aee__image image;
    struct aee__image_ref reference;
    struct aee__region regions[2];
} t;

static int set_up(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    t.context = calloc(1, sizeof *t.context);
    t.instance = calloc(1, sizeof *t.instance);
    (void)pthread_mutex_init(&t.context->lock, NULL);
    strcpy(t.context->name, "boss");
    t.image.segments[0] =
        (struct aee__segment){.start = AEE_GVA_IMAGE, .size = 0x1000, .rights = 1};
    t.image.segments[1] =
        (struct aee__segment){.start = AEE_GVA_IMAGE + 0x1000, .size = 0x1000, .rights = 5};
    t.image.segments[2] =
        (struct aee__segment){.start = AEE_GVA_IMAGE + 0x3000, .size = 0x1000, .rights = 3};
    t.image.segment_count = 3;
    t.reference.image = &t.image;
    t.instance->image = &t.reference;
    t.instance->context = t.context;
    t.instance->plan.lanes = 2;
    t.instance->plan.stack_size = 64 * 1024;
    t.instance->memory.heap_size = 16 * MIB;
    t.regions[0] = (struct aee__region){.name = "world", .size = 8192, .offset = 4 * MIB};
    t.regions[1] = (struct aee__region){.name = "sky",
                                        .size = 4096,
                                        .same_address = 1,
                                        .host = (uint8_t *)(uintptr_t)0x100000000000};
    t.context->mappings[0] = (struct aee__mapping){&t.regions[0], 1};
    t.context->mappings[1] = (struct aee__mapping){&t.regions[1], 0};
    t.context->mapping_count = 2;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)pthread_mutex_destroy(&t.context->lock);
    free(t.context);
    free(t.instance);
    return 0;
}

static aee_crash describe(aee_crash crash, const char *detail)
{
    aee__report_describe(t.context, t.instance, detail, &crash);
    assert_non_null(memchr(crash.text, '\0', sizeof crash.text));
    return crash;
}

static void test_each_cause(void **state)
{
    (void)state;
    static const struct {
        aee_crash_cause cause;
        const char *detail;
        const char *says;
    } cases[] = {
        {AEE_CRASH_SYSCALL, "", "SYSCALL instruction number 59"},
        {AEE_CRASH_MEMORY, "memory that was revoked", "access to memory that was revoked"},
        {AEE_CRASH_ABORT, "no cheese", "aborted: no cheese"},
        {AEE_CRASH_OUT_OF_MEMORY, "new[]", "out of memory (16 MiB heap): new[]"},
        {AEE_CRASH_HUNG, "100 us", "overran its call budget of 100 us"},
        {AEE_CRASH_PROTOCOL, "unknown hypercall", "broke the calling protocol: unknown hypercall"},
        {AEE_CRASH_HOST, "KVM_RUN failed", "could not be run on: KVM_RUN failed"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        aee_crash crash = {.cause = cases[i].cause, .registers = {.rip = 0x401000, .rax = 59}};
        strcpy(crash.called, "tick");
        crash = describe(crash, cases[i].detail);
        if (!strstr(crash.text, cases[i].says) || !strstr(crash.text, "context \"boss\": ") ||
            !strstr(crash.text, " at 0x401000, called through tick")) {
            fail_msg("\"%s\"", crash.text);
        }
    }
}

static void test_vectors(void **state)
{
    (void)state;
    for (uint32_t vector = 0; vector < 40; vector++) {
        aee_crash crash = {.cause = AEE_CRASH_EXCEPTION, .vector = vector};
        crash = describe(crash, "");
        bool known = vector <= 21 && vector != 9 && vector != 15;
        assert_int_equal(strstr(crash.text, "unknown exception") == NULL, known);
    }
    aee_crash crash = {.cause = AEE_CRASH_EXCEPTION, .vector = 8};
    crash = describe(crash, "triple fault");
    assert_non_null(strstr(crash.text, "double fault: triple fault"));
}

/* An initialiser is named as such also where no function is known. */
static void test_initialiser(void **state)
{
    (void)state;
    aee_crash crash = {.cause = AEE_CRASH_EXCEPTION, .vector = 6};
    crash = describe(crash, "");
    assert_string_equal(crash.text, "context \"boss\": invalid instruction at 0x0"
                                    ", called through its initialiser");
}

/* What lies at the address of a page fault, at the edges of each area. */
static void test_places(void **state)
{
    (void)state;
    uint64_t top = AEE_GVA_STACKS + AEE_STACK_GUARD + AEE_STACK_MAX;
    const struct {
        uint64_t address;
        const char *says;
    } cases[] = {
        {0, "null pointer + 0"},
        {0x1fffff, "null pointer + 2097151"},
        {AEE_GVA_SYSTEM, "the system area"},
        {AEE_GVA_VDSO, "the library's pages"},
        {AEE_GVA_INFO, "the library's pages"},
        {AEE_GVA_IMAGE, "the image's read-only data"},
        {AEE_GVA_IMAGE + 0x1fff, "the image's code"},
        {AEE_GVA_IMAGE + 0x2000, "outside of the image's segments"},
        {AEE_GVA_IMAGE + 0x3000, "the image's data"},
        {AEE_GVA_IMAGE + 0x4000, "outside of the image's segments"},
        {top - 1, "the stack of lane 0"},
        {top - 64 * 1024, "the stack of lane 0"},
        {top - 64 * 1024 - 1, "stack overflow"},
        {top, "behind the stack of lane 0"},
        {top + AEE_STACK_STRIDE - 1, "the stack of lane 1"},
        {top + 2 * AEE_STACK_STRIDE - 1, "no lane's stack"},
        {AEE_GVA_HEAP, "(the heap)"},
        {AEE_GVA_HEAP + 16 * MIB - 1, "(the heap)"},
        {AEE_GVA_HEAP + 16 * MIB, "beyond the heap's limit"},
        {AEE_GVA_REGIONS, "no region that is mapped"},
        {AEE_GVA_REGIONS + 4 * MIB, "region \"world\", read-write"},
        {AEE_GVA_REGIONS + 4 * MIB + 8191, "region \"world\", read-write"},
        {AEE_GVA_REGIONS + 4 * MIB + 8192, "no region that is mapped"},
        {UINT64_C(0x100000000000), "region \"sky\", read-only"},
        {UINT64_C(0x100000001000), "mapped to nothing"},
        {UINT64_MAX, "mapped to nothing"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        aee_crash crash = {
            .cause = AEE_CRASH_EXCEPTION, .vector = 14, .fault_address = cases[i].address};
        crash = describe(crash, "");
        if (!strstr(crash.text, cases[i].says)) {
            fail_msg("0x%llx: \"%s\"", (unsigned long long)cases[i].address, crash.text);
        }
    }
}

/* The lanes' own memory is mapped: it is not "nothing" when somebody executes it. */
static void test_lane_area(void **state)
{
    (void)state;
    aee_crash crash = {.cause = AEE_CRASH_EXCEPTION,
                       .vector = 14,
                       .error_code = 0x15,
                       .fault_address = AEE_GVA_LANES + 0x10000};
    crash = describe(crash, "");
    if (strstr(crash.text, "mapped to nothing")) {
        fail_msg("\"%s\"", crash.text);
    }
}

/* Error code: SDM vol. 3A, figure 4-12. */
static void test_access(void **state)
{
    (void)state;
    static const struct {
        uint32_t code;
        const char *says;
    } cases[] = {{4, "read of address 0x10 "},   {5, "read of address 0x10 "},
                 {6, "write to address 0x10 "},  {7, "write to address 0x10 "},
                 {0x14, "execution of address"}, {0x15, "execution of address"}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        aee_crash crash = {.cause = AEE_CRASH_EXCEPTION,
                           .vector = 14,
                           .error_code = cases[i].code,
                           .fault_address = 0x10};
        crash = describe(crash, "");
        if (!strstr(crash.text, cases[i].says)) {
            fail_msg("code 0x%x: \"%s\"", cases[i].code, crash.text);
        }
    }
}

static void test_function_names(void **state)
{
    (void)state;
    struct elf_file file;
    struct aee__image *image;
    elf_file_init(&file, ET_EXEC);
    assert_int_equal(
        aee__image_parse(&aee__alloc_default, "image", &file, sizeof file, &image, NULL), AEE_OK);
    t.reference.image = image;
    int32_t add = aee__image_find_export(image, "add");
    assert_true(add >= 0);
    aee_crash crash = {.cause = AEE_CRASH_EXCEPTION,
                       .vector = 0,
                       .registers = {.rip = image->exports[add].gva + 3}};
    strcpy(crash.called, "add");
    crash = describe(crash, "");
    assert_string_equal(crash.function, "add");
    assert_int_equal(crash.function_offset, 3);
    assert_string_equal(crash.text, "context \"boss\": division error in add+0x3");
    strcpy(crash.called, "mul");
    crash = describe(crash, "");
    assert_string_equal(crash.text,
                        "context \"boss\": division error in add+0x3, called through mul");
    aee__image_destroy(image);
}

/* Words of the component: one printable line, however long. */
static void test_hostile_text(void **state)
{
    (void)state;
    char detail[96];
    memset(detail, '\n', sizeof detail - 1);
    detail[sizeof detail - 1] = '\0';
    memcpy(detail, "%s%n\x1b[2J\t\x7f", 9);
    memset(t.context->name, 'n', sizeof t.context->name - 1);
    aee_crash crash = {.cause = AEE_CRASH_ABORT};
    memset(crash.called, 'c', sizeof crash.called - 1);
    crash = describe(crash, detail);
    for (const char *at = crash.text; *at; at++) {
        assert_true((unsigned char)*at >= 0x20 && *at != 0x7f);
    }
    assert_non_null(strstr(crash.text, "%s%n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_cause, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_vectors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_initialiser, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lane_area, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_access, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_function_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hostile_text, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
