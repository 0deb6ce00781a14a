/* start.c: the entry point of a component. Runs once on lane 0, called by the vDSO as an ordinary
 * function, with stack, thread control block and TLS in place. Owns nothing. */
#include "aee_guest.h"

typedef void initialiser(void);

/* Made by the linker; null where there is no such section. */
#define LINKER_SYMBOL __attribute__((weak, visibility("hidden")))
#define BOUND(name) extern initialiser *const name[] LINKER_SYMBOL
BOUND(__preinit_array_start);
BOUND(__preinit_array_end);
BOUND(__init_array_start);
BOUND(__init_array_end);

/* The linker keeps whole sections whose bounds are referred to: this is what keeps the exports of a
 * component where the toolchain does not know the retain attribute. */
#define SECTION_START(name, section) \
    extern const char name[] __asm__("__start_" section) LINKER_SYMBOL
SECTION_START(exports_start, AEE_ABI_EXPORT_SECTION);
SECTION_START(signatures_start, AEE_ABI_SIGNATURE_SECTION);
SECTION_START(state_start, AEE_ABI_STATE_SECTION);

extern initialiser aee_init __attribute__((weak));

void _start(void);

static void run(initialiser *const *from, initialiser *const *to)
{
    for (; from < to; from++) {
        (*from)();
    }
}

void _start(void)
{
    __asm__ volatile("" ::"r"(exports_start), "r"(signatures_start), "r"(state_start));
    run(__preinit_array_start, __preinit_array_end);
    run(__init_array_start, __init_array_end);
    if (aee_init != NULL) {
        aee_init();
    }
}
