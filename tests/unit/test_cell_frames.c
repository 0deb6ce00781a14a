/* test_cell_frames.c: isolation/process/lanes: where a cell says that its signal frames lie, when
 * it lies. Compiles the module, so it needs no cell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "isolation/process/lanes.c" // NOLINT(bugprone-suspicious-include)

#define LANE 3u

static struct aee__vm *vm;
static struct aee_cell_control *before; /* what was there */

static int set_up(void **state)
{
    (void)state;
    vm = calloc(1, sizeof *vm);
    vm->control = malloc(sizeof *vm->control);
    before = malloc(sizeof *before);
    memset(vm->control, 0x5a, sizeof *vm->control);
    vm->lanes[LANE].out = true;
    vm->lanes[LANE].thread = 1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(vm->control);
    free(vm);
    free(before);
    return 0;
}

static const aee_registers registers = {.rax = 1, .rip = 0x401000, .rsp = 2, .rflags = UINT64_MAX};
static uint8_t vectors[AEE__FXSAVE_SIZE];

static struct aee_cell_frame *frame_at(uint64_t offset)
{
    vm->lanes[LANE].frame = offset;
    return (struct aee_cell_frame *)(void *)(vm->control->lanes[LANE].signal_stack + offset);
}

static uint64_t stack(void)
{
    return AEE_CELL_LANES + LANE * (uint64_t)AEE_CELL_LANE_SIZE +
           offsetof(struct aee_cell_lane, signal_stack);
}

static void expect_nothing_written(void)
{
    assert_memory_equal(before, vm->control, sizeof *before);
}

static void test_good_frames(void **state)
{
    (void)state;
    struct aee_cell_frame *frame = frame_at(4096);
    frame->vector_state = stack() + 8192;
    assert_true(aee__cell_lane_set_registers(vm, LANE, &registers));
    assert_int_equal(frame->rax, 1);
    assert_int_equal(frame->rip, 0x401000);
    assert_int_equal(frame->rsp, 2);
    assert_int_equal(frame->rflags, AEE__USER_FLAGS); /* no other */
    assert_int_equal(vm->lanes[LANE].registers.rax, 1);
    memset(vectors, 0xff, sizeof vectors);
    assert_true(aee__cell_lane_set_vectors(vm, LANE, vectors));
    memset(vectors, 0, sizeof vectors);
    assert_true(aee__cell_lane_vectors(vm, LANE, vectors));
    assert_int_equal(vectors[160], 0xff);
    assert_int_equal(vectors[AEE__FXSAVE_MXCSR + 1], 0xff);
    assert_int_equal(vectors[AEE__FXSAVE_MXCSR + 2], 0);
    assert_int_equal(vectors[511], 0x5a); /* the kernel's mark */
}

static void test_frames_elsewhere(void **state)
{
    (void)state;
    const uint64_t size = sizeof vm->control->lanes[LANE].signal_stack;
    const uint64_t wrong[] = {0,
                              4097,
                              size - sizeof(struct aee_cell_frame) + 8,
                              size - 8,
                              size,
                              UINT64_MAX - 7,
                              UINT64_MAX - 4095,
                              UINT64_C(1) << 63,
                              (uintptr_t)vectors};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        vm->lanes[LANE].frame = wrong[i];
        memcpy(before, vm->control, sizeof *before);
        assert_false(aee__cell_lane_set_registers(vm, LANE, &registers));
        assert_false(aee__cell_lane_set_vectors(vm, LANE, vectors));
        assert_false(aee__cell_lane_vectors(vm, LANE, vectors));
        expect_nothing_written();
    }
    vm->lanes[LANE].frame = size - sizeof(struct aee_cell_frame); /* the last */
    assert_true(aee__cell_lane_set_registers(vm, LANE, &registers));
}

static void test_vectors_elsewhere(void **state)
{
    (void)state;
    const uint64_t size = sizeof vm->control->lanes[LANE].signal_stack;
    const uint64_t wrong[] = {0,
                              stack() - 8,
                              stack() + 1,
                              stack() + size - AEE__FXSAVE_SIZE,
                              stack() + size,
                              UINT64_MAX,
                              AEE_CELL_CONTROL,
                              (uintptr_t)vectors};
    struct aee_cell_frame *frame = frame_at(4096);
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        frame->vector_state = wrong[i];
        memcpy(before, vm->control, sizeof *before);
        assert_false(aee__cell_lane_set_vectors(vm, LANE, vectors));
        assert_false(aee__cell_lane_vectors(vm, LANE, vectors));
        expect_nothing_written();
    }
    frame->vector_state = stack() + size - AEE__FXSAVE_SIZE - 8; /* the last */
    assert_true(aee__cell_lane_set_vectors(vm, LANE, vectors));
}

static void test_not_now(void **state)
{
    (void)state;
    frame_at(4096)->vector_state = stack() + 8192;
    aee_registers wild = registers;
    wild.rip = AEE__USER_END;
    assert_false(aee__cell_lane_set_registers(vm, LANE, &wild));
    vm->lanes[LANE].out = false; /* it runs */
    assert_false(aee__cell_lane_set_registers(vm, LANE, &registers));
    assert_false(aee__cell_lane_set_vectors(vm, LANE, vectors));
    vm->lanes[LANE].out = true;
    atomic_store(&vm->ended, true);
    assert_false(aee__cell_lane_set_registers(vm, LANE, &registers));
    assert_false(aee__cell_lane_vectors(vm, LANE, vectors));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good_frames, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_frames_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_vectors_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_now, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("cell_frames", tests, NULL, NULL);
}
