/* test_events.c: isolation/events: order, what is lost when nobody listens, and many writers. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "isolation/events.h"

static struct aee__events events;

static int set_up(void **state)
{
    (void)state;
    return aee__events_create(&events, &aee__alloc_default, NULL) == AEE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    aee__events_destroy(&events);
    aee__events_destroy(&events);
    return 0;
}

static void push(uint64_t number)
{
    aee_event event = {.type = AEE_EVENT_LOADED, .time_ns = number};
    memset(event.text, 'a' + (int)(number % 26), sizeof event.text - 1);
    aee__events_push(&events, &event);
    memset(&event, 0xee, sizeof event); /* a copy was queued */
}

static void expect(uint64_t number)
{
    aee_event event;
    assert_true(aee__events_pop(&events, &event));
    assert_int_equal(event.time_ns, number);
    assert_int_equal(event.text[100], 'a' + (int)(number % 26));
}

static void test_order(void **state)
{
    (void)state;
    aee_event event;
    assert_false(aee__events_pop(&events, &event));
    uint64_t pushed = 0;
    uint64_t popped = 0;
    for (unsigned round = 1; round < 100; round++) { /* around the ring several times */
        for (unsigned i = 0; i < round; i++) {
            push(pushed++);
        }
        for (unsigned i = 0; i < round - round % 3; i++) {
            expect(popped++);
        }
    }
    while (popped < pushed) {
        expect(popped++);
    }
    assert_false(aee__events_pop(&events, &event));
    assert_int_equal(aee__events_lost(&events), 0);
}

static void test_full(void **state)
{
    (void)state;
    aee_event event;
    for (uint64_t i = 0; i < AEE__EVENTS_MAX + 5; i++) {
        push(i);
    }
    assert_int_equal(aee__events_lost(&events), 5);
    expect(0); /* what came first is kept */
    push(7777);
    push(8888);
    assert_int_equal(aee__events_lost(&events), 6);
    for (uint64_t i = 1; i < AEE__EVENTS_MAX; i++) {
        expect(i);
    }
    expect(7777);
    assert_false(aee__events_pop(&events, &event));
}

enum { WRITERS = 4, EACH = 20000 };
static _Atomic uint32_t writing;

static void *write_many(void *argument)
{
    for (uint64_t i = 0; i < EACH; i++) {
        push((uint64_t)(uintptr_t)argument << 32 | i);
    }
    (void)atomic_fetch_sub(&writing, 1);
    return NULL;
}

/* Of each writer the events come in its order; lost and delivered make all. */
static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[WRITERS];
    uint64_t next[WRITERS] = {0};
    uint64_t delivered = 0;
    uint64_t disorder = 0;
    aee_event event;
    atomic_store(&writing, WRITERS);
    for (uintptr_t i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, (void *)i), 0);
    }
    for (;;) {
        bool over = atomic_load(&writing) == 0;
        if (aee__events_pop(&events, &event)) {
            uint64_t *expected = &next[event.time_ns >> 32];
            disorder += (uint32_t)event.time_ns < *expected;
            *expected = (uint32_t)event.time_ns + UINT64_C(1);
            delivered++;
        } else if (over) {
            break;
        }
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    assert_int_equal(disorder, 0);
    assert_int_equal(delivered + aee__events_lost(&events), WRITERS * EACH);
}

static void *nothing(void *user, void *old, size_t old_size, size_t size)
{
    (void)user;
    (void)old;
    (void)old_size;
    (void)size;
    return NULL;
}

static void test_no_memory(void **state)
{
    (void)state;
    const struct aee__alloc none = {.function = nothing};
    struct aee__events other;
    aee_error error;
    assert_int_equal(aee__events_create(&other, &none, &error), AEE_ERR_NO_MEMORY);
    assert_non_null(strstr(error.text, "event"));
    aee__events_destroy(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
