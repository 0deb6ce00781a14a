#include "recovery/report_json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/sys_file.h"
#include "base/text.h"
#include "recovery/backtrace.h"
#include "recovery/report.h"

#define WORDS 192u

/* ---- Registers and what they point to ----------------------------------------------------- */

/* aee_registers as a list: the general ones in their order, then rip and rflags. */
enum { REGISTERS = 18 };
static const char *const register_names[REGISTERS] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi",
                                                      "rsp", "rbp", "r8",  "r9",  "r10", "r11",
                                                      "r12", "r13", "r14", "r15", "rip", "rflags"};
_Static_assert(sizeof(aee_registers) == REGISTERS * sizeof(uint64_t), "all are named");

static void add_registers(struct aee__json *json, const aee_registers *registers)
{
    uint64_t values[REGISTERS];
    memcpy(values, registers, sizeof values);
    aee__json_open(json, "registers", '{');
    for (unsigned i = 0; i < REGISTERS; i++) {
        aee__json_hex(json, register_names[i], values[i]);
    }
    aee__json_close(json, '}');
}

static bool name_symbol(const struct aee__image *image, uint64_t value, char *words)
{
    uint64_t offset = 0;
    char clean[AEE_NAME_MAX];
    const char *kind = "function";
    const char *name = aee__image_symbol_at(image, value, &offset);
    if (!name) {
        kind = "variable";
        name = aee__image_variable_at(image, value, &offset);
    }
    if (name) {
        aee__text_copy(clean, sizeof clean, name, sizeof clean);
        (void)snprintf(words, WORDS, "%s %s+0x%llx", kind, clean, (unsigned long long)offset);
    }
    return name != NULL;
}

static bool name_region(const struct aee__crash_record *record, uint64_t value, char *words)
{
    for (uint32_t i = 0; i < record->region_count; i++) {
        const struct aee__record_region *region = &record->regions[i];
        if (value - region->gva < region->size) {
            (void)snprintf(words, WORDS, "region \"%s\"+0x%llx, %s", region->name,
                           (unsigned long long)(value - region->gva),
                           region->writable ? "read-write" : "read-only");
            return true;
        }
    }
    return false;
}

/* What lies at an address, in a few words; false where nothing is known of it. */
static bool explain(const struct aee__crash_record *record, uint64_t value,
                    const struct aee__heap_place *place, char *words)
{
    char heap[AEE__HEAP_WORDS];
    aee__report_heap(place, heap);
    if (heap[0]) {
        (void)snprintf(words, WORDS, "heap: %s", heap);
        return true;
    }
    if ((record->image && name_symbol(record->image->image, value, words)) ||
        name_region(record, value, words)) {
        return true;
    }
    for (uint32_t i = 0; i < record->area_count; i++) {
        const struct aee__memory_area *area = &record->areas[i];
        if (value - area->gva.value >= area->size) {
            continue;
        }
        const char *what = aee__report_area(area);
        if (strcmp(what, "stack") == 0) {
            uint64_t lane = (value - AEE_GVA_STACKS) / AEE_STACK_STRIDE;
            (void)snprintf(words, WORDS, "stack of lane %u", (unsigned)lane);
        } else {
            (void)snprintf(words, WORDS, "%s+0x%llx", what,
                           (unsigned long long)(value - area->gva.value));
        }
        return true;
    }
    return false;
}

static void add_places(struct aee__json *json, const struct aee__crash_record *record)
{
    uint64_t values[AEE__RECORD_GENERAL];
    char words[WORDS];
    memcpy(values, &record->crash.registers, sizeof values);
    aee__json_open(json, "points_to", '{');
    for (unsigned i = 0; i < AEE__RECORD_GENERAL; i++) {
        if (explain(record, values[i], &record->places[i], words)) {
            aee__json_string(json, register_names[i], words);
        }
    }
    aee__json_close(json, '}');
}

/* ---- Parts -------------------------------------------------------------------------------- */

/* When it happened, by the clock of today. */
static void add_time(struct aee__json *json, const struct aee__crash_record *record)
{
    int64_t seconds;
    uint32_t ns;
    char text[40];
    struct tm parts;
    aee__sys_wall_clock(&seconds, &ns);
    int64_t at =
        seconds * 1000 + ns / 1000000 - (int64_t)((aee__now_ns() - record->time_ns) / 1000000);
    time_t whole = at / 1000;
    if (gmtime_r(&whole, &parts)) {
        (void)snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                       (parts.tm_year + 1900) % 10000, parts.tm_mon + 1, parts.tm_mday,
                       parts.tm_hour, parts.tm_min, parts.tm_sec, (int)(at % 1000));
        aee__json_string(json, "time", text);
    }
}

static void add_crash(struct aee__json *json, const struct aee__crash_record *record)
{
    const aee_crash *crash = &record->crash;
    char words[WORDS];
    aee__json_uint(json, "id", crash->id);
    add_time(json, record);
    aee__json_uint(json, "frame", record->frame);
    aee__json_string(json, "cause", aee__report_cause(crash->cause));
    aee__json_string(json, "text", crash->text);
    aee__json_uint(json, "lane", crash->lane);
    aee__json_uint(json, "vector", crash->vector);
    aee__json_uint(json, "error_code", crash->error_code);
    aee__json_hex(json, "fault_address", crash->fault_address);
    if (crash->fault_address != 0 &&
        explain(record, crash->fault_address, &record->fault_place, words)) {
        aee__json_string(json, "fault_place", words);
    }
    aee__json_string(json, "called", crash->called);
    aee__json_string(json, "function", crash->function);
    aee__json_uint(json, "function_offset", crash->function_offset);
    add_registers(json, &crash->registers);
    add_places(json, record);
}

static void add_frame(struct aee__json *json, const struct aee__frame *frame)
{
    aee__json_open(json, NULL, '{');
    aee__json_hex(json, "pc", frame->pc);
    aee__json_string(json, "function", frame->function);
    if (!frame->inlined) {
        aee__json_uint(json, "offset", frame->offset);
    }
    if (frame->line > 0) {
        aee__json_string(json, "file", frame->file);
        aee__json_uint(json, "line", frame->line);
        aee__json_uint(json, "column", frame->column);
    }
    if (frame->inlined) {
        aee__json_bool(json, "inlined", true);
    }
    if (frame->guessed) {
        aee__json_bool(json, "guessed", true);
    }
    aee__json_close(json, '}');
}

static void add_trace(struct aee__json *json, const struct aee__crash_record *record)
{
    char why[AEE__BACKTRACE_WHY];
    struct aee__frame *frames = aee__alloc_zero(json->alloc, AEE__FRAMES_MAX, sizeof *frames);
    if (!frames) {
        json->failed = true;
        return;
    }
    uint32_t count = aee__backtrace(record, frames, AEE__FRAMES_MAX, why);
    aee__json_open(json, "trace", '[');
    for (uint32_t i = 0; i < count; i++) {
        add_frame(json, &frames[i]);
    }
    aee__json_close(json, ']');
    if (why[0]) {
        aee__json_string(json, "trace_note", why);
    }
    aee__alloc_free(json->alloc, frames, AEE__FRAMES_MAX * sizeof *frames);
}

static void add_calls(struct aee__json *json, const struct aee__crash_record *record,
                      const struct aee__record_lane *lane)
{
    const struct aee__image *image = record->image ? record->image->image : NULL;
    aee__json_open(json, "calls", '[');
    for (uint32_t i = 0; i < lane->calls; i++) {
        int32_t called = lane->called[i];
        bool known = image && called >= 0 && (uint32_t)called < image->export_count;
        aee__json_open(json, NULL, '{');
        aee__json_string(json, "function", known ? image->exports[called].name : "(initialiser)");
        aee__json_bool(json, "answered", lane->answered[i]);
        aee__json_close(json, '}');
    }
    aee__json_close(json, ']');
}

static void add_host_calls(struct aee__json *json, const struct aee__context *context,
                           const struct aee__record_lane *lane)
{
    const struct aee__host_functions *functions = &context->core->functions;
    aee__json_open(json, "host_calls", '[');
    for (uint32_t i = 0; i < lane->host_calls; i++) {
        int32_t asked = lane->asked[i];
        bool known = asked >= 0 && (uint32_t)asked < atomic_load(&functions->count);
        aee__json_string(json, NULL,
                         known                     ? functions->entries[asked].name
                         : asked == AEE__ASKED_LOG ? "(log)"
                                                   : "(unknown function)");
    }
    aee__json_close(json, ']');
}

static void add_lanes(struct aee__json *json, const struct aee__context *context,
                      const struct aee__crash_record *record)
{
    aee__json_open(json, "lanes", '[');
    for (uint32_t i = 0; i < record->lane_count; i++) {
        const struct aee__record_lane *lane = &record->lanes[i];
        bool crashed = i == record->crash.lane;
        aee__json_open(json, NULL, '{');
        aee__json_uint(json, "lane", i);
        aee__json_string(json, "state", crashed ? "crashed" : lane->running ? "running" : "parked");
        aee__json_uint(json, "in_host_calls", lane->host_depth);
        if (lane->known && !crashed) {
            add_registers(json, &lane->registers);
        }
        add_calls(json, record, lane);
        add_host_calls(json, context, lane);
        aee__json_close(json, '}');
    }
    aee__json_close(json, ']');
}

static void add_log(struct aee__json *json, const struct aee__crash_record *record)
{
    static const char *const levels[] = {"debug", "info", "warning", "error"};
    const char *at = record->log;
    const char *end = record->log + record->log_size;
    aee__json_open(json, "log", '[');
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        line_end = line_end ? line_end : end;
        aee__json_open(json, NULL, '{');
        aee__json_string(json, "level", levels[(unsigned)(at[0] - '0') % 4]);
        aee__json_string_n(json, "text", at + 1, (size_t)(line_end - at - 1));
        aee__json_close(json, '}');
        at = line_end + 1;
    }
    aee__json_close(json, ']');
}

static void add_range(struct aee__json *json, uint64_t start, uint64_t size, const char *rights,
                      const char *what, const char *name)
{
    aee__json_open(json, NULL, '{');
    aee__json_hex(json, "start", start);
    aee__json_uint(json, "size", size);
    aee__json_string(json, "rights", rights);
    aee__json_string(json, "what", what);
    if (name) {
        aee__json_string(json, "name", name);
    }
    aee__json_close(json, '}');
}

/* The area with the lowest address at or above `from`, or NULL. */
static const struct aee__memory_area *next_area(const struct aee__crash_record *record,
                                                uint64_t from)
{
    const struct aee__memory_area *next = NULL;
    for (uint32_t i = 0; i < record->area_count; i++) {
        const struct aee__memory_area *area = &record->areas[i];
        if (area->gva.value >= from && area->size > 0 &&
            (!next || area->gva.value < next->gva.value)) {
            next = area;
        }
    }
    return next;
}

static void add_map(struct aee__json *json, const struct aee__crash_record *record)
{
    const struct aee__memory_area *area = next_area(record, 0);
    aee__json_open(json, "map", '[');
    for (; area; area = next_area(record, area->gva.value + 1)) {
        uint64_t size = area->gva.value == AEE_GVA_HEAP ? record->heap_size : area->size;
        char lane[16];
        const char *what = aee__report_area(area);
        bool of_lane = strcmp(what, "stack") == 0 || strcmp(what, "thread") == 0;
        (void)snprintf(lane, sizeof lane, "lane %u",
                       (unsigned)((area->gva.value - AEE_GVA_STACKS) / AEE_STACK_STRIDE));
        if (area->rights & AEE__PT_USER) {
            add_range(json, area->gva.value, size,
                      area->rights & AEE__PT_WRITE     ? "rw-"
                      : area->rights & AEE__PT_EXECUTE ? "r-x"
                                                       : "r--",
                      what, of_lane ? lane : NULL);
        }
    }
    for (uint32_t i = 0; i < record->region_count; i++) {
        const struct aee__record_region *region = &record->regions[i];
        add_range(json, region->gva, region->size, region->writable ? "rw-" : "r--", "region",
                  region->name);
    }
    aee__json_close(json, ']');
}

void aee__report_json(struct aee__context *context, const struct aee__crash_record *record,
                      bool trace, struct aee__json *json)
{
    aee__json_open(json, NULL, '{');
    aee__json_uint(json, "aee_crash", 1);
    aee__json_string(json, "library", AEE_VERSION_STRING);
    aee__json_string(json, "context", context->name);
    aee__json_string(json, "kind", aee_kind_name(context->kind));
    aee__json_string(json, "level", aee_level_name(context->core->ops->level));
    add_crash(json, record);
    if (trace) {
        add_trace(json, record);
    }
    add_lanes(json, context, record);
    add_log(json, record);
    add_map(json, record);
    aee__json_close(json, '}');
}

/* ---- The last crash ----------------------------------------------------------------------- */

static bool copy_last(struct aee__context *context, struct aee__crash_record *to)
{
    struct aee__crash_keep *keep = &context->keep;
    (void)pthread_mutex_lock(&keep->lock);
    bool any = keep->record && keep->record->crash.id > 0;
    if (any) {
        aee__crash_record_copy(to, keep->record);
    }
    (void)pthread_mutex_unlock(&keep->lock);
    return any;
}

aee_result aee__report_last(struct aee__context *context, bool trace, struct aee__json *json,
                            aee_error *error)
{
    const struct aee__alloc *alloc = &context->core->alloc;
    struct aee__crash_record *copy = aee__crash_record_create(alloc);
    *json = (struct aee__json){.alloc = alloc};
    if (!copy) {
        return aee__fail(error, AEE_ERR_NO_MEMORY,
                         "cannot report the crash of context \"%s\": out of memory", context->name);
    }
    aee_result result = AEE_OK;
    if (copy_last(context, copy)) {
        aee__report_json(context, copy, trace, json);
        if (json->failed) {
            result = aee__fail(error, AEE_ERR_NO_MEMORY,
                               "cannot report the crash of context \"%s\": out of memory",
                               context->name);
        }
    } else {
        result =
            aee__fail(error, AEE_ERR_NOT_FOUND, "context \"%s\" has not crashed", context->name);
    }
    aee__crash_record_destroy(copy, alloc);
    return result;
}
