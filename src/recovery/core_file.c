#include "recovery/core_file.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/procfs.h>

#include "base/checked.h"
#include "base/sys.h"
#include "base/sys_file.h"
#include "recovery/backtrace.h"
#include "recovery/core_library.h"

#define PIECE ((size_t)256 * 1024)
#define PARTS_MAX (1 + AEE__MEMORY_MAX_AREAS + AEE__MEMORY_MAX_CHUNKS + AEE__MAPPINGS_MAX)

/* Where the bytes of a part come from. */
enum source { FROM_LIBRARY, FROM_MEMORY, FROM_REGION };

/* A stretch of guest memory. */
struct part {
    uint64_t gva;
    uint64_t size;
    uint64_t offset; /* in its memory file */
    uint64_t at;     /* in the core file */
    enum source source;
    int fd;         /* of a region, to be closed */
    uint32_t flags; /* PF_ */
    bool left_out;
};

struct writer {
    const struct aee__core_content *content;
    const struct aee__alloc *alloc;
    int fd;
    uint32_t part_count;
    struct part parts[PARTS_MAX];
    uint8_t *notes;
    size_t notes_size;
    size_t notes_capacity;
    uint8_t *piece;
    struct aee__pages present; /* of private memory: all others are zero */
};

/* ---- What there is to write --------------------------------------------------------------- */

static struct part *add_part(struct writer *writer, enum source source, uint64_t gva, uint64_t size,
                             uint64_t offset)
{
    if (writer->part_count == PARTS_MAX || size == 0) {
        return NULL;
    }
    struct part *part = &writer->parts[writer->part_count++];
    *part = (struct part){
        .source = source, .gva = gva, .size = size, .fd = -1, .offset = offset, .flags = PF_R};
    return part;
}

static void add_library(struct writer *writer)
{
    struct part *part =
        add_part(writer, FROM_LIBRARY, AEE__CORE_LIBRARY_GVA, AEE__CORE_LIBRARY_SIZE, 0);
    if (part) {
        part->flags |= PF_X;
    }
}

static void add_memory(struct writer *writer)
{
    const struct aee__memory *memory = &writer->content->instance->memory;
    for (uint32_t i = 0; i < memory->area_count; i++) {
        const struct aee__memory_area *area = &memory->areas[i];
        struct part *part =
            area->rights & AEE__PT_USER
                ? add_part(writer, FROM_MEMORY, area->gva.value, area->size, area->offset)
                : NULL;
        if (part) {
            part->flags |= (area->rights & AEE__PT_WRITE ? (uint32_t)PF_W : 0) |
                           (area->rights & AEE__PT_EXECUTE ? (uint32_t)PF_X : 0);
        }
    }
    uint64_t gva = AEE_GVA_HEAP + memory->heap_size;
    for (uint32_t i = memory->chunk_count; i > 1; i--) { /* what the heap has grown by */
        const struct aee__memory_chunk *chunk = &memory->chunks[i - 1];
        gva -= chunk->size;
        struct part *part =
            add_part(writer, FROM_MEMORY, gva, chunk->size, chunk->gpa.value - AEE__GPA_PRIVATE);
        if (part) {
            part->flags |= PF_W;
        }
    }
}

/* Each with a descriptor of its own: the engine may destroy a region at any time. */
static void add_regions(struct writer *writer)
{
    struct aee__context *context = writer->content->instance->context;
    (void)pthread_mutex_lock(&context->lock);
    for (uint32_t i = 0; i < context->mapping_count; i++) {
        const struct aee__mapping *mapping = &context->mappings[i];
        int fd = aee__sys_dup(mapping->region->fd);
        struct part *part =
            fd >= 0 ? add_part(writer, FROM_REGION, aee__region_gva(mapping->region).value,
                               mapping->region->size, 0)
                    : NULL;
        if (part) {
            part->fd = fd;
            part->flags |= mapping->writable ? (uint32_t)PF_W : 0;
        } else {
            (void)aee__sys_close(fd);
        }
    }
    (void)pthread_mutex_unlock(&context->lock);
}

/* The next stretch of present pages of private memory. */
static int next_present(const struct writer *writer, const struct part *part, uint64_t from,
                        uint64_t *start, uint64_t *end)
{
    uint64_t last = (part->offset + part->size) / AEE__PAGE_SIZE;
    uint64_t page = (part->offset + from) / AEE__PAGE_SIZE;
    while (page < last && !aee__pages_has(&writer->present, page)) {
        page++;
    }
    *start = page * AEE__PAGE_SIZE - part->offset;
    while (page < last && aee__pages_has(&writer->present, page)) {
        page++;
    }
    *end = page * AEE__PAGE_SIZE - part->offset;
    return *end > *start;
}

/* The next stretch of a part that holds bytes, from `from` (within the part) on. */
static int next_data(const struct writer *writer, const struct part *part, uint64_t from,
                     uint64_t *start, uint64_t *end)
{
    if (part->source == FROM_LIBRARY) { /* all of it, once */
        *start = 0;
        *end = part->size;
        return from == 0;
    }
    if (part->source == FROM_MEMORY) {
        return next_present(writer, part, from, start, end);
    }
    int64_t hole;
    int64_t data = aee__sys_find_data(part->fd, (int64_t)from, &hole);
    if (data < 0 || (uint64_t)data >= part->size) {
        return data == -1 ? -1 : 0;
    }
    *start = (uint64_t)data;
    *end = (uint64_t)hole < part->size ? (uint64_t)hole : part->size;
    return 1;
}

static aee_result read_failed(aee_error *error)
{
    return aee__fail_os(error, errno, "cannot read the memory of the instance");
}

static int count_data(const struct writer *writer, const struct part *part, uint64_t *bytes)
{
    uint64_t start = 0;
    uint64_t end = 0;
    int found;
    *bytes = 0;
    while ((found = next_data(writer, part, end, &start, &end)) > 0) {
        *bytes += end - start;
    }
    return found;
}

static aee_result choose(struct writer *writer, uint64_t *left_out, aee_error *error)
{
    uint64_t left = writer->content->max_bytes;
    for (uint32_t i = 0; i < writer->part_count; i++) {
        uint64_t bytes;
        if (count_data(writer, &writer->parts[i], &bytes) != 0) {
            return read_failed(error);
        }
        writer->parts[i].left_out = bytes > left;
        if (bytes > left) {
            *left_out += bytes;
        } else {
            left -= bytes;
        }
    }
    return AEE_OK;
}

/* ---- Notes -------------------------------------------------------------------------------- */

static bool add_note(struct writer *writer, const char *owner, uint32_t type, const void *content,
                     size_t size)
{
    Elf64_Nhdr header = {
        .n_namesz = (uint32_t)strlen(owner) + 1, .n_descsz = (uint32_t)size, .n_type = type};
    size_t name_size = (header.n_namesz + 3u) & ~(size_t)3;
    size_t total = sizeof header + name_size + ((size + 3) & ~(size_t)3);
    if (writer->notes_capacity - writer->notes_size < total) {
        size_t capacity = 2 * writer->notes_capacity + total + 4096;
        uint8_t *notes =
            aee__alloc_resize(writer->alloc, writer->notes, writer->notes_capacity, capacity);
        if (!notes) {
            return false;
        }
        writer->notes = notes;
        writer->notes_capacity = capacity;
    }
    uint8_t *at = writer->notes + writer->notes_size;
    memset(at, 0, total);
    memcpy(at, &header, sizeof header);
    memcpy(at + sizeof header, owner, header.n_namesz);
    memcpy(at + sizeof header + name_size, content, size);
    writer->notes_size += total;
    return true;
}

static int signal_of(const aee_crash *crash)
{
    static const uint8_t by_vector[32] = {
        [0] = SIGFPE, [1] = SIGTRAP, [3] = SIGTRAP, [4] = SIGSEGV,
        [6] = SIGILL, [16] = SIGFPE, [17] = SIGBUS, [19] = SIGFPE};
    switch (crash->cause) {
    case AEE_CRASH_EXCEPTION:
        return crash->vector < 32 && by_vector[crash->vector] ? by_vector[crash->vector] : SIGSEGV;
    case AEE_CRASH_SYSCALL:
        return SIGSYS;
    case AEE_CRASH_HUNG:
        return SIGXCPU;
    case AEE_CRASH_KILLED:
    case AEE_CRASH_HOST:
        return SIGKILL;
    case AEE_CRASH_MEMORY:
        return SIGBUS;
    default:
        return SIGABRT;
    }
}

static bool add_lane(struct writer *writer, uint32_t lane, const aee_registers *r)
{
    const struct aee__instance *instance = writer->content->instance;
    struct elf_prstatus status = {.pr_pid = (pid_t)lane + 1, .pr_pgrp = 1, .pr_sid = 1};
    /* In the order of struct user_regs_struct (sys/user.h); selectors are those of Linux. */
    const uint64_t registers[ELF_NGREG] = {r->r15,
                                           r->r14,
                                           r->r13,
                                           r->r12,
                                           r->rbp,
                                           r->rbx,
                                           r->r11,
                                           r->r10,
                                           r->r9,
                                           r->r8,
                                           r->rax,
                                           r->rcx,
                                           r->rdx,
                                           r->rsi,
                                           r->rdi,
                                           UINT64_MAX,
                                           r->rip,
                                           0x33,
                                           r->rflags,
                                           r->rsp,
                                           0x2b,
                                           aee__memory_tcb(lane, &instance->plan).value,
                                           AEE_GVA_LANES + lane * AEE_LANE_STRIDE};
    memcpy(status.pr_reg, registers, sizeof registers);
    /* The same for all, as Linux has it: readers take the last. */
    status.pr_cursig = (short)signal_of(&writer->content->record->crash);
    status.pr_info.si_signo = status.pr_cursig;
    return add_note(writer, "CORE", NT_PRSTATUS, &status, sizeof status);
}

/* Where the file's program headers are in memory, or 0. */
static uint64_t headers_at(const struct aee__image_ref *reference, const Elf64_Ehdr *header)
{
    uint64_t size = header->e_phnum * sizeof(Elf64_Phdr);
    if (header->e_phoff > reference->file->size || reference->file->size - header->e_phoff < size) {
        return 0; /* the bytes changed while they were read */
    }
    for (uint32_t i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr load;
        memcpy(&load, reference->file->bytes + header->e_phoff + i * sizeof load, sizeof load);
        if (load.p_type == PT_LOAD && header->e_phoff - load.p_offset < load.p_filesz) {
            return load.p_vaddr + (header->e_phoff - load.p_offset) + reference->image->bias;
        }
    }
    return 0;
}

/* What tells a debugger where a position-independent image has been placed. */
static bool add_auxiliary(struct writer *writer)
{
    const struct aee__image_ref *reference = writer->content->instance->image;
    Elf64_Ehdr header; /* both were checked when the image was parsed; this is the kept copy */
    memcpy(&header, reference->file->bytes, sizeof header);
    const uint64_t list[][2] = {{AT_PAGESZ, 4096},
                                {AT_PHDR, headers_at(reference, &header)},
                                {AT_PHENT, sizeof(Elf64_Phdr)},
                                {AT_PHNUM, header.e_phnum},
                                {AT_ENTRY, header.e_entry + reference->image->bias},
                                {AT_SYSINFO_EHDR, AEE__CORE_LIBRARY_GVA},
                                {AT_NULL, 0}};
    return add_note(writer, "CORE", NT_AUXV, list, sizeof list);
}

static bool add_process(struct writer *writer)
{
    const struct aee__context *context = writer->content->instance->context;
    struct elf_prpsinfo info = {.pr_sname = 'R', .pr_pid = 1, .pr_pgrp = 1, .pr_sid = 1};
    /* What gdb compares with the name of the image that it is given. */
    (void)snprintf(info.pr_fname, sizeof info.pr_fname, "%.11s.elf", context->name);
    (void)snprintf(info.pr_psargs, sizeof info.pr_psargs, "%s.elf", context->name);
    siginfo_t signal = {.si_signo = signal_of(&writer->content->record->crash)};
    /* An address, of the component: where a fault has one. */
    uint64_t address = writer->content->record->crash.fault_address;
    memcpy(&signal.si_addr, &address, sizeof address);
    return add_note(writer, "CORE", NT_PRPSINFO, &info, sizeof info) &&
           add_note(writer, "CORE", NT_SIGINFO, &signal, sizeof signal);
}

/* The crashed lane first: that is the thread that a debugger shows. */
static bool add_lanes(struct writer *writer)
{
    const struct aee__crash_record *record = writer->content->record;
    struct aee__instance *instance = writer->content->instance;
    uint32_t lanes = atomic_load(&instance->lane_count);
    uint32_t crashed = record->crash.lane < lanes ? record->crash.lane : 0;
    aee_registers registers = aee__backtrace_component(
        record->image->image, &record->crash.registers,
        &(struct aee__stack_view){record->stack, record->stack_start, record->stack_size});
    bool added = add_lane(writer, crashed, &registers);
    for (uint32_t i = 0; i < lanes && added; i++) {
        if (i == crashed) {
            continue;
        }
        struct aee__stack_view view = {0};
        instance->core->ops->lane_registers(instance->vm, i, &registers);
        aee__stack_view_of(&instance->memory, registers.rsp, &view);
        registers = aee__backtrace_component(record->image->image, &registers, &view);
        added = add_lane(writer, i, &registers);
    }
    return added;
}

/* ---- The file ----------------------------------------------------------------------------- */

static aee_result write_failed(aee_error *error)
{
    return aee__fail_os(error, errno, "writing failed");
}

/* `size` bytes of a part, or fewer; NULL: failed. */
static const uint8_t *get(struct writer *writer, const struct part *part, uint64_t at, size_t *size)
{
    if (part->source == FROM_MEMORY) {
        return aee__memory_page(&writer->content->instance->memory, part->offset + at);
    }
    if (part->source == FROM_LIBRARY) {
        aee__core_library(writer->piece);
        return writer->piece;
    }
    *size = *size < PIECE ? *size : PIECE;
    ssize_t got = aee__sys_pread(part->fd, writer->piece, *size, (off_t)at);
    *size = got > 0 ? (size_t)got : 0;
    return got > 0 ? writer->piece : NULL;
}

static aee_result write_part(struct writer *writer, const struct part *part, aee_error *error)
{
    uint64_t start = 0;
    uint64_t end = 0;
    int found;
    while ((found = next_data(writer, part, end, &start, &end)) > 0) {
        for (uint64_t at = start; at < end;) {
            size_t size = end - at;
            const uint8_t *bytes = get(writer, part, at, &size);
            if (!bytes) {
                return read_failed(error);
            }
            if (aee__sys_write_all(writer->fd, bytes, size, part->at + at) != 0) {
                return write_failed(error);
            }
            at += size;
        }
    }
    return found < 0 ? read_failed(error) : AEE_OK;
}

static aee_result write_headers(struct writer *writer, uint64_t *size, aee_error *error)
{
    Elf64_Ehdr header = {.e_type = ET_CORE,
                         .e_machine = EM_X86_64,
                         .e_version = EV_CURRENT,
                         .e_phoff = sizeof header,
                         .e_ehsize = sizeof header,
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = (uint16_t)(writer->part_count + 1)};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    Elf64_Phdr list[PARTS_MAX + 1] = {{.p_type = PT_NOTE, .p_align = 4}};
    list[0].p_offset = sizeof header + header.e_phnum * sizeof(Elf64_Phdr);
    list[0].p_filesz = writer->notes_size;
    uint64_t at = (list[0].p_offset + writer->notes_size + 4095) & ~UINT64_C(4095);
    for (uint32_t i = 0; i < writer->part_count; i++) {
        struct part *part = &writer->parts[i];
        part->at = at;
        list[i + 1] = (Elf64_Phdr){.p_type = PT_LOAD,
                                   .p_flags = part->flags,
                                   .p_offset = at,
                                   .p_vaddr = part->gva,
                                   .p_filesz = part->left_out ? 0 : part->size,
                                   .p_memsz = part->size,
                                   .p_align = 4096};
        at += list[i + 1].p_filesz;
    }
    *size = at;
    return aee__sys_write_all(writer->fd, &header, sizeof header, 0) == 0 &&
                   aee__sys_write_all(writer->fd, list, header.e_phnum * sizeof list[0],
                                      sizeof header) == 0 &&
                   aee__sys_write_all(writer->fd, writer->notes, writer->notes_size,
                                      list[0].p_offset) == 0
               ? AEE_OK
               : write_failed(error);
}

static aee_result write_all(struct writer *writer, uint64_t *left_out, aee_error *error)
{
    const struct aee__core_content *content = writer->content;
    if (!aee__pages_create(&writer->present, writer->alloc, content->instance->memory.file_size)) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "out of memory");
    }
    if (aee__memory_find_present(&content->instance->memory, &writer->present, error) != AEE_OK) {
        return AEE_ERR_SYSTEM;
    }
    add_library(writer);
    add_memory(writer);
    add_regions(writer);
    aee_result result = choose(writer, left_out, error);
    if (result != AEE_OK) {
        return result;
    }
    writer->piece = aee__alloc_zero(writer->alloc, 1, PIECE);
    if (!writer->piece || !add_process(writer) || !add_lanes(writer) || !add_auxiliary(writer) ||
        !add_note(writer, AEE__CORE_NOTE_OWNER, AEE__CORE_NOTE_TYPE, content->report,
                  content->report_size)) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "out of memory");
    }
    uint64_t size = 0;
    result = write_headers(writer, &size, error);
    if (result == AEE_OK && aee__sys_resize(writer->fd, size) != 0) {
        result = write_failed(error); /* the end may be a hole */
    }
    for (uint32_t i = 0; i < writer->part_count && result == AEE_OK; i++) {
        if (!writer->parts[i].left_out) {
            result = write_part(writer, &writer->parts[i], error);
        }
    }
    return result;
}

aee_result aee__core_write(int fd, const struct aee__core_content *content, uint64_t *left_out,
                           aee_error *error)
{
    const struct aee__alloc *alloc = &content->instance->core->alloc;
    *left_out = 0;
    struct writer *writer = aee__alloc_zero(alloc, 1, sizeof *writer);
    if (!writer) {
        return aee__fail(error, AEE_ERR_NO_MEMORY, "out of memory");
    }
    writer->content = content;
    writer->alloc = alloc;
    writer->fd = fd;
    aee_result result = write_all(writer, left_out, error);
    for (uint32_t i = 0; i < writer->part_count; i++) {
        (void)aee__sys_close(writer->parts[i].fd);
    }
    aee__pages_destroy(&writer->present, alloc);
    aee__alloc_free(alloc, writer->piece, PIECE);
    aee__alloc_free(alloc, writer->notes, writer->notes_capacity);
    aee__alloc_free(alloc, writer, sizeof *writer);
    return result;
}
