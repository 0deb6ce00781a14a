/* report_words.c: names of causes, areas and places in the heap. */
#include <stdio.h>

#include "recovery/report.h"

const char *aee__report_cause(aee_crash_cause cause)
{
    static const char *const names[] = {
        [AEE_CRASH_EXCEPTION] = "exception", [AEE_CRASH_SYSCALL] = "syscall",
        [AEE_CRASH_MEMORY] = "memory",       [AEE_CRASH_ABORT] = "abort",
        [AEE_CRASH_HUNG] = "hung",           [AEE_CRASH_PROTOCOL] = "protocol",
        [AEE_CRASH_HOST] = "host",           [AEE_CRASH_OUT_OF_MEMORY] = "out of memory",
        [AEE_CRASH_KILLED] = "killed"};
    const unsigned index = (unsigned)cause;
    return index < sizeof names / sizeof names[0] && names[index] ? names[index] : "unknown";
}

void aee__report_heap(const struct aee__heap_place *place, char words[AEE__HEAP_WORDS])
{
    unsigned long long size = place->size;
    unsigned long long offset = place->offset;
    words[0] = '\0';
    switch (place->kind) {
    case AEE__HEAP_USED:
        (void)snprintf(words, AEE__HEAP_WORDS, "allocated block of %llu bytes at +%llu", size,
                       offset);
        break;
    case AEE__HEAP_FREE:
        (void)snprintf(words, AEE__HEAP_WORDS, "inside a freed block of %llu bytes at +%llu", size,
                       offset);
        break;
    case AEE__HEAP_BEHIND:
        (void)snprintf(words, AEE__HEAP_WORDS, "%llu bytes past the end of a block of %llu bytes",
                       offset - size, size);
        break;
    default:
        break;
    }
}

const char *aee__report_area(const struct aee__memory_area *area)
{
    uint64_t gva = area->gva.value;
    if (gva == AEE_GVA_SYSTEM) {
        return "system";
    }
    if (gva == AEE_GVA_VDSO) {
        return "vdso";
    }
    if (gva == AEE_GVA_INFO) {
        return "information";
    }
    if (gva == AEE_GVA_HEAP) {
        return "heap";
    }
    if (gva == AEE_GVA_LANES) {
        return "protocol";
    }
    if (gva >= AEE_GVA_STACKS && gva < AEE_GVA_LANES) {
        uint64_t in_lane = (gva - AEE_GVA_STACKS) % AEE_STACK_STRIDE;
        return in_lane < AEE_STACK_GUARD + AEE_STACK_MAX ? "stack" : "thread";
    }
    return "image";
}
