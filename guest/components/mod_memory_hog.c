/* mod_memory_hog.c: a mod that takes and touches all the memory it can get at the frame it is armed
 * for, and then gives up. Otherwise it counts.
 *
 *   mod_init(seed), mod_tick(frame) -> checksum, mod_arm(frame), as every mod here */
#include <stdlib.h>

#include <aee_guest.h>

#include "mod_counter.h"

static struct mod_counter counter;

#define PIECE ((size_t)1 << 20)
/* Touching every page would overrun the call budget before the heap is full: first touches are
 * slow. */
#define STRIDE ((size_t)1 << 16)
#ifdef AEE_NATIVE
#define MAX_PIECES 64 /* the host's memory is not ours to fill */
#else
#define MAX_PIECES SIZE_MAX
#endif

struct piece {
    struct piece *next;
    char rest[PIECE - 64];
};
static struct piece *pieces;

__attribute__((noinline)) static void eat_all(void)
{
    for (size_t count = 0; count < MAX_PIECES; count++) {
        struct piece *piece = malloc(sizeof *piece);
        if (piece == NULL) {
            break;
        }
        for (size_t at = 0; at < sizeof piece->rest; at += STRIDE) {
            piece->rest[at] = 1;
        }
        piece->next = pieces;
        pieces = piece;
    }
    aee_out_of_memory();
}

AEE_SIGNATURE(mod_init, "i:i");
AEE_EXPORT int64_t mod_init(int64_t seed)
{
    mod_counter_init(&counter, seed);
    return 0;
}

AEE_SIGNATURE(mod_arm, "i:i");
AEE_EXPORT int64_t mod_arm(int64_t frame)
{
    counter.armed_frame = frame;
    return 0;
}

AEE_SIGNATURE(mod_tick, "i:i");
AEE_EXPORT int64_t mod_tick(int64_t frame)
{
    if (frame == counter.armed_frame) {
        eat_all();
    }
    return mod_counter_tick(&counter, frame);
}
