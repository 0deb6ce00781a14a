/* snapshot_parse.c: a snapshot file's bytes, checked: nothing of them is used before. */
#include "recovery/snapshot_format.h"

#include <string.h>

#include <zstd.h>

#include "base/checked.h"
#include "base/hash.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file is little-endian");

static aee_result bad(const char *name, const char *what, aee_error *error)
{
    return aee__fail(error, AEE_ERR_BAD_SNAPSHOT, "snapshot \"%s\" is damaged: %s", name, what);
}

/* ---- Header ------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *bytes, size_t size)
{
    uint8_t all = 0;
    for (size_t i = 0; i < size; i++) {
        all |= bytes[i];
    }
    return all == 0;
}

static aee_result check_version(const struct aee__snapshot_header *header, const char *name,
                                aee_error *error)
{
    if (header->magic != AEE__SNAPSHOT_MAGIC) {
        return aee__fail(error, AEE_ERR_BAD_SNAPSHOT, "\"%s\" is not a snapshot", name);
    }
    if (header->version != AEE__SNAPSHOT_VERSION) {
        return aee__fail(error, AEE_ERR_UNSUPPORTED,
                         "snapshot \"%s\" has format %u; this library reads format %u", name,
                         header->version, AEE__SNAPSHOT_VERSION);
    }
    return AEE_OK;
}

static aee_result check_kind(const struct aee__snapshot_header *header, const char *name,
                             aee_error *error)
{
    if (header->header_size != sizeof *header || header->flags != 0 ||
        !is_zero(header->reserved, sizeof header->reserved)) {
        return bad(name, "the header has fields that its format does not know", error);
    }
    if (header->kind != AEE__SNAPSHOT_ALL_STATE && header->kind != AEE__SNAPSHOT_DECLARED) {
        return aee__fail(error, AEE_ERR_UNSUPPORTED, "snapshot \"%s\" has content of kind %u", name,
                         header->kind);
    }
    if (header->abi_version != AEE_ABI_VERSION) {
        return aee__fail(error, AEE_ERR_ABI_VERSION,
                         "snapshot \"%s\" is of ABI version %u, this library has %u", name,
                         header->abi_version, AEE_ABI_VERSION);
    }
    return AEE_OK;
}

/* So that no later sum overflows. */
static aee_result check_sizes(const struct aee__snapshot_header *header, const char *name,
                              uint64_t file_size, uint64_t most, aee_error *error)
{
    if (header->lanes == 0 || header->lanes > AEE_MAX_LANES) {
        return bad(name, "there cannot be so many lanes", error);
    }
    if (header->range_count > 1 + AEE_STATE_RANGES_MAX) {
        return bad(name, "there cannot be so many declared ranges", error);
    }
    bool declared = header->kind == AEE__SNAPSHOT_DECLARED;
    if ((header->content_size % AEE__PAGE_SIZE != 0 && !declared) ||
        header->run_count > (declared ? 0 : header->content_size / AEE__PAGE_SIZE)) {
        return bad(name, "the counts in the header contradict each other", error);
    }
    if (header->content_size > most) {
        return aee__fail(error, AEE_ERR_LIMIT,
                         "snapshot \"%s\" holds %llu bytes of state, the context at most %llu",
                         name, (unsigned long long)header->content_size, (unsigned long long)most);
    }
    uint64_t fixed = sizeof *header + header->lanes * sizeof(struct aee__snapshot_lane) +
                     header->range_count * sizeof(struct aee__snapshot_range) +
                     header->run_count * sizeof(struct aee__snapshot_run) +
                     sizeof(struct aee__snapshot_trailer);
    if (file_size < fixed) {
        return bad(name, "it is too short for its header", error);
    }
    if (file_size - fixed > ZSTD_compressBound((size_t)header->content_size)) {
        return bad(name, "it is too long for its header", error);
    }
    return AEE_OK;
}

aee_result aee__snapshot_check_header(const struct aee__snapshot_header *header, const char *name,
                                      uint64_t file_size, uint64_t most, aee_error *error)
{
    aee_result result = check_version(header, name, error);
    if (result == AEE_OK) {
        result = check_kind(header, name, error);
    }
    return result == AEE_OK ? check_sizes(header, name, file_size, most, error) : result;
}

/* ---- Lanes and runs ----------------------------------------------------------------------- */

/* What the processor takes (SDM vol. 1, 10.2.3: bits 31 to 16 of MXCSR are reserved). */
static aee_result read_lanes(const uint8_t *at, struct aee__snapshot *out, aee_error *error)
{
    for (uint32_t i = 0; i < out->header.lanes; i++) {
        struct aee__snapshot_lane lane;
        memcpy(&lane, at + i * sizeof lane, sizeof lane);
        if (lane.mxcsr > UINT16_MAX || lane.x87 > UINT16_MAX || lane.known > 1 ||
            lane.reserved != 0) {
            return bad(out->name, "a lane has impossible control words", error);
        }
        out->lanes[i] =
            (struct aee__controls){.mxcsr = lane.mxcsr, .x87 = lane.x87, .known = lane.known != 0};
    }
    return AEE_OK;
}

static struct aee__snapshot_run run_at(const struct aee__snapshot *snapshot, uint64_t index)
{
    struct aee__snapshot_run run;
    memcpy(&run, snapshot->runs + index * sizeof run, sizeof run);
    return run;
}

static aee_result check_runs(const struct aee__snapshot *snapshot, aee_error *error)
{
    uint64_t end = 0;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < snapshot->header.run_count; i++) {
        struct aee__snapshot_run run = run_at(snapshot, i);
        if (run.size == 0 || (run.gva | run.size) % AEE__PAGE_SIZE != 0 || run.gva < end ||
            !aee__add(run.gva, run.size, &end) || !aee__add(sum, run.size, &sum)) {
            return bad(snapshot->name, "a run of pages overlaps another one, or is none", error);
        }
    }
    return sum == snapshot->header.content_size
               ? AEE_OK
               : bad(snapshot->name, "its runs of pages are not as long as it says", error);
}

static aee_result check_ranges(const struct aee__snapshot *snapshot, aee_error *error)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < snapshot->header.range_count; i++) {
        if (snapshot->ranges[i].size == 0 || !aee__add(sum, snapshot->ranges[i].size, &sum)) {
            return bad(snapshot->name, "a declared range is none", error);
        }
    }
    return sum == snapshot->header.content_size
               ? AEE_OK
               : bad(snapshot->name, "its declared ranges are not as long as it says", error);
}

/* ---- The whole ---------------------------------------------------------------------------- */

static aee_result check_hash(const uint8_t *bytes, size_t size, const char *name, aee_error *error)
{
    struct aee__snapshot_trailer trailer;
    uint8_t hash[AEE__HASH_SIZE];
    size_t covered = size - sizeof trailer;
    memcpy(&trailer, bytes + covered, sizeof trailer);
    aee__hash(bytes, covered, hash);
    return memcmp(hash, trailer.hash, sizeof hash) == 0 ? AEE_OK
                                                        : bad(name, "its checksum is wrong", error);
}

aee_result aee__snapshot_parse(const void *bytes, size_t size, const char *name, uint64_t most,
                               struct aee__snapshot *out, aee_error *error)
{
    const uint8_t *at = bytes;
    *out = (struct aee__snapshot){.name = name};
    if (size < sizeof out->header + sizeof(struct aee__snapshot_trailer)) {
        return aee__fail(error, AEE_ERR_BAD_SNAPSHOT, "\"%s\" is too short to be a snapshot", name);
    }
    memcpy(&out->header, at, sizeof out->header);
    aee_result result = check_version(&out->header, name, error);
    if (result == AEE_OK) { /* before what is said of other fields: they may be the damage */
        result = check_hash(at, size, name, error);
    }
    if (result == AEE_OK) {
        result = aee__snapshot_check_header(&out->header, name, size, most, error);
    }
    if (result != AEE_OK) {
        return result;
    }
    at += sizeof out->header;
    result = read_lanes(at, out, error);
    at += out->header.lanes * sizeof(struct aee__snapshot_lane);
    memcpy(out->ranges, at, out->header.range_count * sizeof out->ranges[0]);
    out->runs = at + out->header.range_count * sizeof out->ranges[0];
    out->frame = out->runs + out->header.run_count * sizeof(struct aee__snapshot_run);
    out->frame_size =
        size - sizeof(struct aee__snapshot_trailer) - (size_t)(out->frame - (const uint8_t *)bytes);
    if (result != AEE_OK) {
        return result;
    }
    return out->header.kind == AEE__SNAPSHOT_DECLARED ? check_ranges(out, error)
                                                      : check_runs(out, error);
}

/* ---- Unpacking ---------------------------------------------------------------------------- */

/* Where in the file of a memory a run lies; false: not in state. */
static bool locate(const struct aee__memory *layout, const struct aee__snapshot_run *run,
                   uint64_t *offset)
{
    for (uint32_t i = 0; i < layout->area_count; i++) {
        const struct aee__memory_area *area = &layout->areas[i];
        if (area->state && aee__within(run->gva, run->size, area->gva.value,
                                       area->gva.value + aee__memory_area_size(layout, i))) {
            *offset = area->offset + (run->gva - area->gva.value);
            return true;
        }
    }
    return false;
}

/* Exactly so many bytes; *left is what zstd says of the rest of the frame. */
static bool unpack_run(ZSTD_DCtx *context, ZSTD_inBuffer *in, uint8_t *to, uint64_t size,
                       size_t *left)
{
    ZSTD_outBuffer out = {.dst = to, .size = (size_t)size};
    while (out.pos < out.size) {
        size_t had = in->pos + out.pos;
        *left = ZSTD_decompressStream(context, &out, in);
        bool ended = *left == 0 && out.pos < out.size;
        if (ZSTD_isError(*left) || ended || in->pos + out.pos == had) {
            return false;
        }
    }
    return true;
}

/* After the last bytes; `left` is what zstd said then, or 1 if there were none. */
static aee_result end_frame(ZSTD_DCtx *context, const struct aee__snapshot *snapshot,
                            ZSTD_inBuffer *in, size_t left, aee_error *error)
{
    uint8_t nothing;
    while (left != 0) {
        ZSTD_outBuffer none = {.dst = &nothing, .size = 0};
        size_t had = in->pos;
        left = ZSTD_decompressStream(context, &none, in);
        if (ZSTD_isError(left) || (left != 0 && in->pos == had)) {
            return bad(snapshot->name, "its content does not end", error);
        }
    }
    return in->pos == in->size ? AEE_OK
                               : bad(snapshot->name, "something follows its content", error);
}

static aee_result unpack_all(ZSTD_DCtx *context, const struct aee__snapshot *snapshot,
                             const struct aee__memory *layout, struct aee__shadow *shadow,
                             aee_error *error)
{
    ZSTD_inBuffer in = {.src = snapshot->frame, .size = snapshot->frame_size};
    size_t left = 1;
    for (uint64_t i = 0; i < snapshot->header.run_count; i++) {
        struct aee__snapshot_run run = run_at(snapshot, i);
        uint64_t offset;
        if (!locate(layout, &run, &offset)) {
            return aee__fail(error, AEE_ERR_BAD_SNAPSHOT,
                             "snapshot \"%s\" has state at 0x%llx, where the component has none",
                             snapshot->name, (unsigned long long)run.gva);
        }
        if (left == 0 || !unpack_run(context, &in, aee__shadow_fill(shadow, offset, run.size),
                                     run.size, &left)) {
            return bad(snapshot->name, "its content cannot be unpacked", error);
        }
    }
    return end_frame(context, snapshot, &in, left, error);
}

static aee_result create_unpacker(const struct aee__snapshot *snapshot, ZSTD_DCtx **out,
                                  aee_error *error)
{
    *out = ZSTD_createDCtx();
    if (*out && !ZSTD_isError(
                    ZSTD_DCtx_setParameter(*out, ZSTD_d_windowLogMax, AEE__SNAPSHOT_WINDOW_LOG))) {
        return AEE_OK;
    }
    (void)ZSTD_freeDCtx(*out);
    return aee__fail(error, AEE_ERR_NO_MEMORY, "no memory to unpack snapshot \"%s\"",
                     snapshot->name);
}

aee_result aee__snapshot_unpack(const struct aee__snapshot *snapshot,
                                const struct aee__memory *layout, struct aee__shadow *shadow,
                                aee_error *error)
{
    ZSTD_DCtx *context;
    aee_result result = create_unpacker(snapshot, &context, error);
    if (result == AEE_OK) {
        result = unpack_all(context, snapshot, layout, shadow, error);
        (void)ZSTD_freeDCtx(context);
    }
    return result;
}

aee_result aee__snapshot_unpack_declared(const struct aee__snapshot *snapshot, uint8_t *to,
                                         aee_error *error)
{
    ZSTD_inBuffer in = {.src = snapshot->frame, .size = snapshot->frame_size};
    ZSTD_DCtx *context;
    size_t left = 1;
    aee_result result = create_unpacker(snapshot, &context, error);
    if (result != AEE_OK) {
        return result;
    }
    result = unpack_run(context, &in, to, snapshot->header.content_size, &left)
                 ? end_frame(context, snapshot, &in, left, error)
                 : bad(snapshot->name, "its content cannot be unpacked", error);
    (void)ZSTD_freeDCtx(context);
    return result;
}
