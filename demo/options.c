/* options.c: the command line. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "game.h"

static const char usage[] =
    "usage: aee-demo [options]                     a window; without a display a tour in pictures\n"
    "       aee-demo --headless --script [...]     the main job (--help behind it says more)\n"
    "\n"
    "Scenes whose agents, particles, rendering and mods run in contexts of their own, and "
    "controls\n"
    "to break them. F1 shows the keys.\n"
    "\n"
    "  --headless         no window: ends after 600 frames, or as --frames says\n"
    "  --script FILE      actions, a line each: \"FRAME: action [SCENE]\" (docs/demo.md)\n"
    "  --monkey           does something at random every few frames\n"
    "  --frames N         ends after N frames\n"
    "  --capture DIR      writes every 60th frame there, as PNG; --capture-every N: every Nth\n"
    "  --record FILE      writes a film (y4m)\n"
    "  --json FILE        writes a report; -: to standard output\n"
    "  --trace FILE       writes a trace that Perfetto's UI opens (docs/tracing.md)\n"
    "  --seed N           the same seed, script and frames give the same world; default 1\n"
    "  --scenes N, --agents N, --particles N      at the start: 2 scenes of 10000 and 100000\n"
    "  --size WxH         of the picture; default 1280x720\n"
    "  --fast             does not wait for the next sixtieth of a second\n"
    "  --mods DIR         loads the mods there (docs/demo-mods.md)\n"
    "  --compare-native   measures the components beside the same code linked natively\n"
    "\n"
    "AEE_COMPONENT_DIR names the folder of the components; default: ../guest beside the demo.\n";

struct number {
    const char *name;
    uint32_t *value;
    uint32_t least, most;
};

static bool take_number(const struct number *number, const char *text)
{
    char *end;
    const unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || value < number->least || value > number->most) {
        (void)fprintf(stderr, "aee-demo: %s takes a number from %u to %u\n", number->name,
                      number->least, number->most);
        return false;
    }
    *number->value = (uint32_t)value;
    return true;
}

static bool take_size(struct options *options, const char *text)
{
    char rest;
    if (sscanf(text, "%dx%d%c", &options->width, &options->height, &rest) != 2 ||
        options->width < 960 || options->height < 540 || options->width > 7680 ||
        options->height > 4320) {
        (void)fprintf(stderr, "aee-demo: --size takes 960x540 to 7680x4320\n");
        return false;
    }
    return true;
}

/* An option with a value. -1: it is none of these. */
static int take_value(struct options *options, const char *name, const char *value)
{
    uint32_t seed = 0;
    const struct number numbers[] = {{"--frames", &options->frames, 1, 100000000},
                                     {"--scenes", &options->scenes, 1, 8},
                                     {"--agents", &options->agents, 100, 100000},
                                     {"--particles", &options->particles, 1000, 1000000},
                                     {"--capture-every", &options->capture_every, 1, 1000000},
                                     {"--seed", &seed, 0, 1000000000}};
    const struct {
        const char *name;
        const char **value;
    } texts[] = {{"--script", &options->script},
                 {"--capture", &options->capture},
                 {"--record", &options->record},
                 {"--json", &options->json},
                 {"--trace", &options->trace}};
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            const bool good = take_number(&numbers[i], value);
            options->seed = good && numbers[i].value == &seed ? seed : options->seed;
            return good;
        }
    }
    for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].value = value;
            return 1;
        }
    }
    if (strcmp(name, "--mods") == 0) {
        (void)snprintf(options->mods, sizeof options->mods, "%s", value);
        return 1;
    }
    return strcmp(name, "--size") == 0 ? take_size(options, value) : -1;
}

static bool parse(struct options *options, int argc, char **argv)
{
    const struct {
        const char *name;
        bool *value;
    } flags[] = {{"--headless", &options->headless},
                 {"--fast", &options->fast},
                 {"--monkey", &options->monkey},
                 {"--compare-native", &options->compare_native}};
    for (int i = 1; i < argc; i++) {
        unsigned k = 0;
        while (k < sizeof flags / sizeof flags[0] && strcmp(argv[i], flags[k].name) != 0) {
            k++;
        }
        if (k < sizeof flags / sizeof flags[0]) {
            *flags[k].value = true;
            continue;
        }
        const int taken = i + 1 < argc ? take_value(options, argv[i], argv[i + 1]) : -1;
        if (taken < 0) {
            (void)fprintf(stderr, "aee-demo: unexpected argument '%s' (see 'aee-demo --help')\n",
                          argv[i]);
        }
        if (taken <= 0) {
            return false;
        }
        i++;
    }
    return true;
}

static void find_folders(struct options *options)
{
    static char tour[2080];
    char self[2048];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    const char *given = getenv("AEE_COMPONENT_DIR");
    self[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) {
        *slash = '\0';
    }
    (void)snprintf(tour, sizeof tour, "%s/tour.script", self);
    options->tour = tour;
    (void)snprintf(options->mods, sizeof options->mods, "%s/mods", self);
    (void)snprintf(options->components, sizeof options->components,
                   given && given[0] ? "%s" : "%s/../guest", given && given[0] ? given : self);
}

int options_parse(struct options *options, int argc, char **argv)
{
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        return fputs(usage, stdout) < 0 ? 1 : 0;
    }
    *options = (struct options){.scenes = 2,
                                .agents = 10000,
                                .particles = 100000,
                                .capture_every = 60,
                                .width = 1280,
                                .height = 720,
                                .seed = 1};
    find_folders(options);
    return parse(options, argc, argv) ? -1 : 2;
}
