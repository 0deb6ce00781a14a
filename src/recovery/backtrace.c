#include "recovery/backtrace.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "isolation/context.h"
#include "recovery/debug_check.h"

/* How far from the stack pointer the library's frames reach at most. */
#define LIBRARY_FRAME 4096u
/* Callers that are taken for such without a rule. */
#define GUESSES_MAX 16u

struct walk {
    struct aee__stack_view stack;
    struct aee__kept_file *file;
    const struct aee__image *image;
    Dwfl *dwfl;
    struct aee__frame *frames;
    uint32_t capacity;
    uint32_t count;
    aee_registers start;
    bool behind_call; /* of the start's rip */
    bool complete;    /* it led to the library's code, which had called */
};

/* ---- Memory as it was --------------------------------------------------------------------- */

static bool read_stack(const struct aee__stack_view *stack, uint64_t gva, uint64_t *word)
{
    uint64_t at = gva - stack->start;
    if (at >= stack->size || stack->size - at < sizeof *word) {
        return false;
    }
    memcpy(word, stack->bytes + at, sizeof *word);
    return true;
}

/* What the image has at an address: for code and constants that is what the memory has. */
static const uint8_t *image_bytes(const struct aee__image *image, uint64_t gva, uint64_t size)
{
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct aee__segment *segment = &image->segments[i];
        uint64_t at = gva - segment->data_start;
        if (!(segment->rights & AEE__SEG_WRITE) && at < segment->data_size &&
            segment->data_size - at >= size) {
            return image->data + segment->data_offset + at;
        }
    }
    return NULL;
}

static bool is_code(const struct aee__image *image, uint64_t gva)
{
    for (uint32_t i = 0; i < image->segment_count; i++) {
        const struct aee__segment *segment = &image->segments[i];
        if (gva - segment->start < segment->size) {
            return (segment->rights & AEE__SEG_EXECUTE) != 0;
        }
    }
    return false;
}

/* A call instruction ends there (SDM vol. 2A, CALL): E8 with four bytes, or FF /2 with an operand
 * of one to six. */
static bool is_behind_call(const struct aee__image *image, uint64_t gva)
{
    const uint8_t *code = is_code(image, gva - 1) ? image_bytes(image, gva - 7, 7) : NULL;
    if (!code) {
        return false;
    }
    for (unsigned operand = 1; operand <= 6; operand++) {
        if (code[6 - operand] == 0xff && ((code[7 - operand] >> 3) & 7) == 2) {
            return true;
        }
    }
    return code[2] == 0xe8;
}

/* ---- Where the component left its own code ------------------------------------------------ */

static bool in_library(uint64_t gva)
{
    return gva >= AEE_GVA_VDSO && gva < AEE_GVA_INFO;
}

/* The library's code has no rules for its frames: the first word that is a return address into the
 * component's code is taken. */
static bool leave_library(struct walk *walk)
{
    uint64_t rsp = walk->start.rsp;
    for (uint64_t at = rsp & ~UINT64_C(7); at - rsp + 8 < LIBRARY_FRAME; at += 8) {
        uint64_t word;
        if (!read_stack(&walk->stack, at, &word)) {
            return false;
        }
        if (is_behind_call(walk->image, word)) {
            walk->start.rip = word;
            walk->start.rsp = at + 8;
            walk->behind_call = true;
            return true;
        }
    }
    return false;
}

/* A call to where no code is has left the address to come back to on the stack. */
static bool leave_nowhere(struct walk *walk)
{
    uint64_t word;
    if (!read_stack(&walk->stack, walk->start.rsp, &word) || !is_behind_call(walk->image, word)) {
        return false;
    }
    walk->start.rip = word;
    walk->start.rsp += 8;
    walk->behind_call = true;
    return true;
}

static struct aee__frame *add_frame(struct walk *walk, uint64_t pc, const char *function)
{
    if (walk->count == walk->capacity) {
        return NULL;
    }
    struct aee__frame *frame = &walk->frames[walk->count++];
    memset(frame, 0, sizeof *frame);
    frame->pc = pc;
    if (function) {
        aee__text_copy(frame->function, sizeof frame->function, function, sizeof frame->function);
    }
    return frame;
}

/* False: there is no way from the crash into the component's code. */
static bool begin(struct walk *walk)
{
    uint64_t rip = walk->start.rip;
    bool library = in_library(rip);
    if (is_code(walk->image, rip)) {
        return true;
    }
    bool found = library ? leave_library(walk) : leave_nowhere(walk);
    if (!library || !found) {
        (void)add_frame(walk, rip, library ? "(the library)" : "");
    }
    return found;
}

/* ---- One frame in words ------------------------------------------------------------------- */

static void set_place(struct aee__frame *frame, const char *file, int line, int column)
{
    if (file && line > 0) {
        aee__text_copy(frame->file, sizeof frame->file, file, sizeof frame->file);
        frame->line = (uint32_t)line;
        frame->column = column > 0 ? (uint32_t)column : 0;
    }
}

static const char *die_name(Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    return dwarf_formstring(dwarf_attr_integrate(die, DW_AT_name, &attribute));
}

/* Where the code of an inlined function was called. */
static void set_call_place(struct aee__frame *frame, Dwarf_Die *unit, Dwarf_Die *inlined)
{
    Dwarf_Attribute attribute;
    Dwarf_Word file = 0;
    Dwarf_Word line = 0;
    Dwarf_Files *files;
    size_t count;
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &file) == 0 &&
        dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &line) == 0 &&
        dwarf_getsrcfiles(unit, &files, &count) == 0 && file < count && line < INT32_MAX) {
        set_place(frame, dwarf_filesrc(files, file, NULL, NULL), (int)line, 0);
    }
}

/* The functions that `pc` is in: inlined ones first. False: nothing is known of it. */
static bool add_functions(struct walk *walk, Dwfl_Module *module, uint64_t pc, uint64_t look)
{
    Dwarf_Addr bias;
    Dwarf_Die *unit = dwfl_module_addrdie(module, look, &bias);
    Dwarf_Die *at = NULL;
    Dwarf_Die *around = NULL;
    int found = unit ? dwarf_getscopes(unit, look - bias, &at) : 0;
    int count = found > 0 ? dwarf_getscopes_die(&at[0], &around) : 0;
    struct aee__frame *frame = NULL;
    for (int i = 0; i < count && i < (int)AEE__FRAMES_MAX; i++) {
        int tag = dwarf_tag(&around[i]);
        if (tag != DW_TAG_subprogram && tag != DW_TAG_inlined_subroutine) {
            continue;
        }
        struct aee__frame *next = add_frame(walk, pc, die_name(&around[i]));
        if (!next) {
            break;
        }
        if (frame) {
            set_call_place(next, unit, &around[i - 1]);
        }
        frame = next;
        frame->inlined = tag == DW_TAG_inlined_subroutine;
        if (!frame->inlined) {
            break;
        }
    }
    free(around);
    free(at);
    return frame != NULL;
}

static void describe(struct walk *walk, uint64_t pc, bool behind_call)
{
    uint64_t look = behind_call ? pc - 1 : pc;
    uint64_t offset = 0;
    const char *symbol = aee__image_symbol_at(walk->image, look, &offset);
    uint32_t first = walk->count;
    Dwfl_Module *module = dwfl_addrmodule(walk->dwfl, look);
    if (!module || !add_functions(walk, module, pc, look)) {
        (void)add_frame(walk, pc, symbol);
    }
    if (walk->count == first) {
        return;
    }
    struct aee__frame *outer = &walk->frames[walk->count - 1];
    outer->offset = offset + (behind_call ? 1 : 0);
    if (!outer->function[0] && symbol) {
        aee__text_copy(outer->function, sizeof outer->function, symbol, sizeof outer->function);
    }
    Dwfl_Line *line = module ? dwfl_module_getsrc(module, look) : NULL;
    if (line) {
        int number = 0;
        int column = 0;
        const char *file = dwfl_lineinfo(line, NULL, &number, &column, NULL, NULL);
        set_place(&walk->frames[first], file, number, column);
    }
}

/* ---- Unwinding ---------------------------------------------------------------------------- */

static int find_elf(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr base,
                    char **file_name, Elf **elf)
{
    (void)module;
    (void)name;
    (void)base;
    const struct walk *walk = *user;
    *file_name = NULL;
    *elf = elf_memory((char *)walk->file->bytes, walk->file->size); /* which is only read */
    return -1;
}

/* What the image has is all there is: no file is looked for. */
static int find_no_file(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr base,
                        const char *file_name, const char *link_file, GElf_Word link_crc,
                        char **debug_file)
{
    (void)module;
    (void)user;
    (void)name;
    (void)base;
    (void)file_name;
    (void)link_file;
    (void)link_crc;
    (void)debug_file;
    return -1;
}

static pid_t next_thread(Dwfl *dwfl, void *argument, void **thread_argument)
{
    (void)dwfl;
    if (*thread_argument) {
        return 0;
    }
    *thread_argument = argument;
    return 1;
}

static bool read_memory(Dwfl *dwfl, Dwarf_Addr gva, Dwarf_Word *word, void *argument)
{
    (void)dwfl;
    const struct walk *walk = argument;
    uint64_t value;
    if (!read_stack(&walk->stack, gva, &value)) {
        const uint8_t *bytes = image_bytes(walk->image, gva, sizeof value);
        if (!bytes) {
            return false;
        }
        memcpy(&value, bytes, sizeof value);
    }
    *word = value;
    return true;
}

/* Numbers of registers: System V ABI for x86-64, figure 3.36. A caller is found by its call: the
 * code behind that may be of another function. */
static bool set_registers(Dwfl_Thread *thread, void *argument)
{
    const struct walk *walk = argument;
    const aee_registers *r = &walk->start;
    const Dwarf_Word list[17] = {r->rax,
                                 r->rdx,
                                 r->rcx,
                                 r->rbx,
                                 r->rsi,
                                 r->rdi,
                                 r->rbp,
                                 r->rsp,
                                 r->r8,
                                 r->r9,
                                 r->r10,
                                 r->r11,
                                 r->r12,
                                 r->r13,
                                 r->r14,
                                 r->r15,
                                 r->rip - walk->behind_call};
    return dwfl_thread_state_registers(thread, 0, 17, list);
}

static int take_frame(Dwfl_Frame *state, void *argument)
{
    struct walk *walk = argument;
    Dwarf_Addr pc;
    bool exact;
    if (!dwfl_frame_pc(state, &pc, &exact)) {
        return DWARF_CB_ABORT;
    }
    walk->complete = in_library(pc);
    if (!is_code(walk->image, pc) || walk->count == walk->capacity) {
        return DWARF_CB_ABORT;
    }
    if (exact && walk->behind_call) {
        pc++;
        exact = false;
        walk->behind_call = false;
    }
    describe(walk, pc, !exact);
    return DWARF_CB_OK;
}

/* ---- The whole ---------------------------------------------------------------------------- */

static bool open_image(struct walk *walk)
{
    static const Dwfl_Callbacks callbacks = {.find_elf = find_elf, .find_debuginfo = find_no_file};
    static const Dwfl_Thread_Callbacks threads = {.next_thread = next_thread,
                                                  .memory_read = read_memory,
                                                  .set_initial_registers = set_registers};
    const struct aee__image *image = walk->image;
    const struct aee__segment *last = &image->segments[image->segment_count - 1];
    walk->dwfl = dwfl_begin(&callbacks);
    if (!walk->dwfl) {
        return false;
    }
    dwfl_report_begin(walk->dwfl);
    Dwfl_Module *module =
        dwfl_report_module(walk->dwfl, "image", image->segments[0].start, last->start + last->size);
    void **user = NULL;
    if (!module || !dwfl_module_info(module, &user, NULL, NULL, NULL, NULL, NULL, NULL)) {
        return false;
    }
    *user = walk;
    if (dwfl_report_end(walk->dwfl, NULL, NULL) != 0) {
        return false;
    }
    Dwarf_Addr bias;
    Elf *elf = dwfl_module_getelf(module, &bias);
    return elf && dwfl_attach_state(walk->dwfl, elf, 1, &threads, walk);
}

/* Where libdw cannot help: by the image's own symbols. */
static void take_symbol(struct walk *walk, uint64_t pc, bool guessed)
{
    uint64_t offset = 0;
    const char *symbol = aee__image_symbol_at(walk->image, pc, &offset);
    struct aee__frame *frame = add_frame(walk, pc, symbol);
    if (frame) {
        frame->offset = offset;
        frame->guessed = guessed;
    }
}

/* Without rules for frames: words on the stack that calls may have left there. */
static void guess(struct walk *walk)
{
    uint32_t most = walk->count + GUESSES_MAX;
    uint64_t at = (walk->start.rsp + 7) & ~UINT64_C(7);
    uint64_t word;
    for (; walk->count < most && read_stack(&walk->stack, at, &word); at += 8) {
        if (is_behind_call(walk->image, word)) {
            take_symbol(walk, word, true);
        }
    }
}

uint32_t aee__backtrace(const struct aee__crash_record *record, struct aee__frame *frames,
                        uint32_t capacity, char *why)
{
    struct walk walk = {.stack = {record->stack, record->stack_start, record->stack_size},
                        .frames = frames,
                        .capacity = capacity,
                        .start = record->crash.registers};
    why[0] = '\0';
    if (!record->image || record->image->image->segment_count == 0) {
        return 0;
    }
    walk.image = record->image->image;
    walk.file = record->image->file;
    if (!begin(&walk)) {
        return walk.count;
    }
    const char *bad = aee__debug_check(walk.file->bytes, walk.file->size);
    uint32_t before = walk.count;
    if (!bad && open_image(&walk)) {
        (void)dwfl_getthread_frames(walk.dwfl, 1, take_frame, &walk);
    }
    if (walk.count == before) {
        (void)snprintf(why, AEE__BACKTRACE_WHY, "%s",
                       bad ? bad : "the image's information cannot be used");
        take_symbol(&walk, walk.start.rip, false);
    }
    if (walk.count <= before + 1 && !walk.complete) {
        guess(&walk);
    }
    if (walk.dwfl) {
        dwfl_end(walk.dwfl);
    }
    return walk.count;
}

void aee__stack_view_of(const struct aee__memory *memory, uint64_t rsp,
                        struct aee__stack_view *view)
{
    *view = (struct aee__stack_view){.start = rsp};
    for (uint32_t i = 0; i < memory->area_count; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        if (rsp - area->gva.value < area->size && (area->rights & AEE__PT_WRITE)) {
            uint64_t size = area->gva.value + area->size - rsp;
            view->size = size < AEE__RECORD_STACK ? size : AEE__RECORD_STACK;
            view->bytes = aee__memory_at(memory, (struct aee__gva){rsp}, view->size);
            view->size = view->bytes ? view->size : 0;
            return;
        }
    }
}

aee_registers aee__backtrace_component(const struct aee__image *image,
                                       const aee_registers *registers,
                                       const struct aee__stack_view *stack)
{
    struct walk walk = {.stack = *stack, .image = image, .start = *registers};
    if (in_library(walk.start.rip)) {
        (void)leave_library(&walk);
    }
    return walk.start;
}
