/* fuzz_gdb.c: arbitrary bytes from a debugger, to a server whose component is gone: packets, and
 * the commands in them, up to where a component's memory and lanes would be asked. */
#include <stdint.h>
#include <stdlib.h>

#include "recovery/gdb_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct aee__context context;
    struct aee__debugger *debugger = calloc(1, sizeof *debugger);
    if (!debugger) {
        return 0;
    }
    debugger->context = &context;
    (void)pthread_mutex_init(&context.lock, NULL);
    (void)pthread_mutex_init(&debugger->lock, NULL);
    for (size_t i = 0; i < size; i++) {
        size_t answer;
        if (aee__gdb_feed(&debugger->in, data[i]) != AEE__GDB_PACKET_READY) {
            continue;
        }
        debugger->stopped = true;
        aee__gdb_command(debugger, debugger->in.text, debugger->in.size);
        const char *text = aee__gdb_finish(&debugger->out, &answer);
        if (text[0] != '$' || answer < 4 || answer > sizeof debugger->out.text ||
            debugger->breakpoint_count != 0 || debugger->current >= AEE_MAX_LANES) {
            abort();
        }
    }
    (void)pthread_mutex_destroy(&debugger->lock);
    (void)pthread_mutex_destroy(&context.lock);
    free(debugger);
    return 0;
}
