/* debuggee.c: what the tests of debuggers call. Built without optimisation: its lines and variables
 * are what a script of gdb names. */
#include <aee_guest.h>

int64_t total = 7;
__attribute__((used, retain)) int64_t history[4] = {11, 22, 33, 44};
static double scale = 1.5;

/* ---- Straight on ------------------------------------------------------------------------------ */

static int64_t square(int64_t value)
{
    int64_t result = value * value;
    return result;
}

AEE_SIGNATURE(work, "i:ii");
AEE_EXPORT int64_t work(int64_t a, int64_t b)
{
    int64_t sum = a + b;
    sum += square(a);
    total += sum;
    return sum;
}

AEE_SIGNATURE(stretch, "d:d");
AEE_EXPORT double stretch(double by)
{
    double stretched = by * scale;
    return stretched;
}

AEE_SIGNATURE(get_total, "i:");
AEE_EXPORT int64_t get_total(void)
{
    return total;
}

/* ---- Long, and on several lanes ----------------------------------------------------------------- */

static volatile int go_on;

AEE_SIGNATURE(spin, "i:");
AEE_EXPORT int64_t spin(void)
{
    int64_t turns = 0;
    go_on = 0;
    while (!go_on) {
        turns++;
    }
    return turns > 0 ? 1 : 0;
}

static _Atomic int64_t meeting;

static void met(void)
{
    __asm__ volatile("");
}

AEE_SIGNATURE(meet, "i:i");
AEE_EXPORT int64_t meet(int64_t others)
{
    meeting++;
    while (meeting < others) {
        __builtin_ia32_pause();
    }
    met();
    return aee_lane_index();
}

/* ---- Ends --------------------------------------------------------------------------------------- */

static volatile int64_t *nowhere;

AEE_SIGNATURE(crash, "i:i");
AEE_EXPORT int64_t crash(int64_t value)
{
    *nowhere = value; /* gdb may point it elsewhere */
    return value + 1;
}

AEE_SIGNATURE(give_up, "i:");
AEE_EXPORT int64_t give_up(void)
{
    aee_abort("nothing left to do");
}

/* ---- For a host that changes registers ---------------------------------------------------------- */

/* Without somebody who goes on from there, this is a crash. */
AEE_SIGNATURE(trap, "i:i");
AEE_EXPORT int64_t trap(int64_t value)
{
    __asm__ volatile("int3" : "+a"(value));
    return value;
}

AEE_SIGNATURE(undefined, "i:i");
AEE_EXPORT int64_t undefined(int64_t value)
{
    __asm__ volatile("ud2" : "+a"(value));
    return value;
}

/* Twenty instructions between two traps. */
AEE_SIGNATURE(steps, "i:i");
AEE_EXPORT int64_t steps(int64_t value)
{
    __asm__ volatile("int3\n"
                     ".rept 20\n"
                     "    incq %0\n"
                     ".endr\n"
                     "    int3\n"
                     : "+a"(value));
    return value;
}

/* Every register is used. */
AEE_SIGNATURE(add_all, "i:");
AEE_EXPORT int64_t add_all(void)
{
    int64_t sum = 0;
    __asm__ volatile("int3\n"
                     "addq %%rbx, %%rax\n"
                     "addq %%rcx, %%rax\n"
                     "addq %%rdx, %%rax\n"
                     "addq %%rsi, %%rax\n"
                     "addq %%rdi, %%rax\n"
                     "addq %%r8, %%rax\n"
                     "addq %%r9, %%rax\n"
                     "addq %%r10, %%rax\n"
                     "addq %%r11, %%rax\n"
                     "addq %%r12, %%rax\n"
                     "addq %%r13, %%rax\n"
                     "addq %%r14, %%rax\n"
                     "addq %%r15, %%rax\n"
                     "adcq $0, %%rax\n"
                     : "=a"(sum)
                     : "0"(sum)
                     : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
                       "r14", "r15", "cc", "memory");
    return sum;
}
