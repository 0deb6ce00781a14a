#include "crash.h"

#include <inttypes.h>

struct named_register {
    const char *name;
    uint64_t value;
};

enum { REGISTER_COUNT = 18 };

static void name_registers(const aee_registers *from, struct named_register *to)
{
    const struct named_register list[REGISTER_COUNT] = {
        {"rip", from->rip}, {"rsp", from->rsp}, {"rbp", from->rbp}, {"rfl", from->rflags},
        {"rax", from->rax}, {"rbx", from->rbx}, {"rcx", from->rcx}, {"rdx", from->rdx},
        {"rsi", from->rsi}, {"rdi", from->rdi}, {"r8", from->r8},   {"r9", from->r9},
        {"r10", from->r10}, {"r11", from->r11}, {"r12", from->r12}, {"r13", from->r13},
        {"r14", from->r14}, {"r15", from->r15}};
    for (unsigned i = 0; i < REGISTER_COUNT; i++) {
        to[i] = list[i];
    }
}

static const char *cause_name(aee_crash_cause cause)
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

void crash_print(const struct term *term, const aee_crash *crash, bool registers)
{
    enum { PER_LINE = 4 };
    struct named_register list[REGISTER_COUNT];
    term_colored(term, TERM_BAD, crash->cause == AEE_CRASH_HUNG ? "hang: " : "crash: ");
    term_print_safe(term->out, crash->text);
    name_registers(&crash->registers, list);
    for (unsigned i = 0; registers && i < REGISTER_COUNT; i++) {
        (void)fprintf(term->out, "%s%3s %016" PRIx64, i % PER_LINE == 0 ? "\n  " : "  ",
                      list[i].name, list[i].value);
    }
    (void)fputc('\n', term->out);
}

void crash_json(struct json *json, const aee_crash *crash)
{
    if (!crash) {
        json_string(json, "crash", NULL);
        return;
    }
    struct named_register registers[REGISTER_COUNT];
    name_registers(&crash->registers, registers);
    json_open(json, "crash", '{');
    json_uint(json, "id", crash->id);
    json_string(json, "cause", cause_name(crash->cause));
    json_string(json, "text", crash->text);
    json_string(json, "called", crash->called);
    json_string(json, "function", crash->function);
    json_uint(json, "function_offset", crash->function_offset);
    json_uint(json, "lane", crash->lane);
    json_uint(json, "vector", crash->vector);
    json_uint(json, "error_code", crash->error_code);
    json_hex(json, "fault_address", crash->fault_address);
    json_open(json, "registers", '{');
    for (unsigned i = 0; i < REGISTER_COUNT; i++) {
        json_hex(json, registers[i].name, registers[i].value);
    }
    json_close(json, '}');
    json_close(json, '}');
}
