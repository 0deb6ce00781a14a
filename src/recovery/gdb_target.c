/* gdb_target.c: what gdb sees of a component: its memory, as far as the component has it, without
 * the breakpoints in it, and the registers of its lanes. */
#include <string.h>

#include "base/checked.h"
#include "recovery/gdb_internal.h"

#define INT3 0xccu

/* ---- Memory ------------------------------------------------------------------------------- */

/* Where an address of the component's lies here, and how far that goes on. */
struct place {
    uint8_t *host;
    uint64_t size;
    bool writable; /* for gdb: code is */
    bool code;
};

/* Parts that the heap got later. */
static bool find_in_growth(const struct aee__memory *memory, uint64_t gva, struct place *place)
{
    uint64_t offset = gva - AEE_GVA_HEAP;
    uint64_t at = memory->heap_size;
    for (uint32_t i = memory->chunk_count; i-- > 1 && gva >= AEE_GVA_HEAP;) {
        const struct aee__memory_chunk *chunk = &memory->chunks[i];
        at -= chunk->size;
        if (offset >= at && offset - at < chunk->size) {
            *place = (struct place){.host = chunk->host + (offset - at),
                                    .size = chunk->size - (offset - at),
                                    .writable = true};
            return true;
        }
    }
    return false;
}

static bool find_in_memory(const struct aee__memory *memory, uint64_t gva, struct place *place)
{
    for (uint32_t i = 0; i < memory->area_count; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        uint64_t offset = gva - area->gva.value;
        if ((area->rights & AEE__PT_USER) && gva >= area->gva.value && offset < area->size) {
            bool image = gva >= AEE_GVA_IMAGE; /* below lies the library's own code */
            *place = (struct place){.size = area->size - offset,
                                    .writable = image || (area->rights & AEE__PT_WRITE),
                                    .code = (area->rights & AEE__PT_EXECUTE) != 0};
            place->host = aee__memory_at(memory, (struct aee__gva){gva}, place->size);
            return place->host != NULL;
        }
    }
    return find_in_growth(memory, gva, place);
}

/* With the context's lock held: its regions stay, and its heap does not grow. */
static bool find(const struct aee__debugger *debugger, uint64_t gva, struct place *place)
{
    const struct aee__context *context = debugger->context;
    if (find_in_memory(&debugger->subject->memory, gva, place)) {
        return true;
    }
    for (uint32_t i = 0; i < context->mapping_count; i++) {
        const struct aee__mapping *mapping = &context->mappings[i];
        uint64_t start = aee__region_gva(mapping->region).value;
        if (gva >= start && gva - start < mapping->region->size) {
            *place = (struct place){.host = mapping->region->host + (gva - start),
                                    .size = mapping->region->size - (gva - start),
                                    .writable = mapping->writable != 0};
            return true;
        }
    }
    return false;
}

static void hide_breakpoints(const struct aee__debugger *debugger, uint64_t gva, uint8_t *bytes,
                             uint64_t size)
{
    for (uint32_t i = 0; i < debugger->breakpoint_count; i++) {
        uint64_t offset = debugger->breakpoints[i].gva - gva;
        if (offset < size) {
            bytes[offset] = debugger->breakpoints[i].original;
        }
    }
}

size_t aee__gdb_read(struct aee__debugger *debugger, uint64_t gva, void *bytes, size_t size)
{
    size_t done = 0;
    struct place place;
    if (!debugger->subject) {
        return 0;
    }
    (void)pthread_mutex_lock(&debugger->context->lock);
    while (done < size && gva <= UINT64_MAX - size && find(debugger, gva + done, &place)) {
        size_t part = place.size < size - done ? (size_t)place.size : size - done;
        memcpy((uint8_t *)bytes + done, place.host, part);
        done += part;
    }
    (void)pthread_mutex_unlock(&debugger->context->lock);
    hide_breakpoints(debugger, gva, bytes, done);
    return done;
}

/* With the context's lock held: all of it is there and may be written. */
static bool may_write(const struct aee__debugger *debugger, uint64_t gva, size_t size)
{
    struct place place;
    for (size_t done = 0; done < size; done += place.size < size ? (size_t)place.size : size) {
        if (!find(debugger, gva + done, &place) || !place.writable) {
            return false;
        }
    }
    return true;
}

/* One byte: under a breakpoint it is the instruction's that counts. */
static void put(struct aee__debugger *debugger, uint64_t gva, uint8_t *host, uint8_t byte)
{
    for (uint32_t i = 0; i < debugger->breakpoint_count; i++) {
        if (debugger->breakpoints[i].gva == gva) {
            debugger->breakpoints[i].original = byte;
            return;
        }
    }
    *host = byte;
}

bool aee__gdb_write(struct aee__debugger *debugger, uint64_t gva, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    struct place place;
    if (!debugger->subject || gva > UINT64_MAX - size) {
        return false;
    }
    (void)pthread_mutex_lock(&debugger->context->lock);
    bool may = may_write(debugger, gva, size);
    for (size_t done = 0; may && done < size;) {
        (void)find(debugger, gva + done, &place);
        for (uint64_t i = 0; i < place.size && done < size; i++, done++) {
            put(debugger, gva + done, place.host + i, from[done]);
        }
    }
    (void)pthread_mutex_unlock(&debugger->context->lock);
    return may;
}

/* ---- Breakpoints -------------------------------------------------------------------------- */

static int32_t find_breakpoint(const struct aee__debugger *debugger, uint64_t gva)
{
    for (uint32_t i = 0; i < debugger->breakpoint_count; i++) {
        if (debugger->breakpoints[i].gva == gva) {
            return (int32_t)i;
        }
    }
    return -1;
}

bool aee__gdb_is_breakpoint(const struct aee__debugger *debugger, uint64_t gva)
{
    return find_breakpoint(debugger, gva) >= 0;
}

bool aee__gdb_insert(struct aee__debugger *debugger, uint64_t gva)
{
    struct place place;
    if (aee__gdb_is_breakpoint(debugger, gva)) {
        return true;
    }
    if (!debugger->subject || debugger->breakpoint_count == AEE__GDB_BREAKPOINTS) {
        return false;
    }
    (void)pthread_mutex_lock(&debugger->context->lock);
    bool may = aee__instance_ended(debugger->subject) == AEE_OK && find(debugger, gva, &place) &&
               place.code;
    if (may) {
        debugger->breakpoints[debugger->breakpoint_count++] =
            (struct aee__gdb_breakpoint){.gva = gva, .original = *place.host};
        *place.host = INT3;
    }
    (void)pthread_mutex_unlock(&debugger->context->lock);
    return may;
}

/* With the context's lock held. */
static void restore_byte(const struct aee__debugger *debugger, uint32_t index)
{
    struct place place;
    if (find(debugger, debugger->breakpoints[index].gva, &place)) {
        *place.host = debugger->breakpoints[index].original;
    }
}

void aee__gdb_restore_bytes(struct aee__debugger *debugger)
{
    for (uint32_t i = 0; i < debugger->breakpoint_count; i++) {
        restore_byte(debugger, i);
    }
}

static void remove_at(struct aee__debugger *debugger, uint32_t index)
{
    (void)pthread_mutex_lock(&debugger->context->lock);
    if (aee__instance_ended(debugger->subject) == AEE_OK) {
        restore_byte(debugger, index);
    }
    debugger->breakpoints[index] = debugger->breakpoints[--debugger->breakpoint_count];
    (void)pthread_mutex_unlock(&debugger->context->lock);
}

bool aee__gdb_remove(struct aee__debugger *debugger, uint64_t gva)
{
    int32_t index = find_breakpoint(debugger, gva);
    if (index < 0 || !debugger->subject) {
        return false;
    }
    remove_at(debugger, (uint32_t)index);
    return true;
}

void aee__gdb_remove_all(struct aee__debugger *debugger)
{
    while (debugger->breakpoint_count > 0) {
        remove_at(debugger, debugger->breakpoint_count - 1);
    }
}

/* ---- Registers ---------------------------------------------------------------------------- */

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

/* In the order of gdb's numbers (the target description is in gdb_describe.c). */
enum {
    GENERAL = 16,
    RIP = 16,
    RFLAGS,
    CS,
    SS,
    DS,
    ES,
    FS,
    GS,
    ST0,
    FCTRL = ST0 + 8,
    XMM0 = FCTRL + 8,
    MXCSR = XMM0 + 16,
    ORIG_RAX,
    FS_BASE,
    GS_BASE,
    COUNT
};

static size_t size_of(uint64_t number)
{
    return number <= RIP || number >= ORIG_RAX ? 8
           : number < ST0 || number >= MXCSR   ? 4
           : number < FCTRL                    ? 10
           : number < XMM0                     ? 4
                                               : 16;
}

/* Where a general register, RIP or the flags are; NULL: another one. */
static uint64_t *field(aee_registers *registers, uint64_t number)
{
    uint64_t *const list[] = {&registers->rax, &registers->rbx,   &registers->rcx, &registers->rdx,
                              &registers->rsi, &registers->rdi,   &registers->rbp, &registers->rsp,
                              &registers->r8,  &registers->r9,    &registers->r10, &registers->r11,
                              &registers->r12, &registers->r13,   &registers->r14, &registers->r15,
                              &registers->rip, &registers->rflags};
    return number <= RFLAGS ? list[number] : NULL;
}

/* Values that are the same for all components, and as the library has set them. */
static bool fixed(const struct aee__debugger *debugger, uint32_t lane, uint64_t number,
                  uint64_t *value)
{
    enum { USER_CODE = 0x2b, USER_DATA = 0x23 };
    switch (number) {
    case CS:
        *value = USER_CODE;
        return true;
    case SS:
    case DS:
    case ES:
    case FS:
    case GS:
        *value = USER_DATA;
        return true;
    case ORIG_RAX: /* of a system call that is interrupted: there is none */
        *value = UINT64_MAX;
        return true;
    case FS_BASE:
        *value = aee__memory_tcb(lane, &debugger->subject->plan).value;
        return true;
    case GS_BASE:
        *value = AEE_GVA_LANES + lane * AEE_LANE_STRIDE;
        return true;
    default:
        return false;
    }
}

static void add_one(struct aee__debugger *debugger, uint32_t lane, aee_registers *registers,
                    uint64_t number)
{
    const uint64_t *at = registers ? field(registers, number) : NULL;
    uint64_t value = at ? *at : 0;
    if (registers && (at || fixed(debugger, lane, number, &value))) {
        aee__gdb_add_hex(&debugger->out, &value, size_of(number));
    } else {
        aee__gdb_add_unknown(&debugger->out, size_of(number));
    }
}

static bool get(struct aee__debugger *debugger, uint32_t lane, aee_registers *registers)
{
    (void)pthread_mutex_lock(&debugger->lock);
    bool known = aee__gdb_registers(debugger, lane, registers);
    (void)pthread_mutex_unlock(&debugger->lock);
    return known;
}

static bool set(struct aee__debugger *debugger, uint32_t lane, const aee_registers *registers)
{
    (void)pthread_mutex_lock(&debugger->lock);
    bool done = aee__gdb_set_registers(debugger, lane, registers);
    (void)pthread_mutex_unlock(&debugger->lock);
    return done;
}

void aee__gdb_add_registers(struct aee__debugger *debugger, uint32_t lane)
{
    aee_registers registers;
    bool known = get(debugger, lane, &registers);
    for (uint64_t i = 0; i < COUNT; i++) {
        add_one(debugger, lane, known ? &registers : NULL, i);
    }
}

bool aee__gdb_add_register(struct aee__debugger *debugger, uint32_t lane, uint64_t number)
{
    aee_registers registers;
    if (number >= COUNT) {
        return false;
    }
    bool known = get(debugger, lane, &registers);
    add_one(debugger, lane, known ? &registers : NULL, number);
    return true;
}

/* What cannot be changed is left as it is: gdb writes all or one. */
bool aee__gdb_take_registers(struct aee__debugger *debugger, uint32_t lane, const char *text)
{
    aee_registers registers;
    if (!get(debugger, lane, &registers)) {
        return false;
    }
    for (uint64_t i = 0; i <= RFLAGS; i++) {
        uint64_t value = 0;
        if (!aee__gdb_bytes(&text, &value, size_of(i))) {
            return false;
        }
        *field(&registers, i) = value;
    }
    return set(debugger, lane, &registers);
}

bool aee__gdb_take_register(struct aee__debugger *debugger, uint32_t lane, uint64_t number,
                            const char *text)
{
    aee_registers registers;
    uint64_t value = 0;
    if (number > RFLAGS || !aee__gdb_bytes(&text, &value, size_of(number)) ||
        !get(debugger, lane, &registers)) {
        return number == ORIG_RAX; /* gdb sets it to -1 before it calls a function */
    }
    *field(&registers, number) = value;
    return set(debugger, lane, &registers);
}
