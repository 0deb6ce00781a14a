/* vdso.c: the library's code inside each context, at CPL3: a lane takes requests from its call
 * ring, calls the component's functions and answers; host calls and the abort gate. It trusts
 * nobody outside the guest and is trusted by nobody: everything here could be done by the component
 * itself. One copy per context, read-only; run by every lane. */
#include "aee_abi.h"

#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)
#define STORE_RELEASE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

void aee_vdso_lane_entry(void) __attribute__((noreturn));
int32_t aee_vdso_host_call(const struct aee_abi_host_request *request, const void *payload,
                           void *reply, int64_t *value, uint32_t *reply_size);
void aee_vdso_abort(uint32_t hypercall, const char *text, uint64_t text_size)
    __attribute__((noreturn));
uint64_t aee_vdso_invoke(uint64_t function, const uint64_t *integers, const uint64_t *doubles,
                         uint64_t *double_value);
void aee_vdso_syscall(void);

static struct aee_abi_lane *this_lane(void)
{
    uint32_t index;
    __asm__("movl %%gs:0, %0" : "=r"(index));
    return (struct aee_abi_lane *)(AEE_GVA_LANES + (index % AEE_MAX_LANES) * AEE_LANE_STRIDE);
}

static void hypercall(const struct aee_abi_lane *lane, uint32_t number)
{
#ifdef AEE_VDSO_CELL /* in a process, whose program has it at this address */
    uint64_t index = ((uintptr_t)lane - AEE_GVA_LANES) / AEE_LANE_STRIDE;
    ((void (*)(uint32_t, uint32_t))AEE_VDSO_CELL)(number, (uint32_t)index);
#elif defined(AEE_VDSO_NONE) /* in the engine's process, which has put its address here */
    ((void (*)(uint32_t, uint64_t))lane->own.gate)(number, lane->own.gate_argument);
#else
    (void)lane;
    __asm__ volatile("outl %%eax, %1" : : "a"(number), "i"(AEE_PORT_HYPERCALL) : "memory");
#endif
}

/* Turns to wait before a hypercall. Where the engine runs one component at a time, none. */
static uint32_t spin_turns(const struct aee_abi_lane *lane)
{
#ifdef AEE_VDSO_NONE
    (void)lane;
    return 0;
#else
    return LOAD(lane->control.spin);
#endif
}

static void copy_bytes(void *to, const void *from, uint64_t size)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

/* Calls a function with all integer argument registers loaded and, unless `doubles` is NULL, all
 * vector ones too (System V ABI: the two classes are counted separately), whatever its signature.
 */
__asm__(".text\n"
        ".type aee_vdso_invoke, @function\n"
        "aee_vdso_invoke:\n"
        "    pushq %rbx\n"
        "    movq %rcx, %rbx\n"
        "    movq %rdi, %rax\n"
        "    movq %rsi, %r10\n"
        "    testq %rdx, %rdx\n"
        "    jz 1f\n"
        "    movsd (%rdx), %xmm0\n"
        "    movsd 8(%rdx), %xmm1\n"
        "    movsd 16(%rdx), %xmm2\n"
        "    movsd 24(%rdx), %xmm3\n"
        "    movsd 32(%rdx), %xmm4\n"
        "    movsd 40(%rdx), %xmm5\n"
        "1:  movq (%r10), %rdi\n"
        "    movq 8(%r10), %rsi\n"
        "    movq 16(%r10), %rdx\n"
        "    movq 24(%r10), %rcx\n"
        "    movq 32(%r10), %r8\n"
        "    movq 40(%r10), %r9\n"
        "    cld\n"
        "    call *%rax\n"
        "    movsd %xmm0, (%rbx)\n"
        "    popq %rbx\n"
        "    ret\n"
        ".type aee_vdso_syscall, @function\n"
        "aee_vdso_syscall:\n"
        "    outb %al, $0x14\n" /* AEE_PORT_SYSCALL; in a process nothing leads here */
        "    ud2\n"
        ".type aee_vdso_lane_entry, @function\n"
        "aee_vdso_lane_entry:\n" /* the stack is 16-byte aligned here, as before a call */
        "    xorl %ebp, %ebp\n"
        "    call lane_loop\n"
        "    ud2\n");
_Static_assert(AEE_PORT_SYSCALL == 0x14, "the instruction above names the port");

#define DOUBLE_MASK (((1u << AEE_MAX_ARGS) - 1) << AEE_CALL_DOUBLE_SHIFT)

static void sort_arguments(const struct aee_abi_request *request, uint32_t flags,
                           uint64_t *integers, uint64_t *doubles)
{
    unsigned i = 0;
    unsigned d = 0;
    for (unsigned n = 0; n < AEE_MAX_ARGS; n++) {
        uint64_t value = LOAD(request->args[n]);
        if ((flags >> (AEE_CALL_DOUBLE_SHIFT + n)) & 1u) {
            doubles[d++] = value;
        } else {
            integers[i++] = value;
        }
    }
}

static uint64_t invoke_with_doubles(const struct aee_abi_request *request, uint32_t flags,
                                    uint64_t *double_value)
{
    uint64_t integers[AEE_MAX_ARGS] = {0};
    uint64_t doubles[AEE_MAX_ARGS] = {0};
    sort_arguments(request, flags, integers, doubles);
    return aee_vdso_invoke(LOAD(request->function), integers, doubles, double_value);
}

static void serve(struct aee_abi_slot *slot, uint32_t seq)
{
    const struct aee_abi_request *request = &slot->request;
    uint32_t flags = LOAD(request->flags);
    uint64_t double_value;
    slot->reply.value = flags & DOUBLE_MASK ? invoke_with_doubles(request, flags, &double_value)
                                            : aee_vdso_invoke(LOAD(request->function),
                                                              request->args, 0, &double_value);
    slot->reply.double_value = double_value;
    STORE_RELEASE(slot->reply.seq, seq); /* pairs with aee__call_ring_pop() */
}

/* The host wants to know of answers: it sleeps. */
static void tell(const struct aee_abi_lane *lane)
{
    if (LOAD(lane->control.notify)) {
        hypercall(lane, AEE_HC_NOTIFY);
    }
}

/* Rounding modes and masks of exceptions, which a component may set for good. */
static void save_controls(struct aee_abi_lane *lane)
{
    uint32_t mxcsr;
    uint16_t x87;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(x87));
    STORE(lane->own.mxcsr, mxcsr);
    STORE(lane->own.x87_control, x87);
    STORE(lane->own.controls, 1);
}

static void load_controls(const struct aee_abi_lane *lane)
{
    uint32_t mxcsr = LOAD(lane->own.mxcsr);
    uint16_t x87 = (uint16_t)LOAD(lane->own.x87_control);
    if (LOAD(lane->own.controls)) {
        __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(x87));
    }
}

/* Waits for request `seq` in `slot`; parks after the spin that the host allows. The host sets
 * notify and then looks at seq of the last answer; we do it the other way round, with the fence
 * between. Only an idle lane pays for the fence: a busy one meets a late notify after its next
 * answer. */
static void await(struct aee_abi_lane *lane, const struct aee_abi_slot *slot, uint32_t seq)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    tell(lane);
    for (;;) {
        uint32_t spin = spin_turns(lane);
        for (uint32_t i = 0; i <= spin; i++) {
            if (LOAD_ACQUIRE(slot->request.seq) == seq) {
                return;
            }
            if (spin) {
                __builtin_ia32_pause();
            }
        }
        save_controls(lane);
        hypercall(lane, AEE_HC_PARK);
        load_controls(lane);
    }
}

static void __attribute__((noreturn, used)) lane_loop(void)
{
    struct aee_abi_lane *lane = this_lane();
    load_controls(lane);
    for (uint32_t seq = 1;; seq++) {
        struct aee_abi_slot *slot = &lane->slots[(seq - 1) % AEE_RING_SLOTS];
        if (LOAD_ACQUIRE(slot->request.seq) != seq) {
            await(lane, slot, seq);
        } else {
            tell(lane);
        }
        serve(slot, seq);
    }
}

/* Mostly the name that the last request had: left alone, its line stays in both caches. */
static void copy_name(char *to, const char *from)
{
    uint64_t *words = (uint64_t *)to;
    for (unsigned i = 0; i < AEE_HOST_NAME_MAX / sizeof *words; i++) {
        uint64_t word = LOAD(((const uint64_t *)from)[i]);
        if (LOAD(words[i]) != word) {
            STORE(words[i], word);
        }
    }
}

/* What shares its line with seq is written at the end: the host is looking at that line. */
static uint32_t send(struct aee_abi_lane *lane, struct aee_abi_level *level,
                     const struct aee_abi_host_request *request, const void *payload)
{
    uint32_t size =
        request->payload_size <= AEE_MAX_PAYLOAD ? request->payload_size : AEE_MAX_PAYLOAD;
    uint32_t seq = LOAD(level->reply.seq) + 1;
    if (size > 0) {
        copy_bytes(lane->host_arena, payload, size);
    }
    copy_name(level->request.name, request->name);
    level->request.kind = request->kind;
    level->request.payload_size = request->payload_size;
    level->request.payload_capacity = request->payload_capacity;
    for (unsigned i = 0; i < AEE_MAX_ARGS; i++) { /* one by one, as they were written just now */
        STORE(level->request.args[i], LOAD(request->args[i]));
    }
    STORE_RELEASE(level->request.seq, seq); /* pairs with aee__call_ring_host_call() */
    return seq;
}

/* Serves what the engine asks of us until it answers. */
static void await_answer(const struct aee_abi_lane *lane, struct aee_abi_level *level, uint32_t seq)
{
    uint32_t nested = LOAD(level->nested.reply.seq) + 1;
    for (;;) {
        uint32_t spin = spin_turns(lane);
        for (uint32_t i = 0; i <= spin; i++) {
            if (LOAD_ACQUIRE(level->reply.seq) ==
                seq) { /* pairs with aee__call_ring_host_reply() */
                return;
            }
            if (LOAD_ACQUIRE(level->nested.request.seq) == nested) {
                serve(&level->nested, nested);
                __atomic_thread_fence(__ATOMIC_SEQ_CST); /* as in await() */
                tell(lane);
                nested++;
                i = UINT32_MAX; /* the first turn comes next: look again before leaving, always */
                continue;
            }
            if (spin) {
                __builtin_ia32_pause();
            }
        }
        hypercall(lane, AEE_HC_HOST_CALL);
    }
}

int32_t aee_vdso_host_call(const struct aee_abi_host_request *request, const void *payload,
                           void *reply, int64_t *value, uint32_t *reply_size)
{
    struct aee_abi_lane *lane = this_lane();
    uint32_t depth = LOAD(lane->own.depth);
    if (depth >= AEE_HOST_CALL_DEPTH) {
        *value = 0;
        *reply_size = 0;
        return AEE_HOST_LIMIT;
    }
    struct aee_abi_level *level = &lane->levels[depth];
    STORE(lane->own.depth, depth + 1);
    await_answer(lane, level, send(lane, level, request, payload));
    STORE(lane->own.depth, depth);
    uint32_t size = level->reply.payload_size;
    size = size <= request->payload_capacity ? size : request->payload_capacity;
    if (size > 0) {
        copy_bytes(reply, lane->host_arena, size);
    }
    *value = level->reply.value;
    *reply_size = size;
    return level->reply.status;
}

void aee_vdso_abort(uint32_t number, const char *text, uint64_t text_size)
{
    struct aee_abi_lane *lane = this_lane();
    uint64_t size = text_size < AEE_MAX_PAYLOAD - 1 ? text_size : AEE_MAX_PAYLOAD - 1;
    copy_bytes(lane->host_arena, text, size);
    lane->host_arena[size] = 0;
    for (;;) {
        hypercall(lane, number == AEE_HC_OUT_OF_MEMORY ? AEE_HC_OUT_OF_MEMORY : AEE_HC_ABORT);
    }
}

__attribute__((section(".vdso_table"), used)) static const struct aee_abi_vdso table = {
    .lane_entry = (uint64_t)(uintptr_t)aee_vdso_lane_entry,
    .syscall = (uint64_t)(uintptr_t)aee_vdso_syscall,
    .host_call = (uint64_t)(uintptr_t)aee_vdso_host_call,
    .abort = (uint64_t)(uintptr_t)aee_vdso_abort,
};
