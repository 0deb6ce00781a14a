#include "recovery/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "recovery/capture.h"

/* A sentence under construction; what does not fit is cut. */
struct text {
    char *at;
    size_t left;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(text->at, text->left, format, args);
    va_end(args);
    if (wrote > 0) {
        size_t used = (size_t)wrote < text->left ? (size_t)wrote : text->left - 1;
        text->at += used;
        text->left -= used;
    }
}

static const char *vector_name(uint32_t vector)
{
    static const char *const names[32] = {[0] = "division error",
                                          [1] = "debug exception",
                                          [2] = "non-maskable interrupt",
                                          [3] = "breakpoint",
                                          [4] = "overflow",
                                          [5] = "bound range exceeded",
                                          [6] = "invalid instruction",
                                          [7] = "device not available",
                                          [8] = "double fault",
                                          [10] = "invalid TSS",
                                          [11] = "segment not present",
                                          [12] = "stack segment fault",
                                          [13] = "general protection fault",
                                          [14] = "page fault",
                                          [16] = "x87 floating-point error",
                                          [17] = "unaligned access",
                                          [18] = "machine check",
                                          [19] = "SIMD floating-point error",
                                          [20] = "virtualization exception",
                                          [21] = "control protection fault"};
    const char *name = vector < 32 ? names[vector] : NULL;
    return name ? name : "unknown exception";
}

/* ---- What lies at an address -------------------------------------------------------------- */

static void add_stack_area(struct text *text, const struct aee__memory_plan *plan, uint64_t address)
{
    uint32_t lane = (uint32_t)((address - AEE_GVA_STACKS) / AEE_STACK_STRIDE);
    uint64_t top = aee__memory_stack_top(lane).value;
    if (lane >= plan->lanes) {
        add(text, "no lane's stack");
    } else if (address >= top) {
        add(text, "behind the stack of lane %u", lane);
    } else if (address < top - plan->stack_size) {
        add(text, "the guard below the stack of lane %u: stack overflow", lane);
    } else {
        add(text, "the stack of lane %u", lane);
    }
}

static void add_variable(struct text *text, const struct aee__image *image, uint64_t address)
{
    uint64_t offset = 0;
    const char *name = aee__image_variable_at(image, address, &offset);
    if (name) {
        char clean[AEE_NAME_MAX];
        aee__text_copy(clean, sizeof clean, name, sizeof clean);
        add(text, ", variable \"%s\"+0x%llx", clean, (unsigned long long)offset);
    }
}

static void add_image_area(struct text *text, const struct aee__image *image, uint64_t address)
{
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct aee__segment *segment = &image->segments[i];
        if (address - segment->start < segment->size) {
            add(text, "the image's %s",
                segment->rights & AEE__SEG_EXECUTE ? "code"
                : segment->rights & AEE__SEG_WRITE ? "data"
                                                   : "read-only data");
            add_variable(text, image, address);
            return;
        }
    }
    add(text, "outside of the image's segments");
}

static void add_place(struct text *text, struct aee__context *context,
                      const struct aee__instance *instance, uint64_t address)
{
    struct aee__region_view region;
    if (address < AEE_GVA_NULL_GUARD_END) {
        add(text, "null pointer + %llu", (unsigned long long)address);
    } else if (aee__context_region_at(context, address, &region)) {
        add(text, "region \"%s\", %s", region.name, region.writable ? "read-write" : "read-only");
    } else if (address < AEE_GVA_VDSO) {
        add(text, "the system area");
    } else if (address < AEE_GVA_IMAGE) {
        add(text, "the library's pages");
    } else if (address < AEE_GVA_IMAGE_END) {
        add_image_area(text, instance->image->image, address);
    } else if (address < AEE_GVA_STACKS + AEE_MAX_LANES * AEE_STACK_STRIDE) {
        add_stack_area(text, &instance->plan, address);
    } else if (address - AEE_GVA_LANES < instance->plan.lanes * AEE_LANE_STRIDE) {
        add(text, "the pages of the calling protocol");
    } else if (address - AEE_GVA_HEAP < AEE_HEAP_MAX) {
        bool inside = address - AEE_GVA_HEAP < instance->memory.heap_size;
        struct aee__heap_place place = aee__capture_heap_place(instance, address);
        char words[AEE__HEAP_WORDS];
        aee__report_heap(&place, words);
        add(text, inside ? "the heap" : "beyond the heap's limit");
        add(text, "%s%s", words[0] ? ", " : "", words);
    } else if (address - AEE_GVA_REGIONS < AEE_REGIONS_SIZE) {
        add(text, "no region that is mapped");
    } else {
        add(text, "mapped to nothing");
    }
}

/* ---- The sentence ------------------------------------------------------------------------- */

static void add_page_fault(struct text *text, struct aee__context *context,
                           const struct aee__instance *instance, const aee_crash *crash)
{
    /* Error code bits: SDM vol. 3A, figure 4-12. */
    const char *access = crash->error_code & 16  ? "execution of"
                         : crash->error_code & 2 ? "write to"
                                                 : "read of";
    add(text, "%s address 0x%llx (", access, (unsigned long long)crash->fault_address);
    add_place(text, context, instance, crash->fault_address);
    add(text, ")");
}

static void add_cause(struct text *text, struct aee__context *context,
                      const struct aee__instance *instance, const char *detail,
                      const aee_crash *crash)
{
    enum { PAGE_FAULT = 14 };
    switch (crash->cause) {
    case AEE_CRASH_EXCEPTION:
        if (crash->vector == PAGE_FAULT) {
            add_page_fault(text, context, instance, crash);
        } else {
            add(text, "%s%s%s", vector_name(crash->vector), detail[0] ? ": " : "", detail);
        }
        break;
    case AEE_CRASH_SYSCALL:
        add(text, "SYSCALL instruction number %llu; components have no system calls",
            (unsigned long long)crash->registers.rax);
        break;
    case AEE_CRASH_MEMORY:
        add(text, "access to %s", detail);
        break;
    case AEE_CRASH_ABORT:
        add(text, "aborted: %s", detail);
        break;
    case AEE_CRASH_OUT_OF_MEMORY:
        add(text, "out of memory (%llu MiB heap): %s",
            (unsigned long long)(instance->memory.heap_size >> 20), detail);
        break;
    case AEE_CRASH_KILLED:
        add(text, "killed: %s", detail);
        break;
    case AEE_CRASH_HUNG:
        add(text, "overran its call budget of %s", detail);
        break;
    case AEE_CRASH_PROTOCOL:
        add(text, "broke the calling protocol: %s", detail);
        break;
    default:
        add(text, "could not be run on: %s", detail);
        break;
    }
}

static void add_where(struct text *text, const aee_crash *crash)
{
    if (crash->function[0]) {
        add(text, " in %s+0x%llx", crash->function, (unsigned long long)crash->function_offset);
    } else if (crash->registers.rip < AEE_GVA_VDSO || crash->registers.rip >= AEE_GVA_INFO) {
        add(text, " at 0x%llx", (unsigned long long)crash->registers.rip);
    } /* an address in the vDSO, as when a component gives up, tells nobody anything */
    if (strcmp(crash->called, "-") == 0) {
        add(text, ", after its answer");
    } else if (!crash->called[0]) {
        add(text, ", called through its initialiser");
    } else if (strcmp(crash->called, crash->function) != 0) {
        add(text, ", called through %s", crash->called);
    }
}

void aee__report_describe(struct aee__context *context, const struct aee__instance *instance,
                          const char *detail, aee_crash *crash)
{
    const char *function =
        aee__image_symbol_at(instance->image->image, crash->registers.rip, &crash->function_offset);
    aee__text_copy(crash->function, sizeof crash->function, function ? function : "", AEE_NAME_MAX);
    char clean[96];
    aee__text_copy(clean, sizeof clean, detail,
                   sizeof clean); /* it may be the component's own words */
    struct text text = {.at = crash->text, .left = sizeof crash->text};
    add(&text, "context \"%s\": ", context->name);
    add_cause(&text, context, instance, clean, crash);
    add_where(&text, crash);
}
