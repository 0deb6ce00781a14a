/* crash_show.c: the verb crash. Shows the report of a crash from its file, or from the note in a
 * core file. Both may come from anywhere: what they say is printed, and nothing else done with it.
 */
#include <elf.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "term.h"

#define FILE_MAX (64L << 20) /* bytes of a report, and of a core file's notes */
#define NOTE_OWNER "AEE"
#define NOTE_TYPE 0x41454501u

/* ---- Reading ------------------------------------------------------------------------------ */

static int complain(const char *path, const char *what)
{
    (void)fputs("aee crash: ", stderr);
    term_print_safe(stderr, path);
    (void)fprintf(stderr, ": %s\n", what);
    return CLI_IMAGE;
}

/* `size` bytes at an offset, to be freed; NULL: they are not there. */
static char *read_at(FILE *file, long offset, long size)
{
    char *bytes = size >= 0 && size <= FILE_MAX ? malloc((size_t)size + 1) : NULL;
    if (!bytes || fseek(file, offset, SEEK_SET) != 0 ||
        fread(bytes, 1, (size_t)size, file) != (size_t)size) {
        free(bytes);
        return NULL;
    }
    bytes[size] = '\0';
    return bytes;
}

/* The library's note among `size` bytes of notes. */
static const char *find_note(const char *notes, size_t size, size_t *length)
{
    size_t at = 0;
    Elf64_Nhdr header;
    while (size - at >= sizeof header) {
        memcpy(&header, notes + at, sizeof header);
        at += sizeof header;
        const size_t name = ((size_t)header.n_namesz + 3) & ~(size_t)3;
        const size_t content = ((size_t)header.n_descsz + 3) & ~(size_t)3;
        if (name > size - at || content > size - at - name) {
            return NULL;
        }
        if (header.n_type == NOTE_TYPE && header.n_namesz == sizeof NOTE_OWNER &&
            memcmp(notes + at, NOTE_OWNER, sizeof NOTE_OWNER) == 0) {
            *length = header.n_descsz;
            return notes + at + name;
        }
        at += name + content;
    }
    return NULL;
}

/* The report in a core file, as a text of its own; NULL: there is none. */
static char *read_core(FILE *file)
{
    Elf64_Ehdr header;
    Elf64_Phdr notes = {0};
    rewind(file);
    if (fread(&header, sizeof header, 1, file) != 1 || header.e_type != ET_CORE ||
        header.e_phoff > FILE_MAX || fseek(file, (long)header.e_phoff, SEEK_SET) != 0) {
        return NULL;
    }
    for (unsigned i = 0; i < header.e_phnum && notes.p_type != PT_NOTE; i++) {
        if (fread(&notes, sizeof notes, 1, file) != 1) {
            return NULL;
        }
    }
    if (notes.p_type != PT_NOTE || notes.p_filesz > FILE_MAX || notes.p_offset > INT64_MAX) {
        return NULL;
    }
    char *bytes = read_at(file, (long)notes.p_offset, (long)notes.p_filesz);
    size_t length = 0;
    const char *report = bytes ? find_note(bytes, notes.p_filesz, &length) : NULL;
    char *copy = report ? malloc(length + 1) : NULL;
    if (copy) {
        memcpy(copy, report, length);
        copy[length] = '\0';
    }
    free(bytes);
    return copy;
}

/* The text of the report; NULL after a complaint. */
static char *read_report(const char *path)
{
    char magic[SELFMAG] = {0};
    char *text = NULL;
    const char *what = "cannot be read";
    FILE *file = fopen(path, "rbe");
    if (file) {
        const size_t got = fread(magic, 1, sizeof magic, file);
        if (got == sizeof magic && memcmp(magic, ELFMAG, SELFMAG) == 0) {
            text = read_core(file);
            what = "not a core file of this library";
        } else if (fseek(file, 0, SEEK_END) == 0) {
            text = read_at(file, 0, ftell(file));
        }
        (void)fclose(file);
    }
    if (!text) {
        (void)complain(path, what);
    }
    return text;
}

/* ---- Fields ------------------------------------------------------------------------------- */

static const char *string_of(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value ? value : "";
}

static uint64_t number_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) ? strtoull(json_string_value(value), NULL, 0)
                                 : (uint64_t)json_integer_value(value);
}

static bool is_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

static void heading(const struct term *term, const char *text)
{
    (void)fputc('\n', term->out);
    term_colored(term, TERM_NEUTRAL, text);
    (void)fputc('\n', term->out);
}

/* ---- Parts -------------------------------------------------------------------------------- */

static void show_head(const struct term *term, const json_t *report)
{
    term_colored(term, TERM_BAD,
                 strcmp(string_of(report, "cause"), "hung") == 0 ? "hang: " : "crash: ");
    term_print_safe(term->out, string_of(report, "text"));
    (void)fprintf(term->out, "\nnumber %" PRIu64 " of its context, at ", number_of(report, "id"));
    term_print_safe(term->out, string_of(report, "time"));
    (void)fprintf(term->out, ", frame %" PRIu64 "; level ", number_of(report, "frame"));
    term_print_safe(term->out, string_of(report, "level"));
    (void)fputs(", library ", term->out);
    term_print_safe(term->out, string_of(report, "library"));
    (void)fputc('\n', term->out);
}

static void show_place(const struct term *term, const json_t *frame)
{
    if (number_of(frame, "line") > 0) {
        (void)fputs(" at ", term->out);
        term_print_safe(term->out, string_of(frame, "file"));
        (void)fprintf(term->out, ":%" PRIu64, number_of(frame, "line"));
    }
}

static void show_trace(const struct term *term, const json_t *report)
{
    const json_t *trace = json_object_get(report, "trace");
    size_t index;
    json_t *frame;
    if (json_array_size(trace) == 0) {
        return;
    }
    heading(term, "stack trace");
    json_array_foreach(trace, index, frame)
    {
        const char *function = string_of(frame, "function");
        (void)fprintf(term->out, "  %-3zu 0x%016" PRIx64 "  ", index, number_of(frame, "pc"));
        term_print_safe(term->out, function[0] ? function : "(no function)");
        if (is_true(frame, "inlined")) {
            (void)fputs(" (inlined)", term->out);
        } else if (function[0] && function[0] != '(') {
            (void)fprintf(term->out, "+0x%" PRIx64, number_of(frame, "offset"));
        }
        show_place(term, frame);
        (void)fputs(is_true(frame, "guessed") ? " (a guess)" : "", term->out);
        (void)fputc('\n', term->out);
    }
    if (string_of(report, "trace_note")[0]) {
        (void)fputs("  no more than that: ", term->out);
        term_print_safe(term->out, string_of(report, "trace_note"));
        (void)fputc('\n', term->out);
    }
}

static void show_registers(const struct term *term, const json_t *object, const json_t *points_to)
{
    json_t *registers = json_object_get(object, "registers");
    const char *name;
    json_t *value;
    unsigned column = 0;
    if (!points_to) { /* four in a line */
        json_object_foreach(registers, name, value)
        {
            (void)fprintf(
                term->out, "%s%-6.6s %016llx", column % 4 == 0 ? "  " : "   ", name,
                strtoull(json_string_value(value) ? json_string_value(value) : "0", NULL, 0));
            (void)fputs(++column % 4 == 0 ? "\n" : "", term->out);
        }
        (void)fputs(column % 4 != 0 ? "\n" : "", term->out);
        return;
    }
    json_object_foreach(registers, name, value)
    {
        const char *text = json_string_value(value) ? json_string_value(value) : "0";
        (void)fprintf(term->out, "  %-6.6s 0x%016llx", name, strtoull(text, NULL, 0));
        if (string_of(points_to, name)[0]) {
            (void)fputs("  ", term->out);
            term_print_safe(term->out, string_of(points_to, name));
        }
        (void)fputc('\n', term->out);
    }
}

static const char *call_name(const json_t *call)
{
    return json_is_string(call) ? json_string_value(call) : string_of(call, "function");
}

/* Runs of the same call are one line. */
static void show_calls(const struct term *term, const json_t *lane, const char *which)
{
    const json_t *calls = json_object_get(lane, which);
    const size_t count = json_array_size(calls);
    for (size_t first = 0; first < count;) {
        const json_t *call = json_array_get(calls, first);
        const bool open = json_is_object(call) && !is_true(call, "answered");
        size_t end = first + 1;
        while (end < count && strcmp(call_name(json_array_get(calls, end)), call_name(call)) == 0 &&
               is_true(json_array_get(calls, end), "answered") == is_true(call, "answered")) {
            end++;
        }
        (void)fputs("  ", term->out);
        term_print_safe(term->out, call_name(call));
        if (end - first > 1) {
            (void)fprintf(term->out, ", %zu times", end - first);
        }
        (void)fputs(open ? ", not answered\n" : "\n", term->out);
        first = end;
    }
}

static void show_lanes(const struct term *term, const json_t *report)
{
    const json_t *lanes = json_object_get(report, "lanes");
    size_t index;
    json_t *lane;
    json_array_foreach(lanes, index, lane)
    {
        char text[96];
        const bool crashed = strcmp(string_of(lane, "state"), "crashed") == 0;
        if (!crashed) {
            (void)snprintf(text, sizeof text, "lane %zu, %.20s", index, string_of(lane, "state"));
            heading(term, text);
            show_registers(term, lane, NULL);
        }
        if (json_array_size(json_object_get(lane, "calls")) > 0) {
            (void)snprintf(text, sizeof text, "last calls of lane %zu, newest first", index);
            heading(term, text);
            show_calls(term, lane, "calls");
        }
        if (json_array_size(json_object_get(lane, "host_calls")) > 0) {
            (void)snprintf(text, sizeof text, "last host calls of lane %zu, newest first", index);
            heading(term, text);
            show_calls(term, lane, "host_calls");
        }
    }
}

static void show_log(const struct term *term, const json_t *report)
{
    const json_t *log = json_object_get(report, "log");
    size_t index;
    json_t *line;
    if (json_array_size(log) == 0) {
        return;
    }
    heading(term, "end of the log");
    json_array_foreach(log, index, line)
    {
        char level[16];
        (void)snprintf(level, sizeof level, "%.8s", string_of(line, "level"));
        (void)fputs("  ", term->out);
        const bool bad = strcmp(level, "error") == 0;
        (void)snprintf(level, sizeof level, "%-7.7s", string_of(line, "level"));
        if (bad) {
            term_colored(term, TERM_BAD, level);
        } else {
            term_print_safe(term->out, level);
        }
        (void)fputs("  ", term->out);
        term_print_safe(term->out, string_of(line, "text"));
        (void)fputc('\n', term->out);
    }
}

static void show_map(const struct term *term, const json_t *report)
{
    const json_t *map = json_object_get(report, "map");
    size_t index;
    json_t *area;
    if (json_array_size(map) == 0) {
        return;
    }
    heading(term, "memory map");
    json_array_foreach(map, index, area)
    {
        const uint64_t size = number_of(area, "size");
        (void)fprintf(term->out, "  0x%012" PRIx64 "  %8" PRIu64 " KiB  ", number_of(area, "start"),
                      size / 1024);
        term_print_safe(term->out, string_of(area, "rights"));
        (void)fputs("  ", term->out);
        term_print_safe(term->out, string_of(area, "what"));
        if (string_of(area, "name")[0]) {
            (void)fputc(' ', term->out);
            term_print_safe(term->out, string_of(area, "name"));
        }
        (void)fputc('\n', term->out);
    }
}

/* ---- The verb ----------------------------------------------------------------------------- */

static int show(const char *path, bool as_json)
{
    struct term term;
    json_error_t error;
    char *text = read_report(path);
    if (!text) {
        return CLI_IMAGE;
    }
    json_t *report = json_loads(text, 0, &error);
    int status = CLI_OK;
    if (!json_is_object(report) || json_integer_value(json_object_get(report, "aee_crash")) != 1) {
        status = complain(path, report ? "not the report of a crash, or of another version"
                                       : "not a JSON document");
    } else if (as_json) {
        (void)fputs(text, stdout);
    } else {
        term_open(&term, stdout);
        show_head(&term, report);
        show_trace(&term, report);
        heading(&term, "registers");
        show_registers(&term, report, json_object_get(report, "points_to"));
        show_lanes(&term, report);
        show_log(&term, report);
        show_map(&term, report);
    }
    json_decref(report);
    free(text);
    return status;
}

static int crash(int argc, char **argv)
{
    const char *path = NULL;
    bool as_json = false;
    if (argc < 2 || strcmp(argv[1], "show") != 0) {
        return cli_usage("crash", "what to do is missing: show");
    }
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            as_json = true;
        } else if (argv[i][0] == '-') {
            return cli_usage("crash", "there is no option '%s'", argv[i]);
        } else if (path) {
            return cli_usage("crash", "one file at a time, not '%s', too", argv[i]);
        } else {
            path = argv[i];
        }
    }
    return path ? show(path, as_json) : cli_usage("crash", "a file is missing");
}

const struct cli_verb cli_crash = {
    .name = "crash",
    .summary = "shows the report of a crash",
    .help =
        "usage: aee crash show FILE [--json]\n"
        "\n"
        "Shows what is known of a crash: why, the stack trace with source lines, registers and\n"
        "what they point to, the last calls and host calls, the end of the log, the memory map.\n"
        "FILE is a report (.json) or a core file (.core), as `aee run --core-dir DIR` and\n"
        "aee_set_crash_files() leave them. `gdb IMAGE FILE.core` opens the latter, too.\n"
        "\n"
        "  --json  the report as it is, one JSON object\n"
        "\n"
        "exit codes: 0 shown, 2 wrong command line, 3 the file cannot be read or is no report\n",
    .run = crash,
};
