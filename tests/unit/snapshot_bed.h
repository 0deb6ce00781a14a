/* snapshot_bed.h: a small component's memory on paper, snapshot files of it, and a try to load
 * bytes as one, for the unit test of snapshots and the fuzzer. */
#ifndef AEE_TESTS_UNIT_SNAPSHOT_BED_H
#define AEE_TESTS_UNIT_SNAPSHOT_BED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"
#include "recovery/snapshot.h"

#define BED_PAGE ((size_t)AEE__PAGE_SIZE)
/* What a context with the memory below could hold. */
#define BED_MOST (UINT64_C(16) << 20)

/* Two segments side by side, one of them not state, a heap of 4 MiB. */
static inline struct aee__memory bed_layout(uint32_t lanes)
{
    struct aee__memory layout;
    const struct aee__memory_plan plan = {
        .lanes = lanes,
        .stack_size = 64 << 10,
        .tls_size = 100,
        .tls_align = 16,
        .heap_size = 4 << 20,
        .segment_count = 3,
        .segments = {{{AEE_GVA_IMAGE}, 4 * BED_PAGE, BED_PAGE, AEE__PT_EXECUTE},
                     {{AEE_GVA_IMAGE + 4 * BED_PAGE}, 3 * BED_PAGE, 100, AEE__PT_WRITE},
                     {{AEE_GVA_IMAGE + 7 * BED_PAGE}, 8 * BED_PAGE, 0, AEE__PT_WRITE}}};
    (void)aee__memory_lay_out(&layout, &plan, NULL);
    return layout;
}

static inline uint64_t bed_offset(const struct aee__memory *layout, uint64_t gva)
{
    for (uint32_t i = 0; i < layout->area_count; i++) {
        if (gva - layout->areas[i].gva.value < aee__memory_area_size(layout, i)) {
            return layout->areas[i].offset + (gva - layout->areas[i].gva.value);
        }
    }
    return UINT64_MAX;
}

/* A source with so many pages of something in both segments and the heap, with gaps. */
static inline aee_result bed_source(struct aee__snapshot_source *source, uint32_t lanes,
                                    uint32_t pages)
{
    *source = (struct aee__snapshot_source){
        .alloc = &aee__alloc_default,
        .header = {.magic = AEE__SNAPSHOT_MAGIC,
                   .version = AEE__SNAPSHOT_VERSION,
                   .header_size = sizeof source->header,
                   .kind = AEE__SNAPSHOT_ALL_STATE,
                   .abi_version = AEE_ABI_VERSION,
                   .lanes = lanes,
                   .image = "an image's hash",
                   .stack_size = 64 << 10,
                   .heap_size = 4 << 20},
        .lanes = {{0x1f80, 0x37f, true}},
        .ranges = {{AEE_GVA_HEAP + 8, 100}, {AEE_GVA_IMAGE + 5 * BED_PAGE, 8192}},
        .layout = bed_layout(lanes)};
    source->header.range_count = lanes > 1 ? 2 : 0;
    aee_result result =
        aee__shadow_create(&source->copy, source->alloc, source->layout.file_size, NULL);
    for (uint32_t i = 0; i < pages && result == AEE_OK; i++) {
        uint64_t gva =
            i < 9 ? AEE_GVA_IMAGE + (5 + i) * BED_PAGE : AEE_GVA_HEAP + (i + i / 3) * BED_PAGE;
        uint8_t *to = aee__shadow_fill(&source->copy, bed_offset(&source->layout, gva), BED_PAGE);
        for (size_t at = 0; at < BED_PAGE; at += 1 + i) {
            to[at] = (uint8_t)(at * i + i + 1);
        }
    }
    return result;
}

/* Of declared state; the bytes must live as long. */
static inline void bed_declared_source(struct aee__snapshot_source *source, const uint8_t *bytes,
                                       uint32_t ranges)
{
    (void)bed_source(source, 2, 0);
    aee__shadow_destroy(&source->copy);
    source->header.kind = AEE__SNAPSHOT_DECLARED;
    source->header.range_count = ranges;
    source->declared = bytes;
    for (uint32_t i = 0; i < ranges; i++) {
        source->ranges[i] = (struct aee__snapshot_range){AEE_GVA_HEAP + 1000 * i, 1 + 7 * i};
        source->header.content_size += 1 + 7 * i;
    }
}

/* The checksum is right again. */
static inline void bed_seal(uint8_t *bytes, size_t size)
{
    size_t covered = size - sizeof(struct aee__snapshot_trailer);
    if (size >= sizeof(struct aee__snapshot_trailer)) {
        aee__hash(bytes, covered, bytes + covered);
    }
}

/* Every page that was filled in is state. */
static inline bool bed_is_sound(const struct aee__shadow *copy, const struct aee__memory *layout)
{
    for (uint64_t page = 0; page < copy->has.count; page++) {
        bool state = false;
        for (uint32_t i = 0; i < layout->area_count; i++) {
            uint64_t from = layout->areas[i].offset / BED_PAGE;
            state = state || (layout->areas[i].state &&
                              page - from < aee__memory_area_size(layout, i) / BED_PAGE);
        }
        if (!state && aee__shadow_page(copy, page * BED_PAGE)) {
            return false;
        }
    }
    return true;
}

/* Parses and unpacks; *sound: what came of it breaks no rule. */
static inline aee_result bed_try(const uint8_t *bytes, size_t size, struct aee__shadow *copy,
                                 bool *sound, aee_error *error)
{
    struct aee__snapshot snapshot;
    *copy = (struct aee__shadow){0};
    *sound = true;
    aee_result result = aee__snapshot_parse(bytes, size, "s", BED_MOST, &snapshot, error);
    if (result != AEE_OK) {
        return result;
    }
    if (snapshot.header.kind == AEE__SNAPSHOT_DECLARED) {
        uint8_t *content = malloc(snapshot.header.content_size + 1);
        result =
            content ? aee__snapshot_unpack_declared(&snapshot, content, error) : AEE_ERR_NO_MEMORY;
        free(content);
        return result;
    }
    struct aee__memory layout = bed_layout(snapshot.header.lanes);
    result = aee__shadow_create(copy, &aee__alloc_default, layout.file_size, error);
    if (result == AEE_OK) {
        result = aee__snapshot_unpack(&snapshot, &layout, copy, error);
        *sound = bed_is_sound(copy, &layout);
    }
    return result;
}

#endif
