/* report.c: what people see: a line for each event, a status line that stays in place on a
 * terminal, and the table at the end. */
#include <inttypes.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "demo.h"

enum { LIVE_EVERY = 6, PLAIN_EVERY = 100 /* frames between status lines, on and off a terminal */ };

#define CLEAR_LINE "\r\033[K"

static bool is_live(void)
{
    const char *kind = getenv("TERM");
    return isatty(STDOUT_FILENO) == 1 && kind && strcmp(kind, "dumb") != 0;
}

static double to_ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

/* ---- While it runs ------------------------------------------------------------------------- */

static const char *what_each_is(aee_level level)
{
    switch (level) {
    case AEE_LEVEL_FULL:
        return " (a virtual machine each)";
    case AEE_LEVEL_CONTAINER:
        return " (a process each, in namespaces of its own)";
    case AEE_LEVEL_PROCESS:
        return " (a process each)";
    case AEE_LEVEL_NONE:
    case AEE_LEVEL_AUTO:
    default:
        return "";
    }
}

void report_start(const struct demo *demo)
{
    if (demo->options.json) {
        return;
    }
    (void)printf("%d contexts at level %s%s: %d agents, %d particles, two scenes, five mods\n",
                 ACTORS, aee_level_name(demo->level), what_each_is(demo->level), DEMO_AGENTS,
                 DEMO_PARTICLES);
    (void)printf("%u frames %s; four of the mods will misbehave\n\n", demo->options.frames,
                 demo->options.fast ? "as fast as possible" : "at 60 Hz");
}

void report_event(const struct demo *demo, uint32_t frame, const char *name, const char *format,
                  ...)
{
    char text[400];
    va_list args;
    if (demo->options.json) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)printf("%sframe %4u  %-11s %s\n", is_live() ? CLEAR_LINE : "", frame, name, text);
}

void report_status(const struct demo *demo, uint32_t frame)
{
    const bool live = is_live();
    aee_stats stats;
    if (demo->options.json || frame % (live ? LIVE_EVERY : PLAIN_EVERY) != 0 ||
        aee_get_stats(demo->engine, &stats, NULL) != AEE_OK) {
        return;
    }
    (void)printf("%sframe %4u  of %u: %.1f ms a frame; late %u, crashes %" PRIu64 ", hangs %" PRIu64
                 ", restarts %" PRIu64 "%s",
                 live ? CLEAR_LINE : "", frame, demo->options.frames, to_ms(demo->frame_ns),
                 demo->late_count, stats.crashes, stats.hangs, stats.restarts, live ? "" : "\n");
    (void)fflush(stdout);
}

void report_checking(const struct demo *demo)
{
    if (!demo->options.json) {
        (void)printf("%scomparing with a native run of the same frames%s",
                     is_live() ? CLEAR_LINE : "", is_live() ? "" : "\n");
        (void)fflush(stdout);
    }
}

/* ---- At the end ---------------------------------------------------------------------------- */

static void print_table(const struct demo *demo)
{
    (void)printf("%s\n%-10s %-9s %-9s %-11s %5s %7s %6s %6s %7s %5s %8s %6s %6s\n",
                 is_live() ? CLEAR_LINE : "", "context", "kind", "level", "state", "calls",
                 "skipped", "p50 ms", "p99 ms", "crashes", "hangs", "restarts", "kept", "MiB");
    for (int i = 0; i < ACTORS; i++) {
        aee_context_info info;
        if (aee_get_context_info(demo->engine, demo->actors[i].context, &info, NULL) != AEE_OK) {
            continue;
        }
        char kept[16] = "-"; /* the counter with which it came back */
        if (demo->actors[i].keep_every > 0 && info.restores > 0) {
            (void)snprintf(kept, sizeof kept, "%u", demo->record.actors[i].kept_frame);
        }
        (void)printf("%-10s %-9s %-9s %-11s %5" PRIu64 " %7u %6.2f %6.2f %7" PRIu64 " %5" PRIu64
                     " %8" PRIu64 " %6s %6.1f\n",
                     info.name, aee_kind_name(info.kind), aee_level_name(info.level),
                     aee_state_name(info.state), info.calls, demo->record.actors[i].skipped,
                     to_ms(info.latency_p50_ns), to_ms(info.latency_p99_ns), info.crashes,
                     info.hangs, info.restarts, kept, (double)info.memory_resident / 0x1p20);
    }
}

static void print_late(const struct demo *demo)
{
    (void)printf("\nlate frames: %u of %u took longer than %.2f ms\n", demo->late_count,
                 demo->options.frames, to_ms(DEMO_FRAME_NS));
    for (int i = 0; i <= ACTORS; i++) {
        const struct late_frames *late = &demo->late[i];
        if (late->count == 0) {
            continue;
        }
        const char *why = late->stopped ? "stopped after"
                          : i < ACTORS  ? "calls took up to"
                                        : "outside of calls up to";
        (void)printf("  %4u  %-10s %s %.1f ms (frame %u), usually %.1f ms\n", late->count,
                     i < ACTORS ? demo->actors[i].name : "engine", why, to_ms(late->worst_ns),
                     late->worst_frame, to_ms(late->usual_ns));
    }
}

static void print_mark(bool passed)
{
    const char *no_color = getenv("NO_COLOR");
    const bool color = is_live() && !(no_color && no_color[0]);
    const bool fine = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    (void)printf("%s%s%s",
                 !color   ? ""
                 : passed ? "\033[32m"
                          : "\033[31m",
                 passed ? (fine ? "\u2713" : "+") : (fine ? "\u2717" : "x"),
                 color ? "\033[0m" : "");
}

void report_end(const struct demo *demo, const struct verdict *verdict)
{
    print_table(demo);
    print_late(demo);
    (void)fputc('\n', stdout);
    for (uint32_t i = 0; i < verdict->count; i++) {
        print_mark(verdict->checks[i].passed);
        (void)printf(" %s\n", verdict->checks[i].text);
    }
    (void)printf("\n%s\n", verdict->passed ? "Every fault stayed where it happened."
                                           : "Something did not go as it should have.");
}
