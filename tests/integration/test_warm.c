/* test_warm.c: a lane that is called by ring in each frame is awake when the next one begins, and
 * one that is not stays parked. Told by exits, not by time: a lane that was woken parks with one.
 */
#include <unistd.h>

#include "harness.h"

static uint64_t exits_of(struct bed *bed, aee_context context)
{
    aee_context_info info;
    ASSERT_OK(bed, aee_get_context_info(bed->engine, context, &info, &bed->error));
    return info.exits;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
}

static void frame(struct bed *bed, aee_context context, aee_function function, int calls)
{
    const int64_t args[6] = {1, 2, 0, 0, 0, 0};
    ASSERT_OK(bed, aee_engine_frame_begin(bed->engine, &bed->error));
    for (int i = 0; i < calls; i++) {
        ASSERT_OK(bed, aee_call_i64(bed->engine, context, function, args, 6, NULL, &bed->error));
    }
    nap(); /* long enough to park */
    ASSERT_OK(bed, aee_engine_frame_end(bed->engine, NULL, &bed->error));
}

/* Exits of a frame in which nothing is called. */
static uint64_t quiet_frame(struct bed *bed, aee_context context, aee_function function)
{
    nap();
    uint64_t before = exits_of(bed, context);
    frame(bed, context, function, 0);
    return exits_of(bed, context) - before;
}

static void warm(aee_call_mode mode, uint64_t wakes)
{
    struct bed bed;
    bed_open(&bed, NULL);
    aee_context context = make_context(&bed, "warm", mode, 1);
    aee_function add;
    ASSERT_OK(&bed, aee_find_function(bed.engine, context, "sum6", &add, &bed.error));
    assert_int_equal(quiet_frame(&bed, context, add), 0); /* it was never called */
    frame(&bed, context, add, 3);
    /* As in the frame before. */
    assert_int_equal(quiet_frame(&bed, context, add), level_is_none(&bed) ? 0 : wakes);
    assert_int_equal(quiet_frame(&bed, context, add), 0); /* nobody called it any more */
    frame(&bed, context, add, 3);
    frame(&bed, context, add, 3);
    ASSERT_OK(&bed, aee_pause(bed.engine, context, &bed.error));
    ASSERT_OK(&bed, aee_destroy(bed.engine, context, &bed.error));
    ASSERT_OK(&bed, aee_engine_frame_begin(bed.engine, &bed.error)); /* its handle is stale */
    ASSERT_OK(&bed, aee_engine_frame_end(bed.engine, NULL, &bed.error));
    aee_engine_destroy(bed.engine);
}

static void ring_lanes_are_woken(void **state)
{
    (void)state;
    warm(AEE_CALL_RING, sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 1 : 0);
}

static void direct_lanes_are_not(void **state)
{
    (void)state;
    warm(AEE_CALL_DIRECT, 0);
}

int main(void)
{
    skip_without_backend();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ring_lanes_are_woken),
        cmocka_unit_test(direct_lanes_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
