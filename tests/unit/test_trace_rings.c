/* test_trace_rings.c: monitor/trace and monitor/trace_layout: what is overwritten, who may write
 * when, what is freed when, and slices from records. What is written is in
 * integration/test_trace.py. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/sys.h"
#include "monitor/trace.h"
#include "monitor/trace_json.h"
#include "monitor/trace_layout.h"

#define RECORDS UINT64_C(64)
#define BYTES (RECORDS * sizeof(struct aee__trace_record))

static struct aee__ticker ticker;
static struct aee__trace trace;
static int kept; /* references to names */
static int owner_a;
static int owner_b;
static _Atomic uint32_t busy;
static _Atomic uint32_t exits[AEE__TRACE_EXITS + 1];

static const char *name_of(const void *owner, int32_t function)
{
    (void)owner;
    (void)function;
    return "f";
}

static void keep(void *owner)
{
    (void)owner;
    kept++;
}

static void drop(void *owner)
{
    (void)owner;
    kept--;
}

static struct aee__trace_plan plan(uint32_t lane, void *owner)
{
    static const char name[AEE_NAME_MAX] = "context";
    return (struct aee__trace_plan){.context = 1,
                                    .name = name,
                                    .lane = lane,
                                    .busy = &busy,
                                    .exits = exits,
                                    .names = {.name = name_of, .drop = drop, .owner = owner},
                                    .keep = keep};
}

static void open_door(struct aee__trace_door *door, uint32_t lane, void *owner)
{
    struct aee__trace_plan wanted = plan(lane, owner);
    aee__trace_open(&trace, door, &wanted);
}

static void put(struct aee__trace_door *door, uint64_t number)
{
    aee__trace_put(atomic_load(&door->ring), number, number + 1,
                   aee__trace_detail(AEE__TRACE_CALL, 0, 0, 0, 0, (int32_t)number), number);
}

static int set_up(void **state)
{
    (void)state;
    kept = 0;
    atomic_store(&busy, 0);
    aee__ticker_init(&ticker);
    aee__trace_init(&trace, &aee__alloc_default, &ticker);
    return aee__trace_begin(&trace, RECORDS, 3 * BYTES, NULL) == AEE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    aee__trace_destroy(&trace);
    return kept;
}

/* ---- Rings -------------------------------------------------------------------------------- */

static void expect_records(const struct aee__trace_track *track, uint64_t first, uint64_t count,
                           uint64_t lost_before)
{
    struct aee__trace_slice slices[RECORDS];
    uint64_t lost;
    assert_int_equal(aee__trace_read(track, slices, RECORDS, &lost), count);
    assert_int_equal(lost, lost_before);
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(slices[i].begin, first + i);
        assert_int_equal(slices[i].end, first + i + 1);
        assert_int_equal(slices[i].exits, first + i);
        assert_int_equal(aee__trace_function(&slices[i]), first + i);
    }
}

static void the_oldest_are_overwritten_and_counted(void **state)
{
    static struct aee__trace_door door;
    struct aee__trace_slice few[8];
    uint64_t lost;
    (void)state;
    open_door(&door, 0, &owner_a);
    expect_records(door.track, 0, 0, 0);
    for (uint64_t i = 0; i < RECORDS - 1; i++) {
        put(&door, i);
    }
    expect_records(door.track, 0, RECORDS - 1, 0);
    for (uint64_t i = RECORDS - 1; i < 1000; i++) {
        put(&door, i);
    }
    expect_records(door.track, 1000 - (RECORDS - 1), RECORDS - 1, 1000 - (RECORDS - 1));
    assert_int_equal(aee__trace_read(door.track, few, 8, &lost), 8);
    assert_int_equal(lost, 992);
    assert_int_equal(few[0].begin, 992);
    aee__trace_end(&trace);
    assert_null(atomic_load(&door.ring));
    aee__trace_clear(&trace);
}

static void details_keep_every_field(void **state)
{
    (void)state;
    struct aee__trace_slice slice = {
        .detail = aee__trace_detail(AEE__TRACE_HOST, 8, 2, 0x1ab, AEE_ERR_CANCELLED, -1)};
    assert_int_equal(aee__trace_kind(&slice), AEE__TRACE_HOST);
    assert_int_equal(aee__trace_level(&slice), 8);
    assert_int_equal(aee__trace_mode(&slice), 2);
    assert_int_equal(aee__trace_place(&slice), 0xab);
    assert_int_equal(aee__trace_result(&slice), AEE_ERR_CANCELLED);
    assert_int_equal(aee__trace_function(&slice), -1);
}

/* A reader beside a writer that overtakes it: what it reads is whole, in order, without a gap. */
static _Atomic bool over;

static void *write_for_long(void *argument)
{
    for (uint64_t i = 0; !atomic_load(&over); i++) {
        put(argument, i);
    }
    return NULL;
}

static void a_reader_gets_whole_records(void **state)
{
    static struct aee__trace_door door;
    struct aee__trace_slice slices[RECORDS];
    pthread_t writer;
    uint64_t total = 0;
    unsigned wrong = 0;
    (void)state;
    open_door(&door, 0, &owner_a);
    atomic_store(&over, false);
    assert_int_equal(pthread_create(&writer, NULL, write_for_long, &door), 0);
    for (unsigned turn = 0; turn < 20000 || total == 0; turn++) {
        uint64_t lost;
        uint64_t count = aee__trace_read(door.track, slices, RECORDS, &lost);
        for (uint64_t i = 0; i < count; i++) {
            wrong += slices[i].begin != lost + i || slices[i].end != lost + i + 1 ||
                     slices[i].exits != lost + i;
        }
        total += count;
    }
    atomic_store(&over, true);
    (void)pthread_join(writer, NULL);
    assert_int_equal(wrong, 0);
}

/* ---- Tracks ------------------------------------------------------------------------------- */

static void writers_share_a_track_one_after_the_other(void **state)
{
    static struct aee__trace_door first;
    static struct aee__trace_door second;
    static struct aee__trace_door third;
    (void)state;
    open_door(&first, 0, &owner_a);
    open_door(&second, 0, &owner_a); /* at the same time: a track of its own */
    assert_ptr_not_equal(first.track, second.track);
    assert_int_equal(second.track->copy, 1);
    put(&first, 0);
    const struct aee__trace_track *track = first.track;
    aee__trace_give_up(&trace, &first);
    assert_null(atomic_load(&first.ring));
    open_door(&first, 1, &owner_a); /* another lane */
    assert_ptr_not_equal(first.track, track);
    open_door(&third, 0, &owner_b); /* other names, and no memory for one more */
    assert_null(third.track);
    assert_int_equal(trace.without_track, 1);
    open_door(&third, 0, &owner_a);
    assert_ptr_equal(third.track, track);
    put(&third, 1);
    expect_records(track, 0, 2, 0);
    assert_int_equal(kept, 3);
    aee__trace_end(&trace);
    open_door(&first, 0, &owner_a); /* too late */
    assert_null(atomic_load(&first.ring));
    aee__trace_clear(&trace);
    assert_int_equal(kept, 0);
    assert_null(third.track);
    open_door(&third, 0, &owner_a);
    assert_null(atomic_load(&third.ring));
}

/* A writer that may be behind its door keeps its track over the end of the trace, and its next
 * trace begins where that one ended. */
static void a_busy_writer_keeps_its_track(void **state)
{
    static struct aee__trace_door door;
    (void)state;
    open_door(&door, 0, &owner_a);
    put(&door, 0);
    struct aee__trace_ring *ring = atomic_load(&door.ring);
    atomic_store(&busy, 1);
    aee__trace_end(&trace);
    aee__trace_clear(&trace);
    assert_int_equal(kept, 1);
    aee__trace_put(ring, 7, 8, 0, 0); /* it was on its way */
    assert_int_equal(aee__trace_begin(&trace, 2 * RECORDS, 8 * BYTES, NULL), AEE_OK);
    open_door(&door, 0, &owner_a);
    assert_ptr_equal(atomic_load(&door.ring), ring);
    put(&door, 2);
    expect_records(door.track, 2, 1, 0);
    aee__trace_end(&trace);
    aee__trace_clear(&trace);
    assert_int_equal(kept, 1);
    atomic_store(&busy, 0);
    aee__trace_give_up(&trace, &door); /* now nobody is left */
    assert_int_equal(kept, 0);
}

static void notes_are_bounded(void **state)
{
    (void)state;
    struct aee__trace_note note = {.type = AEE_EVENT_CRASHED};
    for (uint64_t i = 0; i < AEE__TRACE_NOTES + 10; i++) {
        note.number = i;
        aee__trace_note(&trace, &note);
    }
    assert_int_equal(trace.events.written, AEE__TRACE_NOTES + 10);
    assert_int_equal(trace.events.ring[9].number, AEE__TRACE_NOTES + 9);
    assert_int_equal(trace.frames.written, 0);
    aee__trace_end(&trace);
    aee__trace_note(&trace, &note);
    aee__trace_clear(&trace);
    aee__trace_note(&trace, &note);
    assert_int_equal(trace.events.written, AEE__TRACE_NOTES + 10);
}

/* ---- Memory and writing fail -------------------------------------------------------------- */

static unsigned fail_at;

static int fail_mmap(const char *name)
{
    return strcmp(name, "mmap") == 0 && fail_at-- == 1 ? ENOMEM : 0;
}

static void without_memory_there_is_no_trace(void **state)
{
    static struct aee__trace_door door;
    aee_error error;
    (void)state;
    fail_at = 1;
    aee__sys_fault = fail_mmap;
    open_door(&door, 0, &owner_a);
    assert_null(atomic_load(&door.ring));
    assert_int_equal(trace.without_track, 1);
    aee__trace_end(&trace);
    aee__trace_clear(&trace);
    for (unsigned n = 1; n <= 2; n++) {
        fail_at = n;
        assert_int_equal(aee__trace_begin(&trace, RECORDS, BYTES, &error), AEE_ERR_NO_MEMORY);
        assert_non_null(strstr(error.text, "trace"));
        assert_false(aee__trace_is_on(&trace));
    }
    aee__sys_fault = NULL;
}

static int write_some(void *user, const void *bytes, size_t size)
{
    uint64_t *left = user;
    (void)bytes;
    if (*left < size) {
        return -1;
    }
    *left -= size;
    return 0;
}

static void a_writer_that_takes_no_more_ends_it(void **state)
{
    static struct aee__trace_door door;
    uint64_t left = 10000;
    const struct aee__trace_output output = {.write = write_some,
                                             .user = &left,
                                             .max_bytes = 1 << 20,
                                             .title = "",
                                             .host_name = name_of};
    (void)state;
    open_door(&door, 0, &owner_a);
    for (uint64_t i = 0; i < 3000; i++) {
        struct aee__trace_note note = {.type = AEE__TRACE_FRAME, .number = i};
        aee__trace_note(&trace, &note);
        put(&door, i);
    }
    aee__trace_end(&trace);
    assert_int_equal(aee__trace_write(&trace, &output, NULL), AEE_ERR_SYSTEM);
    left = 10000000;
    assert_int_equal(aee__trace_write(&trace, &output, NULL), AEE_OK);
    assert_true(left >= 10000000 - output.max_bytes);
    struct aee__trace_output small = output; /* less than the frames take */
    small.max_bytes = 65536;
    left = small.max_bytes;
    assert_int_equal(aee__trace_write(&trace, &small, NULL), AEE_OK);
    aee__trace_clear(&trace);
}

/* ---- Layout ------------------------------------------------------------------------------- */

static struct aee__trace_slice call_at(uint64_t begin, uint64_t end)
{
    return (struct aee__trace_slice){begin, end, aee__trace_detail(AEE__TRACE_CALL, 0, 0, 0, 0, 0),
                                     0};
}

static struct aee__trace_slice run_at(uint64_t begin, uint64_t end, uint32_t place)
{
    return (struct aee__trace_slice){
        begin, end, aee__trace_detail(AEE__TRACE_RUN, 0, 0, place, 0, (int32_t)place), 0};
}

static struct aee__trace_slice host_at(uint64_t begin, uint64_t end, uint32_t place, uint32_t level)
{
    return (struct aee__trace_slice){begin, end,
                                     aee__trace_detail(AEE__TRACE_HOST, level, 0, place, 0, -7), 0};
}

static struct aee__trace_slice nested_at(uint64_t begin, uint64_t end, uint32_t level)
{
    return (struct aee__trace_slice){begin, end,
                                     aee__trace_detail(AEE__TRACE_NESTED, level, 0, 0, 0, 0), 0};
}

static void expect_slice(const struct aee__trace_slice *slice, enum aee__trace_kind kind,
                         uint64_t begin, uint64_t end)
{
    assert_int_equal(aee__trace_kind(slice), kind);
    assert_int_equal(slice->begin, begin);
    assert_int_equal(slice->end, end);
}

static void outer_slices_come_first(void **state)
{
    (void)state;
    struct aee__trace_slice slices[] = {host_at(20, 30, 0, 1), nested_at(15, 40, 1),
                                        host_at(15, 45, 0, 0), call_at(10, 50), call_at(5, 60)};
    aee__trace_layout(slices, 5, 12);
    expect_slice(&slices[0], AEE__TRACE_CALL, 12, 50); /* nothing is before the trace */
    expect_slice(&slices[1], AEE__TRACE_HOST, 15, 45);
    expect_slice(&slices[2], AEE__TRACE_NESTED, 15, 40);
    expect_slice(&slices[3], AEE__TRACE_HOST, 20, 30);
    expect_slice(&slices[4], AEE__TRACE_CALL, 50, 60); /* waited behind the first */
}

static void a_run_shares_its_time(void **state)
{
    (void)state;
    struct aee__trace_slice slices[] = {run_at(100, 200, 254), run_at(100, 200, 255),
                                        run_at(100, 200, 0), run_at(100, 200, 1)};
    aee__trace_layout(slices, 4, 0);
    for (unsigned i = 0; i < 4; i++) {
        expect_slice(&slices[i], AEE__TRACE_RUN, 100 + 25 * i, 125 + 25 * i);
    }
}

/* Host functions of calls 1 and 1 of four, and one of a call that comes with the next run, which
 * was seen to end only after the host function began. */
static void calls_of_a_run_hold_their_host_functions(void **state)
{
    (void)state;
    struct aee__trace_slice slices[] = {host_at(140, 150, 11, 0), host_at(160, 170, 11, 0),
                                        host_at(230, 240, 14, 0), run_at(100, 260, 10),
                                        run_at(100, 260, 11),     run_at(100, 260, 12),
                                        run_at(100, 260, 13),     run_at(260, 300, 14)};
    aee__trace_layout(slices, 8, 0);
    expect_slice(&slices[0], AEE__TRACE_RUN, 100, 120);
    expect_slice(&slices[1], AEE__TRACE_RUN, 120, 190);
    expect_slice(&slices[2], AEE__TRACE_HOST, 140, 150);
    expect_slice(&slices[3], AEE__TRACE_HOST, 160, 170);
    expect_slice(&slices[4], AEE__TRACE_RUN, 190, 210);
    expect_slice(&slices[5], AEE__TRACE_RUN, 210, 230);
    expect_slice(&slices[6], AEE__TRACE_RUN, 230, 300);
    expect_slice(&slices[7], AEE__TRACE_HOST, 230, 240);
}

/* The outer call was seen to end with its instance, before what ran for it. */
static void nothing_reaches_beyond_what_it_is_in(void **state)
{
    (void)state;
    struct aee__trace_slice slices[] = {run_at(10, 50, 0), run_at(50, 50, 1), nested_at(25, 60, 1),
                                        host_at(20, 70, 0, 0)};
    aee__trace_layout(slices, 4, 0);
    expect_slice(&slices[0], AEE__TRACE_RUN, 10, 50);
    expect_slice(&slices[1], AEE__TRACE_HOST, 20, 50);
    expect_slice(&slices[2], AEE__TRACE_NESTED, 25, 50);
    expect_slice(&slices[3], AEE__TRACE_RUN, 50, 50);
}

/* Whatever a ring holds, and places are a component's word: sorted and nested all the same. */
static void any_records_make_slices_that_nest(void **state)
{
    enum { COUNT = 300 };
    static struct aee__trace_slice slices[COUNT];
    uint64_t seed = 1;
    (void)state;
    for (unsigned turn = 0; turn < 2000; turn++) {
        for (unsigned i = 0; i < COUNT; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            uint64_t x = seed >> 24;
            slices[i] =
                (struct aee__trace_slice){x % 1000, (x >> 10) % 1000,
                                          aee__trace_detail((enum aee__trace_kind)(x >> 20 & 3),
                                                            x >> 22 & 15, 0, x >> 26 & 0xff, 0, 0),
                                          0};
        }
        aee__trace_layout(slices, COUNT, 100);
        uint64_t ends[COUNT];
        unsigned depth = 0;
        for (unsigned i = 0; i < COUNT; i++) {
            assert_true(slices[i].begin >= 100 && slices[i].end >= slices[i].begin);
            assert_true(i == 0 || slices[i].begin >= slices[i - 1].begin);
            while (depth > 0 && ends[depth - 1] <= slices[i].begin) {
                depth--;
            }
            assert_true(depth == 0 || slices[i].end <= ends[depth - 1]);
            ends[depth++] = slices[i].end;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_oldest_are_overwritten_and_counted, set_up, tear_down),
        cmocka_unit_test(details_keep_every_field),
        cmocka_unit_test_setup_teardown(a_reader_gets_whole_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writers_share_a_track_one_after_the_other, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_busy_writer_keeps_its_track, set_up, tear_down),
        cmocka_unit_test_setup_teardown(notes_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_there_is_no_trace, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_writer_that_takes_no_more_ends_it, set_up, tear_down),
        cmocka_unit_test(outer_slices_come_first),
        cmocka_unit_test(a_run_shares_its_time),
        cmocka_unit_test(calls_of_a_run_hold_their_host_functions),
        cmocka_unit_test(nothing_reaches_beyond_what_it_is_in),
        cmocka_unit_test(any_records_make_slices_that_nest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
