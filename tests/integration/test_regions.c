/* test_regions.c: shared memory: rights, addresses, revocation while the component writes. */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>

static aee_region make_region(struct bed *bed, const char *name, uint64_t size, uint32_t flags,
                              int64_t **data)
{
    aee_region_desc desc = {
        .struct_size = sizeof desc, .name = name, .size_bytes = size, .flags = flags};
    aee_region region = {0};
    void *address = NULL;
    size_t got = 0;
    ASSERT_OK(bed, aee_region_create(bed->engine, &desc, &region, &bed->error));
    ASSERT_OK(bed, aee_region_data(bed->engine, region, &address, &got, &bed->error));
    assert_true(got >= size);
    *data = address;
    return region;
}

static int64_t map(struct bed *bed, aee_context context, aee_region region, aee_access access)
{
    uint64_t address = 0;
    ASSERT_OK(bed, aee_region_map(bed->engine, context, region, access, &address, &bed->error));
    return (int64_t)address;
}

static void expect_crash(struct bed *bed, aee_context context, const char *function,
                         int64_t address, const char *words)
{
    aee_crash crash;
    assert_int_equal(call2(bed, context, function, address, 1, 2, NULL), AEE_ERR_CRASHED);
    ASSERT_OK(bed, aee_last_crash(bed->engine, context, &crash, &bed->error));
    if (!strstr(crash.text, words)) {
        fail_msg("\"%s\" does not say \"%s\"", crash.text, words);
    }
    ASSERT_OK(bed, aee_wait_ready(bed->engine, context, 10 * SECOND, &bed->error));
}

static void both_sides_see_the_same_bytes(void **state)
{
    struct bed *bed = *state;
    aee_context context = make_context(bed, "sharer", AEE_CALL_DIRECT, 1);
    for (uint32_t flags = 0; flags <= AEE_REGION_SAME_ADDRESS; flags++) {
        /* Sizes around pages, granules and window chunks (32 MiB). */
        static const uint64_t sizes[] = {8, 4096, 2 << 20, (2 << 20) + 4096, 40 << 20};
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            int64_t *data;
            aee_region region = make_region(bed, "bytes", sizes[i], flags, &data);
            int64_t guest = map(bed, context, region, AEE_ACCESS_READ_WRITE);
            assert_int_equal((guest == (int64_t)(uintptr_t)data), flags);
            uint64_t last = sizes[i] / 8 - 1;
            data[last] = -17 - (int64_t)i;
            assert_int_equal(value2(bed, context, "read_i64", guest + (int64_t)last * 8, 0, 1),
                             -17 - (int64_t)i);
            assert_int_equal(value2(bed, context, "write_i64", guest, 4711 + (int64_t)i, 2),
                             4711 + (int64_t)i);
            assert_int_equal(data[0], 4711 + (int64_t)i);
            ASSERT_OK(bed, aee_region_destroy(bed->engine, region, &bed->error));
        }
    }
}

static void rights_are_enforced_and_change(void **state)
{
    struct bed *bed = *state;
    /* At its own address, level none has the region with the engine's rights. */
    uint32_t most = level_is_none(bed) ? 0 : AEE_REGION_SAME_ADDRESS;
    for (uint32_t flags = 0; flags <= most; flags++) {
        aee_context context = make_context(bed, "rights", AEE_CALL_DIRECT, 1);
        ASSERT_OK(bed,
                  aee_set_limits(bed->engine, context, &(aee_limits){.restarts = 60}, &bed->error));
        int64_t *data;
        aee_region region = make_region(bed, "positions", 8192, flags, &data);
        int64_t guest = map(bed, context, region, AEE_ACCESS_READ);
        data[0] = 5;
        assert_int_equal(value2(bed, context, "read_i64", guest, 0, 1), 5);
        expect_crash(bed, context, "write_i64", guest, "\"positions\", read-only");
        assert_int_equal(data[0], 5);
        assert_int_equal(value2(bed, context, "read_i64", guest, 0, 1),
                         5); /* kept over the restart */
        assert_int_equal(map(bed, context, region, AEE_ACCESS_READ_WRITE), guest);
        assert_int_equal(value2(bed, context, "write_i64", guest, 6, 2),
                         6); /* in the running instance */
        assert_int_equal(map(bed, context, region, AEE_ACCESS_READ), guest);
        assert_int_equal(value2(bed, context, "read_i64", guest, 0, 1), 6);
        expect_crash(bed, context, "write_i64", guest, "read-only");
        assert_int_equal(data[0], 6);
        ASSERT_OK(bed, aee_region_unmap(bed->engine, context, region, &bed->error));
        assert_int_equal(aee_region_unmap(bed->engine, context, region, &bed->error),
                         AEE_ERR_NOT_FOUND);
        expect_crash(bed, context, "read_i64", guest, "");
        ASSERT_OK(bed, aee_region_destroy(bed->engine, region, &bed->error));
    }
}

static void only_the_holder_sees_it(void **state)
{
    struct bed *bed = *state;
    aee_context first = make_context(bed, "first", AEE_CALL_DIRECT, 1);
    aee_context second = make_context(bed, "second", AEE_CALL_DIRECT, 1);
    int64_t *data;
    uint32_t flags = level_is_none(bed) ? 0 : AEE_REGION_SAME_ADDRESS;
    aee_region region = make_region(bed, "secret", 4096, flags, &data);
    int64_t guest = map(bed, first, region, AEE_ACCESS_READ_WRITE);
    data[0] = 99;
    expect_crash(bed, second, "read_i64", guest, flags ? "mapped to nothing" : "no region that is");
    uint64_t moved = 0;
    ASSERT_OK(bed, aee_region_transfer(bed->engine, first, second, region, &moved, &bed->error));
    assert_int_equal(moved, guest);
    assert_int_equal(value2(bed, second, "write_i64", guest, 100, 2), 100);
    expect_crash(bed, first, "read_i64", guest, "");
    assert_int_equal(aee_region_transfer(bed->engine, first, second, region, NULL, &bed->error),
                     AEE_ERR_NOT_FOUND);
    ASSERT_OK(bed, aee_region_destroy(bed->engine, region, &bed->error));
    assert_int_equal(aee_region_data(bed->engine, region, NULL, NULL, &bed->error), AEE_ERR_STALE);
    expect_crash(bed, second, "read_i64", guest, "");
}

/* ---- Revocation while the component writes ------------------------------------------------------ */

struct writer {
    struct bed *bed;
    aee_context context;
    int64_t address;
    aee_result result;
};

static void *write_on(void *argument)
{
    struct writer *writer = argument;
    aee_error error;
    aee_function function;
    writer->result = aee_find_function(writer->bed->engine, writer->context, "write_for_ever",
                                       &function, &error);
    if (writer->result == AEE_OK) {
        writer->result = aee_call_i64(writer->bed->engine, writer->context, function,
                                      &writer->address, 1, NULL, &error);
    }
    return NULL;
}

static void no_write_lands_after_a_revoke(void **state)
{
    struct bed *bed = *state;
    int64_t *data;
    aee_region region = make_region(bed, "contested", 4096, 0, &data);
    for (int trial = 0; trial < 20; trial++) {
        aee_context context =
            make_context(bed, "writer", trial % 2 ? AEE_CALL_RING : AEE_CALL_DIRECT, 1);
        ASSERT_OK(bed, aee_set_limits(bed->engine, context,
                                      &(aee_limits){.call_budget_ns = 20 * SECOND}, &bed->error));
        struct writer writer = {bed, context, map(bed, context, region, AEE_ACCESS_READ_WRITE),
                                AEE_OK};
        pthread_t thread;
        __atomic_store_n(data, 0, __ATOMIC_SEQ_CST);
        assert_int_equal(pthread_create(&thread, NULL, write_on, &writer), 0);
        while (__atomic_load_n(data, __ATOMIC_RELAXED) < 1000) {
        }
        ASSERT_OK(bed, aee_region_unmap(bed->engine, context, region, &bed->error));
        int64_t after = __atomic_load_n(data, __ATOMIC_SEQ_CST);
        struct timespec pause = {.tv_nsec = 1000000};
        (void)nanosleep(&pause, NULL);
        assert_int_equal(__atomic_load_n(data, __ATOMIC_SEQ_CST), after);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(writer.result, AEE_ERR_CRASHED);
        ASSERT_OK(bed, aee_destroy(bed->engine, context, &bed->error));
    }
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        TEST(both_sides_see_the_same_bytes),
        TEST(rights_are_enforced_and_change),
        TEST(only_the_holder_sees_it),
        TEST(no_write_lands_after_a_revoke),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
