/* test_registers.c: lane_set_registers() of the back ends: a lane that left for an exception goes
 * on with other registers, one instruction at a time if they say so. The back end's lane_run() is
 * replaced by one that does what a debugger does. */
#include "harness.h"

#include "engine/engine.h"

#define BREAKPOINT 3u
#define SINGLE_STEP 1u
#define UNDEFINED 6u
#define TF UINT64_C(0x100)

typedef void digest_fn(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit);

static struct {
    struct bed bed;
    struct aee__backend_ops ops;
    const struct aee__backend_ops *real;
    digest_fn *digest; /* of a crash; it makes the exit a kick to have the lane go on */
    unsigned exits;
    unsigned steps;
    uint64_t first_rip;
} t;

static void run_and_digest(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit)
{
    t.real->lane_run(vm, lane, exit);
    if (exit->kind == AEE__EXIT_CRASH && exit->cause == AEE_CRASH_EXCEPTION) {
        t.exits++;
        t.digest(vm, lane, exit);
    }
}

static int set_up(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    bed_open(&t.bed, NULL);
    t.real = t.bed.engine->core.ops;
    t.ops = *t.real;
    t.ops.lane_run = run_and_digest;
    t.bed.engine->core.ops = &t.ops;
    t.bed.context = make_context(&t.bed, "registers", AEE_CALL_DIRECT, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bed_close(&t.bed);
    return 0;
}

static void go_on(struct aee__vm *vm, uint32_t lane, const aee_registers *registers,
                  struct aee__exit *exit)
{
    assert_true(t.real->lane_set_registers(vm, lane, registers));
    exit->kind = AEE__EXIT_KICKED;
}

/* ---- Once ------------------------------------------------------------------------------------- */

static void answer_42(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit)
{
    aee_registers registers;
    t.real->lane_registers(vm, lane, &registers);
    assert_int_equal(exit->vector, BREAKPOINT);
    assert_int_equal(registers.rax, 5);
    registers.rax = 42;
    go_on(vm, lane, &registers, exit);
    memset(&registers, 0, sizeof registers);
    t.real->lane_registers(vm, lane, &registers);
    assert_int_equal(registers.rax, 42); /* also before it has run */
}

static void test_goes_on_after_a_trap(void **state)
{
    (void)state;
    t.digest = answer_42;
    for (int64_t i = 1; i <= 20; i++) {
        assert_int_equal(value2(&t.bed, t.bed.context, "trap", 5, 0, 1), 42);
        assert_int_equal(t.exits, i);
    }
}

static void skip_undefined(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit)
{
    aee_registers registers;
    t.real->lane_registers(vm, lane, &registers);
    assert_int_equal(exit->vector, UNDEFINED);
    registers.rip += 2;
    registers.rax *= 2;
    go_on(vm, lane, &registers, exit);
}

static void test_goes_on_elsewhere(void **state)
{
    (void)state;
    t.digest = skip_undefined;
    assert_int_equal(value2(&t.bed, t.bed.context, "undefined", 21, 0, 1), 42);
    assert_int_equal(t.exits, 1);
}

static void number_all(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit)
{
    aee_registers registers;
    t.real->lane_registers(vm, lane, &registers);
    registers.rax = 1;
    registers.rbx = 2;
    registers.rcx = 4;
    registers.rdx = 8;
    registers.rsi = 0x10;
    registers.rdi = 0x20;
    registers.r8 = 0x40;
    registers.r9 = 0x80;
    registers.r10 = 0x100;
    registers.r11 = 0x200;
    registers.r12 = 0x400;
    registers.r13 = 0x800;
    registers.r14 = 0x1000;
    registers.r15 = 0x2000;
    go_on(vm, lane, &registers, exit);
}

static void test_sets_every_register(void **state)
{
    (void)state;
    t.digest = number_all;
    assert_int_equal(value2(&t.bed, t.bed.context, "add_all", 0, 0, 0), 0x3fff);
}

/* ---- One at a time ---------------------------------------------------------------------------- */

/* The first trap begins, the second ends. */
static void step(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit)
{
    aee_registers registers;
    t.real->lane_registers(vm, lane, &registers);
    if (exit->vector == BREAKPOINT) {
        bool first = t.first_rip == 0;
        t.first_rip = registers.rip;
        registers.rflags = first ? registers.rflags | TF : registers.rflags & ~TF;
    } else {
        assert_int_equal(exit->vector, SINGLE_STEP);
        assert_int_equal(registers.rip, t.first_rip + 3 * (t.steps + 1)); /* incq %rax */
        assert_int_equal(registers.rax, 101 + t.steps);
        t.steps++;
        registers.rflags |= TF;
    }
    go_on(vm, lane, &registers, exit);
}

static void test_steps(void **state)
{
    (void)state;
    t.digest = step;
    assert_int_equal(value2(&t.bed, t.bed.context, "steps", 100, 0, 1), 120);
    assert_in_range(t.steps, 20, 20);
}

/* ---- What is refused or kept ------------------------------------------------------------------ */

static void demand_too_much(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit)
{
    aee_registers registers;
    t.real->lane_registers(vm, lane, &registers);
    aee_registers wrong = registers;
    wrong.rip = UINT64_C(0x800000000000);
    assert_false(t.real->lane_set_registers(vm, lane, &wrong));
    wrong.rip = UINT64_MAX;
    assert_false(t.real->lane_set_registers(vm, lane, &wrong));
    registers.rflags |= UINT64_C(3) << 12 | UINT64_C(1) << 14 | UINT64_C(1) << 17; /* IOPL NT VM */
    registers.rax = 1;
    go_on(vm, lane, &registers, exit);
    t.digest = answer_42;
}

/* With the rights that such flags would give, nothing here could be called again. */
static void test_gives_no_rights(void **state)
{
    (void)state;
    t.digest = demand_too_much;
    assert_int_equal(value2(&t.bed, t.bed.context, "trap", 5, 0, 1), 1);
    assert_int_equal(value2(&t.bed, t.bed.context, "trap", 5, 0, 1), 42);
}

static void crash_as_ever(struct aee__vm *vm, uint32_t lane, struct aee__exit *exit)
{
    (void)vm;
    (void)lane;
    (void)exit;
}

static void test_a_trap_is_a_crash(void **state)
{
    (void)state;
    t.digest = crash_as_ever;
    int64_t value = 0;
    assert_int_equal(call2(&t.bed, t.bed.context, "trap", 5, 0, 1, &value), AEE_ERR_CRASHED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_goes_on_after_a_trap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_goes_on_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sets_every_register, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_steps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gives_no_rights, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_trap_is_a_crash, set_up, tear_down),
    };
    skip_without_backend();
    return cmocka_run_group_tests_name("registers", tests, NULL, NULL);
}
