/* attacker_cell.c: attacks on what a cell has of its own (src/isolation/process/cell.h): a
 * component can write all of it but the orders. */
#include "attacker.h"

#include "isolation/process/cell.h"

#define NR_FUTEX 202
#define NR_SIGRETURN 15
#define FUTEX_WAKE 1

static struct aee_cell_control *control(void)
{
    return (struct aee_cell_control *)AEE_CELL_CONTROL; // NOLINT
}

static uint64_t state = 88172645463325252u;

static uint64_t random_number(void) /* xorshift */
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void wake(uint32_t *word)
{
    long result = NR_FUTEX;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(word), "S"((long)FUTEX_WAKE), "d"(INT32_MAX)
                     : "rcx", "r11", "memory");
}

static void ring(struct aee_cell_exit *exit)
{
    (void)__atomic_fetch_add(&exit->bell, 1, __ATOMIC_SEQ_CST);
    wake(&exit->bell);
    wake(&exit->go);
}

/* ---- Scribbling --------------------------------------------------------------------------- */

static void scribble_words(void *at, uint64_t size)
{
    volatile uint32_t *words = at;
    for (uint64_t i = 0; i < size / sizeof *words; i++) {
        words[i] = (uint32_t)random_number();
    }
}

/* Everything that can be written, for ever: scratch, exit blocks, stacks of all lanes. */
AEE_SIGNATURE(scribble, "i:i");
AEE_EXPORT int64_t scribble(int64_t stacks)
{
    for (;;) {
        scribble_words(control()->scratch, sizeof control()->scratch);
        for (unsigned lane = 0; lane < AEE_MAX_LANES; lane++) {
            struct aee_cell_lane *at = &control()->lanes[lane];
            scribble_words(&at->exit, sizeof at->exit);
            if (stacks) {
                scribble_words(at->boot_stack, sizeof at->boot_stack);
                scribble_words(at->signal_stack, sizeof at->signal_stack);
            }
            ring(&at->exit);
        }
    }
    return ATTACK_GOT_THROUGH;
}

/* Messages that the servant could take for its own, and stacks: all but the exits, so that the
 * other lane's calls go on. Until a word that the host has says so. */
AEE_SIGNATURE(scribble_scratch, "i:i");
AEE_EXPORT int64_t scribble_scratch(int64_t address)
{
    const volatile int64_t *stop = (const volatile int64_t *)address; // NOLINT
    while (!*stop) {
        uint64_t *words = (uint64_t *)control()->scratch;
        for (unsigned i = 0; i < sizeof control()->scratch / sizeof *words; i++) {
            words[i] = random_number() % 4 == 0 ? AEE_CELL_SCRATCH + random_number() % 4096
                                                : random_number() % 128;
        }
    }
    return 0;
}

/* ---- Exits -------------------------------------------------------------------------------- */

static void post(unsigned lane, uint32_t kind, uint32_t number)
{
    struct aee_cell_exit *exit = &control()->lanes[lane].exit;
    exit->kind = kind;
    exit->number = number;
    exit->value = random_number();
    exit->trap = random_number() % 40;
    exit->error_code = random_number();
    exit->fault_address = random_number();
    for (unsigned i = 0; i < 18; i++) {
        exit->registers[i] = random_number();
    }
    __atomic_store_n(&exit->posted, exit->posted + 1, __ATOMIC_RELEASE);
    ring(exit);
}

/* An exit of this lane that did not happen. */
AEE_SIGNATURE(forge, "i:ii");
AEE_EXPORT int64_t forge(int64_t kind, int64_t number)
{
    post(aee_lane_index() % AEE_MAX_LANES, (uint32_t)kind, (uint32_t)number);
    for (;;) {
        __builtin_ia32_pause();
    }
    return ATTACK_GOT_THROUGH;
}

/* Of all lanes, without end. */
AEE_SIGNATURE(forge_all, "i:");
AEE_EXPORT int64_t forge_all(void)
{
    for (;;) {
        post((unsigned)(random_number() % AEE_MAX_LANES), (uint32_t)(random_number() % 5) + 2,
             (uint32_t)random_number() % 8);
    }
    return ATTACK_GOT_THROUGH;
}

/* Nothing but wake-ups. */
AEE_SIGNATURE(storm, "i:");
AEE_EXPORT int64_t storm(void)
{
    for (;;) {
        for (unsigned lane = 0; lane < AEE_MAX_LANES; lane++) {
            ring(&control()->lanes[lane].exit);
        }
        wake(&control()->orders.list.seq);
    }
    return ATTACK_GOT_THROUGH;
}

/* Answers its call, says that it waits, and goes on running. */
AEE_SIGNATURE(fake_park, "i:");
AEE_EXPORT int64_t fake_park(void)
{
    struct aee_abi_lane *lane = attack_this_lane();
    for (unsigned i = 0; i < AEE_RING_SLOTS; i++) {
        struct aee_abi_slot *slot = &lane->slots[i];
        if (slot->request.seq != slot->reply.seq) {
            slot->reply.value = 7;
            __atomic_store_n(&slot->reply.seq, slot->request.seq, __ATOMIC_RELEASE);
        }
    }
    post(aee_lane_index() % AEE_MAX_LANES, AEE_CELL_EXIT_HYPERCALL, AEE_HC_PARK);
    for (;;) {
        __asm__ volatile("");
    }
    return ATTACK_GOT_THROUGH;
}

/* ---- Signals ------------------------------------------------------------------------------ */

/* Returns from a signal that never came, to the next instruction with every signal blocked, and an
 * alternate stack where it likes; then spins. */
AEE_SIGNATURE(mask_and_spin, "i:");
AEE_EXPORT int64_t mask_and_spin(void)
{
    static uint64_t frame[128]; /* struct ucontext and its mask, as the kernel lays them out */
    uint64_t stack;
    __asm__ volatile("movq %%rsp, %0" : "=r"(stack));
    frame[5 + 15] = stack;                        /* rsp */
    frame[5 + 17] = 0x202;                        /* rflags */
    frame[5 + 18] = UINT64_C(0x002b000000000033); /* cs, gs, fs, ss */
    frame[2] = AEE_CELL_LANES;                    /* the alternate stack */
    frame[4] = 8192;
    frame[37] = ~UINT64_C(0); /* the mask: behind the registers and 8 reserved words */
    __asm__ volatile("leaq 1f(%%rip), %%rax\n"
                     "movq %%rax, 168(%0)\n" /* rip */
                     "movq %0, %%rsp\n"
                     "movl $15, %%eax\n"
                     "syscall\n"
                     "1: jmp 1b\n"
                     :
                     : "r"(frame)
                     : "rax", "memory");
    return ATTACK_GOT_THROUGH;
}

/* Another lane's signal stack as its own, or none at all, and then a fault. */
AEE_SIGNATURE(fault_elsewhere, "i:i");
AEE_EXPORT int64_t fault_elsewhere(int64_t address)
{
    static uint64_t frame[128];
    frame[5 + 15] = (uint64_t)address; /* rsp: nothing is there */
    frame[5 + 16] = 0;                 /* rip: a page fault */
    frame[5 + 17] = 0x202;
    frame[5 + 18] = UINT64_C(0x002b000000000033);
    frame[2] = (uint64_t)address;
    frame[4] = 8192;
    __asm__ volatile("movq %0, %%rsp\n"
                     "movl $15, %%eax\n"
                     "syscall\n"
                     :
                     : "r"(frame)
                     : "rax", "memory");
    return ATTACK_GOT_THROUGH;
}

/* ---- Other --------------------------------------------------------------------------------- */

/* Moves its own bases and goes back as if nothing had happened. */
AEE_SIGNATURE(bases, "i:i");
AEE_EXPORT int64_t bases(int64_t address)
{
    __asm__ volatile("wrgsbase %0; wrfsbase %0" ::"r"(address) : "memory");
    return ATTACK_GOT_THROUGH;
}

/* A system call of the servant's, on this lane. */
AEE_SIGNATURE(servants_call, "i:iiiiii");
AEE_EXPORT int64_t servants_call(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d,
                                 int64_t e)
{
    register int64_t r10 __asm__("r10") = d;
    register int64_t r8 __asm__("r8") = e;
    register int64_t r9 __asm__("r9") = 0;
    int64_t result = number;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

AEE_SIGNATURE(jump_to, "i:i");
AEE_EXPORT int64_t jump_to(int64_t address)
{
    ((void (*)(uint64_t, uint64_t))address)(random_number(), random_number()); // NOLINT
    return ATTACK_GOT_THROUGH;
}

AEE_SIGNATURE(write_word, "i:i");
AEE_EXPORT int64_t write_word(int64_t address)
{
    *(volatile int64_t *)address = ATTACK_GOT_THROUGH; // NOLINT
    return ATTACK_GOT_THROUGH;
}

/* Counts up at an address for ever. */
AEE_SIGNATURE(hammer, "i:i");
AEE_EXPORT int64_t hammer(int64_t address)
{
    volatile uint64_t *word = (volatile uint64_t *)address; // NOLINT
    for (;;) {
        (*word)++;
    }
    return ATTACK_GOT_THROUGH;
}
