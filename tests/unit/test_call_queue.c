/* test_call_queue.c: the queue of submitted calls in isolation/batch: order, cancelling anywhere in
 * it, and calls that are not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "isolation/batch.h"

enum { CALLS = 5 };

static struct aee__batches batches;
static struct aee__call_queue queue;
static struct aee__batch *batch;

static int set_up(void **state)
{
    (void)state;
    aee__batches_init(&batches, &aee__alloc_default, CALLS);
    aee__call_queue_init(&queue);
    batch = aee__batch_create(&batches, NULL, CALLS);
    for (uint32_t i = 0; i < CALLS; i++) {
        aee__batch_link(batch, &batch->calls[i]);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    aee__batch_free(&batches, batch);
    aee__call_queue_destroy(&queue);
    aee__batches_destroy(&batches);
    return 0;
}

static void append(uint32_t first, uint32_t last)
{
    aee__call_queue_append(&queue, &batch->calls[first], &batch->calls[last], last - first + 1);
}

static void expect_next(uint32_t index)
{
    struct aee__call *call = aee__call_queue_pop(&queue);
    assert_ptr_equal(call, &batch->calls[index]);
    assert_false(call->queued);
    aee__call_queue_popped(&queue, 1);
}

static void test_order(void **state)
{
    (void)state;
    append(0, 1);
    append(2, 2);
    append(3, 4);
    assert_int_equal(queue.count, 5);
    for (uint32_t i = 0; i < CALLS; i++) {
        expect_next(i);
    }
    assert_null(queue.first);
    assert_int_equal(queue.count, 0);
}

/* First, last and in the middle; each once; what is appended afterwards comes at the end. */
static void test_cancel(void **state)
{
    (void)state;
    append(0, 3);
    assert_true(aee__call_queue_cancel(&queue, &batch->calls[0]));
    assert_true(aee__call_queue_cancel(&queue, &batch->calls[2]));
    assert_true(aee__call_queue_cancel(&queue, &batch->calls[3]));
    assert_false(aee__call_queue_cancel(&queue, &batch->calls[3]));
    assert_int_equal(batch->calls[2].status, AEE_ERR_CANCELLED);
    assert_int_equal(aee__batch_ended(batch), 3);
    append(4, 4);
    expect_next(1);
    expect_next(4);
    assert_null(queue.first);
    assert_int_equal(queue.count, 0);
    assert_false(aee__call_queue_cancel(&queue, &batch->calls[1]));
}

/* A handle that was guessed can name a batch whose calls are about to be queued. */
static void test_not_there_yet(void **state)
{
    (void)state;
    assert_false(aee__call_queue_cancel(&queue, &batch->calls[0]));
    append(0, 1);
    assert_false(aee__call_queue_cancel(&queue, &batch->calls[3]));
    assert_int_equal(queue.count, 2);
    assert_int_equal(aee__batch_ended(batch), 0);
    append(2, 4);
    for (uint32_t i = 0; i < CALLS; i++) {
        expect_next(i);
    }
}

/* Before all others, into an empty queue as well. */
static void test_prepend(void **state)
{
    (void)state;
    aee__call_queue_prepend(&queue, &batch->calls[3], &batch->calls[3], 1);
    append(4, 4);
    batch->calls[0].next = &batch->calls[1];
    batch->calls[1].next = &batch->calls[2];
    aee__call_queue_prepend(&queue, &batch->calls[0], &batch->calls[2], 3);
    assert_int_equal(queue.count, 5);
    for (uint32_t i = 0; i < CALLS; i++) {
        expect_next(i);
    }
    assert_int_equal(queue.count, 0);
}

/* Those that wait for a second try end as the first one did. */
static void test_flush(void **state)
{
    (void)state;
    append(0, 4);
    batch->calls[1].retried = true;
    batch->calls[1].status = AEE_ERR_HUNG;
    aee__call_queue_flush(&queue, &batches, AEE_ERR_STOPPED);
    assert_int_equal(queue.count, 0);
    assert_null(queue.first);
    assert_int_equal(aee__batch_ended(batch), CALLS);
    for (uint32_t i = 0; i < CALLS; i++) {
        assert_false(batch->calls[i].queued);
        assert_int_equal(batch->calls[i].status, i == 1 ? AEE_ERR_HUNG : AEE_ERR_STOPPED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_there_yet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prepend, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flush, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
