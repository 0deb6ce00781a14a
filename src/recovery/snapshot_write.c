/* snapshot_write.c: a snapshot file, written piece by piece: what a component has may be large. */
#include "recovery/snapshot.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <zstd.h>

#include "base/checked.h"
#include "base/hash.h"
#include "base/new_file.h"
#include "base/sys.h"
#include "base/sys_file.h"

/* Level 3 takes ten times as long for 64 MiB of numbers, and leaves as many bytes. */
#define PACK_LEVEL 1

struct runs {
    struct aee__snapshot_run *list;
    uint64_t count;
    uint64_t room;
    uint64_t bytes;
};

struct writer {
    const struct aee__snapshot_source *source;
    const char *path;
    struct runs runs;
    struct aee__hasher *hasher;
    ZSTD_CCtx *packer;
    uint8_t *buffer; /* of packed bytes */
    size_t buffer_size;
    struct aee__new_file file;
    uint64_t written;
};

/* ---- Runs --------------------------------------------------------------------------------- */

/* `apart`: the run before it is in another area. */
static bool add_page(const struct aee__alloc *alloc, struct runs *runs, uint64_t gva, bool apart)
{
    struct aee__snapshot_run *last = runs->count > 0 ? &runs->list[runs->count - 1] : NULL;
    runs->bytes += AEE__PAGE_SIZE;
    if (last && !apart && last->gva + last->size == gva) {
        last->size += AEE__PAGE_SIZE;
        return true;
    }
    if (runs->count == runs->room) {
        uint64_t room = runs->room ? runs->room * 2 : 256;
        struct aee__snapshot_run *list =
            aee__alloc_resize(alloc, runs->list, runs->room * sizeof *list, room * sizeof *list);
        if (!list) {
            return false;
        }
        runs->list = list;
        runs->room = room;
    }
    runs->list[runs->count++] = (struct aee__snapshot_run){.gva = gva, .size = AEE__PAGE_SIZE};
    return true;
}

/* The area of state that comes next by address, or NULL. */
static const struct aee__memory_area *next_area(const struct aee__memory *layout, uint64_t from,
                                                uint64_t *size)
{
    const struct aee__memory_area *next = NULL;
    for (uint32_t i = 0; i < layout->area_count; i++) {
        const struct aee__memory_area *area = &layout->areas[i];
        if (area->state && area->gva.value >= from &&
            (!next || area->gva.value < next->gva.value)) {
            next = area;
            *size = aee__memory_area_size(layout, i);
        }
    }
    return next;
}

static bool find_runs(struct writer *writer)
{
    const struct aee__snapshot_source *source = writer->source;
    const struct aee__memory_area *area;
    uint64_t from = 0;
    uint64_t size = 0;
    while (!source->declared && (area = next_area(&source->layout, from, &size)) != NULL) {
        for (uint64_t at = 0; at < size; at += AEE__PAGE_SIZE) {
            if (aee__shadow_page(&source->copy, area->offset + at) &&
                !add_page(source->alloc, &writer->runs, area->gva.value + at, at == 0)) {
                return false;
            }
        }
        from = area->gva.value + 1;
    }
    return true;
}

/* Where the bytes of a run are: in one piece, as its area is. */
static const uint8_t *run_bytes(const struct aee__snapshot_source *source, uint64_t gva)
{
    const struct aee__memory *layout = &source->layout;
    for (uint32_t i = 0; i < layout->area_count; i++) {
        const struct aee__memory_area *area = &layout->areas[i];
        if (area->state && gva - area->gva.value < aee__memory_area_size(layout, i)) {
            return aee__shadow_page(&source->copy, area->offset + (gva - area->gva.value));
        }
    }
    return NULL;
}

/* ---- Bytes -------------------------------------------------------------------------------- */

static bool put(struct writer *writer, const void *bytes, size_t size)
{
    aee__hasher_add(writer->hasher, bytes, size);
    if (aee__sys_write_all(writer->file.fd, bytes, size, writer->written) != 0) {
        return false;
    }
    writer->written += size;
    return true;
}

static bool put_tables(struct writer *writer)
{
    struct aee__snapshot_header header = writer->source->header;
    if (!writer->source->declared) {
        header.run_count = writer->runs.count;
        header.content_size = writer->runs.bytes;
    }
    if (!put(writer, &header, sizeof header)) {
        return false;
    }
    for (uint32_t i = 0; i < header.lanes; i++) {
        const struct aee__controls *from = &writer->source->lanes[i];
        const struct aee__snapshot_lane lane = {/* a component can write anything there */
                                                .mxcsr = from->mxcsr & UINT16_MAX,
                                                .x87 = from->x87 & UINT16_MAX,
                                                .known = from->known};
        if (!put(writer, &lane, sizeof lane)) {
            return false;
        }
    }
    if (!put(writer, writer->source->ranges,
             header.range_count * sizeof writer->source->ranges[0])) {
        return false;
    }
    return put(writer, writer->runs.list, writer->runs.count * sizeof *writer->runs.list);
}

/* `how`: ZSTD_e_continue or ZSTD_e_end. */
static bool pack(struct writer *writer, const uint8_t *bytes, uint64_t size, ZSTD_EndDirective how)
{
    ZSTD_inBuffer in = {.src = bytes, .size = (size_t)size};
    size_t left;
    do {
        ZSTD_outBuffer out = {.dst = writer->buffer, .size = writer->buffer_size};
        left = ZSTD_compressStream2(writer->packer, &out, &in, how);
        if (ZSTD_isError(left)) {
            errno = ENOMEM; /* the only reason that it has */
            return false;
        }
        if (out.pos > 0 && !put(writer, writer->buffer, out.pos)) {
            return false;
        }
    } while (how == ZSTD_e_end ? left != 0 : in.pos < in.size);
    return true;
}

static bool put_content(struct writer *writer)
{
    for (uint64_t i = 0; i < writer->runs.count; i++) {
        const struct aee__snapshot_run *run = &writer->runs.list[i];
        if (!pack(writer, run_bytes(writer->source, run->gva), run->size, ZSTD_e_continue)) {
            return false;
        }
    }
    return pack(writer, writer->source->declared,
                writer->source->declared ? writer->source->header.content_size : 0, ZSTD_e_end);
}

static bool put_trailer(struct writer *writer)
{
    struct aee__snapshot_trailer trailer;
    aee__hasher_end(writer->hasher, trailer.hash);
    return put(writer, &trailer, sizeof trailer);
}

/* ---- The file ----------------------------------------------------------------------------- */

static bool write_file(struct writer *writer)
{
    return aee__new_file_begin(&writer->file, writer->path) && put_tables(writer) &&
           put_content(writer) && put_trailer(writer) && aee__new_file_keep(&writer->file);
}

static aee_result prepare(struct writer *writer, aee_error *error)
{
    const struct aee__alloc *alloc = writer->source->alloc;
    writer->buffer_size = ZSTD_CStreamOutSize();
    writer->buffer = aee__alloc_zero(alloc, 1, writer->buffer_size);
    writer->hasher = aee__hasher_create();
    writer->packer = ZSTD_createCCtx();
    if (!writer->buffer || !writer->hasher || !writer->packer || !find_runs(writer) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(writer->packer, ZSTD_c_compressionLevel, PACK_LEVEL))) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "cannot write snapshot \"%s\": out of memory",
                         writer->path);
    }
    return AEE_OK;
}

static void clean_up(struct writer *writer)
{
    const struct aee__alloc *alloc = writer->source->alloc;
    aee__new_file_end(&writer->file);
    (void)ZSTD_freeCCtx(writer->packer);
    aee__hasher_destroy(writer->hasher);
    aee__alloc_free(alloc, writer->buffer, writer->buffer_size);
    aee__alloc_free(alloc, writer->runs.list, writer->runs.room * sizeof *writer->runs.list);
}

aee_result aee__snapshot_write(const struct aee__snapshot_source *source, const char *path,
                               aee_error *error)
{
    struct writer writer = {.source = source, .path = path, .file = AEE__NEW_FILE_NONE};
    aee_result result = prepare(&writer, error);
    if (result == AEE_OK) {
        sigset_t mask;
        aee__sys_block_file_signal(&mask, true);
        bool written = write_file(&writer);
        int why = errno;
        aee__sys_block_file_signal(&mask, false);
        if (!written) {
            result = aee__fail_os(error, why, "cannot write snapshot \"%s\"", path);
        }
    }
    clean_up(&writer);
    return result;
}
