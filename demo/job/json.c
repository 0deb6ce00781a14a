/* json.c: the same report for programs; docs/demo.md names the fields. */
#include <inttypes.h>
#include <stdio.h>

#include "demo.h"

/* Names and sentences come partly from components: nothing but printable ASCII goes out as it is.
 */
static void print_string(const char *name, const char *text)
{
    (void)printf("\"%s\": \"", name);
    for (; *text; text++) {
        const unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') {
            (void)printf("\\%c", byte);
        } else if (byte >= 0x20 && byte < 0x7f) {
            (void)putchar(byte);
        } else {
            (void)printf("\\u%04x", byte);
        }
    }
    (void)putchar('"');
}

static const char *comma(uint32_t index)
{
    return index > 0 ? ",\n" : "\n";
}

static void print_contexts(const struct demo *demo)
{
    (void)fputs("  \"contexts\": [", stdout);
    for (uint32_t i = 0; i < ACTORS; i++) {
        const struct actor_record *record = &demo->record.actors[i];
        aee_context_info info = {0};
        (void)aee_get_context_info(demo->engine, demo->actors[i].context, &info, NULL);
        (void)printf(
            "%s    {\"name\": \"%s\", \"kind\": \"%s\", \"level\": \"%s\", \"state\": \"%s\", ",
            comma(i), record->name, aee_kind_name(info.kind), aee_level_name(info.level),
            aee_state_name(info.state));
        (void)printf("\"calls\": %" PRIu64 ", \"frames_called\": %u, \"frames_skipped\": %u, "
                     "\"frames_failed\": %u, \"p50_ns\": %" PRIu64 ", \"p99_ns\": %" PRIu64 ", ",
                     info.calls, record->called, record->skipped, record->failed,
                     info.latency_p50_ns, info.latency_p99_ns);
        (void)printf("\"crashes\": %" PRIu64 ", \"hangs\": %" PRIu64 ", \"restarts\": %" PRIu64
                     ", \"restores\": %" PRIu64 ", \"kept_frame\": %u, \"memory_bytes\": %" PRIu64
                     "}",
                     info.crashes, info.hangs, info.restarts, info.restores, record->kept_frame,
                     info.memory_resident);
    }
    (void)fputs("\n  ],\n", stdout);
}

static void print_late(const struct demo *demo)
{
    uint32_t printed = 0;
    (void)printf("  \"late_frames\": %u,\n  \"late\": [", demo->late_count);
    for (int i = 0; i <= ACTORS; i++) {
        const struct late_frames *late = &demo->late[i];
        if (late->count == 0) {
            continue;
        }
        (void)printf("%s    {\"culprit\": \"%s\", \"count\": %u, \"worst_frame\": %u, "
                     "\"worst_ns\": %" PRIu64 ", \"usual_ns\": %" PRIu64 ", \"stopped\": %s}",
                     comma(printed++), i < ACTORS ? demo->actors[i].name : "engine", late->count,
                     late->worst_frame, late->worst_ns, late->usual_ns,
                     late->stopped ? "true" : "false");
    }
    (void)fputs("\n  ],\n", stdout);
}

static void print_attacks(const struct record *record)
{
    (void)fputs("  \"attacks\": [", stdout);
    for (uint32_t i = 0; i < record->attack_count; i++) {
        const struct attack_record *attack = &record->attacks[i];
        (void)printf("%s    {\"frame\": %u, ", comma(i), attack->frame);
        print_string("name", attack->name);
        (void)printf(", \"result\": \"%s\", \"contained\": %s}", aee_result_name(attack->result),
                     attack_contained(attack) ? "true" : "false");
    }
    (void)fputs("\n  ],\n", stdout);
}

void report_json(const struct demo *demo, const struct verdict *verdict)
{
    (void)printf("{\n  \"version\": \"%s\",\n  \"level\": \"%s\",\n  \"frames\": %u,\n",
                 aee_version(), aee_level_name(demo->level), demo->options.frames);
    print_contexts(demo);
    print_late(demo);
    print_attacks(&demo->record);
    (void)fputs("  \"checks\": [", stdout);
    for (uint32_t i = 0; i < verdict->count; i++) {
        (void)printf("%s    {\"passed\": %s, ", comma(i),
                     verdict->checks[i].passed ? "true" : "false");
        print_string("text", verdict->checks[i].text);
        (void)putchar('}');
    }
    (void)printf("\n  ],\n  \"passed\": %s\n}\n", verdict->passed ? "true" : "false");
}
