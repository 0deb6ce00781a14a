/* gdb_memory.c: what gdb sees of a component's memory: as much as the component has, without the
 * breakpoints in it. */
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
    if (may) { /* our writes are in no log of written pages, and copies are of another memory now */
        struct aee__core *core = debugger->subject->core;
        atomic_store(&debugger->subject->machine, atomic_fetch_add(&core->machines, 1) + 1);
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

/* With the context's lock held. Memory that another instance has taken over is not found. */
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
    restore_byte(debugger, index);
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
