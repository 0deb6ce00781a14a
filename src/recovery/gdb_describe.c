/* gdb_describe.c: documents that gdb reads about a component: the target description (gdb's manual,
 * appendix G), its threads, its file, and where it was put. */
#include <elf.h>
#include <string.h>

#include "isolation/fault.h"
#include "recovery/gdb_internal.h"

#define R64(name) "<reg name=\"" name "\" bitsize=\"64\" type=\"int64\"/>"
#define P64(name, type) "<reg name=\"" name "\" bitsize=\"64\" type=\"" type "\"/>"
#define R32(name, group) "<reg name=\"" name "\" bitsize=\"32\" type=\"int\"" group "/>"
#define FLOAT " group=\"float\""
#define ST(name) "<reg name=\"" name "\" bitsize=\"80\" type=\"i387_ext\"/>"
#define XMM(name) "<reg name=\"" name "\" bitsize=\"128\" type=\"vec128\"/>"

/* The same order as in gdb_registers.c. */
static const char target_description[] =
    "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
    "<architecture>i386:x86-64</architecture><osabi>GNU/Linux</osabi>"
    "<feature name=\"org.gnu.gdb.i386.core\">"
    "<flags id=\"i386_eflags\" size=\"4\"><field name=\"CF\" start=\"0\" end=\"0\"/>"
    "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
    "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
    "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
    "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
    "<field name=\"RF\" start=\"16\" end=\"16\"/><field name=\"AC\" start=\"18\" end=\"18\"/>"
    "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>" R64("rax") R64("rbx") R64("rcx") R64(
        "rdx") R64("rsi") R64("rdi") P64("rbp", "data_ptr") P64("rsp", "data_ptr") R64("r8")
        R64("r9") R64("r10") R64("r11") R64("r12") R64("r13") R64("r14") R64("r15")
            P64("rip", "code_ptr") "<reg name=\"eflags\" bitsize=\"32\" type=\"i386_eflags\"/>" R32(
                "cs", "") R32("ss", "") R32("ds", "") R32("es", "") R32("fs", "") R32("gs", "")
                ST("st0") ST("st1") ST("st2") ST("st3") ST("st4") ST("st5") ST("st6") ST("st7") R32(
                    "fctrl", FLOAT) R32("fstat", FLOAT) R32("ftag", FLOAT) R32("fiseg", FLOAT)
                    R32("fioff", FLOAT) R32("foseg", FLOAT) R32("fooff", FLOAT) R32(
                        "fop",
                        FLOAT) "</feature><feature name=\"org.gnu.gdb.i386.sse\">"
                               "<vector id=\"v8bf16\" type=\"bfloat16\" count=\"8\"/>"
                               "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
                               "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
                               "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
                               "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
                               "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
                               "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
                               "<union id=\"vec128\"><field name=\"v8_bfloat16\" type=\"v8bf16\"/>"
                               "<field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" "
                               "type=\"v2d\"/>"
                               "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" "
                               "type=\"v8i16\"/>"
                               "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" "
                               "type=\"v2i64\"/>"
                               "<field name=\"uint128\" type=\"uint128\"/></union>"
                               "<flags id=\"i386_mxcsr\" size=\"4\"><field name=\"IE\" start=\"0\" "
                               "end=\"0\"/>"
                               "<field name=\"DE\" start=\"1\" end=\"1\"/><field name=\"ZE\" "
                               "start=\"2\" end=\"2\"/>"
                               "<field name=\"OE\" start=\"3\" end=\"3\"/><field name=\"UE\" "
                               "start=\"4\" end=\"4\"/>"
                               "<field name=\"PE\" start=\"5\" end=\"5\"/><field name=\"DAZ\" "
                               "start=\"6\" end=\"6\"/>"
                               "</flags>" XMM("xmm0") XMM("xmm1") XMM("xmm2") XMM("xmm3")
                                   XMM("xmm4") XMM("xmm5") XMM("xmm6") XMM("xmm7") XMM("xmm8")
                                       XMM("xmm9") XMM("xmm10") XMM("xmm11") XMM("xmm12")
                                           XMM("xmm13") XMM("xmm14")
                                               XMM("xmm15") "<reg name=\"mxcsr\" bitsize=\"32\" "
                                                            "type=\"i386_mxcsr\" group=\"vector\"/>"
                                                            "</feature><feature "
                                                            "name=\"org.gnu.gdb.i386.linux\">"
                                                            "<reg name=\"orig_rax\" bitsize=\"64\" "
                                                            "type=\"int\" group=\"system\"/>"
                                                            "</feature><feature "
                                                            "name=\"org.gnu.gdb.i386.segments\">"
                                                            "<reg name=\"fs_base\" bitsize=\"64\" "
                                                            "type=\"int\"/>"
                                                            "<reg name=\"gs_base\" bitsize=\"64\" "
                                                            "type=\"int\"/></feature></target>";

/* A document under construction. */
struct text {
    char bytes[2048];
    size_t size;
};

static void add(struct text *text, const void *bytes, size_t size)
{
    if (size <= sizeof text->bytes - text->size) {
        memcpy(text->bytes + text->size, bytes, size);
        text->size += size;
    }
}

static void add_text(struct text *text, const char *string)
{
    add(text, string, strlen(string));
}

/* Names of functions are the component's words. */
static void add_name(struct text *text, const char *name)
{
    for (; *name; name++) {
        bool plain = *name >= ' ' && *name <= '~' && !strchr("<>&\"'", *name);
        add(text, plain ? name : "?", 1);
    }
}

static void add_thread(const struct aee__debugger *debugger, uint32_t index, struct text *text)
{
    const struct aee__instance *instance = debugger->subject;
    int32_t called = aee__lane_called(&instance->lanes[index]);
    char lane[2] = {(char)('0' + index), '\0'};
    char id[2] = {(char)('1' + index), '\0'};
    add_text(text, "<thread id=\"");
    add_text(text, id);
    add_text(text, "\" name=\"lane ");
    add_text(text, lane);
    add_text(text, "\">");
    add_text(text, called == AEE__CALLED_NOTHING ? "no call" : "in ");
    add_name(text, called >= 0 ? instance->image->image->exports[called].name
                   : called == AEE__CALLED_INITIALISER ? "its initialiser"
                                                       : "");
    add_text(text, "</thread>");
}

static void add_threads(const struct aee__debugger *debugger, struct text *text)
{
    add_text(text, "<?xml version=\"1.0\"?><threads>");
    for (uint32_t i = 0; i < aee__gdb_lanes(debugger); i++) {
        add_thread(debugger, i, text);
    }
    add_text(text, "</threads>");
}

/* By the entry point gdb finds out where a position-independent image was put. */
static void add_auxv(const struct aee__debugger *debugger, struct text *text)
{
    const Elf64_auxv_t list[] = {
        {.a_type = AT_PAGESZ, .a_un = {.a_val = 4096}},
        {.a_type = AT_ENTRY, .a_un = {.a_val = debugger->subject->image->image->entry}},
        {.a_type = AT_NULL}};
    bool known = list[1].a_un.a_val != 0;
    add(text, list, known ? sizeof list : 0);
}

/* The part that was asked for: 'm' and more is there, or 'l' and that is the last. */
static void answer(struct aee__debugger *debugger, const char *bytes, size_t size,
                   const char *where)
{
    uint64_t offset;
    uint64_t length;
    if (!aee__gdb_number_and(&where, ',', &offset) || !aee__gdb_number(&where, &length)) {
        aee__gdb_add(&debugger->out, "E01");
        return;
    }
    uint64_t left = offset < size ? size - offset : 0;
    uint64_t most = AEE__GDB_PACKET / 2 - 1; /* each byte may need an escape */
    length = length < most ? length : most;
    aee__gdb_add(&debugger->out, length < left ? "m" : "l");
    if (left > 0) {
        aee__gdb_add_binary(&debugger->out, bytes + offset,
                            (size_t)(length < left ? length : left));
    }
}

/* What follows `name` in a request, or NULL. */
static const char *after(const char *request, const char *name)
{
    size_t length = strlen(name);
    return strncmp(request, name, length) == 0 ? request + length : NULL;
}

/* Up to the annex's end: gdb may name the process there. */
static const char *behind_annex(const char *request)
{
    const char *colon = request ? strchr(request, ':') : NULL;
    return colon ? colon + 1 : NULL;
}

void aee__gdb_transfer(struct aee__debugger *debugger, const char *request)
{
    struct text text = {.size = 0};
    const char *where = after(request, "features:read:target.xml:");
    if (where) {
        answer(debugger, target_description, sizeof target_description - 1, where);
        return;
    }
    if (!debugger->subject) {
        aee__gdb_add(&debugger->out, "E01");
        return;
    }
    if ((where = after(request, "threads:read::")) != NULL) {
        add_threads(debugger, &text);
    } else if ((where = after(request, "auxv:read::")) != NULL) {
        add_auxv(debugger, &text);
    } else if ((where = behind_annex(after(request, "exec-file:read:"))) != NULL &&
               debugger->file[0]) {
        add_text(&text, debugger->file);
    } else {
        aee__gdb_add(&debugger->out, "E00");
        return;
    }
    answer(debugger, text.bytes, text.size, where);
}
