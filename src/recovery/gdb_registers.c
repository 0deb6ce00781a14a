/* gdb_registers.c: the registers of a component's lanes, in gdb's order. */
#include <string.h>

#include "recovery/gdb_internal.h"

/* With the lock held. One whose exit has not been taken: its registers are anywhere. Those of an
 * instance that has ended are another's soon. */
static bool is_out(const struct aee__debugger *debugger, uint32_t lane)
{
    const struct aee__instance *instance = debugger->subject;
    return instance && aee__instance_ended(instance) == AEE_OK &&
           lane < atomic_load(&instance->lane_count) && !instance->lanes[lane].in_guest;
}

bool aee__gdb_registers(struct aee__debugger *debugger, uint32_t lane, aee_registers *registers)
{
    if (!is_out(debugger, lane)) {
        return false;
    }
    const struct aee__instance *instance = debugger->subject;
    instance->core->ops->lane_registers(instance->vm, lane, registers);
    return true;
}

bool aee__gdb_set_registers(struct aee__debugger *debugger, uint32_t lane,
                            const aee_registers *registers)
{
    const struct aee__instance *instance = debugger->subject;
    return is_out(debugger, lane) &&
           instance->core->ops->lane_set_registers(instance->vm, lane, registers);
}

/* ---- Where each is ------------------------------------------------------------------------ */

/* The numbers of the target description in gdb_describe.c. */
enum {
    RIP = 16,
    RFLAGS,
    CS,
    SS,
    GS = SS + 4,
    ST0,
    FCTRL = ST0 + 8,
    FOP = FCTRL + 7,
    XMM0,
    MXCSR = XMM0 + 16,
    ORIG_RAX,
    FS_BASE,
    GS_BASE,
    COUNT
};
#define SIZE_MAX_BYTES 16u

/* All of a lane that can be known. */
struct state {
    uint32_t lane;
    bool known; /* the general ones */
    bool has_vectors;
    aee_registers general;
    uint8_t vectors[AEE__FXSAVE_SIZE];
};

static bool get(struct aee__debugger *debugger, uint32_t lane, struct state *state)
{
    (void)pthread_mutex_lock(&debugger->lock);
    const struct aee__instance *instance = debugger->subject;
    state->lane = lane;
    state->known = aee__gdb_registers(debugger, lane, &state->general);
    state->has_vectors =
        state->known && instance->core->ops->lane_vectors(instance->vm, lane, state->vectors);
    (void)pthread_mutex_unlock(&debugger->lock);
    return state->known;
}

static bool set(struct aee__debugger *debugger, const struct state *state, bool vectors)
{
    (void)pthread_mutex_lock(&debugger->lock);
    const struct aee__instance *instance = debugger->subject;
    bool done = aee__gdb_set_registers(debugger, state->lane, &state->general);
    if (done && vectors) {
        done = instance->core->ops->lane_set_vectors(instance->vm, state->lane, state->vectors);
    }
    (void)pthread_mutex_unlock(&debugger->lock);
    return done;
}

static size_t size_of(uint64_t number)
{
    if (number <= RIP || number >= ORIG_RAX) {
        return 8;
    }
    if (number >= ST0 && number < FCTRL) {
        return 10;
    }
    return number >= XMM0 && number < MXCSR ? SIZE_MAX_BYTES : 4;
}

/* Where a general register, RIP or the flags are; NULL: another one. */
static void *general_field(struct state *state, uint64_t number)
{
    aee_registers *in = &state->general;
    uint64_t *const list[] = {&in->rax, &in->rbx, &in->rcx, &in->rdx, &in->rsi, &in->rdi,
                              &in->rbp, &in->rsp, &in->r8,  &in->r9,  &in->r10, &in->r11,
                              &in->r12, &in->r13, &in->r14, &in->r15, &in->rip, &in->rflags};
    return number <= RFLAGS ? list[number] : NULL;
}

/* Where FXSAVE has one, and how many bytes of it; NULL: it has none like it. */
static void *vector_field(struct state *state, uint64_t number, size_t *size)
{
    enum { ST = 32, XMM = 160, EVERY = 16 };
    static const struct {
        uint8_t offset;
        uint8_t size;
    } controls[] = {{0, 2}, {2, 2}, {0, 0}, {12, 2}, {8, 4}, {20, 2}, {16, 4}, {6, 2}};
    *size = size_of(number);
    if (!state->has_vectors || number < ST0 || number > MXCSR) {
        return NULL;
    }
    if (number < FCTRL) {
        return state->vectors + ST + EVERY * (number - ST0);
    }
    if (number >= XMM0) {
        return number == MXCSR ? state->vectors + AEE__FXSAVE_MXCSR
                               : state->vectors + XMM + EVERY * (number - XMM0);
    }
    *size = controls[number - FCTRL].size;
    return *size > 0 ? state->vectors + controls[number - FCTRL].offset : NULL;
}

/* The x87 tags: FXSAVE has a bit where there were two, 3 for empty (SDM vol. 1, 10.5.1.1). */
static uint64_t tags(const struct state *state)
{
    enum { ABRIDGED = 4 };
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value |= state->vectors[ABRIDGED] >> i & 1 ? 0u : UINT64_C(3) << (2 * i);
    }
    return value;
}

/* Values that are the same for all components, or as the library has set them. */
static bool find_fixed(const struct aee__debugger *debugger, const struct state *state,
                       uint64_t number, uint64_t *value)
{
    enum { USER_CODE = 0x2b, USER_DATA = 0x23, FTAG = FCTRL + 2 };
    if (number == FTAG) {
        *value = tags(state);
        return state->has_vectors;
    }
    if (number >= CS && number <= GS) {
        *value = number == CS ? USER_CODE : USER_DATA;
    } else if (number == ORIG_RAX) { /* of a system call that is interrupted: there is none */
        *value = UINT64_MAX;
    } else if (number == FS_BASE) {
        *value = aee__memory_tcb(state->lane, &debugger->subject->plan).value;
    } else if (number == GS_BASE) {
        *value = AEE_GVA_LANES + state->lane * AEE_LANE_STRIDE;
    } else {
        return false;
    }
    return true;
}

/* ---- Asking ------------------------------------------------------------------------------- */

static void add_one(struct aee__debugger *debugger, struct state *state, uint64_t number)
{
    uint8_t bytes[SIZE_MAX_BYTES] = {0};
    uint64_t value = 0;
    size_t size = size_of(number);
    const void *from = state->known ? general_field(state, number) : NULL;
    if (state->known && !from) {
        from = vector_field(state, number, &size);
    }
    if (from) {
        memcpy(bytes, from, size);
        aee__gdb_add_hex(&debugger->out, bytes, size_of(number));
    } else if (state->known && find_fixed(debugger, state, number, &value)) {
        aee__gdb_add_hex(&debugger->out, &value, size_of(number));
    } else {
        aee__gdb_add_unknown(&debugger->out, size_of(number));
    }
}

void aee__gdb_add_registers(struct aee__debugger *debugger, uint32_t lane)
{
    struct state state;
    (void)get(debugger, lane, &state);
    for (uint64_t i = 0; i < COUNT; i++) {
        add_one(debugger, &state, i);
    }
}

bool aee__gdb_add_register(struct aee__debugger *debugger, uint32_t lane, uint64_t number)
{
    struct state state;
    if (number >= COUNT) {
        return false;
    }
    (void)get(debugger, lane, &state);
    add_one(debugger, &state, number);
    return true;
}

/* ---- Changing ----------------------------------------------------------------------------- */

/* Takes one from a packet. What cannot be changed is left as it is: gdb writes all or one. */
static bool take_one(struct state *state, uint64_t number, const char **text, bool *vectors)
{
    uint8_t bytes[SIZE_MAX_BYTES];
    size_t size = size_of(number);
    if ((*text)[0] == 'x') { /* it does not know */
        *text += strnlen(*text, 2 * size);
        return true;
    }
    if (!aee__gdb_bytes(text, bytes, size)) {
        return false;
    }
    void *to = general_field(state, number);
    if (!to) {
        to = vector_field(state, number, &size);
        *vectors = *vectors || to;
    }
    if (to) {
        memcpy(to, bytes, size);
    }
    return true;
}

bool aee__gdb_take_registers(struct aee__debugger *debugger, uint32_t lane, const char *text)
{
    struct state state;
    bool vectors = false;
    bool good = get(debugger, lane, &state);
    for (uint64_t i = 0; i < COUNT && good; i++) {
        good = take_one(&state, i, &text, &vectors);
    }
    return good && *text == '\0' && set(debugger, &state, vectors);
}

bool aee__gdb_take_register(struct aee__debugger *debugger, uint32_t lane, uint64_t number,
                            const char *text)
{
    struct state state;
    bool vectors = false;
    return number < COUNT && get(debugger, lane, &state) &&
           take_one(&state, number, &text, &vectors) && *text == '\0' &&
           set(debugger, &state, vectors);
}
